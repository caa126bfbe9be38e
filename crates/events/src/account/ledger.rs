//! The ledger of a pipeline: the number of events that its stages received, passed, rejected or lost.

use super::{Account, ByKind, Counted};
use crate::frame::Batch;
use crate::frame::state::{KindState, StateFrame};
use tracetui_shared::header::{FrameHeader, flag};
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;

/// How many consecutive comparisons, a second apart, must find missing events before they are reported. An exec may wait for its
/// arguments that long.
const MISSING: u32 = 3;

#[derive(Debug, Default)]
pub struct Ledger {
    pub(crate) counted: ByKind,
    /// Records that are not frames.
    pub(crate) unframed: u64,
    /// Processes whose arguments the scan could not read in time.
    pub(crate) unread_processes: u64,
    /// Events that were delivered before they could be ordered.
    pub(crate) unsettled: u64,
    /// The number of events that came after a later one had been handed on, and the time of the latest event handed on.
    pub(crate) late: (u64, BootNanos),
    /// Whether all events were delivered, so that the account can be checked in full.
    pub(crate) finished: bool,
    /// The time of the counters that have not been compared yet with the events delivered up to then.
    pub(crate) uncompared: Option<BootNanos>,
    /// The number of consecutive comparisons with missing events, and the last result.
    pub(crate) missing: (u32, Option<String>),
    /// The last counters before which all events were delivered, and the account at that moment.
    compared: Option<(BootNanos, Account)>,
}

impl Ledger {
    pub(crate) fn counted(&self, kind: Kind) -> Counted {
        self.counted.get(kind)
    }

    pub(crate) fn count(&mut self, kind: Kind, change: impl FnOnce(&mut Counted)) {
        if let Some(counted) = self.counted.of(kind) {
            change(counted);
        }
    }

    pub(crate) fn passed(&mut self, kind: Kind, cut: bool) {
        self.count(kind, |counted| {
            counted.delivered += 1;
            counted.cut += u64::from(cut);
        });
    }

    pub(crate) fn rejected(&mut self, kind: Kind, cut: bool) {
        self.count(kind, |counted| {
            counted.filtered += 1;
            counted.cut_filtered += u64::from(cut);
        });
    }

    /// Notes the time of an event that is handed on. A `lost` row does not count as an event: its time is the end of its gap.
    pub(crate) fn handed_on(&mut self, header: &FrameHeader) {
        if !header.has(flag::BOOKKEEPING) && header.kind != Kind::Lost as u16 {
            self.late.0 += u64::from(header.time < self.late.1);
            self.late.1 = self.late.1.max(header.time);
        }
    }

    /// Counts the events of the kernel's stream that a later ledger counts and that are missing here, after unreadable frames.
    /// `waiting`: how many wait for their order, here and there. Returns their number.
    pub(crate) fn missed_streamed(&mut self, later: &Ledger, [here, there]: [u64; 2]) -> u64 {
        let there = later.counted(Kind::Bpf).streamed.saturating_add(there);
        let count = there.saturating_sub(self.counted(Kind::Bpf).streamed.saturating_add(here));
        let stream_lost = later.counted(Kind::Bpf).stream_lost;
        self.count(Kind::Bpf, |bpf| {
            bpf.stream_lost = bpf.stream_lost.max(stream_lost);
            (bpf.streamed, bpf.unread) = (bpf.streamed.saturating_add(count), bpf.unread.saturating_add(count));
        });
        count
    }

    /// Like [`missed_streamed`](Self::missed_streamed), for the events of a kind in an excerpt.
    pub(crate) fn missed_of_excerpt(&mut self, kind: Kind, later: &Ledger, [here, there]: [u64; 2]) -> u64 {
        let met = |ledger: &Ledger, waiting| {
            let Counted { delivered, filtered, unread, .. } = ledger.counted(kind);
            [filtered, unread, waiting].into_iter().fold(delivered, u64::saturating_add)
        };
        let count = met(later, there).saturating_sub(met(self, here));
        self.count(kind, |counted| counted.lost_rows.read = counted.lost_rows.read.saturating_add(count));
        count
    }

    /// Whether equal numbers of records are unreadable in two ledgers.
    pub(crate) fn misses_as(&self, other: &Ledger) -> bool {
        let unread = |ledger: &Ledger, kind| {
            let Counted { unread, kept_unread, .. } = ledger.counted(kind);
            (unread, kept_unread)
        };
        self.unframed == other.unframed
            && Kind::PROBED.into_iter().all(|kind| unread(self, kind) == unread(other, kind))
    }

