//! Joins an io_uring request with its completion: one event from two records.
//!
//! The kernel reuses the address of a completed request. A new request at the address of a waiting one therefore shows
//! that the completion of the waiting one was not captured. Such completions are counted as lost. So are those of requests
//! that still wait when their process has ended, or at the end of the trace: if the completion queue is full, the kernel
//! sets the completion aside ([`io_cqring_event_overflow`]), and calls no tracepoint that has the request.
//!
//! [`io_cqring_event_overflow`]: https://elixir.bootlin.com/linux/v6.12/source/io_uring/io_uring.c

use super::gaps::push_lost;
use crate::budget::Budget;
use crate::event::lost::{Cause, LostRecord};
use crate::event::open;
use crate::frame::host::Counters;
use crate::frame::{Batch, FrameRef};
use foldhash::HashMap;
use std::collections::BTreeMap;
use tracetui_shared::header::{FrameHeader, VERSION, flag};
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::{Kind, Slot};
use tracetui_shared::record::open::{OpenRecord, RequestPart};
use tracetui_shared::time::BootNanos;
use zerocopy::{FromBytes, IntoBytes};

/// A request whose completion has not arrived yet.
#[derive(Debug)]
struct Waiting {
    header: FrameHeader,
    record: OpenRecord,
    place: u64,
    path: Box<[u8]>,
    address: u64,
    /// When its process ended.
    ended: Option<BootNanos>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        2 * size_of::<Self>() + self.path.len()
    }
}

/// A process, by its id and start.
type Process = (Tgid, BootNanos);

fn process_of(header: &FrameHeader) -> Process {
    (header.tgid, header.start)
}

/// The waiting requests to open a file.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// By the number of the request, counted from 0.
    waiting: BTreeMap<u64, Waiting>,
    /// The numbers of the requests, by address.
    numbers: HashMap<u64, u64>,
    pub(super) bytes: usize,
    budget: Budget,
    /// The number of requests received.
    pub(super) met: u64,
    /// The number of completions without a request.
    pub(super) hollow: u64,
    /// The number of requests without a completion.
    pub(super) unseen: u64,
    pub(super) counted_at: BootNanos,
    joined: Vec<u8>,
}

impl Requests {
    pub(super) fn new(budget: Budget) -> Requests {
        Requests { budget, ..Requests::default() }
    }

    /// Returns whether a frame is a whole event. Requests are kept. When a completion makes an event whole, the event is appended to
    /// `made`.
    pub(super) fn feed(&mut self, frame: &FrameRef<'_>, made: &mut Batch) -> bool {
        if frame.header.has(flag::REQUEST) {
            self.request(frame, made);
            return false;
        }
        match Slot::try_from(frame.header.slot) {
            Ok(slot) if slot.ends_a_request() => !self.end(frame, made),
            Ok(slot) if slot.kind() == Kind::Exit => {
                self.exit(&frame.header);
                true
            }
            _ => true,
        }
    }

    /// Passes the waiting requests to `out`, oldest first, each with its number. The end of its process follows it, as an exit without
    /// a record: a later request with the same process has not ended.
    pub(super) fn write_state(&self, mut out: impl FnMut(u64, FrameHeader, &[u8])) {
        for (number, request) in &self.waiting {
            let part = RequestPart { request: request.address, place: request.place };
            out(*number, request.header, &[request.record.as_bytes(), part.as_bytes(), &request.path].concat());
            if let Some(time) = request.ended {
                let (kind, slot, (tgid, start)) = (Kind::Exit as u16, Slot::Exit as u16, process_of(&request.header));
                out(0, FrameHeader { kind, slot, version: VERSION, time, tgid, start, ..FrameHeader::default() }, &[]);
            }
        }
    }

    /// Restores a waiting request, or the end of its process.
    pub(super) fn restore(&mut self, number: u64, frame: &FrameRef<'_>) {
        if frame.header.kind == Kind::Exit as u16 {
            return self.exit(&frame.header);
        }
        let Some((record, part, path)) = parts(frame).filter(|_| !self.waiting.contains_key(&number)) else { return };
        self.take(part.request);
        self.keep(number, frame.header, record, part, path);
    }

