//! The inspector: a process of its own, whose end or halt the trace survives and reports.

use crate::bpf::{BPF_PROG_TYPE_RAW_TRACEPOINT, link_id, program, raw_tracepoint_open};
use crate::prelude::*;

const PATIENCE: Duration = Duration::from_secs(60);
/// How long the end of a trace may take, whatever the inspector does: it is killed after 10 s.
fn end() -> Duration {
    Duration::from_secs(if emulated() { 60 } else { 40 })
}

fn line(pid: i32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}

pub(crate) fn inspector_of(tracer: i32) -> Option<i32> {
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| {
        let is = |name, value: &str| line(*pid, name).is_some_and(|found| found == value);
        is("PPid:", &tracer.to_string()) && is("Name:", "inspector")
    })
}

fn start() -> Option<(Traced, i32)> {
    let traced = Traced::start(&["--kind", "open,bpf"])?;
    let inspector = inspector_of(traced.pid()).expect("it has one");
    std::thread::sleep(Duration::from_secs(1));
    Some((traced, inspector))
}

fn end_after_an_open(traced: Traced) -> Run {
    let dir = Dir::new();
    let path = dir.at("missing");
    sys::open_path(&path);
    let began = Instant::now();
    let run = traced.stop();
    assert!(began.elapsed() < end(), "{:?}", began.elapsed());
    run.check();
    run.open(sys::pid(), &path);
    run
}

/// Checks that the trace said once that its inventories are incomplete, and why.
#[track_caller]
fn check_said(run: &Run, why: &str) {
    let said = run.stderr.iter().filter(|line| line.starts_with("BPF inventory incomplete: later programs"));
    let said: Vec<&String> = said.collect();
    assert!(said.len() == 1 && said[0].ends_with(why), "{:?}", run.stderr);
}

