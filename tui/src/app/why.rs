//! What the detail pane says of the selected event: why it failed, and the search that it belongs to.

use super::App;
use super::searches::{Failure, LIBRARY, argument};
use super::views::detail::Subject;
use super::views::events::missed;
use super::views::tree::Seen;
use crate::event::Body;
use crate::event::open::Open;
use crate::event::process::ProcessKey;
use crate::store::{Id, Store, Stored};
use crate::why::{self, AT_FDCWD, Answer, Cwd, Place, Question};
use rustc_hash::FxHashSet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tracetui_shared::kind::Kind;
use tracetui_shared::record::mark;
use tracetui_shared::record::open::UNKNOWN;

/// The answers that are kept. The oldest is forgotten, and looked up again.
const ANSWERS: usize = 64;

/// The kept events before and after an event among which its search is looked for.
const WALK: u64 = 20_000;

/// Failures with other names that may come within a search: compilers try `x.h.gch` before `x.h`.
const BETWEEN: usize = 64;

/// The kept events after a row of the list among which the end of its search is looked for.
const AHEAD: u64 = 1_000;

/// The directories of a search that are kept.
const PLACES: usize = 32;

/// The time after which a search that may go on is looked at again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is known of failures.
#[derive(Debug, Default)]
pub struct Reasons {
    answers: VecDeque<(Id, Answer)>,
    asked: Option<Id>,
    /// What is to be looked up.
    question: Option<(Id, Box<Question>)>,
    search: Option<(Id, Duration, Option<Searched>)>,
}

impl Reasons {
    /// The answer that was looked up.
    pub fn answer(&self, id: Id) -> Option<&Answer> {
        self.answers.iter().find(|(known, _)| *known == id).map(|(_, answer)| answer)
    }

    /// Whether it is being looked up.
    pub fn asks(&self, id: Id) -> bool {
        self.asked == Some(id)
    }

    /// The search of an event.
    pub fn search(&self, id: Id) -> Option<&Searched> {
        self.search.as_ref().filter(|(of, ..)| *of == id)?.2.as_ref()
    }
}

/// A search: a run of failed calls of one process with one last name, up to the call that found it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Searched {
    /// The last name.
    pub name: Vec<u8>,
    /// The number of directories.
    pub places: usize,
    /// The first of them, in order: at most [`PLACES`].
    pub first: Vec<Place>,
    /// Where it was found.
    pub found: Option<Vec<u8>>,
    /// Whether it has ended.
    pub ended: bool,
}

/// Why a process exited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reason {
    /// The failed call.
    pub(crate) id: Id,
    /// Whether the error is no part of ordinary work.
    pub(crate) real: bool,
    /// The name of the process that made the call.
    by: Vec<u8>,
    /// If that is a descendant of the process, the names from the child to it.
    pub(crate) line: Vec<Vec<u8>>,
    /// Whether the name of the process stands before the words.
    named: bool,
    /// `zlibx.h not found`, `EACCES /etc/shadow`: the path as passed, and its last name.
    words: [Vec<u8>; 2],
}

impl Reason {
    /// What failed, with the name of the process: the whole path, and its last name only.
    pub(crate) fn with_name(&self) -> [Vec<u8>; 2] {
        self.words.each_ref().map(|words| [self.by.as_slice(), b": ", words].concat())
    }

    /// The same in a row of the process that exited.
    pub(crate) fn in_row(&self) -> [Vec<u8>; 2] {
        let from: &[u8] = if self.line.is_empty() { b"" } else { b"from " };
        match self.named {
            true => self.with_name().map(|words| [from, words.as_slice()].concat()),
            false => self.words.clone(),
        }
    }
}

/// What an open or an exec looked for: the directory and the last name of the path as passed. `None` if that is no name to look for.
pub(crate) fn place<'a>(body: &Body<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let path = match body {
        Body::Open(open) => open.path,
        Body::Exec(exec) => exec.filename,
        _ => return None,
    };
    let (dir, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) => (&b"/"[..], path.get(1..).unwrap_or_default()),
        Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
        None => (&b"."[..], path),
    };
    (!matches!(name, b"" | b"." | b"..")).then_some((dir, name))
}

