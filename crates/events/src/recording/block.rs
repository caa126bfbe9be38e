//! The headers of files and blocks, and the checksums.
//!
//! All integers are little-endian. A checksum is CRC-32 (IEEE 802.3, as in gzip). Headers are 64 bytes; the payload of a
//! block is padded with zeros to a multiple of 8 bytes.

use super::frame_codec;
use crate::limits;
use std::io;
use tracetui_shared::header::FrameHeader;
use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes, KnownLayout};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

/// The first bytes of a recording. Not text, and damaged by a transfer that changes line ends (as in PNG).
pub const FILE_MAGIC: [u8; 8] = *b"\x89ttr\r\n\x1a\n";

/// The first bytes of a block.
pub const BLOCK_MAGIC: [u8; 4] = *b"TTRB";

/// The version of the format.
pub const VERSION: u16 = 1;

/// Bytes of a file header and of a block header.
pub const HEADER: usize = 64;

/// Bytes of the start of an index block: the sums before it ([`super::index::Totals`]).
pub(super) const INDEX_HEAD: usize = 288;

/// The kind of a frame that follows the last frame of each batch and has no payload. The pipeline processes whole batches, and
/// facts about the host apply from a batch on. A replay therefore needs the same batches.
pub const BATCH_END: u16 = 96;

/// The first 64 bytes of a recording.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FileHeader {
    /// [`FILE_MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`] of the writer.
    pub version: u16,
    /// Bytes of this header.
    pub header: u16,
    /// Not used; 0.
    pub flags: u32,
    /// A random number. Its first 8 bytes are repeated in each block.
    pub id: [u8; 16],
    /// When the file was created: CLOCK_REALTIME, ns.
    pub created_ns: i64,
    /// The trace that the file is part of ([`FileHeader::part_of`]); 0 if the file is a whole trace.
    pub run: [u8; 8],
    /// The number of the part, from 0.
    pub part: u32,
    /// Not used; 0.
    pub reserved: [u8; 8],
    /// The checksum of the bytes before.
    pub crc: u32,
}

const _: () = assert!(size_of::<FileHeader>() == HEADER);

impl FileHeader {
    pub fn new(id: [u8; 16], created_ns: i64) -> FileHeader {
        let (magic, version, header) = (FILE_MAGIC, VERSION, HEADER as u16);
        FileHeader { magic, version, header, id, created_ns, ..FileHeader::new_zeroed() }.summed()
    }

    /// The header of a part of a trace that is recorded in several files. `run` is a random number, not 0.
    pub fn part_of(self, run: [u8; 8], part: u32) -> FileHeader {
        FileHeader { run, part, ..self }.summed()
    }

    fn summed(self) -> FileHeader {
        FileHeader { crc: crc(&self.as_bytes()[..HEADER - 4]), ..self }
    }

    /// The trace that the file is part of, and the number of the part. `None` if the file is a whole trace.
    pub fn part(&self) -> Option<([u8; 8], u32)> {
        (self.run != [0; 8]).then_some((self.run, self.part))
    }

    pub fn read(bytes: &[u8]) -> Result<FileHeader, NotARecording> {
        if !bytes.starts_with(&FILE_MAGIC) {
            return Err(NotARecording::Magic);
        }
        let (header, _) = FileHeader::read_from_prefix(bytes).map_err(|_| NotARecording::Short)?;
        if header.crc != crc(&header.as_bytes()[..HEADER - 4]) {
            return Err(NotARecording::Checksum);
        }
        if header.version != VERSION || usize::from(header.header) != HEADER {
            return Err(NotARecording::Version(header.version));
        }
        Ok(header)
    }

    /// The part of the id that blocks repeat.
    pub fn short_id(&self) -> u64 {
        u64::from_le_bytes(self.id[..8].try_into().unwrap_or_default())
    }
}

/// The reason why a file is not a readable recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotARecording {
    #[error("not a tracetui recording")]
    Magic,
    #[error("not a tracetui recording: its header is truncated")]
    Short,
    #[error("the header of the recording is damaged (bad checksum)")]
    Checksum,
    #[error("the recording has format version {0}, and this tracetui reads version {VERSION} only")]
    Version(u16),
}

#[repr(u16)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contents {
    /// Frames, in the order of arrival.
    Frames = 1,
    /// The state of the pipeline after all earlier frames ([`crate::pipeline::Pipeline::state`]), or a part of it.
    State,
    /// The same, after the last frame of a recording that ended properly.
    End,
    /// The contents of the blocks before ([`super::index`]).
    Index,
    /// The last block of a recording that ended properly. It is empty.
    Summary,
}

impl Contents {
    const ALL: [Contents; 5] = [Contents::Frames, Contents::State, Contents::End, Contents::Index, Contents::Summary];

    /// `None` for contents that a later version writes. Readers skip such blocks.
    pub fn of(number: u16) -> Option<Contents> {
        Contents::ALL.into_iter().find(|contents| *contents as u16 == number)
    }
}

