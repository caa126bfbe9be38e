//! The ends of processes, compared with the status from waitpid(2).

use crate::sys::{self, Actor, Status, c, fork};
use crate::traced::{Dir, Run, Traced, alone, emulated, n, not_checked};
use crate::trees::Cgroup;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};

/// `SIGRTMIN+3` as kill(1) counts. The number is fixed because C libraries reserve different signals for themselves.
const REAL_TIME: i32 = 37;

/// Ends the calling thread only.
fn exit_thread(code: i32) -> ! {
    // SAFETY: exit(2) takes an integer, and ends only the calling thread.
    unsafe { libc::syscall(libc::SYS_exit, code) };
    unreachable!("exit does not return");
}

/// Ends the process immediately.
fn exit_process(code: i32) -> ! {
    // SAFETY: _exit takes an integer and runs no code of this process.
    unsafe { libc::_exit(code) }
}

/// A process that was watched: its id, its status, and the time from before its fork to its end.
pub(crate) struct Ended {
    pub(crate) pid: i32,
    pub(crate) status: Status,
    pub(crate) within: Duration,
}

pub(crate) fn watch(act: impl FnOnce() -> Vec<i64>) -> Ended {
    let began = Instant::now();
    let mut actor = Actor::new(act);
    actor.go();
    let pid = actor.pid;
    let (status, _) = actor.end();
    Ended { pid, status, within: began.elapsed() }
}

/// Checks that the only exit event of a process matches the status from waitpid.
pub(crate) fn check_exit(run: &Run, ended: &Ended) -> Value {
    let exit = run.one("exit", ended.pid, |_| true);
    assert_eq!(exit["exit_code"].as_i64().map(|c| c as i32), ended.status.code(), "{exit}");
    assert_eq!(exit["signal"].as_str().map(number_of), ended.status.signal(), "{exit}");
    assert_eq!(exit["core"], ended.status.core(), "{exit}");
    assert_eq!(exit["tid"], ended.pid, "{exit}");
    let lived = n(&exit["dur_ns"]);
    assert_eq!(lived, n(&exit["ns"]) - n(&exit["start_ns"]), "{exit}");
    assert!(u128::from(lived) <= ended.within.as_nanos(), "{exit} within {:?}", ended.within);
    exit
}

fn number_of(signal: &str) -> i32 {
    let known = [
        ("SIGKILL", libc::SIGKILL),
        ("SIGSEGV", libc::SIGSEGV),
        ("SIGABRT", libc::SIGABRT),
        ("SIGTERM", libc::SIGTERM),
        ("SIGALRM", libc::SIGALRM),
        ("SIGPIPE", libc::SIGPIPE),
        ("SIGUSR1", libc::SIGUSR1),
        ("SIGXCPU", libc::SIGXCPU),
        ("SIGXFSZ", libc::SIGXFSZ),
        ("SIGBUS", libc::SIGBUS),
        ("SIGSYS", libc::SIGSYS),
        ("SIGRTMIN+3", REAL_TIME),
    ];
    known.iter().find(|(name, _)| *name == signal).unwrap_or_else(|| panic!("a signal: {signal}")).1
}

#[test]
fn exit_codes_are_those_of_wait() {
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "exit"]) else { return };
    let codes = [0, 1, 42, 255, 256, -1];
    let ended = codes.map(|code| watch(move || exit_process(code)));
    let run = traced.stop();
    run.check();
    for (ended, code) in ended.iter().zip(codes) {
        assert_eq!(check_exit(&run, ended)["exit_code"], code & 0xff);
    }
}

