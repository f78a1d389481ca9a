//! The CPU bodies. For the gradient of the weights, blocks of pixels are gathered into rows of a matrix (im2col) that
//! fit the cache.

use crate::engine::blocks;
use crate::engine::ops::by_halves::{Halves, add_halves, sum_by_halves};
use crate::engine::ops::conv2d::correlation::Correlation;
use crate::engine::ops::conv2d::finish::Finish;
use crate::engine::ops::conv2d::geometry::{Geometry, Layout};
use crate::engine::ops::conv2d::winograd::Winograd;
use crate::engine::ops::gemm::{column_product, with_scratch, with_vectors};
use std::ops::Range;

/// Chunks of pixels have a multiple of so many, and one task adds up so many elements of them.
const BLOCK: usize = 256;
/// With fewer columns, those of all taps are made by one product.
const SHORT: usize = 16;
/// Pixels, and rows and columns, of one product of the weight gradient: what it reads fits a first-level cache, whose
/// sets its rows share, since they lie a power of two apart.
const PIXELS: usize = 64;
const TILE: usize = 64;
/// Rows of the weight gradient that one task makes.
const SLAB: usize = 256;
/// Most elements of the weight gradient's partial sums.
const PARTIAL_ELEMENTS: usize = 1 << 22;
/// Pixels that a column sum runs over before its partial sums are added.
const SUM_ROWS: usize = 1024;

/// The sizes as the loops here need them.
struct Sizes {
    h: usize,
    w: usize,
    c: usize,
    kw: usize,
    o: usize,
    ho: usize,
    wo: usize,
    stride: usize,
    dilation: usize,
    pad_top: usize,
    pad_left: usize,
}

impl From<&Geometry> for Sizes {
    fn from(g: &Geometry) -> Sizes {
        Sizes {
            h: g.h as usize,
            w: g.w as usize,
            c: g.c as usize,
            kw: g.kw as usize,
            o: g.o as usize,
            ho: g.ho as usize,
            wo: g.wo as usize,
            stride: g.stride as usize,
            dilation: g.dilation as usize,
            pad_top: g.pad_top as usize,
            pad_left: g.pad_left as usize,
        }
    }
}

impl Sizes {
    /// The input pixel under tap (ky, kx) of output pixel (picture, oy, ox), or `None` outside the picture.
    fn source(&self, [picture, oy, ox]: [usize; 3], [ky, kx]: [usize; 2]) -> Option<usize> {
        let iy = (oy * self.stride + ky * self.dilation).checked_sub(self.pad_top)?;
        let ix = (ox * self.stride + kx * self.dilation).checked_sub(self.pad_left)?;
        (iy < self.h && ix < self.w).then(|| (picture * self.h + iy) * self.w + ix)
    }

    /// Gathers the windows of output pixels `pixels` into rows, TILE apart: elements `depth` of (tap, channel).
    fn gather(&self, x: &[f32], pixels: Range<usize>, depth: Range<usize>, rows: &mut [f32]) {
        let tap = depth.start / self.c;
        let tap = [tap / self.kw, tap % self.kw];
        for (pixel, row) in pixels.zip(rows.chunks_exact_mut(TILE)) {
            let at = [pixel / (self.ho * self.wo), pixel / self.wo % self.ho, pixel % self.wo];
            let (mut at_tap, mut first) = (tap, depth.start % self.c);
            let mut rest = &mut row[..depth.len()];
            while !rest.is_empty() {
                let (part, after) = rest.split_at_mut((self.c - first).min(rest.len()));
                match (self.source(at, at_tap), &mut *part) {
                    (Some(source), [one]) => *one = x[source * self.c + first],
                    (Some(source), part) => part.copy_from_slice(&x[source * self.c + first..][..part.len()]),
                    (None, part) => part.fill(0.0),
                }
                (rest, first) = (after, 0);
                at_tap[1] += 1;
                if at_tap[1] == self.kw {
                    at_tap = [at_tap[0] + 1, 0];
                }
            }
        }
    }
}

/// `y = act(conv(x, w) + b)`.
pub fn forward(geometry: &Geometry, layout: Layout, finish: Finish, x: &[f32], w: &[f32], y: &mut [f32]) {
    if let Some(winograd) = Winograd::forward(geometry, layout) {
        return winograd.run(x, w, finish, y);
    }
    Correlation::forward(geometry, layout).run(x, w, finish, y);
}

/// The gradient of the input. With a `finish` it is the forward pass of a transposed convolution.
pub fn input_gradient(geometry: &Geometry, layout: Layout, finish: Finish, dz: &[f32], w: &[f32], dx: &mut [f32]) {
    if let Some(winograd) = Winograd::input_gradient(geometry, layout) {
        return winograd.run(dz, w, finish, dx);
    }
    Correlation::input_gradient(geometry, layout).run(dz, w, finish, dx);
}

