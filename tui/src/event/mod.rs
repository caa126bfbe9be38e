//! Events: decoded frames that borrow the bytes of the frame.
//!
//! Only this file matches over kinds. Each kind has its own file with its decoding, its two columns, result and detail
//! ([`Payload`]), and its table of fields ([`describe::Field`]).

pub(crate) mod bpf;
pub mod describe;
pub(crate) mod exec;
pub(crate) mod exit;
pub(crate) mod fork;
pub(crate) mod inside;
pub mod keys;
pub(crate) mod lost;
pub(crate) mod names;
pub(crate) mod open;
pub(crate) mod process;
pub(crate) mod stack;

use crate::frame::FrameRef;
use crate::frame::host::{Host, KernelSymbol};
use describe::{Field, Why};
use process::{Process, ProcessKey};
use std::sync::Arc;
use tracetui_shared::header::{FrameHeader, VERSION, flag, until_nul};
use tracetui_shared::id::{CgroupId, Gid, NsInum, Tgid, Uid};
use tracetui_shared::kind::{Kind, UnknownKind};
use tracetui_shared::record::{self, FileSystem, mark};
use tracetui_shared::time::BootNanos;
use zerocopy::FromBytes;

/// An event: process, time and CPU in [`header`](Self::header), the rest in [`body`](Self::body).
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// As the kernel captured it.
    pub header: FrameHeader,
    /// The data of the kind.
    pub body: Body<'a>,
    /// The addresses of the kernel stack, 8 bytes each; empty if it could not be read, `None` if it was not asked for.
    pub stack: Option<&'a [u8]>,
}

/// The interface of a kind of event.
pub(crate) trait Payload<'a>: Sized {
    /// Reads the payload of a frame. `None` if the payload is shorter than its fixed part and the parts whose lengths
    /// it states.
    fn decode(payload: &'a [u8]) -> Option<Self>;

    /// Whether it failed: the call returned an error, or the process was killed by a signal or exited with a nonzero
    /// code.
    fn failed(&self) -> bool {
        false
    }

    /// Whether a field is truncated.
    fn cut(&self) -> bool {
        false
    }

    /// The RESULT column: `ok`, a descriptor, an exit code, an error's or a signal's name. Raw bytes, not escaped.
    fn result(&self, out: &mut Vec<u8>);

    /// The DETAIL column. Raw bytes, not escaped.
    fn detail(&self, header: &FrameHeader, out: &mut Vec<u8>);
}

macro_rules! kinds {
    ($life:lifetime: $($file:ident::$kind:ident $(<$of:lifetime>)?,)+) => {
        /// The data of a kind.
        #[derive(Clone, Copy, Debug)]
        pub enum Body<$life> {
            $(#[doc = concat!("[`Kind::", stringify!($kind), "`].")] $kind($file::$kind $(<$of>)?),)+
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

            fn failed(&self) -> bool {
                match self {
                    $(Body::$kind(payload) => Payload::failed(payload),)+
                }
            }

            fn cut(&self) -> bool {
                match self {
                    $(Body::$kind(payload) => Payload::cut(payload),)+
                }
            }

            fn result(&self, out: &mut Vec<u8>) {
                match self {
                    $(Body::$kind(payload) => payload.result(out),)+
                }
            }

            fn detail(&self, header: &FrameHeader, out: &mut Vec<u8>) {
                match self {
                    $(Body::$kind(payload) => payload.detail(header, out),)+
                }
            }
        }

        /// The fields of one kind only, in the order of the JSON object.
        pub fn fields_of(kind: Kind) -> &'static [Field] {
            match kind {
                $(Kind::$kind => $file::FIELDS,)+
            }
        }
    };
}

kinds! { 'a:
    exec::Exec<'a>,
    exit::Exit,
    open::Open<'a>,
    fork::Fork,
    bpf::Bpf<'a>,
    lost::Lost,
}

/// The reason why a frame is not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The kind is not that of an event.
    #[error("frame of unknown kind {}", .0.0)]
    Kind(UnknownKind),
    /// The record was written by a later version, in which a field may mean something else.
    #[error("record of version {0}; this tracetui reads up to {VERSION}")]
    Version(u16),
    /// The payload ends before its fixed part or one of the parts that it gives the lengths of.
    #[error("{} record ends early", .0.name())]
    Short(Kind),
}

impl<'a> Event<'a> {
    /// Decodes a whole frame (an `exec` with its continuations put together).
    ///
    /// # Errors
    /// [`DecodeError`] when the kind or the version is unknown, or the payload is shorter than it says.
    // Inlined, the event is not copied several times.
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

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.body.kind()
    }

    /// Whether it failed: the call returned an error, or the process was killed by a signal or exited with a nonzero
    /// code.
    pub fn failed(&self) -> bool {
        self.body.failed()
    }

    /// Whether it reports something that hides.
    pub fn is_alarm(&self) -> bool {
        matches!(&self.body, Body::Bpf(bpf) if bpf.is_hidden())
    }

    /// Whether a field is truncated.
    pub fn cut(&self) -> bool {
        self.body.cut()
    }
}

