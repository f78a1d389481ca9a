//! The adapters that drivers offer, and the choice among them.

use crate::engine::device::choice::{AdapterReport, DeviceChoice};
use crate::engine::device::gpu::matrices;
use crate::engine::device::gpu::stderr::without_display_noise;
use crate::error::{Error, ErrorKind, Result};
use std::path::PathBuf;

pub(in crate::engine::device) type Adapter = wgpu::Adapter;

/// Share of the memory budget that a driver tells which buffers may take.
const BUDGET_PERCENT: u8 = 95;

/// What a device is opened with where the adapter has it.
const ASKED_FOR: [(wgpu::Features, &str); 3] = [
    (wgpu::Features::TIMESTAMP_QUERY, "timestamps"),
    (wgpu::Features::IMMEDIATES, "immediates"),
    (wgpu::Features::PIPELINE_CACHE, "pipeline cache"),
];

/// The features that a device is opened with.
pub(super) fn asked_for(adapter: &wgpu::Adapter) -> wgpu::Features {
    let all = ASKED_FOR.iter().fold(wgpu::Features::empty(), |all, (feature, _)| all | *feature);
    adapter.features() & all
}

fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    // What other programs leave of the memory, where the driver says it: a buffer beyond that is refused, which lets
    // idle ones go, rather than pushing others out of the GPU's memory.
    descriptor.memory_budget_thresholds.for_resource_creation = Some(BUDGET_PERCENT);
    wgpu::Instance::new(descriptor)
}

fn all() -> Vec<wgpu::Adapter> {
    let list = || pollster::block_on(instance().enumerate_adapters(wgpu::Backends::PRIMARY));
    let mut adapters = without_display_noise(list);
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    adapters
}

/// Every adapter that a driver offers, real GPUs first.
pub fn adapters() -> Vec<AdapterReport> {
    all().iter().map(report).collect()
}

fn report(adapter: &wgpu::Adapter) -> AdapterReport {
    let info = adapter.get_info();
    let limits = adapter.limits();
    AdapterReport {
        name: info.name.clone(),
        software: info.device_type == wgpu::DeviceType::Cpu,
        backend: info.backend.to_string(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete GPU",
            wgpu::DeviceType::IntegratedGpu => "integrated GPU",
            wgpu::DeviceType::VirtualGpu => "virtual GPU",
            wgpu::DeviceType::Cpu => "software",
            wgpu::DeviceType::Other => "other",
        },
        max_binding_bytes: limits.max_storage_buffer_binding_size,
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        note: note(&info),
        features: ASKED_FOR
            .iter()
            .filter(|(feature, _)| adapter.features().contains(*feature))
            .map(|&(_, name)| name)
            .chain(matrices::matrices(adapter).ok().map(matrices::name))
            .collect(),
    }
}

/// What stands in the way of an adapter's speed.
pub(super) fn note(info: &wgpu::AdapterInfo) -> Option<&'static str> {
    let beside = std::env::current_exe().ok().and_then(|program| program.parent().map(PathBuf::from));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let old = info.backend == wgpu::Backend::Dx12 && !has_dxc(beside.into_iter().chain(std::env::split_paths(&path)));
    old.then_some(
        "whose shaders the old FXC compiles, slowly: put dxcompiler.dll of Microsoft's DXC beside the program",
    )
}

/// Whether Microsoft's current shader compiler lies in one of the folders in which Windows looks for libraries.
fn has_dxc(folders: impl IntoIterator<Item = PathBuf>) -> bool {
    folders.into_iter().any(|folder| folder.join("dxcompiler.dll").is_file())
}

/// The adapter that `choice` means; `None` is the CPU.
pub(in crate::engine::device) fn choose(choice: &DeviceChoice) -> Result<Option<Adapter>> {
    let is_software = |adapter: &wgpu::Adapter| adapter.get_info().device_type == wgpu::DeviceType::Cpu;
    match choice {
        DeviceChoice::Cpu => Ok(None),
        DeviceChoice::Auto => Ok(all().into_iter().find(|adapter| !is_software(adapter))),
        DeviceChoice::Gpu => all().into_iter().next().map(Some).ok_or_else(|| {
            Error::input(
                "no GPU adapter found",
                "⟨device⟩ gpu",
                "install a Vulkan driver (on Debian: apt-get install mesa-vulkan-drivers), or use ⟨device⟩ cpu",
            )
            .of(ErrorKind::Device)
        }),
        DeviceChoice::Named(wanted) => {
            let adapters = all();
            let names: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
            let found = position(&names, wanted).and_then(|at| adapters.into_iter().nth(at));
            found.map(Some).ok_or_else(|| {
                let known: Vec<String> = names.iter().enumerate().map(|(i, name)| format!("{i} {name}")).collect();
                let have = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Error::input(
                    "no adapter of that number or name",
                    format!("⟨device⟩ gpu:{wanted}"),
                    format!("adapters here: {have}; or use ⟨device⟩ cpu"),
                )
                .of(ErrorKind::Device)
            })
        }
    }
}

/// Which of the adapters of these names is wanted: the one of a number, else the first whose name holds the text.
fn position(names: &[String], wanted: &str) -> Option<usize> {
    let by_number = wanted.parse().ok().filter(|&number| number < names.len());
    let wanted = wanted.to_lowercase();
    by_number.or_else(|| names.iter().position(|name| name.to_lowercase().contains(&wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_compiler_is_found_where_libraries_lie() {
        let folder = tempfile::tempdir().unwrap();
        let folders = || [PathBuf::from("nowhere"), folder.path().to_owned()];
        assert!(!has_dxc(folders()));
        std::fs::write(folder.path().join("dxcompiler.dll"), "").unwrap();
        assert!(has_dxc(folders()));
    }

    #[test]
    fn an_unknown_adapter_is_wrong_input() {
        let error = choose(&DeviceChoice::Named("nonesuch".into())).err().unwrap();
        assert_eq!((error.exit_code(), error.kind()), (2, ErrorKind::Device));
        assert!(error.to_string().contains("gpu:nonesuch"));
    }

    #[test]
    fn a_number_is_a_place_in_the_list_before_it_is_a_part_of_a_name() {
        let names = ["GeForce RTX 4090", "Radeon 780M", "llvmpipe (LLVM 20)"].map(str::to_owned);
        let found = ["0", "1", "2", "4090", "radeon", "20", "3", "nonesuch"].map(|wanted| position(&names, wanted));
        assert_eq!(found, [Some(0), Some(1), Some(2), Some(0), Some(1), Some(2), None, None]);
    }
}
