//! `huetape train`: settings in, a run folder out.

use crate::cli::console::Progress;
use crate::cli::model::Model;
use crate::cli::settings::{Patches, Resolved, Settings};
use crate::cli::{DeviceArgs, Outcome, flag, stop_flag};
use crate::dataset::lightness::LightnessMatch;
use crate::dataset::loader::BatchMaker;
use crate::dataset::pairs::{DataSource, Dataset};
use crate::dataset::patches::PatchPlan;
use crate::dataset::stats::survey;
use crate::engine::device::{Device, human_bytes};
use crate::engine::nn::WeightFile;
use crate::error::{Error, Result, name_settings};
use crate::evaluate::evaluation::{Evaluation, evaluate};
use crate::files::write_whole;
use crate::imaging::raster::Stretch;
use crate::report::page::Comparison;
use crate::run::summary::{Summary, write_report};
use crate::train::checkpoint::{Checkpoint, Newest};
use crate::train::health;
use crate::train::learner::{Learner, Update};
use crate::train::metadata::{BinsMetadata, Input, Lightness, Metadata, TrainedOn};
use crate::train::progress::human_seconds;
use crate::train::run_dir::RunDir;
use crate::train::session::{self, Event, Session};
use clap::Args;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  huetape train colournet --source sar/ --target optical/ --out runs/first
  huetape train colournet --images photos/ --width 0.5 --batch 4 --steps 2000
  huetape train colournet --source scene_vh.tif --target scene_optical.tif --stretch db:-25,0 --despeckle lee:7
  huetape train pix2pix --source sar/ --target optical/ --width 0.25 --epochs 50
  huetape train sicgan --images one-photo/ --width 0.5 --lambda-l1 10
  huetape train spacenet --source rgb/ --target eight-bands/ --steps 5000
  huetape train colournet --out runs/first --resume")]
pub struct TrainArgs {
    /// Which network
    model: Model,
    /// Run folder, which must not exist yet [default: runs/MODEL-TIME]
    #[arg(long, value_name = "RUN", help_heading = "Run")]
    out: Option<PathBuf>,
    /// Go on from the newest whole checkpoint of --out, or start when there is none
    #[arg(long, help_heading = "Run")]
    resume: bool,
    /// Say what would be read, how much memory it takes and how long a step takes, and stop
    #[arg(long, help_heading = "Run")]
    dry_run: bool,
    /// Settings in TOML, keys named as the flags; flags win
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

pub fn run(args: TrainArgs) -> Outcome {
    let mut settings = args.settings.clone();
    if let Some(path) = &args.config {
        settings = settings.or(Settings::read(path)?);
    }
    let out = out_folder(&args)?;
    if args.resume && out.join("config.toml").exists() {
        let before = Settings::read(&out.join("config.toml"))?;
        settings.check_unchanged(&before, &out)?;
        settings = settings.or(before);
    }
    let stop = stop_flag()?;
    let device =
        DeviceArgs { device: settings.device.clone(), memory: settings.memory.clone(), threads: settings.threads };
    device.set_threads()?;
    let resolved = settings.resolve(args.model)?;
    let size = resolved.session.loader.size;
    // Validation pictures have the bands of the training pictures.
    let readings = args.model.readings(&resolved.data, resolved.band)?;
    let how = &resolved.preparations;
    let grid = (!resolved.session.loader.augment).then_some(size);
    let data = resolved.data.validate_prepared(size, readings, how, grid)?;
    // Both are stretched alike.
    let how = &data.preparations;
    let validate =
        |source: &DataSource| source.validate_prepared(size, readings, how, Some(size.max(VALIDATION_WINDOW)));
    let validation = resolved.validation.as_ref().map(validate).transpose()?;
    data.notices.iter().for_each(|notice| eprintln!("{}", name_settings(notice, flag)));
    let training = Training::new(args.model, settings, resolved, data, validation)?;
    let device = device.open()?;
    if args.dry_run {
        return dry_run(&training, &device);
    }
    let ended = training.run(&device, &out, args.resume, &stop)?;
    match ended.outcome {
        session::Outcome::Finished => {
            if let Some(evaluation) = &ended.evaluation {
                print_evaluation(evaluation);
            }
            println!("{}", RunDir::open(&out)?.report().display());
            Ok(())
        }
        session::Outcome::Stopped { step } => {
            let remedy =
                format!("go on with `huetape train {} --out {} --resume`", training.model.name(), out.display());
            Err(Error::failed(format!("stopped after step {step}, which is saved"), out.display(), remedy).into())
        }
    }
}

/// Side of the windows that a scene is cut into for validation, pixels.
const VALIDATION_WINDOW: usize = 256;

/// The folder of `--out`, or one named after the time. One that exists is refused without `--resume`.
fn out_folder(args: &TrainArgs) -> Result<PathBuf> {
    let out = match &args.out {
        Some(out) => out.clone(),
        None if args.resume => {
            return Err(Error::input("which run to go on with?", "--resume", "name its folder with --out"));
        }
        None => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            Path::new("runs").join(format!("{}-{now}", args.model.name()))
        }
    };
    crate::ensure!(
        args.resume || args.dry_run || !out.exists(),
        Error::input(
            "the run folder exists already",
            out.display(),
            "choose another --out, or add --resume to go on with it"
        )
    );
    Ok(out)
}

