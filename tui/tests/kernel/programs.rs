//! Programs that start: the passed path, the loaded file, the arguments, the user and the working directory.

use crate::sys::{self, Actor, c};
use crate::traced::{Dir, Run, Traced, alone, cannot_run, may_trace};
use serde_json::{Value, json};
use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown};

/// A program that does nothing.
const TRUE: &str = "/bin/true";
const NOBODY: u32 = 65_534;

/// The resolved path of [`TRUE`].
fn true_file() -> String {
    fs::canonicalize(TRUE).expect("a program").to_str().expect("UTF-8").to_owned()
}

/// Copies [`TRUE`]. Returns the path of the copy.
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

/// Executes a program in this process. Returns the negative errno on failure.
fn become_at(dirfd: i32, path: &CStr, args: &[&str], flags: i32) -> i64 {
    let args: Vec<CString> = args.iter().map(|arg| c(*arg)).collect();
    let mut argv: Vec<u64> = args.iter().map(|arg| arg.as_ptr() as u64).collect();
    argv.push(0);
    let environment = [0u64];
    sys::call(
        libc::SYS_execveat,
        [dirfd as u64, path.as_ptr() as u64, argv.as_ptr() as u64, environment.as_ptr() as u64, flags as u64],
    )
}

fn become_program(path: &str, args: &[&str]) -> i64 {
    become_at(libc::AT_FDCWD, &c(path), args, 0)
}

/// Traces a process that executes a program. Returns its only exec. `None` if it cannot be traced, or if this kernel
/// cannot execute the program without a tracer either.
fn exec_of(act: impl Fn() -> i64) -> Option<Value> {
    let traced = Traced::start(&["--kind", "exec,exit"])?;
    let (pid, failed) = run(&act);
    let run_of = traced.stop();
    run_of.check();
    if failed.is_some() {
        assert_eq!(failed, run(&act).1, "it fails without a tracer too");
        cannot_run(&format!("this kernel cannot execute it: {failed:?}"));
        return None;
    }
    Some(only_exec(&run_of, pid))
}

/// Runs a process that executes a program. Returns its pid, and the error on failure.
fn run(act: impl Fn() -> i64) -> (i32, Option<i64>) {
    let mut actor = Actor::new(|| vec![act()]);
    let pid = actor.pid;
    actor.go();
    let (status, failed) = actor.end();
    assert_eq!(status.code(), Some(0), "the program ended well");
    (pid, failed.first().copied())
}

fn only_exec(run: &Run, pid: i32) -> Value {
    let event = run.one("exec", pid, |_| true);
    assert_eq!((&event["ret"], &event["err"], &event["cut"]), (&0.into(), &Value::Null, &false.into()), "{event}");
    assert_eq!(event["tid"], event["pid"], "{event}");
    event
}

fn check(event: &Value, filename: &str, exe: &str, interp: Option<&str>, argv: &[&str]) {
    assert_eq!((&event["filename"], &event["exe"]), (&filename.into(), &exe.into()), "{event}");
    assert_eq!(event["interp"], json!(interp), "{event}");
    assert_eq!((&event["argv"], &event["argc"]), (&json!(argv), &argv.len().into()), "{event}");
}