/// An event with its process and the tables: the view of sinks, filters and the dashboard.
#[derive(Clone, Copy, Debug)]
pub struct EventContext<'a> {
    /// The event.
    pub event: &'a Event<'a>,
    /// The tables.
    pub world: &'a dyn Tables,
    /// The process as it was at the event; `None` for `lost`.
    pub process: Option<&'a Arc<Process>>,
    /// CLOCK_REALTIME − CLOCK_BOOTTIME in nanoseconds, in force at the event.
    pub clock_offset: i64,
}

impl EventContext<'_> {
    /// The RESULT column: `ok`, a descriptor, an exit code, an error's or a signal's name. Raw bytes, not escaped.
    pub fn result(&self, out: &mut Vec<u8>) {
        self.event.body.result(out);
    }

    /// The DETAIL column. Raw bytes, not escaped.
    pub fn detail(&self, out: &mut Vec<u8>) {
        match (&self.event.body, self.process) {
            (Body::Bpf(bpf), _) => bpf.write_detail(bpf.cgroup_path(self.world), out),
            (Body::Exit(exit), _) => exit.write_detail(self.ran_ns(), out),
            (body, _) => body.detail(&self.event.header, out),
        }
    }

    /// How long its process had run, in nanoseconds, without the time in which COMMAND was held.
    pub(crate) fn ran_ns(&self) -> u64 {
        let header = &self.event.header;
        self.process.map_or_else(|| header.time.since(header.start), |process| process.ran_ns(header.time))
    }

    /// The event's time by the wall clock: nanoseconds since 1970-01-01 UTC.
    pub fn unix_nanos(&self) -> i128 {
        i128::from(self.event.header.time.0) + i128::from(self.clock_offset)
    }
}

/// The tables that fields, columns and filters use, apart from the process.
pub trait Tables: std::fmt::Debug {
    /// The machine.
    fn host(&self) -> &Host;

    /// The path of an event's cgroup: in the v2 hierarchy; where that is only the root, in the name=systemd one.
    fn cgroup<'a>(&'a self, id: CgroupId, process: &'a Process) -> Option<&'a [u8]>;

    /// A user's name.
    fn user(&self, uid: Uid) -> Option<&str>;

    /// A group's name.
    fn group(&self, gid: Gid) -> Option<&str>;

    /// The path of a cgroup in the v2 hierarchy.
    fn cgroup_of_id(&self, id: CgroupId) -> Option<&[u8]>;

    /// The pid namespace that tracetui is in.
    fn own_pid_ns(&self) -> NsInum;

    /// Whether a process is the one that the id in `tree=ID` denotes, or a descendant.
    fn in_tree(&self, process: &Process, root: Tgid) -> bool;

    /// The symbol of the kernel that contained an address at a time.
    fn symbol(&self, address: u64, at: BootNanos) -> Option<&KernelSymbol>;

    /// A process, if the table knows it.
    fn process(&self, key: ProcessKey) -> Option<&Arc<Process>>;
}

/// An absolute path as a probe walked it: components leaf first, each followed by NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Components<'a> {
    /// The components.
    pub bytes: &'a [u8],
    /// [`mark`]s.
    pub marks: u8,
    /// The file system, if the file is not in the caller's mount namespace: the components end at its root.
    pub fs: Option<FileSystem>,
}

impl<'a> Components<'a> {
    /// The names in a record.
    pub fn new(names: &'a [u8], marks: u8) -> Components<'a> {
        let of_fs = FileSystem::read_from_suffix(names).ok();
        match of_fs.filter(|(_, fs)| marks & mark::UNREACHABLE != 0 && fs.mark == FileSystem::MARK) {
            Some((bytes, fs)) => Components { bytes: &names[..bytes.len()], marks, fs: Some(fs) },
            None => Components { bytes: names, marks, fs: None },
        }
    }

    /// Whether there is a path, or one in a file system.
    pub(crate) fn is_known(&self) -> bool {
        self.absent().is_none() || self.inside().is_some()
    }

    /// The file system and the path in it, of a file that is not in the caller's mount namespace.
    pub fn inside(&self) -> Option<(FileSystem, Components<'a>)> {
        let fs = self.fs.filter(|_| self.absent() == Some(Why::Unreachable) && self.marks & mark::CUT == 0)?;
        Some((fs, Components { marks: 0, fs: None, ..*self }))
    }

    /// The reason, if there is no such path of a file that is unreachable.
    pub(crate) fn why_not_inside(&self) -> Why {
        if self.marks & mark::CUT != 0 { Why::Cut } else { Why::NotCollected }
    }

    /// The reason, if there is no path.
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

    /// The last component.
    pub fn leaf(&self) -> &'a [u8] {
        self.bytes.split(|b| *b == 0).next().unwrap_or(&[])
    }
}

/// The record of a frame, and the kernel stack that follows it. `None` if it is shorter than it says.
#[inline]
pub(crate) fn split<'a>(frame: &FrameRef<'a>) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    match frame.header.has(flag::STACK) {
        true => record::stack::split(frame.payload).map(|(record, stack)| (record, Some(stack))),
        false => Some((frame.payload, None)),
    }
}

/// Reads the fixed part of a record, then the variable parts whose lengths the record states.
pub(crate) struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(crate) fn fixed<T: FromBytes>(payload: &'a [u8]) -> Option<(T, Parts<'a>)> {
        let (record, rest) = T::read_from_prefix(payload).ok()?;
        Some((record, Parts { rest }))
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
