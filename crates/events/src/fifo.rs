//! A map with limits on entries and bytes that evicts the oldest entries.

use foldhash::HashMap;
use std::collections::VecDeque;
use std::hash::Hash;

/// Keys with values, in the order of insertion.
#[derive(Debug)]
pub struct Fifo<K, V> {
    entries: HashMap<K, (V, usize)>,
    oldest_first: VecDeque<K>,
    bytes: usize,
}

impl<K, V> Default for Fifo<K, V> {
    fn default() -> Fifo<K, V> {
        Fifo { entries: HashMap::default(), oldest_first: VecDeque::new(), bytes: 0 }
    }
}

impl<K: Copy + Eq + Hash, V> Fifo<K, V> {
    /// Bytes of an entry in addition to the memory that its value keeps alive: its places in the table, which may be less than half
    /// full, and in the queue.
    pub(crate) const ENTRY: usize = 5 * (size_of::<(K, (V, usize))>() + 1) / 2 + 2 * size_of::<K>();

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(value, _)| value)
    }

    pub fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// Inserts a value. The entry counts as this many bytes. An existing key keeps its age.
    pub fn insert(&mut self, key: K, value: V, bytes: usize) {
        match self.entries.insert(key, (value, bytes)) {
            Some((_, before)) => self.bytes -= before,
            None => self.oldest_first.push_back(key),
        }
        self.bytes += bytes;
    }

    /// Evicts the oldest entry if there are more than `count` entries or more than `bytes` bytes.
    pub fn evict(&mut self, count: usize, bytes: usize) -> Option<K> {
        if self.entries.len() <= count && self.bytes <= bytes {
            return None;
        }
        let oldest = self.oldest_first.pop_front()?;
        if let Some((_, bytes)) = self.entries.remove(&oldest) {
            self.bytes -= bytes;
        }
        Some(oldest)
    }

    /// All entries, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.oldest_first.iter().filter_map(|key| Some((key, self.get(key)?)))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_there_are_too_many_or_too_much() {
        let mut fifo = Fifo::default();
        for key in 0..5u64 {
            fifo.insert(key, (), 100);
        }
        fifo.insert(0, (), 700);
        assert_eq!(fifo.evict(5, usize::MAX), None);
        assert_eq!(fifo.evict(4, usize::MAX), Some(0), "though it was put in again");
        let bytes = fifo.bytes();
        assert_eq!(fifo.evict(5, bytes - 1), Some(1));
        assert!(fifo.bytes() < bytes && !fifo.contains(&1) && fifo.contains(&2));
        while fifo.evict(0, 0).is_some() {}
        assert_eq!((fifo.bytes(), fifo.get(&4)), (0, None));
        assert_eq!(fifo.evict(0, 0), None);
    }
}
