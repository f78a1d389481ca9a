//! Which files `huetape colorize` reads and which it writes.

use crate::dataset::folder::pictures_in;
use crate::error::{Error, Result};
use crate::imaging::raster::Raster;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// How a result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Png,
    Tiff,
}

impl Format {
    /// The format that a name asks for; where it has no ending, that of `input`, or what holds the bands.
    pub fn of(path: &Path, input: &Path, bands: usize) -> Format {
        match path.extension() {
            Some(ending) if is_tiff(ending) => Format::Tiff,
            None => Format::for_input(input, bands),
            _ => Format::Png,
        }
    }

    /// TIFF for a scene and for bands that a PNG cannot hold.
    fn for_input(input: &Path, bands: usize) -> Format {
        if png_holds(bands) && !is_scene(input) { Format::Png } else { Format::Tiff }
    }
}

/// Whether an input is a TIFF, by its content; a file that cannot be read, by its name.
pub fn is_scene(input: &Path) -> bool {
    Raster::is_tiff(input) || !input.is_file() && input.extension().is_some_and(is_tiff)
}

fn is_tiff(ending: &OsStr) -> bool {
    ["tif", "tiff"].iter().any(|known| ending.eq_ignore_ascii_case(known))
}

fn png_holds(bands: usize) -> bool {
    matches!(bands, 1 | 3)
}

/// Where the colours of `input` go: `out` itself for one file, `out/STEM.png` in a folder, or `.tif` for a scene and where a PNG
/// cannot hold the bands.
pub fn output_path(input: &Path, out: &Path, folder: bool, bands: usize) -> PathBuf {
    if !folder {
        return out.to_owned();
    }
    let mut name = input.file_stem().unwrap_or_default().to_owned();
    name.push(if Format::for_input(input, bands) == Format::Png { ".png" } else { ".tif" });
    out.join(name)
}

/// Whether a path is a folder or is written as one, with a separator at its end.
pub fn means_folder(out: &Path) -> bool {
    out.is_dir() || out.as_os_str().to_string_lossy().ends_with(std::path::is_separator)
}

/// One picture goes to a .png or .tif file, several go to a folder.
pub fn check_out(out: &Path, single: bool) -> Result<()> {
    let known = out.extension().is_none_or(|ending| ending.eq_ignore_ascii_case("png") || is_tiff(ending));
    crate::ensure!(
        !single || known,
        Error::input(
            "pictures are written as PNG or TIFF",
            out.display(),
            "end the name in .png or .tif, or in / for a folder"
        )
    );
    crate::ensure!(
        single || !out.is_file(),
        Error::input("several pictures need a folder, and this is a file", out.display(), "choose another --out")
    );
    Ok(())
}

/// What is written beside the colours of the one scene there is: a TIFF.
pub fn check_beside(beside: &Path, flag: &str, files: &[PathBuf]) -> Result<()> {
    crate::ensure!(
        files.len() == 1,
        Error::input(
            format!("{} inputs for one file", files.len()),
            format!("{flag} {}", beside.display()),
            "colour them one by one"
        )
    );
    crate::ensure!(
        beside.extension().is_some_and(is_tiff),
        Error::input("it is written as TIFF", format!("{flag} {}", beside.display()), "end the name in .tif")
    );
    Ok(())
}

/// All pictures that the inputs name, folders in name order. With `keep_going` a file that is not there is met later.
pub fn inputs(named: &[PathBuf], keep_going: bool) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for input in named {
        if input.is_dir() {
            files.extend(pictures_in(input)?);
        } else if keep_going || input.exists() {
            files.push(input.clone());
        } else {
            return Err(Error::input("no such file or folder", input.display(), "check the path"));
        }
    }
    Ok(files)
}

/// Each file must hold the network's bands, and with `cog` the cloud-optimised layout: a PNG holds 1 or 3 bands and no layout.
pub fn check_formats(files: &[PathBuf], targets: &[PathBuf], bands: usize, cog: bool) -> Result<()> {
    let png = |(file, target): &(&PathBuf, &PathBuf)| Format::of(target, file, bands) == Format::Png;
    let Some((_, target)) = files.iter().zip(targets).find(png) else { return Ok(()) };
    crate::ensure!(
        png_holds(bands),
        Error::input(format!("a PNG cannot hold the {bands} bands"), target.display(), "end the name in .tif")
    );
    crate::ensure!(
        !cog,
        Error::input(
            "a PNG is not cloud-optimised",
            format!("--cog with {}", target.display()),
            "end the name in .tif"
        )
    );
    Ok(())
}

/// No two results may go to one file, those `beside` the colours of a single input included, and no input may be overwritten.
pub fn check_targets(files: &[PathBuf], targets: &[PathBuf], beside: Option<&Path>) -> Result<()> {
    let beside = beside.iter().flat_map(|beside| files.iter().map(|file| (file.as_path(), *beside)));
    let colours = files.iter().zip(targets).map(|(file, target)| (file.as_path(), target.as_path()));
    let mut seen: HashMap<&Path, &Path> = HashMap::new();
    for (file, target) in colours.chain(beside) {
        if let Some(other) = seen.insert(target, file) {
            let both = if other == file {
                format!("two results of {} would be written", file.display())
            } else {
                format!("{} and {} would both be written", other.display(), file.display())
            };
            let remedy = "give the files names of their own, or colour them one by one";
            return Err(Error::input(both, target.display(), remedy));
        }
        let same =
            |a: &Path, b: &Path| a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
        crate::ensure!(
            !same(file, target),
            Error::input("an input would be overwritten", target.display(), "choose another --out")
        );
    }
    Ok(())
}
