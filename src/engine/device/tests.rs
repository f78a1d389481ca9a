//! What callers can get wrong with devices and kernels, and what memory a device keeps.

use super::*;
use crate::engine::op::Op;
use crate::engine::ops::elementwise::Add;
use crate::engine::tensor::Tensor;
use crate::engine::testing::check::devices;
use crate::error::{ErrorKind, Result};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
}

/// `y = factor * x`, as a program outside the crate writes it; `factor` stands in the text.
fn text(factor: f32) -> String {
    format!(
        "// y = {factor} x
// use: linear
override SHIFT: f32 = 0.0;
struct Params {{ len: u32 }}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (len)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (len)
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {{
    let i = linear_index(group, local);
    if (i < p.len) {{ y[i] = {factor:?} * x[i] + SHIFT; }}
}}
"
    )
}

/// Runs a kernel called `scale` with this text and plan on x = 1.
fn run(device: &Device, text: &str, plan: &Planner<'_, Params>, twin: &Twin<'_, Params>) -> Result<Vec<f32>> {
    let x = Tensor::full(device, &[300], 1.0)?;
    let y = Tensor::empty(device, &[300])?;
    let kernel = Kernel { name: "scale", bodies: &[Body::new(text, plan)], twin };
    device.launch(&kernel, &Params { len: 300 }, &[&x], &[], &[&y])?;
    y.to_vec()
}

fn scale(device: &Device, factor: f32, shift: f32) -> Result<Vec<f32>> {
    let plan = |p: &Params, _: &GpuInfo| Plan {
        dispatches: vec![
            Dispatch::new("main", linear_grid(p.len as usize, 256)).with(vec![("SHIFT", f64::from(shift))]),
        ],
        scratch: Vec::new(),
        flops: 600.0,
    };
    let twin = |_: &Params, args: Args<'_>| {
        let ([x], [], [y]) = args.split()?;
        y.iter_mut().zip(x).for_each(|(y, x)| *y = factor * x + shift);
        Ok(())
    };
    run(device, &text(factor), &plan, &twin)
}

#[test]
fn a_text_is_known_by_itself_and_never_by_its_name_or_where_it_lies() {
    for device in devices() {
        // One name; texts of one length; each text and its constants are gone before the next is made.
        for (factor, shift) in [(2.0, 0.0), (3.0, 0.0), (3.0, 5.0), (2.0, 1.0), (2.0, 0.0), (4.0, 0.0)] {
            assert_eq!(scale(&device, factor, shift).unwrap(), [factor + shift; 300], "{}", device.name());
        }
    }
}

#[test]
fn what_does_not_fit_a_kernel_is_an_error_that_names_it() {
    let twin = |_: &Params, args: Args<'_>| args.split::<2, 0, 1>().map(|_| ());
    let plan = |p: &Params, _: &GpuInfo| Plan::linear(p.len as usize);
    for device in devices() {
        let run = |text: &str, plan: &Planner<'_, Params>| run(&device, text, plan, &twin).unwrap_err();
        let constant = |p: &Params, _: &GpuInfo| {
            let mut plan = Plan::linear(p.len as usize);
            plan.dispatches[0] = plan.dispatches[0].clone().with(vec![("NONE", 1.0)]);
            plan
        };
        let elsewhere = |_: &Params, _: &GpuInfo| Plan {
            dispatches: vec![Dispatch::new("nowhere", [1, 1, 1])],
            scratch: Vec::new(),
            flops: 0.0,
        };
        let broad = |_: &Params, _: &GpuInfo| Plan::single([1, 1 << 20, 1], 0.0);
        let mut errors = vec![
            run(&text(1.0), &constant),
            run(&text(1.0), &elsewhere),
            run(&text(1.0), &broad),
            run(&text(1.0).replace("len: u32", "len: u32, more: u32"), &plan),
            run(&text(1.0).replace("y[i] =", "y[i] = nothing *"), &plan),
            run(
                &text(1.0).replace("y: array<f32>", "y: array<mat4x4<f32>, 64>").replace("y[i] =", "y[i][0][0] ="),
                &plan,
            ),
        ];
        errors.retain(|error| {
            let text = error.to_string();
            // A CPU has no text to fit: there it is the twin that takes another number of buffers.
            error.kind() != ErrorKind::Kernel || !text.contains("scale") || (!device.is_gpu() && !text.contains("twin"))
        });
        assert!(errors.is_empty(), "{}: {errors:?}", device.name());
        // The device goes on as if nothing had been.
        assert_eq!(scale(&device, 2.0, 0.0).unwrap(), [2.0; 300]);
    }
}

