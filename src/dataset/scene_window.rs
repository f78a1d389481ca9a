//! A window of a scene, read as an image of its own.

use std::path::Path;
use std::sync::Arc;

use crate::dataset::prepared::PreparedScene;
use crate::error::Result;
use crate::imaging::picture::{Picture, PictureInfo};
use crate::imaging::pixels::Area;

/// A window of a scene.
#[derive(Debug, Clone)]
pub struct SceneWindow {
    scene: Arc<PreparedScene>,
    area: Area,
}

impl PartialEq for SceneWindow {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.scene, &other.scene) && self.area == other.area
    }
}

impl SceneWindow {
    /// The window `area` of a scene.
    pub(super) fn new(scene: Arc<PreparedScene>, area: Area) -> Self {
        SceneWindow { scene, area }
    }

    /// The file of the scene.
    pub fn path(&self) -> &Path {
        self.scene.file().path()
    }

    /// Where in the scene it lies.
    pub fn area(&self) -> Area {
        self.area
    }

    /// Its size and bands.
    pub(super) fn info(&self) -> PictureInfo {
        let Area { width, height, .. } = self.area;
        PictureInfo { width, height, bands: self.scene.bands(), depth: self.scene.depth() }
    }

    /// Reads it.
    pub(super) fn open(&self) -> Result<Picture> {
        self.scene.picture(self.area).map(|(picture, _)| picture)
    }
}
