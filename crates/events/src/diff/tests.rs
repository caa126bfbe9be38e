mod causes;
mod count;
mod environment;
mod slower;

use super::{DiffReport, Gaps, Run, Show, Side, Status, compare};
use crate::frame::host::{HostFrame, Trace};
use crate::limits;
use crate::synthetic::{Maker, each_event, payload};
use crate::text::Charset;
use proptest::prelude::*;
use tracetui_shared::calls::file::{CHOWN, MKDIR, TRUNCATE};
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::{Kind, KindSet, Slot};
use tracetui_shared::record::bpf::{BpfRecord, call, cmd, has};
use tracetui_shared::record::open::OpenRecord;
use tracetui_shared::record::tcp::{TcpRecord, flag, op, outcome};
use zerocopy::{FromZeros as _, IntoBytes as _};

const ENOENT: i32 = -2;
const ALL: Show = Show { rest: true, noise: true, slower: false };

fn between(a: Run, b: Run) -> DiffReport {
    compare(a, Vec::new(), b, &[])
}

const FAILED: u32 = 1 << 8;

/// A run, as reported by the probes.
struct Made {
    maker: Maker,
    root: &'static str,
    command: u32,
    next: u32,
}

impl Made {
    /// A COMMAND in this directory, with ids from `first` on.
    fn new(root: &'static str, first: u32, args: &[&str]) -> Made {
        let maker = Maker { start_ns: 99_999_000_000, ..Maker::default() };
        let mut made = Made { maker, root, command: first, next: first + 1 };
        let trace = Trace { kinds: KindSet::ALL.bits(), command: Tgid(first), ..Trace::default() };
        made.maker.host(&HostFrame::Trace(trace));
        made.exec(first, args);
        made
    }

    fn fork(&mut self, parent: u32) -> u32 {
        let child = self.next;
        self.next += 1;
        self.maker.fork(parent, "x", child);
        self.maker.like.ppid = Tgid(parent);
        child
    }

    fn exec(&mut self, pid: u32, args: &[&str]) {
        let exe = if args[0].starts_with('/') { args[0].to_owned() } else { format!("/usr/bin/{}", args[0]) };
        self.exec_of(pid, &exe, args, |_| ());
    }

    /// An exec of this file, with a change of the payload.
    fn exec_of(&mut self, pid: u32, exe: &str, args: &[&str], change: impl FnOnce(&mut Vec<u8>)) {
        let argv: Vec<u8> = args.iter().flat_map(|arg| arg.bytes().chain([0])).collect();
        let (filename, exe, cwd) = (args[0].as_bytes(), names(exe), names(self.root));
        let exec = payload::Exec { filename, exe: &exe, cwd: &cwd, argv: &argv, ..payload::Exec::default() };
        let mut payload = exec.bytes();
        change(&mut payload);
        self.maker.event(Slot::Exec, pid, "x", &payload);
    }

    fn start(&mut self, parent: u32, args: &[&str]) -> u32 {
        let child = self.fork(parent);
        self.exec(child, args);
        child
    }

    fn open(&mut self, pid: u32, path: &str, ret: i32) {
        self.open_with(pid, path, ret, 0);
    }

