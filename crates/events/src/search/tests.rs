//! Events of synthetic traces, stored and folded as in the dashboard.

use super::*;
use crate::event::names::O_CREAT;
use crate::store::{Id, Store};
use crate::synthetic::{Maker, each_event, payload};
use crate::why::SearchDir;
use std::net::SocketAddr;
use tracetui_shared::calls::file::{RENAME, UNLINK};
use tracetui_shared::calls::lookup::STAT;
use tracetui_shared::id::{NsInum, Tgid};
use tracetui_shared::kind::{Kind, Slot};
use tracetui_shared::record::mark;
use tracetui_shared::record::open::OpenRecord;
use tracetui_shared::record::tcp::{TcpRecord, flag, form, op, outcome};

/// Stores the events. Also returns the cause of the last one if it is an exit.
fn stored(made: &mut Maker) -> (Store, Option<Failure>) {
    let (mut store, mut searches, mut cause) = (Store::new(64 << 20), Searches::default(), None);
    each_event(made.batch(), |seen, frame| {
        let id = store.push(seen, frame);
        let taken = searches.take(id, seen);
        cause = taken.cause.and_then(|cause| cause.failure);
        taken.answered.iter().for_each(|failed| store.answer(failed.id));
    });
    (store, cause)
}

fn exec(made: &mut Maker, filename: &[u8], ret: i32) {
    let exec = payload::Exec { ret, filename, argv: b"x\0", ..payload::Exec::default() };
    made.event(Slot::Exec, 7, "env", &exec.bytes());
}

fn answered(store: &Store) -> Vec<Id> {
    (0..store.next_id()).filter(|id| store.get(*id).is_some_and(|stored| stored.answered)).collect()
}

/// The ids of the answered failures after these events.
fn answers(make: impl FnOnce(&mut Maker)) -> Vec<Id> {
    let mut made = Maker::default();
    make(&mut made);
    answered(&stored(&mut made).0)
}

#[track_caller]
fn check(want: &[Id], make: impl FnOnce(&mut Maker)) {
    assert_eq!(answers(make), want);
}

#[test]
fn failures_are_answered_by_what_follows_them() {
    for (what, want, make) in ANSWERS {
        assert_eq!(answers(make), *want, "{what}");
    }
    // A search ends in time and only directories above are a walk up.
    for (others, ns, want) in [(64, 0, &[0][..]), (0, 4_000_000_000, &[0]), (65, 0, &[]), (0, 6_000_000_000, &[])] {
        check(want, |made| {
            made.open(7, "x", "/a/app.conf", -2);
            made.ns += ns;
            (0..others).for_each(|other| made.open(7, "x", &format!("/other/{other}"), 3));
            made.open(7, "x", "/b/app.conf", 3);
        });
    }
    let walk = |dirs: &'static [&str]| {
        move |made: &mut Maker| dirs.iter().for_each(|dir| made.open(7, "x", &format!("{dir}/a.json"), -2))
    };
    check(&[], walk(&["/srv/b", "/opt", ""]));
    check(&[], walk(&["/srv/b", ""]));
    check(&[0, 1, 2], walk(&["/srv/b", "/srv", ""]));
    // If nothing else failed, the exit names it.
    causes(1 << 8, walk(&["/srv/b", "/srv", ""]), Some(2));
}

type Answers = (&'static str, &'static [Id], fn(&mut Maker));

