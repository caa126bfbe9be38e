//! The maps of the capture filter.
//!
//! **Trees.** A process passes if it is a key of `CAPTURE_TREE`. A key is a process id and a start time, so a process
//! that reuses an id is not in the tree. The id of a root is looked up once, when the filter is set.
//!
//! The fork probe adds a child whose parent is in the map, with the same root. The exit probe removes it after
//! filtering its exit. Orphans stay. This module adds the descendants that
//! exist when the filter is set, even while they fork and exit. Once the roots are in the map, new processes are
//! recorded with their parents (`CAPTURE_KIN`), *before* the fork probe looks up the parent. A process that the probe
//! does not add is therefore in these records or in the one list of the processes. The tree is complete when a pass
//! over the records adds no process ([`Family::look`]). Processes reparented before the filter was set cannot be found,
//! because the kernel shows them as children of init. A second list, taken before the roots are in the map, covers
//! processes that are reparented while the filter is set.

use super::object::Maps;
use super::tasks::{Tasks, Unit};
use super::{CaptureError, Plain, map_batch};
use crate::StartError;
use aya::maps::{Array, HashMap, IterableMap as _, MapData, MapError};
use foldhash::HashMap as HashTable;
use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use tracetui_events::filter::capture::{CaptureFilter, NAMELESS_CGROUPS};
use tracetui_events::frame::host::Cgroup;
use tracetui_host::maps::freeze;
use tracetui_shared::capture::{Capture, ProcessKey, test};
use tracetui_shared::id::CgroupId;
use tracetui_shared::record::task::TaskStart;

pub(super) struct CaptureMaps {
    capture: Array<MapData, Plain<Capture>>,
    pids: HashMap<MapData, u32, u8>,
    uids: HashMap<MapData, u32, u8>,
    /// The processes in the tree, each with the root through which it was added.
    tree: HashMap<MapData, Plain<ProcessKey>, Plain<ProcessKey>>,
    kin: HashMap<MapData, Plain<ProcessKey>, Plain<ProcessKey>>,
    cgroups: HashMap<MapData, u64, u8>,
    filter: CaptureFilter,
    /// The processes of the filter's roots, by id.
    roots: HashTable<u32, ProcessKey>,
    pub(super) tasks: Tasks,
    before: Vec<TaskStart>,
    /// The number of processes that user space could not add because the map was full.
    pub(super) tree_full: u64,
}

impl CaptureMaps {
    pub(super) fn of(maps: &mut Maps, tasks: Tasks) -> Result<CaptureMaps, StartError> {
        Ok(CaptureMaps {
            capture: Array::try_from(maps.take_map("CAPTURE")?)?,
            pids: HashMap::try_from(maps.take_map("CAPTURE_PIDS")?)?,
            uids: HashMap::try_from(maps.take_map("CAPTURE_UIDS")?)?,
            tree: HashMap::try_from(maps.take_map("CAPTURE_TREE")?)?,
            kin: HashMap::try_from(maps.take_map("CAPTURE_KIN")?)?,
            cgroups: HashMap::try_from(maps.take_map("CAPTURE_CGROUPS")?)?,
            filter: CaptureFilter::NOTHING,
            roots: HashTable::default(),
            tasks,
            before: Vec::new(),
            tree_full: 0,
        })
    }

    /// Sets the filter. Of the trees, only the roots are added before [`finish`](Self::finish).
    /// Fails if a root's id has no process.
    pub(super) fn begin(&mut self, filter: &CaptureFilter) -> Result<(), CaptureError> {
        self.find_roots(&filter.trees)?;
        for pid in &filter.pids {
            self.pids.insert(pid, 1, 0)?;
        }
        for uid in &filter.uids {
            self.uids.insert(uid, 1, 0)?;
        }
        for root in self.roots.values() {
            self.tree.insert(Plain(*root), Plain(*root), 0)?;
        }
        for id in NAMELESS_CGROUPS {
            self.cgroups.insert(id, 1, 0)?;
        }
        self.filter = filter.clone();
        let mut judge = filter.capture;
        if !self.roots.is_empty() {
            judge.tests |= test::KIN;
        }
        Ok(self.capture.set(0, Plain(self.counting_starts(judge)), 0)?)
    }

