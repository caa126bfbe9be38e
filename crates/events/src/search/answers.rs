//! Which failed calls nothing answered. FAILED counts these calls, and an exit names one of them as its cause.
//!
//! A later call of the process answers a failed one if it succeeds
//! - for the same path in the same mount namespace and directory, if it asks for no less ([`Wanted::rights`]): a read does not answer a write,
//!   and `O_PATH` answers only `O_PATH`. A refusal ([`REFUSALS`]) stays, because the events do not show that the path still names the
//!   same file: chroot(2), mount(2) and openat2(2) change that. So does a path below a descriptor, whose number may be given to another
//!   file;
//! - as a shell that runs the path, if it was not in an executable format: what execvp(3) does. The parent may run the shell, or start
//!   it as another child, as make does: this answers the exit of the failed process too;
//! - for the same name elsewhere, if the name was not found: a search, such as a walk of PATH. At most [`BETWEEN`] other calls succeed
//!   between, and at most [`SEARCH_NS`] pass;
//! - for a spelling of the name in the same directory, as the next call: `GNUmakefile`, then `Makefile` ([`Wanted::spelling`]);
//! - as listen(2), if it is a bind(2): of the same address, or as the next call;
//! - for the same port, if it is a connect: soon, and with an address of another family, or as the next call. The addresses of one
//!   name are tried like this. Only a loopback address answers for one.
//!
//! A lookup ([`is_question`](crate::event::Payload::is_question)) needs no answer, because its success has no event: it may only have asked
//! whether something is there. An open or exec of the same path or name answers it, and so does the next one in the same directory, or in
//! one of its directories. An exec by a child answers those of its parent.
//!
//! Some failures need no answer: files of a locale, of the loader, of the user's preferences and of Python's start, and devices
//! ([`is_optional`]). Neither does
//! a name that was looked up in a directory and in each one above it. A file named in the arguments of the process is never optional.
//! If an optional file is all that failed before an exit with a code other than 0, the exit names it. A file that a process did not find
//! is optional if the process then exits with code 0, or executes another program.
//!
//! An exit is answered if it is routine ([`exits`](super::exits)).
//!
//! The call that may be the cause of an exit is the last unanswered one. There is none in these cases. The process continued after the call:
//! more than [`AFTERWARDS`] other calls succeeded (unless the arguments name the file), or it ran on for longer than [`SOON_NS`]
//! and for longer than before. [`COMMON`] successful processes did not find the name either. Or events were lost since.

use super::exits::{Answered, ExitCause, Exits, SOON_NS, ended_soon};
use super::wanted::{WITHIN, Wanted, can_matter, is_hidden, is_optional, wanted};
use super::{Failure, argument, place};
use crate::event::asked::{PATH, READ, WRITE};
use crate::event::exit::Ended;
use crate::event::file::File;
use crate::event::process::{Process, ProcessKey};
use crate::event::{Body, EventContext, Takes, changes_files, connects, describe, has_only_failures, is_served, takes};
use crate::limits;
use crate::store::Id;
use crate::text::command::{is_of_system, leaf, script_of};
use crate::text::shell::SHELLS;
use foldhash::HashMap;
use foldhash::fast::RandomState;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;

/// How many calls for other names may succeed between a failure and the exit that it causes. Compilers read the source again for
/// the message. Interpreters read that of each function that the message names: files with [`SOURCES`] do not count.
const AFTERWARDS: u32 = 2;

/// The ends of source files.
const SOURCES: [&[u8]; 4] = [b".py", b".rb", b".pl", b".js"];

/// How many calls for other names may succeed between two calls of one search.
const BETWEEN: u32 = 64;

/// How long a search may take, in nanoseconds.
const SEARCH_NS: u64 = 5 * SOON_NS;

/// How many processes must succeed without a name before its absence no longer counts as a cause.
const COMMON: u8 = 3;

/// The errors of a path to a file that exists but may not be used.
const REFUSALS: [&str; 3] = ["EACCES", "EPERM", "EROFS"];

/// The exit status with which a shell reports that it could not execute the file it found.
const NOT_EXECUTABLE: u8 = 126;

/// The exit status with which a shell reports that it did not find the program.
const NOT_FOUND: u8 = 127;

/// The last directories of a walk of PATH.
const PROGRAMS: [&[u8]; 2] = [b"/usr/bin", b"/bin"];

/// The number of values of [`Failure::searched`].
pub const WAYS: usize = 2 + WITHIN;

