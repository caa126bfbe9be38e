//! Finds the way in a recording file by its index, with few reads. A file without an end, or with a damaged index, is found its way
//! in by the headers of its blocks.

use super::block::{BLOCK_MAGIC, BlockHeader, Contents, FileHeader, HEADER};
use super::follow::RecordingFile;
use super::index::{Entry, Head, IndexBlock, SKIPS, SUMMARY, Summary, Totals, entry_of, together};
use super::reader::OpenError;
use crate::limits;
use std::fs::File;
use std::io;
use zerocopy::FromBytes;

/// A recording file.
#[derive(Debug)]
pub struct Map {
    file: RecordingFile,
    /// Where its last whole block ends.
    end: u64,
    complete: bool,
    /// The last index block and where it begins.
    last: Option<(u64, IndexBlock)>,
    /// The blocks after it.
    rest: Vec<Entry>,
    totals: Totals,
}

impl Map {
    /// Opens a file. A file that is still written is taken as it is now.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(file: File) -> Result<Map, OpenError> {
        Map::of(RecordingFile::open(file)?)
    }

    /// The map of an open file, as it is now.
    ///
    /// # Errors
    /// If it cannot be read, or is not what was opened.
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

    /// The file header.
    pub fn header(&self) -> &FileHeader {
        self.file.header()
    }

    /// The file.
    pub fn file(&self) -> &File {
        self.file.file()
    }

    /// Whether it ends as it should.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Where its last whole block ends, in bytes from the start of the file.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The sums of all blocks.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Where the last state begins before which no event is at `ns` or later, in bytes from the start of the file. `None` if a
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
        // The entries before the first state may be in several index blocks.
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
            // The farthest one that still begins too late; otherwise the one before.
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

    /// The index blocks, from the first on: where each begins, and the sums before the blocks that it describes.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn spine(&self) -> io::Result<Vec<(u64, Totals)>> {
        self.spine_by(0)
    }

    /// Some of the index blocks, at most about [`limits::INDEX_SPINE`], evenly spread, from the first on. Whether they are all.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn overview(&self) -> io::Result<(Vec<(u64, Totals)>, bool)> {
        let number = self.last.as_ref().map_or(0, |(_, block)| block.head.number);
        let few = |power: &usize| number / 16u64.pow(*power as u32) < limits::INDEX_SPINE;
        let power = (0..SKIPS).find(few).unwrap_or(SKIPS - 1);
        Ok((self.spine_by(power)?, power == 0))
    }

    /// The last index block, and those before it that a skip leads to.
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

    /// The blocks that the index does not describe yet. Of more than [`limits::BLOCKS_LISTED`], neighbours are taken together.
    pub fn rest(&self) -> &[Entry] {
        &self.rest
    }

    /// The index block at an offset. `None` if it is damaged or there is none.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn index_block(&self, at: u64) -> io::Result<Option<IndexBlock>> {
        let Some(header) = self.index_header(at)? else { return Ok(None) };
        Ok(self.payload(at, &header)?.and_then(|payload| IndexBlock::read(&payload)))
    }

    /// The bytes of the index block at an offset, with header and padding. `None` if there is none.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn length_of(&self, at: u64) -> io::Result<Option<u64>> {
        Ok(self.index_header(at)?.map(|header| (HEADER + header.padded()) as u64))
    }

    /// The entries of the index block at an offset, without its filters and its checksum: for an overview.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn index_entries(&self, at: u64) -> io::Result<Vec<Entry>> {
        let Some(head) = self.index_head(at)? else { return Ok(Vec::new()) };
        let most = limits::INDEX_MAX / size_of::<Entry>();
        let mut bytes = vec![0; (head.entries as usize).min(most) * size_of::<Entry>()];
        let length = read_at(&self.file, at + (HEADER + size_of::<Head>()) as u64, &mut bytes)?;
        let entries = bytes[..length].chunks_exact(size_of::<Entry>());
        Ok(entries.filter_map(|bytes| Entry::read_from_bytes(bytes).ok()).collect())
    }

    /// The start of an index block, without its checksum.
    fn index_head(&self, at: u64) -> io::Result<Option<Head>> {
        let Some(header) = self.index_header(at)? else { return Ok(None) };
        let mut bytes = [0; size_of::<Head>()];
        let length = read_at(&self.file, at + HEADER as u64, &mut bytes)?;
        let whole = length == bytes.len() && header.plain as usize >= length;
        Ok(Head::read_from_bytes(&bytes).ok().filter(|_| whole))
    }

    fn index_header(&self, at: u64) -> io::Result<Option<BlockHeader>> {
        let index = |header: &BlockHeader| {
            Contents::from(header.contents) == Contents::Index && header.stored as usize <= limits::INDEX_MAX
        };
        Ok(self.block_header(at)?.filter(index))
    }

    /// The frames of a block. `None` if they are damaged.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn frames(&self, entry: &Entry) -> io::Result<Option<Vec<u8>>> {
        let Some(header) = self.block_header(entry.offset)? else { return Ok(None) };
        self.payload(entry.offset, &header)
    }

    /// What the block at an offset contains. `None` if that is damaged.
    fn payload(&self, at: u64, header: &BlockHeader) -> io::Result<Option<Vec<u8>>> {
        let mut payload = vec![0; header.stored as usize];
        let length = read_at(&self.file, at + HEADER as u64, &mut payload)?;
        payload.truncate(length);
        Ok(header.frames(&payload).ok())
    }

    fn block_header(&self, at: u64) -> io::Result<Option<BlockHeader>> {
        let mut bytes = [0; HEADER];
        let length = read_at(&self.file, at, &mut bytes)?;
        Ok(BlockHeader::read(&bytes[..length], self.file.header().short_id()))
    }

    /// Reads the summary at the end; where the last index block begins.
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
        Ok(Summary::read_from_bytes(&payload).ok().map(|_| header.index))
    }

    /// The last block header in the file. `None` also if the end of the file is damaged.
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
            at = offset + self.block_header(*offset)?.map_or(0, |header| (HEADER + header.padded()) as u64);
        }
        self.end = at;
        let file = self.file.clone();
        let mut window = Window::new(&file);
        // Mostly there is a block here; after damaged bytes, the next one begins somewhere.
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

