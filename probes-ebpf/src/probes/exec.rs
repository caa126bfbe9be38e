//! `exec`: a program was started, or failed to start.

use crate::call::{Call, first_argument};
use crate::emit::{Event, Frame, SMALL, copy_header, is_bookkeeping};
use crate::files;
use crate::further::{self, further};
use crate::maps::{per_cpu, this_cpu};
use crate::path::{self, NAME_SLACK, Place, Walk};
use crate::read::{
    at_most, field, get, konst, ld, may_turn, rd, read_kernel_str, read_passed, read_user, read_user_str, set,
    store_word, typed_as,
};
use crate::task::{Who, current};
use aya_ebpf::EbpfContext;
use aya_ebpf::macros::{btf_tracepoint, kprobe, map, tracepoint};
use aya_ebpf::maps::{Array, LruHashMap};
use aya_ebpf::programs::{BtfTracePointContext, ProbeContext, TracePointContext};
use core::ffi::c_void;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::field;
use tracetui_shared::record::exec::{ARGV_CHUNK, ARGV_FIRST, ARGV_MAX, ExecChunk, ExecRecord, NO_ROOM};
use tracetui_shared::record::open::abi;
use tracetui_shared::record::{mark, stack};

/// Limit of filename and of interp in bytes, each with its NUL: `PATH_MAX` (include/uapi/linux/limits.h).
const STRING_MAX: u64 = 4096;
/// Highest offset in the buffer at which a string, a name or argv may start. There is room for two strings and two
/// paths below.
const MASK: u64 = (1 << 14) - 1;
const _: () = assert!(2 * STRING_MAX + 2 * path::NAMES_MAX <= MASK + 1);
/// Limit of continuations per event.
const CHUNKS: u32 = (ARGV_MAX - ARGV_FIRST).div_ceil(ARGV_CHUNK);
/// Limit of arguments of a failed exec that are counted.
const ARGC_MAX: u64 = 4096;
const _: () = assert!(further::MOST >= ARGC_MAX);
/// Arguments that the program itself takes where the verifier walks through every iteration (before 6.9). The rest is
/// left to [`take_more`].
const ARGC_FEW: u32 = 16;
/// Bytes requested when an argument of a failed exec is read.
const ARG_ASK: u64 = ARGV_FIRST as u64;

/// Bytes of the largest first record.
const LARGEST: u64 = FIXED + MASK + 1 + ARGV_FIRST as u64;
const FIXED: u64 = size_of::<Frame<ExecRecord>>() as u64;
/// Limit in bytes of each string and path in a small record. [`ARGV_FEW`] is the limit of the arguments.
const FEW: u64 = 256;
const ARGV_FEW: u64 = 512;
const _: () = assert!(FIXED + 4 * FEW + ARGV_FEW + stack::ROOM as u64 <= SMALL);

/// The buffers in which an `exec` record is assembled.
#[repr(C)]
pub struct ExecScratch {
    frame: Frame<ExecRecord>,
    buf: [u8; MASK as usize + 1 + ARGV_FIRST as usize + NAME_SLACK + stack::ROOM],
    walk: Walk,
    chunk: Frame<ExecChunk>,
    chunk_buf: [u8; ARGV_CHUNK as usize],
    /// Offset in `buf` of the next part.
    off: u64,
    /// For a failed exec: the address of the next pointer in the caller's `argv[]`, and the number of arguments so far.
    pointer: u64,
    count: u64,
    /// Not 0 if further arguments are only counted.
    full: u64,
    /// Limit of a string or a path in bytes, and the offset in `buf` at which arguments must end. Both are smaller if
    /// the ring is half full.
    most: u64,
    end: u64,
    /// Not 0 if the caller's pointers have 4 bytes.
    narrow: u64,
    /// The bytes of the arguments that are reported, of those in the first record, and of those that could be read.
    carried: u64,
    first: u64,
    have: u64,
    /// Not 0 if continuations follow.
    more: u64,
    /// A pointer, or a byte, of the caller's memory.
    word: u64,
}

