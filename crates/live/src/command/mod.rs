//! The COMMAND whose tree is traced. It is forked first, and held until every probe is attached. Then it is released to
//! its exec, which is its first event.
//!
//! It is forked before tracetui drops privileges and raises limits, so its privileges and limits are those of the
//! shell. [`child`] contains the code between the fork and the exec; all data for that code is prepared before the
//! fork.
//!
//! The COMMAND has its own session, so it cannot reach the terminals of others. In the dashboard, and if tracetui's
//! stdin is a terminal, it also has its own terminal ([`pty`]).

mod child;
pub mod pty;
#[cfg(test)]
mod tests;

use child::{Prepared, decoded, stage, state};
use pty::Pty;
use rustix::fs::{FileType, OFlags, fcntl_setfl, fstat};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpgid, getpgrp, kill_process_group, pidfd_open,
    pidfd_send_signal, waitpid,
};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tracetui_events::text::{Charset, escaped};
use tracetui_events::why::error_text;
use tracetui_host::confine::MonitorCalls;
use tracetui_host::invoker::Invoker;
use tracetui_host::own_id;
use tracetui_shared::id::Tgid;

/// The destination of the COMMAND's standard streams. If stdin is a terminal, the streams that are this terminal become
/// the COMMAND's own terminal instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Streams {
    /// stdout goes to tracetui's stderr, since its stdout contains the events.
    StdoutToStderr,
    /// stdin, stdout and stderr are inherited from tracetui.
    Inherited,
    /// All three are the COMMAND's own terminal, because the dashboard uses the user's.
    Captured,
}

impl Streams {
    /// The descriptors for the COMMAND's streams. `slave` is its terminal, if it has one.
    fn descriptors(self, slave: Option<RawFd>) -> [RawFd; 3] {
        let stdout = if self == Streams::StdoutToStderr { 2 } else { 1 };
        let Some(slave) = slave else { return [0, stdout, 2] };
        let users = pty::device(stdin());
        let own = |fd: BorrowedFd<'_>| self == Streams::Captured || pty::device(fd) == users;
        let streams = [stdin(), if stdout == 1 { rustix::stdio::stdout() } else { stderr() }, stderr()];
        streams.map(|fd| if own(fd) { slave } else { fd.as_raw_fd() })
    }
}

/// Whether other process groups may use the terminal too, as in `tracetui … | less`. The COMMAND then gets the
/// foreground when it reads from its terminal.
pub fn in_pipeline() -> bool {
    let is_pipe = |fd| {
        fstat(fd).is_ok_and(|file| matches!(FileType::from_raw_mode(file.st_mode), FileType::Fifo | FileType::Socket))
    };
    is_pipe(stdout()) || is_pipe(stderr())
}

/// Whether this job is in the foreground of the terminal on stdin. If that is unknown, `true`.
pub fn in_foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|front| front == getpgrp()) || tcgetpgrp(stdin()).is_err()
}

/// A COMMAND that waits for its release. If this is dropped, the COMMAND ends without an exec.
#[derive(Debug)]
pub struct HeldCommand {
    process: Option<Process>,
    go: Option<PipeWriter>,
}

/// The process of a COMMAND, before or after its release.
#[derive(Debug)]
struct Process {
    pid: Pid,
    /// The process group of all runs. The first run leads it.
    group: Pid,
    again: bool,
    tgid: Tgid,
    name: OsString,
    pidfd: OwnedFd,
    /// The pipe on which the child sends its process id, and a reason if there is no exec. An exec closes the other
    /// end.
    failure: PipeReader,
    /// The parent of a COMMAND that has its own terminal. Without a terminal, tracetui is the parent.
    monitor: Option<Monitor>,
}

