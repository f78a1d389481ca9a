//! A profile against an earlier one.

use crate::error::{Error, Result};
use crate::files::io_error;
use serde_json::Value;
use std::path::Path;

/// Seconds of a launch below which it does not count by itself: the noise of so short a time is too large.
const SHORT: f64 = 50e-6;
/// What two profiles that are compared have in common.
const SAME: [&str; 9] = ["model", "pass", "size", "batch", "width", "bins", "activations", "device", "timing"];

/// A profile that was written as JSON.
///
/// # Errors
/// A file that cannot be read, or holds something else.
pub fn read(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|error| io_error("cannot read", path, &error))?;
    let value: Option<Value> = serde_json::from_str(&text).ok();
    let profile = value.filter(|value| value["seconds_median"].is_number() && value["launches"].is_array());
    profile.ok_or_else(|| {
        let remedy = "use a file that `huetape profile ⟨json⟩ FILE` wrote";
        Error::input("it is not the JSON of a profile", path.display(), remedy)
    })
}

/// The launches of one layer, pass and kernel, added up.
struct Group<'a> {
    name: [&'a str; 3],
    launches: usize,
    seconds: f64,
    fastest: f64,
}

fn groups(profile: &Value) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for launch in profile["launches"].as_array().into_iter().flatten() {
        let name = ["layer", "pass", "kernel"].map(|key| launch[key].as_str().unwrap_or_default());
        let seconds = launch["seconds"].as_f64().unwrap_or_default();
        let fastest = launch["seconds_min"].as_f64().unwrap_or(seconds);
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => {
                group.launches += 1;
                group.seconds += seconds;
                group.fastest += fastest;
            }
            None => groups.push(Group { name, launches: 1, seconds, fastest }),
        }
    }
    groups
}

