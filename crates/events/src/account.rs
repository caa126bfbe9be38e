//! The account: `seen = delivered + filtered + lost`, per kind and in total, with checks of every step.
//!
//! Each number is counted at its source. None is computed as a remainder, except `unwritten` of a recording that failed
//! ([`ledger::Ledger::recorded_only`]). At the end of a trace, [`Account::prove`] checks every step ([`Discrepancy`]).

pub(crate) mod ledger;

use crate::event::lost::{Cause, LostRecord};
use crate::frame::host::Counters;
pub use crate::frame::state::{Arrived, Counted, LostBy, Pairing, Shortage};
use crate::limits;
use crate::text::json;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use tracetui_shared::counters::{REASONS, Reason, SlotCounters};
use tracetui_shared::kind::{Kind, KindSet, Slot};

/// What arrived, by slot and CPU.
pub type Streams = BTreeMap<(u16, u32), Arrived>;

/// A sum of the account that does not add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discrepancy {
    /// Its subject: the events of one program on one CPU, a kind, or the trace.
    pub of: String,
    pub sum: &'static str,
    pub left: u64,
    pub right: u64,
}

/// The events of one program on one CPU. `slot`: [`Slot`], as a number.
fn of_stream(slot: u16, cpu: u32) -> String {
    match Slot::try_from(slot) {
        Ok(slot) => format!("{} by {} on CPU {cpu}", slot.kind().name(), slot.program()),
        Err(_) => format!("unknown slot {slot} on CPU {cpu}"),
    }
}

const OF_TRACE: &str = "trace";

impl fmt::Display for Discrepancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, but {} != {}", self.of, self.sum, self.left, self.right)
    }
}

