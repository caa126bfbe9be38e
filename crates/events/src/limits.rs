//! All limits, with their units and the behaviour at the limit.

use std::time::Duration;

/// Symbols of functions of BPF programs that wait for the report of their program. Further ones are left out, and the program then
/// has no whole name.
pub const BPF_SYMBOLS_WAITING: usize = 4096;

/// Loads of programs that only the kernel's stream has reported so far. Beyond it, the oldest counts as a load that no system call
/// will report.
pub const BPF_LOADS_WAITING: usize = 4096;

/// Nanoseconds that such a load waits for the end of its system call. Later events wait with it, and with an end at an unload that a
/// system call can have caused. An attachment that only the inventory reports waits as long; later events do not.
pub const BPF_LOAD_NS: u64 = 500_000_000;

/// Records of who attached or detached a program by netlink that wait for the inventory's report. The oldest is forgotten: that change
/// has no process.
pub const BPF_CALLERS: usize = 1024;

/// Nanoseconds within which the inventory reports a change of which rtnetlink sent a notification. Such a record is not of a change
/// that is reported later.
pub const BPF_CALLER_NS: u64 = 3_000_000_000;

/// Nanoseconds after the unload of a program within which rtnetlink sends the notification of the call that detached it.
pub const BPF_CALLER_AFTER_NS: u64 = 1_000_000;

/// Programs whose load is remembered as reported, with its facts. The oldest is forgotten: if it is reported once more, that counts as
/// another load.
pub const BPF_LOADS_KNOWN: usize = 16_384;

/// Places where BPF programs are attached, or calls changed that since the last inventory. Beyond it, attachments that calls report are
/// counted: their ends are missing, and if the inventory also reports them, that counts as other ones.
pub const BPF_PLACES_KNOWN: usize = 16_384;

/// Bytes of the events of the ends of attachments that calls report between two inventories.
pub const BPF_PLACES_BYTES: usize = 4 << 20;

/// Bytes of the inventory of BPF programs in a trace. Entries beyond it are left out.
pub const BPF_INVENTORY: usize = 8 << 20;

/// Loads and attachments of BPF programs whose process a trace remembers, even after that process has exited. Beyond it, the oldest is
/// forgotten.
pub const BPF_DOERS: usize = 3072;

/// Memory for the holders of BPF programs and links, in bytes. Holders beyond it are only counted.
pub const BPF_HOLDERS_BYTES: usize = 2 << 20;

/// Texts about the parts that an inventory of BPF programs could not examine, and bytes of each.
pub const BPF_UNSEEN: usize = 16;
/// See [`BPF_UNSEEN`].
pub const BPF_UNSEEN_TEXT: usize = 256;

/// Bytes of the name of a hidden BPF program.
pub const BPF_HIDDEN_NAME: usize = 512;

/// Hidden BPF programs and links that a trace keeps.
pub const BPF_HIDDEN: usize = 1024;

/// Bytes of the unloaded BPF programs that a trace keeps, and of the ended attachments, each. Those that ended first are forgotten
/// first.
pub const BPF_GONE: usize = 1 << 20;

/// Bytes of arguments that the process table keeps per process. Longer arguments are truncated there, but not in the
/// event.
pub const KEPT_ARGV: usize = 4096;

/// Ended processes in the process table. The oldest is evicted; its events keep their reference.
pub const DEAD_PROCESSES: usize = 32_768;

/// Nanoseconds for which an ended process stays in the states of a recording, if no process in them descends from it. In a build, most
/// processes of the table have ended, and each state would repeat them.
pub const ENDED_IN_STATE_NS: u64 = 1_000_000_000;

/// Cgroups whose path is kept. The oldest is evicted and counted (`cgroups_evicted`), and looked up again at its next
/// event. With `--cgroup` the kernel's map has the same size.
pub const CGROUPS: usize = 65_536;

/// Users, and groups, whose names are read. Further ones are shown as numbers.
pub const ACCOUNTS: usize = 65_536;

/// Columns and rows of the screen. The rest of a larger terminal stays empty.
pub const SCREEN: (u16, u16) = (1000, 500);

/// The same for COMMAND's terminal. A recording may claim any size.
pub const COMMAND_SCREEN: (u16, u16) = (512, 256);

