//! stdin, stdout and stderr of a new program.
//!
//! The kernel has already closed the descriptors with `FD_CLOEXEC`
//! ([`begin_new_exec`](https://elixir.bootlin.com/linux/v6.12/source/fs/exec.c)), and the table of descriptors is the process's own.

use super::{ExecScratch, MASK, STDIO_FEW, large};
use crate::files::{file_at, view_file};
use crate::path::{self, Place};
use crate::probes::tcp::sock;
use crate::read::{any, get, has, may_turn, set};
use tracetui_shared::offsets::field;
use tracetui_shared::record::exec::{STDIO, Stdio, stdio};
use tracetui_shared::record::mark;

/// The bits of `i_mode` for the type, and two types (include/uapi/linux/stat.h).
const FORMAT: u16 = 0xf000;
const SOCKET: u16 = 0xc000;
const FIFO: u16 = 0x1000;

/// Bytes of the records of all descriptors.
pub(super) const BYTES: u16 = (STDIO * size_of::<Stdio>()) as u16;

/// Clears the record of a descriptor: nothing looked at it. Word by word, because the compiler would call `memset`.
#[inline(always)]
unsafe fn clear(out: *mut Stdio) {
    const WORDS: usize = size_of::<Stdio>() / 8;
    const { assert!(WORDS == 5 && stdio::NOT_COLLECTED == 0) };
    let words = out.cast::<u64>();
    // SAFETY: `out` points into a map value.
    unsafe {
        set(words, 0);
        set(words.add(1), 0);
        set(words.add(2), 0);
        set(words.add(3), 0);
        set(words.add(4), 0);
    }
}

/// Clears the records of all descriptors.
#[inline(always)]
pub(super) unsafe fn clear_all(s: *mut ExecScratch) {
    const { assert!(STDIO == 3) };
    // SAFETY: `s` is this CPU's element of the calling program's own map.
    unsafe {
        let all = (&raw mut (*s).frame.record.stdio).cast::<Stdio>();
        clear(all);
        clear(all.add(1));
        clear(all.add(2));
    }
}

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
        clear(out);
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
        let view = view_file(file, &raw mut (*s).walk);
        let inode: u64 = any(view.path.dentry, field::DentryInode);
        let mode: u16 = any(inode, field::InodeMode);
        (*out).mode = mode;
        (*out).flags = view.flags as u16;
        (*out).ino = any(inode, field::InodeIno);
        (*out).device = any(inode, field::InodeRdev);
        if mode & FORMAT == SOCKET {
            peer(out, file);
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

/// Writes the peer of a socket, if the kernel has IP sockets.
#[inline(always)]
unsafe fn peer(out: *mut Stdio, file: u64) {
    let sockets = has(field::FilePrivate) && has(field::SocketSk) && has(field::SkFamily) && has(field::SkState);
    if !sockets || !has(field::SkDport) || !has(field::SkDaddr) {
        return;
    }
    // SAFETY: as for `descriptor`; `out` points into a map value.
    unsafe {
        let sk = any(any::<u64>(file, field::FilePrivate), field::SocketSk);
        let (address, port) = sock::peer(sk);
        (*out).family = any(sk, field::SkFamily);
        (*out).port = port;
        (&raw mut (*out).address).cast::<[u64; 2]>().write_unaligned(address);
    }
}
