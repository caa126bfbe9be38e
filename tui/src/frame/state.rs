//! What a pipeline knows at some point of a trace, as frames: so a recording can be opened at that point.
//!
//! They stand in [`StatePart`](super::host::StatePart)s, among ordinary host frames: host, probes, clock, users, groups, cgroups
//! and counters are said the way in which they came.

use super::wire::{frames, wire_list, wire_struct};
use tracetui_shared::id::{Gid, Tgid, Uid};
use tracetui_shared::time::BootNanos;

wire_struct! {
    /// A process's identity.
    #[derive(PartialOrd, Ord, Eq)]
    Key {
        /// Process.
        tgid: Tgid,
        /// Its start.
        start: BootNanos,
    }

    /// The end of a process.
    EndState {
        /// When.
        time: BootNanos,
        /// The wait status.
        status: u32,
    }

    /// An entry of the process table.
    ProcessState {
        /// Which.
        key: Key,
        /// Whether its process id stands for it.
        current: bool,
        /// The parent at the fork.
        parent: Option<Key>,
        /// The process that made the fork.
        maker: Option<Key>,
        /// The leader's name.
        comm: Vec<u8>,
        /// The program's file.
        exe: Vec<u8>,
        /// The arguments that are kept.
        argv: Vec<u8>,
        /// The working directory at the exec.
        cwd: Vec<u8>,
        /// Real user.
        uid: Uid,
        /// Real group.
        gid: Gid,
        /// The cgroup from the process scan.
        cgroup: Vec<u8>,
        /// How it came into the table: 0 scan, 1 fork, 2 older, 3 first event.
        origin: u8,
        /// How often an exec was seen.
        execs: u32,
        /// Whether it is of the COMMAND.
        of_command: bool,
        /// Its end.
        end: Option<EndState>,
        /// Events that were no fork, exec or exit.
        others: u64,
        /// When it last did something.
        latest: BootNanos,
    }

    /// Two keys of the process table that belong together.
    #[derive(PartialOrd, Ord, Eq)]
    KeyPair {
        /// The one.
        from: Key,
        /// The other; none for a root that is not known yet.
        to: Option<Key>,
    }

    /// A process whose start is known to the clock tick.
    #[derive(PartialOrd, Ord, Eq)]
    InexactStart {
        /// Process.
        tgid: Tgid,
        /// Nanoseconds of a tick.
        tick_ns: u64,
    }

    /// The lists of the process table. Before its entries: their parents may bear keys that were settled.
    ProcessLists {
        /// Ended processes, the oldest first.
        dead: Vec<Key>,
        /// Seeds whose exact start became known: as they were, and as they are.
        settled: Vec<KeyPair>,
        /// The processes that ids in `tree=ID` stand for; of `from` only the id means something.
        roots: Vec<KeyPair>,
        /// Seeds whose exact start is not known.
        inexact: Vec<InexactStart>,
    }

    /// What else the process table knows.
    TableState {
        /// When the probes were attached.
        since: BootNanos,
        /// Living processes that were forgotten.
        evicted: u64,
        /// The latest start among them.
        evicted_until: BootNanos,
        /// Which process the COMMAND is, once it was met.
        command: Option<Key>,
        /// The counters of the account's `pairing`, in its order.
        pairing: Vec<u64>,
    }

    /// What else is known of the host.
    WorldState {
        /// Bytes of the names of users and groups.
        accounts: u64,
        /// Cgroups that were forgotten.
        cgroups_evicted: u64,
    }

    /// Where the numbers of a (slot, CPU) stand, and what arrived of them.
    StreamState {
        /// [`tracetui_shared::kind::Slot`].
        slot: u16,
        /// The CPU.
        cpu: u32,
        /// The next number.
        next: u64,
        /// The time of the latest event.
        latest: BootNanos,
        /// The next number of a bookkeeping record.
        next_bookkeeping: u64,
        /// Events that arrived.
        wanted: u64,
        /// Numbers of events that are missing.
        gaps: u64,
        /// Bookkeeping records that arrived.
        bookkeeping: u64,
        /// Numbers of bookkeeping records that are missing.
        bookkeeping_gaps: u64,
        /// Continuations that arrived.
        chunks: u64,
        /// Events that came cut short.
        cut_short: u64,
    }

    /// What became of the events of a kind.
    KindState {
        /// [`tracetui_shared::kind::Kind`].
        kind: u16,
        /// Handed to the user.
        delivered: u64,
        /// Rejected by a filter.
        filtered: u64,
        /// tracetui's own among these.
        own: u64,
        /// Not decodable.
        unread: u64,
        /// Bookkeeping records.
        kept: u64,
        /// Bookkeeping records that were not decodable.
        kept_unread: u64,
        /// Delivered with a field cut short.
        cut: u64,
    }

    /// A frame that waits.
    PendingFrame {
        /// For what: 0 for its order to settle, 1 for the rest of its arguments, 2 for its end.
        stage: u8,
        /// The number of a request among requests.
        number: u64,
        /// The frame.
        frame: Vec<u8>,
    }

    /// What else the pipeline knows.
    Progress {
        /// The latest event that came.
        latest: BootNanos,
        /// When nothing waited in the ring.
        drained: BootNanos,
        /// Records that were no frames.
        unframed: u64,
        /// Events that were handed on before their order was settled.
        unsettled: u64,
        /// Whether the COMMAND has had its first exec.
        command_runs: bool,
        /// The time of the latest counters.
        counters: BootNanos,
        /// When the counters were read that were not compared yet.
        uncompared: Option<u64>,
        /// How many times in a row events were missing.
        missing_times: u32,
        /// What was missing.
        missing: Option<String>,
        /// Requests of io_uring that were taken in.
        requests: u64,
        /// Ends whose request was not seen.
        hollow: u64,
        /// Requests whose end was not seen.
        unseen: u64,
        /// When the requests were counted.
        requests_counted: BootNanos,
    }
}

wire_list!(Key KeyPair InexactStart u64);

frames! {
    /// A frame of the state that is no ordinary host frame.
    StateFrame {
        /// An entry of the process table.
        ProcessState = 96;
        /// Lists of the process table.
        ProcessLists = 97;
        /// The rest of the process table.
        TableState = 98;
        /// The rest of the host.
        WorldState = 99;
        /// Where numbers stand.
        StreamState = 100;
        /// What became of events.
        KindState = 101;
        /// A frame that waits.
        PendingFrame = 102;
        /// The rest of the pipeline. The last of these frames.
        Progress = 103;
    }
}
