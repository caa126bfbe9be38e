//! Checks whether the machine and the privileges allow tracing, and gives remedies. It is a pure function from facts to
//! causes. Every command that traces reports the causes before it starts, and `doctor` always does.

use super::machine::{Lockdown, Machine, capability_names};
use super::maps;
use crate::arch;
use rustix::thread::CapabilitySet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BtfSource {
    Kernel,
    /// A file (`--btf`), because the kernel has no BTF.
    File,
    /// None: the kernel has no BTF.
    Nowhere,
    /// None: sysfs, which contains the kernel's BTF, is not mounted.
    NoSysfs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether the probes support the machine's architecture, and this binary was built for it.
    pub arch_known: bool,
    /// Whether the kernel has the BPF ring buffer; `None` if unknown.
    pub ring_buffer: Option<bool>,
    /// Whether BPF maps count against the limit of locked memory; `None` if unknown.
    pub maps_are_locked: Option<bool>,
    pub capabilities: Option<CapabilitySet>,
    pub initial_user_ns: bool,
    pub initial_pid_ns: bool,
    pub hides_processes: bool,
    pub lockdown: Option<Lockdown>,
    pub btf: BtfSource,
    pub is_root: bool,
}

impl Facts {
    /// The facts of a machine. `btf_file`: whether the user specified a BTF file.
    pub fn of(machine: &Machine, btf_file: bool) -> Facts {
        Facts {
            arch_known: arch::here().is_some_and(|arch| arch.name == machine.uname.machine),
            ring_buffer: maps::ring_buffer(),
            maps_are_locked: maps::are_locked(),
            capabilities: machine.capabilities,
            initial_user_ns: machine.initial_user_ns,
            initial_pid_ns: machine.own.is_ok(),
            hides_processes: machine.hides_processes,
            lockdown: machine.lockdown,
            btf: match (machine.has_btf, btf_file) {
                (true, _) => BtfSource::Kernel,
                (false, true) => BtfSource::File,
                (false, false) if machine.has_sysfs => BtfSource::Nowhere,
                (false, false) => BtfSource::NoSysfs,
            },
            is_root: rustix::process::geteuid().is_root(),
        }
    }
}

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