const ANSWERS: &[Answers] = &[
    ("a search, by what it found", &[0, 1, 4, 6], |made| {
        made.open_all(7, "cc1", "/a/x.h.gch:-2 /a/x.h:-2");
        made.open(8, "cc1", "/a/x.h", -2);
        made.open(7, "cc1", "/b/x.h", 4);
        made.open_all(7, "ld", "/a/libm.so:-2 /a/libm.a:4");
        exec(made, b"/a/ls", -2);
        exec(made, b"/b/ls", 0);
    }),
    ("other names, kinds and errors are no answer", &[], |made| {
        made.open(7, "cat", "/a/x", -13);
        exec(made, b"/b/x", 0);
        made.open(7, "cat", "/b/y", 3);
        // A file that was refused was found.
        made.acts("7 cat open /a/z:-13 /b/z /a/w:-2, exit 1, open /b/w");
    }),
    ("a search that found a script, and one that continued at once", &[0, 2], |made| {
        exec(made, b"/a/s", -2);
        exec(made, b"/b/s", -8);
        exec(made, b"/a/x", -13);
        exec(made, b"/b/x", 0);
        exec(made, b"/a/y", -13);
        made.ns += 60_000_000_000;
        exec(made, b"/b/y", 0);
    }),
    ("another success between does not end a search", &[0], |made| {
        made.open_all(7, "ld", "/a/libx.so:-2 /b/crt.o /c/libx.a:4");
    }),
    ("a path that succeeds later, unless it was refused", &[0, 4], |made| {
        made.open_all(7, "vi", "/a/x:-24 /a/x /a/y:-13 /a/y");
        // A shell reads a script that the kernel cannot execute.
        exec(made, b"/a/script", -8);
        made.open(7, "sh", "/a/script", 3);
    }),
    ("the first of two names in one directory, by the other", &[0, 1], |made| {
        made.open_all(7, "make", "GNUmakefile:-2 makefile:-2 Makefile");
        // The last name was not looked up there.
        made.open_all(7, "cc1", "/src/x.h:-2 /usr/include/x.h:-2 /src/main.c");
    }),
    ("what need not be there, unless the arguments name it", &[0, 1, 2, 3, 4, 5, 6], |made| {
        made.open_all(7, "cat", "/usr/share/locale/de/LC_MESSAGES/libc.mo:-2 /etc/ld.so.preload:-2 /dev/tty:-6");
        made.open(7, "cat", "/home/ana/.catrc", -2);
        for dir in ["/a/b", "/a", ""] {
            made.open(7, "node", &format!("{dir}/package.json"), -2);
        }
        made.acts("7 cat exec cat /dev/none /none, open /dev/none:-2 /none:-2 /proc/sys/none:-13");
        opened(made, b"/proc/sys/none", -2, libc::O_WRONLY);
    }),
    ("what a process did not find that then exited with code 0, or ran another program", &[0, 1, 6], |made| {
        made.acts(
            "7 git open /a/config:-2 /b/objects:-20 /secret:-13, exit 0; 8 git open /a/config:-2, exit 1; 7 env \
             open /a/config:-2",
        );
        exec(made, b"/bin/git", 0);
    }),
    ("another name in the same directory is no answer", &[4], |made| {
        made.open_all(7, "app", "/srv/users.db:-2 /srv/log.txt");
        // A log is no answer, whatever its name is.
        opened(made, b"/srv/app.db", -2, libc::O_RDONLY);
        opened(made, b"/srv/app.log", 3, libc::O_WRONLY);
        made.open_all(7, "pkgconf", "/lib/zlib-uninstalled.pc:-2 /lib/zlib.pc");
    }),
];

/// A connection to this peer, with its errno.
fn connect(made: &mut Maker, peer: &str, err: u16) {
    let [local, peer] = ["10.0.0.5:9", peer].map(|text| text.parse().expect("a socket address"));
    let of = payload::tcp(op::CONNECT, local, peer);
    made.tcp(7, "psql", TcpRecord { flags: flag::HAS_RET, ret: -115, outcome: outcome::DECIDED, err, ..of });
}

/// The failed call that an exit with this status names, after these events of process 7.
#[track_caller]
fn causes(status: u32, make: impl FnOnce(&mut Maker), want: Option<Id>) {
    let mut made = Maker::default();
    make(&mut made);
    made.exit(7, "x", status);
    assert_eq!(stored(&mut made).1.map(|failure| failure.id), want);
}

#[test]
fn an_exit_names_the_last_call_that_nothing_answered() {
    let missing = |made: &mut Maker| {
        made.open_all(7, "cc1", "/src/zlib.h:-2 /usr/include/zlib.h:-2 /usr/share/locale/de/LC_MESSAGES/gcc.mo:-2");
    };
    causes(1 << 8, missing, Some(1));
    causes(0, missing, None);
    causes(11, missing, None);
    let went_on = |made: &mut Maker, others: u64| {
        missing(made);
        (0..others).for_each(|other| made.open(7, "cc1", &format!("/other/{other}"), 3));
    };
    causes(1 << 8, |made| went_on(made, 2), Some(1));
    causes(1 << 8, |made| went_on(made, 3), None);
    // A file of the arguments is the cause, whatever succeeds after it.
    for (arg, path) in [("-lzz", "/usr/lib/libzz.so"), ("x.o", "x.o"), ("--in=a/b", "/src/a/b"), ("b", "/a/b")] {
        let make = |made: &mut Maker| {
            made.exec(7, "ld", &["ld", arg, "-lc"], 0);
            made.open(7, "ld", path, -2);
            made.open(7, "ld", "/usr/share/locale/de/LC_MESSAGES/libc.mo", -2);
            (0..9).for_each(|other| made.open(7, "ld", &format!("/lib/{other}"), 3));
        };
        causes(1 << 8, make, Some(1));
    }
    // A doubtful cause is none.
    // It ran on for long.
    let late = |made: &mut Maker| {
        made.open(7, "x", "/a", -13);
        made.ns += 60_000_000_000;
    };
    causes(1 << 8, late, None);
    // The answer may be lost.
    let lost = |made: &mut Maker| {
        made.open(7, "x", "/a", -13);
        made.lost(5);
    };
    causes(1 << 8, lost, None);
    // The last failure is not the cause, so no earlier one is.
    let other = |made: &mut Maker| {
        made.acts("7 x exec x /a, open /a:-2 /b:-2");
        (0..3).for_each(|other| made.open(7, "x", &format!("/other/{other}"), 3));
    };
    causes(1 << 8, other, None);
    // Other processes succeeded without it.
    let common = |made: &mut Maker, others: u32| {
        for pid in 100..100 + others {
            made.open(pid, "x", "/etc/x.conf", -2);
            made.exit(pid, "x", 0);
        }
        made.open(7, "x", "/etc/x.conf", -2);
    };
    causes(1 << 8, |made| common(made, 2), Some(4));
    causes(1 << 8, |made| common(made, 3), None);
}

