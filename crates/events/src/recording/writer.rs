//! Frames into blocks.

use super::block::{BATCH_END, Contents, FileHeader};
use super::block_writer::Sealer;
use super::index::{IndexEntry, Indexer, Totals};
use crate::frame::host::{Continues, HostFrame};
use crate::frame::{Batch, Frames, HEADER as FRAME_HEADER};
use crate::limits;
use std::io::{self, Write};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::time::BootNanos;
use zerocopy::IntoBytes;

/// Writes a recording. Each block is one `write`, so a killed process leaves whole blocks and at most a part of the last one.
pub struct Writer<W> {
    out: W,
    sealer: Sealer,
    indexer: Indexer,
    /// Frames that are not in a block yet.
    pending: Vec<u8>,
    /// Bytes of frames since the last state.
    since_state: usize,
    written: u64,
}

impl<W: Write> Writer<W> {
    pub fn new(out: W, header: &FileHeader) -> io::Result<Writer<W>> {
        Writer::with(out, header, Indexer::default())
    }

    /// Begins the next file of the trace, with the state after the frames so far.
    /// Fails if the file header or the state cannot be written, or the frames of this file.
    pub fn next(&mut self, out: W, header: &FileHeader, state: &Batch) -> io::Result<Writer<W>> {
        // The index of this file counts the losses up to here, and that of the next file only the losses after it.
        self.flush()?;
        let mut next = Writer::with(out, header, self.indexer.next())?;
        next.state(state)?;
        Ok(next)
    }

    fn with(mut out: W, header: &FileHeader, indexer: Indexer) -> io::Result<Writer<W>> {
        out.write_all(header.as_bytes())?;
        let sealer = Sealer::new(header.short_id())?;
        Ok(Writer {
            out,
            sealer,
            indexer,
            pending: Vec::new(),
            since_state: 0,
            written: size_of::<FileHeader>() as u64,
        })
    }

    /// Adds a batch. Its frames are written once there are enough for a block.
    pub fn batch(&mut self, batch: &[u8]) -> io::Result<()> {
        let end = FrameHeader { kind: BATCH_END, len: FRAME_HEADER as u32, ..FrameHeader::default() };
        for frame in Frames::of(batch).map(|frame| frame.bytes).chain([end.as_bytes()]) {
            self.pending.extend_from_slice(frame);
            self.pending.resize(self.pending.len().next_multiple_of(8), 0);
            if self.pending.len() >= limits::BLOCK {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Writes the frames that are not in a block yet. If there are none, flushes the output.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return self.out.flush();
        }
        self.since_state += self.pending.len();
        let mut entry = self.indexer.look(Contents::Frames, &self.pending);
        let block = self.sealer.seal(&mut entry, &self.pending)?;
        self.pending.clear();
        self.put(entry, &block)
    }

    /// Whether a state is due, because a reader that begins at the last one would have much to read.
    pub fn state_is_due(&self) -> bool {
        self.since_state >= limits::STATE_EVERY
    }

    /// Writes the state after the frames so far ([`crate::pipeline::Pipeline::state`]).
    pub fn state(&mut self, state: &Batch) -> io::Result<()> {
        self.flush()?;
        self.parts(Contents::State, state)?;
        self.sealer.restart();
        self.since_state = 0;
        Ok(())
    }

    /// Ends a file whose trace continues in the next one, with the same state ([`next`](Self::next)).
    pub fn end_part(mut self, part: u32, state: &Batch) -> io::Result<(W, u64)> {
        let mut batch = Batch::default();
        HostFrame::Continues(Continues { part: part.saturating_add(1) }).push(BootNanos(0), &mut batch);
        self.batch(batch.bytes())?;
        self.end(state)
    }

    /// Writes the final state. Nothing may follow it. Returns the output, and the number of bytes written.
    pub fn end(mut self, state: &Batch) -> io::Result<(W, u64)> {
        self.flush()?;
        self.parts(Contents::End, state)?;
        self.index()?;
        self.write(&self.sealer.seal_summary())?;
        self.out.flush()?;
        Ok((self.out, self.written))
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The sums of the blocks written so far.
    pub fn totals(&self) -> &Totals {
        &self.indexer.totals
    }

    fn parts(&mut self, contents: Contents, state: &Batch) -> io::Result<()> {
        self.flush()?;
        let mut parts: Vec<&[u8]> = Vec::new();
        let (mut start, mut end, mut slot) = (0, 0, None);
        for (offset, frame) in state.frames_with_offsets() {
            // Tables have blocks of their own.
            let other = slot.replace(frame.header.slot).is_some_and(|slot| slot != frame.header.slot);
            if end - start >= limits::BLOCK || other {
                parts.push(&state.bytes()[start..end]);
                start = offset;
            }
            end = offset + frame.bytes.len().next_multiple_of(8);
        }
        parts.push(&state.bytes()[start..end]);
        let count = u16::try_from(parts.len()).map_err(|_| io::Error::other("the state is too large"))?;
        for (at, part) in (0..count).zip(parts) {
            let entry = IndexEntry { part: at, ..self.indexer.look(contents, part) };
            let block = self.sealer.seal_state(&entry, part, count)?;
            self.put(entry, &block)?;
        }
        Ok(())
    }

    /// Writes a block, and the index block after it if it is due.
    fn put(&mut self, entry: IndexEntry, block: &[u8]) -> io::Result<()> {
        let offset = self.written;
        self.write(block)?;
        if self.indexer.add(entry, offset, block.len()) { self.index() } else { Ok(()) }
    }

    /// Writes an index block of the blocks since the last one, if there are any.
    fn index(&mut self) -> io::Result<()> {
        let Some(payload) = self.indexer.rest() else { return Ok(()) };
        let block = self.sealer.seal_index(&payload)?;
        let offset = self.written;
        self.write(&block)?;
        self.sealer.index = offset;
        Ok(())
    }

    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        self.out.write_all(block)?;
        self.written += block.len() as u64;
        Ok(())
    }
}
