//! The calls connect(2), accept(2), accept4(2), listen(2) and bind(2), also through socketcall(2).

use super::conn::{self, Conn, Scratch, Submitter};
use crate::arch::read_passed;
use crate::call::{self, Call};
use crate::context::{self, Context};
use crate::emit::copy_header;
use crate::files::is_fresh;
use crate::maps::{Pointer, per_cpu, pointer_to_element};
use crate::read::{any, at_most, boot_ns, get, ld, load_at, monotonic_ns, put_unaligned, set, zero};
use crate::sock::{self, Passed, Sock, what};
use crate::task::{Who, current};
use aya_ebpf::macros::{map, tracepoint};
use aya_ebpf::maps::{Array, HashMap};
use aya_ebpf::programs::TracePointContext;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use tracetui_shared::counters::Reason;
use tracetui_shared::kind::{Kind, Slot};
use tracetui_shared::offsets::field;
use tracetui_shared::record::tcp::{flag, form, op, outcome, state};
use tracetui_shared::time::BootNanos;

per_cpu! {
    /// Records of calls.
    TCP_CALL_SCRATCH: Scratch;
    /// Records of `tcp_begun`.
    TCP_BEGUN_SCRATCH: Scratch;
}

const AF_UNSPEC: u16 = 0;

/// Reports a call that ended. `false` if it is one of a socket of another family.
#[inline(always)]
pub fn call_ended(call: &Call) -> bool {
    if context::is_at_function() {
        let _ = TCP_BEGUN.remove(tid(call.task));
    }
    called(Slot::TcpCall, &TCP_CALL_SCRATCH, call)
}

/// `syscalls:sys_exit_{connect,accept,accept4}`, for the calls that began before [`sys_exit`](crate::probes) was attached to the
/// returns of their functions: it does not see these returns.
#[tracepoint]
#[inline(always)]
pub fn tcp_begun(ctx: TracePointContext) -> u32 {
    if TCP_BEGUN.remove(tid(current())).is_ok()
        && let Some(call) = call::ended(Context::of(&ctx))
        && call.is_of(Kind::Tcp)
    {
        called(Slot::TcpBegun, &TCP_BEGUN_SCRATCH, &call);
    }
    0
}

/// The threads that [`tcp_begun`] serves.
#[map]
static TCP_BEGUN: HashMap<u32, u8> = HashMap::with_max_entries(1 << 14, 0);

#[inline(always)]
fn tid(task: u64) -> u32 {
    ld(task, field::TaskPid)
}

/// `struct bpf_iter__task` ([`task_starts`](crate::probes)): lists the threads in a call that makes or accepts connections.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn tcp_callers(ctx: *mut c_void) -> i32 {
    let task: u64 = load_at(ctx as u64, 8);
    if task != 0 && call::may_be_in(task, Kind::Tcp) {
        let _ = TCP_BEGUN.insert(tid(task), 0u8, 0);
    }
    0
}

#[inline(always)]
fn called(slot: Slot, scratch: &Array<Scratch>, call: &Call) -> bool {
    let Some(Passed { which, mut fd, address, len }) = sock::passed(call) else { return true };
    // The result of a call that seccomp trapped is a number above 0, or the descriptor that was passed.
    let is_call = if !matches!(which, what::ACCEPT | what::ACCEPT4) {
        // A bind that succeeds makes no event.
        let most = if which == what::BIND { -1 } else { 0 };
        call.ret <= most && !call.trapped && !is_no_socket(call.ret as i32)
    } else {
        fd = call.ret as u64;
        call.ret >= 0 && (!call.trapped || is_fresh(call.task, call.ret))
    };
    if !is_call {
        return true;
    }
    let Some(socket) = sock::of_fd(call.task, fd as u32 as u64, which == what::BIND) else { return false };
    let mut family = [u16::MAX; 4];
    if which == what::CONNECT && read_passed::<2>((&raw mut family).cast(), 2, address) != 0 {
        // The helper wrote zeros, which is a family.
        family[0] = u16::MAX;
    }
    let asked = Asked {
        op: match which {
            what::CONNECT => op::CONNECT,
            what::BIND => op::BIND,
            what::LISTEN => op::LISTEN,
            _ => op::ACCEPT,
        },
        fd: fd as i32,
        ret: call.ret as i32,
        // The numbers are the same.
        via: which,
        abi: call.abi,
        dissolves: family[0] == AF_UNSPEC && may_dissolve(call.ret as i32, socket.sk),
        address,
        len: len as i32,
        submitter: None,
    };
    let who = Who::of(call.task);
    if asked.op == op::BIND || asked.op == op::LISTEN {
        bound(slot, scratch, &who, socket, &asked);
    } else {
        ended(slot, scratch, &who, socket, &asked);
    }
    true
}

