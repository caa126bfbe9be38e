//! The code between the fork and the exec, and the monitor. Other threads may have held locks at the fork. This code
//! therefore does not allocate, lock or panic: it makes system calls on prepared data.
//!
//! A COMMAND with its own terminal has a monitor, which is its parent and the leader of its session. Without a parent
//! in the session, the kernel would ignore Ctrl-Z for it. The monitor moves the COMMAND between the foreground and the
//! background of its terminal, and reports how it stops and ends. It keeps three descriptors and no privileges.
//!
//! In the dashboard the COMMAND can run again. Before its exec, each run forks the process of the next one, as its sibling. So the probes
//! and the process table count that process as the COMMAND's, and its user, streams and environment are those of the first run. It stays
//! in the process group of the first run, which tracetui may signal.

use rustix::process::{Resource, Rlimit, setrlimit};
use std::env;
use std::ffi::{CString, OsStr, OsString, c_char};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::ptr;
use tracetui_host::clock::GIVEN_ZONE;
use tracetui_host::confine::{MonitorCalls, USER};
use tracetui_host::fd_limit;
use tracetui_host::invoker::{self, Invoker};
use tracetui_host::own_id;

/// The byte on the pipe `hold` that releases the child.
pub(super) const GO: u8 = 1;

/// The bit of a byte on the pipe `hold` whose other bits are a signal for the current run.
pub(super) const SIGNAL: u8 = 0x80;

/// What the child or the monitor reports (one byte), and its value (four bytes).
pub(super) type Report = (u8, i32);

/// The size of a [`Report`].
pub(super) const REPORT: usize = 5;

fn encoded((what, value): Report) -> [u8; REPORT] {
    let [a, b, c, d] = value.to_ne_bytes();
    [what, a, b, c, d]
}

pub(super) fn decoded([what, a, b, c, d]: [u8; REPORT]) -> Report {
    (what, i32::from_ne_bytes([a, b, c, d]))
}

/// The size of the process id that the child sends before anything else; 0 if the id is unknown.
pub(super) const ID: usize = 4;

/// The byte on the pipe `control` that continues the COMMAND in the foreground of its terminal.
pub(super) const FRONT: u8 = b'f';

/// The byte that continues it in the background.
pub(super) const BACK: u8 = b'b';

/// The byte before the process id (four bytes) of the next run.
pub(super) const NEXT: u8 = b'n';

/// What the monitor reports about the COMMAND.
pub(super) mod state {
    /// With the process id, of its next run too, in tracetui's pid namespace.
    pub(crate) const STARTED: u8 = 1;
    /// With the signal.
    pub(crate) const STOPPED: u8 = 2;
    /// With the exit status.
    pub(crate) const EXITED: u8 = 3;
    /// With the signal.
    pub(crate) const KILLED: u8 = 4;
}

/// Where the child failed before its exec; with errno.
pub(super) mod stage {
    pub(crate) const USER: u8 = 1;
    pub(crate) const STREAMS: u8 = 2;
    pub(crate) const EXEC: u8 = 3;
}

/// The search path if `PATH` is unset, as in execvp(3) of glibc and musl.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

const SHELL: &std::ffi::CStr = c"/bin/sh";

/// Strings and an array of pointers to them, in the format of execve(2).
struct Strings {
    /// Owns the strings that `pointers` refers to.
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    fn new(strings: Vec<CString>) -> Strings {
        let pointers = strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Strings { _strings: strings, pointers }
    }
}

pub(super) struct Monitor {
    pub(super) slave: RawFd,
    /// The read end of the pipe whose bytes continue the COMMAND. The monitor exits at end of file.
    pub(super) control: RawFd,
    /// The write end of the pipe for reports.
    pub(super) reports: RawFd,
    pub(super) front: bool,
    pub(super) again: bool,
    pub(super) root: bool,
    pub(super) calls: MonitorCalls,
}

