//! Reads of kernel and user memory, and the numbers that user space sets before the load.
//!
//! User space writes offsets, constants and type ids into the instructions, in place of placeholders
//! ([`tracetui_shared::offsets`]). So a field is read by one load, and the verifier sees constants.
//!
//! A kernel field is read in one of three ways. Constants select the way ([`Const::Cast`], [`Const::ByHelper`]), and the
//! other ways are dead code to the verifier.
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
//!
//! # Why these functions are safe
//! They take addresses and pointers of any value, but the kernel loads no program that could misuse one. The verifier
//! follows every path of a program. It refuses a load or a store unless it lies in a map value, on the stack, in the
//! program's context or behind a typed pointer. It refuses the call of a helper that may write more bytes than its
//! destination has. Other addresses only reach helpers and cast pointers, for which a fault is no error. So a wrong
//! address yields zeros, or a program that is not loaded. The values have types for which all bytes are valid
//! ([`FromBytes`]).
//!
//! [`Const::Cast`]: tracetui_shared::offsets::Const::Cast
//! [`Const::ByHelper`]: tracetui_shared::offsets::Const::ByHelper

use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_ktime_get_ns};
#[cfg(target_arch = "bpf")]
use core::hint::assert_unchecked;
use core::mem::{MaybeUninit, size_of, transmute, transmute_copy};
use core::ptr::{read_volatile, write_volatile};
use tracetui_shared::offsets::Member;
#[cfg(target_arch = "bpf")]
use tracetui_shared::offsets::{
    CAST_PLACEHOLDER, CONST_COUNT, MEMBER_COUNT, load_placeholder, move_placeholder, type_of,
};
use zerocopy::{FromBytes, FromZeros};

/// The number with an index ([`move_placeholder`]), with sign. The instruction is not `pure`: the compiler would keep
/// one result for all uses, on the stack.
#[cfg(target_arch = "bpf")]
macro_rules! number {
    ($index:expr) => {{
        let number: u64;
        // SAFETY: the instruction moves a number into a register.
        unsafe {
            core::arch::asm!("{number} = {placeholder}", number = out(reg) number,
                placeholder = const move_placeholder($index), options(nomem, nostack));
        }
        number
    }};
}
#[cfg(not(target_arch = "bpf"))]
macro_rules! number {
    ($index:expr) => {
        0
    };
}

/// The offset of a member in its structure, in bytes; negative if the kernel does not have it.
#[inline(always)]
pub fn offset<M: Member>(_: M) -> u64 {
    number!(M::INDEX)
}

/// Whether the running kernel has the member.
#[inline(always)]
pub fn has(member: impl Member) -> bool {
    offset(member).cast_signed() >= 0
}

/// See [`konst`].
#[inline(always)]
pub fn constant<const INDEX: usize>() -> u64 {
    number!(MEMBER_COUNT + INDEX)
}

/// A constant of [`Const`](tracetui_shared::offsets::Const) that user space wrote before the load.
macro_rules! konst {
    ($constant:ident) => {
        $crate::read::constant::<{ tracetui_shared::offsets::Const::$constant as usize }>()
    };
}
pub(crate) use konst;

/// Whether the kernel can cast any address to a typed pointer (6.2+).
#[inline(always)]
pub fn casts() -> bool {
    konst!(Cast) != 0
}

/// Casts an address to a pointer to the structure of a member if the kernel can ([`casts`]); otherwise returns the
/// address unchanged.
#[inline(always)]
pub fn typed_as<M: Member>(address: u64, _: M) -> u64 {
    if !casts() {
        return address;
    }
    #[cfg(target_arch = "bpf")]
    // SAFETY: user space replaces this instruction by a call of `bpf_rdonly_cast(address, id)`. The operands name every
    // register that a call may change.
    unsafe {
        let pointer: u64;
        core::arch::asm!(
            "r2 = {id}",
            "call {placeholder}",
            id = const move_placeholder(MEMBER_COUNT + CONST_COUNT + type_of(M::STRUCTURE)),
            placeholder = const CAST_PLACEHOLDER,
            inlateout("r1") address => _,
            lateout("r0") pointer,
            out("r2") _,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
            options(pure, nomem, nostack),
        );
        pointer
    }
    #[cfg(not(target_arch = "bpf"))]
    address
}

/// Fails the build if a member is read with a width other than the one in the table.
#[inline(always)]
fn check_width<T, M: Member>(_: M) {
    const { assert!(M::WIDTH.reads(size_of::<T>() as u32), "shared/src/offsets.rs states another width") };
}

