//! `bpf`: a BPF program was loaded, attached, replaced or detached, or failed to.

use crate::arch::untagged;
use crate::call::Call;
use crate::emit::{Event, Frame};
use crate::files::{Anonymous, file_at, is_anonymous, is_shared, is_tun, owns_table};
use crate::maps::per_cpu;
use crate::read::{
    forgotten, get, has as exists, konst, ld, offset, rd, rd_field, read_kernel, read_kernel_str, read_passed,
    read_user_str, set,
};
use crate::scan;
use crate::task::Who;
use aya_ebpf::maps::Array;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::{field, sum};
use tracetui_shared::record::bpf::{
    BpfRecord, NAME_LEN, SYMBOL_LEN, TARGET_LEN, TEXT_LEN, call, cmd, has, link_type, on, option, tun,
};
use tracetui_shared::record::stack;

/// Bytes of `union bpf_attr` (include/uapi/linux/bpf.h) that are read: all fields in use lie in them.
const ATTR: u64 = 128;

/// The buffers in which a `bpf` record is assembled.
#[repr(C)]
pub struct BpfScratch {
    frame: Frame<BpfRecord>,
    /// The text after the record, and the stack.
    text: [u8; TEXT_LEN + stack::ROOM],
    /// `union bpf_attr` as passed, followed by zeros.
    attr: [u8; ATTR as usize],
    /// What the call names, step by step. It is kept in memory: the verifier then need not follow every command
    /// separately.
    found: Found,
}

/// The kernel objects that a call names: addresses, 0 if there is none.
#[repr(C)]
struct Found {
    /// The two descriptors that the call takes or makes; [`NO_FD`] if there is none.
    fd: u64,
    fd2: u64,
    /// The file behind the first one, and the objects behind both.
    file: u64,
    object: u64,
    object2: u64,
    /// What may be the program, and what may be if that is none.
    prog: u64,
    otherwise: u64,
    /// What may be the link.
    link: u64,
    /// The perf event.
    event: u64,
    /// The string that names the target, and the bits of [`has`] and of [`on`] that it adds if it is not empty.
    name: u64,
    name_has: u64,
    name_on: u64,
    /// The string after the record.
    text: u64,
}

/// No descriptor: beyond the end of every table.
const NO_FD: u64 = u64::MAX;

per_cpu! {
    /// Records of calls from `sys_exit_btf`.
    pub BPF_BTF_SCRATCH: BpfScratch;
    /// Records of `bpf_tp`.
    pub BPF_TP_SCRATCH: BpfScratch;
    /// Records of `bpf_multi`.
    pub BPF_MULTI_SCRATCH: BpfScratch;
}

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

/// `BPF_MAP_TYPE_STRUCT_OPS` (`enum bpf_map_type`, include/uapi/linux/bpf.h).
const MAP_STRUCT_OPS: u32 = 26;

/// `BPF_F_KPROBE_MULTI_RETURN` and `BPF_F_UPROBE_MULTI_RETURN` (include/uapi/linux/bpf.h).
const MULTI_RETURN: u32 = 1;

// `FURTHER`: the program may call functions (`further.rs`). One that is attached to functions may not: it has no BTF.

/// Reports a call that ended and that loads, attaches or detaches a program. `how` is one of [`call`]. The kernel's side is
/// [`__sys_bpf`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/syscall.c),
/// [`_perf_ioctl`](https://elixir.bootlin.com/linux/v6.12/source/kernel/events/core.c),
/// [`sk_setsockopt`](https://elixir.bootlin.com/linux/v6.12/source/net/core/sock.c) and
/// [`seccomp_set_mode_filter`](https://elixir.bootlin.com/linux/v6.12/source/kernel/seccomp.c).
#[inline(always)]
pub unsafe fn bpf<const FURTHER: bool>(slot: Slot, scratch: &Array<BpfScratch>, call: &Call, how: u8) {
    // SAFETY: `call.task` is the current task, a BTF pointer where the kernel has them. `s` is this CPU's element of
    // this program's own map; the verifier checks every offset into it.
    unsafe {
        // From 7.2 on this bit may be set in addition to the command (`BPF_COMMON_ATTRS`, include/uapi/linux/bpf.h).
        let asked = call.args[0] as u32 & !0x1_0000;
        let command = match how {
            call::SETSOCKOPT => call.args[2] as u16,
            call::TUN_IOCTL => call.args[1] as u16,
            _ if asked <= 0xffff => asked as u16,
            _ => 0,
        };
        let hidden = |number: u16| forgotten(number.into(), call.args[1]) as u16;
        let command = hidden(command);
        if how == call::BPF && !is_reported(hidden(command), call) {
            return;
        }
        if matches!(how, call::PERF_IOCTL | call::TUN_IOCTL) && !may_attach(how, call) {
            return;
        }
        let how = hidden(how.into()) as u8;
        let mut call = *call;
        call.ret = result(how, &call);
        let call = &call;
        let who = Who::of(call.task);
        let Some(event) = Event::of_call(slot, &who, call) else { return };
        let Some(s) = event.place(scratch) else { return };
        clear(s);
        event.head(&raw mut (*s).frame.header, &who);
        let record = &raw mut (*s).frame.record;
        set(&raw mut (*record).ret, call.ret as i32);
        set(&raw mut (*record).call, how);
        set(&raw mut (*record).cmd, command);
        (*record).prog_uid = u32::MAX;
        (*record).target_fd = -1;
        if how == call::BPF {
            read_attr(s, call);
        }
        descriptors(s, call);
        objects(s, call.task);
        find(s, call);
        program::<FURTHER>(s);
        link(s);
        perf_event(s);
        names(s);
        finish(s, call);
        const LEN: u64 = size_of::<Frame<BpfRecord>>() as u64;
        let text = crate::read::at_most(u64::from((*s).frame.record.text_len), TEXT_LEN as u64);
        event.send((&raw mut (*s).frame).cast(), LEN + text, LEN + TEXT_LEN as u64);
    }
}

