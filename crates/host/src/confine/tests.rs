use super::*;
use crate::machine::Machine;
use std::os::fd::{FromRawFd as _, OwnedFd};
use tracetui_shared::id::{Gid, Uid};

/// The lines of /proc/thread-self/status after `act`. It runs on its own thread, because the effect is permanent.
fn status_after(act: impl FnOnce() -> io::Result<()> + Send + 'static) -> String {
    let thread = std::thread::spawn(|| {
        act().expect("rights can always be given up");
        std::fs::read_to_string("/proc/thread-self/status").expect("readable")
    });
    thread.join().expect("no panic")
}

fn line<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).expect("a line").trim()
}

fn hex(status: &str, name: &str) -> u64 {
    u64::from_str_radix(line(status, name), 16).expect("hex")
}

#[test]
fn a_thread_has_only_what_its_role_takes() {
    let had = Machine::read().capabilities.expect("readable").bits();
    for role in [
        Role::Main { signals: false, command: None },
        Role::Recorder { inspector: None },
        Role::Reader,
        Role::Inspector,
    ] {
        let status = status_after(move || enter(role).map(drop));
        assert_eq!(hex(&status, "CapEff:"), had & role.capabilities().bits(), "{role:?}");
        assert_eq!(hex(&status, "CapPrm:") & !role.capabilities().bits(), 0);
        assert_eq!((hex(&status, "CapInh:"), line(&status, "NoNewPrivs:")), (0, "1"));
    }
    let thread = std::thread::spawn(|| {
        let enforced = enter(Role::Main { signals: true, command: None }).expect("rights can always be given up");
        // Starting a thread is still allowed.
        std::thread::spawn(|| ()).join().expect("no panic");
        (enforced.calls, std::process::Command::new("true").spawn().err().and_then(|error| error.raw_os_error()))
    });
    let (restricted, error) = thread.join().expect("no panic");
    assert_eq!(error, restricted.then_some(libc::EPERM));
}

#[test]
fn root_is_given_up_by_one_thread() {
    if !rustix::process::geteuid().is_root() {
        return crate::not_checked("it needs root");
    }
    let status = status_after(|| enter(Role::Main { signals: false, command: None }).map(drop));
    let four = |id: u32| [id; 4].map(|id| id.to_string()).join("\t");
    assert_eq!((line(&status, "Uid:"), line(&status, "Gid:")), (four(USER).as_str(), four(USER).as_str()));
    assert_eq!(line(&status, "Groups:"), "");
    assert!(rustix::process::geteuid().is_root(), "this thread still is root");
}

#[test]
fn sockets_are_opened_for_two_protocols_by_one_role() {
    let opens = |role| {
        let opened = |protocol| {
            // SAFETY: numbers only. A descriptor that is returned belongs to nothing else.
            let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
            // SAFETY: as above.
            fd >= 0 && unsafe { libc::close(fd) } == 0
        };
        let thread = std::thread::spawn(move || {
            let enforced = enter(role).expect("rights can always be given up");
            let all = [libc::NETLINK_ROUTE, libc::NETLINK_SOCK_DIAG, libc::NETLINK_AUDIT].map(opened);
            (enforced.calls, all)
        });
        thread.join().expect("no panic")
    };
    let (restricted, opened) = opens(Role::Sockets);
    if !restricted {
        return crate::not_checked("this kernel has no seccomp filters");
    }
    assert_eq!(opened, [true, true, false]);
    assert_eq!(opens(Role::Reader).1, [false; 3]);
}

