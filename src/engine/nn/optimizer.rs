//! Optimisers over the arenas of a model's parameters.

use crate::engine::nn::loss_scale::LossScale;
use crate::engine::nn::{ParamKind, ParamSpec, Parameters, StateTensor, StateView, WeightFile};
use crate::engine::ops::elementwise::Scale;
use crate::engine::ops::{adam, reduce, sgd};
use crate::engine::primitives;
use crate::engine::tape::{Tape, Var};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Which rule, with its settings.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase", tag = "rule")]
pub enum OptimizerKind {
    /// Adam (Kingma and Ba, ICLR 2015) with decoupled weight decay (Loshchilov and Hutter, ICLR 2019).
    Adam {
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the square root of the second moment.
        eps: f64,
    },
    /// Stochastic gradient descent with momentum: `v = momentum v + g; w -= lr v`.
    Sgd {
        /// Share of the velocity that stays.
        momentum: f64,
    },
}

/// An optimiser and its state for one set of parameters.
pub struct Optimizer {
    /// Whose they are.
    parameters: u64,
    kind: OptimizerKind,
    /// Factor of the penalty `l2 * sum |W|^2` on kernels.
    l2: f64,
    /// Decoupled decay of kernels per unit of learning rate.
    weight_decay: f64,
    /// Per moment (two for Adam, one for SGD), a tensor per trained arena.
    pub(super) moments: Vec<Vec<Tensor>>,
    /// Where losses are scaled, by what.
    pub(super) scale: Option<Mutex<LossScale>>,
}

impl Optimizer {
    /// An optimiser at its start for `parameters`; where none learns it has nothing to do and holds nothing.
    ///
    /// # Errors
    /// No memory for the moments.
    pub fn new(kind: OptimizerKind, l2: f64, weight_decay: f64, parameters: &Parameters) -> Result<Self> {
        let count = match kind {
            OptimizerKind::Adam { .. } => 2,
            OptimizerKind::Sgd { .. } => 1,
        };
        let trained = || parameters.arenas.iter().filter(|arena| arena.learns);
        let zeros = || trained().map(|arena| Tensor::full(arena.values.device(), arena.values.shape(), 0.0)).collect();
        let moments = (0..count).map(|_| zeros()).collect::<Result<_>>()?;
        Ok(Optimizer { parameters: parameters.id, kind, l2, weight_decay, moments, scale: None })
    }

    /// The same for gradients of losses by [`Optimizer::scaled`], which pass through f16: see
    /// [`Precision::F16`](crate::engine::device::Precision).
    #[must_use]
    pub fn scaling_losses(self) -> Self {
        Optimizer { scale: Some(Mutex::new(LossScale::new())), ..self }
    }

