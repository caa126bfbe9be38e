//! Calls that really fail, and their answers. They run in children that have the mounts, the root and the ids of a
//! case. The tests need root, and report if they do not have it.

use super::path_walk::Stop;
use super::{answer, look};
use std::ffi::CString;
use std::fs;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::PathBuf;
use tracetui_events::event::names::{O_CREAT, O_EXCL};
use tracetui_events::event::process::ProcessKey;
use tracetui_events::synthetic::Scratch;
use tracetui_events::why::{Answer, Cause, FailedCall, Need, Question, SearchDir, Who, proven_by};
use tracetui_host::confine::{Role, enter};
use tracetui_host::procfs::Scanner;
use tracetui_shared::id::{NsInum, Tgid, Tid};

/// A user without an account. [`OTHER`] is another one.
const USER: u32 = 4242;
const OTHER: u32 = 4343;
/// The descriptor at which a path starts. Other tests of this process have lower ones.
const DIR_FD: i32 = 700;

/// An action of a child before the call. All data is prepared before the fork. Afterwards the child only makes system
/// calls.
enum Step {
    Mounts,
    /// Mounts a tmpfs with flags of mount(2).
    Mount(CString, libc::c_ulong),
    /// Changes the flags of a mount.
    Remount(CString, libc::c_ulong),
    /// Creates a file with mode 0755.
    Put(CString, &'static [u8]),
    Link(CString, CString),
    Chroot(CString),
    Chdir(CString),
    Rmdir(CString),
    /// Switches to a user, a group of the same number, and no other groups.
    User(u32),
    Files(u64),
}

enum Act {
    Open(CString, i32),
    At(CString, CString, i32),
    /// Opens a path relative to a descriptor that is not open.
    Nowhere(CString),
    Exec(CString, Vec<CString>),
    /// Executes a path relative to a descriptor that is closed on exec.
    ExecAt(CString, CString),
    /// Another call, which needs this of the path.
    Path(CString, Need),
}

struct Case {
    name: &'static str,
    steps: Vec<Step>,
    act: Act,
    cause: Cause,
    says: String,
    near: Option<&'static str>,
    /// Whether the lookup happens after the process ended.
    ended: bool,
    /// Whether other opens show where a relative path starts.
    unknown: bool,
}

fn c(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).expect("no NUL")
}

/// Runs the steps and the call in a forked child, without allocating. Returns the error.
///
/// # Safety
/// Call this only in a forked child.
unsafe fn run(steps: &[Step], act: &Act, argv: &[*const libc::c_char]) -> i32 {
    let failed = || -1000 - std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    let empty = c"".as_ptr();
    for step in steps {
        // SAFETY: every pointer is that of a string or an array that outlives the call.
        let done = unsafe {
            match step {
                Step::Mounts => {
                    let private = libc::MS_REC | libc::MS_PRIVATE;
                    match libc::unshare(libc::CLONE_NEWNS) {
                        0 => libc::mount(empty, c"/".as_ptr(), empty, private, std::ptr::null()),
                        _ => -1,
                    }
                }
                Step::Mount(at, flags) => {
                    libc::mount(c"tmpfs".as_ptr(), at.as_ptr(), c"tmpfs".as_ptr(), *flags, c"mode=0755".as_ptr().cast())
                }
                Step::Remount(at, flags) => {
                    libc::mount(empty, at.as_ptr(), empty, libc::MS_REMOUNT | libc::MS_BIND | *flags, std::ptr::null())
                }
                Step::Put(at, content) => {
                    let fd = libc::open(at.as_ptr(), libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC, 0o755);
                    libc::write(fd, content.as_ptr().cast(), content.len());
                    libc::close(fd)
                }
                Step::Link(target, at) => libc::symlink(target.as_ptr(), at.as_ptr()),
                Step::Chroot(to) => libc::chroot(to.as_ptr()),
                Step::Chdir(to) => libc::chdir(to.as_ptr()),
                Step::Rmdir(at) => libc::rmdir(at.as_ptr()),
                Step::User(id) => {
                    let groups = libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>()) == 0;
                    let group = libc::syscall(libc::SYS_setresgid, *id, *id, *id) == 0;
                    let user = libc::syscall(libc::SYS_setresuid, *id, *id, *id) == 0;
                    if groups && group && user { 0 } else { -1 }
                }
                Step::Files(most) => {
                    let limit = libc::rlimit { rlim_cur: *most, rlim_max: *most };
                    libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
                }
            }
        };
        if done != 0 {
            return failed();
        }
    }
    // SAFETY: as above; `argv` ends with a null pointer.
    let result = unsafe {
        match act {
            Act::Open(path, flags) => libc::open(path.as_ptr(), *flags, 0o644),
            Act::At(dir, path, flags) => {
                libc::dup2(libc::open(dir.as_ptr(), libc::O_RDONLY), DIR_FD);
                libc::openat(DIR_FD, path.as_ptr(), *flags, 0o644)
            }
            Act::Nowhere(path) => libc::openat(777, path.as_ptr(), libc::O_RDONLY),
            Act::Exec(path, _) => libc::execve(path.as_ptr(), argv.as_ptr(), [std::ptr::null()].as_ptr()),
            Act::ExecAt(dir, path) => {
                libc::dup3(libc::open(dir.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC), DIR_FD, libc::O_CLOEXEC);
                let none = [std::ptr::null::<libc::c_char>()];
                let (argv, envp) = (none.as_ptr(), none.as_ptr());
                libc::syscall(libc::SYS_execveat, DIR_FD, path.as_ptr(), argv, envp, libc::AT_EMPTY_PATH) as i32
            }
            Act::Path(path, Need::New) => libc::mkdir(path.as_ptr(), 0o700),
            Act::Path(path, Need::Removable) => libc::unlink(path.as_ptr()),
            Act::Path(path, Need::Owned) => libc::chmod(path.as_ptr(), 0o700),
            Act::Path(path, Need::Linkable) => {
                libc::link(path.as_ptr(), c([path.as_bytes(), b".new"].concat()).as_ptr())
            }
            Act::Path(path, Need::Socket | Need::AbstractSocket) => {
                let mut address: libc::sockaddr_un = std::mem::zeroed();
                address.sun_family = libc::AF_UNIX as u16;
                for (to, from) in address.sun_path.iter_mut().zip(path.as_bytes()) {
                    *to = from.cast_signed();
                }
                let socket = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0);
                libc::connect(socket, (&raw const address).cast(), size_of_val(&address) as u32)
            }
            Act::Path(path, Need::Access(want)) => libc::access(path.as_ptr(), i32::from(*want)),
            Act::Path(path, Need::Flags { flags, .. }) => libc::open(path.as_ptr(), *flags as i32, 0o644),
            Act::Path(path, Need::Program) => libc::execve(path.as_ptr(), argv.as_ptr(), [std::ptr::null()].as_ptr()),
        }
    };
    if result >= 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) }
}

