//! Fixed patches of images, spread so that no two of an image begin too close to each other.

use std::collections::HashMap;
use std::sync::Arc;

use crate::dataset::pairs::Dataset;
use crate::dataset::places::Places;
use crate::dataset::zero_border::Mask;
use crate::error::{Error, Result};
use crate::imaging::picture::PictureInfo;
use crate::random::{Rng, Stream};

/// A place that this many draws in a row do not find is assumed not to exist: at most half a percent of the origins can
/// be free then, but for one case in a hundred.
const DRAWS: usize = 1000;

/// A square of an image, by its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patch {
    /// Which image.
    pub file: usize,
    /// Left column.
    pub x: usize,
    /// Top row.
    pub y: usize,
}

/// The patches that a training reads, over and over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchPlan {
    /// All of them, image by image.
    pub patches: Vec<Patch>,
    /// The least squared distance in pixels between two origins of one image that was asked for.
    pub min_distance: usize,
    /// The least that was kept to in the image with the least room; equal to `min_distance` where there was room
    /// enough.
    pub kept_distance: usize,
}

impl PatchPlan {
    /// `count` patches of `size` x `size` pixels: at least one of each image, the others in proportion to the origins
    /// that a image has. Where an image has no place left at a squared distance of `min_distance`, that is lowered by a
    /// quarter at a time, down to 0, where patches repeat. A pure function of its arguments.
    ///
    /// # Errors
    /// Fewer patches than images.
    ///
    /// # Panics
    /// If an image is smaller than a patch.
    pub fn new(infos: &[PictureInfo], size: usize, count: usize, min_distance: usize, seed: u64) -> Result<Self> {
        let room = |info: &PictureInfo| Origins::All([info.width - size + 1, info.height - size + 1]);
        PatchPlan::within(infos.iter().map(room).collect(), count, min_distance, seed)
    }

    /// As [`PatchPlan::new`], of a data set: where an image has gaps, no patch does.
    ///
    /// # Errors
    /// As [`PatchPlan::new`].
    pub fn of(data: &Dataset, size: usize, count: usize, min_distance: usize, seed: u64) -> Result<Self> {
        let room = |(info, gaps): (&PictureInfo, &Option<Arc<Mask>>)| match gaps {
            Some(gaps) => Origins::At(Places::new(gaps, size)),
            None => Origins::All([info.width - size + 1, info.height - size + 1]),
        };
        let origins = data.infos.iter().zip(&data.gaps).map(room).collect();
        PatchPlan::within(origins, count, min_distance, seed)
    }

    fn within(origins: Vec<Origins>, count: usize, min_distance: usize, seed: u64) -> Result<Self> {
        crate::ensure!(
            count >= origins.len(),
            Error::input(
                format!("fewer patches than images ({})", origins.len()),
                format!("⟨patches⟩ {count}"),
                format!("use {} or more", origins.len())
            )
        );
        let mut plan = PatchPlan { patches: Vec::with_capacity(count), min_distance, kept_distance: min_distance };
        for (file, (origins, share)) in origins.iter().zip(shares(&origins, count)).enumerate() {
            let spread = Spread::over(origins, share, min_distance, &Rng::new(seed, Stream::Patches, file as u32));
            plan.kept_distance = plan.kept_distance.min(spread.distance);
            plan.patches.extend(spread.places.into_iter().map(|[x, y]| Patch { file, x, y }));
        }
        Ok(plan)
    }
}

/// Patches of each image: one, and of the rest a share in proportion to its origins.
fn shares(origins: &[Origins], count: usize) -> Vec<usize> {
    let rest = (count - origins.len()) as u128;
    let number = |origins: &Origins| origins.count() as u128;
    let total: u128 = origins.iter().map(number).sum();
    let (mut before, mut given) = (0, 0);
    let share = |picture| {
        before += number(picture);
        let due = (rest * before / total) as usize;
        let share = 1 + due - given;
        given = due;
        share
    };
    origins.iter().map(share).collect()
}

/// Where patches of an image may begin.
enum Origins {
    /// Anywhere in so many columns and rows.
    All([usize; 2]),
    /// In some places.
    At(Places),
}

impl Origins {
    fn count(&self) -> usize {
        match self {
            Origins::All([across, down]) => across * down,
            Origins::At(places) => places.count(),
        }
    }
}

/// Places in a plane, no two closer than a squared distance.
struct Spread {
    places: Vec<[usize; 2]>,
    distance: usize,
    /// Places by cell. A cell's side is at least the distance, so that only a cell and its eight neighbours can be too
    /// close.
    cells: HashMap<[usize; 2], Vec<[usize; 2]>>,
    side: usize,
}

impl Spread {
    /// `count` places within `origins` columns and rows, at a squared distance of `distance` or the greatest below it
    /// that has room.
    fn over(origins: &Origins, count: usize, distance: usize, rng: &Rng) -> Self {
        let mut spread = Spread::of(Vec::new(), distance);
        let mut failed = 0;
        for draw in (0..).step_by(2) {
            if spread.places.len() == count {
                break;
            }
            let place = match origins {
                Origins::All([across, down]) => [rng.below(draw, *across), rng.below(draw + 1, *down)],
                Origins::At(places) => places.at(rng.below(draw, places.count())),
            };
            if spread.has_room(place) {
                spread.add(place);
                failed = 0;
            } else {
                failed += 1;
            }
            if failed == DRAWS {
                spread = Spread::of(spread.places, spread.distance * 3 / 4);
                failed = 0;
            }
        }
        spread
    }