/// A training whose inputs have been checked.
pub struct Training {
    pub model: Model,
    pub settings: Settings,
    pub resolved: Resolved,
    pub data: Dataset,
    pub validation: Option<Dataset>,
}

/// How a training ended.
pub struct Ended {
    pub outcome: session::Outcome,
    pub evaluation: Option<Evaluation>,
}

impl Training {
    /// Settles what depends on the pictures: which patches are read, and how many steps the epochs take.
    pub fn new(
        model: Model,
        settings: Settings,
        mut resolved: Resolved,
        data: Dataset,
        validation: Option<Dataset>,
    ) -> Result<Self> {
        let loader = &mut resolved.session.loader;
        if let Some(Patches { count, min_distance }) = resolved.patches {
            let plan = PatchPlan::new(&data.infos, loader.size, count, min_distance, loader.seed)?;
            loader.patches = Some(Arc::new(plan));
        }
        if let Some(epochs) = resolved.epochs {
            resolved.session.steps = loader.batches(epochs, data.pairs.len());
        }
        let text = |stretch: Option<Stretch>| stretch.map(|stretch| stretch.to_string());
        let mut settings = settings.filled(model);
        settings.stretch = text(data.preparations.source.stretch);
        settings.target_stretch = text(data.preparations.target.stretch);
        Ok(Training { model, settings, resolved, data, validation })
    }

    /// How many patches there are and which distance they keep, where patches are read.
    fn patches(&self) -> Option<String> {
        let plan = self.resolved.session.loader.patches.as_ref()?;
        let (count, asked, kept) = (plan.patches.len(), plan.min_distance, plan.kept_distance);
        Some(match kept == asked {
            true => format!("{count}, squared distance between origins at least {kept} pixels"),
            false => format!(
                "{count}, squared distance between origins lowered to {kept} pixels: there was no place left at {asked}"
            ),
        })
    }

    /// Runs the training in `out`. Nothing is created before a learner stands; with a memory cap, before one update has
    /// been seen to fit.
    pub fn run(&self, device: &Device, out: &Path, resume: bool, stop: &AtomicBool) -> Result<Ended> {
        let mut survey = survey(&self.data)?;
        if let Some(validation) = &self.validation {
            validation.read_through()?;
        }
        let newest = if resume && out.exists() { Checkpoint::newest(&RunDir::open(out)?)? } else { Newest::default() };
        for (path, error) in &newest.broken {
            eprintln!("passed over {}: {}", path.display(), error.line(flag));
        }
        // A checkpoint brings all that --init would have: the file need not be there any more.
        let init = match (&newest.checkpoint, self.resolved.start.init()) {
            (Some(checkpoint), _) => Some(checkpoint.file.clone()),
            (None, Some(path)) => Some(WeightFile::read(path)?),
            (None, None) => None,
        };
        let start = || self.resolved.start.learner(device, &survey, init.as_ref());
        if device.memory().cap_bytes.is_some() {
            self.rehearse(device, start()?)?;
        }
        let mut learner = start()?;
        if learner.painter().keeps_lightness() {
            survey.stats.lightness = LightnessMatch::of(&self.data)?;
        }
        if let Some(patches) = self.patches() {
            eprintln!("patches: {patches}");
        }
        let dir = if resume { RunDir::resume(out)? } else { RunDir::create(out)? };
        self.write_settings(&dir, device)?;
        let text = serde_json::to_string_pretty(&survey.stats).map_err(|error| {
            Error::failed(format!("statistics that JSON cannot hold ({error})"), out.display(), "report this")
        })?;
        write_whole(&dir.statistics(), text.as_bytes())?;
        let metadata = self.metadata(init.as_ref(), survey.stats.lightness.as_ref())?;
        let session = Session {
            config: self.resolved.session.clone(),
            dir,
            metadata,
            data: self.data.clone(),
            validation: self.validation.clone(),
            stop,
            asynchronous: device.is_gpu(),
        };
        let steps = session.config.steps;
        let mut progress = Progress::new(steps, 0, "steps");
        let checkpoint = newest.checkpoint.as_ref();
        let outcome = session.run(learner.as_mut(), checkpoint, &mut |event| show(&mut progress, steps, event))?;
        drop(progress);
        let evaluation = match &self.validation {
            Some(data) if outcome == session::Outcome::Finished => {
                // What `colorize` will take is what is judged.
                if session.dir.best().is_file() {
                    learner.load(&WeightFile::read(&session.dir.best())?)?;
                }
                Some(evaluate(learner.as_ref(), data, &survey.stats)?)
            }
            _ => None,
        };
        self.report(&session.dir, device, learner.losses(), evaluation.clone())?;
        Ok(Ended { outcome, evaluation })
    }

