//! Reassembles an exec and its continuations into one frame.
//!
//! A program writes all records of an event in one run, so no other record of the same slot comes between them on a
//! CPU.

use crate::account::Streams;
use crate::budget::Budget;
use crate::event::stdio::names_len;
use crate::frame::{Batch, FrameRef};
use crate::limits;
use foldhash::HashMap;
use std::mem::offset_of;
use tracetui_shared::header::{FrameHeader, flag};
use tracetui_shared::kind::Kind;
use tracetui_shared::record::exec::{ENVIRONMENT, ExecChunk, ExecRecord, LAST, NO_ROOM};
use tracetui_shared::record::{mark, stack};
use tracetui_shared::time::BootNanos;
use zerocopy::FromBytes;

/// An exec that is waiting for the rest of its arguments.
#[derive(Debug)]
struct Waiting {
    header: FrameHeader,
    /// The record, without the stack.
    payload: Vec<u8>,
    /// The stack; empty if the frame has none.
    stack: Vec<u8>,
    /// Bytes of arguments and environment received so far, and the total of the arguments.
    have: u32,
    want: u32,
    /// Whether the environment, or a part of it, is yet to come.
    env: bool,
}

#[derive(Debug, Default)]
pub(super) struct Assembler {
    waiting: HashMap<(u16, u32), Waiting>,
    /// Events marked as truncated by a full ring, or whose continuations ended unexpectedly.
    cut_short: HashMap<(u16, u32), u64>,
    /// Bytes of all waiting execs.
    pub(super) bytes: usize,
    budget: Budget,
}

/// The role of a continuation.
enum Piece {
    /// The next one; more are expected.
    Next,
    /// The last one sent, with its marks if more arguments exist.
    End(u8),
    /// It does not belong to this event.
    Foreign,
}

impl Assembler {
    pub(super) fn new(budget: Budget) -> Assembler {
        Assembler { budget, ..Assembler::default() }
    }

    /// The time of the earliest waiting exec.
    pub(super) fn first(&self) -> Option<BootNanos> {
        self.waiting.values().map(|waiting| waiting.header.time).min()
    }

    /// Returns whether a frame is a whole event. Parts are kept. When a part completes an event, the event is appended to `made`.
    pub(super) fn feed(&mut self, frame: &FrameRef<'_>, made: &mut Batch) -> bool {
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
            self.unfinished(key, before, made);
        }
        if ExecRecord::read_from_prefix(frame.payload).is_ok_and(|(exec, _)| exec.argv_marks & NO_ROOM != 0) {
            self.count(key);
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
        match waiting.add(frame) {
            Piece::Next => self.keep(key, waiting),
            Piece::End(marks) => {
                if marks & NO_ROOM != 0 {
                    self.count(key);
                }
                waiting.push(made);
            }
            Piece::Foreign => self.unfinished(key, waiting, made),
        }
    }

    /// Delivers a truncated exec whose continuations ended unexpectedly.
    fn unfinished(&mut self, key: (u16, u32), waiting: Waiting, made: &mut Batch) {
        self.count(key);
        waiting.push(made);
    }

    fn count(&mut self, key: (u16, u32)) {
        *self.cut_short.entry(key).or_default() += 1;
    }

    /// Restores the count of truncated events of a (slot, CPU).
    pub(super) fn restore_cut_short(&mut self, key: (u16, u32), count: u64) {
        if count > 0 {
            self.cut_short.insert(key, count);
        }
    }

    pub(super) fn write_state(&self, out: &mut Batch) {
        let mut waiting: Vec<_> = self.waiting.iter().collect();
        waiting.sort_unstable_by_key(|(key, _)| **key);
        waiting.into_iter().for_each(|(_, waiting)| out.push(waiting.header, &waiting.whole()));
    }

    pub(super) fn restore(&mut self, frame: &FrameRef<'_>) {
        if let Some(waiting) = Waiting::of(frame) {
            self.keep((frame.header.slot, frame.header.cpu), waiting);
        }
    }

