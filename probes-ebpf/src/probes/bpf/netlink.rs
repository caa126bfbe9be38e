//! Who attaches and detaches programs by rtnetlink. A socket of tracetui that receives its notifications has a program as its filter.
//! rtnetlink answers a request within the system call that makes it, and sends the notification there
//! ([`netlink_broadcast_filtered`](https://elixir.bootlin.com/linux/v6.12/source/net/netlink/af_netlink.c)). So the current task is the
//! one that attached the program, and no other call pays for the program.

use crate::emit::{Event, Frame};
use crate::maps::per_cpu;
use crate::read::{has as exists, ld, may_turn, set};
use crate::task::{Who, current};
use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_skb_load_bytes;
use aya_ebpf::macros::socket_filter;
use aya_ebpf::programs::SkBuffContext;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::field;
use tracetui_shared::record::bpf::{NetlinkRecord, message};

per_cpu! {
    /// Records of `bpf_netlink`. Whoever makes a change that it reports holds the kernel's `rtnl_mutex`.
    NETLINK_SCRATCH: Frame<NetlinkRecord>;
}

/// Words of a notification that are read: `struct nlmsghdr` and `struct tcmsg`.
const WORDS: usize = 9;
/// Bytes of `struct nlmsghdr` and `struct ifinfomsg`, which attributes follow (include/uapi/linux/rtnetlink.h).
const LINK: u32 = 32;
/// Bytes of `struct nlmsghdr` and `struct tcmsg`.
const FILTER: u32 = 36;
/// Attributes that are examined.
const TURNS: u32 = 96;

// Attributes (include/uapi/linux/if_link.h, rtnetlink.h, pkt_cls.h).
const IFLA_XDP: u32 = 43;
const IFLA_XDP_ATTACHED: u32 = 2;
const IFLA_XDP_PROG_ID: u32 = 4;
const TCA_KIND: u32 = 1;
const TCA_OPTIONS: u32 = 2;
const TCA_BPF_ID: u32 = 11;

/// `IFF_UP` (include/uapi/linux/if.h).
const UP: u32 = 1;
/// `TC_H_CLSACT` (include/uapi/linux/pkt_sched.h), the parent of the qdiscs clsact and ingress.
const CLSACT: u32 = 0xffff_fff1;
/// `PF_KTHREAD` (include/linux/sched.h).
const KERNEL_THREAD: u32 = 0x20_0000;

/// The filter of the socket. It rejects every notification: nobody reads the socket.
#[socket_filter]
#[inline(always)]
pub fn bpf_netlink(ctx: SkBuffContext) -> i64 {
    // SAFETY: the context is that of a filter.
    if let Some(record) = unsafe { change(&ctx) } {
        // SAFETY: the program fills the slot, and runs in the task that makes the change.
        unsafe { report(record) };
    }
    0
}

/// What a notification says of a program; `None` if it says nothing.
#[inline(always)]
unsafe fn change(ctx: &SkBuffContext) -> Option<NetlinkRecord> {
    // SAFETY: the context is that of a filter.
    unsafe {
        let head: [u32; WORDS] = load(ctx, 0)?;
        let end = ctx.len();
        let kind = head[1] as u16;
        let mut record = NetlinkRecord { message: kind, mode: 0, first: 1, ifindex: head[5], prog_id: 0 };
        match kind {
            message::NEWLINK => {
                // A change of flags is another's work. An interface that is down sends nothing when a program is attached.
                record.first = u8::from(head[6] & UP != 0 && head[7] == 0);
                if let Some((at, end)) = attribute(ctx, LINK, end, IFLA_XDP) {
                    record.mode = number::<u8>(ctx, at, end, IFLA_XDP_ATTACHED);
                    record.prog_id = number(ctx, at, end, IFLA_XDP_PROG_ID);
                }
            }
            message::NEWTFILTER | message::DELTFILTER => {
                let (at, _) = attribute(ctx, FILTER, end, TCA_KIND)?;
                if load::<u32>(ctx, at)? != u32::from_le_bytes(*b"bpf\0") {
                    return None;
                }
                let (at, end) = attribute(ctx, FILTER, end, TCA_OPTIONS)?;
                record.prog_id = number(ctx, at, end, TCA_BPF_ID);
            }
            message::DELQDISC => record.mode = u8::from(head[7] == CLSACT),
            _ => return None,
        }
        Some(record)
    }
}

#[inline(always)]
unsafe fn report(record: NetlinkRecord) {
    // SAFETY: the current task is a BTF pointer where the kernel has them. `frame` is this CPU's element of this program's own map.
    unsafe {
        let who = Who::of(current());
        let Some(event) = Event::request(Slot::BpfNetlink, &who) else { return };
        let Some(frame) = event.place(&NETLINK_SCRATCH) else { return };
        event.head(&raw mut (*frame).header, &who);
        let by_kernel = exists(field::TaskFlags) && ld::<u32>(who.task, field::TaskFlags) & KERNEL_THREAD != 0;
        set(&raw mut (*frame).record, NetlinkRecord { first: record.first & u8::from(!by_kernel), ..record });
        const LEN: u64 = size_of::<Frame<NetlinkRecord>>() as u64;
        event.send(frame.cast(), LEN, LEN);
    }
}

/// Where the value of an attribute begins and ends. `struct nlattr` (include/uapi/linux/netlink.h) is a length and a type.
#[inline(always)]
unsafe fn attribute(ctx: &SkBuffContext, mut at: u32, end: u32, wanted: u32) -> Option<(u32, u32)> {
    const HEAD: u32 = 4;
    /// `NLA_TYPE_MASK`.
    const TYPE: u32 = 0x3fff;
    let mut turn = 0u32;
    // SAFETY: `may_goto` leaves the loop. The context is that of a filter.
    unsafe {
        loop {
            may_turn!(turn, TURNS);
            if at >= end {
                break;
            }
            let Some(head) = load::<u32>(ctx, at) else { break };
            let len = head & 0xffff;
            if len < HEAD {
                break;
            }
            if head >> 16 & TYPE == wanted {
                return Some((at + HEAD, at + len));
            }
            at += (len + 3) & !3;
        }
    }
    None
}

/// The value of an attribute that is a number; 0 without it.
#[inline(always)]
unsafe fn number<T: Copy + Default>(ctx: &SkBuffContext, at: u32, end: u32, wanted: u32) -> T {
    // SAFETY: the context is that of a filter.
    unsafe { attribute(ctx, at, end, wanted).and_then(|(at, _)| load(ctx, at)).unwrap_or_default() }
}

/// Bytes of a notification; `None` if it is shorter.
#[inline(always)]
unsafe fn load<T: Copy>(ctx: &SkBuffContext, at: u32) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: `value` has the size that is passed, and every content of an integer is valid.
    unsafe {
        let result = bpf_skb_load_bytes(ctx.as_ptr(), at, value.as_mut_ptr().cast(), size_of::<T>() as u32);
        (result == 0).then(|| value.assume_init())
    }
}
