//! Every bound, its unit, and what happens when it is reached.

use std::time::Duration;

/// Bytes of arguments that the process table keeps of each process. Longer ones are cut there; the event has them whole.
pub const KEPT_ARGV: usize = 4096;

/// Ended processes that the process table keeps. The oldest is forgotten; events that were theirs keep their own reference.
pub const DEAD_PROCESSES: usize = 32_768;

/// Cgroups whose path is known. The oldest is forgotten, and counted (`cgroups_evicted`); it is looked up again at its next
/// event. With `--cgroup` the kernel's map has as many.
pub const CGROUPS: usize = 65_536;

/// Users, and groups, whose name is read at the start. Further ones show their number.
pub const ACCOUNTS: usize = 65_536;

/// Columns and rows of the screen that are drawn on; what a terminal claims beyond stays empty.
pub const SCREEN: (u16, u16) = (1000, 500);

/// CPUs of which records are taken: as many as a kernel can have (`NR_CPUS`). Of a record that names a higher one the number
/// is not checked.
pub const CPUS: u32 = 8_192;

/// Probes whose state is kept. Further ones are not shown.
pub const PROBES: usize = 256;

/// Nanoseconds for which events wait to be put in order: a later record of the ring may be this much earlier.
pub const ORDER_WINDOW_NS: u64 = 20_000_000;

/// The same where an attached probe can be preempted between taking the time and writing the record
/// ([`Probe::preemptible`](crate::frame::host::Probe::preemptible)): as long as a task may have to wait for its turn on a
/// crowded processor.
pub const ORDER_WINDOW_PREEMPTIBLE_NS: u64 = 250_000_000;

/// For how long events wait to be put in order, in nanoseconds. The ring is looked at for as long after an event.
pub const fn order_window_ns(preemptible: bool) -> u64 {
    if preemptible { ORDER_WINDOW_PREEMPTIBLE_NS } else { ORDER_WINDOW_NS }
}

/// Nanoseconds for which an exec waits for its continuations. Then it is delivered, cut short.
pub const CONTINUATION_NS: u64 = 1_000_000_000;

/// Bytes of the largest frame that is put together (an exec with all its continuations).
pub const FRAME_MAX: usize = 4 << 20;

/// Bytes of the largest batch that the ring's reader hands over, and of the smallest: [`Budget::batch`](crate::budget::Budget::batch)
/// is between them. What would make it longer goes to the next one, but for one record.
pub const BATCH: usize = 1 << 20;

/// See [`BATCH`].
pub const BATCH_MIN: usize = 64 << 10;

/// Bytes that a batch has room for beyond its size: the largest record of the ring, and what the host adds.
pub const BATCH_SLACK: usize = 32 << 10;

/// Batches that wait between the ring's reader and the pipeline. Then the reader stops reading, and the kernel's ring
/// is the one place that loses events.
pub const BATCHES_QUEUED: usize = 24;

/// Sums that do not hold which the account names. Further ones are not named.
pub const DISCREPANCIES: usize = 64;

/// Batches that wait to be filled again. Further ones, and those that are not of the usual size, are freed.
pub const BATCHES_SPARE: usize = 8;

/// The default of `--ring-size`, bytes.
pub const RING_DEFAULT: u64 = 16 << 20;

/// The smallest ring, bytes: a page would do, but no long exec would fit.
pub const RING_MIN: u64 = 64 << 10;

/// The largest ring, bytes: what `u32` sizes and 2 GiB mappings allow.
pub const RING_MAX: u64 = 1 << 30;

/// The default of `--memory`, bytes of everything that grows with what is traced. [`Budget`](crate::budget::Budget) divides
/// them: below, the most that each part may take. What the parts do not take is left to the kept events, of which the
/// oldest are evicted, and counted.
pub const MEMORY_DEFAULT: u64 = 256 << 20;

/// Of the budget, for batches on their way and spare: one part in so many. Batches are smaller then.
pub const QUEUES_SHARE: u64 = 8;

/// Of the budget, for events that wait for their order to settle: one part in so many, but [`FRAME_MAX`] at least. Then the
/// oldest are handed on at once, and counted (`unsettled`).
pub const ORDER_SHARE: u64 = 4;

/// Of the budget, for execs that wait for the rest of their arguments: one part in so many, but [`FRAME_MAX`] at least. Then
/// the one that waits longest is delivered, cut short.
pub const ARGUMENTS_SHARE: u64 = 8;

/// Part of the memory (1/n) for requests of io_uring whose end was not seen yet. The oldest are forgotten: their events come
/// without a path, and are counted as hollow.
pub const REQUESTS_SHARE: u64 = 32;

/// Of the budget, for the process table: one part in so many. Then ended processes are forgotten, the oldest first; when there
/// are none, the living that did nothing for longest, and they are counted (`processes_evicted`).
pub const PROCESSES_SHARE: u64 = 8;

/// Of the budget, for the paths of cgroups: one part in so many. As [`CGROUPS`] says.
pub const CGROUPS_SHARE: u64 = 32;

/// Of the budget, for the names of users and groups: one part in so many. As [`ACCOUNTS`] says.
pub const ACCOUNTS_SHARE: u64 = 16;

/// Of the budget, for kept events at least: one part in so many.
pub const KEPT_SHARE: u64 = 4;

/// Bytes of a buffer that is kept from one event to the next. A longer one, which a long exec made, is given back.
pub const SCRATCH: usize = 256 << 10;

/// Bytes that what a COMMAND writes takes while the dashboard has the screen. The oldest lines are dropped, and counted.
pub const COMMAND_OUTPUT: usize = 1 << 20;

/// Bytes of a line of a COMMAND's output that are one row. A longer line is several.
pub const COMMAND_LINE: usize = 4096;

/// Bytes of output that wait for a reader. Then no more events are taken from the ring's reader, which then waits too.
pub const OUTPUT_QUEUED: usize = 256 << 10;

/// For how long an output may take nothing after a signal asked tracetui to end. Then what waits is given up, and said to be:
/// its events do not count as delivered.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Characters of a filter expression.
pub const FILTER_MAX: usize = 64 << 10;

/// Depth of parentheses and `not` in a filter expression.
pub const FILTER_DEPTH: usize = 64;

/// Regexes and bare words in a filter expression. One with more is refused.
pub const FILTER_REGEXES: usize = 128;

/// Bytes of a compiled regex, and of its cache. A larger one is refused; a fuller cache is emptied.
pub const FILTER_REGEX_SIZE: usize = 1 << 20;
