//! The capture filter's maps: written so that nothing that both the old filter and the new one want is missed in between.
//!
//! **Trees.** A process is let through when its number is a key of `CAPTURE_TREE`. The fork probe lets a child in when its
//! parent is in, the exit probe takes it out once its exit was judged, so orphans stay. What is left to do here is to find
//! those that descend from a root already when the filter is set, while they fork and end: from the moment on that the
//! roots are in the map, new processes are noted with their parents (`CAPTURE_KIN`), *before* the fork probe looks whether
//! the parent is in. So whoever is not let in by the probe is found in the notes or in one scan of /proc, and after a look
//! at the notes that lets nobody in, nobody is missing ([`Family::look`]). Not found is who lost its parent before the filter was set: /proc tells no more than init.

use super::{CaptureError, CaptureFilter, Plain, load};
use crate::frame::host::Cgroup;
use crate::source::CgroupTest;
use crate::source::host::procfs;
use crate::source::live::StartError;
use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError};
use rustc_hash::FxHashMap;
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
        let mut family = Family::new(&self.roots);
        let scanned = procfs::parents().unwrap_or_default();
        let scanned: Vec<(u32, u32)> = scanned.into_iter().map(|(child, parent)| (child.0, parent.0)).collect();
        for look in 1..=LOOKS {
            // Before the notes are read: whoever is in by then was noted before.
            let inside = keys(&self.tree);
            let notes = self.kin.iter().filter_map(Result::ok);
            let to_admit = family.look(look, scanned.iter().copied().chain(notes));
            if to_admit.is_empty() || look == LOOKS {
                let strangers = inside.iter().filter(|tgid| !family.has(**tgid));
                remove(&mut self.tree, strangers)?;
                break;
            }
            for tgid in to_admit {
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

/// Looks at the notes, each well below a millisecond, before it is enough. Only a line of descent that goes on by a
/// generation between any two looks needs more than a few.
const LOOKS: i32 = 100;

/// The descendants of some roots, as they are found look by look.
struct Family {
    /// By number: the look at which it was let in.
    found: FxHashMap<u32, i32>,
}

impl Family {
    /// Let in by the fork probe, and so are all its children.
    const INHERITED: i32 = i32::MIN / 2;

    fn new(roots: &[u32]) -> Family {
        Family { found: roots.iter().map(|root| (*root, 0)).collect() }
    }

    fn has(&self, tgid: u32) -> bool {
        self.found.contains_key(&tgid)
    }

    /// Takes everybody's parents, of which those of the processes that were born since the roots were let in are complete.
    /// Gives whom the probe may not have let in: those whose parent was let in after the look before the last, since a
    /// child that nobody had noted at a look after that was born later still.
    fn look(&mut self, look: i32, parents: impl Iterator<Item = (u32, u32)>) -> Vec<u32> {
        let mut children: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
        for (child, parent) in parents.filter(|(child, _)| !self.has(*child)) {
            children.entry(parent).or_default().push(child);
        }
        let mut admit = Vec::new();
        let mut waiting: Vec<u32> = self.found.keys().copied().collect();
        while let Some(parent) = waiting.pop() {
            let since = self.found.get(&parent).copied().unwrap_or(look);
            for child in children.remove(&parent).unwrap_or_default() {
                if self.has(child) {
                    continue;
                }
                let inherited = look >= since.saturating_add(2);
                self.found.insert(child, if inherited { Family::INHERITED } else { look });
                admit.extend((!inherited).then_some(child));
                waiting.push(child);
            }
        }
        admit
    }
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

    fn sorted(mut found: Vec<u32>) -> Vec<u32> {
        found.sort_unstable();
        found
    }

    #[test]
    fn descendants_are_found_whatever_the_order() {
        let parents = [(2, 1), (4, 3), (3, 2), (5, 1), (6, 99), (7, 7), (9, 8), (8, 9)];
        let of = |roots: &[u32]| sorted(Family::new(roots).look(1, parents.into_iter()));
        assert_eq!(of(&[1]), [2, 3, 4, 5]);
        assert_eq!(of(&[3]), [4]);
        assert_eq!(of(&[2, 3]), [4], "a root is none");
        assert_eq!(of(&[7, 8]), [9], "a circle ends");
        assert_eq!(of(&[42]), [0; 0]);
    }

    #[test]
    fn a_storm_of_forks_comes_to_an_end() {
        // Every look finds a new child of 2, and a child of each of those.
        let mut family = Family::new(&[1]);
        let mut parents = vec![(2, 1)];
        let mut admitted = Vec::new();
        for look in 1..=6 {
            admitted.push(sorted(family.look(look, parents.iter().copied())));
            let next = 10 * look.unsigned_abs();
            parents.extend([(next, 2), (next + 1, next)]);
        }
        assert_eq!(admitted, [vec![2], vec![10, 11], vec![], vec![], vec![], vec![]]);
        assert!(family.has(51), "let in by the probe");
    }
}
