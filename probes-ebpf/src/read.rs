//! Reads of kernel and user memory, and the constants that user space settled before the load.
//!
//! Three ways lead to a kernel field; which one is a constant ([`Const::Cast`], [`Const::TypedTask`]), and since constants
//! stand in frozen read-only data, the ways not taken are dead code to the verifier.
//!
//! - 6.2 and later: [`typed_as`] makes a typed pointer of any address (`bpf_rdonly_cast`, a move), and a field of one is a
//!   plain load, about a nanosecond, 0 where it faults. A pointer loaded from one is again of that sort. The arguments of
//!   BTF tracepoints are cast too: the verifier *trusts* them, and to find out whether a pointer loaded from a trusted one
//!   is trusted it searches all of the kernel's BTF by name, a millisecond each time.
//! - 5.11 to 6.1: what comes from a BTF tracepoint's arguments or `bpf_get_current_task_btf` is loaded plainly; anything
//!   else is read by helper, 25–50 ns a call.
//! - before: everything is read by helper.
//!
//! In none of them does a null pointer need a test: it reads as zeros.

use crate::arch::{on_arm, untagged};
use aya_ebpf::EbpfContext;
use core::mem::{MaybeUninit, size_of, transmute};
use core::ptr::{read_volatile, write_volatile};
#[cfg(target_arch = "bpf")]
use tracetui_shared::offsets::CAST_PLACEHOLDER;
use tracetui_shared::offsets::{ABSENT, CONST_COUNT, Const, FIELD_COUNT, Field, TYPE_COUNT, Type};

/// Offsets of kernel fields, indexed by [`Field`]; written by user space before the load.
#[unsafe(no_mangle)]
static OFFSETS: [u32; FIELD_COUNT] = [ABSENT; FIELD_COUNT];

/// Constants, indexed by [`Const`]; written by user space before the load.
#[unsafe(no_mangle)]
static CONSTS: [u32; CONST_COUNT] = [0; CONST_COUNT];

/// BTF type ids, indexed by [`Type`]; written by user space before the load.
#[unsafe(no_mangle)]
static TYPES: [u32; TYPE_COUNT] = [0; TYPE_COUNT];

/// Where a field stands in its structure.
#[inline(always)]
pub fn offset(field: Field) -> u64 {
    // SAFETY: the index is below FIELD_COUNT by construction. Volatile, or the compiler would take the initial value.
    u64::from(unsafe { read_volatile((&raw const OFFSETS).cast::<u32>().add(field as usize)) })
}

/// Refuses the build where a field is read with another number of bytes than the table of offsets states. The compiler removes
/// it where the number is right; where it is wrong the assembler finds no such instruction.
#[inline(always)]
fn check_width<T>(field: Field) {
    #[cfg(target_arch = "bpf")]
    if !field.width().reads(size_of::<T>() as u32) {
        // SAFETY: never assembled.
        unsafe { core::arch::asm!("a field is read with another width than shared/src/offsets.rs states") };
    }
    #[cfg(not(target_arch = "bpf"))]
    let _ = field;
}

/// Whether the kernel has a field.
#[inline(always)]
pub fn has(field: Field) -> bool {
    offset(field) != u64::from(ABSENT)
}

/// A constant that user space settled.
#[inline(always)]
pub fn konst(constant: Const) -> u64 {
    // SAFETY: as in `offset`.
    u64::from(unsafe { read_volatile((&raw const CONSTS).cast::<u32>().add(constant as usize)) })
}

/// Whether any address can be made a typed pointer.
#[inline(always)]
pub fn casts() -> bool {
    konst(Const::Cast) != 0
}

/// A typed pointer to a structure at any address, where [`casts`]; else what was given.
#[inline(always)]
pub fn typed_as(address: u64, structure: Type) -> u64 {
    if !casts() {
        return address;
    }
    // SAFETY: as in `offset`.
    let id = u64::from(unsafe { read_volatile((&raw const TYPES).cast::<u32>().add(structure as usize)) });
    #[cfg(target_arch = "bpf")]
    // SAFETY: user space makes this a call of `bpf_rdonly_cast(address, id)`, which touches what a call may touch.
    unsafe {
        let pointer: u64;
        core::arch::asm!(
            "call {placeholder}",
            placeholder = const CAST_PLACEHOLDER,
            inlateout("r1") address => _,
            inlateout("r2") id => _,
            lateout("r0") pointer,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
            options(pure, nomem, nostack),
        );
        pointer
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        let _ = id;
        address
    }
}