/// CPUs: the maximum of the kernel (`NR_CPUS`). The numbers of records with a higher CPU are not checked.
pub const CPUS: u32 = 8_192;

/// Probes in the list. Further ones are not shown.
pub const PROBES: usize = 256;

/// Nanoseconds that events wait to be ordered: a later record in the ring may be earlier by this much.
pub const ORDER_WINDOW_NS: u64 = 20_000_000;

/// The same if an attached probe can be preempted between taking the time and writing the record
/// ([`Probe::preemptible`](crate::frame::host::Probe::preemptible)): the time that a task may wait for a busy CPU.
pub const ORDER_WINDOW_PREEMPTIBLE_NS: u64 = 250_000_000;

/// Nanoseconds that events wait to be ordered. The ring is polled for the same time after an event.
pub const fn order_window_ns(preemptible: bool) -> u64 {
    if preemptible { ORDER_WINDOW_PREEMPTIBLE_NS } else { ORDER_WINDOW_NS }
}

/// Nanoseconds that an exec waits for its continuations. Then it is delivered, truncated.
pub const CONTINUATION_NS: u64 = 1_000_000_000;

/// Bytes of the largest reassembled frame (an exec with all its continuations).
pub const FRAME_MAX: usize = 4 << 20;

/// Bytes of the largest batch of the ring's reader: [`Budget::batch`](crate::budget::Budget::batch) is between
/// [`BATCH_MIN`] and this. A batch may exceed it by one record.
pub const BATCH: usize = 1 << 20;

/// Bytes of the smallest batch. See [`BATCH`].
pub const BATCH_MIN: usize = 64 << 10;

/// Extra bytes in a batch: for the largest record of the ring, and for host frames.
pub const BATCH_SLACK: usize = 32 << 10;

/// Batches that wait between the ring's reader and the pipeline. Then the reader waits, and events are lost in the
/// kernel's ring only.
pub const BATCHES_QUEUED: usize = 24;

/// The longest time for which events wait while the traced processes use the CPU time that would be needed to show the events.
pub const LENT: Duration = Duration::from_secs(1);

/// Wrong sums that the account lists. Further ones are omitted.
pub const DISCREPANCIES: usize = 64;

/// Spare batches. Further ones, and batches of unusual size, are freed.
pub const BATCHES_SPARE: usize = 8;

/// The default of `--ring-size`, bytes.
pub const RING_DEFAULT: u64 = 16 << 20;

/// The maximum number of rings. More CPUs share them.
pub const RINGS: usize = 64;

/// The default size of each of several rings, bytes, if it is more than a share of [`RING_DEFAULT`].
pub const RING_EACH: u64 = 4 << 20;

/// The smallest ring, bytes. A page would be possible, but too small for long execs.
pub const RING_MIN: u64 = 64 << 10;

/// The largest ring, bytes: the limit of `u32` sizes and 2 GiB mappings.
pub const RING_MAX: u64 = 1 << 30;

/// The default of `--memory`: bytes of everything that grows with the trace. [`Budget`](crate::budget::Budget) divides
/// them; the maximum of each part is below. The rest is for the kept events, of which the oldest are evicted and
/// counted.
pub const MEMORY_DEFAULT: u64 = 256 << 20;

/// Share of the budget (1/n) for batches in transit and spare. With a small budget, batches are smaller.
pub const QUEUES_SHARE: u64 = 8;

/// Share of the budget (1/n) for events that wait to be ordered, at least [`FRAME_MAX`]. At the limit the oldest are
/// delivered early, and counted (`unsettled`).
pub const ORDER_SHARE: u64 = 4;

/// Share of the budget (1/n) for execs that wait for the rest of their arguments, at least [`FRAME_MAX`]. At the limit
/// the oldest is delivered, truncated.
pub const ARGUMENTS_SHARE: u64 = 8;

/// Share of the budget (1/n) for io_uring requests that wait for completion. At the limit the oldest is counted as lost.
/// If it completes after all, its event has no path, and is counted (`hollow`).
pub const REQUESTS_SHARE: u64 = 32;

/// Share of the budget (1/n) for the process table. At the limit ended processes are evicted, the oldest first; then
/// the live processes that were idle longest, which are counted (`processes_evicted`).
pub const PROCESSES_SHARE: u64 = 8;

