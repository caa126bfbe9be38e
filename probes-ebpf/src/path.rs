//! The walk from a dentry to the root of the mount namespace: names, leaf first.
//!
//! The kernel's own walk is [`prepend_path`](https://elixir.bootlin.com/linux/v6.12/source/fs/d_path.c), under
//! `rename_lock` and `mount_lock`. This walk takes no lock. Each name is read together with its parent, and read again
//! if it changed meanwhile (`d_seq`). If several directories on the way are renamed, the path may show some of the
//! renames and not others.
//!
//! The state is kept in memory and is read volatile ([`get`]), so that the iterations of the loop look alike to the
//! verifier. If addresses can be cast ([`casts`]), a level costs no helper call, else one.

use crate::functions;
use crate::maps::this_element;
use crate::read::{
    any, at, casts, get, has, konst, ld, offset, opaque, put, rd, rd_field, read_kernel, read_kernel_str, set,
    store_word, typed, typed_as, typed_word,
};
use aya_ebpf::maps::Array;
use core::mem::offset_of;
use tracetui_shared::offsets::{Member, field, sum};
use tracetui_shared::record::{FileSystem, mark};

/// Limit of names in bytes, each with its NUL.
pub const NAMES_MAX: u64 = 4096;
/// Limit of levels: names and mount crossings. A longer path is marked cut. The limit of names is reached before, unless
/// thousands of mounts are crossed.
const LEVELS: u64 = 4096;
// A walk may start over.
const _: () = assert!(functions::MOST >= 2 * LEVELS);
/// Bytes that must follow the last offset at which a name may start: a name of 255 bytes, its NUL, and the rest of a
/// copied word.
pub const NAME_SLACK: usize = 256 + 8;
/// Bytes of a dentry that are read at once: all fields in use lie in them.
const DENTRY: usize = 96;
/// Bytes of [`Walk::scratch`].
pub const SCRATCH: usize = DENTRY;

/// The state of a walk.
#[repr(C)]
pub struct Walk {
    /// Offset in the buffer of the next name.
    pub off: u64,
    /// Offset in the buffer at which names must end.
    limit: u64,
    dentry: u64,
    vfsmount: u64,
    /// The current mount's root, its parent mount, and its mount point in the parent.
    mount_root: u64,
    mount_parent: u64,
    mountpoint: u64,
    /// The caller's root.
    root_dentry: u64,
    root_mnt: u64,
    /// Offset in the buffer at which the caller's root was met, or [`NOT_MET`].
    root_off: u64,
    /// Not 0 until the leaf was read.
    at_leaf: u64,
    marks: u64,
    turns: u64,
    /// Offset in the buffer of the first name.
    start: u64,
    /// The first mount of the caller's mount namespace, or 0 ([`top_of`]).
    top: u64,
    /// The place at which the walk began.
    pub from_dentry: u64,
    pub from_mnt: u64,
    scratch: [u64; DENTRY / 8],
}

impl Walk {
    /// [`SCRATCH`] bytes that are unused between walks.
    #[inline(always)]
    pub fn scratch(&mut self) -> *mut u8 {
        self.scratch.as_mut_ptr().cast()
    }
}

/// `root_off` before the caller's root was met.
const NOT_MET: u64 = u64::MAX;

/// A place in the directory tree: `struct path` (include/linux/path.h).
#[derive(Clone, Copy)]
pub struct Place {
    /// Address of the `struct vfsmount`.
    pub mnt: u64,
    /// Address of the `struct dentry`.
    pub dentry: u64,
}

impl Place {
    /// No place: both addresses are null.
    pub const NONE: Place = Place { mnt: 0, dentry: 0 };
}

/// How a walk ended.
pub struct Names {
    /// Offset in the buffer at which the names end.
    pub end: u64,
    /// Offset in the buffer at which the caller's root was met; `None` if it was not.
    pub root: Option<u64>,
    /// Bits of [`mark`].
    pub marks: u8,
}

/// The root directory of a task: `fs->root` (include/linux/fs_struct.h).
#[inline(always)]
pub fn root_of(fs: u64) -> Place {
    place_in(fs, sum::RootMnt, sum::RootDentry)
}

/// The working directory of a task: `fs->pwd`.
#[inline(always)]
pub fn cwd_of(fs: u64) -> Place {
    place_in(fs, sum::PwdMnt, sum::PwdDentry)
}

