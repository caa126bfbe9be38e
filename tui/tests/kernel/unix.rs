//! Connects of Unix sockets.

use crate::prelude::*;

const UNIX: [&str; 2] = ["--kind", "unix"];

#[test]
fn connects_have_their_address_and_their_peer() {
    check(&UNIX, CASES);
}

#[test]
fn connects_of_32_bit_callers_are_seen() {
    check_narrow(&UNIX, narrow);
}

const CASES: &[Case] = &[
    ("listener", listener),
    ("relative", relative),
    ("abstract", abstract_name),
    ("longest", longest),
    ("datagram", datagram),
    ("failures", failures),
    ("refused", refused),
    ("backlog full", backlog_full),
    ("odd addresses", odd_addresses),
    ("no event", no_event),
];

const STREAM: i32 = libc::SOCK_STREAM;
const DATAGRAM: i32 = libc::SOCK_DGRAM;

fn socket(kind: i32) -> u64 {
    sys::call(libc::SYS_socket, &[libc::AF_UNIX as u64, kind as u64]) as u64
}

/// An address: the family, and then the bytes of the path.
fn address(family: i32, path: &[u8]) -> Vec<u8> {
    [&(family as u16).to_ne_bytes(), path].concat()
}

fn call(number: libc::c_long, fd: u64, bytes: &[u8]) -> i64 {
    sys::call(number, &[fd, bytes.as_ptr() as u64, bytes.len() as u64])
}

fn connect(kind: i32, path: &[u8]) -> i64 {
    call(libc::SYS_connect, socket(kind), &address(libc::AF_UNIX, path))
}

fn bound(kind: i32, path: &[u8]) -> u64 {
    let fd = socket(kind);
    assert_eq!(call(libc::SYS_bind, fd, &address(libc::AF_UNIX, path)), 0, "bind");
    assert!(kind == DATAGRAM || sys::call(libc::SYS_listen, &[fd]) == 0, "listen");
    fd
}

fn of(path: &str, ret: i64, more: Value) -> Value {
    with(event("unix", sys::pid(), json!({"path": path, "ret": ret, "abstract": false})), more)
}

fn peer() -> Value {
    json!({"pid": sys::pid(), "uid": 0, "comm": {"?not": null}})
}

fn listener(dir: &Dir) -> Told {
    let path = dir.at("s");
    let text = c(path.as_str());
    bound(STREAM, text.as_bytes_with_nul());
    // What follows the NUL is no part of the path.
    let ret = connect(STREAM, &[text.as_bytes_with_nul(), b"rest"].concat());
    let expected =
        json!({"abs_path": path, "dir": null, "type": "stream", "err": null, "peer": peer(), "fd": {"?ge": 0}});
    let seq = dir.at("seq");
    bound(libc::SOCK_SEQPACKET, seq.as_bytes());
    let packets = connect(libc::SOCK_SEQPACKET, seq.as_bytes());
    Ok(vec![of(&path, ret, expected), of(&seq, packets, json!({"type": "seqpacket", "peer": peer()}))])
}

fn relative(dir: &Dir) -> Told {
    std::env::set_current_dir(dir.path()).expect("a directory");
    bound(STREAM, b"s\0");
    let rets = [connect(STREAM, b"s\0"), connect(STREAM, b"./x")];
    let [found, missing] = ["s", "./x"].map(|name| json!({"dir": dir.path(), "abs_path": dir.at(name)}));
    let missing = with(missing, json!({"err": "ENOENT", "peer": null}));
    Ok(vec![of("s", rets[0], found), of("./x", rets[1], missing)])
}

fn abstract_name(dir: &Dir) -> Told {
    let name = format!("{}\0end", dir.at("name"));
    let bytes = [b"\0", name.as_bytes()].concat();
    bound(STREAM, &bytes);
    let rets = [connect(STREAM, &bytes), connect(STREAM, &bytes[..bytes.len() - 1])];
    let more = json!({"abstract": true, "abs_path": null, "dir": null});
    let shown = |name: &str| format!("@{name}");
    Ok(vec![
        of(&shown(&name), rets[0], with(more.clone(), json!({"peer": peer()}))),
        of(&shown(&name[..name.len() - 1]), rets[1], with(more, json!({"err": "ECONNREFUSED", "peer": null}))),
    ])
}

/// A path that fills the address has no NUL.
fn longest(_: &Dir) -> Told {
    let path = format!("/{}", "n".repeat(107));
    Ok(vec![of(&path, connect(STREAM, path.as_bytes()), json!({"err": "ENOENT", "abs_path": path}))])
}

