//! Which files belong together, found and checked before anything is created.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::dataset::picture_file::{Half, PictureFile};
use crate::dataset::prepared::Preparation;
use crate::dataset::scene_pair::ScenePair;
use crate::error::{Error, Result};
use crate::imaging::codec::decode::EXTENSIONS;
use crate::imaging::picture::{Depth, PictureInfo, Reading};
use crate::imaging::raster::{Raster, Stretch};

/// Where training pictures come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSource {
    /// Two folders with equal file names (an extension may differ): SAR and optical, say.
    Pairs {
        /// The folder of inputs.
        source: PathBuf,
        /// The folder of colour pictures.
        target: PathBuf,
    },
    /// A folder of colour pictures, whose lightness is the input.
    Images(PathBuf),
    /// A folder of files that hold an input and its colour picture side by side.
    SideBySide {
        /// The folder.
        folder: PathBuf,
        /// The half that is the input.
        source: Half,
    },
    /// Two scenes on one grid, read by windows.
    Scenes {
        /// The raster of inputs.
        source: PathBuf,
        /// The raster of colours.
        target: PathBuf,
    },
}

/// How the two sides are prepared.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Preparations {
    /// The sources. Of [`DataSource::Images`] it is that of the pictures.
    pub source: Preparation,
    /// The targets.
    pub target: Preparation,
}

/// One training example's files; with [`DataSource::Images`] both are the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The input.
    pub source: PictureFile,
    /// The colour picture.
    pub target: PictureFile,
}

/// What two folders hold, in name order.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Files that belong together.
    pub pairs: Vec<Pair>,
    /// Sources without a target.
    pub lone_sources: Vec<PathBuf>,
    /// Targets without a source.
    pub lone_targets: Vec<PathBuf>,
}

/// A checked data set: the files in name order and how each side is read.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The examples in name order; never empty.
    pub pairs: Vec<Pair>,
    /// The header of each example's source.
    pub infos: Vec<PictureInfo>,
    /// How a source is read.
    pub source_reading: Reading,
    /// How a target is read.
    pub target_reading: Reading,
    /// How both were prepared: what a run keeps, so that what is coloured later is read as what was trained on.
    pub preparations: Preparations,
    /// What the user should know, one line each.
    pub notices: Vec<String>,
}

impl Pair {
    /// Source and target must have the same size; the error names both files and both sizes.
    pub(crate) fn check_sizes(&self, source: &PictureInfo, target: &PictureInfo) -> Result<()> {
        crate::ensure!(
            (source.width, source.height) == (target.width, target.height),
            Error::input(
                format!(
                    "source and target differ in size, {}x{} and {}x{}",
                    source.width, source.height, target.width, target.height
                ),
                format!("{} and {}", self.source.path.display(), self.target.path.display()),
                "bring both to one grid"
            )
        );
        Ok(())
    }

    /// A picture must hold a crop of `size` x `size` pixels; the error says which size fits.
    pub(crate) fn check_crop(&self, info: &PictureInfo, size: usize) -> Result<()> {
        crate::ensure!(
            info.width >= size && info.height >= size,
            Error::input(
                format!("a picture of {}x{} is smaller than the crop of {size}x{size}", info.width, info.height),
                self.source.path.display(),
                format!("use ⟨size⟩ {} or less, or take the picture away", info.width.min(info.height))
            )
        );
        Ok(())
    }
}

impl Dataset {
    /// Decodes every picture once, so that a file cut short is found before it is needed. The first fault in name order
    /// is the error. Training data need not be read for this: a [`survey`](crate::dataset::stats::survey) reads all of it anyway.
    pub fn read_through(&self) -> Result<()> {
        let read = |pair: &Pair| -> Result<()> {
            pair.source.open()?.check_range(&pair.source.path)?;
            if pair.target != pair.source {
                pair.target.open()?.check_range(&pair.target.path)?;
            }
            Ok(())
        };
        self.pairs.par_iter().map(read).collect::<Vec<_>>().into_iter().collect()
    }
}

