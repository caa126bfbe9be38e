//! Events: decoded frames that borrow the bytes of the frame.
//!
//! Each kind has its own file with its decoding, its two columns, result and detail ([`Payload`]), and its table of fields
//! ([`describe::Field`]). This file matches over kinds; other modules ask the [`Body`].

mod abi;
pub mod asked;
pub mod bpf;
pub mod cgroup;
pub mod connection;
pub mod describe;
pub mod exec;
pub mod exit;
pub mod file;
pub mod file_identity;
pub(crate) mod foreign_file;
pub(crate) mod fork;
mod layout;
pub mod lookup;
pub mod lost;
pub mod names;
pub mod open;
pub mod parts;
mod payload;
pub mod process;
pub mod redact;
pub mod session;
pub mod stack;
mod start;
pub mod stdio;
pub mod tcp;
pub mod unix;
pub(crate) mod words;

use crate::frame::FrameRef;
use crate::frame::host::{Container, Host, KernelSymbol};
use crate::text::paint::Look;
use asked::Asked;
use connection::Connection;
use describe::{Field, Value, Why};
use open::{File, FileUse};
use parts::Parts;
pub use payload::{Compared, Payload, Takes};
use process::{Process, ProcessKey};
use redact::Redact;
use std::hash::Hasher;
use std::sync::Arc;
use tracetui_shared::header::{FrameHeader, VERSION, flag, until_nul};
use tracetui_shared::id::{CgroupId, Gid, KernelAddr, NsInum, Tgid, Uid};
use tracetui_shared::kind::{Kind, KindSet, UnknownKind};
use tracetui_shared::record::identity::Identity;
use tracetui_shared::record::session::Session;
use tracetui_shared::record::{self, FileSystem, mark};
use tracetui_shared::time::BootNanos;
use zerocopy::FromBytes;

/// An event. Process, time and CPU are in [`header`](Self::header), and everything else is in [`body`](Self::body).
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The header, as the kernel captured it.
    pub header: FrameHeader,
    pub body: Body<'a>,
    /// The addresses of the kernel stack, 8 bytes each; empty if it could not be read, `None` if it was not requested.
    pub stack: Option<&'a [u8]>,
}

macro_rules! kinds {
    (($d:tt) $life:lifetime: $($file:ident::$kind:ident $(<$of:lifetime>)?,)+) => {
        #[derive(Clone, Copy, Debug)]
        pub enum Body<$life> {
            $(#[doc = concat!("[`Kind::", stringify!($kind), "`].")] $kind($file::$kind $(<$of>)?),)+
        }

        /// The answer of a body's payload.
        macro_rules! of {
            ($d body:expr, $d payload:ident => $d answer:expr) => {
                match $d body {
                    $(Body::$kind($d payload) => $d answer,)+
                }
            };
        }

        /// A constant of a kind's payload, or the answer of a function without an event.
        macro_rules! of_kind {
            ($d kind:expr, $d($d item:tt)+) => {
                match $d kind {
                    $(Kind::$kind => $file::$kind::$d($d item)+,)+
                }
            };
        }

        impl<$life> Body<$life> {
            #[inline]
            fn decode(kind: Kind, payload: &$life [u8]) -> Option<Body<$life>> {
                match kind {
                    $(Kind::$kind => Payload::decode(payload).map(Body::$kind),)+
                }
            }

            fn kind(&self) -> Kind {
                match self {
                    $(Body::$kind(_) => Kind::$kind,)+
                }
            }
        }

        $(/// The value of a field of one kind; null for the other kinds.
        fn $file<$life>(
            seen: &EventContext<$life>,
            get: impl FnOnce(&$life $file::$kind $(<$of>)?) -> Value<$life>,
        ) -> Value<$life> {
            if let Body::$kind(payload) = &seen.event.body { get(payload) } else { Value::Null }
        })+

        /// The fields of one kind only, in the order of the JSON object.
        pub fn fields_of(kind: Kind) -> &'static [Field] {
            match kind {
                $(Kind::$kind => $file::FIELDS,)+
            }
        }
    };
}

kinds! { ($) 'a:
    exec::Exec<'a>,
    exit::Exit,
    open::Open<'a>,
    fork::Fork,
    bpf::Bpf<'a>,
    tcp::Tcp,
    file::File<'a>,
    lookup::Lookup<'a>,
    unix::Unix<'a>,
    lost::Lost,
}

