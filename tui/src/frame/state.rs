//! The state of a pipeline as frames, so that a recording can be opened at any point.
//!
//! The frames are in [`StatePart`](super::host::StatePart)s, together with ordinary host frames: host, probes, clock,
//! users, groups, cgroups and counters are saved as the host frames by which they came.

use super::wire::{frames, wire_list, wire_struct};
use tracetui_shared::id::{Gid, LinkId, ProgId, Tgid, Uid};
use tracetui_shared::time::BootNanos;

wire_struct! {
    /// The identity of a process.
    #[derive(PartialOrd, Ord, Eq)]
    Key {
        /// The process id.
        tgid: Tgid,
        /// The start of the process.
        start: BootNanos,
    }

    /// The end of a process.
    EndState {
        /// The time of the exit.
        time: BootNanos,
        /// The status as reported by wait(2).
        status: u32,
    }

    /// An entry of the process table.
    ProcessState {
        /// The identity of the process.
        key: Key,
        /// Whether the process id denotes this entry.
        current: bool,
        /// The parent at the fork.
        parent: Option<Key>,
        /// The process that forked.
        maker: Option<Key>,
        /// The name of the thread group leader.
        comm: Vec<u8>,
        /// The executed file.
        exe: Vec<u8>,
        /// The arguments that the table keeps.
        argv: Vec<u8>,
        /// The working directory at the exec.
        cwd: Vec<u8>,
        /// The real user.
        uid: Uid,
        /// The real group.
        gid: Gid,
        /// The cgroup from the process scan.
        cgroup: Vec<u8>,
        /// The origin of the entry: 0 scan, 1 fork, 2 older, 3 first event.
        origin: u8,
        /// The number of execs.
        execs: u32,
        /// Whether it belongs to the COMMAND.
        of_command: bool,
        /// The end of the process, if it ended.
        end: Option<EndState>,
        /// The number of its events other than fork, exec and exit.
        others: u64,
        /// The time of its last event.
        latest: BootNanos,
        /// How long it waited for its first exec, in nanoseconds, if it is the COMMAND.
        held_ns: u64,
    }

    /// A pair of keys of the process table.
    #[derive(PartialOrd, Ord, Eq)]
    KeyPair {
        /// The key that is replaced, or whose id denotes the other.
        from: Key,
        /// The replacement, or the denoted process; `None` for a root without a process.
        to: Option<Key>,
    }

    /// A process whose start is only known to the clock tick.
    #[derive(PartialOrd, Ord, Eq)]
    InexactStart {
        /// The process id.
        tgid: Tgid,
        /// The length of a tick in nanoseconds.
        tick_ns: u64,
    }

    /// The lists of the process table. They come before its entries, whose parents may have keys that were replaced.
    ProcessLists {
        /// Ended processes, oldest first.
        dead: Vec<Key>,
        /// The keys of processes from the scan whose exact start became known: old key, new key.
        settled: Vec<KeyPair>,
        /// The processes that the ids in `tree=ID` denote. Only the id of `from` is used.
        roots: Vec<KeyPair>,
        /// Processes from the scan whose exact start is not known.
        inexact: Vec<InexactStart>,
    }

    /// The other state of the process table.
    TableState {
        /// The time when the probes were attached.
        since: BootNanos,
        /// The number of live processes that were evicted.
        evicted: u64,
        /// The latest start of the evicted live processes.
        evicted_until: BootNanos,
        /// The process of the COMMAND, if known.
        command: Option<Key>,
        /// The counters of the account's `pairing`, in the same order.
        pairing: Vec<u64>,
        /// The arguments of the first exec of the COMMAND, each followed by NUL.
        command_argv: Vec<u8>,
        /// The status of the COMMAND as reported by wait(2), if it ended.
        command_status: Option<u32>,
    }

    /// The other state of the host tables.
    WorldState {
        /// Bytes of the names of users and groups.
        accounts: u64,
        /// The number of evicted cgroups.
        cgroups_evicted: u64,
        /// Who loaded and attached BPF programs, the oldest first.
        bpf: Vec<BpfDoer>,
        /// How often there was no room for a BPF program or attachment.
        bpf_left_out: u64,
        /// Where programs were attached, by the events of these calls; the oldest first.
        bpf_told: Vec<BpfTold>,
        /// The BPF programs that were loaded, by the events; the oldest first.
        bpf_loads: Vec<BpfLoad>,
    }

    /// A BPF program as the event of its load has it: the inventory may not meet it.
    #[derive(Eq)]
    BpfLoad {
        /// The program.
        program: ProgId,
        /// The time of the event.
        time: BootNanos,
        /// Its type, as in [`super::host::BpfProgram`]; a number that no type has if it is not known.
        prog_type: u32,
        /// Its name.
        name: Vec<u8>,
        /// Its tag.
        tag: u64,
        /// Who loaded it; `u32::MAX` if that is not known.
        uid: Uid,
        /// The helpers that it calls, as in [`super::host::BpfProgram`].
        altering: u32,
        /// Why they are not known, as in [`super::host::BpfProgram`].
        unknown: u8,
    }

    /// Where a program was attached, by the event of the call: the kernel may not list it.
    #[derive(Eq)]
    BpfTold {
        /// The program.
        program: ProgId,
        /// The mechanism, as in [`super::host::BpfAttachment`].
        via: u8,
        /// The time of the event.
        time: BootNanos,
        /// The place, as events name it; empty if it was detached.
        place: Vec<u8>,
    }

    /// Who loaded a BPF program, or attached one.
    #[derive(Eq)]
    BpfDoer {
        /// The program that was loaded, or attached without a link; else 0.
        program: ProgId,
        /// The link that was made; else 0.
        link: LinkId,
        /// The mechanism of an attachment without a link, as in [`super::host::BpfAttachment`]; of a load 255.
        via: u8,
        /// The process.
        tgid: Tgid,
        /// The name of the thread.
        comm: Vec<u8>,
    }

    /// The next numbers of a (slot, CPU), and its arrivals.
    StreamState {
        /// The [`tracetui_shared::kind::Slot`], as a number.
        slot: u16,
        /// The CPU.
        cpu: u32,
        /// The next number of an event.
        next: u64,
        /// The time of the latest event.
        latest: BootNanos,
        /// The next number of a bookkeeping record.
        next_bookkeeping: u64,
        /// The number of events that arrived.
        wanted: u64,
        /// The number of missing events.
        gaps: u64,
        /// The number of bookkeeping records that arrived.
        bookkeeping: u64,
        /// The number of missing bookkeeping records.
        bookkeeping_gaps: u64,
        /// The number of continuations that arrived.
        chunks: u64,
        /// The number of events that arrived truncated because of a full ring or missing continuations.
        cut_short: u64,
        /// The number of missing events that were in a part of a recording that cannot be read.
        unread: u64,
        /// The number of such parts before the latest event.
        holes: u64,
    }

    /// What an event of an excerpt contains beside its record.
    Told {
        /// CLOCK_REALTIME − CLOCK_BOOTTIME at the event, in nanoseconds.
        clock_offset: i64,
        /// Its process before the event, if it is not as it was at the event before.
        process: Option<ProcessState>,
    }

    /// The `lost` rows of a kind in an excerpt.
    LostRows {
        /// The kind.
        kind: u16,
        /// The events that they count, by cause: ring, probe, read.
        ring: u64,
        /// See `ring`.
        probe: u64,
        /// See `ring`.
        read: u64,
    }

    /// Comes before the first [`PendingFrames`] if records of another layout follow the state.
    PendingLayout {
        /// Whether the pending frames have the layout of the version that wrote the state, not that of the records.
        own: bool,
    }

    /// The counts of the events of a kind.
    KindState {
        /// The [`tracetui_shared::kind::Kind`], as a number.
        kind: u16,
        /// Delivered to the user.
        delivered: u64,
        /// Rejected by a filter.
        filtered: u64,
        /// tracetui's own events, included in `filtered`.
        own: u64,
        /// Arrived, but not decodable.
        unread: u64,
        /// Bookkeeping records that the process table took.
        kept: u64,
        /// Bookkeeping records that could not be decoded.
        kept_unread: u64,
        /// Delivered with a truncated field.
        cut: u64,
        /// Seen only by the kernel's own stream of programs.
        streamed: u64,
        /// Reports of that stream that were lost.
        stream_lost: u64,
    }

    /// Programs that came, by their ids, the oldest first.
    ProgramsState {
        /// Those whose load an event reports.
        known: Vec<KnownProgram>,
        /// Those that the COMMAND loaded.
        commands: Vec<ProgId>,
        /// Attachments and detachments that system calls reported, and the inventory did not yet.
        reported: Vec<ReportedPlace>,
        /// The times of these, one after another.
        times: Vec<u64>,
    }

    /// An attachment that a system call made or ended.
    ReportedPlace {
        /// Whether it ended.
        gone: bool,
        /// The link; 0 without one.
        link: LinkId,
        /// The program; 0 if not known.
        program: ProgId,
        /// The mechanism, as in [`super::host::BpfAttachment`].
        via: u8,
        /// How many.
        count: u32,
    }

    /// A program whose load an event reports.
    KnownProgram {
        /// Its id.
        id: ProgId,
        /// Whether that is not the event of a system call.
        streamed: bool,
        /// What the event says of it, as in [`tracetui_shared::record::bpf::BpfRecord`].
        prog_type: u32,
        /// See `prog_type`.
        attach_type: u32,
        /// See `prog_type`.
        uid: Uid,
        /// See `prog_type`.
        helpers: u64,
        /// See `prog_type`.
        scan: u8,
    }

    /// Frames that the pipeline holds back.
    PendingFrames {
        /// What it waits for: 0 for its place in the order, 1 for the rest of its arguments, 2 for the completion of
        /// the request, 3 for the end of the system call that loaded a program.
        stage: u8,
        /// The number of the request, if it is a request.
        number: u64,
        /// The frames, each at a multiple of 8 bytes.
        frames: Vec<u8>,
    }

    /// The other state of the pipeline.
    Progress {
        /// The time of the latest event that arrived.
        latest: BootNanos,
        /// The time at which the ring was last empty.
        drained: BootNanos,
        /// The number of records that were not frames.
        unframed: u64,
        /// The number of events that were delivered before they could be ordered.
        unsettled: u64,
        /// Whether the COMMAND has had its first exec.
        command_runs: bool,
        /// The time of the latest counters.
        counters: BootNanos,
        /// The time of the counters that are not yet compared with the events.
        uncompared: Option<u64>,
        /// The number of consecutive comparisons with missing events.
        missing_times: u32,
        /// The result of the last comparison, if events were missing.
        missing: Option<String>,
        /// The number of io_uring requests received.
        requests: u64,
        /// The number of completions without a request.
        hollow: u64,
        /// The number of requests without a completion.
        unseen: u64,
        /// The time of the counters at which requests were last checked.
        requests_counted: BootNanos,
        /// The number of parts of a recording that could not be read.
        holes: u64,
        /// Whether the last of them is after the last state: what was in it is not known yet.
        behind: bool,
        /// The number of events that came after a later one had been handed on.
        late: u64,
        /// The time of the latest event that was handed on.
        handed_on: BootNanos,
    }

    /// The screen of COMMAND's terminal.
    TerminalState {
        /// Its columns.
        columns: u16,
        /// Its rows.
        rows: u16,
        /// The lines above the screen, oldest first. Each ends with a newline, or with a carriage return if the next one continues it.
        above: Vec<u8>,
        /// The older lines that were dropped.
        dropped: u64,
        /// What makes the screen: text and escape sequences.
        screen: Vec<u8>,
        /// The beginning of a character or an escape sequence whose rest follows.
        pending: Vec<u8>,
        /// The last character, which may be repeated; 0 for none.
        last: u32,
        /// The bytes of the output that were not recorded.
        missing: u64,
    }
}

wire_list!(BpfDoer BpfLoad BpfTold Key KeyPair InexactStart KnownProgram ReportedPlace ProgId u64);

frames! {
    /// A frame of the state that is not a host frame.
    StateFrame {
        /// An entry of the process table.
        ProcessState = 96;
        /// Lists of the process table.
        ProcessLists = 97;
        /// The other state of the process table.
        TableState = 98;
        /// The other state of the host tables.
        WorldState = 99;
        /// The numbers and arrivals of a (slot, CPU).
        StreamState = 100;
        /// The counts of a kind.
        KindState = 101;
        /// Frames that the pipeline holds back.
        PendingFrames = 102;
        /// The other state of the pipeline. It is the last of these frames.
        Progress = 103;
        /// What an event of an excerpt contains beside its record.
        Told = 104;
        /// The `lost` rows of a kind in an excerpt.
        LostRows = 105;
        /// The layout of the pending frames.
        PendingLayout = 106;
        /// Programs that came.
        ProgramsState = 107;
        /// The screen of COMMAND's terminal.
        TerminalState = 108;
    }
}
