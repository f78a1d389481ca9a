//! Which squares of which images a training step reads, and how they are cut out and turned.

use crate::dataset::loader_options::{LoaderOptions, Turns};
use crate::dataset::places::Places;
use crate::imaging::picture::{Picture, PictureInfo, Reading};
use crate::imaging::pixels::Area;
use crate::imaging::pixels::mirrored;
use crate::random::{Rng, Stream};

/// How a square is turned: transposed first (rows become columns), then mirrored. All eight ways of turning a square.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    pub transpose: bool,
    pub mirror_x: bool,
    pub mirror_y: bool,
}

/// The six ways of [`Turns::MirrorsAndRotations`]: transposed, then mirrored once, is a rotation by 90 degrees.
const SIX: [Turn; 6] = [
    Turn { transpose: false, mirror_x: false, mirror_y: false },
    Turn { transpose: false, mirror_x: true, mirror_y: false },
    Turn { transpose: false, mirror_x: false, mirror_y: true },
    Turn { transpose: true, mirror_x: true, mirror_y: false },
    Turn { transpose: false, mirror_x: true, mirror_y: true },
    Turn { transpose: true, mirror_x: false, mirror_y: true },
];

impl Turns {
    /// A turn by two words of the stream.
    fn draw(self, rng: &Rng, word: u64) -> Turn {
        match self {
            Turns::Mirrors => {
                Turn { transpose: false, mirror_x: rng.below(word, 2) == 1, mirror_y: rng.below(word + 1, 2) == 1 }
            }
            Turns::MirrorsAndRotations => SIX[rng.below(word, SIX.len())],
            Turns::Dihedral => {
                let bits = rng.below(word, 8);
                Turn { transpose: bits & 1 == 1, mirror_x: bits & 2 == 2, mirror_y: bits & 4 == 4 }
            }
        }
    }
}

/// One image of a batch: which file, where, how turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub file: usize,
    pub x: usize,
    pub y: usize,
    pub turn: Turn,
}

/// What the batch of `step` consists of: a pure function of the images' sizes, the places where crops of those lie that
/// have gaps, the options and the step.
pub(super) fn samples(
    infos: &[PictureInfo],
    places: &[Option<Places>],
    options: &LoaderOptions,
    step: u64,
) -> Vec<Sample> {
    let &LoaderOptions { batch, size, seed, shuffle, augment, turns, .. } = options;
    let rng = Rng::new(seed, Stream::Augment, step as u32);
    let order_of = |epoch: u64, len: usize| Rng::new(seed, Stream::Shuffle, epoch as u32).permutation(len);
    // Four words of the stream an image.
    let turn = |index: u64| if augment { turns.draw(&rng, 4 * index + 2) } else { Turn::default() };
    if let Some(plan) = &options.patches {
        let (count, batches) = (plan.patches.len(), options.batches(1, infos.len()));
        let (epoch, first) = ((step - 1) / batches, ((step - 1) % batches) as usize * batch);
        let order = if shuffle { order_of(epoch, count) } else { (0..count).collect() };
        let numbers = &order[first..(first + batch).min(count)];
        let patches = numbers.iter().map(|&number| plan.patches[number]);
        return (0..).zip(patches).map(|(k, at)| Sample { file: at.file, x: at.x, y: at.y, turn: turn(k) }).collect();
    }
    let files = infos.len();
    let mut order: Option<(u64, Vec<usize>)> = None;
    (0..batch as u64)
        .map(|index| {
            let place = (step - 1) * batch as u64 + index;
            let (epoch, position) = (place / files as u64, (place % files as u64) as usize);
            let file = if shuffle {
                // A batch may reach into the next epoch.
                let known = order.take().filter(|(of, _)| *of == epoch);
                order.insert(known.unwrap_or_else(|| (epoch, order_of(epoch, files)))).1[position]
            } else {
                position
            };
            let (free_x, free_y) = (infos[file].width - size, infos[file].height - size);
            let centre = [free_x / 2, free_y / 2];
            let [x, y] = match places.get(file).and_then(Option::as_ref).filter(|places| places.count() > 0) {
                Some(places) if augment => places.at(rng.below(4 * index, places.count())),
                Some(places) => places.nearest(centre),
                None if augment => [rng.below(4 * index, free_x + 1), rng.below(4 * index + 1, free_y + 1)],
                None => centre,
            };
            Sample { file, x, y, turn: turn(index) }
        })
        .collect()
}