#[inline(always)]
fn place_in(base: u64, mnt: impl Member, dentry: impl Member) -> Place {
    Place { mnt: ld(base, mnt), dentry: ld(base, dentry) }
}

/// The first mount of the task's mount namespace (`mnt_namespace.root`, fs/mount.h), at which every path of the
/// namespace begins; 0 if unknown.
#[inline(always)]
pub fn top_of(task: u64) -> u64 {
    if !has(field::MntNsRoot) {
        return 0;
    }
    ld(ld(ld(task, field::TaskNsproxy), field::NsproxyMntNs), field::MntNsRoot)
}

/// Whether nothing is above a task's root. It then is the root of the first mount of its mount namespace, or of a mount
/// that covers that one (as `switch_root` leaves it). `false` may also mean that only a walk could find out.
#[inline(always)]
pub fn is_top(top: u64, place: Place) -> bool {
    if !has(field::MntNsRoot) {
        return false;
    }
    let mount = place.mnt.wrapping_sub(offset(field::MountMnt));
    if mount == top {
        return ld::<u64>(top, sum::MountRoot) == place.dentry;
    }
    if !casts() {
        return false;
    }
    let mount = typed_as(mount, field::MountParent);
    typed::<u64>(mount, field::MountParent) == top
        && typed::<u64>(mount, sum::MountRoot) == place.dentry
        && typed::<u64>(mount, field::MountMountpoint) == ld::<u64>(top, sum::MountRoot)
}

/// Walks from `from` up to `top`, the first mount of the caller's mount namespace ([`top_of`]), and writes the names
/// into `buf` from `start` on.
///
/// - `MASK` is the highest offset in `buf` at which a name may start, a power of two less one. [`NAME_SLACK`] bytes
///   must follow it.
///
/// Only a walk that ends at `top` yields a path of the caller's namespace, whether or not it meets the caller's root.
/// `chroot` accepts a directory of another namespace, or of a mount that is in none (`open_tree`), and files outside of
/// the caller's root can be opened by a descriptor. Of another path, the names are those within its file system
/// ([`walk_inside`]), and a [`FileSystem`] follows them.
#[inline(always)]
pub fn walk<const MASK: u64>(w: &mut Walk, start: u64, from: Place, root: Place, top: u64, climb: impl Fn()) -> Names {
    set(&mut w.off, start);
    let limit = start + NAMES_MAX;
    set(&mut w.limit, if limit > MASK + 1 { MASK + 1 } else { limit });
    set(&mut w.dentry, from.dentry);
    set(&mut w.root_dentry, root.dentry);
    set(&mut w.root_mnt, root.mnt);
    set(&mut w.root_off, NOT_MET);
    set(&mut w.at_leaf, 1);
    set(&mut w.marks, u64::from(mark::CUT));
    set(&mut w.start, start);
    set(&mut w.top, top);
    set(&mut w.from_dentry, from.dentry);
    set(&mut w.from_mnt, from.mnt);
    enter_mount(w, from.mnt);
    set(&mut w.turns, 0);
    climb();
    let root = get(&w.root_off);
    Names { end: get(&w.off), root: if root == NOT_MET { None } else { Some(root) }, marks: get(&w.marks) as u8 }
}

/// A part of a walk whose state is in a map, for [`in_pieces`](functions::in_pieces); `true` at the end of the walk.
#[inline(always)]
pub fn climb<T, const MASK: u64>(map: &Array<T>, parts: impl Fn(&mut T) -> (&mut Walk, *mut u8)) -> bool {
    let Some(s) = this_element(map) else { return true };
    let (w, buf) = parts(s);
    let ended = functions::repeated(functions::TURNS, || !step::<MASK>(w, buf));
    if ended && get(&w.marks) & u64::from(mark::UNREACHABLE) != 0 {
        set(&mut w.root_off, NOT_MET);
        put_file_system::<MASK>(w, buf);
    }
    ended
}

