//! Netlink requests and their answers, read with bounds checks. Messages come from the kernel, but lengths in them are not trusted.

use rustix::io::Errno;
use rustix::net::netlink::SOCK_DIAG;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketAddrAny, SocketFlags, SocketType, bind, recvfrom, recvmsg, send,
    sendmsg, shutdown, socket_with, sockopt,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tracetui_host::confine::{Role, Spawner};
pub(super) use tracetui_host::{u16_at, u32_at};

/// The size of a read in bytes. The kernel returns at most 32 KiB of a dump at once.
const BUFFER: usize = 64 << 10;

const MESSAGES: usize = 1 << 20;

const ANSWER: Duration = Duration::from_secs(2);

/// `struct nlmsghdr`: length, type, flags, sequence, port.
const HEADER: usize = 16;

pub(super) const NETLINK_ROUTE: Option<Protocol> = None;

const KERNEL: u32 = 0;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST: u16 = 1;
/// NLM_F_REQUEST | NLM_F_DUMP.
const REQUEST_DUMP: u16 = REQUEST | 0x300;
/// NLM_F_DUMP_INTR: the dump is inconsistent, because something changed meanwhile.
const DUMP_INTR: u16 = 0x10;

/// The groups of changes of interfaces and of tc: `1 << (RTNLGRP_LINK - 1) | 1 << (RTNLGRP_TC - 1)`.
const GROUPS: u32 = 1 | 1 << 3;

/// A thread that opens sockets without CAP_NET_ADMIN. No thread can change anything through them. The kernel checks
/// that both the opener of a socket and the sender have the capability, unless an address is passed
/// ([`__netlink_ns_capable`](https://elixir.bootlin.com/linux/v6.12/source/net/netlink/af_netlink.c)). Filters of
/// system calls forbid passing one.
#[derive(Clone, Debug)]
pub enum Sockets {
    Thread(Spawner),
    /// The thread belongs to the process at the other end, which passes the sockets. After its end, those of this process's network
    /// namespace remain ([`Sockets::keep_own`]).
    Process(Arc<Mutex<OwnedFd>>, Arc<OnceLock<[OwnedFd; 2]>>),
}

impl Sockets {
    /// Starts the thread. Call this before giving up rights.
    pub fn start() -> io::Result<Sockets> {
        Spawner::start("sockets", Role::Sockets).map(Sockets::Thread)
    }

    /// The sockets of the process at the other end of a pair, which [serves](Self::serve) them.
    pub fn of(other: OwnedFd) -> io::Result<Sockets> {
        // It may be stopped.
        sockopt::set_socket_timeout(&other, sockopt::Timeout::Recv, Some(ANSWER))?;
        Ok(Sockets::Process(Arc::new(Mutex::new(other)), Arc::default()))
    }

    /// Keeps sockets for lookups after the end of the other process.
    pub fn keep_own(&self) -> io::Result<()> {
        let Sockets::Process(_, own) = self else { return Ok(()) };
        let open = |protocol| self.netlink(None, protocol).map(|opened| opened.socket);
        let _ = own.set([open(NETLINK_ROUTE)?, open(Some(SOCK_DIAG))?]);
        Ok(())
    }

    /// Opens sockets for the process at the other end of a pair, until that process ends.
    pub fn serve(&self, other: OwnedFd) -> io::Result<()> {
        let Sockets::Thread(spawner) = self else { return Err(io::ErrorKind::Unsupported.into()) };
        let sockets = self.clone();
        spawner.spawn("sockets", move || while sockets.answer(&other).is_ok() {})
    }

