//! Drops the capabilities that a running trace does not need, since it reads untrusted data.

use super::machine::{Capabilities, Capability};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities, set_no_new_privs};
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

/// Permanently reduces the capabilities of the calling thread to those in `kept`, and forbids gaining others by an exec
/// (`PR_SET_NO_NEW_PRIVS`). Threads started afterwards inherit this; running threads are not affected.
///
/// # Errors
/// The error of the kernel. If capset(2) fails, nothing was changed.
pub(crate) fn confine(kept: Capabilities) -> io::Result<()> {
    let kept = CapabilitySet::from_bits_retain(kept.0);
    let mut sets = capabilities(None)?;
    sets.effective &= kept;
    sets.permitted &= kept;
    sets.inheritable = CapabilitySet::empty();
    set_capabilities(None, sets)?;
    Ok(set_no_new_privs(true)?)
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
