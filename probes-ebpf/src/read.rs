//! Reads of kernel and user memory, and the constants that user space sets before the load.
//!
//! A kernel field is read in one of three ways. Constants select the way ([`Const::Cast`], [`Const::TypedTask`]). They
//! lie in frozen read-only data, so the other ways are dead code to the verifier.
//!
//! - 6.2 and later: [`typed_as`] casts any address to a typed pointer
//!   ([`bpf_rdonly_cast`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/helpers.c), compiled to a move). A
//!   field behind it is a plain load, which takes about a nanosecond and yields 0 on a fault. A pointer loaded through
//!   it is of the same sort. The arguments of BTF tracepoints are cast too, because the verifier *trusts* them: to find
//!   out whether a pointer loaded through a trusted one is trusted, it searches all of the kernel's BTF by name, which
//!   takes a millisecond each time.
//! - 5.11 to 6.1: pointers from the arguments of a BTF tracepoint or from `bpf_get_current_task_btf` are loaded through
//!   plainly. Everything else is read by helper, 25–50 ns per call.
//! - before 5.11: everything is read by helper.
//!
//! No null pointer needs a test in any of these ways: it reads as zeros.

use crate::arch::{on_arm, untagged};
use aya_ebpf::EbpfContext;
use core::mem::{MaybeUninit, size_of, transmute};
use core::ptr::{read_volatile, write_volatile};
#[cfg(target_arch = "bpf")]
use tracetui_shared::offsets::CAST_PLACEHOLDER;
use tracetui_shared::offsets::{ABSENT, CONST_COUNT, Const, FIELD_COUNT, Field, TYPE_COUNT, Type};

/// Offsets of kernel fields in bytes, indexed by [`Field`]. User space writes them before the load.
#[unsafe(no_mangle)]
static OFFSETS: [u32; FIELD_COUNT] = [ABSENT; FIELD_COUNT];

/// Constants, indexed by [`Const`]. User space writes them before the load.
#[unsafe(no_mangle)]
static CONSTS: [u32; CONST_COUNT] = [0; CONST_COUNT];

/// BTF type ids, indexed by [`Type`]. User space writes them before the load.
#[unsafe(no_mangle)]
static TYPES: [u32; TYPE_COUNT] = [0; TYPE_COUNT];

/// The offset of a field in its structure, in bytes; [`ABSENT`] if the kernel does not have the field.
#[inline(always)]
pub fn offset(field: Field) -> u64 {
    // SAFETY: the array has an entry for each variant of `Field`. The read is volatile because the compiler would
    // otherwise use the initial value.
    u64::from(unsafe { read_volatile((&raw const OFFSETS).cast::<u32>().add(field as usize)) })
}

/// Fails the build if a field is read with a width other than the one in the table of offsets. The compiler removes
/// this code if the width is right. If it is wrong, the assembler rejects the text below, which is not an instruction.
#[inline(always)]
fn check_width<T>(field: Field) {
    #[cfg(target_arch = "bpf")]
    if !field.width().reads(size_of::<T>() as u32) {
        // SAFETY: the text is never assembled, so nothing is executed.
        unsafe { core::arch::asm!("a field is read with another width than shared/src/offsets.rs states") };
    }
    #[cfg(not(target_arch = "bpf"))]
    let _ = field;
}

/// Whether the running kernel has the field.
#[inline(always)]
pub fn has(field: Field) -> bool {
    offset(field) != u64::from(ABSENT)
}

/// A constant that user space wrote before the load.
#[inline(always)]
pub fn konst(constant: Const) -> u64 {
    // SAFETY: the array has an entry for each variant of `Const`. The read is volatile because the compiler would
    // otherwise use the initial value.
    u64::from(unsafe { read_volatile((&raw const CONSTS).cast::<u32>().add(constant as usize)) })
}

/// Whether the kernel can cast any address to a typed pointer (6.2+).
#[inline(always)]
pub fn casts() -> bool {
    konst(Const::Cast) != 0
}

