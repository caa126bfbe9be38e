//! Programs that start or fail to start: the passed path, the loaded file, the arguments, the user, the working
//! directory and the error.

use crate::cases::compare;
use crate::prelude::*;

const EXECS: [&str; 2] = ["--kind", "exec,exit"];

#[test]
fn failed_execs_have_the_request_and_the_error() {
    check(&EXECS, FAILED);
}

#[test]
fn programs_that_start_have_their_files_and_arguments() {
    check(&EXECS, STARTED);
}

#[test]
fn execs_of_32_bit_and_x32_callers_are_read_by_narrow_pointers() {
    check_callers(&EXECS, CALLERS, |event| match event["filename"].as_str()? {
        NARROW => Some("32-bit"),
        X32 => Some("x32"),
        _ => None,
    });
}

const FAILED: &[Case] = &[
    ("four errors", four_errors),
    ("at descriptors", failed_at_descriptors),
    ("only checks", |_| {
        let check = |path: &str| execveat(libc::AT_FDCWD, path, Argv::new(&["check"]).at(), CHECK);
        let [good, bad] = ["/bin/true", "/etc/passwd"].map(check);
        if good == -i64::from(libc::EINVAL) {
            return Err("this kernel has no AT_EXECVE_CHECK".to_owned());
        }
        assert_eq!([good, bad], [0, -i64::from(libc::EACCES)]);
        Ok(vec![none("exec", sys::pid())])
    }),
    ("long arguments", many_and_long_arguments),
    ("unread", unread),
    ("untouched pages", untouched_pages),
    ("thread", |_| {
        let thread = std::thread::spawn(|| {
            sys::set_comm(b"not the leader");
            assert_ne!(sys::tid(), sys::pid());
            let ret = execve("/nowhere/thread", Argv::new(&["of a thread"]).at());
            let of_thread = json!({"tid": sys::tid(), "comm": "not the leader"});
            vec![with(failed(ret, "/nowhere/thread", &["of a thread"]), of_thread)]
        });
        Ok(thread.join().expect("no panic"))
    }),
    ("fatal", fatal),
];

const STARTED: &[Case] = &[
    ("program", |dir| {
        let (place, path) = (dir.dir("place"), copy(dir, "program", 0o755));
        let pid = ran(|| {
            std::env::set_current_dir(&place).expect("a directory");
            become_program(&path, &["called so", "", "two words"])
        })?;
        let event = started(pid, &path, &path, None, &["called so", "", "two words"]);
        Ok(vec![with(event, json!({"cwd": place, "comm": "program", "ppid": sys::pid()}))])
    }),
    ("script", |dir| {
        let path = script(dir, "script", &format!("#! {TRUE} one two"));
        let pid = ran(|| become_program(&path, &["not seen", "last"]))?;
        let event = started(pid, &path, &true_file(), Some(TRUE), &[TRUE, "one two", &path, "last"]);
        Ok(vec![with(event, json!({"comm": "script"}))])
    }),
    ("script of script", |dir| {
        let inner = script(dir, "inner", &format!("#!{TRUE} in"));
        let outer = script(dir, "outer", &format!("#!{inner} out"));
        let pid = ran(|| become_program(&outer, &["outer", "last"]))?;
        let argv = [TRUE, "in", &inner, "out", &outer, "last"];
        Ok(vec![started(pid, &outer, &true_file(), Some(TRUE), &argv)])
    }),
    ("own format", |dir| {
        let registry = dir.dir("registry");
        mount("binfmt_misc", &registry, "")?;
        let name = format!("tracetui{}", sys::pid());
        fs::write(format!("{registry}/register"), format!(":{name}:M::tracetui-format::{TRUE}:")).expect("a format");
        let path = script(dir, "document", "tracetui-format");
        let ran = ran(|| become_program(&path, &["not seen", "last"]));
        fs::write(format!("{registry}/{name}"), "-1").expect("the format goes");
        Ok(vec![started(ran?, &path, &true_file(), Some(TRUE), &[TRUE, &path, "last"])])
    }),
    ("at a file", |dir| {
        let program = copy(dir, "program", 0o755);
        let file = File::open(&program).expect("a file").into_raw_fd();
        let pid = ran(|| become_at(file, "", &["empty path"], libc::AT_EMPTY_PATH))?;
        Ok(vec![started(pid, &format!("/dev/fd/{file}"), &program, None, &["empty path"])])
    }),
    ("in a directory", |dir| {
        let program = copy(dir, "program", 0o755);
        let place = File::open(dir.path()).expect("a directory").into_raw_fd();
        let pid = ran(|| become_at(place, "program", &["in a directory"], 0))?;
        Ok(vec![started(pid, &format!("/dev/fd/{place}/program"), &program, None, &["in a directory"])])
    }),
    ("in memory", |_| {
        let memory = sys::memory(c"a program");
        fs::copy(TRUE, format!("/proc/self/fd/{memory}")).expect("a program");
        let pid = ran(|| become_at(memory, "", &["from memory"], libc::AT_EMPTY_PATH))?;
        Ok(vec![started(pid, &format!("/dev/fd/{memory}"), "memfd:a program", None, &["from memory"])])
    }),
    ("script at fd", |dir| {
        let path = script(dir, "script", &format!("#!{TRUE}"));
        // There is no O_CLOEXEC, so that the interpreter can open it.
        let fd = arch::open(&c(path.clone()), libc::O_RDONLY, 0) as i32;
        let pid = ran(|| become_at(fd, "", &["not seen", "last"], libc::AT_EMPTY_PATH))?;
        let name = format!("/dev/fd/{fd}");
        let event = started(pid, &name, &true_file(), Some(TRUE), &[TRUE, &name, "last"]);
        Ok(vec![with(event, json!({"script": path}))])
    }),
    ("script in memory", |_| {
        let memory = sys::memory(c"a script");
        fs::write(format!("/proc/self/fd/{memory}"), format!("#!{TRUE}\n")).expect("a script");
        let far = sys::dup2(memory as u64, 300) as i32;
        let mut told = Vec::new();
        for (fd, directory) in [(memory, "/dev/fd"), (memory, "/proc/self/fd"), (far, "/proc/self/fd")] {
            let name = format!("{directory}/{fd}");
            let pid = ran(|| match directory {
                "/dev/fd" => become_at(fd, "", &["not seen"], libc::AT_EMPTY_PATH),
                _ => become_program(&name, &["not seen"]),
            })?;
            let event = started(pid, &name, &true_file(), Some(TRUE), &[TRUE, &name]);
            told.push(with(event, json!({"script": "memfd:a script"})));
        }
        Ok(told)
    }),
    ("set-user-ID", set_user_id),
];