pub const TREE_PROCESSES: usize = 32_768;

/// Share of the budget (1/n) for the tree of the dashboard. At the limit ended processes are removed: the oldest first, and failed
/// ones last. After that, no processes are added. Both are counted.
pub const TREE_SHARE: u64 = 16;

/// Groups of events that the dashboard counts. Beyond it, the half with the fewest events is merged into one group.
pub const TOP_GROUPS: usize = 8_192;

/// Share of the budget (1/n) for these groups.
pub const TOP_SHARE: u64 = 32;

/// The part (1/n) of the memory limit that the rates of the side strip may take.
pub const SIDE_SHARE: u64 = 256;

/// Share of the budget (1/n) for the paths of cgroups. See [`CGROUPS`].
pub const CGROUPS_SHARE: u64 = 32;

/// Share of the budget (1/n) for the names of users and groups. See [`ACCOUNTS`].
pub const ACCOUNTS_SHARE: u64 = 16;

/// Minimum share of the budget (1/n) for kept events.
pub const KEPT_SHARE: u64 = 4;

/// Events whose formatted fields are cached, a power of two: with so many, 90 % of the opens of a build are found.
pub const FORMATTED: usize = 8192;

/// Bytes of such an event and its text. Longer ones are not cached.
pub const FORMATTED_BYTES: usize = 1024;

/// Threads whose formatted fields are cached.
pub const FORMATTED_THREADS: usize = 64;

/// Bytes of such a thread and its texts, which contain the path of its cgroup. Longer ones are not cached.
pub const FORMATTED_THREAD_BYTES: usize = 4096;

/// Bytes of a buffer that is kept between events. A larger one, after a long exec, is freed.
pub const SCRATCH: usize = 256 << 10;

/// Bytes of the lines above the screen of COMMAND's terminal. At the limit the oldest lines are dropped and counted.
pub const COMMAND_OUTPUT: usize = 1 << 20;

/// The same for the terminal of a recording, whose states contain these lines.
pub const COMMAND_OUTPUT_RECORDED: usize = 128 << 10;

/// Bytes of COMMAND's output in a recording. Further output is only counted.
pub const OUTPUT_RECORDED: u64 = 64 << 20;

/// Bytes of COMMAND's output in one frame.
pub const OUTPUT_FRAME: usize = 64 << 10;

/// Bytes of COMMAND's output that a replay keeps, to show the screen at an earlier time. Beyond it, the oldest output can only be
/// shown as a whole.
pub const OUTPUT_REPLAYED: usize = 16 << 20;

/// Bytes of queued output. At the limit the pipeline waits, and then the ring's reader.
pub const OUTPUT_QUEUED: usize = 256 << 10;

/// The time that an output may stall after a termination signal. Then the queued output is dropped and reported: its
/// events do not count as delivered.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of frames in a block of a recording. A block is written when it has this many, and once a second. Smaller blocks compress
/// worse, and larger ones lose more when the machine stops.
pub const BLOCK: usize = 256 << 10;

/// Bytes of frames after which a recording begins a new zstd stream. Each block of a stream is smaller because of the earlier ones, but
/// cannot be read without them.
pub const STREAM: usize = 4 << 20;

/// Nanoseconds of frames after which a stream ends too, so that damage costs little of a quiet trace.
pub const STREAM_NS: u64 = 30_000_000_000;

/// Bytes of the window of these streams, as a power of two.
pub const STREAM_WINDOW: u32 = 22;

/// The same for the streams of threads, which are much shorter.
pub const THREADS_WINDOW: u32 = 17;

/// Batches that wait for the writer of a recording.
pub const BLOCKS_QUEUED: usize = 8;

/// The most bytes of frames in a block of a recording that is read. A block has at least one frame, so the largest frames must fit.
pub const BLOCK_MAX: usize = 16 << 20;

/// Bytes of frames between two states in a recording: the most that a reader must read again if it begins at a state.
pub const STATE_EVERY: usize = 8 << 20;

/// Share of the budget (1/n) for events that wait for a match of `--around`. At the limit the oldest are dropped. A window that
/// needs them begins later, and a message says so.
pub const AROUND_SHARE: u64 = 4;

