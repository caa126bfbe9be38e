//! The capture filter's maps: written so that nothing that both the old filter and the new one want is missed in between.
//!
//! **Trees.** A process is let through when its number is a key of `CAPTURE_TREE`. The fork probe lets a child in when its
//! parent is in, the exit probe takes it out once its exit was judged, so orphans stay. What is left to do here is to find
//! those that descend from a root already when the filter is set, while they fork and end: from the moment on that the
//! roots are in the map, new processes are noted with their parents (`CAPTURE_KIN`), *before* the fork probe looks whether
//! the parent is in. So whoever is not let in by the probe is found in the notes or in /proc, and after a look that lets
//! nobody in, nobody is missing. Not found is who lost its parent before the filter was set: /proc tells no more than init.

use super::{CaptureError, CaptureFilter, Plain, load};
use crate::frame::host::Cgroup;
use crate::source::CgroupTest;
use crate::source::host::procfs;
use crate::source::live::StartError;
use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError};
use rustc_hash::{FxHashMap, FxHashSet};
use tracetui_shared::capture::{Capture, test, tree};

/// Cgroups that are always let through to user space: those of which the number alone does not tell the path. 0 is not
/// known, and who is in the root of the v2 hierarchy goes by the name of another one.
const UNTOLD: [u64; 2] = [0, 1];

/// The maps, and what stands in them.
pub(super) struct CaptureMaps {
    capture: Array<MapData, Plain<Capture>>,
    pids: HashMap<MapData, u32, u8>,
    uids: HashMap<MapData, u32, u8>,
    tree: HashMap<MapData, u32, u8>,
    kin: HashMap<MapData, u32, u32>,
    cgroups: HashMap<MapData, u64, u8>,
    roots: Vec<u32>,
    cgroup_tests: Vec<CgroupTest>,
}

impl CaptureMaps {
    /// Takes the maps out of the object.
    pub(super) fn of(object: &mut Ebpf) -> Result<CaptureMaps, StartError> {
        Ok(CaptureMaps {
            capture: Array::try_from(load::map(object, "CAPTURE")?)?,
            pids: HashMap::try_from(load::map(object, "CAPTURE_PIDS")?)?,
            uids: HashMap::try_from(load::map(object, "CAPTURE_UIDS")?)?,
            tree: HashMap::try_from(load::map(object, "CAPTURE_TREE")?)?,
            kin: HashMap::try_from(load::map(object, "CAPTURE_KIN")?)?,
            cgroups: HashMap::try_from(load::map(object, "CAPTURE_CGROUPS")?)?,
            roots: Vec::new(),
            cgroup_tests: Vec::new(),
        })
    }

    /// Puts a filter in force: what is newly let through first, what no longer is last. Trees hold their roots only until
    /// [`grow`](Self::grow), and cgroups nothing until they are named.
    pub(super) fn put(&mut self, filter: &CaptureFilter) -> Result<(), CaptureError> {
        let (old_pids, old_uids) = (keys(&self.pids), keys(&self.uids));
        for pid in &filter.pids {
            self.pids.insert(pid, 1, 0)?;
        }
        for uid in &filter.uids {
            self.uids.insert(uid, 1, 0)?;
        }
        for root in &filter.trees {
            self.tree.insert(root, tree::ROOT, 0)?;
        }
        for id in UNTOLD {
            self.cgroups.insert(id, 1, 0)?;
        }
        let mut capture = filter.capture;
        let dropped: Vec<u32> = self.roots.iter().copied().filter(|root| !filter.trees.contains(root)).collect();
        let grows = filter.trees.iter().any(|root| !self.roots.contains(root));
        if grows || !dropped.is_empty() {
            capture.tests |= test::KIN;
        }
        self.capture.set(0, Plain(capture), 0)?;
        remove(&mut self.pids, old_pids.iter().filter(|pid| !filter.pids.contains(pid)))?;
        remove(&mut self.uids, old_uids.iter().filter(|uid| !filter.uids.contains(uid)))?;
        self.roots.clone_from(&filter.trees);
        self.cgroup_tests.clone_from(&filter.cgroups);
        if !dropped.is_empty() {
            remove(&mut self.tree, dropped.iter())?;
        }
        Ok(())
    }

