//! Connections with a known truth. Each function runs in a process of its own, and returns the events that it caused.

use super::net::*;
use super::told::{accepted, closed, connected, failed, listens, named, process, reset, reset_by_peer, unbound};
use crate::arch::nr32;
use crate::prelude::*;
use crate::uring::{self, BY_WORKER, Ring, SQPOLL, Sqe};
use std::net::Ipv4Addr;
use std::sync::atomic::AtomicU8;

/// A name, which is also that of the threads (at most 15 bytes), and what happens.
pub(crate) type Case = (&'static str, fn() -> Told);

const MS: Duration = Duration::from_millis(1);

/// Both ends of a connection that the calling thread made, and what must be told of it.
struct Pair {
    listener: i64,
    client: i64,
    server: i64,
    connect: Value,
    accept: Value,
}

impl Pair {
    fn new(at: SocketAddr) -> Pair {
        let (listener, to) = listen(at);
        Pair::to(listener, to, tcp(to))
    }

    fn exchanged() -> Pair {
        let pair = Pair::new(v4());
        pair.exchange();
        pair
    }

    fn to(listener: i64, to: SocketAddr, client: i64) -> Pair {
        done("connect", connect(client, to));
        let server = done("accept", accept(listener));
        let from = name(client);
        let family = json!({"family": if to.is_ipv4() { "inet" } else { "inet6" }});
        let ends = |local: SocketAddr, remote: SocketAddr| {
            let [laddr, raddr] = [local, remote].map(|at| at.ip().to_canonical().to_string());
            json!({"laddr": laddr, "lport": local.port(), "raddr": raddr, "rport": remote.port()})
        };
        let connect = with(with(connected(client), family.clone()), ends(from, to));
        let accept = with(with(accepted(server), family), ends(to, from));
        Pair { listener, client, server, connect, accept }
    }

    fn exchange(&self) {
        send(self.client, 3);
        receive(self.server, 3);
        send(self.server, 5);
        receive(self.client, 5);
    }

    /// Closes both ends, the client's first.
    fn close(&self) {
        sys::close(self.client);
        close_at_end(self.server);
        sys::close(self.listener);
    }

    /// All of its life, after [`exchange`](Self::exchange) and [`close`](Self::close).
    fn told(&self) -> Vec<Value> {
        vec![self.connect.clone(), self.accept.clone(), closed(&self.connect, 5, 3), closed(&self.accept, 3, 5)]
    }

    fn whole(self) -> Told {
        self.exchange();
        self.close();
        Ok(self.told())
    }
}

fn serve(listener: i64) -> i64 {
    let server = done("accept", accept(listener));
    receive(server, 3);
    send(server, 5);
    close_at_end(server);
    server
}

/// Runs `act` in a child. Returns its process id, and what `closer` says of it.
fn child(act: impl FnOnce()) -> (i32, Value) {
    let pid = fork(act);
    (pid, process(pid))
}

fn wait(child: i32) {
    assert_eq!(sys::wait(child).code(), Some(0), "the child did what it was told");
}

fn all(told: Told, more: Value) -> Told {
    told.map(|events| events.into_iter().map(|event| with(event, more.clone())).collect())
}

fn numbered(told: Vec<Value>, number: u32) -> impl Iterator<Item = Value> {
    told.into_iter().map(move |event| {
        let name = format!("{} {number}", event["role"]);
        named(event, &name)
    })
}

fn has_v6() -> Result<(), String> {
    let fd = socket(libc::AF_INET6, libc::SOCK_STREAM, 0);
    (fd >= 0).then_some(()).ok_or_else(|| "no IPv6".to_owned())
}

fn without(mut event: Value, field: &str) -> Value {
    event.as_object_mut().expect("an object").remove(field);
    event
}

// --- connections ---------------------------------------------------------------------------------------------------

pub(crate) const CONNECTIONS: &[Case] = &[
    ("tcp v4", || Pair::new(v4()).whole()),
    ("tcp v6", || {
        has_v6()?;
        Pair::new(v6()).whole()
    }),
    ("tcp mapped", mapped_v4),
    ("tcp netns", || {
        own_net();
        Pair::new(v4()).whole()
    }),
    ("tcp thread", || std::thread::spawn(|| Pair::new(v4()).whole()).join().expect("no panic")),
    ("tcp processes", processes),
    ("tcp accept", plain_accept),
    ("tcp nonblocking", nonblocking_connect),
    ("tcp cookies", || {
        own_net();
        set("ipv4/tcp_syncookies", "2")?;
        Pair::new(v4()).whole()
    }),
    ("tcp 3 MB", megabytes),
    ("tcp itself", to_itself),
    ("tcp again", same_socket_again),
    ("tcp fastopen", || fastopen(false)),
    ("tcp fastopen2", || fastopen(true)),
    ("tcp mptcp", mptcp),
    ("tcp many", || {
        let mut told = Vec::new();
        for number in 0..20 {
            told.extend(numbered(Pair::new(v4()).whole()?, number));
        }
        Ok(told)
    }),
];

fn mapped_v4() -> Told {
    has_v6()?;
    let (listener, at) = listen(mapped(v4()));
    all(Pair::to(listener, at, tcp(at)).whole(), json!({"v4_mapped": true}))
}

fn processes() -> Told {
    let (listener, to, client) = listen_for_one();
    let connect = connected(client);
    let (client_pid, closer) = child(|| {
        done("connect", connect_and_talk(client, to));
    });
    sys::close(client);
    let server = serve(listener);
    wait(client_pid);
    let connect = with(connect, json!({"pid": client_pid, "tid": client_pid}));
    let accept = accepted(server);
    Ok(vec![with(closed(&connect, 5, 3), json!({"closer": closer})), connect, closed(&accept, 3, 5), accept])
}

fn connect_and_talk(client: i64, to: SocketAddr) -> i64 {
    let ret = connect(client, to);
    send(client, 3);
    receive(client, 5);
    sys::close(client);
    ret
}

fn plain_accept() -> Told {
    let (listener, to, client) = listen_for_one();
    done("connect", connect(client, to));
    let server = done("accept", call(libc::SYS_accept, &[listener as u64]));
    let accept = with(accepted(server), json!({"via": "accept"}));
    Pair { listener, client, server, connect: connected(client), accept }.whole()
}

fn nonblocking_connect() -> Told {
    let (listener, to) = listen(v4());
    let client = nonblocking(to);
    let ret = connect(client, to);
    assert_eq!(ret, -i64::from(libc::EINPROGRESS));
    wait_for_outcome(client);
    assert_eq!((error(client), connect(client, to)), (0, 0), "the second one only asks");
    assert_eq!(connect(client, to), -i64::from(libc::EISCONN));
    let server = done("accept", accept(listener));
    send(client, 3);
    receive(server, 3);
    let (connect, accept) = (with(connected(client), json!({"ret": ret})), accepted(server));
    let pair = Pair { listener, client, server, connect, accept };
    pair.close();
    Ok(vec![closed(&pair.connect, 0, 3), closed(&pair.accept, 3, 0), pair.connect, pair.accept])
}

fn megabytes() -> Told {
    const LEN: usize = 3_000_000;
    let pair = Pair::new(v4());
    let (client, server) = (pair.client, pair.server);
    std::thread::scope(|scope| {
        scope.spawn(move || send(client, LEN));
        receive(server, LEN);
    });
    pair.close();
    // A busy machine may be late with an acknowledgement.
    let some = json!({"retransmits": {"?ge": 0}});
    Ok(vec![
        with(closed(&pair.connect, 0, LEN as u64), some.clone()),
        with(closed(&pair.accept, LEN as u64, 0), some),
        pair.connect,
        pair.accept,
    ])
}

fn to_itself() -> Told {
    let fd = tcp(v4());
    bind(fd, v4());
    let at = name(fd);
    done("connect", connect(fd, at));
    send(fd, 4);
    receive(fd, 4);
    sys::close(fd);
    let ends =
        json!({"laddr": at.ip().to_string(), "lport": at.port(), "raddr": at.ip().to_string(), "rport": at.port()});
    let connect = with(connected(fd), ends);
    Ok(vec![closed(&connect, 4, 4), connect])
}

fn same_socket_again() -> Told {
    let (listener, to) = listen(v4());
    let first = Pair::to(listener, to, tcp(to));
    first.exchange();
    done("disconnect", disconnect(first.client));
    close_at_reset(first.server);
    let second = Pair::to(listener, to, first.client);
    second.exchange();
    second.close();
    let mut told = vec![reset(&first.connect, 5, 3), reset_by_peer(&first.accept, 3, 5), first.connect, first.accept];
    told.iter_mut().for_each(|event| *event = named(event.clone(), &format!("first {}", event["role"])));
    told.extend(second.told());
    Ok(told)
}

/// A namespace in which a SYN may carry data without a cookie.
fn own_net_with_fastopen() -> Result<(), String> {
    own_net();
    set("ipv4/tcp_fastopen", "1543")
}

/// By `MSG_FASTOPEN`, or by `TCP_FASTOPEN_CONNECT`.
fn fastopen(by_option: bool) -> Told {
    own_net_with_fastopen()?;
    let (listener, to, client) = listen_for_one();
    let how = if by_option {
        done("TCP_FASTOPEN_CONNECT", option(client, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1i32));
        assert_eq!(connect(client, to), 0, "before anything is sent");
        std::thread::sleep(20 * MS);
        send(client, 3);
        json!({"via": "connect", "fastopen": true, "dur_ns": {"?ge": 20_000_000}})
    } else {
        assert_eq!(send_message(client, Some(to), 3, libc::MSG_FASTOPEN, None), 3);
        json!({"via": "fastopen", "fastopen": true, "ret": null, "fd": null})
    };
    let server = done("accept", accept(listener));
    receive(server, 3);
    send(server, 5);
    receive(client, 5);
    let pair = Pair { listener, client, server, connect: with(connected(client), how), accept: accepted(server) };
    pair.close();
    let mut told = pair.told();
    // The life is longer than the request.
    told[2] = without(told[2].clone(), "dur_ns");
    Ok(told)
}

fn mptcp() -> Told {
    let (listener, to) = listen_with(v4(), MPTCP, 8)?;
    let client = done("socket", socket(libc::AF_INET, libc::SOCK_STREAM, MPTCP));
    let pair = Pair::to(listener, to, client);
    pair.exchange();
    pair.close();
    let told = all(Ok(pair.told()), json!({"mptcp": true}));
    // A thread of the kernel closes the subflow: it is not who closed the connection.
    told.map(|events| {
        let nobody = |event: Value| if event["op"] == "close" { with(event, json!({"closer": null})) } else { event };
        events.into_iter().map(nobody).collect()
    })
}

// --- other system call tables --------------------------------------------------------------------------------------

pub(crate) const NARROW: &[Case] = &[("tcp narrow", || narrow(false)), ("tcp narrow4", || narrow(true))];

#[cfg(target_arch = "x86_64")]
pub(crate) const SOCKETCALL: &[Case] =
    &[("tcp socketcall", || socketcall(5)), ("tcp socketcall4", || socketcall(18)), ("tcp x32", x32)];

/// What a 32-bit caller does with sockets of the calling process: a connection and a refusal.
fn by_narrow(accept_via: &str, fill: impl FnOnce(&mut Narrow, [i64; 3], [u32; 2])) -> Told {
    let dir = Dir::new();
    let (listener, to) = listen(v4());
    let refusing = closed_port(v4());
    let [client, refused] = [tcp(to), tcp(to)];
    // A program on aarch64 must inherit them.
    for fd in [listener, client, refused] {
        done("F_SETFD", call(libc::SYS_fcntl, &[fd as u64, libc::F_SETFD as u64]));
    }
    let mut narrow = Narrow::new();
    let addresses = [to, refusing].map(|at| narrow.put(&sockaddr(at)));
    fill(&mut narrow, [client, refused, listener], addresses);
    let caller = narrow.run_to_its_end(&dir)?;
    let [connected_to, refusal, server] = caller.rets[..] else { panic!("three calls: {:?}", caller.rets) };
    assert_eq!((connected_to, refusal), (0, -i64::from(libc::ECONNREFUSED)));
    done("accept", server);
    assert_eq!(read_end(client), 0, "the server ended with the caller");
    sys::close(client);
    let of_caller = json!({"pid": caller.pid, "tid": caller.pid, "abi": arch::NARROW_ABI});
    // On aarch64 the caller is another program.
    let of_caller = |event: Value| without(with(event, of_caller.clone()), "comm");
    let connect = of_caller(connected(client));
    let accept = with(of_caller(accepted(server)), json!({"via": accept_via}));
    Ok(vec![
        closed(&connect, 0, 0),
        // The caller cannot be asked for its start any more.
        without(closed(&accept, 0, 0), "closer"),
        connect,
        accept,
        named(of_caller(failed(refused, "refused", Some("ECONNREFUSED"), libc::ECONNREFUSED)), "refused"),
    ])
}

fn narrow(four: bool) -> Told {
    let flags = if four { libc::SOCK_NONBLOCK as u32 } else { 0 };
    by_narrow("accept4", |narrow, [client, refused, listener], [to, refusing]| {
        narrow.call(nr32::CONNECT, [client as u32, to, 16, 0]);
        narrow.call(nr32::CONNECT, [refused as u32, refusing, 16, 0]);
        narrow.call(nr32::ACCEPT4, [listener as u32, 0, 0, flags]);
    })
}

#[cfg(target_arch = "x86_64")]
fn socketcall(accept: u32) -> Told {
    const SOCKETCALL: u32 = 102;
    const CONNECT: u32 = 3;
    let via = if accept == 5 { "accept" } else { "accept4" };
    by_narrow(via, |narrow, [client, refused, listener], [to, refusing]| {
        for (number, args) in [
            (CONNECT, [client as u32, to, 16, 0]),
            (CONNECT, [refused as u32, refusing, 16, 0]),
            (accept, [listener as u32, 0, 0, 0]),
        ] {
            let args = narrow.put(&args.map(u32::to_le_bytes).concat());
            narrow.call(SOCKETCALL, [number, args, 0, 0]);
        }
    })
}

#[cfg(target_arch = "x86_64")]
fn x32() -> Told {
    let (listener, to) = listen(v4());
    let low = sys::Pages::new(1, libc::MAP_32BIT);
    let at = low.put(0, &sockaddr(to)) as u64;
    let client = tcp(to);
    let ret = arch::x32(libc::SYS_connect, &[client as u64, at, 16]);
    if ret == -i64::from(libc::ENOSYS) {
        return Err("x32: this kernel has no x32 system calls (CONFIG_X86_X32_ABI, syscall.x32=y)".to_owned());
    }
    done("connect", ret);
    let server = done("accept", arch::x32(libc::SYS_accept4, &[listener as u64]));
    all(
        Pair { listener, client, server, connect: connected(client), accept: accepted(server) }.whole(),
        json!({"abi": "x32"}),
    )
}

// --- failures ------------------------------------------------------------------------------------------------------

pub(crate) const FAILURES: &[Case] = &[
    ("tcp refused", || refused(closed_port(v4()), tcp(v4()))),
    ("tcp refused v6", || {
        has_v6()?;
        all(refused(closed_port(v6()), tcp(v6())), json!({"family": "inet6"}))
    }),
    ("tcp ref mptcp", || {
        let (listener, to) = listen_with(v4(), MPTCP, 8)?;
        sys::close(listener);
        all(refused(to, done("socket", socket(libc::AF_INET, libc::SOCK_STREAM, MPTCP))), json!({"mptcp": true}))
    }),
    ("tcp ref error", || refused_later(|fd, _| assert_eq!(error(fd), libc::ECONNREFUSED))),
    ("tcp ref again", || {
        refused_later(|fd, to| assert_eq!(connect(fd, to), -i64::from(libc::ECONNREFUSED), "reads the error"))
    }),
    ("tcp ref tfo", || {
        own_net_with_fastopen()?;
        let (to, fd) = (closed_port(v4()), tcp(v4()));
        assert_eq!(send_message(fd, Some(to), 3, libc::MSG_FASTOPEN, None), -i64::from(libc::ECONNREFUSED));
        let event = failed(fd, "refused", Some("ECONNREFUSED"), 0);
        Ok(vec![with(event, json!({"via": "fastopen", "fastopen": true, "ret": null, "fd": null}))])
    }),
    ("tcp ref twice", || {
        let (to, fd) = (closed_port(v4()), tcp(v4()));
        let mut told = refused(to, fd)?;
        told.extend(refused(to, fd)?.into_iter().map(|event| named(event, "second")));
        Ok(told)
    }),
    ("tcp no route", || {
        sys::unshare(libc::CLONE_NEWNET);
        unreachable(libc::ENETUNREACH, "ENETUNREACH", "unreachable")
    }),
    ("tcp blackhole", || refused_by_route(libc::RTN_BLACKHOLE, libc::EINVAL, "EINVAL", "failed")),
    ("tcp prohibit", || refused_by_route(libc::RTN_PROHIBIT, libc::EACCES, "EACCES", "failed")),
    ("tcp unreach", || refused_by_route(libc::RTN_UNREACHABLE, libc::EHOSTUNREACH, "EHOSTUNREACH", "unreachable")),
    ("tcp no arp", || {
        own_net();
        cable(Ipv4Addr::new(192, 0, 2, 2))?;
        unreachable(libc::EHOSTUNREACH, "EHOSTUNREACH", "unreachable")
    }),
    ("tcp flips", flips_the_family),
    ("tcp passed", || {
        refused_addresses(libc::SYS_connect, ["raddr", "rport"], |fd, err, errno| {
            failed(fd, "failed", Some(err), errno)
        })
    }),
    ("tcp no port", no_port_left),
    ("tcp timed out", timed_out),
    ("tcp abandoned", abandoned),
    ("tcp killed", killed),
    ("tcp eintr", || interrupted(0)),
    ("tcp restart", || interrupted(libc::SA_RESTART)),
    ("tcp sndtimeo", || {
        goes_on(|fd, to| {
            done("SO_SNDTIMEO", option(fd, libc::SOL_SOCKET, libc::SO_SNDTIMEO, [0, 100_000] as Time));
            assert_eq!(connect(fd, to), -i64::from(libc::EINPROGRESS));
            // The attempt goes on, which another call tells.
            assert_eq!(connect(fd, to), -i64::from(libc::EALREADY));
            ROOM.wait();
            Some(-libc::EINPROGRESS)
        })
    }),
];

const NOWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn refused(to: SocketAddr, fd: i64) -> Told {
    assert_eq!(connect(fd, to), -i64::from(libc::ECONNREFUSED));
    let peer = json!({"raddr": to.ip().to_string(), "rport": to.port()});
    Ok(vec![with(failed(fd, "refused", Some("ECONNREFUSED"), libc::ECONNREFUSED), peer)])
}

/// Connects that fail before anything is sent, while another thread changes the family of the address to none and back.
fn flips_the_family() -> Told {
    own_net();
    route(libc::RTN_BLACKHOLE, NOWHERE);
    let to = sockaddr((NOWHERE, 9).into());
    // SAFETY: the vector outlives the thread, and its first byte is only accessed atomically.
    let family = unsafe { AtomicU8::from_ptr(to.as_ptr().cast_mut()) };
    let fd = tcp(v4());
    let rets: Vec<i64> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !RETURNED.load(Ordering::Relaxed) {
                family.store(0, Ordering::Relaxed);
                family.store(libc::AF_INET as u8, Ordering::Relaxed);
            }
        });
        let rets = (0..300).map(|_| connect_raw(fd, &to)).collect();
        RETURNED.store(true, Ordering::Relaxed);
        rets
    });
    let mut failure = failed(fd, "failed", Some("EINVAL"), libc::EINVAL);
    // The event has the address of another moment than the call, perhaps one of no family.
    failure.as_object_mut().expect("an object").remove("v4_mapped");
    let failures = rets.iter().filter(|ret| **ret != 0).enumerate();
    Ok(failures.map(|(n, _)| named(failure.clone(), &n.to_string())).collect())
}