/// Reports a listen(2), or a bind(2) that failed. It makes no connection, and ends none.
#[inline(always)]
fn bound(slot: Slot, scratch: &Array<Scratch>, who: &Who, socket: Sock, asked: &Asked) {
    let server = if asked.op == op::LISTEN { flag::SERVER } else { 0 };
    let mptcp = if socket.mptcp { flag::MPTCP } else { 0 };
    let Some(s) = conn::begin(scratch, who, flag::HAS_RET | server | mptcp, asked.via, asked.abi) else { return };
    let s = Pointer::to(s).value();
    let c = &raw mut s.conn;
    let record = &mut s.conn.record;
    record.fd = asked.fd;
    record.ret = asked.ret;
    record.outcome = outcome::DECIDED;
    record.err = (-asked.ret) as u16;
    sock::addresses(record, socket.sk);
    if asked.op == op::LISTEN {
        // Its second argument.
        record.backlog = asked.address as i32;
    } else {
        record.protocol = if socket.udp { sock::IPPROTO_UDP as u8 } else { 0 };
        let (port, address);
        (record.form, port, address) = passed_address(asked.address, asked.len);
        record.lport = port;
        put_unaligned((&raw mut record.laddr).cast(), address);
    }
    conn::tell(slot, s, Pointer::to(c), asked.op);
}

/// A call or a request of io_uring that asked for a connection or accepted one, and ended.
pub struct Asked {
    /// One of [`op`].
    pub op: u8,
    pub fd: i32,
    pub ret: i32,
    /// One of [`via`](tracetui_shared::record::tcp::via).
    pub via: u8,
    pub abi: u8,
    /// The address has no family: the call dissolves the connection.
    pub dissolves: bool,
    /// Where the address was passed, in user memory.
    pub address: u64,
    /// The length that was passed.
    pub len: i32,
    /// The thread that submitted a request of io_uring, if it is known.
    pub submitter: Option<*mut Submitter>,
}

/// ERESTARTSYS, ERESTARTNOINTR and ERESTARTNOHAND (include/linux/errno.h): a signal interrupts the call. Whether it is made again
/// is not known yet.
#[inline(always)]
fn is_restarted(ret: i32) -> bool {
    matches!(ret, -514..=-512)
}

/// Whether the request goes on after a call with this result: EINTR, EALREADY, EINPROGRESS, or interrupted.
#[inline(always)]
fn goes_on(ret: i32) -> bool {
    matches!(ret, -4 | -114 | -115) || is_restarted(ret)
}

/// Whether a call with this result may have dissolved a connection. Another thread may change the family in user memory during the
/// call, but `tcp_disconnect` (net/ipv4/tcp.c) succeeds or returns EBUSY, and leaves the socket closed.
#[inline(always)]
fn may_dissolve(ret: i32, sk: u64) -> bool {
    ret == -16 || ret == 0 && sock::state_of(sk) == state::CLOSE
}

/// EBADF and ENOTSOCK: the call met no socket, whatever the descriptor is now.
#[inline(always)]
fn is_no_socket(ret: i32) -> bool {
    matches!(ret, -9 | -88)
}

/// EISCONN and EALREADY: there was a request before.
#[inline(always)]
fn is_of_another(ret: i32) -> bool {
    matches!(ret, -106 | -114)
}

/// Reports what the end of a call shows.
#[inline(always)]
pub fn ended(slot: Slot, scratch: &Array<Scratch>, who: &Who, socket: Sock, asked: &Asked) {
    let sk = socket.sk;
    // SAFETY: `c` is a map value, or in this program's own map, as `s` is.
    unsafe {
        let shown = match (asked.op, conn::of(sk)) {
            (op::ACCEPT, old) => accepted(slot, scratch, who, socket, asked, old),
            (_, None) => unseen(slot, scratch, who, socket, asked),
            (_, Some(c)) => {
                if connected(c, socket, asked) {
                    pointer_to_element(scratch).map(|s| (s, c))
                } else {
                    None
                }
            }
        };
        let Some((s, c)) = shown else { return };
        conn::tell(slot, &mut *s, Pointer::to(c), asked.op);
        if asked.op == op::CONNECT && (*c).failed() {
            if goes_on(asked.ret) && get(&raw const (*c).record.outcome) == outcome::DECIDED {
                set(&raw mut (*c).unread, 1);
            } else {
                conn::forget(sk);
            }
        } else if (get(&raw const (*c).state) == u32::from(state::CLOSE) || sock::state_of(sk) == state::CLOSE)
            && let Some(c) = conn::of(sk)
        {
            // It was closed meanwhile. The program that saw this may not have known the connection.
            conn::claim(sk);
            conn::tell_close(slot, &mut *s, Pointer::to(c), sk, 0);
        }
    }
}

