//! The choice of a body for a launch: forced, else measured to be the fastest, else by what suits the GPU.

use crate::engine::device::kernel::{AnyKernel, GpuInfo, Text};
use crate::engine::device::tuned::Tuned;
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bodies that are asked for by name, such as `conv2d=quads,conv2d=scalars`. Of several for one kernel a launch takes
/// the first that admits it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forced(Vec<(String, String)>);

impl FromStr for Forced {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let parsed = pairs.map(|pair| match pair.split_once('=') {
            Some((kernel, body)) if !kernel.is_empty() && !body.is_empty() => Ok((kernel.to_owned(), body.to_owned())),
            _ => {
                let remedy = "write KERNEL=BODY, several with commas between; `huetape kernels list` has them";
                Err(Error::input("names no body", format!("⟨body⟩ {text}"), remedy).of(ErrorKind::Kernel))
            }
        });
        Ok(Forced(parsed.collect::<Result<_>>()?))
    }
}

impl Forced {
    /// These and then those of `others`.
    #[must_use]
    pub fn and(mut self, others: Forced) -> Forced {
        self.0.extend(others.0);
        self
    }

    /// Kernel and body of each, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(kernel, body)| (kernel.as_str(), body.as_str()))
    }

    /// Whether none is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bodies of a kernel that are asked for.
    fn of<'a>(&'a self, kernel: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs().filter(move |(known, _)| *known == kernel).map(|(_, body)| body)
    }

    /// Of every kernel that has several bodies, those that suit a GPU, as a driver of it would choose them.
    pub fn suiting<'a>(kernels: impl IntoIterator<Item = &'a dyn AnyKernel>, gpu: &GpuInfo) -> Forced {
        let several = kernels.into_iter().filter(|kernel| kernel.bodies() > 1);
        let suiting = several.flat_map(|kernel| {
            let bodies = (0..kernel.bodies()).filter(|&body| kernel.suits(body, gpu));
            bodies.map(|body| (kernel.name().to_owned(), kernel.text(body).body.to_owned()))
        });
        suiting.collect()
    }
}

impl FromIterator<(String, String)> for Forced {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Forced(pairs.into_iter().collect())
    }
}

/// Why a launch takes a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// It was asked for by name.
    Forced,
    /// It was measured to be the fastest.
    Tuned,
    /// It suits the GPU, as far as is known of it.
    Heuristic,
}

impl By {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            By::Forced => "forced",
            By::Tuned => "tuned",
            By::Heuristic => "heuristic",
        }
    }
}

/// How often a body has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyRuns {
    /// Name of the kernel.
    pub kernel: String,
    /// Name of the body.
    pub body: String,
    /// Why it ran.
    pub by: By,
    /// Launches so far.
    pub launches: u64,
}

/// What a device knows of bodies.
#[derive(Default)]
pub(super) struct Bodies {
    /// Whether any is forced: where none is, a kernel of one body needs no lock.
    any: AtomicBool,
    forced: Mutex<Forced>,
    /// Whether any is known to be the fastest, and which.
    any_tuned: AtomicBool,
    tuned: Mutex<Arc<Tuned>>,
    runs: Mutex<BTreeMap<String, Vec<BodyRuns>>>,
    /// Texts that stand in for others, and whether there are any.
    replaced: Mutex<Vec<Replaced>>,
    any_replaced: AtomicBool,
}

/// A text that stands in for that of a kernel.
struct Replaced {
    kernel: String,
    /// The text that it stands in for.
    source: String,
    text: Arc<str>,
}

impl Bodies {
    pub fn force(&self, forced: Forced) {
        self.any.store(!forced.is_empty(), Ordering::Release);
        *lock(&self.forced) = forced;
    }

    pub fn any_forced(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    pub fn forced(&self) -> MutexGuard<'_, Forced> {
        lock(&self.forced)
    }

    pub fn tune(&self, tuned: Tuned) {
        self.any_tuned.store(!tuned.is_empty(), Ordering::Release);
        *lock(&self.tuned) = Arc::new(tuned);
    }

    /// What is known to be the fastest, if anything is.
    pub fn tuned(&self) -> Option<Arc<Tuned>> {
        self.any_tuned.load(Ordering::Acquire).then(|| lock(&self.tuned).clone())
    }

