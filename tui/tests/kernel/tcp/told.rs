//! What an event of a connection must say.

use super::net;
use crate::cases;
use crate::prelude::*;
use serde_json::Map;

/// Every key of an event of the kind, apart from those of every event.
const KEYS: &str = "op role laddr lport raddr rport family v4_mapped net_ns fd via abi ret outcome err dur_ns since_ns bytes_in \
                    bytes_out retransmits rtt_us end closer protocol backlog";

/// One of the connections of a process, which share `since_ns`; without it, its role is its name.
const NAME: &str = "#";

/// A process as `closer` names it: its id, and its start in clock ticks.
pub(crate) fn process(pid: i32) -> Value {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it was not waited for");
    let after_comm = stat.rsplit_once(')').expect("the name").1;
    let ticks: u64 = after_comm.split_whitespace().nth(19).and_then(|text| text.parse().ok()).expect("starttime");
    json!({"?process": [pid, ticks]})
}

fn base(op: &str, role: &str, fd: i64) -> Value {
    let comm = fs::read_to_string("/proc/thread-self/comm").expect("procfs");
    let comm = comm.trim_end_matches('\n');
    json!({
        "op": op, "role": role, "fd": fd, "pid": sys::pid(), "tid": sys::tid(), "abi": arch::ABI, "family": "inet",
        "v4_mapped": false, "net_ns": net::net_ns(), "outcome": null, "err": null, "end": null, "closer": null,
        "mptcp": false, "fastopen": false, "comm": comm,
    })
}

pub(crate) fn connected(fd: i64) -> Value {
    with(base("connect", "client", fd), json!({"via": "connect", "ret": 0, "outcome": "connected"}))
}

/// A request of the caller by connect(2) that failed. The call returned this.
pub(crate) fn failed(fd: i64, outcome: &str, err: Option<&str>, ret: i32) -> Value {
    with(connected(fd), json!({"outcome": outcome, "err": err, "ret": -ret}))
}

/// A socket that the caller made listen, with a backlog of 8.
pub(crate) fn listens(fd: i64) -> Value {
    let at = net::name(fd);
    let more = json!({"via": "listen", "ret": 0, "laddr": at.ip().to_string(), "lport": at.port(), "backlog": 8});
    without_peer(with(base("listen", "server", fd), more))
}

pub(crate) fn unbound(fd: i64, err: &str, errno: i32) -> Value {
    let more = json!({"via": "bind", "role": null, "ret": -errno, "err": err, "backlog": null});
    without_peer(with(base("bind", "", fd), more))
}

fn without_peer(of: Value) -> Value {
    let none = json!({"raddr": null, "rport": null, "v4_mapped": null, "since_ns": null, "dur_ns": null});
    with(with(of, none), json!({"protocol": "tcp", "retransmits": null}))
}

pub(crate) fn accepted(fd: i64) -> Value {
    with(base("accept", "server", fd), json!({"via": "accept4", "ret": fd}))
}

/// The end of a connection, which the caller closed after so many bytes.
pub(crate) fn closed(of: &Value, bytes_in: u64, bytes_out: u64) -> Value {
    let end = json!({
        "op": "close", "ret": null, "outcome": null, "end": "closed", "bytes_in": bytes_in, "bytes_out": bytes_out,
        "retransmits": {"?le": 3}, "closer": process(sys::pid()),
    });
    with(of.clone(), end)
}

pub(crate) fn reset(of: &Value, bytes_in: u64, bytes_out: u64) -> Value {
    with(closed(of, bytes_in, bytes_out), json!({"end": "reset"}))
}

pub(crate) fn reset_by_peer(of: &Value, bytes_in: u64, bytes_out: u64) -> Value {
    with(closed(of, bytes_in, bytes_out), json!({"end": "reset_by_peer", "closer": null}))
}

/// Names the connection of an event among those of its process.
pub(crate) fn named(of: Value, name: &str) -> Value {
    with(of, json!({NAME: name}))
}

