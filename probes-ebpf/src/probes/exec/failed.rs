//! Programs that failed to start. Path, arguments and environment are read from the caller's memory.

use super::{
    ARGV_FEW, EXEC_FAILED_SCRATCH, ExecScratch, FIXED, MASK, STRING_MAX, any_cut, exe_of, large, measure, names, send,
    stdio,
};
use crate::arch::read_passed;
use crate::call::{self, Call};
use crate::emit::Event;
use crate::files;
use crate::functions::{self, in_pieces};
use crate::maps::this_element;
use crate::path::{self, Place};
use crate::read::{at, get, konst, ld, read_user_str, set, store_word, zero};
use crate::session;
use crate::task::Who;
use tracetui_shared::calls::exec::EXECVEAT;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::field;
use tracetui_shared::record::exec::{ARGV_FIRST, BELOW};
use tracetui_shared::record::mark;
use tracetui_shared::record::open::abi;

/// Limit of arguments of a failed exec that are counted.
const ARGC_MAX: u64 = 4096;
const _: () = assert!(functions::MOST >= ARGC_MAX);
/// Bytes requested when an argument of a failed exec is read.
const ARG_ASK: u64 = ARGV_FIRST as u64;

const AT_FDCWD: i32 = -100;
/// `/dev/fd/` as a little-endian word.
const DEV_FD: u64 = u64::from_le_bytes(*b"/dev/fd/");

/// Reports a call that failed, unless it only checks whether an exec is permitted (`AT_EXECVE_CHECK`, 6.14+,
/// include/uapi/linux/fcntl.h).
#[inline(always)]
pub fn ended(call: &Call) {
    const AT_EXECVE_CHECK: u64 = 0x10000;
    if call.ret >= 0 {
        return;
    }
    let [a, b, c, d] = call.args;
    let asked = if call.op() == EXECVEAT {
        if call::fifth_argument(call) & AT_EXECVE_CHECK != 0 {
            return;
        }
        Asked { dirfd: a as i32, path: b, argv: c, envp: d }
    } else {
        Asked { dirfd: AT_FDCWD, path: a, argv: b, envp: c }
    };
    failed(call, &asked);
}

/// The arguments of a failed exec.
struct Asked {
    /// The directory descriptor; `AT_FDCWD` for execve.
    dirfd: i32,
    /// The user address of the path.
    path: u64,
    /// The user addresses of `argv[]` and `envp[]`.
    argv: u64,
    envp: u64,
}

/// Reports an exec that failed. Path, arguments and environment are read from the caller's memory after the call. What the kernel
/// did not read before it failed may lie in a page that is not present; the record marks this, and nothing is guessed.
///
/// After the point of no return the caller's memory is freed, and the new program's has no arguments yet
/// (`mm->arg_end == 0`). The kernel then ends the process
/// ([`bprm_execve`](https://elixir.bootlin.com/linux/v6.12/source/fs/exec.c) forces SIGSEGV), and only the file can be
/// reported.
#[inline(always)]
fn failed(call: &Call, asked: &Asked) {
    let who = Who::of(call.task);
    let Some(event) = Event::of_call(Slot::ExecFailed, &who, call) else { return };
    let Some(s) = event.place(&EXEC_FAILED_SCRATCH) else { return };
    event.head(&mut s.frame.header, &who);
    measure(s, &event);
    s.frame.record.exec.ret = call.ret as i32;
    s.frame.record.exec.old_tid = 0;
    s.frame.record.exec.euid = ld(who.cred, field::CredEuid);
    s.frame.record.exec.egid = ld(who.cred, field::CredEgid);
    session::describe(call.task, ld(call.task, field::TaskSignal), &mut s.frame.record.exec.session);
    s.frame.record.exec.interp_len = 0;
    zero(&mut s.frame.record.exec.file);
    s.frame.record.exec.fds_len = 0;
    s.frame.record.exec.fds_marks = mark::NOT_COLLECTED.into();
    s.frame.record.exec.stdio_len = stdio::BYTES;
    // Descriptors of failed execs are not collected.
    zero(&mut s.frame.record.stdio);
    set(&mut s.off, 0);
    let fs: u64 = ld(call.task, field::TaskFs);
    let (root, top) = (path::root_of(fs), path::top_of(call.task));
    let gone = ld::<u64>(ld(call.task, field::TaskMm), field::MmArgEnd) == 0;
    if gone {
        // The new program may have something else at the path's address.
        s.frame.record.exec.filename_len = 0;
        s.frame.record.exec.filename_marks = mark::FAULT;
    } else {
        asked_path(s, asked);
    }
    let below = |s: &ExecScratch| get(&s.frame.record.exec.filename_marks) & BELOW != 0;
    // A file that was not executed is not known. The directory of the descriptor takes the place of its names.
    let exe = if gone {
        exe_of(s, call.task)
    } else if below(s) {
        files::view_file(files::file_at(call.task, u64::from(asked.dirfd as u32)), &mut s.walk).path
    } else {
        Place::NONE
    };
    // Through memory, so that the verifier follows the walk once.
    set(&mut s.files[0], exe.mnt);
    set(&mut s.files[1], exe.dentry);
    let exe = Place { mnt: get(&s.files[0]), dentry: get(&s.files[1]) };
    (s.frame.record.exec.exe_len, s.frame.record.exec.exe_marks) = names(s, exe, root, top, failed_walk);
    if !gone && exe.dentry == 0 {
        s.frame.record.exec.exe_marks = if below(s) { mark::NOT_COLLECTED } else { 0 };
    }
    (s.frame.record.exec.cwd_len, s.frame.record.exec.cwd_marks) = names(s, path::cwd_of(fs), root, top, failed_walk);
    let start = get(&s.off);
    set(&mut s.end, if large(s) { u64::MAX } else { start + ARGV_FEW });
    asked_texts(s, asked, abi::is_narrow(call.abi), gone);
    let end = get(&s.off);
    let arguments = get(&s.arguments);
    s.frame.record.exec.argv_total = (arguments - start) as u32;
    s.frame.record.exec.argv_len = (arguments - start) as u32;
    let cut =
        (get(&s.frame.record.exec.argv_marks) | get(&s.frame.record.exec.env_marks)) & mark::CUT != 0 || any_cut(s);
    send(s, &event, FIXED + end, cut);
}

