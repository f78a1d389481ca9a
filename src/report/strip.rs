//! Sample strips: images laid side by side, and two images in one frame.

use std::io::Cursor;

use image::imageops::{self, FilterType};
use image::{GenericImage, ImageFormat, Rgb, RgbImage};

use crate::error::{Error, Result};

/// Colour of the gap between images: a grey that sets them apart on a light page and on a dark one.
const GAP_COLOUR: Rgb<u8> = Rgb([150, 150, 150]);

/// Lays `pictures` (8-bit sRGB, equal height) side by side from left to right with `gap` pixels of grey between them.
///
/// # Errors
///
/// No images, or images of different heights.
pub fn side_by_side(pictures: &[&RgbImage], gap: u32) -> Result<RgbImage> {
    let Some(first) = pictures.first() else {
        return Err(Error::input("a strip without pictures", "sample strip", "give at least one picture"));
    };
    let width = pictures.iter().map(|picture| picture.width()).sum::<u32>() + gap * (pictures.len() as u32 - 1);
    let mut strip = RgbImage::from_pixel(width, first.height(), GAP_COLOUR);
    let mut x = 0;
    for picture in pictures {
        same_height(first, picture)?;
        copy(&mut strip, picture, x)?;
        x += picture.width() + gap;
    }
    Ok(strip)
}

/// One frame split down the middle: the left half of `truth`, the right half of `prediction` (both 8-bit sRGB of the
/// same size). Of an odd width, the middle column is the prediction's.
///
/// Two images of one place side by side make the eye look for differences; where a seam cannot be seen, the colours are
/// plausible. The figure is that of a blog of CosmiQ Works (2017).
///
/// # Errors
///
/// Images of different sizes.
pub fn split_down_the_middle(truth: &RgbImage, prediction: &RgbImage) -> Result<RgbImage> {
    if truth.dimensions() != prediction.dimensions() {
        return Err(differs(truth, prediction));
    }
    let middle = truth.width() / 2;
    Ok(RgbImage::from_fn(truth.width(), truth.height(), |x, y| {
        *(if x < middle { truth } else { prediction }).get_pixel(x, y)
    }))
}

/// `picture` made smaller, if need be, so that no side is longer than `longest` pixels (at least 1): a report holds its
/// images in itself and should not grow with them. The shape is kept to the nearest pixel.
pub fn fit(picture: &RgbImage, longest: u32) -> RgbImage {
    let side = picture.width().max(picture.height());
    if side <= longest {
        return picture.clone();
    }
    let scaled = |length: u32| ((f64::from(length) * f64::from(longest) / f64::from(side)).round() as u32).max(1);
    // The triangle filter averages over what it leaves out, so that speckle does not alias.
    imageops::resize(picture, scaled(picture.width()), scaled(picture.height()), FilterType::Triangle)
}

/// `picture` as the bytes of a PNG file.
///
/// # Errors
///
/// An image without pixels, which PNG cannot hold.
pub fn encode_png(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).map_err(|error| {
        let size = format!("picture of {} x {}", picture.width(), picture.height());
        Error::failed("cannot encode PNG", size, error.to_string())
    })?;
    Ok(bytes.into_inner())
}

fn copy(strip: &mut RgbImage, picture: &RgbImage, x: u32) -> Result<()> {
    strip
        .copy_from(picture, x, 0)
        .map_err(|error| Error::failed("cannot lay out a strip", "sample strip", error.to_string()))
}

fn same_height(a: &RgbImage, b: &RgbImage) -> Result<()> {
    if a.height() == b.height() { Ok(()) } else { Err(differs(a, b)) }
}

fn differs(a: &RgbImage, b: &RgbImage) -> Error {
    let sizes = format!("{} x {} and {} x {}", a.width(), a.height(), b.width(), b.height());
    Error::input("pictures of different sizes", sizes, "give pictures of one size")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(width: u32, height: u32, value: u8) -> RgbImage {
        RgbImage::from_pixel(width, height, Rgb([value; 3]))
    }

    fn reds(picture: &RgbImage, y: u32) -> Vec<u8> {
        (0..picture.width()).map(|x| picture.get_pixel(x, y)[0]).collect()
    }

    #[test]
    fn a_strip_holds_its_pictures_in_order_with_the_gap_between_them_only() {
        let strip = side_by_side(&[&flat(2, 3, 10), &flat(1, 3, 20), &flat(2, 3, 30)], 2).unwrap();
        assert_eq!(strip.dimensions(), (9, 3));
        for y in 0..3 {
            assert_eq!(reds(&strip, y), [10, 10, 150, 150, 20, 150, 150, 30, 30]);
        }
    }

    #[test]
    fn one_picture_is_its_own_strip() {
        assert_eq!(side_by_side(&[&flat(4, 2, 7)], 8).unwrap(), flat(4, 2, 7));
    }

    #[test]
    fn unequal_heights_and_empty_strips_are_refused() {
        assert!(
            side_by_side(&[&flat(2, 3, 0), &flat(2, 4, 0)], 1).unwrap_err().to_string().contains("2 x 3 and 2 x 4")
        );
        assert!(side_by_side(&[], 1).is_err());
    }

    #[test]
    fn a_split_frame_shows_the_truth_left_and_the_prediction_right() {
        assert_eq!(reds(&split_down_the_middle(&flat(5, 1, 1), &flat(5, 1, 9)).unwrap(), 0), [1, 1, 9, 9, 9]);
        assert!(split_down_the_middle(&flat(5, 1, 1), &flat(4, 1, 9)).is_err());
    }

    #[test]
    fn fitting_shrinks_long_pictures_and_leaves_others_alone() {
        let striped = RgbImage::from_fn(8, 2, |x, _| Rgb([200 * (x % 2) as u8; 3]));
        assert_eq!(fit(&striped, 8), striped);
        let small = fit(&striped, 4);
        assert_eq!(small.dimensions(), (4, 1));
        assert!((80..=120).contains(&small.get_pixel(2, 0)[0]), "stripes average out: {:?}", reds(&small, 0));
        assert_eq!(fit(&flat(1000, 1, 3), 10).dimensions(), (10, 1));
    }

    #[test]
    fn an_encoded_strip_reads_back_the_same() {
        let strip = side_by_side(&[&flat(3, 2, 200), &flat(3, 2, 40)], 1).unwrap();
        let read = image::load_from_memory_with_format(&encode_png(&strip).unwrap(), ImageFormat::Png).unwrap();
        assert_eq!(read.to_rgb8(), strip);
    }
}
