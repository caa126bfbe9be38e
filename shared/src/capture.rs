//! What user space may set while the probes run: the capture filter.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Which tests of [`Capture`] are in force ([`Capture::tests`]).
pub mod test {
    /// The process must be a key of the map `CAPTURE_PIDS`.
    pub const PID: u32 = 1;
    /// The real user must be a key of the map `CAPTURE_UIDS`.
    pub const UID: u32 = 2;
    /// The thread's name must match [`super::CommGlobs`].
    pub const COMM: u32 = 4;
    /// The event must have failed: `ret < 0`, or an exit with a signal or a code other than 0.
    pub const FAILED: u32 = 8;
    /// The process must be a key of the map `CAPTURE_TREE`. The value is the root by which it was let in, which new
    /// processes inherit. The value of a root is the root itself; it stays in the map after its end, where it matches no
    /// other process.
    pub const TREE: u32 = 16;
    /// The process's cgroup (v2) must be a key of the map `CAPTURE_CGROUPS`.
    pub const CGROUP: u32 = 32;
    /// No test: new processes inherit, and are noted in the map `CAPTURE_KIN` with their parents, while user space looks for
    /// the descendants of a tree's root before [`TREE`] is in force.
    pub const KIN: u32 = 64;
    /// No test: starts in [`super::ProcessKey`]s are counted in clock ticks, as /proc/PID/stat shows them, because user space
    /// cannot learn the exact ones.
    pub const TICKS: u32 = 128;
}

/// Nanoseconds of a clock tick of /proc (`USER_HZ` is 100 on x86-64 and aarch64).
pub const TICK_NS: u64 = 10_000_000;

/// A process of a tree. A process id alone may be used again; with the start it is not.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProcessKey {
    /// `task->tgid`.
    pub tgid: u32,
    /// Not used; 0.
    pub reserved: u32,
    /// `start_boottime` of the leader; where [`test::TICKS`] is set, [`Capture::start_offset`] is added and the sum is counted
    /// in [`TICK_NS`].
    pub start: u64,
}

impl ProcessKey {
    /// The key of a process.
    #[inline(always)]
    pub const fn new(tgid: u32, start: u64) -> ProcessKey {
        ProcessKey { tgid, reserved: 0, start }
    }
}

/// Most pids that `--pid` takes in the kernel.
pub const MAX_PIDS: u32 = 1024;
/// Most roots that `--tree` takes in the kernel.
pub const MAX_ROOTS: u32 = 256;
/// Most processes of all trees that live at once.
pub const MAX_TREE: u32 = 1 << 16;
/// Most processes that are born while user space looks for descendants.
pub const MAX_KIN: u32 = 1 << 14;
/// Most cgroups that `--cgroup` takes in the kernel.
pub const MAX_CGROUPS: u32 = 1 << 12;
/// Most users that `--uid` takes in the kernel.
pub const MAX_UIDS: u32 = 256;

/// The value of the map `CAPTURE` (one element). All zero lets no kind through.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Capture {
    /// The kinds that are wanted ([`crate::kind::KindSet::bits`]).
    pub kinds: u32,
    /// Set of [`test`] bits; all that are set must hold.
    pub tests: u32,
    /// What the time namespace of user space adds to the starts that /proc shows, in nanoseconds (two's complement). Used
    /// where [`test::TICKS`] is set.
    pub start_offset: u64,
    /// The globs of `--comm`, when [`test::COMM`] is set.
    pub comm: CommGlobs,
}

/// Globs over a thread's name as a bit-parallel automaton of up to 64 positions (Shift-And with self-loops): all globs
/// side by side, one position for each character and one accepting position for each glob.
///
/// Start with `states = start`. For each byte `b` of the name: `states = ((states & advance[b]) << 1) | (states & stay)`,
/// then close over stars: `states |= (states & skip) << 1`, where user space laid stars out so that once is enough.
/// The name matches when `states & accept != 0`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CommGlobs {
    /// Positions alive before the first byte, stars closed over.
    pub start: u64,
    /// Positions that mean a match when alive after the last byte.
    pub accept: u64,
    /// Positions of `*`: they stay alive on any byte.
    pub stay: u64,
    /// Positions of `*`: the next position is alive with them, no byte needed.
    pub skip: u64,
    /// For each byte, the positions that it moves on by one.
    pub advance: [u64; 256],
}

impl CommGlobs {
    /// No glob: matches nothing.
    pub const NONE: CommGlobs = CommGlobs { start: 0, accept: 0, stay: 0, skip: 0, advance: [0; 256] };
}
