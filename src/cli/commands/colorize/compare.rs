//! `huetape colorize --compare`: a coloured picture beside its source and the truth, and split with the truth.

use crate::dataset::folder::{path_below, pictures_in};
use crate::dataset::preparation::Preparation;
use crate::error::{Error, Result};
use crate::imaging::codec::decode::{ImageFile, probe_file};
use crate::imaging::codec::save::save_png;
use crate::imaging::pixels::Area;
use crate::report::strip::{side_by_side, split_down_the_middle};
use image::RgbImage;
use std::path::{Path, PathBuf};

/// Longest side of a picture in a comparison, in pixels; of larger ones every second, third, ... pixel is shown.
const MOST_SIDE: usize = 4096;
/// Pixels between pictures side by side.
const GAP: u32 = 8;
/// Shares of the values below black and above white, where a picture has other than 8 bits.
const CLIPPED: f64 = 0.02;

/// The comparison of one picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    truth: PathBuf,
    side_by_side: PathBuf,
    split: PathBuf,
}

/// What coloured pictures are compared with.
pub enum Truths {
    /// A picture for one file.
    One(PathBuf),
    /// Pictures of a folder, by their paths below it.
    Named(PathBuf, Vec<(PathBuf, PathBuf)>),
}

impl Truths {
    /// A picture, or those of a folder, with `recursive` of the folders below it too.
    ///
    /// # Errors
    /// A folder without pictures.
    pub fn find(truth: &Path, recursive: bool) -> Result<Self> {
        if !truth.is_dir() {
            return Ok(Truths::One(truth.to_owned()));
        }
        let named = |file: PathBuf| (path_below(&file, truth), file);
        Ok(Truths::Named(truth.to_owned(), pictures_in(truth, recursive)?.into_iter().map(named).collect()))
    }

    /// The picture of a name, else the only one of that name with another ending.
    fn of(&self, file: &Path, name: &Path) -> Result<PathBuf> {
        let (folder, truths) = match self {
            Truths::One(truth) => return Ok(truth.clone()),
            Truths::Named(folder, truths) => (folder, truths),
        };
        let equal = truths.iter().find(|(of, _)| of == name);
        let mut stems = truths.iter().filter(|(of, _)| of.with_extension("") == name.with_extension(""));
        let only = stems.next().filter(|_| stems.next().is_none());
        equal.or(only).map(|(_, truth)| truth.clone()).ok_or_else(|| {
            let expected = folder.join(name);
            Error::input("no truth of that name", file.display(), format!("add {}", expected.display()))
        })
    }
}

/// The comparison of each of `files`, of these names, which are coloured into `targets`, with its truth.
///
/// # Errors
/// No such truth, or, unless faults are met later (`keep_going`), one of another size; a picture that would be
/// overwritten.
pub fn plan(
    truths: &Truths,
    files: &[PathBuf],
    names: &[PathBuf],
    targets: &[PathBuf],
    keep_going: bool,
) -> Result<Vec<Comparison>> {
    if let (Truths::One(truth), 2..) = (truths, files.len()) {
        let what = "several pictures need a folder of truths";
        return Err(Error::input(what, truth.display(), "give --compare a folder"));
    }
    let mut plan = Vec::new();
    for ((file, name), target) in files.iter().zip(names).zip(targets) {
        let truth = truths.of(file, name)?;
        let beside = |what: &str| {
            let mut name = target.file_stem().unwrap_or_default().to_owned();
            name.push(what);
            target.with_file_name(name)
        };
        let comparison = Comparison { truth, side_by_side: beside(".compare.png"), split: beside(".split.png") };
        if !keep_going {
            check_sizes(file, &comparison.truth)?;
        }
        for written in [&comparison.side_by_side, &comparison.split] {
            let mut taken = files.iter().chain(targets).chain([&comparison.truth]);
            crate::ensure!(
                !taken.any(|path| same(path, written)),
                Error::input(
                    "a comparison would overwrite another picture",
                    written.display(),
                    "choose another --out, or colour the pictures one by one"
                )
            );
        }
        plan.push(comparison);
    }
    Ok(plan)
}