#[test]
fn signals_and_core_dumps_are_those_of_wait() {
    let _alone = alone();
    let dir = Dir::new();
    let Some(traced) = Traced::start(&["--kind", "exit"]) else { return };
    let by = |signal: i32| {
        let place = c(dir.at(""));
        watch(move || {
            let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
            // SAFETY: the path is a C string and `limit` a valid rlimit; both outlive the calls. The signal ends this
            // child.
            unsafe {
                libc::chdir(place.as_ptr());
                libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
            vec![]
        })
    };
    let ended = [libc::SIGKILL, libc::SIGSEGV, libc::SIGABRT, libc::SIGTERM].map(by);
    let run = traced.stop();
    run.check();
    for ended in &ended {
        assert!(ended.status.signal().is_some(), "the child itself: {:?}", ended.status);
        check_exit(&run, ended);
    }
    println!("SIGSEGV dumped a core: {}", ended[1].status.core());
}

#[test]
fn a_leader_that_ends_before_its_thread_ends_no_process() {
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "exit"]) else { return };
    let ended = watch(|| {
        sys::set_comm(b"the leader");
        std::thread::spawn(|| {
            sys::set_comm(b"the last one");
            std::thread::sleep(Duration::from_millis(60));
            exit_thread(5);
        });
        exit_thread(7)
    });
    let run = traced.stop();
    run.check();
    let exit = check_exit(&run, &ended);
    assert_eq!(exit["comm"], "the leader", "{exit}");
    assert!(n(&exit["dur_ns"]) >= 60_000_000, "it lived until its last thread ended: {exit}");
}

#[test]
fn threads_that_end_are_no_exits() {
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "exec,exit,fork"]) else { return };
    let ended = watch(|| {
        let threads: Vec<_> = (0..20).map(|i| std::thread::spawn(move || i)).collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    let run = traced.stop();
    run.check();
    check_exit(&run, &ended);
    assert_eq!(run.kind_of("fork", ended.pid), Vec::<Value>::new(), "threads are no processes");
}

#[test]
fn all_threads_ending_at_once_make_one_exit() {
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "exit"]) else { return };
    let race = || {
        watch(|| {
            for _ in 0..4 {
                std::thread::spawn(|| exit_thread(3));
            }
            exit_thread(4)
        })
    };
    let ended: Vec<Ended> = (0..50).map(|_| race()).collect();
    let run = traced.stop();
    run.check();
    ended.iter().for_each(|ended| {
        check_exit(&run, ended);
    });
}

#[test]
fn a_process_ended_from_outside_says_so() {
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "exit"]) else { return };
    let began = Instant::now();
    let signals = [libc::SIGKILL, libc::SIGTERM, REAL_TIME];
    let ended = signals.map(|signal| {
        let actor = Actor::new(Vec::new);
        let pid = actor.pid;
        sys::kill(pid, signal);
        let (status, _) = actor.end();
        Ended { pid, status, within: began.elapsed() }
    });
    let run = traced.stop();
    run.check();
    ended.iter().for_each(|ended| {
        check_exit(&run, ended);
    });
}

#[test]
fn an_exec_by_a_thread_that_is_not_the_leader_keeps_the_process() {
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "exec,exit,fork"]) else { return };
    let (mut tids, tids_in) = std::io::pipe().expect("a pipe");
    let ended = watch(move || {
        std::thread::spawn(move || {
            use std::io::Write as _;
            (&tids_in).write_all(&sys::tid().to_le_bytes()).expect("the test listens");
            let path = c("/bin/sh");
            let args = [c("sh"), c("-c"), c("exit 9")];
            let argv = [args[0].as_ptr(), args[1].as_ptr(), args[2].as_ptr(), std::ptr::null()];
            // SAFETY: the path and the arguments are C strings, the list ends with null, and all outlive the call.
            unsafe { libc::execv(path.as_ptr(), argv.as_ptr()) };
        });
        loop {
            std::thread::park();
        }
    });
    let mut tid = [0; 4];
    std::io::Read::read_exact(&mut tids, &mut tid).expect("the thread's id");
    let tid = i32::from_le_bytes(tid);
    let run = traced.stop();
    run.check();
    assert_eq!(ended.status.code(), Some(9));
    let exit = check_exit(&run, &ended);
    let exec = run.one("exec", ended.pid, |_| true);
    assert_ne!(tid, ended.pid);
    assert_eq!(exec["old_tid"], tid, "{exec}");
    assert_eq!(exec["tid"], ended.pid, "{exec}");
    assert_eq!(exec["start_ns"], exit["start_ns"], "the same process: {exec} {exit}");
    assert_eq!(exec["argv"], serde_json::json!(["sh", "-c", "exit 9"]));
}

