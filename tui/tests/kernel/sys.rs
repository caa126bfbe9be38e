//! System calls without wrappers, so that a test knows each argument and result exactly, and processes that a test
//! controls.

use crate::prelude::*;
use rustix::fs::{MemfdFlags, memfd_create};
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) fn euid() -> u32 {
    call(libc::SYS_geteuid, &[]) as u32
}

pub(crate) fn pid() -> i32 {
    std::process::id() as i32
}

pub(crate) fn tid() -> i32 {
    call(libc::SYS_gettid, &[]) as i32
}

pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: _exit takes an integer and runs no code of this process.
    unsafe { libc::_exit(code) }
}

pub(crate) fn prctl(option: i32, value: i32) {
    call(libc::SYS_prctl, &[option as u64, value as u64]);
}

/// Ends this process with its parent, so that a failed test leaves no process behind.
pub(crate) fn end_with_the_parent() {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
}

pub(crate) fn clock(clock: libc::clockid_t) -> u64 {
    let mut time = [0u64; 2];
    assert_eq!(call(libc::SYS_clock_gettime, &[clock as u64, time.as_mut_ptr() as u64]), 0);
    time[0] * 1_000_000_000 + time[1]
}

/// Runs a closure between the fork and the exec of a command.
pub(crate) fn before_exec(command: &mut Command, act: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static) {
    // SAFETY: the closures of the callers make system calls only. Tests run one at a time, so no other thread holds a
    // lock that they need.
    unsafe { command.pre_exec(act) };
}

/// Changes the ids of this process, of which −1 stays. It is called directly because glibc's wrapper would signal other
/// threads.
pub(crate) fn set_user(real: i64, effective: i64, saved: i64) {
    assert_eq!(call(libc::SYS_setresuid, &[real as u64, effective as u64, saved as u64]), 0);
}

/// The result of a call that returns 0, or −1 and an errno.
pub(crate) fn done(ret: i64) -> std::io::Result<()> {
    if ret == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Sets the handler of a signal: `SIG_DFL`, `SIG_IGN` or [`nothing`].
pub(crate) fn signal(signal: i32, handler: libc::sighandler_t) {
    // SAFETY: no handler of the callers does anything.
    unsafe { libc::signal(signal, handler) };
}

pub(crate) fn nothing() -> libc::sighandler_t {
    extern "C" fn nothing(_: i32) {}
    nothing as *const () as libc::sighandler_t
}

pub(crate) fn mkfifo(path: &str) {
    let path = c(path);
    assert_eq!(call(libc::SYS_mknodat, &[CWD, at(&path), (libc::S_IFIFO | 0o600).into()]), 0, "mkfifo(3)");
}

pub(crate) fn run_program(program: &mut Command) -> i32 {
    let mut child = program.spawn().expect("a child");
    child.wait().expect("a status");
    child.id() as i32
}

pub(crate) fn kill(pid: i32, signal: i32) {
    call(libc::SYS_kill, &[pid as u64, signal as u64]);
}

/// The result in the form of the kernel: a value, or −errno.
fn result(ret: libc::c_long) -> i64 {
    if ret == -1 { -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { ret }
}

/// A system call with arguments that are integers, or addresses that are valid until it returns. The others are 0.
pub(crate) fn call(number: libc::c_long, args: &[u64]) -> i64 {
    let arg = |nth: usize| args.get(nth).copied().unwrap_or(0);
    // SAFETY: each caller passes addresses of memory that outlives the call, or invalid ones on purpose. For the latter
    // the kernel returns EFAULT and accesses no memory.
    result(unsafe { libc::syscall(number, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)) })
}

/// `AT_FDCWD`, for system calls.
pub(crate) const CWD: u64 = libc::AT_FDCWD as u64;

pub(crate) fn at(text: &CStr) -> u64 {
    text.as_ptr() as u64
}

/// openat(2) with any address.
pub(crate) fn openat_raw(dirfd: i32, path: *const u8, flags: i32, mode: u32) -> i64 {
    call(libc::SYS_openat, &[dirfd as u64, path as u64, flags as u64, mode.into()])
}

pub(crate) fn openat(dirfd: i32, path: &CStr, flags: i32, mode: u32) -> i64 {
    openat_raw(dirfd, path.as_ptr().cast(), flags, mode)
}

/// dup2(2) of two different descriptors, by dup3(2), which every architecture has.
pub(crate) fn dup2(from: u64, to: u64) -> i64 {
    call(libc::SYS_dup3, &[from, to])
}

/// rename(2), by renameat2(2), which every architecture has.
pub(crate) fn rename(from: &CStr, to: &CStr) -> i64 {
    call(libc::SYS_renameat2, &[CWD, at(from), CWD, at(to)])
}

/// openat2(2): flags, mode, resolve.
pub(crate) fn openat2(dirfd: i32, path: &CStr, how: [u64; 3]) -> i64 {
    let size = size_of_val(&how) as u64;
    call(libc::SYS_openat2, &[dirfd as u64, path.as_ptr() as u64, how.as_ptr() as u64, size])
}

pub(crate) fn open_path(path: &str) -> i64 {
    openat(libc::AT_FDCWD, &c(path), libc::O_RDONLY, 0)
}

/// close(2), unless the number is an error.
pub(crate) fn close(fd: i64) {
    if fd >= 0 {
        call(libc::SYS_close, &[fd as u64]);
    }
}

pub(crate) fn c(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).expect("no NUL")
}

