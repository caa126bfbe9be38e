//! stdin, stdout and stderr of new programs, compared with /proc/PID/fd of the programs that wait.

use crate::sys::{self, c, fork};
use crate::tcp::net;
use crate::traced::{Dir, Run, Traced, alone, n, release};
use serde_json::{Value, json};
use std::fs;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::Command;
use std::time::{Duration, Instant};

const NAMES: [&str; 3] = ["stdin", "stdout", "stderr"];

/// Waits until a condition holds.
pub(crate) fn wait_for<T>(mut get: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = get() {
            return value;
        }
        assert!(Instant::now() < end, "it never happens");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process waits in sleep(1). While it starts, it opens and closes files.
pub(crate) fn is_sleep(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(" (sleep) S "))
}

/// The type, the path and the inode of a descriptor of a waiting process, as procfs shows them.
fn shown(pid: i32, fd: usize) -> [Value; 3] {
    let at = format!("/proc/{pid}/fd/{fd}");
    let Ok(link) = fs::read_link(&at) else { return [json!("closed"), Value::Null, Value::Null] };
    let link = link.into_os_string().into_string().expect("UTF-8");
    let (file, path) = (fs::metadata(&at).expect("an open file"), link.strip_suffix(" (deleted)").unwrap_or(&link));
    // These files have only a name.
    let path = path.strip_prefix("anon_inode:").unwrap_or(path);
    let named = path.strip_prefix("/memfd").map_or(path.to_owned(), |name| format!("memfd{name}"));
    let (kind, device) = (file.file_type(), file.rdev());
    let (kind, ino) = match () {
        () if kind.is_file() => ("file", false),
        () if kind.is_fifo() => ("pipe", true),
        () if kind.is_socket() => ("socket", true),
        () if device == libc::makedev(1, 3) => ("null", false),
        () if path.starts_with("/dev/pts/") || path.starts_with("/dev/tty") => ("tty", false),
        () => ("other", false),
    };
    let path = (!path.starts_with("pipe:") && !path.starts_with("socket:")).then_some(named);
    [json!(kind), json!(path), json!(ino.then_some(file.ino()))]
}

/// The descriptors of some waiting processes.
fn all_shown(pids: &[i32]) -> Vec<[[Value; 3]; 3]> {
    pids.iter().map(|pid| [0, 1, 2].map(|fd| shown(*pid, fd))).collect()
}

fn execed(run: &Run, pid: i32) -> Value {
    run.one("exec", pid, |event| event["ret"] == 0)
}

fn check(run: &Run, pids: &[i32], all: &[[[Value; 3]; 3]]) {
    for (pid, want) in pids.iter().zip(all) {
        let event = execed(run, *pid);
        for (name, [kind, path, ino]) in NAMES.iter().zip(want) {
            let of = &event[name];
            assert_eq!([&of["type"], &of["path"], &of["ino"]], [kind, path, ino], "{name} of {event}");
        }
    }
}

#[test]
fn a_pipeline_has_the_descriptors_of_procfs() {
    let _alone = alone();
    let dir = Dir::new();
    fs::write(dir.at("in"), "").expect("a file");
    let Some(traced) = Traced::start(&["--kind", "exec"]) else { return };
    let script =
        "sleep 1000 <in 2>>'the errors' | sleep 1001 2>&1 3<in | (sleep 1002 >out 2>/dev/null) | sleep 1003 2>&-";
    let mut shell = Command::new("sh").args(["-c", script]).current_dir(dir.path()).spawn().expect("a shell");
    let below = |pid: i32| {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().map(|pid| pid.parse().expect("a number")).collect::<Vec<i32>>()
    };
    let pids: Vec<i32> = wait_for(|| {
        let children = below(shell.id() as i32).into_iter();
        let sleeps = children.flat_map(|pid| if is_sleep(pid) { vec![pid] } else { below(pid) });
        Some(sleeps.filter(|pid| is_sleep(*pid)).collect()).filter(|pids: &Vec<_>| pids.len() == 4)
    });
    let all = all_shown(&pids);
    pids.iter().for_each(|pid| sys::kill(*pid, libc::SIGKILL));
    shell.wait().expect("it ends");
    let run = traced.stop();
    run.check();
    check(&run, &pids, &all);
    let ends: Vec<_> = all.iter().map(|[input, output, _]| (&input[2], &output[2])).collect();
    let joined = ends.windows(2).filter(|pair| !pair[0].1.is_null() && pair[0].1 == pair[1].0).count();
    assert_eq!(joined, 2, "the third writes to a file: {ends:?}");
}

