//! TensorBoard event files: what `metrics.jsonl` and the sample images of a run say, as TensorBoard reads it.
//!
//! They are a view of the run and nothing of their own: a run that goes on writes its file anew, from its metrics and
//! samples cut back to the checkpoint, and goes on from there. So every step stands there once, whatever was killed
//! when, and a run that gets them late has them from its first step.
//!
//! A file is a row of TFRecords: the length of a message as u64, its checksum, the message, its checksum, all
//! little-endian. A message is an `Event` in the encoding of protocol buffers; the few fields that are needed are
//! written by hand. Source: `tensorflow/core/util/event.proto`, `framework/summary.proto`, `lib/io/record_writer.h`.

use crate::error::Result;
use crate::files::{io_error, write_whole};
use crate::train::metrics::Metrics;
use crate::train::run_dir::{RunDir, SampleFile};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether runs can have event files; the small static program leaves them out.
pub const EVENTS: bool = cfg!(feature = "tensorboard");

/// Appends to a run's event file.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl EventWriter {
    /// Begins the event file of a run, with all that its metrics and samples hold so far, and removes earlier ones. Of
    /// the last an empty one stays: a TensorBoard that is reading it goes on to the next only where it is still there.
    ///
    /// # Errors
    /// Metrics or samples that cannot be read, a disk that is full.
    pub fn open(dir: &RunDir) -> Result<Self> {
        let mut earlier = dir.event_files()?;
        // A later name than theirs: a TensorBoard that is running takes files in the order of their names.
        let second = earlier.last().map_or(0, |last| last + 1).max(now() as u64);
        let path = dir.events(second);
        let file = File::create_new(&path).map_err(|error| io_error("cannot write", &path, &error))?;
        let mut writer = EventWriter { path, file: BufWriter::new(file) };
        let metrics = Metrics::read(&dir.metrics())?;
        let times = metrics.column("time").unwrap_or_default();
        let begun = times.first().copied().unwrap_or_else(now);
        let version = event(begun, 0, &text(FILE_VERSION, VERSION));
        writer.put(&version)?;
        // What a TensorBoard that is running shows of an earlier file is void from this step on.
        writer.put(&event(begun, 1, &message(SESSION_LOG, &number(STATUS, START))))?;
        let samples = dir.sample_files()?;
        for ((step, values), &time) in metrics.updates().zip(times) {
            writer.values(step, time, values.into_iter())?;
            writer.samples(step, time, samples.iter().filter(|sample| sample.step == step))?;
        }
        writer.flush()?;
        if let Some(last) = earlier.pop() {
            write_whole(&dir.events(last), &record(&version))?;
        }
        earlier.into_iter().try_for_each(|second| dir.remove_events(second))?;
        Ok(writer)
    }

    /// Appends the numbers of a step, by the names that they have in `metrics.jsonl`. `time`: seconds since 1970, UTC.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn step<'a>(&mut self, step: u64, time: f64, values: impl Iterator<Item = (&'a str, f32)>) -> Result<()> {
        self.values(step, time, values)?;
        self.flush()
    }

    /// Appends the sample images of a step, which lie in the run's folder.
    ///
    /// # Errors
    /// Samples that cannot be read, a disk that is full.
    pub fn sampled(&mut self, dir: &RunDir, step: u64) -> Result<()> {
        let samples = dir.sample_files()?;
        self.samples(step, now(), samples.iter().filter(|sample| sample.step == step))?;
        self.flush()
    }

    fn values<'a>(&mut self, step: u64, time: f64, values: impl Iterator<Item = (&'a str, f32)>) -> Result<()> {
        let value = |(name, value): (&str, f32)| {
            let tag = tag(name).filter(|_| value.is_finite())?;
            Some(message(VALUE, &[text(TAG, &tag), float(SIMPLE_VALUE, value)].concat()))
        };
        let summary: Vec<u8> = values.filter_map(value).flatten().collect();
        self.put(&event(time, step, &message(SUMMARY, &summary)))
    }

    fn samples<'a>(&mut self, step: u64, time: f64, samples: impl Iterator<Item = &'a SampleFile>) -> Result<()> {
        for sample in samples {
            let png = sample.read()?;
            let [width, height] = size_of_png(&png);
            let size = [number(HEIGHT, height), number(WIDTH, width), number(COLORSPACE, RGB)].concat();
            let image = [size, message(ENCODED, &png)].concat();
            let value = [text(TAG, &format!("samples/{}", sample.number)), message(IMAGE, &image)].concat();
            self.put(&event(time, step, &message(SUMMARY, &message(VALUE, &value))))?;
        }
        Ok(())
    }

    fn put(&mut self, event: &[u8]) -> Result<()> {
        self.file.write_all(&record(event)).map_err(|error| self.failed(&error))
    }

    /// Hands on what was written: a process that is killed leaves at most one record broken, the last.
    fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> crate::Error {
        io_error("cannot write", &self.path, error)
    }
}

