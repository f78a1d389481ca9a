//! Known homographies found again, sets of points that determine none, and images on other grids beside a plain f64
//! loop.

use crate::engine::device::Device;
use crate::imaging::codec::decode::{self, ImageFile};
use crate::imaging::ops::warp::Interpolation;
use crate::imaging::picture::{Depth, Picture, PictureInfo, Samples};
use crate::imaging::pixels::Area;
use crate::imaging::raster::{Nodata, Raster, RasterInfo, RasterWriter, SampleType};
use crate::imaging::registration::dlt::{Effort, fit};
use crate::imaging::registration::*;
use crate::random::{Rng, Stream};
use approx::{abs_diff_eq, assert_abs_diff_eq};
use std::path::Path;

/// The source of most tests.
const SIZE: [usize; 2] = [1000, 800];

/// A turn, a stretch, a shift and some perspective: the scale changes by a quarter across the image.
fn truth() -> Homography {
    Homography::new([[0.91, -0.23, 120.5], [0.27, 1.08, -60.25], [1.5e-4, -0.8e-4, 1.0]]).unwrap()
}

/// `n` exact pairs at random places of the source.
fn exact(h: &Homography, n: usize, seed: u64) -> Vec<PointPair> {
    let rng = Rng::new(seed, Stream::Test, 0);
    (0..n as u64)
        .map(|i| {
            let source = [0, 1].map(|k| f64::from(rng.uniform(2 * i + k)) * SIZE[k as usize] as f64);
            PointPair { source, target: h.map(source).unwrap() }
        })
        .collect()
}

/// Adds normal noise of `sigma` pixels to each target coordinate.
fn noisy(mut pairs: Vec<PointPair>, sigma: f64, seed: u64) -> Vec<PointPair> {
    let rng = Rng::new(seed, Stream::Test, 1);
    for (i, pair) in pairs.iter_mut().enumerate() {
        for k in 0..2 {
            pair.target[k] += sigma * f64::from(rng.normal((2 * i + k) as u64));
        }
    }
    pairs
}

/// Puts the target of each `every`-th pair anywhere in the image.
fn spoiled(mut pairs: Vec<PointPair>, share: f64, seed: u64) -> Vec<PointPair> {
    let rng = Rng::new(seed, Stream::Test, 2);
    let wrong = (share * pairs.len() as f64).round() as usize;
    for (i, at) in rng.permutation(pairs.len()).into_iter().take(wrong).enumerate() {
        pairs[at].target = [0, 1].map(|k| f64::from(rng.uniform((10_000 + 2 * i + k) as u64)) * SIZE[k] as f64);
    }
    pairs
}

/// The largest distance in the target between two homographies over the image.
fn apart(a: &Homography, b: &Homography) -> f64 {
    let places = (0..=20).flat_map(|i| (0..=20).map(move |k| [i * SIZE[0] / 20, k * SIZE[1] / 20]));
    let distance = |place: [usize; 2]| {
        let [p, q] = [a, b].map(|h| h.map(place.map(|v| v as f64)).unwrap());
        (p[0] - q[0]).hypot(p[1] - q[1])
    };
    places.map(distance).fold(0.0, f64::max)
}

fn refused(pairs: &[PointPair]) -> String {
    let refusal = estimate(pairs, &Settings::default()).expect_err("these points should be refused");
    let error = refusal.at("pairs.csv");
    assert_eq!(error.exit_code(), 2);
    error.to_string()
}

#[test]
fn exact_points_give_the_homography_back() {
    for (n, seed) in [(4, 1), (4, 2), (5, 3), (9, 4), (300, 5)] {
        let found = estimate(&exact(&truth(), n, seed), &Settings::default()).unwrap();
        let rows = found.homography.rows().into_iter().flatten().zip(truth().rows().into_iter().flatten());
        let off = rows.map(|(got, want)| (got - want).abs()).fold(0.0, f64::max);
        assert!(off < 1e-9, "{n} points: {off}");
        assert!(apart(&found.homography, &truth()) < 1e-9 && found.largest() < 1e-9, "{n} points");
        assert_eq!(found.agreeing(), n);
    }
}