pub(super) struct Prepared {
    /// The files to try, in order.
    files: Strings,
    argv: Strings,
    /// The arguments of `sh FILE ARG…`, for a file without an executable format. The child fills in the file.
    by_shell: Vec<*const c_char>,
    environment: Strings,
    user: Option<(u32, u32, Vec<u32>)>,
    /// The descriptors that become stdin, stdout and stderr.
    streams: [RawFd; 3],
    monitor: Option<Monitor>,
    /// Whether the descriptors that tracetui inherited from its shell are closed, except the streams.
    closes: bool,
    /// The open descriptors, for kernels without close_range(2). Empty without `/proc`.
    open: Vec<RawFd>,
    own_id: Option<RawFd>,
    /// The limit of open files that the shell set.
    open_files: Option<Rlimit>,
}

impl Prepared {
    /// Prepares the child for `argv`. `term` is the value of the variable TERM.
    pub(super) fn new(
        argv: &[OsString],
        user: Option<&Invoker>,
        streams: [RawFd; 3],
        monitor: Option<Monitor>,
        term: Option<&str>,
        own_id: Option<RawFd>,
    ) -> io::Result<Prepared> {
        let name = argv.first().map(OsString::as_os_str).unwrap_or_default();
        let argv = Strings::new(argv.iter().map(|word| c_string(word)).collect::<Result<_, _>>()?);
        let arguments = argv.pointers.iter().skip(1).copied();
        let by_shell = [SHELL.as_ptr(), ptr::null()].into_iter().chain(arguments).collect();
        Ok(Prepared {
            files: Strings::new(files(name)?),
            by_shell,
            argv,
            environment: Strings::new(environment(user, term)?),
            closes: user.is_some(),
            user: user.map(|user| (user.uid.0, user.gid.0, user.groups.clone())),
            streams,
            monitor,
            open: open_descriptors(),
            own_id,
            open_files: fd_limit::before(),
        })
    }

