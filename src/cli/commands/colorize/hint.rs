//! Images that look like radar and are about to be coloured as photographs.

use crate::imaging::codec::decode::probe_file;
use crate::imaging::raster::RasterInfo;
use crate::paint::format::is_scene;
use crate::train::built_in::SAR;
use std::path::{Path, PathBuf};

/// A line on the first of the files that may be radar, if one is.
pub fn radar_hint(files: &[PathBuf]) -> Option<String> {
    // A file that cannot be read is met later.
    let found = files.iter().find_map(|file| Some((file, what(file, &probe_file(file).ok()?)?)));
    let (file, what) = found?;
    Some(format!("hint: {} {what}, as radar scenes do: --weights {SAR} colours those", file.display()))
}

/// What a file has in common with radar scenes.
fn what(file: &Path, info: &RasterInfo) -> Option<&'static str> {
    match (info.sample.is_float(), info.bands_without_alpha().count()) {
        (true, _) => Some("holds floats"),
        (false, 1) if !info.is_bytes() && is_scene(file) => Some("holds one band of more than 8 bits"),
        _ => None,
    }
}
