//! Sockets by raw system calls, and network namespaces.

use crate::sys;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(crate) const MPTCP: i32 = 262;
/// Seconds, as in `struct timeval`; microseconds beside them.
pub(crate) type Time = [i64; 2];

/// An address of 127.0.0.0/8 that no other process has: it is made of the process id.
pub(crate) fn address_of(pid: i32) -> Ipv4Addr {
    let [_, a, b, c] = pid.to_be_bytes();
    Ipv4Addr::new(127, 64 | a, b, c)
}

/// The calling process's address of 127.0.0.0/8, and no port.
pub(crate) fn v4() -> SocketAddr {
    (address_of(sys::pid()), 0).into()
}

pub(crate) fn v6() -> SocketAddr {
    (Ipv6Addr::LOCALHOST, 0).into()
}

/// An IPv4 address as a socket of `AF_INET6` has it.
pub(crate) fn mapped(at: SocketAddr) -> SocketAddr {
    match at.ip() {
        IpAddr::V4(ip) => (ip.to_ipv6_mapped(), at.port()).into(),
        IpAddr::V6(_) => at,
    }
}

pub(crate) fn sockaddr(at: SocketAddr) -> Vec<u8> {
    let port = at.port().to_be_bytes();
    match at.ip() {
        IpAddr::V4(ip) => [&(libc::AF_INET as u16).to_ne_bytes()[..], &port, &ip.octets(), &[0; 8]].concat(),
        IpAddr::V6(ip) => [&(libc::AF_INET6 as u16).to_ne_bytes()[..], &port, &[0; 4], &ip.octets(), &[0; 4]].concat(),
    }
}

fn family(at: SocketAddr) -> i32 {
    if at.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}

pub(crate) fn done(what: &str, ret: i64) -> i64 {
    assert!(ret >= 0, "{what}: {}", std::io::Error::from_raw_os_error(-ret as i32));
    ret
}

/// socket(2); the descriptor is closed on exec.
pub(crate) fn socket(family: i32, kind: i32, protocol: i32) -> i64 {
    let kind = kind | libc::SOCK_CLOEXEC;
    sys::call(libc::SYS_socket, &[family as u64, kind as u64, protocol as u64])
}

pub(crate) fn tcp(to: SocketAddr) -> i64 {
    done("socket", socket(family(to), libc::SOCK_STREAM, 0))
}

pub(crate) fn nonblocking(to: SocketAddr) -> i64 {
    done("socket", socket(family(to), libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0))
}

pub(crate) fn bind(fd: i64, at: SocketAddr) {
    done("bind", bind_raw(fd, &sockaddr(at)));
}

pub(crate) fn bind_raw(fd: i64, at: &[u8]) -> i64 {
    sys::call(libc::SYS_bind, &[fd as u64, at.as_ptr() as u64, at.len() as u64])
}

/// The address that getsockname(2) tells.
pub(crate) fn name(fd: i64) -> SocketAddr {
    let (mut name, mut len) = ([0u8; 28], 28u32);
    let args = [fd as u64, name.as_mut_ptr() as u64, &raw mut len as u64, 0, 0];
    done("getsockname", sys::call(libc::SYS_getsockname, &args));
    let port = u16::from_be_bytes([name[2], name[3]]);
    if len == 16 {
        return (Ipv4Addr::from_octets(name[4..8].try_into().expect("four bytes")), port).into();
    }
    (Ipv6Addr::from_octets(name[8..24].try_into().expect("sixteen bytes")), port).into()
}

pub(crate) fn listen_with(at: SocketAddr, protocol: i32, backlog: u64) -> Result<(i64, SocketAddr), String> {
    let fd = socket(family(at), libc::SOCK_STREAM, protocol);
    if fd < 0 {
        return Err(format!("a socket of protocol {protocol}: {}", std::io::Error::from_raw_os_error(-fd as i32)));
    }
    bind(fd, at);
    done("listen", sys::call(libc::SYS_listen, &[fd as u64, backlog]));
    Ok((fd, name(fd)))
}

