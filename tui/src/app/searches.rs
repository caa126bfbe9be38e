//! Which failed calls were part of a search that found its name: they are no trouble, and FAILED does not count them.

use super::views::events::missed;
use super::why::place;
use crate::event::EventContext;
use crate::event::process::ProcessKey;
use crate::store::Id;
use foldhash::fast::RandomState;
use rustc_hash::FxHashMap;
use std::hash::BuildHasher;
use tracetui_shared::kind::Kind;

/// The calls of a process that wait for an answer.
const OF_PROCESS: usize = 128;

/// The calls of all processes that wait for an answer. With more, all are forgotten: they count as failed.
const ALL: usize = 1 << 14;

/// A call that did not find a name.
#[derive(Clone, Copy, Debug)]
struct Miss {
    id: Id,
    /// The hash of the name.
    name: u64,
    kind: Kind,
}

/// The calls that did not find a name, until another call of the process and kind succeeds.
#[derive(Debug, Default)]
pub(super) struct Searches {
    waiting: FxHashMap<ProcessKey, Vec<Miss>>,
    /// The number of all.
    all: usize,
    answered: Vec<Id>,
    hasher: RandomState,
}

impl Searches {
    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        // The lists of the processes may be half full.
        self.all * 2 * size_of::<Miss>() + self.waiting.capacity() * size_of::<(ProcessKey, Vec<Miss>)>()
    }

    /// Takes an event that was just stored, and returns the failed calls before it that it answers: those of the same process and
    /// kind that did not find the name that it found.
    pub(super) fn take(&mut self, id: Id, seen: &EventContext<'_>) -> &[Id] {
        self.answered.clear();
        let (kind, body) = (seen.event.kind(), &seen.event.body);
        let Some(key) = seen.process.map(|process| process.key) else { return &[] };
        if kind == Kind::Exit {
            self.forget(key);
        }
        if !matches!(kind, Kind::Open | Kind::Exec) {
            return &[];
        }
        let hasher = &self.hasher;
        let name = |(_, name): (&[u8], &[u8])| hasher.hash_one(stem(name));
        match missed(body) {
            Some(true) => {
                if let Some(name) = place(body).map(name) {
                    self.add(key, Miss { id, name, kind });
                }
            }
            None if seen.event.failed() => {}
            found => {
                let Some(waiting) = self.waiting.get_mut(&key) else { return &[] };
                // What a call may have made was not found.
                let name = place(body).filter(|_| found.is_some()).map(name);
                let before = waiting.len();
                // A success with another name ends the searches of the process.
                waiting.retain(|miss| {
                    let ends = miss.kind == kind;
                    if ends && name == Some(miss.name) {
                        self.answered.push(miss.id);
                    }
                    !ends
                });
                self.all -= before - waiting.len();
                if waiting.is_empty() {
                    self.waiting.remove(&key);
                }
            }
        }
        &self.answered
    }

    fn add(&mut self, key: ProcessKey, miss: Miss) {
        if self.all >= ALL {
            (self.waiting, self.all) = (FxHashMap::default(), 0);
        }
        let waiting = self.waiting.entry(key).or_default();
        if waiting.len() >= OF_PROCESS {
            waiting.remove(0);
            self.all -= 1;
        }
        waiting.push(miss);
        self.all += 1;
    }

    fn forget(&mut self, key: ProcessKey) {
        self.all -= self.waiting.remove(&key).map_or(0, |waiting| waiting.len());
    }
}

/// What two names of one search have in common. Compilers look for `x.h.gch` before `x.h`, and linkers take a static library in place of
/// the other one.
fn stem(name: &[u8]) -> &[u8] {
    let library = library_stem(name).filter(|stem| stem.len() > b"lib".len());
    library.unwrap_or_else(|| name.strip_suffix(b".gch").unwrap_or(name))
}

/// The name of a library without its suffixes; `None` of another file.
pub(super) fn library_stem(name: &[u8]) -> Option<&[u8]> {
    name.split(|byte| *byte == b'.').next().filter(|stem| stem.starts_with(b"lib"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::App;
    use crate::app::testing::{app, feed};
    use crate::source::synthetic::{Maker, payload};
    use tracetui_shared::kind::Slot;

    fn exec(made: &mut Maker, filename: &[u8], ret: i32) {
        let exec = payload::Exec { ret, filename, argv: b"x\0", ..payload::Exec::default() };
        made.event(Slot::ExecBtf, 7, "env", &exec.bytes());
    }

    /// The ids of the failed calls that were answered.
    fn answered(app: &App) -> Vec<Id> {
        let store = app.store();
        (0..store.next_id()).filter(|id| store.get(*id).is_some_and(|stored| stored.answered)).collect()
    }

    #[track_caller]
    fn check(make: impl FnOnce(&mut Maker), want: &[Id]) {
        let (mut app, mut made) = (app(80, 24, 64 << 20), Maker::default());
        make(&mut made);
        feed(&mut app, &mut made);
        assert_eq!(answered(&app), want);
    }

    #[test]
    fn a_search_is_answered_by_what_it_found() {
        check(
            |made| {
                made.open(7, "cc1", "/a/x.h.gch", -2);
                made.open(7, "cc1", "/a/x.h", -2);
                made.open(8, "cc1", "/a/x.h", -2);
                made.open(7, "cc1", "/b/x.h", 4);
                made.open(7, "ld", "/a/libm.so", -2);
                made.open(7, "ld", "/a/libm.a", 4);
                exec(made, b"/a/ls", -2);
                exec(made, b"/b/ls", 0);
            },
            &[0, 1, 4, 6],
        );
    }

    #[test]
    fn other_names_kinds_and_errors_are_no_answer() {
        check(
            |made| {
                made.open(7, "cat", "/a/x", -2);
                exec(made, b"/b/x", 0);
                // Another name ends the search.
                made.open(7, "cat", "/b/y", 3);
                made.open(7, "cat", "/b/x", 3);
                // What is refused was found.
                made.open(7, "cat", "/a/z", -13);
                made.open(7, "cat", "/b/z", 3);
                made.open(7, "cat", "/a/w", -2);
                made.exit(7, "cat", 1 << 8);
                made.open(7, "cat", "/b/w", 3);
            },
            &[],
        );
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut searches = Searches::default();
        let key = |tgid| ProcessKey { tgid: tracetui_shared::id::Tgid(tgid), start: Default::default() };
        for id in 0..3 * ALL as u64 {
            searches.add(key(id as u32 % 1000), Miss { id, name: id, kind: Kind::Open });
            assert_eq!(searches.all, searches.waiting.values().map(Vec::len).sum::<usize>());
            assert!(searches.all <= ALL && searches.waiting.values().all(|waiting| waiting.len() <= OF_PROCESS));
        }
        (0..1000).for_each(|tgid| searches.forget(key(tgid)));
        assert_eq!(searches.all, 0);
    }
}
