//! The launches of batch norm: parameters, and how a GPU divides the work.

use crate::engine::device::{AnyKernel, Body, Constants, Dispatch, Kernel, Plan, kernel_text, linear_grid};
use crate::engine::ops::batch_norm::params::Params;
use crate::engine::ops::batch_norm::twin;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&TRAIN, &NORMALIZE, &GRAD];

/// Statistics of the batch, the running ones, and the output: x, gamma, beta, skip; running mean and variance; y and
/// what the gradient reads.
pub(super) static TRAIN: Kernel<Params> = Kernel {
    name: "batch_norm_train",
    bodies: &[Body::proved(kernel_text!("batch_norm_train"), &|p, _| plan(p, "normalize", 8.0)).with_variants(TILES)],
    twin: &|p, args| {
        let ([x, gamma, beta, skip], [running_mean, running_variance], [y, kept]) = args.split()?;
        twin::train(p, [x, gamma, beta, skip], [running_mean, running_variance], y, kept);
        Ok(())
    },
};

/// The output by fixed statistics: x, gamma, beta, mean, variance, skip; y and what the gradient reads.
pub(super) static NORMALIZE: Kernel<Params> = Kernel {
    name: "batch_norm",
    bodies: &[Body::proved(kernel_text!("batch_norm"), &|p, _| Plan::linear(p.elements()).each(4.0))],
    twin: &|p, args| {
        let ([x, gamma, beta, mean, variance, skip], [], [y, kept]) = args.split()?;
        twin::keep(kept, [mean, variance, gamma, beta]);
        twin::normalize(p, x, skip, kept, y);
        Ok(())
    },
};

/// The gradients: x, dy, what dy is added to, what forward kept; dx, dgamma, dbeta and dskip.
pub(super) static GRAD: Kernel<Params> = Kernel {
    name: "batch_norm_grad",
    bodies: &[Body::proved(kernel_text!("batch_norm_grad"), &|p, _| plan(p, "input", 13.0)).with_variants(TILES)],
    twin: &|p, args| {
        let ([x, dy, more, kept], [], [dx, dgamma, dbeta, dskip]) = args.split()?;
        twin::gradients(p, [x, dy, more, kept], dx, [dgamma, dbeta], dskip);
        Ok(())
    },
};

/// Channels of a workgroup of a reduction over rows.
const TILES: &[&Constants] = &[&[("CHANNELS", 4.0)], &[("CHANNELS", 16.0)], &[("CHANNELS", 64.0)]];
/// Rows that one workgroup takes whole: 16 for each of the 64 invocations that share a channel at most.
const WHOLE_ROWS: u32 = 1024;

/// Few rows by one dispatch; of more partial results by blocks of rows into a scratch of (blocks, 2, C), their
/// combination, then the dispatch `each` over the elements.
fn plan(p: &Params, each: &'static str, flops: f64) -> Plan {
    let channels = p.channels as usize;
    let flops = flops * f64::from(p.rows) * f64::from(p.channels);
    if p.rows <= WHOLE_ROWS {
        // Up to 16 rows an invocation, and neighbours that read side by side where few share a channel.
        let (tile, constants) = match p.rows {
            0..=4 => (64, TILES[2]),
            5..=256 => (16, TILES[1]),
            _ => (4, TILES[0]),
        };
        let whole = Dispatch::new("whole", linear_grid(channels, tile)).with(constants);
        return Plan { dispatches: vec![whole], scratch: Vec::new(), flops };
    }
    // The fewest channels that hold them all, 64 at most.
    let (tile, constants) = match p.channels {
        0..=4 => (4, TILES[0]),
        5..=16 => (16, TILES[1]),
        _ => (64, TILES[2]),
    };
    // A narrow tile: the more invocations share a channel's blocks, if there are more than invocations.
    let few = p.blocks as usize <= 256 / tile;
    let (combine_tile, combine_constants) = if few { (tile, constants) } else { (4, TILES[0]) };
    Plan {
        dispatches: vec![
            Dispatch::new("partials", linear_grid(p.blocks as usize * channels.div_ceil(tile), 1)).with(constants),
            Dispatch::new("combine", linear_grid(channels, combine_tile)).with(combine_constants),
            Dispatch::new(each, linear_grid(p.elements(), 256)).with(constants),
        ],
        scratch: vec![p.blocks as usize * 2 * channels],
        flops,
    }
}
