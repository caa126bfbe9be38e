//! A level of the store: blocks of one age. Older levels keep fewer kinds of events.

use super::block::Block;
use super::{Id, Stored};
use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Range;

#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) blocks: VecDeque<Block>,
    /// The index of the block used last. The next lookup is often in the same block.
    asked: Cell<usize>,
    /// Bytes of all blocks but the newest.
    sealed: usize,
}

impl Level {
    /// The newest block, which has room for a frame. `size`: the size of a new block, whose first event has this id.
    pub(super) fn room_for(&mut self, frame: usize, size: usize, id: Id) -> Option<&mut Block> {
        if !self.blocks.back().is_some_and(|block| block.has_room(frame)) {
            self.add(Block::new(id, size.max(frame)));
        }
        self.blocks.back_mut()
    }

    /// Adds a block that is newer than the others.
    pub(super) fn add(&mut self, block: Block) {
        if let Some(full) = self.blocks.back_mut() {
            full.seal();
            self.sealed += full.bytes();
        }
        self.blocks.push_back(block);
    }

    /// Removes the oldest block.
    pub(super) fn take(&mut self) -> Option<Block> {
        let oldest = self.blocks.pop_front()?;
        self.sealed = if self.blocks.is_empty() { 0 } else { self.sealed - oldest.bytes() };
        Some(oldest)
    }

    /// Removes the oldest blocks, of about `bytes` bytes, but not the newest one.
    pub(super) fn oldest(&mut self, bytes: usize) -> Vec<Block> {
        let (mut oldest, mut sum) = (Vec::new(), 0);
        while sum < bytes.max(1) && self.blocks.len() > 1 {
            let block = self.take();
            sum += block.iter().map(Block::bytes).sum::<usize>();
            oldest.extend(block);
        }
        oldest
    }

    pub(super) fn bytes(&self) -> usize {
        self.sealed + self.blocks.back().map_or(0, Block::bytes)
    }

    pub(super) fn first_id(&self) -> Option<Id> {
        self.blocks.front().map(|block| block.first)
    }

    #[inline]
    pub(super) fn get(&self, id: Id) -> Option<Stored<'_>> {
        if let Some(stored) = self.blocks.get(self.asked.get()).and_then(|block| block.get(id)) {
            return Some(stored);
        }
        let at = self.place(id)?;
        self.asked.set(at);
        self.blocks.get(at)?.get(id)
    }

    /// The block that has this id if any does.
    fn place(&self, id: Id) -> Option<usize> {
        self.blocks.partition_point(|block| block.first <= id).checked_sub(1)
    }

    pub(super) fn answer(&mut self, id: Id) {
        if let Some(block) = self.place(id).and_then(|at| self.blocks.get_mut(at)) {
            block.answer(id);
        }
    }

    pub(super) fn range(&self, ids: Range<Id>) -> impl DoubleEndedIterator<Item = Stored<'_>> {
        let from = self.blocks.partition_point(|block| block.next_id() <= ids.start);
        let to = self.blocks.partition_point(|block| block.first < ids.end).max(from);
        self.blocks
            .range(from..to)
            .flat_map(move |block| (block.position(ids.start)..block.position(ids.end)).filter_map(|at| block.at(at)))
    }
}
