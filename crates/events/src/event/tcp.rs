//! `tcp`: a TCP connection was requested, accepted or closed, a socket listens, or an address could not be bound.

use super::describe::{Field, STACK, Value, Why, address, err_value, field_table, props};
use super::parts::{Parts, Role};
use super::redact::Redact;
use super::{Compared, EventContext, Payload, Sections, abi, names, tcp};
use crate::text::paint::Look;
use crate::text::{integer, short, time};
use libc::{
    AF_INET, AF_INET6, ECONNREFUSED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH, EPIPE, ETIMEDOUT,
    IPPROTO_UDP,
};
use std::hash::{Hash as _, Hasher};
use std::io::Write as _;
use std::net::IpAddr;
use tracetui_shared::id::Tgid;
use tracetui_shared::record::tcp::{TcpRecord, flag, form, op, outcome, state, via};
use tracetui_shared::time::BootNanos;
use zerocopy::IntoBytes;

#[derive(Clone, Copy, Debug)]
pub struct Tcp {
    pub record: TcpRecord,
}

// A record that grows may have a text: redact it, then change its size here.
const _: () = assert!(size_of::<TcpRecord>() == 120);

// The words of fields.
const ROLES: [&str; 2] = ["client", "server"];
const PROTOCOLS: [&str; 2] = ["tcp", "udp"];
const OUTCOMES: [&str; 9] =
    ["connected", "refused", "reset", "timed_out", "unreachable", "failed", "abandoned", "killed", "in_progress"];
const ENDS: [&str; 5] = ["closed", "reset", "reset_by_peer", "timed_out", "aborted"];

impl Payload<'_> for Tcp {
    fn decode(payload: &[u8]) -> Option<Tcp> {
        let (record, _) = Sections::fixed::<TcpRecord>(payload)?;
        (record.op <= op::BIND).then_some(Tcp { record })
    }

    fn unwritten() -> Vec<Vec<u8>> {
        vec![TcpRecord { fd: -1, via: via::OTHER, ..TcpRecord::default() }.as_bytes().to_vec()]
    }

    fn redact(_: &[u8], _: &mut Redact) -> Option<Vec<u8>> {
        None
    }

    const LOOK: Look = Look::Note;
    const COMPARED: Compared = Compared::Results("succeeded");
    const NOUN: &'static str = "tcp event";
    const CONNECTS: bool = true;
    const SERVED: bool = true;
    const NEWS: Option<usize> = Some(0);

    /// Whether it is a request without a connection, or another call that failed. A request that still waits has not failed.
    fn failed(&self) -> bool {
        if self.is_connection() {
            return !matches!(self.outcome(), None | Some("connected" | "in_progress"));
        }
        self.record.err != 0
    }

    fn ret(&self) -> Option<i32> {
        let of_call = self.record.op != op::CLOSE && self.has(flag::HAS_RET);
        of_call.then_some(self.record.ret)
    }

    fn ends_program(&self) -> bool {
        !self.is_connection()
    }

    fn error(&self) -> i32 {
        if self.failed() { -i32::from(self.record.err) } else { 0 }
    }

    /// The peer of a client, the port of a server, or the address of listen(2) or bind(2). An ephemeral port is `*`.
    fn subject(&self, out: &mut Vec<u8>) {
        match self.has(flag::SERVER) {
            _ if !self.is_connection() => self.place(out),
            true => {
                out.extend_from_slice(b"port ");
                port(self.record.lport, out);
            }
            false => self.peer_at(out, port),
        }
    }

    fn connection(&self) -> Option<&Tcp> {
        self.is_connection().then_some(self)
    }

    fn socket(&self) -> Option<&Tcp> {
        Some(self)
    }

    /// Whether a process closes the socket or ends before an answer depends on time.
    fn used(&self, subject: &mut Vec<u8>) -> Option<i32> {
        self.subject(subject);
        match self.outcome() {
            _ if self.record.op == op::ACCEPT => Some(0),
            _ if !self.is_connection() => (!self.has(flag::OLDER)).then(|| self.error()),
            None | Some("abandoned" | "killed" | "in_progress") => None,
            Some(_) => Some(self.error()),
        }
    }

    /// The subject of a server has no peer.
    fn distinguish(&self, mut into: &mut dyn Hasher) {
        (self.record.op, self.raddr()).hash(&mut into);
    }

    fn news(&self, out: &mut Vec<u8>) -> bool {
        !self.is_close() && !self.is_older() && self.service(out)
    }

    fn is_close(&self) -> bool {
        self.record.op == op::CLOSE
    }

    fn began(&self) -> Option<BootNanos> {
        (self.record.op == op::CLOSE).then_some(self.record.since)
    }

    fn result(&self, out: &mut Vec<u8>) {
        let word = match self.record.op {
            op::CONNECT => self.outcome(),
            op::ACCEPT => Some("accepted"),
            op::CLOSE => self.end(),
            _ if self.failed() => Some(names::err(self.error()).unwrap_or("failed")),
            _ => Some("ok"),
        };
        out.extend_from_slice(word.unwrap_or("unknown").as_bytes());
    }

    fn detail(&self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        self.parts(seen, out, Tcp::place);
    }

    /// Leaves out the client's port on a server's row: it differs for each connection.
    fn show(&self, seen: &EventContext<'_>, out: &mut impl Parts) {
        self.parts(seen, out, |tcp, out| match tcp.raddr().filter(|_| tcp.has(flag::SERVER)) {
            // Writing to a Vec cannot fail.
            Some(address) => _ = write!(out, "{address}"),
            None => tcp.place(out),
        });
    }

    fn title(&self, _: &EventContext<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.op().as_bytes());
        out.push(b' ');
        self.place(out);
        out.push(b' ');
        self.result(out);
    }
}