/// Names the calling thread. The name may contain any bytes except NUL.
pub(crate) fn set_comm(name: &[u8]) {
    let name = c(name);
    call(libc::SYS_prctl, &[libc::PR_SET_NAME as u64, at(&name)]);
}

pub(crate) fn memory(name: &CStr) -> i32 {
    memfd_create(name, MemfdFlags::empty()).expect("a file in memory").into_raw_fd()
}

pub(crate) fn unshare(flags: i32) {
    done(call(libc::SYS_unshare, &[flags as u64])).unwrap_or_else(|error| panic!("unshare: {error}"));
}

pub(crate) fn mount(source: &str, target: &str, fstype: &str, flags: u64) {
    mount_with(source, target, fstype, flags, "");
}

pub(crate) fn mount_with(source: &str, target: &str, fstype: &str, flags: u64, data: &str) {
    try_mount(source, target, fstype, flags, data).unwrap_or_else(|error| panic!("{fstype} on {target}: {error}"));
}

pub(crate) fn try_mount(source: &str, target: &str, fstype: &str, flags: u64, data: &str) -> std::io::Result<()> {
    let (source, target, fstype, data) = (c(source), c(target), c(fstype), c(data));
    done(call(libc::SYS_mount, &[at(&source), at(&target), at(&fstype), flags, at(&data)]))
}

/// Mounts tracefs at its usual place, unless the machine has it there: the kernel refuses a second one with EBUSY.
pub(crate) fn mount_tracefs() {
    let place = "/sys/kernel/tracing";
    if !Path::new(place).join("events").exists() {
        mount("tracefs", place, "tracefs", 0);
    }
}

pub(crate) fn umount(target: &str) {
    let target = c(target);
    while call(libc::SYS_umount2, &[at(&target), libc::MNT_DETACH as u64]) == 0 {}
}

/// The id of `nobody` on every distribution.
pub(crate) const NOBODY: u32 = 65_534;

/// Changes the calling process to the user `nobody`, without groups, with these capabilities (bit n is number n). The
/// programs that it executes inherit them.
pub(crate) fn become_nobody_with(capabilities: u64) {
    /// `_LINUX_CAPABILITY_VERSION_3`: two words per set, each with effective, permitted and inheritable.
    const VERSION: u32 = 0x2008_0522;
    let (low, high) = (capabilities as u32, (capabilities >> 32) as u32);
    let (header, words) = ([VERSION, 0], [low, low, low, high, high, high]);
    // SAFETY: `header` and `words` have the layout of version 3 and outlive the calls. The other arguments are
    // integers, or null for no groups.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0), 0);
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(NOBODY, NOBODY, NOBODY), 0);
        assert_eq!(libc::setresuid(NOBODY, NOBODY, NOBODY), 0);
        assert_eq!(libc::syscall(libc::SYS_capset, header.as_ptr(), words.as_ptr()), 0);
        for capability in (0..64).filter(|n| capabilities & (1 << n) != 0) {
            assert_eq!(libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0), 0);
        }
    }
}

/// Moves the caller to its own mount namespace, from which no mounts propagate.
pub(crate) fn own_mounts() {
    unshare(libc::CLONE_NEWNS);
    mount("none", "/", "none", libc::MS_REC | libc::MS_PRIVATE);
}

