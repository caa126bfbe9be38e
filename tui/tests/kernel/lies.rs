//! Opens that a careless probe would report with a wrong file, a wrong name, or the result of no call.

use crate::arch;
use crate::prelude::*;
use crate::sys::Pages;
use std::sync::Arc;

/// Makes seccomp answer openat(2) and execve(2) with SIGSYS, for which a handler does nothing.
fn trap_openat_and_execve() {
    sys::signal(libc::SIGSYS, sys::nothing());
    answer_openat_and_execve(libc::SECCOMP_RET_TRAP);
}

/// Makes seccomp answer openat(2) and execve(2).
fn answer_openat_and_execve(answer: u32) {
    let statement = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(equal, 1, 0, libc::SYS_openat as u32),
        statement(equal, 0, 1, libc::SYS_execve as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, answer),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the filter outlives the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let set = libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0);
        assert_eq!(set, 0, "seccomp: {}", std::io::Error::last_os_error());
    }
}

/// After a call that seccomp answers with a signal, the result register contains the number of the call on x86-64, and
/// its first argument on aarch64. Either may be the number of a descriptor, and AT_FDCWD looks like an error.
#[test]
fn a_call_that_seccomp_traps_is_no_open() {
    let dir = Dir::alone();
    let (asked, decoy) = (dir.file("asked"), dir.file("decoy"));
    let acted = trace("open,exit", || {
        let fd = arch::open(&c(decoy.as_str()), libc::O_RDONLY, 0);
        assert_eq!(sys::dup2(fd as u64, libc::SYS_openat as u64), libc::SYS_openat);
        trap_openat_and_execve();
        let path = c(asked.as_str());
        // The path is absolute, so the first argument can have any value.
        for first in [libc::SYS_openat as i32, libc::AT_FDCWD] {
            sys::openat(first, &path, libc::O_RDONLY, 0);
        }
        vec![sys::openat2(libc::AT_FDCWD, &path, [libc::O_RDONLY as u64, 0, 0])]
    });
    let Some((run, pid, rets)) = acted else { return };
    let event = run.open(pid, &asked);
    assert_eq!((&event["via"], &event["ret"]), (&"openat2".into(), &rets[0].into()), "{event}");
}

/// As above, but the process, or its last thread, is killed: it is in a mode of seccomp that only killed tasks are in.
#[test]
fn a_call_that_seccomp_kills_is_no_open() {
    let dir = Dir::alone();
    let (path, decoy) = (dir.file("asked"), dir.file("decoy"));
    let Some(traced) = Traced::start(&["--kind", "open,exit"]) else { return };
    let mut killed = Vec::new();
    // An unused file at the descriptor that the result seems to be is what a successful open would leave. The kernel says since
    // 5.17 that the process is killed.
    for decoys in [false, true].into_iter().filter(|decoys| !decoys || release() >= (5, 17)) {
        for answer in [libc::SECCOMP_RET_KILL_PROCESS, libc::SECCOMP_RET_KILL_THREAD] {
            let pid = fork(|| {
                if decoys {
                    let fd = arch::open(&c(decoy.clone()), libc::O_RDONLY, 0);
                    assert_eq!(sys::dup2(fd as u64, libc::SYS_openat as u64), libc::SYS_openat);
                    sys::close(fd);
                }
                answer_openat_and_execve(answer);
                // The path is absolute, so the first argument can have any value.
                sys::openat(libc::SYS_openat as i32, &c(path.clone()), libc::O_RDONLY, 0);
            });
            assert_eq!(sys::wait(pid).signal(), Some(libc::SIGSYS));
            killed.push((pid, usize::from(decoys)));
        }
    }
    let run = traced.stop_and_check();
    for (pid, opens) in killed {
        assert_eq!(run.kind_of("exit", pid).len(), 1, "it was traced");
        let seen = run.kind_of("open", pid);
        assert_eq!(seen.len(), opens, "that of the decoy: {seen:?}");
    }
}

