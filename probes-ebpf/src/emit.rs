//! The path of an event to the ring: filtering, numbering, and sending.
//!
//! An event takes its number before it asks the ring for room, so a missing number is a lost event. The counters use
//! plain increments: a program never runs twice at once on one CPU, and each slot belongs to one program. Each event is
//! counted as met when it begins, and a second time by its outcome: sent, refused by the ring, filtered, own, or
//! dropped for a [`Reason`].
//!
//! # Room
//! The size of a frame decides how much of the ring it may use, so that large frames cannot push out small ones:
//!
//! | frame | share of the ring |
//! |---|---|
//! | more than [`SMALL`] bytes, or a continuation | half |
//! | an event of a kind that floods ([`floods`](tracetui_shared::kind::Kind::floods)) | up to [`OpenLimit`](tracetui_shared::offsets::Const::OpenLimit); half of it for `lookup` |
//! | any other | all |
//!
//! A program that makes large frames first asks for room ([`Event::ask_room`]). If the request is refused, it makes a
//! small frame.
//!
//! Programs that preempt each other (7.0+) may share `credit` of [`CpuState`]. A lost update there affects one query of the ring,
//! never an event.

use crate::call::Call;
use crate::capture;
use crate::context::Context;
use crate::files::is_fresh;
use crate::maps::{Pointer, RING, RINGS, this_cpu};
use crate::read::{at, at_most, boot_ns, forgotten, get, konst, opaque, set};
use crate::task::{self, Who};
use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP};
use aya_ebpf::helpers::generated::{bpf_get_stack, bpf_ringbuf_output, bpf_ringbuf_query};
use aya_ebpf::maps::Array;
use core::ffi::c_void;
use tracetui_shared::capture::TICK_NS;
use tracetui_shared::counters::{CpuState, Reason, SlotCounters};
use tracetui_shared::header::{FrameHeader, flag};
use tracetui_shared::kind::{Shows, Slot};
use tracetui_shared::record::stack;
use tracetui_shared::time::BootNanos;

/// Bytes of the header that the ring adds to a record: `BPF_RINGBUF_HDR_SZ` (include/uapi/linux/bpf.h).
const RING_HEADER: u64 = 8;

/// Bytes of the largest frame that may use the reserve: the half of the ring that is kept for small frames.
pub const SMALL: u64 = 2048;

/// The fraction of the ring above which a large frame wakes the reader.
const URGENT: u64 = 8;

/// A header and a record of fixed length.
#[repr(C)]
pub struct Frame<T> {
    /// Identity, number, time and length.
    pub header: FrameHeader,
    /// The payload.
    pub record: T,
}

/// An event that has taken its number.
pub struct Event {
    state: Pointer<CpuState>,
    counters: Pointer<SlotCounters>,
    time: u64,
    cpu: u32,
    slot: Slot,
    /// The context of the program; [`Context::NONE`] for an event without a stack.
    context: Context,
    seq: u64,
    /// The capture filter rejected the event; it is sent only for the process table. After [`head`](Self::head) it is
    /// read from the header ([`is_bookkeeping`]).
    bookkeeping: bool,
}

/// Counts a new process for which a captured tree has no room.
#[inline(always)]
pub fn count_tree_full() {
    let Some((_, mut state)) = this_cpu() else { return };
    state.tree_full += 1;
}

/// Counts events that are not sent, for a reason.
#[inline(always)]
pub fn count_dropped(slot: Slot, reason: Reason, events: u64) {
    let Some((_, state)) = this_cpu() else { return };
    let counters = slot_of(state, slot).value();
    counters.met += events;
    counters.dropped[reason as usize] += events;
}

/// The counters of a slot on one CPU.
#[inline(always)]
fn slot_of(state: Pointer<CpuState>, slot: Slot) -> Pointer<SlotCounters> {
    Pointer::to(&mut state.value().slots[slot as usize])
}

/// Whether the calling process is one of tracetui's. The inspector may end before the probes do, and another process may
/// get its id. tracetui itself ends with them.
#[inline(always)]
pub fn is_own(who: &Who) -> bool {
    let tgid = u64::from(who.tgid);
    tgid == konst!(SelfTgid)
        || tgid == konst!(InspectorTgid) && {
            let start = konst!(InspectorStartHigh) << 32 | konst!(InspectorStart) & 0xffff_ffff;
            task::start_of(who.task).wrapping_sub(start) < TICK_NS
        }
}

impl Event {
    /// Counts an event that makes no record as missed.
    #[inline(always)]
    pub fn miss(slot: Slot, who: &Who, failed: bool) {
        if let Some(event) = Event::begin(slot, Context::NONE, who, failed) {
            event.give_back(Reason::Missed);
        }
    }