/// The monitor, which is the process between tracetui and a COMMAND with a terminal ([`child`]), and the terminal.
#[derive(Debug)]
struct Monitor {
    pid: Pid,
    control: PipeWriter,
    reports: PipeReader,
    master: OwnedFd,
    front: bool,
    /// Whether to continue the COMMAND when the terminal stops it, because nobody else could do so.
    continues: bool,
    /// The process of the next run, which waits for its release.
    next: Option<Pid>,
    modes: Option<Termios>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Change {
    Stopped(libc::c_int),
    Ended(Ended),
}

#[derive(Debug)]
pub struct Running {
    process: Process,
    go: Option<PipeWriter>,
    /// Becomes readable when the process changes its state.
    changed: AsyncFd<OwnedFd>,
    terminal: Option<Terminal>,
    ended: Option<Ended>,
    end_delivered: bool,
    reads: bool,
}

#[derive(Debug)]
struct Terminal {
    master: AsyncFd<OwnedFd>,
    /// The keys that the terminal has not taken yet.
    keys: Vec<u8>,
    buffer: Vec<u8>,
    /// Whether no process has the slave open any more.
    closed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Output of the COMMAND or its descendants.
    Wrote(Vec<u8>),
    /// A signal stopped the COMMAND, whose own terminal is relayed to the user's. [`Running::resume`] continues it.
    Stopped(libc::c_int),
    /// The COMMAND ended. Its descendants may still write.
    Ended(Ended),
}

impl Happened {
    /// The output of the COMMAND; empty for other events.
    pub fn output(&self) -> &[u8] {
        if let Happened::Wrote(bytes) = self { bytes } else { &[] }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Exited(u8),
    Killed(u8),
    /// It did not run. The reason, and the status that a shell would return.
    NotRun(String, u8),
}

impl Ended {
    /// The exit status: the command's own, 128 + signal number, 127 if not found, 126 if not executable.
    pub fn status(&self) -> u8 {
        match self {
            Ended::Exited(status) | Ended::NotRun(_, status) => *status,
            Ended::Killed(signal) => signal.saturating_add(128),
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Exited(status) => write!(f, "exit {status}"),
            Ended::Killed(signal) => write!(f, "killed by signal {signal}"),
            Ended::NotRun(why, _) => f.write_str(why),
        }
    }
}

impl HeldCommand {
    /// Forks a process that executes `argv` when it is released. It runs as the user who invoked sudo, doas or pkexec.
    pub fn start(argv: &[OsString], streams: Streams) -> io::Result<HeldCommand> {
        let user = Invoker::of_environment()?;
        let (hold, go) = io::pipe()?;
        let (failure, report) = io::pipe()?;
        let captured = streams == Streams::Captured;
        let has_terminal = captured || pty::device(stdin()).is_some();
        let watch = match has_terminal {
            true => Some((Pty::open(user.as_ref())?, io::pipe()?, io::pipe()?)),
            false => None,
        };
        let front = captured || in_foreground() && !in_pipeline();
        let monitor = watch.as_ref().map(|(pty, (control, _), (_, reports))| child::Monitor {
            slave: pty.slave.as_raw_fd(),
            control: control.as_raw_fd(),
            reports: reports.as_raw_fd(),
            front,
            again: captured,
            root: rustix::process::geteuid().is_root(),
            calls: MonitorCalls::prepare(),
        });
        let fds = streams.descriptors(monitor.as_ref().map(|monitor| monitor.slave));
        let own_id = own_id::load().ok();
        let term = captured.then_some(TERM);
        let prepared = Prepared::new(argv, user.as_ref(), fds, monitor, term, own_id.as_ref().map(AsRawFd::as_raw_fd))?;
        let child = prepared.fork(hold.as_raw_fd(), go.as_raw_fd(), report.as_raw_fd())?;
        let child = Pid::from_raw(child).ok_or(io::ErrorKind::NotFound)?;
        // The child now has the only write end, so a read ends when the child ends. The same holds for the reports of
        // the monitor.
        drop(report);
        let monitor = watch.map(|(Pty { master, .. }, (_, control), (reports, _))| Monitor {
            pid: child,
            control,
            reports,
            modes: tcgetattr(&master).ok(),
            master,
            front,
            continues: captured,
            next: None,
        });
        let pid = match &monitor {
            Some(monitor) => monitor.started()?,
            None => child,
        };
        // Before 5.10, the child cannot query it.
        let tgid = written_tgid(&failure).unwrap_or_else(|| Tgid(pid.as_raw_pid().cast_unsigned()));
        // The process of the next run has the other end too.
        fcntl_setfl(&failure, OFlags::NONBLOCK)?;
        let name = argv.first().cloned().unwrap_or_default();
        // If `pidfd_open` fails, `go` is dropped, and the child ends.
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let process = Process { pid, group: pid, again: false, tgid, name, pidfd, failure, monitor };
        Ok(HeldCommand { process: Some(process), go: Some(go) })
    }

    /// The process id in the initial pid namespace, as the probes see it.
    pub fn tgid(&self) -> Tgid {
        self.process.as_ref().map_or(Tgid(0), |process| process.tgid)
    }

    /// The process id in tracetui's pid namespace, as kill(1) takes it.
    pub fn pid(&self) -> Option<Pid> {
        self.process.as_ref().map(|process| process.pid)
    }

