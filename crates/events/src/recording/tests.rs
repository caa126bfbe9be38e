use super::block::{BlockHeader, Damage, FileHeader, HEADER, NotARecording, ThreadReader, Unsealer, crc};
use super::file;
use super::holes::{Hole, Holes};
use super::index::Totals;
use super::reader::Ending;
use super::{Item, Reader, Writer, frame_codec};
use crate::frame::host::{HostFrame, StatePart};
use crate::frame::{Batch, FrameRef, Frames};
use crate::limits;
use crate::synthetic::{Maker, Scratch, map, opens, opens_every};
use proptest::prelude::*;
use std::fs::File;
use std::io::{Read, Write};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::Tid;
use tracetui_shared::time::BootNanos;
use zerocopy::IntoBytes;

const ID: [u8; 16] = *b"0123456789abcdef";

fn state(bytes: usize) -> Batch {
    let mut state = Batch::default();
    for part in 0..bytes.div_ceil(10_000) {
        HostFrame::StatePart(StatePart { frames: vec![part as u8; 10_000] }).push(BootNanos(part as u64), &mut state);
    }
    state
}

/// A recording of opens with a state in the middle, and the offsets of its blocks.
fn recording(blocks: usize) -> (Vec<u8>, Vec<u8>) {
    let mut writer = Writer::new(Vec::new(), &FileHeader::new(ID, 7)).expect("memory");
    let mut frames = Vec::new();
    for (number, batch) in opens(blocks).iter().enumerate() {
        writer.batch(batch).expect("memory");
        frames.extend_from_slice(batch);
        if number == 3 {
            writer.state(&state(700_000)).expect("memory");
        }
    }
    (writer.end(&state(20_000)).expect("memory").0, frames)
}

#[derive(Default)]
struct Found {
    frames: Vec<u8>,
    batches: usize,
    states: Vec<usize>,
    ends: usize,
    holes: Vec<Hole>,
    ending: Option<Ending>,
}

fn read(input: impl Read) -> Found {
    let mut reader = Reader::new(input).expect("a recording");
    let mut found = Found::default();
    while let Some(item) = reader.next().expect("readable") {
        match item {
            Item::Batch(batch) => {
                found.batches += 1;
                found.frames.extend_from_slice(batch.bytes());
            }
            Item::State(state) => found.states.push(state.len()),
            Item::End(_) => found.ends += 1,
            Item::Hole(hole) => found.holes.push(hole),
        }
    }
    found.ending = reader.ending;
    found
}

/// The offsets of the blocks, and of the end.
fn borders(file: &[u8]) -> Vec<usize> {
    let mut at = HEADER;
    let mut borders = vec![at];
    while let Some(block) = BlockHeader::read(&file[at..], FileHeader::new(ID, 7).short_id()) {
        at += HEADER + block.padded();
        borders.push(at);
    }
    borders
}

/// A reader that gives one byte at a time, like a slow pipe.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let some = buffer.len().min(1);
        self.0.read(&mut buffer[..some])
    }
}

#[test]
fn what_was_written_is_read_and_a_cut_file_gives_every_whole_block() {
    let (file, frames) = recording(3);
    for found in [read(&file[..]), read(Slow(&file))] {
        assert!(found.frames == frames);
        assert_eq!(found.batches, opens(3).len());
        assert_eq!((found.states, found.ends), (vec![state(700_000).len()], 1));
        assert_eq!((found.holes, found.ending), (vec![], Some(Ending::Complete)));
    }
    // A cut file gives every whole block.
    let borders = borders(&file);
    assert!(borders.len() > 6, "{borders:?}");
    let last = file.len();
    let around = borders.iter().flat_map(|at| [at - 1, *at, at + 1]).filter(|at| (HEADER..last).contains(at));
    for cut in around.collect::<Vec<_>>() {
        let found = read(&file[..cut]);
        let whole = borders.iter().rev().find(|at| **at <= cut).copied().expect("a border");
        // After the final state, only index and summary are missing.
        let early = whole < borders[borders.len() - 3];
        let ending = if early { Ending::Early(whole as u64) } else { Ending::Complete };
        assert_eq!(found.ending, Some(ending), "cut at {cut}");
        assert_eq!(found.holes, [], "cut at {cut}");
        assert!(frames.starts_with(&found.frames), "cut at {cut}");
    }
}

