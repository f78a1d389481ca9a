//! The verdict on a model, by the metrics of a comparison: the rules and the words.

use crate::report::comparison::Comparison;
use crate::report::html::escape;
use std::fmt::{Display, Write};

/// How good the news is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// The model beats every baseline.
    Good,
    /// It beats some of them.
    Mixed,
    /// It beats none, or not the one that matters.
    Bad,
    /// There are no baselines.
    #[default]
    Open,
}

/// The first thing on the page: does the model beat the baselines?
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// Sets the colour and the mark before the headline.
    pub tone: Tone,
    /// The answer in one line.
    pub headline: String,
    /// The numbers behind it in a sentence.
    pub detail: String,
    /// What the bars measure, e.g. `Mean ab error, lower is better`; unused without bars.
    pub bars_label: String,
    /// One bar a method, the model first: its name, its value (bar length, at least 0) and its text.
    pub bars: Vec<(String, f64, String)>,
}

impl Comparison {
    /// Whether the model (the first method) beats every other, judged by the first metric; the others can turn a good
    /// verdict into a mixed one. A difference whose 95 % interval holds 0 is none.
    pub fn verdict(&self) -> Verdict {
        let (Some(lead), [(model, values), baselines @ ..]) = (self.metrics.first(), self.methods.as_slice()) else {
            return Verdict { headline: "There is nothing to compare with".into(), ..Verdict::default() };
        };
        let value = |values: &[f64], metric: usize| values.get(metric).copied().unwrap_or(f64::NAN);
        let beats = |metric: usize, other: &[f64]| {
            self.metrics[metric].better.prefers(value(values, metric), value(other, metric))
        };
        let interval = |baseline: usize| self.apart.get(baseline).copied().flatten();
        let doubtful = |baseline: usize| interval(baseline).is_some_and(|[low, high]| low <= 0.0 && high >= 0.0);
        let names = |which: &dyn Fn(usize, &[f64]) -> bool| {
            let chosen = baselines.iter().enumerate().filter(|(i, (_, other))| which(*i, other));
            list(&chosen.map(|(_, (name, _))| format!("the {name}")).collect::<Vec<_>>())
        };
        let loses = |metric: usize, other: &[f64]| !beats(metric, other) && !value(other, metric).is_nan();
        let losing: Vec<&str> = (1..self.metrics.len())
            .filter(|&metric| baselines.iter().any(|(_, other)| loses(metric, other)))
            .map(|metric| self.metrics[metric].name.as_str())
            .collect();
        let won = names(&|i, other| beats(0, other) && !doubtful(i));
        let lost = names(&|i, other| loses(0, other) && !doubtful(i));
        let unclear = names(&|i, _| doubtful(i));
        let useful = baselines.first().is_some_and(|(_, first)| beats(0, first)) && !doubtful(0);
        let (tone, headline) = match (won.is_empty(), lost.is_empty()) {
            _ if !unclear.is_empty() => {
                let tone = if useful { Tone::Mixed } else { Tone::Bad };
                let but = match (won.is_empty(), lost.is_empty()) {
                    (true, true) => String::new(),
                    (false, true) => format!(", only beats {won}"),
                    (true, false) => format!(", and does not beat {lost}"),
                    (false, false) => format!(", beats {won}, but not {lost}"),
                };
                (tone, format!("No clear difference from {unclear} on {}{but}", lead.name))
            }
            (true, true) => (Tone::Open, "There is nothing to compare with".to_string()),
            (false, true) if losing.is_empty() => (Tone::Good, format!("Beats {won} on every metric")),
            (false, true) => (Tone::Mixed, format!("Beats {won} on {}, not on every metric", lead.name)),
            (false, false) if useful => (Tone::Mixed, format!("Beats {won} on {}, but not {lost}", lead.name)),
            (false, false) => (Tone::Bad, format!("Does not beat {lost} on {}, only {won}", lead.name)),
            (true, false) => (Tone::Bad, format!("Does not beat {lost} on {}", lead.name)),
        };
        let own = value(values, 0);
        let versus = |(i, (name, other)): (usize, &(String, Vec<f64>))| {
            let (other, percent) = (value(other, 0), 100.0 * (own - value(other, 0)) / value(other, 0).abs());
            let way = if percent < 0.0 { "below" } else { "above" };
            let share = percent.abs().round();
            let sure = interval(i).map_or_else(String::new, |[low, high]| {
                let (low, high) = (lead.number(low), lead.number(high));
                format!("; 95\u{202f}% interval of the difference {low} to {high}")
            });
            percent.is_finite().then(|| format!("{share}\u{202f}% {way} the {name} ({}{sure})", lead.show(other)))
        };
        let mut detail = format!("{} {}", capitalised(&lead.name), lead.show(own));
        let others: Vec<String> = baselines.iter().enumerate().filter_map(versus).collect();
        if !others.is_empty() {
            let _ = write!(detail, ": {}", list(&others));
        }
        detail.push('.');
        if !losing.is_empty() {
            let _ = write!(detail, " A baseline is at least as good on {}.", list(&losing));
        }
        Verdict {
            tone,
            headline,
            detail,
            bars_label: format!("{}, {}", capitalised(&lead.name), lead.better.words()),
            bars: [(model, values)]
                .into_iter()
                .chain(baselines.iter().map(|(name, values)| (name, values)))
                .map(|(name, values)| (name.clone(), value(values, 0), lead.show(value(values, 0))))
                .filter(|bar| bar.1.is_finite())
                .collect(),
        }
    }
}

