//! The sockets of a network namespace (sock_diag), and its routes and neighbours (rtnetlink). A thread of
//! [`Sockets`] opens the sockets in the namespace.

use super::netlink::{NETLINK_ROUTE, Netlink, Sockets, attribute, u16_at, u32_at};
use super::network::{IFINFO, IFLA_IFNAME};
use libc::{
    IFF_UP, NDA_DST, NUD_FAILED, NUD_INCOMPLETE, RTA_DST, RTA_GATEWAY, RTA_OIF, RTM_GETLINK, RTM_GETNEIGH,
    RTM_GETROUTE, RTN_LOCAL,
};
use rustix::net::netlink::SOCK_DIAG;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tracetui_shared::header::until_nul;

/// A request of sock_diag
/// ([include/uapi/linux/inet_diag.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/inet_diag.h)).
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Bytes of `struct inet_diag_req_v2`: family, protocol, extensions, states at 4, the socket, which begins with its port.
const REQUEST: usize = 56;
/// `TCPF_LISTEN`.
const LISTENING: u32 = 1 << 10;
/// Bytes of `struct inet_diag_msg`: family, state, port at 4, address at 8, interface at 40, queue at 56, its limit at
/// 60, inode at 68.
const DIAG: usize = 72;
const INET_DIAG_SKV6ONLY: u16 = 11;

/// Bytes of `struct rtmsg`: family, bits of the destination, type at 7.
const ROUTE: usize = 12;
const RTA_VIA: u16 = 18;
/// Bytes of `struct ndmsg`: family, interface at 4, state at 8.
const NEIGHBOUR: usize = 12;

const LISTENERS: usize = 65_536;

/// A listening TCP socket, or another socket with a local port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Listener {
    pub address: IpAddr,
    pub port: u16,
    /// `IPV6_V6ONLY`: an IPv6 socket that accepts no IPv4 connections.
    pub only_v6: bool,
    pub interface: u32,
    /// The number of connections that wait to be accepted (`sk_ack_backlog`).
    pub waiting: u32,
    /// The limit of them (`sk_max_ack_backlog`). The queue is full above it.
    pub limit: u32,
    /// 0 in TIME-WAIT.
    pub inode: u32,
    /// One of [`tracetui_shared::record::tcp::state`], or another state of `include/net/tcp_states.h`.
    pub state: u8,
}

impl Listener {
    pub(super) fn read(message: &[u8]) -> Option<Listener> {
        let rest = message.get(DIAG..)?;
        let (family, port) = (*message.first()?, message.get(4..)?.first_chunk()?);
        Some(Listener {
            address: address(family, message.get(8..)?)?,
            port: u16::from_be_bytes(*port),
            only_v6: attribute(rest, INET_DIAG_SKV6ONLY).is_some_and(|value| value.first() == Some(&1)),
            interface: u32_at(message, 40),
            waiting: u32_at(message, 56),
            limit: u32_at(message, 60),
            inode: u32_at(message, 68),
            state: *message.get(1)?,
        })
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Whether the address belongs to this namespace.
    pub local: bool,
    pub interface: u32,
    /// The router, or the address itself.
    pub next: IpAddr,
}

impl Route {
    pub(super) fn read(message: &[u8], to: IpAddr) -> Route {
        let rest = message.get(ROUTE..).unwrap_or_default();
        let via = |value: &[u8]| address(*value.first()?, value.get(2..)?);
        let gateway = attribute(rest, RTA_GATEWAY).and_then(|value| address(family(to), value));
        Route {
            local: message.get(7) == Some(&RTN_LOCAL),
            interface: attribute(rest, RTA_OIF).map_or(0, |index| u32_at(index, 0)),
            next: gateway.or_else(|| attribute(rest, RTA_VIA).and_then(via)).unwrap_or(to),
        }
    }
}

pub struct Inet<'a> {
    sockets: &'a Sockets,
    /// `None` for tracetui's own.
    namespace: Option<&'a File>,
    route: Netlink,
}

