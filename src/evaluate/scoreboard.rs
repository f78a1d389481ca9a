//! The figures of many images: their means, the comparison that a verdict is made of, and the files that hold them.

use crate::evaluate::baselines::Method;
use crate::evaluate::interval::interval_of_mean;
use crate::imaging::quality::{Better, Measure, Scores};
use crate::report::comparison::{Comparison, Metric};
use crate::report::verdict::Verdict;
use serde_json::{Map, Value};
use std::fmt::Write;

/// The figures of images in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scoreboard {
    /// The images.
    pub images: Vec<ImageScores>,
    /// Pixels a side of the centres that were judged, at most, where not whole images were.
    pub crop: Option<usize>,
    /// Side of the windows, pixels, where the images are those of a scene.
    pub windows: Option<usize>,
}

/// The figures of one image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageScores {
    /// Its name: that of the source without the ending.
    pub name: String,
    /// The figures of each method, the model first; the same methods for every image.
    pub methods: Vec<(Method, Scores)>,
    /// dB of each band by itself, method by method; empty where targets are colours or have one band.
    pub band_psnr: Vec<Vec<f64>>,
    /// Colourfulness of the truth, where it has colours.
    pub truth_colourfulness: Option<f64>,
}

impl ImageScores {
    /// Takes away what needs the neighbours of pixels, of an image whose pixels are not beside their own.
    pub(super) fn forget_neighbours(&mut self) {
        self.methods.iter_mut().for_each(|(_, scores)| scores.set(Measure::Ssim, f64::NAN));
    }

    /// A figure of the model.
    pub fn of_model(&self, measure: Measure) -> Option<f64> {
        self.methods.first().and_then(|(_, scores)| scores.get(measure))
    }
}

impl Scoreboard {
    /// What was judged: `1 picture`, `12 pictures`, `the centres of 12 pictures, 256x256 at most`.
    pub fn pictures(&self) -> String {
        let count = match self.images.len() {
            1 => "1 picture".to_owned(),
            several => format!("{several} pictures"),
        };
        if let Some(side) = self.windows {
            return format!("{} of {side}x{side} at most", count.replace("picture", "window"));
        }
        match self.crop {
            None => count,
            Some(side) => format!("the centres of {count}, {side}x{side} at most"),
        }
    }

    /// The means of each method over the images, the model first.
    pub fn means(&self) -> Vec<(Method, Scores)> {
        let methods = self.images.first().map_or(&[][..], |image| &image.methods);
        let mean = |i: usize| Scores::mean(self.images.iter().map(move |image| &image.methods[i].1));
        methods.iter().enumerate().map(|(i, (method, _))| (*method, mean(i))).collect()
    }

    /// Mean colourfulness of the truths, where they have colours.
    pub fn truth_colourfulness(&self) -> Option<f64> {
        let sum: Option<f64> = self.images.iter().map(|image| image.truth_colourfulness).sum();
        sum.map(|sum| sum / self.images.len() as f64).filter(|mean| !mean.is_nan())
    }

    /// The measures that some method has.
    pub fn measures(&self) -> Vec<Measure> {
        let means = self.means();
        Measure::ALL.into_iter().filter(|measure| means.iter().any(|(_, s)| s.get(*measure).is_some())).collect()
    }

    /// The measure that decides which image is better and whether the model beats a baseline: the ab error where there
    /// are colours, since their lightness comes from the source, else PSNR.
    pub fn lead(&self) -> Measure {
        if self.measures().contains(&Measure::AbError) { Measure::AbError } else { Measure::Psnr }
    }

    /// The table of a page, of those of `measures` that there are and that improve one way.
    pub fn comparison(&self, measures: &[Measure]) -> Comparison {
        let there = self.measures();
        let shown: Vec<(Measure, Better)> = measures
            .iter()
            .filter(|measure| there.contains(measure))
            .filter_map(|measure| Some((*measure, measure.better()?)))
            .collect();
        let values = |scores: &Scores| shown.iter().map(|(m, _)| scores.get(*m).unwrap_or(f64::NAN)).collect();
        Comparison {
            metrics: shown.iter().map(|(m, better)| Metric::new(m.name(), m.unit(), *better, m.decimals())).collect(),
            methods: self.means().iter().map(|(method, s)| (method.name().to_owned(), values(s))).collect(),
            apart: shown.first().map_or_else(Vec::new, |(measure, _)| self.apart(*measure)),
        }
    }

