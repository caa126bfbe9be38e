//! Programs that were started.

use super::{
    ARGV_FEW, EXEC_SCRATCH, ExecScratch, FIXED, MASK, STRING_MAX, any_cut, exe_of, exec_walk, large, measure, names,
    send, stdio,
};
use crate::context::Context;
use crate::emit::{Event, Frame, copy_header, is_bookkeeping};
use crate::files;
use crate::path;
use crate::read::{at, at_most, get, konst, ld, may_turn, rd, read_kernel_str, read_user, set};
use crate::session;
use crate::task::Who;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::field;
use tracetui_shared::record::exec::{ARGV_CHUNK, ARGV_FIRST, ARGV_MAX, ENVIRONMENT, ExecChunk, LAST, NO_ROOM};
use tracetui_shared::record::mark;

/// Limit of continuations per event. The arguments and the environment each end one early.
const CHUNKS: u32 = ARGV_MAX.div_ceil(ARGV_CHUNK) + 1;

/// The fields that the tracepoints supply in different ways.
pub(super) struct Exec {
    pub(super) task: u64,
    pub(super) old_tid: u32,
    pub(super) filename: u64,
    /// `None` if it is unknown.
    pub(super) interp: Option<u64>,
    pub(super) argc: u32,
}

#[inline(always)]
pub(super) fn started(ctx: Context, exec: &Exec) {
    let who = Who::of(exec.task);
    let Some(event) = Event::begin(Slot::Exec, ctx, &who, false) else { return };
    let Some(s) = event.place(&EXEC_SCRATCH) else { return };
    event.head(&mut s.frame.header, &who);
    measure(s, &event);
    s.frame.record.exec.ret = 0;
    s.frame.record.exec.stdio_len = stdio::BYTES;
    s.frame.record.exec.argc = exec.argc;
    s.frame.record.exec.old_tid = if exec.old_tid != who.tgid { exec.old_tid } else { 0 };
    s.frame.record.exec.euid = ld(who.cred, field::CredEuid);
    s.frame.record.exec.egid = ld(who.cred, field::CredEgid);
    session::describe(exec.task, ld(exec.task, field::TaskSignal), &mut s.frame.record.exec.session);
    set(&mut s.off, 0);
    let (len, cut) = string(s, exec.filename);
    s.frame.record.exec.filename_len = len;
    s.frame.record.exec.filename_marks = if len == 0 { mark::FAULT } else { cut };
    if u64::from(len) == STRING_MAX - 1 && rd::<u8>(exec.filename + STRING_MAX - 1) != 0 {
        s.frame.record.exec.filename_marks = mark::CUT;
    }
    s.frame.record.exec.interp_len = 0;
    set(&mut s.script, 0);
    match exec.interp {
        Some(interp) if interp != exec.filename => {
            set(&mut s.script, passed(s, len.into()));
            let (len, cut) = string(s, interp);
            s.frame.record.exec.interp_len = len;
            if cut != 0 {
                s.frame.record.exec.filename_marks |= mark::NOT_COLLECTED;
            }
        }
        Some(_) => {}
        None => s.frame.record.exec.filename_marks |= mark::NOT_COLLECTED,
    }
    paths(s, exec.task);
    arguments(s, exec.task, &event);
}

/// The descriptor that the filename, which has `len` bytes, passes as `/dev/fd/N` or `/proc/self/fd/N`, and 1 more; 0 if none.
#[inline(always)]
fn passed(s: &mut ExecScratch, len: u64) -> u64 {
    const DEV: u64 = u64::from_ne_bytes(*b"/dev/fd/");
    const PROC: [u64; 2] = [u64::from_ne_bytes(*b"/proc/se"), u64::from_ne_bytes(*b"lf/fd/\0\0")];
    const DIGITS: u64 = 5;
    let buf = s.buf.as_mut_ptr();
    let words = buf.cast::<u64>();
    let (first, second) = (get(words), get(at(words, 1)) & ((1 << 48) - 1));
    let begin = match () {
        () if first == DEV => 8,
        () if first == PROC[0] && second == PROC[1] => 14,
        () => return 0,
    };
    let (mut number, mut digits) = (0, 0);
    while digits < DIGITS && begin + digits < len {
        let digit = get(at(buf, begin + digits)).wrapping_sub(b'0');
        if digit > 9 {
            return 0;
        }
        number = 10 * number + u64::from(digit);
        digits += 1;
    }
    if digits > 0 && begin + digits == len { number + 1 } else { 0 }
}

