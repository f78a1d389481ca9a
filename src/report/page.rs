//! A page that people look at: one HTML file that opens anywhere without a connection.
//!
//! A caller fills a [`Page`] and writes it; the page holds its style, script, curves and images itself.

use std::fmt::Write;
use std::path::Path;

use crate::error::Result;
use crate::files::write_whole;
use crate::report::chart::Chart;
use crate::report::comparison::Comparison;
use crate::report::html::{base64, escape};
use crate::report::verdict::Verdict;

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// A page from its top to its end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// Of a training: the update that it ended with, 0 while it goes on. For programs that read the page, see
    /// [`ended_of`].
    pub ended: Option<u64>,
    /// Heading of the page, the network and what it was trained on.
    pub title: String,
    /// One line under the heading: what was trained, on what, for how long.
    pub summary: String,
    /// What a reader should know first.
    pub verdict: Verdict,
    /// The rest, in order.
    pub sections: Vec<Section>,
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
    /// Sample images.
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

/// A sample strip: images side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Strip {
    /// What was coloured, e.g. the file's name.
    pub name: String,
    /// The step of the weights that coloured it.
    pub step: Option<u64>,
    /// A caption for each image of the strip from left to right, e.g. source, predicted, truth; equal widths.
    pub panels: Vec<String>,
    /// The strip as a PNG file.
    pub png: Vec<u8>,
}

/// What stands before the update that a training ended with.
const ENDED: &str = "<meta name=\"huetape-ended\" content=\"";

/// [`Page::ended`] of a page that was written before.
pub fn ended_of(html: &str) -> Option<u64> {
    let (_, after) = html.split_once(ENDED)?;
    after.split_once('"')?.0.parse().ok()
}

impl Page {
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
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             {3}<title>{0}</title>\n<style>\n{STYLE}</style>\n</head>\n\
             <body>\n<header>\n<h1>{0}</h1>\n<p class=\"summary\">{1}</p>\n{2}</header>\n<main>\n",
            escape(&self.title),
            escape(&self.summary),
            self.verdict.to_html(),
            self.ended.map(|step| format!("{ENDED}{step}\">\n")).unwrap_or_default(),
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
            "<figure class=\"strip{wide}\" style=\"--panels:{panels}\"><figcaption>{name}</figcaption>\
             <div class=\"scroll\">\
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

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
