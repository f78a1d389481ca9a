//! Chunks that are files of another format: JPEG here, others in `formats`.
//!
//! Source: TIFF Technical Note 2.

use crate::imaging::fault::{Outcome, damaged};
use crate::imaging::jpeg;
use crate::imaging::raster::layout::Layout;

/// The samples of a JPEG chunk; `tables` are a stream of their own, without an image.
pub(super) fn unpack_jpeg(layout: &Layout, rows: usize, tables: Option<&[u8]>, packed: &[u8]) -> Outcome<Vec<u8>> {
    // Without its end, and the image without its start, they are one.
    let stream = match tables.and_then(|tables| tables.strip_suffix(&[0xFF, 0xD9])) {
        Some(tables) => [tables, packed.strip_prefix(&[0xFF, 0xD8]).unwrap_or(packed)].concat(),
        None => packed.to_vec(),
    };
    // Names the kinds of JPEG that are not decoded; and a stream that claims a large image takes no room for it.
    let header = jpeg::header(&stream)?;
    check_size(layout, rows, "JPEG", [header.width, header.height, header.components()], layout.chunk_bands())?;
    jpeg::decode_stored(stream, &header)
}

/// Whether a stream holds `[width, height, bands]` as its chunk needs; a last strip may be whole within its stream.
pub(super) fn check_size(layout: &Layout, rows: usize, kind: &str, found: [usize; 3], bands: usize) -> Outcome<()> {
    let width = layout.chunk_width;
    if found[0] != width || found[1] < rows || found[2] != bands {
        let [across, down, held] = found;
        return damaged(format!(
            "a {kind} of {across}x{down} pixels in {held} bands where {width}x{rows} in {bands} is due"
        ));
    }
    Ok(())
}
