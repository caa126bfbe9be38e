//! Who runs already: an iterator over all tasks, read once after the probes are attached.

use crate::read::{offset, typed};
use aya_ebpf::helpers::generated::bpf_seq_write;
use core::ffi::c_void;
use tracetui_shared::offsets::Field;
use tracetui_shared::record::task::TaskStart;

/// `struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; }` (5.8+). `task` is null after the last;
/// `meta` starts with the `seq_file`. Writes one [`TaskStart`] a process.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn task_starts(ctx: *mut c_void) -> i32 {
    let ctx = ctx as u64;
    // SAFETY: the context is the iterator's, whose two pointers are typed; the verifier checks the test for null.
    unsafe {
        let task: u64 = typed(ctx, 8);
        if task == 0 {
            return 0;
        }
        let tgid: u32 = typed(task, offset(Field::TaskTgid));
        if typed::<u32>(task, offset(Field::TaskPid)) != tgid {
            return 0;
        }
        let start = TaskStart { tgid, reserved: 0, start: typed(task, offset(Field::TaskStartBoottime)) };
        let seq: u64 = typed(typed(ctx, 0), 0);
        bpf_seq_write(seq as *mut _, (&raw const start).cast(), size_of::<TaskStart>() as u32);
    }
    0
}
