//! The CPU bodies of batch norm: all rows of a channel twice in each pass, in blocks that stay in the cache. Statistics
//! and sums are those of the images, put together in f64 in their order.

use crate::engine::blocks;
use crate::engine::ops::batch_norm::params::Params;
use crate::engine::ops::gemm::with_wide_vectors;
use crate::random::{philox, unit};
use std::ops::Range;

/// Rows of the blocks that a twin works on, by the number of channels alone: 64 KiB, so that a second reading comes
/// from the cache, and where channels are few no more rows than an f32 sum takes without losing digits.
fn block_rows(channels: usize) -> usize {
    ((1 << 14) / channels).clamp(1, 1024)
}

/// The rows of each block, image after image: a block has rows of one image.
fn row_blocks(p: &Params) -> Vec<Range<usize>> {
    let (of_image, block) = ((p.rows / p.images) as usize, block_rows(p.channels as usize));
    let firsts = (0..p.images as usize).flat_map(|image| {
        (0..of_image)
            .step_by(block)
            .map(move |first| image * of_image + first..image * of_image + of_image.min(first + block))
    });
    firsts.collect()
}

/// Mean and variance of a channel over images of as many pixels, by those of each: Chan, Golub, LeVeque, "Algorithms
/// for Computing the Sample Variance", 1983, eq. 2.1. Of one image they are its own.
pub fn moments_of_images(images: impl ExactSizeIterator<Item = [f32; 2]> + Clone) -> [f32; 2] {
    let count = images.len() as f64;
    let mean = images.clone().map(|[mean, _]| f64::from(mean)).sum::<f64>() / count;
    let about = |[part, variance]: [f32; 2]| f64::from(variance) + (f64::from(part) - mean).powi(2);
    [mean as f32, finite_or_nan((images.map(about).sum::<f64>() / count) as f32)]
}

/// The sum of what images have, each weighted by `weight`.
pub fn sum_of_images(images: impl Iterator<Item = (f64, f32)>) -> f32 {
    images.map(|(weight, part)| weight * f64::from(part)).sum::<f64>() as f32
}

/// Writes the four rows of what forward keeps.
pub fn keep(kept: &mut [f32], rows: [&[f32]; 4]) {
    let channels = kept.len() / 4;
    kept.chunks_exact_mut(channels).zip(rows).for_each(|(kept, row)| kept.copy_from_slice(row));
}

/// Mean, variance, gamma, beta.
fn kept_rows(kept: &[f32], channels: usize) -> [&[f32]; 4] {
    [0, 1, 2, 3].map(|k| &kept[k * channels..(k + 1) * channels])
}

pub fn train(
    p: &Params,
    [x, gamma, beta, skip]: [&[f32]; 4],
    running: [&mut [f32]; 2],
    y: &mut [f32],
    kept: &mut [f32],
) {
    let (mean, variance) = statistics(p, x);
    move_running(p, &mean, &variance, running);
    keep(kept, [&mean, &variance, gamma, beta]);
    normalize(p, x, skip, kept, y);
}

// Mean and variance.

/// A block's mean and sum of squares about it, by channel.
struct Moments {
    rows: f64,
    mean: Vec<f32>,
    squares: Vec<f32>,
}

impl Moments {
    /// Chan, Golub, LeVeque, "Algorithms for Computing the Sample Variance", 1983, eq. 1.7: corrected two-pass.
    #[inline(always)]
    fn of(x: &[f32], channels: usize) -> Self {
        let rows = (x.len() / channels) as f32;
        let mut mean = vec![0.0; channels];
        for row in x.chunks_exact(channels) {
            mean.iter_mut().zip(row).for_each(|(m, x)| *m += x);
        }
        mean.iter_mut().for_each(|m| *m /= rows);
        // What rounding left in the mean, and the squares.
        let (mut rest, mut squares) = (vec![0.0; channels], vec![0.0; channels]);
        for row in x.chunks_exact(channels) {
            for (((x, mean), rest), square) in row.iter().zip(&mean).zip(&mut rest).zip(&mut squares) {
                let d = x - mean;
                *rest += d;
                *square += d * d;
            }
        }
        for ((mean, rest), square) in mean.iter_mut().zip(&rest).zip(&mut squares) {
            *mean += rest / rows;
            let about = *square - rest * rest / rows;
            // A comparison, not max(): what is too large for f32 is NaN and stays it.
            *square = if about < 0.0 { 0.0 } else { about };
        }
        Moments { rows: f64::from(rows), mean, squares }
    }
}

