//! What values of a setting make sense.

use crate::dataset::bands::BandList;
use crate::dataset::despeckle::Filters;
use crate::dataset::loader_options::Turns;
use crate::dataset::stack::Looks;
use crate::dataset::zero_border::ZeroBorder;
use crate::engine::device::{Forced, Precision, texts};
use crate::error::{Error, Result};
use crate::imaging::color::{BinSpec, Smoothing};
use crate::imaging::raster::Stretches;
use crate::train::events::EVENTS;
use crate::train::schedule::LrSchedule;
use crate::{engine, imaging};
use std::fmt::Display;

/// Patches at most: they are put into a new order for every batch.
const MOST_PATCHES: usize = 1_000_000;

/// Any value.
pub fn any<T>(_: &T, _: &str) -> Result<()> {
    Ok(())
}

/// What this program can write.
pub fn events(wanted: &bool, key: &str) -> Result<()> {
    let what = "this huetape was built without the feature `tensorboard`";
    let remedy = "leave it out, or use a huetape with it";
    crate::ensure!(EVENTS || !wanted, Error::input(what, format!("⟨{key}⟩"), remedy));
    Ok(())
}

fn refuse<T>(fits: bool, what: &str, key: &str, value: T, remedy: impl Into<String>) -> Result<()>
where
    T: Display,
{
    crate::ensure!(fits, Error::input(what, format!("⟨{key}⟩ {value}"), remedy));
    Ok(())
}

/// Bodies of kernels that there are.
pub fn bodies(value: &str, key: &str) -> Result<()> {
    let kernels = [engine::ops::kernels(), imaging::ops::kernels()].concat();
    for (kernel, body) in value.parse::<Forced>()?.pairs() {
        let found = kernels.iter().find(|known| known.name() == kernel);
        let known: Vec<&str> = match found {
            Some(kernel) => texts(*kernel).map(|text| text.body).collect(),
            None => kernels.iter().filter(|known| known.bodies() > 1).map(|known| known.name()).collect(),
        };
        let what = if found.is_some() { "no such body" } else { "no such kernel" };
        let fits = found.is_some() && known.contains(&body);
        refuse(fits, what, key, format!("{kernel}={body}"), format!("use one of {}", known.join(", ")))?;
    }
    Ok(())
}

/// What a device multiplies in.
pub fn precision(value: &str, key: &str) -> Result<()> {
    refuse(value.parse::<Precision>().is_ok(), "no such precision", key, value, "use f32 or f16")
}

/// A count from 1.
pub fn positive<T: Copy + Into<u64> + Display>(value: &T, key: &str) -> Result<()> {
    refuse((*value).into() > 0, "must be at least 1", key, *value, "use 1 or more")
}

/// A count from 1 of what lies in memory.
pub fn some(value: &usize, key: &str) -> Result<()> {
    positive(&(*value as u64), key)
}

/// A finite number above 0.
pub fn above_zero<T: Copy + Into<f64> + Display>(value: &T, key: &str) -> Result<()> {
    let number: f64 = (*value).into();
    refuse(number.is_finite() && number > 0.0, "out of range", key, *value, "use a number above 0")
}

/// A finite number from 0.
pub fn not_negative<T: Copy + Into<f64> + Display>(value: &T, key: &str) -> Result<()> {
    let number: f64 = (*value).into();
    refuse(number.is_finite() && number >= 0.0, "out of range", key, *value, "use a number of at least 0")
}

/// A number from 0 to below 1.
pub fn below_one<T: Copy + Into<f64> + Display>(value: &T, key: &str) -> Result<()> {
    let fits = (0.0..1.0).contains(&(*value).into());
    refuse(fits, "out of range", key, *value, "use a number from 0 to below 1")
}

/// A number from 0 to 1.
pub fn share(value: &f32, key: &str) -> Result<()> {
    refuse((0.0..=1.0).contains(value), "out of range", key, value, "use a number from 0 to 1")
}

/// A multiplier of channels.
pub fn width(value: &f64, key: &str) -> Result<()> {
    let fits = *value > 0.0 && *value <= 16.0;
    refuse(fits, "the width makes no network", key, value, "use a multiplier above 0 and up to 16, e.g. 0.25 or 1")
}