/// A child that made its call and waits.
struct Child {
    pid: i32,
    errno: i32,
}

impl Child {
    fn of(case: &Case) -> Child {
        let argv: Vec<*const libc::c_char> = match &case.act {
            Act::Exec(_, argv) => argv.iter().map(|arg| arg.as_ptr()).chain([std::ptr::null()]).collect(),
            _ => Vec::new(),
        };
        let (mut out, into) = std::io::pipe().expect("descriptors");
        // SAFETY: the child makes system calls only, and never returns.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: it is a forked child.
            unsafe {
                let errno = run(&case.steps, &case.act, &argv).to_le_bytes();
                libc::write(into.as_raw_fd(), errno.as_ptr().cast(), errno.len());
                loop {
                    libc::pause();
                }
            }
        }
        assert!(pid > 0, "no process");
        drop(into);
        let mut errno = [0; 4];
        let read = out.read_exact(&mut errno);
        let child = Child { pid, errno: i32::from_le_bytes(errno) };
        read.unwrap_or_else(|_| panic!("{}: it was executed", case.name));
        child
    }

    fn end(&self) {
        // SAFETY: this is a child of this process, and was not waited for.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }

    fn link(&self, name: &str) -> Vec<u8> {
        let target = fs::read_link(format!("/proc/{}/{name}", self.pid)).expect("a link");
        target.as_os_str().as_bytes().to_vec()
    }

    /// The question that the event of the call would raise.
    fn question(&self, case: &Case) -> Question {
        let ns = String::from_utf8(self.link("ns/mnt")).expect("text");
        let ns = ns.trim_start_matches("mnt:[").trim_end_matches(']').parse().expect("a number");
        let path = match &case.act {
            Act::Open(path, _) | Act::At(_, path, _) | Act::Nowhere(path) | Act::Exec(path, _) => path,
            Act::ExecAt(_, path) | Act::Path(path, _) => path,
        };
        let (flags, dirfd) = match &case.act {
            Act::Open(_, flags) => (*flags as u64, libc::AT_FDCWD),
            Act::At(_, _, flags) => (*flags as u64, DIR_FD),
            Act::ExecAt(..) => (0, DIR_FD),
            Act::Nowhere(_) => (0, 777),
            Act::Exec(..) | Act::Path(..) => (0, libc::AT_FDCWD),
        };
        let is_exec = matches!(case.act, Act::Exec(..) | Act::ExecAt(..));
        let id = case.steps.iter().find_map(|step| match step {
            Step::User(id) => Some(*id),
            _ => None,
        });
        let id = id.unwrap_or(0);
        Question {
            process: who(self.pid as u32),
            tid: Tid(self.pid as u32),
            ancestors: vec![who(std::process::id())],
            mnt_ns: NsInum(ns),
            ns_pid: Tgid(self.pid as u32),
            time: super::clock::now_boot(),
            call: match case.act {
                Act::Path(_, need) => FailedCall { dirfd, follow: need != Need::Removable, need },
                _ if is_exec => FailedCall { dirfd, follow: true, need: Need::Program },
                _ => FailedCall { dirfd, follow: true, need: Need::Flags { flags, resolve: 0 } },
            },
            path: path.as_bytes().to_vec(),
            errno: self.errno,
            root: (!is_exec).then(|| self.link("root")),
            start: (!case.unknown).then(|| self.start(dirfd)).flatten(),
            ids: (id, id),
            proven: None,
            others: Vec::new(),
            places: 1,
            next: None,
        }
    }

    /// The directory at which a relative path starts.
    fn start(&self, dirfd: i32) -> Option<Vec<u8>> {
        let name = if dirfd == libc::AT_FDCWD { "cwd".to_owned() } else { format!("fd/{dirfd}") };
        let target = fs::read_link(format!("/proc/{}/{name}", self.pid)).ok()?.into_os_string().into_vec();
        (!target.ends_with(b" (deleted)")).then_some(target)
    }
}

