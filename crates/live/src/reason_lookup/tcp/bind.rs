//! Why an address could not be bound, or a socket could not listen.

use super::{
    Cause, FailedConnect, Found, Inet, Listener, Reason, failed, holder, place, refused_locally, takes_family,
};
use std::net::{IpAddr, SocketAddr};
use tracetui_events::text::counted;
use tracetui_host::{decimal, read_bounded};
use tracetui_shared::record::socket::state;

/// `TCP_TIME_WAIT` (include/net/tcp_states.h).
const TIME_WAIT: u8 = 6;

/// The first port that needs no capability. The file is that of the reader's network namespace.
const UNPRIVILEGED: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// The value of [`UNPRIVILEGED`] in a new network namespace.
const BY_DEFAULT: u16 = 1024;

/// `elsewhere`: the process is in another network namespace than tracetui.
pub(super) fn refused(asked: &FailedConnect, udp: bool, elsewhere: bool, inet: &mut Inet<'_>) -> Found {
    let (to, port) = (asked.to.ip(), asked.to.port());
    match asked.errno {
        libc::EADDRINUSE => {
            let protocol = if udp { libc::IPPROTO_UDP } else { libc::IPPROTO_TCP };
            let sockets = inet.on_port(protocol, port).map_err(|error| failed("cannot list the sockets", &error))?;
            held(asked.to, elsewhere, sockets, inet)
        }
        libc::EADDRNOTAVAIL if inet.route(to).is_ok_and(|route| route.local) => {
            Err(format!("an interface has the address {to} now").into_bytes())
        }
        libc::EADDRNOTAVAIL => {
            let text = format!("no interface of {} has the address {to}", namespace(elsewhere));
            Ok(Reason::new(Cause::NoAddress, text))
        }
        libc::EACCES => {
            let read = || decimal::<u16>(read_bounded(UNPRIVILEGED, 16).ok()?.trim_ascii());
            let start = read().filter(|_| !elsewhere);
            if port >= start.unwrap_or(BY_DEFAULT) {
                return Ok(refused_locally());
            }
            let start = start.map_or(format!("{BY_DEFAULT} unless changed"), |start| start.to_string());
            let text = format!(
                "port {port} is below net.ipv4.ip_unprivileged_port_start ({start}), and the process lacks CAP_NET_BIND_SERVICE"
            );
            Ok(Reason::new(Cause::NoPermission, text))
        }
        libc::EPERM => Ok(refused_locally()),
        _ => Err(b"no reason found".to_vec()),
    }
}

fn namespace(elsewhere: bool) -> &'static str {
    if elsewhere { "its network namespace" } else { "this network namespace" }
}

/// Which of the sockets with the port holds the address.
fn held(to: SocketAddr, elsewhere: bool, mut sockets: Vec<Listener>, inet: &mut Inet<'_>) -> Found {
    sockets.retain(|socket| overlaps(socket, to.ip()));
    let within = if elsewhere { " in its network namespace" } else { "" };
    let waiting = sockets.extract_if(.., |socket| socket.state == TIME_WAIT).count();
    // A socket with the same address is the most likely one, then one that listens.
    let key = |socket: &&Listener| (socket.address.to_canonical() != to.ip(), socket.state != state::LISTEN);
    let Some(first) = sockets.iter().min_by_key(key) else {
        if waiting > 0 {
            let waiting = counted(waiting as u64, ["connection in TIME-WAIT holds", "connections in TIME-WAIT hold"]);
            let text = format!("only {waiting} {to}{within}: not all sockets had SO_REUSEADDR");
            return Ok(Reason::new(Cause::InUse, text));
        }
        return Err(
            format!("nothing holds {to} now{within} (before 6.8, a socket that is only bound is not listed)").into()
        );
    };
    let mut text = format!("{to} is held by ").into_bytes();
    text.extend(holder(first));
    let mut reason = Reason::new(Cause::InUse, text);
    if first.address.to_canonical() != to.ip() || first.interface != 0 {
        reason.text.extend(format!(", on {}", place(first, inet)).bytes());
        reason.near = Some(SocketAddr::new(first.address, first.port));
    }
    reason.text.extend(within.bytes());
    Ok(reason)
}

/// Whether a socket and an address of the same port exclude each other.
fn overlaps(socket: &Listener, to: IpAddr) -> bool {
    let any = to.is_unspecified() && to.is_ipv6();
    let same = socket.address.is_unspecified() || to.is_unspecified() || socket.address.to_canonical() == to;
    same && (takes_family(socket, to) || any)
}
