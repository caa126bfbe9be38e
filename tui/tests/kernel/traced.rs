//! Runs `tracetui print` during the actions of a test, and parses its output.

use crate::bpf::{BPF_PROG_TYPE_RAW_TRACEPOINT, id_and_tag, program, raw_tracepoint_open};
use crate::prelude::*;
use std::cell::OnceCell;
use std::ffi::OsStr;
use std::io::BufRead;
use std::os::unix::fs::DirBuilderExt as _;
use std::process::{ChildStderr, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracetui_shared::kind::Kind;

/// The program under test: the one in `TRACETUI_BIN`, or the one that was built with the tests.
pub(crate) fn tracetui() -> Command {
    let program = std::env::var_os("TRACETUI_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tracetui").into());
    let mut command = neutral(program);
    // A shell ignores these signals for background commands, and a script cannot trap signals that were ignored at its
    // start.
    sys::before_exec(&mut command, || {
        [libc::SIGINT, libc::SIGQUIT].into_iter().for_each(|signal| sys::signal(signal, libc::SIG_DFL));
        Ok(())
    });
    command
}

/// The variable with the interval of BPF inventories.
pub(crate) const INVENTORY: &str = "TRACETUI_INVENTORY";

/// A command in which tracetui has no configuration, does not know who typed sudo to run the tests, and takes inventories often.
pub(crate) fn neutral(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    if std::env::var_os(INVENTORY).is_none() {
        command.env(INVENTORY, if emulated() { "3s" } else { "500ms" });
    }
    for variable in ["SUDO_UID", "SUDO_GID", "SUDO_USER", "SUDO_HOME", "DOAS_USER", "PKEXEC_UID"] {
        command.env_remove(variable);
    }
    command
}

pub(crate) fn doctor() -> String {
    let output = tracetui().arg("doctor").output().expect("tracetui starts");
    String::from_utf8(output.stdout).expect("UTF-8")
}

pub(crate) fn is_attached(name: &str) -> bool {
    doctor().lines().any(|line| line.starts_with(name) && !line.contains("not attached"))
}

/// Whether the processor is emulated (`TRACETUI_EMULATED`), so that everything takes much longer.
pub(crate) fn emulated() -> bool {
    std::env::var_os("TRACETUI_EMULATED").is_some()
}

pub(crate) const KINDS: [&str; Kind::PROBED.len()] = {
    let mut names = [""; Kind::PROBED.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Kind::PROBED[at].name();
        at += 1;
    }
    names
};

/// Longer than any start or end takes, also on a busy or emulated machine without optimisation.
const PATIENCE: Duration = Duration::from_secs(60);

/// Blocks the other tests of this process until the end of this one: only one test traces at a time, because the storm of one
/// would disturb another. Tracers and actors call it.
pub(crate) fn alone() {
    static ALONE: Mutex<()> = Mutex::new(());
    thread_local!(static HELD: OnceCell<MutexGuard<'static, ()>> = const { OnceCell::new() });
    HELD.with(|held| _ = held.get_or_init(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner)));
}

/// Like [`alone`], if this process may trace. If not, the reason is reported.
pub(crate) fn alone_as_root() -> Option<()> {
    may_trace().then(alone)
}

/// Reports why a test cannot check anything. The message bypasses the output capture of the test harness.
pub(crate) fn cannot_run(reason: &str) {
    assert!(std::env::var("TRACETUI_REQUIRE_KERNEL").as_deref() != Ok("1"), "cannot run: {reason}");
    let _ = writeln!(std::io::stderr(), "cannot run: {reason}");
}

/// Reports what a test does not check because the machine lacks it, although tracing is possible. The message bypasses
/// the output capture too.
pub(crate) fn not_checked(what: &str) {
    let Some(traced) = Traced::start(&[]) else { return };
    traced.stop();
    warn_not_checked(what);
}

/// Like [`not_checked`], after a trace.
pub(crate) fn warn_not_checked(what: &str) {
    let _ = writeln!(std::io::stderr(), "not checked: {what}");
}

