//! How batches are made: sizes, order, crops, turns, threads.

use crate::dataset::patches::PatchPlan;
use crate::engine::ranks::{Ranks, Share};
use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Which ways of turning an image augmentation draws from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turns {
    /// Left-right and up-down, each by chance: four ways.
    Mirrors,
    /// As it is, mirrored left-right or up-down, rotated by 90, 180 or 270 degrees: six ways, equally likely.
    MirrorsAndRotations,
    /// All eight ways of turning a square, equally likely.
    Dihedral,
}

impl FromStr for Turns {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "mirror" => Ok(Turns::Mirrors),
            "rotate" => Ok(Turns::MirrorsAndRotations),
            "dihedral" => Ok(Turns::Dihedral),
            _ => {
                let remedy = "use mirror, rotate or dihedral";
                Err(Error::input("no such way of turning crops", format!("⟨augment⟩ {text}"), remedy))
            }
        }
    }
}

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Turns::Mirrors => "mirror",
            Turns::MirrorsAndRotations => "rotate",
            Turns::Dihedral => "dihedral",
        })
    }
}

/// How batches are made.
#[derive(Debug, Clone)]
pub struct LoaderOptions {
    /// Images a batch (at least 1), of all processes together.
    pub batch: usize,
    /// Side of the square crop in pixels (S, at least 1).
    pub size: usize,
    /// Pixels of the source beyond the crop on each side, mirrored at the image's border.
    pub halo: usize,
    /// Seed of order, crops and turns.
    pub seed: u64,
    /// A new order of the files, or patches, in every epoch; otherwise name order, wrapping.
    pub shuffle: bool,
    /// Random crops, turned by chance; otherwise the centre, never turned.
    pub augment: bool,
    /// How crops are turned.
    pub turns: Turns,
    /// Shorter side that images are enlarged to, if they are smaller, before random crops are cut.
    pub enlarge: Option<usize>,
    /// Fixed patches instead of random crops. Then a batch never reaches into the next epoch: the last one of an epoch
    /// is what is left.
    pub patches: Option<Arc<PatchPlan>>,
    /// Threads that make batches (at least 1).
    pub threads: usize,
    /// Bytes of decoded images to keep.
    pub cache_bytes: usize,
    /// Which of [`LoaderOptions::ranks`] processes reads its share of each batch, from 0.
    pub rank: usize,
    /// Processes that a batch is shared out to.
    pub ranks: usize,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        LoaderOptions {
            batch: 1,
            size: 256,
            halo: 0,
            seed: 0,
            shuffle: true,
            augment: true,
            turns: Turns::Mirrors,
            enlarge: None,
            patches: None,
            threads: 2,
            cache_bytes: 256 << 20,
            rank: 0,
            ranks: 1,
        }
    }
}

impl LoaderOptions {
    /// Batches that `epochs` passes over the data of `files` images take.
    pub fn batches(&self, epochs: u64, files: usize) -> u64 {
        match &self.patches {
            Some(plan) => epochs.saturating_mul(plan.patches.len().div_ceil(self.batch) as u64),
            None => epochs.saturating_mul(files as u64).div_ceil(self.batch as u64),
        }
    }

    /// The pass over the data of `files` images that an update belongs to, from 1: that of its batch's first image.
    pub fn epoch_of(&self, step: u64, files: usize) -> u64 {
        let before = step.saturating_sub(1);
        1 + match &self.patches {
            Some(_) => before / self.batches(1, files).max(1),
            None => before.saturating_mul(self.batch as u64) / files.max(1) as u64,
        }
    }

    /// What this process reads of the batch of `step`.
    pub fn share(&self, step: u64) -> Share {
        let images = match &self.patches {
            Some(plan) => {
                let batches = self.batches(1, 0).max(1);
                let before = ((step.max(1) - 1) % batches) as usize * self.batch;
                self.batch.min(plan.patches.len() - before)
            }
            None => self.batch,
        };
        Share::new(images, self.rank, self.ranks)
    }

    /// Images of the smallest batch there is.
    pub fn smallest_batch(&self) -> usize {
        self.share(self.patches.as_ref().map_or(1, |_| self.batches(1, 0))).of
    }

    /// The same batches, of which this process reads its share.
    pub fn shared(self, ranks: &Ranks) -> LoaderOptions {
        LoaderOptions { rank: ranks.rank(), ranks: ranks.size(), ..self }
    }

    /// The centre of each image in name order, one a batch, with `halo` pixels around.
    pub fn centres(self, halo: usize) -> LoaderOptions {
        LoaderOptions { batch: 1, halo, shuffle: false, augment: false, patches: None, rank: 0, ranks: 1, ..self }
    }
}
