//! The types that samples have in a file.

use std::fmt;

/// The type of a raster's samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SampleType {
    /// 8-bit unsigned; files with fewer bits a sample are widened to this.
    U8,
    /// 8-bit signed.
    I8,
    /// 16-bit unsigned; files with 9 to 15 bits a sample are widened to this.
    U16,
    /// 16-bit signed.
    I16,
    /// 32-bit unsigned.
    U32,
    /// 32-bit signed.
    I32,
    /// 64-bit unsigned. Values are those of the nearest 64-bit float; the nodata value is told apart exactly.
    U64,
    /// 64-bit signed, as [`SampleType::U64`].
    I64,
    /// 32-bit float; files with floats of 16 bits are widened to this.
    F32,
    /// 64-bit float.
    F64,
}

/// Integers up to this are exact in a 64-bit float.
pub(super) const EXACT: f64 = (1u64 << 53) as f64;

/// Runs `$body` with `$type` as the Rust type of the samples.
macro_rules! for_sample_type {
    ($sample:expr, $type:ident => $body:expr) => {
        match $sample {
            SampleType::U8 => {
                type $type = u8;
                $body
            }
            SampleType::I8 => {
                type $type = i8;
                $body
            }
            SampleType::U16 => {
                type $type = u16;
                $body
            }
            SampleType::I16 => {
                type $type = i16;
                $body
            }
            SampleType::U32 => {
                type $type = u32;
                $body
            }
            SampleType::I32 => {
                type $type = i32;
                $body
            }
            SampleType::U64 => {
                type $type = u64;
                $body
            }
            SampleType::I64 => {
                type $type = i64;
                $body
            }
            SampleType::F32 => {
                type $type = f32;
                $body
            }
            SampleType::F64 => {
                type $type = f64;
                $body
            }
        }
    };
}

impl SampleType {
    /// All types.
    pub const ALL: [SampleType; 10] = [
        SampleType::U8,
        SampleType::I8,
        SampleType::U16,
        SampleType::I16,
        SampleType::U32,
        SampleType::I32,
        SampleType::U64,
        SampleType::I64,
        SampleType::F32,
        SampleType::F64,
    ];

    /// Bytes of a sample.
    pub fn bytes(self) -> usize {
        for_sample_type!(self, T => size_of::<T>())
    }

    /// Whether samples are floats, which have NaN.
    pub fn is_float(self) -> bool {
        matches!(self, SampleType::F32 | SampleType::F64)
    }

    /// Whether samples are integers that may be negative.
    pub fn is_signed(self) -> bool {
        matches!(self, SampleType::I8 | SampleType::I16 | SampleType::I32 | SampleType::I64)
    }

    /// Whether samples are integers that a 64-bit float does not hold exactly, from [`EXACT`] on.
    pub(super) fn is_wide(self) -> bool {
        matches!(self, SampleType::U64 | SampleType::I64)
    }

    /// Whether an integer is one of the type's samples.
    pub(super) fn holds(self, integer: i128) -> bool {
        let bits = 8 * self.bytes() as u32;
        let [low, high] = if self.is_signed() { [-1 << (bits - 1), 1 << (bits - 1)] } else { [0, 1 << bits] };
        (low..high).contains(&integer)
    }

    /// The value of the TIFF tag SampleFormat: 1 unsigned, 2 signed, 3 float.
    pub(super) fn format(self) -> u16 {
        match self {
            SampleType::U8 | SampleType::U16 | SampleType::U32 | SampleType::U64 => 1,
            SampleType::I8 | SampleType::I16 | SampleType::I32 | SampleType::I64 => 2,
            SampleType::F32 | SampleType::F64 => 3,
        }
    }

    /// The type of samples of `bits` bits and TIFF SampleFormat `format`.
    pub(super) fn of(bits: u16, format: u16) -> Option<Self> {
        match (bits, format) {
            (1..=7, 1) => Some(SampleType::U8),
            (9..=15, 1) => Some(SampleType::U16),
            (16, 3) => Some(SampleType::F32),
            _ => Self::ALL.into_iter().find(|sample| (sample.bytes() * 8, sample.format()) == (bits.into(), format)),
        }
    }

    /// The sample nearest to `value`.
    #[allow(clippy::unnecessary_cast, reason = "f64 is one of the macro's types")]
    pub(super) fn nearest(self, value: f64) -> f64 {
        let value = if self.is_float() { value } else { value.round_ties_even() };
        // `as` clamps to the type's range.
        for_sample_type!(self, T => value as T as f64)
    }

    /// Puts the samples `first + i * stride` of `bytes`, which are in the machine's order, into `values[i]`.
    #[allow(clippy::unnecessary_cast, reason = "f64 is one of the macro's types")]
    pub(super) fn read(self, bytes: &[u8], first: usize, stride: usize, values: &mut [f64]) {
        for_sample_type!(self, T => {
            let samples = bytes.as_chunks::<{ size_of::<T>() }>().0;
            for (value, sample) in values.iter_mut().zip(samples[first..].iter().step_by(stride)) {
                *value = T::from_ne_bytes(*sample) as f64;
            }
        });
    }

    /// Puts NaN into `values[i]` where the sample `first + i * stride` is `integer`. Only of wide integers, whose
    /// values do not tell it.
    pub(super) fn mark(self, integer: i128, bytes: &[u8], first: usize, stride: usize, values: &mut [f64]) {
        let signed = self.is_signed();
        let of = |bytes| match signed {
            true => i128::from(i64::from_ne_bytes(bytes)),
            false => i128::from(u64::from_ne_bytes(bytes)),
        };
        let samples = bytes.as_chunks::<8>().0;
        for (value, sample) in values.iter_mut().zip(samples[first..].iter().step_by(stride)) {
            if of(*sample) == integer {
                *value = f64::NAN;
            }
        }
    }

    /// Appends `value` to `bytes` in little-endian order: rounded to nearest (ties to even) and clamped for integers.
    pub(super) fn push(self, bytes: &mut Vec<u8>, value: f64) {
        let value = if self.is_float() { value } else { value.round_ties_even() };
        // `as` clamps to the type's range.
        for_sample_type!(self, T => bytes.extend_from_slice(&(value as T).to_le_bytes()));
    }
}

impl fmt::Display for SampleType {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(for_sample_type!(self, T => std::any::type_name::<T>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_round_and_clamp_to_their_type() {
        for (sample, value, expected) in [
            (SampleType::U8, 254.5, 254.0),
            (SampleType::U8, 300.0, 255.0),
            (SampleType::I8, -129.0, -128.0),
            (SampleType::U16, -1.0, 0.0),
            (SampleType::I16, -1.5, -2.0),
            (SampleType::I32, 3e9, 2_147_483_647.0),
            (SampleType::U32, 3e9, 3e9),
            (SampleType::U64, -3.0, 0.0),
            (SampleType::U64, 1e20, 2f64.powi(64)),
            (SampleType::I64, -1e20, -(2f64.powi(63))),
            (SampleType::I64, 9_007_199_254_740_991.0, 9_007_199_254_740_991.0),
            (SampleType::F32, 0.1, f64::from(0.1f32)),
            (SampleType::F64, 0.1, 0.1),
        ] {
            let mut bytes = Vec::new();
            sample.push(&mut bytes, 7.0);
            sample.push(&mut bytes, value);
            crate::imaging::raster::chunk::swap_to_native(&mut bytes, sample.bytes(), true);
            let mut read = [0.0];
            sample.read(&bytes, 1, 1, &mut read);
            assert_eq!(read, [expected], "{value} as {sample}");
        }
    }
}
