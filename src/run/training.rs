//! A training by a recipe: settings in, a run folder out.

use crate::dataset::grey::grey_notice;
use crate::dataset::lightness::LightnessMatch;
use crate::dataset::loader::BatchMaker;
use crate::dataset::pairs::{DataSource, Dataset};
use crate::dataset::patches::PatchPlan;
use crate::dataset::preparation::{Preparation, Preparations};
use crate::dataset::stats::{Survey, survey};
use crate::engine::device::Device;
use crate::engine::nn::WeightFile;
use crate::error::{Error, Result};
use crate::evaluate::evaluator::{Evaluator, rebalance};
use crate::evaluate::scoreboard::Scoreboard;
use crate::files::write_whole;
use crate::imaging::picture::{Depth, PictureInfo};
use crate::imaging::raster::Stretches;
use crate::networks;
use crate::networks::game::has_discriminator;
use crate::networks::recipe::{Recipe, Setup};
use crate::run::plan::{Patches, Plan};
use crate::run::together;
use crate::train::built_in::weights_called;
use crate::train::checkpoint::{self, Checkpoint, Newest};
use crate::train::health::diverged;
use crate::train::learner::{Learner, Update};
use crate::train::metadata::Metadata;
use crate::train::metrics::Metrics;
use crate::train::run_dir::RunDir;
use crate::train::run_lock::RunLock;
use crate::train::session::{Event, Outcome, Session, SessionConfig};
use crate::train::settings::table::Settings;
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Side of the windows that a scene is cut into for validation, pixels.
const VALIDATION_WINDOW: usize = 256;

/// A training whose inputs have been checked.
///
/// ```
/// use huetape::engine::device::Device;
/// use huetape::imaging::{codec::save::save_png, synth::Scene};
/// use huetape::networks::NETWORKS;
/// use huetape::run::training::Training;
/// use huetape::train::settings::table::Settings;
///
/// let folder = tempfile::tempdir().unwrap();
/// let photos = folder.path().join("photos");
/// std::fs::create_dir(&photos).unwrap();
/// save_png(&photos.join("0.png"), &Scene::new(1, 0, 16).optical(), 16, 16, None)?;
///
/// let settings = Settings {
///     images: Some(photos),
///     width: Some(0.05),
///     size: Some(16),
///     batch: Some(1),
///     steps: Some(1),
///     ..Settings::default()
/// };
/// let training = Training::new(NETWORKS[0], settings)?;
/// training.run(&Device::cpu(), &folder.path().join("run"), &mut |_| {})?;
/// assert!(folder.path().join("run/report.html").is_file());
/// # Ok::<(), huetape::Error>(())
/// ```
pub struct Training {
    pub(super) recipe: &'static dyn Recipe,
    pub(super) plan: Plan,
    pub(super) data: Dataset,
    pub(super) validation: Option<Dataset>,
    resume: bool,
    stop: Arc<AtomicBool>,
}

/// Finds the images of a source for a plan: prepared so, of scenes windows of a grid where a side is given.
type Find<'a> = dyn Fn(&DataSource, &Plan, &Preparations, Option<usize>) -> Result<Dataset> + 'a;

/// How a training ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Whether it came to its end.
    pub outcome: Outcome,
    /// The figures of the validation images, of a training that came to its end and has some.
    pub scores: Option<Scoreboard>,
}

/// What a step costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rehearsal {
    /// Seconds of an update.
    pub seconds: f64,
    /// The most bytes that buffers took on the device.
    pub peak_bytes: u64,
}

/// These settings, and where they say nothing those of the run in `folder`, if there is one: what a training that goes
/// on with it is made of.
///
/// # Errors
/// Settings of the run that cannot be read; a setting that its checkpoints have settled and that differs.
pub fn settings_to_resume(settings: Settings, folder: &Path) -> Result<Settings> {
    let config = folder.join("config.toml");
    if !config.exists() {
        return Ok(settings);
    }
    let before = Settings::read(&config)?;
    settings.clone().with_whole_paths().check_unchanged(&before.clone().with_whole_paths(), folder)?;
    Ok(settings.or(before))
}

impl Training {
    /// Checks the settings and finds the images; settles what depends on them: which patches are read, how many steps
    /// the epochs take.
    ///
    /// # Errors
    /// A setting that makes no sense; images that cannot be trained on.
    pub fn new(recipe: &'static dyn Recipe, settings: Settings) -> Result<Self> {
        Training::with(recipe, settings, &|source, plan, how, grid| {
            source.validate_prepared(plan.crop(), plan.readings()?, how, grid)
        })
    }