/// The result of a call. seccomp(2) with SECCOMP_FILTER_FLAG_TSYNC that fails returns the id of a thread, unless
/// SECCOMP_FILTER_FLAG_TSYNC_ESRCH asks for an error: it then fails with ESRCH, and so it is reported.
#[inline(always)]
fn result(how: u8, call: &Call) -> i64 {
    const TSYNC: u64 = 1;
    const TSYNC_ESRCH: u64 = 1 << 4;
    const ESRCH: i64 = 3;
    // The second argument of prctl(2) is SECCOMP_MODE_FILTER, 2.
    let is_thread = how == call::SECCOMP && call.args[1] & (TSYNC | TSYNC_ESRCH) == TSYNC && call.ret > 0;
    if is_thread { -ESRCH } else { call.ret }
}

/// Whether a command of bpf(2) makes an event. Of the updates of maps, only those of struct_ops do.
#[inline(always)]
unsafe fn is_reported(command: u16, call: &Call) -> bool {
    match command {
        cmd::PROG_LOAD
        | cmd::PROG_ATTACH
        | cmd::PROG_DETACH
        | cmd::RAW_TRACEPOINT_OPEN
        | cmd::LINK_CREATE
        | cmd::LINK_UPDATE
        | cmd::LINK_DETACH => true,
        cmd::MAP_UPDATE_ELEM | cmd::MAP_DELETE_ELEM => {
            let mut fd = 0u32;
            // SAFETY: user memory is read by helper into a number. `call.task` is the current task.
            unsafe {
                read_passed::<4>((&raw mut fd).cast(), 4, call.args[1]);
                let file = file_at(call.task, u64::from(fd));
                let map = private_of(file);
                map != 0
                    && exists(field::MapType)
                    && rd_field::<u32>(map, field::MapType) == MAP_STRUCT_OPS
                    && is_anonymous(file, &Anonymous::BPF_MAP)
            }
        }
        _ => false,
    }
}

/// Whether ioctl(2) may have been called on a perf event, or on a tun device. Files of other kinds may know the same
/// number, and answer it as they like (FUSE). While another thread may have put another file at the descriptor, the call
/// may have attached a program.
#[inline(always)]
unsafe fn may_attach(how: u8, call: &Call) -> bool {
    // SAFETY: `call.task` is the current task, a BTF pointer where the kernel has them.
    unsafe {
        let file = file_at(call.task, call.args[0] & 0xffff_ffff);
        let takes = if how == call::TUN_IOCTL { is_tun(file) } else { is_anonymous(file, &Anonymous::PERF_EVENT) };
        file == 0 || takes || !owns_table(call.task)
    }
}

#[inline(always)]
unsafe fn clear(s: *mut BpfScratch) {
    let mut i = 0;
    while i < size_of::<BpfRecord>() / 8 {
        // SAFETY: `s` is this CPU's element of this program's own map. A record is a whole number of words.
        unsafe { set((&raw mut (*s).frame.record).cast::<u64>().add(i), 0) };
        i += 1;
    }
    i = 0;
    while i < size_of::<Found>() / 8 {
        // SAFETY: the same.
        unsafe { set((&raw mut (*s).found).cast::<u64>().add(i), 0) };
        i += 1;
    }
}

/// Reads `union bpf_attr`. A caller that knows a shorter one passes fewer bytes.
#[inline(always)]
unsafe fn read_attr(s: *mut BpfScratch, call: &Call) {
    // SAFETY: `s` is this CPU's element of this program's own map. User memory is read by helper, which does not fault.
    unsafe {
        let attr = (&raw mut (*s).attr).cast::<u8>();
        let mut i = 0;
        while i < ATTR as usize / 8 {
            set(attr.cast::<u64>().add(i), 0);
            i += 1;
        }
        let size = call.args[2] & 0xffff_ffff;
        let size = if size < ATTR { size } else { ATTR };
        if size > 0 && read_passed::<ATTR>(attr, size, call.args[1]) == 0 {
            (*s).frame.record.has |= has::ATTR;
        }
    }
}