    /// Lets in who descends from the roots already, and out who descends from none of them any more.
    pub(super) fn grow(&mut self) -> Result<(), CaptureError> {
        let Plain(mut capture) = self.capture.get(&0, 0)?;
        if capture.tests & test::KIN == 0 {
            return Ok(());
        }
        let roots: FxHashSet<u32> = self.roots.iter().copied().collect();
        let mut members = FxHashSet::default();
        let mut scanned = FxHashMap::default();
        loop {
            // Before the notes are read: whoever is in by then was noted before.
            let inside = keys(&self.tree);
            scanned
                .extend(procfs::parents().unwrap_or_default().into_iter().map(|(child, parent)| (child.0, parent.0)));
            let mut parents = scanned.clone();
            parents.extend(self.kin.iter().filter_map(Result::ok));
            let found = descendants(&parents, &roots);
            let new: Vec<u32> = found.iter().copied().filter(|tgid| !members.contains(tgid)).collect();
            if new.is_empty() {
                let strangers = inside.iter().filter(|tgid| !found.contains(tgid) && !roots.contains(tgid));
                remove(&mut self.tree, strangers)?;
                break;
            }
            for tgid in new {
                members.insert(tgid);
                self.admit(tgid)?;
            }
        }
        capture.tests &= !test::KIN;
        self.capture.set(0, Plain(capture), 0)?;
        let noted = keys(&self.kin);
        Ok(remove(&mut self.kin, noted.iter())?)
    }

    /// Lets a process in, if it has not ended: the exit probe takes out only who is in.
    fn admit(&mut self, tgid: u32) -> Result<(), CaptureError> {
        const BPF_NOEXIST: u64 = 1;
        // It may be in already, let in at its fork.
        if let Err(error) = self.tree.insert(tgid, tree::MEMBER, BPF_NOEXIST)
            && !matches!(&error, MapError::SyscallError(error) if error.io_error.kind() == std::io::ErrorKind::AlreadyExists)
        {
            return Err(error.into());
        }
        if !procfs::lives(tgid) {
            remove(&mut self.tree, [tgid].iter())?;
        }
        Ok(())
    }

    /// Whether events depend on the paths of cgroups.
    pub(super) fn asks_for_cgroups(&self) -> bool {
        !self.cgroup_tests.is_empty()
    }

    /// Lets the cgroup through if the filter wants it.
    pub(super) fn name_cgroup(&mut self, cgroup: &Cgroup) -> Result<(), CaptureError> {
        if self.cgroup_tests.iter().any(|test| test.holds(&cgroup.path)) {
            self.cgroups.insert(cgroup.id.0, 1, 0)?;
        }
        Ok(())
    }

    /// These are all cgroups that there are: lets through those that the filter wants, and no others.
    pub(super) fn name_all_cgroups(&mut self, all: &[Cgroup]) -> Result<(), CaptureError> {
        let old = keys(&self.cgroups);
        for cgroup in all {
            self.name_cgroup(cgroup)?;
        }
        let wanted = |id: &u64| {
            let path = all.iter().find(|cgroup| cgroup.id.0 == *id).map(|cgroup| &cgroup.path);
            path.is_some_and(|path| self.cgroup_tests.iter().any(|test| test.holds(path)))
        };
        let gone: Vec<u64> = old.into_iter().filter(|id| !UNTOLD.contains(id) && !wanted(id)).collect();
        Ok(remove(&mut self.cgroups, gone.iter())?)
    }
}

/// Everybody who descends from a root, by a table of parents. Roots are not among them unless they descend from another.
fn descendants(parents: &FxHashMap<u32, u32>, roots: &FxHashSet<u32>) -> FxHashSet<u32> {
    let mut children: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
    for (child, parent) in parents {
        children.entry(*parent).or_default().push(*child);
    }
    let mut found = FxHashSet::default();
    let mut waiting: Vec<u32> = roots.iter().copied().collect();
    while let Some(parent) = waiting.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            if !roots.contains(child) && found.insert(*child) {
                waiting.push(*child);
            }
        }
    }
    found
}

fn keys<K: aya::Pod, V: aya::Pod>(map: &HashMap<MapData, K, V>) -> Vec<K> {
    map.keys().filter_map(Result::ok).collect()
}

/// Removes keys, those also that are gone already.
fn remove<'a, K: aya::Pod + 'a, V: aya::Pod>(
    map: &mut HashMap<MapData, K, V>,
    keys: impl Iterator<Item = &'a K>,
) -> Result<(), MapError> {
    for key in keys {
        match map.remove(key) {
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

    #[test]
    fn descendants_are_found_whatever_the_order() {
        let parents = FxHashMap::from_iter([(2, 1), (3, 2), (4, 3), (5, 1), (6, 99), (7, 7), (9, 8), (8, 9)]);
        let of = |roots: &[u32]| {
            let mut found: Vec<u32> = descendants(&parents, &roots.iter().copied().collect()).into_iter().collect();
            found.sort_unstable();
            found
        };
        assert_eq!(of(&[1]), [2, 3, 4, 5]);
        assert_eq!(of(&[3]), [4]);
        assert_eq!(of(&[2, 3]), [4], "a root is none");
        assert_eq!(of(&[7, 8]), [9], "a circle ends");
        assert_eq!(of(&[42]), [0; 0]);
    }
}
