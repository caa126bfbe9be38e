//! From a dentry to the root of the mount namespace: names, leaf first.
//!
//! The kernel's own walk is `prepend_path` (fs/d_path.c), under `rename_lock` and `mount_lock`. Ours takes no lock: each name
//! is read with its parent, again if it changed meanwhile (`d_seq`), but of several renames of directories on the way some
//! may be seen and some not. State lives in memory and is read volatile ([`get`]), so that turns of
//! the loop look alike to the verifier. Where addresses can be cast ([`casts`]) a level costs no helper call, else one.

use crate::further::{self, further};
use crate::maps::{per_cpu, this_cpu};
use crate::read::{
    any, at_most, casts, get, has, konst, ld, ld_at, may_turn, offset, rd, read_kernel, set, store_word, typed,
    typed_as,
};
use aya_ebpf::maps::Array;
use tracetui_shared::offsets::{Const, Field, Type};
use tracetui_shared::record::mark;

/// Most bytes of names, each with its NUL.
pub const NAMES_MAX: u64 = 4096;
/// Levels (names and mount crossings) that are walked; beyond them the path is marked cut. No path has as many.
const TURNS: u64 = 4096;
const _: () = assert!(further::MOST >= TURNS);
/// Those that the program itself walks where the verifier walks through every turn (before 6.9), then [`walk_further`].
const DEPTH: u32 = 16;
/// Room that must lie behind the last place where a name may start: a name of 255 bytes and its NUL.
pub const NAME_SLACK: usize = 256 + 8;
/// Bytes of a dentry that one read takes: all fields in use lie in them.
const DENTRY: usize = 96;
/// Bytes of [`Walk::scratch`].
pub const SCRATCH: usize = DENTRY;

/// A walk's state.
#[repr(C)]
pub struct Walk {
    /// Where in the buffer the next name goes.
    pub off: u64,
    /// Where no name may end any more.
    limit: u64,
    dentry: u64,
    vfsmount: u64,
    /// Of the mount that the walk is in: root, parent, place in the parent.
    mount_root: u64,
    mount_parent: u64,
    mountpoint: u64,
    /// The caller's root.
    root_dentry: u64,
    root_mnt: u64,
    /// Where in the buffer the caller's root was met.
    root_off: u64,
    /// Nothing was taken yet.
    at_leaf: u64,
    marks: u64,
    turns: u64,
    scratch: [u64; DENTRY / 8],
}

impl Walk {
    /// [`SCRATCH`] bytes that are free between walks.
    #[inline(always)]
    pub unsafe fn scratch(walk: *mut Walk) -> *mut u8 {
        // SAFETY: a place in the walk, of which the caller has a pointer.
        unsafe { (&raw mut (*walk).scratch).cast() }
    }
}

/// Highest place in [`Deep`]'s buffer where a name may start: that of the largest buffer that names are put into.
const DEEP_MASK: u64 = (1 << 14) - 1;

/// A walk that goes on in [`walk_further`].
#[repr(C)]
struct Deep {
    /// The walk's state.
    walk: Walk,
    /// Its names, at the places where they stand in the buffer of the program that began it.
    buf: [u8; DEEP_MASK as usize + 1 + NAME_SLACK],
}

per_cpu! {
    /// Walks that go on in [`walk_further`]. Programs share it that are not preempted before 6.9: all but `uring_quiet`,
    /// which hangs on a trampoline. From 6.9 on it is not used.
    DEEP: Deep;
    /// The same for `uring_quiet`.
    DEEP_QUIET: Deep;
}

further! {
    /// Goes on with the walk in [`DEEP`].
    walk_further, walk_piece: go_on(&DEEP)
}

further! {
    /// Goes on with the walk in [`DEEP_QUIET`].
    walk_further_quiet, walk_piece_quiet: go_on(&DEEP_QUIET)
}

/// `root_off` before the caller's root was met.
const NOT_MET: u64 = u64::MAX;

