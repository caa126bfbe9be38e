//! `bpf`: a BPF program was loaded or attached, or failed to.

use super::describe::{Field, Shape, Value, Why, err_value};
use super::{Body, EventContext, Payload, names};
use std::mem::offset_of;
use tracetui_shared::header::{FrameHeader, until_nul};
use tracetui_shared::record::bpf::{BpfRecord, NAME_LEN, TARGET_LEN, call, cmd, has};
use zerocopy::{FromBytes, Unalign};

/// A `bpf` event, not copied out of its frame: it is large and rare.
#[derive(Clone, Copy)]
pub struct Bpf<'a> {
    bytes: &'a Unalign<BpfRecord>,
    /// The program's name.
    pub name: &'a [u8],
    /// The first part of the attach point.
    pub target: &'a [u8],
    /// The second part of the attach point.
    pub target2: &'a [u8],
}

/// The `BPF_PROG_TYPE_*` values that determine the meaning of a link to a perf event.
mod prog {
    pub(super) const KPROBE: u32 = 2;
    pub(super) const TRACEPOINT: u32 = 5;
    pub(super) const CGROUP_SKB: u32 = 8;
    pub(super) const RAW_TRACEPOINT: u32 = 17;
    pub(super) const RAW_TRACEPOINT_WRITABLE: u32 = 24;
    pub(super) const EXT: u32 = 28;
}

/// `PERF_TYPE_BREAKPOINT`: the last type of perf events with a fixed number.
const PERF_TYPE_LAST: u32 = 5;

impl std::fmt::Debug for Bpf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Bpf").field(&self.record()).finish()
    }
}

