//! The page of an evaluation: the verdict, the tables, the best and the worst images.

use crate::error::Result;
use crate::evaluate::baselines::Method;
use crate::evaluate::evaluator::Judged;
use crate::evaluate::scoreboard::Scoreboard;
use crate::imaging::codec::save::{encode_png, predicted_by};
use crate::imaging::quality::{Measure, Scores};
use crate::report::page::{Block, Page, Section, Strip, Table};
use crate::report::strip::{fit, side_by_side, split_down_the_middle};
use crate::train::samples::{panels, strip_of};
use image::RgbImage;

/// Images that are shown of the best, and of the worst.
const SHOWN: usize = 4;
/// Longest side of an image in a strip, and of one that is split: the page holds them all in itself.
const PANEL_SIDE: u32 = 256;
const SPLIT_SIDE: u32 = 400;
/// Pixels between the images of a strip.
const GAP: u32 = 4;
/// Images whose figures are listed one by one.
const LISTED: usize = 200;

const OF_COLOURS: [Measure; 5] =
    [Measure::AbError, Measure::DeltaE2000, Measure::DeltaE76, Measure::AbAuc, Measure::AbAucRebalanced];
const OF_SAMPLES: [Measure; 6] =
    [Measure::Psnr, Measure::Ssim, Measure::Mse, Measure::Mae, Measure::Nrmse, Measure::SpectralAngle];

const COLOURS_NOTE: &str = "Ab error: mean distance in the ab plane of CIE Lab. ΔE: mean colour difference, lightness \
     included, as CIE 1976 and CIEDE2000 have it. Ab AuC: area under the curve of the share of pixels within an ab \
     distance, 0 to 150; rebalanced, rare colours of the training count as much as frequent ones.";
const SAMPLES_NOTE: &str = "Over all bands of the pictures rounded to 8 bits; the lightness counts, which may come \
     from the source. SSIM: Gaussian window of 1.5 pixels. NRMSE: by the norm of the truth. Spectral angle: between \
     the values of a pixel over all bands.";
const FURTHER_NOTE: &str = "Colourfulness should be that of the truth: below it lies a picture of cautious, averaged \
     colours. Copy ratio: the distance from a copy of the source over the distance from the truth; well below 1, the \
     source has been copied.";
const SPLIT_NOTE: &str = "The left half is true, the right half predicted. Where the seam cannot be seen, the colours \
     are plausible; two pictures side by side would make the eye look for differences that nobody would miss.";

/// The best and the worst images as they are judged, made small.
#[derive(Debug, Clone, Default)]
pub struct Gallery {
    /// By falling quality, from the best.
    best: Vec<Exhibit>,
    /// By rising quality, from the worst.
    worst: Vec<Exhibit>,
    seen: usize,
}

/// An image on the page.
#[derive(Debug, Clone)]
struct Exhibit {
    number: usize,
    name: String,
    /// Its rank: the lower the better.
    badness: f64,
    strip: RgbImage,
    split: RgbImage,
    bands: usize,
}

impl Gallery {
    /// Takes an image in if it is among the best or the worst so far, by the figure of the model that decides.
    ///
    /// # Errors
    /// Images of different sizes.
    pub fn add(&mut self, judged: &Judged) -> Result<()> {
        self.seen += 1;
        let scores = &judged.scores;
        let ab_error = scores.of_model(Measure::AbError);
        let psnr = scores.of_model(Measure::Psnr).unwrap_or(f64::NAN);
        let badness = ab_error.unwrap_or(-psnr);
        let full = |shown: &[Exhibit], fits: fn(f64, f64) -> bool| {
            shown.len() == SHOWN && shown.last().is_some_and(|last| !fits(badness, last.badness))
        };
        let (good, bad) = (!full(&self.best, |a, b| a < b), !full(&self.worst, |a, b| a > b));
        if !good && !bad {
            return Ok(());
        }
        let pictures = strip_of(&judged.source, &judged.made, &judged.truth);
        let split = fit(&split_down_the_middle(&pictures[2], &pictures[1])?, SPLIT_SIDE);
        let pictures: Vec<RgbImage> = pictures.iter().map(|picture| fit(picture, PANEL_SIDE)).collect();
        let figure = |measure: Measure, value: f64| format!("{} {value:.*}", measure.name(), measure.decimals());
        let figures: Vec<String> = ab_error
            .map(|value| figure(Measure::AbError, value))
            .into_iter()
            .chain([format!("{} dB", figure(Measure::Psnr, psnr))])
            .collect();
        let exhibit = Exhibit {
            number: self.seen,
            name: format!("{}: {}", scores.name, figures.join(", ")),
            badness,
            strip: side_by_side(&pictures.iter().collect::<Vec<_>>(), GAP)?,
            split,
            bands: judged.truth.bands(),
        };
        if bad {
            self.worst.push(exhibit.clone());
            self.worst.sort_by(|a, b| b.badness.total_cmp(&a.badness));
            self.worst.truncate(SHOWN);
        }
        if good {
            self.best.push(exhibit);
            self.best.sort_by(|a, b| a.badness.total_cmp(&b.badness));
            self.best.truncate(SHOWN);
        }
        Ok(())
    }