/// The fixed parts of a kind's records in which no field was written ([`Payload::unwritten`]).
pub fn unwritten(kind: Kind) -> Vec<Vec<u8>> {
    of_kind!(kind, unwritten())
}

/// The record of an event with its texts redacted ([`Payload::redact`]).
fn redacted(kind: Kind, payload: &[u8], with: &mut Redact) -> Option<Vec<u8>> {
    of_kind!(kind, redact(payload, with))
}

/// The cgroup and the kernel address in the record of an event ([`Payload::refers_to`]).
pub fn refers_to(kind: Kind, payload: &[u8]) -> (CgroupId, KernelAddr) {
    of_kind!(kind, refers_to(payload))
}

/// Functions that return a constant of a kind's payload ([`Payload`]).
macro_rules! constants_of_the_payload {
    ($($visible:vis fn $name:ident() -> $of:ty = $constant:ident;)+) => {
        $(#[doc = concat!("[`Payload::", stringify!($constant), "`].")]
        $visible fn $name(kind: Kind) -> $of {
            of_kind!(kind, $constant)
        })+
    };
}

constants_of_the_payload! {
    pub fn look() -> Look = LOOK;
    pub fn noun() -> &'static str = NOUN;
    pub fn connects() -> bool = CONNECTS;
    pub(crate) fn is_served() -> bool = SERVED;
    pub(crate) fn has_only_failures() -> bool = ONLY_FAILURES;
    pub fn changes_files() -> bool = CHANGES_FILES;
    pub(crate) fn compared() -> Compared = COMPARED;
    pub fn takes() -> Takes = TAKES;
    pub fn news() -> Option<usize> = NEWS;
}

/// The kinds whose calls take this from a file.
pub fn taking(what: Takes) -> KindSet {
    Kind::PROBED.into_iter().filter(|kind| takes(*kind) == what).collect()
}

/// Methods that answer as the payload does ([`Payload`]).
macro_rules! answered_by_the_payload {
    ($($visible:vis fn $name:ident(&self $(, $argument:ident: $of:ty)?) $(-> $answer:ty)?;)+) => {
        impl<'a> Body<'a> {
            $(#[doc = concat!("[`Payload::", stringify!($name), "`].")]
            $visible fn $name(&self $(, $argument: $of)?) $(-> $answer)? {
                of!(self, payload => Payload::$name(payload $(, $argument)?))
            })+
        }
    };
}

answered_by_the_payload! {
    fn failed(&self) -> bool;
    pub fn cut(&self) -> bool;
    pub fn is_alarm(&self) -> bool;
    pub fn ret(&self) -> Option<i32>;
    pub(crate) fn goes_on(&self) -> bool;
    pub(crate) fn is_needless(&self) -> bool;
    pub(crate) fn is_question(&self) -> bool;
    pub(crate) fn ends_program(&self) -> bool;
    pub fn error(&self) -> i32;
    pub(crate) fn decisive(&self) -> Option<[&[u8]; 3]>;
    pub fn distinguish(&self, into: &mut dyn Hasher);
    pub fn sought(&self) -> Option<&'a [u8]>;
    pub fn dirfd(&self) -> i32;
    pub fn may_create(&self) -> bool;
    fn is_routine(&self) -> bool;
    pub fn subject(&self, out: &mut Vec<u8>);
    pub fn file(&self) -> Option<File<'a>>;
    pub(crate) fn is_unnamed(&self) -> bool;
    pub(crate) fn rights(&self) -> u8;
    pub fn file_use(&self) -> Option<FileUse>;
    pub fn identity(&self) -> Option<Result<Identity, Why>>;
    pub(crate) fn base(&self) -> Option<Vec<u8>>;
    pub fn found(&self) -> Option<&Components<'a>>;
    pub fn cwd(&self) -> Option<&Components<'a>>;
    pub fn connection(&self) -> Option<&Connection>;
    pub fn socket(&self) -> Option<&Connection>;
    pub(crate) fn used(&self, subject: &mut Vec<u8>) -> Option<i32>;
    pub fn is_close(&self) -> bool;
    pub fn news(&self, out: &mut Vec<u8>) -> bool;
    pub fn dir(&self) -> Value<'a>;
    pub fn asked(&self) -> Option<Asked<'a>>;
    pub fn paths(&self) -> Option<&file::File<'a>>;
    pub(crate) fn is_made(&self) -> bool;
    pub fn began(&self) -> Option<BootNanos>;
    pub fn before_result(&self) -> &'static str;
    fn session(&self) -> Option<&Session>;
    pub(crate) fn shortened(&self, frame: &FrameRef<'_>) -> Option<Vec<u8>>;
    pub fn has_own_object(&self) -> bool;
    pub fn action(&self) -> Option<(&'static str, Option<&'static str>)>;
}

impl<'a> Body<'a> {
    /// The exec, if it started a program.
    pub fn started(&self) -> Option<&exec::Exec<'a>> {
        match self {
            Body::Exec(exec) if exec.record.ret == 0 => Some(exec),
            _ => None,
        }
    }

    /// The call, if it changed names or attributes of files.
    pub fn change(&self) -> Option<&file::File<'a>> {
        self.paths().filter(|_| changes_files(self.kind()) && !self.failed())
    }

    /// The end of a process.
    pub fn exit(&self) -> Option<&exit::Exit> {
        if let Body::Exit(exit) = self { Some(exit) } else { None }
    }
}

