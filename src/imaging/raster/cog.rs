//! The cloud-optimised layout of a GeoTIFF: all directories first, the overviews smaller and smaller; then the tiles,
//! those of the smallest overview first. A reader far away gets the directories by one request, and any part at any
//! scale by few more.
//!
//! Source: OGC 21-026, "OGC Cloud Optimized GeoTIFF Standard"; the order of the tiles is that of GDAL's COG driver.

use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::Result;
use crate::files::{Unfinished, io_error};
use crate::imaging::pixels::Area;
use crate::imaging::raster::directory::{self, Directory, HEADER_BYTES};
use crate::imaging::raster::info::RasterInfo;
use crate::imaging::raster::reader::Raster;
use crate::imaging::raster::writer::RasterWriter;

/// An image whose sides are no larger needs no overview.
const SMALLEST: usize = 512;

impl RasterWriter {
    /// As [`RasterWriter::finish`], in the cloud-optimised layout, with overviews of half the size, a quarter and so
    /// on, down to 512 pixels a side. A pixel of an overview is the mean of those that have data among the four beneath
    /// it.
    ///
    /// The tiles lie twice on the disk until it is done.
    ///
    /// # Errors
    ///
    /// As [`RasterWriter::finish`].
    pub fn finish_cloud_optimised(mut self) -> Result<()> {
        self.close()?;
        let path = self.file.path().to_path_buf();
        let mut levels = vec![self];
        while let Some(last) = levels.last().filter(|last| last.info.width.max(last.info.height) > SMALLEST) {
            levels.push(halved(last, &path)?);
        }
        let mut file = Unfinished::create(&path)?;
        assemble(&mut file, &mut levels).map_err(|error| io_error("cannot write", &path, &error))?;
        file.finish()
    }
}

/// The next overview, in an unfinished file of its own.
fn halved(level: &RasterWriter, path: &Path) -> Result<RasterWriter> {
    // Each tile is read once.
    let raster = Raster::open(level.file.unfinished_path())?.with_cache(0);
    let (info, tile) = (raster.info(), level.tile);
    let bands: Vec<usize> = (1..=info.bands).collect();
    let half = RasterInfo {
        width: info.width.div_ceil(2),
        height: info.height.div_ceil(2),
        georeference: Vec::new(),
        description: None,
        metadata: None,
        ..info.clone()
    };
    let mut writer = RasterWriter::create(path, half.clone(), tile)?;
    for y in (0..half.height).step_by(tile) {
        for x in (0..half.width).step_by(tile) {
            let to = Area { x, y, width: tile.min(half.width - x), height: tile.min(half.height - y) };
            let from = Area {
                x: 2 * x,
                y: 2 * y,
                width: (2 * to.width).min(info.width - 2 * x),
                height: (2 * to.height).min(info.height - 2 * y),
            };
            let window = raster.read_window(from, &bands)?;
            let hole = info.nodata.as_ref().map_or(0.0, |nodata| nodata.value as f32);
            let mut means = Vec::with_capacity(to.width * to.height * bands.len());
            for (row, column) in (0..to.height).flat_map(|row| (0..to.width).map(move |column| (row, column))) {
                let rows = 2 * row..(2 * row + 2).min(from.height);
                let columns = 2 * column..(2 * column + 2).min(from.width);
                let beneath = rows.flat_map(|y| columns.clone().map(move |x| y * from.width + x));
                let mut sums = vec![0.0; bands.len()];
                let mut count = 0.0;
                for pixel in beneath.filter(|pixel| window.valid[*pixel]) {
                    count += 1.0;
                    let samples = &window.samples[pixel * bands.len()..][..bands.len()];
                    sums.iter_mut().zip(samples).for_each(|(sum, sample)| *sum += sample);
                }
                means.extend(sums.iter().map(|sum| if count > 0.0 { sum / count } else { hole }));
            }
            writer.write_window(to, &means)?;
        }
    }
    writer.close()?;
    Ok(writer)
}

