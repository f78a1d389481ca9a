//! JPEG streams: of files, and of the chunks of TIFFs.
//!
//! Sources: ITU-T T.81, annex B; JFIF 1.02; libjpeg's jdapimin.c (which colours a stream has) and jdcolor.c.

mod entropy;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::imaging::fault::{Fault, Outcome, damaged, unsupported};
use crate::imaging::raster::orientation::Orientation;
use crate::imaging::raster::photometric::{rgb_of_ycbcr, through_ink};

/// What the segments before the first scan say.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub width: usize,
    pub height: usize,
    /// Which way up it is stored, by its EXIF block.
    pub orientation: Orientation,
    /// The components' numbers.
    components: Vec<u8>,
    jfif: bool,
    /// The colour transform that Adobe's segment names.
    adobe: Option<u8>,
    /// Where the first scan begins.
    scan: usize,
    /// The segments that a decoder needs, without what lies between them and what others have added.
    kept: Vec<u8>,
}

impl Header {
    /// Bands of the image: 1 is grey, 3 is RGB, which inks are made, too.
    pub fn bands(&self) -> usize {
        if self.components.len() == 1 { 1 } else { 3 }
    }

    /// Components as they are stored.
    pub fn components(&self) -> usize {
        self.components.len()
    }

    /// Whether three components are RGB as they stand, as libjpeg finds it.
    fn is_rgb(&self) -> bool {
        match self.adobe {
            _ if self.jfif => false,
            Some(transform) => transform == 0,
            None => self.components == *b"RGB",
        }
    }
}

/// Reads the header of a JPEG.
pub(super) fn header(bytes: &[u8]) -> Outcome<Header> {
    let mut header = Header { kept: vec![0xFF, 0xD8], ..Header::default() };
    let mut at = 2;
    loop {
        // The next marker, whatever lies before it.
        let rest = bytes.get(at..).unwrap_or_default();
        let place = rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0 | 0xFF));
        let marker = at + place.ok_or(Fault::Truncated)?;
        if matches!(bytes[marker + 1], 0x01 | 0xD0..=0xD8) {
            at = marker + 2;
            continue;
        }
        let length = bytes.get(marker + 2..marker + 4).ok_or(Fault::Truncated)?;
        at = marker + 2 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
        let content = bytes.get(marker + 4..at).ok_or(Fault::Truncated)?;
        let needed = match (bytes[marker + 1], content) {
            (0xC3 | 0xC7 | 0xCB | 0xCF, _) => return unsupported("lossless JPEG"),
            (0xC9 | 0xCA | 0xCD | 0xCE, _) => return unsupported("JPEG with arithmetic coding"),
            (0xC0..=0xC2, [8, h0, h1, w0, w1, count, components @ ..]) => {
                header.height = u16::from_be_bytes([*h0, *h1]).into();
                header.width = u16::from_be_bytes([*w0, *w1]).into();
                header.components = components.chunks(3).take((*count).into()).map(|component| component[0]).collect();
                true
            }
            (0xC0..=0xC2, [bits, ..]) => return unsupported(format!("JPEG of {bits} bits")),
            (0xDA, _) => {
                header.scan = marker;
                break;
            }
            (0xD9, _) => return damaged("a JPEG without an image"),
            (0xE0, content) => {
                header.jfif |= content.starts_with(b"JFIF\0");
                content.starts_with(b"JFIF\0")
            }
            (0xE1, content) => {
                if let Some(exif) = content.strip_prefix(b"Exif\0\0") {
                    header.orientation = Orientation::of_exif(exif);
                }
                false
            }
            (0xEE, content) => {
                if let [b'A', b'd', b'o', b'b', b'e', _, _, _, _, _, _, transform, ..] = content {
                    header.adobe = Some(*transform);
                }
                header.adobe.is_some()
            }
            (0xE2..=0xEF | 0xFE, _) => false,
            _ => true,
        };
        if needed {
            header.kept.extend_from_slice(&bytes[marker..at]);
        }
    }
    match (header.width, header.height, header.components.len()) {
        (0, ..) | (_, 0, _) => damaged(format!("a JPEG of {}x{}", header.width, header.height)),
        (_, _, 1 | 3 | 4) => Ok(header),
        (_, _, components) => unsupported(format!("JPEG of {components} components")),
    }
}

