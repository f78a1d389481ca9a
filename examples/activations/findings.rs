//! What the outcomes of all trainings say: a table, conclusions that hold beyond the spread, and a page with the
//! curves.

use crate::figures::{Figures, NAMES, SIZE};
use crate::network::{Activation, LEAK, Network};
use crate::training::{BATCH, EPOCH, LEARNING_RATE, Outcome, Score, TEST, TRAINING};
use huetape::imaging::codec::save::encode_png;
use huetape::report::axis::AxisScale;
use huetape::report::chart::{Chart, Series, SeriesStyle};
use huetape::report::page::{Block, Page, Section, Strip, Table};
use huetape::report::verdict::{Tone, Verdict};

/// The test accuracy in percent whose first epoch is in the table.
const THRESHOLD: f64 = 70.0;
/// Seeds that an interval can be given for.
pub const MOST_SEEDS: u32 = 20;
/// The 97.5 % quantile of Student's t with 1, 2, ... degrees of freedom.
const STUDENT_T: [f64; MOST_SEEDS as usize - 1] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093,
];

/// The outcomes of one network, seed by seed.
pub struct Cell {
    /// What was trained.
    pub network: Network,
    /// One a seed, in the same order of seeds for all cells.
    pub outcomes: Vec<Outcome>,
}

impl Cell {
    fn each(&self, value: impl Fn(&Outcome) -> f64) -> Vec<f64> {
        self.outcomes.iter().map(value).collect()
    }

    fn accuracies(&self) -> Vec<f64> {
        self.each(|outcome| last(outcome).accuracy)
    }

    /// A row of the table.
    fn row(&self) -> Vec<String> {
        let reached: Vec<f64> = self.outcomes.iter().filter_map(epochs_to_threshold).collect();
        let epochs = match (reached.len(), self.outcomes.len()) {
            (0, _) => "–".to_owned(),
            (all, seeds) if all == seeds => with_spread(&reached, 1),
            (some, seeds) => format!("{} ({some} of {seeds})", with_spread(&reached, 1)),
        };
        vec![
            self.network.activation.name().to_owned(),
            (if self.network.batch_norm { "yes" } else { "no" }).to_owned(),
            with_spread(&self.each(|outcome| outcome.train.loss), 3),
            with_spread(&self.each(|outcome| last(outcome).loss), 3),
            with_spread(&self.accuracies(), 1),
            epochs,
        ]
    }

    /// The mean over the seeds of what `curve` gives for each, point by point.
    fn mean_curve(&self, curve: impl Fn(&Outcome) -> Vec<(f64, f64)>) -> Vec<(f64, f64)> {
        let curves: Vec<Vec<(f64, f64)>> = self.outcomes.iter().map(curve).collect();
        let mean_at = |i: usize| mean(&curves.iter().map(|curve| curve[i].1).collect::<Vec<_>>());
        curves[0].iter().enumerate().map(|(i, point)| (point.0, mean_at(i))).collect()
    }
}

/// The score on the test pictures after the last update.
fn last(outcome: &Outcome) -> Score {
    outcome.tests.last().map_or(outcome.train, |test| test.1)
}

