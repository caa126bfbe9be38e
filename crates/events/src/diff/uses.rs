//! What a role did, and the files that it used.

use foldhash::HashMap;
use std::collections::BTreeMap;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Kind;

/// A role's use of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
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
#[derive(Clone, Debug, Default)]
pub(super) struct FileUses {
    /// The sorted list.
    pub(super) settled: Vec<(u32, Did)>,
    new: HashMap<u32, Did>,
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

    /// Adds the files of another role under other numbers. [`merge`](Self::merge) puts them in order.
    fn add(&mut self, other: FileUses, number: impl Fn(u32) -> u32) {
        let files = other.settled.into_iter().chain(other.new);
        self.settled.extend(files.map(|(path, did)| (number(path), did)));
    }

    /// Sorts added files, and merges those with the same number.
    pub(super) fn merge(&mut self) {
        self.settled.sort_unstable_by_key(|(path, _)| *path);
        self.settled.dedup_by(|(path, did), (kept, all)| {
            let same = path == kept;
            if same {
                all.add(*did);
            }
            same
        });
        self.settled.shrink_to_fit();
    }
}

/// A role's events of a kind with the same subject.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Other {
    pub(super) did: Did,
    pub(super) count: u64,
}

impl Other {
    pub(super) fn add(&mut self, other: Other) {
        self.did.add(other.did);
        self.count += other.count;
    }
}

/// What the processes of a role did.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity {
    /// A process of the role: the first one that failed, otherwise the first one.
    pub(super) process: Tgid,
    pub(super) failed: bool,
    /// Whether its parent is unknown because the fork was lost.
    pub(super) orphan: bool,
    pub(super) execs: u64,
    /// Its processes that have not ended, with those that it forked and that have not executed a program.
    pub(super) living: u64,
    /// The lowest user id at an exec.
    pub(super) uid: Option<u32>,
    /// Wait statuses, each with its count.
    pub(super) exits: BTreeMap<u32, u64>,
    /// Why its last failed process failed, in words.
    pub(super) reason: Option<u32>,
    /// What the processes that ended in this role used.
    pub(super) used: Used,
    /// The files that it opened or tried to open.
    pub(super) opens: FileUses,
    /// The programs that it, or a process forked from it, executed or tried to execute.
    pub(super) tries: FileUses,
    /// The files as the run left them, in the root of the tree.
    pub(super) left: Vec<(u32, Did)>,
    /// What else it did, by kind and subject.
    pub(super) others: BTreeMap<(Kind, u32), Other>,
}

impl Activity {
    /// Adds what the processes of an equal role did, whose strings have other numbers.
    pub(super) fn add(&mut self, other: Activity, number: impl Fn(u32) -> u32) {
        if other.failed && !self.failed {
            (self.process, self.failed) = (other.process, true);
        }
        self.execs += other.execs;
        self.living += other.living;
        self.executed_as(other.uid);
        for (status, count) in other.exits {
            *self.exits.entry(status).or_default() += count;
        }
        self.used.add(other.used);
        self.reason = other.reason.map(&number).or(self.reason);
        self.opens.add(other.opens, &number);
        self.tries.add(other.tries, &number);
        for ((kind, subject), used) in other.others {
            self.others.entry((kind, number(subject))).or_default().add(used);
        }
    }

    /// What it did of a kind, by subject.
    pub(super) fn others(&self, kind: Kind) -> Vec<(u32, Other)> {
        let all = self.others.range((kind, 0)..=(kind, u32::MAX));
        all.map(|((_, subject), used)| (*subject, *used)).collect()
    }

    pub(super) fn executed_as(&mut self, uid: Option<u32>) {
        self.uid = self.uid.into_iter().chain(uid).min();
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
        let mut all = FileUses::default();
        all.add(uses, |path| path);
        all.merge();
        assert_eq!(all.settled, (0..10).map(|path| (path, did(1))).collect::<Vec<_>>());
    }
}