    /// Counts an event and takes its number. `None` if the event is not to be sent.
    #[inline(always)]
    pub fn begin(slot: Slot, context: Context, who: &Who, failed: bool) -> Option<Event> {
        Event::begin_unless(slot, context, who, failed, || false)
    }

    /// [`begin`](Self::begin) unless the call was `trapped`. The event then did not fail, and is dropped.
    #[inline(always)]
    fn begin_unless(
        slot: Slot,
        context: Context,
        who: &Who,
        failed: bool,
        trapped: impl Fn() -> bool,
    ) -> Option<Event> {
        let (cpu, state) = this_cpu()?;
        let kind = slot.kind();
        let place = slot_of(state, slot);
        let counters = place.value();
        counters.met += 1;
        if is_own(who) {
            counters.own += 1;
            return None;
        }
        let bookkeeping = !capture::wanted(kind, who, failed && !trapped());
        let seq;
        if trapped() {
            if bookkeeping {
                counters.filtered += 1;
            } else {
                counters.dropped[Reason::Trapped as usize] += 1;
            }
            return None;
        } else if !bookkeeping {
            seq = counters.wanted;
            counters.wanted = seq + 1;
        } else if keeps_the_table(slot) && !capture::is_outside(who)
            || slot.ends_a_request() && capture::wanted(kind, who, true)
        {
            // A request is reported before its outcome is known. If only the test for failure rejects its end,
            // the end is reported too.
            seq = counters.bookkeeping;
            counters.bookkeeping = seq + 1;
        } else {
            counters.filtered += 1;
            return None;
        }
        Some(Event { state, counters: place, time: boot_ns(), cpu, slot, context, seq, bookkeeping })
    }

    /// [`begin`](Self::begin) for a system call. A call that seccomp trapped was never made, and is dropped.
    ///
    /// A process can make a successful call look trapped: by a filter that allows everything, a SIGSYS sent during the
    /// call (`F_SETSIG`), and a result that equals the call's number. The result is then a new descriptor. Nothing makes a call
    /// look as if it killed the process.
    #[inline(always)]
    pub fn of_call(slot: Slot, who: &Who, call: &Call) -> Option<Event> {
        let trapped = u64::from(call.killed || call.trapped && !is_fresh(call.task, call.ret));
        Event::begin_unless(slot, call.context, who, call.ret < 0, || forgotten(trapped, call.ret as u64) != 0)
    }

    /// Counts an event that the capture filter wants or not, and takes its number. `None` if it is not to be sent.
    #[inline(always)]
    pub fn decided(slot: Slot, wanted: bool) -> Option<Event> {
        let (cpu, state) = this_cpu()?;
        let place = slot_of(state, slot);
        let counters = place.value();
        counters.met += 1;
        if !wanted {
            counters.filtered += 1;
            return None;
        }
        let seq = counters.wanted;
        counters.wanted = seq + 1;
        let (time, context) = (boot_ns(), Context::NONE);
        Some(Event { state, counters: place, time, cpu, slot, context, seq, bookkeeping: false })
    }

    /// Counts a request and takes its number. A request is reported for the event that it leads to, whose outcome is
    /// still unknown. `None` if the request is not to be sent.
    #[inline(always)]
    pub fn request(slot: Slot, who: &Who) -> Option<Event> {
        Event::request_if::<true>(slot, who)
    }

    /// [`request`](Self::request) whatever the capture filter says: user space needs all of them.
    #[inline(always)]
    pub fn unfiltered(slot: Slot, who: &Who) -> Option<Event> {
        Event::request_if::<false>(slot, who)
    }

    #[inline(always)]
    fn request_if<const FILTERED: bool>(slot: Slot, who: &Who) -> Option<Event> {
        let (cpu, state) = this_cpu()?;
        let place = slot_of(state, slot);
        let counters = place.value();
        counters.met += 1;
        if is_own(who) {
            counters.own += 1;
            return None;
        }
        if FILTERED && !capture::wanted(slot.kind(), who, true) {
            counters.filtered += 1;
            return None;
        }
        let seq = counters.bookkeeping;
        counters.bookkeeping = seq + 1;
        let time = boot_ns();
        let context = Context::NONE;
        Some(Event { state, counters: place, time, cpu, slot, context, seq, bookkeeping: true })
    }

