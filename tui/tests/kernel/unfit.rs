//! Systems that lack requirements of tracetui. It reports in a sentence what is missing and what to do, and still shows
//! all available events.

use crate::command::on_terminal;
use crate::prelude::*;
use crate::traced::with_hidden_addresses;

const CAP_BPF_AND_PERFMON: u64 = 1 << 39 | 1 << 38;
const CAP_SYS_PTRACE: u64 = 1 << 19;

struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Said {
    fn line(&self, part: &str) -> &str {
        let found: Vec<&str> = self.stderr.lines().filter(|line| line.contains(part)).collect();
        assert_eq!(found.len(), 1, "one line with {part:?}: {}", self.stderr);
        found[0]
    }
}

#[derive(Clone, Copy, Default)]
struct System {
    /// Runs as the user `nobody` with these capabilities, or as root if 0.
    nobody_with: u64,
    /// Runs before the program, in its own mount namespace.
    mounts: Option<fn()>,
}

impl System {
    fn command(self, args: &[&str]) -> Command {
        let mut command = tracetui();
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("TERM", "xterm");
        sys::before_exec(&mut command, move || {
            if let Some(mounts) = self.mounts {
                sys::own_mounts();
                mounts();
            }
            if self.nobody_with != 0 {
                sys::become_nobody_with(self.nobody_with);
            }
            Ok(())
        });
        command
    }

    fn says(self, args: &[&str]) -> Said {
        let output = self.command(args).output().expect("tracetui starts");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs the dashboard, which must fail before it changes the terminal. Returns its exit code and the output on the
    /// terminal.
    fn says_on_a_terminal(self) -> (Option<i32>, String) {
        let (mut child, _terminal, shown) = on_terminal(self.command(&[]), None);
        let status = wait_at_most(&mut child, Duration::from_secs(60));
        (status.code(), shown.join().expect("no panic"))
    }

    /// Runs `print` for the duration of `act`.
    fn prints(self, args: &[&str], act: impl FnOnce()) -> Said {
        let dir = Dir::new();
        let out = dir.at("out");
        let mut command = self.command(&["print", "--format", "json"]);
        command.args(args).stdout(File::create(&out).expect("a file"));
        let traced = Traced::of(&mut command).expect("it traces");
        act();
        traced.signal(libc::SIGINT);
        let run = traced.ended();
        let stdout = fs::read_to_string(out).expect("what it said");
        Said { code: run.status.code(), stdout, stderr: run.stderr.join("\n") }
    }
}

/// Like [`alone_as_root`], if the user `nobody` may execute the program. If not, the reason is reported.
fn alone_with_nobody() -> Option<()> {
    alone_as_root()?;
    let everybody = System { nobody_with: CAP_BPF_AND_PERFMON, mounts: None };
    let runs = everybody.command(&["--version"]).output().is_ok();
    if !runs {
        cannot_run("the binary is in a directory that other users cannot access");
    }
    runs.then_some(())
}

fn opens(said: &Said, pid: i32) -> Vec<Value> {
    let lines = said.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|event| event["pid"] == pid && event["kind"] == "open").collect()
}

/// Checks that `print` shows the open of an actor that is older than the trace, and that the account adds up.
fn shows_an_open(system: System) -> Said {
    let actor = Actor::new(|| vec![sys::open_path("/nowhere/unfit")]);
    let pid = actor.pid;
    let said = system.prints(&["--pid", &pid.to_string()], || drop(actor.run()));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let opens = opens(&said, pid);
    assert_eq!(opens.len(), 1, "{} {}", said.stdout, said.stderr);
    assert_eq!(opens[0]["path"], "/nowhere/unfit");
    let account: Value = serde_json::from_str(said.stderr.lines().last().expect("the account")).expect("JSON");
    assert_eq!(n(&account["account"]["lost"]), 0, "{account}");
    said
}

/// Checks that `doctor` reports a working probe for every kind that needs no tracefs. Returns its output.
fn doctor_is_content(system: System) -> String {
    let said = system.says(&["doctor"]);
    // Before 6.2, connections are reported by classic tracepoints only, and only root can mount tracefs.
    let (code, end) = match system.nobody_with == 0 || release() >= (6, 2) {
        true => (0, "\nevery kind has a working probe\n"),
        false => (1, "\nno working probe for: tcp\n"),
    };
    assert_eq!(said.code, Some(code), "{}", said.stdout);
    assert!(said.stdout.ends_with(end), "{}", said.stdout);
    assert!(code == 0 || said.stdout.contains("tcp_state ") && said.stdout.contains("tracefs"), "{}", said.stdout);
    let json = system.says(&["doctor", "--format", "json"]);
    let report: Value = serde_json::from_str(&json.stdout).expect("JSON");
    for cause in report["causes"].as_array().expect("a list") {
        assert_eq!(cause["fatal"], false, "{report}");
        let text = cause["what"].as_str().expect("text");
        assert!(said.stdout.contains(&format!("\nlimited: {text}\n")), "{report} {}", said.stdout);
    }
    said.stdout
}