/// A recording of many small blocks with a state after every 20 of them. Some events are slightly earlier than the previous ones.
/// `times` has the time of the last event of each block of frames, and `states` has each state with the latest time before it.
struct Many {
    file: Vec<u8>,
    states: Vec<(u64, u64)>,
    times: Vec<u64>,
    events: u64,
}

fn many(blocks: u64) -> Many {
    let mut writer = Writer::new(Vec::new(), &FileHeader::new(ID, 7)).expect("memory");
    let mut maker = Maker::default();
    let (mut states, mut times, mut events) = (Vec::new(), Vec::new(), 0);
    for number in 0..blocks {
        if number % 7 == 3 {
            maker.ns -= 3 * maker.step_ns;
        }
        for event in 0..1 + number % 3 {
            maker.open(1000 + number as u32, "many", &format!("/dir/file-{number}-{event}"), 3);
            times.push(maker.ns);
            events += 1;
        }
        writer.batch(maker.batch().bytes()).expect("memory");
        writer.flush().expect("memory");
        if number % 20 == 19 {
            states.push((writer.written(), times.iter().copied().max().unwrap_or_default()));
            writer.state(&state(10)).expect("memory");
        }
    }
    maker.lose(7);
    maker.counters(true);
    writer.batch(maker.batch().bytes()).expect("memory");
    let (file, _) = writer.end(&state(20)).expect("memory");
    Many { file, states, times, events }
}

#[test]
fn the_index_leads_to_the_state_before_a_time_unless_it_is_damaged() {
    let Many { file, states, times, events } = many(5_000);
    let borders = borders(&file);
    // Whole, without an end, and cut in a block.
    for length in [file.len(), borders[borders.len() - 5], borders[borders.len() / 2] + 5, borders[40], HEADER] {
        let map = map(&file[..length]);
        assert_eq!(map.complete, length == file.len());
        for ns in times.iter().flat_map(|ns| [ns - 1, *ns, ns + 1]).step_by(41).chain([0, u64::MAX]) {
            let known = states.iter().filter(|(at, _)| (*at as usize) + HEADER < length);
            let right = known.filter(|(_, latest)| *latest < ns).map(|(at, _)| *at).next_back();
            assert_eq!(map.state_before(ns).expect("readable"), right, "{ns} of {length}");
        }
    }
    let totals = map(&file).totals;
    let (first, last) = (times[0], times.iter().copied().max().expect("one"));
    assert_eq!((totals.sum(), totals.first_ns, totals.last_ns, totals.lost), (events, first, last, 7));
    // A damaged index is not believed.
    let Many { file, .. } = many(500);
    let whole = map(&file);
    let spine = whole.spine().expect("readable");
    assert!(spine.len() > 3, "{spine:?}");
    for (at, _) in &spine {
        for place in [5, 9, HEADER + 9, HEADER + 300].map(|byte| *at as usize + byte) {
            let mut damaged = file.clone();
            damaged[place] ^= 0x40;
            let map = map(&damaged);
            // A state later than the right one would be wrong.
            for ns in (100_000_000_000..101_000_000_000).step_by(50_000_000) {
                let (found, right) =
                    (map.state_before(ns).expect("readable"), whole.state_before(ns).expect("readable"));
                assert!(found <= right, "{found:?} {right:?}");
            }
            assert!(map.spine().expect("readable").len() <= spine.len());
        }
    }
    assert_eq!(spine.first().map(|(_, before)| *before), Some(Totals::default()));
}

