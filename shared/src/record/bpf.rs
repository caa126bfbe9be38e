//! `bpf`: a BPF program was loaded, attached, replaced or detached, or failed to.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of each of the two target strings.
pub const TARGET_LEN: usize = 128;
/// Bytes of a program's name with its NUL: `BPF_OBJ_NAME_LEN` (include/uapi/linux/bpf.h).
pub const NAME_LEN: usize = 16;

/// The system call that was made ([`BpfRecord::call`]).
pub mod call {
    /// bpf(2); the command is in `cmd`.
    pub const BPF: u8 = 0;
    /// ioctl(2) with `PERF_EVENT_IOC_SET_BPF`.
    pub const PERF_IOCTL: u8 = 1;
    /// setsockopt(2) of a filter; the option is in `cmd`.
    pub const SETSOCKOPT: u8 = 2;
    /// seccomp(2) or prctl(2) that installs a filter.
    pub const SECCOMP: u8 = 3;
    /// ioctl(2) of a tun device that attaches or detaches a filter; `cmd` is one of [`super::tun`].
    pub const TUN_IOCTL: u8 = 4;
    /// None: the kernel's own stream of programs that come and go. `cmd` is `BPF_PROG_LOAD`, or 0 for an unload. Made in user
    /// space.
    pub const STREAM: u8 = 128;
    /// None: the inventory has an attachment, or has it no more, or a program is hidden. `cmd` is `BPF_PROG_ATTACH`,
    /// `BPF_PROG_DETACH` or [`super::cmd::HIDDEN`]. `hooknum` is what it hangs on, `priority` the mechanism, `attach_btf_id` the number
    /// of an interface's network namespace; of a hidden program, the view that has it, and the one that lacks it. Made in user space.
    pub const INVENTORY: u8 = 129;
}

/// Options of setsockopt(2) that attach or detach a program (include/uapi/asm-generic/socket.h).
pub mod option {
    /// `SO_ATTACH_FILTER`: a classic program.
    pub const ATTACH_FILTER: u16 = 26;
    /// `SO_DETACH_FILTER`, the same number as `SO_DETACH_BPF`.
    pub const DETACH_FILTER: u16 = 27;
    /// `SO_ATTACH_BPF`.
    pub const ATTACH_BPF: u16 = 50;
    /// `SO_ATTACH_REUSEPORT_CBPF`: a classic program.
    pub const ATTACH_REUSEPORT_CBPF: u16 = 51;
    /// `SO_ATTACH_REUSEPORT_EBPF`.
    pub const ATTACH_REUSEPORT_EBPF: u16 = 52;
    /// `SO_DETACH_REUSEPORT_BPF` (5.3+).
    pub const DETACH_REUSEPORT_BPF: u16 = 68;
}

/// The lower halves of the ioctl(2) commands that attach and detach a classic program (include/uapi/linux/if_tun.h).
pub mod tun {
    /// `TUNATTACHFILTER`.
    pub const ATTACH_FILTER: u16 = 0x54d5;
    /// `TUNDETACHFILTER`.
    pub const DETACH_FILTER: u16 = 0x54d6;
}

/// bpf(2) commands that make events (`enum bpf_cmd`, include/uapi/linux/bpf.h).
pub mod cmd {
    /// `BPF_MAP_UPDATE_ELEM`, of a struct_ops map: the operations are registered.
    pub const MAP_UPDATE_ELEM: u16 = 2;
    /// `BPF_MAP_DELETE_ELEM`, of a struct_ops map: the operations are unregistered.
    pub const MAP_DELETE_ELEM: u16 = 3;
    /// `BPF_PROG_LOAD`.
    pub const PROG_LOAD: u16 = 5;
    /// `BPF_PROG_ATTACH`.
    pub const PROG_ATTACH: u16 = 8;
    /// `BPF_PROG_DETACH`.
    pub const PROG_DETACH: u16 = 9;
    /// `BPF_RAW_TRACEPOINT_OPEN`.
    pub const RAW_TRACEPOINT_OPEN: u16 = 17;
    /// `BPF_LINK_CREATE`.
    pub const LINK_CREATE: u16 = 28;
    /// `BPF_LINK_UPDATE`.
    pub const LINK_UPDATE: u16 = 29;
    /// `BPF_LINK_DETACH`.
    pub const LINK_DETACH: u16 = 34;
    /// No command: a program is hidden.
    pub const HIDDEN: u16 = u16::MAX;
}

