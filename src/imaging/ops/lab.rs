//! sRGB and CIE Lab pictures on a device; the formulas are those of [`crate::imaging::color::lab`].
//!
//! sRGB components are 0..1, L is 0..100, a and b are about -110..110.

use crate::engine::blocks;
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::imaging::color::lab;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&SRGB_TO_LAB, &LAB_TO_SRGB, &LAB_SPLIT, &LAB_JOIN];

/// Pixels that one rayon task works on: the powers of the transfer function make each dear.
const BLOCK: usize = 1 << 10;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
}

impl Params {
    fn plan(&self) -> Plan {
        Plan { flops: 200.0 * f64::from(self.pixels), ..Plan::linear(self.pixels as usize) }
    }
}

static SRGB_TO_LAB: Kernel<Params> = Kernel {
    name: "srgb_to_lab",
    bodies: &[Body::proved(kernel_text!("srgb_to_lab"), &|p, _| p.plan())],
    twin: &|_, args| convert_twin(args, lab::srgb_to_lab),
};

static LAB_TO_SRGB: Kernel<Params> = Kernel {
    name: "lab_to_srgb",
    bodies: &[Body::proved(kernel_text!("lab_to_srgb"), &|p, _| p.plan())],
    twin: &|_, args| convert_twin(args, lab::lab_to_srgb),
};

fn convert_twin(args: Args, convert: fn([f32; 3]) -> [f32; 3]) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    blocks::map((y, 3 * BLOCK), (x, 3 * BLOCK), |_, y, x| {
        let (y, x) = (y.as_chunks_mut::<3>().0, x.as_chunks::<3>().0);
        y.iter_mut().zip(x).for_each(|(y, x)| *y = convert(*x));
    });
    Ok(())
}

static LAB_SPLIT: Kernel<Params> = Kernel {
    name: "lab_split",
    bodies: &[Body::proved(kernel_text!("lab_split"), &|p, _| p.plan())],
    twin: &lab_split_twin,
};

fn lab_split_twin(_: &Params, args: Args) -> Result<()> {
    let ([srgb], [], [lightness, ab]) = args.split()?;
    let blocks = lightness.chunks_mut(BLOCK).zip(ab.chunks_mut(2 * BLOCK)).zip(srgb.chunks(3 * BLOCK));
    blocks::share(blocks, |_, ((lightness, ab), srgb)| {
        let (ab, srgb) = (ab.as_chunks_mut::<2>().0, srgb.as_chunks::<3>().0);
        for ((lightness, ab), srgb) in lightness.iter_mut().zip(ab).zip(srgb) {
            let [l, a, b] = lab::srgb_to_lab(*srgb);
            *lightness = (l - 50.0) / 100.0;
            *ab = [a, b];
        }
    });
    Ok(())
}

static LAB_JOIN: Kernel<Params> = Kernel {
    name: "lab_join",
    bodies: &[Body::proved(kernel_text!("lab_join"), &|p, _| p.plan())],
    twin: &lab_join_twin,
};

fn lab_join_twin(_: &Params, args: Args) -> Result<()> {
    let ([grey, ab], [], [srgb]) = args.split()?;
    blocks::zip((srgb, 3 * BLOCK), (grey, BLOCK), (ab, 2 * BLOCK), |_, srgb, grey, ab| {
        let (srgb, ab) = (srgb.as_chunks_mut::<3>().0, ab.as_chunks::<2>().0);
        for ((srgb, grey), [a, b]) in srgb.iter_mut().zip(grey).zip(ab) {
            *srgb = lab::lab_to_srgb([100.0 * grey, *a, *b]);
        }
    });
    Ok(())
}

/// The axes before the last, whose size must be `channels`.
fn picture_axes(x: &Tensor, channels: usize) -> Result<&[usize]> {
    match x.shape().split_last() {
        Some((&last, axes)) if last == channels => Ok(axes),
        _ => Err(Error::input(
            format!("a picture of {channels} channels is needed"),
            format!("{:?}", x.shape()),
            "put the channels last",
        )),
    }
}

fn with_channels(axes: &[usize], channels: usize) -> Vec<usize> {
    axes.iter().copied().chain([channels]).collect()
}