    fn answer(&self, other: &OwnedFd) -> io::Result<()> {
        let mut asked = [0];
        let namespace = receive(other, &mut asked)?.map(File::from);
        let protocol = if asked[0] == 0 { NETLINK_ROUTE } else { Some(SOCK_DIAG) };
        let opened = self.netlink(namespace.as_ref(), protocol);
        let error = opened.as_ref().map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |_| 0);
        pass(other, &error.to_ne_bytes(), opened.ok().as_ref().map(|opened| opened.socket.as_fd()))
    }

    pub(super) fn changes(&self) -> io::Result<RouteChanges> {
        self.open(None, RouteChanges::open)
    }

    /// A socket in a network namespace. Without one, in the process's namespace.
    pub(super) fn netlink(&self, namespace: Option<&File>, protocol: Option<Protocol>) -> io::Result<Netlink> {
        let Sockets::Process(other, own) = self else {
            return self.open(namespace, move || Netlink::open(protocol));
        };
        let other = other.lock().unwrap_or_else(PoisonError::into_inner);
        let mut error = [0; 4];
        let asked = pass(&other, &[u8::from(protocol.is_some())], namespace.map(File::as_fd));
        match asked.and_then(|()| receive(&other, &mut error)) {
            Ok(Some(socket)) => Ok(Netlink::of(socket)),
            Ok(None) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(error))),
            Err(why) => {
                // The answer may still come. The next question must not take it for its own.
                let _ = shutdown(&*other, Shutdown::Both);
                let [route, diag] = own.get().filter(|_| namespace.is_none()).ok_or(why)?;
                let kept = if protocol.is_some() { diag } else { route };
                kept.try_clone().map(Netlink::of)
            }
        }
    }

    fn open<T: Send + 'static>(
        &self,
        namespace: Option<&File>,
        open: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let Sockets::Thread(spawner) = self else { return Err(io::ErrorKind::Unsupported.into()) };
        let namespace = namespace.map(File::try_clone).transpose()?;
        spawner.ask("sockets", move || {
            if let Some(file) = namespace {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            }
            open()
        })
    }
}

fn pass(to: &OwnedFd, message: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    // There is room for one.
    fd.as_ref().map(|fd| control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(fd))));
    Ok(sendmsg(to, &[IoSlice::new(message)], &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map(drop)?)
}

