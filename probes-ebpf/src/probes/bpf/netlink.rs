//! Who attaches programs by rtnetlink, and detaches those of XDP. A socket of tracetui that receives its notifications has a program
//! as its filter. rtnetlink answers a request within the system call that makes it, and sends the notification there
//! ([`netlink_broadcast_filtered`](https://elixir.bootlin.com/linux/v6.12/source/net/netlink/af_netlink.c)). So the current task is the
//! one that changed the program, and no other call pays for the program.

use crate::emit::{Event, Frame};
use crate::maps::{Pointer, per_cpu};
use crate::read::{has as exists, ld, may_turn, offset, rd, rd_field, read_kernel, set};
use crate::task::{Who, current};
use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_skb_load_bytes;
use aya_ebpf::macros::{fexit, map, socket_filter};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::{FExitContext, SkBuffContext};
use core::mem::MaybeUninit;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::field;
use tracetui_shared::record::bpf::{NAME_LEN, NetlinkRecord, XdpRecord, message};
use zerocopy::FromBytes;

per_cpu! {
    /// Records of `bpf_netlink` and `bpf_xdp`, which run once at a time: whoever makes a change that they report holds the kernel's
    /// `rtnl_mutex`.
    NETLINK_SCRATCH: Frame<XdpRecord>;
}

/// The number of the socket's network namespace. User space writes it.
#[map]
static NETLINK_NETNS: Array<u32> = Array::with_max_entries(1, 0);

/// Words of a notification that are read: `struct nlmsghdr` and `struct tcmsg`.
const WORDS: usize = 9;
/// Bytes of `struct nlmsghdr` and `struct ifinfomsg`, which attributes follow (include/uapi/linux/rtnetlink.h).
const LINK: u64 = 32;
/// Bytes of `struct nlmsghdr` and `struct tcmsg`.
const FILTER: u64 = 36;
/// Attributes that are examined.
const TURNS: u32 = 96;

// Attributes (include/uapi/linux/if_link.h, rtnetlink.h, pkt_cls.h).
const IFLA_XDP: u32 = 43;
/// `IFLA_XDP_SKB_PROG_ID` and `IFLA_XDP_HW_PROG_ID` follow.
const IFLA_XDP_DRV_PROG_ID: u32 = 5;
const TCA_KIND: u32 = 1;
const TCA_OPTIONS: u32 = 2;
const TCA_BPF_ID: u32 = 11;

/// `IFF_UP` (include/uapi/linux/if.h).
const UP: u32 = 1;
/// `PF_KTHREAD` (include/linux/sched.h).
const KERNEL_THREAD: u32 = 0x20_0000;

/// The filter of the socket. It rejects every notification: nobody reads the socket.
#[socket_filter]
#[inline(always)]
pub fn bpf_netlink(ctx: SkBuffContext) -> i64 {
    if let Some(record) = change(&ctx) {
        let netns = NETLINK_NETNS.get(0).copied().unwrap_or_default();
        report(Slot::BpfNetlink, NetlinkRecord { netns, ..record }, 0);
    }
    0
}

/// Return of `int dev_change_xdp_fd(struct net_device *dev, struct netlink_ext_ack *extack, int fd, int expected_fd, u32 flags)`
/// ([`dev_change_xdp_fd`](https://elixir.bootlin.com/linux/v6.12/source/net/core/dev.c), 5.8+), which rtnetlink calls to change the XDP
/// program of an interface. An interface that is down sends no notification.
#[fexit]
#[inline(always)]
pub fn bpf_xdp(ctx: FExitContext) -> i32 {
    let (device, ret): (u64, u64) = (ctx.arg(0), ctx.arg(5));
    if ret as i32 == 0 {
        report(Slot::BpfXdp, programs_of(device), device);
    }
    0
}

/// The XDP programs of an interface without links. `net_device.xdp_state` has a program and a link (`struct bpf_xdp_entity`) for each of
/// `XDP_MODE_SKB`, `XDP_MODE_DRV` and `XDP_MODE_HW` (include/linux/netdevice.h).
#[inline(always)]
fn programs_of(device: u64) -> NetlinkRecord {
    let states = device.wrapping_add(offset(field::NetDeviceXdpState));
    let id = |mode: u64| {
        let aux: u64 = rd_field(rd(states.wrapping_add(mode * 16)), field::ProgAux);
        if aux == 0 { 0 } else { rd_field(aux, field::AuxId) }
    };
    let ifindex = rd_field(device, field::NetDeviceIfindex);
    let netns = rd_field(rd_field(device, field::NetDeviceNet), field::NetInum);
    NetlinkRecord { message: message::NEWLINK, first: 1, ifindex, netns, programs: [id(1), id(0), id(2)] }
}