/// For a process that is about to exec. It continues as process 1 of its own pid namespace, with a matching /proc. The
/// original process waits for that one and ends with its status.
pub(crate) fn own_pids() {
    own_mounts();
    unshare(libc::CLONE_NEWPID);
    // SAFETY: the child proceeds to exec, and the parent makes system calls only.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        return mount("proc", "/proc", "proc", 0);
    }
    // The outputs of the child must be closed when it ends, so this process must not hold them.
    call(libc::SYS_close_range, &[0, u32::MAX.into()]);
    let status = wait(child);
    exit(status.code().unwrap_or(128 + status.signal().unwrap_or(0)));
}

/// Mapped memory, for tests at its boundaries.
pub(crate) struct Pages {
    at: *mut u8,
    len: usize,
}

pub(crate) fn page() -> usize {
    // SAFETY: sysconf(3) takes an integer.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("a size")
}

impl Pages {
    /// Maps `pages` new pages, with `flags` in addition to MAP_PRIVATE and MAP_ANONYMOUS.
    pub(crate) fn new(pages: usize, flags: i32) -> Pages {
        Pages::map(0, pages * page(), 0, flags)
    }

    /// Maps `len` bytes near an address or, with MAP_FIXED_NOREPLACE, at it. `prot` is in addition to PROT_READ and
    /// PROT_WRITE.
    pub(crate) fn map(near: usize, len: usize, prot: i32, flags: i32) -> Pages {
        let (prot, flags) =
            (prot | libc::PROT_READ | libc::PROT_WRITE, flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: the mapping replaces no other one, because no caller passes MAP_FIXED.
        let at = unsafe { libc::mmap(std::ptr::without_provenance_mut(near), len, prot, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        Pages { at: at.cast(), len }
    }

    /// Copies bytes into the mapping. Returns their address.
    pub(crate) fn put(&self, offset: usize, bytes: &[u8]) -> *const u8 {
        assert!(offset + bytes.len() <= self.len, "inside of the mapping");
        // SAFETY: the bytes are inside of this mapping, as checked above, and nothing else refers to it.
        unsafe {
            let to = self.at.add(offset);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
            to
        }
    }

    pub(crate) fn unmap_from(&mut self, page: usize) {
        let keep = page * self::page();
        // SAFETY: the range is the rest of this mapping, which `put` no longer accesses.
        unsafe { libc::munmap(self.at.add(keep).cast(), self.len - keep) };
        self.len = keep;
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: this value owns the mapping, and nothing refers to it any more.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}

/// The status of a process from waitpid(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) i32);

impl Status {
    /// WEXITSTATUS, if the process exited.
    pub(crate) fn code(self) -> Option<i32> {
        libc::WIFEXITED(self.0).then(|| libc::WEXITSTATUS(self.0))
    }

    /// WTERMSIG, if a signal ended the process.
    pub(crate) fn signal(self) -> Option<i32> {
        libc::WIFSIGNALED(self.0).then(|| libc::WTERMSIG(self.0))
    }

    pub(crate) fn core(self) -> bool {
        libc::WCOREDUMP(self.0)
    }
}

/// Waits until a condition holds, longer than any takes on an emulated machine.
#[track_caller]
pub(crate) fn wait_until(mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(180);
    while !holds() {
        assert!(Instant::now() < patience, "it never happens");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Forks. The child runs `act`, and exits with 0, or with 101 after a panic.
pub(crate) fn fork<T>(act: impl FnOnce() -> T) -> i32 {
    // SAFETY: the child runs the closure and leaves by _exit. glibc makes its allocator usable after fork. Tests run one
    // at a time, so no other thread holds a lock that the closure takes.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        end_after(|| _ = act());
    }
    pid
}

/// The rest of a child. The harness captures what a panic prints, and nobody sees the child's copy. The message therefore
/// goes to stderr directly.
fn end_after(act: impl FnOnce()) -> ! {
    std::panic::set_hook(Box::new(|panic| _ = writeln!(std::io::stderr(), "child {}: {panic}", pid())));
    exit(catch_unwind(AssertUnwindSafe(act)).map_or(101, |()| 0));
}

/// A child of the test that runs a closure after [`go`](Self::go).
pub(crate) struct Actor {
    pub(crate) pid: i32,
    wire: UnixStream,
    waited: bool,
}

impl Actor {
    /// Forks. After [`go`](Self::go) the child runs `act`, sends the resulting numbers, and ends as in [`fork`].
    pub(crate) fn new(act: impl FnOnce() -> Vec<i64>) -> Actor {
        alone();
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let end = i64::from(ours.as_raw_fd());
        let pid = fork(|| {
            close(end);
            child(theirs, act);
        });
        Actor { pid, wire: ours, waited: false }
    }

    pub(crate) fn go(&mut self) {
        self.wire.write_all(&[1]).expect("the actor listens");
    }

    pub(crate) fn end(mut self) -> (Status, Vec<i64>) {
        let mut bytes = Vec::new();
        // The connection of a killed actor is reset.
        let _ = self.wire.read_to_end(&mut bytes);
        let numbers = bytes.chunks_exact(8).map(|n| i64::from_le_bytes(n.try_into().expect("eight bytes")));
        (self.wait(), numbers.collect())
    }

    pub(crate) fn run(mut self) -> Vec<i64> {
        self.go();
        let (status, numbers) = self.end();
        assert_eq!(status.code(), Some(0), "the actor did what it was told: {status:?}");
        numbers
    }

    fn wait(&mut self) -> Status {
        self.waited = true;
        wait(self.pid)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        if !self.waited {
            kill(self.pid, libc::SIGKILL);
            self.wait();
        }
    }
}

fn child(mut wire: UnixStream, act: impl FnOnce() -> Vec<i64>) {
    if wire.read_exact(&mut [0]).is_err() {
        return;
    }
    for number in act() {
        wire.write_all(&number.to_le_bytes()).expect("the test listens");
    }
}

/// Like [`fork`], by clone3(2) in a process with one thread. The child has this process id. `Err` contains the errno if the kernel lacks the call (before 5.5) or rejects it.
pub(crate) fn fork_with_id(pid: i32, act: impl FnOnce()) -> Result<i32, i32> {
    /// `struct clone_args` up to `set_tid_size`.
    #[derive(Default)]
    #[repr(C)]
    struct CloneArgs {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
    }
    let (exit_signal, set_tid) = (libc::SIGCHLD as u64, (&raw const pid) as u64);
    let args = CloneArgs { exit_signal, set_tid, set_tid_size: 1, ..CloneArgs::default() };
    let size = size_of::<CloneArgs>() as u64;
    match call(libc::SYS_clone3, &[(&raw const args) as u64, size]) {
        0 => end_after(act),
        child if child > 0 => Ok(child as i32),
        error => Err(-error as i32),
    }
}

pub(crate) fn wait(pid: i32) -> Status {
    let mut status = 0;
    // SAFETY: `status` is a live local.
    let got = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(got, pid, "waitpid: {}", std::io::Error::last_os_error());
    Status(status)
}

pub(crate) fn pipe() -> [i32; 2] {
    let mut ends = [0; 2];
    assert_eq!(call(libc::SYS_pipe2, &[ends.as_mut_ptr() as u64]), 0);
    ends
}

pub(crate) fn owned(fd: i64) -> OwnedFd {
    assert!(fd >= 0, "a descriptor, not {fd}");
    // SAFETY: a system call just returned this descriptor to the caller, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

pub(crate) fn raw(fd: &OwnedFd) -> i32 {
    fd.as_raw_fd()
}

#[test]
fn a_failing_child_shows_its_message() {
    let dir = Dir::alone();
    let stderr = dir.file("stderr");
    let mut child = Actor::new(|| {
        let file = owned(openat(libc::AT_FDCWD, &c(stderr.as_str()), libc::O_WRONLY, 0));
        assert_eq!(dup2(raw(&file) as u64, 2), 2);
        unshare(-1);
        vec![]
    });
    child.go();
    assert_eq!(child.end().0.code(), Some(101));
    let said = fs::read_to_string(stderr).expect("a file");
    assert!(said.contains("sys.rs:") && said.contains("unshare: Invalid argument"), "{said}");
}

#[test]
fn tracefs_may_be_mounted_already() {
    let Some(()) = alone_as_root() else { return };
    let child = Actor::new(|| {
        own_mounts();
        mount_tracefs();
        mount_tracefs();
        vec![]
    });
    child.run();
}
