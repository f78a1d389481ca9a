//! `report.html`: what a run did, in one file that opens anywhere without a network.
//!
//! A loop fills a [`Report`] and writes it; the page holds its style, script, curves and pictures itself.

use std::fmt::{Display, Write};
use std::path::Path;

use crate::error::Result;
use crate::files::write_whole;
pub use crate::imaging::quality::Better;
pub use crate::report::chart::{Chart, Scale, Series, SeriesStyle};
use crate::report::html::{base64, escape};

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// A report, from the top of the page to its end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Heading of the page, e.g. `colournet on sentinel`.
    pub title: String,
    /// One line under the heading: what was trained, on what, for how long.
    pub summary: String,
    /// What a reader should know first.
    pub verdict: Verdict,
    /// The rest, in order.
    pub sections: Vec<Section>,
}

/// How a verdict sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// The model beats what it is held against.
    Good,
    /// It beats some of it.
    Mixed,
    /// It does not.
    Bad,
    /// There is nothing to hold it against.
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

/// A part of the page under a heading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Section {
    /// The heading.
    pub heading: String,
    /// A sentence on how to read what follows; may be empty.
    pub note: String,
    /// What follows, in order.
    pub blocks: Vec<Block>,
}

/// Something that a section shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// Curves; a chart without a finite point is left out.
    Chart(Chart),
    /// Metrics of the model beside its baselines, the best of each marked.
    Comparison(Comparison),
    /// Any other table.
    Table(Table),
    /// Names and values: settings, environment.
    Facts(Vec<(String, String)>),
    /// Sample pictures.
    Strips(Vec<Strip>),
}

/// A table. A column whose cells are all numbers is set right-aligned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// What it shows; may be empty.
    pub caption: String,
    /// Column headings.
    pub head: Vec<String>,
    /// Rows of as many cells as there are headings.
    pub rows: Vec<Vec<String>>,
}

/// A sample strip: pictures side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Strip {
    /// What was coloured, e.g. the file's name.
    pub name: String,
    /// The step of the weights that coloured it.
    pub step: Option<u64>,
    /// A caption for each picture of the strip from left to right, e.g. source, predicted, truth; equal widths.
    pub panels: Vec<String>,
    /// The strip as a PNG file.
    pub png: Vec<u8>,
}

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
    fn show(&self, value: f64) -> String {
        let number = self.number(value);
        if self.unit.is_empty() { number } else { format!("{number}\u{202f}{}", self.unit) }
    }

    fn number(&self, value: f64) -> String {
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
    /// The methods with one value a metric, the model first, after it the baseline that it must beat to be of use; NaN where a
    /// value is missing.
    pub methods: Vec<(String, Vec<f64>)>,
}

