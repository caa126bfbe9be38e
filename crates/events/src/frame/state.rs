//! The state of a pipeline as frames, so that a recording can be opened at any point.
//!
//! The frames are in [`StatePart`](super::host::StatePart)s, together with ordinary host frames: host, probes, clock,
//! users, groups, cgroups and counters are saved as the host frames by which they came.

use super::bpf::Via;
use super::host::BpfProgram;
use super::wire::{Wire, counts, frames, wire_struct};
use std::sync::Arc;
use tracetui_shared::id::{Gid, LinkId, ProgId, Tgid, Uid};
use tracetui_shared::time::BootNanos;

counts! {
    /// Events that did not pair up: counted, never corrected silently.
    Pairing {
        /// An exit of a process whose start was neither seen nor found in the process scan.
        unpaired_exit,
        /// A fork of a process that was in the table already.
        repeated_start,
        /// A successful exec, an exit or a fork's child whose thread id is not its process id.
        tid_not_pid,
        /// A process id whose start changed though no exit was seen between.
        start_mismatch,
        /// An exec of a process that had ended.
        exit_before_exec,
        /// An exit of a process that had ended.
        exit_twice,
    }

    /// Lost events by the place of their loss.
    LostBy {
        /// No room in the ring.
        ring,
        /// The kernel skipped the program or has no attach point that shows the event, or the program could not report the event
        /// ([`Reason::is_loss`](tracetui_shared::counters::Reason::is_loss)).
        probe,
        /// Arrived, but not decodable.
        read,
        /// Wanted, but could not be printed or recorded: nobody read the output, or it failed.
        unwritten,
    }

    /// Data that was evicted because its share of memory was full. No events are lost, but less is known about their processes.
    Shortage {
        /// Live processes evicted from the process table.
        processes,
        /// Cgroups whose path was evicted.
        cgroups,
        /// Events that were delivered before they could be ordered.
        unsettled,
    }

    /// Records that arrived for one (slot, CPU), counted as they are read from the ring.
    Arrived {
        /// Wanted events: first records.
        wanted,
        /// Missing numbers of wanted events.
        gaps,
        /// Missing numbers of wanted events that are in an unreadable part of a recording.
        unread,
        /// Bookkeeping records.
        bookkeeping,
        /// Missing numbers of bookkeeping records.
        bookkeeping_gaps,
        /// Continuations.
        chunks,
        /// Events marked as truncated by a full ring, or whose continuations ended unexpectedly.
        cut_short,
    }
}

