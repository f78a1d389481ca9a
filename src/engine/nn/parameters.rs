//! The parameters of a model: named tensors in a few large arenas, so that an optimiser takes them in few launches.

use crate::engine::device::{Device, LayerScope, PendingRead, VIEW_ALIGN, View};
use crate::engine::nn::{Init, StateTensor, StateView, Watch, WeightFile};
use crate::engine::ops::reduce::sum_squares;
use crate::engine::tape::{Tape, Var};
use crate::engine::tensor::Tensor;
use crate::error::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Elements of the largest arena: 128 MiB, which every adapter can bind.
const ARENA_ELEMENTS: usize = 32 << 20;

/// What a parameter is to an optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamKind {
    /// A convolution's or dense layer's kernel: trained, and the only kind that decays.
    Kernel,
    /// A bias, scale or shift: trained.
    Vector,
    /// A running statistic: not trained, changed by the forward pass.
    Statistic,
    /// A kernel, bias, scale or shift that does not learn.
    Frozen,
}

impl ParamKind {
    /// Whether an optimiser changes it.
    pub fn is_trained(self) -> bool {
        matches!(self, ParamKind::Kernel | ParamKind::Vector)
    }
}

/// Name, shape and start of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamSpec {
    /// Its name in a weight file.
    pub name: String,
    /// Its shape; kernels are `[kh, kw, c_in, c_out]`.
    pub shape: Vec<usize>,
    /// What an optimiser does with it.
    pub kind: ParamKind,
    /// How it starts.
    pub init: Init,
}