#[test]
fn what_is_no_recording_is_refused_and_a_state_has_no_tables() {
    let error = |bytes: &[u8]| Reader::new(bytes).err().map(|error| error.to_string());
    let message = |error: NotARecording| Some(error.to_string());
    assert_eq!(error(b""), message(NotARecording::Magic));
    assert_eq!(error(b"#!/bin/sh"), message(NotARecording::Magic));
    let (file, _) = recording(1);
    assert_eq!(error(&file[..40]), message(NotARecording::Short));
    let mut later = FileHeader::new(ID, 7);
    later.version = 2;
    assert_eq!(error(later.as_bytes()), message(NotARecording::Checksum));
    later.crc = crc(&later.as_bytes()[..HEADER - 4]);
    assert_eq!(error(later.as_bytes()), message(NotARecording::Version(2)));
    let mut other = file.clone();
    other[20] ^= 1;
    assert_eq!(error(&other), message(NotARecording::Checksum));
    // A state has no tables without the first block.
    let (facts, tables) = (state(20_000), state(30_000));
    let mut whole = facts.clone();
    tables.frames().for_each(|part| {
        whole.push(FrameHeader { slot: StatePart::TABLES, ..part.header }, part.payload);
    });
    let mut writer = Writer::new(Vec::new(), &FileHeader::new(ID, 7)).expect("memory");
    opens(2).iter().for_each(|batch| writer.batch(batch).expect("memory"));
    writer.state(&whole).expect("memory");
    let (mut file, _) = writer.end(&whole).expect("memory");
    assert_eq!(read(&file[..]).states, [whole.len()]);
    let at = map(&file).state_before(u64::MAX).expect("readable").expect("a state");
    let of = |at, unsealer| {
        let mut reader = Reader::resume(&file[at as usize..], FileHeader::new(ID, 7), unsealer, at);
        let Ok(Some(Item::State(state))) = reader.next() else { panic!("a state") };
        state.len()
    };
    assert_eq!(of(at, map(&file).file.unsealer_at(at)), whole.len());
    assert_eq!(of(at, Unsealer::default()), facts.len());
    file[2 * HEADER + 9] ^= 1;
    assert_eq!(read(&file[..]).states, [facts.len()]);
}

#[test]
fn a_damaged_block_is_skipped_and_reported() {
    let (file, frames) = recording(3);
    let borders = borders(&file);
    for (number, at) in borders.iter().enumerate().take(borders.len() - 1) {
        let next = borders[number + 1];
        let places = [(at + 3, Damage::NotABlock), (at + HEADER + 5, Damage::Checksum)];
        // The last block has no payload.
        for (place, why) in places.into_iter().filter(|(place, _)| *place < next) {
            let mut damaged = file.clone();
            damaged[place] ^= 0x40;
            let found = read(&damaged[..]);
            assert!(found.frames.len() <= frames.len());
            let (offset, bytes) = (*at as u64, (next - at) as u64);
            // The contents of a block without a header are unknown.
            let contents =
                BlockHeader::read(&damaged[*at..], FileHeader::new(ID, 7).short_id()).map(|header| header.contents);
            let frames = contents.is_none_or(|contents| contents == 1);
            let hole = Hole { offset, bytes, why, frames };
            // A last block without a header looks like the end of a truncated file.
            let mut expected = if next == file.len() && why == Damage::NotABlock { vec![] } else { vec![hole] };
            let read = |at: usize| BlockHeader::read(&file[at..], FileHeader::new(ID, 7).short_id());
            if read(*at).is_some_and(|header| header.contents == 1) {
                let later = borders[number + 1..].iter().filter_map(|at| Some((*at as u64, read(*at)?)));
                let later = later.filter(|(_, header)| header.contents == 1);
                let follow = later.take_while(|(_, header)| header.part > 0);
                let hole = |offset, bytes| Hole { offset, bytes, why: Damage::Base, frames: true };
                expected.extend(follow.map(|(at, header)| hole(at, (HEADER + header.padded()) as u64)));
            }
            assert_eq!(found.holes, expected, "{place}");
            assert!(found.states.iter().all(|bytes| *bytes == state(700_000).len()), "{place}");
            assert_eq!(found.ending, Some(Ending::Complete), "{place}");
        }
    }
}

