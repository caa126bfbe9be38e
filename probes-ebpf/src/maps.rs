//! The maps. User space sets the number of elements of those that depend on the machine before the load.

use crate::further::Deep;
use crate::probes::bpf::BpfScratch;
use crate::probes::exec::ExecScratch;
use crate::probes::open::OpenScratch;
use crate::probes::uring::RequestScratch;
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, RingBuf};
use tracetui_shared::capture::{Capture, MAX_CGROUPS, MAX_KIN, MAX_PIDS, MAX_TREE, MAX_UIDS, ProcessKey};
use tracetui_shared::counters::CpuState;

/// The way to user space. Its size is set by user space.
#[map]
pub static RING: RingBuf = RingBuf::with_byte_size(1 << 16, 0);

/// What each CPU counts; as many elements as there are possible CPUs.
#[map]
static CPUS: Array<CpuState> = Array::with_max_entries(1, 0);

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

// Where records are put together: one map for each program and one element for each CPU. From 7.0 on a program can be
// preempted and another program run on the same CPU, so no two programs share one; the same program cannot (the kernel
// skips it and counts that). Arrays indexed by CPU rather than per-CPU arrays: their lookup is inlined on every kernel,
// and their elements may exceed 32 KiB.

/// Execs that are about to succeed: `struct linux_binprm` by process. From `exec_bprm_multi` to `exec_tp`.
#[map]
pub static EXEC_BPRMS: LruHashMap<u32, u64> = LruHashMap::with_max_entries(1024, 0);

/// Records of `exec_btf`.
#[map]
pub static EXEC_BTF_SCRATCH: Array<ExecScratch> = Array::with_max_entries(1, 0);
/// Records of `exec_tp`.
#[map]
pub static EXEC_TP_SCRATCH: Array<ExecScratch> = Array::with_max_entries(1, 0);
/// Records of `exec` of `sys_exit_btf`.
#[map]
pub static EXEC_SYS_SCRATCH: Array<ExecScratch> = Array::with_max_entries(1, 0);
/// Records of `exec_fail_tp`.
#[map]
pub static EXEC_FAIL_TP_SCRATCH: Array<ExecScratch> = Array::with_max_entries(1, 0);
/// Records of `open` of `sys_exit_btf`.
#[map]
pub static OPEN_BTF_SCRATCH: Array<OpenScratch> = Array::with_max_entries(1, 0);
/// Records of `bpf` of `sys_exit_btf`.
#[map]
pub static BPF_BTF_SCRATCH: Array<BpfScratch> = Array::with_max_entries(1, 0);
/// Records of `open_tp`.
#[map]
pub static OPEN_TP_SCRATCH: Array<OpenScratch> = Array::with_max_entries(1, 0);
/// Records of `bpf_tp`.
#[map]
pub static BPF_TP_SCRATCH: Array<BpfScratch> = Array::with_max_entries(1, 0);

/// Records of `open_multi`.
#[map]
pub static OPEN_MULTI_SCRATCH: Array<OpenScratch> = Array::with_max_entries(1, 0);
/// Records of `bpf_multi`.
#[map]
pub static BPF_MULTI_SCRATCH: Array<BpfScratch> = Array::with_max_entries(1, 0);
/// Records of `exec_fail_multi`.
#[map]
pub static EXEC_FAIL_MULTI_SCRATCH: Array<ExecScratch> = Array::with_max_entries(1, 0);

/// Records of `uring_submit_btf`.
#[map]
pub static URING_SUBMIT_SCRATCH: Array<RequestScratch> = Array::with_max_entries(1, 0);
/// Records of `uring_submit_tp`.
#[map]
pub static URING_SUBMIT_TP_SCRATCH: Array<RequestScratch> = Array::with_max_entries(1, 0);
/// Records of `uring_refused_btf`.
#[map]
pub static URING_REFUSED_SCRATCH: Array<RequestScratch> = Array::with_max_entries(1, 0);
/// Records of `uring_refused_tp`.
#[map]
pub static URING_REFUSED_TP_SCRATCH: Array<RequestScratch> = Array::with_max_entries(1, 0);
/// Records of `uring_complete_btf`.
#[map]
pub static URING_COMPLETE_SCRATCH: Array<OpenScratch> = Array::with_max_entries(1, 0);
/// Records of `uring_complete_tp`.
#[map]
pub static URING_COMPLETE_TP_SCRATCH: Array<OpenScratch> = Array::with_max_entries(1, 0);
/// Records of `uring_quiet`.
#[map]
pub static URING_QUIET_SCRATCH: Array<OpenScratch> = Array::with_max_entries(1, 0);

/// Walks that go on in a function of their own; one element where they need not.
#[map]
pub static DEEP: Array<Deep> = Array::with_max_entries(1, 0);
/// The same for `uring_quiet`, which may be preempted.
#[map]
pub static DEEP_QUIET: Array<Deep> = Array::with_max_entries(1, 0);

/// A process, for [`first_exit`].
#[repr(C)]
#[derive(Clone, Copy)]
struct ExitKey {
    start: u64,
    tgid: u64,
}

/// Processes whose exit was told lately. Before 6.16 two threads that end at once may both see `signal->live == 0`;
/// the second comes within microseconds, so forgetting the oldest is harmless.
#[map]
static EXITED: LruHashMap<ExitKey, u8> = LruHashMap::with_max_entries(256, 0);

/// The CPU that the program runs on, and what it counts. Programs may be preempted but never migrate.
#[inline(always)]
pub fn this_cpu() -> Option<(u32, *mut CpuState)> {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    Some((cpu, CPUS.get_ptr_mut(cpu)?))
}

/// Whether this process's exit was not told before.
#[inline(always)]
pub fn first_exit(tgid: u32, start: u64) -> bool {
    const EEXIST: i32 = -17;
    let key = ExitKey { start, tgid: u64::from(tgid) };
    EXITED.insert(key, 1u8, u64::from(BPF_NOEXIST)) != Err(EEXIST)
}
