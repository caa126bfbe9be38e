//! Reads blocks from a file or a pipe. Damaged parts are reported and skipped, and a missing end is reported.

use super::block::{BATCH_END, BLOCK_MAGIC, BlockHeader, Contents, Damage, FileHeader, HEADER, OpenError, Unsealer};
use super::holes::Hole;
use crate::budget::Budget;
use crate::frame::{Batch, FrameRef, Frames};
use crate::limits;
use std::io::{self, Read};

/// The most bytes read at once, unless a block is larger.
const READ: usize = 128 << 10;

/// The contents of a recording, in order.
pub enum Item {
    /// A batch, unchanged.
    Batch(Batch),
    /// A whole state of the pipeline.
    State(Batch),
    /// The state after the last frame.
    End(Batch),
    Hole(Hole),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Proper: the trace ended, and its last state was written.
    Complete,
    /// Early: the last whole block ends at this offset, in bytes from the start of the file.
    Early(u64),
}

/// Reads a recording from its start.
pub struct Reader<R> {
    input: Input<R>,
    pub header: FileHeader,
    /// The frames of the block, beginning with the next one, and the frames of the batch before.
    frames: Vec<u8>,
    next: usize,
    batch: Batch,
    unsealer: Unsealer,
    /// The frames of a block of a state.
    plain: Vec<u8>,
    /// The blocks of a state so far, their total number, and the offset of the first one.
    state: (Batch, u16, u64),
    /// The maximum size of a state in bytes. A larger one becomes a hole without frames.
    pub(crate) state_max: usize,
    /// Whether states are only checked and not read.
    states_skipped: bool,
    /// The number of blocks read so far.
    pub(crate) blocks: u64,
    /// The item after the batch.
    waiting: Option<Item>,
    /// The offset of bytes that are not a block, while the next block is searched.
    damaged_from: Option<u64>,
    /// Whether the final state or the summary was read.
    ended: bool,
    /// Whether the summary was read. Nothing of the recording follows it.
    summed: bool,
    /// How the recording ends, once [`next`](Self::next) returned `None`.
    pub ending: Option<Ending>,
    /// Bytes after the last whole block.
    rest: u64,
}

impl<R: Read> Reader<R> {
    pub fn new(input: R) -> Result<Reader<R>, OpenError> {
        let mut input = Input { reader: input, bytes: Vec::new(), start: 0, offset: 0 };
        input.fill(HEADER)?;
        let header = FileHeader::read(input.available())?;
        input.skip(HEADER);
        Ok(Reader::of(input, header))
    }

    /// Continues at a block, `offset` bytes from the start of a file with this header. `unsealer` knows the first block, if states
    /// are to be read ([`Unsealer::begin`]).
    pub fn resume(reader: R, header: FileHeader, unsealer: Unsealer, offset: u64) -> Reader<R> {
        let input = Input { reader, bytes: Vec::new(), start: 0, offset };
        Reader { unsealer, ..Reader::of(input, header) }
    }

    fn of(input: Input<R>, header: FileHeader) -> Reader<R> {
        Reader {
            input,
            header,
            frames: Vec::new(),
            next: 0,
            batch: Batch::default(),
            unsealer: Unsealer::default(),
            plain: Vec::new(),
            state: Default::default(),
            state_max: Budget::default().state(),
            states_skipped: false,
            blocks: 0,
            waiting: None,
            damaged_from: None,
            ended: false,
            summed: false,
            ending: None,
            rest: 0,
        }
    }

    /// Sets whether states are skipped from now on. Their checksums are then checked, and they produce no items.
    pub fn skip_states(&mut self, skipped: bool) {
        self.states_skipped = skipped;
        // If the first blocks of a state were skipped, the others do not make a state.
        self.state = Default::default();
    }

    /// Bytes after the summary, which do not belong to the recording, once [`next`](Self::next) returned `None`.
    pub fn after_end(&self) -> u64 {
        if self.summed { self.rest } else { 0 }
    }