/// The gradient of the weights, image by image, which are [added by halves](sum_by_halves): each task makes a slab of
/// rows (tap, channel) over the pixels of an image or, where the weights are few, over a chunk of them. The sums of
/// chunks are added in order.
pub fn weight_gradient(geometry: &Geometry, layout: Layout, x: &[f32], dz: &[f32], dw: &mut [f32]) {
    if let Some(winograd) = Winograd::forward(geometry, layout) {
        return winograd.weight_gradient(x, dz, dw);
    }
    let s = Sizes::from(geometry);
    // How many elements one task makes.
    let (slab, slab_len): (Slab, usize) = match layout {
        Layout::Hwio if s.o == 1 => (one_output, SLAB),
        Layout::Hwio => (slab_hwio, SLAB * s.o),
        Layout::Hwoi if s.c < SHORT => (few_columns, dw.len()),
        Layout::Hwoi => (slab_hwoi, SLAB * s.c),
    };
    // A row of a dense layer is not worth a product of its own.
    let dense = [geometry.h, geometry.w, geometry.kh, geometry.kw] == [1; 4];
    let images = if dense { 1 } else { geometry.n as usize };
    let pixels = geometry.output_pixels() / images;
    let chunks = (PARTIAL_ELEMENTS / dw.len()).min(pixels.div_ceil(8 * BLOCK)).max(1);
    let chunk = pixels.div_ceil(chunks).next_multiple_of(BLOCK);
    if chunk < pixels {
        let cut = Cut { pixels, chunk };
        let slabs = |pixels: Range<usize>, dw: &mut [f32]| {
            blocks::write((dw, slab_len), |number, dw| slab(&s, [x, dz], pixels.clone(), number, dw));
        };
        return cut.sum(0..images, &slabs, dw);
    }
    blocks::write((dw, slab_len), |number, dw| {
        let of_image = |image: usize, dw: &mut [f32]| {
            slab(&s, [x, dz], image * pixels..(image + 1) * pixels, number, dw);
        };
        sum_by_halves(0..images, Halves::AtOnce, &of_image, dw);
    });
}

/// How the pixels of an image are cut into chunks.
struct Cut {
    pixels: usize,
    chunk: usize,
}

impl Cut {
    /// Makes dw the sum over `images` of what `slabs` writes for a range of pixels.
    fn sum(&self, images: Range<usize>, slabs: &(dyn Fn(Range<usize>, &mut [f32]) + Sync), dw: &mut [f32]) {
        let len = dw.len();
        let chunks = self.pixels.div_ceil(self.chunk);
        if images.len() > 1 && images.len() * chunks * len > PARTIAL_ELEMENTS {
            // As `sum_by_halves` does: how many images are held at once is not seen in the sum.
            let middle = images.start + images.len() / 2;
            self.sum(images.start..middle, slabs, dw);
            return with_scratch(len, |other| {
                self.sum(middle..images.end, slabs, other);
                add_halves(dw, other);
            });
        }
        with_scratch(images.len() * chunks * len, |partial| {
            blocks::write((partial, len), |i, sum| {
                let (image, first) = (images.start + i / chunks, i % chunks * self.chunk);
                let end = self.pixels.min(first + self.chunk);
                slabs(image * self.pixels + first..image * self.pixels + end, sum);
            });
            blocks::write((dw, BLOCK), |block, dw| {
                let of_image = |image: usize, dw: &mut [f32]| {
                    dw.fill(0.0);
                    for sum in partial[image * chunks * len..][..chunks * len].chunks_exact(len) {
                        dw.iter_mut().zip(&sum[block * BLOCK..]).for_each(|(dw, sum)| *dw += sum);
                    }
                };
                sum_by_halves(0..images.len(), Halves::InTurn, &of_image, dw);
            });
        });
    }
}

/// Writes slab `number` of dw, the sum over some pixels.
type Slab = fn(&Sizes, [&[f32]; 2], Range<usize>, usize, &mut [f32]);

/// A slab of rows (tap, channel).
fn slab_hwio(s: &Sizes, [x, dz]: [&[f32]; 2], pixels: Range<usize>, number: usize, dw: &mut [f32]) {
    let depth = number * SLAB..number * SLAB + dw.len() / s.o;
    let rows = |block: Range<usize>, rows: Range<usize>, to: &mut [f32]| {
        s.gather(x, block, depth.start + rows.start..depth.start + rows.end, to);
    };
    let columns = |block: Range<usize>, columns: Range<usize>, to: &mut [f32]| copy(dz, s.o, block, columns, to);
    sum_of_products(pixels, [depth.len(), s.o], [&rows, &columns], dw);
}

