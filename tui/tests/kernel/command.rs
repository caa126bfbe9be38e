//! `-- COMMAND`: its user, its start, its events, and its end.

use crate::confine::Guarded;
use crate::prelude::*;
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::stdio::stdin;
use std::os::unix::process::ExitStatusExt as _;
use std::thread::JoinHandle;
use tracetui_live::attach_names;

/// Runs `print ARGS -- WORDS` until it ends. `None`, with a message, if it must not trace.
pub(crate) fn print(args: &[&str], words: &[&str], change: impl FnOnce(&mut Command)) -> Option<Run> {
    alone_as_root()?;
    let dir = Dir::new();
    let out = dir.at("out");
    let mut command = tracetui();
    command.args(["print", "--format", "json"]).args(args).arg("--").args(words);
    command.stdin(Stdio::null()).stdout(File::create(&out).expect("a file")).stderr(Stdio::piped());
    change(&mut command);
    let done = command.spawn().and_then(Child::wait_with_output).expect("tracetui runs");
    let stderr: Vec<String> = String::from_utf8_lossy(&done.stderr).lines().map(str::to_owned).collect();
    if !stderr.iter().any(|line| line.starts_with("tracing")) {
        assert_eq!(done.status.code(), Some(1), "{stderr:?}");
        cannot_run(&stderr.join("; "));
        return None;
    }
    let raw = fs::read(&out).expect("the output");
    Some(Run { status: done.status, stderr, raw, shows_lost: traced::shows_lost(args) })
}

fn run(words: &[&str]) -> Option<Run> {
    print(&[], words, |_| {})
}

fn pids(run: &Run) -> Vec<u64> {
    let mut pids: Vec<u64> = run.lines().filter(|e| e["kind"] != "lost").map(|e| n(&e["pid"])).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

fn names(run: &Run, kind: &str) -> Vec<String> {
    let of = |e: Value| e["comm"].as_str().expect("a name").to_owned();
    run.lines().filter(|e| e["kind"] == kind).map(of).collect()
}

#[test]
fn a_trace_in_its_own_pid_namespace_has_both_ids() {
    alone();
    let inner = |args: &[&str]| {
        let mut command = neutral("unshare");
        command
            .args(["-pf", "--mount-proc"])
            .arg(tracetui().get_program())
            .args(["print", "--format", "json"])
            .args(args);
        command.args(["--", "sh", "-c", "echo $$"]).stdin(Stdio::null()).output().expect("unshare starts")
    };
    if !may_trace() {
        return;
    }
    let run = inner(&["--kind", "exec"]);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    let id = said.lines().find_map(|line| line.parse::<u64>().ok()).expect("the shell's id");
    let line: Value =
        serde_json::from_slice(run.stdout.split(|byte| *byte == b'\n').next().expect("a line")).expect("JSON");
    assert_eq!(n(&line["ns_pid"]), id, "{said}");
    assert_ne!(n(&line["pid"]), id, "{said}");
    for option in [["--pid", "2"], ["--tree", "2"], ["--filter", "tid=2"]] {
        let refused = inner(&option);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && said.contains("use ns_pid=ID"), "{said}");
    }
}

#[test]
fn the_first_thing_seen_is_its_exec_and_the_last_its_exit() {
    let Some(run) = run(&["sh", "-c", "true; /bin/true; /bin/cat /etc/hostname >/dev/null; exit 3"]) else { return };
    run.check();
    assert_eq!(run.status.code(), Some(3));
    let lines: Vec<Value> = run.lines().filter(|e| e["kind"] != "lost").collect();
    let (first, last) = (&lines[0], &lines[lines.len() - 1]);
    assert_eq!(first["kind"], "exec");
    assert_eq!(first["argv"][2], "true; /bin/true; /bin/cat /etc/hostname >/dev/null; exit 3");
    assert_eq!((&last["kind"], &last["exit_code"]), (&"exit".into(), &3.into()));
    assert_eq!(first["pid"], last["pid"]);
    assert_eq!(names(&run, "exec"), ["sh", "true", "cat"]);
    assert_eq!(names(&run, "exit").len(), 3);
    assert!(lines.iter().any(|e| e["kind"] == "open" && e["path"] == "/etc/hostname" && e["comm"] == "cat"));
}

