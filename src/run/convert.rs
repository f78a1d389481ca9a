//! Weights of other programs as weights of the networks here, and weights by the names and axes of PyTorch.

use crate::engine::device::Device;
use crate::engine::nn::WeightFile;
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::foreign::file;
use crate::exchange::foreign::layout::{Layout, Reading, listed};
use crate::networks::NETWORKS;
use crate::networks::recipe::Recipe;
use crate::train::metadata::{Metadata, TrainedOn};

/// Weights of another program that are ours now.
#[derive(Debug)]
pub struct Converted {
    /// The tensors, whole.
    pub weights: WeightFile,
    /// What they say of themselves.
    pub metadata: Metadata,
    /// For each file the program that wrote it.
    pub programs: Vec<&'static str>,
    /// Tensors of the files that the network has no use for.
    pub unused: Vec<String>,
}

/// The network of one or more files (a generator and its discriminator) that published programs wrote: `files` are what
/// messages call them, and their bytes. `model`: of that network alone. `bands`: how many bands of a source a network
/// of several channels reads, all of its channels; else one, repeated.
///
/// # Errors
/// Files of another kind, cut short or damaged, that hold anything but tensors; tensors that no program is known by, or
/// that are not all there (the message lists what is missing and what is not used); shapes that do not belong together;
/// files of several networks, or of a discriminator alone.
pub fn of_programs(files: &[(String, Vec<u8>)], model: Option<&str>, bands: Option<usize>) -> Result<Converted> {
    let known: Vec<&dyn Recipe> = match model {
        Some(name) => vec![crate::networks::by_name(name)?],
        None => NETWORKS.to_vec(),
    };
    let source = files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let mut found: Option<&dyn Recipe> = None;
    let (mut tensors, mut programs, mut unused) = (Vec::new(), Vec::new(), Vec::new());
    for (name, bytes) in files {
        let (recipe, layout, reading) = best(&known, name, bytes)?;
        let same = found.is_none_or(|found| found.name() == recipe.name()) && !programs.contains(&layout.program);
        crate::ensure!(
            same,
            refuse("two files that do not go together", &source, "name a generator and its discriminator")
        );
        found = Some(recipe);
        tensors.extend((layout.tensors)(&reading.file)?);
        programs.push(layout.program);
        unused.extend(reading.unused);
    }
    let Some(recipe) = found else { return Err(refuse("no file", "command line", "name one")) };
    if let Some(bands) = bands {
        tensors.extend(recipe.source_bands_setting(bands));
    }
    let weights = WeightFile::from_tensors(&source, tensors);
    let whole = recipe.recognises(&weights);
    crate::ensure!(
        whole,
        refuse("a discriminator alone, which colours nothing", &source, "name the generator's file too")
    );
    // That all belongs together is known before a file is written.
    recipe.painter(&Device::cpu(), &weights)?;
    let data = format!("weights of {}", programs.join(" and "));
    let trained_on = TrainedOn { data, ..TrainedOn::default() };
    let metadata = Metadata { network: recipe.name().to_owned(), trained_on, ..Metadata::default() };
    Ok(Converted { weights, metadata, programs, unused })
}

fn refuse(what: impl Into<String>, subject: &str, remedy: &str) -> Error {
    Error::input(what, subject, remedy).of(ErrorKind::File)
}

/// The network and the layout by which a file has all tensors that are needed.
fn best(
    known: &[&'static dyn Recipe],
    name: &str,
    bytes: &[u8],
) -> Result<(&'static dyn Recipe, &'static Layout, Reading)> {
    let file = file::read(name, bytes)?;
    let layouts = || known.iter().flat_map(|recipe| recipe.layouts().iter().map(|layout| (*recipe, layout)));
    let readings = layouts().filter_map(|(recipe, layout)| Some((recipe, layout, layout.read(&file)?)));
    let best = readings.max_by_key(|(.., reading)| (reading.missing.is_empty(), reading.found));
    let Some((recipe, layout, reading)) = best else {
        let held = listed(file.tensors.iter().map(|tensor| tensor.name.as_str()));
        let programs: Vec<&str> = layouts().map(|(_, layout)| layout.program).collect();
        let known = if programs.is_empty() { "none of this network".to_owned() } else { programs.join(", ") };
        return Err(refuse(
            format!("tensors of no program that is known: {held}"),
            name,
            &format!("known are: {known}"),
        ));
    };
    let lists = || {
        let [missing, unused] =
            [&reading.missing, &reading.unused].map(|names| listed(names.iter().map(String::as_str)));
        format!("not all tensors of {}: missing: {missing}; not used: {unused}", layout.program)
    };
    crate::ensure!(reading.missing.is_empty(), refuse(lists(), name, "use the whole file of a program that is known"));
    Ok((recipe, layout, reading))
}
