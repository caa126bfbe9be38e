//! The calling process's id in the initial pid namespace, as the probes see it.
//!
//! In a container with its own pid namespace, /proc does not contain this id. A program of three instructions returns
//! it. `BPF_PROG_TEST_RUN` runs the program in the caller's context.

use super::procfs;
use super::program::{self, Instruction};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use tracetui_shared::id::Tgid;

/// `return bpf_get_current_pid_tgid() >> 32`.
const OWN_TGID: [Instruction; 3] = [(0x85, 0, 0, 14), (0x77, 0, 0, 32), (0x95, 0, 0, 0)];

/// Loads the program that returns the id of the process that runs it, for [`ask`]. An exec closes it.
/// Needs CAP_BPF and CAP_PERFMON.
pub fn load() -> io::Result<OwnedFd> {
    program::load("tt_own_id", &OWN_TGID)
}

/// The id of the calling process, by the descriptor of the loaded program. Makes only one system call, so it is safe after a
/// fork. `None` before 5.10, where such a program cannot be run on demand.
pub fn ask(program: RawFd) -> Option<u32> {
    program::run(program, &mut []).ok().filter(|id| *id != 0)
}

/// The process id of tracetui from the kernel, or else from /proc. `None` if both fail.
pub fn own_tgid() -> Option<Tgid> {
    static OWN: OnceLock<Option<Tgid>> = OnceLock::new();
    *OWN.get_or_init(|| {
        let asked = load().ok().and_then(|own| ask(own.as_raw_fd())).map(Tgid);
        asked.or_else(|| procfs::initial_self().ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_and_proc_agree() {
        match (load(), procfs::initial_self()) {
            (Ok(own), Ok(by_proc)) => assert_eq!(ask(own.as_raw_fd()), Some(by_proc.0)),
            (own, by_proc) => crate::not_checked(&format!("{:?}, {by_proc:?}", own.err())),
        }
        assert_eq!((ask(-1), ask(i32::MAX)), (None, None));
    }
}