fn who(pid: u32) -> Who {
    let seed = Scanner::new().expect("/proc").process(Tgid(pid), |_| None).expect("it runs");
    Who { key: ProcessKey { tgid: Tgid(pid), start: seed.start }, comm: b"test".to_vec() }
}

/// The answer of a case. `None` if the kernel does not refuse.
fn said(case: &Case) -> Option<Answer> {
    let child = Child::of(case);
    let errno = child.errno;
    assert!(errno > -1000, "{}: cannot be built: {}", case.name, std::io::Error::from_raw_os_error(-errno - 1000));
    if errno == 0 {
        child.end();
        return None;
    }
    let question = child.question(case);
    if case.ended {
        child.end();
    }
    let proven =
        proven_by(errno, &question.call, Some(&question.path), false).filter(|known| known.cause != Cause::ReadOnly);
    let answer = proven.unwrap_or_else(|| {
        // The thread gets the rights that a trace's lookup thread has.
        let looked = std::thread::spawn(move || {
            enter(Role::Reader).expect("rights can always be given up");
            look(&question)
        });
        looked.join().expect("no panic")
    });
    if !case.ended {
        child.end();
    }
    Some(answer)
}

struct Dir(Scratch);

impl Dir {
    fn new(name: &str) -> Dir {
        let dir = Dir(Scratch::new(name));
        dir.mode("", 0o755);
        dir
    }

    fn at(&self, name: &str) -> PathBuf {
        let dir = fs::canonicalize(&*self.0).expect("it is there");
        if name.is_empty() { dir } else { dir.join(name) }
    }

    fn c(&self, name: &str) -> CString {
        c(self.at(name).as_os_str().as_bytes())
    }

    fn s(&self, name: &str) -> String {
        self.at(name).to_str().expect("text").to_owned()
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).expect("ours");
    }

    fn dir(&self, name: &str, mode: u32) {
        fs::create_dir_all(self.at(name)).expect("room");
        self.mode(name, mode);
    }

    fn file(&self, name: &str, mode: u32, content: &[u8]) {
        fs::write(self.at(name), content).expect("room");
        self.mode(name, mode);
    }

    fn link(&self, name: &str, target: &str) {
        symlink(target, self.at(name)).expect("room");
    }

    fn own(&self, name: &str, id: u32) {
        std::os::unix::fs::lchown(self.at(name), Some(id), Some(id)).expect("root");
    }
}

/// A program of this machine with a changed ELF header.
fn program(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = fs::read("/bin/true").expect("coreutils");
    change(&mut bytes);
    bytes
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("it is there");
    bytes[at..at + to.len()].copy_from_slice(to);
}

/// `system.posix_acl_access`: the user [`USER`] has no rights, all others may read.
fn acl_without_user() -> Vec<u8> {
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in [(1u16, 6u16, !0), (2, 0, USER), (4, 4, !0), (16, 4, !0), (32, 4, !0u32)] {
        value.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat());
        value.extend(id.to_le_bytes());
    }
    value
}

const R: i32 = libc::O_RDONLY;
const W: i32 = libc::O_WRONLY;

fn open(name: &'static str, path: impl Into<Vec<u8>>, flags: i32, cause: Cause, says: impl Into<String>) -> Case {
    let act = Act::Open(c(path), flags);
    Case { name, steps: Vec::new(), act, cause, says: says.into(), near: None, ended: false, unknown: false }
}