/// Addresses that the kernel refuses before it looks at them, and the two fields that show them.
fn refused_addresses(call: i64, shown: [&str; 2], event: fn(i64, &str, i32) -> Value) -> Told {
    let (v4, v6) = (sockaddr((NOWHERE, 9).into()), sockaddr("[2001:db8::7]:443".parse().expect("an address")));
    let v4 = [v4, vec![0; 16]].concat();
    let other = |family: i32| [&(family as u16).to_ne_bytes()[..], b"/tmp/a.socket", &[0; 17]].concat();
    let (unix, unknown) = (other(libc::AF_UNIX), other(0xff));
    let [address, port] = shown;
    let is = |of: &str, number: u16| json!({address: of, port: number});
    let why_of = shown.map(|field| format!("{field}_why"));
    let none = |why: &str| json!({address: null, &why_of[0]: why, port: null, &why_of[1]: why, "v4_mapped": null});
    let at = |bytes: &[u8]| bytes.as_ptr() as u64;
    let (inet, inet6, family, invalid) = (libc::AF_INET, libc::AF_INET6, libc::EAFNOSUPPORT, libc::EINVAL);
    let cases = [
        (inet, at(&v6), 28, family, is("2001:db8::7", 443)),
        (inet, at(&v6), 20, family, none("too_short")),
        (inet, at(&v4), 8, invalid, none("too_short")),
        (inet, at(&v4), 1, invalid, none("too_short")),
        (inet, at(&v4), 0, invalid, none("too_short")),
        (inet, at(&v4), u64::MAX, invalid, none("too_short")),
        (inet, at(&v4), 200, invalid, is("192.0.2.1", 9)),
        (inet, at(&unix), 16, family, none("other_family")),
        (inet, at(&unknown), 28, family, none("other_family")),
        (inet6, at(&v4), 16, invalid, is("192.0.2.1", 9)),
        (inet6, at(&v4), 28, family, is("192.0.2.1", 9)),
        (inet6, at(&v6), 20, invalid, none("too_short")),
        (inet6, at(&unix), 28, family, none("other_family")),
        (inet, 8, 16, libc::EFAULT, none("fault")),
        (inet, 0, 16, libc::EFAULT, none("fault")),
        (inet6, u64::MAX - 8, 28, libc::EFAULT, none("fault")),
        (inet, 0, 0, invalid, none("too_short")),
    ];
    let told = cases.into_iter().enumerate().map(|(n, (of, address, len, errno, passed))| {
        let fd = socket(of, libc::SOCK_STREAM, 0);
        (fd >= 0).then_some(()).ok_or("no IPv6")?;
        assert_eq!(sys::call(call, &[fd as u64, address, len]), -i64::from(errno), "{n}");
        let err = match errno {
            libc::EINVAL => "EINVAL",
            libc::EFAULT => "EFAULT",
            _ => "EAFNOSUPPORT",
        };
        let event = with(event(fd, err, errno), passed);
        Ok(named(with(event, json!({"family": if of == inet { "inet" } else { "inet6" }})), &n.to_string()))
    });
    told.collect()
}

