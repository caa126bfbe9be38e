//! A block of kept events: their frames and an index entry for each.

use super::{FileHash, Id, Stored};
use crate::event::EventContext;
use crate::event::process::Process;
use crate::frame::FrameRef;
use std::sync::Arc;
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;

/// The data that is kept beside a frame.
#[derive(Debug)]
struct Meta {
    process: Option<Arc<Process>>,
    clock_offset: i64,
    file: Option<FileHash>,
    time: BootNanos,
    offset: u32,
    kind: Kind,
    failed: bool,
    answered: bool,
}

/// Bytes of an event beside its frame: its index entry here, and its places in the indexes of the list and of the
/// detail pane.
pub(super) const PER_EVENT: usize = size_of::<Meta>() + 2 * size_of::<Id>();

/// Consecutive events. Only the newest block grows.
#[derive(Debug, Default)]
pub(super) struct Block {
    first: Id,
    bytes: Vec<u8>,
    metas: Vec<Meta>,
    lost_rows: u64,
    /// Bytes of shared objects that its events refer to, except objects that a newer block refers to.
    pub(super) charged: usize,
}

impl Block {
    /// An empty block for `size` bytes of frames.
    pub(super) fn new(first: Id, size: usize) -> Block {
        Block { first, bytes: Vec::with_capacity(size), metas: Vec::new(), lost_rows: 0, charged: 0 }
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

    /// Adds a copy of an event of another block.
    pub(super) fn copy(&mut self, stored: &Stored<'_>) {
        let Stored { clock_offset, file, time, kind, failed, answered, .. } = *stored;
        let offset = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.metas.push(Meta {
            process: stored.process.cloned(),
            clock_offset,
            file,
            time,
            offset,
            kind,
            failed,
            answered,
        });
        self.bytes.extend_from_slice(stored.bytes);
    }

    #[inline]
    pub(super) fn get(&self, id: Id) -> Option<Stored<'_>> {
        let at = usize::try_from(id.checked_sub(self.first)?).ok()?;
        let meta = self.metas.get(at)?;
        let end = self.metas.get(at + 1).map_or(self.bytes.len(), |next| next.offset as usize);
        Some(Stored {
            id,
            bytes: self.bytes.get(meta.offset as usize..end)?,
            process: meta.process.as_ref(),
            clock_offset: meta.clock_offset,
            file: meta.file,
            failed: meta.failed,
            answered: meta.answered,
            kind: meta.kind,
            time: meta.time,
        })
    }

    /// See [`Stored::answered`].
    pub(super) fn answer(&mut self, id: Id) {
        let at = id.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(meta) = at.and_then(|at| self.metas.get_mut(at)) {
            meta.answered = true;
        }
    }

    pub(super) fn seal(&mut self) {
        self.bytes.shrink_to_fit();
        self.metas.shrink_to_fit();
    }

    pub(super) fn first_id(&self) -> Id {
        self.first
    }

    pub(super) fn next_id(&self) -> Id {
        self.first + self.metas.len() as u64
    }

    pub(super) fn events(&self) -> u64 {
        self.metas.len() as u64 - self.lost_rows
    }

    pub(super) fn lost_rows(&self) -> u64 {
        self.lost_rows
    }

    /// Its `lost` rows before an id.
    pub(super) fn lost_rows_before(&self, id: Id) -> u64 {
        if self.lost_rows == 0 || self.next_id() <= id {
            return self.lost_rows;
        }
        let metas = self.metas.iter().take(id.saturating_sub(self.first) as usize);
        metas.filter(|meta| meta.kind == Kind::Lost).count() as u64
    }

    /// Bytes of the block, with its charged objects.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.capacity() + self.metas.capacity() * PER_EVENT + self.charged
    }
}
