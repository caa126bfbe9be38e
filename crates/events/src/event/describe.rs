//! The name, the description and the getter of every field. Filter fields, JSON keys, CSV columns, the detail pane and
//! the documentation are derived from these tables.

use super::cgroup::{self, Unit};
use super::process::{Origin, Process};
use super::stack::Stack;
use super::{Components, EventContext};
use crate::bpf::Words;
use crate::bpf::place::AttachPoint;
use crate::frame::host::Container;
pub use crate::text::shell::args;
use crate::text::time;
use std::borrow::Cow;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use tracetui_shared::kind::{Kind, KindSet};

/// The reason why a value is missing or incomplete. In JSON: `<field>_why`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Why {
    Failed,
    /// Another thread changed the descriptor before it was read.
    Raced,
    /// The memory could not be read.
    Fault,
    Cut,
    /// It cannot be reached from the caller's root.
    Unreachable,
    /// It disappeared before it could be read.
    Vanished,
    /// The running kernel has no such field.
    NoField,
    /// tracetui may not read it.
    NotPermitted,
    NotCollected,
    /// A program was skipped, and later facts replaced its own.
    Repaired,
    /// A program continues with others, which are not examined.
    TailCall,
    /// An address of a family that the event has no place for.
    OtherFamily,
    /// The length that was passed is smaller than the value.
    TooShort,
}

impl Why {
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
            Why::Repaired => "repaired",
            Why::TailCall => "tail_call",
            Why::OtherFamily => "other_family",
            Why::TooShort => "too_short",
        }
    }
}

