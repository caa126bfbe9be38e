//! The division of `--memory`: one limit for everything that grows with the trace.
//!
//! | part | counted by |
//! |---|---|
//! | batches in transit and spare | reserved: [`Budget::queues`] |
//! | execs that wait for their arguments, requests of io_uring for their end, events for their order | [`Pipeline::bytes`](crate::pipeline::Pipeline::bytes) |
//! | processes, cgroups, users | [`World::bytes`](crate::enrich::World::bytes) |
//! | the process tree and the groups of the dashboard | within its share of `--memory` |
//! | a COMMAND's output | counted with the screen |
//! | formatted fields of events | within the rest, since a trace that prints keeps no events |
//! | kept events | [`Store::bytes`](crate::store::Store::bytes): the rest |
//!
//! Every part has its own limit in [`limits`].

use crate::fifo::Fifo;
use crate::limits;
use tracetui_shared::id::CgroupId;

/// A number of bytes and its division.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget(u64);

impl Default for Budget {
    fn default() -> Budget {
        Budget(limits::MEMORY_DEFAULT)
    }
}

impl Budget {
    /// A budget of this many bytes. Very small budgets are exceeded: a batch and an exec need room.
    pub fn new(bytes: u64) -> Budget {
        Budget(bytes)
    }

    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// A share (1/n) of the bytes.
    pub fn share(self, of: u64) -> usize {
        usize::try_from(self.0 / of).unwrap_or(usize::MAX)
    }

    pub fn batch(self) -> usize {
        (self.share(limits::QUEUES_SHARE) / BATCHES).clamp(limits::BATCH_MIN, limits::BATCH)
    }

    /// Whether a batch of this size was made by the reader, and not enlarged by a large record.
    pub fn is_batch(self, room: usize) -> bool {
        (self.batch()..=self.batch() + limits::BATCH_SLACK).contains(&room)
    }

    /// Bytes of all batches, in transit or spare.
    pub fn queues(self) -> usize {
        BATCHES * (self.batch() + limits::BATCH_SLACK)
    }

    /// Bytes of batches whose events wait to be ordered.
    pub fn order(self) -> usize {
        self.share(limits::ORDER_SHARE).max(limits::FRAME_MAX)
    }

    /// Bytes of execs that wait for the rest of their arguments.
    pub fn arguments(self) -> usize {
        self.share(limits::ARGUMENTS_SHARE).max(limits::FRAME_MAX)
    }

    /// Bytes of io_uring requests that wait for completion.
    pub fn requests(self) -> usize {
        self.share(limits::REQUESTS_SHARE)
    }

    /// Bytes of the process table.
    pub fn processes(self) -> usize {
        self.share(limits::PROCESSES_SHARE)
    }

    /// Bytes of a state that is read from a recording. It is freed once the pipeline has restored it.
    pub fn state(self) -> usize {
        let (least, most) = limits::STATE;
        self.share(limits::STATE_SHARE).clamp(least, most)
    }

    /// Bytes of kept events, if everything else uses `others`.
    pub fn kept_bytes(self, others: usize) -> usize {
        self.bytes().saturating_sub(self.queues()).saturating_sub(others).max(self.share(limits::KEPT_SHARE))
    }
}

/// Bytes for a cgroup with texts of this length: in [`World`](crate::enrich::World), and in the feed, which tracks the known
/// cgroups.
pub fn cgroup_bytes(texts: usize) -> usize {
    // In `World` a path and a pointer.
    Fifo::<CgroupId, [usize; 3]>::ENTRY + Fifo::<CgroupId, ()>::ENTRY + texts + 16
}

/// Makes the allocator return large freed blocks to the system immediately. By default glibc raises the size of such
/// blocks each time one is freed, and then keeps the memory of evicted events. Call this before any thread is started.
pub fn give_back_when_freed() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes plain numbers.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 8 * LARGE);
    }
}

/// The size in bytes from which on a block has pages of its own: that of a block of events. Smaller ones would cost page
/// faults each time a table grows.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 1 << 20;

/// The most batches before the pipeline: the waiting and the spare ones, the one being filled and the one held back.
const BATCHES: usize = limits::BATCHES_QUEUED + limits::BATCHES_SPARE + 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(budget: Budget) -> usize {
        let others = budget.order()
            + budget.arguments()
            + budget.requests()
            + budget.processes()
            + budget.share(limits::CGROUPS_SHARE)
            + budget.share(limits::ACCOUNTS_SHARE);
        budget.queues() + others + budget.kept_bytes(others)
    }

    #[test]
    fn all_parts_together_are_the_budget() {
        for mib in [32, 64, 256, 4096] {
            let budget = Budget::new(mib << 20);
            assert!(all(budget) <= budget.bytes() + budget.bytes() / 16, "{mib} MiB: {}", all(budget) >> 20);
        }
        // A small one is exceeded by a known amount.
        for bytes in [1, 1 << 20, 16 << 20] {
            let budget = Budget::new(bytes);
            assert!(all(budget) <= 20 << 20, "{bytes}: {}", all(budget));
        }
        // Formatted fields fit where events would be kept.
        let formatted =
            limits::FORMATTED * limits::FORMATTED_BYTES + limits::FORMATTED_THREADS * limits::FORMATTED_THREAD_BYTES;
        for mib in [32, 64, 256, 4096] {
            let budget = Budget::new(mib << 20);
            assert!(formatted <= budget.kept_bytes(budget.bytes()) + budget.bytes() / 16, "{mib} MiB");
        }
        // Only what the reader made is filled again.
        assert_eq!(Budget::default().batch(), 986_895);
        assert_eq!(Budget::new(16 << 20).batch(), limits::BATCH_MIN);
        assert_eq!(Budget::new(4 << 30).batch(), limits::BATCH);
        let budget = Budget::new(64 << 20);
        let made = crate::frame::Batch::with_capacity(budget.batch() + limits::BATCH_SLACK);
        assert!(budget.is_batch(made.room()));
        for room in [0, 4096, budget.batch() - 1, 2 * budget.batch(), limits::FRAME_MAX] {
            assert!(!budget.is_batch(room), "{room}");
        }
    }
}
