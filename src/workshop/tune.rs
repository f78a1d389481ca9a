//! Which bodies are the fastest on a device: measured within passes of a network.

use crate::engine::device::{Device, Then, Trial, Tuned};
use crate::engine::self_test::tolerance;
use crate::error::Result;
use crate::workshop::compare::{Ratio, SHORT, Verdict, rounds};
use crate::workshop::launches::watch;
use crate::workshop::timing::{batch, difference, together};
use std::collections::BTreeMap;
use std::time::Instant;

/// Turns of four: the device's own choice, the other, the other, its own.
const ROUNDS: usize = 10;
/// A body that takes so many times as long at the first look is not looked at again.
const HOPELESS: f64 = 1.5;

/// What was found for launches of one kernel and shape class.
#[derive(Debug, Clone)]
pub struct Found {
    /// Name of the kernel.
    pub kernel: String,
    /// Their shape class.
    pub class: String,
    /// How many of them a pass has.
    pub launches: usize,
    /// The body that the device takes by itself.
    pub heuristic: String,
    /// Seconds of a launch by it, the shortest of them.
    pub seconds: f64,
    /// The other bodies, by name.
    pub others: BTreeMap<String, Other>,
}

/// What became of a body beside the device's own choice.
#[derive(Debug, Clone, PartialEq)]
pub enum Other {
    /// It cannot run the launches, for this reason.
    Declines(String),
    /// It does not compute what the twin does, by this share of the largest value.
    Wrong(f64),
    /// It takes so many times as long.
    Slower(f64),
    /// Both were timed in turns.
    Timed(Ratio),
    /// It took less time in turns, but passes with it took so many times as long.
    Unconfirmed(Ratio),
}

impl Found {
    /// The body that beats the device's own choice by more than the noise, and by how much.
    pub fn winner(&self) -> Option<(&str, Ratio)> {
        let faster = self.others.iter().filter_map(|(body, other)| match other {
            Other::Timed(ratio) if ratio.verdict() == Verdict::Faster => Some((body.as_str(), *ratio)),
            _ => None,
        });
        faster.min_by(|(_, one), (_, other)| one.median.total_cmp(&other.median))
    }
}

/// Where winners are launches so short that the wait for them is a large part of their time, times whole passes too,
/// with all winners and without, in turns. Winners that short do not win if the passes take longer with them.
///
/// # Errors
/// Whatever a launch reports.
pub fn confirm(device: &Device, pass: &mut dyn FnMut() -> Result<()>, found: &mut [Found]) -> Result<()> {
    let mut tuned = Tuned::default();
    let winners = found.iter().filter_map(|found| found.winner().map(|(body, _)| (found, body)));
    winners.for_each(|(found, body)| tuned.insert(&found.kernel, &found.class, body));
    if !found.iter().any(|found| found.seconds < SHORT && found.winner().is_some()) {
        return Ok(());
    }
    let mut seconds = |changed: bool| -> Result<f64> {
        device.use_tuned(if changed { tuned.clone() } else { Tuned::default() });
        let start = Instant::now();
        pass()?;
        Ok(start.elapsed().as_secs_f64())
    };
    // What is compiled at the first launch is compiled before the first turn.
    let timed = seconds(true).and_then(|_| rounds(ROUNDS, &mut seconds));
    device.use_tuned(Tuned::default());
    let ratio = Ratio::of(&timed?);
    if ratio.verdict() == Verdict::Slower {
        for found in found.iter_mut().filter(|found| found.seconds < SHORT) {
            if let Some(body) = found.winner().map(|(body, _)| body.to_owned()) {
                found.others.insert(body, Other::Unconfirmed(ratio));
            }
        }
    }
    Ok(())
}

/// Launches of one kernel and shape class so far.
struct Class {
    heuristic: usize,
    seconds: f64,
    /// Distinct launches: parameters and shapes, how many of each.
    launches: Vec<(Vec<u8>, String, usize)>,
    others: BTreeMap<usize, Candidate>,
    names: Vec<String>,
}

/// A body of a class so far.
enum Candidate {
    Out(Other),
    /// Of each distinct launch the seconds by turns, with the device's own choice and with this one.
    In(Vec<Vec<[f64; 2]>>),
}