/// Windows of a recording that `info` lists. Further ones are only counted.
pub const WINDOWS: usize = 10_000;

/// The minimum of `--max-size` and `--rotate` in bytes: each file begins and ends with the state of all processes.
pub const FILE_MIN: u64 = 64 << 10;

/// Bytes of an environment that are kept.
pub const KEPT_ENV: usize = 256 << 10;

/// Bytes at the start of the first block of a recording with which its states are compressed.
pub const STATE_BASE: usize = 512 << 10;

/// Bytes of a batch that is read from a recording. A larger one is split.
pub const BATCH_MAX: usize = 64 << 20;

/// Share of the budget (1/n) for a state that is read from a recording. A larger state is not used, and a message says so.
pub const STATE_SHARE: u64 = 4;

/// The minimum and the maximum of that share, in bytes. The state of 10,070 processes with three arguments each has 3.1 MiB.
pub const STATE: (usize, usize) = (16 << 20, 512 << 20);

/// Bytes of frames that are read ahead to find the options of a trace if the start of its recording is damaged: more than there are
/// between two states.
pub const AHEAD: usize = 2 * STATE_EVERY;

/// Bytes in which the next block is searched after damage: a file system may show far more zeros than it stores.
pub const DAMAGED_MAX: u64 = 1 << 30;

/// Unreadable parts of a recording that are listed. Further ones are counted.
pub const HOLES: usize = 100;

/// Bytes of an index block that is read. A larger one is not used.
pub const INDEX_MAX: usize = 1 << 20;

/// Index blocks of a file that are read, from the last one back: those of 400 GiB of frames.
pub const INDEX_STEPS: usize = 16 << 10;

/// Threads that scan a recording for a filter: each uses some 8 MiB.
pub const SCANNERS: usize = 8;

/// Blocks that they scan before the results are used.
pub const SCANNED: usize = 16 << 10;

/// Blocks that a map lists without an index. Beyond it, neighbours are merged.
pub const BLOCKS_LISTED: usize = 64 << 10;

/// Bytes of the configuration file. A larger one is refused.
pub const CONFIG_FILE: u64 = 64 << 10;

/// Characters of a filter expression.
pub const FILTER_MAX: usize = 64 << 10;

/// Depth of parentheses and `not` in a filter expression.
pub const FILTER_DEPTH: usize = 64;

/// Regexes and bare words in a filter expression. More are an error.
pub const FILTER_REGEXES: usize = 128;

/// Bytes of a compiled regex, and of its cache. A larger regex is an error; a full cache is cleared.
pub const FILTER_REGEX_SIZE: usize = 1 << 20;

/// Processes in a Perfetto trace. Beyond it, the export fails.
pub const PERFETTO_PROCESSES: usize = 262_144;

/// Bytes of memory for the texts that a Perfetto trace defines once. Further ones are written in full.
pub const PERFETTO_INTERNED: usize = 32 << 20;

/// Bytes of the name of a slice or an instant. A longer name is cut, but the argument contains it whole.
pub const PERFETTO_NAME: usize = 256;

/// Arguments in the command line of a process in a Perfetto trace.
pub const PERFETTO_CMDLINE: usize = 64;
/// The default of `diff --memory`: bytes of the data about two recordings during their comparison. Further processes and files of a
/// recording beyond its share are not compared, and differences that they might explain are reported as unknown.
pub const DIFF_MEMORY: u64 = 768 << 20;

/// Paths as passed whose comparable form is cached, per recording. At the limit the cache is cleared.
pub const DIFF_PATHS: usize = 131_072;

/// Ancestors without an event that are added to the role of a process, and consecutive programs of a process that are remembered.
pub const DIFF_DEPTH: usize = 256;

/// Processes with the same parent that are searched for the ones with the most equal arguments. Beyond it, only those that share a
/// rare argument are compared.
pub const DIFF_SIBLINGS: usize = 64;

/// Files with the same name that a process opened or looked for, up to which they are compared as searches of a name in directories.
pub const DIFF_DIRECTORIES: usize = 256;

/// BPF programs, links and maps that an inventory reads, each. Further ones are left out, and a message says so.
pub const BPF_PROGRAMS: usize = 65_536;

