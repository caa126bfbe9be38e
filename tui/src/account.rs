//! The account: `seen = delivered + filtered + lost`, for each kind and in sum.
//!
//! The four figures come from different places, so that the sum can fail: `seen` from the probes' counters, `delivered`
//! from the sink, `filtered` from both sides, `lost` from the probes' counters, the kernel's and the decoder's.

use crate::enrich::process::Pairing;
use crate::frame::host::Counters;
use std::fmt::Write as _;
use tracetui_shared::kind::{Kind, Slot};

/// What the pipeline and its sink count themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Handed to the user: printed, recorded, kept.
    pub delivered: u64,
    /// Rejected by a filter in user space.
    pub filtered: u64,
    /// tracetui's own, among those that were filtered: its COMMAND before the first exec.
    pub own: u64,
    /// Arrived, not decodable.
    pub unread: u64,
    /// Missing numbers of wanted events.
    pub gaps: u64,
    /// Delivered with a field cut short.
    pub cut: u64,
}

/// Lost events by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LostBy {
    /// No room in the ring.
    pub ring: u64,
    /// No program was run: the kernel skipped it, or it has no place where the event shows.
    pub probe: u64,
    /// Arrived, not decodable.
    pub read: u64,
}

impl LostBy {
    /// All causes.
    pub fn sum(&self) -> u64 {
        self.ring.saturating_add(self.probe).saturating_add(self.read)
    }
}

/// One kind's line of the account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindAccount {
    /// Events that happened, as far as the probes and the kernel know.
    pub seen: u64,
    /// Handed to the user.
    pub delivered: u64,
    /// Rejected by any filter, kept only for bookkeeping, or tracetui's own.
    pub filtered: u64,
    /// Missing.
    pub lost: LostBy,
}

impl KindAccount {
    /// What the sum misses: 0 when the account adds up.
    pub fn off_by(&self) -> i128 {
        i128::from(self.seen) - i128::from(self.delivered) - i128::from(self.filtered) - i128::from(self.lost.sum())
    }
}

/// The whole account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    kinds: [KindAccount; Kind::PROBED.len()],
    /// Kinds that were asked for, as [`Kind::bit`]s.
    pub asked: u32,
    /// tracetui's own events, among the filtered.
    pub own: u64,
    /// Delivered with a field cut short.
    pub cut: u64,
    /// Skips of programs that serve several kinds.
    pub unattributed_skips: u64,
    /// Records for the process table that were lost.
    pub bookkeeping_lost: u64,
    /// New processes for which the map of the captured trees had no room: their events are among the filtered.
    pub tree_full: u64,
    /// What did not pair up.
    pub pairing: Pairing,
}

/// A sum of figures that a damaged recording may have made up.
fn add(a: u64, b: u64) -> u64 {
    a.saturating_add(b)
}

fn index(kind: Kind) -> Option<usize> {
    Kind::PROBED.iter().position(|k| *k == kind)
}

/// Per kind, in the order of [`Kind::PROBED`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByKind([Counted; Kind::PROBED.len()]);

impl ByKind {
    /// A kind's figures; `None` for `lost`, whose rows are no events.
    pub fn of(&mut self, kind: Kind) -> Option<&mut Counted> {
        self.0.get_mut(index(kind)?)
    }

    /// A kind's figures.
    pub fn get(&self, kind: Kind) -> Counted {
        index(kind).and_then(|i| self.0.get(i)).copied().unwrap_or_default()
    }
}

impl Account {
    /// Draws up the account from what the probes counted and what was counted here.
    pub fn of(counters: &Counters, counted: &ByKind, pairing: Pairing, asked: u32) -> Account {
        let mut account = Account { asked, pairing, ..Account::default() };
        for kind in Kind::PROBED {
            account.missed(kind, counters.untold(kind));
        }
        for cpu in &counters.cpus {
            for slot in Slot::ALL {
                if let (Some(c), Some(kind)) = (cpu.slots.get(slot as usize), account.kind_mut(slot.kind())) {
                    let rejected = add(c.bookkeeping, add(c.filtered, c.own));
                    kind.seen = add(kind.seen, add(c.wanted, rejected));
                    kind.filtered = add(kind.filtered, rejected);
                    kind.lost.ring = add(kind.lost.ring, c.lost_ring);
                    account.own = add(account.own, c.own);
                    account.bookkeeping_lost = add(account.bookkeeping_lost, c.lost_bookkeeping);
                }
            }
            account.tree_full = add(account.tree_full, cpu.tree_full);
        }
        for program in &counters.programs {
            account.skipped(program.slots.as_slice(), program.skips);
        }
        for kind in Kind::PROBED {
            let c = counted.get(kind);
            account.cut += c.cut;
            account.own = add(account.own, c.own);
            if let Some(k) = account.kind_mut(kind) {
                k.delivered = c.delivered;
                k.filtered = add(k.filtered, c.filtered);
                // A record that was no frame at all leaves a missing number that the ring's counter does not know.
                k.lost.read = add(c.unread, c.gaps.saturating_sub(k.lost.ring));
            }
        }
        account
    }

