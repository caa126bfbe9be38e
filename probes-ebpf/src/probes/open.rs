//! `open`: a file was opened, or failed to open.

use crate::arch::{self, read_passed};
use crate::call::Call;
use crate::emit::{Event, Frame};
use crate::files;
use crate::functions::in_pieces;
use crate::maps::per_cpu;
use crate::path::{self, NAME_SLACK, NAMES_MAX, Place, Walk};
use crate::read::{any, at, get, has, konst, ld, opaque, read_user_str, set, zero};
use crate::task::Who;
use aya_ebpf::maps::Array;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::field;
use tracetui_shared::record::open::{CREATED, EXISTED, NEAR, OpenRecord, PATH_MAX, STARTS, via};
use tracetui_shared::record::{mark, stack};

/// Highest offset in the buffer at which a name may start.
const MASK: u64 = NAMES_MAX - 1;
/// Bytes requested when a path is read: one more than fits, to distinguish a path that fits from one that does not.
const ASK: u64 = PATH_MAX as u64 + 1;

const AT_FDCWD: i32 = -100;
/// The flags that creat(2) implies: `O_CREAT | O_WRONLY | O_TRUNC`.
const CREAT_FLAGS: u64 = 0x241;
const O_ACCMODE: u64 = 3;
const O_PATH: u64 = 0x20_0000;
const O_CREAT: u64 = 0x40;
/// The bit of `FMODE_CREATED` in `file->f_mode` (include/linux/fs.h): the open created the file.
const FMODE_CREATED: u32 = 20;
const _: () = assert!(EXISTED - 1 == CREATED);

/// The buffers in which an `open` record is assembled.
#[repr(C)]
pub struct OpenScratch {
    /// Header and fixed part.
    pub frame: Frame<OpenRecord>,
    /// The variable part: names, then the path as passed, and the stack.
    pub buf: [u8; NAMES_MAX as usize + ASK as usize + NAME_SLACK + stack::ROOM],
    walk: Walk,
    /// `struct open_how` (include/uapi/linux/openat2.h): flags, mode, resolve.
    how: [u64; 3],
}

per_cpu! {
    /// Records of opens by system calls.
    OPEN_SCRATCH: OpenScratch;
}

in_pieces! {
    /// Walks from an opened file.
    open_walk, open_walk_pieces, open_walk_piece: climb(&OPEN_SCRATCH)
}

/// A part of a walk in a map of records.
#[inline(always)]
pub fn climb(map: &Array<OpenScratch>) -> bool {
    path::climb::<_, MASK>(map, |s| (&mut s.walk, s.buf.as_mut_ptr()))
}

/// Reports an open that ended.
#[inline(always)]
pub fn ended(call: &Call) {
    let who = Who::of(call.task);
    let Some(event) = Event::of_call(Slot::Open, &who, call) else { return };
    let Some(s) = event.place(&OPEN_SCRATCH) else { return };
    event.head(&mut s.frame.header, &who);
    let record = &mut s.frame.record;
    record.ret = call.ret as i32;
    set(&mut record.via, call.op());
    record.abi = call.abi;
    record.uring = 0;
    record.euid = ld(who.cred, field::CredEuid);
    record.has_euid = 1;
    let path = request(s, call);
    if call.ret < 0 && path != 0 && is_relative(s, path) {
        s.frame.record.how_marks |= STARTS;
    }
    let (end, _) = resolved::<0>(s, call.task, |reach| reach == Reach::Here, open_walk);
    let path_len = as_asked(s, end, path);
    send(s, &event, end, path_len);
}

/// Sends the assembled record. `end` is where the names end in the buffer, `path_len` the length of the path, both in
/// bytes.
#[inline(always)]
pub fn send(s: &mut OpenScratch, event: &Event, end: u64, path_len: u64) {
    const FIXED: u64 = size_of::<Frame<OpenRecord>>() as u64;
    event.send(&mut s.frame.header, FIXED + end + path_len, FIXED + NAMES_MAX + ASK);
}

/// Where the opened file can be found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// In the current task's descriptor table.
    Here,
    /// In no descriptor table: a direct descriptor of io_uring.
    NoDescriptor,
}

