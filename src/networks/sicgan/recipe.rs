//! What the rest of the program asks of SICGAN.

use crate::dataset::loader_options::Turns;
use crate::engine::device::Device;
use crate::engine::nn::WeightFile;
use crate::error::Result;
use crate::networks::recipe::{Recipe, trained};
use crate::networks::sicgan::network::{self as sicgan, Generator};
use crate::paint::painter::{self, Painter};

/// See [`network`](crate::networks::sicgan::network).
pub struct Sicgan;

impl Recipe for Sicgan {
    fn name(&self) -> &'static str {
        <Generator as painter::Generator>::NAME
    }

    fn what(&self) -> &'static str {
        "Grey to colour by a GAN on patches, from as little as one picture"
    }

    fn recognises(&self, file: &WeightFile) -> bool {
        file.get("g.conv1.weight").is_some()
    }

    fn painter(&self, device: &Device, file: &WeightFile) -> Result<Box<dyn Painter>> {
        trained(device, Generator::of(file)?, file)
    }

    fn trained_size(&self, file: &WeightFile) -> Result<Option<usize>> {
        Ok(Some(Generator::of(file)?.patch))
    }

    fn halo(&self) -> usize {
        sicgan::HALO
    }

    fn turns(&self) -> Turns {
        Turns::MirrorsAndRotations
    }
}
