//! The clock of the probes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Nanoseconds of `CLOCK_BOOTTIME` (`bpf_ktime_get_boot_ns`, 5.8+,
/// [`kernel/bpf/helpers.c`](https://elixir.bootlin.com/linux/v5.8/source/kernel/bpf/helpers.c)). The clock counts
/// during suspend and never steps. It is also the clock of `task_struct.start_boottime`.
#[repr(transparent)]
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct BootNanos(pub u64);

impl BootNanos {
    /// `self - earlier` in nanoseconds, 0 if `earlier` is later.
    pub fn since(self, earlier: BootNanos) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
