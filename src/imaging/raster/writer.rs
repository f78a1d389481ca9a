//! Writing tiled GeoTIFF files: deflate with a predictor, the directory at the end.

use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::engine::blocks;
use crate::error::{Error, Result};
use crate::files::{Unfinished, io_error};
use crate::imaging::pixels::Area;
use crate::imaging::raster::directory::{self, Directory, HEADER_BYTES};
use crate::imaging::raster::info::RasterInfo;
use crate::imaging::raster::sample::SampleType;

/// The deflate level: twice as fast as zlib's own default of 6 and hardly larger after the predictor.
const LEVEL: u32 = 4;

/// Writes a raster by windows of whole tiles, in any order, or row by row from the top.
///
/// Tiles go to the file as they come; rows are held until they fill a row of tiles. The file takes its name in
/// [`RasterWriter::finish`]; dropped before, it leaves nothing. It is a classic TIFF up to 4 GiB and a BigTIFF above.
#[derive(Debug)]
pub struct RasterWriter {
    pub(super) file: Unfinished,
    pub(super) info: RasterInfo,
    pub(super) tile: usize,
    /// Offset and bytes of each tile; 0 bytes: not yet written.
    pub(super) ranges: Vec<(u64, u64)>,
    /// Where the next tile goes.
    pub(super) end: u64,
    /// Samples of rows that do not yet fill a row of tiles, as they go to the file.
    pending: Vec<u8>,
    /// Rows that have gone into tiles.
    rows_done: usize,
    /// The largest offset that a classic TIFF can hold.
    pub(super) classic_limit: u64,
}

impl RasterWriter {
    /// Begins the raster `path` with tiles of `tile` pixels a side, a multiple of 16.
    ///
    /// # Errors
    ///
    /// A size of zero, a tile size that TIFF does not allow, a folder that may not be written.
    pub fn create(path: &Path, mut info: RasterInfo, tile: usize) -> Result<Self> {
        // What was copied from a raster of another type may say other bits; only unsigned integers may have fewer.
        let full = 8 * info.sample.bytes();
        if info.sample.is_float() || info.sample.is_signed() || full > 16 || !(full - 7..full).contains(&info.bits) {
            info.bits = full;
        }
        if let Some(nodata) = info.nodata.as_ref().filter(|nodata| !nodata.survives(info.sample)) {
            let what = format!("the nodata value {} cannot be written exactly", nodata.text);
            return Err(Error::input(
                what,
                path.display(),
                "declare one below 2^53, or the type's largest or smallest",
            ));
        }
        let limit = u32::MAX as usize;
        crate::ensure!(
            (1..=limit).contains(&info.width)
                && (1..=limit).contains(&info.height)
                && (1..=65_535).contains(&info.bands),
            Error::input(
                format!("cannot write a raster of {}x{} pixels in {} bands", info.width, info.height, info.bands),
                path.display(),
                "give it at least one pixel and one band"
            )
        );
        crate::ensure!(
            tile > 0 && tile.is_multiple_of(16) && tile <= 1 << 15,
            Error::input(format!("cannot write tiles of {tile} pixels"), path.display(), "use 256 or 512")
        );
        let mut file = Unfinished::create(path)?;
        let tiles = info.width.div_ceil(tile) * info.height.div_ceil(tile);
        file.file().write_all(&[0; HEADER_BYTES as usize]).map_err(|error| io_error("cannot write", path, &error))?;
        Ok(RasterWriter {
            file,
            info,
            tile,
            ranges: vec![(0, 0); tiles],
            end: HEADER_BYTES,
            pending: Vec::new(),
            rows_done: 0,
            classic_limit: u64::from(u32::MAX),
        })
    }

    /// What is being written.
    pub fn info(&self) -> &RasterInfo {
        &self.info
    }

    /// Pixels of a tile's side.
    pub fn tile(&self) -> usize {
        self.tile
    }

    /// Writes whole tiles: an area that starts at a tile's corner and ends at a tile's border or the raster's. Areas
    /// come in any order; what is written a second time replaces the first.
    ///
    /// `samples` are `[height, width, bands]`. For an integer type they are rounded to nearest (ties to even) and
    /// clamped, and NaN becomes the nodata value (0 if there is none).
    ///
    /// # Errors
    ///
    /// An area that cuts a tile or lies outside the raster, samples of another size, a full disk.
    pub fn write_window<T: Copy + Into<f64> + Sync>(&mut self, area: Area, samples: &[T]) -> Result<()> {
        self.check_samples(samples.len(), area.width * area.height)?;
        let info = &self.info;
        let (sample, hole) = (info.sample, info.nodata.as_ref().map_or(0.0, |nodata| nodata.value));
        self.write_tiles(area, &|bytes, range| push_all(bytes, sample, hole, &samples[range]))
    }

