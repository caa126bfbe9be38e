//! Frames as the blocks of a file.

use super::block::{BLOCK_MAGIC, BlockHeader, Contents, HEADER, INDEX_HEAD, RowsHead, codec, crc};
use super::frame_codec;
use super::index::IndexEntry;
use crate::frame::FrameRef;
use crate::frame::host::StatePart;
use crate::limits;
use std::io;
use zerocopy::IntoBytes;
use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_flush as FLUSH;
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, get_error_name};

/// Compresses frames into blocks. Its buffers are reused.
pub(super) struct Sealer {
    zstd: zstd::bulk::Compressor<'static>,
    /// For the tables of states, and the start of the frames of the first block, which resemble them.
    based: zstd::bulk::Compressor<'static>,
    base: Vec<u8>,
    /// The zstd streams of the threads and rows in the blocks of frames.
    streams: [CCtx<'static>; 2],
    /// The number of their next block, the bytes of frames in them, the latest time at the first block, and the checksum of the last
    /// payload.
    part: u16,
    streamed: usize,
    began_ns: u64,
    before: u32,
    level: i32,
    model: frame_codec::Model,
    threads: Vec<u8>,
    rows: Vec<u8>,
    packed: Vec<u8>,
    file: u64,
    /// The offset of the last index block, in bytes from the start of the file.
    pub(super) index: u64,
}

/// The compression level of zstd. On a build, it saves 12 % over [`FAST`], and level 8 would save 3 % more for twice the time.
const LEVEL: i32 = 6;
/// The faster level of a stream, and of states, after one that was [`BUSY_NS`] long or shorter.
const FAST: i32 = 1;
const BUSY_NS: u64 = 2_000_000_000;

fn zstd_error(code: usize) -> io::Error {
    io::Error::other(get_error_name(code))
}

/// Appends the next part of a stream.
fn compress(stream: &mut CCtx<'_>, part: &[u8], packed: &mut Vec<u8>) -> io::Result<()> {
    // Beyond the bound: the end of the last block in the stream, and an empty block that ends the flush.
    packed.reserve(zstd::zstd_safe::compress_bound(part.len()) + 64);
    let start = packed.len();
    let (mut source, mut out) = (InBuffer::around(part), OutBuffer::around_pos(packed, start));
    while stream.compress_stream2(&mut out, &mut source, FLUSH).map_err(zstd_error)? > 0 {
        // Without room, it would go on forever.
        if out.pos() == out.capacity() {
            return Err(io::ErrorKind::StorageFull.into());
        }
    }
    Ok(())
}

impl Sealer {
    pub(super) fn new(file: u64) -> io::Result<Sealer> {
        let stream = |window| {
            let mut stream = CCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
            stream.set_parameter(CParameter::WindowLog(window)).map_err(zstd_error)?;
            Ok::<_, io::Error>(stream)
        };
        Ok(Sealer {
            zstd: zstd::bulk::Compressor::new(LEVEL)?,
            based: zstd::bulk::Compressor::new(LEVEL)?,
            base: Vec::new(),
            streams: [stream(limits::THREADS_WINDOW)?, stream(limits::STREAM_WINDOW)?],
            part: 0,
            streamed: 0,
            began_ns: 0,
            before: 0,
            level: LEVEL,
            model: frame_codec::Model::default(),
            threads: Vec::new(),
            rows: Vec::new(),
            packed: Vec::new(),
            file,
            index: 0,
        })
    }

    /// Begins a new stream: a reader may begin here.
    pub(super) fn restart(&mut self) {
        (self.part, self.streamed, self.before) = (0, 0, 0);
    }

    /// The bytes of a block of frames. `entry` gives the contents, the times and the counts, and gets the part.
    pub(super) fn seal(&mut self, entry: &mut IndexEntry, frames: &[u8]) -> io::Result<Vec<u8>> {
        let lasted = entry.last_ns.saturating_sub(self.began_ns);
        let most = if self.level == FAST { BUSY_NS } else { limits::STREAM_NS };
        if self.streamed >= limits::STREAM || lasted > most {
            self.level = if lasted > BUSY_NS { LEVEL } else { FAST };
            self.restart();
        }
        if self.part == 0 {
            self.model.restart();
            self.began_ns = entry.last_ns;
            for stream in &mut self.streams {
                stream.reset(ResetDirective::SessionOnly).map_err(zstd_error)?;
                stream.set_parameter(CParameter::CompressionLevel(self.level)).map_err(zstd_error)?;
            }
        }
        let Sealer { streams: [of_threads, of_rows], threads, rows, packed, .. } = self;
        threads.clear();
        rows.clear();
        let payloads = self.model.encode(frames, threads, rows);
        packed.clear();
        packed.resize(size_of::<RowsHead>(), 0);
        compress(of_threads, threads, packed)?;
        let head = RowsHead { follows: self.before, threads: (packed.len() - size_of::<RowsHead>()) as u32 };
        packed[..size_of::<RowsHead>()].copy_from_slice(head.as_bytes());
        // Numbers and texts have codes of their own.
        compress(of_rows, &rows[..payloads], packed)?;
        compress(of_rows, &rows[payloads..], packed)?;
        entry.part = self.part;
        let block = self.block(entry, 1, codec::ROWS, frames.len(), &self.packed);
        (self.part, self.before) = (self.part + 1, crc(&self.packed));
        self.streamed += frames.len();
        self.begin(frames);
        Ok(block)
    }

    /// The bytes of a block of a state. `entry` gives the contents and the part; the last argument is the number of parts
    /// ([`BlockHeader::parts`]).
    pub(super) fn seal_state(&mut self, entry: &IndexEntry, frames: &[u8], parts: u16) -> io::Result<Vec<u8>> {
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(frames.len()));
        let is_part = |(part, _): (FrameRef<'_>, &[u8])| part.header.slot == StatePart::TABLES;
        let tables = FrameRef::first(frames).is_some_and(is_part);
        let codec = if self.base.is_empty() || !tables {
            self.zstd.set_compression_level(self.level)?;
            self.zstd.compress_to_buffer(frames, &mut self.packed)?;
            codec::ZSTD
        } else {
            self.based.set_dictionary(self.level, &self.base)?;
            self.based.compress_to_buffer(frames, &mut self.packed)?;
            codec::BASED
        };
        self.begin(frames);
        Ok(self.block(entry, parts, codec, frames.len(), &self.packed))
    }

    /// Keeps the frames of the first block.
    fn begin(&mut self, frames: &[u8]) {
        if self.base.is_empty() {
            self.base.extend_from_slice(&frames[..frames.len().min(limits::STATE_BASE)]);
        }
    }

    pub(super) fn seal_index(&mut self, payload: &[u8]) -> io::Result<Vec<u8>> {
        let (head, rest) = payload.split_at(INDEX_HEAD);
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(rest.len()));
        self.zstd.compress_to_buffer(rest, &mut self.packed)?;
        let entry = IndexEntry { contents: Contents::Index as u16, first_ns: u64::MAX, ..IndexEntry::default() };
        Ok(self.block(&entry, 1, codec::INDEX, payload.len(), &[head, &self.packed].concat()))
    }

    pub(super) fn seal_summary(&self) -> Vec<u8> {
        let entry = IndexEntry { contents: Contents::Summary as u16, first_ns: u64::MAX, ..IndexEntry::default() };
        self.block(&entry, 1, codec::PLAIN, 0, &[])
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