/// A nonblocking connect is refused, and the process reads the error.
fn refused_later(read: fn(i64, SocketAddr)) -> Told {
    let to = closed_port(v4());
    let fd = nonblocking(to);
    assert_eq!(connect(fd, to), -i64::from(libc::EINPROGRESS));
    wait_for_outcome(fd);
    read(fd, to);
    sys::close(fd);
    Ok(vec![failed(fd, "refused", Some("ECONNREFUSED"), libc::EINPROGRESS)])
}

/// A connect where the only route refuses it.
fn refused_by_route(kind: u8, errno: i32, err: &str, outcome: &str) -> Told {
    own_net();
    route(kind, NOWHERE);
    unreachable(errno, err, outcome)
}

fn unreachable(errno: i32, err: &str, outcome: &str) -> Told {
    let to = (NOWHERE, 9).into();
    let fd = tcp(to);
    assert_eq!(connect(fd, to), -i64::from(errno));
    let peer = json!({"raddr": NOWHERE.to_string(), "rport": 9});
    Ok(vec![with(failed(fd, outcome, Some(err), errno), peer)])
}

fn no_port_left() -> Told {
    own_net();
    set("ipv4/ip_local_port_range", "40000 40000")?;
    let (listener, to) = {
        let fd = tcp(v4());
        bind(fd, (v4().ip(), 30_000).into());
        done("listen", call(libc::SYS_listen, &[fd as u64, 8]));
        (fd, name(fd))
    };
    let pair = Pair::to(listener, to, tcp(to));
    let fd = tcp(to);
    assert_eq!(connect(fd, to), -i64::from(libc::EADDRNOTAVAIL));
    let mut told = pair.whole()?;
    told.push(named(failed(fd, "failed", Some("EADDRNOTAVAIL"), libc::EADDRNOTAVAIL), "second"));
    Ok(told)
}