/// Measures the bodies of all launches of a pass that have a choice, on a device that chooses by itself.
///
/// # Errors
/// Memory, and whatever a launch reports.
pub fn measure(device: &Device, pass: &mut dyn FnMut() -> Result<()>) -> Result<Vec<Found>> {
    type Classes = BTreeMap<(String, String), Class>;
    let on = device.clone();
    let classes = watch(device, pass, Classes::new(), move |classes: &mut Classes, trial| {
        let Some((heuristic, _)) = trial.chosen()?.filter(|_| trial.kernel().bodies() > 1) else {
            return Ok(Then::Run);
        };
        let (kernel, shapes) = (trial.kernel(), trial.shapes());
        let class = classes.entry((kernel.name().to_owned(), trial.class())).or_insert_with(|| Class {
            heuristic,
            seconds: f64::INFINITY,
            launches: Vec::new(),
            others: (0..kernel.bodies()).filter(|&b| b != heuristic).map(|b| (b, Candidate::In(Vec::new()))).collect(),
            names: (0..kernel.bodies()).map(|body| kernel.text(body).body.to_owned()).collect(),
        });
        let known = class.launches.iter_mut().find(|(params, known, _)| params == trial.params() && *known == shapes);
        match known {
            Some((_, _, count)) => *count += 1,
            None => {
                class.launches.push((trial.params().to_vec(), shapes, 1));
                class.look_at(&on, trial, heuristic)?;
            }
        }
        Ok(Then::Run)
    })?;
    Ok(classes.into_iter().map(|((kernel, class), of)| of.ended(kernel, class)).collect())
}

impl Class {
    /// Measures the bodies on one more launch.
    fn look_at(&mut self, device: &Device, trial: &mut dyn Trial, heuristic: usize) -> Result<()> {
        let mut expected = None;
        for (&body, candidate) in &mut self.others {
            let Candidate::In(launches) = candidate else { continue };
            let declines = device.gpu_info().and_then(|gpu| trial.admits(body, gpu).err());
            let out = match declines {
                Some(reason) => Some(Other::Declines(reason)),
                None if heuristic != self.heuristic => Some(Other::Declines("the launches differ".to_owned())),
                None => match difference(trial, Some(body), &mut expected)? {
                    // Not a number is as far as can be.
                    off if off <= tolerance(device) => {
                        let out = in_turns(device, trial, [heuristic, body], launches)?;
                        let own = launches.iter().flatten().map(|round| round[0]);
                        self.seconds = own.fold(self.seconds, f64::min);
                        out
                    }
                    off => Some(Other::Wrong(off)),
                },
            };
            if let Some(out) = out {
                *candidate = Candidate::Out(out);
            }
        }
        Ok(())
    }

    fn ended(self, kernel: String, class: String) -> Found {
        let counts: Vec<f64> = self.launches.iter().map(|(_, _, count)| *count as f64).collect();
        let other = |candidate: Candidate| match candidate {
            Candidate::Out(other) => other,
            Candidate::In(launches) => {
                let round = |turn: usize| {
                    let sum = |which: usize| launches.iter().zip(&counts).map(|(of, n)| n * of[turn][which]).sum();
                    [sum(0), sum(1)]
                };
                Other::Timed(Ratio::of(&(0..ROUNDS).map(round).collect::<Vec<[f64; 2]>>()))
            }
        };
        let names = &self.names;
        Found {
            kernel,
            class,
            launches: self.launches.iter().map(|(_, _, count)| count).sum(),
            heuristic: names[self.heuristic].clone(),
            seconds: self.seconds,
            others: self.others.into_iter().map(|(body, candidate)| (names[body].clone(), other(candidate))).collect(),
        }
    }
}

