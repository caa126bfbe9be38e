//! Whether the machine is too busy for figures.

use crate::{Result, programs};
use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// The most CPU time in use by others, in per cent of all.
const MOST: f64 = 10.0;

/// What makes figures on this machine unreliable. It takes a second.
pub(crate) fn reasons() -> Result<Vec<String>> {
    let (before, earlier) = (Cpus::read()?, processes());
    std::thread::sleep(Duration::from_secs(1));
    let (after, later) = (Cpus::read()?, processes());
    let used = 100.0 - 100.0 * (after.idle - before.idle) / (after.all - before.all).max(1.0);
    let mut reasons = Vec::new();
    if used > MOST {
        let most = later.iter().map(|(who, ticks)| (ticks.saturating_sub(*earlier.get(who).unwrap_or(&0)), who)).max();
        let who = most.filter(|(ticks, _)| *ticks > 0).map_or("no process of this machine", |(_, who)| who);
        reasons.push(format!("{used:.0} % of the CPU time is in use (at most {MOST} % here), most by {who}"));
    }
    let tracers = tracers()?;
    if !tracers.is_empty() {
        reasons.push(format!("other tracers run at every system call: {}", tracers.join(", ")));
    }
    Ok(reasons)
}

struct Cpus {
    idle: f64,
    all: f64,
}

impl Cpus {
    fn read() -> Result<Cpus> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        // user, nice, system, idle, iowait, irq, softirq, steal. Guests count as user.
        let times: Vec<f64> = line.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
        Ok(Cpus { idle: times.iter().skip(3).take(2).sum(), all: times.iter().sum() })
    }
}

fn processes() -> HashMap<String, u64> {
    let stat = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (name, rest) = text.rsplit_once(") ")?;
        let (pid, comm) = name.split_once(" (")?;
        let times = rest.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().unwrap_or(0));
        Some((format!("{comm}[{pid}]"), times.sum()))
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(stat).collect()
}

/// The holders of BPF programs at tracepoints of system calls.
fn tracers() -> Result<Vec<String>> {
    let at_calls = |program: &serde_json::Value| {
        let targets = program["attached"].as_array().into_iter().flatten().filter_map(|place| place["target"].as_str());
        targets.into_iter().any(|target| target.contains("sys_enter") || target.contains("sys_exit"))
    };
    let holder = |program: &serde_json::Value| {
        let holders = program["held_by"].as_array().into_iter().flatten();
        let who = holders.filter_map(|by| Some(format!("{}[{}]", by["comm"].as_str()?, by["pid"].as_u64()?))).next();
        who.unwrap_or_else(|| format!("program {}", program["id"]))
    };
    let mut tracers: Vec<String> = programs()?.iter().filter(|program| at_calls(program)).map(holder).collect();
    tracers.sort();
    tracers.dedup();
    Ok(tracers)
}
