//! What a network that paints is: what it needs of an image, and how it is asked.

use crate::engine::device::Device;
use crate::engine::nn::{Norm, ParamSpec, Parameters, StateTensor};
use crate::engine::ops::concat::Concat;
use crate::engine::ops::pad::Slice;
use crate::engine::tape::Tape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// What a network needs of the picture that it paints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// Sides of what is painted in one go, and its origins, are multiples of this; a picture is continued at the bottom
    /// and right by its edge.
    pub stride: usize,
    /// Pixels that the network reads on each side beyond those that it paints; mirrored at the picture's border.
    pub halo: usize,
    /// Pixels beyond the halo on each side of a pixel, farther than which nothing changes it: what tiles overlap by to
    /// make no difference. Of windows: pixels that a window shares with its neighbour, over which one passes into the
    /// other.
    pub reach: usize,
    /// Side of the windows, a multiple of the stride, that a picture is painted by, overlapping and blended; a picture
    /// of just that size, less the margins, is painted in one go. `None`: any picture can be, or tile by tile, which
    /// makes no difference.
    pub window: Option<usize>,
    /// Pixels of mirror image on each side of a picture that its windows cover with it and that are cut off again: a
    /// network that pads its own layers paints a frame along the border of what it is given. Less than half a window.
    pub margin: usize,
}

/// Temperature of the annealed mean in Zhang, Isola and Efros (2016).
pub const TEMPERATURE: f32 = 0.38;

/// How a picture is to be painted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Temperature of a classifier's annealed mean: towards 0 the likeliest colour, 1 the mean.
    pub temperature: f32,
    /// Which statistics batch norm uses: the running ones, or those of what is painted in one go.
    pub norm: Norm,
}

impl Default for Look {
    fn default() -> Self {
        Look { temperature: TEMPERATURE, norm: Norm::Running }
    }
}

/// A network with its weights that makes pictures of sources.
pub trait Painter: Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Where its weights lie.
    fn device(&self) -> &Device;

    /// What it needs of a picture.
    fn framing(&self) -> Framing;

    /// Bands that it reads.
    fn source_bands(&self) -> usize;

    /// Bands that it puts out; three are sRGB.
    fn bands(&self) -> usize;

    /// How it paints where nothing else is said.
    fn look(&self) -> Look {
        Look::default()
    }

    /// The picture `[N, H, W, bands]` 0..1 of a source `[N, H + 2 halo, W + 2 halo, source_bands]` 0..1, H and W
    /// multiples of the stride.
    ///
    /// # Errors
    /// Another size, and whatever a launch reports.
    fn paint(&self, source: &Tensor, look: &Look) -> Result<Tensor>;

    /// Whether it keeps the values of the source's first band as the lightness of the picture. Then [`Painter::paint`]
    /// also takes a source with one more band, L / 100, for the picture to have instead.
    fn keeps_lightness(&self) -> bool {
        false
    }

    /// Whether it says how sure it is, see [`Painter::paint_with_uncertainty`].
    fn knows_uncertainty(&self) -> bool {
        false
    }

    /// As [`Painter::paint`], and how unsure the network is of each pixel, `[N, H, W, 1]`: the entropy of its
    /// distribution over Q colours over ln Q, 0 (sure) to 1 (no idea).
    ///
    /// # Errors
    /// A network that has no such distribution; as [`Painter::paint`].
    fn paint_with_uncertainty(&self, _source: &Tensor, _look: &Look) -> Result<(Tensor, Tensor)> {
        Err(no_uncertainty(self.name()))
    }

    /// The network for one image of a height and a width, multiples of the stride, whose rows come from top to bottom,
    /// about `rows` at a time: what it paints is what [`Painter::paint`] makes of all of them at once, and its memory
    /// does not grow with their number. With `uncertainty` each pixel has one value more, see
    /// [`Painter::paint_with_uncertainty`]. `None` where it must see an image as a whole.
    ///
    /// # Errors
    /// An uncertainty that the network does not know.
    fn by_rows(
        &self,
        _size: [usize; 2],
        _rows: usize,
        _look: &Look,
        _uncertainty: bool,
    ) -> Result<Option<Box<dyn RowPainter + '_>>> {
        Ok(None)
    }

    /// What the network itself says of such a source, of which [`Painter::paint`] makes a picture.
    ///
    /// # Errors
    /// As [`Painter::paint`].
    fn answer(&self, source: &Tensor) -> Result<Tensor> {
        self.paint(source, &Look::default())
    }
}

