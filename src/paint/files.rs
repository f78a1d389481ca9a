//! Image and scene files through a network, into files.

use crate::dataset::prepared::PreparedScene;
use crate::error::{Error, ErrorKind, Result};
use crate::files::io_error;
use crate::imaging::codec::save::predicted_by;
use crate::paint::colorizer::Colorizer;
use crate::paint::format::{self, Format};
use crate::paint::output::{Origin, Output};
use crate::paint::scene::{Part, Scene, Sink, Source, redundancy};
use crate::paint::units::Units;
use std::path::{Path, PathBuf};

/// How a file is coloured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FileOptions {
    /// Side of the tiles of a scene, pixels; `None`: no tiles where the network takes an image from top to bottom,
    /// others of what fits the device's memory.
    pub tile: Option<usize>,
    /// Pixels that a tile reads beyond each side; `None`: as far as the network sees.
    pub overlap: Option<usize>,
    /// Where to write how unsure a classifier is of each pixel, a TIFF of floats 0..1.
    pub uncertainty: Option<PathBuf>,
    /// Whether TIFFs have the cloud-optimised layout.
    pub cloud_optimised: bool,
    /// Whether to write values in the units of the targets, see [`Colorizer::target_units`], instead of colours.
    pub units: Option<Units>,
}

/// What happens while a file is coloured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FileEvent<'a> {
    /// What the user should know of the input, one line.
    Notice(&'a str),
    /// How a network goes over the input.
    Plan {
        /// Width and height, pixels.
        size: [usize; 2],
        /// How many times its pixels go through the network, on the average: more than once where tiles, windows or
        /// panels overlap.
        redundancy: f64,
    },
    /// So many tiles, windows or strips of rows are painted.
    Parts {
        /// Painted so far, from 1.
        done: usize,
        /// In all.
        total: usize,
    },
}

impl Colorizer {
    /// Colours the image or scene in the file `input`, read as [`Colorizer::options`] say, into the file `output`: the
    /// same bytes as `huetape colorize`. A name that ends in `.png` or `.tif` says the format; one without an ending
    /// gets the input's. A GeoTIFF's place on Earth and its pixels without data are carried over to a TIFF.
    ///
    /// `output` is written whole or not at all; folders that are missing are made.
    ///
    /// # Errors
    /// An input that cannot be read or has other bands; an output of another format, that cannot be written or is the
    /// input; memory.
    pub fn colour_file(&self, input: impl AsRef<Path>, output: impl AsRef<Path>) -> Result<()> {
        self.colour_file_with(input.as_ref(), output.as_ref(), &FileOptions::default(), &mut |_| Ok(()))
    }

