//! The system call table of a caller, and what its numbers mean in that table. Records can be decoded on any machine.

use tracetui_shared::record::open::abi;

/// The word for a record's [`abi`]: the system call table that the caller used.
pub(super) fn word(number: u8) -> &'static str {
    match number {
        abi::X86_64 => "x86_64",
        abi::I386 => "i386",
        abi::X32 => "x32",
        abi::AARCH64 => "aarch64",
        abi::ARM => "arm",
        _ => "unknown",
    }
}

/// Open flags with the numbers of
/// [include/uapi/asm-generic/fcntl.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/asm-generic/fcntl.h),
/// which x86 uses.
///
/// On ARM, `O_DIRECTORY` and `O_NOFOLLOW` have the bits of the generic `O_DIRECT` and `O_LARGEFILE`, and vice versa
/// ([arch/arm64/include/uapi/asm/fcntl.h](https://elixir.bootlin.com/linux/v6.12/source/arch/arm64/include/uapi/asm/fcntl.h);
/// arch/arm has the same).
pub(super) fn generic_open_flags(abi: u8, flags: u64) -> u64 {
    const LOW: u64 = 0o140000;
    const HIGH: u64 = 0o600000;
    match abi {
        abi::AARCH64 | abi::ARM => flags & !(LOW | HIGH) | (flags & LOW) << 2 | (flags & HIGH) >> 2,
        _ => flags,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_one_number_whatever_the_caller_was() {
        // O_DIRECTORY, O_NOFOLLOW, O_DIRECT, O_LARGEFILE (arch/arm64/include/uapi/asm/fcntl.h).
        for (arm, generic) in [
            (0o40000, 0o200000),
            (0o100000, 0o400000),
            (0o200000, 0o40000),
            (0o400000, 0o100000),
            (0o2000102, 0o2000102),
        ] {
            for abi in [abi::AARCH64, abi::ARM] {
                assert_eq!(generic_open_flags(abi, arm), generic);
            }
            assert_eq!(generic_open_flags(abi::X86_64, generic), generic);
        }
    }
}