#[test]
fn a_connection_is_answered_by_one_to_the_same_port() {
    for (first, next, answers) in [
        ("[::1]:5432", "127.0.0.1:5432", true),
        ("[::1]:5432", "127.0.0.1:5433", false),
        ("[::1]:5432", "[::1]:5432", true),
        // Services listen on ephemeral ports too.
        ("127.0.0.1:50051", "127.0.0.1:50052", false),
    ] {
        let both = |made: &mut Maker| {
            connect(made, first, 111);
            connect(made, next, 0);
        };
        check(if answers { &[0] } else { &[] }, both);
        causes(1 << 8, both, (!answers).then_some(0));
    }
    let mut made = Maker::default();
    connect(&mut made, "[::1]:5432", 111);
    made.exit(7, "psql", 2 << 8);
    let cause = stored(&mut made).1.expect("nothing answered it");
    assert_eq!((cause.err, cause.real), ("ECONNREFUSED", true));
    // Without the result of a call.
    let [local, peer] = ["10.0.0.5:9", "10.0.0.7:80"].map(|text| text.parse().expect("a socket address"));
    let abandoned = TcpRecord { outcome: outcome::ABANDONED, ..payload::tcp(op::CONNECT, local, peer) };
    causes(1 << 8, |made| made.tcp(7, "curl", abandoned), Some(0));
    // A connection to another service at the same port is no answer.
    for (first, next, ms, others, answers) in [
        // The addresses of one name.
        ("10.0.0.7:443", "10.0.0.8:443", 10, 0, true),
        ("[2001:db8::1]:443", "10.0.0.8:443", 10, 2, true),
        // Another name was looked up, or time passed, or one is this machine.
        ("10.0.0.7:443", "10.0.0.8:443", 10, 1, false),
        ("10.0.0.7:443", "10.0.0.8:443", 1_500, 0, false),
        ("127.0.0.1:5432", "10.0.0.8:5432", 10, 0, false),
    ] {
        let answered = self::answers(|made| {
            connect(made, first, 111);
            made.ns += ms * 1_000_000;
            (0..others).for_each(|other| made.open(7, "app", &format!("/other/{other}"), 3));
            connect(made, next, 0);
        });
        assert_eq!(!answered.is_empty(), answers, "{first} {next} {ms} {others}");
    }
}

#[test]
fn a_bind_is_the_cause_and_a_header_is_named_as_it_is_included() {
    let call = |made: &mut Maker, op: u8, port: u16, err: u16| {
        let at = SocketAddr::from(([0; 4], port));
        let ret = -i32::from(err);
        let record =
            TcpRecord { flags: flag::HAS_RET, ret, err, outcome: outcome::DECIDED, ..payload::tcp(op, at, at) };
        made.tcp(7, "server", TcpRecord { form: form::INET, ..record });
    };
    let fails = |made: &mut Maker| call(made, op::BIND, 80, libc::EADDRINUSE as u16);
    let opens = |made: &mut Maker| (0..9).for_each(|other| made.open(7, "server", &format!("/lib/{other}.py"), 3));
    // Python reads its source for the message.
    let reports = |made: &mut Maker| (fails(made), opens(made));
    causes(1 << 8, |made| _ = reports(made), Some(0));
    causes(1 << 8, |made| (fails(made), call(made, op::LISTEN, 81, 0)).1, None);
    causes(1 << 8, |made| (reports(made), call(made, op::LISTEN, 80, 0)).1, None);
    causes(1 << 8, |made| (reports(made), call(made, op::LISTEN, 81, 0)).1, Some(0));
    let mut made = Maker::default();
    fails(&mut made);
    made.exit(7, "server", 1 << 8);
    let (store, cause) = stored(&mut made);
    let said = store.get(0).expect("a bind").event().map(|event| words(&event.body, cause.expect("a cause"), b""));
    assert_eq!(said.expect("it decodes"), [b"0.0.0.0:80 is in use"; 2]);
    // A header is named as the program includes it.
    for (opened, want) in [
        ("include/lookup/x.h:-2 /usr/include/lookup/x.h:-2", "lookup/x.h not found"),
        (
            "/usr/include/boost/asio/ip/x.hpp:-2 /usr/local/include/boost/asio/ip/x.hpp:-2",
            "boost/asio/ip/x.hpp not found",
        ),
        ("/a/asio/ip/x.hpp:-2 /b/asio/ip/x.hpp:-2 /b/ip/x.hpp:-2", "ip/x.hpp not found"),
        ("/usr/include/c++/12/memory:-2 /usr/include/memory:-2", "<memory> not found"),
        ("/a/x.h:-2 /b/x.h:-2", "x.h not found"),
        ("/a/include/x.h:-2 /b/include/x.h:-2", "x.h not found"),
        ("/a/x.h:-2", "/a/x.h not found"),
    ] {
        let mut made = Maker::default();
        made.open_all(7, "cc1", opened);
        made.exit(7, "cc1", 1 << 8);
        let (store, cause) = stored(&mut made);
        let cause = cause.expect("a cause");
        let event = store.get(cause.id).expect("kept").event().expect("it decodes");
        assert_eq!(words(&event.body, cause, b"/lib/cc1plus\0-quiet\0")[0], want.as_bytes());
    }
}