/// A field of a structure at any address.
#[inline(always)]
pub unsafe fn any<T: Copy>(address: u64, structure: Type, at: u64) -> T {
    // SAFETY: a cast pointer may be loaded from at any place in its structure; a helper fails softly.
    unsafe { if casts() { typed(typed_as(address, structure), at) } else { rd(address.wrapping_add(at)) } }
}

/// A volatile load from a map value or the stack: keeps the verifier from learning values across loop turns, so that
/// the turns look alike to it and are checked once.
#[inline(always)]
pub unsafe fn get<T: Copy>(p: *const T) -> T {
    // SAFETY: the caller's pointer is into a map value or the stack.
    unsafe { read_volatile(p) }
}

/// The store that goes with [`get`].
#[inline(always)]
pub unsafe fn set<T: Copy>(p: *mut T, value: T) {
    // SAFETY: as in `get`.
    unsafe { write_volatile(p, value) }
}

/// A plain load at a constant distance from a typed pointer.
#[inline(always)]
pub unsafe fn typed<T: Copy>(base: u64, at: u64) -> T {
    // SAFETY: the verifier checks that `base` is a typed pointer and that `at` stays inside of its structure; a fault
    // in the load yields 0 (`BPF_PROBE_MEM`).
    unsafe { read_volatile((base as *const u8).wrapping_add(at as usize).cast()) }
}

/// A field of a structure behind a typed pointer: a load, or on kernels whose current task is untyped (before 5.11) a
/// read by helper.
#[inline(always)]
pub unsafe fn ld<T: Copy>(base: u64, field: Field) -> T {
    check_width::<T>(field);
    // SAFETY: see `ld_at`.
    unsafe { ld_at(base, offset(field)) }
}

/// [`ld`] at a distance of several fields.
#[inline(always)]
pub unsafe fn ld_at<T: Copy>(base: u64, at: u64) -> T {
    // SAFETY: the caller's pointer is typed, which the verifier checks where it matters.
    unsafe { if konst(Const::TypedTask) != 0 { typed(base, at) } else { rd(base.wrapping_add(at)) } }
}

/// A value at any kernel address; zeros when it cannot be read.
#[inline(always)]
pub unsafe fn rd<T: Copy>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes every byte of `value`, zeros when it faults (so its result needs no test, which would
    // double the verifier's paths), and T is a plain number or an array of them.
    unsafe {
        read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u64, address);
        value.assume_init()
    }
}

/// A field behind any kernel address; zeros when it cannot be read or the kernel has no such field.
#[inline(always)]
pub unsafe fn rd_field<T: Copy>(base: u64, field: Field) -> T {
    check_width::<T>(field);
    // SAFETY: see `rd`; zeros are a value of every T in use.
    unsafe { if has(field) { rd(base.wrapping_add(offset(field))) } else { MaybeUninit::zeroed().assume_init() } }
}

/// A length that the verifier knows to be at most `most`; beyond it, `most`. The compiler must not see through it: it
/// would drop the test that it can prove useless, which older verifiers cannot prove.
#[inline(always)]
pub fn at_most(length: u64, most: u64) -> u64 {
    let length = opaque(length);
    if length > most { most } else { length }
}

/// A number of which the compiler knows nothing.
#[inline(always)]
pub fn opaque(number: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    let number = {
        let mut number = number;
        // SAFETY: no instruction at all.
        unsafe { core::arch::asm!("/* {0} */", inlateout(reg) number, options(pure, nomem, nostack)) };
        number
    };
    number
}

