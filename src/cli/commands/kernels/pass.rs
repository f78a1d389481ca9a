//! The pass whose launches are timed, for commands that time some of them.

use crate::cli::args::network::{Network, NetworkArgs, networks};
use crate::cli::commands::profile::PassName;
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::networks::NETWORKS;
use crate::train::workload::{Pass, Workload, WorkloadConfig};
use crate::workshop::launches::Convolution;
use clap::Args;

/// What runs, and which of its launches count.
#[derive(Args, Debug)]
pub struct PassArgs {
    /// Network whose pass is run
    #[arg(long, value_name = "NETWORK", default_value = NETWORKS[0].name(), value_parser = networks())]
    model: Network,
    /// Which pass
    #[arg(long, value_name = "PASS", default_value = "train")]
    pass: PassName,
    /// Pictures a batch
    #[arg(long, value_name = "B", default_value_t = 1)]
    batch: usize,
    /// Only launches with this in their shapes, e.g. "[3, 3, 64, 64]"; or a convolution by itself, of any network or
    /// none: NxHxWxC,KhxKwxCxO and perhaps ,stride2 ,dilation2
    #[arg(long, value_name = "TEXT")]
    shape: Option<String>,
    #[command(flatten)]
    network: NetworkArgs,
}

impl PassArgs {
    /// The convolution that is asked for in place of a network.
    ///
    /// # Errors
    /// Sizes that make none.
    fn convolution(&self) -> Result<Option<Convolution>> {
        convolution(self.shape.as_deref())
    }

    /// What the shapes of a launch must hold.
    ///
    /// # Errors
    /// As [`PassArgs::run`].
    pub fn filter(&self) -> Result<Option<&str>> {
        Ok(if self.convolution()?.is_some() { None } else { self.shape.as_deref() })
    }

    /// Hands `work` what runs the pass once, each time that it is called.
    ///
    /// # Errors
    /// Flags that make no sense; no memory; whatever `work` reports.
    pub fn run<T>(&self, device: &Device, work: impl FnOnce(&mut dyn FnMut() -> Result<()>) -> Result<T>) -> Result<T> {
        match self.convolution()? {
            Some(convolution) => work(&mut convolution.pass(device)?),
            None => of_network(device, &self.network, self.model, (self.pass, self.batch), work),
        }
    }
}

/// A convolution by its sizes, where the text begins with one.
///
/// # Errors
/// Sizes that make none.
pub fn convolution(shape: Option<&str>) -> Result<Option<Convolution>> {
    let sizes = shape.filter(|text| text.starts_with(|first: char| first.is_ascii_digit()));
    sizes.map(str::parse).transpose()
}

/// The same of a pass of a network with a batch of this many pictures.
///
/// # Errors
/// As [`PassArgs::run`].
pub fn of_network<T>(
    device: &Device,
    network: &NetworkArgs,
    model: Network,
    (pass, batch): (PassName, usize),
    work: impl FnOnce(&mut dyn FnMut() -> Result<()>) -> Result<T>,
) -> Result<T> {
    crate::ensure!(batch > 0, Error::input("must be at least 1", "⟨batch⟩ 0", "use 1 or more"));
    let (pass, size) = (pass.pass(), network.size(model)?);
    let mut learner = network.learner(model, device, None, pass == Pass::Train)?;
    let config = WorkloadConfig { pass, size, batch, halo: model.halo() };
    let mut workload = Workload::new(learner.as_mut(), &config)?;
    work(&mut || workload.run(device))
}
