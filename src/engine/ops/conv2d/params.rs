//! What the kernels of a convolution are told, and into how many parts their sums are cut.

use crate::engine::ops::conv2d::finish::Finish;
use crate::engine::ops::conv2d::geometry::{Activation, Geometry, Layout};

/// What every kernel here is told; kernels/lib/conv.wgsl has the same.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Params {
    pub(super) geometry: Geometry,
    pub(super) relu: u32,
    /// What one partial sum runs over (quads of the depth of y and dx, pixels of dw and db), and the number of partial
    /// sums.
    pub(super) chunk: u32,
    pub(super) chunks: u32,
    /// Whether there is a bias.
    pub(super) biased: u32,
    /// Elements from the weight of one channel, and of one output, to that of the next.
    channel_step: u32,
    output_step: u32,
    /// Which taps reach an input pixel, see kernels/lib/conv.wgsl.
    tap_step: u32,
    phase_step: u32,
    inverse: u32,
}

/// Quads of the depth (taps and channels) that one invocation of y or dx runs over: with the loops around them below
/// the 65,535 turns that some drivers allow an invocation in all.
pub(super) const DEPTH_QUADS: usize = 1 << 13;
/// Quads of the depth below which a part of a sum costs more than it gains.
const LEAST_DEPTH_QUADS: usize = 32;
/// Tiles of 64 x 64 that keep a large card busy: eight for each of 128 multiprocessors.
const FULL_CARD: usize = 1024;
/// Elements of partial sums that a launch may write for the sake of more workgroups: 64 MiB.
const MOST_PARTIALS: usize = 1 << 24;
/// Pixels that one invocation of dw or db runs over.
const CHUNK_PIXELS: usize = 1 << 14;

impl Params {
    pub(super) fn new(geometry: &Geometry, layout: Layout) -> Self {
        let (channel_step, output_step) = match layout {
            Layout::Hwio => (geometry.o, 1),
            Layout::Hwoi => (1, geometry.c),
        };
        let (stride, dilation) = (u64::from(geometry.stride), u64::from(geometry.dilation));
        let phase_step = greatest_common_divisor(stride, dilation);
        let tap_step = stride / phase_step;
        let inverse = (0..tap_step).find(|k| k * (dilation / phase_step) % tap_step == 1 % tap_step).unwrap_or(0);
        let [tap_step, phase_step, inverse] = [tap_step, phase_step, inverse].map(|v| v as u32);
        Params {
            geometry: *geometry,
            relu: 0,
            chunk: 0,
            chunks: 1,
            biased: 0,
            channel_step,
            output_step,
            tap_step,
            phase_step,
            inverse,
        }
    }

    /// With what follows the sums.
    pub(super) fn finished(self, activation: Activation, biased: bool) -> Self {
        Params { relu: u32::from(activation == Activation::Relu), biased: u32::from(biased), ..self }
    }

    /// The same for some of the images: the parts of the sums stay as they are.
    pub(super) fn on(self, geometry: Geometry) -> Self {
        Params { geometry, ..self }
    }

    /// Cuts the depth, Kh Kw taps of `channels` each, into parts of at most `most` quads, and into more where `rows` x
    /// `columns` of results are few.
    pub(super) fn cut(self, channels: u32, most: usize, [rows, columns]: [usize; 2]) -> Self {
        let taps = self.geometry.kh as usize * self.geometry.kw as usize;
        let depth = taps * channels.div_ceil(4) as usize;
        let busy = FULL_CARD.div_ceil(rows.div_ceil(64) * columns.div_ceil(64)).min(MOST_PARTIALS / (rows * columns));
        let parts = depth.div_ceil(most).max(busy.min(depth / LEAST_DEPTH_QUADS));
        // Whole slices of the workgroup's tiles.
        let chunk = depth.div_ceil(parts.max(1)).next_multiple_of(4);
        Params { chunk: chunk as u32, chunks: depth.div_ceil(chunk) as u32, ..self }
    }

    /// Cuts the output pixels into at most `chunks` parts of a multiple of `align` pixels.
    pub(super) fn chunked(self, chunks: usize, align: usize) -> Self {
        let pixels = self.geometry.output_pixels();
        let chunk = pixels.div_ceil(chunks).next_multiple_of(align);
        Params { chunk: chunk as u32, chunks: pixels.div_ceil(chunk) as u32, ..self }
    }

    /// Of dw. The pixels are cut so that four times as many workgroups as a large card holds have work, lest it wait
    /// for the last few, within [`MOST_PARTIALS`], of 256 pixels or more each, but no invocation more than it may loop
    /// over.
    pub(super) fn of_dw(geometry: &Geometry, layout: Layout) -> Self {
        let tiles = (geometry.weights() / geometry.o as usize).div_ceil(64) * (geometry.o as usize).div_ceil(64);
        let wanted = (4 * FULL_CARD).div_ceil(tiles);
        let fit = MOST_PARTIALS / geometry.weights();
        let useful = geometry.output_pixels().div_ceil(256);
        let needed = geometry.output_pixels().div_ceil(CHUNK_PIXELS);
        Params::new(geometry, layout).chunked(wanted.min(fit).min(useful).max(needed), 16)
    }

    /// Of sums over the pixels. Those are cut so that some 32,768 invocations have four columns each, of 8 pixels or
    /// more, in at most 1024 parts unless an invocation had to loop over too many pixels.
    pub(super) fn of_column_sums(geometry: &Geometry) -> Self {
        let pixels = geometry.output_pixels();
        let wanted = (1usize << 17).div_ceil(geometry.o as usize).min(1024).min(pixels.div_ceil(8));
        Params::new(geometry, Layout::Hwio).chunked(wanted.max(pixels.div_ceil(CHUNK_PIXELS)), 4)
    }

    /// What a layer's launches have in common whatever the size and number of the images: constants of their pipelines,
    /// so that no index is divided by what the compiler does not know.
    pub(super) fn of_layer(&self) -> Vec<(&'static str, f64)> {
        let g = &self.geometry;
        let fields = [
            ("p.c", g.c),
            ("p.kh", g.kh),
            ("p.kw", g.kw),
            ("p.o", g.o),
            ("p.stride", g.stride),
            ("p.dilation", g.dilation),
            ("p.pad_top", g.pad_top),
            ("p.pad_left", g.pad_left),
            ("p.relu", self.relu),
            ("p.biased", self.biased),
            ("p.channel_step", self.channel_step),
            ("p.output_step", self.output_step),
            ("p.tap_step", self.tap_step),
            ("p.phase_step", self.phase_step),
            ("p.inverse", self.inverse),
        ];
        fields.into_iter().map(|(field, value)| (field, f64::from(value))).collect()
    }

    /// The same with the size of the images, for gradients: a training has images of one size, where a network that
    /// colours may meet another with each.
    pub(super) fn of_layer_and_size(&self) -> Vec<(&'static str, f64)> {
        let g = &self.geometry;
        let size = [("p.h", g.h), ("p.w", g.w), ("p.ho", g.ho), ("p.wo", g.wo)];
        let mut fields = self.of_layer();
        fields.extend(size.map(|(field, value)| (field, f64::from(value))));
        fields
    }

    pub(super) fn layout(&self) -> Layout {
        // With one channel or one output both orders are the same.
        if self.output_step == 1 { Layout::Hwio } else { Layout::Hwoi }
    }

    pub(super) fn finish<'a>(&self, bias: &'a [f32]) -> Finish<'a> {
        Finish { bias: (self.biased != 0).then_some(bias), relu: self.relu != 0 }
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
