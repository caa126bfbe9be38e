//! Who attached a program by netlink, from the records of `bpf_netlink`. The inventory reports a begin without a process.
//!
//! The kernel sends a notification within each call that changes a program of an interface that is up, and others for other changes.
//! A process is named only if all calls that could have made the change are of one process, and no record was lost.

use crate::bpf::{Via, XDP};
use crate::frame::FrameRef;
use crate::limits;
use foldhash::HashMap;
use std::collections::VecDeque;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::record::bpf::{BpfRecord, NetlinkRecord, cmd, message, on};
use tracetui_shared::time::BootNanos;
use zerocopy::FromBytes;

/// The bit of [`NetlinkRecord::first`] of a record that a begin has taken. Only states contain it.
const TAKEN: u16 = 2;

type Call = (FrameHeader, NetlinkRecord);

#[derive(Debug, Default)]
pub(super) struct Callers {
    /// In order of arrival.
    pub(super) calls: VecDeque<Call>,
    /// The number of the last record of each CPU.
    numbers: HashMap<u32, u64>,
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
        // A state has the last number of a CPU only in a record that is kept.
        let of_cpu = |(header, _): &&mut Call| header.cpu == cpu;
        let kept = if repeats { self.calls.iter_mut().rfind(of_cpu) } else { None };
        match kept {
            Some((header, _)) => header.seq = seq,
            None => self.calls.push_back((frame.header, record)),
        }
        if self.calls.len() > limits::BPF_CALLERS
            && let Some((oldest, _)) = self.calls.pop_front()
        {
            self.blind = self.blind.max(oldest.time);
        }
    }

    pub(super) fn restore(&mut self, frame: &FrameRef<'_>) {
        let Ok((record, _)) = NetlinkRecord::read_from_prefix(frame.payload) else { return };
        self.numbers.insert(frame.header.cpu, frame.header.seq);
        self.calls.push_back((frame.header, record));
    }

    /// The caller of a begin that the inventory reported; records up to a time are known. All calls that no begin has taken, and that may
    /// have attached the program there, are of one process.
    pub(super) fn take_caller(&mut self, begin: &BpfRecord, known: BootNanos) -> Option<FrameHeader> {
        let is_begin = begin.cmd == cmd::PROG_ATTACH && begin.on & on::DEVICE != 0;
        if begin.priority != Via::Netlink as i32 || !is_begin {
            return None;
        }
        let is_xdp = begin.attach_type == XDP;
        let message = if is_xdp { message::NEWLINK } else { message::NEWTFILTER };
        let is_it = |(header, record): &&mut Call| {
            // The filters of a block are at each of its interfaces.
            let at = record.ifindex == begin.object || !is_xdp && record.ifindex == BLOCK;
            at && (record.message, record.netns) == (message, begin.attach_btf_id)
                && record.programs.contains(&begin.prog_id)
                && record.first & TAKEN == 0
                && header.time <= known
        };
        let found: Vec<&mut Call> = self.calls.iter_mut().filter(is_it).collect();
        let caller = found.first()?.0;
        let recent = known.0.saturating_sub(limits::BPF_CALLER_NS);
        let is_same = |(header, record): &Call| process(header) == process(&caller) && record.first & 1 != 0;
        let is_sure = found.iter().all(|call| is_same(call))
            && caller.time.0 >= recent
            && (self.blind.0 == 0 || self.blind.0 < recent);
        found.into_iter().for_each(|(_, record)| record.first |= TAKEN);
        is_sure.then_some(caller)
    }
}

