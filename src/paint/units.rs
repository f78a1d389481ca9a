//! Values in the units of a training's targets, as a file holds them.

use crate::imaging::raster::{Nodata, RasterInfo, SampleType, Stretches};

/// Which units a result has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    /// Those of the targets, in the type, and by the scale and the offset, of their files; floats where these are not
    /// known.
    Target,
    /// Those of the targets, as 32-bit floats.
    Float,
}

/// In which units the targets of a training are, how their files hold them, and their bands' names.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetUnits {
    /// How their values became 0..1, each over a range that is known.
    stretch: Stretches,
    /// Of the bands, as far as they have some.
    names: Vec<String>,
    /// The type of the samples of their files; floats where it is not known.
    sample: SampleType,
    /// What stands for no data there.
    nodata: Option<Nodata>,
    /// Of each band what samples are multiplied by, and what is added then, to be values; none where they are values.
    units: Vec<[f64; 2]>,
}

impl TargetUnits {
    /// Of targets that were stretched so; `None` where the range is not known, as that of percentiles.
    pub fn of(stretch: &Stretches, names: &[String]) -> Option<Self> {
        let known = stretch.iter().all(|stretch| stretch.inverse(0.0).is_some());
        let (stretch, names) = (stretch.clone(), names.to_vec());
        known.then(|| TargetUnits { stretch, names, sample: SampleType::F32, nodata: None, units: Vec::new() })
    }

    /// The same of files with samples of a type, by its name, with a nodata value and units of their bands.
    #[must_use]
    pub fn of_files(self, sample: &str, nodata: Option<&str>, units: &[[f64; 2]]) -> Self {
        let known = SampleType::ALL.into_iter().find(|known| !known.is_float() && known.to_string() == sample);
        let Some(sample) = known else { return self };
        TargetUnits { sample, nodata: nodata.and_then(Nodata::parse), units: units.to_vec(), ..self }
    }

    /// How a result holds them; `gaps`: whether it may have pixels without data.
    pub(super) fn store(&self, units: Units, gaps: bool) -> Store {
        let plain = TargetUnits { sample: SampleType::F32, nodata: None, units: Vec::new(), ..self.clone() };
        let targets = if units == Units::Float { plain } else { self.clone() };
        let sample = targets.sample;
        let [least, most] = RasterInfo::new(1, 1, 1, sample).range();
        let hole = match sample.is_float() {
            true => f64::NAN,
            false => targets.nodata.as_ref().filter(|nodata| nodata.fits(sample)).map_or(least, |nodata| nodata.value),
        };
        Store { targets, hole: gaps.then_some(hole), range: [least, most] }
    }
}

/// How a result holds values of targets.
#[derive(Debug, Clone)]
pub(super) struct Store {
    targets: TargetUnits,
    /// What a pixel without data becomes; of integers one with data that comes to it is moved by one.
    hole: Option<f64>,
    /// Of an integer's type.
    range: [f64; 2],
}

impl Store {
    /// The type of its samples.
    pub fn sample(&self) -> SampleType {
        self.targets.sample
    }

    /// The value of pixels without data, if there may be such.
    pub fn nodata(&self) -> Option<Nodata> {
        self.hole.map(Nodata::of)
    }

    /// A raster that says which bands it has and what their samples mean.
    pub fn describe(&self, info: RasterInfo) -> RasterInfo {
        info.with_bands_described(&self.targets.names, &self.targets.units)
    }

    /// The sample for a value 0..1 of a band (from 0), or for no data.
    pub fn value(&self, band: usize, value: f32, has_data: bool) -> f32 {
        if !has_data {
            return self.hole.map_or(0.0, |hole| hole as f32);
        }
        let physical = self.targets.stretch.of(band).inverse(value.clamp(0.0, 1.0)).unwrap_or(f32::NAN);
        if self.sample().is_float() {
            return physical;
        }
        let [scale, offset] = self.targets.units.get(band).copied().unwrap_or([1.0, 0.0]);
        let [least, most] = self.range;
        let stored = ((f64::from(physical) - offset) / scale).round_ties_even().clamp(least, most);
        let stored = match self.hole {
            Some(hole) if stored == hole => hole + if hole < most { 1.0 } else { -1.0 },
            _ => stored,
        };
        stored as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_and_clamped_into_the_targets_type_by_their_scale() {
        let names = ["red".to_owned(), "swir".to_owned()];
        let plain = TargetUnits::of(&"-0.05,0.4".parse().unwrap(), &names).unwrap();
        let floats = plain.store(Units::Target, true);
        // A rounding of f32.
        let near = |value: f32| (value - 0.175).abs() < 1e-6;
        assert!(floats.sample() == SampleType::F32 && near(floats.value(0, 0.5, true)));
        assert!(floats.value(0, 0.5, false).is_nan() && floats.nodata().unwrap().value.is_nan());

        // Reflectances as Sentinel-2 has them: 1e-4 a step, -0.1 at 0.
        let targets = plain.clone().of_files("u16", Some("0"), &[[1e-4, -0.1], [2e-4, -0.05]]);
        let store = targets.store(Units::Target, true);
        assert_eq!((store.sample(), store.nodata()), (SampleType::U16, Nodata::parse("0")));
        let of = |band: usize, value: f32| store.value(band, value, true);
        assert_eq!([of(0, 0.0), of(0, 1.0), of(0, 0.5)], [500.0, 5000.0, 2750.0]);
        // The least of the second band is 0, which stands for no data: it is moved by one.
        assert_eq!([of(1, 0.0), of(1, 1.0), store.value(1, 0.7, false)], [1.0, 2250.0, 0.0]);
        let info = store.describe(RasterInfo::new(1, 1, 2, SampleType::U16));
        assert_eq!([1, 2].map(|band| info.unit(band)), [Some([1e-4, -0.1]), Some([2e-4, -0.05])]);
        assert_eq!([1, 2].map(|band| info.band_name(band).unwrap()), names);
        let float = targets.store(Units::Float, true);
        assert!(float.sample() == SampleType::F32 && near(float.value(0, 0.5, true)));
        assert_eq!(float.describe(RasterInfo::new(1, 1, 2, SampleType::F32)).unit(1), None);

        // What the type cannot hold is clamped, and a nodata value at the end of it moves others down.
        let bytes = TargetUnits::of(&"-10,300".parse().unwrap(), &[]).unwrap().of_files("u8", Some("255"), &[]);
        let store = bytes.store(Units::Target, true);
        assert_eq!([store.value(0, 0.0, true), store.value(0, 1.0, true)], [0.0, 254.0]);
        let whole = bytes.store(Units::Target, false);
        assert_eq!((whole.value(0, 1.0, true), whole.nodata()), (255.0, None));
        // Where the files name none that fits, it is the least value.
        let signed = TargetUnits::of(&"-1,1".parse().unwrap(), &[]).unwrap().of_files("i16", None, &[]);
        assert_eq!(signed.store(Units::Target, true).nodata(), Nodata::parse("-32768"));
    }
}
