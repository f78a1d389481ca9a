//! Batches made on other threads, so that compute does not wait for files.
//!
//! The batch of a step is a pure function of the data, the settings, the seed and the step: threads only change when it is
//! ready. Worker `i` of `T` makes the steps `first + i`, `first + i + T`, ... into a channel of its own; the reader
//! takes from the channels in turn, which puts the batches in order without further bookkeeping.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::dataset::cache::PictureCache;
use crate::dataset::pairs::Dataset;
use crate::dataset::patches::PatchPlan;
use crate::dataset::sampler::{Turns, cut, samples, turn};
use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::imaging::picture::{Picture, PictureInfo, Reading, Samples};

/// Batches that wait ready per thread, beside the one that is being made.
const READY: usize = 1;

/// How batches are made.
#[derive(Debug, Clone)]
pub struct LoaderOptions {
    /// Pictures a batch (N, at least 1).
    pub batch: usize,
    /// Side of the square crop in pixels (S, at least 1).
    pub size: usize,
    /// Pixels of the source beyond the crop on each side, mirrored at the picture's border.
    pub halo: usize,
    /// Seed of order, crops and turns.
    pub seed: u64,
    /// A new order of the files, or patches, in every epoch; otherwise name order, wrapping.
    pub shuffle: bool,
    /// Random crops, turned by chance; otherwise the centre, never turned.
    pub augment: bool,
    /// How crops are turned.
    pub turns: Turns,
    /// Shorter side that pictures are enlarged to, if they are smaller, before random crops are cut.
    pub enlarge: Option<usize>,
    /// Fixed patches instead of random crops. Then a batch never reaches into the next epoch: the last one of an epoch is
    /// what is left.
    pub patches: Option<Arc<PatchPlan>>,
    /// Threads that make batches (at least 1).
    pub threads: usize,
    /// Bytes of decoded pictures to keep.
    pub cache_bytes: usize,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        LoaderOptions {
            batch: 1,
            size: 256,
            halo: 0,
            seed: 0,
            shuffle: true,
            augment: true,
            turns: Turns::Mirrors,
            enlarge: None,
            patches: None,
            threads: 2,
            cache_bytes: 256 << 20,
        }
    }
}

impl LoaderOptions {
    /// Batches that `epochs` passes over the data of `files` pictures take.
    pub fn batches(&self, epochs: u64, files: usize) -> u64 {
        match &self.patches {
            Some(plan) => epochs.saturating_mul(plan.patches.len().div_ceil(self.batch) as u64),
            None => epochs.saturating_mul(files as u64).div_ceil(self.batch as u64),
        }
    }

    /// The centre of each picture in name order, one a batch, with `halo` pixels around.
    pub fn centres(self, halo: usize) -> LoaderOptions {
        LoaderOptions { batch: 1, halo, shuffle: false, augment: false, patches: None, ..self }
    }
}

/// The pictures of one training step.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The step, counted from 1.
    pub step: u64,
    /// The source file of each of the N pictures.
    pub files: Vec<PathBuf>,
    /// N.
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
    /// The sources as a tensor `[N, S + 2 halo, S + 2 halo, C]`.
    ///
    /// # Errors
    /// No memory.
    pub fn source_on(&self, device: &Device) -> Result<Tensor> {
        self.tensor(device, &self.source, self.size + 2 * self.halo)
    }

    /// The targets as a tensor `[N, S, S, C]`.
    ///
    /// # Errors
    /// No memory.
    pub fn target_on(&self, device: &Device) -> Result<Tensor> {
        self.tensor(device, &self.target, self.size)
    }

    /// The channels are what the number of values leaves.
    fn tensor(&self, device: &Device, values: &[f32], side: usize) -> Result<Tensor> {
        let channels = values.len() / (self.n * side * side);
        Tensor::new(device, &[self.n, side, side, channels], values)
    }
}

/// Makes batches: what a [`Loader`] runs on its threads, and what one thread can run alone.
#[derive(Debug)]
pub struct BatchMaker {
    data: Dataset,
    /// The headers of the pictures that crops are cut from.
    infos: Vec<PictureInfo>,
    options: LoaderOptions,
    cache: PictureCache,
}