impl Inet<'_> {
    pub fn open<'a>(sockets: &'a Sockets, namespace: Option<&'a File>) -> io::Result<Inet<'a>> {
        Ok(Inet { sockets, namespace, route: sockets.netlink(namespace, NETLINK_ROUTE)? })
    }

    /// `ENOENT`: the kernel has no `tcp_diag`.
    pub fn listeners(&self) -> io::Result<Vec<Listener>> {
        self.list(libc::IPPROTO_TCP, LISTENING, 0)
    }

    /// The sockets of a protocol with a local port, in all states. Those of TCP that are only bound are listed from 6.8 on.
    pub fn on_port(&self, protocol: i32, port: u16) -> io::Result<Vec<Listener>> {
        self.list(protocol, u32::MAX, port)
    }

    /// The sockets of both families in some states, with a local port if that is not 0.
    fn list(&self, protocol: i32, states: u32, port: u16) -> io::Result<Vec<Listener>> {
        let mut diag = self.sockets.netlink(self.namespace, Some(SOCK_DIAG))?;
        let mut found = Vec::new();
        for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
            let mut request = [0; REQUEST];
            request[..2].copy_from_slice(&[family, protocol as u8]);
            request[4..8].copy_from_slice(&states.to_ne_bytes());
            request[8..10].copy_from_slice(&port.to_be_bytes());
            diag.dump(SOCK_DIAG_BY_FAMILY, &request, |message| {
                found.extend(Listener::read(message).filter(|_| found.len() < LISTENERS));
            })?;
        }
        // A repeated dump has the same sockets again.
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The errors are those of a connect(2): `ENETUNREACH`, `EHOSTUNREACH`, `EACCES` (prohibit), `EINVAL` (blackhole).
    pub fn route(&mut self, to: IpAddr) -> io::Result<Route> {
        let destination = match to {
            IpAddr::V4(to) => to.octets().to_vec(),
            IpAddr::V6(to) => to.octets().to_vec(),
        };
        let len = destination.len() as u8;
        let head = [&[family(to), 8 * len][..], &[0; ROUTE - 2]].concat();
        let attribute = [u16::from(4 + len), RTA_DST].map(u16::to_ne_bytes).concat();
        let request = [head, attribute, destination].concat();
        self.route.get(RTM_GETROUTE, &request).map(|answer| Route::read(&answer, to))
    }

    /// Whether the next host of a route does not answer requests for its link-layer address (ARP, neighbour discovery).
    pub fn is_silent(&mut self, route: &Route) -> bool {
        let mut request = [0; NEIGHBOUR];
        request[0] = family(route.next);
        let mut silent = false;
        let done = self.route.dump(RTM_GETNEIGH, &request, |message| {
            let rest = message.get(NEIGHBOUR..).unwrap_or_default();
            let its = attribute(rest, NDA_DST).and_then(|value| address(family(route.next), value));
            if its == Some(route.next) && u32_at(message, 4) == route.interface {
                silent = u16_at(message, 8) & (NUD_INCOMPLETE | NUD_FAILED) != 0;
            }
        });
        done.is_ok() && silent
    }

    pub fn interface(&mut self, index: u32) -> io::Result<(Vec<u8>, bool)> {
        let mut request = [0; IFINFO];
        request[4..8].copy_from_slice(&index.to_ne_bytes());
        let answer = self.route.get(RTM_GETLINK, &request)?;
        let name = attribute(answer.get(IFINFO..).unwrap_or_default(), IFLA_IFNAME).unwrap_or_default();
        Ok((until_nul(name).to_vec(), u32_at(&answer, 8) & IFF_UP as u32 != 0))
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

fn address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family.into() {
        libc::AF_INET => bytes.first_chunk().map(|bytes| Ipv4Addr::from_octets(*bytes).into()),
        libc::AF_INET6 => bytes.first_chunk().map(|bytes| Ipv6Addr::from_octets(*bytes).into()),
        _ => None,
    }
}
