use super::*;
use crate::engine::device::Device;
use crate::engine::nn::{Norm, Parameters};
use crate::engine::testing::together;
use crate::imaging::color::Bins;
use crate::networks::classifier::network::Classifier;
use crate::networks::colournet::network as colournet;
use crate::networks::sicgan::network as sicgan;
use crate::networks::spacenet::network as spacenet;
use crate::paint::painter::{Generator, Trained};
use crate::paint::strips;
use crate::random::{Rng, Stream};
use approx::abs_diff_eq;

/// Noise with a corner without data, which can be told to fail from a row on.
struct Noise {
    pixels: Pixels,
    fails_from: usize,
}

impl Noise {
    fn new(width: usize, height: usize, bands: usize) -> Self {
        let rng = Rng::new(8, Stream::Test, 0);
        let values = (0..(width * height * bands) as u64).map(|i| rng.uniform(i)).collect();
        Noise { pixels: Pixels { width, height, bands, values }, fails_from: usize::MAX }
    }

    fn has_data(x: usize, y: usize) -> bool {
        x + y >= 90
    }
}

impl Source for Noise {
    fn size(&self) -> [usize; 2] {
        self.pixels.size()
    }

    fn read(&self, area: Area) -> Result<Part> {
        if area.rows().end > self.fails_from {
            return Err(Error::input("the raster ends too early", "s.tif", "copy it again"));
        }
        let valid = area.rows().flat_map(|y| area.columns().map(move |x| Noise::has_data(x, y))).collect();
        Ok(Part { pixels: self.pixels.part(area), valid: Some(valid) })
    }
}

/// Puts everything together again.
struct Memory {
    pixels: Pixels,
    valid: Vec<Option<bool>>,
    full: bool,
}

impl Memory {
    fn new([width, height]: [usize; 2], bands: usize) -> Self {
        Memory { pixels: Pixels::new(width, height, bands), valid: vec![None; width * height], full: false }
    }
}

impl Sink for Memory {
    fn put(&mut self, [x, y]: [usize; 2], part: Part) -> Result<()> {
        if self.full {
            return Err(Error::failed("cannot write, the disk is full", "a.tif", "free some space"));
        }
        let width = part.pixels.width;
        for (i, valid) in part.valid.unwrap().into_iter().enumerate() {
            let seen = self.valid[(y + i / width) * self.pixels.width + x + i % width].replace(valid);
            assert_eq!(seen, None, "written twice");
        }
        self.pixels.put([x, y], &part.pixels);
        Ok(())
    }
}

fn trained<G: Generator>(network: G) -> Trained<G> {
    let parameters = Parameters::new(&Device::cpu(), network.param_specs(), 3, false).unwrap();
    Trained { network, parameters }
}

fn scene_of(painter: &dyn Painter, tile: usize) -> Scene {
    let tiling = Tiling { panel: 128, ..Tiling::of_scene(&painter.framing(), tile, None) };
    Scene { look: Look::default(), tiling, uncertainty: false }
}

#[test]
fn a_scene_in_a_stream_is_the_picture_in_memory() {
    let painters: [Box<dyn Painter>; 2] =
        [Box::new(trained(spacenet::Generator::new(2, 3, 0.05))), Box::new(trained(sicgan::Generator::new(0.05, 36)))];
    for painter in painters {
        let painter = painter.as_ref();
        let noise = Noise::new(300, 333, painter.source_bands());
        let mut sink = Memory::new(noise.size(), painter.bands());
        let mut told = Vec::new();
        let mut progress = |done, total| {
            told.push((done, total));
            Ok(())
        };
        super::paint(painter, &noise, &mut sink, &scene_of(painter, 64), &Ranks::ALONE, &mut progress).unwrap();
        let whole = crate::paint::whole::paint(painter, &noise.pixels, &Look::default()).unwrap();
        assert!(sink.valid.iter().enumerate().all(|(i, v)| *v == Some(Noise::has_data(i % 300, i / 300))));
        for (i, (got, want)) in sink.pixels.values.iter().zip(&whole.values).enumerate() {
            let pixel = i / painter.bands();
            // Other blocks of a convolution: sums in another order.
            let same = abs_diff_eq!(got, want, epsilon = 1e-4);
            assert!(same || sink.valid[pixel] == Some(false), "{} at {pixel}: {got} {want}", painter.name());
        }
        assert_eq!(told.last().map(|(done, _)| done), told.last().map(|(_, total)| total));
        assert!(told.is_sorted());
    }
}