    /// Skips blocks up to an offset. Returns whether they are whole: their checksums are compared, but nothing is decompressed.
    pub fn pass_to(&mut self, until: u64) -> io::Result<bool> {
        while self.input.offset < until {
            self.input.fill(HEADER)?;
            let Some(block) = BlockHeader::read(self.input.available(), self.header.short_id()) else {
                return Ok(false);
            };
            let length = HEADER + block.padded();
            let whole = self.input.fill(length)? >= length;
            let payload = self.input.available().get(HEADER..HEADER + block.stored as usize);
            if !whole || payload.is_none_or(|payload| block.check(payload).is_err()) {
                return Ok(false);
            }
            self.input.skip(length);
            self.blocks += 1;
        }
        Ok(self.input.offset == until)
    }

    /// The number of bytes read so far.
    pub fn offset(&self) -> u64 {
        self.input.offset
    }

    /// Stores an empty batch for the next frames, if there is none yet.
    pub fn lend(&mut self, batch: impl FnOnce() -> Batch) {
        if self.batch.room() == 0 {
            self.batch = batch();
        }
    }

    /// The next item; `None` at the end.
    /// Fails if the input cannot be read.
    #[expect(clippy::should_implement_trait, reason = "an error ends it")]
    pub fn next(&mut self) -> io::Result<Option<Item>> {
        loop {
            if let Some(batch) = self.next_batch() {
                return Ok(Some(Item::Batch(batch)));
            }
            match self.waiting.take() {
                Some(item) => return Ok(Some(item)),
                None if self.ending.is_some() => return Ok(None),
                None => self.read_block()?,
            }
        }
    }

    /// The next batch of the block, if the batch ends there or the recording stops before its end.
    fn next_batch(&mut self) -> Option<Batch> {
        // The frames are passed on unchanged, in one piece.
        let start = self.next;
        while let Some((frame, rest)) = FrameRef::first(self.frames.get(self.next..)?) {
            let end = self.next;
            self.next = self.frames.len() - rest.len();
            if frame.header.kind == BATCH_END {
                self.batch.append(&self.frames[start..end]);
                return Some(std::mem::take(&mut self.batch));
            }
            if self.batch.len() + (self.next - start) > limits::BATCH_MAX {
                self.batch.append(&self.frames[start..self.next]);
                return Some(std::mem::take(&mut self.batch));
            }
        }
        self.batch.append(&self.frames[start..self.next]);
        let stops = self.waiting.is_some() || self.ending.is_some();
        (stops && !self.batch.is_empty()).then(|| std::mem::take(&mut self.batch))
    }

    /// Reads a block: into `frames`, `waiting` or `ending`.
    fn read_block(&mut self) -> io::Result<()> {
        let file = self.header.short_id();
        self.input.fill(HEADER)?;
        let block = BlockHeader::read(self.input.available(), file);
        let Some(block) = block.filter(|_| self.damaged_from.is_none() && !self.summed) else {
            self.waiting = self.not_a_block()?;
            return Ok(());
        };
        if self.input.fill(HEADER + block.padded())? < HEADER + block.padded() {
            self.ends(self.input.available().len() as u64);
            return Ok(());
        }
        let payload = &self.input.available()[HEADER..HEADER + block.stored as usize];
        let contents = Contents::of(block.contents);
        let checked = match contents {
            Some(Contents::Frames) => {
                self.next = 0;
                self.unsealer.frames(&block, payload, &mut self.frames)
            }
            Some(Contents::State | Contents::End) if !self.states_skipped => {
                match self.unsealer.frames(&block, payload, &mut self.plain) {
                    // Without the first block, the state has no tables.
                    Err(Damage::Base) => Ok(()),
                    read => read,
                }
            }
            _ => block.check(payload),
        };
        let (offset, bytes) = (self.input.offset, (HEADER + block.padded()) as u64);
        if offset == HEADER as u64 {
            self.unsealer.begin(if contents == Some(Contents::Frames) { &self.frames } else { &self.plain });
        }
        self.input.skip(HEADER + block.padded());
        self.blocks += 1;
        let Some(contents) = contents else { return Ok(()) };
        match (checked, contents) {
            (Ok(()), Contents::Summary) => (self.ended, self.summed) = (true, true),
            (Ok(()), Contents::Index | Contents::Frames) => {}
            (Err(why), _) => {
                let frames = contents == Contents::Frames;
                self.waiting = Some(Item::Hole(Hole { offset, bytes, why, frames }));
                self.frames.truncate(self.next);
            }
            (Ok(()), Contents::State) => _ = self.part(&block, offset, Item::State),
            (Ok(()), Contents::End) => self.ended |= self.part(&block, offset, Item::End),
        }
        Ok(())
    }

