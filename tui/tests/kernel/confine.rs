//! What the threads of a trace can do. The test makes them try, by ptrace(2): so it is done with exactly their credentials, filters
//! and restrictions. That each act is possible without them is shown by a process of root.

use crate::prelude::*;
use crate::rotation::files;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Mutex;

/// The user of a trace that root started.
const USER: &str = "65529";
const CAP_DAC_READ_SEARCH: u64 = 1 << 2;
const CAP_SYS_PTRACE: u64 = 1 << 19;
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_NET_ADMIN: u64 = 1 << 12;

/// The user of a cgroup cannot freeze or kill a trace in it.
#[test]
fn a_trace_leaves_the_cgroups_of_other_users() {
    let Some(()) = alone_as_root() else { return };
    let Some(users) = Cgroup::new("tracetui-users") else { return not_checked("no cgroup v2 hierarchy") };
    let scope = Cgroup::at(format!("{}/scope", users.0)).expect("below it");
    for (owner, leaves) in [(None, false), (Some(&users.0), true), (Some(&scope.0), true)] {
        let owned = |uid| owner.iter().for_each(|path| chown(path, Some(uid), None).expect("root"));
        owned(sys::NOBODY);
        let above = |path: &str| Path::new(path).parent().expect("a parent").to_owned();
        // That of a trace that was killed, with the process that removes it.
        let left = owner.map(|path| above(path).join("tracetui-4000000000"));
        left.iter().for_each(|left| fs::create_dir(left).expect("room"));
        let dir = Dir::new();
        let out = dir.at("command");
        let is_in = |text: &str, path: &str| {
            text.lines().filter_map(|line| line.strip_prefix("0::")).any(|found| path.ends_with(found) && found != "/")
        };
        let mut command = tracetui();
        let script = format!("cat /proc/self/cgroup >{out}; cat /proc/$PPID/cgroup >{out}.trace; sleep 60");
        command.args(["print", "--kind", "exit", "--", "sh", "-c", &script]).stdin(Stdio::null());
        let scope_of = scope.0.clone();
        sys::before_exec(&mut command, move || fs::write(format!("{scope_of}/cgroup.procs"), "0"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let read = |path: String| fs::read_to_string(path).unwrap_or_default();
        sys::wait_until(|| !read(format!("{out}.trace")).is_empty());
        assert!(is_in(&read(out.clone()), &scope.0), "COMMAND stays");
        let trace = read(format!("{out}.trace"));
        assert_eq!(is_in(&trace, &scope.0), !leaves, "{owner:?}: {trace}");
        assert_eq!(trace.contains(&format!("/tracetui-{}", child.id())), leaves, "{owner:?}: {trace}");
        sys::kill(child.id() as i32, libc::SIGTERM);
        child.wait().expect("it ends");
        let place = |path: &str| above(path).join(format!("tracetui-{}", child.id()));
        sys::wait_until(|| !place(&users.0).exists() && !place(&scope.0).exists());
        assert!(left.is_none_or(|left| !left.exists()), "{owner:?}");
        owned(0);
    }
}

/// How long threads may take to give up what they do not need.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
struct Thread {
    tid: i32,
    name: String,
    status: String,
}

impl Thread {
    fn all(pid: i32) -> Vec<Thread> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
        let thread = |task: fs::DirEntry| {
            let read = |name: &str| fs::read_to_string(task.path().join(name)).ok();
            let tid = task.file_name().to_str()?.parse().ok()?;
            Some(Thread { tid, name: read("comm")?.trim().to_owned(), status: read("status")? })
        };
        tasks.filter_map(thread).collect()
    }

    fn line(&self, name: &str) -> &str {
        let line = self.status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} of {}", self.name)).trim()
    }

    fn hex(&self, name: &str) -> u64 {
        u64::from_str_radix(self.line(name), 16).expect("hex")
    }

    /// Whether it has given up all that it will.
    fn is_confined(&self) -> bool {
        self.line("NoNewPrivs:") == "1" && self.line("Seccomp:") == "2"
    }
}

