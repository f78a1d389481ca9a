//! A run folder and what it says of its network: settings, input preparation, statistics, weights.

use crate::dataset::lightness::LightnessMatch;
use crate::dataset::stats::DataStats;
use crate::engine::nn::WeightFile;
use crate::error::{Error, ErrorKind, Result};
use crate::files::io_error;
use crate::networks;
use crate::networks::recipe::Recipe;
use crate::train::checkpoint::{self, Which};
use crate::train::metadata::{Input, Lightness};
use crate::train::run_dir::RunDir;
use crate::train::settings::table::Settings;
use std::path::{Path, PathBuf};

/// A run folder that has been opened. Nothing but its settings is read before it is asked for.
#[derive(Debug, Clone)]
pub struct Run {
    dir: RunDir,
    settings: Settings,
    input: Input,
    which: Which,
}

impl Run {
    /// The run in the folder at `path`. One without `config.toml` has the default settings.
    ///
    /// # Errors
    /// No folder there, settings that cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Run> {
        let dir = RunDir::open(path.as_ref())?;
        let config = dir.config();
        let settings = if config.exists() { Settings::read(&config)? } else { Settings::default() };
        let input = input_of(&settings)?;
        Ok(Run { dir, settings, input, which: Which::Usual })
    }

    /// The same run, of whose weights these are meant.
    #[must_use]
    pub fn with_checkpoint(self, which: Which) -> Run {
        Run { which, ..self }
    }

    /// The folder.
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How it read its inputs.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// The weights that it colours with: those that were asked for, else the best by validation if there are such, else
    /// the newest.
    ///
    /// # Errors
    /// No checkpoint written yet; a folder that cannot be read.
    pub fn weights(&self) -> Result<PathBuf> {
        checkpoint::weights_of_which(&self.dir, self.which)
    }

    /// Its network, by its settings, or else by its weights.
    ///
    /// # Errors
    /// A network that this program does not have; as [`Run::weights`].
    pub fn network(&self) -> Result<&'static dyn Recipe> {
        match &self.settings.model {
            Some(name) => networks::by_name(name),
            None => networks::of_file(&WeightFile::read(&self.weights()?)?),
        }
    }

    /// What it knows of its training data; `None` if it has not kept it.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn statistics(&self) -> Result<Option<DataStats>> {
        let path = self.dir.statistics();
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(|error| io_error("cannot read", &path, &error))?;
        serde_json::from_str(&text).map(Some).map_err(|error| {
            let what = format!("the statistics cannot be read ({error})");
            Error::input(what, path.display(), "use ⟨weights⟩ instead of ⟨run⟩").of(ErrorKind::File).caused_by(error)
        })
    }

    /// Which lightness a radar value stands for, by the training data.
    ///
    /// # Errors
    /// As [`Run::statistics`]; `None` where it is not known.
    pub fn lightness_match(&self) -> Result<Option<LightnessMatch>> {
        Ok(self.statistics()?.and_then(|statistics| statistics.lightness))
    }
}

/// How a run of these settings read its inputs.
fn input_of(settings: &Settings) -> Result<Input> {
    let lightness = if settings.despeckles_lightness() { Lightness::Despeckle } else { Lightness::Input };
    Ok(Input { band: settings.band, of_colour_images: settings.images.is_some(), lightness, ..Input::default() }
        .prepared(&settings.preparations()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nn::{StateTensor, save_tensors};
    use crate::networks::NETWORKS;

    fn run_with(config: &str) -> (tempfile::TempDir, Result<Run>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let run = Run::open(folder.path());
        (folder, run)
    }

    #[test]
    fn settings_say_how_inputs_are_read() {
        let model = NETWORKS[0].name();
        let text = "band = 2\nstretch = \"db:-25,0\"\ndespeckle = \"lee:5\"\nlightness = \"despeckle\"\nlr = 0.1\n";
        let (_folder, run) = run_with(&format!("model = \"{model}\"\n{text}"));
        let run = run.unwrap();
        let input = run.input();
        assert_eq!((input.band, input.of_colour_images, input.lightness), (Some(2), false, Lightness::Despeckle));
        assert_eq!(input.source().to_string(), "lee:5 db:-25,0");
        assert_eq!(run.network().unwrap().name(), model);
        assert_eq!((run.statistics().unwrap(), run.weights().unwrap_err().kind()), (None, ErrorKind::NotFound));
        let (_folder, run) = run_with("images = \"photos\"\ndespeckle = \"none\"\n");
        let run = run.unwrap();
        let input = run.input();
        assert!(input.of_colour_images && input.source().is_none());
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_by_name() {
        for (config, named) in [("stretch = \"5,1\"", "stretch"), ("band = \"x\"", "config.toml")] {
            let (_folder, run) = run_with(config);
            let error = run.unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(named), "{error}");
        }
        assert_eq!(Run::open("no/such/run").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn the_best_weights_count_and_else_the_newest() {
        let (folder, run) = run_with("");
        let run = run.unwrap();
        std::fs::create_dir(folder.path().join("checkpoints")).unwrap();
        let tensor = StateTensor { name: "a".into(), shape: vec![1], data: vec![0.0] };
        for path in [run.dir().checkpoint(3), run.dir().checkpoint(20)] {
            save_tensors(std::slice::from_ref(&tensor), &path).unwrap();
        }
        assert_eq!(run.weights().unwrap(), run.dir().checkpoint(20));
        save_tensors(&[tensor], &run.dir().best()).unwrap();
        assert_eq!(run.weights().unwrap(), run.dir().best());
        let path = |text: &str| run.clone().with_checkpoint(text.parse().unwrap()).weights();
        assert_eq!(path("last").unwrap(), run.dir().checkpoint(20));
        assert_eq!((path("3").unwrap(), path("best").unwrap()), (run.dir().checkpoint(3), run.dir().best()));
        let error = path("7").unwrap_err().to_string();
        assert!(error.contains("checkpoint 7") && error.contains("has 3, 20, best"), "{error}");
        assert!("newest".parse::<Which>().unwrap_err().to_string().contains("last, best"));
    }
}
