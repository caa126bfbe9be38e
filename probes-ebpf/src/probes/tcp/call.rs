//! The calls connect(2), accept(2), accept4(2), also through socketcall(2).

use super::conn::{self, Conn, Scratch, Submitter, is_requested, place};
use super::sock::{self, Sock};
use crate::arch::read_passed;
use crate::call::{self, Call};
use crate::calls::tcp::{CALLS, what};
use crate::emit::copy_header;
use crate::files::is_fresh;
use crate::maps::per_cpu;
use crate::read::{any, get, ld, load_at, set};
use crate::task::{Who, current};
use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_ktime_get_ns};
use aya_ebpf::macros::{kprobe, map, tracepoint};
use aya_ebpf::maps::{Array, HashMap};
use aya_ebpf::programs::{ProbeContext, TracePointContext};
use core::ffi::c_void;
use core::mem::MaybeUninit;
use tracetui_shared::counters::Reason;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::field;
use tracetui_shared::record::tcp::{TcpRecord, flag, op, outcome, state, via};
use tracetui_shared::time::BootNanos;

per_cpu! {
    /// Records of `sys_exit_btf`.
    TCP_BTF_SCRATCH: Scratch;
    /// Records of `tcp_tp`.
    TCP_TP_SCRATCH: Scratch;
    /// Records of `tcp_multi`.
    TCP_MULTI_SCRATCH: Scratch;
    /// Records of `tcp_begun`.
    TCP_BEGUN_SCRATCH: Scratch;
}

/// The calls of socketcall(2) (include/uapi/linux/net.h).
const SYS_CONNECT: u64 = 3;
const SYS_ACCEPT: u64 = 5;
const SYS_ACCEPT4: u64 = 18;

const AF_UNSPEC: u16 = 0;

/// Reports a call from `sys_exit_btf`.
#[inline(always)]
pub unsafe fn call_ended(call: &Call) {
    // SAFETY: `call` is a call that ended just now.
    unsafe {
        if is_requested() {
            called(Slot::TcpSysExit, &TCP_BTF_SCRATCH, call);
        }
    }
}

/// `syscalls:sys_exit_{connect,accept,accept4}`.
#[tracepoint]
#[inline(always)]
pub fn tcp_tp(ctx: TracePointContext) -> u32 {
    // SAFETY: the context belongs to a tracepoint `sys_exit_*`.
    unsafe {
        if let Some(call) = call::at_tracepoint(&ctx, &CALLS) {
            called(Slot::TcpTp, &TCP_TP_SCRATCH, &call);
        }
    }
    0
}

/// Return of the functions behind the same system calls.
#[kprobe]
#[inline(always)]
pub fn tcp_multi(ctx: ProbeContext) -> u32 {
    // SAFETY: the context is the registers at the function's return.
    unsafe {
        if let Some(call) = call::at_return(&ctx, &CALLS) {
            let _ = TCP_BEGUN.remove(tid(call.task));
            called(Slot::TcpMulti, &TCP_MULTI_SCRATCH, &call);
        }
    }
    0
}

/// The same tracepoints as of [`tcp_tp`], for the calls that began before [`tcp_multi`] was attached: it does not see their
/// return.
#[tracepoint]
#[inline(always)]
pub fn tcp_begun(ctx: TracePointContext) -> u32 {
    // SAFETY: the context belongs to a tracepoint `sys_exit_*`.
    unsafe {
        if TCP_BEGUN.remove(tid(current())).is_ok()
            && let Some(call) = call::at_tracepoint(&ctx, &CALLS)
        {
            called(Slot::TcpBegun, &TCP_BEGUN_SCRATCH, &call);
        }
    }
    0
}

/// The threads that [`tcp_begun`] serves.
#[map]
static TCP_BEGUN: HashMap<u32, u8> = HashMap::with_max_entries(1 << 14, 0);

#[inline(always)]
unsafe fn tid(task: u64) -> u32 {
    // SAFETY: `task` is a task, a BTF pointer where the kernel has them.
    unsafe { ld(task, field::TaskPid) }
}

