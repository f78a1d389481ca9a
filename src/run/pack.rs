//! Weights to pass on: of a checkpoint what inference needs, half as large, with what it is said by the file itself.

use crate::engine::device::Device;
use crate::engine::nn::{Element, StateTensor, WeightFile, save_as};
use crate::error::{Error, ErrorKind, Result};
use crate::networks::{of_file, serves_training};
use crate::train::about::About;
use crate::train::metadata::Metadata;
use std::path::Path;

/// What a tensor's elements are in a file to pass on. Kernels, nearly all of a network, do with 16 bits; statistics of
/// batch norm, whose variances may be small, and bins stay as they are.
fn element(tensor: &StateTensor) -> Element {
    match tensor.shape.len() > 1 && tensor.name.ends_with(".weight") {
        true => Element::F16,
        false => Element::F32,
    }
}

/// Writes those of `weights` that inference needs to `path`, whole or not at all: kernels with 16 bits, the rest with
/// 32, and in the metadata what `about` says beside what the weights said before. The same weights and words give the
/// same bytes.
///
/// # Errors
/// Weights of no network, that lack a tensor, say nothing of themselves, or hold a value that 16 bits cannot; a
/// description that leaves something out; a folder that may not be written.
///
/// ```
/// use huetape::engine::nn::WeightFile;
/// use huetape::run::pack::pack;
/// use huetape::train::about::{About, Figures};
///
/// # fn main() -> huetape::Result<()> {
/// # let scores = r#"{"images": 4, "model": {"psnr": 17.0}}"#;
/// let about = About {
///     name: "fields".into(),
///     purpose: "grey images of fields".into(),
///     data: "4,000 images of fields".into(),
///     licence: "CC BY 4.0".into(),
///     date: "2026-11-25".into(),
///     figures: [("four fields".into(), Figures::of_json(scores, "scores.json")?)].into(),
/// };
/// about.check()?;
/// if let Ok(weights) = WeightFile::read("runs/first/checkpoints/best.safetensors".as_ref()) {
///     pack(&weights, about, "fields.safetensors".as_ref())?;
/// }
/// # Ok(())
/// # }
/// ```
pub fn pack(weights: &WeightFile, about: About, path: &Path) -> Result<()> {
    about.check()?;
    let metadata = Metadata::of(weights)?.ok_or_else(|| {
        let remedy = "use a checkpoint that huetape wrote; an older run writes one when it is resumed";
        Error::input("the weights say nothing of themselves", weights.source(), remedy).of(ErrorKind::File)
    })?;
    let kept: Vec<StateTensor> = weights.tensors().filter(|tensor| !serves_training(&tensor.name)).cloned().collect();
    // That they are whole is known before the file is.
    let file = WeightFile::from_tensors(weights.source(), kept.clone());
    of_file(&file)?.painter(&Device::cpu(), &file)?;
    let metadata = Metadata { about: Some(about), ..metadata };
    save_as(&kept, Some(&metadata.to_json()?), element, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nn::save_described;
    use crate::imaging::pixels::Pixels;
    use crate::networks::NETWORKS;
    use crate::networks::recipe::{Recipe, Setup, check, fill};
    use crate::paint::colorizer::Colorizer;
    use crate::paint::painter::Look;
    use crate::train::about::Figures;
    use crate::train::settings::table::Settings;

    fn about() -> About {
        About {
            name: "toy".into(),
            purpose: "tests".into(),
            data: "nothing".into(),
            licence: "CC0".into(),
            date: "2026-11-25".into(),
            figures: [("a".into(), Figures::of_json(r#"{"images": 1, "model": {"psnr": 9.0}}"#, "a").unwrap())].into(),
        }
    }

    /// What a training of a narrow network writes down.
    fn checkpoint(recipe: &dyn Recipe, folder: &Path) -> WeightFile {
        let with = |width| fill(recipe, Settings { width, ema: Some(0.5), ..Settings::default() });
        let settings = if check(recipe, &with(Some(0.05))).is_ok() { with(Some(0.05)) } else { with(None) };
        let device = &Device::cpu();
        let setup = Setup { device, settings: &settings, survey: None, bins: 9, weights: None, training: true };
        let mut state = recipe.learner(&setup).unwrap().state().unwrap();
        state.push(StateTensor { name: "train.best_loss".into(), shape: vec![1], data: vec![f32::INFINITY] });
        let metadata = Metadata { network: recipe.name().into(), step: 3, ..Metadata::default() };
        let path = folder.join("checkpoint.safetensors");
        save_described(&state, Some(&metadata.to_json().unwrap()), &path).unwrap();
        WeightFile::read(&path).unwrap()
    }

    #[test]
    fn every_network_colours_alike_by_half_the_bytes_and_learns_on() {
        for recipe in NETWORKS {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            let whole = checkpoint(*recipe, folder.path());
            pack(&whole, about(), &at("one")).unwrap();
            pack(&whole, about(), &at("two")).unwrap();
            assert_eq!(std::fs::read(at("one")).unwrap(), std::fs::read(at("two")).unwrap());
            let packed = WeightFile::read(&at("one")).unwrap();
            let said = Metadata::of(&packed).unwrap().unwrap();
            assert_eq!((said.network.as_str(), said.step, said.about), (recipe.name(), 3, Some(about())));
            assert!(packed.names().all(|name| !serves_training(name)), "{recipe:?}");
            let numbers: usize = packed.tensors().map(|tensor| tensor.data.len()).sum();
            let bytes = std::fs::metadata(at("one")).unwrap().len() as usize;
            assert!(bytes < 3 * numbers + 20_000, "{recipe:?}: {bytes} bytes for {numbers} numbers");

            let device = Device::cpu();
            let painted = |file: &WeightFile| {
                let colorizer = Colorizer::of(&device, file, None).unwrap();
                let bands = colorizer.source_bands();
                let values = (0..32 * 32 * bands).map(|i| (i % 97) as f32 / 97.0).collect();
                colorizer.paint(&Pixels { width: 32, height: 32, bands, values }, &Look::default()).unwrap().values
            };
            let worst = painted(&whole).iter().zip(painted(&packed)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // Weights are off by 2^-11 of themselves; colours by no more than a few levels of 8 bits.
            assert!(worst < 0.02, "{recipe:?}: {worst}");

            let settings = fill(*recipe, Settings { init: Some("one".into()), ..Settings::default() });
            let weights = Some(&packed);
            let setup = Setup { device: &device, settings: &settings, survey: None, bins: 0, weights, training: true };
            let state = recipe.learner(&setup).unwrap().state().unwrap();
            let learnt = WeightFile::from_tensors("learner", state);
            packed.tensors().filter(|tensor| tensor.shape.len() > 1).for_each(|tensor| {
                assert_eq!(learnt.get(&tensor.name), Some(tensor), "{recipe:?}");
            });
        }
    }

    #[test]
    fn weights_that_are_not_whole_or_say_nothing_are_refused_and_no_file_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.safetensors");
        let whole = checkpoint(NETWORKS[0], folder.path());
        let tensors = |keep: &dyn Fn(&str) -> bool| whole.tensors().filter(|t| keep(&t.name)).cloned().collect();
        let file = |tensors: Vec<StateTensor>, metadata: Option<&str>| {
            let path = folder.path().join("changed.safetensors");
            save_described(&tensors, metadata, &path).unwrap();
            WeightFile::read(&path).unwrap()
        };
        let mut large: Vec<StateTensor> = tensors(&|_| true);
        large.iter_mut().find(|t| t.shape.len() == 4 && !serves_training(&t.name)).unwrap().data[1] = 1e6;
        let last = whole.names().filter(|name| name.ends_with(".bias") && !serves_training(name)).last().unwrap();
        let cases = [
            (file(tensors(&|_| true), None), "say nothing"),
            (file(tensors(&|name| name != last), whole.metadata()), last),
            (file(large, whole.metadata()), "16 bits cannot hold"),
        ];
        for (wrong, named) in cases {
            let error = pack(&wrong, about(), &out).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(named), "{error}");
        }
        let error = pack(&whole, About { date: String::new(), ..about() }, &out).unwrap_err();
        assert!(error.to_string().contains("date"), "{error}");
        assert!(!out.exists());
    }
}