    fn open_with(&mut self, pid: u32, path: &str, ret: i32, flags: u64) {
        let whole = if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.root) };
        let names = if ret < 0 { Vec::new() } else { names(&whole) };
        let record = OpenRecord { ret, flags, dirfd: -100, ..OpenRecord::default() };
        self.maker.event(Slot::Open, pid, "x", &payload::open(record, &names, path.as_bytes()));
    }

    fn exit(&mut self, pid: u32, status: u32) {
        self.maker.exit(pid, "x", status);
    }

    fn fails_to_exec(&mut self, pid: u32, path: &str) {
        let exec = payload::Exec { ret: ENOENT, filename: path.as_bytes(), argv: b"x\0", ..payload::Exec::default() };
        self.maker.event(Slot::Exec, pid, "x", &exec.bytes());
    }

    fn attach(&mut self, pid: u32, function: &str) {
        let mut record = BpfRecord {
            cmd: cmd::LINK_CREATE,
            call: call::BPF,
            has: has::PROG | has::LINK,
            prog_type: 26,
            link_type: 2,
            expected_attach_type: 24,
            prog_id: self.next,
            ..BpfRecord::new_zeroed()
        };
        record.name[..4].copy_from_slice(b"spy\0");
        record.target[..function.len()].copy_from_slice(function.as_bytes());
        self.maker.event(Slot::Bpf, pid, "x", record.as_bytes());
    }

    fn connect(&mut self, pid: u32, peer: &str, err: u16) {
        let record = payload::tcp(op::CONNECT, socket("10.0.0.5:51514"), socket(peer));
        self.maker.tcp(pid, "x", TcpRecord { err, outcome: outcome::DECIDED, ..record });
    }

    fn accept(&mut self, pid: u32, local: &str) {
        let record = payload::tcp(op::ACCEPT, socket(local), socket("10.0.0.5:51514"));
        self.maker.tcp(pid, "x", TcpRecord { flags: flag::SERVER, ..record });
    }

    fn run_in(self, memory: usize) -> Run {
        self.run_with(memory, &Kind::ALL)
    }

    fn run_with(mut self, memory: usize, kinds: &[Kind]) -> Run {
        self.maker.counters(true);
        let mut run = Run::new(memory);
        each_event(self.maker.batch(), |seen, _| {
            if kinds.contains(&seen.event.kind()) {
                run.add_event(seen);
            }
        });
        run.close();
        run
    }

    fn run(self) -> Run {
        self.run_in(usize::MAX)
    }
}

fn socket(text: &str) -> std::net::SocketAddr {
    text.parse().expect("a socket address")
}

/// Components, leaf first.
fn names(path: &str) -> Vec<u8> {
    path.split('/').skip(1).collect::<Vec<_>>().iter().rev().flat_map(|part| part.bytes().chain([0])).collect()
}

/// The variable parts of a build.
#[derive(Clone, Copy, Default)]
struct Change {
    flag: Option<&'static str>,
    header: Option<i32>,
    backwards: bool,
}

/// A build by make: three compilers with their assemblers, in any order.
fn build(root: &'static str, first: u32, jobs: &str, change: Change) -> Made {
    let mut made = Made::new(root, first, &["make", jobs]);
    let make = made.command;
    made.open(make, "Makefile", 3);
    let mut units = ["a", "b", "c"];
    if change.backwards {
        units.reverse();
    }
    let mut all = 0;
    for unit in units {
        let source = format!("{unit}.c");
        let shell = made.start(make, &["sh", "-c", &format!("cc {} -c {source}", change.flag.unwrap_or("-O2"))]);
        let include = format!("-I{root}/inc");
        let cc = made.start(shell, &["cc", change.flag.unwrap_or("-O2"), &include, "-c", &source]);
        let object = format!("/tmp/{}{unit}.s", if first == 4700 { "ccXq81P" } else { "cczG3w9" });
        let cc1 = made.start(cc, &["cc1", change.flag.unwrap_or("-O2"), &include, &source, "-o", &object]);
        made.open(cc1, &source, 3);
        made.open(cc1, &format!("{root}/inc/x.h"), ENOENT);
        let found = if unit == "b" { change.header.unwrap_or(3) } else { 3 };
        made.open(cc1, "/usr/include/x.h", found);
        let failed = if found < 0 { FAILED } else { 0 };
        if found >= 0 {
            made.open(cc1, "/usr/include/y.h", 3);
            made.open_with(cc1, &object, 4, 0o1102);
        }
        made.exit(cc1, failed);
        if found >= 0 {
            let assembler = made.start(cc, &["as", "-o", &format!("{unit}.o"), &object]);
            made.open(assembler, &object, 3);
            made.open_with(assembler, &format!("{unit}.o"), 3, 0o1101);
            made.exit(assembler, 0);
        }
        made.exit(cc, failed);
        made.exit(shell, failed);
        all |= failed;
    }
    if all == 0 {
        let linker = made.start(make, &["ld", "-o", "prog", "a.o", "b.o", "c.o"]);
        made.exit(linker, 0);
    }
    made.exit(make, if all == 0 { 0 } else { 2 << 8 });
    made
}

fn text(report: &DiffReport) -> String {
    report.text(Show::default(), Charset::Utf8)
}

