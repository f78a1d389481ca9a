//! The directory of an image in a TIFF file that is written.
//!
//! Sources: TIFF 6.0 (Adobe, 1992), section 2; the BigTIFF design (libtiff).

use crate::imaging::raster::ifd::{RawTag, type_bytes};
use crate::imaging::raster::info::{GDAL_METADATA, GDAL_NODATA, IMAGE_DESCRIPTION, NEW_SUBFILE_TYPE, RasterInfo};
use crate::imaging::raster::sample::SampleType;

/// Room for the header of a BigTIFF; a classic one, half as long, leaves the rest empty.
pub(super) const HEADER_BYTES: u64 = 16;

/// What stands in a directory: tiles of deflate with a predictor.
#[derive(Debug)]
pub(super) struct Directory<'a> {
    pub info: &'a RasterInfo,
    /// Pixels of a tile's side.
    pub tile: usize,
    /// Offset and bytes of each tile.
    pub ranges: &'a [(u64, u64)],
    /// Whether it is another image at a reduced resolution.
    pub overview: bool,
}

impl Directory<'_> {
    /// Bytes of the directory, of a BigTIFF and with some to spare.
    pub fn most_bytes(&self) -> u64 {
        // Offsets in a BigTIFF's directory take twice the room; counting it for both kinds errs on the safe side.
        self.tags(true).iter().map(|tag| 28 + tag.bytes.len() as u64).sum::<u64>() + 64
    }

    /// The directory at offset `start`, and behind it the values that do not fit into their entries; `next` is the
    /// offset of the next one, 0 for none. How long it is does not depend on the offsets.
    pub fn encode(&self, start: u64, next: u64, big: bool) -> Vec<u8> {
        let tags = self.tags(big);
        let word = if big { 8 } else { 4 };
        let put = |bytes: &mut Vec<u8>, value: u64| bytes.extend_from_slice(&value.to_le_bytes()[..word]);
        let length = if big { 8 + tags.len() * 20 + 8 } else { 2 + tags.len() * 12 + 4 };
        let mut entries = (tags.len() as u64).to_le_bytes()[..if big { 8 } else { 2 }].to_vec();
        let mut values = Vec::new();
        for tag in &tags {
            entries.extend_from_slice(&tag.tag.to_le_bytes());
            entries.extend_from_slice(&tag.field_type.to_le_bytes());
            put(&mut entries, tag.count() as u64);
            if tag.bytes.len() <= word {
                entries.extend_from_slice(&tag.bytes);
                entries.resize(entries.len() + word - tag.bytes.len(), 0);
            } else {
                // Values start at even offsets.
                values.resize((length + values.len()).next_multiple_of(8) - length, 0);
                put(&mut entries, start + (length + values.len()) as u64);
                values.extend_from_slice(&tag.bytes);
            }
        }
        put(&mut entries, next);
        entries.extend_from_slice(&values);
        entries
    }

    /// The entries, by tag.
    fn tags(&self, big: bool) -> Vec<RawTag> {
        let info = self.info;
        let bands = info.bands as u64;
        // Alpha aside, three bands of 8 or 16 bits are a colour image to every viewer.
        let colours = info.bands - usize::from(info.alpha.is_some());
        let rgb = colours == 3 && matches!(info.sample, SampleType::U8 | SampleType::U16);
        let photometric = if rgb { 2 } else { 1 };
        let extra = (if rgb { 3 } else { 1 }..info.bands).map(|band| if info.alpha == Some(band + 1) { 2 } else { 0 });
        let extra: Vec<u64> = extra.collect();
        let each = |value: u64| vec![value; info.bands];
        let (offsets, counts): (Vec<u64>, Vec<u64>) = self.ranges.iter().copied().unzip();
        let (short, long, offset) = (3, 4, if big { 16 } else { 4 });
        let mut tags = vec![
            number(256, long, &[info.width as u64]),
            number(257, long, &[info.height as u64]),
            number(258, short, &each(info.bits as u64)),
            number(259, short, &[8]),
            number(262, short, &[photometric]),
            number(277, short, &[bands]),
            number(284, short, &[1]),
            number(317, short, &[predictor(info)]),
            number(322, long, &[self.tile as u64]),
            number(323, long, &[self.tile as u64]),
            number(324, offset, &offsets),
            number(325, offset, &counts),
            number(339, short, &each(info.sample.format().into())),
        ];
        if self.overview {
            tags.push(number(NEW_SUBFILE_TYPE, long, &[1]));
        }
        if !extra.is_empty() {
            tags.push(number(338, short, &extra));
        }
        tags.extend(info.description.as_ref().map(|text| ascii(IMAGE_DESCRIPTION, text)));
        tags.extend(info.metadata.as_ref().map(|text| ascii(GDAL_METADATA, text)));
        tags.extend(info.nodata.as_ref().map(|nodata| ascii(GDAL_NODATA, &nodata.text)));
        tags.extend(info.georeference.iter().cloned());
        tags.sort_by_key(|tag| tag.tag);
        tags
    }
}

/// Differences of bytes for floats, of samples for integers; samples that do not fill their bytes have none.
fn predictor(info: &RasterInfo) -> u64 {
    match info.bits == 8 * info.sample.bytes() {
        false => 1,
        true if info.sample.is_float() => 3,
        true => 2,
    }
}

fn number(tag: u16, field_type: u16, values: &[u64]) -> RawTag {
    let size = type_bytes(field_type);
    RawTag {
        tag,
        field_type,
        bytes: values.iter().flat_map(|value| value.to_le_bytes().into_iter().take(size)).collect(),
    }
}

fn ascii(tag: u16, text: &str) -> RawTag {
    // A NUL ends the text wherever it stands.
    let bytes = text.bytes().filter(|byte| *byte != 0).chain([0]).collect();
    RawTag { tag, field_type: 2, bytes }
}

/// The header of a file whose first directory is at offset `directory`.
pub(super) fn header(directory: u64, big: bool) -> Vec<u8> {
    if big {
        [&b"II\x2B\0\x08\0\0\0"[..], &directory.to_le_bytes()].concat()
    } else {
        [&b"II\x2A\0"[..], &(directory as u32).to_le_bytes()].concat()
    }
}
