//! The user's terminal while a COMMAND with a terminal of its own runs under `print` or `record`: keys and the window size go
//! to that terminal, and its output comes from there.
//!
//! While the COMMAND is in the foreground, the user's terminal is raw: Ctrl-C and Ctrl-Z are bytes that the COMMAND's terminal
//! turns into signals. In a pipeline or a background job it stays as it is until the COMMAND reads from its terminal. When the
//! COMMAND stops, tracetui gives the terminal back and stops too.

use super::outlet::Outlet;
use super::signals;
use crate::limits;
use crate::source::command::pty::device;
use crate::source::command::{Ended, Happened, Running, in_foreground, in_pipeline};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::ptr::null_mut;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The modes to restore; null unless the terminal is raw. They are never freed: a signal handler may be reading them.
static COOKED: AtomicPtr<Termios> = AtomicPtr::new(null_mut());

/// Ctrl-C.
const INTERRUPT: u8 = 3;

/// Bytes of keys that are read at once.
const KEYS: usize = 4096;

/// The user's terminal. Restored when dropped.
#[derive(Debug)]
pub(super) struct Relay {
    keys: AsyncFd<OwnedFd>,
    outlet: Outlet,
    /// Whether the COMMAND gets the foreground of its terminal whenever tracetui has that of the user's.
    interactive: bool,
    /// Whether the terminal is raw and its keys are read.
    front: bool,
    /// Whether the COMMAND's terminal has the modes of the user's. While tracetui was in the background, the shell had its own.
    modes_known: bool,
    /// The signal that stopped the COMMAND, until its output is written.
    stopped: Option<libc::c_int>,
    /// How the COMMAND ended, until its output is written.
    ended: Option<Ended>,
}

impl Relay {
    /// Takes the terminal if a COMMAND needs it.
    ///
    /// # Errors
    /// If the terminal cannot be written or watched.
    pub(super) fn start(command: &mut Running) -> io::Result<Option<Relay>> {
        if !command.is_relayed() {
            return Ok(None);
        }
        restore_on_panic();
        command.follow_size();
        let outlet = Outlet::new(File::from(writable()?))?;
        // SAFETY: the descriptor is owned, and stays open and unchanged until it is dropped.
        let keys = unsafe { AsyncFd::register_with_interest(stdin().try_clone_to_owned()?, Interest::READABLE) }?;
        let interactive = command.starts_in_front();
        let mut relay =
            Relay { keys, outlet, interactive, front: false, modes_known: in_foreground(), stopped: None, ended: None };
        relay.front = relay.comes_to_front(command);
        if relay.front != interactive {
            command.resume(relay.front);
        }
        Ok(Some(relay))
    }

    /// Waits for the next event of the COMMAND, and passes on keys and output. Its end comes after its last output is written.
    /// `ends`: Ctrl-C ends tracetui. Cancel safe.
    pub(super) async fn next(&mut self, command: &mut Running, ends: bool) -> Happened {
        loop {
            if let Some(ended) = self.ended.take_if(|_| !self.outlet.pending()) {
                restore();
                self.front = false;
                return Happened::Ended(ended);
            }
            if let Some(signal) = self.stopped.take() {
                self.stop(signal, command);
            }
            command.read(self.ended.is_none() && command.end().is_none() && !self.outlet.full());
            let reads_keys = self.front && command.takes_keys();
            tokio::select! {
                biased;
                happened = command.next() => {
                    match happened {
                        Happened::Wrote(bytes) => return self.wrote(bytes),
                        Happened::Stopped(signal) => self.stopped = Some(signal),
                        Happened::Ended(ended) => self.ended = Some(ended),
                    }
                    // What it wrote before that. Others may go on writing.
                    let left = command.output_left();
                    if !left.is_empty() {
                        return self.wrote(left);
                    }
                }
                keys = typed(&self.keys), if reads_keys => {
                    if ends && keys.contains(&INTERRUPT) {
                        signals::interrupt();
                    }
                    command.send(keys);
                }
                () = self.outlet.changed() => {}
            }
        }
    }

    /// Output for the terminal. An error means that the terminal is gone, which SIGHUP says too.
    fn wrote(&mut self, bytes: Vec<u8>) -> Happened {
        let _ = self.outlet.inlet().write_all(&bytes);
        Happened::Wrote(bytes)
    }

    /// The COMMAND was stopped: stops this job too, unless the COMMAND only waits for the foreground, and tracetui has it.
    fn stop(&mut self, signal: libc::c_int, command: &Running) {
        let asks = matches!(signal, libc::SIGTTIN | libc::SIGTTOU);
        self.interactive |= asks;
        if !(asks && in_foreground()) {
            self.settle();
            restore();
            stop_job(signal);
        }
        self.front = self.comes_to_front(command);
        command.resume(self.front);
    }