    /// Sets the size of the COMMAND's terminal, before its exec reads it.
    pub fn resize(&self, columns: u16, rows: u16) {
        let monitor = self.process.as_ref().and_then(|process| process.monitor.as_ref());
        monitor.iter().for_each(|monitor| pty::resize(&monitor.master, columns, rows));
    }

    pub fn release(mut self) -> io::Result<Running> {
        let Some(process) = self.process.take() else { return Err(io::ErrorKind::NotFound.into()) };
        let changed = match &process.monitor {
            Some(monitor) => {
                fcntl_setfl(&monitor.reports, OFlags::NONBLOCK)?;
                monitor.reports.try_clone()?.into()
            }
            None => process.pidfd.try_clone()?,
        };
        let changed = watched(changed, Interest::READABLE)?;
        let terminal = process.monitor.as_ref().map(Terminal::new).transpose()?;
        // An error means that the COMMAND was already killed. The wait reports that.
        let mut go = self.go.take();
        let _ = go.as_mut().map(|go| go.write_all(&[child::GO]));
        Ok(Running { process, go, changed, terminal, ended: None, end_delivered: false, reads: true })
    }
}

impl Drop for HeldCommand {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // If the signal is not permitted, the closed pipe ends the process.
            drop(self.go.take());
            process.signal(Signal::KILL);
            // The monitor reports the end before it exits.
            while let Some(Change::Stopped(_)) = process.change(WaitOptions::empty()) {}
        }
        if let Some(Monitor { pid, control, .. }) = self.process.take().and_then(|process| process.monitor) {
            drop(control);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
    }
}

impl Running {
    pub fn name(&self) -> &OsStr {
        &self.process.name
    }

    /// The process id in tracetui's pid namespace, as kill(1) takes it.
    pub fn pid(&self) -> Pid {
        self.process.pid
    }