/// A variance of infinity would divide all values to 0 and pass for a quiet channel.
fn finite_or_nan(v: f32) -> f32 {
    if v.is_finite() { v } else { f32::NAN }
}

fn statistics(p: &Params, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let channels = p.channels as usize;
    let blocks = row_blocks(p);
    let blocks = blocks::collect(blocks.len(), |i| {
        let rows = &blocks[i];
        with_wide_vectors(
            #[inline(always)]
            || Moments::of(&x[rows.start * channels..rows.end * channels], channels),
        )
    });
    let rows = f64::from(p.rows / p.images);
    let of_image = |blocks: &[Moments], c: usize| {
        let center = blocks.iter().map(|b| b.rows * f64::from(b.mean[c])).sum::<f64>() / rows;
        let about = |b: &Moments| f64::from(b.squares[c]) + b.rows * (f64::from(b.mean[c]) - center).powi(2);
        [center as f32, finite_or_nan((blocks.iter().map(about).sum::<f64>() / rows) as f32)]
    };
    let images = blocks.chunks_exact(blocks.len() / p.images as usize);
    let of_channel = |c: usize| {
        let [mean, variance] = moments_of_images(images.clone().map(|blocks| of_image(blocks, c)));
        (mean, variance)
    };
    (0..channels).map(of_channel).unzip()
}

fn move_running(p: &Params, mean: &[f32], variance: &[f32], [running_mean, running_variance]: [&mut [f32]; 2]) {
    let (old, new) = (p.momentum, 1.0 - p.momentum);
    let running = running_mean.iter_mut().zip(running_variance);
    for ((mean, variance), (running_mean, running_variance)) in mean.iter().zip(variance).zip(running) {
        let off = mean - *running_mean;
        *running_variance = old * *running_variance + new * (variance + p.between * old * off * off);
        *running_mean = old * *running_mean + new * mean;
    }
}

// The output.

pub fn normalize(p: &Params, x: &[f32], skip: &[f32], kept: &[f32], y: &mut [f32]) {
    let (channels, joined) = (p.channels as usize, p.joined as usize);
    let [mean, variance, gamma, beta] = kept_rows(kept, channels);
    let scale: Vec<f32> =
        gamma.iter().zip(variance).map(|(gamma, variance)| gamma / (variance + p.eps).sqrt()).collect();
    let (rows, width) = (block_rows(channels), channels + joined);
    // Where nothing is joined, `skip` is some other tensor that has a value for each row at least.
    blocks::zip((y, rows * width), (x, rows * channels), (skip, rows * joined.max(1)), |block, y, x, skip| {
        for (row, (y, x)) in y.chunks_exact_mut(width).zip(x.chunks_exact(channels)).enumerate() {
            let (y, beside) = y.split_at_mut(channels);
            for ((((y, x), mean), scale), beta) in y.iter_mut().zip(x).zip(mean).zip(&scale).zip(beta) {
                *y = (x - mean) * scale + beta;
            }
            if p.rate > 0.0 {
                drop_out(p, (block * rows + row) * channels, y);
            }
            if p.rectifies() {
                rectify(p, y);
            }
            beside.copy_from_slice(&skip[row * joined..(row + 1) * joined]);
        }
    });
}

