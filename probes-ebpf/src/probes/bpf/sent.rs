//! Messages to rtnetlink that attach or detach an XDP program. `bpf_xdp` sees all such changes; where a security policy forbids it, the
//! end of each message is the best view. rtnetlink handles a message before that
//! ([`netlink_unicast_kernel`](https://elixir.bootlin.com/linux/v6.12/source/net/netlink/af_netlink.c)). A change that cannot be
//! followed is counted.

use super::netlink::{IFLA_XDP, LINK, attribute, programs_of, report};
use super::object::{is_program, private_of};
use crate::arch::{on_arm, read_passed};
use crate::call::in_progress;
use crate::emit::{Frame, count_unseen};
use crate::files::file_at;
use crate::maps::per_cpu;
use crate::read::{any, forgotten, may_turn, offset, rd, rd_field};
use crate::task::current;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use core::mem::MaybeUninit;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::field;
use tracetui_shared::record::bpf::XdpRecord;

per_cpu! {
    /// Records of `bpf_sent`.
    SENT_SCRATCH: Frame<XdpRecord>;
}

// include/uapi/linux/rtnetlink.h, if_link.h, netlink.h.
const RTM_NEWLINK: u32 = 16;
const RTM_SETLINK: u32 = 19;
const IFLA_XDP_FD: u32 = 1;
/// Bytes of `struct nlmsghdr`.
const HEAD: u64 = 16;
/// Messages, attributes and interfaces in a list that are examined.
const TURNS: u32 = 24;
/// The lists in the kernel's table of interfaces (`NETDEV_HASHENTRIES`, include/linux/netdevice.h).
const LISTS: u32 = 256;

/// `sock_send_length(struct sock *sk, int ret, int flags)`
/// ([trace/events/sock.h](https://elixir.bootlin.com/linux/v6.12/source/include/trace/events/sock.h), 6.3+): each message that a socket
/// sent, by whatever call.
#[btf_tracepoint]
#[inline(always)]
pub fn bpf_sent(ctx: BtfTracePointContext) -> i32 {
    const AF_NETLINK: u16 = 16;
    let (socket, ret): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    let len = i64::from(ret as i32);
    // SAFETY: the first argument is the address of the socket. The task is in the call that sends.
    unsafe {
        let is_route = any::<u16>(socket, field::SkFamily) == AF_NETLINK && any::<u16>(socket, field::SkProtocol) == 0;
        if is_route && len >= LINK as i64 && changed(socket, len as u64).is_err() {
            count_unseen();
        }
    }
    0
}

/// A message may have changed an XDP program, and cannot be followed.
struct Unseen;

/// Reports the XDP programs of the interface of a message that changes them.
#[inline(always)]
unsafe fn changed(socket: u64, len: u64) -> Result<(), Unseen> {
    // SAFETY: user and kernel memory is read by helper.
    unsafe {
        let Some(message) = only_link(passed(len)?, len)? else { return Ok(()) };
        let head: [u32; 8] = user(message)?;
        let end = message.wrapping_add(u64::from(head[0]));
        let Some((xdp, end)) = last(message.wrapping_add(LINK), end, IFLA_XDP)? else { return Ok(()) };
        let Some((fd, _)) = last(xdp, end, IFLA_XDP_FD)? else { return Ok(()) };
        let fd: i32 = user(fd)?;
        let mut named = 0;
        if fd >= 0 {
            let program = private_of(file_at(current(), fd as u64));
            if !is_program(program) {
                return Err(Unseen);
            }
            named = rd_field(rd_field(program, field::ProgAux), field::AuxId);
        }
        let device = interface(socket, head[5]);
        if device == 0 {
            return Err(Unseen);
        }
        let record = programs_of(device);
        report(Slot::BpfSent, &SENT_SCRATCH, record, device, named);
        // The kernel refused it, or it is gone already.
        let [first, second, third] = record.programs;
        if named == 0 || named == first || named == second || named == third { Ok(()) } else { Err(Unseen) }
    }
}

/// The address of the messages that the current call sends, in one piece.
#[inline(always)]
unsafe fn passed(len: u64) -> Result<u64, Unseen> {
    // sendto(2), write(2), sendmsg(2), writev(2): x86-64 and aarch64.
    const CALLS: [[u32; 2]; 4] = [[44, 206], [1, 64], [46, 211], [20, 66]];
    // SAFETY: user memory is read by helper.
    unsafe {
        let (number, mut at) = in_progress();
        let is = |call: usize| number == CALLS[call][on_arm() as usize];
        if is(0) || is(1) {
            return Ok(at);
        }
        if is(2) {
            // `struct msghdr` has `msg_iov` at 16.
            at = user(at.wrapping_add(16))?;
        } else if !is(3) {
            return Err(Unseen);
        }
        let [at, piece]: [u64; 2] = user(at)?;
        if piece < len { Err(Unseen) } else { Ok(at) }
    }
}

/// The only one of these messages that changes an interface.
#[inline(always)]
unsafe fn only_link(mut at: u64, len: u64) -> Result<Option<u64>, Unseen> {
    let end = at.wrapping_add(len);
    let (mut found, mut turn) = (forgotten(0, end), 0u32);
    // SAFETY: `may_goto` leaves the loop. User memory is read by helper.
    unsafe {
        loop {
            may_turn!(turn, TURNS);
            if at.wrapping_add(HEAD) > end {
                return Ok(if found == 0 { None } else { Some(found) });
            }
            let [len, kind]: [u32; 2] = user(at)?;
            if matches!(kind & 0xffff, RTM_NEWLINK | RTM_SETLINK) {
                if found != 0 {
                    break;
                }
                found = at;
            }
            if u64::from(len) < HEAD {
                break;
            }
            at = at.wrapping_add((u64::from(len) + 3) & !3);
        }
    }
    Err(Unseen)
}

/// The last attribute of a type, which is the one that the kernel takes.
#[inline(always)]
unsafe fn last(at: u64, end: u64, wanted: u32) -> Result<Option<(u64, u64)>, Unseen> {
    // SAFETY: user memory is read by helper.
    unsafe {
        let (found, whole) = attribute::<true, TURNS>(at, end, wanted, |at| user(at).ok());
        if whole { Ok(found) } else { Err(Unseen) }
    }
}

/// A number that the caller passed.
#[inline(always)]
unsafe fn user<T>(at: u64) -> Result<T, Unseen> {
    const MOST: u64 = 32;
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: `value` has the size that is passed, at most `MOST`, and every content of integers is valid.
    unsafe {
        let read = read_passed::<MOST>(value.as_mut_ptr().cast(), size_of::<T>() as u64, at);
        if read == 0 { Ok(value.assume_init()) } else { Err(Unseen) }
    }
}

/// The interface with this number in the network namespace of a socket; 0 without one.
#[inline(always)]
unsafe fn interface(socket: u64, index: u32) -> u64 {
    // SAFETY: kernel addresses are read by helper, which zero-fills on a fault. `may_goto` leaves the loop.
    unsafe {
        let lists: u64 = rd_field(rd_field(socket, field::SkNet), field::NetDevIndexHead);
        let mut node: u64 = rd(lists.wrapping_add(u64::from(index % LISTS) * 8));
        let mut turn = 0u32;
        loop {
            may_turn!(turn, TURNS);
            if node == 0 {
                break;
            }
            let device = node.wrapping_sub(offset(field::NetDeviceIndexHlist));
            if rd_field::<u32>(device, field::NetDeviceIfindex) == index {
                return device;
            }
            node = rd(node);
        }
        0
    }
}
