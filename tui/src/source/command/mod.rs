//! The COMMAND whose tree is traced. It is forked first, held until every probe is attached, then released to its exec,
//! which is its first event.
//!
//! It is forked before tracetui drops privileges and raises limits, so it has the same ones as in the shell. [`child`]
//! contains the code between the fork and the exec; all data for it is prepared before the fork.

mod child;

use super::host::invoker::Invoker;
use super::host::own_id::OwnId;
use crate::source::host::procfs;
use crate::why::image::{Elf, HEAD, Image, Interpreter, image};
use crate::why::name::octal;
use child::{Failed, Prepared, Stage};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process_group, pidfd_open, pidfd_send_signal, waitpid,
};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tracetui_shared::id::Tgid;

/// The destination of the COMMAND's standard streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Streams {
    /// stdout goes to tracetui's stderr, since its stdout contains the events.
    StdoutToStderr,
    /// stdin, stdout and stderr are those of tracetui.
    Inherited,
    /// stdin is /dev/null, and [`Running::next`] returns the output, since the dashboard uses the terminal. The COMMAND has a session
    /// of its own: it can neither read the terminal (/dev/tty) nor put itself in the foreground.
    Captured,
}

/// A COMMAND that waits for its release. If it is dropped, it ends without an exec.
#[derive(Debug)]
pub struct HeldCommand {
    process: Option<Process>,
    go: Option<PipeWriter>,
}

/// The process, before or after its release.
#[derive(Debug)]
struct Process {
    pid: Pid,
    tgid: Tgid,
    name: OsString,
    pidfd: OwnedFd,
    /// Receives the process id of the child, then the reason if there is no exec. An exec closes the other end.
    failure: PipeReader,
    output: Option<PipeReader>,
}

/// A released COMMAND.
#[derive(Debug)]
pub struct Running {
    process: Process,
    pidfd: AsyncFd<OwnedFd>,
    output: Option<AsyncFd<PipeReader>>,
    ended: Option<Ended>,
    end_delivered: bool,
}

/// An event of a COMMAND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Output of the COMMAND or its descendants.
    Wrote(Vec<u8>),
    /// A signal stopped it, in a terminal of its own that the user's terminal is relayed to: [`Running::resume`] continues it.
    Stopped(libc::c_int),
    /// It ended. Its descendants may still write.
    Ended(Ended),
}

/// How a COMMAND ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal.
    Killed(u8),
    /// It did not run: the reason, and the status that a shell would return.
    NotRun(String, u8),
}

impl Ended {
    /// The exit status: that of the command, 128 + signal number, 127 if not found, 126 if not executable.
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
    /// Forks a process that executes `argv` when it is released, as the user who invoked sudo, doas or pkexec.
    ///
    /// # Errors
    /// If the invoking user is unknown, or no process can be created.
    pub(crate) fn start(argv: &[OsString], streams: Streams) -> io::Result<HeldCommand> {
        let user = Invoker::of_environment()?;
        let (hold, go) = io::pipe()?;
        let (failure, report) = io::pipe()?;
        let captured = match streams {
            Streams::Captured => Some((io::pipe()?, std::fs::File::open("/dev/null")?)),
            Streams::StdoutToStderr | Streams::Inherited => None,
        };
        let fds = match &captured {
            Some(((_, output), null)) => [null.as_raw_fd(), output.as_raw_fd(), output.as_raw_fd()],
            None if streams == Streams::Inherited => [0, 1, 2],
            None => [0, 2, 2],
        };
        let own_id = OwnId::load().ok();
        let prepared = Prepared::new(argv, user.as_ref(), fds, captured.is_some(), own_id.as_ref())?;
        let pid = prepared.fork(hold.as_raw_fd(), go.as_raw_fd(), report.as_raw_fd())?;
        // The child now has the only write end, so a read ends when the child ends.
        drop(report);
        let tgid = written_tgid(&failure).unwrap_or_else(|| initial_tgid(pid));
        let output = captured.map(|((output, _), _)| output);
        let name = argv.first().cloned().unwrap_or_default();
        // If `pidfd_open` fails, `go` is dropped, and the child ends.
        let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let process = Process { pid, tgid, name, pidfd, failure, output };
        Ok(HeldCommand { process: Some(process), go: Some(go) })
    }

