//! Storms of events, each of which is known.

use crate::prelude::*;
use crate::traced::check_nothing_lost;

/// The number of opens of a storm, from `TRACETUI_STORM` if set. It is smaller without optimisation, because a slow
/// reader loses events then.
fn storm_opens() -> usize {
    let told = std::env::var("TRACETUI_STORM").ok().map(|text| text.parse().expect("TRACETUI_STORM is a number"));
    told.unwrap_or(if cfg!(debug_assertions) { 20_000 } else { 200_000 })
}

fn storm_execs() -> usize {
    storm_opens() / 100
}

/// The number of threads that open files, and of those that execute programs.
const THREADS: usize = 2;

/// The system call and the kind of path of an open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Absolute,
    Relative,
    Openat2,
    Creat,
    Open,
}

impl Way {
    /// Most opens use openat(2), as in most programs. Some use each of the other ways. The file exists if the number is
    /// even.
    fn of(number: usize) -> Way {
        match number % 100 {
            10 | 11 => Way::Relative,
            20 | 21 => Way::Openat2,
            30 => Way::Creat,
            40 | 41 => Way::Open,
            _ => Way::Absolute,
        }
    }

    fn via(self) -> &'static str {
        match self {
            Way::Absolute | Way::Relative => "openat",
            Way::Openat2 => "openat2",
            Way::Creat => arch::CREAT,
            Way::Open => arch::OPEN,
        }
    }
}

struct Attempt {
    path: CString,
    way: Way,
    full: String,
    ret: i64,
}

struct Opener {
    dir: File,
    attempts: Vec<Attempt>,
    tid: i32,
}

impl Opener {
    /// Half of the files exist.
    fn new(dir: &Dir, thread: usize) -> Opener {
        let dir = dir.dir(&format!("t{thread}"));
        let attempts = (0..storm_opens() / THREADS).map(|number| Attempt::new(&dir, number)).collect();
        Opener { dir: File::open(dir).expect("a directory"), attempts, tid: 0 }
    }

    fn run(&mut self) {
        self.tid = sys::tid();
        let dirfd = self.dir.as_raw_fd();
        for attempt in &mut self.attempts {
            attempt.ret = match attempt.way {
                Way::Absolute => sys::openat(libc::AT_FDCWD, &attempt.path, libc::O_RDONLY, 0),
                Way::Relative => sys::openat(dirfd, &attempt.path, libc::O_RDONLY, 0),
                Way::Openat2 => sys::openat2(libc::AT_FDCWD, &attempt.path, [libc::O_RDONLY as u64, 0, 0]),
                Way::Creat => arch::creat(&attempt.path, 0o600),
                Way::Open => arch::open(&attempt.path, libc::O_RDONLY, 0),
            };
            sys::close(attempt.ret);
        }
    }
}

impl Attempt {
    fn new(dir: &str, number: usize) -> Attempt {
        let there = number.is_multiple_of(2);
        let name = format!("{}{number}", if there { "there" } else { "missing" });
        let full = format!("{dir}/{name}");
        if there {
            fs::write(&full, b"").expect("a file");
        }
        let way = Way::of(number);
        let path = c(if way == Way::Relative { name } else { full.clone() });
        Attempt { path, way, full, ret: 0 }
    }

    fn check(&self, event: &Value, dirfd: i32) {
        let there = self.ret >= 0;
        assert_eq!(there, self.full.contains("/there"), "the storm itself: {} {}", self.full, self.ret);
        let passed = |way, value: i32| if self.way == way { json!(value) } else { Value::Null };
        let dirfd = if self.way == Way::Relative { dirfd } else { libc::AT_FDCWD };
        check_has(event, json!({"ret": self.ret, "via": self.way.via(), "abi": arch::ABI, "dirfd": dirfd}));
        check_has(event, json!({"resolve": passed(Way::Openat2, 0), "mode": passed(Way::Creat, 0o600)}));
        check_has(event, json!({"err": if there { Value::Null } else { "ENOENT".into() }}));
        // A failed call has the directory at which it started, so the path is whole too.
        check_has(event, json!({"abs_path": self.full, "abs_path_why": null}));
    }
}

struct Started {
    pid: i32,
    argv: Vec<String>,
    code: i32,
}

/// The number of programs that are executed, and the pause of each worker after one.
#[derive(Clone, Copy)]
struct Pace {
    execs: usize,
    rest: Duration,
}

