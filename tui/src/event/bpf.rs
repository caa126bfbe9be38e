//! `bpf`: a BPF program was loaded, attached, replaced or detached, or failed to.

use super::describe::{Field, Shape, Value, Why, err_value};
use super::stack::STACK;
use super::{Body, EventContext, Payload, Tables, names};
use crate::bpf::View;
use crate::bpf::frames::hook;
use crate::bpf::place::{self, AttachPoint};
use crate::frame::host::KernelSymbol;
use std::mem::offset_of;
use std::sync::LazyLock;
use tracetui_shared::header::{FrameHeader, until_nul};
use tracetui_shared::id::{CgroupId, LinkId, ProgId};
use tracetui_shared::record::bpf::{
    BpfRecord, HELPERS, NAME_LEN, SYMBOL_LEN, TARGET_LEN, call, cmd, has, on, option, scan, tun,
};
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
    /// The whole name of the program, from its symbol; empty if it has none.
    full_name: &'a [u8],
    /// The file of a uprobe, or the function of a kprobe.
    pub text: &'a [u8],
}

/// What a system call made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Made {
    /// A program.
    Program(ProgId),
    /// A link.
    Link(LinkId),
    /// An attachment without a link: the program and the mechanism (`BpfAttachment::via`).
    Attached(ProgId, u8),
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

impl<'a> Bpf<'a> {
    /// All of it.
    pub fn record(&self) -> BpfRecord {
        self.bytes.get()
    }

    fn has(&self, bit: u8) -> bool {
        self.record().has & bit != 0
    }