/// What failed, in words: with the path as passed, and with its last name only. A name that was looked for in several places has no path,
/// and a library is as the arguments name it.
fn words(body: &Body<'_>, path: &[u8], failure: Failure, argv: &[u8]) -> [Vec<u8>; 2] {
    let name = place(body).map_or(path, |(_, name)| name);
    let library = argument(path, argv).filter(|arg| arg.starts_with(LIBRARY));
    let whole = if failure.searched { name } else { path };
    // The file of a path may exist: its interpreter may be missing.
    let by_path = matches!(body, Body::Exec(_)) && !failure.searched && path.contains(&b'/');
    [library.unwrap_or(whole), library.unwrap_or(name)].map(|what| match missed(body) {
        _ if what.is_empty() => failure.err.as_bytes().to_vec(),
        Some(true) if by_path => [b"cannot run ", what].concat(),
        Some(true) => [what, b" not found"].concat(),
        _ => [failure.err.as_bytes(), b" ", what].concat(),
    })
}

/// As [`place`], with the descriptor at which the directory starts.
fn place_of<'a>(stored: &Stored<'a>) -> Option<(Place, &'a [u8])> {
    let body = stored.event().ok()?.body;
    let (dir, name) = place(&body)?;
    let dirfd = match body {
        Body::Open(open) if !dir.starts_with(b"/") => open.record.dirfd,
        _ => AT_FDCWD,
    };
    Some((Place { dir: dir.to_vec(), dirfd }, name))
}

/// How an event continues a search.
enum Step {
    /// It is of another process or kind.
    Apart,
    /// It failed for the same name, in this directory.
    Place(Place),
    /// It failed for another name.
    Other,
    /// It found the name, in this directory.
    Found(Place),
    /// It succeeded for another name.
    End,
}

fn step(stored: &Stored<'_>, process: ProcessKey, kind: Kind, name: &[u8]) -> Step {
    if stored.kind != kind || stored.process.is_none_or(|its| its.key != process) {
        return Step::Apart;
    }
    match (place_of(stored).filter(|(_, last)| *last == name), stored.failed) {
        (Some((place, _)), true) => Step::Place(place),
        // What a call may have made was not found.
        (Some((place, _)), false) if stored.event().is_ok_and(|event| missed(&event.body).is_some()) => {
            Step::Found(place)
        }
        (Some(_), false) => Step::End,
        (None, true) => Step::Other,
        (None, false) => Step::End,
    }
}

/// What the search of a call that did not find its name found: the event, and the directory.
pub(crate) fn found_later(store: &Store, id: Id) -> Option<(Id, Vec<u8>)> {
    let stored = store.get(id).filter(|stored| stored.failed && matches!(stored.kind, Kind::Open | Kind::Exec))?;
    let (process, event) = (stored.process?.key, stored.event().ok()?);
    let (_, name) = place(&event.body).filter(|_| missed(&event.body) == Some(true))?;
    let mut others = 0;
    for after in id + 1..store.next_id().min(id.saturating_add(AHEAD)) {
        let Some(next) = store.get(after) else { continue };
        match step(&next, process, stored.kind, name) {
            Step::Found(place) => return Some((after, place.dir)),
            Step::Other if others < BETWEEN => others += 1,
            Step::Other | Step::End => return None,
            Step::Place(_) | Step::Apart => {}
        }
    }
    None
}

