//! The dashboard on a terminal of 160x45 while the machine works: its CPU time, that of its probes, and how long a key takes to be on
//! the screen. As root, on an idle machine: `cargo bench --bench live`, or some rates: `-- 1000 50000`. `TRACETUI_BIN` is another
//! tracetui to measure, and `LIVE_SECONDS` the time per row.

#![allow(clippy::print_stdout, reason = "for whoever runs it")]

#[path = "../tests/pty/mod.rs"]
mod pty;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::tcsetwinsize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two keys, so that each finds another moment of a frame.
const KEYS_APART: Duration = Duration::from_millis(61);
/// What each view needs: its keys.
const VIEWS: [(&str, &str); 5] =
    [("calm", "1"), ("without strip", "1v"), ("all opens", "1vO"), ("tree", "1O2"), ("top", "3")];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [word, rate] = &args[..]
        && word == "work"
    {
        return work(rate.parse().expect("a rate"));
    }
    let mut rates: Vec<u32> = args.iter().map(|rate| rate.parse().expect("a rate")).collect();
    if rates.is_empty() {
        rates = vec![1_000, 50_000];
    }
    let stats = fs::read_to_string(STATS).expect("root");
    fs::write(STATS, "1").expect("root");
    println!(
        "{:>8} {:<14} {:>9} {:>6} {:>8}  key ms: p50   p99  most",
        "events/s", "view", "runs/s", "own %", "probes %"
    );
    for rate in rates {
        let mut screen = Screen::start();
        let mut load = Command::new(std::env::current_exe().expect("this"))
            .args(["work", &rate.to_string()])
            .spawn()
            .expect("it starts");
        for (view, keys) in VIEWS {
            screen.send(keys);
            screen.take_for(Duration::from_secs(2));
            let measured = screen.measure();
            println!("{rate:>8} {view:<14} {measured}");
        }
        load.kill().expect("it runs");
        load.wait().expect("it ends");
        screen.send("q");
        screen.child.wait().expect("it ends");
    }
    fs::write(STATS, stats).expect("root");
}

/// Makes opens at a rate, and with them up to a hundred processes a second.
fn work(rate: u32) {
    const STEP: Duration = Duration::from_millis(10);
    let files = fs::read_dir("/etc").expect("a directory").flatten().filter(|entry| entry.path().is_file());
    let files: Vec<_> = files.map(|entry| entry.path()).collect();
    let (began, mut at, mut execs) = (Instant::now(), 0, 0);
    for step in 1.. {
        for _ in 0..rate / 100 {
            at += 1;
            // Some of the files do not exist.
            drop(if at % 100 == 0 {
                File::open(format!("/etc/none-{}", at % 7919))
            } else {
                File::open(&files[at % files.len()])
            });
        }
        execs += rate.min(10_000) as usize;
        if execs >= 10_000 {
            execs -= 10_000;
            Command::new("/bin/true").status().expect("it runs");
        }
        std::thread::sleep((STEP * step).saturating_sub(began.elapsed()));
    }
}

struct Screen {
    child: Child,
    ours: File,
    screen: vt100::Parser,
}

impl Screen {
    fn start() -> Screen {
        let program = std::env::var_os("TRACETUI_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tracetui").into());
        let mut command = Command::new(program);
        let (ours, theirs) = pty::give(&mut command);
        tcsetwinsize(&theirs, pty::size(160, 45)).expect("a size");
        command.args(["--no-config"]);
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
        pty::lead_session(&mut command);
        let child = command.spawn().expect("it starts");
        let mut screen = Screen { child, ours: ours.into(), screen: vt100::Parser::new(cells(45), cells(160), 0) };
        screen.until(|text| text.contains(" LIVE "));
        screen.take_for(Duration::from_secs(3));
        screen
    }

    fn send(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    fn take(&mut self, wait: Duration) {
        let timeout = Timespec::try_from(wait).expect("a short time");
        let mut entry = [PollFd::new(&self.ours, PollFlags::IN)];
        if poll(&mut entry, Some(&timeout)) == Ok(1) {
            let mut bytes = vec![0; 1 << 16];
            let count = self.ours.read(&mut bytes).unwrap_or(0);
            self.screen.process(&bytes[..count]);
        }
    }

    fn take_for(&mut self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            self.take(time.saturating_sub(began.elapsed()));
        }
    }

    /// Waits until the screen has a text, and returns how long that took.
    fn until(&mut self, done: impl Fn(&str) -> bool) -> Duration {
        let began = Instant::now();
        while !done(&self.screen.screen().contents()) {
            self.take(Duration::from_millis(100));
            assert!(began.elapsed() < PATIENCE, "{}", self.screen.screen().contents());
        }
        began.elapsed()
    }

    /// The shares of a core of tracetui and of its probes, and the time of keys: first without keys, then with them.
    fn measure(&mut self) -> String {
        let time = std::env::var("LIVE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(15);
        let time = Duration::from_secs(time);
        let (own, probes, runs) = self.spent();
        self.take_for(time);
        let (own_after, probes_after, runs_after) = self.spent();
        let share = |spent: Duration| 100.0 * spent.as_secs_f64() / time.as_secs_f64();
        let mut keys: Vec<Duration> = Vec::new();
        while keys.len() < 100 {
            self.take_for(KEYS_APART);
            self.send("?");
            keys.push(self.until(|text| text.contains("Selected row")));
            self.take_for(KEYS_APART);
            self.send("?");
            keys.push(self.until(|text| !text.contains("Selected row")));
        }
        keys.sort();
        let key = |of: usize| keys[keys.len() * of / 100].as_secs_f64() * 1e3;
        format!(
            "{:>9.0} {:>6.1} {:>8.1}  {:>11.1} {:>5.1} {:>5.1}",
            (runs_after - runs) as f64 / time.as_secs_f64(),
            share(own_after - own),
            share(probes_after - probes),
            key(50),
            key(99),
            keys[keys.len() - 1].as_secs_f64() * 1e3
        )
    }

    /// The CPU time of tracetui and its processes, and that of its probes with their runs.
    fn spent(&self) -> (Duration, Duration, u64) {
        let (mut ticks, mut programs) = (0, BTreeMap::new());
        for pid in family(self.child.id()) {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let times = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').skip(11).take(2);
            ticks += times.map(|text| text.parse::<u64>().unwrap_or(0)).sum::<u64>();
            for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten() {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                let value = |name: &str| {
                    let line = text.lines().find(|line| line.starts_with(name))?;
                    line.rsplit('\t').next()?.parse::<u64>().ok()
                };
                if let (Some(id), Some(ns), Some(runs)) = (value("prog_id"), value("run_time_ns"), value("run_cnt")) {
                    programs.insert(id, (ns, runs));
                }
            }
        }
        let sum = |of: fn(&(u64, u64)) -> u64| programs.values().map(of).sum();
        let own = Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second() as u64);
        (own, Duration::from_nanos(sum(|of| of.0)), sum(|of| of.1))
    }
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("some")
}

fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for thread in threads {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|pid| pid.parse().ok()).flat_map(family));
    }
    all
}
