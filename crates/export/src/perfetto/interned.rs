//! The texts that a sequence of packets defines once.

use super::id;
use super::proto::{message, number, text};
use std::collections::HashMap;
use tracetui_events::limits;

/// Texts, each with its id.
type Known = HashMap<Box<str>, u64>;

#[derive(Default)]
pub(super) struct Interned {
    pub(super) categories: Known,
    pub(super) keys: Known,
    pub(super) names: Known,
    pub(super) values: Known,
}

/// The id of a text, which is defined at its first use.
pub(super) fn iid(known: &mut Known, list: u64, name: &str, defines: &mut Vec<u8>) -> u64 {
    if let Some(iid) = known.get(name) {
        return *iid;
    }
    let iid = known.len() as u64 + 1;
    known.insert(name.into(), iid);
    message(list, defines, |entry| {
        number(id::interned::IID, iid, entry);
        text(id::interned::TEXT, name, entry);
    });
    iid
}

/// The id of a text from outside. `None` if the text is long, or if there is no room for it.
pub(super) fn intern(
    known: &mut Known,
    bytes: &mut usize,
    list: u64,
    name: &str,
    defines: &mut Vec<u8>,
) -> Option<u64> {
    if !known.contains_key(name) {
        if name.len() > limits::PERFETTO_NAME || *bytes > limits::PERFETTO_INTERNED {
            return None;
        }
        *bytes += name.len() + INTERNED;
    }
    Some(iid(known, list, name, defines))
}

/// Bytes of an interned text beside the text: its place in the table, which may be less than half full, and the
/// overhead of the allocator.
const INTERNED: usize = 5 * size_of::<(Box<str>, u64)>() / 2 + 16;
