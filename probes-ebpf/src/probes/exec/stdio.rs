//! stdin, stdout and stderr of a new program, and its other descriptors.
//!
//! The kernel has already closed the descriptors with `FD_CLOEXEC`
//! ([`begin_new_exec`](https://elixir.bootlin.com/linux/v6.12/source/fs/exec.c)), and the table of descriptors is the process's own.

use super::{ExecScratch, MASK, STDIO_FEW, large};
use crate::files::{file_at, open_below_64, view_file};
use crate::path::{self, Place};
use crate::probes::tcp::sock;
use crate::read::{any, at_most, get, has, konst, may_turn, offset, read_kernel, set, store_word, zero};
use tracetui_shared::offsets::field;
use tracetui_shared::record::exec::{FDS, Further, NO_ROOM, STDIO, Stdio, stdio};
use tracetui_shared::record::mark;

/// The bits of `i_mode` for the type, and two types (include/uapi/linux/stat.h).
const FORMAT: u16 = 0xf000;
const SOCKET: u16 = 0xc000;
const FIFO: u16 = 0x1000;

const AF_UNIX: u16 = 1;
/// Bytes of `sun_path` (include/uapi/linux/un.h).
const UNIX_PATH_MAX: u64 = 108;
/// Descriptors that are described where the verifier walks through every iteration (before 6.9).
const FDS_FEW: u32 = 8;

/// Bytes of the records of all descriptors.
pub(super) const BYTES: u16 = (STDIO * size_of::<Stdio>()) as u16;

/// Describes the standard descriptors of the current task, and appends the names of their files.
#[inline(always)]
pub(super) unsafe fn descriptors(s: *mut ExecScratch, task: u64, root: Place, top: u64) {
    // SAFETY: `task` is the current task, a BTF pointer where the kernel has them. `s` is this CPU's element of the calling
    // program's own map; the verifier checks every offset into it.
    unsafe {
        let end = if large(s) { MASK } else { get(&raw const (*s).off) + STDIO_FEW };
        set(&raw mut (*s).end, end);
        set(&raw mut (*s).fd, 0);
        let mut turn = 0;
        loop {
            may_turn!(turn, STDIO as u32);
            let fd = get(&raw const (*s).fd);
            if fd >= STDIO as u64 {
                break;
            }
            set(&raw mut (*s).fd, fd + 1);
            descriptor(s, task, fd as usize, root, top);
        }
    }
}

#[inline(always)]
unsafe fn descriptor(s: *mut ExecScratch, task: u64, fd: usize, root: Place, top: u64) {
    // SAFETY: as for `descriptors`; `fd` is less than `STDIO`. Kernel addresses are read through a cast pointer or by helper;
    // both yield zeros on a fault.
    unsafe {
        let file = file_at(task, fd as u64);
        let out = (&raw mut (*s).frame.record.stdio).cast::<Stdio>().add(fd);
        zero(out);
        set((&raw mut (*s).files).cast::<u64>().add(fd), file);
        let (first, second) = (get(&raw const (*s).files[0]), get(&raw const (*s).files[1]));
        (*out).state = match () {
            () if file == 0 => stdio::CLOSED,
            () if fd > 0 && file == first => stdio::SAME,
            () if fd > 1 && file == second => stdio::SAME + 1,
            () => stdio::OPEN,
        };
        if get(&raw const (*out).state) != stdio::OPEN {
            return;
        }
        describe(s, out, file, root, top);
    }
}

/// Describes an open file, and appends its names.
#[inline(always)]
unsafe fn describe(s: *mut ExecScratch, out: *mut Stdio, file: u64, root: Place, top: u64) {
    // SAFETY: as for `descriptors`. Kernel addresses are read through a cast pointer or by helper; both yield zeros on a fault.
    unsafe {
        let view = view_file(file, &raw mut (*s).walk);
        let inode: u64 = any(view.path.dentry, field::DentryInode);
        let mode: u16 = any(inode, field::InodeMode);
        (*out).mode = mode;
        (*out).flags = view.flags as u16;
        (*out).ino = any(inode, field::InodeIno);
        (*out).device = any(inode, field::InodeRdev);
        if mode & FORMAT == SOCKET {
            peer(s, out, file);
        } else if mode & FORMAT != FIFO || any::<u64>(view.path.dentry, field::DentryParent) != view.path.dentry {
            let start = get(&raw const (*s).off);
            let buf = (&raw mut (*s).buf).cast();
            let names =
                path::walk_by::<MASK, false, { path::DEPTH_FEW }>(&raw mut (*s).walk, buf, start, view.path, root, top);
            let fits = names.end <= get(&raw const (*s).end);
            if fits {
                set(&raw mut (*s).off, names.end);
            }
            // A path without its beginning is useless.
            (*out).names_len = if fits { (names.end - start) as u16 } else { 0 };
            (*out).names_marks = if fits { names.marks } else { names.marks | mark::CUT };
        } else {
            (*out).names_marks = mark::PSEUDO;
        }
    }
}