wire_struct! {
    /// The identity of a process. A pid alone is not sufficient: it is reused.
    #[derive(Copy, Hash, PartialOrd, Ord)]
    ProcessKey {
        tgid: Tgid,
        start: BootNanos,
    }

    #[derive(Copy)]
    ProcessEnd {
        time: BootNanos,
        /// The status as wait(2) reports it.
        status: u32,
    }

    /// A process between two execs. Immutable.
    Process {
        key: ProcessKey,
        /// The parent at the fork (or in the process scan); kept when the parent ends.
        parent: Option<ProcessKey>,
        /// The process that forked: the parent, or with `CLONE_PARENT` a child of the parent.
        maker: Option<ProcessKey>,
        /// The leader's, as far as its events, a fork, an exec or the process scan show it.
        comm: Box<[u8]>,
        image: Arc<Image>,
        uid: Uid,
        gid: Gid,
        /// The cgroup from the process scan, or inherited from there: for hosts without a v2 hierarchy in use.
        cgroup: Arc<[u8]>,
        origin: Origin,
        execs: u32,
        /// How long a run of the COMMAND waited for its first exec, in nanoseconds: it is held until the probes are attached, or the
        /// user runs it again. 0 for other processes, and before that exec.
        held_ns: u64,
        /// Whether it is the COMMAND that tracetui started, or a descendant of it. Inherited at the fork, so it outlives the parents
        /// and their entries in the table.
        of_command: bool,
    }

    /// An entry of the process table.
    ProcessState {
        process: Process,
        /// Whether the process id denotes this entry.
        current: bool,
        end: Option<ProcessEnd>,
        /// The number of its events other than fork, exec and exit.
        others: u64,
        /// The time of its last event.
        latest: BootNanos,
        /// The environment of its program.
        env: Option<Vec<u8>>,
    }

    /// What an exec changes in the environment.
    #[derive(Hash)]
    EnvChange {
        /// The variables that are new or have another value, as far as values are kept, each followed by NUL: `NAME=VALUE`, `NAME=…`
        /// for a secret one, or `NAME`. All of them if the environment before is not known.
        set: Box<[u8]>,
        /// The names of the variables that are gone, each followed by NUL.
        unset: Box<[u8]>,
        /// Whether all variables before and after are known, and so those that are gone.
        known: bool,
        /// The number of variables.
        count: u32,
    }

    /// The lists of the process table. They come before its entries, whose parents may have replaced keys.
    ProcessLists {
        /// Ended processes, oldest first.
        dead: Vec<ProcessKey>,
        /// Processes from the scan whose exact start became known: old key, new key.
        settled: Vec<(ProcessKey, ProcessKey)>,
        /// The ids in `tree=ID`, and the process that each denotes.
        roots: Vec<(Tgid, Option<ProcessKey>)>,
        /// Processes from the scan whose start is only known to the clock tick, and nanoseconds per tick.
        inexact: Vec<(Tgid, u64)>,
    }

    /// The other state of the process table.
    TableState {
        /// The time of the attach.
        since: BootNanos,
        /// The number of live processes that were evicted.
        evicted: u64,
        /// The latest start of the evicted live processes.
        evicted_until: BootNanos,
        /// The process of the COMMAND, if known.
        command: Option<ProcessKey>,
        pairing: Pairing,
        /// The arguments of the COMMAND's first exec, each followed by NUL.
        command_argv: Vec<u8>,
        /// The status of the COMMAND as reported by wait(2), if it ended.
        command_status: Option<u32>,
    }

    /// The other state of the host tables. Its lists begin with the oldest entry.
    WorldState {
        /// Bytes of the names of users and groups.
        accounts: u64,
        /// The number of evicted cgroups.
        cgroups_evicted: u64,
        /// Who loaded and attached BPF programs.
        bpf: Vec<BpfDoer>,
        /// How often there was no room for a BPF program or attachment.
        bpf_left_out: u64,
        /// The loaded BPF programs, from the events.
        bpf_loads: Vec<BpfProgram>,
    }

    /// A load, a link, or an attachment without a link.
    #[derive(Copy, Hash)]
    BpfMade {
        /// 0 for a link.
        program: ProgId,
        /// 0 without one.
        link: LinkId,
        /// The mechanism; absent for a load.
        via: Option<Via>,
    }

    /// Who loaded or attached a BPF program, from the event of the call.
    BpfDoer {
        made: BpfMade,
        tgid: Tgid,
        /// The name of the thread.
        comm: Vec<u8>,
        /// The time of the event.
        time: BootNanos,
        /// The place, in earlier recordings.
        place: Vec<u8>,
        /// Whether it ended, in earlier recordings.
        ended: bool,
    }

    /// The next numbers of a (slot, CPU), and its arrivals.
    StreamState {
        /// The number of the [`tracetui_shared::kind::Slot`].
        slot: u16,
        cpu: u32,
        /// The next number of an event.
        next: u64,
        /// The time of the latest event.
        latest: BootNanos,
        /// The next number of a bookkeeping record.
        next_bookkeeping: u64,
        arrived: Arrived,
        /// The number of unreadable parts before the latest event.
        holes: u64,
    }

    /// The context of an event in an excerpt.
    Told {
        /// CLOCK_REALTIME − CLOCK_BOOTTIME at the event, in nanoseconds.
        clock_offset: i64,
        /// Its process before the event, if it changed since the previous event.
        process: Option<Process>,
        /// What an exec changed in the environment.
        env: Option<Box<EnvChange>>,
    }

    /// The counts of the pipeline and its sink for a kind.
    #[derive(Copy)]
    Counted {
        /// Delivered to the user: printed, recorded, kept.
        delivered: u64,
        /// Rejected by a filter in user space.
        filtered: u64,
        /// tracetui's own events, included in `filtered`: its COMMAND before the first exec.
        own: u64,
        /// Arrived, but not decodable.
        unread: u64,
        /// Wanted, but their lines or frames could not be written.
        unwritten: u64,
        /// Bookkeeping records that the process table took.
        kept: u64,
        /// Bookkeeping records that could not be decoded.
        kept_unread: u64,
        /// Delivered with a truncated field.
        cut: u64,
        /// Rejected by a filter, with a truncated field.
        cut_filtered: u64,
        /// io_uring requests received: each is a part of an event.
        requests: u64,
        /// io_uring requests that never completed in the trace.
        unseen: u64,
        /// Delivered without the request's arguments, because the request was not captured.
        hollow: u64,
        /// Lost, according to the `lost` rows of an excerpt.
        lost_rows: LostBy,
        /// Reported only by the kernel's own stream of programs.
        streamed: u64,
        /// Lost reports of that stream. The number of events behind them is unknown: at most this many.
        stream_lost: u64,
    }

    KindState {
        /// The number of the [`tracetui_shared::kind::Kind`].
        kind: u16,
        counted: Counted,
    }

    /// The loaded programs, oldest first.
    ProgramsState {
        /// Programs whose load only the kernel's own stream of programs reports.
        streamed: Vec<ProgId>,
        /// Programs that the COMMAND loaded.
        commands: Vec<ProgId>,
    }

    /// Frames that the pipeline holds back.
    PendingFrames {
        /// What they wait for: 0 their place in the order, 1 the rest of the arguments, 2 the completion of the request, 3 the end
        /// of the system call that loaded a program, 4 an inventory that began after a call attached or detached a program.
        stage: u8,
        /// The number of the request, if it is a request.
        number: u64,
        /// The frames, each at a multiple of 8 bytes.
        frames: Vec<u8>,
    }

    /// The other state of the pipeline, and the last frame of a state.
    Progress {
        /// The time of the latest event that arrived.
        latest: BootNanos,
        /// When the ring was last empty.
        drained: BootNanos,
        /// Records that were not frames.
        unframed: u64,
        /// Events that were delivered before they could be ordered.
        unsettled: u64,
        /// Whether the COMMAND has had its first exec.
        command_runs: bool,
        /// The time of the latest counters.
        counters: BootNanos,
        /// The time of the counters that are not yet compared with the events.
        uncompared: Option<u64>,
        /// Consecutive comparisons with missing events.
        missing_times: u32,
        /// The result of the last comparison, if events were missing.
        missing: Option<String>,
        /// io_uring requests received.
        requests: u64,
        /// Completions without a request.
        hollow: u64,
        /// Requests without a completion.
        unseen: u64,
        /// The time of the counters at which requests were last checked.
        requests_counted: BootNanos,
        /// The number of unreadable parts of the recording.
        holes: u64,
        /// Whether the last of them is after the last state. Its contents are then unknown.
        behind: bool,
        /// Events that came after a later one had been delivered.
        late: u64,
        /// The time of the latest event delivered.
        handed_on: BootNanos,
        /// The time up to which every frame has arrived.
        settled: BootNanos,
    }

    /// The screen of COMMAND's terminal.
    TerminalState {
        columns: u16,
        rows: u16,
        /// The lines above the screen, oldest first. Each ends with a newline, or with a carriage return if the next one
        /// continues it.
        above: Vec<u8>,
        /// The number of older lines that were dropped.
        dropped: u64,
        /// Text and escape sequences that draw the screen.
        screen: Vec<u8>,
        /// The beginning of an unfinished character or escape sequence.
        pending: Vec<u8>,
        /// The last character, which may be repeated; 0 for none.
        last: u32,
        /// Output bytes that were not recorded.
        missing: u64,
    }
}