impl LostBy {
    pub fn sum(&self) -> u64 {
        add(add(self.ring, self.probe), add(self.read, self.unwritten))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindAccount {
    /// Events that happened, as counted by the probes and the kernel.
    pub seen: u64,
    pub delivered: u64,
    /// Rejected by any filter, kept only for bookkeeping, or tracetui's own.
    pub filtered: u64,
    pub lost: LostBy,
    /// Lost reports of the kernel's own stream, included in `lost`, cause `ring`. At most this many events are behind them.
    pub bounded: u64,
}

impl KindAccount {
    fn combined(&self, other: &KindAccount, with: fn(u64, u64) -> u64) -> KindAccount {
        KindAccount {
            seen: with(self.seen, other.seen),
            delivered: with(self.delivered, other.delivered),
            filtered: with(self.filtered, other.filtered),
            lost: self.lost.combined(&other.lost, with),
            bounded: with(self.bounded, other.bounded),
        }
    }

    /// The difference of the two sides: 0 if the account adds up.
    pub fn off_by(&self) -> i128 {
        i128::from(self.seen) - i128::from(self.delivered) - i128::from(self.filtered) - i128::from(self.lost.sum())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    kinds: [KindAccount; Kind::PROBED.len()],
    pub asked: KindSet,
    /// tracetui's own events, included in `filtered`.
    pub own: u64,
    /// Delivered with a truncated field.
    pub cut: u64,
    /// Rejected by the display filter, with a truncated field. The filter might match the rest of it. Parts of a recording that are
    /// passed over are not counted.
    pub cut_filtered: u64,
    /// Skips of programs that serve several kinds.
    pub unattributed_skips: u64,
    /// Records for the process table that were lost.
    pub bookkeeping_lost: u64,
    /// Events that the probes dropped, by [`Reason`]. Drops that are not losses are included in `filtered`.
    pub dropped: [u64; REASONS],
    /// Delivered without the arguments of the request.
    pub hollow: u64,
    /// Sums that do not add up, at most [`limits::DISCREPANCIES`]. Empty until the check at the end of the trace.
    pub discrepancies: Vec<Discrepancy>,
    /// New processes that did not fit into the map of captured trees. Their events are included in `filtered`.
    pub tree_full: u64,
    /// io_uring requests without a completion: included in `lost`, cause `probe`.
    pub unseen: u64,
    /// Events of the trace in unread files of its recording. No other count includes them.
    pub not_read: u64,
    /// Events that are out of order: a later one had already been delivered or filtered.
    pub late: u64,
    /// Processes older than the trace whose arguments could not be read in time.
    pub processes_unread: u64,
    /// BPF programs and attachments that did not fit into memory. The ends of these attachments may be missing.
    pub bpf_left_out: u64,
    pub shortage: Shortage,
    pub pairing: Pairing,
}

/// Saturating addition: the counts of a damaged recording can be arbitrary.
fn add(a: u64, b: u64) -> u64 {
    a.saturating_add(b)
}

/// Counts per kind, in the order of [`Kind::PROBED`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByKind([Counted; Kind::PROBED.len()]);

impl ByKind {
    /// The counts of a kind; `None` for `lost`, whose rows are not events.
    pub fn of(&mut self, kind: Kind) -> Option<&mut Counted> {
        self.0.get_mut(kind.place()?)
    }

    /// Counts a `lost` row of an excerpt.
    pub fn lost_row(&mut self, row: &LostRecord) {
        let Some(counted) = Kind::try_from(row.of).ok().and_then(|kind| self.of(kind)) else { return };
        let rows = &mut counted.lost_rows;
        let sum = match row.cause {
            cause if cause == Cause::Probe as u16 => &mut rows.probe,
            cause if cause == Cause::Read as u16 => &mut rows.read,
            _ => &mut rows.ring,
        };
        *sum = sum.saturating_add(row.count);
        counted.stream_lost = add(counted.stream_lost, if row.is_bound() { row.count } else { 0 });
    }

    pub fn get(&self, kind: Kind) -> Counted {
        kind.place().and_then(|i| self.0.get(i)).copied().unwrap_or_default()
    }
}

impl Account {
    /// Computes the account from the counts of the probes and of the pipeline.
    pub fn of(counters: &Counters, counted: &ByKind, pairing: Pairing, asked: KindSet) -> Account {
        let mut account = Account { asked, pairing, ..Account::default() };
        for cpu in &counters.cpus {
            for slot in Slot::ALL {
                if let Some(c) = cpu.slots.get(slot as usize) {
                    match slot.is_request() {
                        // A request is part of an event. The event is counted at its completion.
                        true => account.bookkeeping_lost = add(account.bookkeeping_lost, c.lost_bookkeeping),
                        false => account.probed(slot.kind(), c),
                    }
                }
            }
            account.tree_full = add(account.tree_full, cpu.tree_full);
        }
        for program in &counters.programs {
            account.skipped(program.slots.as_slice(), program.skips);
        }
        for kind in Kind::PROBED {
            let c = counted.get(kind);
            account.cut = add(account.cut, c.cut);
            account.cut_filtered = add(account.cut_filtered, c.cut_filtered);
            account.unseen = add(account.unseen, c.unseen);
            account.hollow = add(account.hollow, c.hollow);
            account.missed(kind, c.unseen);
            account.own = add(account.own, c.own);
            account.bookkeeping_lost = add(account.bookkeeping_lost, c.kept_unread);
            if let Some(k) = account.kind_mut(kind) {
                k.seen = add(k.seen, add(c.streamed, c.stream_lost));
                k.lost.ring = add(k.lost.ring, c.stream_lost);
                k.bounded = c.stream_lost;
                k.delivered = c.delivered;
                k.filtered = add(k.filtered, add(c.filtered, add(c.kept, c.kept_unread)));
                k.lost.read = c.unread;
                k.lost.unwritten = c.unwritten;
            }
        }
        account
    }

    /// Adds the counts of a slot's program on one CPU.
    fn probed(&mut self, kind: Kind, c: &SlotCounters) {
        let mut let_go = add(c.lost_bookkeeping, add(c.filtered, c.own));
        let mut lost = 0;
        for ((reason, count), sum) in Reason::ALL.into_iter().zip(c.dropped).zip(&mut self.dropped) {
            *sum = add(*sum, count);
            let part = if reason.is_loss() { &mut lost } else { &mut let_go };
            *part = add(*part, count);
        }
        self.own = add(self.own, c.own);
        self.bookkeeping_lost = add(self.bookkeeping_lost, c.lost_bookkeeping);
        if let Some(kind) = self.kind_mut(kind) {
            kind.seen = add(kind.seen, c.met);
            kind.filtered = add(kind.filtered, let_go);
            kind.lost.ring = add(kind.lost.ring, c.lost_ring);
            kind.lost.probe = add(kind.lost.probe, lost);
        }
    }

    /// The sum of two accounts: of different recordings, or of two parts of a trace.
    pub fn and(self, other: &Account) -> Account {
        self.combined(other, add)
    }

    /// The counts since an earlier account of the same trace.
    pub fn since(self, earlier: &Account) -> Account {
        self.combined(earlier, u64::saturating_sub)
    }

    fn combined(mut self, other: &Account, with: fn(u64, u64) -> u64) -> Account {
        for (sum, kind) in self.kinds.iter_mut().zip(&other.kinds) {
            *sum = sum.combined(kind, with);
        }
        self.asked = self.asked | other.asked;
        for (sum, count) in self.dropped.iter_mut().zip(other.dropped) {
            *sum = with(*sum, count);
        }
        let sums = [
            (&mut self.own, other.own),
            (&mut self.cut, other.cut),
            (&mut self.cut_filtered, other.cut_filtered),
            (&mut self.unattributed_skips, other.unattributed_skips),
            (&mut self.bookkeeping_lost, other.bookkeeping_lost),
            (&mut self.hollow, other.hollow),
            (&mut self.tree_full, other.tree_full),
            (&mut self.unseen, other.unseen),
            (&mut self.not_read, other.not_read),
            (&mut self.late, other.late),
            (&mut self.processes_unread, other.processes_unread),
            (&mut self.bpf_left_out, other.bpf_left_out),
        ];
        for (sum, count) in sums {
            *sum = with(*sum, count);
        }
        self.shortage = self.shortage.combined(&other.shortage, with);
        self.pairing = self.pairing.combined(&other.pairing, with);
        let room = limits::DISCREPANCIES.saturating_sub(self.discrepancies.len());
        self.discrepancies.extend(other.discrepancies.iter().take(room).cloned());
        self
    }

    /// The account of the events delivered so far. Counts that the probes are ahead by are dropped.
    pub fn settled(mut self) -> Account {
        for account in &mut self.kinds {
            account.seen = add(add(account.delivered, account.filtered), account.lost.sum());
        }
        self
    }

    /// Turns the account into that of an excerpt: only its events and its `lost` rows count, and the counts of the probes do not.
    pub fn of_excerpt(&mut self, counted: &ByKind) {
        self.pairing = Pairing::default();
        for kind in Kind::PROBED {
            let (lost, unread) = (counted.get(kind).lost_rows, counted.get(kind).unread);
            if let Some(account) = self.kind_mut(kind) {
                account.lost = LostBy { read: add(lost.read, unread), ..lost };
                account.seen = add(add(account.delivered, account.filtered), account.lost.sum());
            }
        }
    }

    /// Counts delivered events as filtered.
    pub fn filter(&mut self, events: &ByKind) {
        for kind in Kind::PROBED {
            let of = events.get(kind);
            if let Some(account) = self.kind_mut(kind) {
                account.delivered = account.delivered.saturating_sub(of.delivered);
                account.filtered = add(account.filtered, of.delivered);
            }
            self.cut = self.cut.saturating_sub(of.cut);
        }
    }

    /// Turns the account into that of a recording that ended before the trace. Such a recording has events after the last counters.
    pub fn of_unfinished(&mut self) {
        for account in &mut self.kinds {
            account.seen = account.seen.max(add(add(account.delivered, account.filtered), account.lost.sum()));
        }
    }

    /// Counts the events in unreadable parts of a recording, given the counters and the arrivals per stream. These are the missing
    /// events that were not lost in the ring. Afterwards the sums cannot be checked.
    pub fn read_holes(&mut self, counters: &Counters, arrived: &Streams) {
        for ((slot, cpu), stream) in arrived {
            let Ok(slot) = Slot::try_from(*slot) else { continue };
            let counted = counters.cpus.get(*cpu as usize).and_then(|cpu| cpu.slots.get(slot as usize));
            let SlotCounters { lost_ring, lost_bookkeeping, .. } = counted.copied().unwrap_or_default();
            let unread = stream.unread.min(stream.gaps.saturating_sub(lost_ring));
            let kept = stream.bookkeeping_gaps.saturating_sub(lost_bookkeeping);
            self.bookkeeping_lost = add(self.bookkeeping_lost, kept);
            if let Some(kind) = self.kind_mut(slot.kind()).filter(|_| !slot.is_request()) {
                kind.lost.read = add(kind.lost.read, unread);
                kind.filtered = add(kind.filtered, kept);
            }
        }
    }

    /// Checks every sum at the end of a trace, given the arrivals per stream and the number of records that are not frames.
    pub fn prove(&mut self, counters: &Counters, counted: &ByKind, arrived: &Streams, unframed: u64) {
        if !counters.last {
            return self.note(OF_TRACE, "the last counters = what was read", 1, 0);
        }
        self.note(OF_TRACE, "records that are no frames = 0", unframed, 0);
        for (cpu, state) in (0u32..).zip(&counters.cpus) {
            for slot in Slot::ALL {
                if let Some(c) = state.slots.get(slot as usize) {
                    let arrived = arrived.get(&(slot as u16, cpu)).copied().unwrap_or_default();
                    self.prove_stream(&of_stream(slot as u16, cpu), c, arrived);
                }
            }
        }
        let known = |(slot, cpu): &(u16, u32)| Slot::try_from(*slot).is_ok() && (*cpu as usize) < counters.cpus.len();
        for ((slot, cpu), stream) in arrived.iter().filter(|(key, _)| !known(key)) {
            self.prove_stream(&of_stream(*slot, *cpu), &SlotCounters::default(), *stream);
        }
        for kind in Kind::PROBED {
            self.prove_kind(kind, counted.get(kind), arrived);
        }
    }

    fn prove_stream(&mut self, of: &str, c: &SlotCounters, arrived: Arrived) {
        for sum in c.sums() {
            self.note(of, sum.text, sum.left, sum.right);
        }
        self.note(of, "sent = arrived", c.sent, arrived.wanted);
        self.note(of, "lost_ring = gaps in the numbers", c.lost_ring, arrived.gaps);
        self.note(of, "sent_bookkeeping = arrived", c.sent_bookkeeping, arrived.bookkeeping);
        self.note(of, "lost_bookkeeping = gaps in the numbers", c.lost_bookkeeping, arrived.bookkeeping_gaps);
        self.note(of, "sent_chunks = arrived", c.sent_chunks, arrived.chunks);
        self.note(of, "cut_short = arrived", c.cut_short, arrived.cut_short);
    }

    fn prove_kind(&mut self, kind: Kind, counted: Counted, streams: &Streams) {
        let of = kind.name();
        let ours = |slot: u16| Slot::try_from(slot).is_ok_and(|slot| slot.kind() == kind);
        let (mut wanted, mut kept) = (0, 0);
        let is_request = |slot: u16| Slot::try_from(slot).is_ok_and(Slot::is_request);
        for (_, arrived) in streams.iter().filter(|((slot, _), _)| ours(*slot) && !is_request(*slot)) {
            (wanted, kept) = (add(wanted, arrived.wanted), add(kept, arrived.bookkeeping));
        }
        let known = add(add(counted.delivered, counted.filtered), add(counted.unread, counted.unwritten));
        self.note(of, "arrived = delivered + filtered + unread + unwritten", add(wanted, counted.streamed), known);
        let known = add(counted.kept, counted.kept_unread);
        self.note(of, "arrived for bookkeeping = kept + unread", kept, known);
        let requests = streams.iter().filter(|((slot, _), _)| ours(*slot) && is_request(*slot));
        let requests = requests.fold(0, |sum, (_, arrived)| add(sum, arrived.bookkeeping));
        self.note(of, "requests that arrived = requests that were joined or wait", requests, counted.requests);
        self.prove_sum(kind);
    }

    /// Checks the sum of each kind at the end of a trace with unreadable parts.
    pub fn prove_sums(&mut self) {
        Kind::PROBED.into_iter().for_each(|kind| self.prove_sum(kind));
    }

    fn prove_sum(&mut self, kind: Kind) {
        let k = self.kind(kind);
        let parts = add(k.delivered, add(k.filtered, k.lost.sum()));
        self.note(kind.name(), "seen = delivered + filtered + lost", k.seen, parts);
    }

    /// The error message if the account does not add up: one line per wrong sum.
    pub fn discrepancy(&self) -> Option<String> {
        let line = |sum: &Discrepancy| format!("the account does not add up: {sum}; please report it");
        let lines: Vec<String> = self.discrepancies.iter().map(line).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    fn note(&mut self, of: &str, sum: &'static str, left: u64, right: u64) {
        if left != right && self.discrepancies.len() < limits::DISCREPANCIES {
            self.discrepancies.push(Discrepancy { of: of.to_owned(), sum, left, right });
        }
    }

    fn skipped(&mut self, slots: &[u16], skips: u64) {
        match single_kind(slots) {
            Some(kind) => self.missed(kind, skips),
            None => self.unattributed_skips = add(self.unattributed_skips, skips),
        }
    }

    /// Adds events that no probe reported.
    fn missed(&mut self, kind: Kind, count: u64) {
        if let Some(kind) = self.kind_mut(kind) {
            kind.seen = add(kind.seen, count);
            kind.lost.probe = add(kind.lost.probe, count);
        }
    }

    fn kind_mut(&mut self, kind: Kind) -> Option<&mut KindAccount> {
        self.kinds.get_mut(kind.place()?)
    }

    pub fn kind(&self, kind: Kind) -> KindAccount {
        kind.place().and_then(|i| self.kinds.get(i)).copied().unwrap_or_default()
    }

    pub fn sum(&self) -> KindAccount {
        self.kinds.iter().fold(KindAccount::default(), |sum, kind| sum.combined(kind, add))
    }

    /// Why a filter that no event passed might still match an event of the trace; `None` if it cannot.
    pub fn doubt(&self) -> Option<&'static str> {
        let lacks = self.sum().lost.sum() > 0 || self.unattributed_skips > 0 || self.not_read > 0;
        match () {
            () if lacks || self.bookkeeping_lost > 0 || self.missing().is_some() => Some("events are missing"),
            () if self.cut_filtered > 0 => Some("events have truncated fields"),
            () => None,
        }
    }

    /// The error message, by kind, if events that the probes counted are missing. A surplus during a trace is not an error: those
    /// events arrived after the counters were read.
    pub fn missing(&self) -> Option<String> {
        let kinds = Kind::PROBED.iter().map(|kind| (kind.name(), self.kind(*kind).off_by()));
        let kinds: Vec<(&str, i128)> = kinds.filter(|(_, off)| *off > 0).collect();
        let sum: i128 = kinds.iter().map(|(_, off)| off).sum();
        let list: Vec<String> = kinds.iter().map(|(name, off)| format!("{name} {off}")).collect();
        (!list.is_empty()).then(|| format!("the account is off by {sum} ({}); please report it", list.join(", ")))
    }

    /// The line that ends stderr: `account: seen N delivered N filtered N lost N cut N (exec N …)`.
    pub fn line(&self) -> String {
        let sum = self.sum();
        let mut line = format!(
            "account: seen {} delivered {} filtered {} lost {}",
            sum.seen,
            sum.delivered,
            sum.filtered,
            sum.lost.sum()
        );
        line.push_str(if sum.bounded > 0 { " at most" } else { "" });
        let beside = [(self.unattributed_skips, "unattributed"), (self.bookkeeping_lost, "bookkeeping")];
        // Writing to a String cannot fail.
        for (count, what) in beside.into_iter().filter(|(count, _)| *count > 0) {
            let _ = write!(line, " + {count} {what}");
        }
        let _ = write!(line, " cut {}", self.cut);
        let dropped = Reason::ALL.into_iter().zip(self.dropped).map(|(reason, count)| (reason.name(), count));
        for (what, count) in
            dropped.chain([("hollow", self.hollow), ("late", self.late)]).filter(|(_, count)| *count > 0)
        {
            let _ = write!(line, " {what} {count}");
        }
        line.push_str(" (");
        let asked = (self.asked & KindSet::PROBED).iter();
        let kinds: Vec<String> = asked.map(|kind| format!("{} {}", kind.name(), self.kind(kind).delivered)).collect();
        line.push_str(&kinds.join(" "));
        line.push(')');
        match self.discrepancies.len() {
            0 => {}
            sums => {
                let _ = write!(line, "; does not add up: {sums} wrong sums");
            }
        }
        line
    }

    /// The message about processes whose arguments could not be read in time.
    pub fn unread_text(&self) -> Option<String> {
        let processes = match self.processes_unread {
            0 => return None,
            1 => "1 process".to_owned(),
            all => format!("{} processes", crate::text::grouped(all)),
        };
        Some(format!("reading the memory of {processes} timed out: their arguments are unknown"))
    }

    /// The same as a JSON object.
    pub fn json(&self) -> String {
        json::ascii(&json!({ "account": self.object() }))
    }

    /// The value of `account` in [`json`](Self::json).
    pub fn object(&self) -> Value {
        let sum = self.sum();
        let counts = |counts: &mut dyn Iterator<Item = (&'static str, u64)>| -> Map<String, Value> {
            counts.map(|(name, count)| (name.to_owned(), count.into())).collect()
        };
        let kinds = Kind::PROBED.iter().map(|kind| {
            let KindAccount { seen, delivered, filtered, lost, bounded } = self.kind(*kind);
            let always = [("ring", lost.ring), ("probe", lost.probe), ("read", lost.read)];
            let rare = [("unwritten", lost.unwritten), ("at_most", bounded)];
            let lost = counts(&mut always.into_iter().chain(rare.into_iter().filter(|(_, count)| *count != 0)));
            let kind_json = json!({ "seen": seen, "delivered": delivered, "filtered": filtered, "lost": lost });
            (kind.name().to_owned(), kind_json)
        });
        let sums = self
            .discrepancies
            .iter()
            .map(|Discrepancy { of, sum, left, right }| json!({ "of": of, "sum": sum, "left": left, "right": right }));
        json!({
            "seen": sum.seen, "delivered": sum.delivered, "filtered": sum.filtered, "lost": sum.lost.sum(), "own": self.own,
            "cut": self.cut, "unattributed_skips": self.unattributed_skips, "bookkeeping_lost": self.bookkeeping_lost,
            "tree_full": self.tree_full, "processes_evicted": self.shortage.processes,
            "cgroups_evicted": self.shortage.cgroups, "unsettled": self.shortage.unsettled,
            "pairing": counts(&mut self.pairing.each()), "kinds": kinds.collect::<Map<_, _>>(),
            "dropped": counts(&mut Reason::ALL.into_iter().map(Reason::name).zip(self.dropped)), "hollow": self.hollow,
            "not_read": self.not_read, "late": self.late, "processes_unread": self.processes_unread,
            "bpf_left_out": self.bpf_left_out, "discrepancies": sums.collect::<Value>(),
        })
    }
}

/// The common kind of these slots; `None` if their kinds differ.
pub fn single_kind(slots: &[u16]) -> Option<Kind> {
    let mut kinds = slots.iter().filter_map(|slot| Slot::try_from(*slot).ok()).map(Slot::kind);
    let first = kinds.next()?;
    kinds.all(|kind| kind == first).then_some(first)
}

#[cfg(test)]
mod tests;