/// A listener whose queue is full, so that it answers no SYN.
struct Full {
    listener: i64,
    to: SocketAddr,
    queued: [i64; 2],
}

impl Full {
    fn new() -> Full {
        let (listener, to) = listen_with(v4(), 0, 1).expect("TCP");
        let queued = [tcp(to), tcp(to)];
        queued.iter().for_each(|fd| _ = done("connect", connect(*fd, to)));
        Full { listener, to, queued }
    }

    /// Resets the connections in the queue, and closes the listener. Returns the events of the clients.
    fn close(&self) -> Vec<Value> {
        for fd in self.queued {
            reset_at_close(fd);
            sys::close(fd);
        }
        sys::close(self.listener);
        let of = |fd: &i64| {
            let connect = named(connected(*fd), &format!("queued {fd}"));
            [reset(&connect, 0, 0), connect]
        };
        self.queued.iter().flat_map(of).collect()
    }
}

static RETURNED: AtomicBool = AtomicBool::new(false);

fn timed_out() -> Told {
    let full = Full::new();
    let fd = tcp(full.to);
    done("TCP_SYNCNT", option(fd, libc::IPPROTO_TCP, libc::TCP_SYNCNT, 1i32));
    let counts = std::thread::spawn(move || {
        let mut most = 0;
        // A failure resets the number.
        while !RETURNED.load(Ordering::Relaxed) {
            most = most.max(retransmits(fd));
            std::thread::sleep(10 * MS);
        }
        most
    });
    assert_eq!(connect(fd, full.to), -i64::from(libc::ETIMEDOUT));
    RETURNED.store(true, Ordering::Relaxed);
    let most = counts.join().expect("no panic");
    let event = failed(fd, "timed_out", Some("ETIMEDOUT"), libc::ETIMEDOUT);
    let mut told = full.close();
    told.push(with(event, json!({"retransmits": most, "dur_ns": {"?ge": 2_000_000_000u64}})));
    Ok(told)
}

