//! The number of events per second that a filter evaluates: `cargo bench --bench filter`.

#![allow(clippy::print_stdout, reason = "for whoever runs it")]

use std::hint::black_box;
use std::time::Instant;
use tracetui_events::enrich::World;
use tracetui_events::event::{Event, EventContext};
use tracetui_events::filter::{Filter, NoNames, Scratch};
use tracetui_events::synthetic::{Maker, payload};
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Slot;
use tracetui_shared::record::open::OpenRecord;

const EVALUATIONS: usize = 2_000_000;

const FILTERS: [&str; 9] = [
    "",
    "pid=5",
    "comm=cc1 path~\\.h$",
    "path~\\.h$",
    "path=*.h",
    "path=*/linux/*.h",
    "tree=10",
    "stdio",
    "err or (uid>=1000 not comm=make* path~^/usr/(include|lib)/)",
];

fn main() {
    let mut maker = Maker { start_ns: 1, step_ns: 0, ..Maker::default() };
    for pid in 0..64 {
        // Every other event is by cc1, and every other path is a header.
        let comm = if pid % 2 == 0 { "cc1" } else { "make" };
        let path = if pid % 4 < 2 { "../../include/linux/stdio.h" } else { "../../lib/gcc/x86_64-linux-gnu/12/crt.o" };
        open(&mut maker, pid, comm, path);
    }
    let events: Vec<Event<'_>> = maker.batch.frames().filter_map(|frame| Event::decode(&frame).ok()).collect();
    let mut world = World::default();
    let processes: Vec<_> = events.iter().map(|event| world.apply(event)).collect();
    let seen: Vec<EventContext<'_>> = events
        .iter()
        .zip(&processes)
        .map(|(event, process)| EventContext { event, world: &world, process: process.as_ref(), clock_offset: 0 })
        .collect();
    for text in FILTERS {
        measure(text, &seen);
    }
}

fn measure(text: &str, seen: &[EventContext<'_>]) {
    let filter = match Filter::parse(text, &NoNames) {
        Ok(filter) => filter,
        Err(error) => return println!("{}", error.render()),
    };
    let mut scratch = Scratch::default();
    let start = Instant::now();
    let passed =
        seen.iter().cycle().take(EVALUATIONS).filter(|seen| filter.matches(black_box(seen), &mut scratch)).count();
    let rate = EVALUATIONS as f64 / start.elapsed().as_secs_f64() / 1e6;
    println!("{rate:8.1} M/s  {:3} % pass  {text:?}", 100 * passed / EVALUATIONS);
}

fn open(maker: &mut Maker, pid: u32, comm: &str, path: &str) {
    maker.like.ppid = Tgid(pid / 2);
    let names = path.rsplit('/').filter(|name| *name != "..").flat_map(|name| [name, "\0"]);
    let names: String = names.chain(["usr\0"]).collect();
    let record = OpenRecord { ret: 3, ..OpenRecord::default() };
    maker.event(Slot::Open, pid, comm, &payload::open(record, names.as_bytes(), path.as_bytes()));
}
