//! Byte strings by number. Each is kept once.

use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of a string beside its contents: two references, its number, the counters of the `Arc`, the place in a table that
/// may be half empty.
const ENTRY: usize = 96;

#[derive(Debug, Default)]
pub(super) struct StringTable {
    /// Hashed with a random key: the strings are from outside.
    ids: HashMap<Arc<[u8]>, u32, RandomState>,
    list: Vec<Arc<[u8]>>,
    bytes: usize,
}

impl StringTable {
    /// As [`id`](Self::id), for a string of another table.
    pub(super) fn share(&mut self, text: &Arc<[u8]>) -> u32 {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        self.add(Arc::clone(text))
    }

    pub(super) fn close(&mut self) {
        self.ids = HashMap::default();
    }

    /// The strings, in the order of their numbers.
    pub(super) fn all(&self) -> &[Arc<[u8]>] {
        &self.list
    }

    /// The number of a string. A new string is added.
    pub(super) fn id(&mut self, bytes: &[u8]) -> u32 {
        if let Some(id) = self.ids.get(bytes) {
            return *id;
        }
        self.add(bytes.into())
    }

    fn add(&mut self, text: Arc<[u8]>) -> u32 {
        let id = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.bytes += ENTRY + text.len();
        self.ids.insert(Arc::clone(&text), id);
        self.list.push(text);
        id
    }

    pub(super) fn get(&self, id: u32) -> &[u8] {
        self.list.get(id as usize).map_or(&[], |text| text)
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
