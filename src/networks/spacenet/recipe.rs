//! What the rest of the program asks of SpaceNet's satellite GAN.

use crate::engine::device::Device;
use crate::engine::nn::WeightFile;
use crate::error::Result;
use crate::networks::recipe::{Recipe, trained};
use crate::networks::spacenet::network::{Discriminator, Generator, STRIDE};
use crate::paint::painter::{self, Painter};

/// See [`network`](crate::networks::spacenet::network).
pub struct Spacenet;

impl Recipe for Spacenet {
    fn name(&self) -> &'static str {
        <Generator as painter::Generator>::NAME
    }

    fn what(&self) -> &'static str {
        "Any bands to any others, grey to RGB or RGB to multispectral, by a GAN on windows"
    }

    fn recognises(&self, file: &WeightFile) -> bool {
        file.get("g.in0.weight").is_some()
    }

    fn painter(&self, device: &Device, file: &WeightFile) -> Result<Box<dyn Painter>> {
        trained(device, Generator::of(file)?, file)
    }

    fn trained_size(&self, file: &WeightFile) -> Result<Option<usize>> {
        Ok(Some(Discriminator::of(file)?.size))
    }

    fn stride(&self) -> usize {
        STRIDE
    }

    fn reads_all_bands(&self) -> bool {
        true
    }
}
