//! For any bytes as frames, and for changed blocks, frames, index blocks and states with right checksums: no panic, no hang, bounded
//! memory.
//!
//! Each target of changes begins with inputs that are made here and with the files in `tests/corpus/TARGET/`, and changes them for
//! `TRACETUI_FUZZ_SECONDS` (default: half a second). An input that fails is kept in the directory for temporary files of the
//! tests, and its name is said.

#![allow(clippy::print_stdout, reason = "figures for whoever runs the tests")]

mod forge;
#[path = "../src/fuzz/read.rs"]
mod read;

use forge::*;
use proptest::prelude::*;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::{Cgroup, Clock, Host, HostFrame, Layout, Probe, ProcessSeed, Trace, User};
use tracetui_events::limits;
use tracetui_events::pipeline::{Disposition, Pipeline};
use tracetui_events::recording::Writer;
use tracetui_events::recording::block::{BlockHeader, HEADER};
use tracetui_events::recording::index::{IndexBlock, IndexEntry, Totals};
use tracetui_events::sink::FormatName;
use tracetui_events::synthetic::Maker;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::{CgroupId, Tgid, Uid};
use tracetui_shared::kind::{KindSet, Slot};
use tracetui_shared::time::BootNanos;
use zerocopy::{FromBytes as _, IntoBytes as _};

/// More processor time than any input takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of an input, at most.
const MOST: usize = 1 << 16;

/// xorshift64*: the same changes in each run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }
}

/// Numbers at which something may change.
const ODD: [u64; 14] = [0, 1, 7, 8, 63, 64, 95, 96, 255, 65_535, 0x7fff_ffff, 0xffff_ffff, i64::MIN as u64, u64::MAX];