#[track_caller]
fn check(a: Made, b: Made, lines: &[&str]) {
    let report = between(a.run(), b.run());
    let expected: String = lines.iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(text(&report), expected);
    assert_eq!(report.equal(), lines.is_empty());
}

fn plain() -> Change {
    Change::default()
}

#[test]
fn the_same_build_is_equal_and_changes_without_names_are_compared() {
    let other = Change { backwards: true, ..plain() };
    check(build("/home/me/a", 4700, "-j1", plain()), build("/srv/b/c", 90_000, "-j8", other), &[]);
    check(build("/tmp", 4700, "-j1", plain()), build("/tmp", 90_000, "-j8", other), &[]);
    check(build("/home/me/a", 4700, "-j1", plain()), build("/home/me/a", 4700, "-j1", plain()), &[]);
    // A change is compared by the files that it leaves.
    let run = |changed: bool| {
        let mut made = Made::new("/a", 100, &["sh", "x"]);
        for op in [CHOWN, TRUNCATE, MKDIR].into_iter().filter(|_| changed) {
            made.maker.call(Slot::File, 100, "sh", op, &format!("/etc/{op}"), 0);
        }
        made
    };
    check(run(false), run(true), &[&format!("file     /etc/{MKDIR}: created as a directory only in B")]);
    // More names with the id of their process than one is compared with.
    let many = |pid: u32| {
        let mut made = Made::new("/a", pid, &["make"]);
        for _ in 0..limits::DIFF_SIBLINGS + 40 {
            let cc = made.start(pid, &["cc"]);
            made.open(cc, &format!("tmp.{cc}"), 3);
        }
        made
    };
    check(many(1000), many(5000), &[]);
    // What the incomplete run made may have been removed later.
    let mut cut = run(true).run();
    cut.gaps.incomplete = true;
    let line = "unknown  1 difference of kind file, seen only in B: B is incomplete\n";
    assert_eq!(text(&between(run(false).run(), cut)), line);
}

#[test]
fn a_changed_flag_a_missing_header_or_program_comes_before_what_follows_from_it() {
    let changed = Change { flag: Some("-O3"), ..plain() };
    let line = "argv     sh -c cc -O2 -c a.c and 2 others: -O2 -> -O3";
    let follow = "follow   6 more differences may follow from these: 6 argv";
    check(build("/a", 4700, "-j1", plain()), build("/b", 90_000, "-j8", changed), &[line, follow]);
    let changed = Change { header: Some(ENOENT), ..plain() };
    let lines = [
        "missing  x.h by cc1 b.c: /usr/include/x.h in A, in none of 2 directories in B",
        "exit     cc1 b.c: 0 in A, 1 in B; then also cc, sh, make",
        "follow   4 more differences may follow from these: 2 exec, 2 opened",
    ];
    check(build("/a", 4700, "-j1", plain()), build("/b", 90_000, "-j8", changed), &lines);
    // A program that is not found is named.
    let run = |found: bool| {
        let mut made = Made::new("/a", 100, &["make"]);
        let child = made.fork(100);
        if found {
            made.exec(child, &["frob", "x"]);
        } else {
            made.fails_to_exec(child, "/usr/local/bin/frob");
            made.fails_to_exec(child, "/usr/bin/frob");
        }
        made.exit(child, if found { 0 } else { 127 << 8 });
        made.exit(100, if found { 0 } else { 2 << 8 });
        made
    };
    let lines = [
        "missing  program frob by make: found in A, ENOENT in B",
        "exit     make: 0 in A, 2 in B",
        "follow   2 more differences may follow from these: 2 exec",
    ];
    check(run(true), run(false), &lines);
    check(run(false), run(false), &[]);
}