#[test]
fn only_its_tree_is_seen() {
    alone();
    let stranger = Command::new("sh").args(["-c", "while :; do /bin/true; done"]).spawn().expect("a shell");
    let stranger = Guarded(stranger);
    let script = "for i in 1 2 3 4 5; do /bin/true; done; (sleep 0.1; cat /etc/passwd) | wc -l";
    let run = print(&[], &["sh", "-c", script], |_| {});
    drop(stranger);
    let Some(run) = run else { return };
    let account = run.check();
    let tree = pids(&run);
    // The root is not the smallest id, because ids can wrap around.
    let root = n(&run.lines().next().expect("the command's exec")["pid"]);
    for event in run.lines().filter(|e| e["kind"] != "lost") {
        let (pid, parent) = (n(&event["pid"]), n(&event["ppid"]));
        assert!(pid == root || tree.contains(&parent), "{event}");
    }
    assert_eq!(names(&run, "exec").iter().filter(|name| *name == "true").count(), 5);
    assert!(n(&account["filtered"]) > 0, "the stranger's: {account}");
}

#[test]
fn its_stdout_goes_to_our_stderr_and_its_stdin_is_ours() {
    let dir = Dir::alone();
    let input = dir.file("in");
    File::create(&input).and_then(|mut file| file.write_all(b"from stdin\n")).expect("a file");
    let run = print(&[], &["sh", "-c", "echo to stdout; cat; echo to stderr >&2"], |command| {
        command.stdin(File::open(&input).expect("a file"));
    });
    let Some(run) = run else { return };
    run.check();
    for said in ["to stdout", "from stdin", "to stderr"] {
        assert_eq!(run.stderr.iter().filter(|line| *line == said).count(), 1, "{:?}", run.stderr);
    }
    let ready = run.stderr.iter().position(|line| line.starts_with("tracing"));
    assert!(ready < run.stderr.iter().position(|line| line == "to stdout"), "held until all is attached");
}

#[test]
fn the_account_is_a_line_also_after_output_that_does_not_end_with_one() {
    for script in ["printf abc", "printf abc >&2", "printf abc; kill -KILL $$"] {
        let Some(run) = run(&["sh", "-c", script]) else { return };
        assert!(run.stderr.iter().any(|line| line == "abc"), "{:?}", run.stderr);
        assert!(run.stderr.last().is_some_and(|line| line.starts_with("{\"account\"")), "{:?}", run.stderr);
    }
}

#[test]
fn the_exit_status_is_the_commands() {
    let Some(killed) = run(&["sh", "-c", "kill -KILL $$"]) else { return };
    assert_eq!(killed.status.code(), Some(137));
    assert_eq!(killed.lines().find(|e| e["kind"] == "exit").expect("its end")["signal"], "SIGKILL");
    for (word, status, why) in [
        ("no-such-command-anywhere", 127, "No such file"),
        ("/no/such/command", 127, "No such file"),
        ("/etc/passwd", 126, "denied"),
        ("/", 126, "denied"),
        ("", 127, "No such file"),
    ] {
        let run = run(&[word, "argument"]).expect("it ran before");
        assert_eq!(run.status.code(), Some(status), "{:?}", run.stderr);
        assert!(run.stderr.iter().any(|line| line.contains(word) && line.contains(why)), "{:?}", run.stderr);
        assert_eq!(run.raw, b"", "all of it was tracetui's own");
        let account = run.account();
        assert!(n(&account["own"]) >= 1, "{account}");
    }
}

#[test]
fn its_failures_are_explained_after_its_end() {
    let dir = Dir::alone();
    let (near, path) = (dir.file("stdio.h"), dir.at("stdoi.h"));
    for _ in 0..5 {
        let script = format!("true; cat {path}; exit 3");
        let Some(run) = print(&["--kind", "open", "--why"], &["sh", "-c", &script], |_| {}) else { return };
        run.check();
        let failed = run.lines().find(|event| event["path"] == path.as_str()).expect("its open");
        let why = &failed["why"];
        assert!(why["cause"] == "missing" && near.ends_with(why["near"].as_str().expect("a name")), "{why}");
    }
}

#[test]
fn it_runs_as_the_user_who_typed_sudo() {
    let script = "id -u; id -g; id -G; echo $HOME $USER $LOGNAME ${SUDO_UID-none}; grep -E 'CapEff|NoNewPrivs' /proc/self/status";
    let nobody = |command: &mut Command| {
        command.env("SUDO_UID", "65534").env("SUDO_GID", "65534").env("SUDO_USER", "nobody").env("HOME", "/root");
    };
    let Some(run) = print(&[], &["sh", "-c", script], nobody) else { return };
    let ready = run.stderr.iter().position(|line| line.starts_with("tracing")).expect("ready");
    let said: Vec<&str> = run.stderr[ready + 1..].iter().map(String::as_str).collect();
    assert_eq!(said[..3], ["65534"; 3], "{said:?}");
    assert!(said[3].ends_with(" nobody nobody none") && !said[3].starts_with("/root"), "{said:?}");
    assert_eq!(said[4..6], ["CapEff:\t0000000000000000", "NoNewPrivs:\t0"], "{said:?}");
    assert!(run.lines().filter(|e| e["kind"] == "exec").all(|e| e["uid"] == 65534));
}