/// The value of a field, before formatting.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// It was not requested: JSON has no key for it.
    Omitted,
    Null,
    /// It applies, but is unknown.
    Unknown(Why),
    /// Text that could not be read: empty, with the reason.
    Unread(Why),
    Cut(&'a [u8]),
    Int(i64),
    /// An integer that is never negative.
    Uint(u64),
    Bool(bool),
    /// A constant word: ASCII, needs no escaping.
    Word(&'static str),
    /// Text from outside: any bytes.
    Bytes(&'a [u8]),
    /// Two texts from outside with a colon between them.
    Pair(&'a [u8], &'a [u8]),
    /// A systemd unit.
    Unit(Unit<'a>),
    /// An attach point in words.
    AttachPoint(AttachPoint),
    Path(Components<'a>),
    /// A directory, and a path below it.
    Joined(Components<'a>, &'a [u8]),
    Flags(u64),
    /// Flags of a call ([`names::call_flags`](super::names::call_flags)), not 0.
    CallFlags(&'static str, u32),
    /// Arguments, each followed by NUL.
    Args(&'a [u8]),
    /// Arguments that could not be read completely, with the reason.
    SomeArgs(&'a [u8], Why),
    Addr(u64),
    Tag([u8; 8]),
    /// A device as the kernel numbers it: `major:minor`.
    Device(u32),
    Ip(IpAddr),
    /// An address and a port: `10.0.0.7:443`, `[::1]:443`.
    Peer(SocketAddr),
    /// Nanoseconds since 1970-01-01 UTC.
    Time(i128),
    Words(Words),
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

    /// The value as bytes, as filters compare it. `None` if absent. Arguments are joined by spaces.
    pub fn text(&self) -> Option<Cow<'a, [u8]>> {
        match self {
            Value::Omitted | Value::Null | Value::Unknown(_) | Value::Object => None,
            Value::Word(word) => Some(Cow::Borrowed(word.as_bytes())),
            Value::Bytes(bytes) | Value::Cut(bytes) => Some(Cow::Borrowed(bytes)),
            value => {
                let mut out = Vec::new();
                value.write(&mut out);
                Some(Cow::Owned(out))
            }
        }
    }

    /// Appends the bytes of [`text`](Self::text); none if the value is absent.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Omitted | Value::Null | Value::Unknown(_) | Value::Unread(_) | Value::Object => {}
            Value::Word(word) => out.extend_from_slice(word.as_bytes()),
            Value::Bytes(bytes) | Value::Cut(bytes) => out.extend_from_slice(bytes),
            Value::Int(n) => _ = write!(out, "{n}"),
            Value::Uint(n) => _ = write!(out, "{n}"),
            Value::Bool(b) => _ = write!(out, "{b}"),
            Value::Pair(a, b) => [*a, b":", *b].iter().for_each(|part| out.extend_from_slice(part)),
            Value::Unit(unit) => unit.write(out),
            Value::AttachPoint(point) => _ = write!(out, "{point}"),
            Value::Path(names) => names.write(out),
            Value::Joined(dir, path) => {
                dir.write(out);
                if !out.ends_with(b"/") {
                    out.push(b'/');
                }
                out.extend_from_slice(path.strip_prefix(b"/").unwrap_or(path));
            }
            Value::Flags(flags) => super::names::open_flags(*flags, out),
            Value::CallFlags(op, flags) => super::names::call_flags(op, *flags, out),
            Value::Args(args) | Value::SomeArgs(args, _) => join_args(args, out),
            Value::Addr(addr) => _ = write!(out, "{addr:#018x}"),
            Value::Tag(tag) => tag.iter().for_each(|b| _ = write!(out, "{b:02x}")),
            Value::Device(number) => out.extend_from_slice(device(*number).as_bytes()),
            Value::Ip(address) => _ = write!(out, "{address}"),
            Value::Peer(peer) => _ = write!(out, "{peer}"),
            Value::Time(ns) => time::rfc3339(*ns, out),
            Value::Words(words) => out.extend_from_slice(words.collect::<Vec<_>>().join(",").as_bytes()),
            Value::Stack(stack) => {
                for (i, call) in stack.calls().enumerate() {
                    out.extend_from_slice(if i > 0 { b" < " } else { b"" });
                    call.write(out);
                }
            }
        }
    }

    /// The value as a number, if it is one.
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
pub fn device(number: u32) -> String {
    format!("{}:{}", number >> 20, number & 0xf_ffff)
}

/// An address of a family; `None` for families without one.
pub(super) fn address(family: impl Into<i32>, bytes: [u8; 16]) -> Option<IpAddr> {
    match (family.into(), bytes) {
        (libc::AF_INET, [a, b, c, d, ..]) => Some([a, b, c, d].into()),
        (libc::AF_INET6, _) => Some(bytes.into()),
        _ => None,
    }
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
    /// An IP address: also a prefix, as in `10.0.0.0/8`.
    Address,
    /// `true` or `false`.
    Bool,
    /// A list of texts: a term holds if it holds for any.
    List,
    /// An object. Its fields are named `field.sub`.
    Object,
}

/// A field of an event.
pub struct Field {
    /// Its name in JSON and filters.
    pub name: &'static str,
    /// The filter operations that it allows.
    pub shape: Shape,
    /// The description, with the kernel source.
    pub doc: &'static str,
    pub get: for<'a> fn(&EventContext<'a>) -> Value<'a>,
    /// Its own fields, for [`Shape::Object`].
    pub sub: &'static [Field],
    /// All possible values, if they are few words of its own.
    pub words: &'static [&'static str],
    /// Bits of [`props`].
    pub props: u16,
}

/// Properties of fields.
pub mod props {
    /// It depends on the thread only: on the header's fields from the start time on, and on the path of the cgroup.
    pub const THREAD: u16 = 2;
    /// In a trace of Perfetto, it belongs to the life of the process.
    pub const LIFE: u16 = 4;
    /// In a trace of Perfetto, it is in the packet or the track of an instant.
    pub const TRACK: u16 = 8;
    /// In a trace of Perfetto, it belongs to the program that was executed.
    pub const PROGRAM: u16 = 16;
    /// A path whose last component is in a frame or in a table byte for byte.
    pub const LEAF: u16 = 32;
    /// Its value may be unknown: Parquet has a column with the reason.
    pub const LACKS: u16 = 64;
    /// Bytes from outside, which may not be UTF-8: Parquet has a column with them in hexadecimal.
    pub const BYTES: u16 = 128;
    /// A number that may need all 64 bits. All others are signed in Parquet: Spark has no unsigned integers.
    pub const UNSIGNED: u16 = 256;
    /// It came after the columns of Parquet had their places: its columns are the last ones.
    pub const LATER: u16 = 512;
    /// [`LACKS`], but only the column with the reason came later.
    pub const LACKS_LATER: u16 = 1024;
}

impl Field {
    pub(crate) const fn new(
        name: &'static str,
        shape: Shape,
        doc: &'static str,
        get: for<'a> fn(&EventContext<'a>) -> Value<'a>,
    ) -> Field {
        Field { name, shape, doc, get, sub: &[], words: &[], props: 0 }
    }

    /// The field with these [`props`] added.
    pub(super) const fn with(self, props: u16) -> Field {
        Field { props: self.props | props, ..self }
    }

    /// The field with these words as its possible values.
    pub(super) const fn of(self, words: &'static [&'static str]) -> Field {
        Field { words, ..self }
    }

    /// The field as an object of these fields.
    pub(super) const fn made_of(self, sub: &'static [Field]) -> Field {
        Field { sub, ..self }
    }

    pub fn has(&self, prop: u16) -> bool {
        self.props & prop != 0
    }
}

/// A field: its name, its shape, its documentation, its value, and what is added to it.
macro_rules! field {
    ($name:ident $shape:ident $doc:literal $get:expr $(, $more:ident $args:tt)*) => {
        $crate::event::describe::Field::new(
            stringify!($name),
            $crate::event::describe::Shape::$shape,
            $doc,
            $get,
        )
        $(.$more $args)*
    };
}

/// A table of [`field`]s. A row that begins with `=` is one that is defined elsewhere.
macro_rules! field_table {
    ($($(= $($known:ident)::+)? $($name:ident $shape:ident $doc:literal $get:expr $(, $more:ident $args:tt)*)?;)*) => {
        &[$($($($known)::+)? $($crate::event::describe::field!($name $shape $doc $get $(, $more $args)*))?,)*]
    };
}
pub(crate) use {field, field_table};

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

/// A value that is 0 if the probe could not read it.
fn nonzero<'a>(seen: &EventContext<'a>, value: u32) -> Value<'a> {
    let absent = if seen.event.body.is_made() { Why::NotCollected } else { Why::NoField };
    of_process(seen, if value == 0 { Value::Unknown(absent) } else { Value::Uint(u64::from(value)) })
}

