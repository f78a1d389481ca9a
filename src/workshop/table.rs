//! The table of bodies that were measured to be the fastest, in a file.

use crate::engine::device::{AnyKernel, Device, Tuned, texts, wgsl};
use crate::error::{Error, Result};
use crate::workshop::cache::{self, key};
use crate::workshop::catalogue::kernel;
use crate::workshop::tune::Found;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Adapter and driver, kernel, what is known of it.
type Table = BTreeMap<String, BTreeMap<String, Known>>;

/// What is known of a kernel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Known {
    /// Hash of the texts of its bodies, snippets included, as they were measured.
    texts: String,
    /// By shape class.
    shapes: BTreeMap<String, Winner>,
}

/// The fastest body of a shape class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Winner {
    /// Its name.
    pub body: String,
    /// The body that would run otherwise.
    pub instead_of: String,
    /// Its time as a share of that one's.
    pub ratio: f64,
    /// When it was measured: seconds since 1970.
    pub measured: u64,
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Adapter and driver.
    pub device: String,
    /// Name of the kernel.
    pub kernel: String,
    /// The shape class.
    pub class: String,
    /// What is known.
    pub winner: Winner,
    /// Whether it holds: the kernel has the texts that were measured.
    pub holds: bool,
}

/// The file of the table; `None` where there is no folder for it.
pub fn file() -> Option<PathBuf> {
    cache::file("tune.json")
}

/// What holds for a device. A file that is missing or damaged holds nothing.
pub fn tuned(file: Option<&Path>, device: &Device) -> Tuned {
    let mut tuned = Tuned::default();
    // Where there is none, this is all.
    let Some(text) = file.and_then(|file| std::fs::read_to_string(file).ok()) else { return tuned };
    let kernels = parse(&text).remove(&key(device)).unwrap_or_default();
    for (name, known) in kernels.iter().filter(|(name, known)| holds(name, known)) {
        for (class, winner) in &known.shapes {
            tuned.insert(name, class, &winner.body);
        }
    }
    tuned
}

/// Every line of the table.
pub fn lines(file: Option<&Path>) -> Vec<Line> {
    let mut lines = Vec::new();
    for (device, kernels) in read(file) {
        for (kernel, known) in kernels {
            let holds = holds(&kernel, &known);
            lines.extend(known.shapes.into_iter().map(|(class, winner)| {
                let (device, kernel) = (device.clone(), kernel.clone());
                Line { device, kernel, class, winner, holds }
            }));
        }
    }
    lines
}

/// Puts what was found for a device into the table: winners, and of what was measured without one that nothing holds.
///
/// # Errors
/// No folder for the file, or one that cannot be written.
pub fn keep(file: Option<&Path>, device: &Device, found: &[Found]) -> Result<()> {
    let file = file.ok_or_else(no_folder)?;
    let mut table = read(Some(file));
    let kernels = table.entry(key(device)).or_default();
    let measured = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    for found in found {
        let Some(texts) = kernel(&found.kernel).ok().and_then(|(_, kernel)| hash(kernel)) else { continue };
        let known = kernels.entry(found.kernel.clone()).or_default();
        if known.texts != texts {
            *known = Known { texts, ..Known::default() };
        }
        known.shapes.remove(&found.class);
        if let Some((body, ratio)) = found.winner() {
            let (body, instead_of) = (body.to_owned(), found.heuristic.clone());
            let ratio = (ratio.median * 1e3).round() / 1e3;
            known.shapes.insert(found.class.clone(), Winner { body, instead_of, ratio, measured });
        }
    }
    write(file, table)
}

/// Forgets what is known of a device, of all where none is given; how many lines went.
///
/// # Errors
/// A file that cannot be written.
pub fn forget(file: Option<&Path>, device: Option<&Device>) -> Result<usize> {
    let mut table = read(file);
    let before = count(&table);
    match device {
        Some(device) => drop(table.remove(&key(device))),
        None => table.clear(),
    }
    let gone = before - count(&table);
    match file {
        Some(file) if gone > 0 => write(file, table).map(|()| gone),
        _ => Ok(gone),
    }
}

