//! A cache of the formatted fields of equal events. Programs open the same files again and again.

use crate::limits;
use rustc_hash::FxHasher;
use std::hash::Hasher as _;

/// Texts by the bytes that decide them. Each key has one place; keys that share a place replace each other, so a chosen key costs one
/// text at most.
#[derive(Debug, Default)]
pub(super) struct Memo {
    places: Vec<Entry>,
    /// The place of the last key.
    at: usize,
}

#[derive(Debug, Default)]
struct Entry {
    /// The parts of the key, then the text.
    bytes: Vec<u8>,
    /// The lengths of the parts.
    lens: [usize; 3],
}

impl Entry {
    /// The text, if the entry has this key.
    fn text(&self, key: &[&[u8]; 3]) -> Option<&[u8]> {
        let mut rest = self.bytes.as_slice();
        for (part, len) in key.iter().zip(self.lens) {
            rest = rest.strip_prefix(*part).filter(|_| part.len() == len)?;
        }
        Some(rest).filter(|text| !text.is_empty())
    }
}

impl Memo {
    /// The text of a key, if it is cached.
    pub(super) fn text(&mut self, key: &[&[u8]; 3]) -> Option<&[u8]> {
        if self.places.is_empty() {
            self.places.resize_with(limits::FORMATTED, Entry::default);
        }
        let mut hasher = FxHasher::default();
        key.iter().for_each(|part| hasher.write(part));
        self.at = hasher.finish() as usize % limits::FORMATTED;
        self.places.get(self.at)?.text(key)
    }

    /// Caches the text of the key of the last [`text`](Self::text), unless it is long.
    pub(super) fn set(&mut self, key: &[&[u8]; 3], text: &[u8]) {
        let len = key.iter().map(|part| part.len()).sum::<usize>() + text.len();
        let Some(entry) = self.places.get_mut(self.at).filter(|_| len <= limits::FORMATTED_BYTES) else { return };
        entry.bytes.clear();
        entry.bytes.reserve_exact(len);
        entry.lens = key.map(<[u8]>::len);
        key.iter().for_each(|part| entry.bytes.extend_from_slice(part));
        entry.bytes.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_belongs_to_its_whole_key() {
        let mut memo = Memo::default();
        let key: [&[u8]; 3] = [b"ab", b"c", b""];
        assert_eq!(memo.text(&key), None);
        memo.set(&key, b"text");
        assert_eq!(memo.text(&key), Some(&b"text"[..]));
        for other in [[&b"a"[..], b"bc", b""], [b"ab", b"", b"c"], [b"ab", b"c", b"t"], [b"ab", b"d", b""]] {
            assert_eq!(memo.text(&other), None, "{other:?}");
        }
        let long = vec![b'x'; limits::FORMATTED_BYTES];
        memo.text(&key);
        memo.set(&key, &long);
        assert_eq!(memo.text(&key), Some(&b"text"[..]), "too long to be cached");
    }
}
