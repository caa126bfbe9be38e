//! System calls as they are, so that a test knows each argument and result exactly, and processes that do what they
//! are told.

use std::ffi::{CStr, CString};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The effective user.
pub(crate) fn euid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

/// This process.
pub(crate) fn pid() -> i32 {
    std::process::id() as i32
}

/// The calling thread.
pub(crate) fn tid() -> i32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::gettid() }
}

/// Sends a signal.
pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: integers only.
    unsafe { libc::kill(pid, signal) };
}

/// The result as the kernel gives it: a value, or −errno.
fn result(ret: libc::c_long) -> i64 {
    if ret == -1 { -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { ret }
}

/// A system call whose arguments are integers, or addresses that stay good until it returns.
pub(crate) fn call(number: libc::c_long, args: [u64; 5]) -> i64 {
    // SAFETY: each caller passes addresses of memory that outlives the call, or bad ones on purpose: then the kernel
    // answers EFAULT and touches nothing.
    result(unsafe { libc::syscall(number, args[0], args[1], args[2], args[3], args[4]) })
}

/// openat(2) with whatever address.
pub(crate) fn openat_raw(dirfd: i32, path: *const u8, flags: i32, mode: u32) -> i64 {
    call(libc::SYS_openat, [dirfd as u64, path as u64, flags as u64, mode.into(), 0])
}

/// openat(2).
pub(crate) fn openat(dirfd: i32, path: &CStr, flags: i32, mode: u32) -> i64 {
    openat_raw(dirfd, path.as_ptr().cast(), flags, mode)
}

/// dup2(2) of two descriptors that differ, by dup3(2), which every architecture has.
pub(crate) fn dup2(from: u64, to: u64) -> i64 {
    call(libc::SYS_dup3, [from, to, 0, 0, 0])
}

/// rename(2), by renameat2(2), which every architecture has.
pub(crate) fn rename(from: &CStr, to: &CStr) -> i64 {
    let cwd = libc::AT_FDCWD as u64;
    call(libc::SYS_renameat2, [cwd, from.as_ptr() as u64, cwd, to.as_ptr() as u64, 0])
}

/// openat2(2): flags, mode, resolve.
pub(crate) fn openat2(dirfd: i32, path: &CStr, how: [u64; 3]) -> i64 {
    let size = size_of_val(&how) as u64;
    call(libc::SYS_openat2, [dirfd as u64, path.as_ptr() as u64, how.as_ptr() as u64, size, 0])
}

/// Opens for reading, relative to the working directory.
pub(crate) fn open_path(path: &str) -> i64 {
    openat(libc::AT_FDCWD, &c(path), libc::O_RDONLY, 0)
}

/// close(2), if there is something to close.
pub(crate) fn close(fd: i64) {
    if fd >= 0 {
        call(libc::SYS_close, [fd as u64, 0, 0, 0, 0]);
    }
}

/// A C string.
pub(crate) fn c(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).expect("no NUL")
}

/// Names the calling thread; any bytes but NUL.
pub(crate) fn set_comm(name: &[u8]) {
    let name = c(name);
    // SAFETY: a C string that outlives the call.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// unshare(2).
pub(crate) fn unshare(flags: i32) {
    // SAFETY: integers only.
    let ret = unsafe { libc::unshare(flags) };
    assert_eq!(ret, 0, "unshare: {}", std::io::Error::last_os_error());
}

/// mount(2) without data.
pub(crate) fn mount(source: &str, target: &str, fstype: &str, flags: u64) {
    mount_with(source, target, fstype, flags, "");
}

/// mount(2).
pub(crate) fn mount_with(source: &str, target: &str, fstype: &str, flags: u64, data: &str) {
    let (source, target, fstype, data) = (c(source), c(target), c(fstype), c(data));
    let data = data.as_ptr().cast();
    // SAFETY: C strings that outlive the call.
    let ret = unsafe { libc::mount(source.as_ptr(), target.as_ptr(), fstype.as_ptr(), flags, data) };
    assert_eq!(ret, 0, "mount: {}", std::io::Error::last_os_error());
}

/// Takes away every mount at a place and below, if there is any.
pub(crate) fn umount(target: &str) {
    let target = c(target);
    // SAFETY: a C string that outlives the call.
    while unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) } == 0 {}
}

