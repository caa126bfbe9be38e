//! Connections that really fail, in network namespaces of their own. The tests need root and ip(8), and report if they do
//! not have them.

use super::*;
use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;
use tracetui_host::confine::{Role, denied, enter};
use tracetui_host::not_checked;
use tracetui_shared::id::{Tgid, Tid};

/// Runs `act` on a thread in a network namespace of its own. `setup`: lines of ip(8). `None` if that is not possible.
fn in_namespace<T: Send>(setup: &str, act: impl FnOnce() -> T + Send) -> Option<T> {
    let enter = || {
        // SAFETY: it changes the namespace of this thread only.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            not_checked("failed connections: it needs root");
            return None;
        }
        for line in setup.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let Ok(done) = Command::new("ip").args(line.split_whitespace()).output() else {
                not_checked("failed connections: there is no ip(8)");
                return None;
            };
            if !done.status.success() {
                not_checked(&format!("failed connections: ip {line}: {}", String::from_utf8_lossy(&done.stderr)));
                return None;
            }
        }
        Some(act())
    };
    std::thread::scope(|scope| scope.spawn(enter).join().expect("no panic"))
}

fn address(text: &str) -> SocketAddr {
    let address: SocketAddr = text.parse().expect("an address");
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The facts about a connection of this thread that just failed.
fn asked(to: &str, errno: i32) -> FailedConnect {
    FailedConnect {
        tgid: Tgid(std::process::id()),
        tid: Tid(rustix::thread::gettid().as_raw_nonzero().get() as u32),
        net_ns: procfs::namespace("/proc/thread-self", "net").expect("a namespace"),
        time: clock::now_boot(),
        call: SocketCall::Connect,
        to: address(to),
        errno,
        proven: None,
    }
}

/// The answer of a thread with the rights of a trace's lookup thread: the cause, the text, and what is near.
fn answered(asked: FailedConnect, sockets: &Sockets) -> (Cause, String, Option<String>) {
    let (sockets, to) = (sockets.clone(), asked.to);
    let looked = std::thread::spawn(move || {
        enter(Role::Reader).expect("rights can always be given up");
        look(&asked, &sockets)
    });
    let answer = looked.join().expect("no panic");
    assert_eq!(denied(), None);
    assert!(matches!(answer.basis, Basis::Checked(1..)), "{answer:?}");
    let component = (answer.cause != Cause::Unknown).then(|| to.to_string().into_bytes());
    assert_eq!(answer.component, component, "{answer:?}");
    let comm = fs::read_to_string("/proc/self/comm").expect("readable");
    let own = format!("{}[{}]", comm.trim_end(), std::process::id());
    let text = |bytes| String::from_utf8(bytes).expect("text").replace(&own, "SELF");
    (answer.cause, text(answer.text), answer.near.map(text))
}

/// Connects, which fails with `errno`, and compares the answer.
#[track_caller]
fn check(to: &str, errno: i32, sockets: &Sockets, cause: Cause, text: &str, near: Option<&str>) {
    assert_eq!(TcpStream::connect(to).expect_err("it fails").raw_os_error(), Some(errno), "{to}");
    assert_eq!(answered(asked(to, errno), sockets), (cause, text.to_owned(), near.map(str::to_owned)), "{to}");
}

/// A listener. The child of another test may hold one of the same port for a while: it was forked meanwhile.
fn listener(on: &str) -> TcpListener {
    for _ in 0..200 {
        match TcpListener::bind(on) {
            Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            bound => return bound.expect("the port is free"),
        }
    }
    panic!("{on} is in use for 10 s")
}

fn only_v6(port: u16) -> OwnedFd {
    let socket = socket(AddressFamily::INET6, SocketType::STREAM, None).expect("a socket");
    sockopt::set_ipv6_v6only(&socket, true).expect("it is not bound");
    bind(&socket, &SocketAddr::new("::".parse().expect("an address"), port)).expect("the port is free");
    listen(&socket, 1).expect("it is bound");
    socket
}

#[test]
fn a_refused_connection_names_the_sockets_nearby() {
    let sockets = Sockets::start().expect("a thread");
    let refused = |to, cause, text: &str, near| check(to, libc::ECONNREFUSED, &sockets, cause, text, near);
    let (nothing, elsewhere, family) = (Cause::NothingListens, Cause::ListensElsewhere, Cause::WrongFamily);
    in_namespace("link set lo up", || {
        refused("127.0.0.1:5432", nothing, "nothing listens on 127.0.0.1:5432", None);
        // Too far, and on another address.
        let far = [listener("127.0.0.1:4431"), listener("127.0.0.2:5431")];
        refused("127.0.0.1:5432", nothing, "nothing listens on 127.0.0.1:5432", None);
        let near = [listener("127.0.0.1:5433"), listener("0.0.0.0:5440")];
        let text = "nothing listens on 127.0.0.1:5432; SELF listens on 5433";
        refused("127.0.0.1:5432", nothing, text, Some("127.0.0.1:5433"));
        refused("[::ffff:127.0.0.1]:5432", nothing, text, Some("127.0.0.1:5433"));
        refused("[::1]:5432", nothing, "nothing listens on [::1]:5432", None);
        let on_v6 = listener("[::1]:5432");
        refused("127.0.0.1:5432", family, "SELF listens for IPv6 only, on [::1]:5432", Some("[::1]:5432"));
        let on_other = listener("127.0.0.2:5432");
        let text = "SELF listens on 127.0.0.2:5432 only (and 1 more)";
        refused("127.0.0.1:5432", elsewhere, text, Some("127.0.0.2:5432"));
        drop(on_v6);
        refused("127.0.0.1:5432", elsewhere, "SELF listens on 127.0.0.2:5432 only", Some("127.0.0.2:5432"));
        refused("[::1]:5432", family, "SELF listens for IPv4 only, on 127.0.0.2:5432", Some("127.0.0.2:5432"));
        drop((far, near, on_other));
        let all = only_v6(80);
        refused("127.0.0.1:80", family, "SELF listens for IPv6 only, on [::]:80", Some("[::]:80"));
        drop(all);
        // It listens by the time of the lookup, on all addresses of both families.
        let asked = asked("127.0.0.1:80", libc::ECONNREFUSED);
        let both = listener("[::]:80");
        assert_eq!(answered(asked, &sockets), (Cause::Unknown, "SELF listens on [::]:80 now".to_owned(), None));
        drop(both);
    });
}

#[test]
fn a_full_backlog_is_told_from_other_timeouts() {
    let sockets = Sockets::start().expect("a thread");
    in_namespace("link set lo up", || {
        let server = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&server, &address("127.0.0.1:5432")).expect("the port is free");
        listen(&server, 0).expect("it is bound");
        let timed_out = || FailedConnect {
            proven: Some(Answer { cause: Cause::Timeout, ..Answer::unknown("no answer", 1) }),
            ..asked("127.0.0.1:5432", libc::ETIMEDOUT)
        };
        let proven = Answer { cause: Cause::Timeout, ..Answer::unknown("no answer", 1) };
        assert_eq!(look(&timed_out(), &sockets), proven, "it waits for nobody");
        let _first = TcpStream::connect("127.0.0.1:5432").expect("there is room for one");
        let wait = Duration::from_millis(100);
        let second = TcpStream::connect_timeout(&address("127.0.0.1:5432"), wait);
        assert_eq!(second.expect_err("no answer").kind(), io::ErrorKind::TimedOut);
        let text = "the backlog of SELF on 127.0.0.1:5432 is full: 1 connection waits, the limit is 0";
        assert_eq!(answered(timed_out(), &sockets), (Cause::BacklogFull, text.to_owned(), None));
    });
}

