//! The connections that are open, and the report of their events.

use super::sock;
use crate::capture;
use crate::emit::{self, Event, Frame, copy_words, zero_words};
use crate::maps::this_cpu;
use crate::read::{get, konst, ld, set};
use crate::task::{self, Who};
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap};
use core::mem::MaybeUninit;
use tracetui_shared::counters::Reason;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::{Kind, Slot};
use tracetui_shared::offsets::field;
use tracetui_shared::record::tcp::{MAX_CONNECTIONS, TcpRecord, flag, op, outcome, state};
use tracetui_shared::time::BootNanos;

/// A connection. The facts are separate words: each is written by one side, and read by others.
#[repr(C)]
pub struct Conn {
    /// The thread that requested or accepted the connection.
    pub header: FrameHeader,
    /// The record, as far as its values are known.
    pub record: TcpRecord,
    /// Bits of [`verdict`].
    pub verdict: u32,
    /// The state to which it changed last.
    pub state: u32,
    /// The call that requested it has ended: `fd` and `ret` of the record are known.
    pub called: u32,
    /// The outcome is known: `outcome`, `err`, `decided` and the addresses of the record.
    pub decided: u32,
    /// The request was reported, or it was accepted.
    pub told: u32,
    /// A program is expected to see the end of the call or request, and to report the outcome then.
    pub expected: u32,
    reserved: u32,
    /// The request failed after its call had ended. The next connect(2) only reads the error.
    pub unread: u32,
    /// Changed by an atomic addition, which orders the facts ([`Conn::settle`]).
    fence: u64,
}

/// The scratch of a program: a new connection, and the record that it sends.
#[repr(C)]
pub struct Scratch {
    pub conn: Conn,
    frame: Frame<TcpRecord>,
}

/// The open connections, by the address of their socket. User space chooses the size, and does not preallocate it where the
/// kernel can allocate in any context (6.2+).
#[map]
static CONNS: HashMap<u64, Conn> = HashMap::with_max_entries(MAX_CONNECTIONS, 0);

/// The sockets whose request was not reported yet. Who removes one reports it. (`BPF_FETCH` needs 5.12.) The values are zeros. Also
/// the sockets that are not in [`CONNS`] and were closed by a reset, or are open when the trace ends: if no end of a call reports
/// them before they are destroyed or all programs are detached, their events are lost.
#[map]
static WAITING: HashMap<u64, [u64; 2]> = HashMap::with_max_entries(MAX_CONNECTIONS / 4, 0);

/// A thread that submitted a request for a connection.
#[repr(C)]
pub struct Submitter {
    pub header: FrameHeader,
    /// The descriptor of the request; −1 if it is none of the process.
    pub fd: i32,
    /// Of a connect: the request posts no completion on success.
    pub quiet: u32,
    /// Of an accept: the descriptor is one of the ring's own table.
    pub direct: u32,
    reserved: u32,
    /// Of an accept: the requests with this number that have not ended.
    pub pending: u64,
}

/// The threads that submitted requests for a connection, by the address of the socket.
#[map]
pub static TCP_SUBMITTERS: LruHashMap<u64, Submitter> = LruHashMap::with_max_entries(4096, 0);

/// The thread of this process that submitted a request for a connection of a socket. An entry of another process is that of an
/// earlier socket at the address.
#[inline(always)]
pub unsafe fn submitter_of(sk: u64, who: &Who) -> Option<*mut Submitter> {
    // SAFETY: a map value; `who.task` is a task, a BTF pointer where the kernel has them.
    TCP_SUBMITTERS.get_ptr_mut(sk).filter(|submitter| unsafe { (**submitter).is_of(who) })
}

impl Submitter {
    /// Whether it is a thread of this process.
    #[inline(always)]
    pub unsafe fn is_of(&self, who: &Who) -> bool {
        // SAFETY: `who.task` is a task, a BTF pointer where the kernel has them.
        self.header.tgid.0 == who.tgid && self.header.start.0 == unsafe { task::start_of(who.task) }
    }
}