pub(crate) fn listen(at: SocketAddr) -> (i64, SocketAddr) {
    listen_with(at, 0, 8).expect("TCP")
}

pub(crate) fn listen_for_one() -> (i64, SocketAddr, i64) {
    let (listener, to) = listen(v4());
    (listener, to, tcp(to))
}

pub(crate) fn closed_port(at: SocketAddr) -> SocketAddr {
    let (fd, at) = listen(at);
    sys::close(fd);
    at
}

pub(crate) fn connect(fd: i64, to: SocketAddr) -> i64 {
    connect_raw(fd, &sockaddr(to))
}

pub(crate) fn connect_raw(fd: i64, to: &[u8]) -> i64 {
    sys::call(libc::SYS_connect, &[fd as u64, to.as_ptr() as u64, to.len() as u64])
}

/// connect(2) with `AF_UNSPEC`, which disconnects.
pub(crate) fn disconnect(fd: i64) -> i64 {
    connect_raw(fd, &[0; 16])
}

/// accept4(2); the descriptor is closed on exec.
pub(crate) fn accept(listener: i64) -> i64 {
    sys::call(libc::SYS_accept4, &[listener as u64, 0, 0, libc::SOCK_CLOEXEC as u64])
}

pub(crate) fn send(fd: i64, len: usize) {
    let bytes = vec![b'x'; len];
    let mut sent = 0;
    while sent < len {
        let args = [fd as u64, bytes[sent..].as_ptr() as u64, (len - sent) as u64, 0, 0];
        sent += done("write", sys::call(libc::SYS_write, &args)) as usize;
    }
}

pub(crate) fn receive(fd: i64, len: usize) {
    let mut bytes = vec![0; len];
    let mut got = 0;
    while got < len {
        let args = [fd as u64, bytes[got..].as_mut_ptr() as u64, (len - got) as u64, 0, 0];
        let more = done("read", sys::call(libc::SYS_read, &args)) as usize;
        assert_ne!(more, 0, "{got} of {len} bytes, and the end");
        got += more;
    }
}

pub(crate) fn read_end(fd: i64) -> i64 {
    let mut byte = [0u8; 1];
    sys::call(libc::SYS_read, &[fd as u64, byte.as_mut_ptr() as u64, 1])
}

#[track_caller]
pub(crate) fn close_at_end(fd: i64) {
    assert_eq!(read_end(fd), 0, "the end");
    sys::close(fd);
}

#[track_caller]
pub(crate) fn close_at_reset(fd: i64) {
    assert_eq!(read_end(fd), -i64::from(libc::ECONNRESET));
    sys::close(fd);
}

pub(crate) fn shutdown(fd: i64) {
    done("shutdown", sys::call(libc::SYS_shutdown, &[fd as u64, libc::SHUT_WR as u64]));
}

pub(crate) fn option<T>(fd: i64, level: i32, name: i32, value: T) -> i64 {
    let args = [fd as u64, level as u64, name as u64, &raw const value as u64, size_of::<T>() as u64];
    sys::call(libc::SYS_setsockopt, &args)
}

/// A close of this socket resets the connection: `SO_LINGER` of 0 s.
pub(crate) fn reset_at_close(fd: i64) {
    done("SO_LINGER", option(fd, libc::SOL_SOCKET, libc::SO_LINGER, [1i32, 0]));
}

pub(crate) fn error(fd: i64) -> i32 {
    let mut error = 0;
    done("getsockopt", read_error(fd, &mut error));
    error
}

/// `SO_ERROR`, with the result of getsockopt(2).
pub(crate) fn read_error(fd: i64, error: &mut i32) -> i64 {
    let (level, name) = (libc::SOL_SOCKET as u64, libc::SO_ERROR as u64);
    let mut len = 4u32;
    sys::call(libc::SYS_getsockopt, &[fd as u64, level, name, &raw mut *error as u64, &raw mut len as u64])
}