#[test]
fn wrong_pairs_are_found_and_left_out() {
    for seed in 0..12 {
        // The error of a fit, at the corners of the image some ten times noise / sqrt(right pairs), stays below half a
        // pixel.
        for (n, share, sigma, most) in
            [(20, 0.3, 0.0, 1e-9), (40, 0.3, 0.1, 0.5), (200, 0.3, 0.25, 0.5), (200, 0.7, 0.15, 0.5)]
        {
            let pairs = spoiled(noisy(exact(&truth(), n, seed), sigma, seed), share, seed);
            let found = estimate(&pairs, &Settings { threshold: 3.0, seed }).unwrap();
            let off = apart(&found.homography, &truth());
            assert!(off < most, "{n} points, {share} wrong, noise {sigma}, seed {seed}: {off} pixels");
            let right = ((1.0 - share) * n as f64).round() as usize;
            // A wrong pair falls within 3 pixels by chance once in 28,000.
            assert!((right..=right + 1).contains(&found.agreeing()), "{} of {right}", found.agreeing());
            assert!(
                abs_diff_eq!(found.rmse(), sigma * 2f64.sqrt(), epsilon = 0.5 * sigma + 1e-9),
                "RMSE {}",
                found.rmse()
            );
            assert!(found.median() <= found.largest() && found.largest() <= 3.0);
        }
    }
}

#[test]
fn the_seed_alone_decides_what_is_found() {
    let pairs = spoiled(noisy(exact(&truth(), 60, 1), 1.0, 1), 0.5, 1);
    let run = || estimate(&pairs, &Settings::default()).unwrap();
    assert_eq!(run().homography, run().homography);
}

#[test]
fn refining_lowers_the_distance_in_the_target() {
    let strong = Homography::new([[0.9, -0.2, 100.0], [0.3, 1.1, -50.0], [1.5e-3, 1e-3, 1.0]]).unwrap();
    let pairs = noisy(exact(&strong, 30, 7), 0.5, 7);
    let sum = |effort| {
        let h = fit(&pairs, effort).unwrap();
        let square = |p: &PointPair| {
            h.map(p.source).map_or(f64::INFINITY, |q| (q[0] - p.target[0]).powi(2) + (q[1] - p.target[1]).powi(2))
        };
        pairs.iter().map(square).sum::<f64>()
    };
    let (linear, refined) = (sum(Effort::Linear), sum(Effort::Refined));
    // 60 coordinates less 8 unknowns, at a variance of a quarter; four standard deviations of the sum.
    assert!(
        refined < linear && abs_diff_eq!(refined, 13.0, epsilon = 4.0 * 13.0 * (2.0 / 52.0f64).sqrt()),
        "{refined}, {linear}"
    );
}

#[test]
fn points_that_determine_nothing_are_refused_with_the_reason() {
    let at = |source: [f64; 2]| PointPair { source, target: truth().map(source).unwrap() };
    let line: Vec<PointPair> = (0..12).map(|i| at([80.0 * f64::from(i), 10.0 + 50.0 * f64::from(i)])).collect();
    let off_line = at([100.0, 700.0]);
    let square = [[0.0, 0.0], [900.0, 0.0], [900.0, 700.0], [0.0, 700.0]].map(at);
    let one_line = [at([0.0, 0.0]), at([100.0, 100.0]), at([0.0, 500.0]), at([400.0, 400.0])];
    let collapsed = square.map(|pair| PointPair { target: [5.0, 5.0], ..pair });
    let crossed = [
        square[0],
        square[1],
        PointPair { source: square[2].source, target: square[3].target },
        PointPair { source: square[3].source, target: square[2].target },
    ];
    let infinite = [square[0], square[1], square[2], PointPair { source: [f64::NAN, 1.0], target: [1.0, 1.0] }];
    for (pairs, reason) in [
        (&square[..3], "needs at least 4 point pairs, and there are 3"),
        (&[], "there are 0"),
        (&line, "all source points lie on a line"),
        (&[&line[..], &[off_line]].concat(), "of any four points, three lie on a line"),
        (&one_line, "source points of pairs 1, 2 and 4 lie on a line"),
        (&[square[0], square[0], square[0], square[1], square[1]], "only 2 of the source points are different"),
        (&[square[0], square[1], square[2], square[0]], "only 3 of the source points are different"),
        (&collapsed, "only 1 of the target points are different"),
        (&crossed, "another order around"),
        (&infinite, "pair 4 holds a place that is not finite"),
    ] {
        let text = refused(pairs);
        assert!(text.contains(reason) && text.contains("pairs.csv") && !text.contains('\n'), "{reason}: {text}");
    }
    // Two points beside the line determine the rest.
    let two_off = [&line[..], &[off_line, at([800.0, 30.0])]].concat();
    assert!(apart(&estimate(&two_off, &Settings::default()).unwrap().homography, &truth()) < 1e-6);
}

