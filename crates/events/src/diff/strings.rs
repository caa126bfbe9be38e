//! Byte strings by number. Each is kept once.

use foldhash::fast::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;

/// Bytes of a string beside its text: its end, and its place in a table that may be less than half full.
const ENTRY: usize = 20;

#[derive(Debug, Default)]
pub(super) struct StringTable {
    /// All strings, one after the other.
    text: Vec<u8>,
    /// Where each string ends.
    ends: Vec<usize>,
    /// Places by hash: the number of a string plus 1, or 0.
    places: Vec<u32>,
    /// With a random key: the strings are from outside.
    hasher: RandomState,
}

impl StringTable {
    /// Removes the data that only [`id`](Self::id) needs. It is made again if that is called.
    pub(super) fn close(&mut self) {
        self.places = Vec::new();
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// The number of strings.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The number of a string. A new string is added.
    pub(super) fn id(&mut self, bytes: &[u8]) -> u32 {
        if 4 * self.ends.len() >= 3 * self.places.len() {
            self.places = vec![0; (2 * self.ends.len()).next_power_of_two().max(64)];
            for id in 0..self.number() {
                let place = self.place(self.get(id));
                self.places[place] = id + 1;
            }
        }
        let place = self.place(bytes);
        if let Some(id) = self.places[place].checked_sub(1) {
            return id;
        }
        let id = self.number();
        self.places[place] = id.saturating_add(1);
        self.text.extend_from_slice(bytes);
        self.ends.push(self.text.len());
        id
    }

    fn number(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    /// The place of a string, or the free one for it.
    fn place(&self, bytes: &[u8]) -> usize {
        let mask = self.places.len() - 1;
        let mut place = self.hasher.hash_one(bytes) as usize & mask;
        while self.places[place].checked_sub(1).is_some_and(|id| self.get(id) != bytes) {
            place = (place + 1) & mask;
        }
        place
    }

    pub(super) fn get(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = id.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        start.zip(self.ends.get(id)).and_then(|(start, end)| self.text.get(start..*end)).unwrap_or_default()
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + ENTRY * self.ends.len()
    }
}

/// Calls `with` for every number in two tables.
pub(super) fn each<T: Copy>([a, b]: [&BTreeMap<u32, T>; 2], mut with: impl FnMut(u32, Option<T>, Option<T>)) {
    let ids: BTreeSet<u32> = a.keys().chain(b.keys()).copied().collect();
    ids.into_iter().for_each(|id| with(id, a.get(&id).copied(), b.get(&id).copied()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_keep_their_numbers_while_the_table_grows_and_after_it_was_closed() {
        let mut strings = StringTable::default();
        let text =
            |number: u32| vec![b'x'; number as usize % 7].into_iter().chain(number.to_le_bytes()).collect::<Vec<_>>();
        for round in 0..3 {
            for number in 0..1000 {
                assert_eq!(strings.id(&text(number)), number, "{round}");
            }
            strings.close();
        }
        assert_eq!((strings.id(b""), strings.id(b""), strings.len()), (1000, 1000, 1001));
        assert!((0..1000).all(|number| strings.get(number) == text(number)));
        assert!(strings.get(1000).is_empty() && strings.get(1001).is_empty());
    }
}
