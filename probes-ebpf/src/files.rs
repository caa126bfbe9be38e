//! Open files: from a descriptor to `struct file` (include/linux/fs.h) and its fields.

use crate::path::{Place, SCRATCH, Walk};
use crate::read::{any, casts, has, ld, load_at, offset, rd, rd_field, read_kernel, typed, typed_as, zero};
use tracetui_shared::offsets::{field, sum};
use tracetui_shared::record::identity::Identity;

/// Bytes of a file that are read at once if path and flags lie close enough together.
const FILE: usize = 64;
const _: () = assert!(FILE <= SCRATCH);

/// The fields of an open file that the probes read.
#[derive(Clone, Copy)]
pub struct FileView {
    /// `file->f_path`.
    pub path: Place,
    /// `file->f_flags`: the `O_*` flags.
    pub flags: u32,
}

/// Reads path and flags of the `struct file` at any address. One helper call suffices if they lie close together, as on
/// every known kernel.
#[inline(always)]
pub fn view_file(file: u64, w: &mut Walk) -> FileView {
    if casts() {
        let file = typed_as(file, field::FileFlags);
        return FileView {
            path: Place { mnt: typed(file, sum::FileMnt), dentry: typed(file, sum::FileDentry) },
            flags: typed(file, field::FileFlags),
        };
    }
    let (mnt, dentry) = (offset(sum::FileMnt), offset(sum::FileDentry));
    let (path, flags) = (offset(field::FilePath), offset(field::FileFlags));
    let low = if path < flags { path } else { flags };
    let bytes = w.scratch();
    if mnt - low <= FILE as u64 - 8 && dentry - low <= FILE as u64 - 8 && flags - low <= FILE as u64 - 4 {
        read_kernel(bytes, FILE as u64, file.wrapping_add(low));
        let place = Place { mnt: load_at(bytes as u64, mnt - low), dentry: load_at(bytes as u64, dentry - low) };
        return FileView { path: place, flags: load_at(bytes as u64, flags - low) };
    }
    let place = Place { mnt: rd(file.wrapping_add(mnt)), dentry: rd(file.wrapping_add(dentry)) };
    FileView { path: place, flags: rd(file.wrapping_add(flags)) }
}

/// Whether a file has more than one reference. A file that was just opened has one, unless another thread already used
/// its descriptor. In that case the thread may also have put the file there from elsewhere.
#[inline(always)]
pub fn is_shared(file: u64) -> bool {
    other_references(file) != 0
}

/// A number that is not 0 if a file has more than one reference ([`is_shared`]).
#[inline(always)]
pub fn other_references(file: u64) -> u64 {
    if has(field::FileRef) {
        any::<u64>(file, field::FileRef)
    } else if has(field::FileCount) {
        any::<u64>(file, field::FileCount) >> 1
    } else {
        0
    }
}

/// The kind of an anonymous file: its name, padded with zeros, and the bits of it that count.
pub struct Anonymous {
    name: [u64; 2],
    mask: [u64; 2],
}

impl Anonymous {
    /// A perf event ([`perf_event_open`](https://elixir.bootlin.com/linux/v6.12/source/kernel/events/core.c)).
    pub const PERF_EVENT: Anonymous = Anonymous::new(*b"[perf_event]\0\0\0\0", 13);
    /// A link ([`bpf_link_prime`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/syscall.c)).
    pub const BPF_LINK: Anonymous = Anonymous::new(*b"bpf_link\0\0\0\0\0\0\0\0", 9);
    /// A BPF map ([`bpf_map_new_fd`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/syscall.c)).
    pub const BPF_MAP: Anonymous = Anonymous::new(*b"bpf-map\0\0\0\0\0\0\0\0\0", 8);

    /// `bytes`: the length of the name with its NUL.
    const fn new(name: [u8; 16], bytes: u32) -> Anonymous {
        let name = u128::from_le_bytes(name);
        let mask = u128::MAX >> (128 - 8 * bytes);
        Anonymous { name: [name as u64, (name >> 64) as u64], mask: [mask as u64, (mask >> 64) as u64] }
    }
}