    /// The operation.
    pub fn op(&self) -> &'static str {
        match (self.record().call, self.record().cmd) {
            (call::BPF | call::STREAM, cmd::PROG_LOAD) => "load",
            (call::STREAM, _) => "unload",
            (call::INVENTORY, cmd::PROG_DETACH) => "detach",
            (call::INVENTORY, cmd::HIDDEN) => "hidden",
            (call::BPF, cmd::LINK_UPDATE) => "update",
            (call::BPF, cmd::PROG_DETACH | cmd::LINK_DETACH | cmd::MAP_DELETE_ELEM)
            | (call::SETSOCKOPT, option::DETACH_FILTER | option::DETACH_REUSEPORT_BPF)
            | (call::TUN_IOCTL, tun::DETACH_FILTER) => "detach",
            _ => "attach",
        }
    }

    /// Whether no system call reported it, but the kernel's own stream of programs, or the inventory.
    pub fn is_made(&self) -> bool {
        self.record().call >= call::STREAM
    }

    /// What it made, if it succeeded and the inventory has such things: the program that was loaded, the link, or the program that was
    /// attached with the number of the mechanism (`BpfAttachment::via`).
    pub(crate) fn made(&self) -> Option<Made> {
        let BpfRecord { prog_id, link_id, ret, .. } = self.record();
        let (program, link) = (ProgId(prog_id), LinkId(link_id));
        match (self.op(), self.via()) {
            _ if ret < 0 => None,
            ("load", _) if program.0 != 0 => Some(Made::Program(program)),
            ("attach", Some("link")) if self.has(has::LINK) && link.0 != 0 => Some(Made::Link(link)),
            ("attach", Some(via)) if program.0 != 0 => {
                let via = VIA.iter().position(|known| *known == via).and_then(|at| u8::try_from(at).ok());
                via.filter(|via| *via != 0).map(|via| Made::Attached(program, via))
            }
            _ => None,
        }
    }

    /// Of a program that a system call attached, or detached without a link: the program, the mechanism (`BpfAttachment::via`), and
    /// where it is now. That is empty if it was detached.
    pub(crate) fn told(&self) -> Option<(ProgId, u8, Vec<u8>)> {
        let mut place = Vec::new();
        let BpfRecord { prog_id, ret, .. } = self.record();
        let attached = match self.made().filter(|_| !self.is_made()) {
            Some(Made::Attached(program, via)) => Some((program, via)),
            Some(Made::Link(_)) if prog_id != 0 => Some((ProgId(prog_id), 0)),
            _ => None,
        };
        if let Some((program, via)) = attached {
            self.write_place(None, |part, bytes| {
                if part != Place::Op {
                    place.extend_from_slice(bytes);
                }
            });
            return Some((program, via, place));
        }
        let via = VIA.iter().position(|known| Some(*known) == self.via()).and_then(|at| u8::try_from(at).ok())?;
        (self.op() == "detach" && ret >= 0 && prog_id != 0 && via != 0).then_some((ProgId(prog_id), via, place))
    }

    /// What it ended, if it succeeded: a program, or a link.
    pub(crate) fn ended(&self) -> Option<Made> {
        let BpfRecord { prog_id, link_id, ret, .. } = self.record();
        match (self.op(), self.via()) {
            _ if ret < 0 => None,
            ("unload", _) if prog_id != 0 => Some(Made::Program(ProgId(prog_id))),
            ("detach", Some("link")) if self.has(has::LINK) && link_id != 0 => Some(Made::Link(LinkId(link_id))),
            _ => None,
        }
    }

    /// Whether the type of the program is known: the kernel's own stream of programs does not have it.
    pub(crate) fn knows_type(&self) -> bool {
        self.has(has::PROG) && !(self.is_made() && self.record().prog_uid == u32::MAX)
    }

    /// Whether it is about a program, not about an attachment.
    fn is_of_program(&self) -> bool {
        match self.op() {
            "load" | "unload" => true,
            "hidden" => !self.has(has::LINK),
            _ => false,
        }
    }

    /// Whether it reports that a program or link is hidden.
    pub fn is_hidden(&self) -> bool {
        self.op() == "hidden"
    }

    /// The source: a system call, the stream of programs, the inventory; of a hidden program the view that has it.
    fn seen_by(&self) -> &'static str {
        match (self.record().call, self.op()) {
            (call::INVENTORY, "hidden") => view_name(i64::from(self.record().hooknum)),
            (call::INVENTORY, _) => "inventory",
            (call::STREAM, _) => "stream",
            _ => "call",
        }
    }

    /// The reason why a value from the kernel's objects is missing.
    fn why_missing(&self) -> Why {
        if self.record().ret < 0 { Why::Failed } else { Why::Raced }
    }

    /// The value of a field of a program that is not known. Some ways to detach do not name the program.
    fn no_program(&self) -> Value<'static> {
        match self.op() {
            "detach" if self.record().ret >= 0 => Value::Null,
            _ if self.is_made() => Value::Unknown(Why::NotCollected),
            _ => Value::Unknown(self.why_missing()),
        }
    }

    /// Whether the program is one of classic BPF, which has no id.
    fn is_classic(&self) -> bool {
        self.has(has::PROG) && !self.is_made() && self.record().prog_id == 0 && self.record().prog_type == 0
    }

    /// The mechanism that attached it; `None` for a load.
    fn via(&self) -> Option<&'static str> {
        match (self.record().call, self.record().cmd) {
            (call::INVENTORY, cmd::HIDDEN) => self.has(has::LINK).then_some("link"),
            (call::INVENTORY, _) => usize::try_from(self.record().priority).ok().and_then(|via| VIA.get(via)).copied(),
            (call::PERF_IOCTL | call::TUN_IOCTL, _) => Some("ioctl"),
            (call::SETSOCKOPT, _) => Some("setsockopt"),
            (call::SECCOMP, _) => Some("seccomp"),
            (_, cmd::PROG_ATTACH | cmd::PROG_DETACH) => Some("prog_attach"),
            (_, cmd::MAP_UPDATE_ELEM | cmd::MAP_DELETE_ELEM) => Some("map"),
            (_, cmd::LINK_CREATE | cmd::RAW_TRACEPOINT_OPEN | cmd::LINK_UPDATE | cmd::LINK_DETACH) => Some("link"),
            _ => None,
        }
    }

    /// The type of the attach point, regardless of the mechanism; `None` if unknown.
    pub fn attach_kind(&self) -> Option<&'static str> {
        match (self.record().call, self.record().cmd) {
            (call::INVENTORY, cmd::HIDDEN) => names::link_type(self.record().link_type),
            (call::INVENTORY, _) => self.hook_name(),
            (call::PERF_IOCTL, _) => self.perf_kind(),
            (call::SECCOMP, _) => Some("seccomp"),
            (call::SETSOCKOPT, option::ATTACH_FILTER | option::ATTACH_BPF | option::DETACH_FILTER)
            | (call::TUN_IOCTL, _) => Some("socket_filter"),
            (call::SETSOCKOPT, _) => Some("reuseport"),
            (_, cmd::MAP_UPDATE_ELEM | cmd::MAP_DELETE_ELEM) => Some("struct_ops"),
            (_, cmd::RAW_TRACEPOINT_OPEN) if !self.has(has::LINK) => self.raw_kind(),
            (_, cmd::LINK_CREATE | cmd::RAW_TRACEPOINT_OPEN | cmd::LINK_UPDATE | cmd::LINK_DETACH)
                if self.has(has::LINK) =>
            {
                self.link_kind()
            }
            (_, cmd::LINK_CREATE | cmd::PROG_ATTACH | cmd::PROG_DETACH)
                if self.has(has::ATTR) && self.may_be_asked() =>
            {
                attach_type_kind(self.record().attach_type)
            }
            _ => None,
        }
    }

    /// The kind of an attachment of the inventory.
    fn hook_name(&self) -> Option<&'static str> {
        Some(match u8::try_from(self.record().hooknum).ok()? {
            hook::TYPE => return attach_type_kind(self.record().attach_type),
            hook::KPROBE => "kprobe",
            hook::KRETPROBE => "kretprobe",
            hook::UPROBE => "uprobe",
            hook::URETPROBE => "uretprobe",
            hook::TRACEPOINT => "tracepoint",
            hook::RAW_TRACEPOINT => "raw_tracepoint",
            hook::PERF_EVENT => "perf_event",
            hook::FREPLACE => "freplace",
            hook::TC => "tc",
            hook::STRUCT_OPS => "struct_ops",
            hook::NETFILTER => "netfilter",
            _ => return names::link_type(self.record().link_type),
        })
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
            "kprobe_multi" => Some(if self.has(has::RETURNS) { "kretprobe" } else { "kprobe" }),
            "uprobe_multi" => Some(if self.has(has::RETURNS) { "uretprobe" } else { "uprobe" }),
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
        let assigned = self.record().perf_type > PERF_TYPE_LAST && self.record().perf_config & 1 != 0;
        let returns = self.has(has::RETURNS) || assigned;
        match self.record().prog_type {
            _ if !self.has(has::PERF) => None,
            prog::TRACEPOINT => Some("tracepoint"),
            prog::KPROBE if self.has(has::UPROBE) || self.target == b"uprobes" => {
                Some(if returns { "uretprobe" } else { "uprobe" })
            }
            prog::KPROBE => Some(if returns { "kretprobe" } else { "kprobe" }),
            _ => Some("perf_event"),
        }
    }

    /// The path of the cgroup, if it is known.
    pub(crate) fn cgroup_path<'w>(&self, world: &'w dyn Tables) -> Option<&'w [u8]> {
        world.cgroup_of_id(CgroupId(self.record().cgroup))
    }

    /// What was done, to what kind of place, and where: each part, with the spaces between them.
    pub(crate) fn write_place(&self, cgroup: Option<&[u8]>, mut part: impl FnMut(Place, &[u8])) {
        part(Place::Op, self.op().as_bytes());
        let kind = match self.is_of_program() {
            false if self.is_hidden() => Some("link"),
            true if self.is_made() && self.record().prog_uid == u32::MAX => None,
            true => names::prog_type(self.record().prog_type),
            false => self.attach_kind(),
        };
        part(Place::Op, b" ");
        part(Place::Via, kind.unwrap_or("program").as_bytes());
        if let Some(target) = self.target(cgroup).text().filter(|target| !target.is_empty() && !self.is_of_program()) {
            part(Place::Via, b" ");
            part(Place::Target, &target);
            if self.record().offset != 0 && !self.text.is_empty() {
                part(Place::Target, format!("+{:#x}", self.record().offset).as_bytes());
            }
        }
    }

    /// The DETAIL column.
    pub(crate) fn write_detail(&self, cgroup: Option<&[u8]>, out: &mut Vec<u8>) {
        self.write_place(cgroup, |_, bytes| out.extend_from_slice(bytes));
        self.write_program(out);
    }

    /// The program: ` prog#ID NAME`.
    pub(crate) fn write_program(&self, out: &mut Vec<u8>) {
        if self.record().prog_id != 0 {
            out.extend_from_slice(format!(" prog#{}", self.record().prog_id).as_bytes());
        }
        if !self.name().is_empty() {
            out.push(b' ');
            out.extend_from_slice(self.name());
        }
    }

    /// What was loaded or attached, without ids: the same in every run.
    pub(crate) fn subject(&self, out: &mut Vec<u8>) {
        self.write_place(None, |_, bytes| out.extend_from_slice(bytes));
        if !self.name().is_empty() {
            out.push(b' ');
            out.extend_from_slice(self.name());
        }
    }

    /// The program's name: the whole one if its symbol has it, else the first 15 bytes.
    pub fn name(&self) -> &'a [u8] {
        if self.full_name.is_empty() { self.name } else { self.full_name }
    }

    /// The number of the network interface, as the kernel has it or as it was passed.
    fn device(&self) -> Option<u64> {
        let record = self.record();
        match self.attach_kind() {
            _ if self.on(on::DEVICE) => Some(record.object.into()),
            Some("xdp" | "tcx" | "netkit") => u64::try_from(record.target_fd).ok().filter(|index| *index != 0),
            _ => None,
        }
    }

    fn on(&self, bit: u16) -> bool {
        self.record().on & bit != 0
    }

    /// The target, with the path of a cgroup if it is known.
    fn target(&self, cgroup: Option<&'a [u8]>) -> Value<'a> {
        let record = self.record();
        if !self.text.is_empty() {
            return Value::Bytes(self.text);
        }
        if self.has(has::KPROBE | has::UPROBE) {
            return if record.addr == 0 { Value::Unknown(Why::NotCollected) } else { Value::Addr(record.addr) };
        }
        if self.on(on::CGROUP) {
            return cgroup.map_or(Value::AttachPoint(AttachPoint::Numbered("cgroup", record.cgroup)), Value::Bytes);
        }
        if self.on(on::NETFILTER) {
            let BpfRecord { pf, hooknum, priority, .. } = record;
            return Value::AttachPoint(AttachPoint::Netfilter { family: pf.into(), hook: hooknum, priority });
        }
        if self.on(on::MULTI) && record.addr != 0 {
            return Value::Addr(record.addr);
        }
        if self.has(has::PERF)
            && self.target2.is_empty()
            && let Some(name) =
                place::perf_event(record.perf_type, record.perf_config).or_else(|| place::clock(self.target))
        {
            return Value::Word(name);
        }
        match (self.target.is_empty(), self.target2.is_empty()) {
            (false, true) => Value::Bytes(self.target),
            (false, false) => Value::Pair(self.target, self.target2),
            (true, _) if self.on(on::DEVICE) => {
                Value::AttachPoint(AttachPoint::Numbered("ifindex", record.object.into()))
            }
            (true, _) if self.on(on::NETNS) => Value::AttachPoint(AttachPoint::Netns(record.object)),
            (true, _) if self.on(on::MAP) => Value::AttachPoint(AttachPoint::Numbered("map", record.object.into())),
            (true, _) if self.on(on::PROG) => Value::AttachPoint(AttachPoint::Numbered("prog", record.object.into())),
            (true, _) if self.has(has::PERF) => {
                Value::AttachPoint(AttachPoint::Numbered("perf", record.perf_type.into()))
            }
            (true, _) if record.call == call::TUN_IOCTL => Value::Word("tun"),
            (true, _) => match self.attach_kind() {
                // The process, or the socket of the descriptor.
                Some("seccomp" | "socket_filter" | "reuseport") => Value::Null,
                _ if record.ret < 0 => match (self.device(), u64::try_from(record.target_fd)) {
                    (Some(index), _) => Value::AttachPoint(AttachPoint::Numbered("ifindex", index)),
                    // 0 is also what is passed if there is none.
                    (None, Ok(fd @ 1..)) => Value::AttachPoint(AttachPoint::Numbered("fd", fd)),
                    _ => Value::Unknown(Why::Failed),
                },
                // A detached link has no target any more.
                _ if self.op() == "detach" => Value::Unknown(Why::Vanished),
                // The descriptor is no perf event (any more).
                _ if record.call == call::PERF_IOCTL => Value::Unknown(Why::Raced),
                _ => Value::Unknown(Why::NotCollected),
            },
        }
    }
}

