//! `bpf`: a BPF program was loaded or attached, or failed to.

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
}

/// bpf(2) commands that make events (`enum bpf_cmd`, include/uapi/linux/bpf.h).
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
}

/// The payload of `bpf`.
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
}

const _: () = assert!(size_of::<BpfRecord>() == 72 + 16 + 2 * TARGET_LEN);
