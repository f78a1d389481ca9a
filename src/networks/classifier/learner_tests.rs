//! How a classifier learns: statistics of averaged weights, predicted lightness.

use crate::dataset::loader::Batch;
use crate::engine::device::Device;
use crate::engine::nn::{Norm, OptimizerKind};
use crate::engine::ranks::Share;
use crate::engine::tape::{Keeping, Tape};
use crate::imaging::color::Bins;
use crate::networks::classifier::learner::{Classification, ClassificationConfig};
use crate::networks::classifier::network::{Architecture, Classifier};
use crate::networks::freeze::Freeze;
use crate::networks::{colournet, window8};
use crate::paint::painter::Look;
use crate::random::{Rng, Stream};
use crate::train::learner::{Learner, Update};

fn classifier(architecture: &'static Architecture) -> Classifier {
    Classifier::new(&Device::cpu(), architecture, 0.05, &Bins::lattice(9), vec![1.0 / 9.0; 9], 0, true).unwrap()
}

fn learner(architecture: &'static Architecture, ema: Option<f64>) -> Classification {
    learner_of(classifier(architecture), ema)
}

fn learner_of(classifier: Classifier, ema: Option<f64>) -> Classification {
    let learning = ClassificationConfig {
        optimizer: OptimizerKind::Adam { beta1: 0.9, beta2: 0.99, eps: 1e-8 },
        weight_decay: 0.0,
        l2: 0.0,
        lambda: 0.5,
        sigma: 5.0,
        lambda_l: 1.0,
        ema,
        freeze: Freeze::default(),
        keeping: Keeping::default(),
        training: true,
    };
    Classification::new(classifier, &learning).unwrap()
}

fn batch(step: u64) -> Batch {
    let rng = Rng::new(step, Stream::Test, 0);
    let values = |len: u64| (0..len).map(|i| rng.uniform(i)).collect();
    let (source, target) = (values(2 * 32 * 32), values(2 * 32 * 32 * 3));
    Batch { step, files: Vec::new(), n: 2, size: 32, halo: 0, source, target }
}

/// Under the statistics taken anew, each layer's output over the images that they were taken from has mean beta and
/// variance gamma squared: the loss is that of batch norm by the batch's own statistics.
#[test]
fn statistics_are_those_of_the_averaged_weights() {
    let mut learner = learner(&colournet::network::ARCHITECTURE, Some(0.9));
    for step in 1..=3 {
        learner.step(&batch(step), &Update { step, steps: 9, lr: 1e-2, share: Share::default() }).unwrap();
    }
    assert_eq!(learner.calibration(3, 9, false), 0);
    assert!(learner.calibration(3, 9, true) > 0);
    let before = learner.validation_loss(&batch(7)).unwrap();
    learner.calibrate(&batch(7), 1).unwrap();
    let after = learner.validation_loss(&batch(7)).unwrap();
    let device = learner.painter().device().clone();
    // The same weights without an average, by the batch itself.
    let file = crate::engine::nn::WeightFile::from_tensors("memory", learner.state().unwrap());
    let read = Classifier::read(&device, &colournet::network::ARCHITECTURE, &file, false).unwrap();
    let grey = batch(7).source_on(&device).unwrap();
    let [by_batch, running] =
        [Norm::Batch, Norm::Running].map(|norm| read.logits(&Tape::inference(), &grey, norm).unwrap());
    let (by_batch, running) = (by_batch.value().to_vec().unwrap(), running.value().to_vec().unwrap());
    let largest = by_batch.iter().fold(0f32, |most, v| most.max(v.abs()));
    // Eight layers of f32 sums in another order.
    assert!(by_batch.iter().zip(&running).all(|(a, b)| (a - b).abs() < 1e-3 * largest), "{by_batch:?} {running:?}");
    assert!((before - after).abs() > 1e-3, "{before} {after}");
}

#[test]
fn without_batch_norm_or_an_average_nothing_is_taken_anew() {
    assert_eq!(learner(&window8::network::ARCHITECTURE, Some(0.9)).calibration(5, 9, true), 0);
    assert_eq!(learner(&colournet::network::ARCHITECTURE, None).calibration(5, 9, true), 0);
}

/// What a head has learned of bright targets comes out as bright: as L / 100, not as the network's own input.
#[test]
fn predicted_lightness_is_that_of_the_targets() {
    for architecture in [&colournet::network::ARCHITECTURE, &window8::network::ARCHITECTURE] {
        let mut learner = learner_of(classifier(architecture).predicting_lightness().unwrap(), None);
        let device = learner.painter().device().clone();
        let halo = learner.painter().framing().halo;
        let bright = |step| Batch { target: vec![0.9; 2 * 32 * 32 * 3], ..batch(step) };
        let mut distance = 0.0;
        for step in 1..=120 {
            // Adam swings about a mean distance's least unless its steps shrink.
            let update = Update { step, steps: 120, lr: 2e-2 * (1.0 - step as f64 / 121.0), share: Share::default() };
            let losses = learner.step(&bright(step), &update).unwrap();
            let losses: Vec<f32> = losses.into_iter().map(|loss| loss.finish().unwrap()[0]).collect();
            distance = losses[1];
            // sRGB 0.9 is L 91; a head that has learned nothing says 50.
            assert!(step > 1 || (distance - 0.41).abs() < 0.01, "{architecture:?}: {distance}");
        }
        assert!(distance < 0.1, "{architecture:?}: {distance}");
        let side = 32 - 2 * halo;
        let source = bright(1).source_on(&device).unwrap();
        let painted = learner.painter().paint(&source, &Look::default()).unwrap();
        assert_eq!(painted.shape(), [2, side, side, 3]);
        let values = painted.to_vec().unwrap();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!(mean > 0.6, "{architecture:?}: {mean}");
    }
}
