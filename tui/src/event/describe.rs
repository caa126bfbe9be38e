//! The name, the description and the getter of every field. Filter fields, JSON keys, CSV columns, the detail pane and
//! the documentation are derived from these tables.

use super::stack::Stack;
use super::{Components, EventContext};
use crate::bpf::place::AttachPoint;
use crate::text::time;
use std::borrow::Cow;

/// The reason why a value is missing or incomplete. In JSON: `<field>_why`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Why {
    /// The call failed.
    Failed,
    /// Another thread changed the descriptor before it was read.
    Raced,
    /// The memory could not be read.
    Fault,
    /// It did not fit.
    Cut,
    /// It cannot be reached from the caller's root.
    Unreachable,
    /// It disappeared before it could be read.
    Vanished,
    /// The running kernel has no such field.
    NoField,
    /// tracetui may not read it.
    NotPermitted,
    /// It was not collected.
    NotCollected,
}

impl Why {
    /// Its value in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Why::Failed => "failed",
            Why::Raced => "raced",
            Why::Fault => "fault",
            Why::Cut => "cut",
            Why::Unreachable => "unreachable",
            Why::Vanished => "vanished",
            Why::NoField => "no_field",
            Why::NotPermitted => "not_permitted",
            Why::NotCollected => "not_collected",
        }
    }
}

