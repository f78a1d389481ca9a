//! One input through the network, into its files.

use crate::cli::commands::colorize::progress::Report;
use crate::cli::commands::colorize::targets::{Format, is_scene};
use crate::error::{Error, Result};
use crate::files::io_error;
use crate::imaging::codec::decode;
use crate::paint::colorizer::{Colorizer, Options};
use crate::paint::output::{Origin, Output};
use crate::paint::scene::{Scene, Source};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is done to every input.
pub struct Work {
    pub colorizer: Colorizer,
    pub options: Options,
    pub tile: Option<usize>,
    pub overlap: Option<usize>,
    pub uncertainty: Option<PathBuf>,
    pub cog: bool,
    /// What the files say of themselves.
    pub description: String,
    /// Set once the user wants it to end.
    pub stop: Arc<AtomicBool>,
}

impl Work {
    /// Colours `file` into `target`, which is written whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be read, a folder that cannot be written, a full disk, memory, an interruption.
    pub fn colour(&self, file: &Path, target: &Path, report: &mut Report) -> Result<()> {
        let (source, origin) = self.open(file, report)?;
        let folders = Folders::of([Some(target), self.uncertainty.as_deref()].into_iter().flatten())?;
        self.paint(file, target, source.as_ref(), &origin, report).inspect_err(|_| folders.remove_if_empty())
    }

    fn paint(
        &self,
        file: &Path,
        target: &Path,
        source: &dyn Source,
        origin: &Origin,
        report: &mut Report,
    ) -> Result<()> {
        let bands = self.colorizer.bands();
        let look = self.options.look;
        let tiling = self.colorizer.tiling(origin.size, self.tile, self.overlap, &look)?;
        let mut output = match Format::of(target, file, bands) {
            Format::Png => Output::picture(target, origin, bands, &self.description),
            Format::Tiff => Output::raster(target, origin, bands, &self.description, tiling.align)?,
        };
        if let Some(beside) = &self.uncertainty {
            let description = format!("entropy over the largest possible one, of {}", self.description);
            output = output.with_uncertainty(beside, origin, &description, tiling.align)?;
        }
        let scene = Scene { look, tiling, uncertainty: self.uncertainty.is_some() };
        self.colorizer.paint_scene(source, &mut output, &scene, &mut |done, total| {
            report.tile_done(file, done, total);
            self.check_stop(target)
        })?;
        output.cloud_optimised(self.cog).finish()
    }

    /// The input as the network reads it, and what its colours carry over. TIFFs are read by windows, other pictures whole.
    fn open(&self, file: &Path, report: &Report) -> Result<(Box<dyn Source>, Origin)> {
        if is_scene(file) {
            let source = self.colorizer.open_scene(file, &self.options)?;
            if let Some(notice) = source.notice() {
                report.line(&notice);
            }
            let origin = Origin::raster(source.raster().info(), source.raster().has_mask());
            return Ok((Box::new(source), origin));
        }
        let picture = decode::open(file)?;
        let origin = Origin::picture([picture.info.width, picture.info.height], picture.info.depth);
        Ok((Box::new(self.colorizer.source(&picture, file, &self.options)?), origin))
    }

    fn check_stop(&self, target: &Path) -> Result<()> {
        crate::ensure!(
            !self.stop.load(Ordering::Relaxed),
            Error::failed("interrupted", target.display(), "nothing was written there; run it again")
        );
        Ok(())
    }
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
