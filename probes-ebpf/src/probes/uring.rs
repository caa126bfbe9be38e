//! `open` through io_uring, which no system call shows: what was asked for is told when the request is submitted, the
//! result when it completes, by another thread perhaps.

use super::field;
use super::open::{self, OpenScratch};
use crate::arch::{native_abi, o_largefile};
use crate::capture;
use crate::emit::{Event, untold};
use crate::maps::{
    URING_COMPLETE_SCRATCH, URING_COMPLETE_TP_SCRATCH, URING_OPENS, URING_QUIET_SCRATCH, URING_SUBMIT_SCRATCH,
    URING_SUBMIT_TP_SCRATCH, this_cpu,
};
use crate::read::{at_most, get, konst, offset, rd, read_kernel, read_kernel_str, set};
use crate::task::{self, Who, current};
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::{btf_tracepoint, fexit, tracepoint};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::{BtfTracePointContext, FExitContext, TracePointContext};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::kind::{Kind, Slot};
use tracetui_shared::offsets::{Const, Field};
use tracetui_shared::record::mark;
use tracetui_shared::record::open::{PATH_MAX, uring, via};

/// `IORING_OP_OPENAT`.
const OPENAT: u8 = 18;
/// `IORING_OP_OPENAT2`.
const OPENAT2: u8 = 28;

/// An open that was submitted.
#[repr(C)]
pub struct UringOpen {
    /// Who submitted it.
    header: FrameHeader,
    flags: u64,
    mode: u64,
    resolve: u64,
    dirfd: i32,
    /// [`uring`] bits.
    uring: u32,
    path_len: u32,
    path_marks: u32,
    /// Not 0 when it is among the [`untold`].
    counted: u64,
    /// A byte before the path: see `read_kernel_str`.
    before: u64,
    path: [u8; PATH_MAX as usize],
}

/// `io_uring_submit_req(struct io_kiocb *req)` from 6.12 on, `io_uring_submit_sqe(const struct io_kiocb *req, bool
/// force_nonblock)` before: after the preparation of a request, so its name is in kernel memory. Requests that the
/// preparation refuses do not come here.
#[btf_tracepoint]
#[inline(always)]
pub fn uring_submit_btf(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is the request.
    unsafe { submitted(&URING_SUBMIT_SCRATCH, ctx.arg(0)) };
    0
}

/// `io_uring:io_uring_submit_req`: ctx, req.
#[tracepoint]
#[inline(always)]
pub fn uring_submit_tp(ctx: TracePointContext) -> u32 {
    // SAFETY: the place is the record's, which user space made sure of.
    unsafe { submitted(&URING_SUBMIT_TP_SCRATCH, field(&ctx, REQ)) };
    0
}

/// `io_uring_req_failed(const struct io_uring_sqe *sqe, struct io_kiocb *req, int error)`: a request is refused before it is
/// submitted. Its completion follows.
#[btf_tracepoint(function = "io_uring_req_failed")]
#[inline(always)]
pub fn uring_refused_btf(ctx: BtfTracePointContext) -> i32 {
    refused(ctx.arg(1));
    0
}

/// `io_uring:io_uring_req_failed`: ctx, req.
#[tracepoint]
#[inline(always)]
pub fn uring_refused_tp(ctx: TracePointContext) -> u32 {
    // SAFETY: see `uring_submit_tp`.
    refused(unsafe { field(&ctx, REQ) });
    0
}

/// `io_uring_complete(void *ctx, void *req, …)` from 5.19 on, once a completion is posted; the result is taken from the
/// request, since what follows `req` differs between kernels. A request whose submitter wanted no completion when it
/// succeeds (`IOSQE_CQE_SKIP_SUCCESS`) does not come here when it does.
#[btf_tracepoint(function = "io_uring_complete")]
#[inline(always)]
pub fn uring_complete_btf(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is the request, or null.
    unsafe { ended(Slot::OpenUring, &URING_COMPLETE_SCRATCH, ctx.arg(1)) };
    0
}

/// `io_uring:io_uring_complete`: ctx, req.
#[tracepoint(category = "io_uring", name = "io_uring_complete")]
#[inline(always)]
pub fn uring_complete_tp(ctx: TracePointContext) -> u32 {
    // SAFETY: see `uring_submit_tp`.
    unsafe { ended(Slot::OpenUringTp, &URING_COMPLETE_TP_SCRATCH, field(&ctx, REQ)) };
    0
}