/// Writes directories and tiles of all levels, full resolution first, into one file.
fn assemble(file: &mut Unfinished, levels: &mut [RasterWriter]) -> std::io::Result<()> {
    let limit = levels.first().map_or(u64::MAX, |level| level.classic_limit);
    let directory = |i: usize, level: &RasterWriter, ranges: &[(u64, u64)], place: [u64; 2], big: bool| {
        let Directory { info, tile, .. } = level.directory();
        Directory { info, tile, ranges, overview: i > 0 }.encode(place[0], place[1], big)
    };
    let most: u64 = levels.iter().map(|level| level.end + level.directory().most_bytes()).sum();
    let big = most > limit;
    // The offsets of the directories and then of the tiles.
    let mut end = HEADER_BYTES;
    let mut starts = Vec::new();
    for (i, level) in levels.iter().enumerate() {
        starts.push(end);
        end = (end + directory(i, level, &level.ranges, [0, 0], big).len() as u64).next_multiple_of(8);
    }
    let mut moved: Vec<Vec<(u64, u64)>> = Vec::new();
    for level in levels.iter().rev() {
        let place = |(_, bytes): &(u64, u64)| {
            end += bytes;
            (end - bytes, *bytes)
        };
        moved.push(level.ranges.iter().map(place).collect());
    }
    moved.reverse();

    let mut out = BufWriter::new(file.file());
    out.write_all(&directory::header(HEADER_BYTES, big))?;
    for (i, (level, ranges)) in levels.iter().zip(&moved).enumerate() {
        out.seek(SeekFrom::Start(starts[i]))?;
        out.write_all(&directory(i, level, ranges, [starts[i], starts.get(i + 1).copied().unwrap_or(0)], big))?;
    }
    let mut packed = Vec::new();
    for (level, ranges) in levels.iter_mut().zip(&moved).rev() {
        for ((from, bytes), (to, _)) in level.ranges.clone().into_iter().zip(ranges) {
            packed.resize(bytes as usize, 0);
            level.file.file().seek(SeekFrom::Start(from))?;
            level.file.file().read_exact(&mut packed)?;
            // Only to the first of all: what follows lies behind one another.
            if out.stream_position()? != *to {
                out.seek(SeekFrom::Start(*to))?;
            }
            out.write_all(&packed)?;
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::raster::ifd::Tiff;
    use crate::imaging::raster::layout::Layout;
    use crate::imaging::raster::{Nodata, SampleType};
    use std::io::BufReader;

    /// A gradient with a corner without data.
    fn sample(x: usize, y: usize, band: usize) -> f32 {
        if x + y < 300 { 0.0 } else { (1 + (x / 8 + y / 16 + 20 * band) % 200) as f32 }
    }

    fn cog(path: &Path, [width, height]: [usize; 2], big: bool) -> Vec<Layout> {
        let info = RasterInfo {
            nodata: Nodata::parse("0"),
            description: Some("made".to_owned()),
            ..RasterInfo::new(width, height, 3, SampleType::U8)
        };
        let mut writer = RasterWriter::create(path, info, 256).unwrap();
        writer.classic_limit = if big { 0 } else { writer.classic_limit };
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let samples: Vec<f32> = pixels.flat_map(|(x, y)| (0..3).map(move |band| sample(x, y, band))).collect();
        writer.write_rows(&samples).unwrap();
        writer.finish_cloud_optimised().unwrap();
        let mut tiff = Tiff::new(BufReader::new(std::fs::File::open(path).unwrap())).unwrap();
        (0..tiff.directories.len()).map(|i| Layout::new(&mut tiff, i).unwrap()).collect()
    }

    #[test]
    fn directories_come_first_and_the_tiles_of_the_smallest_overview_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        for big in [false, true] {
            let levels = cog(&path, [1301, 700], big);
            assert_eq!(
                levels.iter().map(|l| (l.width, l.height)).collect::<Vec<_>>(),
                [(1301, 700), (651, 350), (326, 175)]
            );
            let first = |level: &Layout| level.ranges.iter().map(|range| range.0).min().unwrap();
            let last = |level: &Layout| level.ranges.iter().map(|range| range.0 + range.1).max().unwrap();
            assert!(levels.windows(2).all(|pair| last(&pair[1]) == first(&pair[0])), "each follows its overview");
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!((bytes[2], last(&levels[0])), (if big { 43 } else { 42 }, bytes.len() as u64));
            // The first directory stands at once behind the header.
            assert_eq!(bytes[if big { 8 } else { 4 }], 16);
            assert!(first(&levels[2]) < 4096, "only directories before the tiles");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn full_resolution_is_untouched_and_overviews_are_means_of_what_has_data() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        cog(&path, [700, 600], false);
        let raster = Raster::open(&path).unwrap();
        assert_eq!((raster.overviews(), raster.info().description.as_deref()), (1, Some("made")));
        let window = raster.read_window(raster.area(), &[1, 2, 3]).unwrap();
        for (i, got) in window.samples.iter().enumerate() {
            assert_eq!(*got, sample(i / 3 % 700, i / 3 / 700, i % 3));
        }
        // The overview by a program of others: the second image of the file.
        let mut decoder = tiff::decoder::Decoder::new(std::fs::File::open(&path).unwrap()).unwrap();
        decoder.next_image().unwrap();
        assert_eq!(decoder.dimensions().unwrap(), (350, 300));
        let tiff::decoder::DecodingResult::U8(half) = decoder.read_image().unwrap() else { panic!("bytes") };
        for (i, got) in half.iter().enumerate() {
            let (x, y, band) = (i / 3 % 350, i / 3 / 350, i % 3);
            let beneath = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dx, dy)| sample(2 * x + dx, 2 * y + dy, band));
            let seen: Vec<f32> = beneath.into_iter().filter(|v| *v > 0.0).collect();
            let mean = if seen.is_empty() { 0.0 } else { seen.iter().sum::<f32>() / seen.len() as f32 };
            assert_eq!(f32::from(*got), mean.round_ties_even(), "band {band} at {x}, {y}");
        }
    }

    #[test]
    fn a_small_raster_has_no_overviews() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(cog(&folder.path().join("a.tif"), [512, 3], false).len(), 1);
    }
}
