//! What the classification networks share: a chain that puts out logits over ab bins, and how its answer becomes
//! colour.

use crate::engine::device::Device;
use crate::engine::nn::window::some_rows;
use crate::engine::nn::{Bound, Norm, Parameters, Sequential, StateTensor, StateView, WeightFile};
use crate::engine::ops::elementwise::Scale;
use crate::engine::ops::pad::Slice;
use crate::engine::primitives;
use crate::engine::tape::{Tape, Var};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::imaging::color::Bins;
use crate::imaging::ops::annealed_mean::annealed_mean_of_rows;
use crate::imaging::ops::lab;
use crate::networks::classifier::lightness::LightnessHead;
use crate::paint::painter::{Framing, Look, Painter, bands_and_lightness, some_bands};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A weight file's tensor `[1]` that holds the temperature of the annealed mean, where that is not the usual one.
pub const TEMPERATURE_TENSOR: &str = "temperature";

/// What differs between classification networks.
pub struct Architecture {
    /// Its name, on the command line and in files.
    pub name: &'static str,
    /// The layers for a channel multiplier, which a network may ignore, and a number of colour bins: the last has a
    /// channel for each bin and no activation, the logits.
    pub layers: fn(width: f64, bins: usize) -> Sequential,
    /// The layers whose weights a file holds, by the shapes of its tensors: any width, any number of bins. Fails where
    /// tensors are missing or have other numbers of axes.
    pub layers_of: fn(&WeightFile) -> Result<Sequential>,
    /// From the size of the logits to that of the image.
    pub upsample: usize,
    /// What it needs of an image.
    pub framing: Framing,
}

impl PartialEq for Architecture {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A classification network with its weights and its bins.
pub struct Classifier {
    /// Which network.
    pub architecture: &'static Architecture,
    /// Its layers.
    pub network: Arc<Sequential>,
    /// Their weights.
    pub parameters: Parameters,
    /// What predicts the lightness of the picture; without, that of the source is kept.
    pub lightness: Option<LightnessHead>,
    /// Bin centres `[Q, 2]`, Lab units.
    pub bins: Tensor,
    /// Share of each bin in the training data, smoothed, sum 1: `[Q]`. The class weights follow from it.
    pub prior: Vec<f32>,
    /// Temperature of the annealed mean where nothing else is said, if it is not the usual one.
    pub temperature: Option<f32>,
}

impl Classifier {
    /// Fresh weights from `seed` for given bins and prior, at a channel multiplier of `width`. With `training` there
    /// are gradients beside the weights.
    ///
    /// # Errors
    /// Layers that do not end in a logit a bin; no memory.
    pub fn new(
        device: &Device,
        architecture: &'static Architecture,
        width: f64,
        bins: &Bins,
        prior: Vec<f32>,
        seed: u64,
        training: bool,
    ) -> Result<Self> {
        Classifier::of_layers(
            device,
            architecture,
            (architecture.layers)(width, bins.len()),
            bins,
            prior,
            seed,
            training,
        )
    }

    /// As [`Classifier::new`], of layers that the architecture has made, which may read several bands.
    ///
    /// # Errors
    /// As [`Classifier::new`].
    pub fn of_layers(
        device: &Device,
        architecture: &'static Architecture,
        network: Sequential,
        bins: &Bins,
        prior: Vec<f32>,
        seed: u64,
        training: bool,
    ) -> Result<Self> {
        crate::ensure!(
            network.channels_out() == bins.len(),
            Error::input(
                format!("its last layer has {} channels for {} bins", network.channels_out(), bins.len()),
                architecture.name,
                "let the last layer put out one logit a bin"
            )
        );
        let parameters = Parameters::new(device, network.param_specs(), seed, training)?;
        let (network, bins) = (Arc::new(network), centres(device, bins)?);
        Ok(Classifier { architecture, network, parameters, lightness: None, bins, prior, temperature: None })
    }

    /// The same network with a head that predicts the lightness, at its start where there was none.
    ///
    /// # Errors
    /// No memory.
    pub fn predicting_lightness(self) -> Result<Self> {
        if self.lightness.is_some() {
            return Ok(self);
        }
        let head = LightnessHead::new(self.architecture.upsample);
        let parameters = self.parameters.extended(head.param_specs(self.network.channels_before_last()))?;
        Ok(Classifier { parameters, lightness: Some(head), ..self })
    }

    /// The network of a weight file, of any width and number of bins.
    ///
    /// # Errors
    /// Tensors that are missing, do not belong together or hold a NaN; no memory.
    pub fn read(
        device: &Device,
        architecture: &'static Architecture,
        file: &WeightFile,
        training: bool,
    ) -> Result<Self> {
        let network = reading_bands_of(file, (architecture.layers_of)(file)?);
        let (bins, prior) = bins_and_prior(file)?;
        let lightness = LightnessHead::of(file, architecture.upsample);
        let mut specs = network.param_specs();
        specs.extend(lightness.iter().flat_map(|head| head.param_specs(network.channels_before_last())));
        let parameters = Parameters::read(device, specs, file, training)?;
        let (network, bins) = (Arc::new(network), centres(device, &bins)?);
        let temperature = temperature(file)?;
        Ok(Classifier { architecture, network, parameters, lightness, bins, prior, temperature })
    }

