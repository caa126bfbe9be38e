//! TCP connections: the events that `print` shows, compared with what the processes did.
//!
//! Each case runs in its own process, which returns the events that it caused ([`told`]). All cases of a test run at the same time
//! under one trace. Their events are those of threads with the name of the case, and those at the address of its process
//! ([`net::address_of`]).

mod cases;
pub(crate) mod net;
mod races;
mod told;
mod unreported;

use crate::cases::{act, judge};
use crate::prelude::*;
use crate::traced::is_attached;
use cases::Case;
use net::{accept, connect, done, listen, listen_for_one, name, receive, send, tcp, v4};
use told::{accepted, closed, connected, failed};

fn traced<T>(args: &[&str], act: impl FnOnce(&Traced) -> T) -> Option<(Run, T)> {
    may_trace().then_some(())?;
    net::up("lo");
    let traced = Traced::start(args)?;
    let result = act(&traced);
    Some((traced.stop(), result))
}

const KIND: [&str; 2] = ["--kind", "tcp,lost"];

/// Runs the cases and compares their events of connections. Reports those that this machine cannot run.
fn check(cases: &[Case]) {
    check_those(cases, |event| !is_bound(event));
}

fn is_bound(event: &Value) -> bool {
    event["op"] == "listen" || event["op"] == "bind"
}

/// Runs the cases and compares those of their events that are wanted.
fn check_those(cases: &[Case], wanted: fn(&Value) -> bool) {
    let act = |_: &Traced| act(cases.iter().map(|(name, run)| (*name, run)));
    let Some((run, acted)) = traced(&KIND, act) else { return };
    run.check();
    judge(acted, &run, |name, pid, expected| told::compare(expected, &of_case(&run, name, pid, wanted)));
}

fn events(run: &Run) -> impl Iterator<Item = Value> {
    run.lines().filter(|line| line["kind"] == "tcp" && !is_bound(line))
}

fn of_case(run: &Run, name: &str, pid: i32, wanted: fn(&Value) -> bool) -> Vec<Value> {
    let address = net::address_of(pid).to_string();
    let is = |event: &Value| event["comm"] == name || ["laddr", "raddr"].iter().any(|key| event[key] == *address);
    run.lines().filter(|line| line["kind"] == "tcp" && is(line) && wanted(line)).collect()
}

#[test]
fn listening_sockets_and_failed_binds_are_told() {
    check_those(cases::BOUND, is_bound);
}

#[test]
fn what_listens_already_is_told_once() {
    let (listener, at) = listen(v4());
    let copy = done("dup", call(libc::SYS_dup, &[listener as u64]));
    let Some((run, ())) = traced(&KIND, |_| ()) else { return };
    run.check();
    let told: Vec<Value> = run.lines().filter(|line| is_bound(line) && line["lport"] == at.port()).collect();
    let [older] = &told[..] else { panic!("{told:?}") };
    let shown = ["op", "via", "role", "laddr", "ret", "backlog", "backlog_why"].map(|key| older[key].clone());
    let address = at.ip().to_string();
    let expected = ["listen", "snapshot", "server", &address].map(Value::from);
    assert_eq!(shown[..4], expected);
    assert_eq!(shown[4..], [Value::Null, Value::Null, "not_collected".into()]);
    [listener, copy].into_iter().for_each(sys::close);
}

#[test]
fn connections_are_told_from_both_ends() {
    check(&[cases::CONNECTIONS, cases::NOTHING].concat());
}

