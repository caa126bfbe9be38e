//! The ends of processes, compared with the status from waitpid(2).

use crate::prelude::*;

/// `SIGRTMIN+3` as kill(1) counts. The number is fixed because C libraries reserve different signals for themselves.
const REAL_TIME: i32 = 37;

fn exit_thread(code: i32) -> ! {
    call(libc::SYS_exit, &[code as u64]);
    unreachable!("exit does not return");
}

pub(crate) const EXITS: [&str; 2] = ["--kind", "exec,exit,fork"];

#[test]
fn ends_are_those_of_wait() {
    check(&EXITS, ENDS);
}

const ENDS: &[Case] = &[
    ("codes", |_| {
        let told = [0, 1, 42, 255, 256, -1].map(|code| {
            let ended = watch(|| sys::exit(code));
            assert_eq!(ended.status.code(), Some(code & 0xff));
            ended.told()
        });
        Ok(told.to_vec())
    }),
    ("signals", |dir| {
        let told = [libc::SIGKILL, libc::SIGSEGV, libc::SIGABRT, libc::SIGTERM].map(|signal| {
            let ended = watch(|| {
                std::env::set_current_dir(dir.path()).expect("a directory");
                setrlimit(Resource::Core, Rlimit { current: None, maximum: None }).expect("root may");
                sys::signal(signal, libc::SIG_DFL);
                sys::kill(sys::pid(), signal);
            });
            assert!(ended.status.signal().is_some(), "the child itself: {:?}", ended.status);
            ended.told()
        });
        Ok(told.to_vec())
    }),
    ("leader first", |_| {
        let ended = watch(|| {
            sys::set_comm(b"the leader");
            std::thread::spawn(|| {
                sys::set_comm(b"the last one");
                std::thread::sleep(Duration::from_millis(60));
                exit_thread(5);
            });
            exit_thread(7)
        });
        // It lived until its last thread ended.
        Ok(vec![with(ended.lived_at_least(60), json!({"comm": "the leader"}))])
    }),
    ("threads", |_| {
        let ended = watch(|| {
            let threads: Vec<_> = (0..20).map(|i| std::thread::spawn(move || i)).collect();
            threads.into_iter().for_each(|t| _ = t.join().expect("no panic"));
        });
        // They are no processes.
        Ok(vec![none("fork", ended.pid), ended.told()])
    }),
    ("all at once", |_| {
        let race = || {
            let ended = watch(|| {
                for _ in 0..4 {
                    std::thread::spawn(|| exit_thread(3));
                }
                exit_thread(4)
            });
            ended.told()
        };
        Ok((0..50).map(|_| race()).collect())
    }),
    ("from outside", |_| {
        let told = [libc::SIGKILL, libc::SIGTERM, REAL_TIME].map(|signal| {
            let began = Instant::now();
            let pid = fork(|| wait_for_ever());
            sys::kill(pid, signal);
            Ended { pid, status: sys::wait(pid), within: began.elapsed() }.told()
        });
        Ok(told.to_vec())
    }),
    // An exec by a thread that is not the leader keeps the process.
    ("thread execs", |_| {
        let (mut tids, tids_in) = std::io::pipe().expect("a pipe");
        let ended = watch(|| {
            std::thread::spawn(move || {
                (&tids_in).write_all(&sys::tid().to_le_bytes()).expect("the test listens");
                become_program("/bin/sh", &["sh", "-c", "exit 9"]);
            });
            wait_for_ever()
        });
        let mut tid = [0; 4];
        tids.read_exact(&mut tid).expect("the thread's id");
        let tid = i32::from_le_bytes(tid);
        assert_eq!(ended.status.code(), Some(9));
        assert_ne!(tid, ended.pid);
        let exec = json!({"old_tid": tid, "tid": ended.pid, "argv": ["sh", "-c", "exit 9"]});
        Ok(vec![event("exec", ended.pid, exec), ended.told()])
    }),
    ("leader execs", |_| {
        let began = Instant::now();
        let pid = sys::run_program(Command::new("/bin/sleep").arg("0.05"));
        let ended = Ended { pid, status: Status(0), within: began.elapsed() };
        let exec = event("exec", ended.pid, json!({"old_tid": null}));
        Ok(vec![exec, with(ended.lived_at_least(50), json!({"comm": "sleep"}))])
    }),
    ("out of memory", |_| {
        let memory = limited_to(16 << 20).ok_or("a memory cgroup cannot be created")?;
        let ended = watch(|| {
            memory.enter();
            let pages = (64 << 20) / sys::page();
            let memory = sys::Pages::new(pages, 0);
            (0..pages).for_each(|page| _ = memory.put(page * sys::page(), b"x"));
        });
        if ended.status.code() == Some(0) {
            return Err("the memory cgroup has no effect".to_owned());
        }
        assert_eq!(ended.status, Status(libc::SIGKILL), "the kernel ended it");
        Ok(vec![with(ended.told(), json!({"killed_by": {"cause": "oom"}}))])
    }),
];

