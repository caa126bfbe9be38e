//! Links that a BPF program made (`bpf_sys_bpf`). They are found in the caller's descriptor table when bpf(BPF_PROG_TEST_RUN) ends.
//!
//! The kernel numbers links cyclically
//! ([`bpf_link_alloc_id`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/syscall.c)), so a higher number means a
//! newer link. [`LINKS`] makes each of them an event only once, whichever call reports it.

use super::object::{is_program, private_of, program_of_link};
use crate::emit::{Event, Frame};
use crate::files::{Anonymous, at_slot, is_anonymous};
use crate::maps::{per_cpu, this_cpu};
use crate::read::{get, konst, ld, may_turn, rd_field, set};
use crate::task::{Who, current};
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::field;
use tracetui_shared::record::bpf::{LINKS_KNOWN, MadeRecord};

/// The id of the link that was last made for each remainder of ids by [`LINKS_KNOWN`], then an id up to which links are not new.
/// Until user space has written that id, none are.
#[map]
static LINKS: Array<u32> = Array::with_max_entries(LINKS_KNOWN + 1, 0);

/// Descriptors that are examined in a table. Before 6.9, a program of functions examines only [`TURNS`].
const MOST: u64 = 65_536;
const TURNS: u32 = 64;

/// A descriptor table, and how far it was examined.
#[repr(C)]
struct Table {
    slots: u64,
    next: u64,
    end: u64,
    /// The file that is examined.
    file: u64,
    /// One more than the first descriptor that has a new link; 0 without one.
    found: u64,
    /// Whether `bpf_tp` examines it, and not `sys_exit_btf`.
    is_tp: u64,
}

per_cpu! {
    /// The table of each CPU.
    TABLES: Table;
    /// Records of further links.
    MADE_SCRATCH: Frame<MadeRecord>;
}

/// The first descriptor of the current task that has a new link. All new links are noted, so none is reported later. The others are
/// reported here, without their places, because the verifier does not accept a loop around the code that finds them. `FURTHER`: the
/// program may call functions; otherwise the others are not reported.
#[inline(always)]
pub(super) unsafe fn made<const FURTHER: bool>(task: u64, is_tp: bool) -> Option<u64> {
    let t = table()?;
    // SAFETY: `task` is the current task, a BTF pointer where the kernel has them. `t` is an element of a map.
    unsafe {
        let table: u64 = ld(ld(task, field::TaskFiles), field::FilesFdt);
        let end = u64::from(ld::<u32>(table, field::FdtableMaxFds));
        set(&raw mut (*t).slots, ld(table, field::FdtableFd));
        set(&raw mut (*t).next, 0);
        set(&raw mut (*t).end, if end < MOST { end } else { MOST });
        set(&raw mut (*t).found, 0);
        set(&raw mut (*t).is_tp, u64::from(is_tp));
        if FURTHER {
            links_further();
        } else {
            let mut turn = 0u32;
            loop {
                may_turn!(turn, TURNS);
                if !step::<false>(t) {
                    break;
                }
            }
        }
        get(&raw const (*t).found).checked_sub(1)
    }
}

/// Notes the link of a file, if it has one. Returns whether it is new.
#[inline(always)]
pub(super) unsafe fn note(file: u64) -> bool {
    // SAFETY: kernel addresses are read by helper, which zero-fills on a fault.
    unsafe {
        let link = private_of(file);
        let id: u32 = rd_field(link, field::LinkId);
        let known = LINKS.get_ptr_mut(id % LINKS_KNOWN);
        let (Some(known), Some(old)) = (known, LINKS.get_ptr_mut(LINKS_KNOWN)) else { return false };
        let limit = get(old);
        if link == 0 || get(known) == id || !is_after(id, limit) {
            return false;
        }
        if !is_anonymous(file, &Anonymous::BPF_LINK) || !is_program(program_of_link(link)) {
            return false;
        }
        set(known, id);
        // The half of the ids that are kept suffices, even if CPUs overtake each other here.
        let behind = id.wrapping_sub(LINKS_KNOWN / 2);
        if limit != 0 && is_after(behind, limit) {
            set(old, behind);
        }
        limit != 0
    }
}

/// Whether an id was given after another one. There are 2³¹.
#[inline(always)]
fn is_after(id: u32, other: u32) -> bool {
    (id.wrapping_sub(other) << 1) as i32 > 0
}

