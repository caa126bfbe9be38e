//! Who attached or detached a program by netlink, from the records of `bpf_netlink`. The inventory reports such a change without a
//! process.
//!
//! The kernel sends a notification within each call that changes a program of an interface, and others for other changes. So the first
//! one that shows a program of XDP is of the call that attached it, and the first one that shows it no more is of the one that detached
//! it. A filter of tc has a notification of its own, but may also end with others. A process is named only if all calls that could have
//! made the change are of one process, and none was lost. Records of other namespaces than tracetui's do not say of which they are. So
//! for a change there, the calls in all namespaces count.

use crate::bpf::{Via, XDP};
use crate::frame::FrameRef;
use crate::limits;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::record::bpf::{BpfRecord, NetlinkRecord, cmd, message, on};
use tracetui_shared::time::BootNanos;
use zerocopy::FromBytes;

/// The bits of [`NetlinkRecord::first`] of a record that an attachment or an end has taken. Only states contain them.
const BEGUN: u16 = 2;
const ENDED: u16 = 4;

/// The header of a record and the record.
type Call = (FrameHeader, NetlinkRecord);

/// A call with its index.
type Numbered = (usize, Call);

/// The records of calls.
#[derive(Debug, Default)]
pub(super) struct Callers {
    /// In order of arrival.
    calls: VecDeque<Call>,
    /// The number of the last record of each CPU.
    numbers: FxHashMap<u32, u64>,
    /// When records were missing last.
    blind: BootNanos,
}

impl Callers {
    pub(super) fn add(&mut self, frame: &FrameRef<'_>) {
        let Ok((record, _)) = NetlinkRecord::read_from_prefix(frame.payload) else { return };
        let FrameHeader { cpu, seq, time, .. } = frame.header;
        let expected = self.numbers.insert(cpu, seq).map_or(0, |last| last.wrapping_add(1));
        if seq != expected {
            self.blind = self.blind.max(time);
        }
        let here = |(_, other): &&Call| (other.ifindex, other.netns) == (record.ifindex, record.netns);
        // Whoever owns an interface can repeat its notifications. Those of filters are of one filter each.
        let repeats = |(header, other): &Call| *other == record && process(header) == process(&frame.header);
        let repeats = record.message == message::NEWLINK && self.calls.iter().rev().find(here).is_some_and(repeats);
        if !repeats {
            self.calls.push_back((frame.header, record));
        }
        if self.calls.len() > limits::BPF_CALLERS
            && let Some((oldest, _)) = self.calls.pop_front()
        {
            self.blind = self.blind.max(oldest.time);
        }
    }

    /// The records, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter()
    }

    /// Adds a record of a state.
    pub(super) fn restore(&mut self, frame: &FrameRef<'_>) {
        let Ok((record, _)) = NetlinkRecord::read_from_prefix(frame.payload) else { return };
        self.numbers.insert(frame.header.cpu, frame.header.seq);
        self.calls.push_back((frame.header, record));
    }

    /// The caller of a change that the inventory reported; records up to a time are known.
    pub(super) fn take(&mut self, change: &BpfRecord, known: BootNanos) -> Option<FrameHeader> {
        if change.priority != i32::from(Via::Netlink as u8) || change.on & on::DEVICE == 0 || change.attach_btf_id == 0
        {
            return None;
        }
        let at = |netns: u32| -> Vec<Numbered> {
            let here = |(header, record): &Call| {
                (record.ifindex, record.netns) == (change.object, netns) && header.time <= known
            };
            self.calls.iter().copied().enumerate().filter(|(_, call)| here(call)).collect()
        };
        let is_own = self.calls.iter().any(|(_, record)| record.netns == change.attach_btf_id);
        let calls = at(if is_own { change.attach_btf_id } else { 0 });
        let gone = change.cmd == cmd::PROG_DETACH;
        let (taken, found) = if !is_own {
            (None, anywhere(&calls, change))
        } else if change.attach_type == XDP {
            let found = of_interface(&calls, change.prog_id, gone);
            (found.first().map(|(at, _)| *at), found)
        } else if gone {
            end_of_filter(&calls, change.prog_id)?
        } else {
            let begins = |(_, (_, record)): &&Numbered| {
                record.message == message::NEWTFILTER
                    && record.programs[0] == change.prog_id
                    && record.first & BEGUN == 0
            };
            let found: Vec<_> = calls.iter().filter(begins).copied().collect();
            (found.first().map(|(at, _)| *at), found)
        };
        if let Some((_, record)) = taken.and_then(|at| self.calls.get_mut(at)) {
            record.first |= if gone { ENDED } else { BEGUN };
        }
        let (_, (caller, record)) = *found.first()?;
        let recent = known.0.saturating_sub(limits::BPF_CALLER_NS);
        let same = found.iter().all(|(_, (header, _))| process(header) == process(&caller));
        let first =
            if is_own { record.first & 1 != 0 } else { found.iter().all(|(_, (_, record))| record.first & 1 != 0) };
        let is_sure = first && same && caller.time.0 >= recent && (self.blind.0 == 0 || self.blind.0 < recent);
        is_sure.then_some(caller)
    }
}