#[test]
fn a_failed_exec_is_the_cause_of_126_and_127() {
    let walk = |made: &mut Maker, refused: i32| {
        exec(made, b"/a/foo", refused);
        exec(made, b"/b/foo", -2);
        made.open(7, "env", "/usr/share/locale/de/LC_MESSAGES/libc.mo", -2);
    };
    causes(127 << 8, |made| walk(made, -2), Some(1));
    causes(126 << 8, |made| walk(made, -13), Some(0));
    // Another program ran after it.
    causes(
        127 << 8,
        |made| {
            walk(made, -2);
            exec(made, b"/b/bar", 0);
        },
        None,
    );
    // A file of another machine is the cause of 126 only.
    for (code, opens, want) in [(126, 0, Some(0)), (2, 0, None), (126, 4, None)] {
        let mut made = Maker::default();
        let exec = payload::Exec { ret: -8, filename: b"/b/arm", argv: b"./arm\0", ..payload::Exec::default() };
        made.event(Slot::Exec, 7, "sh", &exec.bytes());
        made.open(7, "sh", "/b/arm", 3);
        (0..opens).for_each(|nth| made.open(7, "sh", &format!("/other/{nth}"), 3));
        made.exit(7, "sh", code << 8);
        let (store, cause) = stored(&mut made);
        assert_eq!((cause.map(|failure| failure.id), answered(&store)), (want, vec![0]), "{code} {opens}");
    }
    // A program that a shell sought before it forked is the cause of the child.
    for (code, want) in [(127, Some(1)), (1, None)] {
        let mut made = Maker::default();
        ["/usr/local/bin/flexgen", "/usr/bin/flexgen"]
            .iter()
            .for_each(|path| made.call(Slot::Lookup, 7, "bash", STAT, path, -2));
        made.fork(7, "bash", 8);
        made.like.ppid = Tgid(7);
        made.exit(8, "bash", code << 8);
        assert_eq!(stored(&mut made).1.map(|failure| failure.id), want, "{code}");
    }
}

fn search_of(made: &mut Maker, at: Id) -> Option<Searched> {
    searched(&stored(made).0, at)
}

#[test]
fn a_run_of_failures_with_one_name_is_a_search() {
    let mut made = Maker::default();
    made.open(7, "cc1", "/etc/before", 3);
    for dir in ["/a", "/b", "/c"] {
        made.open(7, "cc1", &format!("{dir}/stdio.h.gch"), -2);
        made.open(7, "cc1", &format!("{dir}/stdio.h"), -2);
        made.open(8, "cc1", "/x/stdio.h", -2);
    }
    made.open_all(7, "cc1", "/usr/include/stdio.h:4 /a/stdio.h:-2");
    let first = ["/a", "/b", "/c", "/usr/include"].map(|dir| SearchDir { dir: dir.into(), start: None });
    let found = Searched {
        name: b"stdio.h".to_vec(),
        places: 4,
        first: first.to_vec(),
        found: Some(b"/usr/include".to_vec()),
        ended: true,
    };
    let (store, _) = stored(&mut made);
    // The first failure, the last one, and the call that found the name.
    for at in [2, 8, 10] {
        assert_eq!(searched(&store, at), Some(found.clone()), "{at}");
    }
    assert_eq!(searched(&store, 0), None);
    assert_eq!(searched(&store, 11), None);
    // A miss knows what its search found later.
    let mut made = Maker::default();
    made.open(7, "cc1", "/a/x.h", -2);
    made.open(8, "cc1", "/z/x.h", 3);
    made.open_all(7, "cc1", "/b/x.h.gch:-2 /b/x.h:4 /a/y.h:-2 /a/z.h:4 /b/y.h:4 /a/denied:-13 /b/denied:4");
    made.open(7, "cc1", "/a/log", -2);
    let record = OpenRecord { ret: 4, flags: O_CREAT, names_marks: mark::RACED, ..OpenRecord::default() };
    made.event(Slot::Open, 7, "cc1", &payload::open(record, b"", b"/b/log"));
    let (store, _) = stored(&mut made);
    assert_eq!(found_later(&store, 0), Some((3, b"/b".to_vec())));
    // Of a header that is prepared for the compiler, and after another call.
    assert_eq!([2, 4].map(|id| found_later(&store, id)), [Some((3, b"/b".to_vec())), Some((6, b"/b".to_vec()))]);
    // It did not fail; it was refused; it may have been made.
    assert_eq!([3, 7, 9].map(|id| found_later(&store, id)), [const { None }; 3]);
    assert_eq!(searched(&store, 10), None);
    // A search that found nothing ends with another call, or the process.
    let mut made = Maker::default();
    made.open_all(7, "a", "/a/x:-2 /b/x:-2");
    let so_far = search_of(&mut made.clone(), 0).expect("two places");
    assert_eq!((so_far.places, so_far.found.clone(), so_far.ended), (2, None, false));
    let mut other = made.clone();
    other.open(7, "a", "/b/y", 3);
    assert!(search_of(&mut other, 0).is_some_and(|search| search.ended && search.found.is_none()));
    made.exit(7, "a", 0);
    assert!(search_of(&mut made, 1).is_some_and(|search| search.ended));
}