#[inline(always)]
fn table() -> Option<*mut Table> {
    TABLES.get_ptr_mut(this_cpu()?.0)
}

/// [`note`] for the table's file: 1 if its link is new.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.further")]
#[inline(never)]
extern "C" fn link_is_new() -> i32 {
    let Some(t) = table() else { return 0 };
    // SAFETY: `t` is an element of a map.
    unsafe {
        let file = get(&raw const (*t).file);
        if !note(file) {
            return 0;
        }
        if get(&raw const (*t).found) != 0 {
            let link = private_of(file);
            if get(&raw const (*t).is_tp) == 0 { report(Slot::BpfMade, link) } else { report(Slot::BpfMadeTp, link) }
        }
    }
    1
}

/// Reports a further link of a run.
#[inline(always)]
unsafe fn report(slot: Slot, link: u64) {
    // SAFETY: the current task is a BTF pointer where the kernel has them. `frame` is this CPU's element of a map that only the program
    // that fills the slot uses. Kernel addresses are read by helper.
    unsafe {
        let who = Who::of(current());
        let Some(event) = Event::request(slot, &who) else { return };
        let Some(frame) = event.place(&MADE_SCRATCH) else { return };
        event.head(&raw mut (*frame).header, &who);
        let aux: u64 = rd_field(program_of_link(link), field::ProgAux);
        let (link, link_type) = (rd_field(link, field::LinkId), rd_field(link, field::LinkType));
        set(&raw mut (*frame).record, MadeRecord { link, link_type, program: rd_field(aux, field::AuxId), zero: 0 });
        const LEN: u64 = size_of::<Frame<MadeRecord>>() as u64;
        event.send(frame.cast(), LEN, LEN);
    }
}

/// Examines descriptors. A global function, which the verifier checks once (see `further.rs`).
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.further")]
#[inline(never)]
pub extern "C" fn links_further() -> i32 {
    let mut call = 0;
    // SAFETY: `may_goto` leaves the loop.
    unsafe {
        loop {
            may_turn!(call, MOST as u32 / TURNS);
            if links_piece() != 0 {
                break;
            }
        }
    }
    0
}

/// Examines some descriptors; 1 at the end.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.further")]
#[inline(never)]
extern "C" fn links_piece() -> i32 {
    let Some(t) = table() else { return 1 };
    let mut turn = 0u32;
    // SAFETY: `may_goto` leaves the loop. `t` is an element of a map.
    unsafe {
        loop {
            may_turn!(turn, TURNS);
            if !step::<true>(t) {
                return 1;
            }
        }
    }
    0
}

/// Examines a descriptor; `false` at the end. All state is in memory, so that the iterations look alike to
/// the verifier, which checks [`link_is_new`] once and not in each of them.
#[inline(always)]
unsafe fn step<const FURTHER: bool>(t: *mut Table) -> bool {
    // SAFETY: `t` is an element of a map. Kernel addresses are read by helper.
    unsafe {
        let next = get(&raw const (*t).next);
        if next >= get(&raw const (*t).end) {
            return false;
        }
        set(&raw mut (*t).next, next + 1);
        let file = at_slot(get(&raw const (*t).slots).wrapping_add(next << 3));
        set(&raw mut (*t).file, file);
        let is_new = file != 0 && if FURTHER { link_is_new() != 0 } else { note(file) };
        if is_new && get(&raw const (*t).found) == 0 {
            set(&raw mut (*t).found, next + 1);
        }
        true
    }
}

/// `BPF_PROG_TYPE_SYSCALL` (include/uapi/linux/bpf.h, 5.14+).
const SYSCALL: u32 = 31;

/// Whether the kernel has programs that can make links. It got the links of perf events one version later.
#[inline(always)]
pub(super) fn can_make() -> bool {
    konst!(LinkTypePerf) != 0
}

/// Whether the file may be that of a program that can make links. It may have closed the file.
#[inline(always)]
pub(super) unsafe fn may_make(file: u64) -> bool {
    // SAFETY: kernel addresses are read by helper, which zero-fills on a fault.
    unsafe {
        let kind = rd_field::<u32>(private_of(file), field::ProgType);
        file == 0 || kind == SYSCALL
    }
}