/// A failed call that waits for an answer.
#[derive(Clone, Copy, Debug)]
struct Miss {
    failure: Failure,
    kind: Kind,
    time: BootNanos,
    wanted: Wanted,
    /// Whether the arguments of the process name it.
    named: bool,
    /// Whether it counts as answered, although it can be the cause of an exit.
    optional: bool,
    /// How many calls of the process had succeeded before, and how many of them had read a source.
    after: u32,
    sources: u32,
}

impl Miss {
    /// Whether its file does not exist, and it would not have created it.
    fn is_missing(&self) -> bool {
        let sought = takes(self.kind) != Takes::Nothing && self.wanted.name.is_some();
        sought && matches!(self.failure.err, "ENOENT" | "ENOTDIR")
    }

    /// Whether it asked for a path. A success has no event.
    fn is_lookup(&self) -> bool {
        has_only_failures(self.kind)
    }

    /// Whether the kernel knows no format of the file. A shell may run it as a script.
    fn is_script(&self) -> bool {
        self.kind == Kind::Exec && self.failure.err == "ENOEXEC"
    }

    /// Whether a shell was started for the file.
    fn is_run_by(&self, found: &Wanted) -> bool {
        self.is_script() && self.wanted.ns == found.ns && found.script == Some(self.wanted.whole)
    }

    /// Whether a successful call found what this one did not. `others`: how many succeeded between.
    fn is_answered(&self, kind: Kind, found: &Wanted, others: u32, now: BootNanos) -> bool {
        let wanted = &self.wanted;
        if wanted.ns != found.ns {
            return false;
        }
        let (passed, next) = (now.since(self.time), others == 0);
        let refused = takes(self.kind) != Takes::Nothing && REFUSALS.contains(&self.failure.err);
        // A shell reads a script that the kernel cannot execute. A lookup that succeeds has no event, but what uses its file has one.
        let like = self.kind == kind || self.is_lookup() || self.is_script() && found.rights & READ != 0;
        let same = wanted.whole == found.whole && like && !refused && !wanted.at_descriptor;
        if same && found.rights & wanted.rights == wanted.rights || self.is_run_by(found) {
            return true;
        }
        // What else is there: Python looks for several endings of a module, and opens what it compiled one directory below.
        if self.is_lookup() && self.optional && next && (found.dir == wanted.dir || found.above == wanted.dir) {
            return true;
        }
        let same_name =
            (self.kind == kind || self.is_lookup()) && wanted.name.is_some_and(|name| found.name == Some(name));
        same_name
            && (!refused || wanted.dir != found.dir)
            && (found.rights != PATH || wanted.rights == PATH)
            && match kind {
                kind if connects(kind) => {
                    passed <= SOON_NS && wanted.dir == found.dir && (next || wanted.above != found.above)
                }
                // execvp(3) continues at once after a refusal.
                _ if refused => passed <= SOON_NS && next,
                _ => passed <= SEARCH_NS && others <= BETWEEN,
            }
    }
}

/// The failed calls of a process that wait for an answer, in order.
#[derive(Default, Debug)]
struct Waiting {
    misses: Vec<Miss>,
    /// How many calls of the process succeeded since the first of them, and how many of these read a source.
    successes: u32,
    sources: u32,
}

impl Waiting {
    /// How many calls succeeded after this one.
    fn others(&self, miss: &Miss) -> u32 {
        self.successes.saturating_sub(miss.after)
    }

    /// The calls since the last success, the latest first.
    fn latest(&self) -> impl Iterator<Item = &Miss> {
        self.misses.iter().rev().take_while(|miss| self.others(miss) == 0)
    }

    /// Removes the answered calls and passes on those that counted as failures. Removes optional ones after `most` successes. A script
    /// that its process reads becomes optional: the shell may not be able to execute it either. Returns how many it removed.
    fn answer(
        &mut self,
        process: ProcessKey,
        most: u32,
        out: &mut Vec<Answered>,
        is_answered: impl Fn(&Miss, u32) -> bool,
    ) -> usize {
        let (before, successes) = (self.misses.len(), self.successes);
        self.misses.retain_mut(|miss| {
            let others = successes.saturating_sub(miss.after);
            let answered = is_answered(miss, others);
            if answered && !miss.optional {
                out.push(Answered { id: miss.failure.id, kind: miss.kind, process });
            }
            let reads = answered && miss.is_script() && !miss.optional;
            miss.optional |= reads;
            reads || !(answered || miss.optional && others >= most)
        });
        before - self.misses.len()
    }
}

