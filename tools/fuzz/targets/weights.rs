//! Weight files, up to the network that they make.
#![no_main]

use huetape::engine::device::Device;
use huetape::paint::colorizer::Colorizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Colorizer::from_weights(&Device::cpu(), bytes);
});