/// The return of `int io_openat2(struct io_kiocb *req, unsigned int issue_flags)`, to which both requests lead: 0 once the
/// request has its result, an error when it is to be tried again. Tells what [`uring_complete_btf`] is not told.
#[fexit(function = "io_openat2")]
#[inline(always)]
pub fn uring_quiet(ctx: FExitContext) -> i32 {
    let (req, ret): (u64, u64) = (ctx.arg(0), ctx.arg(2));
    // SAFETY: reads by helper, which fail softly.
    unsafe {
        if ret as i32 == 0 && is_quiet(req) && rd::<i32>(req.wrapping_add(offset(Field::KiocbCqeRes))) >= 0 {
            ended(Slot::OpenUringQuiet, &URING_QUIET_SCRATCH, req);
        }
    }
    0
}

/// Where `req` stands in the records of the classic tracepoints: after the common fields and `ctx`.
const REQ: usize = 16;

/// `REQ_F_CQE_SKIP`, which is `IOSQE_CQE_SKIP_SUCCESS`: no completion when it succeeds. When it fails, the kernel takes the
/// flag away.
const CQE_SKIP: u32 = 1 << 6;

#[inline(always)]
unsafe fn is_quiet(req: u64) -> bool {
    // SAFETY: a read by helper.
    unsafe { rd::<u32>(req.wrapping_add(offset(Field::KiocbFlags))) & CQE_SKIP != 0 }
}

/// What a request is to do, when it is to open a file.
#[inline(always)]
unsafe fn opens(req: u64) -> Option<u8> {
    // SAFETY: a read by helper.
    let opcode: u8 = unsafe { rd(req.wrapping_add(offset(Field::KiocbOpcode))) };
    (opcode == OPENAT || opcode == OPENAT2).then_some(opcode)
}

/// What an earlier request at the same address asked for is not what this one did.
#[inline(always)]
fn refused(req: u64) {
    let _ = URING_OPENS.remove(req);
}

#[inline(always)]
unsafe fn submitted(scratch: &Array<UringOpen>, req: u64) {
    // SAFETY: `s` is this CPU's element of this program's own map; kernel addresses are read by helper.
    unsafe {
        let Some(opcode) = opens(req) else { return };
        let who = Who::of(current());
        if u64::from(who.tgid) == konst(Const::SelfTgid) {
            return;
        }
        let Some((cpu, _)) = this_cpu() else { return };
        let Some(s) = scratch.get_ptr_mut(cpu) else { return };
        task::fill(&raw mut (*s).header, &who, cpu, bpf_ktime_get_boot_ns());
        let how = req.wrapping_add(offset(Field::IoOpenHow));
        // The kernel adds that flag (`__io_openat_prep`).
        (*s).flags = rd::<u64>(how) & !o_largefile();
        (*s).mode = rd(how.wrapping_add(8));
        (*s).resolve = rd(how.wrapping_add(16));
        (*s).dirfd = rd(req.wrapping_add(offset(Field::IoOpenDfd)));
        let slot: u32 = rd(req.wrapping_add(offset(Field::IoOpenFileSlot)));
        let by_openat2 = if opcode == OPENAT2 { uring::OPENAT2 } else { 0 };
        let direct = if slot != 0 { uring::DIRECT } else { 0 };
        (*s).uring = u32::from(by_openat2 | direct);
        let filename: u64 = rd(req.wrapping_add(offset(Field::IoOpenFilename)));
        let name: u64 = rd(filename.wrapping_add(offset(Field::FilenameName)));
        (*s).before = 0;
        let n = read_kernel_str((&raw mut (*s).path).cast(), u64::from(PATH_MAX), name);
        (*s).path_len = if n > 0 { n as u32 - 1 } else { 0 };
        (*s).path_marks = if n > 0 { 0 } else { u32::from(mark::FAULT) };
        let counted = is_quiet(req) && capture::wanted(Kind::Open, &who, false);
        (*s).counted = u64::from(counted);
        if counted {
            untold(Slot::OpenUring, 1);
        }
        // Refused: the completion is told without what was asked for.
        let _ = URING_OPENS.insert(req, &*s, 0);
    }
}

