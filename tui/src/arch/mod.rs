//! The differences between the supported architectures: numbers, function names, flag bits, values of `abi`.
//!
//! [`Arch`] describes the traced kernel; [`here`] is the architecture of this binary. The [`abi`] of a record is the
//! system call table of the caller, so records can be decoded on any machine.

mod aarch64;
mod x86_64;

use tracetui_shared::record::open::abi;

/// A supported architecture.
#[derive(Debug, PartialEq, Eq)]
pub struct Arch {
    /// The name: `uname -m`, and [`std::env::consts::ARCH`].
    pub name: &'static str,
    /// Its number in the probes: [`tracetui_shared::offsets::arch`].
    pub number: u32,
    /// The functions behind the system calls that open files, of every table. Every kernel for this architecture has
    /// the first one.
    pub opens: &'static [&'static str],
    /// The functions behind bpf(2) and ioctl(2).
    pub bpfs: &'static [&'static str],
    /// The functions behind execve(2) and execveat(2).
    pub execs: &'static [&'static str],
    /// The classic tracepoints at the end of the system calls that open files.
    pub open_tracepoints: &'static [&'static str],
    /// The callers that classic tracepoints of system calls do not see (`ARCH_TRACE_IGNORE_COMPAT_SYSCALLS`).
    pub compat_callers: &'static str,
}

/// All supported architectures.
pub(crate) static ALL: [&Arch; 2] = [&x86_64::ARCH, &aarch64::ARCH];

/// The architecture that this binary was built for; `None` where nothing can be traced.
pub(crate) fn here() -> Option<&'static Arch> {
    ALL.into_iter().find(|arch| arch.name == std::env::consts::ARCH)
}

/// The word for a record's [`abi`]: the system call table that the caller used.
pub(crate) fn abi_word(number: u8) -> &'static str {
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
pub(crate) fn generic_open_flags(abi: u8, flags: u64) -> u64 {
    match abi {
        abi::AARCH64 | abi::ARM => aarch64::generic_open_flags(flags),
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

    #[test]
    fn the_machine_of_the_tests_is_known() {
        assert_eq!(here().map(|arch| arch.name), Some(std::env::consts::ARCH));
    }
}