/// A process that a shell starts, with the calls and the exit that it makes.
fn child(made: &mut Maker, pid: u32, status: u32, make: impl FnOnce(&mut Maker)) {
    made.fork(100, "sh", pid);
    made.like.ppid = Tgid(100);
    made.exec(pid, "grep", &["grep", "-q", "x"], 0);
    make(made);
    made.exit(pid, "grep", status);
}

#[test]
fn a_no_is_routine_if_its_process_failed_in_nothing_and_its_parent_continued() {
    type Then = fn(&mut Maker);
    let cases: [(u32, Then, bool); 10] = [
        (1 << 8, |made| made.open(100, "sh", "/etc/hosts", 3), true),
        (1 << 8, |made| made.open(100, "sh", "/usr/share/locale/de/LC_MESSAGES/make.mo", 3), false),
        (1 << 8, |made| made.exit(100, "sh", 0), true),
        (1 << 8, |made| made.exit(100, "sh", 2 << 8), false),
        (1 << 8, |made| made.exit(100, "sh", 1 << 8), false),
        (1 << 8, |_| {}, false),
        (
            1 << 8,
            |made| {
                made.ns += 2_000_000_000;
                made.open(9, "cron", "/etc/crontab", 3);
            },
            true,
        ),
        (2 << 8, |made| made.exit(100, "sh", 0), false),
        (11, |made| made.exit(100, "sh", 0), false),
        // The shell passes the exit on, as a compiler driver does. That its own parent continues excuses neither.
        (
            1 << 8,
            |made| {
                made.like.ppid = Tgid(0);
                made.acts("100 sh exit 1; 99 make open /etc/hosts");
            },
            false,
        ),
    ];
    for (number, (status, then, want)) in cases.into_iter().enumerate() {
        let mut made = Maker::default();
        made.acts("99 make fork 100; 100 sh exec sh -c x");
        child(&mut made, 101, status, |_| {});
        then(&mut made);
        let store = stored(&mut made).0;
        let exit = (0..store.next_id()).find(|id| store.get(*id).is_some_and(|stored| stored.kind == Kind::Exit));
        assert_eq!(answered(&store).contains(&exit.expect("an exit")), want, "case {number}");
    }
    // The same command says no four times within a minute, or more slowly.
    for (seconds, want) in [(15, vec![3, 6, 9]), (25, vec![3, 6, 9, 12, 15])] {
        let mut made = Maker::default();
        made.exec(100, "sh", &["sh", "-c", "x"], 0);
        for pid in 101..106 {
            child(&mut made, pid, 1 << 8, |_| {});
            made.ns += seconds * 1_000_000_000;
        }
        made.exit(100, "sh", 0);
        assert_eq!(answered(&stored(&mut made).0), want, "every {seconds} s");
    }
    // Something failed in it.
    let failed = |made: &mut Maker| {
        child(made, 101, 1 << 8, |made| made.open(101, "grep", "/data/x", -13));
        made.exit(100, "sh", 0);
    };
    check(&[], failed);
}

fn opened(made: &mut Maker, path: &[u8], ret: i32, flags: i32) {
    let record = OpenRecord { ret, flags: flags as u64, names_marks: mark::RACED, ..OpenRecord::default() };
    made.event(Slot::Open, 7, "x", &payload::open(record, b"", path));
}

