//! Runs of elements in the buffers of a device, as its launches see them.

use crate::engine::device::element::Element;
use std::ops::Range;

/// Elements of one buffer from `offset` on, with their shape. `M` is what the device keeps of a buffer.
pub(super) struct Region<'a, M> {
    pub memory: &'a M,
    #[cfg_attr(not(feature = "gpu"), allow(dead_code, reason = "the CPU has f32 alone"))]
    pub element: Element,
    /// In elements.
    pub offset: usize,
    pub shape: &'a [usize],
}

/// Elements of one buffer, whatever keeps it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub element: Element,
    /// In elements.
    pub offset: usize,
    pub shape: &'a [usize],
}

impl<'a> Place<'a> {
    /// These elements in `memory`.
    pub fn of<M>(self, memory: &'a M) -> Region<'a, M> {
        let Place { element, offset, shape } = self;
        Region { memory, element, offset, shape }
    }
}

impl<M> Region<'_, M> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of bytes.
    #[cfg(feature = "gpu")]
    pub fn bytes(&self) -> u64 {
        (self.len() * self.element.bytes()) as u64
    }

    /// Where in the buffer it begins, in bytes.
    #[cfg(feature = "gpu")]
    pub fn byte_offset(&self) -> u64 {
        (self.offset * self.element.bytes()) as u64
    }

    /// The elements within the buffer.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len()
    }

    pub fn same_buffer(&self, other: &Self) -> bool {
        std::ptr::eq(self.memory, other.memory)
    }
}

/// `[1, 8, 8, 4] [3, 3, 4, 8] -> [1, 8, 8, 8]`: the shapes of a launch, for messages and the profile.
pub(super) fn describe<S: AsRef<[usize]>>(ins: &[S], inouts: &[S], outs: &[S]) -> String {
    let list = |shapes: &[S]| shapes.iter().map(|shape| format!("{:?}", shape.as_ref())).collect::<Vec<_>>().join(" ");
    let mut text = list(ins);
    if !inouts.is_empty() {
        text = format!("{text} <> {}", list(inouts));
    }
    if !outs.is_empty() {
        text = format!("{text} -> {}", list(outs));
    }
    text
}
