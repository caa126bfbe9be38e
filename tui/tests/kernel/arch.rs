//! The architecture-dependent parts of these tests. The modules below define the same names: system calls that some
//! architectures lack (`open`, `creat`), numbers and words (`ABI`, `NARROW_ABI`, `ELF_MACHINE`, `nr32`), and
//! `run_narrow`, which makes calls of the 32-bit table. Only tests of that architecture use further names.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::*;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;
