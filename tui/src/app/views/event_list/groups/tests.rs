use crate::app::testing::{self, app, feed, keys, press};
use crate::app::{App, Failures, Input, Tick};
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;
use tracetui_events::store::Id;
use tracetui_events::synthetic::{Maker, payload};
use tracetui_shared::calls::file::{RMDIR, UNLINK};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::{Gid, NsInum, Tgid};
use tracetui_shared::kind::{Kind, Slot};
use tracetui_shared::record::bpf::{BpfRecord, call, cmd};
use tracetui_shared::record::exec::ExecRecord;
use tracetui_shared::record::identity::Identity;
use tracetui_shared::record::mark;
use tracetui_shared::record::open::{CREATED, OpenRecord};
use tracetui_shared::record::tcp::op;
use zerocopy::{FromZeros as _, IntoBytes as _};

fn calm(made: &mut Maker) -> App {
    let mut app = app(100, 24, 64 << 20);
    app.set_calm(true);
    feed(&mut app, made);
    app
}

/// The rows, each with the number of its events and the number of quiet opens that it counts.
fn rows(app: &App) -> Vec<(Id, u64, u64)> {
    let row = |id: Id| {
        let stored = app.store().get(id).expect("kept");
        let quiet = stored.process.and_then(|process| app.events().quiet(id, process.key));
        let group = app.events().group(id).map_or(1, |group| group.events);
        (id, group, quiet.map_or(0, |quiet| quiet.opens))
    };
    (0..app.events().rows()).filter_map(|at| app.events().row(at)).map(row).collect()
}

/// Feeds the events at once, one by one, and filters them again: the rows are the same.
#[track_caller]
fn check(make: impl Fn(&mut Maker), want: &[(Id, u64, u64)]) {
    let mut made = Maker::default();
    make(&mut made);
    let mut app = calm(&mut made);
    assert_eq!(rows(&app), want);
    app.refilter();
    assert_eq!(rows(keys(&mut app, "")), want, "filtered again");
}

#[test]
fn quiet_and_answered_opens_have_no_row() {
    let make = |made: &mut Maker| {
        made.acts(
            "7 cat exec cat a, open /etc/ld.so.cache; 8 dog open /etc/x; 7 cat open \
                 /usr/share/locale/C/LC_MESSAGES/x.mo:-2 /a:-13 /b, exit 0",
        );
    };
    check(make, &[(0, 1, 0), (4, 1, 3)]);
    let mut made = Maker::default();
    make(&mut made);
    let mut app = calm(&mut made);
    keys(&mut app, "l");
    assert_eq!(rows(&app).iter().map(|row| row.0).collect::<Vec<_>>(), [0, 1, 3, 4, 5, 6], "all of the process");
    assert_eq!(app.events().selected(), Some(4));
    assert_eq!(rows(keys(&mut app, "h")), [(0, 1, 0), (4, 1, 3)]);
    assert_eq!(keys(&mut app, "O").events().rows(), 7);
    assert_eq!(keys(&mut app, "Op").events().rows(), 6, "a filter for a process lists its opens");
    // A failure goes when it is answered.
    let search = |made: &mut Maker| {
        made.exec(7, "cc1", &["cc1"], 0);
        ["/a", "/b", "/c"].iter().for_each(|dir| made.open(7, "cc1", &format!("{dir}/x.h"), -2));
    };
    check(search, &[(0, 1, 0), (3, 3, 0)]);
    let found = |made: &mut Maker| {
        search(made);
        made.open(7, "cc1", "/d/x.h", 3);
    };
    check(found, &[(0, 1, 4)]);
    let mut made = Maker::default();
    search(&mut made);
    let mut app = calm(&mut made);
    made.open(7, "cc1", "/d/x.h", 3);
    assert_eq!(rows(feed(&mut app, &mut made)), [(0, 1, 4)], "answered later");
    // The failures are first those that nothing answered.
    let mut made = Maker::default();
    made.acts("7 cc1 open /a/x.h:-2 /b/x.h /b/y.h:-2, exit 1; 8 true exit 0");
    let mut app = calm(&mut made);
    let mut listed = |typed: &str| {
        keys(&mut app, typed);
        (rows(&app).iter().map(|row| row.0).collect::<Vec<_>>(), app.screen.failures)
    };
    assert_eq!(listed("e"), (vec![2, 3], Failures::Unanswered));
    assert_eq!(listed("e"), (vec![0, 2, 3], Failures::All));
    assert_eq!(listed("e"), (vec![2, 3], Failures::Off), "calm");
}

