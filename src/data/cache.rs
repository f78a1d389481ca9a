//! Decoded pictures kept in memory up to a limit, the least recently used leaving first.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::decode;
use super::picture::Picture;
use crate::error::Result;

/// A cache of decoded pictures, shared by threads.
#[derive(Debug)]
pub struct PictureCache {
    capacity: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    pictures: HashMap<PathBuf, (Arc<Picture>, u64)>,
    /// Path by time of last use; times are unique.
    by_use: BTreeMap<u64, PathBuf>,
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
    pub fn open(&self, path: &Path) -> Result<Arc<Picture>> {
        if let Some(picture) = self.lock().touch(path) {
            return Ok(picture);
        }
        let picture = Arc::new(decode::open(path)?);
        self.lock().insert(path, &picture, self.capacity);
        Ok(picture)
    }

    /// A thread that panicked between two statements leaves at worst a picture too few in the cache.
    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn touch(&mut self, path: &Path) -> Option<Arc<Picture>> {
        let (picture, used) = self.pictures.get_mut(path)?;
        self.clock += 1;
        self.by_use.remove(used);
        self.by_use.insert(self.clock, path.to_owned());
        *used = self.clock;
        Some(picture.clone())
    }

    fn insert(&mut self, path: &Path, picture: &Arc<Picture>, capacity: usize) {
        // A picture larger than the whole cache would only push everything else out.
        if picture.bytes() > capacity || self.pictures.contains_key(path) {
            return;
        }
        while self.bytes + picture.bytes() > capacity
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.bytes -= self.pictures.remove(&oldest).map_or(0, |(picture, _)| picture.bytes());
        }
        self.clock += 1;
        self.by_use.insert(self.clock, path.to_owned());
        self.pictures.insert(path.to_owned(), (picture.clone(), self.clock));
        self.bytes += picture.bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::save::save_png;

    #[test]
    fn the_least_recently_used_leaves_first_and_the_limit_holds() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..4).map(|i| folder.path().join(format!("{i}.png"))).collect();
        for path in &paths {
            save_png(path, &[0; 100], 10, 10, None).unwrap();
        }
        let cache = PictureCache::new(250);
        let has = |path: &Path| cache.lock().pictures.contains_key(path);
        for index in [0, 1, 0, 2] {
            cache.open(&paths[index]).unwrap();
        }
        assert!(has(&paths[0]) && !has(&paths[1]) && has(&paths[2]));
        assert_eq!(cache.lock().bytes, 200);
        // What is kept needs no file any more.
        std::fs::remove_file(&paths[0]).unwrap();
        assert!(cache.open(&paths[0]).is_ok());
        std::fs::remove_file(&paths[1]).unwrap();
        assert!(cache.open(&paths[1]).is_err());
    }

    #[test]
    fn a_cache_of_nothing_still_opens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        save_png(&path, &[7; 4], 2, 2, None).unwrap();
        let cache = PictureCache::new(0);
        assert_eq!(cache.open(&path).unwrap().value(3), 7.0 / 255.0);
        assert!(cache.lock().pictures.is_empty());
    }
}
