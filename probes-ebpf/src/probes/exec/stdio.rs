//! stdin, stdout and stderr of a new program, and its other descriptors.
//!
//! The kernel has already closed the descriptors with `FD_CLOEXEC`
//! ([`begin_new_exec`](https://elixir.bootlin.com/linux/v6.12/source/fs/exec.c)), and the table of descriptors is the process's own.

use super::{ExecScratch, MASK, STDIO_FEW, exec_walk, large};
use crate::files::{file_at, open_below_64, view_file};
use crate::maps::Pointer;
use crate::path::{self, Place};
use crate::read::{
    any, at, at_most, get, has, konst, may_turn, offset, put_unaligned, read_kernel, set, store_word, zero,
};
use crate::sock::{self, AF_UNIX, FORMAT, SOCKET};
use tracetui_shared::offsets::field;
use tracetui_shared::record::exec::{FDS, Further, NO_ROOM, STDIO, Stdio, stdio};
use tracetui_shared::record::file::unix::PATH_MAX;
use tracetui_shared::record::mark;

/// A type in `i_mode` (include/uapi/linux/stat.h).
const FIFO: u16 = 0x1000;

/// Descriptors that are described where the verifier walks through every iteration (before 6.9).
const FDS_FEW: u32 = 8;

/// Bytes of the records of all descriptors.
pub(super) const BYTES: u16 = (STDIO * size_of::<Stdio>()) as u16;

/// Describes the standard descriptors of the current task, and appends the names of their files.
#[inline(always)]
pub(super) fn descriptors(s: &mut ExecScratch, task: u64, root: Place, top: u64) {
    let end = if large(s) { MASK } else { get(&s.off) + STDIO_FEW };
    set(&mut s.end, end);
    set(&mut s.fd, 0);
    let mut turn = 0;
    loop {
        may_turn!(turn, STDIO as u32);
        let fd = get(&s.fd);
        if fd >= STDIO as u64 {
            break;
        }
        set(&mut s.fd, fd + 1);
        descriptor(s, task, fd as usize, root, top);
    }
}

#[inline(always)]
fn descriptor(s: &mut ExecScratch, task: u64, fd: usize, root: Place, top: u64) {
    let file = file_at(task, fd as u64);
    let mut out = Pointer::to(at(s.frame.record.stdio.as_mut_ptr(), fd as u64));
    zero(&mut *out);
    set(at(s.files.as_mut_ptr(), fd as u64), file);
    let (first, second) = (get(&s.files[0]), get(&s.files[1]));
    out.state = match () {
        () if file == 0 => stdio::CLOSED,
        () if fd > 0 && file == first => stdio::SAME,
        () if fd > 1 && file == second => stdio::SAME + 1,
        () => stdio::OPEN,
    };
    if get(&out.state) != stdio::OPEN {
        return;
    }
    describe(s, out, file, root, top);
}

/// Describes an open file, and appends its names.
#[inline(always)]
fn describe(s: &mut ExecScratch, mut out: Pointer<Stdio>, file: u64, root: Place, top: u64) {
    let view = view_file(file, &mut s.walk);
    let inode: u64 = any(view.path.dentry, field::DentryInode);
    let mode: u16 = any(inode, field::InodeMode);
    out.mode = mode;
    out.flags = view.flags as u16;
    out.ino = any(inode, field::InodeIno);
    out.device = any(inode, field::InodeRdev);
    if mode & FORMAT == SOCKET {
        peer(s, out, file);
    } else if mode & FORMAT != FIFO || any::<u64>(view.path.dentry, field::DentryParent) != view.path.dentry {
        let start = get(&s.off);
        let names = path::walk::<MASK>(&mut s.walk, start, view.path, root, top, exec_walk);
        let fits = names.end <= get(&s.end);
        if fits {
            set(&mut s.off, names.end);
        }
        // A path without its beginning is useless.
        out.names_len = if fits { (names.end - start) as u16 } else { 0 };
        out.names_marks = if fits { names.marks } else { names.marks | mark::CUT };
    } else {
        out.names_marks = mark::PSEUDO;
    }
}

