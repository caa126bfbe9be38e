//! The account with synthetic counters; each counter is also falsified.

use super::*;
use crate::frame::host::ProgramSkips;
use tracetui_shared::counters::{CpuState, SlotCounters};
use tracetui_shared::kind::SLOTS;

fn cpu(slot: Slot, counters: SlotCounters) -> CpuState {
    let mut slots = [SlotCounters::ZERO; SLOTS];
    slots[slot as usize] = counters.completed();
    CpuState { slots, ..CpuState::ZERO }
}

#[test]
fn the_account_adds_up_and_each_part_has_a_name() {
    let open = SlotCounters { wanted: 100, filtered: 7, own: 3, lost_ring: 10, ..SlotCounters::ZERO };
    let fork = SlotCounters { bookkeeping: 12, lost_bookkeeping: 2, ..SlotCounters::ZERO };
    let counters = Counters {
        cpus: vec![cpu(Slot::Open, open), CpuState { tree_full: 6, ..cpu(Slot::Fork, fork) }],
        programs: vec![
            ProgramSkips { program: "sys_exit".into(), slots: vec![Slot::Open as u16], skips: 5 },
            ProgramSkips { program: "uring_submit".into(), slots: vec![Slot::Open as u16, Slot::Bpf as u16], skips: 4 },
        ],
        ..Counters::default()
    };
    let mut counted = ByKind::default();
    *counted.of(Kind::Open).expect("probed") =
        Counted { delivered: 80, filtered: 9, unread: 1, cut: 2, ..Counted::default() };
    counted.of(Kind::Fork).expect("probed").kept = 10;
    let account = Account::of(&counters, &counted, Pairing::default(), Kind::Open.into());
    assert_eq!(account.kind(Kind::Open).off_by(), 0);
    assert_eq!(account.sum().off_by(), 0);
    assert_eq!(account.unattributed_skips, 4);
    assert_eq!(account.bookkeeping_lost, 2);
    assert_eq!(account.tree_full, 6, "apart: it is no event");
    let line = "seen 127 delivered 80 filtered 31 lost 16 + 4 unattributed + 2 bookkeeping cut 2 (open 80)";
    assert_eq!(account.line(), format!("account: {line}"));
    let json: serde_json::Value = serde_json::from_str(&account.json()).expect("JSON");
    assert_eq!(json["account"]["kinds"]["open"]["lost"]["probe"], 5);
    assert_eq!(json["account"]["tree_full"], 6);
    assert_eq!(json["account"]["discrepancies"], serde_json::json!([]));
    // What is dropped, late or bounded has a name.
    let open = SlotCounters { wanted: 10, dropped: [3, 4, 0, 0], ..SlotCounters::ZERO };
    let counters = Counters { cpus: vec![cpu(Slot::Open, open)], ..Counters::default() };
    let mut counted = ByKind::default();
    *counted.of(Kind::Open).expect("probed") = Counted { delivered: 10, hollow: 2, unseen: 5, ..Counted::default() };
    let account = Account::of(&counters, &counted, Pairing::default(), Kind::Open.into());
    assert_eq!(account.sum().off_by(), 0);
    assert_eq!(account.kind(Kind::Open).lost.probe, 9, "what could not be reported is lost");
    let line = "account: seen 22 delivered 10 filtered 3 lost 9 cut 0 trapped 3 no_place 4 hollow 2 (open 10)";
    assert_eq!(account.line(), line);
    let json: serde_json::Value = serde_json::from_str(&account.json()).expect("JSON");
    let dropped = serde_json::json!({"trapped": 3, "no_place": 4, "no_room": 0, "missed": 0});
    assert_eq!((&json["account"]["dropped"], &json["account"]["hollow"]), (&dropped, &2.into()));
    // An upper bound of lost events is marked.
    let mut counted = ByKind::default();
    *counted.of(Kind::Bpf).expect("probed") = Counted { delivered: 10, stream_lost: 55_210, ..Counted::default() };
    let account = Account::of(&Counters::default(), &counted, Pairing::default(), Kind::Bpf.into());
    assert_eq!(account.line(), "account: seen 55210 delivered 10 filtered 0 lost 55210 at most cut 0 (bpf 10)");
    let json: serde_json::Value = serde_json::from_str(&account.json()).expect("JSON");
    let lost = &json["account"]["kinds"]["bpf"]["lost"];
    assert_eq!((&lost["ring"], &lost["at_most"]), (&55_210.into(), &55_210.into()));
    assert!(json["account"]["kinds"]["open"]["lost"]["at_most"].is_null());
    assert_eq!(account.clone().and(&account).sum().bounded, 110_420);
    // The line has late events only if there are some.
    let none = Account { asked: Kind::Open.into(), ..Account::default() };
    let some = Account { late: 3, ..none.clone() };
    assert_eq!(none.line(), "account: seen 0 delivered 0 filtered 0 lost 0 cut 0 (open 0)");
    assert_eq!(some.line(), "account: seen 0 delivered 0 filtered 0 lost 0 cut 0 late 3 (open 0)");
    let json: serde_json::Value = serde_json::from_str(&some.json()).expect("JSON");
    assert_eq!(json["account"]["late"], 3);
    assert_eq!((some.clone().and(&some).late, some.since(&none).late), (6, 3));
}

