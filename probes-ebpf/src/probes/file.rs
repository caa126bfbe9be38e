//! `file`: a call changed a name or the attributes of a file, or failed to. `lookup`: a call looked up a path, and failed.
//! `unix`: a Unix socket was connected to.

use super::unix::Connect;
use crate::arch::read_passed;
use crate::call::{self, Call};
use crate::capture::is_requested;
use crate::emit::{Event, Frame};
use crate::files;
use crate::functions::{function, in_pieces};
use crate::maps::{Pointer, per_cpu, pointer_to_element, this_element};
use crate::path::{self, NAME_SLACK, NAMES_MAX, Place, Walk};
use crate::read::{
    at, at_most, forgotten, get, konst, ld, may_turn, put, put_unaligned, read_kernel, read_user_str, set, store_word,
};
use crate::sock;
use crate::task::{Who, current};
use tracetui_shared::calls::{DIR, FLAGS, NEW_DIR, NEXT_VALUE, NO_ARGUMENT, NO_START, PATH, PLACES, TEXT, VALUE};
use tracetui_shared::kind::{Kind, KindSet, Slot};
use tracetui_shared::offsets::field;
use tracetui_shared::record::file::unix::{PATH_MAX as SUN_PATH_MAX, form};
use tracetui_shared::record::file::{FileRecord, PATH_MAX, TEXT_MAX, start};
use tracetui_shared::record::{mark, stack};

/// Highest offset in the buffer at which a name may start.
const MASK: u64 = 2 * NAMES_MAX - 1;
/// Bytes requested when a path is read: one more than fits, to distinguish a path that fits from one that does not.
const PATH_ASK: u64 = PATH_MAX as u64 + 1;
const TEXT_ASK: u64 = TEXT_MAX as u64 + 1;
const AT_FDCWD: i32 = -100;
/// Where a path is read in the buffer, behind all directories: their length decides on its place, and it decides on them.
const STAGE: u64 = MASK + 1 + NAME_SLACK as u64;
/// Bytes there for each path, a multiple of 8.
const STAGED: u64 = PATH_MAX as u64 + 8;
/// Bytes of a path that are moved without the call of a helper.
const SHORT: u64 = 48;
/// Bytes of the longest variable part.
const LONGEST: u64 = MASK + 2 * PATH_ASK + TEXT_ASK;

/// The buffers in which a `file` record is assembled.
#[repr(C)]
struct FileScratch {
    frame: Frame<FileRecord>,
    buf: [u8; LONGEST as usize + NAME_SLACK + stack::ROOM],
    walk: Walk,
    /// The arguments, and zeros: an index of three bits finds one, and that of [`NO_ARGUMENT`] a zero.
    args: [u64; 8],
    /// The offset in the buffer of the next part, and which directory is next.
    off: u64,
    turn: u64,
    /// The marks of a directory without names.
    marks: u64,
    connect: Connect,
    /// Not 0 for a connect(2).
    connects: u8,
    /// [`Call::row`].
    row: u8,
}

per_cpu! {
    /// Records of calls.
    FILE_SCRATCH: FileScratch;
}

in_pieces! {
    /// Walks from a directory at which a path starts.
    file_walk, file_walk_pieces, file_walk_piece: path::climb::<_, MASK>(&FILE_SCRATCH, |s| (&mut s.walk, s.buf.as_mut_ptr()))
}

/// The slot of a request of io_uring that changes a name or attributes: `IORING_OP_RENAMEAT` to `IORING_OP_LINKAT`,
/// `IORING_OP_FSETXATTR`, `IORING_OP_SETXATTR` and `IORING_OP_FTRUNCATE` (include/uapi/linux/io_uring.h). Or of a lookup:
/// `IORING_OP_STATX`.
#[inline(always)]
pub fn uring_slot(opcode: u8) -> Option<Slot> {
    match opcode {
        35..=39 | 41 | 42 | 55 => Some(Slot::FileUring),
        21 => Some(Slot::LookupUring),
        _ => None,
    }
}

/// Counts such a request as missed.
#[inline(always)]
pub fn missed(slot: Slot, who: &Who, ret: i32) {
    let is_lookup = slot as u16 == Slot::LookupUring as u16;
    let kind = if is_lookup { Kind::Lookup } else { Kind::File };
    let is_none = is_lookup && !is_lookup_failure(ret.into());
    if is_none || !is_requested(kind) {
        return;
    }
    Event::miss(slot, who, ret < 0);
}

