//! The directories of a TIFF file: what entries it has, and their values. Classic TIFF and BigTIFF, either byte order.
//!
//! Sources: TIFF 6.0 (Adobe, 1992), section 2; the BigTIFF design (libtiff).

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Seek, SeekFrom};

use crate::imaging::fault::{Fault, Outcome, damaged};

/// One entry of a directory as the file has it, in little-endian order: carried from a raster to another untouched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTag {
    /// The number that names the tag.
    pub tag: u16,
    /// The TIFF type of the values: 2 ASCII, 3 SHORT, 12 DOUBLE, and so on.
    pub field_type: u16,
    /// The values, little-endian.
    pub bytes: Vec<u8>,
}

/// Bytes of a value of a TIFF type, 0 for an unknown one.
pub(super) fn type_bytes(field_type: u16) -> usize {
    match field_type {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 0,
    }
}

/// Bytes that swap as one: a rational is two numbers of four bytes.
fn word_bytes(field_type: u16) -> usize {
    if matches!(field_type, 5 | 10) { 4 } else { type_bytes(field_type) }
}

impl RawTag {
    /// How many values it holds.
    pub fn count(&self) -> usize {
        self.bytes.len() / type_bytes(self.field_type).max(1)
    }

    /// The values of a BYTE, SHORT, LONG, IFD or LONG8 tag.
    pub(super) fn unsigned(&self) -> Outcome<Vec<u64>> {
        let size = type_bytes(self.field_type);
        if !matches!(self.field_type, 1 | 3 | 4 | 13 | 16 | 18) {
            return damaged(format!("tag {} is not an unsigned number", self.tag));
        }
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Ok(self.bytes.chunks_exact(size).map(number).collect())
    }

    /// The text of an ASCII tag, up to its first NUL; bytes that are not UTF-8 are replaced.
    pub(super) fn text(&self) -> String {
        let end = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(self.bytes.len());
        String::from_utf8_lossy(&self.bytes[..end]).trim().to_string()
    }
}

/// Where an entry's values are.
#[derive(Debug, Clone, Copy)]
struct Entry {
    field_type: u16,
    count: u64,
    /// The field itself if the values fit, else their offset in the file's order.
    field: [u8; 8],
}

/// A TIFF file: its byte order, its kind and its directories.
pub(super) struct Tiff<R> {
    file: R,
    /// Bytes of the file.
    pub length: u64,
    pub little_endian: bool,
    big: bool,
    pub directories: Vec<Directory>,
}

/// The entries of one directory by tag.
pub(super) struct Directory(BTreeMap<u16, Entry>);

/// No sane file has more directories: pages, overviews and masks together.
const MAX_DIRECTORIES: usize = 4096;

impl<R: Read + Seek> Tiff<R> {
    /// Reads the header and all directories.
    pub fn new(mut file: R) -> Outcome<Self> {
        let length = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let mut head = [0; 4];
        file.read_exact(&mut head).map_err(|_| Fault::NotTiff)?;
        let (little_endian, big) = match &head {
            b"II\x2A\0" => (true, false),
            b"II\x2B\0" => (true, true),
            b"MM\0\x2A" => (false, false),
            b"MM\0\x2B" => (false, true),
            _ => return Err(Fault::NotTiff),
        };
        let mut tiff = Tiff { file, length, little_endian, big, directories: Vec::new() };
        if big && (tiff.number(2)?, tiff.number(2)?) != (8, 0) {
            return damaged("the BigTIFF header has offsets of another size");
        }
        let mut next = tiff.offset()?;
        let mut seen = HashSet::new();
        while next != 0 {
            if !seen.insert(next) || seen.len() > MAX_DIRECTORIES {
                return damaged("its directories run in a circle");
            }
            tiff.file.seek(SeekFrom::Start(next))?;
            next = tiff.read_directory()?;
        }
        Ok(tiff)
    }

