//! Why an image cannot be read, before the path is known.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::error::{Error, ErrorKind};

/// No image may take more than this once decoded: a small file can claim any size.
pub const MAX_BYTES: u64 = 4 << 30;

/// A fault of a file; [`Fault::at`] makes it an [`Error`] that names the file.
#[derive(Debug)]
pub(super) enum Fault {
    /// Not one of the formats that are read.
    NotAnImage,
    /// Not a TIFF.
    NotTiff,
    /// Not a file, but this.
    NotAFile(&'static str),
    /// The file ends before its content does.
    Truncated,
    /// Decoded, it would take this many bytes.
    TooLarge(u64),
    /// The content contradicts itself, or a decoder cannot make sense of it.
    Damaged(String),
    /// A valid file of a kind that is not read.
    Unsupported(String),
    /// The system does not let it be read.
    Io(io::Error),
}

pub(super) type Outcome<T> = std::result::Result<T, Fault>;

pub(super) fn damaged<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Fault::Damaged(message.into()))
}

pub(super) fn unsupported<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Fault::Unsupported(message.into()))
}

/// Opens a file for reading. What is not a file is refused: to open a pipe may wait for ever.
pub(super) fn open_file(path: &Path) -> Outcome<File> {
    let kind = fs::metadata(path)?.file_type();
    match (kind.is_dir(), kind.is_file()) {
        (true, _) => Err(Fault::NotAFile("a folder")),
        (_, false) => Err(Fault::NotAFile("a pipe or a device")),
        _ => Ok(File::open(path)?),
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Fault::Truncated } else { Fault::Io(error) }
    }
}

impl Fault {
    /// The error of the file at `path`.
    pub(super) fn at(self, path: &Path) -> Error {
        // Decoders' messages may hold line breaks; errors are one line.
        let line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let wrong = |what: String, remedy: &str| Error::input(what, path.display(), remedy).of(ErrorKind::File);
        match self {
            Fault::NotAnImage => {
                let what = "not a PNG, JPEG, TIFF or BMP image".into();
                wrong(what, "convert the file, or remove it from the inputs")
            }
            Fault::NotAFile(what) => wrong(format!("this is {what}, not a file"), "give the name of an image file"),
            Fault::NotTiff => wrong("not a TIFF".into(), "give a GeoTIFF or a plain TIFF"),
            Fault::Truncated => wrong("the image ends too early".into(), "copy or export the file again"),
            Fault::TooLarge(bytes) => {
                let gib = bytes as f64 / (1u64 << 30) as f64;
                let what = format!("the image takes {gib:.1} GiB decoded, more than {} GiB", MAX_BYTES >> 30);
                wrong(what, "cut it into smaller images")
            }
            Fault::Damaged(message) => {
                wrong(format!("the image is damaged ({})", line(message)), "copy or export the file again")
            }
            Fault::Unsupported(message) => wrong(
                format!("this kind of image is not supported ({})", line(message)),
                "convert it to a plain TIFF, e.g. by gdal_translate -co TILED=YES -co COMPRESS=DEFLATE, or to PNG",
            ),
            Fault::Io(error) => {
                let (what, kind, remedy) = match error.kind() {
                    io::ErrorKind::NotFound => ("no such file".into(), ErrorKind::NotFound, "check the path"),
                    _ => {
                        (format!("cannot read the file ({error})"), ErrorKind::Io, "check the path and its permissions")
                    }
                };
                Error::input(what, path.display(), remedy).of(kind).caused_by(error)
            }
        }
    }
}
