//! The senders of signals that end processes, compared with what the cases sent.

use crate::confine::{ptrace, request};
use crate::exits::{EXITS, Ended, wait_for_ever, watch};
use crate::prelude::*;
use crate::sys::wait;

#[test]
fn signals_that_end_processes_have_their_sender_and_cause() {
    check(&EXITS, KILLED);
}

const KILLED: &[Case] = &[
    ("senders", senders),
    ("second sender", second_sender),
    ("init ends", |_| {
        // The kernel kills its namespace. Its child set no signal.
        let ids = Shared::new();
        let maker = fork(|| {
            sys::unshare(libc::CLONE_NEWPID);
            let init = fork(|| _ = prey(|| ids.at(0).store(host_pid(), Ordering::SeqCst)));
            ids.at(1).store(init as u64, Ordering::SeqCst);
            wait(init);
        });
        wait(maker);
        let [child, init] = [0, 1].map(|at| ids.at(at).load(Ordering::SeqCst));
        Ok(vec![killed(child as i32, json!({"pid": init, "cause": "kill"}))])
    }),
    ("parent ends", |_| {
        let ids = Shared::new();
        // The orphan becomes a child of this process.
        sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
        let parent = fork(|| {
            prey(|| {
                sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                ids.at(0).store(host_pid(), Ordering::SeqCst);
            });
        });
        wait(parent);
        let child = ids.at(0).load(Ordering::SeqCst) as i32;
        wait(child);
        Ok(vec![killed(child, json!({"pid": parent, "cause": "kill"}))])
    }),
    ("fault", |_| {
        by_kernel("fault", || {
            // SAFETY: the read faults, which ends this child.
            unsafe { std::ptr::read_volatile(std::ptr::without_provenance::<u8>(8)) };
        })
    }),
    ("abort", |_| by_kernel("kill", || std::process::abort())),
    ("file size", |dir| {
        let path = dir.at("file");
        by_kernel("limit", || {
            limit(Resource::Fsize, 10);
            let file = File::create(&path).expect("a file");
            for _ in 0..2 {
                let _ = (&file).write(&[0; 10]);
            }
        })
    }),
    ("CPU time", |_| {
        by_kernel("limit", || {
            limit(Resource::Cpu, 1);
            // The hard limit ends this child.
            sys::signal(libc::SIGXCPU, libc::SIG_IGN);
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(60) {}
        })
    }),
    ("seccomp", |_| {
        by_kernel("seccomp", || {
            // The next call but read, write, exit and sigreturn ends this child.
            sys::prctl(libc::PR_SET_SECCOMP, 1);
            call(libc::SYS_getpid, &[]);
        })
    }),
    ("pipe", |_| {
        by_kernel("other", || {
            let (end, other) = std::io::pipe().expect("a pipe");
            drop(end);
            sys::signal(libc::SIGPIPE, libc::SIG_DFL);
            let _ = (&other).write(&[0]);
        })
    }),
    ("alarm", |_| {
        by_kernel("other", || {
            // SAFETY: alarm(2) takes an integer.
            unsafe { libc::alarm(1) };
            wait_for_ever();
        })
    }),
    ("tracer", made_by_a_tracer),
    // Which of two queued signals ended it is known, or nothing is.
    ("queued", |_| {
        let signal = libc::SIGRTMIN();
        let held = prey(|| block(signal, libc::SIG_BLOCK));
        let senders: Vec<i32> = (0..2).map(|_| fork(|| sys::kill(held, signal))).collect();
        senders.iter().for_each(|sender| _ = wait(*sender));
        sys::kill(held, libc::SIGKILL);
        wait(held);
        let both = fork(|| {
            block(signal, libc::SIG_BLOCK);
            let own = sys::pid();
            (0..2).for_each(|_| _ = wait(fork(|| sys::kill(own, signal))));
            block(signal, libc::SIG_UNBLOCK);
        });
        wait(both);
        let unknown = json!({"killed_by": null, "killed_by_why": "not_collected"});
        Ok(vec![killed(held, by(sys::pid(), "queued")), event("exit", both, unknown)])
    }),
    ("forged", |_| {
        // A SIGSYS like that of a filter, which the process has not.
        let pid = fork(|| {
            let mut info = [0u32; 32];
            (info[0], info[2]) = (libc::SIGSYS as u32, 1);
            call(libc::SYS_rt_sigqueueinfo, &[sys::pid() as u64, libc::SIGSYS as u64, info.as_ptr() as u64]);
        });
        wait(pid);
        Ok(vec![event("exit", pid, json!({"killed_by": null, "killed_by_why": "not_collected"}))])
    }),
    ("crowded out", crowded_out),
    ("file", |_| [0, libc::SIGKILL, libc::SIGUSR1].into_iter().map(made_by_a_file).collect()),
];

fn killed(pid: i32, by: Value) -> Value {
    event("exit", pid, json!({"killed_by": by, "killed_by_why": absent()}))
}

fn killed_by_this(pid: i32) -> Value {
    killed(pid, by(sys::pid(), "senders"))
}

fn by(pid: i32, comm: &str) -> Value {
    json!({"?whole": {"pid": pid, "comm": comm, "uid": 0, "cause": "kill"}})
}

fn by_kernel(cause: &str, act: impl FnOnce()) -> Told {
    let ended = watch(act);
    let sender = (cause == "kill").then_some(ended.pid);
    Ok(vec![with(ended.told(), json!({"killed_by": {"cause": cause, "pid": sender}}))])
}

/// The id of this process in the namespace of the test.
fn host_pid() -> u64 {
    let own = fs::read_link("/proc/self").expect("procfs");
    own.to_str().and_then(|pid| pid.parse().ok()).expect("a number")
}