fn abandoned() -> Told {
    let full = Full::new();
    let fd = nonblocking(full.to);
    let ret = connect(fd, full.to);
    assert_eq!(ret, -i64::from(libc::EINPROGRESS));
    std::thread::sleep(20 * MS);
    sys::close(fd);
    let mut told = full.close();
    told.push(with(failed(fd, "abandoned", None, libc::EINPROGRESS), json!({"dur_ns": {"?ge": 20_000_000}})));
    Ok(told)
}

fn killed() -> Told {
    let full = Full::new();
    let fd = tcp(full.to);
    let waiting = fork(|| _ = connect(fd, full.to));
    wait_for_syn(fd);
    // From now on only the child has the socket.
    sys::close(fd);
    std::thread::sleep(50 * MS);
    sys::kill(waiting, libc::SIGKILL);
    assert_eq!(sys::wait(waiting).signal(), Some(libc::SIGKILL));
    let mut told = full.close();
    let event = with(failed(fd, "killed", None, 0), json!({"pid": waiting, "tid": waiting}));
    // The call did not return.
    told.push(with(event, json!({"ret": null, "dur_ns": {"?ge": 50_000_000}})));
    Ok(told)
}

extern "C" fn on_signal(_: i32) {}

/// A connect that signals interrupt while the queue of the listener is full.
fn interrupted(flags: i32) -> Told {
    // SAFETY: all its fields may be zero.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as *const () as usize;
    action.sa_flags = flags;
    // SAFETY: `action` outlives the call, and its handler does nothing.
    assert_eq!(unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) }, 0);
    goes_on(|fd, to| {
        let (pid, tid) = (sys::pid(), sys::tid());
        let signal = move || {
            std::thread::sleep(100 * MS);
            done("tgkill", call(libc::SYS_tgkill, &[pid as u64, tid as u64, libc::SIGUSR1 as u64]));
        };
        std::thread::scope(|scope| {
            scope.spawn(move || {
                if flags == libc::SA_RESTART {
                    (0..3).for_each(|_| signal());
                    ROOM.wait();
                }
                while flags == 0 && !RETURNED.load(Ordering::Relaxed) {
                    signal();
                }
            });
            let ret = connect(fd, to);
            RETURNED.store(true, Ordering::Relaxed);
            assert_eq!(ret, if flags == 0 { -i64::from(libc::EINTR) } else { 0 });
        });
        if flags == 0 {
            ROOM.wait();
        }
        None
    })
}

/// The moment from which the queue has room.
static ROOM: std::sync::Barrier = std::sync::Barrier::new(2);

/// A connect to a listener with a full queue continues after its call was interrupted, and succeeds when there is room.
/// `ask` makes room, and returns what the event tells of the call: nothing of one that a signal ended, because the result is not known
/// when the system call ends.
fn goes_on(ask: impl FnOnce(i64, SocketAddr) -> Option<i32>) -> Told {
    let full = Full::new();
    let fd = tcp(full.to);
    let listener = full.listener;
    let accepts = std::thread::spawn(move || {
        ROOM.wait();
        let server = done("accept", accept(listener));
        let accept = named(accepted(server), "from the queue");
        (server, accept)
    });
    let ret = ask(fd, full.to);
    let (server, accept) = accepts.join().expect("no panic");
    wait_for_outcome(fd);
    assert_eq!(error(fd), 0);
    reset_at_close(fd);
    sys::close(fd);
    let mut told = full.close();
    close_at_reset(server);
    let connect = with(connected(fd), json!({"ret": ret, "dur_ns": {"?ge": 100_000_000}}));
    let connect = with(connect, json!({"retransmits": 1}));
    let end = with(without(reset(&connect, 0, 0), "dur_ns"), json!({"retransmits": 1}));
    let server_end = reset_by_peer(&accept, 0, 0);
    told.extend([end, connect, server_end, accept]);
    Ok(told)
}

// --- ends ----------------------------------------------------------------------------------------------------------

pub(crate) const ENDS: &[Case] = &[
    ("tcp rst", || {
        let pair = Pair::exchanged();
        reset_at_close(pair.server);
        server_resets(&pair, [3, 5], [5, 3])
    }),
    ("tcp unread", || {
        let pair = Pair::new(v4());
        send(pair.client, 7);
        // It has arrived, and nobody read it.
        let mut bytes = [0u8; 7];
        let args = [pair.server as u64, bytes.as_mut_ptr() as u64, 7, libc::MSG_PEEK as u64, 0];
        assert_eq!(call(libc::SYS_recvfrom, &args), 7);
        server_resets(&pair, [7, 0], [0, 7])
    }),
    ("tcp linger 0", || {
        let pair = Pair::exchanged();
        reset_at_close(pair.client);
        sys::close(pair.client);
        close_at_reset(pair.server);
        let client = reset(&pair.connect, 5, 3);
        Ok(vec![client, reset_by_peer(&pair.accept, 3, 5), pair.connect, pair.accept])
    }),
    ("tcp unspec", || {
        let pair = Pair::exchanged();
        done("disconnect", disconnect(pair.client));
        assert_eq!(read_end(pair.server), -i64::from(libc::ECONNRESET));
        sys::close(pair.client);
        sys::close(pair.server);
        let client = reset(&pair.connect, 5, 3);
        Ok(vec![client, reset_by_peer(&pair.accept, 3, 5), pair.connect, pair.accept])
    }),
    ("tcp shutdown", || {
        let pair = Pair::exchanged();
        shutdown(pair.client);
        assert_eq!(read_end(pair.server), 0);
        // A connection that is closed on one side still carries data on the other.
        send(pair.server, 11);
        receive(pair.client, 11);
        shutdown(pair.server);
        assert_eq!(read_end(pair.client), 0);
        pair.close();
        Ok(vec![closed(&pair.connect, 16, 3), closed(&pair.accept, 3, 16), pair.connect, pair.accept])
    }),
    ("tcp server 1st", || {
        let pair = Pair::exchanged();
        sys::close(pair.server);
        close_at_end(pair.client);
        Ok(pair.told())
    }),
    ("tcp unaccepted", || {
        let (listener, to, client) = listen_for_one();
        done("connect", connect(client, to));
        send(client, 9);
        sys::close(listener);
        close_at_reset(client);
        let connect = connected(client);
        Ok(vec![reset_by_peer(&connect, 0, 9), connect])
    }),
    ("tcp user tmout", || {
        own_net();
        let pair = Pair::exchanged();
        done("TCP_USER_TIMEOUT", option(pair.client, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 500i32));
        down("lo");
        send(pair.client, 2);
        assert_eq!(read_end(pair.client), -i64::from(libc::ETIMEDOUT));
        sys::close(pair.client);
        reset_at_close(pair.server);
        sys::close(pair.server);
        let lost = json!({"end": "timed_out", "closer": null, "retransmits": {"?ge": 1}});
        Ok(vec![with(closed(&pair.connect, 5, 5), lost), reset(&pair.accept, 3, 5), pair.connect, pair.accept])
    }),
];