    /// PSNR of each band by itself, means over the images; `None` where targets are colours or have one band.
    pub fn by_band(&self) -> Option<Comparison> {
        let first = self.images.first()?;
        let bands = first.band_psnr.first()?.len();
        let count = self.images.len() as f64;
        let mean = |method: usize, band: usize| {
            self.images.iter().map(|image| image.band_psnr[method][band]).sum::<f64>() / count
        };
        let (unit, better) = (Measure::Psnr.unit(), Measure::Psnr.better()?);
        let metric = |band| Metric::new(format!("PSNR of band {band}"), unit, better, Measure::Psnr.decimals());
        let row = |(i, (method, _)): (usize, &(Method, Scores))| {
            (method.name().to_owned(), (0..bands).map(|band| mean(i, band)).collect())
        };
        Some(Comparison {
            metrics: (1..=bands).map(metric).collect(),
            methods: first.methods.iter().enumerate().map(row).collect(),
            apart: Vec::new(),
        })
    }

    /// The 95 % interval of the mean of what the model has more than each baseline by a measure, image by image.
    fn apart(&self, measure: Measure) -> Vec<Option<[f64; 2]>> {
        let baselines = 1..self.images.first().map_or(1, |image| image.methods.len());
        let of = |image: &ImageScores, method: usize| image.methods[method].1.get(measure);
        baselines
            .map(|baseline| {
                let differences = self.images.iter().map(|image| Some(of(image, 0)? - of(image, baseline)?));
                interval_of_mean(&differences.collect::<Option<Vec<f64>>>()?)
            })
            .collect()
    }

    /// Whether the model beats the baselines: one verdict for a training's end, its report and `evaluate`.
    pub fn verdict(&self) -> Verdict {
        self.decisive().verdict()
    }

    /// The measures that the verdict is made of, the lead first.
    pub fn decisive(&self) -> Comparison {
        match self.lead() {
            Measure::Psnr => self.comparison(&[Measure::Psnr, Measure::Ssim, Measure::SpectralAngle]),
            lead => self.comparison(&[lead, Measure::DeltaE2000, Measure::Psnr, Measure::Ssim]),
        }
    }

    /// The means as JSON: `{"model": {"psnr": …, …}, "mean_colour": {…}, …, "images": N}`. A measure that makes no
    /// sense, or is infinite (PSNR where all images are equal), is `null`.
    pub fn to_json(&self) -> Value {
        let object = |scores: &Scores| -> Value {
            let value = |measure: Measure| scores.get(measure).map_or(Value::Null, Value::from);
            Measure::ALL.iter().map(|measure| (measure.key().to_owned(), value(*measure))).collect::<Map<_, _>>().into()
        };
        let mut json: Map<String, Value> =
            self.means().iter().map(|(method, scores)| (method.key().to_owned(), object(scores))).collect();
        json.insert("images".into(), self.images.len().into());
        json.insert("target_colourfulness".into(), self.truth_colourfulness().map_or(Value::Null, Value::from));
        json.into()
    }

    /// One line for each image and method: `image,method,` and the measures by their names in files. A measure that
    /// makes no sense is empty; an infinite one is `inf`.
    pub fn to_csv(&self) -> String {
        let mut csv = "image,method".to_owned();
        Measure::ALL.iter().for_each(|measure| csv.extend([",", measure.key()]));
        csv.push('\n');
        for image in &self.images {
            for (method, scores) in &image.methods {
                let _ = write!(csv, "{},{}", quoted(&image.name), method.key());
                for measure in Measure::ALL {
                    let value = scores.get(measure).map_or(String::new(), |value| value.to_string());
                    let _ = write!(csv, ",{value}");
                }
                csv.push('\n');
            }
        }
        csv
    }
}

