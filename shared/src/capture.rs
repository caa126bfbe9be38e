//! The settings that user space may change while the probes run: the capture filter.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bits of [`Capture::tests`]: the tests that are in force.
pub mod test {
    /// The process must be a key of the map `CAPTURE_PIDS`.
    pub const PID: u32 = 1;
    /// The real user must be a key of the map `CAPTURE_UIDS`.
    pub const UID: u32 = 2;
    /// The thread's name must match [`super::CommGlobs`].
    pub const COMM: u32 = 4;
    /// The event must have failed: `ret < 0`, or an exit with a signal or a code other than 0.
    pub const FAILED: u32 = 8;
    /// The process must be a key of the map `CAPTURE_TREE`. The value is the root through which the process was added,
    /// and new processes inherit it. A root is its own value. It stays in the map after it ended; there it matches no
    /// other process.
    pub const TREE: u32 = 16;
    /// The process's cgroup (v2) must be a key of the map `CAPTURE_CGROUPS`.
    pub const CGROUP: u32 = 32;
    /// Not a test. New processes inherit, and are recorded in the map `CAPTURE_KIN` with the processes that made them.
    /// Set while user space looks for the descendants of a tree's root, before [`TREE`] is in force.
    pub const KIN: u32 = 64;
    /// Not a test. The starts in [`super::ProcessKey`]s are in clock ticks, as /proc/PID/stat shows them, because user
    /// space cannot learn the exact ones.
    pub const TICKS: u32 = 128;
}

/// Nanoseconds of a clock tick in /proc (`USER_HZ` is 100 on x86-64 and aarch64; include/asm-generic/param.h).
pub const TICK_NS: u64 = 10_000_000;

/// A process of a tree. A process id alone may be reused; together with the start it is unique.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProcessKey {
    /// `task->tgid`: the process id.
    pub tgid: u32,
    /// Not used; 0.
    pub reserved: u32,
    /// `start_boottime` of the leader in nanoseconds. If [`test::TICKS`] is set, [`Capture::start_offset`] is added and
    /// the sum is in units of [`TICK_NS`].
    pub start: u64,
}

impl ProcessKey {
    /// The key of a process.
    #[inline(always)]
    pub const fn new(tgid: u32, start: u64) -> ProcessKey {
        ProcessKey { tgid, reserved: 0, start }
    }
}

/// Limit of pids of `--pid` that are tested in the kernel.
pub const MAX_PIDS: u32 = 1024;
/// Limit of roots of `--tree` that are tested in the kernel.
pub const MAX_ROOTS: u32 = 256;
/// Limit of live processes in all trees.
pub const MAX_TREE: u32 = 1 << 16;
/// Limit of processes that are created while user space looks for descendants.
pub const MAX_KIN: u32 = 1 << 14;
/// Limit of cgroups of `--cgroup` that are tested in the kernel.
pub const MAX_CGROUPS: u32 = 1 << 12;
/// Limit of users of `--uid` that are tested in the kernel.
pub const MAX_UIDS: u32 = 256;

/// The value of the map `CAPTURE` (one element). If all is zero, no kind passes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Capture {
    /// The kinds that are wanted ([`crate::kind::KindSet::bits`]).
    pub kinds: u32,
    /// Bits of [`mod@test`]; every test that is set must hold.
    pub tests: u32,
    /// The offset that the time namespace of user space adds to the starts in /proc, in nanoseconds (two's complement).
    /// Used if [`test::TICKS`] is set.
    pub start_offset: u64,
    /// The globs of `--comm`, used if [`test::COMM`] is set.
    pub comm: CommGlobs,
}

/// Globs over a thread's name as a bit-parallel automaton (Shift-And with self-loops) of up to 64 positions. All globs
/// are side by side, with one position for each character and one accepting position for each glob.
///
/// Start with `states = start`. For each byte `b` of the name:
/// `states = ((states & advance[b]) << 1) | (states & stay)`, then close over stars: `states |= (states & skip) << 1`.
/// User space lays stars out so that once is enough. The name matches if `states & accept != 0`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CommGlobs {
    /// Positions that are active before the first byte, closed over stars.
    pub start: u64,
    /// Positions that mean a match if they are active after the last byte.
    pub accept: u64,
    /// Positions of `*`: they stay active on any byte.
    pub stay: u64,
    /// Positions of `*`: the next position is active together with them, without a byte.
    pub skip: u64,
    /// For each byte, the positions that it advances by one.
    pub advance: [u64; 256],
}

impl CommGlobs {
    /// No glob: matches nothing.
    pub const NONE: CommGlobs = CommGlobs { start: 0, accept: 0, stay: 0, skip: 0, advance: [0; 256] };
}
