use crate::imaging::color::Bins;
use crate::imaging::quality::*;
use approx::{abs_diff_eq, assert_abs_diff_eq};

/// Values of scikit-image, and where it has none of NumPy: `tools/goldens/quality.py` has made them, and says what they
/// are.
const GOLDEN: &str = include_str!("../../../tests/goldens/quality.json");

fn picture(width: usize, height: usize, bands: usize, k: usize) -> Image8 {
    let value = |i: usize| {
        let (x, y, c) = (i / bands % width, i / bands / width, i % bands);
        ((7 * x + 3 * y + 40 * c + k * ((x * y + 13 * c) % 23)) % 256) as u8
    };
    Image8::new(width, height, bands, (0..width * height * bands).map(value).collect()).unwrap()
}

fn near(a: &Image8) -> Image8 {
    let noisy = |(i, &v): (usize, &u8)| (i32::from(v) + (i as i32 * 37) % 29 - 14).clamp(0, 255) as u8;
    Image8 { samples: a.samples.iter().enumerate().map(noisy).collect(), ..*a }
}

#[test]
fn every_measure_agrees_with_scikit_image() {
    let golden: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    let floats = |values: &serde_json::Value| -> Vec<f32> {
        values.as_array().unwrap().iter().map(|value| number(value) as f32).collect()
    };
    let centres = golden["bins"].as_array().unwrap().iter().map(|ab| [floats(ab)[0], floats(ab)[1]]).collect();
    let rebalance = Rebalance::new(&Bins { centres }, &floats(&golden["prior"])).unwrap();
    let mut failures = Vec::new();
    for case in golden["cases"].as_array().unwrap() {
        let [width, height, bands] = ["width", "height", "bands"].map(|name| number(&case[name]) as usize);
        let (truth, copy) = (picture(width, height, bands, 1), picture(width, height, bands, 2));
        let made = if case["made"] == "near" { near(&truth) } else { picture(width, height, bands, 3) };
        let judge = Judge { truth: &truth, copy: Some(&copy), rebalance: Some(&rebalance) };
        let scores = judge.scores(&made).unwrap();
        for measure in Measure::ALL {
            // Both compute in f64. Lab differs in the constants of its linear part, rounded in scikit-image to four
            // digits; a distance at a whole number may then fall on its other side.
            let tolerance = match measure {
                Measure::DeltaE76 | Measure::DeltaE2000 | Measure::AbError => 1e-4,
                Measure::AbAuc | Measure::AbAucRebalanced => 1e-6,
                _ => 1e-9,
            };
            let (found, want) = (scores.get(measure), case["scores"].get(measure.key()).map(number));
            let agree = match (found, want) {
                (Some(found), Some(want)) => abs_diff_eq!(found, want, epsilon = tolerance * want.abs().max(1.0)),
                (found, want) => found == want,
            };
            if !agree {
                failures.push(format!("{width}x{height}x{bands} {}: {found:?}, want {want:?}", measure.key()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn equal_pictures_have_no_error() {
    for (width, height) in [(1, 1), (5, 40), (30, 30)] {
        let a = picture(width, height, 3, 2);
        let scores = Judge { truth: &a, copy: Some(&a), rebalance: None }.scores(&a).unwrap();
        assert_eq!(scores.get(Measure::Psnr), Some(f64::INFINITY));
        assert_abs_diff_eq!(scores.get(Measure::Ssim).unwrap(), 1.0, epsilon = 1e-12);
        for measure in [Measure::Mse, Measure::Mae, Measure::Nrmse, Measure::AbError, Measure::DeltaE2000] {
            assert_eq!(scores.get(measure), Some(0.0));
        }
        assert_eq!(scores.get(Measure::AbAuc), Some(1.0));
        // Neither is there a prior, nor any distance to compare.
        assert_eq!((scores.get(Measure::AbAucRebalanced), scores.get(Measure::CopyRatio)), (None, None));
    }
}

#[test]
fn pictures_of_different_sizes_or_bands_are_refused() {
    let a = picture(4, 5, 3, 1);
    for b in [picture(5, 4, 3, 1), picture(4, 5, 4, 1)] {
        for error in [mse(&a, &b), mae(&a, &b), psnr(&a, &b), nrmse(&a, &b), ssim(&a, &b), spectral_angle(&a, &b)] {
            assert_eq!(error.unwrap_err().exit_code(), 2);
        }
    }
    assert!(colourfulness(&picture(4, 5, 4, 1)).is_err());
    assert!(Image8::new(0, 3, 3, Vec::new()).is_err() && Image8::new(2, 2, 3, vec![0; 11]).is_err());
}

#[test]
fn black_pixels_have_no_spectrum_and_no_norm() {
    let black = Image8::new(1, 2, 3, vec![0; 6]).unwrap();
    let half = Image8::new(1, 2, 3, vec![0, 0, 0, 9, 0, 0]).unwrap();
    let green = Image8::new(1, 2, 3, vec![7, 7, 7, 0, 5, 0]).unwrap();
    assert_eq!(spectral_angle(&green, &half).unwrap(), 90.0);
    assert!(spectral_angle(&green, &black).unwrap().is_nan() && nrmse(&green, &black).unwrap().is_nan());
    assert_eq!(nrmse(&black, &black).unwrap(), 0.0);
}

#[test]
fn a_mean_is_over_the_pictures_that_have_the_measure() {
    let with = |psnr: f64, angle: f64| {
        let mut scores = Scores::default();
        scores.set(Measure::Psnr, psnr);
        scores.set(Measure::SpectralAngle, angle);
        scores
    };
    let mean = Scores::mean(&[with(10.0, 4.0), with(20.0, f64::NAN)]);
    assert_eq!((mean.get(Measure::Psnr), mean.get(Measure::SpectralAngle)), (Some(15.0), Some(4.0)));
    assert_eq!(mean.get(Measure::Ssim), None);
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let (a, b) = (picture(97, 300, 3, 1), picture(97, 300, 3, 3));
    let bins = Bins { centres: vec![[-20.0, 10.0], [30.0, 0.0], [5.0, -40.0]] };
    let rebalance = Rebalance::new(&bins, &[0.2, 0.3, 0.5]).unwrap();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Judge { truth: &b, copy: None, rebalance: Some(&rebalance) }.scores(&a).unwrap())
    };
    let (one, three) = (on(1), on(3));
    for measure in Measure::ALL {
        assert_eq!(one.get(measure).map(f64::to_bits), three.get(measure).map(f64::to_bits), "{}", measure.key());
    }
}

#[test]
fn pictures_show_as_colours_or_grey() {
    let four = Image8::new(1, 2, 4, vec![1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    assert_eq!(four.to_rgb().into_raw(), [1, 2, 3, 5, 6, 7]);
    assert_eq!(four.band(3).to_rgb().into_raw(), [4, 4, 4, 8, 8, 8]);
}
