//! A block of kept events: their frames and an index entry for each.

use super::{FileHash, Id, Stored};
use crate::event::EventContext;
use crate::event::process::Process;
use crate::frame::FrameRef;
use std::sync::Arc;
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;

/// The data that is kept beside a frame.
#[derive(Clone, Debug)]
pub struct Meta {
    process: Option<Arc<Process>>,
    /// CLOCK_REALTIME − CLOCK_BOOTTIME at the event.
    pub clock_offset: i64,
    /// The hash of its file name, if it is an open.
    pub file: Option<FileHash>,
    /// [`FrameHeader::time`](tracetui_shared::header::FrameHeader::time).
    pub time: BootNanos,
    offset: u32,
    pub kind: Kind,
    pub failed: bool,
    /// Whether it failed, but needs no answer or a later call answered it.
    pub answered: bool,
}

/// Bytes of an event beside its frame: its index entry here, and its places in the indexes of the list and of the
/// detail pane.
pub(super) const PER_EVENT: usize = size_of::<Meta>() + 2 * size_of::<Id>();

/// The id of an event, and the number of evicted events counted in it ([`Stored::evicted`]).
type IdWithEvicted = (Id, u32);

/// Events in the order of their ids. Only the newest block of a level grows.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) first: Id,
    bytes: Vec<u8>,
    metas: Vec<Meta>,
    /// One for each event. Empty if the events are consecutive and none counts evicted ones.
    ids: Vec<IdWithEvicted>,
    lost_rows: u64,
}

impl Block {
    /// An empty block for `size` bytes of frames.
    pub(super) fn new(first: Id, size: usize) -> Block {
        Block { first, bytes: Vec::with_capacity(size), ..Block::default() }
    }

    pub(super) fn has_room(&self, frame: usize) -> bool {
        self.bytes.capacity() - self.bytes.len() >= frame
    }

    pub(super) fn push(&mut self, seen: &EventContext<'_>, frame: &FrameRef<'_>, file: Option<FileHash>) {
        let kind = seen.event.kind();
        self.lost_rows += u64::from(kind == Kind::Lost);
        self.metas.push(Meta {
            process: seen.process.cloned(),
            clock_offset: seen.clock_offset,
            file,
            time: frame.header.time,
            // A block is at most as large as the largest frame or 1 MiB.
            offset: u32::try_from(self.bytes.len()).unwrap_or(u32::MAX),
            kind,
            failed: seen.event.failed(),
            answered: false,
        });
        self.bytes.extend_from_slice(frame.bytes);
    }

    /// Adds a copy of an event of another block, with `evicted` events counted in it.
    pub(super) fn copy(&mut self, stored: &Stored<'_>, evicted: u32) {
        if self.metas.is_empty() {
            self.first = stored.id;
        }
        self.lost_rows += u64::from(stored.kind == Kind::Lost);
        let offset = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.metas.push(Meta { offset, ..stored.meta.clone() });
        self.ids.push((stored.id, evicted));
        self.bytes.extend_from_slice(stored.bytes);
    }

    /// The position of the first event that is not older than an id.
    #[inline]
    pub(super) fn position(&self, id: Id) -> usize {
        match self.ids.is_empty() {
            true => {
                usize::try_from(id.saturating_sub(self.first)).map_or(self.metas.len(), |at| at.min(self.metas.len()))
            }
            false => self.ids.partition_point(|(known, _)| *known < id),
        }
    }

    fn place(&self, at: usize) -> IdWithEvicted {
        self.ids.get(at).copied().unwrap_or((self.first + at as u64, 0))
    }

    #[inline]
    pub(super) fn get(&self, id: Id) -> Option<Stored<'_>> {
        if id < self.first {
            return None;
        }
        self.at(self.position(id)).filter(|stored| stored.id == id)
    }

    /// The event at a position.
    #[inline]
    pub(super) fn at(&self, at: usize) -> Option<Stored<'_>> {
        let meta = self.metas.get(at)?;
        let (id, evicted) = self.place(at);
        let end = self.metas.get(at + 1).map_or(self.bytes.len(), |next| next.offset as usize);
        let bytes = self.bytes.get(meta.offset as usize..end)?;
        Some(Stored { id, bytes, process: meta.process.as_ref(), evicted, meta })
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Stored<'_>> {
        (0..self.metas.len()).filter_map(|at| self.at(at))
    }

    /// See [`Meta::answered`].
    pub(super) fn answer(&mut self, id: Id) {
        let at = self.position(id);
        if self.place(at).0 == id
            && let Some(meta) = self.metas.get_mut(at)
        {
            meta.answered = true;
        }
    }

    pub(super) fn seal(&mut self) {
        self.bytes.shrink_to_fit();
        self.metas.shrink_to_fit();
        self.ids.shrink_to_fit();
    }

    /// The id after that of its last event.
    pub(super) fn next_id(&self) -> Id {
        self.metas.len().checked_sub(1).map_or(self.first, |last| self.place(last).0 + 1)
    }

    pub(super) fn len(&self) -> usize {
        self.metas.len()
    }

    /// Its events before an id, without `lost` rows.
    pub(super) fn events_before(&self, id: Id) -> u64 {
        let rows = self.position(id);
        let lost = match self.lost_rows {
            0 => 0,
            all if rows == self.metas.len() => all,
            _ => self.metas.iter().take(rows).filter(|meta| meta.kind == Kind::Lost).count() as u64,
        };
        rows as u64 - lost
    }

    /// Bytes of the block, without the objects that its events share.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.capacity() + self.metas.capacity() * PER_EVENT + self.ids.capacity() * size_of::<IdWithEvicted>()
    }
}
