//! Zip archives that lie in memory: their list, and entries that are stored or deflated.

use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::io::Read;

/// The record at the end, without its comment.
const END: &[u8; 4] = b"PK\x05\x06";
const END_LEN: usize = 22;
/// The longest comment behind it.
const MOST_COMMENT: usize = 65_535;
/// What stands before the record of an archive of 64 bits.
const END64_PLACE: &[u8; 4] = b"PK\x06\x07";
const END64: &[u8; 4] = b"PK\x06\x06";
const ENTRY: &[u8; 4] = b"PK\x01\x02";
const ENTRY_LEN: usize = 46;
const LOCAL: &[u8; 4] = b"PK\x03\x04";
const LOCAL_LEN: usize = 30;

/// An archive.
pub struct Zip<'a> {
    bytes: &'a [u8],
    entries: Vec<Entry>,
}

/// An entry of the list.
struct Entry {
    name: String,
    encrypted: bool,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    place: u64,
}

/// What is wrong with an archive, in words.
type Answer<T> = Result<T, String>;

/// `len` bytes at a place.
fn part(bytes: &[u8], place: u64, len: u64) -> Option<&[u8]> {
    let (start, end) = (usize::try_from(place).ok()?, usize::try_from(place.checked_add(len)?).ok()?);
    bytes.get(start..end)
}

fn u16_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 2).map_or(0, |two| u64::from(u16::from_le_bytes([two[0], two[1]])))
}

fn u32_at(bytes: &[u8], at: usize) -> u64 {
    u16_at(bytes, at) | u16_at(bytes, at + 2) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u32_at(bytes, at) | u32_at(bytes, at + 4) << 32
}

impl<'a> Zip<'a> {
    /// Reads an archive's list.
    ///
    /// # Errors
    /// An archive that is cut short or is none.
    pub fn of(bytes: &'a [u8]) -> Answer<Self> {
        let cut = || "the archive is cut short".to_owned();
        let first = bytes.len().saturating_sub(END_LEN + MOST_COMMENT);
        let last = bytes.len().checked_sub(END_LEN).ok_or_else(cut)?;
        let end = (first..=last).rev().find(|at| bytes[*at..].starts_with(END)).ok_or_else(cut)?;
        let record = &bytes[end..];
        let (mut count, mut place) = (u16_at(record, 10), u32_at(record, 16));
        let before = end.checked_sub(20).map(|at| &bytes[at..end]).filter(|before| before.starts_with(END64_PLACE));
        if let Some(before) = before {
            let record =
                part(bytes, u64_at(before, 8), 56).filter(|record| record.starts_with(END64)).ok_or_else(cut)?;
            (count, place) = (u64_at(record, 32), u64_at(record, 48));
        }
        let mut entries = Vec::new();
        for _ in 0..count {
            let record = part(bytes, place, ENTRY_LEN as u64).filter(|record| record.starts_with(ENTRY));
            let record = record.ok_or_else(cut)?;
            let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(record, at));
            let text = part(bytes, place + ENTRY_LEN as u64, name).ok_or_else(cut)?;
            let extra_part = part(bytes, place + ENTRY_LEN as u64 + name, extra).ok_or_else(cut)?;
            let mut entry = Entry {
                name: String::from_utf8_lossy(text).into_owned(),
                encrypted: u16_at(record, 8) & 1 == 1,
                method: u16_at(record, 10) as u16,
                crc: u32_at(record, 16) as u32,
                packed: u32_at(record, 20),
                size: u32_at(record, 24),
                place: u32_at(record, 42),
            };
            entry.widen(extra_part);
            entries.push(entry);
            place += ENTRY_LEN as u64 + name + extra + comment;
        }
        Ok(Zip { bytes, entries })
    }

    /// The names of its entries.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// The bytes of the entry of that name.
    ///
    /// # Errors
    /// No such entry, one that is encrypted, packed in another way, cut short or damaged.
    pub fn read(&self, name: &str) -> Answer<Vec<u8>> {
        let found = self.entries.iter().find(|entry| entry.name == name);
        let entry = found.ok_or_else(|| format!("the archive has no {name}"))?;
        let damaged = || format!("{name} in the archive is cut short or damaged");
        if entry.encrypted {
            return Err(format!("{name} in the archive is encrypted"));
        }
        let local = part(self.bytes, entry.place, LOCAL_LEN as u64).filter(|local| local.starts_with(LOCAL));
        let local = local.ok_or_else(damaged)?;
        let first = entry.place + LOCAL_LEN as u64 + u16_at(local, 26) + u16_at(local, 28);
        let packed = part(self.bytes, first, entry.packed).ok_or_else(damaged)?;
        let mut bytes = Vec::new();
        match entry.method {
            0 => bytes.extend_from_slice(packed),
            8 => {
                // What claims to be larger than it is shows at the end; what is larger than it claims is cut.
                DeflateDecoder::new(packed).take(entry.size + 1).read_to_end(&mut bytes).map_err(|_| damaged())?;
            }
            method => return Err(format!("{name} in the archive is packed by method {method}, not 0 or 8")),
        }
        let mut crc = Crc::new();
        crc.update(&bytes);
        if bytes.len() as u64 != entry.size || crc.sum() != entry.crc {
            return Err(damaged());
        }
        Ok(bytes)
    }
}

impl Entry {
    /// Takes sizes and places of 64 bits from the extra field, which holds those alone that 32 bits cannot.
    fn widen(&mut self, mut extra: &[u8]) {
        while extra.len() >= 4 {
            let (kind, len) = (u16_at(extra, 0), u16_at(extra, 2) as usize);
            let Some(field) = extra.get(4..4 + len) else { return };
            if kind == 1 {
                let mut at = 0;
                for value in [&mut self.size, &mut self.packed, &mut self.place] {
                    if *value == u64::from(u32::MAX) && field.len() >= at + 8 {
                        *value = u64_at(field, at);
                        at += 8;
                    }
                }
            }
            extra = &extra[4 + len..];
        }
    }
}
