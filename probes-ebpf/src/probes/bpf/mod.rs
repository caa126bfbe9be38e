//! `bpf`: a BPF program was loaded, attached, replaced or detached, or failed to.

use crate::arch::read_passed;
use crate::call::Call;
use crate::emit::{Event, Frame};
use crate::files::{Anonymous, file_at, is_anonymous, is_tun, owns_table};
use crate::ioctl::{SET_BPF, attaches};
use crate::maps::per_cpu;
use crate::read::{at_most, forgotten, has as exists, rd_field, set, zero};
use crate::task::Who;
use asked::{ATTR, descriptors, finish, read_attr};
use link::link;
use object::{find, objects, private_of, program};
use perf::perf_event;
use target::names;
use tracetui_shared::calls::bpf as what;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::field;
use tracetui_shared::record::bpf::{BpfRecord, TEXT_LEN, call, cmd, option};
use tracetui_shared::record::stack;
use zerocopy::FromZeros;

mod asked;
mod link;
mod netlink;
mod object;
mod perf;
mod target;

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

/// The addresses of the kernel objects that a call names; 0 if absent.
#[repr(C)]
#[derive(FromZeros)]
struct Found {
    /// The two descriptors that the call takes or makes; [`NO_FD`] if there is none.
    fd: u64,
    fd2: u64,
    /// The file behind the first one, and the objects behind both.
    file: u64,
    object: u64,
    object2: u64,
    /// The candidate for the program, and the one to try next.
    prog: u64,
    otherwise: u64,
    /// What may be the link.
    link: u64,
    /// The perf event.
    event: u64,
    /// The string that names the target, and the bits of [`has`](tracetui_shared::record::bpf::has) and of
    /// [`on`](tracetui_shared::record::bpf::on) that it adds if it is not empty.
    name: u64,
    name_has: u64,
    name_on: u64,
    /// The string after the record.
    text: u64,
}

/// No descriptor: beyond the end of every table.
const NO_FD: u64 = u64::MAX;

per_cpu! {
    /// Records of calls.
    BPF_SCRATCH: BpfScratch;
}

/// `BPF_MAP_TYPE_STRUCT_OPS` (`enum bpf_map_type`, include/uapi/linux/bpf.h).
const MAP_STRUCT_OPS: u32 = 26;

/// Whether a call of one of the functions that do many things loads, attaches or detaches a program.
#[inline(always)]
fn concerns(call: &Call) -> bool {
    /// `SOL_SOCKET` (include/uapi/asm-generic/socket.h).
    const SOL_SOCKET: u64 = 1;
    /// `SECCOMP_SET_MODE_FILTER` (include/uapi/linux/seccomp.h).
    const SET_MODE_FILTER: u64 = 1;
    /// `PR_SET_SECCOMP` (include/uapi/linux/prctl.h).
    const PR_SET_SECCOMP: u64 = 22;
    /// `SECCOMP_MODE_FILTER` (include/uapi/linux/seccomp.h).
    const MODE_FILTER: u64 = 2;
    let low = |arg: u64| arg & 0xffff_ffff;
    let args = &call.args;
    match forgotten(call.op().into(), call.ret as u64) as u8 {
        what::IOCTL => attaches(low(args[1])),
        what::SETSOCKOPT => {
            low(args[1]) == SOL_SOCKET
                && matches!(
                    low(args[2]) as u16,
                    option::ATTACH_FILTER
                        | option::DETACH_FILTER
                        | option::ATTACH_BPF
                        | option::ATTACH_REUSEPORT_CBPF
                        | option::ATTACH_REUSEPORT_EBPF
                        | option::DETACH_REUSEPORT_BPF
                )
        }
        what::SECCOMP => low(args[0]) == SET_MODE_FILTER,
        what::PRCTL => low(args[0]) == PR_SET_SECCOMP && args[1] == MODE_FILTER,
        _ => true,
    }
}

/// Which of [`call`] a call is.
fn how_called(call: &Call) -> u8 {
    match call.op() {
        what::IOCTL if call.args[1] & 0xffff_ffff == SET_BPF => call::PERF_IOCTL,
        what::IOCTL => call::TUN_IOCTL,
        what::SETSOCKOPT => call::SETSOCKOPT,
        what::SECCOMP | what::PRCTL => call::SECCOMP,
        _ => call::BPF,
    }
}

/// Reports a call that ended, if it loads, attaches or detaches a program. The kernel's side is
/// [`__sys_bpf`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/syscall.c),
/// [`_perf_ioctl`](https://elixir.bootlin.com/linux/v6.12/source/kernel/events/core.c),
/// [`sk_setsockopt`](https://elixir.bootlin.com/linux/v6.12/source/net/core/sock.c) and
/// [`seccomp_set_mode_filter`](https://elixir.bootlin.com/linux/v6.12/source/kernel/seccomp.c).
#[inline(always)]
pub fn ended(call: &Call) {
    if !concerns(call) {
        return;
    }
    let how = how_called(call);
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
    let Some(event) = Event::of_call(Slot::Bpf, &who, call) else { return };
    let Some(s) = event.place(&BPF_SCRATCH) else { return };
    clear(s);
    event.head(&mut s.frame.header, &who);
    let record = &mut s.frame.record;
    set(&mut record.ret, call.ret as i32);
    set(&mut record.call, how);
    set(&mut record.cmd, command);
    record.prog_uid = u32::MAX;
    record.target_fd = -1;
    if how == call::BPF {
        read_attr(s, call);
    }
    descriptors(s, call);
    objects(s, call.task);
    find(s, call);
    program(s);
    link(s);
    perf_event(s);
    names(s);
    finish(s, call);
    const LEN: u64 = size_of::<Frame<BpfRecord>>() as u64;
    let text = at_most(u64::from(s.frame.record.text_len), TEXT_LEN as u64);
    event.send(&mut s.frame.header, LEN + text, LEN + TEXT_LEN as u64);
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

/// Whether a command of bpf(2) makes events. Of the updates of maps, only those of struct_ops do.
#[inline(always)]
fn is_reported(command: u16, call: &Call) -> bool {
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
            read_passed::<4>((&raw mut fd).cast(), 4, call.args[1]);
            let file = file_at(call.task, u64::from(fd));
            let map = private_of(file);
            map != 0
                && exists(field::MapType)
                && rd_field::<u32>(map, field::MapType) == MAP_STRUCT_OPS
                && is_anonymous(file, &Anonymous::BPF_MAP)
        }
        _ => false,
    }
}

/// Whether ioctl(2) may have been called on a perf event, or on a tun device. Files of other kinds may know the same
/// number, and answer it as they like (FUSE). While another thread may have put another file at the descriptor, the call
/// may have attached a program.
#[inline(always)]
fn may_attach(how: u8, call: &Call) -> bool {
    let file = file_at(call.task, call.args[0] & 0xffff_ffff);
    let takes = if how == call::TUN_IOCTL { is_tun(file) } else { is_anonymous(file, &Anonymous::PERF_EVENT) };
    file == 0 || takes || !owns_table(call.task)
}

#[inline(always)]
fn clear(s: &mut BpfScratch) {
    zero(&mut s.frame.record);
    zero(&mut s.found);
}
