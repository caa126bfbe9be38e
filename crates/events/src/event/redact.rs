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
mod tests {
    use super::*;
    use crate::event::Payload;
    use crate::event::exec::Exec;
    use crate::event::open::Open;
    use crate::frame::Batch;
    use tracetui_shared::record::bpf::BpfRecord;
    use tracetui_shared::record::exec::ExecRecord;
    use tracetui_shared::record::open::{NEAR, OpenRecord};
    use zerocopy::{FromBytes, IntoBytes};

    fn redact(patterns: &[&str]) -> Redact {
        Redact::new(patterns.iter().map(|pattern| Regex::new(pattern).expect("a regex")).collect())
    }

    fn redacted(redact: &mut Redact, kind: Kind, payload: &[u8]) -> (FrameHeader, Vec<u8>) {
        let header = FrameHeader { kind: kind as u16, comm: *b"0123456SECRET56\0", ..FrameHeader::default() };
        let mut batch = Batch::default();
        batch.push(header, payload);
        redact.event(&batch.frames().next().expect("one"))
    }

    #[test]
    fn every_match_of_every_regex_is_replaced() {
        let mut redact = redact(&["b.d", "de", r"x*", r"(?-u:\xff)"]);
        let mut text = b"abcdef\0ab\0\xffbcd".to_vec();
        redact.text(&mut text);
        assert_eq!(text, "a…f\0ab\0……".as_bytes());
        assert_eq!(redact.count(), 3);
        // A name of fixed length ends in a whole character.
        for (mut array, fitted) in [(*b"aaaaaaaaaaaaaaa\0", "……………"), (*b"xxaaaaaaaaaaaaa\0", "xx…………")]
        {
            self::redact(&["a"]).fit(&mut array);
            assert_eq!(until_nul(&array), fitted.as_bytes());
        }
    }

    #[test]
    fn the_texts_of_an_exec_and_of_a_program_are_redacted() {
        let (filename, exe, cwd, argv) =
            (&b"./SECRET"[..], &b"SECRET\0bin\0"[..], &b"b\0a\0"[..], &b"x\0--key=SECRET\0y"[..]);
        let record = ExecRecord {
            argv_len: argv.len() as u32,
            argv_total: argv.len() as u32 + 5,
            filename_len: filename.len() as u16,
            exe_len: exe.len() as u16,
            cwd_len: cwd.len() as u16,
            ..ExecRecord::default()
        };
        let payload = [record.as_bytes(), filename, exe, cwd, argv].concat();
        let mut redact = redact(&["SECRET", "^/a/"]);
        let (header, payload) = redacted(&mut redact, Kind::Exec, &payload);
        assert_eq!(header.comm(), "0123456…56".as_bytes());
        let exec = Exec::decode(&payload).expect("an exec");
        assert_eq!((exec.filename, exec.argv), ("./…".as_bytes(), "x\0--key=…\0y".as_bytes()));
        assert_eq!((exec.exe.bytes, exec.cwd.bytes), ("…\0bin\0".as_bytes(), "…b\0".as_bytes()));
        let ExecRecord { argv_total, argv_len, .. } = exec.record;
        assert_eq!((argv_len as usize, argv_total), (exec.argv.len(), argv_len + 5));
        assert_eq!(redact.count(), 5);
        // A program.
        let mut record = <BpfRecord as zerocopy::FromZeros>::new_zeroed();
        record.symbol[..36].copy_from_slice(b"bpf_prog_0123456789abcdef_SECRET_nam");
        record.target[..6].copy_from_slice(b"SECRET");
        record.text_len = 12;
        let payload = [record.as_bytes(), b"/bin/SECRET\0"].concat();
        let (_, payload) = redacted(&mut self::redact(&["^SECRET", "SECRET$"]), Kind::Bpf, &payload);
        assert!(!payload.windows(6).any(|window| window == b"SECRET"));
        let (record, text) = BpfRecord::read_from_prefix(&payload).expect("a record");
        assert_eq!((text, record.text_len as usize), ("/bin/…\0".as_bytes(), text.len()));
        assert_eq!(until_nul(&record.symbol), "bpf_prog_0123456789abcdef_…_nam".as_bytes());
    }

    #[test]
    fn an_open_keeps_its_root_and_its_doubts() {
        let (names, path) = (&b"SECRET\0dir\0root\0srv\0"[..], &b"SECRET"[..]);
        let record = OpenRecord {
            names_len: names.len() as u16,
            path_len: path.len() as u16,
            root_off: 11,
            names_marks: mark::SHARED,
            how_marks: NEAR,
            ..OpenRecord::default()
        };
        let payload = [record.as_bytes(), names, path].concat();
        let look = |patterns: &[&str]| {
            let mut redact = redact(patterns);
            let (_, payload) = redacted(&mut redact, Kind::Open, &payload);
            let open = Open::decode(&payload).expect("an open");
            assert_eq!(open.names.absent(), None);
            let shown = |names: Components<'_>| {
                let mut path = Vec::new();
                names.write(&mut path);
                String::from_utf8(path).expect("UTF-8")
            };
            (shown(open.names), open.root().map(shown), String::from_utf8_lossy(open.path).into_owned(), redact.count())
        };
        let all = |abs: &str, root: Option<&str>, path: &str, count| {
            (abs.to_owned(), root.map(str::to_owned), path.to_owned(), count)
        };
        // One is in the comm.
        assert_eq!(look(&["SECRET"]), all("/srv/root/dir/…", Some("/srv/root"), "…", 3));
        assert_eq!(look(&["^/srv"]), all("/…/root/dir/SECRET", Some("/…/root"), "SECRET", 1));
        assert_eq!(look(&["root/dir"]), all("/srv/…/SECRET", None, "SECRET", 1));
        assert_eq!(look(&["^/s.*$"]), all("/…", Some("/…"), "SECRET", 1));
        assert_eq!(look(&["none"]), all("/srv/root/dir/SECRET", Some("/srv/root"), "SECRET", 0));
    }
}