/// The causes, fatal ones first. Empty if everything works, although single probes may still fail to attach.
pub fn verdict(facts: &Facts) -> Vec<Cause> {
    let mut causes = Vec::new();
    kernel(facts, &mut causes);
    namespaces(facts, &mut causes);
    capabilities(facts, &mut causes);
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

fn kernel(facts: &Facts, causes: &mut Vec<Cause>) {
    if !facts.arch_known {
        causes.push(fatal(
            "tracing is supported on x86-64 and aarch64 only",
            "run the binary that was built for this machine's architecture",
        ));
    }
    if facts.ring_buffer == Some(false) {
        causes.push(fatal("the kernel has no BPF ring buffer", "boot Linux 5.8 or later"));
    }
    if facts.lockdown == Some(Lockdown::Confidentiality) {
        causes.push(fatal(
            "kernel lockdown (confidentiality): BPF programs cannot read kernel memory",
            "boot without lockdown=confidentiality (lockdown=integrity works)",
        ));
    }
    match facts.btf {
        BtfSource::Kernel => {}
        BtfSource::File => causes.push(partial(
            "the kernel has no BTF of its own: only probes that do not need it can attach",
            "boot a kernel with CONFIG_DEBUG_INFO_BTF=y",
        )),
        BtfSource::Nowhere => causes.push(fatal(
            "the kernel has no BTF (/sys/kernel/btf/vmlinux): its field offsets are unknown",
            "boot a kernel with CONFIG_DEBUG_INFO_BTF=y, or give the BTF of this kernel: --btf FILE",
        )),
        BtfSource::NoSysfs => causes.push(fatal(
            "/sys is not mounted: the kernel's BTF (/sys/kernel/btf/vmlinux) cannot be read",
            "mount it: sudo mount -t sysfs sysfs /sys",
        )),
    }
}

fn namespaces(facts: &Facts, causes: &mut Vec<Cause>) {
    if !facts.initial_user_ns {
        causes.push(fatal(
            "not in the initial user namespace: capabilities here do not permit BPF",
            "run as root on the host, not in a rootless container",
        ));
    }
    if !facts.initial_pid_ns {
        causes.push(partial(
            "/proc does not show the host's processes: processes started before the trace are unknown",
            "run on the host, or in a container with its pid namespace: docker run --pid=host",
        ));
    }
    if facts.hides_processes {
        causes.push(partial(
            "/proc hides other users' processes (hidepid): those started before the trace are unknown, even to --tree",
            "run as root (sudo tracetui), or make /proc show them: sudo mount -o remount,hidepid=0 /proc",
        ));
    }
}

fn capabilities(facts: &Facts, causes: &mut Vec<Cause>) {
    // If unknown, an attempt shows which capability is missing. In another user namespace, the capabilities have no
    // meaning for BPF.
    let Some(held) = facts.capabilities.filter(|_| facts.initial_user_ns) else { return };
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
        let remedy = if facts.is_root { TO_ROOT } else { SETCAP };
        lacks(CapabilitySet::BPF, Severity::Fatal, "cannot load BPF programs", remedy);
        lacks(CapabilitySet::PERFMON, Severity::Fatal, "cannot attach BPF programs or read kernel memory", remedy);
    }
    let files_of_others = "exe and cwd of other users' earlier processes are unknown";
    lacks(CapabilitySet::SYS_PTRACE, Severity::Partial, files_of_others, AS_ROOT);
    let cgroups = "new cgroups are found by polling, at most once a second";
    lacks(CapabilitySet::DAC_READ_SEARCH, Severity::Partial, cgroups, AS_ROOT);
    if facts.maps_are_locked == Some(true) {
        let memlock = "the locked memory limit may be too low for the ring buffer";
        lacks(CapabilitySet::SYS_RESOURCE, Severity::Partial, memlock, "raise it: ulimit -l unlimited");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Facts = Facts {
        arch_known: true,
        ring_buffer: Some(true),
        maps_are_locked: Some(false),
        capabilities: Some(CapabilitySet::all()),
        initial_user_ns: true,
        initial_pid_ns: true,
        hides_processes: false,
        lockdown: Some(Lockdown::Integrity),
        btf: BtfSource::Kernel,
        is_root: false,
    };

    fn missing(facts: &Facts, severity: Severity) -> Vec<String> {
        let causes = verdict(facts).into_iter().filter(|cause| cause.severity == severity);
        causes.map(|cause| cause.missing.unwrap_or_default()).collect()
    }

    fn check_fatal(facts: Facts, says: &str) {
        let causes = verdict(&facts);
        assert!(is_fatal(&causes) && causes[0].to_string().contains(says), "{causes:?}");
    }

    #[test]
    fn causes_are_fatal_partial_or_none_and_one_line_each() {
        // Root on a usual machine has no cause.
        assert_eq!(verdict(&ROOT), []);
        // Unknown facts are no cause.
        let facts = Facts { ring_buffer: None, maps_are_locked: None, capabilities: None, lockdown: None, ..ROOT };
        assert_eq!(verdict(&facts), []);
        // A user without capabilities gets a cause for each.
        let facts = Facts { capabilities: Some(CapabilitySet::empty()), ..ROOT };
        assert_eq!(missing(&facts, Severity::Fatal), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(missing(&facts, Severity::Partial), ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
        check_fatal(facts, "CAP_BPF");
        check_fatal(facts, "setcap cap_bpf,cap_perfmon=ep");
        check_fatal(Facts { is_root: true, ..facts }, "--cap-add BPF");
        // The two granted capabilities suffice to trace.
        let held = CapabilitySet::BPF | CapabilitySet::PERFMON;
        assert!(!is_fatal(&verdict(&Facts { capabilities: Some(held), ..ROOT })));
        let held = CapabilitySet::SYS_ADMIN;
        assert!(!is_fatal(&verdict(&Facts { capabilities: Some(held), ..ROOT })));
        // Unfit kernels are refused with a remedy.
        check_fatal(Facts { lockdown: Some(Lockdown::Confidentiality), ..ROOT }, "lockdown=confidentiality");
        check_fatal(Facts { ring_buffer: Some(false), ..ROOT }, "5.8");
        check_fatal(Facts { btf: BtfSource::Nowhere, ..ROOT }, "--btf FILE");
        check_fatal(Facts { btf: BtfSource::NoSysfs, ..ROOT }, "mount -t sysfs");
        check_fatal(Facts { arch_known: false, ..ROOT }, "x86-64");
        check_fatal(
            Facts { initial_user_ns: false, capabilities: Some(CapabilitySet::empty()), ..ROOT },
            "user namespace",
        );
        // Lesser causes leave tracing possible.
        let lesser = Facts { btf: BtfSource::File, initial_pid_ns: false, hides_processes: true, ..ROOT };
        let causes = verdict(&lesser);
        assert!(causes.len() == 3 && !is_fatal(&causes), "{causes:?}");
        // The limit of locked memory counts where maps are locked.
        let held = Some(!CapabilitySet::SYS_RESOURCE);
        assert_eq!(verdict(&Facts { capabilities: held, ..ROOT }), []);
        let old = Facts { capabilities: held, maps_are_locked: Some(true), ..ROOT };
        assert_eq!(missing(&old, Severity::Partial), ["CAP_SYS_RESOURCE"]);
        let worst = Facts {
            arch_known: false,
            ring_buffer: Some(false),
            capabilities: Some(CapabilitySet::empty()),
            initial_pid_ns: false,
            lockdown: Some(Lockdown::Confidentiality),
            btf: BtfSource::Nowhere,
            ..ROOT
        };
        let causes = verdict(&worst);
        assert!(causes.iter().all(|cause| !cause.to_string().contains('\n') && !cause.remedy.is_empty()));
        assert!(causes.is_sorted_by_key(|cause| cause.severity));
    }
}
