//! Gaussian soft encoding of colours over bins: the target of the classification models.

use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text, linear_grid};
use crate::engine::ops::vector_math::exp;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use rayon::prelude::*;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&SOFT_ENCODE];

/// The most bins that operations take: one invocation goes through all of them.
pub const MOST_BINS: usize = 10_000;

/// Bins that a colour is spread over.
pub const NEIGHBOURS: usize = 5;

/// Above every squared distance of colours, and finite: stands for "no bin yet".
const FAR: f32 = 3e38;

/// Pixels that one rayon task works on.
const BLOCK: usize = 2048;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    bins: u32,
    falloff: f32,
    pad: u32,
}

static SOFT_ENCODE: Kernel<Params> = Kernel {
    name: "soft_encode",
    bodies: &[Body::proved(kernel_text!("soft_encode"), &|p, _| {
        Plan::single(linear_grid(p.pixels as usize, 256), 5.0 * f64::from(p.pixels) * f64::from(p.bins))
    })],
    twin: &soft_encode_twin,
};

fn soft_encode_twin(p: &Params, args: Args) -> Result<()> {
    let ([ab, bins], [], [index, weight]) = args.split()?;
    let (ab, _) = ab.as_chunks::<2>();
    let (bins, _) = bins.as_chunks::<2>();
    let cells = Cells::new(ab, bins);
    let used = NEIGHBOURS.min(bins.len());
    index
        .par_chunks_mut(BLOCK * NEIGHBOURS)
        .zip(weight.par_chunks_mut(BLOCK * NEIGHBOURS))
        .zip(ab.par_chunks(BLOCK))
        .for_each(|((index, weight), ab)| {
            let (index, _) = index.as_chunks_mut::<NEIGHBOURS>();
            let (weight, _) = weight.as_chunks_mut::<NEIGHBOURS>();
            for ((index, weight), &colour) in index.iter_mut().zip(weight).zip(ab) {
                let (nearest, distance) = nearest(colour, cells.candidates(colour));
                if distance[0] == FAR {
                    (*index, *weight) = ([0.0; NEIGHBOURS], [f32::NAN; NEIGHBOURS]);
                    continue;
                }
                *index = nearest.map(|q| q as f32);
                *weight = distance.map(|d| exp((distance[0] - d) * p.falloff));
                weight[used..].fill(0.0);
                let sum: f32 = weight.iter().sum();
                weight.iter_mut().for_each(|w| *w /= sum);
            }
        });
    Ok(())
}

/// A bin with its number.
#[derive(Clone, Copy)]
struct Bin {
    index: u32,
    centre: [f32; 2],
}

fn square_distance([a, b]: [f32; 2], [c, d]: [f32; 2]) -> f32 {
    (a - c) * (a - c) + (b - d) * (b - d)
}

/// Numbers of the nearest candidates and their squared distances, nearest first, ties in the candidates' order.
fn nearest(colour: [f32; 2], candidates: &[Bin]) -> ([u32; NEIGHBOURS], [f32; NEIGHBOURS]) {
    let mut distance = [FAR; NEIGHBOURS];
    let mut index = [0; NEIGHBOURS];
    for bin in candidates {
        let d = square_distance(colour, bin.centre);
        if d < distance[NEIGHBOURS - 1] {
            let mut place = NEIGHBOURS - 1;
            while place > 0 && d < distance[place - 1] {
                (distance[place], index[place]) = (distance[place - 1], index[place - 1]);
                place -= 1;
            }
            (distance[place], index[place]) = (d, bin.index);
        }
    }
    (index, distance)
}

/// The rectangle that the colours of one launch take, cut into cells; for each the bins that can be among the nearest
/// of any colour in it. Some ten of them stand for hundreds of bins, and the result is the same.
struct Cells {
    side: usize,
    low: [f32; 2],
    width: [f32; 2],
    bins: Vec<Vec<Bin>>,
}

impl Cells {
    /// Colours for which one cell pays: finding its candidates takes a look at every bin.
    const COLOURS_PER_CELL: usize = 64;
    /// More cells along an axis hardly shorten the lists.
    const MAX_SIDE: usize = 48;