fn waits_for(mut what: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !what() {
        if began.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

#[test]
fn a_trace_continues_without_its_inspector() {
    for pause in [1000, 0] {
        let Some((traced, inspector)) = start() else { return };
        sys::kill(inspector, libc::SIGKILL);
        std::thread::sleep(Duration::from_millis(pause));
        check_said(&end_after_an_open(traced), "the inspector was ended by signal 9");
    }
}

/// Nobody gets its id before the end of the trace, whose own events are not shown.
#[test]
fn the_id_of_an_inspector_that_ended_stays_taken() {
    alone();
    type Way = (&'static str, fn(i32));
    let ways: [Way; 3] = [
        ("SIGKILL", |pid| sys::kill(pid, libc::SIGKILL)),
        // As without memory.
        ("abort", |pid| sys::kill(pid, libc::SIGABRT)),
        ("a wrong instruction", |pid| sys::kill(pid, libc::SIGILL)),
    ];
    // Also where the shell ignores SIGCHLD, as the kernel reaps then.
    for (ignored, (way, end)) in [false, true].into_iter().flat_map(|ignored| ways.map(|way| (ignored, way))) {
        sys::signal(libc::SIGCHLD, if ignored { libc::SIG_IGN } else { libc::SIG_DFL });
        let started = start();
        sys::signal(libc::SIGCHLD, libc::SIG_DFL);
        let Some((traced, inspector)) = started else { return };
        end(inspector);
        let is_zombie = || line(inspector, "State:").is_some_and(|state| state.starts_with('Z'));
        assert!(waits_for(is_zombie), "{way}, ignored: {ignored}");
        let taken = sys::fork_with_id(inspector, || {});
        let is_refused = matches!(taken, Err(libc::EEXIST | libc::ENOSYS | libc::EPERM));
        assert!(is_refused, "{way}, ignored: {ignored}: {taken:?}");
        end_after_an_open(traced);
        assert!(waits_for(|| line(inspector, "State:").is_none()), "{way}: it is reaped with the trace");
    }
}

#[test]
fn a_stopped_inspector_does_not_hold_up_the_end() {
    let Some((traced, inspector)) = start() else { return };
    sys::kill(inspector, libc::SIGSTOP);
    check_said(&end_after_an_open(traced), "the inspector did not answer for 10 s at the end, and was killed");
    assert!(waits_for(|| line(inspector, "Name:").is_none()));
}

/// It continues where it was.
#[test]
fn an_inspector_that_was_stopped_for_a_while_reports_what_it_missed() {
    let Some((traced, inspector)) = start() else { return };
    sys::kill(inspector, libc::SIGSTOP);
    std::thread::sleep(Duration::from_secs(1));
    sys::kill(inspector, libc::SIGCONT);
    let run = end_after_an_open(traced);
    assert!(!run.stderr.iter().any(|line| line.contains("inspector")), "{:?}", run.stderr);
}

fn limit_descriptors(pid: i32, most: u64) {
    set_limit(pid, libc::RLIMIT_NOFILE as i32, libc::rlimit64 { rlim_cur: most, rlim_max: 4096 });
}

/// Sets a limit of a process, as a process of the same user, which needs no capability for it.
fn set_limit(pid: i32, resource: i32, limit: libc::rlimit64) {
    let ids = |name| line(pid, name).and_then(|ids| ids.split('\t').next()?.parse::<u32>().ok()).expect("a number");
    let (uid, gid) = (ids("Uid:"), ids("Gid:"));
    let child = fork(|| {
        // SAFETY: takes numbers, and a structure that outlives the call.
        unsafe {
            assert_eq!((libc::setresgid(gid, gid, gid), libc::setresuid(uid, uid, uid)), (0, 0));
            let set = libc::prlimit64(pid, resource as _, &raw const limit, std::ptr::null_mut());
            assert_eq!(set, 0, "prlimit: {}", std::io::Error::last_os_error());
        }
    });
    assert_eq!(sys::wait(child).code(), Some(0));
}

#[test]
fn an_inspector_without_descriptors_ends_no_attachment() {
    let Some((mut traced, inspector)) = start() else { return };
    let link = || {
        let program = program(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_unread");
        sys::owned(raw_tracepoint_open(&program, "sched_process_exit"))
    };
    let first = link();
    // It is in an inventory.
    traced.output().wait_for_inventory();
    limit_descriptors(inspector, 8);
    let second = link();
    assert!(waits_for(|| traced.says("BPF inventory incomplete: links: ")));
    std::thread::sleep(Duration::from_secs(1));
    limit_descriptors(inspector, 4096);
    let ids = [&first, &second].map(link_id);
    let counts = |lines: &[u8]| {
        let all = lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        let all: Vec<Value> = all.filter(|event| ids.iter().any(|id| event["attach"]["link_id"] == *id)).collect();
        ["attach", "detach"].map(|op| all.iter().filter(|event| event["op"] == op).count())
    };
    assert_eq!(counts(&fs::read(traced.output()).expect("the output")), [2, 0], "both are held");
    drop((first, second));
    assert!(waits_for(|| counts(&fs::read(traced.output()).expect("the output")) == [2, 2]), "both have ended");
    traced.stop().check();
}

#[test]
fn the_inspector_ends_with_its_trace() {
    for stopped in [false, true] {
        let Some((traced, inspector)) = start() else { return };
        if stopped {
            sys::kill(inspector, libc::SIGSTOP);
        }
        traced.signal(libc::SIGKILL);
        assert!(waits_for(|| line(inspector, "Name:").is_none_or(|name| name != "inspector")), "stopped: {stopped}");
    }
}

#[test]
fn only_a_trace_of_bpf_programs_has_an_inspector() {
    let sys_admin = 1u64 << 21;
    for (kinds, has_one, opener) in [("bpf,tcp", true, false), ("exec,open", false, false), ("tcp", false, true)] {
        let Some(traced) = Traced::start(&["--kind", kinds]) else { return };
        assert_eq!(inspector_of(traced.pid()).is_some(), has_one, "{kinds}");
        // Without an inspector, sockets in other network namespaces are opened by a thread.
        let is_able = |task: fs::DirEntry| {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let held = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).unwrap_or_default();
            let opens_rings = status.starts_with("Name:\tstreams\n");
            !opens_rings && u64::from_str_radix(held.trim(), 16).is_ok_and(|held| held & sys_admin != 0)
        };
        let tasks = || fs::read_dir(format!("/proc/{}/task", traced.pid())).expect("it runs").flatten();
        // A thread that just started may still have the capabilities of the one that started it.
        sys::wait_until(|| tasks().any(is_able) == opener);
        traced.stop().check();
    }
}

#[test]
fn the_memory_of_the_inspector_has_a_limit() {
    let Some((traced, inspector)) = start() else { return };
    let limits = fs::read_to_string(format!("/proc/{inspector}/limits")).expect("it runs");
    let data = limits.lines().find(|line| line.starts_with("Max data size")).expect("a line");
    let numbers: Vec<&str> = data.split_whitespace().filter(|word| word.parse::<u64>().is_ok()).collect();
    assert_eq!(numbers, ["268435456"; 2], "{data}");
    traced.stop().check();
}