#[test]
fn doas_and_pkexec_count_as_sudo_does() {
    let script = "id -u; id -g; echo ${DOAS_USER-none} ${PKEXEC_UID-none}";
    for (variable, value) in [("PKEXEC_UID", "65534"), ("DOAS_USER", "nobody")] {
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        if variable == "DOAS_USER" && !accounts.contains("\nnobody:x:65534:") {
            continue;
        }
        let run = print(&["--kind", "exec"], &["sh", "-c", script], |command| {
            command.env(variable, value);
        });
        let Some(run) = run else { return };
        let ready = run.stderr.iter().position(|line| line.starts_with("tracing")).expect("ready");
        let said: Vec<&str> = run.stderr[ready + 1..].iter().map(String::as_str).collect();
        assert_eq!((said[0], said[2]), ("65534", "none none"), "{variable}: {said:?}");
        assert!(run.lines().filter(|e| e["kind"] == "exec").all(|e| e["uid"] == 65534));
    }
}

#[test]
fn variables_that_contradict_each_other_or_make_no_sense_are_refused() {
    let both = [("SUDO_UID", "1000"), ("SUDO_GID", "1000"), ("PKEXEC_UID", "1001")];
    for (variables, text) in [(&both[..], "SUDO_UID and PKEXEC_UID"), (&[("SUDO_UID", "ana")], "SUDO_UID")] {
        let Some(mut command) = may_trace().then(tracetui) else { return };
        let done = command.args(["print", "--", "id"]).envs(variables.iter().copied()).output().expect("it runs");
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!((done.status.code(), done.stdout.len()), (Some(1), 0), "{said}");
        assert!(said.contains(text), "{said}");
    }
}

fn alone_in_pids(command: &mut Command) {
    sys::before_exec(command, || Ok(sys::own_pids()));
}

#[test]
fn in_a_pid_namespace_of_its_own_it_is_seen_too() {
    let script = "/bin/true; /bin/cat /etc/hostname >/dev/null; exit 3";
    let Some(run) = print(&[], &["sh", "-c", script], alone_in_pids) else { return };
    run.check();
    assert_eq!(run.status.code(), Some(3), "{:?}", run.stderr);
    assert_eq!(names(&run, "exec"), ["sh", "true", "cat"]);
    assert_eq!(names(&run, "exit").len(), 3);
    let first = run.lines().next().expect("the command's exec");
    let outer = fs::read_link("/proc/self/ns/pid").expect("a link");
    assert_ne!(outer.to_str().expect("UTF-8"), format!("pid:[{}]", first["pid_ns"]), "in another namespace: {first}");
    assert!(n(&first["pid"]) > 10, "an id of the initial namespace: {first}");
    // Another process has the namespace's id in the initial namespace, and must not be confused with it.
    assert!(run.lines().all(|e| e["kind"] == "lost" || e["pid_ns"] == first["pid_ns"]), "{first}");
}

#[test]
fn in_a_pid_namespace_of_its_own_tracetui_does_not_see_itself() {
    let Some(dir) = Dir::alone_as_root() else { return };
    let script = "i=0; while [ $i -lt 50 ]; do /bin/cat /etc/hostname; i=$((i+1)); done";
    let mut command = tracetui();
    let mut watched = command.args(["print", "--format", "json", "--kind", "open"]);
    alone_in_pids(watched);
    watched = watched.stdout(File::create(dir.at("out")).expect("a file"));
    let Some((mut child, mut stderr)) = traced::ready(watched) else { return };
    Command::new("sh").args(["-c", script]).stdout(Stdio::null()).status().expect("a shell");
    std::thread::sleep(Duration::from_millis(1500));
    // The intermediate process waits for process 1 of the namespace, which is the one to be signalled.
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let inner = fs::read_to_string(children).expect("CONFIG_PROC_CHILDREN").trim().parse().expect("one");
    sys::kill(inner, libc::SIGINT);
    child.wait().expect("a status");
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("UTF-8");
    let stderr = rest.lines().map(str::to_owned).collect();
    let run = Run {
        status: std::os::unix::process::ExitStatusExt::from_raw(0),
        stderr,
        raw: fs::read(dir.at("out")).expect("there"),
        shows_lost: true,
    };
    assert!(run.lines().any(|e| e["comm"] == "cat"), "others are seen");
    assert_eq!(run.of(inner), Vec::<Value>::new(), "its own events are not shown");
    assert!(n(&run.account()["own"]) > 0, "but counted: {}", run.account());
}

