//! Which files belong together, found and checked before anything is created.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dataset::facts::{self, Facts};
use crate::dataset::folder::{passed_over, path_below, pictures_in};
use crate::dataset::gaps::{gaps_notice, gaps_of_pair};
use crate::dataset::matching::{Listing, dates_in, first_part, matched, named};
use crate::dataset::pair::{Crop, Pair};
use crate::dataset::picture_file::{Half, PictureFile};
use crate::dataset::places::Places;
use crate::dataset::preparation::{Preparation, Preparations};
use crate::dataset::scene_pair::ScenePair;
use crate::dataset::stack;
use crate::dataset::zero_border::Mask;
use crate::engine::blocks;
use crate::error::{Error, Result};
use crate::imaging::codec::decode::probe_file;
use crate::imaging::picture::{Depth, PictureInfo, Reading};

/// Where training images come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSource {
    /// Two folders with equal file names (an extension may differ): SAR and optical, say.
    Pairs {
        /// The folder of inputs.
        source: PathBuf,
        /// The folder of colour images.
        target: PathBuf,
        /// Whether images in folders below belong to it: then their paths below the two are equal.
        recursive: bool,
    },
    /// A folder of colour images, whose lightness is the input.
    Images {
        /// The folder.
        folder: PathBuf,
        /// Whether images in folders below belong to it.
        recursive: bool,
    },
    /// A folder of files that hold an input and its colour image side by side.
    SideBySide {
        /// The folder.
        folder: PathBuf,
        /// The half that is the input.
        source: Half,
        /// Whether files in folders below belong to it.
        recursive: bool,
    },
    /// Two scenes on one grid, read by windows.
    Scenes {
        /// The raster of inputs.
        source: PathBuf,
        /// The raster of colours.
        target: PathBuf,
    },
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
    /// The pixels without data in either of an example's images, where there are some: crops avoid them.
    pub(super) gaps: Vec<Option<Arc<Mask>>>,
    /// The folder of the sources, or the first of several dates.
    pub folder: PathBuf,
    /// By what values of sources and of targets became 0 to 1, in words.
    pub stretches: [String; 2],
}

impl Dataset {
    /// The name of an example: its source's path below the folder of the sources, without the ending.
    pub fn name(&self, pair: &Pair) -> PathBuf {
        path_below(&first_part(pair.source.path()), &self.folder).with_extension("")
    }

    /// Decodes every image once, so that a file cut short is found before it is needed. The first fault in name order
    /// is the error. Training data need not be read for this: a [`survey`](crate::dataset::stats::survey) reads all of
    /// it anyway.
    pub fn read_through(&self) -> Result<()> {
        blocks::collect(self.pairs.len(), |i| gaps_of_pair(&self.pairs[i]).map(|_| ())).into_iter().collect()
    }
}

/// What is known of a pair that can be used: the source's header, what the files say, the pixels without data.
type Checked = (PictureInfo, Vec<Facts>, Option<Arc<Mask>>);

impl DataSource {
    /// Finds the files, in name order, without opening them. Fails when a folder is missing or holds no image.
    pub fn list(&self) -> Result<Listing> {
        match self {
            DataSource::Images { folder, recursive } => {
                let files = pictures_in(folder, *recursive)?.into_iter().map(PictureFile::from);
                let pairs = files.map(|file| Pair { source: file.clone(), target: file });
                Ok(Listing { pairs: pairs.collect(), ..Listing::default() })
            }
            DataSource::SideBySide { folder, source, recursive } => {
                let pair = |path: PathBuf| Pair {
                    source: PictureFile::half_of(path.clone(), *source),
                    target: PictureFile::half_of(path, source.other()),
                };
                let pairs = pictures_in(folder, *recursive)?.into_iter().map(pair).collect();
                Ok(Listing { pairs, ..Listing::default() })
            }
            DataSource::Pairs { source, target, recursive } => {
                Ok(matched(dates_in(source, *recursive)?, named(target, *recursive)?))
            }
            DataSource::Scenes { source, target } => {
                let scene = |path: &PathBuf| PictureFile::from(path.clone());
                Ok(Listing { pairs: vec![Pair { source: scene(source), target: scene(target) }], ..Listing::default() })
            }
        }
    }

