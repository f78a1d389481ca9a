//! Networks: one folder each, and one line in [`NETWORKS`].

pub mod adversarial;
pub mod classifier;
pub mod colournet;
pub mod common;
pub mod distance;
pub mod freeze;
pub mod game;
pub mod pix2pix;
pub mod recipe;
pub mod sicgan;
pub mod spacenet;
pub mod window8;

use crate::engine::nn::{RAW, WeightFile};
use crate::error::{Error, Result};
use game::DISCRIMINATOR;
use recipe::Recipe;

/// All networks. The first is what commands take where none is named.
pub const NETWORKS: &[&dyn Recipe] = &[
    &colournet::recipe::Colournet,
    &window8::recipe::Window8,
    &pix2pix::recipe::Pix2pix,
    &sicgan::recipe::Sicgan,
    &spacenet::recipe::Spacenet,
];

/// The network of this name.
///
/// # Errors
/// No such network.
pub fn by_name(name: &str) -> Result<&'static dyn Recipe> {
    let names = || NETWORKS.iter().map(|recipe| recipe.name()).collect::<Vec<_>>().join(", ");
    let found = NETWORKS.iter().copied().find(|recipe| recipe.name() == name);
    found.ok_or_else(|| Error::input("no such network", name, format!("use one of {}", names())))
}

/// The network whose weights a file holds, by the names of its tensors.
///
/// # Errors
/// Tensors of no network in the list.
pub fn of_file(file: &WeightFile) -> Result<&'static dyn Recipe> {
    let found = NETWORKS.iter().copied().find(|recipe| recipe.recognises(file));
    found.ok_or_else(|| {
        Error::input("its tensors are those of no network", file.source(), "use weights that huetape wrote")
    })
}

/// Whether only a training needs the tensor of this name: an optimiser's state, weights whose averages have the plain
/// names, a discriminator, what the training counts.
pub fn serves_training(name: &str) -> bool {
    ["adam.", "sgd.", "train.", RAW, DISCRIMINATOR].iter().any(|prefix| name.starts_with(prefix))
}

