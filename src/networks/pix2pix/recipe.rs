//! What the rest of the program asks of pix2pix.

use crate::engine::device::Device;
use crate::engine::nn::WeightFile;
use crate::error::Result;
use crate::networks::pix2pix::network::{self as pix2pix, Generator};
use crate::networks::recipe::{Recipe, trained};
use crate::paint::painter::{self, Painter};

/// See [`network`](crate::networks::pix2pix::network).
pub struct Pix2pix;

impl Recipe for Pix2pix {
    fn name(&self) -> &'static str {
        <Generator as painter::Generator>::NAME
    }

    fn what(&self) -> &'static str {
        "SAR or grey to colour by a conditional GAN"
    }

    fn recognises(&self, file: &WeightFile) -> bool {
        file.get("g.down1.weight").is_some()
    }

    fn painter(&self, device: &Device, file: &WeightFile) -> Result<Box<dyn Painter>> {
        trained(device, Generator::of(file)?, file)
    }

    fn trained_size(&self, file: &WeightFile) -> Result<Option<usize>> {
        Ok(Some(Generator::of(file)?.side))
    }

    fn stride(&self) -> usize {
        pix2pix::STRIDE
    }

    fn enlarge(&self, size: usize) -> Option<usize> {
        Some(pix2pix::enlarged(size))
    }
}
