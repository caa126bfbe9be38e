//! What a kind of events answers for itself.

use super::asked::{Asked, PATH};
use super::connection::Connection;
use super::describe::{Value, Why};
use super::open::{File, FileUse};
use super::parts::{Parts, Role};
use super::redact::Redact;
use super::{Components, EventContext, file, names};
use crate::frame::FrameRef;
use crate::text::paint::Look;
use std::hash::Hasher;
use tracetui_shared::id::{CgroupId, KernelAddr};
use tracetui_shared::record::identity::Identity;
use tracetui_shared::record::session::Session;
use tracetui_shared::time::BootNanos;

pub trait Payload<'a>: Sized {
    /// Reads the payload of a frame. `None` if the payload is too short for its fixed part and the parts whose lengths it states.
    fn decode(payload: &'a [u8]) -> Option<Self>;

    /// The fixed parts of its records with no field written: of the first record, and of a continuation if it has any. Empty if no
    /// probe makes the kind.
    fn unwritten() -> Vec<Vec<u8>>;

    /// The look of its name in lines of text.
    const LOOK: Look;

    /// The noun for one event. With an `s`, it is the noun for several.
    const NOUN: &'static str;

    /// Whether its events are about connections.
    const CONNECTS: bool = false;

    /// Whether its calls ask a server.
    const SERVED: bool = false;

    /// Whether only its failures have events.
    const ONLY_FAILURES: bool = false;

    /// Whether its successes change names or attributes of files.
    const CHANGES_FILES: bool = false;

    const COMPARED: Compared;

    const TAKES: Takes = Takes::Nothing;

    /// The number of parts with which the details of all its [`news`](Self::news) begin. `None`: none of its events are news.
    const NEWS: Option<usize> = None;

    /// The record of an event with its texts redacted. `None` if it has no texts, or ends early.
    fn redact(payload: &[u8], with: &mut Redact) -> Option<Vec<u8>>;

    /// The cgroup and the kernel address that a record contains beside its header and its stack; 0 for either if there is none.
    fn refers_to(_: &[u8]) -> (CgroupId, KernelAddr) {
        Default::default()
    }

    /// Whether it failed: the call returned an error, or the process was killed by a signal or exited with a nonzero
    /// code.
    fn failed(&self) -> bool {
        self.ret().is_some_and(|ret| ret < 0)
    }

    /// Whether a field is truncated.
    fn cut(&self) -> bool {
        self.paths().is_some_and(file::File::is_cut)
    }

    /// Whether it reports a hidden program or link.
    fn is_alarm(&self) -> bool {
        false
    }

    /// The system call's result, if it is a call: `-errno` if it failed.
    fn ret(&self) -> Option<i32> {
        self.paths().map(|file| file.record.ret)
    }

    /// The error of a failed call as `-errno`, even if the call did not wait for it.
    fn error(&self) -> i32 {
        self.ret().unwrap_or_default()
    }

    /// The bytes that decide all fields of the kind but the stack. `None` if they have other sources too, or if events are rarely
    /// equal.
    fn decisive(&self) -> Option<[&[u8]; 3]> {
        None
    }

    /// Hashes what distinguishes it from events of the same command, result and subject.
    fn distinguish(&self, _: &mut dyn Hasher) {}

    /// The path as passed, if it is a call that looks up a file.
    fn sought(&self) -> Option<&'a [u8]> {
        self.paths().and_then(file::File::passed)
    }

    /// The directory descriptor at which that path starts if it is relative.
    fn dirfd(&self) -> i32 {
        libc::AT_FDCWD
    }

    /// Whether the call may create that file.
    fn may_create(&self) -> bool {
        false
    }

    /// Whether a success shows that its program continues with its work. Programs that fail still remove files.
    fn goes_on(&self) -> bool {
        true
    }

    /// Whether a failure only shows that there is nothing to do: a directory exists already, a file is already removed.
    fn is_needless(&self) -> bool {
        false
    }

    /// Whether a program can do little without it but report the failure and end.
    fn ends_program(&self) -> bool {
        false
    }

    /// Whether its failure may only answer a question: whether something is there.
    fn is_question(&self) -> bool {
        false
    }

    /// Whether a success is part of ordinary work, as the open of a file that exists.
    fn is_routine(&self) -> bool {
        false
    }

    /// What a call is about, without ids: the same text in every run.
    fn subject(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.sought().unwrap_or_default());
    }

    fn file(&self) -> Option<File<'a>> {
        self.sought().map(File::Asked)
    }

    /// Whether it failed because its path is empty.
    fn is_unnamed(&self) -> bool {
        false
    }

    /// What the call asks of its file: bits of [`asked`].
    fn rights(&self) -> u8 {
        PATH
    }

    /// How a success uses its file. `None` if it takes nothing from one ([`TAKES`](Self::TAKES)), or opens a directory.
    fn file_use(&self) -> Option<FileUse> {
        None
    }

    /// The inode of this file, or why it is unknown. `None` without one, and for opens of a trace without `--identity`.
    fn identity(&self) -> Option<Result<Identity, Why>> {
        None
    }

    /// The directory that its relative path starts at: the opened file minus the path. `None` if the event does not show it.
    fn base(&self) -> Option<Vec<u8>> {
        None
    }

    /// The path of the opened or executed file.
    fn found(&self) -> Option<&Components<'a>> {
        None
    }

    /// The working directory.
    fn cwd(&self) -> Option<&Components<'a>> {
        None
    }

    /// The connection that it is about.
    fn connection(&self) -> Option<&Connection> {
        None
    }

    /// Its socket, if it is about one: of a connection, or one that listens or could not be bound.
    fn socket(&self) -> Option<&Connection> {
        None
    }

    /// What a success attaches or connects to, if a process that does so for the first time is news. `false` if it is not.
    fn news(&self, _out: &mut Vec<u8>) -> bool {
        false
    }

    /// Appends what two runs compare of it, if it is [`Compared::Counts`] or [`Compared::Results`], and returns the result:
    /// `-errno` if it failed. `None` if it depends on time.
    fn used(&self, _subject: &mut Vec<u8>) -> Option<i32> {
        None
    }

    /// Whether it closes what an earlier event of the kind opened. It may come after the exit of its process.
    fn is_close(&self) -> bool {
        false
    }

    /// The call, if it is of the kinds that have `file`'s records.
    fn paths(&self) -> Option<&file::File<'a>> {
        None
    }

    /// What a call of a path asked for.
    fn asked(&self) -> Option<Asked<'a>> {
        self.paths().and_then(Payload::asked)
    }

    /// The directory at which the relative path of a failed call starts.
    fn dir(&self) -> Value<'a> {
        self.paths().map_or(Value::Null, |file| file.start(0))
    }

    /// Whether its object has an id: then events that look the same are about different objects.
    fn has_own_object(&self) -> bool {
        false
    }

    /// What it does, and to which type of object, if a command may do so to many objects at once.
    fn action(&self) -> Option<(&'static str, Option<&'static str>)> {
        None
    }

    /// The session of its process, if the record has one.
    fn session(&self) -> Option<&Session> {
        None
    }

    /// The payload without what only the tables need, if it contains such data.
    fn shortened(&self, _: &FrameRef<'_>) -> Option<Vec<u8>> {
        None
    }

    /// The start of what it ends, if that can overlap with others of its process.
    fn began(&self) -> Option<BootNanos> {
        None
    }

    /// Whether no probe made it. Then only the id of its process is known, and the facts in the process table.
    fn is_made(&self) -> bool {
        false
    }

    /// The RESULT column: `ok`, a descriptor, an exit code, an error's or a signal's name. Raw bytes, not escaped.
    fn result(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.ret().and_then(names::err).unwrap_or("ok").as_bytes());
    }

    /// The text that the dashboard shows before the result.
    fn before_result(&self) -> &'static str {
        ""
    }

    /// The DETAIL column of a line. Raw bytes, not escaped.
    fn detail(&self, seen: &EventContext<'_>, out: &mut Vec<u8>);

    /// The arguments that its row shows beside the detail, each followed by NUL.
    fn command<'s>(&self, _: &EventContext<'s>) -> &'s [u8] {
        &[]
    }

    /// The DETAIL column of the dashboard.
    fn show(&self, seen: &EventContext<'_>, out: &mut impl Parts) {
        out.part(Role::Quiet, |out| self.detail(seen, out));
    }

    /// The name of an instant in a Perfetto trace: by default the kind and the result.
    fn title(&self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(seen.event.kind().name().as_bytes());
        out.push(b' ');
        self.result(out);
    }
}

/// What the calls of a kind take from a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// They use no file, or only its name and attributes.
    Nothing,
    /// The program that the process runs.
    Program,
    /// What it contains, through a descriptor.
    Contents,
}

/// What two runs compare of the events of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compared {
    Nothing,
    /// What the comparison reads in the records: programs, exits and opened files.
    ByRule,
    /// The number of equal events.
    Counts,
    /// The results for each subject. The word is for a success.
    Results(&'static str),
}
