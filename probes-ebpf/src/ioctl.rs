//! The requests of ioctl(2) that attach programs.

use tracetui_shared::calls::IOCTL;

/// Whether a number is ioctl(2) in a 64-bit table, and its second argument attaches no program. There are many of
/// them. (16 is lchown(2) of i386, 29 is pause(2) of ARM.)
#[inline(always)]
pub fn is_dismissed(table: u8, number: u32, second: impl FnOnce() -> u64) -> bool {
    number == IOCTL[table as usize] && !attaches(second())
}

/// `PERF_EVENT_IOC_SET_BPF` (include/uapi/linux/perf_event.h).
pub const SET_BPF: u64 = 0x4004_2408;
/// `TUNATTACHFILTER` (include/uapi/linux/if_tun.h). A 32-bit caller passes the same number: the kernel has no other.
pub const TUN_ATTACH_FILTER: u64 = 0x4010_54d5;
/// `TUNDETACHFILTER`.
pub const TUN_DETACH_FILTER: u64 = 0x4010_54d6;

/// Whether an ioctl(2) may attach or detach a program.
#[inline(always)]
pub fn attaches(command: u64) -> bool {
    matches!(command, SET_BPF | TUN_ATTACH_FILTER | TUN_DETACH_FILTER)
}
