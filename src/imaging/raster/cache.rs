//! Decoded chunks kept in memory up to a limit, the least recently used leaving first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Which image of the file, and which of its chunks.
pub(super) type ChunkId = (usize, usize);

/// A cache of decoded chunks.
#[derive(Debug)]
pub(super) struct ChunkCache {
    capacity: usize,
    bytes: usize,
    chunks: HashMap<ChunkId, (Arc<Vec<u8>>, u64)>,
    /// Chunk by time of last use; times are unique.
    by_use: BTreeMap<u64, ChunkId>,
    clock: u64,
}

impl ChunkCache {
    /// A cache of at most `capacity` bytes; 0 keeps nothing.
    pub fn new(capacity: usize) -> Self {
        ChunkCache { capacity, bytes: 0, chunks: HashMap::new(), by_use: BTreeMap::new(), clock: 0 }
    }

    /// The chunk, if it is kept.
    pub fn get(&mut self, id: ChunkId) -> Option<Arc<Vec<u8>>> {
        let (chunk, used) = self.chunks.get_mut(&id)?;
        self.clock += 1;
        self.by_use.remove(used);
        self.by_use.insert(self.clock, id);
        *used = self.clock;
        Some(chunk.clone())
    }

    /// Keeps a chunk, and lets the oldest go for it.
    pub fn insert(&mut self, id: ChunkId, chunk: Arc<Vec<u8>>) {
        if chunk.len() > self.capacity || self.chunks.contains_key(&id) {
            return;
        }
        self.clock += 1;
        self.bytes += chunk.len();
        self.by_use.insert(self.clock, id);
        self.chunks.insert(id, (chunk, self.clock));
        while self.bytes > self.capacity {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            if let Some((chunk, _)) = self.chunks.remove(&oldest) {
                self.bytes -= chunk.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chunk_that_was_used_longest_ago_leaves_first() {
        let mut cache = ChunkCache::new(20);
        let chunk = |value| Arc::new(vec![value; 10]);
        cache.insert((0, 1), chunk(1));
        cache.insert((0, 2), chunk(2));
        assert!(cache.get((0, 1)).is_some());
        cache.insert((1, 1), chunk(3));
        assert!(cache.get((0, 2)).is_none());
        assert_eq!(*cache.get((0, 1)).unwrap(), vec![1; 10]);
        assert_eq!(*cache.get((1, 1)).unwrap(), vec![3; 10]);
        assert_eq!(cache.bytes, 20);
    }

    #[test]
    fn a_chunk_larger_than_the_cache_is_not_kept() {
        let mut cache = ChunkCache::new(5);
        cache.insert((0, 0), Arc::new(vec![0; 6]));
        assert!(cache.get((0, 0)).is_none());
    }
}