/// A trace with counts in every slot of two CPUs. All sums are correct.
struct Trace {
    counters: Counters,
    counted: ByKind,
    arrived: Streams,
}

impl Trace {
    fn new() -> Trace {
        let (mut cpus, mut counted, mut arrived) = (vec![CpuState::ZERO; 2], ByKind::default(), Streams::new());
        for (number, slot) in Slot::ALL.into_iter().enumerate() {
            for (index, cpu) in cpus.iter_mut().enumerate() {
                let n = (number + 20 * index + 10) as u64;
                let wanted = if slot.is_request() { 0 } else { 10 * n };
                let c = SlotCounters {
                    wanted,
                    bookkeeping: 5 * n,
                    filtered: 3,
                    own: 2,
                    lost_ring: wanted / 10,
                    lost_bookkeeping: 4,
                    sent_chunks: 6,
                    cut_short: 5,
                    dropped: [1, 2, 3, 4],
                    ..SlotCounters::ZERO
                }
                .completed();
                cpu.slots[slot as usize] = c;
                let stream = Arrived {
                    wanted: c.sent,
                    gaps: c.lost_ring,
                    unread: 0,
                    bookkeeping: c.sent_bookkeeping,
                    bookkeeping_gaps: 4,
                    chunks: 6,
                    cut_short: 5,
                };
                arrived.insert((slot as u16, index as u32), stream);
                let kind = counted.of(slot.kind()).expect("probed");
                if slot.is_request() {
                    kind.requests += c.sent_bookkeeping;
                    continue;
                }
                kind.delivered += c.sent - 3;
                kind.filtered += 2;
                kind.unread += 1;
                kind.kept += c.sent_bookkeeping - 1;
                kind.kept_unread += 1;
            }
        }
        Trace { counters: Counters { last: true, cpus, ..Counters::default() }, counted, arrived }
    }

    fn proved(&self) -> Account {
        let mut account = Account::of(&self.counters, &self.counted, Pairing::default(), KindSet::ALL);
        account.prove(&self.counters, &self.counted, &self.arrived, 0);
        account
    }
}

#[test]
fn a_trace_whose_sums_hold_is_proved_and_others_are_not() {
    let account = Trace::new().proved();
    assert_eq!(account.discrepancies, []);
    assert_eq!(account.discrepancy(), None);
    assert_eq!(account.sum().off_by(), 0);
    // An event that nobody counted.
    let open = SlotCounters { wanted: 100, ..SlotCounters::ZERO };
    let counters = Counters { cpus: vec![cpu(Slot::Open, open)], ..Counters::default() };
    let mut counted = ByKind::default();
    counted.of(Kind::Open).expect("probed").delivered = 99;
    let account = Account::of(&counters, &counted, Pairing::default(), KindSet::NONE);
    assert_eq!((account.sum().off_by(), account.kind(Kind::Open).lost.read), (1, 0), "missing is not unreadable");
    // What nobody sent, and what was never counted.
    let mut trace = Trace::new();
    trace.arrived.insert((77, 0), Arrived { wanted: 1, ..Arrived::default() });
    assert_eq!(trace.proved().discrepancies[0].of, "unknown slot 77 on CPU 0");

    let trace = Trace::new();
    let mut account = Account::of(&trace.counters, &trace.counted, Pairing::default(), KindSet::NONE);
    account.prove(&trace.counters, &trace.counted, &trace.arrived, 3);
    assert_eq!(account.discrepancies[0].of, "trace", "records that are no frames");

    let mut trace = Trace::new();
    trace.counters.last = false;
    assert_eq!(trace.proved().discrepancies.len(), 1, "the last counters are missing");

    let mut trace = Trace::new();
    trace.counted.of(Kind::Open).expect("probed").requests -= 1;
    assert_eq!(trace.proved().discrepancies[0].of, "open", "a request that went nowhere");
}