/// Appends the path as the kernel names it ([`alloc_bprm`](https://elixir.bootlin.com/linux/v6.12/source/fs/exec.c)):
/// `/dev/fd/N/PATH` if it starts at a descriptor ([`BELOW`]).
#[inline(always)]
fn asked_path(s: &mut ExecScratch, asked: &Asked) {
    let word = (&raw mut s.word).cast::<u8>();
    read_passed::<1>(word, 1, asked.path);
    let first = get(word);
    set(&mut s.below, if asked.dirfd != AT_FDCWD && first != b'/' { BELOW } else { 0 });
    if get(&s.below) != 0 {
        store_word(s.buf.as_mut_ptr(), DEV_FD);
        set(&mut s.off, 8);
        decimal(s, asked.dirfd);
        if first != 0 {
            put(s, b'/');
        }
    }
    let off = get(&s.off);
    let dst = at(s.buf.as_mut_ptr(), off & MASK);
    let n = read_user_str(dst, STRING_MAX, asked.path);
    let len = if n > 0 { (n as u64 - 1) & (STRING_MAX - 1) } else { 0 };
    s.frame.record.exec.filename_marks = if n < 0 { mark::FAULT } else { 0 };
    if n == STRING_MAX as i64 {
        read_passed::<1>(word, 1, asked.path + STRING_MAX - 1);
        if get(word) != 0 {
            s.frame.record.exec.filename_marks = mark::CUT;
        }
    }
    let most = get(&s.most);
    let len = if len > most {
        s.frame.record.exec.filename_marks = mark::CUT;
        most
    } else {
        len
    };
    s.frame.record.exec.filename_marks |= get(&s.below);
    s.frame.record.exec.filename_len = (off + len) as u16;
    set(&mut s.off, off + len);
}

#[inline(always)]
fn put(s: &mut ExecScratch, byte: u8) {
    let off = get(&s.off);
    set(at(s.buf.as_mut_ptr(), off & MASK), byte);
    set(&mut s.off, off + 1);
}

/// Appends a number in decimal.
#[inline(always)]
fn decimal(s: &mut ExecScratch, number: i32) {
    if number < 0 {
        put(s, b'-');
    }
    // The state is in memory, so that the iterations look alike to the verifier.
    set(&mut s.word, u64::from(number.unsigned_abs()));
    set(&mut s.full, 0);
    let mut unit = 1_000_000_000;
    while unit > 0 {
        let left = get(&s.word);
        set(&mut s.word, left % unit);
        let digit = left / unit;
        if digit != 0 || unit == 1 || get(&s.full) != 0 {
            set(&mut s.full, 1);
            put(s, b'0' + digit as u8);
        }
        unit /= 10;
    }
}

