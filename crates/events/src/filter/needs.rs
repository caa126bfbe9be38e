//! The properties that a block of a recording must have to contain a matching event: a test on the block's index entry.

use super::ast::{Expr, Op, Test};
use super::capture::kinds_of;
use super::eval::{self, Check, Compiler, FilterNode};
use super::fields;
use super::glob::{Glob, Piece};
use super::{Compiled, NameLookup};
use crate::event::describe::props;
use crate::event::words;
use crate::recording::index::{IndexEntry, IndexKey, Sought};
use crate::recording::index_keys::last_of;
use regex::bytes::Regex;
use tracetui_shared::kind::{Kind, KindSet, Slot};

/// The requirements of events that pass a filter. A block that does not meet them has no such event; one that does may have some.
#[derive(Clone, Debug)]
pub struct Needs {
    terms: Need,
    /// Whether `lost` rows pass.
    lost: bool,
    /// The first and the last time: CLOCK_BOOTTIME, ns.
    from_ns: u64,
    to_ns: u64,
    uring: Sought,
    change: Sought,
    texts: Vec<Regex>,
}

#[derive(Clone, Debug)]
enum Need {
    Nothing,
    Sought(Sought),
    Kinds(KindSet),
    All(Vec<Need>),
    Any(Vec<Need>),
}

impl Needs {
    /// The requirements for an event to pass all of these filters. `None` if a filter has `tree=`: whether an event passes then
    /// depends on the events before it.
    pub fn of(filters: &[&Compiled], names: &dyn NameLookup) -> Option<Needs> {
        let all = filters.iter().all(|filter| filter.whole.roots().is_empty());
        let mut texts = Vec::new();
        let needs = filters.iter().map(|filter| {
            let kinds = Need::Kinds(filter.kinds);
            Need::All(vec![kinds, need(&filter.whole.expr, names, &mut texts)])
        });
        let terms = Need::All(needs.collect());
        all.then(|| Needs { terms, lost: filters.iter().all(|filter| filter.show_lost), texts, ..Needs::nothing() })
    }

    /// The texts that a [`Sought`] numbers.
    pub fn texts(&self) -> &[Regex] {
        &self.texts
    }

    /// The requirements that no event meets.
    pub fn nothing() -> Needs {
        Needs {
            terms: Need::Any(Vec::new()),
            lost: false,
            from_ns: 0,
            to_ns: u64::MAX,
            uring: key(IndexKey::Uring),
            change: key(IndexKey::Change),
            texts: Vec::new(),
        }
    }

    /// Limits the events to those whose row contains this text.
    #[must_use]
    pub fn containing(mut self, text: &[u8]) -> Needs {
        let word = of_word(text, &mut self.texts);
        Needs { terms: Need::All(vec![self.terms, word]), ..self }
    }

    /// Limits the events to a time span: CLOCK_BOOTTIME, ns.
    #[must_use]
    pub fn between(self, from_ns: u64, to_ns: u64) -> Needs {
        Needs { from_ns, to_ns, ..self }
    }

    /// Whether the frames that an entry of the index describes may contain an event or a `lost` row that passes. `has`
    /// says whether the frames may contain a key. A text may also be in frames before these.
    pub fn may_be(&self, entry: &IndexEntry, has: &dyn Fn(Sought) -> bool) -> bool {
        if self.lost && (count(entry, Kind::Lost) > 0 || entry.lost > 0) {
            return true;
        }
        let kinds = match entry.events.first() {
            // Only their sum is known.
            Some(1..) => KindSet::ALL,
            _ => Kind::PROBED.into_iter().filter(|kind| count(entry, *kind) > 0).collect(),
        };
        if entry.first_ns > self.to_ns || entry.last_ns < self.from_ns {
            return false;
        }
        // The request that a frame completes, and its file, are known only after the join. So is the process that loaded a program.
        let of_others = |of: KindSet, key| !(kinds & of).is_empty() && has(key);
        let requested = Slot::ALL.into_iter().filter(|slot| slot.is_request()).map(Slot::kind).collect();
        let joined = || of_others(requested, self.uring) || of_others(Kind::Bpf.into(), self.change);
        let known = |sought| has(sought) || matches!(sought, Sought::Key(_)) && joined();
        // A request (requests are not counted) or an end may show that another request was lost.
        self.lost && has(self.uring) || self.terms.may_be(kinds, &known)
    }
}

fn count(entry: &IndexEntry, kind: Kind) -> u32 {
    entry.events.get(kind as usize).copied().unwrap_or_default()
}

