//! Pixels of images without data: where crops do not lie, and what figures leave out.

use std::sync::Arc;

use crate::dataset::pair::Pair;
use crate::dataset::picture_file::PictureFile;
use crate::dataset::zero_border::Mask;
use crate::error::{Error, Result};
use crate::imaging::picture::{Picture, Samples};

/// Decodes both images of a pair: the pixels without data in either.
///
/// # Errors
/// As [`PictureFile::open`]; floats outside 0..1.
pub(super) fn gaps_of_pair(pair: &Pair) -> Result<Option<Mask>> {
    let gaps = |file: &PictureFile| -> Result<Option<Mask>> {
        let picture = file.open()?;
        picture.check_range(file.path())?;
        Ok(gaps_of(&picture))
    };
    let of_source = gaps(&pair.source)?;
    let of_target = if pair.target == pair.source { None } else { gaps(&pair.target)? };
    Ok(match (of_source, of_target) {
        (Some(source), Some(target)) => Some(source.or(&target)),
        (one, other) => one.or(other),
    })
}

/// What to tell of images with pixels without data, and of those `without` room for a crop of `size` between them.
///
/// # Errors
/// No image that has room.
pub(super) fn gaps_notice(
    pairs: &[Pair],
    without: &[Pair],
    gaps: &[Option<Arc<Mask>>],
    size: usize,
) -> Result<Option<String>> {
    let crop = if size > 1 { format!("crop of {size}x{size} pixels") } else { "pixel".to_owned() };
    let what = |count: String| format!("{count} no {crop} with data in source and target");
    if let (true, [first, ..]) = (pairs.is_empty(), without) {
        let remedy = if size > 1 { "use a smaller ⟨size⟩, or fill the gaps" } else { "check their nodata values" };
        return Err(Error::input(what("the images have".to_owned()), first.source.path().display(), remedy));
    }
    let having = gaps.iter().flatten().count();
    let all = pairs.len() + without.len();
    Ok(match without {
        [first, ..] => Some(format!(
            "{} and are left out, e.g. {}",
            what(format!("{} of {all} images have", without.len())),
            first.source.path().display()
        )),
        [] if having > 0 => Some(format!("{having} of {all} images have pixels without data, which are left out")),
        [] => None,
    })
}

/// The gaps of an image that is resized between pixel centres: pixels that are made of some without data.
pub(super) fn resized(gaps: &Mask, to: [usize; 2]) -> Mask {
    let from = gaps.size();
    let taps = |axis: usize| -> Vec<[usize; 2]> {
        let (len, from) = (to[axis], from[axis]);
        let place = |i: usize| ((i as f32 + 0.5) * from as f32 / len as f32 - 0.5).clamp(0.0, (from - 1) as f32);
        (0..len).map(|i| [place(i) as usize, (place(i) as usize + 1).min(from - 1)]).collect()
    };
    let (columns, rows) = (taps(0), taps(1));
    let mut found = Mask::new(to);
    for (y, down) in rows.iter().enumerate() {
        for (x, across) in columns.iter().enumerate() {
            if down.iter().any(|row| across.iter().any(|column| gaps.get(*column, *row))) {
                found.set(x, y);
            }
        }
    }
    found
}

/// The pixels without data of an image, where it is NaN; `None` where all have data.
pub(super) fn gaps_of(picture: &Picture) -> Option<Mask> {
    let Samples::F32(values) = &picture.samples else { return None };
    let size = [picture.info.width, picture.info.height];
    let mut gaps: Option<Mask> = None;
    for (i, pixel) in values.chunks_exact(picture.info.bands).enumerate() {
        if pixel.iter().any(|value| value.is_nan()) {
            gaps.get_or_insert_with(|| Mask::new(size)).set(i % size[0], i / size[0]);
        }
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::picture::{Depth, PictureInfo};

    #[test]
    fn gaps_grow_with_the_image_by_all_that_is_made_of_them() {
        let found = resized(&Mask::of([4, 1], &[[1, 0]]), [8, 2]);
        let row: Vec<bool> = (0..8).map(|x| found.get(x, 1)).collect();
        // Centres lie at (i + 0.5) / 2 - 0.5: pixel 1 is a neighbour of those up to 1.75, without weight of the first.
        assert_eq!(row, [true, true, true, true, true, false, false, false]);
        assert_eq!(resized(&Mask::of([4, 2], &[]), [8, 4]).count(), 0);
    }

    #[test]
    fn values_without_a_number_are_gaps() {
        let nan = f32::NAN;
        let of = |values: &[f32]| {
            let info = PictureInfo { width: 2, height: 1, bands: 2, depth: Depth::F32 };
            gaps_of(&Picture { info, samples: Samples::F32(values.to_vec()) })
        };
        assert_eq!(of(&[0.1, 0.2, 0.3, 0.4]), None);
        assert_eq!(of(&[0.1, 0.2, 0.3, nan]), Some(Mask::of([2, 1], &[[1, 0]])));
    }
}