#[inline(always)]
unsafe fn attr_at<T: Copy>(s: *mut BpfScratch, at: usize) -> T {
    // SAFETY: `s` is this CPU's element of this program's own map; `at` is one of the offsets above, inside of the
    // attributes.
    unsafe { (&raw const (*s).attr).cast::<u8>().add(at).cast::<T>().read() }
}

/// Finds the descriptors, and writes the arguments.
#[inline(always)]
unsafe fn descriptors(s: *mut BpfScratch, call: &Call) {
    // SAFETY: `s` is this CPU's element of this program's own map.
    unsafe {
        let record = &raw mut (*s).frame.record;
        let low = |arg: u64| arg & 0xffff_ffff;
        let attr_fd = |at| u64::from(attr_at::<u32>(s, at));
        let made = if get(&raw const (*record).ret) >= 0 { call.ret as u64 } else { NO_FD };
        let (fd, fd2) = match get(&raw const (*record).call) {
            call::PERF_IOCTL => {
                (*record).target_fd = call.args[0] as i32;
                (low(call.args[0]), low(call.args[2]))
            }
            call::SETSOCKOPT | call::TUN_IOCTL => {
                (*record).target_fd = call.args[0] as i32;
                (low(call.args[0]), NO_FD)
            }
            call::SECCOMP => (NO_FD, NO_FD),
            _ => match get(&raw const (*record).cmd) {
                cmd::PROG_LOAD => (made, NO_FD),
                cmd::LINK_CREATE => {
                    let attach_type: u32 = attr_at(s, attr::link_create::ATTACH_TYPE);
                    (*record).attach_type = attach_type;
                    (*record).target_fd = attr_at(s, attr::link_create::TARGET_FD);
                    if attach_type == BPF_PERF_EVENT {
                        (*record).cookie = attr_at(s, attr::link_create::PERF_COOKIE);
                    } else if (BPF_TRACE_RAW_TP..=BPF_LSM_MAC).contains(&attach_type) {
                        (*record).cookie = attr_at(s, attr::link_create::TRACING_COOKIE);
                    }
                    (made, attr_fd(attr::link_create::PROG_FD))
                }
                cmd::RAW_TRACEPOINT_OPEN => {
                    (*record).cookie = attr_at(s, attr::raw_tracepoint::COOKIE);
                    (made, attr_fd(attr::raw_tracepoint::PROG_FD))
                }
                cmd::LINK_UPDATE => (attr_fd(attr::link_update::LINK_FD), attr_fd(attr::link_update::NEW_PROG_FD)),
                cmd::LINK_DETACH => (attr_fd(attr::link_update::LINK_FD), NO_FD),
                cmd::MAP_UPDATE_ELEM | cmd::MAP_DELETE_ELEM => (attr_fd(attr::map_elem::MAP_FD), NO_FD),
                _ => {
                    (*record).attach_type = attr_at(s, attr::prog_attach::ATTACH_TYPE);
                    (*record).target_fd = attr_at(s, attr::prog_attach::TARGET_FD);
                    (attr_fd(attr::prog_attach::ATTACH_BPF_FD), attr_fd(attr::prog_attach::TARGET_FD))
                }
            },
        };
        set(&raw mut (*s).found.fd, fd);
        set(&raw mut (*s).found.fd2, fd2);
    }
}

/// Finds the objects behind the descriptors.
#[inline(always)]
unsafe fn objects(s: *mut BpfScratch, task: u64) {
    // SAFETY: `task` is the current task; `s` is this CPU's element of this program's own map.
    unsafe {
        set(&raw mut (*s).found.file, file_at(task, get(&raw const (*s).found.fd)));
        set(&raw mut (*s).found.object, private_of(get(&raw const (*s).found.file)));
        set(&raw mut (*s).found.object2, private_of(file_at(task, get(&raw const (*s).found.fd2))));
    }
}

