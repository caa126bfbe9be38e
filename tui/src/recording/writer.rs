//! Frames into blocks.

use super::block::{BATCH_END, Contents, FileHeader, Sealer};
use crate::frame::{Batch, Frames, HEADER as FRAME_HEADER};
use crate::limits;
use std::io::{self, Write};
use tracetui_shared::header::FrameHeader;
use zerocopy::IntoBytes;

/// Writes a recording. Each block is one `write`, so a process that is killed leaves whole blocks and at most a part of the
/// last one.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    sealer: Sealer,
    /// Frames that are not in a block yet.
    pending: Vec<u8>,
    /// Bytes of frames since the last state.
    since_state: usize,
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a recording.
    ///
    /// # Errors
    /// If the file header cannot be written.
    pub fn new(mut out: W, header: &FileHeader) -> io::Result<Writer<W>> {
        out.write_all(header.as_bytes())?;
        let sealer = Sealer::new(header.short_id())?;
        Ok(Writer { out, sealer, pending: Vec::new(), since_state: 0, written: size_of::<FileHeader>() as u64 })
    }

    /// Adds a batch. Its frames are written when there are enough for a block.
    ///
    /// # Errors
    /// If a block cannot be written.
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

    /// Writes the frames that are not in a block yet.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.since_state += self.pending.len();
        let block = self.sealer.seal(Contents::Frames, &self.pending, (0, 1))?;
        self.pending.clear();
        self.put(&block)
    }

    /// Whether a state is to be written: so many frames were written since the last one that a reader which begins there would
    /// have much to read.
    pub fn state_is_due(&self) -> bool {
        self.since_state >= limits::STATE_EVERY
    }

    /// Writes the state after the frames so far ([`crate::pipeline::Pipeline::state`]).
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn state(&mut self, state: &Batch) -> io::Result<()> {
        self.since_state = 0;
        self.parts(Contents::State, state)
    }

    /// Writes the final state. Nothing may follow it. The output, and the number of bytes that were written.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn end(mut self, state: &Batch) -> io::Result<(W, u64)> {
        self.parts(Contents::End, state)?;
        self.out.flush()?;
        Ok((self.out, self.written))
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    fn parts(&mut self, contents: Contents, state: &Batch) -> io::Result<()> {
        self.flush()?;
        let mut parts: Vec<&[u8]> = Vec::new();
        let (mut start, mut end) = (0, 0);
        for (offset, frame) in state.frames_with_offsets() {
            if end - start >= limits::BLOCK {
                parts.push(&state.bytes()[start..end]);
                start = offset;
            }
            end = offset + frame.bytes.len().next_multiple_of(8);
        }
        parts.push(&state.bytes()[start..end]);
        let count = u16::try_from(parts.len()).map_err(|_| io::Error::other("the state is too large"))?;
        for (at, part) in (0..count).zip(parts) {
            let block = self.sealer.seal(contents, part, (at, count))?;
            self.put(&block)?;
        }
        Ok(())
    }

    fn put(&mut self, block: &[u8]) -> io::Result<()> {
        self.out.write_all(block)?;
        self.written += block.len() as u64;
        Ok(())
    }
}