    /// Finds the processes with the ids of the roots, and lists the processes if there are any.
    fn find_roots(&mut self, ids: &[u32]) -> Result<(), CaptureError> {
        if ids.is_empty() {
            return Ok(());
        }
        let tasks = self.tasks.list().map_err(CaptureError::Processes)?;
        // Parents count too: a kernel may omit a process from the list (observed with init), but still report it as the
        // parent of its children.
        let parents = tasks.iter().map(parent_of).filter(|parent| parent.tgid != 0);
        let known = parents.chain(tasks.iter().map(key_of));
        let by_id: HashTable<u32, ProcessKey> = known.map(|process| (process.tgid, process)).collect();
        for id in ids {
            let missing = || match self.tasks.unit() {
                Unit::Nanoseconds => CaptureError::NoProcess(*id),
                Unit::Ticks => CaptureError::NotInProc(*id),
            };
            self.roots.insert(*id, *by_id.get(id).ok_or_else(missing)?);
        }
        self.before = tasks;
        Ok(())
    }

    /// The filter, with the unit in which the probes count start times.
    fn counting_starts(&self, judge: Capture) -> Capture {
        match self.tasks.unit() {
            Unit::Ticks if judge.tests & (test::TREE | test::KIN) != 0 => {
                Capture { tests: judge.tests | test::TICKS, ..judge }
            }
            _ => judge,
        }
    }

    /// Adds the existing descendants of the roots.
    pub(super) fn finish(&mut self) -> Result<(), CaptureError> {
        if !self.roots.is_empty() {
            self.grow()?;
            self.capture.set(0, Plain(self.counting_starts(self.filter.capture)), 0)?;
        }
        let noted = keys(&self.kin)?;
        Ok(remove(&mut self.kin, noted.into_iter())?)
    }

    fn grow(&mut self) -> Result<(), CaptureError> {
        let mut family = Family::new(self.roots.values());
        let mut listed = std::mem::take(&mut self.before);
        listed.extend(self.tasks.list().map_err(CaptureError::Processes)?);
        for look in 1..LOOKS {
            let notes = elements(&self.kin)?;
            let notes = notes.into_iter().map(|(Plain(child), Plain(parent))| (child, parent));
            let to_admit = family.look(look, listed.iter().map(|task| (key_of(task), parent_of(task))).chain(notes));
            if to_admit.is_empty() {
                break;
            }
            for process in to_admit {
                if let Some(root) = family.root_of(process) {
                    self.admit(process, root)?;
                }
            }
        }
        Ok(())
    }

    /// Freezes the maps, so that no other process can change the capture filter, and checks their content. If it contains cgroups, their map stays open for new cgroups.
    /// Fails if another process has changed a map.
    pub(super) fn freeze(&mut self) -> Result<(), CaptureError> {
        for map in [self.capture.map(), self.pids.map(), self.uids.map(), self.tree.map(), self.kin.map()] {
            freeze(map.fd().as_fd()).map_err(CaptureError::Freeze)?;
        }
        if !self.asks_for_cgroups() {
            freeze(self.cgroups.map().fd().as_fd()).map_err(CaptureError::Freeze)?;
        }
        let Plain(judge) = self.capture.get(&0, 0)?;
        let pids: BTreeSet<u32> = keys(&self.pids)?.into_iter().collect();
        let uids: BTreeSet<u32> = keys(&self.uids)?.into_iter().collect();
        let as_set = judge == self.counting_starts(self.filter.capture)
            && pids.iter().eq(self.filter.pids.iter().collect::<BTreeSet<_>>())
            && uids.iter().eq(self.filter.uids.iter().collect::<BTreeSet<_>>())
            && self.roots.values().all(|root| self.tree.get(&Plain(*root), 0).is_ok());
        if as_set { Ok(()) } else { Err(CaptureError::Changed) }
    }