fn count(table: &Table) -> usize {
    table.values().flat_map(BTreeMap::values).map(|known| known.shapes.len()).sum()
}

fn no_folder() -> Error {
    Error::input("there is no folder to keep the table in", "HUETAPE_CACHE", "set it to one")
}

fn read(file: Option<&Path>) -> Table {
    file.and_then(|file| std::fs::read_to_string(file).ok()).map(|text| parse(&text)).unwrap_or_default()
}

fn parse(text: &str) -> Table {
    serde_json::from_str(text).unwrap_or_default()
}

fn write(file: &Path, mut table: Table) -> Result<()> {
    table.values_mut().for_each(|kernels| kernels.retain(|_, known| !known.shapes.is_empty()));
    table.retain(|_, kernels| !kernels.is_empty());
    if table.is_empty() && !file.exists() {
        return Ok(());
    }
    cache::write(file, &serde_json::json!(table))
}

fn holds(name: &str, known: &Known) -> bool {
    kernel(name).ok().and_then(|(_, kernel)| hash(kernel)).is_some_and(|hash| hash == known.texts)
}

/// A hash of the texts of all bodies of a kernel (FNV-1a); `None` where one does not compose.
fn hash(kernel: &dyn AnyKernel) -> Option<String> {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for text in texts(kernel) {
        let composed = wgsl::compose(kernel.name(), text.source, &[]).ok()?;
        for byte in text.body.bytes().chain(composed.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    Some(format!("{hash:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workshop::compare::Ratio;
    use crate::workshop::tune::Other;

    fn found(class: &str, median: f64) -> Found {
        Found {
            kernel: "conv2d".to_owned(),
            class: class.to_owned(),
            launches: 1,
            heuristic: "quads".to_owned(),
            seconds: 1e-3,
            others: [("scalars".to_owned(), Other::Timed(Ratio { median, deviation: 0.0 }))].into(),
        }
    }

    #[test]
    fn what_was_found_is_kept_until_the_text_changes_or_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/tune.json");
        let (file, device) = (Some(path.as_path()), Device::cpu());
        assert!(tuned(file, &device).is_empty() && lines(file).is_empty() && !path.exists());
        keep(file, &device, &[found("1x8", 0.8), found("1x16", 0.97)]).unwrap();
        let of = |tuned: Tuned| tuned.iter().map(|(k, c, b)| format!("{k} {c} {b}")).collect::<Vec<_>>();
        assert_eq!(of(tuned(file, &device)), ["conv2d 1x8 scalars"]);
        // Measured again, it no longer wins.
        keep(file, &device, &[found("1x8", 1.0), found("1x32", 0.5)]).unwrap();
        assert_eq!(of(tuned(file, &device)), ["conv2d 1x32 scalars"]);
        let line = lines(file).remove(0);
        assert!(line.holds && line.winner.ratio == 0.5 && line.winner.instead_of == "quads", "{line:?}");

        let text = std::fs::read_to_string(&path).unwrap();
        let digits = hash(kernel("conv2d").unwrap().1).unwrap();
        assert!(text.contains(&digits), "{text}");
        let plant = |text: &str| std::fs::write(&path, text).unwrap();
        plant(&text.replace(&digits, "0123456789abcdef"));
        assert!(tuned(file, &device).is_empty() && !lines(file)[0].holds);
        for damaged in ["", "{", "[]", &text.replace("\"body\"", "\"bod\""), &text[..text.len() / 2]] {
            plant(damaged);
            assert!(tuned(file, &device).is_empty(), "{damaged}");
        }
        plant(&text.replace(&key(&device), "another adapter"));
        assert!(tuned(file, &device).is_empty());
        assert_eq!(forget(file, Some(&device)).unwrap(), 0);
        keep(file, &device, &[found("1x8", 0.8)]).unwrap();
        assert_eq!(forget(file, Some(&device)).unwrap(), 1);
        assert_eq!(lines(file)[0].device, "another adapter");
        assert_eq!((forget(file, None).unwrap(), lines(file).len()), (1, 0));
    }
}
