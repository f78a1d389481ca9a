//! GeoTIFF and plain TIFF files, read and written by windows: memory does not grow with the scene. All TIFFs are read
//! here, images of a folder too.
//!
//! | read | |
//! |---|---|
//! | files | classic TIFF and BigTIFF, either byte order; strips or tiles, also sparse; bands interleaved or planar |
//! | samples | integers of 8, 16, 32 or 64 bits, signed or not; floats of 16, 32 or 64; unsigned of 1 to 15 bits |
//! | compression | none, LZW, deflate, PackBits, Zstandard, JPEG; with `formats` WebP, LERC; predictors 2 and 3 |
//! | colours | grey and RGB as they are; palettes, grey whose zero is white, YCbCr and CMYK are converted |
//! | orientation | turned upright |
//! | no data | the nodata value (of 64-bit integers exactly), NaN, a mask, an alpha band |
//!
//! [`Raster`] reads, [`RasterWriter`] writes, [`Stretch`] maps values to 0..1. Values are what GDAL gives, colours
//! converted. Of JPEG chunks, where decoders differ, they are within 1 of libjpeg's, and where the colours are stored
//! at half resolution, within 4 of libjpeg-turbo's. Overviews are passed over.

mod bytes;
mod chunk;
mod chunks;
mod cog;
mod directory;
#[cfg(feature = "formats")]
mod formats;
mod grid;
mod histogram;
mod ifd;
mod info;
mod layout;
mod nodata;
pub(in crate::imaging) mod orientation;
pub(in crate::imaging) mod photometric;
mod reader;
mod sample;
mod stream;
mod stretch;
mod stretches;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use histogram::Histogram;
pub use ifd::RawTag;
pub use info::{GEOREFERENCE, RasterInfo};
pub use nodata::Nodata;
pub use reader::{Raster, Window};
pub use sample::SampleType;
pub use stretch::{Backscatter, Scale, Stretch};
pub use stretches::Stretches;
pub use writer::RasterWriter;