impl Pace {
    fn all() -> Pace {
        Pace { execs: storm_execs(), rest: Duration::ZERO }
    }

    /// A rate so low that the execs alone do not fill the reserved part of a small ring, even if the reader is delayed.
    fn few() -> Pace {
        Pace { execs: storm_execs() / 10, rest: Duration::from_millis(3) }
    }
}

fn execute(worker: usize, pace: Pace) -> Vec<Started> {
    let one = |number| {
        let started = start(format!("argument-{worker}-{number}"), number);
        std::thread::sleep(pace.rest);
        started
    };
    (0..pace.execs / THREADS).map(one).collect()
}

fn start(own: String, number: usize) -> Started {
    let exit = format!("exit {}", number % 256);
    let argv = match number % 10 {
        0 => vec!["/bin/sh".to_owned(), "-c".to_owned(), exit, own],
        _ => vec!["/bin/true".to_owned(), own],
    };
    let mut child = Command::new(&argv[0]).args(&argv[1..]).spawn().expect("a child");
    let status = child.wait().expect("a status");
    Started { pid: child.id() as i32, argv, code: status.code().expect("no signal") }
}

struct Storm {
    dir: Dir,
    openers: Vec<Opener>,
    started: Vec<Started>,
}

impl Storm {
    fn new() -> Storm {
        let dir = Dir::in_memory();
        let openers = (0..THREADS).map(|thread| Opener::new(&dir, thread)).collect();
        Storm { dir, openers, started: Vec::new() }
    }

    fn rage(&mut self, pace: Pace) {
        let started = std::thread::scope(|scope| {
            let executors: Vec<_> = (0..THREADS).map(|worker| scope.spawn(move || execute(worker, pace))).collect();
            for opener in &mut self.openers {
                scope.spawn(|| opener.run());
            }
            executors.into_iter().flat_map(|e| e.join().expect("no panic")).collect()
        });
        self.started = started;
    }

    /// Checks that each open event matches a different open. Returns the number of opens without an event.
    fn check_opens(&self, run: &Run) -> usize {
        let mut open: HashMap<(i64, String), (&Attempt, i32)> = HashMap::new();
        for opener in &self.openers {
            for attempt in &opener.attempts {
                let path = attempt.path.to_str().expect("UTF-8");
                open.insert((opener.tid.into(), path.to_owned()), (attempt, opener.dir.as_raw_fd()));
            }
        }
        let ours = |e: &Value| e["kind"] == "open" && e["pid"] == sys::pid();
        let mut unread = 0;
        for event in run.lines().filter(ours) {
            let (tid, path) = (event["tid"].as_i64().expect("a number"), event["path"].as_str().expect("text"));
            if path.starts_with('/') && !path.starts_with(self.dir.path().to_str().expect("UTF-8")) {
                continue;
            }
            // A page may be absent for a moment, for example while the kernel merges pages into a huge page.
            if event["path_why"] == "fault" {
                unread += 1;
                continue;
            }
            let found = open.remove(&(tid, path.to_owned()));
            let (attempt, dirfd) = found.unwrap_or_else(|| panic!("once, and as it was asked for: {event}"));
            attempt.check(&event, dirfd);
        }
        assert!(unread <= storm_opens() / 1000, "{unread} paths could not be read");
        open.len() - unread
    }

    /// Checks that each child has exactly one exec and one exit with the right values. Returns the number of those without
    /// an event.
    fn check_processes(&self, run: &Run) -> usize {
        let mut missing = 0;
        let mut execs = by_pid(run, "exec");
        let mut exits = by_pid(run, "exit");
        let exe = |program: &str| fs::canonicalize(program).expect("installed");
        let exes: HashMap<&str, PathBuf> = ["/bin/sh", "/bin/true"].map(|p| (p, exe(p))).into();
        for started in &self.started {
            let exec = at_most_one(execs.remove(&started.pid.into()), started);
            let exit = at_most_one(exits.remove(&started.pid.into()), started);
            let (Some(exec), Some(exit)) = (&exec, &exit) else {
                missing += usize::from(exec.is_none()) + usize::from(exit.is_none());
                continue;
            };
            let (argv, filename) = (&started.argv, &started.argv[0]);
            check_has(exec, json!({"argv": argv, "argc": argv.len(), "filename": filename}));
            check_has(exec, json!({"exe": exes[filename.as_str()], "ret": 0, "err": null, "ppid": sys::pid()}));
            check_has(exit, json!({"exit_code": started.code, "signal": null, "tid": exit["pid"]}));
            assert_eq!(exit["start_ns"], exec["start_ns"], "{exec} {exit}");
        }
        missing
    }
}