/// Writes the arguments of the call. Returns the user address of the path, or 0 without a path.
#[inline(always)]
fn request(s: &mut OpenScratch, call: &Call) -> u64 {
    let [a, b, c, d] = call.args;
    let record = &mut s.frame.record;
    record.how_marks = 0;
    record.resolve = 0;
    let via = get(&record.via);
    if via == via::OPENAT {
        record.dirfd = a as i32;
        record.flags = c & 0xffff_ffff;
        record.mode = d as u32;
        b
    } else if via == via::OPENAT2 {
        record.dirfd = a as i32;
        let how = &mut s.how;
        // The kernel refuses a shorter one (`OPEN_HOW_SIZE_VER0`, include/linux/fcntl.h).
        const SIZE: u64 = size_of::<[u64; 3]>() as u64;
        let fault = read_passed::<SIZE>(how.as_mut_ptr().cast(), SIZE, c) != 0 || d < SIZE;
        record.how_marks = if fault { mark::FAULT } else { 0 };
        record.flags = how[0];
        record.mode = how[1] as u32;
        record.resolve = how[2];
        b
    } else if via == via::OPEN_BY_HANDLE_AT {
        // The arguments are `mount_fd, handle, flags`. There is no path, and the descriptor only identifies the
        // file system.
        record.dirfd = a as i32;
        record.flags = c & 0xffff_ffff;
        record.mode = 0;
        0
    } else {
        let creat = via == via::CREAT;
        record.dirfd = AT_FDCWD;
        record.flags = if creat { CREAT_FLAGS } else { b & 0xffff_ffff };
        record.mode = if creat { b as u32 } else { c as u32 };
        a
    }
}

/// Whether a path that was passed is relative, or cannot be read.
#[inline(always)]
fn is_relative(s: &mut OpenScratch, path: u64) -> bool {
    let first = s.how.as_mut_ptr().cast::<u8>();
    read_passed::<1>(first, 1, path);
    get(first) != b'/'
}

/// Puts the names of the opened file into the buffer from `START` on. If nothing was opened, those of the directory at
/// which the path starts ([`STARTS`]), or of the caller's root. Returns the offset at which they end, at most [`MASK`],
/// and the dentry of the opened file, 0 if there is none. The result of the call is in the record; `reach` says whether
/// the file is in that place. It may be in neither: in the table of a process that is not the current one.
///
/// What is tested more than once is read from memory each time: the verifier then need not follow the two answers
/// separately up to the end.
#[inline(always)]
pub fn resolved<const START: u64>(
    s: &mut OpenScratch,
    task: u64,
    reach: impl Fn(Reach) -> bool,
    climb: impl Fn(),
) -> (u64, u64) {
    let ret = &raw const s.frame.record.ret;
    let is_open = || get(ret) >= 0;
    let how = &raw const s.frame.record.how_marks;
    let is_start = || get(how) & STARTS != 0;
    let fs: u64 = ld(task, field::TaskFs);
    let (root, top) = (path::root_of(fs), path::top_of(task));
    s.frame.record.names_len = 0;
    zero(&mut s.frame.record.file);
    s.frame.record.root_off = if is_open() || is_start() || root.dentry == 0 { u16::MAX } else { 0 };
    set(&mut s.frame.record.names_marks, 0);
    let from = if is_open() {
        if reach(Reach::Here) {
            opened(s, task, get(ret).into())
        } else {
            let direct = reach(Reach::NoDescriptor);
            set(&mut s.frame.record.names_marks, if direct { mark::NOT_COLLECTED } else { mark::RACED });
            Place::NONE
        }
    } else if is_start() {
        start_of(s, task)
    } else if path::is_top(top, root) {
        Place::NONE
    } else {
        root
    };
    if from.dentry == 0 {
        if is_start() {
            set(&mut s.frame.record.names_marks, mark::NOT_COLLECTED);
        }
        return (START, 0);
    }
    if konst!(Identities) != 0 && is_open() {
        files::identify(from.dentry, &mut s.frame.record.file);
    }
    let names = path::walk::<MASK>(&mut s.walk, START, from, root, top, climb);
    s.frame.record.names_len = (names.end - START) as u16;
    s.frame.record.root_off = match names.root {
        Some(at) => (at - START) as u16,
        // The walk did not meet the root. If nothing is above the root, it is at the end of every path.
        None if (is_open() || is_start()) && path::is_top(top, root) => (names.end - START) as u16,
        None => u16::MAX,
    };
    set(&mut s.frame.record.names_marks, get(&s.frame.record.names_marks) | names.marks);
    (names.end & MASK, if is_open() { from.dentry } else { 0 })
}

