//! The chunks of a raster that an area needs: decoded in parallel, and kept up to a limit.

use std::io::{Read, Seek, SeekFrom};
use std::sync::{Arc, PoisonError};

use crate::engine::blocks;
use crate::imaging::fault::{Fault, Outcome};
use crate::imaging::pixels::Area;
use crate::imaging::raster::chunk;
use crate::imaging::raster::layout::Layout;
use crate::imaging::raster::reader::{ChunkId, IMAGE, Raster};

/// Chunks decoded at a time, in parallel.
const BATCH: usize = 16;

/// The part of a chunk that lies in an area.
pub(super) struct Part {
    /// The plane that the chunk belongs to, of a planar image.
    plane: usize,
    /// Its first pixel, in the chunk.
    pub first: usize,
    /// Its first pixel, in the area.
    pub pixel: usize,
    pub width: usize,
    pub height: usize,
}

impl Part {
    pub fn holds(&self, image: &Layout, band: usize) -> bool {
        !image.planar || self.plane == band
    }
}

impl Raster {
    /// Calls `each(samples of a chunk, the part of it that lies in the area)` for all chunks that hold some of `bands`
    /// (counted from 0) in `area`.
    pub(super) fn visit_chunks(
        &self,
        which: usize,
        image: &Layout,
        area: Area,
        bands: &[usize],
        mut each: impl FnMut(&[u8], Part),
    ) -> Outcome<()> {
        if area.width == 0 || area.height == 0 || bands.is_empty() {
            return Ok(());
        }
        let columns = area.x / image.chunk_width..(area.x + area.width).div_ceil(image.chunk_width);
        let rows = area.y / image.chunk_height..(area.y + area.height).div_ceil(image.chunk_height);
        let mut planes: Vec<usize> = if image.planar { bands.to_vec() } else { vec![0] };
        planes.sort_unstable();
        planes.dedup();
        let mut chunks = Vec::new();
        for plane in planes {
            for row in rows.clone() {
                chunks.extend(columns.clone().map(|column| (plane * image.down + row) * image.across + column));
            }
        }
        for batch in chunks.chunks(BATCH) {
            for (chunk, bytes) in batch.iter().zip(self.decoded(which, image, batch)?) {
                let (column, row) = (chunk % image.across, chunk / image.across % image.down);
                let (left, top) = (column * image.chunk_width, row * image.chunk_height);
                let (x0, x1) = (left.max(area.x), (left + image.chunk_width).min(area.x + area.width));
                let (y0, y1) = (top.max(area.y), (top + image.chunk_height).min(area.y + area.height));
                let part = Part {
                    plane: chunk / image.across / image.down,
                    first: (y0 - top) * image.chunk_width + x0 - left,
                    pixel: (y0 - area.y) * area.width + x0 - area.x,
                    width: x1 - x0,
                    height: y1 - y0,
                };
                each(&bytes, part);
            }
        }
        Ok(())
    }

    /// The decoded chunks, from memory or from the file.
    fn decoded(&self, which: usize, image: &Layout, chunks: &[usize]) -> Outcome<Vec<Arc<Vec<u8>>>> {
        let id = |chunk: &usize| -> ChunkId { (which, *chunk) };
        let kept: Vec<Option<Arc<Vec<u8>>>> = {
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            chunks.iter().map(|chunk| cache.get(&id(chunk))).collect()
        };
        let decode = |i: usize| match &kept[i] {
            Some(bytes) => Ok(bytes.clone()),
            None => self.decode(which, image, chunks[i]).map(Arc::new),
        };
        let decoded: Vec<Arc<Vec<u8>>> = blocks::collect(chunks.len(), decode).into_iter().collect::<Outcome<_>>()?;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.iter().zip(&decoded).for_each(|(chunk, bytes)| cache.insert(id(chunk), bytes.clone(), bytes.len()));
        Ok(decoded)
    }

    fn decode(&self, which: usize, image: &Layout, chunk: usize) -> Outcome<Vec<u8>> {
        let (offset, count) = image.ranges[chunk];
        if count == 0 {
            return Ok(self.absent(which, image, chunk));
        }
        let mut packed = vec![0; count as usize];
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(&mut packed)?;
        }
        chunk::decode(image, chunk, packed).map_err(|fault| {
            let (column, row) = (chunk % image.across, chunk / image.across % image.down);
            let at = format!("at column {}, row {}", column * image.chunk_width, row * image.chunk_height);
            match fault {
                Fault::Damaged(message) => Fault::Damaged(format!("{message}, {at}")),
                Fault::Truncated => Fault::Damaged(format!("data are missing {at}")),
                other => other,
            }
        })
    }

    /// A chunk that was never written: no data, or zeros where no value stands for that.
    fn absent(&self, which: usize, image: &Layout, chunk: usize) -> Vec<u8> {
        let bytes = image.rows_of(chunk) * image.decoded_row_bytes();
        let size = image.sample.bytes();
        let mut sample = Vec::with_capacity(size);
        let nodata = self.nodata.as_ref().filter(|_| which == IMAGE);
        image.sample.push(&mut sample, nodata.map_or(0.0, |nodata| nodata.value));
        chunk::swap_to_native(&mut sample, size, true);
        sample.repeat(bytes / size)
    }
}