/// The mechanisms of attachments of the inventory, by number.
const VIA: [&str; 4] = ["link", "ioctl", "prog_attach", "netlink"];

/// The word of a mechanism, by its number.
pub(crate) fn via_name(via: u8) -> &'static str {
    VIA.get(usize::from(via)).copied().unwrap_or("unknown")
}

/// The word of a view, by its number.
fn view_name(number: i64) -> &'static str {
    let view = usize::try_from(number).ok().and_then(|number| View::ALL.get(number));
    view.map_or("unknown", |view| view.name())
}

/// The bits of a set of [`HELPERS`] as words.
fn helper_names(bits: u64) -> &'static [&'static str] {
    static SETS: LazyLock<Vec<Vec<&'static str>>> = LazyLock::new(|| {
        let of = |set: u64| HELPERS.iter().enumerate().filter(move |(bit, _)| set >> bit & 1 != 0);
        (0..1 << HELPERS.len()).map(|set| of(set).map(|(_, name)| *name).collect()).collect()
    });
    usize::try_from(bits).ok().and_then(|set| SETS.get(set)).map_or(&[], Vec::as_slice)
}

impl<'a> Payload<'a> for Bpf<'a> {
    fn decode(payload: &'a [u8]) -> Option<Bpf<'a>> {
        let (bytes, _) = Unalign::<BpfRecord>::ref_from_prefix(payload).ok()?;
        let text = |at: usize, len: usize| payload.get(at..at + len).map(until_nul);
        let record = bytes.get();
        let after = payload.get(size_of::<BpfRecord>()..)?;
        let symbol = text(offset_of!(BpfRecord, symbol), SYMBOL_LEN)?;
        Some(Bpf {
            bytes,
            full_name: full_name(symbol),
            text: until_nul(after.get(..record.text_len as usize).unwrap_or(after)),
            name: text(offset_of!(BpfRecord, name), NAME_LEN)?,
            target: text(offset_of!(BpfRecord, target), TARGET_LEN)?,
            target2: text(offset_of!(BpfRecord, target2), TARGET_LEN)?,
        })
    }

    fn failed(&self) -> bool {
        self.record().ret < 0
    }

    fn result(&self, out: &mut Vec<u8>) {
        if self.is_hidden() {
            return out.extend_from_slice(b"hidden");
        }
        out.extend_from_slice(names::err(self.record().ret).unwrap_or("ok").as_bytes());
    }

    fn detail(&self, _: &FrameHeader, out: &mut Vec<u8>) {
        self.write_detail(None, out);
    }
}