    /// Handles a block of a state. `offset` is where the block begins. Returns `true` once all blocks have come, or once the
    /// state is too large.
    fn part(&mut self, block: &BlockHeader, offset: u64, whole: fn(Batch) -> Item) -> bool {
        let (state, parts, begins) = &mut self.state;
        if block.part == 0 {
            (*parts, *state, *begins) = (0, Batch::default(), offset);
        }
        if block.part != *parts {
            *state = Batch::default();
            return false;
        }
        let Some(next) = parts.checked_add(1) else { return false };
        *parts = next;
        let last = next == block.parts;
        if self.states_skipped {
            return last;
        }
        // The writer begins each block with a frame, so no frame is larger than a block.
        let length = Frames::of(&self.plain).fold(0, |sum, frame| sum + frame.bytes.len().next_multiple_of(8));
        if state.len() + length > self.state_max {
            let bytes = self.input.offset - *begins;
            let hole = Hole { offset: *begins, bytes, why: Damage::StateTooLarge, frames: false };
            self.waiting = Some(Item::Hole(hole));
            // The remaining blocks then belong to no state.
            self.state = Default::default();
            return true;
        }
        state.append(self.plain.get(..length).unwrap_or(&self.plain));
        self.waiting = last.then(|| whole(std::mem::take(state)));
        last
    }

    /// Searches for the next block. The bytes before it are a hole. If no block follows, at least not within
    /// [`limits::DAMAGED_MAX`], the recording ends here.
    fn not_a_block(&mut self) -> io::Result<Option<Item>> {
        let offset = *self.damaged_from.get_or_insert(self.input.offset);
        loop {
            let file = self.header.short_id();
            let bytes = self.input.available();
            let length = bytes.len();
            let mut starts = memchr::memmem::find_iter(bytes, &BLOCK_MAGIC);
            let found = starts.find(|at| BlockHeader::read(&bytes[*at..], file).is_some());
            // Nothing after the summary belongs to the recording, even if it is a copy of its blocks.
            if let Some(at) = found.filter(|_| !self.summed) {
                self.input.skip(at);
                self.damaged_from = None;
                let bytes = self.input.offset - offset;
                return Ok(Some(Item::Hole(Hole { offset, bytes, why: Damage::NotABlock, frames: true })));
            }
            // The last bytes may be the beginning of a header.
            self.input.skip(length.saturating_sub(HEADER - 1));
            let left = self.input.available().len();
            let is_far = self.input.offset - offset > limits::DAMAGED_MAX;
            if is_far || self.input.fill(left + 1)? == left {
                let rest = self.input.offset + left as u64 - offset;
                self.input.offset = offset;
                self.ends(rest);
                return Ok(None);
            }
        }
    }

    /// Ends the recording after the last whole block, which this many bytes follow.
    fn ends(&mut self, rest: u64) {
        let end = self.input.offset;
        self.ending = Some(if self.ended { Ending::Complete } else { Ending::Early(end) });
        self.rest = rest;
        // Its window is large, and a trace may have many files.
        self.unsealer = Unsealer::default();
        self.input.skip(self.input.available().len());
        self.input.offset = end + rest;
    }
}

/// An input with the bytes read ahead.
struct Input<R> {
    reader: R,
    bytes: Vec<u8>,
    /// The index in `bytes` of the first available byte.
    start: usize,
    /// The offset of the first available byte in the file.
    offset: u64,
}

impl<R: Read> Input<R> {
    fn available(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Reads until `wanted` bytes are available or the input ends. Returns the number of available bytes. If that needs no waiting, reads
    /// ahead, up to [`READ`] bytes.
    fn fill(&mut self, wanted: usize) -> io::Result<usize> {
        if self.available().len() >= wanted {
            return Ok(self.available().len());
        }
        self.bytes.drain(..self.start);
        self.start = 0;
        let mut length = self.bytes.len();
        self.bytes.resize(wanted.max(READ), 0);
        let result = loop {
            if length >= wanted {
                break Ok(length);
            }
            match self.reader.read(&mut self.bytes[length..]) {
                Ok(0) => break Ok(length),
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.bytes.truncate(length);
        result
    }

    fn skip(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }
}