    /// Forks the child, or a monitor that forks the child. The child has its own session, or a process group in the
    /// monitor's session. It writes its process id to `report` and waits for a byte from `hold`, the read end of `go`.
    /// If it cannot execute the file, it writes the reason to `report`. The program `own_id` must still be open.
    pub(super) fn fork(mut self, hold: RawFd, go: RawFd, report: RawFd) -> io::Result<libc::pid_t> {
        // SAFETY: other threads may hold locks at the fork. The child only runs `run`, which takes no locks and never
        // returns.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: fork(2) returned 0, so this is the child, which is what `start` requires.
            0 => unsafe { self.start(hold, go, report) },
            pid => Ok(pid),
        }
    }

    /// The code after the fork. Call it only in the child of a fork.
    unsafe fn start(&mut self, hold: RawFd, go: RawFd, report: RawFd) -> ! {
        // setsid(2) cannot fail: a process that was just forked leads no process group.
        // SAFETY: the calls are async-signal-safe, and the sets are live locals. The child of clone(2) without flags is
        // like a child of fork(2), but runs no handlers of the C library, which may lock. `run` may be called in it.
        unsafe {
            libc::setsid();
            let Some(monitor) = &self.monitor else { self.run(hold, go, report) };
            libc::ioctl(monitor.slave, libc::TIOCSCTTY, 0);
            let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&raw mut all);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            match libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) {
                -1 => libc::_exit(1),
                0 => {
                    libc::sigprocmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
                    libc::setpgid(0, 0);
                    self.run(hold, go, report)
                }
                child => monitor.run(child as libc::pid_t, &self.open),
            }
        }
    }

    /// The code of the child. Call it only in the child of a fork.
    unsafe fn run(&mut self, hold: RawFd, go: RawFd, report: RawFd) -> ! {
        // SAFETY: all calls are async-signal-safe and use only memory that was prepared before the fork. The pointers
        // and lengths are those of live arrays.
        unsafe {
            libc::close(go);
            // Rust ignores SIGPIPE, but programs expect the default. Signal handlers need no reset: an exec removes
            // them.
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            // Before `change`, since the query needs the privileges that `change` drops.
            let id = self.own_id.and_then(own_id::ask).unwrap_or(0).to_ne_bytes();
            libc::write(report, id.as_ptr().cast(), id.len());
            if let Some(limit) = self.open_files {
                let _ = setrlimit(Resource::Nofile, limit);
            }
            let failed = match self.change() {
                Ok(()) => {
                    wait(hold, 0);
                    self.fork_next(hold, report);
                    self.exec()
                }
                Err(failed) => failed,
            };
            let bytes = encoded(failed);
            libc::write(report, bytes.as_ptr().cast(), bytes.len());
            libc::_exit(126)
        }
    }

    /// Forks the process of the next run, if the COMMAND can run again. Once that process is released, it returns from here too.
    unsafe fn fork_next(&self, hold: RawFd, report: RawFd) {
        let Some(monitor) = self.monitor.as_ref().filter(|monitor| monitor.again) else { return };
        // SAFETY: all calls are async-signal-safe, on live locals. For clone(2), see `start`.
        unsafe {
            let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&raw mut all);
            loop {
                // Signals to the process group are for the current run.
                let current = libc::getpid();
                libc::sigprocmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
                let next = libc::syscall(libc::SYS_clone, libc::CLONE_PARENT | libc::SIGCHLD, 0, 0, 0, 0);
                if next == 0 {
                    // A pipe ends when its last owner closes it, so this process must keep no other one.
                    self.close_own(&[hold, report, monitor.reports]);
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
                    wait(hold, current);
                    libc::prctl(libc::PR_SET_PDEATHSIG, 0, 0, 0, 0);
                    discard_signals();
                }
                libc::sigprocmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
                if next > 0 {
                    send(monitor.reports, state::STARTED, next as i32);
                }
                if next != 0 {
                    return;
                }
            }
        }
    }

    /// Closes the descriptors that an exec would close, except those in `kept`.
    unsafe fn close_own(&self, kept: &[RawFd]) {
        for fd in self.open.iter().filter(|fd| !kept.contains(fd)) {
            // SAFETY: the calls take numbers. Nothing after this uses these descriptors.
            unsafe {
                if libc::fcntl(*fd, libc::F_GETFD) & libc::FD_CLOEXEC != 0 {
                    libc::close(*fd);
                }
            }
        }
    }

    /// Switches to the user and sets up the streams. Both come before the wait, so that the child does not wait with
    /// privileges that it will drop.
    unsafe fn change(&self) -> Result<(), Report> {
        // SAFETY: `groups` is valid for `groups.len()` ids; the other arguments are numbers. The raw system calls are
        // needed, because the wrappers of the C library signal the other threads, which the child does not have.
        unsafe {
            if let Some((uid, gid, groups)) = &self.user {
                let done = libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) == 0
                    && libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid) == 0
                    && libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid) == 0;
                if !done {
                    return Err((stage::USER, errno()));
                }
            }
            for (from, to) in self.streams.iter().zip(0..) {
                // Skip a stream that is already in place. tracetui's own descriptors are above 2, and an exec closes
                // them.
                if *from != to && libc::dup2(*from, to) < 0 {
                    return Err((stage::STREAMS, errno()));
                }
            }
            if self.closes {
                close_at_exec(&self.open);
            }
        }
        Ok(())
    }

    /// Tries each file, as execvp(3) does: EACCES is reported only if no other file is found.
    unsafe fn exec(&mut self) -> Report {
        let mut errno_of = libc::ENOENT;
        for file in self.files.pointers.iter().copied().filter(|file| !file.is_null()) {
            // SAFETY: `file` ends with NUL. The arrays end with a null pointer, and their strings with NUL; `self` owns
            // both.
            unsafe { libc::execve(file, self.argv.pointers.as_ptr(), self.environment.pointers.as_ptr()) };
            match errno() {
                libc::ENOEXEC => {
                    if let Some(place) = self.by_shell.get_mut(1) {
                        *place = file;
                    }
                    // SAFETY: `SHELL` and `file` end with NUL. `by_shell` ends with a null pointer, and its strings
                    // belong to `self.argv`.
                    unsafe { libc::execve(SHELL.as_ptr(), self.by_shell.as_ptr(), self.environment.pointers.as_ptr()) };
                    return (stage::EXEC, errno());
                }
                libc::EACCES => errno_of = libc::EACCES,
                libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
                other => return (stage::EXEC, other),
            }
        }
        (stage::EXEC, errno_of)
    }
}

