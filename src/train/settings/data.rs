//! Where settings say that the data come from, and how they are prepared.

use crate::dataset::bands::BandList;
use crate::dataset::despeckle::Filters;
use crate::dataset::pairs::DataSource;
use crate::dataset::picture_file::Half;
use crate::dataset::preparation::{Preparation, Preparations};
use crate::dataset::stack::{self, Looks};
use crate::dataset::zero_border::ZeroBorder;
use crate::error::{Error, Result};
use crate::imaging::raster::Stretches;
use crate::train::settings::checks::{read_bands, read_despeckle, read_looks, read_stretch, read_zero_border};
use crate::train::settings::table::Settings;
use std::path::Path;

impl Settings {
    /// Where the training data come from.
    ///
    /// # Errors
    /// Settings that name none, or a part only.
    pub fn data(&self) -> Result<DataSource> {
        crate::ensure!(
            self.pairs.is_some() || self.pairs_source.is_none(),
            Error::input("no side-by-side images", "⟨pairs-source⟩", "add ⟨pairs⟩ DIR, or leave it out")
        );
        let recursive = self.is_recursive();
        if let Some(folder) = &self.pairs {
            let source = if self.pairs_source.as_deref() == Some("right") { Half::Right } else { Half::Left };
            return Ok(DataSource::SideBySide { folder: folder.clone(), source, recursive });
        }
        match (&self.source, &self.target, &self.images) {
            (Some(source), Some(target), _) => self.pairs_or_scenes(source, target, ["⟨source⟩", "⟨target⟩"]),
            (None, None, Some(images)) => Ok(DataSource::Images { folder: images.clone(), recursive }),
            (Some(_), None, _) => Err(Error::input("the colour images are missing", "⟨source⟩", "add ⟨target⟩ DIR")),
            (None, Some(_), _) => Err(Error::input("the inputs are missing", "⟨target⟩", "add ⟨source⟩ DIR")),
            (None, None, None) => Err(Error::input(
                "nothing to train on",
                "command line",
                "give ⟨source⟩ DIR ⟨target⟩ DIR, ⟨pairs⟩ DIR or ⟨images⟩ DIR; `huetape demo` needs none",
            )),
        }
    }

    /// Where the validation data of a training on `data` come from, if there are any.
    ///
    /// # Errors
    /// Settings that name a part only, or data of another kind.
    pub fn validation(&self, data: &DataSource) -> Result<Option<DataSource>> {
        match (&self.val_source, &self.val_target, data) {
            (None, None, _) => Ok(None),
            (None, Some(_), _) => Err(Error::input("the inputs are missing", "⟨val-target⟩", "add ⟨val-source⟩ DIR")),
            (Some(folder), None, DataSource::Images { .. }) => {
                Ok(Some(DataSource::Images { folder: folder.clone(), recursive: self.is_recursive() }))
            }
            (Some(folder), None, DataSource::SideBySide { source, .. }) => {
                let (folder, recursive) = (folder.clone(), self.is_recursive());
                Ok(Some(DataSource::SideBySide { folder, source: *source, recursive }))
            }
            (Some(source), Some(target), DataSource::Pairs { .. } | DataSource::Scenes { .. }) => {
                self.pairs_or_scenes(source, target, ["⟨val-source⟩", "⟨val-target⟩"]).map(Some)
            }
            (Some(_), None, DataSource::Pairs { .. } | DataSource::Scenes { .. }) => {
                Err(Error::input("the colour images are missing", "⟨val-source⟩", "add ⟨val-target⟩ DIR"))
            }
            (Some(_), Some(_), _) => Err(Error::input(
                "validation would differ from training",
                "⟨val-target⟩ beside ⟨images⟩ or ⟨pairs⟩",
                "leave ⟨val-target⟩ out: ⟨val-source⟩ holds both sides",
            )),
        }
    }

    /// What is done to both sides before a network reads them.
    ///
    /// # Errors
    /// A setting that makes no sense, or not beside the others.
    pub fn preparations(&self) -> Result<Preparations> {
        let source = self.preparation_over(Preparation::default())?;
        let target =
            self.target_preparation_over(Preparation { zero_border: ZeroBorder::Keep, ..Preparation::default() })?;
        crate::ensure!(
            source.looks != Looks::Bands || source.bands.is_some(),
            Error::input("which bands of the dates is not said", "⟨looks⟩ bands", "say it by ⟨bands⟩, e.g. 1 or 1,2")
        );
        crate::ensure!(
            !source.ratio || source.bands.is_some(),
            Error::input("a ratio is of two bands", "⟨ratio⟩", "say of which by ⟨bands⟩, e.g. 1,2")
        );
        for (setting, given) in [
            ("⟨ratio⟩", source.ratio),
            ("⟨target-bands⟩", target.bands.is_some()),
            ("⟨despeckle⟩", source.despeckle.is_some()),
            ("⟨target-stretch⟩", target.stretch.is_some()),
            ("⟨lightness⟩ despeckle", self.despeckles_lightness()),
        ] {
            crate::ensure!(
                !(self.images.is_some() && given),
                Error::input(
                    "colour images are their own sources",
                    format!("{setting} beside ⟨images⟩"),
                    "leave it out"
                )
            );
        }
        Ok(Preparations { source, target })
    }