fn exec(name: &'static str, path: impl Into<Vec<u8>>, cause: Cause, says: impl Into<String>) -> Case {
    let path = c(path);
    let act = Act::Exec(path.clone(), vec![path]);
    Case { name, steps: Vec::new(), act, cause, says: says.into(), near: None, ended: false, unknown: false }
}

fn path(name: &'static str, path: impl Into<Vec<u8>>, need: Need, cause: Cause, says: impl Into<String>) -> Case {
    let path = c(path);
    Case { act: Act::Path(path.clone(), need), ..open(name, path.into_bytes(), R, cause, says) }
}

impl Case {
    fn near(self, near: &'static str) -> Case {
        Case { near: Some(near), ..self }
    }

    fn after(mut self, steps: impl IntoIterator<Item = Step>) -> Case {
        self.steps.extend(steps);
        self
    }

    fn by_user(self) -> Case {
        self.after([Step::User(USER)])
    }

    fn unknown(self) -> Case {
        Case { unknown: true, ..self }
    }

    fn ended(self) -> Case {
        Case { ended: true, ..self }
    }
}

fn build(d: &Dir) {
    d.dir("include", 0o755);
    d.file("include/stdio.h", 0o644, b"x");
    d.file("file", 0o644, b"x");
    d.link("dangle", "/no-such-place/x");
    d.link("dangledir", "nowhere");
    d.link("loop", "loop");
    d.link("ping", "pong");
    d.link("pong", "ping");
    d.link("tofile", "file");
    d.link("toinclude", "include");
    d.dir("locked", 0o700);
    d.file("locked/file", 0o644, b"x");
    d.file("secret", 0o600, b"x");
    d.file("grouped", 0o640, b"x");
    chown(d.at("grouped"), None, Some(OTHER)).expect("root");
    d.file("mine", 0o070, b"x");
    d.own("mine", USER);
    for mount in ["ro", "tmp", "noexec", "nofollow"] {
        d.dir(mount, 0o755);
    }
    d.dir("jail/data", 0o755);
    d.dir("jail/etc", 0o755);
    d.file("jail/etc/nothing-else", 0o644, b"");
    d.file("jail/data/inside", 0o644, b"");
    d.link("jail/todata", "/data");
    d.dir("gone", 0o755);
    d.file("acl", 0o644, b"x");
    d.dir("bin", 0o755);
    d.file("bin/plain", 0o644, b"#!/bin/sh\n");
    d.file("bin/rootonly", 0o700, b"#!/bin/sh\n");
    d.file("bin/nointerp", 0o755, b"#!/no/such/interpreter -x\n");
    d.file("bin/crlf", 0o755, b"#!/bin/sh\r\necho\r\n");
    d.file("bin/text", 0o755, b"echo hello\n");
    d.file("bin/empty", 0o755, b"");
    d.file("bin/byplain", 0o755, format!("#!{}\n", d.s("bin/plain")).as_bytes());
    d.file("bin/nothing", 0o755, b"#!\n");
    d.file("bin/data", 0o755, b"\x00\x01\x02\x03\x04\x05\x06\x07");
    d.file("bin/noloader", 0o755, &program(|bytes| replace(bytes, b"/ld-linux", b"/ld-lunix")));
    let foreign = if cfg!(target_arch = "x86_64") { 183u16 } else { 62 };
    d.file("bin/foreign", 0o755, &program(|bytes| bytes[18..20].copy_from_slice(&foreign.to_le_bytes())));
    d.file("bin/object", 0o755, &program(|bytes| bytes[16] = 1));
    for number in 0..8 {
        let next = format!("#!{}\n", d.s(&format!("bin/deep{}", number + 1)));
        d.file(&format!("bin/deep{number}"), 0o755, next.as_bytes());
    }
    d.file("bin/deep8", 0o755, b"#!/bin/sh\n");
    d.file("bin/busy", 0o755, &program(|_| {}));
    d.file("bin/running", 0o755, &fs::read("/bin/sleep").expect("coreutils"));
    d.link("bin/dangling", "gcc-99");
}

