//! Paths of cgroups: the tree of the v2 hierarchy at the start, and single lookups for cgroups created later.
//!
//! The id of a cgroup is `kernfs_node.id`, the inode number of its directory on a 64-bit kernel, and is never reused. A
//! file handle with this id opens the directory without a search (kernfs, 5.5+). This needs CAP_DAC_READ_SEARCH.
//! Without it, the tree is walked again, at most once a second. During a trace, only a separate thread has the
//! capability ([`CgroupResolver::open_aside`]).

use super::confine::{self, Role};
use super::mounts::{Mount, Mounts};
use super::open_below;
use foldhash::HashMap;
use rustix::fs::{Dir, DirEntry, FileType, OFlags};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tracetui_events::budget::Budget;
use tracetui_events::event::ROOT_CGROUP;
use tracetui_events::fifo::Fifo;
use tracetui_events::frame::host::Cgroup;
use tracetui_events::limits;
use tracetui_shared::id::CgroupId;

/// The maximum number of remembered ids of removed cgroups. The oldest id is evicted, and would be looked up again.
const VANISHED: usize = 8192;

/// The most names of opened paths in a reading of the tree, half a second of system calls: all cgroups at a depth of eight.
const NAMES: usize = 1 << 19;

/// The minimum time between two walks of the tree.
const WALK_EVERY: Duration = Duration::from_secs(1);

/// `FILEID_KERNFS`
/// ([include/linux/exportfs.h](https://elixir.bootlin.com/linux/v6.12/source/include/linux/exportfs.h)): the type of a
/// handle that contains a `kernfs_node.id`.
const FILEID_KERNFS: i32 = 0xfe;

#[derive(Debug, thiserror::Error)]
pub enum NoHierarchy {
    #[error("no cgroup v2 hierarchy is mounted")]
    NotMounted,
    #[error("cannot list mounts: {0}")]
    Mounts(io::Error),
    #[error("cannot open the cgroup v2 hierarchy at {}: {why}", .point.display())]
    Unreachable { point: PathBuf, why: io::Error },
}

#[derive(Debug)]
pub struct CgroupResolver {
    /// Its root is the prefix of the paths below it: the path of the cgroup there. Empty for the root of the hierarchy.
    mount: Mount,
    dir: File,
    /// Whether handles can be opened, until the kernel refuses one.
    by_handle: Access,
    walked: Option<Instant>,
    /// The maximum number of bytes of all paths of a walk.
    room: usize,
    /// The result of the last walk, if handles cannot be opened.
    found: HashMap<CgroupId, Vec<u8>>,
    /// The ids of removed cgroups, at most [`VANISHED`].
    vanished: Fifo<CgroupId, ()>,
}

#[derive(Debug)]
enum Access {
    Granted,
    /// By a thread that has the capability.
    Aside(SyncSender<CgroupId>, Receiver<io::Result<OwnedFd>>),
    Refused,
}

impl CgroupResolver {
    /// Finds the mount of the v2 hierarchy (/sys/fs/cgroup, /sys/fs/cgroup/unified, or another one). Prefers a mount
    /// that shows the hierarchy from its root.
    ///
    /// The paths of such a mount are those of the initial cgroup namespace, regardless of tracetui's namespace. Another
    /// mount (made in a cgroup namespace, or a bind mount) only gives the paths below its root, as in /proc/PID/cgroup
    /// read by tracetui.
    pub fn new() -> Result<CgroupResolver, NoHierarchy> {
        let mounts = Mounts::read().map_err(NoHierarchy::Mounts)?;
        let mut refused = NoHierarchy::NotMounted;
        let mut partial = None;
        for mount in mounts.of_type(b"cgroup2") {
            match CgroupResolver::at(mount.clone(), &mounts) {
                Ok(resolver) if resolver.mount.root.is_empty() => return Ok(resolver),
                Ok(resolver) => partial = partial.or(Some(resolver)),
                Err(error) => refused = error,
            }
        }
        partial.ok_or(refused)
    }

    fn at(mut mount: Mount, mounts: &Mounts) -> Result<CgroupResolver, NoHierarchy> {
        // Open without O_PATH, because open_by_handle_at(2) does not accept such a descriptor as a mount.
        let open = |top| open_below(top, Path::new(""), OFlags::RDONLY | OFlags::DIRECTORY).map(File::from);
        let covered = || io::Error::from_raw_os_error(libc::EXDEV);
        let opened = mounts.open(&mount).and_then(|top| open(top.ok_or_else(covered)?));
        let opened = opened.and_then(|dir| Ok((dir.metadata()?.ino(), dir)));
        let (id, dir) = opened.map_err(|why| NoHierarchy::Unreachable { point: mount.point.clone(), why })?;
        if id == ROOT_CGROUP.0 || mount.root == b"/" {
            mount.root.clear();
        }
        Ok(CgroupResolver {
            mount,
            dir,
            by_handle: Access::Granted,
            walked: None,
            room: Budget::default().share(limits::CGROUPS_SHARE),
            found: HashMap::default(),
            vanished: Fifo::default(),
        })
    }