    /// The folders that images are read from.
    fn folders(&self) -> Vec<PathBuf> {
        match self {
            DataSource::Images { folder, .. } | DataSource::SideBySide { folder, .. } => vec![folder.clone()],
            DataSource::Pairs { source, target, .. } => {
                stack::parts(source).into_iter().chain([target.clone()]).collect()
            }
            DataSource::Scenes { .. } => Vec::new(),
        }
    }

    /// Whether folders below those that are named are read too.
    fn is_recursive(&self) -> bool {
        match self {
            DataSource::Pairs { recursive, .. }
            | DataSource::Images { recursive, .. }
            | DataSource::SideBySide { recursive, .. } => *recursive,
            DataSource::Scenes { .. } => false,
        }
    }

    /// Dates of the sources.
    fn dates(&self) -> usize {
        match self {
            DataSource::Pairs { source, .. } | DataSource::Scenes { source, .. } => stack::parts(source).len(),
            DataSource::Images { .. } | DataSource::SideBySide { .. } => 1,
        }
    }

    /// As [`DataSource::list`], the images prepared.
    ///
    /// # Errors
    /// As [`DataSource::list`].
    pub(super) fn list_prepared(&self, how: &Preparations) -> Result<Listing> {
        let listing = self.list()?;
        let target = if matches!(self, DataSource::Images { .. }) { &how.source } else { &how.target };
        let prepared =
            |pair: Pair| Pair { source: pair.source.prepared(&how.source), target: pair.target.prepared(target) };
        Ok(Listing { pairs: listing.pairs.into_iter().map(prepared).collect(), ..listing })
    }

    /// The error for a source whose target is not there; it names the file that is expected.
    pub(crate) fn lone_source(&self, lone: &Path) -> Error {
        let remedy = match self {
            DataSource::Pairs { source, target, .. } => {
                let [lone, source] = [lone, source].map(first_part);
                let expected = target.join(path_below(&lone, &source));
                format!("add {} or take the source away", expected.display())
            }
            _ => "take the source away".to_owned(),
        };
        Error::input("a source without its target", lone.display(), remedy)
    }

    /// How the two sides are read by a network that makes colour of grey: `band` (from 1) chooses the source's band in
    /// a pair.
    pub fn readings(&self, band: Option<usize>) -> (Reading, Reading) {
        match self {
            DataSource::Images { .. } => (Reading::Lightness, Reading::Rgb),
            _ => (Reading::Grey { band }, Reading::Rgb),
        }
    }

    /// As [`DataSource::readings`], of sides that are prepared so: several bands of a source that were chosen are read
    /// all.
    pub fn readings_of_chosen(&self, band: Option<usize>, how: &Preparations) -> (Reading, Reading) {
        let (source, target) = self.readings(band);
        match (how.source.chosen_channels(self.dates()), source) {
            (Some(several @ 2..), Reading::Grey { .. }) => (Reading::Bands(several), target),
            (_, one) => (one, target),
        }
    }

