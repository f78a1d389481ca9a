//! What the classification networks share: a chain that puts out logits over ab bins, and how its answer becomes colour.

use super::colournet;
use super::painter::{Framing, Look, Painter};
use crate::color::Bins;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::{Norm, Parameters, Sequential, StateTensor, WeightFile};
use crate::ops::annealed_mean::annealed_mean;
use crate::ops::softmax::Softmax;
use crate::ops::{elementwise, lab};
use crate::tape::Tape;
use crate::tensor::Tensor;

/// Temperature of the annealed mean in the published method.
pub const TEMPERATURE: f32 = 0.38;

/// A classification network with its weights and its bins.
pub struct Classifier {
    /// The layers.
    pub network: Sequential,
    /// Their weights.
    pub parameters: Parameters,
    /// Bin centres `[Q, 2]`, Lab units.
    pub bins: Tensor,
    /// Share of each bin in the training data, smoothed, sum 1: `[Q]`. The class weights follow from it.
    pub prior: Vec<f32>,
    /// From the size of the logits to that of the picture.
    pub upsample: usize,
}

impl Classifier {
    /// Fresh weights from `seed` for given bins and prior. With `training` there are gradients beside the weights.
    ///
    /// # Errors
    /// No memory.
    pub fn new(
        device: &Device,
        network: Sequential,
        upsample: usize,
        bins: &Bins,
        prior: Vec<f32>,
        seed: u64,
        training: bool,
    ) -> Result<Self> {
        let parameters = Parameters::new(device, network.param_specs(), seed, training)?;
        let centres: Vec<f32> = bins.centres.iter().flatten().copied().collect();
        let bins = Tensor::new(device, &[bins.len(), 2], &centres)?;
        Ok(Classifier { network, parameters, bins, prior, upsample })
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
        let mut state = self.parameters.state()?;
        let (bins, prior) = (self.bins.to_vec()?, self.prior.clone());
        state.push(StateTensor { name: "bins".to_owned(), shape: self.bins.shape().to_vec(), data: bins });
        state.push(StateTensor { name: "prior".to_owned(), shape: vec![prior.len()], data: prior });
        Ok(state)
    }

    /// The network's input `(L - 50) / 100` from grey values 0..1, which are L / 100.
    ///
    /// # Errors
    /// Whatever the launch reports.
    pub fn input(grey: &Tensor) -> Result<Tensor> {
        let half = Tensor::empty(grey.device(), grey.shape())?;
        elementwise::fill(&half, 0.5)?;
        let input = Tensor::empty(grey.device(), grey.shape())?;
        elementwise::axpby(1.0, grey, -1.0, &half, &input)?;
        Ok(input)
    }

    /// The network's answer for grey pictures `[N, H, W, 1]` 0..1: logits over the bins at the low resolution,
    /// `[N, H / 4, W / 4, Q]` for ColourNet.
    ///
    /// # Errors
    /// Whatever a launch reports.
    pub fn logits(&self, grey: &Tensor, norm: Norm) -> Result<Tensor> {
        let tape = Tape::inference();
        let bound = self.parameters.bind(&tape, false);
        Ok(self.network.forward(&bound, tape.constant(Self::input(grey)?), norm)?.value().clone())
    }

    /// The softmax of [`Classifier::logits`] by running statistics.
    ///
    /// # Errors
    /// Whatever a launch reports.
    pub fn probabilities(&self, grey: &Tensor) -> Result<Tensor> {
        let tape = Tape::inference();
        Ok(tape.apply(Softmax, &[&tape.constant(self.logits(grey, Norm::Running)?)])?.value().clone())
    }
}

impl Painter for Classifier {
    fn name(&self) -> &'static str {
        "colournet"
    }

    fn device(&self) -> &Device {
        self.parameters.device()
    }

    fn framing(&self) -> Framing {
        Framing { stride: colournet::STRIDE, halo: 0, window: None }
    }

    fn source_bands(&self) -> usize {
        1
    }

    fn bands(&self) -> usize {
        3
    }

    /// The annealed mean of the bins gives a and b; the grey value itself is L / 100.
    fn paint(&self, source: &Tensor, look: &Look) -> Result<Tensor> {
        let logits = self.logits(source, look.norm)?;
        lab::join(source, &annealed_mean(&logits, &self.bins, self.upsample, look.temperature)?.ab)
    }
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