#[test]
fn points_along_a_road_are_refused() {
    let rng = Rng::new(4, Stream::Test, 3);
    let pairs: Vec<PointPair> = (0..60)
        .map(|i| {
            // A pixel to each side of a line of 1000.
            let source = [16.0 * f64::from(i), 400.0 + f64::from(rng.uniform(i as u64))];
            PointPair { source, target: truth().map(source).unwrap() }
        })
        .collect();
    let text = refused(&noisy(pairs, 0.3, 2));
    assert!(text.contains("line"), "{text}");
}

#[test]
fn random_pairs_are_refused() {
    for (n, seed) in [(5, 1), (8, 2), (30, 3), (100, 4)] {
        let text = refused(&spoiled(exact(&truth(), n, seed), 1.0, seed));
        assert!(text.contains("no homography fits") || text.contains("of any four"), "{n}: {text}");
    }
}

#[test]
fn a_picture_across_the_horizon_or_mirrored_is_refused() {
    let check = |rows| Homography::new(rows).unwrap().check_picture(SIZE);
    assert_eq!(truth().check_picture(SIZE), Ok(()));
    // The weight is 1 - x / 900: the horizon lies within the image.
    let text = check([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0 / 900.0, 0.0, 1.0]]).unwrap_err().at("p").to_string();
    assert!(text.contains("across its horizon"), "{text}");
    let text = check([[-1.0, 0.0, 1000.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).unwrap_err().at("p").to_string();
    assert!(text.contains("mirrors"), "{text}");
    // Mirrored points, all of them right, lead there.
    let mirror = Homography::new([[-1.0, 0.1, 1000.0], [0.1, 1.0, 0.0], [1e-5, 0.0, 1.0]]).unwrap();
    let found = estimate(&exact(&mirror, 12, 1), &Settings::default()).unwrap();
    assert!(found.homography.check_picture(SIZE).is_err());
}

#[test]
fn a_homography_and_its_inverse_and_parts_agree() {
    let (h, place) = (truth(), [321.0, 654.0]);
    let back = h.inverse().map(h.map(place).unwrap()).unwrap();
    assert!(abs_diff_eq!(back[0], place[0], epsilon = 1e-9) && abs_diff_eq!(back[1], place[1], epsilon = 1e-9));
    let part = Homography::new(h.between([300.0, 600.0], [40.0, 70.0])).unwrap();
    let (whole, moved) = (h.map(place).unwrap(), part.map([21.0, 54.0]).unwrap());
    assert!(
        abs_diff_eq!(moved[0] + 40.0, whole[0], epsilon = 1e-9)
            && abs_diff_eq!(moved[1] + 70.0, whole[1], epsilon = 1e-9)
    );
    // How an area of a pixel grows, by differences.
    let [a, b, c] = [place, [322.0, 654.0], [321.0, 655.0]].map(|p| h.map(p).unwrap());
    let area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
    assert_abs_diff_eq!(h.magnification(place) / area, 1.0, epsilon = 1e-3);
    assert!(Homography::new([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.0, 0.0, 1.0]]).is_none());
}