impl Monitor {
    /// The code of the monitor. Call it only in the child of a fork, with all signals blocked.
    unsafe fn run(&self, child: libc::pid_t, open: &[RawFd]) -> ! {
        // SAFETY: all calls are async-signal-safe, on memory that was prepared before the fork or is a live local.
        unsafe {
            libc::setpgid(child, child);
            if self.front {
                libc::tcsetpgrp(self.slave, child);
            }
            // tracetui's own descriptors are above 2.
            for (from, to) in [self.slave, self.control, self.reports].into_iter().zip(0..) {
                libc::dup2(from, to);
            }
            close_all(open);
            send(2, state::STARTED, child);
            self.give_up();
            let mut children: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&raw mut children, libc::SIGCHLD);
            let signals = libc::signalfd(-1, &raw const children, 0);
            self.calls.restrict();
            watch(child, signals)
        }
    }

    /// Gives up all privileges. The user of the COMMAND can neither signal nor trace this process.
    unsafe fn give_up(&self) {
        // SAFETY: the system calls take numbers, and empty capabilities that are live locals.
        unsafe {
            if self.root {
                libc::syscall(libc::SYS_setgroups, 0, ptr::null::<libc::gid_t>());
                libc::syscall(libc::SYS_setresgid, USER, USER, USER);
                libc::syscall(libc::SYS_setresuid, USER, USER, USER);
            }
            // _LINUX_CAPABILITY_VERSION_3, of this process.
            let (header, none) = ([0x2008_0522_u32, 0], [0_u32; 6]);
            libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr());
            libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        }
    }
}

/// Reports how the COMMAND stops and ends, and continues it as told, until tracetui closes the other end.
///
/// Until then, or until its next run, the COMMAND is not reaped, so no other process has its id. Descriptors: 0 is the terminal, 1
/// `control`, 2 `reports`.
unsafe fn watch(mut child: libc::pid_t, signals: RawFd) -> ! {
    // The first run is never reaped: tracetui signals the process group with its id.
    let (first, mut ended) = (child, false);
    let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: all calls are async-signal-safe, on live locals of the sizes passed.
    unsafe {
        loop {
            let mut ready = [entry(1), entry(signals)];
            libc::poll(ready.as_mut_ptr(), 2, -1);
            if ready[1].revents != 0 {
                let mut info: libc::signalfd_siginfo = std::mem::zeroed();
                libc::read(signals, (&raw mut info).cast(), size_of_val(&info));
                ended = ended || look(child);
            }
            let mut told = 0u8;
            if ready[0].revents == 0 {
                continue;
            }
            match libc::read(1, (&raw mut told).cast(), 1) {
                1 => {
                    if told == NEXT {
                        if child != first {
                            let mut info: libc::siginfo_t = std::mem::zeroed();
                            let id = child.cast_unsigned();
                            libc::waitid(libc::P_PID, id, &raw mut info, libc::WEXITED | libc::WNOHANG);
                        }
                        ended = false;
                        // Both are written at once.
                        libc::read(1, (&raw mut child).cast(), size_of_val(&child));
                    }
                    // The COMMAND may have left its original process group.
                    let group = libc::getpgid(child);
                    libc::tcsetpgrp(0, if told == BACK { libc::getpid() } else { group });
                    libc::kill(if group > 1 { -group } else { child }, libc::SIGCONT);
                    // It may have ended before the monitor knew it.
                    ended = ended || look(child);
                }
                -1 if errno() == libc::EINTR => {}
                _ => {
                    let mut info: libc::siginfo_t = std::mem::zeroed();
                    libc::waitid(libc::P_PID, child.cast_unsigned(), &raw mut info, libc::WEXITED | libc::WNOHANG);
                    libc::_exit(0)
                }
            }
        }
    }
}

