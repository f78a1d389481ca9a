//! Every op by every body, with the driver's checks and without, guard bands behind all buffers.

#![cfg(feature = "gpu")]

mod common;

use huetape::engine::device::{Device, DeviceChoice};
use huetape::workshop::catalogue::ops;
use huetape::workshop::check::check;

#[test]
fn every_op_gives_what_its_twin_gives_by_every_body_with_the_checks_and_without() {
    for _ in common::devices().iter().filter(|device| device.is_gpu()).take(1) {
        let mut failures = Vec::new();
        for op in ops() {
            let device = Device::open(&DeviceChoice::Gpu).unwrap();
            let checked = check(&device, op);
            failures.extend(checked.refused.iter().map(|error| format!("{}: {error}", op.name)));
            for run in checked.runs.iter().filter(|run| !run.passed()) {
                failures.push(format!("{}: {run:?}", op.name));
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}