fn convert(kernel: &'static Kernel<Params>, x: &Tensor) -> Result<Tensor> {
    picture_axes(x, 3)?;
    let y = Tensor::empty(x.device(), x.shape())?;
    x.device().launch(kernel, &Params { pixels: (x.len() / 3) as u32 }, &[x], &[], &[&y])?;
    Ok(y)
}

/// sRGB (…, 3) to Lab (…, 3).
///
/// # Errors
/// Another number of channels, and whatever the launch reports.
pub fn srgb_to_lab(srgb: &Tensor) -> Result<Tensor> {
    convert(&SRGB_TO_LAB, srgb)
}

/// Lab (…, 3) to sRGB (…, 3), clamped to 0..1.
///
/// # Errors
/// Another number of channels, and whatever the launch reports.
pub fn lab_to_srgb(lab: &Tensor) -> Result<Tensor> {
    convert(&LAB_TO_SRGB, lab)
}

/// sRGB (…, 3) to a classifier's input `(L - 50) / 100` (…, 1) and target ab (…, 2).
///
/// # Errors
/// Another number of channels, and whatever the launch reports.
pub fn split(srgb: &Tensor) -> Result<(Tensor, Tensor)> {
    let axes = picture_axes(srgb, 3)?;
    let lightness = Tensor::empty(srgb.device(), &with_channels(axes, 1))?;
    let ab = Tensor::empty(srgb.device(), &with_channels(axes, 2))?;
    let params = Params { pixels: lightness.len() as u32 };
    srgb.device().launch(&LAB_SPLIT, &params, &[srgb], &[], &[&lightness, &ab])?;
    Ok((lightness, ab))
}

