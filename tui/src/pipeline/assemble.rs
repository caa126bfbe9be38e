//! Puts an exec and its continuations together into one frame.
//!
//! A program writes all records of an event in one run, so on a CPU nothing of the same slot comes between them.

use crate::budget::Budget;
use crate::frame::{Batch, FrameRef};
use crate::limits;
use rustc_hash::FxHashMap;
use std::mem::offset_of;
use tracetui_shared::header::{FrameHeader, flag};
use tracetui_shared::kind::Kind;
use tracetui_shared::record::exec::{ExecChunk, ExecRecord};
use tracetui_shared::time::BootNanos;
use zerocopy::FromBytes;

/// An exec that waits for the rest of its arguments.
#[derive(Debug)]
struct Waiting {
    header: FrameHeader,
    payload: Vec<u8>,
    /// Argument bytes that are there, and that there should be.
    have: u32,
    want: u32,
}

/// Execs that wait, by (slot, CPU).
#[derive(Debug, Default)]
pub(super) struct Assembler {
    waiting: FxHashMap<(u16, u32), Waiting>,
    /// Bytes of all that wait.
    bytes: usize,
    budget: Budget,
}

impl Assembler {
    pub(super) fn set_budget(&mut self, budget: Budget) {
        self.budget = budget;
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a frame is a whole event where it stands. Other ones are kept; what they complete goes to `made`.
    pub(super) fn whole(&mut self, frame: &FrameRef<'_>, made: &mut Batch) -> bool {
        let header = frame.header;
        if header.kind != Kind::Exec as u16 {
            return true;
        }
        let key = (header.slot, header.cpu);
        if header.has(flag::CONTINUES) {
            self.continued(key, frame, made);
            return false;
        }
        if let Some(before) = self.take(key) {
            before.push(made);
        }
        match Waiting::of(frame) {
            Some(waiting) => {
                self.keep(key, waiting);
                self.make_room(made);
                false
            }
            None => true,
        }
    }

    fn continued(&mut self, key: (u16, u32), frame: &FrameRef<'_>, made: &mut Batch) {
        let Some(mut waiting) = self.take(key) else { return };
        if waiting.add(frame) && waiting.have < waiting.want {
            self.keep(key, waiting);
        } else {
            waiting.push(made);
        }
    }

    fn keep(&mut self, key: (u16, u32), waiting: Waiting) {
        self.bytes += waiting.bytes();
        self.waiting.insert(key, waiting);
    }

    fn take(&mut self, key: (u16, u32)) -> Option<Waiting> {
        let waiting = self.waiting.remove(&key)?;
        self.bytes -= waiting.bytes();
        Some(waiting)
    }

    /// Hands on, cut short, what has waited longest, until the rest has room.
    fn make_room(&mut self, made: &mut Batch) {
        while self.bytes > self.budget.arguments() && self.waiting.len() > 1 {
            let oldest = self.waiting.iter().min_by_key(|(_, waiting)| waiting.header.time).map(|(key, _)| *key);
            let Some(waiting) = oldest.and_then(|key| self.take(key)) else { return };
            waiting.push(made);
        }
    }

    /// Hands on, cut short, what has waited since before `until`.
    pub(super) fn give_up(&mut self, until: BootNanos, made: &mut Batch) {
        if self.waiting.is_empty() {
            return;
        }
        let late: Vec<_> = self.waiting.iter().filter(|(_, w)| w.header.time < until).map(|(k, _)| *k).collect();
        for key in late {
            if let Some(waiting) = self.take(key) {
                waiting.push(made);
            }
        }
    }
}

impl Waiting {
    /// `None` when the frame is whole (or not readable, which the decoder will find).
    fn of(frame: &FrameRef<'_>) -> Option<Waiting> {
        let (record, _) = ExecRecord::read_from_prefix(frame.payload).ok()?;
        let texts = usize::from(record.filename_len)
            + usize::from(record.interp_len)
            + usize::from(record.exe_len)
            + usize::from(record.cwd_len);
        let have = frame.payload.len().checked_sub(size_of::<ExecRecord>() + texts)?;
        let have = u32::try_from(have).ok()?;
        let missing = record.argv_len.checked_sub(have).filter(|missing| *missing > 0)?;
        // All at once: it would grow to twice of what it needs. The length is another's word, so it is bounded.
        let whole = frame.payload.len().saturating_add(missing as usize).min(limits::FRAME_MAX);
        let mut payload = Vec::with_capacity(whole.max(frame.payload.len()));
        payload.extend_from_slice(frame.payload);
        Some(Waiting { header: frame.header, payload, have, want: record.argv_len })
    }

    fn bytes(&self) -> usize {
        size_of::<((u16, u32), Waiting)>() + self.payload.capacity()
    }

    /// Adds a continuation; `false` when it is not the next one.
    fn add(&mut self, frame: &FrameRef<'_>) -> bool {
        let Ok((chunk, bytes)) = ExecChunk::read_from_prefix(frame.payload) else { return false };
        let fits = self.payload.len() + bytes.len() <= limits::FRAME_MAX;
        if frame.header.seq != self.header.seq || chunk.offset != self.have || bytes.is_empty() || !fits {
            return false;
        }
        let Some(bytes) = bytes.get(..chunk.len as usize) else { return false };
        self.payload.extend_from_slice(bytes);
        // What is wrong with a piece is wrong with the whole.
        if let Some(marks) = self.payload.get_mut(offset_of!(ExecRecord, argv_marks)) {
            *marks |= chunk.marks as u8;
        }
        self.have += chunk.len;
        true
    }

    fn push(self, made: &mut Batch) {
        made.push(self.header, &self.payload);
    }
}
