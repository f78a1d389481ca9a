//! PyTorch's files: a zip archive of a pickle and storages, and, before version 1.6, five pickles and the storages
//! behind them.

use crate::engine::nn::StateTensor;
use crate::exchange::foreign::pickle::{Id, Known, Pickle, Value};
use crate::exchange::foreign::tensors::{Kind, elements};
use crate::exchange::foreign::zip::Zip;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// How the name of the pickle ends.
pub const PICKLE: &str = "data.pkl";
/// What files of versions before 1.6 begin with: the pickle of a number of ten bytes.
pub const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Dictionaries within dictionaries, at most.
const DEPTH: usize = 6;
/// Tensors of a file, at most, and elements of all of them.
const MOST: usize = 100_000;
const MOST_ELEMENTS: usize = 1 << 31;

type Answer<T> = Result<T, String>;

/// The tensors of the dictionary in a file, those of dictionaries within it by both names with a point between.
///
/// # Errors
/// Whatever is no dictionary of tensors, in words.
pub fn tensors(zip: &Zip<'_>) -> Answer<Vec<StateTensor>> {
    let name = zip.names().find(|name| name.ends_with(PICKLE)).ok_or("the archive has no data.pkl")?;
    let folder = name.strip_suffix(PICKLE).unwrap_or_default().to_owned();
    let order = format!("{folder}byteorder");
    if zip.names().any(|name| name == order) && zip.read(&order)? != b"little" {
        return Err("its numbers are big-endian".to_owned());
    }
    let (pickle, _) = Pickle::read(&zip.read(name)?)?;
    collected(Storages::Zip { zip, folder }, pickle)
}

/// As [`tensors`], of the bytes of a file that begins with [`LEGACY`].
///
/// # Errors
/// As [`tensors`].
pub fn legacy_tensors(bytes: &[u8]) -> Answer<Vec<StateTensor>> {
    let mut at = LEGACY.len();
    let mut next = || {
        let (pickle, len) = Pickle::read(bytes.get(at..).unwrap_or_default())?;
        at += len;
        Ok::<_, String>(pickle)
    };
    // The format's version; the system's byte order and sizes; the object; the names of its storages.
    let (_, system, object, names) = (next()?, next()?, next()?, next()?);
    let entries = |value: &Value| if let Value::Dict(entries) = value { entries.clone() } else { Vec::new() };
    let is = |id: Id, text: &str| matches!(system.value(id), Value::Text(key) if key == text);
    let order = entries(system.value(system.top())).into_iter().find(|(key, _)| is(*key, "little_endian"));
    if order.is_some_and(|(_, little)| *system.value(little) == Value::Int(0)) {
        return Err("its numbers are big-endian".to_owned());
    }
    let cut = || "the file is cut short".to_owned();
    let Value::Row(row) = names.value(names.top()) else { return Err("no list of storages".to_owned()) };
    let text = |id: &Id| match names.value(*id) {
        Value::Text(name) => Ok(name.clone()),
        _ => Err("a storage without a name".to_owned()),
    };
    let names: Vec<String> = row.iter().map(text).collect::<Answer<_>>()?;
    let mut kinds = BTreeMap::new();
    for value in object.values() {
        if let Value::Outside(called) = value
            && let Ok((kind, key)) = storage(&object, *called)
        {
            kinds.insert(key, kind);
        }
    }
    let mut storages = BTreeMap::new();
    for name in names {
        let kind = kinds.get(&name).ok_or_else(|| format!("nothing uses storage {name}"))?;
        let len = bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map(u64::from_le_bytes);
        let len = len.and_then(|len| usize::try_from(len).ok()?.checked_mul(kind.bytes())).ok_or_else(cut)?;
        at += 8;
        let data = at.checked_add(len).and_then(|end| bytes.get(at..end)).ok_or_else(cut)?;
        at += len;
        storages.insert(name, data);
    }
    collected(Storages::Behind(storages), object)
}

fn collected(storages: Storages<'_>, pickle: Pickle) -> Answer<Vec<StateTensor>> {
    let mut file = File { storages, pickle, tensors: Vec::new(), elements: 0 };
    file.collect(file.pickle.top(), "", 0)?;
    Ok(file.tensors)
}

/// Where the elements of tensors lie.
enum Storages<'a> {
    /// Entries of an archive below a folder.
    Zip { zip: &'a Zip<'a>, folder: String },
    /// Bytes by the storage's name.
    Behind(BTreeMap<String, &'a [u8]>),
}

impl Storages<'_> {
    fn read(&self, key: &str) -> Answer<Cow<'_, [u8]>> {
        match self {
            Storages::Zip { zip, folder } => zip.read(&format!("{folder}data/{key}")).map(Cow::Owned),
            Storages::Behind(storages) => {
                let found = storages.get(key).ok_or_else(|| format!("the file has no storage {key}"))?;
                Ok(Cow::Borrowed(found))
            }
        }
    }
}

