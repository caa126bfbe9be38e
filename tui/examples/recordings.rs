//! Figures of recordings: makes a long one out of a real one, and measures how a replay moves in it.
//!
//! `cargo run --release --example recordings -- grow FROM TO BYTES` repeats a recording, with later times and numbers, until the file
//! has BYTES bytes. One event, at nine tenths, has the comm `needle`, for searches. `… seek FILE [N]` seeks to N places.
//! `… bytes FILE` prints what its bytes are for. `… rewrite FROM TO` writes a recording again, with states of this version: for the files
//! of tests, after the encoding of states changed.

#![allow(clippy::print_stdout, reason = "for whoever runs it")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::time::{Duration, Instant};
use tracetui_events::event::EventContext;
use tracetui_events::frame::host::{CounterChanges, Counters, FIRST_KIND, HostFrame};
use tracetui_events::frame::state::StateFrame;
use tracetui_events::frame::{Batch, FrameRef, Frames};
use tracetui_events::pipeline::{Disposition, Pipeline};
use tracetui_events::recording::block::{BlockHeader, Contents, FileHeader, HEADER, Unsealer};
use tracetui_events::recording::frames::{FrameReader, Next};
use tracetui_events::recording::{Item, Map, Reader, Writer};
use tracetui_shared::header::flag;
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["grow", from, to, bytes] => grow(from, to, bytes.parse()?),
        ["seek", file] => seek(file, 200),
        ["seek", file, count] => seek(file, count.parse()?),
        ["bytes", file] => bytes(file),
        ["rewrite", from, to] => rewrite(from, to),
        other => Err(format!("not understood: {}", other.join(" ")).into()),
    }
}

fn batches(file: &str) -> Result<Vec<Batch>> {
    let mut frames = FrameReader::new(File::open(file)?)?;
    let mut batches = Vec::new();
    while let Some(next) = frames.next()? {
        if let Next::Frames(batch) = next {
            batches.push(batch);
        }
    }
    Ok(batches)
}