/// Casts an address to a typed pointer if the kernel can ([`casts`]); otherwise returns the address unchanged.
#[inline(always)]
pub fn typed_as(address: u64, structure: Type) -> u64 {
    if !casts() {
        return address;
    }
    // SAFETY: the array has an entry for each variant of `Type`. The read is volatile because the compiler would
    // otherwise use the initial value.
    let id = u64::from(unsafe { read_volatile((&raw const TYPES).cast::<u32>().add(structure as usize)) });
    #[cfg(target_arch = "bpf")]
    // SAFETY: user space replaces this instruction by a call of `bpf_rdonly_cast(address, id)`. The operands name every
    // register that a call may change.
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

/// A field of a structure at any address, at the offset `at`.
#[inline(always)]
pub unsafe fn any<T: Copy>(address: u64, structure: Type, at: u64) -> T {
    // SAFETY: a cast pointer may be loaded from at any offset in its structure. A read by helper yields zeros on a
    // fault.
    unsafe { if casts() { typed(typed_as(address, structure), at) } else { rd(address.wrapping_add(at)) } }
}

/// A volatile load from a map value or the stack. It keeps the verifier from tracking values across loop iterations.
/// The iterations then look alike to it and are checked once.
#[inline(always)]
pub unsafe fn get<T: Copy>(p: *const T) -> T {
    // SAFETY: `p` points into a map value or the stack, which the verifier checks.
    unsafe { read_volatile(p) }
}

/// The volatile store that corresponds to [`get`].
#[inline(always)]
pub unsafe fn set<T: Copy>(p: *mut T, value: T) {
    // SAFETY: `p` points into a map value or the stack, which the verifier checks.
    unsafe { write_volatile(p, value) }
}

/// A plain load at a constant offset from a typed pointer, or from a map value that holds a copy of a structure.
#[inline(always)]
pub unsafe fn typed<T: Copy>(base: u64, at: u64) -> T {
    // SAFETY: the verifier checks that `base` is such a pointer and that `at` lies in its structure or value. A load that
    // faults yields 0 (`BPF_PROBE_MEM`, include/linux/filter.h).
    unsafe { read_volatile((base as *const u8).wrapping_add(at as usize).cast()) }
}

/// A field behind a typed pointer. It is loaded; before 5.11, where the current task is untyped, it is read by helper.
#[inline(always)]
pub unsafe fn ld<T: Copy>(base: u64, field: Field) -> T {
    check_width::<T>(field);
    // SAFETY: `base` is a typed pointer where it is loaded through; elsewhere it is read by helper, which zero-fills on
    // a fault.
    unsafe { ld_at(base, offset(field)) }
}

/// [`ld`] at a sum of offsets, for a field in nested structures.
#[inline(always)]
pub unsafe fn ld_at<T: Copy>(base: u64, at: u64) -> T {
    // SAFETY: `base` is typed where it is loaded through, which the verifier checks. A read by helper zero-fills on a
    // fault.
    unsafe { if konst(Const::TypedTask) != 0 { typed(base, at) } else { rd(base.wrapping_add(at)) } }
}

/// A value at any kernel address; zeros if it cannot be read.
#[inline(always)]
pub unsafe fn rd<T: Copy>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes every byte of `value`, zeros on a fault. So its result needs no test, which would
    // double the verifier's paths. `T` is a plain number or an array of them, for which every value is valid.
    unsafe {
        read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u64, address);
        value.assume_init()
    }
}

/// A field behind any kernel address; zeros if it cannot be read or if the kernel does not have the field.
#[inline(always)]
pub unsafe fn rd_field<T: Copy>(base: u64, field: Field) -> T {
    check_width::<T>(field);
    // SAFETY: kernel addresses are read by helper, which zero-fills on a fault. Zeros are a valid value of every `T` in
    // use.
    unsafe { if has(field) { rd(base.wrapping_add(offset(field))) } else { MaybeUninit::zeroed().assume_init() } }
}

/// Limits a length to `most`, so that the verifier knows the bound. The origin of the length is hidden from the
/// compiler, which would drop a test that it can prove redundant. Older verifiers cannot prove that.
#[inline(always)]
pub fn at_most(length: u64, most: u64) -> u64 {
    let length = opaque(length);
    if length > most { most } else { length }
}

/// Hides the value of a number from the compiler.
#[inline(always)]
pub fn opaque(number: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    let number = {
        let mut number = number;
        // SAFETY: the text is a comment, so no instruction is emitted.
        unsafe { core::arch::asm!("/* {0} */", inlateout(reg) number, options(pure, nomem, nostack)) };
        number
    };
    number
}

/// Makes the verifier forget what it knows about a number, so that it need not follow each value that a branch gave it
/// separately. `by` is a number of which it knows nothing.
#[inline(always)]
pub fn forgotten(number: u64, by: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    let number = {
        let mut number = number;
        // SAFETY: the instructions change only the number, and leave it as it was.
        unsafe {
            core::arch::asm!("{number} ^= {by}", "{number} ^= {by}", number = inlateout(reg) number, by = in(reg) by,
                options(pure, nomem, nostack));
        }
        number
    };
    #[cfg(not(target_arch = "bpf"))]
    let _ = by;
    number
}