    pub fn end(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// Waits for the next event of the COMMAND. Waits forever if it has ended and its output is closed. Meanwhile,
    /// writes the queued keys to its terminal. Cancel safe.
    pub async fn next(&mut self) -> Happened {
        loop {
            let Running { process, changed, terminal, ended: end, end_delivered, reads, .. } = self;
            let types = terminal.as_ref().is_some_and(|terminal| !terminal.keys.is_empty());
            tokio::select! {
                biased;
                change = change(process, changed, end), if !*end_delivered => match change {
                    Change::Ended(end) => {
                        *end_delivered = true;
                        return Happened::Ended(end);
                    }
                    Change::Stopped(signal) if !self.process.continues() => return Happened::Stopped(signal),
                    // A process sent SIGSTOP on purpose, so some process will continue the COMMAND.
                    Change::Stopped(libc::SIGSTOP) => {}
                    Change::Stopped(_) => self.resume(true),
                },
                bytes = written(terminal, *reads, types), if *reads || types => if !bytes.is_empty() {
                    return Happened::Wrote(bytes);
                },
                else => std::future::pending().await,
            }
        }
    }

    /// Runs the COMMAND again after it ended. Returns `false` if no process waits for this.
    pub fn again(&mut self) -> bool {
        let Running { process, go: Some(go), terminal, ended, end_delivered: end_delivered @ true, .. } = self else {
            return false;
        };
        let Some(monitor) = &mut process.monitor else { return false };
        let Some(next) = monitor.next.take() else { return false };
        let modes = monitor.modes.as_ref();
        // Keys for the last run are not for this one.
        terminal.iter_mut().for_each(|terminal| terminal.keys.clear());
        modes.iter().for_each(|modes| _ = tcsetattr(&monitor.master, OptionalActions::Flush, modes));
        let [a, b, c, d] = next.as_raw_pid().to_ne_bytes();
        let told = monitor.control.write_all(&[child::NEXT, a, b, c, d]).and_then(|()| go.write_all(&[child::GO]));
        if told.is_ok() {
            (process.pid, process.again, *ended, *end_delivered) = (next, true, None, false);
        }
        told.is_ok()
    }

    /// Whether the COMMAND has a terminal that is relayed to the user's.
    pub fn is_relayed(&self) -> bool {
        self.process.monitor.is_some() && !self.process.continues()
    }

    pub fn starts_in_front(&self) -> bool {
        self.process.monitor.as_ref().is_some_and(|monitor| monitor.front)
    }

    /// Sets whether the COMMAND's output is read from now on.
    pub fn read(&mut self, reads: bool) {
        self.reads = reads;
    }

    /// Continues the COMMAND after a stop, or moves it to the foreground or background of its terminal.
    pub fn resume(&self, front: bool) {
        if let Some(monitor) = self.process.monitor.as_ref().filter(|_| self.ended.is_none()) {
            // An error means that the COMMAND was killed.
            let _ = (&monitor.control).write_all(&[if front { child::FRONT } else { child::BACK }]);
        }
    }

    pub fn copy_modes(&self) {
        self.process.monitor.iter().for_each(|monitor| pty::copy_modes(&monitor.master));
    }

    pub fn follow_size(&self) {
        self.process.monitor.iter().for_each(|monitor| pty::follow(&monitor.master));
    }

    /// Whether the COMMAND's terminal has taken most of the queued keys.
    pub fn takes_keys(&self) -> bool {
        self.terminal.as_ref().is_some_and(|terminal| terminal.keys.len() < KEYS_QUEUED / 2)
    }

    /// Queues keys for the COMMAND's terminal. [`next`](Self::next) writes them. Keys beyond a limit are dropped.
    pub fn send(&mut self, mut keys: Vec<u8>) {
        if let Some(terminal) = &mut self.terminal {
            keys.truncate(KEYS_QUEUED.saturating_sub(terminal.keys.len()));
            terminal.keys.append(&mut keys);
        }
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        self.process.monitor.iter().for_each(|monitor| pty::resize(&monitor.master, columns, rows));
    }

    pub fn pidfd(&self) -> io::Result<OwnedFd> {
        self.process.pidfd.try_clone()
    }

    /// Sends a signal, then SIGCONT, because a stopped process handles no signal other than SIGKILL. Both are sent as
    /// by [`signal_group`](Self::signal_group).
    pub fn signal(&self, signal: libc::c_int) {
        self.signal_group(signal);
        self.signal_group(libc::SIGCONT);
    }

    /// Sends a signal to the process group that the COMMAND leads, which it does in its own session. If it leads none,
    /// sends the signal to the COMMAND alone. Does nothing if it has ended.
    pub fn signal_group(&self, signal: libc::c_int) {
        let Some(signal) = Signal::from_named_raw(signal).filter(|_| self.ended.is_none()) else { return };
        let Process { pid, group, again, .. } = self.process;
        if let (true, Some(mut go)) = (again && getpgid(Some(pid)) != Ok(group), self.go.as_ref()) {
            // An error means that the process which passes it on was killed.
            let _ = go.write_all(&[child::SIGNAL | signal.as_raw() as u8]);
            return;
        }
        // The first run is not reaped, so no other process or group has its id.
        if kill_process_group(self.process.group, signal).is_err() {
            self.process.signal(signal);
        }
    }

    pub fn output_left(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        if let Some(terminal) = &mut self.terminal {
            while all.len() < tracetui_events::limits::COMMAND_OUTPUT
                && let Ok(read @ 1..) = read_all(terminal.master.get_ref(), &mut terminal.buffer)
            {
                all.extend_from_slice(&terminal.buffer[..read]);
            }
        }
        all
    }
}

async fn change(process: &mut Process, changed: &AsyncFd<OwnedFd>, ended: &mut Option<Ended>) -> Change {
    loop {
        if let Some(ended) = ended {
            return Change::Ended(ended.clone());
        }
        // This fails only when the event loop shuts down.
        let Ok(mut ready) = changed.readable().await else { continue };
        match process.change(WaitOptions::NOHANG) {
            Some(Change::Ended(end)) => *ended = Some(end),
            Some(stopped) => return stopped,
            None => ready.clear_ready_matching(Ready::READABLE),
        }
    }
}

/// Waits for output if `reads`, and until the terminal takes keys if `types`. In the second case the result may be
/// empty. Never returns if there is no terminal, or if nobody has it open.
async fn written(terminal: &mut Option<Terminal>, reads: bool, types: bool) -> Vec<u8> {
    let Some(Terminal { master, keys, buffer, closed }) = terminal else { return std::future::pending().await };
    let read = async {
        match *closed || !reads {
            true => std::future::pending().await,
            false => master.async_io(Interest::READABLE, |master| read_all(master, buffer)).await,
        }
    };
    let wrote = master.async_io(Interest::WRITABLE, |master| Ok(rustix::io::write(master, keys)?));
    tokio::select! {
        read = read => match read {
            Ok(read @ 1..) => return buffer[..read].to_vec(),
            Ok(0) | Err(_) => *closed = true,
        },
        wrote = wrote, if types => match wrote {
            Ok(wrote) => drop(keys.drain(..wrote)),
            // The terminal is gone.
            Err(_) => keys.clear(),
        },
    }
    Vec::new()
}

fn read_all(from: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    let mut all = 0;
    while all < buffer.len() {
        match rustix::io::read(from, &mut buffer[all..]) {
            Ok(0) => break,
            Ok(read) => all += read,
            Err(Errno::INTR) => {}
            Err(error) if all == 0 => return Err(error.into()),
            Err(_) => break,
        }
    }
    Ok(all)
}

/// The maximum number of bytes of output per read.
const OUTPUT_READ: usize = 64 << 10;

/// The maximum number of bytes of keys that wait for the terminal.
const KEYS_QUEUED: usize = 256 << 10;

/// The value of TERM for the terminal that the dashboard shows.
const TERM: &str = "xterm-256color";

impl Terminal {
    fn new(monitor: &Monitor) -> io::Result<Terminal> {
        let master = watched(monitor.master.try_clone()?, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Terminal { master, keys: Vec::new(), buffer: vec![0; OUTPUT_READ], closed: false })
    }
}

impl Monitor {
    fn started(&self) -> io::Result<Pid> {
        let pid = match self.report() {
            Some((state::STARTED, pid)) => Pid::from_raw(pid),
            _ => None,
        };
        pid.ok_or_else(|| io::Error::other("cannot create a process"))
    }

