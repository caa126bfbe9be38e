//! Programs that fail to start: the arguments from the caller's memory, and the error.

use crate::arch;
use crate::narrow::{Narrow, nr};
use crate::sys::{self, Actor, Pages, Status, c};
use crate::traced::{Dir, Traced, alone, cannot_run, doctor, n, not_checked, trace};
use serde_json::{Value, json};
use std::ffi::CString;
use std::os::fd::AsRawFd as _;

/// C strings, and the null-terminated list of their addresses in the form of `argv[]`.
struct Argv {
    _strings: Vec<CString>,
    pointers: Vec<u64>,
}

impl Argv {
    fn new(args: &[&str]) -> Argv {
        let strings: Vec<CString> = args.iter().map(|arg| c(*arg)).collect();
        let mut pointers: Vec<u64> = strings.iter().map(|s| s.as_ptr() as u64).collect();
        pointers.push(0);
        Argv { _strings: strings, pointers }
    }

    fn at(&self) -> u64 {
        self.pointers.as_ptr() as u64
    }
}

const EMPTY_ENVIRONMENT: [u64; 1] = [0];
/// `AT_EXECVE_CHECK` (6.14+).
const CHECK: u64 = 0x10000;

fn execve(path: &str, argv: u64) -> i64 {
    let path = c(path);
    sys::call(libc::SYS_execve, [path.as_ptr() as u64, argv, EMPTY_ENVIRONMENT.as_ptr() as u64, 0, 0])
}

fn execveat(dirfd: i32, path: &str, argv: u64, flags: u64) -> i64 {
    let path = c(path);
    let environment = EMPTY_ENVIRONMENT.as_ptr() as u64;
    sys::call(libc::SYS_execveat, [dirfd as u64, path.as_ptr() as u64, argv, environment, flags])
}

fn check_failed(event: &Value, ret: i64, filename: &str, argv: &[&str]) {
    assert_eq!((&event["ret"], &event["filename"]), (&ret.into(), &filename.into()), "{event}");
    assert_eq!((&event["argv"], &event["argc"]), (&json!(argv), &argv.len().into()), "{event}");
    assert_eq!((&event["cut"], &event["old_tid"], &event["interp"]), (&false.into(), &Value::Null, &Value::Null));
    assert_eq!((&event["exe"], &event["exe_why"]), (&Value::Null, &"failed".into()), "{event}");
}