    /// As [`Training::new`], without the images that cannot be used, and what is wrong with each of them.
    ///
    /// # Errors
    /// As [`Training::new`]; no image that can be used.
    pub fn of_usable_images(recipe: &'static dyn Recipe, settings: Settings) -> Result<(Self, Vec<Error>)> {
        let left_out = RefCell::new(Vec::new());
        let training = Training::with(recipe, settings, &|source, plan, how, grid| {
            let (data, faults) = source.validate_rest(plan.crop(), plan.readings()?, how, grid)?;
            left_out.borrow_mut().extend(faults);
            Ok(data)
        })?;
        Ok((training, left_out.into_inner()))
    }

    fn with(recipe: &'static dyn Recipe, settings: Settings, find: &Find) -> Result<Self> {
        let mut plan = Plan::new(recipe, &settings)?;
        let size = plan.session.loader.size;
        let grid = (!plan.session.loader.augment).then_some(size);
        let data = find(&plan.data, &plan, &plan.preparations, grid)?;
        // Both are stretched alike.
        let grid = Some(size.max(VALIDATION_WINDOW));
        let validate = |source: &DataSource| find(source, &plan, &data.preparations, grid);
        let validation = plan.validation.as_ref().map(validate).transpose()?;
        let loader = &mut plan.session.loader;
        if let Some(Patches { count, min_distance }) = plan.patches {
            let patches = PatchPlan::of(&data, size, count, min_distance, loader.seed)?;
            loader.patches = Some(Arc::new(patches));
        }
        if let Some(epochs) = plan.epochs {
            plan.session.steps = loader.batches(epochs, data.pairs.len());
        }
        let text = |how: &Preparation| how.stretch.as_ref().map(Stretches::to_string);
        plan.settings.stretch = text(&data.preparations.source);
        plan.settings.target_stretch = text(&data.preparations.target);
        Ok(Training { recipe, plan, data, validation, resume: false, stop: Arc::default() })
    }

    /// The same training, which goes on from the newest whole checkpoint of its folder, where there is one. See
    /// [`settings_to_resume`].
    #[must_use]
    pub fn resuming(self, resume: bool) -> Self {
        Training { resume, ..self }
    }

    /// The same training, which ends with a checkpoint after the step at hand once `stop` is set.
    #[must_use]
    pub fn stopped_by(self, stop: Arc<AtomicBool>) -> Self {
        Training { stop, ..self }
    }

    /// The same training, whose weights are those of its last step: its validation images do not choose among them.
    #[must_use]
    pub fn keeping_the_last(mut self) -> Self {
        self.plan.session.keep_best = false;
        self
    }

    /// What the settings come to.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The training data.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// The validation data, if there are any.
    pub fn validation(&self) -> Option<&Dataset> {
        self.validation.as_ref()
    }

    /// How many patches there are and which distance they keep, where patches are read.
    pub fn patches(&self) -> Option<String> {
        let plan = self.plan.session.loader.patches.as_ref()?;
        let (count, asked, kept) = (plan.patches.len(), plan.min_distance, plan.kept_distance);
        Some(match kept == asked {
            true => format!("{count}, squared distance between origins at least {kept} pixels"),
            false => format!(
                "{count}, squared distance between origins lowered to {kept} pixels: there was no place left at {asked}"
            ),
        })
    }