/// The end of a call whose request is known. Whether its outcome is to be reported.
#[inline(always)]
fn connected(c: *mut Conn, socket: Sock, asked: &Asked) -> bool {
    let Sock { sk, mptcp, .. } = socket;
    // SAFETY: `c` is a map value.
    unsafe {
        if get(&raw const (*c).unread) != 0 {
            // The error that was reported is read here.
            conn::forget(sk);
            return false;
        }
        if asked.dissolves || get(&raw const (*c).told) != 0 {
            return false;
        }
        let record = &raw mut (*c).record;
        if get(&raw const (*record).flags) & flag::HAS_RET == 0 {
            if asked.fd >= 0 {
                (*record).fd = asked.fd;
            }
            (*record).ret = asked.ret;
            (*record).via = asked.via;
            (*record).abi = asked.abi;
            let has_ret = if is_restarted(asked.ret) { 0 } else { flag::HAS_RET };
            let mptcp = if mptcp { flag::MPTCP } else { 0 };
            set(&raw mut (*record).flags, get(&raw const (*record).flags) | has_ret | mptcp);
        }
        set(&raw mut (*c).called, 1);
        (*c).settle();
        let known = get(&raw const (*c).decided) != 0;
        let waits = goes_on(asked.ret);
        // With TCP_FASTOPEN_CONNECT the call succeeds before anything is sent. Another call for the same socket may fail, or a request
        // may be cancelled: that does not end the attempt.
        let pending = || waits || matches!(sock::state_of(sk), state::SYN_SENT | state::SYN_RECV);
        if !known && pending() || !conn::claim(sk) {
            return false;
        }
        if !known {
            (*c).repaired();
            (*c).decide(sk, outcome::DECIDED, (-asked.ret) as u16);
        }
        if get(&raw const (*record).outcome) == outcome::ABANDONED && asked.ret < 0 && !waits {
            // The call gave it up: EADDRNOTAVAIL, for example.
            (*record).outcome = outcome::DECIDED;
            (*record).err = (-asked.ret) as u16;
        }
        true
    }
}

/// The end of a call whose request is not known: there was no SYN, or the program that should have seen it was skipped.
#[inline(always)]
fn unseen(
    slot: Slot,
    scratch: &Array<Scratch>,
    who: &Who,
    socket: Sock,
    asked: &Asked,
) -> Option<(*mut Scratch, *mut Conn)> {
    let sk = socket.sk;
    let (ret, waits) = (asked.ret, goes_on(asked.ret));
    if asked.dissolves || is_of_another(ret) {
        return None;
    }
    // SAFETY: `s` is this CPU's element of this program's own map.
    unsafe {
        let now = sock::state_of(sk);
        let open = now != state::CLOSE && now != state::LISTEN;
        // A success without a connection dissolved one, or the socket is of another sort.
        if ret == 0 && !open {
            return None;
        }
        let s = begun(scratch, who, socket, asked, 0)?;
        let c = &raw mut (*s).conn;
        let record = &raw mut (*c).record;
        if ret < 0 && !waits {
            // It failed before anything was sent.
            let (port, address);
            // The socket has no remote address yet.
            ((*record).form, port, address) = passed_address(asked.address, asked.len);
            (*record).rport = port;
            put_unaligned((&raw mut (*record).raddr).cast(), address);
            (*record).err = (-ret) as u16;
            (*record).outcome = outcome::DECIDED;
            return Some((s, c));
        }
        (*record).flags |= flag::REPAIRED;
        if !open {
            // It failed meanwhile, and nobody has read the error yet.
            (*record).err = sock::error_of(sk);
            (*record).outcome = if (*record).err != 0 { outcome::DECIDED } else { outcome::UNKNOWN };
            return Some((s, c));
        }
        if now != state::SYN_SENT {
            (*record).outcome = outcome::DECIDED;
            (*c).told = 1;
            if !conn::keep(&mut *s, sk) {
                conn::unkept(slot, &*s, true);
            }
        } else if conn::wait(sk) && conn::keep(&mut *s, sk) {
            return None;
        } else {
            // The request is reported without an outcome. If it becomes a connection, its end is counted then.
            conn::claim(sk);
        }
        Some((s, c))
    }
}