/// Times both bodies in turns, unless the other is hopeless.
fn in_turns(
    device: &Device,
    trial: &dyn Trial,
    [heuristic, other]: [usize; 2],
    launches: &mut Vec<Vec<[f64; 2]>>,
) -> Result<Option<Other>> {
    // The first runs compile.
    batch(device, trial, Some(heuristic), 1)?;
    let [own, others] = [heuristic, other].map(|body| batch(device, trial, Some(body), 1));
    let at_first = others? / own?;
    if at_first > HOPELESS {
        let again = batch(device, trial, Some(other), 1)? / batch(device, trial, Some(heuristic), 1)?;
        if again > HOPELESS {
            return Ok(Some(Other::Slower(again.min(at_first))));
        }
    }
    let count = together(device, trial, Some(heuristic))?;
    let mut time = |others: bool| batch(device, trial, Some(if others { other } else { heuristic }), count);
    launches.push(rounds(ROUNDS, &mut time)?);
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::DeviceChoice;
    use crate::engine::testing::check::devices;
    use crate::workshop::catalogue::{kernel, text_of};
    use crate::workshop::launches::Convolution;

    /// A GPU of its own, where there is one.
    fn gpu() -> Option<Device> {
        devices().iter().find(|device| device.is_gpu())?;
        Some(Device::open(&DeviceChoice::Gpu).unwrap())
    }

    #[test]
    fn a_body_that_is_slow_loses_and_one_that_is_wrong_is_not_timed() {
        let Some(device) = gpu() else { return };
        // The bodies of conv2d have one text: what is planted is in the entry points of two of them.
        let (_, conv) = kernel("conv2d").unwrap();
        let text = text_of(conv, None).unwrap().source;
        let wrong = text.replace("o * p.output_step) / 4u", "(o % 4u) * p.output_step) / 4u");
        assert_ne!(wrong, text);
        device.replace_text(conv, "quads", Some(wrong));
        let sizes: Convolution = "1x16x16x16,3x3x16x32".parse().unwrap();
        let found = measure(&device, &mut sizes.pass(&device).unwrap()).unwrap();
        let forward = found.iter().find(|found| found.kernel == "conv2d").unwrap();
        // Without a ReLU and with one.
        assert_eq!((forward.launches, forward.class.as_str()), (2, "1x16x16x16 3x3x16x32 32 -> 1x16x16x32"));
        if device.is_software() {
            assert_eq!(forward.heuristic, "software_quads");
            assert!(matches!(forward.others["quads"], Other::Wrong(_)), "{forward:?}");
            assert!(matches!(forward.others["scalars"], Other::Slower(_) | Other::Timed(_)), "{forward:?}");
            assert_ne!(forward.winner().map(|(body, _)| body), Some("quads"));
        }
    }

    #[test]
    fn the_fastest_body_beyond_the_noise_wins() {
        let timed = |median| Other::Timed(Ratio { median, deviation: 0.01 });
        let mut found = Found {
            kernel: "k".to_owned(),
            class: "1".to_owned(),
            launches: 1,
            heuristic: "a".to_owned(),
            seconds: 1e-3,
            others: [("b", timed(0.9)), ("c", timed(0.8)), ("d", Other::Wrong(1.0))]
                .map(|(body, other)| (body.to_owned(), other))
                .into(),
        };
        assert_eq!(found.winner().unwrap().0, "c");
        found.others.insert("c".to_owned(), timed(0.96));
        assert_eq!(found.winner().unwrap().0, "b");
        found.others.insert("b".to_owned(), Other::Timed(Ratio { median: 0.9, deviation: 0.06 }));
        assert_eq!(found.winner(), None);
    }

    #[test]
    fn a_short_launch_does_not_win_where_passes_with_it_take_longer() {
        let Some(device) = gpu() else { return };
        let found = |seconds| Found {
            kernel: "conv2d".to_owned(),
            class: "1x8x8x4 3x3x4x8 8 -> 1x8x8x8".to_owned(),
            launches: 2,
            heuristic: "software".to_owned(),
            seconds,
            others: [("scalars".to_owned(), Other::Timed(Ratio { median: 0.5, deviation: 0.0 }))].into(),
        };
        let won = |seconds: f64, slow: &str| {
            let (mut all, on) = ([found(seconds)], device.clone());
            let mut pass = || {
                let is_slow = on.tuned().iter().next().map_or("software", |(_, _, body)| body) == slow;
                std::thread::sleep(std::time::Duration::from_millis(if is_slow { 20 } else { 5 }));
                Ok(())
            };
            confirm(&device, &mut pass, &mut all).unwrap();
            assert!(device.tuned().is_empty());
            all[0].winner().is_some()
        };
        assert!(won(1e-5, "software") && !won(1e-5, "scalars"));
        // A long one is believed.
        assert!(won(1e-3, "scalars"));
    }

    #[test]
    fn a_tuned_body_runs_unless_another_is_forced_or_it_declines() {
        let Some(device) = gpu() else { return };
        let sizes = |text: &str| text.parse::<Convolution>().unwrap().pass(&device).unwrap();
        let (mut even, mut odd) = (sizes("1x8x8x4,3x3x4x8"), sizes("1x8x8x3,3x3x3x8"));
        let mut tuned = Tuned::default();
        tuned.insert("conv2d", "1x8x8x4 3x3x4x8 8 -> 1x8x8x8", "scalars");
        tuned.insert("conv2d", "1x8x8x3 3x3x3x8 8 -> 1x8x8x8", "quads");
        let forward = |device: &Device| {
            let runs = device.bodies_run().into_iter().filter(|run| run.kernel == "conv2d");
            runs.map(|run| format!("{} {} {}", run.body, run.by.name(), run.launches)).collect::<Vec<_>>()
        };
        device.use_tuned(tuned);
        even().unwrap();
        assert_eq!(forward(&device), ["scalars tuned 2"]);
        odd().unwrap();
        // Three channels are no quad.
        assert!(forward(&device)[1].ends_with(" heuristic 2"), "{:?}", forward(&device));
        device.force_bodies("conv2d=software".parse().unwrap());
        even().unwrap();
        assert!(forward(&device).contains(&"software forced 2".to_owned()), "{:?}", forward(&device));
        device.force_bodies(Default::default());
        device.use_tuned(Tuned::default());
        even().unwrap();
        assert_eq!(forward(&device)[0], "scalars tuned 2");
    }
}
