//! What weights that are passed on say for people: what they are for, what they were trained on, how good they are.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The measures that are kept of an evaluation, by their names in files.
const KEPT: [&str; 6] = ["ab_error", "delta_e_2000", "psnr", "ssim", "colourfulness", "copy_ratio"];

/// What weights that are passed on say for people, beside what programs need to run them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct About {
    /// Their name, e.g. `grey`.
    pub name: String,
    /// What they are for, in a line.
    pub purpose: String,
    /// What they were trained on, in words.
    pub data: String,
    /// Under what they may be used, and whom to name.
    pub licence: String,
    /// When they were made, as `YYYY-MM-DD`.
    pub date: String,
    /// How good they are, by what they were judged on.
    pub figures: BTreeMap<String, Figures>,
}

/// The figures of an evaluation, means over whole images.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Figures {
    /// Images that were judged.
    pub images: u64,
    /// Colourfulness of the truth, where it has colours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_colourfulness: Option<f64>,
    /// The measures of the model and of each baseline, all by their names in files: `model`, `mean_colour`, ...;
    /// `psnr`, `ab_error`, ...
    pub methods: BTreeMap<String, BTreeMap<String, f64>>,
}

impl About {
    /// Refuses a description that leaves something out.
    ///
    /// # Errors
    /// The first of the texts that is missing or broken into lines; a date that is none.
    pub fn check(&self) -> Result<()> {
        let texts = [
            ("name", &self.name),
            ("purpose", &self.purpose),
            ("data", &self.data),
            ("licence", &self.licence),
            ("date", &self.date),
        ];
        for (what, text) in texts {
            crate::ensure!(
                !text.trim().is_empty() && !text.contains(['\n', '\r']),
                Error::input("a line of text is needed", format!("⟨{what}⟩"), format!("say it by ⟨{what}⟩"))
            );
        }
        crate::ensure!(
            is_date(&self.date),
            Error::input("not a date", format!("⟨date⟩ {}", self.date), "write it as 2026-01-31")
        );
        crate::ensure!(
            !self.figures.is_empty(),
            Error::input("how good are the weights?", "⟨figures⟩", "add ⟨figures⟩ NAME=FILE of an evaluation")
        );
        Ok(())
    }
}

/// Whether a text is a day as `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let digits = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    let within = |part: &str, most: u32| part.len() == 2 && part.parse().is_ok_and(|n: u32| (1..=most).contains(&n));
    matches!(parts[..], [year, month, day] if year.len() == 4 && within(month, 12) && within(day, 31))
        && parts.iter().all(digits)
}

impl Figures {
    /// The figures in the JSON of an evaluation; `subject` is what messages call it.
    ///
    /// # Errors
    /// A text that is no such JSON, or without figures of the model.
    pub fn of_json(text: &str, subject: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Evaluation {
            images: u64,
            target_colourfulness: Option<f64>,
            #[serde(flatten)]
            methods: BTreeMap<String, serde_json::Value>,
        }
        let remedy = "use what `huetape evaluate` writes by ⟨json⟩";
        let evaluation: Evaluation = serde_json::from_str(text)
            .map_err(|error| Error::input(format!("not the figures of an evaluation ({error})"), subject, remedy))?;
        crate::ensure!(
            evaluation.images > 0 && evaluation.methods.contains_key("model"),
            Error::input("no figures of a model", subject, remedy)
        );
        // More decimals than anybody reads would be noise in the file.
        let short = |value: f64| (value * 1e4).round() / 1e4;
        let kept = |measures: &serde_json::Value| {
            let value = |measure: &str| Some((measure.to_owned(), short(measures[measure].as_f64()?)));
            KEPT.iter().filter_map(|measure| value(measure)).collect()
        };
        Ok(Figures {
            images: evaluation.images,
            target_colourfulness: evaluation.target_colourfulness.map(short),
            methods: evaluation.methods.iter().map(|(method, found)| (method.clone(), kept(found))).collect(),
        })
    }

    /// A measure of a method, both by their names in files.
    pub fn get(&self, method: &str, measure: &str) -> Option<f64> {
        self.methods.get(method)?.get(measure).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"images": 3, "target_colourfulness": 30.00001,
        "model": {"psnr": 17.123456, "mae": 4.0, "ssim": null}, "mean_colour": {"psnr": 15.5}}"#;

    fn about() -> About {
        let text = |text: &str| text.to_owned();
        About {
            name: text("toy"),
            purpose: text("tests"),
            data: text("drawings"),
            licence: text("CC0"),
            date: text("2026-11-25"),
            figures: BTreeMap::from([(text("drawings"), Figures::of_json(JSON, "scores.json").unwrap())]),
        }
    }

    #[test]
    fn figures_are_those_of_an_evaluation_in_few_digits() {
        let about = about();
        about.check().unwrap();
        let figures = &about.figures["drawings"];
        assert_eq!((figures.images, figures.target_colourfulness), (3, Some(30.0)));
        assert_eq!((figures.get("model", "psnr"), figures.get("mean_colour", "psnr")), (Some(17.1235), Some(15.5)));
        assert_eq!([("model", "mae"), ("model", "ssim"), ("x", "psnr")].map(|(m, n)| figures.get(m, n)), [None; 3]);
        for wrong in ["{}", "[1]", r#"{"images": 0, "model": {}}"#, r#"{"images": 3, "grey_copy": {}}"#] {
            let error = Figures::of_json(wrong, "scores.json").unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("scores.json"), "{error}");
        }
    }

    #[test]
    fn what_leaves_something_out_is_refused_by_name() {
        let cases = [
            (About { name: " ".into(), ..about() }, "name"),
            (About { licence: String::new(), ..about() }, "licence"),
            (About { data: "two\nlines".into(), ..about() }, "data"),
            (About { figures: BTreeMap::new(), ..about() }, "figures"),
            (About { date: "2026-13-01".into(), ..about() }, "date"),
            (About { date: "25.11.2026".into(), ..about() }, "date"),
            (About { date: "+026-01-01".into(), ..about() }, "date"),
        ];
        for (about, named) in cases {
            let error = about.check().unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(named), "{error}");
        }
    }
}
