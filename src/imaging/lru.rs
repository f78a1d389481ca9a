//! Decoded data kept in memory up to a limit, the least recently used leaving first.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A cache of values up to a limit of bytes.
#[derive(Debug)]
pub struct Lru<K, V> {
    capacity: usize,
    bytes: usize,
    entries: HashMap<K, Entry<V>>,
    /// Key by time of last use; times are unique.
    by_use: BTreeMap<u64, K>,
    clock: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Lru<K, V> {
    /// A cache of at most `capacity` bytes; 0 keeps nothing.
    pub fn new(capacity: usize) -> Self {
        Lru { capacity, bytes: 0, entries: HashMap::new(), by_use: BTreeMap::new(), clock: 0 }
    }

    /// The value of `key`, if it is kept; it counts as used now.
    pub fn get(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.get_mut(key)?;
        self.clock += 1;
        if let Some(key) = self.by_use.remove(&entry.used) {
            self.by_use.insert(self.clock, key);
        }
        entry.used = self.clock;
        Some(entry.value.clone())
    }

    /// Keeps a value of `bytes` bytes and drops the least recently used for it. A value larger than the whole cache is
    /// not kept: it would only push everything else out. Nor is one whose key is there already.
    pub fn insert(&mut self, key: K, value: V, bytes: usize) {
        if bytes > self.capacity || self.entries.contains_key(&key) {
            return;
        }
        while self.bytes + bytes > self.capacity
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.bytes -= self.entries.remove(&oldest).map_or(0, |entry| entry.bytes);
        }
        self.clock += 1;
        self.bytes += bytes;
        self.by_use.insert(self.clock, key.clone());
        self.entries.insert(key, Entry { value, bytes, used: self.clock });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_leaves_first_and_the_limit_holds() {
        let mut cache = Lru::new(25);
        cache.insert(1, "one", 10);
        cache.insert(2, "two", 10);
        assert_eq!(cache.get(&1), Some("one"));
        cache.insert(3, "three", 10);
        assert_eq!((cache.get(&1), cache.get(&2), cache.get(&3)), (Some("one"), None, Some("three")));
        assert_eq!(cache.bytes, 20);
        // One that needs the room of both.
        cache.insert(4, "four", 25);
        assert_eq!((cache.get(&1), cache.get(&3), cache.get(&4), cache.bytes), (None, None, Some("four"), 25));
    }

    #[test]
    fn a_value_larger_than_the_cache_is_not_kept_and_pushes_nothing_out() {
        let mut cache = Lru::new(5);
        cache.insert('a', 1, 5);
        cache.insert('b', 2, 6);
        assert_eq!((cache.get(&'a'), cache.get(&'b')), (Some(1), None));
        let mut nothing = Lru::new(0);
        nothing.insert('a', 1, 1);
        assert_eq!(nothing.get(&'a'), None);
    }
}
