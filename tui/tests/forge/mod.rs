//! Makes recordings whose checksums are right, whatever else is in them.

#![allow(dead_code, reason = "not every test needs everything")]

use std::time::Duration;
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::{HostFrame, StatePart};
use tracetui_events::recording::block::{BATCH_END, BLOCK_MAGIC, BlockHeader, FileHeader, HEADER};
use tracetui_events::recording::index::{IndexEntry, Totals};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::time::BootNanos;
use zerocopy::IntoBytes;

/// The processor time of this thread, which grows no faster on a busy machine.
pub(crate) fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

pub(crate) const ID: [u8; 16] = *b"0123456789abcdef";

/// The contents of blocks.
pub(crate) const FRAMES: u16 = 1;
pub(crate) const STATE: u16 = 2;
pub(crate) const END: u16 = 3;
pub(crate) const INDEX: u16 = 4;
pub(crate) const SUMMARY: u16 = 5;

/// How payloads are stored.
pub(crate) const PLAIN: u16 = 0;
pub(crate) const ZSTD: u16 = 1;
pub(crate) const ROWS: u16 = 3;

pub(crate) fn file_header() -> FileHeader {
    FileHeader::new(ID, 7)
}

pub(crate) fn header(contents: u16, codec: u16, stored: usize, plain: usize) -> BlockHeader {
    BlockHeader {
        magic: BLOCK_MAGIC,
        contents,
        codec,
        file: file_header().short_id(),
        stored: stored as u32,
        plain: plain as u32,
        first_ns: u64::MAX,
        parts: 1,
        ..BlockHeader::default()
    }
}

pub(crate) fn sealed(header: BlockHeader, payload: &[u8]) -> Vec<u8> {
    let mut header = BlockHeader { payload_crc: crc32fast::hash(payload), ..header };
    header.crc = crc32fast::hash(&header.as_bytes()[..HEADER - 4]);
    let mut block = [header.as_bytes(), payload].concat();
    block.resize(block.len().next_multiple_of(8), 0);
    block
}

/// A state with these frames.
pub(crate) fn state_of(frames: &[u8]) -> Batch {
    host_frames([HostFrame::StatePart(StatePart { frames: frames.to_vec() })])
}

pub(crate) fn host_frames(frames: impl IntoIterator<Item = HostFrame>) -> Batch {
    let mut batch = Batch::default();
    frames.into_iter().for_each(|frame| frame.push(BootNanos(1), &mut batch));
    batch
}

pub(crate) struct Forge {
    pub(crate) bytes: Vec<u8>,
    /// The offset of the last index block.
    pub(crate) index: u64,
}

impl Forge {
    pub(crate) fn new() -> Forge {
        Forge { bytes: file_header().as_bytes().to_vec(), index: 0 }
    }

    pub(crate) fn here(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(crate) fn block(&mut self, header: BlockHeader, payload: &[u8]) -> u64 {
        let at = self.here();
        self.bytes.extend_from_slice(&sealed(BlockHeader { index: self.index, ..header }, payload));
        at
    }

    pub(crate) fn packed(&mut self, contents: u16, plain: &[u8]) -> u64 {
        let payload = zstd::bulk::compress(plain, 1).expect("memory");
        self.block(header(contents, ZSTD, payload.len(), plain.len()), &payload)
    }

    /// Adds a block of frames with these threads and rows, which begins a stream.
    pub(crate) fn rows(&mut self, threads: &[u8], rows: &[u8], plain: usize) -> u64 {
        let [threads, rows] = [threads, rows].map(|part| zstd::bulk::compress(part, 1).expect("memory"));
        let payload = [&[0; 4], (threads.len() as u32).as_bytes(), &threads, &rows].concat();
        self.block(header(FRAMES, ROWS, payload.len(), plain), &payload)
    }

    pub(crate) fn frames(&mut self, batch: &Batch) -> u64 {
        let mut batch = batch.clone();
        batch.push(FrameHeader { kind: BATCH_END, ..FrameHeader::default() }, &[]);
        self.packed(FRAMES, batch.bytes())
    }

    pub(crate) fn state(&mut self, contents: u16, frames: &Batch) -> u64 {
        self.packed(contents, state_of(frames.bytes()).bytes())
    }

    /// Adds one of the `parts` blocks of a state, compressed.
    pub(crate) fn state_part(&mut self, contents: u16, (part, parts): (u16, u16), state: &Batch) {
        let packed = zstd::bulk::compress(state.bytes(), 1).expect("memory");
        self.block(BlockHeader { part, parts, ..header(contents, ZSTD, packed.len(), state.len()) }, &packed);
    }

    pub(crate) fn index(&mut self, before: Totals, entries: &[IndexEntry], rest: &[u8]) -> u64 {
        let payload = [before.as_bytes(), entries.as_bytes(), rest].concat();
        let at = self.block(header(INDEX, PLAIN, payload.len(), payload.len()), &payload);
        self.index = at;
        at
    }

    pub(crate) fn summary(&mut self) {
        self.block(header(SUMMARY, PLAIN, 0, 0), &[]);
    }
}
