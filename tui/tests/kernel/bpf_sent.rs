//! XDP programs at an interface that is down, of which the kernel sends no notification. Whatever call sends the messages, the trace has
//! the attachment with its process, or counts a window.

use crate::bpf::{EXIT, MOV_R0, id_and_tag, load};
use crate::bpf_inventory::XDP;
use crate::sys::{self, Actor};
use crate::tcp::net::{self, attribute, done, socket};
use crate::traced::{Traced, alone, is_attached, may_trace, n, not_checked};
use crate::uring::{BY_WORKER, Ring, SQPOLL, Sqe};
use serde_json::Value;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Sendto,
    Sendmsg,
    Write,
    Writev,
    /// After a message that changes nothing.
    Second,
    /// With a further attribute that the kernel ignores.
    Twice,
    /// The interface has its name.
    Named,
    /// A message in two pieces.
    Pieces,
    /// Both changes in one call.
    Both,
    Sendmmsg,
    UringWrite,
    UringSendmsg,
    UringWorker,
    UringPoll,
}
use Way::*;

/// The interface `lo` of a network namespace of its own.
const LO: u32 = 1;
const IFNAME: u16 = 3;

/// A message that sets the XDP program of an interface; −1 removes it.
fn message(way: Way, program: i32) -> Vec<u8> {
    const IFLA_XDP: u16 = 43;
    const FD: u16 = 1;
    const FLAGS: u16 = 3;
    const SKB_MODE: u32 = 2;
    let of_xdp = |fd: i32| {
        let of = [attribute(FD, &fd.to_ne_bytes()), attribute(FLAGS, &SKB_MODE.to_ne_bytes())].concat();
        attribute(IFLA_XDP, &of)
    };
    let index = if way == Named { 0 } else { LO };
    let name = if way == Named { attribute(IFNAME, b"lo\0") } else { vec![] };
    let ignored = if way == Twice { of_xdp(-1) } else { vec![] };
    let body = [&[0; 4][..], &index.to_ne_bytes(), &[0; 8], &name, &ignored, &of_xdp(program)].concat();
    netlink(libc::RTM_SETLINK, libc::NLM_F_ACK, &body)
}

fn netlink(kind: u16, flags: i32, body: &[u8]) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | flags) as u16;
    let len = 16 + body.len() as u32;
    [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8], body].concat()
}

/// `struct msghdr` with these pieces, which it names by address.
fn msghdr(pieces: &[[u64; 2]]) -> [u64; 7] {
    [0, 0, pieces.as_ptr() as u64, pieces.len() as u64, 0, 0, 0]
}

fn piece(bytes: &[u8]) -> [u64; 2] {
    [bytes.as_ptr() as u64, bytes.len() as u64]
}

/// Sends the messages. Returns the first error of the kernel's answers, or 0.
fn send(way: Way, ring: Option<&Ring>, messages: &[Vec<u8>]) -> i64 {
    let fd = done("socket", socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE));
    let all = match way {
        Second => {
            [netlink(libc::RTM_GETLINK, 0, &[0, LO, 0, 0].map(u32::to_ne_bytes).concat()), messages.concat()].concat()
        }
        _ => messages.concat(),
    };
    let parts: Vec<_> = match way {
        Pieces => vec![piece(&all[..16]), piece(&all[16..])],
        _ => vec![piece(&all)],
    };
    let (header, fd64, [addr, len]) = (msghdr(&parts), fd as u64, piece(&all));
    let sqe = Sqe { fd: fd as i32, addr, len: len as u32, off: u64::MAX, ..Sqe::default() };
    let by_ring = |sqe| ring.map_or(-1, |ring| ring.run(sqe));
    let sent = match way {
        Write => sys::call(libc::SYS_write, [fd64, addr, len, 0, 0]),
        Writev => sys::call(libc::SYS_writev, [fd64, parts.as_ptr() as u64, 1, 0, 0]),
        Sendmsg | Pieces => sys::call(libc::SYS_sendmsg, [fd64, header.as_ptr() as u64, 0, 0, 0]),
        Sendmmsg => {
            let mut one = [0u64; 8];
            one[..7].copy_from_slice(&header);
            sys::call(libc::SYS_sendmmsg, [fd64, one.as_ptr() as u64, 1, 0, 0]) * len as i64
        }
        UringWrite | UringPoll => by_ring(Sqe { opcode: 23, ..sqe }),
        UringWorker => by_ring(Sqe { opcode: 23, flags: BY_WORKER, ..sqe }),
        UringSendmsg => by_ring(Sqe { opcode: 9, addr: header.as_ptr() as u64, len: 1, off: 0, ..sqe }),
        _ => sys::call(libc::SYS_sendto, [fd64, addr, len, 0, 0]),
    };
    assert_eq!(sent, all.len() as i64, "{way:?}");
    let mut result = 0;
    for _ in messages {
        // Skips the answer to the message before.
        let mut answer = [0u8; 8192];
        while answer[4..6] != (libc::NLMSG_ERROR as u16).to_ne_bytes() {
            done("read", sys::call(libc::SYS_read, [fd64, answer.as_mut_ptr() as u64, 8192, 0, 0]));
        }
        result = i64::from(i32::from_ne_bytes(answer[16..20].try_into().expect("four bytes"))).min(result);
    }
    sys::close(fd);
    result
}