/// Appends the other descriptors, up to [`FDS`], if they are requested; else only that by which a script was passed.
#[inline(always)]
pub(super) fn others(s: &mut ExecScratch, task: u64, root: Place, top: u64) {
    s.frame.record.exec.fds_len = 0;
    if konst!(AllFds) == 0 {
        let (start, script) = (get(&s.off), get(&s.script));
        if script > STDIO as u64 && large(s) {
            set(&mut s.end, MASK);
            other(s, task, script - 1, root, top);
        }
        s.frame.record.exec.fds_len = (get(&s.off) - start) as u32;
        return set(&mut s.frame.record.exec.fds_marks, u32::from(mark::NOT_COLLECTED));
    }
    if !large(s) {
        return set(&mut s.frame.record.exec.fds_marks, u32::from(NO_ROOM));
    }
    set(&mut s.frame.record.exec.fds_marks, u32::from(mark::CUT));
    set(&mut s.open, open_below_64(task) & !7);
    let start = get(&s.off);
    // Long paths must not take the room of the descriptors themselves.
    set(&mut s.end, MASK - FDS * size_of::<Further>() as u64);
    set(&mut s.full, 0);
    let mut turn = 0;
    loop {
        may_turn!(turn, FDS_FEW);
        let open = get(&s.open);
        if open == 0 {
            set(&mut s.frame.record.exec.fds_marks, get(&s.full) as u32);
            break;
        }
        let number = u64::from(open.trailing_zeros());
        set(&mut s.open, open & open.wrapping_sub(1));
        if !other(s, task, number, root, top) {
            break;
        }
    }
    s.frame.record.exec.fds_len = (get(&s.off) - start) as u32;
}

/// Appends a descriptor; `false` if there is no room.
#[inline(always)]
fn other(s: &mut ExecScratch, task: u64, number: u64, root: Place, top: u64) -> bool {
    const SIZE: u64 = size_of::<Further>() as u64;
    const WORDS: u64 = SIZE / 8;
    let off = get(&s.off);
    if off + SIZE > MASK {
        return false;
    }
    set(&mut s.off, off + SIZE);
    let mut further = Pointer::to(&mut s.further);
    set(&mut further.number, number);
    zero(&mut further.file);
    further.file.state = stdio::OPEN;
    describe(s, Pointer::to(&mut further.file), file_at(task, number), root, top);
    if get(&further.file.names_marks) & mark::CUT != 0 {
        set(&mut s.full, mark::CUT.into());
    }
    let (to, from) = (at(s.buf.as_mut_ptr(), off & MASK), (&raw mut *further).cast::<u64>());
    let mut word = 0;
    while word < WORDS {
        store_word(at(to, 8 * word), get(at(from, word)));
        word += 1;
    }
    true
}

/// Writes the peer of a socket, if the kernel has such sockets, and appends the address of a Unix socket.
#[inline(always)]
fn peer(s: &mut ExecScratch, mut out: Pointer<Stdio>, file: u64) {
    let sockets = has(field::FilePrivate) && has(field::SocketSk) && has(field::SkFamily) && has(field::SkState);
    if !sockets || !has(field::SkDport) || !has(field::SkDaddr) {
        return;
    }
    let sk = any(any::<u64>(file, field::FilePrivate), field::SocketSk);
    out.family = any(sk, field::SkFamily);
    if any::<u16>(sk, field::SkFamily) == AF_UNIX {
        return unix_peer(s, out, sk);
    }
    let (address, port) = sock::peer(sk);
    out.port = port;
    put_unaligned((&raw mut out.address).cast(), address);
}

/// Writes the inode of the peer of a Unix socket, and appends its address, as far as there is room.
#[inline(always)]
fn unix_peer(s: &mut ExecScratch, mut out: Pointer<Stdio>, sk: u64) {
    if !has(field::UnixPeer) || !has(field::UnixAddr) || !has(field::UnixAddressLen) || !has(field::UnixAddressName) {
        return;
    }
    /// Bytes of `sun_family`.
    const FAMILY: u64 = 2;
    let other: u64 = any(sk, field::UnixPeer);
    if other == 0 {
        return;
    }
    if has(field::SkSocket) && has(field::SocketInode) {
        let inode = any::<u64>(other, field::SkSocket).wrapping_add(offset(field::SocketInode));
        put_unaligned((&raw mut out.address).cast(), any::<u64>(inode, field::InodeIno));
    }
    let address: u64 = any(other, field::UnixAddr);
    let bytes = u64::from(any::<u32>(address, field::UnixAddressLen));
    let len = at_most(bytes.saturating_sub(FAMILY), PATH_MAX.into());
    let off = get(&s.off);
    if address == 0 {
        return;
    }
    if off + len > get(&s.end) {
        out.names_marks = mark::CUT;
        return;
    }
    let to = at(s.buf.as_mut_ptr(), off & MASK);
    read_kernel(to, len, address.wrapping_add(offset(field::UnixAddressName) + FAMILY));
    set(&mut s.off, off + len);
    out.names_len = len as u16;
}
