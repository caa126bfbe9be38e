//! Byte strings by number. Each is kept once.

use foldhash::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes of a string beside its text: its place in the list and in a table that may be less than half full, and the counts before it.
const ENTRY: usize = 96;

#[derive(Debug, Default)]
pub(super) struct StringTable {
    all: Vec<Arc<[u8]>>,
    ids: HashMap<Arc<[u8]>, u32>,
    text: usize,
}

impl StringTable {
    /// Removes the data that only [`id`](Self::id) needs. It is made again if that is called.
    pub(super) fn close(&mut self) {
        self.ids = HashMap::default();
    }

    /// The number of strings.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The number of a string. A new string is added.
    pub(super) fn id(&mut self, bytes: &[u8]) -> u32 {
        if self.ids.is_empty() {
            self.ids = self.all.iter().cloned().zip(0..).collect();
        }
        if let Some(id) = self.ids.get(bytes) {
            return *id;
        }
        let (id, string) = (u32::try_from(self.all.len()).unwrap_or(u32::MAX), Arc::<[u8]>::from(bytes));
        self.text += bytes.len();
        self.all.push(Arc::clone(&string));
        self.ids.insert(string, id);
        id
    }

    pub(super) fn get(&self, id: u32) -> &[u8] {
        self.all.get(id as usize).map_or(&[], |string| string)
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        self.text + ENTRY * self.all.len()
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
