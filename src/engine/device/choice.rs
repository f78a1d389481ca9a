//! Which device: what names it, and what is told of an adapter.

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
    /// The adapter of this number, from 0, as [`adapters`](crate::engine::device::adapters) lists them, else the
    /// first one whose name contains this text, case ignored.
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
                    "use auto, cpu, gpu, gpu:NUMBER or gpu:NAME (`huetape doctor` lists the adapters)",
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
                    let remedy = "use auto, cpu, gpu, gpu:NUMBER or gpu:NAME (`huetape doctor` lists the adapters)";
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
    /// Whether it is a driver that computes on the processor.
    pub software: bool,
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
    /// What stands in the way of its speed, if anything.
    pub note: Option<&'static str>,
    /// Names of the optional features that huetape asks the adapter for, and that it has; matrices of f16 for f16
    /// alone.
    pub features: Vec<&'static str>,
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
}
