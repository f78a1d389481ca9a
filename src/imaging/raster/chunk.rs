//! From the packed bytes of a strip or tile to its samples.
//!
//! Sources: TIFF 6.0, sections 9 (PackBits), 13 (LZW), 14 (differencing); TIFF Technical Notes 1 and 3 (deflate,
//! floating-point predictor).

use std::io::Read;

use crate::imaging::fault::{Fault, Outcome, damaged};
#[cfg(feature = "formats")]
use crate::imaging::raster::formats;
use crate::imaging::raster::layout::{Compression, Layout, Predictor};
use crate::imaging::raster::stream;

/// Decodes chunk `chunk` of an image: `[rows, chunk width, chunk bands]` samples in the machine's byte order.
///
/// # Errors
///
/// Fewer bytes than the chunk needs, or bytes that its compression cannot have written.
pub(super) fn decode(layout: &Layout, chunk: usize, packed: Vec<u8>) -> Outcome<Vec<u8>> {
    let rows = layout.rows_of(chunk);
    let needed = rows * layout.packed_row_bytes();
    let packed = match layout.reversed {
        true => packed.into_iter().map(u8::reverse_bits).collect(),
        false => packed,
    };
    let mut bytes = match &layout.compression {
        Compression::None => packed,
        Compression::Lzw => unpack_lzw(&packed, needed)?,
        Compression::Deflate => unpack(flate2::read::ZlibDecoder::new(packed.as_slice()), needed)?,
        Compression::PackBits => unpack_bits(&packed, needed)?,
        Compression::Zstd => match ruzstd::decoding::StreamingDecoder::new(packed.as_slice()) {
            Ok(decoder) => unpack(decoder, needed)?,
            Err(error) => return damaged(error.to_string()),
        },
        Compression::Jpeg { tables } => stream::unpack_jpeg(layout, rows, tables.as_deref(), &packed)?,
        #[cfg(feature = "formats")]
        Compression::Webp => formats::unpack_webp(layout, rows, &packed)?,
        #[cfg(feature = "formats")]
        Compression::Lerc(wrapper) => formats::unpack_lerc(layout, rows, *wrapper, &packed)?,
    };
    if bytes.len() < needed {
        return Err(Fault::Truncated);
    }
    bytes.truncate(needed);
    if !layout.bits.is_multiple_of(8) {
        return Ok(widen(&bytes, layout.packed_row_bytes(), layout.chunk_width * layout.chunk_bands(), layout.bits));
    }
    let (size, bands) = (layout.bits / 8, layout.chunk_bands());
    let rows = bytes.chunks_mut(layout.packed_row_bytes());
    if layout.predictor == Predictor::Float {
        rows.for_each(|row| undo_float(row, size, bands));
    } else {
        rows.for_each(|row| {
            swap_to_native(row, size, layout.little_endian);
            if layout.predictor == Predictor::Horizontal {
                undo_horizontal(row, size, bands);
            }
        });
    }
    if size < layout.sample.bytes() {
        return Ok(widen_floats(&bytes));
    }
    layout.photometric.convert(&mut bytes, layout.chunk_bands());
    Ok(bytes)
}

/// Reverses the bytes of each sample where the file's order is not the machine's.
pub(super) fn swap_to_native(bytes: &mut [u8], size: usize, little_endian: bool) {
    if size > 1 && little_endian != cfg!(target_endian = "little") {
        bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
}

fn unpack(mut decoder: impl Read, needed: usize) -> Outcome<Vec<u8>> {
    let mut bytes = vec![0; needed];
    decoder.read_exact(&mut bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Fault::Truncated,
        // The packed bytes are in memory: what fails is their content.
        _ => Fault::Damaged(error.to_string()),
    })?;
    Ok(bytes)
}

fn unpack_lzw(packed: &[u8], needed: usize) -> Outcome<Vec<u8>> {
    let mut bytes = vec![0; needed];
    let mut decoder = weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8);
    let (mut read, mut written) = (0, 0);
    while written < needed {
        let step = decoder.decode_bytes(&packed[read..], &mut bytes[written..]);
        read += step.consumed_in;
        written += step.consumed_out;
        match step.status {
            Ok(weezl::LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
            Ok(_) => break,
            Err(error) => return damaged(error.to_string()),
        }
    }
    bytes.truncate(written);
    Ok(bytes)
}

fn unpack_bits(packed: &[u8], needed: usize) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::with_capacity(needed);
    let mut rest = packed;
    while bytes.len() < needed {
        let [head, tail @ ..] = rest else { return Err(Fault::Truncated) };
        match *head as i8 {
            -128 => rest = tail,
            literal @ 0.. => {
                let (run, tail) = tail.split_at_checked(literal as usize + 1).ok_or(Fault::Truncated)?;
                bytes.extend_from_slice(run);
                rest = tail;
            }
            repeat => {
                let [byte, tail @ ..] = tail else { return Err(Fault::Truncated) };
                bytes.resize(bytes.len() + 1 + usize::from(repeat.unsigned_abs()), *byte);
                rest = tail;
            }
        }
    }
    Ok(bytes)
}

