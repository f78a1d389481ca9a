//! `metrics.jsonl`: the numbers of a run, one JSON object a step, to be read by people, scripts and the report.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::files::{io_error, write_whole};

/// The numbers of one optimiser step.
///
/// As a JSON object the keys stand in the order of the fields: `step`, the losses, `seconds`, `images_per_s`, `lr`,
/// `epoch`, `time`, and what is further. Numbers have the fewest digits that read back to the same value; NaN and
/// infinities, which JSON does not know, become `null`.
#[derive(Debug, Clone, Copy)]
pub struct StepMetrics<'a> {
    /// Optimiser updates so far, this one included: from 1.
    pub step: u64,
    /// Losses of the batch before its update, by name: `loss`, or `g_loss`, `d_loss` and `l1`.
    pub losses: &'a [(&'a str, f32)],
    /// Wall time of the step in seconds, waiting for data included.
    pub seconds: f64,
    /// Images of the batch a second of that time.
    pub images_per_s: f64,
    /// Learning rate of the update.
    pub lr: f64,
    /// The pass over the data that it belongs to, from 1.
    pub epoch: u64,
    /// When it was done, in seconds since 1970, UTC.
    pub time: f64,
    /// What only some runs or steps have, by name: `val_loss`, `val_ab_error`.
    pub further: &'a [(&'a str, f64)],
}

impl StepMetrics<'_> {
    /// Its numbers by name, but for when it was done.
    pub fn values(&self) -> impl Iterator<Item = (&str, f32)> {
        let own = [
            ("seconds", self.seconds),
            ("images_per_s", self.images_per_s),
            ("lr", self.lr),
            ("epoch", self.epoch as f64),
        ];
        let others = own.into_iter().chain(self.further.iter().copied()).map(|(name, value)| (name, value as f32));
        self.losses.iter().copied().chain(others)
    }
}

impl Serialize for StepMetrics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("step", &self.step)?;
        for (name, loss) in self.losses {
            map.serialize_entry(name, loss)?;
        }
        map.serialize_entry("seconds", &self.seconds)?;
        map.serialize_entry("images_per_s", &self.images_per_s)?;
        map.serialize_entry("lr", &self.lr)?;
        map.serialize_entry("epoch", &self.epoch)?;
        map.serialize_entry("time", &self.time)?;
        for (name, value) in self.further {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Appends to `metrics.jsonl`.
///
/// Each line reaches the system in one write, so that a process killed at any moment leaves at most one broken line,
/// the last, which [`cut_back`] drops.
#[derive(Debug)]
pub struct MetricsWriter {
    path: PathBuf,
    file: File,
}

impl MetricsWriter {
    /// Goes on after step `step` of the file at `path`: cut back to it ([`cut_back`]), or made when there is none. A
    /// new run goes on after step 0.
    ///
    /// # Errors
    ///
    /// Those of [`cut_back`], and a file that cannot be opened for writing.
    pub fn open(path: impl Into<PathBuf>, step: u64) -> Result<Self> {
        let path = path.into();
        cut_back(&path, step)?;
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|error| io_error("cannot write", &path, &error))?;
        Ok(MetricsWriter { path, file })
    }

    /// Appends one step.
    ///
    /// # Errors
    ///
    /// A disk that is full, or what else the system said.
    pub fn append(&mut self, metrics: &StepMetrics) -> Result<()> {
        let line = serde_json::to_string(metrics).map_err(io::Error::from).map(|line| line + "\n");
        let written = line.and_then(|line| self.file.write_all(line.as_bytes()));
        written.map_err(|error| io_error("cannot write", &self.path, &error))
    }
}