    /// The same network with the same values in other memory, without gradients.
    ///
    /// # Errors
    /// No memory, and whatever a launch reports.
    pub fn copied(&self) -> Result<Self> {
        Ok(Classifier {
            architecture: self.architecture,
            network: self.network.clone(),
            parameters: self.parameters.copied()?,
            lightness: self.lightness,
            bins: self.bins.clone(),
            prior: self.prior.clone(),
            temperature: self.temperature,
        })
    }

    /// Takes over all weights of a file.
    ///
    /// # Errors
    /// A tensor that is missing, has another shape or holds a NaN; nothing has changed then.
    pub fn load(&self, file: &WeightFile) -> Result<()> {
        self.parameters.load(file)
    }

    /// Weights, bins and prior by name.
    ///
    /// # Errors
    /// A lost device.
    pub fn state(&self) -> Result<Vec<StateTensor>> {
        self.state_views()?.iter().map(StateView::read).collect()
    }

    /// As [`Classifier::state`], where they lie.
    ///
    /// # Errors
    /// A parameter that does not lie within its arena.
    pub fn state_views(&self) -> Result<Vec<StateView>> {
        let mut state = self.parameters.state_views("")?;
        state.push(StateView::new("bins".to_owned(), self.bins.clone()));
        let small = |name: &str, data: Vec<f32>| StateTensor { name: name.to_owned(), shape: vec![data.len()], data };
        state.push(small("prior", self.prior.clone()).into());
        state.extend(self.temperature.map(|value| small(TEMPERATURE_TENSOR, vec![value]).into()));
        Ok(state)
    }

    /// The network's input `(L - 50) / 100` from values 0..1, of which those of a grey source are L / 100.
    ///
    /// # Errors
    /// Whatever the launch reports.
    pub fn input(grey: &Tensor) -> Result<Tensor> {
        let _layer = grey.device().layer("input");
        let half = Tensor::empty(grey.device(), grey.shape())?;
        primitives::fill(&half, 0.5)?;
        let input = Tensor::empty(grey.device(), grey.shape())?;
        primitives::axpby(1.0, grey, -1.0, &half, &input)?;
        Ok(input)
    }

    /// L / 100 from `(L - 50) / 100`.
    ///
    /// # Errors
    /// Whatever the launch reports.
    pub fn lightness_of(input: &Tensor) -> Result<Tensor> {
        let half = Tensor::empty(input.device(), input.shape())?;
        primitives::fill(&half, 0.5)?;
        let lightness = Tensor::empty(input.device(), input.shape())?;
        primitives::axpby(1.0, input, 1.0, &half, &lightness)?;
        Ok(lightness)
    }

    /// The network's answer for sources `[N, H, W, bands]` 0..1: logits over the bins, `[N, (H - 2 halo) / upsample,
    /// (W - 2 halo) / upsample, Q]`.
    ///
    /// # Errors
    /// Whatever a launch reports.
    pub fn logits(&self, tape: &Tape, grey: &Tensor, norm: Norm) -> Result<Var> {
        let bound = self.parameters.bind(tape, norm == Norm::Training);
        self.network.forward(&bound, tape.constant(Self::input(grey)?), norm)
    }

    /// As [`Classifier::logits`], and, of a network that predicts it, L / 100 `[N, H - 2 halo, W - 2 halo, 1]`.
    ///
    /// # Errors
    /// Whatever a launch reports.
    pub fn logits_and_lightness(&self, tape: &Tape, grey: &Tensor, norm: Norm) -> Result<(Var, Option<Var>)> {
        if self.lightness.is_none() {
            return Ok((self.logits(tape, grey, norm)?, None));
        }
        let bound = self.parameters.bind(tape, norm == Norm::Training);
        let input = tape.constant(Self::input(grey)?);
        let (features, logits) = self.network.forward_by_features(&bound, input, norm)?;
        let lightness = self.predicted_lightness(&bound, &features, &logits, grey)?;
        Ok((logits, lightness))
    }

    /// L / 100 of what the last layer read and made of sources, of a network that predicts it.
    fn predicted_lightness(
        &self,
        bound: &Bound<'_>,
        features: &Var,
        logits: &Var,
        grey: &Tensor,
    ) -> Result<Option<Var>> {
        let Some(head) = self.lightness else { return Ok(None) };
        let [_, height, width, _] = logits.value().nhwc()?;
        head.predict(bound, features, &some_bands(grey, 0, 1)?, [height, width]).map(Some)
    }

    /// The picture and the entropy of each pixel in nats. The annealed mean of the bins gives a and b; L / 100 is the
    /// value of the first band, or what the network predicts.
    pub(super) fn decode(&self, source: &Tensor, look: &Look) -> Result<(Tensor, Tensor)> {
        let (grey, kept) = bands_and_lightness(source, self.source_bands())?;
        let (logits, predicted) = self.logits_and_lightness(&Tape::inference(), &grey, look.norm)?;
        let rows = 0..logits.value().nhwc()?[1] * self.architecture.upsample;
        self.coloured(&kept, &logits, predicted, look, rows)
    }