    fn keep(&mut self, number: u64, header: FrameHeader, record: OpenRecord, part: RequestPart, path: &[u8]) {
        let path = path.get(..record.path_len.into()).unwrap_or_default().into();
        let RequestPart { request: address, place } = part;
        let waiting = Waiting { header, record, place, path, address, ended: None };
        self.bytes += waiting.bytes();
        self.numbers.insert(address, number);
        self.waiting.insert(number, waiting);
    }

    /// Handles the end of a process: its requests are executed or canceled
    /// ([`io_uring_files_cancel`](https://elixir.bootlin.com/linux/v6.12/source/kernel/exit.c)).
    fn exit(&mut self, header: &FrameHeader) {
        let of_process = |request: &&mut Waiting| process_of(&request.header) == process_of(header);
        self.waiting.values_mut().filter(of_process).for_each(|request| request.ended = Some(header.time));
    }

    /// Reports the requests whose completion will not be captured. At the end of the trace, these are all waiting requests. Before
    /// that, they are the requests whose process ended before the previous counters, and those from before the previous counters that
    /// post no completion event on success (`IOSQE_CQE_SKIP_SUCCESS`): they had one interval of the counters to fail.
    pub(super) fn count(&mut self, counters: &Counters, time: BootNanos, made: &mut Batch) {
        let since = std::mem::replace(&mut self.counted_at, time);
        let late = |w: &&Waiting| {
            let quiet = open::is_quiet(&w.record) && w.header.time < since;
            counters.last || quiet || w.ended.is_some_and(|ended| ended < since)
        };
        let gone: Vec<u64> = self.waiting.values().filter(late).map(|request| request.address).collect();
        let gone: Vec<Waiting> = gone.into_iter().filter_map(|address| self.take(address)).collect();
        if let Some(from) = gone.iter().map(|request| request.header.time).min() {
            self.declare(gone.len() as u64, from, time, made);
        }
    }

    /// At the end of the trace, reports the requests that are still unaccounted for: their records did not fit into the ring, and
    /// no completion, not even a lost one, accounts for them.
    pub(super) fn count_unreported(&mut self, counters: &Counters, time: BootNanos, made: &mut Batch) {
        let requests =
            counters.no_room(|slot| slot.kind() == Kind::REQUESTED && slot.is_request()).saturating_sub(self.hollow);
        let unreported = requests.saturating_sub(counters.no_room(Slot::ends_a_request));
        if unreported > 0 {
            self.declare(unreported, BootNanos(0), time, made);
        }
    }

    fn request(&mut self, frame: &FrameRef<'_>, made: &mut Batch) {
        let Some((record, part, path)) = parts(frame) else { return };
        if let Some(before) = self.take(part.request) {
            self.declare(1, before.header.time, frame.header.time, made);
        }
        self.keep(self.met, frame.header, record, part, path);
        self.met += 1;
        self.shrink(frame.header.time, made);
    }

    /// Makes the event of a completed request. Returns `false` if the frame cannot be read.
    fn end(&mut self, frame: &FrameRef<'_>, made: &mut Batch) -> bool {
        let Some((mut record, part, names)) = parts(frame) else { return false };
        let Some(names) = names.get(..record.names_len.into()) else { return false };
        let mut header = frame.header;
        // The probes of requests send no such frame.
        header.flags &= !flag::STACK;
        let request = match self.take(part.request) {
            Some(other) if process_of(&other.header) != process_of(&header) || !open::ends(&record, &other.record) => {
                // Neither the completion of that request nor the request of this completion was captured.
                self.declare(1, other.header.time, header.time, made);
                None
            }
            request => request,
        };
        let near = |request: &Waiting| request.place != 0 && request.place == part.place;
        open::join(&mut record, request.as_ref().map(|request| (&request.record, near(request))));
        match &request {
            Some(request) => identify(&mut header, &request.header),
            None if !header.has(flag::BOOKKEEPING) => self.hollow += 1,
            None => {}
        }
        let path = request.map(|request| request.path).unwrap_or_default();
        self.joined.clear();
        self.joined.extend_from_slice(record.as_bytes());
        self.joined.extend_from_slice(names);
        self.joined.extend_from_slice(&path);
        made.push(header, &self.joined);
        true
    }

    fn take(&mut self, address: u64) -> Option<Waiting> {
        let request = self.waiting.remove(&self.numbers.remove(&address)?)?;
        self.bytes -= request.bytes();
        Some(request)
    }