/// Whether a file is of a kind of anonymous files. Only the kernel makes such files, and names them
/// ([`anon_inode_getfile`](https://elixir.bootlin.com/linux/v6.12/source/fs/anon_inodes.c)): the filesystem is its own,
/// so no process can give another file both. `private_data` of a file of another kind is another object, which may have
/// any content. `true` if the kernel's fields are unknown.
#[inline(always)]
pub fn is_anonymous(file: u64, kind: &Anonymous) -> bool {
    const ANON_INODE_FS_MAGIC: u64 = 0x0904_1934;
    if !has(field::DentrySb) || !has(field::SbMagic) {
        return true;
    }
    let dentry: u64 = rd(file.wrapping_add(offset(sum::FileDentry)));
    let magic: u64 = rd_field(rd_field(dentry, field::DentrySb), field::SbMagic);
    let name: [u64; 2] = rd(rd_field(dentry, field::DentryName));
    let differs = (name[0] ^ kind.name[0]) & kind.mask[0] | (name[1] ^ kind.name[1]) & kind.mask[1];
    // One test, which makes fewer paths for the verifier than three.
    differs | magic ^ ANON_INODE_FS_MAGIC == 0
}

/// Whether a file is of the character device of tun and tap interfaces (10:200, Documentation/admin-guide/devices.txt).
/// `true` if the kernel's fields are unknown.
#[inline(always)]
pub fn is_tun(file: u64) -> bool {
    const TUN: u32 = 10 << 20 | 200;
    if !has(field::DentryInode) || !has(field::InodeRdev) {
        return true;
    }
    let dentry: u64 = rd(file.wrapping_add(offset(sum::FileDentry)));
    rd_field::<u32>(rd_field(dentry, field::DentryInode), field::InodeRdev) == TUN
}

/// The number of a file's inode; 0 if the kernel's fields are unknown.
#[inline(always)]
pub fn inode_of(file: u64) -> u64 {
    if !has(field::DentryInode) || !has(field::InodeIno) {
        return 0;
    }
    rd_field(rd_field(rd_field(file, sum::FileDentry), field::DentryInode), field::InodeIno)
}

/// Describes the inode behind a dentry, if the kernel's fields are known.
#[inline(always)]
pub fn identify(dentry: u64, out: &mut Identity) {
    if !has(field::InodeIno) || !has(field::InodeSize) || !has(field::InodeCtime) || !has(field::InodeSb) {
        return zero(out);
    }
    let inode: u64 = any(dentry, field::DentryInode);
    out.ino = any(inode, field::InodeIno);
    out.size = any(inode, field::InodeSize);
    out.changed = any::<u64>(inode, field::InodeCtime) as i64;
    out.changed_ns = any(inode, field::InodeCtimeNs);
    out.device = any(any(inode, field::InodeSb), field::SbDev);
}

/// The open descriptors of the current task below 64, as bits.
#[inline(always)]
pub fn open_below_64(task: u64) -> u64 {
    if !has(field::FdtableOpenFds) {
        return 0;
    }
    rd(ld(ld(ld(task, field::TaskFiles), field::FilesFdt), field::FdtableOpenFds))
}

/// Whether no other task can change the current task's table of descriptors: each is the same as at the start of the call.
#[inline(always)]
pub fn owns_table(task: u64) -> bool {
    has(field::FilesCount) && ld::<u32>(ld(task, field::TaskFiles), field::FilesCount) == 1
}

/// The file behind a descriptor of the current task; 0 if it is closed.
#[inline(always)]
pub fn file_at(task: u64, fd: u64) -> u64 {
    at_slot(slot_of(task, fd))
}

/// Whether the current call may just have made a descriptor: it has a file to which nothing else refers.
#[inline(always)]
pub fn is_fresh(task: u64, fd: i64) -> bool {
    if fd < 0 {
        return false;
    }
    let file = file_at(task, fd as u64);
    file != 0 && !is_shared(file)
}

/// Address of a descriptor's entry in the current task's table (`struct fdtable`, include/linux/fdtable.h); 0 beyond
/// its end.
#[inline(always)]
pub fn slot_of(task: u64, fd: u64) -> u64 {
    let table: u64 = ld(ld(task, field::TaskFiles), field::FilesFdt);
    if fd >= u64::from(ld::<u32>(table, field::FdtableMaxFds)) {
        return 0;
    }
    let slots: u64 = ld(table, field::FdtableFd);
    slots.wrapping_add(fd << 3)
}

/// The file in an entry of a descriptor table; 0 if the entry is empty.
#[inline(always)]
pub fn at_slot(slot: u64) -> u64 {
    if slot == 0 {
        return 0;
    }
    any(slot, field::PathMnt)
}