/// Whether the classic tracepoints are preferred (7.0+). They need tracefs, so `doctor` reports if it is not
/// accessible.
fn classic_preferred() -> bool {
    release() >= (7, 0)
}

#[test]
fn two_capabilities_suffice_without_root_and_what_is_missed_is_said() {
    let Some(()) = alone_with_nobody() else { return };
    let system = System { nobody_with: CAP_BPF_AND_PERFMON, mounts: None };
    let doctor = doctor_is_content(system);
    let said = shows_an_open(system);
    for missing in ["missing CAP_SYS_PTRACE: ", "missing CAP_DAC_READ_SEARCH: "] {
        assert!(doctor.contains(&format!("limited: {missing}")), "{doctor}");
        assert!(said.line(missing).ends_with("run as root with all capabilities: sudo tracetui"), "{}", said.stderr);
    }
    assert!(doctor.contains("    remedy:  run as root with all capabilities: sudo tracetui"), "{doctor}");
    let instead = "fallback for sched_exec: ";
    assert_eq!(doctor.contains(instead), classic_preferred(), "{doctor}");
    if classic_preferred() {
        assert!(said.line(instead).ends_with("mount -t tracefs tracefs /sys/kernel/tracing"), "{}", said.stderr);
    }
}

#[test]
fn one_capability_too_few_is_named() {
    let Some(()) = alone_with_nobody() else { return };
    for (held, missing) in [(1 << 39, "CAP_PERFMON"), (1 << 38, "CAP_BPF")] {
        let system = System { nobody_with: held, mounts: None };
        for said in [system.says(&["print"]), system.says(&[])] {
            assert_eq!(said.code, Some(1), "{}", said.stderr);
            let line = said.line(&format!("missing {missing}: "));
            assert!(line.contains("sudo tracetui") && line.contains("setcap cap_bpf,cap_perfmon=ep"), "{line}");
            assert_eq!((said.stdout.as_str(), said.stderr.lines().count()), ("", 1), "{}", said.stderr);
        }
        let (code, screen) = system.says_on_a_terminal();
        assert_eq!(code, Some(1), "{screen:?}");
        assert!(screen.starts_with(&format!("tracetui: missing {missing}: ")), "{screen:?}");
        assert!(!screen.contains('\u{1b}') && screen.lines().count() == 1, "before any screen: {screen:?}");
        let doctor = system.says(&["doctor"]);
        assert_eq!(doctor.code, Some(1));
        assert!(doctor.stdout.contains(&format!("cannot trace: missing {missing}: ")), "{}", doctor.stdout);
    }
}

fn hide_processes() {
    sys::mount_with("proc", "/proc", "proc", 0, "hidepid=2");
}

#[test]
fn hidden_processes_are_said_to_be_hidden() {
    let Some(()) = alone_with_nobody() else { return };
    let sentence = "/proc hides other users' processes (hidepid): ";
    let hidden = System { nobody_with: CAP_BPF_AND_PERFMON, mounts: Some(hide_processes) };
    let doctor = doctor_is_content(hidden);
    assert!(doctor.contains(&format!("limited: {sentence}")) && doctor.contains("hidepid=0 /proc"), "{doctor}");
    let said = shows_an_open(hidden);
    let line = said.line(sentence);
    assert!(line.contains("sudo tracetui") && line.contains("remount,hidepid=0 /proc"), "{line}");
    // Users who may trace other processes see all of them, and so does root.
    for nobody_with in [CAP_BPF_AND_PERFMON | CAP_SYS_PTRACE, 0] {
        let doctor = doctor_is_content(System { nobody_with, ..hidden });
        assert!(!doctor.contains(sentence), "{doctor}");
    }
}

#[test]
fn a_tree_is_found_also_where_processes_are_hidden() {
    let Some(()) = alone_with_nobody() else { return };
    let shared = Shared::new();
    let mut root = Actor::new(move || {
        let child = fork(|| {
            sys::end_with_the_parent();
            shared.at(0).store(1, Ordering::SeqCst);
            sys::wait_until(|| shared.at(1).load(Ordering::SeqCst) != 0);
            sys::open_path("/nowhere/child");
        });
        vec![i64::from(child), i64::from(sys::wait(child).0)]
    });
    root.go();
    sys::wait_until(|| shared.at(0).load(Ordering::SeqCst) != 0);
    let tree = root.pid.to_string();
    let system = System { nobody_with: CAP_BPF_AND_PERFMON, mounts: Some(hide_processes) };
    let mut numbers = Vec::new();
    let said = system.prints(&["--tree", &tree, "--kind", "open"], || {
        shared.at(1).store(1, Ordering::SeqCst);
        numbers = root.end().1;
    });
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(opens(&said, numbers[0] as i32).len(), 1, "{} {}", said.stdout, said.stderr);
}

fn without_tracefs() {
    for place in ["/sys/kernel/tracing", "/sys/kernel/debug/tracing", "/sys/kernel/debug"] {
        sys::umount(place);
    }
}