/// Runs `work` in a thread whose mount namespace has an additional file system, if the kernel supports it.
fn with_mount(fstype: &str, target: &str, options: &str, work: impl FnOnce() + Send) {
    let (source, fs, target, options) = (c("none"), c(fstype), c(target), c(options));
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            sys::own_mounts();
            // SAFETY: all arguments are C strings that outlive the call.
            let mounted =
                unsafe { libc::mount(source.as_ptr(), target.as_ptr(), fs.as_ptr(), 0, options.as_ptr().cast()) };
            if mounted != 0 {
                return cannot_run(&format!("this kernel has no {fstype}"));
            }
            work();
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn a_program_starts_with_its_arguments_where_it_was_called() {
    let _alone = alone();
    let dir = Dir::new();
    let (place, program) = (dir.dir("place"), copy(&dir, "program", 0o755));
    let to_run = program.clone();
    let there = place.clone();
    let event = exec_of(move || {
        std::env::set_current_dir(&there).expect("a directory");
        become_program(&to_run, &["called so", "", "two words"])
    });
    let Some(event) = event else { return };
    check(&event, &program, &program, None, &["called so", "", "two words"]);
    assert_eq!((&event["cwd"], &event["comm"]), (&place.into(), &"program".into()), "{event}");
    assert_eq!(event["ppid"], sys::pid(), "{event}");
}

#[test]
fn a_script_shows_itself_its_interpreter_and_the_arguments_that_the_kernel_made() {
    let _alone = alone();
    let dir = Dir::new();
    let path = script(&dir, "script", &format!("#! {TRUE} one two"));
    let to_run = path.clone();
    let Some(event) = exec_of(move || become_program(&to_run, &["not seen", "last"])) else { return };
    check(&event, &path, &true_file(), Some(TRUE), &[TRUE, "one two", &path, "last"]);
    assert_eq!(event["comm"], "script", "{event}");
}

#[test]
fn a_script_whose_interpreter_is_a_script_shows_the_last_one() {
    let _alone = alone();
    let dir = Dir::new();
    let inner = script(&dir, "inner", &format!("#!{TRUE} in"));
    let outer = script(&dir, "outer", &format!("#!{inner} out"));
    let to_run = outer.clone();
    let Some(event) = exec_of(move || become_program(&to_run, &["outer", "last"])) else { return };
    check(&event, &outer, &true_file(), Some(TRUE), &[TRUE, "in", &inner, "out", &outer, "last"]);
}

#[test]
fn a_format_of_its_own_shows_its_interpreter() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let dir = Dir::new();
    let registry = dir.dir("registry");
    with_mount("binfmt_misc", &registry, "", || format_of_its_own(&dir, &registry));
}

fn format_of_its_own(dir: &Dir, registry: &str) {
    let name = format!("tracetui{}", sys::pid());
    fs::write(format!("{registry}/register"), format!(":{name}:M::tracetui-format::{TRUE}:")).expect("a format");
    let path = script(dir, "document", "tracetui-format");
    let to_run = path.clone();
    let event = exec_of(move || become_program(&to_run, &["not seen", "last"]));
    fs::write(format!("{registry}/{name}"), "-1").expect("the format goes");
    let Some(event) = event else { return };
    check(&event, &path, &true_file(), Some(TRUE), &[TRUE, &path, "last"]);
}

#[test]
fn a_program_at_a_descriptor_is_named_as_the_kernel_names_it() {
    let _alone = alone();
    let dir = Dir::new();
    let program = copy(&dir, "program", 0o755);
    let (file, place) = (fs::File::open(&program).expect("a file"), fs::File::open(dir.path()).expect("a directory"));
    let (file, place) = (file.as_raw_fd(), place.as_raw_fd());
    let Some(event) = exec_of(move || become_at(file, c"", &["empty path"], libc::AT_EMPTY_PATH)) else { return };
    check(&event, &format!("/dev/fd/{file}"), &program, None, &["empty path"]);
    let Some(event) = exec_of(move || become_at(place, c"program", &["in a directory"], 0)) else { return };
    check(&event, &format!("/dev/fd/{place}/program"), &program, None, &["in a directory"]);
}

#[test]
fn a_program_in_memory_has_no_file() {
    let _alone = alone();
    // SAFETY: the name is a C string that outlives the call.
    let memory = unsafe { libc::memfd_create(c"a program".as_ptr(), 0) };
    fs::copy(TRUE, format!("/proc/self/fd/{memory}")).expect("a program");
    let traced = exec_of(move || become_at(memory, c"", &["from memory"], libc::AT_EMPTY_PATH));
    // SAFETY: `memory` is a descriptor of this test that nothing uses any more.
    unsafe { libc::close(memory) };
    let Some(event) = traced else { return };
    check(&event, &format!("/dev/fd/{memory}"), "memfd:a program", None, &["from memory"]);
}

