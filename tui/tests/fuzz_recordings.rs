//! Mutated blocks, frames, index blocks and states with right checksums: no panic, no hang, bounded memory.
//!
//! Each target begins with inputs that are made here and with the files in `tests/corpus/TARGET/`, and changes them for
//! `TRACETUI_FUZZ_SECONDS` (default: half a second). An input that fails is kept in the directory for temporary files of the
//! tests, and its name is said.

#![allow(clippy::print_stdout, reason = "figures for whoever runs the tests")]

mod forge;

use forge::*;
use std::fs;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracetui_events::event::EventContext;
use tracetui_events::frame::host::{Cgroup, Clock, Host, HostFrame, Layout, Probe, ProcessSeed, Trace, User};
use tracetui_events::frame::{Batch, FrameRef};
use tracetui_events::pipeline::{Disposition, Pipeline};
use tracetui_events::recording::block::{BlockHeader, HEADER};
use tracetui_events::recording::frames::{FrameReader, Next};
use tracetui_events::recording::index::{IndexBlock, IndexEntry, IndexHead, IndexSummary, SkipEntry, Sought};
use tracetui_events::recording::{Item, Map, Reader};
use tracetui_events::sink::{FormatName, Sink, to_writer};
use tracetui_events::synthetic::Maker;
use tracetui_shared::id::{CgroupId, Tgid, Uid};
use tracetui_shared::kind::KindSet;
use tracetui_shared::time::BootNanos;
use zerocopy::{FromBytes as _, IntoBytes as _};

/// More than any input takes.
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

