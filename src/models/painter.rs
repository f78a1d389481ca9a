//! How a trained network is put to work on a picture of any size: what it needs around a picture, and in which pieces it is
//! painted.

use crate::device::Device;
use crate::error::Result;
use crate::nn::{Norm, ParamSpec, Parameters, StateTensor};
use crate::tensor::Tensor;

/// What a network needs of the picture that it paints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// Sides of what is painted in one go are multiples of this; a picture is continued at the bottom and right by its edge.
    pub stride: usize,
    /// Pixels that the network reads on each side beyond those that it paints; mirrored at the picture's border.
    pub halo: usize,
    /// Side of the windows that a picture is painted by, at half overlap and blended; a picture of just that size is painted
    /// in one go. `None`: any picture is, or, by a network with a halo, strip by strip, which makes no difference to it.
    pub window: Option<usize>,
}

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
        Look { temperature: super::classifier::TEMPERATURE, norm: Norm::Running }
    }
}

/// A network with its weights that makes pictures of sources.
pub trait Painter {
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

    /// The picture `[N, H, W, bands]` 0..1 of a source `[N, H + 2 halo, W + 2 halo, source_bands]` 0..1, H and W multiples of
    /// the stride.
    ///
    /// # Errors
    /// Another size, and whatever a launch reports.
    fn paint(&self, source: &Tensor, look: &Look) -> Result<Tensor>;

    /// What the network itself says of such a source, of which [`Painter::paint`] makes a picture.
    ///
    /// # Errors
    /// As [`Painter::paint`].
    fn answer(&self, source: &Tensor) -> Result<Tensor> {
        self.paint(source, &Look::default())
    }
}

/// A network that makes pictures, apart from its weights: the generator of an adversarial pair.
pub trait Generator {
    /// Its name on the command line.
    const NAME: &'static str;

    /// As [`Painter::framing`].
    fn framing(&self) -> Framing;

    /// As [`Painter::source_bands`].
    fn source_bands(&self) -> usize;

    /// As [`Painter::bands`].
    fn bands(&self) -> usize;

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

    fn paint(&self, source: &Tensor, look: &Look) -> Result<Tensor> {
        self.network.paint(&self.parameters, source, look)
    }
}

/// Values of a picture on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Values a pixel.
    pub bands: usize,
    /// `[height, width, bands]`.
    pub values: Vec<f32>,
}

impl Pixels {
    /// The rectangle of `width` x `height` pixels whose upper left corner is (`x`, `y`), which may reach beyond the
    /// picture: `across` and `down` say which column and row stand there.
    fn cut(
        &self,
        [x, y]: [isize; 2],
        [width, height]: [usize; 2],
        across: impl Fn(isize) -> usize,
        down: impl Fn(isize) -> usize,
    ) -> Vec<f32> {
        let mut values = Vec::with_capacity(width * height * self.bands);
        let columns: Vec<usize> = (0..width).map(|i| across(x + i as isize)).collect();
        for row in 0..height {
            let row = down(y + row as isize) * self.width;
            for column in &columns {
                values.extend_from_slice(&self.values[(row + column) * self.bands..][..self.bands]);
            }
        }
        values
    }
}

/// The place within 0..`len` that a place outside mirrors, the border itself not repeated: -1 is 1.
pub fn mirrored(place: isize, len: usize) -> usize {
    if len == 1 {
        return 0;
    }
    let period = 2 * (len as isize - 1);
    let place = place.rem_euclid(period);
    place.min(period - place) as usize
}

/// Origins of windows of `side` along an axis of `len`: half a side apart, the last one flush with the end.
fn origins(len: usize, side: usize) -> Vec<usize> {
    let last = len - side;
    (0..last).step_by((side / 2).max(1)).chain([last]).collect()
}

/// Weight of place `i` of a window at `origin`: it rises and falls over half a side, but not at the picture's border.
fn taper(i: usize, side: usize, origin: usize, len: usize) -> f32 {
    let half = side as f32 / 2.0;
    let rise = if origin == 0 { 1.0 } else { (i as f32 + 0.5) / half };
    let fall = if origin + side == len { 1.0 } else { (side as f32 - 0.5 - i as f32) / half };
    rise.min(fall).min(1.0)
}

/// Pixels of a strip: at full size, a classifier of 274 bins takes 145 MB for its logits then.
const STRIP_PIXELS: usize = 1 << 17;
/// Rows of a strip at least, beside which the halo above and below is little.
const STRIP_ROWS: usize = 64;