    /// The exhibits by heading: best and worst, or, where they are few, all in one row.
    fn rooms(&self) -> Vec<(&'static str, Vec<&Exhibit>)> {
        if self.seen > 2 * SHOWN {
            return vec![
                ("Best pictures", self.best.iter().collect()),
                ("Worst pictures", self.worst.iter().collect()),
            ];
        }
        let shown = |exhibit: &&Exhibit| self.best.iter().all(|best| best.number != exhibit.number);
        let rest = self.worst.iter().rev().filter(shown);
        vec![("Pictures, the best first", self.best.iter().chain(rest).collect())]
    }
}

/// The page. `facts` say what was evaluated, by name.
///
/// # Errors
/// None for images that a [`Gallery`] has taken in.
pub fn evaluation_page(
    model: &str,
    board: &Scoreboard,
    gallery: &Gallery,
    facts: Vec<(String, String)>,
) -> Result<Page> {
    let methods = board.means();
    let mut page = Page {
        ended: None,
        title: format!("How good is {model}?"),
        summary: format!(
            "Means over {}, beside what needs no network; colours marked as predicted are {model}'s.",
            board.pictures()
        ),
        verdict: board.verdict(),
        sections: Vec::new(),
    };
    for (heading, note, measures) in
        [("Colours", COLOURS_NOTE, &OF_COLOURS[..]), ("Samples", SAMPLES_NOTE, &OF_SAMPLES[..])]
    {
        let comparison = board.comparison(measures);
        if !comparison.metrics.is_empty() {
            page.sections.push(section(heading, note, vec![Block::Comparison(comparison)]));
        }
    }
    if let Some(by_band) = board.by_band() {
        page.sections.push(section("Bands", "PSNR of each band by itself.", vec![Block::Comparison(by_band)]));
    }
    let further = further(board, &methods);
    if further.head.len() > 1 {
        page.sections.push(section("Colourful, or copied?", FURTHER_NOTE, vec![Block::Table(further)]));
    }
    let rooms = gallery.rooms();
    for (heading, exhibits) in &rooms {
        let strips = exhibits.iter().map(|exhibit| {
            let captions = panels(exhibit.bands).iter().map(|panel| (*panel).to_owned()).collect();
            strip(&exhibit.name, captions, &exhibit.strip, model)
        });
        page.sections.push(section(heading, "", vec![Block::Strips(strips.collect())]));
    }
    let splits = rooms
        .iter()
        .flat_map(|(_, exhibits)| exhibits)
        .map(|exhibit| strip(&exhibit.name, vec!["truth".to_owned(), "predicted".to_owned()], &exhibit.split, model));
    page.sections.push(section("Can you see the seam?", SPLIT_NOTE, vec![Block::Strips(splits.collect())]));
    let (table, note) = listing(board);
    page.sections.push(section("Every picture", &note, vec![Block::Table(table)]));
    page.sections.push(section("What was evaluated", "", vec![Block::Facts(facts)]));
    Ok(page)
}

fn section(heading: &str, note: &str, blocks: Vec<Block>) -> Section {
    Section { heading: heading.into(), note: note.into(), blocks }
}

fn strip(name: &str, panels: Vec<String>, picture: &RgbImage, model: &str) -> Strip {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let png = encode_png(picture.as_raw(), width, height, Some(&predicted_by(model)));
    Strip { name: name.into(), step: None, panels, png }
}

fn cell(measure: Measure, value: Option<f64>) -> String {
    match value {
        Some(f64::INFINITY) => "∞".to_owned(),
        Some(value) => format!("{value:.*}", measure.decimals()).replace('-', "−"),
        None => "–".to_owned(),
    }
}