per_cpu! {
    /// Records of `exec_btf`.
    EXEC_BTF_SCRATCH: ExecScratch;
    /// Records of `exec_tp`.
    EXEC_TP_SCRATCH: ExecScratch;
    /// Records of failed execs from `sys_exit_btf`.
    pub EXEC_SYS_SCRATCH: ExecScratch;
    /// Records of `exec_fail_tp`.
    pub EXEC_FAIL_TP_SCRATCH: ExecScratch;
    /// Records of `exec_fail_multi`.
    pub EXEC_FAIL_MULTI_SCRATCH: ExecScratch;
}

/// Execs that are about to succeed: the address of `struct linux_binprm` by process id (`tgid`). [`exec_bprm_multi`]
/// adds an entry, [`exec_tp`] removes it.
#[map]
static EXEC_BPRMS: LruHashMap<u32, u64> = LruHashMap::with_max_entries(1024, 0);

/// The fields that the tracepoints supply in different ways.
struct Exec {
    context: *mut c_void,
    task: u64,
    old_tid: u32,
    filename: u64,
    /// `None` if it is not known.
    interp: Option<u64>,
    argc: u32,
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
/// ([`include/trace/events/sched.h`](https://elixir.bootlin.com/linux/v6.12/source/include/trace/events/sched.h)),
/// called in [`exec_binprm`](https://elixir.bootlin.com/linux/v6.12/source/fs/exec.c) after the point of no return.
/// Credentials, memory and name are the new program's.
#[btf_tracepoint]
#[inline(always)]
pub fn exec_btf(ctx: BtfTracePointContext) -> i32 {
    let bprm = typed_as(ctx.arg(2), field::BprmArgc);
    // SAFETY: the arguments are the tracepoint's, which the kernel types; `p` is the current task.
    unsafe {
        let exec = Exec {
            context: ctx.as_ptr(),
            task: typed_as(ctx.arg(0), field::TaskTgid),
            old_tid: ctx.arg::<u64>(1) as u32,
            filename: ld(bprm, field::BprmFilename),
            interp: Some(ld(bprm, field::BprmInterp)),
            argc: ld(bprm, field::BprmArgc),
        };
        emit(Slot::ExecBtf, &EXEC_BTF_SCRATCH, &exec);
    }
    0
}

/// Entry of `void finalize_exec(struct linux_binprm *bprm)`
/// ([`finalize_exec`](https://elixir.bootlin.com/linux/v6.12/source/fs/exec.c)), by a kprobe_multi link. The loader of
/// the program's format calls it last, shortly before `sched_process_exec`. Supplies what the record of [`exec_tp`]
/// lacks.
#[kprobe]
#[inline(always)]
pub fn exec_bprm_multi(ctx: ProbeContext) -> u32 {
    // SAFETY: the context is the registers at the function's entry; `current` is the current task, a BTF pointer where
    // the kernel has them.
    unsafe {
        let tgid: u32 = ld(current(), field::TaskTgid);
        // If the insertion fails, the event is reported without the fields of `bprm`.
        let _ = EXEC_BPRMS.insert(tgid, first_argument(&ctx), 0);
    }
    0
}

/// `sched:sched_process_exec` (same file as [`exec_btf`]'s): `__data_loc char[] filename`, `pid_t pid`,
/// `pid_t old_pid`.
#[tracepoint]
#[inline(always)]
pub fn exec_tp(ctx: TracePointContext) -> u32 {
    // SAFETY: the offsets are the record's, which the verifier checks. The filename lies in the record, which is kernel
    // memory.
    unsafe {
        let at = field::<u32>(&ctx, 8) & 0xffff;
        let filename = (ctx.as_ptr() as u64).wrapping_add(u64::from(at));
        let (context, old_tid) = (ctx.as_ptr(), field(&ctx, 16));
        let mut exec = Exec { context, task: current(), old_tid, filename, interp: None, argc: u32::MAX };
        let tgid: u32 = ld(exec.task, field::TaskTgid);
        if let Some(bprm) = EXEC_BPRMS.get_ptr(tgid) {
            // The exec owns `bprm` until it returns.
            let bprm = typed_as(get(bprm), field::BprmArgc);
            exec.filename = ld(bprm, field::BprmFilename);
            exec.interp = Some(ld(bprm, field::BprmInterp));
            exec.argc = ld(bprm, field::BprmArgc);
            let _ = EXEC_BPRMS.remove(tgid);
        }
        emit(Slot::ExecTp, &EXEC_TP_SCRATCH, &exec);
    }
    0
}

#[inline(always)]
unsafe fn emit(slot: Slot, scratch: &Array<ExecScratch>, exec: &Exec) {
    // SAFETY: `exec.task` is the current task, a BTF pointer where the kernel has them. `s` is this CPU's element of
    // this program's own map; the verifier checks every offset into it.
    unsafe {
        let who = Who::of(exec.task);
        let Some(event) = Event::begin(slot, exec.context, &who, false) else { return };
        let Some(s) = event.place(scratch) else { return };
        let header = &raw mut (*s).frame.header;
        event.head(header, &who);
        let record = &raw mut (*s).frame.record;
        measure(s, &event);
        (*record).ret = 0;
        (*record).argc = exec.argc;
        (*record).old_tid = if exec.old_tid != who.tgid { exec.old_tid } else { 0 };
        (*record).euid = ld(who.cred, field::CredEuid);
        (*record).egid = ld(who.cred, field::CredEgid);
        set(&raw mut (*s).off, 0);
        let (len, cut) = string(s, exec.filename);
        (*record).filename_len = len;
        (*record).filename_marks = if len == 0 { mark::FAULT } else { cut };
        if u64::from(len) == STRING_MAX - 1 && rd::<u8>(exec.filename + STRING_MAX - 1) != 0 {
            (*record).filename_marks = mark::CUT;
        }
        (*record).interp_len = 0;
        match exec.interp {
            Some(interp) if interp != exec.filename => {
                let (len, cut) = string(s, interp);
                (*record).interp_len = len;
                if cut != 0 {
                    (*record).filename_marks |= mark::NOT_COLLECTED;
                }
            }
            Some(_) => {}
            None => (*record).filename_marks |= mark::NOT_COLLECTED,
        }
        paths(s, exec.task);
        arguments(s, exec.task, &event);
    }
}

/// Sets how large the record may be: [`LARGEST`] in all if the ring is less than half full.
#[inline(always)]
unsafe fn measure(s: *mut ExecScratch, event: &Event) {
    // SAFETY: `s` is this CPU's element of this program's own map; the verifier checks every offset into it.
    unsafe { set(&raw mut (*s).most, if event.ask_room(LARGEST) { STRING_MAX } else { FEW }) }
}

/// Whether the record may be large.
#[inline(always)]
unsafe fn large(s: *mut ExecScratch) -> bool {
    // SAFETY: `s` is this CPU's element of this program's own map; the verifier checks every offset into it.
    unsafe { get(&raw const (*s).most) == STRING_MAX }
}

/// Sends the record, of which something may have been cut because the ring lacks room. Then it is marked so, and counted if it
/// arrives.
#[inline(always)]
unsafe fn send(s: *mut ExecScratch, event: &Event, len: u64, cut: bool) -> bool {
    // SAFETY: `s` is this CPU's element of this program's own map; the verifier checks every offset into it.
    unsafe {
        let short = cut && !large(s);
        (*s).frame.record.argv_marks |= if short { NO_ROOM } else { 0 };
        let sent = event.send_if((&raw mut (*s).frame).cast(), len, LARGEST, || large(s));
        if sent && short {
            event.count_cut_short();
        }
        sent
    }
}

/// Whether a string or a path was cut because the ring lacks room.
#[inline(always)]
unsafe fn any_cut(s: *mut ExecScratch) -> bool {
    // SAFETY: `s` is this CPU's element of this program's own map; the verifier checks every offset into it.
    unsafe {
        let record = &raw const (*s).frame.record;
        ((*record).filename_marks | (*record).exe_marks | (*record).cwd_marks) & mark::CUT != 0
    }
}

/// Appends a kernel string without its NUL. Returns its length in bytes, and [`mark::CUT`] if there was no room for all
/// of it.
#[inline(always)]
unsafe fn string(s: *mut ExecScratch, from: u64) -> (u16, u8) {
    // SAFETY: `s` is this CPU's element of this program's own map, and `STRING_MAX` bytes follow any masked offset in
    // `buf`. Kernel addresses are read by helper.
    unsafe {
        let off = get(&raw const (*s).off);
        let dst = (&raw mut (*s).buf).cast::<u8>().add((off & MASK) as usize);
        let n = read_kernel_str(dst, STRING_MAX, from);
        let len = if n > 0 { (n as u64 - 1) & (STRING_MAX - 1) } else { 0 };
        let most = get(&raw const (*s).most);
        let (len, cut) = if len > most { (most, mark::CUT) } else { (len, 0) };
        set(&raw mut (*s).off, off + len);
        (len as u16, cut)
    }
}

/// Appends the names of the program's file (`exe`) and of the working directory.
#[inline(always)]
unsafe fn paths(s: *mut ExecScratch, task: u64) {
    // SAFETY: `task` is the current task, a BTF pointer where the kernel has them; `s` is this CPU's element of this
    // program's own map.
    unsafe {
        let record = &raw mut (*s).frame.record;
        let fs: u64 = ld(task, field::TaskFs);
        let (root, top) = (path::root_of(fs), path::top_of(task));
        ((*record).exe_len, (*record).exe_marks) = names(s, exe_of(s, task), root, top);
        ((*record).cwd_len, (*record).cwd_marks) = names(s, path::cwd_of(fs), root, top);
    }
}

/// The path of the program's file: `mm->exe_file->f_path` (include/linux/mm_types.h).
#[inline(always)]
unsafe fn exe_of(s: *mut ExecScratch, task: u64) -> Place {
    // SAFETY: `task` is the current task, a BTF pointer where the kernel has them; `s` is this CPU's element of this
    // program's own map.
    unsafe {
        let file: u64 = ld(ld(task, field::TaskMm), field::MmExeFile);
        files::view_file(file, &raw mut (*s).walk).path
    }
}

/// Appends names. Returns their length in bytes and their marks.
#[inline(always)]
unsafe fn names(s: *mut ExecScratch, from: Place, root: Place, top: u64) -> (u16, u8) {
    // SAFETY: `s` is this CPU's element of this program's own map; the verifier checks every offset into it.
    unsafe {
        let start = get(&raw const (*s).off);
        let buf = (&raw mut (*s).buf).cast();
        let names = path::walk::<MASK, false>(&raw mut (*s).walk, buf, start, from, root, top);
        if names.end - start > get(&raw const (*s).most) {
            // A path without its beginning is useless.
            return (0, names.marks | mark::CUT);
        }
        set(&raw mut (*s).off, names.end);
        ((names.end - start) as u16, names.marks)
    }
}

/// Appends the first arguments, sends the record, and sends the rest in continuations.
#[inline(always)]
unsafe fn arguments(s: *mut ExecScratch, task: u64, event: &Event) {
    // SAFETY: `task` is the current task, a BTF pointer where the kernel has them. `s` is this CPU's element of this
    // program's own map, and `ARGV_FIRST` bytes follow any masked offset in `buf`.
    unsafe {
        let record = &raw mut (*s).frame.record;
        let mm: u64 = ld(task, field::TaskMm);
        let from: u64 = ld(mm, field::MmArgStart);
        let total = ld::<u64>(mm, field::MmArgEnd).wrapping_sub(from);
        let carried = if total < u64::from(ARGV_MAX) { total } else { u64::from(ARGV_MAX) };
        set(&raw mut (*s).carried, carried);
        let most = if large(s) { u64::from(ARGV_FIRST) } else { ARGV_FEW };
        set(&raw mut (*s).first, if carried < most { carried } else { most });
        let first = at_most(get(&raw const (*s).first), u64::from(ARGV_FIRST));
        let off = get(&raw const (*s).off) & MASK;
        let dst = (&raw mut (*s).buf).cast::<u8>().add(off as usize);
        set(&raw mut (*s).have, read_as_far::<{ ARGV_FIRST as u64 }>(dst, first, from));
        let (carried, first, have) =
            (get(&raw const (*s).carried), get(&raw const (*s).first), get(&raw const (*s).have));
        (*record).argv_total = total as u32;
        (*record).argv_marks = if have < first { mark::FAULT } else { 0 };
        let frame = (&raw mut (*s).frame).cast();
        let more = carried > first && have == first && large(s) && !is_bookkeeping(frame);
        set(&raw mut (*s).more, u64::from(more));
        (*record).argv_len = if more { carried as u32 } else { have as u32 };
        let len = FIXED + (get(&raw const (*s).off) & MASK) + get(&raw const (*s).have);
        if send(s, event, len, carried > first || any_cut(s)) && get(&raw const (*s).more) != 0 {
            chunks(s, event, from);
        }
    }
}

/// Reads `len` bytes of user memory, at most `MOST`, or those before the first page that cannot be read. Returns how
/// many. The kernel wrote all arguments shortly before, but a page may have gone since. The helper reads all of the
/// requested bytes or none.
#[inline(always)]
unsafe fn read_as_far<const MOST: u64>(dst: *mut u8, len: u64, from: u64) -> u64 {
    const PAGE: u64 = 4096;
    // SAFETY: `dst` has `MOST` bytes, which the verifier checks. User memory is read by helper, which does not fault.
    unsafe {
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
}

/// Sends the arguments after the first [`ARGV_FIRST`] bytes, as far as the ring has room for them.
#[inline(always)]
unsafe fn chunks(s: *mut ExecScratch, event: &Event, from: u64) {
    const FIXED: u64 = size_of::<Frame<ExecChunk>>() as u64;
    // SAFETY: `s` is this CPU's element of this program's own map; the verifier checks every offset into it.
    unsafe {
        let header = &raw mut (*s).chunk.header;
        copy_header(header, &raw const (*s).frame.header);
        set(&raw mut (*s).off, u64::from(ARGV_FIRST));
        let dst = (&raw mut (*s).chunk_buf).cast::<u8>();
        let mut why = 0;
        let mut turn = 0;
        loop {
            may_turn!(turn, CHUNKS);
            let (at, carried) = (get(&raw const (*s).off), get(&raw const (*s).carried));
            if at >= carried {
                break;
            }
            let len = at_most(carried - at, u64::from(ARGV_CHUNK));
            if read_user(dst, len, from.wrapping_add(at)) != 0 {
                why = mark::FAULT;
                break;
            }
            (*s).chunk.record = ExecChunk { offset: at as u32, len: len as u32, marks: 0, reserved: 0 };
            if !event.send_more(header, FIXED + len, FIXED + ARGV_CHUNK as u64) {
                why = NO_ROOM;
                break;
            }
            set(&raw mut (*s).off, at + len);
        }
        if why != 0 {
            last_chunk(s, event, from, get(&raw const (*s).carried), why);
        }
    }
}

/// Sends the last continuation of arguments that end early, with the reason. It is outside of the loop for the
/// verifier's sake.
#[inline(always)]
unsafe fn last_chunk(s: *mut ExecScratch, event: &Event, from: u64, carried: u64, why: u8) {
    const FIXED: u64 = size_of::<Frame<ExecChunk>>() as u64;
    // SAFETY: `s` is this CPU's element of this program's own map; the verifier checks every offset into it.
    unsafe {
        let header = &raw mut (*s).chunk.header;
        let at = get(&raw const (*s).off);
        let mut have = 0;
        if why == mark::FAULT {
            let dst = (&raw mut (*s).chunk_buf).cast::<u8>();
            let len = at_most(carried.wrapping_sub(at), u64::from(ARGV_CHUNK));
            have = read_as_far::<{ ARGV_CHUNK as u64 }>(dst, len, from.wrapping_add(at));
        }
        (*s).chunk.record = ExecChunk { offset: at as u32, len: have as u32, marks: why.into(), reserved: 0 };
        if have > 0 && event.send_more(header, FIXED + have, FIXED + ARGV_CHUNK as u64) {
            return;
        }
        let why = if have > 0 { NO_ROOM } else { why };
        (*s).chunk.record = ExecChunk { offset: at as u32, len: 0, marks: why.into(), reserved: 0 };
        if !event.send_end(header, FIXED) || why == NO_ROOM {
            event.count_cut_short();
        }
    }
}

const AT_FDCWD: i32 = -100;
/// `/dev/fd/` as a little-endian word.
const DEV_FD: u64 = u64::from_le_bytes(*b"/dev/fd/");

/// The arguments of a failed exec.
pub struct Asked {
    /// The directory descriptor; `AT_FDCWD` for execve.
    pub dirfd: i32,
    /// The user address of the path.
    pub path: u64,
    /// The user address of `argv[]`.
    pub argv: u64,
}

/// Reports an exec that failed. Path and arguments are read from the caller's memory after the call. What the kernel
/// did not read before it failed may lie in a page that is not present; the record marks this, and nothing is guessed.
///
/// After the point of no return the caller's memory is gone, and the new program's has no arguments yet
/// (`mm->arg_end == 0`). The kernel then ends the process
/// ([`bprm_execve`](https://elixir.bootlin.com/linux/v6.12/source/fs/exec.c) forces SIGSEGV), and only the file can be
/// reported.
#[inline(always)]
pub unsafe fn failed(slot: Slot, scratch: &Array<ExecScratch>, call: &Call, asked: &Asked) {
    // SAFETY: `call.task` is the current task, a BTF pointer where the kernel has them. `s` is this CPU's element of
    // this program's own map; the verifier checks every offset into it.
    unsafe {
        let who = Who::of(call.task);
        let Some(event) = Event::of_call(slot, &who, call) else { return };
        let Some(s) = event.place(scratch) else { return };
        event.head(&raw mut (*s).frame.header, &who);
        let record = &raw mut (*s).frame.record;
        measure(s, &event);
        (*record).ret = call.ret as i32;
        (*record).old_tid = 0;
        (*record).euid = ld(who.cred, field::CredEuid);
        (*record).egid = ld(who.cred, field::CredEgid);
        (*record).interp_len = 0;
        set(&raw mut (*s).off, 0);
        let fs: u64 = ld(call.task, field::TaskFs);
        let (root, top) = (path::root_of(fs), path::top_of(call.task));
        let gone = ld::<u64>(ld(call.task, field::TaskMm), field::MmArgEnd) == 0;
        if gone {
            // The new program may have something else at the path's address.
            (*record).filename_len = 0;
            (*record).filename_marks = mark::FAULT;
        } else {
            asked_path(s, asked);
        }
        let exe = if gone { exe_of(s, call.task) } else { Place::NONE };
        ((*record).exe_len, (*record).exe_marks) = names(s, exe, root, top);
        if !gone {
            (*record).exe_marks = 0;
        }
        ((*record).cwd_len, (*record).cwd_marks) = names(s, path::cwd_of(fs), root, top);
        let start = get(&raw const (*s).off);
        set(&raw mut (*s).end, if large(s) { u64::MAX } else { start + ARGV_FEW });
        asked_arguments(slot, s, asked.argv, abi::is_narrow(call.abi), gone);
        let end = get(&raw const (*s).off);
        (*record).argv_total = (end - start) as u32;
        (*record).argv_len = (end - start) as u32;
        let cut = get(&raw const (*record).argv_marks) & mark::CUT != 0 || any_cut(s);
        send(s, &event, FIXED + end, cut);
    }
}

/// Appends the path as the kernel names it ([`alloc_bprm`](https://elixir.bootlin.com/linux/v6.12/source/fs/exec.c)):
/// `/dev/fd/N/PATH` if it starts at a descriptor.
#[inline(always)]
unsafe fn asked_path(s: *mut ExecScratch, asked: &Asked) {
    // SAFETY: `s` is this CPU's element of this program's own map, and `STRING_MAX` bytes follow any masked offset in
    // `buf`. User memory is read by helper.
    unsafe {
        let record = &raw mut (*s).frame.record;
        let word = (&raw mut (*s).word).cast::<u8>();
        read_passed::<1>(word, 1, asked.path);
        let first = get(word);
        if asked.dirfd != AT_FDCWD && first != b'/' {
            store_word((&raw mut (*s).buf).cast(), DEV_FD);
            set(&raw mut (*s).off, 8);
            decimal(s, asked.dirfd);
            if first != 0 {
                put(s, b'/');
            }
        }
        let off = get(&raw const (*s).off);
        let dst = (&raw mut (*s).buf).cast::<u8>().add((off & MASK) as usize);
        let n = read_user_str(dst, STRING_MAX, asked.path);
        let len = if n > 0 { (n as u64 - 1) & (STRING_MAX - 1) } else { 0 };
        (*record).filename_marks = if n < 0 { mark::FAULT } else { 0 };
        if n == STRING_MAX as i64 {
            read_passed::<1>(word, 1, asked.path + STRING_MAX - 1);
            if get(word) != 0 {
                (*record).filename_marks = mark::CUT;
            }
        }
        let most = get(&raw const (*s).most);
        let len = if len > most {
            (*record).filename_marks = mark::CUT;
            most
        } else {
            len
        };
        (*record).filename_len = (off + len) as u16;
        set(&raw mut (*s).off, off + len);
    }
}

#[inline(always)]
unsafe fn put(s: *mut ExecScratch, byte: u8) {
    // SAFETY: `s` is this CPU's element of this program's own map; the verifier checks every offset into it.
    unsafe {
        let off = get(&raw const (*s).off);
        set((&raw mut (*s).buf).cast::<u8>().add((off & MASK) as usize), byte);
        set(&raw mut (*s).off, off + 1);
    }
}

/// Appends a number in decimal.
#[inline(always)]
unsafe fn decimal(s: *mut ExecScratch, number: i32) {
    // SAFETY: `s` is this CPU's element of this program's own map; the verifier checks every offset into it.
    unsafe {
        if number < 0 {
            put(s, b'-');
        }
        // The state is in memory, so that the iterations look alike to the verifier.
        set(&raw mut (*s).word, u64::from(number.unsigned_abs()));
        set(&raw mut (*s).full, 0);
        let mut unit = 1_000_000_000;
        while unit > 0 {
            let left = get(&raw const (*s).word);
            set(&raw mut (*s).word, left % unit);
            let digit = left / unit;
            if digit != 0 || unit == 1 || get(&raw const (*s).full) != 0 {
                set(&raw mut (*s).full, 1);
                put(s, b'0' + digit as u8);
            }
            unit /= 10;
        }
    }
}

/// Appends the strings that the caller's `argv[]` points to, each with its NUL, as far as there is room: at least 16
/// KiB. The rest is counted.
#[inline(always)]
unsafe fn asked_arguments(slot: Slot, s: *mut ExecScratch, argv: u64, narrow: bool, gone: bool) {
    // SAFETY: `s` is this CPU's element of this program's own map, and `ARG_ASK` bytes follow any masked offset in
    // `buf`.
    unsafe {
        let record = &raw mut (*s).frame.record;
        (*record).argv_marks = mark::CUT;
        set(&raw mut (*s).pointer, argv);
        set(&raw mut (*s).count, 0);
        set(&raw mut (*s).full, 0);
        if argv == 0 || gone {
            (*record).argc = if gone { u32::MAX } else { 0 };
            (*record).argv_marks = if gone { mark::FAULT } else { 0 };
            return;
        }
        if !take_arguments(s, narrow) && konst!(MayGoto) == 0 {
            set(&raw mut (*s).narrow, u64::from(narrow));
            match slot {
                Slot::ExecSysExit => arguments_btf(),
                Slot::ExecFailTp => arguments_tp(),
                // The programs of other slots run only on kernels where the loop needs no help.
                _ => 0,
            };
        }
        let whole = get(&raw const (*record).argv_marks) & mark::CUT == 0;
        (*record).argc = if whole { get(&raw const (*s).count) as u32 } else { u32::MAX };
        if get(&raw const (*s).full) != 0 {
            (*record).argv_marks |= get(&raw const (*s).full) as u8;
        }
    }
}

/// Takes all arguments, or as many as the loop's iterations permit: then `false`.
#[inline(always)]
unsafe fn take_arguments(s: *mut ExecScratch, narrow: bool) -> bool {
    // SAFETY: `s` is this CPU's element of this program's own map; the verifier checks every offset into it.
    unsafe {
        let mut turn = 0;
        loop {
            may_turn!(turn, ARGC_FEW);
            if !asked_argument(s, narrow) {
                return true;
            }
        }
    }
    false
}

further! {
    /// Continues with the arguments of a failed exec for `sys_exit_btf`.
    arguments_btf, arguments_btf_piece: take_more(&EXEC_SYS_SCRATCH)
}

further! {
    /// Continues with the arguments of a failed exec for `exec_fail_tp`.
    arguments_tp, arguments_tp_piece: take_more(&EXEC_FAIL_TP_SCRATCH)
}

/// Takes more arguments; `true` if there are no more.
#[inline(always)]
fn take_more(scratch: &Array<ExecScratch>) -> bool {
    let Some((cpu, _)) = this_cpu() else { return true };
    let Some(s) = scratch.get_ptr_mut(cpu) else { return true };
    // SAFETY: `s` is this CPU's element of the map of the calling program; the verifier checks every offset into it.
    unsafe {
        let narrow = get(&raw const (*s).narrow) != 0;
        let mut turn = 0;
        while turn < further::TURNS {
            if !asked_argument(s, narrow) {
                return true;
            }
            turn += 1;
        }
    }
    false
}

/// Takes one argument; `false` at the end. Clears the mark `CUT` if that is the end of the caller's `argv[]`.
#[inline(always)]
unsafe fn asked_argument(s: *mut ExecScratch, narrow: bool) -> bool {
    // SAFETY: `s` is this CPU's element of this program's own map. User memory is read by helper.
    unsafe {
        let record = &raw mut (*s).frame.record;
        let at = get(&raw const (*s).pointer);
        let count = get(&raw const (*s).count);
        let size = if narrow { 4 } else { 8 };
        set(&raw mut (*s).word, 0);
        if count >= ARGC_MAX {
            return false;
        }
        if read_passed::<8>((&raw mut (*s).word).cast(), size, at) != 0 {
            set(&raw mut (*s).full, u64::from(mark::FAULT));
            return false;
        }
        let string = get(&raw const (*s).word);
        if string == 0 {
            set(&raw mut (*record).argv_marks, 0);
            return false;
        }
        set(&raw mut (*s).pointer, at + size);
        set(&raw mut (*s).count, count + 1);
        if get(&raw const (*s).full) == 0 {
            take_argument(s, string);
        }
        true
    }
}

#[inline(always)]
unsafe fn take_argument(s: *mut ExecScratch, string: u64) {
    // SAFETY: `s` is this CPU's element of this program's own map, and `ARG_ASK` bytes follow any masked offset in
    // `buf`. User memory is read by helper.
    unsafe {
        let off = get(&raw const (*s).off);
        if off > MASK {
            return set(&raw mut (*s).full, u64::from(mark::CUT));
        }
        let dst = (&raw mut (*s).buf).cast::<u8>().add((off & MASK) as usize);
        let n = read_user_str(dst, ARG_ASK, string);
        if n < 0 {
            return set(&raw mut (*s).full, u64::from(mark::FAULT));
        }
        // For an empty string, older kernels write the NUL but do not count it.
        let n = n + i64::from(n == 0);
        let to = off + (n as u64 & (2 * ARG_ASK - 1));
        let end = get(&raw const (*s).end);
        if to > end {
            set(&raw mut (*s).off, end);
            return set(&raw mut (*s).full, u64::from(mark::CUT));
        }
        set(&raw mut (*s).off, to);
        if n == ARG_ASK as i64 {
            // The string fills the room. It is whole only if its own NUL is where the helper put one.
            let word = (&raw mut (*s).word).cast::<u8>();
            if read_passed::<1>(word, 1, string + ARG_ASK - 1) != 0 || get(word) != 0 {
                set(&raw mut (*s).full, u64::from(mark::CUT));
            }
        }
    }
}
