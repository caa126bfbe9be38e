//! The reading commands of bpf(2). The structures have fixed layouts in
//! [include/uapi/linux/bpf.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/bpf.h). Newer kernels
//! append to them. Offsets in them are written where they are used.

use std::cmp::Ordering;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use tracetui_events::bpf::{Hook, Via};
use tracetui_events::frame::host::BpfAttachment;
use tracetui_host::bpf as host;
pub(super) use tracetui_host::bpf::{Bytes, info, info_into};
use tracetui_shared::header::until_nul;
use tracetui_shared::id::{KernelAddr, ProgId};

#[derive(Clone, Copy, Debug)]
#[repr(i32)]
enum Command {
    MapLookup = 1,
    MapNextKey = 4,
    ObjGet = 7,
    ProgNextId = 11,
    MapNextId = 12,
    ProgFdById = 13,
    MapFdById = 14,
    ProgQuery = 16,
    BtfFdById = 19,
    TaskFdQuery = 20,
    BtfNextId = 23,
    LinkFdById = 30,
    LinkNextId = 31,
    EnableStats = 32,
}

/// The flag for a descriptor with which elements of a map can only be read.
const BPF_F_RDONLY: u32 = 1 << 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObjectKind {
    Program,
    Map,
    Link,
    Btf,
}

impl ObjectKind {
    fn commands(self) -> (Command, Command) {
        match self {
            ObjectKind::Program => (Command::ProgNextId, Command::ProgFdById),
            ObjectKind::Map => (Command::MapNextId, Command::MapFdById),
            ObjectKind::Link => (Command::LinkNextId, Command::LinkFdById),
            ObjectKind::Btf => (Command::BtfNextId, Command::BtfFdById),
        }
    }
}

/// # Safety
/// Addresses in `attr` must be those of live memory that the command may write to the lengths in `attr`.
unsafe fn bpf(command: Command, attr: &mut Bytes) -> io::Result<()> {
    // SAFETY: the caller guarantees what is in `attr`.
    unsafe { host::bpf(command as i32, attr) }.map(drop)
}

/// bpf(2) with a command that returns a descriptor, and takes no address.
fn open_by(command: Command, attr: &mut Bytes) -> io::Result<OwnedFd> {
    // SAFETY: no caller puts an address into `attr`.
    unsafe { host::bpf_fd(command as i32, attr) }
}

pub(super) fn next_id(kind: ObjectKind, id: u32) -> io::Result<Option<u32>> {
    let mut attr = Bytes::zeroed().with32(0, id);
    // SAFETY: `attr` has no address.
    let next = gone(unsafe { bpf(kind.commands().0, &mut attr) })?;
    Ok(next.map(|()| attr.u32(4)))
}

/// All ids of a kind, ascending, at most `most`. Also whether these are all.
pub(super) fn ids(kind: ObjectKind, most: usize) -> io::Result<(Vec<u32>, bool)> {
    let mut ids = Vec::new();
    let mut last = 0;
    while let Some(id) = next_id(kind, last)? {
        // Ids that do not ascend would never end.
        if id <= last || ids.len() >= most {
            return Ok((ids, false));
        }
        ids.push(id);
        last = id;
    }
    Ok((ids, true))
}

/// A descriptor of an object; `None` if it no longer exists.
pub(super) fn open(kind: ObjectKind, id: u32) -> io::Result<Option<OwnedFd>> {
    // All threads share the descriptors, and some may change the elements of maps.
    let flags = if kind == ObjectKind::Map { BPF_F_RDONLY } else { 0 };
    gone(open_by(kind.commands().1, &mut Bytes::zeroed().with32(0, id).with32(8, flags)))
}

/// Reads the value of a key. The kernel writes as many bytes as the values of the map have.
///
/// Fails if the map has no such key, or values of another size.
pub(super) fn lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    let described = info(map)?;
    if [described.u32(8) as usize, described.u32(12) as usize] != [key.len(), value.len()] {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut attr = Bytes::zeroed().with32(0, map.as_raw_fd().cast_unsigned()).with64(8, key.as_ptr() as u64);
    attr.set64(16, value.as_mut_ptr() as u64);
    // SAFETY: both are live, `value` is writable, and they have the sizes of the map, which never change.
    unsafe { bpf(Command::MapLookup, &mut attr) }
}

/// The key of 4 bytes after this one, or the first; `None` after the last.
pub(super) fn next_key(map: BorrowedFd<'_>, key: Option<u32>) -> Option<u32> {
    if info(map).ok()?.u32(8) != 4 {
        return None;
    }
    let mut next = 0u32;
    let mut attr = Bytes::zeroed().with32(0, map.as_raw_fd().cast_unsigned());
    attr.set64(8, key.as_ref().map_or(0, |key| std::ptr::from_ref(key) as u64));
    attr.set64(16, std::ptr::from_mut(&mut next) as u64);
    // SAFETY: both keys are live, the second is writable, and they have the size of the map's keys.
    unsafe { bpf(Command::MapNextKey, &mut attr) }.ok().map(|()| next)
}

/// The information, with a variable part of bytes. `at`: the offsets of its address and of its length.
pub(super) fn info_with(fd: BorrowedFd<'_>, at: [usize; 2], part: &mut [u8]) -> io::Result<Bytes> {
    let mut info = Bytes::zeroed();
    info.set64(at[0], part.as_mut_ptr() as u64);
    info.set32(at[1], part.len() as u32);
    // SAFETY: `part` is live and writable, and has the length that `info` says.
    unsafe { info_into(fd, &mut info) }.map(|()| info)
}

