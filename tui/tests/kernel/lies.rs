//! Opens that a careless probe would report with a wrong file, a wrong name, or the result of no call.

use crate::prelude::*;

fn trap_openat_and_execve() {
    sys::signal(libc::SIGSYS, sys::nothing());
    answer_openat_and_execve(libc::SECCOMP_RET_TRAP);
}

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
    install(&program);
}

fn install(program: &libc::sock_fprog) {
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1);
    let at = &raw const *program as u64;
    let set = call(libc::SYS_prctl, &[libc::PR_SET_SECCOMP as u64, libc::SECCOMP_MODE_FILTER.into(), at]);
    assert_eq!(set, 0, "seccomp");
}

#[test]
fn calls_that_look_like_others_are_shown_as_they_are() {
    check(&["--kind", "open,exec,exit"], CASES);
}

const CASES: &[Case] = &[
    ("trapped open", trapped_open),
    ("killed", killed),
    ("looks trapped", looks_trapped),
    ("refused", refused),
    ("trapped exec", trapped_exec),
    #[cfg(target_arch = "x86_64")]
    ("half registers", half_of_the_registers),
    // Namespaces and pidfds are files without a path. They must not be shown as the root directory.
    ("no name", |_| {
        let pipe = format!("/proc/self/fd/{}", sys::pipe()[0]);
        let told = ["/proc/self/ns/mnt", &pipe]
            .map(|path| open(path, sys::open_path(path), json!({"abs_path": null, "abs_path_why": "not_collected"})));
        Ok(told.to_vec())
    }),
    // A process that left its root by a descriptor still has that root.
    ("outside of root", |dir| {
        let (jail, outside) = (dir.dir("jail"), dir.file("outside"));
        let there = File::open(dir.path()).expect("a directory");
        std::os::unix::fs::chroot(jail).expect("root");
        let ret = sys::openat(there.as_raw_fd(), c"outside", libc::O_RDONLY, 0);
        let found = json!({"abs_path": {"?or": [outside, null]}, "root": null, "root_why": {"?not": absent()}});
        Ok(vec![open("outside", ret, found)])
    }),
    // A program whose file was deleted, started in a directory that was deleted.
    ("deleted", |dir| {
        let (program, place) = (dir.at("program"), dir.dir("place"));
        fs::copy("/bin/true", &program).expect("a copy");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
        let pid = fork(|| {
            std::env::set_current_dir(&place).expect("a directory");
            let open = format!("/proc/self/fd/{}", arch::open(&c(program.as_str()), libc::O_RDONLY, 0));
            fs::remove_dir(&place).expect("an empty directory");
            fs::remove_file(&program).expect("a file");
            become_program(&open, &[&open]);
            sys::exit(1);
        });
        assert_eq!(sys::wait(pid).code(), Some(0));
        let deleted = json!({"exe": program, "exe_deleted": true, "cwd": place, "cwd_deleted": true});
        Ok(vec![event("exec", pid, deleted)])
    }),
];

fn open(path: &str, ret: i64, more: Value) -> Value {
    with(event("open", sys::pid(), json!({"path": path, "ret": ret})), more)
}

fn decoy(path: &str) {
    let fd = arch::open(&c(path), libc::O_RDONLY, 0);
    assert_eq!(sys::dup2(fd as u64, libc::SYS_openat as u64), libc::SYS_openat);
    sys::close(fd);
}

/// After a call that seccomp answers with a signal, the result register contains the number of the call on x86-64, and
/// its first argument on aarch64. Either may be the number of a descriptor, and AT_FDCWD looks like an error.
fn trapped_open(dir: &Dir) -> Told {
    let asked = dir.file("asked");
    decoy(&dir.file("decoy"));
    trap_openat_and_execve();
    let path = c(asked.as_str());
    // The path is absolute, so the first argument can have any value.
    for first in [libc::SYS_openat as i32, libc::AT_FDCWD] {
        sys::openat(first, &path, libc::O_RDONLY, 0);
    }
    let ret = sys::openat2(libc::AT_FDCWD, &path, [libc::O_RDONLY as u64, 0, 0]);
    Ok(vec![open(&asked, ret, json!({"via": "openat2"}))])
}

/// As above, but the process, or its last thread, is killed: it is in a mode of seccomp that only killed tasks are in.
fn killed(dir: &Dir) -> Told {
    let (path, other) = (dir.file("asked"), dir.file("decoy"));
    let mut told = Vec::new();
    // An unused file at the descriptor that the result seems to be is what a successful open would leave. The kernel says since
    // 5.17 that the process is killed.
    for decoys in [false, true].into_iter().filter(|decoys| !decoys || release() >= (5, 17)) {
        for answer in [libc::SECCOMP_RET_KILL_PROCESS, libc::SECCOMP_RET_KILL_THREAD] {
            let pid = fork(|| {
                if decoys {
                    decoy(&other);
                }
                answer_openat_and_execve(answer);
                // The path is absolute, so the first argument can have any value.
                sys::openat(libc::SYS_openat as i32, &c(path.clone()), libc::O_RDONLY, 0);
            });
            assert_eq!(sys::wait(pid).signal(), Some(libc::SIGSYS));
            told.extend(decoys.then(|| event("open", pid, json!({"path": other}))));
            told.extend([event("open", pid, json!({"?none": true, "path": path})), event("exit", pid, json!({}))]);
        }
    }
    Ok(told)
}

