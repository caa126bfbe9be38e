//! The state of a pipeline as frames, so that a recording can be opened at any point.
//!
//! The frames are in [`StatePart`](super::host::StatePart)s, together with ordinary host frames: host, probes, clock,
//! users, groups, cgroups and counters are saved as the host frames by which they came.

use super::wire::{frames, wire_list, wire_struct};
use tracetui_shared::id::{Gid, LinkId, ProgId, Tgid, Uid};
use tracetui_shared::time::BootNanos;

wire_struct! {
    /// The identity of a process.
    #[derive(PartialOrd, Ord)]
    Key {
        tgid: Tgid,
        start: BootNanos,
    }

    /// The end of a process.
    EndState {
        time: BootNanos,
        /// The status as reported by wait(2).
        status: u32,
    }

    /// An entry of the process table.
    ProcessState {
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
        /// 0 scan, 1 fork, 2 older, 3 first event.
        origin: u8,
        /// The number of execs.
        execs: u32,
        /// Whether it belongs to the COMMAND.
        of_command: bool,
        end: Option<EndState>,
        /// The number of its events other than fork, exec and exit.
        others: u64,
        /// The time of its last event.
        latest: BootNanos,
        /// For the COMMAND: how long it waited for its first exec, in nanoseconds.
        held_ns: u64,
        /// The environment of its program.
        env: Option<Vec<u8>>,
        /// An earlier process of this state that has the same environment. `env` is then absent.
        env_as: Option<Key>,
    }

    /// A pair of keys of the process table.
    #[derive(PartialOrd, Ord)]
    KeyPair {
        /// The replaced key, or the key whose id denotes the other.
        from: Key,
        /// The replacement, or the denoted process. Absent for a root without a process.
        to: Option<Key>,
    }

    /// A process whose start is only known to the clock tick.
    #[derive(PartialOrd, Ord)]
    InexactStart {
        tgid: Tgid,
        /// Nanoseconds per tick.
        tick_ns: u64,
    }

    /// The lists of the process table. They come before its entries, whose parents may have replaced keys.
    ProcessLists {
        /// Ended processes, oldest first.
        dead: Vec<Key>,
        /// Processes from the scan whose exact start became known: old key, new key.
        settled: Vec<KeyPair>,
        /// The processes that the ids in `tree=ID` denote. Only the id of `from` is used.
        roots: Vec<KeyPair>,
        /// Processes from the scan whose exact start is unknown.
        inexact: Vec<InexactStart>,
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
        command: Option<Key>,
        /// The counters of the account's `pairing`, in the same order.
        pairing: Vec<u64>,
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
        /// Where programs were attached, from the events of these calls.
        bpf_told: Vec<BpfTold>,
        /// The loaded BPF programs, from the events.
        bpf_loads: Vec<BpfLoad>,
        /// Those in `bpf_told` that ended without an event of a system call: 256 × program + mechanism.
        bpf_told_ended: Vec<u64>,
    }

    /// A BPF program as the event of its load describes it; the inventory may miss it.
    BpfLoad {
        program: ProgId,
        /// The time of the event.
        time: BootNanos,
        /// As in [`super::host::BpfProgram`]; an unassigned number if unknown.
        prog_type: u32,
        name: Vec<u8>,
        tag: u64,
        /// Who loaded it; `u32::MAX` if unknown.
        uid: Uid,
        /// As in [`super::host::BpfProgram`].
        altering: u32,
        /// As in [`super::host::BpfProgram`].
        unknown: u8,
        /// As in [`super::host::BpfProgram`].
        helpers: u64,
    }

    /// Where a program was attached, from the event of the call; the kernel may not list it.
    BpfTold {
        program: ProgId,
        /// As in [`super::host::BpfAttachment`].
        via: u8,
        /// The time of the event.
        time: BootNanos,
        /// The place, as events name it; empty after a detachment.
        place: Vec<u8>,
    }

    /// Who loaded or attached a BPF program.
    BpfDoer {
        /// The program that was loaded, or attached without a link; else 0.
        program: ProgId,
        /// The new link; else 0.
        link: LinkId,
        /// The mechanism of an attachment without a link, as in [`super::host::BpfAttachment`]; 255 for a load.
        via: u8,
        tgid: Tgid,
        /// The name of the thread.
        comm: Vec<u8>,
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
        /// Events that arrived.
        wanted: u64,
        /// Missing events.
        gaps: u64,
        /// Bookkeeping records that arrived.
        bookkeeping: u64,
        /// Missing bookkeeping records.
        bookkeeping_gaps: u64,
        /// Continuations that arrived.
        chunks: u64,
        /// Events that arrived truncated, because of a full ring or missing continuations.
        cut_short: u64,
        /// Missing events that were in an unreadable part of a recording.
        unread: u64,
        /// The number of unreadable parts before the latest event.
        holes: u64,
    }

    /// The context of an event in an excerpt.
    Told {
        /// CLOCK_REALTIME − CLOCK_BOOTTIME at the event, in nanoseconds.
        clock_offset: i64,
        /// Its process before the event, if it changed since the previous event.
        process: Option<ProcessState>,
        /// What an exec changed in the environment.
        env: Option<EnvState>,
    }

    /// What an exec changed in the environment: the fields of `EnvChange` (environment.rs). A NUL follows each text.
    EnvState {
        set: Vec<u8>,
        unset: Vec<u8>,
        known: bool,
        count: u32,
    }

    /// The `lost` rows of a kind in an excerpt: the events that they count, by cause.
    LostRows {
        kind: u16,
        ring: u64,
        probe: u64,
        read: u64,
    }

    /// The layout of the pending frames. It comes before the first [`PendingFrames`] if records of another layout follow the state.
    PendingLayout {
        /// Whether they have the layout of the version that wrote the state, not that of the records.
        own: bool,
    }

    /// The counts of a kind.
    KindState {
        /// The number of the [`tracetui_shared::kind::Kind`].
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
        /// Lost reports of that stream.
        stream_lost: u64,
    }

    /// The loaded programs, oldest first.
    ProgramsState {
        /// Programs whose load an event reports.
        known: Vec<KnownProgram>,
        /// Programs that the COMMAND loaded.
        commands: Vec<ProgId>,
        /// Detachments that system calls reported, and the inventory did not yet.
        reported: Vec<ReportedPlace>,
        /// The times of these, in the same order.
        times: Vec<u64>,
        /// The programs that were unloaded last, oldest first.
        unloaded: Vec<ProgId>,
        /// The times of these, in the same order.
        unload_times: Vec<u64>,
        /// Of `reported`, in the same order: the number of the cgroup, socket, group of sockets, interface, map or namespace; 0
        /// elsewhere.
        spots: Vec<u64>,
    }

    /// An attachment that a system call made or ended.
    ReportedPlace {
        /// Whether it ended.
        gone: bool,
        /// 0 without a link.
        link: LinkId,
        /// 0 if unknown.
        program: ProgId,
        /// As in [`super::host::BpfAttachment`].
        via: u8,
        count: u32,
    }

    /// A program whose load an event reports. From `prog_type` on, as in [`tracetui_shared::record::bpf::BpfRecord`].
    KnownProgram {
        id: ProgId,
        /// Whether the event comes from another source than a system call.
        streamed: bool,
        prog_type: u32,
        attach_type: u32,
        uid: Uid,
        helpers: u64,
        scan: u8,
    }

    /// Frames that the pipeline holds back.
    PendingFrames {
        /// What they wait for: 0 their place in the order, 1 the rest of the arguments, 2 the completion of the request, 3 the end
        /// of the system call that loaded a program, 4 the end of the attachment, 5 an inventory that began after that end.
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

wire_list!(BpfDoer BpfLoad BpfTold Key KeyPair InexactStart KnownProgram ReportedPlace ProgId u64);

frames! {
    /// A frame of the state that is not a host frame.
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
        LostRows = 105;
        PendingLayout = 106;
        ProgramsState = 107;
        TerminalState = 108;
    }
}
