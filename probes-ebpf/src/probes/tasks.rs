//! The processes that run, listed by an iterator over all tasks. User space reads it after the probes are attached, and
//! when it looks for the descendants of a tree's root.

use crate::read::{load_at, typed, typed_as};
use aya_ebpf::helpers::generated::bpf_seq_write;
use core::ffi::c_void;
use tracetui_shared::offsets::field;
use tracetui_shared::record::task::TaskStart;

/// `struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; }`
/// ([`kernel/bpf/task_iter.c`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/task_iter.c), 5.8+). `task` is
/// null after the last one. `meta` starts with the pointer to the `seq_file`. Writes one [`TaskStart`] per process.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn task_starts(ctx: *mut c_void) -> i32 {
    let ctx = ctx as u64;
    let task: u64 = load_at(ctx, 8);
    if task == 0 {
        return 0;
    }
    let task = typed_as(task, field::TaskTgid);
    let tgid: u32 = typed(task, field::TaskTgid);
    if typed::<u32>(task, field::TaskPid) != tgid {
        return 0;
    }
    let parent: u64 = typed(task, field::TaskRealParent);
    let parent_leader: u64 = typed(parent, field::TaskGroupLeader);
    let signal: u64 = typed(task, field::TaskSignal);
    let start = TaskStart {
        tgid,
        parent: typed(parent, field::TaskTgid),
        start: typed(task, field::TaskStartBoottime),
        parent_start: typed(parent_leader, field::TaskStartBoottime),
        live: typed(signal, field::SignalLive),
        reserved: 0,
    };
    let seq: u64 = load_at(load_at(ctx, 0), 0);
    // SAFETY: the verifier checks that the helper gets the `seq_file`. The length is that of `start`.
    unsafe { bpf_seq_write(seq as *mut _, (&raw const start).cast(), size_of::<TaskStart>() as u32) };
    0
}