/// Makes a descriptor the standard one, in a child.
fn put(from: i32, to: u64) {
    assert_eq!(sys::dup2(from as u64, to), to as i64);
}

pub(crate) fn open(path: &str, flags: i32) -> i32 {
    let fd = sys::openat(libc::AT_FDCWD, &c(path), flags, 0o600);
    assert!(fd >= 0, "{path}: {fd}");
    fd as i32
}

/// A new pseudo-terminal, and the path of its other end.
pub(crate) fn terminal() -> (OwnedFd, String) {
    let mut name = [0; 64];
    // SAFETY: the descriptor is new, and `name` has the length that is passed.
    unsafe {
        let terminal = OwnedFd::from_raw_fd(libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY));
        let fd = terminal.as_raw_fd();
        assert!(libc::grantpt(fd) == 0 && libc::unlockpt(fd) == 0);
        assert_eq!(libc::ptsname_r(fd, name.as_mut_ptr().cast(), name.len()), 0);
        (terminal, String::from_utf8_lossy(name.split(|byte| *byte == 0).next().expect("a name")).into_owned())
    }
}

/// Starts a program whose descriptors a closure makes.
pub(crate) fn start(make: impl FnOnce()) -> i32 {
    fork(|| {
        make();
        let (path, name, time) = (c("/bin/sleep"), c("sleep"), c("1000"));
        let argv = [name.as_ptr(), time.as_ptr(), std::ptr::null()];
        // SAFETY: the strings and the list outlive the call.
        unsafe { libc::execv(path.as_ptr(), argv.as_ptr()) };
    })
}