/// The kinds with these records.
const KINDS: KindSet = KindSet::of(&[Kind::File, Kind::Lookup, Kind::Unix]);

/// Whether a call is one that [`ended`] reports.
#[inline(always)]
pub fn serves(call: &Call) -> bool {
    konst!(Kinds) & u64::from(KINDS.bits()) != 0
        && (call.is_of(Kind::File) || call.is_of(Kind::Lookup) || connects(call))
}

/// Whether a call is a connect(2) of a Unix socket.
#[inline(always)]
fn connects(call: &Call) -> bool {
    if !is_requested(Kind::Unix) || !sock::is_call(call) {
        return false;
    }
    pointer_to_element(&FILE_SCRATCH).is_some_and(|s| Pointer::to(s).value().connect.note(call))
}

/// Reports a call that ended. The texts are read from the caller's memory after the call.
#[inline(always)]
pub fn ended(call: &Call) {
    let is_lookup = call.is_of(Kind::Lookup);
    if is_lookup && !is_lookup_failure(call.ret) {
        return;
    }
    let who = Who::of(call.task);
    let connects = is_requested(Kind::Unix) && sock::is_call(call);
    let slot = match is_lookup {
        _ if connects => Slot::Unix,
        true => Slot::Lookup,
        false => Slot::File,
    };
    let Some(event) = Event::of_call(slot, &who, call) else { return };
    let Some(s) = event.place(&FILE_SCRATCH) else { return };
    event.head(&mut s.frame.header, &who);
    set(&mut s.row, call.row);
    set(&mut s.connects, connects.into());
    let mut nth = 0;
    while nth < call.args.len() {
        set(&mut s.args[nth], call.args[nth]);
        nth += 1;
    }
    set(&mut s.args[nth], if connects { s.connect.looked_up() } else { call::fifth_argument(call) });
    s.frame.record.values = [argument(s, VALUE as u64), argument(s, NEXT_VALUE as u64)];
    s.frame.record.flags = argument(s, FLAGS as u64) as u32;
    s.frame.record.dirfds = [dirfd(s, DIR as u64), dirfd(s, NEW_DIR as u64)];
    s.frame.record.ret = call.ret as i32;
    s.frame.record.euid = ld(who.cred, field::CredEuid);
    s.frame.record.op = call.op();
    s.frame.record.abi = call.abi;
    set(&mut s.frame.record.starts, 0);
    file_texts();
    const FIXED: u64 = size_of::<Frame<FileRecord>>() as u64;
    let len = at_most(get(&s.off), LONGEST);
    event.send(&mut s.frame.header, FIXED + len, FIXED + LONGEST);
}

function! {
    /// Appends the directories and the texts.
    file_texts: texts()
}

#[inline(always)]
fn texts() -> bool {
    let Some(s) = this_element(&FILE_SCRATCH) else { return false };
    directories(s, current());
    if get(&s.connects) != 0 {
        socket(s);
    } else {
        paths(s);
        let off = at_most(get(&s.off), MASK + 2 * u64::from(PATH_MAX));
        read_text::<TEXT_ASK>(s, TEXT as u64, 2, off);
        set(&mut s.off, off + u64::from(get(&s.frame.record.text_lens[2])));
    }
    true
}

/// Whether a result means that the path does not lead to a file, or not for the caller. EINVAL of readlink(2) is an answer: the file is no
/// link. The kernel does not look up a path that it cannot read (EFAULT), or below a descriptor that is not open (EBADF), or for a call
/// that it does not have (ENOSYS).
#[inline(always)]
fn is_lookup_failure(ret: i64) -> bool {
    const EBADF: i32 = 9;
    const EFAULT: i32 = 14;
    const EINVAL: i32 = 22;
    const ENOSYS: i32 = 38;
    // Successes of a number that another call has too are not kept off.
    (ret as i32) < 0 && !matches!(-(ret as i32), EBADF | EFAULT | EINVAL | ENOSYS)
}

