//! Which failed calls nothing answered: those that FAILED counts, and the one of them that an exit names as its cause.
//!
//! A later call of the process answers a failed one if it succeeds
//! - for the same path, whatever the error was;
//! - for the same name elsewhere, if the name was not found: a search, such as a walk of PATH;
//! - for another name in the same directory, as the next call: `makefile`, then `Makefile`.
//!
//! Some failures need no answer: files of a locale, of the loader and of the user's preferences, and devices ([`is_optional`]); and a
//! name that was looked for in a directory and in each one above it. A file that the arguments of the process name is never optional.
//!
//! The cause of an exit is the last call that nothing answered. There is none if the process went on after it: more than [`AFTERWARDS`]
//! other calls succeeded (unless the arguments name the file), or it ran on for longer than [`SOON_NS`] and than before; if
//! [`COMMON`] processes that succeeded did not find the name either; or if events were lost since.

use super::views::events::missed;
use super::why::place;
use crate::event::exit::Ended;
use crate::event::process::{Process, ProcessKey};
use crate::event::{Body, EventContext, names};
use crate::store::Id;
use foldhash::fast::RandomState;
use memchr::memmem;
use rustc_hash::FxHashMap;
use std::hash::BuildHasher;
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;

/// The calls of a process that wait for an answer.
const OF_PROCESS: usize = 128;

/// The calls of all processes that wait for an answer. With more, all are forgotten: they count as failed.
const ALL: usize = 1 << 14;

/// Calls for other names that may succeed between a failure and the exit because of it: compilers read the source again for the
/// message.
const AFTERWARDS: u8 = 2;

/// How long a process may run on after any failure that it exits for, in nanoseconds.
const SOON_NS: u64 = 1_000_000_000;

/// The processes that succeed without a name after which its absence is no cause.
const COMMON: u8 = 3;

/// The names that successful processes did not find. With more, all are forgotten.
const NAMES: usize = 1 << 12;

/// The status by which a shell says that it could not execute what it found.
const NOT_EXECUTABLE: u8 = 126;

/// The option that names a library.
pub(super) const LIBRARY: &[u8] = b"-l";

/// A call that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    /// The event.
    pub id: Id,
    /// The error.
    pub err: &'static str,
    /// Whether it is no part of ordinary work.
    pub real: bool,
    /// Whether its name was looked for in other places too.
    pub searched: bool,
}

impl Failure {
    pub(super) fn of(id: Id, ret: i32) -> Failure {
        let err = names::err(ret).unwrap_or("failed");
        Failure { id, err, real: !names::is_expected(err.as_bytes()), searched: false }
    }
}

/// Whether a process may have exited because of what happened at a time: it ended soon after that, or ran for longer before it.
pub(super) fn ended_soon(process: &Process, at: BootNanos, end: BootNanos) -> bool {
    let before = process.ran_ns(at);
    process.ran_ns(end).saturating_sub(before) <= before.max(SOON_NS)
}

/// What an open, an exec or a BPF call was for, as hashes.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// The whole path; of a BPF call, what it loads or attaches.
    whole: u64,
    /// The directory.
    dir: u64,
    /// The name that a search finds elsewhere.
    name: Option<u64>,
}

/// A failed call that waits for an answer.
#[derive(Clone, Copy, Debug)]
struct Miss {
    failure: Failure,
    kind: Kind,
    time: BootNanos,
    wanted: Wanted,
    /// Whether the arguments of the process name it.
    named: bool,
    /// Calls that succeeded since.
    others: u8,
}

impl Miss {
    /// Whether a call that succeeded found what this one did not.
    fn is_answered(&self, kind: Kind, found: &Wanted) -> bool {
        let same_name = self.kind == kind && self.wanted.name.is_some_and(|name| found.name == Some(name));
        let same_path = self.wanted.whole == found.whole && (self.kind == Kind::Bpf) == (kind == Kind::Bpf);
        same_name || same_path
    }
}

/// What an event says of the failed calls before it.
pub(super) struct Taken<'a> {
    /// Those that are no failures any more, or the event itself if it needs no answer.
    pub(super) answered: &'a [(Id, Kind)],
    /// The cause of an exit.
    pub(super) cause: Option<Failure>,
}

