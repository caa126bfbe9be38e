//! `exec`: a program was started.

use super::field;
use crate::emit::{Event, Frame};
use crate::maps::{EXEC_BTF_SCRATCH, EXEC_TP_SCRATCH};
use crate::path::{self, NAME_SLACK, Place, Walk};
use crate::read::{at_most, get, ld, may_turn, read_kernel_str, read_user, set, typed_as};
use crate::task::{Who, current};
use aya_ebpf::EbpfContext;
use aya_ebpf::macros::{btf_tracepoint, tracepoint};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::{BtfTracePointContext, TracePointContext};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::{Field, Type};
use tracetui_shared::record::exec::{ARGV_CHUNK, ARGV_FIRST, ARGV_MAX, ExecChunk, ExecRecord};
use tracetui_shared::record::mark;

/// Most bytes of filename and of interp, each with its NUL: `PATH_MAX`.
const STRING_MAX: u64 = 4096;
/// Highest place in the buffer where a string, a name or argv may start: room for two strings and two paths.
const MASK: u64 = (1 << 14) - 1;
const _: () = assert!(2 * STRING_MAX + 2 * path::NAMES_MAX <= MASK + 1);
/// Most continuations of one event.
const CHUNKS: u32 = (ARGV_MAX - ARGV_FIRST).div_ceil(ARGV_CHUNK);

/// Where `exec` is put together.
#[repr(C)]
pub struct ExecScratch {
    frame: Frame<ExecRecord>,
    buf: [u8; MASK as usize + 1 + ARGV_FIRST as usize + NAME_SLACK],
    walk: Walk,
    chunk: Frame<ExecChunk>,
    chunk_buf: [u8; ARGV_CHUNK as usize],
    /// Where in `buf` the next part goes.
    off: u64,
}

