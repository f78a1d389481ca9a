//! What the twins do to complete sums.

use crate::engine::ops::gemm::with_wide_vectors;

/// What follows the sums: a bias, where there is one, and a ReLU.
#[derive(Clone, Copy)]
pub struct Finish<'a> {
    pub bias: Option<&'a [f32]>,
    pub relu: bool,
}

impl Finish<'_> {
    /// Finishes whole pixels.
    pub fn apply(self, channels: usize, y: &mut [f32]) {
        // Without a bias all channels are alike: one run.
        let run = if self.bias.is_some() { channels } else { y.len().max(1) };
        with_wide_vectors(
            #[inline(always)]
            || y.chunks_exact_mut(run).for_each(|y| self.apply_to_part(0, y)),
        );
    }

    /// Finishes the channels from `first` on of one pixel.
    #[inline(always)]
    pub fn apply_to_part(self, first: usize, y: &mut [f32]) {
        match (self.bias.map(|bias| &bias[first..]), self.relu) {
            (None, false) => {}
            (None, true) => y.iter_mut().for_each(|y| *y = rectified(*y)),
            (Some(bias), true) => y.iter_mut().zip(bias).for_each(|(y, b)| *y = rectified(*y + b)),
            (Some(bias), false) => y.iter_mut().zip(bias).for_each(|(y, b)| *y += b),
        }
    }
}

/// Not `max`: a NaN stays one, and training notices it.
#[inline(always)]
fn rectified(v: f32) -> f32 {
    if v < 0.0 { 0.0 } else { v }
}
