//! A table of metrics: the model beside the baselines.

use crate::imaging::quality::Better;
use crate::report::html::escape;
use std::fmt::Write;

/// A metric of a [`Comparison`].
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its name, e.g. `PSNR`.
    pub name: String,
    /// Its unit, e.g. `dB`; may be empty.
    pub unit: String,
    /// Which way it improves.
    pub better: Better,
    /// Decimal places to show.
    pub decimals: usize,
}

impl Metric {
    /// A metric called `name` in `unit` (may be empty), shown with `decimals` decimal places.
    pub fn new(name: impl Into<String>, unit: impl Into<String>, better: Better, decimals: usize) -> Self {
        Metric { name: name.into(), unit: unit.into(), better, decimals }
    }

    /// `value` with the metric's decimals and unit.
    pub(super) fn show(&self, value: f64) -> String {
        let number = self.number(value);
        if self.unit.is_empty() { number } else { format!("{number}\u{202f}{}", self.unit) }
    }

    pub(super) fn number(&self, value: f64) -> String {
        match value {
            _ if value.is_nan() => "–".to_string(),
            f64::INFINITY => "∞".to_string(),
            _ => format!("{value:.*}", self.decimals).replace('-', "−"),
        }
    }
}

/// The model's metrics beside those of baselines.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// The metrics; the first decides the verdict.
    pub metrics: Vec<Metric>,
    /// The methods with one value a metric, the model first, after it the baseline that it must beat to be of use; NaN
    /// where a value is missing.
    pub methods: Vec<(String, Vec<f64>)>,
    /// Of each baseline, where it is known: the 95 % interval of the mean over the images of what the model has more
    /// than it by the first metric.
    pub apart: Vec<Option<[f64; 2]>>,
}

impl Comparison {
    pub(super) fn to_html(&self) -> String {
        let mut html = "<div class=\"scroll\"><table class=\"numbers\"><thead><tr><th></th>".to_string();
        for metric in &self.metrics {
            let unit = if metric.unit.is_empty() { String::new() } else { format!(", {}", escape(&metric.unit)) };
            let (name, words, arrow) = (escape(&metric.name), metric.better.words(), metric.better.arrow());
            let _ = write!(
                html,
                "<th scope=\"col\">{name}{unit} <span aria-hidden=\"true\">{arrow}</span>\
                 <span class=\"hidden\">, {words}</span></th>"
            );
        }
        html.push_str("</tr></thead><tbody>\n");
        let column = |i: usize| self.methods.iter().filter_map(move |(_, values)| values.get(i).copied());
        for (row, (name, values)) in self.methods.iter().enumerate() {
            let class = if row == 0 { " class=\"model\"" } else { "" };
            let _ = write!(html, "<tr{class}><th scope=\"row\">{}</th>", escape(name));
            for (i, (metric, &value)) in self.metrics.iter().zip(values).enumerate() {
                let best = !value.is_nan() && !column(i).any(|other| metric.better.prefers(other, value));
                let text = metric.number(value);
                let _ = match best {
                    true => write!(html, "<td class=\"best\"><span class=\"hidden\">best: </span>{text}</td>"),
                    false => write!(html, "<td>{text}</td>"),
                };
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n<p class=\"legend\" aria-hidden=\"true\">");
        for better in [Better::Lower, Better::Higher] {
            if self.metrics.iter().any(|metric| metric.better == better) {
                let _ = write!(html, "<span>{} {}</span>", better.arrow(), better.words());
            }
        }
        html + "<span><i>●</i> best</span></p>\n"
    }
}

/// Three methods by two metrics, for tests.
#[cfg(test)]
pub(super) fn example(model: [f64; 2], mean: [f64; 2], grey: [f64; 2]) -> Comparison {
    Comparison {
        metrics: vec![Metric::new("ab error", "", Better::Lower, 2), Metric::new("PSNR", "dB", Better::Higher, 1)],
        methods: vec![
            ("model".into(), model.to_vec()),
            ("mean colour".into(), mean.to_vec()),
            ("grey copy".into(), grey.to_vec()),
        ],
        apart: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_each_metric_is_marked_and_ties_are_marked_together() {
        let html = example([6.0, 18.0], [8.0, 18.0], [12.0, f64::NAN]).to_html();
        let marked: Vec<&str> =
            html.split("best: </span>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
        assert_eq!(marked, ["6.00", "18.0", "18.0"]);
        assert!(html.contains("<td>–</td>"));
    }
}
