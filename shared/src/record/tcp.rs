//! `tcp`: a TCP connection was made, accepted or closed, a socket listens, or an address could not be bound.

use crate::id::{NsInum, Tgid};
use crate::time::BootNanos;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use super::socket::{form, state};

/// Limit of open connections that are followed.
pub const MAX_CONNECTIONS: u32 = 1 << 16;

/// What happened ([`TcpRecord::op`]).
pub mod op {
    /// A connection was requested, and its outcome is known.
    pub const CONNECT: u8 = 0;
    /// A connection was accepted.
    pub const ACCEPT: u8 = 1;
    /// A connection ended.
    pub const CLOSE: u8 = 2;
    /// A socket listens, or could not.
    pub const LISTEN: u8 = 3;
    /// An address could not be bound to a socket of TCP or UDP.
    pub const BIND: u8 = 4;
}

/// How the process made the connection, or which call it was ([`TcpRecord::via`]).
pub mod via {
    /// connect(2).
    pub const CONNECT: u8 = 0;
    /// accept(2).
    pub const ACCEPT: u8 = 1;
    /// accept4(2).
    pub const ACCEPT4: u8 = 2;
    /// `IORING_OP_CONNECT`, `IORING_OP_ACCEPT`.
    pub const IO_URING: u8 = 3;
    /// sendto(2) or sendmsg(2) with `MSG_FASTOPEN`.
    pub const FASTOPEN: u8 = 4;
    /// The kernel itself: a file system, a kernel thread.
    pub const KERNEL: u8 = 5;
    /// The connection or listening socket is older than the trace. A list of open files shows it.
    pub const SNAPSHOT: u8 = 6;
    /// Any other way, or unknown.
    pub const OTHER: u8 = 7;
    /// bind(2).
    pub const BIND: u8 = 8;
    /// listen(2).
    pub const LISTEN: u8 = 9;
}

/// The outcome of a request for a connection, of listen(2) and of bind(2) ([`TcpRecord::outcome`]).
pub mod outcome {
    /// Unknown.
    pub const UNKNOWN: u8 = 0;
    /// `err` says it: 0 is a connection or a success.
    pub const DECIDED: u8 = 1;
    /// The process closed the socket before there was an answer.
    pub const ABANDONED: u8 = 2;
    /// A signal ended the process before there was an answer.
    pub const KILLED: u8 = 3;
    /// There was no answer when the trace ended.
    pub const IN_PROGRESS: u8 = 4;
}

/// Bits of [`TcpRecord::flags`].
pub mod flag {
    /// The process accepted the connection; otherwise it requested it.
    pub const SERVER: u16 = 1;
    /// `ret` is the result of a system call or of a request to io_uring.
    pub const HAS_RET: u16 = 2;
    /// A program was skipped, and later facts showed what it would have reported. Times may be those of the later facts.
    pub const REPAIRED: u16 = 4;
    /// The connection is a subflow of MPTCP.
    pub const MPTCP: u16 = 8;
    /// The request used TCP Fast Open (`tcp_sock.fastopen_req`).
    pub const FASTOPEN: u16 = 16;
    /// The connection is older than the trace: `since` is not known.
    pub const OLDER: u16 = 32;
}

/// The payload of `tcp`. The header is that of the thread that requested or accepted the connection, as it was then. A `close`
/// has it too, whoever closed.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TcpRecord {
    /// The start of the connection: when the first SYN was sent, or when a server's connection was established
    /// (`tcp_sock.rcvq_space.time`). All events of one connection have the same.
    pub since: BootNanos,
    /// When the connection was established or its request failed; 0 if not known.
    pub decided: BootNanos,
    /// Bytes received, without the peer's FIN: `tcp_sock.bytes_received` − (`SOCK_DONE` of `sock.sk_flags`).
    pub bytes_in: u64,
    /// Bytes sent, each once: `tcp_sock.bytes_sent` − `tcp_sock.bytes_retrans`.
    pub bytes_out: u64,
    /// The `start_boottime` of the process that closed the connection; 0 if none did.
    pub closer_start: BootNanos,
    /// The local address: 4 bytes of `skc_rcv_saddr`, or 16 of `skc_v6_rcv_saddr` (include/net/sock.h). Of a `bind`, the one that was
    /// passed ([`form`](Self::form)).
    pub laddr: [u8; 16],
    /// The remote address: `skc_daddr` or `skc_v6_daddr`. The one that was passed if the request failed before it was sent
    /// ([`form`](Self::form)).
    pub raddr: [u8; 16],
    /// The local port: `inet_sock.inet_sport`.
    pub lport: u16,
    /// The remote port: `skc_dport`.
    pub rport: u16,
    /// The errno of a failed request or of a broken connection: `sock.sk_err` at the change of state, `ECONNABORTED` if
    /// another thread had read it, or that of the call; 0 if none.
    pub err: u16,
    /// Bits of [`flag`].
    pub flags: u16,
    /// The result of the call or request: the descriptor, 0, or −errno. Only with [`flag::HAS_RET`].
    pub ret: i32,
    /// The descriptor; −1 if not known.
    pub fd: i32,
    /// The network namespace: `skc_net->ns.inum`.
    pub net_ns: NsInum,
    /// The process that closed the connection: the current task, if its call made the change to `FIN_WAIT1` or `LAST_ACK`, or
    /// that to `CLOSE` without an error; 0 if none did.
    pub closer: Tgid,
    /// Retransmitted segments: `tcp_sock.total_retrans`.
    pub retransmits: u32,
    /// The smoothed round-trip time in µs: `tcp_sock.srtt_us` / 8; 0 if not measured.
    pub rtt_us: u32,
    /// One of [`op`].
    pub op: u8,
    /// One of [`via`].
    pub via: u8,
    /// One of [`super::open::abi`].
    pub abi: u8,
    /// One of [`outcome`], of a request, a `listen` and a `bind`.
    pub outcome: u8,
    /// The [`state`] before `CLOSE`, of a `close`; 0 if not known.
    pub state: u8,
    /// The family of the socket: `AF_INET` (2) or `AF_INET6` (10).
    pub family: u8,
    /// One of [`form`]: of `raddr` and `rport`, or, of a `bind`, of `laddr` and `lport`.
    pub form: u8,
    /// `IPPROTO_UDP` (17), of a `bind`; otherwise TCP.
    pub protocol: u8,
    /// The backlog that was passed to listen(2); `sock.sk_max_ack_backlog` if the socket listened before the trace.
    pub backlog: i32,
    /// Not used; 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<TcpRecord>() == 120);
