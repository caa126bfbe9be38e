//! The connections that are open, and the report of their events.

use crate::capture;
use crate::emit::{self, Event, Frame, copy_words, zero_words};
use crate::maps::{Pointer, pointer_to_element};
use crate::read::{boot_ns, get, ld, set, zeroed};
use crate::sock;
use crate::task::{self, Who};
use aya_ebpf::bindings::BPF_NOEXIST;
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
use zerocopy::FromZeros;

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
#[derive(FromZeros)]
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
pub fn submitter_of(sk: u64, who: &Who) -> Option<*mut Submitter> {
    TCP_SUBMITTERS.get_ptr_mut(sk).filter(|submitter| Pointer::to(*submitter).is_of(who))
}

impl Submitter {
    /// Whether it is a thread of this process.
    #[inline(always)]
    pub fn is_of(&self, who: &Who) -> bool {
        self.header.tgid.0 == who.tgid && self.header.start.0 == task::start_of(who.task)
    }
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
pub fn add(word: *mut u64, number: u64) {
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
pub fn keep(s: &mut Scratch, sk: u64) -> bool {
    CONNS.insert(sk, &s.conn, 0).is_ok()
}

/// Counts the end of an established connection as lost, since there is no room. `ends`: a change of its state will follow, which
/// [`missed`] must not count again.
#[inline(always)]
pub fn unkept(slot: Slot, s: &Scratch, ends: bool) {
    lose(slot, s.conn.verdict, Reason::NoRoom, 1);
    if ends && let Some(totals) = TCP_TOTALS.get_ptr_mut(0) {
        let mut totals = Pointer::to(totals);
        add(&mut totals.unkept, 1);
    }
}

/// Makes the connection of [`Scratch::conn`] known, unless it is known already.
#[inline(always)]
pub fn keep_older(s: &mut Scratch, sk: u64) -> bool {
    CONNS.insert(sk, &s.conn, u64::from(BPF_NOEXIST)).is_ok()
}

/// Notes that the request of a connection is not reported yet.
#[inline(always)]
pub fn wait(sk: u64) -> bool {
    let mut zeros = MaybeUninit::<[u64; 2]>::uninit();
    WAITING.insert(sk, &*zeroed(&mut zeros), 0).is_ok()
}

/// The number of complete lists of connections.
#[inline(always)]
pub fn lists() -> u64 {
    TCP_TOTALS.get_ptr_mut(0).map_or(0, |totals| get(&Pointer::to(totals).listed))
}

/// A list of connections is complete.
#[inline(always)]
pub fn listed() {
    if let Some(totals) = TCP_TOTALS.get_ptr_mut(0) {
        let mut totals = Pointer::to(totals);
        set(&mut totals.listed, get(&totals.listed) + 1);
    }
}

/// A connection is open when the trace ends. If no program reported it, it waits for the end of a call that may still do so.
#[inline(always)]
pub fn still_open(slot: Slot, sk: u64) {
    if of(sk).is_none() && !wait(sk) {
        missed(slot, 1);
    }
}

/// Whether the connection of a socket was not reported yet. One that is older than the trace was not.
#[inline(always)]
pub fn is_unknown(sk: u64) -> bool {
    of(sk).is_none_or(|conn| get(&Pointer::to(conn).record.flags) & flag::OLDER != 0)
}

/// Counts the events so far of a connection that no program reported.
#[inline(always)]
pub fn missed(slot: Slot, events: u64) {
    let Some(totals) = TCP_TOTALS.get_ptr_mut(0) else { return };
    let mut totals = Pointer::to(totals);
    if get(&totals.unkept) as i64 > 0 {
        return add(&mut totals.unkept, u64::MAX);
    }
    if get(&totals.listed) != 0 {
        lose(slot, capture::ALL, Reason::Missed, events);
    }
}

/// Counts events that will not be sent.
#[inline(always)]
pub fn lose(slot: Slot, verdict: u32, reason: Reason, events: u64) {
    if verdict & capture::ALL != 0 {
        emit::count_dropped(slot, reason, events);
    }
}

/// Begins a connection of a thread: everything except what the socket shows. `None` for one of tracetui's own.
#[inline(always)]
pub fn begin(scratch: &Array<Scratch>, who: &Who, flags: u16, via: u8, abi: u8) -> Option<*mut Scratch> {
    let s = Pointer::to(pointer_to_element(scratch)?).value();
    if emit::is_own(who) {
        return None;
    }
    let now = boot_ns();
    // Each event writes the CPU itself.
    task::fill(&mut s.conn.header, who, 0, now);
    // All that follows the header.
    zero_words::<{ (size_of::<Conn>() - size_of::<FrameHeader>()) / 8 }>((&raw mut s.conn.record).cast());
    s.conn.verdict = capture::verdict(Kind::Tcp, who);
    let record = &mut s.conn.record;
    record.since = BootNanos(now);
    record.fd = -1;
    record.flags = flags;
    record.via = via;
    record.abi = abi;
    Some(s)
}

impl Conn {
    /// Makes the other side see what this side wrote before, or this side see what the other wrote.
    #[inline(always)]
    pub fn settle(&mut self) {
        add(&mut self.fence, 1);
    }

    /// Marks that a program was skipped.
    #[inline(always)]
    pub fn repaired(&mut self) {
        set(&mut self.record.flags, get(&self.record.flags) | flag::REPAIRED);
    }

    /// Writes the outcome of a request: what the socket shows now, and this error.
    #[inline(always)]
    pub fn decide(&mut self, sk: u64, how: u8, err: u16) {
        let record = &mut self.record;
        sock::addresses(record, sk);
        sock::quality(record, sk);
        if sock::fast_open(sk).0 {
            set(&mut record.flags, get(&record.flags) | flag::FASTOPEN);
        }
        record.outcome = how;
        record.err = err;
        record.decided = BootNanos(boot_ns());
        set(&mut self.decided, 1);
        self.settle();
    }

    /// Whether a request was decided and failed.
    #[inline(always)]
    pub fn failed(&self) -> bool {
        get(&self.record.outcome) != outcome::DECIDED || get(&self.record.err) != 0
    }
}

/// Copies a connection into the frame that is sent.
#[inline(always)]
fn copy(s: &mut Scratch, conn: Pointer<Conn>) {
    // `Conn` begins with the header and the record, as the frame does.
    copy_words::<{ size_of::<Frame<TcpRecord>>() / 8 }>((&raw mut s.frame).cast(), (&raw const *conn).cast());
}

/// Sends the frame that [`copy`] made, unless the capture filter rejects it.
#[inline(always)]
fn send(slot: Slot, s: &mut Scratch, verdict: u32, op: u8, failed: bool) {
    const LEN: u64 = size_of::<Frame<TcpRecord>>() as u64;
    let wanted = verdict & (capture::ALL | if failed { capture::FAILED } else { 0 }) != 0;
    let Some(event) = Event::decided(slot, wanted) else { return };
    let frame = &mut s.frame;
    event.stamp(&mut frame.header);
    frame.record.op = op;
    event.send(&mut frame.header, LEN, LEN);
}

/// Reports the outcome of a request or of another call, or an accepted connection.
#[inline(always)]
pub fn tell(slot: Slot, s: &mut Scratch, mut conn: Pointer<Conn>, op: u8) {
    set(&mut conn.told, 1);
    copy(s, conn);
    let outcome = get(&conn.record.outcome);
    let known = outcome != outcome::UNKNOWN && outcome != outcome::IN_PROGRESS;
    send(slot, s, get(&conn.verdict), op, known && conn.failed());
}

/// Reports the end of a connection, which was in the state `old`, and forgets it.
#[inline(always)]
pub fn tell_close(slot: Slot, s: &mut Scratch, conn: Pointer<Conn>, sk: u64, old: u8) {
    copy(s, conn);
    let verdict = get(&conn.verdict);
    if !forget(sk) {
        return;
    }
    let record = &mut s.frame.record;
    sock::bytes(record, sk);
    sock::quality(record, sk);
    record.err = sock::error_at(sk, old);
    record.state = old;
    record.outcome = outcome::UNKNOWN;
    send(slot, s, verdict, op::CLOSE, false);
}

/// Writes the process that closed a connection: the current task.
#[inline(always)]
pub fn closed_by(mut conn: Pointer<Conn>, task: u64) {
    conn.record.closer = Tgid(ld(task, field::TaskTgid));
    conn.record.closer_start = BootNanos(task::start_of(task));
}

/// Whether a change from one state to another is made by whoever closes the connection.
#[inline(always)]
pub fn leaves(old: u8, new: u8) -> bool {
    new == state::FIN_WAIT1
        || new == state::LAST_ACK
        || new == state::CLOSE && (old == state::ESTABLISHED || old == state::CLOSE_WAIT)
}
