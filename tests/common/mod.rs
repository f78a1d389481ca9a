//! What the test programs share.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod binary;
pub mod golden_run;
pub mod rasters;

use huetape::engine::device::{Device, DeviceChoice, Forced, GpuInfo};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// Every device to test on: the CPU and, where an adapter answers, a GPU as a build with assertions opens it, then one
/// as a release build runs a card's kernels: without the driver's checks, with the sizes of layers compiled in. On a
/// software driver that one runs the bodies that a card prefers, and there are two more, so that each body for a card
/// runs. What a kernel fails to write is NaN, and what those without checks write behind a buffer is noted
/// ([`overruns`]).
///
/// With `HUETAPE_REQUIRE_GPU=1` a missing adapter fails the test; otherwise it is said on stderr.
pub fn devices() -> Vec<Device> {
    let mut devices = vec![Device::cpu()];
    match Device::open(&DeviceChoice::Gpu) {
        Ok(gpu) => {
            let sets = sets_of_bodies(gpu.gpu_info().unwrap());
            devices.push(gpu);
            for (i, bodies) in sets.into_iter().enumerate() {
                let device = Device::open(&DeviceChoice::Gpu).unwrap();
                device.check_bounds(false);
                device.watch_overruns();
                // Once: each layer is compiled anew for it.
                device.fix_sizes(i == 0);
                device.force_bodies(bodies);
                devices.push(device);
            }
        }
        Err(error) if std::env::var("HUETAPE_REQUIRE_GPU").is_ok_and(|v| v == "1") => panic!("{error}"),
        Err(error) => eprintln!("GPU tests did not run: {error}"),
    }
    devices.iter().for_each(Device::poison_new_buffers);
    devices
}

/// Which bodies the devices without checks run: on a card its own, on a software driver all that a card may run, of
/// each kernel the first that admits a launch.
fn sets_of_bodies(adapter: &GpuInfo) -> Vec<Forced> {
    if !adapter.software {
        return vec![Forced::default()];
    }
    let kernels = [huetape::engine::ops::kernels(), huetape::imaging::ops::kernels()].concat();
    let preferred = Forced::suiting(kernels, &GpuInfo { software: false, ..adapter.clone() });
    let pairs: Vec<(String, String)> =
        preferred.pairs().map(|(kernel, body)| (kernel.to_owned(), body.to_owned())).collect();
    let of = |kernel: &str, pairs: &[(String, String)]| pairs.iter().filter(|(k, _)| k == kernel).count();
    // Where there are three, the second would never run otherwise.
    let second =
        pairs.iter().enumerate().filter(|(i, (kernel, _))| of(kernel, &pairs[..*i]) > 0 || of(kernel, &pairs) < 3);
    let second: Forced = second.map(|(_, pair)| pair.clone()).collect();
    let fallen_back_on: Forced = pairs.iter().rev().cloned().collect();
    vec![preferred, second, fallen_back_on]
}

/// Notes what was written behind buffers of a device that are gone.
pub fn overruns(device: &Device, failures: &mut Vec<String>) {
    failures.extend(device.overruns().into_iter().map(|overrun| format!("{}: {overrun}", device.name())));
}

/// A tensor of a golden file.
pub struct Golden {
    /// Sizes of the axes.
    pub shape: Vec<usize>,
    /// Row-major elements; integers as whole values.
    pub data: Vec<f32>,
}

/// A file of golden tensors, which knows what has been asked of it.
pub struct GoldenFile {
    tensors: BTreeMap<String, Golden>,
    asked: Mutex<BTreeSet<String>>,
}

impl GoldenFile {
    /// Reads `tests/goldens/NAME`; cargo starts tests in the repository's root.
    pub fn read(name: &str) -> GoldenFile {
        let path = format!("tests/goldens/{name}");
        let bytes =
            std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}; run from the repository's root"));
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.iter().map(|(name, view)| {
            let data = match view.dtype() {
                Dtype::F32 => bytemuck::pod_collect_to_vec(view.data()),
                Dtype::I32 => {
                    bytemuck::pod_collect_to_vec::<u8, i32>(view.data()).into_iter().map(|v| v as f32).collect()
                }
                other => panic!("{path}: {name} is {other:?}"),
            };
            (name.to_owned(), Golden { shape: view.shape().to_vec(), data })
        });
        GoldenFile { tensors: tensors.collect(), asked: Mutex::default() }
    }

    /// The tensor of that name, if there is one.
    pub fn find(&self, name: &str) -> Option<&Golden> {
        self.asked.lock().unwrap().insert(name.to_owned());
        self.tensors.get(name)
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> &Golden {
        self.find(name).unwrap_or_else(|| panic!("no golden tensor {name}"))
    }

    /// Names that begin with `prefix`, without it.
    #[allow(dead_code, reason = "not every test program that includes this module lists names")]
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.tensors.keys().filter_map(move |name| name.strip_prefix(prefix))
    }

    /// Names that nobody has asked for.
    #[allow(dead_code, reason = "not every test program that includes this module counts them")]
    pub fn forgotten(&self) -> Vec<&String> {
        let asked = self.asked.lock().unwrap();
        self.tensors.keys().filter(|name| !asked.contains(*name)).collect()
    }
}

/// How far each element may be from its golden value.
#[derive(Debug, Clone, Copy)]
pub enum Tolerance {
    /// This share of the largest golden value.
    OfLargest(f64),
    /// This share of the element's own golden value.
    OfEach(f64),
    /// This much.
    Absolute(f64),
}

/// Notes the worst element of `got` where any is further from `expected` than the tolerance allows. A NaN is.
pub fn compare(label: &str, got: &[f32], expected: &[f32], tolerance: Tolerance, failures: &mut Vec<String>) {
    assert_eq!(got.len(), expected.len(), "{label}: number of elements");
    let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let excess = |(&g, &e): (&f32, &f32)| {
        let allowed = match tolerance {
            Tolerance::OfLargest(share) => share * f64::from(largest),
            Tolerance::OfEach(share) => share * f64::from(e.abs()),
            Tolerance::Absolute(allowed) => allowed,
        };
        let off = (f64::from(g) - f64::from(e)).abs();
        if off.is_nan() { f64::INFINITY } else { off - allowed }
    };
    let excesses: Vec<f64> = got.iter().zip(expected).map(excess).collect();
    let Some((worst, _)) = excesses.iter().enumerate().filter(|(_, e)| **e > 0.0).max_by(|a, b| a.1.total_cmp(b.1))
    else {
        return;
    };
    let off = excesses.iter().filter(|e| **e > 0.0).count();
    failures.push(format!(
        "{label}: {off} of {} beyond {tolerance:?}; worst [{worst}] = {}, expected {}",
        got.len(),
        got[worst],
        expected[worst]
    ));
}