pub(crate) fn leads_session(command: &mut Command) {
    sys::before_exec(command, || Ok(setsid().and_then(|_| ioctl_tiocsctty(stdin()))?));
}

/// Runs a command as the leader of a session on a terminal, whose output is read. Its stderr is the terminal or a file.
fn on_terminal(mut command: Command, stderr: Option<&str>) -> (Child, File, JoinHandle<String>) {
    let (ours, theirs) = pty::give(&mut command);
    if let Some(stderr) = stderr {
        command.stderr(File::create(stderr).expect("a file"));
    }
    leads_session(&mut command);
    let child = command.spawn().expect("it starts");
    // Both have the terminal open.
    drop((command, theirs));
    let ours = File::from(ours);
    let mut screen = ours.try_clone().expect("a descriptor");
    let reader = std::thread::spawn(move || {
        let mut shown = Vec::new();
        // The error at the end says that the other side is closed.
        let _ = screen.read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    });
    (child, ours, reader)
}

#[test]
fn a_command_of_the_dashboard_cannot_take_the_terminal() {
    let Some(dir) = Dir::alone_as_root() else { return };
    let done = dir.at("done");
    let takes = format!("echo > /dev/tty; set -m; for i in 1 2 3 4; do sleep 0.5; done; echo > {done}; exit 3");
    let mut command = tracetui();
    command.args(["--no-config", "--", "sh", "-c", &takes]);
    let (mut child, mut terminal, reader) = on_terminal(command, Some(&dir.at("err")));
    let own = i32::try_from(child.id()).expect("a process id");
    let mut taken = false;
    let began = Instant::now();
    let status = loop {
        if began.elapsed().as_secs() > 120 {
            child.kill().expect("it runs");
        }
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        let front = rustix::termios::tcgetpgrp(&terminal).map_or(own, |group| group.as_raw_pid());
        taken |= front != own;
        std::thread::sleep(Duration::from_millis(20));
        if fs::exists(&done).expect("a directory") {
            // Once the end is known, this quits. Before, a second one would end the COMMAND, which has ended.
            let _ = terminal.write_all(b"q");
            std::thread::sleep(Duration::from_millis(500));
        }
    };
    drop(terminal);
    reader.join().expect("no panic");
    let said = fs::read_to_string(dir.at("err")).expect("UTF-8");
    if !said.contains("account: ") {
        return cannot_run(&said);
    }
    assert!(!taken, "{said}");
    assert_eq!(status.code(), Some(3), "{said}");
}

/// Runs `tracetui -- sh -c SCRIPT` on a terminal until it ends: its status, and what it wrote to stderr. `None`, with a message, if it
/// must not trace.
fn dashboard(script: &str) -> Option<(std::process::ExitStatus, String)> {
    let dir = Dir::new();
    let mut command = may_trace().then(tracetui)?;
    command.args(["--no-config", "--", "sh", "-c", script]);
    let (mut child, terminal, reader) = on_terminal(command, Some(&dir.at("err")));
    let status = wait_at_most(&mut child, Duration::from_secs(120));
    drop(terminal);
    reader.join().expect("no panic");
    let said = fs::read_to_string(dir.at("err")).expect("UTF-8");
    if !said.contains("account: ") {
        cannot_run(&said);
        return None;
    }
    Some((status, said))
}

/// Sets `t` to the process id of tracetui: the shell's parent, or that of its monitor.
const TRACER: &str = "t=$PPID; p=$(cut -d' ' -f4 /proc/$t/stat); [ \"$(cat /proc/$p/comm)\" = tracetui ] && t=$p";

#[test]
fn one_that_does_not_end_is_waited_for_until_a_further_signal() {
    let script = format!("{TRACER}; trap '' TERM INT; kill -TERM $t; sleep 2; kill -INT $t; sleep 1");
    let waits = |said: &str| said.contains("waiting for sh (pid ") && said.contains("Ctrl-C ends tracetui");
    if let Some(run) = print(&["--kind", "exit"], &["sh", "-c", &script], |_| {}) {
        assert_eq!((run.status.code(), waits(&run.stderr.join("\n"))), (Some(130), true), "{:?}", run.stderr);
    }
    if let Some((status, said)) = dashboard(&script) {
        assert_eq!((status.code(), waits(&said)), (Some(130), true), "{said}");
        assert!(said.contains(") is still running\n"), "{said}");
    }
}

