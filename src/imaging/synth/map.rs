//! The land-cover map of a synthetic scene: who lies where. Lengths are pixels of about ten metres.

use std::f32::consts::TAU;

use crate::imaging::synth::noise::{Draws, Fractal, hashed};
use crate::random::Rng;

/// What covers the ground at a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cover {
    /// River or lake.
    Water,
    /// Woods and hedges.
    Forest,
    /// Grass.
    Meadow,
    /// Ripe cereals.
    Wheat,
    /// Tall green crops in rows.
    Maize,
    /// Rapeseed in bloom.
    Rapeseed,
    /// Bare soil.
    Soil,
    /// Asphalt, streets of towns too.
    Road,
    /// Greenery between houses.
    Garden,
    /// Tiled roofs.
    RedRoof,
    /// Flat roofs and halls.
    GreyRoof,
}

/// One pixel of the map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ground {
    /// What covers it.
    pub cover: Cover,
    /// Names the field or building: pixels of one parcel share their random deviations.
    pub parcel: u32,
    /// Across the rows of a field, in pixels.
    pub across: f32,
}

/// Which random numbers a key is for.
#[derive(Clone, Copy)]
enum Salt {
    Site = 1,
    Split,
    Leaf,
    Town,
    Block,
    Lot,
}

/// Distance of neighbouring districts: each has its own direction of fields, and roads run where two meet.
const DISTRICT: f32 = 130.0;
/// Half the side of the square that a district divides into parcels; it covers every point that is nearest to its site.
const DISTRICT_REACH: f32 = 2.0 * DISTRICT;
/// Districts beyond the scene's border that still matter: bent coordinates leave the scene by less than one district,
/// and a point looks at the neighbours of its own.
const MARGIN: i32 = 2;
/// Blocks of a town, street to street.
const BLOCK: f32 = 11.0;
/// A lot of a town: a house and its garden.
const LOT: f32 = 3.6;

/// The map's ingredients, evaluated pixel by pixel.
pub struct Map {
    rng: Rng,
    warp: [Fractal; 2],
    woods: Fractal,
    ragged: Fractal,
    river: Option<River>,
    lake: Option<Lake>,
    towns: Vec<Town>,
    /// The districts' sites, `[sites_across, sites_across]`, from grid cell (`-MARGIN`, `-MARGIN`).
    sites: Vec<Site>,
    sites_across: usize,
}

struct River {
    /// The scene's middle, about which the river is turned by `angle` and from which it is `offset` away.
    middle: f32,
    angle: f32,
    offset: f32,
    width: f32,
    /// Amplitude, wavelength and phase of the meanders.
    bends: [[f32; 3]; 3],
}

struct Lake {
    x: f32,
    y: f32,
    radius: f32,
    /// Length over width.
    stretch: f32,
}

struct Town {
    x: f32,
    y: f32,
    radius: f32,
    angle: f32,
}

/// A district's site and direction of fields.
#[derive(Clone, Copy)]
struct Site {
    key: u32,
    x: f32,
    y: f32,
    angle: f32,
}

impl Map {
    /// The map of `size` x `size` pixels that belongs to `rng`.
    pub fn new(rng: Rng, size: usize) -> Self {
        let mut draws = Draws::new(rng, 1);
        let side = size as f32;
        let kind = draws.between(0.0, 1.0);
        let river = (kind < 0.62).then(|| River {
            middle: side / 2.0,
            angle: draws.between(0.0, TAU),
            offset: draws.between(-0.3, 0.3) * side,
            width: draws.between(3.5, 8.0),
            bends: [[26.0, 210.0], [11.0, 90.0], [3.0, 31.0]].map(|[amplitude, wavelength]| {
                [amplitude * draws.between(0.5, 1.2), wavelength, draws.between(0.0, TAU)]
            }),
        });
        let lake = (0.42..0.9).contains(&kind).then(|| Lake {
            x: draws.between(0.15, 0.85) * side,
            y: draws.between(0.15, 0.85) * side,
            radius: draws.between(18.0, 40.0),
            stretch: draws.between(0.6, 1.6),
        });
        let cells = (side / DISTRICT) as i32 + 1 + MARGIN;
        let sites_across = (cells + MARGIN) as usize;
        let sites: Vec<Site> = (-MARGIN..cells)
            .flat_map(|j| (-MARGIN..cells).map(move |i| (i, j)))
            .map(|(i, j)| Site::new(&rng, i, j))
            .collect();
        // Towns lie where two districts meet, hence on a road.
        let mut towns = Vec::new();
        for (index, site) in sites.iter().enumerate() {
            let [here, which, radius, _] = hashed(&rng, Salt::Town as u32, site.key);
            let last_in_row = (index + 1) % sites_across == 0;
            let other = sites.get(index + if which < 0.5 && !last_in_row { 1 } else { sites_across });
            if let (true, Some(other)) = (here < 0.3, other) {
                let (x, y) = ((site.x + other.x) / 2.0, (site.y + other.y) / 2.0);
                towns.push(Town { x, y, radius: 16.0 + 22.0 * radius, angle: site.angle });
            }
        }
        Map {
            rng,
            warp: [0, 1].map(|_| Fractal::new(&mut draws, size, 120.0, 2)),
            woods: Fractal::new(&mut draws, size, 105.0, 4),
            ragged: Fractal::new(&mut draws, size, 22.0, 3),
            river,
            lake,
            towns,
            sites,
            sites_across,
        }
    }

