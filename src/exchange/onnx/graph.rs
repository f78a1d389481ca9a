//! A graph under construction. Images are `[N, C, H, W]` in it, as ONNX has them.

use crate::exchange::onnx::proto::{
    AttributeKind, AttributeProto, Dimension, ElementKind, GraphProto, IR_VERSION, ModelProto, NodeProto, OPSET,
    OperatorSetId, ShapeProto, Size, StringEntry, TensorProto, TensorType, TypeProto, ValueInfo,
};

/// Name of what goes in.
pub const SOURCE: &str = "source";
/// Name of what comes out.
pub const IMAGE: &str = "image";

/// What a node makes, or a constant, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(String);

impl Value {
    /// An optional input that is left out.
    pub fn none() -> Self {
        Value(String::new())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// A setting of a node.
pub enum Attribute {
    /// A number.
    Float(&'static str, f32),
    /// A whole number.
    Int(&'static str, i64),
    /// Whole numbers.
    Ints(&'static str, Vec<i64>),
    /// A text.
    Text(&'static str, &'static str),
}

impl From<Attribute> for AttributeProto {
    fn from(attribute: Attribute) -> Self {
        let of = |name: &str, kind| AttributeProto { name: name.to_owned(), r#type: kind as i32, ..Default::default() };
        match attribute {
            Attribute::Float(name, f) => AttributeProto { f: Some(f), ..of(name, AttributeKind::Float) },
            Attribute::Int(name, i) => AttributeProto { i: Some(i), ..of(name, AttributeKind::Int) },
            Attribute::Ints(name, ints) => AttributeProto { ints, ..of(name, AttributeKind::Ints) },
            Attribute::Text(name, text) => {
                AttributeProto { s: Some(text.as_bytes().to_vec()), ..of(name, AttributeKind::String) }
            }
        }
    }
}

/// Nodes and constants so far.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Graph {
    /// An empty graph, and what goes in: `[N, bands, H, W]`.
    pub fn new() -> (Self, Value) {
        (Graph::default(), Value(SOURCE.to_owned()))
    }

    /// What the operator `op` makes of `inputs`.
    pub fn node(&mut self, op: &str, inputs: &[&Value], attributes: impl IntoIterator<Item = Attribute>) -> Value {
        let output = format!("{}_{}", op.to_lowercase(), self.nodes.len());
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: vec![output.clone()],
            name: output.clone(),
            op_type: op.to_owned(),
            attribute: attributes.into_iter().map(AttributeProto::from).collect(),
        });
        Value(output)
    }

    /// As [`Graph::node`], without attributes.
    pub fn plain<const N: usize>(&mut self, op: &str, inputs: [&Value; N]) -> Value {
        self.node(op, &inputs, [])
    }

    /// A constant by its name, which no other has.
    pub fn named(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Value {
        self.push(name.to_owned(), shape, ElementKind::Float, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// A constant.
    pub fn constant(&mut self, shape: &[usize], values: &[f32]) -> Value {
        let name = format!("constant_{}", self.constants.len());
        self.named(&name, shape, values)
    }

    /// A single number.
    pub fn number(&mut self, value: f32) -> Value {
        self.constant(&[], &[value])
    }

    /// Whole numbers in a row.
    pub fn integers(&mut self, values: &[i64]) -> Value {
        let name = format!("constant_{}", self.constants.len());
        self.push(name, &[values.len()], ElementKind::Int64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn push(&mut self, name: String, shape: &[usize], kind: ElementKind, raw_data: Vec<u8>) -> Value {
        let dims = shape.iter().map(|size| *size as i64).collect();
        self.constants.push(TensorProto { dims, data_type: kind as i32, name: name.clone(), raw_data });
        Value(name)
    }

    /// `scale * x + shift`.
    pub fn affine(&mut self, x: &Value, scale: f32, shift: f32) -> Value {
        let (scale, shift) = (self.number(scale), self.number(shift));
        let scaled = self.plain("Mul", [x, &scale]);
        self.plain("Add", [&scaled, &shift])
    }

    /// `x` times a number.
    pub fn scaled(&mut self, x: &Value, scale: f32) -> Value {
        let scale = self.number(scale);
        self.plain("Mul", [x, &scale])
    }

    /// Tensors one behind the other along an axis.
    pub fn concat(&mut self, parts: &[&Value], axis: i64) -> Value {
        self.node("Concat", parts, [Attribute::Int("axis", axis)])
    }

    /// Channels of an image, from `first` (from 0) on.
    pub fn channels(&mut self, x: &Value, first: usize, count: usize) -> Value {
        let [first, end, axis] = [first, first + count, 1].map(|v| self.integers(&[v as i64]));
        self.plain("Slice", [x, &first, &end, &axis])
    }

    /// The file, whose graph ends in `image` `[N, bands, H, W]`. `about`: what it says of itself, by keys.
    pub fn finish(
        mut self,
        network: &str,
        image: &Value,
        bands: [usize; 2],
        about: Vec<(String, String)>,
    ) -> ModelProto {
        let identity = NodeProto {
            input: vec![image.0.clone()],
            output: vec![IMAGE.to_owned()],
            name: IMAGE.to_owned(),
            op_type: "Identity".to_owned(),
            attribute: Vec::new(),
        };
        self.nodes.push(identity);
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: "huetape".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            doc_string: "values 0..1 in, sRGB 0..1 out where there are three bands".to_owned(),
            graph: Some(GraphProto {
                node: self.nodes,
                name: network.to_owned(),
                initializer: self.constants,
                input: vec![info(SOURCE, bands[0])],
                output: vec![info(IMAGE, bands[1])],
            }),
            opset_import: vec![OperatorSetId { domain: String::new(), version: OPSET }],
            metadata_props: about.into_iter().map(|(key, value)| StringEntry { key, value }).collect(),
        }
    }
}

/// Images of any number, height and width.
fn info(name: &str, bands: usize) -> ValueInfo {
    let any = |name: &str| Dimension { size: Some(Size::Name(name.to_owned())) };
    let bands = Dimension { size: Some(Size::Value(bands as i64)) };
    let shape = Some(ShapeProto { dim: vec![any("N"), bands, any("H"), any("W")] });
    let tensor_type = Some(TensorType { elem_type: ElementKind::Float as i32, shape });
    ValueInfo { name: name.to_owned(), r#type: Some(TypeProto { tensor_type }) }
}
