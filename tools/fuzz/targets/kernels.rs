//! The text of a kernel: composed of snippets, parsed, validated and reflected.
#![no_main]

use huetape::engine::device::wgsl;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(text) = wgsl::compose("fuzzed", text, &[])
    {
        let _ = wgsl::parse("fuzzed", &text);
    }
});