/// The image of a JPEG file, `[height, width, bands]` as it is stored: grey or RGB.
///
/// Inks are what libjpeg makes of them: Adobe's programs write them inverted, and YCCK becomes CMYK. They become RGB
/// as libtiff does it.
pub(super) fn decode(bytes: &[u8]) -> Outcome<(Header, Vec<u8>)> {
    let header = header(bytes)?;
    let stream = [&header.kept[..], &bytes[header.scan..]].concat();
    let mut samples = decode_stored(stream, &header)?;
    match header.components() {
        1 => {}
        3 if header.is_rgb() => {}
        3 => samples.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| *pixel = rgb_of_ycbcr(*pixel)),
        _ => {
            let light = |[a, b, c, black]: &[u8; 4]| {
                // Of YCCK, RGB is what its YCC says, and the inks are what that lacks of white.
                let [a, b, c] =
                    if header.adobe == Some(2) { rgb_of_ycbcr([*a, *b, *c]).map(|v| 255 - v) } else { [*a, *b, *c] };
                let inks = [a, b, c, *black].map(|ink| if header.adobe.is_some() { ink } else { 255 - ink });
                [inks[0], inks[1], inks[2]].map(|lacking| through_ink(lacking, inks[3]))
            };
            samples = samples.as_chunks::<4>().0.iter().flat_map(light).collect();
        }
    }
    Ok((header, samples))
}

/// The samples of a stream, `[height, width, components]` of its `header`, without any conversion of colours; what is
/// damaged is an error, where other programs fill it with grey.
pub(super) fn decode_stored(stream: Vec<u8>, header: &Header) -> Outcome<Vec<u8>> {
    let broken = |error: &dyn std::fmt::Display| Fault::Damaged(format!("JPEG: {error}"));
    if !is_whole(&stream) {
        return Err(Fault::Truncated);
    }
    entropy::check(&stream)?;
    let options =
        DecoderOptions::default().set_max_width(u16::MAX.into()).set_max_height(u16::MAX.into()).set_strict_mode(true);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(stream), options);
    decoder.decode_headers().map_err(|error| broken(&error))?;
    let info = decoder.info().ok_or_else(|| broken(&"no header"))?;
    let size = [info.width.into(), info.height.into(), usize::from(info.components)];
    if size != [header.width, header.height, header.components()] {
        return damaged("JPEG: two headers that differ");
    }
    // The stream itself cannot always tell RGB from YCbCr: that is for who reads it.
    if let Some(stored) = decoder.input_colorspace() {
        decoder.set_options(options.jpeg_set_out_colorspace(stored));
    }
    let samples = decoder.decode().map_err(|error| broken(&error))?;
    if samples.len() != size.iter().product::<usize>() {
        return damaged("JPEG: samples are missing");
    }
    Ok(samples)
}

/// Whether the segments of a JPEG run up to its end-of-image marker.
///
/// Decoders fill what is missing with grey and say nothing. Looking for the marker in the last two bytes would not do:
/// cameras append data, and an embedded thumbnail has a marker of its own.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    // The next marker: 0xFF and a byte that is neither stuffing (00), fill (FF) nor a restart marker (D0..D7).
    while let Some(offset) = bytes[at.min(bytes.len())..]
        .windows(2)
        .position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xFF | 0xD0..=0xD7))
    {
        let marker = bytes[at + offset + 1];
        at += offset + 2;
        match marker {
            0xD9 => return true,
            0x01 | 0xD8 => {}
            _ => match bytes.get(at..at + 2) {
                Some(length) => at += usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => return false,
            },
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_marker_within_a_segment_is_not_the_end() {
        // A comment that holds an end marker, then a scan with a stuffed byte and a restart marker.
        let start = [0xFF, 0xD8, 0xFF, 0xFE, 0, 4, 0xFF, 0xD9];
        let scan = [0xFF, 0xDA, 0, 2, 0x12, 0xFF, 0x00, 0xFF, 0xD0, 0x34];
        let whole = [&start[..], &scan, &[0xFF, 0xD9]].concat();
        assert!(is_whole(&whole));
        assert!(is_whole(&[&whole[..], b"appended"].concat()));
        assert!((0..whole.len()).all(|end| !is_whole(&whole[..end])));
    }
}