/// A part of the text that says where a program was attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// The operation.
    Op,
    /// The type of the program or of the attach point.
    Via,
    /// The attach point.
    Target,
}

/// The name in a program's symbol `bpf_prog_TAG_NAME`
/// ([`bpf_get_prog_name`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/core.c)); empty if it is none.
pub(crate) fn full_name(symbol: &[u8]) -> &[u8] {
    const TAG_DIGITS: usize = 16;
    let after = symbol.strip_prefix(b"bpf_prog_").and_then(|rest| rest.get(TAG_DIGITS..));
    after.and_then(|rest| rest.strip_prefix(b"_")).unwrap_or_default()
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
    bpf(seen, |b| if b.has(has::PROG) { get(b) } else { b.no_program() })
}

/// A value that a program of classic BPF does not have.
fn of_ebpf<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a Bpf<'a>) -> Value<'a>) -> Value<'a> {
    of_prog(seen, |b| if b.is_classic() { Value::Null } else { get(b) })
}

/// A value that the kernel's own stream of programs does not report.
fn of_call<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a Bpf<'a>) -> Value<'a>) -> Value<'a> {
    of_ebpf(seen, |b| {
        if b.is_made() && b.record().prog_uid == u32::MAX { Value::Unknown(Why::NotCollected) } else { get(b) }
    })
}

