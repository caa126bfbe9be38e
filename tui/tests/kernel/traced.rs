//! Runs `tracetui print` over what a test does, and reads back what it printed.

use crate::sys;
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracetui_shared::kind::Kind;

/// The program under test: what `TRACETUI_BIN` names, or the one that was built beside the tests.
pub(crate) fn tracetui() -> Command {
    let program = std::env::var_os("TRACETUI_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tracetui").into());
    let mut command = Command::new(program);
    let reset = || {
        // A shell ignores these for what it starts in the background, and no script can trap what was ignored at its start.
        for signal in [libc::SIGINT, libc::SIGQUIT] {
            // SAFETY: sets no handler.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec it calls signal(2) only, which is safe there.
    unsafe { command.pre_exec(reset) };
    command
}

/// What `doctor` says of this machine.
pub(crate) fn doctor() -> String {
    let output = tracetui().arg("doctor").output().expect("tracetui starts");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Whether an emulated processor runs this (`TRACETUI_EMULATED`): everything takes many times longer there.
pub(crate) fn emulated() -> bool {
    std::env::var_os("TRACETUI_EMULATED").is_some()
}

/// The kinds that probes make.
pub(crate) const KINDS: [&str; Kind::PROBED.len()] = {
    let mut names = [""; Kind::PROBED.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Kind::PROBED[at].name();
        at += 1;
    }
    names
};

/// Longer than any start or end takes, also on a busy machine without optimisation, and on an emulated one.
const PATIENCE: Duration = Duration::from_secs(60);

/// One tracer at a time: a storm of one test would be noise in another. Tests that want two start both under one guard.
static ALONE: Mutex<()> = Mutex::new(());

/// Keeps the other tests of this process waiting.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says why a test cannot check anything. Past the capture of the test harness, which would swallow it.
pub(crate) fn cannot_run(reason: &str) {
    assert!(std::env::var("TRACETUI_REQUIRE_KERNEL").as_deref() != Ok("1"), "cannot run: {reason}");
    let _ = writeln!(std::io::stderr(), "cannot run: {reason}");
}

/// Says what a test leaves out because this machine is not made for it, though it can be traced. Past the capture, too.
/// To be called by who holds [`alone`].
pub(crate) fn not_checked(what: &str) {
    let Some(traced) = Traced::start(&[]) else { return };
    traced.stop();
    let _ = writeln!(std::io::stderr(), "not checked: {what}");
}

/// Whether this process may trace; says why not.
pub(crate) fn may_trace() -> bool {
    if sys::euid() != 0 {
        cannot_run("tracing needs root");
    }
    sys::euid() == 0
}

/// A `print` that runs.
pub(crate) struct Traced {
    child: Child,
    stderr: Receiver<String>,
    said: Vec<String>,
    /// The line that said that every probe is attached.
    pub(crate) ready: String,
    output: Option<PathBuf>,
    shows_lost: bool,
    _dir: Dir,
}

impl Traced {
    /// `print --format json` with these arguments, its lines in a file; `None`, and said why, when it may not trace.
    pub(crate) fn start(args: &[&str]) -> Option<Traced> {
        Traced::start_as("json", args)
    }

    /// The same in another format.
    pub(crate) fn start_as(format: &str, args: &[&str]) -> Option<Traced> {
        let dir = Dir::new();
        let path = dir.path().join("out");
        let file = File::create(&path).expect("a file for the output");
        Traced::spawn(format, args, file.into(), dir, Some(path))
    }

    /// The same with its lines going where the test wants them.
    pub(crate) fn start_into(stdout: Stdio, args: &[&str]) -> Option<Traced> {
        Traced::spawn("json", args, stdout, Dir::new(), None)
    }

    fn spawn(format: &str, args: &[&str], stdout: Stdio, dir: Dir, output: Option<PathBuf>) -> Option<Traced> {
        if !may_trace() {
            return None;
        }
        let mut command = tracetui();
        command.args(["print", "--format", format]).args(args);
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        let mut child = command.spawn().expect("tracetui starts");
        let stderr = lines_of(child.stderr.take().expect("piped"));
        let shows_lost = shows_lost(args);
        let (said, ready) = (Vec::new(), String::new());
        let mut traced = Traced { child, stderr, said, ready, output, shows_lost, _dir: dir };
        match traced.wait_for_ready() {
            Ok(()) => Some(traced),
            Err(reason) => {
                cannot_run(&reason);
                None
            }
        }
    }

    fn wait_for_ready(&mut self) -> Result<(), String> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            match self.stderr.recv_timeout(Duration::from_millis(100)) {
                Ok(line) if line.starts_with("tracing") => {
                    self.ready = line;
                    return Ok(());
                }
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(self.refusal()),
            }
        }
        panic!("not ready within {PATIENCE:?}: {:?}", self.said);
    }

    /// It ended before it was ready. Only a refusal by the system is a reason not to check; bad usage or a crash is a bug.
    fn refusal(&mut self) -> String {
        let status = self.child.wait().expect("a status");
        assert_eq!(status.code(), Some(1), "ended before it was ready: {:?}", self.said);
        self.said.join("; ")
    }

    /// The tracer's process id.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Where its lines go.
    pub(crate) fn output(&self) -> &Path {
        self.output.as_deref().expect("started with a file")
    }

    /// Whether it said that something is not seen on this kernel.
    pub(crate) fn said_not_seen(&self, what: &str) -> bool {
        self.said.iter().any(|line| line.contains("not seen") && line.contains(what))
    }

    /// Its end of a pipe that it writes to.
    pub(crate) fn take_stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("started with a pipe")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: i32) {
        sys::kill(self.pid(), signal);
    }

    /// Ends it as Ctrl-C does and reads what it printed.
    pub(crate) fn stop(self) -> Run {
        self.signal(libc::SIGINT);
        let run = self.ended();
        assert_eq!(run.status.code(), Some(0), "SIGINT ends it well: {}", run.stderr.join("\n"));
        run
    }

    /// Waits until it ends.
    pub(crate) fn ended(mut self) -> Run {
        let status = wait_at_most(&mut self.child, PATIENCE);
        let mut stderr = std::mem::take(&mut self.said);
        stderr.push(std::mem::take(&mut self.ready));
        stderr.extend(self.stderr.iter());
        let raw = self.output.as_ref().map(|path| std::fs::read(path).expect("the output")).unwrap_or_default();
        Run { status, stderr, raw, shows_lost: self.shows_lost }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // A test that failed half-way leaves no tracer behind; one that has ended is not there to be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (to, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// Reads what a tracer says up to the line that it is ready; says so when it ends before.
pub(crate) fn reads_ready(child: &mut Child, said: &mut impl BufRead) -> bool {
    let mut line = String::new();
    let mut before = String::new();
    while !line.starts_with("tracing") {
        before.push_str(&line);
        line.clear();
        if said.read_line(&mut line).expect("UTF-8") == 0 {
            let status = wait_at_most(child, PATIENCE);
            assert_eq!(status.code(), Some(1), "ended before it was ready: {before}");
            cannot_run(&before);
            return false;
        }
    }
    true
}

/// Waits for a child, not for ever.
pub(crate) fn wait_at_most(child: &mut Child, patience: Duration) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a status") {
            return status;
        }
        if began.elapsed() > patience {
            let _ = child.kill();
            panic!("did not end within {patience:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a `print` left behind.
pub(crate) struct Run {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it said, line by line.
    pub(crate) stderr: Vec<String>,
    /// What it printed.
    pub(crate) raw: Vec<u8>,
    /// Whether it was asked for `lost` rows.
    pub(crate) shows_lost: bool,
}

/// Whether `lost` rows are shown: they are hidden by naming kinds without `lost`.
pub(crate) fn shows_lost(args: &[&str]) -> bool {
    let kinds = args.iter().position(|arg| *arg == "--kind").and_then(|at| args.get(at + 1));
    kinds.is_none_or(|kinds| kinds.split(',').any(|kind| kind == "lost"))
}

impl Run {
    /// The lines, each as JSON: events and `lost` rows in the order in which they were printed.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Value> {
        let lines = self.raw.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| {
            serde_json::from_slice(line).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(line)))
        })
    }

    /// The events of one process.
    pub(crate) fn of(&self, pid: i32) -> Vec<Value> {
        self.lines().filter(|e| e["pid"] == pid).collect()
    }

    /// The events of one kind of one process.
    pub(crate) fn kind_of(&self, kind: &str, pid: i32) -> Vec<Value> {
        self.lines().filter(|e| e["pid"] == pid && e["kind"] == kind).collect()
    }

    /// The one event of a kind of a process that also satisfies `which`.
    pub(crate) fn one(&self, kind: &str, pid: i32, which: impl Fn(&Value) -> bool) -> Value {
        let mut found: Vec<Value> = self.kind_of(kind, pid).into_iter().filter(which).collect();
        assert_eq!(found.len(), 1, "one {kind} of {pid}: {found:#?}");
        found.remove(0)
    }

    /// The open of a path, as asked, by a process.
    pub(crate) fn open(&self, pid: i32, path: &str) -> Value {
        self.one("open", pid, |e| e["path"] == path)
    }

    /// The account: the last line of stderr.
    pub(crate) fn account(&self) -> Value {
        let last = self.stderr.last().expect("stderr ends with the account");
        let value: Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {:?}", self.stderr));
        value["account"].clone()
    }

    /// Checks everything that holds for any run whose every event has a probe that sees it.
    pub(crate) fn check(&self) -> Value {
        let account = self.check_sums();
        // Whoever runs the tests may then try again: a test that looks for every event cannot pass.
        match skipped(&account) {
            0 => {}
            skipped => println!("the kernel skipped {skipped} events"),
        }
        account
    }

    /// Checks what holds for any run: the sums, the lines against the account, the order.
    pub(crate) fn check_sums(&self) -> Value {
        let account = self.account();
        let mut tally = Tally::default();
        self.lines().for_each(|line| tally.add(&line));
        check_sums(&account);
        tally.check(&account, self.shows_lost);
        account
    }
}

