//! A thread of the same process reads the error of a socket, or replaces its descriptor, during connect(2).

use super::net::{self, closed_port, connect, tcp, v4};
use super::{KIND, ours, traced};
use crate::prelude::*;
use std::cell::Cell;

const TIMES: usize = 300;
const FD: i64 = 200;

/// Runs `act` while another thread repeats `disturb`. Returns the events of this process.
fn disturbed(disturb: impl Fn() + Sync, act: impl Fn()) -> Option<Vec<Value>> {
    let ended = AtomicBool::new(false);
    let (run, ()) = traced(&KIND, |_| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    disturb();
                }
            });
            act();
            ended.store(true, Ordering::Relaxed);
        });
    })?;
    run.check();
    Some(ours(&run))
}

fn place(fd: i64) {
    net::done("dup3", call(libc::SYS_dup3, &[fd as u64, FD as u64]));
}

#[test]
fn a_refusal_whose_error_was_read_is_not_the_work_of_a_process() {
    let to = closed_port(v4());
    let refuse = || {
        for _ in 0..TIMES {
            let fd = net::nonblocking(to);
            place(fd);
            sys::close(fd);
            connect(FD, to);
            net::wait_for_outcome(FD);
            sys::close(FD);
        }
    };
    // The descriptor is not always open.
    let read = || _ = net::read_error(FD, &mut 0);
    let Some(events) = disturbed(read, refuse) else { return };
    assert_eq!(events.len(), TIMES);
    let broke = |event: &Value| event["err"] == "ECONNREFUSED" || event["err"] == "ECONNABORTED";
    let wrong = |event: &&Value| event["op"] != "connect" || !broke(event) || !event["closer"].is_null();
    assert_eq!(events.iter().find(wrong), None);
    if !events.iter().any(|event| event["err"] == "ECONNABORTED") {
        not_checked("a refusal whose error was read: no error was read in time");
    }
}

#[test]
fn a_descriptor_that_was_no_socket_during_the_call_makes_no_event() {
    let to = closed_port(v4());
    let [socket, other] = [tcp(to), call(libc::SYS_epoll_create1, &[])];
    place(other);
    let switch = || [socket, other].map(place);
    let met_none = Cell::new(0);
    let fail = || {
        let rets = (0..10 * TIMES).map(|_| connect(FD, to));
        met_none.set(rets.filter(|ret| *ret == -i64::from(libc::ENOTSOCK)).count());
    };
    let events = disturbed(|| _ = switch(), fail);
    [socket, other, FD].into_iter().for_each(sys::close);
    let Some(events) = events else { return };
    assert_eq!(events.iter().find(|event| event["err"] == "ENOTSOCK"), None);
    if met_none.get() == 0 {
        not_checked("a descriptor that was no socket: each call met the socket");
    }
}
