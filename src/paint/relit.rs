//! A source with the lightness that its picture is to have.

use crate::dataset::lightness::LightnessMatch;
use crate::dataset::lightness::{MARGIN, despeckled};
use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::imaging::pixels::Area;
use crate::imaging::pixels::Pixels;
use crate::paint::scene::{Part, Source};

/// A source with one more band: its first without speckle, matched to the lightness of optical pictures.
pub struct Relit<'a> {
    /// The source.
    pub source: &'a dyn Source,
    /// Which lightness a value stands for.
    pub by: &'a LightnessMatch,
    /// Where the speckle is taken off.
    pub device: &'a Device,
}

impl Source for Relit<'_> {
    fn size(&self) -> [usize; 2] {
        self.source.size()
    }

    fn read(&self, area: Area) -> Result<Part> {
        // The filter sees what lies around, so that it leaves no seams.
        let [width, height] = self.size();
        let grow = |start: usize, len: usize, end: usize| start.saturating_sub(MARGIN)..(start + len + MARGIN).min(end);
        let around = Area::of(grow(area.x, area.width, width), grow(area.y, area.height, height));
        let within = Area { x: area.x - around.x, y: area.y - around.y, ..area };
        let Part { pixels, valid } = self.source.read(around)?;
        let bands = pixels.bands;
        let inner = pixels.part(within).values;
        let mut values: Vec<f32> = pixels.values.into_iter().step_by(bands).collect();
        if let Some(valid) = &valid {
            values.iter_mut().zip(valid).filter(|(_, valid)| !**valid).for_each(|(value, _)| *value = f32::NAN);
        }
        let smooth = despeckled(&Tensor::new(self.device, &[1, around.height, around.width, 1], &values)?)?.to_vec()?;
        let smooth = Pixels { values: smooth, ..Pixels::new(around.width, around.height, 1) }.part(within).values;
        // No data is 0 to a network.
        let lightness = |value: f32| if value.is_nan() { 0.0 } else { self.by.apply(value) };
        let mut values = Vec::with_capacity(area.width * area.height * (bands + 1));
        for (pixel, smooth) in inner.chunks_exact(bands).zip(smooth) {
            values.extend_from_slice(pixel);
            values.push(lightness(smooth));
        }
        let first = |y: usize| y * around.width + within.x;
        let valid = valid.map(|valid| within.rows().flat_map(|y| &valid[first(y)..][..area.width]).copied().collect());
        Ok(Part { pixels: Pixels { width: area.width, height: area.height, bands: bands + 1, values }, valid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Rng, Stream};
    use approx::abs_diff_eq;

    /// Twice the value, clamped.
    fn doubling() -> LightnessMatch {
        serde_json::from_str(r#"{"source": [0.0, 0.5, 1.0], "target": [0.0, 1.0, 1.0]}"#).unwrap()
    }

    /// Noise, without data in its first three columns.
    struct Noise(Pixels);

    impl Source for Noise {
        fn size(&self) -> [usize; 2] {
            self.0.size()
        }

        fn read(&self, area: Area) -> Result<Part> {
            let valid = area.rows().flat_map(|_| area.columns().map(|x| x >= 3)).collect();
            Ok(Part { pixels: self.0.part(area), valid: Some(valid) })
        }
    }

    #[test]
    fn an_area_has_the_lightness_that_it_has_in_the_whole() {
        let rng = Rng::new(4, Stream::Test, 0);
        let values = (0..40 * 30).map(|i| 0.2 + 0.2 * rng.uniform(i)).collect();
        let (noise, by, device) = (Noise(Pixels { values, ..Pixels::new(40, 30, 1) }), doubling(), Device::cpu());
        let relit = Relit { source: &noise, by: &by, device: &device };
        let whole = relit.read(Area { x: 0, y: 0, width: 40, height: 30 }).unwrap();
        let area = Area { x: 2, y: 11, width: 20, height: 7 };
        let part = relit.read(area).unwrap();
        assert_eq!(part.pixels, whole.pixels.part(area));
        let spread = |band: usize| {
            let values: Vec<f32> =
                whole.pixels.values.iter().skip(band).step_by(2).copied().filter(|v| *v > 0.0).collect();
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32)
        };
        let ((grey, noisy), (lightness, smooth)) = (spread(0), spread(1));
        assert!(abs_diff_eq!(lightness, 2.0 * grey, epsilon = 0.01), "{lightness} of {grey}");
        // Without the filter it would be four times that of the source.
        assert!(smooth < 1.5 * noisy, "{smooth} of {noisy}");
        for (pixel, valid) in part.pixels.values.chunks_exact(2).zip(part.valid.unwrap()) {
            assert_eq!(valid, pixel[1] > 0.0);
        }
    }
}