/// Stands at the head of a `loop` and leaves it when it may not turn any more.
///
/// On 6.9 and later that is the instruction `may_goto`: the kernel counts the turns (8 million) and the verifier checks the
/// body only until it meets nothing new, so the loop must end by itself, by what it finds in memory. Before, the verifier
/// walks through every turn, so they are few: `$most`, counted in `$turn`. Where the kernel does not know `may_goto`, user
/// space makes it a jump that is never taken.
macro_rules! may_turn {
    ($turn:ident, $most:expr) => {
        if $crate::read::konst(tracetui_shared::offsets::Const::MayGoto) != 0 {
            #[cfg(target_arch = "bpf")]
            core::arch::asm!("may_goto {end}", end = label { break }, options(nostack));
        } else {
            if $turn >= $most {
                break;
            }
            $turn += 1;
        }
    };
}
pub(crate) use may_turn;

macro_rules! readers {
    ($($(#[$doc:meta])* $name:ident = $id:literal;)*) => { $(
        $(#[$doc])*
        /// Returns the helper's result.
        #[inline(always)]
        pub unsafe fn $name(dst: *mut u8, size: u64, src: u64) -> i64 {
            // SAFETY: the number is the helper's in the kernel's ABI. Sizes are 64-bit here, which spares the shifts
            // that a 32-bit one costs. The verifier checks that `size` bytes at `dst` are ours.
            unsafe {
                let helper: unsafe extern "C" fn(*mut u8, u64, u64) -> i64 = transmute($id as usize);
                helper(dst, size, src)
            }
        }
    )* };
}

readers! {
    /// `bpf_probe_read_kernel`: zero-fills on a fault.
    read_kernel = 113;
    /// `bpf_probe_read_user`: never faults a page in; zero-fills on a fault. Of an address that the caller passed:
    /// [`read_passed`].
    read_user = 112;
    /// `bpf_probe_read_kernel_str`. Before 6.1.x it may write a NUL to `dst[-1]`: never pass a map value's first byte.
    read_kernel_str = 115;
    /// `bpf_probe_read_user_str`.
    read_user_str = 114;
}

/// Reads `size` bytes, at most `MOST`, at an address that the caller of a system call passed. It may have a tag on aarch64.
/// Returns 0, or a negative number when some byte cannot be read.
#[inline(always)]
pub unsafe fn read_passed<const MOST: u64>(dst: *mut u8, size: u64, src: u64) -> i64 {
    // SAFETY: as of the helper.
    unsafe {
        let result = read_user(dst, size, untagged(src));
        if on_arm() && result != 0 { read_tagged::<MOST>(dst, size, src) } else { result }
    }
}

/// Reads `size` bytes, at most `MOST`, from an address with a tag where the memory has that tag and a tag check refuses
/// the address without it (MTE). `bpf_probe_read_user_str` takes the tag: one byte, or its absence, a call. Returns 0, or
/// a negative number when some byte cannot be read.
#[inline(always)]
unsafe fn read_tagged<const MOST: u64>(dst: *mut u8, size: u64, src: u64) -> i64 {
    if !on_arm() || src == untagged(src) {
        return -1;
    }
    let mut result = 0;
    let mut i = 0;
    while i < MOST && i < size {
        let mut byte = [0u8; 8];
        // SAFETY: the helper writes two bytes at most; the caller's `dst` has `size` bytes.
        unsafe {
            result |= read_user_str((&raw mut byte).cast(), 2, src.wrapping_add(i));
            dst.add(i as usize).write(byte[0]);
        }
        i += 1;
    }
    if result < 0 { -1 } else { 0 }
}

/// A field of a tracepoint's record at a constant place: one load, where aya's `read_at` is a helper call.
#[inline(always)]
pub unsafe fn field<T: Copy>(ctx: &impl EbpfContext, at: usize) -> T {
    // SAFETY: the verifier checks the place against the record's size.
    unsafe { read_volatile(ctx.as_ptr().cast::<u8>().add(at).cast()) }
}

/// Stores 8 bytes at an address that need not be aligned: one instruction, where the compiler would make eight.
#[inline(always)]
pub unsafe fn store_word(dst: *mut u8, word: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the verifier checks that 8 bytes at `dst` are ours; neither x86 nor aarch64 asks for alignment.
    unsafe {
        core::arch::asm!("*(u64 *)({dst} + 0) = {word}", dst = in(reg) dst, word = in(reg) word, options(nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    let _ = (dst, word);
}
