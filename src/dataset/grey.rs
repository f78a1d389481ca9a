//! Targets without colour: from them no network learns any.

use crate::imaging::picture::Picture;

/// Samples of a pixel that differ by no more are grey: what a JPEG makes of grey, of 0..1.
const TOLERANCE: f32 = 6.0 / 255.0;

/// Whether no pixel of an image has a colour.
pub fn is_grey(picture: &Picture) -> bool {
    let (width, height) = (picture.info.width, picture.info.height);
    let coloured = |[r, g, b]: [f32; 3]| r.max(g).max(b) - r.min(g).min(b) > TOLERANCE;
    picture.info.bands < 3 || !(0..height).any(|y| (0..width).any(|x| coloured(picture.rgb(x, y))))
}

/// What to tell of `grey` of `all` targets that have no colour; nothing where all have some.
pub fn grey_notice(grey: usize, all: usize) -> Option<String> {
    let share = 100.0 * grey as f64 / all.max(1) as f64;
    match grey {
        0 => None,
        _ if grey == all => {
            Some("the targets have no colour: all of them are grey, and a network learns to paint grey".to_owned())
        }
        _ => Some(format!(
            "{grey} of {all} targets ({share:.0} %) have no colour: grey images teach a network to paint grey"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::picture::{Depth, PictureInfo, Samples};

    #[test]
    fn one_pixel_of_colour_makes_a_picture_coloured() {
        let of = |samples: &[u8], bands: usize| {
            let info = PictureInfo { width: samples.len() / bands, height: 1, bands, depth: Depth::U8 };
            is_grey(&Picture { info, samples: Samples::U8(samples.to_vec()) })
        };
        assert!(of(&[9, 200], 1) && of(&[9, 9, 9, 100, 102, 98], 3));
        assert!(!of(&[9, 9, 9, 100, 120, 98], 3));
        assert_eq!(grey_notice(0, 4), None);
        assert!(grey_notice(4, 4).unwrap().contains("all of them"));
        assert!(grey_notice(1, 4).unwrap().starts_with("1 of 4 targets (25 %)"));
    }
}
