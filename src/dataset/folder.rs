//! The images in a folder, by the endings of their names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::imaging::codec::decode::EXTENSIONS;

/// The images of a folder by name: files with a known extension, hidden ones and folders passed over.
///
/// Fails when there is no such folder, or no image in it.
pub fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::input("no such folder", folder.display(), "check the path"),
        std::io::ErrorKind::NotADirectory => {
            Error::input("not a folder", folder.display(), "give the folder of images")
        }
        _ => Error::input(format!("cannot read the folder ({error})"), folder.display(), "check its permissions"),
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        // `is_file` follows links: a folder of links to images is a folder of images.
        if !hidden && has_picture_extension(&path) && path.is_file() {
            files.push(path);
        }
    }
    crate::ensure!(
        !files.is_empty(),
        Error::input("no images in the folder", folder.display(), format!("put {} files there", EXTENSIONS.join(", ")))
    );
    files.sort_by(|x, y| x.file_name().cmp(&y.file_name()));
    Ok(files)
}

/// Whether the name ends as an image's does.
pub fn has_picture_extension(path: &Path) -> bool {
    path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}
