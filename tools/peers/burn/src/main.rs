//! Times burn on ColourNet: the figure that `huetape profile colournet` stands beside.
//!
//!   burn-peer --pass forward|train [--size 256] [--batch 1] [--iters 10] [--width 1.0] [--backend flex] [--json FILE]
//!   burn-peer --check [--backend flex]      the golden training run (tests/goldens): is this the same network?
//!
//! `forward` ends with the low-resolution probabilities; `train` is forward, loss, backward and Adam. The features of
//! Cargo.toml name the backends. JSON: seconds_median, seconds (each).

mod check;
mod network;

use std::collections::HashMap;
use std::time::Instant;

use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Distribution, Tensor};
use network::{ColourNet, Loss};
use serde_json::json;

const Q: usize = 274;
const WARM_UP: usize = 2;
const LEARNING_RATE: f64 = 1e-4;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let options = options()?;
    let backend = options.get("backend").map_or("flex", String::as_str);
    let device = device(backend)?;
    if options.contains_key("check") {
        return check::check(&device.autodiff());
    }
    let which = options.get("pass").map_or("", String::as_str);
    let (size, batch, iters) =
        (number(&options, "size", 256)?, number(&options, "batch", 1)?, number(&options, "iters", 10)?);
    let width = number(&options, "width", 1.0)?;
    let mut once = pass(which, width, size, batch, device)?;
    (0..WARM_UP).for_each(|_| once());
    let mut seconds = Vec::new();
    for _ in 0..iters {
        let start = Instant::now();
        once();
        seconds.push(start.elapsed().as_secs_f64());
    }
    let median = median(&seconds);
    println!("burn {backend} {which} {size}x{size} batch {batch}: {median:.4} s");
    if let Some(path) = options.get("json") {
        let result = json!({"program": format!("burn {backend}"), "pass": which, "size": size, "batch": batch,
            "width": width, "seconds_median": median, "seconds": seconds});
        std::fs::write(path, result.to_string())?;
    }
    Ok(())
}

/// One pass as a function that ends when its result is there.
fn pass(which: &str, width: f64, size: usize, batch: usize, device: Device) -> Result<Box<dyn FnMut()>> {
    let device = if which == "train" { device.autodiff() } else { device };
    let mut model = ColourNet::new(width, Q, &device);
    let source = Tensor::random([batch, 1, size, size], Distribution::Uniform(-0.5, 0.5), &device);
    match which {
        "forward" => Ok(Box::new(move || {
            model.forward(source.clone()).into_data();
        })),
        "train" => {
            // Any bins will do: they are spread over all of Q, as random ones are.
            let places = batch * size * size * 5;
            let bins: Vec<usize> = (0..places).map(|i| i * 7919 % Q).collect();
            let loss_of = Loss::new(&bins, vec![0.2; places], size, Q, &device);
            let mut optimizer = adam();
            Ok(Box::new(move || {
                let loss = step(&mut model, &mut optimizer, source.clone(), &loss_of);
                assert!(loss.is_finite(), "the loss is {loss}");
                device.sync().expect("the step ran");
            }))
        }
        _ => Err("--pass forward or --pass train".into()),
    }
}

fn adam() -> ModuleOptimizer {
    AdamConfig::new().with_beta_1(0.9).with_beta_2(0.99).with_epsilon(1e-8).init()
}

/// A training step -> its loss.
fn step(model: &mut ColourNet, optimizer: &mut ModuleOptimizer, source: Tensor<4>, loss_of: &Loss) -> f32 {
    let loss = loss_of.forward(model.forward(source));
    let gradients = GradientsParams::from_grads(loss.backward(), model);
    *model = optimizer.step(LEARNING_RATE, model.clone(), gradients);
    loss.into_scalar()
}

fn device(backend: &str) -> Result<Device> {
    match backend {
        #[cfg(feature = "flex")]
        "flex" => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        "ndarray" => Ok(Device::ndarray()),
        #[cfg(feature = "cpu")]
        "cpu" => Ok(Device::cpu()),
        #[cfg(feature = "vulkan")]
        "vulkan" => Ok(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)),
        _ => Err(format!("--backend {backend}: this program was built without it").into()),
    }
}

/// The command line -> values by the names of their options; an option without a value has an empty one.
fn options() -> Result<HashMap<String, String>> {
    let mut options = HashMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let name = argument.strip_prefix("--").ok_or_else(|| format!("{argument}: not an option"))?;
        let value = match name {
            "check" => String::new(),
            "pass" | "size" | "batch" | "iters" | "width" | "backend" | "json" => {
                arguments.next().ok_or_else(|| format!("{argument}: its value is missing"))?
            }
            _ => return Err(format!("{argument}: not an option").into()),
        };
        options.insert(name.to_owned(), value);
    }
    Ok(options)
}

fn number<T: std::str::FromStr>(options: &HashMap<String, String>, name: &str, default: T) -> Result<T> {
    options
        .get(name)
        .map_or(Ok(default), |text| text.parse().map_err(|_| format!("--{name} {text}: not a number").into()))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0
}