/// The calls that failed, until another call of the process answers them.
#[derive(Debug, Default)]
pub(super) struct Searches {
    waiting: FxHashMap<ProcessKey, Vec<Miss>>,
    /// The number of all.
    all: usize,
    answered: Vec<(Id, Kind)>,
    /// How many processes that succeeded did not find a name.
    common: FxHashMap<u64, u8>,
    /// Calls before this event are no causes: what answered them may be lost.
    since: Id,
    hasher: RandomState,
}

impl Searches {
    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        // The lists of the processes may be half full.
        let lists = self.all * 2 * size_of::<Miss>() + self.waiting.capacity() * size_of::<(ProcessKey, Vec<Miss>)>();
        lists + self.common.capacity() * size_of::<(u64, u8)>()
    }

    /// Takes an event that was just stored.
    pub(super) fn take(&mut self, id: Id, seen: &EventContext<'_>) -> Taken<'_> {
        self.answered.clear();
        let mut cause = None;
        match (&seen.event.body, seen.process) {
            (Body::Lost(_), _) => self.since = id,
            (Body::Exit(exit), Some(process)) => cause = self.exited(process, exit.ended(), seen.event.header.time),
            (Body::Open(_) | Body::Exec(_) | Body::Bpf(_), Some(process)) => match seen.event.failed() {
                true => self.failed(id, seen, process),
                false => self.succeeded(seen, process.key),
            },
            _ => {}
        }
        Taken { answered: &self.answered, cause }
    }

    /// What a call is for. A call that may create its file finds no name.
    fn wanted(&self, body: &Body<'_>) -> Option<Wanted> {
        let hash = |bytes: &[u8]| self.hasher.hash_one(bytes);
        let path = match body {
            Body::Open(open) => open.path,
            Body::Exec(exec) => exec.filename,
            Body::Bpf(bpf) => {
                let mut subject = Vec::new();
                bpf.subject(&mut subject);
                return Some(Wanted { whole: hash(&subject), dir: 0, name: None });
            }
            _ => return None,
        };
        let Some((dir, name)) = place(body) else { return Some(Wanted { whole: hash(path), dir: 0, name: None }) };
        // execvp(3) goes on after a file that it may not execute.
        let searches = matches!(body, Body::Exec(exec) if exec.record.ret == -libc::EACCES) || missed(body).is_some();
        Some(Wanted { whole: hash(path), dir: hash(dir), name: searches.then(|| hash(stem(name))) })
    }

    fn failed(&mut self, id: Id, seen: &EventContext<'_>, process: &Process) {
        let body = &seen.event.body;
        let Some(wanted) = self.wanted(body) else { return };
        let (path, ret) = match body {
            Body::Open(open) => (open.path, open.record.ret),
            Body::Exec(exec) => (exec.filename, exec.record.ret),
            Body::Bpf(bpf) => (&b""[..], bpf.record().ret),
            _ => return,
        };
        let failure = Failure::of(id, ret);
        let named = argument(path, &process.image.argv).is_some();
        if !failure.real && !named && is_optional(path) {
            return self.answered.push((id, seen.event.kind()));
        }
        let miss = Miss { failure, kind: seen.event.kind(), time: seen.event.header.time, wanted, named, others: 0 };
        self.add(process.key, miss);
        if matches!((place(body), wanted.name), (Some((b"/", _)), Some(_))) && !named {
            self.walked_up(process.key, miss);
        }
    }

    /// Answers a search that ended in the root directory after others: each directory above the first was looked into.
    fn walked_up(&mut self, key: ProcessKey, last: Miss) {
        let is_part = |miss: &Miss| miss.others == 0 && miss.kind == Kind::Open && miss.wanted.name == last.wanted.name;
        let parts = self.waiting.get(&key).map_or(0, |waiting| waiting.iter().filter(|miss| is_part(miss)).count());
        if parts > 1 {
            self.answer(key, |miss| is_part(miss));
        }
    }

    fn succeeded(&mut self, seen: &EventContext<'_>, key: ProcessKey) {
        let Some(waiting) = self.waiting.get(&key) else { return };
        let (kind, Some(found)) = (seen.event.kind(), self.wanted(&seen.event.body)) else { return };
        // The calls since the last success, if all of them looked into the directory of this one.
        let mut run = waiting.iter().rev().take_while(|miss| miss.others == 0);
        let is_part = |miss: &Miss| {
            miss.kind == kind && !miss.named && miss.wanted.name.is_some() && miss.wanted.dir == found.dir
        };
        let alternative = kind == Kind::Open && found.name.is_some() && run.all(is_part);
        self.answer(key, |miss| miss.is_answered(kind, &found) || alternative && miss.others == 0);
        if kind == Kind::Exec {
            // Another program runs now.
            return self.forget(key);
        }
        let waiting = self.waiting.get_mut(&key).into_iter().flatten();
        waiting.for_each(|miss| miss.others = miss.others.saturating_add(1));
    }

    /// Takes out the calls of a process that are answered.
    fn answer(&mut self, key: ProcessKey, is_answered: impl Fn(&Miss) -> bool) {
        let Some(waiting) = self.waiting.get_mut(&key) else { return };
        let before = waiting.len();
        waiting.retain(|miss| {
            let answered = is_answered(miss);
            if answered {
                self.answered.push((miss.failure.id, miss.kind));
            }
            !answered
        });
        self.all -= before - waiting.len();
        if waiting.is_empty() {
            self.waiting.remove(&key);
        }
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

    /// Forgets a process that ended, and returns the call that it exited for.
    fn exited(&mut self, process: &Process, ended: Ended, end: BootNanos) -> Option<Failure> {
        let waiting = self.waiting.remove(&process.key)?;
        self.all -= waiting.len();
        match ended {
            Ended::Code(0) => self.learn(&waiting),
            Ended::Code(code) => return self.cause(&waiting, code, process, end),
            Ended::Signal(_) => {}
        }
        None
    }

    fn cause(&self, waiting: &[Miss], code: u8, process: &Process, end: BootNanos) -> Option<Failure> {
        let uncommon = |miss: &&Miss| miss.named || !self.is_common(miss);
        let mut last = waiting.iter().rfind(uncommon)?;
        if code == NOT_EXECUTABLE {
            // A walk of PATH goes on after what it may not execute.
            let refused = |miss: &&Miss| miss.wanted.name == last.wanted.name && miss.failure.err == "EACCES";
            last = waiting.iter().rfind(refused).unwrap_or(last);
        }
        let went_on = last.others > AFTERWARDS && !last.named || !ended_soon(process, last.time, end);
        let same = |miss: &&Miss| miss.wanted.name.is_some() && miss.wanted.name == last.wanted.name;
        let searched = waiting.iter().filter(same).any(|miss| miss.wanted.dir != last.wanted.dir);
        (!went_on && last.failure.id >= self.since).then_some(Failure { searched, ..last.failure })
    }

    fn is_common(&self, miss: &Miss) -> bool {
        miss.wanted.name.and_then(|name| self.common.get(&name)).is_some_and(|processes| *processes >= COMMON)
    }

    /// Learns from a process that succeeded which names it did not need.
    fn learn(&mut self, waiting: &[Miss]) {
        let mut unneeded: Vec<u64> = waiting.iter().filter_map(|miss| miss.wanted.name).collect();
        unneeded.sort_unstable();
        unneeded.dedup();
        if self.common.len() + unneeded.len() > NAMES {
            self.common = FxHashMap::default();
        }
        for name in unneeded {
            let processes = self.common.entry(name).or_default();
            *processes = processes.saturating_add(1);
        }
    }
}

/// Whether a file is one of those that programs ask for and that need not be there: message catalogs and other files of a locale, what
/// the loader reads first, the user's preferences, what shells run at their end; and what is no file.
fn is_optional(path: &[u8]) -> bool {
    let within = [&b"/LC_MESSAGES/"[..], b"/locale/", b"/gconv/"].iter().any(|dir| memmem::find(path, dir).is_some());
    let below = [&b"/proc/"[..], b"/dev/", b"/etc/ld.so."].iter().any(|start| path.starts_with(start));
    let hidden = |name: &[u8]| name.first() == Some(&b'.') && !matches!(name, b"." | b"..");
    let mut names = path.rsplit(|byte| *byte == b'/').take(2);
    within || below || path.ends_with(b"logout") || names.any(hidden)
}

/// The argument that names a path: as its end, as the value of an option, or as a library (`-lz`).
pub(super) fn argument<'a>(path: &[u8], argv: &'a [u8]) -> Option<&'a [u8]> {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let stem = name.split(|byte| *byte == b'.').next().unwrap_or_default();
    let is_library = name.ends_with(b".a") || memmem::find(name, b".so").is_some();
    let library = stem.strip_prefix(b"lib").filter(|_| is_library).or(is_library.then_some(stem)).unwrap_or_default();
    let ends = |with: &[u8]| path == with || path.strip_suffix(with).is_some_and(|dir| dir.ends_with(b"/"));
    argv.split(|byte| *byte == 0).skip(1).find(|arg| {
        let value = memchr::memchr(b'=', arg).and_then(|at| arg.get(at + 1..));
        let named = [Some(*arg), value].into_iter().flatten().any(|arg| !arg.is_empty() && ends(arg));
        named || !library.is_empty() && arg.strip_prefix(LIBRARY) == Some(library)
    })
}