/// A place in the tree: `struct path`.
#[derive(Clone, Copy)]
pub struct Place {
    /// `vfsmount`.
    pub mnt: u64,
    /// `dentry`.
    pub dentry: u64,
}

impl Place {
    /// Nowhere.
    pub const NONE: Place = Place { mnt: 0, dentry: 0 };
}

/// How a walk ended.
pub struct Names {
    /// Where in the buffer the names end.
    pub end: u64,
    /// Where in the buffer the caller's root was met; `None` when it was not.
    pub root: Option<u64>,
    /// [`mark`]s.
    pub marks: u8,
}

/// `fs->root` of a task.
#[inline(always)]
pub unsafe fn root_of(fs: u64) -> Place {
    // SAFETY: `fs` is typed where the kernel can.
    unsafe { place_in(fs, offset(Field::FsRoot)) }
}

/// `fs->pwd` of a task.
#[inline(always)]
pub unsafe fn cwd_of(fs: u64) -> Place {
    // SAFETY: `fs` is typed where the kernel can.
    unsafe { place_in(fs, offset(Field::FsPwd)) }
}

#[inline(always)]
unsafe fn place_in(base: u64, at: u64) -> Place {
    // SAFETY: `base` is typed where the kernel can.
    unsafe {
        Place { mnt: ld_at(base, at + offset(Field::PathMnt)), dentry: ld_at(base, at + offset(Field::PathDentry)) }
    }
}

/// The first mount of the task's mount namespace (`mnt_namespace.root`), where every path of the namespace begins; 0 when it
/// is not known.
#[inline(always)]
pub unsafe fn top_of(task: u64) -> u64 {
    if !has(Field::MntNsRoot) {
        return 0;
    }
    // SAFETY: `task` is typed where the kernel can.
    unsafe { ld(ld(ld(task, Field::TaskNsproxy), Field::NsproxyMntNs), Field::MntNsRoot) }
}

/// Whether nothing leads from a task's root up: it is the root of the first mount of its mount namespace, or of a mount that
/// covers that (what `switch_root` leaves behind). `false` may also mean that it cannot be told without a walk.
#[inline(always)]
pub unsafe fn is_top(top: u64, place: Place) -> bool {
    if !has(Field::MntNsRoot) {
        return false;
    }
    // SAFETY: `top` is typed where the kernel can, and mounts are cast where that is allowed.
    unsafe {
        let (mnt, root) = (offset(Field::MountMnt), offset(Field::MountMnt) + offset(Field::VfsmountRoot));
        let mount = place.mnt.wrapping_sub(mnt);
        if mount == top {
            return ld_at::<u64>(top, root) == place.dentry;
        }
        if !casts() {
            return false;
        }
        let mount = typed_as(mount, Type::Mount);
        typed::<u64>(mount, offset(Field::MountParent)) == top
            && typed::<u64>(mount, root) == place.dentry
            && typed::<u64>(mount, offset(Field::MountMountpoint)) == ld_at::<u64>(top, root)
    }
}