/// A value that only an attachment has; null for a load.
fn of_attach<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a Bpf<'a>) -> Value<'a>) -> Value<'a> {
    bpf(seen, |b| if b.is_of_program() { Value::Null } else { get(b) })
}

/// The symbol of the kernel that contained the attach point at that time.
fn symbol<'a>(seen: &EventContext<'a>, bpf: &Bpf<'_>) -> Option<&'a KernelSymbol> {
    let addr = bpf.record().addr;
    if addr == 0 { None } else { seen.world.symbol(addr, seen.event.header.time) }
}

/// Whether the program calls the helper of a bit.
fn write_user(record: &BpfRecord) -> &'static str {
    match record.scan {
        _ if record.helpers & 1 != 0 => "yes",
        scan::WHOLE => "no",
        _ => "unknown",
    }
}

/// The reason why the helpers of a program are not known.
fn write_user_why(b: &Bpf<'_>) -> Why {
    match b.record().scan {
        scan::CUT => Why::Cut,
        scan::NO_ADDRESSES => Why::NotPermitted,
        _ if !b.has(has::PROG) => b.why_missing(),
        _ => Why::NotCollected,
    }
}

/// The offset of a probe, also if it is 0.
fn offset<'a>(b: &Bpf<'_>) -> Value<'a> {
    let multi = b.on(on::MULTI) && !b.text.is_empty();
    if b.has(has::KPROBE) || b.has(has::UPROBE) || multi { Value::Uint(b.record().offset) } else { Value::Null }
}

