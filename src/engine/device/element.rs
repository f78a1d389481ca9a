//! The types that the elements of a buffer have.

/// The type of a buffer's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Element {
    /// 32-bit float.
    #[default]
    F32,
}

impl Element {
    /// Bytes of an element.
    pub const fn bytes(self) -> usize {
        match self {
            Element::F32 => 4,
        }
    }
}