    /// The next report of the monitor. `None` if there is none yet, and at end of file.
    fn report(&self) -> Option<child::Report> {
        let mut bytes = [0; child::REPORT];
        (&self.reports).read_exact(&mut bytes).ok()?;
        Some(decoded(bytes))
    }

    /// What happened to the COMMAND. If its monitor is gone, the COMMAND lost its terminal.
    fn change(&mut self) -> Option<Change> {
        let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
        loop {
            let mut bytes = [0; child::REPORT];
            return match (&self.reports).read(&mut bytes) {
                Ok(0) => Some(Change::Ended(Ended::Killed(byte(libc::SIGHUP)))),
                Ok(_) => match decoded(bytes) {
                    (state::STOPPED, signal) => Some(Change::Stopped(signal)),
                    (state::EXITED, status) => Some(Change::Ended(Ended::Exited(byte(status & 0xff)))),
                    (state::KILLED, signal) => Some(Change::Ended(Ended::Killed(byte(signal)))),
                    (state::STARTED, pid) => {
                        self.next = Pid::from_raw(pid);
                        continue;
                    }
                    _ => None,
                },
                Err(_) => None,
            };
        }
    }
}

impl Process {
    fn signal(&self, signal: Signal) {
        // An error means that the process has ended.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// What happened to the process, if anything did. An ended process is reaped.
    fn change(&mut self, options: WaitOptions) -> Option<Change> {
        let change = match &mut self.monitor {
            Some(monitor) => monitor.change()?,
            None => Change::Ended(of_wait(waitpid(Some(self.pid), options).ok().flatten()?.1)),
        };
        Some(match change {
            Change::Ended(end) => Change::Ended(match self.not_run() {
                // The events of the first run stay, and this exec is among the failed ones.
                Some(Ended::NotRun(_, status)) if self.again => Ended::Exited(status),
                not_run => not_run.unwrap_or(end),
            }),
            stopped => stopped,
        })
    }

    fn continues(&self) -> bool {
        self.monitor.as_ref().is_some_and(|monitor| monitor.continues)
    }

    /// The reason that the child reported for not reaching an exec.
    fn not_run(&self) -> Option<Ended> {
        let mut bytes = [0; child::REPORT];
        // The process has ended, so the read does not block.
        (&self.failure).read_exact(&mut bytes).ok()?;
        let (stage, errno) = decoded(bytes);
        let status = match (stage, errno) {
            (stage::EXEC, libc::ENOENT | libc::ENOTDIR) => 127,
            _ => 126,
        };
        let (name, error) = (escaped(self.name.as_bytes(), Charset::Utf8.mode()), error_text(errno));
        let before = match stage {
            stage::USER => "cannot switch to the invoking user: ",
            stage::STREAMS => "cannot set up its standard streams: ",
            _ => "",
        };
        Some(Ended::NotRun(format!("cannot run {name}: {before}{error}"), status))
    }
}

fn of_wait(status: WaitStatus) -> Ended {
    let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match status.terminating_signal() {
        Some(signal) => Ended::Killed(byte(signal)),
        None => Ended::Exited(status.exit_status().map_or(0, byte)),
    }
}

/// The first report of the child: its process id in the initial pid namespace, as the probes see it.
fn written_tgid(mut from: &PipeReader) -> Option<Tgid> {
    let mut bytes = [0; child::ID];
    from.read_exact(&mut bytes).ok()?;
    Some(u32::from_ne_bytes(bytes)).filter(|id| *id != 0).map(Tgid)
}

fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` owns its descriptor, which stays open and unchanged until it is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}