impl BatchMaker {
    /// A maker of batches from data validated for at least the crop's size.
    pub fn new(data: Dataset, options: LoaderOptions) -> Self {
        let cache = PictureCache::new(options.cache_bytes);
        let infos = data.infos.iter().map(|info| enlarged(info, &options)).collect();
        BatchMaker { data, infos, options, cache }
    }

    /// The batch of `step` (from 1). Fails when a file has changed, broken, or holds values that are no numbers.
    pub fn batch(&self, step: u64) -> Result<Batch> {
        self.batch_unless(step, &AtomicBool::new(false)).map(|batch| batch.expect("nobody asked to stop"))
    }

    /// The batch of `step`, or `None` as soon as `stop` is set.
    fn batch_unless(&self, step: u64, stop: &AtomicBool) -> Result<Option<Batch>> {
        let (size, halo) = (self.options.size, self.options.halo);
        let samples = samples(&self.infos, &self.options, step);
        let (mut source, mut target) = (Vec::new(), Vec::new());
        for sample in &samples {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let pair = &self.data.pairs[sample.file];
            for (file, reading, halo, out) in [
                (&pair.source, self.data.source_reading, halo, &mut source),
                (&pair.target, self.data.target_reading, 0, &mut target),
            ] {
                let (picture, path) = (self.cache.open(file)?, &file.path);
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
                check_finite(&picture, path, out)?;
                turn(out, side, reading.channels(), sample.turn);
            }
        }
        let files = samples.iter().map(|sample| self.data.pairs[sample.file].source.path.clone()).collect();
        Ok(Some(Batch { step, files, n: samples.len(), size, halo, source, target }))
    }

    /// A file may have been replaced since it was validated.
    fn check_unchanged(&self, file: usize, path: &std::path::Path, picture: &Picture, reading: Reading) -> Result<()> {
        let known = &self.data.infos[file];
        crate::ensure!(
            (picture.info.width, picture.info.height) == (known.width, known.height),
            Error::input(
                format!(
                    "the picture was {}x{} and is now {}x{}",
                    known.width, known.height, picture.info.width, picture.info.height
                ),
                path.display(),
                "leave the data alone while it is in use"
            )
        );
        reading.check(&picture.info, path)
    }
}

/// The header of a picture as random crops are cut from it.
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
        Error::input("pixels without a number (NaN or infinite)", path.display(), "fill them, or take the file away")
    );
    Ok(())
}

/// Delivers the batches of a range of steps in order. Dropping it ends its threads after the file at hand.
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
}