/// Compares the expected events with those of the trace. Returns what is wrong, line by line.
pub(crate) fn compare(expected: &[Value], events: &[Value]) -> Vec<String> {
    let (pairs, left, over) = cases::pair(expected, events, |one, event| one["op"] == event["op"]);
    let mut wrong = Vec::new();
    for (_, other, differences) in pairs.iter().filter(|(_, _, differences)| !differences.is_empty()) {
        wrong.push(format!("{}: {}", brief(&events[*other]), differences.join(", ")));
    }
    let paired: Vec<_> = pairs.iter().map(|(at, other, _)| (&expected[*at], &events[*other])).collect();
    wrong.extend(left.into_iter().map(|at| format!("missing: {}", expected[at])));
    wrong.extend(over.into_iter().map(|at| format!("not expected: {}", events[at])));
    wrong.extend(paired.iter().flat_map(|(_, event)| impossible(event)));
    wrong.extend(not_joined(&paired));
    wrong
}

fn brief(event: &Value) -> String {
    let brief: Map<String, Value> = ["op", "role", "lport", "rport", "fd", "via"]
        .into_iter()
        .map(|key| (key.to_owned(), event[key].clone()))
        .collect();
    Value::from(brief).to_string()
}

/// What no event of the kind may say.
fn impossible(event: &Value) -> Vec<String> {
    let mut wrong: Vec<String> = KEYS
        .split_whitespace()
        .chain(["mptcp", "fastopen"])
        .filter(|key| event.get(key).is_none())
        .map(|key| format!("{}: no key {key}", brief(event)))
        .collect();
    let number = |key: &str| event[key].as_u64();
    if let (Some(since), Some(dur), Some(ns)) = (number("since_ns"), number("dur_ns"), number("ns")) {
        // A life ends when the event is made; what else lasts has ended by then.
        let (ended, lives) = (since + dur, event["op"] == "close");
        if ended > ns || lives && ended + 1_000_000 < ns {
            wrong.push(format!("{}: since_ns {since} + dur_ns {dur}, at ns {ns}", brief(event)));
        }
    }
    for (key, kind) in [("outcome", "connect"), ("end", "close")] {
        if event[key].is_null() == (event["op"] == kind) && event[format!("{key}_why")].is_null() {
            wrong.push(format!("{}: {key} is {}", brief(event), event[key]));
        }
    }
    // ERESTARTSYS and those above are seen by no process.
    if event["ret"].as_i64() <= Some(-512) && !event["ret"].is_null() {
        wrong.push(format!("{}: ret is {}", brief(event), event["ret"]));
    }
    let us = event["closer"]["pid"] == event["pid"] && event["closer"]["start_ns"] != event["start_ns"];
    if us {
        wrong.push(format!("{}: start_ns {} of the closer {}", brief(event), event["start_ns"], event["closer"]));
    }
    wrong
}

/// `since_ns` is the same for the events of a connection, another for another connection, and they come in order.
fn not_joined(paired: &[(&Value, &Value)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut connections: HashMap<(String, String), Vec<&Value>> = HashMap::new();
    for (expected, event) in paired {
        let name = expected[NAME].as_str().or(expected["role"].as_str()).unwrap_or_default();
        connections.entry((event["pid"].to_string(), name.to_owned())).or_default().push(event);
    }
    let mut times: HashMap<(String, String), &str> = HashMap::new();
    for ((pid, name), events) in &connections {
        let since = &events[0]["since_ns"];
        if events.iter().any(|event| event["since_ns"] != *since) {
            let since: Vec<_> = events.iter().map(|e| &e["since_ns"]).collect();
            wrong.push(format!("{name} of {pid}: since_ns is {since:?}"));
        }
        if let Some(other) = times.insert((pid.clone(), since.to_string()), name).filter(|_| since.is_u64()) {
            wrong.push(format!("{name} and {other} of {pid}: both since_ns {since}"));
        }
        let close = events.iter().find(|event| event["op"] == "close").map(|event| event["ns"].as_u64());
        if events.iter().any(|event| close.is_some_and(|close| event["ns"].as_u64() > close)) {
            wrong.push(format!("{name} of {pid}: an event after the close"));
        }
    }
    wrong
}