    /// How the two sides, prepared so, are read by a network that takes any number of bands: all that were chosen or
    /// that most images of a side have, of sources only `band` (from 1) where it is given. Files that cannot be read
    /// are passed over: it is for [`DataSource::validate_as`] to name them.
    ///
    /// # Errors
    /// As [`DataSource::list`].
    pub fn readings_of_all_bands(&self, band: Option<usize>, how: &Preparations) -> Result<(Reading, Reading)> {
        if let DataSource::Images { .. } = self {
            return Ok(self.readings(band));
        }
        let one = band.is_some() && how.source.bands.is_none();
        let all_or_one = |all: usize| if one { Reading::Grey { band } } else { Reading::Bands(all) };
        if let DataSource::Scenes { source, target } = self {
            let bands = |path: &Path, how: &Preparation| {
                let files = stack::parts(path);
                match how.chosen_channels(files.len()) {
                    Some(chosen) => Ok(chosen),
                    None => Ok(how.channels(probe_file(&files[0])?.bands_without_alpha().count(), files.len())),
                }
            };
            let target = Reading::Bands(bands(target, &how.target)?);
            return Ok((all_or_one(bands(source, &how.source)?), target));
        }
        let pairs = self.list_prepared(how)?.pairs;
        let usual = |how: &Preparation, dates: usize, files: Vec<&PictureFile>| match how.chosen_channels(dates) {
            Some(chosen) => chosen,
            None => usual_bands(files),
        };
        let source = usual(&how.source, self.dates(), pairs.iter().map(|pair| &pair.source).collect());
        let target = usual(&how.target, 1, pairs.iter().map(|pair| &pair.target).collect());
        Ok((all_or_one(source), Reading::Bands(target)))
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

    /// Finds the files and checks every header: each source has a target of its own size, of bands that can be read,
    /// and no image is smaller than the crop. `readings` say how sources and targets are
    /// read, `how` what is done to them before. Of scenes, a side in `grid` makes fixed windows of it, or smaller ones,
    /// but not below `size`, where none of them has data everywhere; without, there is room for random crops.
    ///
    /// # Errors
    /// The first fault in name order.
    pub fn validate_prepared(
        &self,
        crop: impl Into<Crop>,
        readings: (Reading, Reading),
        how: &Preparations,
        grid: Option<usize>,
    ) -> Result<Dataset> {
        self.validate_with(crop.into(), readings, how, grid, false, &mut Err)
    }

    /// As [`DataSource::validate_prepared`], without the images that cannot be used, each of which is decoded once: the
    /// data, and what is wrong with each of those that were left out. Of scenes nothing can be left out.
    ///
    /// # Errors
    /// No folder, no image, or none that can be used.
    pub fn validate_rest(
        &self,
        crop: impl Into<Crop>,
        readings: (Reading, Reading),
        how: &Preparations,
        grid: Option<usize>,
    ) -> Result<(Dataset, Vec<Error>)> {
        let mut faults = Vec::new();
        let data = self.validate_with(crop.into(), readings, how, grid, true, &mut |fault| {
            faults.push(fault);
            Ok(())
        })?;
        match (data.pairs.is_empty(), faults.first()) {
            (true, Some(fault)) => Err(fault.clone()),
            _ => Ok((data, faults)),
        }
    }

    fn validate_with(
        &self,
        crop: Crop,
        readings: (Reading, Reading),
        how: &Preparations,
        grid: Option<usize>,
        decode: bool,
        fault: &mut dyn FnMut(Error) -> Result<()>,
    ) -> Result<Dataset> {
        let size = crop.size;
        if let DataSource::Scenes { source, target } = self {
            let scenes = ScenePair::open(source, target, readings, how)?;
            let pairs = match grid {
                Some(side) => scenes.fixed_windows(size, side)?,
                None => scenes.for_random_crops(size)?,
            };
            let infos = pairs.iter().map(|pair| pair.source.probe()).collect::<Result<_>>()?;
            let (source_reading, target_reading) = scenes.readings();
            let (preparations, notices) = (scenes.preparations(how), scenes.notices());
            let (folder, stretches, gaps) = (PathBuf::new(), scenes.stretches(), vec![None; pairs.len()]);
            return Ok(Dataset {
                pairs,
                infos,
                source_reading,
                target_reading,
                preparations,
                notices,
                gaps,
                folder,
                stretches,
            });
        }
        let listing = self.list_prepared(how)?;
        listing.lone_sources.iter().try_for_each(|lone| fault(self.lone_source(lone)))?;
        let (source_reading, target_reading) = readings;
        let check = |pair: &Pair| -> Result<Checked> {
            let (info, facts) = pair.source.probe_facts()?;
            let mut facts = vec![facts];
            source_reading.check(&info, pair.source.path())?;
            let other = match pair.source == pair.target {
                true => info,
                false => {
                    let (other, of_target) = pair.target.probe_facts()?;
                    facts.push(of_target);
                    other
                }
            };
            target_reading.check(&other, pair.target.path())?;
            pair.check_sizes(&info, &other)?;
            pair.check_crop(&info, crop)?;
            let may_have_gaps = facts.iter().any(|facts| facts.may_have_gaps);
            let gaps = if decode || may_have_gaps { gaps_of_pair(pair)? } else { None };
            Ok((info, facts, gaps.map(Arc::new)))
        };
        let results: Vec<Result<Checked>> = blocks::collect(listing.pairs.len(), |i| check(&listing.pairs[i]));
        let (mut pairs, mut infos, mut facts, mut gaps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut without_room: Vec<Pair> = Vec::new();
        for (pair, result) in listing.pairs.into_iter().zip(results) {
            match result {
                Ok((_, _, Some(of_pair))) if Places::new(&of_pair, size).count() == 0 => without_room.push(pair),
                Ok((info, facts_of_pair, gaps_of_pair)) => {
                    pairs.push(pair);
                    infos.push(info);
                    facts.push(facts_of_pair);
                    gaps.push(gaps_of_pair);
                }
                Err(error) => fault(error)?,
            }
        }
        let gaps_notice = gaps_notice(&pairs, &without_room, &gaps, size)?;
        let mut preparations = how.clone();
        let (folders, recursive) = (self.folders(), self.is_recursive());
        let mut notices: Vec<String> = folders.iter().filter_map(|folder| passed_over(folder, recursive)).collect();
        notices.extend(zeros_notice(&pairs));
        if let Some(pair) = pairs.first() {
            let target = if pair.target == pair.source { None } else { pair.target.unfilled() };
            notices.extend([pair.source.unfilled(), target].into_iter().flatten());
        }
        notices.extend(gaps_notice);
        let mut stretches: [String; 2] = Default::default();
        for side in 0..2 {
            let of_side: Vec<(&Path, &Facts)> = pairs
                .iter()
                .zip(&facts)
                .filter_map(|(pair, facts)| Some(([&pair.source, &pair.target][side].path(), facts.get(side)?)))
                .collect();
            stretches[side] = facts::stretches(&of_side);
            notices.extend(facts::notices(&of_side));
            // Inputs of a run are prepared as what it was trained on: all alike, or each by its own file.
            if side == 0 && infos.iter().any(|info| info.depth != Depth::U8) {
                preparations.source.stretch = preparations.source.stretch.or_else(|| facts::common_stretch(&of_side));
            }
        }
        if stretches[1].is_empty() {
            stretches[1] = stretches[0].clone();
        }
        let folder = folders.into_iter().next().unwrap_or_default();
        Ok(Dataset { pairs, infos, source_reading, target_reading, preparations, notices, gaps, folder, stretches })
    }
}

/// Sources that are looked at for zeros at their borders, at most.
const LOOKED_AT: usize = 32;

/// What to tell of zeros at the borders of sources that count as no data.
fn zeros_notice(pairs: &[Pair]) -> Option<String> {
    let looked = &pairs[..pairs.len().min(LOOKED_AT)];
    let zeros = blocks::collect(looked.len(), |i| looked[i].source.border_zeros());
    let first = zeros.iter().position(|count| *count > 0)?;
    let having = zeros.iter().filter(|count| **count > 0).count();
    Some(format!(
        "zeros at the borders of {having} of {} sources count as no data, e.g. {} of {}; ⟨zero-border⟩ keep reads them",
        looked.len(),
        zeros[first],
        looked[first].source.path().display()
    ))
}

/// The number of bands that most of some images have; of numbers equally frequent the largest. 1 if none can be read.
fn usual_bands(files: Vec<&PictureFile>) -> usize {
    let found = blocks::collect(files.len(), |i| Some(files[i].probe().ok()?.bands));
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for bands in found.into_iter().flatten() {
        *counts.entry(bands).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or(1, |(bands, _)| bands)
}

#[cfg(test)]
mod tests;
