//! `open` through io_uring, which no system call shows.
//!
//! A request is reported twice: when it is submitted, with the path, which the kernel frees before the request ends, and
//! with the submitter; and when it ends, with its result. User space joins the two by the request's address. So nothing is
//! kept in the kernel, and any number of requests may be under way.

use super::open::{self, OpenScratch};
use crate::arch::{native_abi, o_largefile};
use crate::emit::{Event, Frame};
use crate::files;
use crate::maps::{per_cpu, this_cpu};
use crate::path::{self, Walk};
use crate::read::{any, at_most, casts, field, get, has, ld, offset, rd, read_kernel_str, set, typed_as};
use crate::task::{Who, current};
use aya_ebpf::macros::{btf_tracepoint, fexit, tracepoint};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::{BtfTracePointContext, FExitContext, TracePointContext};
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::{Field, Type};
use tracetui_shared::record::mark;
use tracetui_shared::record::open::{OpenRecord, PATH_MAX, RequestPart, UNKNOWN, uring, via};

/// `IORING_OP_OPENAT`.
const OPENAT: u8 = 18;
/// `IORING_OP_OPENAT2`.
const OPENAT2: u8 = 28;
const AT_FDCWD: i32 = -100;

/// Where the report of a request is put together.
#[repr(C)]
pub struct RequestScratch {
    frame: Frame<OpenRecord>,
    part: RequestPart,
    path: [u8; PATH_MAX as usize],
    walk: Walk,
}

per_cpu! {
    /// Records of `uring_submit_btf`.
    URING_SUBMIT_SCRATCH: RequestScratch;
    /// Records of `uring_submit_tp`.
    URING_SUBMIT_TP_SCRATCH: RequestScratch;
    /// Records of `uring_refused_btf`.
    URING_REFUSED_SCRATCH: RequestScratch;
    /// Records of `uring_refused_tp`.
    URING_REFUSED_TP_SCRATCH: RequestScratch;
    /// Records of `uring_complete_btf`.
    URING_COMPLETE_SCRATCH: OpenScratch;
    /// Records of `uring_complete_tp`.
    URING_COMPLETE_TP_SCRATCH: OpenScratch;
    /// Records of `uring_quiet`.
    URING_QUIET_SCRATCH: OpenScratch;
}

/// `io_uring_submit_req(struct io_kiocb *req)` from 6.12 on, `io_uring_submit_sqe(const struct io_kiocb *req, bool
/// force_nonblock)` before: after the preparation of a request, so its path is in kernel memory. Requests that the
/// preparation refuses do not come here.
#[btf_tracepoint]
#[inline(always)]
pub fn uring_submit_btf(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is the request.
    unsafe { submitted(Slot::UringSubmit, &URING_SUBMIT_SCRATCH, ctx.arg(0)) };
    0
}

/// `io_uring:io_uring_submit_req`: ctx, req.
#[tracepoint]
#[inline(always)]
pub fn uring_submit_tp(ctx: TracePointContext) -> u32 {
    // SAFETY: the place is the record's; user space compared it with the tracepoint's format.
    unsafe { submitted(Slot::UringSubmitTp, &URING_SUBMIT_TP_SCRATCH, field(&ctx, REQ)) };
    0
}

/// `io_uring_req_failed(const struct io_uring_sqe *sqe, struct io_kiocb *req, int error)`: a request is refused before it is
/// submitted. Its completion follows.
#[btf_tracepoint]
#[inline(always)]
pub fn uring_refused_btf(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is the request.
    unsafe { refused(Slot::UringRefused, &URING_REFUSED_SCRATCH, ctx.arg(1)) };
    0
}

/// `io_uring:io_uring_req_failed`: ctx, req.
#[tracepoint]
#[inline(always)]
pub fn uring_refused_tp(ctx: TracePointContext) -> u32 {
    // SAFETY: see `uring_submit_tp`.
    unsafe { refused(Slot::UringRefusedTp, &URING_REFUSED_TP_SCRATCH, field(&ctx, REQ)) };
    0
}

/// `io_uring_complete(void *ctx, void *req, …)` from 5.19 on, once a completion is posted; the result is taken from the
/// request, since what follows `req` differs between kernels. A request whose submitter wanted no completion when it
/// succeeds (`IOSQE_CQE_SKIP_SUCCESS`) does not come here when it does.
#[btf_tracepoint]
#[inline(always)]
pub fn uring_complete_btf(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is the request, or null.
    unsafe { ended::<false>(Slot::OpenUring, &URING_COMPLETE_SCRATCH, ctx.arg(1)) };
    0
}

/// `io_uring:io_uring_complete`: ctx, req.
#[tracepoint]
#[inline(always)]
pub fn uring_complete_tp(ctx: TracePointContext) -> u32 {
    // SAFETY: see `uring_submit_tp`.
    unsafe { ended::<false>(Slot::OpenUringTp, &URING_COMPLETE_TP_SCRATCH, field(&ctx, REQ)) };
    0
}

