//! The texts in `kernels/` without a device: every one parses, validates, specialises, and fits its host.

use huetape::engine::device::wgsl;

/// Every kernel parses, validates and specialises in every variant; all failures are reported at once.
#[test]
fn every_kernel_parses_in_every_variant_and_matches_its_host() {
    let mut failures = Vec::new();
    let mut known = Vec::new();
    for kernel in [huetape::engine::ops::kernels(), huetape::imaging::ops::kernels()].concat() {
        known.push(kernel.name());
        for variant in kernel.variants() {
            let checked = wgsl::compose(kernel.name(), kernel.source(), variant)
                .and_then(|text| wgsl::parse(kernel.name(), &text))
                .map(|module| check_params(kernel.name(), kernel.param_bytes(), &module));
            match checked {
                Ok(Ok(())) => {}
                Ok(Err(message)) => failures.push(message),
                Err(error) => failures.push(format!("{variant:?}: {error}")),
            }
        }
    }
    // Relative to the repository root, where cargo starts a test: so the built test runs on another machine too.
    let folder = "kernels";
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_some_and(|e| e == "wgsl") && !known.contains(&stem.as_str()) {
            failures.push(format!("kernels/{stem}.wgsl belongs to no op"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn check_params(name: &str, host_bytes: usize, module: &wgsl::Module) -> Result<(), String> {
    for entry in &module.entries {
        for binding in &entry.bindings {
            if let wgsl::BindingKind::Uniform { bytes } = binding.kind
                && bytes as usize != host_bytes
            {
                return Err(format!("{name}/{}: parameters of {bytes} bytes, {host_bytes} on the host", entry.name));
            }
        }
    }
    Ok(())
}
