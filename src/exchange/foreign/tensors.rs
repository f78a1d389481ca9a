//! Tensors of another program's file, by its names and in its order.

use crate::engine::nn::StateTensor;
use crate::error::{Error, ErrorKind, Result};
use half::{bf16, f16};

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreign {
    /// What messages call the file.
    pub source: String,
    /// Its tensors.
    pub tensors: Vec<StateTensor>,
}

/// How elements of a tensor lie in a file, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IEEE 16 bits.
    F16,
    /// The upper half of 32 bits.
    Bf16,
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
    /// Whole numbers of so many bytes, with a sign.
    Int(usize),
    /// Whole numbers of 8 bits, without a sign.
    U8,
}

impl Kind {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Kind::U8 => 1,
            Kind::F16 | Kind::Bf16 => 2,
            Kind::F32 => 4,
            Kind::F64 => 8,
            Kind::Int(bytes) => bytes,
        }
    }

    /// The element at the start of `bytes`, which holds at least one.
    fn value(self, bytes: &[u8]) -> f32 {
        let mut eight = [0; 8];
        eight[..self.bytes()].copy_from_slice(&bytes[..self.bytes()]);
        let low = u64::from_le_bytes(eight);
        match self {
            Kind::U8 => low as f32,
            Kind::F16 => f16::from_bits(low as u16).to_f32(),
            Kind::Bf16 => bf16::from_bits(low as u16).to_f32(),
            Kind::F32 => f32::from_bits(low as u32),
            Kind::F64 => f64::from_bits(low) as f32,
            Kind::Int(bytes) => {
                let unused = 64 - 8 * bytes as u32;
                ((low << unused) as i64 >> unused) as f32
            }
        }
    }

    /// All elements as f32.
    pub fn values(self, bytes: &[u8]) -> Vec<f32> {
        bytes.chunks_exact(self.bytes()).map(|element| self.value(element)).collect()
    }
}

/// How many elements a tensor of this shape has; `None` where no memory holds as many.
pub fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |len, size| len.checked_mul(*size)).filter(|len| *len < 1 << 40)
}

impl Foreign {
    /// The tensor of that name, if there is one.
    pub fn get(&self, name: &str) -> Option<&StateTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// The tensor of that name with four axes.
    ///
    /// # Errors
    /// None, or one of other axes.
    pub fn kernel(&self, name: &str) -> Result<([usize; 4], &[f32])> {
        let tensor = self.require(name)?;
        let shape: [usize; 4] = tensor.shape[..].try_into().map_err(|_| {
            self.refuse(format!("tensor {name} has shape {:?}, not the four axes of a kernel", tensor.shape))
        })?;
        Ok((shape, &tensor.data))
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// None.
    pub fn require(&self, name: &str) -> Result<&StateTensor> {
        self.get(name).ok_or_else(|| self.refuse(format!("tensor {name} is missing")))
    }

    /// A complaint about the file.
    pub fn refuse(&self, what: impl Into<String>) -> Error {
        Error::input(what, &self.source, "use weights of a program that docs/convert.md lists").of(ErrorKind::File)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_all_kinds_are_read() {
        assert_eq!(Kind::F16.values(&f16::from_f32(-1.5).to_le_bytes()), [-1.5]);
        assert_eq!(Kind::Bf16.values(&bf16::from_f32(0.25).to_le_bytes()), [0.25]);
        assert_eq!(Kind::F64.values(&(-0.5f64).to_le_bytes()), [-0.5]);
        assert_eq!(Kind::F32.values(&[0, 0, 128, 63, 9]), [1.0]);
        assert_eq!(Kind::Int(8).values(&(-3i64).to_le_bytes()), [-3.0]);
        assert_eq!(Kind::Int(2).values(&(-3i16).to_le_bytes()), [-3.0]);
        assert_eq!(Kind::U8.values(&[200]), [200.0]);
        assert_eq!((elements(&[2, 3]), elements(&[usize::MAX, 2]), elements(&[])), (Some(6), None, Some(1)));
    }
}