/// Walks from `from` up to `top`, the first mount of the caller's mount namespace ([`top_of`]), and puts the names into
/// `buf` from `start` on. `MASK` is the highest place in `buf` where a name may start (a power of two less one);
/// [`NAME_SLACK`] bytes must lie behind it.
/// `PREEMPTIBLE`: the program may be preempted on kernels before 6.9 (a trampoline).
///
/// Only a walk that ends at `top` gives a path of the caller's namespace, whether it meets the caller's root or not: `chroot`
/// takes a directory of another namespace, or of a mount that is in none (`open_tree`), and files outside of the caller's root
/// are opened by a descriptor.
#[inline(always)]
pub unsafe fn walk<const MASK: u64, const PREEMPTIBLE: bool>(
    w: *mut Walk,
    buf: *mut u8,
    start: u64,
    from: Place,
    root: Place,
    top: u64,
) -> Names {
    // SAFETY: `w` and `buf` are in one map value; the verifier checks every place in them. Kernel addresses are only
    // read by helper, which fails softly.
    unsafe {
        set(&raw mut (*w).off, start);
        let limit = start + NAMES_MAX;
        set(&raw mut (*w).limit, if limit > MASK + 1 { MASK + 1 } else { limit });
        set(&raw mut (*w).dentry, from.dentry);
        set(&raw mut (*w).root_dentry, root.dentry);
        set(&raw mut (*w).root_mnt, root.mnt);
        set(&raw mut (*w).root_off, NOT_MET);
        set(&raw mut (*w).at_leaf, 1);
        set(&raw mut (*w).marks, u64::from(mark::CUT));
        enter_mount(w, from.mnt);
        set(&raw mut (*w).turns, 0);
        if !climb::<MASK>(w, buf) && konst(Const::MayGoto) == 0 {
            climb_further::<MASK, PREEMPTIBLE>(w, buf);
        }
        let mut root = get(&raw const (*w).root_off);
        let mut marks = get(&raw const (*w).marks) as u8;
        if marks & (mark::CUT | mark::PSEUDO) == 0 {
            let last = get(&raw const (*w).vfsmount).wrapping_sub(offset(Field::MountMnt));
            // Where the first mount is not known, the caller's root has to do.
            if if top == 0 { root == NOT_MET } else { last != top } {
                root = NOT_MET;
                marks |= mark::UNREACHABLE;
            }
        }
        Names { end: get(&raw const (*w).off), root: if root == NOT_MET { None } else { Some(root) }, marks }
    }
}

/// Walks to the end, or as far as the loop may turn: then `false`.
#[inline(always)]
unsafe fn climb<const MASK: u64>(w: *mut Walk, buf: *mut u8) -> bool {
    // SAFETY: see `walk`.
    unsafe {
        let mut turn = 0;
        loop {
            may_turn!(turn, DEPTH);
            if !step::<MASK, false>(w, buf) {
                return true;
            }
        }
    }
    false
}

/// Lets [`walk_further`] go on, and takes over what it found.
#[inline(always)]
unsafe fn climb_further<const MASK: u64, const PREEMPTIBLE: bool>(w: *mut Walk, buf: *mut u8) {
    const { assert!(MASK <= DEEP_MASK) };
    const STATE: u64 = size_of::<Walk>() as u64;
    let Some(deep) = deep(if PREEMPTIBLE { &DEEP_QUIET } else { &DEEP }) else { return };
    // SAFETY: see `walk`; what is copied lies in maps, where reads do not fault.
    unsafe {
        let before = get(&raw const (*w).off);
        read_kernel((&raw mut (*deep).walk).cast(), STATE, w as u64);
        if PREEMPTIBLE {
            walk_further_quiet()
        } else {
            walk_further()
        };
        read_kernel(w.cast(), STATE, (&raw const (*deep).walk) as u64);
        let names = at_most(get(&raw const (*w).off).wrapping_sub(before), NAMES_MAX);
        let from = (&raw const (*deep).buf) as u64 + (before & MASK);
        read_kernel(buf.add((before & MASK) as usize), names, from);
    }
}

/// This CPU's [`Deep`].
#[inline(always)]
fn deep(map: &Array<Deep>) -> Option<*mut Deep> {
    map.get_ptr_mut(this_cpu()?.0)
}

/// A piece of a walk; `true` at the end of the walk.
#[inline(always)]
fn go_on(map: &Array<Deep>) -> bool {
    let Some(deep) = deep(map) else { return true };
    let mut turn = 0;
    while turn < further::TURNS {
        // SAFETY: what is there is this CPU's element; see `walk`.
        if unsafe { !step::<DEEP_MASK, true>(&raw mut (*deep).walk, (&raw mut (*deep).buf).cast()) } {
            return true;
        }
        turn += 1;
    }
    false
}