    /// Keeps as delivered only the events that `delivered` has. The others count as filtered.
    pub(crate) fn deliver_only(&mut self, delivered: &Ledger) {
        for kind in Kind::PROBED {
            let Counted { delivered, cut, .. } = delivered.counted(kind);
            self.count(kind, |counted| {
                counted.filtered = counted.filtered.saturating_add(counted.delivered).saturating_sub(delivered);
                (counted.delivered, counted.cut) = (delivered, cut);
            });
        }
    }

    /// Moves events that were delivered late from filtered to delivered.
    pub fn deliver_late(&mut self, late: &ByKind) {
        for kind in Kind::PROBED {
            let late = late.get(kind);
            self.count(kind, |counted| {
                counted.delivered = counted.delivered.saturating_add(late.delivered);
                counted.cut = counted.cut.saturating_add(late.cut);
                counted.filtered = counted.filtered.saturating_sub(late.delivered);
            });
        }
    }

    /// Corrects the counts for delivered events whose lines were not written. They are lost if `wanted`, and filtered otherwise.
    /// Returns their number.
    pub fn not_delivered(&mut self, unwritten: &ByKind, wanted: bool) -> u64 {
        for kind in Kind::PROBED {
            let unwritten = unwritten.get(kind);
            self.count(kind, |counted| {
                counted.delivered = counted.delivered.saturating_sub(unwritten.delivered);
                counted.cut = counted.cut.saturating_sub(unwritten.cut);
                *(if wanted { &mut counted.unwritten } else { &mut counted.filtered }) += unwritten.delivered;
            });
        }
        Kind::PROBED.iter().map(|kind| unwritten.get(*kind).delivered).sum()
    }

    /// Corrects the counts for a recording that failed: at most these events, indexed by the number of their kind, were delivered,
    /// and the rest is lost. `own`: whether tracetui's own events are among them. Returns the number of lost events.
    pub fn recorded_only(&mut self, events: &[u64], own: bool) -> u64 {
        let mut lost = ByKind::default();
        for kind in Kind::PROBED {
            let now = self.counted(kind);
            // tracetui's own events came first.
            let most = events.get(kind as usize).map_or(0, |count| count.saturating_sub(if own { now.own } else { 0 }));
            if let Some(lost) = lost.of(kind) {
                lost.delivered = now.delivered.saturating_sub(most);
                lost.cut = now.cut.saturating_sub(most);
            }
        }
        self.not_delivered(&lost, true)
    }

    /// Checks that every event in the last counters is accounted for. Call it when all earlier events are delivered. Events in a
    /// hole are not checked: their number becomes known later.
    pub(crate) fn compare(&mut self, at: BootNanos, mut account: Account, holes: bool) {
        let missing = account.missing().filter(|_| !holes);
        // The counters of each CPU are read before the time that the counters have. An event in between is delivered but not
        // counted yet.
        account.of_unfinished();
        self.compared = Some((at, account));
        let times = if missing.is_some() { self.missing.0.saturating_add(1) } else { 0 };
        self.missing = (times, missing);
    }

    /// See [`Pipeline::account_then`](crate::pipeline::Pipeline::account_then). `now` computes the account of all events.
    pub(crate) fn account_then(&self, now: impl FnOnce() -> Account) -> (Option<BootNanos>, Account) {
        match &self.compared {
            _ if self.finished => (None, now()),
            Some((at, account)) => (Some(*at), account.clone()),
            // No counters have been compared yet, and events arrive before them. `seen` is only raised, so that a wrong sum still
            // shows.
            None => {
                let mut account = now();
                account.of_unfinished();
                (None, account)
            }
        }
    }

    /// The error message if the account does not add up. During the trace, checks only the sums that are already final.
    pub(crate) fn discrepancy(&self, now: impl FnOnce() -> Account) -> Option<String> {
        if self.finished {
            return now().discrepancy();
        }
        let (times, missing) = &self.missing;
        missing.clone().filter(|_| *times >= MISSING)
    }

    pub(crate) fn write_state(&self, latest: BootNanos, out: &mut Batch) {
        for kind in Kind::PROBED {
            let state = KindState { kind: kind as u16, counted: self.counted(kind) };
            StateFrame::KindState(state).push(latest, out);
        }
    }

    pub(crate) fn restore(&mut self, state: &KindState) {
        if let Ok(kind) = Kind::try_from(state.kind) {
            self.count(kind, |counted| *counted = state.counted);
        }
    }
}