/// The reason why a frame is not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The kind is not that of an event.
    #[error("frame of unknown kind {}", .0.0)]
    Kind(UnknownKind),
    /// A later version wrote the record, and its fields may have other meanings.
    #[error("record version {0}: this tracetui reads versions up to {VERSION}")]
    Version(u16),
    /// The payload ends before its fixed part does, or before one of the parts whose lengths it states.
    #[error("truncated {} record", .0.name())]
    Short(Kind),
}

impl<'a> Event<'a> {
    /// Decodes a whole frame (an `exec` with its continuations joined).
    // Inlined, so that the event is not copied several times.
    #[inline]
    pub fn decode(frame: &FrameRef<'a>) -> Result<Event<'a>, DecodeError> {
        let kind = Kind::try_from(frame.header.kind).map_err(DecodeError::Kind)?;
        if frame.header.version > VERSION {
            return Err(DecodeError::Version(frame.header.version));
        }
        let (record, stack) = split(frame).ok_or(DecodeError::Short(kind))?;
        let body = Body::decode(kind, record).ok_or(DecodeError::Short(kind))?;
        Ok(Event { header: frame.header, body, stack })
    }

    pub fn kind(&self) -> Kind {
        self.body.kind()
    }

    /// Whether it failed: the call returned an error, or the process was killed by a signal or exited with a nonzero
    /// code.
    pub fn failed(&self) -> bool {
        self.body.failed()
    }

    /// Whether it needs no attention: a routine success, or a failure that was answered ([`search`](crate::search)).
    pub fn is_quiet(&self, answered: bool) -> bool {
        if self.failed() { answered } else { self.body.is_routine() }
    }
}

/// An event with its process and the tables: the view of sinks, filters and the dashboard.
#[derive(Clone, Copy, Debug)]
pub struct EventContext<'a> {
    pub event: &'a Event<'a>,
    pub world: &'a dyn Tables,
    /// The process as it was at the event; `None` for `lost`.
    pub process: Option<&'a Arc<Process>>,
    /// CLOCK_REALTIME − CLOCK_BOOTTIME in nanoseconds, in force at the event.
    pub clock_offset: i64,
}

impl<'a> EventContext<'a> {
    /// The RESULT column: `ok`, a descriptor, an exit code, an error's or a signal's name. Raw bytes, not escaped.
    pub fn result(&self, out: &mut Vec<u8>) {
        of!(&self.event.body, payload => payload.result(out));
    }

    /// The DETAIL column of a line. Raw bytes, not escaped.
    pub fn detail(&self, out: &mut Vec<u8>) {
        of!(&self.event.body, payload => payload.detail(self, out));
    }

