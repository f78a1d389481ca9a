//! What it costs that several processes sum their gradients, measured with these processes:
//! `cargo build --release --features mpi --example processes && mpirun -n 2 target/release/examples/processes`.
//!
//! `docs/cluster.md` says what the numbers mean.

use huetape::Result;
use huetape::engine::mpi;
use huetape::engine::ranks::Ranks;
use std::time::Instant;

/// Calls of which the fastest counts.
const TURNS: usize = 9;
/// Megabytes of the gradients of colournet and of both networks of pix2pix, as published.
const GRADIENTS: [(&str, f64); 2] = [("colournet", 99.1), ("pix2pix", 228.7)];

fn main() -> Result<()> {
    let ranks = mpi::join()?;
    if ranks.alone() {
        println!("start it by mpirun -n 2");
        return Ok(());
    }
    let measured = measure(&ranks)?;
    if ranks.leads() {
        print(ranks.size(), &measured);
    }
    mpi::leave();
    Ok(())
}

/// Bytes, and the seconds that summing them takes.
fn measure(ranks: &Ranks) -> Result<Vec<(f64, f64)>> {
    let sizes = [1usize << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24];
    sizes.iter().map(|&elements| Ok((4.0 * elements as f64, seconds(ranks, elements)?))).collect()
}

/// Seconds of the fastest of some calls, by the slowest process of each.
fn seconds(ranks: &Ranks, elements: usize) -> Result<f64> {
    let mut values = vec![1.0f32; elements];
    let mut fastest = f64::INFINITY;
    for _ in 0..TURNS {
        ranks.gather(&[0.0])?;
        let begun = Instant::now();
        ranks.mean(&mut values, ranks.size())?;
        let all = ranks.gather(&[begun.elapsed().as_secs_f64()])?;
        fastest = fastest.min(all.into_iter().fold(0.0, f64::max));
    }
    Ok(fastest)
}

fn print(size: usize, measured: &[(f64, f64)]) {
    println!("{size} processes");
    for (bytes, seconds) in measured {
        println!("{:>9.0} KiB: {:>9.3} ms, {:>7.3} GB/s", bytes / 1024.0, 1e3 * seconds, 1e-9 * bytes / seconds);
    }
    // A sum of B bytes in n processes sends 2 (n - 1) messages, and 2 (n - 1) / n B bytes, each way.
    let n = size as f64;
    let (small, large) = (measured[0], measured[measured.len() - 1]);
    let alpha = small.1 / (2.0 * (n - 1.0));
    let beta = (large.1 - small.1) / (large.0 - small.0) / (2.0 * (n - 1.0) / n);
    println!("alpha {:.1} us a message, beta {:.3} ns a byte ({:.2} GB/s)", 1e6 * alpha, 1e9 * beta, 1e-9 / beta);
    println!("seconds by these:    processes      ring      tree");
    for (model, megabytes) in GRADIENTS {
        let bytes = 1e6 * megabytes;
        for n in [8.0f64, 64.0, 512.0] {
            let ring = 2.0 * (n - 1.0) * alpha + 2.0 * (n - 1.0) / n * bytes * beta;
            let tree = 2.0 * n.log2() * (alpha + bytes * beta);
            println!("{model:<14} {megabytes:>4.0} MB {n:>6} {ring:>9.3} {tree:>9.3}");
        }
    }
}
