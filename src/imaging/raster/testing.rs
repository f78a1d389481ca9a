//! Uncompressed TIFF files of any tags, for tests of kinds that no writer at hand makes.

use std::collections::BTreeMap;

/// A little-endian TIFF of one strip; tags hold SHORTs, but the text of the nodata value.
#[derive(Debug, Clone)]
pub(crate) struct PlainTiff {
    tags: BTreeMap<u16, Vec<u64>>,
    nodata: Option<String>,
    samples: Vec<u8>,
}

impl PlainTiff {
    /// One row of grey samples of `bits` bits.
    pub fn grey(width: u64, bits: u64, samples: &[u8]) -> Self {
        Self::new(width, &[bits], samples)
    }

    /// One row of pixels of `bands` bytes.
    pub fn chunky(width: u64, bands: usize, samples: &[u8]) -> Self {
        Self::new(width, &vec![8; bands], samples)
    }

    fn new(width: u64, bits: &[u64], samples: &[u8]) -> Self {
        let bands = vec![bits.len() as u64];
        let tags = [(256, vec![width]), (257, vec![1]), (258, bits.to_vec()), (262, vec![1]), (277, bands)];
        PlainTiff { tags: tags.into(), nodata: None, samples: samples.to_vec() }
    }

    /// With the tag `tag`, in place of one that is there.
    pub fn with(mut self, tag: u16, values: &[u64]) -> Self {
        self.tags.insert(tag, values.to_vec());
        self
    }

    /// With a nodata value.
    pub fn nodata(mut self, text: &str) -> Self {
        self.nodata = Some(text.to_owned());
        self
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut tags = self.tags.clone();
        tags.insert(273, vec![8]);
        tags.insert(279, vec![self.samples.len() as u64]);
        let short = |values: &Vec<u64>| values.iter().flat_map(|v| (*v as u16).to_le_bytes()).collect::<Vec<u8>>();
        let mut entries: BTreeMap<u16, (u16, usize, Vec<u8>)> =
            tags.iter().map(|(tag, values)| (*tag, (3, values.len(), short(values)))).collect();
        if let Some(text) = &self.nodata {
            entries.insert(42113, (2, text.len() + 1, [text.as_bytes(), &[0]].concat()));
        }
        let mut file = [&b"II\x2A\0\0\0\0\0"[..], &self.samples].concat();
        file.resize(file.len().next_multiple_of(2), 0);
        let directory = file.len();
        file[4..8].copy_from_slice(&(directory as u32).to_le_bytes());
        let mut behind = directory + 2 + 12 * entries.len() + 4;
        let mut values = Vec::new();
        file.extend_from_slice(&(entries.len() as u16).to_le_bytes());
        for (tag, (field_type, count, mut bytes)) in entries {
            file.extend_from_slice(&tag.to_le_bytes());
            file.extend_from_slice(&u16::to_le_bytes(field_type));
            file.extend_from_slice(&(count as u32).to_le_bytes());
            bytes.resize(bytes.len().next_multiple_of(2).max(4), 0);
            if bytes.len() == 4 {
                file.extend_from_slice(&bytes);
            } else {
                file.extend_from_slice(&(behind as u32).to_le_bytes());
                behind += bytes.len();
                values.extend_from_slice(&bytes);
            }
        }
        file.extend_from_slice(&[0; 4]);
        file.extend_from_slice(&values);
        file
    }
}