    pub fn set_budget(&mut self, budget: Budget) {
        self.room = budget.share(limits::CGROUPS_SHARE);
    }

    /// Starts a thread that opens cgroups by handle from now on. The caller may then give up the capability.
    pub fn open_aside(&mut self) -> io::Result<()> {
        let (ask, asked) = sync_channel(1);
        let (answer, answers) = sync_channel(1);
        let mount = self.dir.try_clone()?;
        confine::start("cgroups", Role::Reader, move || {
            // An error means that the trace has ended and nobody takes the answer.
            asked.iter().all(|id| answer.send(open_by_id(&mount, id)).is_ok());
        })?;
        self.by_handle = Access::Aside(ask, answers);
        Ok(())
    }

    /// Every cgroup within the limit, from the root down, except those that cannot be listed.
    pub fn seed(&self) -> Vec<Cgroup> {
        self.tree().0
    }

    /// Every cgroup as in [`seed`](Self::seed), and whether all were within the limits ([`limits::CGROUPS`],
    /// [`limits::CGROUPS_SHARE`]). [`look_up`](Self::look_up) finds the others.
    pub fn tree(&self) -> (Vec<Cgroup>, bool) {
        self.tree_of(|parent| children(&self.dir, parent))
    }

    /// The tree with these children. Reads no more than fit, and stops where the paths of the directories that were opened have too many
    /// names together: each name of a path is a system call.
    fn tree_of<I: Iterator<Item = (CgroupId, Vec<u8>)>>(&self, children: impl Fn(&[u8]) -> I) -> (Vec<Cgroup>, bool) {
        let root = self.dir.metadata().map(|meta| CgroupId(meta.ino()));
        let mut found: Vec<_> =
            root.into_iter().map(|id| Cgroup { id, path: self.mount.path_of(b""), container: None }).collect();
        let mut waiting = VecDeque::from([Vec::new()]);
        let (mut bytes, mut names) = (0, 0);
        while let Some(parent) = waiting.pop_front() {
            names += parent.split(|byte| *byte == b'/').count();
            if names > NAMES {
                return (found, false);
            }
            for (id, path) in children(&parent) {
                let cgroup = Cgroup { id, path: self.mount.path_of(&path), container: None };
                bytes += cgroup.bytes();
                if found.len() >= limits::CGROUPS || bytes > self.room {
                    return (found, false);
                }
                found.push(cgroup);
                waiting.push_back(path);
            }
        }
        (found, true)
    }

    /// The directory of a cgroup of [`tree`](Self::tree); `None` if it is not below the mount, or was removed.
    pub fn open_dir(&self, path: &[u8]) -> Option<OwnedFd> {
        open_cgroup(&self.dir, path.strip_prefix(self.mount.root.as_slice())?).ok()
    }

    pub(super) fn top(&self) -> (&File, &[u8]) {
        (&self.dir, &self.mount.root)
    }

    /// Looks up the cgroup of an unknown id from an event. `None` if it was removed. Such ids are remembered, so that
    /// further events with them cost nothing.
    pub fn look_up(&mut self, id: CgroupId) -> Option<Cgroup> {
        if self.vanished.contains(&id) {
            return None;
        }
        let opened = match &self.by_handle {
            Access::Granted => Some(open_by_id(&self.dir, id)),
            Access::Aside(ask, answers) => ask.send(id).ok().and_then(|()| answers.recv().ok()),
            Access::Refused => None,
        };
        let path = match opened {
            Some(opened) => self.path_of(id, opened),
            None => self.walk(id),
        };
        if path.is_none() {
            self.vanished.insert(id, (), 0);
            self.vanished.evict(VANISHED, 0);
        }
        path.map(|path| Cgroup { id, path, container: None })
    }

