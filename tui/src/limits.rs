//! Every bound, its unit, and what happens when it is reached.

use std::time::Duration;

/// Bytes of arguments that the process table keeps of each process. Longer ones are cut there; the event has them whole.
pub const KEPT_ARGV: usize = 4096;

/// Ended processes that the process table keeps. The oldest is forgotten; events that were theirs keep their own reference.
pub const DEAD_PROCESSES: usize = 32_768;

/// Cgroups whose path is known. Further ones show no path (`vanished`).
pub const CGROUPS: usize = 65_536;

/// Nanoseconds for which events wait to be put in order: a later record of the ring may be this much earlier.
pub const ORDER_WINDOW_NS: u64 = 20_000_000;

/// The same where a probe can be preempted between taking the time and writing the record (7.0): as long as a task may have
/// to wait for its turn on a crowded processor.
pub const ORDER_WINDOW_PREEMPTIBLE_NS: u64 = 250_000_000;

/// Nanoseconds for which an exec waits for its continuations. Then it is delivered, cut short.
pub const CONTINUATION_NS: u64 = 1_000_000_000;

/// Bytes of the largest frame that is put together (an exec with all its continuations).
pub const FRAME_MAX: usize = 4 << 20;

/// Bytes of a batch that the ring's reader hands over.
pub const BATCH: usize = 1 << 20;

/// Batches that wait between the ring's reader and the pipeline. Then the reader stops reading, and the kernel's ring
/// is the one place that loses events.
pub const BATCHES_QUEUED: usize = 24;

/// The default of `--ring-size`, bytes.
pub const RING_DEFAULT: u64 = 16 << 20;

/// The smallest ring, bytes: a page would do, but no long exec would fit.
pub const RING_MIN: u64 = 64 << 10;

/// The largest ring, bytes: what `u32` sizes and 2 GiB mappings allow.
pub const RING_MAX: u64 = 1 << 30;

/// The default of `--memory`, bytes of kept events. The oldest are evicted, and counted.
pub const MEMORY_DEFAULT: u64 = 256 << 20;

/// Bytes that are kept of what a COMMAND writes while the dashboard has the screen. The oldest lines are dropped, and counted.
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