/// Runs a target on its corpus, and then on changed inputs.
fn fuzz(name: &str, mut inputs: Vec<Vec<u8>>, target: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    let limit = libc::rlimit { rlim_cur: 4 << 30, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is a valid rlimit that outlives the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0, "RLIMIT_AS cannot be set");
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let mut kept: Vec<PathBuf> =
        fs::read_dir(corpus).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    kept.sort();
    inputs.extend(kept.iter().map(|path| fs::read(path).expect("the corpus")));
    let seconds = std::env::var("TRACETUI_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let time = seconds.map_or(Duration::from_millis(500), Duration::from_secs);
    let run = |input: &[u8]| {
        let begun = Instant::now();
        let survived = std::panic::catch_unwind(|| target(input)).is_ok();
        if !survived || begun.elapsed() > PATIENCE {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{:08x}", crc32fast::hash(input)));
            fs::write(&path, input).expect("room");
            panic!("{name} fails on {} ({:?})", path.display(), begun.elapsed());
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
    let mut batch = Batch::default();
    let frames = [
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
        HostFrame::Probe(Probe { name: "open_tp".into(), attached: true, ..Probe::default() }),
        HostFrame::ProcessSeed(ProcessSeed { tgid: Tgid(8), start: BootNanos(5), ..ProcessSeed::default() }),
    ];
    frames.into_iter().for_each(|frame| frame.push(BootNanos(1), &mut batch));
    batch
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

fn memory_file(bytes: &[u8]) -> File {
    let mut file = File::from(rustix::fs::memfd_create("fuzz", rustix::fs::MemfdFlags::CLOEXEC).expect("a file"));
    file.write_all(bytes).expect("room");
    file
}

/// All that is printed of a recording. Lines are text, whatever the frames say.
fn print(bytes: &[u8]) {
    let Ok(mut frames) = FrameReader::new(bytes) else { return };
    let mut pipeline = Pipeline::default();
    let mut out = Vec::new();
    let mut sink = to_writer(FormatName::Json, &mut out);
    let mut take = |seen: &EventContext<'_>, _: &FrameRef<'_>| {
        if let Some(process) = seen.process {
            seen.world.in_tree(process, Tgid(8));
        }
        sink.event(seen).expect("a Vec takes everything");
        Disposition::Delivered
    };
    while let Some(next) = frames.next().expect("readable") {
        match next {
            Next::NotYet => break,
            Next::State(state) => pipeline.restore(&state),
            Next::Frames(batch) => pipeline.feed(batch),
        }
        pipeline.next(None, &mut take);
    }
    pipeline.end();
    pipeline.next(None, &mut take);
    pipeline.account().json();
    sink.finish().expect("a Vec takes everything");
    drop(sink);
    std::str::from_utf8(&out).expect("UTF-8").lines().for_each(|line| {
        serde_json::from_str::<serde_json::Value>(line).expect("every line is JSON");
    });
}

/// What a replay does.
fn walk(bytes: &[u8]) {
    let Ok(map) = Map::open(memory_file(bytes)) else { return };
    let (overview, _) = map.overview().expect("readable");
    for (at, _) in overview {
        let wanted = |_: &IndexEntry, has: &dyn Fn(Sought) -> bool| has(Sought::Key(7)) && has(Sought::Key(u64::MAX));
        if let Some(block) = map.index_block(at).expect("readable") {
            let mut unsealer = map.file().unsealer_at(u64::MAX);
            let mut read = |entry| drop(map.frames(entry, &mut unsealer).expect("readable"));
            block.marked(&wanted).iter().for_each(|(entry, _)| read(entry));
        }
        map.index_entries(at).expect("readable");
    }
    for ns in [0, 1, map.totals().last_ns, 100_010_000_000, u64::MAX] {
        if let Some(at) = map.state_before(ns).expect("readable") {
            let rest = bytes.get(at as usize..).unwrap_or_default();
            if let Some(Item::State(state)) =
                Reader::resume(rest, *map.header(), map.file().unsealer_at(at), at).next().expect("readable")
            {
                Pipeline::default().restore(&state);
            }
        }
    }
}

#[test]
fn blocks() {
    let packed = |batch: &Batch, contents: u16| {
        let payload = zstd::bulk::compress(batch.bytes(), 1).expect("memory");
        [header(contents, ZSTD, payload.len(), batch.len()).as_bytes(), &payload].concat()
    };
    let mut writer =
        tracetui_events::recording::Writer::new(Vec::new(), &file_header(), tracetui_events::recording::keys::keys_of)
            .expect("memory");
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
        walk(&forge.bytes);
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
        // Columns give back what they took.
        let mut writer = tracetui_events::recording::Writer::new(
            Vec::new(),
            &file_header(),
            tracetui_events::recording::keys::keys_of,
        )
        .expect("memory");
        writer.batch(input).expect("memory");
        let (file, _) = writer.end(&Batch::default()).expect("memory");
        let whole: Vec<u8> = tracetui_events::frame::Frames::of(input).fold(Vec::new(), |mut all, frame| {
            all.extend_from_slice(frame.bytes);
            all.resize(all.len().next_multiple_of(8), 0);
            all
        });
        let mut reader = Reader::new(&file[..]).expect("a recording");
        let mut read = Vec::new();
        while let Some(item) = reader.next().expect("readable") {
            match item {
                Item::Batch(batch) => read.extend_from_slice(batch.bytes()),
                Item::Hole(hole) => panic!("{hole:?}"),
                _ => {}
            }
        }
        // A frame of the kind that ends batches is taken for one.
        let ends = tracetui_events::frame::Frames::of(input).any(|frame| frame.header.kind == 96);
        assert!(ends || read == whole);
    });
}

#[test]
fn index_blocks() {
    let payload = |number: u64, offset: u64, filters: usize| {
        let entry = IndexEntry {
            offset: 64,
            bytes: 200,
            contents: STATE,
            filter: 8,
            first_ns: 1,
            last_ns: 9,
            ..IndexEntry::default()
        };
        let skips = [SkipEntry { offset, last_ns: 5 }; 6];
        let head = IndexHead { number, entries: 2, filter: 16, skips, ..IndexHead::default() };
        [head.as_bytes(), entry.as_bytes(), entry.as_bytes(), &vec![0xa5; filters]].concat()
    };
    let inputs = vec![payload(0, 0, 32), payload(3, 64, 32), payload(7, 5000, 30), vec![0; 400]];
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
            walk(&forge.bytes);
        }
        forge.summary(IndexSummary::default());
        walk(&forge.bytes);
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
        walk(&forge.bytes);
        // A state of what was restored gives the same again.
        let mut pipeline = Pipeline::default();
        let mut part = Batch::default();
        let frames = input.to_vec();
        HostFrame::StatePart(tracetui_events::frame::host::StatePart { frames }).push(BootNanos(1), &mut part);
        pipeline.restore(&part);
        let first = pipeline.state();
        let mut again = Pipeline::default();
        again.restore(&first);
        again.state();
    });
}
