//! The images in a folder, by the endings of their names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::imaging::codec::decode::EXTENSIONS;

/// The images of a folder by name: files with a known extension, hidden ones passed over. With `recursive` also those
/// of all folders below it, by their paths; links to folders are passed over.
///
/// # Errors
/// No such folder, or no image in it.
pub fn pictures_in(folder: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in folders(folder, recursive) {
        files.extend(images_of(&folder)?);
    }
    if files.is_empty() {
        let below =
            !recursive && folders(folder, true).iter().any(|folder| images_of(folder).is_ok_and(|i| !i.is_empty()));
        return Err(if below { only_below(folder) } else { no_images(folder) });
    }
    files.sort();
    Ok(files)
}

/// The images that lie in a folder itself.
fn images_of(folder: &Path) -> Result<Vec<PathBuf>> {
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
    Ok(files)
}

/// A folder, and, with `recursive`, all below it.
fn folders(folder: &Path, recursive: bool) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut next = 0;
    while recursive && next < found.len() {
        let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        let below: Vec<PathBuf> = entries(&found[next]).filter(is_folder).map(path_of).collect();
        found.extend(below);
        next += 1;
    }
    found
}

/// The path of a file of a folder from there: its name, or, where it lies in folders below, those before it.
pub fn path_below(file: &Path, folder: &Path) -> PathBuf {
    let name = || PathBuf::from(file.file_name().unwrap_or_default());
    file.strip_prefix(folder).map_or_else(|_| name(), Path::to_owned)
}

/// Endings of images, and of what holds them, that are not read.
const UNREAD: [&str; 27] = [
    "dng", "ecw", "exr", "gif", "grd", "h5", "hdf", "hdr", "he5", "heic", "heif", "hgt", "img", "j2k", "jp2", "jpx",
    "nc", "nef", "nitf", "pgm", "ppm", "psd", "sid", "svg", "tga", "vrt", "zarr",
];

/// What to tell of the files of a folder, with `recursive` of those below it too, that look like images and are passed
/// over; nothing where none are.
pub fn passed_over(folder: &Path, recursive: bool) -> Option<String> {
    let ending = |path: &Path| path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let unread = |path: &PathBuf| ending(path).is_some_and(|ending| UNREAD.contains(&ending.as_str()));
    let not_file = |path: &PathBuf| has_picture_extension(path) && !path.is_file();
    let mut names: Vec<String> = folders(folder, recursive)
        .iter()
        .flat_map(|folder| entries(folder))
        .map(path_of)
        .filter(|path| (unread(path) && !has_picture_extension(path)) || not_file(path))
        .map(|path| path_below(&path, folder).display().to_string())
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

fn only_below(folder: &Path) -> Error {
    Error::input("the images lie in folders below", folder.display(), "add ⟨recursive⟩").of(ErrorKind::NotFound)
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
        let said = passed_over(root.path(), false).unwrap();
        assert!(said.ends_with(": 3 files are not read: b.jp2, c.GIF, folder.tif"), "{said}");
        assert_eq!(passed_over(&at("deep"), false), None);
        (0..9).for_each(|i| fs::write(at(&format!("deep/{i}.jp2")), "").unwrap());
        assert!(
            passed_over(&at("deep"), false)
                .unwrap()
                .ends_with("9 files are not read: 0.jp2, 1.jp2, 2.jp2, 3.jp2, 4.jp2 and 4 more")
        );
        let said = passed_over(root.path(), true).unwrap();
        assert!(said.contains(": 12 files are not read: b.jp2, c.GIF, deep/0.jp2, "), "{said}");
        let found = pictures_in(root.path(), true).unwrap();
        assert_eq!(found, ["a.png", "deep/er/y.tif", "deep/x.jpg"].map(at));
        assert_eq!(pictures_in(root.path(), false).unwrap(), [at("a.png")]);
        assert_eq!(path_below(&found[1], root.path()), Path::new("deep/er/y.tif"));
        assert_eq!(path_below(&found[1], Path::new("elsewhere")), Path::new("y.tif"));
        fs::remove_file(at("deep/x.jpg")).unwrap();
        for (folder, recursive, said) in [
            ("folder.tif", true, "no images in the folder: "),
            ("folder.tif", false, "no images in the folder: "),
            ("deep", false, "the images lie in folders below: "),
            ("none", true, "no such folder: "),
        ] {
            let error = pictures_in(&at(folder), recursive).unwrap_err().to_string();
            assert!(error.starts_with(said), "{folder}: {error}");
        }
    }
}
