//! Changes of the state of a connection.

use super::conn::{self, Conn, Scratch, TCP_SUBMITTERS, submitter_of};
use crate::arch::native_abi;
use crate::call;
use crate::context::{self, Context};
use crate::emit::copy_header;
use crate::maps::{Pointer, per_cpu, pointer_to_element};
use crate::read::{casts, get, has, ld, set};
use crate::sock::{self, what};
use crate::task::{Who, current};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::maps::Array;
use aya_ebpf::programs::BtfTracePointContext;
use tracetui_shared::counters::Reason;
use tracetui_shared::kind::{Kind, Slot};
use tracetui_shared::offsets::field;
use tracetui_shared::record::tcp::{flag, op, outcome, state, via};

per_cpu! {
    /// Records of `tcp_state`.
    TCP_STATE_SCRATCH: Scratch;
    /// Records of `tcp_destroy`.
    TCP_DESTROY_SCRATCH: Scratch;
}

/// Flags of a task (include/linux/sched.h).
const PF_EXITING: u32 = 4;
const PF_IO_WORKER: u32 = 0x10;
const PF_KTHREAD: u32 = 0x20_0000;
/// The signal in `signal_struct.group_exit_code`.
const SIGNAL: u32 = 0x7f;

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`
/// ([trace/events/sock.h](https://elixir.bootlin.com/linux/v6.12/source/include/trace/events/sock.h)), called in
/// [`tcp_set_state`](https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/tcp.c) before the state changes.
///
/// The classic tracepoint has `const void *skaddr`, `int oldstate`, `int newstate`, ports, family, `__u16 protocol`.
#[btf_tracepoint]
#[inline(always)]
pub fn tcp_state(ctx: BtfTracePointContext) -> i32 {
    let ctx = Context::of(&ctx);
    let (sk, old, new, is_tcp);
    if context::is_typed() {
        sk = ctx.argument::<0>();
        (old, new, is_tcp) = (ctx.argument::<1>() as u8, ctx.argument::<2>() as u8, sock::is_tcp(sk));
    } else {
        sk = ctx.load::<u64, 8>();
        (old, new) = (ctx.load::<u32, 16>() as u8, ctx.load::<u32, 20>() as u8);
        is_tcp = ctx.load::<u16, 30>() == sock::IPPROTO_TCP;
    }
    if is_tcp {
        changed(Slot::TcpState, &TCP_STATE_SCRATCH, sk, old, new);
    }
    0
}

/// `tcp_destroy_sock(struct sock *sk)`
/// ([trace/events/tcp.h](https://elixir.bootlin.com/linux/v6.12/source/include/trace/events/tcp.h)), called in
/// [`tcp_v4_destroy_sock`](https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/tcp_ipv4.c) for every socket. The classic
/// tracepoint has `const void *skaddr`.
#[btf_tracepoint]
#[inline(always)]
pub fn tcp_destroy(ctx: BtfTracePointContext) -> i32 {
    let ctx = Context::of(&ctx);
    let sk = if context::is_typed() { ctx.argument::<0>() } else { ctx.load::<u64, 8>() };
    destroyed(Slot::TcpDestroy, &TCP_DESTROY_SCRATCH, sk);
    0
}

#[inline(always)]
fn changed(slot: Slot, scratch: &Array<Scratch>, sk: u64, old: u8, new: u8) {
    if new == state::SYN_SENT {
        return requested(slot, scratch, sk);
    }
    if old == state::CLOSE || old == state::LISTEN || new == state::LISTEN {
        return;
    }
    let Some(c) = conn::of(sk) else {
        // A reset may come before accept(2) returns, whose end then reports the connection.
        if conn::leaves(old, new) && sock::file_of(sk) != 0 && (new != state::CLOSE || !conn::wait(sk)) {
            conn::claim(sk);
            conn::missed(slot, 2);
        }
        return;
    };
    let mut c = Pointer::to(c);
    if get(&c.state) != u32::from(old) {
        c.repaired();
    }
    set(&mut c.state, u32::from(new));
    // The FIN of a subflow of MPTCP is sent by a kernel thread. The error of a reset may have been read already.
    let by_caller = sock::is_changed_by_call(sk) && !sock::is_subflow(sk);
    let closes = conn::leaves(old, new) && (new != state::CLOSE || sock::error_of(sk) == 0);
    if closes && by_caller && c.record.closer.0 == 0 {
        conn::closed_by(c, current());
    }
    if get(&c.told) == 0 && get(&c.decided) == 0 {
        if !decided(c, sk, old, new) {
            return;
        }
        if get(&c.called) == 0 && c.expected != 0 && c.record.outcome != outcome::KILLED {
            // The end of the call or of the request reports it.
            return;
        }
        if !conn::claim(sk) {
            return;
        }
        let Some(s) = pointer_to_element(scratch) else { return };
        let s = Pointer::to(s).value();
        conn::tell(slot, s, c, op::CONNECT);
        if new == state::CLOSE && old == state::SYN_SENT {
            after_failure(c, sk);
            return;
        }
    }
    if new == state::CLOSE
        && get(&c.told) == 0
        && get(&c.record.via) == via::IO_URING
        && old != state::SYN_SENT
        && conn::claim(sk)
    {
        // The completion may come later, or not at all.
        let Some(s) = pointer_to_element(scratch) else { return };
        let s = Pointer::to(s).value();
        conn::tell(slot, s, c, op::CONNECT);
    }
    if new == state::CLOSE && get(&c.told) != 0 && get(&c.unread) == 0 {
        let Some(s) = pointer_to_element(scratch) else { return };
        let s = Pointer::to(s).value();
        conn::tell_close(slot, s, c, sk, old);
    }
}

/// A request failed and was reported. If its call has ended, its error will be read by another one.
#[inline(always)]
pub fn after_failure(mut c: Pointer<Conn>, sk: u64) {
    if get(&c.record.outcome) == outcome::DECIDED && matches!(get(&c.record.via), via::CONNECT | via::IO_URING) {
        set(&mut c.unread, 1);
    } else {
        conn::forget(sk);
    }
}

/// Writes the outcome of a request that this change shows; `false` if it shows none.
#[inline(always)]
fn decided(mut c: Pointer<Conn>, sk: u64, old: u8, new: u8) -> bool {
    if old != state::SYN_SENT && old != state::SYN_RECV {
        // It was connected before, and that change was missed.
        c.repaired();
        c.decide(sk, outcome::DECIDED, 0);
        return true;
    }
    if new == state::CLOSE {
        let err = sock::error_at(sk, old);
        let how = if err != 0 { outcome::DECIDED } else { given_up(c) };
        c.decide(sk, how, err);
        return true;
    }
    if new == state::SYN_RECV {
        return false;
    }
    c.decide(sk, outcome::DECIDED, 0);
    true
}

/// The current task gives a request up: it closes the socket, or a signal ends it.
#[inline(always)]
fn given_up(c: Pointer<Conn>) -> u8 {
    let task = current();
    conn::closed_by(c, task);
    let exiting = ld::<u32>(task, field::TaskFlags) & PF_EXITING != 0;
    let signal: u64 = ld(task, field::TaskSignal);
    let killed = exiting && ld::<u32>(signal, field::SignalGroupExitCode) & SIGNAL != 0;
    if killed { outcome::KILLED } else { outcome::ABANDONED }
}

/// Ends the record of an earlier connection of a socket that asks for a new one: reports its outcome if nothing did, and counts its
/// end as lost.
#[inline(always)]
fn replaced(slot: Slot, scratch: &Array<Scratch>, sk: u64, mut old: Pointer<Conn>) {
    let mut ended = get(&old.unread) != 0;
    if get(&old.told) == 0 && conn::claim(sk) {
        ended = get(&old.decided) == 0 || old.failed();
        if let Some(s) = pointer_to_element(scratch) {
            let s = Pointer::to(s).value();
            old.repaired();
            conn::tell(slot, s, old, op::CONNECT);
        }
    }
    if !ended {
        conn::lose(slot, get(&old.verdict), Reason::Missed, 1);
    }
    conn::forget(sk);
}

/// A process asks for a connection: the current task.
#[inline(always)]
fn requested(slot: Slot, scratch: &Array<Scratch>, sk: u64) {
    if let Some(old) = conn::of(sk) {
        replaced(slot, scratch, sk, Pointer::to(old));
    } else if conn::claim(sk) {
        // A connection that no call reported. It was dissolved.
        conn::missed(slot, 2);
    }
    let task = current();
    let who = Who::of(task);
    let (fast, sends) = sock::fast_open(sk);
    let submitter = submitter_of(sk, &who);
    let quiet = submitter.is_some_and(|submitter| Pointer::to(submitter).quiet != 0);
    let (via, expected) = via_of(task, sk, sends, submitter.is_some());
    let expected = expected && !quiet;
    let subflow = sock::is_subflow(sk);
    let flags = if fast { flag::FASTOPEN } else { 0 } | if subflow { flag::MPTCP } else { 0 };
    let Some(s) = conn::begin(scratch, &who, flags, via, native_abi()) else { return };
    let s = Pointer::to(s).value();
    let c = &mut s.conn;
    if let Some(submitter) = submitter {
        let submitter = Pointer::to(submitter);
        copy_header(&mut c.header, &submitter.header);
        c.record.fd = submitter.fd;
        // Another connection may have a socket at this address later.
        let _ = TCP_SUBMITTERS.remove(sk);
    }
    c.state = u32::from(state::SYN_SENT);
    c.expected = u32::from(expected);
    sock::addresses(&mut c.record, sk);
    if !conn::wait(sk) || !conn::keep(s, sk) {
        conn::claim(sk);
        if !expected {
            // Otherwise the end of the call reports it. Its close is counted if it becomes a connection.
            conn::lose(slot, s.conn.verdict, Reason::NoRoom, 1);
        }
    }
}

/// How the current task asks for a connection, and whether a program is expected to see the end of the call or request.
///
/// Before 6.2 the number of the call is not read. Before 5.19 the completions of io_uring name no request.
#[inline(always)]
fn via_of(task: u64, sk: u64, sends: bool, submitted: bool) -> (u8, bool) {
    let flags: u32 = ld(task, field::TaskFlags);
    if submitted || flags & PF_IO_WORKER != 0 {
        (via::IO_URING, has(field::KiocbCqeRes))
    } else if flags & PF_KTHREAD != 0 || sock::file_of(sk) == 0 && !sock::is_subflow(sk) {
        (via::KERNEL, false)
    } else if sends {
        (via::FASTOPEN, false)
    } else if !casts() {
        (via::OTHER, true)
    } else if call::is_in(Kind::Tcp, what::CONNECT) || call::is_in(Kind::Tcp, what::SOCKETCALL) {
        (via::CONNECT, true)
    } else {
        (via::OTHER, false)
    }
}

/// A socket is destroyed: nothing else will happen to its connection.
#[inline(always)]
fn destroyed(slot: Slot, scratch: &Array<Scratch>, sk: u64) {
    let waits = conn::claim(sk);
    let Some(c) = conn::of(sk) else {
        if waits {
            conn::missed(slot, 2);
        }
        return;
    };
    let mut c = Pointer::to(c);
    if get(&c.unread) != 0 {
        conn::forget(sk);
        return;
    }
    let Some(s) = pointer_to_element(scratch) else { return };
    let s = Pointer::to(s).value();
    c.repaired();
    if get(&c.told) == 0 && waits {
        if get(&c.decided) == 0 {
            c.decide(sk, outcome::UNKNOWN, 0);
        }
        conn::tell(slot, s, c, op::CONNECT);
        if c.failed() {
            conn::forget(sk);
            return;
        }
    }
    conn::tell_close(slot, s, c, sk, 0);
}