#[test]
fn an_exec_by_the_leader_has_no_other_thread() {
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "exec,exit"]) else { return };
    let began = Instant::now();
    let mut child = std::process::Command::new("/bin/sleep").arg("0.05").spawn().expect("a child");
    child.wait().expect("a status");
    let ended = Ended { pid: child.id() as i32, status: Status(0), within: began.elapsed() };
    let run = traced.stop();
    run.check();
    assert_eq!(run.one("exec", ended.pid, |_| true)["old_tid"], Value::Null);
    let exit = check_exit(&run, &ended);
    assert!(n(&exit["dur_ns"]) >= 50_000_000, "{exit}");
    assert_eq!(exit["comm"], "sleep");
}

/// A memory cgroup of the v1 or the v2 hierarchy. `None` if there is no such hierarchy, or no cgroup can be created in it.
fn limited_to(bytes: u64) -> Option<Cgroup> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let [_, place, fstype, options, ..] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let limit = match fstype {
            "cgroup" if options.split(',').any(|option| option == "memory") => "memory.limit_in_bytes",
            "cgroup2" => "memory.max",
            _ => return None,
        };
        let memory = Cgroup::at(format!("{place}/tracetui-{}", sys::pid()))?;
        std::fs::write(format!("{}/{limit}", memory.0), bytes.to_string()).ok()?;
        Some(memory)
    })
}

/// Several processes have the same id one after the other while other processes run. Each starts and ends once.
#[test]
fn processes_that_reuse_an_id_are_distinguished() {
    let _alone = alone();
    const TIMES: i32 = 400;
    let Some(traced) = Traced::start(&["--kind", "fork,exit"]) else { return };
    let mut crowd = Actor::new(|| {
        (0..TIMES * 2).for_each(|_| {
            sys::wait(fork(|| ()));
        });
        vec![]
    });
    crowd.go();
    let statuses = Actor::new(|| {
        let first = fork(|| ());
        let first_status = sys::wait(first);
        let mut told = vec![i64::from(first), i64::from(first_status.0)];
        for time in 0..TIMES {
            match sys::fork_with_id(first, || exit_process(time % 100)) {
                Ok(child) => told.push(i64::from(sys::wait(child).0)),
                // Another process has the id.
                Err(libc::EEXIST) => {}
                Err(error) => return vec![-i64::from(error)],
            }
        }
        told
    })
    .run();
    crowd.end();
    let run = traced.stop();
    let account = run.check();
    if let [error] = statuses[..] {
        let error = std::io::Error::from_raw_os_error(-error as i32);
        return not_checked(&format!("reused process ids: clone3 with set_tid: {error}"));
    }
    let pid = statuses[0];
    let ends: Vec<Value> = run.lines().filter(|e| e["kind"] == "exit" && e["pid"] == pid).collect();
    let codes: Vec<i64> = ends.iter().map(|e| e["exit_code"].as_i64().expect("not killed") << 8).collect();
    // A process of the crowd may also have had the id.
    let mut missing = statuses[1..].to_vec();
    for code in &codes {
        if let Some(at) = missing.iter().position(|status| status == code) {
            missing.remove(at);
        }
    }
    assert_eq!(missing, Vec::<i64>::new(), "every end is told: {account}");
    let starts = |key: &str, events: Vec<Value>| -> BTreeSet<u64> { events.iter().map(|e| n(&e[key])).collect() };
    let begun: Vec<Value> = run.lines().filter(|e| e["kind"] == "fork" && e["child_pid"] == pid).collect();
    assert_eq!(begun.len(), ends.len(), "each has a start and an end: {account}");
    assert_eq!(starts("child_start_ns", begun), starts("start_ns", ends), "of the same processes: {account}");
    // The kernels of some virtual machines run no program at a tracepoint while process 1 is current, which then forks unseen.
    let forked = starts("child_start_ns", run.lines().filter(|e| e["kind"] == "fork").collect());
    let since = run.lines().map(|e| n(&e["ns"])).min().unwrap_or(0);
    let unseen = |start: u64| start > since && !forked.contains(&start);
    let of_init = |e: &Value| e["kind"] == "exit" && e["ppid"] == 1 && unseen(n(&e["start_ns"]));
    let of_init = run.lines().filter(of_init).count() as u64;
    for (word, count) in account["pairing"].as_object().expect("an object") {
        let most = if word == "unpaired_exit" { of_init } else { 0 };
        assert!(n(count) <= most, "{word}: {account}");
    }
}