impl Need {
    fn may_be(&self, kinds: KindSet, has: &dyn Fn(Sought) -> bool) -> bool {
        match self {
            Need::Nothing => true,
            Need::Sought(sought) => has(*sought),
            Need::Kinds(wanted) => !(kinds & *wanted).is_empty(),
            Need::All(needs) => needs.iter().all(|need| need.may_be(kinds, has)),
            Need::Any(needs) => needs.iter().any(|need| need.may_be(kinds, has)),
        }
    }
}

fn key(key: IndexKey<'_>) -> Sought {
    Sought::Key(key.hash())
}

fn need(expr: &Expr, names: &dyn NameLookup, texts: &mut Vec<Regex>) -> Need {
    if let Some(kinds) = kinds_of(expr, names) {
        return Need::Kinds(kinds);
    }
    match expr {
        Expr::All(parts) => Need::All(parts.iter().map(|part| need(part, names, texts)).collect()),
        Expr::Any(parts) => Need::Any(parts.iter().map(|part| need(part, names, texts)).collect()),
        Expr::List(tests) => need(&Expr::of_list(tests), names, texts),
        Expr::Test(test) => of_test(test, names),
        Expr::Word(word) => of_word(word, texts),
        Expr::Not(_) | Expr::Failed => Need::Nothing,
    }
}

fn of_word(word: &[u8], texts: &mut Vec<Regex>) -> Need {
    let parts = words::from_outside(word).into_iter();
    let regexes = parts.filter_map(|part| eval::literal(part, eval::any_case(word)).ok());
    let sought = regexes.map(|regex| {
        texts.push(regex);
        Need::Sought(Sought::Text(texts.len() - 1))
    });
    Need::All(sought.collect())
}

fn of_test(test: &Test, names: &dyn NameLookup) -> Need {
    if matches!(test.op, Op::Ne | Op::NotLike) {
        return Need::Nothing;
    }
    let Ok(FilterNode::Field(field)) = Compiler::new(names).test(test) else { return Need::Nothing };
    let kinds = Need::Kinds(field.look.kinds());
    let of_value = match (&field.check, test.op) {
        (Check::Number(_, id), Op::Eq) if test.field == "pid" => match u32::try_from(*id) {
            Ok(pid) => Need::Sought(key(IndexKey::Process(pid))),
            Err(_) => Need::Any(Vec::new()),
        },
        (Check::Glob(glob), _) => of_glob(&test.field, glob),
        _ => return kinds,
    };
    Need::All(vec![kinds, of_value])
}

fn of_glob(field: &str, glob: &Glob) -> Need {
    match field {
        "comm" => glob.literal().map_or(Need::Nothing, |comm| Need::Sought(key(IndexKey::Comm(comm)))),
        _ if fields::has(field, props::INDEXED) => {
            last(glob).map_or(Need::Nothing, |name| Need::Sought(key(IndexKey::Name(&name))))
        }
        _ => Need::Nothing,
    }
}

/// The last component shared by all matching paths, if there is one.
fn last(glob: &Glob) -> Option<Vec<u8>> {
    let byte = |piece: &Piece| match piece {
        Piece::Byte(byte) => Some(*byte),
        _ => None,
    };
    let bytes = glob.pieces().iter().rev().map_while(byte).collect::<Vec<_>>();
    let whole = bytes.len() == glob.pieces().len();
    let bytes: Vec<u8> = bytes.into_iter().rev().collect();
    (whole || bytes.contains(&b'/')).then(|| last_of(&bytes).to_vec())
}

#[cfg(test)]
mod tests {
    use super::super::{FilterOptions, NoNames};
    use super::*;
    use crate::sink::sample;
    use proptest::prelude::proptest;
    use tracetui_shared::header::FrameHeader;
    use zerocopy::IntoBytes as _;

    fn needs(filter: &str) -> Needs {
        let options = FilterOptions { filter: vec![filter.to_owned()], ..FilterOptions::default() };
        Needs::of(&[&options.compile(&NoNames).expect("a filter")], &NoNames).expect("no tree")
    }

    /// Whether a block with events of one kind, and with one key, may match.
    fn may(filter: &str, kind: Kind, key: IndexKey<'_>) -> bool {
        let mut entry = IndexEntry::default();
        entry.events[kind as usize] = 1;
        needs(filter).may_be(&entry, &|sought| matches!(sought, Sought::Text(_)) || sought == super::key(key))
    }