/// A field of a CSV file (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(of: &[(Measure, f64)]) -> Scores {
        let mut scores = Scores::default();
        of.iter().for_each(|(measure, value)| scores.set(*measure, *value));
        scores
    }

    fn board() -> Scoreboard {
        let image = |name: &str, model: &[(Measure, f64)], copy: &[(Measure, f64)]| ImageScores {
            name: name.into(),
            methods: vec![(Method::Model, scores(model)), (Method::GreyCopy, scores(copy))],
            band_psnr: vec![vec![model[0].1, 1.0], vec![3.0, 4.0]],
            truth_colourfulness: None,
        };
        let psnr = |value| (Measure::Psnr, value);
        let angle = |value| (Measure::SpectralAngle, value);
        Scoreboard {
            images: vec![
                image("a", &[psnr(10.0), angle(4.0)], &[psnr(5.5)]),
                image("b, c", &[psnr(20.0)], &[psnr(f64::INFINITY)]),
            ],
            ..Scoreboard::default()
        }
    }

    #[test]
    fn json_holds_the_means_by_method_and_null_where_there_is_none() {
        let json = board().to_json();
        assert_eq!(json["images"], 2);
        assert_eq!((json["model"]["psnr"].as_f64(), json["model"]["spectral_angle"].as_f64()), (Some(15.0), Some(4.0)));
        assert!(json["model"]["ab_error"].is_null() && json["grey_copy"]["psnr"].is_null());
        assert!(json["target_colourfulness"].is_null() && json.get("mean_colour").is_none());
    }

    #[test]
    fn csv_has_a_line_for_each_picture_and_method() {
        let csv = board().to_csv();
        let lines: Vec<&str> = csv.lines().collect();
        assert!(lines[0].starts_with("image,method,ab_error,"));
        assert_eq!(lines.len(), 5);
        assert!(lines[1].starts_with("a,model,,,,10,,") && lines[3].starts_with("\"b, c\",model,,,,20,,"), "{csv}");
        assert!(lines[4].contains(",inf,"));
        let commas = Measure::ALL.len() + 1;
        assert!(lines[1].matches(',').count() == commas && lines[4].matches(',').count() == commas + 1);
    }

    #[test]
    fn a_lead_that_chance_explains_is_no_clear_difference() {
        let board = |lead: &dyn Fn(usize) -> f64| Scoreboard {
            images: (0..40)
                .map(|i| ImageScores {
                    name: i.to_string(),
                    methods: [9.0 + lead(i), 9.0, 20.0]
                        .into_iter()
                        .zip([Method::Model, Method::MeanColour, Method::GreyCopy])
                        .map(|(error, method)| (method, scores(&[(Measure::AbError, error)])))
                        .collect(),
                    ..ImageScores::default()
                })
                .collect(),
            ..Scoreboard::default()
        };
        // A tenth better on the whole, three better or worse on each image.
        let doubtful = board(&|i| if i % 2 == 0 { 2.9 } else { -3.1 }).verdict();
        assert_eq!(doubtful.headline, "No clear difference from the mean colour on ab error, only beats the grey copy");
        let said = "1\u{202f}% below the mean colour (9.00; 95\u{202f}% interval of the difference";
        assert!(doubtful.detail.contains(said), "{}", doubtful.detail);
        let sure = board(&|i| if i % 2 == 0 { -0.05 } else { -0.15 }).verdict();
        assert_eq!(sure.headline, "Beats the mean colour and the grey copy on every metric");
    }

    #[test]
    fn without_colours_the_verdict_goes_by_psnr() {
        let board = board();
        assert_eq!(board.lead(), Measure::Psnr);
        let names: Vec<String> = board.decisive().metrics.into_iter().map(|metric| metric.name).collect();
        assert_eq!(names, ["PSNR", "spectral angle"]);
        assert_eq!(board.verdict().headline, "Does not beat the grey copy on PSNR");
        let by_band = board.by_band().unwrap();
        assert_eq!(by_band.metrics[1].name, "PSNR of band 2");
        assert_eq!(by_band.methods, [("model".to_owned(), vec![15.0, 1.0]), ("grey copy".to_owned(), vec![3.0, 4.0])]);
        let colour = Scoreboard {
            images: vec![ImageScores {
                name: "a".into(),
                methods: vec![(Method::Model, scores(&[(Measure::AbError, 3.0), (Measure::CopyRatio, 2.0)]))],
                truth_colourfulness: Some(30.0),
                ..ImageScores::default()
            }],
            crop: Some(64),
            ..Scoreboard::default()
        };
        assert_eq!(
            (board.pictures(), colour.pictures()),
            ("2 pictures".into(), "the centres of 1 picture, 64x64 at most".into())
        );
        assert_eq!(colour.by_band(), None);
        assert_eq!((colour.lead(), colour.truth_colourfulness()), (Measure::AbError, Some(30.0)));
        // What improves neither way is in no comparison.
        assert_eq!(colour.comparison(&Measure::ALL).metrics.len(), 1);
    }
}