fn datagram(dir: &Dir) -> Told {
    let path = dir.at("dg");
    bound(DATAGRAM, path.as_bytes());
    let rets = [connect(DATAGRAM, path.as_bytes()), connect(STREAM, path.as_bytes())];
    let other = json!({"err": "EPROTOTYPE", "type": "stream"});
    Ok(vec![of(&path, rets[0], json!({"type": "dgram", "peer": null})), of(&path, rets[1], other)])
}

fn failures(dir: &Dir) -> Told {
    let (file, gone) = (dir.file("file"), dir.at("gone"));
    sys::close(bound(STREAM, gone.as_bytes()) as i64);
    let paths = [(file, "ECONNREFUSED"), (gone, "ECONNREFUSED"), (dir.at("x/y"), "ENOENT")];
    let told = paths.into_iter().map(|(path, err)| {
        let ret = connect(STREAM, path.as_bytes());
        of(&path, ret, json!({"err": err, "abs_path": path}))
    });
    Ok(told.collect())
}

fn refused(dir: &Dir) -> Told {
    let path = dir.at("private");
    bound(STREAM, path.as_bytes());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    // The file system checks this id.
    sys::call(libc::SYS_setfsuid, &[sys::NOBODY.into()]);
    let ret = connect(STREAM, path.as_bytes());
    Ok(vec![of(&path, ret, json!({"err": "EACCES"}))])
}

fn backlog_full(dir: &Dir) -> Told {
    let path = dir.at("s");
    bound(STREAM, path.as_bytes());
    let rets = [0; 2].map(|_| connect(STREAM | libc::SOCK_NONBLOCK, path.as_bytes()));
    Ok(vec![of(&path, rets[0], json!({"peer": peer()})), of(&path, rets[1], json!({"err": "EAGAIN"}))])
}

/// Addresses that are none of a Unix socket: never a path that nobody passed.
fn odd_addresses(_: &Dir) -> Told {
    let pid = sys::pid();
    let refused =
        |ret: i64, why: &str| event("unix", pid, json!({"path": null, "path_why": why, "abs_path": null, "ret": ret}));
    let inet =
        call(libc::SYS_connect, socket(STREAM), &address(libc::AF_INET, b"\x01\xbb\x7f\0\0\x01\0\0\0\0\0\0\0\0"));
    let short = call(libc::SYS_connect, socket(STREAM), &address(libc::AF_UNIX, b""));
    let fault = sys::call(libc::SYS_connect, &[socket(STREAM), 8, 30]);
    Ok(vec![refused(inet, "other_family"), refused(short, "too_short"), refused(fault, "fault")])
}

/// Descriptors without a Unix socket, and the end of a connection.
fn no_event(dir: &Dir) -> Told {
    let path = dir.at("dg");
    bound(DATAGRAM, path.as_bytes());
    let fd = socket(DATAGRAM);
    let to = address(libc::AF_UNIX, path.as_bytes());
    let ret = call(libc::SYS_connect, fd, &to);
    assert_eq!(call(libc::SYS_connect, fd, &address(libc::AF_UNSPEC, b"\0")), 0, "it is dissolved");
    let file = File::open("/").expect("a directory");
    for (fd, err) in [(1 << 19, libc::EBADF), (file.as_raw_fd() as u64, libc::ENOTSOCK)] {
        assert_eq!(call(libc::SYS_connect, fd, &to), -i64::from(err));
    }
    Ok(vec![of(&path, ret, json!({"type": "dgram"})), none("tcp", sys::pid())])
}

/// connect(2) and, on x86, the third call of socketcall(2).
fn narrow(dir: &Dir) -> Told {
    let path = dir.at("nothing");
    let mut narrow = Narrow::new();
    let to = narrow.put(&address(libc::AF_UNIX, path.as_bytes()));
    let len = 2 + path.len() as u32;
    let fd = socket(STREAM) as u32;
    narrow.call(if cfg!(target_arch = "x86_64") { 362 } else { 283 }, [fd, to, len, 0]);
    if cfg!(target_arch = "x86_64") {
        let args = narrow.put(&[fd, to, len].map(u32::to_ne_bytes).concat());
        narrow.call(102, [3, args, 0, 0]);
    }
    let caller = narrow.run_to_its_end(dir)?;
    let of_call = |ret: i64| of(&path, ret, json!({"pid": caller.pid, "err": "ENOENT", "fd": fd}));
    Ok(caller.rets.into_iter().map(of_call).collect())
}
