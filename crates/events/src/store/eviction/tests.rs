use crate::enrich::World;
use crate::store::index::{Answer, Index};
use crate::store::tests::{check_sums, fill};
use crate::store::{Id, Store};
use crate::synthetic::Maker;
use crate::synthetic::payload::tcp;
use proptest::prelude::*;
use tracetui_shared::kind::{Kind, Slot};
use tracetui_shared::record::bpf::BpfRecord;
use zerocopy::{FromZeros, IntoBytes};

fn checked(made: &mut Maker, bound: usize) -> (Store, World) {
    let (mut store, mut world) = (Store::new(bound), World::default());
    fill(&mut store, &mut world, made);
    (store, world)
}

#[test]
fn rare_and_other_events_survive_a_storm() {
    const EVENTS: u32 = 120_000;
    let (mut store, mut world) = (Store::new(1 << 20), World::default());
    let (mut made, mut rare) = (Maker::default(), Vec::new());
    for at in 0..EVENTS {
        match at % 4_000 {
            17 => made.exec(5_000 + at, "rare", &["rare"], 0),
            18 => made.exit(5_000 + at, "rare", 0),
            19 => made.open(5_000 + at, "rare", &format!("/rare/{at}"), -13),
            // Processes that repeat and alternate, successes and failures.
            _ => made.open(7 + at % 3, "storm", &format!("/f-{}", at % 5), if at % 5 == 4 { -2 } else { 3 }),
        }
        if (17..20).contains(&(at % 4_000)) {
            rare.push(Id::from(at));
        }
        if at % 10_000 == 9_999 {
            fill(&mut store, &mut world, &mut made);
            assert!(store.bytes() <= 1 << 20);
            check_sums(&store);
        }
    }
    assert!(store.evicted() > 100_000);
    assert_eq!(rare.iter().find(|id| store.get(**id).is_none()), None, "of {}", rare.len());
    // Nothing is evicted unsaid.
    let said: u64 = store.range(0..store.next_id()).map(|stored| 1 + u64::from(stored.evicted)).sum();
    assert_eq!(said, u64::from(EVENTS));
    let ids: Vec<Id> = store.range(0..store.next_id()).map(|stored| stored.id).collect();
    assert!(ids.is_sorted() && ids.first().is_some_and(|first| *first < 18), "{:?}", ids.first());
    assert!(ids.ends_with(&(Id::from(EVENTS) - 500..Id::from(EVENTS)).collect::<Vec<_>>()), "the newest are whole");
    // A storm of failures with new names.
    const STORM: u32 = 60_000;
    const ROOM: usize = 3 << 19;
    let (mut store, mut world) = (Store::new(ROOM), World::default());
    let mut made = Maker::default();
    for at in 0..100 {
        let pid = 1_000 + at;
        made.acts(&format!("{pid} rare exec rare, open /root/{at}:-13"));
        made.tcp(pid, "rare", tcp(0, ([127, 0, 0, 1], 9).into(), ([127, 0, 0, 1], 9).into()));
        made.event(Slot::Bpf, pid, "rare", BpfRecord::new_zeroed().as_bytes());
        made.exit(pid, "rare", 0);
    }
    for at in 0..STORM {
        made.open(7 + at % 3, "storm", &format!("/new/{at}"), -2);
        if at % 5_000 == 4_999 {
            fill(&mut store, &mut world, &mut made);
            assert!(store.bytes() <= ROOM);
            check_sums(&store);
        }
    }
    assert_eq!((0..500).find(|id| store.get(*id).is_none()), None, "of 500 rare events");
    // Nothing is evicted unsaid, and all that is counted in a failure failed.
    let said = |failed| store.range(0..store.next_id()).filter(move |stored| stored.failed == failed);
    assert_eq!(said(true).map(|stored| 1 + u64::from(stored.evicted)).sum::<u64>(), u64::from(STORM) + 100);
    assert!(said(false).all(|stored| stored.evicted == 0));
    let newest = store.next_id() - 1_000..store.next_id();
    assert_eq!(store.range(newest.clone()).map(|stored| stored.id).collect::<Vec<_>>(), newest.collect::<Vec<_>>());
}

#[test]
fn the_last_success_and_failure_of_each_process_stay_with_the_count_of_the_others() {
    let mut made = Maker::default();
    for at in 0..300 {
        made.open(7, "cat", &format!("/{at}"), if at % 3 == 0 { -2 } else { 3 });
    }
    made.exit(7, "cat", 0);
    let (mut store, mut world) = checked(&mut made, 4 << 20);
    while store.evicted() == 0 {
        (0..100).for_each(|at| made.open(8, "other", &format!("/{at}"), 3));
        fill(&mut store, &mut world, &mut made);
    }
    let kept: Vec<_> = store.range(0..301).map(|stored| (stored.id, stored.evicted)).collect();
    assert_eq!(kept, [(297, 99), (299, 199), (300, 0)]);
    check_sums(&store);
    // Pinned events are not evicted by value.
    let mut made = Maker::default();
    (0..1_000).for_each(|_| made.open(7, "cat", "/a", 3));
    let (mut store, mut world) = checked(&mut made, 1 << 20);
    store.pin(400..430);
    (0..100_000).for_each(|_| made.open(7, "cat", "/a", 3));
    fill(&mut store, &mut world, &mut made);
    assert_eq!(store.range(0..1_000).filter(|stored| (400..430).contains(&stored.id)).count(), 30);
    check_sums(&store);
}

proptest! {
    #[test]
    fn an_index_follows_the_store(numbers in prop::collection::vec(0u32..600, 1..1500), pin in 0u64..400) {
        let (mut store, mut world, mut made) = (Store::new(100_000), World::default(), Maker::default());
        let mut index = Index::new(&store);
        let ask = |kind: Kind, failed: bool| match (kind, failed) {
            (Kind::Open, false) => Answer::Yes,
            (Kind::Open, true) => Answer::Marked,
            _ => Answer::No,
        };
        for part in numbers.chunks(100) {
            for number in part {
                let pid = 7 + number % 4;
                match number % 20 {
                    0 => made.exec(pid, "sh", &["sh"], 0),
                    1 => made.exit(pid, "sh", 0),
                    2 | 3 => made.open(pid, "sh", &format!("/{}", number % 7), -2),
                    _ => made.open(pid, "sh", &format!("/a/long/name/of/a/directory/{}", number % 7), 3),
                }
            }
            let from = store.next_id();
            fill(&mut store, &mut world, &mut made);
            for id in from..store.next_id() {
                // Evicted at once, if the limit is small.
                let answer = store.get(id).map_or(Answer::No, |stored| ask(stored.kind, stored.failed));
                index.append(id, answer);
            }
            if from > pin {
                store.pin(pin..pin + 20);
            }
            index.evict(&store);
            let mut fresh = Index::new(&store);
            while fresh.scanning(&store) {
                fresh.scan(&store, 37, |stored| ask(stored.kind, stored.failed));
            }
            let ids = |index: &Index| (0..).map_while(|at| index.get(at)).collect::<Vec<_>>();
            prop_assert_eq!(ids(&index), ids(&fresh));
            prop_assert_eq!(index.marked(), fresh.marked());
            check_sums(&store);
            prop_assert!(store.bytes() <= store.bound || store.events() <= 21, "{}", store.bytes());
        }
    }
}
