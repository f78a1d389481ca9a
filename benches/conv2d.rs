//! Speed of every convolution of ColourNet at full width, 256x256, batch 1, on the CPU or on the device that
//! `HUETAPE_DEVICE` names.
//!
//! `cargo bench --bench conv2d [-- RUNS] [LAYER...]` prints for each layer (or those whose names begin so) the median
//! time and rate of the forward pass and of the gradients of weights and input, and the totals. The first row is a
//! plain matrix product of 1024 x 1024 x 1024 (a 1x1 convolution): what the machine gives at that moment, and so the
//! yardstick for the rest on one that others use too. It is in no total.

use huetape::engine::device::{Device, Timing};
use huetape::engine::ops::conv2d::{Activation, Conv2d, Padding};
use huetape::engine::tape::Tape;
use huetape::engine::tensor::Tensor;
use huetape::random::{Rng, Stream};
use std::collections::BTreeMap;

/// Name, input size (pixels a side), channels in and out, kernel, stride, dilation, how often ColourNet has it.
type Layer = (&'static str, usize, usize, usize, usize, usize, usize, usize);

const LAYERS: &[Layer] = &[
    ("yardstick", 32, 1024, 1024, 1, 1, 1, 0),
    ("conv1_1", 256, 1, 64, 3, 1, 1, 1),
    ("conv1_2", 256, 64, 64, 3, 2, 1, 1),
    ("conv2_1", 128, 64, 128, 3, 1, 1, 1),
    ("conv2_2", 128, 128, 128, 3, 2, 1, 1),
    ("conv3_1", 64, 128, 256, 3, 1, 1, 1),
    ("conv3_2", 64, 256, 256, 3, 1, 1, 1),
    ("conv3_3", 64, 256, 256, 3, 2, 1, 1),
    ("conv4_1", 32, 256, 512, 3, 1, 1, 1),
    ("conv4_2..3", 32, 512, 512, 3, 1, 1, 2),
    ("conv5_1..6_3", 32, 512, 512, 3, 1, 2, 6),
    ("conv7_1", 32, 512, 256, 3, 1, 1, 1),
    ("conv7_2..3", 32, 256, 256, 3, 1, 1, 2),
    ("conv8_1", 64, 256, 128, 3, 1, 1, 1),
    ("conv8_2..3", 64, 128, 128, 3, 1, 1, 2),
    ("out", 64, 128, 274, 1, 1, 1, 1),
];

/// The kernels that are timed, as the profile calls them.
const KERNELS: [(&str, &str); 4] =
    [("conv2d", "forward"), ("conv2d_dw", "dw"), ("conv2d_dx", "dx"), ("conv2d_dz", "dz, db")];

fn main() -> huetape::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let runs = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(7);
    let wanted: Vec<&String> = args.iter().filter(|arg| arg.parse::<usize>().is_err()).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|prefix| name.starts_with(*prefix));
    let device = Device::open(&std::env::var("HUETAPE_DEVICE").as_deref().unwrap_or("cpu").parse()?)?;
    println!("{:<14} {:>8} | median ms and GFLOP/s of forward, dw, dx; ms of dz with db", "layer", "GFLOP");
    let mut totals = [0.0; 4];
    for &(name, size, c, o, kernel, stride, dilation, count) in LAYERS.iter().filter(|layer| is_wanted(layer.0)) {
        let conv = Conv2d { stride, dilation, padding: Padding::Same, activation: Activation::Relu };
        let x = normal(&device, &[1, size, size, c], 1)?;
        let w = normal(&device, &[kernel, kernel, c, o], 2)?;
        let b = normal(&device, &[o], 3)?;
        let dy = normal(&device, &conv.output_shape(x.shape(), w.shape())?, 4)?;
        let gflop = 2e-9 * (dy.len() * kernel * kernel * c) as f64;
        let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for run in 0..=runs {
            device.start_profile(Timing::Clock)?;
            let tape = Tape::new();
            // The picture itself wants no gradient.
            let input = if c == 1 { tape.constant(x.clone()) } else { tape.leaf(x.clone()) };
            let (weight, bias) = (tape.leaf(w.clone()), tape.leaf(b.clone()));
            let y = tape.apply(conv, &[&input, &weight, &bias])?;
            tape.backward_from(y, dy.clone())?;
            // The first run warms up.
            for launch in device.stop_profile()?.launches.into_iter().filter(|_| run > 0) {
                times.entry(launch.kernel).or_default().push(launch.seconds);
            }
        }
        let shown = count.max(1) as f64;
        print!("{name:<14} {:>8.3} |", gflop * shown);
        for ((kernel, _), total) in KERNELS.iter().zip(&mut totals) {
            let Some(times) = times.get_mut(*kernel) else {
                print!("{:>16}", "-");
                continue;
            };
            times.sort_by(f64::total_cmp);
            let median = times[times.len() / 2];
            *total += median * count as f64;
            print!(" {:>8.2}", 1e3 * median * shown);
            if *kernel != "conv2d_dz" {
                print!(" {:>6.0}", gflop / median);
            }
        }
        println!();
    }
    for ((_, label), total) in KERNELS.iter().zip(totals) {
        println!("{label:<8} {:>8.1} ms", 1e3 * total);
    }
    println!("{:<8} {:>8.1} ms", "all", 1e3 * totals.iter().sum::<f64>());
    Ok(())
}

fn normal(device: &Device, shape: &[usize], seed: u64) -> huetape::Result<Tensor> {
    let rng = Rng::new(seed, Stream::Test, 0);
    let data: Vec<f32> = (0..shape.iter().product::<usize>() as u64).map(|i| rng.normal(i)).collect();
    Tensor::new(device, shape, &data)
}
