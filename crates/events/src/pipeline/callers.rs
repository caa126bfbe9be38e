//! Who attached or detached a program by netlink, from the records of `bpf_netlink`. The inventory reports such a change without a
//! process.
//!
//! An interface sends a notification when its program changes, and others later. So the first one that shows a program, or that shows it
//! no more, is of the process that changed it. A process is named only if no other one sent such a notification next.

use crate::bpf::{Via, XDP};
use crate::frame::FrameRef;
use crate::limits;
use std::collections::VecDeque;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::record::bpf::{BpfRecord, NetlinkRecord, cmd, message, on};
use tracetui_shared::time::BootNanos;
use zerocopy::FromBytes;

/// `XDP_ATTACHED_MULTI` (include/uapi/linux/if_link.h): there are programs of several modes, and the record has none of them.
const SEVERAL: u8 = 4;

/// The bit of [`NetlinkRecord::first`] of a record that an attachment has taken. Only states contain it.
const TAKEN: u8 = 2;

type Call = (FrameHeader, NetlinkRecord);

/// The records of calls, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Callers(VecDeque<Call>);

impl Callers {
    pub(super) fn add(&mut self, frame: &FrameRef<'_>) {
        let Ok((record, _)) = NetlinkRecord::read_from_prefix(frame.payload) else { return };
        self.0.push_back((frame.header, record));
        if self.0.len() > limits::BPF_CALLERS {
            self.0.pop_front();
        }
    }

    /// The records, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.0.iter()
    }

    /// The caller of a change that the inventory reported at a time.
    pub(super) fn take(&mut self, change: &BpfRecord, reported: BootNanos) -> Option<FrameHeader> {
        if change.priority != i32::from(Via::Netlink as u8) || change.on & on::DEVICE == 0 {
            return None;
        }
        match (change.attach_type == XDP, change.cmd == cmd::PROG_DETACH) {
            (true, false) => self.attached(change, message::NEWLINK, reported),
            (true, true) => self.replaced(change, reported),
            (false, false) => self.attached(change, message::NEWTFILTER, reported),
            (false, true) => self.deleted(change, reported),
        }
    }

    /// The records of some messages about the interface of a change, with their indices.
    fn of(&self, change: &BpfRecord, messages: &[u16]) -> Vec<(usize, Call)> {
        let is = |record: &NetlinkRecord| record.ifindex == change.object && messages.contains(&record.message);
        self.0.iter().copied().enumerate().filter(|(_, (_, record))| is(record)).collect()
    }

    /// The caller that attached a program: the first one whose records show it. They stay, because a detachment comes after them.
    fn attached(&mut self, change: &BpfRecord, message: u16, reported: BootNanos) -> Option<FrameHeader> {
        let all = self.of(change, &[message]);
        let shows = |(_, (_, record)): &(usize, Call)| record.prog_id == change.prog_id;
        let first = all.iter().position(|one| shows(one) && one.1.1.first & TAKEN == 0)?;
        let of_program = all[first..].iter().take_while(|one| shows(one)).count();
        // A filter has one notification.
        let run = &all[first..][..if message == message::NEWTFILTER { 1 } else { of_program }];
        for (at, _) in run {
            self.0[*at].1.first |= TAKEN;
        }
        only(run, reported)
    }

    /// The caller that replaced or removed a program of XDP: the first one after those whose records show it.
    fn replaced(&mut self, change: &BpfRecord, reported: BootNanos) -> Option<FrameHeader> {
        let all = self.of(change, &[message::NEWLINK]);
        let shown = |one: &(usize, Call)| one.1.1.prog_id;
        let shows = |one: &(usize, Call)| shown(one) == change.prog_id;
        let first = match all.iter().position(shows) {
            Some(first) => first + all[first..].iter().take_while(|one| shows(one)).count(),
            // It was attached before the oldest record, unless that one shows another program.
            None if all.first().is_some_and(|one| shown(one) == 0) => 0,
            None => return None,
        };
        let next = shown(all.get(first)?);
        let len = all[first..].iter().take_while(|one| shown(one) == next).count();
        // What shows another program is of that program's attachment too.
        let is_done =
            |at: usize| if at < first { shows(&all[at]) && all[at].1.1.first & TAKEN != 0 } else { next == 0 };
        for at in (0..first + len).rev().filter(|at| is_done(*at)) {
            self.0.remove(all[at].0);
        }
        only(&all[first..][..len], reported)
    }

    /// The caller that deleted a filter of tc, or its qdisc.
    fn deleted(&mut self, change: &BpfRecord, reported: BootNanos) -> Option<FrameHeader> {
        let all = self.of(change, &[message::NEWTFILTER, message::DELTFILTER, message::DELQDISC]);
        let is = |one: &(usize, Call), message| one.1.1.message == message && one.1.1.prog_id == change.prog_id;
        let begins = |one: &(usize, Call)| is(one, message::NEWTFILTER) && one.1.1.first & TAKEN != 0;
        let begun = all.iter().rposition(begins).map_or(0, |at| at + 1);
        let ends = |one: &&(usize, Call)| is(one, message::DELTFILTER) || one.1.1.message == message::DELQDISC;
        let ends: Vec<_> = all[begun..].iter().filter(ends).copied().collect();
        let (at, (_, first)) = *ends.first()?;
        if first.message == message::DELTFILTER {
            self.0.remove(at);
            return only(&ends[..1], reported);
        }
        // A qdisc ends all of its filters. It may have been another one.
        let again = |one: &&(usize, Call)| (one.1.1.message, one.1.1.mode) != (first.message, first.mode);
        let others = ends.iter().skip(1).filter(again);
        only(&ends[..1].iter().chain(others).copied().collect::<Vec<_>>(), reported)
    }
}