fn opens(d: &Dir) -> Vec<Case> {
    use Cause::*;
    let own = |mount: &str, flags| [Step::Mounts, Step::Mount(d.c(mount), flags)];
    let create = O_CREAT as i32 | W;
    vec![
        path("a removal of nothing", d.s("include/stdoi.h"), Need::Removable, Missing, "no stdoi.h in").near("stdio.h"),
        path("a removal by another user", d.s("file"), Need::Removable, NoPermission, "may not remove files from it")
            .by_user(),
        path("a new name that exists", d.s("include"), Need::New, Exists, "include exists"),
        path("a new name in no directory", d.s("inclde/x/"), Need::New, Missing, "no directory inclde in")
            .near("include"),
        path("a new name by another user", d.s("x"), Need::New, NoPermission, "may not create files in it").by_user(),
        path("a change by another user", d.s("file"), Need::Owned, NotOwner, "may not change it").by_user(),
        path("a link to a directory", d.s("include"), Need::Linkable, IsADirectory, "has no hard links"),
        path("access to execute", d.s("file"), Need::Access(1), NotExecutable, "mode 0644, not executable"),
        path("access to write", d.s("file"), Need::Access(2), NoPermission, "may not write").by_user(),
        path("access to nothing", d.s("include/stdoi.h"), Need::Access(0), Missing, "no stdoi.h in").near("stdio.h"),
        open("a name with swapped letters", d.s("include/stdoi.h"), R, Missing, "no stdoi.h in").near("stdio.h"),
        open("a missing directory", d.s("inclde/stdio.h"), R, Missing, "no directory inclde in").near("include"),
        open("far away", "/no-such-directory-at-all/a/b", R, Missing, "no directory no-such-directory-at-all in /"),
        open("missing behind a link", d.s("toinclude/stdoi.h"), R, Missing, format!("in {}", d.s("include")))
            .near("stdio.h"),
        open("missing after ..", d.s("include/../include/./stdoi.h"), R, Missing, "no stdoi.h").near("stdio.h"),
        open("a file in the middle", d.s("file/x"), R, NotADirectory, "file is a file, not a directory"),
        open("a slash after a file", d.s("file/"), R, NotADirectory, "file is a file, not a directory"),
        open("O_DIRECTORY", d.s("file"), libc::O_DIRECTORY, NotADirectory, "file is a file, not a directory"),
        open(
            "a dangling link",
            d.s("dangle"),
            R,
            DanglingLink,
            "is a symbolic link to /no-such-place/x: no directory no-such-place in /",
        ),
        open("dangling in the middle", d.s("dangledir/x"), R, DanglingLink, "dangledir is a symbolic link to nowhere"),
        open("a link to itself", d.s("loop"), R, Loop, "a loop"),
        open("two links", d.s("ping"), R, Loop, "a loop"),
        open("O_NOFOLLOW", d.s("tofile"), libc::O_NOFOLLOW, Loop, "O_NOFOLLOW"),
        open("a directory that is closed", d.s("locked/file"), R, NoSearchPermission, "mode 0700, owner root")
            .by_user(),
        open("closed and missing", d.s("locked/missing"), R, NoSearchPermission, "may not search").by_user(),
        open("no right to read", d.s("secret"), R, NoPermission, "mode 0600, owner root").by_user(),
        open("no right to write", d.s("file"), W, NoPermission, "may not write").by_user(),
        open("no right to create", d.s("new"), create, NoPermission, "may not create files in it").by_user(),
        open("not in the group", d.s("grouped"), R, NoPermission, "mode 0640").by_user(),
        open("the owner may less", d.s("mine"), R, NoPermission, "mode 0070").by_user(),
        open("no right to replace", d.s("file"), libc::O_TRUNC, NoPermission, "may not").by_user(),
        open("an ACL", d.s("acl"), R, NoPermission, "with an ACL").by_user(),
        open("a read-only mount", d.s("ro/x"), W, ReadOnly, "is mounted read-only")
            .after(own("ro", 0))
            .after([Step::Put(d.c("ro/x"), b"x"), Step::Remount(d.c("ro"), libc::MS_RDONLY)]),
        open("a new file on a read-only mount", d.s("ro/new"), create, ReadOnly, "is mounted read-only")
            .after(own("ro", 0))
            .after([Step::Remount(d.c("ro"), libc::MS_RDONLY)]),
        open("writing to a directory", d.s("include"), W, IsADirectory, "is a directory"),
        open("creating a directory", d.s("include"), O_CREAT as i32, IsADirectory, "is a directory"),
        open("O_EXCL", d.s("file"), create | O_EXCL as i32, Exists, "O_EXCL"),
        open("a long name", [d.s("").as_bytes(), b"/", &[b'x'; 256]].concat(), R, TooLong, "256 bytes"),
        open("a long path", vec![b'/'; 5000], R, TooLong, "4,095"),
        open("no descriptor left", d.s("file"), R, TooManyFiles, "RLIMIT_NOFILE").after([Step::Files(3)]),
        open("relative", "stdoi.h", R, Missing, format!("no stdoi.h in {}", d.s("include")))
            .near("stdio.h")
            .after([Step::Chdir(d.c("include"))]),
        open("relative, and perhaps from another directory", "stdoi.h", R, Unknown, "is unknown")
            .after([Step::Chdir(d.c("include"))])
            .unknown(),
        open("relative, upwards", "../fil", R, Missing, format!("no fil in {}", d.s("")))
            .near("file")
            .after([Step::Chdir(d.c("include"))]),
        open("a deleted working directory", "x", R, Unknown, "is unknown")
            .after([Step::Chdir(d.c("gone")), Step::Rmdir(d.c("gone"))]),
        Case {
            act: Act::At(d.c("include"), c("stdoi.h"), R),
            ..open("relative to a descriptor", "x", R, Missing, format!("in {}", d.s("include"))).near("stdio.h")
        },
        Case {
            act: Act::At(d.c("include"), c("stdoi.h"), R),
            ..open("relative to a descriptor that ended", "x", R, Missing, "no stdoi.h in").near("stdio.h").ended()
        },
        Case {
            act: Act::At(d.c("include"), c("stdoi.h"), R),
            ..open("relative to a descriptor that may be another one", "x", R, Unknown, "is unknown").unknown()
        },
        Case {
            act: Act::At(d.c("file"), c("x"), R),
            ..open("relative to a file", "x", R, NotADirectory, "is not a directory")
        },
        open(
            "new in procfs",
            "/proc/sys/net/ipv4/ip_forwrad",
            create,
            Missing,
            "ipv4; this file system creates no files",
        )
        .near("ip_forward"),
        open("new in sysfs", "/sys/kernel/notse", create, Missing, "no notse in /sys/kernel; this file system creates")
            .near("notes"),
        open("a new file in procfs, by a user", "/proc/mounst", create, Missing, "creates no files")
            .near("mounts")
            .by_user(),
        open("missing in procfs", "/proc/sys/net/ipv4/ip_forwrad", R, Missing, "no ip_forwrad in /proc/sys/net/ipv4")
            .near("ip_forward"),
        Case { act: Act::Nowhere(c("x")), ..open("no such descriptor", "x", R, BadDescriptor, "descriptor 777") },
        open("in a root of its own", "/etc/nothing-els", R, Missing, "no nothing-els in /etc")
            .near("nothing-else")
            .after([Step::Chroot(d.c("jail")), Step::Chdir(c("/"))]),
        open("a link in a root of its own", "/todata/insid", R, Missing, "no insid in /data")
            .near("inside")
            .after([Step::Chroot(d.c("jail")), Step::Chdir(c("/"))]),
        open("above a root of its own", "/../../etc/nothing-els", R, Missing, "no nothing-els in /etc")
            .near("nothing-else")
            .after([Step::Chroot(d.c("jail")), Step::Chdir(c("/"))]),
        open("a mount of its own", d.s("tmp/only-heer"), R, Missing, "no only-heer in")
            .near("only-here")
            .after(own("tmp", 0))
            .after([Step::Put(d.c("tmp/only-here"), b"")]),
        open("a mount without links", d.s("nofollow/link"), R, Loop, "nosymfollow")
            .after(own("nofollow", 256))
            .after([Step::Link(d.c("file"), d.c("nofollow/link"))]),
        open("O_TMPFILE", d.s("include"), libc::O_TMPFILE | W, NoPermission, "may not create").by_user(),
        open("a running program", d.s("bin/running"), W, TextBusy, "running program"),
        open("missing, and the process ended", d.s("include/stdoi.h"), R, Missing, "no stdoi.h")
            .near("stdio.h")
            .ended(),
        // A similar name, and a file of this name, are only in the directory where the process started.
        open("relative, and the process ended", "Cargo.tmol", R, Missing, "no Cargo.tmol in")
            .after([Step::Chdir(d.c("include"))])
            .ended(),
        open("relative, found where it started", "Cargo.toml", R, Missing, "no Cargo.toml in")
            .after([Step::Chdir(d.c("include"))])
            .ended(),
        open("a mount that ended with the process", d.s("tmp/x"), R, Unknown, "ended").after(own("tmp", 0)).ended(),
        open("a root that ended with the process", "/etc/x", R, Unknown, "root")
            .after([Step::Chroot(d.c("jail"))])
            .ended(),
        open("rights, and the process ended", d.s("secret"), R, NoPermission, "mode 0600").by_user().ended(),
        open("groups of a process that ended", d.s("acl"), R, NoPermission, "ACL").by_user().ended(),
        open("rights of a group that is not known", d.s("grouped"), R, Unknown, "unknown").by_user().ended(),
        open("what it had open itself", "/proc/self/fd/99", R, Missing, "no 99 in /proc/"),
    ]
}