/// Turns the error for an object that no longer exists into `None`.
fn gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EAGAIN)) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn open_pin(path: &CString) -> io::Result<OwnedFd> {
    let mut attr = Bytes::zeroed().with64(0, path.as_ptr() as u64);
    // SAFETY: the path is a C string that outlives the call.
    unsafe { host::bpf_fd(Command::ObjGet as i32, &mut attr) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queried {
    pub(super) program: u32,
    /// The link. 0 if there is none, or the kernel does not report it.
    pub(super) link: u32,
    pub(super) flags: u32,
}

/// The maximum number of programs read from one attach point: BPF_CGROUP_MAX_PROGS and BPF_MPROG_MAX are 64.
const PROGRAMS_AT_ONE: usize = 64;

/// The programs of an attach type at a target: a cgroup, a map, a network namespace (descriptors) or an interface (its
/// index).
pub(super) fn query(target: u32, attach_type: u32) -> io::Result<Vec<Queried>> {
    let mut programs = [0u32; PROGRAMS_AT_ONE];
    let mut links = [0u32; PROGRAMS_AT_ONE];
    let mut attr = Bytes::zeroed().with32(0, target).with32(4, attach_type);
    attr.set64(16, programs.as_mut_ptr() as u64);
    attr.set32(24, PROGRAMS_AT_ONE as u32);
    // Kernels before 6.6 know no links in this query and refuse them. Only tcx and netkit, which came with links, have
    // any.
    let has_links = matches!(attach_type, TCX_INGRESS | TCX_EGRESS | NETKIT_PRIMARY | NETKIT_PEER);
    if has_links {
        attr.set64(40, links.as_mut_ptr() as u64);
    }
    // SAFETY: both arrays are live, writable, and have as many elements as `attr` says.
    unsafe { bpf(Command::ProgQuery, &mut attr) }?;
    let count = (attr.u32(24) as usize).min(PROGRAMS_AT_ONE);
    let flags = attr.u32(12);
    let found = programs.iter().zip(&links).take(count);
    Ok(found.map(|(program, link)| Queried { program: *program, link: *link, flags }).collect())
}

/// Of `enum bpf_attach_type`.
pub(super) const TCX_INGRESS: u32 = 46;
pub(super) const TCX_EGRESS: u32 = 47;
pub(super) const NETKIT_PRIMARY: u32 = 54;
pub(super) const NETKIT_PEER: u32 = 55;

/// The attachment at a perf event or raw tracepoint of another process, by its descriptor (BPF_TASK_FD_QUERY).
/// ENOENT: no program. EOPNOTSUPP: a program of the type perf_event, which the kernel does not name.
pub(super) fn task_fd(pid: u32, fd: u32) -> io::Result<BpfAttachment> {
    let mut name = [0u8; libc::PATH_MAX as usize];
    let mut attr = Bytes::zeroed().with32(0, pid).with32(4, fd).with32(12, name.len() as u32);
    attr.set64(16, name.as_mut_ptr() as u64);
    // SAFETY: `name` is live, writable, and has as many bytes as `attr` says.
    match unsafe { bpf(Command::TaskFdQuery, &mut attr) } {
        // The name was longer and is cut. Everything else is set.
        Err(error) if error.raw_os_error() != Some(libc::ENOSPC) => return Err(error),
        _ => {}
    }
    // `BPF_FD_TYPE_*`.
    let hook = match attr.u32(28) {
        0 => Hook::RawTracepoint,
        1 => Hook::Tracepoint,
        2 => Hook::Kprobe,
        3 => Hook::Kretprobe,
        4 => Hook::Uprobe,
        5 => Hook::Uretprobe,
        _ => Hook::Unknown,
    };
    let in_kernel = matches!(hook, Hook::Kprobe | Hook::Kretprobe);
    let in_file = matches!(hook, Hook::Uprobe | Hook::Uretprobe);
    // The tracepoint, function or file.
    let target = until_nul(&name).to_vec();
    Ok(BpfAttachment {
        program: ProgId(attr.u32(24)),
        via: Via::Ioctl,
        hook,
        symbol: if in_kernel { target.clone() } else { Vec::new() },
        target,
        offset: (in_kernel || in_file).then_some(attr.u64(32)),
        addr: KernelAddr(if in_kernel { attr.u64(40) } else { 0 }),
        ..BpfAttachment::default()
    })
}

/// Compares the descriptor tables of two threads, in the kernel's order.
/// Fails if one of them ended or may not be read, or the kernel has no CONFIG_KCMP.
pub(super) fn compare_files(one: u32, other: u32) -> io::Result<Ordering> {
    /// `KCMP_FILES`.
    const FILES: i32 = 2;
    // SAFETY: kcmp(2) takes integers.
    match unsafe { libc::syscall(libc::SYS_kcmp, one, other, FILES, 0, 0) } {
        0 => Ok(Ordering::Equal),
        1 => Ok(Ordering::Less),
        2 => Ok(Ordering::Greater),
        _ => Err(io::Error::last_os_error()),
    }
}

pub(super) fn enable_stats() -> io::Result<OwnedFd> {
    open_by(Command::EnableStats, &mut Bytes::zeroed())
}