/// Epochs until a test showed [`THRESHOLD`] or more for the first time.
fn epochs_to_threshold(outcome: &Outcome) -> Option<f64> {
    let reached = outcome.tests.iter().find(|(_, score)| score.accuracy >= THRESHOLD)?;
    Some(f64::from(reached.0) / f64::from(EPOCH))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard deviation of what `values` are a sample of; `None` for a single one.
fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

/// `mean ± standard deviation`.
fn with_spread(values: &[f64], decimals: usize) -> String {
    let spread = deviation(values).map(|spread| format!(" ± {spread:.decimals$}")).unwrap_or_default();
    format!("{:.decimals$}{spread}", mean(values))
}

/// How far one cell is from another in test accuracy, in percentage points.
struct Difference {
    mean: f64,
    /// Half of the 95 % interval of the mean, by Student's t over the seeds' differences.
    margin: f64,
}

impl Difference {
    /// `a - b`, seed by seed: both saw the same pictures in the same order from the same kernels. `None` for less than
    /// two seeds.
    fn of(a: &[f64], b: &[f64]) -> Option<Self> {
        let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        let t = STUDENT_T.get(differences.len().checked_sub(2)?)?;
        let margin = t * deviation(&differences)? / (differences.len() as f64).sqrt();
        Some(Difference { mean: mean(&differences), margin })
    }

    /// Whether 0 lies outside the interval.
    fn is_clear(&self) -> bool {
        self.mean.abs() > self.margin
    }

    fn text(&self) -> String {
        let (low, high) = (self.mean - self.margin, self.mean + self.margin);
        format!("{:+.1} ({low:+.1} to {high:+.1})", self.mean)
    }
}

/// The names and differences of `all` sorted into those that are clear and those that are not.
fn sentence(all: &[(&str, Difference)]) -> String {
    let clear: Vec<String> =
        all.iter().filter(|(_, d)| d.is_clear()).map(|(name, d)| format!("{name} {}", d.text())).collect();
    let open: Vec<String> =
        all.iter().filter(|(_, d)| !d.is_clear()).map(|(name, d)| format!("{name} {:+.1}", d.mean)).collect();
    let part = |word: &str, names: Vec<String>| {
        if names.is_empty() { format!("{word}: none") } else { format!("{word}: {}", names.join(", ")) }
    };
    format!("{}; {}.", part("clear", clear), part("within the spread", open))
}

/// Each first cell of `pairs` less the second in test accuracy, by the first one's name; nothing for a single seed.
fn differences<'a>(pairs: impl Iterator<Item = (&'a Cell, &'a Cell)>) -> Vec<(&'static str, Difference)> {
    pairs
        .filter_map(|(a, b)| Some((a.network.activation.name(), Difference::of(&a.accuracies(), &b.accuracies())?)))
        .collect()
}

/// Everything that was measured.
pub struct Findings {
    /// In the order of the table: all activations without batch norm, then with it.
    pub cells: Vec<Cell>,
    /// Updates of each training.
    pub steps: u32,
}

impl Findings {
    fn half(&self, batch_norm: bool) -> impl Iterator<Item = &Cell> + Clone {
        self.cells.iter().filter(move |cell| cell.network.batch_norm == batch_norm)
    }

    fn seeds(&self) -> usize {
        self.cells.first().map_or(0, |cell| cell.outcomes.len())
    }

    fn table(&self) -> Table {
        let epochs = format!("epochs to {THRESHOLD} %");
        let head = ["activation", "batch norm", "train loss", "test loss", "test accuracy, %", &epochs];
        Table {
            caption: "Mean ± standard deviation over the seeds, after the last update".to_owned(),
            head: head.map(str::to_owned).to_vec(),
            rows: self.cells.iter().map(Cell::row).collect(),
        }
    }

    /// What was trained, sentence by sentence.
    fn setting(&self) -> [String; 3] {
        let (kinds, epochs) = (NAMES.len(), f64::from(self.steps) / f64::from(EPOCH));
        let seeds = match self.seeds() {
            1 => "one seed".to_owned(),
            seeds => format!("{seeds} seeds"),
        };
        [
            format!(
                "{kinds} kinds of figures in noise, {SIZE}x{SIZE} pixels, {TRAINING} to learn from and {TEST} to be \
                 judged by."
            ),
            format!(
                "Adam, learning rate {LEARNING_RATE} falling along a cosine, {} updates of {BATCH} pictures \
                 ({epochs:.1} epochs), {seeds}.",
                self.steps
            ),
            "A seed sets the pictures, their order and the first kernels, the same for all ten networks.".to_owned(),
        ]
    }

