//! stdin, stdout and stderr of new programs, compared with /proc/PID/fd of the programs that wait.

use crate::prelude::*;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{SocketAddr, UnixListener};

const NAMES: [&str; 3] = ["stdin", "stdout", "stderr"];

#[test]
fn descriptors_of_new_programs_are_those_of_procfs() {
    let Some(account) = check(&["--kind", "exec", "--fds"], CASES) else { return };
    assert_eq!(n(&account["lost"]), 0, "{account}");
}

const CASES: &[Case] = &[
    ("pipeline", pipeline),
    ("types", types_of_files),
    ("others", other_descriptors),
    ("peers", peers_of_unix_sockets),
    ("failed", |_| {
        become_program("/nowhere/program", &["/nowhere/program"]);
        let none = NAMES.map(|name| [(name.to_owned(), Value::Null), (format!("{name}_why"), json!("failed"))]);
        Ok(vec![event("exec", sys::pid(), none.into_iter().flatten().collect())])
    }),
];

#[track_caller]
pub(crate) fn wait_for<T>(mut get: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    sys::wait_until(|| {
        found = get();
        found.is_some()
    });
    found.expect("waited for")
}

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

fn execed(pid: i32) -> Value {
    let mut exec = json!({"ret": 0});
    for (fd, name) in NAMES.into_iter().enumerate() {
        let [kind, path, ino] = shown(pid, fd);
        exec[name] = json!({"type": kind, "path": path, "ino": ino});
    }
    event("exec", pid, exec)
}

fn each(mut exec: Value, field: &str, values: [Value; 3]) -> Value {
    NAMES.into_iter().zip(values).for_each(|(name, value)| exec[name][field] = value);
    exec
}

fn pipeline(dir: &Dir) -> Told {
    fs::write(dir.at("in"), "").expect("a file");
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
    let told: Vec<Value> = pids.iter().map(|pid| execed(*pid)).collect();
    pids.iter().for_each(|pid| sys::kill(*pid, libc::SIGKILL));
    shell.wait().expect("it ends");
    let is_joined = |pair: &&[Value]| {
        let [output, input] = [&pair[0]["stdout"]["ino"], &pair[1]["stdin"]["ino"]];
        !output.is_null() && output == input
    };
    assert_eq!(told.windows(2).filter(is_joined).count(), 2, "the third writes to a file: {told:?}");
    Ok(told)
}

fn put(from: i32, to: u64) {
    assert_eq!(sys::dup2(from as u64, to), to as i64);
}

pub(crate) fn open(path: &str, flags: i32) -> i32 {
    let fd = sys::openat(libc::AT_FDCWD, &c(path), flags, 0o600);
    assert!(fd >= 0, "{path}: {fd}");
    fd as i32
}

pub(crate) fn terminal() -> (OwnedFd, String) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudoterminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("the other end can be opened");
    let name = ptsname(&terminal, Vec::new()).expect("a name").into_string().expect("UTF-8");
    (terminal, name)
}

/// Starts a program whose descriptors a closure makes.
pub(crate) fn start(make: impl FnOnce()) -> i32 {
    fork(|| {
        make();
        become_program("/bin/sleep", &["sleep", "1000"]);
    })
}

fn killed<T>(pids: &[i32], look: impl FnOnce() -> T) -> T {
    pids.iter().for_each(|pid| wait_for(|| is_sleep(*pid).then_some(())));
    let seen = look();
    for pid in pids {
        sys::kill(*pid, libc::SIGKILL);
        sys::wait(*pid);
    }
    seen
}