/// The first records that show a program of XDP after others, or others after it, that no change has taken.
fn of_interface(calls: &[Numbered], program: u32, gone: bool) -> Vec<Numbered> {
    let links: Vec<_> = calls.iter().filter(|(_, (_, record))| record.message == message::NEWLINK).collect();
    let shows = |(_, (_, record)): &Numbered| record.programs.contains(&program);
    let changes = |at: &usize| {
        let before = at.checked_sub(1).is_some_and(|before| shows(links[before]));
        before == gone && shows(links[*at]) != gone && links[*at].1.1.first & if gone { ENDED } else { BEGUN } == 0
    };
    (0..links.len()).filter(changes).map(|at| *links[at]).collect()
}

/// The record of the beginning of a filter, which its end takes, and those of the calls that may have ended it: that deleted filters or
/// a qdisc. Nothing is certain if another process replaced a filter or deleted the interface. `None` if the beginning is not known.
fn end_of_filter(calls: &[Numbered], program: u32) -> Option<(Option<usize>, Vec<Numbered>)> {
    let begun = |(_, (_, record)): &Numbered| {
        let is_begin = record.message == message::NEWTFILTER && record.programs[0] == program;
        is_begin && record.first & (BEGUN | ENDED) == BEGUN
    };
    let at = calls.iter().position(begun)?;
    let after = &calls[at + 1..];
    let ends = |record: &NetlinkRecord| match record.message {
        message::DELTFILTER => [0, program].contains(&record.programs[0]),
        message => message == message::DELQDISC,
    };
    let disturbs = |record: &NetlinkRecord| match record.message {
        message::NEWTFILTER => record.programs[0] != program,
        message => message == message::DELLINK,
    };
    let of = |which: &dyn Fn(&NetlinkRecord) -> bool| -> Vec<Numbered> {
        after.iter().filter(|(_, (_, record))| which(record)).copied().collect()
    };
    let ended = of(&ends);
    let disturbed = if ended.is_empty() { Vec::new() } else { of(&disturbs) };
    Some((Some(calls[at].0), [ended, disturbed].concat()))
}

/// The records of all calls, in any namespace, that may have made a change in another namespace than tracetui's.
fn anywhere(calls: &[Numbered], change: &BpfRecord) -> Vec<Numbered> {
    let is_xdp = change.attach_type == XDP;
    let begins = |record: &NetlinkRecord| {
        let message = if is_xdp { message::NEWLINK } else { message::NEWTFILTER };
        record.message == message && record.programs.contains(&change.prog_id)
    };
    let ends = |record: &NetlinkRecord| match record.message {
        message::NEWLINK => is_xdp && !begins(record),
        message::NEWTFILTER => !is_xdp && !begins(record),
        message::DELTFILTER => !is_xdp && [0, change.prog_id].contains(&record.programs[0]),
        message => message == message::DELLINK || !is_xdp,
    };
    let gone = change.cmd == cmd::PROG_DETACH;
    let begun = calls.iter().position(|(_, (_, record))| begins(record)).filter(|_| gone).unwrap_or(0);
    let may_be = |(_, (_, record)): &&Numbered| if gone { ends(record) } else { begins(record) };
    calls[begun..].iter().filter(may_be).copied().collect()
}

