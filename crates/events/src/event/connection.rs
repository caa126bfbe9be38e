//! The connections that `tcp` events are about: what they lead to, and which events belong together.

use super::Payload as _;
use super::tcp::Tcp;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use tracetui_shared::kind::Kind;
use tracetui_shared::record::tcp::flag;

/// The connection of an event, as far as the event shows it.
pub type Connection = Tcp;

/// The text before the port of a server.
const PORT: &str = "port ";

/// The longest time between the establishments of a connection at its two ends, in nanoseconds. A lost segment is sent
/// again after a second.
const TOGETHER: u64 = 2_000_000_000;

/// An end of a connection, as seen from one of its events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Same,
    Other,
}

/// The filter term for the connections with this [`Tcp::service`].
pub fn of_service(service: &[u8]) -> String {
    let text = String::from_utf8_lossy(service);
    match (text.strip_prefix(PORT), text.parse::<SocketAddr>()) {
        (Some(port), _) => format!("(role=server lport={port})"),
        (None, Ok(peer)) => format!("(role=client raddr={} rport={})", peer.ip(), peer.port()),
        (None, Err(_)) => format!("kind={}", Kind::Tcp.name()),
    }
}

impl Tcp {
    fn is_server(&self) -> bool {
        self.record.flags & flag::SERVER != 0
    }

    /// Appends what the connection leads to: the remote address and port of a client, the local port of a server (`port 80`).
    /// `false` if that is unknown, as for a connection that is older than the trace.
    pub fn service(&self, out: &mut Vec<u8>) -> bool {
        let peer = self.raddr().map(|address| SocketAddr::new(address, self.record.rport));
        // Writing to a Vec cannot fail.
        match (self.is_server(), peer) {
            _ if self.connection().is_some() && self.record.flags & flag::OLDER != 0 => false,
            (true, _) => write!(out, "{PORT}{}", self.record.lport).is_ok(),
            (false, Some(peer)) => write!(out, "{peer}").is_ok(),
            (false, None) => false,
        }
    }

    /// The end of this event's connection that another event is about. `None` if that is another connection.
    ///
    /// All events of an end have the same start. At the other end the addresses are exchanged, and the connection was
    /// established at nearly the same time, which distinguishes connections that used the same ports.
    pub fn end_of(&self, other: &Tcp) -> Option<End> {
        let established = |tcp: &Tcp| match tcp.record.decided.0 {
            0 => tcp.record.since.0,
            decided => decided,
        };
        let ([own, remote], [its, its_remote]) = (self.ends(), other.ends());
        let same_addresses = own == its && remote == its_remote && self.is_server() == other.is_server();
        let exchanged = own == its_remote && remote == its && self.is_server() != other.is_server();
        let same_start = self.record.since == other.record.since && self.record.net_ns == other.record.net_ns;
        match established(self).abs_diff(established(other)) {
            _ if same_addresses && same_start => Some(End::Same),
            ..=TOGETHER if exchanged => Some(End::Other),
            _ => None,
        }
    }

    /// The local and the remote address and port.
    fn ends(&self) -> [(Option<IpAddr>, u16); 2] {
        [(self.laddr(), self.record.lport), (self.raddr(), self.record.rport)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::payload::tcp;
    use tracetui_shared::record::tcp::TcpRecord;
    use tracetui_shared::record::tcp::op;
    use tracetui_shared::time::BootNanos;

    /// An event at one end: the local and the remote port, the start and the establishment in ms.
    fn at(op: u8, flags: u16, ports: [u16; 2], [since, decided]: [u64; 2]) -> Tcp {
        let [local, remote] = ports.map(|port| SocketAddr::new([127, 0, 0, 1].into(), port));
        let [since, decided] = [since, decided].map(|ms| BootNanos(ms * 1_000_000));
        Tcp { record: TcpRecord { since, decided, flags, ..tcp(op, local, remote) } }
    }

    #[test]
    fn events_of_a_connection_belong_together_and_a_service_has_a_term() {
        let connect = at(op::CONNECT, 0, [40000, 80], [1, 3]);
        let close = at(op::CLOSE, 0, [40000, 80], [1, 3]);
        let accept = at(op::ACCEPT, flag::SERVER, [80, 40000], [4, 4]);
        assert_eq!([connect.end_of(&close), close.end_of(&connect)], [Some(End::Same); 2]);
        assert_eq!([connect.end_of(&accept), accept.end_of(&close)], [Some(End::Other); 2]);
        // The same ports, later.
        let later = at(op::CONNECT, 0, [40000, 80], [9_000, 9_000]);
        assert_eq!([later.end_of(&close), later.end_of(&accept)], [None; 2]);
        // Another port, another network namespace.
        assert_eq!(at(op::CONNECT, 0, [40001, 80], [1, 3]).end_of(&close), None);
        let mut elsewhere = connect;
        elsewhere.record.net_ns.0 += 1;
        assert_eq!(elsewhere.end_of(&close), None);
        assert_eq!(elsewhere.end_of(&accept), Some(End::Other), "the ends may be in two namespaces");
        // A socket that is connected to itself has one end.
        let own = at(op::CONNECT, 0, [40000, 40000], [1, 1]);
        assert_eq!(own.end_of(&own), Some(End::Same));
        assert_eq!([close.is_close(), connect.is_close()], [true, false]);
        // A service has a filter term.
        let text = |tcp: Tcp| {
            let mut out = Vec::new();
            assert!(tcp.service(&mut out));
            let term = of_service(&out);
            (String::from_utf8(out).expect("text"), term)
        };
        let expected = |text: &str, term: &str| (text.to_owned(), term.to_owned());
        let client = at(op::CONNECT, 0, [40000, 50000], [1, 1]);
        assert_eq!(text(client), expected("127.0.0.1:50000", "(role=client raddr=127.0.0.1 rport=50000)"));
        let server = at(op::ACCEPT, flag::SERVER, [80, 40000], [1, 1]);
        assert_eq!(text(server), expected("port 80", "(role=server lport=80)"));
        let peer = "[::1]:443".parse().expect("an address");
        let v6 = Tcp { record: tcp(op::CONNECT, peer, peer) };
        assert_eq!(text(v6), expected("[::1]:443", "(role=client raddr=::1 rport=443)"));
        for term in [text(client).1, text(server).1, text(v6).1] {
            assert!(crate::filter::Filter::parse(&term, &crate::filter::NoNames).is_ok(), "{term}");
        }
        assert!(!Tcp { record: TcpRecord { family: 0, ..client.record } }.service(&mut Vec::new()));
    }
}