/// The side of a bin, ab units.
pub fn bin_width(value: &u32, key: &str) -> Result<()> {
    refuse((1..=100).contains(value), "out of range", key, value, "use 1 to 100 ab units; 10 is usual")
}

/// A number of patches.
pub fn patches(value: &usize, key: &str) -> Result<()> {
    some(value, key)?;
    refuse(*value <= MOST_PATCHES, "too many patches", key, value, format!("use {MOST_PATCHES} or fewer"))
}

/// One of some words; `what` is what another one is not.
fn word(value: &str, key: &str, what: &str, words: [&str; 2]) -> Result<()> {
    refuse(words.contains(&value), what, key, value, format!("use {}", words.join(" or ")))
}

/// A half of a picture.
pub fn half(value: &str, key: &str) -> Result<()> {
    word(value, key, "no such half", ["left", "right"])
}

/// Where the lightness comes from.
pub fn lightness(value: &str, key: &str) -> Result<()> {
    word(value, key, "no such lightness", ["input", "despeckle"])
}

/// How crops are turned.
pub fn augment(value: &str, _: &str) -> Result<()> {
    value.parse::<Turns>().map(drop)
}

/// A way of doubling height and width.
pub fn up(value: &str, key: &str) -> Result<()> {
    word(value, key, "no such way of doubling", ["transposed", "resize"])
}

/// A rule of updates.
pub fn optimizer(value: &str, key: &str) -> Result<()> {
    word(value, key, "no such optimizer", ["adam", "sgd"])
}

/// A schedule of the learning rate.
pub fn schedule(value: &str, _: &str) -> Result<()> {
    value.parse::<LrSchedule>().map(drop)
}

/// A choice of colour bins.
pub fn bins(value: &str, _: &str) -> Result<()> {
    value.parse::<BinSpec>().map(drop)
}

/// A way of smoothing the prior.
pub fn smoothing(value: &str, _: &str) -> Result<()> {
    value.parse::<Smoothing>().map(drop)
}

/// A way of stretching values.
pub fn stretch(value: &str, key: &str) -> Result<()> {
    read_stretch(value, key).map(drop)
}

/// What zeros mean.
pub fn zero_border(value: &str, key: &str) -> Result<()> {
    read_zero_border(value, key).map(drop)
}

/// What is made of several dates.
pub fn looks(value: &str, key: &str) -> Result<()> {
    read_looks(value, key).map(drop)
}

/// Numbers of bands.
pub fn bands(value: &str, key: &str) -> Result<()> {
    read_bands(value, key).map(drop)
}

/// A way of taking speckle off.
pub fn despeckle(value: &str, key: &str) -> Result<()> {
    read_despeckle(value, key).map(drop)
}

/// The stretch that a text stands for.
///
/// # Errors
/// A text that is not one.
pub fn read_stretch(text: &str, key: &str) -> Result<Stretches> {
    text.parse().map_err(|why: String| refused(&why, key, text))
}

/// What a text says that zeros mean.
///
/// # Errors
/// A text that says nothing of it.
pub fn read_zero_border(text: &str, key: &str) -> Result<ZeroBorder> {
    text.parse().map_err(|why: String| refused(&why, key, text))
}

/// What a text says of several dates.
///
/// # Errors
/// A text that says nothing of them.
pub fn read_looks(text: &str, key: &str) -> Result<Looks> {
    text.parse().map_err(|why: String| refused(&why, key, text))
}

/// The bands that a text lists.
///
/// # Errors
/// A text that is not such a list.
pub fn read_bands(text: &str, key: &str) -> Result<BandList> {
    text.parse().map_err(|why: String| refused(&why, key, text))
}

/// The filters that a text stands for, `none` for none.
///
/// # Errors
/// A text that is not one.
pub fn read_despeckle(text: &str, key: &str) -> Result<Option<Filters>> {
    if text == "none" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|why: String| refused(&why, key, text))
}

/// `what; use ...` as what is wrong and what to do.
fn refused(why: &str, key: &str, text: &str) -> Error {
    let (what, remedy) = why.split_once("; ").unwrap_or((why, "see its help"));
    Error::input(what, format!("⟨{key}⟩ {text}"), remedy)
}