#[test]
fn every_type_of_file_is_that_of_procfs() {
    let _alone = alone();
    let dir = Dir::new();
    let deep = (0..10).fold(dir.at("deep"), |path, _| format!("{path}/{}", "d".repeat(200)));
    fs::create_dir_all(&deep).expect("directories");
    let [fifo, gone] = ["fifo", "gone"].map(|name| dir.at(name));
    // SAFETY: the path outlives the call.
    assert_eq!(unsafe { libc::mkfifo(c(fifo.as_str()).as_ptr(), 0o600) }, 0);
    let Some(traced) = Traced::start(&["--kind", "exec"]) else { return };
    // A machine that was just booted does not have it up.
    net::up("lo");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let connected = TcpStream::connect(address).expect("it listens");
    let (udp, six) = (UdpSocket::bind("127.0.0.1:0").expect("a port"), TcpListener::bind("[::1]:0").ok());
    udp.connect("127.0.0.1:9").expect("UDP connects to any port");
    let of_six = six.as_ref().map(|six| TcpStream::connect(six.local_addr().expect("bound")).expect("it listens"));
    let (unix, _other) = UnixStream::pair().expect("sockets");
    let pids = [
        start(|| {
            put(open("/dev/null", libc::O_RDWR), 0);
            put(open("/dev/zero", libc::O_RDONLY), 1);
            put(open("/", libc::O_RDONLY), 2);
        }),
        start(|| {
            put(open(&fifo, libc::O_RDWR), 0);
            put(open(&gone, libc::O_CREAT | libc::O_WRONLY), 1);
            fs::remove_file(&gone).expect("it is there");
            put(open(&format!("{deep}/out"), libc::O_CREAT | libc::O_WRONLY | libc::O_APPEND), 2);
        }),
        start(|| {
            // SAFETY: the calls take numbers and a string that outlives them.
            let (memory, event) = unsafe { (libc::memfd_create(c"name".as_ptr(), 0), libc::eventfd(0, 0)) };
            let (held, name) = terminal();
            std::mem::forget(held);
            put(open(&name, libc::O_RDWR | libc::O_NOCTTY), 0);
            put(memory, 1);
            put(event, 2);
        }),
        start(|| {
            put(connected.as_raw_fd(), 0);
            put(unix.as_raw_fd(), 1);
            put(listener.as_raw_fd(), 2);
        }),
        start(|| {
            put(udp.as_raw_fd(), 0);
            put(of_six.map_or(1, IntoRawFd::into_raw_fd), 1);
            // SAFETY: fcntl takes numbers.
            unsafe { libc::fcntl(2, libc::F_SETFD, libc::FD_CLOEXEC) };
        }),
        start(|| {
            put(open(&deep, libc::O_RDONLY), 0);
            put(0, 1);
            put(open(&deep, libc::O_RDONLY), 2);
        }),
        start(|| (0..3).for_each(sys::close)),
    ];
    pids.iter().for_each(|pid| wait_for(|| is_sleep(*pid).then_some(())));
    let all = all_shown(&pids);
    for pid in pids {
        sys::kill(pid, libc::SIGKILL);
        sys::wait(pid);
    }
    let run = traced.stop();
    run.check();
    check(&run, &pids, &all);
    let peers = |pid| NAMES.map(|name| execed(&run, pid)[name]["peer"].clone());
    assert_eq!(peers(pids[3]), [json!(address.to_string()), Value::Null, Value::Null]);
    let six = six.map(|six| six.local_addr().expect("bound").to_string());
    assert_eq!(peers(pids[4]), [json!("127.0.0.1:9"), json!(six), Value::Null]);
    assert!(all[4][2][0] == "closed" && all[2][0][0] == "tty", "{all:?}");
}

/// The other descriptors of a waiting process: each with its path, and an operator by its access mode.
fn others_shown(pid: i32) -> Vec<String> {
    let names =
        fs::read_dir(format!("/proc/{pid}/fd")).expect("it waits").map(|entry| entry.expect("listed").file_name());
    let mut numbers: Vec<usize> = names.map(|name| name.to_str().expect("ASCII").parse().expect("a number")).collect();
    numbers.sort_unstable();
    let text = |fd: &usize| {
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).expect("it is open");
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags").trim();
        let flags = i32::from_str_radix(flags, 8).expect("octal");
        let operator = match flags & libc::O_ACCMODE {
            libc::O_RDONLY => "<",
            libc::O_RDWR => "<>",
            _ if flags & libc::O_APPEND != 0 => ">>",
            _ => ">",
        };
        let [kind, path, ino] = shown(pid, *fd).map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
        let file = if path == "null" { format!("{kind}:[{ino}]") } else { path };
        format!("{fd}{operator}{file}")
    };
    numbers.iter().filter(|fd| (3..64).contains(*fd)).map(text).collect()
}

