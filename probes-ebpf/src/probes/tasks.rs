//! The processes that run, listed by an iterator over all tasks. User space reads it after the probes are attached, and
//! when it looks for the descendants of a tree's root.

use crate::read::{offset, typed, typed_as};
use aya_ebpf::helpers::generated::bpf_seq_write;
use core::ffi::c_void;
use tracetui_shared::offsets::{Field, Type};
use tracetui_shared::record::task::TaskStart;

/// `struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; }`
/// ([`kernel/bpf/task_iter.c`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/task_iter.c), 5.8+). `task` is
/// null after the last one. `meta` starts with the pointer to the `seq_file`. Writes one [`TaskStart`] per process.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn task_starts(ctx: *mut c_void) -> i32 {
    let ctx = ctx as u64;
    // SAFETY: the context is the iterator's, whose two pointers are BTF pointers. The verifier requires the test for
    // null.
    unsafe {
        let task: u64 = typed(ctx, 8);
        if task == 0 {
            return 0;
        }
        let task = typed_as(task, Type::Task);
        let tgid: u32 = typed(task, offset(Field::TaskTgid));
        if typed::<u32>(task, offset(Field::TaskPid)) != tgid {
            return 0;
        }
        let parent: u64 = typed(task, offset(Field::TaskRealParent));
        let parent_leader: u64 = typed(parent, offset(Field::TaskGroupLeader));
        let signal: u64 = typed(task, offset(Field::TaskSignal));
        let start = TaskStart {
            tgid,
            parent: typed(parent, offset(Field::TaskTgid)),
            start: typed(task, offset(Field::TaskStartBoottime)),
            parent_start: typed(parent_leader, offset(Field::TaskStartBoottime)),
            live: typed(signal, offset(Field::SignalLive)),
            reserved: 0,
        };
        let seq: u64 = typed(typed(ctx, 0), 0);
        bpf_seq_write(seq as *mut _, (&raw const start).cast(), size_of::<TaskStart>() as u32);
    }
    0
}