const CALLERS: &[Case] = &[
    ("32-bit", |dir| {
        let args = ["one", "", "the third one"];
        let mut narrow = Narrow::new();
        let (path, argv, none) = (narrow.text(NARROW), narrow.list(&args), narrow.list(&[]));
        narrow.call(nr::EXECVE, [path, argv, none, 0]);
        narrow.call(arch::nr32::EXECVEAT, [libc::AT_FDCWD as u32, path, argv, none]);
        let caller = narrow.run_to_its_end(dir)?;
        assert_eq!(caller.rets, [-i64::from(libc::ENOENT); 2]);
        let event = with(failed(caller.rets[0], NARROW, &args), json!({"pid": caller.pid}));
        // On aarch64 the caller is another program.
        let itself = event_of_program(caller.pid);
        Ok(itself.into_iter().chain([event.clone(), event]).collect())
    }),
    ("narrow", |dir| {
        let words = ["/bin/sh", "-c", "exit 7", "an argument"];
        let (mut becomes, mut exits) = (Narrow::new(), Narrow::new());
        let (path, argv, none) = (becomes.text(words[0]), becomes.list(&words), becomes.list(&[]));
        becomes.call(nr::EXECVE, [path, argv, none, 0]);
        exits.call(nr::EXIT, [9, 0, 0, 0]);
        let (became, ended) = (becomes.run(dir)?, exits.run(dir)?);
        assert_eq!((became.status.code(), ended.status.code()), (Some(7), Some(9)));
        let sh = fs::canonicalize(words[0]).expect("a program");
        let exec = json!({"filename": words[0], "ret": 0, "argv": words, "cut": false, "exe": sh.to_str()});
        Ok(event_of_program(became.pid)
            .into_iter()
            .chain([
                event("exec", became.pid, exec),
                event("exit", became.pid, json!({"exit_code": 7})),
                event("exit", ended.pid, json!({"exit_code": 9})),
            ])
            .collect())
    }),
    #[cfg(target_arch = "x86_64")]
    ("x32", x32_callers),
];