/// [`slab_hwio`] of one output: rows of `x`, each times a number. A product would be mostly of columns that are not
/// there.
fn one_output(s: &Sizes, [x, dz]: [&[f32]; 2], pixels: Range<usize>, number: usize, dw: &mut [f32]) {
    dw.fill(0.0);
    let depth = number * SLAB..number * SLAB + dw.len();
    for tap in depth.start / s.c..depth.end.div_ceil(s.c) {
        let part = depth.start.max(tap * s.c)..depth.end.min((tap + 1) * s.c);
        let dw = &mut dw[part.start - depth.start..part.end - depth.start];
        with_vectors(
            #[inline(always)]
            |vectors| {
                for pixel in pixels.clone() {
                    let at = [pixel / (s.ho * s.wo), pixel / s.wo % s.ho, pixel % s.wo];
                    let Some(source) = s.source(at, [tap / s.kw, tap % s.kw]) else { continue };
                    let (x, dz) = (&x[source * s.c + part.start - tap * s.c..], dz[pixel]);
                    dw.iter_mut().zip(x).for_each(|(dw, x)| *dw = vectors.multiply_add(*x, dz, *dw));
                }
            },
        );
    }
}

/// A slab of rows (tap, output).
fn slab_hwoi(s: &Sizes, [x, dz]: [&[f32]; 2], pixels: Range<usize>, number: usize, dw: &mut [f32]) {
    let rows = number * SLAB..number * SLAB + dw.len() / s.c;
    for tap in rows.start / s.o..rows.end.div_ceil(s.o) {
        let part = rows.start.max(tap * s.o)..rows.end.min((tap + 1) * s.o);
        let dw = &mut dw[(part.start - rows.start) * s.c..(part.end - rows.start) * s.c];
        let first = part.start - tap * s.o;
        let rows = |block: Range<usize>, rows: Range<usize>, to: &mut [f32]| {
            copy(dz, s.o, block, first + rows.start..first + rows.end, to);
        };
        let columns = |block: Range<usize>, columns: Range<usize>, to: &mut [f32]| {
            s.gather(x, block, tap * s.c + columns.start..tap * s.c + columns.end, to);
        };
        sum_of_products(pixels.clone(), [part.len(), s.c], [&rows, &columns], dw);
    }
}

/// As [`slab_hwoi`], the whole of it, for few channels: rows of outputs, by all taps and channels.
fn few_columns(s: &Sizes, [x, dz]: [&[f32]; 2], pixels: Range<usize>, _: usize, dw: &mut [f32]) {
    let depth = dw.len() / s.o;
    let rows = |block: Range<usize>, rows: Range<usize>, to: &mut [f32]| copy(dz, s.o, block, rows, to);
    let columns = |block: Range<usize>, columns: Range<usize>, to: &mut [f32]| s.gather(x, block, columns, to);
    with_scratch(s.o * depth, |sums| {
        sum_of_products(pixels, [s.o, depth], [&rows, &columns], sums);
        for (tap, dw) in dw.chunks_exact_mut(s.o * s.c).enumerate() {
            for (dw, sums) in dw.chunks_exact_mut(s.c).zip(sums.chunks_exact(depth)) {
                dw.copy_from_slice(&sums[tap * s.c..][..s.c]);
            }
        }
    });
}

/// Copies the columns `columns` of the pixels `pixels` of rows of `width` into rows, TILE apart.
fn copy(values: &[f32], width: usize, pixels: Range<usize>, columns: Range<usize>, to: &mut [f32]) {
    for (to, row) in to.chunks_exact_mut(TILE).zip(values[pixels.start * width..pixels.end * width].chunks_exact(width))
    {
        to[..columns.len()].copy_from_slice(&row[columns.clone()]);
    }
}

/// Writes, of some pixels, some elements each: a row a pixel, TILE apart.
type Pack<'f> = &'f dyn Fn(Range<usize>, Range<usize>, &mut [f32]);

