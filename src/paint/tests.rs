//! Painting by pieces against painting in one go.

use super::{paint, paint_by, paint_strips};
use crate::engine::device::Device;
use crate::engine::nn::Parameters;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::imaging::color::Bins;
use crate::imaging::pixels::{Area, Pixels, mirrored};
use crate::networks::classifier::network::{Architecture, Classifier};
use crate::networks::pix2pix::network as pix2pix;
use crate::networks::sicgan::network as sicgan;
use crate::networks::spacenet::network as spacenet;
use crate::networks::{colournet, window8};
use crate::paint::canvas::{Canvas, Piece};
use crate::paint::painter::*;
use crate::paint::plan::{Plan, Tiling};
use crate::random::{Rng, Stream};
use approx::abs_diff_eq;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Copies the inner part of its source, and counts how often it is asked.
struct Copying {
    device: Device,
    framing: Framing,
    asked: AtomicUsize,
}

impl Painter for Copying {
    fn name(&self) -> &'static str {
        "copying"
    }
    fn device(&self) -> &Device {
        &self.device
    }
    fn framing(&self) -> Framing {
        self.framing
    }
    fn source_bands(&self) -> usize {
        1
    }
    fn bands(&self) -> usize {
        1
    }
    fn paint(&self, source: &Tensor, _: &Look) -> Result<Tensor> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let [_, h, w, _] = source.nhwc()?;
        let halo = self.framing.halo;
        let (inner_h, inner_w) = (h - 2 * halo, w - 2 * halo);
        assert!(inner_h.is_multiple_of(self.framing.stride) && inner_w.is_multiple_of(self.framing.stride));
        let values = source.to_vec()?;
        let inner: Vec<f32> = (0..inner_h).flat_map(|y| values[(y + halo) * w + halo..][..inner_w].to_vec()).collect();
        Tensor::new(&self.device, &[1, inner_h, inner_w, 1], &inner)
    }
}

fn copied(framing: Framing, width: usize, height: usize) -> (Pixels, Pixels, usize) {
    let values = (0..width * height).map(|i| (i * 37 % 101) as f32 / 100.0).collect();
    let source = Pixels { width, height, bands: 1, values };
    let copying = Copying { device: Device::cpu(), framing, asked: 0.into() };
    let result = paint(&copying, &source, &Look::default()).unwrap();
    (source, result, copying.asked.into_inner())
}

#[test]
fn a_copying_network_gives_any_picture_back() {
    let framings = [
        Framing { stride: 8, halo: 0, reach: 20, window: None, margin: 0 },
        Framing { stride: 1, halo: 8, reach: 0, window: None, margin: 0 },
        Framing { stride: 1, halo: 1, reach: 8, window: Some(16), margin: 0 },
        Framing { stride: 16, halo: 0, reach: 8, window: Some(16), margin: 0 },
        Framing { stride: 16, halo: 0, reach: 8, window: Some(16), margin: 3 },
        Framing { stride: 16, halo: 0, reach: 4, window: Some(16), margin: 3 },
        Framing { stride: 16, halo: 1, reach: 1, window: Some(16), margin: 0 },
    ];
    for framing in framings {
        for (width, height) in [(1, 1), (16, 16), (5, 40), (37, 18), (48, 16), (1025, 9)] {
            let (source, result, _) = copied(framing, width, height);
            assert_eq!((result.width, result.height), (width, height));
            // Weights of up to four windows, each rounded.
            let off = source.values.iter().zip(&result.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 1e-6, "{framing:?} {width}x{height}: {off}");
        }
    }
}

#[test]
fn large_pictures_go_by_tiles_and_small_ones_in_one_go() {
    let framing = Framing { stride: 2, halo: 3, reach: 4, window: None, margin: 0 };
    let (source, result, asked) = copied(framing, 1025, 600);
    assert_eq!(source.values, result.values);
    assert_eq!(asked, 6);
    assert_eq!(copied(framing, 1024, 600).2, 1);
    let windows = Framing { stride: 1, halo: 0, reach: 8, window: Some(16), margin: 0 };
    assert_eq!([(16, 16), (9, 3), (32, 16)].map(|(width, height)| copied(windows, width, height).2), [1, 1, 3]);
    let margin = Framing { margin: 2, ..windows };
    assert_eq!([(12, 12), (9, 3), (16, 16)].map(|(width, height)| copied(margin, width, height).2), [1, 1, 4]);
    // Sharing a quarter of a side, 12 apart: three for 37 pixels instead of four.
    assert_eq!([8, 4].map(|reach| copied(Framing { reach, ..windows }, 37, 16).2), [4, 3]);
}