#[test]
fn files_are_created_as_the_invoker() {
    if !rustix::process::geteuid().is_root() {
        return crate::not_checked("it needs root");
    }
    let invoker =
        Invoker { uid: Uid(1234), gid: Gid(1235), groups: vec![1236], name: "ana".into(), home: "/home/ana".into() };
    let status = status_after(move || enter_files(Some(&invoker), FileAccess::Read));
    assert_eq!(line(&status, "Uid:"), format!("{USER}\t{USER}\t{USER}\t1234"));
    assert_eq!(line(&status, "Gid:"), format!("{USER}\t{USER}\t{USER}\t1235"));
    assert_eq!((line(&status, "Groups:"), hex(&status, "CapPrm:")), ("1236", 0));
    // Root needs a capability only for directories of others.
    let (own, of_another) = (std::env::temp_dir(), std::env::temp_dir().join(format!("ana-{}", std::process::id())));
    std::fs::create_dir(&of_another).expect("room");
    std::os::unix::fs::chown(&of_another, Some(1234), None).expect("root");
    let overrides = CapabilitySet::DAC_OVERRIDE.bits();
    for (dir, kept) in [(own, 0), (of_another.clone(), overrides)] {
        let status = status_after(move || enter_files(None, FileAccess::Create(&[&dir])));
        assert_eq!(line(&status, "Uid:"), format!("{USER}\t{USER}\t{USER}\t0"));
        assert_eq!((hex(&status, "CapEff:"), hex(&status, "CapPrm:")), (kept, kept));
    }
    let _ = std::fs::remove_dir(of_another);
}

/// The name of an act, and a function that tries it and returns whether it was denied. No act has an effect if it is allowed.
type Act = (&'static str, fn() -> bool);

const READ_SECRETS: &str = "read /etc/shadow";

const ACTS: [Act; 6] = [
    ("execute a program", || denied(call(libc::SYS_execve, [0; 3]))),
    // PTRACE_SEIZE without a process.
    ("trace a process", || denied(call(libc::SYS_ptrace, [0x4206, 0, 0]))),
    ("open a socket", || denied(call(libc::SYS_socket, [libc::AF_INET as u64, libc::SOCK_DGRAM as u64, 0]))),
    // BPF_PROG_LOAD without a program.
    ("load a BPF program", || denied(call(libc::SYS_bpf, [5, 0, 0]))),
    (READ_SECRETS, || denied(std::fs::File::open("/etc/shadow"))),
    ("write a file of root", || denied(std::fs::File::options().write(true).open("/etc/passwd"))),
];

fn denied<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)))
}

/// A system call with numbers only. Its result is an error or a descriptor.
fn call(number: libc::c_long, [a, b, c]: [u64; 3]) -> io::Result<OwnedFd> {
    // SAFETY: where the kernel expects an address, it is null, which the kernel refuses.
    match unsafe { libc::syscall(number, a, b, c) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the descriptor was just returned, and belongs to nothing else.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) }),
    }
}

/// The acts that a thread can do after `enter`. `None` if system calls cannot be restricted.
fn able(enter: impl FnOnce() -> io::Result<Enforced> + Send + 'static) -> Option<Vec<&'static str>> {
    let thread = std::thread::spawn(|| {
        let restricted = enter().expect("rights can always be given up").calls;
        let able = ACTS.iter().filter(|(_, is_denied)| !is_denied()).map(|(name, _)| *name);
        restricted.then(|| able.collect())
    });
    thread.join().expect("no panic")
}

#[test]
fn what_a_trace_must_not_do_is_denied() {
    let is_root = rustix::process::geteuid().is_root();
    let [main, signals] = [false, true].map(|signals| Role::Main { signals, command: None });
    let all = [main, signals, Role::Recorder { inspector: None }, Role::Streams, Role::Sockets];
    for (role, reads) in
        all.map(|role| (role, false)).into_iter().chain([(Role::Reader, true), (Role::Inspector, true)])
    {
        let Some(able) = able(move || enter(role)) else {
            return crate::not_checked("system calls cannot be restricted");
        };
        let expected = if reads && is_root { &[READ_SECRETS][..] } else { &[] };
        assert_eq!(able, expected, "{role:?}");
    }
    let (enforced, user) = trial().expect("rights can always be given up");
    assert_eq!((enforced.calls, user), (true, if is_root { USER } else { rustix::process::geteuid().as_raw() }));
    // Each act is possible here, where nothing was given up.
    if is_root {
        let denied: Vec<_> = ACTS.iter().filter(|(_, is_denied)| is_denied()).map(|(name, _)| name).collect();
        assert_eq!(denied, Vec::<&&str>::new());
    }
}
