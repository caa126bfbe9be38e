//! The cost of tracing compared with other tracers: a storm of opens or of execs under each of them in turn, on the running
//! kernel.
//!
//! `cargo bench --bench peers` (as root) runs every tool in interleaved rounds and prints a table; with `execs`, of execs. The
//! arguments after that are `--rounds N`, `--calls N` (per thread), `--threads N` (of the storm), and `--tools` with the names of tools: tracetui, kind-exec
//! (`tracetui print --kind exec`), bpftrace, opensnoop, execsnoop, perf-trace, tracexec, strace; and, into a file, record
//! (`tracetui record`), perf, trace-cmd, sysdig. `TRACETUI_BIN` is another tracetui to measure, and `TRACETUI_OTHER` one for the
//! tool `other`, which records too. With `cost` it
//! prints the time per run of each program of tracetui according to the kernel (bpftool prog show,
//! kernel.bpf_stats_enabled=1). With `calls` it prints the nanoseconds that tracetui adds to a system call that makes no
//! event, for several choices of kinds.
//!
//! Only ratios within one run are meaningful, because the baselines of two runs differ. Each round therefore has its
//! own untraced storm as the baseline of the traced ones.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "for whoever runs it")]

use std::error::Error;
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const TRACETUI: &str = env!("CARGO_BIN_EXE_tracetui");
/// Threads of the storm, if no number is given.
const THREADS: usize = 2;
/// What a tool that does not say when it traces needs to attach, and the time between ready and the storm.
const SETTLED: Duration = Duration::from_secs(1);
/// Longer than any tool needs to attach or to end.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["storm", storm, dir, calls, threads] => {
            Storm::named(storm)?.run(Path::new(dir), calls.parse()?, threads.parse()?)
        }
        ["execs", rest @ ..] => compare(&Options::read(Storm::Execs, rest)?),
        ["cost", rest @ ..] => cost(&Options::read(Storm::Opens, rest)?),
        ["calls", rest @ ..] => calls(&Options::read(Storm::Opens, rest)?),
        rest => compare(&Options::read(Storm::Opens, rest)?),
    }
}

/// What is done while the tools trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storm {
    /// Opens, half of which fail.
    Opens,
    /// Processes that execute a program that does nothing.
    Execs,
}

impl Storm {
    fn name(self) -> &'static str {
        match self {
            Storm::Opens => "opens",
            Storm::Execs => "execs",
        }
    }

    fn named(name: &str) -> Result<Storm> {
        [Storm::Opens, Storm::Execs]
            .into_iter()
            .find(|storm| storm.name() == name)
            .ok_or_else(|| "no such storm".into())
    }

    /// Calls per thread, if none are given.
    fn calls(self) -> usize {
        match self {
            Storm::Opens => 100_000,
            Storm::Execs => 1_000,
        }
    }

    /// The tools that run if none are named. strace takes a hundred times as long for opens, so it runs only on request.
    fn tools(self) -> &'static [Tool] {
        match self {
            Storm::Opens => &[Tool::Tracetui, Tool::Bpftrace, Tool::Opensnoop],
            Storm::Execs => &[
                Tool::Tracetui,
                Tool::KindExec,
                Tool::Bpftrace,
                Tool::Execsnoop,
                Tool::PerfTrace,
                Tool::Tracexec,
                Tool::Strace,
            ],
        }
    }

    /// The program of bpftrace.
    fn bpftrace(self) -> &'static str {
        match self {
            Storm::Opens => r#"tracepoint:syscalls:sys_enter_openat { printf("%s %s\n", comm, str(args->filename)); }"#,
            Storm::Execs => r#"tracepoint:sched:sched_process_exec { printf("%s %s\n", comm, str(args->filename)); }"#,
        }
    }

    /// The system call, for tools that trace system calls.
    fn call(self) -> &'static str {
        match self {
            Storm::Opens => "openat",
            Storm::Execs => "execve",
        }
    }

    /// Makes a call that a tool shows with the name of a path.
    fn probe(self, path: &Path) {
        match self {
            Storm::Opens => drop(File::open(path)),
            Storm::Execs => {
                let _ = std::os::unix::fs::symlink(TRUE, path);
                let _ = Command::new(path).status();
            }
        }
    }

    /// Runs in each thread, and prints the duration in nanoseconds.
    fn run(self, dir: &Path, calls: usize, threads: usize) -> Result<()> {
        let path = |name: String| CString::new(dir.join(name).into_os_string().into_encoded_bytes()).expect("no NUL");
        let start = std::sync::Barrier::new(threads + 1);
        let took = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads)
                .map(|thread| {
                    let paths = ["there", "missing"].map(|name| path(format!("{name}{thread}")));
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        match self {
                            Storm::Opens => open_all(&paths, calls),
                            Storm::Execs => exec_all(calls),
                        }
                    })
                })
                .collect();
            start.wait();
            let began = Instant::now();
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
            began.elapsed()
        });
        println!("{}", took.as_nanos());
        Ok(())
    }
}