#[test]
fn the_end_of_the_dashboard_ends_its_children_too() {
    let dir = Dir::alone();
    let child = dir.at("child");
    let script = format!("{TRACER}; sleep 300 & echo $! >{child}; kill -TERM $t; wait");
    let Some((status, said)) = dashboard(&script) else { return };
    assert_eq!((status.code(), said.contains("denied")), (Some(143), false), "{said}");
    let child: i32 = fs::read_to_string(child).ok().and_then(|pid| pid.trim().parse().ok()).expect("a process id");
    let stat = || fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    // A process that is not waited for keeps its id.
    sys::wait_until(|| stat().is_empty() || stat().contains(") Z "));
}

#[test]
fn tostop_and_a_command_with_jobs_do_not_stop_it() {
    let Some(dir) = Dir::alone_as_root() else { return };
    // The shell of a session, which runs tracetui as a job: one that can be stopped.
    let status = dir.at("status");
    let takes = "set -m; for i in 1 2 3 4; do sleep 0.5; done; exit 3";
    let mut shell = neutral("sh");
    shell.args(["-c", "stty tostop; set -m; \"$@\"; echo $? >$0", &status]).arg(tracetui().get_program());
    shell.args(["print", "--", "sh", "-c", takes]);
    let (mut shell, terminal, shown) = on_terminal(shell, None);
    shell.wait().expect("a child");
    drop(terminal);
    let shown = shown.join().expect("no panic");
    let Ok(status) = fs::read_to_string(&status) else { panic!("{shown}") };
    if !shown.contains("tracing: ") {
        return cannot_run(&shown);
    }
    assert_eq!(status.trim(), "3", "{shown}");
    assert!(shown.contains("sleep") && shown.contains("account: "), "{shown}");
}

#[test]
fn after_the_wanted_events_it_is_sent_a_signal_whosever_it_is() {
    let words = ["sh", "-c", "while :; do cat /etc/hostname >/dev/null; done"];
    for user in ["0", "65534"] {
        let Some(run) = print(&["-n", "5"], &words, |command| {
            command.env("SUDO_UID", user).env("SUDO_GID", user);
        }) else {
            return;
        };
        assert_eq!((run.status.code(), run.lines().count()), (Some(0), 5), "{user}: {:?}", run.stderr);
        run.check();
    }
}

#[test]
fn a_signal_from_a_process_is_passed_on() {
    // The last one says that the CPU time of tracetui ends.
    for (signal, traps, status) in
        [("TERM", "TERM INT", 143), ("INT", "TERM INT", 130), ("QUIT", "QUIT", 9), ("XCPU", "TERM", 9)]
    {
        // The shell's parent is tracetui.
        let script = format!("trap 'exit {status}' {traps}; kill -{signal} $PPID; while :; do sleep 0.05; done");
        let Some(run) = print(&["--kind", "exit"], &["sh", "-c", &script], |_| {}) else { return };
        assert_eq!((run.status.code(), run.status.signal()), (Some(status), None), "{signal}: {:?}", run.stderr);
        run.check();
    }
}

#[test]
fn children_that_outlive_it_are_not_waited_for() {
    let Some(run) = run(&["sh", "-c", "sleep 30 >/dev/null 2>&1 & exit 0"]) else { return };
    run.check();
    let sleeper = run.lines().find(|e| e["kind"] == "exec" && e["comm"] == "sleep").map(|e| n(&e["pid"]));
    assert!(!run.lines().any(|e| e["kind"] == "exit" && e["comm"] == "sleep"));
    if let Some(pid) = sleeper {
        sys::kill(i32::try_from(pid).expect("a pid"), libc::SIGKILL);
    }
}

#[test]
fn offsets_of_a_file_show_the_same() {
    let dir = Dir::alone();
    let minimal = dir.at("minimal.btf");
    let Ok(btf) = Btf::running() else { return cannot_run("the kernel has no BTF of its own") };
    fs::write(&minimal, btf.minimal(&btf.resolve(), &attach_names())).expect("a file");
    let words = ["sh", "-c", "/bin/cat /etc/hostname >/dev/null; exit 7"];
    let Some(run) = print(&["--btf", &minimal], &words, |_| {}) else { return };
    run.check();
    assert_eq!(run.status.code(), Some(7), "{:?}", run.stderr);
    assert_eq!(names(&run, "exec"), ["sh", "cat"]);
    assert!(run.lines().any(|e| e["path"] == "/etc/hostname" && e["abs_path"] == "/etc/hostname"));
    assert!(!run.stderr.iter().any(|line| line.contains("--btf does not match this kernel")), "{:?}", run.stderr);
}