/// The exec of the program that makes the narrow calls, if it is one.
fn event_of_program(pid: i32) -> Option<Value> {
    cfg!(target_arch = "aarch64").then(|| event("exec", pid, json!({"ret": 0, "filename": {"?ends": "/arm"}})))
}

const NARROW: &str = "/nowhere/narrow";
const X32: &str = "/nowhere/x32";

const TRUE: &str = "/bin/true";
const EMPTY_ENVIRONMENT: [u64; 1] = [0];
/// `AT_EXECVE_CHECK` (6.14+).
const CHECK: u64 = 0x10000;

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

fn execve(path: &str, argv: u64) -> i64 {
    let path = c(path);
    sys::call(libc::SYS_execve, &[path.as_ptr() as u64, argv, EMPTY_ENVIRONMENT.as_ptr() as u64])
}

fn execveat(dirfd: i32, path: &str, argv: u64, flags: u64) -> i64 {
    let path = c(path);
    let environment = EMPTY_ENVIRONMENT.as_ptr() as u64;
    sys::call(libc::SYS_execveat, &[dirfd as u64, path.as_ptr() as u64, argv, environment, flags])
}

fn failed(ret: i64, filename: &str, argv: &[&str]) -> Value {
    assert!(ret < 0, "{filename}: {ret}");
    let failed = json!({
        "ret": ret, "filename": filename, "argv": argv, "argc": argv.len(), "cut": false, "old_tid": null, "interp": null,
        "exe": null, "exe_why": "failed",
    });
    event("exec", sys::pid(), failed)
}

fn four_errors(dir: &Dir) -> Told {
    let (no_exec, not_a_program) = (dir.file("no exec"), dir.at("not a program"));
    fs::write(&not_a_program, b"\x01\x02\x03").expect("a file");
    fs::set_permissions(&not_a_program, fs::Permissions::from_mode(0o755)).expect("a mode");
    std::env::set_current_dir(dir.path()).expect("a directory");
    let fails = [
        ("/nowhere/program", libc::ENOENT, "ENOENT"),
        (&no_exec, libc::EACCES, "EACCES"),
        (&not_a_program, libc::ENOEXEC, "ENOEXEC"),
        (&dir.at(""), libc::EACCES, "EACCES"),
    ];
    let told = fails.map(|(path, errno, err)| {
        let args = ["first", "", "the third one"];
        let ret = execve(path, Argv::new(&args).at());
        assert_eq!(ret, -i64::from(errno), "{path}");
        with(failed(ret, path, &args), json!({"cwd": dir.path(), "dir": null, "err": err}))
    });
    Ok(told.to_vec())
}

fn failed_at_descriptors(dir: &Dir) -> Told {
    let (place, plain) = (File::open(dir.path()).expect("a directory"), File::open(dir.file("plain")).expect("a file"));
    let (place, plain) = (place.as_raw_fd(), plain.as_raw_fd());
    let (here, gone) = (dir.dir("here"), dir.dir("gone"));
    std::env::set_current_dir(&here).expect("a directory");
    let at = |path: &str| json!({"dir": path, "dir_why": absent(), "cwd": here});
    let nowhere = json!({"dir": null, "dir_why": absent()});
    let closed = json!({"dir": null, "dir_why": "vanished"});
    let below = dir.path().to_str().expect("text");
    let calls = [
        (place, "plain", 0, format!("/dev/fd/{place}/plain"), at(below)),
        (plain, "", libc::AT_EMPTY_PATH as u64, format!("/dev/fd/{plain}"), at(&dir.at("plain"))),
        (place, "/nowhere/absolute", 0, "/nowhere/absolute".to_owned(), nowhere.clone()),
        (libc::AT_FDCWD, "/dev/fd/0/plain", 0, "/dev/fd/0/plain".to_owned(), nowhere),
        (libc::AT_FDCWD, "nowhere/relative", 0, "nowhere/relative".to_owned(), at(&here)),
        (-7, "plain", 0, "/dev/fd/-7/plain".to_owned(), closed.clone()),
        (1_234_567, "plain", 0, "/dev/fd/1234567/plain".to_owned(), closed),
    ];
    let call = |dirfd, path, flags, filename: &str, more| {
        with(failed(execveat(dirfd, path, Argv::new(&["at"]).at(), flags), filename, &["at"]), more)
    };
    let mut told = calls.map(|(dirfd, path, flags, filename, more)| call(dirfd, path, flags, &filename, more)).to_vec();
    // The descriptor is another directory after the call, and the working directory is deleted.
    let held = File::open(&here).expect("a directory");
    let name = format!("/dev/fd/{}/moves on", held.as_raw_fd());
    told.push(call(held.as_raw_fd(), "moves on", 0, &name, at(&here)));
    drop(held);
    let _other = File::open(&gone).expect("a directory");
    std::env::set_current_dir(&gone).expect("a directory");
    fs::remove_dir(&gone).expect("an empty directory");
    let deleted = json!({"dir": gone, "cwd": gone, "cwd_deleted": true});
    told.push(call(libc::AT_FDCWD, "deleted", 0, "deleted", deleted));
    Ok(told)
}