#[test]
fn a_failed_exec_shows_the_request_and_the_error() {
    let _alone = alone();
    let dir = Dir::new();
    let (no_exec, not_a_program) = (dir.file("no exec"), dir.at("not a program"));
    std::fs::write(&not_a_program, b"\x01\x02\x03").expect("a file");
    std::fs::set_permissions(&not_a_program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let place = dir.at("");
    let paths = ["/nowhere/program".to_owned(), no_exec, not_a_program, dir.at("")];
    let to_run = paths.clone();
    let acted = trace("exec,exit", move || {
        std::env::set_current_dir(place).expect("a directory");
        let argv = Argv::new(&["first", "", "the third one"]);
        to_run.iter().map(|path| execve(path, argv.at())).collect()
    });
    let Some((run, pid, rets)) = acted else { return };
    assert_eq!(rets, [libc::ENOENT, libc::EACCES, libc::ENOEXEC, libc::EACCES].map(|errno| -i64::from(errno)));
    let events = run.kind_of("exec", pid);
    assert_eq!(events.len(), 4, "{events:#?}");
    for ((event, path), ret) in events.iter().zip(&paths).zip(rets) {
        check_failed(event, ret, path, &["first", "", "the third one"]);
        assert_eq!(event["cwd"], dir.path().to_str().expect("UTF-8"), "{event}");
    }
    let names: Vec<_> = events.iter().map(|e| e["err"].clone()).collect();
    assert_eq!(names, ["ENOENT", "EACCES", "ENOEXEC", "EACCES"]);
}

#[test]
fn a_failed_exec_at_a_descriptor_is_named_as_the_kernel_names_it() {
    let _alone = alone();
    let dir = Dir::new();
    let file = dir.file("plain");
    let place = dir.at("");
    let acted = trace("exec,exit", move || {
        let argv = Argv::new(&["at"]);
        let there = std::fs::File::open(place).expect("a directory");
        let plain = std::fs::File::open(file).expect("a file");
        let (there, plain) = (there.as_raw_fd(), plain.as_raw_fd());
        let rets = [
            execveat(there, "plain", argv.at(), 0),
            execveat(plain, "", argv.at(), libc::AT_EMPTY_PATH as u64),
            execveat(there, "/nowhere/absolute", argv.at(), 0),
            execveat(libc::AT_FDCWD, "nowhere/relative", argv.at(), 0),
            execveat(-7, "plain", argv.at(), 0),
            execveat(1_234_567, "plain", argv.at(), 0),
        ];
        [vec![there.into(), plain.into()], rets.to_vec()].concat()
    });
    let Some((run, pid, numbers)) = acted else { return };
    let events = run.kind_of("exec", pid);
    let expected = [
        format!("/dev/fd/{}/plain", numbers[0]),
        format!("/dev/fd/{}", numbers[1]),
        "/nowhere/absolute".to_owned(),
        "nowhere/relative".to_owned(),
        "/dev/fd/-7/plain".to_owned(),
        "/dev/fd/1234567/plain".to_owned(),
    ];
    assert_eq!(events.len(), expected.len(), "{events:#?}");
    for ((event, filename), ret) in events.iter().zip(expected).zip(&numbers[2..]) {
        assert!(*ret < 0, "{ret}");
        check_failed(event, *ret, &filename, &["at"]);
    }
}

#[test]
fn asking_whether_an_exec_would_do_is_none() {
    let _alone = alone();
    let acted = trace("exec,exit", || {
        let argv = Argv::new(&["check"]);
        let good = execveat(libc::AT_FDCWD, "/bin/true", argv.at(), CHECK);
        let bad = execveat(libc::AT_FDCWD, "/etc/passwd", argv.at(), CHECK);
        vec![good, bad]
    });
    let Some((run, pid, rets)) = acted else { return };
    if rets[0] == -i64::from(libc::EINVAL) {
        return cannot_run("this kernel has no AT_EXECVE_CHECK");
    }
    assert_eq!(rets, [0, -i64::from(libc::EACCES)]);
    assert_eq!(run.kind_of("exec", pid), Vec::<Value>::new());
}

#[test]
fn many_and_long_arguments_are_whole_or_said_to_be_cut() {
    let _alone = alone();
    let long = ["a", "b"].map(|letter| letter.repeat(8000));
    let too_long = "c".repeat(9000);
    let borders = [8190, 8191, 8192].map(|len| "d".repeat(len));
    let many: Vec<String> = (0..2000).map(|i| i.to_string()).collect();
    let (a, b, t, d, m) = (long[0].clone(), long[1].clone(), too_long.clone(), borders.clone(), many.clone());
    let acted = trace("exec,exit", move || {
        let run = |args: &[&str]| execve("/nowhere/args", Argv::new(args).at());
        let many: Vec<&str> = m.iter().map(String::as_str).collect();
        let mut rets = vec![run(&many), run(&[&a, &b]), run(&["x", &t, "y"]), run(&[])];
        rets.extend(d.iter().map(|arg| run(&[arg])));
        rets
    });
    let Some((run, pid, rets)) = acted else { return };
    assert!(rets.iter().all(|ret| *ret == -i64::from(libc::ENOENT)), "{rets:?}");
    let events = run.kind_of("exec", pid);
    assert_eq!(events.len(), 7);
    check_failed(&events[0], rets[0], "/nowhere/args", &many.iter().map(String::as_str).collect::<Vec<_>>());
    check_failed(&events[1], rets[1], "/nowhere/args", &[&long[0], &long[1]]);
    let cut = &events[2];
    assert_eq!((&cut["cut"], &cut["argc"]), (&true.into(), &3.into()), "counted all the same");
    let argv = cut["argv"].as_array().expect("a list");
    assert_eq!(argv[0], "x");
    assert!(
        argv.len() == 2 && too_long.starts_with(argv[1].as_str().expect("text")),
        "a beginning, and nothing after it"
    );
    check_failed(&events[3], rets[3], "/nowhere/args", &[]);
    for (event, arg) in events[4..].iter().zip(&borders) {
        let whole = event["argv"] == json!([arg]);
        assert_eq!(event["cut"], !whole, "whole or cut: {} bytes", arg.len());
        assert!(whole || arg.len() > 8191, "{} bytes fit", arg.len());
    }
}

#[test]
fn what_cannot_be_read_is_marked() {
    let _alone = alone();
    let acted = trace("exec,exit", || {
        let bad = 0x1000_u64;
        let good = Argv::new(&["good"]);
        let mut half = Argv::new(&["one", "two", "three"]);
        half.pointers[1] = bad;
        let mut pages = Pages::new(2, 0);
        let edge = pages.put(sys::page() - 8, &good.pointers[0].to_le_bytes()) as u64;
        pages.unmap_from(1);
        let path = c("/etc/passwd");
        let by_path = sys::call(libc::SYS_execve, [bad, good.at(), 0, 0, 0]);
        let of = |argv: u64| sys::call(libc::SYS_execve, [path.as_ptr() as u64, argv, 0, 0, 0]);
        vec![by_path, of(bad), of(half.at()), of(edge), of(0)]
    });
    let Some((run, pid, rets)) = acted else { return };
    let events = run.kind_of("exec", pid);
    assert_eq!(events.len(), 5, "{events:#?}");
    let told: Vec<_> = events.iter().map(|e| e["ret"].as_i64().expect("a number")).collect();
    assert_eq!(told, rets);
    assert_eq!((&events[0]["filename"], &events[0]["filename_why"]), (&"".into(), &"fault".into()), "{}", events[0]);
    assert_eq!((&events[0]["argv"], &events[0]["argv_why"]), (&json!(["good"]), &Value::Null));
    for unread in &events[1..4] {
        assert_eq!((&unread["argv_why"], &unread["cut"]), (&"fault".into(), &true.into()), "{unread}");
    }
    assert_eq!((&events[1]["argv"], &events[1]["cut"]), (&json!([]), &true.into()), "{}", events[1]);
    assert_eq!((&events[2]["argv"], &events[2]["argc"]), (&json!(["one"]), &3.into()), "{}", events[2]);
    assert_eq!(events[2]["cut"], true);
    assert_eq!((&events[3]["argv"], &events[3]["cut"]), (&json!(["good"]), &true.into()), "{}", events[3]);
    assert_eq!((&events[4]["argv"], &events[4]["cut"]), (&json!([]), &false.into()), "a null argv is none");
}

/// Pages of a mapped file that were never accessed are not in the caller's memory. Kernels that look up the program
/// before they read the arguments (6.9 and later) leave them so.
#[test]
fn arguments_in_pages_that_nobody_touched_are_not_made_up() {
    let _alone = alone();
    let dir = Dir::new();
    let path = dir.at("arguments");
    std::fs::write(&path, [b"first\0".as_slice(), &vec![b'x'; sys::page()]].concat()).expect("a file");
    let acted = trace("exec,exit", move || {
        let file = sys::open_path(&path);
        let untouched = || {
            // SAFETY: the kernel chooses the address of the new mapping, which is never unmapped.
            let at = unsafe {
                libc::mmap(std::ptr::null_mut(), sys::page(), libc::PROT_READ, libc::MAP_PRIVATE, file as i32, 0)
            };
            assert_ne!(at, libc::MAP_FAILED);
            at as u64
        };
        let mut second = Argv::new(&["there", "", "there again"]);
        second.pointers[1] = untouched();
        let mut only = Argv::new(&[""]);
        only.pointers[0] = untouched();
        [second, only].map(|argv| execve("/nowhere/untouched", argv.at())).to_vec()
    });
    let Some((run, pid, rets)) = acted else { return };
    assert_eq!(rets, [-i64::from(libc::ENOENT); 2]);
    let unread = [(json!(["there"]), 3), (json!([]), 1)];
    let touched = [(json!(["there", "first", "there again"]), 3), (json!(["first"]), 1)];
    let events = run.kind_of("exec", pid);
    assert_eq!(events.len(), 2, "{events:#?}");
    for (event, (unread, touched)) in events.iter().zip(unread.into_iter().zip(touched)) {
        let told = (event["argv"].clone(), n(&event["argc"]));
        let why = if event["cut"] == true { (unread, Value::from("fault")) } else { (touched, Value::Null) };
        assert_eq!((told, event["argv_why"].clone()), why, "{event}");
    }
    if events.iter().any(|event| event["cut"] != true) {
        not_checked("unread arguments: this kernel reads them before it looks up the program");
    }
}

#[test]
fn a_failed_exec_carries_its_thread() {
    let _alone = alone();
    let acted = trace("exec,exit", || {
        let thread = std::thread::spawn(|| {
            sys::set_comm(b"not the leader");
            let argv = Argv::new(&["of a thread"]);
            vec![sys::tid().into(), execve("/nowhere/thread", argv.at())]
        });
        thread.join().expect("no panic")
    });
    let Some((run, pid, numbers)) = acted else { return };
    let event = run.one("exec", pid, |_| true);
    check_failed(&event, numbers[1], "/nowhere/thread", &["of a thread"]);
    assert_eq!((&event["tid"], &event["comm"]), (&numbers[0].into(), &"not the leader".into()), "{event}");
    assert_ne!(numbers[0], i64::from(pid));
}

#[test]
fn a_failed_exec_of_a_32_bit_call_is_read_by_narrow_pointers() {
    let _alone = alone();
    let dir = Dir::new();
    let mut narrow = Narrow::new();
    let (path, argv, none) =
        (narrow.text("/nowhere/narrow"), narrow.list(&["one", "", "the third one"]), narrow.list(&[]));
    narrow.call(nr::EXECVE, [path, argv, none, 0]);
    narrow.call(arch::nr32::EXECVEAT, [libc::AT_FDCWD as u32, path, argv, none]);
    let Some(traced) = Traced::start(&["--kind", "exec"]) else { return };
    let Some(caller) = narrow.run_to_its_end(&dir) else { return arch::no_narrow() };
    let run = traced.stop();
    run.check();
    assert_eq!(caller.rets, [-i64::from(libc::ENOENT); 2]);
    let failed: Vec<Value> = run.kind_of("exec", caller.pid).into_iter().filter(|e| e["ret"] != 0).collect();
    if failed.is_empty() && doctor().contains("32-bit") {
        return cannot_run("the probes in use do not see 32-bit callers, as reported by doctor");
    }
    assert_eq!(failed.len(), 2, "{failed:#?}");
    for event in failed {
        check_failed(&event, -i64::from(libc::ENOENT), "/nowhere/narrow", &["one", "", "the third one"]);
    }
}

#[test]
fn an_exec_and_the_exit_of_a_32_bit_caller_are_shown() {
    let _alone = alone();
    let dir = Dir::new();
    let words = ["/bin/sh", "-c", "exit 7", "an argument"];
    let (mut becomes, mut exits) = (Narrow::new(), Narrow::new());
    let (path, argv, none) = (becomes.text(words[0]), becomes.list(&words), becomes.list(&[]));
    becomes.call(nr::EXECVE, [path, argv, none, 0]);
    exits.call(nr::EXIT, [9, 0, 0, 0]);
    let Some(traced) = Traced::start(&["--kind", "exec,exit"]) else { return };
    let Some(became) = becomes.run(&dir) else { return arch::no_narrow() };
    let Some(ended) = exits.run(&dir) else { return arch::no_narrow() };
    let run = traced.stop();
    run.check();
    assert_eq!((became.status.code(), ended.status.code()), (Some(7), Some(9)));
    let exec = run.one("exec", became.pid, |e| e["filename"] == words[0]);
    assert_eq!((&exec["ret"], &exec["argv"], &exec["cut"]), (&0.into(), &json!(words), &false.into()), "{exec}");
    assert_eq!(exec["exe"], std::fs::canonicalize(words[0]).expect("a program").to_str().expect("UTF-8"), "{exec}");
    assert_eq!(run.one("exit", became.pid, |_| true)["exit_code"], 7);
    assert_eq!(run.one("exit", ended.pid, |_| true)["exit_code"], 9);
}

/// The numbers of execve and execveat in x32.
#[cfg(target_arch = "x86_64")]
const X32_EXECS: [libc::c_long; 2] = [520, 545];

/// Executes a program by a system call of x32. Its first argument is the path, and the second is `argument`.
#[cfg(target_arch = "x86_64")]
fn exec_by_x32(call: libc::c_long, path: &str, argument: &str) -> i64 {
    let low = Pages::new(1, libc::MAP_32BIT);
    let path = low.put(0, &c(path).into_bytes_with_nul()) as u64;
    let argument = low.put(1024, &c(argument).into_bytes_with_nul()) as u64;
    let argv = [path, argument, 0].map(|at| (at as u32).to_le_bytes()).concat();
    let argv = low.put(2048, &argv) as u64;
    let none = low.put(3072, &[0; 8]) as u64;
    match call {
        520 => arch::x32(call, [path, argv, none, 0, 0]),
        _ => arch::x32(call, [libc::AT_FDCWD as u64, path, argv, none, 0]),
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn an_exec_by_x32_is_read_by_narrow_pointers() {
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "exec,exit"]) else { return };
    let failing = Actor::new(|| X32_EXECS.map(|call| exec_by_x32(call, "/nowhere/x32", "one")).to_vec());
    let failing_pid = failing.pid;
    let rets = failing.run();
    let running: Vec<_> = X32_EXECS
        .into_iter()
        .map(|call| {
            let mut actor = Actor::new(move || vec![exec_by_x32(call, "/bin/true", "two")]);
            actor.go();
            (actor.pid, actor.end())
        })
        .collect();
    let run = traced.stop();
    run.check();
    if rets[0] == -i64::from(libc::ENOSYS) {
        return crate::traced::not_checked(
            "x32: this kernel has no x32 system calls (CONFIG_X86_X32_ABI, syscall.x32=y)",
        );
    }
    let events = run.kind_of("exec", failing_pid);
    if events.is_empty() && crate::traced::doctor().contains("x32") {
        return cannot_run("the probes in use do not see x32 callers, as reported by doctor");
    }
    assert_eq!((rets.as_slice(), events.len()), (&[-i64::from(libc::ENOENT); 2][..], 2), "{events:#?}");
    for event in &events {
        check_failed(event, -i64::from(libc::ENOENT), "/nowhere/x32", &["/nowhere/x32", "one"]);
    }
    for (pid, ended) in running {
        assert_eq!(ended, (Status(0), vec![]), "/bin/true ran");
        let event = run.one("exec", pid, |_| true);
        assert_eq!((&event["ret"], &event["filename"]), (&0.into(), &"/bin/true".into()), "{event}");
        assert_eq!((&event["argv"], &event["argc"]), (&json!(["/bin/true", "two"]), &2.into()), "{event}");
        assert_eq!(run.one("exit", pid, |_| true)["exit_code"], 0);
    }
}

#[test]
fn a_failed_exec_changes_no_process_and_can_be_asked_for_alone() {
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "exec,exit", "--failed"]) else { return };
    let actor = Actor::new(|| {
        let argv = Argv::new(&["failing"]);
        vec![execve("/nowhere/alone", argv.at())]
    });
    let pid = actor.pid;
    actor.run();
    let mut done = std::process::Command::new("/bin/true").spawn().expect("a child");
    done.wait().expect("a status");
    let run = traced.stop();
    let account = run.check();
    run.one("exec", pid, |e| e["err"] == "ENOENT");
    assert_eq!(run.of(done.id() as i32), Vec::<Value>::new());
    assert_eq!(account["pairing"]["tid_not_pid"], 0, "{account}");
}