    /// Runs the training in the folder `out`. Nothing is created before a learner stands; with a memory cap, before one
    /// update has been seen to fit.
    ///
    /// Of several processes ([`Device::join`]) the first alone reads and writes the folder, surveys the images and
    /// validates; each reads its share of each batch. A process that fails leaves the others waiting: its program has
    /// to end them.
    ///
    /// # Errors
    /// A batch of fewer images than processes;
    /// A folder that is there already, of a training that does not resume, or that another process trains in; images or
    /// weights that cannot be read; no memory; a loss that is not finite; whatever the device or the disk reports.
    pub fn run(&self, device: &Device, out: &Path, observe: &mut dyn FnMut(Event<'_>)) -> Result<Ended> {
        let ranks = device.ranks();
        ranks.check_batch(self.plan.session.loader.smallest_batch())?;
        // What is there is not looked at before nobody else changes it.
        let old = if self.resume && ranks.leads() && out.exists() { Some(RunDir::open(out)?) } else { None };
        let mut lock = old.as_ref().map(|dir| RunLock::take(dir.root())).transpose()?;
        let newest = old.as_ref().map_or_else(|| Ok(Newest::default()), Checkpoint::newest)?;
        let last = newest.checkpoint.as_ref().map(|checkpoint| checkpoint.step);
        let ended = last.filter(|&step| step >= self.plan.session.steps);
        let whole = ended.filter(|_| newest.broken.is_empty());
        let before = || Ok(whole.filter(|&step| old.as_ref().is_some_and(|dir| dir.is_finished(step))));
        if let Some(step) = together::told(ranks, before)? {
            return Ok(Ended { outcome: Outcome::FinishedBefore { step }, scores: None });
        }
        let mut survey = together::survey(ranks, || survey(&self.data))?;
        if let Some(validation) = self.validation.as_ref().filter(|_| ranks.leads()) {
            validation.read_through()?;
        }
        for (path, error) in &newest.broken {
            let error = error.line(|setting| format!("⟨{setting}⟩"));
            observe(Event::Notice { text: &format!("passed over {}: {error}", path.display()) });
        }
        // A checkpoint brings all that weights to start from would have: their file need not be there any more.
        let weights = match &newest.checkpoint {
            Some(checkpoint) => Some(checkpoint.file.clone()),
            None if ranks.leads() => self.weights()?,
            None => None,
        };
        let weights = together::weights(ranks, weights)?;
        let step = together::told(ranks, || Ok(last))?;
        let as_told = |step| Some(Checkpoint { step, path: out.to_owned(), file: weights.clone()? });
        let from = newest.checkpoint.or_else(|| step.and_then(as_told));
        let learner = || self.learner(device, &survey, weights.as_ref());
        if device.memory().cap_bytes.is_some() {
            self.rehearse_on(device, learner()?)?;
        }
        let mut learner = learner()?;
        if learner.painter().keeps_lightness() && ranks.leads() {
            survey.stats.lightness = LightnessMatch::of(&self.data)?;
        }
        if let Some(notice) = grey_notice(survey.grey, self.data.pairs.len()) {
            observe(Event::Notice { text: &notice });
        }
        if let Some(patches) = self.patches() {
            observe(Event::Notice { text: &format!("patches: {patches}") });
        }
        let lacks = |file: &WeightFile| learner.networks().len() > 1 && !has_discriminator(file);
        if let Some(file) = weights.as_ref().filter(|file| lacks(file)) {
            let text = format!("{} holds no discriminator: a new one learns", file.source());
            observe(Event::Notice { text: &text });
        }
        if !ranks.leads() {
            let session = self.session(device, RunDir::unopened(out), Metadata::default());
            let outcome = session.run(learner.as_mut(), from.as_ref(), observe)?;
            ranks.wait()?;
            return Ok(Ended { outcome, scores: None });
        }
        if lock.is_none() {
            RunDir::make(out, self.resume)?;
            lock = Some(RunLock::take(out)?);
        }
        let dir = RunDir::resume(out)?;
        if ended.is_none() {
            self.write_settings(&dir, device, last)?;
        }
        let text = serde_json::to_string_pretty(&survey.stats).map_err(|error| {
            Error::failed(format!("statistics that JSON cannot hold ({error})"), out.display(), "report this")
        })?;
        write_whole(&dir.statistics(), text.as_bytes())?;
        let metadata = self.metadata(weights.as_ref(), survey.stats.lightness.as_ref())?;
        let session = self.session(device, dir, metadata);
        let (losses, steps) = (learner.losses(), self.plan.session.steps);
        let mut reported = Ok(());
        let mut tell = |event: Event<'_>| {
            let saved = matches!(event, Event::Saved { step, .. } if step < steps);
            if matches!(event, Event::Saved { .. }) && reported.is_ok() {
                reported = self.record_bodies(&session.dir, device);
            }
            observe(event);
            if saved && reported.is_ok() {
                reported = self.report(&session.dir, device, losses, None, 0);
            }
        };
        let outcome = session.run(learner.as_mut(), from.as_ref(), &mut tell)?;
        reported?;
        if let Some((name, [first, last])) = diverged(&Metrics::read(&session.dir.metrics())?) {
            let what = format!("the training has diverged: its {name} ended at {last:.4}, and began at {first:.4}");
            observe(Event::Notice { text: &format!("{what}: lower ⟨lr⟩") });
        }
        let mut judged = None;
        let scores = match &self.validation {
            Some(data) if outcome == Outcome::Finished => {
                // What will be coloured with is what is judged.
                let weights = WeightFile::read(&checkpoint::weights_of(&session.dir)?)?;
                learner.load(&weights)?;
                judged = Metadata::of(&weights)?.map(|metadata| metadata.step);
                let despeckled = self.plan.settings.despeckles_lightness();
                let matched = survey.stats.lightness.clone().filter(|_| despeckled);
                let evaluator = Evaluator {
                    rebalance: rebalance(&weights)?,
                    ..Evaluator::of_painter(learner.painter(), matched, survey.stats.clone())
                };
                let total = data.pairs.len();
                let judged = evaluator.evaluate(data, &mut |i, _| {
                    observe(Event::Judged { done: i + 1, total });
                    let remedy = "go on with ⟨resume⟩";
                    crate::ensure!(!self.stopped(), Error::failed("interrupted", out.display(), remedy));
                    Ok(())
                });
                if self.stopped() {
                    ranks.wait()?;
                    return Ok(Ended { outcome: Outcome::Stopped { step: self.plan.session.steps }, scores: None });
                }
                Some(judged?)
            }
            _ => None,
        };
        let end = if outcome == Outcome::Finished { steps } else { 0 };
        self.report(&session.dir, device, losses, scores.clone().map(|scores| (scores, judged)), end)?;
        drop(lock);
        ranks.wait()?;
        Ok(Ended { outcome, scores })
    }