#[test]
fn connections_of_32_bit_callers_are_told() {
    check(cases::NARROW);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn connections_by_socketcall_and_by_x32_are_told() {
    check(cases::SOCKETCALL);
}

#[test]
fn failures_are_told_once_with_their_outcome() {
    check(cases::FAILURES);
}

#[test]
fn ends_are_told_with_who_closed() {
    check(&[cases::ENDS, cases::OWNERS].concat());
}

#[test]
fn connections_through_io_uring_are_told() {
    if crate::uring::is_seen() {
        check(cases::URING);
    }
}

/// Whether the program that lists the connections that wait is attached. Some kernels refuse it (`EPERM`), as doctor reports.
fn lists_what_waits() -> bool {
    let has = is_attached("tcp_sweep ");
    if !has {
        not_checked("this kernel does not let BPF list the elements of a map");
    }
    has
}

fn ours(run: &Run) -> Vec<Value> {
    let address = v4().ip().to_string();
    events(run).filter(|event| event["laddr"] == address || event["raddr"] == address).collect()
}

fn assert_told(expected: &[Value], events: &[Value]) {
    let wrong = told::compare(expected, events);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_is_older_than_the_trace_is_told_from_its_list_of_open_files() {
    let Some(()) = alone_as_root() else { return };
    net::up("lo");
    let (listener, to, client) = listen_for_one();
    done("connect", connect(client, to));
    let server = done("accept", accept(listener));
    send(client, 3);
    receive(server, 3);
    let (waited, at) = listen(v4());
    let accepts = std::thread::spawn(move || {
        let server = done("accept", accept(waited));
        let told = accepted(server);
        send(server, 2);
        sys::close(server);
        (closed(&told, 0, 2), told)
    });
    // It must block before the trace begins.
    std::thread::sleep(Duration::from_millis(100));
    let from = name(client);
    let acted = traced(&KIND, |_| {
        send(server, 5);
        receive(client, 5);
        sys::close(client);
        assert_eq!(net::read_end(server), 0);
        sys::close(server);
        let late = tcp(at);
        done("connect", connect(late, at));
        receive(late, 2);
        let (end, accept) = accepts.join().expect("no panic");
        sys::close(late);
        let connect = connected(late);
        [closed(&connect, 2, 0), connect, end, accept]
    });
    sys::close(listener);
    sys::close(waited);
    let Some((run, mut told)) = acted.map(|(run, told)| (run, told.to_vec())) else { return };
    run.check();
    for (fd, local, remote, bytes) in [(client, from, to, [5, 3]), (server, to, from, [3, 5])] {
        told.push(json!({
            "op": "close", "via": "snapshot", "fd": fd, "pid": sys::pid(), "lport": local.port(), "rport": remote.port(),
            "laddr": local.ip().to_string(), "raddr": remote.ip().to_string(), "end": "closed", "bytes_in": bytes[0],
            "bytes_out": bytes[1], "closer": told::process(sys::pid()), "since_ns": null, "since_ns_why": "not_collected",
            "dur_ns": null, "dur_ns_why": "not_collected", "ret": null, "net_ns": net::net_ns(), "#": local.to_string(),
        }));
    }
    assert_told(&told, &ours(&run));
}

#[test]
fn a_request_without_an_answer_is_in_progress_at_the_end() {
    if !lists_what_waits() {
        return;
    }
    let acted = traced(&KIND, |_| {
        let (listener, to) = net::listen_with(v4(), 0, 1).expect("TCP");
        let queued = [tcp(to), tcp(to)];
        queued.iter().for_each(|fd| _ = done("connect", connect(*fd, to)));
        let waiting = net::nonblocking(to);
        assert_eq!(connect(waiting, to), -i64::from(libc::EINPROGRESS));
        (listener, queued, waiting)
    });
    let Some((run, (listener, queued, waiting))) = acted else { return };
    run.check();
    let mut told: Vec<Value> = queued.iter().map(|fd| told::named(connected(*fd), &fd.to_string())).collect();
    told.push(failed(waiting, "in_progress", None, libc::EINPROGRESS));
    assert_told(&told, &ours(&run));
    [listener, queued[0], queued[1], waiting].into_iter().for_each(sys::close);
}

fn both() -> Vec<i64> {
    let (listener, to, client) = listen_for_one();
    done("connect", connect(client, to));
    let server = done("accept", accept(listener));
    [client, server, listener].into_iter().for_each(sys::close);
    assert_eq!(connect(tcp(to), to), -i64::from(libc::ECONNREFUSED));
    vec![]
}

#[test]
fn filters_select_connections() {
    let Some(()) = alone_as_root() else { return };
    type Holds = fn(&Value, i32) -> bool;
    let by_pid: Holds = |event, pid| event["pid"] == pid;
    let refused: Holds = |event, _| event["outcome"] == "refused";
    let loopback: Holds = |_, _| true;
    let accepts: Holds = |event, _| event["op"] == "accept";
    let nothing: Holds = |_, _| false;
    for (args, holds) in [
        (&["--pid", "PID"][..], by_pid),
        (&["--failed"], refused),
        (&["--filter", "kind=tcp outcome=refused"], refused),
        (&["--filter", "err=ECONNREFUSED"], refused),
        (&["--filter", "raddr=127.0.0.0/8"], loopback),
        (&["--filter", "raddr=10.0.0.0/8"], nothing),
        (&["--filter", "op=accept"], accepts),
    ] {
        net::up("lo");
        let actors = [Actor::new(both), Actor::new(both)];
        let pids = [actors[0].pid, actors[1].pid];
        let pid = pids[0].to_string();
        let mut all = vec!["--kind", "tcp,lost"];
        all.extend(args.iter().map(|arg| if *arg == "PID" { &pid } else { *arg }));
        let Some((run, ())) = traced(&all, |_| actors.into_iter().for_each(|actor| _ = actor.run())) else { return };
        run.check();
        // Five events of each process: connect, accept, two closes, a refusal.
        let brief = |event: &Value| (event["pid"].as_i64(), event["op"].to_string(), event["outcome"].to_string());
        let mut found: Vec<_> =
            events(&run).filter(|event| pids.iter().any(|pid| event["pid"] == *pid)).map(|e| brief(&e)).collect();
        let made = |pid: i32| {
            let event = move |op: &str, outcome: Value| json!({"pid": pid, "op": op, "outcome": outcome});
            let none = Value::Null;
            let ops = [("accept", none.clone()), ("close", none.clone()), ("close", none)];
            let requests = [("connect", json!("connected")), ("connect", json!("refused"))];
            ops.into_iter().chain(requests).map(move |(op, outcome)| event(op, outcome))
        };
        let mut expected: Vec<_> =
            pids.into_iter().flat_map(made).filter(|e| holds(e, pids[0])).map(|e| brief(&e)).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{args:?}");
    }
}

const CROWD: usize = 6;

/// From 7.0 on, classic tracepoints serve the calls that began before the trace. They slow down every system call.
#[test]
fn the_program_for_earlier_calls_is_detached_after_them() {
    let (listener, to) = net::listen_with(v4(), 0, 1).expect("TCP");
    let mut waits = Actor::new(move || vec![accept(listener)]);
    waits.go();
    let attached = || {
        let said = tracetui().args(["bpf", "--format", "json"]).output().expect("it runs");
        let bpf: Value = serde_json::from_slice(&said.stdout).expect("JSON");
        let program = bpf["programs"].as_array().into_iter().flatten().find(|program| program["name"] == "tcp_begun");
        program.map(|program| program["attached"].as_array().expect("a list").len())
    };
    let Some((_, seen)) = traced(&KIND, |_| {
        let before = attached();
        done("connect", connect(tcp(to), to));
        std::thread::sleep(Duration::from_secs(if emulated() { 8 } else { 3 }));
        (before, attached())
    }) else {
        return;
    };
    assert!(waits.end().1[0] >= 0, "it was accepted");
    match seen {
        (None, _) => not_checked("calls that began before: other programs see them on this kernel"),
        (before, after) => assert!(before > Some(0) && after.unwrap_or(0) == 0, "{before:?} {after:?}"),
    }
}

/// A reset may come after accept(2) has made the descriptor and before its end is reported. Another trace makes that time longer.
#[test]
fn a_reset_before_accept_returns_is_no_loss() {
    let each = if emulated() { 300 } else { 3000 };
    let act = |_: &Traced| {
        let mut actor = Actor::new(move || {
            sys::set_comm(b"tcp resets");
            let (listener, to) = net::listen_with(v4(), 0, 128).expect("TCP");
            let accepts =
                std::thread::spawn(move || (0..each).for_each(|_| sys::close(done("accept", accept(listener)))));
            for _ in 0..each {
                let client = tcp(to);
                net::reset_at_close(client);
                done("connect", connect(client, to));
                sys::close(client);
            }
            accepts.join().expect("no panic");
            vec![]
        });
        actor.go();
        assert_eq!(actor.end().0.code(), Some(0));
    };
    let Some((outer, Some((inner, ())))) = traced(&KIND, |_| traced(&KIND, act)) else { return };
    for run in [outer, inner] {
        let account = run.check();
        let shown = events(&run).filter(|event| event["comm"] == "tcp resets").count();
        let lost = n(&account["kinds"]["tcp"]["lost"]["probe"]);
        // Where the kernel skips programs, events can be lost. Then fewer are shown.
        assert!(shown == 4 * each || shown < 4 * each && lost > 0, "{shown} of {}, {lost} lost: {account}", 4 * each);
        assert!(shown < 4 * each || lost == 0, "nothing is missing, and {lost} count as lost: {account}");
    }
}

/// Each process connects to the next one, and each connection carries a few bytes both ways.
#[test]
fn what_a_crowd_of_processes_connects_is_told_or_counted() {
    let each = if emulated() { 250 } else { 1000 };
    let Some((run, _)) = traced(&KIND, |_| {
        let listeners: Vec<(i64, SocketAddr)> =
            (0..CROWD).map(|_| net::listen_with(v4(), 0, 128).expect("TCP")).collect();
        let mut actors: Vec<Actor> = (0..CROWD)
            .map(|number| {
                let (listener, (_, to)) = (listeners[number].0, listeners[(number + 1) % CROWD]);
                Actor::new(move || {
                    sys::set_comm(b"tcp crowd");
                    let accepts = std::thread::spawn(move || {
                        for _ in 0..each {
                            let server = done("accept", accept(listener));
                            receive(server, 3);
                            send(server, 5);
                            assert_eq!(net::read_end(server), 0);
                            sys::close(server);
                        }
                    });
                    for _ in 0..each {
                        let client = tcp(to);
                        done("connect", connect(client, to));
                        send(client, 3);
                        receive(client, 5);
                        sys::close(client);
                    }
                    accepts.join().expect("no panic");
                    vec![]
                })
            })
            .collect();
        actors.iter_mut().for_each(Actor::go);
        actors.into_iter().for_each(|actor| assert_eq!(actor.end().0.code(), Some(0)));
        listeners.iter().for_each(|(fd, _)| sys::close(*fd));
    }) else {
        return;
    };
    let account = run.check();
    // The events of a side of a connection: a port is used again after a second.
    let mut sides: BTreeMap<(bool, String, u64, u64), Vec<Value>> = BTreeMap::new();
    for event in events(&run).filter(|event| event["comm"] == "tcp crowd") {
        let is_server = event["role"] == "server";
        let [near, far] =
            [["laddr", "lport"], ["raddr", "rport"]].map(|[ip, port]| format!("{} {}", event[ip], event[port]));
        let ends = if is_server { format!("{far} {near}") } else { format!("{near} {far}") };
        sides.entry((is_server, ends, n(&event["since_ns"]), n(&event["pid"]))).or_default().push(event);
    }
    let total = CROWD * each;
    let shown: usize = sides.values().map(Vec::len).sum();
    let missing = (4 * total).saturating_sub(shown) as u64;
    let counted = n(&account["lost"]) + n(&account["unattributed_skips"]);
    println!("crowd: {missing} of {} missing, {counted} counted", 4 * total);
    skipped(&account);
    assert!(missing <= counted && shown <= 4 * total, "what is missing was counted: {missing}: {account}");
    if missing > 0 {
        return;
    }
    let mut repaired = 0;
    for ((is_server, ends, since, _), events) in &sides {
        let [begin, close] = &events[..] else { panic!("{ends}: two events and not {events:#?}") };
        let (op, outcome) = if *is_server { ("accept", Value::Null) } else { ("connect", json!("connected")) };
        let [bytes_in, bytes_out] = if *is_server { [3, 5] } else { [5, 3] };
        let told = json!({"op": op, "outcome": outcome, "since_ns": since});
        // A change of a state in a softirq that interrupts the program at such changes is skipped.
        let is_repaired = close["end_why"] == "repaired";
        repaired += usize::from(is_repaired);
        let end = if is_repaired { Value::Null } else { json!("closed") };
        let end = json!({"op": "close", "end": end, "bytes_in": bytes_in, "bytes_out": bytes_out, "since_ns": since});
        assert_told(&[told, end], &[begin.clone(), close.clone()]);
    }
    assert!(repaired <= sides.len() / 100, "few ends are repaired: {repaired} of {}", sides.len());
    let of = |server: bool| -> Vec<&String> {
        sides.keys().filter(|(is_server, ..)| *is_server == server).map(|(_, ends, ..)| ends).collect()
    };
    assert_eq!(of(false).len(), total);
    assert_eq!(of(false), of(true), "each connection has both sides");
}