/// Appends the names of the directories at which the two paths start.
#[inline(always)]
fn directories(s: &mut FileScratch, task: u64) {
    let fs: u64 = ld(task, field::TaskFs);
    let (root, top) = (path::root_of(fs), path::top_of(task));
    set(&mut s.off, 0);
    set(&mut s.turn, 0);
    set(&mut s.walk.from_mnt, u64::MAX);
    let mut turn = 0;
    loop {
        may_turn!(turn, 2);
        let nth = get(&s.turn);
        if nth >= 2 {
            break;
        }
        set(&mut s.turn, nth + 1);
        if get(&s.connects) == 0 {
            read_text::<PATH_ASK>(s, 2 * nth + PATH as u64, nth & 1, stage(nth));
        } else {
            put(at(s.buf.as_mut_ptr(), STAGE), get(&s.connect.first));
            s.frame.record.text_marks[0] = if s.connect.form == form::PATH { 0 } else { mark::FAULT };
        }
        let start = get(&s.off);
        let from = start_of(s, task, nth, (root, top));
        let (mut len, mut marks) = (0, get(&s.marks) as u8);
        // One test, which makes fewer paths for the verifier than two.
        if (get(&s.walk.from_dentry) ^ from.dentry) | (get(&s.walk.from_mnt) ^ from.mnt) == 0 {
            set(&mut s.frame.record.starts, get(&s.frame.record.starts) | start::SAME);
        } else if from.dentry != 0 {
            let names = path::walk::<MASK>(&mut s.walk, start, from, root, top, file_walk);
            (len, marks) = (names.end - start, names.marks);
            set(&mut s.off, names.end & MASK);
        }
        set(at(s.frame.record.dir_lens.as_mut_ptr(), nth & 1), len as u16);
        set(at(s.frame.record.dir_marks.as_mut_ptr(), nth & 1), marks);
    }
}

/// The place at which the path `nth` starts: for an absolute one the caller's root, or none if nothing is above that. Writes how it was found.
#[inline(always)]
fn start_of(s: &mut FileScratch, task: u64, nth: u64, (root, top): (Place, u64)) -> Place {
    let (path_at, dir_at) = (place_of(s, 2 * nth + PATH as u64), place_of(s, 2 * nth + DIR as u64));
    set(&mut s.marks, 0);
    if dir_at == u64::from(NO_START) {
        return Place::NONE;
    }
    let first = at(s.buf.as_mut_ptr(), stage(nth));
    let mark = if path_at != u64::from(NO_ARGUMENT) {
        let fault = get(at(s.frame.record.text_marks.as_mut_ptr(), nth & 1)) & mark::FAULT != 0;
        if fault || get(first) == b'/' && path::is_top(top, root) {
            return Place::NONE;
        }
        start::PATH << nth
    } else if dir_at == u64::from(NO_ARGUMENT) {
        return Place::NONE;
    } else {
        set(first, 0);
        start::FILE
    };
    set(&mut s.frame.record.starts, get(&s.frame.record.starts) | mark);
    // Read again: the verifier need not follow the two answers separately.
    if get(first) == b'/' {
        return root;
    }
    let dirfd = get(at(s.frame.record.dirfds.as_mut_ptr(), nth & 1));
    if dirfd == AT_FDCWD {
        return path::cwd_of(ld(task, field::TaskFs));
    }
    let file = files::file_at(task, u64::from(dirfd as u32));
    if file == 0 {
        set(&mut s.marks, mark::NOT_COLLECTED.into());
        return Place::NONE;
    }
    files::view_file(file, &mut s.walk).path
}

/// Where the path `nth` is read.
#[inline(always)]
fn stage(nth: u64) -> u64 {
    STAGE + (nth & 1) * STAGED
}

/// Reads a text that was passed, without its NUL.
#[inline(always)]
fn read_text<const ASK: u64>(s: &mut FileScratch, which: u64, nth: u64, to: u64) {
    let (mut len, mut marks) = (0, 0);
    if place_of(s, which) != u64::from(NO_ARGUMENT) {
        let passed = argument(s, which);
        let n = read_user_str(at(s.buf.as_mut_ptr(), to), ASK, passed);
        (len, marks) = if n == ASK as i64 {
            (ASK - 2, mark::CUT)
        } else if n > 0 {
            (n as u64 - 1, 0)
        } else {
            // Of an empty path, older kernels return 0.
            (0, if n == 0 || names_descriptor(s, passed) { 0 } else { mark::FAULT })
        };
    }
    set(at(s.frame.record.text_lens.as_mut_ptr(), nth), len as u16);
    set(at(s.frame.record.text_marks.as_mut_ptr(), nth), marks);
}