/// Finds the program, the link and the perf event among the objects.
#[inline(always)]
unsafe fn find(s: *mut BpfScratch, call: &Call) {
    // SAFETY: `call.task` is the current task; `s` is this CPU's element of this program's own map. Kernel addresses are
    // read by helper.
    unsafe {
        let record = &raw mut (*s).frame.record;
        let succeeded = get(&raw const (*record).ret) >= 0;
        let (object, object2) = (get(&raw const (*s).found.object), get(&raw const (*s).found.object2));
        let (mut prog, mut otherwise) = (0, 0);
        match get(&raw const (*record).call) {
            call::PERF_IOCTL => {
                otherwise = object2;
                if succeeded && is_anonymous(get(&raw const (*s).found.file), &Anonymous::PERF_EVENT) {
                    // The event keeps its first program. If another one was passed, another thread has exchanged one of
                    // the descriptors, and nobody knows which.
                    prog = rd_field(object, field::PerfEventProg);
                    if prog == object2 || !is_program(object2) {
                        set(&raw mut (*s).found.event, object);
                    } else {
                        (prog, otherwise) = (0, 0);
                    }
                }
            }
            call::SETSOCKOPT => {
                let file: u64 = rd_field(object, field::SocketFile);
                if succeeded && object != 0 && file == get(&raw const (*s).found.file) {
                    prog = filter_of(rd_field(object, field::SocketSk), get(&raw const (*record).cmd));
                }
            }
            call::TUN_IOCTL => {
                if succeeded
                    && get(&raw const (*record).cmd) == tun::ATTACH_FILTER
                    && is_tun(get(&raw const (*s).found.file))
                {
                    // `struct tun_file` begins with its `struct sock` (drivers/net/tun.c).
                    prog = filter_of(object, option::ATTACH_FILTER);
                }
            }
            call::SECCOMP => {
                // The filter that was installed last is the first of the task.
                if succeeded && exists(field::TaskSeccompFilter) {
                    let filter: u64 = ld(call.task, field::TaskSeccompFilter);
                    prog = rd_field(filter, field::SeccompFilterProg);
                }
            }
            _ => match get(&raw const (*record).cmd) {
                cmd::PROG_LOAD => {
                    // Another thread may have put another program at the new descriptor. That program then has other
                    // references.
                    if !is_shared(get(&raw const (*s).found.file)) {
                        prog = object;
                    }
                }
                // The same for a new link. Its program is then the one that was passed.
                cmd::LINK_CREATE | cmd::RAW_TRACEPOINT_OPEN => {
                    if !is_shared(get(&raw const (*s).found.file)) {
                        set(&raw mut (*s).found.link, object);
                        prog = program_of_link(object);
                    }
                    otherwise = object2;
                }
                // The link keeps its id and its type.
                cmd::LINK_UPDATE | cmd::LINK_DETACH => {
                    set(&raw mut (*s).found.link, object);
                    prog = program_of_link(object);
                    otherwise = object2;
                    if get(&raw const (*record).cmd) == cmd::LINK_UPDATE {
                        (prog, otherwise) = if succeeded { (prog, 0) } else { (object2, prog) };
                    }
                }
                cmd::MAP_UPDATE_ELEM | cmd::MAP_DELETE_ELEM => map(s, object),
                _ => prog = object,
            },
        }
        set(&raw mut (*s).found.prog, prog);
        set(&raw mut (*s).found.otherwise, otherwise);
    }
}

/// Writes what depends on the rest of the record.
#[inline(always)]
unsafe fn finish(s: *mut BpfScratch, call: &Call) {
    // SAFETY: `call.task` is the current task; `s` is this CPU's element of this program's own map. User memory is read
    // by helper.
    unsafe {
        let record = &raw mut (*s).frame.record;
        if get(&raw const (*record).call) != call::BPF {
            return;
        }
        let has_bits = get(&raw const (*record).has);
        match get(&raw const (*record).cmd) {
            cmd::PROG_LOAD if has_bits & has::PROG == 0 => {
                (*record).prog_type = attr_at(s, attr::prog_load::PROG_TYPE);
                (*record).expected_attach_type = attr_at(s, attr::prog_load::EXPECTED_ATTACH_TYPE);
                let name = (&raw mut (*record).name).cast::<u64>();
                name.write(attr_at(s, attr::prog_load::PROG_NAME));
                name.add(1).write(attr_at(s, attr::prog_load::PROG_NAME + 8));
                (*record).name[NAME_LEN - 1] = 0;
            }
            cmd::LINK_CREATE => multi_as_asked(s),
            cmd::RAW_TRACEPOINT_OPEN if has_bits & has::RAW_TP == 0 => {
                let name: u64 = attr_at(s, attr::raw_tracepoint::NAME);
                if name != 0 {
                    read_user_str((&raw mut (*record).target).cast(), TARGET_LEN as u64, name);
                }
            }
            cmd::PROG_ATTACH | cmd::PROG_DETACH if get(&raw const (*record).ret) >= 0 => {
                attached_to(s, call, get(&raw const (*record).attach_type));
            }
            _ => {}
        }
    }
}

