//! Why a connection, a bind or a listen failed: the reasons that the event itself proves, and the facts that a lookup needs.

use super::{Answer, Cause};
use crate::event::tcp::Tcp;
use crate::text::counted;
use crate::text::time::short_duration;
use std::net::SocketAddr;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::{NsInum, Tgid, Tid};
use tracetui_shared::record::tcp::{op, outcome};
use tracetui_shared::time::BootNanos;

/// What a call asked a socket to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SocketCall {
    Connect,
    /// bind(2), or listen(2).
    Bind {
        udp: bool,
    },
}

/// The facts about a failed connection, or another call of a socket, that a lookup needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailedConnect {
    pub tgid: Tgid,
    pub tid: Tid,
    pub net_ns: NsInum,
    pub time: BootNanos,
    pub call: SocketCall,
    /// The remote address, or the one to bind. A mapped address is an IPv4 address.
    pub to: SocketAddr,
    /// The error, positive; `ETIMEDOUT` if the process did not wait for the answer.
    pub errno: i32,
    /// The answer that the event proves. Used if the lookup finds nothing.
    pub proven: Option<Answer>,
}

impl Tcp {
    fn errno(&self) -> i32 {
        match self.record.outcome {
            outcome::ABANDONED | outcome::KILLED => libc::ETIMEDOUT,
            _ => self.record.err.into(),
        }
    }

    /// The answer that the event alone proves. A lookup may show more about missing answers.
    pub(super) fn proven(&self) -> Option<Answer> {
        let (record, to) = (&self.record, SocketAddr::new(self.raddr()?, self.record.rport));
        let (cause, text) = match self.errno() {
            libc::ETIMEDOUT => {
                let mut text = format!("no answer to {}", counted(1 + u64::from(record.retransmits), ["SYN", "SYNs"]));
                if record.since.0 > 0 && record.decided > record.since {
                    let mut waited = Vec::new();
                    short_duration(record.decided.since(record.since), &mut waited);
                    text += &format!(" in {}", String::from_utf8_lossy(&waited));
                }
                text += match record.outcome {
                    outcome::ABANDONED => "; then the process closed the socket",
                    outcome::KILLED => "; then a signal ended the process",
                    _ => "",
                };
                (Cause::Timeout, text)
            }
            libc::EADDRNOTAVAIL if record.lport == 0 => {
                (Cause::NoPort, format!("no local port is free for a connection to {to}"))
            }
            libc::EADDRNOTAVAIL => {
                (Cause::NoPort, format!("the local port {} already has a connection to {to}", record.lport))
            }
            _ => return None,
        };
        Some(Answer { component: Some(to.to_string().into_bytes()), ..Answer::proven(cause, text) })
    }

    /// The question for a lookup; `None` if the event proves the whole answer.
    pub(super) fn question(&self, header: &FrameHeader) -> Option<FailedConnect> {
        let proven = self.proven();
        if proven.as_ref().is_some_and(|answer| answer.cause == Cause::NoPort) {
            return None;
        }
        let (call, address, port) = match self.record.op {
            op::CONNECT => (SocketCall::Connect, self.raddr(), self.record.rport),
            op::LISTEN | op::BIND => (SocketCall::Bind { udp: self.is_udp() }, self.laddr(), self.record.lport),
            _ => return None,
        };
        Some(FailedConnect {
            tgid: header.tgid,
            tid: header.tid,
            net_ns: self.record.net_ns,
            time: header.time,
            call,
            to: SocketAddr::new(address?, port),
            errno: self.errno(),
            proven,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;
    use tracetui_shared::record::tcp::{TcpRecord, form};

    fn failed(err: i32) -> TcpRecord {
        let (raddr, family) = (Ipv6Addr::LOCALHOST.octets(), libc::AF_INET6 as u8);
        let outcome = outcome::DECIDED;
        TcpRecord { err: err as u16, raddr, rport: 80, family, outcome, ..TcpRecord::default() }
    }

    #[test]
    fn some_failures_are_explained_by_the_event_alone_others_by_the_address() {
        let said = |record: TcpRecord| {
            let answer = Tcp { record }.proven()?;
            Some((answer.cause, String::from_utf8(answer.text).expect("text")))
        };
        let timeout = |text: &str| Some((Cause::Timeout, text.to_owned()));
        let waited = TcpRecord { since: BootNanos(1), decided: BootNanos(2_000_000_001), retransmits: 1, ..failed(0) };
        assert_eq!(said(TcpRecord { err: libc::ETIMEDOUT as u16, ..waited }), timeout("no answer to 2 SYNs in 2.0 s"));
        assert_eq!(said(failed(libc::ETIMEDOUT)), timeout("no answer to 1 SYN"));
        let abandoned = TcpRecord { outcome: outcome::ABANDONED, ..waited };
        assert_eq!(said(abandoned), timeout("no answer to 2 SYNs in 2.0 s; then the process closed the socket"));
        let killed = TcpRecord { outcome: outcome::KILLED, ..failed(0) };
        assert_eq!(said(killed), timeout("no answer to 1 SYN; then a signal ended the process"));
        let port = |text: &str| Some((Cause::NoPort, text.to_owned()));
        let none = failed(libc::EADDRNOTAVAIL);
        assert_eq!(said(none), port("no local port is free for a connection to [::1]:80"));
        assert_eq!(said(TcpRecord { lport: 7, ..none }), port("the local port 7 already has a connection to [::1]:80"));
        for other in [libc::ECONNREFUSED, libc::EACCES, 0] {
            assert_eq!(said(failed(other)), None);
        }
        // A question has the remote address.
        let asked = |record| Tcp { record }.question(&FrameHeader::default()).map(|asked| (asked.to, asked.errno));
        let to = |text: &str, errno| Some((text.parse().expect("an address"), errno));
        let refused = failed(libc::ECONNREFUSED);
        assert_eq!(asked(refused), to("[::1]:80", libc::ECONNREFUSED));
        let mut mapped = TcpRecord { raddr: [0; 16], ..refused };
        mapped.raddr[10..].copy_from_slice(&[0xff, 0xff, 127, 0, 0, 1]);
        assert_eq!(asked(mapped), to("127.0.0.1:80", libc::ECONNREFUSED));
        assert_eq!(asked(TcpRecord { outcome: outcome::KILLED, ..failed(0) }), to("[::1]:80", libc::ETIMEDOUT));
        assert_eq!(asked(failed(libc::EADDRNOTAVAIL)), None);
        assert_eq!(asked(TcpRecord { op: op::ACCEPT, ..refused }), None);
        let bind = TcpRecord { op: op::BIND, laddr: refused.raddr, lport: 80, form: form::INET6, ..failed(98) };
        assert_eq!(asked(bind), to("[::1]:80", libc::EADDRINUSE));
        assert_eq!(asked(TcpRecord { form: form::TOO_SHORT, ..bind }), None);
    }
}