/// Appends a kernel string without its NUL. Returns its length in bytes, and [`mark::CUT`] if there was no room for all
/// of it.
#[inline(always)]
fn string(s: &mut ExecScratch, from: u64) -> (u16, u8) {
    let off = get(&s.off);
    let dst = at(s.buf.as_mut_ptr(), off & MASK);
    let n = read_kernel_str(dst, STRING_MAX, from);
    let len = if n > 0 { (n as u64 - 1) & (STRING_MAX - 1) } else { 0 };
    let most = get(&s.most);
    let (len, cut) = if len > most { (most, mark::CUT) } else { (len, 0) };
    set(&mut s.off, off + len);
    (len as u16, cut)
}

/// Appends the names of the program's file (`exe`), of the working directory, and of stdin, stdout and stderr, and the other
/// descriptors.
#[inline(always)]
fn paths(s: &mut ExecScratch, task: u64) {
    let fs: u64 = ld(task, field::TaskFs);
    let (root, top) = (path::root_of(fs), path::top_of(task));
    let exe = exe_of(s, task);
    files::identify(exe.dentry, &mut s.frame.record.exec.file);
    (s.frame.record.exec.exe_len, s.frame.record.exec.exe_marks) = names(s, exe, root, top, exec_walk);
    (s.frame.record.exec.cwd_len, s.frame.record.exec.cwd_marks) = names(s, path::cwd_of(fs), root, top, exec_walk);
    stdio::descriptors(s, task, root, top);
    stdio::others(s, task, root, top);
}

/// Appends the arguments and the environment, if both fit, or else the first arguments. Sends the record, and the rest in
/// continuations.
#[inline(always)]
fn arguments(s: &mut ExecScratch, task: u64, event: &Event) {
    let mm: u64 = ld(task, field::TaskMm);
    let (from, end): (u64, u64) = (ld(mm, field::MmArgStart), ld(mm, field::MmArgEnd));
    let total = end.wrapping_sub(from);
    let arguments = if total < u64::from(ARGV_MAX) { total } else { u64::from(ARGV_MAX) };
    set(&mut s.arguments, arguments);
    set(&mut s.carried, arguments);
    set(&mut s.empty, 0);
    s.frame.record.exec.env_marks = 0;
    s.frame.record.exec.env_joined = 0;
    s.frame.record.exec.env_len = 0;
    // The loaders of all formats put the environment behind the arguments.
    if konst!(Environment) != 0 && !is_bookkeeping(&s.frame.header) && ld::<u64>(mm, field::MmEnvStart) == end {
        let all = ld::<u64>(mm, field::MmEnvEnd).wrapping_sub(end);
        let room = u64::from(ARGV_MAX) - get(&s.arguments);
        s.frame.record.exec.env_marks = if all > room { mark::CUT } else { 0 };
        set(&mut s.empty, u64::from(all == 0));
        set(&mut s.carried, get(&s.arguments) + if all > room { room } else { all });
    }
    let (arguments, carried) = (get(&s.arguments), get(&s.carried));
    let most = if large(s) { u64::from(ARGV_FIRST) } else { ARGV_FEW };
    // The first record has the whole environment or nothing of it.
    let some = if arguments < most { arguments } else { most };
    set(&mut s.first, if carried <= most { carried } else { some });
    let first = at_most(get(&s.first), u64::from(ARGV_FIRST));
    let off = get(&s.off) & MASK;
    let dst = at(s.buf.as_mut_ptr(), off);
    set(&mut s.have, read_as_far::<{ ARGV_FIRST as u64 }>(dst, first, from));
    let (carried, first, have) = (get(&s.carried), get(&s.first), get(&s.have));
    let arguments = get(&s.arguments);
    s.frame.record.exec.argv_total = total as u32;
    s.frame.record.exec.argv_marks = if have < first && have < arguments { mark::FAULT } else { 0 };
    let more = carried > first && have == first && large(s) && !is_bookkeeping(&s.frame.header);
    set(&mut s.more, u64::from(more));
    s.frame.record.exec.argv_len = if more || have > arguments { arguments as u32 } else { have as u32 };
    if more {
        s.frame.record.exec.env_len = (carried - arguments) as u32;
    }
    if carried == arguments {
        // An empty environment needs no bytes.
        s.frame.record.exec.env_joined = get(&s.empty) as u8;
    } else if have > arguments {
        s.frame.record.exec.env_joined = 1;
        s.frame.record.exec.env_marks = if have < first { mark::FAULT } else { 0 };
    } else if !more {
        s.frame.record.exec.env_marks = if have < first { mark::FAULT } else { NO_ROOM };
    }
    let len = FIXED + (get(&s.off) & MASK) + get(&s.have);
    let cut = carried > first || any_cut(s);
    if send(s, event, len, cut) && get(&s.more) != 0 {
        chunks(s, event, from);
    }
}