    /// The arguments that the row shows beside the detail, each followed by NUL.
    pub(crate) fn command(&self) -> &'a [u8] {
        of!(&self.event.body, payload => payload.command(self))
    }

    /// The DETAIL column of the dashboard.
    pub fn show(&self, out: &mut impl Parts) {
        of!(&self.event.body, payload => payload.show(self, out));
    }

    /// The name of an instant in a Perfetto trace.
    pub fn title(&self, out: &mut Vec<u8>) {
        of!(&self.event.body, payload => payload.title(self, out));
    }

    /// The name of a user of the event.
    pub fn user(&self, uid: Uid) -> Option<&'a str> {
        Home { process: self.process, ..Home::of(&self.event.header) }.user(uid, self.world)
    }

    /// The name of a group of the event.
    pub fn group(&self, gid: Gid) -> Option<&'a str> {
        Home { process: self.process, ..Home::of(&self.event.header) }.group(gid, self.world)
    }

    /// Whether its process is COMMAND, not a descendant of it.
    pub fn is_of_command(&self) -> bool {
        let above = || self.process.and_then(|process| self.world.process(process.parent?));
        self.process.is_some_and(|process| process.of_command) && above().is_none_or(|above| !above.of_command)
    }

    /// How long its process had run, in nanoseconds, excluding the time in which COMMAND was held.
    pub fn ran_ns(&self) -> u64 {
        let header = &self.event.header;
        self.process.map_or_else(|| header.time.since(header.start), |process| process.ran_ns(header.time))
    }

    /// The event's time by the wall clock: nanoseconds since 1970-01-01 UTC.
    pub fn unix_nanos(&self) -> i128 {
        i128::from(self.event.header.time.0) + i128::from(self.clock_offset)
    }
}

/// Where a process runs, as far as it decides which accounts it has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Home<'a> {
    pub pid_ns: NsInum,
    /// 0 if unknown.
    pub cgroup: CgroupId,
    pub process: Option<&'a Arc<Process>>,
}

impl<'a> Home<'a> {
    pub fn of(header: &FrameHeader) -> Home<'static> {
        Home { pid_ns: header.pid_ns, cgroup: header.cgroup, process: None }
    }

    /// Whether it is a container or another pid namespace, which mostly has accounts of its own: there, the name that an id has here
    /// would be a guess.
    pub fn is_elsewhere(&self, world: &dyn Tables) -> bool {
        let own = world.host().pid_ns;
        let scanned = self.process.filter(|_| self.cgroup.0 == 0);
        self.pid_ns != own && self.pid_ns.0 != 0 && own.0 != 0
            || world.container(self.cgroup).is_some()
            || scanned.is_some_and(|process| cgroup::container(&process.cgroup).is_some())
    }

    /// The name of a user there. `None` if it would be a guess. Root is root.
    pub fn user<'w>(&self, uid: Uid, world: &'w dyn Tables) -> Option<&'w str> {
        world.user(uid).filter(|_| uid.0 == 0 || !self.is_elsewhere(world))
    }

    /// The name of a group there, likewise.
    pub fn group<'w>(&self, gid: Gid, world: &'w dyn Tables) -> Option<&'w str> {
        world.group(gid).filter(|_| gid.0 == 0 || !self.is_elsewhere(world))
    }
}

/// The root of the v2 hierarchy: kernfs assigns ids from 1
/// ([`__kernfs_new_node`](https://elixir.bootlin.com/linux/v6.12/source/fs/kernfs/dir.c)).
pub const ROOT_CGROUP: CgroupId = CgroupId(1);

/// The tables that fields, columns and filters use, apart from the process.
pub trait Tables: std::fmt::Debug {
    fn host(&self) -> &Host;

    /// The path of an event's cgroup: in the v2 hierarchy, or in the name=systemd one if the v2 path is only the root.
    fn cgroup<'a>(&'a self, id: CgroupId, process: &'a Process) -> Option<&'a [u8]>;

    /// Whether a v2 hierarchy was read. If so, its root is known.
    fn knows_cgroups(&self) -> bool;

    fn user(&self, uid: Uid) -> Option<&str>;

    fn group(&self, gid: Gid) -> Option<&str>;

    /// The container or pod of a cgroup of the v2 hierarchy, if the trace has checked it.
    fn container(&self, id: CgroupId) -> Option<&Container>;

    /// The number of reports of cgroups so far. What [`container`](Self::container) returns changes only with it.
    fn cgroups_told(&self) -> u64;

    /// The path of a cgroup in the v2 hierarchy.
    fn cgroup_of_id(&self, id: CgroupId) -> Option<&[u8]>;

    /// Whether a process is the one that the id in `tree=ID` denotes, or a descendant of it.
    fn in_tree(&self, process: &Process, root: Tgid) -> bool;

    fn symbol(&self, address: u64, at: BootNanos) -> Option<&KernelSymbol>;

    fn process(&self, key: ProcessKey) -> Option<&Arc<Process>>;

    /// The environment of the program of a process ([`crate::environment`]), if it is known.
    fn environment(&self, key: ProcessKey) -> Option<Arc<[u8]>>;
}

/// An absolute path as a probe walked it: components leaf first, each followed by NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Components<'a> {
    pub bytes: &'a [u8],
    pub marks: u8,
    /// The file system, if the file is not in the caller's mount namespace: the components end at its root.
    pub fs: Option<FileSystem>,
}

