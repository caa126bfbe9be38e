//! Recordings for the tests of this crate and of its users.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::{HostFrame, Trace};
use tracetui_events::pipeline::{Disposition, Pipeline};
use tracetui_events::recording::Writer;
use tracetui_events::recording::block::{BlockHeader, Contents, FileHeader};
use tracetui_events::synthetic::Maker;
pub(crate) use tracetui_events::synthetic::Scratch;
use tracetui_shared::kind::KindSet;
use tracetui_shared::time::BootNanos;

/// The batches of a trace. Events wait at the end of each; some are lost.
pub(crate) fn batches() -> Vec<Batch> {
    let mut maker = Maker::default();
    let mut trace = Batch::default();
    let all = Trace { kinds: KindSet::ALL.bits(), ..Trace::default() };
    HostFrame::Trace(all).push(BootNanos(0), &mut trace);
    let mut batches = vec![trace];
    for number in 0..40 {
        maker.fork(100 + number, "sh", 101 + number);
        maker.exec(101 + number, "sh", &["cc", "-c"], 0);
        (0..30).for_each(|open| maker.open(100 + number, "cc", &format!("/src/{number}/{open}"), 3));
        if number % 7 == 3 {
            maker.lose(2);
        }
        if number % 3 == 0 {
            maker.counters(false);
        }
        batches.push(std::mem::take(&mut maker.batch));
    }
    maker.counters(true);
    batches.push(maker.batch());
    batches
}

pub(crate) fn write(dir: &Path, name: &str, batches: &[Batch], part_every: usize) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut next = || {
        let path = dir.join(format!("{name}.{}", files.len()));
        let header = FileHeader::new([files.len() as u8; 16], 0);
        let header = if part_every < usize::MAX { header.part_of([9; 8], files.len() as u32) } else { header };
        files.push(path.clone());
        (File::create(path).expect("room"), header)
    };
    let (file, header) = next();
    let mut writer = Writer::new(file, &header).expect("room");
    let mut part = 0;
    let mut pipeline = Pipeline::default();
    for (number, batch) in (1..).zip(batches) {
        writer.batch(batch.bytes()).expect("room");
        pipeline.feed(batch.clone());
        pipeline.next(None, &mut |_, _| Disposition::Delivered);
        if number % part_every == 0 {
            let (file, header) = next();
            let state = pipeline.state();
            let new = writer.next(file, &header, &state).expect("room");
            writer.end_part(part, &state).expect("room");
            (writer, part) = (new, part + 1);
        }
    }
    pipeline.end();
    pipeline.next(None, &mut |_, _| Disposition::Delivered);
    writer.end(&pipeline.state()).expect("room");
    files
}

/// A recording in blocks of a few batches, with a state in the middle, and the offsets of its blocks.
pub(crate) fn write_blocks(path: &Path, batches: &[Batch]) -> Vec<(u64, Contents)> {
    let header = FileHeader::new([5; 16], 0);
    let mut writer = Writer::new(File::create(path).expect("room"), &header).expect("room");
    let mut pipeline = Pipeline::default();
    for (number, batch) in (1..).zip(batches) {
        writer.batch(batch.bytes()).expect("room");
        pipeline.feed(batch.clone());
        pipeline.next(None, &mut |_, _| Disposition::Delivered);
        if number % 6 == 0 {
            writer.flush().expect("room");
        }
        if number == 20 {
            writer.state(&pipeline.state()).expect("room");
        }
    }
    pipeline.end();
    pipeline.next(None, &mut |_, _| Disposition::Delivered);
    let (_, written) = writer.end(&pipeline.state()).expect("room");
    let bytes = fs::read(path).expect("there");
    let (mut at, mut blocks) = (64, Vec::new());
    while at < written {
        let block = BlockHeader::read(&bytes[at as usize..], header.short_id()).expect("a block");
        blocks.push((at, Contents::of(block.contents).expect("known")));
        at += (64 + block.padded()) as u64;
    }
    blocks
}