fn limit(resource: Resource, most: u64) {
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).expect("a lower limit");
}

/// A child that does something, and waits for the signal that ends it.
fn prey(act: impl FnOnce()) -> i32 {
    let (mut ready, set) = std::io::pipe().expect("a pipe");
    let pid = fork(|| {
        act();
        drop(set);
        wait_for_ever()
    });
    // The parent's end is closed, so this ends when the child has done it.
    assert_eq!(ready.read(&mut [0]).expect("a pipe"), 0);
    pid
}

fn block(signal: i32, how: i32) {
    // SAFETY: the set is initialized, and outlives the calls.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::sigprocmask(how, &raw const set, std::ptr::null_mut());
    }
}

fn senders(_: &Dir) -> Told {
    let thread = || {
        std::thread::spawn(|| wait_for_ever());
    };
    let handles = || sys::signal(libc::SIGTERM, sys::nothing());
    let killed = |pid: i32, signals: &[i32]| {
        for signal in signals {
            sys::kill(pid, *signal);
            std::thread::sleep(Duration::from_millis(20));
        }
        wait(pid);
        killed_by_this(pid)
    };
    let mut told = vec![
        killed(prey(|| ()), &[libc::SIGKILL]),
        killed(prey(thread), &[libc::SIGTERM]),
        killed(prey(handles), &[libc::SIGTERM, libc::SIGUSR1]),
        killed(prey(|| block(libc::SIGTERM, libc::SIG_BLOCK)), &[libc::SIGTERM, libc::SIGKILL]),
        killed(prey(|| ()), &[libc::SIGWINCH, libc::SIGURG, libc::SIGALRM]),
    ];
    // It is blocked when it is sent, and ends the process when it is no longer blocked.
    let shared = Shared::new();
    let (turn, begins) =
        (shared.at(0), |turn| wait_for(|| (shared.at(0).load(Ordering::SeqCst) == turn).then_some(())));
    let late = fork(|| {
        block(libc::SIGTERM, libc::SIG_BLOCK);
        turn.store(1, Ordering::SeqCst);
        begins(2);
        block(libc::SIGTERM, libc::SIG_UNBLOCK);
    });
    begins(1);
    sys::kill(late, libc::SIGTERM);
    turn.store(2, Ordering::SeqCst);
    wait(late);
    told.push(killed_by_this(late));
    Ok(told)
}

/// One process sends what another one did not end by.
fn second_sender(_: &Dir) -> Told {
    let held = prey(|| block(libc::SIGTERM, libc::SIG_BLOCK));
    sys::kill(held, libc::SIGTERM);
    let second = fork(move || {
        sys::set_comm(b"the second");
        sys::kill(held, libc::SIGKILL);
    });
    wait(held);
    wait(second);
    Ok(vec![killed(held, by(second, "the second"))])
}

/// Another process sends more blocked signals than the probes remember. It must not be named as the sender of an older one, whose sender
/// may be unknown by then.
fn crowded_out(_: &Dir) -> Told {
    let go = Shared::new();
    let (mut ready, set) = std::io::pipe().expect("a pipe");
    let first = fork(|| {
        block(libc::SIGTERM, libc::SIG_BLOCK);
        drop(set);
        wait_for(|| (go.at(0).load(Ordering::SeqCst) == 1).then_some(()));
        block(libc::SIGTERM, libc::SIG_UNBLOCK);
    });
    assert_eq!(ready.read(&mut [0]).expect("a pipe"), 0);
    sys::kill(first, libc::SIGTERM);
    let signals = || libc::SIGRTMIN()..=libc::SIGRTMAX();
    let held = || signals().for_each(|signal| block(signal, libc::SIG_BLOCK));
    let crowd: Vec<i32> = (0..270).map(|_| prey(held)).collect();
    wait(fork(|| crowd.iter().for_each(|pid| signals().for_each(|signal| sys::kill(*pid, signal)))));
    go.at(0).store(1, Ordering::SeqCst);
    wait(first);
    for pid in crowd {
        sys::kill(pid, libc::SIGKILL);
        wait(pid);
    }
    Ok(vec![event("exit", first, json!({"killed_by": {"?or": [null, by(sys::pid(), "crowded out")]}}))])
}

/// A tracer replaces the signal: the sender of the first one is not named, and no other.
fn made_by_a_tracer(_: &Dir) -> Told {
    let began = Instant::now();
    let pid = fork(|| {
        ptrace(request::TRACEME, 0, 0, 0);
        // raise(3) of musl blocks the signal that the tracer makes.
        sys::kill(sys::pid(), libc::SIGSTOP);
    });
    wait(pid);
    ptrace(request::CONT, pid, 0, libc::SIGTERM as u64);
    let ended = Ended { pid, status: wait(pid), within: began.elapsed() };
    Ok(vec![with(ended.told(), json!({"killed_by": null, "killed_by_why": "not_collected"}))])
}

/// A socket sends the signal when its peer writes (fcntl(2), O_ASYNC). An interrupt could have sent it just so.
fn made_by_a_file(signal: i32) -> Result<Value, String> {
    const F_SETSIG: i32 = 10;
    let (mut ours, its) = UnixStream::pair().expect("sockets");
    let pid = prey(|| {
        let set =
            |command: i32, value: i32| call(libc::SYS_fcntl, &[its.as_raw_fd() as u64, command as u64, value as u64]);
        set(libc::F_SETOWN, sys::pid());
        set(F_SETSIG, signal);
        set(libc::F_SETFL, libc::O_ASYNC);
    });
    ours.write_all(b"x").expect("room");
    wait(pid);
    Ok(event("exit", pid, json!({"killed_by": null, "killed_by_why": "not_collected"})))
}