#[test]
fn tracefs_need_not_be_mounted() {
    let Some(()) = alone_as_root() else { return };
    let system = System { mounts: Some(without_tracefs), ..System::default() };
    let doctor = doctor_is_content(system);
    assert!(!doctor.contains("limited: ") && !doctor.contains("tracefs"), "{doctor}");
    assert_eq!(
        doctor.contains("tracepoint sched:sched_process_exec"),
        classic_preferred(),
        "the way that is best here: {doctor}"
    );
    shows_an_open(system);
}

#[test]
fn without_sysfs_it_says_what_to_mount() {
    let Some(()) = alone_as_root() else { return };
    let system = System { mounts: Some(|| sys::umount("/sys")), ..System::default() };
    let said = system.says(&["print"]);
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.lines().count()), (Some(1), "", 1), "{}", said.stderr);
    assert!(said.line("the kernel has no BTF ").contains("mount /sys"));
    let doctor = system.says(&["doctor"]);
    assert!(
        doctor.code == Some(1) && doctor.stdout.contains("cannot trace: the kernel has no BTF "),
        "{}",
        doctor.stdout
    );
}

#[test]
fn without_procfs_it_says_that_earlier_processes_stay_unknown() {
    let Some(()) = alone_as_root() else { return };
    let system = System { mounts: Some(|| sys::umount("/proc")), ..System::default() };
    let sentence = "/proc does not show the host's processes: ";
    let said = shows_an_open(system);
    said.line(sentence);
    assert!(system.says(&["doctor"]).stdout.contains(&format!("limited: {sentence}")));
}

#[test]
fn hidden_addresses_take_nothing_away() {
    let Some(()) = alone_as_root() else { return };
    with_hidden_addresses(|| {
        let (doctor, said) = (doctor_is_content(System::default()), shows_an_open(System::default()));
        let events = System::default().says(&["doctor", "--probe"]);
        assert!(!doctor.contains("limited: "), "{doctor}");
        assert!(doctor.contains("hidden even from root (kernel.kptr_restrict=2)"), "{doctor}");
        assert!(events.code == Some(0) && !events.stdout.contains("not seen"), "{}", events.stdout);
        // Before 5.13 the kernel cannot be asked for names, and a message tells so.
        assert_eq!(said.stderr.contains("kptr_restrict"), release() < (5, 13), "{}", said.stderr);
    });
}

/// Up to 7.2 `kernel.ftrace_enabled=0` silences programs at functions: those that are attached, and those that are attached later.
#[test]
fn function_tracing_that_is_turned_off_is_said() {
    let Some(()) = alone_as_root() else { return };
    const SETTING: &str = "/proc/sys/kernel/ftrace_enabled";
    const OFF: &str = "function tracing is turned off (kernel.ftrace_enabled=0)";
    const WAS_OFF: &str = "function tracing was turned off temporarily (kernel.ftrace_enabled=0)";
    if !emulated() {
        return not_checked("kernel.ftrace_enabled: it is changed on a machine reserved for tests only");
    }
    let turn = |to: &str| fs::write(SETTING, to);
    if turn("0").is_err() {
        return cannot_run("this kernel does not turn function tracing off");
    }
    turn("1").expect("it was on");
    let uses_functions = doctor().contains("kretprobe.multi ");
    let pid = sys::pid();
    let filter = ["--pid", &pid.to_string()];
    let checked = std::panic::catch_unwind(|| {
        // More than a second each: the setting is looked at once a second.
        let look = || std::thread::sleep(Duration::from_millis(2500));
        let mut is_off = false;
        let meanwhile = System::default().prints(&filter, || {
            // Not while a trampoline is attached, on 5.10.
            is_off = turn("0").is_ok();
            if is_off {
                look();
                sys::open_path("/nowhere/off");
                turn("1").expect("root may");
                look();
            }
            sys::open_path("/nowhere/on");
        });
        let _ = turn("0");
        let before = System::default().prints(&filter, || _ = sys::open_path("/nowhere/off"));
        is_off.then_some((meanwhile, before))
    });
    turn("1").expect("root may");
    let Some((meanwhile, before)) = checked.expect("no panic") else {
        return cannot_run("this kernel does not turn function tracing off while a trampoline is attached");
    };
    let shown = |said: &Said, path: &str| opens(said, pid).iter().filter(|open| open["path"] == path).count();
    assert_eq!(shown(&meanwhile, "/nowhere/on"), 1, "{}", meanwhile.stderr);
    assert_eq!(shown(&before, "/nowhere/off"), 1, "other probes are used: {}", before.stderr);
    if uses_functions {
        let line = meanwhile.line(OFF);
        assert!(line.contains("sys_exit, ") && line.contains("file opens"), "{line}");
        assert!(line.ends_with("turn it on: sudo sysctl kernel.ftrace_enabled=1"), "{line}");
        assert!(meanwhile.line(WAS_OFF).contains("no longer traced or counted"), "{}", meanwhile.stderr);
        assert!(before.stderr.contains("fallback for sys_exit") && before.stderr.contains(OFF), "{}", before.stderr);
    } else {
        assert_eq!(shown(&meanwhile, "/nowhere/off"), 1, "nothing is at functions: {}", meanwhile.stderr);
        assert!(!format!("{}{}", meanwhile.stderr, before.stderr).contains("function tracing"), "{}", before.stderr);
    }
}