/// Writes the flags and the path of a link to several functions or places, as they were passed.
#[inline(always)]
unsafe fn multi_as_asked(s: *mut BpfScratch) {
    // SAFETY: `s` is this CPU's element of this program's own map. User memory is read by helper.
    unsafe {
        let record = &raw mut (*s).frame.record;
        let (flags, path) = match get(&raw const (*record).link_type) {
            link_type::KPROBE_MULTI => (attr_at::<u32>(s, attr::link_create::KPROBE_MULTI_FLAGS), 0),
            link_type::UPROBE_MULTI => (
                attr_at::<u32>(s, attr::link_create::UPROBE_MULTI_FLAGS),
                attr_at::<u64>(s, attr::link_create::UPROBE_MULTI_PATH),
            ),
            _ => return,
        };
        if flags & MULTI_RETURN != 0 {
            (*record).has |= has::RETURNS;
        }
        if path != 0 {
            let length = read_user_str((&raw mut (*s).text).cast(), TEXT_LEN as u64, untagged(path));
            (*record).text_len = if length > 0 { length as u32 } else { 0 };
        }
    }
}

/// Writes the target of PROG_ATTACH and PROG_DETACH, whose meaning depends on the attach type
/// ([`bpf_prog_attach`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/syscall.c)).
#[inline(always)]
unsafe fn attached_to(s: *mut BpfScratch, call: &Call, attach_type: u32) {
    // SAFETY: `call.task` is the current task; `s` is this CPU's element of this program's own map. Kernel addresses are
    // read by helper.
    unsafe {
        let record = &raw mut (*s).frame.record;
        let fd = (*record).target_fd as u32;
        match attach_type {
            BPF_SK_SKB_STREAM_PARSER | BPF_SK_SKB_STREAM_VERDICT | BPF_SK_MSG_VERDICT | BPF_SK_SKB_VERDICT => {
                map(s, get(&raw const (*s).found.object2));
            }
            BPF_TCX_INGRESS | BPF_TCX_EGRESS | BPF_NETKIT_PRIMARY | BPF_NETKIT_PEER => {
                (*record).on |= on::DEVICE;
                (*record).object = fd;
            }
            BPF_FLOW_DISSECTOR | BPF_SK_LOOKUP => {
                let namespaces: u64 = ld(call.task, field::TaskNsproxy);
                net(s, rd_field(namespaces, field::NsproxyNetNs));
            }
            BPF_LIRC_MODE2 => {}
            _ => {
                // A directory of the cgroup filesystem: the number of its inode is the cgroup's
                // (`kernfs_get_inode`, fs/kernfs/inode.c).
                let file = file_at(call.task, u64::from(fd));
                if file != 0 && exists(field::DentryInode) && exists(field::InodeIno) {
                    let inode: u64 = rd_field(rd_field(file, sum::FileDentry), field::DentryInode);
                    (*record).cgroup = rd_field(inode, field::InodeIno);
                    (*record).on |= on::CGROUP;
                }
            }
        }
    }
}

/// The program of a socket that an option of `SOL_SOCKET` attached; 0 if the option detaches.
#[inline(always)]
unsafe fn filter_of(sk: u64, option: u16) -> u64 {
    // SAFETY: kernel addresses are read by helper.
    unsafe {
        match option {
            option::ATTACH_FILTER | option::ATTACH_BPF => {
                rd_field(rd_field(sk, field::SockFilter), field::SkFilterProg)
            }
            option::ATTACH_REUSEPORT_CBPF | option::ATTACH_REUSEPORT_EBPF => {
                rd_field(rd_field(sk, field::SockReuseport), field::ReuseportProg)
            }
            _ => 0,
        }
    }
}

/// Writes a map as the target.
#[inline(always)]
unsafe fn map(s: *mut BpfScratch, map: u64) {
    // SAFETY: `s` is this CPU's element of this program's own map. Kernel addresses are read by helper.
    unsafe {
        if map == 0 || !exists(field::MapId) {
            return;
        }
        let record = &raw mut (*s).frame.record;
        (*record).on |= on::MAP;
        (*record).object = rd_field(map, field::MapId);
        if exists(field::MapName) {
            read_kernel((&raw mut (*record).target).cast(), NAME_LEN as u64, map.wrapping_add(offset(field::MapName)));
        }
    }
}

/// Writes a network interface as the target.
#[inline(always)]
unsafe fn device(s: *mut BpfScratch, device: u64) {
    // SAFETY: `s` is this CPU's element of this program's own map. Kernel addresses are read by helper.
    unsafe {
        if device == 0 || !exists(field::NetDeviceIfindex) {
            return;
        }
        let record = &raw mut (*s).frame.record;
        (*record).on |= on::DEVICE;
        (*record).object = rd_field(device, field::NetDeviceIfindex);
        if exists(field::NetDeviceName) {
            let name = device.wrapping_add(offset(field::NetDeviceName));
            read_kernel((&raw mut (*record).target).cast(), NAME_LEN as u64, name);
        }
    }
}