/// What two names of one search have in common. Compilers look for `x.h.gch` before `x.h`, and linkers take a static library in place of
/// the other one.
fn stem(name: &[u8]) -> &[u8] {
    let library = library_stem(name).filter(|stem| stem.len() > b"lib".len());
    library.unwrap_or_else(|| name.strip_suffix(b".gch").unwrap_or(name))
}

/// The name of a library without its suffixes; `None` of another file.
fn library_stem(name: &[u8]) -> Option<&[u8]> {
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
                made.open(7, "cat", "/b/y", 3);
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
    fn another_success_between_does_not_end_a_search() {
        check(
            |made| {
                made.open(7, "ld", "/a/libx.so", -2);
                made.open(7, "ld", "/b/crt.o", 3);
                made.open(7, "ld", "/c/libx.a", 4);
            },
            &[0],
        );
    }

    #[test]
    fn a_path_that_succeeds_later_is_an_answer_whatever_the_error_was() {
        check(
            |made| {
                made.open(7, "vi", "/a/x", -13);
                made.open(7, "vi", "/a/x", 3);
                // A shell reads a script that the kernel cannot execute.
                exec(made, b"/a/script", -8);
                made.open(7, "sh", "/a/script", 3);
            },
            &[0, 2],
        );
    }

    #[test]
    fn the_first_of_two_names_in_one_directory_is_answered_by_the_other() {
        check(
            |made| {
                made.open(7, "make", "GNUmakefile", -2);
                made.open(7, "make", "makefile", -2);
                made.open(7, "make", "Makefile", 3);
                // The last name was not looked for there.
                made.open(7, "cc1", "/src/x.h", -2);
                made.open(7, "cc1", "/usr/include/x.h", -2);
                made.open(7, "cc1", "/src/main.c", 3);
            },
            &[0, 1],
        );
    }

    #[test]
    fn what_need_not_be_there_is_no_failure_unless_the_arguments_name_it() {
        check(
            |made| {
                made.open(7, "cat", "/usr/share/locale/de/LC_MESSAGES/libc.mo", -2);
                made.open(7, "cat", "/etc/ld.so.preload", -2);
                made.open(7, "cat", "/dev/tty", -6);
                made.open(7, "cat", "/home/ana/.catrc", -2);
                for dir in ["/a/b", "/a", ""] {
                    made.open(7, "node", &format!("{dir}/package.json"), -2);
                }
                made.exec(7, "cat", &["cat", "/dev/none", "/none"], 0);
                made.open(7, "cat", "/dev/none", -2);
                made.open(7, "cat", "/none", -2);
                made.open(7, "cat", "/proc/sys/none", -13);
            },
            &[0, 1, 2, 3, 4, 5, 6],
        );
    }

    /// The failed call that an exit with this status names, after these events of process 7.
    #[track_caller]
    fn causes(status: u32, make: impl FnOnce(&mut Maker), want: Option<Id>) {
        let (mut app, mut made) = (app(80, 24, 64 << 20), Maker::default());
        make(&mut made);
        made.exit(7, "x", status);
        feed(&mut app, &mut made);
        let exit = app.store().next_id() - 1;
        assert_eq!(app.cause_of(exit).map(|reason| reason.id), want);
    }

    #[test]
    fn an_exit_names_the_last_call_that_nothing_answered() {
        let missing = |made: &mut Maker| {
            made.open(7, "cc1", "/src/zlib.h", -2);
            made.open(7, "cc1", "/usr/include/zlib.h", -2);
            made.open(7, "cc1", "/usr/share/locale/de/LC_MESSAGES/gcc.mo", -2);
        };
        causes(1 << 8, missing, Some(1));
        causes(0, missing, None);
        causes(11, missing, None);
        let went_on = |made: &mut Maker, others: u64| {
            missing(made);
            (0..others).for_each(|other| made.open(7, "cc1", &format!("/other/{other}"), 3));
        };
        causes(1 << 8, |made| went_on(made, 2), Some(1));
        causes(1 << 8, |made| went_on(made, 3), None);
    }

    #[test]
    fn a_file_of_the_arguments_is_the_cause_whatever_succeeds_after_it() {
        for (arg, path) in [("-lzz", "/usr/lib/libzz.so"), ("x.o", "x.o"), ("--in=a/b", "/src/a/b"), ("b", "/a/b")] {
            let make = |made: &mut Maker| {
                made.exec(7, "ld", &["ld", arg, "-lc"], 0);
                made.open(7, "ld", path, -2);
                made.open(7, "ld", "/usr/share/locale/de/LC_MESSAGES/libc.mo", -2);
                (0..9).for_each(|other| made.open(7, "ld", &format!("/lib/{other}"), 3));
            };
            causes(1 << 8, make, Some(1));
        }
    }

    #[test]
    fn a_doubtful_cause_is_none() {
        // It went on for long.
        let late = |made: &mut Maker| {
            made.open(7, "x", "/a", -13);
            made.ns += 60_000_000_000;
        };
        causes(1 << 8, late, None);
        // What answered it may be lost.
        let lost = |made: &mut Maker| {
            made.open(7, "x", "/a", -13);
            crate::app::testing::lost(made, 5);
        };
        causes(1 << 8, lost, None);
        // The last one is not the cause, so none before it is.
        let other = |made: &mut Maker| {
            made.exec(7, "x", &["x", "/a"], 0);
            made.open(7, "x", "/a", -2);
            made.open(7, "x", "/b", -2);
            (0..3).for_each(|other| made.open(7, "x", &format!("/other/{other}"), 3));
        };
        causes(1 << 8, other, None);
        // Others succeeded without it.
        let common = |made: &mut Maker, others: u32| {
            for pid in 100..100 + others {
                made.open(pid, "x", "/etc/x.conf", -2);
                made.exit(pid, "x", 0);
            }
            made.open(7, "x", "/etc/x.conf", -2);
        };
        causes(1 << 8, |made| common(made, 2), Some(4));
        causes(1 << 8, |made| common(made, 3), None);
    }

    #[test]
    fn a_failed_exec_is_the_cause_of_126_and_127() {
        let walk = |made: &mut Maker, refused: i32| {
            exec(made, b"/a/foo", refused);
            exec(made, b"/b/foo", -2);
            made.open(7, "env", "/usr/share/locale/de/LC_MESSAGES/libc.mo", -2);
        };
        causes(127 << 8, |made| walk(made, -2), Some(1));
        causes(126 << 8, |made| walk(made, -13), Some(0));
        // Another program ran after it.
        causes(
            127 << 8,
            |made| {
                walk(made, -2);
                exec(made, b"/b/bar", 0);
            },
            None,
        );
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut searches = Searches::default();
        let key = |tgid| ProcessKey { tgid: tracetui_shared::id::Tgid(tgid), start: Default::default() };
        for id in 0..3 * ALL as u64 {
            let wanted = Wanted { whole: id, dir: id, name: Some(id) };
            let (failure, time) = (Failure::of(id, -2), BootNanos(id));
            let miss = Miss { failure, kind: Kind::Open, time, wanted, named: false, others: 0 };
            searches.add(key(id as u32 % 1000), miss);
            assert_eq!(searches.all, searches.waiting.values().map(Vec::len).sum::<usize>());
            assert!(searches.all <= ALL && searches.waiting.values().all(|waiting| waiting.len() <= OF_PROCESS));
        }
        (0..1000).for_each(|tgid| searches.forget(key(tgid)));
        assert_eq!(searches.all, 0);
    }
}