#[test]
fn the_blocks_of_a_stream_are_read_in_a_row() {
    let map = map(&many(100).file);
    let index = |(at, _)| map.index_block(at).expect("readable").expect("whole").entries;
    let entries: Vec<_> = map.spine().expect("readable").into_iter().flat_map(index).collect();
    let (mut all, mut again, mut threads, mut next) =
        (Unsealer::default(), Unsealer::default(), ThreadReader::default(), 0);
    for entry in &entries {
        if entry.contents != 1 {
            next = 0;
            continue;
        }
        assert_eq!(entry.part, next, "a state ends a stream");
        let read = |unsealer: &mut Unsealer| map.frames(entry, unsealer).expect("readable").is_some();
        assert_eq!((read(&mut all), read(&mut Unsealer::default())), (true, next == 0), "{entry:?}");
        let read = |reader: &mut ThreadReader| map.threads(entry, reader).expect("readable");
        let frames = Batch::from_bytes(map.frames(entry, &mut again).expect("readable").expect("whole"));
        let threads = read(&mut threads).expect("whole");
        let has = |frame: FrameRef<'_>| threads.iter().any(|thread| thread.tgid == frame.header.tgid);
        assert!(frames.frames().all(has) && threads.len() <= frames.frames().count(), "{entry:?}");
        assert_eq!(read(&mut ThreadReader::default()).is_some(), next == 0, "{entry:?}");
        next += 1;
    }
    // A block that was left out, or read twice.
    let frames: Vec<_> = entries.iter().filter(|entry| entry.contents == 1).collect();
    for (order, whole) in [([0, 1, 2], true), ([0, 2, 2], false), ([0, 1, 1], false), ([1, 2, 3], false)] {
        let mut unsealer = Unsealer::default();
        let read = order.map(|at| map.frames(frames[at], &mut unsealer).expect("readable").is_some());
        assert_eq!(read[2], whole, "{order:?}");
    }
}

#[test]
fn streams_end_after_some_bytes_or_some_time() {
    let blocks = 2 * limits::STREAM / limits::BLOCK + 3;
    for (step_ns, by_time) in [(100_000, false), (3_000_000, true)] {
        let mut writer = Writer::new(Vec::new(), &FileHeader::new(ID, 7)).expect("memory");
        let batches = opens_every(step_ns, blocks);
        batches.iter().for_each(|batch| writer.batch(batch).expect("memory"));
        let (file, _) = writer.end(&state(10)).expect("memory");
        let header = |at| BlockHeader::read(&file[at..], FileHeader::new(ID, 7).short_id());
        let (mut begins, mut streamed, mut began) = (0, limits::STREAM, 0);
        for block in borders(&file).into_iter().filter_map(header).filter(|block| block.contents == 1) {
            let late = block.last_ns.saturating_sub(began) > limits::STREAM_NS;
            let is_full = streamed >= limits::STREAM || late;
            assert_eq!(block.part == 0, is_full);
            if is_full {
                assert!(begins == 0 || late == by_time);
                (begins, streamed, began) = (begins + 1, 0, block.last_ns);
            }
            streamed += block.plain as usize;
        }
        assert!(begins >= 3);
        assert!(read(&file[..]).frames == batches.concat());
    }
}

fn model() -> frame_codec::Model {
    let mut model = frame_codec::Model::default();
    model.restart();
    model
}

/// Frames of any lengths, of few kinds and threads. Some payloads repeat, and some are the time of their frame.
fn frame() -> impl Strategy<Value = (FrameHeader, Vec<u8>)> {
    let bytes = |length| prop::collection::vec(any::<u8>(), length);
    let payload = prop_oneof![bytes(0..300), bytes(8..9), (0u8..3).prop_map(|byte| vec![byte; 8]), Just(Vec::new())];
    let kind = prop_oneof![0u16..8, 64u16..72, Just(96), any::<u16>()];
    let thread = prop_oneof![0u32..300, Just(1)];
    (kind, 0u16..8, any::<u64>(), thread, payload).prop_map(|(kind, flags, time, thread, payload)| {
        let payload = if payload.is_empty() { time.to_le_bytes().to_vec() } else { payload };
        let like = Maker::default().like;
        let header = FrameHeader { kind, flags, time: BootNanos(time), tid: Tid(thread), ..like };
        (header, payload)
    })
}