/// Makes the batches of `steps` until one fails or nobody listens any more.
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
        if self.next > self.last {
            return None;
        }
        let turn = ((self.next - self.first) % self.receivers.len() as u64) as usize;
        // A channel that closed early means that its thread panicked.
        let item = self.receivers[turn].recv().unwrap_or_else(|_| {
            Err(Error::failed(
                "loading stopped without an answer",
                format!("step {}", self.next),
                "report this as a bug",
            ))
        });
        self.next = if item.is_err() { u64::MAX } else { self.next + 1 };
        Some(item)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Closed channels wake the threads that wait to send.
        self.receivers.clear();
        for thread in self.threads.drain(..) {
            // A panic was reported by `next` already, or by the panic hook.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::pairs::DataSource;
    use crate::imaging::codec::save::save_png;
    use std::collections::BTreeSet;

    /// Seven pairs of 12x10 pictures whose values name file, row and column: source = 16 file + ..., target red = source.
    fn data() -> (tempfile::TempDir, Dataset) {
        let root = tempfile::tempdir().unwrap();
        for side in ["s", "t"] {
            std::fs::create_dir(root.path().join(side)).unwrap();
        }
        for file in 0..7u8 {
            let grey: Vec<u8> = (0..120u8).map(|i| i + file * 10).collect();
            let rgb: Vec<u8> = grey.iter().flat_map(|v| [*v, 255 - *v, file]).collect();
            save_png(&root.path().join(format!("s/{file}.png")), &grey, 12, 10, None).unwrap();
            save_png(&root.path().join(format!("t/{file}.png")), &rgb, 12, 10, None).unwrap();
        }
        let source = DataSource::Pairs { source: root.path().join("s"), target: root.path().join("t") };
        let set = source.validate(8, None).unwrap();
        (root, set)
    }

    fn options(shuffle: bool, augment: bool) -> LoaderOptions {
        let small = LoaderOptions { batch: 3, size: 8, seed: 5, threads: 3, ..LoaderOptions::default() };
        LoaderOptions { shuffle, augment, cache_bytes: 1 << 20, ..small }
    }

    fn file_numbers(batch: &Batch) -> Vec<usize> {
        batch.files.iter().map(|f| f.file_stem().unwrap().to_str().unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn the_loader_delivers_every_step_in_order_as_one_thread_makes_it() {
        let (_root, data) = data();
        let maker = BatchMaker::new(data.clone(), options(true, true));
        let loaded: Vec<Batch> = Loader::new(data, options(true, true), 1, 20).unwrap().map(|b| b.unwrap()).collect();
        assert_eq!(loaded.len(), 20);
        for (step, batch) in (1..).zip(&loaded) {
            assert_eq!(*batch, maker.batch(step).unwrap());
        }
    }

    #[test]
    fn a_resumed_loader_goes_on_with_the_same_batches() {
        let (_root, data) = data();
        let all: Vec<Batch> =
            Loader::new(data.clone(), options(true, true), 1, 12).unwrap().map(|b| b.unwrap()).collect();
        let rest: Vec<Batch> = Loader::new(data, options(true, true), 8, 12).unwrap().map(|b| b.unwrap()).collect();
        assert_eq!(all[7..], rest);
    }

    #[test]
    fn an_epoch_holds_every_file_once_and_epochs_differ() {
        let (_root, data) = data();
        let order: Vec<usize> = Loader::new(data, options(true, false), 1, 7)
            .unwrap()
            .flat_map(|batch| file_numbers(&batch.unwrap()))
            .collect();
        let epochs: Vec<&[usize]> = order.chunks(7).collect();
        for epoch in &epochs {
            assert_eq!(epoch.iter().collect::<BTreeSet<_>>().len(), 7, "{epoch:?}");
        }
        assert_ne!(epochs[0], epochs[1]);
    }

    #[test]
    fn without_shuffling_the_files_come_in_name_order_and_wrap() {
        let (_root, data) = data();
        let maker = BatchMaker::new(data, options(false, false));
        assert_eq!(file_numbers(&maker.batch(1).unwrap()), [0, 1, 2]);
        assert_eq!(file_numbers(&maker.batch(3).unwrap()), [6, 0, 1]);
    }

    #[test]
    fn without_augmentation_the_centre_is_cut_unmirrored() {
        let (_root, data) = data();
        let batch = BatchMaker::new(data, options(false, false)).batch(1).unwrap();
        // Origin (12 - 8) / 2, (10 - 8) / 2; second picture of the batch, row 3, column 5.
        let want = ((1 + 3) * 12 + 2 + 5 + 10) as f32;
        assert_eq!(batch.source[64 + 3 * 8 + 5], want / 255.0);
        assert_eq!(batch.target[(64 + 3 * 8 + 5) * 3..][..3], [want / 255.0, (255.0 - want) / 255.0, 1.0 / 255.0]);
    }

    #[test]
    fn source_and_target_are_cut_and_mirrored_alike_in_all_ways() {
        let (_root, data) = data();
        let maker = BatchMaker::new(data.clone(), options(true, true));
        let mut seen = BTreeSet::new();
        for step in 1..=60 {
            let batch = maker.batch(step).unwrap();
            for (sample, grey) in samples(&data.infos, &maker.options, step).iter().zip(batch.source.chunks(64)) {
                seen.insert((sample.x, sample.y, sample.turn));
                let x = if sample.turn.mirror_x { sample.x + 7 } else { sample.x };
                let y = if sample.turn.mirror_y { sample.y + 7 } else { sample.y };
                assert_eq!(grey[0], (y * 12 + x + sample.file * 10) as f32 / 255.0);
            }
            for (grey, rgb) in batch.source.iter().zip(batch.target.chunks(3)) {
                assert_eq!(*grey, rgb[0]);
            }
        }
        // 5 x 3 origins, each mirrored four ways; 180 draws reach most of the 60.
        assert!(seen.len() > 50, "{}", seen.len());
        assert!(seen.iter().any(|s| s.0 == 4 && s.1 == 2));
    }

    #[test]
    fn a_halo_is_cut_and_turned_with_the_crop_it_surrounds() {
        let (_root, data) = data();
        let plain = LoaderOptions { turns: Turns::MirrorsAndRotations, ..options(true, true) };
        let [plain, wide] = [0, 2].map(|halo| BatchMaker::new(data.clone(), LoaderOptions { halo, ..plain.clone() }));
        for step in 1..=20 {
            let (plain, wide) = (plain.batch(step).unwrap(), wide.batch(step).unwrap());
            assert_eq!(plain.target, wide.target);
            assert_eq!(wide.source_on(&Device::cpu()).unwrap().shape(), [3, 12, 12, 1]);
            for (plain, wide) in plain.source.chunks(64).zip(wide.source.chunks(144)) {
                let inner: Vec<f32> = (0..64).map(|i| wide[(i / 8 + 2) * 12 + i % 8 + 2]).collect();
                assert_eq!(plain, inner);
            }
        }
    }

    /// Crops and mirrors as the first version drew them: runs begun then go on, and golden runs stay.
    #[test]
    fn crops_and_mirrors_stay_what_they_were() {
        let (_root, data) = data();
        let drawn: Vec<_> = samples(&data.infos, &options(true, true), 2)
            .into_iter()
            .map(|s| (s.file, s.x, s.y, s.turn.mirror_x, s.turn.mirror_y, s.turn.transpose))
            .collect();
        assert_eq!(drawn, [(4, 4, 2, false, true, false), (6, 2, 1, true, true, false), (0, 3, 1, true, false, false)]);
    }

    #[test]
    fn a_file_that_breaks_is_reported_at_its_step_and_by_name() {
        let (root, data) = data();
        std::fs::write(root.path().join("t/4.png"), "gone bad").unwrap();
        let mut loader = Loader::new(data, options(false, false), 1, 9).unwrap();
        assert_eq!(loader.next().unwrap().unwrap().step, 1);
        let error = loader.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("t/4.png"), "{error}");
        assert!(loader.next().is_none());
    }

    #[test]
    fn a_picture_replaced_by_another_size_is_reported() {
        let (root, data) = data();
        save_png(&root.path().join("s/0.png"), &[0; 81], 9, 9, None).unwrap();
        let error = BatchMaker::new(data, options(false, false)).batch(1).unwrap_err().to_string();
        assert!(error.contains("12x10 and is now 9x9") && error.contains("s/0.png"), "{error}");
    }

    #[test]
    fn a_loader_that_is_dropped_early_ends_its_threads() {
        let (_root, data) = data();
        let mut loader = Loader::new(data, options(true, true), 1, u64::MAX - 1).unwrap();
        loader.next().unwrap().unwrap();
        // Joins the threads: a hang here fails the test by its time.
        drop(loader);
    }

    #[test]
    fn small_pictures_are_enlarged_before_random_crops_and_only_then() {
        let (_root, data) = data();
        let enlarge = |augment| LoaderOptions { enlarge: Some(15), ..options(true, augment) };
        let maker = BatchMaker::new(data.clone(), enlarge(true));
        assert_eq!((maker.infos[0].width, maker.infos[0].height), (18, 15));
        let batch = maker.batch(1).unwrap();
        // Values of neighbours are 1 and 12 apart, and linear in between: at 2/3 of the step but at the border.
        let steps: Vec<f32> = batch.source[..8].windows(2).map(|w| 255.0 * (w[1] - w[0])).collect();
        assert!(steps.iter().all(|step| step.abs() < 0.67) && steps.iter().any(|step| step.abs() > 0.66), "{steps:?}");
        for (grey, rgb) in batch.source.iter().zip(batch.target.chunks(3)) {
            // The same mean of the same values, in another order.
            assert!((grey - rgb[0]).abs() < 1e-6);
        }
        assert_eq!(
            BatchMaker::new(data.clone(), enlarge(false)).batch(1).unwrap(),
            BatchMaker::new(data, options(true, false)).batch(1).unwrap()
        );
    }

    #[test]
    fn images_give_their_lightness() {
        let (root, _) = data();
        let set = DataSource::Images(root.path().join("t")).validate(8, None).unwrap();
        let batch = BatchMaker::new(set, options(false, false)).batch(1).unwrap();
        let lab = crate::imaging::color::srgb_to_lab([batch.target[0], batch.target[1], batch.target[2]]);
        assert_eq!(batch.source[0], lab[0] / 100.0);
    }
}