    /// What the weights say of themselves that the training's loop does not know; bins come from `init`, if there are weights to
    /// start from.
    fn metadata(&self, init: Option<&WeightFile>, matched: Option<&LightnessMatch>) -> Result<Metadata> {
        let bins = match &self.settings.bins {
            Some(kind) => {
                let width = self.settings.bin_width.filter(|_| !kind.starts_with("kmeans"));
                Some(BinsMetadata { kind: kind.clone(), width })
            }
            None => init.map(Metadata::of).transpose()?.flatten().and_then(|metadata| metadata.bins),
        };
        let despeckled = self.settings.lightness.as_deref() == Some("despeckle");
        let lightness = if despeckled { Lightness::Despeckle } else { Lightness::Input };
        let data = match &self.resolved.data {
            DataSource::Pairs { .. } => "pairs of images",
            DataSource::Images(_) => "colour images and their lightness",
            DataSource::SideBySide { .. } => "images side by side",
            DataSource::Scenes { .. } => "windows of two scenes",
        };
        Ok(Metadata {
            bins,
            input: Input { lightness, ..Input::default() },
            lightness_match: matched.filter(|_| despeckled).cloned(),
            trained_on: TrainedOn { data: data.to_owned(), ..TrainedOn::default() },
            ..Metadata::default()
        })
    }