impl Comparison {
    /// Whether the model (the first method) beats every other, judged by the first metric; the others can turn a good
    /// verdict into a mixed one.
    pub fn verdict(&self) -> Verdict {
        let (Some(lead), [(model, values), baselines @ ..]) = (self.metrics.first(), self.methods.as_slice()) else {
            return Verdict { headline: "There is nothing to compare with".into(), ..Verdict::default() };
        };
        let value = |values: &[f64], metric: usize| values.get(metric).copied().unwrap_or(f64::NAN);
        let beats = |metric: usize, other: &[f64]| {
            self.metrics[metric].better.prefers(value(values, metric), value(other, metric))
        };
        let of = |metric: usize, won: bool| {
            let names =
                baselines.iter().filter(|(_, other)| beats(metric, other) == won && !value(other, metric).is_nan());
            list(&names.map(|(name, _)| format!("the {name}")).collect::<Vec<_>>())
        };
        let losing: Vec<&str> = (1..self.metrics.len())
            .filter(|&metric| !of(metric, false).is_empty())
            .map(|metric| self.metrics[metric].name.as_str())
            .collect();
        let (won, lost) = (of(0, true), of(0, false));
        let useful = baselines.first().is_some_and(|(_, first)| beats(0, first));
        let (tone, headline) = match (won.is_empty(), lost.is_empty()) {
            (true, true) => (Tone::Open, "There is nothing to compare with".to_string()),
            (false, true) if losing.is_empty() => (Tone::Good, format!("Beats {won} on every metric")),
            (false, true) => (Tone::Mixed, format!("Beats {won} on {}, not on every metric", lead.name)),
            (false, false) if useful => (Tone::Mixed, format!("Beats {won} on {}, but not {lost}", lead.name)),
            (false, false) => (Tone::Bad, format!("Does not beat {lost} on {}, only {won}", lead.name)),
            (true, false) => (Tone::Bad, format!("Does not beat {lost} on {}", lead.name)),
        };
        let own = value(values, 0);
        let versus = |(name, other): &(String, Vec<f64>)| {
            let (other, percent) = (value(other, 0), 100.0 * (own - value(other, 0)) / value(other, 0).abs());
            let way = if percent < 0.0 { "below" } else { "above" };
            let share = percent.abs().round();
            percent.is_finite().then(|| format!("{share}\u{202f}% {way} the {name} ({})", lead.show(other)))
        };
        let mut detail = format!("{} {}", capitalised(&lead.name), lead.show(own));
        let others: Vec<String> = baselines.iter().filter_map(versus).collect();
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

    fn to_html(&self) -> String {
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

impl Report {
    /// Writes the page to `path`, whole or not at all.
    ///
    /// # Errors
    ///
    /// Those of [`write_whole`].
    pub fn write(&self, path: &Path) -> Result<()> {
        write_whole(path, self.to_html().as_bytes())
    }

    /// The page.
    pub fn to_html(&self) -> String {
        // The policy is the promise kept by the browser: nothing is loaded from anywhere.
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
             style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{0}</title>\n<style>\n{STYLE}</style>\n</head>\n\
             <body>\n<header>\n<h1>{0}</h1>\n<p class=\"summary\">{1}</p>\n{2}</header>\n<main>\n",
            escape(&self.title),
            escape(&self.summary),
            self.verdict.to_html(),
        );
        for (i, section) in self.sections.iter().enumerate() {
            section.write_html(&mut html, i);
        }
        let _ = write!(
            html,
            "</main>\n<footer>huetape {}</footer>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION")
        );
        html
    }
}

impl Verdict {
    fn to_html(&self) -> String {
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

impl Section {
    fn write_html(&self, html: &mut String, index: usize) {
        let _ = writeln!(html, "<section>\n<h2>{}</h2>", escape(&self.heading));
        if !self.note.is_empty() {
            let _ = writeln!(html, "<p class=\"note\">{}</p>", escape(&self.note));
        }
        for (i, block) in self.blocks.iter().enumerate() {
            html.push_str(&match block {
                Block::Text(text) => format!("<p>{}</p>\n", escape(text)),
                Block::Chart(chart) => chart.to_html(&format!("chart-{index}-{i}")).unwrap_or_default(),
                Block::Comparison(comparison) => comparison.to_html(),
                Block::Table(table) => table.to_html(),
                Block::Facts(facts) => facts_html(facts),
                Block::Strips(strips) => strips_html(strips),
            });
        }
        html.push_str("</section>\n");
    }
}

impl Table {
    fn to_html(&self) -> String {
        let numeric: Vec<bool> = (0..self.head.len())
            .map(|i| self.rows.iter().filter_map(|row| row.get(i)).all(|cell| is_numeric(cell)))
            .collect();
        let class = |i: usize| if numeric.get(i) == Some(&true) { " class=\"n\"" } else { "" };
        let mut html = "<div class=\"scroll\"><table>".to_string();
        if !self.caption.is_empty() {
            let _ = write!(html, "<caption>{}</caption>", escape(&self.caption));
        }
        html.push_str("<thead><tr>");
        for (i, name) in self.head.iter().enumerate() {
            let _ = write!(html, "<th scope=\"col\"{}>{}</th>", class(i), escape(name));
        }
        html.push_str("</tr></thead><tbody>\n");
        for row in &self.rows {
            html.push_str("<tr>");
            for (i, cell) in row.iter().enumerate() {
                let _ = write!(html, "<td{}>{}</td>", class(i), escape(cell));
            }
            html.push_str("</tr>\n");
        }
        html + "</tbody></table></div>\n"
    }
}

/// Whether `cell` starts like a number or stands for a missing one.
fn is_numeric(cell: &str) -> bool {
    cell == "–" || cell.trim_start_matches(['−', '-', '+']).starts_with(|c: char| c.is_ascii_digit())
}

fn facts_html(facts: &[(String, String)]) -> String {
    let mut html = "<dl class=\"facts\">\n".to_string();
    for (name, value) in facts {
        let _ = writeln!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    html + "</dl>\n"
}

fn strips_html(strips: &[Strip]) -> String {
    let mut html = "<div class=\"strips\">\n".to_string();
    for strip in strips {
        let name = match strip.step {
            Some(step) => format!("{}, step {step}", strip.name),
            None => strip.name.clone(),
        };
        let (name, panels) = (escape(&name), strip.panels.len().max(1));
        let wide = if panels > 3 { " wide" } else { "" };
        let alt = format!("{name}, from left to right: {}", escape(&strip.panels.join(", ")));
        let _ = writeln!(
            html,
            "<figure class=\"strip{wide}\" style=\"--panels:{panels}\"><figcaption>{name}</figcaption><div class=\"scroll\">\
             <div class=\"film\"><img alt=\"{alt}\" src=\"data:image/png;base64,{}\">",
            base64(&strip.png)
        );
        html.push_str("<ol>");
        for panel in &strip.panels {
            let _ = write!(html, "<li>{}</li>", escape(panel));
        }
        html.push_str("</ol></div></div></figure>\n");
    }
    html + "</div>\n"
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
#[path = "page_tests.rs"]
mod tests;
