//! Scenes of any size through a network: read, painted and written by bands, side by side.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

pub use crate::dataset::prepared::Prepared as Part;
use crate::dataset::prepared::PreparedScene;
use crate::engine::ranks::Ranks;
use crate::error::{Error, Result};
use crate::imaging::pixels::Area;
use crate::imaging::pixels::Pixels;
use crate::paint::canvas::{Canvas, Piece, paint_each};
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
/// The pieces of a band are shared out to `ranks`, which all paint the same scene in the same way; the first of them
/// gets all, and it alone writes into its sink: the same as one process writes. What goes by rows the first paints.
///
/// # Errors
/// Those of the source, the network, the sink and `progress`, the first that is met.
pub fn paint(
    painter: &dyn Painter,
    source: &dyn Source,
    sink: &mut dyn Sink,
    scene: &Scene,
    ranks: &Ranks,
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
            Way::Tiles(plan) => paint_tiles(painter, plan, scene, ranks, &from_source, &mut finished, progress),
            // A strip goes on from the one above it: there is nothing to share out.
            Way::Rows(_) if !ranks.leads() => Ok(()),
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
    ranks: &Ranks,
    from_source: &Receiver<Result<Part>>,
    finished: Finished<'_>,
    progress: Progress<'_>,
) -> Result<()> {
    let values_a_pixel = painter.bands() + usize::from(scene.uncertainty);
    let mut canvas = Canvas::new(plan, values_a_pixel).asking(painter, &scene.look);
    let (mut done, mut due, total) = (0, 0, plan.pieces());
    for (band, read) in plan.bands().iter().zip(from_source) {
        let Part { pixels, valid } = read?;
        let mut painted = match ranks.alone() {
            true => Painted::default(),
            false => {
                let pieces = plan.pieces_of(band, &pixels, valid.as_deref());
                let mine = pieces.skip(ranks.rank()).step_by(ranks.size());
                Painted::of_all(ranks, mine.map(|piece| paint_piece(painter, &piece.pixels(), scene)))?
            }
        };
        if !ranks.leads() {
            due += band.pieces();
            progress(due, total)?;
            continue;
        }
        let mut paint = |pieces: &[Piece<'_>]| {
            let values = match ranks.alone() {
                true => paint_each(pieces, &|piece| paint_piece(painter, &piece, scene))?,
                false => {
                    let next = |piece: &Piece<'_>| painted.next(piece.painted() * values_a_pixel);
                    pieces.iter().map(next).collect::<Result<_>>()?
                }
            };
            for _ in pieces {
                done += 1;
                progress(done, total)?;
            }
            Ok(values)
        };
        let mut hand_out = |area: Area, pixels| {
            let valid = valid.as_ref().map(|valid| within(valid, band.source, area));
            finished(area, Part { pixels, valid })
        };
        canvas.paint(band, &pixels, valid.as_deref(), &mut paint, &mut hand_out)?;
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

/// The pieces of a band that several processes have painted.
#[derive(Default)]
struct Painted {
    /// What each has painted, piece after piece.
    values: Vec<Vec<f32>>,
    /// Values of each that were taken.
    starts: Vec<usize>,
    /// Pieces that were taken.
    taken: usize,
}

impl Painted {
    /// What the processes have painted, in the first one; nothing in the others.
    fn of_all(ranks: &Ranks, mine: impl Iterator<Item = Result<Vec<f32>>>) -> Result<Painted> {
        let mine = mine.collect::<Result<Vec<_>>>()?.concat();
        Ok(Painted { values: ranks.collect(&mine)?, starts: vec![0; ranks.size()], taken: 0 })
    }

    /// The next piece, of so many values.
    fn next(&mut self, length: usize) -> Result<Vec<f32>> {
        let rank = self.taken % self.starts.len();
        let start = self.starts[rank];
        (self.taken, self.starts[rank]) = (self.taken + 1, start + length);
        let differs = || Error::failed("the processes do not paint the same scene", "processes", "give all one file");
        self.values[rank].get(start..start + length).map(<[f32]>::to_vec).ok_or_else(differs)
    }
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
#[path = "scene_tests.rs"]
mod tests;
