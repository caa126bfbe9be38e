//! Replaces the matches of regexes in every text of an excerpt's frames.

use super::{Components, redacted, split};
use crate::frame::FrameRef;
use crate::text::REDACTED;
use regex::bytes::Regex;
use std::ops::Range;
use tracetui_shared::header::{FrameHeader, until_nul};
use tracetui_shared::kind::Kind;
use tracetui_shared::record::mark;

/// The regexes, and the number of replacements so far.
#[derive(Clone, Debug)]
pub struct Redact {
    patterns: Vec<Regex>,
    pub(super) count: u64,
}

impl Redact {
    /// Makes a redactor that replaces the matches of any of these regexes.
    pub fn new(patterns: Vec<Regex>) -> Redact {
        Redact { patterns, count: 0 }
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// Redacts a text, or several texts separated by NUL.
    pub(crate) fn text(&mut self, text: &mut Vec<u8>) {
        let redacted: Vec<_> = text.split(|byte| *byte == 0).map(|one| self.one(one)).collect();
        if redacted.iter().any(Option::is_some) {
            let whole = text.split(|byte| *byte == 0).zip(redacted);
            let whole: Vec<_> = whole.map(|(old, new)| new.unwrap_or_else(|| old.to_vec())).collect();
            *text = whole.join(&0);
        }
    }

    /// A text with its matches replaced; `None` without a match.
    fn one(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        let all = self.patterns.iter().flat_map(|pattern| pattern.find_iter(text)).map(|found| found.range());
        let mut found: Vec<Range<usize>> = all.filter(|range| !range.is_empty()).collect();
        found.sort_unstable_by_key(|range| (range.start, range.end));
        let mut out = Vec::new();
        let mut end = None;
        for Range { start, end: to } in found {
            if end.is_none_or(|end| start >= end) {
                out.extend_from_slice(text.get(end.unwrap_or(0)..start)?);
                out.extend_from_slice(REDACTED.as_bytes());
                self.count += 1;
            }
            end = end.max(Some(to));
        }
        out.extend_from_slice(text.get(end?..)?);
        Some(out)
    }

    /// A text with its matches replaced.
    pub(super) fn of(&mut self, text: &[u8]) -> Vec<u8> {
        self.one(text).unwrap_or_else(|| text.to_vec())
    }

    /// A path below a directory with its matches replaced. A match that begins in the directory replaces the path.
    pub(super) fn below(&mut self, dir: Components<'_>, path: &[u8]) -> Vec<u8> {
        let out = self.of(path);
        let dir = dir.to_vec();
        let whole = [&dir[..], b"/", &out].concat();
        let spans = |found: regex::bytes::Match<'_>| found.start() <= dir.len() && found.end() > dir.len() + 1;
        if out.starts_with(b"/") || !self.patterns.iter().any(|pattern| pattern.find_iter(&whole).any(spans)) {
            return out;
        }
        self.count += 1;
        REDACTED.as_bytes().to_vec()
    }

    /// [`Self::names`], with what follows them in the record.
    pub(super) fn names_in(&mut self, whole: &[u8], names: Components<'_>) -> Vec<u8> {
        let after = whole.get(names.bytes.len()..).unwrap_or_default();
        [&short(self.names(names)), after].concat()
    }

    /// Redacts a path as the probes carry it. The regexes see the path as it is shown.
    pub(super) fn names(&mut self, names: Components<'_>) -> Vec<u8> {
        let Some(path) = self.one(&names.to_vec()).filter(|_| !names.bytes.is_empty()) else {
            return names.bytes.to_vec();
        };
        if names.marks & mark::PSEUDO != 0 {
            return [&path, &b"\0"[..]].concat();
        }
        let path = path.strip_prefix(b"/").unwrap_or(&path);
        path.split(|byte| *byte == b'/').rev().flat_map(|name| name.iter().copied().chain([0])).collect()
    }

    /// A text with a NUL in an array.
    pub(super) fn fit(&mut self, array: &mut [u8]) {
        let Some(text) = self.one(until_nul(array)) else { return };
        let room = array.len().saturating_sub(1);
        let text = text.get(..whole_characters(&text, room)).unwrap_or_default();
        array.fill(0);
        array.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
    }

    /// The header and the payload of an event of an excerpt, without the facts about its process.
    pub(crate) fn event(&mut self, frame: &FrameRef<'_>) -> (FrameHeader, Vec<u8>) {
        let mut header = frame.header;
        self.fit(&mut header.comm);
        let record = split(frame).map_or(frame.payload, |(record, _)| record);
        let before = self.count;
        let redacted = Kind::try_from(header.kind).ok().and_then(|kind| redacted(kind, record, self));
        let redacted = redacted.filter(|_| self.count != before).unwrap_or_else(|| record.to_vec());
        (header, [&redacted, frame.payload.get(record.len()..).unwrap_or_default()].concat())
    }
}

/// A text whose length fits in its field.
pub(super) fn short(mut text: Vec<u8>) -> Vec<u8> {
    // What follows names has room.
    text.truncate(whole_characters(&text, usize::from(u16::MAX) - 64));
    text
}

/// The length of the longest prefix of at most `most` bytes that does not end inside a replacement.
fn whole_characters(text: &[u8], most: usize) -> usize {
    let most = most.min(text.len());
    let starts = |at: &usize| text.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80);
    (0..=most).rev().take(REDACTED.len()).find(starts).unwrap_or(most)
}

#[cfg(test)]
mod tests;