impl Tcp {
    fn has(&self, bit: u16) -> bool {
        self.record.flags & bit != 0
    }

    pub fn is_request(&self) -> bool {
        self.record.op == op::CONNECT
    }

    /// Whether it is about a connection. Other events are about the address of one socket.
    fn is_connection(&self) -> bool {
        self.record.op <= op::CLOSE
    }

    pub(crate) fn is_udp(&self) -> bool {
        i32::from(self.record.protocol) == IPPROTO_UDP
    }

    pub fn op(&self) -> &'static str {
        match self.record.op {
            op::CONNECT => "connect",
            op::ACCEPT => "accept",
            op::LISTEN => "listen",
            op::BIND => "bind",
            _ => "close",
        }
    }

    /// The outcome of a request. `None` if it is unknown, or if it is no request.
    pub fn outcome(&self) -> Option<&'static str> {
        match self.record.outcome {
            _ if !self.is_request() => None,
            outcome::DECIDED => Some(match i32::from(self.record.err) {
                0 => "connected",
                ECONNREFUSED => "refused",
                ECONNRESET => "reset",
                ETIMEDOUT => "timed_out",
                EHOSTUNREACH | ENETUNREACH | EHOSTDOWN | ENETDOWN => "unreachable",
                _ => "failed",
            }),
            outcome::ABANDONED => Some("abandoned"),
            outcome::KILLED => Some("killed"),
            outcome::IN_PROGRESS => Some("in_progress"),
            _ => None,
        }
    }

    /// How a connection ended. `None` if it is unknown, or if this is not its end.
    pub fn end(&self) -> Option<&'static str> {
        if self.record.op != op::CLOSE {
            return None;
        }
        Some(match (i32::from(self.record.err), self.record.state) {
            (ECONNRESET | EPIPE, _) => "reset_by_peer",
            (ETIMEDOUT, _) => "timed_out",
            (1.., _) => "aborted",
            (_, state::ESTABLISHED | state::CLOSE_WAIT) => "reset",
            (_, 0) => return None,
            _ => "closed",
        })
    }

    /// The local address; IPv4 if it is mapped to IPv6. `None` if the family is unknown, or if the failed bind passed none.
    pub fn laddr(&self) -> Option<IpAddr> {
        self.local().ok()
    }

    /// The local address, or why there is none.
    fn local(&self) -> Result<IpAddr, Why> {
        let form = if self.record.op == op::BIND { self.record.form } else { form::SOCKET };
        self.of_form(form, self.record.laddr).map(|address| address.to_canonical())
    }

    /// The remote address, with a mapped IPv4 address as IPv4. `None` if the socket has none and the failed request passed none.
    pub fn raddr(&self) -> Option<IpAddr> {
        self.raw_raddr().ok().map(|address| address.to_canonical())
    }

    /// The remote address as the socket has it or as it was passed, or why there is none.
    fn raw_raddr(&self) -> Result<IpAddr, Why> {
        if !self.is_connection() {
            return Err(Why::NotCollected);
        }
        self.of_form(self.record.form, self.record.raddr)
    }

    fn of_form(&self, form: u8, bytes: [u8; 16]) -> Result<IpAddr, Why> {
        let family = match form {
            form::SOCKET => self.record.family,
            form::OTHER_FAMILY => return Err(Why::OtherFamily),
            form::TOO_SHORT => return Err(Why::TooShort),
            form::UNREADABLE => return Err(Why::Fault),
            family => family,
        };
        address(family, bytes).ok_or(Why::NotCollected)
    }

    /// A value that follows from the remote address.
    fn of_raddr<'a>(&self, value: impl FnOnce(IpAddr) -> Value<'a>) -> Value<'a> {
        if !self.is_connection() {
            return Value::Null;
        }
        self.raw_raddr().map_or_else(Value::Unknown, value)
    }

    /// The remote address and port: `10.0.0.7:51514`, `[::1]:443`. `?` if they are unknown. Without a connection, the local ones.
    fn place(&self, out: &mut Vec<u8>) {
        match self.is_connection() {
            true => self.peer_at(out, integer),
            false => at(self.laddr(), self.record.lport, out, integer),
        }
    }

    fn peer_at(&self, out: &mut Vec<u8>, port: impl FnOnce(u16, &mut Vec<u8>)) {
        at(self.raddr(), self.record.rport, out, port);
    }

    /// The port of a server, the peer, and what became of a connection that ended or failed: `:80 <- 10.0.0.7:51514`,
    /// `-> 10.0.0.7:443  1.2MB in, 842B out, 31.0 s, 1 resent, closed by 812`, `-> 10.0.0.7:443  EACCES`,
    /// `-> 10.0.0.7:443  after 7.1 s`, `listen 0.0.0.0:80  backlog 128`, `bind 0.0.0.0:53 udp`.
    fn parts(&self, seen: &EventContext<'_>, out: &mut impl Parts, place: impl FnOnce(&Tcp, &mut Vec<u8>)) {
        if !self.is_connection() {
            out.part(Role::Quiet, |out| out.extend_from_slice(self.op().as_bytes()));
            out.part(Role::Plain, |out| {
                out.push(b' ');
                place(self, out);
            });
            return out.part(Role::Quiet, |out| match self.backlog() {
                Value::Int(backlog) => out.extend_from_slice(format!("  backlog {backlog}").as_bytes()),
                Value::Unknown(_) if self.is_older() => out.extend_from_slice(b"  older than the trace"),
                _ if self.is_udp() => out.extend_from_slice(b" udp"),
                _ => {}
            });
        }
        if self.has(flag::SERVER | flag::OLDER) {
            out.part(Role::Plain, |out| out.extend_from_slice(format!(":{} ", self.record.lport).as_bytes()));
        }
        let arrow: &[u8] = match (self.has(flag::OLDER), self.has(flag::SERVER)) {
            (true, _) => b"<-> ",
            (false, true) => b"<- ",
            (false, false) => b"-> ",
        };
        out.part(Role::Quiet, |out| out.extend_from_slice(arrow));
        out.part(Role::Plain, |out| place(self, out));
        let time = self.duration(seen.event.header.time);
        match (self.record.op, self.outcome()) {
            (op::ACCEPT, _) if self.record.fd >= 0 => {
                out.part(Role::Quiet, |out| out.extend_from_slice(format!("  fd {}", self.record.fd).as_bytes()));
            }
            (op::CLOSE, _) => out.part(Role::Quiet, |out| self.closed(seen.event.header.tgid, time, out)),
            (_, Some("failed")) => out.part(Role::Quiet, |out| {
                if let Some(name) = names::err(self.error()) {
                    out.extend_from_slice(b"  ");
                    out.extend_from_slice(name.as_bytes());
                }
            }),
            (_, Some("timed_out" | "abandoned" | "killed")) => out.part(Role::Quiet, |out| {
                if let Value::Uint(ns) = time {
                    out.extend_from_slice(b"  after ");
                    time::short_duration(ns, out);
                }
            }),
            _ => {}
        }
    }

    /// What became of a connection of the process `owner` that ended.
    fn closed(&self, owner: Tgid, time: Value<'_>, out: &mut Vec<u8>) {
        let [bytes_in, bytes_out] = [self.record.bytes_in, self.record.bytes_out].map(short);
        out.extend_from_slice(format!("  {bytes_in}B in, {bytes_out}B out").as_bytes());
        if let Value::Uint(ns) = time {
            out.extend_from_slice(b", ");
            time::short_duration(ns, out);
        }
        if self.record.retransmits > 0 {
            out.extend_from_slice(format!(", {} resent", self.record.retransmits).as_bytes());
        }
        if self.record.closer.0 != 0 && self.record.closer != owner {
            out.extend_from_slice(format!(", closed by {}", self.record.closer.0).as_bytes());
        }
    }

    /// Whether the connection was there before the trace.
    pub fn is_older(&self) -> bool {
        self.has(flag::OLDER)
    }

    /// How long the request, the wait in the queue, or the connection took.
    fn duration(&self, now: BootNanos) -> Value<'static> {
        let (request, since, decided) = (self.is_request(), self.record.since, self.record.decided);
        match self.outcome() {
            Some("in_progress") => Value::Null,
            _ if !self.is_connection() => Value::Null,
            _ if since.0 == 0 || self.has(flag::OLDER) => Value::Unknown(Why::NotCollected),
            _ if self.has(flag::REPAIRED) => Value::Unknown(Why::Repaired),
            _ if request && decided.0 == 0 => Value::Unknown(Why::NotCollected),
            _ => Value::Uint(if request { decided } else { now }.since(since)),
        }
    }

    /// The backlog of listen(2).
    fn backlog(&self) -> Value<'static> {
        match (self.record.op, self.record.via) {
            (op::LISTEN, via::LISTEN) => Value::Int(self.record.backlog.into()),
            (op::LISTEN, _) => Value::Unknown(Why::NotCollected),
            _ => Value::Null,
        }
    }

    /// A word that can be unknown, but only if the event is of this [`op`].
    fn word(&self, of: u8, word: Option<&'static str>) -> Value<'static> {
        let why = if self.has(flag::REPAIRED) { Why::Repaired } else { Why::NotCollected };
        match word {
            _ if self.record.op != of => Value::Null,
            word => word.map_or(Value::Unknown(why), Value::Word),
        }
    }
}

