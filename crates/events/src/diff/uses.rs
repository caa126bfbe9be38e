//! The files that a role used.

use rustc_hash::FxHashMap;

/// A role's use of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Did {
    /// [`did`] bits.
    pub(super) bits: u8,
    /// The lowest error number; 0 for none.
    pub(super) errno: u8,
    /// The mode of a new file as passed, with [`HAS_MODE`]. Of several modes, all bits. 0 if none was passed.
    pub(super) mode: u16,
}

/// A bit of [`Did::mode`]: a mode was passed.
pub(super) const HAS_MODE: u16 = 1 << 15;

/// Bits of [`Did`].
pub(super) mod did {
    /// It was opened or executed.
    pub(in super::super) const FOUND: u8 = 1;
    /// It was opened for writing.
    pub(in super::super) const WROTE: u8 = 2;
    /// It was created under a name that no file had.
    pub(in super::super) const NEW: u8 = 4;
    /// It was opened as a directory.
    pub(in super::super) const DIRECTORY: u8 = 8;
    /// The access mode permits to read it.
    pub(in super::super) const READS: u8 = 16;
    /// The access mode permits to write it.
    pub(in super::super) const WRITES: u8 = 32;
    /// An open created it.
    pub(in super::super) const CREATED: u8 = 64;
    /// An open that may create it found it.
    pub(in super::super) const EXISTED: u8 = 128;
}

impl Did {
    pub(super) fn add(&mut self, other: Did) {
        self.bits |= other.bits;
        self.mode |= other.mode;
        self.errno = match (self.errno, other.errno) {
            (0, errno) | (errno, 0) => errno,
            (one, other) => one.min(other),
        };
    }

    pub(super) fn has(self, bit: u8) -> bool {
        self.bits & bit != 0
    }
}

/// Files by the numbers of their paths. Those of ended processes are a sorted list, which takes half of the memory of a table.
#[derive(Debug, Default)]
pub(super) struct FileUses {
    settled: Vec<(u32, Did)>,
    new: FxHashMap<u32, Did>,
}

impl FileUses {
    pub(super) fn get_mut(&mut self, path: u32) -> Option<&mut Did> {
        match self.settled.binary_search_by_key(&path, |(path, _)| *path) {
            Ok(at) => self.settled.get_mut(at).map(|(_, did)| did),
            Err(_) => self.new.get_mut(&path),
        }
    }

    pub(super) fn insert(&mut self, path: u32, did: Did) {
        self.new.insert(path, did);
    }

    /// Moves the new files to the sorted list, unless they are few compared with it. Returns how many it moved.
    pub(super) fn settle(&mut self) -> usize {
        if self.new.len() <= self.settled.len() / 8 {
            return 0;
        }
        let new = std::mem::take(&mut self.new);
        let count = new.len();
        self.settled.reserve_exact(count);
        self.settled.extend(new);
        self.settled.sort_unstable_by_key(|(path, _)| *path);
        count
    }
}

impl IntoIterator for FileUses {
    type Item = (u32, Did);
    type IntoIter = std::iter::Chain<std::vec::IntoIter<(u32, Did)>, std::collections::hash_map::IntoIter<u32, Did>>;

    fn into_iter(self) -> Self::IntoIter {
        self.settled.into_iter().chain(self.new)
    }
}

/// What the processes of a role used, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) cpu: u64,
    pub(super) ran: u64,
}

impl Used {
    pub(super) fn add(&mut self, other: Used) {
        self.cpu = self.cpu.saturating_add(other.cpu);
        self.ran = self.ran.saturating_add(other.ran);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_ended_and_living_processes_are_found() {
        let mut uses = FileUses::default();
        let did = |errno| Did { errno, ..Did::default() };
        for (path, settled) in [(9, 1), (3, 1), (7, 1), (5, 1), (1, 1), (8, 1), (2, 1), (6, 1), (4, 0), (0, 2)] {
            assert!(uses.get_mut(path).is_none());
            uses.insert(path, did(1));
            assert_eq!(uses.settle(), settled, "{path}");
            uses.get_mut(path).expect("a file").add(did(path as u8 + 1));
        }
        let mut all: Vec<_> = uses.into_iter().collect();
        all.sort_unstable_by_key(|(path, _)| *path);
        assert_eq!(all, (0..10).map(|path| (path, did(1))).collect::<Vec<_>>());
    }
}