/// What the tracepoints differ in.
struct Exec {
    task: u64,
    old_tid: u32,
    filename: u64,
    interp: u64,
    argc: u32,
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`, in `exec_binprm`, after the
/// point of no return: credentials, memory and name are the new program's.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn exec_btf(ctx: BtfTracePointContext) -> i32 {
    let bprm = typed_as(ctx.arg(2), Type::Bprm);
    // SAFETY: the arguments are the tracepoint's; `p` is the current task.
    unsafe {
        let exec = Exec {
            task: typed_as(ctx.arg(0), Type::Task),
            old_tid: ctx.arg::<u64>(1) as u32,
            filename: ld(bprm, Field::BprmFilename),
            interp: ld(bprm, Field::BprmInterp),
            argc: ld(bprm, Field::BprmArgc),
        };
        emit(Slot::ExecBtf, &EXEC_BTF_SCRATCH, &exec);
    }
    0
}

/// `sched:sched_process_exec`: `__data_loc char[] filename`, pid, old_pid.
#[tracepoint(category = "sched", name = "sched_process_exec")]
pub fn exec_tp(ctx: TracePointContext) -> u32 {
    // SAFETY: the places are the record's; the filename lies in the record, which is kernel memory.
    unsafe {
        let at = field::<u32>(&ctx, 8) & 0xffff;
        let filename = (ctx.as_ptr() as u64).wrapping_add(u64::from(at));
        let exec = Exec { task: current(), old_tid: field(&ctx, 16), filename, interp: filename, argc: u32::MAX };
        emit(Slot::ExecTp, &EXEC_TP_SCRATCH, &exec);
    }
    0
}

#[inline(always)]
unsafe fn emit(slot: Slot, scratch: &Array<ExecScratch>, exec: &Exec) {
    // SAFETY: `exec.task` is the current task, typed where the kernel can; `s` is this CPU's element of this program's
    // own map.
    unsafe {
        let who = Who::of(exec.task);
        let Some(event) = Event::begin(slot, &who, false) else { return };
        let Some(s) = scratch.get_ptr_mut(event.cpu()) else { return };
        let header = &raw mut (*s).frame.header;
        event.head(header, &who);
        let record = &raw mut (*s).frame.record;
        (*record).ret = 0;
        (*record).argc = exec.argc;
        (*record).old_tid = if exec.old_tid != who.tgid { exec.old_tid } else { 0 };
        (*record).euid = ld(who.cred, Field::CredEuid);
        (*record).egid = ld(who.cred, Field::CredEgid);
        set(&raw mut (*s).off, 0);
        (*record).filename_len = string(s, exec.filename);
        (*record).filename_marks = if (*record).filename_len == 0 { mark::FAULT } else { 0 };
        (*record).interp_len = if exec.interp != exec.filename { string(s, exec.interp) } else { 0 };
        paths(s, exec.task);
        arguments(s, exec.task, &event);
    }
}

/// Appends a kernel string without its NUL; its length.
#[inline(always)]
unsafe fn string(s: *mut ExecScratch, from: u64) -> u16 {
    // SAFETY: see `emit`; a masked place has room for a string behind it.
    unsafe {
        let off = get(&raw const (*s).off);
        let dst = (&raw mut (*s).buf).cast::<u8>().add((off & MASK) as usize);
        let n = read_kernel_str(dst, STRING_MAX, from);
        let len = if n > 0 { (n as u64 - 1) & (STRING_MAX - 1) } else { 0 };
        set(&raw mut (*s).off, off + len);
        len as u16
    }
}

/// Appends the names of the program's file and of the working directory.
#[inline(always)]
unsafe fn paths(s: *mut ExecScratch, task: u64) {
    // SAFETY: see `emit`.
    unsafe {
        let record = &raw mut (*s).frame.record;
        let fs: u64 = ld(task, Field::TaskFs);
        let root = path::root_of(fs);
        ((*record).exe_len, (*record).exe_marks) = names(s, exe_of(s, task), root);
        ((*record).cwd_len, (*record).cwd_marks) = names(s, path::cwd_of(fs), root);
    }
}

/// `mm->exe_file->f_path`.
#[inline(always)]
unsafe fn exe_of(s: *mut ExecScratch, task: u64) -> Place {
    // SAFETY: see `emit`.
    unsafe {
        let file: u64 = ld(ld(task, Field::TaskMm), Field::MmExeFile);
        path::view_file(file, &raw mut (*s).walk).path
    }
}

/// Appends names; their length and marks.
#[inline(always)]
unsafe fn names(s: *mut ExecScratch, from: Place, root: Place) -> (u16, u8) {
    // SAFETY: see `emit`.
    unsafe {
        let start = get(&raw const (*s).off);
        let names = path::walk::<MASK>(&raw mut (*s).walk, (&raw mut (*s).buf).cast(), start, from, root);
        set(&raw mut (*s).off, names.end);
        ((names.end - start) as u16, names.marks)
    }
}

/// Appends the first arguments, sends the record, and sends the rest in continuations. The kernel wrote all of
/// `mm->arg_start..arg_end` a moment ago, so the pages are there.
#[inline(always)]
unsafe fn arguments(s: *mut ExecScratch, task: u64, event: &Event) {
    // SAFETY: see `emit`.
    unsafe {
        let record = &raw mut (*s).frame.record;
        let mm: u64 = ld(task, Field::TaskMm);
        let from: u64 = ld(mm, Field::MmArgStart);
        let total = ld::<u64>(mm, Field::MmArgEnd).wrapping_sub(from);
        let carried = if total < u64::from(ARGV_MAX) { total } else { u64::from(ARGV_MAX) };
        let first = at_most(carried, u64::from(ARGV_FIRST));
        (*record).argv_total = total as u32;
        (*record).argv_len = if event.bookkeeping { first as u32 } else { carried as u32 };
        let off = get(&raw const (*s).off) & MASK;
        let dst = (&raw mut (*s).buf).cast::<u8>().add(off as usize);
        (*record).argv_marks = if read_user(dst, first, from) != 0 { mark::FAULT } else { 0 };
        const FIXED: u64 = size_of::<Frame<ExecRecord>>() as u64;
        let sent = event.send((&raw mut (*s).frame).cast(), FIXED + off + first, FIXED + MASK + 1 + ARGV_FIRST as u64);
        if sent && !event.bookkeeping && carried > first {
            chunks(s, event, from, carried);
        }
    }
}

/// Sends the arguments after the first [`ARGV_FIRST`] bytes.
#[inline(always)]
unsafe fn chunks(s: *mut ExecScratch, event: &Event, from: u64, carried: u64) {
    // SAFETY: see `emit`.
    unsafe {
        let header = &raw mut (*s).chunk.header;
        copy_header(header, &raw const (*s).frame.header);
        set(&raw mut (*s).off, u64::from(ARGV_FIRST));
        let mut turn = 0;
        loop {
            may_turn!(turn, CHUNKS);
            let at = get(&raw const (*s).off);
            if at >= carried {
                break;
            }
            let left = carried - at;
            let len = at_most(left, u64::from(ARGV_CHUNK));
            let dst = (&raw mut (*s).chunk_buf).cast::<u8>();
            let fault = read_user(dst, len, from.wrapping_add(at)) != 0;
            let marks = if fault { u32::from(mark::FAULT) } else { 0 };
            (*s).chunk.record = ExecChunk { offset: at as u32, len: len as u32, marks, reserved: 0 };
            const FIXED: u64 = size_of::<Frame<ExecChunk>>() as u64;
            if !event.send_more(header, FIXED + len, FIXED + ARGV_CHUNK as u64) {
                break;
            }
            set(&raw mut (*s).off, at + len);
        }
    }
}

#[inline(always)]
unsafe fn copy_header(to: *mut FrameHeader, from: *const FrameHeader) {
    let mut i = 0;
    while i < size_of::<FrameHeader>() / 8 {
        // SAFETY: both are headers in this CPU's element; a header is a whole number of words.
        unsafe { set(to.cast::<u64>().add(i), get(from.cast::<u64>().add(i))) };
        i += 1;
    }
}
