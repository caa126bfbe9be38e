//! The supported architectures.
//!
//! [`Arch`] describes the traced kernel; [`here`] is the architecture of this binary.

use tracetui_shared::offsets::arch;

#[derive(Debug, PartialEq, Eq)]
pub struct Arch {
    /// The name: `uname -m`, and [`std::env::consts::ARCH`].
    pub name: &'static str,
    /// The number of the architecture in the probes: [`tracetui_shared::offsets::arch`].
    pub number: u32,
    /// The callers that classic tracepoints of system calls do not see (`ARCH_TRACE_IGNORE_COMPAT_SYSCALLS`).
    pub compat_callers: &'static str,
}

/// x86-64, with the tables of i386 and x32.
static X86_64: Arch = Arch { name: "x86_64", number: arch::X86_64, compat_callers: "32-bit and x32 programs" };

/// aarch64, with the table of 32-bit ARM.
static AARCH64: Arch = Arch { name: "aarch64", number: arch::AARCH64, compat_callers: "32-bit programs" };

pub static ALL: [&Arch; 2] = [&X86_64, &AARCH64];

/// The architecture that this binary was built for; `None` where nothing can be traced.
pub fn here() -> Option<&'static Arch> {
    ALL.into_iter().find(|arch| arch.name == std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_of_the_tests_is_known() {
        assert_eq!(here().map(|arch| arch.name), Some(std::env::consts::ARCH));
    }
}