fn execs(d: &Dir) -> Vec<Case> {
    use Cause::*;
    let long = exec("long arguments", "/bin/true", TooLong, "exceed the limit of the kernel");
    vec![
        exec("no such program", d.s("bin/plian"), Missing, "no plian in").near("plain"),
        exec("a mode without x", d.s("bin/plain"), NotExecutable, "plain: mode 0644, not executable"),
        exec("a mode without x, and the process ended", d.s("bin/plain"), NotExecutable, "mode 0644").ended(),
        exec("for root only", d.s("bin/rootonly"), NoPermission, "may not execute it").by_user(),
        exec("a directory", d.s("bin"), NotExecutable, "is a directory, not a program"),
        exec("a mount without programs", d.s("noexec/run"), Noexec, "is mounted noexec")
            .after([Step::Mounts, Step::Mount(d.c("noexec"), libc::MS_NOEXEC)])
            .after([Step::Put(d.c("noexec/run"), b"#!/bin/sh\n")]),
        exec(
            "a missing interpreter",
            d.s("bin/nointerp"),
            NoInterpreter,
            "interpreter #!/no/such/interpreter: no directory no in /",
        ),
        exec("an interpreter with CR", d.s("bin/crlf"), NoInterpreter, "ends with CR LF"),
        exec("a missing ELF interpreter", d.s("bin/noloader"), NoInterpreter, "no ld-lunix"),
        exec("for another machine", d.s("bin/foreign"), WrongFormat, "is a program for"),
        exec("an object file", d.s("bin/object"), WrongFormat, "not an executable"),
        exec("a text", d.s("bin/text"), WrongFormat, "without a #! line"),
        exec("an empty file", d.s("bin/empty"), WrongFormat, "is empty"),
        exec("no interpreter", d.s("bin/nothing"), WrongFormat, "names no interpreter"),
        exec("data", d.s("bin/data"), WrongFormat, "not in an executable format"),
        exec("a text as interpreter", d.s("bin/byplain"), NotExecutable, "plain: mode 0644, not executable"),
        exec("scripts of scripts", d.s("bin/deep0"), Loop, "5 deep"),
        exec("open for writing", d.s("bin/busy"), TextBusy, "open for writing"),
        exec("a dangling program", d.s("bin/dangling"), DanglingLink, "no gcc-99 in"),
        exec("a closed directory", d.s("locked/file"), NoSearchPermission, "mode 0700").by_user(),
        exec("a file in the middle", d.s("file/x"), NotADirectory, "is a file, not a directory"),
        exec("a relative program", "bin/plian", Missing, format!("no plian in {}", d.s("bin")))
            .near("plain")
            .after([Step::Chdir(d.c(""))]),
        exec("a relative program that ended", "./plian", Missing, "no plian in")
            .near("plain")
            .after([Step::Chdir(d.c("bin"))])
            .ended(),
        Case {
            act: Act::ExecAt(d.c("bin"), c("plian")),
            ..exec("below a descriptor", "x", Missing, format!("no plian in {}", d.s("bin"))).near("plain")
        },
        Case {
            act: Act::ExecAt(d.c("bin"), c("plain")),
            ..exec("below a descriptor, without x", "x", NotExecutable, "plain: mode 0644, not executable")
        },
        Case { act: Act::ExecAt(d.c("bin/text"), c("")), ..exec("a descriptor", "x", Unknown, "of a descriptor") },
        Case {
            act: Act::ExecAt(d.c("bin"), c("plian")),
            ..exec("below a descriptor that ended", "x", Missing, "no plian in").near("plain").ended()
        },
        Case { act: Act::Exec(c("/bin/true"), vec![c(vec![b'x'; 200_000])]), ..long },
    ]
}

