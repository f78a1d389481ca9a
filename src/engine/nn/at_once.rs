//! Updates of parameters one by one, each as soon as its gradient is made: no memory for all gradients at a time.
//!
//! A network that runs twice in a step, as a discriminator does, has those of its later run until the walk comes to the
//! other.

use crate::engine::nn::{Optimizer, Parameters};
use crate::engine::ranks::Share;
use crate::engine::tape::{Tape, Var};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use std::collections::BTreeSet;

impl Parameters {
    /// Without memory for gradients where [`Optimizer::descend`](crate::engine::nn::Optimizer::descend) can do without:
    /// on the CPU, in one process, it uses each up as soon as it is made. Nothing else can update them then. A GPU
    /// updates all at once, by few launches; several processes sum them first. To be called last: parameters made of
    /// these ([`Parameters::freezing`], [`Parameters::extended`]) have the memory again.
    #[must_use]
    pub fn learning_at_once(mut self) -> Self {
        if !self.device().is_gpu() && self.device().ranks().alone() {
            self.arenas.iter_mut().for_each(|arena| arena.grads = None);
        }
        self
    }

    /// Whether they learn and have no memory for gradients.
    pub(super) fn learn_at_once(&self) -> bool {
        self.arenas.iter().any(|arena| arena.learns && arena.grads.is_none())
    }

    /// The numbers of the parameters that learn.
    fn learning(&self) -> impl Iterator<Item = usize> {
        (0..self.specs().len()).filter(|&number| self.arenas[self.arena_of(number).0].learns)
    }
}