impl Bpf<'_> {
    /// All of it.
    pub fn record(&self) -> BpfRecord {
        self.bytes.get()
    }

    fn has(&self, bit: u8) -> bool {
        self.record().has & bit != 0
    }

    /// The operation.
    pub fn op(&self) -> &'static str {
        if self.record().call == call::BPF && self.record().cmd == cmd::PROG_LOAD { "load" } else { "attach" }
    }

    /// The reason why a value from the kernel's objects is missing.
    fn why_missing(&self) -> Why {
        if self.record().ret < 0 { Why::Failed } else { Why::Raced }
    }

    /// The mechanism that attached it; `None` for a load.
    fn via(&self) -> Option<&'static str> {
        match (self.record().call, self.record().cmd) {
            (call::PERF_IOCTL, _) => Some("ioctl"),
            (_, cmd::PROG_ATTACH) => Some("prog_attach"),
            (_, cmd::LINK_CREATE | cmd::RAW_TRACEPOINT_OPEN) => Some("link"),
            _ => None,
        }
    }

    /// The type of the attach point, regardless of the mechanism; `None` if unknown.
    pub fn attach_kind(&self) -> Option<&'static str> {
        match (self.record().call, self.record().cmd) {
            (call::PERF_IOCTL, _) => self.perf_kind(),
            (_, cmd::RAW_TRACEPOINT_OPEN) if !self.has(has::LINK) => self.raw_kind(),
            (_, cmd::LINK_CREATE | cmd::RAW_TRACEPOINT_OPEN) if self.has(has::LINK) => self.link_kind(),
            (_, cmd::LINK_CREATE | cmd::PROG_ATTACH) if self.has(has::ATTR) && self.may_be_asked() => {
                attach_type_kind(self.record().attach_type)
            }
            _ => None,
        }
    }

    /// The kind of a refused BPF_RAW_TRACEPOINT_OPEN, from the type of its program; `None` without a program.
    fn raw_kind(&self) -> Option<&'static str> {
        match self.record().prog_type {
            _ if !self.has(has::PROG) => None,
            prog::RAW_TRACEPOINT | prog::RAW_TRACEPOINT_WRITABLE => Some("raw_tracepoint"),
            _ => attach_type_kind(self.record().expected_attach_type),
        }
    }

    /// Whether the attach type was passed. 0 is ambiguous: it is the first attach type of cgroups, and the value if
    /// none was passed.
    fn may_be_asked(&self) -> bool {
        self.record().attach_type != 0 || self.record().ret >= 0 || self.record().prog_type == prog::CGROUP_SKB
    }

    /// The kind from the link's type where that is specific enough, else from the program's attach type.
    fn link_kind(&self) -> Option<&'static str> {
        let attach_type = match self.record().expected_attach_type {
            0 => self.record().attach_type,
            expected => expected,
        };
        match names::link_type(self.record().link_type)? {
            "perf_event" => self.perf_kind(),
            "tracing" if self.record().prog_type == prog::EXT => Some("freplace"),
            "tracing" | "netns" | "tracing_multi" => attach_type_kind(attach_type),
            "kprobe_multi" => Some("kprobe"),
            "uprobe_multi" => Some("uprobe"),
            "unspec" => None,
            name => Some(name),
        }
    }

    /// The attach point of a program on a perf event. Events that were created for one perf descriptor have the system
    /// `kprobes` ([trace_kprobe.c](https://elixir.bootlin.com/linux/v6.12/source/kernel/trace/trace_kprobe.c)) or
    /// `uprobes` ([trace_uprobe.c](https://elixir.bootlin.com/linux/v6.12/source/kernel/trace/trace_uprobe.c)).
    fn perf_kind(&self) -> Option<&'static str> {
        // The types of the PMUs `kprobe` and `uprobe` are assigned at boot. Bit 0 of their config means a return probe
        // (`PERF_PROBE_CONFIG_IS_RETPROBE`,
        // [kernel/events/core.c](https://elixir.bootlin.com/linux/v6.12/source/kernel/events/core.c)).
        let returns = self.record().perf_type > PERF_TYPE_LAST && self.record().perf_config & 1 != 0;
        match self.record().prog_type {
            _ if !self.has(has::PERF) => None,
            prog::TRACEPOINT => Some("tracepoint"),
            prog::KPROBE if self.target == b"uprobes" => Some(if returns { "uretprobe" } else { "uprobe" }),
            prog::KPROBE => Some(if returns { "kretprobe" } else { "kprobe" }),
            _ => Some("perf_event"),
        }
    }

    /// The operation and its subject: `attach kprobe do_unlinkat`, `load xdp`.
    fn place(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.op().as_bytes());
        out.push(b' ');
        let kind = if self.op() == "load" { names::prog_type(self.record().prog_type) } else { self.attach_kind() };
        out.extend_from_slice(kind.unwrap_or("program").as_bytes());
        if !self.target.is_empty() {
            out.push(b' ');
            self.target_text(out);
        }
    }

    /// What was loaded or attached, without ids: the same in every run.
    pub(crate) fn subject(&self, out: &mut Vec<u8>) {
        self.place(out);
        if !self.name.is_empty() {
            out.push(b' ');
            out.extend_from_slice(self.name);
        }
    }

    /// The target as one text: `system:event`, a function or a tracepoint.
    fn target_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.target);
        if !self.target2.is_empty() {
            out.push(b':');
            out.extend_from_slice(self.target2);
        }
    }
}

impl<'a> Payload<'a> for Bpf<'a> {
    fn decode(payload: &'a [u8]) -> Option<Bpf<'a>> {
        let (bytes, _) = Unalign::<BpfRecord>::ref_from_prefix(payload).ok()?;
        let text = |at: usize, len: usize| payload.get(at..at + len).map(until_nul);
        Some(Bpf {
            bytes,
            name: text(offset_of!(BpfRecord, name), NAME_LEN)?,
            target: text(offset_of!(BpfRecord, target), TARGET_LEN)?,
            target2: text(offset_of!(BpfRecord, target2), TARGET_LEN)?,
        })
    }

    fn failed(&self) -> bool {
        self.record().ret < 0
    }

    fn result(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(names::err(self.record().ret).unwrap_or("ok").as_bytes());
    }

    fn detail(&self, _: &FrameHeader, out: &mut Vec<u8>) {
        self.place(out);
        if self.has(has::PROG) {
            out.extend_from_slice(format!(" prog#{}", self.record().prog_id).as_bytes());
        }
        if !self.name.is_empty() {
            out.push(b' ');
            out.extend_from_slice(self.name);
        }
    }
}

