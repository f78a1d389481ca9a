//! What a classifier paints: by windows and as a whole.

use crate::engine::device::Device;
use crate::engine::nn::WeightFile;
use crate::engine::tensor::Tensor;
use crate::imaging::color::Bins;
use crate::imaging::pixels::Pixels;
use crate::networks::classifier::network::Classifier;
use crate::networks::{colournet, window8};
use crate::paint::painter::{Look, Painter};
use crate::paint::whole::paint;
use crate::random::{Rng, Stream};
use approx::abs_diff_eq;

fn classifier_and_picture(width: usize, height: usize) -> (Classifier, Pixels) {
    let bins = Bins { centres: vec![[-40.0, 20.0], [30.0, 0.0], [5.0, -60.0], [0.0, 50.0]] };
    let classifier =
        Classifier::new(&Device::cpu(), &window8::network::ARCHITECTURE, 1.0, &bins, vec![0.25; 4], 3, false).unwrap();
    let rng = Rng::new(4, Stream::Test, 0);
    let values = (0..(width * height) as u64).map(|i| rng.uniform(i)).collect();
    (classifier, Pixels { width, height, bands: 1, values })
}

#[test]
fn window8_colours_the_centre_of_a_window_and_the_whole_of_a_picture() {
    let (classifier, picture) = classifier_and_picture(32, 32);
    let window = Tensor::new(classifier.device(), &[1, 32, 32, 1], &picture.values).unwrap();
    let centre = classifier.paint(&window, &Look::default()).unwrap();
    assert_eq!(centre.shape(), [1, 16, 16, 3]);
    assert_eq!(classifier.answer(&window).unwrap().shape(), [1, 16, 16, 4]);
    let whole = paint(&classifier, &picture, &Look::default()).unwrap();
    assert_eq!((whole.width, whole.height, whole.values.len()), (32, 32, 32 * 32 * 3));
    // Where nothing is mirrored, both have read the same pixels: products in another order, and the logarithm of
    // Lab.
    let centre = centre.to_vec().unwrap();
    for (y, row) in centre.chunks_exact(16 * 3).enumerate() {
        let same = &whole.values[((y + 8) * 32 + 8) * 3..][..16 * 3];
        assert!(row.iter().zip(same).all(|(a, b)| abs_diff_eq!(a, b, epsilon = 1e-4)), "row {y}");
    }
}

#[test]
fn a_window_without_a_centre_is_refused() {
    let (classifier, picture) = classifier_and_picture(16, 16);
    let window = Tensor::new(classifier.device(), &[1, 16, 16, 1], &picture.values).unwrap();
    assert_eq!(classifier.paint(&window, &Look::default()).unwrap_err().exit_code(), 2);
    assert!(paint(&classifier, &picture, &Look::default()).is_ok());
}

#[test]
fn weights_bring_their_width_and_bins() {
    let bins = Bins { centres: vec![[-40.0, 20.0], [30.0, 0.0], [5.0, -60.0]] };
    for architecture in [&colournet::network::ARCHITECTURE, &window8::network::ARCHITECTURE] {
        let written =
            Classifier::new(&Device::cpu(), architecture, 0.05, &bins, vec![0.2, 0.3, 0.5], 3, false).unwrap();
        let file = WeightFile::from_tensors("memory", written.state().unwrap());
        let read = Classifier::read(&Device::cpu(), architecture, &file, false).unwrap();
        assert_eq!(read.architecture, architecture);
        assert_eq!(read.network.param_specs(), written.network.param_specs());
        assert_eq!(read.state().unwrap(), written.state().unwrap());
    }
}
