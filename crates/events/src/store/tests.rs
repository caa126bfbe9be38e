use super::*;
use crate::enrich::World;
use crate::event::{Body, Event};
use crate::frame::host::FIRST_KIND;
use crate::synthetic::{Maker, each_event};

pub(super) fn fill(store: &mut Store, world: &mut World, made: &mut Maker) {
    for frame in made.batch().frames().filter(|frame| frame.header.kind < FIRST_KIND) {
        let event = Event::decode(&frame).expect("an event");
        let process = world.apply(&event);
        store.push(&EventContext { event: &event, world, process: process.as_ref(), clock_offset: 5 }, &frame);
    }
}

fn filled(count: u32, bound: usize) -> (Store, World) {
    let mut feed = Maker::default();
    for i in 0..count {
        feed.open(100 + i % 7, "cat", &format!("/some/where/file-{i}"), 3);
    }
    let (mut store, mut world) = (Store::new(bound).by_age(), World::default());
    fill(&mut store, &mut world, &mut feed);
    (store, world)
}

fn open_path(event: &Event<'_>) -> String {
    match &event.body {
        Body::Open(open) => String::from_utf8_lossy(open.path).into_owned(),
        _ => String::new(),
    }
}

#[test]
fn events_come_back_until_the_oldest_go_unless_they_are_pinned() {
    let (store, world) = filled(1000, 64 << 20);
    let stored = store.get(777).expect("kept");
    assert_eq!(stored.with(&world, |seen| open_path(seen.event)).expect("decodes"), "/some/where/file-777");
    assert_eq!((stored.kind, stored.failed, stored.clock_offset), (Kind::Open, false, 5));
    assert!(stored.process.is_some());
    assert_eq!((store.events(), store.evicted()), (1000, 0));
    // The events before one are counted without lost rows.
    let mut maker = Maker::default();
    for number in 0..40 {
        maker.open(100, "cat", &format!("/{number}"), 3);
        if number % 10 == 9 {
            maker.lose(1);
        }
    }
    maker.counters(true);
    let mut store = Store::new(1 << 20);
    each_event(maker.batch(), |seen, frame| _ = store.push(seen, frame));
    let kinds: Vec<_> = (0..store.next_id()).filter_map(|id| store.get(id)).map(|stored| stored.kind).collect();
    assert!(kinds.contains(&Kind::Lost) && kinds.iter().filter(|kind| **kind == Kind::Open).count() == 40);
    for id in 0..=kinds.len() {
        let events = kinds[..id].iter().filter(|kind| **kind != Kind::Lost).count();
        assert_eq!(store.events_before(id as u64), events as u64, "{id}");
    }
    // The oldest go when it is full and are counted.
    let (store, world) = filled(20_000, 1 << 20);
    assert!(store.bytes() <= 1 << 20);
    assert!(store.events() > 1000);
    assert_eq!(store.events() + store.evicted(), 20_000);
    assert!(store.get(0).is_none());
    assert!(store.get(store.first_id() - 1).is_none());
    for id in [store.first_id(), 19_999] {
        let path = store.get(id).and_then(|s| s.with(&world, |seen| open_path(seen.event)));
        assert_eq!(path, Some(format!("/some/where/file-{id}")));
    }
    assert!(store.get(20_000).is_none());
    // What is charged is let go again.
    check_sums(&store);
    // The newest event is kept, whatever its size.
    let (store, _) = filled(10, 0);
    assert_eq!((store.events(), store.evicted()), (1, 9));
    // Pinned events outlive their blocks within the limit.
    let (mut store, world) = filled(2_000, 1 << 20);
    let pinned = store.first_id()..store.first_id() + 30;
    store.pin(pinned.clone());
    let (full, _) = filled(20_000, 1 << 20);
    let (bytes, first) = (store.pinned_bytes, store.first_id());
    assert!(0 < bytes && bytes < (1 << 20) / PINNED);
    (store.levels, store.next) = (full.levels, full.next);
    store.evict();
    assert!(store.first_id() > pinned.end && store.bytes() <= 1 << 20);
    for id in pinned.clone() {
        let path = store.get(id).and_then(|stored| stored.with(&world, |seen| open_path(seen.event)));
        assert_eq!(path, Some(format!("/some/where/file-{id}")));
    }
    assert!(store.get(pinned.end).is_none());
    let before: Vec<_> = store.pinned_before(first + 9).map(|stored| stored.id).collect();
    assert_eq!((before, store.pinned()), ((first..first + 9).collect(), Some((first, first + 29))));
    store.pin(std::iter::empty());
    assert_eq!((store.get(first).map(|stored| stored.id), store.pinned()), (None, None));
    // The newest events fit into a part of the limit.
    store.pin(store.first_id()..store.next_id());
    assert!(store.pinned_bytes <= (1 << 20) / PINNED);
    assert_eq!(store.pinned().map(|(_, last)| last), Some(19_999));
}

#[track_caller]
pub(super) fn check_sums(store: &Store) {
    let (mut shared, mut charged) = (HashMap::default(), 0);
    for process in store.range(0..store.next_id()).filter_map(|stored| stored.process) {
        let [own, image] = weights(process);
        for (object, bytes) in [(Arc::as_ptr(process) as usize, own), (Arc::as_ptr(&process.image) as usize, image)] {
            charged += if shared.insert(object, bytes).is_none() { bytes } else { 0 };
        }
    }
    assert_eq!((store.charged, store.charges.len()), (charged, shared.len()));
    let blocks: usize = store.levels.iter().flat_map(|level| &level.blocks).map(Block::bytes).sum();
    assert_eq!(store.levels.iter().map(Level::bytes).sum::<usize>(), blocks);
    let kept = store.range(0..store.next_id()).filter(|stored| stored.kind != Kind::Lost).count();
    assert_eq!((store.events(), store.events() + store.evicted()), (kept as u64, store.next_id()));
}