impl DataSource {
    /// Finds the files, in name order, without opening them. Fails when a folder is missing or holds no picture.
    pub fn list(&self) -> Result<Listing> {
        match self {
            DataSource::Images(folder) => {
                let files = pictures_in(folder)?.into_iter().map(PictureFile::from);
                let pairs = files.map(|file| Pair { source: file.clone(), target: file });
                Ok(Listing { pairs: pairs.collect(), ..Listing::default() })
            }
            DataSource::SideBySide { folder, source } => {
                let half = |path: &Path, half| PictureFile { half: Some(half), ..PictureFile::from(path.to_owned()) };
                let files = pictures_in(folder)?.into_iter();
                let pairs =
                    files.map(|path| Pair { source: half(&path, *source), target: half(&path, source.other()) });
                Ok(Listing { pairs: pairs.collect(), ..Listing::default() })
            }
            DataSource::Pairs { source, target } => Ok(matched(pictures_in(source)?, pictures_in(target)?)),
            DataSource::Scenes { source, target } => {
                let scene = |path: &PathBuf| PictureFile::from(path.clone());
                Ok(Listing { pairs: vec![Pair { source: scene(source), target: scene(target) }], ..Listing::default() })
            }
        }
    }

    /// As [`DataSource::list`], the pictures prepared.
    ///
    /// # Errors
    /// As [`DataSource::list`].
    pub(super) fn list_prepared(&self, how: &Preparations) -> Result<Listing> {
        let mut listing = self.list()?;
        let images = matches!(self, DataSource::Images(_));
        for pair in &mut listing.pairs {
            pair.source.preparation = how.source;
            pair.target.preparation = if images { how.source } else { how.target };
        }
        Ok(listing)
    }

    /// The error for a source whose target is not there; it names the file that is expected.
    pub(crate) fn lone_source(&self, lone: &Path) -> Error {
        let remedy = match self {
            DataSource::Pairs { target, .. } => {
                let expected = target.join(lone.file_name().unwrap_or_default());
                format!("add {} or take the source away", expected.display())
            }
            _ => "take the source away".to_owned(),
        };
        Error::input("a source without its target", lone.display(), remedy)
    }

    /// How the two sides are read by a network that makes colour of grey: `band` (from 1) chooses the source's band in a pair.
    pub fn readings(&self, band: Option<usize>) -> (Reading, Reading) {
        match self {
            DataSource::Images(_) => (Reading::Lightness, Reading::Rgb),
            _ => (Reading::Grey { band }, Reading::Rgb),
        }
    }

    /// How the two sides are read by a network that takes any number of bands: all that most pictures of a side have, of
    /// sources only `band` (from 1) where it is given. Files that cannot be read are passed over: it is for
    /// [`DataSource::validate_as`] to name them.
    ///
    /// # Errors
    /// As [`DataSource::list`].
    pub fn readings_of_all_bands(&self, band: Option<usize>) -> Result<(Reading, Reading)> {
        if let DataSource::Images(_) = self {
            return Ok(self.readings(band));
        }
        let all_or_one = |all: usize| if band.is_some() { Reading::Grey { band } } else { Reading::Bands(all) };
        if let DataSource::Scenes { source, target } = self {
            let bands = |path: &Path| Ok(Raster::open(path)?.info().bands_without_alpha().count());
            return Ok((all_or_one(bands(source)?), Reading::Bands(bands(target)?)));
        }
        let pairs = self.list()?.pairs;
        let source = all_or_one(usual_bands(pairs.iter().map(|pair| &pair.source).collect()));
        Ok((source, Reading::Bands(usual_bands(pairs.iter().map(|pair| &pair.target).collect()))))
    }

    /// [`DataSource::validate_as`] with [`DataSource::readings`].
    ///
    /// # Errors
    /// As [`DataSource::validate_as`].
    pub fn validate(&self, size: usize, band: Option<usize>) -> Result<Dataset> {
        self.validate_as(size, self.readings(band))
    }

    /// [`DataSource::validate_prepared`] without any preparation.
    ///
    /// # Errors
    /// As [`DataSource::validate_prepared`].
    pub fn validate_as(&self, size: usize, readings: (Reading, Reading)) -> Result<Dataset> {
        self.validate_prepared(size, readings, &Preparations::default(), None)
    }