/// The kernel's version, major and minor.
pub(crate) fn release() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs");
    // 7.3-rc7 has no third number.
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().expect("a version"));
    let mut next = || numbers.next().expect("a version");
    (next(), next())
}

/// How many events the kernel skipped at most, as the account has it. From 7.0 on it does, while another task on that
/// processor stands still inside of the same probe; before it must not.
pub(crate) fn skipped(account: &Value) -> u64 {
    let probes = KINDS.iter().map(|kind| n(&account["kinds"][*kind]["lost"]["probe"])).sum::<u64>();
    let skipped = probes + n(&account["unattributed_skips"]);
    assert!(release() >= (7, 0) || skipped == 0, "nothing is skipped before 7.0: {account}");
    skipped
}

/// Nothing was lost but what the kernel skipped; how many events of this kind may be missing therefore.
pub(crate) fn check_nothing_lost(account: &Value, kind: &str) -> u64 {
    let skipped = skipped(account) - n(&account["unattributed_skips"]);
    assert_eq!(n(&account["lost"]), skipped, "{account}");
    assert_eq!(n(&account["bookkeeping_lost"]), 0, "{account}");
    n(&account["kinds"][kind]["lost"]["probe"]) + n(&account["unattributed_skips"])
}

/// A number of the account or an event.
pub(crate) fn n(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a number, not {value}"))
}

