//! What the caller passed: the arguments of the call, and `union bpf_attr`.

use super::object::{is_program, private_of};
use super::target::{map, net};
use super::{BpfScratch, NO_FD};
use crate::arch::{read_passed, untagged};
use crate::call::Call;
use crate::files::{file_at, inode_of};
use crate::read::{at, get, ld, put, rd_field, read_user_str, set, zero};
use tracetui_shared::offsets::field;
use tracetui_shared::record::bpf::{NAME_LEN, TARGET_LEN, TEXT_LEN, attach, call, cmd, has, link_type, on};
use zerocopy::FromBytes;

/// Bytes of `union bpf_attr` (include/uapi/linux/bpf.h) that are read: all fields in use lie in them.
pub(super) const ATTR: u64 = 128;

// Offsets in `union bpf_attr` in bytes (include/uapi/linux/bpf.h).
mod attr {
    pub(super) mod prog_load {
        pub(in super::super) const PROG_TYPE: usize = 0;
        pub(in super::super) const PROG_NAME: usize = 48;
        pub(in super::super) const EXPECTED_ATTACH_TYPE: usize = 68;
    }
    pub(super) mod link_create {
        pub(in super::super) const PROG_FD: usize = 0;
        pub(in super::super) const TARGET_FD: usize = 4;
        pub(in super::super) const ATTACH_TYPE: usize = 8;
        pub(in super::super) const PERF_COOKIE: usize = 16;
        pub(in super::super) const TRACING_COOKIE: usize = 24;
        /// `kprobe_multi.flags`.
        pub(in super::super) const KPROBE_MULTI_FLAGS: usize = 16;
        pub(in super::super) const UPROBE_MULTI_PATH: usize = 16;
        pub(in super::super) const UPROBE_MULTI_FLAGS: usize = 52;
    }
    pub(super) mod link_update {
        pub(in super::super) const LINK_FD: usize = 0;
        pub(in super::super) const NEW_PROG_FD: usize = 4;
    }
    pub(super) mod map_elem {
        pub(in super::super) const MAP_FD: usize = 0;
    }
    pub(super) mod raw_tracepoint {
        pub(in super::super) const NAME: usize = 0;
        pub(in super::super) const PROG_FD: usize = 8;
        pub(in super::super) const COOKIE: usize = 16;
    }
    pub(super) mod prog_attach {
        pub(in super::super) const TARGET_FD: usize = 0;
        pub(in super::super) const ATTACH_BPF_FD: usize = 4;
        pub(in super::super) const ATTACH_TYPE: usize = 8;
        pub(in super::super) const ATTACH_FLAGS: usize = 12;
        pub(in super::super) const REPLACE_BPF_FD: usize = 16;
    }
}

// Values of `enum bpf_attach_type` (include/uapi/linux/bpf.h) whose links take a cookie: those from the first to the
// second, and the third.
const BPF_TRACE_RAW_TP: u32 = 23;
const BPF_LSM_MAC: u32 = 27;
const BPF_PERF_EVENT: u32 = 41;

// Values of `enum bpf_attach_type` of PROG_ATTACH whose target is not a cgroup.
const BPF_SK_SKB_STREAM_PARSER: u32 = 4;
const BPF_SK_SKB_STREAM_VERDICT: u32 = 5;
const BPF_SK_MSG_VERDICT: u32 = 7;
const BPF_LIRC_MODE2: u32 = 16;
const BPF_FLOW_DISSECTOR: u32 = 17;
const BPF_SK_LOOKUP: u32 = 36;
const BPF_SK_SKB_VERDICT: u32 = 38;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
const BPF_NETKIT_PRIMARY: u32 = 54;
const BPF_NETKIT_PEER: u32 = 55;

/// Whether a call can name a program at this place, which is an interface, by its position.
#[inline(always)]
const fn by_position(attach_type: u32) -> bool {
    matches!(attach_type, BPF_TCX_INGRESS | BPF_TCX_EGRESS | BPF_NETKIT_PRIMARY | BPF_NETKIT_PEER)
}

/// `BPF_F_KPROBE_MULTI_RETURN` and `BPF_F_UPROBE_MULTI_RETURN` (include/uapi/linux/bpf.h).
const MULTI_RETURN: u32 = 1;

