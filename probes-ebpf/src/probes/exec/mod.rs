//! `exec`: a program was started, or failed to start.

use crate::context::{self, Context};
use crate::emit::{Event, Frame, SMALL};
use crate::files;
use crate::functions::in_pieces;
use crate::maps::per_cpu;
use crate::path::{self, NAME_SLACK, Place, Walk};
use crate::read::{get, ld, set, typed_as};
use crate::task::current;
use aya_ebpf::macros::{btf_tracepoint, kprobe, map};
use aya_ebpf::maps::{Array, LruHashMap};
use aya_ebpf::programs::{BtfTracePointContext, ProbeContext};
pub use failed::ended;
use started::{Exec, started};
use tracetui_shared::offsets::field;
use tracetui_shared::record::exec::{ARGV_CHUNK, ARGV_FIRST, ExecChunk, ExecRecord, Further, NO_ROOM, STDIO, Stdio};
use tracetui_shared::record::{mark, stack};

mod failed;
mod started;
mod stdio;

/// Limit of filename and of interp in bytes, each with its NUL: `PATH_MAX` (include/uapi/linux/limits.h).
const STRING_MAX: u64 = 4096;
/// Highest offset in the buffer at which a string, a name or argv may start. There is room for two strings and two
/// paths below.
const MASK: u64 = (1 << 14) - 1;
const _: () = assert!(2 * STRING_MAX + 2 * path::NAMES_MAX <= MASK + 1);

/// Bytes of the largest first record.
const LARGEST: u64 = FIXED + MASK + 1 + ARGV_FIRST as u64;
const FIXED: u64 = size_of::<Frame<Fixed>>() as u64;
/// Limit in bytes of each string and path in a small record. [`ARGV_FEW`] is the limit of the arguments.
const FEW: u64 = 256;
const ARGV_FEW: u64 = 256;
/// Limit in bytes of the paths of stdin, stdout and stderr together in a small record.
const STDIO_FEW: u64 = 104;
const _: () = assert!(FIXED + 4 * FEW + STDIO_FEW + ARGV_FEW + stack::ROOM as u64 <= SMALL);

/// The parts of the first record that always have the same length.
#[repr(C)]
pub struct Fixed {
    exec: ExecRecord,
    stdio: [Stdio; STDIO],
}

/// The buffers in which an `exec` record is assembled.
#[repr(C)]
pub struct ExecScratch {
    frame: Frame<Fixed>,
    buf: [u8; MASK as usize + 1 + ARGV_FIRST as usize + NAME_SLACK + stack::ROOM],
    walk: Walk,
    chunk: Frame<ExecChunk>,
    chunk_buf: [u8; ARGV_CHUNK as usize],
    /// Offset in `buf` of the next part.
    off: u64,
    /// For a failed exec: the address of the next pointer in the caller's `argv[]` or `envp[]`, and the number of strings so far.
    pointer: u64,
    count: u64,
    /// Not 0, but a bit of [`mark`], if further strings are only counted.
    full: u64,
    /// Limit of a string or a path in bytes, and the offset in `buf` at which arguments must end. Both are smaller if
    /// the ring is half full.
    most: u64,
    end: u64,
    /// Not 0 if the caller's pointers have 4 bytes.
    narrow: u64,
    /// The bytes that are reported of the arguments, and of them and the environment behind them; of the arguments those in the
    /// first record, and those that could be read.
    arguments: u64,
    carried: u64,
    first: u64,
    /// 1 if the environment is empty.
    empty: u64,
    have: u64,
    /// Not 0 if continuations follow.
    more: u64,
    /// A pointer, or a byte, of the caller's memory.
    word: u64,
    /// The next descriptor, and the files of those before it.
    fd: u64,
    files: [u64; STDIO],
    /// The open descriptors that are not described yet, as bits, and the one that is being described.
    open: u64,
    further: Further,
    /// The descriptor by which a script was passed, and 1 more; else 0.
    script: u64,
    /// For a failed exec: the address of the caller's `envp[]`.
    envp: u64,
    /// Of a failed exec: [`BELOW`](tracetui_shared::record::exec::BELOW) if its path starts at a descriptor, else 0.
    below: u8,
}

per_cpu! {
    /// Records of `sched_exec`.
    EXEC_SCRATCH: ExecScratch;
    /// Records of failed execs.
    EXEC_FAILED_SCRATCH: ExecScratch;
}

in_pieces! {
    /// Walks from a file or a directory of a program.
    exec_walk, exec_walk_pieces, exec_walk_piece: climb(&EXEC_SCRATCH)
}

/// A part of a walk in a map of records.
#[inline(always)]
fn climb(map: &Array<ExecScratch>) -> bool {
    path::climb::<_, MASK>(map, |s| (&mut s.walk, s.buf.as_mut_ptr()))
}