pub(crate) struct Ended {
    pub(crate) pid: i32,
    pub(crate) status: Status,
    pub(crate) within: Duration,
}

pub(crate) fn watch(act: impl FnOnce()) -> Ended {
    let began = Instant::now();
    let pid = fork(act);
    Ended { pid, status: sys::wait(pid), within: began.elapsed() }
}

impl Ended {
    pub(crate) fn told(&self) -> Value {
        let signal = self.status.signal().map(name_of);
        let exit = json!({
            "exit_code": self.status.code(), "signal": signal, "core": self.status.core(), "tid": self.pid,
            "dur_ns": {"?le": self.within.as_nanos() as u64},
        });
        event("exit", self.pid, exit)
    }

    fn lived_at_least(&self, ms: u64) -> Value {
        let mut told = self.told();
        told["dur_ns"]["?ge"] = (ms * 1_000_000).into();
        told
    }
}

fn name_of(signal: i32) -> &'static str {
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
    known.iter().find(|(_, number)| *number == signal).unwrap_or_else(|| panic!("a signal: {signal}")).0
}

pub(crate) fn wait_for_ever() -> ! {
    loop {
        // SAFETY: pause(2) has no arguments.
        unsafe { libc::pause() };
    }
}

/// A memory cgroup of the v1 or the v2 hierarchy. `None` if there is no such hierarchy, or no cgroup can be created in it.
fn limited_to(bytes: u64) -> Option<Cgroup> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let [_, place, fstype, options, ..] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let limit = match fstype {
            "cgroup" if options.split(',').any(|option| option == "memory") => "memory.limit_in_bytes",
            "cgroup2" => "memory.max",
            _ => return None,
        };
        let memory = Cgroup::at(format!("{place}/tracetui-{}", sys::pid()))?;
        fs::write(format!("{}/{limit}", memory.0), bytes.to_string()).ok()?;
        Some(memory)
    })
}

/// Several processes have the same id one after the other while other processes run. Each starts and ends once.
#[test]
fn processes_that_reuse_an_id_are_distinguished() {
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
            match sys::fork_with_id(first, || sys::exit(time % 100)) {
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
    let (run, account) = traced.stop_with_account();
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

/// What processes of several kinds used. The time of wait4(2) includes the end of the exit, which is long on a busy machine; the time
/// that a process reads before its exit does not.
#[test]
fn costs_are_those_of_wait4() {
    let dir = Dir::alone();
    let Some(traced) = Traced::start(&["--kind", "exit"]) else { return };
    let processes = if emulated() { 60 } else { 2_000 };
    let used: Vec<_> = (0..processes)
        .map(|i| {
            let (time, path) = (Duration::from_micros(i * 37 % 2_000), dir.at("out"));
            let (mut before, end) = std::io::pipe().expect("a pipe");
            let act = move || match i % 6 {
                0 => _ = std::hint::black_box(vec![1u8; 16 << 20]),
                1 => {
                    let work: Vec<_> = (0..6).map(|_| std::thread::spawn(move || compute(time / 4))).collect();
                    // The other half ends with all threads at once.
                    if i % 12 == 1 {
                        work.into_iter().for_each(|thread| thread.join().expect("it ends"));
                    }
                }
                // Blocks count when their pages become dirty, so nothing waits for the disk.
                2 => fs::write(path, vec![1; 200 << 10]).expect("room"),
                _ => compute(time),
            };
            let child = fork(move || {
                act();
                let micros = sys::clock(libc::CLOCK_PROCESS_CPUTIME_ID) / 1_000;
                (&end).write_all(&micros.to_le_bytes()).expect("the test listens");
            });
            let mut micros = [0; 8];
            before.read_exact(&mut micros).expect("its time");
            (child, i64::from_le_bytes(micros), wait4(child))
        })
        .collect();
    let run = traced.stop_and_check();
    let exits: BTreeMap<i32, Value> =
        run.lines().filter(|e| e["kind"] == "exit").map(|e| (n(&e["pid"]) as i32, e)).collect();
    let (mut short, mut sums, mut missing) = (Vec::new(), [0, 0], 0);
    for (i, (pid, before, (micros, counts))) in used.into_iter().enumerate() {
        let exit = &exits[&pid];
        // The probe gives up if another CPU, which the host may have stopped, is adding a thread to the sums.
        if i % 12 == 7 && exit["cpu_user_ns_why"] == "not_collected" {
            missing += 1;
            continue;
        }
        let blocks = |name: &str| n(&exit[name]) / 512;
        assert_eq!([n(&exit["max_rss_bytes"]), blocks("read_bytes"), blocks("written_bytes")], counts, "{exit}");
        let ours = (n(&exit["cpu_user_ns"]) + n(&exit["cpu_system_ns"])) as i64 / 1_000;
        short.push(micros - ours);
        sums = [sums[0] + ours, sums[1] + before];
    }
    assert!(missing <= 3, "{missing} without costs");
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