    fn new(ab: &[[f32; 2]], bins: &[[f32; 2]]) -> Self {
        let side = (ab.len() / Self::COLOURS_PER_CELL).isqrt().clamp(1, Self::MAX_SIDE);
        let mut low = [f32::INFINITY; 2];
        let mut high = [f32::NEG_INFINITY; 2];
        // A colour that is not finite has no bin; it shall not make the cells of the others infinite.
        for colour in ab.iter().filter(|colour| colour.iter().all(|v| v.is_finite())) {
            for axis in 0..2 {
                low[axis] = low[axis].min(colour[axis]);
                high[axis] = high[axis].max(colour[axis]);
            }
        }
        let width = [0, 1].map(|axis| ((high[axis] - low[axis]) / side as f32).max(f32::MIN_POSITIVE));
        let all: Vec<Bin> = (0..).zip(bins).map(|(index, &centre)| Bin { index, centre }).collect();
        let bins = (0..side * side)
            .into_par_iter()
            .map(|cell| {
                let corner = [cell / side, cell % side];
                // A little beyond the cell, for colours that rounding puts on the wrong side of a border.
                let from = [0, 1].map(|axis| low[axis] + width[axis] * (corner[axis] as f32 - 0.01));
                let to = [0, 1].map(|axis| low[axis] + width[axis] * (corner[axis] as f32 + 1.01));
                candidates(&all, from, to)
            })
            .collect();
        Cells { side, low, width, bins }
    }

    fn candidates(&self, colour: [f32; 2]) -> &[Bin] {
        // The cast takes NaN and what is below 0 to 0.
        let [row, column] =
            [0, 1].map(|axis| (((colour[axis] - self.low[axis]) / self.width[axis]) as usize).min(self.side - 1));
        &self.bins[row * self.side + column]
    }
}

/// The bins that can be among the nearest of a colour between the corners `from` and `to`: those no further from the
/// rectangle's nearest point than some five bins are from its furthest.
fn candidates(bins: &[Bin], from: [f32; 2], to: [f32; 2]) -> Vec<Bin> {
    let furthest = |bin: &Bin| {
        let point =
            [0, 1].map(
                |axis| if bin.centre[axis] - from[axis] > to[axis] - bin.centre[axis] { from[axis] } else { to[axis] },
            );
        square_distance(bin.centre, point)
    };
    let closest =
        |bin: &Bin| square_distance(bin.centre, [0, 1].map(|axis| bin.centre[axis].max(from[axis]).min(to[axis])));
    let mut limits = [f32::INFINITY; NEIGHBOURS];
    for bin in bins {
        let mut d = furthest(bin);
        // Seldom so.
        if d < limits[NEIGHBOURS - 1] {
            limits.iter_mut().for_each(|limit| (*limit, d) = (limit.min(d), limit.max(d)));
        }
    }
    // More than the roundings of the distances compared.
    let limit = limits[NEIGHBOURS - 1] * 1.0001;
    bins.iter().filter(|bin| closest(bin) <= limit).copied().collect()
}

/// A soft encoding: for each pixel the [`NEIGHBOURS`] nearest bins, nearest first.
#[derive(Debug, Clone)]
pub struct Encoding {
    /// `[N, H, W, 5]`: numbers of the bins as whole f32 values, 0..Q-1. (Integers in f32's bits would be subnormal
    /// numbers, which a GPU may flush to zero.)
    pub index: Tensor,
    /// `[N, H, W, 5]`: their weights, 0..1, of sum 1 over a pixel.
    pub weight: Tensor,
}

/// The five bins nearest to each colour, with weights `exp(-d^2 / (2 sigma^2))` normalised to sum 1.
///
/// `ab`: `[N, H, W, 2]`; `bins`: `[Q, 2]`, the centres; `sigma` in units of ab, greater than 0 (5 in the source). Ties
/// go to the lowest bin. With fewer than five bins the places left over have weight 0 and name bin 0. A colour that is
/// not finite, or so far from all bins that its distance squared is not (1e19), has weights of NaN at bin 0: it shows
/// in the loss. Source: Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, section 2.2.
///
/// # Errors
/// Other shapes, a sigma that is not positive, no memory, and whatever the launch reports.
pub fn soft_encode(ab: &Tensor, bins: &Tensor, sigma: f32) -> Result<Encoding> {
    let [n, h, w, 2] = ab.nhwc()? else {
        return Err(Error::input(
            "colours of shape [N, H, W, 2] are needed",
            format!("{:?}", ab.shape()),
            "pass a and b",
        ));
    };
    let q = bin_count(bins)?;
    // Its square must be a normal number, so that the exponents stay finite.
    crate::ensure!(
        (1e-18..1e18).contains(&sigma),
        Error::input("the width of the soft encoding must be above 0", format!("⟨sigma⟩ {sigma}"), "5 is the default")
    );
    let index = Tensor::empty(ab.device(), &[n, h, w, NEIGHBOURS])?;
    let weight = Tensor::empty(ab.device(), &[n, h, w, NEIGHBOURS])?;
    let params = Params { pixels: (n * h * w) as u32, bins: q as u32, falloff: 0.5 / (sigma * sigma), pad: 0 };
    ab.device().launch(&SOFT_ENCODE, &params, &[ab, bins], &[], &[&index, &weight])?;
    Ok(Encoding { index, weight })
}

