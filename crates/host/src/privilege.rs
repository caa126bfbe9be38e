//! Checks whether the machine and the privileges allow tracing, and gives remedies. It is a pure function from the machine's
//! properties to causes. Every command that traces reports the causes before it starts, and `doctor` always does.

use super::machine::{Lockdown, Machine, capability_names};
use crate::arch;
use rustix::thread::CapabilitySet;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Fatal,
    /// Events are traced, but some data is missing.
    Partial,
}

/// A cause that prevents or limits tracing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub severity: Severity,
    /// The cause and its consequence, in one line.
    pub what: String,
    /// The missing capability (`CAP_BPF`), if that is the cause.
    pub missing: Option<String>,
    /// The remedy, as a command where possible.
    pub remedy: String,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.remedy)
    }
}

/// The causes, fatal ones first. Empty if everything works, although single probes may still fail to attach. `btf_file`: whether the
/// user specified a BTF file.
pub fn verdict(machine: &Machine, btf_file: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    kernel(machine, btf_file, &mut causes);
    namespaces(machine, &mut causes);
    capabilities(machine, &mut causes);
    causes.sort_by_key(|cause| cause.severity);
    causes
}

pub fn is_fatal(causes: &[Cause]) -> bool {
    causes.iter().any(|cause| cause.severity == Severity::Fatal)
}

const AS_ROOT: &str = "run as root with all capabilities: sudo tracetui";
const SETCAP: &str =
    "run as root (sudo tracetui), or grant capabilities: sudo setcap cap_bpf,cap_perfmon=ep \"$(command -v tracetui)\"";
const TO_ROOT: &str =
    "this root lacks it: run on the host, or add it to the container: docker run --cap-add BPF --cap-add PERFMON";

fn fatal(what: impl Into<String>, remedy: &str) -> Cause {
    Cause { severity: Severity::Fatal, what: what.into(), missing: None, remedy: remedy.to_owned() }
}

fn partial(what: &str, remedy: &str) -> Cause {
    Cause { severity: Severity::Partial, ..fatal(what, remedy) }
}

fn kernel(machine: &Machine, btf_file: bool, causes: &mut Vec<Cause>) {
    if arch::here().is_none_or(|arch| arch.name != machine.uname.machine) {
        causes.push(fatal(
            "tracing is supported on x86-64 and aarch64 only",
            "run the binary that was built for this machine's architecture",
        ));
    }
    if machine.ring_buffer == Some(false) {
        causes.push(fatal("the kernel has no BPF ring buffer", "boot Linux 5.8 or later"));
    }
    if machine.lockdown == Some(Lockdown::Confidentiality) {
        causes.push(fatal(
            "kernel lockdown (confidentiality): BPF programs cannot read kernel memory",
            "boot without lockdown=confidentiality (lockdown=integrity works)",
        ));
    }
    match (machine.has_btf, btf_file) {
        (true, _) => {}
        (false, true) => causes.push(partial(
            "the kernel has no BTF of its own: only probes that do not need it can attach",
            "boot a kernel with CONFIG_DEBUG_INFO_BTF=y",
        )),
        (false, false) => causes.push(fatal(
            "the kernel has no BTF (/sys/kernel/btf/vmlinux): its field offsets are unknown",
            "mount /sys, boot a kernel with CONFIG_DEBUG_INFO_BTF=y, or give the BTF of this kernel: --btf FILE",
        )),
    }
}

fn namespaces(machine: &Machine, causes: &mut Vec<Cause>) {
    if !machine.initial_user_ns {
        causes.push(fatal(
            "not in the initial user namespace: capabilities here do not permit BPF",
            "run as root on the host, not in a rootless container",
        ));
    }
    if !machine.initial_time_ns {
        causes.push(fatal("not in the initial time namespace: times would be wrong", "run on the host"));
    }
    if machine.own.is_err() {
        causes.push(partial(
            "/proc does not show the host's processes: processes started before the trace are unknown",
            "run on the host, or in a container with its pid namespace: docker run --pid=host",
        ));
    }
    if machine.hides_processes {
        causes.push(partial(
            "/proc hides other users' processes (hidepid): those started before the trace are unknown, even to --tree",
            "run as root (sudo tracetui), or make /proc show them: sudo mount -o remount,hidepid=0 /proc",
        ));
    }
}