    fn skipped(&mut self, slots: &[u16], skips: u64) {
        match single_kind(slots) {
            Some(kind) => self.missed(kind, skips),
            None => self.unattributed_skips = add(self.unattributed_skips, skips),
        }
    }

    /// Events that no probe could tell.
    fn missed(&mut self, kind: Kind, count: u64) {
        if let Some(kind) = self.kind_mut(kind) {
            kind.seen = add(kind.seen, count);
            kind.lost.probe = add(kind.lost.probe, count);
        }
    }

    fn kind_mut(&mut self, kind: Kind) -> Option<&mut KindAccount> {
        self.kinds.get_mut(index(kind)?)
    }

    /// A kind's line.
    pub fn kind(&self, kind: Kind) -> KindAccount {
        index(kind).and_then(|i| self.kinds.get(i)).copied().unwrap_or_default()
    }

    /// All kinds together.
    pub fn sum(&self) -> KindAccount {
        self.kinds.iter().fold(KindAccount::default(), |sum, k| KindAccount {
            seen: add(sum.seen, k.seen),
            delivered: add(sum.delivered, k.delivered),
            filtered: add(sum.filtered, k.filtered),
            lost: LostBy {
                ring: add(sum.lost.ring, k.lost.ring),
                probe: add(sum.lost.probe, k.lost.probe),
                read: add(sum.lost.read, k.lost.read),
            },
        })
    }

    /// By how much the account does not add up, kind by kind; `None` when it does. Of final counters.
    pub fn discrepancy(&self) -> Option<String> {
        self.off(|off| off != 0)
    }

    /// The same for events that the probes counted and nobody has accounted for. More events than the counters know are none
    /// while a trace runs: they came after the counters were read.
    pub fn missing(&self) -> Option<String> {
        self.off(|off| off > 0)
    }

    fn off(&self, counts: impl Fn(i128) -> bool) -> Option<String> {
        let kinds = Kind::PROBED.iter().map(|kind| (kind.name(), self.kind(*kind).off_by()));
        let kinds: Vec<(&str, i128)> = kinds.filter(|(_, off)| counts(*off)).collect();
        let sum: i128 = kinds.iter().map(|(_, off)| off).sum();
        let list: Vec<String> = kinds.iter().map(|(name, off)| format!("{name} {off}")).collect();
        (!list.is_empty()).then(|| format!("the account is off by {sum} ({}): please report it", list.join(", ")))
    }

    /// The line that ends stderr: `account: seen N delivered N filtered N lost N cut N (exec N …)`.
    pub fn line(&self) -> String {
        let sum = self.sum();
        let mut line = format!(
            "account: seen {} delivered {} filtered {} lost {} cut {} (",
            sum.seen,
            sum.delivered,
            sum.filtered,
            sum.lost.sum(),
            self.cut
        );
        let asked = Kind::PROBED.iter().filter(|k| self.asked & k.bit() != 0);
        let kinds: Vec<String> = asked.map(|kind| format!("{} {}", kind.name(), self.kind(*kind).delivered)).collect();
        line.push_str(&kinds.join(" "));
        line.push(')');
        line
    }

    /// The same as a JSON object.
    pub fn json(&self) -> String {
        let sum = self.sum();
        let mut out = format!(
            r#"{{"account":{{"seen":{},"delivered":{},"filtered":{},"lost":{},"own":{},"cut":{},"unattributed_skips":{},"bookkeeping_lost":{},"tree_full":{},"pairing":{{"#,
            sum.seen,
            sum.delivered,
            sum.filtered,
            sum.lost.sum(),
            self.own,
            self.cut,
            self.unattributed_skips,
            self.bookkeeping_lost,
            self.tree_full
        );
        let pairing: Vec<String> = self.pairing.each().iter().map(|(name, n)| format!("\"{name}\":{n}")).collect();
        out.push_str(&pairing.join(","));
        out.push_str(r#"},"kinds":{"#);
        for (i, kind) in Kind::PROBED.iter().enumerate() {
            let k = self.kind(*kind);
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                r#"{}"{}":{{"seen":{},"delivered":{},"filtered":{},"lost":{{"ring":{},"probe":{},"read":{}}}}}"#,
                if i == 0 { "" } else { "," },
                kind.name(),
                k.seen,
                k.delivered,
                k.filtered,
                k.lost.ring,
                k.lost.probe,
                k.lost.read
            );
        }
        out.push_str("}}}");
        out
    }
}

