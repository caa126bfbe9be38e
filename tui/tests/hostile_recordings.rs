//! For any file with right checksums, `print`, `info` and what is behind `replay` neither panic nor hang, and take bounded memory.

#![allow(clippy::print_stdout, reason = "figures for whoever runs the tests")]

mod forge;

use forge::*;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tracetui_events::event::EventContext;
use tracetui_events::frame::host::{
    Clock, Group, Host, HostFrame, Layout, Probe, ProcessSeed, RecordLayout, StatePart, Trace, User,
};
use tracetui_events::frame::state::{
    Image, PendingFrames, Process, ProcessKey, ProcessLists, ProcessState, StateFrame,
};
use tracetui_events::frame::{Batch, FrameRef};
use tracetui_events::pipeline::{Disposition, Pipeline};
use tracetui_events::recording::block::BlockHeader;
use tracetui_events::recording::frames::{FrameReader, Next};
use tracetui_events::recording::index::{IndexEntry, Totals};
use tracetui_events::recording::{Item, Map, Reader};
use tracetui_events::synthetic::{Maker, payload};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::{Gid, Tgid, Uid};
use tracetui_shared::kind::{KINDS, KindSet, Slot};
use tracetui_shared::record::open::OpenRecord;
use tracetui_shared::time::BootNanos;

/// More processor time than a run takes, also without optimisation. A busy machine may take ten times as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Address space of a run: the default of `--memory`, the largest state, the program and its threads.
const MEMORY: u64 = 1 << 30;

fn file(bytes: &[u8]) -> File {
    let file = rustix::fs::memfd_create("hostile", rustix::fs::MemfdFlags::empty()).expect("a file");
    let mut file = File::from(file);
    file.write_all(bytes).expect("room");
    rewound(&file)
}