/// Runs `check` while the kernel hides addresses from root too (kernel.kptr_restrict). This affects the whole machine: without
/// a machine for tests, it is reported that this is not checked. The caller must hold [`alone`].
pub(crate) fn with_hidden_addresses(check: impl FnOnce() + std::panic::UnwindSafe) {
    const SETTING: &str = "/proc/sys/kernel/kptr_restrict";
    if !emulated() {
        return not_checked("kernel.kptr_restrict: it is changed on a machine reserved for tests only");
    }
    let before = fs::read(SETTING).expect("readable");
    fs::write(SETTING, "2").expect("root may");
    let checked = std::panic::catch_unwind(check);
    fs::write(SETTING, before).expect("root may");
    assert!(checked.is_ok());
}

pub(crate) fn may_trace() -> bool {
    if sys::euid() != 0 {
        cannot_run("tracing needs root");
    }
    sys::euid() == 0
}

pub(crate) struct Traced {
    child: Child,
    stderr: Receiver<String>,
    said: Vec<String>,
    /// The line that reports that every probe is attached.
    pub(crate) ready: String,
    output: Option<Output>,
    shows_lost: bool,
    _dir: Dir,
}

impl Traced {
    /// Starts `print --format json` with these arguments and its lines in a file. `None`, with a message, if it must
    /// not trace.
    pub(crate) fn start(args: &[&str]) -> Option<Traced> {
        Traced::start_as("json", args)
    }

    /// Like [`start`](Self::start), in another format.
    pub(crate) fn start_as(format: &str, args: &[&str]) -> Option<Traced> {
        let dir = Dir::new();
        let path = dir.path().join("out");
        let file = File::create(&path).expect("a file for the output");
        Traced::spawn(format, args, file.into(), dir, Some(path))
    }

    /// Like [`start`](Self::start), with its lines to `stdout`.
    pub(crate) fn start_into(stdout: Stdio, args: &[&str]) -> Option<Traced> {
        Traced::spawn("json", args, stdout, Dir::new(), None)
    }