/// Reads `union bpf_attr`. A caller with an older, shorter one passes fewer bytes.
#[inline(always)]
pub(super) fn read_attr(s: &mut BpfScratch, call: &Call) {
    zero(&mut s.attr);
    let size = call.args[2] & 0xffff_ffff;
    let size = if size < ATTR { size } else { ATTR };
    if size > 0 && read_passed::<ATTR>(s.attr.as_mut_ptr(), size, call.args[1]) == 0 {
        s.frame.record.has |= has::ATTR;
    }
}

#[inline(always)]
fn attr_at<T: FromBytes>(attr: &[u8; ATTR as usize], offset: usize) -> T {
    // SAFETY: the verifier checks the load, and all bytes are valid in a `T`. The offsets above are multiples of its size.
    unsafe { attr.as_ptr().add(offset).cast::<T>().read() }
}

/// Finds the descriptors, and writes the arguments.
#[inline(always)]
pub(super) fn descriptors(s: &mut BpfScratch, call: &Call) {
    let record = &mut s.frame.record;
    let low = |arg: u64| arg & 0xffff_ffff;
    let attr_fd = |at| u64::from(attr_at::<u32>(&s.attr, at));
    let made = if get(&record.ret) >= 0 { call.ret as u64 } else { NO_FD };
    let (fd, fd2) = match get(&record.call) {
        call::PERF_IOCTL => {
            record.target_fd = call.args[0] as i32;
            (low(call.args[0]), low(call.args[2]))
        }
        call::SETSOCKOPT | call::TUN_IOCTL => {
            record.target_fd = call.args[0] as i32;
            (low(call.args[0]), NO_FD)
        }
        call::SECCOMP => (NO_FD, NO_FD),
        _ => match get(&record.cmd) {
            cmd::PROG_LOAD => (made, NO_FD),
            cmd::LINK_CREATE => {
                let attach_type: u32 = attr_at(&s.attr, attr::link_create::ATTACH_TYPE);
                record.attach_type = attach_type;
                record.target_fd = attr_at(&s.attr, attr::link_create::TARGET_FD);
                if attach_type == BPF_PERF_EVENT {
                    record.cookie = attr_at(&s.attr, attr::link_create::PERF_COOKIE);
                } else if (BPF_TRACE_RAW_TP..=BPF_LSM_MAC).contains(&attach_type) {
                    record.cookie = attr_at(&s.attr, attr::link_create::TRACING_COOKIE);
                }
                (made, attr_fd(attr::link_create::PROG_FD))
            }
            cmd::RAW_TRACEPOINT_OPEN => {
                record.cookie = attr_at(&s.attr, attr::raw_tracepoint::COOKIE);
                (made, attr_fd(attr::raw_tracepoint::PROG_FD))
            }
            cmd::LINK_UPDATE => (attr_fd(attr::link_update::LINK_FD), attr_fd(attr::link_update::NEW_PROG_FD)),
            cmd::LINK_DETACH => (attr_fd(attr::link_update::LINK_FD), NO_FD),
            cmd::MAP_UPDATE_ELEM | cmd::MAP_DELETE_ELEM => (attr_fd(attr::map_elem::MAP_FD), NO_FD),
            command => {
                let attach_type: u32 = attr_at(&s.attr, attr::prog_attach::ATTACH_TYPE);
                record.attach_type = attach_type;
                record.target_fd = attr_at(&s.attr, attr::prog_attach::TARGET_FD);
                let program = match attr_fd(attr::prog_attach::ATTACH_BPF_FD) {
                    // No program (`bpf_prog_detach`, kernel/bpf/syscall.c): the position decides. At other places,
                    // 0 is a descriptor.
                    0 if command == cmd::PROG_DETACH && by_position(attach_type) => NO_FD,
                    fd => fd,
                };
                (program, attr_fd(attr::prog_attach::TARGET_FD))
            }
        },
    };
    set(&mut s.found.fd, fd);
    set(&mut s.found.fd2, fd2);
}