/// The registers of a thread, and the places of those that a system call uses.
#[cfg(target_arch = "x86_64")]
mod registers {
    pub(super) type Registers = [u64; 27];
    pub(super) const INSTRUCTION: usize = 16;
    pub(super) const STACK: usize = 19;
    pub(super) const NUMBER: usize = 10;
    pub(super) const RESULT: usize = 10;
    pub(super) const ARGS: [usize; 6] = [14, 13, 12, 7, 9, 8];
    /// Holds the number of the call that may be restarted.
    pub(super) const RESTART: Option<usize> = Some(15);
    pub(super) const NUMBER_SET: Option<u64> = None;
    /// The instruction that enters the kernel.
    pub(super) const ENTER: &[u8] = &[0x0f, 0x05];
}

/// The registers of a thread, and the places of those that a system call uses.
#[cfg(target_arch = "aarch64")]
mod registers {
    pub(super) type Registers = [u64; 34];
    pub(super) const INSTRUCTION: usize = 32;
    pub(super) const STACK: usize = 31;
    pub(super) const NUMBER: usize = 8;
    pub(super) const RESULT: usize = 0;
    pub(super) const ARGS: [usize; 6] = [0, 1, 2, 3, 4, 5];
    pub(super) const RESTART: Option<usize> = None;
    /// `NT_ARM_SYSTEM_CALL`: the number at the entry. The kernel replaces that of a register by restart_syscall(2) if the thread
    /// waited with a timeout (`setup_restart_syscall`).
    pub(super) const NUMBER_SET: Option<u64> = Some(0x404);
    /// The instruction that enters the kernel.
    pub(super) const ENTER: &[u8] = &[0x01, 0x00, 0x00, 0xd4];
}

use registers::{ARGS, ENTER, INSTRUCTION, NUMBER, NUMBER_SET, RESTART, RESULT, Registers, STACK};

struct Held {
    tid: i32,
    memory: File,
    saved: Registers,
    /// The address of an instruction that enters the kernel.
    enter: u64,
}