/// A compiler with a temporary directory of this name, a session of another, and a linker that gets a file of the directory.
fn compile(directory: &str, session: &str, journal: bool, made: &str) -> Made {
    const NEW: u64 = 0o102;
    const DIRECTORY: u64 = 0o200000;
    let mut run = Made::new("/w", 100, &["rustc", "x.rs"]);
    run.open(100, "x.rs", 3);
    run.open_with(100, &format!("target/{session}.lock"), 3, NEW);
    run.open_with(100, &format!("target/{session}-working/dep.bin"), 3, NEW);
    run.open_with(100, &format!("target/{directory}/symbols.o"), 3, NEW);
    run.open_with(100, &format!("target/{directory}/raw"), 3, DIRECTORY);
    run.open_with(100, &format!("target/{made}"), 3, NEW);
    run.open_with(100, "/c/cache.db", 3, NEW);
    if journal {
        run.open_with(100, "/c/cache.db-journal", 3, NEW);
        run.open(100, "/c", 3);
    }
    let linker = run.start(100, &["cc", &format!("/w/target/{directory}/symbols.o")]);
    run.open(linker, &format!("target/{directory}/symbols.o"), 3);
    run.exit(linker, 0);
    run.exit(100, 0);
    run
}

#[test]
fn names_that_differ_by_chance_correspond() {
    let above = |root: &'static str, looks: &[&str]| {
        let mut made = Made::new(root, 100, &["cargo", "build"]);
        looks.iter().for_each(|path| made.open(100, path, ENOENT));
        made
    };
    // What is looked for above the run may be anywhere.
    let a = || above("/srv/a/x", &["/srv/a/toolchain", "/srv/toolchain", "/home/me/.cargo/config"]);
    check(a(), above("/home/me/x", &["/home/me/toolchain", "/home/toolchain", "/home/me/.cargo/config"]), &[]);
    let line = "tried    /srv/a/toolchain, /srv/toolchain by cargo build: ENOENT in A, not tried in B";
    check(a(), above("/home/me/x", &["/home/me/.cargo/config"]), &[line]);
    // Ids of processes and random names.
    let configured = |first: u32, random: &str| {
        let mut made = Made::new("/a", first, &["sh", "configure"]);
        for _ in 0..3 {
            let name = format!("conf{}.sed", made.next);
            let sed = made.start(first, &["sed", "-f", &name, &format!("/tmp/w.{random}")]);
            made.open(sed, &name, 3);
            made.open(sed, &format!("/proc/{sed}/stat"), 3);
            made.open_with(sed, &format!("sed{random}"), 3, 0o302);
            made.exit(sed, 0);
        }
        made
    };
    check(configured(4700, "aB3dEf"), configured(90_000, "Zz9yXw"), &[]);
    // Names that a run made.
    let a = || compile("rustcMARM3e", "s-hoirputn23-0ssrlde", true, "out.o");
    check(a(), compile("rustcgbhlvp", "s-hoirpqrstu-abcdefg", false, "out.o"), &[]);
    // Of the same form as one that alternates, and of no form.
    check(a(), compile("rustcogocov", "s-hoirpx7oac-1wk1cei", false, "out.o"), &[]);
    let stamp = |name| compile("rustcMARM3e", "s-hoirputn23-0ssrlde", false, name);
    check(stamp("install.tmp052d1"), stamp("install.tmp182a1"), &[]);
    let uuids = ["15680004-972c-4337-bb1f-7c59ed6810b3", "7377a05c-1971-433f-a956-f037ea46e766"];
    check(stamp(uuids[0]), stamp(uuids[1]), &[]);
    for (one, other) in [("module12.o", "parser07.o"), ("v1", "v2"), ("parser.o", "module.o"), ("x86_64v2", "x86_64v3")]
    {
        let lines = [one, other].map(|name| format!("opened   ./target/{name} by rustc x.rs: opened only in "));
        let lines = [format!("{}A", lines[0]), format!("{}B", lines[1])];
        check(stamp(one), stamp(other), &lines.each_ref().map(String::as_str));
    }
}

