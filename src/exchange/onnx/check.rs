//! A reader of ONNX files: whether a graph holds together, and which shapes its values have for a source of a size.

use crate::error::{Error, ErrorKind, Result};
use crate::exchange::onnx::proto::{ElementKind, GraphProto, ModelProto, OPSET, Size, TensorProto};
use crate::exchange::onnx::shapes::{Known, shape_of};
use prost::Message;
use std::collections::BTreeMap;

/// Reads a file and follows a source of `[N, C, H, W]` through it: the shape of what comes out.
///
/// # Errors
/// What is not such a file; a node that reads what no node before it makes, names that are not unique, a constant with
/// another number of elements than its shape says, an operator that is not known here, shapes that do not fit.
pub fn check(source: &str, bytes: &[u8], shape: [usize; 4]) -> Result<Vec<usize>> {
    let refuse = |what: String| Error::input(what, source, "use an .onnx file that huetape wrote").of(ErrorKind::File);
    let model = ModelProto::decode(bytes).map_err(|error| refuse(format!("not a whole ONNX file ({error})")))?;
    followed(&model, shape).map_err(refuse)
}

fn followed(model: &ModelProto, shape: [usize; 4]) -> Result<Vec<usize>, String> {
    let opset = model.opset_import.iter().find(|set| set.domain.is_empty()).map(|set| set.version);
    if opset != Some(OPSET) {
        return Err(format!("operators of version {opset:?}, not {OPSET}"));
    }
    let graph = model.graph.as_ref().ok_or("no graph in it")?;
    let [input] = &graph.input[..] else { return Err(format!("{} inputs, not one", graph.input.len())) };
    if !fits(graph, shape) {
        return Err(format!("a source of {shape:?} is not what it reads"));
    }
    let mut known: BTreeMap<&str, Known> = BTreeMap::from([(input.name.as_str(), Known::of(shape.to_vec()))]);
    for tensor in &graph.initializer {
        if known.insert(&tensor.name, constant(tensor)?).is_some() {
            return Err(format!("two values are called {}", tensor.name));
        }
    }
    for node in &graph.node {
        let at = |what: String| format!("node {} ({}): {what}", node.name, node.op_type);
        let mut inputs = Vec::new();
        for name in &node.input {
            let found = known.get(name.as_str());
            if found.is_none() && !name.is_empty() {
                return Err(at(format!("reads {name}, which nothing before it makes")));
            }
            inputs.push(found);
        }
        let made = shape_of(node, &inputs).map_err(at)?;
        let [output] = &node.output[..] else { return Err(at(format!("{} outputs, not one", node.output.len()))) };
        if known.insert(output, made).is_some() {
            return Err(at(format!("two values are called {output}")));
        }
    }
    let [output] = &graph.output[..] else { return Err(format!("{} outputs, not one", graph.output.len())) };
    let made = known.get(output.name.as_str()).ok_or_else(|| format!("nothing makes {}", output.name))?;
    Ok(made.shape.clone())
}

/// Whether the source's bands are those that the graph says it reads.
fn fits(graph: &GraphProto, shape: [usize; 4]) -> bool {
    let tensor = graph.input.first().and_then(|input| input.r#type.as_ref()?.tensor_type.as_ref());
    let Some(declared) = tensor.and_then(|tensor| tensor.shape.as_ref()) else { return false };
    declared.dim.len() == shape.len()
        && declared.dim.iter().zip(shape).all(|(dim, size)| match dim.size {
            Some(Size::Value(value)) => value == size as i64,
            _ => true,
        })
}

fn constant(tensor: &TensorProto) -> Result<Known, String> {
    let shape: Vec<usize> = tensor.dims.iter().map(|size| usize::try_from(*size).unwrap_or(usize::MAX)).collect();
    let bytes = match tensor.data_type() {
        ElementKind::Float => 4,
        ElementKind::Int64 => 8,
        other => return Err(format!("constant {} holds {other:?}", tensor.name)),
    };
    let len = shape.iter().try_fold(bytes, |len: usize, size| len.checked_mul(*size));
    if len != Some(tensor.raw_data.len()) {
        return Err(format!("constant {} has {} bytes for {shape:?}", tensor.name, tensor.raw_data.len()));
    }
    let integers = match (bytes, &shape[..]) {
        (8, _) => {
            let (eights, _) = tensor.raw_data.as_chunks::<8>();
            Some(eights.iter().map(|eight| i64::from_le_bytes(*eight)).collect())
        }
        // Scales are floats, and whole.
        (_, &[4]) => {
            let (fours, _) = tensor.raw_data.as_chunks::<4>();
            let whole = |four: &[u8; 4]| Some(f32::from_le_bytes(*four)).filter(|v| v.fract() == 0.0).map(|v| v as i64);
            fours.iter().map(whole).collect()
        }
        _ => None,
    };
    Ok(Known { shape, integers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::onnx::graph::{Attribute, Graph};

    /// Two channels of a convolution, twice as large, and what damages the file.
    fn file(damage: impl FnOnce(&mut ModelProto)) -> Vec<u8> {
        let (mut graph, source) = Graph::new();
        let kernel = graph.named("kernel", &[2, 1, 3, 3], &[0.5; 18]);
        let pads = Attribute::Ints("pads", vec![1; 4]);
        let y = graph.node("Conv", &[&source, &kernel], [pads, Attribute::Ints("kernel_shape", vec![3; 2])]);
        let y = crate::exchange::onnx::layers::enlarged(&mut graph, &y, 2);
        let mut model = graph.finish("toy", &y, [1, 2], vec![("key".into(), "text".into())]);
        damage(&mut model);
        model.encode_to_vec()
    }

    #[test]
    fn shapes_are_followed_from_the_source_to_the_image() {
        assert_eq!(check("toy.onnx", &file(|_| {}), [3, 1, 5, 7]).unwrap(), [3, 2, 10, 14]);
    }

    #[test]
    fn a_graph_that_does_not_hold_together_is_refused() {
        fn node(model: &mut ModelProto, at: usize) -> &mut crate::exchange::onnx::proto::NodeProto {
            &mut model.graph.as_mut().unwrap().node[at]
        }
        let cases: [(Vec<u8>, &str); 7] = [
            (file(|model| node(model, 0).input[1] = "none".into()), "reads none"),
            (file(|model| node(model, 1).op_type = "Loop".into()), "Loop"),
            (file(|model| node(model, 1).output[0] = "kernel".into()), "two values are called kernel"),
            (file(|model| model.graph.as_mut().unwrap().initializer[0].dims[0] = 3), "72 bytes for [3, 1, 3, 3]"),
            (file(|model| model.graph.as_mut().unwrap().output[0].name = "colours".into()), "nothing makes colours"),
            (file(|model| model.opset_import[0].version = 9), "version Some(9)"),
            (file(|_| {})[..40].to_vec(), "not a whole ONNX file"),
        ];
        for (bytes, named) in cases {
            let error = check("toy.onnx", &bytes, [1, 1, 4, 4]).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(named), "{error}");
        }
        let error = check("toy.onnx", &file(|_| {}), [1, 2, 4, 4]).unwrap_err();
        assert!(error.to_string().contains("[1, 2, 4, 4]"), "{error}");
    }
}
