//! Decoded pictures kept in memory up to a limit, the least recently used leaving first.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::dataset::picture_file::{PictureFile, PictureKey};
use crate::error::Result;
use crate::imaging::picture::Picture;

/// A cache of decoded pictures, shared by threads.
#[derive(Debug)]
pub struct PictureCache {
    capacity: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    pictures: HashMap<PictureKey, (Arc<Picture>, u64)>,
    /// Picture by time of last use; times are unique.
    by_use: BTreeMap<u64, PictureKey>,
    bytes: usize,
    clock: u64,
}

impl PictureCache {
    /// A cache of at most `capacity` bytes of samples; 0 keeps nothing.
    pub fn new(capacity: usize) -> Self {
        PictureCache { capacity, kept: Mutex::default() }
    }

    /// The decoded picture, from memory or from its file.
    ///
    /// Two threads that ask for a new file at the same time both decode it; nobody waits for the other.
    pub fn open(&self, file: &PictureFile) -> Result<Arc<Picture>> {
        let key = file.key();
        if let Some(picture) = self.lock().touch(&key) {
            return Ok(picture);
        }
        let picture = Arc::new(file.open()?);
        self.lock().insert(key, &picture, self.capacity);
        Ok(picture)
    }

    /// A thread that panicked between two statements leaves at worst a picture too few in the cache.
    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn touch(&mut self, key: &PictureKey) -> Option<Arc<Picture>> {
        let (picture, used) = self.pictures.get_mut(key)?;
        self.clock += 1;
        self.by_use.remove(used);
        self.by_use.insert(self.clock, key.clone());
        *used = self.clock;
        Some(picture.clone())
    }

    fn insert(&mut self, key: PictureKey, picture: &Arc<Picture>, capacity: usize) {
        // A picture larger than the whole cache would only push everything else out.
        if picture.bytes() > capacity || self.pictures.contains_key(&key) {
            return;
        }
        while self.bytes + picture.bytes() > capacity
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.bytes -= self.pictures.remove(&oldest).map_or(0, |(picture, _)| picture.bytes());
        }
        self.clock += 1;
        self.by_use.insert(self.clock, key.clone());
        self.pictures.insert(key, (picture.clone(), self.clock));
        self.bytes += picture.bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::codec::save::save_png;

    #[test]
    fn the_least_recently_used_leaves_first_and_the_limit_holds() {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<PictureFile> = (0..4).map(|i| folder.path().join(format!("{i}.png")).into()).collect();
        for file in &files {
            save_png(&file.path, &[0; 100], 10, 10, None).unwrap();
        }
        let cache = PictureCache::new(250);
        let has = |file: &PictureFile| cache.lock().pictures.contains_key(&file.key());
        for index in [0, 1, 0, 2] {
            cache.open(&files[index]).unwrap();
        }
        assert!(has(&files[0]) && !has(&files[1]) && has(&files[2]));
        assert_eq!(cache.lock().bytes, 200);
        // What is kept needs no file any more.
        std::fs::remove_file(&files[0].path).unwrap();
        assert!(cache.open(&files[0]).is_ok());
        std::fs::remove_file(&files[1].path).unwrap();
        assert!(cache.open(&files[1]).is_err());
    }

    #[test]
    fn a_cache_of_nothing_still_opens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        save_png(&path, &[7; 4], 2, 2, None).unwrap();
        let cache = PictureCache::new(0);
        assert_eq!(cache.open(&path.clone().into()).unwrap().value(3), 7.0 / 255.0);
        assert!(cache.lock().pictures.is_empty());
    }
}