    /// Whole tiles, where `put` appends samples `range` of the area as they go to the file.
    fn write_tiles(&mut self, area: Area, put: &(dyn Fn(&mut Vec<u8>, Range<usize>) + Sync)) -> Result<()> {
        let Area { x, y, width, height } = area;
        let whole = |at: usize, size: usize, limit: usize| {
            let end = at.saturating_add(size);
            at.is_multiple_of(self.tile) && size > 0 && (end == limit || end < limit && end.is_multiple_of(self.tile))
        };
        crate::ensure!(
            whole(x, width, self.info.width) && whole(y, height, self.info.height),
            self.misuse(format!("{width}x{height} pixels at ({x}, {y}) are not whole tiles of {}", self.tile))
        );
        let (tile, bands, across) = (self.tile, self.info.bands, self.info.width.div_ceil(self.tile));
        let tiles: Vec<(usize, usize)> = (0..height.div_ceil(tile))
            .flat_map(|row| (0..width.div_ceil(tile)).map(move |column| (column, row)))
            .collect();
        // Tiles pack in parallel, a few at a time, and go to the file in order.
        for batch in tiles.chunks(16) {
            let pack = |(column, row): &(usize, usize)| {
                let columns = column * tile * bands..(column * tile + tile.min(width - column * tile)) * bands;
                let rows = (row * tile..((row + 1) * tile).min(height)).map(|y| y * width * bands);
                self.pack(rows.map(|first| first + columns.start..first + columns.end), put)
            };
            let packed = blocks::collect(batch.len(), |i| pack(&batch[i]));
            for ((column, row), packed) in batch.iter().zip(packed) {
                self.put((y / tile + row) * across + x / tile + column, &packed)?;
            }
        }
        Ok(())
    }

    /// Writes the next rows from the top: `samples` are `[rows, width, bands]` of any number of whole rows, valued as
    /// in [`RasterWriter::write_window`]. Rows and windows do not mix.
    ///
    /// # Errors
    ///
    /// Samples that are not whole rows or go beyond the last, a full disk.
    pub fn write_rows<T: Copy + Into<f64> + Sync>(&mut self, samples: &[T]) -> Result<()> {
        let (row, sample) = (self.info.width * self.info.bands, self.info.sample);
        let hole = self.info.nodata.as_ref().map_or(0.0, |nodata| nodata.value);
        let rows = samples.len() / row;
        self.check_samples(samples.len(), rows * self.info.width)?;
        crate::ensure!(
            self.rows_done + self.pending.len() / (row * sample.bytes()) + rows <= self.info.height,
            self.misuse(format!("more than {} rows", self.info.height))
        );
        let mut rest = samples;
        while !rest.is_empty() {
            let due = self.tile.min(self.info.height - self.rows_done) * row;
            let (now, later) = rest.split_at((due - self.pending.len() / sample.bytes()).min(rest.len()));
            push_all(&mut self.pending, sample, hole, now);
            rest = later;
            if self.pending.len() == due * sample.bytes() {
                self.put_tile_row()?;
            }
        }
        Ok(())
    }

    fn put_tile_row(&mut self) -> Result<()> {
        let mut rows = std::mem::take(&mut self.pending);
        let size = self.info.sample.bytes();
        let height = rows.len() / (self.info.width * self.info.bands * size);
        let area = Area { x: 0, y: self.rows_done, width: self.info.width, height };
        self.write_tiles(area, &|bytes, Range { start, end }| {
            bytes.extend_from_slice(&rows[start * size..end * size])
        })?;
        self.rows_done += height;
        rows.clear();
        self.pending = rows;
        Ok(())
    }

    /// Writes the directory and gives the file its name.
    ///
    /// # Errors
    ///
    /// Tiles that were never written, a full disk.
    pub fn finish(mut self) -> Result<()> {
        self.close()?;
        self.file.finish()
    }