/// Takes one name or crosses one mount; `false` at the end of the walk.
#[inline(always)]
fn step<const MASK: u64>(w: &mut Walk, buf: *mut u8) -> bool {
    let dentry = get(&w.dentry);
    let vfsmount = get(&w.vfsmount);
    let off = get(&w.off);
    if dentry == get(&w.root_dentry) && vfsmount == get(&w.root_mnt) {
        set(&mut w.root_off, off);
    }
    let turns = get(&w.turns);
    set(&mut w.turns, turns + 1);
    if dentry == get(&w.mount_root) && turns < LEVELS {
        if get(&w.at_leaf) != 0 {
            let view = view_dentry(w, dentry);
            look_at_leaf(w, view, dentry);
        }
        let parent = get(&w.mount_parent);
        if parent.wrapping_add(offset(field::MountMnt)) == vfsmount || parent == 0 {
            return walk_inside(w);
        }
        set(&mut w.dentry, get(&w.mountpoint));
        enter_mount(w, parent.wrapping_add(offset(field::MountMnt)));
        return true;
    }
    if turns >= LEVELS {
        return false;
    }
    let view = view_dentry(w, dentry);
    let seq: u32 = typed(view, field::DentrySeq);
    let parent: u64 = typed(view, field::DentryParent);
    // Both are tested anew each time: the verifier then need not follow the two answers separately.
    let leaf = &raw const w.at_leaf;
    let at_leaf = || get(leaf) != 0;
    let is_top = || opaque(parent) == dentry || opaque(parent) == 0;
    if !at_leaf() && is_top() {
        return walk_inside(w);
    }
    let fits = take_name::<MASK>(w, buf, view, dentry, off);
    if seq & 1 != 0 || seq_of(dentry) != seq {
        // The dentry was renamed meanwhile: read it again.
        set(&mut w.off, off);
        return true;
    }
    if at_leaf() {
        look_at_leaf(w, view, dentry);
    }
    if is_top() {
        unmark(w, mark::CUT);
        mark_as(w, mark::PSEUDO);
        return false;
    }
    set(&mut w.dentry, parent);
    fits
}

/// Ends the walk; `false`. If it did not end at the first mount of the caller's mount namespace, or did not meet the
/// caller's root where that mount is unknown, it starts over, without regard to mounts: `true`. It then ends at the
/// root of the file system.
#[inline(always)]
fn walk_inside(w: &mut Walk) -> bool {
    let top = get(&w.top);
    let last = get(&w.vfsmount).wrapping_sub(offset(field::MountMnt));
    let arrived = if top == 0 { get(&w.root_off) != NOT_MET } else { last == top };
    if arrived || get(&w.marks) & u64::from(mark::UNREACHABLE) != 0 {
        unmark(w, mark::CUT);
        return false;
    }
    mark_as(w, mark::UNREACHABLE);
    set(&mut w.off, get(&w.start));
    set(&mut w.limit, get(&w.limit) - size_of::<FileSystem>() as u64);
    set(&mut w.dentry, get(&w.from_dentry));
    set(&mut w.vfsmount, get(&w.from_mnt));
    set(&mut w.mount_root, 0);
    set(&mut w.mount_parent, 0);
    set(&mut w.turns, 0);
    true
}

/// Appends the [`FileSystem`] of the place at which the walk began.
#[inline(always)]
fn put_file_system<const MASK: u64>(w: &mut Walk, buf: *mut u8) {
    const BYTES: u64 = size_of::<FileSystem>() as u64;
    let sb: u64 = rd_field(get(&w.from_dentry), field::DentrySb);
    if sb == 0 {
        return;
    }
    let mount = get(&w.from_mnt).wrapping_sub(offset(field::MountMnt));
    let off = get(&w.off);
    let dst = at(buf, off & MASK);
    let device: u32 = rd_field(sb, field::SbDev);
    let mount_id: u32 = rd_field(mount, field::MountId);
    store_word(dst, u64::from(FileSystem::MARK) | u64::from(device) << 32);
    store_word(at(dst, 8), mount_id.into());
    store_word(at(dst, 16), 0);
    store_word(at(dst, 24), 0);
    let name: u64 = rd_field(rd_field(sb, field::SbType), field::FsTypeName);
    read_kernel_str(at(dst, offset_of!(FileSystem, name) as u64), FileSystem::NAME_MAX as u64, name);
    set(&mut w.off, off + BYTES);
}

/// `dentry->d_seq.sequence`: odd while name and parent change, and a different number afterwards
/// ([`__d_move`](https://elixir.bootlin.com/linux/v6.12/source/fs/dcache.c)).
#[inline(always)]
fn seq_of(dentry: u64) -> u32 {
    any(dentry, field::DentrySeq)
}