#[test]
fn counts_files_and_attachments_are_compared() {
    let run = |times: usize, file: &str, attach: bool| {
        let mut made = Made::new("/a", 100, &["sh", "x"]);
        made.open(100, file, 3);
        for _ in 0..times {
            let child = made.start(100, &["date"]);
            made.exit(child, 0);
        }
        if attach {
            made.attach(100, "do_unlinkat");
        }
        made
    };
    check(run(2, "/etc/x", false), run(3, "/etc/x", false), &["exec     date: executed 2 times in A, 3 times in B"]);
    let lines = ["opened   /etc/x by sh x: opened only in A", "opened   /etc/y by sh x: opened only in B"];
    check(run(1, "/etc/x", false), run(1, "/etc/y", false), &lines);
    let line = "bpf      attach fentry do_unlinkat spy by sh x: never in A, once in B";
    check(run(1, "/etc/x", false), run(1, "/etc/x", true), &[line]);
    // Only the first of a missing tree is a line.
    let run = |step: bool| {
        let mut made = Made::new("/a", 100, &["make"]);
        if step {
            let shell = made.start(100, &["sh", "-c", "strip x; true"]);
            let strip = made.start(shell, &["strip", "x"]);
            made.open(strip, "x", 3);
        }
        made
    };
    for (a, b, side) in [(true, false, "A"), (false, true, "B")] {
        let only = format!("executed only in {side} (2 execs with their descendants)");
        check(run(a), run(b), &[&format!("exec     sh -c strip x; true: {only}")]);
    }
}

#[test]
fn connections_are_compared_by_their_outcome() {
    const REFUSED: u16 = 111;
    let run = |change: &dyn Fn(&mut Made)| {
        let mut made = Made::new("/a", 100, &["curl", "x"]);
        made.connect(100, "10.0.0.7:443", 0);
        change(&mut made);
        made
    };
    let none = || run(&|_| ());
    let to = |peer: &str, err: u16| run(&|made| made.connect(100, peer, err));
    let tcp = |a: Made, b: Made, line: &str| check(a, b, &[&format!("tcp      {line}")]);
    check(none(), to("10.0.0.7:443", REFUSED), &[]);
    tcp(to("[::1]:443", 0), to("[::1]:443", REFUSED), "[::1]:443 by curl x: succeeded in A, ECONNREFUSED in B");
    let line = "10.0.0.8:80 by curl x: ECONNREFUSED in A, ETIMEDOUT in B";
    tcp(to("10.0.0.8:80", REFUSED), to("10.0.0.8:80", 110), line);
    tcp(none(), to("10.0.0.9:25", 0), "10.0.0.9:25 by curl x: not tried in A, succeeded in B");
    let accepts = run(&|made| made.accept(100, "10.0.0.5:8080"));
    tcp(accepts, none(), "port 8080 by curl x: succeeded in A, not tried in B");
    // Of a process that only one run has.
    let helper = run(&|made| {
        let child = made.start(100, &["python3", "h.py"]);
        made.connect(child, "10.0.0.9:25", 0);
    });
    let exec = "exec     python3 h.py: executed only in B";
    check(none(), helper, &[exec, "tcp      10.0.0.9:25 by curl x: not tried in A, succeeded in B"]);
    // The kernel assigned these ports.
    check(to("127.0.0.1:40001", 0), to("127.0.0.1:40002", 0), &[]);
    let ended = |op, outcome| {
        run(&move |made: &mut Made| {
            let record = payload::tcp(op, socket("10.0.0.5:51514"), socket("10.0.0.9:25"));
            made.maker.tcp(100, "x", TcpRecord { outcome, ..record });
        })
    };
    for outcome in [outcome::ABANDONED, outcome::KILLED, outcome::IN_PROGRESS, outcome::UNKNOWN] {
        check(none(), ended(op::CONNECT, outcome), &[]);
    }
    check(none(), ended(op::CLOSE, 0), &[]);
}

#[test]
fn a_filter_leaves_what_it_shows_of_a_process_of_one_run() {
    let run = |kinds: &[Kind], more: bool| {
        let mut made = Made::new("/a", 100, &["sh", "x"]);
        made.open(100, "/etc/x", 3);
        made.accept(100, "10.0.0.5:80");
        if more {
            let child = made.start(100, &["python3", "h.py"]);
            made.open(child, "/etc/y", 3);
            made.connect(child, "10.0.0.9:25", 0);
            made.fails_to_exec(child, "/usr/bin/z");
            made.exit(child, 0);
        }
        made.exit(100, 0);
        let mut made = made.run_with(usize::MAX, kinds);
        made.gaps.absent = Kind::PROBED.into_iter().filter(|kind| !kinds.contains(kind)).collect();
        made
    };
    for (kinds, line) in [
        (&[Kind::Tcp][..], "tcp      10.0.0.9:25 by sh x: not tried in A, succeeded in B"),
        (&[Kind::Open], "opened   /etc/y by sh x: opened only in B"),
        (&[Kind::Exit], "exec     python3 h.py: ended only in B"),
    ] {
        let report = between(run(kinds, false), run(kinds, true));
        assert_eq!((text(&report), report.equal()), (format!("{line}\n"), false));
        assert!(between(run(kinds, true), run(kinds, true)).equal());
    }
}

