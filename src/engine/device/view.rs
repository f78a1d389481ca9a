//! A view: elements of a buffer with a shape.

use crate::engine::device::backend::{Inner, Storage};
use crate::engine::device::element::Element;
use crate::engine::device::region::Place;
use crate::error::{Error, ErrorKind, Result};
use std::sync::Arc;

/// A buffer of one device, given back to its pool when the last view of it goes.
struct Buffer {
    device: Arc<Inner>,
    class: u64,
    /// Elements before its guard band; `None` where it has none.
    guarded: Option<usize>,
    /// There until the buffer is dropped.
    storage: Option<Storage>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(storage) = self.storage.take() {
            if let Some(len) = self.guarded {
                self.device.inspect_guard(&storage, len);
            }
            self.device.free(self.class, storage);
        }
    }
}

/// A run of elements in a buffer with a shape; clones share the buffer.
#[derive(Clone)]
pub struct View {
    buffer: Arc<Buffer>,
    element: Element,
    offset: usize,
    shape: Vec<usize>,
}

/// Offsets of views into a shared buffer are multiples of this many elements (256 bytes, WebGPU's alignment).
pub const VIEW_ALIGN: usize = 64;

/// The number of elements of a tensor of this shape; `None` where it does not fit a `usize`.
pub(super) fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |len, &axis| len.checked_mul(axis))
}

pub(super) fn shape_error(what: impl Into<String>, subject: String, remedy: &str) -> Error {
    Error::input(what, subject, remedy).of(ErrorKind::Shape)
}

/// Refuses data that do not fill `shape`.
pub(in crate::engine) fn check_len(data: &[f32], shape: &[usize]) -> Result<()> {
    crate::ensure!(
        elements(shape) == Some(data.len()),
        shape_error(
            format!("{} values do not fill a tensor", data.len()),
            format!("{shape:?}"),
            "pass as many values as it has elements"
        )
    );
    Ok(())
}

impl View {
    /// All of a new buffer but for its guard band, if it has one behind these elements; the caller has proved that
    /// both fit the class.
    pub(super) fn new(device: Arc<Inner>, class: u64, storage: Storage, shape: &[usize], guarded: bool) -> View {
        let guarded = guarded.then(|| shape.iter().product());
        let buffer = Arc::new(Buffer { device, class, guarded, storage: Some(storage) });
        View { buffer, element: Element::F32, offset: 0, shape: shape.to_vec() }
    }

    /// Other elements of the same buffer.
    fn placed(&self, offset: usize, shape: &[usize]) -> View {
        View { buffer: self.buffer.clone(), element: self.element, offset, shape: shape.to_vec() }
    }

    /// The type of its elements.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Number of bytes.
    pub fn bytes(&self) -> u64 {
        (self.len() * self.element.bytes()) as u64
    }

    /// Sizes of the axes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Never: shape rules refuse zero elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same elements under another shape of the same size.
    ///
    /// # Errors
    /// Sizes that differ.
    pub fn reshaped(&self, shape: &[usize]) -> Result<View> {
        crate::ensure!(
            elements(shape) == Some(self.len()),
            shape_error(
                "a reshape keeps the number of elements",
                format!("{:?} to {shape:?}", self.shape),
                "check the sizes"
            )
        );
        Ok(self.placed(self.offset, shape))
    }

    /// A part of this view, from element `offset` (a multiple of [`VIEW_ALIGN`]) on.
    ///
    /// # Errors
    /// A part that leaves the view, has no element, or does not begin at such a multiple.
    pub fn part(&self, offset: usize, shape: &[usize]) -> Result<View> {
        let refuse =
            |what: String, remedy| shape_error(what, format!("{shape:?} from {offset} of {:?}", self.shape), remedy);
        let end = elements(shape).filter(|&len| len > 0).and_then(|len| offset.checked_add(len));
        crate::ensure!(
            end.is_some_and(|end| end <= self.len()),
            refuse("a part lies within its tensor and has an element".to_owned(), "check offset and sizes")
        );
        crate::ensure!(
            offset.is_multiple_of(VIEW_ALIGN),
            refuse(format!("a part begins at a multiple of {VIEW_ALIGN} elements"), "leave room before it")
        );
        Ok(self.placed(self.offset + offset, shape))
    }

    /// Says that nobody reads the elements before they are written anew, nor any others of their buffer: on the CPU
    /// they take no memory until then.
    pub(in crate::engine) fn forget(&self) {
        if let Some(Storage::Cpu(memory)) = &self.buffer.storage {
            memory.forget();
        }
    }

    /// `len` elements behind the end of this view, for the guard band of a whole buffer.
    pub(super) fn behind(&self, len: usize) -> View {
        self.placed(self.offset + self.len(), &[len])
    }

    /// Which buffer, of those that are alive, and its first element and its end in it.
    pub(in crate::engine) fn extent(&self) -> [usize; 3] {
        [Arc::as_ptr(&self.buffer).addr(), self.offset, self.offset + self.len()]
    }

    /// Whether both are of one buffer, overlapping or not.
    pub(in crate::engine) fn shares_buffer(&self, other: &View) -> bool {
        self.same_buffer(other)
    }

    pub(super) fn same_buffer(&self, other: &View) -> bool {
        Arc::ptr_eq(&self.buffer, &other.buffer)
    }

    /// Whether no other view is of its buffer.
    pub(in crate::engine) fn is_alone(&self) -> bool {
        self.views() == 1
    }

    /// Views of its buffer, this one too.
    pub(in crate::engine) fn views(&self) -> usize {
        Arc::strong_count(&self.buffer)
    }

    pub(super) fn overlaps(&self, other: &View) -> bool {
        self.same_buffer(other) && self.offset < other.offset + other.len() && other.offset < self.offset + self.len()
    }

    /// Refuses a view of another device than `device`: two that were opened on one adapter are two devices.
    pub(super) fn check_device(&self, device: &Arc<Inner>) -> Result<()> {
        if Arc::ptr_eq(&self.buffer.device, device) { Ok(()) } else { Err(self.foreign()) }
    }

    fn foreign(&self) -> Error {
        let subject = format!("{:?}", self.shape);
        Error::input("a tensor belongs to another device", subject, "keep all that is computed together on one device")
            .of(ErrorKind::Device)
    }

    /// The elements as `pick` finds them in the storage, e.g. [`Storage::on_cpu`].
    pub(super) fn region<'a, R>(&'a self, pick: impl Fn(&'a Storage, Place<'a>) -> Option<R>) -> Result<R> {
        let place = Place { element: self.element, offset: self.offset, shape: &self.shape };
        let storage = self.buffer.storage.as_ref();
        storage.and_then(|storage| pick(storage, place)).ok_or_else(|| self.foreign())
    }
}
