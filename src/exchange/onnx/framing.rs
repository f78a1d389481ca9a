//! How a network's input is continued beyond an image, and its output cut to it.

use crate::exchange::onnx::graph::{Attribute, Graph, Value};

/// How far an image is continued by its edge at the bottom and right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// To sides that are multiples of this, with the margins.
    Multiple(usize),
    /// To this side, with the margins; an image that is larger cannot run.
    Side(usize),
}

/// How an image is framed, as `paint` does where it paints an image in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// How far it is continued by its edge first.
    pub size: Size,
    /// Pixels of mirror image around it that the network paints and that are cut off again.
    pub margin: usize,
    /// Pixels of mirror image around that, which the network reads and does not paint.
    pub halo: usize,
}

/// Height and width, as a tensor of two whole numbers.
fn extent(graph: &mut Graph, x: &Value) -> Value {
    graph.node("Shape", &[x], [Attribute::Int("start", 2), Attribute::Int("end", 4)])
}

/// x `[N, C, H, W]` with as many rows and columns behind as `after`, two whole numbers, says.
fn continued(graph: &mut Graph, x: &Value, after: &Value) -> Value {
    let before = graph.integers(&[0; 6]);
    let pads = graph.concat(&[&before, after], 0);
    graph.node("Pad", &[x, &pads], [Attribute::Text("mode", "edge")])
}

impl Frame {
    /// What the network reads of an image.
    pub fn around(&self, graph: &mut Graph, source: &Value) -> Value {
        let mut x = source.clone();
        match self.size {
            Size::Multiple(1) => {}
            Size::Multiple(stride) => {
                let size = extent(graph, &x);
                let (margins, stride) = (graph.integers(&[2 * self.margin as i64]), graph.integers(&[stride as i64]));
                let size = graph.plain("Add", [&size, &margins]);
                // The remainder has the sign of the divisor: -13 is 3 above a multiple of 8.
                let missing = graph.plain("Neg", [&size]);
                let missing = graph.plain("Mod", [&missing, &stride]);
                x = continued(graph, &x, &missing);
            }
            Size::Side(side) => {
                let (size, side) = (extent(graph, &x), graph.integers(&[(side - 2 * self.margin) as i64]));
                let missing = graph.plain("Sub", [&side, &size]);
                x = continued(graph, &x, &missing);
            }
        }
        let mirrored = (self.margin + self.halo) as i64;
        if mirrored == 0 {
            return x;
        }
        let pads = graph.integers(&[0, 0, mirrored, mirrored, 0, 0, mirrored, mirrored]);
        graph.node("Pad", &[&x, &pads], [Attribute::Text("mode", "reflect")])
    }

    /// Of what the network made, or of what it read without the halo, the image.
    pub fn within(&self, graph: &mut Graph, made: &Value, source: &Value) -> Value {
        if self.size == Size::Multiple(1) && self.margin == 0 {
            return made.clone();
        }
        let margin = self.margin as i64;
        let (size, first, axes) = (extent(graph, source), graph.integers(&[margin; 2]), graph.integers(&[2, 3]));
        let end = graph.plain("Add", [&first, &size]);
        graph.plain("Slice", [made, &first, &end, &axes])
    }
}