#[test]
fn a_script_at_a_descriptor_is_passed_by_its_number() {
    let _alone = alone();
    let dir = Dir::new();
    let path = c(script(&dir, "script", &format!("#!{TRUE}")));
    // There is no O_CLOEXEC, so that the interpreter can open it.
    let fd = crate::arch::open(&path, libc::O_RDONLY, 0) as i32;
    let event = exec_of(move || become_at(fd, c"", &["not seen", "last"], libc::AT_EMPTY_PATH));
    sys::close(fd.into());
    let Some(event) = event else { return };
    let name = format!("/dev/fd/{fd}");
    check(&event, &name, &true_file(), Some(TRUE), &[TRUE, &name, "last"]);
}

#[test]
fn a_program_that_changes_the_user_shows_who_called_and_whose_rights_it_has() {
    let _alone = alone();
    let dir = Dir::new();
    let given = copy(&dir, "given", 0o755);
    chown(&given, Some(NOBODY), Some(NOBODY)).expect("an owner");
    fs::set_permissions(&given, fs::Permissions::from_mode(0o6755)).expect("a mode");
    let taken = copy(&dir, "taken", 0o4755);
    if no_setuid(&dir) {
        return cannot_run("temporary files are on a mount without setuid");
    }
    let Some(event) = exec_of(move || become_program(&given, &["down"])) else { return };
    let ids = |event: &Value| ["uid", "gid", "euid", "egid"].map(|id| event[id].clone());
    assert_eq!(ids(&event), [0, 0, NOBODY, NOBODY].map(Value::from), "{event}");
    let event = exec_of(move || {
        // SAFETY: setresgid and setresuid take integers only.
        assert_eq!(unsafe { libc::setresgid(1000, 1000, 1000) | libc::setresuid(1000, 1000, 1000) }, 0);
        become_program(&taken, &["up"])
    });
    let Some(event) = event else { return };
    assert_eq!(ids(&event), [1000, 1000, 0, 1000].map(Value::from), "{event}");
}

fn no_setuid(dir: &Dir) -> bool {
    let path = c(dir.at(""));
    // SAFETY: the path is a C string, zero is valid for the integers of `statvfs`, and both outlive the call.
    unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        assert_eq!(libc::statvfs(path.as_ptr(), &raw mut stat), 0);
        stat.f_flag & libc::ST_NOSUID != 0
    }
}

/// The kernel starts the release agent of a cgroup hierarchy by itself
/// ([`call_usermodehelper`](https://elixir.bootlin.com/linux/v6.12/source/kernel/umh.c)), without a system call.
#[test]
fn a_program_that_the_kernel_starts_is_shown() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let dir = Dir::new();
    let hierarchy = dir.dir("hierarchy");
    let options = format!("none,name=tracetui-{}", sys::pid());
    with_mount("cgroup", &hierarchy, &options, || release_agent(&hierarchy));
}

fn release_agent(hierarchy: &str) {
    let Some(traced) = Traced::start(&["--kind", "exec,exit"]) else { return };
    let group = format!("{hierarchy}/left-{}", sys::pid());
    fs::write(format!("{hierarchy}/release_agent"), TRUE).expect("an agent");
    fs::create_dir(&group).expect("a cgroup");
    fs::write(format!("{group}/notify_on_release"), "1").expect("a switch");
    let inside = group.clone();
    Actor::new(move || {
        fs::write(format!("{inside}/cgroup.procs"), "0").expect("a place in the cgroup");
        vec![]
    })
    .run();
    let argument = format!("/left-{}", sys::pid());
    let told = |run: &Run| run.lines().find(|e| e["kind"] == "exec" && e["argv"] == json!([TRUE, argument]));
    std::thread::sleep(std::time::Duration::from_millis(500));
    let run = traced.stop();
    run.check();
    fs::remove_dir(&group).expect("the cgroup goes");
    let event = told(&run).unwrap_or_else(|| panic!("the agent is there: {:#?}", run.lines().collect::<Vec<_>>()));
    check(&event, TRUE, &true_file(), None, &[TRUE, &argument]);
    assert_eq!((&event["uid"], &event["cwd"], &event["pid"]), (&0.into(), &"/".into(), &event["tid"]), "{event}");
    let pid = event["pid"].as_i64().expect("a number") as i32;
    assert_eq!(run.one("exit", pid, |_| true)["exit_code"], 0);
}
