//! Copies of events that stay when their blocks are evicted: the rows of a paused screen.

use super::block::{Block, PER_EVENT};
use super::{Id, Stored, weights};

/// The copies, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pins {
    ids: Vec<Id>,
    block: Block,
    bytes: usize,
}

impl Pins {
    /// Copies of events, given in order.
    pub(super) fn of<'a>(events: impl Iterator<Item = &'a Stored<'a>>) -> Pins {
        let mut pins = Pins::default();
        for stored in events {
            pins.ids.push(stored.id);
            pins.block.copy(stored);
            pins.bytes += Pins::weight(stored);
        }
        pins
    }

    /// The maximum size of a copy. Its process may be shared with other events.
    pub(super) fn weight(stored: &Stored<'_>) -> usize {
        let process = stored.process.map_or(0, |process| weights(process).iter().sum());
        stored.bytes.len() + PER_EVENT + size_of::<Id>() + process
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, id: Id) -> Option<Stored<'_>> {
        self.at(self.ids.binary_search(&id).ok()?)
    }

    /// See [`Stored::answered`].
    pub(super) fn answer(&mut self, id: Id) {
        if let Ok(at) = self.ids.binary_search(&id) {
            self.block.answer(at as Id);
        }
    }

    /// The first and the last one.
    pub(super) fn span(&self) -> Option<(Id, Id)> {
        Some((*self.ids.first()?, *self.ids.last()?))
    }

    pub(super) fn before(&self, id: Id) -> impl DoubleEndedIterator<Item = Stored<'_>> {
        let end = self.ids.partition_point(|known| *known < id);
        (0..end).filter_map(|at| self.at(at))
    }

    fn at(&self, at: usize) -> Option<Stored<'_>> {
        Some(Stored { id: *self.ids.get(at)?, ..self.block.get(at as Id)? })
    }
}
