//! Scenes of any size through a network: read, painted and written by bands, side by side.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

pub use crate::dataset::prepared::Prepared as Part;
use crate::dataset::prepared::PreparedScene;
use crate::error::{Error, Result};
use crate::imaging::pixels::Area;
use crate::imaging::pixels::Pixels;
use crate::paint::canvas::Canvas;
use crate::paint::painter::{Look, Painter, goes_by_rows, with_uncertainty};
use crate::paint::plan::{Plan, Tiling};
use crate::paint::strips::{StripPainter, Strips};

/// A scene to paint. It is read on another thread than it is painted on.
pub trait Source: Sync {
    /// Pixels across and down.
    fn size(&self) -> [usize; 2];

    /// The pixels of an area within the scene.
    ///
    /// # Errors
    /// Whatever makes the scene unreadable.
    fn read(&self, area: Area) -> Result<Part>;
}

impl Source for Pixels {
    fn size(&self) -> [usize; 2] {
        self.size()
    }

    fn read(&self, area: Area) -> Result<Part> {
        Ok(Part { pixels: self.part(area), valid: None })
    }
}

impl Source for PreparedScene {
    fn size(&self) -> [usize; 2] {
        [self.info().width, self.info().height]
    }

    fn read(&self, area: Area) -> Result<Part> {
        self.read(area)
    }
}

/// Takes a painted scene part by part. It is written on another thread than it is painted on.
pub trait Sink: Send {
    /// Takes the pixels at (`x`, `y`): each pixel once, in areas that begin and end at multiples of the tiling's
    /// `align` or at the scene's border.
    ///
    /// # Errors
    /// Whatever keeps it from being written.
    fn put(&mut self, at: [usize; 2], part: Part) -> Result<()>;
}

/// How a scene is painted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scene {
    /// What the network does.
    pub look: Look,
    /// How the scene is cut.
    pub tiling: Tiling,
    /// Whether each pixel has a further value: how unsure the network is, see [`Painter::paint_with_uncertainty`].
    pub uncertainty: bool,
}

