//! Joins the two reports of a load: that of the kernel's own stream of programs, and the event of bpf(2).
//!
//! The stream reports a load before its system call ends. A load that only the stream reports was made by a program
//! (`bpf_sys_bpf`), or its event was lost. It becomes an event of its own, when no system call can report it any more; later events
//! wait for that. Unloads are known from the stream only.

use crate::enrich::process::ProcessTable;
use crate::fifo::Fifo;
use crate::frame::host::ProgramChange;
use crate::frame::state::{KnownProgram, ProgramsState};
use crate::frame::{Batch, FrameRef};
use crate::limits;
use std::collections::VecDeque;
use tracetui_shared::header::{COMM_LEN, FrameHeader, VERSION};
use tracetui_shared::id::{ProgId, Tgid, Tid};
use tracetui_shared::kind::Kind;
use tracetui_shared::record::bpf::{BpfRecord, call, cmd, has};
use tracetui_shared::time::BootNanos;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// The slot of an event that no probe made.
const NO_SLOT: u16 = u16::MAX;

/// The source of the event that reports a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Call,
    Stream,
}

/// A load that the stream reported, as an event.
#[derive(Debug)]
struct Waiting {
    id: ProgId,
    time: BootNanos,
    event: Batch,
}

/// The loads so far.
#[derive(Debug, Default)]
pub(super) struct Programs {
    /// Loads that no system call has reported yet, the oldest first.
    waiting: VecDeque<Waiting>,
    /// The programs whose load an event reports.
    known: Fifo<ProgId, By>,
    /// The programs that the COMMAND loaded.
    commands: Fifo<ProgId, ()>,
}

impl Programs {
    /// Whether a frame of the probes is an event of its own. It is none if it is the report of a load that came too late: an event
    /// was made of what the stream reported.
    pub(super) fn is_new(&mut self, frame: &FrameRef<'_>) -> bool {
        if frame.header.kind != Kind::Bpf as u16 {
            return true;
        }
        let Some(id) = loaded(frame.payload) else { return true };
        self.waiting.retain(|load| load.id != id);
        let told = self.known.get(&id) == Some(&By::Stream);
        self.know(id, By::Call);
        !told
    }

    /// Takes a report of the stream. An unload is an event at once.
    pub(super) fn changed(&mut self, change: &ProgramChange, time: BootNanos, made: &mut Batch) {
        match change.loaded {
            true if self.known.contains(&change.id) => {}
            true => {
                let mut event = Batch::default();
                push(change, time, &mut event);
                self.wait(Waiting { id: change.id, time, event });
                while self.waiting.len() > limits::BPF_LOADS_WAITING {
                    self.decide_first(made);
                }
            }
            false => push(change, time, made),
        }
    }

    /// Makes events of the loads that no system call has reported by this time.
    pub(super) fn decide(&mut self, settled: BootNanos, made: &mut Batch) {
        let late = |load: &Waiting| load.time.0.saturating_add(limits::BPF_LOAD_NS) <= settled.0;
        while self.waiting.front().is_some_and(late) {
            self.decide_first(made);
        }
    }

    /// The time of the first load that waits: events from then on wait with it.
    pub(super) fn first_waiting(&self) -> Option<BootNanos> {
        self.waiting.front().map(|load| load.time)
    }

    /// The time of the last load that waits.
    pub(super) fn last_waiting(&self) -> Option<BootNanos> {
        self.waiting.back().map(|load| load.time)
    }

    /// Records that the COMMAND loaded the program of this event, if it is a load.
    pub(super) fn of_command(&mut self, frame: &FrameRef<'_>) {
        if let Some(id) = loaded(frame.payload) {
            self.commands.insert(id, (), 0);
            while self.commands.evict(limits::BPF_LOADS_KNOWN, usize::MAX).is_some() {}
        }
    }

    /// Whether the COMMAND loaded a program.
    pub(super) fn is_commands(&self, id: ProgId) -> bool {
        self.commands.contains(&id)
    }

    fn know(&mut self, id: ProgId, by: By) {
        self.known.insert(id, by, 0);
        while self.known.evict(limits::BPF_LOADS_KNOWN, usize::MAX).is_some() {}
    }

    /// Puts a load in its place: the CPUs are read one after another.
    fn wait(&mut self, load: Waiting) {
        let at = self.waiting.partition_point(|other| other.time <= load.time);
        self.waiting.insert(at, load);
    }

