//! What a driver compiled, kept in a file for the next process.

use crate::files::write_whole;
use std::path::{Path, PathBuf};

/// Files beyond this are begun anew: drivers only ever add to what they are given.
const MOST_BYTES: usize = 256 << 20;
/// In front of the driver's data: what it is, and its checksum. A driver may crash on data that is damaged.
const MAGIC: &[u8; 8] = b"huetape1";
const HEAD: usize = 12;

pub(super) struct PipelineCache {
    cache: wgpu::PipelineCache,
    file: PathBuf,
    /// The checksum of what the file holds.
    kept: Option<u32>,
}

impl PipelineCache {
    /// With what a file holds; empty where it is missing, damaged or another driver's.
    pub fn load(device: &wgpu::Device, file: &Path) -> Self {
        let bytes = std::fs::read(file).unwrap_or_default();
        let data = unpack(&bytes);
        let cache = create(device, data);
        PipelineCache { cache, file: file.to_owned(), kept: data.map(crc32fast::hash) }
    }

    /// What pipelines are compiled with.
    pub fn get(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Writes the file, if there is more to keep than it holds. One that cannot be written is left: the next process
    /// compiles anew.
    pub fn save(&self) {
        let Some(data) = self.cache.get_data() else { return };
        let sum = crc32fast::hash(&data);
        if Some(sum) == self.kept || data.len() > MOST_BYTES {
            return;
        }
        if let Some(folder) = self.file.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        let _ = write_whole(&self.file, &pack(&data, sum));
    }
}

fn pack(data: &[u8], sum: u32) -> Vec<u8> {
    [MAGIC, &sum.to_le_bytes()[..], data].concat()
}

/// The driver's data, if a file is whole.
fn unpack(bytes: &[u8]) -> Option<&[u8]> {
    let (head, data) = bytes.split_at_checked(HEAD)?;
    (head == [MAGIC, &crc32fast::hash(data).to_le_bytes()[..]].concat()).then_some(data)
}

#[allow(unsafe_code, reason = "the data are what this crate got of a cache, by their checksum")]
fn create(device: &wgpu::Device, data: Option<&[u8]>) -> wgpu::PipelineCache {
    let descriptor = wgpu::PipelineCacheDescriptor { label: Some("pipelines"), data, fallback: true };
    // SAFETY: the data were written by `save`, whole, as their checksum says; wgpu and the driver compare adapter and
    // versions, which their own headers hold.
    unsafe { device.create_pipeline_cache(&descriptor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_is_not_given_to_a_driver() {
        let data = b"a driver's own";
        let mut packed = pack(data, crc32fast::hash(data));
        assert_eq!(unpack(&packed), Some(&data[..]));
        for cut in [0, 5, HEAD, packed.len() - 1] {
            assert_eq!(unpack(&packed[..cut]), None, "{cut}");
        }
        packed[HEAD + 3] ^= 1;
        assert_eq!(unpack(&packed), None);
    }
}