fn process(header: &FrameHeader) -> (u32, u64) {
    (header.tgid.0, header.start.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Batch;
    use tracetui_shared::id::Tgid;
    use zerocopy::{FromZeros, IntoBytes};

    const MS: u64 = 1_000_000;
    const LINK: u16 = message::NEWLINK;
    const NEW: u16 = message::NEWTFILTER;
    const END: u16 = message::DELTFILTER;
    const QDISC: u16 = message::DELQDISC;
    use cmd::{PROG_ATTACH as ATTACH, PROG_DETACH as DETACH};

    /// Records of the interface 7 in the namespace 3, each with its process, message and program, 1 ms apart.
    fn callers(calls: &[(u32, u16, u32)]) -> Callers {
        callers_in(3, calls)
    }

    fn callers_in(netns: u32, calls: &[(u32, u16, u32)]) -> Callers {
        let (mut callers, mut batch) = (Callers::default(), Batch::default());
        for (at, (tgid, message, program)) in (0..).zip(calls) {
            let time = BootNanos((at + 1) * MS);
            let header = FrameHeader { time, seq: at, tgid: Tgid(*tgid), ..FrameHeader::default() };
            let programs = [0, *program, 0];
            let programs = if *message == LINK { programs } else { [*program, 0, 0] };
            let record = NetlinkRecord { message: *message, first: 1, ifindex: 7, netns, programs };
            batch.push(header, record.as_bytes());
        }
        batch.frames().for_each(|frame| callers.add(&frame));
        callers
    }

    fn change(attach_type: u32, cmd: u16, prog_id: u32) -> BpfRecord {
        let mut change = BpfRecord::new_zeroed();
        (change.cmd, change.prog_id, change.attach_type) = (cmd, prog_id, attach_type);
        (change.priority, change.on) = (Via::Netlink as i32, on::DEVICE);
        (change.object, change.attach_btf_id) = (7, 3);
        change
    }

    fn take(callers: &mut Callers, attach_type: u32, cmd: u16, prog_id: u32) -> u32 {
        callers.take(&change(attach_type, cmd, prog_id), BootNanos(100 * MS)).map_or(0, |caller| caller.tgid.0)
    }

    #[test]
    fn each_change_of_an_interface_has_its_caller() {
        let mut callers =
            callers(&[(1, LINK, 5), (9, LINK, 5), (2, LINK, 0), (3, LINK, 6), (4, LINK, 8), (5, LINK, 0)]);
        let mut take = |cmd, prog| take(&mut callers, XDP, cmd, prog);
        assert_eq!([take(ATTACH, 5), take(DETACH, 5)], [1, 2]);
        assert_eq!([take(ATTACH, 6), take(DETACH, 6), take(ATTACH, 8), take(DETACH, 8)], [3, 4, 4, 5]);
        assert_eq!([take(ATTACH, 6), take(DETACH, 8)], [0, 0], "each once");
    }

    #[test]
    fn changes_may_be_reported_in_any_order() {
        let mut callers = callers(&[(1, LINK, 5), (2, LINK, 0), (3, LINK, 6), (4, LINK, 0)]);
        let mut take = |cmd, prog| take(&mut callers, XDP, cmd, prog);
        assert_eq!([take(DETACH, 6), take(DETACH, 5), take(ATTACH, 5), take(ATTACH, 6)], [4, 2, 1, 3]);
    }

    #[test]
    fn a_change_that_may_be_of_several_processes_has_no_caller() {
        assert_eq!(take(&mut callers(&[(1, LINK, 5), (1, LINK, 0), (2, LINK, 5)]), XDP, ATTACH, 5), 0);
        assert_eq!(take(&mut callers(&[(1, LINK, 0), (2, LINK, 0)]), XDP, DETACH, 5), 0, "attached before the trace");
        // Attached before its interface was up.
        let mut silent = callers(&[(1, LINK, 5), (2, LINK, 5), (3, LINK, 0)]);
        silent.calls[0].1.first = 0;
        assert_eq!([take(&mut silent, XDP, ATTACH, 5), take(&mut silent, XDP, DETACH, 5)], [0, 3]);
        // Another interface, and another namespace.
        let mut callers = callers(&[(1, LINK, 5)]);
        let here = change(XDP, ATTACH, 5);
        for other in [BpfRecord { object: 8, ..here }, BpfRecord { attach_btf_id: 4, ..here }] {
            assert_eq!(callers.take(&other, BootNanos(100 * MS)), None);
        }
        assert_eq!(callers.take(&here, BootNanos(limits::BPF_CALLER_NS + 2 * MS)), None, "too old");
    }

    #[test]
    fn in_another_namespace_every_call_counts() {
        let any = |calls: &[(u32, u16, u32)], attach_type, cmd| take(&mut callers_in(0, calls), attach_type, cmd, 5);
        assert_eq!(any(&[(1, LINK, 5), (2, LINK, 0)], XDP, ATTACH), 1);
        assert_eq!(any(&[(1, LINK, 5), (2, LINK, 0)], XDP, DETACH), 2);
        assert_eq!(any(&[(1, LINK, 0), (2, LINK, 5), (3, message::DELLINK, 0)], XDP, DETACH), 3);
        assert_eq!(any(&[(1, NEW, 5), (2, END, 5), (2, QDISC, 0)], 0, DETACH), 2);
        // Calls in several namespaces.
        assert_eq!(any(&[(1, LINK, 5), (2, LINK, 5)], XDP, ATTACH), 0);
        assert_eq!(any(&[(1, LINK, 5), (2, LINK, 0), (3, LINK, 6)], XDP, DETACH), 0);
        assert_eq!(any(&[(1, NEW, 5), (2, END, 5), (3, QDISC, 0)], 0, DETACH), 0);
        assert_eq!(any(&[(1, NEW, 5), (2, END, 6)], 0, DETACH), 0, "it ended otherwise");
        let mut both = callers(&[(1, LINK, 5)]);
        let other = BpfRecord { attach_btf_id: 4, ..change(XDP, ATTACH, 5) };
        assert_eq!(both.take(&other, BootNanos(100 * MS)), None, "records of tracetui's namespace");
    }

    #[test]
    fn filters_end_alone_or_with_others() {
        let ends = |rest: &[(u32, u16, u32)]| {
            let mut callers = callers(&[&[(1, NEW, 5)], rest].concat());
            assert_eq!(take(&mut callers, 0, ATTACH, 5), 1);
            take(&mut callers, 0, DETACH, 5)
        };
        assert_eq!([ends(&[(2, END, 5)]), ends(&[(2, END, 0)]), ends(&[(2, QDISC, 0)])], [2, 2, 2]);
        assert_eq!([ends(&[(2, END, 5), (3, QDISC, 0)]), ends(&[(2, END, 0), (3, END, 0)])], [0, 0], "either");
        assert_eq!([ends(&[]), ends(&[(2, END, 6)]), ends(&[(2, NEW, 6)])], [0, 0, 0], "not recorded");
        assert_eq!(ends(&[(2, QDISC, 0), (3, message::DELLINK, 0)]), 0, "another qdisc may have been deleted before");
        let mut both = callers(&[(1, NEW, 5), (2, NEW, 5)]);
        assert_eq!([take(&mut both, 0, ATTACH, 5), take(&mut both, 0, ATTACH, 5)], [0, 2]);
        assert_eq!(take(&mut callers(&[(2, END, 5)]), 0, DETACH, 5), 0, "attached before the trace");
    }

    #[test]
    fn nobody_is_named_while_records_are_missing() {
        let mut gap = callers(&[(1, LINK, 5), (1, LINK, 0), (1, LINK, 6)]);
        assert_eq!(take(&mut gap, XDP, ATTACH, 5), 1);
        gap.numbers.insert(0, 17);
        let mut batch = Batch::default();
        gap.iter().take(1).for_each(|(header, record)| batch.push(*header, record.as_bytes()));
        batch.frames().for_each(|frame| gap.add(&frame));
        assert_eq!(take(&mut gap, XDP, ATTACH, 6), 0);
        let many: Vec<_> = (0..).map(|at| (1, LINK, at)).take(limits::BPF_CALLERS + 1).collect();
        assert_eq!(take(&mut callers(&many), XDP, ATTACH, 90), 0);
    }
}