/// `TCP_INFO`: `struct tcp_info` up to `tcpi_total_retrans`.
fn info(fd: i64) -> [u8; 104] {
    let (mut info, mut len) = ([0; 104], 104u32);
    let (level, name) = (libc::IPPROTO_TCP as u64, libc::TCP_INFO as u64);
    let args = [fd as u64, level, name, info.as_mut_ptr() as u64, &raw mut len as u64];
    done("TCP_INFO", sys::call(libc::SYS_getsockopt, &args));
    info
}

/// Segments that were sent again: `tcpi_total_retrans`.
pub(crate) fn retransmits(fd: i64) -> u32 {
    u32::from_ne_bytes(info(fd)[100..].try_into().expect("four bytes"))
}

pub(crate) fn wait_for_syn(fd: i64) {
    const SYN_SENT: u8 = 2;
    sys::wait_until(|| info(fd)[0] == SYN_SENT);
}

pub(crate) fn wait_for_outcome(fd: i64) {
    let mut poll = libc::pollfd { fd: fd as i32, events: libc::POLLOUT, revents: 0 };
    // SAFETY: `poll` is one live structure.
    assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 30_000) }, 1, "an outcome within 30 s");
}

/// sendmsg(2) to an address, with flags, which may also carry a descriptor.
pub(crate) fn send_message(fd: i64, to: Option<SocketAddr>, len: usize, flags: i32, carries: Option<i64>) -> i64 {
    let (mut to, bytes) = (to.map(sockaddr).unwrap_or_default(), vec![b'x'; len]);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: len };
    let mut control =
        carries.map(|fd| [20, u64::from(libc::SOL_SOCKET as u32) | (libc::SCM_RIGHTS as u64) << 32, fd as u64]);
    // SAFETY: all its fields may be zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !to.is_empty() {
        message.msg_name = to.as_mut_ptr().cast();
        message.msg_namelen = to.len() as u32;
    }
    if let Some(control) = &mut control {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(control) as _;
    }
    sys::call(libc::SYS_sendmsg, &[fd as u64, &raw const message as u64, flags as u64])
}

pub(crate) fn receive_descriptor(fd: i64) -> i64 {
    let (mut byte, mut control) = ([0u8; 1], [0u64; 3]);
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: all its fields may be zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    done("recvmsg", sys::call(libc::SYS_recvmsg, &[fd as u64, &raw mut message as u64]));
    (control[2] as i32).into()
}

fn set_flags(interface: &str, set: i32, clear: i32) {
    let fd = done("socket", socket(libc::AF_INET, libc::SOCK_DGRAM, 0));
    let mut request = [0u8; 40];
    request[..interface.len()].copy_from_slice(interface.as_bytes());
    let mut ioctl = |number: u64| sys::call(libc::SYS_ioctl, &[fd as u64, number, request.as_mut_ptr() as u64]);
    done("SIOCGIFFLAGS", ioctl(libc::SIOCGIFFLAGS));
    let flags = i16::from_ne_bytes([request[16], request[17]]) | set as i16;
    request[16..18].copy_from_slice(&(flags & !(clear as i16)).to_ne_bytes());
    let mut ioctl = |number: u64| sys::call(libc::SYS_ioctl, &[fd as u64, number, request.as_mut_ptr() as u64]);
    done("SIOCSIFFLAGS", ioctl(libc::SIOCSIFFLAGS));
    sys::close(fd);
}

pub(crate) fn up(interface: &str) {
    set_flags(interface, libc::IFF_UP, 0);
}

pub(crate) fn down(interface: &str) {
    set_flags(interface, 0, libc::IFF_UP);
}

/// Moves the caller to its own network namespace, which has only a loopback interface.
pub(crate) fn own_net() {
    sys::unshare(libc::CLONE_NEWNET);
    up("lo");
}

pub(crate) fn net_ns() -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/thread-self/ns/net").expect("a namespace").ino()
}

/// Writes a setting of the caller's network namespace.
pub(crate) fn set(setting: &str, value: &str) -> Result<(), String> {
    let path = format!("/proc/sys/net/{setting}");
    std::fs::write(&path, value).map_err(|error| format!("{path}: {error}"))
}

