//! Copies of events that stay when their blocks are evicted: the rows of a paused screen.

use super::block::{Block, PER_EVENT};
use super::{Id, Stored, weights};

/// The copies, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pins {
    block: Block,
    pub(super) bytes: usize,
}

impl Pins {
    /// Copies of events, given in order.
    pub(super) fn of<'a>(events: impl Iterator<Item = &'a Stored<'a>>) -> Pins {
        let mut pins = Pins::default();
        for stored in events {
            pins.block.copy(stored, stored.evicted);
            pins.bytes += Pins::weight(stored);
        }
        pins
    }

    /// The maximum size of a copy. Its process may be shared with other events.
    pub(super) fn weight(stored: &Stored<'_>) -> usize {
        let process = stored.process.map_or(0, |process| weights(process).iter().sum());
        stored.bytes.len() + PER_EVENT + 2 * size_of::<Id>() + process
    }

    pub(super) fn get(&self, id: Id) -> Option<Stored<'_>> {
        self.block.get(id)
    }

    /// See [`Stored::answered`].
    pub(super) fn answer(&mut self, id: Id) {
        self.block.answer(id);
    }

    /// The first and the last one.
    pub(super) fn span(&self) -> Option<(Id, Id)> {
        let last = self.block.len().checked_sub(1)?;
        Some((self.block.first, self.block.at(last)?.id))
    }

    pub(super) fn before(&self, id: Id) -> impl DoubleEndedIterator<Item = Stored<'_>> {
        (0..self.block.position(id)).filter_map(|at| self.block.at(at))
    }
}
