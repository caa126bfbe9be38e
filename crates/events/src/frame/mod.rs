//! Frames as bytes: the data between a source and the pipeline, and the content of a recording.
//!
//! A frame is a [`FrameHeader`] and a payload, `header.len` bytes in total, aligned to 8 bytes. Probe frames and host
//! frames ([`host`]) have the same layout and differ in `kind`.

pub(crate) mod bpf;
pub mod host;
pub mod state;
mod wire;

use host::{Drained, HostFrame, Settled, Unreadable};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::time::BootNanos;
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of a header.
pub const HEADER: usize = size_of::<FrameHeader>();

/// Consecutive frames, in the order of arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
}

impl Batch {
    /// An empty batch with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Batch {
        Batch { bytes: Vec::with_capacity(bytes) }
    }

    /// A batch with one frame. Sets `header.len`.
    pub fn of(header: FrameHeader, payload: &[u8]) -> Batch {
        let mut batch = Batch::default();
        batch.push(header, payload);
        batch
    }

    /// Records that the ring was empty at `time`, when this batch was read.
    pub fn set_drained_at(&mut self, time: BootNanos) {
        HostFrame::Drained(Drained { at: time }).push(time, self);
    }

    /// Records that every event up to `time` was read.
    pub fn set_settled_at(&mut self, time: BootNanos) {
        HostFrame::Settled(Settled { at: time }).push(time, self);
    }

    /// The frame at a byte offset from [`Batch::frames_with_offsets`].
    pub fn frame_at(&self, offset: usize) -> Option<FrameRef<'_>> {
        FrameRef::first(self.bytes.get(offset..)?).map(|(frame, _)| frame)
    }

    /// The frames, each with its byte offset.
    pub fn frames_with_offsets(&self) -> impl Iterator<Item = (usize, FrameRef<'_>)> {
        let mut offset = 0;
        self.frames().map(move |frame| {
            let here = offset;
            offset += frame.bytes.len().next_multiple_of(8);
            (here, frame)
        })
    }

    /// Appends a record from the ring. An invalid record is replaced by an `Unreadable` frame.
    pub fn push_raw(&mut self, record: &[u8]) {
        let len = FrameHeader::read_from_prefix(record).map_or(0, |(header, _)| header.len as usize);
        // The ring rounds the size of a record up to 8 bytes. A larger difference means that the record is invalid.
        if len < HEADER || len > record.len() || record.len() - len >= 8 {
            return HostFrame::Unreadable(Unreadable { count: 1 }).push(BootNanos(0), self);
        }
        self.bytes.extend_from_slice(&record[..len]);
        self.pad();
    }

    /// Appends a frame. Sets `header.len`.
    pub fn push(&mut self, header: FrameHeader, payload: &[u8]) {
        self.bytes.reserve((HEADER + payload.len()).next_multiple_of(8));
        self.push_with(header, |bytes| bytes.extend_from_slice(payload));
    }

    /// Appends a frame whose payload a function writes. Sets `header.len`.
    fn push_with(&mut self, mut header: FrameHeader, payload: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(header.as_bytes());
        payload(&mut self.bytes);
        header.len = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + HEADER].copy_from_slice(header.as_bytes());
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    pub fn from_bytes(bytes: Vec<u8>) -> Batch {
        Batch { bytes }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn frames(&self) -> Frames<'_> {
        Frames { rest: &self.bytes }
    }

    /// Appends the frames of another batch, as bytes.
    pub fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    /// The frames from a byte offset on, which must be the start of a frame.
    pub fn frames_from(&self, offset: usize) -> Frames<'_> {
        Frames { rest: self.bytes.get(offset..).unwrap_or(&[]) }
    }

    /// Bytes of all frames with their padding.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The capacity, in bytes.
    pub fn room(&self) -> usize {
        self.bytes.capacity()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
    }
}

#[derive(Clone, Copy, Debug)]
pub struct FrameRef<'a> {
    pub header: FrameHeader,
    /// The bytes after the header.
    pub payload: &'a [u8],
    pub bytes: &'a [u8],
}

impl<'a> FrameRef<'a> {
    /// The frame at the start of `bytes`, and the remaining bytes. `None` without a complete frame.
    pub fn first(bytes: &'a [u8]) -> Option<(FrameRef<'a>, &'a [u8])> {
        let (header, _) = FrameHeader::read_from_prefix(bytes).ok()?;
        let len = header.len as usize;
        if len < HEADER || len > bytes.len() {
            return None;
        }
        let rest = bytes.get(len.next_multiple_of(8)..).unwrap_or(&[]);
        Some((FrameRef { header, payload: &bytes[HEADER..len], bytes: &bytes[..len] }, rest))
    }
}

impl<'a> Frames<'a> {
    pub fn of(bytes: &'a [u8]) -> Frames<'a> {
        Frames { rest: bytes }
    }
}

#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Frames<'a> {
    type Item = FrameRef<'a>;
    fn next(&mut self) -> Option<FrameRef<'a>> {
        let (frame, rest) = FrameRef::first(self.rest)?;
        self.rest = rest;
        Some(frame)
    }
}
