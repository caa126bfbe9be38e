//! The capture filter's maps: written so that nothing that both the old filter and the new one want is missed in between.
//!
//! **Trees.** A process is let through when its number is a key of `CAPTURE_TREE`. The fork probe lets a child in when its
//! parent is in, by the same root; the exit probe takes it out once its exit was judged. So orphans stay, also when other
//! roots are named or dropped later. What is left to do here is to find
//! those that descend from a root already when the filter is set, while they fork and end: from the moment on that the
//! roots are in the map, new processes are noted with their parents (`CAPTURE_KIN`), *before* the fork probe looks whether
//! the parent is in. So whoever is not let in by the probe is found in the notes or in one scan of /proc, and after a look
//! at the notes that lets nobody in, nobody is missing ([`Family::look`]). Not found is who lost its parent before the filter was set: /proc tells no more than init.

use super::{CaptureError, CaptureFilter, Plain, load};
use crate::frame::host::Cgroup;
use crate::limits;
use crate::source::host::procfs;
use crate::source::live::StartError;
use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError};
use rustc_hash::FxHashMap;
use tracetui_shared::capture::{Capture, test};
use tracetui_shared::id::CgroupId;

/// Cgroups that are always let through to user space: those of which the number alone does not tell the path. 0 is not
/// known, and who is in the root of the v2 hierarchy goes by the name of another one.
const UNTOLD: [u64; 2] = [0, 1];

/// Elements of the map of cgroups: there are as many paths, so that no cgroup that is known by its path lacks room.
pub(super) const CGROUPS: u32 = limits::CGROUPS as u32 + UNTOLD.len() as u32;