    fn decide_first(&mut self, made: &mut Batch) {
        if let Some(load) = self.waiting.pop_front() {
            self.know(load.id, By::Stream);
            made.append(load.event.bytes());
        }
    }

    /// The programs, and the loads that wait.
    pub(super) fn write_state(&self, mut out: impl FnMut(&FrameRef<'_>)) -> ProgramsState {
        self.waiting.iter().flat_map(|load| load.event.frames()).for_each(|frame| out(&frame));
        let known = self.known.iter().map(|(id, by)| KnownProgram { id: *id, streamed: *by == By::Stream });
        ProgramsState { known: known.collect(), commands: self.commands.iter().map(|(id, ())| *id).collect() }
    }

    pub(super) fn restore(&mut self, state: &ProgramsState) {
        for program in &state.known {
            self.know(program.id, if program.streamed { By::Stream } else { By::Call });
        }
        for id in state.commands.iter().take(limits::BPF_LOADS_KNOWN) {
            self.commands.insert(*id, (), 0);
        }
    }

    /// Restores a load that waits.
    pub(super) fn restore_waiting(&mut self, frame: &FrameRef<'_>) {
        if let Some(id) = loaded(frame.payload).filter(|_| self.waiting.len() < limits::BPF_LOADS_WAITING) {
            let mut event = Batch::default();
            event.push(frame.header, frame.payload);
            self.wait(Waiting { id, time: frame.header.time, event });
        }
    }
}

/// Whether an event is one of the stream.
pub(super) fn is_streamed(frame: &FrameRef<'_>) -> bool {
    frame.header.kind == Kind::Bpf as u16 && record(frame.payload).is_some_and(|record| record.call == call::STREAM)
}

/// The header of a load that only the stream reported, with what the process table knows of the process: as of its last event. An
/// unknown process has the id 0.
pub(super) fn identified(header: &FrameHeader, processes: &ProcessTable) -> FrameHeader {
    let mut header = *header;
    let known = processes.by_tgid(header.tgid).filter(|entry| header.tgid.0 != 0 && entry.end.is_none());
    let Some(process) = known.map(|entry| &entry.process) else {
        (header.tgid, header.tid) = (Tgid(0), Tid(0));
        return header;
    };
    header.start = process.key.start;
    header.ppid = process.parent.map_or(Tgid(0), |parent| parent.tgid);
    (header.uid, header.gid) = (process.uid, process.gid);
    // The name of another thread is not known.
    if header.tid.0 == header.tgid.0 {
        header.comm[..COMM_LEN - 1].iter_mut().zip(process.comm.iter()).for_each(|(to, from)| *to = *from);
    }
    header
}

/// The program of an unload; `None` if it is none.
pub(super) fn unloaded(frame: &FrameRef<'_>) -> Option<ProgId> {
    record(frame.payload).filter(|record| record.call == call::STREAM && record.cmd == 0).map(|r| ProgId(r.prog_id))
}

/// The program of an event that reports a load which succeeded, by the payload.
fn loaded(payload: &[u8]) -> Option<ProgId> {
    let record = record(payload)?;
    let loads = matches!(record.call, call::BPF | call::STREAM) && record.cmd == cmd::PROG_LOAD && record.ret >= 0;
    (loads && record.prog_id != 0).then_some(ProgId(record.prog_id))
}

fn record(payload: &[u8]) -> Option<BpfRecord> {
    BpfRecord::read_from_prefix(payload).ok().map(|(record, _)| record)
}

/// Makes the event of a change. Who loaded a program is known by the id only; an unload happens in any process.
fn push(change: &ProgramChange, time: BootNanos, out: &mut Batch) {
    let mut record = BpfRecord::new_zeroed();
    record.call = call::STREAM;
    record.cmd = if change.loaded { cmd::PROG_LOAD } else { 0 };
    record.has = has::PROG;
    record.prog_id = change.id.0;
    record.tag = change.tag.to_be_bytes();
    record.prog_uid = u32::MAX;
    record.target_fd = -1;
    let room = record.symbol.len() - 1;
    record.symbol.iter_mut().zip(change.symbol.iter().take(room)).for_each(|(to, from)| *to = *from);
    let mut header = FrameHeader {
        kind: Kind::Bpf as u16,
        version: VERSION,
        slot: NO_SLOT,
        cpu: change.cpu,
        time,
        ..FrameHeader::default()
    };
    if change.loaded {
        (header.tgid, header.tid) = (change.tgid, change.tid);
    }
    out.push(header, record.as_bytes());
}