/// A connection of which only the end of the call is known.
#[inline(always)]
fn begun(scratch: &Array<Scratch>, who: &Who, socket: Sock, asked: &Asked, flags: u16) -> Option<*mut Scratch> {
    // SAFETY: `s` is this CPU's element of this program's own map.
    unsafe {
        // A list or a reset may have noted it as missed.
        conn::claim(socket.sk);
        let mptcp = if socket.mptcp { flag::MPTCP } else { 0 };
        let has_ret = if is_restarted(asked.ret) { 0 } else { flag::HAS_RET };
        let s = conn::begin(scratch, who, flags | has_ret | mptcp, asked.via, asked.abi)?;
        let c = &raw mut (*s).conn;
        if let Some(submitter) = asked.submitter {
            copy_header(&mut (*c).header, &(*submitter).header);
        }
        let record = &raw mut (*c).record;
        (*record).fd = asked.fd;
        (*record).ret = asked.ret;
        (*record).decided = (*record).since;
        (*c).called = 1;
        (*c).state = u32::from(sock::state_of(socket.sk));
        sock::addresses(&mut *record, socket.sk);
        sock::quality(&mut *record, socket.sk);
        Some(s)
    }
}

/// The form, the port and the address that were passed; zeros if the form says why there are none.
#[inline(always)]
fn passed_address(passed_at: u64, len: i32) -> (u8, u16, [u64; 2]) {
    /// `sizeof(struct sockaddr_in)`.
    const INET_LEN: i32 = 16;
    /// `SIN6_LEN_RFC2133` (include/linux/ipv6.h): without the scope.
    const INET6_LEN: i32 = 24;
    // The compiler would call a function to fill an array.
    let mut passed = MaybeUninit::<[u64; 3]>::uninit();
    zero(passed.as_mut_ptr());
    let size = at_most(len as u32 as u64, INET6_LEN as u64);
    let form = if len < size_of::<u16>() as i32 {
        form::TOO_SHORT
    } else if read_passed::<{ INET6_LEN as u64 }>(passed.as_mut_ptr().cast(), size, passed_at) != 0 {
        form::UNREADABLE
    } else {
        // SAFETY: all bytes are written.
        match unsafe { passed.assume_init_ref()[0] } as u16 {
            sock::AF_INET if len >= INET_LEN => form::INET,
            sock::AF_INET6 if len >= INET6_LEN => form::INET6,
            sock::AF_INET | sock::AF_INET6 => form::TOO_SHORT,
            _ => form::OTHER_FAMILY,
        }
    };
    // SAFETY: all bytes are written.
    let passed = unsafe { passed.assume_init() };
    let (port, address) = match form {
        form::INET => (passed[0] >> 16, [passed[0] >> 32, 0]),
        form::INET6 => (passed[0] >> 16, [passed[1], passed[2]]),
        _ => (0, [0; 2]),
    };
    (form, (port as u16).swap_bytes(), address)
}

/// The end of a call that accepted a connection.
#[inline(always)]
fn accepted(
    slot: Slot,
    scratch: &Array<Scratch>,
    who: &Who,
    socket: Sock,
    asked: &Asked,
    old: Option<*mut Conn>,
) -> Option<(*mut Scratch, *mut Conn)> {
    let sk = socket.sk;
    // SAFETY: `s` is this CPU's element of this program's own map; `old` is a map value.
    unsafe {
        if !sock::has_peer(sk) {
            return None;
        }
        let closed = sock::state_of(sk) == state::CLOSE;
        if let Some(old) = old
            && get(&raw const (*old).record.flags) & flag::OLDER == 0
        {
            // A seccomp filter can answer with the descriptor of a connection that was not accepted.
            if sock::has_ports(sk, &(*old).record) {
                return None;
            }
            // The same socket cannot be accepted twice: the end of another one at its address was missed.
            conn::lose(slot, get(&raw const (*old).verdict), Reason::Missed, 1);
        }
        let s = begun(scratch, who, socket, asked, flag::SERVER)?;
        let c = &raw mut (*s).conn;
        (*c).decided = 1;
        (*c).told = 1;
        let established = any::<u64>(sk, field::TcpEstablished).wrapping_mul(1000);
        let waited = monotonic_ns().wrapping_sub(established);
        let boot = boot_ns();
        if established != 0 && waited < boot {
            (*c).record.since = BootNanos(boot - waited);
            (*c).record.decided = BootNanos(boot - waited);
        }
        if !conn::keep(&mut *s, sk) {
            conn::unkept(slot, &*s, !closed);
        }
        Some((s, c))
    }
}