fn by_pid(run: &Run, kind: &str) -> HashMap<i64, Vec<Value>> {
    let mut by_pid: HashMap<i64, Vec<Value>> = HashMap::new();
    for event in run.lines().filter(|e| e["kind"] == kind) {
        by_pid.entry(event["pid"].as_i64().expect("a number")).or_default().push(event);
    }
    by_pid
}

fn at_most_one(events: Option<Vec<Value>>, started: &Started) -> Option<Value> {
    let mut events = events.unwrap_or_default();
    assert!(events.len() <= 1, "one of process {} {:?}: {events:#?}", started.pid, started.argv);
    events.pop()
}

#[test]
fn every_event_of_a_storm_appears_once_and_nothing_is_lost() {
    let mut storm = Storm::new();
    let Some(traced) = Traced::start(&[]) else { return };
    storm.rage(Pace::all());
    let (run, account) = traced.stop_with_account();
    let skipped = check_nothing_lost(&account, "open");
    assert!(storm.check_opens(&run) as u64 <= skipped, "every open is there that was not skipped: {account}");
    assert_eq!(storm.check_processes(&run), 0, "each program has its exec and its exit: {account}");
    println!("storm: {account}");
}

#[test]
fn a_small_ring_loses_opens_and_says_how_many_where() {
    let mut storm = Storm::new();
    // Only events of this process and its children take room in the ring.
    let ours = sys::pid().to_string();
    let Some(traced) = Traced::start(&["--ring-size", "64KiB", "--tree", &ours]) else { return };
    with_pauses(&traced, || storm.rage(Pace::few()));
    let (run, account) = traced.stop_with_account();
    println!("small ring: {account}");
    let opens = &account["kinds"]["open"];
    assert!(n(&opens["lost"]["ring"]) > storm_opens() as u64 / 100, "so small a ring loses many: {account}");
    check_gaps(&run);
    let missing = storm.check_opens(&run);
    let counted = n(&opens["lost"]["ring"]) + skipped(&account);
    assert!(missing as u64 <= counted, "what is missing was counted: {missing} {account}");
    // A pause may last so long that the execs fill the reserve. Without the reserve, all kinds would lose the same share.
    let lost = |kind: &str| n(&account["kinds"][kind]["lost"]["ring"]);
    let sent = |kind: &str| n(&account["kinds"][kind]["delivered"]) + lost(kind);
    for kind in ["exec", "exit", "bpf"] {
        // In emulation there are only twenty execs, of which two may be lost by chance.
        let times = if emulated() { 3 } else { 10 };
        let much_less = times * lost(kind) * sent("open") <= lost("open") * sent(kind);
        assert!(much_less, "opens do not push out {kind}: {account}");
    }
    let missing = storm.check_processes(&run);
    assert!(missing as u64 <= lost("exec") + lost("exit"), "what is missing was counted: {missing} {account}");
    assert!(execs_among_opens(&run) >= Pace::few().execs / 10, "programs were started while the opens stormed");
}

/// Stops the reader of the ring repeatedly while `work` runs. Opens then fill their part of a small ring, but execs do
/// not fill the rest. Without pauses, a fast reader would keep up with a slow storm.
fn with_pauses(traced: &Traced, work: impl FnOnce()) {
    let pause = Duration::from_millis(if emulated() { 250 } else { 10 });
    let (reader, done) = (traced.pid(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                sys::kill(reader, libc::SIGSTOP);
                std::thread::sleep(pause);
                sys::kill(reader, libc::SIGCONT);
                std::thread::sleep(4 * pause);
            }
        });
        work();
        done.store(true, Ordering::Relaxed);
    });
}