/// Makes `sums`, which has `rows` by `columns`, the sum over `pixels` of each row's element times each column's.
fn sum_of_products(
    pixels: Range<usize>,
    [rows, columns]: [usize; 2],
    [pack_rows, pack_columns]: [Pack<'_>; 2],
    sums: &mut [f32],
) {
    let strips = columns.div_ceil(TILE);
    // Whole tiles of the processor are made where they belong.
    let in_place = rows.is_multiple_of(16) && columns.is_multiple_of(16);
    let tiles_len = if in_place { 0 } else { rows.div_ceil(TILE) * strips * TILE * TILE };
    with_scratch(tiles_len + PIXELS * TILE * (1 + strips), |scratch| {
        let (tiles, scratch) = scratch.split_at_mut(tiles_len);
        let (a, b) = scratch.split_at_mut(PIXELS * TILE);
        let part = |first: usize, all: usize| first..all.min(first + TILE);
        for start in pixels.clone().step_by(PIXELS) {
            let block = start..pixels.end.min(start + PIXELS);
            let len = block.len() * TILE;
            for (first, b) in (0..columns).step_by(TILE).zip(b.chunks_exact_mut(PIXELS * TILE)) {
                pack_columns(block.clone(), part(first, columns), b);
            }
            for row in (0..rows).step_by(TILE) {
                pack_rows(block.clone(), part(row, rows), a);
                for (strip, b) in b.chunks_exact(PIXELS * TILE).enumerate() {
                    let (a, b, column) = (&a[..len], &b[..len], strip * TILE);
                    // What is beyond the last row and column is made of whatever is there.
                    let sizes = [part(row, rows), part(column, columns)].map(|part| part.len().next_multiple_of(16));
                    let tile = match in_place {
                        true => (&mut sums[row * columns + column..], columns),
                        false => (&mut tiles[(row / TILE * strips + strip) * TILE * TILE..][..TILE * TILE], TILE),
                    };
                    column_product::<TILE, TILE>(sizes, a, b, start > pixels.start, tile, [a, b]);
                }
            }
        }
        if in_place {
            return;
        }
        for (row, sums) in sums.chunks_exact_mut(columns).enumerate() {
            for (strip, sums) in sums.chunks_mut(TILE).enumerate() {
                let tile = (row / TILE * strips + strip) * TILE * TILE;
                sums.copy_from_slice(&tiles[tile + row % TILE * TILE..][..sums.len()]);
            }
        }
    });
}

/// Makes `dz`, which is dy, 0 where not `y > 0`; `db` is its sum over the pixels, image by image.
pub fn relu_gradient(geometry: &Geometry, y: &[f32], dz: &mut [f32], db: &mut [f32]) {
    let (o, image) = (geometry.o as usize, y.len() / geometry.n as usize);
    let rows = SUM_ROWS * o;
    let of_rows = |(dz, y): (&mut [f32], &[f32])| {
        let mut sum = vec![0.0; o];
        for (dz, y) in dz.chunks_exact_mut(o).zip(y.chunks_exact(o)) {
            for ((sum, dz), &y) in sum.iter_mut().zip(dz).zip(y) {
                // Read before the comparison: a branch that decides whether to read keeps the loop scalar.
                let dy = *dz;
                *dz = if y > 0.0 { dy } else { 0.0 };
                *sum += *dz;
            }
        }
        sum
    };
    let per_image = image.div_ceil(rows);
    let mut sums = vec![Vec::new(); geometry.n as usize * per_image];
    let parts = dz.chunks_mut(image).zip(y.chunks(image)).flat_map(|(dz, y)| dz.chunks_mut(rows).zip(y.chunks(rows)));
    blocks::share(parts.zip(&mut sums), |_, (part, sum)| *sum = of_rows(part));
    add_images(&sums.chunks(per_image).map(|sums| add_up(sums, o)).collect::<Vec<_>>(), db);
}

/// `db` is the sum of `dy` over the pixels, image by image.
pub fn bias_gradient(geometry: &Geometry, dy: &[f32], db: &mut [f32]) {
    let (o, image) = (geometry.o as usize, dy.len() / geometry.n as usize);
    let of_rows = |dy: &[f32]| {
        let mut sum = vec![0.0; o];
        for dy in dy.chunks_exact(o) {
            sum.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy);
        }
        sum
    };
    let rows = SUM_ROWS * o;
    let per_image = image.div_ceil(rows);
    let sums = blocks::collect(geometry.n as usize * per_image, |i| {
        of_rows(blocks::block(blocks::block(dy, image, i / per_image), rows, i % per_image))
    });
    add_images(&sums.chunks(per_image).map(|sums| add_up(sums, o)).collect::<Vec<_>>(), db);
}

/// The sum of `o` columns each, in order.
fn add_up(partial: &[Vec<f32>], o: usize) -> Vec<f32> {
    let mut total = vec![0.0; o];
    for part in partial {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    total
}

fn add_images(sums: &[Vec<f32>], total: &mut [f32]) {
    sum_by_halves(0..sums.len(), Halves::InTurn, &|image, out| out.copy_from_slice(&sums[image]), total);
}
