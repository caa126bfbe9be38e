//! Identifiers, one type each, so that a thread is never taken for a process.
//!
//! The kernel's `task_struct.pid` is a *thread* id and its `tgid` is what users call a pid. Here it is said once:
//! [`Tgid`] is the process, [`Tid`] the thread, and "pid" only appears in what users read.

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
    /// A process: `task_struct.tgid`, in the initial pid namespace.
    Tgid(u32);
    /// A thread: `task_struct.pid`, in the initial pid namespace.
    Tid(u32);
    /// A user: `kuid_t.val`, in the initial user namespace.
    Uid(u32);
    /// A group: `kgid_t.val`, in the initial user namespace.
    Gid(u32);
    /// A cgroup of the v2 hierarchy: `kernfs_node.id`, which is the inode number of its directory.
    CgroupId(u64);
    /// A loaded BPF program: `bpf_prog_aux.id`. 0 is none.
    ProgId(u32);
    /// A BPF link: `bpf_link.id`. 0 is none.
    LinkId(u32);
    /// An address in the kernel's address space.
    KernelAddr(u64);
    /// A namespace: `ns_common.inum`, the number that `/proc/PID/ns/*` links show.
    NsInum(u32);
}