/// The value of a field, before formatting.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// It was not asked for: there is no key in JSON.
    Omitted,
    /// It does not apply.
    Null,
    /// It applies, but is unknown.
    Unknown(Why),
    /// Text that could not be read: empty, with the reason.
    Unread(Why),
    /// Truncated text from outside.
    Cut(&'a [u8]),
    /// An integer.
    Int(i64),
    /// An integer that is never negative.
    Uint(u64),
    /// Yes or no.
    Bool(bool),
    /// A constant word: ASCII, needs no escaping.
    Word(&'static str),
    /// Text from outside: any bytes.
    Bytes(&'a [u8]),
    /// Two texts from outside with a colon between them.
    Pair(&'a [u8], &'a [u8]),
    /// An attach point in words.
    AttachPoint(AttachPoint),
    /// A path as components.
    Path(Components<'a>),
    /// Open flags by name.
    Flags(u64),
    /// Arguments, each followed by NUL.
    Args(&'a [u8]),
    /// Arguments that could not be read completely, with the reason.
    SomeArgs(&'a [u8], Why),
    /// An address.
    Addr(u64),
    /// A program's tag.
    Tag([u8; 8]),
    /// A device as the kernel numbers it: `major:minor`.
    Device(u32),
    /// Nanoseconds since 1970-01-01 UTC.
    Time(i128),
    /// Constant words.
    Words(&'a [&'static str]),
    /// A kernel stack.
    Stack(Stack<'a>),
    /// An object with its own fields ([`Field::sub`]).
    Object,
}

impl<'a> Value<'a> {
    /// The reason, if the value is unknown.
    pub fn why(&self) -> Option<Why> {
        match self {
            Value::Unknown(why) | Value::Unread(why) | Value::SomeArgs(_, why) => Some(*why),
            Value::Cut(_) => Some(Why::Cut),
            Value::Stack(stack) if stack.is_cut() => Some(Why::Cut),
            _ => None,
        }
    }

    /// The value as bytes, as compared by filters and shown on the screen (before escaping). `None` if absent.
    /// Arguments are joined by spaces.
    pub fn text(&self) -> Option<Cow<'a, [u8]>> {
        let mut out = Vec::new();
        match self {
            Value::Omitted | Value::Null | Value::Unknown(_) | Value::Object => return None,
            Value::Unread(_) => return Some(Cow::Borrowed(b"")),
            Value::Word(word) => return Some(Cow::Borrowed(word.as_bytes())),
            Value::Bytes(bytes) | Value::Cut(bytes) => return Some(Cow::Borrowed(bytes)),
            Value::Int(n) => out.extend_from_slice(n.to_string().as_bytes()),
            Value::Uint(n) => out.extend_from_slice(n.to_string().as_bytes()),
            Value::Bool(b) => return Some(Cow::Borrowed(if *b { b"true" } else { b"false" })),
            Value::Pair(a, b) => out.extend_from_slice(&[a, b":".as_slice(), b].concat()),
            Value::AttachPoint(point) => out.extend_from_slice(point.to_string().as_bytes()),
            Value::Path(names) => names.write(&mut out),
            Value::Flags(flags) => super::names::open_flags(*flags, &mut out),
            Value::Args(args) | Value::SomeArgs(args, _) => join_args(args, &mut out),
            Value::Addr(addr) => out.extend_from_slice(format!("{addr:#018x}").as_bytes()),
            Value::Tag(tag) => tag.iter().for_each(|b| out.extend_from_slice(format!("{b:02x}").as_bytes())),
            Value::Device(number) => out.extend_from_slice(device(*number).as_bytes()),
            Value::Time(ns) => time::rfc3339(*ns, &mut out),
            Value::Words(words) => out.extend_from_slice(words.join(",").as_bytes()),
            Value::Stack(stack) => {
                for (i, call) in stack.calls().enumerate() {
                    out.extend_from_slice(if i > 0 { b" < " } else { b"" });
                    call.write(&mut out);
                }
            }
        }
        Some(Cow::Owned(out))
    }

    /// The value as a number, where it is one.
    pub fn number(&self) -> Option<i128> {
        match self {
            Value::Int(n) => Some(i128::from(*n)),
            Value::Uint(n) | Value::Addr(n) => Some(i128::from(*n)),
            Value::Time(ns) => Some(*ns),
            _ => None,
        }
    }
}

/// A device as `major:minor` (`MINORBITS`, include/linux/kdev_t.h).
pub(crate) fn device(number: u32) -> String {
    format!("{}:{}", number >> 20, number & 0xf_ffff)
}

/// The arguments in an argument area: each up to its NUL.
pub fn args(area: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = area.strip_suffix(b"\0").unwrap_or(area);
    let empty = area.is_empty();
    whole.split(|b| *b == 0).filter(move |_| !empty)
}

fn join_args(area: &[u8], out: &mut Vec<u8>) {
    for (i, arg) in args(area).enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(arg);
    }
}

/// The type of a field in filters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Shape {
    /// Text: globs and regexes.
    Text,
    /// An integer: ordered.
    Number,
    /// Nanoseconds: ordered, written like `2s`.
    Duration,
    /// A user id: a number or a name.
    User,
    /// A group id: a number or a name.
    Group,
    /// `true` or `false`.
    Bool,
    /// A list of texts: a term holds if it holds for any.
    List,
    /// The fields in it are named `field.sub`.
    Object,
}

/// A field of an event.
pub struct Field {
    /// Its name in JSON and filters.
    pub name: &'static str,
    /// What can be done with it in a filter.
    pub shape: Shape,
    /// The description, with the kernel source.
    pub doc: &'static str,
    /// Gets the value from an event.
    pub get: for<'a> fn(&EventContext<'a>) -> Value<'a>,
    /// The fields in it, for [`Shape::Object`].
    pub sub: &'static [Field],
}

impl Field {
    pub(crate) const fn new(
        name: &'static str,
        shape: Shape,
        doc: &'static str,
        get: for<'a> fn(&EventContext<'a>) -> Value<'a>,
    ) -> Field {
        Field { name, shape, doc, get, sub: &[] }
    }
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The value of a process field; null on a row without a process.
fn of_process<'a>(seen: &EventContext<'a>, value: Value<'a>) -> Value<'a> {
    if seen.process.is_some() { value } else { Value::Null }
}

fn uint<'a>(seen: &EventContext<'a>, value: u64) -> Value<'a> {
    of_process(seen, Value::Uint(value))
}

/// Whether the process is known by its id only, and by what the process table has.
fn is_by_id(seen: &EventContext<'_>) -> bool {
    matches!(seen.event.body, super::Body::Bpf(bpf) if bpf.is_made())
}

/// A value that is 0 if the probe could not read it.
fn nonzero<'a>(seen: &EventContext<'a>, value: u32) -> Value<'a> {
    let absent = if is_by_id(seen) { Why::NotCollected } else { Why::NoField };
    of_process(seen, if value == 0 { Value::Unknown(absent) } else { Value::Uint(u64::from(value)) })
}

