//! The test harness of the ops: both bodies, forward and gradient, against a plain f64 reference.

#[cfg(test)]
use crate::engine::device::Precision;
use crate::engine::device::{Device, DeviceChoice};
use crate::engine::op::{Backward, Op};
use crate::engine::tensor::Tensor;
use crate::random::{Rng, Stream};
use std::sync::OnceLock;

/// A property test of this many cases, the same on each run.
#[cfg(test)]
pub fn cases(cases: u32) -> proptest::test_runner::Config {
    use proptest::test_runner::{Config as ProptestConfig, RngSeed};
    ProptestConfig { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() }
}

/// How far a result may be from its reference, per element.
#[derive(Debug, Clone, Copy)]
pub enum Tolerance {
    /// This share of the largest reference value. The default is 1e-5: a few dozen f32 roundings.
    OfLargest(f64),
    /// For sums of this many products: `4 * 2^-24 * sqrt(K) * sum|a b|`, where `sum|a b|` is the reference run on the
    /// absolute values. For ops that are linear in each input.
    Dot(usize),
}

/// Every device to test on: the CPU and, where an adapter answers, a GPU.
///
/// With `HUETAPE_REQUIRE_GPU=1` in the environment a missing adapter fails the test; otherwise it is said once on
/// stderr. Their new buffers hold NaN, so that what a kernel leaves unwritten shows.
///
/// # Panics
/// Without an adapter where one is required.
pub fn devices() -> Vec<Device> {
    static GPU: OnceLock<Option<Device>> = OnceLock::new();
    let gpu = GPU.get_or_init(|| match Device::open(&DeviceChoice::Gpu) {
        Ok(device) => {
            device.poison_new_buffers();
            device.watch_overruns();
            Some(device)
        }
        Err(error) if std::env::var("HUETAPE_REQUIRE_GPU").is_ok_and(|v| v == "1") => panic!("{error}"),
        Err(error) => {
            eprintln!("GPU tests did not run: {error}");
            None
        }
    });
    let cpu = Device::cpu();
    cpu.poison_new_buffers();
    std::iter::once(cpu).chain(gpu.clone()).collect()
}

/// A GPU opened for f16, whose new buffers hold NaN, where an adapter has f16 matrices; one of its own for each call.
///
/// With `HUETAPE_REQUIRE_F16=1` in the environment it fails where there is none; otherwise that is said on stderr.
///
/// # Panics
/// Without such an adapter where one is required.
#[cfg(test)]
pub fn f16_device() -> Option<Device> {
    match Device::open_for(&DeviceChoice::Gpu, Precision::F16) {
        Ok(device) => {
            device.poison_new_buffers();
            device.watch_overruns();
            Some(device)
        }
        Err(error) if std::env::var("HUETAPE_REQUIRE_F16").is_ok_and(|v| v == "1") => panic!("{error}"),
        Err(error) => {
            eprintln!("f16 was not tested: {error}");
            None
        }
    }
}

type Reference = Box<dyn Fn(&[Vec<f64>]) -> Vec<f64>>;

/// One check of one op: inputs, reference, tolerances. [`Check::run`] or [`Check::run_each`] does it.
///
/// Up to 24 elements of each gradient are compared, at places that do not change from run to run: each costs two
/// references.
pub struct Check {
    shapes: Vec<Vec<usize>>,
    inputs: Vec<Vec<f32>>,
    reference: Option<Reference>,
    tolerance: Tolerance,
    grad_tolerance: Tolerance,
    wants: Vec<bool>,
}

/// Gradient elements checked per input: finite differences cost two references each.
const GRADS_CHECKED: usize = 24;

impl Check {
    /// Inputs of these shapes, standard normal, seeded by their number.
    pub fn new(shapes: &[&[usize]]) -> Self {
        let inputs = shapes
            .iter()
            .enumerate()
            .map(|(i, shape)| {
                let rng = Rng::new(11 + i as u64, Stream::Test, 0);
                (0..shape.iter().product::<usize>() as u64).map(|k| rng.normal(k)).collect()
            })
            .collect();
        Check {
            shapes: shapes.iter().map(|s| s.to_vec()).collect(),
            inputs,
            reference: None,
            tolerance: Tolerance::OfLargest(1e-5),
            grad_tolerance: Tolerance::OfLargest(1e-5),
            wants: vec![true; shapes.len()],
        }
    }

    /// Changes input `i`, e.g. to keep it away from a kink or in a range.
    pub fn map(mut self, i: usize, f: impl Fn(f32) -> f32) -> Self {
        self.inputs[i].iter_mut().for_each(|v| *v = f(*v));
        self
    }

    /// Input `i` is data: no gradient is asked of it.
    pub fn no_grad(mut self, i: usize) -> Self {
        self.wants[i] = false;
        self
    }

    /// The op as a plain f64 function of its inputs.
    pub fn reference(mut self, f: impl Fn(&[Vec<f64>]) -> Vec<f64> + 'static) -> Self {
        self.reference = Some(Box::new(f));
        self
    }

