//! Finds the way in a recording file by its index, with few reads. A file without an end, or with a damaged index, is found its way
//! in by the headers of its blocks.

use super::block::{BLOCK_MAGIC, BlockHeader, Contents, FileHeader, HEADER};
use super::index::{Entry, Head, IndexBlock, SUMMARY, Summary, Totals, entry_of};
use super::reader::OpenError;
use crate::limits;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use zerocopy::FromBytes;

/// A recording file.
#[derive(Debug)]
pub struct Map {
    file: File,
    header: FileHeader,
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
        let mut bytes = vec![0; HEADER];
        let length = read_at(&file, 0, &mut bytes)?;
        let header = FileHeader::read(&bytes[..length])?;
        let size = file.metadata()?.len();
        let end = HEADER as u64;
        let (rest, totals) = (Vec::new(), Totals::default());
        let mut map = Map { file, header, end, complete: false, last: None, rest, totals };
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
        &self.header
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
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
        loop {
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
    }

    /// The index blocks, from the first on: where each begins, and the sums before the blocks that it describes.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn spine(&self) -> io::Result<Vec<(u64, Totals)>> {
        let mut spine = Vec::new();
        let mut at = self.last.as_ref().map(|(at, _)| *at);
        let mut number = u64::MAX;
        while let Some(offset) = at {
            let Some(block) = self.index_head(offset)?.filter(|head| head.number < number) else { break };
            spine.push((offset, block.before));
            number = block.number;
            at = block.skips.first().map(|skip| skip.offset).filter(|offset| *offset != 0);
        }
        spine.reverse();
        Ok(spine)
    }

    /// The blocks that the index does not describe yet.
    pub fn rest(&self) -> &[Entry] {
        &self.rest
    }

    /// The index block at an offset. `None` if it is damaged or there is none.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn index_block(&self, at: u64) -> io::Result<Option<IndexBlock>> {
        let Some(header) = self.block_header(at)?.filter(|h| Contents::from(h.contents) == Contents::Index) else {
            return Ok(None);
        };
        let mut payload = vec![0; header.stored as usize];
        let length = read_at(&self.file, at + HEADER as u64, &mut payload)?;
        payload.truncate(length);
        Ok(header.frames(&payload).ok().and_then(|payload| IndexBlock::read(&payload)))
    }

    /// The start of an index block, without its checksum.
    fn index_head(&self, at: u64) -> io::Result<Option<Head>> {
        let Some(header) = self.block_header(at)?.filter(|h| Contents::from(h.contents) == Contents::Index) else {
            return Ok(None);
        };
        let mut bytes = [0; size_of::<Head>()];
        let length = read_at(&self.file, at + HEADER as u64, &mut bytes)?;
        let whole = length == bytes.len() && header.plain as usize >= length;
        Ok(Head::read_from_bytes(&bytes).ok().filter(|_| whole))
    }

    /// The frames of a block. `None` if they are damaged.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn frames(&self, entry: &Entry) -> io::Result<Option<Vec<u8>>> {
        let Some(header) = self.block_header(entry.offset)? else { return Ok(None) };
        let mut payload = vec![0; header.stored as usize];
        let length = read_at(&self.file, entry.offset + HEADER as u64, &mut payload)?;
        payload.truncate(length);
        Ok(header.frames(&payload).ok())
    }

    fn block_header(&self, at: u64) -> io::Result<Option<BlockHeader>> {
        let mut bytes = [0; HEADER];
        let length = read_at(&self.file, at, &mut bytes)?;
        Ok(BlockHeader::read(&bytes[..length], self.header.short_id()))
    }

    /// Reads the summary at the end; where the last index block begins.
    fn summary(&mut self, size: u64) -> io::Result<Option<u64>> {
        let Some(at) = size.checked_sub(SUMMARY as u64) else { return Ok(None) };
        let mut bytes = [0; SUMMARY];
        let length = read_at(&self.file, at, &mut bytes)?;
        let Some(header) = BlockHeader::read(&bytes[..length], self.header.short_id()) else { return Ok(None) };
        let payload = bytes.get(HEADER..HEADER + header.stored as usize);
        let whole = Contents::from(header.contents) == Contents::Summary;
        let Some(payload) = payload.filter(|_| whole).and_then(|payload| header.frames(payload).ok()) else {
            return Ok(None);
        };
        Ok(Summary::read_from_bytes(&payload).ok().map(|_| header.index))
    }

    /// The last block header in the file.
    fn last_header(&self, size: u64) -> io::Result<Option<BlockHeader>> {
        let mut until = size;
        while until > HEADER as u64 {
            let from = until.saturating_sub(limits::BLOCK as u64).max(HEADER as u64);
            if let Some((_, header)) = self.headers_between(from, until)?.pop() {
                return Ok(Some(header));
            }
            until = from;
        }
        Ok(None)
    }

    /// Where the next block after damaged bytes begins.
    fn next_header(&self, mut from: u64, size: u64) -> io::Result<Option<u64>> {
        while from < size {
            let until = size.min(from + limits::BLOCK as u64);
            if let Some((at, _)) = self.headers_between(from, until)?.first() {
                return Ok(Some(*at));
            }
            from = until;
        }
        Ok(None)
    }

    /// The block headers that begin in a part of the file.
    fn headers_between(&self, from: u64, until: u64) -> io::Result<Vec<(u64, BlockHeader)>> {
        // What begins in this part may end in the next one.
        let mut bytes = vec![0; (until - from) as usize + HEADER];
        let length = read_at(&self.file, from, &mut bytes)?;
        let bytes = &bytes[..length];
        let starts = (0..length.min((until - from) as usize)).filter(|at| bytes[*at] == BLOCK_MAGIC[0]);
        let headers =
            starts.filter_map(|at| Some((from + at as u64, BlockHeader::read(&bytes[at..], self.header.short_id())?)));
        Ok(headers.collect())
    }

    /// Reads the headers of the blocks after the last index block.
    fn read_rest(&mut self, size: u64) -> io::Result<()> {
        let mut at = HEADER as u64;
        if let Some((offset, block)) = &self.last {
            self.totals = sums(block.head.before, &block.entries);
            at = offset + self.block_header(*offset)?.map_or(0, |header| (HEADER + header.padded()) as u64);
        }
        self.end = at;
        loop {
            let Some(header) = self.block_header(at)? else {
                match self.next_header(at, size)? {
                    Some(next) => at = next,
                    None => return Ok(()),
                }
                continue;
            };
            let next = at + (HEADER + header.padded()) as u64;
            if next > size {
                break;
            }
            if matches!(Contents::from(header.contents), Contents::Frames | Contents::State | Contents::End) {
                let entry = entry_of(&header, at);
                self.totals.add(&entry);
                self.rest.push(entry);
            }
            (at, self.end) = (next, next);
        }
        Ok(())
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

/// Reads as much as there is.
fn read_at(file: &File, mut at: u64, mut bytes: &mut [u8]) -> io::Result<usize> {
    let wanted = bytes.len();
    while !bytes.is_empty() {
        match file.read_at(bytes, at) {
            Ok(0) => break,
            Ok(read) => {
                at += read as u64;
                bytes = &mut bytes[read..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(wanted - bytes.len())
}
