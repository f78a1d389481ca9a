//! `huetape evaluate`: how good a network is, beside what needs none.

mod args;
mod scenes;

pub use args::EvaluateArgs;

use crate::cli::args::device;
use crate::cli::console::{Progress, print_scores};
use crate::cli::names::flags;
use crate::cli::outcome::Outcome;
use crate::cli::stdio::{is_stdout, make_way};
use crate::dataset::folder::path_below;
use crate::dataset::pairs::{DataSource, Dataset};
use crate::error::{Error, Result};
use crate::evaluate::evaluator::{Evaluator, Judged, find_images, rebalance};
use crate::evaluate::page::{Gallery, evaluation_page};
use crate::files::{check_place, io_error};
use crate::imaging::codec::save::{predicted_by, save_png, save_tiff};
use crate::imaging::quality::Image8;
use crate::imaging::raster::{RasterInfo, SampleType};
use args::{facts, make_folder, stretched};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

pub fn run(args: EvaluateArgs) -> Outcome {
    make_way([&args.json, &args.csv].into_iter().flatten().map(PathBuf::as_path))?;
    for file in [&args.json, &args.csv, &args.html].into_iter().flatten() {
        crate::ensure!(
            !file.is_dir(),
            Error::input("a folder is in the way of a file", file.display(), "give the file's name too").into()
        );
    }
    args.data.settings.check_values()?;
    let source = args.data.settings.data()?;
    if let DataSource::Scenes { source: from, target } = &source {
        return scenes::run(&args, &source, from, target);
    }
    scenes::refuse_for_folders(&args)?;
    let device = args.device.open()?;
    let (colorizer, mut options) = args.trained.open(&args.look, &device)?;
    options.lightness |= matches!(source, DataSource::Images { .. });
    let weights = args.trained.weights_at_work()?;
    let evaluator = Evaluator {
        stats: args.trained.statistics()?,
        rebalance: rebalance(&weights)?,
        crop: args.crop,
        ..Evaluator::of_colorizer(&colorizer, options.look)
    };
    let data = find_images(&colorizer, &options, &source, args.target()?)?;
    data.notices.iter().for_each(|notice| noteln!("{}", flags(notice)));
    let names = names(&data)?;
    let folders = args.out.as_deref().map(|out| Folders::new(out, &data, &names, colorizer.bands())).transpose()?;

    for file in [&args.json, &args.csv, &args.html].into_iter().flatten() {
        // Known before the work, not after it: a file can be made there.
        if !is_stdout(file) {
            make_folder(file.parent().unwrap_or(Path::new("")))?;
            check_place(file)?;
        }
    }
    let mut gallery = Gallery::default();
    let mut progress = Progress::new(data.pairs.len() as u64, 0, "pictures");
    progress.line(&device::line(&device));
    progress.line(&stretched(&data.stretches));
    let board = evaluator.evaluate(&data, &mut |i, judged| {
        if let Some(folders) = &folders {
            folders.write(&names[i], judged, colorizer.model())?;
        }
        if args.html.is_some() {
            gallery.add(judged)?;
        }
        progress.at(i as u64 + 1, &data.pairs[i].source.path().display().to_string());
        Ok(())
    })?;
    drop(progress);

    print_scores(&board);
    if evaluator.stats.is_none() {
        outln!("the mean colour and the linear regression are those of a run's training data: they need --run");
    }
    let page = match &args.html {
        Some(_) => {
            let facts =
                facts(&args, weights.source(), &source, [board.pictures(), stretched(&data.stretches)], &device.name());
            evaluation_page(colorizer.model(), &board, &gallery, facts)?.to_html()
        }
        None => String::new(),
    };
    args.write_figures(&board.to_json(), &board.to_csv(), &page)?;
    if let Some(out) = &args.out {
        outln!("{}", out.display());
    }
    Ok(())
}

/// A name for each pair, that of its source without the ending; no two alike.
fn names(data: &Dataset) -> Result<Vec<PathBuf>> {
    let mut seen: HashMap<PathBuf, &Path> = HashMap::new();
    let mut names = Vec::new();
    for pair in &data.pairs {
        let (path, name) = (pair.source.path(), data.name(pair));
        if let Some(other) = seen.insert(name.clone(), path) {
            return Err(Error::input(
                format!("{} has the same name but for its ending", other.display()),
                path.display(),
                "give the files names of their own",
            ));
        }
        names.push(name);
    }
    Ok(names)
}

/// Where pictures go.
struct Folders {
    predictions: PathBuf,
    targets: PathBuf,
    ending: &'static str,
}

impl Folders {
    /// The folders below `out`, which may hold nothing but what this evaluation writes: other evaluators read all that
    /// lies in a folder. No input may lie there.
    fn new(out: &Path, data: &Dataset, names: &[PathBuf], bands: usize) -> Result<Self> {
        let ending = if matches!(bands, 1 | 3) { "png" } else { "tif" };
        let folders = Folders { predictions: out.join("predictions"), targets: out.join("targets"), ending };
        let known: HashSet<PathBuf> = names.iter().map(|name| with_ending(name, ending)).collect();
        for folder in [&folders.predictions, &folders.targets] {
            let Ok(place) = folder.canonicalize() else { continue };
            let is_here =
                |path: &Path| path.parent().and_then(|p| p.canonicalize().ok()).is_some_and(|p| p.starts_with(&place));
            let mut inputs = data.pairs.iter().flat_map(|pair| [pair.source.path(), pair.target.path()]);
            crate::ensure!(
                !inputs.any(is_here),
                Error::input(
                    "the inputs lie where pictures would be written",
                    folder.display(),
                    "choose another --out"
                )
            );
            check_known(folder, folder, &known)?;
        }
        Ok(folders)
    }

    fn write(&self, name: &Path, judged: &Judged, model: &str) -> Result<()> {
        let tag = predicted_by(model);
        for (folder, picture, tag) in
            [(&self.predictions, &judged.made, Some(tag.as_str())), (&self.targets, &judged.truth, None)]
        {
            let file = folder.join(with_ending(name, self.ending));
            make_folder(file.parent().unwrap_or(folder))?;
            save(&file, picture, tag)?;
        }
        Ok(())
    }
}

/// A name with an ending; a dot in the name is none.
fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut name = name.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// Refuses files of a folder, or of those below it, whose paths from `root` are not known.
fn check_known(root: &Path, folder: &Path, known: &HashSet<PathBuf>) -> Result<()> {
    let unreadable = |error| io_error("cannot read the folder", folder, &error);
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let found = entry.map_err(unreadable)?.path();
        if found.is_dir() {
            check_known(root, &found, known)?;
            continue;
        }
        crate::ensure!(
            known.contains(&path_below(&found, root)),
            Error::input("other files lie there already", found.display(), "choose another --out")
        );
    }
    Ok(())
}

/// Writes a picture as PNG, or, of bands that a PNG cannot hold, as TIFF.
fn save(path: &Path, picture: &Image8, description: Option<&str>) -> Result<()> {
    let (width, height) = (picture.width(), picture.height());
    if matches!(picture.bands(), 1 | 3) {
        return save_png(path, picture.samples(), width, height, description);
    }
    let info = RasterInfo {
        description: description.map(str::to_owned),
        ..RasterInfo::new(width, height, picture.bands(), SampleType::U8)
    };
    save_tiff(path, info, &picture.samples().iter().map(|&v| f32::from(v)).collect::<Vec<_>>())
}
