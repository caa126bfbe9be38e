//! `bpf`: a BPF program was loaded, attached, replaced or detached, or one of these failed.

mod ending;
pub(crate) use ending::with_program;
mod fields;
pub(crate) mod unprobed;

pub(crate) use fields::FIELDS;

use super::describe::{Field, STACK, Value, Why, err_value, field_table, props};
use super::parts::{Parts, Role};
use super::redact::Redact;
use super::{Compared, EventContext, Payload, Tables, bpf, names};
use crate::bpf::frames::unknown_of;
use crate::bpf::place::{self, AttachPoint};
use crate::bpf::{HelperCalls, Hook, NotScanned, Via, View, Words};
use crate::frame::host::KernelSymbol;
use crate::frame::state::BpfMade;
use crate::text::grouped;
use crate::text::paint::Look;
use std::mem::offset_of;
use tracetui_shared::header::until_nul;
use tracetui_shared::id::{CgroupId, KernelAddr, LinkId, ProgId};
use tracetui_shared::record::bpf::{
    BpfRecord, NAME_LEN, SYMBOL_LEN, TARGET_LEN, call, cmd, has, on, option, scan, tun,
};
use zerocopy::{FromBytes, FromZeros, IntoBytes, Unalign};

/// A `bpf` event. It stays in its frame and is not copied, because it is large and rare.
#[derive(Clone, Copy)]
pub struct Bpf<'a> {
    bytes: &'a Unalign<BpfRecord>,
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
    pub fn record(&self) -> BpfRecord {
        self.bytes.get()
    }

    fn has(&self, bit: u8) -> bool {
        self.record().has & bit != 0
    }

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

    /// The object that it is about: a program, a link, or an attachment without one. `None` if the call failed, or if the inventory does
    /// not list such objects.
    pub(crate) fn object(&self) -> Option<BpfMade> {
        let BpfRecord { prog_id, link_id, ret, .. } = self.record();
        let via = self.via().and_then(Via::named);
        let (program, link) = match via {
            Some(Via::Link) if self.has(has::LINK) => (ProgId(0), LinkId(link_id)),
            Some(Via::Link) => (ProgId(0), LinkId(0)),
            _ => (ProgId(prog_id), LinkId(0)),
        };
        let is_listed = (program.0 != 0 || link.0 != 0) && (via.is_some() || self.is_of_program());
        (ret >= 0 && is_listed).then_some(BpfMade { program, link, via })
    }

    /// The object that it made: the loaded program, the link, or the attachment without one.
    pub(crate) fn made(&self) -> Option<BpfMade> {
        self.object().filter(|_| matches!(self.op(), "load" | "attach"))
    }

    /// Whether the type of the program is known. The kernel's own stream of programs does not report it.
    pub(crate) fn knows_type(&self) -> bool {
        self.has(has::PROG) && !(self.is_made() && self.record().prog_uid == u32::MAX)
    }

    /// Whether only the id of the program is known: an inventory listed the attachment and not yet the program.
    pub(crate) fn is_unread(&self) -> bool {
        self.is_made() && !self.is_alarm() && self.name().is_empty() && self.record().tag == [0; 8]
    }

    /// Whether it is about a program and not about an attachment.
    fn is_of_program(&self) -> bool {
        match self.op() {
            "load" | "unload" => true,
            "hidden" => !self.has(has::LINK),
            _ => false,
        }
    }

    /// The source: a system call, the stream of programs, or the inventory. For a hidden program, the view that shows it.
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

    /// The value of a field of an unknown program. Some ways to detach do not name the program.
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
            (call::INVENTORY, _) => Via::of(self.record().priority).map(Via::name),
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
            (call::INVENTORY, _) => hook_name(self.hook(), Some(self.record().link_type)),
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

    /// The attach point in an event of the inventory.
    pub(crate) fn hook(&self) -> Hook {
        let BpfRecord { hooknum, attach_type, .. } = self.record();
        u8::try_from(hooknum).map_or(Hook::Unknown, |number| Hook::of(number, attach_type))
    }

    /// The kind of a refused BPF_RAW_TRACEPOINT_OPEN, according to the type of its program; `None` without a program.
    fn raw_kind(&self) -> Option<&'static str> {
        match self.record().prog_type {
            _ if !self.has(has::PROG) => None,
            prog::RAW_TRACEPOINT | prog::RAW_TRACEPOINT_WRITABLE => Some("raw_tracepoint"),
            _ => attach_type_kind(self.record().expected_attach_type),
        }
    }

    /// Whether the attach type was passed. 0 is ambiguous: it is the first attach type of cgroups, and also the value if none was
    /// passed.
    fn may_be_asked(&self) -> bool {
        self.record().attach_type != 0 || self.record().ret >= 0 || self.record().prog_type == prog::CGROUP_SKB
    }

    /// Whether the arguments of a new link are unknown: a program passed them, or they could not be read.
    fn lacks_arguments(&self) -> bool {
        let record = self.record();
        (record.call, record.cmd) == (call::BPF, cmd::LINK_CREATE) && record.has & (has::LINK | has::ATTR) == has::LINK
    }

    /// The kind according to the link's type if that is specific enough, otherwise according to the program's attach type.
    fn link_kind(&self) -> Option<&'static str> {
        let attach_type = match self.record().expected_attach_type {
            0 => self.record().attach_type,
            expected => expected,
        };
        match names::link_type(self.record().link_type)? {
            "perf_event" => self.perf_kind(),
            "tracing" if self.record().prog_type == prog::EXT => Some("freplace"),
            // Flow dissectors are loaded without an attach type, and a detachment passes none. The other programs there have one.
            "netns" if attach_type == 0 => Some("flow_dissector"),
            "tracing" | "netns" | "tracing_multi" => attach_type_kind(attach_type),
            // Their flags say whether they run at the return.
            "kprobe_multi" | "uprobe_multi" if self.lacks_arguments() => None,
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

    /// The path of the cgroup, if known.
    fn cgroup_path<'w>(&self, world: &'w dyn Tables) -> Option<&'w [u8]> {
        world.cgroup_of_id(CgroupId(self.record().cgroup))
    }

    /// The action, its object and its place. In a path, cgroups have their names only if `cgroup` provides it.
    fn parts(&self, cgroup: Option<&[u8]>, out: &mut impl Parts) {
        out.part(Role::Plain, |out| out.extend_from_slice(self.op().as_bytes()));
        out.part(Role::Plain, |out| out.push(b' '));
        self.place(cgroup, out);
    }

    /// The type of the program or of the attach point, and the attach point.
    pub(crate) fn place(&self, cgroup: Option<&[u8]>, out: &mut impl Parts) {
        let mut part = |role, bytes: &[u8]| out.part(role, |out| out.extend_from_slice(bytes));
        let kind = match self.is_of_program() {
            false if self.is_alarm() => Some("link"),
            true if self.is_made() && self.record().prog_uid == u32::MAX => None,
            true => names::prog_type(self.record().prog_type),
            false => self.attach_kind(),
        };
        part(Role::Note, kind.unwrap_or("program").as_bytes());
        if let Some(target) = self.target(cgroup).text().filter(|target| !target.is_empty() && !self.is_of_program()) {
            part(Role::Note, b" ");
            part(Role::Strong, &target);
            if self.record().offset != 0 && !self.text.is_empty() {
                part(Role::Strong, format!("+{:#x}", self.record().offset).as_bytes());
            }
        }
        if self.on(on::MULTI) && !self.is_of_program() {
            part(Role::Note, format!(", {} places", grouped(self.record().count.into())).as_bytes());
        }
    }

    /// The program: ` prog#ID NAME`.
    fn program(&self, out: &mut Vec<u8>) {
        if self.record().prog_id != 0 {
            out.extend_from_slice(format!(" prog#{}", self.record().prog_id).as_bytes());
        }
        if !self.name().is_empty() {
            out.push(b' ');
            out.extend_from_slice(self.name());
        }
    }

    /// The program's name: the whole name if its symbol has it, otherwise the first 15 bytes.
    pub fn name(&self) -> &'a [u8] {
        if self.full_name.is_empty() { self.name } else { self.full_name }
    }

    /// The number of the network interface, from the kernel or as passed.
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

    /// The target, with the path of a cgroup if known.
    pub(crate) fn target(&self, cgroup: Option<&'a [u8]>) -> Value<'a> {
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
            (true, _) if self.on(on::SOCKET) => {
                Value::AttachPoint(AttachPoint::Numbered("socket", record.object.into()))
            }
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
                    // 0 is also passed if there is no descriptor.
                    (None, Ok(fd @ 1..)) => Value::AttachPoint(AttachPoint::Numbered("fd", fd)),
                    _ => Value::Unknown(Why::Failed),
                },
                // A detached link no longer has a target.
                _ if self.op() == "detach" => Value::Unknown(Why::Vanished),
                // The descriptor is not a perf event, or no longer one.
                _ if record.call == call::PERF_IOCTL => Value::Unknown(Why::Raced),
                _ => Value::Unknown(Why::NotCollected),
            },
        }
    }
}