/// Appends the two paths, which were read.
#[inline(always)]
fn paths(s: &mut FileScratch) {
    set(&mut s.turn, 0);
    let mut turn = 0;
    loop {
        may_turn!(turn, 2);
        let nth = get(&s.turn);
        if nth >= 2 {
            break;
        }
        set(&mut s.turn, nth + 1);
        let len = get(at(s.frame.record.text_lens.as_mut_ptr(), nth & 1)).into();
        let off = at_most(get(&s.off), MASK + u64::from(PATH_MAX));
        let (to, from) = (at(s.buf.as_mut_ptr(), off), at(s.buf.as_mut_ptr(), stage(nth)));
        let mut word = 0;
        while word < SHORT / 8 {
            store_word(at(to, 8 * word), get(at(from.cast::<u64>(), word)));
            word += 1;
        }
        if len > SHORT {
            read_kernel(to, at_most(len, PATH_MAX.into()), from as u64);
        }
        set(&mut s.off, off + len);
    }
}

/// Appends the address of a Unix socket, and the name of the peer's process.
#[inline(always)]
fn socket(s: &mut FileScratch) {
    const LONGEST_NAME: u64 = SUN_PATH_MAX as u64;
    // Offsets and lengths are read again where they are used: the verifier of 5.10 forgets the bounds of what is moved to the stack.
    let passed = |s: &FileScratch| at_most(get(&s.connect.len), LONGEST_NAME);
    let place = |s: &mut FileScratch| {
        let off = get(&s.off) & MASK;
        at(s.buf.as_mut_ptr(), off)
    };
    let from = get(&s.connect.path);
    let n = if get(&s.connect.form) == form::ABSTRACT {
        let to = place(s);
        let fault = read_passed::<LONGEST_NAME>(to, passed(s), from) != 0;
        put(place(s), b'@');
        if fault { -1 } else { passed(s) as i64 + 1 }
    } else if get(&s.connect.len) == 0 {
        0
    } else {
        // The kernel ends the path at its first NUL, or at the length that was passed.
        let to = place(s);
        let n = read_user_str(to, passed(s) + 1, from);
        // Without a NUL, the byte after it may be one that cannot be read.
        let to = place(s);
        let done = n >= 0 || read_passed::<LONGEST_NAME>(to, passed(s), from) != 0;
        if done { n } else { passed(s) as i64 + 1 }
    };
    // The verifier need not follow each way to this.
    let n = forgotten(n as u64, from) as i64;
    let marks = if n < 0 {
        mark::FAULT
    } else if get(&s.connect.len) > LONGEST_NAME {
        mark::CUT
    } else {
        0
    };
    let len = if n <= 0 { 0 } else { at_most(n as u64 - 1, LONGEST_NAME) };
    let (form, kind) = (get(&s.connect.form), s.connect.socket_type());
    s.frame.record.dirfds[1] = get(&s.connect.fd);
    s.frame.record.values = [u64::from(kind) | u64::from(form) << 32, 0];
    s.frame.record.text_lens = [len as u16, 0, 0];
    s.frame.record.text_marks = [marks, 0, 0];
    set(&mut s.off, (get(&s.off) & MASK) + len);
    if get(&s.frame.record.ret) == 0
        && let Some(peer) = s.connect.peer()
    {
        s.frame.record.values[1] = u64::from(peer.tgid) | u64::from(peer.uid) << 32;
        s.frame.record.text_lens[2] = size_of_val(&peer.comm) as u16;
        let end = get(&s.off) & (2 * MASK + 1);
        put_unaligned(at(s.buf.as_mut_ptr(), end).cast(), peer.comm);
        set(&mut s.off, end + size_of_val(&peer.comm) as u64);
    }
}

/// The descriptor at which a path starts.
#[inline(always)]
fn dirfd(s: &mut FileScratch, which: u64) -> i32 {
    if place_of(s, which) >= u64::from(NO_START) { AT_FDCWD } else { argument(s, which) as i32 }
}

/// Whether a path is absent because the descriptor is the file (`AT_EMPTY_PATH`).
#[inline(always)]
fn names_descriptor(s: &FileScratch, passed: u64) -> bool {
    const AT_EMPTY_PATH: u32 = 0x1000;
    passed == 0 && get(&s.frame.record.flags) & AT_EMPTY_PATH != 0
}

/// An argument of a call; 0 if the call has none there.
#[inline(always)]
fn argument(s: &mut FileScratch, which: u64) -> u64 {
    get(at(s.args.as_mut_ptr(), place_of(s, which) & 7))
}

/// Where an argument of a call is ([`PLACES`]).
#[inline(always)]
fn place_of(s: &FileScratch, which: u64) -> u64 {
    get(&PLACES[usize::from(get(&s.row))][(which & 7) as usize]).into()
}