/// Writes a network namespace as the target.
#[inline(always)]
unsafe fn net(s: *mut BpfScratch, net: u64) {
    // SAFETY: `s` is this CPU's element of this program's own map. Kernel addresses are read by helper.
    unsafe {
        if net != 0 && exists(field::NetInum) {
            let record = &raw mut (*s).frame.record;
            (*record).on |= on::NETNS;
            (*record).object = rd_field(net, field::NetInum);
        }
    }
}

/// `file->private_data`: the object behind a descriptor.
#[inline(always)]
unsafe fn private_of(file: u64) -> u64 {
    // SAFETY: kernel addresses are read by helper, which zero-fills on a fault.
    unsafe { if file == 0 { 0 } else { rd_field(file, field::FilePrivate) } }
}

/// Whether an object that a descriptor stands for is a `bpf_prog`, which is recognized by `aux->prog`: it points back.
#[inline(always)]
unsafe fn is_program(prog: u64) -> bool {
    // SAFETY: kernel addresses are read by helper, which zero-fills on a fault.
    unsafe {
        let aux: u64 = rd_field(prog, field::ProgAux);
        prog != 0 && aux != 0 && rd_field::<u64>(aux, field::AuxProg) == prog
    }
}

/// The program of what may be a link; 0 if there is none.
#[inline(always)]
unsafe fn program_of_link(link: u64) -> u64 {
    // SAFETY: kernel addresses are read by helper, which zero-fills on a fault.
    unsafe { if link == 0 { 0 } else { rd_field(link, field::LinkProg) } }
}

/// Writes the fields of the program, if there is one.
#[inline(always)]
unsafe fn program<const FURTHER: bool>(s: *mut BpfScratch) {
    // SAFETY: `s` is this CPU's element of this program's own map. Kernel addresses are read by helper, which
    // zero-fills on a fault.
    unsafe {
        if !is_program(get(&raw const (*s).found.prog)) {
            set(&raw mut (*s).found.prog, get(&raw const (*s).found.otherwise));
            if !is_program(get(&raw const (*s).found.prog)) {
                return;
            }
        }
        let prog = get(&raw const (*s).found.prog);
        let aux: u64 = rd_field(prog, field::ProgAux);
        let record = &raw mut (*s).frame.record;
        set(&raw mut (*record).has, get(&raw const (*record).has) | has::PROG);
        (*record).prog_type = rd_field(prog, field::ProgType);
        (*record).expected_attach_type = rd_field(prog, field::ProgExpectedAttachType);
        (*record).tag = rd_field(prog, field::ProgTag);
        (*record).prog_id = rd_field(aux, field::AuxId);
        if exists(field::AuxName) {
            read_kernel((&raw mut (*record).name).cast(), NAME_LEN as u64, aux.wrapping_add(offset(field::AuxName)));
            (*record).name[NAME_LEN - 1] = 0;
        }
        if exists(field::AuxKsymName) {
            let symbol = (&raw mut (*record).symbol).cast();
            read_kernel(symbol, SYMBOL_LEN as u64, aux.wrapping_add(offset(field::AuxKsymName)));
            (*record).symbol[SYMBOL_LEN - 1] = 0;
        }
        (*record).attach_btf_id = rd_field(aux, field::AuxAttachBtfId);
        (*record).instructions = rd_field(prog, field::ProgLen);
        let (helpers, examined) = scan::helpers::<FURTHER>(prog);
        (*record).helpers = helpers;
        (*record).scan = examined;
        let user: u64 = rd_field(aux, field::AuxUser);
        if user != 0 && exists(field::UserUid) {
            (*record).prog_uid = rd_field(user, field::UserUid);
        }
    }
}

/// Writes the fields of the link, if there is one, and finds its target. A link is recognized by its program.
#[inline(always)]
unsafe fn link(s: *mut BpfScratch) {
    // SAFETY: `s` is this CPU's element of this program's own map. Kernel addresses are read by helper, which
    // zero-fills on a fault.
    unsafe {
        let link = get(&raw const (*s).found.link);
        let prog = program_of_link(link);
        if !is_program(prog) {
            return;
        }
        let record = &raw mut (*s).frame.record;
        set(&raw mut (*record).has, get(&raw const (*record).has) | has::LINK);
        (*record).link_id = rd_field(link, field::LinkId);
        set(&raw mut (*record).link_type, rd_field(link, field::LinkType));
        let kind = get(&raw const (*record).link_type);
        if u64::from(kind) == konst!(LinkTypePerf) {
            set(&raw mut (*s).found.event, private_of(rd_field(link, field::PerfLinkFile)));
        } else if u64::from(kind) == konst!(LinkTypeRawTp) {
            let btp: u64 = rd_field(link, field::RawTpLinkBtp);
            set(&raw mut (*s).found.name, name_of_tracepoint(rd_field(btp, field::RawEventMapTp)));
            set(&raw mut (*s).found.name_has, u64::from(has::RAW_TP));
        } else {
            target_of_link(s, link, prog, kind);
        }
    }
}