/// The kind of attach point of an attach type.
pub(crate) fn attach_type_kind(attach_type: u32) -> Option<&'static str> {
    Some(match names::attach_type(attach_type)? {
        "trace_raw_tp" => "raw_tracepoint",
        "trace_fentry" => "fentry",
        "trace_fexit" | "trace_fsession" => "fexit",
        "modify_return" => "fmod_ret",
        "lsm_mac" | "lsm_cgroup" => "lsm",
        "trace_iter" => "iter",
        "tcx_ingress" | "tcx_egress" => "tcx",
        "netkit_primary" | "netkit_peer" => "netkit",
        "trace_kprobe_multi" | "trace_kprobe_session" => "kprobe",
        "trace_uprobe_multi" | "trace_uprobe_session" => "uprobe",
        "lirc_mode2" => "lirc",
        "sk_reuseport_select" | "sk_reuseport_select_or_migrate" => "reuseport",
        name if name.starts_with("sk_skb") || name.starts_with("sk_msg") => "sockmap",
        name if name.starts_with("xdp") => "xdp",
        name if name.starts_with("cgroup") => "cgroup",
        name => name,
    })
}

fn bpf<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a Bpf<'a>) -> Value<'a>) -> Value<'a> {
    match &seen.event.body {
        Body::Bpf(bpf) => get(bpf),
        _ => Value::Null,
    }
}

/// A value from the program's kernel object.
fn of_prog<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a Bpf<'a>) -> Value<'a>) -> Value<'a> {
    bpf(seen, |b| if b.has(has::PROG) { get(b) } else { Value::Unknown(b.why_missing()) })
}

/// A value that only an attach has; null for a load.
fn of_attach<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a Bpf<'a>) -> Value<'a>) -> Value<'a> {
    bpf(seen, |b| if b.op() == "attach" { get(b) } else { Value::Null })
}

fn not_collected<'a>(_: &EventContext<'a>) -> Value<'a> {
    Value::Unknown(Why::NotCollected)
}

fn attach_not_collected<'a>(seen: &EventContext<'a>) -> Value<'a> {
    of_attach(seen, |_| Value::Unknown(Why::NotCollected))
}

const PROG: &[Field] = &[
    Field::new("id", Shape::Number, "bpf_prog_aux.id.", |s| of_prog(s, |b| Value::Uint(b.record().prog_id.into()))),
    Field::new("name", Shape::Text, "bpf_prog_aux.name; for a failed load, the name as passed.", |s| {
        bpf(s, |b| {
            if b.has(has::PROG) || !b.name.is_empty() { Value::Bytes(b.name) } else { Value::Unknown(b.why_missing()) }
        })
    }),
    Field::new("type", Shape::Text, "bpf_prog.type; for a failed load, the type as passed.", |s| {
        bpf(s, |b| {
            if b.has(has::PROG) || b.op() == "load" && b.has(has::ATTR) {
                Value::Word(names::prog_type(b.record().prog_type).unwrap_or("unknown"))
            } else {
                Value::Unknown(if b.has(has::ATTR) { b.why_missing() } else { Why::Fault })
            }
        })
    }),
    Field::new(
        "attach_type",
        Shape::Text,
        "bpf_prog.expected_attach_type; null if 0, which has no meaning for most program types.",
        |s| {
            of_prog(s, |b| match (b.record().expected_attach_type, b.record().prog_type) {
                (0, prog_type) if prog_type != prog::CGROUP_SKB => Value::Null,
                (attach_type, _) => names::attach_type(attach_type).map_or(Value::Null, Value::Word),
            })
        },
    ),
    Field::new("tag", Shape::Text, "bpf_prog.tag, 16 hex digits.", |s| of_prog(s, |b| Value::Tag(b.record().tag))),
    Field::new("uid", Shape::User, "The user who loaded it: bpf_prog_aux.user->uid.", |s| {
        of_prog(s, |b| {
            if b.record().prog_uid == u32::MAX {
                Value::Unknown(Why::NoField)
            } else {
                Value::Uint(b.record().prog_uid.into())
            }
        })
    }),
    Field::new("write_user", Shape::Text, "Whether it calls bpf_probe_write_user: yes no unknown.", |_| {
        Value::Word("unknown")
    }),
    Field::new("write_user_why", Shape::Text, "The reason for unknown.", |_| Value::Word("not_collected")),
    Field::new("helpers", Shape::List, "The helpers it calls that write memory or override results.", not_collected),
];

