//! The programs of cgroups, by BPF_PROG_QUERY. Also looks up names: of cgroups, of the subsystems of tracepoints, and of the
//! files of uprobes.

use super::links::cgroup_path;
use super::sys;
use super::unread_objects::Unlooked;
use foldhash::HashMap;
use rustix::fs::{Mode, OFlags, open};
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use tracetui_events::bpf::{HeldBy, Holder, Hook, Object, Via};
use tracetui_events::frame::host::BpfAttachment;
use tracetui_host::cgroup::{CgroupResolver, NoHierarchy};
use tracetui_host::mounts::found_below;
use tracetui_shared::id::{CgroupId, ProgId};

/// The attach types of cgroups: `BPF_CGROUP_*` and BPF_LSM_CGROUP
/// ([include/uapi/linux/bpf.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/bpf.h)).
const OF_CGROUPS: [u32; 29] =
    [0, 1, 2, 3, 6, 8, 9, 10, 11, 12, 13, 14, 15, 18, 19, 20, 21, 22, 29, 30, 31, 32, 34, 43, 49, 50, 51, 52, 53];

const ALLOW_OVERRIDE: u32 = 1;
const ALLOW_MULTI: u32 = 2;

/// The cgroups of the v2 hierarchy.
pub(super) struct Cgroups {
    resolver: Option<CgroupResolver>,
    pub(super) paths: HashMap<u64, Vec<u8>>,
}

impl Cgroups {
    pub(super) fn read(unlooked: &mut Unlooked) -> Cgroups {
        let resolver = match CgroupResolver::new() {
            Ok(resolver) => Some(resolver),
            // Without the hierarchy, no cgroup has programs.
            Err(NoHierarchy::NotMounted) => None,
            Err(error) => {
                unlooked.add("cgroups", error.to_string(), "");
                None
            }
        };
        let (cgroups, all) = resolver.as_ref().map_or_else(|| (Vec::new(), true), CgroupResolver::tree);
        if !all {
            unlooked.cut("cgroups", cgroups.len());
        }
        Cgroups { resolver, paths: cgroups.into_iter().map(|cgroup| (cgroup.id.0, cgroup.path)).collect() }
    }

    /// The programs attached to each cgroup, with or without links. Inherited programs are not repeated.
    pub(super) fn attached(&self, unlooked: &mut Unlooked) -> Vec<BpfAttachment> {
        let mut found = Vec::new();
        let Some(resolver) = &self.resolver else { return found };
        let mut types = OF_CGROUPS.to_vec();
        let mut paths: Vec<_> = self.paths.iter().collect();
        paths.sort_unstable();
        for (id, path) in paths {
            // The cgroup was removed meanwhile.
            let Some(dir) = resolver.open_dir(path) else { continue };
            let fd = dir.as_raw_fd().cast_unsigned();
            types.retain(|attach_type| match sys::query(fd, *attach_type) {
                Ok(programs) => {
                    let target = cgroup_path(&self.paths, *id);
                    found.extend(programs.into_iter().map(|queried| BpfAttachment {
                        cgroup: CgroupId(*id),
                        ..attached(queried, *attach_type, &target)
                    }));
                    true
                }
                // This kernel does not have the type, so it is not queried again.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => false,
                // The cgroup was removed meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                Err(error) => {
                    unlooked.note::<()>("programs of cgroups", Err(error));
                    true
                }
            });
        }
        found
    }
}

pub(super) fn attached(queried: sys::Queried, attach_type: u32, target: &[u8]) -> BpfAttachment {
    let flags: &[u8] = match queried.flags {
        flags if flags & ALLOW_MULTI != 0 => b"multi",
        flags if flags & ALLOW_OVERRIDE != 0 => b"override",
        _ => b"",
    };
    BpfAttachment {
        program: ProgId(queried.program),
        via: Via::ProgAttach,
        hook: Hook::Type(attach_type),
        target: target.to_vec(),
        flags: flags.to_vec(),
        ..BpfAttachment::default()
    }
}

/// Completes the names of tracepoints. The kernel gives the event, and tracefs its subsystem. A name is unchanged
/// without tracefs, or if several subsystems have the event.
pub(super) fn name_tracepoints(links: &mut [BpfAttachment], rest: &mut [BpfAttachment]) {
    let mut events = None;
    for facts in links.iter_mut().chain(rest).filter(|facts| facts.hook == Hook::Tracepoint) {
        let is_call = facts.target.starts_with(b"sys_enter_") || facts.target.starts_with(b"sys_exit_");
        let subsystem = match is_call {
            true => Some(b"syscalls".to_vec()),
            false => events.get_or_insert_with(subsystems).get(&facts.target).cloned().flatten(),
        };
        if let Some(subsystem) = subsystem {
            facts.target = [&subsystem, &b":"[..], &facts.target].concat();
        }
    }
}

/// Replaces the paths of uprobes' files by paths without symbolic links, which the kernel itself reports for links to
/// several places (`d_path`). For other uprobes, it reports the path as it was passed, so the path is looked up again.
/// A holder with other mounts may mean another file by it. `may_wait`: whether all mounts are sure to answer.
pub(super) fn name_files(links: &mut [BpfAttachment], rest: &mut [BpfAttachment], holders: &[Holder], may_wait: bool) {
    let in_file = |facts: &&mut BpfAttachment| matches!(facts.hook, Hook::Uprobe | Hook::Uretprobe);
    for facts in links.iter_mut().chain(rest).filter(in_file).filter(|facts| facts.multi.is_none()) {
        let object = facts.linked().map_or(Object::Program(facts.program), Object::Link);
        let has_mounts = |holder: &&Holder| matches!(holder.by.by, HeldBy::Process | HeldBy::Perf);
        let holder = holders.iter().filter(|holder| holder.object == object).find(has_mounts);
        let holder = holder.map(|holder| holder.by.pid);
        let Some(passed) = str::from_utf8(&facts.target).ok().filter(|path| path.starts_with('/')) else { continue };
        let find = |root: &str, may_wait| {
            let root = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
            found_below(&root, passed, may_wait)
        };
        let Some((file, identity)) = find("/", may_wait) else { continue };
        let is_same = holder.is_none_or(|pid| {
            let mounts = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
            let may_wait = may_wait && mounts(&pid.0.to_string()) == mounts("self");
            find(&format!("/proc/{}/root", pid.0), may_wait).is_some_and(|(_, other)| other == identity)
        });
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok().filter(|_| is_same);
        if let Some(path) = path {
            facts.target = path.into_os_string().into_vec();
        }
    }
}

fn subsystems() -> HashMap<Vec<u8>, Option<Vec<u8>>> {
    let mut found: HashMap<Vec<u8>, Option<Vec<u8>>> = HashMap::default();
    let roots = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];
    let Some(root) = roots.into_iter().find_map(|root| fs::read_dir(root).ok()) else { return found };
    for subsystem in root.flatten() {
        let name = subsystem.file_name().as_bytes().to_vec();
        let Ok(events) = fs::read_dir(subsystem.path()) else { continue };
        for event in events.flatten().filter(|event| event.file_type().is_ok_and(|kind| kind.is_dir())) {
            let event = event.file_name().as_bytes().to_vec();
            found.entry(event).and_modify(|first| *first = None).or_insert_with(|| Some(name.clone()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracetui_events::event::names::attach_type;

    #[test]
    fn every_attach_type_of_cgroups_is_asked_for() {
        let named = (0..64).filter(|n| attach_type(*n).is_some_and(|name| name.contains("cgroup")));
        assert_eq!(named.collect::<Vec<_>>(), OF_CGROUPS);
    }
}