    /// The process id in the initial pid namespace, as the probes see it.
    pub(crate) fn tgid(&self) -> Tgid {
        self.process.as_ref().map_or(Tgid(0), |process| process.tgid)
    }

    /// The process id as kill(1) takes it here.
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.process.as_ref().map(|process| process.pid)
    }

    /// Sets the size of its terminal, before its exec reads it.
    pub(crate) fn resize(&self, _columns: u16, _rows: u16) {}

    /// Releases the COMMAND to its exec.
    ///
    /// # Errors
    /// If the event loop does not accept its descriptors.
    pub fn release(mut self) -> io::Result<Running> {
        let Some(mut process) = self.process.take() else { return Err(io::ErrorKind::NotFound.into()) };
        let output = process.output.take().map(nonblocking).transpose()?;
        let pidfd = watched(process.pidfd.try_clone()?)?;
        // An error means that the COMMAND was killed before. The wait reports that.
        let _ = self.go.take().map(|mut go| go.write_all(&[child::GO]));
        Ok(Running { process, pidfd, output, ended: None, end_delivered: false })
    }
}

impl Drop for HeldCommand {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            // If the signal is not permitted, the closed pipe ends the process.
            drop(self.go.take());
            process.signal(Signal::KILL);
            let _ = process.reap(WaitOptions::empty());
        }
    }
}

impl Running {
    /// The name that was typed.
    pub fn name(&self) -> &OsStr {
        &self.process.name
    }

    /// The process id, as kill(1) takes it here.
    pub fn pid(&self) -> Pid {
        self.process.pid
    }