/// Values of `enum bpf_link_type` (include/uapi/linux/bpf.h).
pub mod link_type {
    /// `BPF_LINK_TYPE_RAW_TRACEPOINT`.
    pub const RAW_TRACEPOINT: u32 = 1;
    /// `BPF_LINK_TYPE_TRACING`.
    pub const TRACING: u32 = 2;
    /// `BPF_LINK_TYPE_CGROUP`.
    pub const CGROUP: u32 = 3;
    /// `BPF_LINK_TYPE_ITER`.
    pub const ITER: u32 = 4;
    /// `BPF_LINK_TYPE_NETNS`.
    pub const NETNS: u32 = 5;
    /// `BPF_LINK_TYPE_XDP`.
    pub const XDP: u32 = 6;
    /// `BPF_LINK_TYPE_PERF_EVENT`.
    pub const PERF_EVENT: u32 = 7;
    /// `BPF_LINK_TYPE_KPROBE_MULTI`.
    pub const KPROBE_MULTI: u32 = 8;
    /// `BPF_LINK_TYPE_STRUCT_OPS`.
    pub const STRUCT_OPS: u32 = 9;
    /// `BPF_LINK_TYPE_NETFILTER`.
    pub const NETFILTER: u32 = 10;
    /// `BPF_LINK_TYPE_TCX`.
    pub const TCX: u32 = 11;
    /// `BPF_LINK_TYPE_UPROBE_MULTI`.
    pub const UPROBE_MULTI: u32 = 12;
    /// `BPF_LINK_TYPE_NETKIT`.
    pub const NETKIT: u32 = 13;
    /// `BPF_LINK_TYPE_SOCKMAP`.
    pub const SOCKMAP: u32 = 14;
    /// `BPF_LINK_TYPE_TRACING_MULTI`.
    pub const TRACING_MULTI: u32 = 15;
}

/// The sources that could be read ([`BpfRecord::has`]).
pub mod has {
    /// The program's fields, from the kernel's object (`bpf_prog`, include/linux/bpf.h), whose back pointer was
    /// checked.
    pub const PROG: u8 = 1;
    /// The link's fields, from the kernel's object (`bpf_link`, include/linux/bpf.h).
    pub const LINK: u8 = 2;
    /// The perf event's call fields (`trace_event_call`, include/linux/trace_events.h).
    pub const PERF: u8 = 4;
    /// The attributes that were passed (`union bpf_attr`, user memory).
    pub const ATTR: u8 = 8;
    /// The tracepoint of a raw tracepoint link (`bpf_raw_event_map`, include/linux/tracepoint-defs.h).
    pub const RAW_TP: u8 = 16;
    /// The probe of a kprobe event (`trace_kprobe`, kernel/trace/trace_kprobe.c).
    pub const KPROBE: u8 = 32;
    /// The probe of a uprobe event (`trace_uprobe`, kernel/trace/trace_uprobe.c).
    pub const UPROBE: u8 = 64;
    /// The probe runs at the return of the function.
    pub const RETURNS: u8 = 128;
}

/// What the target is ([`BpfRecord::on`]).
pub mod on {
    /// `cgroup` is the cgroup.
    pub const CGROUP: u16 = 1;
    /// `object` is the index of the interface; `target` is its name where that is known.
    pub const DEVICE: u16 = 2;
    /// `object` is the number of the network namespace.
    pub const NETNS: u16 = 4;
    /// `object` is the id of the map, `target` its name.
    pub const MAP: u16 = 8;
    /// `object` is the id of the program to which it is attached.
    pub const PROG: u16 = 16;
    /// `count`, `addr` and `offset` are those of a link to several functions or places.
    pub const MULTI: u16 = 32;
    /// `pf`, `hooknum` and `priority` are those of netfilter.
    pub const NETFILTER: u16 = 64;
    /// `target` is the name of an iterator's target.
    pub const ITER: u16 = 128;
    /// `object` is the inode of the socket.
    pub const SOCKET: u16 = 256;
    /// `perf_config` is the address of the group of sockets (`sock_reuseport`, include/net/sock_reuseport.h), which identifies it.
    pub const GROUP: u16 = 512;
    /// `object` is the id of the perf event (`perf_event.id`), which is neither a tracepoint nor a probe.
    pub const EVENT: u16 = 1024;
}

