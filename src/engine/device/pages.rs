//! What the CPU keeps the elements of a buffer in.

use memmap2::MmapMut;
use std::io;
use std::ops::{Deref, DerefMut};

/// From so many bytes on a buffer has pages of its own.
const OWN: usize = 1 << 20;

/// Elements, zero at first.
///
/// Many of them lie in pages of their own: the system has them back as soon as they are dropped, where a heap keeps
/// what lies between others in use, and gives them out as huge pages, where it can: a third of the time.
pub(super) enum Values {
    Few(Vec<f32>),
    Many(MmapMut),
}

impl Values {
    /// `len` of them.
    ///
    /// # Errors
    /// No memory.
    pub fn zero(len: usize) -> io::Result<Values> {
        let bytes = len * size_of::<f32>();
        if bytes < OWN {
            return Ok(Values::Few(vec![0.0; len]));
        }
        let pages = MmapMut::map_anon(bytes)?;
        // A wish, which a kernel without huge pages refuses.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        Ok(Values::Many(pages))
    }
}

impl Deref for Values {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Values::Few(values) => values,
            Values::Many(pages) => bytemuck::cast_slice(pages),
        }
    }
}

impl DerefMut for Values {
    fn deref_mut(&mut self) -> &mut [f32] {
        match self {
            Values::Few(values) => values,
            Values::Many(pages) => bytemuck::cast_slice_mut(pages),
        }
    }
}
