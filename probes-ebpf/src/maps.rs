//! Maps that several modules share, and the declaration of maps with one element per CPU. A map that only one module
//! uses is declared in that module.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, bpf_map_def, bpf_map_type};
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_map_lookup_elem};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, RingBuf};
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ops::{Deref, DerefMut};
use tracetui_shared::capture::{Capture, MAX_CGROUPS, MAX_KIN, MAX_PIDS, MAX_TREE, MAX_UIDS, ProcessKey};
use tracetui_shared::counters::CpuState;

/// The first ring buffer through which records reach user space. User space replaces its size before the load.
#[map]
pub static RING: RingBuf = RingBuf::with_byte_size(1 << 16, 0);

/// All ring buffers, of which [`RING`] is the first. Used if there is more than one.
#[map]
pub static RINGS: Rings = Rings::new();

/// An array of ring buffers (`BPF_MAP_TYPE_ARRAY_OF_MAPS`). User space replaces its length before the load.
#[repr(transparent)]
pub struct Rings(UnsafeCell<bpf_map_def>);

// SAFETY: user space and the kernel change maps, not this definition.
unsafe impl Sync for Rings {}

impl Rings {
    const fn new() -> Rings {
        Rings(UnsafeCell::new(bpf_map_def {
            type_: bpf_map_type::BPF_MAP_TYPE_ARRAY_OF_MAPS,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            map_flags: 0,
            id: 0,
            pinning: 0,
        }))
    }

    /// A ring; null above the last one.
    #[inline(always)]
    pub fn get(&self, index: u32) -> *mut c_void {
        // SAFETY: the helper takes a map of this object and a key of its size.
        unsafe { bpf_map_lookup_elem(self.0.get().cast(), (&raw const index).cast()) }
    }
}

/// Declares maps with one element per possible CPU. They are declared without a size. Before the load, user space sizes
/// every map that has none.
///
/// Records are assembled in such maps, one map per program. Since 7.0 a program can be preempted by another program on
/// the same CPU, so no two programs assemble records in the same map. ([`CPUS`] is shared, see [`emit`](crate::emit).) A program cannot preempt itself: the kernel skips the second run and
/// counts it ([`bpf_prog_inc_misses_counter`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/syscall.c)).
///
/// The maps are arrays indexed by CPU, not per-CPU arrays. Their lookup is inlined on every kernel
/// ([`array_map_gen_lookup`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/arraymap.c)), and their elements
/// may exceed 32 KiB ([`PCPU_MIN_UNIT_SIZE`](https://elixir.bootlin.com/linux/v6.12/source/include/linux/percpu.h)).
macro_rules! per_cpu {
    ($($(#[$doc:meta])* $visibility:vis $name:ident: $element:ty;)+) => { $(
        $(#[$doc])*
        #[aya_ebpf::macros::map]
        $visibility static $name: aya_ebpf::maps::Array<$element> = aya_ebpf::maps::Array::with_max_entries(0, 0);
    )+ };
}
pub(crate) use per_cpu;

/// The counters of each CPU, with one element per possible CPU, like [`per_cpu`] maps. User space maps them: a program of a function
/// does not run while bpf(2) copies an element on its CPU.
#[map]
pub static CPUS: Array<CpuState> = Array::with_max_entries(0, BPF_F_MMAPABLE);

/// The capture filter, a single element. User space may change it while the programs run, until it freezes it.
#[map]
pub static CAPTURE: Array<Capture> = Array::with_max_entries(1, 0);

/// Process ids (`tgid`) that pass the capture filter.
#[map]
pub static CAPTURE_PIDS: HashMap<u32, u8> = HashMap::with_max_entries(MAX_PIDS, 0);

/// Real user ids that pass the capture filter.
#[map]
pub static CAPTURE_UIDS: HashMap<u32, u8> = HashMap::with_max_entries(MAX_UIDS, 0);

// Hash maps are preallocated. Up to 6.0 the kernel warns about classic tracepoint programs that allocate while they run
// (`check_map_prog_compatibility`, https://elixir.bootlin.com/linux/v6.0/source/kernel/bpf/verifier.c).

/// Processes of the captured trees. The value is the root through which the process belongs to its tree.
#[map]
pub static CAPTURE_TREE: HashMap<ProcessKey, ProcessKey> = HashMap::with_max_entries(MAX_TREE, 0);

/// New processes, each with the process that created it. Filled while user space looks for the descendants of a tree's
/// root.
#[map]
pub static CAPTURE_KIN: HashMap<ProcessKey, ProcessKey> = HashMap::with_max_entries(MAX_KIN, 0);

/// Ids of cgroups (v2) that pass the capture filter.
#[map]
pub static CAPTURE_CGROUPS: HashMap<u64, u8> = HashMap::with_max_entries(MAX_CGROUPS, 0);

/// The number of the current CPU, and its counters. A program may be preempted, but it never migrates to another CPU.
#[inline(always)]
pub fn this_cpu() -> Option<(u32, Pointer<CpuState>)> {
    // SAFETY: the helper has no arguments and no precondition.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    Some((cpu, Pointer(CPUS.get_ptr_mut(cpu)?)))
}

/// The element of the current CPU in a map of the program that runs ([`per_cpu`]).
#[inline(always)]
pub fn this_element<T>(map: &Array<T>) -> Option<&mut T> {
    pointer_to_element(map).map(|element| Pointer::to(element).value())
}

/// [`this_element`], as a pointer.
#[inline(always)]
pub fn pointer_to_element<T>(map: &Array<T>) -> Option<*mut T> {
    let (cpu, _) = this_cpu()?;
    map.get_ptr_mut(cpu)
}

/// A pointer to a map value. Several may point to the same value: programs of several CPUs and user space may use it at the
/// same time. They agree on who writes which word, and each access is one load or store of a word.
///
/// The verifier checks each access, as it does those of [`read`](crate::read). References to a value may overlap: for the
/// compiler too, a reference is not the only way to it (`scripts/build-probes.sh`).
pub struct Pointer<T>(*mut T);

impl<T> Pointer<T> {
    /// A pointer to a value that a lookup found, or to a part of it.
    #[inline(always)]
    pub fn to(value: *mut T) -> Pointer<T> {
        Pointer(value)
    }

    /// The value.
    #[inline(always)]
    pub fn value<'a>(self) -> &'a mut T {
        // SAFETY: the verifier checks each access.
        unsafe { &mut *self.0 }
    }
}

impl<T> Clone for Pointer<T> {
    #[inline(always)]
    fn clone(&self) -> Pointer<T> {
        *self
    }
}

impl<T> Copy for Pointer<T> {}

impl<T> Deref for Pointer<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the verifier checks each access.
        unsafe { &*self.0 }
    }
}

impl<T> DerefMut for Pointer<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the verifier checks each access.
        unsafe { &mut *self.0 }
    }
}