#[test]
fn a_frame_that_a_network_paints_is_cut_off_with_the_margin() {
    let [side, frame] = [16, 2];
    for (margin, seen) in [(0, 1.0), (frame, 0.0)] {
        let framing = Framing { stride: side, halo: 0, reach: 0, window: Some(side), margin };
        let plan = Plan::new(framing, [side, side], &Tiling::new(&framing, side));
        let mut canvas = Canvas::new(&plan, 1);
        let mut picture = Pixels::new(side, side, 1);
        let inside = |at: usize| (frame..side - frame).contains(&at);
        let framed = |i: usize| if inside(i / side) && inside(i % side) { 0.0 } else { 1.0 };
        for band in plan.bands() {
            let source = Pixels::new(band.source.width, band.source.height, 1);
            let mut paint = |_: &[Piece<'_>]| Ok(vec![(0..side * side).map(framed).collect()]);
            let mut finished = |area: Area, tile: Pixels| {
                picture.put([area.x, area.y], &tile);
                Ok(())
            };
            canvas.paint(&band, &source, None, &mut paint, &mut finished).unwrap();
        }
        let corners = [0, side - 1, side * (side - 1), side * side - 1].map(|i| picture.values[i]);
        assert_eq!(corners, [seen; 4], "margin {margin}");
    }
}

#[test]
fn places_outside_are_mirrored_without_the_border() {
    let seen: Vec<usize> = (-4..8).map(|place| mirrored(place, 4)).collect();
    assert_eq!(seen, [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
    assert_eq!(mirrored(-9, 1), 0);
}

#[test]
fn a_piece_without_data_is_left_unpainted() {
    let framing = Framing { stride: 1, halo: 2, reach: 0, window: None, margin: 0 };
    let plan = Plan::new(framing, [8, 4], &Tiling::new(&framing, 4));
    let mut canvas = Canvas::new(&plan, 1);
    let bands = plan.bands();
    let valid: Vec<bool> = (0..32).map(|i| i % 8 >= 4).collect();
    let (mut asked, mut picture) = (0, Pixels::new(8, 4, 1));
    picture.values.fill(f32::NAN);
    let mut paint = |pieces: &[Piece<'_>]| {
        asked += pieces.len();
        assert!(pieces.iter().all(|piece| piece.pixels().size() == [8, 8]));
        Ok(vec![vec![1.0; 16]; pieces.len()])
    };
    let mut finished = |area: Area, tile: Pixels| {
        picture.put([area.x, area.y], &tile);
        Ok(())
    };
    canvas.paint(&bands[0], &Pixels::new(8, 4, 1), Some(&valid), &mut paint, &mut finished).unwrap();
    assert_eq!(picture.values, [[0.0; 4], [1.0; 4]].concat().repeat(4));
    assert_eq!((bands.len(), asked), (1, 1));
}

fn noise(width: usize, height: usize, bands: usize) -> Pixels {
    let rng = Rng::new(4, Stream::Test, 0);
    let values = (0..(width * height * bands) as u64).map(|i| rng.uniform(i)).collect();
    Pixels { width, height, bands, values }
}

/// A classifier whose fresh weights tell pixels apart: its logits are enlarged.
fn classifier(architecture: &'static Architecture) -> Classifier {
    classifier_of_width(architecture, 0.05)
}

fn classifier_of_width(architecture: &'static Architecture, width: f64) -> Classifier {
    let bins = Bins { centres: vec![[-60.0, 20.0], [50.0, 10.0], [5.0, -70.0], [0.0, 60.0], [30.0, 30.0]] };
    let made = Classifier::new(&Device::cpu(), architecture, width, &bins, vec![0.2; 5], 3, false).unwrap();
    let last = if architecture == &colournet::network::ARCHITECTURE { "out.weight" } else { "conv8.weight" };
    let weight = made.parameters.get(last).unwrap();
    let enlarged: Vec<f32> = weight.to_vec().unwrap().iter().map(|v| 20.0 * v).collect();
    weight.write(&enlarged).unwrap();
    made
}

fn trained<G: Generator>(network: G) -> Trained<G> {
    let parameters = Parameters::new(&Device::cpu(), network.param_specs(), 3, false).unwrap();
    Trained { network, parameters }
}

fn largest_step(a: &Pixels, b: &Pixels) -> f32 {
    assert_eq!((a.width, a.height, a.bands), (b.width, b.height, b.bands));
    a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Paints noise in one go and by tilings of `tiles` pixels in panels of `panel`: all alike. What a pixel depends on
/// beyond itself must show, so that context that is missing would be seen.
fn tiles_make_no_difference(painter: &dyn Painter, [width, height]: [usize; 2], tiles: &[usize], panel: usize) {
    let source = noise(width, height, painter.source_bands());
    let framing = painter.framing();
    let paint = |tiling: Tiling| paint_by(painter, &source, &Look::default(), &tiling).unwrap();
    let whole = paint(Tiling::new(&framing, 4096));
    for &tile in tiles {
        let tiled = paint(Tiling { panel, align: 4, ..Tiling::new(&framing, tile) });
        // Sums of the same products in another order, where the blocks of a convolution lie elsewhere; then the cube of
        // Lab.
        let step = largest_step(&whole, &tiled);
        assert!(step < 2e-4, "{} by tiles of {tile}: {step}", painter.name());
    }
    // Windows see no more than themselves, however much of them is shared.
    if framing.reach > 0 && framing.window.is_none() {
        let short = paint(Tiling { panel, overlap: 0, ..Tiling::new(&framing, tiles[0]) });
        let step = largest_step(&whole, &short);
        assert!(step > 0.02, "{}: context makes no difference, {step}", painter.name());
    }
}

#[test]
fn colournet_by_tiles_is_colournet_in_one_go() {
    tiles_make_no_difference(&classifier(&colournet::network::ARCHITECTURE), [493, 410], &[136, 200], 272 * 25);
    tiles_make_no_difference(&classifier(&colournet::network::ARCHITECTURE), [493, 80], &[136], 136);
}

#[test]
fn colournet_by_rows_is_colournet_in_one_go_to_the_bit() {
    // The wider one has convolutions that go by blocks of rows.
    for (width, size) in [(0.05, [203, 410]), (0.125, [203, 173])] {
        let painter = classifier_of_width(&colournet::network::ARCHITECTURE, width);
        let (look, framing) = (Look::default(), painter.framing());
        let source = noise(size[0], size[1], 1);
        let whole = paint_by(&painter, &source, &look, &Tiling::new(&framing, 4096)).unwrap();
        for rows in [8, 24, 64, 4096] {
            let by_rows = paint_strips(&painter, &source, &look, &Tiling::by_rows(&framing, 512, rows)).unwrap();
            assert!(by_rows == whole, "{rows} rows at a time, {}", largest_step(&by_rows, &whole));
        }
        // Panels next to each other: sums in another order, where the blocks of a convolution lie elsewhere.
        let panels = Tiling { panel: 64, ..Tiling::by_rows(&framing, 512, 64) };
        let step = largest_step(&paint_strips(&painter, &source, &look, &panels).unwrap(), &whole);
        assert!(step < 2e-4, "by panels: {step}");
    }
}

#[test]
fn window8_by_tiles_is_window8_in_one_go() {
    tiles_make_no_difference(&classifier(&window8::network::ARCHITECTURE), [101, 73], &[16, 40], 80);
}

#[test]
fn spacenet_by_tiles_is_spacenet_in_one_go() {
    tiles_make_no_difference(&trained(spacenet::Generator::new(2, 4, 0.05)), [101, 73], &[16, 40], 80);
}

#[test]
fn the_windows_of_sicgan_and_pix2pix_lie_where_they_lie_whatever_the_panel() {
    tiles_make_no_difference(&trained(sicgan::Generator::new(0.05, 24)), [101, 73], &[1], 20);
    tiles_make_no_difference(&trained(pix2pix::Generator::new(1, 0.01, 0.3)), [700, 290], &[1], 400);
}

#[test]
fn only_a_classifier_says_how_sure_it_is() {
    let source = noise(24, 24, 1);
    for architecture in [&colournet::network::ARCHITECTURE, &window8::network::ARCHITECTURE] {
        let painter = classifier(architecture);
        let source = source.to_tensor(painter.device()).unwrap();
        let (picture, unsure) = painter.paint_with_uncertainty(&source, &Look::default()).unwrap();
        assert_eq!(picture.to_vec().unwrap(), painter.paint(&source, &Look::default()).unwrap().to_vec().unwrap());
        assert_eq!(unsure.shape()[..3], picture.shape()[..3]);
        let unsure = unsure.to_vec().unwrap();
        assert!(unsure.iter().all(|v| (-1e-6..1.0 + 1e-6).contains(v)), "{architecture:?}: {unsure:?}");
        if architecture == &window8::network::ARCHITECTURE {
            let probabilities = painter.answer(&source).unwrap().to_vec().unwrap();
            for (got, p) in unsure.iter().zip(probabilities.chunks_exact(5)) {
                let entropy: f64 = p.iter().map(|p| f64::from(*p)).filter(|p| *p > 0.0).map(|p| -p * p.ln()).sum();
                // The kernel's logarithm is good to some 1e-6.
                assert!(abs_diff_eq!(f64::from(*got), entropy / 5f64.ln(), epsilon = 1e-5), "{got} {entropy}");
            }
        }
    }
    let other = trained(spacenet::Generator::new(1, 3, 0.05));
    assert!(!other.knows_uncertainty());
    let source = source.to_tensor(other.device()).unwrap();
    let error = other.paint_with_uncertainty(&source, &Look::default()).unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("uncertainty"), "{error}");
}
