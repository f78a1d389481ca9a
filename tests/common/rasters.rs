//! Scenes for the tests that read and write them.

use std::path::Path;

use huetape::imaging::raster::{Raster, RasterInfo, RawTag, SampleType, Window};

/// A square scene of `side` pixels of ten metres, in a place.
pub fn placed(side: usize, bands: usize, sample: SampleType) -> RasterInfo {
    let doubles = |tag, values: &[f64]| RawTag {
        tag,
        field_type: 12,
        bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    let georeference = vec![doubles(33550, &[10.0, 10.0, 0.0]), doubles(33922, &[0.0, 0.0, 0.0, 4e5, 5e6, 0.0])];
    RasterInfo { georeference, ..RasterInfo::new(side, side, bands, sample) }
}

/// All bands of a raster.
pub fn read(path: &Path) -> Window {
    let raster = Raster::open(path).unwrap();
    let bands: Vec<usize> = (1..=raster.info().bands).collect();
    raster.read_window(raster.area(), &bands).unwrap()
}