/// How the payload of a block is stored.
pub(super) mod codec {
    /// Uncompressed: the last block.
    pub(in crate::recording) const PLAIN: u16 = 0;
    /// Zstd: states.
    pub(in crate::recording) const ZSTD: u16 = 1;
    /// Zstd with the frames of the first block of the file as dictionary: tables of a state.
    pub(in crate::recording) const BASED: u16 = 2;
    /// Threads and rows, each a part of a zstd stream that goes through several blocks.
    pub(in crate::recording) const ROWS: u16 = 3;
    /// An index block: its start uncompressed, so that a reader of many of them reads no more, then zstd.
    pub(in crate::recording) const INDEX: u16 = 4;
}

/// The start of the payload of a block of frames.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct RowsHead {
    /// The checksum of the payload before it in the stream; 0 for the first one.
    pub(super) follows: u32,
    /// Bytes of the compressed threads, which follow.
    pub(super) threads: u32,
}

/// The first 64 bytes of a block.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct BlockHeader {
    /// [`BLOCK_MAGIC`].
    pub magic: [u8; 4],
    /// [`Contents`].
    pub contents: u16,
    /// 0: uncompressed, 1: zstd, 2: zstd with the frames of the first block as dictionary, 3: threads and rows in zstd streams, 4: the
    /// start of an index block, then zstd.
    pub codec: u16,
    /// The offset in the file, in bytes, of the last index block before this block; 0 if there is none.
    pub index: u64,
    /// [`FileHeader::short_id`].
    pub file: u64,
    /// Bytes of the payload, without padding.
    pub stored: u32,
    /// Bytes of the frames, at most [`limits::BLOCK_MAX`].
    pub plain: u32,
    /// The earliest time of a probe's record in the block: CLOCK_BOOTTIME, ns. `u64::MAX` if there is none.
    pub first_ns: u64,
    /// The latest time of a probe's record; 0 if there is none.
    pub last_ns: u64,
    /// The number of events, without events that are only for the process table.
    pub events: u32,
    /// The number of this block in a state of several blocks, or in a zstd stream, from 0. Otherwise 0.
    pub part: u16,
    /// In a state of several blocks: their number. Otherwise 1.
    pub parts: u16,
    /// The checksum of the payload.
    pub payload_crc: u32,
    /// The checksum of the header before this field.
    pub crc: u32,
}

const _: () = assert!(size_of::<BlockHeader>() == HEADER);

impl BlockHeader {
    /// Reads the header of a block of the file with this id. `None` if `bytes` does not begin with one.
    pub fn read(bytes: &[u8], file: u64) -> Option<BlockHeader> {
        let (header, _) = BlockHeader::read_from_prefix(bytes).ok()?;
        let whole = header.magic == BLOCK_MAGIC && header.crc == crc(&header.as_bytes()[..HEADER - 4]);
        let fits = header.plain as usize <= limits::BLOCK_MAX && header.stored as usize <= limits::BLOCK_MAX;
        (whole && header.file == file && fits).then_some(header)
    }

    /// Bytes of the payload with its padding.
    pub fn padded(&self) -> usize {
        (self.stored as usize).next_multiple_of(8)
    }

    pub fn check(&self, payload: &[u8]) -> Result<(), Damage> {
        if crc(payload) == self.payload_crc { Ok(()) } else { Err(Damage::Checksum) }
    }
}

/// Reads the frames of blocks. Its buffers are reused. The blocks of a zstd stream are read one after another.
#[derive(Default)]
pub struct Unsealer {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    threads: Stream,
    rows: Stream,
    /// The checksum of the payload that the next part of the stream follows. `None` if it was not read.
    before: Option<u32>,
    model: frame_codec::Model,
    /// With the frames of the first block of the file, if it was read.
    based: Option<zstd::bulk::Decompressor<'static>>,
}

impl Unsealer {
    /// Takes the contents of the first block of the file, which the tables of states need. Empty if it is damaged.
    pub fn begin(&mut self, first: &[u8]) {
        let base = &first[..first.len().min(limits::STATE_BASE)];
        self.based = (!base.is_empty()).then(|| zstd::bulk::Decompressor::with_dictionary(base).ok()).flatten();
    }