    /// How it ended, if known.
    pub fn end(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// Waits for its next event; forever if it has ended and its output is closed. Cancel safe.
    pub async fn next(&mut self) -> Happened {
        let Running { process, pidfd, output, ended: end, end_delivered } = self;
        tokio::select! {
            biased;
            bytes = written(output) => Happened::Wrote(bytes),
            end = ended(process, pidfd, end), if !*end_delivered => {
                *end_delivered = true;
                Happened::Ended(end)
            }
        }
    }

    /// Queues keys for its terminal. [`next`](Self::next) writes them. Keys beyond a bound are dropped.
    pub fn send(&mut self, _keys: Vec<u8>) {}

    /// Sets the size of its terminal.
    pub fn resize(&self, _columns: u16, _rows: u16) {}

    /// A pidfd of the process.
    ///
    /// # Errors
    /// If no descriptor is available.
    pub fn pidfd(&self) -> io::Result<OwnedFd> {
        self.process.pidfd.try_clone()
    }

    /// Sends it a signal, and then SIGCONT: a stopped process handles no signal other than SIGKILL. Both as
    /// [`signal_group`](Self::signal_group) does.
    pub fn signal(&self, signal: libc::c_int) {
        self.signal_group(signal);
        self.signal_group(libc::SIGCONT);
    }

    /// Sends a signal to the process group that it leads, as it does in a session of its own, or to it alone. Nothing if it has
    /// ended.
    pub fn signal_group(&self, signal: libc::c_int) {
        let Some(signal) = Signal::from_named_raw(signal).filter(|_| self.ended.is_none()) else { return };
        // It has not been waited for, so no other process and no other group has its id.
        if kill_process_group(self.process.pid, signal).is_err() {
            self.process.signal(signal);
        }
    }

    /// The available output, without waiting.
    pub fn output_left(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        if let Some(output) = &mut self.output {
            // Data from before the end is read. An error only means that another process still holds the pipe open.
            let _ = output.get_mut().take(crate::limits::COMMAND_OUTPUT as u64).read_to_end(&mut all);
        }
        all
    }
}

async fn ended(process: &Process, pidfd: &AsyncFd<OwnedFd>, ended: &mut Option<Ended>) -> Ended {
    loop {
        if let Some(ended) = ended {
            return ended.clone();
        }
        // This fails only when the event loop shuts down.
        let Ok(mut ready) = pidfd.readable().await else { continue };
        match process.reap(WaitOptions::NOHANG) {
            Some(end) => *ended = Some(end),
            None => ready.clear_ready_matching(Ready::READABLE),
        }
    }
}

/// Waits for output. Never returns if all write ends are closed or the output is not captured.
async fn written(output: &mut Option<AsyncFd<PipeReader>>) -> Vec<u8> {
    while let Some(pipe) = output {
        let mut bytes = vec![0; OUTPUT_READ];
        let read = pipe.async_io_mut(Interest::READABLE, |pipe| pipe.read(&mut bytes)).await;
        match read {
            Ok(0) | Err(_) => *output = None,
            Ok(read) => {
                bytes.truncate(read);
                return bytes;
            }
        }
    }
    std::future::pending().await
}

/// The maximum of bytes of output per read.
const OUTPUT_READ: usize = 16 << 10;

impl Process {
    fn signal(&self, signal: Signal) {
        // An error means that it has ended.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Reaps the process; `None` if it has not ended.
    fn reap(&self, options: WaitOptions) -> Option<Ended> {
        let (_, status) = waitpid(Some(self.pid), options).ok().flatten()?;
        Some(self.not_run().unwrap_or_else(|| of_wait(status)))
    }

    /// The reason that the child reported if there was no exec.
    fn not_run(&self) -> Option<Ended> {
        let mut bytes = [0; child::REPORT];
        // The process has ended, so the read does not block.
        (&self.failure).read_exact(&mut bytes).ok()?;
        let Failed { stage, errno } = Failed::read(bytes);
        let status = match (stage, errno) {
            (Stage::Exec, libc::ENOENT | libc::ENOTDIR) => 127,
            _ => 126,
        };
        let error = io::Error::from_raw_os_error(errno).to_string();
        let error = error.split(" (os error").next().unwrap_or_default();
        let because = if matches!(stage, Stage::Exec) { because(Path::new(&self.name), errno) } else { String::new() };
        Some(Ended::NotRun(format!("cannot run {:?}: {}{error}{because}", self.name, stage.prefix()), status))
    }
}

/// What a program that is named by a path shows of why it was not executed; empty if that says no more than the error.
fn because(program: &Path, errno: i32) -> String {
    let missing = |interpreter: &[u8]| {
        let interpreter = Path::new(OsStr::from_bytes(interpreter));
        let gone = fs::metadata(interpreter).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if gone { format!(": its interpreter {interpreter:?} does not exist") } else { String::new() }
    };
    match (errno, fs::metadata(program).map(|file| file.mode())) {
        (libc::EACCES, Ok(mode)) if mode & 0o111 == 0 => format!(": mode {}, not executable", octal(mode & 0o7777)),
        (libc::ENOENT, Ok(_)) => {
            let mut head = Vec::new();
            let read = fs::File::open(program).and_then(|file| file.take(HEAD as u64).read_to_end(&mut head));
            match read.map(|_| image(&head)) {
                Ok(Image::Script(interpreter)) => missing(&interpreter),
                Ok(Image::Elf(Elf { interpreter: Interpreter::Path(interpreter), .. })) => missing(&interpreter),
                _ => String::new(),
            }
        }
        _ => String::new(),
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

/// The process id from /proc, for kernels before 5.10, where the child cannot query it. It is correct if /proc is that
/// of the initial pid namespace.
fn initial_tgid(pid: libc::pid_t) -> Tgid {
    Tgid(procfs::outer_tgid(pid).unwrap_or_else(|| u32::try_from(pid).unwrap_or(0)))
}

fn watched<T: AsRawFd + Into<OwnedFd>>(fd: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: a type that converts to `OwnedFd` owns its descriptor, which stays open and unchanged until it is
    // dropped.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

fn nonblocking(pipe: PipeReader) -> io::Result<AsyncFd<PipeReader>> {
    fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
    watched(pipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    /// Runs a command to its end. Returns how it ended, and its output.
    fn run(words: &[&str]) -> (Ended, String) {
        let held = HeldCommand::start(&argv(words), Streams::Captured).expect("room for a process");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut running = held.release().expect("released");
            let mut all = Vec::new();
            let ended = loop {
                match running.next().await {
                    Happened::Wrote(bytes) => all.extend(bytes),
                    Happened::Ended(ended) => break ended,
                }
            };
            all.extend(running.output_left());
            assert_eq!(running.end(), Some(&ended), "it is known");
            (ended, String::from_utf8(all).expect("UTF-8"))
        })
    }

    #[test]
    fn the_end_is_the_commands() {
        assert_eq!(run(&["sh", "-c", "echo out; echo err >&2; exit 7"]), (Ended::Exited(7), "out\nerr\n".into()));
        let (ended, _) = run(&["sh", "-c", "kill -9 $$"]);
        assert_eq!((ended.status(), ended), (137, Ended::Killed(9)));
    }

    #[test]
    fn one_that_is_stopped_takes_the_signal_that_ends_it() {
        let held = HeldCommand::start(&argv(&["sh", "-c", "echo $$; kill -STOP $$"]), Streams::Captured).expect("room");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut running = held.release().expect("released");
            let Happened::Wrote(pid) = running.next().await else { panic!("no output") };
            let stat = format!("/proc/{}/stat", String::from_utf8_lossy(&pid).trim());
            while !std::fs::read_to_string(&stat).expect("it lives").contains(") T ") {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            running.signal(libc::SIGTERM);
            let end = Happened::Ended(Ended::Killed(15));
            assert_eq!(running.next().await, end);
        });
    }

    #[test]
    fn its_process_group_takes_the_signal_too() {
        // The shell may say of its sleep that it was terminated.
        let script = "(trap 'echo child; exit' TERM; echo; while :; do sleep 0.01; done) 2>/dev/null & wait";
        let held = HeldCommand::start(&argv(&["sh", "-c", script]), Streams::Captured).expect("room");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut running = held.release().expect("released");
            assert_eq!(running.next().await, Happened::Wrote(b"\n".to_vec()));
            running.signal(libc::SIGTERM);
            let (mut said, mut end) = (Vec::new(), None);
            while said != b"child\n" || end.is_none() {
                match running.next().await {
                    Happened::Wrote(bytes) => said.extend(bytes),
                    Happened::Ended(ended) => end = Some(ended),
                }
            }
            assert_eq!(end, Some(Ended::Killed(15)));
        });
    }

