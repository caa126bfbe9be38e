//! Looks up why a connection, a bind or a listen failed: which sockets listen in the network namespace of the caller, and where its routes
//! lead. An answer is given only if it explains the error of the event.

mod bind;
#[cfg(test)]
mod tests;

use crate::clock;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};
use tracetui_events::text::{counted, without_codes};
use tracetui_events::why::{Answer, Basis, Cause, FailedConnect, SocketCall};
use tracetui_host::{decimal, procfs, read_bounded};
use tracetui_inspect::Sockets;
use tracetui_inspect::inet::{Inet, Listener, Route};

/// How long the process of a socket is searched for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The largest difference between a port and a near one.
const NEAR: u16 = 1000;

/// The index of the loopback interface in every network namespace.
const LOOPBACK: u32 = 1;

struct Reason {
    cause: Cause,
    text: Vec<u8>,
    near: Option<SocketAddr>,
}

impl Reason {
    fn new(cause: Cause, text: impl Into<Vec<u8>>) -> Reason {
        Reason { cause, text: text.into(), near: None }
    }
}

type Found = Result<Reason, Vec<u8>>;

pub(super) fn look(asked: &FailedConnect, sockets: &Sockets) -> Answer {
    let found = find(asked, sockets);
    let after = clock::now_boot().since(asked.time);
    match found {
        Ok(Reason { cause, text, near }) => Answer {
            text,
            component: Some(asked.to.to_string().into_bytes()),
            cause,
            near: near.map(|near| near.to_string().into_bytes()),
            place: None,
            basis: Basis::Checked(after),
        },
        Err(why) => asked.proven.clone().unwrap_or_else(|| Answer::unknown(why, after)),
    }
}

fn find(asked: &FailedConnect, sockets: &Sockets) -> Found {
    let namespace = network_of(asked)?;
    let mut inet = Inet::open(sockets, namespace.as_ref())
        .map_err(|error| failed("cannot look into the network namespace of the process", &error))?;
    if let SocketCall::Bind { udp } = asked.call {
        return bind::refused(asked, udp, namespace.is_some(), &mut inet);
    }
    let to = asked.to.ip();
    let route = match to {
        // Its route depends on an interface, which the event does not have.
        IpAddr::V6(to) if to.is_unicast_link_local() => Err(io::ErrorKind::Unsupported.into()),
        to => inet.route(to),
    };
    match (asked.errno, route) {
        (libc::ECONNREFUSED | libc::ETIMEDOUT, Ok(route)) if route.local => {
            let listeners = inet.listeners().map_err(|error| failed("cannot list listening sockets", &error))?;
            listening(asked, &route, &listeners, &mut inet)
        }
        (libc::ECONNREFUSED, Ok(_)) => {
            let text = format!(
                "{to} is not an address of this network namespace: it refused the connection, or a firewall on the way did"
            );
            Ok(Reason::new(Cause::RefusedRemotely, text))
        }
        (errno, Err(error)) if error.raw_os_error() == Some(errno) => refused_by_route(errno, to, &mut inet),
        (libc::EHOSTUNREACH | libc::ETIMEDOUT, Ok(route)) if inet.is_silent(&route) => {
            let how = if route.next.is_ipv4() { "ARP" } else { "neighbour discovery" };
            let router = if route.next == to { "" } else { "the router " };
            let by = name(route.interface, &mut inet);
            let text = format!("{router}{} does not answer on {by} ({how} failed)", route.next);
            Ok(Reason::new(Cause::NoNeighbour, text))
        }
        (libc::EHOSTUNREACH, Ok(route)) => {
            let by = name(route.interface, &mut inet);
            let text = format!("a route leads to {to} by {by}; a router or a firewall may have refused the connection");
            Ok(Reason::new(Cause::Firewall, text))
        }
        (libc::EPERM | libc::EACCES, _) => Ok(refused_locally()),
        (_, Ok(_)) => Err(b"no reason found".to_vec()),
        (_, Err(error)) => Err(failed(&format!("the route to {to} is unknown"), &error)),
    }
}

