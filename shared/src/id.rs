//! Identifiers, one type each, so that a thread id cannot be used as a process id.
//!
//! The kernel's `task_struct.pid` is a *thread* id, and its `tgid` is what users call a pid. In this project [`Tgid`]
//! is the process and [`Tid`] the thread; "pid" only appears in text for users.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => { $(
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
        pub struct $name(pub $inner);
    )* };
}

id! {
    /// A process: `task_struct.tgid` (include/linux/sched.h), in the initial pid namespace.
    Tgid(u32);
    /// A thread: `task_struct.pid`, in the initial pid namespace.
    Tid(u32);
    /// A user: `kuid_t.val` (include/linux/uidgid_types.h), in the initial user namespace.
    Uid(u32);
    /// A group: `kgid_t.val`, in the initial user namespace.
    Gid(u32);
    /// A cgroup of the v2 hierarchy: `kernfs_node.id` (include/linux/kernfs.h), the inode number of its directory.
    CgroupId(u64);
    /// A loaded BPF program: `bpf_prog_aux.id` (include/linux/bpf.h). 0: none.
    ProgId(u32);
    /// A BPF link: `bpf_link.id` (include/linux/bpf.h). 0: none.
    LinkId(u32);
    /// An address in the kernel's address space.
    KernelAddr(u64);
    /// A namespace: `ns_common.inum` (include/linux/ns_common.h), the number that the links in `/proc/PID/ns/` show.
    NsInum(u32);
}
