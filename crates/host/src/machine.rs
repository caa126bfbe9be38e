//! The machine: its name, its kernel, and the properties that affect tracing.

use super::lockdown;
use super::maps;
use super::own_id;
use super::procfs::{self, Unusable};
use super::{decimal, read_bounded, trimmed};
use rustix::thread::{CapabilitySet, capabilities};
use std::ffi::CStr;
use std::path::Path;
use tracetui_events::frame::host::Host;
use tracetui_events::limits;
use tracetui_shared::id::{NsInum, Tgid};

/// The maximum size of a file with a single value, in bytes.
const VALUE_MAX: u64 = 4096;

/// `PROC_USER_INIT_INO`
/// ([include/linux/proc_ns.h](https://elixir.bootlin.com/linux/v6.12/source/include/linux/proc_ns.h)): the initial user
/// namespace. BPF checks capabilities only in this namespace.
const INITIAL_USER_NS: &str = "user:[4026531837]";

/// `PROC_TIME_INIT_INO`: the initial time namespace, whose times the probes read.
const INITIAL_TIME_NS: &str = "time:[4026531834]";

/// The process id of kthreadd, the parent of all kernel threads, in the initial pid namespace.
const KTHREADD: u32 = 2;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uname {
    /// The machine's name (`uname -n`).
    pub node: String,
    /// The kernel's release (`uname -r`).
    pub release: String,
    /// The architecture (`uname -m`).
    pub machine: String,
}

impl Uname {
    pub fn read() -> Uname {
        let name = rustix::system::uname();
        let text = |field: &CStr| field.to_string_lossy().into_owned();
        Uname { node: text(name.nodename()), release: text(name.release()), machine: text(name.machine()) }
    }
}

/// The compared part of a kernel version: 6 and 18 of `6.18.44-generic`.
pub type Release = (u32, u32);

/// The version of the running kernel. `None` if it does not start with two numbers. A test of a feature is more reliable than the
/// version, because distributions backport changes to older kernels.
pub fn running_release() -> Option<Release> {
    parse_release(&Uname::read().release)
}

fn parse_release(text: &str) -> Option<Release> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The lockdown mode of the kernel (/sys/kernel/security/lockdown).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lockdown {
    None,
    /// The kernel cannot be modified: `bpf_probe_write_user` is rejected.
    Integrity,
    /// Kernel memory cannot be read either: programs that read it are rejected.
    Confidentiality,
}

impl Lockdown {
    pub const fn name(self) -> &'static str {
        match self {
            Lockdown::None => "none",
            Lockdown::Integrity => "integrity",
            Lockdown::Confidentiality => "confidentiality",
        }
    }

    /// Parses the content of the file: all modes, with the current one in brackets.
    pub fn parse(text: &[u8]) -> Option<Lockdown> {
        let text = str::from_utf8(text).ok()?;
        let name = text.split_once('[')?.1.split_once(']')?.0;
        [Lockdown::None, Lockdown::Integrity, Lockdown::Confidentiality].into_iter().find(|l| l.name() == name)
    }
}

/// The names of capabilities (`CAP_BPF`), by number.
pub fn capability_names(set: CapabilitySet) -> impl Iterator<Item = String> {
    set.iter_names().map(|(name, _)| format!("CAP_{name}"))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    pub uname: Uname,
    /// The id of the boot, from /proc/sys/kernel/random/boot_id; empty if it cannot be read.
    pub boot_id: String,
    /// The number of possible CPUs. It is the number of values per element of a per-CPU map.
    pub cpus: u32,
    /// The pid namespace of tracetui; 0 if unknown.
    pub pid_ns: NsInum,
    /// The process id of tracetui in the initial pid namespace according to /proc, or the reason why /proc is not
    /// usable.
    pub own: Result<Tgid, Unusable>,
    /// Whether tracetui is in the initial user namespace; true if unknown.
    pub initial_user_ns: bool,
    /// Whether tracetui is in the initial time namespace; true if unknown.
    pub initial_time_ns: bool,
    /// Effective capabilities; `None` if unknown.
    pub capabilities: Option<CapabilitySet>,
    /// Whether /proc hides other users' processes from tracetui (`hidepid`). This is tested with a process that always
    /// exists.
    pub hides_processes: bool,
    /// The lockdown mode. `None` if it is unknown, and not confidentiality.
    pub lockdown: Option<Lockdown>,
    /// Whether the kernel offers its BTF (/sys/kernel/btf/vmlinux).
    pub has_btf: bool,
    /// Whether the kernel has the BPF ring buffer; `None` if unknown.
    pub ring_buffer: Option<bool>,
    pub is_root: bool,
    /// /proc/sys/kernel/kptr_restrict: 0, 1 or 2. With 2, symbols have no addresses, even for root.
    pub kptr_restrict: Option<i32>,
}