type Counter = (&'static str, fn(&mut SlotCounters) -> &mut u64);

const COUNTERS: [Counter; 13] = [
    ("met", |c| &mut c.met),
    ("wanted", |c| &mut c.wanted),
    ("sent", |c| &mut c.sent),
    ("filtered", |c| &mut c.filtered),
    ("bookkeeping", |c| &mut c.bookkeeping),
    ("sent_bookkeeping", |c| &mut c.sent_bookkeeping),
    ("own", |c| &mut c.own),
    ("lost_ring", |c| &mut c.lost_ring),
    ("lost_bookkeeping", |c| &mut c.lost_bookkeeping),
    ("sent_chunks", |c| &mut c.sent_chunks),
    ("cut_short", |c| &mut c.cut_short),
    ("dropped", |c| &mut c.dropped[Reason::Trapped as usize]),
    ("dropped", |c| &mut c.dropped[Reason::NoPlace as usize]),
];

#[test]
fn a_counter_that_is_wrong_by_one_is_named_with_its_slot() {
    for slot in Slot::ALL {
        for (cpu, (name, counter)) in [0, 1].into_iter().flat_map(|cpu| COUNTERS.map(|counter| (cpu, counter))) {
            for by in [1, u64::MAX] {
                let mut trace = Trace::new();
                let counter = counter(&mut trace.counters.cpus[cpu].slots[slot as usize]);
                *counter = counter.wrapping_add(by);
                let account = trace.proved();
                let of = of_stream(slot as u16, cpu as u32);
                let found = account.discrepancies.iter().find(|d| d.of == of && d.sum.contains(name));
                assert!(found.is_some(), "{name} of {slot:?} by {by}: {:?}", account.discrepancies);
                assert!(account.line().contains("does not add up"), "{}", account.line());
                let text = account.discrepancy().expect("there is one");
                assert!(text.contains(slot.program()) && text.contains(&format!("CPU {cpu}")), "{text}");
                let json: serde_json::Value = serde_json::from_str(&account.json()).expect("JSON");
                let sums = json["account"]["discrepancies"].as_array().expect("a list");
                assert!(sums.iter().any(|sum| sum["sum"].as_str().expect("text").contains(name)), "{json}");
            }
        }
    }
}

#[test]
fn an_arrival_or_a_count_that_is_wrong_by_one_is_named() {
    type Figure = fn(&mut Arrived) -> &mut u64;
    const FIGURES: [Figure; 6] = [
        |a| &mut a.wanted,
        |a| &mut a.gaps,
        |a| &mut a.bookkeeping,
        |a| &mut a.bookkeeping_gaps,
        |a| &mut a.chunks,
        |a| &mut a.cut_short,
    ];
    for slot in Slot::ALL {
        for figure in FIGURES {
            let mut trace = Trace::new();
            *figure(trace.arrived.get_mut(&(slot as u16, 1)).expect("it arrived")) += 1;
            let of = of_stream(slot as u16, 1);
            assert!(trace.proved().discrepancies.iter().any(|d| d.of == of), "{slot:?}");
        }
    }
    type Count = fn(&mut Counted) -> &mut u64;
    const COUNTS: [Count; 5] =
        [|c| &mut c.delivered, |c| &mut c.filtered, |c| &mut c.unread, |c| &mut c.kept, |c| &mut c.kept_unread];
    for kind in Kind::PROBED {
        for figure in COUNTS {
            let mut trace = Trace::new();
            *figure(trace.counted.of(kind).expect("probed")) -= 1;
            let account = trace.proved();
            let found = account.discrepancies.iter().filter(|d| d.of == kind.name());
            assert_eq!(found.count(), 2, "arrived, and in sum: {:?}", account.discrepancies);
        }
    }
}