    /// Finds the files and checks every header: each source has a target of its own size, of bands that can be read, and
    /// no picture is smaller than `size` (the crop's side in pixels). `readings` say how sources and targets are read, `how` what is
    /// done to them before. Of scenes, a side in `grid` makes fixed windows of it, or smaller ones, but not below `size`, where none
    /// of them has data everywhere; without, there is room for random crops.
    ///
    /// # Errors
    /// The first fault in name order.
    pub fn validate_prepared(
        &self,
        size: usize,
        readings: (Reading, Reading),
        how: &Preparations,
        grid: Option<usize>,
    ) -> Result<Dataset> {
        if let DataSource::Scenes { source, target } = self {
            let scenes = ScenePair::open(source, target, readings, how)?;
            let pairs = match grid {
                Some(side) => scenes.fixed_windows(size, side)?,
                None => scenes.for_random_crops(size)?,
            };
            let infos = pairs.iter().map(|pair| pair.source.probe()).collect::<Result<_>>()?;
            let (source_reading, target_reading) = scenes.readings();
            let (preparations, notices) = (scenes.preparations(how), scenes.notices());
            return Ok(Dataset { pairs, infos, source_reading, target_reading, preparations, notices });
        }
        let listing = self.list_prepared(how)?;
        if let Some(lone) = listing.lone_sources.first() {
            return Err(self.lone_source(lone));
        }
        let (source_reading, target_reading) = readings;
        let check = |pair: &Pair| -> Result<PictureInfo> {
            let info = pair.source.probe()?;
            source_reading.check(&info, &pair.source.path)?;
            let other = if pair.source == pair.target { info } else { pair.target.probe()? };
            target_reading.check(&other, &pair.target.path)?;
            pair.check_sizes(&info, &other)?;
            pair.check_crop(&info, size)?;
            Ok(info)
        };
        let results: Vec<Result<PictureInfo>> = listing.pairs.par_iter().map(check).collect();
        let infos = results.into_iter().collect::<Result<Vec<_>>>()?;
        let mut preparations = *how;
        // A run on pictures that are no bytes and were not stretched is to colour none that is.
        if infos.iter().any(|info| info.depth != Depth::U8) {
            preparations.source.stretch.get_or_insert(Stretch::None);
        }
        Ok(Dataset { pairs: listing.pairs, infos, source_reading, target_reading, preparations, notices: Vec::new() })
    }
}

/// The number of bands that most of some pictures have; of numbers equally frequent the largest. 1 if none can be read.
fn usual_bands(files: Vec<&PictureFile>) -> usize {
    let found: Vec<usize> = files.par_iter().filter_map(|file| Some(file.probe().ok()?.bands)).collect();
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for bands in found {
        *counts.entry(bands).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or(1, |(bands, _)| bands)
}

/// The pictures of a folder by name: files with a known extension, hidden ones and folders passed over.
///
/// Fails when there is no such folder, or no picture in it.
pub fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::input("no such folder", folder.display(), "check the path"),
        std::io::ErrorKind::NotADirectory => {
            Error::input("not a folder", folder.display(), "give the folder of pictures")
        }
        _ => Error::input(format!("cannot read the folder ({error})"), folder.display(), "check its permissions"),
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        // `is_file` follows links: a folder of links to pictures is a folder of pictures.
        if !hidden && has_picture_extension(&path) && path.is_file() {
            files.push(path);
        }
    }
    crate::ensure!(
        !files.is_empty(),
        Error::input(
            "no pictures in the folder",
            folder.display(),
            format!("put {} files there", EXTENSIONS.join(", "))
        )
    );
    files.sort_by(|x, y| x.file_name().cmp(&y.file_name()));
    Ok(files)
}