/// `TCM_IFINDEX_MAGIC_BLOCK` (include/uapi/linux/rtnetlink.h).
const BLOCK: u32 = u32::MAX;

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
    use cmd::{PROG_ATTACH as ATTACH, PROG_DETACH as DETACH};

    /// Records of the interface 7 in the namespace 3, each with its process, message and program, 1 ms apart.
    fn callers(calls: &[(u32, u16, u32)]) -> Callers {
        let (mut callers, mut batch) = (Callers::default(), Batch::default());
        for (at, (tgid, message, program)) in (0..).zip(calls) {
            let time = BootNanos((at + 1) * MS);
            let header = FrameHeader { time, seq: at, tgid: Tgid(*tgid), ..FrameHeader::default() };
            let programs = [0, *program, 0];
            let programs = if *message == LINK { programs } else { [*program, 0, 0] };
            let record = NetlinkRecord { message: *message, first: 1, ifindex: 7, netns: 3, programs };
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

    /// The caller of a change that is reported when this many records are known.
    fn take(callers: &mut Callers, known: u64, attach_type: u32, cmd: u16, prog_id: u32) -> u32 {
        callers.take_caller(&change(attach_type, cmd, prog_id), BootNanos(known * MS)).map_or(0, |caller| caller.tgid.0)
    }

    #[test]
    fn each_begin_at_an_interface_has_its_caller() {
        let mut callers = callers(&[(1, LINK, 5), (2, LINK, 0), (3, LINK, 6), (4, LINK, 8), (5, LINK, 0)]);
        let mut take = |known, cmd, prog| take(&mut callers, known, XDP, cmd, prog);
        assert_eq!([take(1, ATTACH, 5), take(3, ATTACH, 6), take(4, ATTACH, 8)], [1, 3, 4]);
        assert_eq!([take(9, ATTACH, 6), take(9, DETACH, 8)], [0, 0], "each once, and ends have none");
    }

    #[test]
    fn a_begin_that_may_be_of_several_processes_has_no_caller() {
        assert_eq!(take(&mut callers(&[(1, LINK, 5), (1, LINK, 0), (2, LINK, 5)]), 9, XDP, ATTACH, 5), 0);
        // The first one may have been sent while an XDP link attached the program, and no record shows its end.
        assert_eq!(take(&mut callers(&[(1, LINK, 5), (2, LINK, 5)]), 9, XDP, ATTACH, 5), 0);
        // Attached before its interface was up.
        let mut silent = callers(&[(1, LINK, 5), (2, LINK, 5), (3, LINK, 0)]);
        silent.calls[0].1.first = 0;
        assert_eq!(take(&mut silent, 2, XDP, ATTACH, 5), 0);
        // Another interface, and another namespace.
        let mut callers = callers(&[(1, LINK, 5)]);
        let here = change(XDP, ATTACH, 5);
        for other in [BpfRecord { object: 8, ..here }, BpfRecord { attach_btf_id: 4, ..here }] {
            assert_eq!(callers.take_caller(&other, BootNanos(100 * MS)), None);
        }
        assert_eq!(callers.take_caller(&here, BootNanos(limits::BPF_CALLER_NS + 2 * MS)), None, "too old");
    }

    #[test]
    fn filters_begin_at_interfaces_and_blocks() {
        let mut both = callers(&[(1, NEW, 5), (2, NEW, 5)]);
        assert_eq!([take(&mut both, 1, 0, ATTACH, 5), take(&mut both, 2, 0, ATTACH, 5)], [1, 2]);
        assert_eq!(take(&mut callers(&[(1, NEW, 5), (2, NEW, 5)]), 2, 0, ATTACH, 5), 0, "either");
        let mut of_block = callers(&[(1, NEW, 5), (2, NEW, 5)]);
        of_block.calls[1].1.ifindex = BLOCK;
        assert_eq!(take(&mut of_block, 2, 0, ATTACH, 5), 0, "the filters of a block are at its interfaces");
        assert_eq!(take(&mut callers(&[(1, NEW, 5)]), 1, 0, DETACH, 5), 0, "ends are not recorded");
    }

    #[test]
    fn nobody_is_named_while_records_are_missing() {
        let mut gap = callers(&[(1, LINK, 5), (1, LINK, 0), (1, LINK, 6)]);
        assert_eq!(take(&mut gap, 9, XDP, ATTACH, 5), 1);
        gap.numbers.insert(0, 17);
        let mut batch = Batch::default();
        gap.calls.iter().take(1).for_each(|(header, record)| batch.push(*header, record.as_bytes()));
        batch.frames().for_each(|frame| gap.add(&frame));
        assert_eq!(take(&mut gap, 9, XDP, ATTACH, 6), 0);
        // A state between repeated notifications, of two CPUs.
        let mut batch = Batch::default();
        let record = NetlinkRecord { message: LINK, first: 1, ifindex: 7, netns: 3, programs: [0, 5, 0] };
        for (cpu, seq) in [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (1, 2)] {
            batch.push(FrameHeader { time: BootNanos(MS), cpu, seq, ..FrameHeader::default() }, record.as_bytes());
        }
        let (mut before, mut after) = (Callers::default(), Callers::default());
        batch.frames().take(4).for_each(|frame| before.add(&frame));
        assert_eq!(before.calls.len(), 2);
        let mut state = Batch::default();
        before.calls.iter().for_each(|(header, record)| state.push(*header, record.as_bytes()));
        state.frames().for_each(|frame| after.restore(&frame));
        batch.frames().skip(4).for_each(|frame| after.add(&frame));
        assert_eq!(after.blind, BootNanos(0));
        let many: Vec<_> = (0..).map(|at| (1, LINK, at)).take(limits::BPF_CALLERS + 1).collect();
        assert_eq!(take(&mut callers(&many), 1000, XDP, ATTACH, 90), 0);
    }
}
