//! Every op on a device beside the CPU's twins: the check-up of `huetape doctor`.

use crate::engine::device::{AnyKernel, Device, Precision};
use crate::engine::op::{Backward, Op};
use crate::engine::tensor::Tensor;
use crate::error::Result;

pub use crate::engine::seeded::seeded;

/// An op as a list of ops has it.
#[derive(Clone, Copy)]
pub struct OpEntry {
    /// Its name, that of its module.
    pub name: &'static str,
    /// Its kernels.
    pub kernels: &'static [&'static dyn AnyKernel],
    /// A small run of it with the same inputs on every device, so that devices can be compared.
    pub self_test: fn(&Device) -> Result<Vec<Tensor>>,
}

/// The entry of the op in a module of this name.
macro_rules! op_entry {
    ($module:ident) => {
        $crate::engine::self_test::OpEntry {
            name: stringify!($module),
            kernels: $module::KERNELS,
            self_test: $module::self_test,
        }
    };
}
pub(crate) use op_entry;

/// How far an op may be from its twin, as a share of the largest value of the tensor.
///
/// WGSL takes `pow` as `exp2(y * log2(x))`, which is good to some 2^-19 of the value, and lets `exp` err by 3 + 2 |x|
/// units in the last place. Exponents of up to 1 / 0.38 and differences of cube roots make up to fifty times that of
/// it, 1e-4; sine and cosine may err by 2^-11, twice as much of a normal variate: 1e-3. A wrong index, a barrier that
/// is missing or a group that did not run is off by a whole value.
pub const TOLERANCE: f64 = 1e-3;
/// The same where convolutions multiply in f16, which errs by 2^-11 in each factor: sums of products of normal variates
/// are off by about 4e-4 of their size, the largest of many by four to five times that, and the largest value is four
/// to five times as large as most. A gradient that goes through two products errs twice.
pub const TOLERANCE_F16: f64 = 3e-3;

/// How far an op may be from its twin on a device.
pub fn tolerance(device: &Device) -> f64 {
    if device.precision() == Precision::F16 { TOLERANCE_F16 } else { TOLERANCE }
}

/// What became of one op.
#[derive(Debug, Clone)]
pub struct SelfTest {
    /// Name of the op.
    pub op: &'static str,
    /// The largest difference from the twin over all its results, each as a share of the largest value of its tensor;
    /// infinite where a NaN is. An error where the op did not run.
    pub difference: Result<f64>,
    /// The largest difference that passes.
    pub tolerance: f64,
}

impl SelfTest {
    /// Whether the op ran and gave what its twin gives.
    pub fn passed(&self) -> bool {
        self.difference.as_ref().is_ok_and(|difference| *difference <= self.tolerance)
    }
}

/// Runs the self-tests of `ops`, see [`self_test_of`].
pub fn self_test(device: &Device, ops: &[OpEntry]) -> Vec<SelfTest> {
    ops.iter().map(|op| self_test_of(device, op)).collect()
}

/// Runs the self-test of an op on `device` and on the CPU with the same inputs.
///
/// On the CPU itself the twins run twice, which must give the same bits: nothing else is there to compare them with.
pub fn self_test_of(device: &Device, op: &OpEntry) -> SelfTest {
    let run = || largest_difference(&(op.self_test)(device)?, &(op.self_test)(&Device::cpu())?);
    SelfTest { op: op.name, difference: run(), tolerance: if device.is_gpu() { tolerance(device) } else { 0.0 } }
}

fn largest_difference(got: &[Tensor], expected: &[Tensor]) -> Result<f64> {
    let mut worst: f64 = 0.0;
    for (got, expected) in got.iter().zip(expected) {
        worst = worst.max(relative_difference(&got.to_vec()?, &expected.to_vec()?));
    }
    Ok(worst)
}

/// The largest difference as a share of the largest expected value; infinite where exactly one side is no number.
pub(crate) fn relative_difference(got: &[f32], expected: &[f32]) -> f64 {
    let largest = expected.iter().fold(0.0f64, |most, v| most.max(f64::from(v.abs())));
    let scale = if largest > 0.0 { largest } else { 1.0 };
    got.iter().zip(expected).fold(0.0, |worst: f64, (&g, &e)| {
        let difference = (f64::from(g) - f64::from(e)).abs() / scale;
        let same = g == e || (g.is_nan() && e.is_nan());
        worst.max(if same {
            0.0
        } else if difference.is_nan() {
            f64::INFINITY
        } else {
            difference
        })
    })
}

/// Output and gradients of `op` for a seeded gradient of the output: what a self-test compares.
///
/// # Errors
/// Whatever the op reports.
pub fn run_op(op: &dyn Op, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let forward = op.forward(inputs)?;
    let dy = seeded(forward.y.device(), forward.y.shape(), 99)?;
    let needs = vec![true; inputs.len()];
    let mut backward = Backward::new(&dy, &forward.saved, &needs, vec![None; inputs.len()]);
    op.backward(&mut backward)?;
    Ok(std::iter::once(forward.y).chain(backward.into_grads().into_iter().flatten()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::DeviceChoice;
    use crate::engine::testing::check::devices;

    #[test]
    fn every_op_passes_on_every_device() {
        for device in devices() {
            let failed: Vec<SelfTest> =
                self_test(&device, &[crate::engine::ops::OPS, crate::imaging::ops::OPS].concat())
                    .into_iter()
                    .filter(|test| !test.passed())
                    .collect();
            assert!(failed.is_empty(), "{}: {failed:?}", device.name());
        }
    }

    #[test]
    fn every_op_passes_without_the_drivers_checks() {
        // A device of its own: the other tests go on with the checks.
        for device in devices().iter().filter(|device| device.is_gpu()).map(|_| Device::open(&DeviceChoice::Gpu)) {
            let device = device.unwrap();
            device.poison_new_buffers();
            device.check_bounds(false);
            let tests = self_test(&device, &[crate::engine::ops::OPS, crate::imaging::ops::OPS].concat());
            let failed: Vec<SelfTest> = tests.into_iter().filter(|test| !test.passed()).collect();
            assert!(failed.is_empty(), "{}: {failed:?}", device.name());
        }
    }

    #[test]
    fn a_difference_is_a_share_of_the_largest_value_and_a_nan_never_passes() {
        assert_eq!(relative_difference(&[1.0, -4.0], &[1.0, -4.0]), 0.0);
        assert_eq!(relative_difference(&[1.5, -4.0], &[1.0, -4.0]), 0.125);
        assert_eq!(relative_difference(&[0.5], &[0.0]), 0.5);
        assert_eq!(relative_difference(&[f32::NAN], &[1.0]), f64::INFINITY);
        assert_eq!(relative_difference(&[1.0], &[f32::NAN]), f64::INFINITY);
        assert_eq!(relative_difference(&[f32::NAN], &[f32::NAN]), 0.0);
        let infinite = SelfTest { op: "x", difference: Ok(f64::INFINITY), tolerance: TOLERANCE };
        assert!(!infinite.passed());
    }
}