/// The search that an event belongs to, if it has more than one place.
pub(super) fn searched(store: &Store, id: Id) -> Option<Searched> {
    let stored = store.get(id).filter(|stored| matches!(stored.kind, Kind::Open | Kind::Exec))?;
    let process = stored.process?.key;
    let (own, name) = place_of(&stored).map(|(place, name)| (place, name.to_vec()))?;
    let mut known = FxHashSet::default();
    known.insert(own.clone());
    let mut places = vec![own.clone()];
    let mut others = 0;
    for before in (store.first_id().max(id.saturating_sub(WALK))..id).rev() {
        match store.get(before).map(|stored| step(&stored, process, stored.kind, &name)) {
            Some(Step::Place(place)) if store.get(before).is_some_and(|other| other.kind == stored.kind) => {
                if known.insert(place.clone()) {
                    places.push(place);
                }
            }
            Some(Step::Other) if others < BETWEEN => others += 1,
            None | Some(Step::Apart | Step::Place(_)) => {}
            _ => break,
        }
    }
    places.reverse();
    let made = stored.event().is_ok_and(|event| missed(&event.body).is_none());
    if !stored.failed && made {
        return None;
    }
    let mut found = (!stored.failed).then_some(own.dir);
    let mut ended = found.is_some();
    others = 0;
    let last = store.next_id().min(id.saturating_add(WALK));
    for after in if ended { 0..0 } else { id + 1..last } {
        let Some(next) = store.get(after) else { continue };
        match step(&next, process, stored.kind, &name) {
            Step::Place(place) => {
                if known.insert(place.clone()) {
                    places.push(place);
                }
            }
            Step::Other if others < BETWEEN => others += 1,
            Step::Apart if next.kind == Kind::Exit && next.process.is_some_and(|its| its.key == process) => {
                ended = true
            }
            Step::Apart => {}
            Step::Found(place) => {
                if known.insert(place.clone()) {
                    places.push(place.clone());
                }
                (found, ended) = (Some(place.dir), true);
            }
            Step::Other | Step::End => ended = true,
        }
        if ended {
            break;
        }
    }
    let ended = ended || last < store.next_id();
    let all = places.len();
    places.truncate(PLACES);
    (all > 1).then_some(Searched { name, places: all, first: places, found, ended })
}

/// The directory at which the path of an open starts, if it is relative: where the file was opened, less the path. `None` if the
/// event does not show it.
fn base<'a>(open: &Open<'a>) -> Option<Vec<u8>> {
    let plain = |name: &[u8]| !matches!(name, b"" | b"." | b"..");
    let at_cwd = open.record.dirfd == AT_FDCWD && open.record.how_marks & (mark::FAULT | UNKNOWN) == 0;
    let known = open.record.ret >= 0 && open.names.absent().is_none() && !open.names.deleted();
    if !at_cwd || !known || open.root().is_some() || !open.path.split(|byte| *byte == b'/').all(plain) {
        return None;
    }
    let mut file = Vec::new();
    open.names.write(&mut file);
    let above = file.strip_suffix(open.path)?.strip_suffix(b"/")?;
    Some(if above.is_empty() { b"/".to_vec() } else { above.to_vec() })
}

