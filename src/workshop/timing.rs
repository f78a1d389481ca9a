//! Times of single launches by each body, caches warm and flushed, checked first.

use crate::engine::device::{AnyKernel, By, Device, Profile, Then, Timing, Trial, Work};
use crate::engine::self_test::{relative_difference, tolerance};
use crate::engine::tensor::Tensor;
use crate::error::{Error, ErrorKind, Result};
use crate::train::workload::median;
use crate::workshop::launches::watch;
use std::time::Instant;

/// Launches are timed together until they last so long: a submission is then a small part of it.
const LEAST_SECONDS: f64 = 0.005;
/// Launches that are timed together, at most.
const MOST_TOGETHER: usize = 256;
/// Times of which the median counts.
const SAMPLES: usize = 5;
/// Elements that are filled to flush caches: 256 MiB on a card, 128 MiB else, much more than any cache holds.
const FLUSHED: [usize; 2] = [1 << 26, 1 << 25];

/// A launch of a pass with the times of its bodies.
#[derive(Debug, Clone)]
pub struct LaunchTimes {
    /// Shapes of its buffers.
    pub shapes: String,
    /// How many there are of it in the pass.
    pub count: usize,
    /// Of each body that was asked for.
    pub bodies: Vec<BodyTimes>,
    /// Its parameter block, which tells it from others of the same shapes.
    params: Vec<u8>,
}

/// One body of a launch.
#[derive(Debug, Clone)]
pub struct BodyTimes {
    /// Its name, `twin` on the CPU.
    pub body: String,
    /// Why it is the one that the device takes; `None` where it takes another.
    pub by: Option<By>,
    /// What there is to do.
    pub work: Work,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a body.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It cannot run the launch, for this reason.
    Declines(String),
    /// It does not compute what the twin does: the largest difference, as a share of the largest value.
    Wrong(f64),
    /// It computes what the twin does, to this difference.
    Timed {
        /// See [`Outcome::Wrong`].
        difference: f64,
        /// Seconds of a launch among others of the same.
        warm: f64,
        /// Seconds of a launch after more has been written than caches hold; `None` where there is no memory for
        /// that.
        flushed: Option<f64>,
    },
}

/// Which launches are timed, and by what.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Name of the kernel.
    pub kernel: String,
    /// Only launches with this in their shapes.
    pub shape: Option<String>,
    /// Which bodies.
    pub bodies: Bodies,
}

/// Which bodies are timed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bodies {
    /// The one that the device takes.
    Chosen,
    /// All of them.
    All,
    /// This one.
    Named(String),
}

/// Times the launches of a kernel within a pass, each distinct one once.
///
/// # Errors
/// A pass without such a launch; memory, and whatever a launch reports.
pub fn time(device: &Device, pass: &mut dyn FnMut() -> Result<()>, wanted: Wanted) -> Result<Vec<LaunchTimes>> {
    let (name, large, on) = (wanted.kernel.clone(), large(device)?, device.clone());
    let found = watch(device, pass, Vec::new(), move |found: &mut Vec<LaunchTimes>, trial| {
        let shapes = trial.shapes();
        let asked = wanted.shape.as_ref().is_none_or(|shape| shapes.contains(shape));
        if trial.kernel().name() != wanted.kernel || !asked {
            return Ok(Then::Run);
        }
        if let Some(known) = found.iter_mut().find(|known| known.shapes == shapes && known.params == trial.params()) {
            known.count += 1;
            return Ok(Then::Run);
        }
        let bodies = bodies_of(&on, trial, &wanted.bodies, large.as_ref())?;
        found.push(LaunchTimes { shapes, count: 1, bodies, params: trial.params().to_vec() });
        Ok(Then::Run)
    })?;
    if found.is_empty() {
        return Err(no_such_launch(&name));
    }
    Ok(found)
}

/// A pass does not have what was asked for.
pub(super) fn no_such_launch(kernel: &str) -> Error {
    let remedy = "take another network, pass or shape; `huetape profile ⟨all⟩` lists the launches of one";
    Error::input("the pass has no such launch", kernel, remedy).of(ErrorKind::Kernel)
}