    /// As [`Colorizer::colour_file`], by tiles and with results as `how` says; an error that `observe` returns ends the
    /// work.
    ///
    /// # Errors
    /// As [`Colorizer::colour_file`]; an uncertainty that the network does not know; what `observe` returns.
    pub fn colour_file_with(
        &self,
        input: &Path,
        output: &Path,
        how: &FileOptions,
        observe: &mut dyn FnMut(FileEvent<'_>) -> Result<()>,
    ) -> Result<()> {
        format::check(input, output, self.bands(), how.cloud_optimised && how.uncertainty.is_none())?;
        for written in [Some(output), how.uncertainty.as_deref()].into_iter().flatten() {
            check_not_input(input, written)?;
        }
        if let Some(beside) = &how.uncertainty {
            self.check_uncertainty()?;
            format::check_uncertainty(beside)?;
            crate::ensure!(
                beside != output,
                Error::input(
                    "two results would be written to one file",
                    output.display(),
                    "give them names of their own"
                )
            );
        }
        if how.units.is_some() {
            self.target_units()?;
            format::check_units(output)?;
        }
        let (source, origin) = self.open_file(input, observe)?;
        if !self.ranks().leads() {
            return self.paint_for_the_first(how, &source, &origin, observe);
        }
        let folders = Folders::of([Some(output), how.uncertainty.as_deref()].into_iter().flatten())?;
        let painted = self.paint_file(input, output, how, &source, &origin, observe);
        painted.inspect_err(|_| folders.remove_if_empty())
    }

    /// Paints this process's share of the tiles, which the first process writes.
    fn paint_for_the_first(
        &self,
        how: &FileOptions,
        source: &dyn Source,
        origin: &Origin,
        observe: &mut dyn FnMut(FileEvent<'_>) -> Result<()>,
    ) -> Result<()> {
        let look = self.options().look;
        let tiling = self.tiling(origin.size, how.tile, how.overlap, &look)?;
        let scene = Scene { look, tiling, uncertainty: how.uncertainty.is_some() };
        self.paint_scene(source, &mut Nowhere, &scene, &mut |done, total| observe(FileEvent::Parts { done, total }))
    }

    fn paint_file(
        &self,
        input: &Path,
        output: &Path,
        how: &FileOptions,
        source: &dyn Source,
        origin: &Origin,
        observe: &mut dyn FnMut(FileEvent<'_>) -> Result<()>,
    ) -> Result<()> {
        let (bands, look, description) = (self.bands(), self.options().look, predicted_by(self.model()));
        let tiling = self.tiling(origin.size, how.tile, how.overlap, &look)?;
        let mut written = match (how.units, Format::of(output, input, bands)) {
            (Some(units), _) => {
                let targets = self.target_units()?;
                Output::in_units(output, origin, bands, (targets, units), &description, tiling.align)?
            }
            (None, Format::Png) => Output::picture(output, origin, bands, &description),
            (None, Format::Tiff) => Output::raster(output, origin, bands, &description, tiling.align)?,
        };
        if let Some(beside) = &how.uncertainty {
            let description = format!("entropy over the largest possible one, of {description}");
            written = written.with_uncertainty(beside, origin, &description, tiling.align)?;
        }
        let scene = Scene { look, tiling, uncertainty: how.uncertainty.is_some() };
        let redundancy = redundancy(self.painter(), origin.size, &scene);
        observe(FileEvent::Plan { size: origin.size, redundancy })?;
        let mut progress = |done, total| observe(FileEvent::Parts { done, total });
        self.paint_scene(source, &mut written, &scene, &mut progress)?;
        written.cloud_optimised(how.cloud_optimised).finish()
    }

    /// The input as the network reads it, and what its colours carry over.
    fn open_file(
        &self,
        input: &Path,
        observe: &mut dyn FnMut(FileEvent<'_>) -> Result<()>,
    ) -> Result<(PreparedScene, Origin)> {
        let source = self.open_scene(input, self.options())?;
        source.notices().iter().try_for_each(|notice| observe(FileEvent::Notice(notice)))?;
        let origin = Origin::of(source.info(), source.may_have_gaps());
        Ok((source, origin))
    }
}

/// Where a process writes that does not.
struct Nowhere;

impl Sink for Nowhere {
    fn put(&mut self, _: [usize; 2], _: Part) -> Result<()> {
        Ok(())
    }
}

/// Refuses to write over what is read.
///
/// # Errors
/// Paths of one file, under whatever names.
pub fn check_not_input(input: &Path, output: &Path) -> Result<()> {
    let same = input == output
        || matches!((input.canonicalize(), output.canonicalize()), (Ok(input), Ok(output)) if input == output);
    crate::ensure!(
        !same,
        Error::input("an input would be overwritten", output.display(), "choose another ⟨out⟩").of(ErrorKind::Exists)
    );
    Ok(())
}

/// Folders that were made for outputs.
struct Folders(Vec<PathBuf>);

impl Folders {
    /// Makes the folders of files, those that are not there.
    fn of<'a>(files: impl Iterator<Item = &'a Path>) -> Result<Self> {
        let mut made = Folders(Vec::new());
        for folder in files.filter_map(Path::parent).filter(|folder| !folder.as_os_str().is_empty()) {
            if !folder.exists() {
                made.0.push(folder.to_owned());
            }
            std::fs::create_dir_all(folder).map_err(|error| io_error("cannot create the folder", folder, &error))?;
        }
        Ok(made)
    }

    /// Takes those away again into which nothing has been written.
    fn remove_if_empty(&self) {
        // A folder with files in it stays: the system refuses, which is no failure.
        self.0.iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
    }
}