const PROG: &[Field] = &[
    Field::new("id", Shape::Number, "bpf_prog_aux.id; null for a program of classic BPF.", |s| {
        of_ebpf(s, |b| match b.record().prog_id {
            0 if b.is_hidden() => Value::Unknown(Why::NotCollected),
            0 => Value::Unknown(Why::Vanished),
            id => Value::Uint(id.into()),
        })
    }),
    Field::new(
        "name",
        Shape::Text,
        "bpf_prog_aux.ksym.name, or bpf_prog_aux.name (15 bytes); for a failed load, the name as passed.",
        |s| {
            bpf(s, |b| match b.has(has::PROG) || !b.name.is_empty() {
                true if b.is_classic() => Value::Null,
                true => Value::Bytes(b.name()),
                false => b.no_program(),
            })
        },
    ),
    Field::new(
        "type",
        Shape::Text,
        "bpf_prog.type; for a failed load, the type as passed; classic for a program of classic BPF.",
        |s| {
            bpf(s, |b| {
                if b.is_classic() {
                    Value::Word("classic")
                } else if b.is_made() && b.record().prog_uid == u32::MAX {
                    Value::Unknown(Why::NotCollected)
                } else if b.has(has::PROG) || b.op() == "load" && b.has(has::ATTR) {
                    Value::Word(names::prog_type(b.record().prog_type).unwrap_or("unknown"))
                } else if b.record().call == call::BPF && !b.has(has::ATTR) {
                    Value::Unknown(Why::Fault)
                } else {
                    b.no_program()
                }
            })
        },
    ),
    Field::new(
        "attach_type",
        Shape::Text,
        "bpf_prog.expected_attach_type; null if 0, which has no meaning for most program types.",
        |s| {
            of_call(s, |b| match (b.record().expected_attach_type, b.record().prog_type) {
                // bpf(2) does not report it.
                (0, _) if b.is_made() => Value::Unknown(Why::NotCollected),
                (0, prog_type) if prog_type != prog::CGROUP_SKB => Value::Null,
                (attach_type, _) => names::attach_type(attach_type).map_or(Value::Null, Value::Word),
            })
        },
    ),
    Field::new("tag", Shape::Text, "bpf_prog.tag, 16 hex digits.", |s| {
        of_ebpf(s, |b| if b.is_hidden() { Value::Unknown(Why::NotCollected) } else { Value::Tag(b.record().tag) })
    }),
    Field::new("uid", Shape::User, "The user who loaded it: bpf_prog_aux.user->uid.", |s| {
        of_call(s, |b| {
            if b.record().prog_uid == u32::MAX {
                Value::Unknown(Why::NoField)
            } else {
                Value::Uint(b.record().prog_uid.into())
            }
        })
    }),
    Field::new(
        "write_user",
        Shape::Text,
        "Whether it calls bpf_probe_write_user, by its instructions (bpf_prog.insnsi): yes no unknown.",
        |s| {
            bpf(s, |b| match b.no_program() {
                Value::Null if !b.has(has::PROG) => Value::Null,
                _ => Value::Word(write_user(&b.record())),
            })
        },
    ),
    Field::new("write_user_why", Shape::Text, "The reason for unknown.", |s| {
        bpf(s, |b| {
            if !b.has(has::PROG) && matches!(b.no_program(), Value::Null) {
                Value::Null
            } else if write_user(&b.record()) == "unknown" {
                Value::Word(write_user_why(b).word())
            } else {
                Value::Null
            }
        })
    }),
    Field::new(
        "helpers",
        Shape::List,
        "The helpers it calls that write to user memory, override results, send signals, call bpf(2) or change results.",
        |s| {
            bpf(s, |b| match b.record().scan {
                scan::WHOLE => Value::Words(helper_names(b.record().helpers)),
                _ if !b.has(has::PROG) => b.no_program(),
                _ => Value::Unknown(write_user_why(b)),
            })
        },
    ),
];