#[test]
fn a_failed_write_is_not_answered_by_a_read() {
    for (flags, answered) in [(libc::O_RDONLY, &[][..]), (libc::O_WRONLY, &[0]), (libc::O_RDWR, &[0])] {
        let make = |made: &mut Maker| {
            opened(made, b"/etc/passwd", -libc::ETXTBSY, libc::O_WRONLY);
            opened(made, b"/etc/passwd", 3, flags);
        };
        check(answered, make);
        causes(1 << 8, make, answered.is_empty().then_some(0));
    }
    // A program that may not be executed can be read.
    let program = |made: &mut Maker, ret| {
        exec(made, b"/a/x", ret);
        made.open(7, "env", "/a/x", 3);
    };
    check(&[], |made| program(made, -libc::EACCES));
    for (next, answered) in [(&b"/a/x"[..], &[][..]), (b"/b/x", &[0])] {
        check(answered, |made| {
            exec(made, b"/a/x", -libc::EACCES);
            exec(made, next, 0);
        });
    }
    // Nor can it be executed elsewhere.
    for (path, dir, answered) in [("./x", "b\0", &[][..]), ("./x", "a\0", &[0]), ("/a/x", "b\0", &[0])] {
        check(answered, |made| {
            for (ret, cwd) in [(-libc::ETXTBSY, "a\0"), (0, dir)] {
                let (filename, cwd) = (path.as_bytes(), cwd.as_bytes());
                let exec = payload::Exec { ret, filename, cwd, argv: b"x\0", ..payload::Exec::default() };
                made.event(Slot::Exec, 7, "env", &exec.bytes());
            }
        });
    }
    check(&[0], |made| program(made, -libc::ENOEXEC));
}

#[test]
fn a_shell_answers_for_its_script_and_for_an_ended_process() {
    for (script, shell, argv, err, answers) in [
        // execvp(3), dash, and perl without it.
        (b"./s".as_slice(), b"/bin/sh".as_slice(), b"/bin/sh\0./s\0a\0".as_slice(), libc::ENOEXEC, true),
        (b"/a/s", b"/bin/bash", b"s\0/a/s\0", libc::ENOEXEC, true),
        (b"./s", b"/bin/sh", b"sh\0-c\0./s a\0", libc::ENOEXEC, true),
        // Another script, another program, and another error.
        (b"./s", b"/bin/sh", b"/bin/sh\0./t\0./s\0", libc::ENOEXEC, false),
        (b"./s", b"/bin/rm", b"rm\0./s\0", libc::ENOEXEC, false),
        (b"./s", b"/bin/sh", b"/bin/sh\0./s\0", libc::EACCES, false),
        (b"./s", b"/bin/sh", b"./s\0", libc::ENOEXEC, false),
    ] {
        let answered = self::answers(|made| {
            exec(made, script, -err);
            let exec = payload::Exec { filename: shell, argv, ..payload::Exec::default() };
            made.event(Slot::Exec, 7, "env", &exec.bytes());
        });
        assert_eq!(!answered.is_empty(), answers, "{} {err}", argv.escape_ascii());
    }
    // bash reads the script itself.
    check(&[0], |made| {
        let failed = payload::Exec { ret: -libc::ENOEXEC, filename: b"./s", cwd: b"w\0", ..payload::Exec::default() };
        made.event(Slot::Exec, 7, "bash", &failed.bytes());
        let record = OpenRecord { ret: 3, dirfd: libc::AT_FDCWD, ..OpenRecord::default() };
        made.event(Slot::Open, 7, "bash", &payload::open(record, b"s\0w", b"./s"));
    });
    // For an ended process, of a relative.
    let exec = |made: &mut Maker, pid: u32, filename: &[u8], argv: &[u8], ret: i32| {
        let exec = payload::Exec { ret, filename, argv, cwd: b"w\0", ..payload::Exec::default() };
        made.event(Slot::Exec, pid, "make", &exec.bytes());
    };
    for (shell, script, ns, answered) in [
        // make; a parent that becomes the shell; a process of another parent; another script; much later.
        (9, b"/bin/sh\0./s\0".as_slice(), 0, &[3, 4][..]),
        (100, b"/bin/sh\0./s\0", 0, &[3, 4]),
        (11, b"/bin/sh\0./s\0", 0, &[]),
        (9, b"/bin/sh\0./t\0", 0, &[]),
        (9, b"/bin/sh\0./s\0", 6_000_000_000, &[]),
    ] {
        check(answered, |made| {
            [8, 9].into_iter().for_each(|child| made.fork(100, "make", child));
            made.fork(101, "make", 11);
            exec(made, 8, b"./s", b"./s\0", -libc::ENOEXEC);
            made.exit(8, "make", 127 << 8);
            made.ns += ns;
            exec(made, shell, b"/bin/sh", script, 0);
        });
    }
}

/// An open, with the file that it reached unless it failed.
#[derive(Clone, Copy)]
struct Call {
    path: &'static str,
    flags: i32,
    dirfd: i32,
    mnt_ns: u32,
    reached: &'static str,
}

const SHADOW: Call = Call { path: "/etc/shadow", flags: 0, dirfd: libc::AT_FDCWD, mnt_ns: 1, reached: "/etc/shadow" };