    /// The job was continued, perhaps in the background, and perhaps the shell set its own modes.
    pub(super) fn continued(&mut self, command: &Running) {
        let before = self.front;
        self.front = self.comes_to_front(command);
        if before != self.front {
            command.resume(self.front);
        }
    }

    /// Makes the terminal raw if the COMMAND is to have the foreground, and can have it.
    fn comes_to_front(&mut self, command: &Running) -> bool {
        if !self.interactive || !in_foreground() {
            return false;
        }
        if !std::mem::replace(&mut self.modes_known, true) {
            command.copy_modes();
        }
        make_raw(!in_pipeline())
    }

    /// A signal came. After the end of the COMMAND, it is not waited any longer for a terminal that takes nothing.
    pub(super) fn signalled(&self) {
        if self.ended.is_some() {
            self.outlet.abandon();
        }
    }

    /// Waits a while for the terminal to take the output.
    fn settle(&self) {
        let began = Instant::now();
        while self.outlet.pending() && began.elapsed() < limits::PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.settle();
        restore();
    }
}

/// A descriptor by which the terminal on stdin can be written.
fn writable() -> io::Result<OwnedFd> {
    let writes = |fd| fcntl_getfl(fd).is_ok_and(|flags| flags & OFlags::ACCMODE != OFlags::RDONLY);
    let same = |fd| device(fd) == device(stdin()) && writes(fd);
    match [stderr(), stdout(), stdin()].into_iter().find(|fd| same(*fd)) {
        Some(fd) => fd.try_clone_to_owned(),
        None => Ok(File::options().write(true).open("/dev/tty")?.into()),
    }
}

/// Waits for keys. The terminal is raw: a read that finds none, because another process took them, does not wait.
async fn typed(keys: &AsyncFd<OwnedFd>) -> Vec<u8> {
    let mut bytes = [0; KEYS];
    loop {
        let Ok(mut ready) = keys.readable().await else { return std::future::pending().await };
        match rustix::io::read(keys.get_ref(), &mut bytes) {
            Ok(read @ 1..) => return bytes.get(..read).unwrap_or_default().to_vec(),
            // The terminal is gone. That cannot be cleared.
            Ok(_) | Err(_) if ready.ready().is_read_closed() => return std::future::pending().await,
            // It is another job's, or another process was faster.
            Ok(_) | Err(_) => ready.clear_ready(),
        }
    }
}

/// Whether the terminal is raw: then a line ends with CR LF.
pub(super) fn is_raw() -> bool {
    !COOKED.load(Ordering::Acquire).is_null()
}

/// Makes the terminal raw; its output only if this job writes to it alone. `false` if it is gone.
fn make_raw(alone: bool) -> bool {
    let Ok(now) = tcgetattr(stdin()) else { return false };
    let cooked = COOKED.load(Ordering::Acquire);
    // SAFETY: a non-null pointer comes from `Box::into_raw` and is never freed.
    let cooked = unsafe { cooked.as_ref() }.unwrap_or(&now);
    let mut raw = cooked.clone();
    raw.make_raw();
    if !alone {
        raw.output_modes = cooked.output_modes;
    }
    raw.special_codes[SpecialCodeIndex::VMIN] = 0;
    raw.special_codes[SpecialCodeIndex::VTIME] = 0;
    if !is_raw() {
        COOKED.store(Box::into_raw(Box::new(now)), Ordering::Release);
    }
    tcsetattr(stdin(), OptionalActions::Now, &raw).is_ok()
}

/// Restores the modes of the terminal, if they were changed and the terminal is still this job's. Safe in a signal handler.
pub(super) fn restore() {
    let cooked = COOKED.swap(null_mut(), Ordering::AcqRel);
    // SAFETY: a non-null pointer comes from `Box::into_raw` and is never freed.
    if let Some(cooked) = unsafe { cooked.as_ref() }
        && in_foreground()
    {
        let _ = tcsetattr(stdin(), OptionalActions::Now, cooked);
    }
}

/// Makes a panic restore the terminal before its message.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            report(info);
        }));
    });
}

/// Stops the process group as a key in a cooked terminal does: the shell sees the whole job stopped, sudo included.
pub(super) fn stop_job(signal: libc::c_int) {
    // SAFETY: the zeroed sigaction is SIG_DFL with no flags and an empty mask; both pointers are to live locals, and
    // the handler that is put back is the one that was there. kill takes no pointers.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        let mut ours: libc::sigaction = std::mem::zeroed();
        // SIGSTOP has no handler.
        libc::sigaction(signal, &default, &mut ours);
        libc::kill(0, signal);
        libc::sigaction(signal, &ours, std::ptr::null_mut());
    }
}