/// Checks that each gap row contains the times of the last event before it and of the first event after it, of the same
/// kind and CPU.
fn check_gaps(run: &Run) {
    let mut last: HashMap<(String, u64), u64> = HashMap::new();
    let mut after: HashMap<(String, u64), Value> = HashMap::new();
    let mut rows = 0;
    for line in run.lines() {
        let kind = line["kind"].as_str().expect("a kind");
        if KINDS.contains(&kind) {
            let stream = (kind.to_owned(), n(&line["cpu"]));
            if let Some(row) = after.remove(&stream) {
                assert_eq!(row["to_ns"], line["ns"], "up to the first event after it: {row} {line}");
            }
            last.insert(stream, n(&line["ns"]));
            continue;
        }
        assert_eq!(line["pid"], Value::Null, "{line}");
        if line["cause"] == "probe" {
            continue;
        }
        assert_eq!(line["cause"], "ring", "{line}");
        assert!(n(&line["count"]) > 0, "{line}");
        let stream = (line["of"].as_str().expect("a kind").to_owned(), n(&line["cpu"]));
        assert_eq!(line["from_ns"].as_u64(), last.get(&stream).copied(), "from the last event before it: {line}");
        assert!(n(&line["ns"]) <= n(&line["to_ns"]), "{line}");
        let twice = after.insert(stream, line);
        assert!(twice.is_none(), "one row a gap: {twice:?}");
        rows += 1;
    }
    println!("gaps: {rows}");
}

/// The execs between the first and the last open, delivered or lost.
fn execs_among_opens(run: &Run) -> usize {
    let times = |e: &Value| match e["kind"].as_str() {
        Some("open") if e["pid"] == sys::pid() => vec![n(&e["ns"])],
        // A gap before the first open of a CPU has no beginning.
        Some("lost") if e["of"] == "open" => vec![n(&e["ns"]), n(&e["to_ns"])],
        _ => Vec::new(),
    };
    let times: Vec<u64> = run.lines().flat_map(|e| times(&e)).collect();
    let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else { return 0 };
    run.lines().filter(|e| e["kind"] == "exec" && (*first..*last).contains(&n(&e["ns"]))).count()
}

#[test]
fn forks_execs_and_exits_of_many_short_lived_processes_pair_up() {
    let Some(traced) = Traced::start(&["--kind", "exec,exit,fork"]) else { return };
    let pids: Vec<i32> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..10).map(|worker| scope.spawn(move || fifty_at_once(worker))).collect();
        workers.into_iter().flat_map(|w| w.join().expect("no panic")).collect()
    });
    let (run, account) = traced.stop_with_account();
    let mut skipped = check_nothing_lost(&account, "fork");
    let mut execs = by_pid(&run, "exec");
    let mut exits = by_pid(&run, "exit");
    let mut forks: HashMap<i64, Vec<Value>> = HashMap::new();
    for fork in run.kind_of("fork", sys::pid()) {
        forks.entry(fork["child_pid"].as_i64().expect("a number")).or_default().push(fork);
    }
    for pid in pids.into_iter().map(i64::from) {
        let of = |events: &mut HashMap<i64, Vec<Value>>| {
            let mut events = events.remove(&pid).unwrap_or_default();
            assert_eq!(events.len(), 1, "one of each kind for {pid}: {events:#?}");
            events.remove(0)
        };
        let (exec, exit) = (of(&mut execs), of(&mut exits));
        assert_eq!(exit["start_ns"], exec["start_ns"], "{exit} {exec}");
        if !forks.contains_key(&pid) {
            let counted = skipped.checked_sub(1);
            skipped = counted.unwrap_or_else(|| panic!("a fork is missing that was not skipped: {pid} {account}"));
            continue;
        }
        let fork = of(&mut forks);
        assert_eq!(fork["child_start_ns"], exec["start_ns"], "{fork} {exec}");
        let [born, ran, ended] = [&fork, &exec, &exit].map(|e| n(&e["ns"]));
        assert!(born <= ran && ran <= ended, "{fork} {exec} {exit}");
    }
    assert!(run.lines().all(|e| e["kind"] != "open" && e["kind"] != "bpf"), "only the kinds asked for");
}

fn fifty_at_once(worker: usize) -> Vec<i32> {
    let own = |number: usize| format!("short-{worker}-{number}");
    let children: Vec<_> =
        (0..50).map(|number| Command::new("/bin/true").arg(own(number)).spawn().expect("a child")).collect();
    let wait = |mut child: Child| {
        assert!(child.wait().expect("a status").success());
        child.id() as i32
    };
    children.into_iter().map(wait).collect()
}