/// Writes the target of a link of one of the other types. Each is a structure that begins with the `bpf_link`, except for
/// `bpf_uprobe_multi_link`.
#[inline(always)]
unsafe fn target_of_link(s: *mut BpfScratch, link: u64, prog: u64, kind: u32) {
    // SAFETY: `s` is this CPU's element of this program's own map. Kernel addresses are read by helper, which
    // zero-fills on a fault.
    unsafe {
        let record = &raw mut (*s).frame.record;
        match kind {
            link_type::CGROUP => {
                let cgroup: u64 = rd_field(link, field::CgroupLinkCgroup);
                if cgroup != 0 {
                    (*record).on |= on::CGROUP;
                    (*record).cgroup = rd_field(rd_field(cgroup, field::CgroupKn), field::KernfsNodeId);
                }
            }
            link_type::ITER => {
                let target: u64 = rd_field(rd_field(link, field::IterLinkTinfo), field::IterTargetRegInfo);
                set(&raw mut (*s).found.name, rd_field(target, field::IterRegTarget));
                set(&raw mut (*s).found.name_on, u64::from(on::ITER));
            }
            link_type::NETNS => net(s, rd_field(link, field::NetnsLinkNet)),
            link_type::XDP | link_type::TCX | link_type::NETKIT => {
                let to: u64 = match kind {
                    link_type::XDP => rd_field(link, field::XdpLinkDev),
                    link_type::TCX => rd_field(link, field::TcxLinkDev),
                    _ => rd_field(link, field::NetkitLinkDev),
                };
                device(s, to);
            }
            link_type::STRUCT_OPS | link_type::SOCKMAP => {
                let to: u64 = match kind {
                    link_type::STRUCT_OPS => rd_field(link, field::StructOpsLinkMap),
                    _ => rd_field(link, field::SockmapLinkMap),
                };
                map(s, to);
            }
            link_type::NETFILTER if exists(field::NfLinkPf) => {
                (*record).on |= on::NETFILTER;
                (*record).pf = rd_field(link, field::NfLinkPf);
                (*record).hooknum = rd_field(link, field::NfLinkHooknum);
                (*record).priority = rd_field(link, field::NfLinkPriority);
            }
            link_type::KPROBE_MULTI if exists(field::KprobeMultiAddrs) => {
                (*record).on |= on::MULTI;
                (*record).count = rd_field(link, field::KprobeMultiCnt);
                (*record).addr = rd(rd_field(link, field::KprobeMultiAddrs));
            }
            link_type::UPROBE_MULTI if exists(field::UprobeMultiLink) => {
                let link = link.wrapping_sub(offset(field::UprobeMultiLink));
                (*record).on |= on::MULTI;
                (*record).count = rd_field(link, field::UprobeMultiCnt);
                (*record).offset = rd_field(rd_field(link, field::UprobeMultiUprobes), field::UprobeOffset);
            }
            _ => {
                let aux: u64 = rd_field(prog, field::ProgAux);
                set(&raw mut (*s).found.name, rd_field(aux, field::AuxAttachFuncName));
                if kind == link_type::TRACING {
                    let target: u64 = rd_field(link, field::TracingLinkTgtProg);
                    if target != 0 {
                        (*record).on |= on::PROG;
                        (*record).object = rd_field(rd_field(target, field::ProgAux), field::AuxId);
                    }
                }
            }
        }
    }
}

/// Writes the fields of the perf event, if there is one, and finds its target: the system of the event's class, and the
/// event's name.
#[inline(always)]
unsafe fn perf_event(s: *mut BpfScratch) {
    // SAFETY: `s` is this CPU's element of this program's own map. Kernel addresses are read by helper, which
    // zero-fills on a fault.
    unsafe {
        let event = get(&raw const (*s).found.event);
        if event == 0 {
            return;
        }
        let record = &raw mut (*s).frame.record;
        set(&raw mut (*record).has, get(&raw const (*record).has) | has::PERF);
        (*record).perf_type = rd_field(event, field::PerfEventAttrType);
        (*record).perf_config = rd_field(event, field::PerfEventAttrConfig);
        let tp_event: u64 = rd_field(event, field::PerfEventTpEvent);
        if tp_event == 0 {
            set(&raw mut (*s).found.name, rd_field(rd_field(event, field::PerfEventPmu), field::PmuName));
            return;
        }
        set(&raw mut (*record).call_flags, rd_field(tp_event, field::TraceCallFlags));
        let flags = &raw const (*record).call_flags;
        let is = |flag| u64::from(get(flags)) & flag != 0;
        let class: u64 = rd_field(tp_event, field::TraceCallClass);
        set(&raw mut (*s).found.name, rd_field(class, field::TraceClassSystem));
        // A union (`struct trace_event_call`, include/linux/trace_events.h): the tracepoint, or the event's own name.
        let mut name: u64 = rd_field(tp_event, field::TraceCallName);
        if is(konst!(TraceFlagTracepoint)) {
            name = name_of_tracepoint(name);
        }
        string(&raw mut (*record).target2, name);
        if is(konst!(TraceFlagKprobe)) {
            kprobe(s, tp_event);
        } else if is(konst!(TraceFlagUprobe)) {
            uprobe(s, tp_event);
        }
    }
}

