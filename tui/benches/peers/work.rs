//! The rows of the table, and their workloads, which run in a process of their own.

use crate::Result;
use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::time::Instant;

/// What a tool that can choose traces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Opens,
    Execs,
    /// Opens, execs, exits and connects.
    All,
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) subject: Subject,
    pub(crate) measure: Measure,
}

/// What the cells of a row show.
pub(crate) enum Measure {
    /// Traced time divided by untraced time.
    Slowdown(Work),
    /// Nanoseconds added to a call that makes no event.
    Added,
    /// CPU of the tracer while nothing happens, in per cent of a core.
    Idle,
    /// Milliseconds until the tool traces.
    Start,
    /// Milliseconds until an event after a quiet second is in the output.
    Latency,
}

#[derive(Clone, Copy)]
pub(crate) struct Work {
    act: fn(&Path, usize, u32) -> Result<()>,
    /// Calls per thread.
    calls: u32,
    threads: usize,
}

/// The most threads of a workload.
pub(crate) const THREADS: usize = 2;

const fn storm(name: &'static str, title: &'static str, calls: u32, threads: usize) -> Row {
    let measure = Measure::Slowdown(Work { act: open_all, calls, threads });
    Row { name, title, subject: Subject::Opens, measure }
}

const fn any(name: &'static str, title: &'static str, measure: Measure) -> Row {
    Row { name, title, subject: Subject::All, measure }
}

pub(crate) const ROWS: [Row; 9] = [
    storm("opens1", "opens, 1 thread", 100_000, 1),
    storm("opens2", "opens, 2 threads", 100_000, 2),
    storm("burst", "burst of 50,000 opens", 50_000, 1),
    Row {
        subject: Subject::Execs,
        ..any("execs", "execs, 2 threads", Measure::Slowdown(Work { act: exec_all, calls: 200, threads: 2 }))
    },
    any("configure", "configure", Measure::Slowdown(Work { act: configure, calls: 1, threads: 1 })),
    any("getppid", "getppid, ns added", Measure::Added),
    any("idle", "idle, % of a core", Measure::Idle),
    any("start", "start, ms", Measure::Start),
    any("latency", "latency, ms", Measure::Latency),
];

impl Row {
    /// The most rounds: other figures vary less, or take long.
    pub(crate) fn rounds(&self) -> usize {
        match self.measure {
            Measure::Slowdown(_) => usize::MAX,
            Measure::Idle => 1,
            _ => 3,
        }
    }
}

/// Does a part of a row's calls, and prints the nanoseconds per call.
pub(crate) fn child(row: &str, dir: &Path, part: &str) -> Result<()> {
    let row = ROWS.iter().find(|one| one.name == row).ok_or("no such row")?;
    let part: u32 = part.parse()?;
    let ns = match &row.measure {
        Measure::Slowdown(work) => work.run(dir, (work.calls / part).max(1))?,
        Measure::Added => getppid(LOOPS / part),
        _ => return Err("not a workload".into()),
    };
    println!("{ns}");
    Ok(())
}

impl Work {
    fn run(self, dir: &Path, calls: u32) -> Result<f64> {
        let start = Barrier::new(self.threads + 1);
        std::thread::scope(|scope| {
            let act = |thread| {
                start.wait();
                (self.act)(dir, thread, calls).map_err(|error| error.to_string())
            };
            let threads: Vec<_> = (0..self.threads).map(|thread| scope.spawn(move || act(thread))).collect();
            start.wait();
            let began = Instant::now();
            threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))?;
            Ok(began.elapsed().as_nanos() as f64 / f64::from(calls))
        })
    }
}

/// Opens two files in turn, of which the second does not exist, and closes the first.
fn open_all(dir: &Path, thread: usize, opens: u32) -> Result<()> {
    let path = |name| CString::new(dir.join(format!("{name}{thread}")).into_os_string().into_encoded_bytes());
    let (there, missing) = (path("there")?, path("missing")?);
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
    Ok(())
}

/// The program that the storm of execs executes.
pub(crate) const TRUE: &str = "/bin/true";

fn exec_all(_: &Path, _: usize, execs: u32) -> Result<()> {
    (0..execs).try_for_each(|_| Ok(Command::new(TRUE).status().map(drop)?))
}

fn configure(dir: &Path, _: usize, _: u32) -> Result<()> {
    let build = dir.join(format!("build{}", std::process::id()));
    fs::create_dir(&build)?;
    let mut command = Command::new("sh");
    // Some refuse to run as root otherwise.
    command.arg(dir.join("source/configure")).current_dir(build).env("FORCE_UNSAFE_CONFIGURE", "1");
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(errors.lines().last().unwrap_or("it failed").into()) }
}

/// Loops of calls that are timed.
const LOOPS: u32 = 200;

/// Nanoseconds per call of getppid: the least of many short loops. Others on the machine only add to a loop, and most loops end
/// before the scheduler takes the processor away.
fn getppid(loops: u32) -> f64 {
    const CALLS: u32 = 2_000;
    let one = |_| {
        let began = Instant::now();
        for _ in 0..CALLS {
            // SAFETY: getppid(2) takes no arguments. libc's function may not be a system call each time.
            unsafe { libc::syscall(libc::SYS_getppid) };
        }
        began.elapsed()
    };
    (0..loops).map(one).min().unwrap_or_default().as_nanos() as f64 / f64::from(CALLS)
}