/// Seconds that a launch takes which computes next to nothing and is waited for: so much is in the time of a launch
/// with flushed caches where the device has no timestamps that can be used; `None` where it has.
///
/// # Errors
/// Whatever the launch reports.
pub fn waited_for(device: &Device) -> Result<Option<f64>> {
    let y = Tensor::empty(device, &[1])?;
    let profile = profile(device, &mut || (0..SAMPLES).try_for_each(|_| device.fill(&y, 0.5)))?;
    let seconds = middle(profile.launches.iter().map(|launch| launch.seconds));
    Ok((profile.timing == Timing::Clock).then_some(seconds))
}

/// Launches timed by timestamps, by the clock where there are none or they cannot be used.
fn profile(device: &Device, run: &mut dyn FnMut() -> Result<()>) -> Result<Profile> {
    let mut timed = |timing: Timing| {
        device.start_profile(timing)?;
        let ran = run();
        let profile = device.stop_profile()?;
        ran.map(|()| profile)
    };
    match timed(Timing::Timestamps)? {
        unusable if unusable.unusable > 0 => timed(Timing::Clock),
        profile => Ok(profile),
    }
}

fn bodies_of(
    device: &Device,
    trial: &mut dyn Trial,
    wanted: &Bodies,
    large: Option<&Tensor>,
) -> Result<Vec<BodyTimes>> {
    let chosen = trial.chosen()?;
    let Some((taken, by)) = chosen else {
        let outcome = outcome(device, trial, None, &mut None, large)?;
        let by = Some(By::Heuristic);
        return Ok(vec![BodyTimes { body: "twin".to_owned(), by, work: trial.work(None), outcome }]);
    };
    let (mut expected, mut bodies) = (None, Vec::new());
    for body in 0..trial.kernel().bodies() {
        let name = trial.kernel().text(body).body.to_owned();
        let asked = match wanted {
            Bodies::Chosen => body == taken,
            Bodies::All => true,
            Bodies::Named(wanted) => *wanted == name,
        };
        if !asked {
            continue;
        }
        let declines = device.gpu_info().and_then(|gpu| trial.admits(body, gpu).err());
        let (work, outcome) = match declines {
            Some(reason) => (Work::default(), Outcome::Declines(reason)),
            None => (trial.work(Some(body)), outcome(device, trial, Some(body), &mut expected, large)?),
        };
        bodies.push(BodyTimes { body: name, by: (body == taken).then_some(by), work, outcome });
    }
    Ok(bodies)
}

fn outcome(
    device: &Device,
    trial: &mut dyn Trial,
    body: Option<usize>,
    expected: &mut Option<Vec<Vec<f32>>>,
    large: Option<&Tensor>,
) -> Result<Outcome> {
    let difference = difference(trial, body, expected)?;
    if difference > tolerance(device) {
        return Ok(Outcome::Wrong(difference));
    }
    let warm = middle(warm(device, trial, body, SAMPLES)?.into_iter());
    let flushed = large.map(|large| flushed(device, trial, body, large)).transpose()?;
    Ok(Outcome::Timed { difference, warm, flushed })
}

/// How far a body is from the twin, as a share of the largest value of each buffer. What the twin makes is computed
/// where `expected` does not hold it.
pub(super) fn difference(
    trial: &mut dyn Trial,
    body: Option<usize>,
    expected: &mut Option<Vec<Vec<f32>>>,
) -> Result<f64> {
    trial.copy()?;
    trial.run(body)?;
    let results = trial.results()?;
    if expected.is_none() {
        *expected = Some(trial.expected()?);
    }
    let pairs = results.iter().zip(expected.iter().flatten());
    Ok(pairs.map(|(got, expected)| relative_difference(got, expected)).fold(0.0, f64::max))
}

/// Seconds of a launch among others of the same, some times, after it has run once.
pub(super) fn warm(device: &Device, trial: &dyn Trial, body: Option<usize>, samples: usize) -> Result<Vec<f64>> {
    let together = together(device, trial, body)?;
    (0..samples).map(|_| batch(device, trial, body, together)).collect()
}