/// The word `WORD` of a member behind a typed pointer, or in a map value that holds a copy of the structure: one load.
///
/// It is written in assembly. The compiler would join loads in two branches and compute the address, but the verifier
/// demands that the offset from a typed pointer is constant.
#[inline(always)]
fn load<T: FromBytes, M: Member, const WORD: usize>(base: u64, _: M) -> T {
    const { assert!(size_of::<T>() <= 8) };
    #[cfg(target_arch = "bpf")]
    // SAFETY: the verifier checks the load. One that faults yields 0 (`BPF_PROBE_MEM`, include/linux/filter.h). It clears
    // the bytes beyond those that it reads, and BPF is little-endian here.
    unsafe {
        let value: u64;
        macro_rules! load {
            ($width:literal) => {
                core::arch::asm!(concat!("{value} = *(", $width, " *)({base} - {at})"), value = out(reg) value,
                    base = in(reg) base, at = const -(load_placeholder(M::INDEX, WORD) as i32), options(nostack, readonly))
            };
        }
        match size_of::<T>() {
            1 => load!("u8"),
            2 => load!("u16"),
            4 => load!("u32"),
            _ => load!("u64"),
        }
        assert_unchecked(value <= u64::MAX >> (64 - 8 * size_of::<T>()));
        transmute_copy(&value)
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: never run.
    unsafe {
        transmute_copy(&base)
    }
}

/// A member behind a typed pointer, or in a map value that holds a copy of the structure.
#[inline(always)]
pub fn typed<T: FromBytes>(base: u64, member: impl Member) -> T {
    check_width::<T, _>(member);
    load::<T, _, 0>(base, member)
}

/// A word of a member, as [`typed`].
#[inline(always)]
pub fn typed_word<const WORD: usize>(base: u64, member: impl Member) -> u64 {
    load::<u64, _, WORD>(base, member)
}

/// A member in a structure at any address.
#[inline(always)]
pub fn any<T: FromBytes>(address: u64, member: impl Member) -> T {
    if casts() { typed(typed_as(address, member), member) } else { rd(address.wrapping_add(offset(member))) }
}

/// A word of a member in a structure at any address, as [`any`].
#[inline(always)]
pub fn any_word<const WORD: usize>(address: u64, member: impl Member) -> u64 {
    if casts() {
        typed_word::<WORD>(typed_as(address, member), member)
    } else {
        rd(address.wrapping_add(offset(member) + 8 * WORD as u64))
    }
}

/// A member behind a typed pointer. It is loaded; before 5.11, where the current task is untyped, it is read by helper.
#[inline(always)]
pub fn ld<T: FromBytes>(base: u64, member: impl Member) -> T {
    if konst!(ByHelper) == 0 { typed(base, member) } else { rd(base.wrapping_add(offset(member))) }
}

/// A word of a member, as [`ld`].
#[inline(always)]
pub fn ld_word<const WORD: usize>(base: u64, member: impl Member) -> u64 {
    if konst!(ByHelper) == 0 {
        typed_word::<WORD>(base, member)
    } else {
        rd(base.wrapping_add(offset(member) + 8 * WORD as u64))
    }
}

/// A member behind any kernel address; zeros if it cannot be read or if the kernel does not have the member.
#[inline(always)]
pub fn rd_field<T: FromBytes>(base: u64, member: impl Member) -> T {
    check_width::<T, _>(member);
    if has(member) { rd(base.wrapping_add(offset(member))) } else { T::new_zeroed() }
}

/// A load at a constant offset from a typed pointer to `struct pt_regs`, or from a map value.
#[inline(always)]
pub fn load_at<T: FromBytes>(base: u64, at: u64) -> T {
    // SAFETY: the verifier checks the load, and all bytes are valid in a `T`.
    unsafe { read_volatile((base as *const u8).wrapping_add(at as usize).cast()) }
}

/// A value at any kernel address; zeros if it cannot be read.
#[inline(always)]
pub fn rd<T: FromBytes>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    read_kernel(value.as_mut_ptr(), size_of::<T>() as u64, address);
    // SAFETY: the helper writes every byte of `value`, zeros on a fault. So its result needs no test, which would
    // double the verifier's paths. All bytes are valid in a `T`.
    unsafe { value.assume_init() }
}

/// A volatile load from a map value or the stack. It keeps the verifier from tracking values across loop iterations.
/// The iterations then look alike to it and are checked once.
#[inline(always)]
pub fn get<T: FromBytes>(p: *const T) -> T {
    // SAFETY: the verifier checks the load, and all bytes are valid in a `T`.
    unsafe { read_volatile(p) }
}