#[test]
fn real_failures_are_explained() {
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        return tracetui_host::not_checked("it needs root, for other users and mounts");
    }
    let d = Dir::new("why");
    build(&d);
    let acl = acl_without_user();
    let acl = rustix::fs::setxattr(d.at("acl"), "system.posix_acl_access", &acl, rustix::fs::XattrFlags::empty());
    let busy = fs::OpenOptions::new().append(true).open(d.at("bin/busy")).expect("ours");
    let mut running = std::process::Command::new(d.at("bin/running")).arg("60").spawn().expect("it runs");
    let (mut right, mut unknown, mut wrong) = (0, Vec::new(), Vec::new());
    for case in opens(&d).into_iter().chain(execs(&d)) {
        let Some(answer) = said(&case) else {
            // This depends on settings of the kernel, and on file systems with ACLs.
            let optional = case.says.contains("ACL") && acl.is_err();
            assert!(optional, "{}: it did not fail", case.name);
            tracetui_host::not_checked(&format!("{}: this machine does not refuse it", case.name));
            continue;
        };
        let text = String::from_utf8_lossy(&answer.text).into_owned();
        let near = answer.near.as_deref().map(String::from_utf8_lossy).map(std::borrow::Cow::into_owned);
        let near_right = case.near.is_none() || near.as_deref() == case.near;
        let answered = format!("{}: {:?} {text:?} {near:?}", case.name, answer.cause);
        match answer.cause {
            cause if cause == case.cause && text.contains(&case.says) && near_right => right += 1,
            Cause::Unknown => unknown.push(answered),
            _ => wrong.push(answered),
        }
    }
    running.kill().expect("ours");
    running.wait().expect("ours");
    drop(busy);
    assert!(wrong.is_empty(), "wrong: {wrong:#?}\nunknown: {unknown:#?}");
    let all = right + unknown.len();
    assert!(right >= 40 && right * 100 >= all * 95, "{right} of {all} are right; unknown: {unknown:#?}");
}

