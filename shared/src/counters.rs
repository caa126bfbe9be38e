//! The counters of the probes, for each slot and CPU. They are never reset, and are only incremented, except for a
//! number that is returned ([`Reason::NoPlace`]). User space computes sums.
//!
//! Every event is counted twice, by different instructions: in `met` when its program begins, and a second time by its
//! outcome. So the two sides of each sum can differ, and user space compares them ([`SlotCounters::sums`]).
//!
//! # Versioning
//! A counters frame identifies a counter by the index of its word in [`CpuState::words`]. A word keeps its meaning. New
//! words replace spare ones (`reserved`), which no older frame refers to, or follow all others.

use crate::kind::SLOTS;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The reason for which an event was dropped after it was met.
#[repr(usize)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Reason {
    /// seccomp answered the call by a signal (`SECCOMP_RET_TRAP`), so it was never made.
    Trapped = 0,
    /// The program has no buffer for the record: an element is missing from its map. Never observed.
    NoPlace = 1,
    /// The map of connections is full, so the end of this connection will not be seen.
    NoRoom = 2,
    /// A connection ended that was never reported: the program that should have reported it did not run.
    Missed = 3,
}

/// How many [`Reason`]s there are.
pub const REASONS: usize = Reason::ALL.len();

impl Reason {
    /// Every reason, in the order of [`SlotCounters::dropped`].
    pub const ALL: [Reason; 4] = [Reason::Trapped, Reason::NoPlace, Reason::NoRoom, Reason::Missed];

    /// The name in the account.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Trapped => "trapped",
            Reason::NoPlace => "no_place",
            Reason::NoRoom => "no_room",
            Reason::Missed => "missed",
        }
    }

    /// Whether an event that should have been shown is missing. Otherwise there was none to show.
    pub const fn is_loss(self) -> bool {
        match self {
            Reason::Trapped => false,
            Reason::NoPlace | Reason::NoRoom | Reason::Missed => true,
        }
    }
}

/// Counters of one slot on one CPU. The words that most events change come first, in one cache line.
///
/// "Wanted" events passed the capture filter. Events that did not pass, but are sent for the process table, are called
/// bookkeeping and are numbered separately.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SlotCounters {
    /// Events that the program met, counted before anything else is done.
    pub met: u64,
    /// Wanted events: numbers taken, including those of events that found no room.
    pub wanted: u64,
    /// Wanted events whose record the ring accepted.
    pub sent: u64,
    /// Events that the capture filter rejected and that were not sent.
    pub filtered: u64,
    /// Events that the capture filter rejected but the process table needs: numbers taken.
    pub bookkeeping: u64,
    /// Bookkeeping records that the ring accepted.
    pub sent_bookkeeping: u64,
    /// Events that tracetui itself caused and that were not sent.
    pub own: u64,
    /// Wanted events that found no room in the ring.
    pub lost_ring: u64,
    /// Bookkeeping records that found no room in the ring.
    pub lost_bookkeeping: u64,
    /// Continuations that the ring accepted, including those that only mark the end.
    pub sent_chunks: u64,
    /// Events that were sent cut short because the ring had no room for all of their arguments.
    pub cut_short: u64,
    /// Events that were dropped, by [`Reason`].
    pub dropped: [u64; REASONS],
    /// Not used; 0. Pads the counters to two cache lines.
    pub reserved: u64,
}

const _: () = assert!(size_of::<SlotCounters>() == 128);

/// Two numbers that must be equal after the programs have ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sum {
    /// The equation, in the names of [`SlotCounters`].
    pub text: &'static str,
    /// The left side of the equation.
    pub left: u64,
    /// The right side of the equation.
    pub right: u64,
}

impl SlotCounters {
    /// The equations that must hold among the kernel's own numbers. They use wrapping arithmetic, because a damaged
    /// recording may contain any number.
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

    /// These counters with `met`, `sent` and `sent_bookkeeping` derived from the others, for numbers in tests and
    /// examples.
    pub fn completed(self) -> SlotCounters {
        let sent = self.wanted.saturating_sub(self.lost_ring);
        let sent_bookkeeping = self.bookkeeping.saturating_sub(self.lost_bookkeeping);
        let dropped: u64 = self.dropped.iter().sum();
        let met = self.wanted + self.bookkeeping + self.filtered + self.own + dropped;
        SlotCounters { met, sent, sent_bookkeeping, ..self }
    }
}

/// All counters of one CPU: the value of the map `CPUS`, whose index is the CPU's number.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CpuState {
    /// One entry per [`crate::kind::Slot`].
    pub slots: [SlotCounters; SLOTS],
    /// Bytes that this CPU may still write before it queries the fill of the ring.
    pub credit: u64,
    /// Not used; 0.
    pub reserved_2: [u64; 2],
    /// New processes for which a captured tree had no room. Their events, and those of processes that they start, do
    /// not pass.
    pub tree_full: u64,
    /// Address of the `struct io_kiocb` of the io_uring request that was last submitted on this CPU.
    pub last_request: u64,
    /// Not used; 0. Pads the state of each CPU to whole cache lines.
    pub reserved: [u64; 3],
}

const _: () = assert!(size_of::<CpuState>() == SLOTS * 128 + 64);

/// The slots whose words come first.
const FIRST_SLOTS: usize = 32;
const SLOT_WORDS: usize = size_of::<SlotCounters>() / 8;
/// The words that belong to no slot.
const OTHER_WORDS: usize = (size_of::<CpuState>() - size_of::<[SlotCounters; SLOTS]>()) / 8;

impl CpuState {
    /// Nothing counted.
    pub const ZERO: CpuState = CpuState {
        slots: [SlotCounters::ZERO; SLOTS],
        credit: 0,
        reserved_2: [0; 2],
        tree_full: 0,
        last_request: 0,
        reserved: [0; 3],
    };

    /// The 64-bit words of a counters frame. Those that are used during the trace alone are 0. The slots from [`FIRST_SLOTS`] on follow
    /// all others.
    pub fn words(&self) -> [u64; size_of::<CpuState>() / 8] {
        let counters = CpuState { credit: 0, last_request: 0, ..*self };
        let mut words: [u64; size_of::<CpuState>() / 8] = zerocopy::transmute!(counters);
        words[FIRST_SLOTS * SLOT_WORDS..].rotate_right(OTHER_WORDS);
        words
    }

    /// Sets one of the [`Self::words`]; an index beyond the last is ignored.
    pub fn set_word(&mut self, word: usize, value: u64) {
        const FIRST: usize = FIRST_SLOTS * SLOT_WORDS;
        let word = match word {
            ..FIRST => word,
            FIRST.. if word < FIRST + OTHER_WORDS => word + (SLOTS - FIRST_SLOTS) * SLOT_WORDS,
            _ if word < SLOTS * SLOT_WORDS + OTHER_WORDS => word - OTHER_WORDS,
            _ => return,
        };
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
        reserved: 0,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_where_they_are() {
        let mut state = CpuState { tree_full: 7, ..CpuState::ZERO };
        (state.slots[1].wanted, state.slots[31].met, state.slots[32].met, state.slots[63].cut_short) = (2, 3, 4, 5);
        let words = state.words();
        assert_eq!([17, 31 * 16, 515, 520, 520 + 31 * 16 + 10].map(|word| words[word]), [2, 3, 7, 4, 5]);
        let mut read = CpuState::ZERO;
        (0..).zip(words).for_each(|(word, value)| read.set_word(word, value));
        read.set_word(words.len(), 1);
        assert_eq!(read, state);
    }
}