/// Paints a scene: while the network works on a band, another thread reads the next one and a third writes the last.
/// Memory does not grow with the scene.
///
/// After each piece, or strip of rows, `progress` is told how many of how many are done; its error ends the work.
///
/// # Errors
/// Those of the source, the network, the sink and `progress`, the first that is met.
pub fn paint(
    painter: &dyn Painter,
    source: &dyn Source,
    sink: &mut dyn Sink,
    scene: &Scene,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<()> {
    let way = Way::of(painter, source.size(), scene);
    let areas = way.areas();
    thread::scope(|scope| {
        // No band waits: it is handed over once the painter is ready for it. What is finished is small; one may wait.
        let (to_paint, from_source) = sync_channel(0);
        let (to_sink, from_paint) = sync_channel::<([usize; 2], Part)>(1);
        scope.spawn({
            let areas = &areas;
            move || {
                for area in areas {
                    let read = source.read(*area);
                    let failed = read.is_err();
                    if to_paint.send(read).is_err() || failed {
                        break;
                    }
                }
            }
        });
        let writer = scope.spawn(move || from_paint.iter().try_for_each(|(at, part)| sink.put(at, part)));
        let mut finished = |area: Area, part: Part| {
            // Fails only when the writer has stopped, and then its error is the one that counts.
            let stopped = |_| Error::failed("the writing has stopped", "the output", "report this as a bug");
            to_sink.send(([area.x, area.y], part)).map_err(stopped)
        };
        let painted = match &way {
            Way::Tiles(plan) => paint_tiles(painter, plan, scene, &from_source, &mut finished, progress),
            Way::Rows(plan) => paint_rows(painter, plan, scene, &from_source, &mut finished, progress),
        };
        // Lets both threads end.
        drop((from_source, to_sink));
        match writer.join() {
            Ok(written) => written.and(painted),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// How an image is cut.
enum Way {
    Tiles(Plan),
    Rows(Strips),
}

impl Way {
    fn of(painter: &dyn Painter, size: [usize; 2], scene: &Scene) -> Self {
        let framing = painter.framing();
        match scene.tiling.rows.filter(|_| goes_by_rows(painter, &scene.look)) {
            Some(rows) => Way::Rows(Strips::new(framing, size, &scene.tiling, rows)),
            None => Way::Tiles(Plan::new(framing, size, &scene.tiling)),
        }
    }

    /// What is read at a time.
    fn areas(&self) -> Vec<Area> {
        match self {
            Way::Tiles(plan) => plan.bands().iter().map(|band| band.source).collect(),
            Way::Rows(plan) => plan.strips().iter().map(|strip| strip.source).collect(),
        }
    }
}

/// How many times the pixels of a scene go through the network, on the average.
pub fn redundancy(painter: &dyn Painter, size: [usize; 2], scene: &Scene) -> f64 {
    match Way::of(painter, size, scene) {
        Way::Tiles(plan) => plan.redundancy(),
        Way::Rows(plan) => plan.redundancy(),
    }
}

type Finished<'a> = &'a mut dyn FnMut(Area, Part) -> Result<()>;
type Progress<'a> = &'a mut dyn FnMut(usize, usize) -> Result<()>;

fn paint_tiles(
    painter: &dyn Painter,
    plan: &Plan,
    scene: &Scene,
    from_source: &Receiver<Result<Part>>,
    finished: Finished<'_>,
    progress: Progress<'_>,
) -> Result<()> {
    let mut canvas = Canvas::new(plan, painter.bands() + usize::from(scene.uncertainty));
    let (mut done, mut due, total) = (0, 0, plan.pieces());
    for (band, read) in plan.bands().iter().zip(from_source) {
        let Part { pixels, valid } = read?;
        let paint = |piece| {
            let values = paint_piece(painter, &piece, scene)?;
            done += 1;
            progress(done, total)?;
            Ok(values)
        };
        let hand_out = |area: Area, pixels| {
            let valid = valid.as_ref().map(|valid| within(valid, band.source, area));
            finished(area, Part { pixels, valid })
        };
        canvas.paint(band, &pixels, valid.as_deref(), paint, hand_out)?;
        // Pieces without data were passed over.
        due += band.pieces();
        if done < due {
            done = due;
            progress(done, total)?;
        }
    }
    Ok(())
}

fn paint_rows(
    painter: &dyn Painter,
    plan: &Strips,
    scene: &Scene,
    from_source: &Receiver<Result<Part>>,
    finished: Finished<'_>,
    progress: Progress<'_>,
) -> Result<()> {
    let strips = plan.strips();
    let mut canvas = StripPainter::new(painter, plan, scene.look, scene.uncertainty);
    for (done, (strip, read)) in strips.iter().zip(from_source).enumerate() {
        let Part { pixels, valid } = read?;
        let hand_out = |area, pixels, valid| finished(area, Part { pixels, valid });
        canvas.paint(strip, pixels, valid.as_deref(), hand_out)?;
        progress(done + 1, strips.len())?;
    }
    Ok(())
}

/// What the network makes of a piece: its bands and, if asked for, how unsure it is.
fn paint_piece(painter: &dyn Painter, piece: &Pixels, scene: &Scene) -> Result<Vec<f32>> {
    let source = piece.to_tensor(painter.device())?;
    if !scene.uncertainty {
        return painter.paint(&source, &scene.look)?.to_vec();
    }
    let (picture, unsure) = painter.paint_with_uncertainty(&source, &scene.look)?;
    with_uncertainty(picture, unsure)?.to_vec()
}

/// The part of a mask of `outer` that lies in `inner`.
fn within(mask: &[bool], outer: Area, inner: Area) -> Vec<bool> {
    let first = |y: usize| (y - outer.y) * outer.width + inner.x - outer.x;
    inner.rows().flat_map(|y| &mask[first(y)..][..inner.width]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::Device;
    use crate::engine::nn::Parameters;
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
        let painters: [Box<dyn Painter>; 2] = [
            Box::new(trained(spacenet::Generator::new(2, 3, 0.05))),
            Box::new(trained(sicgan::Generator::new(0.05, 36))),
        ];
        for painter in painters {
            let painter = painter.as_ref();
            let noise = Noise::new(300, 333, painter.source_bands());
            let mut sink = Memory::new(noise.size(), painter.bands());
            let mut told = Vec::new();
            let mut progress = |done, total| {
                told.push((done, total));
                Ok(())
            };
            super::paint(painter, &noise, &mut sink, &scene_of(painter, 64), &mut progress).unwrap();
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
        let painter =
            Classifier::new(&Device::cpu(), architecture, 0.02, &bins, vec![0.2, 0.3, 0.5], 3, false).unwrap();
        let source = Gaps(Noise::new(70, 2101, 1));
        let tiling = Tiling { panel: 64, ..Tiling::by_rows(&painter.framing(), 512, 64) };
        for uncertainty in [false, true] {
            let bands = 3 + usize::from(uncertainty);
            let scene = Scene { look: Look::default(), tiling, uncertainty };
            let mut sink = Memory::new(source.size(), bands);
            let mut told = 0;
            super::paint(&painter, &source, &mut sink, &scene, &mut |done, total| {
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
    fn what_goes_wrong_anywhere_ends_the_work_and_is_told() {
        let painter = trained(spacenet::Generator::new(1, 3, 0.05));
        let run = |noise: &Noise, sink: &mut Memory, stop_at: usize| {
            let mut progress = |done, _| {
                crate::ensure!(done < stop_at, Error::failed("interrupted", "a.tif", "run it again"));
                Ok(())
            };
            super::paint(&painter, noise, sink, &scene_of(&painter, 64), &mut progress).unwrap_err().to_string()
        };
        let mut noise = Noise::new(140, 400, 1);
        let size = noise.size();
        assert!(run(&noise, &mut Memory::new(size, 3), 5).contains("interrupted: a.tif"));
        assert!(run(&noise, &mut Memory { full: true, ..Memory::new(size, 3) }, 1000).contains("disk is full: a.tif"));
        noise.fails_from = 200;
        assert!(run(&noise, &mut Memory::new(size, 3), 1000).contains("ends too early: s.tif"));
    }
}