/// A process can make a successful open look like one that seccomp trapped. SIGSYS, from an inotify watch, arrives
/// during the call, and the descriptor equals the number of the call (aarch64: its first argument).
#[test]
fn an_open_that_looks_trapped_is_shown() {
    /// The command of fcntl(2) that selects the signal.
    const F_SETSIG: i32 = 10;
    const TIMES: usize = 20;
    let dir = Dir::alone();
    let path = dir.file("watched");
    let acted = trace("open,exit", || {
        let path = c(path.as_str());
        let wanted = libc::SYS_openat as i32;
        let allow = [libc::sock_filter { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW }];
        let program = libc::sock_fprog { len: 1, filter: allow.as_ptr().cast_mut() };
        sys::signal(libc::SIGSYS, sys::nothing());
        // SAFETY: the values outlive the calls, and all descriptors belong to this child.
        unsafe {
            let watch = libc::inotify_init1(libc::IN_NONBLOCK);
            assert!(libc::inotify_add_watch(watch, path.as_ptr(), libc::IN_OPEN) >= 0);
            assert_eq!(libc::fcntl(watch, libc::F_SETOWN, libc::getpid()), 0);
            assert_eq!(libc::fcntl(watch, F_SETSIG, libc::SIGSYS), 0);
            assert_eq!(libc::fcntl(watch, libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK), 0);
            assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
            assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0), 0);
            for fd in 3..wanted {
                if libc::fcntl(fd, libc::F_GETFD) < 0 {
                    libc::dup2(watch, fd);
                }
            }
            let mut told = [0_u8; 4096];
            let mut open = || {
                while libc::read(watch, told.as_mut_ptr().cast(), told.len()) > 0 {}
                let fd = sys::openat(wanted, &path, libc::O_RDONLY, 0);
                sys::close(fd);
                fd
            };
            (0..TIMES).map(|_| open()).collect()
        }
    });
    let Some((run, pid, rets)) = acted else { return };
    assert_eq!(rets, vec![libc::SYS_openat; TIMES]);
    let shown = run.kind_of("open", pid).iter().filter(|e| e["abs_path"] == path.as_str()).count();
    assert_eq!(shown, TIMES, "{}", run.account());
}

/// A sandboxed program whose calls are refused asked for something. Up to 6.19 this is seen at the tracepoint; from 7.0 on
/// the calls do not reach the functions whose returns are traced (docs/PROBES.md).
#[test]
fn calls_that_seccomp_refuses_are_shown_up_to_6_19() {
    let acted = trace("open,exec,exit", || {
        answer_openat_and_execve(libc::SECCOMP_RET_ERRNO | libc::EACCES as u32);
        // Written here, so that it is in memory: the kernel does not read it.
        let path = c("/nowhere/refused");
        let none = [0_u64; 1].as_ptr() as u64;
        let opened = sys::openat(libc::AT_FDCWD, &path, libc::O_RDONLY, 0);
        vec![opened, sys::call(libc::SYS_execve, &[path.as_ptr() as u64, none, none])]
    });
    let Some((run, pid, rets)) = acted else { return };
    assert_eq!(rets, [i64::from(-libc::EACCES); 2]);
    let refused = |kind| run.kind_of(kind, pid).into_iter().filter(|e| e["err"] == "EACCES").collect::<Vec<_>>();
    let (opens, execs) = (refused("open"), refused("exec"));
    let expected = usize::from(release() < (7, 0));
    assert_eq!((opens.len(), execs.len()), (expected, expected), "{opens:?} {execs:?}");
    for event in opens.iter().map(|e| &e["path"]).chain(execs.iter().map(|e| &e["filename"])) {
        assert_eq!(event, "/nowhere/refused");
    }
}

/// As for openat(2), the result register contains the first argument on aarch64. For execve(2) this is an address,
/// whose lower half may look like an error.
#[test]
fn a_call_that_seccomp_traps_is_no_failed_exec() {
    /// The mapping ends at an address that is a page boundary for every page size.
    const NEAR: usize = 0x20_ffff_0000;
    const LEN: usize = 0x1_0000;
    let acted = trace("exec,exit", move || {
        let pages = Pages::map(NEAR, LEN, 0, libc::MAP_FIXED_NOREPLACE);
        let path = pages.put(LEN - 32, b"/nowhere/trapped\0") as u64;
        assert_eq!(path as i32, -32);
        let none = [0_u64; 1].as_ptr() as u64;
        trap_openat_and_execve();
        sys::call(libc::SYS_execve, &[path, none, none]);
        vec![sys::call(libc::SYS_execveat, &[libc::AT_FDCWD as u64, path, none, none])]
    });
    let Some((run, pid, rets)) = acted else { return };
    let event = run.one("exec", pid, |_| true);
    assert_eq!((rets[0], &event["ret"]), ((-libc::ENOENT).into(), &rets[0].into()), "by execveat: {event}");
}

/// 64-bit code can make calls of the 32-bit table with any values in the upper halves of the registers.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_kernel_sees_half_of_the_registers_of_a_32_bit_call() {
    let dir = Dir::alone();
    let path = dir.file("in the lower half");
    let bytes = c(path.clone()).into_bytes_with_nul();
    let acted = trace("open,exit", || {
        let low = Pages::new(1, libc::MAP_32BIT);
        let at = low.put(0, &bytes) as u64;
        let high = 0x7fff_0000_0000_0000;
        vec![arch::int80_wide(5, [high | at, high | libc::O_RDONLY as u64, high, high])]
    });
    let Some((run, pid, rets)) = acted else { return };
    let event = run.open(pid, &path);
    assert!(rets[0] >= 0 && event["ret"] == rets[0] && event["abi"] == "i386", "{event}");
    assert_eq!((&event["abs_path"], &event["flags"]), (&path.into(), &"O_RDONLY".into()), "{event}");
}

