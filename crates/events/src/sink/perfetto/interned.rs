//! The texts that a sequence of packets defines once.

use super::id;
use super::proto::{message, number, text};
use crate::limits;
use std::borrow::Cow;
use std::collections::HashMap;

/// The texts that a sequence has defined, each with its id.
#[derive(Debug, Default)]
pub(super) struct Interned {
    pub(super) categories: HashMap<&'static str, u64>,
    pub(super) keys: HashMap<Cow<'static, str>, u64>,
    pub(super) names: HashMap<Box<str>, u64>,
    pub(super) values: HashMap<Box<str>, u64>,
}

pub(super) fn define(list: u64, iid: u64, name: &str, out: &mut Vec<u8>) {
    message(list, out, |entry| {
        number(id::interned::IID, iid, entry);
        text(id::interned::TEXT, name, entry);
    });
}

/// The id of a text. `None` if the text is long, or if there is no room for it.
pub(super) fn intern(
    known: &mut HashMap<Box<str>, u64>,
    bytes: &mut usize,
    list: u64,
    name: &str,
    defines: &mut Vec<u8>,
) -> Option<u64> {
    if let Some(iid) = known.get(name) {
        return Some(*iid);
    }
    if name.len() > limits::PERFETTO_NAME || *bytes > limits::PERFETTO_INTERNED {
        return None;
    }
    let iid = known.len() as u64 + 1;
    *bytes += name.len() + INTERNED;
    known.insert(name.into(), iid);
    define(list, iid, name, defines);
    Some(iid)
}

/// Bytes of an interned text beside the text: its place in the table, which may be less than half full, and the
/// overhead of the allocator.
const INTERNED: usize = 5 * size_of::<(Box<str>, u64)>() / 2 + 16;