/// Flags of BPF_PROG_ATTACH (include/uapi/linux/bpf.h).
pub mod attach {
    /// `BPF_F_ALLOW_MULTI`: a cgroup keeps its other programs.
    pub const MULTI: u32 = 2;
    /// `BPF_F_REPLACE`.
    pub const REPLACE: u32 = 4;
    /// Not one of the kernel's: the flags are recorded. Earlier versions did not.
    pub const KNOWN: u32 = 1 << 31;
}

/// What is known of the helpers that a program calls ([`BpfRecord::scan`]).
pub mod scan {
    /// Nothing: there is no program, or it was not examined.
    pub const NONE: u8 = 0;
    /// All instructions were examined.
    pub const WHOLE: u8 = 1;
    /// The program is longer than what was examined.
    pub const CUT: u8 = 2;
    /// The addresses of the helpers are not known.
    pub const NO_ADDRESSES: u8 = 3;
    /// All instructions were examined, and it continues with other programs (`bpf_tail_call`).
    pub const TAIL_CALL: u8 = 4;
}

/// Messages of rtnetlink (include/uapi/linux/rtnetlink.h) that report changes of attachments. Earlier versions recorded others too:
/// `RTM_DELLINK`, `RTM_DELQDISC`, `RTM_DELTFILTER`.
pub mod message {
    /// `RTM_NEWLINK`.
    pub const NEWLINK: u16 = 16;
    /// `RTM_NEWTFILTER`.
    pub const NEWTFILTER: u16 = 44;
    /// The offset in `struct sk_buff` of the sender's port, which is 0 for the kernel: `cb`, and in it
    /// `netlink_skb_parms.portid` (5.10 to 7.3).
    pub const SENDER: u32 = 40 + 12;
}

/// The payload of [`BpfNetlink`](crate::kind::Slot::BpfNetlink): what a notification of rtnetlink says. The header has the process
/// within whose call it was sent.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NetlinkRecord {
    /// `nlmsghdr.nlmsg_type`: one of [`message`].
    pub message: u16,
    /// 1 if a change of the interface's XDP program would have sent the notification, and a process caused it. 0 if it reports a change
    /// of flags, if the interface is down (it sends none then), or if a kernel thread caused it.
    pub first: u16,
    /// `ifinfomsg.ifi_index` or `tcmsg.tcm_ifindex`.
    pub ifindex: u32,
    /// The number of its network namespace (`net.ns.inum`): tracetui's.
    pub netns: u32,
    /// `IFLA_XDP_DRV_PROG_ID`, `IFLA_XDP_SKB_PROG_ID` and `IFLA_XDP_HW_PROG_ID`; or `TCA_BPF_ID` and zeros. 0 if absent.
    pub programs: [u32; 3],
}

/// The payload of [`BpfXdp`](crate::kind::Slot::BpfXdp): the interface after a change of an XDP program.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct XdpRecord {
    /// `programs` has none of links. `first` is 0 if a kernel thread caused the change.
    pub change: NetlinkRecord,
    /// `net_device.name`, NUL-terminated.
    pub name: [u8; NAME_LEN],
}

/// Bytes of the text after a record, with its NUL: a path, or the name of a function.
pub const TEXT_LEN: usize = 4096;
/// Bytes of a program's symbol with its NUL: `bpf_prog_`, its tag, `_`, and its whole name.
pub const SYMBOL_LEN: usize = 128;

