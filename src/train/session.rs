//! The loop that every kind of training shares: data, updates, metrics, samples, validation, checkpoints, stopping.
//!
//! What differs between a classifier and an adversarial pair lies behind [`Learner`].

use crate::dataset::loader::{Batch, BatchMaker, Loader};
use crate::dataset::loader_options::LoaderOptions;
use crate::dataset::pairs::Dataset;
use crate::engine::device::PendingRead;
use crate::engine::nn::StateTensor;
use crate::engine::ranks::Ranks;
use crate::error::{Error, ErrorKind, Result};
use crate::train::checkpoint::{self, Checkpoint};
use crate::train::events::{EVENTS, EventWriter};
use crate::train::health::{Health, Notice, is_pair};
use crate::train::learner::{Learner, Update};
use crate::train::metadata::Metadata;
use crate::train::metrics::{MetricsWriter, StepMetrics};
use crate::train::progress::Pace;
use crate::train::run_dir::RunDir;
use crate::train::samples;
use crate::train::schedule::{LrSchedule, warm_up};
use crate::train::validation::{Validation, validate};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The settings of a run that the loop itself reads.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Updates in all.
    pub steps: u64,
    /// How batches are made.
    pub loader: LoaderOptions,
    /// Base learning rate.
    pub lr: f64,
    /// How it changes.
    pub lr_schedule: LrSchedule,
    /// Updates in which it rises to its schedule.
    pub lr_warmup: u64,
    /// Updates between checkpoints; validation runs with each.
    pub checkpoint_every: u64,
    /// Checkpoints that stay.
    pub keep: usize,
    /// Whether the weights of the lowest validation loss are kept beside the newest, as `best.safetensors`.
    pub keep_best: bool,
    /// Updates between sample images; 0 for none but the last.
    pub sample_every: u64,
    /// Whether event files for TensorBoard are written too.
    pub tensorboard: bool,
}

/// What the loop tells as it goes.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// Something to know of the run; settings are named in it as `⟨width⟩`.
    Notice {
        /// What it is, in a line.
        text: &'a str,
    },
    /// It goes on after this step (0: from the start).
    Started {
        /// Updates done before.
        after: u64,
    },
    /// An update is done and its losses are known.
    Step {
        /// Its number.
        step: u64,
        /// Names and values.
        losses: &'a [(&'static str, f32)],
        /// The pace so far.
        pace: &'a Pace,
        /// What is wrong with an adversarial pair, if anything.
        notice: Option<Notice>,
    },
    /// A validation is done.
    Validated {
        /// After this update.
        step: u64,
        /// Mean loss over the validation data.
        loss: f64,
        /// Names and values of further figures: `val_ab_error`, `val_psnr`, `val_ssim`.
        figures: &'a [(&'static str, f64)],
        /// Whether it is the best so far: by the loss, or of an adversarial pair by the loss and the detail.
        best: bool,
    },
    /// A checkpoint lies whole on disk.
    Saved {
        /// After this update.
        step: u64,
        /// Where.
        path: PathBuf,
    },
    /// After the last update: an image is judged, of those that were not trained on.
    Judged {
        /// Judged so far.
        done: usize,
        /// In all.
        total: usize,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// It was asked to stop after this step; a checkpoint holds its state, unless it is 0.
    Stopped {
        /// Updates done.
        step: u64,
    },
    /// It had been finished before, at this step: nothing was touched.
    FinishedBefore {
        /// Updates done.
        step: u64,
    },
}

/// Side of a sample image in pixels, where the crops of the training are smaller and the images are not.
const SAMPLE_SIDE: usize = 128;
/// Losses are read this many steps late on a GPU, so that the host records ahead.
const LOSS_LAG: usize = 2;

/// One training run.
pub struct Session<'a> {
    /// What it reads.
    pub config: SessionConfig,
    /// Where it writes.
    pub dir: RunDir,
    /// What its weights say of themselves beyond what data, settings and network tell.
    pub metadata: Metadata,
    /// Training data.
    pub data: Dataset,
    /// Validation data, if any.
    pub validation: Option<Dataset>,
    /// Set from outside to stop after the step at hand.
    pub stop: &'a AtomicBool,
    /// Whether reading a loss early would make the device wait.
    pub asynchronous: bool,
}

