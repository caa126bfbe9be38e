//! How many events a second a filter decides: `cargo bench --bench filter`.

#![allow(clippy::print_stdout, reason = "for whoever runs it")]

use std::hint::black_box;
use std::time::Instant;
use tracetui::enrich::World;
use tracetui::event::{Event, Seen};
use tracetui::filter::{Filter, NoNames, Scratch};
use tracetui::frame::Batch;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::{Gid, Tgid, Tid, Uid};
use tracetui_shared::kind::Kind;
use tracetui_shared::record::open::OpenRecord;
use tracetui_shared::time::BootNanos;
use zerocopy::IntoBytes;

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
    let mut batch = Batch::default();
    for pid in 0..64 {
        // Every second event is one of cc1, every second path a header.
        let comm: &[u8] = if pid % 2 == 0 { b"cc1" } else { b"make" };
        let path: &[u8] =
            if pid % 4 < 2 { b"../../include/linux/stdio.h" } else { b"../../lib/gcc/x86_64-linux-gnu/12/crt.o" };
        open(&mut batch, pid, comm, path);
    }
    let events: Vec<Event<'_>> = batch.frames().filter_map(|frame| Event::decode(&frame).ok()).collect();
    let mut world = World::default();
    let processes: Vec<_> = events.iter().map(|event| world.apply(event)).collect();
    let seen: Vec<Seen<'_>> = events
        .iter()
        .zip(&processes)
        .map(|(event, process)| Seen { event, world: &world, process: process.as_ref(), clock_offset: 0 })
        .collect();
    for text in FILTERS {
        measure(text, &seen);
    }
}

fn measure(text: &str, seen: &[Seen<'_>]) {
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

fn open(batch: &mut Batch, pid: u32, comm: &[u8], path: &[u8]) {
    let mut header = FrameHeader {
        kind: Kind::Open as u16,
        time: BootNanos(1_000_000_000),
        start: BootNanos(u64::from(pid) + 1),
        tgid: Tgid(pid),
        tid: Tid(pid),
        ppid: Tgid(pid / 2),
        uid: Uid(1000),
        gid: Gid(1000),
        ..FrameHeader::default()
    };
    header.comm[..comm.len()].copy_from_slice(comm);
    let mut names: Vec<u8> = Vec::new();
    for name in path.split(|b| *b == b'/').rev().filter(|name| *name != b"..") {
        names.extend_from_slice(name);
        names.push(0);
    }
    names.extend_from_slice(b"usr\0");
    let record = OpenRecord {
        ret: 3,
        names_len: names.len() as u16,
        root_off: names.len() as u16,
        path_len: path.len() as u16,
        ..OpenRecord::default()
    };
    batch.push(header, &[record.as_bytes(), &names, path].concat());
}