    /// Another text for that of a body, or the text itself again.
    #[cfg(feature = "gpu")]
    pub fn replace(&self, kernel: &dyn AnyKernel, body: &str, text: Option<String>) {
        let mut replaced = lock(&self.replaced);
        for known in (0..kernel.bodies()).map(|index| kernel.text(index)).filter(|known| known.body == body) {
            let source = known.source;
            replaced.retain(|known| known.kernel != kernel.name() || known.source != source);
            if let Some(text) = &text {
                let (kernel, source) = (kernel.name().to_owned(), source.to_owned());
                replaced.push(Replaced { kernel, source, text: text.as_str().into() });
            }
        }
        self.any_replaced.store(!replaced.is_empty(), Ordering::Release);
    }

    /// The text that stands in for this one.
    pub fn replacement(&self, kernel: &str, text: &Text<'_>) -> Option<Arc<str>> {
        if !self.any_replaced.load(Ordering::Acquire) {
            return None;
        }
        let replaced = lock(&self.replaced);
        let found = replaced.iter().find(|known| known.kernel == kernel && known.source == text.source);
        found.map(|known| known.text.clone())
    }

    /// Counts a launch.
    pub fn count(&self, kernel: &dyn AnyKernel, body: usize, by: By) {
        let mut runs = lock(&self.runs);
        let name = kernel.text(body).body;
        // Strings are made at the first launch alone.
        if !runs.contains_key(kernel.name()) {
            runs.insert(kernel.name().to_owned(), Vec::new());
        }
        let Some(runs) = runs.get_mut(kernel.name()) else { return };
        match runs.iter_mut().find(|known| known.by == by && known.body == name) {
            Some(known) => known.launches += 1,
            None => {
                let (kernel, body) = (kernel.name().to_owned(), name.to_owned());
                runs.push(BodyRuns { kernel, body, by, launches: 1 });
            }
        }
    }

    /// By kernel, in the order of their first launches.
    pub fn runs(&self) -> Vec<BodyRuns> {
        lock(&self.runs).values().flatten().cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The body, from 0, that runs a launch of `kernel`, and why. `tuned` is the one that was measured to be the fastest;
/// `prefers` says of one whether it is likely to be, `admits` whether it can run it.
pub(super) fn choose(
    kernel: &dyn AnyKernel,
    forced: &Forced,
    tuned: Option<&str>,
    prefers: &dyn Fn(usize) -> bool,
    admits: &dyn Fn(usize) -> std::result::Result<(), String>,
) -> Result<(usize, By)> {
    let mut declined = Vec::new();
    let mut can = |body: usize| match admits(body) {
        Ok(()) => true,
        Err(reason) => {
            declined.push(format!("{}: {reason}", kernel.text(body).body));
            false
        }
    };
    let mut asked = forced.of(kernel.name()).peekable();
    if asked.peek().is_some() {
        for name in asked {
            let Some(body) = (0..kernel.bodies()).find(|&body| kernel.text(body).body == name) else {
                let known: Vec<&str> = (0..kernel.bodies()).map(|body| kernel.text(body).body).collect();
                let what = format!("kernel {} has no such body", kernel.name());
                let remedy = format!("use {}", known.join(", "));
                return Err(
                    Error::input(what, format!("⟨body⟩ {}={name}", kernel.name()), remedy).of(ErrorKind::Kernel)
                );
            };
            if can(body) {
                return Ok((body, By::Forced));
            }
        }
        let what = format!("kernel {} cannot run as asked", kernel.name());
        let remedy = "name another body after it, or none";
        return Err(Error::input(what, format!("⟨body⟩ {}", declined.join("; ")), remedy).of(ErrorKind::Kernel));
    }
    let bodies = || 0..kernel.bodies();
    if let Some(body) = bodies().find(|&body| Some(kernel.text(body).body) == tuned && can(body)) {
        return Ok((body, By::Tuned));
    }
    let found = bodies().find(|&body| prefers(body) && can(body));
    found
        .or_else(|| bodies().find(|&body| can(body)))
        .map(|body| (body, By::Heuristic))
        .ok_or_else(|| Error::kernel(kernel.name(), format!("no body can run this launch ({})", declined.join("; "))))
}
