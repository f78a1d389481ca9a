//! Which kind of file another program has written, by its bytes.

use crate::engine::nn::StateTensor;
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::foreign::numpy;
use crate::exchange::foreign::tensors::{Foreign, Kind};
use crate::exchange::foreign::torch;
use crate::exchange::foreign::zip::Zip;
use safetensors::tensor::{Dtype, SafeTensors};

const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";
const ZIP: &[u8] = b"PK\x03\x04";

/// What a file says about arrays that are to be written anew.
const NPZ: &str = "write its arrays by Python: numpy.savez(\"weights.npz\", *model.get_weights())";
const STATE: &str = "write its tensors by Python: torch.save(model.state_dict(), \"weights.pth\")";

/// The tensors of a file's bytes: PyTorch's archive, `.npz` or safetensors. `source` is what messages call it.
///
/// # Errors
/// Another kind of file, one that is cut short or damaged, one that holds anything but tensors.
pub fn read(source: &str, bytes: &[u8]) -> Result<Foreign> {
    let refuse = |what: String, remedy: &str| Err(Error::input(what, source, remedy).of(ErrorKind::File));
    let found = match bytes {
        _ if bytes.starts_with(HDF5) => return refuse("an HDF5 file, as Keras writes it, is not read".into(), NPZ),
        _ if bytes.starts_with(torch::LEGACY) => torch::legacy_tensors(bytes).map_err(|what| (what, STATE)),
        _ if bytes.starts_with(ZIP) => {
            let zip = match Zip::of(bytes) {
                Ok(zip) => zip,
                Err(what) => return refuse(what, "use the whole file"),
            };
            let holds = |what: &dyn Fn(&str) -> bool| zip.names().any(what);
            if holds(&|name| name.ends_with(torch::PICKLE)) {
                torch::tensors(&zip).map_err(|what| (what, STATE))
            } else if holds(&|name| name.ends_with(numpy::EXTENSION)) {
                numpy::arrays(&zip).map_err(|what| (what, "use arrays of floats"))
            } else if holds(&|name| name.ends_with(".h5")) {
                return refuse("an archive of Keras is not read".into(), NPZ);
            } else {
                return refuse("an archive without weights that are known".into(), STATE);
            }
        }
        _ if bytes.starts_with(numpy::MAGIC) => return refuse("one array alone".into(), NPZ),
        [0x80, 2..=5, ..] => return refuse("a pickle without tensors beside it".into(), STATE),
        _ => safetensors(bytes).map_err(|what| (what, "use a .pth, .pt, .npz or .safetensors file, whole")),
    };
    match found {
        Ok(tensors) if tensors.is_empty() => refuse("no tensor in it".into(), STATE),
        Ok(tensors) => Ok(Foreign { source: source.to_owned(), tensors }),
        Err((what, remedy)) => refuse(what, remedy),
    }
}

fn safetensors(bytes: &[u8]) -> Result<Vec<StateTensor>, String> {
    let parsed = SafeTensors::deserialize(bytes).map_err(|error| format!("not a whole safetensors file ({error})"))?;
    let tensor = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let kind = match view.dtype() {
            Dtype::F32 => Kind::F32,
            Dtype::F16 => Kind::F16,
            Dtype::BF16 => Kind::Bf16,
            Dtype::F64 => Kind::F64,
            Dtype::I64 => Kind::Int(8),
            Dtype::I32 => Kind::Int(4),
            Dtype::U8 => Kind::U8,
            other => return Err(format!("tensor {name} is {other:?}")),
        };
        Ok(StateTensor { name: name.to_owned(), shape: view.shape().to_vec(), data: kind.values(view.data()) })
    };
    let mut tensors = parsed.iter().map(tensor).collect::<Result<Vec<_>, _>>()?;
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}