/// The kind that all these slots make; `None` when they make several.
pub fn single_kind(slots: &[u16]) -> Option<Kind> {
    let mut kinds = slots.iter().filter_map(|slot| Slot::try_from(*slot).ok()).map(Slot::kind);
    let first = kinds.next()?;
    kinds.all(|kind| kind == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::host::ProgramSkips;
    use tracetui_shared::counters::{CpuState, SlotCounters};
    use tracetui_shared::kind::SLOTS;

    fn cpu(slot: Slot, counters: SlotCounters) -> CpuState {
        let mut slots = [SlotCounters::default(); SLOTS];
        slots[slot as usize] = counters;
        CpuState { slots, credit: 0, unwoken: 0, woken_ns: 0, reserved_for_rare: 0, tree_full: 0 }
    }

    #[test]
    fn the_account_adds_up_over_all_its_sources() {
        let open = SlotCounters { wanted: 100, filtered: 7, own: 3, lost_ring: 10, ..SlotCounters::default() };
        let fork = SlotCounters { bookkeeping: 12, lost_bookkeeping: 2, ..SlotCounters::default() };
        let counters = Counters {
            cpus: vec![cpu(Slot::OpenTp, open), CpuState { tree_full: 6, ..cpu(Slot::ForkBtf, fork) }],
            programs: vec![
                ProgramSkips { program: "open_tp".into(), slots: vec![Slot::OpenTp as u16], skips: 5 },
                ProgramSkips { program: "sys_exit_btf".into(), slots: vec![5, 6], skips: 4 },
            ],
            ..Counters::default()
        };
        let mut counted = ByKind::default();
        *counted.of(Kind::Open).expect("probed") =
            Counted { delivered: 80, filtered: 9, unread: 1, gaps: 10, cut: 2, own: 0 };
        let account = Account::of(&counters, &counted, Pairing::default(), Kind::Open.bit());
        assert_eq!(account.kind(Kind::Open).off_by(), 0);
        assert_eq!(account.sum().off_by(), 0);
        assert_eq!(account.unattributed_skips, 4);
        assert_eq!(account.bookkeeping_lost, 2);
        assert_eq!(account.tree_full, 6, "apart: it is no event");
        assert_eq!(account.line(), "account: seen 127 delivered 80 filtered 31 lost 16 cut 2 (open 80)");
        let json: serde_json::Value = serde_json::from_str(&account.json()).expect("JSON");
        assert_eq!(json["account"]["kinds"]["open"]["lost"]["probe"], 5);
        assert_eq!(json["account"]["tree_full"], 6);
    }

    #[test]
    fn an_event_that_nobody_counted_makes_the_account_fail() {
        let open = SlotCounters { wanted: 100, ..SlotCounters::default() };
        let counters = Counters { cpus: vec![cpu(Slot::OpenTp, open)], ..Counters::default() };
        let mut counted = ByKind::default();
        counted.of(Kind::Open).expect("probed").delivered = 99;
        let account = Account::of(&counters, &counted, Pairing::default(), 0);
        assert_eq!(account.sum().off_by(), 1);
        let text = "the account is off by 1 (open 1): please report it";
        assert_eq!((account.discrepancy().as_deref(), account.missing().as_deref()), (Some(text), Some(text)));
        counted.of(Kind::Open).expect("probed").delivered = 101;
        let account = Account::of(&counters, &counted, Pairing::default(), 0);
        assert_eq!((account.discrepancy().is_some(), account.missing()), (true, None));
    }

    #[test]
    fn kinds_do_not_make_up_for_each_other() {
        let one = SlotCounters { wanted: 1, ..SlotCounters::default() };
        let counters = Counters { cpus: vec![cpu(Slot::OpenTp, one)], ..Counters::default() };
        let mut counted = ByKind::default();
        counted.of(Kind::Exec).expect("probed").delivered = 1;
        let account = Account::of(&counters, &counted, Pairing::default(), 0);
        assert_eq!(account.sum().off_by(), 0);
        assert!(account.discrepancy().is_some_and(|text| text.contains("(exec -1, open 1)")));
    }
}