/// A process can make a successful open look like one that seccomp trapped. SIGSYS, from an inotify watch, arrives
/// during the call, and the descriptor equals the number of the call (aarch64: its first argument).
fn looks_trapped(dir: &Dir) -> Told {
    /// The command of fcntl(2) that selects the signal.
    const F_SETSIG: i32 = 10;
    let (watched, wanted) = (dir.file("watched"), libc::SYS_openat);
    let path = c(watched.as_str());
    sys::signal(libc::SIGSYS, sys::nothing());
    let watch = call(libc::SYS_inotify_init1, &[libc::IN_NONBLOCK as u64]) as u64;
    assert!(call(libc::SYS_inotify_add_watch, &[watch, at(&path), libc::IN_OPEN.into()]) >= 0);
    let set = |command: i32, value: i32| call(libc::SYS_fcntl, &[watch, command as u64, value as u64]);
    let flags = libc::O_ASYNC | libc::O_NONBLOCK;
    let done = [set(libc::F_SETOWN, sys::pid()), set(F_SETSIG, libc::SIGSYS), set(libc::F_SETFL, flags)];
    assert_eq!(done, [0; 3]);
    let mut allow = libc::sock_filter { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    install(&libc::sock_fprog { len: 1, filter: &raw mut allow });
    for fd in 3..wanted as u64 {
        if call(libc::SYS_fcntl, &[fd, libc::F_GETFD as u64]) < 0 {
            sys::dup2(watch, fd);
        }
    }
    let mut events = [0_u8; 4096];
    let told = [0; 20].map(|_| {
        while call(libc::SYS_read, &[watch, events.as_mut_ptr() as u64, 4096]) > 0 {}
        let fd = sys::openat(wanted as i32, &path, libc::O_RDONLY, 0);
        sys::close(fd);
        assert_eq!(fd, wanted);
        open(&watched, fd, json!({"abs_path": watched}))
    });
    Ok(told.to_vec())
}

/// A sandboxed program whose calls are refused asked for something. Up to 6.19 this is seen at the tracepoint; from 7.0 on
/// the calls do not reach the functions whose returns are traced (docs/PROBES.md).
fn refused(_: &Dir) -> Told {
    answer_openat_and_execve(libc::SECCOMP_RET_ERRNO | libc::EACCES as u32);
    // Written here, so that it is in memory: the kernel does not read it.
    let path = c("/nowhere/refused");
    let none = [0_u64; 1].as_ptr() as u64;
    let rets =
        [sys::openat(libc::AT_FDCWD, &path, libc::O_RDONLY, 0), call(libc::SYS_execve, &[at(&path), none, none])];
    assert_eq!(rets, [i64::from(-libc::EACCES); 2]);
    let seen = json!({"err": "EACCES", "?none": (release() >= (7, 0)).then_some(true)});
    let exec = with(event("exec", sys::pid(), json!({"filename": "/nowhere/refused"})), seen.clone());
    Ok(vec![open("/nowhere/refused", rets[0], seen), exec])
}

/// As for openat(2), the result register contains the first argument on aarch64. For execve(2) this is an address,
/// whose lower half may look like an error.
fn trapped_exec(_: &Dir) -> Told {
    /// The mapping ends at an address that is a page boundary for every page size.
    const NEAR: usize = 0x20_ffff_0000;
    const LEN: usize = 0x1_0000;
    let pages = Pages::map(NEAR, LEN, 0, libc::MAP_FIXED_NOREPLACE);
    let path = pages.put(LEN - 32, b"/nowhere/trapped\0") as u64;
    assert_eq!(path as i32, -32);
    let none = [0_u64; 1].as_ptr() as u64;
    trap_openat_and_execve();
    call(libc::SYS_execve, &[path, none, none]);
    let by_execveat = call(libc::SYS_execveat, &[CWD, path, none, none]);
    assert_eq!(by_execveat, i64::from(-libc::ENOENT));
    Ok(vec![event("exec", sys::pid(), json!({"ret": by_execveat}))])
}

/// 64-bit code can make calls of the 32-bit table with any values in the upper halves of the registers.
#[cfg(target_arch = "x86_64")]
fn half_of_the_registers(dir: &Dir) -> Told {
    let path = dir.file("in the lower half");
    let low = Pages::new(1, libc::MAP_32BIT);
    let at = low.put(0, &c(path.clone()).into_bytes_with_nul()) as u64;
    let high = 0x7fff_0000_0000_0000;
    let ret = arch::int80_wide(5, [high | at, high | libc::O_RDONLY as u64, high, high]);
    assert!(ret >= 0, "{ret}");
    Ok(vec![open(&path, ret, json!({"abi": "i386", "abs_path": path, "flags": "O_RDONLY"}))])
}

/// A directory is renamed all the time between a short and a long name. No other name may be shown.
#[test]
fn a_name_that_changes_is_one_or_the_other() {
    const OPENS: usize = 30_000;
    let dir = Dir::new();
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
