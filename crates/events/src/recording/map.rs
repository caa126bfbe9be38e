//! Finds places in a recording file by its index, with few reads. If the file has no end or its index is damaged, the headers of
//! its blocks are used instead.

use super::block::{BLOCK_MAGIC, BlockHeader, Contents, HEADER, INDEX_HEAD, OpenError, ThreadReader, Unsealer};
use super::file::RecordingFile;
use super::index::{IndexBlock, IndexEntry, Totals, entry_of, together};
use crate::limits;
use std::fs::File;
use std::io;
use tracetui_shared::header::FrameHeader;
use zerocopy::FromBytes;

pub struct Map {
    pub file: RecordingFile,
    /// Whether the recording has its proper end.
    pub complete: bool,
    /// The last index block, and its offset.
    last: Option<(u64, IndexBlock)>,
    /// The blocks that the index does not describe yet. If there are more than [`limits::BLOCKS_LISTED`], neighbours are merged.
    pub rest: Vec<IndexEntry>,
    pub totals: Totals,
}

impl Map {
    /// Opens a file. If it is still being written, the map covers its current contents.
    pub fn open(file: File) -> Result<Map, OpenError> {
        Map::of(RecordingFile::open(file)?)
    }

    /// The map of an open file, as it was then.
    /// Fails if the file cannot be read.
    pub fn of(file: RecordingFile) -> Result<Map, OpenError> {
        let size = file.size;
        let summary = file.summary()?;
        let (complete, rest, totals) = (summary.is_some(), Vec::new(), Totals::default());
        let mut map = Map { file, complete, last: None, rest, totals };
        let last = if summary.is_some() { summary } else { map.last_header(size)? };
        let index = last.map(|header| header.index);
        if let Some(at) = index.filter(|at| *at != 0)
            && let Some(block) = map.index_block(at)?
        {
            map.last = Some((at, block));
        }
        map.read_rest(size)?;
        let last = map.rest.last().or(map.last.as_ref().and_then(|(_, block)| block.entries.last()));
        map.complete |= last.is_some_and(|entry| entry.contents == Contents::End as u16);
        Ok(map)
    }

