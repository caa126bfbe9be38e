//! The words for places at which programs are attached: the same in events of calls and in the inventory.

/// A place that the kernel identifies by numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttachPoint {
    /// `WORD:NUMBER`.
    Numbered(&'static str, u64),
    /// A network namespace by its inode, as the links in /proc/PID/ns show it.
    Netns(u32),
    /// A hook of netfilter: `NFPROTO_*`, `NF_INET_*`
    /// ([include/uapi/linux/netfilter.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/netfilter.h)) and the
    /// priority of the program there.
    Netfilter {
        family: u32,
        hook: u32,
        /// Programs with a lower priority run first.
        priority: i32,
    },
}

impl std::fmt::Display for AttachPoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            AttachPoint::Numbered(word, number) => write!(f, "{word}:{number}"),
            AttachPoint::Netns(inode) => write!(f, "net:[{inode}]"),
            AttachPoint::Netfilter { family, hook, priority } => {
                match family {
                    2 => f.write_str("ip")?,
                    10 => f.write_str("ip6")?,
                    other => write!(f, "family {other}")?,
                }
                const HOOKS: [&str; 5] = ["prerouting", "input", "forward", "output", "postrouting"];
                match HOOKS.get(hook as usize) {
                    Some(name) => write!(f, " {name}")?,
                    None => write!(f, " hook {hook}")?,
                }
                write!(f, " priority {priority}")
            }
        }
    }
}

/// The name of a perf event: `enum perf_hw_id` and `enum perf_sw_ids`, in lower case with hyphens, as perf(1) and bpftool have them
/// ([include/uapi/linux/perf_event.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/perf_event.h)).
pub fn perf_event(perf_type: u32, config: u64) -> Option<&'static str> {
    const HARDWARE: &str = "cpu-cycles instructions cache-references cache-misses branch-instructions branch-misses bus-cycles \
        stalled-cycles-frontend stalled-cycles-backend ref-cycles";
    const SOFTWARE: &str = "cpu-clock task-clock page-faults context-switches cpu-migrations minor-faults major-faults \
        alignment-faults emulation-faults dummy bpf-output cgroup-switches";
    // From PERF_PMU_TYPE_SHIFT on, the bits are the type of a PMU.
    let number = usize::try_from(config & 0xffff_ffff).ok()?;
    match perf_type {
        0 => HARDWARE.split(' ').nth(number),
        1 => SOFTWARE.split(' ').nth(number),
        _ => None,
    }
}

/// The event of a unit that has a single one (6.5+), as [`perf_event`] names it.
pub(crate) fn clock(unit: &[u8]) -> Option<&'static str> {
    match unit {
        b"cpu_clock" => Some("cpu-clock"),
        b"task_clock" => Some("task-clock"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_families_and_hooks_are_numbers() {
        let at = |family, hook, priority| AttachPoint::Netfilter { family, hook, priority }.to_string();
        let places = [at(2, 3, -128), at(10, 0, 0), at(7, 9, 1)];
        assert_eq!(places, ["ip output priority -128", "ip6 prerouting priority 0", "family 7 hook 9 priority 1"]);
        assert_eq!(perf_event(1, 5 << 32), Some("cpu-clock"), "the upper half is the unit");
        assert_eq!((perf_event(0, 10), perf_event(4, 0)), (None, None));
        assert_eq!((clock(b"cpu_clock"), clock(b"cpu")), (Some("cpu-clock"), None));
    }
}
