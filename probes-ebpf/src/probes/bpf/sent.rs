//! Messages to rtnetlink that attach or detach an XDP program. `bpf_xdp` sees all such changes; where a security policy forbids it, the
//! end of sendto(2) and sendmsg(2) is the best view. rtnetlink handles a message within the call.

use super::netlink::{IFLA_XDP, LINK, attribute, programs_of, report};
use super::object::{is_program, private_of};
use crate::arch::read_passed;
use crate::call::Call;
use crate::calls::bpf::what;
use crate::emit::Frame;
use crate::files::file_at;
use crate::maps::per_cpu;
use crate::read::{has as exists, may_turn, offset, rd, rd_field};
use core::mem::MaybeUninit;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::field;
use tracetui_shared::record::bpf::XdpRecord;

per_cpu! {
    /// Records of messages from `sys_exit_btf`.
    SENT_SCRATCH: Frame<XdpRecord>;
}

// include/uapi/linux/rtnetlink.h, if_link.h.
const RTM_NEWLINK: u32 = 16;
const RTM_SETLINK: u32 = 19;
const IFLA_XDP_FD: u32 = 1;
/// Attributes that are examined.
const TURNS: u32 = 24;
/// Interfaces that are examined in a list of the kernel's table (`NETDEV_HASHENTRIES`, include/linux/netdevice.h).
const LISTS: u32 = 256;

/// Reports the XDP programs of the interface of a message that changes them.
#[inline(always)]
pub(super) unsafe fn sent(call: &Call) {
    // SAFETY: `call.task` is the current task, a BTF pointer where the kernel has them. User and kernel memory is read by helper.
    unsafe {
        if call.ret < LINK as i64 || !exists(field::NetDevIndexHead) || !exists(field::NetDeviceXdpState) {
            return;
        }
        let mut at = call.args[1];
        if call.which() == what::SENDMSG {
            // `struct msghdr` has `msg_iov` at 16, and `struct iovec` begins with the address.
            let Some(vector) = user::<u64>(at.wrapping_add(16)) else { return };
            let Some(first) = user::<u64>(vector) else { return };
            at = first;
        }
        let Some(head) = user::<[u32; 8]>(at) else { return };
        let (kind, index) = (head[1] & 0xffff, head[5]);
        if !matches!(kind, RTM_NEWLINK | RTM_SETLINK) || index == 0 {
            return;
        }
        let end = at.wrapping_add(u64::from(head[0]));
        let Some((xdp, end)) = attribute::<TURNS>(at.wrapping_add(LINK), end, IFLA_XDP, |at| user(at)) else { return };
        let Some((fd, _)) = attribute::<TURNS>(xdp, end, IFLA_XDP_FD, |at| user(at)) else { return };
        let Some(fd) = user::<i32>(fd) else { return };
        let mut named = 0;
        if fd >= 0 {
            let program = private_of(file_at(call.task, fd as u64));
            if !is_program(program) {
                return;
            }
            named = rd_field(rd_field(program, field::ProgAux), field::AuxId);
        }
        let device = interface(file_at(call.task, call.args[0] & 0xffff_ffff), index);
        if device != 0 {
            report(Slot::BpfSent, &SENT_SCRATCH, programs_of(device), device, named);
        }
    }
}

/// A number that the caller passed.
#[inline(always)]
unsafe fn user<T>(at: u64) -> Option<T> {
    const MOST: u64 = 32;
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: `value` has the size that is passed, at most `MOST`, and every content of integers is valid.
    unsafe {
        let read = read_passed::<MOST>(value.as_mut_ptr().cast(), size_of::<T>() as u64, at);
        if read == 0 { Some(value.assume_init()) } else { None }
    }
}

/// The interface with this number in the network namespace of a socket of rtnetlink; 0 without one.
#[inline(always)]
unsafe fn interface(socket: u64, index: u32) -> u64 {
    const AF_NETLINK: u16 = 16;
    // SAFETY: kernel addresses are read by helper, which zero-fills on a fault. `may_goto` leaves the loop.
    unsafe {
        let object = private_of(socket);
        let sk: u64 = rd_field(object, field::SocketSk);
        if socket == 0 || rd_field::<u64>(object, field::SocketFile) != socket {
            return 0;
        }
        if rd_field::<u16>(sk, field::SkFamily) != AF_NETLINK || rd_field::<u16>(sk, field::SkProtocol) != 0 {
            return 0;
        }
        let lists: u64 = rd_field(rd_field(sk, field::SkNet), field::NetDevIndexHead);
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
