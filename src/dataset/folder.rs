//! The images in a folder, by the endings of their names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
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
    crate::ensure!(!files.is_empty(), no_images(folder));
    files.sort_by(|x, y| x.file_name().cmp(&y.file_name()));
    Ok(files)
}

/// The images of a folder and of all folders below it, by their paths; hidden ones and links to folders passed over.
///
/// # Errors
/// No such folder, or no image anywhere in it.
pub fn pictures_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        match pictures_in(&next) {
            Ok(found) => files.extend(found),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        folders.extend(entries(&next).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(path_of));
    }
    crate::ensure!(!files.is_empty(), no_images(folder));
    files.sort();
    Ok(files)
}

/// Endings of images, and of what holds them, that are not read.
const UNREAD: [&str; 27] = [
    "dng", "ecw", "exr", "gif", "grd", "h5", "hdf", "hdr", "he5", "heic", "heif", "hgt", "img", "j2k", "jp2", "jpx",
    "nc", "nef", "nitf", "pgm", "ppm", "psd", "sid", "svg", "tga", "vrt", "zarr",
];

/// What to tell of the files of a folder that look like images and are passed over; nothing where none are.
pub fn passed_over(folder: &Path) -> Option<String> {
    let ending = |path: &Path| path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let unread = |path: &PathBuf| ending(path).is_some_and(|ending| UNREAD.contains(&ending.as_str()));
    let not_file = |path: &PathBuf| has_picture_extension(path) && !path.is_file();
    let mut names: Vec<String> = entries(folder)
        .map(path_of)
        .filter(|path| (unread(path) && !has_picture_extension(path)) || not_file(path))
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    let named = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let rest = names.len().saturating_sub(NAMED);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let files = if names.len() == 1 { "1 file is" } else { &format!("{} files are", names.len()) };
    (!names.is_empty()).then(|| format!("{}: {files} not read: {named}{more}", folder.display()))
}

/// Files that are named before the rest is counted.
const NAMED: usize = 5;

/// What lies in a folder, hidden things passed over.
fn entries(folder: &Path) -> impl Iterator<Item = fs::DirEntry> {
    let hidden = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".");
    fs::read_dir(folder).into_iter().flatten().flatten().filter(move |entry| !hidden(entry))
}

fn path_of(entry: fs::DirEntry) -> PathBuf {
    entry.path()
}

fn no_images(folder: &Path) -> Error {
    let remedy = format!("put {} files there", EXTENSIONS.join(", "));
    Error::input("no images in the folder", folder.display(), remedy).of(ErrorKind::NotFound)
}

/// Whether the name ends as an image's does.
pub fn has_picture_extension(path: &Path) -> bool {
    path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_is_named_and_counted_and_folders_below_are_found() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("deep/er")).unwrap();
        fs::create_dir(at("folder.tif")).unwrap();
        for name in ["a.png", "b.jp2", "c.GIF", "d.txt", ".hidden.jp2", "deep/x.jpg", "deep/er/y.tif"] {
            fs::write(at(name), "").unwrap();
        }
        let said = passed_over(root.path()).unwrap();
        assert!(said.ends_with(": 3 files are not read: b.jp2, c.GIF, folder.tif"), "{said}");
        assert_eq!(passed_over(&at("deep")), None);
        (0..9).for_each(|i| fs::write(at(&format!("deep/{i}.jp2")), "").unwrap());
        assert!(
            passed_over(&at("deep"))
                .unwrap()
                .ends_with("9 files are not read: 0.jp2, 1.jp2, 2.jp2, 3.jp2, 4.jp2 and 4 more")
        );
        let found = pictures_below(root.path()).unwrap();
        assert_eq!(found, ["a.png", "deep/er/y.tif", "deep/x.jpg"].map(at));
        assert_eq!(pictures_below(&at("folder.tif")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(pictures_in(root.path()).unwrap(), [at("a.png")]);
    }
}