/// An update whose losses have not been read.
struct Pending {
    step: u64,
    files: Vec<PathBuf>,
    losses: Vec<PendingRead>,
    lr: f64,
}

/// An update whose losses are known.
struct Settled {
    step: u64,
    images: usize,
    lr: f64,
    losses: Vec<(&'static str, f32)>,
    seconds: f64,
}

/// What is due after an update. A run that is asked to stop off its schedule only saves: it must be quick, and it must
/// not judge the weights at a step where a run never interrupted would not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pause {
    samples: bool,
    /// Images to calibrate on.
    calibration: usize,
    validation: bool,
    checkpoint: bool,
}

/// The files that grow with the run.
struct Files {
    metrics: MetricsWriter,
    events: Option<EventWriter>,
}

/// The state of the loop beside the learner's.
struct Loop<'s, 'o> {
    session: &'s Session<'s>,
    observe: &'o mut dyn FnMut(Event<'_>),
    ranks: Ranks,
    /// Those of the process that writes.
    files: Option<Files>,
    pace: Pace,
    health: Health,
    clock: Instant,
    pending: VecDeque<Pending>,
    saved: Option<PathBuf>,
    best: f64,
}

impl Session<'_> {
    /// Runs from a checkpoint, or from the start when there is none, to the last step.
    ///
    /// # Errors
    /// Data that breaks in mid-run, a loss that is NaN or infinite (with the step, its files and the last good
    /// checkpoint), a disk that is full, a device that fails.
    pub fn run(
        &self,
        learner: &mut dyn Learner,
        from: Option<&Checkpoint>,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome> {
        let (mut after, mut best) = (0, f64::INFINITY);
        if let Some(checkpoint) = from {
            learner.load(&checkpoint.file)?;
            (after, best) = (checkpoint.step, checkpoint.best_score(is_pair(learner.losses())));
        }
        let ranks = learner.painter().device().ranks().clone();
        let files = if ranks.leads() { Some(self.files(after, from)?) } else { None };
        observe(Event::Started { after });
        let mut state = Loop {
            session: self,
            observe,
            ranks,
            files,
            pace: Pace::default(),
            health: Health::default(),
            clock: Instant::now(),
            pending: VecDeque::new(),
            saved: from.map(|checkpoint| checkpoint.path.clone()),
            best,
        };
        let ended = self.steps(learner, after, &mut state);
        ended.map_err(|error| if error.kind() == ErrorKind::Lost { state.with_way_on(error) } else { error })
    }

    /// Opens the files that grow, cut back to what was done up to the update `after`.
    fn files(&self, after: u64, from: Option<&Checkpoint>) -> Result<Files> {
        let config = &self.config;
        self.dir.cut_samples(after)?;
        let newest = self.dir.list_checkpoints()?.into_iter().next().map(|newest| newest.path);
        if newest.is_some_and(|newest| from.is_some_and(|from| from.path == newest)) {
            // A run killed between a checkpoint and the removal of an older one left that. Where a newer one is
            // damaged, all that is older stays.
            self.dir.prune(config.keep)?;
        }
        let metrics = MetricsWriter::open(self.dir.metrics(), after)?;
        let events = (EVENTS && config.tensorboard).then(|| EventWriter::open(&self.dir)).transpose()?;
        Ok(Files { metrics, events })
    }

    /// The updates after `after`.
    fn steps(&self, learner: &mut dyn Learner, after: u64, state: &mut Loop<'_, '_>) -> Result<Outcome> {
        let config = &self.config;
        // Several processes agree after each update on whether to stop, and exchange their losses then.
        let never = AtomicBool::new(false);
        let stop = if state.ranks.alone() { self.stop } else { &never };
        let lag = if self.asynchronous && state.ranks.alone() { LOSS_LAG } else { 0 };
        let mut loader = Loader::new(self.data.clone(), config.loader.clone(), after + 1, config.steps)?;
        let mut done = after;
        while let Some(batch) = loader.next_unless(stop) {
            let Some(batch) = batch? else {
                if done > after && state.saved != Some(self.dir.checkpoint(done)) {
                    state.rest(learner, done, Pause { checkpoint: true, ..Pause::default() })?;
                }
                return Ok(Outcome::Stopped { step: done });
            };
            let step = batch.step;
            let lr = config.lr_schedule.lr_at(step, config.steps, config.lr) * warm_up(step, config.lr_warmup);
            let share = config.loader.share(step);
            let losses = learner.step(&batch, &Update { step, steps: config.steps, lr, share })?;
            state.pending.push_back(Pending { step, files: batch.files, losses, lr });
            let stopping = state.ranks.any(self.stop.load(Ordering::Relaxed))?;
            let last = step == config.steps;
            let validation = last || step.is_multiple_of(config.checkpoint_every);
            let pause = Pause {
                samples: last || (config.sample_every > 0 && step.is_multiple_of(config.sample_every)),
                calibration: learner.calibration(step, config.steps, validation),
                validation,
                checkpoint: last || stopping || step.is_multiple_of(config.checkpoint_every),
            };
            if pause != Pause::default() {
                state.rest(learner, step, pause)?;
            }
            while state.pending.len() > lag {
                state.settle(learner)?;
            }
            if stopping && step < config.steps {
                return Ok(Outcome::Stopped { step });
            }
            done = step;
        }
        Ok(Outcome::Finished)
    }

    /// Shows the learner as many of the training's own images as it needs for its statistics.
    fn calibrate(&self, learner: &dyn Learner, pictures: usize) -> Result<()> {
        let maker = BatchMaker::new(self.data.clone(), self.config.loader.clone());
        for number in 1..=pictures.div_ceil(self.config.loader.batch) {
            learner.calibrate(&maker.batch(number as u64)?, number as u32)?;
        }
        Ok(())
    }

    /// What centre crops of some of the validation images say.
    fn validate(&self, learner: &dyn Learner) -> Result<Option<Validation>> {
        let Some(data) = &self.validation else { return Ok(None) };
        let maker = |halo| self.centre_crops(data, self.config.loader.size, halo);
        validate(learner, &maker(self.config.loader.halo), &maker(0), data.pairs.len() as u64).map(Some)
    }

    /// The images that samples show: the first of the validation data, else of the training data.
    fn sample_batches(&self, stride: usize) -> Result<Vec<Batch>> {
        let data = self.validation.as_ref().unwrap_or(&self.data);
        let smallest = data.infos.iter().map(|info| info.width.min(info.height)).min().unwrap_or_default();
        let side = self.config.loader.size.max(smallest.min(SAMPLE_SIDE) / stride * stride);
        // What puts a network to work on an image finds what lies around it by itself.
        let maker = self.centre_crops(data, side, 0);
        (1..=(data.pairs.len() as u64).min(samples::PICTURES)).map(|step| maker.batch(step)).collect()
    }

    /// What the weights after `step` are.
    fn metadata(&self, learner: &dyn Learner, step: u64) -> Metadata {
        let setting = |tensor: StateTensor| Some((tensor.name, *tensor.data.first()?));
        let settings = learner.settings().into_iter().filter_map(setting).collect();
        let network = learner.painter().name().to_owned();
        let metadata = Metadata { network, step, settings, ..self.metadata.clone() };
        metadata.of_training(&self.data, &self.config.loader)
    }

    fn centre_crops(&self, data: &Dataset, size: usize, halo: usize) -> BatchMaker {
        BatchMaker::new(data.clone(), LoaderOptions { size, ..self.config.loader.clone().centres(halo) })
    }
}