fn server_resets(pair: &Pair, server: [u64; 2], client: [u64; 2]) -> Told {
    sys::close(pair.server);
    close_at_reset(pair.client);
    Ok(vec![
        reset_by_peer(&pair.connect, client[0], client[1]),
        reset(&pair.accept, server[0], server[1]),
        pair.connect.clone(),
        pair.accept.clone(),
    ])
}

// --- owners --------------------------------------------------------------------------------------------------------

pub(crate) const OWNERS: &[Case] = &[
    ("tcp scm_rights", scm_rights),
    ("tcp fork", inherited),
    ("tcp dup", || {
        let pair = Pair::new(v4());
        let copy = done("dup", call(libc::SYS_dup, &[pair.client as u64]));
        sys::close(pair.client);
        Pair { client: copy, ..pair }.whole()
    }),
    ("tcp exec", || left_open(becomes_another)),
    ("tcp exit", || left_open(|_| ())),
    ("tcp sigkill", || left_open(|_| sys::kill(sys::pid(), libc::SIGKILL))),
    ("tcp outlives", || {
        // The maker has ended when its child still sends.
        let (listener, to, client) = listen_for_one();
        let (read, write) = pipe();
        let maker = fork(|| {
            done("connect", connect(client, to));
            fork(|| {
                sys::close(write);
                assert_eq!(read_end(read), 0, "the maker ended");
                send(client, 3);
                receive(client, 5);
            });
        });
        sys::close(client);
        wait(maker);
        sys::close(write);
        let server = serve(listener);
        let connect = with(connected(client), json!({"pid": maker, "tid": maker}));
        let accept = accepted(server);
        Ok(vec![without(closed(&connect, 5, 3), "closer"), closed(&accept, 3, 5), connect, accept])
    }),
];

fn pipe() -> (i64, i64) {
    let mut ends = [0i32; 2];
    done("pipe2", call(libc::SYS_pipe2, &[ends.as_mut_ptr() as u64, libc::O_CLOEXEC as u64]));
    (ends[0].into(), ends[1].into())
}

fn inherited() -> Told {
    let pair = Pair::exchanged();
    let (read, write) = pipe();
    let (child, closer) = child(|| {
        sys::close(write);
        sys::close(pair.server);
        assert_eq!(read_end(read), 0, "the maker closed it");
        send(pair.client, 10);
        sys::close(pair.client);
    });
    sys::close(pair.client);
    sys::close(write);
    receive(pair.server, 10);
    close_at_end(pair.server);
    wait(child);
    let client = with(closed(&pair.connect, 5, 13), json!({"closer": closer}));
    Ok(vec![client, closed(&pair.accept, 13, 5), pair.connect, pair.accept])
}

/// Another process gets the client's socket by a message, and is the last to close it.
fn scm_rights() -> Told {
    let mut ends = [0i32; 2];
    let args = [libc::AF_UNIX as u64, libc::SOCK_STREAM as u64, 0, ends.as_mut_ptr() as u64, 0];
    done("socketpair", call(libc::SYS_socketpair, &args));
    let [ours, theirs] = ends.map(i64::from);
    let (child, closer) = child(|| {
        let client = receive_descriptor(theirs);
        assert_eq!(read_end(theirs), 1, "the sender closed it");
        send(client, 10);
        sys::close(client);
    });
    let pair = Pair::exchanged();
    assert_eq!(send_message(ours, None, 1, 0, Some(pair.client)), 1);
    sys::close(pair.client);
    send(ours, 1);
    receive(pair.server, 10);
    close_at_end(pair.server);
    wait(child);
    let client = with(closed(&pair.connect, 5, 13), json!({"closer": closer}));
    Ok(vec![client, closed(&pair.accept, 13, 5), pair.connect, pair.accept])
}

fn left_open(end: fn(i64)) -> Told {
    let (listener, to, client) = listen_for_one();
    let (ends, closer) = child(|| {
        done("connect", connect(client, to));
        send(client, 3);
        receive(client, 5);
        end(client);
    });
    // The child alone has the socket when it ends.
    sys::close(client);
    let server = serve(listener);
    sys::wait(ends);
    let connect = with(connected(client), json!({"pid": ends, "tid": ends}));
    let accept = accepted(server);
    let client = with(closed(&connect, 5, 3), json!({"closer": closer}));
    Ok(vec![client, closed(&accept, 3, 5), connect, accept])
}

fn becomes_another(fd: i64) {
    done("F_SETFD", call(libc::SYS_fcntl, &[fd as u64, libc::F_SETFD as u64]));
    let (path, none) = (c("/bin/true"), [0u64]);
    let argv = [path.as_ptr() as u64, 0];
    let args = [path.as_ptr() as u64, argv.as_ptr() as u64, none.as_ptr() as u64, 0, 0];
    done("execve", call(libc::SYS_execve, &args));
}

// --- addresses -----------------------------------------------------------------------------------------------------