/// What a notification says of programs; `None` if it says nothing. The next lines must only let through what holds `rtnl_mutex`: not
/// what bridges send for their ports (AF_BRIDGE), nor what filters send that do without it (flower).
#[inline(always)]
fn change(ctx: &SkBuffContext) -> Option<NetlinkRecord> {
    // A process with CAP_NET_ADMIN can send such messages too.
    if sender(ctx) != 0 {
        return None;
    }
    let mut head = MaybeUninit::<[u32; WORDS]>::uninit();
    if !load(ctx, 0, &mut head) {
        return None;
    }
    // SAFETY: the helper has written all bytes.
    let head = unsafe { head.assume_init() };
    if head[4] & 0xff != 0 {
        return None;
    }
    let (end, message) = (u64::from(ctx.len()), head[1] as u16);
    let mut record = NetlinkRecord { message, first: 1, ifindex: head[5], netns: 0, programs: [0; 3] };
    match message {
        message::NEWLINK => {
            // A change of flags is another's work. An interface that is down sends nothing when a program is attached.
            record.first = u16::from(head[6] & UP != 0 && head[7] == 0);
            let (at, end) = notified(ctx, LINK, end, IFLA_XDP)?;
            let mut mode = 0;
            while mode < 3 {
                record.programs[mode] = number(ctx, at, end, IFLA_XDP_DRV_PROG_ID + mode as u32);
                mode += 1;
            }
        }
        message::NEWTFILTER => {
            if number(ctx, FILTER, end, TCA_KIND) != u32::from_le_bytes(*b"bpf\0") {
                return None;
            }
            let (at, end) = notified(ctx, FILTER, end, TCA_OPTIONS)?;
            record.programs[0] = number(ctx, at, end, TCA_BPF_ID);
        }
        _ => return None,
    }
    Some(record)
}

/// `device`: the interface, whose name is added; 0 to add none.
#[inline(always)]
fn report(slot: Slot, record: NetlinkRecord, device: u64) {
    let who = Who::of(current());
    let Some(event) = Event::unfiltered(slot, &who) else { return };
    let Some(frame) = event.pointer_to_place(&NETLINK_SCRATCH) else { return };
    let frame = Pointer::to(frame).value();
    event.head(&mut frame.header, &who);
    let by_kernel = exists(field::TaskFlags) && ld::<u32>(who.task, field::TaskFlags) & KERNEL_THREAD != 0;
    set(&mut frame.record.change, NetlinkRecord { first: record.first & u16::from(!by_kernel), ..record });
    const LEN: u64 = size_of::<Frame<NetlinkRecord>>() as u64;
    if device == 0 {
        event.send(&mut frame.header, LEN, LEN);
        return;
    }
    let name = device.wrapping_add(offset(field::NetDeviceName));
    read_kernel(&mut frame.record.name, NAME_LEN as u64, name);
    frame.record.name[NAME_LEN - 1] = 0;
    const WITH_NAME: u64 = size_of::<Frame<XdpRecord>>() as u64;
    event.send(&mut frame.header, WITH_NAME, WITH_NAME);
}

/// The port of the socket that sent the message; 0 if the kernel did.
#[inline(always)]
fn sender(ctx: &SkBuffContext) -> u32 {
    let mut port = u32::MAX;
    read_kernel(&mut port, 4, ctx.as_ptr() as u64 + u64::from(message::SENDER));
    port
}

/// Where the value of an attribute of a notification begins and ends. `struct nlattr` (include/uapi/linux/netlink.h) is a length and a
/// type.
#[inline(always)]
fn notified(ctx: &SkBuffContext, mut at: u64, end: u64, wanted: u32) -> Option<(u64, u64)> {
    const HEAD: u64 = 4;
    /// `NLA_TYPE_MASK`.
    const TYPE: u32 = 0x3fff;
    let (mut found, mut len, mut turn) = (0u64, 0u64, 0u32);
    loop {
        may_turn!(turn, TURNS);
        if at >= end {
            break;
        }
        let Some(head) = word(ctx, at) else { break };
        let size = u64::from(head & 0xffff);
        if size < HEAD {
            break;
        }
        if head >> 16 & TYPE == wanted {
            (found, len) = (at, size);
            break;
        }
        at = at.wrapping_add((size + 3) & !3);
    }
    if len == 0 { None } else { Some((found.wrapping_add(HEAD), found.wrapping_add(len))) }
}

/// The value of an attribute that is a number; 0 without it.
#[inline(always)]
fn number(ctx: &SkBuffContext, at: u64, end: u64, wanted: u32) -> u32 {
    let found = notified(ctx, at, end, wanted);
    found.and_then(|(at, _)| word(ctx, at)).unwrap_or_default()
}

/// Reads 4 bytes of a notification.
#[inline(always)]
fn word(ctx: &SkBuffContext, at: u64) -> Option<u32> {
    let mut word = 0;
    load(ctx, at as u32, &mut word).then_some(word)
}

/// Reads bytes of a notification. Returns `false` if it is shorter.
#[inline(always)]
fn load<T: FromBytes>(ctx: &SkBuffContext, at: u32, to: &mut T) -> bool {
    // SAFETY: the verifier checks the size of `to`. All bytes are valid in a `T`.
    unsafe { bpf_skb_load_bytes(ctx.as_ptr(), at, (&raw mut *to).cast(), size_of::<T>() as u32) == 0 }
}
