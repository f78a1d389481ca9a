//! `huetape evaluate` of two scenes.

use crate::cli::args::device;
use crate::cli::commands::evaluate::args::{EvaluateArgs, facts, make_folder, stretched};
use crate::cli::console::{Progress, print_scores};
use crate::cli::names::flags;
use crate::cli::outcome::Outcome;
use crate::cli::stdio::is_stdout;
use crate::cli::tables::print_rows;
use crate::dataset::pairs::DataSource;
use crate::error::{Error, Result};
use crate::evaluate::classes::ClassScores;
use crate::evaluate::evaluator::rebalance;
use crate::evaluate::page::{Gallery, evaluation_page};
use crate::evaluate::scenes::{SceneEvaluator, SceneScores};
use crate::files::check_place;
use serde_json::{Map, Value};
use std::path::Path;

/// Judges a scene by another.
pub(super) fn run(args: &EvaluateArgs, data: &DataSource, source: &Path, target: &Path) -> Outcome {
    for (flag, given) in [("--out", args.out.is_some()), ("--crop", args.crop.is_some())] {
        let remedy = "leave it out; `huetape colorize` writes the coloured scene";
        crate::ensure!(!given, Error::input("two scenes have no such thing", flag, remedy).into());
    }
    let device = args.device.open()?;
    let (colorizer, options) = args.trained.open(&args.look, &device)?;
    let weights = args.trained.weights_at_work()?;
    let (stats, target_is, rebalance) = (args.trained.statistics()?, args.target()?, rebalance(&weights)?);
    for file in args.files().filter(|file| !is_stdout(file)) {
        make_folder(file.parent().unwrap_or(Path::new("")))?;
        check_place(file)?;
    }
    let evaluator = SceneEvaluator {
        colorizer: &colorizer,
        options: &options,
        target: &target_is,
        stats: stats.as_ref(),
        rebalance: rebalance.as_ref(),
        classes: args.classes.as_deref(),
        difference: args.difference.as_deref(),
    };
    let mut gallery = Gallery::default();
    let mut progress: Option<Progress> = None;
    let name = source.display().to_string();
    let shown = args.html.is_some();
    let scores = evaluator.evaluate(
        source,
        target,
        &mut |judged| if shown { gallery.add(judged) } else { Ok(()) },
        &mut |done, total| {
            let bar = progress.get_or_insert_with(|| {
                let bar = Progress::new(total as u64, 0, "tiles");
                bar.line(&device::line(&device));
                bar
            });
            bar.at(done as u64, &name);
            Ok(())
        },
    )?;
    drop(progress);
    scores.notices.iter().for_each(|notice| noteln!("{}", flags(notice)));
    noteln!("{}", stretched(&scores.stretches));
    print_scores(&scores.board);
    if scores.left_out > 0 {
        outln!("windows with data in less than a quarter, left out: {}", scores.left_out);
    }
    print_classes(&scores.classes);
    if stats.is_none() {
        outln!("the mean colour and the linear regression are those of a run's training data: they need --run");
    }
    let page = match &args.html {
        Some(_) => {
            let facts = facts(
                args,
                weights.source(),
                data,
                [scores.board.pictures(), stretched(&scores.stretches)],
                &device.name(),
            );
            evaluation_page(colorizer.model(), &scores.board, &gallery, facts)?.to_html()
        }
        None => String::new(),
    };
    args.write_figures(&json_of(&scores), &scores.board.to_csv(), &page)?;
    if let Some(difference) = &args.difference {
        outln!("{}", difference.display());
    }
    Ok(())
}

/// The means of the windows, and the figures by class under `classes`.
fn json_of(scores: &SceneScores) -> Value {
    let mut json = scores.board.to_json();
    if let (Value::Object(json), false) = (&mut json, scores.classes.is_empty()) {
        let classes: Map<String, Value> =
            scores.classes.iter().map(|class| (class.label.to_string(), class.to_json())).collect();
        json.insert("classes".into(), classes.into());
    }
    json
}

fn print_classes(classes: &[ClassScores]) {
    if classes.is_empty() {
        return;
    }
    let all: u64 = classes.iter().map(|class| class.pixels).sum();
    let heads = ["class", "pixels", "share", "PSNR, dB", "MAE", "ab error", "ΔE 2000"].map(str::to_owned);
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    let row = |class: &ClassScores| {
        [
            class.label.to_string(),
            class.pixels.to_string(),
            format!("{:.1} %", 100.0 * class.pixels as f64 / all as f64),
            number(Some(class.psnr)),
            number(Some(class.mae)),
            number(class.ab_error),
            number(class.delta_e_2000),
        ]
    };
    print_rows(&heads, classes.iter().map(row), 0);
}

/// Folders have neither labels nor a map.
pub(super) fn refuse_for_folders(args: &EvaluateArgs) -> Result<()> {
    for (flag, given) in [("--classes", args.classes.is_some()), ("--difference", args.difference.is_some())] {
        let remedy = "give two scenes as --source and --target, or leave it out";
        crate::ensure!(!given, Error::input("that is for two scenes", flag, remedy));
    }
    Ok(())
}
