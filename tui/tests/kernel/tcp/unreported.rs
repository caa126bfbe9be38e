//! Connections that no program reports. They count as lost, also if they are open when the trace ends.

use super::net::{self, MPTCP, accept, connect, done, listen_with, name, tcp, v4};
use super::{KIND, lists_what_waits, ours, traced};
use crate::prelude::*;
use crate::uring::{self, QUIET, Ring, Sqe};

fn lost(run: &Run) -> u64 {
    run.check_sums()["kinds"]["tcp"]["lost"].as_object().expect("causes").values().map(n).sum()
}

struct Waiting {
    ring: Ring,
    listener: i64,
    clients: Vec<i64>,
}

impl Waiting {
    /// `None` without io_uring of 5.17 or the protocol.
    fn new(protocol: i32, connections: usize) -> Option<Waiting> {
        let ring = Ring::new(0).filter(Ring::has_quiet)?;
        let (listener, to) = listen_with(v4(), protocol, 8).ok()?;
        let client = |_| {
            let client = if protocol == MPTCP { mptcp(to) } else { tcp(to) };
            done("connect", connect(client, to));
            client
        };
        Some(Waiting { clients: (0..connections).map(client).collect(), ring, listener })
    }

    fn close(self) {
        self.clients.into_iter().chain([self.listener]).for_each(sys::close);
    }

    fn accept_quietly(&self) -> i64 {
        let fd = done("dup", call(libc::SYS_dup, &[self.listener as u64]));
        sys::close(fd);
        self.ring.submit(uring::accept(self.listener, QUIET, false), 0);
        assert_eq!(name(fd), name(self.listener), "it was accepted at once");
        fd
    }
}

fn mptcp(to: SocketAddr) -> i64 {
    done("socket", net::socket(if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }, libc::SOCK_STREAM, MPTCP))
}

/// Accepts by requests without a completion: `open` of them stay open until the trace has ended, others are closed. One is
/// accepted as usual. Returns the events that are shown and lost.
fn quietly(protocol: i32, open: usize, closed: usize) -> Option<(usize, u64)> {
    lists_what_waits().then_some(())?;
    let (run, fds) = traced(&KIND, |_| {
        let waiting = Waiting::new(protocol, open + closed + 1)?;
        let mut fds: Vec<i64> = (0..open).map(|_| waiting.accept_quietly()).collect();
        // It has several descriptors, and counts once.
        fds.extend(fds.iter().map(|fd| call(libc::SYS_dup, &[*fd as u64])).collect::<Vec<_>>());
        (0..closed).for_each(|_| sys::close(waiting.accept_quietly()));
        fds.push(done("accept", accept(waiting.listener)));
        fds.extend(&waiting.clients);
        fds.push(waiting.listener);
        Some(fds)
    })?;
    let Some(fds) = fds else {
        not_checked("accepts without a completion: no io_uring, or not the protocol");
        return None;
    };
    fds.into_iter().for_each(sys::close);
    Some((ours(&run).iter().filter(|event| event["op"] != "close").count(), lost(&run)))
}

/// Also while they are open.
#[test]
fn accepts_that_nothing_reports_are_counted_once() {
    // Four connects and an accept are shown; five and an accept, and for two of them an end is lost too.
    for (protocol, open, closed, shown, lost) in [(0, 3, 0, 5, 3), (0, 2, 2, 6, 6), (MPTCP, 3, 0, 5, 3)] {
        let Some(counts) = quietly(protocol, open, closed) else { continue };
        assert_eq!(counts, (shown, lost), "{protocol} {open} {closed}");
    }
}

#[test]
fn an_accept_that_nothing_reports_is_counted_if_its_socket_connects_again() {
    let acted = traced(&KIND, |_| {
        let waiting = Waiting::new(0, 1)?;
        let fd = waiting.accept_quietly();
        done("disconnect", net::disconnect(fd));
        let refused = connect(fd, net::closed_port(v4()));
        sys::close(fd);
        Some((waiting, refused))
    });
    let Some((run, acted)) = acted else { return };
    let Some((waiting, refused)) = acted else { return not_checked("accepts without a completion: no io_uring") };
    waiting.close();
    assert_eq!(refused, -i64::from(libc::ECONNREFUSED));
    // The accept and its end.
    assert_eq!(lost(&run), 2);
}

#[test]
fn accepts_into_the_table_of_a_ring_are_counted_while_they_are_open() {
    let acted = traced(&KIND, |_| {
        let waiting = Waiting::new(0, 2)?;
        waiting.ring.register_slots(4);
        let direct = |slot: u32| Sqe { file_index: slot + 1, ..uring::accept(waiting.listener, 0, false) };
        let rets = [0, 1].map(|slot| waiting.ring.run(direct(slot)));
        Some((rets, waiting))
    });
    let Some((run, acted)) = acted else { return };
    let Some((rets, waiting)) = acted.filter(|(rets, _)| *rets == [0, 0]) else {
        return not_checked("accepts into the table of a ring: this kernel has none");
    };
    waiting.close();
    assert_eq!((rets, lost(&run)), ([0, 0], 2));
}

#[test]
fn listens_and_failed_binds_through_a_ring_are_counted() {
    const BIND: u8 = 56;
    const LISTEN: u8 = 57;
    let Some((run, rets)) = traced(&KIND, |_| {
        let (ring, fd, at) = (Ring::new(0)?, tcp(v4()) as i32, net::sockaddr(v4()));
        let bind = || Sqe { opcode: BIND, fd, addr: at.as_ptr() as u64, off: at.len() as u64, ..Sqe::default() };
        let rets = [bind(), Sqe { opcode: LISTEN, fd, len: 8, ..Sqe::default() }, bind()].map(|sqe| ring.run(sqe));
        sys::close(fd.into());
        Some(rets)
    }) else {
        return;
    };
    match rets {
        Some([0, listened, bound]) => {
            assert_eq!((listened, bound), (0, -i64::from(libc::EINVAL)));
            assert_eq!(lost(&run), 2);
        }
        _ => not_checked("listens through io_uring: this kernel has none (6.11)"),
    }
}
