//! Finds places in a recording file by its index, with few reads. If the file has no end or its index is damaged, the headers of
//! its blocks are used instead.

use super::block::{BLOCK_MAGIC, BlockHeader, Contents, HEADER, OpenError, ThreadReader, Unsealer};
use super::follow::RecordingFile;
use super::index::{IndexBlock, IndexEntry, Totals, entry_of, together};
use crate::limits;
use std::fs::File;
use std::io;
use tracetui_shared::header::FrameHeader;

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

    /// The map of an open file as it is now.
    /// Fails if the file cannot be read, or is no longer the one that was opened.
    pub fn of(mut file: RecordingFile) -> Result<Map, OpenError> {
        let size = file.check()?;
        let summary = file.summary()?;
        let (complete, rest, totals) = (summary.is_some(), Vec::new(), Totals::default());
        let mut map = Map { file, complete, last: None, rest, totals };
        let last = if summary.is_some() { summary } else { map.last_header(size)? };
        let index = last.map(|header| header.index);
        if let Some(at) = index.filter(|at| *at != 0)
            && let Some(block) = map.index_block(at, &mut Unsealer::default())?
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
        for block in self.index() {
            let (_, IndexBlock { before, entries, .. }) = block?;
            let found = if before.last_ns < ns { last_state(before.last_ns, &entries, ns) } else { None };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The index blocks, beginning with the first: the offset of each, and the sums before the blocks that it describes. If one is
    /// damaged, only those after it.
    pub fn spine(&self) -> io::Result<Vec<(u64, Totals)>> {
        let mut spine = self.index().map(|block| block.map(|(at, block)| (at, block.before))).collect::<io::Result<Vec<_>>>()?;
        spine.reverse();
        Ok(spine)
    }

    /// The index blocks with their offsets, beginning with the last.
    fn index(&self) -> impl Iterator<Item = io::Result<(u64, IndexBlock)>> {
        let (mut next, mut unsealer) = (self.last.as_ref().map_or(0, |(at, _)| *at), Unsealer::default());
        let block = move || {
            let at = std::mem::take(&mut next);
            let block = self.index_block(at, &mut unsealer).transpose()?;
            Some(block.map(|block| {
                next = if block.link < at { block.link } else { 0 };
                (at, block)
            }))
        };
        std::iter::from_fn(block).take(limits::INDEX_STEPS)
    }

    /// The index block at an offset. `None` if it is damaged or there is none.
    pub fn index_block(&self, at: u64, unsealer: &mut Unsealer) -> io::Result<Option<IndexBlock>> {
        let Some(header) = self.file.block_header(at)? else { return Ok(None) };
        if header.contents != Contents::Index as u16 || header.stored.max(header.plain) as usize > limits::INDEX_MAX {
            return Ok(None);
        }
        let (payload, mut plain) = (self.file.bytes(at + HEADER as u64, header.stored as usize)?, Vec::new());
        let read = unsealer.frames(&header, &payload, &mut plain).ok();
        let block = read.and_then(|()| IndexBlock::read(&plain)).map(|block| IndexBlock { link: header.index, ..block });
        Ok(block.filter(|block| block.entries.iter().all(|entry| entry.offset < at)))
    }

    /// The frames of a block. `None` if they are damaged, or if `unsealer` did not read the earlier blocks of its zstd stream.
    pub fn frames(&self, entry: &IndexEntry, unsealer: &mut Unsealer) -> io::Result<Option<Vec<u8>>> {
        let mut frames = Vec::new();
        let block = self.file.block(entry.offset)?;
        let read = block.and_then(|(header, payload)| unsealer.frames(&header, &payload, &mut frames).ok());
        Ok(read.map(|()| frames))
    }

    /// The headers of the threads in a block of frames. `None` if they are damaged, or if `reader` did not read the earlier blocks of
    /// their stream.
    pub fn threads(&self, entry: &IndexEntry, reader: &mut ThreadReader) -> io::Result<Option<Vec<FrameHeader>>> {
        let block = self.file.block(entry.offset)?;
        Ok(block.and_then(|(header, payload)| reader.threads(&header, &payload).ok()))
    }

    /// The last block header in the file. Also `None` if the end of the file is damaged.
    fn last_header(&self, size: u64) -> io::Result<Option<BlockHeader>> {
        let mut until = size;
        let start = size.saturating_sub(limits::TAIL_MAX).max(HEADER as u64);
        while until > start {
            let from = until.saturating_sub(limits::BLOCK as u64).max(start);
            // A header may end after the part in which it begins.
            let bytes = self.file.bytes(from, (until - from) as usize + HEADER)?;
            let read = |at| BlockHeader::read(&bytes[at..], self.file.header.short_id());
            let found = memchr::memmem::rfind_iter(&bytes, &BLOCK_MAGIC).find_map(read);
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
            self.totals = sums(block);
            at = offset + self.file.block_header(*offset)?.map_or(0, |header| (HEADER + header.padded()) as u64);
        }
        while let Some((here, header)) = self.header_between(at, size)? {
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

    /// The first block header that begins between two offsets. Usually it is at the first one. After damaged bytes it is somewhere
    /// later, mostly close.
    fn header_between(&self, mut from: u64, until: u64) -> io::Result<Option<(u64, BlockHeader)>> {
        let mut ahead = HEADER;
        while from < until {
            let bytes = self.file.bytes(from, ahead)?;
            let mut starts = memchr::memmem::find_iter(&bytes, &BLOCK_MAGIC).map(|at| (from + at as u64, at));
            let read = |at| BlockHeader::read(&bytes[at..], self.file.header.short_id());
            let found = starts.find_map(|(here, at)| Some((here, read(at)?)));
            if found.is_some() || bytes.len() < HEADER {
                return Ok(found.filter(|(here, _)| *here < until));
            }
            from = self.file.data_from(from + (bytes.len() + 1 - HEADER) as u64);
            ahead = (4 * ahead).min(limits::BLOCK);
        }
        Ok(None)
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