/// The volatile store that corresponds to [`get`].
#[inline(always)]
pub fn set<T>(p: *mut T, value: T) {
    // SAFETY: the verifier checks the store.
    unsafe { write_volatile(p, value) }
}

/// The store of a value, which the compiler may divide or join with others.
#[inline(always)]
pub fn put<T>(p: *mut T, value: T) {
    // SAFETY: the verifier checks the store.
    unsafe { p.write(value) }
}

/// [`put`] at an address that need not be aligned.
#[inline(always)]
pub fn put_unaligned<T>(p: *mut T, value: T) {
    // SAFETY: the verifier checks the store.
    unsafe { p.write_unaligned(value) }
}

/// The address of an element of an array in a map value.
#[inline(always)]
pub fn at<T>(array: *mut T, index: u64) -> *mut T {
    // SAFETY: the verifier refuses an address beyond the map value.
    unsafe { array.add(index as usize) }
}

/// Fills a structure of 8-byte words with zeros. Word by word, because the compiler would call `memset`.
#[inline(always)]
pub fn zero<T: FromZeros>(out: *mut T) {
    const { assert!(size_of::<T>().is_multiple_of(8)) };
    let mut word = 0;
    while word < size_of::<T>() / 8 {
        set(out.cast::<u64>().wrapping_add(word), 0);
        word += 1;
    }
}

/// Fills a place on the stack with zeros, as [`zero`].
#[inline(always)]
pub fn zeroed<T: FromZeros>(place: &mut MaybeUninit<T>) -> &mut T {
    zero(place.as_mut_ptr());
    // SAFETY: all bytes are written, and zeros are valid in a `T`.
    unsafe { place.assume_init_mut() }
}

/// Limits a length to `most`, so that the verifier sees the bound. The origin of the length is hidden from the
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

/// Makes the verifier forget the range of a number, so that it need not follow each value that a branch gave it
/// separately. `by` is a number that it cannot bound.
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
        if $crate::read::konst!(MayGoto) != 0 {
            // SAFETY: the instruction only leaves the loop.
            #[cfg(target_arch = "bpf")]
            unsafe {
                core::arch::asm!("may_goto {end}", end = label { break }, options(nostack));
            }
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
        pub fn $name<T: FromBytes>(dst: *mut T, size: u64, src: u64) -> i64 {
            // SAFETY: `$id` is the helper's number in the kernel's ABI (include/uapi/linux/bpf.h). Sizes are 64-bit
            // here, which avoids the shifts of a 32-bit size. The verifier checks that `dst` has `size` bytes.
            unsafe {
                let helper: unsafe extern "C" fn(*mut u8, u64, u64) -> i64 = transmute($id as usize);
                helper(dst.cast(), size, src)
            }
        }
    )* };
}

readers! {
    /// [`bpf_probe_read_kernel`](https://elixir.bootlin.com/linux/v6.12/source/kernel/trace/bpf_trace.c): zero-fills on
    /// a fault.
    read_kernel = 113;
    /// `bpf_probe_read_user`, in the same file: never faults a page in; zero-fills on a fault. Addresses that the
    /// caller of a system call passed are read with [`read_passed`](crate::arch::read_passed).
    read_user = 112;
    /// `bpf_probe_read_kernel_str`, in the same file. Before 6.1.x it writes a NUL to `dst[-1]` if the first byte
    /// cannot be read ([`strncpy_from_kernel_nofault`](https://elixir.bootlin.com/linux/v6.0/source/mm/maccess.c)), so
    /// `dst` must not be the first byte of a map value.
    read_kernel_str = 115;
    /// `bpf_probe_read_user_str`, in the same file: copies a string up to and with its NUL.
    read_user_str = 114;
}

/// Stores 8 bytes at an address that need not be aligned. It is one instruction; the compiler would make eight.
#[inline(always)]
pub fn store_word(dst: *mut u8, word: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the verifier checks that `dst` has 8 bytes. Neither x86-64 nor aarch64 requires alignment.
    unsafe {
        core::arch::asm!("*(u64 *)({dst} + 0) = {word}", dst = in(reg) dst, word = in(reg) word, options(nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    let _ = (dst, word);
}

/// `CLOCK_BOOTTIME` in nanoseconds.
#[inline(always)]
pub fn boot_ns() -> u64 {
    // SAFETY: the helper has no arguments and no precondition.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// `CLOCK_MONOTONIC` in nanoseconds.
#[inline(always)]
pub fn monotonic_ns() -> u64 {
    // SAFETY: the helper has no arguments and no precondition.
    unsafe { bpf_ktime_get_ns() }
}
