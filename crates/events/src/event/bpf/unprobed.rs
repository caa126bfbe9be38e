//! The headers and payloads of events that no probe made: of the kernel's own stream of programs, and of the inventory.

use crate::bpf::frames::scan_of;
use crate::bpf::{Hook, Via};
use crate::frame::Batch;
use crate::frame::host::{BpfAttachment, BpfHidden, BpfProgram, ProgramChange};
use tracetui_shared::header::{FrameHeader, VERSION};
use tracetui_shared::kind::Kind;
use tracetui_shared::record::bpf::{BpfRecord, TEXT_LEN, call, cmd, has, on};
use tracetui_shared::time::BootNanos;
use zerocopy::{FromZeros, IntoBytes};

/// The kind of these events.
pub(crate) const KIND: Kind = Kind::Bpf;

/// The slot of an event that no probe made.
pub(crate) const NO_SLOT: u16 = u16::MAX;

/// The header of an event that no probe made.
pub(crate) fn made_header(time: BootNanos) -> FrameHeader {
    FrameHeader { kind: KIND as u16, version: VERSION, slot: NO_SLOT, time, ..FrameHeader::default() }
}

fn made_record(call: u8, cmd: u16) -> BpfRecord {
    let mut record = BpfRecord::new_zeroed();
    (record.call, record.cmd) = (call, cmd);
    (record.prog_uid, record.target_fd) = (u32::MAX, -1);
    record
}

/// The event of a change. Only the id of the loading process is known, and an unload can happen in any process.
pub(crate) fn record_of(change: &ProgramChange) -> BpfRecord {
    let mut record = made_record(call::STREAM, if change.loaded { cmd::PROG_LOAD } else { 0 });
    record.has = has::PROG;
    record.prog_id = change.id.0;
    record.tag = change.tag.to_be_bytes();
    set_symbol(&mut record, &change.symbol);
    record
}

fn set_symbol(record: &mut BpfRecord, symbol: &[u8]) {
    let room = record.symbol.len() - 1;
    record.symbol.iter_mut().zip(symbol.iter().take(room)).for_each(|(to, from)| *to = *from);
}

/// Adds the inventory's facts about a program.
pub(crate) fn fill(record: &mut BpfRecord, program: &BpfProgram) {
    record.has |= has::PROG;
    (record.prog_type, record.prog_uid) = (program.prog_type, program.uid.0);
    record.helpers = program.helpers;
    record.scan = scan_of(program.unknown);
    record.tag = program.tag.to_be_bytes();
    if program.attach_type != 0 {
        record.expected_attach_type = program.attach_type;
    }
    if record.symbol[0] == 0 {
        let symbol = [format!("bpf_prog_{:016x}_", program.tag).as_bytes(), &program.name].concat();
        set_symbol(record, &symbol);
    }
}

/// The payload of the event of an attachment that appeared or ended.
pub(crate) fn place_event(facts: &BpfAttachment, gone: bool, program: Option<&BpfProgram>) -> Vec<u8> {
    let mut record = made_record(call::INVENTORY, if gone { cmd::PROG_DETACH } else { cmd::PROG_ATTACH });
    (record.has, record.prog_id) = (if facts.program.0 == 0 { 0 } else { has::PROG }, facts.program.0);
    program.into_iter().for_each(|program| fill(&mut record, program));
    if facts.link.0 != 0 {
        record.has |= has::LINK;
        (record.link_id, record.link_type) = (facts.link.0, facts.link_type);
    }
    let (hook, attach_type) = facts.hook.numbers();
    (record.hooknum, record.attach_type, record.priority) = (hook.into(), attach_type, facts.via as i32);
    record.attach_btf_id = facts.netns.unwrap_or_default().0;
    let text = set_place(&mut record, facts);
    [record.as_bytes(), text, b"\0"].concat()
}

/// Adds where an attachment is. Returns the text that follows the record.
fn set_place<'a>(record: &mut BpfRecord, facts: &'a BpfAttachment) -> &'a [u8] {
    (record.addr, record.cookie) = (facts.addr.0, facts.cookie.unwrap_or_default());
    let in_kernel = matches!(facts.hook, Hook::Kprobe | Hook::Kretprobe);
    if let Some(offset) = facts.offset {
        record.offset = offset;
        record.has |= if in_kernel { has::KPROBE } else { has::UPROBE };
    }
    if let Some(count) = facts.multi {
        (record.on, record.count) = (record.on | on::MULTI, count);
    }
    let (at, spot) = spot_of(facts);
    record.on |= at;
    match at {
        on::GROUP => (record.perf_config, record.addr) = (spot, 0),
        on::CGROUP => record.cgroup = spot,
        0 => {}
        _ => record.object = spot as u32,
    }
    let text = if in_kernel && !facts.symbol.is_empty() { &facts.symbol } else { &facts.target };
    let text = text.get(..text.len().min(TEXT_LEN - 1)).unwrap_or_default();
    record.text_len = text.len() as u32 + 1;
    text
}

/// The number of the place of an attachment of an inventory, after the bit of [`BpfRecord::on`].
pub(crate) fn spot_of(facts: &BpfAttachment) -> (u16, u64) {
    let socket = || str::from_utf8(facts.target.strip_prefix(b"socket:")?).ok()?.parse::<u32>().ok();
    let (at, spot) = match (facts.via, facts.ifindex, facts.netns) {
        (Via::Setsockopt, ..) if facts.hook == Hook::Reuseport => (on::GROUP, facts.addr.0),
        (Via::Setsockopt, ..) => (on::SOCKET, socket().unwrap_or_default().into()),
        (_, Some(ifindex), _) => (on::DEVICE, ifindex.into()),
        _ if facts.cgroup.0 != 0 => (on::CGROUP, facts.cgroup.0),
        _ if facts.event != 0 => (on::EVENT, facts.event.into()),
        (Via::ProgAttach, _, Some(netns)) => (on::NETNS, netns.0.into()),
        (Via::ProgAttach, ..) => (on::MAP, facts.map.unwrap_or_default().into()),
        _ => (0, 0),
    };
    if spot == 0 { (0, 0) } else { (at, spot) }
}

/// Makes the event of a hidden program or link.
pub(crate) fn push_hidden(hidden: &BpfHidden, time: BootNanos, out: &mut Batch) {
    let mut record = made_record(call::INVENTORY, cmd::HIDDEN);
    record.has = has::PROG;
    record.prog_id = hidden.id.0;
    (record.hooknum, record.priority) = (hidden.seen_by as u32, hidden.missing_in as i32);
    if hidden.link.0 != 0 {
        record.has |= has::LINK;
        (record.link_id, record.link_type) = (hidden.link.0, hidden.link_type);
    }
    set_symbol(&mut record, &hidden.name);
    out.push(made_header(time), record.as_bytes());
}