/// The fields that every event has, in the order of the JSON object.
pub const COMMON: &[Field] = field_table! {
    kind Text "Kind of event." |s| Value::Word(s.event.kind().name()), with(props::TRACK);
    time Text "Wall-clock time (RFC 3339, UTC): `ns` plus the clock offset at that time."
        |s| Value::Time(s.unix_nanos()), with(props::TRACK);
    ns Number "Time, CLOCK_BOOTTIME in nanoseconds: bpf_ktime_get_boot_ns in the probe."
        |s| Value::Uint(s.event.header.time.0), with(props::TRACK);
    cpu Number "CPU: bpf_get_smp_processor_id in the probe." |s| match s.event.body {
        super::Body::Lost(lost) if lost.record.cpu == u32::MAX => Value::Null,
        _ => Value::Uint(u64::from(s.event.header.cpu)),
    };
    pid Number "Process id (thread group id): task_struct.tgid."
        |s| uint(s, u64::from(s.event.header.tgid.0)), with(props::THREAD | props::LIFE | props::TRACK);
    tid Number "Thread id: task_struct.pid." |s| uint(s, u64::from(s.event.header.tid.0)), with(props::THREAD);
    ppid Number "Process id of the parent: task_struct.real_parent->tgid."
        |s| uint(s, u64::from(s.event.header.ppid.0)), with(props::THREAD | props::LIFE | props::TRACK);
    comm Text "Name of the calling thread (exit: of the group leader): task_struct.comm." |s| {
        // The event holds a copy of the header, so these bytes live as long as the event.
        let unknown = s.event.body.is_made() && s.event.header.comm().is_empty();
        of_process(s, if unknown { Value::Unknown(Why::NotCollected) } else { Value::Bytes(s.event.header.comm()) })
    }, with(props::THREAD | props::LACKS | props::BYTES);
    uid User "Real user id: task_struct.cred->uid."
        |s| uint(s, u64::from(s.event.header.uid.0)), with(props::THREAD | props::LIFE);
    gid Group "Real group id: task_struct.cred->gid."
        |s| uint(s, u64::from(s.event.header.gid.0)), with(props::THREAD | props::LIFE);
    cgroup Text "Path of the v2 cgroup (task_struct.cgroups->dfl_cgrp->kn->id); if that is the root, of the name=systemd cgroup."
        |s| of_cgroup(s, Value::Bytes), with(props::THREAD | props::LIFE | props::TRACK | props::LACKS | props::BYTES);
    start_ns Number "Start time of the process, CLOCK_BOOTTIME in nanoseconds: task_struct.group_leader->start_boottime. With pid, it identifies the process."
        |s| uint(s, s.event.header.start.0), with(props::THREAD | props::LIFE | props::TRACK);
    mnt_ns Number "Mount namespace: nsproxy->mnt_ns->ns.inum."
        |s| nonzero(s, s.event.header.mnt_ns.0), with(props::THREAD | props::LIFE | props::TRACK | props::LACKS);
    pid_ns Number "Pid namespace: thread_pid->numbers[level].ns->ns.inum."
        |s| nonzero(s, s.event.header.pid_ns.0), with(props::THREAD | props::LIFE | props::TRACK | props::LACKS);
    ns_pid Number "Process id in its pid namespace (group_leader->thread_pid->numbers[level].nr); null if it is the same as pid."
        |s| match &s.event.header {
            header if header.ns_pid == header.tgid => Value::Null,
            header => nonzero(s, header.ns_pid.0),
        }, with(props::THREAD | props::LIFE | props::TRACK | props::LACKS);
    unit Text "systemd unit, from the path of the cgroup. A unit in a container or of a user's manager follows the outer unit (`user@1000.service/app.service`); that manager's owner chose the name."
        |s| of_cgroup(s, |path| cgroup::unit(path).map_or(Value::Null, Value::Unit)), with(props::THREAD | props::LIFE | props::LACKS | props::BYTES | props::LATER);
    container Object "Container, from the path of the cgroup; not_collected if the name of the cgroup may be false."
        |s| of_container(s, |c| if c.id.is_empty() { Value::Null } else { Value::Object }), made_of(CONTAINER), with(props::THREAD | props::LIFE | props::LACKS | props::LATER);
    pod Object "Kubernetes pod, from the path of the cgroup and the container's files."
        |s| of_container(s, |c| if c.pod_uid.is_empty() && c.pod_name.is_empty() { Value::Null } else { Value::Object }), made_of(POD), with(props::THREAD | props::LIFE | props::LACKS | props::LATER);
    process Text "Name of the leader or, if the kernel cut that, of the executable. The filter `process=GLOB` compares both."
        |s| of_name(s, Process::name), with(props::TRACK | props::LACKS | props::BYTES | props::LATER);
};

