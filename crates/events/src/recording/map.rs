//! Finds places in a recording file by its index, with few reads. If the file has no end or its index is damaged, the headers of
//! its blocks are used instead.

use super::block::{BLOCK_MAGIC, BlockHeader, Contents, FileHeader, HEADER, OpenError, Unsealer};
use super::follow::RecordingFile;
use super::index::{IndexBlock, IndexEntry, IndexHead, IndexSummary, SKIPS, SUMMARY, Totals, entry_of, together};
use crate::limits;
use std::fs::File;
use std::io;
use zerocopy::FromBytes;

#[derive(Debug)]
pub struct Map {
    file: RecordingFile,
    /// The offset at which its last whole block ends.
    end: u64,
    complete: bool,
    /// The last index block, and its offset.
    last: Option<(u64, IndexBlock)>,
    rest: Vec<IndexEntry>,
    totals: Totals,
}

impl Map {
    /// Opens a file. If it is still being written, the map covers its current contents.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(file: File) -> Result<Map, OpenError> {
        Map::of(RecordingFile::open(file)?)
    }

    /// The map of an open file as it is now.
    ///
    /// # Errors
    /// If the file cannot be read, or is no longer the one that was opened.
    pub fn of(mut file: RecordingFile) -> Result<Map, OpenError> {
        let (size, end) = (file.check()?, HEADER as u64);
        let (rest, totals) = (Vec::new(), Totals::default());
        let mut map = Map { file, end, complete: false, last: None, rest, totals };
        let summary = map.summary(size)?;
        map.complete = summary.is_some();
        let index = match summary {
            Some(index) => Some(index),
            None => map.last_header(size)?.map(|header| header.index),
        };
        if let Some(at) = index.filter(|at| *at != 0)
            && let Some(block) = map.index_block(at)?
        {
            map.last = Some((at, block));
        }
        map.read_rest(size)?;
        let last = map.rest.last().or(map.last.as_ref().and_then(|(_, block)| block.entries.last()));
        map.complete |= last.is_some_and(|entry| Contents::from(entry.contents) == Contents::End);
        Ok(map)
    }

    pub fn header(&self) -> &FileHeader {
        self.file.header()
    }

    pub fn file(&self) -> &RecordingFile {
        &self.file
    }

    /// Whether the recording has its proper end.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The offset at which its last whole block ends, in bytes from the start of the file.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The sums of all blocks.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The offset of the last state that is before every event from `ns` on, in bytes from the start of the file. `None` if a
    /// reader must begin at the start of the file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn state_before(&self, ns: u64) -> io::Result<Option<u64>> {
        let last = self.last.as_ref().map(|(_, block)| block);
        let before = last.map_or_else(Totals::default, |block| sums(block.head.before, &block.entries));
        if let Some(found) = last_state(before.last_ns, &self.rest, ns) {
            return Ok(Some(found));
        }
        // The entries before the first state may span several index blocks.
        let mut block = match last {
            Some(last) => last.clone(),
            None => return Ok(None),
        };
        for _ in 0..limits::INDEX_STEPS {
            if block.head.before.last_ns < ns
                && let Some(found) = last_state(block.head.before.last_ns, &block.entries, ns)
            {
                return Ok(Some(found));
            }
            // The farthest skip that still begins too late, or else the index block before.
            let skips = block.head.skips.iter().filter(|skip| skip.offset != 0);
            let far = skips.clone().filter(|skip| skip.last_ns >= ns).min_by_key(|skip| skip.offset);
            let Some(skip) = far.or(block.head.skips.first()).filter(|skip| skip.offset != 0) else {
                return Ok(None);
            };
            let number = block.head.number;
            block = match self.index_block(skip.offset)? {
                Some(earlier) if earlier.head.number < number => earlier,
                _ => return Ok(None),
            };
        }
        Ok(None)
    }

    /// The index blocks, beginning with the first: the offset of each, and the sums before the blocks that it describes.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn spine(&self) -> io::Result<Vec<(u64, Totals)>> {
        self.spine_by(0)
    }

    /// A selection of index blocks, evenly spread, beginning with the first: at most about [`limits::INDEX_SPINE`]. Also returns
    /// whether these are all index blocks.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn overview(&self) -> io::Result<(Vec<(u64, Totals)>, bool)> {
        let number = self.last.as_ref().map_or(0, |(_, block)| block.head.number);
        let few = |power: &usize| number / 16u64.pow(*power as u32) < limits::INDEX_SPINE;
        let power = (0..SKIPS).find(few).unwrap_or(SKIPS - 1);
        Ok((self.spine_by(power)?, power == 0))
    }

    /// The last index block, and the earlier ones that skips lead to.
    fn spine_by(&self, skip: usize) -> io::Result<Vec<(u64, Totals)>> {
        let mut spine = Vec::new();
        let mut at = self.last.as_ref().map(|(at, _)| *at);
        let mut number = u64::MAX;
        let most = if skip == 0 { limits::INDEX_STEPS.pow(2) } else { 16 * limits::INDEX_SPINE as usize };
        while let Some(offset) = at.filter(|_| spine.len() < most) {
            let Some(block) = self.index_head(offset)?.filter(|head| head.number < number) else { break };
            spine.push((offset, block.before));
            number = block.number;
            at = block.skips.get(skip).map(|skip| skip.offset).filter(|offset| *offset != 0);
        }
        spine.reverse();
        Ok(spine)
    }

    /// The blocks that the index does not describe yet. If there are more than [`limits::BLOCKS_LISTED`], neighbours are merged.
    pub fn rest(&self) -> &[IndexEntry] {
        &self.rest
    }

    /// The index block at an offset. `None` if it is damaged or there is none.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn index_block(&self, at: u64) -> io::Result<Option<IndexBlock>> {
        let Some(header) = self.index_header(at)? else { return Ok(None) };
        let payload = self.file.contents(at, &header, &mut Unsealer::default())?;
        Ok(payload.and_then(|payload| IndexBlock::read(&payload)))
    }

    /// The bytes of the index block at an offset, with header and padding. `None` if there is none.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn length_of(&self, at: u64) -> io::Result<Option<u64>> {
        Ok(self.index_header(at)?.map(|header| (HEADER + header.padded()) as u64))
    }

    /// The entries of the index block at an offset. Empty if it is damaged or there is none.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn index_entries(&self, at: u64) -> io::Result<Vec<IndexEntry>> {
        Ok(self.index_block(at)?.map_or_else(Vec::new, |block| block.entries))
    }

    /// The start of an index block, without a check of its checksum.
    fn index_head(&self, at: u64) -> io::Result<Option<IndexHead>> {
        let Some(header) = self.index_header(at)? else { return Ok(None) };
        let mut bytes = [0; size_of::<IndexHead>()];
        let length = read_at(&self.file, at + HEADER as u64, &mut bytes)?;
        let whole = length == bytes.len() && header.plain as usize >= length;
        Ok(IndexHead::read_from_bytes(&bytes).ok().filter(|_| whole))
    }

    fn index_header(&self, at: u64) -> io::Result<Option<BlockHeader>> {
        let index = |header: &BlockHeader| {
            let size = header.stored.max(header.plain) as usize;
            Contents::from(header.contents) == Contents::Index && size <= limits::INDEX_MAX
        };
        Ok(self.file.block_header(at)?.filter(index))
    }

    /// The frames of a block. `None` if they are damaged, or if `unsealer` did not read the earlier blocks of its zstd stream.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn frames(&self, entry: &IndexEntry, unsealer: &mut Unsealer) -> io::Result<Option<Vec<u8>>> {
        let Some(header) = self.file.block_header(entry.offset)? else { return Ok(None) };
        self.file.contents(entry.offset, &header, unsealer)
    }

    /// Reads the summary at the end. Returns the offset of the last index block.
    fn summary(&mut self, size: u64) -> io::Result<Option<u64>> {
        let Some(at) = size.checked_sub(SUMMARY as u64) else { return Ok(None) };
        let mut bytes = [0; SUMMARY];
        let length = read_at(&self.file, at, &mut bytes)?;
        let Some(header) = BlockHeader::read(&bytes[..length], self.file.header().short_id()) else { return Ok(None) };
        let payload = bytes.get(HEADER..HEADER + header.stored as usize);
        let whole = Contents::from(header.contents) == Contents::Summary;
        let Some(payload) = payload.filter(|_| whole).and_then(|payload| header.frames(payload).ok()) else {
            return Ok(None);
        };
        Ok(IndexSummary::read_from_bytes(&payload).ok().map(|_| header.index))
    }

    /// The last block header in the file. Also `None` if the end of the file is damaged.
    fn last_header(&self, size: u64) -> io::Result<Option<BlockHeader>> {
        let mut until = size;
        let start = size.saturating_sub(limits::TAIL_MAX).max(HEADER as u64);
        let mut window = Window::new(&self.file);
        while until > start {
            let from = until.saturating_sub(limits::BLOCK as u64).max(start);
            let mut found = None;
            let mut at = from;
            while let Some((here, header)) = window.header_between(at, until, self.file.header().short_id())? {
                found = Some(header);
                at = here + 1;
            }
            if found.is_some() {
                return Ok(found);
            }
            until = from;
        }
        Ok(None)
    }

    /// Reads the headers of the blocks after the last index block.
    fn read_rest(&mut self, size: u64) -> io::Result<()> {
        let mut at = HEADER as u64;
        if let Some((offset, block)) = &self.last {
            self.totals = sums(block.head.before, &block.entries);
            at = offset + self.file.block_header(*offset)?.map_or(0, |header| (HEADER + header.padded()) as u64);
        }
        self.end = at;
        let file = self.file.clone();
        let mut window = Window::new(&file);
        // Usually a block begins here. After damaged bytes, the next one begins somewhere later.
        while let Some((here, header)) = window.header_between(at, size, self.file.header().short_id())? {
            let next = here + (HEADER + header.padded()) as u64;
            if next > size {
                break;
            }
            if matches!(Contents::from(header.contents), Contents::Frames | Contents::State | Contents::End) {
                let entry = entry_of(&header, here);
                self.totals.add(&entry);
                self.rest.push(entry);
                if self.rest.len() >= 2 * limits::BLOCKS_LISTED {
                    self.rest = self.rest.chunks(2).map(together).collect();
                }
            }
            (at, self.end) = (next, next);
        }
        Ok(())
    }
}