const ATTACH: &[Field] = &[
    Field::new("type", Shape::Text, "The type of the attach point, regardless of the mechanism.", |s| {
        of_attach(s, |b| b.attach_kind().map_or(Value::Unknown(b.why_missing()), Value::Word))
    }),
    Field::new("via", Shape::Text, "The mechanism: link ioctl prog_attach netlink setsockopt map seccomp.", |s| {
        of_attach(s, |b| b.via().map_or(Value::Null, Value::Word))
    }),
    Field::new(
        "target",
        Shape::Text,
        "The attach point: trace_event_class.system and event name, tracepoint name, trace_kprobe.symbol, trace_uprobe.filename, \
         bpf_prog_aux.attach_func_name, path of the cgroup, net_device.name, bpf_map.name, bpf_iter_reg.target, or pmu.name; \
         tun for a filter of a tun device. Of a refused attempt: the interface or the descriptor as passed.",
        |s| {
            of_attach(s, |b| match (b.target(b.cgroup_path(s.world)), symbol(s, b)) {
                (Value::Addr(_), Some(symbol)) => Value::Bytes(&symbol.name),
                (target, _) => target,
            })
        },
    ),
    Field::new(
        "symbol",
        Shape::Text,
        "The kernel function: trace_kprobe.symbol; of a probe by address, the symbol that contained it at that time.",
        |s| {
            of_attach(s, |b| match (b.has(has::KPROBE), symbol(s, b)) {
                (true, _) if !b.text.is_empty() => Value::Bytes(b.text),
                (_, Some(symbol)) => Value::Bytes(&symbol.name),
                (true, None) => Value::Unknown(Why::NotCollected),
                (false, None) => Value::Null,
            })
        },
    ),
    Field::new(
        "offset",
        Shape::Number,
        "The offset in the function (trace_kprobe.rp.kp.offset) or in the file (trace_uprobe.offset, bpf_uprobe.offset), in bytes.",
        |s| {
            of_attach(s, |b| match symbol(s, b) {
                Some(symbol) if b.text.is_empty() => Value::Uint(b.record().addr - symbol.addr.0),
                _ => offset(b),
            })
        },
    ),
    Field::new("addr", Shape::Text, "The address: trace_kprobe.rp.kp.addr, bpf_kprobe_multi_link.addrs[0].", |s| {
        of_attach(s, |b| if b.record().addr == 0 { Value::Null } else { Value::Addr(b.record().addr) })
    }),
    Field::new("module", Shape::Text, "The kernel module of the function.", |s| {
        of_attach(s, |b| match symbol(s, b) {
            _ if b.record().addr == 0 => Value::Null,
            Some(symbol) if symbol.owner.is_empty() => Value::Null,
            Some(symbol) => Value::Bytes(&symbol.owner),
            None => Value::Unknown(Why::NotCollected),
        })
    }),
    Field::new(
        "multi",
        Shape::Number,
        "The number of attach points of the link; null unless it may have several.",
        |s| of_attach(s, |b| if b.on(on::MULTI) { Value::Uint(b.record().count.into()) } else { Value::Null }),
    ),
    Field::new("link_id", Shape::Number, "bpf_link.id; null without a link.", |s| {
        of_attach(s, |b| if b.has(has::LINK) { Value::Uint(b.record().link_id.into()) } else { Value::Null })
    }),
    Field::new("cookie", Shape::Number, "bpf_cookie as passed; null if 0.", |s| {
        of_attach(s, |b| if b.record().cookie == 0 { Value::Null } else { Value::Uint(b.record().cookie) })
    }),
    Field::new("ifindex", Shape::Number, "The network interface: net_device.ifindex, or as passed.", |s| {
        of_attach(s, |b| b.device().map_or(Value::Null, Value::Uint))
    }),
];

