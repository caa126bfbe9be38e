use super::super::{FilterOptions, NoNames};
use super::*;
use crate::event::describe;
use crate::sink::testing;
use proptest::prelude::proptest;
use tracetui_shared::id::Tgid;
use zerocopy::IntoBytes as _;

fn needs(filter: &str) -> Needs {
    let options = FilterOptions { filter: vec![filter.to_owned()], ..FilterOptions::default() };
    Needs::of(&[&options.compile(&NoNames).expect("a filter")], &NoNames).expect("no tree")
}

fn entry(kind: Kind) -> IndexEntry {
    let mut entry = IndexEntry::default();
    entry.events[kind as usize] = 1;
    entry
}

fn thread(tgid: u32, comm: &str) -> FrameHeader {
    let mut header = FrameHeader { tgid: Tgid(tgid), ..FrameHeader::default() };
    header.comm[..comm.len()].copy_from_slice(comm.as_bytes());
    header
}

#[test]
fn terms_need_threads_and_kinds() {
    let open = |filter, thread| needs(filter).may_be(&entry(Kind::Open), Some(&[thread]), None);
    let (seven, cc1) = (thread(7, ""), thread(0, "cc1"));
    for filter in ["pid=7", "pid=6,7", "(pid=7 or comm=x)", "pid!=8", "pid>6", "not pid=7", "pid=7 kind!=exec", "err"] {
        assert!(open(filter, seven), "{filter}");
    }
    for filter in ["pid=8", "comm=cc1", "pid=7 comm=x", "pid=7 kind=exec", "pid=7 argv=x"] {
        assert!(!open(filter, seven), "{filter}");
    }
    for filter in ["comm=cc1", "comm=c*", "comm~x", "name=cc1", "word", "comm=cc1 or pid=1", "ppid=7"] {
        assert!(open(filter, cc1), "{filter}");
    }
    for (filter, has) in [("pid=7", true), ("comm=x err", true), ("path=/x", false), ("word", false)] {
        assert_eq!(needs(filter).has_threads(), has, "{filter}");
    }
}

#[test]
fn paths_need_their_last_components() {
    let may = |filter: &str, kind: Kind, text: &str| {
        let needs = needs(filter);
        let found: Vec<_> = needs.texts.iter().map(|regex| regex.is_match(text.as_bytes())).collect();
        needs.may_be(&entry(kind), Some(&[]), Some(&found))
    };
    for (filter, name) in [
        ("path=/usr/include/stdio.h", "stdio.h"),
        ("path=*/stdio.h", "stdio.h"),
        ("file=/[a-z]*/?/stdio.h", "stdio.h"),
        ("path=stdio.h", "stdio.h"),
        ("filename=/bin/sh,/bin/ls or exe=/bin/x", "ls"),
    ] {
        let kind = if filter.starts_with("filename") { Kind::Exec } else { Kind::Open };
        assert!(may(filter, kind, &format!("..{name}..")), "{filter}");
        assert!(!may(filter, kind, "other"), "{filter}");
        assert!(!may(filter, Kind::Exit, name), "{filter}");
    }
    for filter in [
        "path=*stdio.h",
        "path=/usr/*",
        "path=/usr/stdio.[ch]",
        "path~stdio",
        "cwd=/x or path=/y",
        "root=/srv",
        "abs_path=/etc/",
    ] {
        assert!(may(filter, if filter.starts_with("cwd") { Kind::Exec } else { Kind::Open }, ""), "{filter}");
    }
    // A word is searched as a text.
    let with = |filter: &str, found: bool| {
        let needs = needs(filter);
        needs.may_be(&entry(Kind::Open), Some(&[]), Some(&vec![found; needs.texts.len()]))
    };
    for (filter, may) in [("stdio", false), ("stdio kind=open", false), ("stdio or err", true), ("not stdio", true)] {
        assert_eq!((with(filter, false), with(filter, true)), (may, true), "{filter}");
    }
    assert!(with("443", false) && with("enoent", false) && !with("stdio kind=exec", true));
}

proptest! {
    #[test]
    fn frames_have_the_last_components_of_paths((header, payload) in testing::any()) {
        testing::with_seen(header, &payload, |seen| {
            let fields = || describe::fields(seen.event.kind());
            let value = |field: &describe::Field| (field.get)(seen).text().unwrap_or_default();
            // The record of a request has another part, which is dropped from its event.
            let is_whole = !fields().any(|field| field.name == "via" && *value(field) == *b"io_uring");
            for field in fields().filter(|field| is_whole && field.has(props::LEAF)) {
                let path = value(field);
                let leaf = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                assert!(memchr::memmem::find(&payload, leaf).is_some(), "{} of {:?}", field.name, header.kind);
            }
        });
    }
}

proptest! {
    #[test]
    fn columns_have_words_from_frames_or_of_their_own((header, payload) in testing::any()) {
        check_words(header, &payload);
    }
}

#[test]
fn the_words_of_each_kind_are_from_frames_or_of_their_own() {
    for (header, payload) in testing::all() {
        check_words(header, &payload);
    }
}

/// Checks that each part of the columns that is searched as a text of frames is in the frame or in a table.
fn check_words(header: FrameHeader, payload: &[u8]) {
    let mut columns = Vec::new();
    testing::with_seen(header, payload, |seen| eval::columns(seen, &mut columns));
    let frames = [testing::host().bytes(), header.as_bytes(), payload].concat();
    for word in [1, 3, 5, 8, 13].into_iter().flat_map(|length| columns.windows(length)) {
        for part in words::from_outside(word) {
            assert!(memchr::memmem::find(&frames, part).is_some(), "{:?}", String::from_utf8_lossy(word));
        }
    }
}

#[test]
fn lost_rows_are_not_passed_over_and_times_are_compared() {
    let may = |filter: &str, entry: IndexEntry| needs(filter).may_be(&entry, Some(&[]), None);
    for (filter, shown) in [("pid=7", true), ("kind!=open pid=7", true), ("kind=open pid=7", false)] {
        assert_eq!(may(filter, entry(Kind::Lost)), shown, "{filter}");
    }
    assert!(may("pid=7", IndexEntry { lost: 1, ..IndexEntry::default() }));
    assert!(!may("pid=7", entry(Kind::Open)));
    let of_uring = |entry: IndexEntry| IndexEntry { joins: join::URING, ..entry };
    assert!(may("kind=exec,lost pid=7", of_uring(IndexEntry::default())), "another request may be lost");
    assert!(!may("kind=exec pid=7", of_uring(entry(Kind::Exec))));
    assert!(may("kind=open pid=8", of_uring(entry(Kind::Open))), "the request may be of 8");
    assert!(may("kind=open pid=8", IndexEntry { joins: join::CHANGE, ..entry(Kind::Open) }));
    let entry = IndexEntry { first_ns: 10, last_ns: 20, ..entry(Kind::Open) };
    for (from, to, may) in [(0, 9, false), (0, 10, true), (20, 30, true), (21, 30, false), (12, 13, true)] {
        assert_eq!(needs("").between(from, to).may_be(&entry, None, None), may, "{from} {to}");
    }
}