    /// The loop, which writes into `dir`.
    fn session(&self, device: &Device, dir: RunDir, metadata: Metadata) -> Session<'_> {
        let config = self.plan.session.clone();
        let loader = config.loader.clone().shared(device.ranks());
        Session {
            config: SessionConfig { loader, ..config },
            dir,
            metadata,
            data: self.data.clone(),
            validation: self.validation.clone(),
            stop: &self.stop,
            asynchronous: device.is_gpu(),
        }
    }

    /// What loading takes beside a step, bytes: batches that wait, and decoded images that are kept.
    pub fn loading_bytes(&self) -> u64 {
        let options = &self.plan.session.loader;
        let [source, target] = [self.data.source_reading, self.data.target_reading].map(|reading| reading.channels());
        let pixels = |side: usize| (side * side * options.batch) as u64;
        let batch =
            4 * (pixels(options.size + 2 * options.halo) * source as u64 + pixels(options.size) * target as u64);
        let bytes = |info: &PictureInfo| match info.depth {
            Depth::U8 => 1,
            Depth::U16 => 2,
            Depth::F32 => 4,
        };
        let decoded = |info: &PictureInfo| (info.width * info.height * info.bands * bytes(info)) as u64;
        // Sources and targets are of one size, and targets mostly have three bands of 8 bits.
        let images: u64 =
            self.data.infos.iter().map(|info| decoded(info) + 3 * (info.width * info.height) as u64).sum();
        2 * options.threads as u64 * batch + images.min(options.cache_bytes as u64)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Two updates of a learner that is thrown away after.
    ///
    /// # Errors
    /// As [`Training::run`].
    pub fn rehearse(&self, device: &Device) -> Result<Rehearsal> {
        let ranks = device.ranks();
        ranks.check_batch(self.plan.session.loader.smallest_batch())?;
        let survey = together::survey(ranks, || survey(&self.data))?;
        let learner = self.learner(device, &survey, self.weights()?.as_ref())?;
        self.rehearse_on(device, learner)
    }

    /// The weights that the settings tell it to start from.
    fn weights(&self) -> Result<Option<WeightFile>> {
        self.plan.settings.init.as_ref().map(|name| weights_called(&name.0)).transpose()
    }

    fn learner(&self, device: &Device, survey: &Survey, weights: Option<&WeightFile>) -> Result<Box<dyn Learner>> {
        if let Some(weights) = weights {
            networks::check_weights(self.recipe, weights)?;
        }
        let settings = &self.plan.settings;
        self.recipe.learner(&Setup { device, settings, survey: Some(survey), bins: 0, weights, training: true })
    }

    fn rehearse_on(&self, device: &Device, mut learner: Box<dyn Learner>) -> Result<Rehearsal> {
        let loader = self.plan.session.loader.clone().shared(device.ranks());
        let (share, steps) = (loader.share(1), self.plan.session.steps);
        let batch = BatchMaker::new(self.data.clone(), loader).batch(1)?;
        device.reset_peak();
        let mut seconds = f64::INFINITY;
        // The first update also compiles kernels.
        for _ in 0..2 {
            let start = Instant::now();
            for loss in learner.step(&batch, &Update { step: 1, steps, lr: 0.0, share })? {
                loss.finish()?;
            }
            seconds = seconds.min(start.elapsed().as_secs_f64());
        }
        let peak_bytes = device.memory().peak_bytes;
        Ok(Rehearsal { seconds, peak_bytes })
    }
}