fn failed(what: &str, error: &io::Error) -> Vec<u8> {
    without_codes(&format!("{what}: {error}")).into_bytes()
}

fn refused_locally() -> Reason {
    let text = "the local machine refused it: a BPF program of the cgroup, a security module or a filter may have";
    Reason::new(Cause::Firewall, text)
}

/// The network namespace of an event: `None` if it is tracetui's, otherwise a file of a process in it.
fn network_of(asked: &FailedConnect) -> Result<Option<File>, Vec<u8>> {
    procfs::initial_self().map_err(|why| why.to_string())?;
    let is_its = |dir: &str| procfs::namespace(dir, "net") == Some(asked.net_ns);
    if is_its("/proc/self") {
        return Ok(None);
    }
    let dirs = std::iter::once(format!("/proc/{}/task/{}", asked.tgid.0, asked.tid.0)).chain(processes());
    for dir in dirs.filter(|dir| is_its(dir)) {
        let file = File::open(format!("{dir}/ns/net"));
        if let Some(file) =
            file.ok().filter(|file| file.metadata().is_ok_and(|of| of.ino() == u64::from(asked.net_ns.0)))
        {
            return Ok(Some(file));
        }
    }
    Err(b"no process is left in its network namespace".to_vec())
}

fn processes() -> impl Iterator<Item = String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().map_while(Result::ok);
    let pids = entries.filter_map(|entry| decimal::<u32>(entry.file_name().as_encoded_bytes()));
    pids.map(|pid| format!("/proc/{pid}"))
}

/// Why a connection to an address of the same network namespace was refused or not answered.
fn listening(asked: &FailedConnect, route: &Route, listeners: &[Listener], inet: &mut Inet<'_>) -> Found {
    let to = asked.to;
    let here = |listener: &&Listener| accepts(listener, to.ip(), route.interface);
    let on_port = || listeners.iter().filter(|listener| listener.port == to.port());
    let mut accepting: Vec<_> = on_port().filter(here).collect();
    // The kernel prefers a socket with the address to one for all addresses.
    accepting.sort_by_key(|listener| listener.address.is_unspecified());
    if asked.errno == libc::ETIMEDOUT {
        let full = accepting.first().filter(|first| first.waiting > first.limit);
        let full = full.ok_or(b"no reason found".to_vec())?;
        let waiting = counted(full.waiting.into(), ["connection waits", "connections wait"]);
        let queue = format!(" on {} is full: {waiting}, the limit is {}", place(full, inet), full.limit);
        let text = [b"the backlog of ", holder(full).as_slice(), queue.as_bytes()].concat();
        return Ok(Reason::new(Cause::BacklogFull, text));
    }
    if let Some(first) = accepting.first() {
        let place = place(first, inet);
        return Err([holder(first).as_slice(), format!(" listens on {place} now").as_bytes()].concat());
    }
    // Sockets that could accept the family come first.
    let elsewhere = on_port().min_by_key(|listener| !takes_family(listener, to.ip()));
    if let Some(first) = elsewhere {
        let more = match on_port().count() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let place = place(first, inet);
        let (cause, how) = match (takes_family(first, to.ip()), to.is_ipv4()) {
            (true, _) => (Cause::ListensElsewhere, format!(" listens on {place} only{more}")),
            (false, true) => (Cause::WrongFamily, format!(" listens for IPv6 only, on {place}{more}")),
            (false, false) => (Cause::WrongFamily, format!(" listens for IPv4 only, on {place}{more}")),
        };
        let near = Some(SocketAddr::new(first.address, first.port));
        return Ok(Reason { near, ..Reason::new(cause, [holder(first).as_slice(), how.as_bytes()].concat()) });
    }
    let distance = |listener: &&Listener| (listener.port.abs_diff(to.port()), listener.port);
    let near = listeners.iter().filter(here).min_by_key(distance);
    let mut reason = Reason::new(Cause::NothingListens, format!("nothing listens on {to}"));
    if let Some(near) = near.filter(|near| near.port.abs_diff(to.port()) <= NEAR) {
        let listens = format!(" listens on {}", near.port);
        reason.text.extend([b"; ", holder(near).as_slice(), listens.as_bytes()].concat());
        reason.near = Some(SocketAddr::new(to.ip(), near.port));
    }
    Ok(reason)
}