/// The name of a hook: that of the attach type if there is one. If the kernel does not report the hook, that of the link's type.
pub fn hook_name(hook: Hook, link_type: Option<u32>) -> Option<&'static str> {
    match hook {
        Hook::Type(attach_type) => attach_type_kind(attach_type),
        Hook::Unknown => link_type.and_then(names::link_type),
        _ => hook.name(),
    }
}

fn view_name(number: i64) -> &'static str {
    View::of(number).map_or("unknown", View::name)
}

// A record that grows may have a new text: redact it too, then change its size here.
const _: () = assert!(size_of::<BpfRecord>() == 536);

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

    fn unwritten() -> Vec<Vec<u8>> {
        vec![BpfRecord::new_zeroed().as_bytes().to_vec()]
    }

    fn redact(payload: &[u8], with: &mut Redact) -> Option<Vec<u8>> {
        let (mut record, after) = BpfRecord::read_from_prefix(payload).ok()?;
        [&mut record.name[..], &mut record.target, &mut record.target2].into_iter().for_each(|array| with.fit(array));
        // The whole name of the program follows its tag.
        let name = until_nul(&record.symbol).len() - full_name(until_nul(&record.symbol)).len();
        with.fit(record.symbol.get_mut(name..)?);
        let mut text = after.to_vec();
        with.text(&mut text);
        let text_len = record.text_len.wrapping_sub(after.len() as u32).wrapping_add(text.len() as u32);
        Some([BpfRecord { text_len, ..record }.as_bytes(), &text].concat())
    }

    const LOOK: Look = Look::Notice;
    const COMPARED: Compared = Compared::Counts;
    const NOUN: &'static str = "bpf event";
    // `attach` and a blank.
    const NEWS: Option<usize> = Some(2);

    fn refers_to(payload: &[u8]) -> (CgroupId, KernelAddr) {
        let bpf = Bpf::decode(payload).map(|bpf| bpf.record());
        bpf.map_or_else(Default::default, |record| (CgroupId(record.cgroup), KernelAddr(record.addr)))
    }

    fn ret(&self) -> Option<i32> {
        Some(self.record().ret)
    }

    fn is_made(&self) -> bool {
        self.record().call >= call::STREAM
    }

    /// The loaded or attached object.
    fn used(&self, subject: &mut Vec<u8>) -> Option<i32> {
        self.subject(subject);
        if let Some(error) = names::err(self.record().ret) {
            subject.extend_from_slice(b": ");
            subject.extend_from_slice(error.as_bytes());
        }
        Some(self.record().ret)
    }

    fn news(&self, out: &mut Vec<u8>) -> bool {
        self.subject(out);
        self.op() == "attach"
    }

    fn subject(&self, out: &mut Vec<u8>) {
        self.parts(None, out);
        if !self.name().is_empty() {
            out.push(b' ');
            out.extend_from_slice(self.name());
        }
    }

    fn is_alarm(&self) -> bool {
        self.op() == "hidden"
    }

    // Programs of seccomp have no id.
    fn has_own_object(&self) -> bool {
        self.record().prog_id != 0 || self.is_alarm()
    }

    fn action(&self) -> Option<(&'static str, Option<&'static str>)> {
        Some((self.op(), self.attach_kind()))
    }

    fn result(&self, out: &mut Vec<u8>) {
        let word = if self.is_alarm() { "hidden" } else { names::err(self.record().ret).unwrap_or("ok") };
        out.extend_from_slice(word.as_bytes());
    }

    fn detail(&self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        self.parts(self.cgroup_path(seen.world), out);
        self.program(out);
    }

    fn show(&self, seen: &EventContext<'_>, out: &mut impl Parts) {
        self.parts(self.cgroup_path(seen.world), out);
        out.part(Role::Quiet, |out| self.program(out));
    }

    fn title(&self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        self.detail(seen, out);
    }
}

/// The name in a program's symbol `bpf_prog_TAG_NAME`
/// ([`bpf_get_prog_name`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/core.c)); empty for other symbols.
fn full_name(symbol: &[u8]) -> &[u8] {
    const TAG_DIGITS: usize = 16;
    let after = symbol.strip_prefix(b"bpf_prog_").and_then(|rest| rest.get(TAG_DIGITS..));
    after.and_then(|rest| rest.strip_prefix(b"_")).unwrap_or_default()
}

fn attach_type_kind(attach_type: u32) -> Option<&'static str> {
    Some(match names::attach_type(attach_type)? {
        "trace_raw_tp" => "raw_tracepoint",
        "trace_fentry" => "fentry",
        "trace_fexit" | "trace_fsession" => "fexit",
        "modify_return" => "fmod_ret",
        "lsm_mac" => "lsm",
        // Its links are those of a cgroup.
        "lsm_cgroup" => "cgroup",
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