    /// The offset of the last state that is before every event from `ns` on, in bytes from the start of the file. `None` if a
    /// reader must begin at the start of the file.
    pub fn state_before(&self, ns: u64) -> io::Result<Option<u64>> {
        let last = self.last.as_ref().map(|(_, block)| sums(block));
        if let Some(found) = last_state(last.unwrap_or_default().last_ns, &self.rest, ns) {
            return Ok(Some(found));
        }
        for head in self.heads() {
            let (at, before) = head?;
            if before.last_ns >= ns {
                continue;
            }
            let Some(block) = self.index_block(at)? else { return Ok(None) };
            if let Some(found) = last_state(block.before.last_ns, &block.entries, ns) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The index blocks, beginning with the first: the offset of each, and the sums before the blocks that it describes.
    pub fn spine(&self) -> io::Result<Vec<(u64, Totals)>> {
        let mut spine = self.heads().collect::<io::Result<Vec<_>>>()?;
        spine.reverse();
        Ok(spine)
    }

    /// The index blocks, beginning with the last, without a check of their checksums.
    fn heads(&self) -> impl Iterator<Item = io::Result<(u64, Totals)>> {
        let mut next = self.last.as_ref().map_or(0, |(at, _)| *at);
        let head = move || {
            let at = std::mem::take(&mut next);
            let head = self.index_head(at).transpose()?;
            Some(head.map(|(link, before)| {
                next = if link < at { link } else { 0 };
                (at, before)
            }))
        };
        std::iter::from_fn(head).take(limits::INDEX_STEPS)
    }

    /// The index block at an offset. `None` if it is damaged or there is none.
    pub fn index_block(&self, at: u64) -> io::Result<Option<IndexBlock>> {
        let Some(header) = self.index_header(at)? else { return Ok(None) };
        let payload = self.file.contents(at, &header, &mut Unsealer::default())?;
        let block = payload.and_then(|payload| IndexBlock::read(&payload));
        Ok(block.filter(|block| block.entries.iter().all(|entry| entry.offset < at)))
    }

    /// The offset of the index block before, and the sums, in the index block at an offset. `None` if there is none.
    fn index_head(&self, at: u64) -> io::Result<Option<(u64, Totals)>> {
        let Some(header) = self.index_header(at)? else { return Ok(None) };
        let mut bytes = [0; INDEX_HEAD];
        let whole = self.file.read_at(at + HEADER as u64, &mut bytes)? == INDEX_HEAD;
        let before = Totals::read_from_bytes(&bytes).ok().filter(|_| whole && header.plain as usize >= INDEX_HEAD);
        Ok(before.map(|before| (header.index, before)))
    }

    fn index_header(&self, at: u64) -> io::Result<Option<BlockHeader>> {
        let index = |header: &BlockHeader| {
            let size = header.stored.max(header.plain) as usize;
            header.contents == Contents::Index as u16 && size <= limits::INDEX_MAX
        };
        Ok(self.file.block_header(at)?.filter(index))
    }

    /// The frames of a block. `None` if they are damaged, or if `unsealer` did not read the earlier blocks of its zstd stream.
    pub fn frames(&self, entry: &IndexEntry, unsealer: &mut Unsealer) -> io::Result<Option<Vec<u8>>> {
        let Some(header) = self.file.block_header(entry.offset)? else { return Ok(None) };
        self.file.contents(entry.offset, &header, unsealer)
    }

    /// The headers of the threads in a block of frames. `None` if they are damaged, or if `reader` did not read the earlier blocks of
    /// their stream.
    pub fn threads(&self, entry: &IndexEntry, reader: &mut ThreadReader) -> io::Result<Option<Vec<FrameHeader>>> {
        let Some(header) = self.file.block_header(entry.offset)? else { return Ok(None) };
        let payload = self.file.payload(entry.offset, &header)?;
        Ok(reader.threads(&header, &payload).ok())
    }

    /// The last block header in a file without a summary.
    fn last_header(&self, size: u64) -> io::Result<Option<BlockHeader>> {
        let (mut window, mut at, mut last) = (Window::new(&self.file), HEADER as u64, None);
        while let Some((here, header)) = window.header_between(at, size, self.file.header.short_id())? {
            at = here + (HEADER + header.padded()) as u64;
            last = Some(header);
        }
        Ok(last)
    }

    /// Reads the headers of the blocks after the last index block.
    fn read_rest(&mut self, size: u64) -> io::Result<()> {
        let mut at = HEADER as u64;
        if let Some((offset, block)) = &self.last {
            self.totals = sums(block);
            at = offset + self.file.block_header(*offset)?.map_or(0, |header| (HEADER + header.padded()) as u64);
        }
        let file = self.file.clone();
        let mut window = Window::new(&file);
        // Usually a block begins here. After damaged bytes, the next one begins somewhere later.
        while let Some((here, header)) = window.header_between(at, size, self.file.header.short_id())? {
            let next = here + (HEADER + header.padded()) as u64;
            if next > size {
                break;
            }
            if matches!(Contents::of(header.contents), Some(Contents::Frames | Contents::State | Contents::End)) {
                let entry = entry_of(&header, here);
                self.totals.add(&entry);
                self.rest.push(entry);
                if self.rest.len() >= 2 * limits::BLOCKS_LISTED {
                    self.rest = self.rest.chunks(2).map(together).collect();
                }
            }
            at = next;
        }
        Ok(())
    }
}

/// Searches a file for headers. It reads ahead, and farther if the last header was close.
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
        let until = until.min(from.saturating_add(limits::DAMAGED_MAX));
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
            from += starts as u64;
        }
        Ok(None)
    }

    /// The bytes from an offset on: at least a header, unless the file ends there.
    fn from(&mut self, from: u64) -> io::Result<&[u8]> {
        let known = from.checked_sub(self.at).and_then(|skipped| usize::try_from(skipped).ok());
        if let Some(skipped) = known.filter(|skipped| skipped.saturating_add(HEADER) <= self.bytes.len()) {
            return Ok(&self.bytes[skipped..]);
        }
        self.bytes.resize(self.ahead, 0);
        self.ahead = (2 * self.ahead).min(limits::BLOCK);
        let length = self.file.read_at(from, &mut self.bytes)?;
        self.bytes.truncate(length);
        self.at = from;
        Ok(&self.bytes)
    }
}

/// The sums of all blocks up to the end of an index block.
fn sums(block: &IndexBlock) -> Totals {
    let mut sums = block.before;
    block.entries.iter().for_each(|entry| sums.add(entry));
    sums
}

/// The last state before every event from `ns` on. `latest` is the latest time before the entries.
fn last_state(mut latest: u64, entries: &[IndexEntry], ns: u64) -> Option<u64> {
    let mut found = None;
    for entry in entries {
        if latest >= ns {
            break;
        }
        if entry.contents == Contents::State as u16 && entry.part == 0 {
            found = Some(entry.offset);
        }
        latest = latest.max(entry.last_ns);
    }
    found
}