    /// Where losses are scaled, the present factor.
    fn scale(&self) -> Option<MutexGuard<'_, LossScale>> {
        // A program without GPUs multiplies nothing in f16: the compiler drops what it would be scaled for.
        let scale = self.scale.as_ref().filter(|_| cfg!(feature = "gpu"))?;
        Some(scale.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The loss whose gradients [`Optimizer::step`] takes: the same, times the factor where losses are scaled.
    ///
    /// # Errors
    /// Whatever a launch reports.
    pub fn scaled(&self, tape: &Tape, loss: Var) -> Result<Var> {
        match self.scale() {
            None => Ok(loss),
            Some(scale) => tape.apply(Scale(scale.factor), &[&loss]),
        }
    }

    /// Refuses other parameters than those that it was made for.
    pub(super) fn check(&self, parameters: &Parameters) -> Result<()> {
        let subject = || match parameters.specs() {
            [] => "no parameters".to_owned(),
            [first, ..] => format!("{} and {} more", first.name, parameters.specs().len() - 1),
        };
        let remedy = "make an optimiser for each set of parameters";
        crate::ensure!(
            parameters.id == self.parameters,
            Error::input("the optimiser was made for other parameters", subject(), remedy)
        );
        Ok(())
    }

    /// One update with learning rate `lr`; `step` counts from 1. The gradients are used up. Whether it was done: where
    /// losses are scaled, it is left out if a gradient is infinite or NaN, and the device is waited for to know.
    ///
    /// # Errors
    /// Other parameters than it was made for, gradients that are not finite however small the factor of the loss, and
    /// whatever a launch reports.
    pub fn step(&self, parameters: &Parameters, step: u64, lr: f64) -> Result<bool> {
        self.check(parameters)?;
        let what = "these parameters keep no gradients";
        let remedy = "update them by `Optimizer::descend`";
        crate::ensure!(!parameters.learn_at_once(), Error::input(what, "parameters that learn at once", remedy));
        let mut unscale = None;
        if let Some(mut scale) = self.scale() {
            unscale = Some(1.0 / scale.factor);
            let finite = parameters.gradients_are_finite()?;
            *scale = scale.after(finite)?;
            if !finite {
                return Ok(false);
            }
        }
        let _scope = parameters.device().scope(|| Some("optimizer".into()), Some("update"));
        for (i, arena) in parameters.arenas.iter().enumerate() {
            let Some(grads) = &arena.grads else { continue };
            let unscaled = unscale.map(|factor| unscaled(grads, factor)).transpose()?;
            let used = unscaled.as_ref().unwrap_or(grads);
            let moments: Vec<&Tensor> = self.moments.iter().map(|moment| &moment[i]).collect();
            self.update(arena.kind, (step, lr), &arena.values, &moments, used)?;
            // The next forward pass has their memory.
            grads.forget();
        }
        Ok(true)
    }

    /// The rule for values of one kind, all of an arena or some.
    pub(super) fn update(
        &self,
        kind: ParamKind,
        (step, lr): (u64, f64),
        values: &Tensor,
        moments: &[&Tensor],
        gradients: &Tensor,
    ) -> Result<()> {
        let (weight_decay, l2) = (self.weight_decay, self.l2);
        let decays = if kind == ParamKind::Kernel { values.len() } else { 0 };
        match (self.kind, moments) {
            (OptimizerKind::Adam { beta1, beta2, eps }, [m, v]) => {
                let rule = adam::Adam { lr, beta1, beta2, eps, weight_decay, l2 };
                rule.update(step, values, m, v, gradients, decays)
            }
            (OptimizerKind::Sgd { momentum }, [v]) => {
                sgd::Sgd { lr, momentum, weight_decay, l2 }.update(values, v, gradients, decays)
            }
            _ => Ok(()),
        }
    }

    /// Whether there is a penalty, see [`Optimizer::penalty`].
    pub fn penalizes(&self) -> bool {
        self.l2 != 0.0
    }

    /// The penalty `l2 * sum |W|^2` over all kernels, `[1]`; `None` where there is none.
    ///
    /// # Errors
    /// Other parameters than it was made for, and whatever a launch reports.
    pub fn penalty(&self, parameters: &Parameters) -> Result<Option<Tensor>> {
        self.check(parameters)?;
        if !self.penalizes() {
            return Ok(None);
        }
        let _scope = parameters.device().scope(|| Some("penalty".into()), None);
        let mut total: Option<Tensor> = None;
        for arena in parameters.arenas.iter().filter(|arena| arena.kind == ParamKind::Kernel) {
            let squares = reduce::sum_squares(&arena.values)?;
            let scaled = Tensor::empty(squares.device(), &[1])?;
            primitives::axpby(self.l2 as f32, &squares, 0.0, &squares, &scaled)?;
            if let Some(sum) = &total {
                primitives::accumulate(sum, &scaled)?;
            }
            total = Some(scaled);
        }
        Ok(total)
    }

    fn names(&self) -> &'static [&'static str] {
        match self.kind {
            OptimizerKind::Adam { .. } => &["adam.m.", "adam.v."],
            OptimizerKind::Sgd { .. } => &["sgd.v."],
        }
    }

    /// Copies of the moments by name, for a checkpoint.
    ///
    /// # Errors
    /// Other parameters than it was made for, or a lost device.
    pub fn state(&self, parameters: &Parameters) -> Result<Vec<StateTensor>> {
        self.state_views(parameters)?.iter().map(StateView::read).collect()
    }

    /// As [`Optimizer::state`], where the moments lie.
    ///
    /// # Errors
    /// Other parameters than it was made for.
    pub fn state_views(&self, parameters: &Parameters) -> Result<Vec<StateView>> {
        self.check(parameters)?;
        let mut state = Vec::new();
        for (prefix, moment) in self.held() {
            for part in parameters.parts(moment) {
                let (spec, tensor) = part?;
                state.push(StateView::new(format!("{prefix}{}", spec.name), tensor));
            }
        }
        if let (Some(scale), Some(name)) = (self.scale(), scale_name(parameters)) {
            state.push(StateTensor { name, shape: vec![2], data: scale.state() }.into());
        }
        Ok(state)
    }

    /// The moments by what their names begin with; none where nothing learns.
    fn held(&self) -> impl Iterator<Item = (&'static str, &Vec<Tensor>)> {
        self.names().iter().copied().zip(&self.moments).filter(|(_, moment)| !moment.is_empty())
    }

    /// Takes the moments from a checkpoint.
    ///
    /// # Errors
    /// Other parameters than it was made for, a missing tensor or a wrong shape.
    pub fn load(&self, parameters: &Parameters, file: &WeightFile) -> Result<()> {
        self.check(parameters)?;
        let expect = |prefix: &str, spec: &ParamSpec| file.expect(&format!("{prefix}{}", spec.name), &spec.shape);
        for (prefix, moment) in self.held() {
            for part in parameters.parts(moment) {
                let (spec, tensor) = part?;
                tensor.write(expect(prefix, spec)?)?;
            }
        }
        if let Some(mut scale) = self.scale() {
            // A training that went on in f32 until now has none.
            let kept = scale_name(parameters).and_then(|name| file.get(&name));
            *scale = kept.map_or_else(LossScale::new, |kept| LossScale::of(&kept.data));
        }
        Ok(())
    }
}