/// A smooth image, whose slope is below 60 a pixel.
fn smooth(x: usize, y: usize, band: usize) -> f64 {
    let phase = 0.31 * x as f64 + 0.23 * y as f64 + band as f64;
    30_000.0 + 20_000.0 * (phase.sin() * (0.05 * y as f64).cos()).powi(2) * 0.1 + 10.0 * (x + y) as f64
}

fn write(path: &Path, info: RasterInfo, value: impl Fn(usize, usize, usize) -> f64) {
    let mut writer = RasterWriter::create(path, info.clone(), 64).unwrap();
    for y in 0..info.height {
        let row = (0..info.width).flat_map(|x| (0..info.bands).map(move |band| (x, band)));
        writer.write_rows(&row.map(|(x, band)| value(x, y, band) as f32).collect::<Vec<_>>()).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn a_scene_on_another_grid_matches_a_plain_loop() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.tif"), folder.path().join("out.tif"));
    let [width, height, bands] = [310, 270, 2];
    let hole = |x: usize, y: usize| (100..130).contains(&x) && (90..140).contains(&y);
    let nodata = Nodata::parse("-9999");
    let value = |x, y, band| if hole(x, y) { -9999.0 } else { smooth(x, y, band) };
    write(
        &input,
        RasterInfo { nodata: nodata.clone(), ..RasterInfo::new(width, height, bands, SampleType::F32) },
        value,
    );
    let source = ImageFile::open(&input).unwrap();
    // Wider and higher than the tiles that are computed and written, a turn by 40 degrees, some perspective.
    let h = Homography::new([[1.35, -1.2, 330.0], [1.15, 1.3, -20.0], [1e-4, 2e-4, 1.0]]).unwrap();
    let grid = [620, 610];
    for interpolation in [Interpolation::Bilinear, Interpolation::Nearest] {
        Resampler::new(&Device::cpu(), &source, &h, grid, interpolation).write_tiff(&output, &[], |_| Ok(())).unwrap();
        let result = Raster::open(&output).unwrap();
        assert_eq!((result.info().nodata.clone(), result.info().sample), (nodata.clone(), SampleType::F32));
        let got = result.read_window(result.area(), &[1, 2]).unwrap();
        let mut seen = 0;
        for (pixel, got) in got.samples.chunks_exact(2).enumerate() {
            let Some([x, y]) = h.inverse().map([(pixel % grid[0]) as f64, (pixel / grid[0]) as f64]) else { continue };
            if [x, y].iter().any(|v| abs_diff_eq!(v - v.floor(), 0.5, epsilon = 1e-3)) {
                continue; // Which pixel is the nearest is a matter of rounding.
            }
            let data = |x: f64, y: f64| {
                let inside = x >= 0.0 && y >= 0.0 && x < width as f64 && y < height as f64;
                (inside && !hole(x as usize, y as usize)).then_some((x as usize, y as usize))
            };
            let Some((near_x, near_y)) = data((x + 0.5).floor(), (y + 0.5).floor()) else {
                assert_eq!(got, [-9999.0; 2], "outside at {pixel}");
                continue;
            };
            seen += 1;
            for (band, got) in got.iter().enumerate() {
                let taps =
                    [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)].map(|(i, k)| (x.floor() + i, y.floor() + k));
                let weigh = |(i, k): (f64, f64)| (1.0 - (x - i).abs()) * (1.0 - (y - k).abs());
                let known: Vec<_> = taps.iter().filter_map(|tap| Some((data(tap.0, tap.1)?, weigh(*tap)))).collect();
                let mean = known.iter().map(|((i, k), weight)| weight * smooth(*i, *k, band)).sum::<f64>()
                    / known.iter().map(|(_, weight)| weight).sum::<f64>();
                let nearest = interpolation == Interpolation::Nearest;
                let (expected, allowed) = if nearest { (smooth(near_x, near_y, band), 0.005) } else { (mean, 0.2) };
                // f32 holds 30,000 to 0.002, a slope below 700 a pixel times a place right to 1.5e-4.
                assert!(abs_diff_eq!(f64::from(*got), expected, epsilon = allowed), "{pixel}: {got}, not {expected}");
            }
        }
        assert!(seen > 100_000, "{seen} pixels had a value");
    }
}

