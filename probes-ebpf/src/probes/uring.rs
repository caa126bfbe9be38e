//! `open` through io_uring, which is not visible as a system call.
//!
//! A request is reported twice. The report at its submission has the submitter and the path, which the kernel frees
//! before the request ends. The report at its end has the result. User space joins the two by the address of the
//! request. So no state is kept in the kernel, and any number of requests may be in flight.

use super::open::{self, OpenScratch};
use crate::arch::{native_abi, o_largefile};
use crate::context::{self, Context};
use crate::emit::{Event, Frame};
use crate::files;
use crate::functions::in_pieces;
use crate::io_uring::{CQE_SKIP, completion};
use crate::maps::{per_cpu, this_cpu};
use crate::path::{self, Walk};
use crate::read::{any, at_most, casts, get, has, ld, offset, rd, read_kernel_str, set, typed_as, zero};
use crate::task::{Who, current};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::maps::Array;
use aya_ebpf::programs::BtfTracePointContext;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::field;
use tracetui_shared::record::mark;
use tracetui_shared::record::open::{OpenRecord, PATH_MAX, RequestPart, UNKNOWN, uring, via};

/// `IORING_OP_OPENAT` (include/uapi/linux/io_uring.h).
const OPENAT: u8 = 18;
/// `IORING_OP_OPENAT2` (include/uapi/linux/io_uring.h).
const OPENAT2: u8 = 28;
const AT_FDCWD: i32 = -100;

/// The buffers in which the report of a request is assembled.
#[repr(C)]
pub struct RequestScratch {
    frame: Frame<OpenRecord>,
    part: RequestPart,
    path: [u8; PATH_MAX as usize],
    walk: Walk,
}

per_cpu! {
    /// Records of `uring_submit`.
    URING_SUBMIT_SCRATCH: RequestScratch;
    /// Records of `uring_refused`.
    URING_REFUSED_SCRATCH: RequestScratch;
    /// Records of `uring_complete`.
    URING_COMPLETE_SCRATCH: OpenScratch;
}

in_pieces! {
    /// Walks from a file that a request opened.
    uring_walk, uring_walk_pieces, uring_walk_piece: open::climb(&URING_COMPLETE_SCRATCH)
}

/// `io_uring_submit_req(struct io_kiocb *req)` from 6.4 on
/// ([trace/events/io_uring.h](https://elixir.bootlin.com/linux/v6.12/source/include/trace/events/io_uring.h)),
/// `io_uring_submit_sqe(struct io_kiocb *req, bool force_nonblock)` before. Called after the preparation of a request,
/// so its path is in kernel memory. It is not called for requests that the preparation refuses.
/// The classic tracepoint has `void *ctx`, `void *req`.
#[btf_tracepoint]
#[inline(always)]
pub fn uring_submit(ctx: BtfTracePointContext) -> i32 {
    let ctx = Context::of(&ctx);
    submitted(if context::is_typed() { ctx.argument::<0>() } else { ctx.load::<u64, REQ>() });
    0
}

/// `io_uring_req_failed(const struct io_uring_sqe *sqe, struct io_kiocb *req, int error)` (same file): a request is
/// refused before it is submitted. Its completion follows. The classic tracepoint has `void *ctx`, `void *req`.
#[btf_tracepoint]
#[inline(always)]
pub fn uring_refused(ctx: BtfTracePointContext) -> i32 {
    let ctx = Context::of(&ctx);
    refused(if context::is_typed() { ctx.argument::<1>() } else { ctx.load::<u64, REQ>() });
    0
}

/// `io_uring_complete(void *ctx, void *req, …)` from 5.19 on (same file): a completion is posted. The result is taken
/// from the request, because the arguments after `req` differ between kernels. If the submitter of a request wants no
/// completion on success (`IOSQE_CQE_SKIP_SUCCESS`), the tracepoint is not called for its success.
///
/// The classic tracepoint has `void *ctx`, `void *req`, `u64 user_data`, `int res`, `unsigned cflags`.
#[btf_tracepoint]
#[inline(always)]
pub fn uring_complete(ctx: BtfTracePointContext) -> i32 {
    let ctx = Context::of(&ctx);
    let req = if context::is_typed() { ctx.argument::<1>() } else { ctx.load::<u64, REQ>() };
    let opcode = opcode_of(req);
    // No request does both: the verifier walks through the one or the other.
    if is_open(opcode) {
        ended(req, opcode);
    } else {
        super::completed(req, opcode, || completion(ctx), || submitter(req));
    }
    0
}

