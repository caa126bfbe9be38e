//! Frames as bytes: what flows from a source to the pipeline, and what a recording holds.
//!
//! A frame is a [`FrameHeader`] and a payload, `header.len` bytes in all, at a multiple of 8 bytes. Frames of the
//! probes and frames of the host ([`host`]) look alike; only `kind` tells them apart.

pub mod host;

use tracetui_shared::header::FrameHeader;
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of a header.
pub const HEADER: usize = size_of::<FrameHeader>();

/// Some frames, one after another, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Records that came but are no frames: shorter than a header, or lying about their length.
    unreadable: u64,
}

impl Batch {
    /// An empty batch with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Batch {
        Batch { bytes: Vec::with_capacity(bytes), unreadable: 0 }
    }

    /// Appends a record as it came from the ring. One that is no frame is counted instead.
    pub fn push_raw(&mut self, record: &[u8]) {
        let Ok((header, _)) = FrameHeader::read_from_prefix(record) else {
            self.unreadable += 1;
            return;
        };
        let len = header.len as usize;
        // The ring rounds records up to 8 bytes; more than that is a lie.
        if len < HEADER || len > record.len() || record.len() - len >= 8 {
            self.unreadable += 1;
            return;
        }
        self.bytes.extend_from_slice(&record[..len]);
        self.pad();
    }

    /// Appends a frame made here; `header.len` is set to fit.
    pub fn push(&mut self, mut header: FrameHeader, payload: &[u8]) {
        header.len = u32::try_from(HEADER + payload.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(payload);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    /// The frames, in order.
    pub fn frames(&self) -> Frames<'_> {
        Frames { rest: &self.bytes }
    }

    /// Bytes of all frames with their padding.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is neither a frame nor an unreadable record.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.unreadable == 0
    }

    /// Records that came but are no frames.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Forgets the frames, keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.unreadable = 0;
    }
}

/// A frame where it stands.
#[derive(Clone, Copy, Debug)]
pub struct FrameRef<'a> {
    /// The head.
    pub header: FrameHeader,
    /// The rest.
    pub payload: &'a [u8],
    /// Head and rest as they stand.
    pub bytes: &'a [u8],
}

impl<'a> FrameRef<'a> {
    /// The frame at the start of `bytes`, and what follows it. `None` when there is no whole one.
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

/// Iterates over the frames of a batch.
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