/// The scratch of this CPU.
#[inline(always)]
pub unsafe fn place(scratch: &Array<Scratch>) -> Option<*mut Scratch> {
    let (cpu, _) = this_cpu()?;
    scratch.get_ptr_mut(cpu)
}

/// Whether the kind is requested. If not, the verifier removes the code.
#[inline(always)]
pub fn is_requested() -> bool {
    konst!(Kinds) & u64::from(Kind::Tcp.bit()) != 0
}

/// Numbers of all CPUs.
#[repr(C)]
struct Totals {
    /// Connections that found no room in `CONNS`, and whose end was counted as lost already.
    unkept: u64,
    /// 1: the connections that are older than the trace were listed. 2: those at its end too.
    listed: u64,
}

#[map]
static TCP_TOTALS: Array<Totals> = Array::with_max_entries(1, 0);

/// Adds to a word in a map value, atomically.
#[inline(always)]
pub unsafe fn add(word: *mut u64, number: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the verifier checks that `word` lies in a map value.
    unsafe {
        core::arch::asm!("lock *(u64 *)({word} + 0) += {number}", word = in(reg) word, number = in(reg) number, options(nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    let _ = (word, number);
}

/// The connection of a socket.
#[inline(always)]
pub fn of(sk: u64) -> Option<*mut Conn> {
    CONNS.get_ptr_mut(sk)
}

/// Forgets a connection. `false` if another CPU did it.
#[inline(always)]
pub fn forget(sk: u64) -> bool {
    CONNS.remove(sk).is_ok()
}

/// Whether this program may report the request for a connection.
#[inline(always)]
pub fn claim(sk: u64) -> bool {
    WAITING.remove(sk).is_ok()
}

/// Makes the connection of [`Scratch::conn`] known; `false` if there is no room.
#[inline(always)]
pub unsafe fn keep(s: *mut Scratch, sk: u64) -> bool {
    // SAFETY: `s` is this CPU's element of this program's own map.
    unsafe { CONNS.insert(sk, &(*s).conn, 0).is_ok() }
}

/// Counts the end of an established connection as lost, since there is no room. `ends`: a change of its state will follow, which
/// [`missed`] must not count again.
#[inline(always)]
pub unsafe fn unkept(slot: Slot, s: *const Scratch, ends: bool) {
    // SAFETY: `s` is this CPU's element of this program's own map.
    unsafe {
        lose(slot, (*s).conn.verdict, Reason::NoRoom, 1);
        if ends && let Some(totals) = TCP_TOTALS.get_ptr_mut(0) {
            add(&raw mut (*totals).unkept, 1);
        }
    }
}

/// Makes the connection of [`Scratch::conn`] known, unless it is known already.
#[inline(always)]
pub unsafe fn keep_older(s: *mut Scratch, sk: u64) -> bool {
    // SAFETY: `s` is this CPU's element of this program's own map.
    unsafe { CONNS.insert(sk, &(*s).conn, u64::from(BPF_NOEXIST)).is_ok() }
}

/// Notes that the request of a connection is not reported yet.
#[inline(always)]
pub fn wait(sk: u64) -> bool {
    let mut zeros = MaybeUninit::<[u64; 2]>::uninit();
    // SAFETY: both words are written.
    unsafe {
        zero_words::<2>(zeros.as_mut_ptr().cast());
        WAITING.insert(sk, zeros.assume_init_ref(), 0).is_ok()
    }
}

/// The number of complete lists of connections.
#[inline(always)]
pub fn lists() -> u64 {
    // SAFETY: an element of the map.
    TCP_TOTALS.get_ptr(0).map_or(0, |totals| unsafe { get(&raw const (*totals).listed) })
}

/// A list of connections is complete.
#[inline(always)]
pub unsafe fn listed() {
    if let Some(totals) = TCP_TOTALS.get_ptr_mut(0) {
        // SAFETY: an element of the map.
        unsafe { set(&raw mut (*totals).listed, get(&raw const (*totals).listed) + 1) };
    }
}

/// A connection is open when the trace ends. If no program reported it, it waits for the end of a call that may still do so.
#[inline(always)]
pub unsafe fn still_open(slot: Slot, sk: u64) {
    if of(sk).is_none() && !wait(sk) {
        // SAFETY: the calling program fills the slot.
        unsafe { missed(slot, 1) };
    }
}

/// Whether the connection of a socket was not reported yet. One that is older than the trace was not.
#[inline(always)]
pub unsafe fn is_unknown(sk: u64) -> bool {
    // SAFETY: a map value.
    of(sk).is_none_or(|conn| unsafe { get(&raw const (*conn).record.flags) } & flag::OLDER != 0)
}

/// Counts the events so far of a connection that no program reported.
#[inline(always)]
pub unsafe fn missed(slot: Slot, events: u64) {
    let Some(totals) = TCP_TOTALS.get_ptr_mut(0) else { return };
    // SAFETY: an element of the map.
    unsafe {
        if get(&raw const (*totals).unkept) as i64 > 0 {
            return add(&raw mut (*totals).unkept, u64::MAX);
        }
        if get(&raw const (*totals).listed) != 0 {
            lose(slot, capture::ALL, Reason::Missed, events);
        }
    }
}

/// Counts events that will not be sent.
#[inline(always)]
pub unsafe fn lose(slot: Slot, verdict: u32, reason: Reason, events: u64) {
    // SAFETY: the calling program fills the slot.
    unsafe {
        if verdict & capture::ALL != 0 {
            emit::count_dropped(slot, reason, events);
        }
    }
}

/// Begins a connection of a thread: everything except what the socket shows. `None` for one of tracetui's own.
#[inline(always)]
pub unsafe fn begin(scratch: &Array<Scratch>, who: &Who, flags: u16, via: u8, abi: u8) -> Option<*mut Scratch> {
    // SAFETY: `s` is this CPU's element of this program's own map; `who.task` is a task, a BTF pointer where the kernel has
    // them.
    unsafe {
        let s = place(scratch)?;
        if emit::is_own(who) {
            return None;
        }
        let conn = &raw mut (*s).conn;
        let now = bpf_ktime_get_boot_ns();
        // Each event writes the CPU itself.
        task::fill(&raw mut (*conn).header, who, 0, now);
        let record = &raw mut (*conn).record;
        // All that follows the header.
        zero_words::<{ (size_of::<Conn>() - size_of::<FrameHeader>()) / 8 }>(record.cast());
        (*conn).verdict = capture::verdict(Kind::Tcp, who);
        (*record).since = BootNanos(now);
        (*record).fd = -1;
        (*record).flags = flags;
        (*record).via = via;
        (*record).abi = abi;
        Some(s)
    }
}

impl Conn {
    /// Writes a fact of this side so that the other side sees it, or this side sees the other's.
    #[inline(always)]
    pub unsafe fn settle(conn: *mut Conn, fact: *mut u32) {
        // SAFETY: both point into the map value.
        unsafe {
            set(fact, 1);
            add(&raw mut (*conn).fence, 1);
        }
    }

    /// Marks that a program was skipped.
    #[inline(always)]
    pub unsafe fn repaired(conn: *mut Conn) {
        // SAFETY: a map value.
        unsafe { set(&raw mut (*conn).record.flags, get(&raw const (*conn).record.flags) | flag::REPAIRED) };
    }

    /// Writes the outcome of a request: what the socket shows now, and this error.
    #[inline(always)]
    pub unsafe fn decide(conn: *mut Conn, sk: u64, how: u8, err: u16) {
        // SAFETY: `conn` is a map value.
        unsafe {
            let record = &raw mut (*conn).record;
            sock::addresses(record, sk);
            sock::quality(record, sk);
            if sock::fast_open(sk).0 {
                set(&raw mut (*record).flags, get(&raw const (*record).flags) | flag::FASTOPEN);
            }
            (*record).outcome = how;
            (*record).err = err;
            (*record).decided = BootNanos(bpf_ktime_get_boot_ns());
            Conn::settle(conn, &raw mut (*conn).decided);
        }
    }

    /// Whether a request was decided and failed.
    #[inline(always)]
    pub unsafe fn failed(conn: *const Conn) -> bool {
        // SAFETY: `conn` is a map value.
        unsafe { get(&raw const (*conn).record.outcome) != outcome::DECIDED || get(&raw const (*conn).record.err) != 0 }
    }
}

/// Copies a connection into the frame that is sent.
#[inline(always)]
unsafe fn copy(s: *mut Scratch, conn: *const Conn) {
    // SAFETY: both are map values. `Conn` begins with the header and the record, as the frame does.
    unsafe { copy_words::<{ size_of::<Frame<TcpRecord>>() / 8 }>((&raw mut (*s).frame).cast(), conn.cast()) };
}

/// Sends the frame that [`copy`] made, unless the capture filter rejects it.
#[inline(always)]
unsafe fn send(slot: Slot, s: *mut Scratch, verdict: u32, op: u8, failed: bool) {
    const LEN: u64 = size_of::<Frame<TcpRecord>>() as u64;
    // SAFETY: `s` is this CPU's element of this program's own map.
    unsafe {
        let wanted = verdict & (capture::ALL | if failed { capture::FAILED } else { 0 }) != 0;
        let Some(event) = Event::decided(slot, wanted) else { return };
        let frame = &raw mut (*s).frame;
        event.stamp(&raw mut (*frame).header);
        (*frame).record.op = op;
        event.send(frame.cast(), LEN, LEN);
    }
}

/// Reports the outcome of a request, or an accepted connection.
#[inline(always)]
pub unsafe fn tell(slot: Slot, s: *mut Scratch, conn: *mut Conn, op: u8) {
    // SAFETY: `s` is this CPU's element of this program's own map; `conn` is a map value.
    unsafe {
        set(&raw mut (*conn).told, 1);
        copy(s, conn);
        let outcome = get(&raw const (*conn).record.outcome);
        let known = outcome != outcome::UNKNOWN && outcome != outcome::IN_PROGRESS;
        send(slot, s, get(&raw const (*conn).verdict), op, op == op::CONNECT && known && Conn::failed(conn));
    }
}

/// Reports the end of a connection, which was in the state `old`, and forgets it.
#[inline(always)]
pub unsafe fn tell_close(slot: Slot, s: *mut Scratch, conn: *const Conn, sk: u64, old: u8) {
    // SAFETY: `s` is this CPU's element of this program's own map; `conn` is a map value, which another connection may take
    // after `forget`.
    unsafe {
        copy(s, conn);
        let verdict = get(&raw const (*conn).verdict);
        if !forget(sk) {
            return;
        }
        let record = &raw mut (*s).frame.record;
        sock::bytes(record, sk);
        sock::quality(record, sk);
        (*record).err = sock::error_at(sk, old);
        (*record).state = old;
        (*record).outcome = outcome::UNKNOWN;
        send(slot, s, verdict, op::CLOSE, false);
    }
}

/// Writes the process that closed a connection: the current task.
#[inline(always)]
pub unsafe fn closed_by(conn: *mut Conn, task: u64) {
    // SAFETY: `conn` is a map value; `task` is the current task, a BTF pointer where the kernel has them.
    unsafe {
        (*conn).record.closer = Tgid(ld(task, field::TaskTgid));
        (*conn).record.closer_start = BootNanos(task::start_of(task));
    }
}

/// Whether a change from one state to another is made by whoever closes the connection.
#[inline(always)]
pub fn leaves(old: u8, new: u8) -> bool {
    new == state::FIN_WAIT1
        || new == state::LAST_ACK
        || new == state::CLOSE && (old == state::ESTABLISHED || old == state::CLOSE_WAIT)
}