fn check_sums(account: &Value) {
    let mut sum = [0; 4];
    for kind in KINDS {
        let k = &account["kinds"][kind];
        let lost = n(&k["lost"]["ring"]) + n(&k["lost"]["probe"]) + n(&k["lost"]["read"]);
        let line = [n(&k["seen"]), n(&k["delivered"]), n(&k["filtered"]), lost];
        assert_eq!(line[0], line[1] + line[2] + line[3], "{kind}: seen = delivered + filtered + lost: {account}");
        sum.iter_mut().zip(line).for_each(|(sum, n)| *sum += n);
    }
    assert_eq!(account["discrepancies"], Value::Array(vec![]), "every step of the way adds up: {account}");
    let said = ["seen", "delivered", "filtered", "lost"].map(|key| n(&account[key]));
    assert_eq!(said, sum, "the sums are those of the kinds: {account}");
    for impossible in ["tid_not_pid", "exit_twice", "start_mismatch"] {
        assert_eq!(account["pairing"][impossible], 0, "{impossible}: {account}");
    }
}

/// What the lines say, to be compared with the account.
#[derive(Default)]
struct Tally {
    events: HashMap<String, u64>,
    lost: HashMap<(String, String), u64>,
    last_ns: u64,
}

impl Tally {
    fn add(&mut self, line: &Value) {
        let ns = n(&line["ns"]);
        assert!(ns >= self.last_ns, "in order of time: {line} after {}", self.last_ns);
        self.last_ns = ns;
        let kind = line["kind"].as_str().expect("a kind").to_owned();
        if kind == "lost" {
            let key = |name: &str| line[name].as_str().expect("a word").to_owned();
            *self.lost.entry((key("of"), key("cause"))).or_default() += n(&line["count"]);
        } else {
            *self.events.entry(kind).or_default() += 1;
        }
    }

    fn check(&self, account: &Value, shows_lost: bool) {
        for kind in KINDS {
            let k = &account["kinds"][kind];
            assert_eq!(n(&k["delivered"]), self.events.get(kind).copied().unwrap_or(0), "{kind} lines: {account}");
            let rows = self.lost.get(&(kind.to_owned(), "ring".to_owned())).copied().unwrap_or(0);
            let expected = if shows_lost { n(&k["lost"]["ring"]) } else { 0 };
            assert_eq!(rows, expected, "{kind}: the lost rows add up: {account}");
        }
    }
}

/// A directory of the test's own, removed with all that is in it.
pub(crate) struct Dir(PathBuf);

impl Dir {
    /// A new one.
    pub(crate) fn new() -> Dir {
        Dir::under(&std::env::temp_dir())
    }

    /// A new one in memory where the machine has such a place: for many files.
    pub(crate) fn in_memory() -> Dir {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Dir::under(memory) } else { Dir::new() }
    }

    fn under(place: &Path) -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tracetui-kernel-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::fs::canonicalize(place).expect("a place for temporary files").join(name);
        // Open to all: some actors are no longer root when they look into it.
        std::fs::DirBuilder::new().mode(0o755).create(&path).expect("a directory");
        Dir(path)
    }

    /// Where it is: absolute, without symbolic links.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A name in it.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.0.to_str().expect("UTF-8"))
    }

    /// A new empty file in it.
    pub(crate) fn file(&self, name: &str) -> String {
        let path = self.at(name);
        File::create(&path).expect("a file");
        path
    }

    /// A new directory in it.
    pub(crate) fn dir(&self, name: &str) -> String {
        let path = self.at(name);
        std::fs::create_dir(&path).expect("a directory");
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