/// A request has its result.
#[inline(always)]
unsafe fn ended(slot: Slot, scratch: &Array<OpenScratch>, req: u64) {
    // SAFETY: `asked` is an element of the map, which stays until it is removed or 16 more opens were submitted on its CPU.
    unsafe {
        let Some(opcode) = opens(req) else { return };
        let asked = URING_OPENS.get_ptr(req);
        tell(slot, scratch, req, opcode, asked);
        if let Some(asked) = asked {
            if get(&raw const (*asked).counted) != 0 {
                untold(Slot::OpenUring, -1);
            }
            let _ = URING_OPENS.remove(req);
        }
    }
}

#[inline(always)]
unsafe fn tell(slot: Slot, scratch: &Array<OpenScratch>, req: u64, opcode: u8, asked: Option<*const UringOpen>) {
    // SAFETY: `s` is this CPU's element of this program's own map; `asked` as in `ended`.
    unsafe {
        let ret: i32 = rd(req.wrapping_add(offset(Field::KiocbCqeRes)));
        let task = current();
        let mut who = Who::of(task);
        let here = who.tgid;
        if let Some(asked) = asked {
            let header = &raw const (*asked).header;
            let comm = (&raw const (*header).comm).cast::<u64>();
            who.tgid = get(&raw const (*header).tgid.0);
            who.uid = get(&raw const (*header).uid.0);
            who.comm = [get(comm), get(comm.add(1))];
        }
        let Some(event) = Event::begin(slot, &who, ret < 0) else { return };
        let Some(s) = event.place(scratch) else { return };
        let header = &raw mut (*s).frame.header;
        let record = &raw mut (*s).frame.record;
        (*record).ret = ret;
        (*record).via = via::IO_URING;
        (*record).abi = native_abi();
        if let Some(asked) = asked {
            open::copy_header(header, &raw const (*asked).header);
            event.stamp(header);
            (*record).dirfd = get(&raw const (*asked).dirfd);
            (*record).flags = get(&raw const (*asked).flags);
            (*record).mode = get(&raw const (*asked).mode) as u32;
            (*record).resolve = get(&raw const (*asked).resolve);
            (*record).uring = get(&raw const (*asked).uring) as u8;
            (*record).how_marks = 0;
        } else {
            event.head(header, &who);
            // Volatile, or the compiler makes them a call of memset, which has no BTF (`further.rs`).
            set(&raw mut (*record).dirfd, 0);
            set(&raw mut (*record).flags, 0);
            set(&raw mut (*record).mode, 0);
            set(&raw mut (*record).resolve, 0);
            (*record).uring = if opcode == OPENAT2 { uring::OPENAT2 } else { 0 };
            (*record).how_marks = mark::FAULT;
        }
        let reach = if get(&raw const (*record).uring) & uring::DIRECT != 0 {
            open::Reach::NoDescriptor
        } else if here != who.tgid {
            open::Reach::OtherTable
        } else {
            open::Reach::Here
        };
        let end = open::resolved(s, task, i64::from(ret), reach);
        // Completions are posted some at once: by now the descriptor may be another one's that was opened since.
        if !matches!(slot, Slot::OpenUringQuiet) && reach == open::Reach::Here {
            (*record).names_marks |= mark::SHARED;
        }
        let len = path(s, end, asked);
        open::send(s, &event, end, len);
    }
}

/// Appends the path as asked.
#[inline(always)]
unsafe fn path(s: *mut OpenScratch, at: u64, asked: Option<*const UringOpen>) -> u64 {
    // SAFETY: see `tell`; PATH_MAX bytes lie behind any masked place.
    unsafe {
        let record = &raw mut (*s).frame.record;
        let Some(asked) = asked else {
            (*record).path_len = 0;
            (*record).path_marks = mark::FAULT;
            return 0;
        };
        let len = at_most(u64::from(get(&raw const (*asked).path_len)), u64::from(PATH_MAX) - 1);
        let dst = (&raw mut (*s).buf).cast::<u8>().add(at as usize);
        read_kernel(dst, len, (&raw const (*asked).path) as u64);
        (*record).path_len = len as u16;
        (*record).path_marks = get(&raw const (*asked).path_marks) as u8;
        len
    }
}