/// Refuses weights of another network than `recipe`'s.
///
/// # Errors
/// A file that `recipe` does not recognise.
pub fn check_weights(recipe: &dyn Recipe, file: &WeightFile) -> Result<()> {
    if recipe.recognises(file) {
        return Ok(());
    }
    let found = of_file(file)?;
    Err(Error::input(
        format!("the weights are those of {}, not of {}", found.name(), recipe.name()),
        file.source(),
        "use weights of the same network",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::Device;
    use crate::engine::testing::check::devices;
    use crate::networks::recipe::{Setup, check, fill};
    use crate::train::settings::table::Settings;
    use crate::train::workload::{Pass, Workload, WorkloadConfig};

    /// Fresh weights of a narrow network, as a file.
    fn weights(recipe: &dyn Recipe) -> WeightFile {
        let narrow = fill(recipe, Settings { width: Some(0.05), ..Settings::default() });
        let settings = if check(recipe, &narrow).is_ok() { narrow } else { fill(recipe, Settings::default()) };
        let device = &Device::cpu();
        let setup = Setup { device, settings: &settings, survey: None, bins: 9, weights: None, training: false };
        WeightFile::from_tensors("fresh weights", recipe.learner(&setup).unwrap().state().unwrap())
    }

    #[test]
    fn weights_are_those_of_one_network() {
        for recipe in NETWORKS {
            let file = weights(*recipe);
            for other in NETWORKS {
                assert_eq!(
                    other.recognises(&file),
                    other.name() == recipe.name(),
                    "does {other:?} recognise weights of {recipe:?}? The first layer of each network needs a name of \
                     its own, and `recognises` looks for it"
                );
            }
        }
    }

    #[test]
    fn what_a_checkpoint_holds_is_not_copied_before_it_is_written() {
        for recipe in NETWORKS {
            let with = |width| fill(*recipe, Settings { width, ema: Some(0.9), ..Settings::default() });
            let settings = if check(*recipe, &with(Some(0.05))).is_ok() { with(Some(0.05)) } else { with(None) };
            let device = &Device::cpu();
            let setup = Setup { device, settings: &settings, survey: None, bins: 9, weights: None, training: true };
            let learner = recipe.learner(&setup).unwrap();
            let state = learner.state_views().unwrap();
            let [mut copied, mut all] = [0; 2];
            for view in &state {
                all += view.len();
                copied += if view.tensor().is_none() { view.len() } else { 0 };
            }
            // Settings of the network, a prior.
            assert!(copied < 30 && 100 * copied < all, "{recipe:?}: {copied} of {all} elements are copies");
        }
    }

    /// All state after three steps of a narrow network, and the most bytes of a step beside what stays.
    fn trained(recipe: &dyn Recipe, device: &Device, keep: &Settings) -> (Vec<u32>, u64) {
        let with = |width| fill(recipe, Settings { width, size: Some(64), ..keep.clone() });
        let settings = if check(recipe, &with(Some(0.05))).is_ok() { with(Some(0.05)) } else { with(None) };
        let setup = Setup { device, settings: &settings, survey: None, bins: 9, weights: None, training: true };
        let mut learner = recipe.learner(&setup).unwrap();
        let config = WorkloadConfig { pass: Pass::Train, size: 64, batch: 2, halo: recipe.halo() };
        let mut workload = Workload::new(learner.as_mut(), &config).unwrap();
        workload.run(device).unwrap();
        device.reset_peak();
        let stays = device.memory().live_bytes;
        (0..2).for_each(|_| workload.run(device).unwrap());
        let most = device.memory().peak_bytes - stays;
        let state = learner.state().unwrap();
        (state.into_iter().flat_map(|tensor| tensor.data).map(f32::to_bits).collect(), most)
    }

    #[test]
    fn activations_that_are_computed_again_or_kept_as_f16_take_less_memory() {
        let all = Settings::default();
        let again = Settings { recompute: Some(true), ..all.clone() };
        let f16 = Settings { activations: Some("f16".to_owned()), ..all.clone() };
        for device in devices() {
            for recipe in NETWORKS {
                let [(kept, most), (same, less), (rounded, half)] =
                    [&all, &again, &f16].map(|keep| trained(*recipe, &device, keep));
                assert!(kept == same, "{recipe:?} on {}: other bits", device.name());
                // Other weights than by f32, as many, and all of them numbers.
                assert!(rounded != kept && rounded.len() == kept.len(), "{recipe:?} on {}", device.name());
                assert!(rounded.iter().all(|&bits| f32::from_bits(bits).is_finite()), "{recipe:?}");
                // Other tests use the same GPU at the same time. How much is saved goes by the layers.
                for (bytes, colournet, sicgan) in [(less, 0.8, 1.0), (half, 0.9, 1.15)] {
                    let share = bytes as f64 / most as f64;
                    let limit = match recipe.name() {
                        "colournet" => colournet,
                        // It takes most at its first layer's gradients, when nothing is kept any more.
                        "sicgan" => sicgan,
                        _ => 0.99,
                    };
                    assert!(device.is_gpu() || share <= limit, "{recipe:?}: {share:.2} of the bytes of a step");
                }
            }
        }
    }

    #[test]
    fn activations_are_not_computed_again_and_kept_as_f16_both() {
        let both = Settings { activations: Some("f16".to_owned()), recompute: Some(true), ..Settings::default() };
        for recipe in NETWORKS {
            let error = check(*recipe, &fill(*recipe, both.clone())).unwrap_err();
            assert!(error.to_string().contains("activations f16 beside recompute"), "{error}");
            check(*recipe, &fill(*recipe, Settings { recompute: Some(false), ..both.clone() })).unwrap();
        }
        // Of a run that goes on the other way only the new one is left.
        let before = fill(NETWORKS[0], Settings { recompute: Some(true), ..Settings::default() });
        let now = Settings { activations: Some("f16".to_owned()), ..Settings::default() }.or(before);
        assert_eq!((now.recompute, now.activations.as_deref()), (None, Some("f16")));
        // A switch that is off, as a filled file has it, takes nothing away and stays.
        let off = fill(NETWORKS[0], Settings::default());
        let f16 = Settings { activations: Some("f16".to_owned()), ..Settings::default() };
        for both in [off.clone().or(f16.clone()), f16.or(off)] {
            assert_eq!((both.recompute, both.activations.as_deref()), (Some(false), Some("f16")));
        }
    }

    #[test]
    fn a_classifier_reads_as_much_around_a_crop_as_around_an_image() {
        for recipe in NETWORKS.iter().filter(|recipe| recipe.bins().is_some()) {
            let painter = recipe.painter(&Device::cpu(), &weights(*recipe)).unwrap();
            assert_eq!(painter.framing().halo, recipe.margin(), "{recipe:?}: `Framing::halo` and `margin` differ");
        }
    }

    #[test]
    fn presets_make_sense_and_lose_against_what_is_given() {
        for recipe in NETWORKS {
            for (name, preset) in recipe.presets() {
                let with = Settings { preset: Some(name.to_owned()), ..Settings::default() };
                let filled = fill(*recipe, with.clone());
                check(*recipe, &filled).unwrap();
                assert_eq!(
                    (filled.width, filled.steps, &filled.augment),
                    (preset.width, preset.steps, &preset.augment)
                );
                assert_ne!(filled, Settings { preset: Some(name.to_owned()), ..fill(*recipe, Settings::default()) });
                let given = fill(*recipe, Settings { width: Some(0.5), epochs: Some(3), ..with.clone() });
                assert_eq!((given.width, given.epochs, given.steps), (Some(0.5), Some(3), None));
                // Weights to start from say what the network is.
                assert_eq!(fill(*recipe, Settings { init: Some("w".into()), ..with }).width, None);
                // What a run has recorded is what a training that goes on with it gets.
                assert_eq!(fill(*recipe, filled.clone()), filled);
            }
            let filled = fill(*recipe, Settings { preset: Some("nonesuch".to_owned()), ..Settings::default() });
            let error = check(*recipe, &filled).unwrap_err().to_string();
            match recipe.presets().is_empty() {
                true => assert!(error.contains("has no such setting: preset"), "{error}"),
                false => assert!(error.contains("has no such preset: preset nonesuch: use "), "{error}"),
            }
        }
    }

    #[test]
    fn a_network_is_known_by_its_name() {
        for recipe in NETWORKS {
            assert_eq!(by_name(recipe.name()).unwrap().name(), recipe.name());
        }
        let error = by_name("nonesuch").err().unwrap();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(NETWORKS[0].name()), "{error}");
    }

    #[test]
    fn weights_of_no_network_are_refused() {
        let file = WeightFile::from_tensors("w.safetensors", Vec::new());
        let error = of_file(&file).err().unwrap();
        assert!(error.exit_code() == 2 && error.to_string().contains("w.safetensors"), "{error}");
    }
}
