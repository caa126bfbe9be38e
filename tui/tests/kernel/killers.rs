//! The senders of signals that end processes, compared with what the tests sent.

use crate::exits::{Ended, check_exit, watch};
use crate::sys::{self, fork};
use crate::traced::{Run, Traced, alone};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::Value;
use std::io::Read as _;
use std::time::{Duration, Instant};

/// A child that does something, and waits for the signal that ends it.
fn prey(act: impl FnOnce() + 'static) -> i32 {
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

fn wait_for_ever() -> ! {
    loop {
        // SAFETY: pause(2) has no arguments.
        unsafe { libc::pause() };
    }
}

fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: the status is a valid place for an integer.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}

fn killed_by(run: &Run, pid: i32) -> Value {
    let exit = run.one("exit", pid, |_| true);
    assert_eq!(exit.get("killed_by_why"), None, "{exit}");
    exit["killed_by"].clone()
}

/// The object for a signal that this process sent.
fn by_test() -> Value {
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", sys::pid())).expect("procfs");
    serde_json::json!({ "pid": sys::pid(), "comm": comm.trim_end(), "uid": 0, "cause": "kill" })
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

extern "C" fn ignore(_: i32) {}

#[test]
fn the_sender_of_a_fatal_signal_is_named() {
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "exit"]) else { return };
    let thread = || {
        std::thread::spawn(|| wait_for_ever());
    };
    let handles = || {
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGTERM, ignore as *const () as usize) };
    };
    let killed = |pid: i32, signals: &[i32]| {
        for signal in signals {
            sys::kill(pid, *signal);
            std::thread::sleep(Duration::from_millis(20));
        }
        wait(pid);
        pid
    };
    let by_this = [
        killed(prey(|| ()), &[libc::SIGKILL]),
        killed(prey(thread), &[libc::SIGTERM]),
        killed(prey(handles), &[libc::SIGTERM, libc::SIGUSR1]),
        killed(prey(|| block(libc::SIGTERM, libc::SIG_BLOCK)), &[libc::SIGTERM, libc::SIGKILL]),
        killed(prey(|| ()), &[libc::SIGWINCH, libc::SIGURG, libc::SIGALRM]),
    ];
    // It is blocked when it is sent, and ends the process after an exec.
    let late = fork(|| {
        block(libc::SIGTERM, libc::SIG_BLOCK);
        std::thread::sleep(Duration::from_millis(200));
        block(libc::SIGTERM, libc::SIG_UNBLOCK);
    });
    std::thread::sleep(Duration::from_millis(50));
    sys::kill(late, libc::SIGTERM);
    wait(late);
    // One process sends what another one did not end by.
    let held = prey(|| block(libc::SIGTERM, libc::SIG_BLOCK));
    sys::kill(held, libc::SIGTERM);
    let second = fork(move || {
        sys::set_comm(b"the second");
        sys::kill(held, libc::SIGKILL);
    });
    wait(held);
    wait(second);
    let run = traced.stop();
    run.check();
    for pid in by_this.into_iter().chain([late]) {
        assert_eq!(killed_by(&run, pid), by_test(), "{pid}");
    }
    assert_eq!(
        killed_by(&run, held),
        serde_json::json!({ "pid": second, "comm": "the second", "uid": 0, "cause": "kill" })
    );
}

#[test]
fn the_init_of_a_pid_namespace_and_a_dying_parent_are_senders() {
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "exit,fork"]) else { return };
    // The init ends: the kernel kills its namespace. Its child set no signal.
    let maker = fork(|| {
        sys::unshare(libc::CLONE_NEWPID);
        let init = fork(|| {
            prey(|| ());
        });
        wait(init);
    });
    wait(maker);
    let parent = fork(|| {
        prey(|| {
            // SAFETY: prctl(2) with integers only.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
        });
    });
    wait(parent);
    std::thread::sleep(Duration::from_millis(100));
    let run = traced.stop();
    run.check();
    let child = |of: i32| {
        let fork = run.one("fork", of, |_| true);
        fork["child_pid"].as_i64().expect("an id") as i32
    };
    let init = child(maker);
    for sender in [init, parent] {
        let by = killed_by(&run, child(sender));
        assert_eq!((&by["pid"], &by["cause"]), (&sender.into(), &"kill".into()), "{by}");
    }
}