/// Refuses a profile whose pass, or one of whose launches, takes over `percent` longer than in the profile `before`,
/// which was read from `file`.
///
/// A launch is known by its layer, pass and kernel; where several share these, they are taken together. What counts is
/// the median; the fastest run must be slower than it was before as well, which noise alone rarely is. Launches below
/// 50 microseconds count only within the pass.
///
/// # Errors
/// The regression, in one line that names the launch; a profile of something else.
pub fn check(before: &Value, now: &Value, percent: f64, file: &Path) -> Result<()> {
    let differs = SAME.iter().find(|key| before[**key] != now[**key]);
    if let Some(key) = differs {
        let what = format!("the baseline has another {key}: {} there, {} here", before[*key], now[*key]);
        return Err(Error::input(what, file.display(), "profile the same pass on the same device"));
    }
    let beyond = |before: f64, median: f64, fastest: f64| median > before * (1.0 + percent / 100.0) && fastest > before;
    let (earlier, groups) = (groups(before), groups(now));
    let known = |group: &Group<'_>| earlier.iter().find(|known| known.name == group.name).map(|known| known.seconds);
    // Each with what it took before, the one that has grown most last.
    let mut grown: Vec<(&Group<'_>, f64)> = groups.iter().filter_map(|group| Some((group, known(group)?))).collect();
    grown.sort_by(|a, b| (a.0.seconds - a.1).total_cmp(&(b.0.seconds - b.1)));
    let alone = |(group, before): &&(&Group<'_>, f64)| {
        group.seconds / group.launches as f64 >= SHORT && beyond(*before, group.seconds, group.fastest)
    };
    let launch = grown.iter().rev().find(alone);
    let [was, is, least] = [&before["seconds_median"], &now["seconds_median"], &now["seconds_min"]]
        .map(|seconds| seconds.as_f64().unwrap_or_default());
    let whole = was > 0.0 && beyond(was, is, least);
    if launch.is_none() && !whole {
        return Ok(());
    }
    let change = |was: f64, is: f64| {
        let percent = 100.0 * (is / was - 1.0);
        format!("{percent:.0} % slower ({:.3} ms, {:.3} ms before)", 1e3 * is, 1e3 * was)
    };
    let mut found = Vec::new();
    if whole {
        found.push(format!("the pass is {}", change(was, is)));
    }
    if let Some((group, before)) = launch.or(grown.last()) {
        let [layer, pass, kernel] = group.name;
        found.push(format!("{layer} {pass} {kernel} is {}", change(*before, group.seconds)).trim_start().to_owned());
    }
    let remedy = format!("find what changed, or allow more than {percent} %");
    Err(Error::failed(found.join("; "), file.display(), remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn launch(layer: &str, pass: &str, kernel: &str, seconds: f64) -> Value {
        json!({ "layer": layer, "pass": pass, "kernel": kernel, "seconds": seconds, "seconds_min": 0.95 * seconds })
    }

    /// Two convolutions, one of which runs twice, and a launch of 20 microseconds.
    fn profile() -> Value {
        json!({
            "model": "a network", "pass": "train", "size": 64, "batch": 1, "width": 0.5, "bins": 20, "device": "cpu",
            "timing": "clock", "seconds_median": 0.1, "seconds_min": 0.095,
            "launches": [
                launch("conv1", "forward", "conv2d", 0.01), launch("conv1", "forward", "conv2d", 0.01),
                launch("conv2", "dw", "conv2d_dw", 0.05), launch("bn", "forward", "fill", 20e-6),
            ],
        })
    }

    fn scaled(profile: &mut Value, path: &str, factor: f64) {
        for key in ["seconds", "seconds_min", "seconds_median"] {
            if let Some(value) = profile.pointer_mut(&format!("{path}/{key}")) {
                *value = json!(value.as_f64().unwrap() * factor);
            }
        }
    }

    fn checked(now: &Value, percent: f64) -> std::result::Result<(), String> {
        check(&profile(), now, percent, Path::new("base.json")).map_err(|error| {
            assert_eq!(error.exit_code(), 1);
            error.to_string()
        })
    }

    #[test]
    fn a_launch_that_is_slower_by_a_fifth_is_named() {
        for (path, name) in [("/launches/2", "conv2 dw conv2d_dw"), ("/launches/1", "conv1 forward conv2d")] {
            // One of two launches of a name is half of what the name takes.
            let factor = if name.starts_with("conv1") { 1.4 } else { 1.2 };
            let mut now = profile();
            scaled(&mut now, path, factor);
            let error = checked(&now, 10.0).unwrap_err();
            assert!(error.contains(name) && error.contains("20 % slower") && error.contains("base.json"), "{error}");
            assert_eq!(error.lines().count(), 1);
            assert_eq!(checked(&now, 25.0), Ok(()));
        }
    }

    #[test]
    fn a_slower_pass_names_the_launch_that_has_grown_most() {
        let mut now = profile();
        scaled(&mut now, "", 1.5);
        scaled(&mut now, "/launches/0", 1.02);
        let error = checked(&now, 10.0).unwrap_err();
        assert!(error.contains("the pass is 50 % slower") && error.contains("conv1 forward conv2d"), "{error}");
    }

    #[test]
    fn what_is_faster_or_short_or_within_the_noise_is_no_regression() {
        let mut now = profile();
        assert_eq!(checked(&now, 0.0), Ok(()));
        scaled(&mut now, "/launches/3", 2.0);
        assert_eq!(checked(&now, 10.0), Ok(()), "40 microseconds");
        scaled(&mut now, "/launches/2", 0.5);
        assert_eq!(checked(&now, 10.0), Ok(()));
        // A median of few runs, the fastest of which is as fast as ever.
        let mut now = profile();
        now["launches"][2]["seconds"] = json!(0.08);
        assert_eq!(checked(&now, 10.0), Ok(()));
        now["launches"][2]["seconds_min"] = json!(0.06);
        assert!(checked(&now, 10.0).is_err());
    }

    #[test]
    fn a_profile_of_something_else_is_refused() {
        for (key, value) in [("size", json!(128)), ("device", json!("llvmpipe")), ("timing", json!("timestamps"))] {
            let mut now = profile();
            now[key] = value;
            let error = check(&profile(), &now, 10.0, Path::new("base.json")).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(key), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("other.json");
        for text in ["", "{", "[]", "{\"launches\": []}"] {
            std::fs::write(&file, text).unwrap();
            let error = read(&file).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("other.json"), "{error}");
        }
        std::fs::write(&file, profile().to_string()).unwrap();
        assert_eq!(read(&file).unwrap(), profile());
    }

    /// By the clock of a machine that may be busy: one of a few tries must see what is so.
    #[cfg(feature = "gpu")]
    #[test]
    fn a_convolution_that_is_made_slower_is_caught() {
        use crate::engine::device::{Device, DeviceChoice};
        use crate::networks::NETWORKS;
        use crate::networks::recipe::{Setup, fill};
        use crate::train::settings::table::Settings;
        use crate::train::workload::{Pass, WorkloadConfig, measure};
        use crate::workshop::catalogue;
        use crate::workshop::profile::figures::Figures;

        if !crate::engine::testing::check::devices().iter().any(Device::is_software) {
            return;
        }
        let device = Device::open(&DeviceChoice::Gpu).unwrap();
        let recipe = NETWORKS.iter().find(|recipe| recipe.bins().is_some()).unwrap();
        let settings = fill(*recipe, Settings { width: Some(0.25), ..Settings::default() });
        let setup =
            Setup { device: &device, settings: &settings, survey: None, bins: 20, weights: None, training: false };
        let mut learner = recipe.learner(&setup).unwrap();
        let config = WorkloadConfig { pass: Pass::Forward, size: 64, batch: 1, halo: recipe.halo() };
        let (pass, size, batch, width) = (config.pass, config.size, config.batch, 0.25);
        let mut profiled = || {
            let measurement = measure(learner.as_mut(), &config, 3).unwrap();
            let (model, device, bins) = (recipe.name(), device.name(), Some(20));
            let (activations, roofline) = (None, None);
            Figures { model, pass, size, batch, width, bins, activations, device, measurement, roofline }.json()
        };
        let (_, kernel) = catalogue::kernel("conv2d").unwrap();
        let own = (0..kernel.bodies()).map(|body| kernel.text(body)).find(|text| text.body == "software").unwrap();
        // Each product by cosines of next to nothing, which are 1.
        let sum = "sum[i] += select(0.0, x[start[i] + c], inside[i]) * v;";
        let cosines = ["1e-30", "2e-30", "3e-30"].map(|small| format!(" * cos({small} * x[start[i] + c])")).concat();
        let slow = own.source.replace(sum, &sum.replace(" * v", &format!(" * v{cosines}")));
        assert_ne!(slow, own.source);
        let caught = (0..4).any(|_| {
            device.replace_text(kernel, own.body, None);
            let before = profiled();
            device.replace_text(kernel, own.body, Some(slow.clone()));
            match check(&before, &profiled(), 20.0, Path::new("base.json")) {
                Ok(()) => false,
                Err(error) => error.to_string().contains(" forward conv2d is "),
            }
        });
        assert!(caught);
    }
}
