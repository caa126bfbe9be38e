//! The addresses of kernel symbols by name, as the kernel itself finds them.
//!
//! A small program asks with `bpf_kallsyms_lookup_name`. It is run by `BPF_PROG_TEST_RUN`, and never attached. The kernel
//! answers those who may read addresses in /proc/kallsyms, which takes a thousand times as long.

use super::machine::Release;
use super::program::{self, Instruction, ProgramKind};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

/// The first kernel that finds a name without a look at all symbols
/// ([`kallsyms_lookup_names`](https://elixir.bootlin.com/linux/v6.2/source/kernel/kallsyms.c)). The helper is older (5.16).
const FIRST: Release = Release::new(6, 2);

/// Bytes of a name, with at least one NUL.
const NAME: usize = 64;

/// What the program gets and returns.
#[repr(C)]
struct Question {
    name: [u8; NAME],
    address: u64,
}

/// Asks the kernel for addresses.
#[derive(Debug)]
pub(crate) struct Addresses {
    program: OwnedFd,
}

impl Addresses {
    /// Loads the program.
    ///
    /// # Errors
    /// If the kernel rejects it, and before 6.2.
    pub(crate) fn load() -> io::Result<Addresses> {
        if Release::running() < Some(FIRST) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        const ADDRESS: i16 = NAME as i16;
        let mut code: Vec<Instruction> = vec![(0xbf, 1 << 4 | 6, 0, 0)];
        // The name goes to the stack: r7 = name[at], stack[at - NAME] = r7.
        for at in (0..ADDRESS).step_by(8) {
            code.extend([(0x79, 6 << 4 | 7, at, 0), (0x7b, 7 << 4 | 10, at - ADDRESS, 0)]);
        }
        code.extend([
            // The address below it: 0 if there is none.
            (0x7a, 10, -ADDRESS - 8, 0),
            (0xbf, 10 << 4 | 1, 0, 0),
            (0x07, 1, 0, -i32::from(ADDRESS)),
            (0xb7, 2, 0, i32::from(ADDRESS)),
            (0xb7, 3, 0, 0),
            (0xbf, 10 << 4 | 4, 0, 0),
            (0x07, 4, 0, -i32::from(ADDRESS) - 8),
            // bpf_kallsyms_lookup_name
            (0x85, 0, 0, 179),
            (0x79, 10 << 4 | 7, -ADDRESS - 8, 0),
            (0x7b, 7 << 4 | 6, ADDRESS, 0),
            (0xb7, 0, 0, 0),
            (0x95, 0, 0, 0),
        ]);
        Ok(Addresses { program: program::load_as("tt_addresses", &code, ProgramKind::Syscall)? })
    }

    /// The address of a symbol; `None` if the kernel has none of this name, or hides it.
    pub(crate) fn of(&self, name: &str) -> Option<u64> {
        const BPF_PROG_TEST_RUN: libc::c_int = 10;
        /// `union bpf_attr` of `BPF_PROG_TEST_RUN` up to `ctx_in` (UAPI).
        #[repr(C)]
        #[derive(Default)]
        struct Run {
            program: i32,
            result: u32,
            /// No data, no repetitions.
            none: [u64; 4],
            context_size: u32,
            no_size: u32,
            context: u64,
        }
        let mut question = Question { name: [0; NAME], address: 0 };
        question.name.get_mut(..name.len()).filter(|text| text.len() < NAME)?.copy_from_slice(name.as_bytes());
        let mut run = Run {
            program: self.program.as_raw_fd(),
            context_size: size_of::<Question>() as u32,
            context: (&raw mut question) as u64,
            ..Run::default()
        };
        // SAFETY: `run` is live and writable, has the layout of the `BPF_PROG_TEST_RUN` member, and has the size that is
        // passed. The question is as long as it says, and the kernel writes it back.
        let done = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut run, size_of::<Run>()) };
        (done == 0 && question.address != 0).then_some(question.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::host::kallsyms;

    /// The kernel finds its functions where /proc/kallsyms has them.
    #[test]
    fn the_kernel_finds_its_functions() {
        let (Ok(addresses), Ok(symbols)) = (Addresses::load(), kallsyms::snapshot()) else {
            let _ = io::Write::write_all(&mut io::stderr(), b"not checked: no privileges, no symbols, or before 6.2\n");
            return;
        };
        for name in ["__bpf_call_base", "bpf_get_current_pid_tgid", "do_exit"] {
            let listed = symbols.kernel_symbol(name).map(|address| address.0);
            assert!(listed.is_some() && addresses.of(name) == listed, "{name}: {listed:?}");
        }
        let long = "x".repeat(NAME);
        for name in ["", "no such function", &long[1..], &long] {
            assert_eq!(addresses.of(name), None, "{name}");
        }
    }
}