    /// The key of a process that has ended meanwhile matches no other process, and only takes room.
    fn admit(&mut self, process: ProcessKey, root: ProcessKey) -> Result<(), CaptureError> {
        if self.tree.get(&Plain(process), 0).is_ok() {
            return Ok(());
        }
        match self.tree.insert(Plain(process), Plain(root), 0) {
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::E2BIG) => {
                self.tree_full += 1;
            }
            inserted => inserted?,
        }
        Ok(())
    }

    pub(super) fn asks_for_cgroups(&self) -> bool {
        !self.filter.cgroups.is_empty()
    }

    /// Adds a cgroup if it passes the filter. One that was added stays if its container turns out to be another: the
    /// display filter hides it.
    pub(super) fn name_cgroup(&mut self, cgroup: &Cgroup) -> Result<(), CaptureError> {
        if self.filter.cgroups.iter().all(|test| test.holds(cgroup)) {
            self.cgroups.insert(cgroup.id.0, 1, 0)?;
        }
        Ok(())
    }

    pub(super) fn forget_cgroup(&mut self, id: CgroupId) -> Result<(), CaptureError> {
        let named = (!NAMELESS_CGROUPS.contains(&id.0)).then_some(id.0);
        Ok(remove(&mut self.cgroups, named.into_iter())?)
    }

    /// Adds the cgroups whose path the filter contains, and removes all others. `all` are all existing cgroups.
    pub(super) fn name_all_cgroups(&mut self, all: &[Cgroup]) -> Result<(), CaptureError> {
        let old = keys(&self.cgroups)?;
        for cgroup in all {
            self.name_cgroup(cgroup)?;
        }
        let wanted = |id: &u64| {
            let found = all.iter().find(|cgroup| cgroup.id.0 == *id);
            found.is_some_and(|cgroup| self.filter.cgroups.iter().all(|test| test.holds(cgroup)))
        };
        let gone: Vec<u64> = old.into_iter().filter(|id| !NAMELESS_CGROUPS.contains(id) && !wanted(id)).collect();
        Ok(remove(&mut self.cgroups, gone.into_iter())?)
    }
}

fn key_of(task: &TaskStart) -> ProcessKey {
    ProcessKey::new(task.tgid, task.start)
}

fn parent_of(task: &TaskStart) -> ProcessKey {
    ProcessKey::new(task.parent, task.parent_start)
}

/// The limit of passes over the records of new processes. Each pass takes well below a millisecond. Only a line of
/// descent that grows by a generation between any two passes needs more than a few.
const LOOKS: i32 = 100;

/// The descendants of some roots, found in several passes.
struct Family {
    found: HashTable<ProcessKey, Found>,
}

#[derive(Clone, Copy)]
struct Found {
    /// The pass in which it was added.
    look: i32,
    /// A root from which it descends. For a root, the root itself.
    root: ProcessKey,
}

impl Family {
    /// The `look` of processes that the fork probe added. It adds all their children too.
    const INHERITED: i32 = i32::MIN / 2;

    fn new<'a>(roots: impl Iterator<Item = &'a ProcessKey>) -> Family {
        Family { found: roots.map(|root| (*root, Found { look: 0, root: *root })).collect() }
    }

    fn root_of(&self, process: ProcessKey) -> Option<ProcessKey> {
        self.found.get(&process).map(|found| found.root)
    }

    fn has(&self, process: ProcessKey) -> bool {
        self.found.contains_key(&process)
    }

    /// Takes pairs of a process and its parent. They must include every process forked since the roots were added.
    /// Returns the new descendants that the fork probe may have missed: those whose parent was added less than two
    /// passes ago. If the pass after the addition of a parent did not record a child, the child was forked later, so
    /// the fork probe added it.
    fn look(&mut self, look: i32, parents: impl Iterator<Item = (ProcessKey, ProcessKey)>) -> Vec<ProcessKey> {
        let mut children: HashTable<ProcessKey, Vec<ProcessKey>> = HashTable::default();
        for (child, parent) in parents.filter(|(child, _)| !self.has(*child)) {
            children.entry(parent).or_default().push(child);
        }
        let mut admit = Vec::new();
        let mut waiting: Vec<_> = self.found.iter().map(|(process, found)| (*process, *found)).collect();
        while let Some((parent, Found { look: since, root })) = waiting.pop() {
            for child in children.remove(&parent).unwrap_or_default() {
                if self.has(child) {
                    continue;
                }
                let inherited = look >= since.saturating_add(2);
                let found = Found { look: if inherited { Family::INHERITED } else { look }, root };
                self.found.insert(child, found);
                admit.extend((!inherited).then_some(child));
                waiting.push((child, found));
            }
        }
        admit
    }
}