/// The caller of the first record, if no other process made one of the others and it is recent.
fn only(calls: &[(usize, Call)], reported: BootNanos) -> Option<FrameHeader> {
    let since = reported.0.saturating_sub(limits::BPF_CALLER_NS);
    let mut calls = calls.iter().map(|(_, call)| call).filter(|(header, _)| header.time <= reported);
    let makes = |record: &NetlinkRecord| record.first & !TAKEN != 0 && record.mode != SEVERAL;
    let (caller, _) = calls.next().filter(|(header, record)| makes(record) && header.time.0 >= since)?;
    let same = |(other, record): &Call| !makes(record) || (other.tgid, other.start) == (caller.tgid, caller.start);
    calls.all(same).then_some(*caller)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Batch;
    use tracetui_shared::id::Tgid;
    use zerocopy::{FromZeros, IntoBytes};

    const MS: u64 = 1_000_000;

    /// Records of the interface 7, each with its process, message and program, 1 ms apart.
    fn callers(calls: &[(u32, u16, u32)]) -> Callers {
        let (mut callers, mut batch) = (Callers::default(), Batch::default());
        for (at, (tgid, message, prog_id)) in (1..).zip(calls) {
            let header = FrameHeader { time: BootNanos(at * MS), tgid: Tgid(*tgid), ..FrameHeader::default() };
            let record = NetlinkRecord { message: *message, mode: 1, first: 1, ifindex: 7, prog_id: *prog_id };
            batch.push(header, record.as_bytes());
        }
        batch.frames().for_each(|frame| callers.add(&frame));
        callers
    }

    fn take(callers: &mut Callers, attach_type: u32, cmd: u16, prog_id: u32) -> u32 {
        let mut change = BpfRecord::new_zeroed();
        (change.cmd, change.prog_id, change.attach_type) = (cmd, prog_id, attach_type);
        (change.priority, change.on, change.object) = (Via::Netlink as i32, on::DEVICE, 7);
        callers.take(&change, BootNanos(100 * MS)).map_or(0, |caller| caller.tgid.0)
    }

    const LINK: u16 = message::NEWLINK;
    use cmd::{PROG_ATTACH as ATTACH, PROG_DETACH as DETACH};

    #[test]
    fn each_change_of_an_interface_has_its_caller() {
        let mut callers = callers(&[(1, LINK, 5), (2, LINK, 0), (3, LINK, 6), (4, LINK, 8), (5, LINK, 0)]);
        let mut take = |cmd, prog| take(&mut callers, XDP, cmd, prog);
        assert_eq!([take(ATTACH, 5), take(DETACH, 5)], [1, 2]);
        assert_eq!([take(ATTACH, 6), take(DETACH, 6), take(ATTACH, 8), take(DETACH, 8)], [3, 4, 4, 5]);
        assert_eq!([take(ATTACH, 6), take(DETACH, 8)], [0, 0], "each once");
    }

    #[test]
    fn ends_may_be_reported_before_their_beginnings() {
        let mut callers = callers(&[(1, LINK, 5), (2, LINK, 0), (3, LINK, 6), (4, LINK, 0)]);
        let mut take = |cmd, prog| take(&mut callers, XDP, cmd, prog);
        assert_eq!([take(DETACH, 6), take(DETACH, 5), take(ATTACH, 5), take(ATTACH, 6)], [4, 2, 1, 3]);
    }

    #[test]
    fn a_change_that_may_be_of_several_processes_has_no_caller() {
        let another = &[(1, LINK, 5), (2, LINK, 5), (3, LINK, 0), (3, LINK, 0)];
        assert_eq!(take(&mut callers(another), XDP, ATTACH, 5), 0);
        assert_eq!(take(&mut callers(another), XDP, DETACH, 5), 3);
        // It may have been attached before its interface was up.
        let mut silent = callers(another);
        silent.0[0].1.first = 0;
        assert_eq!(take(&mut silent, XDP, ATTACH, 5), 0);
        // Attached before the trace.
        assert_eq!(take(&mut callers(&[(3, LINK, 0)]), XDP, DETACH, 5), 3);
        assert_eq!(take(&mut callers(&[(3, LINK, 9), (4, LINK, 0)]), XDP, DETACH, 5), 0);
        let mut several = callers(&[(3, LINK, 0)]);
        several.0[0].1.mode = SEVERAL;
        assert_eq!(take(&mut several, XDP, DETACH, 5), 0);
    }

    #[test]
    fn filters_end_alone_or_with_their_qdisc() {
        const NEW: u16 = message::NEWTFILTER;
        const END: u16 = message::DELTFILTER;
        const QDISC: u16 = message::DELQDISC;
        let mut callers = callers(&[(1, NEW, 5), (2, NEW, 5), (3, END, 5), (4, QDISC, 0), (5, NEW, 6), (6, END, 6)]);
        let mut take = |cmd, prog| take(&mut callers, 0, cmd, prog);
        assert_eq!([take(ATTACH, 5), take(ATTACH, 5), take(ATTACH, 5)], [1, 2, 0]);
        assert_eq!([take(DETACH, 5), take(DETACH, 5)], [3, 4]);
        assert_eq!([take(ATTACH, 6), take(DETACH, 6)], [5, 6], "after the qdisc");
        let mut qdiscs = self::callers(&[(1, NEW, 5), (2, QDISC, 0), (3, QDISC, 0)]);
        qdiscs.0[2].1.mode = 0;
        assert_eq!(self::take(&mut qdiscs, 0, DETACH, 5), 0, "either may have had it");
        qdiscs.0[2].1.mode = 1;
        assert_eq!(self::take(&mut qdiscs, 0, DETACH, 5), 2);
    }

    #[test]
    fn other_interfaces_and_old_records_are_of_no_change() {
        let mut callers = callers(&[(1, LINK, 5)]);
        let mut change = BpfRecord::new_zeroed();
        (change.cmd, change.prog_id, change.attach_type) = (ATTACH, 5, XDP);
        (change.priority, change.on, change.object) = (Via::Netlink as i32, on::DEVICE, 8);
        assert_eq!(callers.take(&change, BootNanos(100 * MS)), None);
        change.object = 7;
        assert_eq!(callers.take(&change, BootNanos(MS - 1)), None, "the record is of later");
        let mut callers = self::callers(&[(1, LINK, 5)]);
        assert_eq!(callers.take(&change, BootNanos(limits::BPF_CALLER_NS + 2 * MS)), None);
    }
}
