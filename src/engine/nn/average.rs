//! Parameters made of others: averages of their values over updates, some frozen, or more beside them.

use crate::engine::nn::{ParamKind, ParamSpec, Parameters};
use crate::engine::primitives;
use crate::error::{Error, Result};

/// What the names of the parameters that learn begin with in a file whose plain names are their averages.
pub const RAW: &str = "raw.";

impl Parameters {
    /// Parameters with the same values in memory of their own, without gradients.
    ///
    /// # Errors
    /// No memory, and whatever a launch reports.
    pub fn copied(&self) -> Result<Parameters> {
        let copy = Parameters::new(self.device(), self.specs().to_vec(), 0, false)?;
        for (to, from) in copy.arenas.iter().zip(&self.arenas) {
            primitives::copy(&from.values, &to.values)?;
        }
        Ok(copy)
    }

    /// Moves each value y towards that of `others`, x: `y = f y + (1 - f) x`, running statistics too, where `f =
    /// min(decay, (1 + step) / (10 + step))`: early averages forget the first weights soon. `step` counts updates from
    /// 1; after the last, y is an average over some `1 / (1 - decay)` updates.
    ///
    /// # Errors
    /// Parameters of other names or shapes, and whatever a launch reports.
    pub fn follow(&self, others: &Parameters, decay: f64, step: u64) -> Result<()> {
        crate::ensure!(
            self.specs() == others.specs(),
            Error::input("an average of other parameters", "its shapes", "make it as a copy of those")
        );
        let share = decay.min((1.0 + step as f64) / (10.0 + step as f64));
        // Rounding would move what does not learn.
        let moving = self.arenas.iter().zip(&others.arenas).filter(|(to, _)| to.kind != ParamKind::Frozen);
        moving.into_iter().try_for_each(|(to, from)| primitives::decay_towards(share, &from.values, &to.values))
    }

    /// Makes those parameters constants whose names `frozen` holds for: no gradient, no optimiser's state, the same
    /// bits after any update. Running statistics are no parameters that learn, and stay what they are. An optimiser is
    /// made after.
    ///
    /// # Errors
    /// No memory, and whatever a launch reports.
    pub fn freezing(self, frozen: impl Fn(&str) -> bool) -> Result<Parameters> {
        let mut specs = self.specs().to_vec();
        let mut chosen = specs.iter_mut().filter(|spec| spec.kind.is_trained() && frozen(&spec.name)).peekable();
        if chosen.peek().is_none() {
            return Ok(self);
        }
        chosen.for_each(|spec| spec.kind = ParamKind::Frozen);
        self.laid_out(specs)
    }

    /// The same parameters and, after them, `more`, at their start. An optimiser is made after.
    ///
    /// # Errors
    /// A name that is taken; no memory, and whatever a launch reports.
    pub fn extended(self, more: Vec<ParamSpec>) -> Result<Parameters> {
        let specs = self.specs().iter().cloned().chain(more).collect();
        self.laid_out(specs)
    }

    /// Parameters of `specs`, with the values of these where they have the names.
    fn laid_out(self, specs: Vec<ParamSpec>) -> Result<Parameters> {
        let training = self.arenas.iter().any(|arena| arena.learns);
        let parameters = Parameters::new(self.device(), specs, 0, training)?;
        for spec in self.specs() {
            primitives::copy(&self.get(&spec.name)?, &parameters.get(&spec.name)?)?;
        }
        Ok(parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::Device;
    use crate::engine::nn::{Init, Optimizer, OptimizerKind};
    use crate::engine::ops::elementwise::Scale;
    use crate::engine::tape::Tape;
    use crate::engine::testing::check::devices;

    fn parameters(device: &Device, seed: u64) -> Parameters {
        let spec = |name: &str, kind| ParamSpec { name: name.into(), shape: vec![3], kind, init: Init::Normal(1.0) };
        let specs = vec![
            spec("a.weight", ParamKind::Kernel),
            spec("a.bias", ParamKind::Vector),
            spec("b.weight", ParamKind::Kernel),
            spec("b.mean", ParamKind::Statistic),
        ];
        Parameters::new(device, specs, seed, true).unwrap()
    }

    fn values(parameters: &Parameters) -> Vec<f32> {
        parameters.state().unwrap().into_iter().flat_map(|tensor| tensor.data).collect()
    }

    #[test]
    fn an_average_follows_by_its_formula_statistics_too() {
        for device in devices() {
            let (first, others) = (parameters(&device, 1), parameters(&device, 2));
            let average = first.copied().unwrap();
            assert_eq!(values(&average), values(&first));
            let mut expected: Vec<f64> = values(&first).into_iter().map(f64::from).collect();
            for step in 1..=40u32 {
                average.follow(&others, 0.75, u64::from(step)).unwrap();
                // 2/11, 3/12, ... up to 0.75 at the 26th.
                let f = (f64::from(1 + step) / f64::from(10 + step)).min(0.75);
                expected.iter_mut().zip(values(&others)).for_each(|(y, x)| *y = f * *y + (1.0 - f) * f64::from(x));
            }
            for (y, expected) in values(&average).into_iter().zip(expected) {
                // Forty updates of three roundings each; later ones forget earlier ones.
                assert!((f64::from(y) - expected).abs() < 1e-6, "{}: {y} and {expected}", device.name());
            }
            assert_eq!(values(&others), values(&parameters(&device, 2)));
        }
    }

    #[test]
    fn an_average_of_other_shapes_is_refused() {
        let device = Device::cpu();
        let kind = ParamKind::Kernel;
        let other = ParamSpec { name: "c".into(), shape: vec![3], kind, init: Init::Constant(0.0) };
        let other = Parameters::new(&device, vec![other], 1, false).unwrap();
        assert!(parameters(&device, 1).copied().unwrap().follow(&other, 0.5, 1).is_err());
    }

    #[test]
    fn what_is_frozen_keeps_its_bits_and_the_rest_learns() {
        for device in devices() {
            let before = parameters(&device, 1);
            let start = before.state().unwrap();
            let frozen = before.freezing(|name| name.starts_with("a.") || name == "b.mean").unwrap();
            assert_eq!(frozen.state().unwrap(), start);
            let rule = OptimizerKind::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
            let optimizer = Optimizer::new(rule, 0.1, 0.1, &frozen).unwrap();
            let average = frozen.copied().unwrap();
            for step in 1..=3 {
                let tape = Tape::new();
                let bound = frozen.bind(&tape, true);
                assert!(!bound.var("a.weight").unwrap().needs_grad());
                let loss = tape.apply(Scale(2.0), &[&bound.var("b.weight").unwrap()]).unwrap();
                tape.backward(loss).unwrap();
                optimizer.step(&frozen, step, 0.1).unwrap();
                average.follow(&frozen, 0.3, step).unwrap();
            }
            let state = optimizer.state(&frozen).unwrap();
            assert!(state.iter().all(|tensor| tensor.name.ends_with("b.weight")) && state.len() == 2);
            for (after, averaged) in frozen.state().unwrap().into_iter().zip(average.state().unwrap()) {
                let before = start.iter().find(|tensor| tensor.name == after.name).unwrap();
                let moves = after.name == "b.weight";
                assert_eq!(after.data != before.data, moves, "{}: {}", device.name(), after.name);
                assert_eq!(averaged.data != before.data, moves, "{}: average of {}", device.name(), after.name);
            }
        }
    }
}
