//! What the rest of the program asks of colournet.

use crate::engine::device::Device;
use crate::engine::nn::WeightFile;
use crate::error::Result;
use crate::networks::classifier::network::Classifier;
use crate::networks::colournet::network::{ARCHITECTURE, STRIDE};
use crate::networks::recipe::Recipe;
use crate::paint::painter::Painter;

/// See [`network`](crate::networks::colournet::network).
pub struct Colournet;

impl Recipe for Colournet {
    fn name(&self) -> &'static str {
        ARCHITECTURE.name
    }

    fn what(&self) -> &'static str {
        "SAR or grey to colour by classification over ab bins"
    }

    fn recognises(&self, file: &WeightFile) -> bool {
        file.get("conv1_1.weight").is_some()
    }

    fn painter(&self, device: &Device, file: &WeightFile) -> Result<Box<dyn Painter>> {
        Ok(Box::new(Classifier::read(device, &ARCHITECTURE, file, false)?))
    }

    fn stride(&self) -> usize {
        STRIDE
    }
}