/// Grey (…, 1) of 0..1, taken as L / 100, and ab (…, 2) to sRGB (…, 3), clamped to 0..1.
///
/// # Errors
/// Shapes that do not fit together, and whatever the launch reports.
pub fn join(grey: &Tensor, ab: &Tensor) -> Result<Tensor> {
    let axes = picture_axes(grey, 1)?;
    crate::ensure!(
        picture_axes(ab, 2)? == axes,
        Error::input(
            "grey and ab need one size",
            format!("{:?} and {:?}", grey.shape(), ab.shape()),
            "enlarge the prediction to the picture's size"
        )
    );
    let srgb = Tensor::empty(grey.device(), &with_channels(axes, 3))?;
    grey.device().launch(&LAB_JOIN, &Params { pixels: grey.len() as u32 }, &[grey, ab], &[], &[&srgb])?;
    Ok(srgb)
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let rng = crate::random::Rng::new(1, crate::random::Stream::Test, 0);
    let srgb: Vec<f32> = (0..3 * 301).map(|i| rng.uniform(i)).collect();
    let srgb = Tensor::new(device, &[301, 3], &srgb)?;
    let lab = srgb_to_lab(&srgb)?;
    let back = lab_to_srgb(&lab)?;
    let (lightness, ab) = split(&srgb)?;
    let joined = join(&Tensor::full(device, &[301, 1], 0.4)?, &ab)?;
    Ok(vec![lab, back, lightness, ab, joined])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::devices;
    use crate::imaging::color::lab::{lab_to_srgb_f64, srgb_to_lab_f64};
    use crate::random::{Rng, Stream};

    const PIXELS: usize = 1500;

    /// Cube roots and powers are good to some 2^-19 on a GPU (WGSL takes pow as exp2 and log2), and a is 500 times a
    /// difference of two such: 500 * 2 * 2^-19 = 0.002.
    const LAB_TOLERANCE: f64 = 2e-3;

    /// The same errors back: slopes of at most 12.92 / 903 a unit of L and of 1/500 a unit of a meet cubes near 1.
    const SRGB_TOLERANCE: f64 = 2e-5;

    fn colours() -> Vec<f32> {
        let rng = Rng::new(4, Stream::Test, 0);
        // Black, white, and both sides of the bend of the transfer function come first.
        let known = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.04, 0.0405, 0.03, 0.001, 1.0, 0.0];
        known.into_iter().chain((0..).map(|i| rng.uniform(i))).take(3 * PIXELS).collect()
    }

    fn compare(device: &Device, got: &Tensor, expected: &[f64], tolerance: f64) {
        let got = got.to_vec().unwrap();
        assert_eq!(got.len(), expected.len());
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            let off = (f64::from(*got) - expected).abs();
            assert!(off <= tolerance, "{}: element {i} is {got}, not {expected}", device.name());
        }
    }

    fn wide(values: &[f32], convert: fn([f64; 3]) -> [f64; 3]) -> Vec<f64> {
        values.as_chunks::<3>().0.iter().flat_map(|v| convert(v.map(f64::from))).collect()
    }

    #[test]
    fn srgb_and_lab_match_the_f64_formulas_both_ways() {
        let srgb = colours();
        // Every Lab colour of the cube, most of them outside sRGB.
        let lab: Vec<f32> = srgb
            .as_chunks::<3>()
            .0
            .iter()
            .flat_map(|v| [100.0 * v[0], 220.0 * v[1] - 110.0, 220.0 * v[2] - 110.0])
            .collect();
        for device in devices() {
            let x = Tensor::new(&device, &[3, 500, 3], &srgb).unwrap();
            compare(&device, &srgb_to_lab(&x).unwrap(), &wide(&srgb, srgb_to_lab_f64), LAB_TOLERANCE);
            let x = Tensor::new(&device, &[3, 500, 3], &lab).unwrap();
            compare(&device, &lab_to_srgb(&x).unwrap(), &wide(&lab, lab_to_srgb_f64), SRGB_TOLERANCE);
        }
    }

    #[test]
    fn split_and_join_are_the_parts_of_the_whole() {
        let srgb = colours();
        let lab = wide(&srgb, srgb_to_lab_f64);
        let pixels = lab.as_chunks::<3>().0;
        let lightness: Vec<f64> = pixels.iter().map(|v| (v[0] - 50.0) / 100.0).collect();
        let ab: Vec<f64> = pixels.iter().flat_map(|v| [v[1], v[2]]).collect();
        let grey: Vec<f32> = pixels.iter().map(|v| (v[0] / 100.0) as f32).collect();
        let ab_narrow: Vec<f32> = ab.iter().map(|&v| v as f32).collect();
        for device in devices() {
            let (l, c) = split(&Tensor::new(&device, &[PIXELS, 3], &srgb).unwrap()).unwrap();
            assert_eq!((l.shape(), c.shape()), (&[PIXELS, 1][..], &[PIXELS, 2][..]));
            compare(&device, &l, &lightness, LAB_TOLERANCE / 100.0);
            compare(&device, &c, &ab, LAB_TOLERANCE);
            let grey = Tensor::new(&device, &[PIXELS, 1], &grey).unwrap();
            let ab = Tensor::new(&device, &[PIXELS, 2], &ab_narrow).unwrap();
            let back: Vec<f64> = srgb.iter().map(|&v| f64::from(v)).collect();
            compare(&device, &join(&grey, &ab).unwrap(), &back, SRGB_TOLERANCE);
        }
    }

    #[test]
    fn pictures_of_other_channels_are_refused() {
        let device = Device::cpu();
        let [one, two] = [1, 2].map(|c| Tensor::full(&device, &[4, c], 0.5).unwrap());
        let other = Tensor::full(&device, &[5, 2], 0.5).unwrap();
        for error in [srgb_to_lab(&two).err(), split(&one).err(), join(&two, &two).err(), join(&one, &other).err()] {
            assert_eq!(error.unwrap().exit_code(), 2);
        }
    }

    #[test]
    fn a_nan_stays_one_in_every_conversion() {
        for device in devices() {
            let pixels: Vec<f32> =
                (0..3).flat_map(|at| (0..3).map(move |k| if k == at { f32::NAN } else { 0.5 })).collect();
            let x = Tensor::new(&device, &[3, 3], &pixels).unwrap();
            let (lightness, ab) = split(&x).unwrap();
            let joined =
                join(&Tensor::full(&device, &[3, 1], f32::NAN).unwrap(), &Tensor::full(&device, &[3, 2], 1.0).unwrap());
            let whole = [srgb_to_lab(&x).unwrap(), lightness, ab, joined.unwrap()];
            for y in whole.map(|y| y.to_vec().unwrap()) {
                assert!(y.iter().all(|v| v.is_nan()), "{}: {y:?}", device.name());
            }
            // Each component of sRGB has some of L; a and b are in all three but for rounding, which NaN has not.
            let back = lab_to_srgb(&x).unwrap().to_vec().unwrap();
            assert!(back.iter().all(|v| v.is_nan()), "{}: {back:?}", device.name());
        }
    }
}