impl Loop<'_, '_> {
    /// Brings the run to rest after `step`. Every loss is read first: a run that has diverged is not saved. The
    /// checkpoint comes last: a run that goes on from it finds everything before it in place.
    fn rest(&mut self, learner: &dyn Learner, step: u64, due: Pause) -> Result<()> {
        while self.pending.len() > 1 {
            self.settle(learner)?;
        }
        let last = self.read_losses(learner)?;
        // At the same updates in every run, interrupted or not: what they change stays in the weights.
        if due.calibration > 0 {
            self.session.calibrate(learner, due.calibration)?;
        }
        if !self.ranks.leads() {
            return self.ranks.wait();
        }
        let validation = if due.validation { self.session.validate(learner)? } else { None };
        if let Some(update) = last {
            self.write_down(update, validation.as_ref())?;
        }
        if due.samples {
            let stride = learner.painter().framing().stride;
            samples::write(&self.session.dir, step, learner, &self.session.sample_batches(stride)?)?;
            if EVENTS && let Some(Files { events: Some(events), .. }) = &mut self.files {
                events.sampled(&self.session.dir, step)?;
            }
        }
        if due.checkpoint {
            self.save(learner, step, validation)?;
        }
        self.ranks.wait()?;
        self.clock = Instant::now();
        Ok(())
    }

