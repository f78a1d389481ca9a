//! NumPy's file format.

use crate::error::Result;
use crate::files::write_whole_with;
use std::path::Path;

/// The header, with what comes before it, ends at a multiple of this.
const ALIGNMENT: usize = 64;

/// Writes values of `shape`, row-major, as a `.npy` file of little-endian 32-bit floats, version 1.0 (NumPy Enhancement
/// Proposal 1), whole or not at all.
///
/// # Panics
/// If there are other values than the shape says.
///
/// # Errors
/// A folder that may not be written, a full disk.
pub fn save_npy(path: &Path, shape: &[usize], values: &[f32]) -> Result<()> {
    assert_eq!(shape.iter().product::<usize>(), values.len(), "{shape:?}");
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", sizes.trim_end());
    // Magic, version, the header's length in two bytes; a line feed at the end.
    let before = 10;
    let padded = (before + header.len() + 1).next_multiple_of(ALIGNMENT) - before;
    header.extend(std::iter::repeat_n(' ', padded - 1 - header.len()));
    header.push('\n');
    write_whole_with(path, |file| {
        file.write_all(b"\x93NUMPY\x01\x00")?;
        file.write_all(&(header.len() as u16).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        values.iter().try_for_each(|value| file.write_all(&value.to_le_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_numpy_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        save_npy(&path, &[1, 2, 3], &[0.0, 1.0, -2.5, 3.0, 4.0, 5.0]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        // numpy.save of the same array: 64 bytes would not hold the header, so there are 128 before the values.
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00v\x00");
        let header = std::str::from_utf8(&bytes[10..128]).unwrap();
        assert_eq!(
            header.trim_end_matches([' ', '\n']),
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3,), }"
        );
        assert!(header.ends_with(" \n"));
        assert_eq!((bytes.len(), &bytes[136..140]), (128 + 24, &(-2.5f32).to_le_bytes()[..]));
    }

    #[test]
    fn one_axis_is_a_tuple_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        save_npy(&path, &[2], &[1.0, 2.0]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(String::from_utf8_lossy(&bytes).contains("'shape': (2,), }"));
        assert_eq!(bytes.len() % 64, 8);
    }
}