#[test]
fn an_address_that_cannot_be_bound_has_a_holder_or_a_rule() {
    let sockets = Sockets::start().expect("a thread");
    in_namespace("link set lo up", || {
        let check = |udp: bool, to: &str, errno: i32, cause: Cause, text: &str, near: Option<&str>| {
            let answer = || answered(FailedConnect { call: SocketCall::Bind { udp }, ..asked(to, errno) }, &sockets);
            let want = (cause, text.to_owned(), near.map(str::to_owned));
            // A child of another test holds all sockets until its exec, and the end of a connection takes a while.
            (0..50).take_while(|_| answer() != want).for_each(|_| std::thread::sleep(Duration::from_millis(20)));
            assert_eq!(answer(), want, "{to}");
        };
        let (used, within) = (libc::EADDRINUSE, "in its network namespace");
        let (tcp, udp) = (listener("127.0.0.1:5433"), UdpSocket::bind("[::]:5433").expect("IPv6"));
        check(false, "127.0.0.1:5433", used, Cause::InUse, &format!("127.0.0.1:5433 is held by SELF {within}"), None);
        let text = format!("0.0.0.0:5433 is held by SELF, on 127.0.0.1:5433 {within}");
        check(false, "0.0.0.0:5433", used, Cause::InUse, &text, Some("127.0.0.1:5433"));
        let text = format!("127.0.0.1:5433 is held by SELF, on [::]:5433 {within}");
        check(true, "127.0.0.1:5433", used, Cause::InUse, &text, Some("[::]:5433"));
        drop(udp);
        for (udp, to) in [(true, "127.0.0.1:5433"), (false, "127.0.0.2:5433")] {
            let text =
                format!("nothing holds {to} now {within} (before 6.8, a socket that is only bound is not listed)");
            check(udp, to, used, Cause::Unknown, &text, None);
        }
        let client = TcpStream::connect("127.0.0.1:5433").expect("it listens");
        // The side that closes first waits.
        drop(tcp.accept().expect("a client"));
        drop(client);
        drop(tcp);
        let text =
            format!("only 1 connection in TIME-WAIT holds 127.0.0.1:5433 {within}: not all sockets had SO_REUSEADDR");
        check(false, "127.0.0.1:5433", used, Cause::InUse, &text, None);
        let text = "no interface of its network namespace has the address 10.9.9.9";
        check(false, "10.9.9.9:80", libc::EADDRNOTAVAIL, Cause::NoAddress, text, None);
        let text = "port 80 is below net.ipv4.ip_unprivileged_port_start (1024 unless changed), and the process lacks CAP_NET_BIND_SERVICE";
        check(false, "127.0.0.1:80", libc::EACCES, Cause::NoPermission, text, None);
        let text = "the local machine refused it: a BPF program of the cgroup, a security module or a filter may have";
        check(false, "127.0.0.1:8080", libc::EACCES, Cause::Firewall, text, None);
    });
}