/// Q of bin centres of shape `[Q, 2]`.
pub(super) fn bin_count(bins: &Tensor) -> Result<usize> {
    match bins.shape() {
        &[q, 2] => check_bin_count(q),
        shape => {
            Err(Error::input("bin centres of shape [Q, 2] are needed", format!("{shape:?}"), "pass a and b of each"))
        }
    }
}

/// Refuses more than [`MOST_BINS`].
pub(super) fn check_bin_count(q: usize) -> Result<usize> {
    crate::ensure!(
        q <= MOST_BINS,
        Error::input(format!("at most {MOST_BINS} bins can be used"), format!("{q} bins"), "use fewer bins, e.g. 313")
    );
    Ok(q)
}

/// A small run of the kernel.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let ab = crate::engine::self_test::seeded(device, &[1, 9, 33, 2], 1)?;
    let bins = crate::engine::self_test::seeded(device, &[301, 2], 2)?;
    // The numbers of the bins are left out: where two are equally near, devices may differ.
    Ok(vec![soft_encode(&ab, &bins, 0.2)?.weight])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::devices;
    use crate::random::{Rng, Stream};
    use std::collections::BTreeSet;

    fn colours(seed: u64, count: usize, spread: f32) -> Vec<f32> {
        let rng = Rng::new(seed, Stream::Test, 0);
        (0..2 * count as u64).map(|i| spread * rng.normal(i)).collect()
    }

    /// The squared distance from bin `q`, in f64.
    fn distance(colour: &[f32], bins: &[f32], q: usize) -> f64 {
        (0..2).map(|i| (f64::from(colour[i]) - f64::from(bins[2 * q + i])).powi(2)).sum()
    }

    /// Sorts all bins by distance, in f64; a stable sort keeps ties in order.
    fn reference(colour: &[f32], bins: &[f32], sigma: f64) -> (Vec<usize>, Vec<f64>) {
        let distance = |q| distance(colour, bins, q);
        let mut order: Vec<usize> = (0..bins.len() / 2).collect();
        order.sort_by(|&p, &q| distance(p).total_cmp(&distance(q)));
        order.truncate(5);
        let weights: Vec<f64> =
            order.iter().map(|&q| ((distance(order[0]) - distance(q)) / (2.0 * sigma * sigma)).exp()).collect();
        let sum: f64 = weights.iter().sum();
        order.resize(5, 0);
        (order, (0..5).map(|k| weights.get(k).map_or(0.0, |w| w / sum)).collect())
    }

    /// Compares with the reference. Bins whose distances differ by less than f32 tells apart may come in either order;
    /// with `exact` all distances are exact in f32, and none may.
    fn check(shape: [usize; 3], ab: &[f32], bins: &[f32], sigma: f32, exact: bool) {
        let [n, h, w] = shape;
        for device in devices() {
            let encoding = soft_encode(
                &Tensor::new(&device, &[n, h, w, 2], ab).unwrap(),
                &Tensor::new(&device, &[bins.len() / 2, 2], bins).unwrap(),
                sigma,
            )
            .unwrap();
            assert_eq!(encoding.index.shape(), [n, h, w, 5]);
            let index = encoding.index.to_vec().unwrap();
            let weight = encoding.weight.to_vec().unwrap();
            for (pixel, colour) in ab.chunks(2).enumerate() {
                let (order, weights) = reference(colour, bins, f64::from(sigma));
                let found: BTreeSet<u32> = index[5 * pixel..][..5].iter().map(|index| *index as u32).collect();
                assert_eq!(
                    found.len(),
                    order.iter().collect::<BTreeSet<_>>().len(),
                    "{}: pixel {pixel}",
                    device.name()
                );
                for k in 0..5 {
                    let at = 5 * pixel + k;
                    let [got, nearest] = [index[at] as usize, order[k]].map(|bin| distance(colour, bins, bin));
                    // Two differences, two squares, a sum: a few units in the last place.
                    let near = !exact && (got - nearest).abs() <= 8.0 * 2f64.powi(-24) * nearest;
                    let same = index[at] == order[k] as f32 || near;
                    assert!(same, "{}: bin {k} of pixel {pixel} is {}, not {}", device.name(), index[at], order[k]);
                    // The exponent's rounding: d^2 / (2 sigma^2) is at most some hundred here.
                    let off = (f64::from(weight[at]) - weights[k]).abs();
                    assert!(off < 1e-5, "{}: weight {k} of pixel {pixel} is off by {off}", device.name());
                }
            }
        }
    }

    #[test]
    fn every_pixel_gets_its_five_nearest_bins() {
        for (seed, shape, q) in [(1, [2, 3, 5], 24), (2, [1, 17, 31], 274), (3, [1, 1, 1], 6), (4, [1, 64, 66], 313)] {
            let count = shape.iter().product();
            check(shape, &colours(seed, count, 40.0), &colours(seed + 100, q, 50.0), 5.0, false);
        }
    }

    #[test]
    fn colours_far_from_every_bin_keep_finite_weights() {
        let ab = [-900.0, 20.0, 5.0, 5.0, 900.0, 900.0, 0.0, -400.0];
        check([1, 2, 2], &ab, &[0.0, 0.0, 10.0, 1.0, 0.0, 12.0, 13.0, 13.0, -10.0, 0.5, 0.0, -11.0], 5.0, true);
    }

    #[test]
    fn ties_go_to_the_lowest_bin() {
        // Colours on the corners and centres of the cells of a grid: exact ties throughout.
        let bins: Vec<f32> = (0..49).flat_map(|q| [10.0 * (q / 7) as f32, 10.0 * (q % 7) as f32]).collect();
        let ab: Vec<f32> = (0..70 * 70).flat_map(|i| [5.0 * (i / 70 % 13) as f32, 5.0 * (i % 13) as f32]).collect();
        check([1, 70, 70], &ab, &bins, 5.0, true);
    }

    #[test]
    fn fewer_bins_than_five_leave_weight_zero_and_a_valid_bin() {
        for q in 1..5 {
            check([1, 3, 3], &colours(7, 9, 20.0), &colours(8, q, 20.0), 5.0, false);
        }
    }

    #[test]
    fn a_colour_that_is_not_finite_has_weights_of_nan_and_the_others_are_as_they_were() {
        let mut ab = [3.0; 2 * 256];
        for (pixel, value) in [(50, f32::NAN), (60, f32::INFINITY), (70, f32::NEG_INFINITY), (80, 1e25)] {
            ab[2 * pixel + pixel / 10 % 2] = value;
        }
        for device in devices() {
            let bins = Tensor::new(&device, &[9, 2], &colours(9, 9, 20.0)).unwrap();
            let encoding = soft_encode(&Tensor::new(&device, &[1, 16, 16, 2], &ab).unwrap(), &bins, 5.0).unwrap();
            assert!(encoding.index.to_vec().unwrap().iter().all(|i| (0.0..9.0).contains(i) && i.fract() == 0.0));
            for (pixel, weight) in encoding.weight.to_vec().unwrap().chunks(5).enumerate() {
                let sum: f32 = weight.iter().sum();
                let right = if [50, 60, 70, 80].contains(&pixel) {
                    weight.iter().all(|w| w.is_nan())
                } else {
                    (sum - 1.0).abs() < 1e-5
                };
                assert!(right, "{}: pixel {pixel}: {weight:?}", device.name());
            }
        }
    }

    #[test]
    fn wrong_shapes_and_sigmas_are_refused() {
        let device = Device::cpu();
        let tensor = |shape: &[usize]| Tensor::full(&device, shape, 1.0).unwrap();
        assert!(soft_encode(&tensor(&[1, 2, 2, 3]), &tensor(&[9, 2]), 5.0).is_err());
        assert!(soft_encode(&tensor(&[1, 2, 2, 2]), &tensor(&[9, 3]), 5.0).is_err());
        for sigma in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let error = soft_encode(&tensor(&[1, 2, 2, 2]), &tensor(&[9, 2]), sigma).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
        }
    }
}