/// Looks for headers in a file, and reads ahead: more if the last header was close.
#[derive(Debug)]
struct Window<'a> {
    file: &'a RecordingFile,
    at: u64,
    bytes: Vec<u8>,
    ahead: usize,
}

impl<'a> Window<'a> {
    /// Enough for a header, if blocks are large.
    const LEAST: usize = 256;

    fn new(file: &'a RecordingFile) -> Window<'a> {
        Window { file, at: 0, bytes: Vec::new(), ahead: Window::LEAST }
    }

    /// The first block header that begins in a part of the file.
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

    /// At least a header from an offset on, unless the file ends there.
    fn from(&mut self, from: u64) -> io::Result<&[u8]> {
        let known = from.checked_sub(self.at).and_then(|skipped| usize::try_from(skipped).ok());
        if let Some(skipped) = known.filter(|skipped| skipped.saturating_add(HEADER) <= self.bytes.len()) {
            return Ok(&self.bytes[skipped..]);
        }
        let data = self.file.hole_from(from).map_or(u64::MAX, |hole| hole - from);
        let most = usize::try_from(data).unwrap_or(usize::MAX).min(self.ahead);
        // Beyond the end of the data, a header may begin in its last bytes.
        self.bytes.resize(most.max(2 * HEADER), 0);
        self.ahead = (2 * self.ahead).min(limits::BLOCK);
        let length = read_at(self.file, from, &mut self.bytes)?;
        self.bytes.truncate(length);
        self.at = from;
        Ok(&self.bytes)
    }
}

fn sums(mut before: Totals, entries: &[Entry]) -> Totals {
    entries.iter().for_each(|entry| before.add(entry));
    before
}

/// The last of the states before which all events are before `ns`; `latest` is the latest time before the entries.
fn last_state(mut latest: u64, entries: &[Entry], ns: u64) -> Option<u64> {
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

/// Reads as much as there is. What the disk cannot read is zeros.
fn read_at(file: &RecordingFile, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
    file.read_at(at, bytes, &mut |_, _| {})
}