/// Searches a file for headers. It reads ahead, and farther if the last header was close.
#[derive(Debug)]
struct Window<'a> {
    file: &'a RecordingFile,
    at: u64,
    bytes: Vec<u8>,
    ahead: usize,
}

impl<'a> Window<'a> {
    /// The least to read ahead: enough for a header if blocks are large.
    const LEAST: usize = 256;

    fn new(file: &'a RecordingFile) -> Window<'a> {
        Window { file, at: 0, bytes: Vec::new(), ahead: Window::LEAST }
    }

    /// The first block header that begins between two offsets.
    fn header_between(&mut self, mut from: u64, until: u64, file: u64) -> io::Result<Option<(u64, BlockHeader)>> {
        self.ahead = Window::LEAST;
        while from < until {
            let bytes = self.from(from)?;
            let starts = bytes.len().saturating_sub(HEADER - 1).min((until - from).min(usize::MAX as u64) as usize);
            if starts == 0 {
                return Ok(None);
            }
            let mut candidates = memchr::memmem::find_iter(bytes, &BLOCK_MAGIC).take_while(|at| *at < starts);
            let found = candidates.find_map(|at| Some((from + at as u64, BlockHeader::read(&bytes[at..], file)?)));
            if found.is_some() {
                return Ok(found);
            }
            from = self.file.data_from(from + starts as u64);
        }
        Ok(None)
    }

    /// The bytes from an offset on: at least a header, unless the file ends there.
    fn from(&mut self, from: u64) -> io::Result<&[u8]> {
        let known = from.checked_sub(self.at).and_then(|skipped| usize::try_from(skipped).ok());
        if let Some(skipped) = known.filter(|skipped| skipped.saturating_add(HEADER) <= self.bytes.len()) {
            return Ok(&self.bytes[skipped..]);
        }
        let data = self.file.hole_from(from).map_or(u64::MAX, |hole| hole - from);
        let most = usize::try_from(data).unwrap_or(usize::MAX).min(self.ahead);
        // A header that begins in the last bytes of the data may end beyond them.
        self.bytes.resize(most.max(2 * HEADER), 0);
        self.ahead = (2 * self.ahead).min(limits::BLOCK);
        let length = read_at(self.file, from, &mut self.bytes)?;
        self.bytes.truncate(length);
        self.at = from;
        Ok(&self.bytes)
    }
}

fn sums(mut before: Totals, entries: &[IndexEntry]) -> Totals {
    entries.iter().for_each(|entry| before.add(entry));
    before
}

/// The last state before every event from `ns` on. `latest` is the latest time before the entries.
fn last_state(mut latest: u64, entries: &[IndexEntry], ns: u64) -> Option<u64> {
    let mut found = None;
    for entry in entries {
        if latest >= ns {
            break;
        }
        if Contents::from(entry.contents) == Contents::State && entry.part == 0 {
            found = Some(entry.offset);
        }
        latest = latest.max(entry.last_ns);
    }
    found
}

/// Reads as many bytes as there are. Unreadable parts become zeros.
fn read_at(file: &RecordingFile, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
    file.read_at(at, bytes, &mut |_, _| {})
}