fn many_and_long_arguments(_: &Dir) -> Told {
    const NOWHERE: &str = "/nowhere/args";
    let run = |args: &[&str]| {
        let ret = execve(NOWHERE, Argv::new(args).at());
        assert_eq!(ret, -i64::from(libc::ENOENT));
        failed(ret, NOWHERE, args)
    };
    let [a, b] = ["a", "b"].map(|letter| letter.repeat(8000));
    let many: Vec<String> = (0..2000).map(|i| i.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut told = vec![run(&many), run(&[&a, &b])];
    // A beginning, and nothing after it. All are counted.
    let cut = json!({"cut": true, "argv": ["x", {"?start_of": "c".repeat(9000)}]});
    told.push(with(run(&["x", &"c".repeat(9000), "y"]), cut));
    told.push(run(&[]));
    told.extend([8190, 8191, 8192].map(|len| {
        let arg = "d".repeat(len);
        let whole = run(&[&arg]);
        if len <= 8191 {
            return whole;
        }
        let [is_whole, is_cut] = [json!({"argv": [arg], "cut": false}), json!({"argv": {"?not": [arg]}, "cut": true})];
        with(whole, json!({"argv": {}, "cut": {}, "?or": [is_whole, is_cut]}))
    }));
    Ok(told)
}

fn unread(_: &Dir) -> Told {
    let bad = 0x1000_u64;
    let good = Argv::new(&["good"]);
    let mut half = Argv::new(&["one", "two", "three"]);
    half.pointers[1] = bad;
    let path = c("/etc/passwd");
    let path = path.as_ptr() as u64;
    let mut pages = Pages::new(2, 0);
    let edge = pages.put(sys::page() - 8, &good.pointers[0].to_le_bytes()) as u64;
    pages.unmap_from(1);
    // Nothing is allocated between: it could get the place of the second page.
    let calls = [(bad, good.at()), (path, bad), (path, half.at()), (path, edge), (path, 0)];
    let rets = calls.map(|(filename, argv)| sys::call(libc::SYS_execve, &[filename, argv]));
    let told = [
        json!({"filename": "", "filename_why": "fault", "argv": ["good"], "argv_why": null}),
        json!({"argv": [], "argv_why": "fault", "cut": true}),
        json!({"argv": ["one"], "argc": 3, "argv_why": "fault", "cut": true}),
        json!({"argv": ["good"], "argv_why": "fault", "cut": true}),
        // A null argv is none.
        json!({"argv": [], "cut": false}),
    ];
    let told = rets.into_iter().zip(told);
    Ok(told.map(|(ret, event)| with(self::event("exec", sys::pid(), json!({"ret": ret})), event)).collect())
}

/// Pages of a mapped file that were never accessed are not in the caller's memory. Kernels that look up the program
/// before they read the arguments (6.9 and later) leave them so.
fn untouched_pages(dir: &Dir) -> Told {
    let path = dir.at("arguments");
    fs::write(&path, [b"first\0".as_slice(), &vec![b'x'; sys::page()]].concat()).expect("a file");
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
    let told =
        [(second, json!(["there"]), json!(["there", "first", "there again"])), (only, json!([]), json!(["first"]))];
    let told = told.map(|(argv, unread, touched)| {
        let ret = execve("/nowhere/untouched", argv.at());
        assert_eq!(ret, -i64::from(libc::ENOENT));
        let argc = argv.pointers.len() - 1;
        let unread = json!({"cut": true, "argv": unread, "argv_why": "fault"});
        let touched = json!({"cut": false, "argv": touched, "argv_why": null});
        event("exec", sys::pid(), json!({"ret": ret, "argc": argc, "?or": [unread, touched]}))
    });
    Ok(told.to_vec())
}

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

fn fatal(dir: &Dir) -> Told {
    let path = dir.at("fatal");
    fs::write(&path, fatal_program()).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    let pid = fork(|| _ = execve(&path, Argv::new(&["fatal"]).at()));
    assert_eq!(sys::wait(pid), sys::Status(libc::SIGSEGV), "the kernel ended it");
    let exec = json!({"ret": {"?le": -1}, "exe": path, "filename_why": "fault", "argv": [], "cut": true});
    Ok(vec![event("exec", pid, exec), event("exit", pid, json!({"signal": "SIGSEGV"}))])
}

fn true_file() -> String {
    fs::canonicalize(TRUE).expect("a program").to_str().expect("UTF-8").to_owned()
}

fn copy(dir: &Dir, name: &str, mode: u32) -> String {
    let path = dir.at(name);
    fs::copy(TRUE, &path).expect("a copy");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
    path
}

fn script(dir: &Dir, name: &str, first_line: &str) -> String {
    let path = dir.at(name);
    fs::write(&path, format!("{first_line}\n")).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}

fn become_at(dirfd: i32, path: &str, args: &[&str], flags: i32) -> i64 {
    execveat(dirfd, path, Argv::new(args).at(), flags as u64)
}

pub(crate) fn become_program(path: &str, args: &[&str]) -> i64 {
    become_at(libc::AT_FDCWD, path, args, 0)
}

/// Runs a process that executes a program, and returns its id. `Err` if this kernel cannot execute it.
fn ran(act: impl FnOnce() -> i64) -> Result<i32, String> {
    let pid = fork(|| sys::exit(-act() as i32));
    match sys::wait(pid).code() {
        Some(0) => Ok(pid),
        Some(errno) => Err(format!("this kernel cannot execute it: {}", std::io::Error::from_raw_os_error(errno))),
        None => panic!("the program ended well"),
    }
}

fn started(pid: i32, filename: &str, exe: &str, interp: Option<&str>, argv: &[&str]) -> Value {
    let started = json!({
        "ret": 0, "err": null, "cut": false, "tid": pid, "filename": filename, "exe": exe, "interp": interp, "argv": argv,
        "argc": argv.len(), "script": null,
    });
    event("exec", pid, started)
}

fn mount(fstype: &str, target: &str, options: &str) -> Result<(), String> {
    sys::own_mounts();
    sys::try_mount("none", target, fstype, 0, options).map_err(|_| format!("this kernel has no {fstype}"))
}

/// A program that changes the user shows who called, and whose rights it has.
fn set_user_id(dir: &Dir) -> Told {
    let given = copy(dir, "given", 0o755);
    chown(&given, Some(NOBODY), Some(NOBODY)).expect("an owner");
    fs::set_permissions(&given, fs::Permissions::from_mode(0o6755)).expect("a mode");
    let taken = copy(dir, "taken", 0o4755);
    let stat = rustix::fs::statvfs(dir.path()).expect("a file system");
    if stat.f_flag.contains(rustix::fs::StatVfsMountFlags::NOSUID) {
        return Err("temporary files are on a mount without setuid".to_owned());
    }
    let down = ran(|| become_program(&given, &["down"]))?;
    let up = ran(|| {
        assert_eq!(sys::call(libc::SYS_setresgid, &[1000, 1000, 1000]), 0);
        sys::set_user(1000, 1000, 1000);
        become_program(&taken, &["up"])
    })?;
    let ids = |[uid, gid, euid, egid]: [u32; 4]| json!({"uid": uid, "gid": gid, "euid": euid, "egid": egid});
    Ok(vec![
        with(started(down, &given, &given, None, &["down"]), ids([0, 0, NOBODY, NOBODY])),
        with(started(up, &taken, &taken, None, &["up"]), ids([1000, 1000, 0, 1000])),
    ])
}

/// Executes programs by the system calls of x32. The first argument is the path.
#[cfg(target_arch = "x86_64")]
fn x32_callers(_: &Dir) -> Told {
    let exec = |call: libc::c_long, path: &str, argument: &str| {
        let low = Pages::new(1, libc::MAP_32BIT);
        let path = low.put(0, &c(path).into_bytes_with_nul()) as u64;
        let argument = low.put(1024, &c(argument).into_bytes_with_nul()) as u64;
        let argv = [path, argument, 0].map(|at| (at as u32).to_le_bytes()).concat();
        let argv = low.put(2048, &argv) as u64;
        let none = low.put(3072, &[0; 8]) as u64;
        match call {
            520 => arch::x32(call, &[path, argv, none]),
            _ => arch::x32(call, &[libc::AT_FDCWD as u64, path, argv, none]),
        }
    };
    let mut told = Vec::new();
    // The numbers of execve and execveat.
    for call in [520, 545] {
        let ret = exec(call, X32, "one");
        if ret == -i64::from(libc::ENOSYS) {
            return Err("this kernel has no x32 system calls (CONFIG_X86_X32_ABI, syscall.x32=y)".to_owned());
        }
        assert_eq!(ret, -i64::from(libc::ENOENT));
        let pid = ran(|| exec(call, TRUE, "two"))?;
        let argv = json!({"ret": 0, "filename": TRUE, "argv": [TRUE, "two"], "argc": 2});
        told.extend([
            failed(ret, X32, &[X32, "one"]),
            event("exec", pid, argv),
            event("exit", pid, json!({"exit_code": 0})),
        ]);
    }
    Ok(told)
}

/// The kernel starts the release agent of a cgroup hierarchy by itself
/// ([`call_usermodehelper`](https://elixir.bootlin.com/linux/v6.12/source/kernel/umh.c)), without a system call.
#[test]
fn a_program_that_the_kernel_starts_is_shown() {
    let Some(traced) = Traced::start(&EXECS) else { return };
    let (dir, output) = (Dir::new(), traced.output().to_owned());
    let argument = format!("/left-{}", sys::pid());
    let of_agent = |event: &Value| event["kind"] == "exec" && event["argv"] == json!([TRUE, argument]);
    let actor = Actor::new(|| {
        let hierarchy = dir.dir("hierarchy");
        if mount("cgroup", &hierarchy, &format!("none,name=tracetui-{}", sys::pid())).is_err() {
            return vec![];
        }
        let group = format!("{hierarchy}{argument}");
        fs::write(format!("{hierarchy}/release_agent"), TRUE).expect("an agent");
        fs::create_dir(&group).expect("a cgroup");
        fs::write(format!("{group}/notify_on_release"), "1").expect("a switch");
        sys::wait(fork(|| fs::write(format!("{group}/cgroup.procs"), "0").expect("a place in the cgroup")));
        let pid = wait_for(|| {
            let text = fs::read_to_string(output).expect("UTF-8");
            let lines = || text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let pid = lines().find(of_agent)?["pid"].clone();
            lines().find(|line| line["kind"] == "exit" && line["pid"] == pid)?["pid"].as_i64()
        });
        fs::remove_dir(&group).expect("the cgroup goes");
        vec![pid]
    });
    let [pid] = actor.run()[..] else { return cannot_run("this kernel has no cgroup hierarchy") };
    let run = traced.stop_and_check();
    let pid = pid as i32;
    let exec = with(started(pid, TRUE, &true_file(), None, &[TRUE, &argument]), json!({"uid": 0, "cwd": "/"}));
    let wrong = compare(&[exec, event("exit", pid, json!({"exit_code": 0}))], &run.lines().collect::<Vec<_>>());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_failed_exec_changes_no_process_and_can_be_asked_for_alone() {
    let Some(traced) = Traced::start(&["--kind", "exec,exit", "--failed"]) else { return };
    let actor = Actor::new(|| {
        let argv = Argv::new(&["failing"]);
        vec![execve("/nowhere/alone", argv.at())]
    });
    let pid = actor.pid;
    actor.run();
    let done = sys::run_program(&mut Command::new("/bin/true"));
    let (run, account) = traced.stop_with_account();
    run.one("exec", pid, |e| e["err"] == "ENOENT");
    assert_eq!(run.of(done), Vec::<Value>::new());
    assert_eq!(account["pairing"]["tid_not_pid"], 0, "{account}");
}

#[test]
fn without_failed_execs_no_program_sees_them() {
    const FAILED: u64 = 1000;
    let Some(traced) = Traced::start(&["--kind", "exec:ok"]) else { return };
    Actor::new(|| (0..FAILED).map(|_| execve("/nowhere/alone", Argv::new(&["failing"]).at())).collect()).run();
    let done = sys::run_program(&mut Command::new("/bin/true"));
    let (run, account) = traced.stop_with_account();
    run.one("exec", done, |e| e["ret"] == 0);
    assert!(run.lines().all(|event| event["ret"] == 0), "all succeeded");
    // They would be seen and filtered.
    assert!(n(&account["kinds"]["exec"]["seen"]) < FAILED, "{account}");
}
