//! Which files belong together, and which errors name what.

use super::*;
use crate::imaging::codec::save::save_png;
use std::fs;

/// Two folders of grey PNGs: (side, name, width, height).
fn folders(files: &[(&str, &str, usize, usize)]) -> (tempfile::TempDir, DataSource) {
    let root = tempfile::tempdir().unwrap();
    for side in ["s", "t"] {
        fs::create_dir(root.path().join(side)).unwrap();
    }
    for (side, name, width, height) in files {
        save_png(&root.path().join(side).join(name), &vec![1; width * height], *width, *height, None).unwrap();
    }
    let data = DataSource::Pairs { source: root.path().join("s"), target: root.path().join("t"), recursive: false };
    (root, data)
}

fn names(paths: impl IntoIterator<Item = PathBuf>) -> Vec<String> {
    paths.into_iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

fn error(files: &[(&str, &str, usize, usize)], size: usize) -> String {
    let (_root, data) = folders(files);
    let error = data.validate(size, None).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn pairs_come_in_name_order_and_other_files_are_passed_over() {
    let (root, data) =
        folders(&[("s", "b.png", 8, 8), ("s", "a.png", 9, 8), ("t", "a.png", 9, 8), ("t", "b.png", 8, 8)]);
    for other in ["s/notes.txt", "s/.hidden.png", "t/.DS_Store", "t/c.md"] {
        fs::write(root.path().join(other), "x").unwrap();
    }
    fs::create_dir(root.path().join("s/folder.png")).unwrap();
    let set = data.validate(8, None).unwrap();
    assert_eq!(names(set.pairs.iter().map(|p| p.source.path().to_owned())), ["a.png", "b.png"]);
    assert_eq!(names(set.pairs.iter().map(|p| p.target.path().to_owned())), ["a.png", "b.png"]);
    assert_eq!(set.infos[0].width, 9);
}

#[test]
fn a_missing_or_empty_folder_is_named() {
    let missing = DataSource::Images { folder: "/nonesuch".into(), recursive: false }.validate(8, None).unwrap_err();
    assert_eq!(missing.to_string(), "no such folder: /nonesuch: check the path");
    assert!(error(&[("s", "a.png", 8, 8)], 8).starts_with("no images in the folder: "));
}

#[test]
fn a_source_without_its_target_names_the_file_that_is_expected() {
    let text = error(&[("s", "a.png", 8, 8), ("s", "b.png", 8, 8), ("t", "a.png", 8, 8)], 8);
    assert!(text.contains("s/b.png: add ") && text.contains("t/b.png or take"), "{text}");
}

#[test]
fn a_target_without_a_source_is_no_error() {
    let (_root, data) = folders(&[("s", "a.png", 8, 8), ("t", "a.png", 8, 8), ("t", "b.png", 8, 8)]);
    assert_eq!(data.validate(8, None).unwrap().pairs.len(), 1);
}

#[test]
fn sizes_that_differ_are_named_with_both_files() {
    let text = error(&[("s", "a.png", 8, 9), ("t", "a.png", 10, 9)], 8);
    assert!(text.contains("8x9 and 10x9") && text.contains("s/a.png and ") && text.contains("t/a.png"), "{text}");
}

#[test]
fn a_picture_smaller_than_the_crop_says_which_size_fits() {
    let text = error(&[("s", "a.png", 8, 20), ("t", "a.png", 8, 20)], 16);
    assert!(text.contains("8x20") && text.contains("16x16") && text.contains("size 8"), "{text}");
}

#[test]
fn a_text_file_among_the_pictures_is_named() {
    let (root, data) = folders(&[("s", "a.png", 8, 8), ("t", "a.png", 8, 8), ("t", "b.png", 8, 8)]);
    fs::write(root.path().join("s/b.png"), "not an image").unwrap();
    assert!(data.validate(8, None).unwrap_err().to_string().contains("s/b.png"));
}

#[test]
fn all_bands_are_those_of_most_pictures_and_the_odd_one_is_named() {
    let (root, data) = folders(&[("s", "a.png", 8, 8), ("s", "b.png", 8, 8), ("s", "c.png", 8, 8)]);
    for name in ["a.png", "b.png", "c.png"] {
        save_png(&root.path().join("t").join(name), &[1; 3 * 64], 8, 8, None).unwrap();
    }
    let readings = data.readings_of_all_bands(None, &Preparations::default()).unwrap();
    assert_eq!(readings, (Reading::Bands(1), Reading::Bands(3)));
    assert_eq!(
        data.readings_of_all_bands(Some(1), &Preparations::default()).unwrap().0,
        Reading::Grey { band: Some(1) }
    );
    assert_eq!(data.validate_as(8, readings).unwrap().pairs.len(), 3);
    // Not even the first file decides alone.
    save_png(&root.path().join("t/a.png"), &[1; 64], 8, 8, None).unwrap();
    let readings = data.readings_of_all_bands(None, &Preparations::default()).unwrap();
    let error = data.validate_as(8, readings).unwrap_err().to_string();
    assert!(error.starts_with("the number of bands is 1, not 3: ") && error.contains("t/a.png"), "{error}");
}

#[test]
fn side_by_side_pictures_are_read_as_two() {
    let (root, _) = folders(&[("s", "a.png", 16, 8)]);
    let data = |source| DataSource::SideBySide { folder: root.path().join("s"), source, recursive: false };
    let set = data(Half::Right).validate(8, None).unwrap();
    let path = root.path().join("s/a.png");
    assert_eq!(set.infos[0].width, 8);
    assert_eq!(set.pairs[0].source, PictureFile::half_of(path.clone(), Half::Right));
    assert_eq!(set.pairs[0].target, PictureFile::half_of(path, Half::Left));
    let error = data(Half::Left).validate(9, None).unwrap_err().to_string();
    assert!(error.contains("8x8") && error.contains("size 8"), "{error}");
}

#[test]
fn images_are_their_own_source() {
    let (root, _) = folders(&[("s", "a.png", 8, 8)]);
    let set = DataSource::Images { folder: root.path().join("s"), recursive: false }.validate(8, None).unwrap();
    assert_eq!(set.pairs[0].source, set.pairs[0].target);
    assert_eq!(set.source_reading, Reading::Lightness);
}
