//! Which helpers a program calls, by its instructions.
//!
//! A call of a helper keeps its form after the verifier: code `0x85`, source register 0, and as immediate the address of the
//! helper less that of `__bpf_call_base` ([`BPF_CALL_IMM`](https://elixir.bootlin.com/linux/v6.12/source/include/linux/filter.h)).
//! `bpf_prog.insnsi` has the instructions of all functions of the program, even if it is compiled. A tail call is an instruction of
//! its own.

use crate::functions::{function, repeated};
use crate::maps::{per_cpu, this_element};
use crate::read::{at, at_most, get, offset, rd_field, read_kernel, set};
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use tracetui_shared::helper::{FUNCTIONS, TAIL_CALL};
use tracetui_shared::offsets::field;
use tracetui_shared::record::bpf::scan;

/// Bytes of a `struct bpf_insn` (include/uapi/linux/bpf.h).
const INSN: u64 = 8;
/// Instructions that are read at once.
const CHUNK: usize = 64;
/// Instructions that [`scan_piece`] examines, its calls by [`scan_pieces`], and the calls of that. All together examine as many
/// instructions as a program may have (`BPF_COMPLEXITY_LIMIT_INSNS`, include/linux/bpf.h, 1 million). The verifier walks through
/// the sum of the three. From 6.9 on `may_goto` permits more of each, and the verifier walks through few.
const PIECE: u32 = 16;
const PIECES: u32 = 256;
const CALLS: u32 = 256;

/// The state of a scan.
#[repr(C)]
struct Scan {
    /// Address of the next chunk.
    at: u64,
    /// The remaining instructions, including this chunk.
    left: u64,
    /// The next instruction of the chunk.
    next: u64,
    /// Instructions in the chunk.
    filled: u64,
    /// Bits of [`HELPERS`](tracetui_shared::helper::HELPERS).
    found: u64,
    /// Whether it continues with other programs.
    continues: u64,
    chunk: [u64; CHUNK],
}

per_cpu! {
    /// The scan of each CPU.
    SCANS: Scan;
}

/// The bit of the helper that a call with an immediate calls. User space writes them once it has read the addresses, and
/// [`KNOWN`] with them.
#[map]
static HELPER_CALLS: HashMap<u32, u64> = HashMap::with_max_entries(FUNCTIONS as u32 + 1, 0);

/// The immediate of no helper.
const KNOWN: u32 = 0;

/// Examines the instructions of a program: the bits of the helpers that it calls, and one of [`scan`].
#[inline(always)]
pub fn helpers(prog: u64) -> (u64, u8) {
    let Some(s) = this_element(&SCANS) else { return (0, scan::NONE) };
    if HELPER_CALLS.get_ptr(KNOWN).is_none() {
        return (0, scan::NO_ADDRESSES);
    }
    set(&mut s.at, prog.wrapping_add(offset(field::ProgInsns)));
    set(&mut s.left, u64::from(rd_field::<u32>(prog, field::ProgLen)));
    set(&mut s.found, 0);
    set(&mut s.continues, 0);
    set(&mut s.next, 0);
    set(&mut s.filled, 0);
    scan_all();
    let examined = match (get(&s.left), get(&s.continues)) {
        (0, 0) => scan::WHOLE,
        (0, _) => scan::TAIL_CALL,
        _ => scan::CUT,
    };
    (get(&s.found), examined)
}

function! {
    /// Examines instructions until none is left.
    scan_all: repeated(CALLS, || scan_pieces() != 0)
}

function! {
    /// Examines some instructions; 1 at the end.
    scan_pieces: repeated(PIECES, || scan_piece() != 0)
}

function! {
    /// Examines a few instructions; 1 at the end.
    scan_piece: this_element(&SCANS).is_none_or(|s| repeated(PIECE, || !step(s)))
}

/// Examines an instruction; `false` at the end. All state is in memory, so that the iterations look alike to the verifier.
#[inline(always)]
fn step(s: &mut Scan) -> bool {
    let next = get(&s.next);
    if next == get(&s.filled) {
        return fill(s);
    }
    let insn: u64 = get(at(s.chunk.as_mut_ptr(), next & (CHUNK as u64 - 1)));
    set(&mut s.next, next + 1);
    let left = get(&s.left);
    set(&mut s.left, left - 1);
    // The code and the registers: a call of a helper.
    if insn & 0xffff == 0x85
        && let Some(bit) = HELPER_CALLS.get_ptr((insn >> 32) as u32)
    {
        set(&mut s.found, get(&s.found) | get(bit));
    }
    if insn as u8 == TAIL_CALL {
        set(&mut s.continues, 1);
    }
    true
}

/// Reads the next chunk; `false` at the end, or if it cannot be read.
#[inline(always)]
fn fill(s: &mut Scan) -> bool {
    let (begin, left) = (get(&s.at), get(&s.left));
    let bytes = at_most(left * INSN, CHUNK as u64 * INSN);
    if left == 0 || read_kernel(&mut s.chunk, bytes, begin) != 0 {
        return false;
    }
    set(&mut s.at, begin.wrapping_add(bytes));
    set(&mut s.next, 0);
    set(&mut s.filled, bytes / INSN);
    true
}