    /// The element in which the program assembles its record: this CPU's element of the program's own map. If it is
    /// missing, the event is dropped.
    #[inline(always)]
    pub fn place<'a, T>(&self, scratch: &'a Array<T>) -> Option<&'a mut T> {
        self.pointer_to_place(scratch).map(|place| Pointer::to(place).value())
    }

    /// [`place`](Self::place), as a pointer.
    #[inline(always)]
    pub fn pointer_to_place<T>(&self, scratch: &Array<T>) -> Option<*mut T> {
        let place = scratch.get_ptr_mut(self.cpu);
        if place.is_none() {
            self.give_back(Reason::NoPlace);
        }
        place
    }

    /// Returns the event's number, so that the numbering has no gap, and counts the event as dropped.
    #[inline(always)]
    pub fn give_back(&self, reason: Reason) {
        let counters = self.counters.value();
        if self.bookkeeping {
            counters.bookkeeping = self.seq;
        } else {
            counters.wanted = self.seq;
        }
        counters.dropped[reason as usize] += 1;
    }

    /// Asks the ring whether a frame of `most` bytes, more than [`SMALL`], may be sent.
    #[inline(always)]
    pub fn ask_room(&self, most: u64) -> bool {
        self.has_half(most)
    }

    /// Counts the event as cut short because the ring lacks room.
    #[inline(always)]
    pub fn count_cut_short(&self) {
        self.counters.value().cut_short += 1;
    }

    /// Writes the header except its length.
    #[inline(always)]
    pub fn head(&self, header: &mut FrameHeader, who: &Who) {
        self.stamp(header);
        task::fill(header, who, self.cpu, self.time);
    }

    /// Writes the fields of the event itself into a header that already has the identity of the thread.
    #[inline(always)]
    pub fn stamp(&self, header: &mut FrameHeader) {
        header.kind = self.slot.kind() as u16;
        header.slot = self.slot as u16;
        let request = if self.slot.is_request() { flag::REQUEST } else { 0 };
        header.flags = if self.bookkeeping { flag::BOOKKEEPING | request } else { 0 };
        header.seq = self.seq;
        header.cpu = self.cpu;
        header.time = BootNanos(self.time);
    }

    /// Sends `len` bytes and the kernel stack if requested, or counts the event as lost. `most` is the size of the
    /// frame's buffer in bytes. [`stack::ROOM`] bytes follow it in the buffer of an event with a context.
    #[inline(always)]
    pub fn send(&self, frame: &mut FrameHeader, len: u64, most: u64) -> bool {
        self.send_if(frame, len, most, || false)
    }

    /// [`send`](Self::send), for a frame that may have been granted room ([`ask_room`](Self::ask_room)).
    #[inline(always)]
    pub fn send_if(&self, frame: &mut FrameHeader, len: u64, most: u64, granted: impl Fn() -> bool) -> bool {
        let len = at_most(len, most);
        let len = if self.has_stack() && !is_bookkeeping(frame) { self.append_stack(frame, len) } else { len };
        frame.len = len as u32;
        let sent = (granted() || self.has_room(frame)) && self.output(frame, len);
        match (is_bookkeeping(frame), sent) {
            (false, true) => self.counters.value().sent += 1,
            (false, false) => self.counters.value().lost_ring += 1,
            (true, true) => self.counters.value().sent_bookkeeping += 1,
            (true, false) => self.counters.value().lost_bookkeeping += 1,
        }
        sent
    }

    /// Whether the stack is sent with the event. The constant decides, so the verifier removes the code where it is not.
    #[inline(always)]
    fn has_stack(&self) -> bool {
        !self.context.is_none() && konst!(Stacks) >> self.slot.kind() as u16 & 1 != 0
    }

    /// Puts the kernel stack after the `len` bytes of a frame. Returns the new length.
    #[inline(always)]
    fn append_stack(&self, frame: &mut FrameHeader, len: u64) -> u64 {
        let to = at((&raw mut *frame).cast::<u8>(), len);
        // SAFETY: the context is the program's. The verifier checks the size of the memory at `to`.
        let got = unsafe { bpf_get_stack(self.context.as_ptr(), to.cast(), stack::ASKED as u32, 0) } as u64;
        // An error is negative.
        let got = opaque(got);
        let bytes = if got > stack::ASKED { 0 } else { got };
        set(at(to, bytes).cast::<u32>(), bytes as u32 / 8);
        frame.flags |= flag::STACK;
        len + bytes + stack::COUNT as u64
    }

    /// Sends a continuation of this event if the ring has room for it.
    #[inline(always)]
    pub fn send_more(&self, frame: &mut FrameHeader, len: u64, most: u64) -> bool {
        let len = at_most(len, most);
        frame.len = len as u32;
        frame.flags |= flag::CONTINUES;
        let sent = self.has_half(room(frame)) && self.output(frame, len);
        if sent {
            self.counters.value().sent_chunks += 1;
        }
        sent
    }

    /// Sends a small continuation that marks the end of the event. Without it, user space holds the event until the
    /// next one of this CPU arrives.
    #[inline(always)]
    pub fn send_end(&self, frame: &mut FrameHeader, len: u64) -> bool {
        frame.len = len as u32;
        frame.flags |= flag::CONTINUES;
        let sent = self.output(frame, len);
        if sent {
            self.counters.value().sent_chunks += 1;
        }
        sent
    }

    /// Whether a first frame may be sent. Its size and its kind decide.
    #[inline(always)]
    fn has_room(&self, frame: &FrameHeader) -> bool {
        let need = room(frame);
        if need > SMALL + RING_HEADER + 7 {
            return self.has_half(need);
        }
        // Whoever owns an interface can make any number of notifications.
        !(self.slot.kind().floods() || matches!(self.slot, Slot::BpfNetlink | Slot::BpfXdp)) || self.has_credit(frame)
    }

    /// Whether an event of a kind that floods may use the ring for its frame. The ring is queried only when the last
    /// granted credit is used up: a query takes 50 ns, about as much as its answer is worth.
    #[inline(always)]
    fn has_credit(&self, frame: &FrameHeader) -> bool {
        let need = room(frame);
        let state = self.state.value();
        let credit = state.credit;
        if credit >= need {
            state.credit = credit - need;
            return true;
        }
        let fill = self.fill();
        // Lookups may be the most frequent kind, and any process can make them.
        let limit = if matches!(self.slot, Slot::Lookup) { konst!(OpenLimit) / 2 } else { konst!(OpenLimit) };
        if fill + need > limit {
            return false;
        }
        let left = limit - fill;
        let grant = if left < konst!(Credit) { left } else { konst!(Credit) };
        state.credit = grant.saturating_sub(need);
        true
    }

    /// Copies a frame into the ring. The kernel wakes a reader that waits ([the reader](../../crates/live/src/ring.rs) decides
    /// when). Large frames also wake one that polls, once the ring fills up.
    #[inline(always)]
    fn output(&self, frame: &mut FrameHeader, len: u64) -> bool {
        let urgent = room(frame) > SMALL && self.fill() > konst!(RingSize) / URGENT;
        let flags = if urgent { BPF_RB_FORCE_WAKEUP } else { 0 };
        // SAFETY: the helper takes a ring buffer. The verifier checks that `frame` has `len` bytes.
        unsafe { bpf_ringbuf_output(self.ring(), (&raw mut *frame).cast(), len, u64::from(flags)) == 0 }
    }

    /// Whether the ring has room for `need` bytes outside of the reserve for small frames. Each CPU may exceed the limit by
    /// one frame.
    #[inline(always)]
    fn has_half(&self, need: u64) -> bool {
        self.fill() + need <= konst!(RingSize) / 2
    }

    /// Bytes of the ring that are in use.
    #[inline(always)]
    fn fill(&self) -> u64 {
        // SAFETY: the helper takes a ring buffer.
        unsafe { bpf_ringbuf_query(self.ring(), u64::from(BPF_RB_AVAIL_DATA)) }
    }

    /// The ring of this CPU.
    #[inline(always)]
    fn ring(&self) -> *mut c_void {
        let first = (&raw const RING).cast_mut().cast();
        if konst!(RingMask) == 0 {
            return first;
        }
        let ring = RINGS.get(self.cpu & konst!(RingMask) as u32);
        if ring.is_null() { first } else { ring }
    }
}