/// Offset in bytes of `req` in the records of the classic tracepoints: after the common fields and `ctx`.
const REQ: usize = 16;

#[inline(always)]
fn is_quiet(req: u64) -> bool {
    rd::<u32>(req.wrapping_add(offset(field::KiocbFlags))) & CQE_SKIP != 0
}

/// The opcode of a request; 0 (`IORING_OP_NOP`) without one.
#[inline(always)]
fn opcode_of(req: u64) -> u8 {
    rd(req.wrapping_add(offset(field::KiocbOpcode)))
}

/// Whether a request opens a file.
#[inline(always)]
fn is_open(opcode: u8) -> bool {
    opcode == OPENAT || opcode == OPENAT2
}

/// Stores which request of any kind was submitted last on this CPU.
#[inline(always)]
fn note_submitted(req: u64) {
    let Some((_, mut state)) = this_cpu() else { return };
    set(&mut state.last_request, req);
}

/// Whether the descriptor of a request that has its result may already belong to another file.
///
/// Requests that a task submits together are executed one after another, and their completions are posted together
/// after that ([`__io_submit_flush_completions`](https://elixir.bootlin.com/linux/v6.12/source/io_uring/io_uring.c)).
/// Requests in between may have closed the descriptor and opened another file there. So the descriptor is certain only
/// for the request that was submitted last. A worker posts each completion by itself.
#[inline(always)]
fn is_late(req: u64) -> bool {
    let Some((_, state)) = this_cpu() else { return true };
    task_of(req) == current() && get(&state.last_request) != req
}

/// The address of the task that submitted a request; of the current task if that is unknown.
#[inline(always)]
fn task_of(req: u64) -> u64 {
    if has(field::KiocbTask) {
        rd(req.wrapping_add(offset(field::KiocbTask)))
    } else if has(field::KiocbTctx) && has(field::IoUringTaskTask) {
        rd(rd::<u64>(req.wrapping_add(offset(field::KiocbTctx))).wrapping_add(offset(field::IoUringTaskTask)))
    } else {
        current()
    }
}

/// The task that submitted a request if it can be read as a typed task (6.2+), else the current task. That is a thread
/// of the same process, unless several processes share the ring.
#[inline(always)]
fn submitter(req: u64) -> u64 {
    let task = task_of(req);
    if casts() && task != 0 { typed_as(task, field::TaskTgid) } else { current() }
}

/// Writes the arguments of a request. They are still in the request when it ends.
#[inline(always)]
fn asked(record: &mut OpenRecord, req: u64, opcode: u8) {
    let how = req.wrapping_add(offset(field::IoOpenHow));
    record.via = via::IO_URING;
    record.abi = native_abi();
    // The kernel adds this flag (`__io_openat_prep`, io_uring/openclose.c).
    record.flags = rd::<u64>(how) & !o_largefile();
    record.mode = rd::<u64>(how.wrapping_add(8)) as u32;
    record.resolve = rd(how.wrapping_add(16));
    record.dirfd = rd(req.wrapping_add(offset(field::IoOpenDfd)));
    record.how_marks = 0;
    let by_openat2 = if opcode == OPENAT2 { uring::OPENAT2 } else { 0 };
    let direct = if rd::<u32>(req.wrapping_add(offset(field::IoOpenFileSlot))) != 0 { uring::DIRECT } else { 0 };
    let quiet = if is_quiet(req) { uring::QUIET } else { 0 };
    record.uring = by_openat2 | direct | quiet;
}

/// Begins the report of a request: everything except the path.
#[inline(always)]
fn begin(
    slot: Slot,
    scratch: &Array<RequestScratch>,
    req: u64,
    opcode: u8,
) -> Option<(Event, &mut RequestScratch, u64)> {
    let task = current();
    let who = Who::of(task);
    let event = Event::request(slot, &who)?;
    let s = event.place(scratch)?;
    event.head(&mut s.frame.header, &who);
    let record = &mut s.frame.record;
    asked(record, req, opcode);
    record.ret = 0;
    zero(&mut record.file);
    record.names_len = 0;
    record.root_off = u16::MAX;
    record.names_marks = 0;
    record.path_len = 0;
    Some((event, s, task))
}

