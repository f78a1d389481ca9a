//! A network that is not in the list: its layers and its recipe are all that training and colouring ask for.

use huetape::engine::device::Device;
use huetape::engine::nn::WeightFile;
use huetape::error::Result;
use huetape::imaging::codec::decode;
use huetape::imaging::codec::save::save_png;
use huetape::imaging::synth::Scene;
use huetape::networks::classifier::network::Classifier;
use huetape::networks::classifier::recipe as classification;
use huetape::networks::recipe::{Demo, Recipe, Setup};
use huetape::networks::{NETWORKS, check_weights};
use huetape::paint::colorizer::{Colorizer, Options};
use huetape::paint::painter::Painter;
use huetape::run::training::{Training, settings_to_resume};
use huetape::train::learner::Learner;
use huetape::train::run_dir::RunDir;
use huetape::train::session::{Event, Outcome};
use huetape::train::settings::table::Settings;
use std::path::Path;

/// What would be `src/networks/toy/network.rs`: two convolutions.
mod network {
    use huetape::engine::nn::{ConvLayer, Sequential, WeightFile};
    use huetape::error::Result;
    use huetape::networks::classifier::network::Architecture;
    use huetape::paint::painter::Framing;

    pub static ARCHITECTURE: Architecture = Architecture {
        name: "toy",
        layers: |width, bins| network((16.0 * width).ceil() as usize, bins),
        layers_of: network_of,
        upsample: 1,
        framing: Framing { stride: 1, halo: 0, reach: 1, window: None, margin: 0 },
    };

    fn network(hidden: usize, bins: usize) -> Sequential {
        Sequential::new(1).then(ConvLayer::same("toy.in", 3, hidden).relu()).then(ConvLayer::same("toy.out", 1, bins))
    }

    fn network_of(file: &WeightFile) -> Result<Sequential> {
        let channels = |layer: &str| Ok(file.require(&format!("{layer}.bias"))?.data.len());
        Ok(network(channels("toy.in")?, channels("toy.out")?))
    }
}

/// What would be `src/networks/toy/recipe.rs`.
struct Toy;

impl Recipe for Toy {
    fn name(&self) -> &'static str {
        network::ARCHITECTURE.name
    }

    fn what(&self) -> &'static str {
        "Grey to colour by two layers"
    }

    fn recognises(&self, file: &WeightFile) -> bool {
        file.get("toy.in.weight").is_some()
    }

    fn painter(&self, device: &Device, file: &WeightFile) -> Result<Box<dyn Painter>> {
        Ok(Box::new(Classifier::read(device, &network::ARCHITECTURE, file, false)?))
    }

    fn own_settings(&self) -> &'static [&'static str] {
        &["width", "bins", "bin-width", "lambda", "sigma", "prior-smoothing"]
    }

    fn defaults(&self) -> Settings {
        Settings { size: Some(24), batch: Some(2), lr: Some(1e-2), ..classification::defaults() }
    }

    fn learner(&self, setup: &Setup<'_>) -> Result<Box<dyn Learner>> {
        classification::learner(&network::ARCHITECTURE, setup)
    }

    fn demos(&self) -> Vec<Demo> {
        Vec::new()
    }
}

static TOY: Toy = Toy;

/// A folder with four colour images.
fn images() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    std::fs::create_dir(&images).unwrap();
    for index in 0..4 {
        let path = images.join(format!("{index}.png"));
        save_png(&path, &Scene::new(3, index, 32).optical(), 32, 32, None).unwrap();
    }
    folder
}

fn settings(folder: &Path, steps: u64) -> Settings {
    let images = Some(folder.join("images"));
    let bins = Some("kmeans:5".to_owned());
    Settings { val_source: images.clone(), images, bins, steps: Some(steps), ..Settings::default() }
}

/// Trains it in `out`; the losses.
fn train(settings: Settings, out: &Path, resume: bool) -> Vec<f32> {
    let mut seen = Vec::new();
    let training = Training::new(&TOY, settings).unwrap().resuming(resume);
    let ended = training.run(&Device::cpu(), out, &mut |event| {
        if let Event::Step { losses, .. } = event {
            seen.push(losses[0].1);
        }
    });
    let ended = ended.unwrap();
    assert_eq!(ended.outcome, Outcome::Finished);
    assert_eq!(ended.scores.unwrap().images.len(), 4);
    seen
}