    /// Another tolerance than the default for the output.
    pub fn tolerance(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Another tolerance than the default for the gradients.
    pub fn grad_tolerance(mut self, tolerance: Tolerance) -> Self {
        self.grad_tolerance = tolerance;
        self
    }

    /// Runs the op forward and backward on every device.
    ///
    /// # Panics
    /// With a list of what is off: elements beyond the tolerance, a gradient that is missing or not written whole. Also
    /// when the op reports an error, its output has another size than the reference's, or there is no reference.
    pub fn run(self, op: &(impl Op + ?Sized)) {
        self.run_each(|_| op);
    }

    /// As [`Check::run`] for an op that holds tensors: `make` builds it on each device.
    ///
    /// # Panics
    /// As [`Check::run`].
    pub fn run_each<O: Op>(self, make: impl Fn(&Device) -> O) {
        let reference = self.reference.as_ref().expect("a check needs its reference");
        let x: Vec<Vec<f64>> = self.inputs.iter().map(|v| v.iter().map(|&v| f64::from(v)).collect()).collect();
        let magnitude: Vec<Vec<f64>> = x.iter().map(|v| v.iter().map(|v| v.abs()).collect()).collect();
        let expected = reference(&x);
        let rng = Rng::new(5, Stream::Test, 1);
        let dy: Vec<f32> = (0..expected.len() as u64).map(|i| rng.normal(i)).collect();
        let mut failures = Vec::new();
        for device in devices() {
            let op = make(&device);
            let tensors: Vec<Tensor> =
                self.inputs.iter().zip(&self.shapes).map(|(v, s)| Tensor::new(&device, s, v).unwrap()).collect();
            let forward = op.forward(&tensors.iter().collect::<Vec<_>>()).unwrap();
            let scale = match self.tolerance {
                Tolerance::OfLargest(_) => Vec::new(),
                Tolerance::Dot(_) => reference(&magnitude),
            };
            let y = forward.y.to_vec().unwrap();
            assert_eq!(y.len(), expected.len(), "output size");
            let name = device.name();
            compare(&format!("{name}: y"), &y, &expected, &scale, self.tolerance, &mut failures);

            let dy_tensor = Tensor::new(&device, forward.y.shape(), &dy).unwrap();
            let slots = vec![None; tensors.len()];
            let mut backward = Backward::new(&dy_tensor, &forward.saved, &self.wants, slots);
            op.backward(&mut backward).unwrap();
            for (i, grad) in backward.into_grads().into_iter().enumerate() {
                if !self.wants[i] {
                    continue;
                }
                let grad = grad.unwrap_or_else(|| panic!("{name}: no gradient for input {i}")).to_vec().unwrap();
                assert!(grad.iter().all(|g| g.is_finite()), "{name}: gradient {i} was not written whole");
                let picks = picks(grad.len());
                let expected: Vec<f64> = picks.iter().map(|&k| difference(reference, &x, i, k, &dy)).collect();
                let scale: Vec<f64> = match self.grad_tolerance {
                    Tolerance::OfLargest(_) => Vec::new(),
                    Tolerance::Dot(_) => {
                        let dy: Vec<f32> = dy.iter().map(|v| v.abs()).collect();
                        picks.iter().map(|&k| difference(reference, &magnitude, i, k, &dy)).collect()
                    }
                };
                let got: Vec<f32> = picks.iter().map(|&k| grad[k]).collect();
                let label = format!("{name}: gradient of input {i}");
                compare(&label, &got, &expected, &scale, self.grad_tolerance, &mut failures);
            }
        }
        for device in devices() {
            failures.extend(device.overruns());
        }
        assert!(failures.is_empty(), "{} off:\n{}", failures.len(), failures[..failures.len().min(20)].join("\n"));
    }
}

fn picks(len: usize) -> Vec<usize> {
    if len <= GRADS_CHECKED {
        return (0..len).collect();
    }
    let rng = Rng::new(3, Stream::Test, 2);
    (0..GRADS_CHECKED as u64).map(|i| rng.below(i, len)).collect()
}

/// d(sum dy * y) / dx[i][k] by central differences in f64.
fn difference(reference: &Reference, x: &[Vec<f64>], i: usize, k: usize, dy: &[f32]) -> f64 {
    let h = 1e-6 * x[i][k].abs().max(1.0);
    let loss = |delta: f64| -> f64 {
        let mut moved = x.to_vec();
        moved[i][k] += delta;
        reference(&moved).iter().zip(dy).map(|(y, &d)| y * f64::from(d)).sum()
    };
    (loss(h) - loss(-h)) / (2.0 * h)
}

/// Collects every element of `got` that is further from `expected` than the tolerance allows.
fn compare(
    label: &str,
    got: &[f32],
    expected: &[f64],
    scale: &[f64],
    tolerance: Tolerance,
    failures: &mut Vec<String>,
) {
    let largest = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let allowed = match tolerance {
            // Central differences themselves are good to some 1e-9 of the values involved.
            Tolerance::OfLargest(share) => share * largest + 1e-8,
            Tolerance::Dot(k) => 4.0 * 2f64.powi(-24) * (k as f64).sqrt() * scale[i].abs() + 1e-8,
        };
        // A NaN is as far as can be.
        let off = (f64::from(g) - e).abs();
        if off.is_nan() || off > allowed {
            failures.push(format!("{label}[{i}] = {g}, expected {e}, allowed {allowed:.2e}"));
        }
    }
}