/// How many launches to time together.
pub(super) fn together(device: &Device, trial: &dyn Trial, body: Option<usize>) -> Result<usize> {
    let one = batch(device, trial, body, 1)?;
    Ok(((LEAST_SECONDS / one).ceil() as usize).clamp(1, MOST_TOGETHER))
}

/// Seconds of one of so many launches in a row.
pub(super) fn batch(device: &Device, trial: &dyn Trial, body: Option<usize>, count: usize) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..count {
        trial.run(body)?;
    }
    device.sync()?;
    Ok(start.elapsed().as_secs_f64() / count as f64)
}

/// The median time of a launch before each of which caches were flushed; the flush is outside of what is timed.
fn flushed(device: &Device, trial: &dyn Trial, body: Option<usize>, large: &Tensor) -> Result<f64> {
    let mut run = || (0..SAMPLES).try_for_each(|turn| device.fill(large, turn as f32).and_then(|()| trial.run(body)));
    let times = profile(device, &mut run)?.launches;
    // Each is a fill and the launch.
    let each = times.len() / SAMPLES;
    let of_launch = |turn: usize| times[turn * each..][..each].iter().skip(1).map(|launch| launch.seconds).sum::<f64>();
    Ok(middle((0..SAMPLES).map(of_launch)))
}

/// What is filled to flush caches; `None` where there is no memory for it.
fn large(device: &Device) -> Result<Option<Tensor>> {
    let on_a_card = device.is_gpu() && !device.is_software();
    let len = FLUSHED[usize::from(!on_a_card)].min(device.max_elements());
    match Tensor::empty(device, &[len]) {
        Err(error) if error.kind() == ErrorKind::Memory => Ok(None),
        made => made.map(Some),
    }
}

pub(super) fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    median(&values)
}

/// A kernel's body of this name, or all: what a user may ask for.
///
/// # Errors
/// No such body; the message has those that there are.
pub fn bodies_named(kernel: &dyn AnyKernel, name: Option<&str>) -> Result<Bodies> {
    match name {
        None => Ok(Bodies::Chosen),
        Some("all") => Ok(Bodies::All),
        Some(name) => {
            crate::workshop::catalogue::text_of(kernel, Some(name)).map(|text| Bodies::Named(text.body.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::DeviceChoice;
    use crate::engine::testing::check::devices;
    use crate::workshop::catalogue::kernel;
    use crate::workshop::launches::Convolution;

    #[test]
    fn a_body_that_is_wrong_is_not_timed_and_the_pass_goes_on_with_its_own_values() {
        let Some(_) = devices().iter().find(|device| device.is_gpu()) else { return };
        let device = Device::open(&DeviceChoice::Gpu).unwrap();
        let (_, sums) = kernel("conv2d_db").unwrap();
        let wrong = sums.text(0).source.replace("db[o] = sum;", "db[o] = 1.5 * sum;");
        device.replace_text(sums, "main", Some(wrong));
        let sizes: Convolution = "1x8x8x4,3x3x4x8".parse().unwrap();
        let mut pass = sizes.pass(&device).unwrap();
        let mut timed = |kernel: &str| {
            let wanted = Wanted { kernel: kernel.to_owned(), shape: None, bodies: Bodies::All };
            time(&device, &mut pass, wanted).unwrap()
        };
        let found = timed("conv2d_db");
        assert!(matches!(found[0].bodies[0].outcome, Outcome::Wrong(off) if off > 0.1), "{found:?}");
        let found = timed("conv2d_dw");
        // With a ReLU and without, one launch: the shapes and the parameters are the same.
        assert_eq!((found.len(), found[0].count, found[0].bodies.len()), (1, 2, 7));
        let declined = |body: &&BodyTimes| matches!(body.outcome, Outcome::Declines(_));
        let (declined, others): (Vec<_>, Vec<_>) = found[0].bodies.iter().partition(declined);
        assert!(declined.iter().map(|body| &body.body[..]).eq(["coop", "winograd"]), "{declined:?}");
        for body in others {
            assert!(matches!(body.outcome, Outcome::Timed { warm, flushed: Some(_), .. } if warm > 0.0), "{body:?}");
        }
        assert!(
            time(&device, &mut pass, Wanted { kernel: "adam".to_owned(), shape: None, bodies: Bodies::All }).is_err()
        );
    }
}