/// Repeats a recording. Only its first part has the frames that begin a trace. At the end, the counters are as often as large.
fn grow(from: &str, to: &str, bytes: u64) -> Result<()> {
    let batches = batches(from)?;
    let of_command = |frame| matches!(HostFrame::decode(&frame), Some(HostFrame::Trace(trace)) if trace.command.0 != 0);
    if batches.iter().flat_map(Batch::frames).any(of_command) {
        // The processes would start before the times to which they are moved, and keys would find them in the wrong part.
        return Err(format!("{from} has a COMMAND: take a recording of the whole system").into());
    }
    let probed = || batches.iter().flat_map(Batch::frames).filter(|frame| frame.header.kind < FIRST_KIND);
    let first = probed().map(|frame| frame.header.time.0).min().ok_or("no events")?;
    let last = probed().map(|frame| frame.header.time.0).max().ok_or("no events")?;
    let length = last - first + 1_000_000;
    let mut next = std::collections::HashMap::new();
    for frame in probed().filter(|frame| !frame.header.has(flag::CONTINUES)) {
        let books = frame.header.has(flag::BOOKKEEPING);
        let next: &mut u64 = next.entry((frame.header.slot, frame.header.cpu, books)).or_default();
        *next = (*next).max(frame.header.seq + 1);
    }
    let out = BufWriter::with_capacity(1 << 20, File::create_new(to)?);
    let mut writer = Writer::new(out, &FileHeader::new(*b"0123456789abcdef", 0))?;
    let mut pipeline = Pipeline::default();
    let (mut turn, mut events) = (0u64, 0u64);
    let began = Instant::now();
    let mut needle = Some(*b"needle\0\0\0\0\0\0\0\0\0\0");
    while writer.written() < bytes {
        for (number, batch) in batches.iter().enumerate() {
            let late = writer.written() >= bytes / 10 * 9 && number > 0;
            let mut comm = needle.take_if(|_| late);
            let batch = moved(batch, turn, length, &next, &mut comm);
            needle = needle.or(comm);
            if turn > 0 && number == 0 {
                continue;
            }
            writer.batch(batch.bytes())?;
            events += batch.frames().filter(|f| f.header.kind < FIRST_KIND && !f.header.has(flag::BOOKKEEPING)).count()
                as u64;
            pipeline.feed(batch);
            pipeline.next(None, &mut |_, _| Disposition::Delivered);
            while pipeline.spare().is_some() {}
            if writer.state_is_due() {
                writer.state(&pipeline.state())?;
            }
        }
        turn += 1;
    }
    let mut counters = Counters::default();
    for frame in batches.iter().flat_map(Batch::frames) {
        if let Some(HostFrame::CounterChanges(changes)) = HostFrame::decode(&frame) {
            counters.apply(&changes);
        }
    }
    let mut last = CounterChanges { last: true, ..Counters::default().changes_to(&counters) };
    last.changes.iter_mut().for_each(|change| change.value *= turn);
    last.programs.iter_mut().for_each(|program| program.skips *= turn);
    let mut batch = Batch::default();
    HostFrame::CounterChanges(last).push(BootNanos(first + turn * length), &mut batch);
    writer.batch(batch.bytes())?;
    pipeline.feed(batch);
    let (mut out, written) = writer.end(&pipeline.state())?;
    out.flush()?;
    println!("{written} bytes, {events} events, {turn} times, {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Writes a state where the recording has one.
fn rewrite(from: &str, to: &str) -> Result<()> {
    let bytes = std::fs::read(from)?;
    let header = FileHeader::read(&bytes)?;
    let (mut at, mut states) = (HEADER, std::collections::VecDeque::new());
    while let Some(block) = bytes.get(at..).and_then(|rest| BlockHeader::read(rest, header.short_id())) {
        if block.contents == Contents::State as u16 && block.part == 0 {
            states.push_back(at as u64);
        }
        at += HEADER + block.padded();
    }
    let mut frames = FrameReader::new(bytes.as_slice())?;
    let mut writer = Writer::new(File::create_new(to)?, &header)?;
    let mut pipeline = Pipeline::default();
    while let Some(next) = frames.next()? {
        let Next::Frames(batch) = next else { continue };
        if states.pop_front_if(|state| *state < frames.reader.offset()).is_some() {
            writer.state(&pipeline.state())?;
        }
        writer.batch(batch.bytes())?;
        pipeline.feed(batch);
        pipeline.next(None, &mut |_, _| Disposition::Delivered);
        while pipeline.spare().is_some() {}
    }
    writer.end(&pipeline.state())?;
    Ok(())
}

type Numbers = std::collections::HashMap<(u16, u32, bool), u64>;

fn moved(batch: &Batch, turn: u64, length: u64, next: &Numbers, comm: &mut Option<[u8; 16]>) -> Batch {
    let mut moved = Batch::with_capacity(batch.len());
    for frame in batch.frames() {
        let mut header = frame.header;
        if header.kind >= FIRST_KIND {
            match HostFrame::decode(&frame) {
                Some(HostFrame::Drained(mut drained)) => {
                    drained.at.0 += turn * length;
                    HostFrame::Drained(drained).push(header.time, &mut moved);
                }
                Some(HostFrame::CounterChanges(_)) => {}
                _ if turn > 0 => {}
                _ => moved.push(header, frame.payload),
            }
            continue;
        }
        let numbers = next.get(&(header.slot, header.cpu, header.has(flag::BOOKKEEPING))).copied().unwrap_or_default();
        header.time.0 += turn * length;
        header.seq += turn * numbers;
        if header.kind == Kind::Open as u16
            && let Some(comm) = comm.take()
        {
            header.comm = comm;
        }
        moved.push(header, frame.payload);
    }
    moved
}

/// Goes to places: opens the map, reads the state before and the frames up to there.
fn seek(file: &str, count: u64) -> Result<()> {
    let file = File::open(file)?;
    let map = Map::open(file.try_clone()?)?;
    let (first, last) = (map.totals.first_ns, map.totals.last_ns);
    let (mut times, mut parts, mut reads) = (Vec::new(), [Duration::ZERO; 3], Vec::new());
    for number in 0..count {
        // Golden ratio: everywhere, in no order.
        let share = (number as f64 * 0.618_033_988_75).fract();
        let ns = first + ((last - first) as f64 * share) as u64;
        let began = Instant::now();
        let map = Map::open(file.try_clone()?)?;
        let place = map.state_before(ns)?.unwrap_or(HEADER as u64);
        let found = began.elapsed();
        let mut at = &file;
        at.seek(SeekFrom::Start(place))?;
        let mut reader = Reader::resume(at, map.file.header, map.file.unsealer_at(place), place);
        let mut pipeline = Pipeline::default();
        if place != HEADER as u64
            && let Some(Item::State(state)) = reader.next()?
        {
            pipeline.restore(&state);
        }
        let restored = began.elapsed();
        let mut frames = FrameReader::of(reader);
        let mut reached = false;
        while !reached && let Some(Next::Frames(batch)) = frames.next()? {
            pipeline.feed(batch);
            pipeline.next(None, &mut |context: &EventContext<'_>, _: &FrameRef<'_>| {
                reached |= context.event.header.time.0 >= ns;
                Disposition::Delivered
            });
        }
        let all = began.elapsed();
        times.push(all);
        reads.push(frames.reader.offset() - place);
        for (part, time) in parts.iter_mut().zip([found, restored - found, all - restored]) {
            *part += time;
        }
    }
    times.sort();
    reads.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    let [found, restored, folded] = parts.map(|part| part / count as u32);
    println!("median {:?}, 99 % {:?}, most {:?}", at(50), at(99), at(100));
    println!("mean: finding the state {found:?}, reading it {restored:?}, folding {folded:?}");
    println!("bytes of the file: median {}, most {}", reads[reads.len() / 2], reads[reads.len() - 1]);
    Ok(())
}

/// Prints the bytes of a recording by the contents of its blocks, and the frames in them by kind: their number, their bytes, and the
/// bytes that they take compressed apart from the others.
fn bytes(file: &str) -> Result<()> {
    let bytes = std::fs::read(file)?;
    let header = FileHeader::read(&bytes)?;
    let (mut at, mut unsealer, mut plain) = (HEADER, Unsealer::default(), Vec::new());
    let (mut blocks, mut kinds) = (BTreeMap::<String, [usize; 2]>::new(), BTreeMap::<String, (usize, Vec<u8>)>::new());
    let mut events = 0;
    while let Some(block) = bytes.get(at..).and_then(|rest| BlockHeader::read(rest, header.short_id())) {
        let contents = Contents::of(block.contents).ok_or("unknown contents")?;
        let [count, sum] = blocks.entry(format!("{contents:?}")).or_default();
        (*count, *sum) = (*count + 1, *sum + HEADER + block.padded());
        events += block.events as usize;
        if matches!(contents, Contents::Frames | Contents::State | Contents::End) {
            let payload = bytes.get(at + HEADER..at + HEADER + block.stored as usize).ok_or("a block is cut")?;
            unsealer.frames(&block, payload, &mut plain)?;
            if at == HEADER {
                unsealer.begin(&plain);
            }
            for frame in Frames::of(&plain) {
                let mut add = |name: String, bytes: &[u8]| {
                    let (count, all) = kinds.entry(name).or_default();
                    *count += 1;
                    all.extend_from_slice(bytes);
                };
                let Some(HostFrame::StatePart(part)) = HostFrame::decode(&frame) else {
                    add(format!("{contents:?} {}", called(&frame)), frame.bytes);
                    continue;
                };
                for frame in Frames::of(&part.frames) {
                    add(format!("{contents:?} {}", named(&frame)), frame.bytes);
                }
            }
        }
        at += HEADER + block.padded();
    }
    println!("{at} bytes, {events} events, {:.1} each", at as f64 / events as f64);
    for (name, [count, sum]) in blocks {
        println!("{name}: {count} blocks, {sum} bytes, {:.2} per event", sum as f64 / events as f64);
    }
    for (name, (count, plain)) in kinds.iter().filter(|(name, _)| !name.starts_with("Frames")) {
        println!("  {name}: {count}, {} bytes, {} compressed", plain.len(), zstd::bulk::compress(plain, 1)?.len());
    }
    let batches = batches(file)?;
    let all = without(&batches, "")?;
    for (name, (count, plain)) in kinds.iter().filter_map(|(name, of)| Some((name.strip_prefix("Frames ")?, of))) {
        let less = all.saturating_sub(without(&batches, name)?);
        println!(
            "  {name}: {count}, {} bytes, {less} in the file, {:.2} per event",
            plain.len(),
            less as f64 / events as f64
        );
    }
    Ok(())
}

/// The bytes of a recording without the frames of a kind.
fn without(batches: &[Batch], name: &str) -> Result<u64> {
    let mut writer = Writer::new(io::sink(), &FileHeader::new([1; 16], 0))?;
    for batch in batches {
        let mut kept = Batch::default();
        batch.frames().filter(|frame| called(frame) != name).for_each(|frame| kept.push(frame.header, frame.payload));
        writer.batch(kept.bytes())?;
    }
    writer.flush()?;
    Ok(writer.written())
}

fn called(frame: &FrameRef<'_>) -> String {
    named(frame) + if frame.header.has(flag::BOOKKEEPING) { " of others" } else { "" }
}

fn named(frame: &FrameRef<'_>) -> String {
    let debug = |text: String| text.split(['(', ' ']).next().unwrap_or_default().to_owned();
    match (Kind::try_from(frame.header.kind), HostFrame::decode(frame), StateFrame::decode(frame)) {
        (Ok(kind), ..) => format!("{kind:?}"),
        (_, Some(host), _) => debug(format!("{host:?}")),
        (.., Some(state)) => debug(format!("{state:?}")),
        _ => frame.header.kind.to_string(),
    }
}