/// The working directory around an open that failed, if other events show it: the program started there, and the last relative path
/// that the process opened before the event, if there is one, and the first one after it started there too.
fn base_around(store: &Store, id: Id) -> Option<Vec<u8>> {
    let stored = store.get(id).filter(|stored| stored.kind == Kind::Open)?;
    let (process, place) = (stored.process?, |of: &Stored<'_>| (of.header().tid, of.header().mnt_ns));
    let at_exec = process.image.cwd.as_ref();
    let base_at = |other: Id| {
        let other = store.get(other).filter(|other| other.kind == Kind::Open && !other.failed)?;
        let its = other.process.filter(|its| its.key == process.key)?;
        let same = Arc::ptr_eq(&its.image, &process.image) && place(&other) == place(&stored);
        base(&other.open().filter(|_| same)?)
    };
    let before = (store.first_id().max(id.saturating_sub(WALK))..id).rev().find_map(base_at);
    let after = (id + 1..store.next_id().min(id.saturating_add(WALK))).find_map(base_at)?;
    (!at_exec.is_empty() && after == at_exec && before.is_none_or(|before| before == at_exec)).then_some(after)
}

impl App {
    /// What is known of failures.
    pub fn reasons(&self) -> &Reasons {
        &self.reasons
    }

    /// The directory in which the search of a call that did not find its name found it, if it did so in a row that is hidden: the call
    /// is no failure then.
    pub(crate) fn found_in_hidden(&self, id: Id) -> Option<Vec<u8>> {
        // Without a filter, no such row is hidden.
        let filtered = self.filter.applied().is_some() || self.only_failures();
        let (found, dir) = filtered.then(|| found_later(&self.store, id)).flatten()?;
        (!self.events.has(found)).then_some(dir)
    }

    /// The failed call that an exit names as its cause.
    pub(crate) fn cause_of(&self, exit: Id) -> Option<Reason> {
        let stored = self.store.get(exit).filter(|stored| stored.kind == Kind::Exit && stored.failed)?;
        self.reason(&self.tree.process(stored.process?.key)?)
    }

    /// What a process exited for, in words. `None` if it is not known, or the event is not kept.
    pub(crate) fn reason(&self, process: &Seen<'_>) -> Option<Reason> {
        let (failure, line) = self.tree.cause(process);
        let (failure, of) = (failure?, line.last().unwrap_or(process));
        let (stored, err) = (self.store.get(failure.id)?, failure.err.as_bytes());
        let body = stored.event().ok()?.body;
        let words = match &body {
            Body::Open(open) => words(&body, open.path, failure, &of.process.image.argv),
            Body::Exec(exec) => words(&body, exec.filename, failure, &of.process.image.argv),
            Body::Bpf(bpf) => {
                let mut subject = [err, b" "].concat();
                bpf.subject(&mut subject);
                [subject.clone(), subject]
            }
            _ => return None,
        };
        let comm = |seen: &Seen<'_>| seen.process.comm.to_vec();
        Some(Reason {
            id: failure.id,
            real: failure.real,
            by: comm(of),
            line: line.iter().map(comm).collect(),
            named: !line.is_empty() || stored.kind == Kind::Exec,
            words,
        })
    }

    /// Looks at the event in the detail pane: asks why it failed, and finds its search.
    pub(super) fn look_at_subject(&mut self) {
        let subject = self.subject().filter(|_| self.detail.size().is_some());
        let Some(Subject::Event(id)) = subject else { return };
        let id = self.cause_of(id).map_or(id, |reason| reason.id);
        let known = self.reasons.search.as_ref().is_some_and(|(of, at, search)| {
            let ended = search.as_ref().is_some_and(|search| search.ended);
            *of == id && (ended || self.now < *at + AGAIN)
        });
        if !known {
            let search = searched(&self.store, id);
            // An answer names the places that it was looked up in.
            if self.reasons.search(id).map(|search| search.places) != search.as_ref().map(|search| search.places) {
                self.reasons.answers.retain(|(known, _)| *known != id);
            }
            self.reasons.search = Some((id, self.now, search));
        }
        // A recording has no files to look at.
        if self.replay.is_some() || self.reasons.asks(id) || self.reasons.answer(id).is_some() {
            return;
        }
        let Some(stored) = self.store.get(id).filter(|stored| stored.failed) else { return };
        let world = self.pipeline.world();
        let question = stored.with(world, why::question).flatten();
        if let Some(mut question) = question {
            if let Some(search) = self.reasons.search(id).filter(|search| search.found.is_none()) {
                let own = place_of(&stored).map(|(place, _)| place);
                question.others = search.first.iter().filter(|place| Some(*place) != own.as_ref()).cloned().collect();
                question.places = search.places;
            }
            let relative = |path: &[u8]| !path.starts_with(b"/");
            if (relative(&question.path) || question.others.iter().any(|place| relative(&place.dir)))
                && let Some(base) = base_around(&self.store, id)
            {
                question.cwd = Cwd::Around(base);
            }
            self.reasons.asked = Some(id);
            self.reasons.question = Some((id, Box::new(question)));
        }
    }

    /// What is to be looked up since the last call.
    pub(super) fn take_question(&mut self) -> Option<(Id, Box<Question>)> {
        self.reasons.question.take()
    }

    /// Takes an answer.
    pub(super) fn looked(&mut self, id: Id, answer: Answer) {
        if self.reasons.asks(id) {
            self.reasons.asked = None;
        }
        self.reasons.answers.retain(|(known, _)| *known != id);
        if self.reasons.answers.len() >= ANSWERS {
            self.reasons.answers.pop_front();
        }
        self.reasons.answers.push_back((id, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing::{app, feed, keys};
    use crate::app::{Effect, Input, Tick};
    use crate::event::names::O_CREAT;
    use crate::source::synthetic::{Maker, payload};
    use crate::why::{Basis, Cause};
    use crossterm::event::{KeyCode, KeyEvent};
    use tracetui_shared::kind::Slot;
    use tracetui_shared::record::open::OpenRecord;

    fn search_of(made: &mut Maker, at: Id) -> Option<Searched> {
        let mut app = app(80, 24, 64 << 20);
        feed(&mut app, made);
        searched(app.store(), at)
    }

    #[test]
    fn a_run_of_failures_with_one_name_is_a_search() {
        let mut made = Maker::default();
        made.open(7, "cc1", "/etc/before", 3);
        for dir in ["/a", "/b", "/c"] {
            made.open(7, "cc1", &format!("{dir}/stdio.h.gch"), -2);
            made.open(7, "cc1", &format!("{dir}/stdio.h"), -2);
            made.open(8, "cc1", "/x/stdio.h", -2);
        }
        made.open(7, "cc1", "/usr/include/stdio.h", 4);
        made.open(7, "cc1", "/a/stdio.h", -2);
        let first = ["/a", "/b", "/c", "/usr/include"].map(|dir| Place { dir: dir.into(), dirfd: AT_FDCWD });
        let found = Searched {
            name: b"stdio.h".to_vec(),
            places: 4,
            first: first.to_vec(),
            found: Some(b"/usr/include".to_vec()),
            ended: true,
        };
        let mut app = app(80, 24, 64 << 20);
        feed(&mut app, &mut made);
        // The first failure, the last one, and what was found.
        for at in [2, 8, 10] {
            assert_eq!(searched(app.store(), at), Some(found.clone()), "{at}");
        }
        assert_eq!(searched(app.store(), 0), None);
        assert_eq!(searched(app.store(), 11), None);
    }

    #[test]
    fn a_miss_knows_what_its_search_found_later() {
        let mut made = Maker::default();
        made.open(7, "cc1", "/a/x.h", -2);
        made.open(8, "cc1", "/z/x.h", 3);
        made.open(7, "cc1", "/b/x.h.gch", -2);
        made.open(7, "cc1", "/b/x.h", 4);
        made.open(7, "cc1", "/a/y.h", -2);
        made.open(7, "cc1", "/a/z.h", 4);
        made.open(7, "cc1", "/b/y.h", 4);
        made.open(7, "cc1", "/a/denied", -13);
        made.open(7, "cc1", "/b/denied", 4);
        made.open(7, "cc1", "/a/log", -2);
        let record = OpenRecord { ret: 4, flags: O_CREAT, names_marks: mark::RACED, ..OpenRecord::default() };
        made.event(Slot::OpenTp, 7, "cc1", &payload::open(record, b"", b"/b/log"));
        let mut app = app(80, 24, 64 << 20);
        feed(&mut app, &mut made);
        assert_eq!(found_later(app.store(), 0), Some((3, b"/b".to_vec())));
        // Another call came between; it was refused; it may have been made.
        assert_eq!([2, 3, 4, 7, 9].map(|id| found_later(app.store(), id)), [const { None }; 5]);
        assert_eq!(searched(app.store(), 10), None);
    }

    #[test]
    fn a_search_that_found_nothing_ends_with_another_call_or_the_process() {
        let mut made = Maker::default();
        made.open(7, "a", "/a/x", -2);
        made.open(7, "a", "/b/x", -2);
        let so_far = search_of(&mut made.clone(), 0).expect("two places");
        assert_eq!((so_far.places, so_far.found.clone(), so_far.ended), (2, None, false));
        let mut other = made.clone();
        other.open(7, "a", "/b/y", 3);
        assert!(search_of(&mut other, 0).is_some_and(|search| search.ended && search.found.is_none()));
        made.exit(7, "a", 0);
        assert!(search_of(&mut made, 1).is_some_and(|search| search.ended));
    }

    /// An open relative to the working directory, and where it led; of a failure, nowhere.
    fn relative(made: &mut Maker, path: &str, file: &str) {
        let ret = if file.is_empty() { -libc::ENOENT } else { 3 };
        let names: Vec<u8> = file.split('/').rev().flat_map(|name| name.bytes().chain([0])).collect();
        let record = OpenRecord { ret, dirfd: AT_FDCWD, ..OpenRecord::default() };
        let names = names.strip_suffix(b"\0").unwrap_or_default();
        made.event(Slot::OpenTp, 7, "cc1", &payload::open(record, names, path.as_bytes()));
    }

    #[test]
    fn a_working_directory_is_shown_by_the_opens_around() {
        let base_at = |calls: &[(&str, &str)]| {
            let mut made = Maker::default();
            let exec = payload::Exec { exe: b"cc1\0bin\0", cwd: b"a\0w\0", argv: b"cc1\0", ..payload::Exec::default() };
            made.event(Slot::ExecBtf, 7, "cc1", &exec.bytes());
            calls.iter().for_each(|(path, file)| relative(&mut made, path, file));
            let mut app = app(80, 24, 64 << 20);
            feed(&mut app, &mut made);
            let missing = calls.iter().position(|(path, _)| *path == "x.h").expect("it is asked about");
            base_around(app.store(), missing as Id + 1).map(|base| String::from_utf8(base).expect("text"))
        };
        let at = Some("/w/a".to_owned());
        assert_eq!(base_at(&[("main.c", "/w/a/main.c"), ("x.h", ""), ("inc/y.h", "/w/a/inc/y.h")]), at);
        assert_eq!(base_at(&[("x.h", ""), ("inc/y.h", "/w/a/inc/y.h")]), at);
        // Nothing after it, another directory after it, or one before it.
        assert_eq!(base_at(&[("main.c", "/w/a/main.c"), ("x.h", "")]), None);
        assert_eq!(base_at(&[("x.h", ""), ("y.h", "/w/b/y.h"), ("y.h", "/w/a/y.h")]), None);
        assert_eq!(base_at(&[("y.h", "/w/b/y.h"), ("x.h", ""), ("y.h", "/w/a/y.h")]), None);
        // A link, and paths that do not start there.
        assert_eq!(base_at(&[("x.h", ""), ("y.h", "/w/a/z.h")]), None);
        assert_eq!(base_at(&[("x.h", ""), ("../a/y.h", "/w/a/y.h"), ("/w/a/y.h", "/w/a/y.h")]), None);
    }

    #[test]
    fn an_exit_after_a_failed_exec_is_explained_by_it() {
        let mut made = Maker::default();
        made.exec(7, "sh", &["sh"], 0);
        made.exec(7, "sh", &["ld"], -13);
        made.open(7, "sh", "/x", 3);
        made.exit(7, "sh", 126 << 8);
        made.exec(8, "sh", &["sh"], -2);
        made.exec(8, "sh", &["sh"], 0);
        made.exit(8, "sh", 1 << 8);
        let mut app = app(80, 24, 64 << 20);
        feed(&mut app, &mut made);
        let cause = |exit| app.cause_of(exit).map(|reason| reason.id);
        assert_eq!((cause(3), cause(6), cause(1)), (Some(1), None, None));
        keys(&mut app, "gjjj\n");
        assert!(app.reasons().asks(1));
    }

    #[test]
    fn an_exit_after_a_name_that_was_not_found_is_explained_by_it() {
        let mut made = Maker::default();
        made.exec(7, "cc1", &["cc1", "x.c"], 0);
        made.open(7, "cc1", "/usr/include/stdio.h", 3);
        made.open(7, "cc1", "/a/config.h", -2);
        made.open(7, "cc1", "/b/config.h", -2);
        // For the message.
        made.open(7, "cc1", "x.c", 4);
        made.open(7, "cc1", "/usr/share/locale/de/LC_MESSAGES/gcc.mo", -2);
        made.exit(7, "cc1", 1 << 8);
        // What is found later, what much was opened after, and what is not followed by an error is no reason.
        made.open(8, "a", "/a/x", -2);
        made.open(8, "a", "/b/x", 3);
        made.exit(8, "a", 1 << 8);
        made.open(9, "b", "/a/x", -2);
        (0..3).for_each(|_| made.open(9, "b", "/y", 3));
        made.exit(9, "b", 1 << 8);
        made.open(10, "c", "/a/x", -2);
        made.exit(10, "c", 9);
        let mut app = app(80, 24, 64 << 20);
        feed(&mut app, &mut made);
        let cause = |exit| app.cause_of(exit).map(|reason| reason.id);
        assert_eq!(cause(6), Some(3));
        assert_eq!([9, 14, 16].map(cause), [None; 3]);
        keys(&mut app, "agjjjjjj\n");
        assert!(app.reasons().search(3).is_some_and(|search| search.places == 2 && search.found.is_none()));
    }

    #[test]
    fn the_places_of_a_search_that_found_nothing_are_asked_about() {
        let mut made = Maker::default();
        for at in 0..40 {
            made.open(7, "cc1", &format!("/inc{at}/utli.h"), -2);
        }
        let mut app = app(80, 24, 64 << 20);
        feed(&mut app, &mut made);
        let press = |app: &mut App, key| app.update(Input::Key(KeyEvent::from(key)));
        let asked = |effects: Vec<Effect>| {
            effects.into_iter().find_map(|effect| match effect {
                Effect::Look(_, question) => Some(*question),
                _ => None,
            })
        };
        let question = asked(press(&mut app, KeyCode::Enter)).expect("it failed");
        assert_eq!((question.path.as_slice(), question.places), (&b"/inc39/utli.h"[..], 40));
        assert_eq!(question.others.len(), PLACES, "a bounded number");
        assert_eq!(question.others[1].path(b"utli.h"), b"/inc1/utli.h");
        // It goes on: what was said of it does not hold any more.
        let answer = Answer::not_looked_up("");
        app.update(Input::Looked(39, answer));
        made.open(7, "cc1", "/inc40/utli.h", -2);
        feed(&mut app, &mut made);
        let later = app.update(Input::Tick(Tick { now: Duration::from_secs(9), usage: None }));
        assert_eq!(asked(later).map(|question| question.places), Some(41));
        made.open(7, "cc1", "/inc41/utli.h", 3);
        feed(&mut app, &mut made);
        app.update(Input::Looked(39, Answer::not_looked_up("")));
        let found = app.update(Input::Tick(Tick { now: Duration::from_secs(19), usage: None }));
        assert_eq!(asked(found).map(|question| question.others.len()), Some(0));
    }

    #[test]
    fn a_failure_in_the_pane_is_asked_about_once() {
        let mut app = app(80, 24, 64 << 20);
        let mut made = Maker::default();
        made.open(7, "a", "/a/x", -2);
        made.open(7, "a", "/a/y", 3);
        feed(&mut app, &mut made);
        let press = |app: &mut App, key| app.update(Input::Key(KeyEvent::from(key)));
        let asked = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Look(..)));
        assert!(!asked(&press(&mut app, KeyCode::Enter)), "it did not fail");
        assert!(asked(&press(&mut app, KeyCode::Up)));
        assert!(!asked(&press(&mut app, KeyCode::Down)) && app.reasons().asks(0));
        let answer = Answer {
            text: b"no x in /a".to_vec(),
            component: None,
            cause: Cause::Missing,
            near: None,
            place: None,
            basis: Basis::Checked(5),
        };
        app.update(Input::Looked(0, answer.clone()));
        assert_eq!((app.reasons().answer(0), app.reasons().asks(0)), (Some(&answer), false));
        assert!(!asked(&press(&mut app, KeyCode::Up)));
        keys(&mut app, "\x1b");
    }
}