/// Whether the name ends as a picture's does.
pub fn has_picture_extension(path: &Path) -> bool {
    path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

/// Pairs equal names; of the rest, equal stems where each side has just one.
fn matched(sources: Vec<PathBuf>, targets: Vec<PathBuf>) -> Listing {
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_owned();
    let stem = |path: &PathBuf| path.file_stem().unwrap_or_default().to_owned();
    let mut by_name: BTreeMap<OsString, PathBuf> = targets.into_iter().map(|t| (name(&t), t)).collect();
    let (mut pairs, mut rest) = (Vec::new(), Vec::new());
    for source in sources {
        match by_name.remove(&name(&source)) {
            Some(target) => pairs.push((source, target)),
            None => rest.push(source),
        }
    }
    let mut by_stem: BTreeMap<OsString, (Vec<PathBuf>, Vec<PathBuf>)> = BTreeMap::new();
    for source in rest {
        by_stem.entry(stem(&source)).or_default().0.push(source);
    }
    for target in by_name.into_values() {
        by_stem.entry(stem(&target)).or_default().1.push(target);
    }
    let mut listing = Listing::default();
    for (mut sources, mut targets) in by_stem.into_values() {
        if sources.len() == 1 && targets.len() == 1 {
            pairs.extend(sources.pop().zip(targets.pop()));
        } else {
            listing.lone_sources.extend(sources);
            listing.lone_targets.extend(targets);
        }
    }
    pairs.sort_by_key(|(source, _)| name(source));
    let pair = |(source, target): (PathBuf, PathBuf)| Pair { source: source.into(), target: target.into() };
    listing.pairs = pairs.into_iter().map(pair).collect();
    listing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::codec::save::save_png;

    /// Two folders of grey PNGs: (side, name, width, height).
    fn folders(files: &[(&str, &str, usize, usize)]) -> (tempfile::TempDir, DataSource) {
        let root = tempfile::tempdir().unwrap();
        for side in ["s", "t"] {
            fs::create_dir(root.path().join(side)).unwrap();
        }
        for (side, name, width, height) in files {
            save_png(&root.path().join(side).join(name), &vec![1; width * height], *width, *height, None).unwrap();
        }
        let data = DataSource::Pairs { source: root.path().join("s"), target: root.path().join("t") };
        (root, data)
    }

    fn names(paths: impl IntoIterator<Item = PathBuf>) -> Vec<String> {
        paths.into_iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    fn error(files: &[(&str, &str, usize, usize)], size: usize) -> String {
        let (_root, data) = folders(files);
        let error = data.validate(size, None).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(!text.contains('\n'), "{text}");
        text
    }

    #[test]
    fn pairs_come_in_name_order_and_other_files_are_passed_over() {
        let (root, data) =
            folders(&[("s", "b.png", 8, 8), ("s", "a.png", 9, 8), ("t", "a.png", 9, 8), ("t", "b.png", 8, 8)]);
        for other in ["s/notes.txt", "s/.hidden.png", "t/.DS_Store", "t/c.md"] {
            fs::write(root.path().join(other), "x").unwrap();
        }
        fs::create_dir(root.path().join("s/folder.png")).unwrap();
        let set = data.validate(8, None).unwrap();
        assert_eq!(names(set.pairs.iter().map(|p| p.source.path.clone())), ["a.png", "b.png"]);
        assert_eq!(names(set.pairs.iter().map(|p| p.target.path.clone())), ["a.png", "b.png"]);
        assert_eq!(set.infos[0].width, 9);
    }

    #[test]
    fn another_extension_pairs_only_where_it_is_unambiguous() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let listing = matched(
            paths(&["1.jpg", "2.jpg", "2.png", "3.jpg", "4.tif"]),
            paths(&["1.png", "2.png", "3.png", "3.tif", "5.tif"]),
        );
        assert_eq!(names(listing.pairs.iter().map(|p| p.source.path.clone())), ["1.jpg", "2.png"]);
        assert_eq!(names(listing.lone_sources), ["2.jpg", "3.jpg", "4.tif"]);
        assert_eq!(names(listing.lone_targets), ["3.png", "3.tif", "5.tif"]);
    }

    #[test]
    fn a_missing_or_empty_folder_is_named() {
        let missing = DataSource::Images("/nonesuch".into()).validate(8, None).unwrap_err();
        assert_eq!(missing.to_string(), "no such folder: /nonesuch: check the path");
        assert!(error(&[("s", "a.png", 8, 8)], 8).starts_with("no pictures in the folder: "));
    }

    #[test]
    fn a_source_without_its_target_names_the_file_that_is_expected() {
        let text = error(&[("s", "a.png", 8, 8), ("s", "b.png", 8, 8), ("t", "a.png", 8, 8)], 8);
        assert!(text.contains("s/b.png: add ") && text.contains("t/b.png or take"), "{text}");
    }

    #[test]
    fn a_target_without_a_source_is_no_error() {
        let (_root, data) = folders(&[("s", "a.png", 8, 8), ("t", "a.png", 8, 8), ("t", "b.png", 8, 8)]);
        assert_eq!(data.validate(8, None).unwrap().pairs.len(), 1);
    }

    #[test]
    fn sizes_that_differ_are_named_with_both_files() {
        let text = error(&[("s", "a.png", 8, 9), ("t", "a.png", 10, 9)], 8);
        assert!(text.contains("8x9 and 10x9") && text.contains("s/a.png and ") && text.contains("t/a.png"), "{text}");
    }

    #[test]
    fn a_picture_smaller_than_the_crop_says_which_size_fits() {
        let text = error(&[("s", "a.png", 8, 20), ("t", "a.png", 8, 20)], 16);
        assert!(text.contains("8x20") && text.contains("16x16") && text.contains("size 8"), "{text}");
    }

    #[test]
    fn a_text_file_among_the_pictures_is_named() {
        let (root, data) = folders(&[("s", "a.png", 8, 8), ("t", "a.png", 8, 8), ("t", "b.png", 8, 8)]);
        fs::write(root.path().join("s/b.png"), "not a picture").unwrap();
        assert!(data.validate(8, None).unwrap_err().to_string().contains("s/b.png"));
    }

    #[test]
    fn all_bands_are_those_of_most_pictures_and_the_odd_one_is_named() {
        let (root, data) = folders(&[("s", "a.png", 8, 8), ("s", "b.png", 8, 8), ("s", "c.png", 8, 8)]);
        for name in ["a.png", "b.png", "c.png"] {
            save_png(&root.path().join("t").join(name), &[1; 3 * 64], 8, 8, None).unwrap();
        }
        let readings = data.readings_of_all_bands(None).unwrap();
        assert_eq!(readings, (Reading::Bands(1), Reading::Bands(3)));
        assert_eq!(data.readings_of_all_bands(Some(1)).unwrap().0, Reading::Grey { band: Some(1) });
        assert_eq!(data.validate_as(8, readings).unwrap().pairs.len(), 3);
        // Not even the first file decides alone.
        save_png(&root.path().join("t/a.png"), &[1; 64], 8, 8, None).unwrap();
        let readings = data.readings_of_all_bands(None).unwrap();
        let error = data.validate_as(8, readings).unwrap_err().to_string();
        assert!(error.starts_with("the number of bands is 1, not 3: ") && error.contains("t/a.png"), "{error}");
    }

    #[test]
    fn side_by_side_pictures_are_read_as_two() {
        let (root, _) = folders(&[("s", "a.png", 16, 8)]);
        let data = |source| DataSource::SideBySide { folder: root.path().join("s"), source };
        let set = data(Half::Right).validate(8, None).unwrap();
        assert_eq!((set.infos[0].width, set.pairs[0].source.half), (8, Some(Half::Right)));
        assert_eq!(set.pairs[0].target.half, Some(Half::Left));
        let error = data(Half::Left).validate(9, None).unwrap_err().to_string();
        assert!(error.contains("8x8") && error.contains("size 8"), "{error}");
    }

    #[test]
    fn images_are_their_own_source() {
        let (root, _) = folders(&[("s", "a.png", 8, 8)]);
        let set = DataSource::Images(root.path().join("s")).validate(8, None).unwrap();
        assert_eq!(set.pairs[0].source, set.pairs[0].target);
        assert_eq!(set.source_reading, Reading::Lightness);
    }
}