struct File<'a> {
    storages: Storages<'a>,
    pickle: Pickle,
    tensors: Vec<StateTensor>,
    elements: usize,
}

impl File<'_> {
    fn collect(&mut self, id: Id, prefix: &str, depth: usize) -> Answer<()> {
        let Value::Dict(entries) = self.pickle.value(id).clone() else {
            return match depth {
                0 => Err("it holds no dictionary of tensors".to_owned()),
                // Counters, names and the like beside the tensors.
                _ => Ok(()),
            };
        };
        if depth > DEPTH {
            return Err("its dictionaries lie too deep in one another".to_owned());
        }
        for (key, value) in entries {
            if self.tensors.len() >= MOST {
                return Err(format!("it holds more than {MOST} tensors"));
            }
            let key = match self.pickle.value(key) {
                Value::Text(key) => format!("{prefix}{key}"),
                Value::Int(key) => format!("{prefix}{key}"),
                _ => continue,
            };
            match self.pickle.value(value).clone() {
                Value::Tensor(arguments) => {
                    let tensor = self.tensor(&key, &arguments)?;
                    self.elements += tensor.data.len();
                    if self.elements > MOST_ELEMENTS {
                        return Err(format!("it holds more than {MOST_ELEMENTS} numbers"));
                    }
                    self.tensors.push(tensor);
                }
                _ => self.collect(value, &format!("{key}."), depth + 1)?,
            }
        }
        Ok(())
    }

    /// A row of whole numbers, none below 0.
    fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        let Value::Row(row) = self.pickle.value(id) else { return None };
        row.iter().map(|id| self.size(*id)).collect()
    }

    fn size(&self, id: Id) -> Option<usize> {
        match self.pickle.value(id) {
            Value::Int(size) => usize::try_from(*size).ok(),
            _ => None,
        }
    }

    /// A tensor of its storage, offset, sizes and strides.
    fn tensor(&self, name: &str, arguments: &[Id]) -> Answer<StateTensor> {
        let broken = |what: &str| format!("tensor {name}: {what}");
        let &[storage_id, offset, shape, strides, ..] = arguments else { return Err(broken("arguments are missing")) };
        let Value::Outside(called) = self.pickle.value(storage_id) else { return Err(broken("no storage")) };
        let (kind, key) = storage(&self.pickle, *called).map_err(|what| broken(&what))?;
        let of = (self.size(offset), self.sizes(shape), self.sizes(strides));
        let (Some(offset), Some(shape), Some(strides)) = of else { return Err(broken("sizes that are none")) };
        let bytes = self.storages.read(&key).map_err(|what| broken(&what))?;
        let held = bytes.len() / kind.bytes();
        // The last element lies at the sum of all strides; nothing is repeated.
        let reach = shape
            .iter()
            .zip(&strides)
            .try_fold(offset, |reach, (size, stride)| reach.checked_add(size.saturating_sub(1).checked_mul(*stride)?));
        let len = elements(&shape).filter(|len| *len <= held && shape.len() == strides.len());
        let Some(len) = len.filter(|len| *len == 0 || reach.is_some_and(|reach| reach < held)) else {
            return Err(broken(&format!("shape {shape:?} does not fit into a storage of {held}")));
        };
        let values = kind.values(&bytes);
        let place = |mut index: usize| {
            let mut at = offset;
            for (size, stride) in shape.iter().zip(&strides).rev() {
                at += index % size * stride;
                index /= size;
            }
            at
        };
        let data = (0..len).map(|index| values[place(index)]).collect();
        Ok(StateTensor { name: name.to_owned(), shape, data })
    }
}

/// The elements' kind and the name of a storage, by what it is called.
fn storage(pickle: &Pickle, called: Id) -> Answer<(Kind, String)> {
    let Value::Row(called) = pickle.value(called) else { return Err("a storage without a name".to_owned()) };
    let values: Vec<&Value> = called.iter().map(|id| pickle.value(*id)).collect();
    let [Value::Text(what), Value::Known(Known::Storage(kind)), Value::Text(key), ..] = &values[..] else {
        return Err("a storage without a name".to_owned());
    };
    let kind = match kind.as_str() {
        "FloatStorage" => Kind::F32,
        "HalfStorage" => Kind::F16,
        "BFloat16Storage" => Kind::Bf16,
        "DoubleStorage" => Kind::F64,
        "LongStorage" => Kind::Int(8),
        "IntStorage" => Kind::Int(4),
        "ShortStorage" => Kind::Int(2),
        "CharStorage" => Kind::Int(1),
        "ByteStorage" | "BoolStorage" => Kind::U8,
        other => return Err(format!("elements of {other}")),
    };
    if what != "storage" {
        return Err(format!("{what}, not a storage"));
    }
    Ok((kind, key.clone()))
}