/// Unsigned samples of fewer than 8 bits to bytes, of 9 to 15 to 16 bits in the machine's order. The first bit is the
/// most significant, whatever the file's byte order; each row of `row` samples starts at a byte.
fn widen(packed: &[u8], packed_row: usize, row: usize, bits: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packed.len() / packed_row.max(1) * row * bits.div_ceil(8));
    for line in packed.chunks(packed_row) {
        for i in 0..row {
            // A sample lies within three bytes.
            let (first, skipped) = (i * bits / 8, i * bits % 8);
            let three = (0..3).fold(0, |sum, k| sum << 8 | u32::from(line.get(first + k).copied().unwrap_or(0)));
            let sample = three << (8 + skipped) >> (32 - bits);
            match bits < 8 {
                true => bytes.push(sample as u8),
                false => bytes.extend_from_slice(&(sample as u16).to_ne_bytes()),
            }
        }
    }
    bytes
}

/// Floats of 16 bits (IEEE 754 binary16) to floats of 32, exactly; both in the machine's order.
fn widen_floats(bytes: &[u8]) -> Vec<u8> {
    let wide = |half: u16| {
        let (exponent, fraction) = (half >> 10 & 31, u32::from(half & 1023));
        let magnitude = match exponent {
            // Without the leading 1, in units of the smallest.
            0 => fraction as f32 * 2f32.powi(-24),
            31 => f32::from_bits(0x7F80_0000 | fraction << 13),
            _ => f32::from_bits((u32::from(exponent) + 127 - 15) << 23 | fraction << 13),
        };
        if half >> 15 == 1 { -magnitude } else { magnitude }
    };
    bytes.as_chunks::<2>().0.iter().flat_map(|half| wide(u16::from_ne_bytes(*half)).to_ne_bytes()).collect()
}

/// Adds up a row's differences, each sample to its left neighbour of the same band.
fn undo_horizontal(row: &mut [u8], size: usize, bands: usize) {
    fn add<const N: usize>(row: &mut [u8], bands: usize, sum: impl Fn([u8; N], [u8; N]) -> [u8; N]) {
        let samples = row.as_chunks_mut::<N>().0;
        for i in bands..samples.len() {
            samples[i] = sum(samples[i - bands], samples[i]);
        }
    }
    match size {
        1 => add(row, bands, |[a], [b]: [u8; 1]| [a.wrapping_add(b)]),
        2 => add(row, bands, |a, b| u16::from_ne_bytes(a).wrapping_add(u16::from_ne_bytes(b)).to_ne_bytes()),
        4 => add(row, bands, |a, b| u32::from_ne_bytes(a).wrapping_add(u32::from_ne_bytes(b)).to_ne_bytes()),
        _ => add(row, bands, |a, b| u64::from_ne_bytes(a).wrapping_add(u64::from_ne_bytes(b)).to_ne_bytes()),
    }
}

/// Undoes the floating-point predictor: adds up the differences of bytes, then gathers each float's bytes, of which
/// the row has first all the most significant, then all the next, whatever the file's byte order.
fn undo_float(row: &mut [u8], size: usize, bands: usize) {
    for i in bands..row.len() {
        row[i] = row[i].wrapping_add(row[i - bands]);
    }
    let split = row.to_vec();
    let count = row.len() / size;
    for (i, float) in row.chunks_exact_mut(size).enumerate() {
        for (significance, byte) in float.iter_mut().rev().enumerate() {
            // Little-endian: the last byte is the most significant.
            *byte = split[significance * count + i];
        }
        if cfg!(target_endian = "big") {
            float.reverse();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_bits_unpack_as_in_the_specification() {
        // The example of TIFF 6.0, section 9.
        let packed = [0xFE, 0xAA, 0x02, 0x80, 0x00, 0x2A, 0xFD, 0xAA, 0x03, 0x80, 0x00, 0x2A, 0x22, 0xF7, 0xAA];
        let plain = [
            0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0xAA, 0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0x22, 0xAA, 0xAA, 0xAA, 0xAA,
            0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA,
        ];
        assert_eq!(unpack_bits(&packed, plain.len()).unwrap(), plain);
        assert!(matches!(unpack_bits(&packed[..14], plain.len()), Err(Fault::Truncated)));
    }

    #[test]
    fn bits_widen_row_by_row() {
        assert_eq!(widen(&[0b1010_0000, 0b0110_0000], 1, 3, 1), [1, 0, 1, 0, 1, 1]);
        assert_eq!(widen(&[0b1110_0100], 1, 4, 2), [3, 2, 1, 0]);
        assert_eq!(widen(&[0xAB, 0xC0], 2, 3, 4), [10, 11, 12]);
        let words = [0xABC_u16, 0xDEF].map(u16::to_ne_bytes).concat();
        assert_eq!(widen(&[0xAB, 0xCD, 0xEF], 3, 2, 12), words);
        let words = [0x3FF_u16, 0, 0x155].map(u16::to_ne_bytes).concat();
        assert_eq!(widen(&[0xFF, 0xC0, 0x05, 0x54], 4, 3, 10), words);
    }

    #[test]
    fn differences_wrap_around() {
        let mut row = [250, 1, 10, 255];
        undo_horizontal(&mut row, 1, 2);
        assert_eq!(row, [250, 1, 4, 0]);
    }
}
