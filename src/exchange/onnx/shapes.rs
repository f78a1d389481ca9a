//! The shape that a node makes, for the operators that networks are written with.

use crate::exchange::onnx::proto::{AttributeProto, NodeProto};

/// What is known of a value before it runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    /// Sizes of the axes.
    pub shape: Vec<usize>,
    /// Its elements, of whole numbers that follow from shapes alone.
    pub integers: Option<Vec<i64>>,
}

impl Known {
    pub fn of(shape: Vec<usize>) -> Self {
        Known { shape, integers: None }
    }

    fn whole(integers: Vec<i64>) -> Self {
        Known { shape: vec![integers.len()], integers: Some(integers) }
    }
}

/// A node's attributes and inputs, by what its operator asks for.
struct Node<'a> {
    attributes: &'a [AttributeProto],
    inputs: &'a [Option<&'a Known>],
}

type Answer<T> = Result<T, String>;

impl Node<'_> {
    fn input(&self, at: usize) -> Answer<&Known> {
        self.inputs.get(at).copied().flatten().ok_or_else(|| format!("input {at} is missing"))
    }

    fn integers(&self, at: usize) -> Answer<&[i64]> {
        let known = self.input(at)?;
        known.integers.as_deref().ok_or_else(|| format!("input {at} is not known before it runs"))
    }

    fn image(&self, at: usize) -> Answer<[usize; 4]> {
        let shape = &self.input(at)?.shape;
        shape[..].try_into().map_err(|_| format!("input {at} has shape {shape:?}, not four axes"))
    }

    fn int(&self, name: &str, default: i64) -> i64 {
        self.attributes.iter().find(|attribute| attribute.name == name).and_then(|found| found.i).unwrap_or(default)
    }

    fn ints(&self, name: &str, default: &[i64]) -> Vec<i64> {
        let found = self.attributes.iter().find(|attribute| attribute.name == name);
        found.map_or(default.to_vec(), |attribute| attribute.ints.clone())
    }

    /// Whole numbers of all inputs, where all are known.
    fn all_integers(&self) -> Option<Vec<&[i64]>> {
        self.inputs.iter().map(|input| (*input)?.integers.as_deref()).collect()
    }
}

/// What a node makes of its inputs; `None` stands for an optional one that is left out.
pub(super) fn shape_of(node: &NodeProto, inputs: &[Option<&Known>]) -> Answer<Known> {
    let op = node.op_type.as_str();
    let node = Node { attributes: &node.attribute, inputs };
    match op {
        "Add" | "Sub" | "Mul" | "Max" | "Pow" | "Greater" | "Where" | "Mod" => elementwise(op, &node),
        "Neg" | "Relu" | "LeakyRelu" | "Elu" | "Tanh" | "Sigmoid" | "Softmax" | "Log" | "Clip" | "Identity" => {
            let x = node.input(0)?;
            let negated = x.integers.as_ref().map(|values| values.iter().map(|value| -value).collect());
            Ok(Known { shape: x.shape.clone(), integers: if op == "Neg" { negated } else { None } })
        }
        "BatchNormalization" => {
            let shape = node.image(0)?;
            match (1..5).find(|at| node.input(*at).map_or(true, |part| part.shape != [shape[1]])) {
                None => Ok(Known::of(shape.to_vec())),
                Some(at) => Err(format!("input {at} is not one number a channel of {}", shape[1])),
            }
        }
        "Conv" => conv(&node, false),
        "ConvTranspose" => conv(&node, true),
        "AveragePool" => {
            let [n, c, h, w] = node.image(0)?;
            let (kernel, strides) = (node.ints("kernel_shape", &[]), node.ints("strides", &[1, 1]));
            let [tall, wide] = [(h, 0), (w, 1)].map(|(size, axis)| {
                let (kernel, stride) = (kernel.get(axis)?, strides.get(axis)?);
                usize::try_from((size as i64 - kernel).checked_div(*stride)? + 1).ok()
            });
            Ok(Known::of(vec![n, c, tall.ok_or("no such pool")?, wide.ok_or("no such pool")?]))
        }
        "ReduceL2" => {
            let mut shape = node.input(0)?.shape.clone();
            for axis in node.ints("axes", &[]) {
                *shape.get_mut(axis as usize).ok_or("no such axis")? = 1;
            }
            Ok(Known::of(shape))
        }
        "Concat" => concat(&node),
        "Slice" => slice(&node),
        "Pad" => pad(&node),
        "Shape" => {
            let shape = &node.input(0)?.shape;
            let (start, end) = (node.int("start", 0) as usize, node.int("end", shape.len() as i64) as usize);
            let axes = shape.get(start..end).ok_or("no such axes")?;
            Ok(Known::whole(axes.iter().map(|size| *size as i64).collect()))
        }
        "Resize" => resize(&node),
        _ => Err("an operator that is not known here".to_owned()),
    }
}

fn elementwise(op: &str, node: &Node<'_>) -> Answer<Known> {
    let mut shape = Vec::new();
    for at in 0..node.inputs.len() {
        shape = broadcast(&shape, &node.input(at)?.shape)?;
    }
    let integers = node.all_integers().and_then(|values| {
        let &[a, b] = &values[..] else { return None };
        let len = a.len().max(b.len());
        let at = |values: &[i64], i: usize| values.get(if values.len() == 1 { 0 } else { i }).copied();
        (0..len)
            .map(|i| match (op, at(a, i)?, at(b, i)?) {
                ("Add", a, b) => a.checked_add(b),
                ("Sub", a, b) => a.checked_sub(b),
                ("Mod", a, b) if b > 0 => Some(a.rem_euclid(b)),
                _ => None,
            })
            .collect()
    });
    Ok(Known { shape, integers })
}

