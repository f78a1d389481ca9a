//! Decoded images kept in memory, shared by the threads that make batches.

use std::sync::{Arc, Mutex, PoisonError};

use crate::dataset::picture_file::{PictureFile, PictureKey};
use crate::error::Result;
use crate::imaging::lru::Lru;
use crate::imaging::picture::Picture;

/// A cache of decoded images, shared by threads.
#[derive(Debug)]
pub struct PictureCache(Mutex<Lru<PictureKey, Arc<Picture>>>);

impl PictureCache {
    /// A cache of at most `capacity` bytes of samples; 0 keeps nothing.
    pub fn new(capacity: usize) -> Self {
        PictureCache(Mutex::new(Lru::new(capacity)))
    }

    /// The decoded image, from memory or from its file.
    ///
    /// Two threads that ask for a new file at the same time both decode it; neither waits for the other.
    ///
    /// # Errors
    /// As [`PictureFile::open`].
    pub fn open(&self, file: &PictureFile) -> Result<Arc<Picture>> {
        let key = file.key();
        if let Some(picture) = self.lock().get(&key) {
            return Ok(picture);
        }
        let picture = Arc::new(file.open()?);
        self.lock().insert(key, picture.clone(), picture.bytes());
        Ok(picture)
    }

    /// A thread that panicked between two statements leaves at worst an image too few in the cache.
    fn lock(&self) -> std::sync::MutexGuard<'_, Lru<PictureKey, Arc<Picture>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::codec::save::save_png;

    #[test]
    fn what_is_kept_needs_no_file_any_more_and_the_limit_holds() {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<PictureFile> = (0..3).map(|i| folder.path().join(format!("{i}.png")).into()).collect();
        for file in &files {
            save_png(file.path(), &[0; 100], 10, 10, None).unwrap();
        }
        let cache = PictureCache::new(250);
        for index in [0, 1, 0, 2] {
            cache.open(&files[index]).unwrap();
        }
        files.iter().for_each(|file| std::fs::remove_file(file.path()).unwrap());
        let kept: Vec<bool> = files.iter().map(|file| cache.open(file).is_ok()).collect();
        assert_eq!(kept, [true, false, true]);
    }

    #[test]
    fn a_cache_of_nothing_still_opens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        save_png(&path, &[7; 4], 2, 2, None).unwrap();
        let (cache, file) = (PictureCache::new(0), PictureFile::from(path));
        assert_eq!(cache.open(&file).unwrap().value(3), 7.0 / 255.0);
        std::fs::remove_file(file.path()).unwrap();
        assert!(cache.open(&file).is_err());
    }
}
