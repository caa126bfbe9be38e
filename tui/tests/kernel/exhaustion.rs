//! Long traces and large events do not fill the memory, and data that is dropped for this reason is reported.

use crate::prelude::*;
use std::sync::atomic::Ordering::SeqCst;

/// The size of an argument in bytes, slightly less than the kernel's limit (`MAX_ARG_STRLEN`, 32 pages).
const ARGUMENT: usize = 131_000;

/// Runs a program `times` times, each time with nearly 2 MiB of arguments.
fn execute(times: usize) {
    let argument = "a".repeat(ARGUMENT);
    let mut long = Command::new("/bin/true");
    long.args((0..15).map(|_| &argument)).env_clear();
    for _ in 0..times {
        assert!(long.status().expect("2 MiB of arguments are allowed").success());
    }
}

fn anonymous(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("since 4.5");
    let kib: u64 = line.trim_end_matches("kB").trim().parse().expect("a number");
    kib << 10
}

#[test]
fn long_arguments_do_not_fill_the_memory() {
    let times = if emulated() { 100 } else { 2_000 };
    // The kernel side cannot evaluate this filter, so every exec reaches tracetui. No exec passes, so no gigabytes of
    // lines are written.
    let args = ["--kind", "exec", "--ring-size", "64MiB", "--filter", "pid=0 or tid=0"];
    let Some(traced) = Traced::start_into(Stdio::null(), &args) else { return };
    execute(times / 10);
    let early = anonymous(traced.pid());
    execute(times / 10 * 9);
    let late = anonymous(traced.pid());
    let account = traced.stop().account();
    let execs = &account["kinds"]["exec"];
    println!("{} KiB after a tenth, {} KiB after all: {account}", early >> 10, late >> 10);
    let arrived = n(&execs["filtered"]);
    assert!(arrived + n(&execs["lost"]["ring"]) >= times as u64, "{account}");
    assert!(arrived >= times as u64 / 2, "most of them arrive: {account}");
    // If it were kept, each exec would take 2 MiB. The limit allows for more queued and spare batches than at the first
    // measurement.
    assert!(late < early + (64 << 20), "{early} bytes after a tenth, {late} after all");
}

#[test]
fn a_forgotten_cgroup_is_found_again_and_that_is_said() {
    // With so little memory there is room for about 300 paths.
    const MANY: usize = 500;
    let Some(first) = Cgroup::new("tracetui-many") else {
        return cannot_run("no cgroup v2 hierarchy");
    };
    let rest: Vec<_> = (0..MANY).filter_map(|i| Cgroup::new(&format!("tracetui-many-{i}"))).collect();
    assert_eq!(rest.len(), MANY);
    let shared = Shared::new();
    let mut actor = Actor::new(|| {
        first.enter();
        sys::open_path("/nowhere/before");
        shared.at(0).store(1, SeqCst);
        sys::wait_until(|| shared.at(1).load(SeqCst) != 0);
        // A fork, an exec or an exit causes the path of a cgroup to be sent.
        sys::wait(fork(|| ()));
        std::thread::sleep(Duration::from_millis(300));
        vec![sys::open_path("/nowhere/again")]
    });
    let args = ["--cgroup", "/tracetui-many*", "--kind", "open", "--memory", "1MiB"];
    let Some(traced) = Traced::start(&args) else { return };
    actor.go();
    sys::wait_until(|| shared.at(0).load(SeqCst) != 0);
    for cgroup in &rest {
        let child = fork(|| {
            cgroup.enter();
            sys::wait(fork(|| ()));
        });
        sys::wait(child);
    }
    std::thread::sleep(Duration::from_millis(300));
    shared.at(1).store(1, SeqCst);
    let (status, _) = actor.end();
    assert_eq!(status.code(), Some(0));
    let run = traced.stop();
    let account = run.check_sums();
    let again = run.lines().find(|e| e["path"] == "/nowhere/again").unwrap_or_else(|| panic!("it is seen: {account}"));
    assert_eq!(again["cgroup"], format!("/tracetui-many-{}", sys::pid()), "{again}");
    assert!(n(&account["cgroups_evicted"]) > 0, "{account}");
    assert!(run.stderr.iter().any(|line| line.contains("cgroups were evicted")), "{:?}", run.stderr);
}