    fn save(&mut self, learner: &dyn Learner, step: u64, validation: Option<Validation>) -> Result<()> {
        let keep_best = self.session.config.keep_best;
        let improved = keep_best && validation.as_ref().is_some_and(|found| found.score < self.best);
        if let Some(Validation { loss, figures, score }) = &validation {
            self.best = self.best.min(*score);
            (self.observe)(Event::Validated { step, loss: *loss, figures, best: improved });
        }
        let state = learner.state_views()?;
        for view in &state {
            // The update itself overflowed: the loss, that of the batch before it, did not show it yet.
            let said = || format!("{} holds NaN or infinity at step {step}", view.name());
            crate::ensure!(view.is_finite()?, self.diverged(said(), "the weights"));
        }
        let metadata = self.session.metadata(learner, step);
        let path =
            checkpoint::save(&self.session.dir, &metadata, state, (is_pair(learner.losses()), self.best), improved)?;
        self.session.dir.prune(self.session.config.keep)?;
        (self.observe)(Event::Saved { step, path: path.clone() });
        self.saved = Some(path);
        Ok(())
    }

    /// Reads the losses of the oldest update and writes them down.
    fn settle(&mut self, learner: &dyn Learner) -> Result<()> {
        match self.read_losses(learner)? {
            Some(update) => self.write_down(update, None),
            None => Ok(()),
        }
    }

    /// Waits for the losses of the oldest update; a loss that is NaN or infinite ends the run.
    fn read_losses(&mut self, learner: &dyn Learner) -> Result<Option<Settled>> {
        let Some(update) = self.pending.pop_front() else { return Ok(None) };
        let finish = |read: PendingRead| read.finish().map(|values| values[0]);
        let mut values: Vec<f32> = update.losses.into_iter().map(finish).collect::<Result<_>>()?;
        self.ranks.mean(&mut values, update.files.len())?;
        let losses: Vec<_> = learner.losses().iter().map(|(name, _)| *name).zip(values).collect();
        if let Some((name, value)) = losses.iter().find(|(_, value)| !value.is_finite()) {
            let files: Vec<String> = update.files.iter().map(|file| file.display().to_string()).collect();
            return Err(self.diverged(format!("{name} became {value} at step {}", update.step), &files.join(", ")));
        }
        let seconds = self.clock.elapsed().as_secs_f64();
        self.clock = Instant::now();
        Ok(Some(Settled { step: update.step, images: update.files.len(), lr: update.lr, losses, seconds }))
    }

    /// A device that is lost takes what was learned since the last checkpoint with it.
    fn with_way_on(&self, error: Error) -> Error {
        let saved =
            self.saved.as_ref().map(|path| format!("; {} is whole: go on from there with ⟨resume⟩", path.display()));
        let remedy = format!("{}{}", error.remedy(), saved.unwrap_or_default());
        error.with_remedy(remedy)
    }

    fn diverged(&self, what: String, subject: &str) -> Error {
        let good = self.saved.as_ref().map_or("none yet".to_owned(), |path| path.display().to_string());
        Error::failed(what, subject, format!("lower ⟨lr⟩, or check the data; last good checkpoint: {good}"))
    }

    fn write_down(&mut self, update: Settled, validation: Option<&Validation>) -> Result<()> {
        let Settled { step, images, lr, losses, seconds } = update;
        let Some(files) = &mut self.files else { return Ok(()) };
        self.pace.record(seconds, images);
        let figures = |found: &Validation| [&[("val_loss", found.loss)], &found.figures[..]].concat();
        let further = validation.map(figures).unwrap_or_default();
        let epoch = self.session.config.loader.epoch_of(step, self.session.data.pairs.len());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let metrics = StepMetrics {
            step,
            losses: &losses,
            seconds,
            images_per_s: images as f64 / seconds,
            lr,
            epoch,
            time: now.as_millis() as f64 / 1e3,
            further: &further,
        };
        files.metrics.append(&metrics)?;
        if EVENTS && let Some(events) = &mut files.events {
            events.step(step, metrics.time, metrics.values())?;
        }
        let notice = self.health.record(&losses);
        (self.observe)(Event::Step { step, losses: &losses, pace: &self.pace, notice });
        Ok(())
    }
}
