//! The self-test: a child process generates one event of each kind. The events that arrive show which probes work; a
//! successful attach does not show that.
//!
//! The process is forked before the probes are attached, and held until then. It only makes system calls, since it may
//! be the copy of a process with threads.

use rustix::process::{Pid, WaitOptions, waitpid};
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};
use tracetui_events::frame::Batch;
use tracetui_host::own_id;
use tracetui_live::Live;
use tracetui_shared::kind::{Shows, Slot};
use tracetui_shared::time::BootNanos;

/// How long the events may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct SelfTest {
    pid: libc::pid_t,
    /// The process id in the initial namespace, as the probes see it.
    pub tgid: u32,
    /// The descriptor that holds the process. Only tracetui has it, and closing it releases the process.
    gate: Option<PipeWriter>,
}

impl SelfTest {
    /// Forks the process.
    pub fn new() -> io::Result<SelfTest> {
        let (wait, gate) = io::pipe()?;
        let (mut said, mut say) = io::pipe()?;
        let own_id = own_id::load().ok();
        // SAFETY: the child calls the kernel only, and never returns.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let id = own_id.and_then(|program| own_id::ask(program.as_raw_fd())).unwrap_or(0).to_ne_bytes();
                let _ = say.write(&id);
                act(&wait, &gate)
            }
            pid => {
                drop(say);
                let mut id = [0; 4];
                let id = said.read_exact(&mut id).map_or(0, |()| u32::from_ne_bytes(id));
                let tgid = if id == 0 { pid.unsigned_abs() } else { id };
                Ok(SelfTest { pid, tgid, gate: Some(gate) })
            }
        }
    }

    /// Releases the process. Returns the programs that make its events, and whether each reported all of them. The capture filter must
    /// pass its tree.
    pub fn seen(mut self, live: &mut Live) -> Vec<(&'static str, bool)> {
        self.release();
        let mut seen: Vec<Slot> = Vec::new();
        let began = Instant::now();
        let mut batch = Batch::default();
        while !seen.contains(&Slot::Exit) && began.elapsed() <= PATIENCE {
            // Look for events even if the wait failed.
            let _ = live.wait(Duration::from_millis(50), false, None);
            batch.clear();
            live.drain(&mut batch, 1 << 20, BootNanos(u64::MAX));
            let of_child = batch.frames().filter(|frame| frame.header.tgid.0 == self.tgid);
            seen.extend(of_child.filter_map(|frame| Slot::try_from(frame.header.slot).ok()));
        }
        let mut programs: Vec<(&str, bool)> = Vec::new();
        for slot in Slot::ALL.into_iter().filter(|slot| is_tested(*slot)) {
            let came = seen.contains(&slot);
            match programs.iter_mut().find(|(program, _)| *program == slot.program()) {
                Some((_, all)) => *all &= came,
                None => programs.push((slot.program(), came)),
            }
        }
        programs
    }

    fn release(&mut self) {
        self.gate = None;
        let _ = waitpid(Pid::from_raw(self.pid), WaitOptions::empty());
    }
}

impl Drop for SelfTest {
    fn drop(&mut self) {
        if self.gate.is_some() {
            self.release();
        }
    }
}

/// Whether the process makes an event of this slot.
fn is_tested(slot: Slot) -> bool {
    matches!(slot.shows(), Shows::Most | Shows::Failures) || slot == Slot::FileWritten
}

/// The code of the process. Results are ignored: failed calls are events too.
fn act(wait: &PipeReader, gate: &PipeWriter) -> ! {
    let root = c"/".as_ptr();
    let argv = [c"tracetui".as_ptr(), c"--version".as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null::<libc::c_char>()];
    let no_attributes = [0u64; 16];
    let mut byte = 0u8;
    // SAFETY: strings that end with NUL, lists that end with null, a place for a byte, and zeros as the attributes of a
    // BPF_PROG_LOAD, which the kernel refuses. `gate` is not used any more: here it must not stay open.
    unsafe {
        libc::close(gate.as_raw_fd());
        libc::read(wait.as_raw_fd(), (&raw mut byte).cast(), 1);
        // A call that does not return ends the process, not the test. The attach before may take longer.
        libc::alarm(2 * PATIENCE.as_secs() as u32);
        let nothing = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        libc::unlink(c"".as_ptr());
        libc::access(c"".as_ptr(), libc::F_OK);
        let file = libc::open(c"/tmp".as_ptr(), libc::O_TMPFILE | libc::O_WRONLY, 0o600);
        libc::write(file, (&raw const byte).cast(), 1);
        libc::close(file);
        let family = libc::AF_UNIX as libc::sa_family_t;
        libc::connect(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0), (&raw const family).cast(), 2);
        for fd in 0..3 {
            libc::dup2(nothing, fd);
        }
        libc::execve(root, argv.as_ptr(), environment.as_ptr());
        libc::syscall(libc::SYS_bpf, 5, no_attributes.as_ptr(), size_of_val(&no_attributes));
        leave_network();
        connect();
        match libc::fork() {
            0 => libc::kill(libc::getpid(), libc::SIGKILL),
            child => libc::waitpid(child, std::ptr::null_mut(), 0),
        };
        libc::execve(c"/proc/self/exe".as_ptr(), argv.as_ptr(), environment.as_ptr());
        libc::_exit(1)
    }
}

/// Moves to a network namespace of its own if that is permitted. In it, no firewall or downed interface can refuse a connection.
fn leave_network() {
    // SAFETY: zeros are a valid `ifreq`, which outlives the calls, and its name ends with NUL.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
            *to = from.cast_signed() as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        if libc::unshare(libc::CLONE_NEWNET) == 0 {
            let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
            libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw const request);
            libc::close(socket);
        }
    }
}

/// Makes, accepts and closes a connection.
///
/// # Safety
/// Only system calls are made, with a valid address.
unsafe fn connect() {
    let mut address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_be_bytes([127, 0, 0, 1]).to_be() },
        sin_zero: [0; 8],
    };
    let mut length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: `length` is the size of `address`.
    unsafe {
        let at = (&raw mut address).cast();
        let socket = |flags| libc::socket(libc::AF_INET, libc::SOCK_STREAM | flags, 0);
        // Without a connection there is nothing to wait for.
        let (server, client) = (socket(libc::SOCK_NONBLOCK), socket(0));
        libc::bind(server, at, length);
        libc::listen(server, 1);
        libc::getsockname(server, at, &raw mut length);
        libc::connect(client, at, length);
        let accepted = libc::accept4(server, std::ptr::null_mut(), std::ptr::null_mut(), libc::SOCK_NONBLOCK);
        for socket in [client, accepted, server] {
            libc::close(socket);
        }
    }
}