/// The return of `int io_openat2(struct io_kiocb *req, unsigned int issue_flags)`, to which both requests lead: 0 once the
/// request has its result, an error when it is to be tried again. Reports the requests that [`uring_complete_btf`] does not
/// see.
#[fexit]
#[inline(always)]
pub fn uring_quiet(ctx: FExitContext) -> i32 {
    let (req, ret): (u64, u64) = (ctx.arg(0), ctx.arg(2));
    // SAFETY: reads by helper, which fail softly.
    unsafe {
        if ret as i32 == 0 && is_quiet(req) && rd::<i32>(req.wrapping_add(offset(Field::KiocbCqeRes))) >= 0 {
            ended::<true>(Slot::OpenUringQuiet, &URING_QUIET_SCRATCH, req);
        }
    }
    0
}

/// Where `req` stands in the records of the classic tracepoints: after the common fields and `ctx`.
const REQ: usize = 16;

/// `REQ_F_CQE_SKIP`, which is `IOSQE_CQE_SKIP_SUCCESS`: no completion when it succeeds. When it fails, the kernel clears the
/// flag.
const CQE_SKIP: u32 = 1 << 6;

#[inline(always)]
unsafe fn is_quiet(req: u64) -> bool {
    // SAFETY: a read by helper.
    unsafe { rd::<u32>(req.wrapping_add(offset(Field::KiocbFlags))) & CQE_SKIP != 0 }
}

/// The opcode of a request that is to open a file.
#[inline(always)]
unsafe fn opens(req: u64) -> Option<u8> {
    // SAFETY: a read by helper.
    let opcode: u8 = unsafe { rd(req.wrapping_add(offset(Field::KiocbOpcode))) };
    (opcode == OPENAT || opcode == OPENAT2).then_some(opcode)
}

/// Which request was submitted last on this CPU, whatever it asks for.
#[inline(always)]
unsafe fn note_submitted(req: u64) {
    let Some((_, state)) = this_cpu() else { return };
    // SAFETY: `state` is this CPU's element of the map.
    unsafe { set(&raw mut (*state).last_request, req) };
}

/// Whether the descriptor of a request that has its result may be another file's by now. What a task submits at once is carried
/// out one after another, and the completions are posted together after that (`io_submit_flush_completions`): between may lie
/// requests that closed the descriptor and opened another file there. So it must be the last one that was submitted. A worker
/// posts each by itself.
#[inline(always)]
unsafe fn is_late(req: u64) -> bool {
    let Some((_, state)) = this_cpu() else { return true };
    // SAFETY: `state` is this CPU's element of the map.
    unsafe { task_of(req) == current() && get(&raw const (*state).last_request) != req }
}

/// The address of the task that submitted a request; the current one where it is not known.
#[inline(always)]
unsafe fn task_of(req: u64) -> u64 {
    // SAFETY: reads by helper.
    unsafe {
        if has(Field::KiocbTask) {
            rd(req.wrapping_add(offset(Field::KiocbTask)))
        } else if has(Field::KiocbTctx) && has(Field::IoUringTaskTask) {
            rd(rd::<u64>(req.wrapping_add(offset(Field::KiocbTctx))).wrapping_add(offset(Field::IoUringTaskTask)))
        } else {
            current()
        }
    }
}

/// The task that submitted a request, where it can be read as a typed task (6.2+), else the current one: a thread of the
/// same process, but for a ring that processes share.
#[inline(always)]
unsafe fn submitter(req: u64) -> u64 {
    // SAFETY: the cast pointer fails softly.
    unsafe {
        let task = task_of(req);
        if casts() && task != 0 { typed_as(task, Type::Task) } else { current() }
    }
}

/// Writes what a request asks for, as it still stands in the request when it ends.
#[inline(always)]
unsafe fn asked(record: *mut OpenRecord, req: u64, opcode: u8) {
    // SAFETY: the record is ours; kernel addresses are read by helper.
    unsafe {
        let how = req.wrapping_add(offset(Field::IoOpenHow));
        (*record).via = via::IO_URING;
        (*record).abi = native_abi();
        // The kernel adds that flag (`__io_openat_prep`).
        (*record).flags = rd::<u64>(how) & !o_largefile();
        (*record).mode = rd::<u64>(how.wrapping_add(8)) as u32;
        (*record).resolve = rd(how.wrapping_add(16));
        (*record).dirfd = rd(req.wrapping_add(offset(Field::IoOpenDfd)));
        (*record).how_marks = 0;
        let by_openat2 = if opcode == OPENAT2 { uring::OPENAT2 } else { 0 };
        let direct = if rd::<u32>(req.wrapping_add(offset(Field::IoOpenFileSlot))) != 0 { uring::DIRECT } else { 0 };
        let quiet = if is_quiet(req) { uring::QUIET } else { 0 };
        (*record).uring = by_openat2 | direct | quiet;
    }
}

