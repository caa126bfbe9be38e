//! Sockets: from a descriptor to `struct sock` (include/net/sock.h), and its fields; what calls on sockets pass.

use crate::arch::read_passed;
use crate::call::Call;
use crate::files::file_at;
use crate::read::{any, any_word, forgotten, get, has, put_unaligned};
use core::mem::MaybeUninit;
pub use tracetui_shared::calls::tcp as what;
use tracetui_shared::id::NsInum;
use tracetui_shared::kind::Kind;
use tracetui_shared::offsets::{field, sum};
use tracetui_shared::record::tcp::{TcpRecord, state};

pub const AF_UNIX: u16 = 1;
pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
pub const SOCK_DGRAM: u16 = 2;
pub const IPPROTO_TCP: u16 = 6;
pub const IPPROTO_UDP: u16 = 17;
const IPPROTO_MPTCP: u16 = 262;
/// `S_IFMT` and `S_IFSOCK` (include/uapi/linux/stat.h).
pub const FORMAT: u16 = 0xf000;
pub const SOCKET: u16 = 0xc000;
/// The bit `SOCK_DONE` of `sock.sk_flags` (include/net/sock.h): the peer's FIN was received.
const SOCK_DONE: u64 = 2;

/// A TCP socket behind a descriptor, or one of UDP.
#[derive(Clone, Copy)]
pub struct Sock {
    /// Address of the `struct sock`: for MPTCP, that of the first subflow.
    pub sk: u64,
    /// The descriptor's protocol is MPTCP.
    pub mptcp: bool,
    pub udp: bool,
}

/// The TCP socket behind a descriptor of the current task. With `any`, one of UDP too.
#[inline(always)]
pub fn of_fd(task: u64, fd: u64, any: bool) -> Option<Sock> {
    tcp_or_udp(file_at(task, fd)).filter(|socket| any || !socket.udp)
}

/// The `struct sock` of an open file; 0 if the file is no socket.
#[inline(always)]
pub fn behind(file: u64) -> u64 {
    let inode: u64 = any(any::<u64>(file, sum::FileDentry), field::DentryInode);
    if any::<u16>(inode, field::InodeMode) & FORMAT != SOCKET {
        return 0;
    }
    any(any::<u64>(file, field::FilePrivate), field::SocketSk)
}

/// The TCP socket of an open file.
#[inline(always)]
pub fn of_file(file: u64) -> Option<Sock> {
    tcp_or_udp(file).filter(|socket| !socket.udp)
}

#[inline(always)]
fn tcp_or_udp(file: u64) -> Option<Sock> {
    let sk = behind(file);
    if sk == 0 || !is_inet(sk) {
        return None;
    }
    // A raw socket of the same protocol makes no connection.
    match (any::<u16>(sk, field::SkProtocol), any::<u16>(sk, field::SkType)) {
        (IPPROTO_TCP, SOCK_STREAM) => Some(Sock { sk, mptcp: false, udp: false }),
        (IPPROTO_UDP, SOCK_DGRAM) => Some(Sock { sk, mptcp: false, udp: true }),
        (IPPROTO_MPTCP, SOCK_STREAM) if has(field::MptcpFirst) => {
            let first = any(sk, field::MptcpFirst);
            if first == 0 { None } else { Some(Sock { sk: first, mptcp: true, udp: false }) }
        }
        _ => None,
    }
}

#[inline(always)]
fn is_inet(sk: u64) -> bool {
    matches!(any::<u16>(sk, field::SkFamily), AF_INET | AF_INET6)
}

/// Whether a socket that changes its state is one of TCP.
#[inline(always)]
pub fn is_tcp(sk: u64) -> bool {
    any::<u16>(sk, field::SkProtocol) == IPPROTO_TCP
}

/// The state of a connection (include/net/tcp_states.h).
#[inline(always)]
pub fn state_of(sk: u64) -> u8 {
    any(sk, field::SkState)
}

/// Whether a socket has or had a peer.
#[inline(always)]
pub fn has_peer(sk: u64) -> bool {
    any::<u16>(sk, field::SkDport) != 0 && state_of(sk) != state::LISTEN
}

/// The peer's address and port of an IP socket; zeros for other sockets and without a peer.
#[inline(always)]
pub fn peer(sk: u64) -> ([u64; 2], u16) {
    if !is_inet(sk) || !has_peer(sk) {
        return ([0; 2], 0);
    }
    let address = if any::<u16>(sk, field::SkFamily) == AF_INET6 && has(field::SkDaddr6) {
        [any_word::<0>(sk, field::SkDaddr6), any_word::<1>(sk, field::SkDaddr6)]
    } else {
        [u64::from(any::<u32>(sk, field::SkDaddr)), 0]
    };
    (address, any::<u16>(sk, field::SkDport).swap_bytes())
}

/// Whether a socket has these ports.
#[inline(always)]
pub fn has_ports(sk: u64, record: &TcpRecord) -> bool {
    any::<u16>(sk, field::InetSport).swap_bytes() == get(&record.lport)
        && any::<u16>(sk, field::SkDport).swap_bytes() == get(&record.rport)
}

/// The file of the descriptors of a socket; 0 for a socket of the kernel and for one that nobody accepted.
#[inline(always)]
pub fn file_of(sk: u64) -> u64 {
    let socket: u64 = any(sk, field::SkSocket);
    if socket == 0 { 0 } else { any(socket, field::SocketFile) }
}

/// The errno with which a connection broke: `sock.sk_err`.
#[inline(always)]
pub fn error_of(sk: u64) -> u16 {
    any::<u32>(sk, field::SkErr) as u16
}

