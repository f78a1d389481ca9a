use super::*;

fn comparison(model: [f64; 2], mean: [f64; 2], grey: [f64; 2]) -> Comparison {
    Comparison {
        metrics: vec![Metric::new("ab error", "", Better::Lower, 2), Metric::new("PSNR", "dB", Better::Higher, 1)],
        methods: vec![
            ("model".into(), model.to_vec()),
            ("mean colour".into(), mean.to_vec()),
            ("grey copy".into(), grey.to_vec()),
        ],
    }
}

#[test]
fn the_verdict_says_which_baselines_are_beaten_and_by_how_much() {
    let verdict = comparison([6.0, 20.0], [8.0, 18.0], [12.0, 17.0]).verdict();
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
    let second_metric = comparison([6.0, 17.5], [8.0, 18.0], [12.0, 17.0]).verdict();
    assert_eq!(second_metric.tone, Tone::Mixed);
    assert!(second_metric.detail.ends_with("A baseline is at least as good on PSNR."), "{}", second_metric.detail);
    let one_baseline = comparison([9.0, 20.0], [12.0, 18.0], [8.0, 17.0]).verdict();
    assert_eq!(one_baseline.tone, Tone::Mixed);
    assert_eq!(one_baseline.headline, "Beats the mean colour on ab error, but not the grey copy");
    let useless = comparison([9.0, 20.0], [8.0, 18.0], [12.0, 17.0]).verdict();
    assert_eq!(useless.tone, Tone::Bad);
    assert_eq!(useless.headline, "Does not beat the mean colour on ab error, only the grey copy");
    let none = comparison([13.0, 20.0], [8.0, 18.0], [12.0, 17.0]).verdict();
    assert_eq!(
        (none.tone, none.headline.as_str()),
        (Tone::Bad, "Does not beat the mean colour and the grey copy on ab error")
    );
    assert_eq!(comparison([f64::NAN, 20.0], [8.0, 18.0], [12.0, 17.0]).verdict().tone, Tone::Bad);
}

#[test]
fn a_tie_is_no_win() {
    assert_eq!(comparison([8.0, 18.0], [8.0, 18.0], [8.0, 18.0]).verdict().tone, Tone::Bad);
}

#[test]
fn without_baselines_the_verdict_is_open() {
    assert_eq!(Comparison::default().verdict().tone, Tone::Open);
    let mut alone = comparison([6.0, 20.0], [8.0, 18.0], [12.0, 17.0]);
    alone.methods.truncate(1);
    assert_eq!(alone.verdict().tone, Tone::Open);
}

#[test]
fn the_best_of_each_metric_is_marked_and_ties_are_marked_together() {
    let html = comparison([6.0, 18.0], [8.0, 18.0], [12.0, f64::NAN]).to_html();
    let marked: Vec<&str> = html.split("best: </span>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(marked, ["6.00", "18.0", "18.0"]);
    assert!(html.contains("<td>–</td>"));
}

/// Text that breaks a page at every place where it is not escaped.
const HOSTILE: &str = "<script>'\"&";

fn everywhere(text: &str) -> Report {
    let text = || text.to_string();
    let points = vec![(1.0, 2.0), (2.0, 1.0)];
    let mut comparison = comparison([6.0, 20.0], [8.0, 18.0], [12.0, 17.0]);
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
    Report {
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
