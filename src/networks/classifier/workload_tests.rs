//! Passes of the classification networks, timed.

use crate::engine::device::Device;
use crate::engine::nn::OptimizerKind;
use crate::engine::tape::Keeping;
use crate::imaging::color::Bins;
use crate::networks::classifier::learner::{Classification, ClassificationConfig};
use crate::networks::classifier::network::{Architecture, Classifier};
use crate::networks::freeze::Freeze;
use crate::networks::{colournet, window8};
use crate::train::workload::{Measurement, Pass, WorkloadConfig, measure};

fn classifier(architecture: &'static Architecture, training: bool) -> Classification {
    let learning = ClassificationConfig {
        optimizer: OptimizerKind::Adam { beta1: 0.9, beta2: 0.99, eps: 1e-8 },
        weight_decay: 0.0,
        l2: 0.0,
        lambda: 0.5,
        sigma: 5.0,
        lambda_l: 1.0,
        ema: None,
        freeze: Freeze::default(),
        keeping: Keeping::default(),
        training,
    };
    let classifier =
        Classifier::new(&Device::cpu(), architecture, 0.05, &Bins::lattice(30), vec![1.0 / 30.0; 30], 0, training);
    Classification::new(classifier.unwrap(), &learning).unwrap()
}

fn kernels(measurement: &Measurement) -> Vec<&str> {
    measurement.launches.iter().map(|launch| launch.kernel.as_str()).collect()
}

#[test]
fn a_forward_pass_ends_with_the_softmax_and_a_training_pass_with_the_optimiser() {
    for (architecture, size) in [(&colournet::network::ARCHITECTURE, 16), (&window8::network::ARCHITECTURE, 24)] {
        let time = |pass, iterations| {
            let mut learner = classifier(architecture, pass == Pass::Train);
            measure(&mut learner, &WorkloadConfig { pass, size, batch: 2, halo: 0 }, iterations).unwrap()
        };
        let forward = time(Pass::Forward, 3);
        assert_eq!(kernels(&forward).last(), Some(&"softmax"));
        assert!(!kernels(&forward).contains(&"conv2d_dw"));
        let train = time(Pass::Train, 2);
        assert_eq!(kernels(&train).last(), Some(&"adam"));
        assert!(kernels(&train).contains(&"soft_encode") && kernels(&train).contains(&"conv2d_dw"));
        assert!(train.peak_bytes > forward.peak_bytes && forward.peak_bytes > 0);
        assert_eq!((forward.seconds.len(), train.seconds.len()), (3, 2));
        assert!(forward.seconds.is_sorted());
    }
}