#[test]
fn a_grid_over_the_adapters_limit_is_refused_with_kernel_and_shapes() {
    let twin = |_: &Params, args: Args<'_>| args.split::<1, 0, 1>().map(|_| ());
    for device in devices().iter().filter(|device| device.is_gpu()) {
        let plan = |_: &Params, _: &GpuInfo| Plan::single([1, 1 << 20, 1], 0.0);
        let error = run(device, &text(1.0), &plan, &twin).unwrap_err().to_string();
        assert!(error.contains("scale/main") && error.contains("1048576") && error.contains("[300]"), "{error}");
        assert!(!error.contains("stopped working"), "{error}");
    }
}

/// A CPU and, where there is an adapter, a GPU that no other test uses.
fn own() -> Vec<Device> {
    let gpu = devices().iter().any(Device::is_gpu).then(|| Device::open(&DeviceChoice::Gpu).unwrap());
    std::iter::once(Device::cpu()).chain(gpu).collect()
}

/// Each two devices of one kind or of two.
fn pairs() -> Vec<[Device; 2]> {
    let (first, second) = (own(), own());
    first.iter().flat_map(|one| second.iter().map(|other| [one.clone(), other.clone()])).collect()
}

#[test]
fn tensors_of_two_devices_do_not_go_together() {
    for [one, other] in pairs() {
        let a = Tensor::full(&one, &[8], 1.0).unwrap();
        let b = Tensor::full(&other, &[8], 20.0).unwrap();
        let refused = [
            Add.forward(&[&a, &b]).err().unwrap(),
            Add.forward(&[&b, &a]).err().unwrap(),
            one.read(&b).unwrap_err(),
            other.write(&a, &[0.0; 8]).unwrap_err(),
            one.fill(&b, 0.0).unwrap_err(),
            other.fill(&a, 0.0).unwrap_err(),
        ];
        for error in refused {
            assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Device, 2), "{error}");
        }
        assert_eq!((a.to_vec().unwrap(), b.to_vec().unwrap()), (vec![1.0; 8], vec![20.0; 8]));
    }
}

/// Chains of sums over images of `side`, as an inference has them: two results at a time beside the first.
fn infer(device: &Device, side: usize) {
    let mut x = Tensor::full(device, &[side, side, 8], 1.0).unwrap();
    for channels in [16, 4, 8, 2, 12] {
        let wide = Tensor::full(device, &[side, side, channels], 1.0).unwrap();
        x = Add.forward(&[&wide, &wide]).unwrap().y;
    }
    assert_eq!(x.len(), side * side * 12);
}

#[test]
fn images_of_many_sizes_leave_no_more_memory_behind_than_twice_of_what_was_in_use() {
    for device in own() {
        for image in 0..30 {
            infer(&device, 100 + (image * 233) % 300);
        }
        let report = device.memory();
        let (reserved, peak) = (report.reserved_bytes, report.peak_bytes);
        assert!(
            reserved as f64 <= 2.5 * peak as f64,
            "{}: {reserved} bytes reserved, {peak} at most in use",
            device.name()
        );
        device.trim().unwrap();
        let report = device.memory();
        assert_eq!((report.reserved_bytes, report.live_bytes), (0, 0), "{}", device.name());
    }
}

#[test]
fn a_step_that_comes_again_makes_no_buffer() {
    // The CPU gives back what is not in use.
    for device in own().into_iter().filter(Device::is_gpu) {
        let step = || [120, 200, 160].iter().for_each(|&side| infer(&device, side));
        (0..8).for_each(|_| step());
        let made = device.memory().made;
        (0..8).for_each(|_| step());
        assert_eq!(device.memory().made, made, "{}", device.name());
    }
}