/// A directory is renamed all the time between a short and a long name. No other name may be shown.
#[test]
fn a_name_that_changes_is_one_or_the_other() {
    const OPENS: usize = 30_000;
    let dir = Dir::alone();
    let (short, long) = (dir.dir(&"a".repeat(30)), dir.at(&"b".repeat(60)));
    let file = format!("{short}/file");
    File::create(&file).expect("a file");
    let (from, to) = (c(short.clone()), c(long.clone()));
    let acted = trace("open,exit", move || {
        let there = File::open(from.to_str().expect("UTF-8")).expect("a directory");
        let done = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&done);
        let renames = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                for (from, to) in [(&from, &to), (&to, &from)] {
                    sys::rename(from, to);
                }
            }
        });
        for _ in 0..OPENS {
            sys::close(sys::openat(there.as_raw_fd(), c"file", libc::O_RDONLY, 0));
        }
        done.store(true, Ordering::Relaxed);
        renames.join().expect("no panic");
        vec![]
    });
    let Some((run, pid, _)) = acted else { return };
    let known = [short, long].map(|dir| Value::from(format!("{dir}/file")));
    let opened: Vec<Value> = run.kind_of("open", pid).into_iter().filter(|e| e["path"] == "file").collect();
    assert!(opened.len() > OPENS / 2, "{} opens", opened.len());
    for event in &opened {
        assert!(known.contains(&event["abs_path"]) || event["abs_path"].is_null(), "{event}");
    }
    let told = opened.iter().filter(|e| !e["abs_path"].is_null()).count();
    assert!(told > opened.len() / 2, "{told} of {} have a path", opened.len());
}

/// Namespaces and pidfds are files without a path. They must not be shown as the root directory.
#[test]
fn a_file_without_a_name_is_not_called_root() {
    let acted = trace("open,exit", || {
        vec![sys::open_path("/proc/self/ns/mnt"), sys::open_path(&format!("/proc/self/fd/{}", sys::pipe()[0]))]
    });
    let Some((run, pid, rets)) = acted else { return };
    for ret in rets {
        let event = run
            .one("open", pid, |e| e["ret"] == ret && e["path"].as_str().is_some_and(|p| p.starts_with("/proc/self/")));
        assert_eq!((&event["abs_path"], &event["abs_path_why"]), (&Value::Null, &"not_collected".into()), "{event}");
    }
}

/// A process that left its root by a descriptor still has that root.
#[test]
fn an_open_outside_of_the_root_does_not_deny_the_root() {
    let dir = Dir::alone();
    let (jail, outside) = (dir.dir("jail"), dir.file("outside"));
    let place = dir.at("");
    let acted = trace("open,exit", move || {
        let there = File::open(place).expect("a directory");
        std::os::unix::fs::chroot(jail).expect("root");
        vec![sys::openat(there.as_raw_fd(), c"outside", libc::O_RDONLY, 0)]
    });
    let Some((run, pid, rets)) = acted else { return };
    let event = run.open(pid, "outside");
    assert_eq!(event["ret"], rets[0], "{event}");
    assert!(event["abs_path"] == outside.as_str() || event["abs_path"].is_null(), "{event}");
    assert!(event["root"].is_null() && event.get("root_why").is_some(), "{event}");
}

/// A program whose file was deleted, started in a directory that was deleted.
#[test]
fn what_was_deleted_is_said_to_be() {
    let dir = Dir::alone();
    let (program, place) = (dir.at("program"), dir.dir("place"));
    fs::copy("/bin/true", &program).expect("a copy");
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let Some(traced) = Traced::start(&["--kind", "exec,exit"]) else { return };
    let mut actor = Actor::new(|| {
        std::env::set_current_dir(&place).expect("a directory");
        let open = c(format!("/proc/self/fd/{}", arch::open(&c(program.as_str()), libc::O_RDONLY, 0)));
        fs::remove_dir(&place).expect("an empty directory");
        fs::remove_file(&program).expect("a file");
        let argv = [open.as_ptr() as u64, 0];
        vec![sys::call(libc::SYS_execve, &[open.as_ptr() as u64, argv.as_ptr() as u64, argv[1..].as_ptr() as u64])]
    });
    let pid = actor.pid;
    actor.go();
    let (status, failed) = actor.end();
    assert_eq!((status.code(), failed), (Some(0), vec![]));
    let event = traced.stop().one("exec", pid, |_| true);
    check_has(&event, json!({"exe": program, "exe_deleted": true, "cwd": place, "cwd_deleted": true}));
}
