//! Dates together, and zeros at their borders.

use super::*;
use crate::imaging::codec::save::save_tiff;
use crate::imaging::raster::{Nodata, RawTag, SampleType};
use approx::assert_abs_diff_eq;

#[test]
fn several_paths_are_one_with_commas_unless_that_is_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert_eq!(parts(&at("a.tif")), [at("a.tif")]);
    let both = joined(&[at("a.tif"), at("b.tif")]);
    assert_eq!(parts(&both), [at("a.tif"), at("b.tif")]);
    std::fs::write(at("a,b.tif"), "").unwrap();
    assert_eq!(parts(&at("a,b.tif")), [at("a,b.tif")]);
    assert_eq!("bands".parse::<Looks>().unwrap().to_string(), "bands");
    assert!("sum".parse::<Looks>().is_err());
}

fn stack(dates: &[&[f32]], stretch: &str, looks: Looks, zeros: ZeroBorder) -> Result<Stack> {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (i, values) in dates.iter().enumerate() {
        let path = folder.path().join(format!("{i}.tif"));
        let info = RasterInfo { nodata: Nodata::parse("-9"), ..RasterInfo::new(values.len(), 1, 1, SampleType::F32) };
        save_tiff(&path, info, values)?;
        files.push(path);
    }
    let files = open(&joined(&files))?;
    let part = files[0].area();
    Stack::new(files, part, vec![1], looks, &stretch.parse().unwrap(), zeros)
}

fn values(stack: &Stack) -> Window {
    stack.window(Area { x: 0, y: 0, ..stack.part() }).unwrap()
}

#[test]
fn dates_are_averaged_in_power_where_they_have_data() {
    let of = |dates: &[&[f32]], stretch: &str| values(&stack(dates, stretch, Looks::Mean, ZeroBorder::Keep).unwrap());
    let plain = of(&[&[1.0, 4.0, -9.0], &[3.0, -9.0, -9.0]], "db:-25,0");
    assert_eq!((plain.samples[..2].to_vec(), plain.valid), (vec![2.0, 4.0], vec![true, true, false]));
    assert_abs_diff_eq!(of(&[&[1.0], &[7.0]], "db-amplitude:-25,0").samples[0], 5.0, epsilon = 1e-6);
    // 0.1 and 0.001: -12.97 dB, whereas the mean of the decibels is -20.
    for stretch in ["-40,0", "percentile:2"] {
        let decibels = of(&[&[-10.0, -11.0], &[-30.0, -31.0]], stretch).samples;
        assert_abs_diff_eq!(decibels[0], 10.0 * (0.0505f32).log10(), epsilon = 1e-4);
    }
}

#[test]
fn dates_stand_side_by_side_where_all_have_data() {
    let both = stack(&[&[1.0, 4.0], &[3.0, -9.0]], "0,1", Looks::Bands, ZeroBorder::Keep).unwrap();
    assert_eq!((both.bands(), both.channels(), both.may_have_gaps()), (1, 2, true));
    assert_eq!(values(&both), Window { samples: vec![1.0, 3.0, 4.0, -9.0], valid: vec![true, false] });
    let error = stack(&[&[1.0, 4.0], &[3.0]], "0,1", Looks::Mean, ZeroBorder::Keep).err().unwrap().to_string();
    assert!(error.contains("sizes of 2x1 and 1x1") && error.contains("0.tif and "), "{error}");
}

#[test]
fn zeros_at_the_border_have_no_data_when_asked_or_in_a_radar_scene() {
    let row = [0.0, 0.0, 5.0, 0.0, 6.0, 7.0];
    let of = |zeros| values(&stack(&[&row], "0,9", Looks::Mean, zeros).unwrap()).valid;
    // A single row is border throughout.
    assert_eq!(of(ZeroBorder::Nodata), [false, false, true, false, true, true]);
    assert_eq!(of(ZeroBorder::Auto), [true; 6], "a nodata value is declared");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.tif");
    let scale = RawTag { tag: 33550, field_type: 12, bytes: [10.0f64, 10.0, 0.0].map(f64::to_le_bytes).concat() };
    let info = RasterInfo { georeference: vec![scale], ..RasterInfo::new(40, 40, 1, SampleType::U16) };
    let sample = |i: usize| if i % 40 < 3 || i == 20 * 40 + 20 { 0.0 } else { 700.0 };
    let stacked = |info: &RasterInfo, sample: &dyn Fn(usize) -> f32, zeros| {
        save_tiff(&path, info.clone(), &(0..1600).map(sample).collect::<Vec<_>>()).unwrap();
        let files = open(&path).unwrap();
        let part = files[0].area();
        Stack::new(files, part, vec![1], Looks::Mean, &"0,9".parse().unwrap(), zeros).unwrap()
    };
    let found = stacked(&info, &sample, ZeroBorder::Auto);
    assert_eq!(found.border_zeros(), 120);
    assert!(found.may_have_gaps() && found.notices()[0].contains("s.tif: 120 zeros at its border (7.5 %)"));
    let valid = values(&found).valid;
    assert!(!valid[0] && valid[3] && valid[20 * 40 + 20]);
    assert_eq!(stacked(&info, &sample, ZeroBorder::Keep).border_zeros(), 0);
    // Without a place, of bytes, or a handful: they say what they say.
    let plain = RasterInfo { georeference: Vec::new(), ..info.clone() };
    assert_eq!(stacked(&plain, &sample, ZeroBorder::Auto).border_zeros(), 0);
    let bytes = RasterInfo { sample: SampleType::U8, bits: 8, ..info.clone() };
    assert_eq!(stacked(&bytes, &|i| sample(i) / 7.0, ZeroBorder::Auto).border_zeros(), 0);
    let handful = |i: usize| if i < 9 { 0.0 } else { 700.0 };
    assert_eq!(stacked(&info, &handful, ZeroBorder::Auto).border_zeros(), 0);
    assert_eq!(stacked(&info, &handful, ZeroBorder::Nodata).border_zeros(), 9);
}