/// The fields of a `bpf` event beside the common fields.
pub(crate) const FIELDS: &[Field] = &[
    Field::new("op", Shape::Text, "The operation: load attach update detach unload hidden.", |s| {
        bpf(s, |b| Value::Word(b.op()))
    }),
    Field::new(
        "ret",
        Shape::Number,
        "The descriptor or 0; −errno on error; null without a system call that reports it.",
        |s| {
            bpf(s, |b| match (b.is_made(), b.op()) {
                (false, _) => Value::Int(b.record().ret.into()),
                (true, "load" | "attach") => Value::Unknown(Why::NotCollected),
                (true, _) => Value::Null,
            })
        },
    ),
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
        doc: "The attachment; null for a load, an unload, or a hidden program. Of a hidden link, its id and type.",
        get: |s| of_attach(s, |_| Value::Object),
        sub: ATTACH,
    },
    STACK,
    Field::new(
        "seen_by",
        Shape::Text,
        "The source: call (the result of a system call), stream (PERF_RECORD_BPF_EVENT: the process is known by its id, and is as at its last event), inventory; for hidden, the view that has the program or link.",
        |s| bpf(s, |b| Value::Word(b.seen_by())),
    ),
    Field::new("missing_in", Shape::Text, "For hidden, the view that lacks the program or link; else null.", |s| {
        bpf(s, |b| match b.op() {
            "hidden" => Value::Word(view_name(b.record().priority.into())),
            _ => Value::Null,
        })
    }),
];
