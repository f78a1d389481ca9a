//! A pool of whole buffers by size class, with a cap and a report.

use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Bytes in use, at most in use so far, and held in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryReport {
    /// Bytes of the buffers that are in use.
    pub live_bytes: u64,
    /// The most that `live_bytes` ever was.
    pub peak_bytes: u64,
    /// Bytes of the largest buffer that was in use.
    pub largest_bytes: u64,
    /// Bytes of all buffers, those that wait to be used again included.
    pub reserved_bytes: u64,
    /// The cap on `reserved_bytes`, if one is set.
    pub cap_bytes: Option<u64>,
}

/// Free buffers of type `B`, by size class.
pub(super) struct Pool<B> {
    free: BTreeMap<u64, Vec<B>>,
    report: MemoryReport,
}

/// The size class of a request: the next multiple of an eighth of its leading power of two, at least 256 bytes.
/// At most 12.5 % of a buffer is unused.
pub(super) fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    let step = (1 << (63 - bytes.leading_zeros())) / 8;
    bytes.div_ceil(step) * step
}

impl<B> Pool<B> {
    pub fn new(cap_bytes: Option<u64>) -> Self {
        Pool { free: BTreeMap::new(), report: MemoryReport { cap_bytes, ..MemoryReport::default() } }
    }

    pub fn report(&self) -> MemoryReport {
        self.report
    }

    pub fn set_cap(&mut self, cap_bytes: Option<u64>) {
        self.report.cap_bytes = cap_bytes;
    }

    pub fn reset_peak(&mut self) {
        (self.report.peak_bytes, self.report.largest_bytes) = (self.report.live_bytes, 0);
    }

    /// A buffer of class `class`: a free one, or one that `create` makes within the cap.
    ///
    /// Where that fails, letting the free buffers of other classes go ([`Pool::trim`]) may help.
    pub fn take(&mut self, class: u64, create: impl FnOnce() -> Result<B>) -> Result<B> {
        let buffer = match self.free.get_mut(&class).and_then(Vec::pop) {
            Some(buffer) => buffer,
            None => {
                if let Some(cap) = self.report.cap_bytes.filter(|cap| self.report.reserved_bytes + class > *cap) {
                    let (more, live) = (human_bytes(class), human_bytes(self.report.live_bytes));
                    return Err(Error::input(
                        format!("{more} more do not fit beside the {live} in use"),
                        format!("⟨memory⟩ {}", human_bytes(cap)),
                        "raise ⟨memory⟩, or take a smaller batch, tile, picture or width",
                    ));
                }
                let buffer = create()?;
                self.report.reserved_bytes += class;
                buffer
            }
        };
        self.report.live_bytes += class;
        self.report.peak_bytes = self.report.peak_bytes.max(self.report.live_bytes);
        self.report.largest_bytes = self.report.largest_bytes.max(class);
        Ok(buffer)
    }

    pub fn give_back(&mut self, class: u64, buffer: B) {
        self.report.live_bytes -= class;
        self.free.entry(class).or_default().push(buffer);
    }

    /// Lets every free buffer go; whether there was one.
    pub fn trim(&mut self) -> bool {
        let before = self.report.reserved_bytes;
        for (class, buffers) in std::mem::take(&mut self.free) {
            self.report.reserved_bytes -= class * buffers.len() as u64;
        }
        self.report.reserved_bytes < before
    }
}

/// `1.5 GiB`-style text for a number of bytes.
pub fn human_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Bytes from text such as `800M`, `1.5GiB` or `4000000`; K, M, G are powers of 1024.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim().to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 1.0,
        "k" => 1024.0,
        "m" => 1024.0 * 1024.0,
        "g" => 1024.0 * 1024.0 * 1024.0,
        "t" => 1024.0f64.powi(4),
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * factor;
    (1.0..1e18).contains(&bytes).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_class_wastes_at_most_an_eighth() {
        for bytes in [1u64, 255, 256, 257, 1000, 4096, 4097, 72_000_001, (1 << 31) + 1] {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(4));
            assert!(bytes < 256 || (class - bytes) * 8 <= bytes, "{bytes} -> {class}");
        }
    }

    #[test]
    fn a_buffer_given_back_is_used_again_and_counted_once() {
        let mut pool: Pool<u32> = Pool::new(None);
        let a = pool.take(512, || Ok(1)).unwrap();
        pool.give_back(512, a);
        assert_eq!(pool.take(512, || Ok(2)).unwrap(), 1);
        let report = pool.report();
        assert_eq!((report.live_bytes, report.peak_bytes, report.reserved_bytes), (512, 512, 512));
    }

    #[test]
    fn the_cap_counts_free_buffers_until_they_are_let_go() {
        let mut pool: Pool<u32> = Pool::new(Some(1000));
        let a = pool.take(512, || Ok(1)).unwrap();
        pool.give_back(512, a);
        assert!(pool.take(768, || Ok(2)).is_err());
        assert!(pool.trim());
        assert!(pool.take(768, || Ok(2)).is_ok());
        assert!(!pool.trim());
        let error = pool.take(256, || Ok(3)).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("memory"));
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_bytes("2G"), Some(2 << 30));
        assert_eq!(parse_bytes("1.5 MiB"), Some(3 << 19));
        assert_eq!(parse_bytes("300k"), Some(300 << 10));
        assert_eq!(parse_bytes("77"), Some(77));
        assert_eq!(parse_bytes("0"), None);
        assert_eq!(parse_bytes("many"), None);
    }
}