/// Execs that are about to succeed: the address of `struct linux_binprm` by process id (`tgid`). [`exec_bprm`] adds an entry,
/// [`sched_exec`] at a classic tracepoint removes it.
#[map]
static EXEC_BPRMS: LruHashMap<u32, u64> = LruHashMap::with_max_entries(1024, 0);

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
/// ([`include/trace/events/sched.h`](https://elixir.bootlin.com/linux/v6.12/source/include/trace/events/sched.h)),
/// called in [`exec_binprm`](https://elixir.bootlin.com/linux/v6.12/source/fs/exec.c) after the point of no return.
/// Credentials, memory and name are the new program's.
///
/// The classic tracepoint has `__data_loc char[] filename`, `pid_t pid`, `pid_t old_pid`.
#[btf_tracepoint]
#[inline(always)]
pub fn sched_exec(ctx: BtfTracePointContext) -> i32 {
    let ctx = Context::of(&ctx);
    if context::is_typed() {
        let task = typed_as(ctx.argument::<0>(), field::TaskTgid);
        let exec = Exec { task, old_tid: ctx.argument::<1>() as u32, filename: 0, interp: None, argc: u32::MAX };
        started(ctx, &by_bprm(exec, ctx.argument::<2>()));
    } else {
        let filename = (ctx.as_ptr() as u64).wrapping_add(u64::from(ctx.load::<u32, 8>() & 0xffff));
        let mut exec = Exec { task: current(), old_tid: ctx.load::<u32, 16>(), filename, interp: None, argc: u32::MAX };
        let tgid: u32 = ld(exec.task, field::TaskTgid);
        if let Some(bprm) = EXEC_BPRMS.get_ptr(tgid) {
            // The exec owns `bprm` until it returns.
            exec = by_bprm(exec, get(bprm));
            let _ = EXEC_BPRMS.remove(tgid);
        }
        started(ctx, &exec);
    }
    0
}

/// Adds the fields of `struct linux_binprm`.
#[inline(always)]
fn by_bprm(exec: Exec, bprm: u64) -> Exec {
    let bprm = typed_as(bprm, field::BprmArgc);
    let (filename, interp) = (ld(bprm, field::BprmFilename), Some(ld(bprm, field::BprmInterp)));
    Exec { filename, interp, argc: ld(bprm, field::BprmArgc), ..exec }
}

/// Entry of `void finalize_exec(struct linux_binprm *bprm)`
/// ([`finalize_exec`](https://elixir.bootlin.com/linux/v6.12/source/fs/exec.c)), by a kprobe_multi link. The loader of
/// the program's format calls it last, shortly before `sched_process_exec`. Supplies what the record of the classic tracepoint
/// lacks.
#[kprobe]
#[inline(always)]
pub fn exec_bprm(ctx: ProbeContext) -> u32 {
    let tgid: u32 = ld(current(), field::TaskTgid);
    // If the insertion fails, the event is reported without the fields of `bprm`.
    let _ = EXEC_BPRMS.insert(tgid, Context::of(&ctx).first_argument(), 0);
    0
}

/// Sets how large the record may be: [`LARGEST`] in all if the ring is less than half full.
#[inline(always)]
fn measure(s: &mut ExecScratch, event: &Event) {
    set(&mut s.most, if event.ask_room(LARGEST) { STRING_MAX } else { FEW })
}

/// Whether the record may be large.
#[inline(always)]
fn large(s: &ExecScratch) -> bool {
    get(&s.most) == STRING_MAX
}

/// Sends the record. If the ring lacks room, parts of it were cut: the record is then marked as cut, and counted if it
/// arrives.
#[inline(always)]
fn send(s: &mut ExecScratch, event: &Event, len: u64, cut: bool) -> bool {
    let short = cut && !large(s);
    s.frame.record.exec.argv_marks |= if short { NO_ROOM } else { 0 };
    let most = &raw const s.most;
    let sent = event.send_if(&mut s.frame.header, len, LARGEST, || get(most) == STRING_MAX);
    if sent && short {
        event.count_cut_short();
    }
    sent
}

/// Whether a string or a path was cut because the ring lacks room.
#[inline(always)]
fn any_cut(s: &ExecScratch) -> bool {
    let record = &s.frame.record.exec;
    let of = &s.frame.record.stdio;
    let stdio = of[0].names_marks | of[1].names_marks | of[2].names_marks;
    (record.filename_marks | record.exe_marks | record.cwd_marks | stdio) & mark::CUT != 0
}

/// The path of the program's file: `mm->exe_file->f_path` (include/linux/mm_types.h).
#[inline(always)]
fn exe_of(s: &mut ExecScratch, task: u64) -> Place {
    let file: u64 = ld(ld(task, field::TaskMm), field::MmExeFile);
    files::view_file(file, &mut s.walk).path
}

/// Appends names. Returns their length in bytes and their marks.
#[inline(always)]
fn names(s: &mut ExecScratch, from: Place, root: Place, top: u64, climb: impl Fn()) -> (u16, u8) {
    let start = get(&s.off);
    let names = path::walk::<MASK>(&mut s.walk, start, from, root, top, climb);
    if names.end - start > get(&s.most) {
        // A path without its beginning is useless.
        return (0, names.marks | mark::CUT);
    }
    set(&mut s.off, names.end);
    ((names.end - start) as u16, names.marks)
}