impl ParamSpec {
    /// Refuses what no tensor can be: the sizes of specifications may come from a file.
    fn check(&self, device: &Device) -> Result<()> {
        let len = self.shape.iter().try_fold(1usize, |len, &axis| len.checked_mul(axis));
        let fits = len.is_some_and(|len| len > 0 && len <= device.max_elements());
        let what = format!("parameter {} has a size that no tensor has", self.name);
        crate::ensure!(
            fits,
            Error::input(what, format!("{:?}", self.shape), "take sizes of 1 or more, or a smaller width")
                .of(ErrorKind::Shape)
        );
        Ok(())
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Never: a parameter has at least one element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One arena: parameters of one kind, end to end, each at a multiple of [`VIEW_ALIGN`].
pub(super) struct Arena {
    pub kind: ParamKind,
    pub values: Tensor,
    /// Whether it learns: only trained kinds do, and only in training.
    pub learns: bool,
    /// Where it learns, unless each gradient is used up as soon as it is made.
    pub grads: Option<Tensor>,
}

/// Where a parameter lies.
#[derive(Clone, Copy)]
struct Place {
    arena: usize,
    offset: usize,
}

/// The number of the next [`Parameters`].
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// All parameters of one network on one device.
pub struct Parameters {
    /// No others of the process have it: an optimiser knows its own by it.
    pub(super) id: u64,
    device: Device,
    specs: Vec<ParamSpec>,
    places: Vec<Place>,
    index: HashMap<String, usize>,
    pub(super) arenas: Vec<Arena>,
    watch: Mutex<Option<Arc<dyn Watch>>>,
}

impl Parameters {
    /// Fresh parameters. With `training` there are gradients beside them.
    ///
    /// # Errors
    /// Two parameters of one name, one without elements or with more than a tensor can have, or no memory.
    pub fn new(device: &Device, specs: Vec<ParamSpec>, seed: u64, training: bool) -> Result<Self> {
        let parameters = Parameters::blank(device, specs, training)?;
        for (number, spec) in parameters.specs.iter().enumerate() {
            parameters.value(number)?.write(&spec.init.values(seed, number as u32, spec.len()))?;
        }
        Ok(parameters)
    }

    /// Parameters with the values of a weight file. With `training` there are gradients beside them.
    ///
    /// # Errors
    /// As [`Parameters::new`] and [`Parameters::load`].
    pub fn read(device: &Device, specs: Vec<ParamSpec>, file: &WeightFile, training: bool) -> Result<Self> {
        let parameters = Parameters::blank(device, specs, training)?;
        parameters.load(file)?;
        Ok(parameters)
    }

    /// Parameters that are all zero.
    fn blank(device: &Device, specs: Vec<ParamSpec>, training: bool) -> Result<Self> {
        let mut index = HashMap::new();
        for (number, spec) in specs.iter().enumerate() {
            let first = index.insert(spec.name.clone(), number);
            let remedy = "give each layer a name of its own";
            crate::ensure!(first.is_none(), Error::input("two parameters have one name", &spec.name, remedy));
            spec.check(device)?;
        }
        let limit = ARENA_ELEMENTS.min(device.max_elements());
        let mut sizes: Vec<(ParamKind, usize)> = Vec::new();
        let mut places = vec![Place { arena: 0, offset: 0 }; specs.len()];
        for kind in [ParamKind::Kernel, ParamKind::Vector, ParamKind::Statistic, ParamKind::Frozen] {
            let mut open = false;
            for (spec, place) in specs.iter().zip(&mut places).filter(|(spec, _)| spec.kind == kind) {
                let len = spec.len().next_multiple_of(VIEW_ALIGN);
                if !open || sizes.last().is_some_and(|(_, used)| used + len > limit) {
                    sizes.push((kind, 0));
                    open = true;
                }
                let arena = sizes.len() - 1;
                *place = Place { arena, offset: sizes[arena].1 };
                sizes[arena].1 += len;
            }
        }
        let mut arenas = Vec::new();
        for &(kind, len) in &sizes {
            let learns = training && kind.is_trained();
            let grads = if learns { Some(Tensor::full(device, &[len], 0.0)?) } else { None };
            // Zeros that take no memory yet.
            grads.iter().for_each(|grads| grads.forget());
            arenas.push(Arena { kind, values: Tensor::full(device, &[len], 0.0)?, learns, grads });
        }
        let (id, device, watch) = (NEXT_ID.fetch_add(1, Ordering::Relaxed), device.clone(), Mutex::new(None));
        Ok(Parameters { id, device, specs, places, index, arenas, watch })
    }

    /// Where a parameter lies: its arena, and its part of a tensor of that size.
    pub(super) fn arena_of(&self, number: usize) -> (usize, impl Fn(&Tensor) -> Result<Tensor>) {
        (self.places[number].arena, move |arena: &Tensor| self.view(arena, number))
    }

    /// Names, shapes and kinds, in the model's order.
    pub fn specs(&self) -> &[ParamSpec] {
        &self.specs
    }

    /// Where they lie.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// From now on, whatever layer runs with these parameters is seen by `watch`; with `None` by nobody.
    pub fn watch(&self, watch: Option<Arc<dyn Watch>>) {
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = watch;
    }

    fn view(&self, arena: &Tensor, number: usize) -> Result<Tensor> {
        arena.part(self.places[number].offset, &self.specs[number].shape)
    }

    fn value(&self, number: usize) -> Result<Tensor> {
        self.view(&self.arenas[self.places[number].arena].values, number)
    }

    /// The tensor of a parameter; it shares the arena's memory.
    ///
    /// # Errors
    /// No parameter of that name.
    pub fn get(&self, name: &str) -> Result<Tensor> {
        self.value(self.number(name)?)
    }

    /// The gradient of a parameter as the last backward pass left it, until an optimiser uses it up; it shares the
    /// arena's memory. `None` for a statistic, and where there are no gradients beside the parameters.
    ///
    /// # Errors
    /// No parameter of that name.
    pub fn gradient(&self, name: &str) -> Result<Option<Tensor>> {
        let number = self.number(name)?;
        self.arenas[self.places[number].arena].grads.as_ref().map(|grads| self.view(grads, number)).transpose()
    }

    /// Whether no gradient is infinite or NaN, nor so large that its square is. Waits for the device.
    pub(super) fn gradients_are_finite(&self) -> Result<bool> {
        let grads = self.arenas.iter().filter_map(|arena| arena.grads.as_ref());
        let sums: Vec<Tensor> = grads.map(sum_squares).collect::<Result<_>>()?;
        let views: Vec<&View> = sums.iter().map(|sum| &**sum).collect();
        let reads = self.device().start_reads(&views)?;
        let finite = |read: PendingRead| Ok(read.finish()?.iter().all(|sum| sum.is_finite()));
        reads.into_iter().try_fold(true, |all, read| Ok(finite(read)? && all))
    }

    fn number(&self, name: &str) -> Result<usize> {
        self.index
            .get(name)
            .copied()
            .ok_or_else(|| Error::input("the model has no such parameter", name, "see `huetape inspect summary`"))
    }

    /// The parameters as values on `tape`. If `trainable` says so, those that learn want a gradient, which is written
    /// beside them where there is memory for it; the others are constants.
    pub fn bind(&self, tape: &Tape, trainable: bool) -> Bound<'_> {
        Bound { parameters: self, tape: tape.share(), trainable, vars: Mutex::default() }
    }

    /// Takes the values of all parameters from a weight file.
    ///
    /// # Errors
    /// A missing tensor, a wrong shape, a NaN or infinity; each names the file and the tensor. Nothing has changed
    /// then.
    pub fn load(&self, file: &WeightFile) -> Result<()> {
        self.load_as("", file)
    }

    /// As [`Parameters::load`], from tensors whose names begin with `prefix`.
    ///
    /// # Errors
    /// As [`Parameters::load`].
    pub fn load_as(&self, prefix: &str, file: &WeightFile) -> Result<()> {
        let expect = |spec: &ParamSpec| file.expect(&format!("{prefix}{}", spec.name), &spec.shape);
        let tensors: Vec<&[f32]> = self.specs.iter().map(expect).collect::<Result<_>>()?;
        for (number, data) in tensors.into_iter().enumerate() {
            self.value(number)?.write(data)?;
        }
        Ok(())
    }

    /// Copies of all parameters by name, for a weight file.
    ///
    /// # Errors
    /// A lost device.
    pub fn state(&self) -> Result<Vec<StateTensor>> {
        self.state_views("")?.iter().map(StateView::read).collect()
    }

    /// All parameters where they lie, under their names with `prefix` before them.
    ///
    /// # Errors
    /// A parameter that does not lie within its arena.
    pub fn state_views(&self, prefix: &str) -> Result<Vec<StateView>> {
        let view = |(number, spec): (usize, &ParamSpec)| {
            Ok(StateView::new(format!("{prefix}{}", spec.name), self.value(number)?))
        };
        self.specs.iter().enumerate().map(view).collect()
    }

    /// The part of each of `arenas` that belongs to a parameter, with its specification: an optimiser's state.
    pub(super) fn parts<'a>(&'a self, arenas: &'a [Tensor]) -> impl Iterator<Item = Result<(&'a ParamSpec, Tensor)>> {
        self.specs
            .iter()
            .zip(&self.places)
            .filter(|(spec, _)| spec.kind.is_trained())
            .map(|(spec, place)| Ok((spec, arenas[place.arena].part(place.offset, &spec.shape)?)))
    }
}

