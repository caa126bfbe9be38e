//! From an event to the ring: own or not, wanted or not, numbered, and sent or counted as lost.
//!
//! An event takes its number before the ring is asked for room, so a number that never arrives is a lost event. The
//! counters take plain increments: a program never runs twice at once on one CPU, and each slot belongs to one program.
//! Every event that begins is counted as met, and once more where it went: sent, refused by the ring, filtered, own, or
//! dropped for a [`Reason`].
//!
//! # Room
//! Who is short of room is decided by size, so that what is large cannot push out what is small:
//!
//! | what | may have |
//! |---|---|
//! | a frame of more than [`SMALL`] bytes, a continuation | half of the ring |
//! | an event of a kind that floods ([`floods`](tracetui_shared::kind::Kind::floods)) | 7/8 of it ([`Const::OpenLimit`]) |
//! | any other fact | all of it |
//!
//! A program that makes large frames asks first ([`Event::ask_room`]), and where it is refused makes a small one.
//!
//! `credit`, `unwoken` and `woken_ns` of [`CpuState`] may be shared by programs that preempt each other (7.0+); a lost
//! update there costs a question or a wake-up, never an event.

use crate::call::Call;
use crate::capture;
use crate::files::is_fresh;
use crate::maps::{RING, this_cpu};
use crate::read::{at_most, get, konst, set};
use crate::task::{self, Who};
use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_ringbuf_output, bpf_ringbuf_query};
use aya_ebpf::maps::Array;
use tracetui_shared::counters::{CpuState, Reason, SlotCounters};
use tracetui_shared::header::{FrameHeader, flag};
use tracetui_shared::kind::{Shows, Slot};
use tracetui_shared::offsets::{Const, WAKE_NS};
use tracetui_shared::time::BootNanos;

/// Bytes that the ring adds to a record (`BPF_RINGBUF_HDR_SZ`).
const RING_HEADER: u64 = 8;

/// Bytes of the largest frame that may use the reserve, the half of the ring that is kept for small facts.
pub const SMALL: u64 = 2048;

/// A header and a record of fixed length.
#[repr(C)]
pub struct Frame<T> {
    /// The head.
    pub header: FrameHeader,
    /// The rest.
    pub record: T,
}

/// An event that has its number.
pub struct Event {
    state: *mut CpuState,
    counters: *mut SlotCounters,
    time: u64,
    cpu: u32,
    slot: Slot,
    seq: u64,
    /// The capture filter rejected it: it is sent for the process table only.
    pub bookkeeping: bool,
    /// Its frame may be larger than [`SMALL`].
    pub large: bool,
}

/// Counts a new process for which a captured tree had no room.
#[inline(always)]
pub unsafe fn count_tree_full() {
    let Some((_, state)) = this_cpu() else { return };
    // SAFETY: `state` is this CPU's element of the map.
    unsafe { (*state).tree_full += 1 };
}

/// Counts an event that is let go instead of [`Event::begin`]: met, and own, filtered or dropped. By a program that fills
/// the slot.
#[inline(always)]
pub unsafe fn count_dropped(slot: Slot, who: &Who, reason: Reason) {
    let Some((_, state)) = this_cpu() else { return };
    // SAFETY: `state` is this CPU's element of the map.
    unsafe {
        let counters = slot_of(state, slot);
        (*counters).met += 1;
        if u64::from(who.tgid) == konst(Const::SelfTgid) {
            (*counters).own += 1;
        } else if !capture::wanted(slot.kind(), who, false) {
            (*counters).filtered += 1;
        } else {
            (*counters).dropped[reason as usize] += 1;
        }
    }
}

/// A slot's counters of one CPU.
#[inline(always)]
unsafe fn slot_of(state: *mut CpuState, slot: Slot) -> *mut SlotCounters {
    // SAFETY: an element of the map, which has an entry for each slot.
    unsafe { (&raw mut (*state).slots).cast::<SlotCounters>().add(slot as usize) }
}

impl Event {
    /// Counts an event and gives it its number. `None` when it is not to be sent.
    #[inline(always)]
    pub unsafe fn begin(slot: Slot, who: &Who, failed: bool) -> Option<Event> {
        let (cpu, state) = this_cpu()?;
        let kind = slot.kind();
        // SAFETY: `state` is this CPU's element of the map.
        unsafe {
            let counters = slot_of(state, slot);
            (*counters).met += 1;
            if u64::from(who.tgid) == konst(Const::SelfTgid) {
                (*counters).own += 1;
                return None;
            }
            let bookkeeping = !capture::wanted(kind, who, failed);
            let seq;
            if !bookkeeping {
                seq = (*counters).wanted;
                (*counters).wanted = seq + 1;
            } else if keeps_the_table(slot) || ends_a_request(slot) && capture::wanted(kind, who, true) {
                seq = (*counters).bookkeeping;
                (*counters).bookkeeping = seq + 1;
            } else {
                (*counters).filtered += 1;
                return None;
            }
            Some(Event { state, counters, time: bpf_ktime_get_boot_ns(), cpu, slot, seq, bookkeeping, large: false })
        }
    }