/// Writes the name of the target and the text after the record.
#[inline(always)]
unsafe fn names(s: *mut BpfScratch) {
    // SAFETY: the text is in this program's map value, and not its first byte. Kernel addresses are read by helper.
    unsafe {
        let record = &raw mut (*s).frame.record;
        if string(&raw mut (*record).target, get(&raw const (*s).found.name)) {
            let (has, on) = (get(&raw const (*s).found.name_has), get(&raw const (*s).found.name_on));
            set(&raw mut (*record).has, get(&raw const (*record).has) | has as u8);
            set(&raw mut (*record).on, get(&raw const (*record).on) | on as u16);
        }
        let text = get(&raw const (*s).found.text);
        if text != 0 {
            let length = read_kernel_str((&raw mut (*s).text).cast(), TEXT_LEN as u64, text);
            (*record).text_len = if length > 0 { length as u32 } else { 0 };
        }
    }
}

/// The `trace_probe` of a probe event: the first of those that share the event
/// ([kernel/trace/trace_probe.h](https://elixir.bootlin.com/linux/v6.12/source/kernel/trace/trace_probe.h)).
#[inline(always)]
unsafe fn trace_probe(tp_event: u64) -> u64 {
    // SAFETY: kernel addresses are read by helper.
    unsafe {
        let event = tp_event.wrapping_sub(offset(field::TraceProbeEventCall));
        let list: u64 = rd_field(event, field::TraceProbeEventProbes);
        list.wrapping_sub(offset(field::TraceProbeList))
    }
}

/// Writes function, offset and address of a kprobe. One by address has no name.
#[inline(always)]
unsafe fn kprobe(s: *mut BpfScratch, tp_event: u64) {
    // SAFETY: `s` is this CPU's element of this program's own map. Kernel addresses are read by helper, which
    // zero-fills on a fault.
    unsafe {
        if !exists(field::TraceKprobeTp) || !exists(field::TraceProbeEventCall) || !exists(field::TraceProbeList) {
            return;
        }
        let record = &raw mut (*s).frame.record;
        let probe = trace_probe(tp_event).wrapping_sub(offset(field::TraceKprobeTp));
        (*record).has |= has::KPROBE;
        if rd_field::<u64>(probe, field::TraceKprobeHandler) != 0 {
            (*record).has |= has::RETURNS;
        }
        (*record).addr = rd_field(probe, field::TraceKprobeAddr);
        (*record).offset = u64::from(rd_field::<u32>(probe, field::TraceKprobeOffset));
        set(&raw mut (*s).found.text, rd_field(probe, field::TraceKprobeSymbol));
    }
}

/// Writes file and offset of a uprobe.
#[inline(always)]
unsafe fn uprobe(s: *mut BpfScratch, tp_event: u64) {
    // SAFETY: `s` is this CPU's element of this program's own map. Kernel addresses are read by helper, which
    // zero-fills on a fault.
    unsafe {
        if !exists(field::TraceUprobeTp) || !exists(field::TraceProbeEventCall) || !exists(field::TraceProbeList) {
            return;
        }
        let record = &raw mut (*s).frame.record;
        let probe = trace_probe(tp_event).wrapping_sub(offset(field::TraceUprobeTp));
        (*record).has |= has::UPROBE;
        if rd_field::<u64>(probe, field::TraceUprobeRet) != 0 {
            (*record).has |= has::RETURNS;
        }
        (*record).offset = rd_field(probe, field::TraceUprobeOffset);
        set(&raw mut (*s).found.text, rd_field(probe, field::TraceUprobeFilename));
    }
}

/// The address of `tracepoint->name`; 0 if there is no tracepoint.
#[inline(always)]
unsafe fn name_of_tracepoint(tracepoint: u64) -> u64 {
    // SAFETY: kernel addresses are read by helper.
    unsafe { if tracepoint == 0 { 0 } else { rd_field(tracepoint, field::TracepointName) } }
}

/// Writes a kernel string. Returns whether there is one. `to` is never the first byte of a map value
/// ([`read_kernel_str`]).
#[inline(always)]
unsafe fn string(to: *mut [u8; TARGET_LEN], from: u64) -> bool {
    // SAFETY: `to` is in this program's map value, and not its first byte. Kernel addresses are read by helper.
    unsafe { from != 0 && read_kernel_str(to.cast(), TARGET_LEN as u64, from) > 1 }
}