/// `struct bpf_iter__task` ([`task_starts`](crate::probes)): lists the threads in a call that makes or accepts connections.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn tcp_callers(ctx: *mut c_void) -> i32 {
    // SAFETY: the context is the iterator's, whose pointers are BTF pointers. The verifier requires the test for null.
    unsafe {
        let task: u64 = load_at(ctx as u64, 8);
        if task != 0 && call::may_be_in(task, &CALLS) {
            let _ = TCP_BEGUN.insert(tid(task), 0u8, 0);
        }
    }
    0
}

#[inline(always)]
unsafe fn called(slot: Slot, scratch: &Array<Scratch>, call: &Call) {
    // SAFETY: `call.task` is the current task, a BTF pointer where the kernel has them. User memory is read by helper.
    unsafe {
        let (mut which, mut fd, mut address) = (call.which(), call.args[0], call.args[1]);
        if which == what::SOCKETCALL {
            let mut args = [0u32; 2];
            read_passed::<8>((&raw mut args).cast(), 8, call.args[1]);
            which = match fd {
                SYS_CONNECT => what::CONNECT,
                SYS_ACCEPT => what::ACCEPT,
                SYS_ACCEPT4 => what::ACCEPT4,
                _ => return,
            };
            (fd, address) = (args[0].into(), args[1].into());
        }
        // The result of a call that seccomp trapped is a number above 0, or the descriptor that was passed.
        let is_call = if which == what::CONNECT {
            call.ret <= 0 && !call.trapped && !is_no_socket(call.ret as i32)
        } else {
            fd = call.ret as u64;
            call.ret >= 0 && (!call.trapped || is_fresh(call.task, call.ret))
        };
        if !is_call {
            return;
        }
        let Some(socket) = sock::of_fd(call.task, fd as u32 as u64) else { return };
        let mut family = [u16::MAX; 4];
        if which == what::CONNECT && read_passed::<2>((&raw mut family).cast(), 2, address) != 0 {
            // The helper wrote zeros, which is a family.
            family[0] = u16::MAX;
        }
        let asked = Asked {
            op: if which == what::CONNECT { op::CONNECT } else { op::ACCEPT },
            fd: fd as i32,
            ret: call.ret as i32,
            // The numbers are the same.
            via: which,
            abi: call.abi,
            dissolves: family[0] == AF_UNSPEC && may_dissolve(call.ret as i32, socket.sk),
            address,
            submitter: None,
        };
        ended(slot, scratch, &Who::of(call.task), socket, &asked);
    }
}

const _: () = assert!(what::CONNECT == via::CONNECT && what::ACCEPT == via::ACCEPT && what::ACCEPT4 == via::ACCEPT4);

