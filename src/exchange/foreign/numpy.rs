//! NumPy's arrays, alone and in archives.

use crate::engine::nn::StateTensor;
use crate::exchange::foreign::tensors::{Kind, elements};
use crate::exchange::foreign::zip::Zip;

/// What an array begins with.
pub const MAGIC: &[u8] = b"\x93NUMPY";
/// How the entries of an archive end.
pub const EXTENSION: &str = ".npy";

/// The arrays of an `.npz` archive.
///
/// # Errors
/// An entry that is no array of numbers, in words.
pub fn arrays(zip: &Zip<'_>) -> Result<Vec<StateTensor>, String> {
    let names = zip.names().filter_map(|name| name.strip_suffix(EXTENSION));
    names.map(|name| array(name, &zip.read(&format!("{name}{EXTENSION}"))?)).collect()
}

/// An array of a `.npy` file (NumPy Enhancement Proposal 1), versions 1 to 3.
fn array(name: &str, bytes: &[u8]) -> Result<StateTensor, String> {
    let broken = |what: &str| format!("array {name}: {what}");
    let cut = || broken("cut short");
    if !bytes.starts_with(MAGIC) {
        return Err(broken("not a .npy file"));
    }
    let (version, rest) = (*bytes.get(6).ok_or_else(cut)?, bytes.get(8..).ok_or_else(cut)?);
    let len_bytes = if version == 1 { 2 } else { 4 };
    let len = rest.get(..len_bytes).ok_or_else(cut)?.iter().rev().fold(0usize, |len, byte| len << 8 | *byte as usize);
    let header = rest.get(len_bytes..).and_then(|rest| rest.get(..len)).ok_or_else(cut)?;
    let data = &rest[len_bytes + len..];
    let header = std::str::from_utf8(header).map_err(|_| broken("a header that is no text"))?;
    let after = |key: &str| {
        let (_, rest) = header.split_once(&format!("'{key}':")).ok_or_else(|| broken("a header without all keys"))?;
        Ok::<_, String>(rest.trim_start())
    };
    let descr = after("descr")?;
    let descr = descr.strip_prefix('\'').and_then(|rest| rest.split_once('\'')).map(|(descr, _)| descr);
    let kind = match descr {
        Some("<f4") => Kind::F32,
        Some("<f2") => Kind::F16,
        Some("<f8") => Kind::F64,
        Some("<i8") => Kind::Int(8),
        Some("<i4") => Kind::Int(4),
        Some("|u1") => Kind::U8,
        Some("|O") => return Err(broken("Python objects, which are not read")),
        other => return Err(broken(&format!("elements {}, not floats", other.unwrap_or("of several fields")))),
    };
    let fortran = after("fortran_order")?.starts_with("True");
    let shape = after("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(shape, _)| shape);
    let sizes = shape.ok_or_else(|| broken("no shape"))?.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape: Vec<usize> =
        sizes.map(str::parse).collect::<Result<_, _>>().map_err(|_| broken("a shape that is none"))?;
    let len = elements(&shape).and_then(|len| len.checked_mul(kind.bytes()));
    if len != Some(data.len()) {
        return Err(broken(&format!("{} bytes for shape {shape:?}", data.len())));
    }
    let values = kind.values(data);
    let data = if fortran && shape.len() > 1 { row_major(&shape, &values) } else { values };
    Ok(StateTensor { name: name.to_owned(), shape, data })
}

/// Elements whose first axis runs fastest, as ones whose last does.
fn row_major(shape: &[usize], values: &[f32]) -> Vec<f32> {
    let place = |mut index: usize| {
        let (mut at, mut step) = (0, values.len());
        for size in shape.iter().rev() {
            step /= size;
            at += index % size * step;
            index /= size;
        }
        at
    };
    (0..values.len()).map(|index| values[place(index)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn arrays_are_read_in_both_orders() {
        let data: Vec<u8> = (0..6).flat_map(|v| (v as f32).to_le_bytes()).collect();
        let c = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", &data);
        let f = npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n", &data);
        assert_eq!(array("a", &c).unwrap().data, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(array("a", &f).unwrap().data, [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
        let scalar = npy("{'descr': '<i8', 'fortran_order': False, 'shape': (), }\n", &7i64.to_le_bytes());
        assert_eq!((array("a", &scalar).unwrap().shape.len(), array("a", &scalar).unwrap().data[0]), (0, 7.0));
    }

    #[test]
    fn what_is_no_array_of_numbers_is_refused() {
        let header = |descr: &str, shape: &str| {
            npy(&format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"), &[0; 16])
        };
        for (bytes, named) in [
            (header("'|O'", "(2,)"), "Python objects"),
            (header("'<f4'", "(5,)"), "16 bytes for shape [5]"),
            (header("'<f4'", "(-4,)"), "a shape that is none"),
            (header("'<f4'", "(4294967296, 4294967296, 4294967296)"), "16 bytes for shape"),
            (header("'>c8'", "(2,)"), ">c8"),
            (header("'<f4'", "(4,)")[..20].to_vec(), "cut short"),
            (b"nothing".to_vec(), "not a .npy file"),
        ] {
            let error = array("a", &bytes).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