impl Optimizer {
    /// One update against the gradients of `loss`, whose tape is used up: [`Optimizer::scaled`], [`Tape::backward`] for
    /// the leaves of `parameters` alone, [`Parameters::sum_gradients`], [`Optimizer::step`]. Parameters that
    /// [learn at once](Parameters::learning_at_once) are updated one by one, each as soon as its gradient is made; the
    /// values are the same. Whatever reads such a parameter on the tape must do so by one [`Parameters::bind`]: another
    /// value of the same memory would be read when it has changed.
    ///
    /// # Errors
    /// As all of these; parameters that learn at once and are bound twice, or whose losses are scaled. Some of them may
    /// have been updated then.
    pub fn descend(
        &self,
        tape: Tape,
        loss: Var,
        parameters: &Parameters,
        share: &Share,
        (step, lr): (u64, f64),
    ) -> Result<bool> {
        self.check(parameters)?;
        let loss = self.scaled(&tape, loss)?;
        let device = parameters.device();
        let refused = |what: &str, remedy: &str| Error::input(what, "parameters that learn at once", remedy);
        let mut waiting: BTreeSet<usize> = BTreeSet::new();
        if parameters.learn_at_once() {
            let remedy = "join the other processes before the parameters are made";
            crate::ensure!(
                device.ranks().alone(),
                refused("gradients of several processes need memory beside the parameters", remedy)
            );
            let remedy = "do without `scaling_losses`";
            crate::ensure!(self.scale.is_none(), refused("losses are not scaled here", remedy));
            waiting.extend(parameters.learning());
        }
        let update = |number: usize, gradients: &Tensor| {
            let _scope = device.scope(|| Some("optimizer".into()), Some("update"));
            let (at, part) = parameters.arena_of(number);
            let arena = &parameters.arenas[at];
            let moments: Vec<Tensor> = self.moments.iter().map(|moment| part(&moment[at])).collect::<Result<_>>()?;
            self.update(arena.kind, (step, lr), &part(&arena.values)?, &moments.iter().collect::<Vec<_>>(), gradients)
        };
        tape.backward_of(loss, parameters.id, &mut |number, gradient| {
            let name = || parameters.specs()[number].name.clone();
            let remedy = "bind the parameters once";
            crate::ensure!(waiting.remove(&number), Error::input("a parameter has two gradients", name(), remedy));
            update(number, &gradient)
        })?;
        if !parameters.learn_at_once() {
            parameters.sum_gradients(share)?;
            return self.step(parameters, step, lr);
        }
        // What the loss does not depend on: its moments fade, and it decays.
        for number in waiting {
            update(number, &Tensor::full(device, &parameters.specs()[number].shape, 0.0)?)?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::Device;
    use crate::engine::nn::{Init, OptimizerKind, ParamKind, ParamSpec};
    use crate::engine::ops::arithmetic::Arithmetic;
    use crate::engine::ops::elementwise::Add;
    use crate::engine::ops::reduce::Mean;
    use crate::engine::testing::check::devices;
    use crate::engine::testing::together;

    const ADAM: OptimizerKind = OptimizerKind::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 };

    fn parameters(device: &Device) -> Parameters {
        let spec =
            |name: &str, kind| ParamSpec { name: name.into(), shape: vec![2, 500], kind, init: Init::Normal(1.0) };
        let specs = vec![
            spec("a", ParamKind::Kernel),
            spec("b", ParamKind::Kernel),
            spec("unused", ParamKind::Kernel),
            spec("shift", ParamKind::Vector),
            spec("mean", ParamKind::Statistic),
        ];
        Parameters::new(device, specs, 3, true).unwrap()
    }

    /// `mean(a a b + shift)`: b's gradient reads a, which the later node reads too.
    fn loss(tape: &Tape, parameters: &Parameters) -> Var {
        let bound = parameters.bind(tape, true);
        let [a, b, shift] = ["a", "b", "shift"].map(|name| bound.var(name).unwrap());
        bound.var("unused").unwrap();
        let product = tape.apply(Arithmetic::Multiply, &[&a, &b]).unwrap();
        let product = tape.apply(Arithmetic::Multiply, &[&product, &a]).unwrap();
        tape.apply(Mean, &[&tape.apply(Add, &[&product, &shift]).unwrap()]).unwrap()
    }

    #[test]
    fn updates_at_once_have_the_bits_of_updates_after_the_backward_pass() {
        for device in devices() {
            for kind in [OptimizerKind::Sgd { momentum: 0.9 }, ADAM] {
                let [after, at_once] = [parameters(&device), parameters(&device).learning_at_once()];
                assert_eq!(at_once.learn_at_once(), !device.is_gpu());
                let [by, by_at_once] = [&after, &at_once].map(|p| Optimizer::new(kind, 0.1, 0.01, p).unwrap());
                for step in 1..4 {
                    let tape = Tape::new();
                    let whole = loss(&tape, &after);
                    tape.backward(whole).unwrap();
                    assert!(by.step(&after, step, 0.1).unwrap());
                    let tape = Tape::new();
                    let whole = loss(&tape, &at_once);
                    assert!(by_at_once.descend(tape, whole, &at_once, &Share::default(), (step, 0.1)).unwrap());
                    assert_eq!(at_once.state().unwrap(), after.state().unwrap(), "{} {kind:?} {step}", device.name());
                    assert_eq!(by_at_once.state(&at_once).unwrap(), by.state(&after).unwrap());
                }
            }
        }
    }

    #[test]
    fn parameters_that_learn_at_once_have_no_memory_for_gradients() {
        let device = Device::cpu();
        let before = parameters(&device);
        let with = device.memory().live_bytes;
        let parameters = before.learning_at_once();
        // Of two arenas, the kernels' and the vectors'.
        assert!(with - device.memory().live_bytes >= 4 * 4 * 1000);
        assert!(parameters.gradient("a").unwrap().is_none());
        let optimizer = Optimizer::new(ADAM, 0.0, 0.0, &parameters).unwrap();
        let error = optimizer.step(&parameters, 1, 0.1).err().unwrap();
        assert!(error.to_string().contains("descend"), "{error}");
        // Bound twice, each half would be taken for the whole.
        let tape = Tape::new();
        let twice = [loss(&tape, &parameters), loss(&tape, &parameters)];
        let whole = tape.apply(Add, &[&twice[0], &twice[1]]).unwrap();
        let error = optimizer.descend(tape, whole, &parameters, &Share::default(), (1, 0.1)).err().unwrap();
        assert!(error.to_string().contains("two gradients"), "{error}");
        let optimizer = optimizer.scaling_losses();
        let tape = Tape::new();
        let whole = loss(&tape, &parameters);
        let error = optimizer.descend(tape, whole, &parameters, &Share::default(), (1, 0.1)).err().unwrap();
        assert!(error.to_string().contains("scaled"), "{error}");
    }

    #[test]
    fn a_gradient_is_let_go_before_the_next_ones_are_made() {
        const LAYERS: usize = 10;
        const LEN: usize = 50_000;
        let most = |at_once: bool| {
            let device = Device::cpu();
            let spec = |i: usize| ParamSpec {
                name: format!("w{i}"),
                shape: vec![LEN],
                kind: ParamKind::Kernel,
                init: Init::Constant(0.5),
            };
            let parameters = Parameters::new(&device, (0..LAYERS).map(spec).collect(), 1, true).unwrap();
            let parameters = if at_once { parameters.learning_at_once() } else { parameters };
            let optimizer = Optimizer::new(ADAM, 0.0, 0.0, &parameters).unwrap();
            let state = 3 * LAYERS * LEN * 4;
            let tape = Tape::new();
            let bound = parameters.bind(&tape, true);
            let mut y = tape.constant(Tensor::full(&device, &[LEN], 1.0).unwrap());
            for i in 0..LAYERS {
                y = tape.apply(Add, &[&y, &bound.var(&format!("w{i}")).unwrap()]).unwrap();
            }
            let loss = tape.apply(Mean, &[&y]).unwrap();
            drop(y);
            device.reset_peak();
            optimizer.descend(tape, loss, &parameters, &Share::default(), (1, 0.1)).unwrap();
            (device.memory().peak_bytes as usize - state) / (LEN * 4)
        };
        let [kept, at_once] = [most(false), most(true)];
        assert!(kept >= LAYERS && at_once <= 4, "{kept} and {at_once} gradients at a time");
    }

    #[test]
    fn processes_that_join_later_are_refused() {
        together(2, |ranks| {
            let device = Device::cpu();
            let parameters = parameters(&device).learning_at_once();
            device.join(&ranks);
            let optimizer = Optimizer::new(ADAM, 0.0, 0.0, &parameters).unwrap();
            let tape = Tape::new();
            let whole = loss(&tape, &parameters);
            let error = optimizer.descend(tape, whole, &parameters, &Share::default(), (1, 0.1)).err().unwrap();
            assert!(error.to_string().contains("join"), "{error}");
        });
    }
}
