//! The properties that a block of a recording must have to contain a matching event: a test on the block's index entry.

use super::ast::{Expr, Op, Test};
use super::capture::kinds_of;
use super::eval::{self, Check, Compiler, FilterNode};
use super::fields;
use super::glob::{Glob, Piece};
use super::{Compiled, NameLookup};
use crate::event::describe::props;
use crate::event::words;
use crate::recording::index::{IndexEntry, join};
use regex::bytes::Regex;
use tracetui_shared::header::FrameHeader;
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
    /// Texts that are in a frame or a state since the last state before an event, byte for byte. Each matches at most 256 bytes.
    pub(crate) texts: Vec<Regex>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Need {
    Nothing,
    Kinds(KindSet),
    Process(u32),
    Comm(Box<[u8]>),
    /// The number of a text ([`Needs::texts`]).
    Text(usize),
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

    /// Whether a thread is required.
    pub fn has_threads(&self) -> bool {
        self.terms.has_threads()
    }

    /// The requirements that no event meets.
    pub fn nothing() -> Needs {
        Needs { terms: Need::Any(Vec::new()), lost: false, from_ns: 0, to_ns: u64::MAX, texts: Vec::new() }
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

    /// Whether a block may contain an event or a `lost` row that passes: a block with this index entry, these threads, and these of
    /// the texts in it or before it. `None`: not known.
    pub fn may_be(&self, entry: &IndexEntry, threads: Option<&[FrameHeader]>, texts: Option<&[bool]>) -> bool {
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
        // The process of a request that a frame completes is known only after the join. So is the one that loaded a program.
        let requested = || Slot::ALL.into_iter().filter(|slot| slot.is_request()).map(Slot::kind).collect();
        let uring = entry.joins & join::URING != 0;
        let joined = uring && !(kinds & requested()).is_empty() || entry.joins & join::CHANGE != 0;
        // A request (requests are not counted) or an end may show that another request was lost.
        self.lost && uring || self.terms.may_be(kinds, threads.filter(|_| !joined), texts)
    }
}

fn count(entry: &IndexEntry, kind: Kind) -> u32 {
    entry.events.get(kind as usize).copied().unwrap_or_default()
}

impl Need {
    fn may_be(&self, kinds: KindSet, threads: Option<&[FrameHeader]>, texts: Option<&[bool]>) -> bool {
        let has = |is: &dyn Fn(&FrameHeader) -> bool| threads.is_none_or(|threads| threads.iter().any(is));
        match self {
            Need::Nothing => true,
            Need::Kinds(wanted) => !(kinds & *wanted).is_empty(),
            Need::Process(pid) => has(&|thread| thread.tgid.0 == *pid),
            Need::Comm(comm) => has(&|thread| thread.comm() == &**comm),
            Need::Text(number) => texts.is_none_or(|found| found.get(*number).is_none_or(|found| *found)),
            Need::All(needs) => needs.iter().all(|need| need.may_be(kinds, threads, texts)),
            Need::Any(needs) => needs.iter().any(|need| need.may_be(kinds, threads, texts)),
        }
    }

    fn has_threads(&self) -> bool {
        match self {
            Need::Process(_) | Need::Comm(_) => true,
            Need::All(needs) | Need::Any(needs) => needs.iter().any(Need::has_threads),
            Need::Nothing | Need::Kinds(_) | Need::Text(_) => false,
        }
    }
}

fn need(expr: &Expr, names: &dyn NameLookup, texts: &mut Vec<Regex>) -> Need {
    if let Some(kinds) = kinds_of(expr, names) {
        return Need::Kinds(kinds);
    }
    match expr {
        Expr::All(parts) => Need::All(parts.iter().map(|part| need(part, names, texts)).collect()),
        Expr::Any(parts) => Need::Any(parts.iter().map(|part| need(part, names, texts)).collect()),
        Expr::List(tests) => need(&Expr::of_list(tests), names, texts),
        Expr::Test(test) => of_test(test, names, texts),
        Expr::Word(word) => of_word(word, texts),
        Expr::Not(_) | Expr::Failed => Need::Nothing,
    }
}

fn of_word(word: &[u8], texts: &mut Vec<Regex>) -> Need {
    let parts = words::from_outside(word).into_iter();
    Need::All(parts.map(|part| of_text(part, eval::any_case(word), texts)).collect())
}

fn of_text(text: &[u8], any_case: bool, texts: &mut Vec<Regex>) -> Need {
    let Ok(regex) = eval::literal(text, any_case) else { return Need::Nothing };
    texts.push(regex);
    Need::Text(texts.len() - 1)
}

fn of_test(test: &Test, names: &dyn NameLookup, texts: &mut Vec<Regex>) -> Need {
    if matches!(test.op, Op::Ne | Op::NotLike) {
        return Need::Nothing;
    }
    let Ok(FilterNode::Field(field)) = Compiler::new(names).test(test) else { return Need::Nothing };
    let kinds = Need::Kinds(field.look.kinds());
    let of_value = match (&field.check, test.op) {
        (Check::Number(_, id), Op::Eq) if test.field == "pid" => match u32::try_from(*id) {
            Ok(pid) => Need::Process(pid),
            Err(_) => Need::Any(Vec::new()),
        },
        (Check::Glob(glob), _) if test.field == "comm" => {
            glob.literal().map_or(Need::Nothing, |comm| Need::Comm(comm.into()))
        }
        (Check::Glob(glob), _) if fields::has(&test.field, props::LEAF) => {
            let leaf = last(glob).filter(|leaf| (1..=NAME).contains(&leaf.len()));
            leaf.map_or(Need::Nothing, |leaf| of_text(&leaf, false, texts))
        }
        _ => return kinds,
    };
    Need::All(vec![kinds, of_value])
}

/// The most bytes of a name in a path.
const NAME: usize = 255;

/// The last component shared by all matching paths, if there is one.
fn last(glob: &Glob) -> Option<Vec<u8>> {
    let byte = |piece: &Piece| match piece {
        Piece::Byte(byte) => Some(*byte),
        _ => None,
    };
    let bytes = glob.tokens.iter().rev().map_while(byte).collect::<Vec<_>>();
    let whole = bytes.len() == glob.tokens.len();
    let bytes: Vec<u8> = bytes.into_iter().rev().collect();
    let leaf = bytes.rsplit(|byte| *byte == b'/').next().unwrap_or(&bytes);
    (whole || bytes.contains(&b'/')).then(|| leaf.to_vec())
}

#[cfg(test)]
mod tests;