    fn spawn(format: &str, args: &[&str], stdout: Stdio, dir: Dir, output: Option<PathBuf>) -> Option<Traced> {
        alone_as_root()?;
        let mut command = tracetui();
        command.args(["print", "--format", format]).args(args);
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        let mut child = command.spawn().expect("tracetui starts");
        let stderr = lines_of(child.stderr.take().expect("piped"));
        let shows_lost = shows_lost(args);
        let (said, ready) = (Vec::new(), String::new());
        let output = output.map(Output);
        let mut traced = Traced { child, stderr, said, ready, output, shows_lost, _dir: dir };
        let is_ready = traced.wait_for_ready().inspect_err(|reason| cannot_run(reason)).is_ok();
        is_ready.then_some(traced)
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

    /// The message of a tracer that ended before it was ready. Only a refusal by the system lets a test be skipped;
    /// incorrect usage or a crash is a bug.
    fn refusal(&mut self) -> String {
        let status = self.child.wait().expect("a status");
        assert_eq!(status.code(), Some(1), "ended before it was ready: {status}, {:?}", self.said);
        self.said.join("; ")
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub(crate) fn output(&self) -> &Output {
        self.output.as_ref().expect("started with a file")
    }

    pub(crate) fn said_missing(&self, what: &str) -> bool {
        self.said.iter().any(|line| line.contains("missing: ") && line.contains(what))
    }

    pub(crate) fn says(&mut self, what: &str) -> bool {
        self.said.extend(self.stderr.try_iter());
        self.said.iter().any(|line| line.contains(what))
    }

    /// The read end of the pipe to which it writes.
    pub(crate) fn take_stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("started with a pipe")
    }

    pub(crate) fn signal(&self, signal: i32) {
        sys::kill(self.pid(), signal);
    }

    pub(crate) fn stop(self) -> Run {
        self.signal(libc::SIGINT);
        let run = self.ended();
        assert_eq!(run.status.code(), Some(0), "SIGINT ends it well: {}, {}", run.status, run.stderr.join("\n"));
        run
    }

    /// Ends it as [`stop`](Self::stop) does, and checks the properties of any run.
    pub(crate) fn stop_and_check(self) -> Run {
        self.stop_with_account().0
    }

    /// Like [`stop_and_check`](Self::stop_and_check), with the account.
    pub(crate) fn stop_with_account(self) -> (Run, Value) {
        let run = self.stop();
        let account = run.check();
        (run, account)
    }

    /// Waits until it ends, and reads its output.
    pub(crate) fn ended(mut self) -> Run {
        let status = wait_at_most(&mut self.child, PATIENCE);
        let mut stderr = std::mem::take(&mut self.said);
        stderr.push(std::mem::take(&mut self.ready));
        stderr.extend(self.stderr.iter());
        let raw = self.output.as_ref().map(|output| fs::read(output).expect("the output")).unwrap_or_default();
        Run { status, stderr, raw, shows_lost: self.shows_lost }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // A failed test must not leave a tracer behind. If it has already ended, the errors are ignored.
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

/// Starts a tracer, and waits until it is ready: the process, and its further messages. If it ends before that, the reason is reported.
pub(crate) fn ready(command: &mut Command) -> Option<(Child, BufReader<ChildStderr>)> {
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("tracetui starts");
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    reads_ready(&mut child, &mut said).then_some((child, said))
}

/// Reads the messages of a tracer up to the one that it is ready. If it ends before that, the reason is reported.
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

/// Traces a child that runs `act`. Returns its process id and its numbers.
pub(crate) fn trace(kinds: &str, act: impl FnOnce() -> Vec<i64>) -> Option<(Run, i32, Vec<i64>)> {
    trace_with(&["--kind", kinds], |_| act())
}

/// Like [`trace`], with these arguments. `act` can wait for what tracetui writes.
pub(crate) fn trace_with(args: &[&str], act: impl FnOnce(&Output) -> Vec<i64>) -> Option<(Run, i32, Vec<i64>)> {
    let traced = Traced::start(args)?;
    let actor = Actor::new(|| act(traced.output()));
    let pid = actor.pid;
    let numbers = actor.run();
    Some((traced.stop_and_check(), pid, numbers))
}

pub(crate) struct Output(PathBuf);

impl AsRef<Path> for Output {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Output {
    /// Waits until the lines satisfy this. After [`PATIENCE`], the checks of the test report what is missing.
    pub(crate) fn wait_until(&self, satisfies: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && !fs::read_to_string(self).is_ok_and(|lines| satisfies(&lines)) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until this operation is reported for each of the programs.
    pub(crate) fn wait_for(&self, op: &str, ids: &[i64]) {
        ids.iter().for_each(|id| self.wait_for_many(op, *id, 1));
    }

    /// Waits until this operation is reported so often for a program.
    pub(crate) fn wait_for_many(&self, op: &str, id: i64, count: usize) {
        let is_it = |event: &Value| event["op"] == op && event["prog"]["id"] == id;
        self.wait_until(|lines| {
            let of_op = lines.lines().filter(|line| line.contains(op));
            let events = of_op.filter_map(|line| serde_json::from_str(line).ok());
            events.filter(is_it).count() >= count
        });
    }

    /// Waits until an inventory that began after this call is in the output: the end of a link is in no other event.
    pub(crate) fn wait_for_inventory(&self) {
        let program = program(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_inventory");
        sys::close(raw_tracepoint_open(&program, "sched_process_exit"));
        self.wait_for("detach", &[id_and_tag(&program)[0]]);
    }
}

pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: Vec<String>,
    pub(crate) raw: Vec<u8>,
    /// Whether `lost` rows were requested.
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

    pub(crate) fn of(&self, pid: i32) -> Vec<Value> {
        self.lines().filter(|e| e["pid"] == pid).collect()
    }

    pub(crate) fn kind_of(&self, kind: &str, pid: i32) -> Vec<Value> {
        self.lines().filter(|e| e["pid"] == pid && e["kind"] == kind).collect()
    }

    /// The only event of a kind of a process that also satisfies `which`.
    pub(crate) fn one(&self, kind: &str, pid: i32, which: impl Fn(&Value) -> bool) -> Value {
        let mut found: Vec<Value> = self.kind_of(kind, pid).into_iter().filter(which).collect();
        assert_eq!(found.len(), 1, "one {kind} of {pid}: {found:#?}");
        found.remove(0)
    }

    /// The open of a path, as passed, by a process.
    pub(crate) fn open(&self, pid: i32, path: &str) -> Value {
        self.one("open", pid, |e| e["path"] == path)
    }

    pub(crate) fn account(&self) -> Value {
        let last = self.stderr.last().expect("stderr ends with the account");
        let value: Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {:?}", self.stderr));
        value["account"].clone()
    }

    /// Checks the properties of any run in which a probe sees every event.
    pub(crate) fn check(&self) -> Value {
        let account = self.check_sums();
        // The message helps if the test fails: a test that needs every event cannot pass then.
        match skipped(&account) {
            0 => {}
            skipped => println!("the kernel skipped {skipped} events"),
        }
        account
    }

    /// Checks the properties of any run: the sums, the schema of the lines, the lines compared with the account, the order.
    pub(crate) fn check_sums(&self) -> Value {
        let account = self.account();
        let mut tally = Tally::default();
        self.lines().for_each(|line| {
            crate::schema::check(&line);
            tally.add(&line);
        });
        check_sums(&account);
        tally.check(&account, self.shows_lost);
        account
    }
}

/// Checks that an event has these fields, as expected events of cases do.
#[track_caller]
pub(crate) fn check_has(event: &Value, fields: Value) {
    assert_eq!(crate::cases::differences(&fields, event), [""; 0], "{event}");
}

/// The kernel's version, major and minor.
pub(crate) fn release() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs");
    // 7.3-rc7 has no third number.
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().expect("a version"));
    let mut next = || numbers.next().expect("a version");
    (next(), next())
}

/// The maximum number of events that the kernel skipped, according to the account. From 7.0 on it skips events while
/// another task on that CPU is preempted inside of the same probe; before 7.0 it must not.
pub(crate) fn skipped(account: &Value) -> u64 {
    let probes = KINDS.iter().map(|kind| n(&account["kinds"][*kind]["lost"]["probe"])).sum::<u64>();
    let skipped = probes + n(&account["unattributed_skips"]);
    assert!(release() >= (7, 0) || skipped == 0, "nothing is skipped before 7.0: {account}");
    skipped
}

/// Checks that only skipped events were lost. Returns the number of events of this kind that may be missing for this
/// reason.
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
        let lost = k["lost"].as_object().expect("causes").values().map(n).sum();
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

/// The sums of the lines, for a comparison with the account.
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

/// A file system on a new directory. It is unmounted when dropped, also if something uses it.
pub(crate) struct Mount(String);

impl Mount {
    /// Mounts with these arguments of mount(8). `None`, with a message, if that is not possible here.
    pub(crate) fn new(args: &[&str], directory: String) -> Option<Mount> {
        fs::create_dir(&directory).expect("a directory");
        let done = Command::new("mount").args(args).arg(&directory).output();
        let mounted = done.is_ok_and(|done| done.status.success());
        if !mounted {
            cannot_run(&format!("mount {} is not possible", args.join(" ")));
        }
        mounted.then(|| Mount(directory))
    }

    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", &self.0]).stderr(Stdio::null()).status();
    }
}

/// A temporary directory that is removed with its content when dropped.
pub(crate) struct Dir {
    path: PathBuf,
}

impl Dir {
    pub(crate) fn new() -> Dir {
        Dir::under(&std::env::temp_dir())
    }

    /// Blocks the other tests, like [`alone`].
    pub(crate) fn alone() -> Dir {
        alone();
        Dir::new()
    }

    pub(crate) fn alone_as_root() -> Option<Dir> {
        may_trace().then(Dir::alone)
    }

    /// Creates a directory in memory if the machine supports that, for many files.
    pub(crate) fn in_memory() -> Dir {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Dir::under(memory) } else { Dir::new() }
    }

    fn under(place: &Path) -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tracetui-kernel-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = fs::canonicalize(place).expect("a place for temporary files").join(name);
        // Accessible to all users, because some actors are no longer root when they use it.
        fs::DirBuilder::new().mode(0o755).create(&path).expect("a directory");
        Dir { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.path.to_str().expect("UTF-8"))
    }

    /// Creates an empty file in the directory, without an open.
    pub(crate) fn file(&self, name: &str) -> String {
        let path = c(self.at(name));
        assert_eq!(call(libc::SYS_mknodat, &[CWD, at(&path), (libc::S_IFREG | 0o644).into()]), 0, "{path:?}");
        path.into_string().expect("UTF-8")
    }

    pub(crate) fn dir(&self, name: &str) -> String {
        let path = self.at(name);
        fs::create_dir(&path).expect("a directory");
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