    /// Adds the counts of truncated events to the arrivals.
    pub(super) fn cut_short(&self, arrived: &mut Streams) {
        for (key, count) in &self.cut_short {
            arrived.entry(*key).or_default().cut_short = *count;
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

    /// Delivers the oldest execs, truncated, until the others fit in memory.
    fn make_room(&mut self, made: &mut Batch) {
        while self.bytes > self.budget.arguments() && self.waiting.len() > 1 {
            let oldest =
                self.waiting.iter().min_by_key(|(key, waiting)| (waiting.header.time, **key)).map(|(key, _)| *key);
            let Some(waiting) = oldest.and_then(|key| self.take(key)) else { return };
            waiting.push(made);
        }
    }

    /// Delivers the execs from before `until`, truncated.
    pub(super) fn give_up(&mut self, until: BootNanos, made: &mut Batch) {
        if self.waiting.is_empty() {
            return;
        }
        let late = self.waiting.iter().filter(|(_, w)| w.header.time < until).map(|(key, _)| *key);
        // Sorted, so that equal frames give equal rows.
        let mut late: Vec<_> = late.collect();
        late.sort_unstable();
        for key in late {
            if let Some(waiting) = self.take(key) {
                self.unfinished(key, waiting, made);
            }
        }
    }
}

impl Waiting {
    /// `None` if the frame is a whole event. Also `None` if it is unreadable: the decoder detects that.
    fn of(frame: &FrameRef<'_>) -> Option<Waiting> {
        let with_stack = frame.header.has(flag::STACK);
        let payload = if with_stack { stack::split(frame.payload)?.0 } else { frame.payload };
        let after = frame.payload.get(payload.len()..).unwrap_or_default();
        let (record, rest) = ExecRecord::read_from_prefix(payload).ok()?;
        let texts = usize::from(record.filename_len)
            + usize::from(record.interp_len)
            + usize::from(record.exe_len)
            + usize::from(record.cwd_len)
            + usize::from(record.stdio_len)
            + record.fds_len as usize
            + names_len(rest.get(..record.stdio_len.into())?);
        let have = payload.len().checked_sub(size_of::<ExecRecord>() + texts)?;
        let have = u32::try_from(have).ok()?;
        let missing = record.argv_len.saturating_sub(have).saturating_add(record.env_len);
        if missing == 0 {
            return None;
        }
        // Reserved at once: a growing buffer could take twice the memory. The length is untrusted, so it is limited.
        let whole = payload.len().saturating_add(missing as usize).min(limits::FRAME_MAX);
        let mut buffer = Vec::with_capacity(whole.max(payload.len()));
        buffer.extend_from_slice(payload);
        let (want, env) = (record.argv_len, record.env_len > 0);
        Some(Waiting { header: frame.header, payload: buffer, stack: after.to_vec(), have, want, env })
    }

    fn bytes(&self) -> usize {
        size_of::<((u16, u32), Waiting)>() + self.payload.capacity() + self.stack.capacity()
    }

    fn add(&mut self, frame: &FrameRef<'_>) -> Piece {
        let Ok((chunk, bytes)) = ExecChunk::read_from_prefix(frame.payload) else { return Piece::Foreign };
        let fits = self.payload.len() + bytes.len() <= limits::FRAME_MAX;
        let of_env = chunk.marks & ENVIRONMENT != 0;
        let due = if of_env { self.env && self.have >= self.want } else { self.have < self.want };
        if frame.header.seq != self.header.seq || chunk.offset != self.have || !fits || !due {
            return Piece::Foreign;
        }
        let Some(bytes) = bytes.get(..chunk.len as usize) else { return Piece::Foreign };
        self.payload.extend_from_slice(bytes);
        let end = chunk.marks as u8 & (NO_ROOM | mark::FAULT | mark::CUT);
        let last = chunk.marks & LAST != 0;
        // The marks of a continuation apply to all arguments, or to all of the environment.
        self.mark(if of_env { offset_of!(ExecRecord, env_marks) } else { offset_of!(ExecRecord, argv_marks) }, end);
        if of_env {
            self.mark(offset_of!(ExecRecord, env_joined), 1);
        }
        self.have += chunk.len;
        self.env &= !last;
        match end {
            // A variable may begin in one continuation and end in a later one.
            0 if bytes.is_empty() && !of_env => Piece::Foreign,
            0 if self.have < self.want || self.env => Piece::Next,
            marks => Piece::End(marks),
        }
    }

    /// Sets bits of a byte of the record.
    fn mark(&mut self, at: usize, bits: u8) {
        self.payload.get_mut(at).into_iter().for_each(|byte| *byte |= bits);
    }

    fn push(mut self, made: &mut Batch) {
        if self.env {
            self.mark(offset_of!(ExecRecord, env_marks), mark::CUT);
        }
        let env_len = offset_of!(ExecRecord, env_len);
        self.payload.get_mut(env_len..env_len + 4).into_iter().for_each(|bytes| bytes.fill(0));
        self.payload.append(&mut self.stack);
        made.push(self.header, &self.payload);
    }

    /// The original payload, and the bytes appended to the arguments.
    fn whole(&self) -> Vec<u8> {
        [self.payload.as_slice(), &self.stack].concat()
    }
}