/// Reads `len` bytes of user memory, at most `MOST`, or those before the first page that cannot be read. Returns how
/// many. The kernel wrote all arguments shortly before, but a page may have gone since. The helper reads all of the
/// requested bytes or none.
#[inline(always)]
fn read_as_far<const MOST: u64>(dst: *mut u8, len: u64, from: u64) -> u64 {
    const PAGE: u64 = 4096;
    if read_user(dst, len, from) == 0 {
        return len;
    }
    // First up to the last page boundary, then up to the one before it, and so on.
    let last = from.wrapping_add(len).wrapping_sub(1) & !(PAGE - 1);
    let mut left = last.wrapping_sub(from);
    let mut turn = 0;
    while turn <= MOST / PAGE {
        if left == 0 || left > MOST {
            return 0;
        }
        let some = at_most(left, MOST);
        if read_user(dst, some, from) == 0 {
            return some;
        }
        left = left.wrapping_sub(PAGE);
        turn += 1;
    }
    0
}

/// Sends the remaining arguments, then the environment, in continuations, as far as the ring has room.
#[inline(always)]
fn chunks(s: &mut ExecScratch, event: &Event, from: u64) {
    const FIXED: u64 = size_of::<Frame<ExecChunk>>() as u64;
    let header = &mut s.chunk.header;
    copy_header(header, &s.frame.header);
    set(&mut s.off, get(&s.first));
    let dst = s.chunk_buf.as_mut_ptr();
    let mut why = 0;
    let mut turn = 0;
    loop {
        may_turn!(turn, CHUNKS);
        let (at, carried) = (get(&s.off), get(&s.carried));
        if at >= carried {
            break;
        }
        let arguments = get(&s.arguments);
        let until = if at < arguments { arguments } else { carried };
        let len = at_most(until - at, u64::from(ARGV_CHUNK));
        if read_user(dst, len, from.wrapping_add(at)) != 0 {
            why = mark::FAULT;
            break;
        }
        let marks = match () {
            () if at < arguments => 0,
            () if at + len < carried => ENVIRONMENT,
            () => ENVIRONMENT | LAST,
        };
        s.chunk.record = ExecChunk { offset: at as u32, len: len as u32, marks, reserved: 0 };
        if !event.send_more(header, FIXED + len, FIXED + ARGV_CHUNK as u64) {
            why = NO_ROOM;
            break;
        }
        set(&mut s.off, at + len);
    }
    if why != 0 {
        last_chunk(s, event, from, get(&s.carried), why);
    }
}

/// Sends the last continuation of arguments that end early, with the reason. It is outside of the loop for the
/// verifier's sake.
#[inline(always)]
fn last_chunk(s: &mut ExecScratch, event: &Event, from: u64, carried: u64, why: u8) {
    const FIXED: u64 = size_of::<Frame<ExecChunk>>() as u64;
    let header = &mut s.chunk.header;
    let at = get(&s.off);
    let of = if at < get(&s.arguments) { 0 } else { ENVIRONMENT };
    let mut have = 0;
    if why == mark::FAULT {
        let dst = s.chunk_buf.as_mut_ptr();
        let until = if of == 0 { get(&s.arguments) } else { carried };
        let len = at_most(until.wrapping_sub(at), u64::from(ARGV_CHUNK));
        have = read_as_far::<{ ARGV_CHUNK as u64 }>(dst, len, from.wrapping_add(at));
    }
    let marks = of | u32::from(why);
    s.chunk.record = ExecChunk { offset: at as u32, len: have as u32, marks, reserved: 0 };
    if have > 0 && event.send_more(header, FIXED + have, FIXED + ARGV_CHUNK as u64) {
        return;
    }
    let why = if have > 0 { NO_ROOM } else { why };
    let marks = of | u32::from(why);
    s.chunk.record = ExecChunk { offset: at as u32, len: 0, marks, reserved: 0 };
    if !event.send_end(header, FIXED) || why == NO_ROOM {
        event.count_cut_short();
    }
}