#[test]
fn the_other_descriptors_are_those_of_procfs() {
    let _alone = alone();
    let dir = Dir::new();
    let Some(traced) = Traced::start(&["--kind", "exec", "--fds"]) else { return };
    let file = |name: &str| dir.at(name);
    let pids = [
        start(|| {
            open(&file("read"), libc::O_CREAT | libc::O_RDONLY);
            let (write, append) = (libc::O_CREAT | libc::O_WRONLY, libc::O_WRONLY | libc::O_APPEND);
            put(open(&file("write"), write), 40);
            put(open(&file("read"), append), 63);
            put(open(&file("read"), libc::O_RDWR), 64);
            put(open("/dev/null", libc::O_RDWR | libc::O_CLOEXEC), 62);
            let mut ends = [0; 2];
            // SAFETY: the calls fill the array.
            unsafe { assert!(libc::pipe(ends.as_mut_ptr()) == 0 && libc::socketpair(1, 1, 0, ends.as_mut_ptr()) == 0) };
            // dup3 clears FD_CLOEXEC only without the flag.
            // SAFETY: fcntl takes numbers.
            unsafe { libc::fcntl(62, libc::F_SETFD, libc::FD_CLOEXEC) };
        }),
        start(|| (3..64).for_each(sys::close)),
    ];
    pids.iter().for_each(|pid| wait_for(|| is_sleep(*pid).then_some(())));
    let shown = pids.map(others_shown);
    for pid in pids {
        sys::kill(pid, libc::SIGKILL);
        sys::wait(pid);
    }
    let run = traced.stop();
    run.check();
    assert!(shown[0].len() >= 7 && shown[1].is_empty(), "{shown:?}");
    for (pid, mut shown) in pids.into_iter().zip(shown) {
        let event = execed(&run, pid);
        // Where the verifier walks through each descriptor, they are the first eight.
        if event["fds_why"] == "cut" {
            assert!(release() < (6, 9), "{event}");
            shown.truncate(8);
        }
        assert_eq!(event["fds"], json!(shown), "{event}");
    }
}

#[test]
fn the_peer_of_a_unix_socket_is_known() {
    let _alone = alone();
    let dir = Dir::new();
    let Some(traced) = Traced::start(&["--kind", "exec"]) else { return };
    let path = dir.at("socket");
    let (at_path, name) = (UnixListener::bind(&path).expect("a socket"), format!("tracetui-{}", std::process::id()));
    let address = SocketAddr::from_abstract_name(&name).expect("short");
    let abstracted = UnixListener::bind_addr(&address).expect("a socket");
    let (first, second) =
        (UnixStream::connect(&path).expect("it listens"), UnixStream::connect_addr(&address).expect("it listens"));
    let accepted = at_path.accept().expect("connected").0;
    let (one, other) = UnixStream::pair().expect("sockets");
    let pid = start(|| {
        put(first.as_raw_fd(), 0);
        put(second.as_raw_fd(), 1);
        put(one.as_raw_fd(), 2);
    });
    wait_for(|| is_sleep(pid).then_some(()));
    sys::kill(pid, libc::SIGKILL);
    sys::wait(pid);
    let run = traced.stop();
    run.check();
    let event = execed(&run, pid);
    let ino = |socket: &dyn AsFd| {
        let file = fs::File::from(socket.as_fd().try_clone_to_owned().expect("a descriptor"));
        json!(file.metadata().expect("a socket").ino())
    };
    let peers = NAMES.map(|name| [event[name]["peer"].clone(), event[name]["peer_ino"].clone()]);
    let wanted = [
        [json!(format!("unix:{path}")), ino(&accepted)],
        // Nobody has accepted it, so its other end has no inode yet.
        [json!(format!("abstract:{name}")), Value::Null],
        [Value::Null, ino(&other)],
    ];
    assert_eq!(peers, wanted, "{event}");
    drop(abstracted);
}

#[test]
fn a_failed_exec_has_none() {
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "exec"]) else { return };
    let pid = fork(|| {
        let path = c("/nowhere/program");
        // SAFETY: the list ends.
        unsafe { libc::execv(path.as_ptr(), [path.as_ptr(), std::ptr::null()].as_ptr()) };
    });
    sys::wait(pid);
    let run = traced.stop();
    let event = run.one("exec", pid, |_| true);
    NAMES.iter().for_each(|name| {
        assert_eq!((&event[name], &event[format!("{name}_why")]), (&Value::Null, &json!("failed")), "{event}");
    });
    assert_eq!(n(&run.account()["lost"]), 0);
}