    /// [`begin`](Self::begin) for a system call. One that seccomp trapped was never made, and is dropped.
    ///
    /// A process can make a call that succeeds look like that: by a filter that allows all, a SIGSYS sent in the middle of the
    /// call (`F_SETSIG`), and a result that equals the call's number. Then the result is a new descriptor.
    #[inline(always)]
    pub unsafe fn of_call(slot: Slot, who: &Who, call: &Call) -> Option<Event> {
        // SAFETY: the program fills the slot.
        unsafe {
            if call.trapped && !is_fresh(call.task, call.ret) {
                count_dropped(slot, who, Reason::Trapped);
                return None;
            }
            Event::begin(slot, who, call.ret < 0)
        }
    }

    /// Counts a request, which is reported for the event that it leads to. `None` when it is not to be sent. Whether that event
    /// fails is not known yet.
    #[inline(always)]
    pub unsafe fn request(slot: Slot, who: &Who) -> Option<Event> {
        let (cpu, state) = this_cpu()?;
        // SAFETY: `state` is this CPU's element of the map.
        unsafe {
            let counters = slot_of(state, slot);
            (*counters).met += 1;
            if u64::from(who.tgid) == konst(Const::SelfTgid) {
                (*counters).own += 1;
                return None;
            }
            if !capture::wanted(slot.kind(), who, true) {
                (*counters).filtered += 1;
                return None;
            }
            let seq = (*counters).bookkeeping;
            (*counters).bookkeeping = seq + 1;
            let time = bpf_ktime_get_boot_ns();
            Some(Event { state, counters, time, cpu, slot, seq, bookkeeping: true, large: false })
        }
    }

    /// Where the program puts the record together: this CPU's element of its own map. Where that is missing, the event
    /// is dropped.
    #[inline(always)]
    pub unsafe fn place<T>(&self, scratch: &Array<T>) -> Option<*mut T> {
        let place = scratch.get_ptr_mut(self.cpu);
        if place.is_none() {
            // SAFETY: this program's counters.
            unsafe { self.give_back(Reason::NoPlace) };
        }
        place
    }

    /// Gives the event's number back, so that it is no gap, and counts the event as dropped.
    #[inline(always)]
    unsafe fn give_back(&self, reason: Reason) {
        // SAFETY: `counters` is in this CPU's element of the map. The next event takes the number: none was taken since.
        unsafe {
            if self.bookkeeping {
                (*self.counters).bookkeeping = self.seq;
            } else {
                (*self.counters).wanted = self.seq;
            }
            (*self.counters).dropped[reason as usize] += 1;
        }
    }

    /// Asks whether a frame of `most` bytes may be sent: `large` says it from now on.
    #[inline(always)]
    pub unsafe fn ask_room(&mut self, most: u64) {
        // SAFETY: the helper takes the map.
        self.large = unsafe { has_half(most) };
    }

    /// Counts the event as cut short for want of room.
    #[inline(always)]
    pub unsafe fn count_cut_short(&self) {
        // SAFETY: `counters` is in this CPU's element of the map.
        unsafe { (*self.counters).cut_short += 1 };
    }

    /// Writes the header, all but its length.
    #[inline(always)]
    pub unsafe fn head(&self, header: *mut FrameHeader, who: &Who) {
        // SAFETY: `header` is ours (map value or stack).
        unsafe {
            self.stamp(header);
            task::fill(header, who, self.cpu, self.time);
        }
    }

    /// Writes what is the event's own into a header that tells already who did it.
    #[inline(always)]
    pub unsafe fn stamp(&self, header: *mut FrameHeader) {
        // SAFETY: as in `head`.
        unsafe {
            (*header).kind = self.slot.kind() as u16;
            (*header).slot = self.slot as u16;
            let request = if self.slot.is_request() { flag::REQUEST } else { 0 };
            (*header).flags = if self.bookkeeping { flag::BOOKKEEPING | request } else { 0 };
            (*header).seq = self.seq;
            (*header).cpu = self.cpu;
            (*header).time = BootNanos(self.time);
        }
    }

    /// Sends `len` bytes, or counts the event as lost. `most` is what the frame has room for.
    #[inline(always)]
    pub unsafe fn send(&self, frame: *mut FrameHeader, len: u64, most: u64) -> bool {
        let len = at_most(len, most);
        // SAFETY: `frame` has `len` bytes, which the verifier checks.
        unsafe {
            (*frame).len = len as u32;
            let sent = self.has_room(frame) && self.output(frame, len);
            match (self.bookkeeping, sent) {
                (false, true) => (*self.counters).sent += 1,
                (false, false) => (*self.counters).lost_ring += 1,
                (true, true) => (*self.counters).sent_bookkeeping += 1,
                (true, false) => (*self.counters).lost_bookkeeping += 1,
            }
            sent
        }
    }