pub(crate) const BOUND: &[Case] = &[
    ("tcp listen", || {
        let (fd, _) = listen(v4());
        let told = vec![named(listens(fd), "first")];
        done("listen", call(libc::SYS_listen, &[fd as u64, u64::MAX]));
        Ok([told, vec![named(with(listens(fd), json!({"backlog": -1})), "second")]].concat())
    }),
    ("tcp listen v6", || {
        has_v6()?;
        Ok(vec![with(listens(listen(v6()).0), json!({"family": "inet6"}))])
    }),
    ("tcp lis mptcp", || Ok(vec![with(listens(listen_with(v4(), MPTCP, 8)?.0), json!({"mptcp": true}))])),
    ("tcp listen bad", || {
        let pair = Pair::new(v4());
        assert_eq!(call(libc::SYS_listen, &[pair.client as u64, 8]), -i64::from(libc::EINVAL));
        let refused = with(listens(pair.client), json!({"ret": -libc::EINVAL, "err": "EINVAL"}));
        Ok(vec![listens(pair.listener), named(refused, "refused")])
    }),
    ("tcp bind used", || {
        let (listener, used) = listen(v4());
        let datagrams = || done("socket", socket(libc::AF_INET, libc::SOCK_DGRAM, 0));
        let [stream, first, second] = [tcp(used), datagrams(), datagrams()];
        bind(first, used);
        let refused = |fd: i64, protocol: &str| {
            assert_eq!(bind_raw(fd, &sockaddr(used)), -i64::from(libc::EADDRINUSE));
            let passed = json!({"laddr": used.ip().to_string(), "lport": used.port(), "protocol": protocol});
            named(with(unbound(fd, "EADDRINUSE", libc::EADDRINUSE), passed), protocol)
        };
        Ok(vec![listens(listener), refused(stream, "tcp"), refused(second, "udp")])
    }),
    ("tcp bind user", || {
        own_net();
        let (fd, at) = (tcp(v4()), SocketAddr::new(v4().ip(), 80));
        sys::set_user(1000, 1000, 1000);
        assert_eq!(bind_raw(fd, &sockaddr(at)), -i64::from(libc::EACCES));
        let passed = json!({"laddr": at.ip().to_string(), "lport": 80});
        Ok(vec![with(unbound(fd, "EACCES", libc::EACCES), passed)])
    }),
    ("tcp bind noaddr", || {
        let fd = tcp(v4());
        assert_eq!(bind_raw(fd, &sockaddr((NOWHERE, 9).into())), -i64::from(libc::EADDRNOTAVAIL));
        let passed = json!({"laddr": NOWHERE.to_string(), "lport": 9});
        Ok(vec![with(unbound(fd, "EADDRNOTAVAIL", libc::EADDRNOTAVAIL), passed)])
    }),
    ("tcp bind passed", || refused_addresses(libc::SYS_bind, ["laddr", "lport"], unbound)),
    ("tcp bind narrow", || {
        bound_by_narrow(|narrow, [refused, listening], at| {
            narrow.call(nr32::BIND, [refused, at, 16, 0]);
            narrow.call(nr32::LISTEN, [listening, 8, 0, 0]);
        })
    }),
    #[cfg(target_arch = "x86_64")]
    ("tcp bind sockcl", || {
        bound_by_narrow(|narrow, [refused, listening], at| {
            for (number, args) in [(2, [refused, at, 16]), (4, [listening, 8, 0]), (2, [listening, at, 0])] {
                let args = narrow.put(&args.map(u32::to_le_bytes).concat());
                narrow.call(102, [number, args, 0, 0]);
            }
        })
    }),
    ("tcp bind none", || {
        let [stream, datagrams] = [tcp(v4()), done("socket", socket(libc::AF_INET, libc::SOCK_DGRAM, 0))];
        [stream, datagrams].into_iter().for_each(|fd| bind(fd, v4()));
        assert_eq!(call(libc::SYS_listen, &[datagrams as u64, 8]), -i64::from(libc::EOPNOTSUPP));
        let unix = done("socket", socket(libc::AF_UNIX, libc::SOCK_STREAM, 0));
        for (fd, errno) in [(unix, libc::EINVAL), (900, libc::EBADF), (sys::open_path("/dev/null"), libc::ENOTSOCK)] {
            assert_eq!(bind_raw(fd, &sockaddr(v4())), -i64::from(errno));
        }
        Ok(vec![])
    }),
];

/// What a 32-bit caller does with two sockets: a bind to a port in use, and a listen.
fn bound_by_narrow(fill: impl FnOnce(&mut Narrow, [u32; 2], u32)) -> Told {
    let dir = Dir::new();
    let (listener, used) = listen(v4());
    let [refused, listening] = [tcp(used), tcp(used)];
    bind(listening, v4());
    for fd in [refused, listening] {
        done("F_SETFD", call(libc::SYS_fcntl, &[fd as u64, libc::F_SETFD as u64]));
    }
    let mut narrow = Narrow::new();
    let at = narrow.put(&sockaddr(used));
    fill(&mut narrow, [refused as u32, listening as u32], at);
    let caller = narrow.run_to_its_end(&dir)?;
    assert_eq!(caller.rets[..2], [-i64::from(libc::EADDRINUSE), 0]);
    let of_caller = json!({"pid": caller.pid, "tid": caller.pid, "abi": arch::NARROW_ABI});
    let of_caller = |event: Value| without(with(event, of_caller.clone()), "comm");
    let passed = json!({"laddr": used.ip().to_string(), "lport": used.port()});
    let mut told = vec![
        named(listens(listener), "listener"),
        named(of_caller(listens(listening)), "listening"),
        with(of_caller(unbound(refused, "EADDRINUSE", libc::EADDRINUSE)), passed),
    ];
    // By socketcall(2), a bind of no length follows.
    if caller.rets.len() > 2 {
        let passed = json!({"laddr": null, "laddr_why": "too_short", "lport": null, "lport_why": "too_short"});
        told.push(named(with(of_caller(unbound(listening, "EINVAL", libc::EINVAL)), passed), "short"));
    }
    Ok(told)
}

// --- no events -----------------------------------------------------------------------------------------------------

pub(crate) const NOTHING: &[Case] = &[
    ("tcp none udp", || {
        let fd = done("socket", socket(libc::AF_INET, libc::SOCK_DGRAM, 0));
        done("connect", connect(fd, (v4().ip(), 9).into()));
        sys::close(fd);
        Ok(vec![])
    }),
    ("tcp none unix", || {
        let fd = done("socket", socket(libc::AF_UNIX, libc::SOCK_STREAM, 0));
        let nowhere = [&(libc::AF_UNIX as u16).to_ne_bytes()[..], b"\0tracetui nowhere"].concat();
        assert_eq!(connect_raw(fd, &nowhere), -i64::from(libc::ECONNREFUSED));
        let (a, b) = UnixStream::pair().expect("a pair");
        drop((a, b));
        Ok(vec![])
    }),
    ("tcp none bad", || {
        let (unused, to) = (900, closed_port(v4()));
        assert_eq!(connect(unused, to), -i64::from(libc::EBADF));
        assert_eq!(accept(unused), -i64::from(libc::EBADF));
        let file = sys::open_path("/dev/null");
        assert_eq!(connect(file, to), -i64::from(libc::ENOTSOCK));
        assert_eq!(accept(file), -i64::from(libc::ENOTSOCK));
        Ok(vec![])
    }),
    ("tcp none unused", || {
        let (fd, bound) = (tcp(v4()), tcp(v4()));
        bind(bound, v4());
        let (listener, at) = listen(v4());
        assert_eq!(accept(fd), -i64::from(libc::EINVAL), "it does not listen");
        assert_eq!(connect(listener, at), -i64::from(libc::EISCONN), "it listens");
        assert_eq!(disconnect(fd), 0);
        let quiet = nonblocking(at);
        bind(quiet, v4());
        done("listen", call(libc::SYS_listen, &[quiet as u64, 1]));
        assert_eq!(accept(quiet), -i64::from(libc::EAGAIN));
        [fd, bound, listener, quiet].into_iter().for_each(sys::close);
        Ok(vec![])
    }),
];