/// Cuts the file at `path` back to the lines with a step of at most `step`; a last line that a killed process left
/// broken goes too. The file is replaced whole, and left as it is when nothing is to go or when there is none.
///
/// # Errors
///
/// A broken line before the last, or a file that cannot be read or replaced.
pub fn cut_back(path: &Path, step: u64) -> Result<()> {
    let Some(text) = read(path)? else { return Ok(()) };
    let mut kept = String::with_capacity(text.len());
    for (line, object) in parse(path, &text)? {
        if step_of(&object).is_some_and(|at| at <= step) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    if kept == text { Ok(()) } else { write_whole(path, kept.as_bytes()) }
}

/// The numbers of a run by column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    /// Steps in the order of the lines.
    pub steps: Vec<u64>,
    /// One value a step for each key that any line has; NaN where a line lacks it or holds `null`.
    columns: BTreeMap<String, Vec<f64>>,
}

impl Metrics {
    /// Reads the file at `path`; a broken last line is left out.
    ///
    /// # Errors
    ///
    /// No such file, or a broken line before the last.
    pub fn read(path: &Path) -> Result<Metrics> {
        let text = fs::read_to_string(path).map_err(|error| io_error("cannot read", path, &error))?;
        let mut metrics = Metrics::default();
        for (_, object) in parse(path, &text)? {
            let row = metrics.steps.len();
            metrics.steps.push(step_of(&object).unwrap_or_default());
            for (name, value) in object.into_iter().filter(|(name, _)| name != "step") {
                let column = metrics.columns.entry(name).or_default();
                column.resize(row, f64::NAN);
                column.push(value.as_f64().unwrap_or(f64::NAN));
            }
        }
        for column in metrics.columns.values_mut() {
            column.resize(metrics.steps.len(), f64::NAN);
        }
        Ok(metrics)
    }

    /// A run whose updates have one value each.
    #[cfg(test)]
    pub(super) fn of_column(name: &str, values: Vec<f64>) -> Metrics {
        Metrics { steps: (1..=values.len() as u64).collect(), columns: BTreeMap::from([(name.to_owned(), values)]) }
    }

    /// The updates in order, each with its values by name.
    pub fn updates(&self) -> impl Iterator<Item = (u64, Vec<(&str, f32)>)> {
        self.steps.iter().enumerate().map(|(row, &step)| {
            (step, self.columns.iter().map(|(name, values)| (name.as_str(), values[row] as f32)).collect())
        })
    }

    /// The column `name`, one value a step, NaN where there is none; `None` when no line has the key.
    pub fn column(&self, name: &str) -> Option<&[f64]> {
        self.columns.get(name).map(Vec::as_slice)
    }

    /// The points (step, value) of column `name`, for a curve; steps without a value are left out.
    pub fn points(&self, name: &str) -> Vec<(f64, f64)> {
        let column = self.column(name).unwrap_or_default();
        let points = self.steps.iter().zip(column).map(|(&step, &value)| (step as f64, value));
        points.filter(|point| point.1.is_finite()).collect()
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("cannot read", path, &error)),
    }
}

/// The lines of `text` with the objects that they hold, without a broken last line.
fn parse<'a>(path: &Path, text: &'a str) -> Result<Vec<(&'a str, Map<String, Value>)>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut parsed = Vec::with_capacity(lines.len());
    for (i, line) in lines.iter().enumerate() {
        match serde_json::from_str::<Map<String, Value>>(line) {
            Ok(object) if step_of(&object).is_some() => parsed.push((*line, object)),
            _ if i + 1 == lines.len() => {}
            _ => {
                let place = format!("{} line {}", path.display(), i + 1);
                return Err(Error::input("not the metrics of a step", place, "repair or remove this line"));
            }
        }
    }
    Ok(parsed)
}

