//! Iterators over connections and listening sockets. User space reads the first after the probes are attached and before they are detached, and the second
//! each second and after they are detached.

use super::conn::{self, Scratch};
use super::state;
use crate::arch::native_abi;
use crate::maps::{Pointer, per_cpu, pointer_to_element};
use crate::read::{boot_ns, get, ld, load_at, typed_as};
use crate::sock;
use crate::task::{self, Who};
use core::ffi::c_void;
use tracetui_shared::id::Tid;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::field;
use tracetui_shared::record::tcp::{flag, op, outcome, state as is, via};
use tracetui_shared::time::BootNanos;

per_cpu! {
    /// Connections of `tcp_list`.
    TCP_LIST_SCRATCH: Scratch;
    /// Records of `tcp_sweep`.
    TCP_SWEEP_SCRATCH: Scratch;
}

/// The age in nanoseconds from which the sweep reports a request.
const OVERDUE: u64 = 1_000_000_000;
/// The number of lists after which no program runs but the sweep.
const ENDED: u64 = 2;

/// `struct bpf_iter__task_file { struct bpf_iter_meta *meta; struct task_struct *task; u32 fd; struct file *file; }`
/// ([`kernel/bpf/task_iter.c`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/task_iter.c), 5.8+): each descriptor of
/// each process. Makes the connections known that are older than the trace, or finds those at its end that no program reported.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub extern "C" fn tcp_list(ctx: *mut c_void) -> i32 {
    let ctx = ctx as u64;
    let (task, file): (u64, u64) = (load_at(ctx, 8), load_at(ctx, 24));
    if task == 0 || file == 0 {
        conn::listed();
        return 0;
    }
    let fd: u32 = load_at(ctx, 16);
    let Some(socket) = sock::of_file(file) else { return 0 };
    let now = sock::state_of(socket.sk);
    let listens = now == is::LISTEN;
    if now == is::CLOSE || listens && conn::lists() != 0 {
        return 0;
    }
    let task = typed_as(task, field::TaskTgid);
    let leader: u64 = ld(task, field::TaskGroupLeader);
    let who = Who { comm: task::comm_of(leader), ..Who::of(task) };
    let flags = flag::OLDER | if socket.mptcp { flag::MPTCP } else { 0 } | if listens { flag::SERVER } else { 0 };
    let Some(s) = conn::begin(&TCP_LIST_SCRATCH, &who, flags, via::SNAPSHOT, native_abi()) else { return 0 };
    let s = Pointer::to(s).value();
    let c = &mut s.conn;
    c.header.tid = Tid(who.tgid);
    c.record.since = BootNanos(0);
    c.record.fd = fd as i32;
    c.state = u32::from(now);
    c.called = 1;
    sock::addresses(&mut c.record, socket.sk);
    if conn::lists() != 0 {
        // The end of any other was counted already.
        if matches!(now, is::ESTABLISHED | is::SYN_SENT | is::SYN_RECV | is::CLOSE_WAIT) {
            conn::still_open(Slot::TcpSweep, socket.sk);
        }
        return 0;
    }
    let waits = now == is::SYN_SENT;
    if !waits {
        (c.decided, c.told) = (1, 1);
    }
    if listens {
        // It is known so that another descriptor of it is not reported. Nothing else is reported of it.
        (c.unread, c.record.outcome) = (1, outcome::DECIDED);
    }
    // In this order: the entry of a program that knows the socket stays.
    if conn::keep_older(s, socket.sk) {
        if waits {
            conn::wait(socket.sk);
        } else if listens {
            let c = &raw mut s.conn;
            conn::tell(Slot::TcpSweep, s, Pointer::to(c), op::LISTEN);
        }
    }
    0
}

/// `struct bpf_iter__bpf_map_elem { struct bpf_iter_meta *meta; struct bpf_map *map; void *key; void *value; }`
/// ([`kernel/bpf/map_iter.c`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/map_iter.c), 5.9+): the sockets in a map.
/// Reports the outcome of requests that the kernel knows and that no program reported. Each second the map is `WAITING`, whose
/// values are zeros. When the trace has ended it is also `CONNS`, and requests without an outcome are reported too.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_map_elem")]
pub extern "C" fn tcp_sweep(ctx: *mut c_void) -> i32 {
    let ctx = ctx as u64;
    let (key, value): (u64, u64) = (load_at(ctx, 16), load_at(ctx, 24));
    if key != 0 && value != 0 {
        // The version in the header of a connection.
        swept(load_at(key, 0), load_at::<u64>(value, 8) != 0);
    }
    0
}

#[inline(always)]
fn swept(sk: u64, ending: bool) {
    let Some(c) = conn::of(sk) else {
        if conn::lists() == ENDED {
            // Its accept, and perhaps its end.
            conn::missed(Slot::TcpSweep, if sock::state_of(sk) == is::CLOSE { 2 } else { 1 });
        }
        return;
    };
    let mut c = Pointer::to(c);
    if get(&c.told) != 0 {
        return;
    }
    let now = sock::state_of(sk);
    if now == is::SYN_SENT || now == is::SYN_RECV {
        if !ending || !conn::claim(sk) {
            return;
        }
        sock::addresses(&mut c.record, sk);
        sock::quality(&mut c.record, sk);
        c.record.outcome = outcome::IN_PROGRESS;
    } else {
        let age = boot_ns().wrapping_sub(get(&c.record.since).0);
        if age < OVERDUE && !ending || !conn::claim(sk) {
            return;
        }
        c.repaired();
        if get(&c.decided) == 0 {
            let err = sock::error_of(sk);
            let how = if now == is::CLOSE && err == 0 { outcome::UNKNOWN } else { outcome::DECIDED };
            c.decide(sk, how, if now == is::CLOSE { err } else { 0 });
        }
    }
    let Some(s) = pointer_to_element(&TCP_SWEEP_SCRATCH) else { return };
    let s = Pointer::to(s).value();
    conn::tell(Slot::TcpSweep, s, c, op::CONNECT);
    if get(&c.record.outcome) != outcome::IN_PROGRESS && c.failed() {
        state::after_failure(c, sk);
    }
}