/// Reports a stop or the end. Returns whether it was the end.
unsafe fn look(child: libc::pid_t) -> bool {
    // SAFETY: `info` is a live local. After waitid(2) it is that of a child, or zeroed.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let id = child.cast_unsigned();
        libc::waitid(libc::P_PID, id, &raw mut info, libc::WSTOPPED | libc::WNOHANG);
        if info.si_pid() != 0 {
            send(2, state::STOPPED, info.si_status());
        }
        info = std::mem::zeroed();
        libc::waitid(libc::P_PID, id, &raw mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT);
        if info.si_pid() == 0 {
            return false;
        }
        // This takes the descendants out of the foreground, so that the end of this process does not hang up on them.
        libc::tcsetpgrp(0, libc::getpid());
        let report = if info.si_code == libc::CLD_EXITED { state::EXITED } else { state::KILLED };
        send(2, report, info.si_status());
        true
    }
}

unsafe fn send(to: RawFd, what: u8, value: i32) {
    let bytes = encoded((what, value));
    // SAFETY: the array is a live local of this length. The pipe has room: each report is read.
    unsafe { libc::write(to, bytes.as_ptr().cast(), bytes.len()) };
}

/// Closes all descriptors above 2.
unsafe fn close_all(open: &[RawFd]) {
    // SAFETY: the calls take numbers. Nothing after this uses these descriptors.
    unsafe {
        if libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) != 0 {
            open.iter().for_each(|fd| _ = libc::close(*fd));
        }
    }
}

/// Marks all descriptors above 2 as close-on-exec.
unsafe fn close_at_exec(open: &[RawFd]) {
    // SAFETY: the calls take numbers.
    unsafe {
        // Kernels before 5.11 have no such flag.
        if libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) != 0 {
            open.iter().for_each(|fd| _ = libc::fcntl(*fd, libc::F_SETFD, libc::FD_CLOEXEC));
        }
    }
}

fn open_descriptors() -> Vec<RawFd> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|fd| *fd > 2).collect()
}

/// Waits for the release. Exits if tracetui closes the other end, because it then never releases this process. Meanwhile passes signals
/// on to the process `current`, which may have left the process group that tracetui may signal.
unsafe fn wait(hold: RawFd, current: libc::pid_t) {
    let mut byte = 0u8;
    // SAFETY: `byte` is a live local variable of one byte, the length passed.
    unsafe {
        loop {
            match libc::read(hold, (&raw mut byte).cast(), 1) {
                1 if byte == GO => return,
                1 if byte & SIGNAL != 0 && current > 1 => {
                    // tracetui releases this process before the current one is reaped.
                    let group = libc::getpgid(current);
                    libc::kill(if group > 1 { -group } else { current }, i32::from(byte & !SIGNAL));
                }
                -1 if errno() == libc::EINTR => {}
                _ => libc::_exit(0),
            }
        }
    }
}

/// Discards the pending signals. Ignored signals stay ignored.
unsafe fn discard_signals() {
    // SAFETY: the calls take numbers.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            if libc::signal(signal, libc::SIG_IGN) != libc::SIG_IGN {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    }
}

/// The errno of the last call. `io::Error` would work too, but this is certain to be only a load.
fn errno() -> i32 {
    // SAFETY: `__errno_location` returns a valid pointer to the errno of the calling thread.
    unsafe { *libc::__errno_location() }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| io::Error::other("the command contains a NUL byte"))
}

/// The files that a name can denote: the name itself if it contains a slash, else one per directory of `PATH`.
fn files(name: &OsStr) -> io::Result<Vec<CString>> {
    if name.is_empty() || name.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(name)?]);
    }
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let directories = path.as_bytes().split(|byte| *byte == b':');
    let file = |directory: &[u8]| {
        // An empty directory in `PATH` is the working directory.
        let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        c_string(OsStr::from_bytes(&[directory, slash, name.as_bytes()].concat()))
    };
    directories.map(file).collect()
}