    /// The path of a cgroup that was opened by handle. After the first refusal, a walk finds the cgroups.
    fn path_of(&mut self, id: CgroupId, opened: io::Result<OwnedFd>) -> Option<Vec<u8>> {
        match opened {
            Ok(cgroup) => {
                // The kernel writes no path above 4,096 bytes.
                let link = fs::read_link(format!("/proc/self/fd/{}", cgroup.as_raw_fd())).ok()?;
                // The link ends with " (deleted)" if the cgroup was removed after it was opened, or if a cgroup has
                // such a name.
                let named_so = || fs::symlink_metadata(&link).is_ok_and(|now| now.ino() == id.0);
                let path = link.as_os_str().as_bytes();
                self.mount.path_at(path.strip_suffix(b" (deleted)").filter(|_| !named_so()).unwrap_or(path))
            }
            // EOPNOTSUPP, EINVAL: kernfs has no handles (before 5.5), or none of this type.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EOPNOTSUPP | libc::EINVAL)) => {
                self.by_handle = Access::Refused;
                self.walk(id)
            }
            // ESTALE: the cgroup was removed.
            Err(_) => None,
        }
    }

    fn walk(&mut self, id: CgroupId) -> Option<Vec<u8>> {
        let stale = self.walked.is_none_or(|walked| walked.elapsed() >= WALK_EVERY);
        if stale && !self.found.contains_key(&id) {
            self.found = self.seed().into_iter().map(|cgroup| (cgroup.id, cgroup.path)).collect();
            self.walked = Some(Instant::now());
        }
        self.found.get(&id).cloned()
    }
}

/// The directory of a cgroup, by its path below the mount (`/a/b`, or empty).
pub(super) fn open_cgroup(mount: &File, below: &[u8]) -> io::Result<OwnedFd> {
    let below = below.strip_prefix(b"/").unwrap_or(below);
    open_below(mount, Path::new(OsStr::from_bytes(below)), OFlags::RDONLY | OFlags::DIRECTORY)
}

/// The children of a cgroup, with their paths below the mount. The inode numbers of the entries are the ids.
fn children(mount: &File, parent: &[u8]) -> impl Iterator<Item = (CgroupId, Vec<u8>)> + use<> {
    // An error means that the cgroup was removed, or may not be listed.
    let entries = open_cgroup(mount, parent).and_then(|dir| Ok(Dir::new(dir)?)).into_iter().flatten();
    let is_child = |entry: &DirEntry| {
        entry.file_type() == FileType::Directory && !matches!(entry.file_name().to_bytes(), b"." | b"..")
    };
    let entries = entries.filter_map(Result::ok).filter(is_child);
    let parent = parent.to_vec();
    entries.map(move |entry| (CgroupId(entry.ino()), [&parent, &b"/"[..], entry.file_name().to_bytes()].concat()))
}