fn broadcast(a: &[usize], b: &[usize]) -> Answer<Vec<usize>> {
    let axes = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(axes).map_or(1, |at| shape[at]);
    let joined = (0..axes).map(|axis| match (size(a, axis), size(b, axis)) {
        (a, b) if a == b || b == 1 => Some(a),
        (1, b) => Some(b),
        _ => None,
    });
    joined.collect::<Option<_>>().ok_or_else(|| format!("{a:?} and {b:?} do not fit"))
}

fn conv(node: &Node<'_>, transposed: bool) -> Answer<Known> {
    let ([n, c, h, w], kernel) = (node.image(0)?, node.image(1)?);
    let (reads, makes) = if transposed { (kernel[0], kernel[1]) } else { (kernel[1], kernel[0]) };
    if reads != c {
        return Err(format!("the kernel reads {reads} channels, the image has {c}"));
    }
    if node.inputs.len() > 2 && node.input(2)?.shape != [makes] {
        return Err(format!("the bias is not one number a channel of {makes}"));
    }
    let declared = node.ints("kernel_shape", &[kernel[2] as i64, kernel[3] as i64]);
    if declared != [kernel[2] as i64, kernel[3] as i64] {
        return Err(format!("kernel_shape {declared:?} of a kernel {kernel:?}"));
    }
    let [strides, dilations] = ["strides", "dilations"].map(|name| node.ints(name, &[1, 1]));
    let pads = node.ints("pads", &[0; 4]);
    let side = |axis: usize, size: usize| {
        let (stride, dilation) = (*strides.get(axis)?, *dilations.get(axis)?);
        let (pads, reach) = (pads.get(axis)? + pads.get(axis + 2)?, (kernel[axis + 2] as i64 - 1) * dilation + 1);
        let out = match transposed {
            true => (size as i64 - 1) * stride + reach - pads,
            // Whole windows: rounded down, also where there is none.
            false => (size as i64 + pads - reach).checked_div_euclid(stride)? + 1,
        };
        usize::try_from(out).ok().filter(|out| *out > 0)
    };
    match (side(0, h), side(1, w)) {
        (Some(tall), Some(wide)) => Ok(Known::of(vec![n, makes, tall, wide])),
        _ => Err(format!("nothing is left of {h}x{w}")),
    }
}

fn concat(node: &Node<'_>) -> Answer<Known> {
    if let Some(parts) = node.all_integers() {
        return Ok(Known::whole(parts.concat()));
    }
    let axis = node.int("axis", 0) as usize;
    let mut shape = node.input(0)?.shape.clone();
    for at in 1..node.inputs.len() {
        let next = &node.input(at)?.shape;
        let others_fit = next.len() == shape.len() && (0..shape.len()).all(|k| k == axis || shape[k] == next[k]);
        if !others_fit || axis >= shape.len() {
            return Err(format!("{shape:?} and {next:?} do not fit along axis {axis}"));
        }
        shape[axis] += next[axis];
    }
    Ok(Known::of(shape))
}

fn slice(node: &Node<'_>) -> Answer<Known> {
    let mut shape = node.input(0)?.shape.clone();
    let (starts, ends, axes) = (node.integers(1)?, node.integers(2)?, node.integers(3)?);
    for ((start, end), axis) in starts.iter().zip(ends).zip(axes) {
        let size = shape.get_mut(*axis as usize).ok_or("no such axis")?;
        let place = |at: i64| (if at < 0 { at + *size as i64 } else { at }).clamp(0, *size as i64);
        let left = place(*end) - place(*start);
        *size = usize::try_from(left).ok().filter(|left| *left > 0).ok_or("nothing is left")?;
    }
    Ok(Known::of(shape))
}

fn pad(node: &Node<'_>) -> Answer<Known> {
    let (mut shape, pads) = (node.input(0)?.shape.clone(), node.integers(1)?);
    if pads.len() != 2 * shape.len() || pads.iter().any(|pixels| *pixels < 0) {
        return Err(format!("pads {pads:?} for {shape:?}"));
    }
    let axes = shape.len();
    let mode = node.attributes.iter().find(|attribute| attribute.name == "mode").and_then(|mode| mode.s.as_deref());
    for (axis, size) in shape.iter_mut().enumerate() {
        let (before, after) = (pads[axis] as usize, pads[axis + axes] as usize);
        if mode == Some(b"reflect") && before.max(after) >= *size {
            return Err(format!("{size} pixels cannot be mirrored by {}", before.max(after)));
        }
        *size += before + after;
    }
    Ok(Known::of(shape))
}

fn resize(node: &Node<'_>) -> Answer<Known> {
    let [n, c, h, w] = node.image(0)?;
    let scales = node.input(2)?.integers.as_deref();
    match scales {
        Some(&[1, 1, tall, wide]) if tall > 0 && wide > 0 => {
            Ok(Known::of(vec![n, c, h * tall as usize, w * wide as usize]))
        }
        _ => Err("scales are not whole".to_owned()),
    }
}
