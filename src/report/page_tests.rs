use super::*;
use crate::imaging::quality::Better;
use crate::report::chart::{Series, SeriesStyle};
use crate::report::comparison::{Metric, example};

/// Text that breaks a page at every place where it is not escaped.
const HOSTILE: &str = "<script>'\"&";

fn everywhere(text: &str) -> Page {
    let text = || text.to_string();
    let points = vec![(1.0, 2.0), (2.0, 1.0)];
    let mut comparison = example([6.0, 20.0], [8.0, 18.0], [12.0, 17.0]);
    comparison.metrics[0] = Metric::new(text(), text(), Better::Lower, 1);
    comparison.methods[0].0 = text();
    comparison.methods[1].0 = text();
    let chart = Chart {
        title: text(),
        x_label: text(),
        y_label: text(),
        series: vec![Series::new(text(), points, SeriesStyle::Smoothed)],
        ..Chart::default()
    };
    let table = Table { caption: text(), head: vec![text()], rows: vec![vec![text()]] };
    let strip = Strip { name: text(), step: Some(3), panels: vec![text()], png: vec![1, 2, 3] };
    Page {
        ended: Some(7),
        title: text(),
        summary: text(),
        verdict: comparison.verdict(),
        sections: vec![Section {
            heading: text(),
            note: text(),
            blocks: vec![
                Block::Text(text()),
                Block::Chart(chart),
                Block::Comparison(comparison),
                Block::Table(table),
                Block::Facts(vec![(text(), text())]),
                Block::Strips(vec![strip]),
            ],
        }],
    }
}

#[test]
fn every_text_is_escaped() {
    let html = everywhere(HOSTILE).to_html();
    assert!(!html.contains(HOSTILE) && !html.contains("<script>'") && !html.contains("'\"&"));
    // Hostile text adds no tag: the page has those of the page with harmless text.
    let tags = |html: &str| html.matches('<').count();
    assert_eq!(tags(&html), tags(&everywhere("harmless").to_html()));
    assert_eq!(html.matches("\"><").count(), everywhere("harmless").to_html().matches("\"><").count());
}

#[test]
fn the_page_refers_to_nothing_outside_itself() {
    let html = everywhere("x").to_html();
    for reference in ["http:", "https:", "src=\"/", "src=\"file", "<link", "@import", "url(", "fetch("] {
        assert!(!html.contains(reference), "{reference}");
    }
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn every_element_that_opens_closes() {
    let html = everywhere("x").to_html();
    for element in
        ["section", "div", "figure", "figcaption", "table", "tr", "td", "dl", "dd", "ol", "ul", "li", "svg", "p"]
    {
        let opened = html.matches(&format!("<{element}>")).count() + html.matches(&format!("<{element} ")).count();
        assert_eq!(opened, html.matches(&format!("</{element}>")).count(), "{element}");
        assert!(opened > 0, "{element}");
    }
}

#[test]
fn a_table_sets_columns_of_numbers_right_aligned() {
    let rows = vec![vec!["1".into(), "sgd".into()], vec!["−2.5".into(), "1e-4".into()], vec!["–".into(), "3".into()]];
    let html = Table { head: vec!["epoch".into(), "what".into()], rows, ..Table::default() }.to_html();
    assert_eq!(html.matches("class=\"n\"").count(), 4);
    assert!(html.contains("<td>sgd</td>") && html.contains("<td class=\"n\">−2.5</td>"));
}

#[test]
fn a_written_report_is_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let report = everywhere("x");
    report.write(&path).unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), report.to_html());
}

#[test]
fn a_page_says_which_update_a_training_ended_with() {
    assert_eq!(ended_of(&everywhere("x").to_html()), Some(7));
    assert_eq!(ended_of(&Page::default().to_html()), None);
}