/// An address and a port; `?` without an address.
fn at(address: Option<IpAddr>, number: u16, out: &mut Vec<u8>, port: impl FnOnce(u16, &mut Vec<u8>)) {
    // Writing to a Vec cannot fail.
    _ = match address {
        Some(IpAddr::V4(address)) => write!(out, "{address}:"),
        Some(IpAddr::V6(address)) => write!(out, "[{address}]:"),
        None => return out.push(b'?'),
    };
    port(number, out);
}

/// Ports that the kernel assigns by default (`ip_local_port_range`,
/// [inet_init_net](https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/af_inet.c)).
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

fn port(number: u16, out: &mut Vec<u8>) {
    if EPHEMERAL.contains(&number) { out.push(b'*') } else { integer(number, out) }
}

/// A value that only the end of a connection has.
fn of_close<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a Tcp) -> Value<'a>) -> Value<'a> {
    tcp(seen, |t| if t.record.op == op::CLOSE { get(t) } else { Value::Null })
}

/// A value from the process that closed the connection, if one did.
fn of_closer<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a Tcp) -> Value<'a>) -> Value<'a> {
    of_close(seen, |t| if t.record.closer.0 != 0 { get(t) } else { Value::Null })
}

/// A value that only a connection has.
fn of_connection<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a Tcp) -> Value<'a>) -> Value<'a> {
    tcp(seen, |t| if t.is_connection() { get(t) } else { Value::Null })
}