/// Whether a call of the current task changes the socket, and not a packet or a timer, which may meet any task.
///
/// [`lock_sock`](https://elixir.bootlin.com/linux/v6.12/source/net/core/sock.c) sets `sk_lock.owned`. Packets that arrive
/// then wait in `sk_backlog`: `__release_sock` (same file) empties the list, processes them, and clears the length.
#[inline(always)]
pub fn is_changed_by_call(sk: u64) -> bool {
    let processes = any::<u32>(sk, field::SkBacklogLen) != 0 && any::<u64>(sk, field::SkBacklogHead) == 0;
    any::<u32>(sk, field::SkOwned) != 0 && !processes
}

/// `ECONNABORTED` (include/uapi/asm-generic/errno.h).
const ECONNABORTED: u16 = 103;

/// The errno with which a change from the state `old` to `CLOSE` breaks a connection. If a thread has read it since it was set:
/// ECONNABORTED, as connect(2) then returns
/// ([`__inet_stream_connect`](https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/af_inet.c)).
#[inline(always)]
pub fn error_at(sk: u64, old: u8) -> u16 {
    let err = error_of(sk);
    let breaks = matches!(old, state::ESTABLISHED | state::CLOSE_WAIT | state::SYN_SENT | state::SYN_RECV);
    if err == 0 && breaks && !is_changed_by_call(sk) { ECONNABORTED } else { err }
}

/// Writes the addresses, the ports, the family and the network namespace.
#[inline(always)]
pub fn addresses(record: &mut TcpRecord, sk: u64) {
    let family: u16 = any(sk, field::SkFamily);
    record.family = family as u8;
    let (mut local, mut remote) = ([0u64; 2], [0u64; 2]);
    if family == AF_INET6 && has(field::SkSaddr6) {
        local = [any_word::<0>(sk, field::SkSaddr6), any_word::<1>(sk, field::SkSaddr6)];
        remote = [any_word::<0>(sk, field::SkDaddr6), any_word::<1>(sk, field::SkDaddr6)];
    } else {
        local[0] = u64::from(any::<u32>(sk, field::SkSaddr));
        remote[0] = u64::from(any::<u32>(sk, field::SkDaddr));
    }
    put_unaligned((&raw mut record.laddr).cast(), local);
    put_unaligned((&raw mut record.raddr).cast(), remote);
    record.lport = any::<u16>(sk, field::InetSport).swap_bytes();
    record.rport = any::<u16>(sk, field::SkDport).swap_bytes();
    record.net_ns = NsInum(any(any::<u64>(sk, field::SkNet), field::NetInum));
}

/// Writes retransmits and the round-trip time. A failing connect(2) clears them
/// ([`tcp_disconnect`](https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/tcp.c)).
#[inline(always)]
pub fn quality(record: &mut TcpRecord, sk: u64) {
    record.retransmits = any(sk, field::TcpTotalRetrans);
    record.rtt_us = any::<u32>(sk, field::TcpSrtt) >> 3;
}

/// Writes the bytes of both directions. The kernel counts the peer's FIN as a byte received.
#[inline(always)]
pub fn bytes(record: &mut TcpRecord, sk: u64) {
    let fin = any::<u64>(sk, field::SkFlags) / SOCK_DONE & 1;
    record.bytes_in = any::<u64>(sk, field::TcpBytesReceived).saturating_sub(fin);
    record.bytes_out = any::<u64>(sk, field::TcpBytesSent).saturating_sub(any::<u64>(sk, field::TcpBytesRetrans));
}

/// Whether a request carries data in its SYN, or waits for data to send with it: `tcp_sock.fastopen_req`
/// ([`tcp_sendmsg_fastopen`](https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/tcp.c),
/// [`tcp_fastopen_defer_connect`](https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/tcp_fastopen.c)). The second
/// value says whether the data is there, so that a send makes the request and not connect(2).
#[inline(always)]
pub fn fast_open(sk: u64) -> (bool, bool) {
    let request: u64 = any(sk, field::TcpFastopenReq);
    (request != 0, request != 0 && any::<u64>(request, field::FastopenData) != 0)
}

/// Whether the socket is a subflow of MPTCP, whose socket has no file of its own.
#[inline(always)]
pub fn is_subflow(sk: u64) -> bool {
    has(field::TcpIsMptcp) && any::<u8>(sk, field::TcpIsMptcp) != 0
}

/// Whether it is a call on a socket.
#[inline(always)]
pub fn is_call(call: &Call) -> bool {
    call.is_of(Kind::Tcp)
}

/// What a call passed.
pub struct Passed {
    /// One of [`what`].
    pub which: u8,
    pub fd: u64,
    /// Where the address is, in user memory, and its length.
    pub address: u64,
    pub len: u64,
}

/// What a call passed, also through socketcall(2).
#[inline(always)]
pub fn passed(call: &Call) -> Option<Passed> {
    let [fd, address, len, _] = call.args;
    // The verifier need not follow each call.
    let which = forgotten(call.op().into(), fd) as u8;
    if which != what::SOCKETCALL {
        return Some(Passed { which, fd, address, len });
    }
    let mut args = MaybeUninit::<[u32; 3]>::uninit();
    if read_passed::<12>(args.as_mut_ptr().cast(), 12, address) != 0 {
        // The kernel could not read them either, and looked for no socket.
        return None;
    }
    // `SYS_BIND` and its like (include/uapi/linux/net.h).
    let which = match fd {
        2 => what::BIND,
        3 => what::CONNECT,
        4 => what::LISTEN,
        5 => what::ACCEPT,
        18 => what::ACCEPT4,
        _ => return None,
    };
    // SAFETY: all bytes were read.
    let [fd, address, len] = unsafe { args.assume_init() }.map(u64::from);
    Some(Passed { which, fd, address, len })
}