/// Placed at the head of a `loop`; leaves the loop when the permitted iterations are used up.
///
/// On 6.9 and later this is the instruction `may_goto`
/// ([`kernel/bpf/verifier.c`](https://elixir.bootlin.com/linux/v6.9/source/kernel/bpf/verifier.c)). The kernel counts
/// the iterations, up to 8 million, and the verifier checks the body only until it finds no new state. So the loop must
/// end by itself, by data in memory. On older kernels the verifier walks through every iteration, so only `$most` are
/// permitted, counted in `$turn`. If the kernel does not know `may_goto`, user space replaces it by a jump that is
/// never taken.
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
            // SAFETY: `$id` is the helper's number in the kernel's ABI (include/uapi/linux/bpf.h). Sizes are 64-bit
            // here, which avoids the shifts of a 32-bit size. The verifier checks that `dst` has `size` bytes.
            unsafe {
                let helper: unsafe extern "C" fn(*mut u8, u64, u64) -> i64 = transmute($id as usize);
                helper(dst, size, src)
            }
        }
    )* };
}

readers! {
    /// [`bpf_probe_read_kernel`](https://elixir.bootlin.com/linux/v6.12/source/kernel/trace/bpf_trace.c): zero-fills on
    /// a fault.
    read_kernel = 113;
    /// `bpf_probe_read_user`, in the same file: never faults a page in; zero-fills on a fault. Addresses that the
    /// caller of a system call passed are read with [`read_passed`].
    read_user = 112;
    /// `bpf_probe_read_kernel_str`, in the same file. Before 6.1.x it writes a NUL to `dst[-1]` if the first byte
    /// cannot be read ([`strncpy_from_kernel_nofault`](https://elixir.bootlin.com/linux/v6.0/source/mm/maccess.c)), so
    /// `dst` must not be the first byte of a map value.
    read_kernel_str = 115;
    /// `bpf_probe_read_user_str`, in the same file: copies a string up to and with its NUL.
    read_user_str = 114;
}

/// Reads `size` bytes, at most `MOST`, at an address that the caller of a system call passed. On aarch64 the address
/// may have a tag. Returns 0, or a negative number if some byte cannot be read.
#[inline(always)]
pub unsafe fn read_passed<const MOST: u64>(dst: *mut u8, size: u64, src: u64) -> i64 {
    // SAFETY: `dst` has `size` bytes, which the verifier checks. User memory is read by helper, which does not fault.
    unsafe {
        let result = read_user(dst, size, untagged(src));
        if on_arm() && result != 0 { read_tagged::<MOST>(dst, size, src) } else { result }
    }
}

/// Reads `size` bytes, at most `MOST`, at an address with a tag. It is needed if the memory has that tag and a tag
/// check (MTE) refuses the address without it. `bpf_probe_read_user_str` accepts the tag; each call reads one byte or
/// finds that it cannot be read. Returns 0, or a negative number if some byte cannot be read.
#[inline(always)]
unsafe fn read_tagged<const MOST: u64>(dst: *mut u8, size: u64, src: u64) -> i64 {
    if !on_arm() || src == untagged(src) {
        return -1;
    }
    let mut result = 0;
    let mut i = 0;
    while i < MOST && i < size {
        let mut byte = [0u8; 8];
        // SAFETY: the helper writes at most two bytes, and `byte` has eight. The caller's `dst` has `size` bytes.
        unsafe {
            result |= read_user_str((&raw mut byte).cast(), 2, src.wrapping_add(i));
            dst.add(i as usize).write(byte[0]);
        }
        i += 1;
    }
    if result < 0 { -1 } else { 0 }
}

/// A field of a tracepoint's record at a constant offset. It is one load; aya's `read_at` is a helper call.
#[inline(always)]
pub unsafe fn field<T: Copy>(ctx: &impl EbpfContext, at: usize) -> T {
    // SAFETY: the verifier checks the offset against the size of the program's context.
    unsafe { read_volatile(ctx.as_ptr().cast::<u8>().add(at).cast()) }
}

/// Stores 8 bytes at an address that need not be aligned. It is one instruction; the compiler would make eight.
#[inline(always)]
pub unsafe fn store_word(dst: *mut u8, word: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the verifier checks that `dst` has 8 bytes. Neither x86-64 nor aarch64 requires alignment.
    unsafe {
        core::arch::asm!("*(u64 *)({dst} + 0) = {word}", dst = in(reg) dst, word = in(reg) word, options(nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    let _ = (dst, word);
}