    /// Completes the file, without its name as yet.
    pub(super) fn close(&mut self) -> Result<()> {
        let missing = self.ranges.iter().filter(|(_, bytes)| *bytes == 0).count();
        crate::ensure!(missing == 0, self.misuse(format!("{missing} of {} tiles were not written", self.ranges.len())));
        let directory = self.directory();
        let big = self.end + directory.most_bytes() > self.classic_limit;
        let start = self.end.next_multiple_of(8);
        let (bytes, header) = (directory.encode(start, 0, big), directory::header(start, big));
        let mut write = || {
            let file = self.file.file();
            file.seek(SeekFrom::Start(start))?;
            file.write_all(&bytes)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&header)
        };
        write().map_err(|error| io_error("cannot write", self.file.path(), &error))
    }

    pub(super) fn directory(&self) -> Directory<'_> {
        Directory { info: &self.info, tile: self.tile, ranges: &self.ranges, overview: false }
    }

    fn misuse(&self, what: String) -> Error {
        Error::failed(format!("cannot write the raster, {what}"), self.file.path().display(), "report this as a bug")
    }

    fn check_samples(&self, samples: usize, pixels: usize) -> Result<()> {
        let due = pixels * self.info.bands;
        crate::ensure!(samples == due, self.misuse(format!("{samples} samples where {due} are due")));
        Ok(())
    }

    fn put(&mut self, index: usize, packed: &[u8]) -> Result<()> {
        self.file.file().write_all(packed).map_err(|error| io_error("cannot write", self.file.path(), &error))?;
        self.ranges[index] = (self.end, packed.len() as u64);
        self.end += packed.len() as u64;
        Ok(())
    }

    /// A tile as it goes to the file, of its rows as ranges of samples that `put` appends; the rest is zeros.
    fn pack(&self, rows: impl Iterator<Item = Range<usize>>, put: &dyn Fn(&mut Vec<u8>, Range<usize>)) -> Vec<u8> {
        let RasterInfo { bands, sample, bits, .. } = self.info;
        let (samples, size) = (self.tile * bands, sample.bytes());
        let row_bytes = (samples * bits).div_ceil(8);
        let mut bytes = Vec::with_capacity(self.tile * samples * size);
        for row in rows {
            let start = bytes.len();
            put(&mut bytes, row);
            bytes.resize(start + samples * size, 0);
            if bits == 8 * size {
                predict(&mut bytes[start..], sample, bands);
            } else {
                let narrow = narrowed(&bytes[start..], size, bits);
                bytes.truncate(start);
                bytes.extend_from_slice(&narrow);
            }
        }
        bytes.resize(self.tile * row_bytes, 0);
        deflate(&bytes)
    }
}

/// Appends samples as they go to the file; NaN is `hole` in integers.
fn push_all<T: Copy + Into<f64>>(bytes: &mut Vec<u8>, sample: SampleType, hole: f64, samples: &[T]) {
    for value in samples {
        let value: f64 = (*value).into();
        sample.push(bytes, if value.is_nan() && !sample.is_float() { hole } else { value });
    }
}

/// A row of unsigned little-endian samples of 1 or 2 bytes in `bits` bits each, the most significant first; what is too
/// large becomes the largest.
fn narrowed(row: &[u8], size: usize, bits: usize) -> Vec<u8> {
    let mut packed = Vec::with_capacity((row.len() / size * bits).div_ceil(8));
    let (mut waiting, mut held) = (0u32, 0);
    for sample in row.chunks_exact(size) {
        let value = sample.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        waiting = waiting << bits | value.min((1 << bits) - 1);
        held += bits;
        while held >= 8 {
            held -= 8;
            packed.push((waiting >> held) as u8);
        }
        waiting &= (1 << held) - 1;
    }
    if held > 0 {
        packed.push((waiting << (8 - held)) as u8);
    }
    packed
}

/// Takes differences along a row of little-endian samples: predictor 2 for integers, 3 for floats.
fn predict(row: &mut [u8], sample: SampleType, bands: usize) {
    let size = sample.bytes();
    if sample.is_float() {
        // All the most significant bytes first, then all the next.
        let count = row.len() / size;
        let floats = row.to_vec();
        for (i, float) in floats.chunks_exact(size).enumerate() {
            float.iter().rev().enumerate().for_each(|(significance, byte)| row[significance * count + i] = *byte);
        }
        (bands..row.len()).rev().for_each(|i| row[i] = row[i].wrapping_sub(row[i - bands]));
        return;
    }
    fn subtract<const N: usize>(row: &mut [u8], bands: usize, difference: impl Fn([u8; N], [u8; N]) -> [u8; N]) {
        let samples = row.as_chunks_mut::<N>().0;
        for i in (bands..samples.len()).rev() {
            samples[i] = difference(samples[i], samples[i - bands]);
        }
    }
    match size {
        1 => subtract(row, bands, |[a], [b]: [u8; 1]| [a.wrapping_sub(b)]),
        2 => subtract(row, bands, |a, b| u16::from_le_bytes(a).wrapping_sub(u16::from_le_bytes(b)).to_le_bytes()),
        4 => subtract(row, bands, |a, b| u32::from_le_bytes(a).wrapping_sub(u32::from_le_bytes(b)).to_le_bytes()),
        _ => subtract(row, bands, |a, b| u64::from_le_bytes(a).wrapping_sub(u64::from_le_bytes(b)).to_le_bytes()),
    }
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(LEVEL));
    // Writing to memory does not fail.
    encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default()
}
