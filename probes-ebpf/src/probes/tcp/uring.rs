//! Requests of io_uring that ask for or accept connections. The programs are in [`uring`](crate::probes::uring).

use super::call::{self, Asked};
use super::conn::{self, Scratch, Submitter, TCP_SUBMITTERS, submitter_of};
use crate::arch::native_abi;
use crate::capture::{self, is_requested};
use crate::files::file_at;
use crate::io_uring::{CQE_SKIP, Completion};
use crate::maps::{Pointer, per_cpu};
use crate::read::{get, has, offset, opaque, rd, rd_field, zeroed};
use crate::sock;
use crate::task::{self, Who, current};
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use core::mem::MaybeUninit;
use tracetui_shared::counters::Reason;
use tracetui_shared::kind::{Kind, Slot};
use tracetui_shared::offsets::field;
use tracetui_shared::record::tcp::{op, via};

/// `IORING_OP_ACCEPT` (include/uapi/linux/io_uring.h).
const ACCEPT: u8 = 13;
/// `IORING_OP_CONNECT` (same file).
const CONNECT: u8 = 16;
/// `IORING_OP_BIND` and `IORING_OP_LISTEN` (same file, 6.11+).
const BIND: u8 = 56;
const LISTEN: u8 = 57;
/// `REQ_F_FIXED_FILE` (include/linux/io_uring_types.h): the descriptor is an index of the ring's own table.
const FIXED_FILE: u32 = 1;
/// `IORING_CQE_F_MORE` (include/uapi/linux/io_uring.h): the request makes more completions.
const MORE: u32 = 2;

per_cpu! {
    /// Records of `uring_complete`.
    TCP_URING_SCRATCH: Scratch;
}

/// A request: the ring, the number that its user chose, and the process, since several may share a ring.
#[repr(C)]
#[derive(Clone, Copy)]
struct RequestKey {
    ring: u64,
    user_data: u64,
    tgid: u64,
}

/// The threads that submitted requests to accept connections. All completions but the last name no request. It evicts none, so that
/// one user's requests cannot remove another's. Not preallocated where the kernel can allocate in any context (6.2+).
#[map]
static TCP_ACCEPTS: HashMap<RequestKey, Submitter> = HashMap::with_max_entries(1 << 16, 0);

/// A request is submitted by the current task.
#[inline(always)]
pub fn submitted(req: u64, opcode: u8) {
    if !is_requested(Kind::Tcp) || opcode != ACCEPT && opcode != CONNECT {
        return;
    }
    let task = current();
    let flags: u32 = rd(req.wrapping_add(offset(field::KiocbFlags)));
    let fd = if flags & FIXED_FILE != 0 { -1 } else { rd_field::<u32>(req, field::KiocbFd) as i32 };
    let mut submitter = MaybeUninit::<Submitter>::uninit();
    let submitter = zeroed(&mut submitter);
    let who = Who::of(task);
    task::fill(&mut submitter.header, &who, 0, 0);
    submitter.fd = fd;
    submitter.quiet = flags & CQE_SKIP;
    if opcode == ACCEPT {
        let key = RequestKey {
            ring: rd_field(req, field::KiocbCtx),
            user_data: rd_field(req, field::KiocbUserData),
            tgid: u64::from(who.tgid),
        };
        // No completion would remove it.
        if flags & CQE_SKIP != 0 {
            return;
        }
        if let Some(others) = TCP_ACCEPTS.get_ptr_mut(key).filter(|others| Pointer::to(*others).is_of(&who)) {
            let mut others = Pointer::to(others);
            return conn::add(&mut others.pending, 1);
        }
        submitter.direct = u32::from(is_direct(req));
        submitter.pending = 1;
        let _ = TCP_ACCEPTS.insert(key, &*submitter, 0);
        return;
    }
    // The file is taken from the table when the request is executed.
    let mut file: u64 = rd_field(req, field::KiocbFile);
    if file == 0 && fd >= 0 {
        file = file_at(task, fd as u64);
    }
    if let Some(socket) = sock::of_file(file) {
        let _ = TCP_SUBMITTERS.insert(socket.sk, &*submitter, 0);
    }
}