#[test]
fn only_a_like_success_answers_a_failure() {
    let call = |made: &mut Maker, call: Call, ret: i32| {
        made.like.mnt_ns = NsInum(call.mnt_ns);
        let record = OpenRecord { ret, flags: call.flags as u64, dirfd: call.dirfd, ..OpenRecord::default() };
        let names: Vec<u8> = call.reached.split('/').rev().flat_map(|name| name.bytes().chain([0])).collect();
        let names = if ret < 0 { b"" } else { names.strip_suffix(b"\0").unwrap_or_default() };
        made.event(Slot::Open, 7, "x", &payload::open(record, names, call.path.as_bytes()));
    };
    let case_of = |ret: i32, refused: Call, others: usize, next: Call| {
        let mut made = Maker::default();
        let exec = payload::Exec { filename: b"/bin/x", argv: b"x\0", cwd: b"w\0", ..payload::Exec::default() };
        made.event(Slot::Exec, 7, "x", &exec.bytes());
        call(&mut made, refused, ret);
        (0..others).for_each(|_| call(&mut made, Call { path: "/d", reached: "/d", ..SHADOW }, 3));
        call(&mut made, next, 3);
        !answered(&stored(&mut made).0).is_empty()
    };
    let case = |refused, others, next| case_of(-libc::EMFILE, refused, others, next);
    // After a chroot, a mount or a dup2, the same path names another file.
    for ret in [-libc::EACCES, -libc::EPERM, -libc::EROFS] {
        for others in 0..2 {
            assert!(!case_of(ret, SHADOW, others, SHADOW), "{ret}");
            let below = |reached| Call { path: "shadow", dirfd: 5, reached, ..SHADOW };
            assert!(!case_of(ret, below(""), others, below("/a/shadow")), "{ret}");
        }
    }
    let (read, write, both) = (libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR);
    for (refused, next, answers) in [
        (read, read, true),
        (read, libc::O_PATH, false),
        (libc::O_PATH, libc::O_PATH, true),
        (libc::O_PATH, read, true),
        (write, read, false),
        (read, write, false),
        (both, write, false),
        (write, both, true),
        (libc::O_TRUNC, read, false),
        (write | libc::O_CREAT | libc::O_EXCL, write, false),
        (read | libc::O_NOATIME, read, true),
    ] {
        let with = |flags| Call { flags, ..SHADOW };
        assert_eq!(case(with(refused), 1, with(next)), answers, "{refused:o} {next:o}");
    }
    assert!(!case(SHADOW, 0, Call { mnt_ns: 2, ..SHADOW }));
    // The program started in /w.
    let at = |reached| Call { path: "shadow", reached, ..SHADOW };
    assert!(case(at(""), 1, at("/w/shadow")));
    let dotted = |path, reached| Call { path, ..at(reached) };
    assert!(case(dotted("./shadow", ""), 1, dotted("./shadow", "/w/shadow")));
    assert!(case(dotted(".//a/./shadow", ""), 1, dotted(".//a/./shadow", "/w/a/shadow")));
    assert!(!case(dotted("./shadow", ""), 0, dotted("./shadow", "/tmp/shadow")));
    assert!(!case(dotted("../shadow", ""), 0, dotted("../shadow", "/shadow")));
    assert!(!case(at(""), 0, at("/tmp/shadow")));
    assert!(!case(at(""), 0, at("/tmp/target-of-a-link")));
    // The descriptor may have been closed and reused for another directory.
    let below = |reached| Call { dirfd: 5, ..at(reached) };
    assert!(!case(below(""), 0, below("/a/shadow")) && !case(below(""), 1, below("/a/shadow")));
    assert!(!case(below(""), 0, Call { dirfd: 6, ..at("/a/shadow") }));
    let stdin = Call { path: "/proc/self/fd/3", ..SHADOW };
    assert!(!case(stdin, 1, stdin));
}

