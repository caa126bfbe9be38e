//! Encodes BTF.

use std::collections::HashMap;

use super::raw::{HEADER, MAGIC, TypeKind};

/// Builds a BTF type by type.
#[derive(Default)]
pub(super) struct Writer {
    types: Vec<u8>,
    count: u32,
    strings: Vec<u8>,
    known: HashMap<Vec<u8>, u32>,
}

/// The common part of a type: the three words before its members, enumerators or parameters.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: TypeKind,
    pub(super) flag: bool,
    /// The size in bytes, or the id of the referenced type.
    pub(super) word: u32,
}

impl Writer {
    pub(super) fn new() -> Writer {
        let mut writer = Writer::default();
        writer.string(b"");
        writer
    }

    /// The offset of `text` in the string section. Each text is stored once.
    pub(super) fn string(&mut self, text: &[u8]) -> u32 {
        if let Some(offset) = self.known.get(text) {
            return *offset;
        }
        let offset = self.strings.len() as u32;
        self.strings.extend_from_slice(text);
        self.strings.push(0);
        self.known.insert(text.to_vec(), offset);
        offset
    }

    /// Appends a type and returns its id. `tail` is the encoding of its `count` members, enumerators or parameters.
    pub(super) fn push(&mut self, head: Head<'_>, count: usize, tail: &[u32]) -> u32 {
        let info = u32::from(head.flag) << 31 | (head.kind as u32) << 24 | count as u32;
        let name = self.string(head.name);
        for word in [name, info, head.word].iter().chain(tail) {
            self.types.extend_from_slice(&word.to_le_bytes());
        }
        self.count += 1;
        self.count
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut data = Vec::with_capacity(HEADER + self.types.len() + self.strings.len());
        data.extend_from_slice(&MAGIC);
        data.extend_from_slice(&[1, 0]);
        for word in [HEADER as u32, 0, types, types, strings] {
            data.extend_from_slice(&word.to_le_bytes());
        }
        data.extend_from_slice(&self.types);
        data.extend_from_slice(&self.strings);
        data
    }
}