/// Paints a source of any size, values 0..1: `[height, width, bands]` 0..1.
///
/// # Errors
/// Whatever the network reports.
pub fn paint(painter: &dyn Painter, source: &Pixels, look: &Look) -> Result<Pixels> {
    let Framing { stride, halo, window } = painter.framing();
    let bands = painter.bands();
    let (width, height) = (source.width, source.height);
    let [full_w, full_h] = [width, height].map(|side| side.max(window.unwrap_or(1)).next_multiple_of(stride));
    let whole = window.is_none_or(|side| [full_w, full_h] == [side; 2]);
    let [side_w, side_h] = if whole { [full_w, full_h] } else { [window.unwrap_or(full_w); 2] };
    let piece = |x: usize, y: usize, rows: usize| -> Result<Vec<f32>> {
        let size = [side_w + 2 * halo, rows + 2 * halo];
        let corner = [x, y].map(|v| v as isize - halo as isize);
        let across = |x| mirrored(x, full_w).min(width - 1);
        let down = |y| mirrored(y, full_h).min(height - 1);
        let values = source.cut(corner, size, across, down);
        let values = Tensor::new(painter.device(), &[1, size[1], size[0], source.bands], &values)?;
        painter.paint(&values, look)?.to_vec()
    };
    let mut values = vec![0.0; width * height * bands];
    if whole {
        // With a halo each pixel has all that it needs around it, wherever a strip ends.
        let strip = if halo == 0 { full_h } else { (STRIP_PIXELS / full_w).max(STRIP_ROWS).next_multiple_of(stride) };
        for (y, rows) in (0..height).step_by(strip).zip(values.chunks_mut(strip * width * bands)) {
            let painted = piece(0, y, strip.min(full_h - y))?;
            for (row, line) in rows.chunks_exact_mut(width * bands).zip(painted.chunks_exact(full_w * bands)) {
                row.copy_from_slice(&line[..width * bands]);
            }
        }
        return Ok(Pixels { width, height, bands, values });
    }
    let mut weights = vec![0.0f32; width * height];
    for y in origins(full_h, side_h) {
        for x in origins(full_w, side_w) {
            let painted = piece(x, y, side_h)?;
            for row in 0..side_h.min(height.saturating_sub(y)) {
                let down = taper(row, side_h, y, full_h);
                for column in 0..side_w.min(width.saturating_sub(x)) {
                    let weight = down * taper(column, side_w, x, full_w);
                    let place = (y + row) * width + x + column;
                    weights[place] += weight;
                    let from = &painted[(row * side_w + column) * bands..][..bands];
                    for (sum, value) in values[place * bands..][..bands].iter_mut().zip(from) {
                        *sum += weight * value;
                    }
                }
            }
        }
    }
    for (pixel, weight) in values.chunks_exact_mut(bands).zip(&weights) {
        pixel.iter_mut().for_each(|value| *value /= weight);
    }
    Ok(Pixels { width, height, bands, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copies the inner part of its source, and counts how often it is asked.
    struct Copying {
        device: Device,
        framing: Framing,
        asked: std::cell::Cell<usize>,
    }

    impl Painter for Copying {
        fn name(&self) -> &'static str {
            "copying"
        }
        fn device(&self) -> &Device {
            &self.device
        }
        fn framing(&self) -> Framing {
            self.framing
        }
        fn source_bands(&self) -> usize {
            1
        }
        fn bands(&self) -> usize {
            1
        }
        fn paint(&self, source: &Tensor, _: &Look) -> Result<Tensor> {
            self.asked.set(self.asked.get() + 1);
            let [_, h, w, _] = source.nhwc()?;
            let halo = self.framing.halo;
            let (inner_h, inner_w) = (h - 2 * halo, w - 2 * halo);
            assert!(inner_h.is_multiple_of(self.framing.stride) && inner_w.is_multiple_of(self.framing.stride));
            let values = source.to_vec()?;
            let inner: Vec<f32> =
                (0..inner_h).flat_map(|y| values[(y + halo) * w + halo..][..inner_w].to_vec()).collect();
            Tensor::new(&self.device, &[1, inner_h, inner_w, 1], &inner)
        }
    }

    fn painted(framing: Framing, width: usize, height: usize) -> (Pixels, Pixels, usize) {
        let values = (0..width * height).map(|i| (i * 37 % 101) as f32 / 100.0).collect();
        let source = Pixels { width, height, bands: 1, values };
        let copying = Copying { device: Device::cpu(), framing, asked: 0.into() };
        let result = paint(&copying, &source, &Look::default()).unwrap();
        (source, result, copying.asked.get())
    }

    #[test]
    fn a_copying_network_gives_any_picture_back() {
        let framings = [
            Framing { stride: 8, halo: 0, window: None },
            Framing { stride: 1, halo: 8, window: None },
            Framing { stride: 1, halo: 1, window: Some(16) },
            Framing { stride: 16, halo: 0, window: Some(16) },
        ];
        for framing in framings {
            for (width, height) in [(1, 1), (16, 16), (5, 40), (37, 18), (48, 16)] {
                let (source, result, _) = painted(framing, width, height);
                assert_eq!((result.width, result.height), (width, height));
                // Weights of up to four windows, each rounded.
                let off = source.values.iter().zip(&result.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off < 1e-6, "{framing:?} {width}x{height}: {off}");
            }
        }
    }

    #[test]
    fn a_network_with_a_halo_paints_a_large_picture_by_strips() {
        let framing = Framing { stride: 2, halo: 3, window: None };
        let (source, result, asked) = painted(framing, 2047, 201);
        assert_eq!(source.values, result.values);
        assert_eq!(asked, 4);
        assert_eq!(painted(Framing { halo: 0, ..framing }, 2047, 201).2, 1);
    }

    #[test]
    fn windows_lie_half_a_side_apart_and_one_is_enough_for_its_own_size() {
        let framing = Framing { stride: 1, halo: 0, window: Some(16) };
        assert_eq!(painted(framing, 16, 16).2, 1);
        assert_eq!(painted(framing, 9, 3).2, 1);
        assert_eq!(painted(framing, 32, 16).2, 3);
        assert_eq!(origins(37, 16), [0, 8, 16, 21]);
    }

    #[test]
    fn places_outside_are_mirrored_without_the_border() {
        let seen: Vec<usize> = (-4..8).map(|place| mirrored(place, 4)).collect();
        assert_eq!(seen, [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
        assert_eq!(mirrored(-9, 1), 0);
    }
}
