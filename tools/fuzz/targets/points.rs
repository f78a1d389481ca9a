//! Tables of matched points, and the homography that they give.
#![no_main]

use huetape::imaging::registration::{Points, Settings, estimate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("huetape-fuzz-{}.csv", std::process::id()));
    std::fs::write(&path, bytes).expect("a file in the temporary folder");
    if let Ok(points) = Points::read(&path, None)
        && points.pairs.len() <= 64
    {
        let _ = estimate(&points.pairs, &Settings::default());
    }
});