#[test]
fn a_route_is_named_by_its_type() {
    let sockets = Sockets::start().expect("a thread");
    in_namespace("", || {
        let text = "no route leads to 127.0.0.1: the interface lo is down";
        check("127.0.0.1:1", libc::ENETUNREACH, &sockets, Cause::NoRoute, text, None);
    });
    let routes = "link set lo up
        route add blackhole 192.0.2.0/24
        route add prohibit 198.51.100.0/24
        route add unreachable 203.0.113.0/24
        -6 route add blackhole 2001:db8:1::/48
        -6 route add prohibit 2001:db8:2::/48
        -6 route add unreachable 2001:db8:3::/48";
    in_namespace(routes, || {
        for (to, errno, cause, kind) in [
            ("192.0.2.1", libc::EINVAL, Cause::Blackhole, "blackhole"),
            ("198.51.100.1", libc::EACCES, Cause::Prohibited, "prohibit"),
            ("203.0.113.1", libc::EHOSTUNREACH, Cause::NoRoute, "unreachable"),
            ("2001:db8:1::1", libc::EINVAL, Cause::Blackhole, "blackhole"),
            ("2001:db8:2::1", libc::EACCES, Cause::Prohibited, "prohibit"),
            ("2001:db8:3::1", libc::EHOSTUNREACH, Cause::NoRoute, "unreachable"),
        ] {
            let text = format!("the route to {to} is of the type {kind}");
            let to = SocketAddr::new(to.parse().expect("an address"), 80).to_string();
            check(&to, errno, &sockets, cause, &text, None);
        }
        for to in ["10.0.0.1", "2001:db8:4::1"] {
            let text = format!("no route leads to {to}");
            let to = SocketAddr::new(to.parse().expect("an address"), 80).to_string();
            check(&to, libc::ENETUNREACH, &sockets, Cause::NoRoute, &text, None);
        }
        // The route is there, but something else refused.
        let (cause, text, _) = answered(asked("127.0.0.1:1", libc::EPERM), &sockets);
        assert!(cause == Cause::Firewall && text.ends_with("may have"), "{text}");
        let (cause, text, _) = answered(asked("127.0.0.1:1", libc::EHOSTUNREACH), &sockets);
        assert!(cause == Cause::Firewall && text.contains("may have refused"), "{text}");
    });
}

