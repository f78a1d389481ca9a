//! A classifier at work on images.

use crate::engine::device::Device;
use crate::engine::nn::Norm;
use crate::engine::ops::softmax::Softmax;
use crate::engine::tape::Tape;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::networks::classifier::network::Classifier;
use crate::networks::classifier::rows::DecodedRows;
use crate::paint::painter::{Framing, Look, Painter, RowPainter};

impl Painter for Classifier {
    fn name(&self) -> &'static str {
        self.architecture.name
    }

    fn device(&self) -> &Device {
        self.parameters.device()
    }

    fn framing(&self) -> Framing {
        self.architecture.framing
    }

    fn look(&self) -> Look {
        let usual = Look::default();
        Look { temperature: self.temperature.unwrap_or(usual.temperature), ..usual }
    }

    fn source_bands(&self) -> usize {
        self.network.channels_in()
    }

    fn bands(&self) -> usize {
        3
    }

    fn keeps_lightness(&self) -> bool {
        self.lightness.is_none()
    }

    fn paint(&self, source: &Tensor, look: &Look) -> Result<Tensor> {
        Ok(self.decode(source, look)?.0)
    }

    fn knows_uncertainty(&self) -> bool {
        true
    }

    fn paint_with_uncertainty(&self, source: &Tensor, look: &Look) -> Result<(Tensor, Tensor)> {
        let (picture, entropy) = self.decode(source, look)?;
        Ok((picture, self.uncertainty(entropy)?))
    }

    fn by_rows(
        &self,
        size: [usize; 2],
        rows: usize,
        look: &Look,
        uncertainty: bool,
    ) -> Result<Option<Box<dyn RowPainter + '_>>> {
        DecodedRows::of(self, size, rows, look, uncertainty)
    }

    /// The probabilities of the bins, at the size of the logits.
    fn answer(&self, source: &Tensor) -> Result<Tensor> {
        let tape = Tape::inference();
        let logits = self.logits(&tape, source, Norm::Running)?;
        let _layer = logits.value().device().layer("softmax");
        Ok(tape.apply(Softmax, &[&logits])?.value().clone())
    }
}
