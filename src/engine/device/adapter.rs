//! Which device: names, adapters, and the choice among them.

use crate::engine::device::stderr::without_display_noise;
use crate::error::{Error, ErrorKind, Result};
use std::str::FromStr;

/// What `device` and `HUETAPE_DEVICE` can say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A real GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The Rust twins.
    Cpu,
    /// Any adapter, a software driver too; real GPUs first.
    Gpu,
    /// The first adapter whose name contains this text, case ignored.
    Named(String),
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "gpu" => Ok(DeviceChoice::Gpu),
            _ => match text.strip_prefix("gpu:") {
                Some(name) if !name.is_empty() => Ok(DeviceChoice::Named(name.to_owned())),
                _ => Err(Error::input(
                    "no such device",
                    format!("⟨device⟩ {text}"),
                    "use auto, cpu, gpu or gpu:NAME (`huetape doctor` lists the adapters)",
                )
                .of(ErrorKind::Device)),
            },
        }
    }
}

impl DeviceChoice {
    /// The choice of `device` if given, else of `HUETAPE_DEVICE`, else [`DeviceChoice::Auto`].
    ///
    /// # Errors
    /// A text that names no device.
    pub fn from_flag_or_env(flag: Option<&str>) -> Result<Self> {
        match flag {
            Some(text) => text.parse(),
            None => match std::env::var("HUETAPE_DEVICE") {
                Ok(text) if !text.is_empty() => text.parse().map_err(|_| {
                    let remedy = "use auto, cpu, gpu or gpu:NAME (`huetape doctor` lists the adapters)";
                    Error::input("no such device", format!("HUETAPE_DEVICE={text}"), remedy).of(ErrorKind::Device)
                }),
                _ => Ok(DeviceChoice::Auto),
            },
        }
    }
}

/// One adapter as `doctor` reports it.
#[derive(Debug, Clone)]
pub struct AdapterReport {
    /// The adapter's name.
    pub name: String,
    /// Vulkan, Metal or Dx12.
    pub backend: String,
    /// Driver and its version.
    pub driver: String,
    /// `discrete GPU`, `integrated GPU`, `software`, ...
    pub kind: &'static str,
    /// Largest binding, in bytes.
    pub max_binding_bytes: u64,
    /// Workgroup memory, in bytes.
    pub workgroup_bytes: u32,
    /// Names of the optional features that huetape can use and the adapter has.
    pub features: Vec<&'static str>,
}

fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
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
    let optional = [
        (wgpu::Features::TIMESTAMP_QUERY, "timestamps"),
        (wgpu::Features::SHADER_F16, "f16"),
        (wgpu::Features::SUBGROUP, "subgroups"),
        (wgpu::Features::PIPELINE_CACHE, "pipeline cache"),
        (wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, "cooperative matrices"),
    ];
    AdapterReport {
        name: info.name.clone(),
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
        features: optional.iter().filter(|(bit, _)| adapter.features().contains(*bit)).map(|&(_, name)| name).collect(),
    }
}

/// The adapter that `choice` means; `None` is the CPU.
pub(super) fn choose(choice: &DeviceChoice) -> Result<Option<wgpu::Adapter>> {
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
        DeviceChoice::Named(name) => {
            let adapters = all();
            let wanted = name.to_lowercase();
            let known: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
            adapters.into_iter().find(|a| a.get_info().name.to_lowercase().contains(&wanted)).map(Some).ok_or_else(
                || {
                    let have = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    Error::input(
                        "no adapter of that name",
                        format!("⟨device⟩ gpu:{name}"),
                        format!("adapters here: {have}; or use ⟨device⟩ cpu"),
                    )
                    .of(ErrorKind::Device)
                },
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_are_read_and_others_refused() {
        assert_eq!("auto".parse::<DeviceChoice>().unwrap(), DeviceChoice::Auto);
        assert_eq!("gpu:H200".parse::<DeviceChoice>().unwrap(), DeviceChoice::Named("H200".into()));
        for bad in ["", "gpu:", "cuda"] {
            assert_eq!(bad.parse::<DeviceChoice>().unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn an_unknown_adapter_is_wrong_input() {
        let error = choose(&DeviceChoice::Named("nonesuch".into())).err().unwrap();
        assert_eq!((error.exit_code(), error.kind()), (2, ErrorKind::Device));
        assert!(error.to_string().contains("gpu:nonesuch"));
    }
}
