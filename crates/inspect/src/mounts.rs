//! Objects in the mounts of tracetui's mount namespace: programs and links pinned in every bpffs, and named network
//! namespaces. Mounts of other mount namespaces are not searched.

use super::processes::add_namespace;
use super::sys;
use super::unread_objects::Unlooked;
use foldhash::HashMap;
use rustix::fs::{Dir, FileType, OFlags};
use std::collections::VecDeque;
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use tracetui_events::bpf::{Holder, Object, PINS};
use tracetui_events::frame::host::BpfHolder;
use tracetui_events::limits;
use tracetui_host::confine::{Role, Spawner};
use tracetui_host::mounts::Mounts;
use tracetui_host::open_below;
use tracetui_host::procfs::namespace_number;
use tracetui_shared::id::{LinkId, NsInum, ProgId};

/// The named network namespaces that are not among `known`.
pub(super) fn add_namespaces(mounts: &Mounts, known: &mut HashMap<NsInum, File>, unlooked: &mut Unlooked) {
    for mount in mounts.of_type(b"nsfs") {
        if let Some(inum) = namespace_number(&mount.root, "net")
            && known.len() < limits::BPF_NAMESPACES
            && !known.contains_key(&inum)
            && let Some(Some(found)) = unlooked.note("other network namespaces", mounts.open(mount))
            && let Ok(file) = File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))
        {
            add_namespace(known, file);
        }
    }
}

/// The programs and links in every bpffs. A file system that is mounted twice is searched once.
pub(super) fn pins(mounts: &Mounts, unlooked: &mut Unlooked) -> Vec<Holder> {
    let mut found = Vec::new();
    let mut looked: Vec<(&[u8], &[u8])> = Vec::new();
    for mount in mounts.of_type(b"bpf") {
        if looked.contains(&(&mount.device, &mount.root)) {
            continue;
        }
        if let Some(Some(top)) = unlooked.note(PINS, mounts.open(mount)) {
            looked.push((&mount.device, &mount.root));
            pins_below(&top, &mount.point, &mut found, unlooked);
        }
    }
    found
}

/// Starts the thread that searches for pins with root's ids for files, because bpffs belongs to root. Call this before giving up
/// root's ids.
pub fn start_pins() -> io::Result<Spawner> {
    Spawner::start("pins", Role::Inspector)
}

pub(super) fn pins_of(thread: &Spawner, mounts: Mounts, unlooked: &mut Unlooked) -> Vec<Holder> {
    let search = move || {
        let mut unlooked = Unlooked::default();
        Ok((pins(&mounts, &mut unlooked), unlooked))
    };
    let Some((found, more)) = unlooked.note(PINS, thread.ask("pins", search)) else { return Vec::new() };
    for unseen in more.unseen {
        unlooked.add(unseen.what, unseen.why, unseen.remedy);
    }
    unlooked.vanished += more.vanished;
    found
}

/// Finds all pins below the root of a bpffs. Mounts in it are not entered.
fn pins_below(top: &OwnedFd, point: &Path, found: &mut Vec<Holder>, unlooked: &mut Unlooked) {
    let mut left = limits::BPF_HOLDERS;
    let mut waiting = VecDeque::from([PathBuf::new()]);
    while let Some(dir) = waiting.pop_front() {
        let opened = match open_below(top, &dir, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(error) if error.raw_os_error() == Some(libc::EXDEV) => continue,
            opened => opened.and_then(|dir| Ok(Dir::new(dir)?)),
        };
        let Some(entries) = unlooked.note(PINS, opened) else { continue };
        for entry in entries.flatten() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if left == 0 {
                return unlooked.cut(PINS, limits::BPF_HOLDERS);
            }
            left -= 1;
            match entry.file_type() {
                FileType::Directory => waiting.push_back(dir.join(name)),
                FileType::RegularFile => found.extend(pin(top, &dir.join(name), point)),
                _ => {}
            }
        }
    }
}

/// The program or link that a file refers to. `None` for maps, and for removed objects.
fn pin(top: &OwnedFd, path: &Path, point: &Path) -> Option<Holder> {
    let file = open_below(top, path, OFlags::PATH).ok()?;
    let object = sys::open_pin(&CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?).ok()?;
    let target = fs::read_link(format!("/proc/self/fd/{}", object.as_raw_fd())).ok()?;
    let id = || sys::info(object.as_fd()).ok().map(|info| info.u32(4));
    let object = match target.as_os_str().as_bytes().strip_prefix(b"anon_inode:")? {
        b"bpf-prog" => Object::Program(ProgId(id()?)),
        b"bpf_link" | b"bpf-link" => Object::Link(LinkId(id()?)),
        _ => return None,
    };
    Some(Holder { object, by: BpfHolder::pin(point.join(path).into_os_string().into_vec()) })
}