/// A question of root about a name that was not found.
fn asked(process: Who, mnt_ns: NsInum, call: FailedCall, path: &[u8]) -> Question {
    Question {
        tid: Tid(process.key.tgid.0),
        ancestors: Vec::new(),
        mnt_ns,
        ns_pid: process.key.tgid,
        process,
        time: Default::default(),
        call,
        path: path.to_vec(),
        errno: libc::ENOENT,
        root: None,
        start: None,
        ids: (0, 0),
        proven: None,
        others: Vec::new(),
        places: 1,
        next: None,
    }
}

#[test]
fn another_error_than_that_of_the_event_is_no_answer() {
    let process = Who { key: ProcessKey { tgid: Tgid(1), start: Default::default() }, comm: Vec::new() };
    let call = FailedCall { dirfd: libc::AT_FDCWD, follow: true, need: Need::Program };
    let question = Question { errno: libc::EACCES, ..asked(process, NsInum(1), call, b"/x") };
    let gone = super::Refusal::new(libc::ENOENT, Cause::Missing, b"/x", "no x in /");
    let said = answer(&question, Err(Stop::Refused(Box::new(gone))), 5);
    assert_eq!((said.cause, said.component), (Cause::Unknown, None));
    assert!(said.text.starts_with(b"now fails differently: No such file or directory"));
    assert_eq!(answer(&question, Ok(Vec::new()), 5).cause, Cause::Unknown);
}

#[test]
fn the_nearest_name_is_that_of_all_places_of_a_search() {
    let d = Dir::new("places");
    d.file("eti.h", 0o644, b"");
    for (name, file) in [("inc", "util.h"), ("src", "util.c"), ("empty", "")] {
        d.dir(name, 0o755);
        if !file.is_empty() {
            d.file(&format!("{name}/{file}"), 0o644, b"");
        }
    }
    let of = |dir: &str| SearchDir { dir: d.s(dir).into_bytes(), start: None };
    let pid = std::process::id();
    let ns = fs::read_link("/proc/self/ns/mnt").expect("a link").into_os_string().into_string().expect("text");
    let ns = ns.trim_start_matches("mnt:[").trim_end_matches(']').parse().expect("a number");
    let need = Need::Flags { flags: 0, resolve: 0 };
    let call = FailedCall { dirfd: libc::AT_FDCWD, follow: true, need };
    let question = |dir: &str, others: &[&str], places: usize| Question {
        others: others.iter().map(|dir| of(dir)).collect(),
        places,
        ..asked(who(pid), NsInum(ns), call, format!("{}/utli.h", d.s(dir)).as_bytes())
    };
    let said = |dir: &str, others: &[&str], places| {
        let answer = look(&question(dir, others, places));
        assert_eq!(answer.cause, Cause::Missing, "{answer:?}");
        String::from_utf8(answer.text).expect("text").replace(&d.s(""), "D")
    };
    let all = said("", &["empty", "src", "inc"], 4);
    assert_eq!(all, "no utli.h in 4 places; the nearest name is util.h in D/inc");
    assert_eq!(said("inc", &["src"], 2), all.replace('4', "2"));
    assert_eq!(said("empty", &["src"], 40), "no utli.h in 2 of 40 places; the nearest name is util.c in D/src");
    let gone = "no utli.h in 2 places; no directory gone in D, where the search began";
    assert_eq!(said("empty", &["gone"], 2), gone);
    assert_eq!(said("other/app", &["gone", "other"], 3), gone.replace('2', "3"));
    assert_eq!(said("gone", &["gone", "empty"], 2), gone);
    // Not all places can be checked.
    let relative = |start: Option<String>| SearchDir { dir: b"inc".to_vec(), start: start.map(String::into_bytes) };
    let answer = look(&Question { others: vec![relative(None)], ..question("empty", &[], 2) });
    assert_eq!(answer.text, b"no utli.h in 1 of 2 places; the search began in inc");
    let answer = look(&Question { others: vec![relative(Some(d.s("")))], ..question("empty", &[], 2) });
    assert_eq!(answer.text, b"no utli.h in 2 places; the nearest name is util.h in inc");
    assert_eq!(said("ink", &["empty", "src"], 3), "no utli.h in 3 places; the nearest name is inc in D");
    // The missing file exists by now.
    d.file("empty/utli.h", 0o644, b"");
    let began = "no utli.h in 1 of 2 places; the nearest name is util.c in D/src; the search began in D/empty";
    assert_eq!(said("src", &["empty"], 2), began);
}