#[test]
fn an_exit_names_an_optional_file_that_alone_failed() {
    let cause = |cwd: &[u8], path: &str, others: u32| {
        let mut made = Maker::default();
        let exec = payload::Exec { filename: b"/bin/app", argv: b"app\0", cwd, ..payload::Exec::default() };
        made.event(Slot::Exec, 7, "app", &exec.bytes());
        made.open(7, "app", path, -2);
        (0..others).for_each(|other| made.open(7, "app", &format!("/other/{other}"), 3));
        made.exit(7, "app", 1 << 8);
        let (store, cause) = stored(&mut made);
        assert_eq!(answered(&store), [1]);
        cause.map(|failure| failure.id)
    };
    for path in ["/dev/kvm", ".env", "/srv/app/.env", ".git/HEAD"] {
        assert_eq!((cause(b"app\0srv\0", path, 2), cause(b"app\0srv\0", path, 3)), (Some(1), None), "{path}");
    }
    let paths = "/dev/tty /usr/bin/pyvenv.cfg /usr/bin/python3._pth /home/ana/.pgpass .sqliterc /etc/ld.so.preload /etc/gcrypt/hwf.deny \
                 /usr/share/locale/de/x.mo";
    for path in paths.split(' ') {
        assert_eq!(cause(b"app\0srv\0", path, 0), None, "{path}");
    }
    // What a process only asked for is no cause if a child failed.
    for (status, want) in [(2 << 8, None), (0, Some(0))] {
        let mut made = Maker::default();
        made.call(Slot::Lookup, 100, "make", STAT, "list.o", -2);
        made.fork(100, "make", 101);
        made.like.ppid = Tgid(100);
        made.exec(101, "cc", &["cc", "list.c"], 0);
        made.ns += 3_000_000_000;
        made.exit(101, "cc", status);
        made.fork(100, "make", 102);
        made.like.ppid = Tgid(1);
        made.exit(100, "make", 2 << 8);
        assert_eq!(stored(&mut made).1.map(|failure| failure.id), want, "{status}");
    }
    // A script of a user that exits with 1 has failed.
    let cases = [("bash", "deploy.sh"), ("/bin/sh", "/srv/check"), ("/bin/sh", "/usr/bin/which"), ("grep", "a.sh")];
    for ((program, script), want) in cases.into_iter().zip([false, false, true, true]) {
        let mut made = Maker::default();
        made.fork(99, "make", 100);
        made.exec(100, "x", &[program, script, "b"], 0);
        made.acts("100 x exit 1; 99 make open /etc/hosts");
        let store = stored(&mut made).0;
        assert_eq!(!answered(&store).is_empty(), want, "{program} {script}");
    }
    // What programs do at their start is no cause.
    let lookup = |path: &'static str| move |made: &mut Maker| made.call(Slot::Lookup, 7, "x", STAT, path, -2);
    causes(1 << 8, lookup("/usr/local/lib/site_perl/5.36.0"), None);
    causes(1 << 8, lookup("/usr/bin/flexgen"), Some(0));
    causes(1 << 8, lookup("/etc/app.conf"), Some(0));
    let rename = |first: i32| {
        move |made: &mut Maker| {
            let rename =
                |made: &mut Maker, ret| made.call(Slot::File, 7, "cmake", RENAME, "/b/CMakeCache.txt.tmp", ret);
            rename(made, first);
            rename(made, -2);
        }
    };
    causes(1 << 8, rename(0), None);
    causes(1 << 8, rename(-2), Some(1));
}

#[test]
fn a_walk_of_path_that_ended_early_found_the_program() {
    let sought = "/root/.cargo/bin/NAME /opt/shims/NAME /usr/local/bin/NAME";
    for (name, more, code, want) in [
        ("gcc", "", 1, None),
        ("gcc", "", 127, Some(2)),
        ("gcc", " /usr/bin/NAME", 1, Some(3)),
        // bash looks for itself when it starts.
        ("bash", " /usr/bin/NAME", 3, None),
        ("bash", "", 127, None),
    ] {
        let mut made = Maker::default();
        made.exec(7, "bash", &["bash", "-c", "exit 3"], 0);
        for path in [sought, more].concat().replace("NAME", name).split(' ') {
            made.call(Slot::Lookup, 7, "bash", STAT, path, -2);
        }
        made.exit(7, "bash", code << 8);
        assert_eq!(stored(&mut made).1.map(|failure| failure.id - 1), want, "{name} {more} {code}");
    }
    // A program that a search of PATH did not find comes before a single lookup.
    for (calls, want) in [
        (&[("/bin/flexgen", -2), ("/usr/bin/flexgen", -2), ("version.h", -2)][..], 1),
        (&[("./gen.sh", -13), ("mul.o", -2)], 0),
        (&[("mul.o", -2), ("lex.o", -2)], 1),
    ] {
        let mut made = Maker::default();
        calls.iter().for_each(|(path, ret)| made.call(Slot::Lookup, 100, "make", STAT, path, *ret));
        made.exit(100, "make", 2 << 8);
        assert_eq!(stored(&mut made).1.map(|failure| failure.id), Some(want), "{calls:?}");
    }
    // A failure is a cause though sources are read afterwards.
    let fails: [fn(&mut Maker); 2] = [
        |made| made.call(Slot::Unix, 7, "python3", 0, "/run/postgresql/.s.PGSQL.5432", -2),
        |made| made.open(7, "python3", "/etc/app/config.json", -2),
    ];
    for fails in fails {
        for (end, want) in [("py", Some(0)), ("dat", None)] {
            let read = |made: &mut Maker| (0..5).for_each(|nth| made.open(7, "x", &format!("/app/{nth}.{end}"), 3));
            causes(1 << 8, |made| (fails(made), read(made)).1, want);
        }
    }
}

#[test]
fn who_removed_a_file_is_found_for_each_place_of_its_search() {
    for gone in ["/a/x.h", "/b/x.h", "/c/x.h", "/b"] {
        let mut made = Maker::default();
        made.call(Slot::File, 6, "rm", UNLINK, gone, 0);
        made.open_all(7, "cc1", "/a/x.h:-2 /b/x.h:-2 /c/x.h:-2");
        let (store, _) = stored(&mut made);
        let by = removed(&store, 3, searched(&store, 3).as_ref());
        assert!(by.is_some_and(|by| by.starts_with(b"unlink by rm[6] ")), "{gone}");
    }
}