#[test]
fn what_may_have_been_lost_or_does_not_fit_is_unknown_and_the_rest_certain() {
    let run = |lost: bool| {
        let mut made = Made::new("/a", 100, &["cat"]);
        made.open(100, "/etc/x", 3);
        if lost {
            made.maker.lose(5);
        } else {
            made.open(100, "/etc/y", 3);
        }
        made.open(100, "/etc/z", 3);
        made
    };
    let line = "unknown  1 difference of kind opened, by cat, seen only in A: B lost 5 events";
    let (a, b) = (run(false).run(), run(true).run());
    let report = between(a, b);
    assert_eq!(text(&report), format!("{line}\n"));
    assert_eq!((report.count(Status::Unknown), report.count(Status::Different)), (1, 0));
    // The activity of the run with the loss is certain, because the other run lost nothing.
    let mut more = run(true);
    more.open(100, "/etc/w", 3);
    let report = between(run(false).run(), more.run());
    assert_eq!(report.count(Status::Different), 1, "{}", text(&report));
    check(run(true), run(true), &[]);
    // Nor what does not fit.
    let run = |memory| {
        let mut made = Made::new("/a", 100, &["cat"]);
        for number in 0..1000 {
            made.open(100, &format!("/etc/{number}"), 3);
        }
        made.run_in(memory)
    };
    let report = between(run(usize::MAX), run(20_000));
    assert_eq!((report.count(Status::Unknown), report.count(Status::Different)), (1, 0), "{}", text(&report));
    assert!(text(&report).contains("does not fit in memory"), "{}", text(&report));
    // More losses than can be counted.
    let gaps = Gaps { lost: [1 << 63; Kind::PROBED.len()], other: 1, ..Gaps::default() };
    assert_eq!((gaps.sum(), Gaps::default().sum()), (u64::MAX, 0));
    // What ended processes of a running trace lack is certain.
    let run = |good: bool, ended: bool| {
        let mut made = Made::new("/a", 100, &["make"]);
        let cc = made.start(100, &["cc1", "f.c"]);
        made.open(cc, "v.h", if good { 3 } else { ENOENT });
        if good {
            made.open(cc, "x.h", 3);
            made.start(100, &["ld"]);
        }
        if ended {
            made.exit(cc, if good { 0 } else { FAILED });
        }
        let mut run = made.run();
        run.gaps.running = !good;
        run
    };
    let lines = [
        "missing  ./v.h by cc1 f.c: found in A, ENOENT in B",
        "exit     cc1 f.c: 0 in A, 1 in B",
        "unknown  1 difference of kind exec, by ld, seen only in A: B is still running",
        "follow   1 more difference may follow from these: 1 opened",
    ];
    assert_eq!(text(&between(run(true, true), run(false, true))), lines.map(|line| format!("{line}\n")).concat());
    let lines = text(&between(run(true, true), run(false, false)));
    let is_unknown = |line: &str| line.starts_with("unknown") && line.ends_with("B is still running");
    assert!(lines.lines().all(|line| is_unknown(line) || line.starts_with("follow")), "{lines}");
    // Both have the program, with other arguments, and both lost events.
    let flag = |flag| {
        let mut made = Made::new("/a", 100, &["cc1", flag]);
        made.maker.lose(5);
        made.open(100, "x", 3);
        let mut run = made.run();
        run.gaps.incomplete = true;
        run
    };
    let line = "unknown  1 difference of kind argv, by cc1 -O1: B lost 5 events\n";
    assert_eq!(text(&between(flag("-O1"), flag("-O2"))), line);
}