/// Appends the other descriptors, up to [`FDS`], if they are requested.
#[inline(always)]
pub(super) unsafe fn others(s: *mut ExecScratch, task: u64, root: Place, top: u64) {
    // SAFETY: as for `descriptors`.
    unsafe {
        let record = &raw mut (*s).frame.record.exec;
        let marks = &raw mut (*record).fds_marks;
        (*record).fds_len = 0;
        if konst!(AllFds) == 0 || !large(s) {
            return set(marks, u32::from(if konst!(AllFds) == 0 { mark::NOT_COLLECTED } else { NO_ROOM }));
        }
        set(marks, u32::from(mark::CUT));
        set(&raw mut (*s).open, open_below_64(task) & !7);
        let start = get(&raw const (*s).off);
        // Long paths must not take the room of the descriptors themselves.
        set(&raw mut (*s).end, MASK - FDS * size_of::<Further>() as u64);
        set(&raw mut (*s).full, 0);
        let mut turn = 0;
        loop {
            may_turn!(turn, FDS_FEW);
            let open = get(&raw const (*s).open);
            if open == 0 {
                set(marks, get(&raw const (*s).full) as u32);
                break;
            }
            let number = u64::from(open.trailing_zeros());
            set(&raw mut (*s).open, open & open.wrapping_sub(1));
            if !other(s, task, number, root, top) {
                break;
            }
        }
        (*record).fds_len = (get(&raw const (*s).off) - start) as u32;
    }
}

/// Appends a descriptor; `false` if there is no room.
#[inline(always)]
unsafe fn other(s: *mut ExecScratch, task: u64, number: u64, root: Place, top: u64) -> bool {
    const SIZE: u64 = size_of::<Further>() as u64;
    const WORDS: usize = size_of::<Further>() / 8;
    // SAFETY: as for `descriptors`, and `SIZE` bytes follow any masked offset in `buf`.
    unsafe {
        let at = get(&raw const (*s).off);
        if at + SIZE > MASK {
            return false;
        }
        set(&raw mut (*s).off, at + SIZE);
        let further = &raw mut (*s).further;
        set(&raw mut (*further).number, number);
        zero(&raw mut (*further).file);
        (*further).file.state = stdio::OPEN;
        describe(s, &raw mut (*further).file, file_at(task, number), root, top);
        if get(&raw const (*further).file.names_marks) & mark::CUT != 0 {
            set(&raw mut (*s).full, mark::CUT.into());
        }
        let (to, from) = ((&raw mut (*s).buf).cast::<u8>().add((at & MASK) as usize), further.cast::<u64>());
        let mut word = 0;
        while word < WORDS {
            store_word(to.add(8 * word), get(from.add(word)));
            word += 1;
        }
        true
    }
}

/// Writes the peer of a socket, if the kernel has such sockets, and appends the address of a Unix socket.
#[inline(always)]
unsafe fn peer(s: *mut ExecScratch, out: *mut Stdio, file: u64) {
    let sockets = has(field::FilePrivate) && has(field::SocketSk) && has(field::SkFamily) && has(field::SkState);
    if !sockets || !has(field::SkDport) || !has(field::SkDaddr) {
        return;
    }
    // SAFETY: as for `descriptor`; `out` points into a map value.
    unsafe {
        let sk = any(any::<u64>(file, field::FilePrivate), field::SocketSk);
        (*out).family = any(sk, field::SkFamily);
        if any::<u16>(sk, field::SkFamily) == AF_UNIX {
            return unix_peer(s, out, sk);
        }
        let (address, port) = sock::peer(sk);
        (*out).port = port;
        (&raw mut (*out).address).cast::<[u64; 2]>().write_unaligned(address);
    }
}

/// Writes the inode of the peer of a Unix socket, and appends its address, as far as there is room.
#[inline(always)]
unsafe fn unix_peer(s: *mut ExecScratch, out: *mut Stdio, sk: u64) {
    if !has(field::UnixPeer) || !has(field::UnixAddr) || !has(field::UnixAddressLen) || !has(field::UnixAddressName) {
        return;
    }
    /// Bytes of `sun_family`.
    const FAMILY: u64 = 2;
    // SAFETY: as for `descriptor`; `out` points into a map value, and more than `UNIX_PATH_MAX` bytes follow any masked offset in
    // `buf`. A connected socket holds its peer.
    unsafe {
        let other: u64 = any(sk, field::UnixPeer);
        if other == 0 {
            return;
        }
        if has(field::SkSocket) && has(field::SocketInode) {
            let inode = any::<u64>(other, field::SkSocket).wrapping_add(offset(field::SocketInode));
            (&raw mut (*out).address).cast::<u64>().write_unaligned(any(inode, field::InodeIno));
        }
        let address: u64 = any(other, field::UnixAddr);
        let bytes = u64::from(any::<u32>(address, field::UnixAddressLen));
        let len = at_most(bytes.saturating_sub(FAMILY), UNIX_PATH_MAX);
        let off = get(&raw const (*s).off);
        if address == 0 {
            return;
        }
        if off + len > get(&raw const (*s).end) {
            (*out).names_marks = mark::CUT;
            return;
        }
        let to = (&raw mut (*s).buf).cast::<u8>().add((off & MASK) as usize);
        read_kernel(to, len, address.wrapping_add(offset(field::UnixAddressName) + FAMILY));
        set(&raw mut (*s).off, off + len);
        (*out).names_len = len as u16;
    }
}