/// Under which name a checkpoint keeps the factor of the losses: several optimisers share a file.
fn scale_name(parameters: &Parameters) -> Option<String> {
    parameters.specs().first().map(|spec| format!("train.loss-scale.{}", spec.name))
}

/// Gradients of a loss itself from those of the loss times a power of two.
fn unscaled(grads: &Tensor, factor: f32) -> Result<Tensor> {
    let unscaled = Tensor::empty(grads.device(), grads.shape())?;
    primitives::axpby(factor, grads, 0.0, grads, &unscaled)?;
    Ok(unscaled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::Device;
    use crate::engine::nn::Init;
    use crate::engine::ops::reduce::Mean;
    use crate::engine::testing::check::devices;

    #[test]
    fn an_optimiser_of_other_parameters_is_refused() {
        let spec = ParamSpec { name: "w".into(), shape: vec![4], kind: ParamKind::Kernel, init: Init::Constant(1.0) };
        let new = || Parameters::new(&Device::cpu(), vec![spec.clone()], 1, true).unwrap();
        // Even of the same shapes.
        let (mine, others) = (new(), new());
        for kind in [OptimizerKind::Sgd { momentum: 0.9 }, OptimizerKind::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 }]
        {
            let optimizer = Optimizer::new(kind, 0.1, 0.0, &mine).unwrap();
            assert!(optimizer.step(&mine, 1, 0.1).unwrap());
            let file = WeightFile::from_tensors("memory", optimizer.state(&mine).unwrap());
            optimizer.load(&mine, &file).unwrap();
            let refused = [
                optimizer.step(&others, 1, 0.1).err().unwrap(),
                optimizer.penalty(&others).err().unwrap(),
                optimizer.state(&others).err().unwrap(),
                optimizer.load(&others, &file).err().unwrap(),
            ];
            assert!(refused.iter().all(|error| error.to_string().contains("other parameters")), "{refused:?}");
        }
    }

    /// Weights of one parameter after an update by the gradients of `factor * sum(w * slopes)` and others.
    fn trained(optimizer: &Optimizer, parameters: &Parameters, slope: f32, step: u64) -> (bool, Vec<f32>) {
        let tape = Tape::new();
        let bound = parameters.bind(&tape, true);
        let loss = tape.apply(Mean, &[&tape.apply(Scale(slope), &[&bound.var("w").unwrap()]).unwrap()]).unwrap();
        let loss = optimizer.scaled(&tape, loss).unwrap();
        tape.backward(loss).unwrap();
        let done = optimizer.step(parameters, step, 0.1).unwrap();
        (done, parameters.state().unwrap()[0].data.clone())
    }

    #[test]
    fn scaled_losses_give_the_same_update_and_one_without_finite_gradients_is_left_out() {
        let spec = ParamSpec { name: "w".into(), shape: vec![5], kind: ParamKind::Kernel, init: Init::Constant(1.0) };
        for device in devices() {
            for kind in
                [OptimizerKind::Sgd { momentum: 0.9 }, OptimizerKind::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 }]
            {
                let new = || Parameters::new(&device, vec![spec.clone()], 1, true).unwrap();
                let (plain, scaled) = (new(), new());
                let by = Optimizer::new(kind, 0.1, 0.01, &plain).unwrap();
                let scaling = Optimizer::new(kind, 0.1, 0.01, &scaled).unwrap().scaling_losses();
                for step in 1..4 {
                    let slope = 1e-3 * step as f32;
                    assert_eq!(trained(&scaling, &scaled, slope, step), trained(&by, &plain, slope, step));
                }
                // 1e35 times 65536 is infinite, and times 32768 it is too; its square is.
                let before = scaled.state().unwrap();
                let state = scaling.state(&scaled).unwrap();
                let (done, after) = trained(&scaling, &scaled, 1e35, 4);
                assert!(!done && after == before[0].data, "{}", device.name());
                let halved = scaling.state(&scaled).unwrap().pop().unwrap();
                assert_eq!((halved.name.as_str(), &halved.data[..]), ("train.loss-scale.w", &[32_768.0, 0.0][..]));
                // A checkpoint brings the factor back, one without it the start.
                scaling.load(&scaled, &WeightFile::from_tensors("memory", state.clone())).unwrap();
                assert_eq!(scaling.state(&scaled).unwrap().pop().unwrap().data, [65_536.0, 3.0]);
                scaling.load(&scaled, &WeightFile::from_tensors("memory", by.state(&plain).unwrap())).unwrap();
                assert_eq!(scaling.state(&scaled).unwrap().pop().unwrap().data, [65_536.0, 0.0]);
            }
        }
    }
}