    fn write_settings(&self, dir: &RunDir, device: &Device) -> Result<()> {
        let made_by = BTreeMap::from([
            ("huetape".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("device".to_owned(), device.name()),
            ("processor".to_owned(), format!("{} {}", std::env::consts::ARCH, std::env::consts::OS)),
        ]);
        let settings =
            Settings { model: Some(self.model.name().to_owned()), made_by: Some(made_by), ..self.settings.clone() };
        settings.write(&dir.config())
    }

    fn report(
        &self,
        dir: &RunDir,
        device: &Device,
        losses: &[(&'static str, &'static str)],
        evaluation: Option<Evaluation>,
    ) -> Result<()> {
        let text = toml::to_string(&self.settings).unwrap_or_default();
        let pair = |line: &str| line.split_once(" = ").map(|(key, value)| (key.to_owned(), value.to_owned()));
        let memory = device.memory();
        let mut environment = vec![
            ("huetape".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("device".to_owned(), device.name()),
            ("peak device memory".to_owned(), human_bytes(memory.peak_bytes)),
            ("training pictures".to_owned(), self.data.pairs.len().to_string()),
        ];
        environment.extend(self.patches().map(|patches| ("patches".to_owned(), patches)));
        let loader = &self.resolved.session.loader;
        let summary = Summary {
            title: format!("{} in {}", self.model.name(), dir.root().display()),
            losses: losses.to_vec(),
            target_bands: self.data.target_reading.channels(),
            settings: text.lines().filter_map(pair).collect(),
            environment,
            epoch: (self.model == Model::Sicgan).then(|| loader.batches(1, self.data.pairs.len())),
            evaluation,
        };
        write_report(dir, &summary)
    }

    /// Updates of a learner that is thrown away after: the seconds of one, and the peak memory.
    fn rehearse(&self, device: &Device, mut learner: Box<dyn Learner>) -> Result<(f64, u64)> {
        let batch = BatchMaker::new(self.data.clone(), self.resolved.session.loader.clone()).batch(1)?;
        device.reset_peak();
        let mut seconds = f64::INFINITY;
        // The first update also compiles kernels.
        for _ in 0..2 {
            let start = Instant::now();
            for loss in learner.step(&batch, &Update { step: 1, steps: self.resolved.session.steps, lr: 0.0 })? {
                loss.finish()?;
            }
            seconds = seconds.min(start.elapsed().as_secs_f64());
        }
        Ok((seconds, device.memory().peak_bytes))
    }

    /// Prints the time and the memory of a step; its seconds.
    pub fn print_rehearsal(&self, device: &Device) -> Result<f64> {
        let start = &self.resolved.start;
        let init = start.init().map(WeightFile::read).transpose()?;
        let learner = start.learner(device, &survey(&self.data)?, init.as_ref())?;
        let (seconds, peak_bytes) = self.rehearse(device, learner)?;
        let loader = &self.resolved.session.loader;
        println!("device: {}", device.name());
        if let Some(patches) = self.patches() {
            println!("patches: {patches}");
        }
        println!(
            "step: {} with a batch of {} at {size}x{size}",
            human_seconds(seconds),
            loader.batch,
            size = loader.size
        );
        println!("memory on the device: {}", human_bytes(peak_bytes));
        Ok(seconds)
    }
}

fn dry_run(training: &Training, device: &Device) -> Outcome {
    println!(
        "pictures: {} for training, {} for validation",
        training.data.pairs.len(),
        training.validation.as_ref().map_or(0, |data| data.pairs.len())
    );
    let seconds = training.print_rehearsal(device)?;
    let steps = training.resolved.session.steps;
    println!("{steps} steps: about {}", human_seconds(seconds * steps as f64));
    Ok(())
}

fn show(progress: &mut Progress, steps: u64, event: Event<'_>) {
    match event {
        Event::Started { after: 0 } => {}
        Event::Started { after } => {
            progress.line(&format!("goes on after step {after}"));
        }
        Event::Step { step, losses, pace, notice } => {
            let shown = losses.iter().filter(|(name, _)| !health::is_vital(name));
            let losses: Vec<String> = shown.map(|(name, value)| format!("{name} {value:.4}")).collect();
            let rate = pace.images_per_s().map(|rate| format!(", {rate:.2} images/s")).unwrap_or_default();
            let left = pace.seconds_left(steps - step).map(|left| format!(", {} left", human_seconds(left)));
            let notice = notice.map(|notice| format!(", {}", notice.short())).unwrap_or_default();
            progress.at(step, &format!("{}{rate}{}{notice}", losses.join(", "), left.unwrap_or_default()));
        }
        Event::Validated { step, loss, best } => {
            progress.line(&format!(
                "step {step}: validation loss {loss:.4}{}",
                if best { ", the best so far" } else { "" }
            ));
        }
        Event::Saved { step, path } => progress.line(&format!("step {step}: saved {}", path.display())),
    }
}

/// The table of an evaluation on stdout.
pub fn print_evaluation(evaluation: &Evaluation) {
    let Comparison { metrics, methods } = evaluation.comparison();
    let heads: Vec<String> = metrics.iter().map(|metric| format!("{} {}", metric.name, metric.unit)).collect();
    let names = methods.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    print!("{:<names$}", "");
    heads.iter().for_each(|head| print!(" {:>9}", head.trim_end()));
    println!();
    for (name, values) in &methods {
        print!("{name:<names$}");
        for ((value, metric), head) in values.iter().zip(&metrics).zip(&heads) {
            print!(" {value:>width$.decimals$}", width = head.trim_end().len().max(9), decimals = metric.decimals);
        }
        println!();
    }
    if let Some(gain) = evaluation.gain_over_mean_ab().map(|share| 100.0 * share) {
        let way = if gain >= 0.0 { "below" } else { "above" };
        println!("ab error {:.1} % {way} that of always predicting the mean ab", gain.abs());
    }
}
