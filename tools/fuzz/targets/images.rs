//! Images of every kind, as `check-data` and `colorize` read them: the header, then all samples. Of larger ones than
//! the tests have, the header alone: what 4 GiB of samples take is not asked here.
#![no_main]

use huetape::imaging::codec::decode::{ImageFile, probe_file};
use libfuzzer_sys::fuzz_target;

const MOST_SAMPLES: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("huetape-fuzz-{}", std::process::id()));
    std::fs::write(&path, bytes).expect("a file in the temporary folder");
    if let Ok(info) = probe_file(&path)
        && info.width.saturating_mul(info.height).saturating_mul(info.bands) <= MOST_SAMPLES
        && let Ok(file) = ImageFile::open(&path)
    {
        let bands: Vec<usize> = (1..=file.info().bands).collect();
        let area = file.area();
        if let Ok(window) = file.read_window_exactly(area, &bands) {
            assert_eq!(window.samples.len(), area.width * area.height * bands.len());
            assert_eq!(window.valid.len(), area.width * area.height);
        }
        if let Ok((picture, _)) = file.picture() {
            picture.check_size(&path).expect("as many samples as the header says");
        }
    }
});