#[test]
fn a_run_is_one_row_whatever_is_between() {
    let alternating = |made: &mut Maker| {
        (0..6).for_each(|number| made.open(7, "sh", ["/m", "/f"][number % 2], -13));
    };
    check(alternating, &[(4, 3, 0), (5, 3, 0)]);
    let processes = |made: &mut Maker| {
        for pid in 10..40 {
            made.exit(pid, "uhide", 3 << 8);
            made.exec(50, "ls", &["ls", &pid.to_string()], -13);
        }
    };
    let mut made = Maker::default();
    processes(&mut made);
    assert!(rows(&calm(&mut made)).contains(&(58, 30, 0)));
    // Events may be missing.
    let gap = |made: &mut Maker| {
        made.open(7, "sh", "/m", -13);
        made.lost(5);
        made.open_all(7, "sh", "/m:-13 /m:-13");
    };
    let mut made = Maker::default();
    gap(&mut made);
    let runs: Vec<_> = rows(&calm(&mut made)).iter().map(|row| row.1).collect();
    assert_eq!(runs, [1, 1, 2]);
    // A pause does not split a run.
    let mut made = Maker::default();
    let poll = |made: &mut Maker| (0..5).for_each(|_| made.open(7, "collectd", "/etc/app.key", -13));
    poll(&mut made);
    let mut app = calm(&mut made);
    keys(&mut app, " ");
    poll(&mut made);
    assert_eq!(rows(feed(&mut app, &mut made)), [(4, 5, 0)]);
    keys(&mut app, " ");
    poll(&mut made);
    assert_eq!(rows(feed(&mut app, &mut made)), [(14, 15, 0)]);
}

#[test]
fn many_names_that_do_not_exist_share_a_row() {
    let guess = |made: &mut Maker| {
        (0..100).for_each(|number| made.open(8, "guess", &format!("/srv/{}/{number}", number % 50), -2));
    };
    let mut made = Maker::default();
    guess(&mut made);
    made.open(9, "other", "/srv/x", -2);
    made.like.ppid = Tgid(8);
    made.open(10, "guess", "/srv/x", -2);
    let mut app = calm(&mut made);
    assert_eq!(rows(&app), [(99, 100, 0), (100, 1, 0), (101, 1, 0)]);
    // One of them is answered.
    made.open(8, "guess", "/opt/50", 3);
    assert_eq!(rows(feed(&mut app, &mut made))[0].1, 99);
    let remark = app.events().remarks(99, None).first().cloned();
    assert_eq!(remark.as_deref(), Some("x99, other names"));
    app.events.select(99, 20, &app.store);
    assert_eq!(keys(&mut app, "l").events().rows(), 103, "unfolded, with the open that answered one and with that one");
    // The same names again and again.
    let mut made = Maker::default();
    for _ in 0..5 {
        (0..100).for_each(|number| made.open(8, "guess", &format!("/srv/{number}"), -2));
    }
    let mut app = calm(&mut made);
    for _ in 0..5 {
        (0..100).for_each(|number| made.open(8, "guess", &format!("/srv/{number}"), -2));
        feed(&mut app, &mut made);
    }
    assert_eq!(rows(&app), [(999, 1000, 0)]);
    // Events arrive while the older ones are filtered again, in three slices.
    (0..9_000).for_each(|number| made.open(8, "guess", &format!("/srv/{number}"), -2));
    feed(&mut app, &mut made);
    app.refilter();
    while app.busy() {
        (0..100).for_each(|number| made.open(8, "guess", &format!("/srv/{number}"), -2));
        app.update(Input::Batch(made.batch()));
        app.update(Input::Tick(Tick { now: Duration::from_secs(1), usage: None }));
    }
    assert_eq!(rows(&app).iter().map(|row| row.1).collect::<Vec<_>>(), [app.store().next_id()]);
}