const CLOSER: &[Field] = field_table! {
    pid Number "Process id: task_struct.tgid." |s| of_closer(s, |t| Value::Uint(t.record.closer.0.into()));
    start_ns Number "Start time of the process, CLOCK_BOOTTIME in nanoseconds: task_struct.group_leader->start_boottime."
        |s| of_closer(s, |t| Value::Uint(t.record.closer_start.0));
};

pub(crate) const FIELDS: &[Field] = field_table! {
    op Text "Operation: connect (requested), accept, close, listen, or bind (only a failed one; UDP too)."
        |s| tcp(s, |t| Value::Word(t.op()));
    role Text "client (requested the connection) or server (accepted it, or listens); unknown if older than the trace; null for bind."
        |s| tcp(s, |t| match t.has(flag::OLDER) {
            _ if t.record.op == op::BIND => Value::Null,
            true if t.is_connection() => Value::Unknown(Why::NotCollected),
            _ => Value::Word(ROLES[usize::from(t.has(flag::SERVER))]),
        }), with(props::LACKS), of(&ROLES);
    laddr Address "Local address: skc_rcv_saddr or skc_v6_rcv_saddr. Of bind, as passed; null, and mapped, as raddr."
        |s| tcp(s, |t| t.local().map_or_else(Value::Unknown, Value::Ip)), with(props::LACKS);
    lport Number "Local port: inet_sock.inet_sport. Of bind, as passed, as laddr."
        |s| tcp(s, |t| match (t.record.op, t.local()) {
            (op::BIND, Err(why)) => Value::Unknown(why),
            _ => Value::Uint(t.record.lport.into()),
        }), with(props::LACKS_LATER);
    raddr Address "Remote address: skc_daddr or skc_v6_daddr. If a request failed before it was sent, as passed; null if that has another family (other_family), is too short (too_short) or unreadable (fault). IPv4 mapped to IPv6 is shown as IPv4."
        |s| tcp(s, |t| t.of_raddr(|address| Value::Ip(address.to_canonical()))), with(props::LACKS);
    rport Number "Remote port: skc_dport, or as passed, as raddr."
        |s| tcp(s, |t| t.of_raddr(|_| Value::Uint(t.record.rport.into()))), with(props::LACKS_LATER);
    family Text "Family of the socket: inet (IPv4) or inet6." |s| tcp(s, |t| match t.record.family.into() {
        AF_INET => Value::Word("inet"),
        AF_INET6 => Value::Word("inet6"),
        _ => Value::Unknown(Why::NotCollected),
    }), with(props::LACKS);
    v4_mapped Bool "Whether the remote address is IPv4 mapped to IPv6."
        |s| tcp(s, |t| t.of_raddr(|address| Value::Bool(address != address.to_canonical()))), with(props::LACKS);
    net_ns Number "Network namespace: skc_net->ns.inum." |s| tcp(s, |t| match t.record.net_ns.0 {
        0 => Value::Unknown(Why::NotCollected),
        inum => Value::Uint(inum.into()),
    }), with(props::LACKS);
    fd Number "Descriptor of the socket at the call; null for the kernel."
        |s| tcp(s, |t| match t.record.fd {
            _ if t.record.via == via::KERNEL => Value::Null,
            ..0 => Value::Unknown(Why::NotCollected),
            fd => Value::Int(fd.into()),
        }), with(props::LACKS);
    via Text "Origin: connect accept accept4 io_uring fastopen (MSG_FASTOPEN) kernel snapshot (older than the trace) other listen bind."
        |s| tcp(s, |t| {
            Value::Word(match t.record.via {
                via::CONNECT => "connect",
                via::ACCEPT => "accept",
                via::ACCEPT4 => "accept4",
                via::IO_URING => "io_uring",
                via::FASTOPEN => "fastopen",
                via::KERNEL => "kernel",
                via::SNAPSHOT => "snapshot",
                via::LISTEN => "listen",
                via::BIND => "bind",
                _ => "other",
            })
        });
    abi Text "System call table: x86_64 i386 x32 (thread_info.status, bit 30 of the number), aarch64 arm (thread_info.flags)."
        |s| tcp(s, |t| match t.record.via {
            via::KERNEL => Value::Null,
            via::SNAPSHOT => Value::Unknown(Why::NotCollected),
            _ => Value::Word(abi::word(t.record.abi)),
        }), with(props::LACKS);
    ret Number "Result of the call or io_uring request: the descriptor, 0, or −errno; null without one. −115 (EINPROGRESS): it did not wait for the outcome."
        |s| tcp(s, |t| t.ret().map_or(Value::Null, |ret| Value::Int(ret.into())));
    outcome Text "Of connect: connected refused reset timed_out unreachable failed; without an answer abandoned (closed) killed (by a signal) in_progress (the trace ended)."
        |s| tcp(s, |t| t.word(op::CONNECT, t.outcome())), with(props::LACKS), of(&OUTCOMES);
    err Text "Error of a failed connect, listen or bind, even if the call did not wait for it: sock.sk_err, or ECONNABORTED if another thread had read it; else null."
        |s| tcp(s, |t| err_value(t.error()));
    dur_ns Duration "Nanoseconds. connect: from the first SYN to the outcome. accept: in the queue. close: the connection's life."
        |s| tcp(s, |t| t.duration(s.event.header.time)), with(props::LACKS);
    since_ns Number "Start of the connection, CLOCK_BOOTTIME in nanoseconds: the first SYN; at a server, the establishment. The same in all events of this end."
        |s| of_connection(s, |t| match t.record.since.0 {
            0 => Value::Unknown(Why::NotCollected),
            _ if t.has(flag::OLDER) => Value::Unknown(Why::NotCollected),
            since => Value::Uint(since),
        }), with(props::LACKS);
    bytes_in Number "Of close: bytes received, without the FIN of the peer: tcp_sock.bytes_received − SOCK_DONE."
        |s| of_close(s, |t| Value::Uint(t.record.bytes_in));
    bytes_out Number "Of close: bytes sent, each once: tcp_sock.bytes_sent − tcp_sock.bytes_retrans."
        |s| of_close(s, |t| Value::Uint(t.record.bytes_out));
    retransmits Number "Retransmitted segments: tcp_sock.total_retrans."
        |s| of_connection(s, |t| Value::Uint(t.record.retransmits.into()));
    rtt_us Number "Smoothed round-trip time in microseconds: tcp_sock.srtt_us / 8; null if not measured."
        |s| tcp(s, |t| if t.record.rtt_us == 0 { Value::Null } else { Value::Uint(t.record.rtt_us.into()) });
    end Text "Of close: closed (in order) reset (this side sent RST) reset_by_peer timed_out aborted (another error)."
        |s| tcp(s, |t| t.word(op::CLOSE, t.end())), with(props::LACKS), of(&ENDS);
    closer Object "Of close: the process that closed the connection; null if none did (a reset by the peer)."
        |s| of_closer(s, |_| Value::Object), made_of(CLOSER);
    mptcp Bool "Whether the connection is a subflow of MPTCP." |s| tcp(s, |t| Value::Bool(t.has(flag::MPTCP)));
    fastopen Bool "Whether the request used TCP Fast Open: tcp_sock.fastopen_req."
        |s| tcp(s, |t| Value::Bool(t.has(flag::FASTOPEN)));
    protocol Text "Protocol of the socket: tcp, or udp, of bind only."
        |s| tcp(s, |t| Value::Word(PROTOCOLS[usize::from(t.is_udp())])), with(props::LATER), of(&PROTOCOLS);
    backlog Number "Of listen: the backlog as passed; unknown if older than the trace."
        |s| tcp(s, |t| t.backlog()), with(props::LACKS | props::LATER);
    = STACK;
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::testing;
    use crate::synthetic::payload;
    use serde_json::{Value as Json, json};
    use std::net::Ipv6Addr;
    use tracetui_shared::id::Tgid;
    use tracetui_shared::kind::Kind;

    fn object(record: TcpRecord) -> Json {
        let line = testing::line(crate::sink::FormatName::Json, testing::header(Kind::Tcp), record.as_bytes());
        serde_json::from_slice(&line).expect("JSON")
    }

    /// A field and the reason why it is unknown.
    fn field(record: TcpRecord, name: &str) -> (Json, Json) {
        let object = object(record);
        (object[name].clone(), object.get(format!("{name}_why")).cloned().unwrap_or_default())
    }

    fn known(value: impl Into<Json>) -> (Json, Json) {
        (value.into(), Json::Null)
    }

    fn unknown(why: &str) -> (Json, Json) {
        (Json::Null, why.into())
    }

    fn request(outcome: u8, err: i32) -> TcpRecord {
        TcpRecord { outcome, err: err as u16, ..testing::tcp(op::CONNECT) }
    }

    #[test]
    fn a_request_and_a_connection_end_in_a_way() {
        for (err, word, name) in [
            (0, "connected", Json::Null),
            (ECONNREFUSED, "refused", json!("ECONNREFUSED")),
            (ECONNRESET, "reset", json!("ECONNRESET")),
            (ETIMEDOUT, "timed_out", json!("ETIMEDOUT")),
            (EHOSTUNREACH, "unreachable", json!("EHOSTUNREACH")),
            (ENETUNREACH, "unreachable", json!("ENETUNREACH")),
            (EHOSTDOWN, "unreachable", json!("EHOSTDOWN")),
            (ENETDOWN, "unreachable", json!("ENETDOWN")),
            (libc::EACCES, "failed", json!("EACCES")),
            (libc::EADDRNOTAVAIL, "failed", json!("EADDRNOTAVAIL")),
            (0xffff, "failed", Json::Null),
        ] {
            let record = request(outcome::DECIDED, err);
            assert_eq!((field(record, "outcome"), field(record, "err")), (known(word), known(name)), "{err}");
            assert_eq!(Tcp { record }.failed(), word != "connected", "{word}");
        }
        for (outcome, word, failed) in [
            (outcome::ABANDONED, "abandoned", true),
            (outcome::KILLED, "killed", true),
            (outcome::IN_PROGRESS, "in_progress", false),
        ] {
            let record = request(outcome, 0);
            assert_eq!((field(record, "outcome"), field(record, "err")), (known(word), known(Json::Null)));
            assert_eq!(Tcp { record }.failed(), failed, "{word}");
        }
        for outcome in [outcome::UNKNOWN, 99] {
            let record = request(outcome, ECONNREFUSED);
            assert_eq!(field(record, "outcome"), unknown("not_collected"), "{outcome}");
            assert!(!Tcp { record }.failed(), "nothing shows that it failed");
        }
        for of in [op::ACCEPT, op::CLOSE] {
            let record = TcpRecord { err: ECONNRESET as u16, ..testing::tcp(of) };
            assert_eq!((field(record, "outcome"), field(record, "err")), (known(Json::Null), known(Json::Null)));
            assert!(!Tcp { record }.failed());
        }
        // A connection.
        let ended = |err: i32, state| TcpRecord { err: err as u16, state, ..testing::tcp(op::CLOSE) };
        for (err, state, word) in [
            (0, state::LAST_ACK, "closed"),
            (0, state::FIN_WAIT1, "closed"),
            (0, state::ESTABLISHED, "reset"),
            (0, state::CLOSE_WAIT, "reset"),
            (ECONNRESET, state::ESTABLISHED, "reset_by_peer"),
            (EPIPE, state::CLOSE_WAIT, "reset_by_peer"),
            (ETIMEDOUT, state::ESTABLISHED, "timed_out"),
            (libc::ECONNABORTED, state::ESTABLISHED, "aborted"),
            (EHOSTUNREACH, 0, "aborted"),
        ] {
            assert_eq!(field(ended(err, state), "end"), known(word), "{err} {state}");
        }
        assert_eq!(field(ended(0, 0), "end"), unknown("not_collected"));
        assert_eq!(field(TcpRecord { flags: flag::REPAIRED, ..ended(0, 0) }, "end"), unknown("repaired"));
        assert_eq!(field(testing::tcp(op::ACCEPT), "end"), known(Json::Null));
        let closer = field(testing::tcp(op::CLOSE), "closer");
        assert_eq!(closer, known(json!({"pid": 48_214, "start_ns": 3_731_419_000_000_u64})));
        assert_eq!(field(TcpRecord { closer: Tgid(0), ..testing::tcp(op::CLOSE) }, "closer"), known(Json::Null));
    }

    #[test]
    fn a_line_and_durations_say_what_became_of_a_connection() {
        let close = TcpRecord { retransmits: 0, closer: testing::header(Kind::Tcp).tgid, ..testing::tcp(op::CLOSE) };
        for (record, end) in [
            (close, " s"),
            (TcpRecord { retransmits: 3, ..close }, " s, 3 resent"),
            (TcpRecord { closer: Tgid(7), ..close }, " s, closed by 7"),
            (TcpRecord { closer: Tgid(0), ..close }, " s"),
            (request(outcome::DECIDED, libc::EACCES), ":443  EACCES"),
            (request(outcome::DECIDED, ETIMEDOUT), " ms"),
            (request(outcome::DECIDED, ECONNREFUSED), ":443"),
        ] {
            let line = testing::line(crate::sink::FormatName::Text, testing::header(Kind::Tcp), record.as_bytes());
            let line = String::from_utf8(line).expect("text");
            assert!(line.trim_end().ends_with(end), "{end}: {line}");
        }
        // Durations are from the start to the end of each.
        let (connect, accept, close) = (testing::tcp(op::CONNECT), testing::tcp(op::ACCEPT), testing::tcp(op::CLOSE));
        assert_eq!(field(connect, "dur_ns"), known(2_000_000));
        assert_eq!(field(accept, "dur_ns"), known(31_000_000_000_u64));
        assert_eq!(field(close, "dur_ns"), known(31_000_000_000_u64));
        let undecided = TcpRecord { decided: BootNanos(0), ..connect };
        assert_eq!(field(undecided, "dur_ns"), unknown("not_collected"));
        assert_eq!(field(TcpRecord { outcome: outcome::IN_PROGRESS, ..undecided }, "dur_ns"), known(Json::Null));
        let older = TcpRecord { flags: flag::OLDER | flag::REPAIRED, via: via::SNAPSHOT, ..close };
        for name in ["dur_ns", "since_ns", "abi"] {
            assert_eq!(field(older, name), unknown("not_collected"), "{name}");
        }
        let repaired = TcpRecord { flags: flag::REPAIRED, ..close };
        assert_eq!(field(repaired, "dur_ns"), unknown("repaired"));
        assert_eq!(field(repaired, "since_ns"), known(3_700_500_000_001_u64));
        // The descriptor is the process's.
        let connect = testing::tcp(op::CONNECT);
        assert_eq!(field(connect, "fd"), known(5));
        assert_eq!(field(TcpRecord { fd: -1, ..connect }, "fd"), unknown("not_collected"));
        let of_kernel = TcpRecord { fd: -1, via: via::KERNEL, flags: 0, ..connect };
        for name in ["fd", "abi", "ret"] {
            assert_eq!(field(of_kernel, name), known(Json::Null), "{name}");
        }
        assert_eq!(field(testing::tcp(op::ACCEPT), "ret"), known(5));
    }

    #[test]
    fn addresses_are_those_of_the_family_or_as_they_were_passed() {
        let to = |peer: &str| {
            let peer = peer.parse().expect("a socket address");
            payload::tcp(op::CONNECT, "[::1]:9".parse().expect("a socket address"), peer)
        };
        let mapped = to("[::ffff:10.0.0.7]:443");
        for (record, raddr, family, v4_mapped) in [
            (to("[fe80::7]:443"), "fe80::7", "inet6", false),
            (to("10.0.0.7:443"), "10.0.0.7", "inet", false),
            (mapped, "10.0.0.7", "inet6", true),
        ] {
            assert_eq!(field(record, "raddr"), known(raddr));
            assert_eq!(field(record, "family"), known(family), "{raddr}");
            assert_eq!(field(record, "v4_mapped"), known(v4_mapped), "{raddr}");
        }
        for name in ["laddr", "raddr", "rport", "family", "v4_mapped"] {
            assert_eq!(field(TcpRecord { family: 1, ..mapped }, name), unknown("not_collected"), "{name}");
        }
        // A record of an unknown op is not decoded.
        let bytes = [TcpRecord { op: op::BIND + 1, ..testing::tcp(op::CLOSE) }.as_bytes(), b"more"].concat();
        assert!(Tcp::decode(&bytes).is_none());
        assert!(Tcp::decode(&bytes[..size_of::<TcpRecord>() - 1]).is_none());
        assert!(Tcp::decode(&[testing::tcp(op::CLOSE).as_bytes(), b"more"].concat()).is_some(), "of a later version");
        // An address that was passed has its own form.
        let v6 = TcpRecord {
            raddr: Ipv6Addr::LOCALHOST.octets(),
            rport: 443,
            ..request(outcome::DECIDED, libc::EAFNOSUPPORT)
        };
        for (form, raddr, rport, peer) in [
            (form::SOCKET, known("0.0.0.0"), known(443), "0.0.0.0:443"),
            (form::INET, known("0.0.0.0"), known(443), "0.0.0.0:443"),
            (form::INET6, known("::1"), known(443), "[::1]:443"),
            (form::OTHER_FAMILY, unknown("other_family"), unknown("other_family"), "?"),
            (form::TOO_SHORT, unknown("too_short"), unknown("too_short"), "?"),
            (form::UNREADABLE, unknown("fault"), unknown("fault"), "?"),
        ] {
            let record = TcpRecord { form, ..v6 };
            assert_eq!((field(record, "raddr"), field(record, "rport")), (raddr, rport), "{form}");
            assert_eq!(field(record, "family"), known("inet"), "that of the socket");
            let line = testing::line(crate::sink::FormatName::Text, testing::header(Kind::Tcp), record.as_bytes());
            let line = String::from_utf8(line).expect("text");
            assert!(line.trim_end().ends_with(&format!("-> {peer}  EAFNOSUPPORT")), "{line}");
        }
    }

    #[test]
    fn an_address_to_bind_is_shown_as_it_was_passed() {
        let line = |record: TcpRecord| {
            let line = testing::line(crate::sink::FormatName::Text, testing::header(Kind::Tcp), record.as_bytes());
            String::from_utf8(line).expect("text").split_once("cc ").expect("a name").1.trim().to_owned()
        };
        let listen = TcpRecord {
            op: op::LISTEN,
            via: via::LISTEN,
            flags: flag::HAS_RET | flag::SERVER,
            backlog: 128,
            lport: 5433,
            rport: 0,
            ..testing::tcp(op::CONNECT)
        };
        assert_eq!(line(listen), "ok      listen 10.0.0.5:5433  backlog 128");
        let older = TcpRecord { via: via::SNAPSHOT, flags: flag::OLDER | flag::SERVER, ..listen };
        assert_eq!(line(older), "ok      listen 10.0.0.5:5433  older than the trace");
        assert_eq!((field(older, "backlog"), field(older, "role")), (unknown("not_collected"), known("server")));
        for name in ["raddr", "rport", "v4_mapped", "since_ns", "dur_ns", "retransmits", "outcome", "end"] {
            assert_eq!(field(listen, name), known(Json::Null), "{name}");
        }
        let err = libc::EADDRINUSE;
        let form = form::INET;
        let bind = TcpRecord {
            op: op::BIND,
            via: via::BIND,
            flags: flag::HAS_RET,
            err: err as u16,
            ret: -err,
            form,
            ..listen
        };
        assert!(Tcp { record: bind }.failed() && !Tcp { record: listen }.failed());
        assert_eq!(line(bind), "EADDRINUSE bind 10.0.0.5:5433");
        assert_eq!(line(TcpRecord { protocol: 17, ..bind }), "EADDRINUSE bind 10.0.0.5:5433 udp");
        assert_eq!((field(bind, "role"), field(bind, "backlog")), (known(Json::Null), known(Json::Null)));
        assert_eq!(line(TcpRecord { form: form::TOO_SHORT, ..bind }), "EADDRINUSE bind ?");
        for (form, laddr, lport) in [
            (form::INET6, known("a00:5::"), known(5433)),
            (form::OTHER_FAMILY, unknown("other_family"), unknown("other_family")),
            (form::TOO_SHORT, unknown("too_short"), unknown("too_short")),
            (form::UNREADABLE, unknown("fault"), unknown("fault")),
        ] {
            let record = TcpRecord { form, ..bind };
            assert_eq!((field(record, "laddr"), field(record, "lport")), (laddr, lport), "{form}");
        }
    }
}