/// Whether an accept makes a descriptor of the ring's own table.
#[inline(always)]
fn is_direct(req: u64) -> bool {
    has(field::IoAcceptFileSlot) && rd_field::<u32>(req, field::IoAcceptFileSlot) != 0
}

/// The thread that submitted the request of an accept. A completion that names no request has one, and continues.
#[inline(always)]
fn accepter(key: RequestKey, nameless: bool, flags: u32) -> Option<*mut Submitter> {
    let submitter = TCP_ACCEPTS.get_ptr_mut(key)?;
    if !nameless && flags & MORE == 0 {
        let mut submitter = Pointer::to(submitter);
        conn::add(&mut submitter.pending, u64::MAX);
        if get(&submitter.pending) == 0 {
            let _ = TCP_ACCEPTS.remove(key);
        }
    }
    Some(submitter)
}

/// A completion is posted. Those of a request that continues name none: `req` is 0.
#[inline(always)]
pub fn ended(req: u64, opcode: u8, completion: impl FnOnce() -> Completion, submitter: impl FnOnce() -> u64) {
    // The compiler would test `req` and a pointer at once, which the verifier refuses.
    let nameless = opaque(u64::from(req == 0)) != 0;
    let accepts = nameless || opcode == ACCEPT;
    let binds = opcode == BIND || opcode == LISTEN;
    if !is_requested(Kind::Tcp) || !accepts && !binds && opcode != CONNECT {
        return;
    }
    let Completion { ring, user_data, res, flags } = completion();
    if nameless && flags & MORE == 0 {
        return;
    }
    let task = current();
    let who = Who::of(if nameless { task } else { submitter() });
    let (socket, submitted) = if accepts {
        let key = RequestKey { ring, user_data, tgid: u64::from(who.tgid) };
        let submitted = accepter(key, nameless, flags);
        if res < 0 || nameless && submitted.is_none() {
            return;
        }
        let direct = if nameless { submitted.is_some_and(|s| Pointer::to(s).direct != 0) } else { is_direct(req) };
        if direct {
            // It is in no table of the process. Its end is counted when it comes.
            return conn::lose(Slot::TcpUring, capture::verdict(Kind::Tcp, &who), Reason::Missed, 1);
        }
        (sock::of_fd(task, res as u64, false), submitted)
    } else {
        (sock::of_file(rd_field(req, field::KiocbFile)), None)
    };
    let Some(socket) = socket else { return };
    if binds {
        if opcode == LISTEN || res < 0 {
            // Its arguments are not read.
            conn::lose(Slot::TcpUring, capture::verdict(Kind::Tcp, &who), Reason::Missed, 1);
        }
        return;
    }
    // It may be the result of another request.
    if accepts && !conn::is_unknown(socket.sk) {
        return;
    }
    let submitted = if accepts { submitted } else { submitter_of(socket.sk, &who) };
    let connects = has(field::IoConnectAddr) && !accepts;
    let asked = Asked {
        op: if accepts { op::ACCEPT } else { op::CONNECT },
        fd: if accepts { res } else { submitted.map_or(-1, |submitted| Pointer::to(submitted).fd) },
        ret: res,
        via: via::IO_URING,
        abi: native_abi(),
        dissolves: false,
        address: if connects { rd_field(req, field::IoConnectAddr) } else { 0 },
        // `addr_len` follows `addr` in `struct io_connect` (io_uring/net.c).
        len: if connects { rd(req.wrapping_add(offset(field::IoConnectAddr) + 8)) } else { 0 },
        submitter: submitted,
    };
    call::ended(Slot::TcpUring, &TCP_URING_SCRATCH, &who, socket, &asked);
    if !accepts {
        let _ = TCP_SUBMITTERS.remove(socket.sk);
    }
}