/// The program that the storm of execs executes.
const TRUE: &str = "/bin/true";

/// The options of the command line.
struct Options {
    storm: Storm,
    rounds: usize,
    calls: usize,
    threads: usize,
    tools: Vec<Tool>,
}

impl Options {
    fn read(storm: Storm, words: &[&str]) -> Result<Options> {
        let tools = storm.tools().to_vec();
        let mut options = Options { storm, rounds: 5, calls: storm.calls(), threads: THREADS, tools };
        for pair in words.chunks(2) {
            match pair {
                ["--rounds", n] => options.rounds = n.parse()?,
                ["--calls", n] => options.calls = n.parse()?,
                ["--threads", n] => options.threads = n.parse()?,
                ["--tools", names] => options.tools = names.split(',').map(Tool::named).collect::<Result<_>>()?,
                other => return Err(format!("not understood: {}", other.join(" ")).into()),
            }
        }
        Ok(options)
    }
}

/// A tracer to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Tracetui,
    /// `tracetui print --kind exec`.
    KindExec,
    Bpftrace,
    Opensnoop,
    Execsnoop,
    PerfTrace,
    /// By ptrace.
    Tracexec,
    Strace,
    /// `tracetui record`.
    Record,
    /// The same with another binary.
    Other,
    Perf,
    TraceCmd,
    Sysdig,
}

impl Tool {
    const ALL: [Tool; 13] = [
        Tool::Tracetui,
        Tool::KindExec,
        Tool::Bpftrace,
        Tool::Opensnoop,
        Tool::Execsnoop,
        Tool::PerfTrace,
        Tool::Tracexec,
        Tool::Strace,
        Tool::Record,
        Tool::Other,
        Tool::Perf,
        Tool::TraceCmd,
        Tool::Sysdig,
    ];

    fn name(self) -> &'static str {
        match self {
            Tool::Tracetui => "tracetui",
            Tool::KindExec => "kind-exec",
            Tool::Bpftrace => "bpftrace",
            Tool::Opensnoop => "opensnoop",
            Tool::Execsnoop => "execsnoop",
            Tool::PerfTrace => "perf-trace",
            Tool::Tracexec => "tracexec",
            Tool::Strace => "strace",
            Tool::Record => "record",
            Tool::Other => "other",
            Tool::Perf => "perf",
            Tool::TraceCmd => "trace-cmd",
            Tool::Sysdig => "sysdig",
        }
    }

    /// Whether it writes a file of its own, which no line tells of.
    fn records(self) -> bool {
        matches!(self, Tool::Record | Tool::Other | Tool::Perf | Tool::TraceCmd | Tool::Sysdig)
    }

    fn named(name: &str) -> Result<Tool> {
        Tool::ALL.into_iter().find(|tool| tool.name() == name).ok_or_else(|| format!("no tool {name}").into())
    }

    /// The path of the installed program, under one of its names.
    fn program(self) -> Option<PathBuf> {
        let names: &[&str] = match self {
            Tool::Tracetui | Tool::KindExec | Tool::Record => {
                return Some(std::env::var_os("TRACETUI_BIN").unwrap_or_else(|| TRACETUI.into()).into());
            }
            Tool::Other => return std::env::var_os("TRACETUI_OTHER").map(PathBuf::from),
            Tool::Perf | Tool::PerfTrace => &["perf"],
            Tool::TraceCmd => &["trace-cmd"],
            Tool::Sysdig => &["sysdig"],
            Tool::Bpftrace => &["bpftrace"],
            Tool::Opensnoop => &["opensnoop", "libbpf-opensnoop", "opensnoop-libbpf", "opensnoop-bpfcc"],
            Tool::Execsnoop => &["execsnoop", "libbpf-execsnoop", "execsnoop-libbpf", "execsnoop-bpfcc"],
            Tool::Tracexec => &["tracexec"],
            Tool::Strace => &["strace"],
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places: Vec<PathBuf> =
            std::env::split_paths(&path).chain(["/usr/sbin", "/usr/share/bcc/tools"].map(PathBuf::from)).collect();
        names.iter().flat_map(|name| places.iter().map(move |place| place.join(name))).find(|program| program.is_file())
    }
}

