//! The user's terminal while a COMMAND with its own terminal runs under `print` or `record`. Keys and the window size go to
//! COMMAND's terminal, and output comes from it.
//!
//! While the COMMAND is in the foreground, the user's terminal is raw. Ctrl-C and Ctrl-Z are bytes that COMMAND's terminal turns into
//! signals. In a pipeline or a background job, the user's terminal keeps its modes until the COMMAND reads from its own. When the
//! COMMAND stops, tracetui restores the terminal and stops too.

use super::raw_mode::{make_raw, restore, restore_on_panic};
use crate::command::messages;
use crate::command::signals;
use crate::command::writer_thread::WriterThread;
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::stdio::{stderr, stdin, stdout};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Once;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracetui_events::limits;
use tracetui_live::command::pty::device;
use tracetui_live::command::{Ended, Happened, Running, in_foreground, in_pipeline};

/// Ctrl-C.
const INTERRUPT: u8 = 3;

const KEYS: usize = 4096;

/// The user's terminal. Restored when dropped.
#[derive(Debug)]
pub(in crate::command) struct Relay {
    keys: AsyncFd<OwnedFd>,
    terminal: WriterThread,
    /// The state of the terminal line that the COMMAND writes.
    /// Whether the COMMAND gets the foreground of its terminal whenever tracetui has the foreground of the user's terminal.
    interactive: bool,
    /// Whether the terminal is raw and its keys are read.
    front: bool,
    /// Whether COMMAND's terminal has the modes of the user's terminal. While tracetui was in the background, the shell had its own modes.
    modes_known: bool,
    /// The signal that stopped the COMMAND, kept until COMMAND's output is written.
    stopped: Option<libc::c_int>,
    /// How the COMMAND ended, kept until COMMAND's output is written.
    ended: Option<Ended>,
}

impl Relay {
    /// Takes the terminal if a COMMAND needs it.
    pub(in crate::command) fn start(command: &mut Running) -> io::Result<Option<Relay>> {
        if !command.is_relayed() {
            return Ok(None);
        }
        static ONCE: Once = Once::new();
        restore_on_panic(&ONCE, restore);
        command.follow_size();
        let terminal = WriterThread::new(File::from(writable()?))?;
        // SAFETY: the descriptor is owned, and stays open and unchanged until it is dropped.
        let keys = unsafe { AsyncFd::register_with_interest(stdin().try_clone_to_owned()?, Interest::READABLE) }?;
        let interactive = command.starts_in_front();
        let mut relay = Relay {
            keys,
            terminal,
            interactive,
            front: false,
            modes_known: in_foreground(),
            stopped: None,
            ended: None,
        };
        relay.front = relay.comes_to_front(command);
        if relay.front != interactive {
            command.resume(relay.front);
        }
        Ok(Some(relay))
    }

    /// Waits for the next event of the COMMAND, and passes on keys and output meanwhile. Reports COMMAND's end only after its last output
    /// is written. `ends` is whether Ctrl-C ends tracetui. Cancel safe.
    pub(in crate::command) async fn next(&mut self, command: &mut Running, ends: bool) -> Happened {
        loop {
            if let Some(ended) = self.ended.take_if(|_| !self.terminal.pending()) {
                restore();
                self.front = false;
                return Happened::Ended(ended);
            }
            if let Some(signal) = self.stopped.take() {
                self.stop(signal, command);
            }
            command.read(self.ended.is_none() && command.end().is_none() && !self.terminal.full());
            let reads_keys = self.front && command.takes_keys();
            tokio::select! {
                biased;
                happened = command.next() => {
                    match happened {
                        Happened::Wrote(bytes) => return self.wrote(bytes),
                        Happened::Stopped(signal) => self.stopped = Some(signal),
                        Happened::Ended(ended) => self.ended = Some(ended),
                    }
                    // Take the output from before the end. Other processes may continue to write.
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
                () = self.terminal.changed() => {}
            }
        }
    }

    /// Writes output to the terminal. An error means that the terminal is gone, which SIGHUP reports too.
    fn wrote(&mut self, bytes: Vec<u8>) -> Happened {
        let _ = self.terminal.queue().write_all(&bytes);
        is_within_line(&bytes).into_iter().for_each(messages::others_wrote);
        Happened::Wrote(bytes)
    }

    /// Stops this job too, after the COMMAND was stopped. Does not if the COMMAND only waits for the foreground and tracetui has it.
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

    /// Adapts the terminal after the job was continued. It may be in the background now, and the shell may have set its own modes.
    pub(in crate::command) fn continued(&mut self, command: &Running) {
        let before = self.front;
        self.front = self.comes_to_front(command);
        if before != self.front {
            command.resume(self.front);
        }
    }

    /// Makes the terminal raw if the COMMAND should have the foreground and can have it.
    fn comes_to_front(&mut self, command: &Running) -> bool {
        if !self.interactive || !in_foreground() {
            return false;
        }
        if !std::mem::replace(&mut self.modes_known, true) {
            command.copy_modes();
        }
        make_raw(!in_pipeline())
    }

    /// Handles a signal. After the COMMAND has ended, tracetui no longer waits for a terminal that takes nothing.
    pub(in crate::command) fn signalled(&self) {
        if self.ended.is_some() {
            self.terminal.abandon();
        }
    }

    /// Waits a while for the terminal to take the output.
    fn settle(&self) {
        let began = Instant::now();
        while self.terminal.pending() && began.elapsed() < limits::PATIENCE {
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

/// A descriptor that can write to the terminal on stdin.
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
            // The terminal is gone, and the readiness cannot be cleared.
            Ok(_) | Err(_) if ready.ready().is_read_closed() => return std::future::pending().await,
            // The terminal belongs to another job, or another process read first.
            Ok(_) | Err(_) => ready.clear_ready(),
        }
    }
}

/// Stops the process group as a key in a cooked terminal does. The shell sees the whole job stopped, including sudo.
pub(in crate::command) fn stop_job(signal: libc::c_int) {
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

/// Whether the cursor is within a line after output. `None` if the output only changes the look of text (SGR).
fn is_within_line(mut output: &[u8]) -> Option<bool> {
    let is_look = |byte: &u8| matches!(byte, b'0'..=b';');
    while let Some((before, look)) = output.iter().rposition(|byte| *byte == 0x1b).map(|at| output.split_at(at))
        && let [_, b'[', look @ .., b'm'] = look
        && look.iter().all(is_look)
    {
        output = before;
    }
    output.last().map(|last| *last != b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::terminal::raw_mode::is_raw;
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
    use rustix::termios::tcgetattr;
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    /// Set in a process that runs [`a_panic_restores_the_modes`] and is to panic.
    const PANICS: &str = "TRACETUI_RELAY_PANICS";

    #[test]
    fn a_panic_restores_the_modes() {
        if std::env::var_os(PANICS).is_some() {
            static ONCE: Once = Once::new();
            restore_on_panic(&ONCE, restore);
            assert!(make_raw(true) && is_raw());
            panic!("it panics while the terminal is raw");
        }
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).and_then(|master| unlockpt(&master).map(|()| master)).expect("a terminal");
        let slave = ioctl_tiocgptpeer(&master, flags).expect("a slave");
        let modes = || format!("{:?}", tcgetattr(&slave).expect("a terminal"));
        let before = modes();
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "command::terminal::relay::tests::a_panic_restores_the_modes", "--nocapture"]);
        command.env(PANICS, "1").stdin(slave.try_clone().expect("a descriptor"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut said = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        assert!(!child.wait().expect("a child").success() && said.contains("while the terminal is raw"), "{said}");
        assert_eq!(modes(), before);
    }
}