/// Of an image with three gaps, one shorter than the network reaches.
#[test]
fn a_scene_by_rows_is_the_picture_in_memory_where_it_has_data_and_passes_over_gaps() {
    struct Gaps(Noise);
    impl Gaps {
        fn has_data(y: usize) -> bool {
            (40..300).contains(&y) || (360..400).contains(&y) || (1700..1750).contains(&y)
        }
    }
    impl Source for Gaps {
        fn size(&self) -> [usize; 2] {
            self.0.size()
        }

        fn read(&self, area: Area) -> Result<Part> {
            let valid = area.rows().flat_map(|y| area.columns().map(move |_| Gaps::has_data(y))).collect();
            Ok(Part { pixels: self.0.pixels.part(area), valid: Some(valid) })
        }
    }
    let bins = Bins { centres: vec![[-60.0, 20.0], [50.0, 10.0], [5.0, -70.0]] };
    let architecture = &colournet::ARCHITECTURE;
    let painter = Classifier::new(&Device::cpu(), architecture, 0.02, &bins, vec![0.2, 0.3, 0.5], 3, false).unwrap();
    let source = Gaps(Noise::new(70, 2101, 1));
    let tiling = Tiling { panel: 64, ..Tiling::by_rows(&painter.framing(), 512, 64) };
    for uncertainty in [false, true] {
        let bands = 3 + usize::from(uncertainty);
        let scene = Scene { look: Look::default(), tiling, uncertainty };
        let mut sink = Memory::new(source.size(), bands);
        let mut told = 0;
        super::paint(&painter, &source, &mut sink, &scene, &Ranks::ALONE, &mut |done, total| {
            assert_eq!((done, total), (told + 1, 2 * 33));
            told = done;
            Ok(())
        })
        .unwrap();
        assert_eq!(told, 2 * 33);
        let (picture, unsure) = painter
            .paint_with_uncertainty(
                &strips::continued(&source.0.pixels, 8, 3).to_tensor(painter.device()).unwrap(),
                &Look::default(),
            )
            .unwrap();
        let [picture, unsure] = [picture, unsure].map(|tensor| tensor.to_vec().unwrap());
        for (i, got) in sink.pixels.values.chunks_exact(bands).enumerate() {
            let (x, y) = (i % 70, i / 70);
            assert_eq!(sink.valid[i], Some(Gaps::has_data(y)));
            if Gaps::has_data(y) {
                let want = [&picture[(y * 72 + x) * 3..][..3], &unsure[y * 72 + x..][..1]].concat();
                let same = got.iter().zip(want).all(|(got, want)| abs_diff_eq!(*got, want, epsilon = 2e-4));
                assert!(same, "({x}, {y}): {got:?}");
            }
        }
        // Far from data nothing is painted.
        assert!(sink.pixels.values[1300 * 70 * bands..][..70 * bands].iter().all(|value| *value == 0.0));
    }
}

#[test]
fn several_processes_write_what_one_writes() {
    let made = |size: usize, tile: usize, of: fn() -> Box<dyn Painter>| {
        let all = together(size, |ranks| {
            let painter = of();
            let noise = Noise::new(300, 222, painter.source_bands());
            let mut sink = Memory::new(noise.size(), painter.bands());
            let scene = scene_of(painter.as_ref(), tile);
            super::paint(painter.as_ref(), &noise, &mut sink, &scene, &ranks, &mut |_, _| Ok(())).unwrap();
            assert!(ranks.leads() || sink.valid.iter().all(Option::is_none));
            sink.pixels.values
        });
        all.into_iter().next().unwrap()
    };
    let tiles: fn() -> Box<dyn Painter> = || Box::new(trained(spacenet::Generator::new(2, 3, 0.05)));
    let windows: fn() -> Box<dyn Painter> = || Box::new(trained(sicgan::Generator::new(0.05, 36)));
    for (of, tile) in [(tiles, 64), (windows, 64)] {
        let one = made(1, tile, of);
        assert!(one.iter().any(|value| *value != one[0]));
        assert_eq!(made(2, tile, of), one);
        // More than a band has pieces.
        assert_eq!(made(5, tile, of), one);
    }
}

#[test]
fn windows_side_by_side_are_those_one_after_the_other() {
    for norm in [Norm::Running, Norm::Batch] {
        let painter = trained(sicgan::Generator::new(0.05, 36));
        let (noise, look) = (Noise::new(200, 90, 1), Look { norm, ..Look::default() });
        let paint = || crate::paint::whole::paint(&painter, &noise.pixels, &look).unwrap().values;
        let side_by_side = paint();
        painter.device().set_memory_cap(Some(1 << 30));
        assert!(paint() == side_by_side, "{norm:?}");
    }
}

#[test]
fn what_goes_wrong_anywhere_ends_the_work_and_is_told() {
    let painter = trained(spacenet::Generator::new(1, 3, 0.05));
    let run = |noise: &Noise, sink: &mut Memory, stop_at: usize| {
        let mut progress = |done, _| {
            crate::ensure!(done < stop_at, Error::failed("interrupted", "a.tif", "run it again"));
            Ok(())
        };
        super::paint(&painter, noise, sink, &scene_of(&painter, 64), &Ranks::ALONE, &mut progress)
            .unwrap_err()
            .to_string()
    };
    let mut noise = Noise::new(140, 400, 1);
    let size = noise.size();
    assert!(run(&noise, &mut Memory::new(size, 3), 5).contains("interrupted: a.tif"));
    assert!(run(&noise, &mut Memory { full: true, ..Memory::new(size, 3) }, 1000).contains("disk is full: a.tif"));
    noise.fails_from = 200;
    assert!(run(&noise, &mut Memory::new(size, 3), 1000).contains("ends too early: s.tif"));
}