fn types_of_files(dir: &Dir) -> Told {
    let deep = (0..10).fold(dir.at("deep"), |path, _| format!("{path}/{}", "d".repeat(200)));
    fs::create_dir_all(&deep).expect("directories");
    let [fifo, gone] = ["fifo", "gone"].map(|name| dir.at(name));
    sys::mkfifo(&fifo);
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
            let event = call(libc::SYS_eventfd2, &[]) as i32;
            let (held, name) = terminal();
            std::mem::forget(held);
            put(open(&name, libc::O_RDWR | libc::O_NOCTTY), 0);
            put(sys::memory(c"name"), 1);
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
            call(libc::SYS_fcntl, &[2, libc::F_SETFD as u64, libc::FD_CLOEXEC as u64]);
        }),
        start(|| {
            put(open(&deep, libc::O_RDONLY), 0);
            put(0, 1);
            put(open(&deep, libc::O_RDONLY), 2);
        }),
        start(|| (0..3).for_each(sys::close)),
    ];
    let mut told = killed(&pids, || pids.map(execed));
    let six = six.map(|six| six.local_addr().expect("bound").to_string());
    told[3] = each(told[3].take(), "peer", [json!(address.to_string()), Value::Null, Value::Null]);
    told[4] = each(told[4].take(), "peer", [json!("127.0.0.1:9"), json!(six), Value::Null]);
    assert!(told[4]["stderr"]["type"] == "closed" && told[2]["stdin"]["type"] == "tty", "{told:?}");
    Ok(told.to_vec())
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

fn other_descriptors(dir: &Dir) -> Told {
    let file = |name: &str| dir.at(name);
    let pids = [
        start(|| {
            open(&file("read"), libc::O_CREAT | libc::O_RDONLY);
            let (write, append) = (libc::O_CREAT | libc::O_WRONLY, libc::O_WRONLY | libc::O_APPEND);
            put(open(&file("write"), write), 40);
            put(open(&file("read"), append), 63);
            put(open(&file("read"), libc::O_RDWR), 64);
            put(open("/dev/null", libc::O_RDWR | libc::O_CLOEXEC), 62);
            sys::pipe();
            assert_eq!(call(libc::SYS_socketpair, &[1, 1, 0, [0u64; 1].as_mut_ptr() as u64]), 0);
            // dup3 clears FD_CLOEXEC only without the flag.
            call(libc::SYS_fcntl, &[62, libc::F_SETFD as u64, libc::FD_CLOEXEC as u64]);
        }),
        start(|| (3..64).for_each(sys::close)),
    ];
    let shown = killed(&pids, || pids.map(others_shown));
    assert!(shown[0].len() >= 7 && shown[1].is_empty(), "{shown:?}");
    let told = pids.into_iter().zip(shown).map(|(pid, shown)| {
        // Where the verifier walks through each descriptor, they are the first eight.
        let first = &shown[..shown.len().min(8)];
        let mut either = vec![json!({"fds": shown, "fds_why": {"?not": "cut"}})];
        either.extend((release() < (6, 9)).then(|| json!({"fds": first, "fds_why": "cut"})));
        event("exec", pid, json!({"ret": 0, "?or": either}))
    });
    Ok(told.collect())
}

fn peers_of_unix_sockets(dir: &Dir) -> Told {
    let path = dir.at("socket");
    let (at_path, name) = (UnixListener::bind(&path).expect("a socket"), format!("tracetui-{}", sys::pid()));
    let address = SocketAddr::from_abstract_name(&name).expect("short");
    let _abstracted = UnixListener::bind_addr(&address).expect("a socket");
    let (first, second) =
        (UnixStream::connect(&path).expect("it listens"), UnixStream::connect_addr(&address).expect("it listens"));
    let accepted = at_path.accept().expect("connected").0;
    let (one, other) = UnixStream::pair().expect("sockets");
    let pid = start(|| {
        put(first.as_raw_fd(), 0);
        put(second.as_raw_fd(), 1);
        put(one.as_raw_fd(), 2);
    });
    let ino = |socket: &dyn AsFd| {
        let file = File::from(socket.as_fd().try_clone_to_owned().expect("a descriptor"));
        json!(file.metadata().expect("a socket").ino())
    };
    let peers = [json!(format!("unix:{path}")), json!(format!("abstract:{name}")), Value::Null];
    let exec = killed(&[pid], || execed(pid));
    // Nobody has accepted the second one, so its other end has no inode yet.
    Ok(vec![each(each(exec, "peer", peers), "peer_ino", [ino(&accepted), Value::Null, ino(&other)])])
}