fn takes_family(listener: &Listener, to: IpAddr) -> bool {
    let mapped = listener.address.is_unspecified() && !listener.only_v6;
    listener.address.to_canonical().is_ipv4() == to.is_ipv4() || to.is_ipv4() && mapped
}

/// Whether a socket accepts connections to an address that arrive by an interface.
fn accepts(listener: &Listener, to: IpAddr, interface: u32) -> bool {
    takes_family(listener, to)
        && (listener.address.is_unspecified() || listener.address.to_canonical() == to)
        && (listener.interface == 0 || listener.interface == interface)
}

/// The address of a socket, with the interface that it is bound to.
fn place(listener: &Listener, inet: &mut Inet<'_>) -> String {
    let address = SocketAddr::new(listener.address, listener.port);
    match listener.interface {
        0 => address.to_string(),
        index => format!("{address} (only from {})", name(index, inet)),
    }
}

fn name(interface: u32, inet: &mut Inet<'_>) -> String {
    match inet.interface(interface) {
        Ok((name, _)) => String::from_utf8_lossy(&name).into_owned(),
        Err(_) => format!("interface {interface}"),
    }
}

/// The process that holds a socket: `postgres[812]`. If several do, the one that the others descend from.
fn holder(listener: &Listener) -> Vec<u8> {
    let (begun, target) = (Instant::now(), format!("socket:[{}]", listener.inode));
    let holds = |dir: &String| {
        let fds = fs::read_dir(format!("{dir}/fd")).into_iter().flatten().map_while(Result::ok);
        fds.take_while(|_| begun.elapsed() < PATIENCE)
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == target.as_str()))
    };
    let Some(mut dir) = processes().take_while(|_| begun.elapsed() < PATIENCE).find(holds) else {
        return b"a socket of no visible process".to_vec();
    };
    let parent = |dir: &String| {
        let stat = procfs::Stat::parse(&read_bounded(format!("{dir}/stat"), 1024).ok()?)?;
        Some(format!("/proc/{}", stat.ppid.0))
    };
    while let Some(above) = parent(&dir).filter(holds) {
        dir = above;
    }
    let comm = read_bounded(format!("{dir}/comm"), 64).unwrap_or_default();
    let pid = dir.trim_start_matches("/proc/");
    [comm.trim_ascii_end(), format!("[{pid}]").as_bytes()].concat()
}

/// Why no packet can leave: the kernel refuses the route to `to` with this error.
fn refused_by_route(errno: i32, to: IpAddr, inet: &mut Inet<'_>) -> Found {
    let of_type = |kind: &str| format!("the route to {to} is of the type {kind}");
    Ok(match errno {
        libc::ENETUNREACH => {
            let down = to.is_loopback() && inet.interface(LOOPBACK).is_ok_and(|(_, up)| !up);
            let why = if down { ": the interface lo is down" } else { "" };
            Reason::new(Cause::NoRoute, format!("no route leads to {to}{why}"))
        }
        libc::EHOSTUNREACH => Reason::new(Cause::NoRoute, of_type("unreachable")),
        libc::EACCES => Reason::new(Cause::Prohibited, of_type("prohibit")),
        libc::EINVAL => Reason::new(Cause::Blackhole, of_type("blackhole")),
        _ => return Err(b"no reason found".to_vec()),
    })
}