    /// Sends a continuation of this event, if there is room for it.
    #[inline(always)]
    pub unsafe fn send_more(&self, frame: *mut FrameHeader, len: u64, most: u64) -> bool {
        let len = at_most(len, most);
        // SAFETY: as in `send`.
        unsafe {
            (*frame).len = len as u32;
            (*frame).flags |= flag::CONTINUES;
            let sent = has_half(room(frame)) && self.output(frame, len);
            if sent {
                (*self.counters).sent_chunks += 1;
            }
            sent
        }
    }

    /// Sends a continuation that says that no more comes: a small fact. Without it the event waits for the next one of
    /// this CPU.
    #[inline(always)]
    pub unsafe fn send_end(&self, frame: *mut FrameHeader, len: u64) -> bool {
        // SAFETY: as in `send`.
        unsafe {
            (*frame).len = len as u32;
            (*frame).flags |= flag::CONTINUES;
            let sent = self.output(frame, len);
            if sent {
                (*self.counters).sent_chunks += 1;
            }
            sent
        }
    }

    /// Whether a first frame may be sent, by its size and its kind.
    #[inline(always)]
    unsafe fn has_room(&self, frame: *const FrameHeader) -> bool {
        // SAFETY: the frame is ours.
        unsafe {
            let need = room(frame);
            if need > SMALL + RING_HEADER + 7 {
                return self.large || has_half(need);
            }
            !self.slot.kind().floods() || self.has_credit(frame)
        }
    }

    /// Whether an event of a kind that floods may still have `len` bytes of the ring. The ring is asked only when what it
    /// granted last is used up, since the question costs about as much as the answer is worth (50 ns).
    #[inline(always)]
    unsafe fn has_credit(&self, frame: *const FrameHeader) -> bool {
        // SAFETY: `state` is this CPU's element of the map.
        unsafe {
            let need = room(frame);
            let credit = (*self.state).credit;
            if credit >= need {
                (*self.state).credit = credit - need;
                return true;
            }
            let fill = bpf_ringbuf_query(ring(), u64::from(BPF_RB_AVAIL_DATA));
            let limit = konst(Const::OpenLimit);
            if fill + need > limit {
                return false;
            }
            let left = limit - fill;
            let grant = if left < konst(Const::Credit) { left } else { konst(Const::Credit) };
            (*self.state).credit = grant.saturating_sub(need);
            true
        }
    }

    /// Copies into the ring, and wakes the consumer when it was not woken from this CPU lately. An event on an idle
    /// machine wakes at once; in a storm wake-ups are rare.
    #[inline(always)]
    unsafe fn output(&self, frame: *mut FrameHeader, len: u64) -> bool {
        // SAFETY: `state` is this CPU's element of the map; the verifier checks `len` bytes at `frame`.
        unsafe {
            let unwoken = (*self.state).unwoken + room(frame);
            let wake = self.time.wrapping_sub((*self.state).woken_ns) >= WAKE_NS || unwoken >= konst(Const::WakeBytes);
            let flags = if wake { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
            if bpf_ringbuf_output(ring(), frame.cast(), len, u64::from(flags)) != 0 {
                return false;
            }
            if wake {
                (*self.state).unwoken = 0;
                (*self.state).woken_ns = self.time;
            } else {
                (*self.state).unwoken = unwoken;
            }
            true
        }
    }
}

/// Copies a header word by word.
#[inline(always)]
pub unsafe fn copy_header(to: *mut FrameHeader, from: *const FrameHeader) {
    let mut i = 0;
    while i < size_of::<FrameHeader>() / 8 {
        // SAFETY: both are headers in map values of ours; a header is a whole number of words.
        unsafe { set(to.cast::<u64>().add(i), get(from.cast::<u64>().add(i))) };
        i += 1;
    }
}

/// Whether the process table needs an event that nobody wants: those of processes that begin, change or end. A failed
/// exec changes nothing.
const fn keeps_the_table(slot: Slot) -> bool {
    slot.kind().keeps_the_table() && matches!(slot.shows(), Shows::Most)
}

/// Whether an event of this slot is the end of a request. A request is reported before it is known whether it fails, so when only
/// that keeps its end from being wanted, the end is reported too.
const fn ends_a_request(slot: Slot) -> bool {
    matches!(slot, Slot::OpenUring | Slot::OpenUringTp | Slot::OpenUringQuiet)
}

/// Bytes of the ring that a frame takes, at most. Its length is read back from memory: 6.12's verifier forgets the bounds
/// of a number when a sum made of it is compared.
#[inline(always)]
unsafe fn room(frame: *const FrameHeader) -> u64 {
    // SAFETY: the frame is ours.
    u64::from(unsafe { get(&raw const (*frame).len) }) + RING_HEADER + 7
}

/// Whether the ring has room for `need` bytes without the reserve for small facts. Each CPU may overdraw by one frame.
#[inline(always)]
unsafe fn has_half(need: u64) -> bool {
    // SAFETY: the helper takes the map.
    let fill = unsafe { bpf_ringbuf_query(ring(), u64::from(BPF_RB_AVAIL_DATA)) };
    fill + need <= konst(Const::RingSize) / 2
}

fn ring() -> *mut core::ffi::c_void {
    (&raw const RING).cast_mut().cast()
}
