//! Formats of coloured files, by name, bands and input.

use crate::error::{Error, Result};
use crate::imaging::raster::Raster;
use std::ffi::OsStr;
use std::path::Path;

/// How a result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 8 bits, grey or sRGB.
    Png,
    /// Any bands, in the scene's place on Earth.
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
    pub fn for_input(input: &Path, bands: usize) -> Format {
        if png_holds(bands) && !is_scene(input) { Format::Png } else { Format::Tiff }
    }
}

/// Whether an input is a TIFF, by its content; a file that cannot be read, by its name.
pub fn is_scene(input: &Path) -> bool {
    Raster::is_tiff(input) || !input.is_file() && input.extension().is_some_and(is_tiff)
}

/// The name of a result must end in what images are written as, or in nothing.
///
/// # Errors
/// Another ending.
pub fn check_ending(output: &Path) -> Result<()> {
    let known = output.extension().is_none_or(|ending| ending.eq_ignore_ascii_case("png") || is_tiff(ending));
    crate::ensure!(
        known,
        Error::input(
            "pictures are written as PNG or TIFF",
            output.display(),
            "end the name in .png or .tif, or in / for a folder"
        )
    );
    Ok(())
}

/// `output` must hold the network's bands, and with `cloud_optimised` that layout: a PNG holds 1 or 3 bands and no
/// layout.
///
/// # Errors
/// A format that cannot hold it; as [`check_ending`].
pub fn check(input: &Path, output: &Path, bands: usize, cloud_optimised: bool) -> Result<()> {
    check_ending(output)?;
    if Format::of(output, input, bands) == Format::Tiff {
        return Ok(());
    }
    crate::ensure!(
        png_holds(bands),
        Error::input(format!("a PNG cannot hold the {bands} bands"), output.display(), "end the name in .tif")
    );
    crate::ensure!(
        !cloud_optimised,
        Error::input(
            "a PNG is not cloud-optimised",
            format!("⟨cog⟩ with {}", output.display()),
            "end the name in .tif"
        )
    );
    Ok(())
}

/// How unsure a network is goes to a TIFF.
///
/// # Errors
/// Another ending.
pub fn check_uncertainty(beside: &Path) -> Result<()> {
    crate::ensure!(
        beside.extension().is_some_and(is_tiff),
        Error::input("it is written as TIFF", format!("⟨uncertainty⟩ {}", beside.display()), "end the name in .tif")
    );
    Ok(())
}

/// Floats in physical units go to a TIFF.
///
/// # Errors
/// Another ending.
pub fn check_units(output: &Path) -> Result<()> {
    crate::ensure!(
        output.extension().is_none_or(is_tiff),
        Error::input("a PNG holds no physical values", output.display(), "end the name in .tif, or leave ⟨units⟩ out")
    );
    Ok(())
}

fn is_tiff(ending: &OsStr) -> bool {
    ["tif", "tiff"].iter().any(|known| ending.eq_ignore_ascii_case(known))
}

fn png_holds(bands: usize) -> bool {
    matches!(bands, 1 | 3)
}
