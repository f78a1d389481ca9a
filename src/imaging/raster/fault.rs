//! Why a raster cannot be read, before the path is known.

use std::io;
use std::path::Path;

use crate::error::Error;
use crate::files::io_error;

/// A fault of a file; [`Fault::at`] makes it an [`Error`] that names the file.
#[derive(Debug)]
pub(super) enum Fault {
    /// Not a TIFF at all.
    NotTiff,
    /// The file ends before its content does.
    Truncated,
    /// The content contradicts itself.
    Damaged(String),
    /// A valid file of a kind that is not read.
    Unsupported(String),
    Io(io::Error),
}

pub(super) type Outcome<T> = std::result::Result<T, Fault>;

pub(super) fn damaged<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Fault::Damaged(message.into()))
}

pub(super) fn unsupported<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Fault::Unsupported(message.into()))
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Fault::Truncated } else { Fault::Io(error) }
    }
}

impl Fault {
    pub(super) fn at(self, path: &Path) -> Error {
        // Decoders' messages may hold line breaks; errors are one line.
        let line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (what, remedy) = match self {
            Fault::NotTiff => ("not a TIFF raster".into(), "give a GeoTIFF or a plain TIFF"),
            Fault::Truncated => ("the raster ends too early".into(), "copy or export the file again"),
            Fault::Damaged(message) => {
                (format!("the raster is damaged ({})", line(message)), "copy or export the file again")
            }
            Fault::Unsupported(message) => (
                format!("this kind of raster is not read ({})", line(message)),
                "convert it, e.g. by gdal_translate -co TILED=YES -co COMPRESS=DEFLATE",
            ),
            Fault::Io(error) => return io_error("cannot read the raster", path, &error),
        };
        Error::input(what, path.display(), remedy)
    }
}