/// Begins the report of a request: all but the path.
#[inline(always)]
unsafe fn begin(
    slot: Slot,
    scratch: &Array<RequestScratch>,
    req: u64,
    opcode: u8,
) -> Option<(Event, *mut RequestScratch, u64)> {
    // SAFETY: `s` is this CPU's element of this program's own map.
    unsafe {
        let task = current();
        let who = Who::of(task);
        let event = Event::request(slot, &who)?;
        let s = event.place(scratch)?;
        event.head(&raw mut (*s).frame.header, &who);
        let record = &raw mut (*s).frame.record;
        asked(record, req, opcode);
        (*record).ret = 0;
        (*record).names_len = 0;
        (*record).root_off = u16::MAX;
        (*record).names_marks = 0;
        (*record).path_len = 0;
        Some((event, s, task))
    }
}

#[inline(always)]
unsafe fn send(s: *mut RequestScratch, event: &Event, req: u64, place: u64, path_len: u64) {
    const FIXED: u64 = (size_of::<Frame<OpenRecord>>() + size_of::<RequestPart>()) as u64;
    // SAFETY: as in `begin`.
    unsafe {
        // After the path: reading an empty one may write before its first byte (`read_kernel_str`).
        set(&raw mut (*s).part, RequestPart { request: req, place });
        event.send((&raw mut (*s).frame).cast(), FIXED + path_len, FIXED + u64::from(PATH_MAX));
    }
}

#[inline(always)]
unsafe fn submitted(slot: Slot, scratch: &Array<RequestScratch>, req: u64) {
    // SAFETY: as in `begin`; kernel addresses are read by helper.
    unsafe {
        note_submitted(req);
        let Some(opcode) = opens(req) else { return };
        let Some((event, s, task)) = begin(slot, scratch, req, opcode) else { return };
        let record = &raw mut (*s).frame.record;
        let filename: u64 = rd(req.wrapping_add(offset(Field::IoOpenFilename)));
        let name: u64 = rd(filename.wrapping_add(offset(Field::FilenameName)));
        let n = read_kernel_str((&raw mut (*s).path).cast(), u64::from(PATH_MAX), name);
        let len = if n > 0 { at_most(n as u64 - 1, u64::from(PATH_MAX) - 1) } else { 0 };
        (*record).path_len = len as u16;
        (*record).path_marks = if n > 0 { 0 } else { mark::FAULT };
        let dirfd = (*record).dirfd;
        let start = if dirfd == AT_FDCWD {
            path::cwd_of(ld(task, Field::TaskFs)).dentry
        } else {
            files::view_file(files::file_at(task, u64::from(dirfd as u32)), &raw mut (*s).walk).path.dentry
        };
        send(s, &event, req, start, len);
    }
}

/// What an earlier request at the same address asked for is not what this one did.
#[inline(always)]
unsafe fn refused(slot: Slot, scratch: &Array<RequestScratch>, req: u64) {
    // SAFETY: as in `begin`.
    unsafe {
        let Some(opcode) = opens(req) else { return };
        let Some((event, s, _)) = begin(slot, scratch, req, opcode) else { return };
        let record = &raw mut (*s).frame.record;
        // The preparation may have ended before it wrote them.
        (*record).how_marks = UNKNOWN;
        (*record).path_marks = mark::NOT_COLLECTED;
        send(s, &event, req, 0, 0);
    }
}

/// A request has its result.
#[inline(always)]
unsafe fn ended<const PREEMPTIBLE: bool>(slot: Slot, scratch: &Array<OpenScratch>, req: u64) {
    // SAFETY: `s` is this CPU's element of this program's own map; kernel addresses are read by helper.
    unsafe {
        let Some(opcode) = opens(req) else { return };
        let ret: i32 = rd(req.wrapping_add(offset(Field::KiocbCqeRes)));
        let task = current();
        let here: u32 = ld(task, Field::TaskTgid);
        let who = Who::of(submitter(req));
        let Some(event) = Event::begin(slot, &who, ret < 0) else { return };
        let Some(s) = event.place(scratch) else { return };
        event.head(&raw mut (*s).frame.header, &who);
        let record = &raw mut (*s).frame.record;
        asked(record, req, opcode);
        (*record).ret = ret;
        let reach = if (*record).uring & uring::DIRECT != 0 {
            open::Reach::NoDescriptor
        } else if here != who.tgid {
            open::Reach::OtherTable
        } else {
            open::Reach::Here
        };
        let (end, file) = open::resolved::<PART, PREEMPTIBLE>(s, task, i64::from(ret), reach);
        if !matches!(slot, Slot::OpenUringQuiet) && reach == open::Reach::Here && ret >= 0 {
            (*record).names_marks |= if is_late(req) { mark::RACED } else { mark::SHARED };
        }
        let place = if file != 0 { any(file, Type::Dentry, offset(Field::DentryParent)) } else { 0 };
        set((&raw mut (*s).buf).cast(), RequestPart { request: req, place });
        (*record).path_len = 0;
        (*record).path_marks = mark::NOT_COLLECTED;
        open::send(s, &event, end, 0);
    }
}

/// Bytes before the names in the report of a request.
const PART: u64 = size_of::<RequestPart>() as u64;