#[test]
fn a_storm_of_programs_or_of_processes_that_fail_alike_shares_rows() {
    let mut made = Maker::default();
    made.exec(7, "cat", &["cat"], 0);
    let program = |made: &mut Maker, pid: u32, command: u16| {
        let record = BpfRecord { call: call::BPF, cmd: command, prog_id: made.ns as u32, ..BpfRecord::new_zeroed() };
        made.event(Slot::Bpf, pid, "loader", record.as_bytes());
    };
    for pid in 0..100 {
        program(&mut made, 100 + pid % 2, cmd::PROG_LOAD);
        program(&mut made, 100 + pid % 2, cmd::LINK_CREATE);
    }
    let mut app = calm(&mut made);
    let storm = [(0, 1, 0), (199, 100, 0), (200, 100, 0)];
    assert_eq!(rows(&app), storm);
    assert_eq!(app.events().remarks(200, None).first().cloned().as_deref(), Some("x100 like this"));
    app.refilter();
    assert_eq!(rows(keys(&mut app, "")), storm, "filtered again");
    // Processes that fail alike.
    let mut made = Maker::default();
    made.exec(7, "sh", &["sh"], 0);
    for pid in 100..140 {
        made.fork(7, "sh", pid);
        made.exec(pid, "cat", &["cat", &pid.to_string()], 0);
        made.acts(&format!("{pid} cat open /srv/{pid}:-2, exit 1"));
    }
    let app = calm(&mut made);
    let all = rows(&app);
    assert_eq!(all.iter().map(|row| row.1).collect::<Vec<_>>(), [1, 40, 40, 40]);
    let remarks = all.iter().skip(1).map(|row| app.events().remarks(row.0, None)[0].clone());
    let alike = ["x40, other arguments", "x40, other names", "x40, other arguments"];
    assert_eq!(remarks.collect::<Vec<_>>(), alike);
}

#[test]
fn a_search_counts_what_has_no_row_and_copies_name_it() {
    let mut made = Maker::default();
    made.exec(7, "cat", &["cat", "/etc/motd"], 0);
    (0..3).for_each(|number| made.open(7, "cat", &format!("/etc/{number}"), 3));
    let mut app = calm(&mut made);
    keys(&mut app, "/etc\n");
    let place = |app: &App| {
        let place = app.search.place(app.events(), app.store()).expect("counted");
        (place.at, place.all, place.unlisted)
    };
    assert_eq!(place(&app), (Some(1), 1, 3));
    made.open_all(7, "cat", "/etc/x /etc/y:-13");
    assert_eq!(place(feed(&mut app, &mut made)).1..=place(&app).2, 2..=4);
    assert_eq!((place(keys(&mut app, "O")).1, place(&app).2), (6, 0));
    assert_eq!(place(keys(&mut app, "O/etc/1\n")), (None, 0, 1));
    assert_eq!(app.screen.message(), Some("no match in the list; O lists all opens"));
    // Copying copies what is beside the row.
    let mut made = searched();
    let mut app = all(&mut made);
    keys(&mut app, "k");
    let copied = |app: &mut App, typed: &str| {
        keys(app, typed);
        testing::copied(press(app, 'y')).unwrap_or_default()
    };
    let line = copied(&mut app, "");
    assert!(line.ends_with("fd 4 r  /d/stdio.h  searched 4"), "{line}");
    // Names where the search found the name if that row is hidden.
    let line = copied(&mut app, "ee");
    assert!(line.ends_with("ENOENT r  /c/stdio.h  searched 3, found in /d"), "{line}");
    let line = copied(&mut app, "eaGk");
    assert!(line.ends_with("fd 4 r  /d/stdio.h"), "{line}");
}

