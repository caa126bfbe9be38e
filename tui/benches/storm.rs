//! Eviction by value under load. `-- store`: the processor time that the store takes per event, when it is full. `-- hours`: a dashboard
//! through eight hours of a storm of opens, with rare execs, exits, connections, failed and lost events in between: its memory by the hour,
//! and whether the rare events are kept. `cargo bench --bench storm -- hours`; `-- hours 5` is a tenth of it, with 5 million events.

#![allow(clippy::print_stdout, reason = "for whoever runs it")]

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;
use tracetui::app::{App, Input, Settings, Tick};
use tracetui_events::budget::Budget;
use tracetui_events::enrich::World;
use tracetui_events::event::{Event, EventContext};
use tracetui_events::frame::Batch;
use tracetui_events::store::Store;
use tracetui_events::synthetic::Maker;
use tracetui_events::synthetic::payload::tcp;
use tracetui_shared::kind::Kind;

const HOURS: u64 = 8;

fn main() {
    // As tracetui does.
    tracetui_events::budget::give_back_when_freed();
    let parts: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    if wanted("store") {
        for (load, paths, pids) in
            [("a run", 1, 3), ("alternating", 1000, 3), ("new names", 200_000, 3), ("a build", 100_000, 4000)]
        {
            store(load, paths, pids);
        }
    }
    if wanted("hours") {
        let millions = parts.iter().find_map(|part| part.parse().ok()).unwrap_or(50);
        hours(millions * 1_000_000);
    }
}

fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

fn load(paths: u32, pids: u32) -> Batch {
    let mut made = Maker::default();
    for at in 0..200_000u32 {
        let pid = 1000 + if pids > 10 { at / 50 % pids } else { at % pids };
        match at % 50 {
            0 if pids > 10 => made.exec(pid, "cc", &["cc", "-c", "main.c"], 0),
            49 if pids > 10 => made.exit(pid, "cc", 0),
            _ => {
                let path = format!("/usr/include/linux/file-{}", at % paths);
                made.open(pid, "cc", &path, if at % 3 == 0 { -2 } else { 3 });
            }
        }
    }
    made.batch()
}

fn store(name: &str, paths: u32, pids: u32) {
    const ROUNDS: u32 = 10;
    let batch = load(paths, pids);
    let mut spent = [Duration::ZERO; 2];
    let mut store = Store::new(64 << 20);
    for (stores, spent) in [false, true].into_iter().zip(&mut spent) {
        let mut world = World::default();
        for round in 0..ROUNDS {
            if round == 3 {
                // It is full.
                *spent = cpu();
            }
            for frame in batch.frames() {
                let Ok(event) = Event::decode(&frame) else { continue };
                let process = world.apply(&event);
                let seen = EventContext { event: &event, world: &world, process: process.as_ref(), clock_offset: 0 };
                if stores {
                    store.push(&seen, &frame);
                }
            }
        }
        *spent = cpu().saturating_sub(*spent);
    }
    let events = u64::from(ROUNDS - 3) * 200_000;
    let per_event = |time: Duration| time.as_nanos() as f64 / events as f64;
    println!(
        "{name:<12} {:>4.0} ns per event, decoding {:>4.0} ns, kept {} in {} MiB",
        per_event(spent[1].saturating_sub(spent[0])),
        per_event(spent[0]),
        store.events(),
        store.bytes() >> 20
    );
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn hours(events: u64) {
    let mut app = App::new(Settings { budget: Budget::new(256 << 20), ..Settings::default() }).expect("no filter");
    let seconds = HOURS * 3600;
    let per_second = events / seconds;
    let mut made = Maker { step_ns: 1_000_000_000 / (per_second + 8), ..Maker::default() };
    let mut rare = [0u64; 5];
    for second in 0..seconds {
        for at in 0..per_second {
            // A process that repeats, one that alternates, one that polls for what is missing, and one whose failures are always new.
            let file = at % 97;
            match at % 4 {
                0 => made.open(7, "spin", "/etc/passwd", 3),
                1 => made.open(8, "scan", &format!("/var/lib/scan/{file}"), 3),
                2 => made.open(9, "poll", &format!("/run/none/{file}"), -2),
                _ => made.open(10, "guess", &format!("/srv/{second}/{at}"), -2),
            }
        }
        let pid = 10_000 + u32::try_from(second).unwrap_or_default();
        made.exec(pid, "rare", &["rare", "--now"], 0);
        made.open(pid, "rare", &format!("/root/secret-{second}"), -13);
        made.tcp(pid, "rare", tcp(0, ([127, 0, 0, 1], 9).into(), ([127, 0, 0, 1], 9).into()));
        made.exit(pid, "rare", 256);
        if second % 600 == 599 {
            made.lose(5);
            rare[4] += 1;
        }
        rare[..4].iter_mut().for_each(|count| *count += 1);
        app.update(Input::Batch(made.batch()));
        app.update(Input::Tick(Tick { now: Duration::from_secs(second), usage: None }));
        if second % 1800 == 1799 {
            let (store, hour) = (app.store(), (second + 1) as f64 / 3600.0);
            let (kept, evicted, first) = (store.events(), store.evicted(), store.first_id());
            println!(
                "{hour:>4.1} h  resident {:>4} MiB  store {:>4} of {} MiB  kept {kept:>8}  evicted {evicted:>9}  oldest {first}",
                resident() >> 20,
                store.bytes() >> 20,
                store.bound >> 20,
            );
        }
    }
    let mut found = [0u64; 5];
    for stored in app.store().range(0..app.store().next_id()) {
        let at = match stored.kind {
            Kind::Exec => 0,
            Kind::Open if stored.process.is_some_and(|process| &*process.comm == b"rare") => 1,
            Kind::Tcp => 2,
            Kind::Exit => 3,
            Kind::Lost => 4,
            _ => continue,
        };
        found[at] += 1;
    }
    println!("kept of {rare:?} execs, refused opens, connections, exits and gaps: {found:?}; cpu {:?}", cpu());
    assert_eq!(found[..4], rare[..4], "rare events were evicted");
}