/// Opens two files in turn, of which the second does not exist, and closes the first.
fn open_all([there, missing]: &[CString; 2], opens: usize) {
    for _ in 0..opens / 2 {
        // SAFETY: the paths are C strings that outlive the calls. Each descriptor is closed only once, right after its
        // open.
        unsafe {
            let fd = libc::openat(libc::AT_FDCWD, there.as_ptr(), libc::O_RDONLY);
            assert!(fd >= 0, "the file is there");
            libc::close(fd);
            libc::openat(libc::AT_FDCWD, missing.as_ptr(), libc::O_RDONLY);
        }
    }
}

/// Starts processes one after the other.
fn exec_all(execs: usize) {
    for _ in 0..execs {
        assert!(Command::new(TRUE).status().is_ok_and(|status| status.success()), "{TRUE} is executed");
    }
}

/// A directory with the storm's files and the output of the tools.
struct Place(PathBuf);

impl Place {
    fn new(threads: usize) -> Result<Place> {
        let dir = std::env::temp_dir().join(format!("tracetui-peers-{}", std::process::id()));
        fs::create_dir(&dir)?;
        (0..threads).try_for_each(|thread| File::create(dir.join(format!("there{thread}"))).map(drop))?;
        Ok(Place(dir))
    }

    fn output(&self) -> PathBuf {
        self.0.join("output")
    }

    /// The file of a tool that writes one.
    fn file(&self) -> PathBuf {
        self.0.join("file")
    }

    /// Runs the storm as a separate process.
    fn storm(&self, options: &Options) -> Result<Duration> {
        self.storm_under(Command::new(std::env::current_exe()?), options)
    }