fn change(dice: &mut Dice, input: &mut Vec<u8>, others: &[Vec<u8>]) {
    for _ in 0..1 + dice.below(6) {
        let length = input.len();
        let at = dice.below(length);
        match dice.below(8) {
            0 if length > 0 => input[at] ^= 1 << dice.below(8),
            1 if length > 0 => input[at] = dice.next() as u8,
            2 | 3 if length >= 8 => {
                // A number, mostly at its place.
                let width = [1, 2, 4, 8][dice.below(4)];
                let at = dice.below(length - 7) / width * width;
                let odd = ODD[dice.below(ODD.len())];
                let value = if dice.below(3) == 0 { length as u64 + dice.next() % 9 } else { odd };
                input[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
            }
            4 if length > 0 => input.truncate(at),
            5 if length > 0 => {
                let end = at + dice.below((length - at).min(300));
                let part = input[at..end].to_vec();
                let to = dice.below(length);
                input.splice(to..to, part);
            }
            6 if length > 0 => {
                let end = at + dice.below((length - at).min(300));
                input.drain(at..end);
            }
            _ => {
                let other = &others[dice.below(others.len())];
                let start = dice.below(other.len());
                let part = other[start..].iter().take(dice.below(400)).copied();
                input.splice(at..at, part.collect::<Vec<_>>());
            }
        }
    }
    input.truncate(MOST);
}

/// Limits the memory of this process, so that a few bytes cannot make it allocate gigabytes.
fn limit_memory() {
    setrlimit(Resource::As, Rlimit { current: Some(2 << 30), maximum: None }).expect("RLIMIT_AS");
}

fn check_json(lines: &str) {
    lines.lines().for_each(|line| {
        serde_json::from_str::<serde_json::Value>(line).expect("every line is JSON");
    });
}

fn print(bytes: &[u8]) {
    check_json(&read::recording(bytes));
}

/// Runs a target on its corpus, and then on changed inputs.
fn fuzz(name: &str, mut inputs: Vec<Vec<u8>>, target: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    limit_memory();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let mut kept: Vec<PathBuf> =
        fs::read_dir(corpus).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    kept.sort();
    inputs.extend(kept.iter().map(|path| fs::read(path).expect("the corpus")));
    let seconds = std::env::var("TRACETUI_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let time = seconds.map_or(Duration::from_millis(500), Duration::from_secs);
    let run = |input: &[u8]| {
        let begun = thread_time();
        let survived = std::panic::catch_unwind(|| target(input)).is_ok();
        let took = thread_time() - begun;
        if !survived || took > PATIENCE {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{:08x}", crc32fast::hash(input)));
            fs::write(&path, input).expect("room");
            panic!("{name} fails on {} ({took:?})", path.display());
        }
    };
    inputs.iter().for_each(|input| run(input));
    let (mut dice, begun, mut runs) = (Dice(0x9e37_79b9_7f4a_7c15), Instant::now(), 0u64);
    while begun.elapsed() < time {
        let mut input = inputs[dice.below(inputs.len())].clone();
        change(&mut dice, &mut input, &inputs);
        run(&input);
        runs += 1;
    }
    println!("{name}: {} inputs, {runs} changed ones", inputs.len());
}

fn opens() -> Batch {
    let mut maker = Maker::default();
    (0..40).for_each(|number| maker.open(number % 7, "cc1", &format!("/tmp/file-{number}"), 3));
    maker.exec(8, "sh", &["cc", "-c", "x.c"], 0);
    maker.fork(8, "sh", 9);
    maker.exit(9, "sh", 256);
    maker.lose(3);
    maker.counters(true);
    maker.batch()
}

fn host() -> Batch {
    host_frames([
        HostFrame::Trace(Trace {
            kinds: KindSet::ALL.bits(),
            command: Tgid(8),
            filter: "tree=8".into(),
            ..Trace::default()
        }),
        HostFrame::Layout(Layout::own()),
        HostFrame::Host(Host { name: "host".into(), cpus: 2, ..Host::default() }),
        HostFrame::Clock(Clock { offset_ns: 1 << 60 }),
        HostFrame::User(User { uid: Uid(1000), name: "somebody".into() }),
        HostFrame::Cgroup(Cgroup { id: CgroupId(3), path: b"/a/b".to_vec(), container: None }),
        HostFrame::Probe(Probe { name: "sys_exit".into(), attached: true, ..Probe::default() }),
        HostFrame::ProcessSeed(ProcessSeed { tgid: Tgid(8), start: BootNanos(5), ..ProcessSeed::default() }),
    ])
}

/// The frames inside of the state of a pipeline.
fn state() -> Batch {
    let mut pipeline = Pipeline::default();
    pipeline.feed(host());
    pipeline.feed(opens());
    pipeline.next(None, &mut |_, _| Disposition::Delivered);
    let mut inner = Batch::default();
    for frame in pipeline.state().frames() {
        if let Some(HostFrame::StatePart(part)) = HostFrame::decode(&frame) {
            inner.append(&part.frames);
        }
    }
    inner
}

#[test]
fn blocks() {
    let packed = |batch: &Batch, contents: u16| {
        let payload = zstd::bulk::compress(batch.bytes(), 1).expect("memory");
        [header(contents, ZSTD, payload.len(), batch.len()).as_bytes(), &payload].concat()
    };
    let mut writer = Writer::new(Vec::new(), &file_header()).expect("memory");
    writer.batch(opens().bytes()).expect("memory");
    let (written, _) = writer.end(&state()).expect("memory");
    let inputs = vec![packed(&opens(), FRAMES), packed(&state(), STATE), written[HEADER..].to_vec(), vec![0; 64]];
    fuzz("block", inputs, |input| {
        // As many blocks as there are, with right checksums, each compressed anew if it does not decompress.
        let mut forge = Forge::new();
        forge.frames(&host());
        let Ok((header, payload)) = BlockHeader::read_from_prefix(input) else { return };
        let payload = &payload[..payload.len().min(header.stored as usize)];
        let mut right = BlockHeader { magic: *b"TTRB", file: file_header().short_id(), ..header };
        right.stored = payload.len() as u32;
        forge.index = header.index;
        forge.block(right, payload);
        // What was meant to be compressed, compressed.
        let again = zstd::bulk::compress(payload, 1).expect("memory");
        right.stored = again.len() as u32;
        forge.block(right, &again);
        forge.frames(&opens());
        print(&forge.bytes);
        read::walk(&forge.bytes);
    });
}

#[test]
fn frames() {
    let inputs = vec![opens().bytes().to_vec(), host().bytes().to_vec(), [host().bytes(), opens().bytes()].concat()];
    fuzz("frame", inputs, |input| {
        let mut forge = Forge::new();
        forge.frames(&host());
        forge.packed(FRAMES, input);
        forge.packed(FRAMES, opens().bytes());
        print(&forge.bytes);
        read::recorded(input);
    });
}

#[test]
fn index_blocks() {
    let payload = |blocks: u64, rest: usize| {
        let entry = IndexEntry {
            offset: 64,
            bytes: 200,
            contents: STATE,
            joins: 3,
            first_ns: 1,
            last_ns: 9,
            ..IndexEntry::default()
        };
        let before = Totals { blocks, last_ns: 5, ..Totals::default() };
        [before.as_bytes(), entry.as_bytes(), entry.as_bytes(), &vec![0xa5; rest]].concat()
    };
    let inputs = vec![payload(0, 0), payload(3, 168), payload(7, 30), vec![0; 400]];
    fuzz("index", inputs, |input| {
        IndexBlock::read(input);
        let mut forge = Forge::new();
        forge.frames(&opens());
        // Twice, so that they can lead to each other.
        let half = input.len() / 2;
        for payload in [&input[..half], input, &input[half..]] {
            let at = forge.block(header(INDEX, PLAIN, payload.len(), payload.len()), payload);
            forge.index = at;
            forge.state(STATE, &opens());
            read::walk(&forge.bytes);
        }
        forge.summary();
        read::walk(&forge.bytes);
        print(&forge.bytes);
    });
}

#[test]
fn states() {
    fuzz("state", vec![state().bytes().to_vec(), host().bytes().to_vec()], |input| {
        let mut forge = Forge::new();
        forge.state(STATE, &Batch::from_bytes(input.to_vec()));
        forge.frames(&opens());
        forge.state(END, &Batch::from_bytes(input.to_vec()));
        print(&forge.bytes);
        read::walk(&forge.bytes);
        // A state of what was restored gives the same again.
        let mut pipeline = Pipeline::default();
        pipeline.restore(&state_of(input));
        let first = pipeline.state();
        let mut again = Pipeline::default();
        again.restore(&first);
        again.state();
    });
}

/// Mostly a header that the probes could send.
fn frame_header() -> impl Strategy<Value = FrameHeader> {
    let kind = prop_oneof![8 => 0u16..8, 2 => 60u16..92, 1 => any::<u16>()];
    let slot = prop_oneof![8 => 0u16..Slot::ALL.len() as u16, 1 => any::<u16>()];
    let seq = prop_oneof![8 => 0u64..20, 1 => any::<u64>()];
    let time = prop_oneof![8 => 0u64..100_000_000, 1 => any::<u64>()];
    let cpu = prop_oneof![8 => 0u32..2, 1 => any::<u32>()];
    (kind, 0u16..4, slot, seq, time, cpu, any::<[u8; 16]>(), any::<[u32; 4]>()).prop_map(
        |(kind, flags, slot, seq, time, cpu, comm, ids)| FrameHeader {
            kind,
            flags,
            slot,
            seq,
            time: BootNanos(time),
            cpu,
            comm,
            tgid: Tgid(ids[0] % 8),
            start: BootNanos(u64::from(ids[1] % 4)),
            ppid: Tgid(ids[2] % 8),
            cgroup: CgroupId(ids[3].into()),
            ..FrameHeader::default()
        },
    )
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    // Small numbers result in lengths that are sometimes valid. Short payloads end within each field.
    let byte = || prop_oneof![4 => 0u8..4, 1 => any::<u8>()];
    prop_oneof![prop::collection::vec(byte(), 0..40), prop::collection::vec(byte(), 0..400)]
}

/// A record with a wrong length, or any bytes.
fn record() -> impl Strategy<Value = Vec<u8>> {
    let lying = (frame_header(), any::<u32>(), payload())
        .prop_map(|(header, len, payload)| [FrameHeader { len, ..header }.as_bytes(), &payload].concat());
    prop_oneof![lying, prop::collection::vec(any::<u8>(), 0..300)]
}

fn check_printed(batches: &[Batch]) {
    limit_memory();
    check_json(&read::printed(batches));
}

proptest! {
    #[test]
    fn a_state_of_any_frames_is_restored(
        frames in prop::collection::vec((frame_header(), payload()), 0..40),
        (size, split) in (1usize..20, 0usize..20),
    ) {
        limit_memory();
        let batch = |frames: &[(FrameHeader, Vec<u8>)]| {
            let mut batch = Batch::default();
            // A state has no processes that ended long before.
            let time = |ns: u64| BootNanos(ns % limits::ENDED_IN_STATE_NS);
            let soon = |header: FrameHeader| FrameHeader { time: time(header.time.0), ..header };
            frames.iter().for_each(|(header, payload)| batch.push(soon(*header), payload));
            batch
        };
        let batches: Vec<Batch> = frames.chunks(size).map(batch).collect();
        let lines = |restored| read::lines(&batches, FormatName::Json, restored);
        prop_assert_eq!(lines(Some(split)), lines(None));
    }

    #[test]
    fn states_that_lie(frames in prop::collection::vec((64u16..110, payload()), 0..40)) {
        limit_memory();
        let mut nested = Batch::default();
        frames.iter().for_each(|(kind, payload)| nested.push(FrameHeader { kind: *kind, ..FrameHeader::default() }, payload));
        let mut pipeline = Pipeline::default();
        pipeline.restore(&state_of(nested.bytes()));
        let again = pipeline.state();
        pipeline.feed(again);
        pipeline.end();
        pipeline.next(None, &mut |_, _| Disposition::Delivered);
    }

    #[test]
    fn frames_with_any_payload(frames in prop::collection::vec((frame_header(), payload()), 0..40), split in 0usize..40) {
        let mut batches = vec![Batch::default(), Batch::default()];
        for (i, (header, payload)) in frames.into_iter().enumerate() {
            batches[usize::from(i >= split)].push(header, &payload);
        }
        check_printed(&batches);
    }

    #[test]
    fn records_that_lie_about_their_length_or_are_any_bytes(records in prop::collection::vec(record(), 0..20)) {
        let mut batch = Batch::default();
        records.iter().for_each(|record| batch.push_raw(record));
        check_printed(&[batch]);
    }
}