impl<'a> Components<'a> {
    pub fn new(names: &'a [u8], marks: u8) -> Components<'a> {
        let of_fs = FileSystem::read_from_suffix(names).ok();
        match of_fs.filter(|(_, fs)| marks & mark::UNREACHABLE != 0 && fs.mark == FileSystem::MARK) {
            Some((bytes, fs)) => Components { bytes: &names[..bytes.len()], marks, fs: Some(fs) },
            None => Components { bytes: names, marks, fs: None },
        }
    }

    /// Whether there is a path, or one in a file system.
    pub fn is_known(&self) -> bool {
        self.absent().is_none() || self.inside().is_some()
    }

    /// The file system of a file outside the caller's mount namespace, and the path within it.
    pub fn inside(&self) -> Option<(FileSystem, Components<'a>)> {
        let fs = self.fs.filter(|_| self.absent() == Some(Why::Unreachable) && self.marks & mark::CUT == 0)?;
        Some((fs, Components { marks: 0, fs: None, ..*self }))
    }

    /// The reason why an unreachable file has no path within its file system.
    pub(crate) fn why_not_inside(&self) -> Why {
        if self.marks & mark::CUT != 0 { Why::Cut } else { Why::NotCollected }
    }

    /// The reason why there is no path; `None` if there is one.
    pub fn absent(&self) -> Option<Why> {
        match self.marks {
            m if m & mark::RACED != 0 => Some(Why::Raced),
            m if m & mark::FAULT != 0 => Some(Why::Fault),
            m if m & mark::UNREACHABLE != 0 => Some(Why::Unreachable),
            m if m & mark::CUT != 0 => Some(Why::Cut),
            m if m & mark::NOT_COLLECTED != 0 => Some(Why::NotCollected),
            // Files of nsfs and pidfs, and pipes, have no names of their own.
            m if m & mark::PSEUDO != 0 => matches!(self.bytes, [] | b"\0" | b"/\0").then_some(Why::NotCollected),
            _ => None,
        }
    }

    /// Whether the file was deleted.
    pub fn deleted(&self) -> bool {
        self.marks & mark::DELETED != 0
    }

    /// The path, as [`write`](Self::write) writes it.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut path = Vec::new();
        self.write(&mut path);
        path
    }

    /// Appends the path: `/` and the components, root first. A file outside the directory tree is its bare name
    /// (`pipe:`, `memfd:x`). Before the path in a file system, its type and device are in brackets.
    pub fn write(&self, out: &mut Vec<u8>) {
        if let Some(fs) = &self.fs {
            let device = describe::device(fs.device);
            out.extend_from_slice(&[b"[", until_nul(&fs.name), b" ", device.as_bytes(), b"]"].concat());
        }
        let names = self.bytes.strip_suffix(b"\0").unwrap_or(self.bytes);
        if self.marks & mark::PSEUDO != 0 {
            return out.extend_from_slice(names);
        }
        if names.is_empty() {
            return out.push(b'/');
        }
        out.reserve(names.len() + 1);
        let mut end = names.len();
        for nul in memchr::memrchr_iter(0, names) {
            out.push(b'/');
            out.extend_from_slice(names.get(nul + 1..end).unwrap_or_default());
            end = nul;
        }
        out.push(b'/');
        out.extend_from_slice(names.get(..end).unwrap_or_default());
    }

    pub fn leaf(&self) -> &'a [u8] {
        self.bytes.split(|b| *b == 0).next().unwrap_or(&[])
    }
}

/// The record of a frame, and the kernel stack after it. `None` if the frame is shorter than it states.
#[inline]
pub(crate) fn split<'a>(frame: &FrameRef<'a>) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    match frame.header.has(flag::STACK) {
        true => record::stack::split(frame.payload).map(|(record, stack)| (record, Some(stack))),
        false => Some((frame.payload, None)),
    }
}

/// Reads the fixed part of a record, then the variable parts whose lengths the record states.
pub(crate) struct Sections<'a> {
    rest: &'a [u8],
}

impl<'a> Sections<'a> {
    pub(crate) fn fixed<T: FromBytes>(payload: &'a [u8]) -> Option<(T, Sections<'a>)> {
        let (record, rest) = T::read_from_prefix(payload).ok()?;
        Some((record, Sections { rest }))
    }

    pub(crate) fn next(&mut self, len: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(part)
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }
}