const ATTACH: &[Field] = &[
    Field::new("type", Shape::Text, "The type of the attach point, regardless of the mechanism.", |s| {
        of_attach(s, |b| b.attach_kind().map_or(Value::Unknown(b.why_missing()), Value::Word))
    }),
    Field::new("via", Shape::Text, "The mechanism: link ioctl prog_attach.", |s| {
        of_attach(s, |b| b.via().map_or(Value::Null, Value::Word))
    }),
    Field::new(
        "target",
        Shape::Text,
        "The attach point: trace_event_class.system and event name, tracepoint name, or bpf_prog_aux.attach_func_name.",
        |s| {
            of_attach(s, |b| match (b.target.is_empty(), b.target2.is_empty()) {
                (true, _) => Value::Unknown(Why::NotCollected),
                (false, true) => Value::Bytes(b.target),
                (false, false) => Value::Pair(b.target, b.target2),
            })
        },
    ),
    Field::new("symbol", Shape::Text, "The kernel function.", attach_not_collected),
    Field::new("offset", Shape::Number, "The offset in this function, in bytes.", attach_not_collected),
    Field::new("addr", Shape::Text, "The address.", attach_not_collected),
    Field::new("module", Shape::Text, "The kernel module of the function.", attach_not_collected),
    Field::new("multi", Shape::Number, "The number of attach points of the link.", attach_not_collected),
    Field::new("link_id", Shape::Number, "bpf_link.id; null without a link.", |s| {
        of_attach(s, |b| if b.has(has::LINK) { Value::Uint(b.record().link_id.into()) } else { Value::Null })
    }),
    Field::new("cookie", Shape::Number, "bpf_cookie as passed; null if 0.", |s| {
        of_attach(s, |b| if b.record().cookie == 0 { Value::Null } else { Value::Uint(b.record().cookie) })
    }),
    Field::new("ifindex", Shape::Number, "The network interface.", |s| {
        of_attach(s, |b| match b.attach_kind() {
            Some("xdp" | "tcx" | "netkit") if b.record().target_fd > 0 => Value::Int(b.record().target_fd.into()),
            _ => Value::Null,
        })
    }),
];

/// The fields of a `bpf` event beside the common fields.
pub(crate) const FIELDS: &[Field] = &[
    Field::new("op", Shape::Text, "The operation: load attach.", |s| bpf(s, |b| Value::Word(b.op()))),
    Field::new("ret", Shape::Number, "The descriptor or 0; −errno on error.", |s| {
        bpf(s, |b| Value::Int(b.record().ret.into()))
    }),
    Field::new("err", Shape::Text, "The name of the error; null on success.", |s| {
        bpf(s, |b| err_value(b.record().ret))
    }),
    Field {
        name: "prog",
        shape: Shape::Object,
        doc: "The program, read from the kernel object of the descriptor.",
        get: |s| bpf(s, |_| Value::Object),
        sub: PROG,
    },
    Field {
        name: "attach",
        shape: Shape::Object,
        doc: "The attachment; null for a load.",
        get: |s| of_attach(s, |_| Value::Object),
        sub: ATTACH,
    },
    Field::new("stack", Shape::Text, "The kernel stack.", not_collected),
];