impl Mount {
    /// The path of the cgroup at `below` in the mount (`/a/b`, or empty).
    fn path_of(&self, below: &[u8]) -> Vec<u8> {
        let path = [&self.root, below].concat();
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    /// The path of the cgroup with the directory `absolute`; `None` if it is not below the mount.
    pub fn path_at(&self, absolute: &[u8]) -> Option<Vec<u8>> {
        let point = self.point.as_os_str().as_bytes();
        let below = absolute.strip_prefix(point.strip_suffix(b"/").unwrap_or(point))?;
        matches!(below, b"" | [b'/', ..]).then(|| self.path_of(if below == b"/" { b"" } else { below }))
    }
}

/// `struct file_handle` with the eight bytes of a kernfs id.
#[repr(C)]
struct KernfsHandle {
    handle_bytes: u32,
    handle_type: i32,
    id: [u8; 8],
}

fn open_by_id(mount: &File, id: CgroupId) -> io::Result<OwnedFd> {
    let mut handle = KernfsHandle { handle_bytes: 8, handle_type: FILEID_KERNFS, id: id.0.to_ne_bytes() };
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: `handle` is live, has the layout of `struct file_handle`, and `handle_bytes` is the size of its id.
    let fd = unsafe { libc::syscall(libc::SYS_open_by_handle_at, mount.as_raw_fd(), &mut handle, flags) };
    match i32::try_from(fd) {
        // SAFETY: open_by_handle_at(2) returned this descriptor, and nothing else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foldhash::HashSet;

    #[test]
    fn a_directory_below_the_mount_has_a_path() {
        let mount = |point: &str, root: &str| {
            let line = format!("1 2 0:37 {root} {point} rw - cgroup2 cgroup2 rw");
            Mounts::parse(line.as_bytes()).0.remove(0)
        };
        let whole = mount("/sys/fs/cgroup", "");
        for (dir, path) in [
            ("/sys/fs/cgroup", Some("/")),
            ("/sys/fs/cgroup/a.slice/b", Some("/a.slice/b")),
            ("/sys/fs/cgroups/a", None),
            ("/", None),
        ] {
            assert_eq!(whole.path_at(dir.as_bytes()), path.map(|path| path.as_bytes().to_vec()), "{dir}");
        }
        assert_eq!(mount("/mnt", "/a/b").path_at(b"/mnt/c"), Some(b"/a/b/c".to_vec()));
        assert_eq!(mount("/mnt", "/a/b").path_at(b"/mnt"), Some(b"/a/b".to_vec()));
        assert_eq!(mount("/", "").path_at(b"/a"), Some(b"/a".to_vec()));
    }

    #[test]
    fn ids_asked_in_vain_are_remembered_up_to_a_bound() {
        let Some(mut resolver) = resolver() else { return };
        let never = |count: u64| CgroupId(u64::MAX - count);
        for count in 0..=VANISHED as u64 {
            assert_eq!(resolver.look_up(never(count)), None);
            assert!(resolver.vanished.contains(&never(count)), "{count} is asked once");
        }
        assert_eq!(resolver.look_up(never(5)), None);
        assert!(!resolver.vanished.contains(&never(0)) && resolver.vanished.contains(&never(1)));
    }

    /// `None`, with a message, if there is no v2 hierarchy.
    fn resolver() -> Option<CgroupResolver> {
        CgroupResolver::new().inspect_err(|why| crate::not_checked(&why.to_string())).ok()
    }

    #[test]
    fn the_tree_has_its_root_first_and_each_id_once() {
        let Some(resolver) = resolver() else { return };
        let tree = resolver.seed();
        let ids: HashSet<_> = tree.iter().map(|cgroup| cgroup.id).collect();
        assert_eq!(ids.len(), tree.len());
        assert_eq!(tree[0].path, resolver.mount.path_of(b""));
    }

    #[test]
    fn a_tree_without_room_is_cut_and_says_so() {
        let Some(mut resolver) = resolver() else { return };
        let Some(_made) = Made::new(&resolver, "tracetui test room") else { return };
        if !resolver.tree().1 {
            return crate::not_checked("another cgroup is too deep");
        }
        resolver.set_budget(Budget::new(1));
        let (found, whole) = resolver.tree();
        assert_eq!((found.len(), whole), (1, false), "the root, which is there before all others");
    }

    #[test]
    fn a_cgroup_with_endless_children_is_cut() {
        let Some(mut resolver) = resolver() else { return };
        let most = |resolver: &CgroupResolver, name: usize| {
            let names = move |parent: &[u8]| {
                (2..).map({
                    let path = [parent, b"/", &vec![b'a'; name]].concat();
                    move |id| (CgroupId(id), path.clone())
                })
            };
            resolver.tree_of(names)
        };
        resolver.set_budget(Budget::new(1 << 30));
        let (found, whole) = most(&resolver, 1);
        assert_eq!((found.len(), whole), (limits::CGROUPS, false));
        resolver.set_budget(Budget::new(64 << 20));
        // Each has one child.
        let chain = |parent: &[u8]| std::iter::once((CgroupId(2), [parent, b"/a"].concat()));
        let (found, whole) = resolver.tree_of(chain);
        assert!(!whole && (500..2000).contains(&found.len()), "{}", found.len());
        let (found, whole) = most(&resolver, 3900);
        assert!(!whole && found.iter().map(Cgroup::bytes).sum::<usize>() <= 2 << 20, "{}", found.len());
    }

    /// A cgroup for a test, removed on drop. `None`, with a message, if it cannot be created.
    struct Made(PathBuf);

    impl Made {
        fn new(resolver: &CgroupResolver, name: &str) -> Option<Made> {
            let path = resolver.mount.point.join(format!("{}-{name}", std::process::id()));
            let made = fs::create_dir(&path);
            made.inspect_err(|why| crate::not_checked(&format!("no cgroup: {why}"))).ok().map(|()| Made(path))
        }

        fn id(&self) -> CgroupId {
            CgroupId(fs::metadata(&self.0).expect("just made").ino())
        }
    }

    impl Drop for Made {
        fn drop(&mut self) {
            let _ = fs::remove_dir(&self.0);
        }
    }

    #[test]
    fn a_cgroup_made_later_is_found_until_it_is_gone() {
        let Some(mut resolver) = resolver() else { return };
        let name = "tracetui test (deleted)";
        for access in ["granted", "aside", "refused"] {
            let Some(made) = Made::new(&resolver, name) else { return };
            let id = made.id();
            let path = resolver.mount.path_at(made.0.as_os_str().as_bytes()).expect("below the mount");
            match access {
                "granted" => resolver.by_handle = Access::Granted,
                "aside" => resolver.open_aside().expect("a thread"),
                _ => resolver.by_handle = Access::Refused,
            }
            resolver.walked = None;
            assert_eq!(resolver.look_up(id), Some(Cgroup { id, path: path.clone(), container: None }), "{access}");
            assert!(resolver.seed().contains(&Cgroup { id, path, container: None }));
            drop(made);
            resolver.found.clear();
            assert_eq!(resolver.look_up(id), None, "{access:?}");
            assert!(resolver.vanished.contains(&id));
        }
    }
}