/// Whether a frame is sent only for the process table. The flag is read from memory, so that the verifier need not
/// follow both answers all the way from the capture filter.
#[inline(always)]
pub fn is_bookkeeping(frame: &FrameHeader) -> bool {
    get(&frame.flags) & flag::BOOKKEEPING != 0
}

/// Copies a header word by word.
#[inline(always)]
pub fn copy_header(to: &mut FrameHeader, from: &FrameHeader) {
    copy_words::<{ size_of::<FrameHeader>() / 8 }>((&raw mut *to).cast(), (&raw const *from).cast());
}

/// Copies words between map values.
#[inline(always)]
pub fn copy_words<const WORDS: usize>(to: *mut u64, from: *const u64) {
    let mut i = 0;
    while i < WORDS {
        set(at(to, i as u64), get(at(from.cast_mut(), i as u64)));
        i += 1;
    }
}

/// Writes zeros. The compiler would call a function.
#[inline(always)]
pub fn zero_words<const WORDS: usize>(to: *mut u64) {
    let mut i = 0;
    while i < WORDS {
        set(at(to, i as u64), 0);
        i += 1;
    }
}

/// Whether the process table needs an event that the capture filter rejects: one of a process that starts, changes or
/// ends. A failed exec changes nothing.
const fn keeps_the_table(slot: Slot) -> bool {
    slot.kind().keeps_the_table() && matches!(slot.shows(), Shows::Most)
}

/// Upper limit of the bytes of the ring that a frame takes. The length is read back from memory: the verifier of 6.12
/// forgets the bounds of a number when a sum that contains it is compared.
#[inline(always)]
fn room(frame: &FrameHeader) -> u64 {
    u64::from(get(&frame.len)) + RING_HEADER + 7
}
