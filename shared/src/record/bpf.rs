//! `bpf`: a BPF program was loaded or attached, or failed to.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of each of the two target strings.
pub const TARGET_LEN: usize = 128;
/// `BPF_OBJ_NAME_LEN`.
pub const NAME_LEN: usize = 16;

/// Which system call told it ([`BpfRecord::call`]).
pub mod call {
    /// bpf(2); the command is in `cmd`.
    pub const BPF: u8 = 0;
    /// ioctl(2) with `PERF_EVENT_IOC_SET_BPF`.
    pub const PERF_IOCTL: u8 = 1;
}

/// bpf(2) commands that make events (`enum bpf_cmd`, UAPI).
pub mod cmd {
    /// `BPF_PROG_LOAD`.
    pub const PROG_LOAD: u16 = 5;
    /// `BPF_PROG_ATTACH`.
    pub const PROG_ATTACH: u16 = 8;
    /// `BPF_RAW_TRACEPOINT_OPEN`.
    pub const RAW_TRACEPOINT_OPEN: u16 = 17;
    /// `BPF_LINK_CREATE`.
    pub const LINK_CREATE: u16 = 28;
}

/// What could be read ([`BpfRecord::has`]).
pub mod has {
    /// The program's fields, from the kernel's object (`bpf_prog`), its back pointer checked.
    pub const PROG: u8 = 1;
    /// The link's fields, from the kernel's object (`bpf_link`).
    pub const LINK: u8 = 2;
    /// The perf event's call fields (`trace_event_call`).
    pub const PERF: u8 = 4;
    /// The attributes that were passed (`union bpf_attr`, user memory).
    pub const ATTR: u8 = 8;
    /// The tracepoint of a raw tracepoint link (`bpf_raw_event_map`).
    pub const RAW_TP: u8 = 16;
}

/// All of `bpf`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct BpfRecord {
    /// The system call's result: a descriptor or 0, or −errno.
    pub ret: i32,
    /// bpf(2) command without `BPF_COMMON_ATTRS` (7.2+).
    pub cmd: u16,
    /// [`call`].
    pub call: u8,
    /// [`has`] bits.
    pub has: u8,
    /// `bpf_prog_aux.id`.
    pub prog_id: u32,
    /// `bpf_prog.type` (`enum bpf_prog_type`); for a failed load the type as asked.
    pub prog_type: u32,
    /// `bpf_prog.expected_attach_type` (`enum bpf_attach_type`).
    pub expected_attach_type: u32,
    /// `bpf_prog_aux.user->uid`: who loaded the program; `u32::MAX` not known.
    pub prog_uid: u32,
    /// `bpf_prog.tag`.
    pub tag: [u8; 8],
    /// `bpf_link.id`.
    pub link_id: u32,
    /// `bpf_link.type` (`enum bpf_link_type`).
    pub link_type: u32,
    /// `attr.link_create.attach_type` or `attr.attach_type` as passed.
    pub attach_type: u32,
    /// `attr.target_fd` or `target_ifindex` as passed; −1 where the command has none.
    pub target_fd: i32,
    /// `bpf_cookie` as passed, 0 when none.
    pub cookie: u64,
    /// `trace_event_call.flags`.
    pub call_flags: u32,
    /// The perf event's `attr.type`.
    pub perf_type: u32,
    /// The perf event's `attr.config`.
    pub perf_config: u64,
    /// `bpf_prog_aux.name` (for a failed load, the name as asked), NUL-terminated.
    pub name: [u8; NAME_LEN],
    /// Where the program hangs, part one, NUL-terminated: `trace_event_class.system`, a raw tracepoint's name,
    /// `bpf_prog_aux.attach_func_name`.
    pub target: [u8; TARGET_LEN],
    /// Part two, NUL-terminated: the event's name in its system.
    pub target2: [u8; TARGET_LEN],
}

const _: () = assert!(size_of::<BpfRecord>() == 72 + 16 + 2 * TARGET_LEN);
