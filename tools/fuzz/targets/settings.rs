//! Settings of a training in TOML; what is read must be written and read again.
#![no_main]

use huetape::train::settings::table::Settings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("huetape-fuzz-{}.toml", std::process::id()));
    std::fs::write(&path, bytes).expect("a file in the temporary folder");
    if let Ok(settings) = Settings::read(&path) {
        settings.write(&path).expect("settings that were read can be written");
        Settings::read(&path).expect("and read again");
    }
});