/// Parameters as values on one tape.
///
/// It holds the tape as well, and outlives [`Tape::backward`]: afterwards `gradients.get(&bound.var("conv.weight")?)`
/// is a parameter's gradient by its name.
pub struct Bound<'a> {
    parameters: &'a Parameters,
    tape: Tape,
    trainable: bool,
    vars: Mutex<HashMap<usize, Var>>,
}

impl Bound<'_> {
    /// The tape that the values are on.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    fn vars(&self) -> MutexGuard<'_, HashMap<usize, Var>> {
        self.vars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Device::layer`].
    pub fn layer(&self, name: &str) -> LayerScope {
        self.parameters.device.layer(name)
    }

    /// Who sees the layers that run, if anybody does.
    pub fn watched(&self) -> Option<Arc<dyn Watch>> {
        self.parameters.watch.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The parameter as a value; the same one every time, so that gradients of several uses add up.
    ///
    /// # Errors
    /// No parameter of that name.
    pub fn var(&self, name: &str) -> Result<Var> {
        self.numbered(self.parameters.number(name)?)
    }

    /// As [`Bound::var`], for a parameter that not every layer of its kind has.
    ///
    /// # Errors
    /// A parameter that does not lie within its arena.
    pub fn optional(&self, name: &str) -> Result<Option<Var>> {
        self.parameters.index.get(name).map(|&number| self.numbered(number)).transpose()
    }

    fn numbered(&self, number: usize) -> Result<Var> {
        let mut vars = self.vars();
        if let Some(var) = vars.get(&number) {
            return Ok(var.clone());
        }
        let value = self.parameters.value(number)?;
        let arena = &self.parameters.arenas[self.parameters.places[number].arena];
        let var = match arena.learns && self.trainable {
            true => {
                let slot = arena.grads.as_ref().map(|grads| self.parameters.view(grads, number)).transpose()?;
                self.tape.member(value, (self.parameters.id, number), slot)
            }
            false => self.tape.constant(value),
        };
        vars.insert(number, var.clone());
        Ok(var)
    }

    /// The parameters that have been asked for and want a gradient, for [`Tape::backward_to`].
    pub fn leaves(&self) -> Vec<Var> {
        self.vars().values().filter(|var| var.needs_grad()).cloned().collect()
    }

    /// The tensor of a parameter, for what changes it in place.
    ///
    /// # Errors
    /// No parameter of that name.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        self.parameters.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ops::elementwise::Scale;

    fn spec(name: &str, shape: &[usize], kind: ParamKind) -> ParamSpec {
        ParamSpec { name: name.into(), shape: shape.to_vec(), kind, init: Init::Normal(1.0) }
    }

    #[test]
    fn parameters_share_arenas_by_kind_and_keep_their_values_apart() {
        let device = Device::cpu();
        let specs = vec![
            spec("a.weight", &[3, 3, 2, 5], ParamKind::Kernel),
            spec("a.bias", &[5], ParamKind::Vector),
            spec("b.weight", &[1, 1, 5, 7], ParamKind::Kernel),
            spec("n.mean", &[5], ParamKind::Statistic),
        ];
        let parameters = Parameters::new(&device, specs, 1, true).unwrap();
        assert_eq!(parameters.arenas.len(), 3);
        parameters.get("a.weight").unwrap().write(&[7.0; 90]).unwrap();
        assert!(parameters.get("b.weight").unwrap().to_vec().unwrap().iter().all(|&v| v != 7.0));
        assert!(parameters.get("c").is_err());
        assert!(parameters.arenas[2].grads.is_none());
    }

    #[test]
    fn a_weight_file_round_trips_and_a_bad_one_changes_nothing() {
        let device = Device::cpu();
        let specs = vec![spec("w", &[4, 2], ParamKind::Kernel), spec("b", &[2], ParamKind::Vector)];
        let first = Parameters::new(&device, specs.clone(), 1, false).unwrap();
        let second = Parameters::new(&device, specs, 2, false).unwrap();
        let file = WeightFile::from_tensors("memory", first.state().unwrap());
        second.load(&file).unwrap();
        assert_eq!(second.state().unwrap(), first.state().unwrap());

        let mut broken = first.state().unwrap();
        broken[1].data[0] = f32::NAN;
        broken[0].data[0] = 99.0;
        let error = second.load(&WeightFile::from_tensors("broken.safetensors", broken)).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("broken.safetensors"));
        assert_eq!(second.state().unwrap(), first.state().unwrap());
    }

    #[test]
    fn two_parameters_of_one_name_and_sizes_that_no_tensor_has_are_refused() {
        let new = |specs| Parameters::new(&Device::cpu(), specs, 1, true).err().unwrap();
        let twice = [&[2][..], &[3, 2]].map(|shape| spec("conv.weight", shape, ParamKind::Kernel));
        assert!(new(twice.to_vec()).to_string().contains("conv.weight"));
        for shape in [&[0, 3][..], &[usize::MAX, 2], &[usize::MAX]] {
            assert_eq!(new(vec![spec("w", shape, ParamKind::Kernel)]).kind(), ErrorKind::Shape, "{shape:?}");
        }
    }

    #[test]
    fn a_gradient_is_found_by_name_after_the_backward_pass() {
        let device = Device::cpu();
        let specs = vec![spec("a", &[1], ParamKind::Vector), spec("n.mean", &[1], ParamKind::Statistic)];
        let parameters = Parameters::new(&device, specs, 1, true).unwrap();
        let tape = Tape::new();
        let bound = parameters.bind(&tape, true);
        let loss = bound.tape().apply(Scale(3.0), &[&bound.var("a").unwrap()]).unwrap();
        let gradients = tape.backward(loss).unwrap();
        let found = gradients.get(&bound.var("a").unwrap()).unwrap();
        assert_eq!(found.item().unwrap(), 3.0);
        assert_eq!(parameters.gradient("a").unwrap().unwrap().item().unwrap(), 3.0);
        assert!(parameters.gradient("n.mean").unwrap().is_none());
        assert!(parameters.gradient("b").is_err());
    }

    #[test]
    fn parameters_can_be_shared_among_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Parameters>();
        shared::<Bound<'static>>();
        shared::<crate::engine::nn::Optimizer>();
    }
}