/// Attaches a program and detaches it at once.
fn act(way: Way, program: i32) -> i64 {
    let flags = if way == UringPoll { SQPOLL } else { 0 };
    let ring = matches!(way, UringWrite | UringSendmsg | UringWorker | UringPoll).then(|| Ring::new(flags)).flatten();
    let messages = [program, -1].map(|program| message(way, program));
    match way {
        UringWrite | UringSendmsg | UringWorker | UringPoll if ring.is_none() => -1,
        Both => send(way, None, &messages),
        _ => messages.iter().map(|message| send(way, ring.as_ref(), std::slice::from_ref(message))).min().unwrap_or(-1),
    }
}

#[test]
fn no_way_of_sending_hides_an_xdp_program() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let (exact, sent) = (is_attached("bpf_xdp "), is_attached("bpf_sent "));
    net::own_net();
    net::number_first();
    net::down("lo");
    // Those of the first trace are followed, and no window is counted.
    let followed = [Sendto, Sendmsg, Write, Writev, Second, Twice];
    let others = [Named, Pieces, Both, Sendmmsg, UringWrite, UringSendmsg, UringWorker, UringPoll];
    let traces = [followed.to_vec()].into_iter().chain(others.map(|way| vec![way]));
    let mut failed = Vec::new();
    for ways in traces {
        let programs: Vec<_> = ways.iter().map(|_| sys::owned(load(XDP, "tt_sent", &[MOV_R0, EXIT]))).collect();
        let fds: Vec<_> = programs.iter().map(sys::raw).collect();
        let Some(traced) = Traced::start(&["--kind", "bpf"]) else { return };
        // The first inventory has been taken.
        std::thread::sleep(Duration::from_millis(500));
        let (of, acts) = (ways.clone(), fds);
        let actor = Actor::new(move || of.into_iter().zip(acts).map(|(way, program)| act(way, program)).collect());
        let pid = actor.pid;
        let results = actor.run();
        let run = traced.stop();
        run.check();
        let windows = n(&run.account()["bpf_unseen_windows"]["count"]);
        for ((way, program), result) in ways.iter().zip(&programs).zip(results) {
            if result < 0 {
                not_checked(&format!("XDP by {way:?}: error {result}"));
                continue;
            }
            let id = id_and_tag(program)[0];
            let events: Vec<Value> = run.lines().filter(|event| event["prog"]["id"] == id).collect();
            let shown: Vec<_> = events.iter().map(|e| format!("{} {}", e["op"], e["pid"] == pid)).collect();
            let seen = shown == ["\"attach\" true", "\"detach\" true"];
            let is_followed = exact || sent && followed.contains(way);
            let right = if is_followed { seen && windows == 0 } else { seen || windows > 0 };
            println!("{way:?}: {shown:?}, {windows} windows");
            if !right {
                failed.push(format!("{way:?}: {windows} windows, {shown:?}"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