fn receive(from: &OwnedFd, message: &mut [u8]) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let len = message.len();
    let received = recvmsg(from, &mut [IoSliceMut::new(message)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let fd = control.drain().find_map(|with| match with {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    if received.bytes == len { Ok(fd) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Reports changes of interfaces or tc in the network namespace of the thread that opened it.
pub struct RouteChanges {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl RouteChanges {
    fn open() -> io::Result<RouteChanges> {
        let socket = RouteChanges::socket()?;
        // At most `rmem_max`.
        let _ = sockopt::set_socket_recv_buffer_size(&socket, BUFFER * 64);
        Ok(RouteChanges { socket, buffer: vec![0; BUFFER] })
    }

    /// A socket that receives the changes in the namespace of the calling thread.
    pub fn socket() -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, NETLINK_ROUTE)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(socket)
    }

    /// Passes on the pending datagrams of the kernel: with CAP_NET_ADMIN, processes can send notifications too. Returns whether some were
    /// lost.
    pub(super) fn read(&mut self, mut each: impl FnMut(&[u8])) -> bool {
        let mut lost = false;
        for _ in 0..MESSAGES {
            match recvfrom(&self.socket, &mut *self.buffer, RecvFlags::empty()) {
                Ok((_, len, sender)) => {
                    if is_kernel(sender) {
                        each(self.buffer.get(..len).unwrap_or_default());
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => lost = true,
                Err(_) => break,
            }
        }
        lost
    }
}

impl AsFd for RouteChanges {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

pub(super) struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Netlink {
    pub(super) fn open(protocol: Option<Protocol>) -> io::Result<Netlink> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        // An answer that never comes must not stop everything.
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(ANSWER))?;
        Ok(Netlink::of(socket))
    }

    fn of(socket: OwnedFd) -> Netlink {
        Netlink { socket, buffer: vec![0; BUFFER], sequence: 0 }
    }

    /// Requests all objects of a kind, and passes the bodies of the answers to `each`: a fixed part, then attributes.
    /// If something changed meanwhile, the dump is repeated once, so `each` may get the same object twice.
    pub(super) fn dump(&mut self, request: u16, body: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
        if !self.dump_once(request, body, &mut each)? {
            self.dump_once(request, body, &mut each)?;
        }
        Ok(())
    }

    pub(super) fn get(&mut self, request: u16, body: &[u8]) -> io::Result<Vec<u8>> {
        self.send(request, REQUEST, body)?;
        let sequence = self.sequence;
        for _ in 0..MESSAGES {
            let mut messages = messages(self.datagram()?);
            match messages.find(|message| message.sequence == sequence) {
                Some(Message { kind: NLMSG_ERROR, body, .. }) => return Err(error(body)),
                Some(message) => return Ok(message.body.to_vec()),
                None => {}
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn send(&mut self, request: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.sequence += 1;
        let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        message.extend_from_slice(&request.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(body);
        Ok(send(&self.socket, &message, SendFlags::empty()).map(drop)?)
    }

    /// The next datagram of the kernel. Processes can send to the socket too.
    fn datagram(&mut self) -> io::Result<&[u8]> {
        for _ in 0..MESSAGES {
            let (_, len, sender) = recvfrom(&self.socket, &mut *self.buffer, RecvFlags::empty())?;
            if len == 0 {
                break;
            } else if is_kernel(sender) {
                return Ok(self.buffer.get(..len.min(BUFFER)).unwrap_or_default());
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn dump_once(&mut self, request: u16, body: &[u8], each: &mut impl FnMut(&[u8])) -> io::Result<bool> {
        self.send(request, REQUEST_DUMP, body)?;
        let sequence = self.sequence;
        let mut consistent = true;
        let mut left = MESSAGES;
        loop {
            for message in messages(self.datagram()?) {
                // This is the rest of an earlier dump that was abandoned.
                if message.sequence != sequence {
                    continue;
                }
                consistent &= message.flags & DUMP_INTR == 0;
                match message.kind {
                    NLMSG_DONE => return Ok(consistent),
                    NLMSG_ERROR => match error(message.body) {
                        none if none.raw_os_error() == Some(0) => return Ok(consistent),
                        error => return Err(error),
                    },
                    _ => each(message.body),
                }
                left -= 1;
                if left == 0 {
                    return Err(io::Error::other("too many answers"));
                }
            }
        }
    }
}

fn is_kernel(sender: Option<SocketAddrAny>) -> bool {
    sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok()).is_some_and(|sender| sender.pid() == KERNEL)
}

/// The error in a message of the type [`NLMSG_ERROR`]: −errno.
fn error(body: &[u8]) -> io::Error {
    io::Error::from_raw_os_error((u32_at(body, 0) as i32).saturating_neg())
}

pub(super) struct Message<'a> {
    pub(super) kind: u16,
    flags: u16,
    sequence: u32,
    pub(super) body: &'a [u8],
}

/// The messages in a datagram. The sequence ends at an invalid length.
pub(super) fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    pieces(bytes, HEADER, |bytes| u32_at(bytes, 0) as usize).map(|message| Message {
        kind: u16_at(message, 4),
        flags: u16_at(message, 6),
        sequence: u32_at(message, 8),
        body: message.get(HEADER..).unwrap_or_default(),
    })
}

/// The attributes: type and value. A nested attribute has attributes in its value.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    // NLA_F_NESTED and NLA_F_NET_BYTEORDER.
    const FLAGS: u16 = 0xc000;
    pieces(bytes, 4, |bytes| u16_at(bytes, 0).into())
        .map(|attribute| (u16_at(attribute, 2) & !FLAGS, attribute.get(4..).unwrap_or_default()))
}

pub(super) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// Pieces that begin with their own length (at least `least`, which includes it), each aligned to 4 bytes.
fn pieces(mut rest: &[u8], least: usize, len: impl Fn(&[u8]) -> usize) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let len = Some(rest).filter(|rest| rest.len() >= least).map(&len).filter(|len| *len >= least)?;
        let piece = rest.get(..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(kind: u16, value: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }

    #[test]
    fn attributes_are_aligned_and_nested() {
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        put(4, &7u32.to_ne_bytes(), &mut inner);
        put(3, b"eth0\0", &mut outer);
        put(43 | 0x8000, &inner, &mut outer);
        let found: Vec<_> = attributes(&outer).collect();
        assert_eq!(found, [(3, &b"eth0\0"[..]), (43, &inner)]);
        assert_eq!(attribute(attribute(&outer, 43).unwrap_or_default(), 4).map(|value| u32_at(value, 0)), Some(7));
        assert_eq!(attributes(&[3, 0, 0, 0]).count(), 0, "shorter than its own header");
        assert_eq!(attributes(&[200, 0, 0, 0]).count(), 0, "longer than the bytes");
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(attributes(&bytes).count() <= bytes.len() / 4);
            prop_assert!(messages(&bytes).count() <= bytes.len() / HEADER);
        }
    }
}
