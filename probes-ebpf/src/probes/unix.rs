//! `unix`: a Unix socket was connected to, or the connect failed. The records are made in [`file`](super::file).

use crate::arch::read_passed;
use crate::call::Call;
use crate::capture::is_requested;
use crate::emit::Event;
use crate::files::file_at;
use crate::io_uring::CQE_SKIP;
use crate::read::{any, forgotten, get, offset, rd, rd_field, set};
use crate::sock::{self, AF_UNIX, SOCK_DGRAM, behind, what};
use crate::task::Who;
use tracetui_shared::kind::{Kind, Slot};
use tracetui_shared::offsets::{field, sum};
use tracetui_shared::record::file::unix::form;

/// The offset of `sun_path` in bytes (include/uapi/linux/un.h).
const PATH: u64 = 2;
/// `IORING_OP_CONNECT` (include/uapi/linux/io_uring.h).
const URING_CONNECT: u8 = 16;

/// A connect(2) of a Unix socket.
#[repr(C)]
pub struct Connect {
    /// Address of the `struct sock`.
    sk: u64,
    pub fd: i32,
    /// Address of the path, in user memory.
    pub path: u64,
    /// The length of the path that was passed.
    pub len: u64,
    /// One of [`form`].
    pub form: u8,
    /// The first byte of the path.
    pub first: u8,
}

/// The process that listens.
pub struct Peer {
    pub tgid: u32,
    /// `cred->euid`.
    pub uid: u32,
    /// `task_struct.comm`; zeros if the process ended.
    pub comm: [u64; 2],
}

/// Counts a request of io_uring that connects a Unix socket and posts no completion on success, when it is submitted.
#[inline(always)]
pub fn submitted(req: u64, opcode: u8, task: u64) {
    if !is_requested(Kind::Unix) || opcode != URING_CONNECT || rd_field::<u32>(req, field::KiocbFlags) & CQE_SKIP == 0 {
        return;
    }
    // The file is taken from the table when the request is executed.
    let file: u64 = rd_field(req, field::KiocbFile);
    let file = if file == 0 { file_at(task, rd_field::<u32>(req, field::KiocbFd).into()) } else { file };
    if is_unix(behind(file)) {
        Event::miss(Slot::UnixSubmit, &Who::of(task), false);
    }
}

/// Counts a request of io_uring that connects a Unix socket as missed.
#[inline(always)]
pub fn missed(req: u64, opcode: u8, who: impl FnOnce() -> Who, ret: i32) -> bool {
    if !is_requested(Kind::Unix) || opcode != URING_CONNECT || !is_unix(behind(rd_field(req, field::KiocbFile))) {
        return false;
    }
    Event::miss(Slot::UnixUring, &who(), ret < 0);
    true
}

#[inline(always)]
fn is_unix(sk: u64) -> bool {
    sk != 0 && any::<u16>(sk, field::SkFamily) == AF_UNIX
}

impl Connect {
    /// Notes a call if it is a connect(2) of a Unix socket, and returns whether it is.
    #[inline(always)]
    pub fn note(&mut self, call: &Call) -> bool {
        if call.ret > 0 || call.trapped {
            return false;
        }
        let Some(passed) = sock::passed(call) else { return false };
        let sk = behind(file_at(call.task, passed.fd as u32 as u64));
        // The verifier need not follow each result.
        let ret = forgotten(call.ret as u64, call.args[0]);
        // A datagram socket without a peer after a success: its connection was dissolved.
        let dissolved =
            || ret == 0 && any::<u16>(sk, field::SkType) == SOCK_DGRAM && any::<u64>(sk, field::UnixPeer) == 0;
        let found = passed.which == what::CONNECT && is_unix(sk) && !dissolved();
        // Nor each way to this.
        if forgotten(found.into(), call.ret as u64) == 0 {
            return false;
        }
        set(&mut self.sk, sk);
        set(&mut self.fd, passed.fd as i32);
        set(&mut self.path, passed.address.wrapping_add(PATH));
        set(&mut self.len, passed.len as i32 as u64);
        true
    }

    /// Reads the form of the address. Returns where the path is that the call looked up: 0 without.
    #[inline(always)]
    pub fn looked_up(&mut self) -> u64 {
        let (len, mut head) = (get(&self.len) as i64, 0u64);
        let address = get(&self.path).wrapping_sub(PATH);
        let form = if len <= PATH as i64 {
            form::TOO_SHORT
        } else if read_passed::<{ PATH + 1 }>((&raw mut head).cast(), PATH + 1, address) != 0 {
            form::UNREADABLE
        } else if head as u16 != AF_UNIX {
            form::OTHER_FAMILY
        } else if (head >> 16) as u8 == 0 {
            form::ABSTRACT
        } else {
            form::PATH
        };
        // The verifier need not follow each form.
        let form = forgotten(form.into(), address) as u8;
        set(&mut self.form, form);
        set(&mut self.len, if matches!(form, form::PATH | form::ABSTRACT) { len as u64 - PATH } else { 0 });
        set(&mut self.first, (head >> 16) as u8);
        if form == form::PATH { get(&self.path) } else { 0 }
    }

    /// The type of the socket (include/linux/net.h).
    #[inline(always)]
    pub fn socket_type(&self) -> u16 {
        any(get(&self.sk), field::SkType)
    }

    /// The process that called listen(2)
    /// ([`copy_peercred`](https://elixir.bootlin.com/linux/v6.12/source/net/unix/af_unix.c)). Datagram sockets have none.
    #[inline(always)]
    pub fn peer(&self) -> Option<Peer> {
        if self.socket_type() == SOCK_DGRAM {
            return None;
        }
        let pid: u64 = rd_field(get(&self.sk), field::SkPeerPid);
        let cred: u64 = rd_field(get(&self.sk), field::SkPeerCred);
        if pid == 0 || cred == 0 {
            return None;
        }
        let tgid = rd(pid.wrapping_add(offset(sum::PidNr)));
        // `pid.tasks[PIDTYPE_TGID]` is the first of the `task_struct.pid_links[PIDTYPE_TGID]` (include/linux/pid.h).
        let link: u64 = rd(pid.wrapping_add(offset(field::PidTasks) + 8));
        let task = link.wrapping_sub(offset(field::TaskPidLinks) + 16);
        // Without a link that is no address, of which zeros are read.
        let comm = rd(task.wrapping_add(offset(field::TaskComm)));
        Some(Peer { tgid, uid: rd_field(cred, field::CredEuid), comm })
    }
}