    /// Runs the storm by a command that ends with the path of this program.
    fn storm_under(&self, mut command: Command, options: &Options) -> Result<Duration> {
        command.args(["storm", options.storm.name()]).arg(&self.0);
        let output = command.args([options.calls.to_string(), options.threads.to_string()]).output()?;
        if !output.status.success() {
            return Err(format!("the storm failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(Duration::from_nanos(String::from_utf8(output.stdout)?.trim().parse()?))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running tracer.
struct Running {
    child: Child,
    tool: Tool,
    ready_after: Duration,
    /// CPU time until the storm.
    start_cpu: Duration,
    output: PathBuf,
    errors: PathBuf,
}

/// The results of a round under a tool.
#[derive(Default, Clone)]
struct Measured {
    storm: Duration,
    ready_after: Duration,
    /// User and system time of the tracer from the storm on.
    cpu: Duration,
    rss_anon_kib: u64,
    delivered: Option<u64>,
    lost: Option<u64>,
}

impl Running {
    fn start(tool: Tool, program: &Path, place: &Place, storm: Storm) -> Result<Running> {
        Running::start_with(tool, program, place, storm, &[])
    }

    /// Starts a tool with more arguments.
    fn start_with(tool: Tool, program: &Path, place: &Place, storm: Storm, more: &[&str]) -> Result<Running> {
        let traced = format!("syscalls:sys_enter_{}", storm.call());
        let (output, errors) = (place.output(), place.0.join("errors"));
        let mut command = Command::new(program);
        match tool {
            Tool::Tracetui => command.args(["print", "--format", "json"]),
            Tool::KindExec => command.args(["print", "--format", "json", "--kind", "exec"]),
            Tool::Bpftrace => command.args(["-e", storm.bpftrace()]),
            Tool::PerfTrace => command.args(["trace", "-a", "-e", storm.call()]),
            Tool::Opensnoop | Tool::Execsnoop | Tool::Tracexec | Tool::Strace => &mut command,
            Tool::Record | Tool::Other => command.args(["record", "--force", "-o"]).arg(place.file()),
            Tool::Perf => command.args(["record", "-a", "-e", &traced, "-o"]).arg(place.file()),
            Tool::TraceCmd => command.args(["record", "-e", &traced, "-o"]).arg(place.file()),
            Tool::Sysdig => {
                command.args(["--modern-bpf", "-w"]).arg(place.file()).arg(format!("evt.type={}", storm.call()))
            }
        };
        command.args(more);
        command.stdin(Stdio::null()).stdout(File::create(&output)?).stderr(File::create(&errors)?);
        let began = Instant::now();
        let child = command.spawn()?;
        let mut running =
            Running { child, tool, ready_after: Duration::ZERO, start_cpu: Duration::ZERO, output, errors };
        running.wait_until_ready(place, storm)?;
        running.ready_after = began.elapsed();
        // What a tool does once, as tracetui's first inventory, is over then.
        std::thread::sleep(SETTLED);
        running.start_cpu = cpu_so_far(running.child.id());
        Ok(running)
    }

    /// Waits until the tool traces. tracetui reports this itself. For others, a call must appear in the output.
    fn wait_until_ready(&mut self, place: &Place, storm: Storm) -> Result<()> {
        let probe = place.0.join("are-you-ready");
        let began = Instant::now();
        loop {
            let ready = match self.tool {
                Tool::Tracetui | Tool::KindExec | Tool::Record | Tool::Other => {
                    fs::read_to_string(&self.errors)?.lines().any(|line| line.starts_with("tracing"))
                }
                // They do not say it.
                tool if tool.records() => began.elapsed() > SETTLED,
                _ => {
                    storm.probe(&probe);
                    // perf trace writes to stderr.
                    [&self.output, &self.errors]
                        .map(|file| fs::read(file).unwrap_or_default())
                        .iter()
                        .any(|text| memchr::memmem::find(text, b"are-you-ready").is_some())
                }
            };
            if ready {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("ended ({status}): {}", fs::read_to_string(&self.errors)?.trim()).into());
            }
            if began.elapsed() > PATIENCE {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return Err("does not become ready".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends the tracer with SIGINT, like Ctrl-C.
    fn end(mut self) -> Result<Measured> {
        // SAFETY: kill(2) takes integers only. The child has not been waited for, so its id is not reused.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) };
        let cpu = cpu_of(&mut self.child)?.saturating_sub(self.start_cpu);
        let account = self.account();
        let count = |key: &str| account.as_ref().and_then(|account| account["account"][key].as_u64());
        let (delivered, lost) = (count("delivered"), count("lost"));
        let (delivered, lost) = if self.tool.records() { self.recorded() } else { (delivered, lost) };
        Ok(Measured { ready_after: self.ready_after, cpu, delivered, lost, ..Measured::default() })
    }

    /// The maximum of anonymous memory until the storm was over. It is sampled rarely, because the storm uses all
    /// processors.
    fn most_rss_anon_kib(&self, over: &AtomicBool) -> u64 {
        let mut most = self.rss_anon_kib();
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
            most = most.max(self.rss_anon_kib());
        }
        most
    }

    fn rss_anon_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    }

    /// The events delivered and lost, as the account line of `record` says.
    fn recorded(&self) -> (Option<u64>, Option<u64>) {
        let errors = fs::read_to_string(&self.errors).unwrap_or_default();
        let line = errors.lines().rev().find(|line| line.starts_with("account:")).unwrap_or_default();
        let words: Vec<&str> = line.split(' ').collect();
        let after =
            |name: &str| words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1)?.parse().ok());
        (after("delivered"), after("lost"))
    }

    fn account(&self) -> Option<serde_json::Value> {
        let errors = fs::read_to_string(&self.errors).ok()?;
        serde_json::from_str(errors.lines().last()?).ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // If an error occurred, the tool must not go on tracing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The CPU time of a process so far, with that of its threads that have ended: those that load the programs take most of the
/// time until it is ready. Zero if it cannot be read.
fn cpu_so_far(pid: u32) -> Duration {
    let mut clock: libc::clockid_t = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointers are to live locals of the types that the calls write.
    let read = unsafe {
        libc::clock_getcpuclockid(pid as libc::pid_t, &raw mut clock) == 0
            && libc::clock_gettime(clock, &raw mut time) == 0
    };
    if read { Duration::new(time.tv_sec as u64, time.tv_nsec as u32) } else { Duration::ZERO }
}

/// Waits for a child, and returns its CPU time.
fn cpu_of(child: &mut Child) -> Result<Duration> {
    // SAFETY: `rusage` consists of integers, for which zero is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    let pid = child.id() as i32;
    let began = Instant::now();
    loop {
        // SAFETY: the pointers are to live locals of the types that wait4(2) writes.
        let got = unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage) };
        if got == pid {
            return Ok(duration(usage.ru_utime) + duration(usage.ru_stime));
        }
        if got < 0 || began.elapsed() > PATIENCE {
            return Err("it does not end".into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
}

/// Runs the storm under a tool.
fn under(tool: Tool, program: &Path, place: &Place, options: &Options) -> Result<Measured> {
    if matches!(tool, Tool::Strace | Tool::Tracexec) {
        return started_by(tool, program, place, options);
    }
    let running = Running::start(tool, program, place, options.storm)?;
    let over = AtomicBool::new(false);
    let (storm, rss_anon_kib) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| running.most_rss_anon_kib(&over));
        let storm = place.storm(options);
        over.store(true, Ordering::Relaxed);
        storm.map(|storm| (storm, watch.join().expect("no panic")))
    })?;
    Ok(Measured { storm, rss_anon_kib, ..running.end()? })
}

/// Runs the storm under a tool that starts the process that it traces.
fn started_by(tool: Tool, program: &Path, place: &Place, options: &Options) -> Result<Measured> {
    let mut command = Command::new(program);
    match tool {
        Tool::Tracexec => command.args(["log", "-o"]).arg(place.output()).arg("--"),
        _ => command.args(["-f", "-e", &format!("trace={}", options.storm.call()), "-o"]).arg(place.output()),
    };
    command.arg(std::env::current_exe()?);
    Ok(Measured { storm: place.storm_under(command, options)?, ..Measured::default() })
}

/// The results of a tool.
struct Row {
    tool: Tool,
    program: PathBuf,
    rounds: Vec<Measured>,
    error: Option<String>,
}

/// Mounts tracefs for this process and its children only, if it is not mounted at the usual place. The peers need it
/// there.
fn have_tracefs() -> Result<()> {
    let at = c"/sys/kernel/tracing";
    if Path::new("/sys/kernel/tracing/events").is_dir() {
        return Ok(());
    }
    let mount = |what: &CStr, to: &CStr, flags| {
        // SAFETY: the strings are NUL-terminated and outlive the call, and mount(2) accepts null for the data.
        let ret = unsafe { libc::mount(what.as_ptr(), to.as_ptr(), what.as_ptr(), flags, std::ptr::null()) };
        if ret == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: unshare(2) takes an integer. This process has no other threads yet.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    mount(c"none", c"/", libc::MS_REC | libc::MS_PRIVATE)?;
    mount(c"tracefs", at, 0)?;
    Ok(())
}

fn compare(options: &Options) -> Result<()> {
    if let Err(error) = have_tracefs() {
        println!("no tracefs for the peers: {error}");
    }
    let place = Place::new(options.threads)?;
    let mut rows: Vec<Row> = Vec::new();
    for tool in &options.tools {
        match tool.program() {
            Some(program) => rows.push(Row { tool: *tool, program, rounds: Vec::new(), error: None }),
            None => println!("{}: not installed, not measured", tool.name()),
        }
    }
    // The first storm warms caches and clocks, and is not measured.
    place.storm(options)?;
    let mut untraced = Vec::new();
    for _ in 0..options.rounds {
        untraced.push(place.storm(options)?);
        for row in &mut rows {
            match under(row.tool, &row.program, &place, options) {
                Ok(measured) => row.rounds.push(measured),
                Err(error) => row.error = Some(error.to_string()),
            }
        }
    }
    print_table(options, &untraced, &rows);
    Ok(())
}

fn print_table(options: &Options, untraced: &[Duration], rows: &[Row]) {
    let total = options.threads * options.calls;
    let base = median(untraced.iter().map(Duration::as_secs_f64));
    let what = match options.storm {
        Storm::Opens => "opens, half of them ENOENT",
        Storm::Execs => "processes that execute /bin/true",
    };
    println!("{} threads x {} {what}; {} interleaved rounds", options.threads, options.calls, options.rounds);
    let (fastest, load) = (least(untraced.iter().copied()), fs::read_to_string("/proc/loadavg").unwrap_or_default());
    println!("untraced: median {:.1} ms, fastest {:.1} ms", base * 1e3, fastest * 1e3);
    println!("load of the machine: {} (above {} others ran too, and ratios say little)", load.trim(), options.threads);
    println!("{HEADER}");
    for row in rows {
        if row.rounds.is_empty() {
            println!("{:<10} not measured: {}", row.tool.name(), row.error.as_deref().unwrap_or("no rounds"));
            continue;
        }
        println!("{}", row.line(base, fastest, total));
    }
    compare_slowdowns(base, rows);
}

const HEADER: &str =
    "tool       storm ms  ratio  of fastest  slowdown ms  ready ms  cpu ms  us/event  RssAnon MiB  delivered      lost";

impl Row {
    fn ratio(&self, base: f64) -> f64 {
        median(self.rounds.iter().map(|m| m.storm.as_secs_f64())) / base
    }

    fn line(&self, base: f64, fastest: f64, total: usize) -> String {
        let middle = |of: fn(&Measured) -> f64| median(self.rounds.iter().map(of));
        let events = match middle(|m| m.delivered.unwrap_or(0) as f64) {
            0.0 => total as f64,
            delivered => delivered,
        };
        let storm = middle(|m| m.storm.as_secs_f64());
        let cpu = middle(|m| m.cpu.as_secs_f64());
        let counted = |of: fn(&Measured) -> Option<u64>| {
            self.rounds.iter().filter_map(of).max().map_or("not told".to_owned(), |n| n.to_string())
        };
        format!(
            "{:<10} {:>8.1} {:>6.2} {:>11.2} {:>12.1} {:>9.1} {:>7.1} {:>9.2} {:>12.1} {:>10} {:>9}",
            self.tool.name(),
            storm * 1e3,
            self.ratio(base),
            least(self.rounds.iter().map(|m| m.storm)) / fastest,
            (storm - base) * 1e3,
            middle(|m| m.ready_after.as_secs_f64()) * 1e3,
            cpu * 1e3,
            cpu * 1e6 / events,
            self.rounds.iter().map(|m| m.rss_anon_kib).max().unwrap_or(0) as f64 / 1024.0,
            counted(|m| m.delivered),
            counted(|m| m.lost),
        )
    }
}

/// Compares tracetui's slowdown with that of the others.
fn compare_slowdowns(base: f64, rows: &[Row]) {
    let measured = |row: &&Row| !row.rounds.is_empty();
    let Some(ours) = rows.iter().filter(measured).find(|row| row.tool == Tool::Tracetui) else { return };
    for row in rows.iter().filter(measured).filter(|row| row.tool != Tool::Tracetui) {
        let part = (ours.ratio(base) - 1.0) / (row.ratio(base) - 1.0);
        println!("tracetui slows the storm down by {part:.3} of what {} does", row.tool.name());
    }
}

/// The median; of an even count the lower of the two middle values.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// The minimum in seconds.
fn least(values: impl Iterator<Item = Duration>) -> f64 {
    values.min().map_or(f64::NAN, |value| value.as_secs_f64())
}

/// Enables the kernel's statistics of programs, and restores the setting when dropped.
struct Stats(String);

const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl Stats {
    fn on() -> Result<Stats> {
        let before = fs::read_to_string(STATS)?;
        fs::write(STATS, "1")?;
        Ok(Stats(before))
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        if let Err(error) = fs::write(STATS, &self.0) {
            eprintln!("{STATS} stays on: {error}");
        }
    }
}

/// Prints the time per run of each program of tracetui, according to the kernel.
fn cost(options: &Options) -> Result<()> {
    let place = Place::new(options.threads)?;
    let _stats = Stats::on()?;
    let before = programs()?;
    let running = Running::start(Tool::Tracetui, Path::new(TRACETUI), &place, options.storm)?;
    let was_there = |program: &Program| before.iter().any(|other| other.id == program.id);
    let idle = programs()?;
    place.storm(options)?;
    println!("program            runs  ns/run");
    for program in programs()?.into_iter().filter(|program| !was_there(program)) {
        let earlier = idle.iter().find(|other| other.id == program.id);
        let runs = program.runs - earlier.map_or(0, |p| p.runs);
        let ns = program.ns - earlier.map_or(0, |p| p.ns);
        println!("{:<15} {runs:>7} {:>7.0}", program.name, ns as f64 / runs.max(1) as f64);
    }
    running.end().map(drop)
}

/// A loaded program.
struct Program {
    id: u64,
    name: String,
    runs: u64,
    ns: u64,
    /// Whether it is of a type that traces.
    traces: bool,
}

fn programs() -> Result<Vec<Program>> {
    let output = Command::new("bpftool").args(["-j", "prog", "show"]).output()?;
    let list: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let number = |program: &serde_json::Value, key: &str| program[key].as_u64().unwrap_or(0);
    let program = |p: &serde_json::Value| Program {
        id: number(p, "id"),
        name: p["name"].as_str().unwrap_or("-").to_owned(),
        runs: number(p, "run_cnt"),
        ns: number(p, "run_time_ns"),
        traces: matches!(
            p["type"].as_str(),
            Some("tracing" | "tracepoint" | "raw_tracepoint" | "kprobe" | "perf_event")
        ),
    };
    Ok(list.as_array().map(|list| list.iter().map(program).collect()).unwrap_or_default())
}

/// A system call that makes no event.
#[derive(Clone, Copy)]
struct Unrelated {
    name: &'static str,
    call: fn(fd: i32),
}

/// Calls from the cheapest to one that does some work.
const UNRELATED: [Unrelated; 3] = [
    Unrelated {
        name: "getppid",
        call: |_| {
            // SAFETY: getppid(2) takes no arguments. libc's function may not be a system call each time.
            unsafe { libc::syscall(libc::SYS_getppid) };
        },
    },
    Unrelated {
        name: "lseek",
        call: |fd| {
            // SAFETY: lseek(2) takes integers only.
            unsafe { libc::lseek(fd, 0, libc::SEEK_SET) };
        },
    },
    Unrelated {
        name: "fstat",
        call: |fd| {
            let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
            // SAFETY: `stat` is writable memory of the type that fstat(2) writes.
            unsafe { libc::fstat(fd, stat.as_mut_ptr()) };
        },
    },
];

/// The choices of kinds: arguments, and the most nanoseconds that they should add to a call where system calls are
/// traced at tracepoints. Where they are traced at functions, no choice should add any.
const CHOICES: [(&[&str], f64); 4] =
    [(&["--kind", "exit"], 0.0), (&["--kind", "exec"], 50.0), (&["--kind", "open"], 50.0), (&[], 50.0)];

impl Unrelated {
    /// Nanoseconds per call: the least of many short loops. Others on the machine only add to a loop, and most loops end
    /// before the scheduler takes the processor away.
    fn time(self, fd: i32) -> f64 {
        const LOOPS: usize = 200;
        const CALLS: u32 = 2_000;
        let one = || {
            let began = Instant::now();
            (0..CALLS).for_each(|_| (self.call)(fd));
            began.elapsed()
        };
        least((0..LOOPS).map(|_| one())) * 1e9 / f64::from(CALLS)
    }
}

/// Prints the nanoseconds that each choice of kinds adds to each unrelated call. Each figure is a pair: the loop under
/// tracetui, and the same loop untraced before and after it.
fn calls(options: &Options) -> Result<()> {
    let place = Place::new(options.threads)?;
    let file = File::open(place.0.join("there0"))?;
    let time_all = || UNRELATED.map(|unrelated| unrelated.time(file.as_raw_fd()));
    let mut added = vec![vec![Vec::new(); UNRELATED.len()]; CHOICES.len()];
    let mut attached = vec![Vec::new(); CHOICES.len()];
    time_all();
    let mut before = time_all();
    let mut untraced = before;
    let mut others = Vec::new();
    for _ in 0..options.rounds {
        for (choice, (kinds, _)) in CHOICES.iter().enumerate() {
            let running = Running::start_with(Tool::Tracetui, &tracetui()?, &place, options.storm, kinds)?;
            let traced = time_all();
            attached[choice] = programs_of(&running)?;
            running.end()?;
            let after = time_all();
            others.push(programs()?.iter().filter(|program| program.traces).count());
            for call in 0..UNRELATED.len() {
                untraced[call] = untraced[call].min(after[call]);
                added[choice][call].push(traced[call] - before[call].midpoint(after[call]));
            }
            before = after;
        }
    }
    let (few, many) = (others.iter().min().unwrap_or(&0), others.iter().max().unwrap_or(&0));
    println!(
        "other programs that trace: {few} to {many} (theirs may make the untraced calls slow too, and hide what is added)"
    );
    println!("ns added to a call that makes no event: median of {} pairs, (least, most)", options.rounds);
    let cells = UNRELATED
        .iter()
        .zip(untraced)
        .map(|(unrelated, ns)| format!("{:>22}", format!("{} {ns:.0} ns", unrelated.name)));
    println!("{:<14}{}  goal", "untraced", cells.collect::<String>());
    for (choice, (kinds, goal)) in CHOICES.iter().enumerate() {
        let cells = added[choice].iter().map(|pairs| {
            let most = pairs.iter().copied().fold(f64::MIN, f64::max);
            let few = pairs.iter().copied().fold(f64::MAX, f64::min);
            format!("{:>22}", format!("{:+.0} ({few:+.0}, {most:+.0})", median(pairs.iter().copied())))
        });
        let name = if kinds.is_empty() { "all kinds".to_owned() } else { kinds.join(" ") };
        println!("{name:<14}{}  {goal:.0}  {}", cells.collect::<String>(), attached[choice].join(" "));
    }
    Ok(())
}

fn tracetui() -> Result<PathBuf> {
    Tool::Tracetui.program().ok_or_else(|| "no tracetui".into())
}

/// The names of the programs that a tracer has loaded, by the descriptors that it holds.
fn programs_of(running: &Running) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for fd in fs::read_dir(format!("/proc/{}/fdinfo", running.child.id()))? {
        let text = fs::read_to_string(fd?.path()).unwrap_or_default();
        ids.extend(text.lines().filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse::<u64>().ok()));
    }
    let mut names: Vec<_> = programs()?.into_iter().filter(|p| ids.contains(&p.id)).map(|p| p.name).collect();
    names.sort();
    Ok(names)
}