#[test]
fn a_network_of_ones_own_trains_resumes_and_colours() {
    let folder = images();
    let run = |name: &str| RunDir::open(folder.path().join(name)).unwrap();
    let whole = train(settings(folder.path(), 60), &folder.path().join("whole"), false);
    assert!(whole[50..].iter().sum::<f32>() < 0.9 * whole[..10].iter().sum::<f32>(), "it does not learn: {whole:?}");
    let written = Settings::read(&run("whole").config()).unwrap();
    assert_eq!((written.model.as_deref(), written.size, written.sigma), (Some("toy"), Some(24), Some(5.0)));
    assert!(run("whole").report().is_file());

    let out = folder.path().join("parts");
    train(settings(folder.path(), 30), &out, false);
    let go_on = settings_to_resume(Settings { steps: Some(60), ..Settings::default() }, &out).unwrap();
    assert_eq!(train(go_on, &out, true), whole[30..]);
    let bytes = |name: &str| std::fs::read(run(name).checkpoint(60)).unwrap();
    assert!(bytes("whole") == bytes("parts"));

    let weights = WeightFile::read(&run("whole").checkpoint(60)).unwrap();
    let colorizer = Colorizer::new(TOY.painter(&Device::cpu(), &weights).unwrap());
    let options = Options { lightness: true, ..Options::default() };
    let path = folder.path().join("images/0.png");
    let colours = colorizer.colorize(&decode::open(&path).unwrap(), &path, &options).unwrap();
    assert_eq!((colorizer.model(), colours.width, colours.height, colours.bands), ("toy", 32, 32, 3));
}

#[test]
fn a_network_of_ones_own_refuses_settings_and_weights_of_others() {
    let folder = images();
    let refused = |settings: Settings, expected: &str| {
        let error = Training::new(&TOY, settings).err().unwrap();
        assert!(error.exit_code() == 2 && error.to_string().contains(expected), "{error}");
    };
    refused(Settings { dropout: Some(0.5), ..settings(folder.path(), 1) }, "toy has no such setting: dropout");
    refused(Settings { size: Some(40), ..settings(folder.path(), 1) }, "smaller than the crop of 40x40");
    train(settings(folder.path(), 1), &folder.path().join("run"), false);
    let weights = WeightFile::read(&RunDir::open(folder.path().join("run")).unwrap().checkpoint(1)).unwrap();
    assert!(check_weights(&TOY, &weights).is_ok());
    assert!(NETWORKS.iter().all(|recipe| !recipe.recognises(&weights) && check_weights(*recipe, &weights).is_err()));
}

/// A driver that resets takes the GPU away in the middle of a run.
#[cfg(feature = "testing")]
#[test]
fn a_lost_gpu_ends_the_run_with_its_last_checkpoint_whole() {
    use huetape::engine::device::DeviceChoice;
    use huetape::engine::testing::devices;
    use huetape::error::ErrorKind;

    let folder = images();
    let settings = || Settings { checkpoint_every: Some(2), ..settings(folder.path(), 8) };
    if !devices().iter().any(Device::is_gpu) {
        return;
    }
    let gpu = || Device::open(&DeviceChoice::Gpu).unwrap();
    let device = gpu();
    let run = |name: &str, device: &Device, lost_at: Option<u64>| {
        let training = Training::new(&TOY, settings()).unwrap().resuming(true);
        let lose = |event: Event<'_>| {
            if matches!(event, Event::Step { step, .. } if Some(step) == lost_at) {
                device.lose();
            }
        };
        training.run(device, &folder.path().join(name), &mut { lose })
    };
    run("whole", &gpu(), None).unwrap();
    let error = run("broken", &device, Some(5)).err().unwrap();
    assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Lost, 1));
    let dir = RunDir::open(folder.path().join("broken")).unwrap();
    let newest = dir.list_checkpoints().unwrap().remove(0);
    assert_eq!(newest.step, 4);
    let message = error.to_string();
    let way_on = format!("{} is whole: go on from there with", newest.path.display());
    assert!(message.contains(&way_on) && !message.contains('\n'), "{message}");
    run("broken", &gpu(), None).unwrap();
    let bytes = |name: &str| std::fs::read(RunDir::open(folder.path().join(name)).unwrap().checkpoint(8)).unwrap();
    assert!(bytes("whole") == bytes("broken"));
}