/// A process that ended after it could not execute a file of an unknown format. Its parent may run a shell in its place.
#[derive(Clone, Copy, Debug)]
struct Script {
    parent: ProcessKey,
    failed: Answered,
    miss: Miss,
    /// The exit, if the failure is its cause.
    exit: Option<Answered>,
}

/// The effect of an event on the failures before it.
pub struct Taken<'a> {
    /// The events that no longer count as failures. The event itself if it needs no answer.
    pub answered: &'a [Answered],
    pub cause: Option<ExitCause>,
}

/// The failed calls that wait for an answer of a later call of their process.
#[derive(Debug, Default)]
pub struct Searches {
    waiting: HashMap<ProcessKey, Waiting>,
    all: usize,
    exits: Exits,
    scripts: VecDeque<Script>,
    answered: Vec<Answered>,
    /// For each name, how many successful processes did not find it.
    common: HashMap<u64, u8>,
    /// The last successful rename: of which process and file.
    renamed: Option<(ProcessKey, u64)>,
    /// How many opens and execs did not find an optional file.
    pub optional: u64,
    /// Calls before this event cannot be causes, because their answers may be lost.
    since: Id,
    /// The time of the current event.
    now: BootNanos,
    hasher: RandomState,
}

impl Searches {
    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        // The lists of the processes may be half full.
        let lists = self.all * 2 * size_of::<Miss>() + self.waiting.capacity() * size_of::<(ProcessKey, Waiting)>();
        let scripts = self.scripts.capacity() * size_of::<Script>();
        lists + scripts + self.common.capacity() * size_of::<(u64, u8)>() + self.exits.bytes()
    }

    /// Handles an event that was just stored.
    pub fn take(&mut self, id: Id, seen: &EventContext<'_>) -> Taken<'_> {
        self.answered.clear();
        let (mut cause, time) = (None, seen.event.header.time);
        self.now = time;
        self.exits.settle(time, &mut self.answered);
        match (&seen.event.body, seen.process) {
            (Body::Lost(_), _) => self.since = id,
            (Body::Exit(exit), Some(process)) => {
                let waiting = self.forget(process.key);
                let own = self.exited(&waiting, process, exit.ended(), time);
                let own = own.or_else(|| self.before_fork(process, exit.ended(), time));
                self.keep_scripts(&waiting, process, id, own);
                let weak =
                    own.is_some_and(|own| waiting.misses.iter().any(|miss| miss.failure.id == own.id && miss.optional));
                // What exits with the code of COMMAND answers no question.
                // Nor does a script, unless it is a tool of the system: which(1) is one.
                let script = script_of(&process.image.argv).is_some_and(|script| !is_of_system(script));
                let failed =
                    seen.is_of_command() || script || own.is_some() || waiting.misses.iter().any(|miss| !miss.optional);
                cause = self.exits.exited(id, process, (exit.ended(), time), (own, weak, failed), &mut self.answered);
            }
            (Body::Fork(fork), Some(process)) => self.exits.started(process.key, fork.record.child_start),
            (body, Some(process)) if body.ret().is_some() || seen.event.failed() => match seen.event.failed() {
                true => self.failed(id, seen, process),
                false => self.succeeded(seen, process),
            },
            _ => {}
        }
        Taken { answered: &self.answered, cause }
    }

    fn failed(&mut self, id: Id, seen: &EventContext<'_>, process: &Process) {
        let body = &seen.event.body;
        let wanted = wanted(&self.hasher, seen.event, process);
        let path = body.sought().unwrap_or_default();
        let failure = Failure::of(id, body.error());
        let (kind, time) = (seen.event.kind(), seen.event.header.time);
        let named = argument(path, &process.image.argv).is_some() || body.ends_program();
        // Nobody writes a setting that need not exist.
        let set = wanted.rights & WRITE != 0 && path.starts_with(b"/proc/");
        // A socket has the name that its server chose: `.s.PGSQL.5432`.
        let setting = is_optional(path) && !(is_served(kind) && is_hidden(path));
        let usual = !failure.real && !set && (setting && !named || body.is_needless());
        // bash looks for itself when it starts, and perl for the directories of modules.
        let program = || describe::args(&process.image.argv).next().map(leaf);
        let is_itself = || program().is_some_and(|own| SHELLS.contains(&own) && own == leaf(path));
        let installed =
            !wanted.of_programs && !named && [&b"/usr/"[..], b"/lib"].iter().any(|dir| path.starts_with(dir));
        let starts = body.is_question() && !failure.real && (installed || is_itself());
        // cmake renames its cache twice, also the file with the old one.
        let temporary = |file: &File<'_>| {
            let [from, to] = [file.texts[0], file.texts[1]].map(leaf);
            file.has_second() && !to.is_empty() && from.starts_with(to)
        };
        let renamed = || self.renamed.is_some_and(|(by, what)| (by, what) == (process.key, wanted.whole));
        let again = failure.err == "ENOENT" && (body.paths().is_some_and(temporary) || renamed());
        let (usual, named) = (usual || starts || again, named && !starts);
        let optional = usual || body.is_question();
        if optional {
            self.answered.push(Answered { id, kind, process: process.key });
            self.optional += u64::from(!has_only_failures(kind));
            if usual && !named && !can_matter(path, &process.image.cwd) {
                return;
            }
        }
        let miss = Miss { failure, kind, time, wanted, named, optional, after: 0, sources: 0 };
        if miss.is_script()
            && let Some(waiting) = self.waiting.get_mut(&process.key)
        {
            // The search found the file.
            let found = Wanted { name: place(body).map(|(_, name)| self.hasher.hash_one(name)), ..wanted };
            self.all -= waiting.answer(process.key, u32::MAX, &mut self.answered, |earlier, others| {
                !earlier.is_script() && earlier.is_answered(kind, &found, others, time)
            });
        }
        self.add(process.key, miss);
        if matches!((place(body), wanted.name), (Some((b"/", _)), Some(_))) && !named {
            self.walked_up(process.key, miss);
        }
    }

    /// A search is optional if it ended in the root directory after it tried each directory above the first one, and no other.
    fn walked_up(&mut self, key: ProcessKey, last: Miss) {
        let Some(waiting) = self.waiting.get_mut(&key) else { return };
        let successes = waiting.successes;
        let is_part = |miss: &Miss| {
            (miss.after, miss.kind, miss.wanted.name) == (successes, last.kind, last.wanted.name)
                && !miss.named
                && !miss.optional
        };
        let mut parts: Vec<&mut Miss> = waiting.misses.iter_mut().filter(|miss| is_part(miss)).collect();
        if parts.len() > 1 && parts.is_sorted_by(|below, miss| below.wanted.above == miss.wanted.dir) {
            for miss in &mut parts {
                miss.optional = true;
                self.answered.push(Answered { id: miss.failure.id, kind: miss.kind, process: key });
            }
        }
    }

    fn succeeded(&mut self, seen: &EventContext<'_>, process: &Process) {
        let (key, kind) = (process.key, seen.event.kind());
        if seen.event.body.change().is_some_and(|file| file.op() == "rename") {
            self.renamed = Some((key, wanted(&self.hasher, seen.event, process).whole));
        }
        let goes_on = seen.event.body.goes_on();
        if goes_on && !seen.event.body.sought().is_some_and(is_optional) {
            self.exits.went_on(key, seen.event.header.time, &mut self.answered);
        }
        if let (Kind::Exec, Some(parent)) = (kind, process.parent) {
            self.exits.went_on(parent, key.start, &mut self.answered);
            self.exits.started(parent, key.start);
            // A shell looks for a program before it starts the child that runs it.
            if let Some(waiting) = self.waiting.get_mut(&parent) {
                let found = wanted(&self.hasher, seen.event, process);
                let name = place(&seen.event.body).map(|(_, name)| self.hasher.hash_one(name));
                self.all -= waiting.answer(parent, u32::MAX, &mut self.answered, |miss, _| {
                    let same = miss.wanted.whole == found.whole || name.is_some() && miss.wanted.name == name;
                    miss.is_lookup() && miss.optional && same
                });
            }
        }
        if kind == Kind::Exec && !self.scripts.is_empty() {
            self.ran_script(&wanted(&self.hasher, seen.event, process), process);
        }
        let Some(waiting) = self.waiting.get_mut(&key) else { return };
        let (found, now) = (wanted(&self.hasher, seen.event, process), self.now);
        let is_part = |miss: &Miss| {
            miss.kind == kind
                && !miss.named
                && miss.wanted.name.is_some()
                && (miss.wanted.dir, miss.wanted.spelling) == (found.dir, found.spelling)
        };
        let opens = takes(kind) == Takes::Contents;
        let may_be = opens && found.name.is_some() && found.spelling.is_some() && found.rights & WRITE == 0;
        // The calls since the last success, if all of them tried the directory of this one.
        let alternative = may_be && waiting.latest().next().is_some() && waiting.latest().all(is_part);
        self.all -= waiting.answer(key, AFTERWARDS, &mut self.answered, |miss, others| {
            miss.is_answered(kind, &found, others, now) || alternative && others == 0
        });
        let is_source = |path: &[u8]| SOURCES.iter().any(|end| path.ends_with(end));
        if !goes_on {
            return;
        }
        waiting.sources += u32::from(opens && seen.event.body.sought().is_some_and(is_source));
        waiting.successes = waiting.successes.saturating_add(1);
        // After an exec another program runs.
        if kind == Kind::Exec || waiting.misses.is_empty() {
            let waiting = self.forget(key);
            self.did_without(&waiting, key);
        }
    }

    /// Keeps what a shell may answer after the exit of a process.
    fn keep_scripts(&mut self, waiting: &Waiting, process: &Process, exit: Id, cause: Option<Failure>) {
        let Some(parent) = process.parent else { return };
        let answered = |id, kind| Answered { id, kind, process: process.key };
        for miss in waiting.misses.iter().filter(|miss| miss.is_script() && !miss.optional) {
            if self.scripts.len() >= limits::SEARCH_OF_PROCESS {
                self.scripts.pop_front();
            }
            let id = miss.failure.id;
            let exit = cause.filter(|cause| cause.id == id).map(|_| answered(exit, Kind::Exit));
            self.scripts.push_back(Script { parent, failed: answered(id, Kind::Exec), miss: *miss, exit });
        }
    }

    /// Answers failures of ended processes: their parent, or another child of it, runs the file with a shell.
    fn ran_script(&mut self, found: &Wanted, process: &Process) {
        let (now, answered) = (self.now, &mut self.answered);
        self.scripts.retain(|script| now.since(script.miss.time) <= SEARCH_NS);
        self.scripts.retain(|script| {
            let relative = script.parent == process.key || process.parent == Some(script.parent);
            let runs = relative && script.miss.is_run_by(found);
            if runs {
                answered.push(script.failed);
                answered.extend(script.exit);
            }
            !runs
        });
    }

    fn add(&mut self, key: ProcessKey, miss: Miss) {
        if self.all >= limits::SEARCH_CALLS {
            (self.waiting, self.all) = (HashMap::default(), 0);
            self.exits.forgot = self.now;
        }
        let waiting = self.waiting.entry(key).or_default();
        if waiting.misses.len() >= limits::SEARCH_OF_PROCESS {
            waiting.misses.remove(0);
            self.all -= 1;
        }
        waiting.misses.push(Miss { after: waiting.successes, sources: waiting.sources, ..miss });
        self.all += 1;
    }

    fn forget(&mut self, key: ProcessKey) -> Waiting {
        let waiting = self.waiting.remove(&key).unwrap_or_default();
        self.all -= waiting.misses.len();
        waiting
    }

    /// The call that caused an exit. `waiting`: what nothing answered.
    fn exited(&mut self, waiting: &Waiting, process: &Process, ended: Ended, end: BootNanos) -> Option<Failure> {
        match ended {
            Ended::Code(0) => {
                self.did_without(waiting, process.key);
                self.learn(&waiting.misses);
            }
            Ended::Code(code) => return self.cause(waiting, code, process, end),
            Ended::Signal(_) => {}
        }
        None
    }

    /// The lookup that failed before a shell forked a process, which reports it by its status: the shell looked for a program.
    fn before_fork(&self, process: &Process, ended: Ended, end: BootNanos) -> Option<Failure> {
        let Ended::Code(code @ (NOT_FOUND | NOT_EXECUTABLE)) = ended else { return None };
        let shell = process.parent.filter(|_| process.is_forked())?;
        let waiting = self.waiting.get(&shell)?;
        waiting.misses.last().filter(|miss| miss.is_lookup())?;
        self.cause(waiting, code, process, end)
    }

    /// Answers the calls that did not find their files: the program did its work without them.
    fn did_without(&mut self, waiting: &Waiting, process: ProcessKey) {
        for miss in waiting.misses.iter().filter(|miss| miss.is_missing() && !miss.optional) {
            self.answered.push(Answered { id: miss.failure.id, kind: miss.kind, process });
            self.optional += 1;
        }
    }

    fn cause(&self, waiting: &Waiting, code: u8, process: &Process, end: BootNanos) -> Option<Failure> {
        // A shell that reads a script may fail for any reason. This status says that it is none.
        let reads = |miss: &&Miss| miss.is_script() && miss.optional;
        if let Some(script) = waiting.misses.iter().rfind(reads).filter(|_| code == NOT_EXECUTABLE) {
            return Some(script.failure);
        }
        let misses = &waiting.misses;
        let optional = misses.iter().all(|miss| miss.optional);
        // The success of a lookup has no event: a walk of PATH that ended before the last directories found the program.
        let ends = PROGRAMS.map(|dir| self.hasher.hash_one(dir));
        let found = |miss: &Miss| {
            let same = |other: &&Miss| other.is_lookup() && other.wanted.name == miss.wanted.name;
            let mut walk = misses.iter().filter(same);
            let is_end = |miss: &Miss| ends.contains(&miss.wanted.dir);
            let of_programs = walk.clone().any(|miss| miss.wanted.of_programs);
            miss.is_lookup() && code != NOT_FOUND && of_programs && !walk.any(is_end)
        };
        let uncommon = |miss: &&Miss| {
            let is_known = miss.named || !self.is_common(miss) && !found(miss);
            miss.optional == optional && is_known && !reads(miss)
        };
        let mut last = misses.iter().rfind(uncommon)?;
        if code == NOT_EXECUTABLE {
            // A walk of PATH continues after a file that it may not execute.
            let refused = |miss: &&Miss| miss.wanted.name == last.wanted.name && miss.failure.err == "EACCES";
            last = misses.iter().rfind(refused).unwrap_or(last);
        }
        if takes(last.kind) == Takes::Contents && last.wanted.rights == PATH {
            // It asked whether something is there, after a change failed, or before it looked at what it would copy.
            let other = |miss: &&Miss| uncommon(miss) && changes_files(miss.kind) || miss.is_lookup() && miss.named;
            last = misses.iter().rfind(other).unwrap_or(last);
        }
        if last.is_lookup() {
            // make(1) asks for its next targets after a program was not found, or may not be executed.
            let is_elsewhere = |miss: &Miss| {
                let same = |other: &Miss| other.wanted.name == miss.wanted.name && other.wanted.dir != miss.wanted.dir;
                miss.wanted.name.is_some() && misses.iter().any(same)
            };
            let strong = |miss: &&Miss| uncommon(miss) && (REFUSALS.contains(&miss.failure.err) || is_elsewhere(miss));
            last = misses.iter().rfind(strong).unwrap_or(last);
        }
        let others = waiting.others(last).saturating_sub(waiting.sources - last.sources);
        let went_on = others > AFTERWARDS && !last.named || !ended_soon(process, last.time, end);
        let same = |miss: &&Miss| miss.wanted.name.is_some() && miss.wanted.name == last.wanted.name;
        let mut others = misses.iter().filter(same).filter(|miss| miss.wanted.dir != last.wanted.dir).peekable();
        let searched = match others.peek() {
            None => 0,
            // Directories of programs have the same names.
            Some(_) if takes(last.kind) != Takes::Contents => 1,
            // A header is named with its directories, as the program includes it.
            Some(_) => others.fold(1 + WITHIN as u8, |least, miss| {
                let both = miss.wanted.within.into_iter().zip(last.wanted.within);
                least.min(1 + both.take_while(|(one, other)| one == other && *one != 0).count() as u8)
            }),
        };
        (!went_on && last.failure.id >= self.since).then_some(Failure { searched, ..last.failure })
    }

    fn is_common(&self, miss: &Miss) -> bool {
        miss.wanted.name.and_then(|name| self.common.get(&name)).is_some_and(|processes| *processes >= COMMON)
    }

    /// Notes which names a successful process did not need.
    fn learn(&mut self, waiting: &[Miss]) {
        let mut unneeded: Vec<u64> = waiting.iter().filter_map(|miss| miss.wanted.name).collect();
        unneeded.sort_unstable();
        unneeded.dedup();
        if self.common.len() + unneeded.len() > limits::SEARCH_NAMES {
            self.common = HashMap::default();
        }
        for name in unneeded {
            let processes = self.common.entry(name).or_default();
            *processes = processes.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests;