impl Machine {
    /// Reads the properties. A property that cannot be read is absent.
    pub fn read() -> Machine {
        let uname = Uname::read();
        let value = |path: &str| read_bounded(path, VALUE_MAX).ok();
        let number = |path: &str| value(path).and_then(|text| decimal(text.trim_ascii()));
        let own = procfs::initial_self();
        let is_in = |kind: &str, initial: &str| {
            std::fs::read_link(format!("/proc/self/ns/{kind}")).map_or(true, |ns| ns.as_os_str() == initial)
        };
        Machine {
            boot_id: value("/proc/sys/kernel/random/boot_id").map(|text| trimmed(&text)).unwrap_or_default(),
            cpus: possible_cpus(),
            pid_ns: procfs::namespace("/proc/self", "pid").unwrap_or_default(),
            hides_processes: own.is_ok() && !procfs::lives(KTHREADD),
            own,
            initial_user_ns: is_in("user", INITIAL_USER_NS),
            initial_time_ns: is_in("time", INITIAL_TIME_NS),
            capabilities: capabilities(None).ok().map(|held| held.effective),
            lockdown: value("/sys/kernel/security/lockdown")
                .and_then(|text| Lockdown::parse(&text))
                .or_else(|| lockdown::reads_are_refused()?.then_some(Lockdown::Confidentiality)),
            has_btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            ring_buffer: maps::ring_buffer(),
            is_root: rustix::process::geteuid().is_root(),
            kptr_restrict: number("/proc/sys/kernel/kptr_restrict"),
            uname,
        }
    }

    /// The host frame. If tracetui's process id is unknown, it is 0.
    pub fn host(&self) -> Host {
        Host {
            name: self.uname.node.clone(),
            boot_id: self.boot_id.clone(),
            kernel: self.uname.release.clone(),
            arch: self.uname.machine.clone(),
            pid_ns: self.pid_ns,
            self_tgid: own_id::own_tgid().unwrap_or_default(),
            cpus: self.cpus,
        }
    }
}

/// The number of CPUs that can ever be online: `num_possible_cpus()`
/// ([include/linux/cpumask.h](https://elixir.bootlin.com/linux/v6.12/source/include/linux/cpumask.h)).
pub(crate) fn possible_cpus() -> u32 {
    let listed = read_bounded("/sys/devices/system/cpu/possible", VALUE_MAX).ok().and_then(|text| parse_cpus(&text));
    let available = || std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32);
    listed.map_or_else(available, |cpus| cpus.len() as u32)
}

/// The numbers in a list of CPUs: `0-3,8,10-11`. `None` if it is not such a list, or has a number above [`limits::CPUS`].
pub fn parse_cpus(text: &[u8]) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for range in text.trim_ascii().split(|b| *b == b',') {
        let mut ends = range.splitn(2, |b| *b == b'-');
        let first: u32 = decimal(ends.next()?)?;
        let last: u32 = ends.next().map_or(Some(first), decimal)?;
        if first > last || last > limits::CPUS {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn releases_compare_by_number_and_this_machine_has_one() {
        for (text, release) in [
            ("6.18.44-generic", Some((6, 18))),
            ("5.10.0-8-amd64", Some((5, 10))),
            ("7.0-rc1", Some((7, 0))),
            ("6.12+", Some((6, 12))),
            ("6", None),
            ("", None),
            ("99999999999.1", None),
        ] {
            assert_eq!(parse_release(text), release, "{text}");
        }
        assert!((5, 10) > (5, 8) && (7, 0) > (6, 19));
        let machine = Machine::read();
        assert_eq!(machine.uname.machine, std::env::consts::ARCH);
        assert!(running_release().is_some_and(|release| release > (2, 0)), "{:?}", machine.uname.release);
        assert!(machine.cpus >= std::thread::available_parallelism().map_or(1, |n| n.get() as u32));
        assert_eq!(machine.host().boot_id.len(), 36);
        match machine.own {
            Ok(own) if machine.pid_ns == procfs::INITIAL_PID_NS => assert_eq!(own.0, std::process::id()),
            Ok(own) => assert_ne!(own.0, 0),
            Err(why) => crate::not_checked(&format!("the own id: {why}")),
        }
    }

    #[test]
    fn lockdown_and_capabilities_are_read() {
        assert_eq!(Lockdown::parse(b"none [integrity] confidentiality\n"), Some(Lockdown::Integrity));
        assert_eq!(Lockdown::parse(b"[none] integrity confidentiality\n"), Some(Lockdown::None));
        assert_eq!(Lockdown::parse(b"none integrity [confidentiality]\n"), Some(Lockdown::Confidentiality));
        assert_eq!(Lockdown::parse(b"none integrity [secrecy]\n"), None);
        assert_eq!(Lockdown::parse(b"none\n"), None);
        let held = CapabilitySet::DAC_READ_SEARCH | CapabilitySet::PERFMON | CapabilitySet::BPF;
        let names: Vec<_> = capability_names(held).collect();
        assert_eq!(names, ["CAP_DAC_READ_SEARCH", "CAP_PERFMON", "CAP_BPF"]);
    }

    #[test]
    fn lists_of_cpus_are_read() {
        for (text, cpus) in [
            (&b"0\n"[..], Some(vec![0])),
            (b"0-1\n", Some(vec![0, 1])),
            (b"0-2,5\n", Some(vec![0, 1, 2, 5])),
            (b"0-3,8,10-11\n", Some(vec![0, 1, 2, 3, 8, 10, 11])),
            (b"3-1\n", None),
            (b"0-\n", None),
            (b"0-4294967295\n", None),
            (b"\n", None),
            (b"", None),
            (b"x,3-1,4-99999999999", None),
        ] {
            assert_eq!(parse_cpus(text), cpus, "{}", text.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(bytes: Vec<u8>, text in "[0-9,a-zA-Z:\\[\\] .-]{0,60}") {
            let _ = (Lockdown::parse(&bytes), parse_cpus(&bytes));
            let _ = (Lockdown::parse(text.as_bytes()), parse_release(&text), parse_cpus(text.as_bytes()));
        }
    }
}
