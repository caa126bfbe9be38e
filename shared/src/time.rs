//! Time as the probes stamp it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Nanoseconds of `CLOCK_BOOTTIME` (`bpf_ktime_get_boot_ns`, kernel 5.8): counts through suspend and never steps, and
/// is the clock of `task_struct.start_boottime`.
#[repr(transparent)]
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct BootNanos(pub u64);

impl BootNanos {
    /// `self - earlier` in nanoseconds, 0 when `earlier` is later.
    pub fn since(self, earlier: BootNanos) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
