//! A classifier on an image from top to bottom, some rows at a time.

use crate::engine::nn::Norm;
use crate::engine::nn::rows::Rows;
use crate::engine::nn::window::Window;
use crate::engine::tape::Tape;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::networks::classifier::network::Classifier;
use crate::paint::painter::{Look, RowPainter, with_uncertainty};

/// The layers on their way down, and what makes colours of their answers.
pub(super) struct DecodedRows<'a> {
    classifier: &'a Classifier,
    layers: Rows,
    decoder: Decoder<'a>,
}

/// Of answers and of the source, the rows that are not yet coloured. Colours are enlarged from those of the rows above
/// and below.
struct Decoder<'a> {
    classifier: &'a Classifier,
    look: Look,
    uncertainty: bool,
    /// Rows of the answers.
    height: usize,
    source: Window,
    features: Window,
    logits: Window,
    /// Rows of answers that are coloured.
    coloured: usize,
}

impl<'a> DecodedRows<'a> {
    /// For an image of a height and a width, multiples of the network's stride, of which `rows` rows come at a time;
    /// `None` where it must be seen as a whole.
    pub fn of(
        classifier: &'a Classifier,
        [height, width]: [usize; 2],
        rows: usize,
        look: &Look,
        uncertainty: bool,
    ) -> Result<Option<Box<dyn RowPainter + 'a>>> {
        let halo = classifier.architecture.framing.halo;
        if look.norm != Norm::Running || halo > 0 {
            return Ok(None);
        }
        let Some(layers) = classifier.network.by_rows(&classifier.parameters, [height, width], rows)? else {
            return Ok(None);
        };
        let (look, height) = (*look, height / classifier.architecture.upsample);
        let [source, features, logits] = std::array::from_fn(|_| Window::default());
        let decoder = Decoder { classifier, look, uncertainty, height, source, features, logits, coloured: 0 };
        Ok(Some(Box::new(DecodedRows { classifier, layers, decoder })))
    }
}

impl Decoder<'_> {
    /// Takes the next rows of what the last layer has read and made, and colours those that can be coloured.
    fn colour(&mut self, [features, logits]: [Tensor; 2]) -> Result<Option<Tensor>> {
        let (classifier, factor) = (self.classifier, self.classifier.architecture.upsample);
        if classifier.lightness.is_some() {
            self.features.push(features)?;
        }
        self.logits.push(logits)?;
        let come = self.logits.end();
        // The last row that has come may be enlarged with the one below it.
        let end = if come == self.height { come } else { come - 1 };
        if end <= self.coloured {
            return Ok(None);
        }
        let window = self.coloured.saturating_sub(1)..come;
        let logits = self.logits.rows(window.start, window.end)?;
        let features = match classifier.lightness {
            Some(_) => self.features.rows(window.start, window.end)?,
            None => logits.clone(),
        };
        let source = self.source.rows(window.start * factor, window.end * factor)?;
        let [first, last] = [self.coloured, end].map(|row| (row - window.start) * factor);
        let (picture, entropy) = classifier.decode_answer(&source, [features, logits], &self.look, first..last)?;
        let painted = match self.uncertainty {
            true => with_uncertainty(picture, classifier.uncertainty(entropy)?)?,
            false => picture,
        };
        self.coloured = end;
        let kept = if end == self.height { end } else { end.saturating_sub(1) };
        self.logits.forget(kept)?;
        self.features.forget(kept)?;
        self.source.forget(kept * factor)?;
        Ok(Some(painted))
    }
}

impl RowPainter for DecodedRows<'_> {
    fn push(&mut self, source: &Tensor) -> Result<Vec<Tensor>> {
        let tape = Tape::inference();
        let bound = self.classifier.parameters.bind(&tape, false);
        self.decoder.source.push(source.clone())?;
        let grey = self.classifier.read_bands(source)?;
        let mut painted = Vec::new();
        self.layers.push(&bound, Classifier::input(&grey)?, &mut |answer| {
            painted.extend(self.decoder.colour(answer)?);
            Ok(())
        })?;
        Ok(painted)
    }
}