/// A request to rtnetlink. Returns 0 or −errno.
fn rtnetlink(kind: u16, flags: u16, body: &[u8]) -> i64 {
    let fd = done("socket", socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE));
    let flags = flags | (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    let len = 16 + body.len() as u32;
    let message = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8], body].concat();
    done("write", sys::call(libc::SYS_write, &[fd as u64, message.as_ptr() as u64, message.len() as u64]));
    let mut answer = [0u8; 1024];
    done("read", sys::call(libc::SYS_read, &[fd as u64, answer.as_mut_ptr() as u64, 1024]));
    sys::close(fd);
    i32::from_ne_bytes(answer[16..20].try_into().expect("four bytes")).into()
}

/// Adds a route of a type (`RTN_BLACKHOLE`) to one address.
pub(crate) fn route(kind: u8, to: Ipv4Addr) {
    const DST: u16 = 1;
    let head = [libc::AF_INET as u8, 32, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_STATIC, 0, kind, 0, 0, 0, 0];
    let dst = [&8u16.to_ne_bytes()[..], &DST.to_ne_bytes(), &to.octets()].concat();
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    done("RTM_NEWROUTE", rtnetlink(libc::RTM_NEWROUTE, flags, &[&head[..], &dst].concat()));
}

pub(crate) fn attribute(kind: u16, body: &[u8]) -> Vec<u8> {
    let len = 4 + body.len() as u16;
    let mut all = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), body].concat();
    all.resize(all.len().next_multiple_of(4), 0);
    all
}

/// `struct ifinfomsg` of an interface that is up, and its IFLA_XDP with an attribute.
fn xdp(ifindex: u32, kind: u16, value: u32) -> Vec<u8> {
    const XDP: u16 = 43;
    const FLAGS: u16 = 3;
    const SKB_MODE: u32 = 2;
    let of_xdp = [attribute(kind, &value.to_ne_bytes()), attribute(FLAGS, &SKB_MODE.to_ne_bytes())].concat();
    let up = (libc::IFF_UP as u32).to_ne_bytes();
    [&[0; 4][..], &ifindex.to_ne_bytes(), &up, &[0; 4], &attribute(XDP, &of_xdp)].concat()
}

pub(crate) fn set_xdp(ifindex: u32, program: i32) -> i64 {
    const FD: u16 = 1;
    rtnetlink(libc::RTM_SETLINK, 0, &xdp(ifindex, FD, program.cast_unsigned()))
}

/// Renames an interface, which is down afterwards: before 6.2, one that is up keeps its name. Returns 0 or −errno.
pub(crate) fn rename(ifindex: u32, name: &[u8]) -> i64 {
    const IFNAME: u16 = 3;
    let up = (libc::IFF_UP as u32).to_ne_bytes();
    let down = [&[0; 4][..], &ifindex.to_ne_bytes(), &[0; 4], &up].concat();
    done("down", rtnetlink(libc::RTM_SETLINK, 0, &down));
    rtnetlink(libc::RTM_SETLINK, 0, &[&down[..], &attribute(IFNAME, &[name, b"\0"].concat())].concat())
}

/// The parent of filters at the ingress of a clsact qdisc.
pub(crate) const INGRESS: u32 = 0xffff_fff2;
/// In place of an interface: the parent is the number of a shared block.
pub(crate) const BLOCK: u32 = u32::MAX;
const TCA_KIND: u16 = 1;

/// `struct tcmsg`, with the priority 1 and any protocol, and attributes.
fn tc([ifindex, handle, parent]: [u32; 3], attributes: &[Vec<u8>]) -> Vec<u8> {
    let info = 1 << 16 | u32::from((libc::ETH_P_ALL as u16).to_be());
    let head = [0, ifindex, handle, parent, info].map(u32::to_ne_bytes).concat();
    [head, attributes.concat()].concat()
}