/// The names of the process that a filter compares.
pub(crate) const PROCESS_NAMES: &[Field] = field_table! {
    process Text "" |s| of_name(s, |process| &process.comm);
    process Text "" |s| of_name(s, Process::exe_name);
};

/// A name of the process, or why it is not known. An event before the process scan takes what the scan found.
fn of_name<'a>(seen: &EventContext<'a>, name: impl FnOnce(&'a Process) -> &'a [u8]) -> Value<'a> {
    let Some(process) = seen.process else { return Value::Null };
    let is_bare = process.image.exe.is_empty() && matches!(process.origin, Origin::Older | Origin::FirstSeen);
    let scanned = is_bare.then(|| seen.world.process(process.key)).flatten();
    match name(scanned.filter(|scanned| scanned.execs == process.execs).unwrap_or(process)) {
        b"" => Value::Unknown(Why::NotCollected),
        name => Value::Bytes(name),
    }
}

/// What the path of the cgroup says; the reason, if the path is not known.
fn of_cgroup<'a>(seen: &EventContext<'a>, say: impl FnOnce(&'a [u8]) -> Value<'a>) -> Value<'a> {
    let Some(process) = seen.process else { return Value::Null };
    match seen.world.cgroup(seen.event.header.cgroup, process) {
        Some(path) => say(path),
        None if seen.event.body.is_made() || !seen.world.knows_cgroups() => Value::Unknown(Why::NotCollected),
        None => Value::Unknown(Why::Vanished),
    }
}

/// A field of the container or pod, or why it is not known.
fn of_container<'a>(seen: &EventContext<'a>, say: impl FnOnce(&'a Container) -> Value<'a>) -> Value<'a> {
    let container = seen.world.container(seen.event.header.cgroup);
    of_cgroup(seen, |path| match (cgroup::container(path), container) {
        (None, _) => Value::Null,
        (Some(_), Some(container)) => say(container),
        (Some(_), None) => Value::Unknown(Why::NotCollected),
    })
}