    /// Reads one directory at the current position; returns the offset of the next.
    fn read_directory(&mut self) -> Outcome<u64> {
        let count = if self.big { self.number(8)? } else { self.number(2)? };
        if count > u64::from(u16::MAX) {
            return damaged(format!("a directory of {count} entries"));
        }
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let (tag, field_type) = (self.number(2)? as u16, self.number(2)? as u16);
            let count = self.offset()?;
            let mut field = [0; 8];
            let size = if self.big { 8 } else { 4 };
            self.file.read_exact(&mut field[..size])?;
            // The first of two equal tags is the one that other readers take.
            entries.entry(tag).or_insert(Entry { field_type, count, field });
        }
        self.directories.push(Directory(entries));
        self.offset()
    }

    /// The entry `tag` of directory `index`, if it is there.
    pub fn find(&mut self, index: usize, tag: u16) -> Outcome<Option<RawTag>> {
        let Some(&Entry { field_type, count, field }) = self.directories[index].0.get(&tag) else {
            return Ok(None);
        };
        let size = count.saturating_mul(type_bytes(field_type) as u64);
        if size == 0 {
            return damaged(format!("tag {tag} has no value of a known type"));
        }
        if size > self.length {
            return Err(Fault::Truncated);
        }
        let mut bytes = vec![0; size as usize];
        let in_field = if self.big { 8 } else { 4 };
        if bytes.len() <= in_field {
            bytes.copy_from_slice(&field[..size as usize]);
        } else {
            let at = self.decoded(&field[..in_field]);
            self.file.seek(SeekFrom::Start(at))?;
            self.file.read_exact(&mut bytes)?;
        }
        if !self.little_endian {
            bytes.chunks_exact_mut(word_bytes(field_type)).for_each(<[u8]>::reverse);
        }
        Ok(Some(RawTag { tag, field_type, bytes }))
    }

    /// All values of an unsigned tag.
    pub fn unsigned(&mut self, index: usize, tag: u16) -> Outcome<Option<Vec<u64>>> {
        self.find(index, tag)?.map(|raw| raw.unsigned()).transpose()
    }

    /// The first value of an unsigned tag, or `default` where the tag is missing.
    pub fn first(&mut self, index: usize, tag: u16, default: u64) -> Outcome<u64> {
        Ok(self.unsigned(index, tag)?.map_or(default, |values| values[0]))
    }

    /// The file itself.
    pub fn into_file(self) -> R {
        self.file
    }

    fn decoded(&self, bytes: &[u8]) -> u64 {
        let join = |sum, byte: &u8| sum << 8 | u64::from(*byte);
        if self.little_endian { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) }
    }

    fn number(&mut self, size: usize) -> Outcome<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact(&mut bytes[..size])?;
        Ok(self.decoded(&bytes[..size]))
    }

    /// An offset or a count: 4 bytes, in BigTIFF 8.
    fn offset(&mut self) -> Outcome<u64> {
        self.number(if self.big { 8 } else { 4 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// One directory with the entry ImageWidth = 7 and a DOUBLE outside of it, in the order and size asked for.
    fn file(little_endian: bool, big: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |value: u64, size: usize| {
            let all = value.to_le_bytes();
            match little_endian {
                true => bytes.extend_from_slice(&all[..size]),
                false => bytes.extend(all[..size].iter().rev()),
            }
        };
        let word = if big { 8 } else { 4 };
        put(if little_endian { 0x4949 } else { 0x4D4D }, 2);
        if big {
            put(43, 2);
            put(8, 2);
            put(0, 2);
        } else {
            put(42, 2);
        }
        let start = if big { 16 } else { 8 };
        put(start, word);
        put(2, if big { 8 } else { 2 });
        // ImageWidth, SHORT, one value, left-aligned in its field.
        for (value, size) in [(256, 2), (3, 2), (1, word), (7, 2), (0, word - 2)] {
            put(value, size);
        }
        // ModelPixelScale, two DOUBLEs behind the directory.
        let behind = if big { 16 + 8 + 2 * 20 + 8 } else { 8 + 2 + 2 * 12 + 4 };
        for (value, size) in [(33550, 2), (12, 2), (2, word), (behind, word), (0, word)] {
            put(value, size);
        }
        put(1.5f64.to_bits(), 8);
        put((-2.0f64).to_bits(), 8);
        bytes
    }

    #[test]
    fn both_orders_and_both_sizes_give_the_same_values() {
        for (little_endian, big) in [(true, false), (true, true), (false, false), (false, true)] {
            let mut tiff = Tiff::new(Cursor::new(file(little_endian, big))).unwrap();
            assert_eq!(tiff.first(0, 256, 0).unwrap(), 7, "little {little_endian}, big {big}");
            let scale = tiff.find(0, 33550).unwrap().unwrap();
            assert_eq!((scale.field_type, scale.count()), (12, 2));
            assert_eq!(scale.bytes, [1.5f64.to_le_bytes(), (-2.0f64).to_le_bytes()].concat());
            assert!(tiff.find(0, 257).unwrap().is_none());
        }
    }

    #[test]
    fn a_directory_that_names_itself_as_the_next_is_damaged() {
        let mut bytes = file(true, false);
        let next = 8 + 2 + 2 * 12;
        bytes[next] = 8;
        assert!(matches!(Tiff::new(Cursor::new(bytes)), Err(Fault::Damaged(_))));
    }

    #[test]
    fn every_cut_is_an_error_and_no_panic() {
        let bytes = file(true, true);
        for end in 0..bytes.len() {
            let read = Tiff::new(Cursor::new(&bytes[..end])).and_then(|mut tiff| tiff.find(0, 33550));
            assert!(read.is_err(), "cut at {end}");
        }
    }
}