fn step_of(object: &Map<String, Value>) -> Option<u64> {
    object.get("step")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step<'a>(step: u64, losses: &'a [(&'a str, f32)], further: &'a [(&'a str, f64)]) -> StepMetrics<'a> {
        StepMetrics { step, losses, seconds: 0.25, images_per_s: 16.0, lr: 1e-4, epoch: 3, time: 1.5, further }
    }

    fn written(steps: &[StepMetrics]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut writer = MetricsWriter::open(&path, 0).unwrap();
        steps.iter().for_each(|step| writer.append(step).unwrap());
        (folder, path)
    }

    #[test]
    fn a_line_has_its_keys_in_order_and_numbers_that_read_back() {
        let losses = [("g_loss", 0.1f32), ("d_loss", 1e-30), ("l1", 16777216.0)];
        let (_folder, path) = written(&[step(7, &losses, &[("lr_d", 4e-4)])]);
        let want = "{\"step\":7,\"g_loss\":0.1,\"d_loss\":1e-30,\"l1\":16777216.0,\"seconds\":0.25,\
                    \"images_per_s\":16.0,\"lr\":0.0001,\"epoch\":3,\"time\":1.5,\"lr_d\":0.0004}\n";
        assert_eq!(fs::read_to_string(path).unwrap(), want);
    }

    #[test]
    fn losses_read_back_to_the_same_f32() {
        let rng = crate::random::Rng::new(1, crate::random::Stream::Test, 0);
        let losses: Vec<f32> = (0..500).map(|i| f32::from_bits(rng.word(i))).filter(|loss| loss.is_finite()).collect();
        let pairs: Vec<[(&str, f32); 1]> = losses.iter().map(|&loss| [("loss", loss)]).collect();
        let steps: Vec<StepMetrics> = pairs.iter().map(|pair| step(1, pair, &[])).collect();
        let (_folder, path) = written(&steps);
        let read: Vec<f32> = Metrics::read(&path).unwrap().column("loss").unwrap().iter().map(|&x| x as f32).collect();
        assert_eq!(read, losses);
    }

    #[test]
    fn nan_is_written_as_null_and_read_as_nan() {
        let (_folder, path) = written(&[step(1, &[("loss", f32::NAN)], &[("val_psnr", f64::INFINITY)])]);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"loss\":null") && text.contains("\"val_psnr\":null"), "{text}");
        let metrics = Metrics::read(&path).unwrap();
        assert!(metrics.column("loss").unwrap()[0].is_nan());
        assert!(metrics.points("loss").is_empty());
    }

    #[test]
    fn columns_line_up_when_only_some_steps_have_a_value() {
        let losses = [("loss", 2.5f32)];
        let (_folder, path) =
            written(&[step(1, &losses, &[]), step(2, &losses, &[("val_loss", 3.0)]), step(3, &losses, &[])]);
        let metrics = Metrics::read(&path).unwrap();
        assert_eq!(metrics.steps, [1, 2, 3]);
        assert_eq!(metrics.points("val_loss"), [(2.0, 3.0)]);
        assert_eq!(metrics.column("val_loss").unwrap().len(), 3);
        assert_eq!(metrics.column("loss").unwrap(), [2.5; 3]);
        assert!(metrics.column("g_loss").is_none() && metrics.points("g_loss").is_empty());
    }

    #[test]
    fn going_on_after_a_kill_at_any_byte_gives_the_file_of_an_unbroken_run() {
        let losses = [("loss", 1.5f32)];
        let (_folder, path) = written(&[1, 2, 3, 4].map(|at| step(at, &losses, &[])));
        let whole = fs::read(&path).unwrap();
        let second_end = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
        for length in second_end..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let mut writer = MetricsWriter::open(&path, 2).unwrap();
            [3, 4].iter().for_each(|&at| writer.append(&step(at, &losses, &[])).unwrap());
            assert_eq!(fs::read(&path).unwrap(), whole, "cut at byte {length}");
        }
    }

    #[test]
    fn a_last_line_that_lost_only_its_end_of_line_is_kept() {
        let (_folder, path) = written(&[step(1, &[("loss", 1.0)], &[])]);
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, whole.trim_end()).unwrap();
        cut_back(&path, 1).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    }

    #[test]
    fn cutting_back_nothing_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        cut_back(&path, 9).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_broken_line_in_the_middle_is_reported_with_its_number() {
        let (_folder, path) = written(&[step(1, &[("loss", 1.0)], &[])]);
        let line = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{line}{{\"step\":2,\n{line}")).unwrap();
        for error in [cut_back(&path, 9).unwrap_err(), Metrics::read(&path).unwrap_err()] {
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("metrics.jsonl line 2"), "{error}");
        }
    }
}