#[test]
fn files_and_execs_of_a_storm_are_runs() {
    let create = |made: &mut Maker, number: u32| {
        let record = OpenRecord { ret: 3, how_marks: CREATED, ..OpenRecord::default() };
        made.event(Slot::Open, 7, "opt", &payload::open(record, b"", format!("/tmp/{number}.o").as_bytes()));
    };
    check(|made| (0..5).for_each(|number| create(made, number)), &[(4, 5, 0)]);
    let mut made = Maker::default();
    let exec = |made: &mut Maker, pid: u32| made.exec(100 + pid, "cc1", &["cc1", &format!("{pid}.c")], 0);
    (0..16).for_each(|pid| exec(&mut made, pid));
    made.exec(50, "as", &["as"], 0);
    let mut app = calm(&mut made);
    assert_eq!(rows(&app).iter().map(|row| row.1).collect::<Vec<_>>(), [1; 17]);
    (16..30).for_each(|pid| exec(&mut made, pid));
    assert_eq!(rows(feed(&mut app, &mut made)), [(16, 1, 0), (30, 30, 0)]);
    let remark = app.events().remarks(30, None).first().cloned();
    assert_eq!(remark.as_deref(), Some("x30, other arguments"));
    // Changed files of a directory share a row.
    let make = |made: &mut Maker| {
        (0..5).for_each(|number| change(made, "rm", UNLINK, &format!("/tmp/x/{number}"), 0));
        change(made, "rm", UNLINK, "/tmp/y", 0);
        change(made, "rm", UNLINK, "/tmp/x/none", -13);
        change(made, "rm", UNLINK, "/tmp/x/5", 0);
    };
    check(make, &[(5, 1, 0), (6, 1, 0), (7, 6, 0)]);
    let mut made = Maker::default();
    make(&mut made);
    let mut app = calm(&mut made);
    assert_eq!(app.events().remarks(7, None), ["6 files", "x6"]);
    change(&mut made, "rm", RMDIR, "/tmp/x/z", 0);
    feed(&mut app, &mut made);
    assert_eq!(app.events().remarks(8, None)[0], "7 changes");
    // A tree has many directories.
    let mut made = Maker::default();
    for number in 0..100 {
        change(&mut made, "rm", UNLINK, &format!("/t/{number}/a"), 0);
        change(&mut made, "rm", UNLINK, &format!("/t/{number}/b"), 0);
    }
    let mut app = calm(&mut made);
    assert_eq!(rows(&app), [(199, 200, 0)]);
    assert_eq!(app.events().remarks(199, None)[0], "200 files in several directories");
    app.refilter();
    assert_eq!(rows(keys(&mut app, "")), [(199, 200, 0)]);
}

#[test]
fn another_program_has_a_row_of_its_own() {
    let exec = |made: &mut Maker, pid: u32, path: &[u8], exe: &[u8], file: (u64, i64, u32)| {
        let exec = payload::Exec { filename: path, exe, argv: b"update\0", ..payload::Exec::default() };
        let file = Identity { ino: file.0, changed: file.1, changed_ns: file.2, ..Identity::default() };
        let record = ExecRecord { file, ..ExecRecord::default() };
        made.event(Slot::Exec, pid, "update", &exec.with(record, Default::default(), Default::default()));
    };
    // The other one has another inode, another time of the last change, or another path.
    let (same, exe) = ((7, 1, 5), &b"update\0srv\0"[..]);
    for (other, path) in [((8, 1, 5), exe), ((7, 2, 5), exe), (same, &b"other\0srv\0"[..])] {
        for asked in [&b"./update"[..], b"/proc/self/fd/3"] {
            let mut made = Maker::default();
            for pid in 100..120 {
                match pid == 107 {
                    true => exec(&mut made, pid, asked, path, other),
                    false => exec(&mut made, pid, asked, exe, same),
                }
            }
            let rows = rows(&calm(&mut made));
            assert_eq!(rows.iter().map(|row| row.1).collect::<Vec<_>>(), [1, 19], "{rows:?}");
        }
    }
    // What stat(2) leaves in the time is no change.
    let mut made = Maker::default();
    exec(&mut made, 100, b"./update", exe, same);
    exec(&mut made, 101, b"./update", exe, (7, 1, 5 | 1 << 31));
    assert_eq!(rows(&calm(&mut made)).len(), 1);
    // The file of a script is not known. The event has that of its interpreter.
    for (filename, runs) in [(&b"./update.sh"[..], 20), (b"/srv/update.sh", 20), (b"/usr/bin/ldd", 1)] {
        let mut made = Maker::default();
        for pid in 100..120 {
            let exec = payload::Exec { filename, interp: b"/bin/sh", exe: b"sh\0bin\0", ..payload::Exec::default() };
            made.event(Slot::Exec, pid, "update.sh", &exec.bytes());
        }
        assert_eq!(rows(&calm(&mut made)).len(), runs);
    }
    // Which file the descriptor is is not known.
    let mut made = Maker::default();
    (100..103).for_each(|pid| made.open(pid, "cat", "/proc/self/fd/3", -13));
    assert_eq!(rows(&calm(&mut made)).len(), 3);
}

/// A build of two files, of which one fails.
fn job(made: &mut Maker) {
    let start = |made: &mut Maker, pid: u32, parent: u32, argv: &[&str]| {
        made.like.ppid = Tgid(parent);
        made.exec(pid, argv[0], argv, 0);
    };
    start(made, 100, 1, &["make", "-j2"]);
    start(made, 101, 100, &["gcc", "a.c"]);
    start(made, 102, 101, &["cc1", "a.c"]);
    made.acts("102 cc1 open a.c, exit 0");
    start(made, 103, 100, &["gcc", "b.c"]);
    made.acts("103 gcc open /b.h:-13, exit 1");
}