    fn of(places: Vec<[usize; 2]>, distance: usize) -> Self {
        let side = (distance as f64).sqrt().ceil().max(1.0) as usize;
        let mut spread = Spread { places: Vec::new(), distance, cells: HashMap::new(), side };
        places.into_iter().for_each(|place| spread.add(place));
        spread
    }

    fn add(&mut self, place: [usize; 2]) {
        self.cells.entry(place.map(|v| v / self.side)).or_default().push(place);
        self.places.push(place);
    }

    fn has_room(&self, place: [usize; 2]) -> bool {
        if self.distance == 0 {
            return true;
        }
        let [column, row] = place.map(|v| v / self.side);
        let neighbours = |i: usize| i.saturating_sub(1)..=i + 1;
        let too_close = |other: &[usize; 2]| squared_distance(place, *other) < self.distance;
        let cells = neighbours(column).flat_map(|x| neighbours(row).map(move |y| [x, y]));
        !cells.filter_map(|cell| self.cells.get(&cell)).flatten().any(too_close)
    }
}

fn squared_distance(a: [usize; 2], b: [usize; 2]) -> usize {
    let [dx, dy] = [a[0].abs_diff(b[0]), a[1].abs_diff(b[1])];
    dx * dx + dy * dy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::picture::Depth;

    fn infos(sizes: &[[usize; 2]]) -> Vec<PictureInfo> {
        sizes.iter().map(|&[width, height]| PictureInfo { width, height, bands: 3, depth: Depth::U8 }).collect()
    }

    /// The least squared distance between two origins of one image.
    fn closest(plan: &PatchPlan) -> usize {
        let pairs = plan.patches.iter().enumerate().flat_map(|(i, a)| plan.patches[..i].iter().map(move |b| (a, b)));
        let same = pairs.filter(|(a, b)| a.file == b.file);
        same.map(|(a, b)| squared_distance([a.x, a.y], [b.x, b.y])).min().unwrap()
    }

    #[test]
    fn origins_keep_their_distance_reach_every_side_and_are_the_same_every_time() {
        let infos = infos(&[[200, 160], [120, 90]]);
        let plan = PatchPlan::new(&infos, 32, 200, 64, 3).unwrap();
        assert_eq!((plan.patches.len(), plan.kept_distance), (200, 64));
        assert!(closest(&plan) >= 64, "{}", closest(&plan));
        for (file, info) in infos.iter().enumerate() {
            let of_file = || plan.patches.iter().filter(|patch| patch.file == file);
            let (free_x, free_y) = (info.width - 32, info.height - 32);
            assert!(of_file().all(|patch| patch.x <= free_x && patch.y <= free_y));
            assert!(of_file().any(|patch| patch.x < 16) && of_file().any(|patch| patch.x > free_x - 16));
            assert!(of_file().any(|patch| patch.y < 16) && of_file().any(|patch| patch.y > free_y - 16));
        }
        assert_eq!(plan, PatchPlan::new(&infos, 32, 200, 64, 3).unwrap());
        assert_ne!(plan, PatchPlan::new(&infos, 32, 200, 64, 4).unwrap());
    }

    #[test]
    fn the_distance_is_lowered_only_as_far_as_there_is_need() {
        let cramped = PatchPlan::new(&infos(&[[160, 160]]), 128, 60, 64, 0).unwrap();
        assert_eq!(cramped.patches.len(), 60);
        assert!((1..64).contains(&cramped.kept_distance) && closest(&cramped) >= cramped.kept_distance, "{cramped:?}");
        // One origin and many patches: all are the same.
        let alone = PatchPlan::new(&infos(&[[128, 128]]), 128, 10, 64, 0).unwrap();
        assert_eq!((alone.kept_distance, alone.patches[9]), (0, Patch { file: 0, x: 0, y: 0 }));
        // A grid of origins that are all taken: each one just once.
        let full = PatchPlan::new(&infos(&[[131, 133]]), 128, 24, 64, 0).unwrap();
        assert_eq!((full.kept_distance, closest(&full)), (1, 1));
    }

    #[test]
    fn pictures_get_patches_in_proportion_to_their_origins_and_at_least_one() {
        let infos = infos(&[[128, 128], [227, 227], [327, 227]]);
        let plan = PatchPlan::new(&infos, 128, 303, 4, 0).unwrap();
        let count = |file| plan.patches.iter().filter(|patch| patch.file == file).count();
        assert_eq!([0, 1, 2].map(count), [1, 101, 201]);
        let error = PatchPlan::new(&infos, 128, 2, 4, 0).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("patches 2"), "{error}");
    }

    #[test]
    fn the_published_number_of_patches_of_one_picture_takes_no_time() {
        let start = std::time::Instant::now();
        for side in [256, 512, 1024] {
            let plan = PatchPlan::new(&infos(&[[side, side]]), 128, 5000, 64, 0).unwrap();
            assert_eq!(plan.patches.len(), 5000);
            assert!(closest(&plan) >= plan.kept_distance);
        }
        // A hundred times what it takes: a search through all pairs for each draw would take minutes.
        assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    }
}