    /// What is at a pixel.
    pub fn ground(&self, x: usize, y: usize) -> Ground {
        let (x, y) = (x as f32, y as f32);
        let ragged = self.ragged.at(x, y);
        // Straight borders look drawn: districts, roads and fields follow bent coordinates.
        let (wx, wy) = (x + 14.0 * self.warp[0].at(x, y), y + 14.0 * self.warp[1].at(x, y));
        let (site, to_road) = self.district(wx, wy);
        let plain = |cover| Ground { cover, parcel: cover as u32, across: 0.0 };
        if self.lake.as_ref().is_some_and(|lake| lake.contains(x, y, ragged)) {
            return plain(Cover::Water);
        }
        if to_road < 1.1 {
            return plain(Cover::Road);
        }
        let to_bank = self.river.as_ref().map_or(f32::INFINITY, |river| river.distance_to_bank(x, y));
        if to_bank < 0.0 {
            return plain(Cover::Water);
        }
        if let Some(ground) = self.towns.iter().find_map(|town| self.town(town, wx, wy, ragged)) {
            return ground;
        }
        if self.woods.at(x, y) > 0.42 {
            return plain(Cover::Forest);
        }
        // Banks are wooded here and there, and grass elsewhere.
        if to_bank < 4.0 + 3.0 * ragged {
            return plain(if ragged > 0.1 { Cover::Forest } else { Cover::Meadow });
        }
        self.field(site, wx, wy)
    }

    /// The nearest site, and the distance to the border with the next one.
    fn district(&self, x: f32, y: f32) -> (Site, f32) {
        let cell = |v: f32| ((v / DISTRICT).floor() as i32 + MARGIN).clamp(1, self.sites_across as i32 - 2) as usize;
        let (i, j) = (cell(x), cell(y));
        let mut best = (f32::INFINITY, self.sites[j * self.sites_across + i]);
        let mut second = best;
        for (i, j) in (j - 1..=j + 1).flat_map(|j| (i - 1..=i + 1).map(move |i| (i, j))) {
            let site = self.sites[j * self.sites_across + i];
            let distance = (site.x - x).powi(2) + (site.y - y).powi(2);
            if distance < best.0 {
                (best, second) = ((distance, site), best);
            } else if distance < second.0 {
                second = (distance, site);
            }
        }
        // To the bisector of two sites: the difference of squares over twice their distance.
        let apart = ((best.1.x - second.1.x).powi(2) + (best.1.y - second.1.y).powi(2)).sqrt();
        (best.1, (second.0 - best.0) / (2.0 * apart))
    }

    /// The parcel at a point of a district: its square is split in two across its longer side, again and again.
    fn field(&self, site: Site, x: f32, y: f32) -> Ground {
        let (sin, cos) = site.angle.sin_cos();
        let (dx, dy) = (x - site.x, y - site.y);
        let point = [cos * dx + sin * dy, cos * dy - sin * dx];
        let (mut low, mut high) = ([-DISTRICT_REACH; 2], [DISTRICT_REACH; 2]);
        // The path of splits, as bits after a leading one, names the part.
        let mut path = 1u32;
        loop {
            let key = site.key.wrapping_mul(0x9E37_79B1) ^ path;
            let [at, stop, _, _] = hashed(&self.rng, Salt::Split as u32, key);
            let side = [high[0] - low[0], high[1] - low[1]];
            if side[0] * side[1] < 700.0 + 1500.0 * stop {
                let rows = if side[0] > side[1] { 1 } else { 0 };
                let edge = (0..2).map(|k| (point[k] - low[k]).min(high[k] - point[k])).fold(f32::INFINITY, f32::min);
                return self.parcel(key, point[rows], edge);
            }
            // Parcels are longer than wide: the longer side counts for less.
            let axis = if side[0] * 0.8 > side[1] { 0 } else { 1 };
            let middle = low[axis] + side[axis] * (0.36 + 0.28 * at);
            path = 2 * path + u32::from(point[axis] >= middle);
            if point[axis] >= middle { low[axis] = middle } else { high[axis] = middle }
        }
    }

