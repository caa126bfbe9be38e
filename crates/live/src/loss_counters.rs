//! The counters of the kernel side: events met, lost and skipped.

use super::Plain;
use aya::maps::{Array, IterableMap as _, MapData};
use rustix::thread::{MembarrierCommand, membarrier};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tracetui_host::bpf::info;
use tracetui_host::mmap::Mapping;
use tracetui_shared::counters::{CpuState, SlotCounters};
use tracetui_shared::kind::{Kind, SLOTS, Shows, Slot};

/// The counters of every possible CPU: the map `CPUS`, mapped read-only. They are not read with bpf(2), which would
/// keep programs of functions from running on the copying CPU ([`Live::skips`](super::Live::skips)).
#[derive(Debug)]
pub(super) struct CpuStates {
    states: Mapping,
    cpus: usize,
}

/// The number of words in the counters of one CPU.
const WORDS: usize = size_of::<CpuState>() / size_of::<u64>();

const _: () = assert!(size_of::<CpuState>() == WORDS * size_of::<u64>() && size_of::<SlotCounters>().is_multiple_of(8));

impl CpuStates {
    pub(super) fn map(map: &Array<MapData, Plain<CpuState>>) -> io::Result<CpuStates> {
        let cpus = map.len() as usize;
        Ok(CpuStates { states: Mapping::new(map.map().fd().as_fd(), 0, cpus * size_of::<CpuState>(), false)?, cpus })
    }

    /// `N` words of the mapping, from word `first` on.
    fn words<const N: usize>(&self, first: usize) -> [u64; N] {
        std::array::from_fn(|at| self.states.word(8 * (first + at)).load(Ordering::Acquire))
    }

    /// The counters. Programs may run during the read, so this is not a snapshot of one instant.
    pub(super) fn read(&self) -> Vec<CpuState> {
        (0..self.cpus).map(|cpu| zerocopy::transmute!(self.words::<WORDS>(cpu * WORDS))).collect()
    }

    /// Whether every event that was met has its outcome, so that no program is between the two. An event that is met
    /// later takes its time later. An event that was met before has its record in the ring, or is lost.
    pub(super) fn are_balanced(&self) -> bool {
        const SLOT: usize = size_of::<SlotCounters>() / size_of::<u64>();
        (0..self.cpus).flat_map(|cpu| (0..SLOTS).map(move |slot| cpu * WORDS + slot * SLOT)).all(|first| {
            let counters: SlotCounters = zerocopy::transmute!(self.words::<SLOT>(first));
            let [met, ..] = counters.sums();
            met.left == met.right
        })
    }
}

/// Opens a file that does not exist, and returns whether a probe reported it. If a tracepoint is attached but never
/// reached, the counters show neither opens nor losses.
pub(super) fn sees_an_open(cpus: &CpuStates) -> bool {
    const TRIES: u32 = 10;
    let met = || -> u64 {
        let slots = || Slot::of_kind(Kind::CHECKED).filter(|slot| slot.shows() == Shows::Most);
        cpus.read().iter().flat_map(|cpu| slots().map(|slot| cpu.slots[slot as usize].met)).sum()
    };
    let before = met();
    // Tries several times, because the kernel skips a program that a preempted task is already running on this CPU.
    (0..TRIES).any(|_| {
        let _ = std::fs::File::open("");
        met() != before
    })
}

/// The number of skips of a program: `bpf_prog_info.recursion_misses` (5.12+). aya does not expose it.
pub(super) fn skips(program: &OwnedFd) -> u64 {
    info(program).map_or(0, |info| info.u64(208))
}

/// Waits until no program of tracetui runs any more. Call it after all were detached. Programs run in RCU read-side
/// critical sections, and membarrier(2) waits for those that were running. Preemptible programs run under SRCU instead,
/// and user space cannot wait for that. In this case the function waits until the counters stay unchanged.
pub(super) fn settle(cpus: &CpuStates, preemptible: bool) {
    const STILL: Duration = Duration::from_millis(20);
    const TRIES: u32 = 50;
    let _ = membarrier(MembarrierCommand::Global);
    if !preemptible {
        return;
    }
    let mut last = cpus.read();
    for _ in 0..TRIES {
        std::thread::sleep(STILL);
        let now = cpus.read();
        if now == last {
            return;
        }
        last = now;
    }
}