/// Sets the soft and the hard limit of this process.
fn limit(resource: Resource, most: u64) {
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).expect("a lower limit");
}

#[test]
fn signals_of_the_kernel_have_their_cause() {
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "exit"]) else { return };
    // What a process does, and the cause.
    let acts: [(&str, fn()); 7] = [
        ("fault", || {
            // SAFETY: the read faults, which ends this child.
            unsafe { std::ptr::read_volatile(std::ptr::without_provenance::<u8>(8)) };
        }),
        ("kill", || std::process::abort()),
        ("limit", || {
            limit(Resource::Fsize, 10);
            let file = std::fs::File::create(format!("/tmp/tracetui-limit-{}", sys::pid())).expect("a file");
            std::fs::remove_file(format!("/tmp/tracetui-limit-{}", sys::pid())).expect("it is there");
            for _ in 0..2 {
                let _ = std::io::Write::write(&mut &file, &[0; 10]);
            }
        }),
        ("limit", || {
            limit(Resource::Cpu, 1);
            // SAFETY: the signal is ignored, so the hard limit ends this child.
            unsafe { libc::signal(libc::SIGXCPU, libc::SIG_IGN) };
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(60) {}
        }),
        ("seccomp", || {
            // SAFETY: prctl(2) with integers. The next call but read, write, exit and sigreturn ends this child.
            unsafe {
                libc::prctl(libc::PR_SET_SECCOMP, 1);
                libc::syscall(libc::SYS_getpid);
            }
        }),
        ("other", || {
            let (end, other) = std::io::pipe().expect("a pipe");
            drop(end);
            // SAFETY: the handler is the default one, and the descriptor is open.
            unsafe {
                libc::signal(libc::SIGPIPE, libc::SIG_DFL);
                libc::write(std::os::fd::AsRawFd::as_raw_fd(&other), [0u8].as_ptr().cast(), 1);
            }
        }),
        ("other", || {
            // SAFETY: alarm(2) takes an integer.
            unsafe { libc::alarm(1) };
            wait_for_ever();
        }),
    ];
    let ended = acts.map(|(cause, act)| {
        let ended = watch(|| {
            act();
            vec![]
        });
        (cause, ended)
    });
    let run = traced.stop();
    run.check();
    for (cause, ended) in &ended {
        let exit = check_exit(&run, ended);
        assert_eq!(exit["killed_by"]["cause"], *cause, "{exit}");
        let sender = if *cause == "kill" { Value::from(ended.pid) } else { Value::Null };
        assert_eq!(exit["killed_by"]["pid"], sender, "{exit}");
    }
}

/// A tracer replaces the signal: the sender of the first one is not named, and no other.
#[test]
fn a_signal_that_a_tracer_makes_has_no_sender() {
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "exit"]) else { return };
    let began = Instant::now();
    let pid = fork(|| {
        // SAFETY: ptrace(2) and kill(2) with integers. raise(3) of musl blocks the signal that the tracer makes.
        unsafe {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            libc::kill(libc::getpid(), libc::SIGSTOP);
        }
    });
    wait(pid);
    // SAFETY: ptrace(2) of a stopped child.
    unsafe { libc::ptrace(libc::PTRACE_CONT, pid, 0, libc::SIGTERM) };
    let status = sys::Status(wait(pid));
    let run = traced.stop();
    run.check();
    let exit = check_exit(&run, &Ended { pid, status, within: began.elapsed() });
    assert_eq!((&exit["killed_by"], &exit["killed_by_why"]), (&Value::Null, &"not_collected".into()), "{exit}");
}