#[test]
fn another_host_is_silent_or_refuses() {
    let sockets = Sockets::start().expect("a thread");
    let pair = "link set lo up
        link add v0 type veth peer name v1
        addr add 10.9.0.1/24 dev v0
        link set v0 up
        link set v1 up
        route add default via 10.9.0.9";
    in_namespace(pair, || {
        let text = "10.9.0.2 does not answer on v0 (ARP failed)";
        check("10.9.0.2:80", libc::EHOSTUNREACH, &sockets, Cause::NoNeighbour, text, None);
        let text = "the router 10.9.0.9 does not answer on v0 (ARP failed)";
        check("192.0.2.1:80", libc::EHOSTUNREACH, &sockets, Cause::NoNeighbour, text, None);
        // Without an ICMP message, the connection waits for longer than the neighbour is sought.
        let silent = answered(asked("192.0.2.1:80", libc::ETIMEDOUT), &sockets);
        assert_eq!(silent, (Cause::NoNeighbour, text.to_owned(), None));
        let text = "10.9.0.3 is not an address of this network namespace: it refused the connection, or a firewall on the way did";
        let refused = (Cause::RefusedRemotely, text.to_owned(), None);
        assert_eq!(answered(asked("10.9.0.3:80", libc::ECONNREFUSED), &sockets), refused);
    });
}

#[test]
fn a_namespace_is_found_through_any_process_in_it() {
    let sockets = Sockets::start().expect("a thread");
    let left = in_namespace("link set lo up", || {
        let mut sleep = Command::new("sleep");
        (sleep.arg("60").spawn().expect("coreutils"), asked("127.0.0.1:1", libc::ECONNREFUSED))
    });
    let Some((mut child, asked)) = left else { return };
    let nothing = (Cause::NothingListens, "nothing listens on 127.0.0.1:1".to_owned(), None);
    let while_it_runs = answered(asked.clone(), &sockets);
    child.kill().and_then(|()| child.wait()).expect("a child");
    assert_eq!(while_it_runs, nothing);
    let gone = "no process is left in its network namespace".to_owned();
    assert_eq!(answered(asked, &sockets), (Cause::Unknown, gone, None));
}

#[test]
fn a_socket_bound_to_an_interface_accepts_only_from_there() {
    let to = "10.0.0.1".parse().expect("an address");
    let bound = Listener {
        address: "0.0.0.0".parse().expect("an address"),
        port: 80,
        only_v6: false,
        interface: 2,
        waiting: 0,
        limit: 1,
        inode: 1,
        state: tracetui_shared::record::tcp::state::LISTEN,
    };
    assert!(accepts(&bound, to, 2) && !accepts(&bound, to, 1));
    let elsewhere = Listener { address: "10.0.0.2".parse().expect("an address"), interface: 0, ..bound };
    assert!(!accepts(&elsewhere, to, 1) && takes_family(&elsewhere, to));
}