fn same(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

impl Comparison {
    /// The files that are written.
    pub fn written(&self) -> [&Path; 2] {
        [&self.side_by_side, &self.split]
    }

    /// Writes the two figures of what has been coloured: source, coloured and truth side by side; the truth's left half
    /// with the coloured picture's right one. The bands of the truth are those that `target` chooses, if it
    /// has them. `tag` is the pictures' description.
    ///
    /// # Errors
    /// A picture that cannot be read, one of another size, a full disk.
    pub fn write(&self, source: &Path, coloured: &Path, target: &Preparation, tag: &str) -> Result<()> {
        check_sizes(source, &self.truth)?;
        let plain = Preparation::default();
        let (source, coloured) = (Thinned::read(source, &plain)?, Thinned::read(coloured, &plain)?);
        let truth = Thinned::read(&self.truth, target)?;
        // What is coloured has the units of what it was trained on: both are shown alike.
        let (source, coloured, truth) =
            (source.shown(source.range())?, coloured.shown(truth.range())?, truth.shown(truth.range())?);
        save(&self.side_by_side, &side_by_side(&[&source, &coloured, &truth], GAP)?, tag)?;
        save(&self.split, &split_down_the_middle(&truth, &coloured)?, tag)
    }
}

fn save(path: &Path, picture: &RgbImage, tag: &str) -> Result<()> {
    save_png(path, picture, picture.width() as usize, picture.height() as usize, Some(tag))
}

/// Width and height of a picture, by its header.
fn size(path: &Path) -> Result<[usize; 2]> {
    probe_file(path).map(|info| [info.width, info.height])
}

fn check_sizes(file: &Path, truth: &Path) -> Result<()> {
    let ([width, height], [truth_width, truth_height]) = (size(file)?, size(truth)?);
    crate::ensure!(
        (width, height) == (truth_width, truth_height),
        Error::input(
            format!("a picture of {width}x{height} and its truth of {truth_width}x{truth_height}"),
            format!("{} and {}", file.display(), truth.display()),
            "bring both to one grid"
        )
    );
    Ok(())
}

/// A picture to be shown: its first three bands, or its first three times, no larger than [`MOST_SIDE`].
struct Thinned {
    width: usize,
    height: usize,
    /// `[height, width, 3]`, integers as 0..1, floats as they are; NaN where there is nothing.
    values: Vec<f32>,
    /// Whether it has 8 bits, which are shown as they are.
    plain: bool,
}

impl Thinned {
    /// A picture's bands, or those that are chosen of it.
    fn read(path: &Path, how: &Preparation) -> Result<Self> {
        // A TIFF is read by rows: a scene need not fit memory.
        let file = ImageFile::open(path)?;
        let (width, height) = (file.info().width, file.info().height);
        // A truth that is a picture of the colours already has no other bands to choose from.
        let all = || file.info().bands_without_alpha().collect();
        let bands: Vec<usize> = how.bands_of(file.info(), path).unwrap_or_else(|_| all());
        let bands = if bands.len() < 3 { &bands[..1] } else { &bands[..3] };
        let [black, white] = file.info().range().map(|end| end as f32);
        let row = |y| {
            let window = file.read_window(Area { x: 0, y, width, height: 1 }, bands)?;
            let value = |(i, value): (usize, f32)| match window.valid[i / bands.len()] {
                true => (value - black) / (white - black),
                false => f32::NAN,
            };
            Ok(window.samples.iter().copied().enumerate().map(value).collect())
        };
        Thinned::of_rows([width, height], bands.len(), file.info().is_bytes(), row)
    }

    /// Of rows `[width, bands]` with 1 or 3 bands.
    fn of_rows(
        [width, height]: [usize; 2],
        bands: usize,
        plain: bool,
        row: impl Fn(usize) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        let step = width.max(height).div_ceil(MOST_SIDE);
        let mut values = Vec::new();
        for y in (0..height).step_by(step) {
            let rgb = |pixel: &[f32]| [pixel[0], pixel[bands / 2], pixel[bands - 1]];
            values.extend(row(y)?.chunks_exact(bands).step_by(step).flat_map(rgb));
        }
        Ok(Thinned { width: width.div_ceil(step), height: height.div_ceil(step), values, plain })
    }

    /// The values that become black and white: 0 and 1 of 8 bits, else the picture's own 2nd and 98th percentile.
    fn range(&self) -> [f32; 2] {
        if self.plain {
            return [0.0, 1.0];
        }
        let mut numbers: Vec<f32> = self.values.iter().copied().filter(|value| value.is_finite()).collect();
        numbers.sort_by(f32::total_cmp);
        let at = |share: f64| numbers.get((share * numbers.len().saturating_sub(1) as f64) as usize).copied();
        match (at(CLIPPED), at(1.0 - CLIPPED)) {
            (Some(low), Some(high)) if low < high => [low, high],
            (Some(low), _) => [low, low + 1.0],
            _ => [0.0, 1.0],
        }
    }

    /// In 8 bits; what is no number is black.
    fn shown(&self, [black, white]: [f32; 2]) -> Result<RgbImage> {
        let grey = |value: &f32| (255.0 * ((value - black) / (white - black)).clamp(0.0, 1.0) + 0.5) as u8;
        let Thinned { width, height, values, .. } = self;
        RgbImage::from_raw(*width as u32, *height as u32, values.iter().map(grey).collect()).ok_or_else(|| {
            let size = format!("{width}x{height}");
            Error::failed("a picture has other values than its size says", size, "report this")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_of(names: &[(&str, usize)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, side) in names {
            save_png(&folder.path().join(name), &vec![9; side * side], *side, *side, None).unwrap();
        }
        folder
    }

    #[test]
    fn truths_are_found_by_name_or_stem_and_must_have_the_size() {
        let (inputs, truths) = (
            folder_of(&[("a.png", 4), ("b.png", 4), ("c.png", 4)]),
            folder_of(&[("a.png", 4), ("b.jpg", 4), ("c.png", 5)]),
        );
        let input = |name: &str| inputs.path().join(name);
        let out = |name: &str| PathBuf::from("out").join(name);
        let names = ["a.png", "b.png"].map(PathBuf::from);
        let found = Truths::find(truths.path(), false).unwrap();
        let found = plan(
            &found,
            &names.clone().map(|n| inputs.path().join(n)),
            &names,
            &names.clone().map(|n| out(&n.to_string_lossy())),
            false,
        )
        .unwrap();
        assert_eq!((found[1].truth.file_name().unwrap(), &found[1].split), ("b.jpg".as_ref(), &out("b.split.png")));
        assert_eq!(found[0].side_by_side, out("a.compare.png"));
        let refused = |files: &[PathBuf], truth: &Path| {
            let names: Vec<PathBuf> = files.iter().map(|file| file.file_name().unwrap().into()).collect();
            let targets: Vec<PathBuf> = names.iter().map(|name| out(&name.to_string_lossy())).collect();
            plan(&Truths::find(truth, false).unwrap(), files, &names, &targets, false).unwrap_err().to_string()
        };
        assert!(refused(&[input("c.png")], truths.path()).contains("4x4 and its truth of 5x5"));
        assert!(refused(&[input("d.png")], truths.path()).contains("no truth of that name"));
        assert!(refused(&[input("a.png"), input("b.png")], &truths.path().join("a.png")).contains("a folder"));
        assert!(refused(&[input("a.png")], &truths.path().join("none.png")).contains("none.png"));
    }

    #[test]
    fn no_other_picture_is_overwritten() {
        let folder = folder_of(&[("a.png", 4), ("a.split.png", 4)]);
        let path = |name: &str| folder.path().join(name);
        let truths = Truths::One(path("a.split.png"));
        let error = plan(&truths, &[path("a.png")], &["a.png".into()], &[path("a.tif")], false).unwrap_err();
        assert!(error.to_string().contains("overwrite another"), "{error}");
    }

    #[test]
    fn large_pictures_are_thinned_and_others_than_of_8_bits_stretched() {
        let row = |y: usize| Ok((0..5000).map(|x| (x + y) as f32 / 255.0).collect());
        let picture = Thinned::of_rows([5000, 3], 1, true, row).unwrap();
        assert_eq!(picture.range(), [0.0, 1.0]);
        let picture = picture.shown([0.0, 1.0]).unwrap();
        assert_eq!(picture.dimensions(), (2500, 2));
        assert_eq!((picture[(3, 0)].0, picture[(0, 1)].0), ([6; 3], [2; 3]));
        let row = |_| Ok((0..101).map(|x| 100.0 * x as f32).collect());
        let wide = Thinned::of_rows([101, 1], 1, false, row).unwrap();
        let shown = wide.shown(wide.range()).unwrap();
        assert_eq!((shown[(2, 0)].0[0], shown[(98, 0)].0[0], shown[(50, 0)].0[0]), (0, 255, 128));
        let nothing = Thinned { width: 1, height: 1, values: vec![f32::NAN; 3], plain: false };
        assert_eq!((nothing.range(), nothing.shown([0.0, 1.0]).unwrap()[(0, 0)].0), ([0.0, 1.0], [0; 3]));
    }
}