/// Elements of maps that an inventory reads to find the programs in them.
pub const BPF_MAP_ENTRIES: usize = 16_384;

/// Instructions of a BPF program that are scanned: the most that the kernel loads, with those that the verifier adds. The calls of
/// a longer program are unknown.
pub const BPF_INSTRUCTIONS: usize = 4 << 20;

/// Bytes of the BTF of a BPF program. If the BTF is larger, no names are read from it.
pub const BPF_BTF: usize = 16 << 20;

/// Descriptors of processes that an inventory examines. Further ones are left out, and a message says so.
pub const BPF_DESCRIPTORS: usize = 1 << 20;

/// Descriptors and pins that hold BPF objects. Further ones are left out.
pub const BPF_HOLDERS: usize = 262_144;

/// The sockets with programs of classic BPF that an inventory lists. Every user can make them.
pub const BPF_CLASSIC: usize = 1024;
/// Holders of each BPF program or link that a trace keeps: the first ones. Further ones are only counted.
pub const BPF_HOLDERS_KEPT: usize = 64;

/// Network namespaces that an inventory examines. Further ones are left out, and a message says so.
pub const BPF_NAMESPACES: usize = 1024;

/// Symbols of the kernel, and ends of sections. Further ones are left out.
pub const SYMBOLS: usize = 1 << 23;

/// Bytes of a symbol. Addresses beyond it have no symbol. The largest function of the kernel has some 20 KiB,
/// and an alignment of 1 MiB between two functions would otherwise belong to the first.
pub const SYMBOL_UNSIZED: u64 = 256 << 10;

/// Bytes of the names of BPF images. Further images have no name.
pub const IMAGES_BYTES: usize = 4 << 20;

/// Bytes of an image. A longer one is cut: the kernel makes none (a program has at most a million instructions).
pub const IMAGE_LENGTH: u32 = 16 << 20;

/// Bytes of the kernel symbols of stacks. Further addresses have no name.
pub const STACK_SYMBOLS: usize = 4 << 20;

/// Stack addresses whose symbols are known to have been sent. Beyond it, all are looked up again.
pub const STACK_ADDRESSES: usize = 65_536;

/// Changes of symbols between two reads of the ring. Further ones count as lost: the symbols are then read again.
pub const STACK_CHANGES: usize = 65_536;

/// Symbols that begin below an address and are examined to find the one that contained it at a time. Beyond it, the address has no
/// name.
pub const STACK_SYMBOLS_NEAR: usize = 1024;

/// Bytes that are read from /proc/kallsyms, and from /proc/modules. The rest is left out.
pub const KALLSYMS_BYTES: u64 = 256 << 20;

/// The shortest pause between two reads of /proc/kallsyms. Requests in between are combined.
pub const KALLSYMS_PAUSE: Duration = Duration::from_secs(1);

/// The pause between two reads of /proc/kallsyms, as a multiple of the processor time of the first.
pub const KALLSYMS_SHARE: u32 = 100;

/// Kept events before and after an event that are examined for its search, or for the directory of its process. A search that
/// reaches further is shown in part.
pub const SEARCH_AROUND: u64 = 20_000;

/// Kept events after a row of the list that are examined for the call that found its file. Beyond it, the row does not name that
/// call.
pub const SEARCH_AHEAD: u64 = 1_000;

/// Directories of a search that are listed. Further ones are only counted.
pub const SEARCH_DIRECTORIES: usize = 32;

/// Failed calls of one process that wait for an answer. Beyond it, the oldest counts as failed.
pub const SEARCH_OF_PROCESS: usize = 128;

/// Failed calls of all processes that wait for an answer. Beyond it, all are dropped and count as failed.
pub const SEARCH_CALLS: usize = 1 << 14;

/// Removed paths whose removal the line of a failed call names. Beyond it, all are dropped.
pub const REMOVALS: usize = 1 << 12;

/// Names that successful processes did not find. Beyond it, all are dropped.
pub const SEARCH_NAMES: usize = 1 << 12;

/// Nanoseconds after the end of a time span in which losses of it are looked for. Losses are counted once a second.
pub const LOSS_KNOWN_NS: u64 = 2_000_000_000;