#[test]
fn a_large_picture_on_a_small_grid_is_read_in_parts() {
    let side = 4_200;
    let picture = Picture {
        info: PictureInfo { width: side, height: side, bands: 1, depth: Depth::U8 },
        samples: Samples::U8((0..side * side).map(|i| (i % side / 20) as u8).collect()),
    };
    let source = ImageFile::in_memory(picture, Path::new("a.png")).unwrap();
    let h = Homography::new([[0.002, 0.0, 0.0], [0.0, 0.002, 0.0], [0.0, 0.0, 1.0]]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.png");
    let device = Device::cpu();
    let resampler = Resampler::new(&device, &source, &h, [8, 9], Interpolation::Nearest);
    resampler.write_png(&path, |_| Ok(())).unwrap();
    let Samples::U8(got) = decode::open(&path).unwrap().samples else { panic!("8 bits") };
    assert_eq!(got[..8], [0, 25, 50, 75, 100, 125, 150, 175]);
    assert_eq!(got[64..], got[..8]);
}

#[test]
fn what_stops_the_work_leaves_no_file() {
    let picture = Picture {
        info: PictureInfo { width: 3, height: 300, bands: 1, depth: Depth::U16 },
        samples: Samples::U16(vec![700; 900]),
    };
    let source = ImageFile::in_memory(picture, Path::new("a.png")).unwrap();
    let h = Homography::new([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).unwrap();
    let device = Device::cpu();
    let resampler = Resampler::new(&device, &source, &h, [3, 300], Interpolation::Bilinear);
    let folder = tempfile::tempdir().unwrap();
    let stop = |_| Err(crate::Error::failed("stopped", "here", "go on"));
    assert!(resampler.write_png(&folder.path().join("a.png"), stop).is_err());
    assert!(resampler.write_tiff(&folder.path().join("a.tif"), &[], stop).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let path = folder.path().join("a.png");
    resampler.write_png(&path, |_| Ok(())).unwrap();
    assert_eq!(decode::open(&path).unwrap().samples, Samples::U16(vec![700; 900]));
    // All of it is covered: no value had to be set apart.
    resampler.write_tiff(&folder.path().join("a.tif"), &[], |_| Ok(())).unwrap();
    let raster = Raster::open(&folder.path().join("a.tif")).unwrap();
    assert_eq!(raster.info().nodata, None);
    let area = Area { x: 0, y: 299, width: 3, height: 1 };
    assert_eq!(raster.read_window(area, &[1]).unwrap().samples, [700.0; 3]);
}

#[test]
fn the_nearest_pixel_keeps_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.tif"), folder.path().join("out.tif"));
    let same = Homography::new([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).unwrap();
    let [width, height] = [64, 5];
    let lowest = f64::from(f32::MIN);
    for (sample, nodata, first, others, step) in [
        (SampleType::I32, "16777216", 16_777_216.0, 16_777_216.0, 1.0),
        (SampleType::U32, "0", 4_294_967_295.0, 4_294_967_295.0, -3.0),
        (SampleType::I64, "-9223372036854775808", -(2f64.powi(63)), 9e15, 1.0),
        (SampleType::U64, "18446744073709551615", 2f64.powi(64), 9e15, 1.0),
        (SampleType::F64, "-9999.9", -9999.9, -9999.9, 1.0 / 7.0),
        (SampleType::F64, "-1.7976931348623157e308", f64::MIN, 0.1, 1e300),
        (SampleType::F32, "-3.40282e+38", lowest, 1.0, 3.0),
        (SampleType::U16, "-9999", 1.0, 1.0, 7.0),
    ] {
        let value = |i: usize| if i == 0 { first } else { others + step * i as f64 };
        let values: Vec<f64> = (0..width * height).map(value).collect();
        let info = RasterInfo { nodata: Nodata::parse(nodata), ..RasterInfo::new(width, height, 1, sample) };
        let mut writer = RasterWriter::create(&input, info, 64).unwrap();
        writer.write_rows(&values).unwrap();
        writer.finish().unwrap();
        let source = ImageFile::open(&input).unwrap();
        let device = Device::cpu();
        let resampler = Resampler::new(&device, &source, &same, [width, height], Interpolation::Nearest);
        resampler.write_tiff(&output, &[], |_| Ok(())).unwrap();
        let [before, after] = [&input, &output].map(|path| {
            let raster = Raster::open(path).unwrap();
            (raster.info().nodata.clone(), raster.read_window_exactly(raster.area(), &[1]).unwrap())
        });
        assert_eq!((before.0, &before.1.valid), (after.0, &after.1.valid), "{sample}, nodata {nodata}");
        let kept = |i: &usize| before.1.valid[*i] && before.1.samples[*i] != after.1.samples[*i];
        assert_eq!((0..values.len()).find(kept), None, "{sample}, nodata {nodata}");
        let holes = before.1.valid.iter().filter(|valid| !**valid).count();
        assert_eq!(holes, usize::from(!["0", "-9999"].contains(&nodata)), "{sample}, nodata {nodata}");
    }
}

#[test]
fn what_is_not_covered_is_transparent_in_a_png_and_alpha_is_carried() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let picture = Picture {
        info: PictureInfo { width: 4, height: 4, bands: 1, depth: Depth::U8 },
        samples: Samples::U8(vec![9; 16]),
    };
    let source = ImageFile::in_memory(picture, Path::new("a.png")).unwrap();
    let right = Homography::new([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).unwrap();
    let device = Device::cpu();
    for interpolation in [Interpolation::Nearest, Interpolation::Bilinear] {
        let resampler = Resampler::new(&device, &source, &right, [4, 4], interpolation);
        resampler.write_png(&path("a.png"), |_| Ok(())).unwrap();
        let moved = ImageFile::open(&path("a.png")).unwrap();
        assert_eq!((moved.info().bands, moved.info().alpha), (2, Some(2)));
        assert_eq!(moved.picture().unwrap().1.unwrap(), [false, false, true, true].repeat(4));
        // And again: what is transparent stays so.
        let moved = ImageFile::open(&path("a.png")).unwrap();
        let resampler = Resampler::new(&device, &moved, &right, [4, 4], interpolation);
        resampler.write_png(&path("b.png"), |_| Ok(())).unwrap();
        let (_, valid) = ImageFile::open(&path("b.png")).unwrap().picture().unwrap();
        assert_eq!(valid.unwrap(), [false; 16]);
    }
}

#[test]
fn few_bits_stay_few_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.tif"), folder.path().join("out.tif"));
    let same = Homography::new([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).unwrap();
    for (sample, bits) in [(SampleType::U8, 1), (SampleType::U8, 4), (SampleType::U16, 12), (SampleType::U16, 10)] {
        let info = RasterInfo { bits, ..RasterInfo::new(20, 3, 1, sample) };
        write(&input, info.clone(), |x, y, _| ((7 * x + 5 * y) % (1 << bits)) as f64);
        let source = ImageFile::open(&input).unwrap();
        let device = Device::cpu();
        let resampler = Resampler::new(&device, &source, &same, [20, 3], Interpolation::Nearest);
        resampler.write_tiff(&output, &[], |_| Ok(())).unwrap();
        let written = Raster::open(&output).unwrap();
        assert_eq!(written.info(), &info);
        let want: Vec<f32> = (0..60).map(|i| ((7 * (i % 20) + 5 * (i / 20)) % (1 << bits)) as f32).collect();
        assert_eq!(written.read_window(written.area(), &[1]).unwrap().samples, want, "{bits} bits");
    }
}