impl Held {
    fn new(tid: i32) -> Option<Held> {
        /// `PTRACE_O_TRACESYSGOOD`.
        const SAYS_CALLS: u64 = 1;
        if ptrace(request::SEIZE, tid, 0, SAYS_CALLS) != 0 {
            return None;
        }
        let began = Instant::now();
        let memory = File::options().read(true).write(true).open(format!("/proc/{tid}/mem")).ok()?;
        while began.elapsed() < PATIENCE {
            ptrace(request::INTERRUPT, tid, 0, 0);
            next_stop(tid)?;
            let saved = read_registers(tid);
            // aarch64 has set it back already where the call is restarted.
            let places = [saved[INSTRUCTION] - ENTER.len() as u64, saved[INSTRUCTION]];
            let enters = |place: &u64| {
                let mut code = [0; ENTER.len()];
                memory.read_exact_at(&mut code, *place).is_ok() && code == ENTER
            };
            if let Some(enter) = places.into_iter().find(enters) {
                return Some(Held { tid, memory, saved, enter });
            }
            ptrace(request::CONT, tid, 0, 0);
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    fn put(&self, at: u64, bytes: &[u8]) -> u64 {
        let address = (self.saved[STACK] & !0xfff) - 0x2000 + at;
        self.memory.write_all_at(bytes, address).expect("its stack");
        address
    }

    /// Makes a system call: its result, or −errno.
    fn call(&self, number: i64, args: &[u64]) -> i64 {
        let mut registers = self.saved;
        registers[INSTRUCTION] = self.enter;
        registers[NUMBER] = number as u64;
        RESTART.into_iter().for_each(|at| registers[at] = u64::MAX);
        ARGS.iter().zip(args).for_each(|(at, value)| registers[*at] = *value);
        write_registers(self.tid, &registers);
        let (mut number, mut entered) = (number as i32, false);
        let mut place = libc::iovec { iov_base: (&raw mut number).cast(), iov_len: size_of::<i32>() };
        // To its entry, and to its end.
        for _ in 0..2 {
            ptrace(request::SYSCALL, self.tid, 0, 0);
            assert_eq!(wait(self.tid), libc::SIGTRAP | 0x80, "of {number}");
            if let Some(set) = NUMBER_SET.filter(|_| !std::mem::replace(&mut entered, true)) {
                ptrace(request::SETREGSET, self.tid, set, &raw mut place as u64);
            }
        }
        let result = read_registers(self.tid)[RESULT] as i64;
        let pending = Thread::all(self.tid).into_iter().find(|thread| thread.tid == self.tid);
        let trapped = pending.is_some_and(|thread| thread.hex("SigPnd:") >> (libc::SIGSYS - 1) & 1 == 1);
        // To a stop at which registers can be set: no call is restarted after it.
        if !trapped {
            ptrace(request::INTERRUPT, self.tid, 0, 0);
        }
        ptrace(request::CONT, self.tid, 0, 0);
        let stopped = wait(self.tid);
        if trapped {
            assert_eq!(stopped, libc::SIGSYS);
            // What its handler would make of it.
            return -i64::from(libc::EPERM);
        }
        result
    }

    fn close(&self, fd: i64) {
        if fd >= 0 {
            self.call(libc::SYS_close, &[fd as u64]);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        write_registers(self.tid, &self.saved);
        ptrace(request::DETACH, self.tid, 0, 0);
    }
}

/// Requests of ptrace(2), of which each C library has another type.
pub(crate) mod request {
    pub(crate) const TRACEME: u64 = 0;
    pub(crate) const SETOPTIONS: u64 = 0x4200;
    pub(crate) const CONT: u64 = 7;
    pub(crate) const DETACH: u64 = 17;
    pub(crate) const SYSCALL: u64 = 24;
    pub(super) const GETREGSET: u64 = 0x4204;
    pub(super) const SETREGSET: u64 = 0x4205;
    pub(crate) const SEIZE: u64 = 0x4206;
    pub(crate) const INTERRUPT: u64 = 0x4207;
}

pub(crate) fn ptrace(request: u64, tid: i32, address: u64, data: u64) -> i64 {
    sys::call(libc::SYS_ptrace, &[request, tid as u64, address, data])
}

fn next_stop(tid: i32) -> Option<i32> {
    let mut status = 0;
    // SAFETY: the status is a live local.
    let waited = unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL) };
    (waited == tid && libc::WIFSTOPPED(status)).then(|| libc::WSTOPSIG(status))
}

fn wait(tid: i32) -> i32 {
    next_stop(tid).unwrap_or_else(|| panic!("{tid} ended"))
}

/// `NT_PRSTATUS`.
const GENERAL: u64 = 1;

pub(crate) fn read_registers(tid: i32) -> Registers {
    let mut registers: Registers = [0; _];
    let mut place = libc::iovec { iov_base: registers.as_mut_ptr().cast(), iov_len: size_of::<Registers>() };
    assert_eq!(ptrace(request::GETREGSET, tid, GENERAL, &raw mut place as u64), 0);
    registers
}

pub(crate) fn write_registers(tid: i32, registers: &Registers) {
    let mut place = libc::iovec { iov_base: registers.as_ptr().cast_mut().cast(), iov_len: size_of::<Registers>() };
    assert_eq!(ptrace(request::SETREGSET, tid, GENERAL, &raw mut place as u64), 0);
}

fn handle_of(path: &str) -> Option<Vec<u8>> {
    const MOST: usize = 128;
    let mut handle = [&(MOST as u32).to_ne_bytes()[..], &[0; 4 + MOST]].concat();
    let (path, mut mount) = (CString::new(path).expect("no NUL"), 0i32);
    let at = [CWD, path.as_ptr() as u64, handle.as_mut_ptr() as u64, &raw mut mount as u64, 0];
    (sys::call(libc::SYS_name_to_handle_at, &at) == 0).then_some(handle)
}

/// The results of the system calls that a thread tries. Files are opened by handle if their file system has handles: to read them, and
/// without that right and then by the descriptor.
type Tried = BTreeMap<&'static str, i64>;

/// Lets a thread try to write `file`, which belongs to root, and to create another one beside it, and so on. `victim`: a process
/// of root.
fn try_all(tid: i32, file_path: &str, victim: i32) -> Option<Tried> {
    let held = Held::new(tid)?;
    let path = |at: u64, text: &str| held.put(at, &[text.as_bytes(), b"\0"].concat());
    let (file, new) = (path(0, file_path), path(512, &format!("{file_path}.new")));
    let shadow = path(1024, "/etc/shadow");
    let open = |path: u64, flags: i32| {
        let fd = held.call(libc::SYS_openat, &[CWD, path, flags as u64, 0o600]);
        held.close(fd);
        fd
    };
    let how = held.put(1200, &[(libc::O_WRONLY as u64).to_ne_bytes(), [0; 8], [0; 8]].concat());
    let by_openat2 = held.call(libc::SYS_openat2, &[CWD, file, how, 24]);
    held.close(by_openat2);
    let socket = held.call(libc::SYS_socket, &[libc::AF_INET as u64, libc::SOCK_DGRAM as u64, 0]);
    held.close(socket);
    // BPF_PROG_LOAD of a socket filter: r0 = 0; exit.
    let instructions = held.put(1300, &[[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]].concat());
    let license = path(1400, "GPL");
    let words = [1 | 2 << 32, instructions, license, 0, 0, 0];
    let attr = held.put(1408, &words.map(u64::to_ne_bytes).concat());
    let load = held.call(libc::SYS_bpf, &[5, attr, 48]);
    held.close(load);
    let traced = held.call(libc::SYS_ptrace, &[request::SEIZE, victim as u64, 0, 0]);
    // Its working directory is that of the file.
    let (handle, here) = (handle_of(file_path).map(|handle| held.put(1500, &handle)), CWD);
    let by_handle = |flags: i32| Some(held.call(libc::SYS_open_by_handle_at, &[here, handle?, flags as u64]));
    let read = by_handle(libc::O_RDONLY);
    held.close(read.unwrap_or(-1));
    let named = by_handle(libc::O_PATH);
    let reopened = named.map(|named| match named {
        0.. => open(path(1700, &format!("/proc/self/fd/{named}")), libc::O_RDONLY),
        refused => refused,
    });
    held.close(named.unwrap_or(-1));
    // Any descriptor, if it cannot be opened: commands are refused for all.
    let leased = held.call(libc::SYS_openat, &[CWD, file, libc::O_RDONLY as u64, 0]);
    let command = |command: i32, value: u64| held.call(libc::SYS_fcntl, &[leased.max(0) as u64, command as u64, value]);
    let lease = command(libc::F_SETLEASE, libc::F_WRLCK as u64);
    let owner = command(libc::F_SETOWN, victim as u64);
    held.close(leased);
    // A software event that counts nothing, of the thread itself.
    let event =
        held.put(1800, &[&[1u32, 64].map(u32::to_ne_bytes).concat()[..], &9u64.to_ne_bytes(), &[0; 48]].concat());
    let perf = held.call(libc::SYS_perf_event_open, &[event, 0, !0, !0, 0]);
    held.close(perf);
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    let share = held.call(libc::SYS_mmap, &[0, 4096, access as u64, kind as u64, !0, 0]);
    if share > 0 {
        held.call(libc::SYS_munmap, &[share as u64, 4096]);
    }
    let tried = [
        ("perf", perf),
        ("share", share),
        ("group", held.call(libc::SYS_setpriority, &[libc::PRIO_PGRP as u64, 0, 0])),
        ("write", open(file, libc::O_WRONLY)),
        ("write by openat2", by_openat2),
        ("create", open(new, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL)),
        ("shadow", open(shadow, libc::O_RDONLY)),
        ("ptrace", traced),
        ("socket", socket),
        ("load", load),
        // Where it is possible, the kernel looks for a path at this address.
        ("exec", held.call(libc::SYS_execve, &[1, 0, 0])),
        ("lease", lease),
        ("owner", owner),
    ];
    let by_handle = [("handle", read), ("reopened", reopened)].into_iter();
    Some(by_handle.filter_map(|(what, result)| Some((what, result?))).chain(tried).collect())
}

const ALIAS: &str = "/sys/class/net/lo/ifalias";

/// Lets a thread of `pid` try to change the alias of the loopback interface through rtnetlink: by a socket that it opens, and by those
/// that the process has, in each way of sending. What succeeded.
fn change_interface(tid: i32, pid: i32) -> Option<Vec<String>> {
    const RTM_SETLINK: u16 = 19;
    const IFLA_IFALIAS: u16 = 20;
    let held = Held::new(tid)?;
    // `struct nlmsghdr` with NLM_F_REQUEST, `struct ifinfomsg` of the interface 1, and the attribute.
    let header = [40u32.to_ne_bytes(), (u32::from(RTM_SETLINK) | 1 << 16).to_ne_bytes(), [0; 4], [0; 4]].concat();
    let interface = [[0; 4], 1u32.to_ne_bytes(), [0; 4], [0; 4]].concat();
    let attribute = [(8u32 | u32::from(IFLA_IFALIAS) << 16).to_ne_bytes(), *b"tui\0"].concat();
    let message = held.put(0, &[header, interface, attribute].concat());
    // `struct sockaddr_nl` of the kernel.
    let address = held.put(64, &[(libc::AF_NETLINK as u32).to_ne_bytes(), [0; 4], [0; 4]].concat());
    let piece = held.put(128, &[message, 40].map(u64::to_ne_bytes).concat());
    let whole = held.put(192, &[address, 12, piece, 1, 0, 0, 0].map(u64::to_ne_bytes).concat());
    let plain = held.put(256, &[0, 0, piece, 1, 0, 0, 0].map(u64::to_ne_bytes).concat());
    let opened = held.call(libc::SYS_socket, &[libc::AF_NETLINK as u64, libc::SOCK_RAW as u64, 0]);
    let mut succeeded = Vec::new();
    for fd in route_sockets(pid).into_iter().chain(u64::try_from(opened)) {
        let ways = [
            ("sendto", libc::SYS_sendto, [message, 40, 0, 0, 0]),
            ("sendto an address", libc::SYS_sendto, [message, 40, 0, address, 12]),
            ("sendmsg", libc::SYS_sendmsg, [plain, 0, 0, 0, 0]),
            ("sendmsg to an address", libc::SYS_sendmsg, [whole, 0, 0, 0, 0]),
            ("write", libc::SYS_write, [message, 40, 0, 0, 0]),
            ("writev", libc::SYS_writev, [piece, 1, 0, 0, 0]),
        ];
        for (way, number, [a, b, c, d, e]) in ways {
            held.call(number, &[fd, a, b, c, d, e]);
            if fs::read_to_string(ALIAS).expect("the loopback interface").trim() == "tui" {
                succeeded.push(format!("{way} by {}", if fd as i64 == opened { "its own" } else { "another's" }));
                fs::write(ALIAS, "\n").expect("root may");
            }
        }
    }
    held.close(opened);
    Some(succeeded)
}

fn route_sockets(pid: i32) -> Vec<u64> {
    // Address, protocol, …, inode.
    let table = fs::read_to_string("/proc/net/netlink").expect("netlink");
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_route = lines.filter(|line| line.get(1) == Some(&"0"));
    let inodes: Vec<String> = of_route.map(|line| format!("socket:[{}]", line.last().expect("an inode"))).collect();
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
    let is_route = |fd: &fs::DirEntry| {
        fs::read_link(fd.path()).is_ok_and(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str()))
    };
    fds.filter(is_route).filter_map(|fd| fd.file_name().to_str()?.parse().ok()).collect()
}

