//! Batches made on other threads, so that compute does not wait for files.
//!
//! The batch of a step is a pure function of the data, the settings, the seed and the step: threads only change when it
//! is ready. Worker `i` of `T` makes the steps `first + i`, `first + i + T`, ... into a channel of its own; the reader
//! takes from the channels in turn, which puts the batches in order without further bookkeeping.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::dataset::cache::PictureCache;
use crate::dataset::gaps::resized;
use crate::dataset::loader_options::LoaderOptions;
use crate::dataset::pairs::Dataset;
use crate::dataset::places::Places;
use crate::dataset::sampler::{cut, samples, turn};
use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::imaging::ops::bytes;
use crate::imaging::picture::{Picture, PictureInfo, Reading, Samples, not_finite};

/// Batches that wait ready per thread, beside the one that is being made.
const READY: usize = 1;
/// How often a wait looks whether it should end.
const PULSE: Duration = Duration::from_millis(20);
/// How long the end of a loader waits for its threads. One may hang on a file that never comes.
const PATIENCE: Duration = Duration::from_secs(2);

/// The images of one training step, or this process's share of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The step, counted from 1.
    pub step: u64,
    /// The source file of each image of the whole batch, of which another process may have a share.
    pub files: Vec<PathBuf>,
    /// N: the images that are here.
    pub n: usize,
    /// S.
    pub size: usize,
    /// Pixels of the source beyond the crop on each side.
    pub halo: usize,
    /// `[N, S + 2 halo, S + 2 halo, C]`, 0..1 (float files as they are), C those of the source's reading: mostly 1.
    pub source: Vec<f32>,
    /// `[N, S, S, C]`, 0..1, C those of the target's reading: mostly sRGB.
    pub target: Vec<f32>,
}

impl Batch {
    /// The sources as a tensor `[N, S + 2 halo, S + 2 halo, C]`; those of 8 bits go to a GPU as bytes.
    ///
    /// # Errors
    /// No memory.
    pub fn source_on(&self, device: &Device) -> Result<Tensor> {
        self.tensor(device, &self.source, self.size + 2 * self.halo)
    }

    /// The targets as a tensor `[N, S, S, C]`, in the same way.
    ///
    /// # Errors
    /// No memory.
    pub fn target_on(&self, device: &Device) -> Result<Tensor> {
        self.tensor(device, &self.target, self.size)
    }

    /// The channels are what the number of values leaves.
    fn tensor(&self, device: &Device, values: &[f32], side: usize) -> Result<Tensor> {
        let channels = values.len() / (self.n * side * side);
        bytes::upload(device, &[self.n, side, side, channels], values)
    }
}

/// Makes batches: what a [`Loader`] runs on its threads, and what one thread can run alone.
#[derive(Debug)]
pub struct BatchMaker {
    data: Dataset,
    /// The headers of the images that crops are cut from.
    infos: Vec<PictureInfo>,
    /// Where crops of those lie that have gaps.
    places: Vec<Option<Places>>,
    options: LoaderOptions,
    cache: PictureCache,
}

impl BatchMaker {
    /// A maker of batches from data validated for at least the crop's size.
    pub fn new(data: Dataset, options: LoaderOptions) -> Self {
        let cache = PictureCache::new(options.cache_bytes);
        let mut infos: Vec<PictureInfo> = data.infos.iter().map(|info| enlarged(info, &options)).collect();
        let mut places = Vec::new();
        for (i, gaps) in data.gaps.iter().enumerate() {
            let Some(gaps) = gaps else {
                places.push(None);
                continue;
            };
            let size = [infos[i].width, infos[i].height];
            let mut of_image = Places::new(gaps, options.size);
            if size != gaps.size() {
                let larger = Places::new(&resized(gaps, size), options.size);
                match larger.count() {
                    // A gap has grown into the only place there was.
                    0 => infos[i] = data.infos[i],
                    _ => of_image = larger,
                }
            }
            places.push(Some(of_image));
        }
        BatchMaker { data, infos, places, options, cache }
    }

    /// The batch of `step` (from 1). Of images with gaps crops have none, if they have room for one; what else has no
    /// data is 0, as everywhere: a halo, a crop larger than that of the training.
    ///
    /// # Errors
    /// A file that has changed, is damaged, or holds infinities, or NaN where it had none.
    pub fn batch(&self, step: u64) -> Result<Batch> {
        self.batch_unless(step, &AtomicBool::new(false)).map(|batch| batch.expect("nobody asked to stop"))
    }

    /// The batch of `step`, or `None` as soon as `stop` is set.
    fn batch_unless(&self, step: u64, stop: &AtomicBool) -> Result<Option<Batch>> {
        let (size, halo) = (self.options.size, self.options.halo);
        let samples = samples(&self.infos, &self.places, &self.options, step);
        let (mut source, mut target) = (Vec::new(), Vec::new());
        let share = self.options.share(step);
        for sample in &samples[share.positions()] {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let pair = &self.data.pairs[sample.file];
            for (file, reading, halo, out) in [
                (&pair.source, self.data.source_reading, halo, &mut source),
                (&pair.target, self.data.target_reading, 0, &mut target),
            ] {
                let (picture, path) = (self.cache.open(file)?, file.path());
                self.check_unchanged(sample.file, path, &picture, reading)?;
                let (side, start) = (size + 2 * halo, out.len());
                out.resize(start + side * side * reading.channels(), 0.0);
                let out = &mut out[start..];
                let info = &self.infos[sample.file];
                let picture = match [info.width, info.height] {
                    size if size == [picture.info.width, picture.info.height] => picture,
                    size => Arc::new(picture.resized(size)),
                };
                cut(&picture, reading, [sample.x, sample.y], size, halo, out);
                if self.places[sample.file].is_some() {
                    out.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
                }
                check_finite(&picture, path, out)?;
                turn(out, side, reading.channels(), sample.turn);
            }
        }
        let files = samples.iter().map(|sample| self.data.pairs[sample.file].source.path().to_owned()).collect();
        Ok(Some(Batch { step, files, n: share.images, size, halo, source, target }))
    }