    #[test]
    fn stdin_is_empty_and_a_closed_pipe_kills_again() {
        assert_eq!(run(&["cat"]), (Ended::Exited(0), String::new()));
        let (ended, said) = run(&["sh", "-c", "grep SigIgn /proc/self/status"]);
        let ignored = said.trim().rsplit('\t').next().and_then(|hex| u64::from_str_radix(hex, 16).ok());
        assert_eq!((ended, ignored.expect("hex") >> (libc::SIGPIPE - 1) & 1), (Ended::Exited(0), 0));
    }

    #[track_caller]
    fn check_not_run(word: &str, status: u8, says: &str) {
        let (ended, _) = run(&[word, "argument"]);
        assert_eq!(ended.status(), status, "{ended}");
        assert!(matches!(&ended, Ended::NotRun(why, _) if why.contains(word) && why.contains(says)), "{ended}");
    }

    #[test]
    fn what_cannot_be_run_is_said_as_a_shell_says_it() {
        check_not_run("no-such-command-anywhere", 127, "No such file");
        check_not_run("/no/such/command", 127, "No such file");
        check_not_run("/etc/passwd", 126, "denied");
        check_not_run("/", 126, "denied");
        check_not_run("", 127, "No such file");
    }

    #[test]
    fn a_script_without_a_first_line_is_run_by_the_shell() {
        let path = std::env::temp_dir().join(format!("tracetui-script-{}", std::process::id()));
        let name = path.to_str().expect("UTF-8");
        // The script is written by another process. A child held by a concurrent test would keep a descriptor of this
        // process open for writing, and the exec of the script would fail (ETXTBSY).
        let write = r#"printf '%s\n' 'echo "$0 $1 $2"' > "$0" && chmod 755 "$0""#;
        let written = std::process::Command::new("sh").args(["-c", write, name]).status().expect("a shell");
        assert!(written.success());
        let (ended, said) = run(&[name, "a b", "c"]);
        let _ = std::fs::remove_file(&path);
        assert_eq!((ended, said), (Ended::Exited(0), format!("{name} a b c\n")));
    }

    #[test]
    fn one_that_is_not_released_ends_without_having_run() {
        let held =
            HeldCommand::start(&argv(&["touch", "/tmp/must-not-be"]), Streams::Captured).expect("room for a process");
        let pid = held.process.as_ref().expect("held").pid;
        assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
        drop(held);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "reaped");
    }
}