// --- io_uring ------------------------------------------------------------------------------------------------------

pub(crate) const URING: &[Case] = &[
    ("tcp ring", || by(&ring(0)?, 0)),
    ("tcp ring worker", || by(&ring(0)?, BY_WORKER)),
    ("tcp ring refuse", || ring_refused(0)),
    ("tcp ring refwkr", || ring_refused(BY_WORKER)),
    ("tcp ring accept", || ring_accepts(0)),
    ("tcp ring accwkr", || ring_accepts(BY_WORKER)),
    ("tcp ring multi", || {
        let (ring, (listener, to)) = (ring(0)?, listen(v4()));
        ring.submit(uring::accept(listener, 0, true), 0);
        several(&ring, to)
    }),
    ("tcp ring same", || {
        // They have the same number.
        let (ring, (listener, to)) = (ring(0)?, listen(v4()));
        (0..3).for_each(|_| ring.submit(uring::accept(listener, 0, false), 0));
        several(&ring, to)
    }),
    ("tcp ring kin", || {
        // A child makes a request with the same number, on the same ring.
        let (ring, (listener, to), (idle, _)) = (ring(0)?, listen(v4()), listen(v4()));
        ring.submit(uring::accept(listener, 0, true), 0);
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        let child = fork(|| {
            ring.submit(uring::accept(idle, 0, false), 0);
            theirs.write_all(&[1]).expect("the test reads");
            let _ = theirs.read(&mut [0]);
        });
        ours.read_exact(&mut [0]).expect("the child writes");
        let told = several(&ring, to);
        sys::kill(child, libc::SIGKILL);
        sys::wait(child);
        told
    }),
    ("tcp ring crowd", || {
        const OTHERS: u32 = 8192;
        let (ring, (listener, to), (idle, _)) = (ring(0)?, listen(v4()), listen(v4()));
        let Some(others) = Ring::deep(0, OTHERS) else { return Err("no ring of this size".to_owned()) };
        ring.submit(uring::accept(listener, 0, true), 0);
        let waiting = |number| Sqe { user_data: number, ..uring::accept(idle, 0, false) };
        (0..OTHERS.into()).for_each(|number| others.put(waiting(number)));
        others.enter(OTHERS, 0);
        several(&ring, to)
    }),
    ("tcp ring poll", || {
        // A thread of the kernel makes the request, and has another name.
        let told = by(&ring(SQPOLL)?, 0)?;
        let of_poller =
            |event: Value| if event["via"] == "io_uring" { without(without(event, "tid"), "comm") } else { event };
        Ok(told.into_iter().map(of_poller).collect())
    }),
    ("tcp ring no way", || {
        sys::unshare(libc::CLONE_NEWNET);
        let ring = ring(0)?;
        let to = (NOWHERE, 9).into();
        let fd = tcp(to);
        assert_eq!(ring_connect(&ring, fd, to, 0), -i64::from(libc::ENETUNREACH));
        let event = failed(fd, "unreachable", Some("ENETUNREACH"), libc::ENETUNREACH);
        Ok(vec![with(event, json!({"via": "io_uring"}))])
    }),
    ("tcp ring passed", || {
        let (ring, fd) = (ring(0)?, tcp(v4()));
        let to = sockaddr("[2001:db8::7]:443".parse().expect("an address"));
        let told = [
            (28, json!({"raddr": "2001:db8::7", "rport": 443})),
            (20, json!({"raddr": null, "raddr_why": "too_short"})),
        ];
        let told = told.into_iter().map(|(len, passed)| {
            assert_eq!(ring.run(uring::connect(fd, &to[..len], 0)), -i64::from(libc::EAFNOSUPPORT));
            let event = failed(fd, "failed", Some("EAFNOSUPPORT"), libc::EAFNOSUPPORT);
            let event = without(with(event, json!({"via": "io_uring"})), "v4_mapped");
            named(with(event, passed), &len.to_string())
        });
        Ok(told.collect())
    }),
];

fn ring(flags: u32) -> Result<Ring, String> {
    Ring::new(flags).ok_or_else(|| "this kernel has no io_uring".to_owned())
}

fn ring_connect(ring: &Ring, fd: i64, to: SocketAddr, flags: u8) -> i64 {
    ring.run(uring::connect(fd, &sockaddr(to), flags))
}

fn by(ring: &Ring, flags: u8) -> Told {
    let (listener, to, client) = listen_for_one();
    done("connect", ring_connect(ring, client, to, flags));
    let server = done("accept", accept(listener));
    let connect = with(connected(client), json!({"via": "io_uring"}));
    Pair { listener, client, server, connect, accept: accepted(server) }.whole()
}

fn ring_refused(flags: u8) -> Told {
    let ring = ring(0)?;
    let (to, fd) = (closed_port(v4()), tcp(v4()));
    assert_eq!(ring_connect(&ring, fd, to, flags), -i64::from(libc::ECONNREFUSED));
    let event = failed(fd, "refused", Some("ECONNREFUSED"), libc::ECONNREFUSED);
    Ok(vec![with(event, json!({"via": "io_uring"}))])
}

fn ring_accepts(flags: u8) -> Told {
    let ring = ring(0)?;
    let (listener, to, client) = listen_for_one();
    done("connect", connect(client, to));
    let server = done("accept", ring.run(uring::accept(listener, flags, false)));
    let accept = with(accepted(server), json!({"via": "io_uring"}));
    Pair { listener, client, server, connect: connected(client), accept }.whole()
}

/// Connections that waiting requests accept.
fn several(ring: &Ring, to: SocketAddr) -> Told {
    let mut told = Vec::new();
    for number in 0..3 {
        let client = tcp(to);
        done("connect", connect(client, to));
        ring.enter(0, 1);
        let server = ring.next();
        if server == -i64::from(libc::EINVAL) {
            return Err("this kernel has no multishot accept".to_owned());
        }
        // The completion interrupts the call, which is repeated.
        let (connect, accept) = (without(connected(client), "ret"), with(accepted(server), json!({"via": "io_uring"})));
        // The listener stays open.
        let pair = Pair { listener: -1, client, server, connect, accept };
        told.extend(numbered(pair.whole()?, number));
    }
    Ok(told)
}
