//! Which network a command is about.

use crate::cli::args::given::{Choice, Given};
use crate::engine::device::Device;
use crate::engine::nn::WeightFile;
use crate::error::{Error, Result};
use crate::networks::recipe::{Recipe, Setup, check, check_size, fill};
use crate::networks::{NETWORKS, by_name};
use crate::train::learner::Learner;
use crate::train::settings::table::Settings;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// A network that was named.
pub type Network = &'static dyn Recipe;

/// The names of all networks.
pub fn networks() -> impl TypedValueParser<Value = Network> {
    let names = NETWORKS.iter().map(|recipe| PossibleValue::new(recipe.name()).help(recipe.what()));
    PossibleValuesParser::new(names).try_map(|name| by_name(&name))
}

/// The settings that make a network.
#[derive(Debug, Clone, Default)]
pub struct OfNetwork;

impl Choice for OfNetwork {
    const KEYS: Option<&'static [&'static str]> = Some(&["width", "input-channels", "size"]);
}

/// How a network is made, for commands that take one apart from any training.
#[derive(Args, Debug, Clone, Default)]
pub struct NetworkArgs {
    #[command(flatten)]
    given: Given<OfNetwork>,
    /// Colour bins of a classifier [default: 274]
    #[arg(long = "q", value_name = "Q")]
    bins: Option<usize>,
}

impl NetworkArgs {
    /// As if these settings and no number of bins had been given.
    pub fn of(settings: Settings) -> Self {
        NetworkArgs { given: Given::of(settings), bins: None }
    }

    /// The same, of images of `size` pixels a side where none is given.
    pub fn of_size(&self, size: Option<usize>) -> Self {
        let mut args = self.clone();
        args.given.settings.size = args.given.settings.size.or(size);
        args
    }

    /// The same, with what a training of `settings` keeps of a step.
    pub fn keeping_as(&self, settings: &Settings) -> Self {
        let mut args = self.clone();
        args.given.settings.recompute = settings.recompute;
        args.given.settings.activations.clone_from(&settings.activations);
        args
    }

    /// The channel multiplier that was given.
    pub fn width(&self) -> Option<f64> {
        self.given.settings.width
    }

    /// The networks of `recipe` as these flags say, or with the weights of a file.
    ///
    /// # Errors
    /// Flags that make no sense for the network; weights that do not fit; no memory.
    pub fn learner(
        &self,
        recipe: Network,
        device: &Device,
        weights: Option<&WeightFile>,
        training: bool,
    ) -> Result<Box<dyn Learner>> {
        crate::ensure!(
            self.bins.is_none() || weights.is_none(),
            Error::input("the weights bring their own bins", "⟨q⟩", "leave it out")
        );
        let bins = self.bins(recipe)?.unwrap_or_default();
        let size = match (self.given.settings.size, weights) {
            (None, Some(file)) => recipe.trained_size(file)?,
            (size, _) => size,
        };
        let init = weights.map(|file| file.source().into());
        let settings = fill(recipe, Settings { init, size, ..self.given.settings.clone() });
        check(recipe, &settings)?;
        recipe.learner(&Setup { device, settings: &settings, survey: None, bins, weights, training })
    }

    /// Colour bins of a classifier.
    ///
    /// # Errors
    /// None, or some for a network that has no such thing.
    pub fn bins(&self, recipe: Network) -> Result<Option<usize>> {
        match (self.bins, recipe.bins()) {
            (Some(_), None) => {
                Err(Error::input(format!("{} has no such setting", recipe.name()), "⟨q⟩", "leave it out"))
            }
            (Some(0), _) => Err(Error::input("must be at least 1", "⟨q⟩ 0", "use 1 or more")),
            (given, usual) => Ok(given.or(usual)),
        }
    }

    /// Side of the images, pixels.
    ///
    /// # Errors
    /// One that the network cannot be run on.
    pub fn size(&self, recipe: Network) -> Result<usize> {
        let settings = fill(recipe, self.given.settings.clone());
        let size = settings.size.unwrap_or_default();
        check_size(recipe, size).map(|()| size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_number_of_bins_is_what_help_says() {
        let command = NetworkArgs::augment_args(clap::Command::new("c"));
        let help = command.get_arguments().find(|arg| arg.get_id() == "bins").unwrap().get_help().unwrap().to_string();
        for recipe in NETWORKS.iter().filter(|recipe| recipe.bins().is_some()) {
            let bins = recipe.bins().unwrap_or_default();
            assert!(help.ends_with(&format!("[default: {bins}]")), "{recipe:?} has {bins} bins; help says: {help}");
        }
    }
}