/// Seconds since 1970, UTC.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Under which name TensorBoard shows a number of `metrics.jsonl`, the part before the slash being its heading; `None`
/// for the clock and what the steps tell already.
fn tag(name: &str) -> Option<String> {
    match name {
        "time" | "seconds" | "epoch" => None,
        "images_per_s" => Some(format!("rates/{name}")),
        _ if name == "lr" || name.starts_with("lr_") => Some(format!("rates/{name}")),
        _ => match name.strip_prefix("val_") {
            Some(figure) => Some(format!("validation/{figure}")),
            None => Some(format!("losses/{name}")),
        },
    }
}

/// Width and height of a PNG, by its header.
fn size_of_png(png: &[u8]) -> [u64; 2] {
    [16, 20].map(|at| png.get(at..at + 4).map_or(0, |be| be.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))))
}

// Fields of Event, Summary, Summary.Value, Summary.Image and SessionLog.
const WALL_TIME: u8 = 1;
const STEP: u8 = 2;
const FILE_VERSION: u8 = 3;
const SUMMARY: u8 = 5;
const SESSION_LOG: u8 = 7;
const VALUE: u8 = 1;
const TAG: u8 = 1;
const SIMPLE_VALUE: u8 = 2;
const IMAGE: u8 = 4;
const HEIGHT: u8 = 1;
const WIDTH: u8 = 2;
const COLORSPACE: u8 = 3;
const ENCODED: u8 = 4;
const STATUS: u8 = 1;

/// What the first event of a file says.
const VERSION: &str = "brain.Event:2";
/// Of `SessionLog.status`.
const START: u64 = 1;
/// Of `Image.colorspace`.
const RGB: u64 = 3;

// How a field is encoded: the low three bits of its key.
const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const BYTES: u8 = 2;
const FIXED_32: u8 = 5;

/// A message of all files: when, at which step, and one field more.
fn event(time: f64, step: u64, what: &[u8]) -> Vec<u8> {
    let clock = [&[key(WALL_TIME, FIXED_64)][..], &time.to_le_bytes()].concat();
    [&clock, &number(STEP, step), what].concat()
}

/// All fields that are written have numbers below 16, so that a key is one byte.
fn key(field: u8, encoding: u8) -> u8 {
    field << 3 | encoding
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn number(field: u8, value: u64) -> Vec<u8> {
    [vec![key(field, VARINT)], varint(value)].concat()
}

fn float(field: u8, value: f32) -> Vec<u8> {
    [&[key(field, FIXED_32)][..], &value.to_le_bytes()].concat()
}

fn message(field: u8, bytes: &[u8]) -> Vec<u8> {
    [&[key(field, BYTES)], &varint(bytes.len() as u64)[..], bytes].concat()
}

fn text(field: u8, text: &str) -> Vec<u8> {
    message(field, text.as_bytes())
}

fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length).to_le_bytes(), event, &masked_crc(event).to_le_bytes()].concat()
}

/// The checksum of a record: CRC-32C, rotated and shifted, so that bytes that hold a checksum have another one.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), reflected.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| (crc >> 8) ^ CRC[usize::from(crc as u8 ^ byte)])
}

/// What each byte does to a checksum.
const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let (mut crc, mut bit) = (i as u32, 0);
        while bit < 8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        assert_eq!(crc(b"123456789"), 0xe306_9283);
        assert_eq!(crc(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    /// The bytes that `tensorboard.compat.proto` and its record writer make of the same event:
    /// `Event(wall_time=1.5, step=300, summary=Summary(value=[Summary.Value(tag="losses/loss", simple_value=0.25)]))`.
    #[test]
    fn a_record_is_what_tensorboard_itself_writes() {
        let value = [text(TAG, "losses/loss"), float(SIMPLE_VALUE, 0.25)].concat();
        let made = record(&event(1.5, 300, &message(SUMMARY, &message(VALUE, &value))));
        let hex: String = made.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "220000000000000078113dfd09000000000000f83f10ac022a140a120a0b6c6f737365732f6c6f7373150000803ee59a1786"
        );
    }

    #[test]
    fn numbers_stand_under_headings_and_the_clock_nowhere() {
        let tags =
            ["loss", "g_loss", "lr", "lr_d", "images_per_s", "val_psnr", "val_loss"].map(|name| tag(name).unwrap());
        let expected = ["losses/loss", "losses/g_loss", "rates/lr", "rates/lr_d", "rates/images_per_s"];
        assert_eq!(tags[..5], expected);
        assert_eq!(tags[5..], ["validation/psnr", "validation/loss"]);
        assert!(["time", "seconds", "epoch"].iter().all(|name| tag(name).is_none()));
    }
}
