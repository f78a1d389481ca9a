//! What the rest of the program asks of window8.

use crate::engine::device::Device;
use crate::engine::nn::WeightFile;
use crate::error::Result;
use crate::networks::classifier::network::Classifier;
use crate::networks::recipe::Recipe;
use crate::networks::window8::network::{ARCHITECTURE, HALO};
use crate::paint::painter::Painter;

/// See [`network`](crate::networks::window8::network).
pub struct Window8;

impl Recipe for Window8 {
    fn name(&self) -> &'static str {
        ARCHITECTURE.name
    }

    fn what(&self) -> &'static str {
        "The same by a small network that reads 17x17 pixels around each"
    }

    fn recognises(&self, file: &WeightFile) -> bool {
        file.get("conv1.weight").is_some()
    }

    fn painter(&self, device: &Device, file: &WeightFile) -> Result<Box<dyn Painter>> {
        Ok(Box::new(Classifier::read(device, &ARCHITECTURE, file, false)?))
    }

    fn margin(&self) -> usize {
        HALO
    }
}