    /// Reports the oldest requests beyond the memory limit as lost. If they complete after all, their events have no path.
    fn shrink(&mut self, time: BootNanos, made: &mut Batch) {
        while self.bytes > self.budget.requests()
            && let Some(address) = self.waiting.first_key_value().map(|(_, oldest)| oldest.address)
            && let Some(oldest) = self.take(address)
        {
            self.declare(1, oldest.header.time, time, made);
        }
    }

    /// Counts requests as lost. The first of them was submitted at the time `from`.
    fn declare(&mut self, count: u64, from: BootNanos, time: BootNanos, made: &mut Batch) {
        self.unseen = self.unseen.saturating_add(count);
        push_lost(&LostRecord::new(Kind::REQUESTED as u16, Cause::Probe, None, count, from, time), made);
    }
}

/// Sets the process of an event to the submitter of the request.
fn identify(header: &mut FrameHeader, submitter: &FrameHeader) {
    let FrameHeader { start, cgroup, tgid, tid, ppid, uid, gid, mnt_ns, pid_ns, ns_pid, comm, .. } = *submitter;
    *header = FrameHeader { start, cgroup, tgid, tid, ppid, uid, gid, mnt_ns, pid_ns, ns_pid, comm, ..*header };
}

/// Splits a record into the fixed part, the part that joins request and completion, and the remaining bytes.
fn parts<'a>(frame: &FrameRef<'a>) -> Option<(OpenRecord, RequestPart, &'a [u8])> {
    let (record, rest) = OpenRecord::read_from_prefix(frame.payload).ok()?;
    let (part, rest) = RequestPart::read_from_prefix(rest).ok()?;
    Some((record, part, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;
    use tracetui_shared::counters::CpuState;
    use tracetui_shared::id::{Tgid, Uid};
    use tracetui_shared::record::mark;
    use tracetui_shared::record::open::{NEAR, uring, via};

    const MS: u64 = 1_000_000;

    fn push(batch: &mut Batch, slot: Slot, ms: u64, by: u32, record: OpenRecord, part: RequestPart, rest: &[u8]) {
        let flags = if slot.is_request() { flag::REQUEST | flag::BOOKKEEPING } else { 0 };
        let time = BootNanos(ms * MS);
        let header = FrameHeader { flags, tgid: Tgid(by), uid: Uid(by), time, ..synthetic::header(slot) };
        batch.push(header, &[OpenRecord { via: via::IO_URING, ..record }.as_bytes(), part.as_bytes(), rest].concat());
    }

    /// The arguments that a request contains until its completion.
    fn asked() -> OpenRecord {
        OpenRecord { dirfd: 77, flags: 1, ..OpenRecord::default() }
    }

    fn request(batch: &mut Batch, ms: u64, address: u64, path: &[u8], bits: u8) {
        let record = OpenRecord { uring: bits, path_len: path.len() as u16, ..asked() };
        push(batch, Slot::UringSubmit, ms, 5, record, RequestPart { request: address, place: 9 }, path);
    }

    fn end(batch: &mut Batch, ms: u64, address: u64, names: &[u8], place: u64) {
        let record = OpenRecord {
            names_len: names.len() as u16,
            names_marks: mark::SHARED,
            path_marks: mark::NOT_COLLECTED,
            how_marks: NEAR,
            ..asked()
        };
        push(batch, Slot::OpenUring, ms, 5, record, RequestPart { request: address, place }, names);
    }

    /// The joined events: path, process, dirfd, marks of `how` and of the path. Or the number of lost events.
    fn joined(requests: &mut Requests, batch: &Batch) -> Vec<String> {
        let mut made = Batch::default();
        for frame in batch.frames() {
            assert!(!requests.feed(&frame, &mut made));
        }
        shown(&made)
    }

    fn shown(made: &Batch) -> Vec<String> {
        let show = |frame: FrameRef<'_>| {
            if frame.header.kind == Kind::Lost as u16 {
                let lost = LostRecord::read_from_prefix(frame.payload).expect("whole").0;
                return format!("lost {} from {}", lost.count, lost.from_ns / MS);
            }
            let (record, rest) = OpenRecord::read_from_prefix(frame.payload).expect("whole");
            let path = &rest[record.names_len.into()..];
            let near = record.how_marks & NEAR != 0;
            let (by, dirfd) = (frame.header.tgid.0, record.dirfd);
            format!("{} by {by} at {dirfd} near {near} marks {}", path.escape_ascii(), record.path_marks)
        };
        made.frames().map(show).collect()
    }

    #[test]
    fn an_end_has_what_was_asked_for_and_the_submitter() {
        let (mut requests, mut batch) = (Requests::default(), Batch::default());
        request(&mut batch, 1, 0xa0, b"config", 0);
        request(&mut batch, 2, 0xb0, b"other", 0);
        end(&mut batch, 3, 0xb0, b"other\0dir\0", 8);
        end(&mut batch, 4, 0xa0, b"config\0dir\0", 9);
        let expected = ["other by 5 at 77 near false marks 0", "config by 5 at 77 near true marks 0"];
        assert_eq!(joined(&mut requests, &batch), expected);
        assert_eq!((requests.bytes, requests.unseen), (0, 0));
        // An end without its request has no path.
        let (mut requests, mut batch) = (Requests::default(), Batch::default());
        end(&mut batch, 1, 0xa0, b"config\0", 0);
        let marks = mark::NOT_COLLECTED;
        assert_eq!(joined(&mut requests, &batch), [format!(" by 5 at 77 near false marks {marks}")]);
        // An address that is used again shows that an end was not seen.
        let (mut requests, mut batch) = (Requests::default(), Batch::default());
        request(&mut batch, 1, 0xa0, b"first", 0);
        request(&mut batch, 2, 0xa0, b"second", 0);
        end(&mut batch, 3, 0xa0, b"second\0", 1);
        let expected = ["lost 1 from 1", "second by 5 at 77 near false marks 0"];
        assert_eq!(joined(&mut requests, &batch), expected);
        assert_eq!(requests.unseen, 1);
        // A frame that cannot be read is left to the decoder.
        let header = synthetic::header(Slot::OpenUring);
        let mut batch = Batch::default();
        batch.push(header, &[0; 20]);
        let mut made = Batch::default();
        assert!(Requests::default().feed(&batch.frames().next().expect("one"), &mut made));
        assert!(made.is_empty());
        // An end of another request is not taken for the end of the one that waits.
        let by = |by: u32, record: OpenRecord, slot: Slot, bits: u8| {
            let (mut requests, mut batch) = (Requests::default(), Batch::default());
            request(&mut batch, 1, 0xa0, b"asked", bits);
            push(&mut batch, slot, 2, by, record, RequestPart { request: 0xa0, place: 9 }, b"");
            (joined(&mut requests, &batch), requests.unseen, requests.hollow)
        };
        let hollow = |by: u32, dirfd: i32| {
            (vec!["lost 1 from 1".to_owned(), format!(" by {by} at {dirfd} near false marks 0")], 1, 1)
        };
        let whole = |near| (vec![format!("asked by 5 at 77 near {near} marks 0")], 0, 0);
        let failed = OpenRecord { ret: -2, ..asked() };
        assert_eq!(by(5, asked(), Slot::OpenUring, 0), whole(true));
        assert_eq!(by(6, asked(), Slot::OpenUring, 0), hollow(6, 77));
        assert_eq!(by(5, OpenRecord { dirfd: 78, ..asked() }, Slot::OpenUring, 0), hollow(5, 78));
        assert_eq!(by(5, OpenRecord { flags: 2, ..asked() }, Slot::OpenUring, 0), hollow(5, 77));
        assert_eq!(by(5, asked(), Slot::OpenUring, uring::QUIET), hollow(5, 77));
        assert_eq!(by(5, failed, Slot::OpenUring, uring::QUIET), whole(true));
    }

    #[test]
    fn a_request_that_waits_is_lost_once_it_had_time_or_its_process_ended() {
        let (mut requests, mut batch) = (Requests::default(), Batch::default());
        request(&mut batch, 1500, 0xa0, b"quiet", uring::QUIET);
        request(&mut batch, 1600, 0xb0, b"slow", 0);
        assert_eq!(joined(&mut requests, &batch), [""; 0]);
        let mut lost = Vec::new();
        for (second, last) in [(1, false), (2, false), (3, false), (4, true)] {
            let mut made = Batch::default();
            requests.count(&Counters { last, ..Counters::default() }, BootNanos(second * 1000 * MS), &mut made);
            lost.push(shown(&made));
        }
        assert_eq!(lost, [vec![], vec![], vec!["lost 1 from 1500".to_owned()], vec!["lost 1 from 1600".to_owned()]]);
        assert_eq!((requests.unseen, requests.waiting.len()), (2, 0));
        // Once its process has ended.
        let count = |requests: &mut Requests, second: u64| {
            let mut made = Batch::default();
            requests.count(&Counters::default(), BootNanos(second * 1000 * MS), &mut made);
            shown(&made)
        };
        let exit = |tgid: u32, ms: u64| {
            let mut batch = Batch::default();
            let header = synthetic::header(Slot::Exit);
            batch.push(FrameHeader { tgid: Tgid(tgid), time: BootNanos(ms * MS), ..header }, &[0; 8]);
            batch
        };
        let whole = |requests: &mut Requests, batch: &Batch| {
            let mut made = Batch::default();
            assert!(batch.frames().all(|frame| requests.feed(&frame, &mut made)), "exits are events");
            assert!(made.is_empty());
        };
        let (mut requests, mut batch) = (Requests::default(), Batch::default());
        for address in [0xa0, 0xb0, 0xc0] {
            request(&mut batch, address, address, b"set aside", 0);
        }
        joined(&mut requests, &batch);
        assert_eq!(count(&mut requests, 1), [""; 0]);
        whole(&mut requests, &exit(6, 1400));
        whole(&mut requests, &exit(5, 1500));
        assert_eq!(count(&mut requests, 2), [""; 0], "it may still be canceled");
        let mut batch = Batch::default();
        end(&mut batch, 2100, 0xb0, b"", 0);
        assert_eq!(joined(&mut requests, &batch).len(), 1);
        let mut state = Batch::default();
        requests.write_state(|_, header, payload| state.push(header, payload));
        let mut restored = Requests { counted_at: requests.counted_at, ..Requests::default() };
        (0..).zip(state.frames()).for_each(|(number, frame)| restored.restore(number, &frame));
        for mut requests in [requests, restored] {
            assert_eq!(count(&mut requests, 3), ["lost 2 from 160"]);
            assert_eq!((requests.unseen, requests.bytes, requests.numbers.len()), (2, 0, 0));
            assert_eq!(count(&mut requests, 4), [""; 0]);
        }
        // One that found no room, unless it completes.
        let (mut requests, mut batch) = (Requests::default(), Batch::default());
        let mut counters = Counters { cpus: vec![CpuState::ZERO; 2], ..Counters::default() };
        for cpu in &mut counters.cpus {
            cpu.slots[Slot::UringSubmit as usize].lost_bookkeeping = 4;
            cpu.slots[Slot::OpenUring as usize].lost_bookkeeping = 1;
            cpu.slots[Slot::OpenUring as usize].lost_ring = 1;
            cpu.slots[Slot::Open as usize].lost_ring = 9;
        }
        end(&mut batch, 1, 0xa0, b"", 0);
        joined(&mut requests, &batch);
        let mut made = Batch::default();
        requests.count_unreported(&counters, BootNanos(2 * MS), &mut made);
        requests.count_unreported(&Counters::default(), BootNanos(2 * MS), &mut made);
        assert_eq!((shown(&made), requests.unseen), (vec!["lost 3 from 0".to_owned()], 3));
    }

    #[test]
    fn requests_take_no_more_than_their_bytes() {
        let mut requests = Requests::default();
        let path = [b'x'; 4095];
        for address in 0..20_000 {
            let mut batch = Batch::default();
            request(&mut batch, 1, address * 8, &path, 0);
            joined(&mut requests, &batch);
        }
        let waiting = requests.waiting.len();
        assert!(requests.bytes <= Budget::default().requests() && waiting > 1000, "{waiting}");
        let mut batch = Batch::default();
        end(&mut batch, 2, 0, b"", 0);
        end(&mut batch, 2, 19_999 * 8, b"", 0);
        let ends = joined(&mut requests, &batch);
        assert!(ends[0].starts_with(" by 5") && ends[1].starts_with("xxx"), "the oldest were forgotten");
        assert_eq!(requests.unseen as usize + requests.waiting.len() + 1, 20_000, "and are counted as lost");
        for round in 0..100_000 {
            let mut batch = Batch::default();
            request(&mut batch, 3, 1 << 40, b"again", 0);
            end(&mut batch, 3, 1 << 40, b"", 0);
            joined(&mut requests, &batch);
            assert!(requests.numbers.len() == requests.waiting.len(), "{round}");
        }
    }
}