    /// Of a source that may have one more band, the lightness for the picture, those that the network reads.
    pub(super) fn read_bands(&self, source: &Tensor) -> Result<Tensor> {
        Ok(bands_and_lightness(source, self.source_bands())?.0)
    }

    /// As [`Classifier::decode`], of what the last layer has read and made of a source, some rows of it alone.
    pub(super) fn decode_answer(
        &self,
        source: &Tensor,
        [features, logits]: [Tensor; 2],
        look: &Look,
        rows: Range<usize>,
    ) -> Result<(Tensor, Tensor)> {
        let (grey, kept) = bands_and_lightness(source, self.source_bands())?;
        let tape = Tape::inference();
        let [features, logits] = [features, logits].map(|tensor| tape.constant(tensor));
        let bound = self.parameters.bind(&tape, false);
        let predicted = self.predicted_lightness(&bound, &features, &logits, &grey)?;
        self.coloured(&kept, &logits, predicted, look, rows)
    }

    fn coloured(
        &self,
        kept: &Tensor,
        logits: &Var,
        predicted: Option<Var>,
        look: &Look,
        rows: Range<usize>,
    ) -> Result<(Tensor, Tensor)> {
        let (factor, temperature) = (self.architecture.upsample, look.temperature);
        let decoded = annealed_mean_of_rows(logits.value(), &self.bins, factor, temperature, rows.clone())?;
        let lightness = match predicted {
            Some(lightness) => lightness.value().clone(),
            None => centre(kept, self.framing().halo)?,
        };
        let lightness = some_rows(&lightness, rows.start, rows.len())?;
        Ok((lab::join(&lightness, &decoded.ab)?, decoded.entropy))
    }

    /// Of the entropy of pixels in nats, its share of the largest one possible.
    pub(super) fn uncertainty(&self, entropy: Tensor) -> Result<Tensor> {
        // The entropy of a single bin is zero, as is its logarithm.
        let most = (self.prior.len() as f32).ln().max(f32::MIN_POSITIVE);
        let tape = Tape::inference();
        Ok(tape.apply(Scale(1.0 / most), &[&tape.constant(entropy)])?.value().clone())
    }
}

/// The layers, reading as many bands as the first of them does in a file; where that has no kernel, as they are.
fn reading_bands_of(file: &WeightFile, network: Sequential) -> Sequential {
    let first = network.param_specs().into_iter().next().and_then(|spec| file.get(&spec.name));
    match first.map(|kernel| &kernel.shape[..]) {
        Some(&[_, _, bands, _]) => network.reading(bands),
        _ => network,
    }
}

/// Bin centres `[Q, 2]`.
fn centres(device: &Device, bins: &Bins) -> Result<Tensor> {
    Tensor::new(device, &[bins.len(), 2], bins.centres.as_flattened())
}

/// Pictures `[N, H, W, C]` without the outermost `margin` pixels of each side.
///
/// # Errors
/// A picture that has no more than that, and whatever a launch reports.
pub fn centre(pictures: &Tensor, margin: usize) -> Result<Tensor> {
    if margin == 0 {
        return Ok(pictures.clone());
    }
    let [_, height, width, channels] = pictures.nhwc()?;
    crate::ensure!(
        height.min(width) > 2 * margin,
        Error::input(
            format!("nothing is left without {margin} pixels on each side"),
            format!("{width}x{height}"),
            "use a larger picture"
        )
    );
    let size = [height - 2 * margin, width - 2 * margin, channels];
    let tape = Tape::inference();
    let part = tape.apply(Slice { first: [margin, margin, 0], size }, &[&tape.constant(pictures.clone())])?;
    Ok(part.value().clone())
}

/// Bins and prior of a weight file.
///
/// # Errors
/// Missing, of shapes that do not belong together, or not finite.
pub fn bins_and_prior(file: &WeightFile) -> Result<(Bins, Vec<f32>)> {
    let shape = &file.require("bins")?.shape;
    let &[q, 2] = &shape[..] else {
        return Err(Error::input(
            format!("tensor bins has shape {shape:?}, not [Q, 2]"),
            file.source(),
            "use weights of a classification model",
        ));
    };
    let centres = file.expect("bins", &[q, 2])?.chunks_exact(2).map(|ab| [ab[0], ab[1]]).collect();
    Ok((Bins { centres }, file.expect("prior", &[q])?.to_vec()))
}

/// The temperature that a weight file holds.
fn temperature(file: &WeightFile) -> Result<Option<f32>> {
    if file.get(TEMPERATURE_TENSOR).is_none() {
        return Ok(None);
    }
    let value = file.expect(TEMPERATURE_TENSOR, &[1])?[0];
    let what = format!("tensor {TEMPERATURE_TENSOR} holds {value}");
    crate::ensure!(
        (1e-4..=5.0).contains(&value),
        Error::input(what, file.source(), "use a temperature from 0.0001 to 5")
    );
    Ok(Some(value))
}
