//! Frames as the blocks of a file.

use super::block::{BLOCK_MAGIC, BlockHeader, Contents, HEADER, codec, crc};
use super::columns;
use super::index::IndexEntry;
use std::io;
use zerocopy::IntoBytes;

/// Compresses frames into blocks. Its buffers are reused.
pub(super) struct Sealer {
    zstd: zstd::bulk::Compressor<'static>,
    columns: Vec<u8>,
    packed: Vec<u8>,
    file: u64,
    /// The offset of the last index block.
    index: u64,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("file", &self.file).finish_non_exhaustive()
    }
}

/// The compression level of zstd. Measured on builds and storms, higher levels save under 5 % and cost more than twice the time.
const LEVEL: i32 = 1;

impl Sealer {
    /// A sealer for the file with this id.
    ///
    /// # Errors
    /// If zstd cannot allocate memory.
    pub(super) fn new(file: u64) -> io::Result<Sealer> {
        Ok(Sealer {
            zstd: zstd::bulk::Compressor::new(LEVEL)?,
            columns: Vec::new(),
            packed: Vec::new(),
            file,
            index: 0,
        })
    }

    /// The bytes of a block of frames. `entry` gives the contents, the times, the counts and the part; the last argument is the
    /// number of parts ([`BlockHeader::parts`]).
    ///
    /// # Errors
    /// If zstd cannot allocate memory.
    pub(super) fn seal(&mut self, entry: &IndexEntry, frames: &[u8], parts: u16) -> io::Result<Vec<u8>> {
        self.columns.clear();
        let columns = Contents::from(entry.contents) == Contents::Frames && columns::encode(frames, &mut self.columns);
        let source = if columns { &self.columns } else { frames };
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(source.len()));
        self.zstd.compress_to_buffer(source, &mut self.packed)?;
        let codec = if columns { codec::COLUMNS } else { codec::ZSTD };
        Ok(self.block(entry, parts, codec, frames.len(), &self.packed))
    }

    /// The bytes of an index block or of a summary.
    pub(super) fn seal_plain(&self, contents: Contents, payload: &[u8]) -> Vec<u8> {
        let entry = IndexEntry { contents: contents.into(), first_ns: u64::MAX, ..IndexEntry::default() };
        self.block(&entry, 1, codec::PLAIN, payload.len(), payload)
    }

    /// Records that an index block was written at this offset, in bytes from the start of the file.
    pub(super) fn indexed(&mut self, offset: u64) {
        self.index = offset;
    }

    fn block(&self, entry: &IndexEntry, parts: u16, codec: u16, plain: usize, payload: &[u8]) -> Vec<u8> {
        let mut header = BlockHeader {
            magic: BLOCK_MAGIC,
            contents: entry.contents,
            codec,
            index: self.index,
            file: self.file,
            stored: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            plain: u32::try_from(plain).unwrap_or(u32::MAX),
            first_ns: entry.first_ns,
            last_ns: entry.last_ns,
            events: entry.events.iter().fold(0, |sum, count| sum.saturating_add(*count)),
            part: entry.part,
            parts,
            payload_crc: crc(payload),
            crc: 0,
        };
        header.crc = crc(&header.as_bytes()[..HEADER - 4]);
        let mut block = [header.as_bytes(), payload].concat();
        block.resize(block.len().next_multiple_of(8), 0);
        block
    }
}