/// A call or a request of io_uring that asked for a connection or accepted one, and ended.
pub struct Asked {
    /// One of [`op`].
    pub op: u8,
    pub fd: i32,
    pub ret: i32,
    /// One of [`via`].
    pub via: u8,
    pub abi: u8,
    /// The address has no family: the call dissolves the connection.
    pub dissolves: bool,
    /// The address as passed: of user memory, or 0.
    pub address: u64,
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
unsafe fn may_dissolve(ret: i32, sk: u64) -> bool {
    // SAFETY: the fields of the socket are read through a cast pointer or by helper.
    ret == -16 || ret == 0 && unsafe { sock::state_of(sk) } == state::CLOSE
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
pub unsafe fn ended(slot: Slot, scratch: &Array<Scratch>, who: &Who, socket: Sock, asked: &Asked) {
    let sk = socket.sk;
    // SAFETY: `c` is a map value, or in this program's own map, as `s` is.
    unsafe {
        let shown = match (asked.op, conn::of(sk)) {
            (op::ACCEPT, old) => accepted(slot, scratch, who, socket, asked, old),
            (_, None) => unseen(slot, scratch, who, socket, asked),
            (_, Some(c)) => {
                if connected(c, socket, asked) {
                    place(scratch).map(|s| (s, c))
                } else {
                    None
                }
            }
        };
        let Some((s, c)) = shown else { return };
        conn::tell(slot, s, c, asked.op);
        if asked.op == op::CONNECT && Conn::failed(c) {
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
            conn::tell_close(slot, s, c, sk, 0);
        }
    }
}

/// The end of a call whose request is known. Whether its outcome is to be reported.
#[inline(always)]
unsafe fn connected(c: *mut Conn, socket: Sock, asked: &Asked) -> bool {
    let Sock { sk, mptcp } = socket;
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
        Conn::settle(c, &raw mut (*c).called);
        let known = get(&raw const (*c).decided) != 0;
        let waits = goes_on(asked.ret);
        // With TCP_FASTOPEN_CONNECT the call succeeds before anything is sent. Another call for the same socket may fail, or a request
        // may be cancelled: that does not end the attempt.
        let pending = || waits || matches!(sock::state_of(sk), state::SYN_SENT | state::SYN_RECV);
        if !known && pending() || !conn::claim(sk) {
            return false;
        }
        if !known {
            Conn::repaired(c);
            Conn::decide(c, sk, outcome::DECIDED, (-asked.ret) as u16);
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
unsafe fn unseen(
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
            destination(record, asked.address);
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
            if !conn::keep(s, sk) {
                conn::unkept(slot, s, true);
            }
        } else if conn::wait(sk) && conn::keep(s, sk) {
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
unsafe fn begun(scratch: &Array<Scratch>, who: &Who, socket: Sock, asked: &Asked, flags: u16) -> Option<*mut Scratch> {
    // SAFETY: `s` is this CPU's element of this program's own map.
    unsafe {
        // A list or a reset may have noted it as missed.
        conn::claim(socket.sk);
        let mptcp = if socket.mptcp { flag::MPTCP } else { 0 };
        let has_ret = if is_restarted(asked.ret) { 0 } else { flag::HAS_RET };
        let s = conn::begin(scratch, who, flags | has_ret | mptcp, asked.via, asked.abi)?;
        let c = &raw mut (*s).conn;
        if let Some(submitter) = asked.submitter {
            copy_header(&raw mut (*c).header, &raw const (*submitter).header);
        }
        let record = &raw mut (*c).record;
        (*record).fd = asked.fd;
        (*record).ret = asked.ret;
        (*record).decided = (*record).since;
        (*c).called = 1;
        (*c).state = u32::from(sock::state_of(socket.sk));
        sock::addresses(record, socket.sk);
        sock::quality(record, socket.sk);
        Some(s)
    }
}

/// Writes the address that was passed: no route leads to it, so the socket has none.
#[inline(always)]
unsafe fn destination(record: *mut TcpRecord, passed_at: u64) {
    if passed_at == 0 {
        return;
    }
    // SAFETY: `record` is in this program's own map. User memory is read by helper.
    unsafe {
        // `struct sockaddr_in6` without the scope; `struct sockaddr_in` is shorter.
        let mut passed = MaybeUninit::<[u64; 3]>::uninit();
        if read_passed::<24>(passed.as_mut_ptr().cast(), 24, passed_at) != 0 {
            read_passed::<16>(passed.as_mut_ptr().cast(), 16, passed_at);
        }
        // The helper writes zeros where it cannot read.
        let passed = passed.assume_init();
        (*record).rport = ((passed[0] >> 16) as u16).swap_bytes();
        let v4 = passed[0] as u16 == sock::AF_INET;
        let address = if v4 { [passed[0] >> 32, 0] } else { [passed[1], passed[2]] };
        if v4 {
            (*record).family = sock::AF_INET as u8;
        }
        (&raw mut (*record).raddr).cast::<[u64; 2]>().write_unaligned(address);
    }
}

/// The end of a call that accepted a connection.
#[inline(always)]
unsafe fn accepted(
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
            if sock::has_ports(sk, &raw const (*old).record) {
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
        let waited = bpf_ktime_get_ns().wrapping_sub(established);
        let boot = bpf_ktime_get_boot_ns();
        if established != 0 && waited < boot {
            (*c).record.since = BootNanos(boot - waited);
            (*c).record.decided = BootNanos(boot - waited);
        }
        if !conn::keep(s, sk) {
            conn::unkept(slot, s, !closed);
        }
        Some((s, c))
    }
}