#[test]
fn lines_have_a_process_and_a_side_and_names_are_escaped() {
    let run = |good: bool| {
        let mut made = Made::new("/a", 100, &["make"]);
        let cc = made.start(100, &["cc1", "f.c"]);
        made.open(cc, "v.h", if good { 3 } else { ENOENT });
        made.exit(cc, if good { 0 } else { FAILED });
        if good {
            made.start(100, &["ld"]);
        }
        made.exit(100, if good { 0 } else { FAILED });
        made.run()
    };
    let report = compare(run(true), Vec::new(), run(false), &[]);
    let lines = || report.shown(ALL);
    let of: Vec<_> = lines().map(|line| (line.kind, line.only, line.cause, &line.process[..], line.pid.0)).collect();
    let expected = [
        ("missing", Some(Side::A), true, &b"cc1 f.c"[..], 101),
        ("exit", None, false, b"cc1 f.c", 101),
        ("exec", Some(Side::A), false, b"ld", 100),
    ];
    assert_eq!(of, expected);
    let programs: Vec<_> = lines().map(|line| line.programs.each_ref().map(|program| program.argv.len())).collect();
    assert_eq!(programs, [[2, 2], [2, 2], [1, 0]]);
    // Without a failure, all that nothing explains is a cause.
    let flag = |flag| Made::new("/a", 100, &["cc1", flag]).run();
    let report = compare(flag("-O1"), Vec::new(), flag("-O2"), &[]);
    assert!(matches!(&report.lines[..], [line] if line.cause && line.only.is_none()), "{report:?}");
    // Names are escaped.
    let run = |file: &str| {
        let mut made = Made::new("/a", 100, &["cat"]);
        made.open(100, file, 3);
        made
    };
    let report = between(run("/etc/\x1b[2J\n").run(), run("/etc/y").run());
    assert!(text(&report).contains(r"/etc/\x1b[2J\n by cat"), "{}", text(&report));
    let json = report.json(Show::default());
    assert!(json.contains(r"/etc/\u001b[2J\u000a") && json.lines().count() == 2, "{json}");
}

/// An arbitrary step of a run: the process, another process, the action, a text.
type Step = (u8, u8, u8, Vec<u8>);

fn any_run(steps: &[Step], command: bool) -> Run {
    let mut made = Made::new("/a", 100, &["make"]);
    if !command {
        made.maker = Maker::default();
    }
    for (pid, other, action, text) in steps {
        let (pid, other) = (100 + u32::from(pid % 8), 100 + u32::from(other % 8));
        let names: Vec<u8> = text.iter().copied().chain([0]).collect();
        match action % 6 {
            0 => made.maker.fork(pid, "x", other),
            1 => {
                let (exe, cwd, argv, ret) = (&names, &names, text, -i32::from(action / 6 % 3));
                let exec = payload::Exec { filename: text, exe, cwd, argv, ret, ..payload::Exec::default() };
                made.maker.event(Slot::Exec, pid, "x", &exec.bytes());
            }
            2 => made.maker.exit(pid, "x", u32::from(*action) << 6),
            3 => made.maker.lose(u64::from(other % 8)),
            _ => {
                let record =
                    OpenRecord { ret: i32::from(action % 5) - 2, flags: 0o302, dirfd: -100, ..OpenRecord::default() };
                made.maker.event(Slot::Open, pid, "x", &payload::open(record, &names, text));
            }
        }
    }
    made.run_in(if steps.len().is_multiple_of(7) { 5_000 } else { usize::MAX })
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    let known = ["/", "..", "/tmp/ccaB3dEf.s", "/a", " ", "-j", "101", "make\0", "./", "x.pyc.17"];
    let known = prop::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec());
    let part = prop_oneof![10 => known, 1 => prop::collection::vec(any::<u8>(), 0..9)];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_two_runs_are_compared(
        a in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>(), texts()), 0..40),
        b in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>(), texts()), 0..40),
        command: bool,
    ) {
        let report = between(any_run(&a, command), any_run(&b, command));
        prop_assert_eq!(report.text(ALL, Charset::Utf8).lines().count() == 0, report.equal());
        for line in report.json(ALL).lines() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{}", line);
        }
        let same = between(any_run(&a, command), any_run(&a, command));
        prop_assert!(same.equal(), "{}", same.text(ALL, Charset::Utf8));
    }
}
