//! What a training writes down of itself: its settings, what its weights say of themselves, its report.

use crate::dataset::lightness::LightnessMatch;
use crate::dataset::pairs::DataSource;
use crate::engine::device::{By, Device, human_bytes};
use crate::engine::nn::WeightFile;
use crate::error::Result;
use crate::evaluate::scoreboard::Scoreboard;
use crate::imaging::codec::decode::probe_file;
use crate::run::summary::{TrainingFacts, write_report};
use crate::run::training::Training;
use crate::train::metadata::{BinsMetadata, Input, Lightness, Metadata, TargetFiles, TrainedOn};
use crate::train::run_dir::RunDir;
use crate::train::settings::table::Settings;
use std::collections::BTreeMap;

impl Training {
    /// What the weights say of themselves that the training's loop does not know; bins come from `weights`, if there
    /// are some to start from.
    pub(super) fn metadata(&self, weights: Option<&WeightFile>, matched: Option<&LightnessMatch>) -> Result<Metadata> {
        let settings = &self.plan.settings;
        let bins = match &settings.bins {
            Some(kind) => {
                let width = settings.bin_width.filter(|_| !kind.starts_with("kmeans"));
                Some(BinsMetadata { kind: kind.clone(), width })
            }
            None => weights.map(Metadata::of).transpose()?.flatten().and_then(|metadata| metadata.bins),
        };
        let despeckled = settings.despeckles_lightness();
        let lightness = if despeckled { Lightness::Despeckle } else { Lightness::Input };
        let data = match &self.plan.data {
            DataSource::Pairs { .. } => "pairs of images",
            DataSource::Images { .. } => "colour images and their lightness",
            DataSource::SideBySide { .. } => "images side by side",
            DataSource::Scenes { .. } => "windows of two scenes",
        };
        let (target_names, target_files) = self.targets();
        Ok(Metadata {
            bins,
            input: Input { band: settings.band, lightness, target_names, target_files, ..Input::default() },
            lightness_match: matched.filter(|_| despeckled).cloned(),
            trained_on: TrainedOn { data: data.to_owned(), ..TrainedOn::default() },
            ..Metadata::default()
        })
    }

    /// The names of the targets' bands that are read, by the first of the files, none where it names none; and, where
    /// their stretch says what values are, how it holds them.
    fn targets(&self) -> (Vec<String>, Option<TargetFiles>) {
        let first = self.data.pairs.first().and_then(|pair| probe_file(pair.target.path()).ok());
        let Some(info) = first else { return (Vec::new(), None) };
        let all: Vec<usize> = info.bands_without_alpha().collect();
        let numbers = match &self.data.preparations.target.bands {
            Some(list) => list.numbers().iter().filter_map(|band| all.get(band - 1).copied()).collect(),
            None => all,
        };
        let names: Option<Vec<String>> = numbers.iter().map(|band| info.band_name(*band)).collect();
        let known = self.data.preparations.target.stretch.as_ref().is_some_and(|s| s.iter().all(|s| s.is_physical()));
        let units: Vec<Option<[f64; 2]>> = numbers.iter().map(|band| info.unit(*band)).collect();
        let units = match units.iter().all(Option::is_none) {
            true => Vec::new(),
            false => units.into_iter().map(|unit| unit.unwrap_or([1.0, 0.0])).collect(),
        };
        let nodata = info.holdable_nodata().map(|nodata| nodata.text.clone());
        let files = TargetFiles { sample: info.sample.to_string(), nodata, units };
        (names.unwrap_or_default(), known.then_some(files))
    }

    /// Writes the settings down; what differs from those of the run so far, up to step `after`, is recorded.
    pub(super) fn write_settings(&self, dir: &RunDir, device: &Device, after: Option<u64>) -> Result<()> {
        let made_by = BTreeMap::from([
            ("huetape".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("device".to_owned(), device.name()),
            ("processor".to_owned(), format!("{} {}", std::env::consts::ARCH, std::env::consts::OS)),
        ]);
        let model = Some(self.recipe.name().to_owned());
        let settings = self.plan.settings.clone().with_whole_paths();
        let resumed = match after {
            Some(step) if dir.config().exists() => settings.changes_since(&Settings::read(&dir.config())?, step),
            _ => None,
        };
        Settings { model, out: None, resumed, made_by: Some(made_by), ..settings }.write(&dir.config())
    }

    /// Adds to the settings of a run which bodies of kernels ran, where there was a choice.
    pub(super) fn record_bodies(&self, dir: &RunDir, device: &Device) -> Result<()> {
        let Some(bodies) = bodies_text(device) else { return Ok(()) };
        let mut settings = Settings::read(&dir.config())?;
        let made_by = settings.made_by.get_or_insert_default();
        match made_by.insert("bodies".to_owned(), bodies.clone()) {
            Some(known) if known == bodies => Ok(()),
            _ => settings.write(&dir.config()),
        }
    }

    /// Writes the report; with the figures the update whose weights they are of. `ended` is the update that the
    /// training ended with, 0 while it goes on.
    pub(super) fn report(
        &self,
        dir: &RunDir,
        device: &Device,
        losses: &[(&'static str, &'static str)],
        scores: Option<(Scoreboard, Option<u64>)>,
        ended: u64,
    ) -> Result<()> {
        let (scores, judged) = scores.unzip();
        let text = toml::to_string(&self.plan.settings).unwrap_or_default();
        let pair = |line: &str| line.split_once(" = ").map(|(key, value)| (key.to_owned(), value.to_owned()));
        let images = self.data.pairs.len();
        let mut environment = vec![
            ("huetape".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("device".to_owned(), device.name()),
            ("peak device memory".to_owned(), human_bytes(device.memory().peak_bytes)),
            ("training pictures".to_owned(), images.to_string()),
        ];
        environment.extend(bodies_text(device).map(|bodies| ("bodies of kernels".to_owned(), bodies)));
        environment.extend(self.patches().map(|patches| ("patches".to_owned(), patches)));
        let facts = TrainingFacts {
            title: format!("{} in {}", self.recipe.name(), dir.root().display()),
            losses: losses.to_vec(),
            target_bands: self.data.target_reading.channels(),
            settings: text.lines().filter_map(pair).collect(),
            environment,
            epoch: self.recipe.lists_epochs().then(|| self.plan.session.loader.batches(1, images)),
            scores,
            judged: judged.flatten(),
            validation: self.validation.as_ref().map(|data| (data.pairs.len() as u64, self.plan.session.loader.size)),
            steps: self.plan.session.steps,
            ended,
        };
        write_report(dir, &facts)
    }
}

/// The bodies that launches took, by kernel; `None` where no kernel had a choice.
fn bodies_text(device: &Device) -> Option<String> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ran in device.bodies_run() {
        let body = if ran.by == By::Tuned { format!("{} (tuned)", ran.body) } else { ran.body };
        all.entry(ran.kernel).or_default().push(body);
    }
    let kernels: Vec<String> = all.iter().map(|(kernel, bodies)| format!("{kernel} {}", bodies.join("+"))).collect();
    (!kernels.is_empty()).then(|| kernels.join(", "))
}