/// The program of a process; shared between the entries of a process and its children until an exec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Image {
    /// The program's file; empty if unknown.
    pub exe: Box<[u8]>,
    /// The arguments, each followed by NUL; kept up to [`KEPT_ARGV`](crate::limits::KEPT_ARGV) bytes.
    pub argv: Box<[u8]>,
    /// The working directory at the exec; empty if unknown.
    pub cwd: Box<[u8]>,
    /// What the exec changed in the environment; `None` if unknown. Not in a state.
    pub env: Option<Box<EnvChange>>,
    /// The descriptors other than stdin, stdout and stderr, as the field `fds` has them; empty if they were not requested. Not in a
    /// state.
    pub fds: Box<[u8]>,
}

impl Wire for Image {
    fn put(&self, out: &mut Vec<u8>) {
        self.exe.put(out);
        self.argv.put(out);
        self.cwd.put(out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let [exe, argv, cwd] = [Wire::take(bytes)?, Wire::take(bytes)?, Wire::take(bytes)?];
        Some(Image { exe, argv, cwd, ..Image::default() })
    }
    fn each_text(&mut self, change: &mut dyn FnMut(&mut Vec<u8>)) {
        [&mut self.exe, &mut self.argv, &mut self.cwd].into_iter().for_each(|text| text.each_text(change));
    }
}

/// The origin of an entry in the process table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Origin {
    /// Older than the trace. The process scan found it.
    Seed,
    Fork,
    /// Older than the trace, but it ended or made an event before the process scan found it. Or it was evicted.
    #[default]
    Older,
    /// Added by its first event: its fork was lost.
    FirstSeen,
    /// Forked before the exec of a run of the COMMAND, for the next run. It waits for the user, and makes no event before its own exec.
    NextRun,
}

impl Wire for Origin {
    fn put(&self, out: &mut Vec<u8>) {
        (*self as u8).put(out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let number = u8::take(bytes)?;
        let all = [Origin::Seed, Origin::Fork, Origin::Older, Origin::FirstSeen, Origin::NextRun];
        Some(all.into_iter().find(|origin| *origin as u8 == number).unwrap_or_default())
    }
}

frames! {
    StateFrame {
        ProcessState = 96;
        ProcessLists = 97;
        TableState = 98;
        WorldState = 99;
        StreamState = 100;
        KindState = 101;
        PendingFrames = 102;
        Progress = 103;
        Told = 104;
        ProgramsState = 106;
        TerminalState = 107;
    }
}
