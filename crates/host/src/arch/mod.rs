//! The differences between the supported architectures: numbers and function names.
//!
//! [`Arch`] describes the traced kernel; [`here`] is the architecture of this binary.

mod aarch64;
mod x86_64;

#[derive(Debug, PartialEq, Eq)]
pub struct Arch {
    /// The name: `uname -m`, and [`std::env::consts::ARCH`].
    pub name: &'static str,
    /// The number of the architecture in the probes: [`tracetui_shared::offsets::arch`].
    pub number: u32,
    /// The functions behind the system calls that open files, of every table. Every kernel for this architecture has
    /// the first one.
    pub opens: &'static [&'static str],
    /// The functions behind bpf(2) and ioctl(2).
    pub bpfs: &'static [&'static str],
    /// The functions behind execve(2) and execveat(2).
    pub execs: &'static [&'static str],
    /// The functions behind connect(2), accept(2) and accept4(2).
    pub tcps: &'static [&'static str],
    /// The classic tracepoints at the end of the system calls that open files.
    pub open_tracepoints: &'static [&'static str],
    /// The callers that classic tracepoints of system calls do not see (`ARCH_TRACE_IGNORE_COMPAT_SYSCALLS`).
    pub compat_callers: &'static str,
}

pub static ALL: [&Arch; 2] = [&x86_64::ARCH, &aarch64::ARCH];

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
