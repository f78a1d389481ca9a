//! Which files `huetape colorize` reads and which it writes.

use crate::dataset::folder::{has_picture_extension, passed_over, path_below, pictures_in};
use crate::dataset::stack;
use crate::error::{Error, ErrorKind, Result};
use crate::paint::files::check_not_input;
use crate::paint::format::{self, Format, check_ending};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where the colours of `input` go in a folder: `out/STEM.png`, or `.tif` for a scene and where a PNG cannot hold the
/// bands.
pub fn output_path(input: &Path, out: &Path, bands: usize) -> PathBuf {
    let mut name = input.file_stem().unwrap_or_default().to_owned();
    name.push(if Format::for_input(input, bands) == Format::Png { ".png" } else { ".tif" });
    out.join(name)
}

/// Whether a path is a folder or is written as one, with a separator at its end.
pub fn means_folder(out: &Path) -> bool {
    out.is_dir() || out.as_os_str().to_string_lossy().ends_with(std::path::is_separator)
}

/// One picture goes to a .png or .tif file, several go to a folder.
pub fn check_out(out: &Path, single: bool) -> Result<()> {
    if single {
        check_ending(out)?;
    }
    crate::ensure!(
        single || !out.exists() || out.is_dir(),
        Error::input("several pictures need a folder, and this is a file", out.display(), "choose another --out")
    );
    let named = format!("{}{}", out.display(), std::path::MAIN_SEPARATOR);
    crate::ensure!(
        single || means_folder(out) || !has_picture_extension(out),
        Error::input(
            "several pictures need a folder, and this is named as a file",
            out.display(),
            format!("choose another --out, or write {named} for a folder of that name")
        )
    );
    Ok(())
}

/// No result is there already. What is not a file is written into, and not replaced.
pub fn check_free<'a>(results: impl Iterator<Item = &'a Path>) -> Result<()> {
    let there: Vec<&Path> = results.filter(|result| result.is_file()).collect();
    let Some(first) = there.first() else { return Ok(()) };
    let (what, which) = match there.len() {
        1 => ("the result is there already".to_owned(), first.display().to_string()),
        count => (format!("{count} results are there already"), format!("{} and others", first.display())),
    };
    Err(Error::input(what, which, "add --overwrite, or choose another --out").of(ErrorKind::Exists))
}

/// What is written beside the colours of the one scene there is: a TIFF.
pub fn check_beside(beside: &Path, flag: &str, files: &[PathBuf]) -> Result<()> {
    crate::ensure!(
        files.len() == 1,
        Error::input(
            format!("{} inputs for one file", files.len()),
            format!("{flag} {}", beside.display()),
            "colour them one by one"
        )
    );
    format::check_uncertainty(beside)
}

/// A file to colour.
pub struct Input {
    /// Where it lies.
    pub file: PathBuf,
    /// Its name, after the folders that lead to it from the one that was named.
    pub name: PathBuf,
}

/// All pictures that the inputs name, folders in name order, with `recursive` those of the folders below too; what is
/// passed over there is told. With `keep_going` a file that is not there is met later.
pub fn inputs(named: &[PathBuf], keep_going: bool, recursive: bool) -> Result<Vec<Input>> {
    let mut files = Vec::new();
    for input in named {
        if input.is_dir() {
            passed_over(input, recursive).iter().for_each(|notice| noteln!("{notice}"));
            let named = |file: PathBuf| Input { name: path_below(&file, input), file };
            files.extend(pictures_in(input, recursive)?.into_iter().map(named));
        } else if keep_going || stack::parts(input).iter().all(|part| part.is_file()) || input.exists() {
            files.push(Input { file: input.clone(), name: input.file_name().unwrap_or_default().into() });
        } else {
            return Err(Error::input("no such file or folder", input.display(), "check the path"));
        }
    }
    Ok(files)
}

/// Each file must hold the network's bands, and with `cog` the cloud-optimised layout: a PNG holds 1 or 3 bands and no
/// layout.
pub fn check_formats(files: &[PathBuf], targets: &[PathBuf], bands: usize, cog: bool) -> Result<()> {
    files.iter().zip(targets).try_for_each(|(file, target)| format::check(file, target, bands, cog))
}

/// No two results may go to one file, those `beside` the colours of a single input included, and no input may be
/// overwritten: what is wrong with each of the files.
pub fn clashes(files: &[PathBuf], targets: &[PathBuf], beside: Option<&Path>) -> Vec<Option<Error>> {
    let mut seen: HashMap<PathBuf, PathBuf> = HashMap::new();
    let mut refuse = |file: &PathBuf, target: &Path| -> Result<()> {
        if let Some(other) = seen.get(target) {
            let both = if other == file {
                format!("two results of {} would be written", file.display())
            } else {
                format!("{} and {} would both be written", other.display(), file.display())
            };
            let remedy = "give the files names of their own, or colour them one by one";
            return Err(Error::input(both, target.display(), remedy));
        }
        seen.insert(target.to_owned(), file.clone());
        check_not_input(file, target)
    };
    let of_file = |(file, target): (&PathBuf, &PathBuf)| {
        let colours = refuse(file, target);
        colours.and_then(|()| beside.map_or(Ok(()), |beside| refuse(file, beside))).err()
    };
    files.iter().zip(targets).map(of_file).collect()
}