    /// The crop of a parcel; its edge may be a hedge or a track.
    fn parcel(&self, key: u32, across: f32, to_edge: f32) -> Ground {
        let [crop, border, _, _] = hashed(&self.rng, Salt::Leaf as u32, key);
        let cover = match (to_edge, border) {
            (..1.0, ..0.12) => Cover::Forest,
            (..0.7, 0.12..0.3) => Cover::Soil,
            _ => match crop {
                ..0.24 => Cover::Wheat,
                ..0.46 => Cover::Meadow,
                ..0.66 => Cover::Maize,
                ..0.79 => Cover::Rapeseed,
                ..0.94 => Cover::Soil,
                _ => Cover::Forest,
            },
        };
        Ground { cover, parcel: key, across }
    }

    /// The town's pixel at a point, if the town reaches it.
    fn town(&self, town: &Town, x: f32, y: f32, ragged: f32) -> Option<Ground> {
        let (dx, dy) = (x - town.x, y - town.y);
        let out = (dx * dx + dy * dy).sqrt() / (town.radius + 9.0 * ragged);
        if !(0.0..1.0).contains(&out) {
            return None;
        }
        let (sin, cos) = town.angle.sin_cos();
        let (u, v) = (cos * dx + sin * dy + 512.0 * BLOCK, cos * dy - sin * dx + 512.0 * BLOCK);
        let (in_u, in_v) = (u % BLOCK, v % BLOCK);
        let key = |cell: f32| (u / cell) as u32 * 4096 + (v / cell) as u32;
        if in_u < 1.3 || in_v < 1.3 {
            return Some(Ground { cover: Cover::Road, parcel: Cover::Road as u32, across: 0.0 });
        }
        let [hall, ..] = hashed(&self.rng, Salt::Block as u32, key(BLOCK));
        if hall < 0.1 && (2.2..BLOCK - 1.0).contains(&in_u) && (2.2..BLOCK - 1.0).contains(&in_v) {
            return Some(Ground { cover: Cover::GreyRoof, parcel: key(BLOCK), across: 0.0 });
        }
        let [built, kind, _, _] = hashed(&self.rng, Salt::Lot as u32, key(LOT));
        let house = u % LOT > 0.7 && v % LOT > 0.7 && built < 0.95 - 0.45 * out && hall >= 0.1;
        let cover = match (house, kind) {
            (false, _) => Cover::Garden,
            (true, ..0.72) => Cover::RedRoof,
            (true, _) => Cover::GreyRoof,
        };
        Some(Ground { cover, parcel: key(LOT), across: 0.0 })
    }
}

impl Site {
    /// The site of grid cell (`i`, `j`).
    fn new(rng: &Rng, i: i32, j: i32) -> Self {
        // Cells count from -MARGIN; 10 bits for each are room for scenes of 130,000 pixels.
        let key = (i + MARGIN) as u32 * 1024 + (j + MARGIN) as u32;
        let [dx, dy, angle, _] = hashed(rng, Salt::Site as u32, key);
        let place = |cell: i32, shift: f32| (cell as f32 + 0.15 + 0.7 * shift) * DISTRICT;
        Site { key, x: place(i, dx), y: place(j, dy), angle: angle * TAU }
    }
}

impl River {
    /// Pixels to the bank; negative in the water.
    fn distance_to_bank(&self, x: f32, y: f32) -> f32 {
        let (sin, cos) = self.angle.sin_cos();
        let (x, y) = (x - self.middle, y - self.middle);
        let (u, v) = (cos * x + sin * y, cos * y - sin * x);
        let mut centre = self.offset;
        let mut slope = 0.0;
        for [amplitude, wavelength, phase] in self.bends {
            let t = TAU * u / wavelength + phase;
            centre += amplitude * t.sin();
            slope += amplitude * TAU / wavelength * t.cos();
        }
        (v - centre).abs() / (1.0 + slope * slope).sqrt() - self.width
    }
}

impl Lake {
    fn contains(&self, x: f32, y: f32, ragged: f32) -> bool {
        let (dx, dy) = ((x - self.x) / self.stretch, (y - self.y) * self.stretch);
        (dx * dx + dy * dy).sqrt() < self.radius * (1.0 + 0.22 * ragged)
    }
}