    #[test]
    fn terms_need_keys_and_kinds() {
        let open = |filter, key| may(filter, Kind::Open, key);
        let (seven, cc1) = (IndexKey::Process(7), IndexKey::Comm(b"cc1"));
        for filter in
            ["pid=7", "pid=6,7", "(pid=7 or comm=x)", "pid!=8", "pid>6", "not pid=7", "pid=7 kind!=exec", "err"]
        {
            assert!(open(filter, seven), "{filter}");
        }
        for filter in ["pid=8", "comm=cc1", "pid=7 comm=x", "pid=7 kind=exec", "pid=7 argv=x"] {
            assert!(!open(filter, seven), "{filter}");
        }
        for filter in ["comm=cc1", "comm=c*", "comm~x", "name=cc1", "word", "comm=cc1 or pid=1", "ppid=7"] {
            assert!(open(filter, cc1), "{filter}");
        }
        for (filter, name) in [
            ("path=/usr/include/stdio.h", "stdio.h"),
            ("path=*/stdio.h", "stdio.h"),
            ("file=/[a-z]*/?/stdio.h", "stdio.h"),
            ("path=stdio.h", "stdio.h"),
            ("abs_path=/etc/", ""),
            ("filename=/bin/sh,/bin/ls or exe=/bin/x", "ls"),
        ] {
            let kind = if filter.starts_with("filename") { Kind::Exec } else { Kind::Open };
            assert!(may(filter, kind, IndexKey::Name(name.as_bytes())), "{filter}");
            assert!(!may(filter, kind, IndexKey::Name(b"other")), "{filter}");
            assert!(!may(filter, Kind::Exit, IndexKey::Name(name.as_bytes())), "{filter}");
        }
        for filter in
            ["path=*stdio.h", "path=/usr/*", "path=/usr/stdio.[ch]", "path~stdio", "cwd=/x or path=/y", "root=/srv"]
        {
            assert!(may(filter, if filter.starts_with("cwd") { Kind::Exec } else { Kind::Open }, seven), "{filter}");
        }
        assert!(open("path=/x pid=8", IndexKey::Uring), "the request may be of 8");
    }

    proptest! {
        #[test]
        fn columns_have_words_from_frames_or_of_their_own((header, payload) in sample::any()) {
            check_words(header, &payload);
        }
    }

    #[test]
    fn the_words_of_each_kind_are_from_frames_or_of_their_own() {
        for (header, payload) in sample::all() {
            check_words(header, &payload);
        }
    }

    /// Checks that each part of the columns that is searched as a text of frames is in the frame or in a table.
    fn check_words(header: FrameHeader, payload: &[u8]) {
        let mut columns = Vec::new();
        sample::with_seen(header, payload, |seen| eval::columns(seen, &mut columns));
        let frames = [sample::host().bytes(), header.as_bytes(), payload].concat();
        for word in [1, 3, 5, 8, 13].into_iter().flat_map(|length| columns.windows(length)) {
            for part in words::from_outside(word) {
                assert!(memchr::memmem::find(&frames, part).is_some(), "{:?}", String::from_utf8_lossy(word));
            }
        }
    }

    #[test]
    fn a_word_is_searched_as_a_text() {
        let with = |filter: &str, found: bool| {
            let mut entry = IndexEntry::default();
            entry.events[Kind::Open as usize] = 1;
            needs(filter).may_be(&entry, &|sought| found && matches!(sought, Sought::Text(_)))
        };
        for (filter, may) in [("stdio", false), ("stdio kind=open", false), ("stdio or err", true), ("not stdio", true)]
        {
            assert_eq!((with(filter, false), with(filter, true)), (may, true), "{filter}");
        }
        assert!(with("443", false) && with("enoent", false) && !with("stdio kind=exec", true));
    }

    #[test]
    fn lost_rows_are_not_passed_over() {
        let entry = |kind: Kind| {
            let mut entry = IndexEntry::default();
            entry.events[kind as usize] = 1;
            entry
        };
        for (filter, shown) in [("pid=7", true), ("kind!=open pid=7", true), ("kind=open pid=7", false)] {
            assert_eq!(needs(filter).may_be(&entry(Kind::Lost), &|_| false), shown, "{filter}");
        }
        assert!(needs("pid=7").may_be(&IndexEntry { lost: 1, ..IndexEntry::default() }, &|_| false));
        assert!(!needs("pid=7").may_be(&entry(Kind::Open), &|_| false));
        let of_uring = |sought| sought == key(IndexKey::Uring);
        assert!(needs("kind=exec,lost pid=7").may_be(&IndexEntry::default(), &of_uring), "another request may be lost");
        assert!(!needs("kind=exec pid=7").may_be(&entry(Kind::Open), &of_uring));
    }

    #[test]
    fn times_are_compared() {
        let mut entry = IndexEntry { first_ns: 10, last_ns: 20, ..IndexEntry::default() };
        entry.events[Kind::Open as usize] = 1;
        for (from, to, may) in [(0, 9, false), (0, 10, true), (20, 30, true), (21, 30, false), (12, 13, true)] {
            assert_eq!(needs("").between(from, to).may_be(&entry, &|_| false), may, "{from} {to}");
        }
    }
}