    /// A file may have been replaced since it was validated.
    fn check_unchanged(&self, file: usize, path: &std::path::Path, picture: &Picture, reading: Reading) -> Result<()> {
        let known = &self.data.infos[file];
        crate::ensure!(
            (picture.info.width, picture.info.height) == (known.width, known.height),
            Error::input(
                format!(
                    "the image was {}x{} and is now {}x{}",
                    known.width, known.height, picture.info.width, picture.info.height
                ),
                path.display(),
                "leave the data alone while it is in use"
            )
        );
        reading.check(&picture.info, path)
    }
}

/// The header of an image as random crops are cut from it.
fn enlarged(info: &PictureInfo, options: &LoaderOptions) -> PictureInfo {
    let shorter = info.width.min(info.height);
    match options.enlarge {
        Some(side) if options.augment && shorter < side => {
            let scaled = |length: usize| (length * side + shorter / 2) / shorter;
            PictureInfo { width: scaled(info.width), height: scaled(info.height), ..*info }
        }
        _ => *info,
    }
}

/// Floats can be NaN or infinite (a GeoTIFF's missing values, often), which would spoil every weight at once.
fn check_finite(picture: &Picture, path: &std::path::Path, values: &[f32]) -> Result<()> {
    crate::ensure!(
        !matches!(picture.samples, Samples::F32(_)) || values.iter().all(|v| v.is_finite()),
        not_finite(path)
    );
    Ok(())
}

/// Delivers the batches of a range of steps in order. Dropping it ends its threads after the file at hand; one that
/// takes longer than two seconds for it ends later, or with the process.
#[derive(Debug)]
pub struct Loader {
    receivers: Vec<Receiver<Result<Batch>>>,
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    first: u64,
    next: u64,
    last: u64,
}

impl Loader {
    /// Starts making the batches of the steps `first..=last` (from 1).
    pub fn new(data: Dataset, options: LoaderOptions, first: u64, last: u64) -> Result<Self> {
        let threads = options.threads.max(1);
        let maker = Arc::new(BatchMaker::new(data, options));
        let stop = Arc::new(AtomicBool::new(false));
        let mut loader = Loader { receivers: Vec::new(), threads: Vec::new(), stop, first, next: first, last };
        for index in 0..threads {
            let (sender, receiver) = sync_channel(READY);
            let (maker, stop) = (maker.clone(), loader.stop.clone());
            let steps = (first + index as u64..=last).step_by(threads);
            let thread = std::thread::Builder::new()
                .name(format!("loader-{index}"))
                .spawn(move || work(&maker, steps, &sender, &stop))
                .map_err(|e| Error::failed(format!("no thread for loading ({e})"), "⟨threads⟩", "use fewer threads"))?;
            loader.receivers.push(receiver);
            loader.threads.push(thread);
        }
        Ok(loader)
    }

    /// As [`Iterator::next`], without waiting any longer once `stop` is set: `None` within stands for that.
    pub fn next_unless(&mut self, stop: &AtomicBool) -> Option<Result<Option<Batch>>> {
        if self.next > self.last {
            return None;
        }
        let turn = ((self.next - self.first) % self.receivers.len() as u64) as usize;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Some(Ok(None));
            }
            let item = match self.receivers[turn].recv_timeout(PULSE) {
                Ok(item) => item,
                Err(RecvTimeoutError::Timeout) => continue,
                // A channel that closed early means that its thread panicked.
                Err(RecvTimeoutError::Disconnected) => Err(Error::failed(
                    "loading stopped without an answer",
                    format!("step {}", self.next),
                    "report this as a bug",
                )),
            };
            self.next = if item.is_err() { u64::MAX } else { self.next + 1 };
            return Some(item.map(Some));
        }
    }
}

/// Makes the batches of `steps` until one fails or the receiver is gone.
fn work(maker: &BatchMaker, steps: impl Iterator<Item = u64>, sender: &SyncSender<Result<Batch>>, stop: &AtomicBool) {
    for step in steps {
        let Some(batch) = maker.batch_unless(step, stop).transpose() else { return };
        let failed = batch.is_err();
        if sender.send(batch).is_err() || failed {
            return;
        }
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    /// The next step's batch, waiting for it where it is not ready; `None` after the last step or an error.
    fn next(&mut self) -> Option<Self::Item> {
        self.next_unless(&AtomicBool::new(false)).and_then(Result::transpose)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Closed channels wake the threads that wait to send.
        self.receivers.clear();
        // A panic was reported by `next` already, or by the panic hook.
        let begun = Instant::now();
        while self.threads.iter().any(|thread| !thread.is_finished()) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests;
