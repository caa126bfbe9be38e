//! The unreadable parts of a recording.

use super::block::Damage;
use crate::limits;

/// Unreadable bytes of a recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hole {
    /// Their offset, in bytes from the start of the file.
    pub offset: u64,
    pub bytes: u64,
    pub why: Damage,
    /// Whether they may contain frames. A damaged block with other contents does not.
    pub frames: bool,
}

/// The unreadable parts of a recording. The first holes are listed, and the others are only counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holes {
    /// The first holes, at most [`limits::HOLES`].
    pub first: Vec<Hole>,
    pub others: u64,
}

impl Holes {
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    pub fn add(&mut self, hole: Hole) {
        match self.first.len() < limits::HOLES {
            true => self.first.push(hole),
            false => self.others = self.others.saturating_add(1),
        }
    }

    /// Adds the holes of another reader. A hole that is listed already is not added again.
    pub fn append(&mut self, others: &Holes) {
        for hole in &others.first {
            if !self.first.contains(hole) {
                self.add(*hole);
            }
        }
        self.others = self.others.saturating_add(others.others);
    }
}