/// The base address for reading a dentry's fields with [`typed`]: the cast dentry, or a copy of its first bytes.
#[inline(always)]
fn view_dentry(w: &mut Walk, dentry: u64) -> u64 {
    if casts() {
        return typed_as(dentry, field::DentryParent);
    }
    let bytes = w.scratch();
    read_kernel(bytes, DENTRY as u64, dentry);
    bytes as u64
}

/// Appends a dentry's name; `false` if there is no room for it.
#[inline(always)]
fn take_name<const MASK: u64>(w: &mut Walk, buf: *mut u8, bytes: u64, dentry: u64, off: u64) -> bool {
    let name: u64 = typed(bytes, field::DentryName);
    let len = u64::from(typed::<u32>(bytes, field::DentryNameLen) & 0xff);
    if off + len >= get(&w.limit) - 1 {
        return false;
    }
    let inline = offset(field::DentryInline);
    let dst = at(buf, off & MASK);
    let room = konst!(InlineNameLen);
    if has(field::DentryInline)
        && inline.is_multiple_of(8)
        && inline + room <= DENTRY as u64
        && name == dentry.wrapping_add(inline)
    {
        store_word(dst, typed_word::<0>(bytes, field::DentryInline));
        if len >= 8 {
            copy_word::<1>(dst, bytes);
            copy_word::<2>(dst, bytes);
            copy_word::<3>(dst, bytes);
            copy_word::<4>(dst, bytes);
        }
    } else {
        read_kernel(dst, len, name);
    }
    put(at(dst, len), 0);
    set(&mut w.off, off + len + 1);
    true
}

/// Copies a word of the inline name, if the name extends to it. The last word may extend beyond the name's end.
#[inline(always)]
fn copy_word<const WORD: usize>(dst: *mut u8, bytes: u64) {
    let begin = 8 * WORD as u64;
    if begin < konst!(InlineNameLen) && offset(field::DentryInline) + begin + 8 <= DENTRY as u64 {
        store_word(at(dst, begin), typed_word::<WORD>(bytes, field::DentryInline));
    }
}

/// Loads the fields of a mount that the walk needs (`struct mount`, fs/mount.h). They are neighbours on every known
/// kernel, and are then read at once.
#[inline(always)]
fn enter_mount(w: &mut Walk, vfsmount: u64) {
    let mount = vfsmount.wrapping_sub(offset(field::MountMnt));
    set(&mut w.vfsmount, vfsmount);
    if casts() {
        let mount = typed_as(mount, field::MountParent);
        set(&mut w.mount_parent, typed(mount, field::MountParent));
        set(&mut w.mountpoint, typed(mount, field::MountMountpoint));
        set(&mut w.mount_root, typed(mount, sum::MountRoot));
        return;
    }
    let (parent, point, root) = (offset(field::MountParent), offset(field::MountMountpoint), offset(sum::MountRoot));
    if point == parent + 8 && root == parent + 16 {
        read_kernel(&mut w.scratch, 24, mount.wrapping_add(parent));
        set(&mut w.mount_parent, get(&w.scratch[0]));
        set(&mut w.mountpoint, get(&w.scratch[1]));
        set(&mut w.mount_root, get(&w.scratch[2]));
    } else {
        set(&mut w.mount_parent, rd(mount.wrapping_add(parent)));
        set(&mut w.mountpoint, rd(mount.wrapping_add(point)));
        set(&mut w.mount_root, rd(mount.wrapping_add(root)));
    }
}

/// Marks a deleted leaf ([`d_unlinked`](https://elixir.bootlin.com/linux/v6.12/source/include/linux/dcache.h)): it is
/// unhashed and not the root of its own tree.
#[inline(always)]
fn look_at_leaf(w: &mut Walk, bytes: u64, dentry: u64) {
    set(&mut w.at_leaf, 0);
    let pprev: u64 = typed(bytes, field::DentryHashPprev);
    let parent: u64 = typed(bytes, field::DentryParent);
    if pprev == 0 && parent != dentry {
        mark_as(w, mark::DELETED);
    }
}

#[inline(always)]
fn mark_as(w: &mut Walk, bit: u8) {
    set(&mut w.marks, get(&w.marks) | u64::from(bit))
}

#[inline(always)]
fn unmark(w: &mut Walk, bit: u8) {
    set(&mut w.marks, get(&w.marks) & !u64::from(bit))
}