    /// Reads the frames of a payload into `frames`, whose earlier contents are dropped. `frames` is empty after an error.
    /// Fails if the payload is damaged or was stored in an unknown way.
    pub fn frames(&mut self, header: &BlockHeader, payload: &[u8], frames: &mut Vec<u8>) -> Result<(), Damage> {
        frames.clear();
        let before = self.before.take();
        header.check(payload)?;
        let plain = header.plain as usize;
        let read = match header.codec {
            codec::PLAIN => {
                frames.extend_from_slice(payload);
                Some(())
            }
            codec::ZSTD => decompress(&mut self.zstd, payload, plain, frames),
            codec::BASED if self.based.is_none() => return Err(Damage::Base),
            codec::BASED => decompress(&mut self.based, payload, plain, frames),
            codec::INDEX => payload.split_at_checked(INDEX_HEAD).and_then(|(head, rest)| {
                decompress(&mut self.zstd, rest, plain.saturating_sub(INDEX_HEAD), frames)?;
                frames.splice(..0, head.iter().copied());
                Some(())
            }),
            codec::ROWS => {
                let (threads, rows) = self.threads.threads(header, payload, before)?;
                if header.part == 0 {
                    self.model.restart();
                }
                let rows = self.rows.read(header.part == 0, rows, frame_codec::most(plain));
                rows.and_then(|rows| self.model.decode(threads, rows, plain, frames))
                    .map(|()| self.before = Some(header.payload_crc))
            }
            other => return Err(Damage::Codec(other)),
        };
        if read.is_some() && frames.len() == plain {
            return Ok(());
        }
        frames.clear();
        self.before = None;
        Err(Damage::Contents)
    }
}

/// Reads the headers of the threads in blocks of frames, which costs less than the frames. The blocks of a stream are read one after
/// another.
#[derive(Default)]
pub struct ThreadReader {
    threads: Stream,
    before: Option<u32>,
}

impl ThreadReader {
    /// The headers have only the fields of the thread.
    /// Fails if the payload is damaged or was stored in another way.
    pub fn threads(&mut self, header: &BlockHeader, payload: &[u8]) -> Result<Vec<FrameHeader>, Damage> {
        let before = self.before.take();
        header.check(payload)?;
        if header.codec != codec::ROWS {
            return Err(Damage::Codec(header.codec));
        }
        let (threads, _) = self.threads.threads(header, payload, before)?;
        self.before = Some(header.payload_crc);
        Ok(frame_codec::headers(threads))
    }
}

/// A zstd stream that goes through several blocks.
#[derive(Default)]
struct Stream {
    zstd: Option<DCtx<'static>>,
    /// The contents of the last block.
    plain: Vec<u8>,
}

impl Stream {
    /// The threads of a block of frames, and its compressed rows. `before`: the checksum of the payload before it in the stream.
    fn threads<'a>(
        &mut self,
        header: &BlockHeader,
        payload: &'a [u8],
        before: Option<u32>,
    ) -> Result<(&[u8], &'a [u8]), Damage> {
        let (head, rest) = RowsHead::read_from_prefix(payload).map_err(|_| Damage::Contents)?;
        if header.part > 0 && before != Some(head.follows) {
            return Err(Damage::Base);
        }
        let (threads, rows) = rest.split_at_checked(head.threads as usize).ok_or(Damage::Contents)?;
        let threads = self.read(header.part == 0, threads, header.plain as usize);
        threads.map(|threads| (threads, rows)).ok_or(Damage::Contents)
    }

    /// Decompresses the next part: at most `most` bytes.
    fn read(&mut self, begins: bool, packed: &[u8], most: usize) -> Option<&[u8]> {
        let zstd = self.zstd.get_or_insert_default();
        if begins {
            zstd.reset(ResetDirective::SessionOnly).ok()?;
            zstd.set_parameter(DParameter::WindowLogMax(limits::STREAM_WINDOW)).ok()?;
        }
        self.plain.clear();
        self.plain.reserve(most);
        let (mut packed, mut out) = (InBuffer::around(packed), OutBuffer::around(&mut self.plain));
        loop {
            let before = (packed.pos(), out.pos());
            zstd.decompress_stream(&mut out, &mut packed).ok()?;
            // Everything was flushed, so all that is left fits or is wrong.
            if before == (packed.pos(), out.pos()) {
                break;
            }
        }
        let whole = packed.pos() == packed.src.len() && out.pos() <= most;
        whole.then_some(&self.plain)
    }
}

/// Decompresses at most this many bytes into a buffer.
fn decompress(
    zstd: &mut Option<zstd::bulk::Decompressor<'static>>,
    payload: &[u8],
    most: usize,
    to: &mut Vec<u8>,
) -> Option<()> {
    let zstd = match zstd {
        Some(zstd) => zstd,
        None => zstd.insert(zstd::bulk::Decompressor::new().ok()?),
    };
    to.clear();
    // The size in the zstd frame is untrusted beyond this limit.
    let room = zstd::bulk::Decompressor::upper_bound(payload).unwrap_or(most).min(most);
    to.reserve(room);
    zstd.decompress_to_buffer(payload, to).ok().filter(|_| to.len() <= most).map(drop)
}

/// Why the frames of a block cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    #[error("not a block")]
    NotABlock,
    #[error("bad checksum")]
    Checksum,
    /// A part of a zstd stream whose earlier parts were not read, or tables without the first block of the file.
    #[error("follows a damaged block")]
    Base,
    #[error("contents do not match the header")]
    Contents,
    /// A state larger than the limit ([`super::Reader::state_max`]).
    #[error("ignored a state that exceeds --memory")]
    StateTooLarge,
    #[error("unknown codec {0}")]
    Codec(u16),
}

/// The reason why a recording cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    NotARecording(#[from] NotARecording),
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
}

pub(super) fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}