fn capabilities(machine: &Machine, causes: &mut Vec<Cause>) {
    // If unknown, an attempt shows which capability is missing. In another user namespace, the capabilities have no
    // meaning for BPF.
    let Some(held) = machine.capabilities.filter(|_| machine.initial_user_ns) else { return };
    let mut lacks = |wanted: CapabilitySet, severity, why: &str, remedy: &str| {
        for name in capability_names(wanted - held) {
            let what = format!("missing {name}: {why}");
            causes.push(Cause { severity, what, missing: Some(name), remedy: remedy.to_owned() });
        }
    };
    // CAP_SYS_ADMIN includes both:
    // [`bpf_capable`](https://elixir.bootlin.com/linux/v6.12/source/include/linux/capability.h),
    // [`perfmon_capable`](https://elixir.bootlin.com/linux/v6.12/source/include/linux/capability.h).
    if !held.contains(CapabilitySet::SYS_ADMIN) {
        let remedy = if machine.is_root { TO_ROOT } else { SETCAP };
        lacks(CapabilitySet::BPF, Severity::Fatal, "cannot load BPF programs", remedy);
        lacks(CapabilitySet::PERFMON, Severity::Fatal, "cannot attach BPF programs or read kernel memory", remedy);
    }
    let files_of_others = "exe and cwd of other users' earlier processes are unknown";
    lacks(CapabilitySet::SYS_PTRACE, Severity::Partial, files_of_others, AS_ROOT);
    let cgroups = "new cgroups are found by polling, at most once a second";
    lacks(CapabilitySet::DAC_READ_SEARCH, Severity::Partial, cgroups, AS_ROOT);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Uname;
    use crate::procfs::Unusable;
    use tracetui_shared::id::Tgid;

    fn root() -> Machine {
        Machine {
            uname: Uname { machine: std::env::consts::ARCH.to_owned(), ..Uname::default() },
            own: Ok(Tgid(1)),
            initial_user_ns: true,
            initial_time_ns: true,
            capabilities: Some(CapabilitySet::all()),
            hides_processes: false,
            lockdown: Some(Lockdown::Integrity),
            has_btf: true,
            ring_buffer: Some(true),
            is_root: false,
            ..Machine::read()
        }
    }

    fn missing(machine: &Machine, severity: Severity) -> Vec<String> {
        let causes = verdict(machine, false).into_iter().filter(|cause| cause.severity == severity);
        causes.map(|cause| cause.missing.unwrap_or_default()).collect()
    }

    fn check_fatal(machine: &Machine, says: &str) {
        let causes = verdict(machine, false);
        assert!(is_fatal(&causes) && causes[0].to_string().contains(says), "{causes:?}");
    }

    #[test]
    fn causes_are_fatal_partial_or_none_and_one_line_each() {
        // Root on a usual machine has no cause.
        assert_eq!(verdict(&root(), false), []);
        // Unknown facts are no cause.
        let unknown = Machine { ring_buffer: None, capabilities: None, lockdown: None, ..root() };
        assert_eq!(verdict(&unknown, false), []);
        // A user without capabilities gets a cause for each.
        let none = Machine { capabilities: Some(CapabilitySet::empty()), ..root() };
        assert_eq!(missing(&none, Severity::Fatal), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(missing(&none, Severity::Partial), ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
        check_fatal(&none, "CAP_BPF");
        check_fatal(&none, "setcap cap_bpf,cap_perfmon=ep");
        check_fatal(&Machine { is_root: true, ..none.clone() }, "--cap-add BPF");
        // The two granted capabilities suffice to trace.
        for held in [CapabilitySet::BPF | CapabilitySet::PERFMON, CapabilitySet::SYS_ADMIN] {
            assert!(!is_fatal(&verdict(&Machine { capabilities: Some(held), ..root() }, false)));
        }
        // Unfit kernels are refused with a remedy.
        let lockdown = Some(Lockdown::Confidentiality);
        check_fatal(&Machine { lockdown, ..root() }, "lockdown=confidentiality");
        check_fatal(&Machine { ring_buffer: Some(false), ..root() }, "5.8");
        check_fatal(&Machine { has_btf: false, ..root() }, "--btf FILE");
        check_fatal(&Machine { uname: Uname::default(), ..root() }, "x86-64");
        check_fatal(&Machine { initial_user_ns: false, ..none.clone() }, "user namespace");
        check_fatal(&Machine { initial_time_ns: false, ..root() }, "time namespace");
        // Lesser causes leave tracing possible.
        let own = Err(Unusable::NotMounted);
        let lesser = Machine { has_btf: false, own: own.clone(), hides_processes: true, ..root() };
        let causes = verdict(&lesser, true);
        assert!(causes.len() == 3 && !is_fatal(&causes), "{causes:?}");
        let worst =
            Machine { uname: Uname::default(), ring_buffer: Some(false), own, lockdown, has_btf: false, ..none };
        let causes = verdict(&worst, false);
        assert!(causes.iter().all(|cause| !cause.to_string().contains('\n') && !cause.remedy.is_empty()));
        assert!(causes.is_sorted_by_key(|cause| cause.severity));
    }
}
