//! Reads of kernel and user memory, and the constants that user space settled before the load.
//!
//! Two ways lead to a kernel field. [`ld`] takes a pointer that the verifier knows the type of (an argument of a BTF
//! tracepoint, `bpf_get_current_task_btf`, and whatever was loaded from one): a plain load, about a nanosecond, which
//! yields 0 where it faults. [`rd`] takes any number as an address and costs a helper call, 25–50 ns. Offsets stand in
//! frozen read-only data, so to the verifier they are constants and the way not taken is dead code.

use core::mem::{MaybeUninit, size_of, transmute};
use core::ptr::{read_volatile, write_volatile};
use tracetui_shared::offsets::{ABSENT, CONST_COUNT, Const, FIELD_COUNT, Field};

/// Offsets of kernel fields, indexed by [`Field`]; written by user space before the load.
#[unsafe(no_mangle)]
static OFFSETS: [u32; FIELD_COUNT] = [ABSENT; FIELD_COUNT];

/// Constants, indexed by [`Const`]; written by user space before the load.
#[unsafe(no_mangle)]
static CONSTS: [u32; CONST_COUNT] = [0; CONST_COUNT];

/// Where a field stands in its structure.
#[inline(always)]
pub fn offset(field: Field) -> u64 {
    // SAFETY: the index is below FIELD_COUNT by construction. Volatile, or the compiler would take the initial value.
    u64::from(unsafe { read_volatile((&raw const OFFSETS).cast::<u32>().add(field as usize)) })
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
    // SAFETY: see `rd`; zeros are a value of every T in use.
    unsafe { if has(field) { rd(base.wrapping_add(offset(field))) } else { MaybeUninit::zeroed().assume_init() } }
}

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
    /// `bpf_probe_read_user`: never faults a page in; zero-fills on a fault.
    read_user = 112;
    /// `bpf_probe_read_kernel_str`. Before 6.1.x it may write a NUL to `dst[-1]`: never pass a map value's first byte.
    read_kernel_str = 115;
    /// `bpf_probe_read_user_str`.
    read_user_str = 114;
}

/// Stores 8 bytes at an address that need not be aligned: one instruction, where the compiler would make eight.
#[inline(always)]
pub unsafe fn store_word(dst: *mut u8, word: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the verifier checks that 8 bytes at `dst` are ours; x86 has no alignment to keep.
    unsafe {
        core::arch::asm!("*(u64 *)({dst} + 0) = {word}", dst = in(reg) dst, word = in(reg) word, options(nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    let _ = (dst, word);
}
