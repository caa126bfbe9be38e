//! The time to format a line in nanoseconds, without writing it: `cargo bench --bench sinks`.

#![allow(clippy::print_stdout, reason = "for whoever runs it")]

use std::hint::black_box;
use std::time::Instant;
use tracetui_events::enrich::World;
use tracetui_events::event::{Event, EventContext};
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::{Cgroup, Clock, FIRST_KIND, Host, HostFrame, ProcessSeed, User};
use tracetui_events::sink::{Format, csv::Csv, ndjson::Json, text::Text};
use tracetui_events::synthetic::comm;
use tracetui_events::synthetic::payload::{self, Exec};
use tracetui_shared::header::{FrameHeader, VERSION};
use tracetui_shared::id::{CgroupId, Gid, NsInum, Tgid, Tid, Uid};
use tracetui_shared::kind::Kind;
use tracetui_shared::record::open::{OpenRecord, via};
use tracetui_shared::time::BootNanos;

const EVENTS: u64 = 2_000_000;
const BUFFER: usize = 64 << 10;

fn main() {
    let open = opened(b"stdio.h\0include\0usr\0", b"/usr/include/stdio.h", 3);
    let quoted = opened("B\u{fc}cher.txt\0ana\0home\0".as_bytes(), "/home/ana/B\u{fc}cher.txt".as_bytes(), 3);
    let missing = opened(b"", b"/usr/local/lib/gcc/x86_64-linux-gnu/12/include-fixed/stdio.h", -2);
    for (name, kind, payload) in [
        ("open", Kind::Open, open),
        ("open, not ASCII", Kind::Open, quoted),
        ("open, failed", Kind::Open, missing),
        ("exec, 16 args", Kind::Exec, execed()),
    ] {
        measure(name, "text", Text::default(), kind, &payload);
        measure(name, "json", Json::default(), kind, &payload);
        measure(name, "csv", Csv::default(), kind, &payload);
    }
}

fn measure(name: &str, format_name: &str, mut format: impl Format, kind: Kind, payload: &[u8]) {
    let mut out = Vec::with_capacity(2 * BUFFER);
    let mut best = f64::MAX;
    let mut bytes = 0;
    for _ in 0..5 {
        let took = round(&mut format, &mut out, kind, payload);
        best = best.min(took);
        out.clear();
    }
    with_event(kind, payload, |seen| {
        format.line(seen, &mut out);
        bytes = out.len();
    });
    println!("{name:16} {format_name:5} {best:6.0} ns/event  {bytes:5} bytes  {:6.0} MB/s", bytes as f64 / best * 1e3);
}

fn round(format: &mut impl Format, out: &mut Vec<u8>, kind: Kind, payload: &[u8]) -> f64 {
    let mut took = 0.0;
    with_event(kind, payload, |seen| {
        let mut event = *seen.event;
        let start = Instant::now();
        for i in 0..EVENTS / 5 {
            // Successive events differ in their times, by some microseconds. They are of two processes in turn, with 40 events each.
            event.header.time = BootNanos(seen.event.header.time.0 + i * 3_217);
            let pid = 48_000 + (i / 80 * 2 + i % 2) as u32 % 1000;
            (event.header.tgid, event.header.tid) = (Tgid(pid), Tid(pid));
            let seen = EventContext { event: &event, ..*seen };
            format.line(black_box(&seen), out);
            if out.len() >= BUFFER {
                black_box(&out);
                out.clear();
            }
        }
        took = start.elapsed().as_secs_f64() * 1e9 / (EVENTS / 5) as f64;
    });
    took
}

fn with_event(kind: Kind, payload: &[u8], mut f: impl FnMut(&EventContext<'_>)) {
    let mut batch = host();
    batch.push(header(kind), payload);
    let mut world = World::default();
    for frame in batch.frames() {
        if frame.header.kind >= FIRST_KIND {
            HostFrame::decode(&frame).into_iter().for_each(|host| world.apply_host(host, frame.header.time));
            continue;
        }
        let Ok(event) = Event::decode(&frame) else { continue };
        let process = world.apply(&event);
        let clock_offset = world.clock_offset;
        f(&EventContext { event: &event, world: &world, process: process.as_ref(), clock_offset });
    }
}

fn host() -> Batch {
    let mut batch = Batch::default();
    let mut push = |frame: HostFrame| frame.push(BootNanos(0), &mut batch);
    push(HostFrame::Host(Host { pid_ns: NsInum(4_026_531_836), ..Host::default() }));
    push(HostFrame::Clock(Clock { offset_ns: 1_795_165_200_000_000_000 }));
    push(HostFrame::User(User { uid: Uid(1000), name: "ana".into() }));
    for id in 0..200 {
        let path = format!("/user.slice/user-1000.slice/user@1000.service/app.slice/app-{id}.scope").into_bytes();
        push(HostFrame::Cgroup(Cgroup { id: CgroupId(id), path, container: None }));
    }
    for pid in 1..400 {
        push(HostFrame::ProcessSeed(ProcessSeed { tgid: Tgid(pid), ..ProcessSeed::default() }));
    }
    batch
}

fn header(kind: Kind) -> FrameHeader {
    FrameHeader {
        kind: kind as u16,
        version: VERSION,
        cpu: 1,
        time: BootNanos(3_731_500_000_001),
        start: BootNanos(3_731_419_000_000),
        cgroup: CgroupId(42),
        tgid: Tgid(48_214),
        tid: Tid(48_214),
        ppid: Tgid(48_213),
        uid: Uid(1000),
        gid: Gid(1000),
        mnt_ns: NsInum(4_026_531_841),
        pid_ns: NsInum(4_026_531_836),
        ns_pid: Tgid(48_214),
        comm: comm(b"cc1"),
        ..FrameHeader::default()
    }
}

fn opened(names: &[u8], path: &[u8], ret: i32) -> Vec<u8> {
    let record = OpenRecord { ret, dirfd: -100, flags: 0o2000000, via: via::OPENAT, ..OpenRecord::default() };
    payload::open(record, names, path)
}

fn execed() -> Vec<u8> {
    let argv = b"/usr/lib/gcc/x86_64-linux-gnu/12/cc1\0-quiet\0-imultiarch\0x86_64-linux-gnu\0main.c\0-quiet\0-dumpbase\0main.c\0-dumpbase-ext\0.c\0-mtune=generic\0-march=x86-64\0-O2\0-fasynchronous-unwind-tables\0-o\0/tmp/ccX1.s\0";
    let exe = b"cc1\x0012\0x86_64-linux-gnu\0gcc\0lib\0usr\0";
    let filename = b"/usr/lib/gcc/x86_64-linux-gnu/12/cc1";
    Exec { filename, exe, cwd: b"app\0ana\0home\0", argv, ..Exec::default() }.bytes()
}