/// The measures that improve neither way, by method; the truth has a line of its own.
fn further(board: &Scoreboard, methods: &[(Method, Scores)]) -> Table {
    let measures: Vec<Measure> = board.measures().into_iter().filter(|measure| measure.better().is_none()).collect();
    let row = |name: &str, value: &dyn Fn(Measure) -> Option<f64>| {
        [name.to_owned()].into_iter().chain(measures.iter().map(|m| cell(*m, value(*m)))).collect::<Vec<_>>()
    };
    let truth = |measure| board.truth_colourfulness().filter(|_| measure == Measure::Colourfulness);
    let rows = methods.iter().map(|(method, scores)| row(method.name(), &|measure| scores.get(measure)));
    Table {
        caption: String::new(),
        head: row("", &|_| None)
            .into_iter()
            .take(1)
            .chain(measures.iter().map(|measure| measure.name().to_owned()))
            .collect(),
        rows: rows.chain([row("truth", &truth)]).collect(),
    }
}

/// The model's figures, image by image, and a note where not all are listed.
fn listing(board: &Scoreboard) -> (Table, String) {
    let there = board.measures();
    let wanted = [Measure::AbError, Measure::DeltaE2000, Measure::Psnr, Measure::Ssim, Measure::SpectralAngle];
    let shown: Vec<Measure> = wanted.into_iter().filter(|measure| there.contains(measure)).collect();
    let head = |measure: &Measure| match measure.unit() {
        "" => measure.name().to_owned(),
        unit => format!("{}, {unit}", measure.name()),
    };
    let rows = board.images.iter().take(LISTED).map(|image| {
        let figures = shown.iter().map(|measure| cell(*measure, image.of_model(*measure)));
        [image.name.clone()].into_iter().chain(figures).collect()
    });
    let note = match board.images.len() {
        all if all > LISTED => {
            format!("The model's figures; the first {LISTED} of {all}; a CSV file, on request, has all.")
        }
        _ => "The model's figures; a CSV file, on request, has those of the baselines too.".to_owned(),
    };
    let head = ["picture".to_owned()].into_iter().chain(shown.iter().map(head)).collect();
    (Table { caption: String::new(), head, rows: rows.collect() }, note)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::scoreboard::ImageScores;
    use crate::imaging::quality::Image8;

    fn judged(badness: f64) -> Judged {
        let picture = |bands: usize| Image8::new(2, 2, bands, vec![badness as u8; 4 * bands]).unwrap();
        let mut scores = Scores::default();
        scores.set(Measure::AbError, badness);
        scores.set(Measure::Psnr, 50.0 - badness);
        scores.set(Measure::Colourfulness, 7.0);
        let (made, truth) = (picture(3), picture(3));
        let scores = ImageScores {
            name: format!("p{badness}"),
            methods: vec![(Method::Model, scores)],
            band_psnr: Vec::new(),
            truth_colourfulness: Some(9.0),
        };
        Judged { source: picture(1), made, truth, scores }
    }

    fn of(badness: &[f64]) -> (Gallery, Scoreboard) {
        let (mut gallery, mut board) = (Gallery::default(), Scoreboard::default());
        for badness in badness {
            let judged = judged(*badness);
            gallery.add(&judged).unwrap();
            board.images.push(judged.scores);
        }
        (gallery, board)
    }

    fn shown(gallery: &Gallery) -> Vec<(&'static str, Vec<f64>)> {
        let badness = |exhibits: Vec<&Exhibit>| exhibits.iter().map(|exhibit| exhibit.badness).collect();
        gallery.rooms().into_iter().map(|(heading, exhibits)| (heading, badness(exhibits))).collect()
    }

    #[test]
    fn of_many_pictures_the_best_and_the_worst_hang() {
        let (gallery, _) = of(&[5.0, 1.0, 9.0, 4.0, 6.0, 2.0, 8.0, 3.0, 7.0]);
        assert_eq!(
            shown(&gallery),
            [("Best pictures", vec![1.0, 2.0, 3.0, 4.0]), ("Worst pictures", vec![9.0, 8.0, 7.0, 6.0])]
        );
    }

    #[test]
    fn few_pictures_hang_once_each_the_best_first() {
        for count in 1..=7 {
            let badness: Vec<f64> = (0..count).map(|i| f64::from(i * 5 % 7)).collect();
            let mut sorted = badness.clone();
            sorted.sort_by(f64::total_cmp);
            assert_eq!(shown(&of(&badness).0), [("Pictures, the best first", sorted)]);
        }
    }

    #[test]
    fn the_page_says_what_is_predicted_and_lists_every_picture() {
        let (gallery, board) = of(&[3.0, 1.0]);
        let facts = vec![("weights".to_owned(), "w.safetensors".to_owned())];
        let html = evaluation_page("a-network", &board, &gallery, facts).unwrap().to_html();
        for text in
            ["How good is a-network?", "predicted", "p3: ab error 3.00", "<td>p1</td>", "truth", "w.safetensors"]
        {
            assert!(html.contains(text), "{text}");
        }
        assert_eq!(html.matches("data:image/png").count(), 4);
    }
}
