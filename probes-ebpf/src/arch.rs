//! Differences between x86-64 and aarch64 other than system calls ([`call`](crate::call)): flag bits, tagged pointers.
//!
//! The BPF instructions are the same on both, so one object serves both. The architecture is known when the object is
//! loaded ([`on_arm`]); the verifier removes the code of the other one.

use crate::read::{at, konst, put, read_user, read_user_str};
use tracetui_shared::offsets::arch;
use tracetui_shared::record::open::abi;

/// Whether the kernel's architecture is aarch64.
#[inline(always)]
pub fn on_arm() -> bool {
    konst!(Arch) == u64::from(arch::AARCH64)
}

/// The [`abi`] of the kernel's native system calls.
#[inline(always)]
pub fn native_abi() -> u8 {
    if on_arm() { abi::AARCH64 } else { abi::X86_64 }
}

/// `O_DIRECTORY | O_NOFOLLOW` (include/uapi/asm-generic/fcntl.h, arch/arm64/include/uapi/asm/fcntl.h).
#[inline(always)]
pub fn o_directory_nofollow() -> u64 {
    if on_arm() { 0x4000 | 0x8000 } else { 0x1_0000 | 0x2_0000 }
}

/// `O_LARGEFILE` (same files).
#[inline(always)]
pub fn o_largefile() -> u64 {
    if on_arm() { 0x2_0000 } else { 0x8000 }
}

/// A user address without the tag in its upper byte, which aarch64 ignores. `bpf_probe_read_user` refuses an address
/// with a tag ([`copy_from_user_nofault`](https://elixir.bootlin.com/linux/v6.12/source/mm/maccess.c)).
#[inline(always)]
pub fn untagged(address: u64) -> u64 {
    const TAG: u64 = 0xff << 56;
    if on_arm() { address & !TAG } else { address }
}

/// Reads `size` bytes, at most `MOST`, at an address that the caller of a system call passed. On aarch64 the address
/// may have a tag. Returns 0, or a negative number if some byte cannot be read.
#[inline(always)]
pub fn read_passed<const MOST: u64>(dst: *mut u8, size: u64, src: u64) -> i64 {
    let result = read_user(dst, size, untagged(src));
    if on_arm() && result != 0 { read_tagged::<MOST>(dst, size, src) } else { result }
}

/// Reads `size` bytes, at most `MOST`, at an address with a tag. It is needed if the memory has that tag and a tag
/// check (MTE) refuses the address without it. `bpf_probe_read_user_str` accepts the tag; each call reads one byte or
/// finds that it cannot be read. Returns 0, or a negative number if some byte cannot be read.
#[inline(always)]
fn read_tagged<const MOST: u64>(dst: *mut u8, size: u64, src: u64) -> i64 {
    if !on_arm() || src == untagged(src) {
        return -1;
    }
    let mut i = 0;
    while i < MOST && i < size {
        let mut byte = [0u8; 8];
        // The loop is unrolled. If the results were joined after it, each would have a place on the stack, which has 512 bytes.
        if read_user_str(&mut byte, 2, src.wrapping_add(i)) < 0 {
            return -1;
        }
        put(at(dst, i), byte[0]);
        i += 1;
    }
    0
}