fn elements<K: aya::Pod, V: aya::Pod>(map: &HashMap<MapData, K, V>) -> Result<Vec<(K, V)>, CaptureError> {
    map_batch::elements(map).map_err(CaptureError::Elements)
}

fn keys<K: aya::Pod, V: aya::Pod>(map: &HashMap<MapData, K, V>) -> Result<Vec<K>, CaptureError> {
    Ok(elements(map)?.into_iter().map(|(key, _)| key).collect())
}

/// Removes keys. A missing key is not an error.
fn remove<K: aya::Pod, V: aya::Pod>(
    map: &mut HashMap<MapData, K, V>,
    keys: impl Iterator<Item = K>,
) -> Result<(), MapError> {
    for key in keys {
        match map.remove(&key) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tgid: u32) -> ProcessKey {
        ProcessKey::new(tgid, 1000 + u64::from(tgid))
    }

    fn of(roots: &[u32]) -> Family {
        Family::new(roots.iter().map(|root| key(*root)).collect::<Vec<_>>().iter())
    }

    fn look(family: &mut Family, look: i32, parents: &[(u32, u32)]) -> Vec<u32> {
        let mut found: Vec<u32> = family
            .look(look, parents.iter().map(|(child, parent)| (key(*child), key(*parent))))
            .iter()
            .map(|k| k.tgid)
            .collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn descendants_are_found_whatever_the_order() {
        let parents = [(2, 1), (4, 3), (3, 2), (5, 1), (6, 99), (7, 7), (9, 8), (8, 9)];
        let found = |roots: &[u32]| look(&mut of(roots), 1, &parents);
        assert_eq!(found(&[1]), [2, 3, 4, 5]);
        assert_eq!(found(&[3]), [4]);
        assert_eq!(found(&[2, 3]), [4], "a root is none");
        assert_eq!(found(&[7, 8]), [9], "a circle ends");
        assert_eq!(found(&[42]), [0; 0]);
        // An id that is used again is another process.
        let (root, again) = (ProcessKey::new(1, 10), ProcessKey::new(1, 50));
        let (child, of_again) = (ProcessKey::new(2, 20), ProcessKey::new(3, 60));
        let (grandchild, child_again) = (ProcessKey::new(4, 30), ProcessKey::new(2, 70));
        let mut family = Family::new([root].iter());
        let parents = [(child, root), (of_again, again), (grandchild, child), (child_again, of_again)];
        let mut found = family.look(1, parents.into_iter());
        found.sort_unstable_by_key(|key| key.tgid);
        assert_eq!(found, [child, grandchild]);
        assert!(family.root_of(again).is_none() && family.root_of(child_again).is_none());
        // A storm of forks comes to an end.
        // Every pass finds a new child of 2, and a child of each of those.
        let mut family = of(&[1]);
        let mut parents = vec![(2, 1)];
        let mut admitted = Vec::new();
        for turn in 1..=6 {
            admitted.push(look(&mut family, turn, &parents));
            let next = 10 * turn.unsigned_abs();
            parents.extend([(next, 2), (next + 1, next)]);
        }
        assert_eq!(admitted, [vec![2], vec![10, 11], vec![], vec![], vec![], vec![]]);
        assert!(family.has(key(51)), "let in by the probe");
    }
}