#[test]
fn a_process_that_runs_out_of_memory_is_killed() {
    let _alone = alone();
    let Some(memory) = limited_to(16 << 20) else {
        return crate::traced::cannot_run("a memory cgroup cannot be created");
    };
    let Some(traced) = Traced::start(&["--kind", "exit"]) else { return };
    let procs = format!("{}/cgroup.procs", memory.0);
    let ended = watch(move || {
        std::fs::write(procs, "0").expect("a process may move itself");
        let pages = (64 << 20) / sys::page();
        let memory = sys::Pages::new(pages, 0);
        (0..pages).for_each(|page| _ = memory.put(page * sys::page(), b"x"));
        vec![]
    });
    let run = traced.stop();
    run.check();
    if ended.status.code() == Some(0) {
        return crate::traced::cannot_run("the memory cgroup has no effect");
    }
    assert_eq!(ended.status, Status(libc::SIGKILL), "the kernel ended it");
    assert_eq!(check_exit(&run, &ended)["killed_by"]["cause"], "oom");
}

/// Uses the CPU for a time.
fn compute(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::black_box((0..1000).sum::<u64>());
    }
}

/// wait4(2): CPU time in microseconds, the largest resident set in bytes, blocks of 512 bytes in and out.
fn wait4(pid: i32) -> (i64, [u64; 3]) {
    // SAFETY: zeros are a valid `rusage`, which outlives the call.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::wait4(pid, std::ptr::null_mut(), 0, &raw mut used), pid);
        used
    };
    let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    let counts = [used.ru_maxrss << 10, used.ru_inblock, used.ru_oublock];
    (micros(used.ru_utime) + micros(used.ru_stime), counts.map(|count| count as u64))
}

/// What processes of several kinds used. The time of wait4(2) includes the end of the exit.
#[test]
fn costs_are_those_of_wait4() {
    let _alone = alone();
    let dir = Dir::new();
    let Some(traced) = Traced::start(&["--kind", "exit"]) else { return };
    let processes = if emulated() { 60 } else { 2_000 };
    let used: Vec<_> = (0..processes)
        .map(|i| {
            let (time, path) = (Duration::from_micros(i * 37 % 2_000), dir.at("out"));
            let child = fork(move || match i % 6 {
                0 => _ = std::hint::black_box(vec![1u8; 16 << 20]),
                1 => {
                    let work: Vec<_> = (0..6).map(|_| std::thread::spawn(move || compute(time / 4))).collect();
                    // The other half ends with all threads at once.
                    if i % 12 == 1 {
                        work.into_iter().for_each(|thread| thread.join().expect("it ends"));
                    }
                }
                2 => {
                    let mut file = std::fs::File::create(path).expect("a file");
                    file.write_all(&[1; 200 << 10]).expect("room");
                    file.sync_all().expect("a disk");
                }
                _ => compute(time),
            });
            (child, wait4(child))
        })
        .collect();
    let run = traced.stop();
    run.check();
    let exits: BTreeMap<i32, Value> =
        run.lines().filter(|e| e["kind"] == "exit").map(|e| (n(&e["pid"]) as i32, e)).collect();
    let (mut short, mut sums) = (Vec::new(), [0, 0]);
    for (pid, (micros, counts)) in used {
        let exit = &exits[&pid];
        let blocks = |name: &str| n(&exit[name]) / 512;
        assert_eq!([n(&exit["max_rss_bytes"]), blocks("read_bytes"), blocks("written_bytes")], counts, "{exit}");
        let ours = (n(&exit["cpu_user_ns"]) + n(&exit["cpu_system_ns"])) as i64 / 1_000;
        short.push(micros - ours);
        sums = [sums[0] + ours, sums[1] + micros];
    }
    short.sort_unstable();
    let at = |percent: usize| short[(short.len() - 1) * percent / 100];
    println!("less than wait4 by {} to {} us, median {}, of 99 % {}; sums {sums:?}", at(0), at(100), at(50), at(99));
    // A tick is at most 10 ms.
    assert!(at(0) > -10_000, "more than wait4 by {} us", -at(0));
    if !emulated() {
        assert!(at(5) > -1_000, "{} us", at(5));
    }
    assert!(sums[0] * 10 > sums[1] * 7, "{sums:?}");
}