/// Not max(): a NaN stays one, and training notices it.
fn rectify(p: &Params, y: &mut [f32]) {
    let slope = p.slope;
    match p.leaks() {
        true => y.iter_mut().for_each(|y| *y = if *y < 0.0 { slope * *y } else { *y }),
        false => y.iter_mut().for_each(|y| *y = if *y < 0.0 { 0.0 } else { *y }),
    }
}

/// Dropout, or its gradient, of the elements from `first` on.
fn drop_out(p: &Params, first: usize, values: &mut [f32]) {
    let words = |block: usize| philox([block as u32, p.layer, p.step, p.stream], p.seed);
    let mut four = words(first / 4);
    for (i, value) in (first..).zip(values) {
        if i % 4 == 0 {
            four = words(i / 4);
        }
        *value = if unit(four[i % 4]) < p.rate { 0.0 } else { *value / (1.0 - p.rate) };
    }
}

// Gradients.

/// Numbers of each channel.
struct Channels<'a> {
    mean: &'a [f32],
    /// 1 / sqrt(variance + eps).
    scale: Vec<f32>,
    /// What forward multiplies by.
    forward: Vec<f32>,
    beta: &'a [f32],
}

impl<'a> Channels<'a> {
    fn of(p: &Params, kept: &'a [f32]) -> (Self, &'a [f32]) {
        let [mean, variance, gamma, beta] = kept_rows(kept, p.channels as usize);
        let root = |variance: &f32| (variance + p.eps).sqrt();
        let scale = variance.iter().map(|variance| 1.0 / root(variance)).collect();
        let forward = gamma.iter().zip(variance).map(|(gamma, variance)| gamma / root(variance)).collect();
        (Channels { mean, scale, forward, beta }, gamma)
    }

    /// The gradient of a row's normalised values from that of what follows, in place.
    #[inline(always)]
    fn before(&self, p: &Params, row: usize, x: &[f32], d: &mut [f32]) {
        if p.rectifies() {
            // What was normalised; dropout keeps the sign of what it leaves.
            let values = x.iter().zip(self.mean).zip(&self.forward).zip(self.beta);
            let slope = p.slope;
            match p.leaks() {
                true => values.zip(&mut *d).for_each(|((((x, mean), scale), beta), d)| {
                    *d *= if (x - mean) * scale + beta < 0.0 { slope } else { 1.0 };
                }),
                false => values.zip(&mut *d).for_each(|((((x, mean), scale), beta), d)| {
                    *d = if (x - mean) * scale + beta > 0.0 { *d } else { 0.0 };
                }),
            }
        }
        if p.rate > 0.0 {
            drop_out(p, row * p.channels as usize, d);
        }
    }
}

/// Calls `f` with each row of a block, which begins with row `first`: its number within the block, x and the gradient
/// before the rectifier and dropout.
fn rows_of(
    p: &Params,
    channels: &Channels<'_>,
    (first, x, dy, more): (usize, &[f32], &[f32], &[f32]),
    mut f: impl FnMut(usize, &[f32], &[f32]),
) {
    let (c, width) = (p.channels as usize, (p.channels + p.joined) as usize);
    let mut d = vec![0.0; c];
    with_wide_vectors(
        #[inline(always)]
        || {
            let rows = x.chunks_exact(c).zip(dy.chunks_exact(width)).zip(more.chunks_exact(width));
            for (row, ((x, dy), more)) in rows.enumerate() {
                match p.summed {
                    0 => d.copy_from_slice(&dy[..c]),
                    _ => d.iter_mut().zip(dy).zip(more).for_each(|((d, dy), more)| *d = dy + more),
                }
                channels.before(p, first + row, x, &mut d);
                f(row, x, &d);
            }
        },
    );
}