/// Writes what depends on the rest of the record.
#[inline(always)]
pub(super) fn finish(s: &mut BpfScratch, call: &Call) {
    if get(&s.frame.record.call) != call::BPF {
        return;
    }
    let has_bits = get(&s.frame.record.has);
    match get(&s.frame.record.cmd) {
        cmd::PROG_LOAD if has_bits & has::PROG == 0 => {
            s.frame.record.prog_type = attr_at(&s.attr, attr::prog_load::PROG_TYPE);
            s.frame.record.expected_attach_type = attr_at(&s.attr, attr::prog_load::EXPECTED_ATTACH_TYPE);
            let name = s.frame.record.name.as_mut_ptr().cast::<u64>();
            put(name, attr_at(&s.attr, attr::prog_load::PROG_NAME));
            put(at(name, 1), attr_at(&s.attr, attr::prog_load::PROG_NAME + 8));
            s.frame.record.name[NAME_LEN - 1] = 0;
        }
        cmd::LINK_CREATE => multi_as_asked(s),
        cmd::RAW_TRACEPOINT_OPEN if has_bits & has::RAW_TP == 0 => {
            let name: u64 = attr_at(&s.attr, attr::raw_tracepoint::NAME);
            if name != 0 {
                read_user_str(&mut s.frame.record.target, TARGET_LEN as u64, name);
            }
        }
        command @ (cmd::PROG_ATTACH | cmd::PROG_DETACH) if get(&s.frame.record.ret) >= 0 => {
            if command == cmd::PROG_ATTACH {
                replaced(s, call);
            }
            attached_to(s, call, get(&s.frame.record.attach_type));
        }
        _ => {}
    }
}

/// Writes the flags and the path of a link to several functions or places, as they were passed.
#[inline(always)]
fn multi_as_asked(s: &mut BpfScratch) {
    let (flags, path) = match get(&s.frame.record.link_type) {
        link_type::KPROBE_MULTI => (attr_at::<u32>(&s.attr, attr::link_create::KPROBE_MULTI_FLAGS), 0),
        link_type::UPROBE_MULTI => (
            attr_at::<u32>(&s.attr, attr::link_create::UPROBE_MULTI_FLAGS),
            attr_at::<u64>(&s.attr, attr::link_create::UPROBE_MULTI_PATH),
        ),
        _ => return,
    };
    if flags & MULTI_RETURN != 0 {
        s.frame.record.has |= has::RETURNS;
    }
    if path != 0 {
        let length = read_user_str(&mut s.text, TEXT_LEN as u64, untagged(path));
        s.frame.record.text_len = if length > 0 { length as u32 } else { 0 };
    }
}

/// Writes the flags of PROG_ATTACH, and the program that they name.
#[inline(always)]
fn replaced(s: &mut BpfScratch, call: &Call) {
    let flags: u32 = attr_at(&s.attr, attr::prog_attach::ATTACH_FLAGS);
    s.frame.record.hooknum = flags | attach::KNOWN;
    if flags & attach::REPLACE != 0 {
        let fd: u32 = attr_at(&s.attr, attr::prog_attach::REPLACE_BPF_FD);
        let program = private_of(file_at(call.task, u64::from(fd)));
        if is_program(program) {
            s.frame.record.priority = rd_field(rd_field(program, field::ProgAux), field::AuxId);
        }
    }
}

/// Writes the target of PROG_ATTACH and PROG_DETACH, whose meaning depends on the attach type
/// ([`bpf_prog_attach`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/syscall.c)).
#[inline(always)]
fn attached_to(s: &mut BpfScratch, call: &Call, attach_type: u32) {
    let fd = s.frame.record.target_fd as u32;
    match attach_type {
        BPF_SK_SKB_STREAM_PARSER | BPF_SK_SKB_STREAM_VERDICT | BPF_SK_MSG_VERDICT | BPF_SK_SKB_VERDICT => {
            map(s, get(&s.found.object2));
        }
        device if by_position(device) => {
            s.frame.record.on |= on::DEVICE;
            s.frame.record.object = fd;
        }
        BPF_FLOW_DISSECTOR | BPF_SK_LOOKUP => {
            let namespaces: u64 = ld(call.task, field::TaskNsproxy);
            net(s, rd_field(namespaces, field::NsproxyNetNs));
        }
        BPF_LIRC_MODE2 => {}
        _ => {
            // A directory of the cgroup filesystem: the number of its inode is the cgroup's
            // (`kernfs_get_inode`, fs/kernfs/inode.c).
            let inode = inode_of(file_at(call.task, u64::from(fd)));
            if inode != 0 {
                s.frame.record.cgroup = inode;
                s.frame.record.on |= on::CGROUP;
            }
        }
    }
}