proptest! {
    #[test]
    fn rows_give_back_the_frames(
        blocks in prop::collection::vec((prop::collection::vec(frame(), 0..60), any::<bool>()), 1..6),
    ) {
        let (mut writer, mut reader) = (model(), model());
        for (made, restarts) in blocks {
            let mut batch = Batch::default();
            made.iter().for_each(|(header, payload)| batch.push(*header, payload));
            let (mut threads, mut rows, mut decoded) = (Vec::new(), Vec::new(), Vec::new());
            if restarts {
                writer.restart();
                // It knows nothing of the earlier streams.
                reader = model();
            }
            writer.encode(batch.bytes(), &mut threads, &mut rows);
            prop_assert!(threads.len() <= batch.len() && rows.len() <= frame_codec::most(batch.len()));
            prop_assert_eq!(reader.decode(&threads, &rows, batch.len(), &mut decoded), Some(()));
            prop_assert!(decoded == batch.bytes());
        }
    }

    #[test]
    fn hostile_rows_are_refused(
        made in prop::collection::vec(frame(), 0..40),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        blocks in 1..3,
        plain in prop::option::of(0usize..5000),
    ) {
        let mut batch = Batch::default();
        made.iter().for_each(|(header, payload)| batch.push(*header, payload));
        let (mut writer, mut reader) = (model(), model());
        for _ in 0..blocks {
            let (mut threads, mut rows) = (Vec::new(), Vec::new());
            writer.encode(batch.bytes(), &mut threads, &mut rows);
            changes.iter().for_each(|(at, byte)| *at.get_mut(&mut rows) = *byte);
            threads.truncate(threads.len() - changes.len().min(threads.len()));
            let (plain, mut decoded) = (plain.unwrap_or(batch.len()), Vec::new());
            if reader.decode(&threads, &rows, plain, &mut decoded).is_none() {
                break;
            }
            prop_assert_eq!(decoded.len(), plain);
            prop_assert_eq!(Frames::of(&decoded).map(|frame| frame.bytes.len().next_multiple_of(8)).sum::<usize>(), plain);
        }
    }

    #[test]
    fn a_mutated_recording_is_read_without_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut file, _) = recording(1);
        for (at, byte) in changes {
            let at = HEADER + at.index(file.len() - HEADER);
            file[at] = byte;
        }
        file.truncate(HEADER + cut.index(file.len() - HEADER));
        read(&file[..]);
    }
}

#[test]
fn what_follows_the_end_is_counted() {
    let (whole, _) = recording(2);
    let expected = read(&whole[..]);
    let filler = [1, 63, 64, 5000, 3 * limits::BLOCK].map(|rest| vec![b'T'; rest]);
    // The same recording once more.
    for rest in filler.into_iter().chain([whole.clone()]) {
        let bytes = [&whole[..], &rest].concat();
        let mut reader = Reader::new(&bytes[..]).expect("a recording");
        let mut frames = Vec::new();
        while let Some(item) = reader.next().expect("readable") {
            match item {
                Item::Batch(batch) => frames.extend_from_slice(batch.bytes()),
                Item::Hole(hole) => panic!("{hole:?}"),
                Item::State(_) | Item::End(_) => {}
            }
        }
        assert!(frames == expected.frames, "{}", rest.len());
        assert_eq!((reader.ending, reader.after_end()), (Some(Ending::Complete), rest.len() as u64));
        assert_eq!(reader.offset(), bytes.len() as u64);
    }
    // In a recording without a summary, it is a part of a block.
    for missing in [1, HEADER + 10, whole.len() / 2] {
        let mut reader = Reader::new(&whole[..whole.len() - missing]).expect("a recording");
        while reader.next().expect("readable").is_some() {}
        assert_eq!(reader.after_end(), 0, "{missing}");
    }
}

#[test]
fn a_lock_says_whether_a_file_is_written() {
    let (whole, _) = recording(1);
    let dir = Scratch::new("recording-lock");
    let path = dir.join("x.ttr");
    let mut file = File::create(&path).expect("room");
    let other = File::options().read(true).write(true).open(&path).expect("it is there");
    assert!(!file::is_being_written(&other).expect("readable"));
    // One lock at a time.
    assert!(file::lock(&file) && !file::lock(&other));
    // A writer takes the lock before it writes the header.
    assert!(file::is_being_written(&other).expect("readable"));
    file.write_all(&whole[..1000]).expect("room");
    assert!(file::is_being_written(&other).expect("readable"));
    file.write_all(&whole[1000..]).expect("room");
    assert!(!file::is_being_written(&other).expect("readable"), "it has its end");
    drop(file);
    assert!(file::lock(&other));
}

#[test]
fn holes_are_listed_once() {
    let hole = |offset| Hole { offset, bytes: 4096, why: Damage::NotABlock, frames: true };
    let (mut holes, mut others) = (Holes::default(), Holes::default());
    [0, 4096].into_iter().for_each(|offset| holes.add(hole(offset)));
    [4096, 12_288].into_iter().for_each(|offset| others.add(hole(offset)));
    holes.append(&others);
    assert_eq!(holes.first, [0, 4096, 12_288].map(hole));
}