#[test]
fn without_failed_execs_no_program_sees_them() {
    const FAILED: u64 = 1000;
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "exec:ok"]) else { return };
    Actor::new(|| (0..FAILED).map(|_| execve("/nowhere/alone", Argv::new(&["failing"]).at())).collect()).run();
    let mut done = std::process::Command::new("/bin/true").spawn().expect("a child");
    done.wait().expect("a status");
    let run = traced.stop();
    let account = run.check();
    run.one("exec", done.id() as i32, |e| e["ret"] == 0);
    assert!(run.lines().all(|event| event["ret"] == 0), "all succeeded");
    // They would be seen and filtered.
    assert!(n(&account["kinds"]["exec"]["seen"]) < FAILED, "{account}");
}

/// A program whose second segment is at an address outside of user memory. The kernel detects this only past the point
/// of no return.
fn fatal_program() -> Vec<u8> {
    let mut elf = vec![0; 64 + 2 * 56];
    let mut put = |at: usize, bytes: &[u8]| elf[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &2u16.to_le_bytes());
    put(18, &arch::ELF_MACHINE.to_le_bytes());
    put(20, &1u32.to_le_bytes());
    put(24, &0x40_0000u64.to_le_bytes());
    put(32, &64u64.to_le_bytes());
    put(52, &64u16.to_le_bytes());
    put(54, &56u16.to_le_bytes());
    put(56, &2u16.to_le_bytes());
    for (i, address) in [0x40_0000u64, 0xffff_8000_0000_0000].into_iter().enumerate() {
        let at = 64 + i * 56;
        put(at, &1u32.to_le_bytes());
        put(at + 4, &5u32.to_le_bytes());
        put(at + 16, &address.to_le_bytes());
        put(at + 24, &address.to_le_bytes());
        put(at + 32, &176u64.to_le_bytes());
        put(at + 40, &176u64.to_le_bytes());
        // The maximum size of a page.
        put(at + 48, &65536u64.to_le_bytes());
    }
    elf
}

#[test]
fn an_exec_that_kills_its_caller_is_shown() {
    let _alone = alone();
    let dir = Dir::new();
    let path = dir.at("fatal");
    std::fs::write(&path, fatal_program()).expect("a file");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let Some(traced) = Traced::start(&["--kind", "exec,exit"]) else { return };
    let to_run = path.clone();
    let mut actor = Actor::new(move || vec![execve(&to_run, Argv::new(&["fatal"]).at())]);
    actor.go();
    let pid = actor.pid;
    let (status, _) = actor.end();
    let run = traced.stop();
    run.check();
    assert_eq!(status, Status(libc::SIGSEGV), "the kernel ended it");
    let event = run.one("exec", pid, |_| true);
    assert!(event["ret"].as_i64().is_some_and(|ret| ret < 0), "{event}");
    assert_eq!((&event["exe"], &event["filename_why"]), (&path.as_str().into(), &"fault".into()), "{event}");
    assert_eq!((&event["argv"], &event["cut"]), (&json!([]), &true.into()), "{event}");
    assert_eq!(run.one("exit", pid, |_| true)["signal"], "SIGSEGV");
}