/// Runs tracetui with limited memory and time, with the file as `/proc/self/fd/0`.
fn run(args: &[&str], input: &File) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracetui"));
    let (out, err) = (file(b""), file(b""));
    command.args(args).stdin(rewound(input)).stdout(rewound(&out)).stderr(rewound(&err));
    let set = || {
        for (what, most) in [(Resource::As, MEMORY), (Resource::Cpu, PATIENCE.as_secs())] {
            setrlimit(what, Rlimit { current: Some(most), maximum: Some(most) })?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec `set` only makes system calls.
    unsafe { command.pre_exec(set) };
    let mut child = command.spawn().expect("tracetui runs");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if begun.elapsed() > 10 * PATIENCE {
            child.kill().expect("it runs");
            break child.wait().expect("a child");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Output { status, stdout: bytes_of(&out), stderr: bytes_of(&err) }
}

/// The same file, at its begin.
fn rewound(file: &File) -> File {
    let mut file = file.try_clone().expect("a file");
    file.seek(SeekFrom::Start(0)).expect("a file");
    file
}

fn bytes_of(file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    rewound(file).read_to_end(&mut bytes).map(|_| bytes).expect("readable")
}

const RUNS: [&[&str]; 6] = [
    &["info", "/proc/self/fd/0"],
    &["info", "--format", "json", "/proc/self/fd/0"],
    &["print", "/proc/self/fd/0"],
    &["print", "--format", "json", "/proc/self/fd/0"],
    &["print", "--format", "csv", "/proc/self/fd/0"],
    &["print", "/proc/self/fd/0", "tree=7 name~x"],
];

/// Reads a file in every way.
fn survive(what: &str, bytes: &[u8]) {
    survive_in(&RUNS, what, bytes);
}

/// Reads a large file with few events, whose format does not matter.
fn survive_large(what: &str, bytes: &[u8]) {
    survive_in(&[RUNS[0], RUNS[2]], what, bytes);
}

fn survive_in(runs: &[&[&str]], what: &str, bytes: &[u8]) {
    let input = file(bytes);
    // For runs by hand.
    if let Some(dir) = std::env::var_os("TRACETUI_HOSTILE_DIR") {
        let path = std::path::Path::new(&dir).join(what.replace(|c: char| !c.is_alphanumeric(), "-"));
        std::fs::write(path.with_extension("ttr"), bytes).expect("room");
    }
    let begun = Instant::now();
    for args in runs {
        let done = run(args, &input);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        let short: String = said.chars().take(2000).collect();
        assert_eq!(done.status.signal(), None, "{what}: {args:?}: {short}");
        let code = done.status.code();
        // `info` shows every file whose header can be read.
        let right = if args[0] == "info" { code == Some(0) } else { matches!(code, Some(0 | 1)) };
        assert!(right, "{what}: {args:?}: {code:?}: {short}");
        let control = |c: char| c.is_control() && c != '\n';
        assert!(!said.contains(control), "{what}: {args:?}: a control character in {short:?}");
        assert!(said.len() < 100_000, "{what}: {args:?} says {} bytes", said.len());
        let out = String::from_utf8(done.stdout).expect("UTF-8");
        if args.contains(&"json") {
            for line in out.lines() {
                serde_json::from_str::<serde_json::Value>(line).expect("every line is JSON");
            }
        }
        assert!(args.contains(&"csv") || !out.contains(control), "{what}: {args:?}: a control character");
    }
    replayed(what, &input);
    println!("{what}: {} bytes, {:.1} s", bytes.len(), begun.elapsed().as_secs_f64());
}

fn replayed(what: &str, input: &File) {
    let begun = thread_time();
    let Ok(map) = Map::open(input.try_clone().expect("a file")) else { return };
    for (at, _) in map.spine().expect("readable").iter().take(64) {
        map.index_block(*at).expect("readable");
    }
    let totals = map.totals;
    for ns in [0, 1, totals.first_ns, totals.first_ns / 2 + totals.last_ns / 2, totals.last_ns, u64::MAX] {
        let Some(at) = map.state_before(ns).expect("readable") else { continue };
        let mut own = map.file.file.try_clone().expect("a file");
        own.seek(SeekFrom::Start(at)).expect("a file");
        let mut reader = Reader::resume(own, map.file.header, map.file.unsealer_at(at), at);
        if let Ok(Some(Item::State(state))) = reader.next() {
            let mut pipeline = Pipeline::default();
            pipeline.restore(&state);
            feed(&mut pipeline, &mut FrameReader::of(reader));
        }
    }
    let took = thread_time() - begun;
    assert!(took < PATIENCE, "{what}: {took:?}");
}

fn feed(pipeline: &mut Pipeline, frames: &mut FrameReader<File>) {
    let mut take = |_: &EventContext<'_>, _: &FrameRef<'_>| Disposition::Delivered;
    while let Ok(Some(next)) = frames.next() {
        match next {
            Next::State(state) => pipeline.restore(&state),
            Next::Frames(batch) => pipeline.feed(batch),
        }
        pipeline.next(None, &mut take);
    }
    pipeline.end();
    pipeline.next(None, &mut take);
}

fn opens(count: u32) -> Batch {
    let mut maker = Maker::default();
    (0..count).for_each(|number| maker.open(number % 7, "cc1", &format!("/tmp/file-{number}"), 3));
    maker.batch()
}

fn trace(filter: &str) -> HostFrame {
    HostFrame::Trace(Trace { kinds: KindSet::ALL.bits(), filter: filter.to_owned(), ..Trace::default() })
}

fn seed(tgid: u32, start: u64, ppid: u32, parent_start: u64) -> HostFrame {
    HostFrame::ProcessSeed(ProcessSeed {
        tgid: Tgid(tgid),
        start: BootNanos(start),
        start_exact: true,
        ppid: Tgid(ppid),
        parent_start: BootNanos(parent_start),
        ..ProcessSeed::default()
    })
}

#[test]
fn index_blocks_that_lie() {
    // At itself, forward, backward, nowhere.
    for (offset, ns) in [(0, 0), (64, 0), (64, u64::MAX), (u64::MAX, 9), (1 << 62, u64::MAX), (70_000, 7)] {
        let mut forge = Forge::new();
        forge.frames(&opens(20));
        for _ in 0..3 {
            let before =
                Totals { first_ns: u64::MAX, last_ns: ns, events: [u64::MAX; KINDS], lost: u64::MAX, blocks: u64::MAX };
            forge.index = if offset == 70_000 { forge.here() } else { offset };
            forge.index(before, &[], &[]);
            forge.state(STATE, &opens(3));
        }
        forge.summary();
        replayed("an index block", &file(&forge.bytes));
    }
    // Each other.
    let mut forge = Forge::new();
    forge.index = forge.here() + (64 + size_of::<Totals>()) as u64;
    forge.index(Totals::default(), &[], &[]);
    forge.index(Totals::default(), &[], &[]);
    forge.frames(&opens(20));
    survive("index blocks that point at each other", &forge.bytes);
}

#[test]
fn index_blocks_with_odd_lengths() {
    let entry = IndexEntry {
        offset: u64::MAX,
        bytes: u32::MAX,
        contents: STATE,
        events: [u32::MAX; KINDS],
        joins: u32::MAX,
        ..IndexEntry::default()
    };
    for rest in [0, 1, 8, 16, 167, 168, 169] {
        let mut forge = Forge::new();
        forge.index(Totals::default(), &[entry], &vec![0xff; rest]);
        forge.frames(&opens(20));
        forge.index(Totals::default(), &[entry], &[]);
        forge.summary();
        replayed("odd lengths", &file(&forge.bytes));
    }
    // Spans that begin after their end, at the ends of time.
    let mut forge = Forge::new();
    let spans = [(u64::MAX, 0), (0, u64::MAX), (9, 3), (u64::MAX, u64::MAX), (0, 0)];
    let mut entries = Vec::new();
    for (first_ns, last_ns) in spans {
        entries.push(IndexEntry { first_ns, last_ns, contents: FRAMES, ..entry });
    }
    let offset = forge.state(STATE, &opens(2));
    entries.push(IndexEntry { offset, contents: STATE, ..IndexEntry::default() });
    forge.index(Totals::default(), &entries, &[]);
    forge.summary();
    survive("spans that begin after their end", &forge.bytes);
}

#[test]
fn a_long_chain_of_overlapping_index_blocks() {
    // Each contains the ones after it, up to the largest block, and leads to the one before.
    let count = if cfg!(debug_assertions) { 200u64 } else { 1500 };
    let stride = (64 + size_of::<Totals>()) as u64;
    let size = 15 << 20;
    let mut forge = Forge::new();
    let start = forge.here();
    let mut rest = vec![0u8; size];
    for number in (0..count).rev() {
        let index = if number == 0 { 0 } else { start + (number - 1) * stride };
        let before = Totals { last_ns: u64::MAX, ..Totals::default() };
        let payload = [zerocopy::IntoBytes::as_bytes(&before), &rest].concat();
        let block = sealed(BlockHeader { index, ..header(INDEX, PLAIN, size, size) }, &payload[..size]);
        rest = block;
        if number % 100 == 0 {
            rest.truncate(size + stride as usize * 2);
        }
    }
    forge.bytes.extend_from_slice(&rest);
    forge.index = start + (count - 1) * stride;
    forge.frames(&opens(3));
    replayed("overlapping index blocks", &file(&forge.bytes));
}

#[test]
fn many_small_blocks() {
    let mut forge = Forge::new();
    for number in 0..300_000u64 {
        let contents = if number % 3 == 0 { STATE } else { FRAMES };
        let header = forge::header(contents, PLAIN, 0, 0);
        forge.block(BlockHeader { first_ns: number, last_ns: number, events: u32::MAX, ..header }, &[]);
    }
    survive_large("blocks without contents", &forge.bytes);
    let map = Map::open(file(&forge.bytes)).expect("a recording");
    assert!(map.rest.len() < 140_000, "{}", map.rest.len());
    let before = map.state_before(200_000).expect("readable").expect("a state");
    // A state before, and not much before.
    let number = (before - 64) / 64;
    assert!(number < 200_000 && number > 199_900 && number.is_multiple_of(3), "{number}");
}

#[test]
fn blocks_between_damage() {
    let mut forge = Forge::new();
    for number in 0..60_000u32 {
        forge.bytes.extend_from_slice(b"TTRBTTRB");
        let mut block = sealed(forge::header(FRAMES, PLAIN, 8, 8), &number.to_le_bytes());
        // The checksum of every third payload is wrong.
        block[64] ^= u8::from(number % 3 == 0);
        forge.bytes.extend_from_slice(&block);
    }
    survive_large("blocks between damage", &forge.bytes);
}

#[test]
fn bombs() {
    let zeros = vec![0u8; 16 << 20];
    let bomb = zstd::bulk::compress(&zeros, 1).expect("memory");
    let mut forge = Forge::new();
    for number in 0..24 {
        // It says the truth, or less.
        let plain = if number % 2 == 0 { 16 << 20 } else { 100 };
        match number % 3 {
            1 => forge.rows(&zeros, &zeros, plain),
            _ => forge.block(forge::header(FRAMES, ZSTD, bomb.len(), plain), &bomb),
        };
    }
    survive("bombs", &forge.bytes);
    // A state of a gigabyte, as the first thing in the file.
    let batch = host_frames((0..15).map(|_| HostFrame::StatePart(StatePart { frames: vec![0; 1 << 20] })));
    let packed = zstd::bulk::compress(batch.bytes(), 1).expect("memory");
    let most = if cfg!(debug_assertions) { 40u16 } else { 70 };
    let mut forge = Forge::new();
    for (contents, parts) in [(STATE, most), (END, most / 4), (STATE, most / 4)] {
        for part in 0..parts {
            let header = forge::header(contents, ZSTD, packed.len(), batch.len());
            forge.block(BlockHeader { part, parts, ..header }, &packed);
        }
    }
    forge.frames(&opens(5));
    survive_large("a state of a gigabyte", &forge.bytes);
}

#[test]
fn a_state_with_long_lists() {
    let key = |number: u32| ProcessKey { tgid: Tgid(number), start: BootNanos(number.into()) };
    let mut forge = Forge::new();
    // Without optimisation it takes long.
    let parts = if cfg!(debug_assertions) { 2 } else { 24u16 };
    for part in 0..parts {
        let base = u32::from(part) * 200_000;
        let lists = ProcessLists {
            dead: (0..200_000).map(|number| key(base + number)).collect(),
            settled: (0..200_000).map(|number| (key(base + number), key(number))).collect(),
            roots: (0..200_000).map(|number| (Tgid(base + number), Some(key(number)))).collect(),
            inexact: Vec::new(),
        };
        let mut inner = Batch::default();
        StateFrame::ProcessLists(lists).push(BootNanos(1), &mut inner);
        forge.state_part(STATE, (part, parts), &state_of(inner.bytes()));
    }
    forge.frames(&opens(5));
    survive_large("a state with long lists", &forge.bytes);
}

/// Processes with texts of so many bytes, about 15 MiB of them.
fn processes(part: u32, text: usize, of_command: bool) -> Batch {
    let mut frames = Batch::default();
    let mut number = part << 20;
    while frames.len() < (15 << 20) - 2 * text {
        number += 1;
        let key = |number: u32| ProcessKey { tgid: Tgid(number), start: BootNanos(u64::from(number) + 5) };
        let image = Image { exe: vec![b'x'; text].into(), argv: vec![b'y'; text].into(), ..Image::default() };
        let process = Process {
            key: key(number),
            parent: Some(key(number / 2)),
            maker: Some(key(number / 3)),
            comm: b"cc1".as_slice().into(),
            image: image.into(),
            of_command,
            ..Process::default()
        };
        let latest = BootNanos(number.into());
        let state = ProcessState { process, current: true, latest, ..ProcessState::default() };
        StateFrame::ProcessState(state).push(BootNanos(1), &mut frames);
    }
    frames
}

/// Events that wait, about 15 MiB of them.
fn waiting(stage: u8, event: &Batch) -> Batch {
    let mut frames = Batch::default();
    let events = event.bytes().repeat((1 << 20) / event.len());
    for number in 0..14 {
        let pending = PendingFrames { stage, number, frames: events.clone() };
        StateFrame::PendingFrames(pending).push(BootNanos(1), &mut frames);
    }
    frames
}

type LargeState = (&'static str, Box<dyn Fn(u32) -> Batch>);

fn large_states() -> Vec<LargeState> {
    let one = opens(1);
    // Without optimisation many take long.
    let small = if cfg!(debug_assertions) { 100 } else { 3 };
    let users = |part: u32| {
        let users = (0..120_000).map(|uid| HostFrame::User(User { uid: Uid(part << 20 | uid), name: "x".into() }));
        host_frames(users)
    };
    vec![
        ("small processes", Box::new(move |part| processes(part, small, false))),
        ("processes with texts", Box::new(|part| processes(part, 4000, false))),
        ("processes with long texts", Box::new(|part| processes(part, 1 << 20, true))),
        ("events that wait for their order", Box::new(move |_| waiting(0, &one))),
        ("users", Box::new(users)),
    ]
}

/// Runs `print --memory`: what it says, the number of lines that it prints, and the most memory that it had so far, looked at all
/// the time.
fn resident(memory: &str, args: &[&str], input: &File) -> (String, usize, u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracetui"));
    command.args(["print", "/proc/self/fd/0", "--memory", memory]).args(args).stdin(rewound(input));
    let (out, err) = (file(b""), file(b""));
    let mut child = command.stdout(rewound(&out)).stderr(rewound(&err)).spawn().expect("tracetui runs");
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().expect("a child").is_none() {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0);
        most = most.max(kib * 1024);
        std::thread::sleep(Duration::from_millis(2));
    }
    let text = |file: File| String::from_utf8(bytes_of(&file)).expect("UTF-8");
    (text(err), text(out).lines().filter(|line| line.contains("/tmp/file-")).count(), most)
}

#[test]
fn large_states_take_no_more_than_they_may() {
    for (what, frames) in large_states() {
        for (parts, fits) in [(1, true), (4, false)] {
            let mut forge = Forge::new();
            let at = forge.here();
            for part in 0..parts {
                forge.state_part(STATE, (part, parts), &state_of(frames(part.into()).bytes()));
            }
            forge.frames(&opens(5));
            let input = file(&forge.bytes);
            for args in [&[] as &[&str], &["--from", "0s"]] {
                let begun = Instant::now();
                let (said, lines, resident) = resident("64MiB", args, &input);
                let seconds = begun.elapsed().as_secs_f64();
                println!("{what}, {parts} blocks, {args:?}: {} MiB, {seconds:.1} s", resident >> 20);
                let refused = format!("at offset {at}: ignored a state that exceeds --memory");
                assert_eq!(said.contains(&refused), !fits, "{what}: {said}");
                let events = if what.contains("wait") && fits { 14 } else { 5 };
                assert!(lines >= events, "{what}, {parts} blocks, {args:?}: {lines} events: {said}");
                assert!(resident <= 128 << 20, "{what}, {parts} blocks, {args:?}: {} MiB", resident >> 20);
            }
        }
    }
}

#[test]
fn rows_with_odd_counts() {
    for count in [0u32, 1, 7, 1000, u32::MAX] {
        for threads in [0, 1, 63, 64, 6400] {
            for (group, columns) in [(3u8, 0u8), (3, 1), (3, 0xff), (0xff, 0x80), (96, 4)] {
                let mut rows = count.to_le_bytes().to_vec();
                rows.resize(rows.len() + count.min(2000) as usize, group);
                rows.resize(rows.len() + 10, columns);
                rows.resize(rows.len() + 4000, 1);
                let mut forge = Forge::new();
                for plain in [0, 96, 4000, 16 << 20] {
                    forge.rows(&vec![7; threads], &rows, plain);
                }
                replayed("rows", &file(&forge.bytes));
                let mut reader = Reader::new(&forge.bytes[..]).expect("a recording");
                while reader.next().expect("readable").is_some() {}
            }
        }
    }
}

#[test]
fn facts_that_lie() {
    let long = "\u{1b}]0;gotcha\u{7}\u{1b}[2J\r\n\u{202e}".repeat(40_000);
    let escape = "\u{1b}[31m\u{9b}2J\r";
    let host = Host {
        name: long.clone(),
        boot_id: escape.into(),
        kernel: escape.into(),
        arch: long.clone(),
        ..Host::default()
    };
    let probe = Probe {
        name: escape.into(),
        how: escape.into(),
        why: Some(escape.into()),
        remedy: Some(escape.into()),
        ..Probe::default()
    };
    let seeds = |names: &str| {
        let process = ProcessSeed {
            tgid: Tgid(3),
            comm: names.into(),
            exe: names.into(),
            argv: names.into(),
            cgroup: names.into(),
            ..ProcessSeed::default()
        };
        HostFrame::ProcessSeed(process)
    };
    for offset_ns in [i64::MIN, -1, 0, i64::MAX] {
        let mut forge = Forge::new();
        let users = (0..2000).map(|uid| HostFrame::User(User { uid: Uid(uid), name: escape.into() }));
        let groups = [HostFrame::Group(Group { gid: Gid(0), name: long.clone() })];
        let probes = (0..1000).map(|_| HostFrame::Probe(probe.clone()));
        let first = [
            trace(""),
            HostFrame::Host(host.clone()),
            HostFrame::Clock(Clock { offset_ns }),
            seeds(&long),
            seeds(escape),
        ];
        forge.frames(&host_frames(first.into_iter().chain(users).chain(groups).chain(probes)));
        forge.frames(&opens(30));
        let mut maker = Maker { ns: u64::MAX - 2_000_000_000, step_ns: 1, ..Maker::default() };
        maker.open(1, escape, &long[..4000], -2);
        forge.frames(&maker.batch);
        let mut zero = Maker { ns: 0, step_ns: 0, ..Maker::default() };
        zero.open(1, "x", "y", 3);
        forge.frames(&zero.batch);
        survive("facts that lie", &forge.bytes);
    }
}

#[test]
fn filters_that_are_none() {
    for filter in
        ["(((", "name~(", "\u{1b}[2Jpid=", &"not ".repeat(20_000), &"x".repeat(1 << 20), "later.field=3", "tree=7"]
    {
        let mut forge = Forge::new();
        forge.frames(&host_frames([trace(filter)]));
        forge.frames(&opens(30));
        survive(&format!("the filter {}", filter.chars().take(12).collect::<String>().escape_debug()), &forge.bytes);
    }
}

/// An open of a process that started at 5.
fn open_of(maker: &mut Maker, pid: u32) {
    let header = FrameHeader { start: BootNanos(5), ..maker.header(Slot::Open, pid, "x") };
    maker.batch.push(header, &payload::open(OpenRecord::default(), b"", b"/y"));
}

#[test]
fn processes_that_are_their_own_ancestors() {
    let mut forge = Forge::new();
    let ring = (1..50).map(|number| seed(number, 5, number % 49 + 1, 5));
    let others = [seed(7, 5, 7, 5), seed(99, 3, 0, 0)];
    forge.frames(&host_frames([trace("tree=99")].into_iter().chain(ring).chain(others)));
    let mut maker = Maker::default();
    (0..200).for_each(|number| open_of(&mut maker, number % 49 + 1));
    let opens = maker.batch();
    forge.frames(&opens);
    // In a state, where each has a maker too.
    let key = |tgid: u32| ProcessKey { tgid: Tgid(tgid), start: BootNanos(5) };
    let process = |tgid: u32| {
        let process = Process {
            key: key(tgid),
            parent: Some(key(tgid % 49 + 1)),
            maker: Some(key(tgid * 7 % 49 + 1)),
            ..Process::default()
        };
        StateFrame::ProcessState(ProcessState { process, current: true, ..ProcessState::default() })
    };
    let mut state = Batch::default();
    (1..50).for_each(|tgid| process(tgid).push(BootNanos(1), &mut state));
    let mut cut = Forge::new();
    state.append(host_frames([trace("tree=99"), seed(99, 3, 0, 0)]).bytes());
    cut.state(STATE, &state);
    cut.frames(&opens);
    survive("processes that are their own ancestors", &forge.bytes);
    survive("a state with processes that are their own ancestors", &cut.bytes);
}

#[test]
fn odd_layouts() {
    let record = |kind, part, fixed| RecordLayout { kind, part, fixed };
    let odd = [
        vec![],
        vec![record(1, 0, 0), record(2, 0, u16::MAX), record(3, 0, 1), record(3, 1, 7)],
        (0..60_000).map(|number| record(number, number, number)).collect(),
        vec![record(3, 0, 3); 100_000],
    ];
    for (number, records) in odd.into_iter().enumerate() {
        let mut forge = Forge::new();
        forge.frames(&host_frames([trace(""), HostFrame::Layout(Layout { records })]));
        forge.frames(&opens(300));
        survive(&format!("layout {number}"), &forge.bytes);
    }
}

#[test]
fn a_sparse_file_is_searched_up_to_a_bound() {
    let mut forge = Forge::new();
    forge.frames(&opens(300));
    let input = file(&forge.bytes);
    // As large as a file in memory may be.
    if input.set_len(1 << 40).is_ok() {
        replayed("a sparse file", &input);
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_read() {
    let mut forge = Forge::new();
    for _ in 0..50 {
        forge.frames(&opens(300));
        forge.state(STATE, &opens(5));
    }
    let input = file(&forge.bytes);
    let map = Map::open(input.try_clone().expect("a file")).expect("a recording");
    input.set_len(forge.here() / 2 + 7).expect("a file");
    for ns in [0, 100_100_000_000, u64::MAX] {
        map.state_before(ns).expect("readable");
    }
    let mut unsealer = map.file.unsealer_at(u64::MAX);
    for entry in &map.rest {
        assert!(map.frames(entry, &mut unsealer).expect("readable").is_none_or(|frames| !frames.is_empty()));
    }
}