/// The payload of `bpf`. A text of up to [`TEXT_LEN`] bytes may follow: the path of the file of a uprobe, or the function of a
/// kprobe.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct BpfRecord {
    /// The system call's result: a descriptor or 0, or −errno.
    pub ret: i32,
    /// The command of bpf(2), without `BPF_COMMON_ATTRS` (7.2+): one of [`cmd`].
    pub cmd: u16,
    /// One of [`call`].
    pub call: u8,
    /// Bits of [`has`].
    pub has: u8,
    /// `bpf_prog_aux.id` of the program.
    pub prog_id: u32,
    /// `bpf_prog.type` (`enum bpf_prog_type`). For a failed load, the type that was passed.
    pub prog_type: u32,
    /// `bpf_prog.expected_attach_type` (`enum bpf_attach_type`).
    pub expected_attach_type: u32,
    /// `bpf_prog_aux.user->uid`: the user that loaded the program; `u32::MAX` if not known.
    pub prog_uid: u32,
    /// `bpf_prog.tag`: the start of the hash of the program's instructions.
    pub tag: [u8; 8],
    /// `bpf_link.id` of the link.
    pub link_id: u32,
    /// `bpf_link.type` (`enum bpf_link_type`).
    pub link_type: u32,
    /// `attr.link_create.attach_type` or `attr.attach_type` as passed.
    pub attach_type: u32,
    /// `attr.target_fd` or `target_ifindex` as passed; −1 if the command has neither.
    pub target_fd: i32,
    /// `bpf_cookie` as passed; 0 if none.
    pub cookie: u64,
    /// `trace_event_call.flags` of the perf event (`TRACE_EVENT_FL_*`).
    pub call_flags: u32,
    /// The perf event's `attr.type` (`enum perf_type_id`, include/uapi/linux/perf_event.h).
    pub perf_type: u32,
    /// The perf event's `attr.config`, whose meaning depends on its type.
    pub perf_config: u64,
    /// `bpf_prog_aux.name`, NUL-terminated. For a failed load, the name that was passed.
    pub name: [u8; NAME_LEN],
    /// The attach point, first part, NUL-terminated: `trace_event_class.system`, the name of a raw tracepoint, or
    /// `bpf_prog_aux.attach_func_name`.
    pub target: [u8; TARGET_LEN],
    /// The attach point, second part, NUL-terminated: the name of the event in its system.
    pub target2: [u8; TARGET_LEN],
    /// `trace_kprobe.rp.kp.addr`, or the first of `bpf_kprobe_multi_link.addrs`.
    pub addr: u64,
    /// `trace_kprobe.rp.kp.offset` in the function, or `trace_uprobe.offset` or the first `bpf_uprobe.offset` in the file.
    pub offset: u64,
    /// `kernfs_node.id` of the cgroup.
    pub cgroup: u64,
    /// Bits of [`HELPERS`](crate::helper::HELPERS) that the program calls.
    pub helpers: u64,
    /// The id of the target, as [`on`] says.
    pub object: u32,
    /// `cnt` of a link to several functions or places.
    pub count: u32,
    /// Bits of [`on`].
    pub on: u16,
    /// One of [`scan`].
    pub scan: u8,
    /// `nf_hook_ops.pf`.
    pub pf: u8,
    /// `nf_hook_ops.hooknum`, or bits of [`attach`] in a successful BPF_PROG_ATTACH.
    pub hooknum: u32,
    /// `nf_hook_ops.priority`, or the id of the program that BPF_PROG_ATTACH with [`attach::REPLACE`] replaced; 0 if it is unknown.
    pub priority: i32,
    /// `bpf_prog_aux.attach_btf_id`.
    pub attach_btf_id: u32,
    /// `bpf_prog.len`: instructions.
    pub instructions: u32,
    /// Bytes of the text after the record, with its NUL.
    pub text_len: u32,
    /// `bpf_prog_aux.ksym.name`, NUL-terminated.
    pub symbol: [u8; SYMBOL_LEN],
}

const _: () = assert!(size_of::<BpfRecord>() == 72 + 16 + 2 * TARGET_LEN + 64 + SYMBOL_LEN);
