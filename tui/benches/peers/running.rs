//! A tool that traces: its start, its output, its CPU time and its end.

use crate::tool::{Ready, Tool};
use crate::work::{Measure, Row, TRUE};
use crate::{Place, Result};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The time between ready and the workload. What a tool does once, as tracetui's first inventory, is over then.
const SETTLED: Duration = Duration::from_secs(1);
/// Longer than any tool needs to attach or to end.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Running {
    child: Child,
    tool: &'static Tool,
    execs: bool,
    dir: PathBuf,
    /// How long after its start it traced.
    pub(crate) ready_after: Duration,
    /// CPU time until the workload.
    start_cpu: Duration,
}

#[derive(Clone, Copy)]
pub(crate) struct Account {
    /// User and system time from the workload on.
    pub(crate) cpu: Duration,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
}

/// The text that a tool appends to a file.
struct Tail {
    file: File,
    text: Vec<u8>,
}

impl Tail {
    fn new(path: PathBuf) -> Result<Tail> {
        Ok(Tail { file: File::open(path)?, text: Vec::new() })
    }

    /// The text between a word and the next dot.
    fn after(&mut self, word: &str) -> Result<Option<String>> {
        self.file.read_to_end(&mut self.text)?;
        let rest = memchr::memmem::find(&self.text, word.as_bytes()).map(|at| &self.text[at + word.len()..]);
        let end = rest.and_then(|rest| memchr::memchr(b'.', rest));
        Ok(rest.zip(end).map(|(rest, end)| String::from_utf8_lossy(&rest[..end]).into_owned()))
    }
}

impl Running {
    /// Starts a tool, and waits until it traces and has settled.
    pub(crate) fn start(tool: &'static Tool, row: &Row, place: &Place) -> Result<Running> {
        let mut command = tool.command(row, place).ok_or("not installed")?;
        command.stdout(File::create(place.file("output"))?).stderr(File::create(place.file("errors"))?);
        let began = Instant::now();
        let child = command.spawn()?;
        let (execs, dir) = (tool.shows_execs(row.subject), place.0.to_path_buf());
        let zero = Duration::ZERO;
        let mut running = Running { child, tool, execs, dir, ready_after: zero, start_cpu: zero };
        running.ready_after = running.wait_until_ready(began)?;
        if !matches!(row.measure, Measure::Start) {
            std::thread::sleep(SETTLED);
        }
        running.start_cpu = running.cpu();
        Ok(running)
    }

    /// Waits until the tool traces, and returns how long that took: of a tool that shows calls, until the first that it shows.
    fn wait_until_ready(&mut self, began: Instant) -> Result<Duration> {
        let mut output = Tail::new(self.dir.join("output"))?;
        let mut calls = Vec::new();
        while began.elapsed() < PATIENCE {
            let now = began.elapsed();
            let ready = match self.tool.ready {
                Ready::Says => self.errors()?.lines().any(|line| line.starts_with("tracing")).then_some(now),
                Ready::Later | Ready::Starts => (now > SETTLED).then_some(now),
                Ready::Shows => {
                    calls.push(self.make_event(&format!("ready{}.", calls.len()))? - began);
                    output.after("/ready")?.and_then(|number| calls.get(number.parse::<usize>().ok()?).copied())
                }
            };
            if let Some(ready) = ready {
                return Ok(ready);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("ended ({status}): {}", self.errors()?.trim()).into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err("does not become ready".into())
    }

    /// Makes an event that the tool shows with the name of a file, and returns when.
    fn make_event(&self, name: &str) -> Result<Instant> {
        let path = self.dir.join(name);
        if !self.execs {
            let now = Instant::now();
            drop(File::open(path));
            return Ok(now);
        }
        if !path.is_symlink() {
            std::os::unix::fs::symlink(TRUE, &path)?;
        }
        let mut child = Command::new(path).spawn()?;
        let now = Instant::now();
        child.wait()?;
        Ok(now)
    }

    /// The time from an event until it is in the output.
    pub(crate) fn latency(&self) -> Result<Duration> {
        let mut output = Tail::new(self.dir.join("output"))?;
        output.file.read_to_end(&mut output.text)?;
        let made = self.make_event("quiet.")?;
        while made.elapsed() < PATIENCE {
            if output.after("/quiet")?.is_some() {
                return Ok(made.elapsed());
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        Err("does not show an event".into())
    }

    /// The share of a core that it takes for some time.
    pub(crate) fn idle(&self, time: Duration) -> f64 {
        std::thread::sleep(time);
        (self.cpu() - self.start_cpu).as_secs_f64() / time.as_secs_f64()
    }

    /// The CPU time so far, with that of threads that have ended: those that load the programs take most of the time until it is
    /// ready. Zero if it cannot be read.
    fn cpu(&self) -> Duration {
        let mut clock: libc::clockid_t = 0;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointers are to live locals of the types that the calls write.
        let read = unsafe {
            libc::clock_getcpuclockid(self.child.id() as libc::pid_t, &raw mut clock) == 0
                && libc::clock_gettime(clock, &raw mut time) == 0
        };
        if read { Duration::new(time.tv_sec as u64, time.tv_nsec as u32) } else { Duration::ZERO }
    }

    fn errors(&self) -> Result<String> {
        Ok(fs::read_to_string(self.dir.join("errors"))?)
    }

    /// The CPU time from the workload until the tool takes less than 2 % of a core. On a busy machine it does not.
    fn cpu_of_work(&self) -> Duration {
        let (began, step) = (Instant::now(), Duration::from_millis(100));
        loop {
            let before = self.cpu();
            std::thread::sleep(step);
            let now = self.cpu();
            if now - before < step / 50 || began.elapsed() > SETTLED {
                return now - self.start_cpu;
            }
        }
    }

    /// Ends the tool with SIGINT, like Ctrl-C.
    pub(crate) fn end(mut self) -> Result<Option<Account>> {
        let cpu = self.cpu_of_work();
        // SAFETY: kill(2) takes integers only. The child has not been waited for, so its id is not reused.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) };
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                return Err("does not end".into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let errors = self.errors()?;
        let line = errors.lines().rfind(|line| line.contains("account")).unwrap_or_default();
        let counts = number_after(line, "delivered").zip(number_after(line, "lost"));
        Ok(counts.map(|(delivered, lost)| Account { cpu, delivered, lost }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // If an error occurred, the tool must not go on tracing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number_after(line: &str, word: &str) -> Option<u64> {
    let rest = line.split_once(word)?.1.trim_start_matches(['"', ':', ' ']);
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
