//! `bpf`: a BPF program was loaded or attached, or failed to.

use crate::call::Call;
use crate::emit::{Event, Frame};
use crate::files::{file_at, is_shared};
use crate::maps::per_cpu;
use crate::read::{
    has as exists, konst, offset, rd_field, read_kernel, read_kernel_str, read_passed, read_user_str, set,
};
use crate::task::Who;
use aya_ebpf::maps::Array;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::{Const, Field};
use tracetui_shared::record::bpf::{BpfRecord, NAME_LEN, TARGET_LEN, call, cmd, has};

/// Bytes of `union bpf_attr` (include/uapi/linux/bpf.h) that are read: all fields in use lie in them.
const ATTR: u64 = 128;

/// The buffers in which a `bpf` record is assembled.
#[repr(C)]
pub struct BpfScratch {
    frame: Frame<BpfRecord>,
    /// `union bpf_attr` as passed, followed by zeros.
    attr: [u8; ATTR as usize],
}

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

/// Reports a bpf(2) or `PERF_EVENT_IOC_SET_BPF` call that ended. `how` is one of [`call`]. The kernel's side is
/// [`__sys_bpf`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/syscall.c) and
/// [`_perf_ioctl`](https://elixir.bootlin.com/linux/v6.12/source/kernel/events/core.c).
#[inline(always)]
pub unsafe fn bpf(slot: Slot, scratch: &Array<BpfScratch>, call: &Call, how: u8) {
    // SAFETY: `call.task` is the current task, a BTF pointer where the kernel has them. `s` is this CPU's element of
    // this program's own map; the verifier checks every offset into it.
    unsafe {
        // From 7.2 on this bit may be set in addition to the command (`BPF_COMMON_ATTRS`, include/uapi/linux/bpf.h).
        let asked = call.args[0] as u32 & !0x1_0000;
        let command = if asked <= 0xffff { asked as u16 } else { 0 };
        let tells = matches!(command, cmd::PROG_LOAD | cmd::PROG_ATTACH | cmd::RAW_TRACEPOINT_OPEN | cmd::LINK_CREATE);
        if how == call::BPF && !tells {
            return;
        }
        let who = Who::of(call.task);
        let Some(event) = Event::of_call(slot, &who, call) else { return };
        let Some(s) = event.place(scratch) else { return };
        clear(s);
        event.head(&raw mut (*s).frame.header, &who);
        let record = &raw mut (*s).frame.record;
        (*record).ret = call.ret as i32;
        (*record).call = how;
        (*record).prog_uid = u32::MAX;
        (*record).target_fd = -1;
        if how == call::PERF_IOCTL {
            perf_ioctl(s, call);
        } else {
            (*record).cmd = command;
            read_attr(s, call);
            match command {
                cmd::PROG_LOAD => prog_load(s, call),
                cmd::LINK_CREATE => link_create(s, call),
                cmd::RAW_TRACEPOINT_OPEN => raw_tracepoint_open(s, call),
                _ => prog_attach(s, call),
            }
        }
        const LEN: u64 = size_of::<Frame<BpfRecord>>() as u64;
        event.send((&raw mut (*s).frame).cast(), LEN, LEN);
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

#[inline(always)]
unsafe fn prog_load(s: *mut BpfScratch, call: &Call) {
    // SAFETY: `call.task` is the current task; `s` is this CPU's element of this program's own map.
    unsafe {
        if call.ret >= 0 {
            let file = file_at(call.task, call.ret as u64);
            // Another thread may have put another program at the new descriptor. That program then has other
            // references.
            if !is_shared(file) {
                program(s, private_of(file));
            }
        }
        let record = &raw mut (*s).frame.record;
        if (*record).has & has::PROG != 0 {
            return;
        }
        (*record).prog_type = attr_at(s, attr::prog_load::PROG_TYPE);
        (*record).expected_attach_type = attr_at(s, attr::prog_load::EXPECTED_ATTACH_TYPE);
        let name = (&raw mut (*record).name).cast::<u64>();
        name.write(attr_at(s, attr::prog_load::PROG_NAME));
        name.add(1).write(attr_at(s, attr::prog_load::PROG_NAME + 8));
        (*record).name[NAME_LEN - 1] = 0;
    }
}

#[inline(always)]
unsafe fn link_create(s: *mut BpfScratch, call: &Call) {
    // SAFETY: `call.task` is the current task; `s` is this CPU's element of this program's own map.
    unsafe {
        let record = &raw mut (*s).frame.record;
        let attach_type: u32 = attr_at(s, attr::link_create::ATTACH_TYPE);
        (*record).attach_type = attach_type;
        (*record).target_fd = attr_at(s, attr::link_create::TARGET_FD);
        if attach_type == BPF_PERF_EVENT {
            (*record).cookie = attr_at(s, attr::link_create::PERF_COOKIE);
        } else if (BPF_TRACE_RAW_TP..=BPF_LSM_MAC).contains(&attach_type) {
            (*record).cookie = attr_at(s, attr::link_create::TRACING_COOKIE);
        }
        link_or_program(s, call, attr_at(s, attr::link_create::PROG_FD));
    }
}

#[inline(always)]
unsafe fn raw_tracepoint_open(s: *mut BpfScratch, call: &Call) {
    // SAFETY: `call.task` is the current task; `s` is this CPU's element of this program's own map. User memory is read
    // by helper.
    unsafe {
        let record = &raw mut (*s).frame.record;
        (*record).cookie = attr_at(s, attr::raw_tracepoint::COOKIE);
        link_or_program(s, call, attr_at(s, attr::raw_tracepoint::PROG_FD));
        let name: u64 = attr_at(s, attr::raw_tracepoint::NAME);
        if (*record).has & has::RAW_TP == 0 && name != 0 {
            read_user_str((&raw mut (*record).target).cast(), TARGET_LEN as u64, name);
        }
    }
}

#[inline(always)]
unsafe fn prog_attach(s: *mut BpfScratch, call: &Call) {
    // SAFETY: `call.task` is the current task; `s` is this CPU's element of this program's own map.
    unsafe {
        let record = &raw mut (*s).frame.record;
        (*record).attach_type = attr_at(s, attr::prog_attach::ATTACH_TYPE);
        (*record).target_fd = attr_at(s, attr::prog_attach::TARGET_FD);
        program_at(s, call.task, u64::from(attr_at::<u32>(s, attr::prog_attach::ATTACH_BPF_FD)));
    }
}

/// `ioctl(perf_fd, PERF_EVENT_IOC_SET_BPF, prog_fd)` (include/uapi/linux/perf_event.h).
#[inline(always)]
unsafe fn perf_ioctl(s: *mut BpfScratch, call: &Call) {
    // SAFETY: `call.task` is the current task; `s` is this CPU's element of this program's own map. Kernel addresses
    // are read by helper.
    unsafe {
        (*s).frame.record.target_fd = call.args[0] as i32;
        let event = private_of(file_at(call.task, call.args[0] & 0xffff_ffff));
        if call.ret >= 0 && event != 0 {
            program(s, rd_field(event, Field::PerfEventProg));
            perf_event(s, event);
        }
        if (*s).frame.record.has & has::PROG == 0 {
            program_at(s, call.task, call.args[2] & 0xffff_ffff);
        }
    }
}

/// Writes the fields of the link behind the new descriptor, or of the program that was passed if there is no link.
#[inline(always)]
unsafe fn link_or_program(s: *mut BpfScratch, call: &Call, prog_fd: u32) {
    // SAFETY: `call.task` is the current task; `s` is this CPU's element of this program's own map.
    unsafe {
        if call.ret >= 0 {
            link(s, private_of(file_at(call.task, call.ret as u64)));
        }
        if (*s).frame.record.has & has::PROG == 0 {
            program_at(s, call.task, u64::from(prog_fd));
        }
    }
}

/// `file->private_data`: the object behind a descriptor.
#[inline(always)]
unsafe fn private_of(file: u64) -> u64 {
    // SAFETY: kernel addresses are read by helper, which zero-fills on a fault.
    unsafe { if file == 0 { 0 } else { rd_field(file, Field::FilePrivate) } }
}

#[inline(always)]
unsafe fn program_at(s: *mut BpfScratch, task: u64, fd: u64) {
    // SAFETY: `task` is the current task; `s` is this CPU's element of this program's own map.
    unsafe { program(s, private_of(file_at(task, fd))) }
}

/// Writes a program's fields. `prog` may be any object that a descriptor stands for. A `bpf_prog` is recognized by
/// `aux->prog`, which points back at it.
#[inline(always)]
unsafe fn program(s: *mut BpfScratch, prog: u64) {
    // SAFETY: `s` is this CPU's element of this program's own map. Kernel addresses are read by helper, which
    // zero-fills on a fault.
    unsafe {
        if prog == 0 {
            return;
        }
        let aux: u64 = rd_field(prog, Field::ProgAux);
        if aux == 0 || rd_field::<u64>(aux, Field::AuxProg) != prog {
            return;
        }
        let record = &raw mut (*s).frame.record;
        (*record).has |= has::PROG;
        (*record).prog_type = rd_field(prog, Field::ProgType);
        (*record).expected_attach_type = rd_field(prog, Field::ProgExpectedAttachType);
        (*record).tag = rd_field(prog, Field::ProgTag);
        (*record).prog_id = rd_field(aux, Field::AuxId);
        if exists(Field::AuxName) {
            read_kernel((&raw mut (*record).name).cast(), NAME_LEN as u64, aux.wrapping_add(offset(Field::AuxName)));
            (*record).name[NAME_LEN - 1] = 0;
        }
        let user: u64 = rd_field(aux, Field::AuxUser);
        if user != 0 && exists(Field::UserUid) {
            (*record).prog_uid = rd_field(user, Field::UserUid);
        }
    }
}

/// Writes the fields of a link, of its program and of its target. A link is recognized by its program.
#[inline(always)]
unsafe fn link(s: *mut BpfScratch, link: u64) {
    // SAFETY: `s` is this CPU's element of this program's own map. Kernel addresses are read by helper, which
    // zero-fills on a fault.
    unsafe {
        if link == 0 {
            return;
        }
        let prog: u64 = rd_field(link, Field::LinkProg);
        program(s, prog);
        let record = &raw mut (*s).frame.record;
        if (*record).has & has::PROG == 0 {
            return;
        }
        (*record).has |= has::LINK;
        (*record).link_id = rd_field(link, Field::LinkId);
        let link_type: u32 = rd_field(link, Field::LinkType);
        (*record).link_type = link_type;
        if u64::from(link_type) == konst(Const::LinkTypePerf) {
            perf_event(s, private_of(rd_field(link, Field::PerfLinkFile)));
        } else if u64::from(link_type) == konst(Const::LinkTypeRawTp) {
            let btp: u64 = rd_field(link, Field::RawTpLinkBtp);
            if tracepoint(&raw mut (*record).target, rd_field(btp, Field::RawEventMapTp)) {
                (*record).has |= has::RAW_TP;
            }
        } else {
            let aux: u64 = rd_field(prog, Field::ProgAux);
            string(&raw mut (*record).target, rd_field(aux, Field::AuxAttachFuncName));
        }
    }
}

/// Writes the target of a perf event: the system of the event's class, and the event's name.
#[inline(always)]
unsafe fn perf_event(s: *mut BpfScratch, event: u64) {
    // SAFETY: `s` is this CPU's element of this program's own map. Kernel addresses are read by helper, which
    // zero-fills on a fault.
    unsafe {
        if event == 0 {
            return;
        }
        let record = &raw mut (*s).frame.record;
        (*record).has |= has::PERF;
        (*record).perf_type = rd_field(event, Field::PerfEventAttrType);
        (*record).perf_config = rd_field(event, Field::PerfEventAttrConfig);
        let tp_event: u64 = rd_field(event, Field::PerfEventTpEvent);
        if tp_event == 0 {
            return;
        }
        let flags: u32 = rd_field(tp_event, Field::TraceCallFlags);
        (*record).call_flags = flags;
        let class: u64 = rd_field(tp_event, Field::TraceCallClass);
        string(&raw mut (*record).target, rd_field(class, Field::TraceClassSystem));
        // A union (`struct trace_event_call`, include/linux/trace_events.h): the tracepoint, or the event's own name.
        let name: u64 = rd_field(tp_event, Field::TraceCallName);
        if u64::from(flags) & konst(Const::TraceFlagTracepoint) != 0 {
            tracepoint(&raw mut (*record).target2, name);
        } else {
            string(&raw mut (*record).target2, name);
        }
    }
}

/// Writes `tracepoint->name`. Returns whether there is one.
#[inline(always)]
unsafe fn tracepoint(to: *mut [u8; TARGET_LEN], tracepoint: u64) -> bool {
    // SAFETY: `to` is in this program's map value. Kernel addresses are read by helper.
    unsafe { tracepoint != 0 && string(to, rd_field(tracepoint, Field::TracepointName)) }
}

/// Writes a kernel string. Returns whether there is one. `to` is never the first byte of a map value
/// ([`read_kernel_str`]).
#[inline(always)]
unsafe fn string(to: *mut [u8; TARGET_LEN], from: u64) -> bool {
    // SAFETY: `to` is in this program's map value, and not its first byte. Kernel addresses are read by helper.
    unsafe { from != 0 && read_kernel_str(to.cast(), TARGET_LEN as u64, from) > 1 }
}
