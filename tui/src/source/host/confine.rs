//! Drops the capabilities that a running trace does not need, since it reads untrusted data.

use super::machine::{Capabilities, Capability};
use std::io;

/// The capabilities that a trace needs while it runs. `CAP_BPF` and `CAP_PERFMON` are for BPF commands on maps and
/// programs, `CAP_SYSLOG` for symbols. `CAP_SYS_PTRACE` and `CAP_DAC_READ_SEARCH` are for /proc of other users; the
/// latter is also for cgroups by handle. `CAP_SYS_NICE` restores the lowered priority.
pub(crate) const KEPT: Capabilities = Capabilities(0)
    .with(Capability::DacReadSearch)
    .with(Capability::SysPtrace)
    .with(Capability::SysNice)
    .with(Capability::Syslog)
    .with(Capability::Perfmon)
    .with(Capability::Bpf);

/// `_LINUX_CAPABILITY_VERSION_3`
/// ([include/uapi/linux/capability.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/capability.h)):
/// two words per set.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Word {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Permanently reduces the capabilities of the calling thread to those in `kept`, and forbids gaining others by an exec
/// (`PR_SET_NO_NEW_PRIVS`). Threads started afterwards inherit this; running threads are not affected.
///
/// # Errors
/// The error of the kernel. If capset(2) fails, nothing was changed.
pub(crate) fn confine(kept: Capabilities) -> io::Result<()> {
    let mut words = [Word::default(); 2];
    let mut header = Header { version: VERSION, pid: 0 };
    // SAFETY: capget(2) writes two words per set with version 3, which is the size of `words`. Both pointers refer to
    // live local variables.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, words.as_mut_ptr()) })?;
    for (word, kept) in words.iter_mut().zip([kept.0 as u32, (kept.0 >> 32) as u32]) {
        word.effective &= kept;
        word.permitted &= kept;
        word.inheritable = 0;
    }
    // SAFETY: capset(2) reads two words per set with version 3, which is the size of `words`. Both pointers refer to
    // live local variables.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, words.as_ptr()) })?;
    // SAFETY: this prctl(2) option takes numbers only, so it accesses no memory.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::host::machine::Machine;

    #[test]
    fn a_confined_thread_has_only_what_is_kept() {
        // In a separate thread, because the effect is permanent.
        let left = std::thread::spawn(|| {
            confine(KEPT).expect("capabilities can always be given up");
            std::fs::read_to_string("/proc/thread-self/status").expect("readable")
        });
        let status = left.join().expect("no panic");
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
            u64::from_str_radix(line.trim(), 16).expect("hex")
        };
        let had = Machine::read().capabilities.expect("readable").0;
        assert_eq!(value("CapEff:"), had & KEPT.0);
        assert_eq!(value("CapPrm:") & !KEPT.0, 0);
        assert_eq!(value("CapInh:"), 0);
        assert!(status.lines().any(|line| line == "NoNewPrivs:\t1"));
    }
}