/// How many times the entry of a new descriptor is read. Another task that shares the table could put a file there and
/// remove it again, but would have to do so in step with every read. With three reads, an emulated kernel, on which a
/// read takes as long as a `dup2`, showed the other file in 1 of 4,000 races.
const LOOKS: u32 = 8;

/// The file behind the new descriptor. Writes the marks of its names. Another task that shares the table, or shared it shortly before, may have closed
/// or reused the descriptor by now.
///
/// Signs of that are an empty entry, flags that differ from the requested ones (not for openat2), and a file with other
/// references (`dup2`, or a descriptor that was received). A file that the other task newly opened with the same flags
/// looks the same. A table that has one user now proves nothing: the other user may have left.
#[inline(always)]
fn opened(s: &mut OpenScratch, task: u64, fd: i64) -> Place {
    let slot = files::slot_of(task, fd as u64);
    let file = files::at_slot(slot);
    if file == 0 {
        set(&mut s.frame.record.names_marks, mark::RACED);
        return Place::NONE;
    }
    let view = files::view_file(file, &mut s.walk);
    let asked = s.frame.record.flags;
    let differ = asked ^ u64::from(view.flags);
    // An open file keeps these flags as requested. fcntl(2) changes others, and `do_dentry_open` (fs/open.c,
    // https://elixir.bootlin.com/linux/v6.12/source/fs/open.c) clears those that matter only while opening.
    let kept = arch::o_directory_nofollow() | O_PATH;
    // The flags of openat2 are in the caller's memory until they are read here. Another process may have changed
    // them, so a difference proves nothing.
    let unproven = get(&s.frame.record.via) == via::OPENAT2;
    let same = unproven || differ & kept == 0 && (asked & O_PATH != 0 || differ & O_ACCMODE == 0);
    // Nothing that is found is kept in a register, where it would multiply the verifier's paths.
    let marks = &mut s.frame.record.names_marks;
    set(marks, if same { 0 } else { mark::RACED });
    if has(field::FileMode) && (unproven || asked & O_CREAT != 0) {
        let mode: u32 = any(file, field::FileMode);
        let how = &mut s.frame.record.how_marks;
        // By arithmetic: a branch would double the verifier's paths.
        set(how, get(how) | (EXISTED - (mode >> FMODE_CREATED & 1) as u8));
    }
    let mut others = 0;
    let mut look = 0;
    while look < LOOKS {
        others |= files::other_references(file);
        if files::at_slot(slot) != file {
            set(marks, mark::RACED);
        }
        look += 1;
    }
    // A larger table may have replaced the one that was read.
    if files::file_at(task, fd as u64) != file {
        set(marks, mark::RACED);
    }
    if opaque(others) != 0 {
        set(marks, get(marks) | mark::SHARED);
        if is_near(s, task, view.path.dentry) {
            s.frame.record.how_marks |= NEAR;
        }
    }
    view.path
}

/// Whether a file is directly in the directory at which a relative path starts.
#[inline(always)]
fn is_near(s: &mut OpenScratch, task: u64, dentry: u64) -> bool {
    let start = start_of(s, task);
    let parent: u64 = any(dentry, field::DentryParent);
    parent != 0 && parent == start.dentry
}

/// The directory at which a relative path starts.
#[inline(always)]
fn start_of(s: &mut OpenScratch, task: u64) -> Place {
    let dirfd = get(&s.frame.record.dirfd);
    if dirfd == AT_FDCWD {
        path::cwd_of(ld(task, field::TaskFs))
    } else {
        files::view_file(files::file_at(task, u64::from(dirfd as u32)), &mut s.walk).path
    }
}

/// Appends the path as passed, without its NUL. Returns its length in bytes.
#[inline(always)]
fn as_asked(s: &mut OpenScratch, start: u64, path: u64) -> u64 {
    let dst = at(s.buf.as_mut_ptr(), start);
    let n = read_user_str(dst, ASK, path);
    let record = &mut s.frame.record;
    record.path_marks = if get(&record.via) == via::OPEN_BY_HANDLE_AT {
        0
    } else if n < 0 {
        mark::FAULT
    } else if n == ASK as i64 {
        mark::CUT
    } else {
        0
    };
    let longest = u64::from(PATH_MAX) - 1;
    let len = if n <= 0 { 0 } else { n as u64 - 1 };
    let len = if len > longest { longest } else { len };
    record.path_len = len as u16;
    len
}
