//! What the kernels of batch norm are told.

use crate::engine::ops::batch_norm::after::After;
use crate::random::Stream;

/// What all kernels here are told; kernels/lib/batch_norm.wgsl has the same.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Params {
    pub rows: u32,
    /// Images that the rows are of, as many of each: the twins sum image by image.
    pub images: u32,
    pub channels: u32,
    /// Channels that stand behind those of y.
    pub joined: u32,
    pub block_rows: u32,
    pub blocks: u32,
    pub eps: f32,
    pub momentum: f32,
    /// 1 to count what the means of batches differ by, 0 to leave it out.
    pub between: f32,
    /// 1 where mean and variance are the batch's own, 0 where they are fixed.
    pub through_batch: f32,
    /// 1 where the sums that dx takes are given, as rows 4 and 5 of what forward keeps: dgamma and dbeta.
    pub given: u32,
    /// 1 where the gradient of y is the sum of two tensors.
    pub summed: u32,
    pub rectifier: u32,
    pub slope: f32,
    pub rate: f32,
    pub seed: [u32; 2],
    pub stream: u32,
    pub step: u32,
    pub layer: u32,
}

impl Params {
    /// Of so many images, rows of all of them, and channels; what belongs to one kernel alone is zero.
    pub fn new([images, rows]: [usize; 2], channels: usize, eps: f32, after: &After) -> Self {
        // Enough blocks to fill a GPU, no more than `combine` can join quickly.
        let block_rows = rows.div_ceil(4096).max(128);
        let blocks = rows.div_ceil(block_rows);
        let [images, rows, channels, block_rows, blocks] =
            [images, rows, channels, block_rows, blocks].map(|size| size as u32);
        let (rectifier, slope) = after.rectifier.code();
        let draw = after.dropout.map(|dropout| dropout.draw);
        let seed = draw.map_or(0, |draw| draw.seed);
        Params {
            rows,
            images,
            channels,
            joined: 0,
            block_rows,
            blocks,
            eps,
            momentum: 0.0,
            between: 0.0,
            through_batch: 0.0,
            given: 0,
            summed: 0,
            rectifier,
            slope,
            rate: after.dropout.map_or(0.0, |dropout| dropout.rate),
            seed: [seed as u32, (seed >> 32) as u32],
            stream: Stream::Dropout as u32,
            step: draw.map_or(0, |draw| draw.step),
            layer: draw.map_or(0, |draw| draw.layer),
        }
    }

    pub fn rectifies(&self) -> bool {
        self.rectifier != 0
    }

    /// Whether the rectifier is a leaky one.
    pub fn leaks(&self) -> bool {
        self.rectifier == 2
    }

    /// Elements of y.
    pub fn elements(&self) -> usize {
        self.rows as usize * (self.channels + self.joined) as usize
    }
}