/// The maps, and what stands in them.
pub(super) struct CaptureMaps {
    capture: Array<MapData, Plain<Capture>>,
    pids: HashMap<MapData, u32, u8>,
    uids: HashMap<MapData, u32, u8>,
    /// Who is in, by which root.
    tree: HashMap<MapData, u32, u32>,
    kin: HashMap<MapData, u32, u32>,
    cgroups: HashMap<MapData, u64, u8>,
    /// What is in force, or about to be.
    filter: CaptureFilter,
    tree_full: u64,
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
            filter: CaptureFilter::NOTHING,
            tree_full: 0,
        })
    }

    /// Begins to put a filter in force: whoever it lets through is let in, and nobody taken out. Of trees only the roots are
    /// in until [`finish`](Self::finish), and until then the old filter judges, unless it let nothing through.
    pub(super) fn begin(&mut self, filter: &CaptureFilter) -> Result<(), CaptureError> {
        for pid in &filter.pids {
            self.pids.insert(pid, 1, 0)?;
        }
        for uid in &filter.uids {
            self.uids.insert(uid, 1, 0)?;
        }
        for root in &filter.trees {
            self.tree.insert(root, root, 0)?;
        }
        for id in UNTOLD {
            self.cgroups.insert(id, 1, 0)?;
        }
        let Plain(mut judge) = self.capture.get(&0, 0)?;
        if judge.kinds == 0 {
            judge = filter.capture;
        }
        let (old, new) = (&self.filter.trees, &filter.trees);
        if old.iter().any(|root| !new.contains(root)) || new.iter().any(|root| !old.contains(root)) {
            judge.tests |= test::KIN;
        }
        self.filter = filter.clone();
        Ok(self.capture.set(0, Plain(judge), 0)?)
    }

    /// Lets in who descends from the roots already, lets the new filter judge, and takes out whom it does not let through.
    pub(super) fn finish(&mut self) -> Result<(), CaptureError> {
        let Plain(judge) = self.capture.get(&0, 0)?;
        let mut family = Family::new(&self.filter.trees);
        if judge.tests & test::KIN != 0 {
            self.grow(&mut family)?;
        }
        self.capture.set(0, Plain(self.filter.capture), 0)?;
        self.expel(&family)?;
        let (noted, pids, uids) = (keys(&self.kin), keys(&self.pids), keys(&self.uids));
        remove(&mut self.kin, noted.iter())?;
        remove(&mut self.pids, pids.iter().filter(|pid| !self.filter.pids.contains(pid)))?;
        Ok(remove(&mut self.uids, uids.iter().filter(|uid| !self.filter.uids.contains(uid)))?)
    }

    /// Finds the descendants of the roots, and lets them in.
    fn grow(&mut self, family: &mut Family) -> Result<(), CaptureError> {
        let scanned = procfs::parents().unwrap_or_default();
        let scanned: Vec<(u32, u32)> = scanned.into_iter().map(|(child, parent)| (child.0, parent.0)).collect();
        for look in 1..LOOKS {
            let notes = self.kin.iter().filter_map(Result::ok);
            let to_admit = family.look(look, scanned.iter().copied().chain(notes));
            if to_admit.is_empty() {
                break;
            }
            for tgid in to_admit {
                self.admit(tgid, family.root_of(tgid))?;
            }
        }
        Ok(())
    }

    /// Lets a process in, if it has not ended: the exit probe takes out only who is in. Who is in by a root that the
    /// filter names, by its fork for one, stays so.
    fn admit(&mut self, tgid: u32, root: Option<u32>) -> Result<(), CaptureError> {
        let inside = self.tree.get(&tgid, 0).is_ok_and(|root| self.filter.trees.contains(&root));
        let Some(root) = root.filter(|_| !inside) else { return Ok(()) };
        match self.tree.insert(tgid, root, 0) {
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::E2BIG) => {
                self.tree_full += 1;
                return Ok(());
            }
            inserted => inserted?,
        }
        if !procfs::lives(tgid) {
            remove(&mut self.tree, [tgid].iter())?;
        }
        Ok(())
    }

    /// Takes out who is in by a root that the filter no longer names, unless it, or that root, descends from one that the
    /// filter does name. Again for those whom somebody begot before it was taken out.
    fn expel(&mut self, family: &Family) -> Result<(), CaptureError> {
        for _ in 0..LOOKS {
            let inside = self.tree.iter().filter_map(Result::ok);
            let strangers: Vec<(u32, u32)> = inside.filter(|(_, root)| !self.filter.trees.contains(root)).collect();
            if strangers.is_empty() {
                break;
            }
            for (tgid, root) in strangers {
                match family.root_of(tgid).or_else(|| family.root_of(root)) {
                    Some(root) => self.admit(tgid, Some(root))?,
                    None => remove(&mut self.tree, [tgid].iter())?,
                }
            }
        }
        Ok(())
    }

    /// How many processes the tree had no room for when they were let in from here.
    pub(super) fn tree_full(&self) -> u64 {
        self.tree_full
    }

    /// Whether events depend on the paths of cgroups.
    pub(super) fn asks_for_cgroups(&self) -> bool {
        !self.filter.cgroups.is_empty()
    }

    /// Lets the cgroup through if the filter wants it.
    pub(super) fn name_cgroup(&mut self, cgroup: &Cgroup) -> Result<(), CaptureError> {
        if self.filter.cgroups.iter().any(|test| test.holds(&cgroup.path)) {
            self.cgroups.insert(cgroup.id.0, 1, 0)?;
        }
        Ok(())
    }

    /// Lets a cgroup through no more, until it is named again.
    pub(super) fn forget_cgroup(&mut self, id: CgroupId) -> Result<(), CaptureError> {
        let told = (!UNTOLD.contains(&id.0)).then_some(&id.0);
        Ok(remove(&mut self.cgroups, told.into_iter())?)
    }

    /// These are all cgroups that there are: lets through those that the filter wants, and no others.
    pub(super) fn name_all_cgroups(&mut self, all: &[Cgroup]) -> Result<(), CaptureError> {
        let old = keys(&self.cgroups);
        for cgroup in all {
            self.name_cgroup(cgroup)?;
        }
        let wanted = |id: &u64| {
            let path = all.iter().find(|cgroup| cgroup.id.0 == *id).map(|cgroup| &cgroup.path);
            path.is_some_and(|path| self.filter.cgroups.iter().any(|test| test.holds(path)))
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
    found: FxHashMap<u32, Found>,
}

/// What is known of a descendant.
#[derive(Clone, Copy)]
struct Found {
    /// The look at which it was let in.
    look: i32,
    /// A root that it descends from, or is.
    root: u32,
}

impl Family {
    /// Let in by the fork probe, and so are all its children.
    const INHERITED: i32 = i32::MIN / 2;

    fn new(roots: &[u32]) -> Family {
        Family { found: roots.iter().map(|root| (*root, Found { look: 0, root: *root })).collect() }
    }

    fn root_of(&self, tgid: u32) -> Option<u32> {
        self.found.get(&tgid).map(|found| found.root)
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
        let mut waiting: Vec<(u32, Found)> = self.found.iter().map(|(tgid, found)| (*tgid, *found)).collect();
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
