//! What the probes count, for each slot and CPU. Never reset, and but for a number that is given back
//! ([`Reason::NoPlace`]) only ever incremented; user space takes sums.
//!
//! Every event is counted twice by different instructions: in `met` when its program begins, and once more where it went.
//! So the two sides of each sum can differ, and user space checks them ([`SlotCounters::sums`]).
//!
//! # Versioning
//! A counters frame names a counter by the place of its word in [`CpuState`]. A word keeps its meaning; new ones take the place
//! of spare ones (`reserved`), which no older frame names, or come after all others.

use crate::kind::SLOTS;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Why an event was let go on purpose, or for want of something, after it was met.
#[repr(usize)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Reason {
    /// seccomp answered the call by a signal (`SECCOMP_RET_TRAP`): it was never made.
    Trapped = 0,
    /// The program has no place to put the record together: an element is missing from its map. Never seen.
    NoPlace = 1,
}

/// How many [`Reason`]s there are.
pub const REASONS: usize = Reason::ALL.len();

impl Reason {
    /// Every reason, in the order of [`SlotCounters::dropped`].
    pub const ALL: [Reason; 2] = [Reason::Trapped, Reason::NoPlace];

    /// Its name in the account.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Trapped => "trapped",
            Reason::NoPlace => "no_place",
        }
    }

    /// Whether an event is missing that should have been shown. Else there was none to show.
    pub const fn is_loss(self) -> bool {
        match self {
            Reason::Trapped => false,
            Reason::NoPlace => true,
        }
    }
}

/// Counters of one slot on one CPU. The words that most events touch come first, on one cache line.
///
/// "Wanted" events passed the capture filter. Those that did not, but are sent for the process table, are called
/// bookkeeping and numbered apart.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SlotCounters {
    /// Events that the program met: counted before anything else is done.
    pub met: u64,
    /// Wanted events: numbers taken, also those that found no room.
    pub wanted: u64,
    /// Wanted events whose record the ring took.
    pub sent: u64,
    /// Rejected by the capture filter and not sent.
    pub filtered: u64,
    /// Rejected by the capture filter, meant for the process table all the same: numbers taken.
    pub bookkeeping: u64,
    /// Bookkeeping records that the ring took.
    pub sent_bookkeeping: u64,
    /// Caused by tracetui itself and not sent.
    pub own: u64,
    /// Wanted events that found no room in the ring.
    pub lost_ring: u64,
    /// Bookkeeping records that found no room in the ring.
    pub lost_bookkeeping: u64,
    /// Continuations that the ring took, also those that only say that no more comes.
    pub sent_chunks: u64,
    /// Events that were sent cut short, because the ring had no room for all of their arguments.
    pub cut_short: u64,
    /// Events that were let go, by [`Reason`].
    pub dropped: [u64; REASONS],
    /// Not used; 0. Makes the counters two cache lines.
    pub reserved: [u64; 3],
}

const _: () = assert!(size_of::<SlotCounters>() == 128);

/// Two figures that must be equal once the programs have ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sum {
    /// The equation, in the names of [`SlotCounters`].
    pub text: &'static str,
    /// Its left side.
    pub left: u64,
    /// Its right side.
    pub right: u64,
}

impl SlotCounters {
    /// What must hold within the kernel's own figures. Wrapping, because a damaged recording may hold any number.
    pub fn sums(&self) -> [Sum; 3] {
        let dropped = self.dropped.iter().fold(0, |sum: u64, n| sum.wrapping_add(*n));
        let add = |terms: &[u64]| terms.iter().fold(0, |sum: u64, n| sum.wrapping_add(*n));
        [
            Sum {
                text: "met = sent + lost_ring + sent_bookkeeping + lost_bookkeeping + filtered + own + dropped",
                left: self.met,
                right: add(&[
                    self.sent,
                    self.lost_ring,
                    self.sent_bookkeeping,
                    self.lost_bookkeeping,
                    self.filtered,
                    self.own,
                    dropped,
                ]),
            },
            Sum { text: "wanted = sent + lost_ring", left: self.wanted, right: add(&[self.sent, self.lost_ring]) },
            Sum {
                text: "bookkeeping = sent_bookkeeping + lost_bookkeeping",
                left: self.bookkeeping,
                right: add(&[self.sent_bookkeeping, self.lost_bookkeeping]),
            },
        ]
    }

    /// These counters with `met`, `sent` and `sent_bookkeeping` as they follow from the others: for figures that are made
    /// up, in tests and examples.
    pub fn completed(self) -> SlotCounters {
        let sent = self.wanted.saturating_sub(self.lost_ring);
        let sent_bookkeeping = self.bookkeeping.saturating_sub(self.lost_bookkeeping);
        let dropped: u64 = self.dropped.iter().sum();
        let met = self.wanted + self.bookkeeping + self.filtered + self.own + dropped;
        SlotCounters { met, sent, sent_bookkeeping, ..self }
    }
}

/// Everything that one CPU counts: the value of the map `CPUS`, whose index is the CPU's number.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CpuState {
    /// One entry a [`crate::kind::Slot`].
    pub slots: [SlotCounters; SLOTS],
    /// Bytes that this CPU may still write before it asks the ring how full it is.
    pub credit: u64,
    /// Bytes written since the consumer was last woken from this CPU.
    pub unwoken: u64,
    /// When the consumer was last woken from this CPU: `bpf_ktime_get_boot_ns`.
    pub woken_ns: u64,
    /// New processes for which a captured tree had no room: what they and those they start do is not let through.
    pub tree_full: u64,
    /// The request of io_uring that was submitted last on this CPU: the address of `struct io_kiocb`.
    pub last_request: u64,
    /// Not used; 0. Makes the state of each CPU a whole number of cache lines.
    pub reserved: [u64; 3],
}

const _: () = assert!(size_of::<CpuState>() == SLOTS * 128 + 64);

impl CpuState {
    /// Nothing counted.
    pub const ZERO: CpuState = CpuState {
        slots: [SlotCounters::ZERO; SLOTS],
        credit: 0,
        unwoken: 0,
        woken_ns: 0,
        tree_full: 0,
        last_request: 0,
        reserved: [0; 3],
    };

    /// Its 64-bit words, but for those that only the probes use: they are 0.
    pub fn words(&self) -> [u64; size_of::<CpuState>() / 8] {
        let counters = CpuState { credit: 0, unwoken: 0, woken_ns: 0, last_request: 0, ..*self };
        zerocopy::transmute!(counters)
    }

    /// Sets a word; one that there is not is ignored.
    pub fn set_word(&mut self, word: usize, value: u64) {
        if let Some((_, bytes)) = self.as_mut_bytes().chunks_exact_mut(8).enumerate().find(|(at, _)| *at == word) {
            bytes.copy_from_slice(&value.to_ne_bytes());
        }
    }
}

impl SlotCounters {
    /// Nothing counted.
    pub const ZERO: SlotCounters = SlotCounters {
        met: 0,
        wanted: 0,
        sent: 0,
        filtered: 0,
        bookkeeping: 0,
        sent_bookkeeping: 0,
        own: 0,
        lost_ring: 0,
        lost_bookkeeping: 0,
        sent_chunks: 0,
        cut_short: 0,
        dropped: [0; REASONS],
        reserved: [0; 3],
    };
}