/// A network on its way down an image.
pub trait RowPainter {
    /// Takes the next rows `[1, h, W, source_bands]` 0..1, and hands out those that can be painted by now, which
    /// follow those that it handed out before: parts `[1, k, W, bands]` 0..1. With the last row of the image come all
    /// that are left.
    ///
    /// # Errors
    /// As [`Painter::paint`].
    fn push(&mut self, source: &Tensor) -> Result<Vec<Tensor>>;
}

/// Whether a network takes an image from top to bottom, see [`Painter::by_rows`].
pub fn goes_by_rows(painter: &dyn Painter, look: &Look) -> bool {
    painter.by_rows([painter.framing().stride; 2], 1, look, false).is_ok_and(|rows| rows.is_some())
}

/// A picture and how unsure the network is of each pixel, side by side.
///
/// # Errors
/// Whatever the launch reports.
pub fn with_uncertainty(picture: Tensor, unsure: Tensor) -> Result<Tensor> {
    let tape = Tape::inference();
    Ok(tape.apply(Concat, &[&tape.constant(picture), &tape.constant(unsure)])?.value().clone())
}

/// What is said where the network of this name is asked how unsure it is, and has no distribution over colours.
pub fn no_uncertainty(network: &str) -> Error {
    Error::input(
        format!("{network} puts out colours without a distribution over them"),
        "⟨uncertainty⟩",
        "leave it out, or use a classification network",
    )
}

/// What a network that keeps the lightness reads of a source, `bands` bands, and the lightness of its picture: the
/// first of them, or the band that follows them.
///
/// # Errors
/// Whatever a launch reports.
pub fn bands_and_lightness(source: &Tensor, bands: usize) -> Result<(Tensor, Tensor)> {
    match source.nhwc()?[3] {
        1 => Ok((source.clone(), source.clone())),
        held if held > bands => Ok((some_bands(source, 0, bands)?, some_bands(source, bands, 1)?)),
        _ => Ok((source.clone(), some_bands(source, 0, 1)?)),
    }
}

/// Bands of a source, from `first` (from 0) on.
///
/// # Errors
/// Whatever a launch reports.
pub fn some_bands(source: &Tensor, first: usize, count: usize) -> Result<Tensor> {
    if (first, count) == (0, source.nhwc()?[3]) {
        return Ok(source.clone());
    }
    let tape = Tape::inference();
    let all = tape.constant(source.clone());
    Ok(tape.apply(Slice::channels(source, first, count)?, &[&all])?.value().clone())
}

/// A network that makes pictures, apart from its weights: the generator of an adversarial pair.
pub trait Generator: Send + Sync {
    /// Its name on the command line.
    const NAME: &'static str;

    /// As [`Painter::framing`].
    fn framing(&self) -> Framing;

    /// As [`Painter::source_bands`].
    fn source_bands(&self) -> usize;

    /// As [`Painter::bands`].
    fn bands(&self) -> usize;

    /// As [`Painter::keeps_lightness`].
    fn keeps_lightness(&self) -> bool {
        false
    }

    /// Its parameters, whose names begin with `g.`.
    fn param_specs(&self) -> Vec<ParamSpec>;

    /// What a weight file holds beside the parameters.
    fn settings(&self) -> Vec<StateTensor> {
        Vec::new()
    }

    /// As [`Painter::paint`].
    ///
    /// # Errors
    /// As [`Painter::paint`].
    fn paint(&self, parameters: &Parameters, source: &Tensor, look: &Look) -> Result<Tensor>;
}

/// A generator with its weights.
pub struct Trained<G> {
    /// The network.
    pub network: G,
    /// Its weights.
    pub parameters: Parameters,
}

impl<G: Generator> Painter for Trained<G> {
    fn name(&self) -> &'static str {
        G::NAME
    }

    fn device(&self) -> &Device {
        self.parameters.device()
    }

    fn framing(&self) -> Framing {
        self.network.framing()
    }

    fn source_bands(&self) -> usize {
        self.network.source_bands()
    }

    fn bands(&self) -> usize {
        self.network.bands()
    }

    fn keeps_lightness(&self) -> bool {
        self.network.keeps_lightness()
    }

    fn paint(&self, source: &Tensor, look: &Look) -> Result<Tensor> {
        self.network.paint(&self.parameters, source, look)
    }
}