/// A text of the container or pod.
macro_rules! text {
    ($field:ident) => {
        |s| {
            of_container(s, |c| {
                if c.$field.is_empty() { Value::Unknown(Why::NotCollected) } else { Value::Bytes(&c.$field) }
            })
        }
    };
}

const CONTAINER: &[Field] = field_table! {
    id Text "As in the path; the name of a machine." text!(id), with(props::LACKS);
    name Text "From the runtime's files when the cgroup was first seen." text!(name), with(props::LACKS);
    runtime Text "docker, containerd, cri-o, podman, nspawn, or the service that registered the machine."
        text!(runtime), with(props::LACKS);
    image Text "Name of the image, from the same files." |s| {
        // A machine has no image.
        of_container(s, |c| match () {
            () if !c.image.is_empty() => Value::Bytes(&c.image),
            () if c.name == c.id => Value::Null,
            () => Value::Unknown(Why::NotCollected),
        })
    }, with(props::LACKS);
};

const POD: &[Field] = field_table! {
    name Text "From the files of the runtime." text!(pod_name), with(props::LACKS);
    namespace Text "From the same files." text!(pod_namespace), with(props::LACKS);
    uid Text "From the path, or from the same files." text!(pod_uid), with(props::LACKS);
};

/// All fields of a kind, in the order of the JSON object: the common ones and its own.
pub fn fields(kind: Kind) -> impl Iterator<Item = &'static Field> {
    COMMON.iter().chain(super::fields_of(kind))
}

/// A −errno as a field.
pub(crate) fn err_value(ret: i32) -> Value<'static> {
    super::names::err(ret).map_or(Value::Null, Value::Word)
}

/// An effective user id, which older recordings lack.
pub(crate) fn euid_value(euid: Option<u32>) -> Value<'static> {
    euid.map_or(Value::Unknown(Why::NotCollected), |euid| Value::Uint(euid.into()))
}

/// The kernel addresses after a record. An event without a stack has none.
fn stack<'a>(seen: &EventContext<'a>) -> Value<'a> {
    match Stack::of(seen) {
        Some(stack) => Value::Stack(stack),
        None if seen.event.stack.is_some() => Value::Unknown(Why::Fault),
        None if KindSet::WITH_STACK.contains(seen.event.kind()) => Value::Unknown(Why::NotCollected),
        None => Value::Omitted,
    }
}

/// The field, for every kind that probes make.
pub(crate) const STACK: Field = field! {
    stack List "Kernel stack: bpf_get_stack in the probe. Names are those at the time of the event."
        stack, with(props::LACKS)
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::testing;
    use proptest::prelude::{ProptestConfig, proptest};
    use std::collections::BTreeMap;

    #[test]
    fn fields_of_one_name_are_alike_and_each_kind_has_a_stack() {
        let mut known = BTreeMap::new();
        for kind in Kind::ALL {
            for field in fields(kind) {
                let alike = (field.shape, field.has(props::LEAF));
                assert_eq!(*known.entry(field.name).or_insert(alike), alike, "{} of {}", field.name, kind.name());
            }
        }
        for kind in Kind::PROBED {
            assert!(fields(kind).any(|field| field.name == "stack"), "{}", kind.name());
        }
    }

    proptest! {
        // Few records of a kind have a text that is cut.
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn a_kind_answers_what_its_fields_show((header, payload) in testing::any()) {
            testing::with_seen(header, &payload, |seen| {
                let (event, name) = (seen.event, seen.event.kind().name());
                for field in fields(event.kind()) {
                    match (field.name, (field.get)(seen)) {
                        ("ret", Value::Int(ret)) => assert_eq!(event.body.ret().map(i64::from), Some(ret), "{name}"),
                        ("err", Value::Word(_)) => assert!(event.failed(), "{name}"),
                        ("path", Value::Bytes(path)) => assert_eq!(event.body.sought(), Some(path), "{name}"),
                        (of, Value::Cut(_)) => assert!(event.body.cut(), "{of} of {name}"),
                        _ => {}
                    }
                }
            });
        }
    }
}
