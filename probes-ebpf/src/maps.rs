//! The maps that several modules use, and how per-CPU maps are declared. A map that one module uses stands there.

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, RingBuf};
use tracetui_shared::capture::{Capture, MAX_CGROUPS, MAX_KIN, MAX_PIDS, MAX_TREE, MAX_UIDS, ProcessKey};
use tracetui_shared::counters::CpuState;

/// The way to user space. Its size is set by user space.
#[map]
pub static RING: RingBuf = RingBuf::with_byte_size(1 << 16, 0);

/// Declares maps with one element for each possible CPU. They are declared without a size, by which user space knows them:
/// before the load it gives a size to every map that has none.
///
/// Records are put together in such maps, one for each program. From 7.0 on a program can be preempted and another program
/// run on the same CPU, so no two programs share one; the same program cannot (the kernel skips it and counts that). Arrays
/// indexed by CPU rather than per-CPU arrays: their lookup is inlined on every kernel, and their elements may exceed 32 KiB.
macro_rules! per_cpu {
    ($($(#[$doc:meta])* $visibility:vis $name:ident: $element:ty;)+) => { $(
        $(#[$doc])*
        #[aya_ebpf::macros::map]
        $visibility static $name: aya_ebpf::maps::Array<$element> = aya_ebpf::maps::Array::with_max_entries(0, 0);
    )+ };
}
pub(crate) use per_cpu;

per_cpu! {
    /// What each CPU counts.
    CPUS: CpuState;
}

/// The capture filter: one element.
#[map]
pub static CAPTURE: Array<Capture> = Array::with_max_entries(1, 0);

/// The processes that the capture filter lets through.
#[map]
pub static CAPTURE_PIDS: HashMap<u32, u8> = HashMap::with_max_entries(MAX_PIDS, 0);

/// The users that the capture filter lets through.
#[map]
pub static CAPTURE_UIDS: HashMap<u32, u8> = HashMap::with_max_entries(MAX_UIDS, 0);

// Preallocated: up to 6.0 the kernel warns of classic tracepoint programs that allocate while they run.

/// The processes of the trees that the capture filter lets through, each with the root by which it is in.
#[map]
pub static CAPTURE_TREE: HashMap<ProcessKey, ProcessKey> = HashMap::with_max_entries(MAX_TREE, 0);

/// New processes and their parents, while user space looks for the descendants of a tree's root.
#[map]
pub static CAPTURE_KIN: HashMap<ProcessKey, ProcessKey> = HashMap::with_max_entries(MAX_KIN, 0);

/// The cgroups that the capture filter lets through.
#[map]
pub static CAPTURE_CGROUPS: HashMap<u64, u8> = HashMap::with_max_entries(MAX_CGROUPS, 0);

/// The CPU that the program runs on, and what it counts. Programs may be preempted but never migrate.
#[inline(always)]
pub fn this_cpu() -> Option<(u32, *mut CpuState)> {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    Some((cpu, CPUS.get_ptr_mut(cpu)?))
}