/// Cuts the square of `size` at (`x`, `y`) with `halo` more pixels on each side, mirrored where they lie beyond the
/// image, into `out` `[size + 2 halo, size + 2 halo, C]`.
pub(super) fn cut(picture: &Picture, reading: Reading, [x, y]: [usize; 2], size: usize, halo: usize, out: &mut [f32]) {
    let (channels, side) = (reading.channels(), size + 2 * halo);
    // The part within the image holds every pixel that one beyond it mirrors.
    let within = |start: usize, len: usize| (start.saturating_sub(halo), (start + size + halo).min(len));
    let ((left, right), (top, bottom)) = (within(x, picture.info.width), within(y, picture.info.height));
    let area = Area { x: left, y: top, width: right - left, height: bottom - top };
    if [area.width, area.height] == [side; 2] {
        return picture.read(reading, area, out);
    }
    let mut inside = vec![0.0; area.width * area.height * channels];
    picture.read(reading, area, &mut inside);
    let place = |start: usize, i: usize, len: usize| mirrored((start + i) as isize - halo as isize, len);
    let columns: Vec<usize> = (0..side).map(|i| place(x, i, picture.info.width) - left).collect();
    for (row, line) in out.chunks_exact_mut(side * channels).enumerate() {
        let from = (place(y, row, picture.info.height) - top) * area.width;
        for (pixel, column) in line.chunks_exact_mut(channels).zip(&columns) {
            pixel.copy_from_slice(&inside[(from + column) * channels..][..channels]);
        }
    }
}