#[test]
fn a_job_is_one_row_and_its_failures_are_rows_below_it() {
    let make = |made: &mut Maker| {
        job(made);
        made.like.ppid = Tgid(1);
        made.exit(100, "make", 0);
    };
    check(make, &[(0, 1, 0), (6, 1, 0), (7, 1, 0), (8, 1, 0)]);
    let mut made = Maker::default();
    make(&mut made);
    let mut app = calm(&mut made);
    let listed = |app: &App| rows(app).iter().map(|row| row.0).collect::<Vec<_>>();
    assert_eq!(listed(keys(&mut app, "gl")), [0, 1, 2, 5, 6, 7, 8], "unfolded");
    assert_eq!(app.events().selected(), Some(0));
    // A row below the job folds its own events first.
    assert_eq!(listed(keys(&mut app, "jjl")), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(listed(keys(&mut app, "h")), [0, 1, 2, 5, 6, 7, 8]);
    assert_eq!(listed(keys(&mut app, "h")), [0, 6, 7, 8]);
    assert_eq!(app.events().selected(), Some(0), "the row of the job");
    assert_eq!(listed(keys(&mut app, "fcomm=cc1\n")), [2, 3, 4], "a filter shows what it asks for");
    assert_eq!(listed(keys(&mut app, "\x12fnot comm=make\n")), [1, 2, 5, 6, 7], "without the row of the job");
    assert_eq!(listed(keys(&mut app, "\x12O")).len(), 9, "every event");
    // Commands of an interactive shell are jobs of their own.
    let mut made = Maker::default();
    let start = |made: &mut Maker, pid: u32, parent: u32, argv: &[&str]| {
        made.like.ppid = Tgid(parent);
        made.exec(pid, argv[0], argv, 0);
    };
    start(&mut made, 100, 1, &["sshd"]);
    start(&mut made, 101, 100, &["-bash"]);
    start(&mut made, 102, 101, &["./build.sh"]);
    start(&mut made, 103, 102, &["cc", "a.c"]);
    start(&mut made, 104, 101, &["bash", "-c", "ls"]);
    start(&mut made, 105, 104, &["ls"]);
    let app = calm(&mut made);
    assert_eq!(rows(&app).iter().map(|row| row.0).collect::<Vec<_>>(), [0, 1, 2, 4]);
}

#[test]
fn a_poll_is_one_row_with_its_interval() {
    let mut made = Maker::default();
    for number in 0..312 {
        made.ns += 999_000_000;
        made.open(7, "collectd", "/etc/ssl/app.key", -13);
        if number % 50 == 0 {
            made.exec(100 + number, "date", &["date", &number.to_string()], 0);
        }
    }
    let mut app = calm(&mut made);
    let poll = app.events().selected().expect("the newest row");
    assert_eq!(app.events().remarks(poll, None)[0], "every 1.0 s, x312");
    assert_eq!(rows(&app).len(), 8);
    assert_eq!(rows(keys(&mut app, "l")).len(), 7 + 312);
    assert_eq!(rows(keys(&mut app, "h")).len(), 8);
    // What is selected is not replaced.
    keys(keys(&mut app, "k"), "j");
    made.ns += 999_000_000;
    made.open(7, "collectd", "/etc/ssl/app.key", -13);
    assert_eq!((feed(&mut app, &mut made).events().selected(), rows(&app).len()), (Some(poll), 9));
    assert_eq!(rows(keys(&mut app, "a")).len(), 7 + 313, "nothing is folded");
    // Among many other rows.
    let mut made = Maker::default();
    for second in 0..6 {
        made.open(7, "poll", "/run/key", -13);
        (0..4000).for_each(|number| made.open(8, "guess", &format!("/srv/{second}/{number}"), -13));
        made.ns += 1_000_000_000;
    }
    let app = calm(&mut made);
    let polls = rows(&app).into_iter().filter(|(_, events, _)| *events > 1).collect::<Vec<_>>();
    assert_eq!(polls.iter().map(|poll| poll.1).collect::<Vec<_>>(), [6]);
    // Other names between.
    let mut made = Maker::default();
    for number in 0..50 {
        made.open(8, "poll", "/srv/key", -2);
        if number % 10 == 0 {
            made.open(8, "poll", &format!("/srv/{number}"), -2);
        }
    }
    assert_eq!(rows(&calm(&mut made)).len(), 6);
    // Any steady interval.
    let mut made = Maker::default();
    for number in 0..12 {
        made.ns += 60_000_000_000;
        made.exec(100 + number, "date", &["date"], 0);
        made.open(100 + number, "date", "/etc/app.key", -13);
        made.exit(100 + number, "date", 0);
    }
    let app = calm(&mut made);
    let beside = |(id, ..): &(Id, u64, u64)| app.events().remarks(*id, None)[0].clone();
    let every = "every 1m 00s, x12, several processes";
    assert_eq!(rows(&app).iter().map(beside).collect::<Vec<_>>(), [every, every]);
}

#[test]
fn a_connection_is_one_row_and_a_filter_shows_what_it_asks_for() {
    let call = |made: &mut Maker, op: u8, port: u16| {
        let at = |port| SocketAddr::from(([10, 0, 0, 7], port));
        made.tcp(7, "curl", payload::tcp(op, at(port), at(80)));
    };
    let make = |made: &mut Maker, ports: &[u16], op: u8| ports.iter().for_each(|port| call(made, op, *port));
    let start = |made: &mut Maker| make(made, &[1, 2, 3], op::CONNECT);
    check(start, &[(2, 3, 0)]);
    let end = |made: &mut Maker| {
        start(made);
        make(made, &[2, 3], op::CLOSE);
    };
    check(end, &[(0, 1, 0), (4, 2, 0)]);
    let all = |made: &mut Maker| {
        end(made);
        make(made, &[1], op::CLOSE);
    };
    check(all, &[(5, 3, 0)]);
    let mut made = Maker::default();
    all(&mut made);
    assert_eq!(keys(&mut calm(&mut made), "O").events().events(), 6);
    // A filter shows what it asks for and a search counts what is in groups.
    let mut made = Maker::default();
    (0..8).for_each(|pid| made.open(100 + pid, "cat", "/srv/hello.txt", 3));
    (0..4).for_each(|pid| made.exit(200 + pid, "true", 0));
    made.open(7, "dog", "/b", 3);
    let mut app = calm(&mut made);
    assert_eq!(app.events().rows(), 0);
    for (filter, events) in [("path~hello", 8), ("kind=exit exit=0", 4), ("comm=dog", 1), ("not comm=dog", 0)] {
        keys(&mut app, &format!("f{filter}\n"));
        assert_eq!(rows(&app).iter().map(|row| row.1).sum::<u64>(), events, "{filter}");
        assert_eq!((app.events().events(), app.is_calm()), (events, events == 0), "{filter}");
        keys(&mut app, "\x12");
        app.set_calm(true);
    }
    keys(&mut app, "fpath~hello\nl");
    assert_eq!(app.events().rows(), 8, "unfolded");
    let mut app = self::all(&mut searched());
    keys(&mut app, "/b.stdio\n");
    let place = app.search.place(app.events(), app.store()).expect("counted");
    assert_eq!((place.all, place.unlisted), (0, 1));
    assert_eq!(app.screen.message(), Some("no match in the list; a lists each event"));
}

/// An event of `op` that names a file.
fn change(made: &mut Maker, comm: &str, op: u8, path: &str, ret: i32) {
    made.call(Slot::File, 7, comm, op, path, ret);
}

/// The rows of a list of all events, each with what is beside it.
#[track_caller]
fn check_all(app: &App, want: &[(Id, &str)]) {
    let rows = (0..app.events().rows()).filter_map(|at| app.events().row(at));
    let remarks = rows.map(|id| (id, app.events().remarks(id, None).first().cloned().unwrap_or_default()));
    let remarks: Vec<_> = remarks.collect();
    assert_eq!(remarks.iter().map(|(id, remark)| (*id, remark.as_str())).collect::<Vec<_>>(), want);
}

fn all(made: &mut Maker) -> App {
    let mut app = app(80, 24, 64 << 20);
    feed(&mut app, made);
    app
}

/// A header search, with the calls before and after.
fn searched() -> Maker {
    let mut made = Maker::default();
    made.open(7, "cc1", "/etc/x", 3);
    for dir in ["/a", "/b", "/c"] {
        made.open(7, "cc1", &format!("{dir}/stdio.h"), -2);
    }
    made.open_all(7, "cc1", "/d/stdio.h:4 /a/stdio.h:4");
    made
}

#[test]
fn in_the_list_of_all_events_equal_neighbours_and_searches_share_a_row() {
    let mut made = Maker::default();
    for _ in 0..3 {
        made.open(7, "cat", "/a", 3);
    }
    made.acts("7 cat open /a:4 /a:-2 /a:-2; 8 dog open /a:-2");
    for _ in 0..3 {
        made.acts("8 dog open /b; 9 cow open /c");
    }
    let want = [(2, "x3"), (3, ""), (5, "x2"), (6, "")].into_iter().chain((7..13).map(|id| (id, "")));
    let mut app = all(&mut made);
    check_all(&app, &want.collect::<Vec<_>>());
    assert_eq!((app.events().events(), app.loaded().hidden()), (13, 0), "all events are counted");
    check_all(keys(&mut app, "kp"), &[(6, ""), (11, "x3")]);
    // A search is the line of what was found, or of the last failure.
    let mut made = searched();
    made.exec(9, "sh", &["ld"], -2);
    let app = all(&mut made);
    check_all(&app, &[(0, ""), (4, "searched 4"), (5, ""), (6, "")]);
    let mut made = Maker::default();
    for dir in ["/a", "/b", "/c"] {
        made.open(7, "env", &format!("{dir}/x"), -2);
    }
    let mut app = all(&mut made);
    check_all(&app, &[(2, "searched 3")]);
    // A directory that is twice in PATH.
    made.open_all(7, "env", "/c/x:-2 /d/x:-20 /d/y:-2 /d/y:-2 /e/y /e/y /e/y");
    check_all(feed(&mut app, &mut made), &[(4, "searched 5"), (7, "searched 3"), (9, "x2")]);
    // What refused stays in a row of its own.
    let mut made = Maker::default();
    made.open_all(7, "a", "/a/x:-2 /b/x:-13 /c/x:-2 /d/x");
    // The same directory again is not a search, and neither are other processes or names.
    made.acts("7 a open /e/x:-2 /e/x /f/x:-2; 8 a open /g/x /g/..:-2 /h/..:-2");
    let app = all(&mut made);
    check_all(&app, &[(0, ""), (1, ""), (3, "searched 2"), (4, ""), (5, ""), (6, ""), (7, ""), (8, ""), (9, "")]);
    let mut made = Maker::default();
    for _ in 0..3 {
        made.open_all(7, "cat", "/a /a");
        made.lost(5);
    }
    let mut app = all(&mut made);
    check_all(&app, &[(1, "x2"), (2, ""), (4, "x2"), (5, ""), (7, "x2"), (8, "")]);
    assert_eq!(keys(&mut app, "!n").events().selected(), Some(2));
}

#[test]
fn what_may_be_another_file_is_not_folded() {
    let mut made = Maker::default();
    let open = |made: &mut Maker, flags: i32, path: &str, ret: i32| {
        let flags = flags.cast_unsigned().into();
        let record = OpenRecord { ret, flags, names_marks: mark::RACED, ..OpenRecord::default() };
        made.event(Slot::Open, 7, "sh", &payload::open(record, b"", path.as_bytes()));
    };
    // Refused in an unknown working directory, and opened in one.
    (0..2).for_each(|_| open(&mut made, 0, "shadow", -libc::EACCES));
    (0..2).for_each(|_| open(&mut made, 0, "shadow", 3));
    // Truncated in between.
    for flags in [libc::O_WRONLY, libc::O_WRONLY | libc::O_TRUNC, libc::O_WRONLY] {
        open(&mut made, flags, "/var/log/auth.log", 3);
    }
    // In other mount namespaces, and with another group id.
    for (mnt_ns, gid) in [(1, 0), (2, 0), (2, 5)] {
        made.like = FrameHeader { mnt_ns: NsInum(mnt_ns), gid: Gid(gid), ..made.like };
        open(&mut made, 0, "/etc/hostname", 3);
    }
    // Refused in known directories.
    for dir in [&b"a"[..], b"a", b"b"] {
        let record = OpenRecord { ret: -libc::EACCES, ..OpenRecord::default() };
        made.event(Slot::Open, 7, "sh", &payload::open(record, dir, b"shadow"));
    }
    // A missing file is no file, wherever a process looks for it.
    (0..3).for_each(|_| open(&mut made, 0, "none", -libc::ENOENT));
    let app = all(&mut made);
    check_all(&app, &(0..10).map(|id| (id, "")).chain([(11, "x2"), (12, ""), (15, "x3")]).collect::<Vec<_>>());
}

#[test]
fn rows_are_unfolded_and_folded_and_keep_the_selected_event() {
    let mut made = searched();
    let folded = [(0, ""), (4, "searched 4"), (5, "")];
    let unfolded = [(0, ""), (1, ""), (2, ""), (3, ""), (4, ""), (5, "")];
    let mut app = all(&mut made);
    // The newest row is not folded, so it scrolls.
    check_all(keys(&mut app, "l"), &folded);
    assert_eq!(app.events().sideways, 8);
    check_all(keys(&mut app, "hkl"), &unfolded);
    assert_eq!((app.events().selected(), app.events().sideways), (Some(4), 0));
    assert_eq!(keys(&mut app, "l").events().sideways, 8);
    check_all(keys(&mut app, "hkh"), &[(0, ""), (3, "searched 3"), (4, ""), (5, "")]);
    check_all(keys(&mut app, "ga"), &unfolded);
    assert_eq!(keys(&mut app, "l").events().sideways, 8, "nothing is folded");
    check_all(keys(&mut app, "\x12"), &folded);
    let mut made = searched();
    let mut app = all(&mut made);
    assert_eq!(keys(&mut app, "k").events().selected(), Some(4));
    assert_eq!(keys(&mut app, "k").events().selected(), Some(0));
    keys(&mut app, "G");
    made.open_all(7, "cc1", "/a/stdio.h:4");
    check_all(feed(&mut app, &mut made), &[(0, ""), (4, "searched 4"), (6, "x2")]);
    assert!(app.events().follows);
    keys(&mut app, "kj");
    made.open_all(7, "cc1", "/a/stdio.h:4 /a/stdio.h:4");
    assert_eq!(feed(&mut app, &mut made).events().selected(), Some(6));
    check_all(&app, &[(0, ""), (4, "searched 4"), (6, "x2"), (8, "x2")]);
    check_all(keys(&mut app, "j\x0c"), &[(0, ""), (4, "searched 4"), (6, "x2"), (8, "x2")]);
}

fn make(made: &mut Maker, number: u32) {
    let pid = 7 + number % 3;
    let path = format!("{}/{}", ["/a", "/b"][(number / 3 % 2) as usize], ["x", "y"][(number / 6 % 2) as usize]);
    made.like.ppid = Tgid(1);
    match number / 12 {
        0 => made.lost(3),
        1 => made.exec(pid, "sh", &["ld"], [0, -2][(number % 2) as usize]),
        2 => made.exit(pid, "sh", (number % 2) << 8),
        3 => made.ns += 20_000_000_000,
        4 | 5 => made.open(pid, "sh", &path, 3),
        _ => made.open(pid, "sh", &path, [-2, -13][(number % 2) as usize]),
    }
}

proptest! {
    #[test]
    fn every_event_is_counted_once(numbers in prop::collection::vec(0u32..108, 1..80)) {
        let (mut app, mut made) = (app(80, 12, 64 << 20), Maker::default());
        app.set_calm(true);
        for part in numbers.chunks(5) {
            part.iter().for_each(|number| make(&mut made, *number));
            let listed: u64 = rows(feed(&mut app, &mut made)).iter().map(|row| row.1).sum();
            let quiet = (app.store().first_id()..app.store().next_id()).filter_map(|id| app.store().get(id));
            let quiet = quiet.filter(|stored| {
                stored.kind != Kind::Lost && stored.event().is_ok_and(|event| event.is_quiet(stored.answered))
            });
            prop_assert_eq!(listed + quiet.count() as u64, app.store().next_id());
        }
        let before = rows(&app);
        let counted = |rows: &[(Id, u64, u64)]| {
            (rows.iter().map(|row| row.1).sum::<u64>(), rows.iter().map(|row| row.2).sum::<u64>())
        };
        app.refilter();
        prop_assert_eq!(counted(&rows(keys(&mut app, ""))), counted(&before));
        for typed in ["aa", "O", "aa", "Okaa"] {
            prop_assert!(rows(keys(&mut app, typed)).is_sorted_by(|row, next| row.0 < next.0), "{}", typed);
        }
    }
}