#[inline(always)]
fn send(s: &mut RequestScratch, event: &Event, req: u64, place: u64, path_len: u64) {
    const FIXED: u64 = (size_of::<Frame<OpenRecord>>() + size_of::<RequestPart>()) as u64;
    // Written after the path, because an unsuccessful read of the path may write before its first byte
    // (`read_kernel_str`).
    set(&mut s.part, RequestPart { request: req, place });
    event.send(&mut s.frame.header, FIXED + path_len, FIXED + u64::from(PATH_MAX));
}

#[inline(always)]
fn submitted(req: u64) {
    note_submitted(req);
    let opcode = opcode_of(req);
    super::submitted(req, opcode);
    if !is_open(opcode) {
        return;
    }
    let Some((event, s, task)) = begin(Slot::UringSubmit, &URING_SUBMIT_SCRATCH, req, opcode) else { return };
    let record = &mut s.frame.record;
    let filename: u64 = rd(req.wrapping_add(offset(field::IoOpenFilename)));
    let name: u64 = rd(filename.wrapping_add(offset(field::FilenameName)));
    let n = read_kernel_str(&mut s.path, u64::from(PATH_MAX), name);
    let len = if n > 0 { at_most(n as u64 - 1, u64::from(PATH_MAX) - 1) } else { 0 };
    record.path_len = len as u16;
    record.path_marks = if n > 0 { 0 } else { mark::FAULT };
    let dirfd = record.dirfd;
    let start = if dirfd == AT_FDCWD {
        path::cwd_of(ld(task, field::TaskFs)).dentry
    } else {
        files::view_file(files::file_at(task, u64::from(dirfd as u32)), &mut s.walk).path.dentry
    };
    send(s, &event, req, start, len);
}

/// Reports a refused request, so that the arguments of an earlier request at the same address are not taken for its
/// own.
#[inline(always)]
fn refused(req: u64) {
    let opcode = opcode_of(req);
    if !is_open(opcode) {
        return;
    }
    let Some((event, s, _)) = begin(Slot::UringRefused, &URING_REFUSED_SCRATCH, req, opcode) else { return };
    let record = &mut s.frame.record;
    // The preparation may have failed before it wrote the arguments.
    record.how_marks = UNKNOWN;
    record.path_marks = mark::NOT_COLLECTED;
    send(s, &event, req, 0, 0);
}

/// Reports the result of a request that opens a file.
#[inline(always)]
fn ended(req: u64, opcode: u8) {
    let ret: i32 = rd(req.wrapping_add(offset(field::KiocbCqeRes)));
    let task = current();
    let here: u32 = ld(task, field::TaskTgid);
    let who = Who::of(submitter(req));
    let Some(event) = Event::begin(Slot::OpenUring, Context::NONE, &who, ret < 0) else { return };
    let Some(s) = event.place(&URING_COMPLETE_SCRATCH) else { return };
    event.head(&mut s.frame.header, &who);
    asked(&mut s.frame.record, req, opcode);
    s.frame.record.ret = ret;
    s.frame.record.euid = ld(who.cred, field::CredEuid);
    s.frame.record.has_euid = 1;
    let how = &raw const s.frame.record.uring;
    let reach = |reach| {
        let direct = get(how) & uring::DIRECT != 0;
        match reach {
            open::Reach::NoDescriptor => direct,
            open::Reach::Here => !direct && here == who.tgid,
        }
    };
    let (end, file) = open::resolved::<PART>(s, task, reach, uring_walk);
    if reach(open::Reach::Here) && get(&s.frame.record.ret) >= 0 {
        s.frame.record.names_marks |= if is_late(req) { mark::RACED } else { mark::SHARED };
    }
    let place = if file != 0 { any(file, field::DentryParent) } else { 0 };
    set(s.buf.as_mut_ptr().cast(), RequestPart { request: req, place });
    s.frame.record.path_len = 0;
    s.frame.record.path_marks = mark::NOT_COLLECTED;
    open::send(s, &event, end, 0);
}

/// Bytes before the names in the report of a request's end.
const PART: u64 = size_of::<RequestPart>() as u64;