    /// What is compared, and how test accuracies differ; nothing for a single seed.
    fn comparisons(&self) -> Vec<(String, Vec<(&'static str, Difference)>)> {
        let halves = [(false, "without batch norm"), (true, "with batch norm")];
        let against = |base: Activation, batch_norm, chosen: fn(Activation) -> bool| {
            let base = self.half(batch_norm).find(|cell| cell.network.activation == base);
            let others = self.half(batch_norm).filter(|cell| chosen(cell.network.activation));
            differences(others.zip(std::iter::repeat(base)).filter_map(|(cell, base)| Some((cell, base?))))
        };
        let mut all = Vec::new();
        for (batch_norm, words) in halves {
            let others = against(Activation::Relu, batch_norm, |activation| activation != Activation::Relu);
            all.push((format!("Against ReLU, {words}"), others));
        }
        for (batch_norm, words) in halves {
            let what = format!("Random slopes against the fixed one of their mean ({LEAK}), {words}");
            all.push((what, against(Activation::LeakyRelu, batch_norm, |activation| activation == Activation::RRelu)));
        }
        all.push(("Batch norm against none".to_owned(), differences(self.half(true).zip(self.half(false)))));
        all
    }

    /// What can be said about the test accuracy, a sentence each, and last how far that goes.
    fn conclusions(&self) -> Vec<String> {
        let seeds = self.seeds();
        if seeds < 2 {
            return vec!["One seed shows no spread: nothing can be concluded. Take more with --seeds.".to_owned()];
        }
        let comparisons = self.comparisons();
        let mut sentences: Vec<String> =
            comparisons.iter().map(|(what, all)| format!("{what}: {}", sentence(all))).collect();
        sentences.push(format!(
            "Clear: the 95 % interval of the mean difference over {seeds} seeds, in percentage points, leaves 0 out. \
             Of {} such \
             comparisons one or so would by chance alone. This is one small task with one learning rate for all: it \
             ranks nothing \
             elsewhere.",
            comparisons.iter().map(|(_, all)| all.len()).sum::<usize>()
        ));
        sentences
    }

    /// Setting, table and conclusions for a terminal.
    pub fn text(&self) -> String {
        let Table { head, rows, caption } = self.table();
        let lines: Vec<&Vec<String>> = std::iter::once(&head).chain(&rows).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let line = |cells: &Vec<String>| {
            let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let table: Vec<String> = lines.into_iter().map(line).collect();
        let said = |sentence: &String| format!("- {sentence}");
        let conclusions: Vec<String> = self.conclusions().iter().map(said).collect();
        format!(
            "{}\n\n{caption}:\n\n{}\n\nTest accuracy:\n{}\n",
            self.setting().join("\n"),
            table.join("\n"),
            conclusions.join("\n")
        )
    }

    /// The same as a page, with the curves and some pictures of the task.
    pub fn page(&self) -> Page {
        let curves = |batch_norm: bool| {
            let series = |style, curve: fn(&Outcome) -> Vec<(f64, f64)>| {
                let one = |cell: &Cell| Series::new(cell.network.activation.name(), cell.mean_curve(curve), style);
                self.half(batch_norm).map(one).collect()
            };
            let chart = |title: &str, series| {
                let (title, x_label) = (title.to_owned(), "update".to_owned());
                Block::Chart(Chart {
                    title,
                    x_label,
                    y_label: "nats".to_owned(),
                    scale: AxisScale::Log,
                    series,
                    ..Chart::default()
                })
            };
            let trained = series(SeriesStyle::Smoothed, |outcome| {
                outcome.losses.iter().enumerate().map(|(i, loss)| (i as f64 + 1.0, *loss)).collect()
            });
            let tested = series(SeriesStyle::Dots, |outcome| {
                outcome.tests.iter().map(|(step, score)| (f64::from(*step), score.loss)).collect()
            });
            vec![chart("Training loss, as minimised", trained), chart("Test loss", tested)]
        };
        let section =
            |heading: &str, note: &str, blocks| Section { heading: heading.to_owned(), note: note.to_owned(), blocks };
        let note = "Means over the seeds. The training loss is that of each batch with its own statistics and random \
             slopes; the \
                    test loss is without either.";
        let mut conclusions = self.conclusions();
        let detail = conclusions.pop().unwrap_or_default();
        let compared: Vec<Difference> =
            self.comparisons().into_iter().flat_map(|(_, all)| all).map(|(_, difference)| difference).collect();
        let clear = compared.iter().filter(|difference| difference.is_clear()).count();
        let headline = match self.seeds() {
            1 => "One seed shows no spread".to_owned(),
            _ => format!("{clear} of {} differences are clear of the spread", compared.len()),
        };
        Page {
            ended: None,
            title: "Five activations, with and without batch norm".to_owned(),
            summary: self.setting().join(" "),
            verdict: Verdict { tone: Tone::Open, headline, detail, ..Verdict::default() },
            sections: vec![
                section("Test accuracy", "", conclusions.into_iter().map(Block::Text).collect()),
                section("Results", "", vec![Block::Table(self.table())]),
                section("Without batch norm", note, curves(false)),
                section("With batch norm", note, curves(true)),
                section("The task", "", vec![Block::Strips(vec![samples()])]),
            ],
        }
    }
}

/// A picture of each figure, side by side, four times enlarged.
fn samples() -> Strip {
    const SCALE: usize = 4;
    let figures = Figures::new(0, 0, TRAINING);
    let shown: Vec<usize> =
        (0..NAMES.len()).filter_map(|label| figures.labels.iter().position(|l| *l == label)).collect();
    let (width, height) = (shown.len() * SIZE * SCALE, SIZE * SCALE);
    let value = |x: usize, y: usize| {
        let pixels = figures.picture(shown[x / (SIZE * SCALE)]);
        pixels[y / SCALE * SIZE + x / SCALE % SIZE]
    };
    // Shading, contrast and noise reach about 2 on either side of 0.
    let grey = |value: f32| (127.5 + 64.0 * value).clamp(0.0, 255.0) as u8;
    let samples: Vec<u8> = (0..width * height).map(|i| grey(value(i % width, i / width))).collect();
    Strip {
        name: "One picture of each figure".to_owned(),
        step: None,
        panels: shown.iter().map(|&i| NAMES[figures.labels[i]].to_owned()).collect(),
        png: encode_png(&samples, width, height, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cells whose test accuracies are `values`, one a seed, all without batch norm.
    fn findings(values: &[(Activation, &[f64])]) -> Findings {
        let score = |accuracy| Score { loss: 0.5, accuracy };
        let outcome = |&accuracy: &f64| Outcome {
            losses: vec![2.0, 1.0],
            tests: vec![(EPOCH, score(accuracy / 2.0)), (2 * EPOCH, score(accuracy))],
            train: score(accuracy),
        };
        let cell = |&(activation, values): &(Activation, &[f64])| Cell {
            network: Network { activation, batch_norm: false },
            outcomes: values.iter().map(outcome).collect(),
        };
        Findings { cells: values.iter().map(cell).collect(), steps: 2 * EPOCH }
    }

    #[test]
    fn a_steady_difference_is_clear_and_a_larger_unsteady_one_is_not() {
        let findings = findings(&[
            (Activation::Relu, &[80.0, 85.0, 90.0]),
            (Activation::Elu, &[81.0, 86.2, 91.1]),
            (Activation::PRelu, &[95.0, 80.0, 97.0]),
        ]);
        let said = &findings.conclusions()[0];
        // Mean 1.1, standard deviation 0.1: 4.303 * 0.1 / sqrt(3) = 0.25 on either side.
        assert!(said.contains("clear: ELU +1.1 (+0.9 to +1.3); within the spread: PReLU +5.7."), "{said}");
    }

    #[test]
    fn one_seed_concludes_nothing() {
        let findings = findings(&[(Activation::Relu, &[80.0]), (Activation::Elu, &[99.0])]);
        assert!(findings.conclusions()[0].contains("nothing can be concluded"));
        assert!(findings.table().rows.iter().flatten().all(|cell| !cell.contains('±')));
    }

    #[test]
    fn a_row_says_how_many_seeds_came_to_the_threshold() {
        let findings = findings(&[(Activation::Relu, &[69.0, 72.0, 88.0]), (Activation::Elu, &[10.0, 20.0, 30.0])]);
        let rows = findings.table().rows;
        assert_eq!(rows[0][4..], ["76.3 ± 10.2", "2.0 ± 0.0 (2 of 3)"]);
        assert_eq!(rows[1][4..], ["20.0 ± 10.0", "–"]);
        assert_eq!(rows[0].len(), findings.table().head.len());
    }

    #[test]
    fn the_page_shows_two_charts_a_half_and_each_figure() {
        let html = findings(&[(Activation::Relu, &[79.0, 82.0]), (Activation::Elu, &[10.0, 20.0])]).page().to_html();
        assert_eq!(html.matches("<figure class=\"chart\"").count(), 2, "a half without cells has no curves");
        assert!(NAMES.iter().all(|name| html.contains(&format!("<li>{name}</li>"))));
    }
}