/// Appends the strings that the caller's `argv[]` points to, each with its NUL, and then those of `envp[]` if they are requested, as
/// far as there is room: at least 16 KiB. The rest of the arguments is counted.
#[inline(always)]
fn asked_texts(s: &mut ExecScratch, asked: &Asked, narrow: bool, gone: bool) {
    set(&mut s.frame.record.exec.env_marks, if konst!(Environment) != 0 { mark::NOT_COLLECTED } else { 0 });
    s.frame.record.exec.env_joined = 0;
    s.frame.record.exec.env_len = 0;
    set(&mut s.frame.record.exec.argv_marks, if gone { mark::FAULT } else { mark::CUT });
    set(&mut s.frame.record.exec.argc, u32::MAX);
    set(&mut s.arguments, get(&s.off));
    set(&mut s.pointer, asked.argv);
    set(&mut s.envp, asked.envp);
    set(&mut s.count, 0);
    set(&mut s.full, 0);
    if gone {
        return;
    }
    set(&mut s.narrow, u64::from(narrow));
    take_texts();
    let full = get(&s.full) as u8;
    if get(&s.frame.record.exec.env_joined) != 0 {
        s.frame.record.exec.env_marks |= full;
    } else {
        set(&mut s.arguments, get(&s.off));
        s.frame.record.exec.argv_marks |= full;
    }
}

in_pieces! {
    /// Walks from a file or a directory of a program that failed to start.
    failed_walk, failed_walk_pieces, failed_walk_piece: super::climb(&EXEC_FAILED_SCRATCH)
}

in_pieces! {
    /// Takes all strings.
    take_texts, arguments_pieces, arguments_piece: take_some()
}

/// Takes strings; `true` if there are no more.
#[inline(always)]
fn take_some() -> bool {
    let Some(s) = this_element(&EXEC_FAILED_SCRATCH) else { return true };
    let narrow = get(&s.narrow) != 0;
    functions::repeated(functions::TURNS, || !asked_text(s, narrow))
}

/// Takes one string; `false` at the end.
#[inline(always)]
fn asked_text(s: &mut ExecScratch, narrow: bool) -> bool {
    let at = get(&s.pointer);
    let count = get(&s.count);
    let size = if narrow { 4 } else { 8 };
    set(&mut s.word, 0);
    if count >= ARGC_MAX {
        return false;
    }
    // The kernel takes a null pointer for an empty list.
    if at != 0 && read_passed::<8>((&raw mut s.word).cast(), size, at) != 0 {
        set(&mut s.full, u64::from(mark::FAULT));
        return false;
    }
    let string = get(&s.word);
    if string == 0 {
        return end_list(s);
    }
    set(&mut s.pointer, at + size);
    set(&mut s.count, count + 1);
    if get(&s.full) == 0 {
        take_text(s, string);
    }
    true
}

/// Notes the end of `argv[]`, after which `envp[]` may follow, or that of `envp[]`. Returns whether a list follows.
#[inline(always)]
fn end_list(s: &mut ExecScratch) -> bool {
    let record = &mut s.frame.record.exec;
    let full = get(&s.full) as u8;
    if get(&record.env_joined) != 0 {
        set(&mut record.env_marks, full);
        return false;
    }
    set(&mut record.argv_marks, full);
    set(&mut record.argc, get(&s.count) as u32);
    if konst!(Environment) == 0 {
        return false;
    }
    set(&mut s.arguments, get(&s.off));
    set(&mut record.env_marks, mark::CUT);
    set(&mut record.env_joined, 1);
    set(&mut s.pointer, get(&s.envp));
    set(&mut s.count, 0);
    full == 0
}

#[inline(always)]
fn take_text(s: &mut ExecScratch, string: u64) {
    let off = get(&s.off);
    if off > MASK {
        return set(&mut s.full, u64::from(mark::CUT));
    }
    let dst = at(s.buf.as_mut_ptr(), off & MASK);
    let n = read_user_str(dst, ARG_ASK, string);
    if n < 0 {
        return set(&mut s.full, u64::from(mark::FAULT));
    }
    // For an empty string, older kernels write the NUL but do not count it.
    let n = n + i64::from(n == 0);
    let to = off + (n as u64 & (2 * ARG_ASK - 1));
    let end = get(&s.end);
    if to > end {
        set(&mut s.off, end);
        return set(&mut s.full, u64::from(mark::CUT));
    }
    set(&mut s.off, to);
    if n == ARG_ASK as i64 {
        // The string fills the room. It is whole only if its own NUL is where the helper put one.
        let word = (&raw mut s.word).cast::<u8>();
        if read_passed::<1>(word, 1, string + ARG_ASK - 1) != 0 || get(word) != 0 {
            set(&mut s.full, u64::from(mark::CUT));
        }
    }
}