/// A terminal: our end and the program's.
pub(crate) fn terminal() -> (OwnedFd, OwnedFd) {
    let (mut ours, mut theirs) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: places for two descriptors; no name, no settings, no size.
    let ret = unsafe { libc::openpty(&raw mut ours, &raw mut theirs, none, none.cast(), none.cast()) };
    assert_eq!(ret, 0, "openpty: {}", std::io::Error::last_os_error());
    for fd in [ours, theirs] {
        // SAFETY: integers only. A program that had our end too would never see it close.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    (owned(ours.into()), owned(theirs.into()))
}

/// `nobody`, on every distribution.
pub(crate) const NOBODY: u32 = 65_534;

/// Makes the calling process nobody's, without groups, and gives it these capabilities (bit n is number n), which what it
/// executes inherits.
pub(crate) fn become_nobody_with(capabilities: u64) {
    /// `_LINUX_CAPABILITY_VERSION_3`: two words a set, each effective, permitted, inheritable.
    const VERSION: u32 = 0x2008_0522;
    let (low, high) = (capabilities as u32, (capabilities >> 32) as u32);
    let (header, words) = ([VERSION, 0], [low, low, low, high, high, high]);
    // SAFETY: integers, and places that outlive the calls and are as large as version 3 says.
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

/// A mount namespace of the caller's own, from which nothing spreads.
pub(crate) fn own_mounts() {
    unshare(libc::CLONE_NEWNS);
    mount("none", "/", "none", libc::MS_REC | libc::MS_PRIVATE);
}

/// For a process that is about to exec: it goes on as the first of a pid namespace of its own, with a /proc of that. The
/// process that it was waits for that one, and ends as it does.
pub(crate) fn own_pids() {
    own_mounts();
    unshare(libc::CLONE_NEWPID);
    // SAFETY: the child goes on to exec; the parent makes system calls only.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        return mount("proc", "/proc", "proc", 0);
    }
    // What the child's output goes to is to be closed when the child ends, and is not ours to hold.
    call(libc::SYS_close_range, [0, u32::MAX.into(), 0, 0, 0]);
    let status = wait(child);
    // SAFETY: ends the process.
    unsafe { libc::_exit(status.code().unwrap_or(128 + status.signal().unwrap_or(0))) };
}

/// Memory mapped for a test about its borders.
pub(crate) struct Pages {
    at: *mut u8,
    len: usize,
}

/// The size of a page.
pub(crate) fn page() -> usize {
    // SAFETY: an integer only.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("a size")
}

impl Pages {
    /// So many fresh pages; `flags` beside MAP_PRIVATE and MAP_ANONYMOUS.
    pub(crate) fn new(pages: usize, flags: i32) -> Pages {
        Pages::map(0, pages * page(), 0, flags)
    }

    /// The same in bytes, near this address or, with MAP_FIXED_NOREPLACE, at it; `prot` beside PROT_READ and PROT_WRITE.
    pub(crate) fn map(near: usize, len: usize, prot: i32, flags: i32) -> Pages {
        let (prot, flags) =
            (prot | libc::PROT_READ | libc::PROT_WRITE, flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping where nothing is: no caller passes MAP_FIXED.
        let at = unsafe { libc::mmap(std::ptr::without_provenance_mut(near), len, prot, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        Pages { at: at.cast(), len }
    }

    /// Copies bytes in; their address.
    pub(crate) fn put(&self, offset: usize, bytes: &[u8]) -> *const u8 {
        assert!(offset + bytes.len() <= self.len, "inside of the mapping");
        // SAFETY: inside of our own mapping, checked above; nothing else refers to it.
        unsafe {
            let to = self.at.add(offset);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
            to
        }
    }

    /// Takes the pages from this one on away.
    pub(crate) fn unmap_from(&mut self, page: usize) {
        let keep = page * self::page();
        // SAFETY: the rest of our own mapping, which `put` does not reach any more.
        unsafe { libc::munmap(self.at.add(keep).cast(), self.len - keep) };
        self.len = keep;
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: our own mapping; nothing refers to it any more.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}

/// How a process ended, as waitpid(2) tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) i32);

impl Status {
    /// WEXITSTATUS, if it exited.
    pub(crate) fn code(self) -> Option<i32> {
        libc::WIFEXITED(self.0).then(|| libc::WEXITSTATUS(self.0))
    }

    /// WTERMSIG, if a signal ended it.
    pub(crate) fn signal(self) -> Option<i32> {
        libc::WIFSIGNALED(self.0).then(|| libc::WTERMSIG(self.0))
    }

    /// WCOREDUMP.
    pub(crate) fn core(self) -> bool {
        libc::WCOREDUMP(self.0)
    }
}

/// A child of the test that holds a closure until [`go`](Self::go).
pub(crate) struct Actor {
    /// Its process id.
    pub(crate) pid: i32,
    wire: UnixStream,
    waited: bool,
}

impl Actor {
    /// Forks; the child does `act` once it is told to, hands over the numbers that it returns and exits with 0, or with
    /// 101 when it panicked.
    pub(crate) fn new(act: impl FnOnce() -> Vec<i64>) -> Actor {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        // SAFETY: the child runs our closure and leaves by _exit. glibc makes its allocator usable after fork, and no
        // other lock that the closures take is held by another thread: tests run one at a time.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
        if pid == 0 {
            drop(ours);
            let code = catch_unwind(AssertUnwindSafe(|| child(theirs, act))).map_or(101, |()| 0);
            // SAFETY: ends the child without running anything of the test's harness.
            unsafe { libc::_exit(code) };
        }
        Actor { pid, wire: ours, waited: false }
    }

    /// Lets it act.
    pub(crate) fn go(&mut self) {
        self.wire.write_all(&[1]).expect("the actor listens");
    }

    /// Waits for its end: how it ended, and the numbers that it handed over.
    pub(crate) fn end(mut self) -> (Status, Vec<i64>) {
        let mut bytes = Vec::new();
        // An actor that is killed leaves a reset connection.
        let _ = self.wire.read_to_end(&mut bytes);
        let numbers = bytes.chunks_exact(8).map(|n| i64::from_le_bytes(n.try_into().expect("eight bytes")));
        (self.wait(), numbers.collect())
    }

    /// Lets it act, and waits for an end without a panic.
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
    // The harness would catch what a panic prints; the child's goes to the terminal by itself.
    if wire.read_exact(&mut [0]).is_err() {
        return;
    }
    for number in act() {
        wire.write_all(&number.to_le_bytes()).expect("the test listens");
    }
}

/// clone3(2) of a process with one thread: the child has this process id, does `act` and ends. `Err` with the error's number
/// where the kernel has no such call (before 5.5) or refuses it.
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
    match call(libc::SYS_clone3, [(&raw const args) as u64, size, 0, 0, 0]) {
        0 => {
            act();
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) }
        }
        child if child > 0 => Ok(child as i32),
        error => Err(-error as i32),
    }
}

/// waitpid(2).
pub(crate) fn wait(pid: i32) -> Status {
    let mut status = 0;
    // SAFETY: a place for the status.
    let got = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(got, pid, "waitpid: {}", std::io::Error::last_os_error());
    Status(status)
}

/// A descriptor to hold on to.
pub(crate) fn owned(fd: i64) -> OwnedFd {
    assert!(fd >= 0, "a descriptor, not {fd}");
    // SAFETY: the caller has just got it from the kernel and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// Its number, for system calls.
pub(crate) fn raw(fd: &OwnedFd) -> i32 {
    fd.as_raw_fd()
}
