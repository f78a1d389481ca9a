//! Where what was measured of a device is kept, and what it is kept by.

use crate::engine::device::{Device, Precision};
use crate::error::Result;
use crate::files::write_whole;
use std::path::{Path, PathBuf};

/// A file of the folder that `HUETAPE_CACHE` names, else of the user's folder for caches; `None` where there is
/// neither.
pub(super) fn file(name: &str) -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let of_user = || {
        let xdg = variable("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        let home = || variable("HOME").map(|home| home.join(".cache"));
        xdg.or_else(home).or_else(|| variable("LOCALAPPDATA")).map(|folder| folder.join("huetape"))
    };
    variable("HUETAPE_CACHE").or_else(of_user).map(|folder| folder.join(name))
}

/// Lets a device keep what its driver compiles in a file of that folder, one an adapter and driver.
pub fn keep_pipelines(device: &Device) {
    let name: String = key(device).chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    if let Some(file) = file(&format!("pipelines-{name}.bin")) {
        device.keep_pipelines(&file);
    }
}

/// Writes such a file; its folder is made where it is missing.
pub(super) fn write(file: &Path, value: &serde_json::Value) -> Result<()> {
    if let Some(folder) = file.parent() {
        // Where this fails, writing fails too, and says why.
        let _ = std::fs::create_dir_all(folder);
    }
    write_whole(file, format!("{value:#}\n").as_bytes())
}

/// Adapter and driver, and f16 where that is what it multiplies in; of the CPU its kind, and the threads that compute.
pub(super) fn key(device: &Device) -> String {
    if device.is_gpu() {
        let f16 = if device.precision() == Precision::F16 { ", f16" } else { "" };
        return format!("{}, {}{f16}", device.name(), device.driver());
    }
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    let model = model.map_or(std::env::consts::ARCH, |(_, model)| model.trim());
    format!("{}, {model}, {} threads", device.name(), rayon::current_num_threads())
}
