//! Flags that say what is done to inputs before a network reads them.

use crate::cli::settings::Settings;
use crate::dataset::preparation::{Despeckle, Preparation, Preparations};
use crate::error::{Error, Result};
use crate::imaging::raster::Stretch;
use clap::Args;

/// The preparation of an input, for commands that read some by themselves.
#[derive(Args, Debug, Clone, Default)]
pub struct PreparationArgs {
    /// How values become 0 to 1: LO,HI, percentile:P over each scene or picture, db:LO,HI of intensities, db-amplitude:LO,HI, or none
    /// [default: the run's; else by the type's range, scenes of 16 bits or floats percentile:2]
    #[arg(long, value_name = "HOW", allow_hyphen_values = true)]
    pub stretch: Option<String>,
    /// Take speckle off before, in the values of the file: lee:N, a window of NxN pixels, lee:N,LOOKS, or none [default: the run's]
    #[arg(long, value_name = "HOW")]
    pub despeckle: Option<String>,
}

impl PreparationArgs {
    /// What the flags say, and, where they say nothing, `before`.
    ///
    /// # Errors
    /// A flag that makes no sense.
    pub fn over(&self, before: Preparation) -> Result<Preparation> {
        Ok(Preparation {
            stretch: stretch(self.stretch.as_deref(), "--stretch")?.or(before.stretch),
            despeckle: match &self.despeckle {
                Some(text) => despeckle(Some(text))?,
                None => before.despeckle,
            },
        })
    }
}

/// The preparations that settings ask for.
///
/// # Errors
/// A flag that makes no sense, or not beside the others.
pub fn preparations(settings: &Settings) -> Result<Preparations> {
    let source = Preparation {
        stretch: stretch(settings.stretch.as_deref(), "--stretch")?,
        despeckle: despeckle(settings.despeckle.as_deref())?,
    };
    let target =
        Preparation { stretch: stretch(settings.target_stretch.as_deref(), "--target-stretch")?, despeckle: None };
    let images = settings.images.is_some();
    let despeckled = match settings.lightness.as_deref() {
        None | Some("input") => false,
        Some("despeckle") => true,
        Some(other) => {
            return Err(refused("no such lightness; use input or despeckle".to_owned(), "--lightness", other));
        }
    };
    for (flag, given) in [
        ("--despeckle", source.despeckle.is_some()),
        ("--target-stretch", target.stretch.is_some()),
        ("--lightness despeckle", despeckled),
    ] {
        crate::ensure!(
            !(images && given),
            Error::input("colour pictures are their own sources", format!("{flag} beside --images"), "leave it out")
        );
    }
    Ok(Preparations { source, target })
}

fn stretch(text: Option<&str>, flag: &str) -> Result<Option<Stretch>> {
    let parse = |text: &str| text.parse().map_err(|why: String| refused(why, flag, text));
    text.map(parse).transpose()
}

fn despeckle(text: Option<&str>) -> Result<Option<Despeckle>> {
    let parse = |text: &str| text.parse().map_err(|why: String| refused(why, "--despeckle", text));
    text.filter(|text| *text != "none").map(parse).transpose()
}

/// `what; use ...` as what is wrong and what to do.
fn refused(why: String, flag: &str, text: &str) -> Error {
    let (what, remedy) = why.split_once("; ").unwrap_or((&why, "see --help"));
    Error::input(what, format!("{flag} {text}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_run_and_none_takes_its_filter_away() {
        let before =
            Preparation { stretch: Some("db:-25,0".parse().unwrap()), despeckle: Some("lee:7".parse().unwrap()) };
        let over = |stretch: Option<&str>, despeckle: Option<&str>| {
            let [stretch, despeckle] = [stretch, despeckle].map(|text| text.map(str::to_owned));
            PreparationArgs { stretch, despeckle }.over(before).map(|preparation| preparation.to_string())
        };
        assert_eq!(over(None, None).unwrap(), "lee:7 db:-25,0");
        assert_eq!(over(Some("none"), None).unwrap(), "lee:7 none");
        assert_eq!(over(None, Some("none")).unwrap(), "db:-25,0");
        let error = over(Some("5,1"), None).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().starts_with("5 is not below 1: --stretch 5,1: use LO,HI"), "{error}");
        assert!(over(None, Some("lee:2")).unwrap_err().to_string().contains("--despeckle lee:2"));
    }
}