/// tracetui's environment with the user's variables, as if the command had been run without sudo. TERM differs if the
/// terminal is another one.
fn environment(user: Option<&Invoker>, term: Option<&str>) -> io::Result<Vec<CString>> {
    let mut variables: Vec<(OsString, OsString)> = env::vars_os().collect();
    let mut replace = |variable: &str, value: OsString| {
        variables.retain(|(name, _)| name != variable);
        variables.push((variable.into(), value));
    };
    term.into_iter().for_each(|term| replace("TERM", term.into()));
    GIVEN_ZONE.get().into_iter().for_each(|zone| replace("TZ", zone.clone()));
    if let Some(user) = user {
        let replaced = |name: &OsStr| {
            let own = ["HOME", "USER", "LOGNAME"].iter().chain(&invoker::VARIABLES);
            name.as_bytes().starts_with(b"SUDO_") || own.clone().any(|own| name == *own)
        };
        variables.retain(|(name, _)| !replaced(name));
        variables.extend([
            ("HOME".into(), user.home.clone()),
            ("USER".into(), user.name.clone()),
            ("LOGNAME".into(), user.name.clone()),
        ]);
    }
    let line = |(name, value): &(OsString, OsString)| {
        c_string(&OsString::from_vec([name.as_bytes(), b"=", value.as_bytes()].concat()))
    };
    variables.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd as _;
    use tracetui_shared::id::{Gid, Uid};

    #[test]
    fn the_environment_and_the_file_are_the_users() {
        let user = Invoker {
            uid: Uid(1000),
            gid: Gid(1000),
            groups: vec![1000],
            name: "ana".into(),
            home: "/home/ana".into(),
        };
        let all = environment(Some(&user), Some("tt")).expect("no NUL");
        for wanted in [c"HOME=/home/ana", c"USER=ana", c"LOGNAME=ana", c"TERM=tt"] {
            assert_eq!(all.iter().filter(|line| line.as_c_str() == wanted).count(), 1);
        }
        assert!(!all.iter().any(|line| line.as_bytes().starts_with(b"SUDO_")));
        assert_eq!(environment(None, None).expect("no NUL").len(), env::vars_os().count());
        assert_eq!(files(OsStr::new("./a")).expect("no NUL"), [c"./a".to_owned()]);
        let found = files(OsStr::new("a")).expect("no NUL");
        assert!(!found.is_empty() && found.iter().all(|file| file.as_bytes().ends_with(b"a")));
        assert!(files(OsStr::from_bytes(b"a\0b")).is_err());
        assert_eq!(decoded(encoded((stage::EXEC, libc::EACCES))), (stage::EXEC, libc::EACCES));
    }

    fn holds_without_close_range(check: impl FnOnce() -> bool) -> bool {
        let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
        let (load, equal, result) = (0x20, 0x15, 0x06);
        let mut steps = [
            // The number of the call is the first field of seccomp_data.
            step(load, 0, 0),
            step(equal, 1, libc::SYS_close_range as u32),
            step(result, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
            step(result, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let filter = libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() };
        // SAFETY: `filter` is live. The child only makes system calls, and ends with _exit(2).
        unsafe {
            let child = libc::fork();
            if child == 0 {
                let filtered = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                    && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) == 0
                    && libc::syscall(libc::SYS_close_range, 3, 2, 0) == -1
                    && errno() == libc::ENOSYS;
                libc::_exit(if filtered && check() { 0 } else { 1 });
            }
            let mut status = -1;
            libc::waitpid(child, &mut status, 0);
            status == 0
        }
    }

    #[test]
    fn descriptors_are_closed_without_close_range_too() {
        let file = std::fs::File::open("/dev/null").expect("a file");
        // SAFETY: the calls take numbers, and fail for a descriptor that is closed.
        let flags = |fd: RawFd| unsafe { libc::fcntl(fd, libc::F_GETFD) };
        let extra = file.as_raw_fd();
        // SAFETY: dup(2) takes a number. The descriptor has no flag then, and lives as long as the process.
        let inherited = unsafe { libc::dup(extra) };
        let open = open_descriptors();
        assert!(open.contains(&extra) && open.contains(&inherited) && flags(inherited) == 0);
        // SAFETY: only the child closes them, and uses none of them.
        assert!(holds_without_close_range(|| unsafe {
            close_at_exec(&open);
            let marked = open.iter().all(|fd| flags(*fd) == -1 || flags(*fd) == libc::FD_CLOEXEC);
            close_all(&open);
            marked && flags(0) >= 0 && open.iter().all(|fd| flags(*fd) == -1)
        }));
        assert_eq!(flags(inherited), 0, "those of this process stay");
    }
}