/// Takes one name or crosses one mount; `false` at the end of the walk. `FURTHER` spares the verifier the branches that a
/// walk which only goes on can do without: its leaf was looked at, its turns are counted, and names need not be quick.
#[inline(always)]
unsafe fn step<const MASK: u64, const FURTHER: bool>(w: *mut Walk, buf: *mut u8) -> bool {
    // SAFETY: see `walk`.
    unsafe {
        let dentry = get(&raw const (*w).dentry);
        let vfsmount = get(&raw const (*w).vfsmount);
        let off = get(&raw const (*w).off);
        if dentry == get(&raw const (*w).root_dentry) && vfsmount == get(&raw const (*w).root_mnt) {
            set(&raw mut (*w).root_off, off);
        }
        let turns = get(&raw const (*w).turns);
        set(&raw mut (*w).turns, turns + 1);
        if dentry == get(&raw const (*w).mount_root) && (FURTHER || turns < TURNS) {
            if !FURTHER && get(&raw const (*w).at_leaf) != 0 {
                look_at_leaf(w, view_dentry(w, dentry), dentry);
            }
            let parent = get(&raw const (*w).mount_parent);
            if parent.wrapping_add(offset(Field::MountMnt)) == vfsmount || parent == 0 {
                unmark(w, mark::CUT);
                return false;
            }
            set(&raw mut (*w).dentry, get(&raw const (*w).mountpoint));
            enter_mount(w, parent.wrapping_add(offset(Field::MountMnt)));
            return true;
        }
        if !FURTHER && turns >= TURNS {
            return false;
        }
        let view = view_dentry(w, dentry);
        let seq: u32 = typed(view, offset(Field::DentrySeq));
        let parent: u64 = typed(view, offset(Field::DentryParent));
        let at_leaf = !FURTHER && get(&raw const (*w).at_leaf) != 0;
        let top = parent == dentry || parent == 0;
        if top && !at_leaf {
            unmark(w, mark::CUT);
            return false;
        }
        let fits = take_name::<MASK, FURTHER>(w, buf, view, dentry, off);
        if seq & 1 != 0 || seq_of(dentry) != seq {
            // It was renamed meanwhile: once more.
            set(&raw mut (*w).off, off);
            return true;
        }
        if at_leaf {
            look_at_leaf(w, view, dentry);
        }
        if top {
            unmark(w, mark::CUT);
            mark_as(w, mark::PSEUDO);
            return false;
        }
        set(&raw mut (*w).dentry, parent);
        fits
    }
}

/// `dentry->d_seq.sequence`: odd while name and parent change, and another number afterwards (`__d_move`).
#[inline(always)]
unsafe fn seq_of(dentry: u64) -> u32 {
    // SAFETY: see `walk`.
    unsafe { any(dentry, Type::Dentry, offset(Field::DentrySeq)) }
}

/// What [`typed`] takes to read a dentry's fields: the dentry, cast, or a copy of its first bytes.
#[inline(always)]
unsafe fn view_dentry(w: *mut Walk, dentry: u64) -> u64 {
    if casts() {
        return typed_as(dentry, Type::Dentry);
    }
    // SAFETY: see `walk`.
    unsafe {
        let bytes = (&raw mut (*w).scratch).cast::<u8>();
        read_kernel(bytes, DENTRY as u64, dentry);
        bytes as u64
    }
}

