//! What events have in common: the keys by which they share a row.

use foldhash::fast::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use tracetui_events::event::exec::Exec;
use tracetui_events::event::file_identity::changed_ns;
use tracetui_events::event::process::Process;
use tracetui_events::event::{Body, Event, Payload as _, names};
use tracetui_events::search::{missed, names_descriptor, place};
use tracetui_events::text::command::is_of_system;
use tracetui_shared::kind::Kind;

/// What the events of a group have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Alike {
    /// All that they say.
    All,
    /// The name that a process did not find in several directories.
    Search,
    /// The directory in which a command created files.
    Created,
    /// The directory in which a command changed files.
    Changed,
    /// The command that changed files in many directories.
    Changes,
    /// The command that did not find many names. Its processes have one parent.
    Missing,
    /// The command that did the same to many objects: loaded or attached BPF programs.
    Acts,
    /// The program that was executed many times, or failed many times with one status.
    Commands,
}

/// What an event has in common with others, as hashes.
pub(super) struct Keys {
    pub(super) whole: u64,
    /// What it has in common with events that are only alike.
    pub(super) part: Option<(Alike, u64)>,
    /// If many rows within a short time have it in common, they are one. Of a changed file: the command. Of a name that was not found:
    /// the command and the parent. Of a BPF program: what was done with it, and by which command. Of an exec: the program, its file and
    /// the user. Of a failed exit: the command, its program, the status and the parent.
    pub(super) crowd: Option<(Alike, u64)>,
}

impl Keys {
    pub(super) fn all(&self) -> impl Iterator<Item = u64> + use<> {
        [Some(self.whole), self.part.map(|(_, part)| part), self.crowd.map(|(_, crowd)| crowd)].into_iter().flatten()
    }
}

/// Whether the same path may have run another script before. The file of the event is the interpreter's. Only root writes to the
/// directories of the system.
fn may_be_another_script(exec: &Exec<'_>) -> bool {
    !exec.interp.is_empty() && !is_of_system(exec.filename)
}

/// Makes the keys of events.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyMaker {
    hasher: RandomState,
    subject: Vec<u8>,
}

impl KeyMaker {
    /// The keys of an event. `None`: it shares no row. `all`: for the list of all events, which shows more of each.
    pub(super) fn keys(&mut self, event: &Event<'_>, process: Option<&Arc<Process>>, all: bool) -> Option<Keys> {
        if matches!(event.kind(), Kind::Lost | Kind::Fork) {
            return None;
        }
        self.subject.clear();
        event.body.subject(&mut self.subject);
        let subject = self.subject.as_slice();
        let key = process.map(|process| process.key);
        let (argv, comm) = process.map(|process| (&*process.image.argv, &*process.comm)).unwrap_or_default();
        let (header, body) = (&event.header, &event.body);
        let missed = missed(body);
        // A relative path whose directory is not known, a descriptor and a script may be a different file each time.
        let is_placed = match body {
            Body::Open(open) => {
                missed == Some(true)
                    || open.names.is_known()
                    || subject.first() == Some(&b'/') && !names_descriptor(subject)
            }
            Body::Exec(exec) if exec.record.ret >= 0 => !may_be_another_script(exec),
            Body::Exec(_) => missed == Some(true) || !names_descriptor(subject),
            // A child that did not start its program may fail for another reason each time.
            Body::Exit(exit) => !exit.failed() || !process.is_some_and(|process| process.is_forked()),
            _ => !body.has_own_object(),
        };
        let alone = (!is_placed).then_some(header.time.0);
        // A list of all events shows each descriptor.
        let ret = if all { body.error() } else { body.error().min(0) };
        let result = (ret, body.exit().map(|exit| exit.record.status));
        let file = body.identity().and_then(Result::ok);
        // The same path may name another file. A file that is written to stays the same one, but a program does not.
        let file = match body {
            Body::Exec(exec) if exec.failed() && missed != Some(true) && subject.first() != Some(&b'/') => {
                (exec.cwd.bytes, None, None)
            }
            Body::Exec(exec) => {
                let version = file.map(|file| (file.size, changed_ns(&file)));
                (exec.exe.bytes, file.map(|file| (file.device, file.ino)), version)
            }
            Body::Open(open) => (open.names.bytes, file.map(|file| (file.device, file.ino)), None),
            Body::Exit(_) => (process.map_or(&b""[..], |process| &process.image.exe), None, None),
            _ => (&b""[..], None, None),
        };
        let mut hash = self.hasher.build_hasher();
        let (kind, who) = (event.kind(), (header.uid.0, header.gid.0, header.mnt_ns.0));
        (kind as u16, header.comm(), who, result, subject, alone, file).hash(&mut hash);
        body.distinguish(&mut hash);
        match body {
            Body::Exec(exec) => exec.argv.hash(&mut hash),
            // Flags without an effect on the file may differ.
            Body::Open(open) => {
                let truncates = open.flags() & names::O_TRUNC != 0;
                (open.euid(), names::access_letters(open.flags()), truncates, open.remark()).hash(&mut hash);
            }
            // The row of an exit shows the arguments of its process.
            Body::Exit(_) => argv.hash(&mut hash),
            _ => {}
        }
        let by = (header.comm(), who);
        let parent = process.and_then(|process| process.parent);
        let part = match (place(body), kind) {
            // The list of all events shows the call that ends a search.
            (Some((_, name)), _) if missed == Some(true) || all && missed.is_some() => {
                self.alike(Alike::Search, (kind as u16, key, name))
            }
            // Threads have names of their own.
            (Some((dir, _)), Kind::Open) if !all && !event.failed() && !event.is_quiet(false) => {
                self.alike(Alike::Created, (dir, comm, who))
            }
            _ => body
                .change()
                .filter(|_| !all)
                .and_then(|change| self.alike(Alike::Changed, (comm, who, change.directory()))),
        };
        let crowd = match (body, place(body).filter(|_| missed == Some(true))) {
            _ if all => None,
            _ if body.change().is_some() => self.alike(Alike::Changes, by),
            (Body::Exec(exec), _) if exec.record.ret >= 0 && is_placed => {
                self.alike(Alike::Commands, (by, exec.filename, file))
            }
            (Body::Exit(exit), _) if exit.failed() => {
                self.alike(Alike::Commands, (by, exit.record.status, parent, file))
            }
            (_, Some(_)) => self.alike(Alike::Missing, (kind as u16, by, parent)),
            _ => body.action().and_then(|action| self.alike(Alike::Acts, (by, action, result.0))),
        };
        Some(Keys { whole: hash.finish(), part, crowd })
    }

    fn alike(&self, alike: Alike, what: impl Hash) -> Option<(Alike, u64)> {
        Some((alike, self.of((alike, what))))
    }

    /// The key of something else that is folded.
    pub(super) fn of(&self, what: impl Hash) -> u64 {
        self.hasher.hash_one(what)
    }
}