/// Adds a clsact qdisc to an interface, whose filters at the ingress are those of a shared block if one is given. Returns 0 or −errno.
pub(crate) fn add_clsact(ifindex: u32, block: Option<u32>) -> i64 {
    const INGRESS_BLOCK: u16 = 13;
    let block = block.map(|block| attribute(INGRESS_BLOCK, &block.to_ne_bytes()));
    let attributes = [attribute(TCA_KIND, b"clsact\0"), block.unwrap_or_default()];
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    rtnetlink(libc::RTM_NEWQDISC, flags, &tc([ifindex, 0xffff_0000, 0xffff_fff1], &attributes))
}

pub(crate) fn add_filter(ifindex: u32, parent: u32, program: i32) -> i64 {
    const OPTIONS: u16 = 2;
    const FD: u16 = 6;
    const NAME: u16 = 7;
    const FLAGS: u16 = 8;
    const DIRECT_ACTION: u32 = 1;
    let options = [
        attribute(FD, &program.to_ne_bytes()),
        attribute(NAME, b"tt\0"),
        attribute(FLAGS, &DIRECT_ACTION.to_ne_bytes()),
    ];
    let attributes = [attribute(TCA_KIND, b"bpf\0"), attribute(OPTIONS, &options.concat())];
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    rtnetlink(libc::RTM_NEWTFILTER, flags, &tc([ifindex, 0, parent], &attributes))
}

pub(crate) fn remove_filters(ifindex: u32, parent: u32) -> i64 {
    rtnetlink(libc::RTM_DELTFILTER, 0, &tc([ifindex, 0, parent], &[]))
}

/// Sends the listeners of the kernel's notifications one that says that an XDP program is attached. Returns what sendto(2) does.
pub(crate) fn forge_xdp(ifindex: u32, program: u32) -> i64 {
    const SKB_PROG_ID: u16 = 6;
    let body = xdp(ifindex, SKB_PROG_ID, program);
    let len = 16 + body.len() as u32;
    let head = [&len.to_ne_bytes()[..], &libc::RTM_NEWLINK.to_ne_bytes(), &[0; 10]].concat();
    let message = [head, body].concat();
    // `struct sockaddr_nl` of the group RTNLGRP_LINK.
    let to = [libc::AF_NETLINK as u32, 0, 1].map(u32::to_ne_bytes).concat();
    let fd = done("socket", socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE));
    // SAFETY: both buffers are live, and have the sizes that are passed.
    let sent = unsafe {
        libc::sendto(fd as i32, message.as_ptr().cast(), message.len(), 0, to.as_ptr().cast(), to.len() as u32)
    };
    sys::close(fd);
    sent as i64
}

pub(crate) fn pair(kind: &str, name: Option<&str>) -> i64 {
    const IFNAME: u16 = 3;
    const LINKINFO: u16 = 18;
    const KIND: u16 = 1;
    let name = name.map(|name| attribute(IFNAME, &[name.as_bytes(), b"\0"].concat())).unwrap_or_default();
    let body = [&[0; 16][..], &name, &attribute(LINKINFO, &attribute(KIND, kind.as_bytes()))].concat();
    rtnetlink(libc::RTM_NEWLINK, (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16, &body)
}

/// Makes the interfaces `veth0`, with an address of a /24, and `veth1`, which are the ends of one cable.
pub(crate) fn cable(address: Ipv4Addr) -> Result<(), String> {
    let made = pair("veth", None);
    if made < 0 {
        return Err(format!("a veth: {}", std::io::Error::from_raw_os_error(-made as i32)));
    }
    let fd = done("socket", socket(libc::AF_INET, libc::SOCK_DGRAM, 0));
    let mut request = [0u8; 40];
    request[..5].copy_from_slice(b"veth0");
    request[16..32].copy_from_slice(&sockaddr((address, 0).into()));
    let args = [fd as u64, libc::SIOCSIFADDR, request.as_ptr() as u64, 0, 0];
    done("SIOCSIFADDR", sys::call(libc::SYS_ioctl, &args));
    sys::close(fd);
    ["veth0", "veth1"].into_iter().for_each(up);
    Ok(())
}