/// Turns `[side, side, channels]` in place.
pub(super) fn turn(values: &mut [f32], side: usize, channels: usize, turn: Turn) {
    let line = side * channels;
    if turn.transpose {
        for row in 0..side {
            for column in 0..row {
                for c in 0..channels {
                    values.swap(row * line + column * channels + c, column * line + row * channels + c);
                }
            }
        }
    }
    if turn.mirror_x {
        for row in values.chunks_exact_mut(line) {
            for x in 0..side / 2 {
                for c in 0..channels {
                    row.swap(x * channels + c, (side - 1 - x) * channels + c);
                }
            }
        }
    }
    if turn.mirror_y {
        let (top, bottom) = values.split_at_mut(side / 2 * line);
        for (upper, lower) in top.chunks_exact_mut(line).zip(bottom.rchunks_exact_mut(line)) {
            upper.swap_with_slice(lower);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::patches::PatchPlan;
    use crate::imaging::picture::{Depth, Samples};
    use std::collections::BTreeSet;
    use std::sync::Arc;

    /// Turns the numbers of a square of three pixels' side.
    fn turned(t: Turn) -> Vec<f32> {
        let mut values: Vec<f32> = (0..9).map(|v| v as f32).collect();
        turn(&mut values, 3, 1, t);
        values
    }

    #[test]
    fn the_six_turns_are_those_of_their_names() {
        let want = [
            [0, 1, 2, 3, 4, 5, 6, 7, 8],
            [2, 1, 0, 5, 4, 3, 8, 7, 6],
            [6, 7, 8, 3, 4, 5, 0, 1, 2],
            // Clockwise: the left column becomes the top row.
            [6, 3, 0, 7, 4, 1, 8, 5, 2],
            [8, 7, 6, 5, 4, 3, 2, 1, 0],
            [2, 5, 8, 1, 4, 7, 0, 3, 6],
        ];
        for (t, want) in SIX.into_iter().zip(want) {
            assert_eq!(turned(t), want.map(|v| v as f32), "{t:?}");
        }
    }

    #[test]
    fn turning_keeps_the_channels_of_a_pixel_together() {
        let mut values: Vec<f32> = (0..8).map(|v| v as f32).collect();
        turn(&mut values, 2, 2, SIX[3]);
        assert_eq!(values, [4.0, 5.0, 0.0, 1.0, 6.0, 7.0, 2.0, 3.0]);
    }

    #[test]
    fn six_turns_are_drawn_alike_and_mirrors_never_rotate() {
        let rng = Rng::new(1, Stream::Test, 0);
        let drawn = |turns: Turns| -> Vec<Turn> { (0..3000).map(|k| turns.draw(&rng, 4 * k + 2)).collect() };
        let six = drawn(Turns::MirrorsAndRotations);
        for t in SIX {
            // Five standard deviations of a binomial count: 5 * sqrt(3000 * 1/6 * 5/6).
            let count = six.iter().filter(|drawn| **drawn == t).count();
            assert!(count.abs_diff(500) < 103, "{t:?}: {count}");
        }
        let mirrors = drawn(Turns::Mirrors);
        assert!(mirrors.iter().all(|t| !t.transpose));
        assert_eq!(mirrors.into_iter().collect::<BTreeSet<_>>().len(), 4);
    }

    #[test]
    fn all_eight_turns_of_a_square_are_drawn_alike_and_differ() {
        let rng = Rng::new(2, Stream::Test, 0);
        let mut counts = std::collections::BTreeMap::new();
        for k in 0..3200 {
            *counts.entry(Turns::Dihedral.draw(&rng, 4 * k + 2)).or_insert(0usize) += 1;
        }
        // Five standard deviations of a binomial count: 5 * sqrt(3200 * 1/8 * 7/8).
        assert!(counts.len() == 8 && counts.values().all(|count| count.abs_diff(400) < 94), "{counts:?}");
        assert!(SIX.iter().all(|t| counts.contains_key(t)));
        let squares: BTreeSet<Vec<u32>> =
            counts.into_keys().map(|t| turned(t).into_iter().map(|v| v as u32).collect()).collect();
        assert_eq!(squares.len(), 8);
    }

    fn numbered(width: usize, height: usize) -> Picture {
        let samples = Samples::F32((0..width * height).map(|v| v as f32).collect());
        Picture { info: PictureInfo { width, height, bands: 1, depth: Depth::F32 }, samples }
    }

    #[test]
    fn a_halo_holds_the_picture_around_and_mirrors_at_its_border() {
        let picture = numbered(5, 4);
        let read = |at, size: usize, halo: usize| {
            let mut out = vec![f32::NAN; (size + 2 * halo).pow(2)];
            cut(&picture, Reading::Grey { band: None }, at, size, halo, &mut out);
            out
        };
        assert_eq!(read([2, 1], 2, 0), [7.0, 8.0, 12.0, 13.0]);
        let around = [1.0, 2.0, 3.0, 4.0, 6.0, 7.0, 8.0, 9.0, 11.0, 12.0, 13.0, 14.0, 16.0, 17.0, 18.0, 19.0];
        assert_eq!(read([2, 1], 2, 1), around);
        let corner = [6.0, 5.0, 6.0, 7.0, 1.0, 0.0, 1.0, 2.0, 6.0, 5.0, 6.0, 7.0, 11.0, 10.0, 11.0, 12.0];
        assert_eq!(read([0, 0], 2, 1), corner);
        // A halo wider than the image goes back and forth.
        let (size, halo) = (4, 7);
        for (i, value) in read([1, 0], size, halo).into_iter().enumerate() {
            let (x, y) = (1 + (i % 18) as isize - 7, (i / 18) as isize - 7);
            assert_eq!(value, (5 * mirrored(y, 4) + mirrored(x, 5)) as f32);
        }
    }

    fn patches(shuffle: bool, augment: bool) -> (Vec<PictureInfo>, LoaderOptions) {
        let infos = vec![PictureInfo { width: 40, height: 30, bands: 3, depth: Depth::U8 }; 2];
        let plan = PatchPlan::new(&infos, 16, 20, 4, 0).unwrap();
        let turns = Turns::MirrorsAndRotations;
        let patches = Some(Arc::new(plan));
        (infos, LoaderOptions { batch: 8, size: 16, shuffle, augment, turns, patches, ..LoaderOptions::default() })
    }

    #[test]
    fn an_epoch_holds_every_patch_once_its_last_batch_is_what_is_left_and_epochs_differ() {
        let (infos, options) = patches(true, true);
        assert_eq!(options.batches(1, infos.len()), 3);
        assert_eq!(options.batches(7, infos.len()), 21);
        let batches: Vec<Vec<Sample>> = (1..=6).map(|step| samples(&infos, &[], &options, step)).collect();
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 4, 8, 8, 4]);
        let epochs: Vec<Vec<Sample>> = batches.chunks(3).map(|epoch| epoch.concat()).collect();
        let places = |epoch: &[Sample]| epoch.iter().map(|s| (s.file, s.x, s.y)).collect::<BTreeSet<_>>();
        let planned = &options.patches.as_ref().unwrap().patches;
        let planned: BTreeSet<_> = planned.iter().map(|patch| (patch.file, patch.x, patch.y)).collect();
        for epoch in &epochs {
            assert_eq!(places(epoch), planned);
        }
        let turns = |epoch: &[Sample]| epoch.iter().map(|s| ((s.file, s.x, s.y), s.turn)).collect::<BTreeSet<_>>();
        assert_ne!(turns(&epochs[0]), turns(&epochs[1]));
        assert_ne!(
            epochs[0].iter().map(|s| s.x).collect::<Vec<_>>(),
            epochs[1].iter().map(|s| s.x).collect::<Vec<_>>()
        );
        assert_eq!(batches[4], samples(&infos, &[], &options, 5));
    }

    #[test]
    fn patches_without_shuffling_come_in_their_order() {
        let (infos, options) = patches(false, true);
        let seen: Vec<usize> = (1..=3).flat_map(|step| samples(&infos, &[], &options, step)).map(|s| s.x).collect();
        assert_eq!(seen, options.patches.as_ref().unwrap().patches.iter().map(|patch| patch.x).collect::<Vec<_>>());
    }
}