pub fn gradients<'a>(
    p: &Params,
    [x, dy, more, kept]: [&'a [f32]; 4],
    dx: &mut [f32],
    [dgamma, dbeta]: [&mut [f32]; 2],
    dskip: &mut [f32],
) {
    let (c, joined) = (p.channels as usize, p.joined as usize);
    let (rows, width) = (block_rows(c), c + joined);
    let (channels, gamma) = Channels::of(p, kept);
    // Sums of the gradient and of its product with x - mean.
    let block_sums = |block: &Range<usize>| {
        let (mut plain, mut centered) = (vec![0.0f32; c], vec![0.0f32; c]);
        let of = |values: &'a [f32], width: usize| &values[block.start * width..block.end * width];
        rows_of(
            p,
            &channels,
            (block.start, of(x, c), of(dy, width), of(more, width)),
            #[inline(always)]
            |_, x, d| {
                let sums = plain.iter_mut().zip(&mut centered);
                for (((x, d), mean), (plain, centered)) in x.iter().zip(d).zip(channels.mean).zip(sums) {
                    *plain += d;
                    *centered += d * (x - mean);
                }
            },
        );
        (plain, centered)
    };
    let blocks = row_blocks(p);
    let blocks = blocks::collect(blocks.len(), |i| block_sums(&blocks[i]));
    let images = blocks.chunks_exact(blocks.len() / p.images as usize);
    let [_, variance, _, _] = kept_rows(kept, c);
    for k in 0..c {
        let root = f64::from(variance[k] + p.eps).sqrt();
        dbeta[k] = sum_of_images(images.clone().map(|blocks| {
            let plain: f64 = blocks.iter().map(|(plain, _)| f64::from(plain[k])).sum();
            (1.0, plain as f32)
        }));
        dgamma[k] = sum_of_images(images.clone().map(|blocks| {
            let centered: f64 = blocks.iter().map(|(_, centered)| f64::from(centered[k])).sum();
            (1.0, (centered / root) as f32)
        }));
    }
    let (all_dgamma, all_dbeta) = match p.given {
        0 => (&*dgamma, &*dbeta),
        _ => (&kept[4 * c..5 * c], &kept[5 * c..6 * c]),
    };
    // dx = outer * (d - constant - slope * (x - mean)), three numbers a channel.
    let share = p.through_batch / p.rows as f32;
    let outer: Vec<f32> = gamma.iter().zip(&channels.scale).map(|(gamma, scale)| gamma * scale).collect();
    let slope: Vec<f32> =
        all_dgamma.iter().zip(&channels.scale).map(|(dgamma, scale)| share * dgamma * scale).collect();
    let constant: Vec<f32> = all_dbeta.iter().map(|dbeta| share * dbeta).collect();
    let inputs = x.chunks(rows * c).zip(dy.chunks(rows * width)).zip(more.chunks(rows * width));
    blocks::share(dx.chunks_mut(rows * c).zip(inputs), |block, (dx, ((x, dy), more))| {
        rows_of(
            p,
            &channels,
            (block * rows, x, dy, more),
            #[inline(always)]
            |row, x, d| {
                let values = dx[row * c..(row + 1) * c].iter_mut().zip(x).zip(d);
                let numbers = channels.mean.iter().zip(&outer).zip(&slope).zip(&constant);
                for (((dx, x), d), (((mean, outer), slope), constant)) in values.zip(numbers) {
                    *dx = outer * (d - constant - slope * (x - mean));
                }
            },
        );
    });
    if joined > 0 {
        blocks::zip((dskip, rows * joined), (dy, rows * width), (more, rows * width), |_, dskip, dy, more| {
            let rows = dskip.chunks_exact_mut(joined).zip(dy.chunks_exact(width)).zip(more.chunks_exact(width));
            for ((dskip, dy), more) in rows {
                match p.summed {
                    0 => dskip.copy_from_slice(&dy[c..]),
                    _ => dskip.iter_mut().zip(&dy[c..]).zip(&more[c..]).for_each(|((d, dy), more)| *d = dy + more),
                }
            }
        });
    }
}
