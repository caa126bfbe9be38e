//! Differences between x86-64 and aarch64 other than system calls ([`call`](crate::call)): flag bits, tagged pointers.
//!
//! The BPF instructions are the same on both, so one object serves both. The architecture is known when the object is
//! loaded ([`on_arm`]); the verifier removes the code of the other one.

use crate::read::konst;
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