impl Verdict {
    pub(super) fn to_html(&self) -> String {
        let (class, mark) = match self.tone {
            Tone::Good => ("good", "✓"),
            Tone::Mixed => ("mixed", "◐"),
            Tone::Bad => ("bad", "✕"),
            Tone::Open => ("open", "–"),
        };
        let (headline, detail) = (escape(&self.headline), escape(&self.detail));
        let mut html = format!(
            "<section class=\"verdict {class}\">\n<div><h2><span class=\"mark\" aria-hidden=\"true\">{mark}</span>\
             {headline}</h2><p>{detail}</p></div>\n"
        );
        let longest = self.bars.iter().map(|bar| bar.1).fold(0.0, f64::max);
        if longest > 0.0 {
            let _ = write!(html, "<div class=\"bars\"><p>{}</p><dl>", escape(&self.bars_label));
            for (name, value, text) in &self.bars {
                let share = (100.0 * value / longest).max(0.0);
                let (name, text) = (escape(name), escape(text));
                let _ = write!(html, "<dt>{name}</dt><dd><i style=\"width:{share:.1}%\"></i><span>{text}</span></dd>");
            }
            html.push_str("</dl></div>\n");
        }
        html + "</section>\n"
    }
}

/// `text` with its first letter in upper case, to begin a sentence.
fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// `a`, `a and b`, `a, b and c`.
fn list<T: Display>(items: &[T]) -> String {
    let mut text = String::new();
    for (i, item) in items.iter().enumerate() {
        let joint = match i {
            0 => "",
            _ if i + 1 == items.len() => " and ",
            _ => ", ",
        };
        let _ = write!(text, "{joint}{item}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::comparison::example;

    #[test]
    fn the_verdict_says_which_baselines_are_beaten_and_by_how_much() {
        let verdict = example([6.0, 20.0], [8.0, 18.0], [12.0, 17.0]).verdict();
        assert_eq!(verdict.tone, Tone::Good);
        assert_eq!(verdict.headline, "Beats the mean colour and the grey copy on every metric");
        assert_eq!(
            verdict.detail,
            "Ab error 6.00: 25\u{202f}% below the mean colour (8.00) and 50\u{202f}% below the grey copy (12.00)."
        );
        assert_eq!(verdict.bars.len(), 3);
    }

    #[test]
    fn a_model_that_loses_somewhere_gets_no_good_verdict() {
        let second_metric = example([6.0, 17.5], [8.0, 18.0], [12.0, 17.0]).verdict();
        assert_eq!(second_metric.tone, Tone::Mixed);
        assert!(second_metric.detail.ends_with("A baseline is at least as good on PSNR."), "{}", second_metric.detail);
        let one_baseline = example([9.0, 20.0], [12.0, 18.0], [8.0, 17.0]).verdict();
        assert_eq!(one_baseline.tone, Tone::Mixed);
        assert_eq!(one_baseline.headline, "Beats the mean colour on ab error, but not the grey copy");
        let useless = example([9.0, 20.0], [8.0, 18.0], [12.0, 17.0]).verdict();
        assert_eq!(useless.tone, Tone::Bad);
        assert_eq!(useless.headline, "Does not beat the mean colour on ab error, only the grey copy");
        let none = example([13.0, 20.0], [8.0, 18.0], [12.0, 17.0]).verdict();
        assert_eq!(
            (none.tone, none.headline.as_str()),
            (Tone::Bad, "Does not beat the mean colour and the grey copy on ab error")
        );
        assert_eq!(example([f64::NAN, 20.0], [8.0, 18.0], [12.0, 17.0]).verdict().tone, Tone::Bad);
    }

    #[test]
    fn a_tie_is_no_win() {
        assert_eq!(example([8.0, 18.0], [8.0, 18.0], [8.0, 18.0]).verdict().tone, Tone::Bad);
    }

    #[test]
    fn without_baselines_the_verdict_is_open() {
        assert_eq!(Comparison::default().verdict().tone, Tone::Open);
        let mut alone = example([6.0, 20.0], [8.0, 18.0], [12.0, 17.0]);
        alone.methods.truncate(1);
        assert_eq!(alone.verdict().tone, Tone::Open);
    }
}