/// A child that is killed with its last use, also by a panic.
pub(crate) struct Guarded(pub(crate) Child);

impl Guarded {
    fn sleeper() -> Guarded {
        Guarded(Command::new("sleep").arg("600").spawn().expect("sleep"))
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_refused(result: i64) -> bool {
    [libc::EPERM, libc::EACCES, libc::ENOSYS].contains(&-(result as i32))
}

fn has_landlock() -> bool {
    // LANDLOCK_CREATE_RULESET_VERSION
    sys::call(libc::SYS_landlock_create_ruleset, &[0, 0, 1]) > 0
}

fn file_of_root(dir: &Dir) -> String {
    let file = dir.at("root");
    File::options().write(true).create(true).truncate(true).mode(0o600).open(&file).expect("a file");
    file
}

fn confined(pid: i32) -> Vec<Thread> {
    let are_confined = |threads: &Vec<Thread>| threads.iter().all(Thread::is_confined) && threads.len() > 3;
    wait_for(|| Some(Thread::all(pid)).filter(are_confined))
}

/// Checks every thread of a trace. `writes`: the names of threads that create files, and as which user.
fn check_threads(pid: i32, writes: &[&str], as_user: &str) {
    let (dir, victim) = (Dir::new(), Guarded::sleeper());
    let file = file_of_root(&dir);
    let landlock = has_landlock();
    if !landlock {
        not_checked("where threads with root's ids for files write: this kernel has no Landlock");
    }
    let mut checked = Vec::new();
    let inspector = inspector_of(pid).expect("it has one");
    let all = [pid, inspector].into_iter().flat_map(|process| confined(process).into_iter().map(move |t| (process, t)));
    for (process, thread) in all {
        let (name, ids) = (thread.name.as_str(), thread.line("Uid:"));
        let for_files = match name {
            "pins" => "0",
            name if writes.contains(&name) => as_user,
            _ => USER,
        };
        assert_eq!(ids, format!("{USER}\t{USER}\t{USER}\t{for_files}"), "{name}");
        let (held, permitted) = (thread.hex("CapEff:"), thread.hex("CapPrm:"));
        assert_eq!(held, permitted, "{name}");
        let inspects = process == inspector && ["inspector", "requests", "netns", "pins"].contains(&name);
        let admin = if inspects { CAP_SYS_ADMIN | CAP_NET_ADMIN } else { 0 };
        let opens = name == "streams" || (process, name) == (inspector, "sockets");
        let admin = if opens { CAP_SYS_ADMIN } else { admin };
        assert_eq!(held & (CAP_SYS_ADMIN | CAP_NET_ADMIN), admin, "{name} of {process}");
        let sees_others =
            inspects || ["scan", "arguments", "lookups", "why", "cgroups", "containers", "pins"].contains(&name);
        assert_eq!(held & CAP_SYS_PTRACE != 0, sees_others, "{name}");
        assert_eq!(held & CAP_DAC_READ_SEARCH != 0, sees_others, "{name}");
        let Some((tried, changed)) =
            try_all(thread.tid, &file, victim.pid()).zip(change_interface(thread.tid, process))
        else {
            not_checked(&format!("thread {name}: it ended, or did not stop in a system call"));
            continue;
        };
        let no_root = for_files != "0";
        for what in ["ptrace", "socket", "load", "exec", "lease", "owner", "group"] {
            assert_eq!(tried[what], -i64::from(libc::EPERM), "{name}: {what}: {tried:?}");
        }
        let refused = |what: &str| tried.get(what).is_none_or(|result| is_refused(*result));
        checked.push(name.to_owned());
        assert_eq!(changed, Vec::<String>::new(), "{name}");
        if no_root || landlock {
            assert!(["write", "write by openat2", "create"].into_iter().all(refused), "{name}: {tried:?}");
        }
        // Cgroups are opened by handle, but no file is read so. A thread that reads all files also reads the one that it named.
        assert!(refused("handle") && (sees_others || refused("reopened")), "{name}: {tried:?}");
        assert_eq!([refused("perf"), refused("share")], [name != "streams"; 2], "{name}: {tried:?}");
        // With root's ids for files, its files can be read.
        let reads_shadow = sees_others || !no_root;
        assert!(refused("shadow") != reads_shadow || !Path::new("/etc/shadow").exists(), "{name}: {tried:?}");
    }
    let threads = "tracetui source cgroups containers lookups inspector requests sockets streams pins";
    for thread in threads.split(' ') {
        assert!(checked.iter().any(|name| name == thread), "{thread} was not checked: {checked:?}");
    }
    // Without Landlock, threads with root's ids created it.
    assert!(!landlock || !Path::new(&format!("{file}.new")).exists());
}

/// A trace of its own in a directory of its own.
fn start(args: &[&str], dir: &Dir, variables: &[(&str, &str)]) -> Option<Traced> {
    let mut command = tracetui();
    command.args(args).current_dir(dir.path()).stdout(Stdio::null());
    Traced::of(command.envs(variables.iter().copied()))
}

#[test]
fn each_act_is_possible_for_root() {
    let Some(()) = alone_as_root() else { return };
    // The actor ends before the victim: as its tracer it would hold up its end.
    let (dir, victim) = (Dir::new(), Guarded::sleeper());
    let actor = Guarded(Command::new("sleep").arg("600").current_dir(dir.path()).spawn().expect("sleep"));
    let file = file_of_root(&dir);
    if handle_of(&file).is_none() {
        not_checked("files by handle: the file system of temporary files has no handles");
    }
    let tried = try_all(actor.pid(), &file, victim.pid()).expect("sleep sleeps in a system call");
    let is_possible = |(what, result): (&&str, &i64)| match *what {
        "shadow" => *result >= 0 || !Path::new("/etc/shadow").exists(),
        // The kernel looks for the program.
        "exec" => *result == -i64::from(libc::EFAULT),
        _ => *result >= 0,
    };
    assert!(tried.iter().all(is_possible), "{tried:?}");
    let changed = change_interface(actor.pid(), actor.pid()).expect("sleep sleeps in a system call");
    assert_eq!(changed.len(), 6, "{changed:?}");
}

#[test]
fn no_thread_of_print_can_do_more_than_its_work() {
    let dir = Dir::alone();
    let Some(child) = start(&["print", "--why"], &dir, &[]) else { return };
    // A lookup has a thread. That of a connection uses sockets.
    let _ = File::open("/no/such/file");
    let refused = std::net::TcpStream::connect("127.0.0.1:1");
    assert!(refused.is_err(), "nothing listens on port 1");
    std::thread::sleep(Duration::from_secs(1));
    let inspector = inspector_of(child.pid()).expect("it has one");
    assert!(!route_sockets(inspector).is_empty(), "it listens to changes of interfaces");
    check_threads(child.pid(), &[], "");
    let said = child.stop().stderr.join("\n");
    assert!(!said.contains("seccomp denied"), "{said}");
}

#[test]
fn no_thread_of_record_can_do_more_than_its_work() {
    alone();
    for (variables, user) in [(&[][..], "0"), (&[("SUDO_UID", "1234"), ("SUDO_GID", "1234")], "1234")] {
        let dir = Dir::new();
        chown(dir.path(), Some(user.parse().expect("a number")), None).expect("root");
        for args in [&["record", "-o", "a.ttr"][..], &["record", "-o", "b.ttr", "--rotate", "64KiB,4"]] {
            let Some(child) = start(args, &dir, variables) else { return };
            std::thread::sleep(Duration::from_secs(1));
            check_threads(child.pid(), &["recording"], user);
            // Files that are rotated are made and removed by it.
            for _ in 0..3000 {
                let _ = File::open("/no/such/file");
            }
            let said = child.stop().stderr.join("\n");
            assert!(!said.contains("seccomp denied") && !said.contains("cannot"), "{said}");
        }
        let owner = |file: &String| fs::metadata(file).expect("there").uid();
        let owners: Vec<u32> = files(&dir.at("")).iter().map(owner).collect();
        assert!(owners.len() > 1 && owners.iter().all(|owner| owner.to_string() == user), "{owners:?}");
    }
}

#[test]
fn no_thread_of_the_dashboard_can_do_more_than_its_work() {
    let dir = Dir::alone();
    let Some(mut command) = may_trace().then(tracetui) else { return };
    let (ours, theirs) = pty::give(&mut command);
    tcsetwinsize(&ours, pty::size(120, 40)).expect("a terminal");
    command.current_dir(dir.path()).env("TERM", "xterm").stderr(File::create(dir.at("stderr")).expect("a file"));
    let mut child = Guarded(command.spawn().expect("tracetui starts"));
    drop((command, theirs));
    let mut screen = File::from(ours.try_clone().expect("a descriptor"));
    let shown = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&shown);
    let reader = std::thread::spawn(move || {
        let mut part = [0; 4096];
        // The error at the end says that the other side is closed.
        while let Ok(read @ 1..) = screen.read(&mut part) {
            all.lock().expect("no panic").extend_from_slice(&part[..read]);
        }
    });
    std::thread::sleep(Duration::from_secs(2));
    check_threads(child.pid(), &["opener"], "0");
    // `w` begins a recording, and ends it.
    for key in [b"w", b"w"] {
        rustix::io::write(&ours, key).expect("a terminal");
        std::thread::sleep(Duration::from_secs(1));
    }
    // `D` compares the trace with it: the file is opened and read.
    let [file] = &files(&dir.at(""))[..] else { panic!("one recording") };
    for keys in ["D", file, "\r"] {
        rustix::io::write(&ours, keys.as_bytes()).expect("a terminal");
        std::thread::sleep(Duration::from_secs(1));
    }
    let began = Instant::now();
    while !text(&shown.lock().expect("no panic")).contains("running:") && began.elapsed() < PATIENCE {
        // Ctrl-L draws the whole screen.
        rustix::io::write(&ours, b"\x0c").expect("a terminal");
        std::thread::sleep(Duration::from_millis(200));
    }
    rustix::io::write(&ours, b"q").expect("a terminal");
    wait_at_most(&mut child.0, PATIENCE);
    let said = fs::read_to_string(dir.at("stderr")).expect("a file");
    assert!(!said.contains("seccomp denied"), "{said}");
    reader.join().expect("no panic");
    let shown = text(&shown.lock().expect("no panic"));
    assert!(shown.contains("running:"), "{shown:?}");
    assert_eq!(files(&dir.at("")).len(), 1, "{said}");
}