/// The fields that every event has, in the order of the JSON object.
pub const COMMON: &[Field] = &[
    Field::new("kind", Shape::Text, "The kind of event.", |s| Value::Word(s.event.kind().name())),
    Field::new(
        "time",
        Shape::Text,
        "The wall-clock time (RFC 3339, UTC): `ns` plus the clock offset at that time.",
        |s| Value::Time(s.unix_nanos()),
    ),
    Field::new(
        "ns",
        Shape::Number,
        "The time, CLOCK_BOOTTIME in nanoseconds: bpf_ktime_get_boot_ns in the probe.",
        |s| Value::Uint(s.event.header.time.0),
    ),
    Field::new("cpu", Shape::Number, "The CPU: bpf_get_smp_processor_id in the probe.", |s| match s.event.body {
        super::Body::Lost(lost) if lost.record.cpu == u32::MAX => Value::Null,
        _ => Value::Uint(u64::from(s.event.header.cpu)),
    }),
    Field::new("pid", Shape::Number, "The process id (thread group id): task_struct.tgid.", |s| {
        uint(s, u64::from(s.event.header.tgid.0))
    }),
    Field::new("tid", Shape::Number, "The thread id: task_struct.pid.", |s| uint(s, u64::from(s.event.header.tid.0))),
    Field::new("ppid", Shape::Number, "The process id of the parent: task_struct.real_parent->tgid.", |s| {
        uint(s, u64::from(s.event.header.ppid.0))
    }),
    Field::new(
        "comm",
        Shape::Text,
        "The name of the calling thread (exit: of the group leader): task_struct.comm.",
        |s| {
            // The event holds a copy of the header, so these bytes live as long as the event.
            let unknown = is_by_id(s) && s.event.header.comm().is_empty();
            of_process(s, if unknown { Value::Unknown(Why::NotCollected) } else { Value::Bytes(s.event.header.comm()) })
        },
    ),
    Field::new("uid", Shape::User, "The real user id: task_struct.cred->uid.", |s| {
        uint(s, u64::from(s.event.header.uid.0))
    }),
    Field::new("gid", Shape::Group, "The real group id: task_struct.cred->gid.", |s| {
        uint(s, u64::from(s.event.header.gid.0))
    }),
    Field::new(
        "cgroup",
        Shape::Text,
        "The path of the v2 cgroup (task_struct.cgroups->dfl_cgrp->kn->id); if that is the root, of the name=systemd cgroup.",
        |s| match s.process {
            None => Value::Null,
            Some(process) => match s.world.cgroup(s.event.header.cgroup, process) {
                Some(path) => Value::Bytes(path),
                None if is_by_id(s) => Value::Unknown(Why::NotCollected),
                None => Value::Unknown(Why::Vanished),
            },
        },
    ),
    Field::new(
        "start_ns",
        Shape::Number,
        "The start time of the process, CLOCK_BOOTTIME in nanoseconds: task_struct.group_leader->start_boottime. Identifies the process, together with pid.",
        |s| uint(s, s.event.header.start.0),
    ),
    Field::new("mnt_ns", Shape::Number, "The mount namespace: nsproxy->mnt_ns->ns.inum.", |s| {
        nonzero(s, s.event.header.mnt_ns.0)
    }),
    Field::new("pid_ns", Shape::Number, "The pid namespace: thread_pid->numbers[level].ns->ns.inum.", |s| {
        nonzero(s, s.event.header.pid_ns.0)
    }),
    Field::new(
        "ns_pid",
        Shape::Number,
        "The process id in its pid namespace (group_leader->thread_pid->numbers[level].nr); null in the namespace of tracetui.",
        |s| {
            let header = &s.event.header;
            if s.process.is_none() || header.pid_ns == s.world.own_pid_ns() {
                return Value::Null;
            }
            nonzero(s, header.ns_pid.0)
        },
    ),
];

/// All fields of a kind, in the order of the JSON object: the common ones and its own.
pub fn fields(kind: tracetui_shared::kind::Kind) -> impl Iterator<Item = &'static Field> {
    COMMON.iter().chain(super::fields_of(kind))
}

/// A −errno as a field.
pub(crate) fn err_value(ret: i32) -> Value<'static> {
    super::names::err(ret).map_or(Value::Null, Value::Word)
}
