//! A changed text of a kernel beside its own, timed in turns within a pass of a network.

use crate::engine::device::{AnyKernel, Device, Timing};
use crate::error::Result;
use crate::workshop::timing::{middle, no_such_launch};
use std::time::Instant;

/// Share of the time by which two texts must differ, at least, to be told apart.
const TELLING: f64 = 0.05;
/// Seconds of a launch below which the whole pass is timed too: the wait for a launch is a large part of so short a
/// time.
pub(super) const SHORT: f64 = 50e-6;

/// What to compare.
pub struct Comparison<'a> {
    /// The kernel.
    pub kernel: &'a dyn AnyKernel,
    /// The body whose text is changed, and with it those that share the text.
    pub body: &'a str,
    /// The changed text. It has been seen to compute right: it runs with the checks that the body runs with.
    pub text: &'a str,
    /// Only launches with this in their shapes, as `profile` writes them.
    pub shape: Option<&'a str>,
    /// Turns of four passes: own text, changed, changed, own.
    pub rounds: usize,
}

/// Times of two texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Launches of the kernel in a pass.
    pub launches: usize,
    /// Of each round the seconds that all launches of a pass took, with the own text and with the changed one.
    pub seconds: Vec<[f64; 2]>,
    /// The same of whole passes, where the launches are short.
    pub whole: Option<Vec<[f64; 2]>>,
}

/// What follows from times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// The changed text takes less time.
    Faster,
    /// It takes more.
    Slower,
    /// The difference is below 5 % or within the noise.
    NoDifference,
}

/// The ratio of the changed text's time to the own one's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Its median over the rounds.
    pub median: f64,
    /// Its median absolute deviation.
    pub deviation: f64,
}

impl Ratio {
    /// The ratio over some rounds.
    pub fn of(rounds: &[[f64; 2]]) -> Ratio {
        let ratios: Vec<f64> = rounds.iter().map(|[own, changed]| changed / own).collect();
        let centre = middle(ratios.iter().copied());
        Ratio { median: centre, deviation: middle(ratios.iter().map(|ratio| (ratio - centre).abs())) }
    }

    /// A difference is one that is beyond 5 % and beyond twice the deviation.
    pub fn verdict(self) -> Verdict {
        let telling = TELLING.max(2.0 * self.deviation);
        match self.median - 1.0 {
            more if more > telling => Verdict::Slower,
            less if less < -telling => Verdict::Faster,
            _ => Verdict::NoDifference,
        }
    }
}

impl Compared {
    /// The ratio that decides: of the launches, and where they are short of the whole pass.
    pub fn ratio(&self) -> Ratio {
        Ratio::of(self.whole.as_ref().unwrap_or(&self.seconds))
    }
}

/// Times both texts within passes.
///
/// # Errors
/// A pass without such a launch; memory, and whatever a launch reports.
pub fn compare(device: &Device, pass: &mut dyn FnMut() -> Result<()>, of: &Comparison<'_>) -> Result<Compared> {
    let ended = in_turns(device, pass, of);
    device.replace_text(of.kernel, of.body, None);
    ended
}

fn in_turns(device: &Device, pass: &mut dyn FnMut() -> Result<()>, of: &Comparison<'_>) -> Result<Compared> {
    let text = |changed: bool| changed.then(|| of.text.to_owned());
    let mut launches = 0;
    let mut timed = |changed: bool| -> Result<f64> {
        device.replace_text(of.kernel, of.body, text(changed));
        device.start_profile(Timing::Clock)?;
        let ran = pass();
        let times = device.stop_profile()?.launches;
        ran?;
        let ours = times.iter().filter(|launch| launch.kernel == of.kernel.name());
        let ours = ours.filter(|launch| of.shape.is_none_or(|shape| launch.shapes.contains(shape)));
        let seconds: Vec<f64> = ours.map(|launch| launch.seconds).collect();
        launches = seconds.len();
        Ok(seconds.iter().sum())
    };
    // What is compiled at the first launch is compiled before the first turn.
    timed(false)?;
    timed(true)?;
    let seconds = rounds(of.rounds, &mut timed)?;
    if launches == 0 {
        return Err(no_such_launch(of.kernel.name()));
    }
    let short = middle(seconds.iter().map(|[own, _]| own / launches as f64)) < SHORT;
    let mut whole = |changed: bool| -> Result<f64> {
        device.replace_text(of.kernel, of.body, text(changed));
        let start = Instant::now();
        pass()?;
        Ok(start.elapsed().as_secs_f64())
    };
    let whole = if short { Some(rounds(of.rounds, &mut whole)?) } else { None };
    Ok(Compared { launches, seconds, whole })
}

/// Means of own, changed, changed, own: what grows slower or faster meanwhile falls on both alike.
pub(super) fn rounds(count: usize, turn: &mut dyn FnMut(bool) -> Result<f64>) -> Result<Vec<[f64; 2]>> {
    let mut all = Vec::new();
    for _ in 0..count {
        let [first, second, third, fourth] = [turn(false)?, turn(true)?, turn(true)?, turn(false)?];
        all.push([(first + fourth) / 2.0, (second + third) / 2.0]);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_beyond_five_percent_and_beyond_the_noise() {
        let verdict = |changed: &[f64]| {
            let rounds: Vec<[f64; 2]> = changed.iter().map(|&seconds| [1.0, seconds]).collect();
            Ratio::of(&rounds).verdict()
        };
        assert_eq!(verdict(&[1.2, 1.21, 1.19]), Verdict::Slower);
        assert_eq!(verdict(&[0.8, 0.81, 0.79]), Verdict::Faster);
        assert_eq!(verdict(&[1.04, 1.04, 1.04]), Verdict::NoDifference);
        // One round in five that something else took long does not make a difference; spread does not either.
        assert_eq!(verdict(&[1.0, 1.0, 3.0, 1.01, 0.99]), Verdict::NoDifference);
        assert_eq!(verdict(&[0.9, 1.1, 1.3, 1.0, 1.2]), Verdict::NoDifference);
    }
}