    /// What is done to sources, and, where the settings say nothing, `before`.
    ///
    /// # Errors
    /// A setting that makes no sense.
    pub fn preparation_over(&self, before: Preparation) -> Result<Preparation> {
        let despeckle: Option<Filters> = match &self.despeckle {
            Some(text) => read_despeckle(text, "despeckle")?,
            None => before.despeckle,
        };
        let chosen = bands(self.bands.as_deref(), "bands")?;
        let several = despeckle.as_ref().is_some_and(|filters| filters.len() > 1);
        // Channels by several filters are read together, as bands are: of one band, where no bands are chosen.
        let one = several.then(|| BandList::one(self.band.unwrap_or(1)));
        let ratio = self.ratio.unwrap_or(before.ratio && self.band.is_none());
        Ok(Preparation {
            // One band that is asked for takes the place of several.
            bands: chosen.or(before.bands.filter(|_| self.band.is_none())).or(one),
            ratio,
            stretch: stretch(self.stretch.as_deref(), "stretch")?.or(before.stretch),
            despeckle,
            zero_border: match &self.zero_border {
                Some(text) => read_zero_border(text, "zero-border")?,
                None => before.zero_border,
            },
            looks: self.looks.as_deref().map_or(Ok(before.looks), |text| read_looks(text, "looks"))?,
        })
    }

    /// What is done to targets, and, where the settings say nothing, `before`.
    ///
    /// # Errors
    /// A setting that makes no sense.
    pub fn target_preparation_over(&self, before: Preparation) -> Result<Preparation> {
        Ok(Preparation {
            bands: bands(self.target_bands.as_deref(), "target-bands")?.or(before.bands),
            stretch: stretch(self.target_stretch.as_deref(), "target-stretch")?.or(before.stretch),
            ..before
        })
    }

    /// Whether what is coloured gets the lightness of its source without speckle, matched to the targets.
    pub fn despeckles_lightness(&self) -> bool {
        self.lightness.as_deref() == Some("despeckle")
    }

    /// Whether folders below those that are named are read too.
    fn is_recursive(&self) -> bool {
        self.recursive == Some(true)
    }

    /// Two folders of images, or two scenes.
    fn pairs_or_scenes(&self, source: &Path, target: &Path, settings: [&str; 2]) -> Result<DataSource> {
        let (from, to) = (source.to_owned(), target.to_owned());
        match (stack::parts(source).iter().all(|part| part.is_file()), target.is_file()) {
            (true, true) => Ok(DataSource::Scenes { source: from, target: to }),
            (false, false) => Ok(DataSource::Pairs { source: from, target: to, recursive: self.is_recursive() }),
            (scene, _) => {
                let [file, other] = if scene { [source, target] } else { [target, source] };
                Err(Error::input(
                    "one is a file, the other none",
                    format!("{} {} and {} {}", settings[0], source.display(), settings[1], target.display()),
                    format!("give two scenes or two folders: {} beside {}", file.display(), other.display()),
                ))
            }
        }
    }
}

fn stretch(text: Option<&str>, key: &str) -> Result<Option<Stretches>> {
    text.map(|text| read_stretch(text, key)).transpose()
}

fn bands(text: Option<&str>, key: &str) -> Result<Option<BandList>> {
    text.map(|text| read_bands(text, key)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_win_over_the_run_and_none_takes_its_filter_away() {
        let before = Preparation {
            stretch: Some("db:-25,0".parse().unwrap()),
            despeckle: Some("lee:7".parse().unwrap()),
            ..Preparation::default()
        };
        let over = |stretch: Option<&str>, despeckle: Option<&str>| {
            let [stretch, despeckle] = [stretch, despeckle].map(|text| text.map(str::to_owned));
            let settings = Settings { stretch, despeckle, ..Settings::default() };
            settings.preparation_over(before.clone()).map(|preparation| preparation.to_string())
        };
        assert_eq!(over(None, None).unwrap(), "lee:7 db:-25,0");
        assert_eq!(over(Some("none"), None).unwrap(), "lee:7 none");
        assert_eq!(over(None, Some("none")).unwrap(), "db:-25,0");
        let error = over(Some("5,1"), None).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().starts_with("5 is not below 1: stretch 5,1: use LO,HI"), "{error}");
        assert!(over(None, Some("lee:2")).unwrap_err().to_string().contains("despeckle lee:2"));
    }
    #[test]
    fn bands_that_are_asked_for_take_the_place_of_the_runs() {
        let before = Preparation { bands: Some("1,2".parse().unwrap()), ratio: true, ..Preparation::default() };
        let over = |settings: Settings| settings.preparation_over(before.clone()).unwrap().to_string();
        assert_eq!(over(Settings::default()), "bands 1,2 ratio ");
        assert_eq!(over(Settings { bands: Some("3,1".into()), ..Settings::default() }), "bands 3,1 ratio ");
        assert_eq!(over(Settings { band: Some(2), ..Settings::default() }), "");
        assert_eq!(over(Settings { ratio: Some(true), ..Settings::default() }), "bands 1,2 ratio ");
        let error = Settings { ratio: Some(true), ..Settings::default() }.preparations().unwrap_err().to_string();
        assert!(error.starts_with("a ratio is of two bands: ratio: say of which by bands"), "{error}");
    }
}