/// Appends a dentry's name; `false` when there is no room for it.
#[inline(always)]
unsafe fn take_name<const MASK: u64, const FURTHER: bool>(
    w: *mut Walk,
    buf: *mut u8,
    bytes: u64,
    dentry: u64,
    off: u64,
) -> bool {
    // SAFETY: see `walk`; a name is at most 255 bytes, and NAME_SLACK bytes lie behind any masked place.
    unsafe {
        let name: u64 = typed(bytes, offset(Field::DentryName));
        let len = u64::from(typed::<u32>(bytes, offset(Field::DentryNameLen)) & 0xff);
        if off + len >= get(&raw const (*w).limit) - 1 {
            return false;
        }
        let inline = offset(Field::DentryInline);
        let dst = buf.add((off & MASK) as usize);
        let room = konst(Const::InlineNameLen);
        if !FURTHER
            && has(Field::DentryInline)
            && inline.is_multiple_of(8)
            && inline + room <= DENTRY as u64
            && name == dentry.wrapping_add(inline)
        {
            store_word(dst, typed(bytes, inline));
            if len >= 8 {
                copy_word(dst, bytes, inline, room, 8);
                copy_word(dst, bytes, inline, room, 16);
                copy_word(dst, bytes, inline, room, 24);
                copy_word(dst, bytes, inline, room, 32);
            }
        } else {
            read_kernel(dst, len, name);
        }
        *dst.add(len as usize) = 0;
        set(&raw mut (*w).off, off + len + 1);
        true
    }
}

/// Copies the word of the inline name at `at`, when it has one there. The last one may lie across its end.
#[inline(always)]
unsafe fn copy_word(dst: *mut u8, bytes: u64, inline: u64, room: u64, at: u64) {
    // SAFETY: see `take_name`.
    unsafe {
        if at < room && inline + at + 8 <= DENTRY as u64 {
            store_word(dst.add(at as usize), typed(bytes, inline + at));
        }
    }
}

/// Loads what the walk needs of a mount. Its four fields are neighbours on every kernel known; then one read does.
#[inline(always)]
unsafe fn enter_mount(w: *mut Walk, vfsmount: u64) {
    let (mnt, parent, point) = (offset(Field::MountMnt), offset(Field::MountParent), offset(Field::MountMountpoint));
    let root = mnt + offset(Field::VfsmountRoot);
    let mount = vfsmount.wrapping_sub(mnt);
    // SAFETY: see `walk`.
    unsafe {
        set(&raw mut (*w).vfsmount, vfsmount);
        if casts() {
            let mount = typed_as(mount, Type::Mount);
            set(&raw mut (*w).mount_parent, typed(mount, parent));
            set(&raw mut (*w).mountpoint, typed(mount, point));
            set(&raw mut (*w).mount_root, typed(mount, root));
        } else if point == parent + 8 && root == parent + 16 {
            let bytes = (&raw mut (*w).scratch).cast::<u64>();
            read_kernel(bytes.cast(), 24, mount.wrapping_add(parent));
            set(&raw mut (*w).mount_parent, get(bytes));
            set(&raw mut (*w).mountpoint, get(bytes.add(1)));
            set(&raw mut (*w).mount_root, get(bytes.add(2)));
        } else {
            set(&raw mut (*w).mount_parent, rd(mount.wrapping_add(parent)));
            set(&raw mut (*w).mountpoint, rd(mount.wrapping_add(point)));
            set(&raw mut (*w).mount_root, rd(mount.wrapping_add(root)));
        }
    }
}

/// Marks a deleted leaf: `d_unlinked`, which is unhashed and not the root of its own tree.
#[inline(always)]
unsafe fn look_at_leaf(w: *mut Walk, bytes: u64, dentry: u64) {
    // SAFETY: see `walk`.
    unsafe {
        set(&raw mut (*w).at_leaf, 0);
        let pprev: u64 = typed(bytes, offset(Field::DentryHashPprev));
        let parent: u64 = typed(bytes, offset(Field::DentryParent));
        if pprev == 0 && parent != dentry {
            mark_as(w, mark::DELETED);
        }
    }
}

#[inline(always)]
unsafe fn mark_as(w: *mut Walk, bit: u8) {
    // SAFETY: see `walk`.
    unsafe { set(&raw mut (*w).marks, get(&raw const (*w).marks) | u64::from(bit)) }
}

#[inline(always)]
unsafe fn unmark(w: *mut Walk, bit: u8) {
    // SAFETY: see `walk`.
    unsafe { set(&raw mut (*w).marks, get(&raw const (*w).marks) & !u64::from(bit)) }
}
