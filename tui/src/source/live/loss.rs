//! The counters of the kernel side: events met, lost and skipped.

use super::Plain;
use aya::maps::{Array, MapData};
use rustix::thread::{MembarrierCommand, membarrier};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;
use tracetui_shared::counters::CpuState;
use tracetui_shared::kind::{Kind, Shows, Slot};

/// The counters of every CPU. Programs may run concurrently, so this is not a snapshot at one instant.
pub(super) fn counters(cpus: &Array<MapData, Plain<CpuState>>) -> io::Result<Vec<CpuState>> {
    (0..cpus.len()).map(|cpu| cpus.get(&cpu, 0).map(|state| state.0).map_err(io::Error::other)).collect()
}

/// Opens a file that does not exist, and returns whether a probe reported it. If a tracepoint is attached but never
/// reached, there are no opens and no losses.
pub(super) fn sees_an_open(cpus: &Array<MapData, Plain<CpuState>>) -> bool {
    const TRIES: u32 = 10;
    let met = || -> Option<u64> {
        let slots = || Slot::of_kind(Kind::Open).filter(|slot| slot.shows() == Shows::Most);
        let cpus = counters(cpus).ok()?;
        Some(cpus.iter().flat_map(|cpu| slots().map(|slot| cpu.slots[slot as usize].met)).sum())
    };
    let before = met();
    // Several attempts, because the kernel skips a program if a preempted task already runs it on this CPU.
    (0..TRIES).any(|_| {
        let _ = std::fs::File::open("");
        met() != before
    })
}

/// The number of skips of a program: `bpf_prog_info.recursion_misses`.
pub(super) fn skips(program: &OwnedFd) -> u64 {
    let mut found = ProgInfo::default();
    info(program, &mut found);
    found.recursion_misses
}

/// `struct bpf_prog_info` (UAPI) up to the last field of 5.16. aya does not expose `recursion_misses`.
#[repr(C)]
#[derive(Default)]
struct ProgInfo {
    before: [u64; 24],
    run_time_ns: u64,
    run_cnt: u64,
    recursion_misses: u64,
    verified_insns: u32,
    attach_btf_obj_id: u32,
}

const _: () = assert!(std::mem::offset_of!(ProgInfo, recursion_misses) == 208);

/// The `info` member of `union bpf_attr`.
#[repr(C)]
struct InfoAttr {
    fd: u32,
    len: u32,
    info: u64,
}

/// Queries the kernel about a program or a link. Fields that the kernel does not know stay unchanged; if the query
/// fails, all do. `T` must be a prefix of a structure of the kernel, with zeros for the lengths of arrays.
pub(super) fn info<T>(object: &OwnedFd, into: &mut T) {
    const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    let (Ok(fd), Ok(len)) = (u32::try_from(object.as_raw_fd()), u32::try_from(size_of::<T>())) else { return };
    let mut attr = InfoAttr { fd, len, info: std::ptr::from_mut(into) as u64 };
    // SAFETY: `attr` has the layout of the `info` member of `union bpf_attr`. `into` is writable for `size_of::<T>()`
    // bytes, which is `attr.len`.
    unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw mut attr, size_of::<InfoAttr>()) };
}

/// Returns when no program of tracetui runs any more, after all were detached. Programs run in RCU read-side critical
/// sections, and membarrier(2) waits for those that were running. Preemptible programs run under SRCU instead, for
/// which user space cannot wait; in that case this waits until the counters stay unchanged.
pub(super) fn settle(cpus: &Array<MapData, Plain<CpuState>>, preemptible: bool) {
    const STILL: Duration = Duration::from_millis(20);
    const TRIES: u32 = 50;
    let _ = membarrier(MembarrierCommand::Global);
    if !preemptible {
        return;
    }
    let mut last = counters(cpus).ok();
    for _ in 0..TRIES {
        std::thread::sleep(STILL);
        let now = counters(cpus).ok();
        if now == last {
            return;
        }
        last = now;
    }
}
