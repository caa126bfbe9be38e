//! Outputs that are closed, full or not read, and the messages about them. tracetui ends as documented, and reports
//! only lines that were written.

use crate::prelude::*;

fn soon() -> Duration {
    // Decoding the waiting events takes long without optimisation and on a busy machine.
    Duration::from_secs(if emulated() { 60 } else { 20 })
}

fn open_some(dir: &Dir, count: usize) {
    (0..count).for_each(|number| sys::close(sys::open_path(&dir.at(&format!("missing-{number}")))));
}

fn ends_by(signal: i32, child: &mut Child) -> (std::process::ExitStatus, Duration) {
    let began = Instant::now();
    sys::kill(child.id() as i32, signal);
    let status = wait_at_most(child, Duration::from_secs(60));
    (status, began.elapsed())
}

/// A COMMAND that writes its process id to a file and does not end. It ignores the signals for a closed terminal or
/// pipe.
fn stubborn(dir: &Dir) -> [String; 3] {
    let script = "trap '' HUP PIPE; echo $$ >PID; while :; do /bin/true; sleep 0.05; done";
    ["sh".into(), "-c".into(), script.replace("PID", &dir.at("pid"))]
}

fn pid_in(dir: &Dir) -> i32 {
    wait_for(|| fs::read_to_string(dir.at("pid")).ok()?.trim().parse().ok())
}

/// Waits until the COMMAND is gone. On a busy machine, whoever adopts it may take its status late.
#[track_caller]
fn check_gone(pid: i32) {
    wait_for(|| (!Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[test]
fn a_reader_of_stdout_and_stderr_that_leaves_ends_it_and_its_command() {
    let Some(dir) = Dir::alone_as_root() else { return };
    let (ours, theirs) = std::io::pipe().expect("a pipe");
    let mut command = tracetui();
    command.args(["print", "--"]).args(stubborn(&dir)).stdin(Stdio::null());
    let mut child =
        command.stdout(theirs.try_clone().expect("a descriptor")).stderr(theirs).spawn().expect("tracetui starts");
    drop(command);
    // The reader ends after the first lines, like `2>&1 | head`.
    let mut lines = BufReader::new(ours).lines().map_while(Result::ok);
    if !lines.any(|line| line.starts_with("tracing")) {
        assert_eq!(wait_at_most(&mut child, Duration::from_secs(60)).code(), Some(1));
        return cannot_run("it ended before it was ready");
    }
    let command = pid_in(&dir);
    drop(lines);
    let status = wait_at_most(&mut child, Duration::from_secs(60));
    assert_eq!(status.code(), Some(0), "as a closed pipe ends it");
    check_gone(command);
}

#[test]
fn stderr_that_is_gone_changes_nothing_else() {
    let Some(dir) = Dir::alone_as_root() else { return };
    let mut command = tracetui();
    command.args(["print", "--kind", "exec,exit", "--", "sh", "-c", "sleep 0.5; exit 7"]).stdin(Stdio::null());
    command.stdout(File::create(dir.at("out")).expect("a file")).stderr(Stdio::piped());
    let mut child = command.spawn().expect("tracetui starts");
    drop(child.stderr.take());
    assert_eq!(wait_at_most(&mut child, Duration::from_secs(60)).code(), Some(7));
    let printed = fs::read_to_string(dir.at("out")).expect("text");
    assert!(printed.contains(" EXIT ") || !doctor().contains("every kind"), "{printed}");
}

#[test]
fn a_pipe_that_nobody_reads_does_not_hold_it() {
    let dir = Dir::alone();
    let Some(mut traced) = Traced::start_into(Stdio::piped(), &[]) else { return };
    let mut stdout = traced.take_stdout();
    open_some(&dir, 20_000);
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    traced.signal(libc::SIGTERM);
    let run = traced.ended();
    let took = began.elapsed();
    assert_eq!(run.status.code(), Some(0), "{:?}", run.stderr);
    assert!(took < soon(), "{took:?}");
    let mut written = Vec::new();
    stdout.read_to_end(&mut written).expect("what could be written");
    // Rows about lost events are lines, but not events.
    let whole = written.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let events = whole.filter(|line| !line.starts_with(b"{\"kind\":\"lost\"")).count() as u64;
    assert!(events > 0, "{:?}", run.stderr);
    check_account(&run, events);
    // Each event that is missing is said, and is not among those that a filter rejected.
    let account = run.account();
    let of = |kind: &&str| account["kinds"][*kind]["lost"]["unwritten"].as_u64();
    let unwritten = KINDS.iter().filter_map(of).sum::<u64>();
    let said = format!("stdout is not being read: {unwritten} events were not written");
    assert!(run.stderr.contains(&said), "{said}: {:?}", run.stderr);
    assert!(unwritten > 0 && n(&account["kinds"]["open"]["filtered"]) <= n(&account["own"]), "no filter: {account}");
}

/// Checks that the account adds up and contains `events` delivered events.
#[track_caller]
fn check_account(run: &Run, events: u64) {
    let account = run.account();
    assert_eq!(n(&account["delivered"]), events, "{account}");
    assert_eq!(n(&account["seen"]), events + n(&account["filtered"]) + n(&account["lost"]), "{account}");
    assert!(!run.stderr.iter().any(|line| line.contains("off by")), "{:?}", run.stderr);
}

#[test]
fn a_recording_into_a_pipe_that_nobody_reads_ends_by_one_signal() {
    let Some(dir) = Dir::alone_as_root() else { return };
    let Some(traced) = Traced::of(tracetui().args(["record", "-o", "-"]).stdout(Stdio::piped())) else { return };
    open_some(&dir, 50_000);
    let began = Instant::now();
    traced.signal(libc::SIGINT);
    let Run { status, stderr, .. } = traced.ended();
    assert_eq!(status.code(), Some(1), "{stderr:?}");
    assert!(began.elapsed() < soon(), "{:?}", began.elapsed());
    assert!(stderr.iter().any(|line| line.contains("no progress for 1 s; the recording is truncated")), "{stderr:?}");
    assert!(stderr.last().is_some_and(|line| line.starts_with("account: ")), "{stderr:?}");
}

#[test]
fn a_slow_reader_gets_everything() {
    let dir = Dir::alone();
    let Some(mut traced) = Traced::start_into(Stdio::piped(), &["--kind", "open"]) else { return };
    let mut stdout = traced.take_stdout();
    open_some(&dir, 2_000);
    std::thread::sleep(Duration::from_millis(300));
    traced.signal(libc::SIGTERM);
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut piece = [0; 16 << 10];
        loop {
            std::thread::sleep(Duration::from_millis(30));
            match stdout.read(&mut piece).expect("a pipe") {
                0 => return all,
                read => all.extend_from_slice(&piece[..read]),
            }
        }
    });
    let run = traced.ended();
    let all = reader.join().expect("no panic");
    assert_eq!(run.status.code(), Some(0), "{:?}", run.stderr);
    assert!(all.ends_with(b"\n"), "the last line is whole");
    let run = Run { raw: all, ..run };
    run.check();
    run.open(sys::pid(), &dir.at("missing-1999"));
}

#[test]
fn a_command_is_signalled_though_nobody_reads() {
    let Some(dir) = Dir::alone_as_root() else { return };
    let mut command = tracetui();
    command.args(["print", "--"]).args(stubborn(&dir)).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("tracetui starts");
    let pid = pid_in(&dir);
    // The COMMAND opens libraries 20 times per second.
    std::thread::sleep(Duration::from_secs(2));
    let (status, took) = ends_by(libc::SIGTERM, &mut child);
    assert_eq!(status.code(), Some(128 + libc::SIGTERM), "the command's");
    assert!(took < soon(), "{took:?}");
    check_gone(pid);
}

fn dashboard(dir: &Dir, args: &[String]) -> (OwnedFd, Child) {
    let mut command = tracetui();
    let (ours, _theirs) = pty::give(&mut command);
    tcsetwinsize(&ours, pty::size(200, 50)).expect("a size");
    command.args(args).stderr(File::create(dir.at("err")).expect("a file"));
    let child = command.spawn().expect("tracetui starts");
    (ours, child)
}

/// Waits until the terminal has output, without reading it.
fn drawn(terminal: &OwnedFd, child: &mut Child) -> bool {
    let mut fd = libc::pollfd { fd: terminal.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    for _ in 0..1000 {
        // SAFETY: `fd` is a live local, and the count of entries is 1.
        if unsafe { libc::poll(&raw mut fd, 1, 60) } > 0 && fd.revents & libc::POLLIN != 0 {
            return true;
        }
        if child.try_wait().expect("a status").is_some() {
            return false;
        }
    }
    panic!("no screen");
}

#[test]
fn a_terminal_that_nobody_reads_does_not_hold_the_dashboard() {
    let Some(()) = alone_as_root() else { return };
    for with_command in [false, true] {
        let dir = Dir::new();
        let command = stubborn(&dir);
        let args: Vec<String> = if with_command { [&["--".to_owned()][..], &command].concat() } else { Vec::new() };
        let (terminal, mut child) = dashboard(&dir, &args);
        if !drawn(&terminal, &mut child) {
            return cannot_run(&fs::read_to_string(dir.at("err")).expect("UTF-8"));
        }
        let pid = with_command.then(|| pid_in(&dir));
        // Under load, until the terminal has no room for another screen.
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(2) {
            open_some(&dir, 1_000);
        }
        let (status, took) = ends_by(libc::SIGTERM, &mut child);
        let said = fs::read_to_string(dir.at("err")).expect("UTF-8");
        // The COMMAND is sent SIGTERM, and its end is the status.
        let expected = if with_command { 128 + libc::SIGTERM } else { 0 };
        assert_eq!(status.code(), Some(expected), "{said}");
        assert!(took < soon(), "{took:?}: {said}");
        assert!(said.lines().last().is_some_and(|line| line.starts_with("account: ")), "{said}");
        assert!(!said.contains("off by"), "{said}");
        pid.into_iter().for_each(check_gone);
    }
}

#[test]
fn a_terminal_that_goes_away_ends_the_dashboard() {
    let Some(dir) = Dir::alone_as_root() else { return };
    let (terminal, mut child) = dashboard(&dir, &[]);
    if !drawn(&terminal, &mut child) {
        return cannot_run(&fs::read_to_string(dir.at("err")).expect("UTF-8"));
    }
    drop(terminal);
    let status = wait_at_most(&mut child, Duration::from_secs(60));
    let said = fs::read_to_string(dir.at("err")).expect("UTF-8");
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.lines().last().is_some_and(|line| line.starts_with("account: ")), "{said}");
}

#[test]
fn what_does_not_fit_on_the_disk_is_not_claimed() {
    let dir = Dir::alone();
    let full = File::options().write(true).open("/dev/full").expect("always there");
    let Some(traced) = Traced::start_into(full.into(), &["--kind", "open"]) else { return };
    open_some(&dir, 500);
    let run = traced.ended();
    assert_eq!(run.status.code(), Some(1), "{:?}", run.stderr);
    assert!(run.stderr.iter().any(|line| line.contains("No space left")), "{:?}", run.stderr);
    let accounts: Vec<&String> = run.stderr.iter().filter(|line| line.starts_with("{\"account\"")).collect();
    assert_eq!(accounts.len(), 1, "{:?}", run.stderr);
    assert!(accounts[0].contains("\"delivered\":0,"), "{accounts:?}");
    let account: Value = serde_json::from_str(accounts[0]).expect("JSON");
    let unwritten = n(&account["account"]["kinds"]["open"]["lost"]["unwritten"]);
    assert!(unwritten > 0, "{account}");
    let said = format!(": {unwritten} events were not written");
    assert!(run.stderr.iter().any(|line| line.ends_with(&said)), "{said}: {:?}", run.stderr);
}

/// `print` to a file, with a resource limit.
fn limited(dir: &Dir, args: &[&str], what: Resource, soft: u64, hard: u64) -> Command {
    let mut command = tracetui();
    command
        .args(["print", "--format", "json"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(File::create(dir.at("out")).expect("a file"));
    let limit = Rlimit { current: Some(soft), maximum: Some(hard) };
    sys::before_exec(&mut command, move || Ok(setrlimit(what, limit)?));
    command
}

#[test]
fn the_shells_limit_of_a_files_size_is_an_error_and_no_crash() {
    let Some(dir) = Dir::alone_as_root() else { return };
    const LIMIT: u64 = 20_000;
    // Files are opened only after the start. While a tracepoint is being enabled, QEMU 7.2 sometimes runs its old code
    // on other CPUs.
    let mut command = limited(&dir, &["--kind", "open"], Resource::Fsize, LIMIT, LIMIT);
    let Some(traced) = Traced::of(&mut command) else { return };
    let began = Instant::now();
    let out = dir.at("out");
    while fs::metadata(&out).expect("there").len() < LIMIT && began.elapsed() < Duration::from_secs(30) {
        open_some(&dir, 100);
    }
    let Run { status, stderr, .. } = traced.ended();
    assert_eq!(status.code(), Some(1), "{stderr:?}");
    assert!(stderr.iter().any(|line| line.contains("too large")), "{stderr:?}");
    let written = fs::read(&out).expect("the output");
    assert_eq!(written.len() as u64, LIMIT);
    let account = stderr.into_iter().filter(|line| line.starts_with("{\"account\"")).collect();
    check_account(&Run { status, stderr: account, raw: Vec::new(), shows_lost: true }, lines(&written));
}

#[test]
fn a_low_limit_is_raised_or_named() {
    let Some(dir) = Dir::alone_as_root() else { return };
    let words = ["--", "sh", "-c", "ulimit -n"];
    let hard = limited(&dir, &words, Resource::Nofile, 10, 10).output().expect("tracetui starts");
    let said = String::from_utf8_lossy(&hard.stderr);
    match hard.status.code() {
        // With CAP_SYS_RESOURCE, tracetui may raise its own limit. The COMMAND has the limit of the shell.
        Some(0) => assert!(said.lines().any(|line| line == "10"), "{said}"),
        _ => assert!(said.contains("the open file limit is 10") && said.contains("ulimit -n"), "{said}"),
    }
    let soft = limited(&dir, &words, Resource::Nofile, 10, 4096).output().expect("tracetui starts");
    let said = String::from_utf8_lossy(&soft.stderr);
    assert!(said.lines().any(|line| line == "10"), "{said}");
    assert_eq!(soft.status.code(), Some(0), "{said}");
}

#[test]
fn a_hangup_that_is_ignored_stays_so() {
    let Some(dir) = Dir::alone_as_root() else { return };
    let mut command = tracetui();
    command.args(["print", "--format", "json"]).stdout(File::create(dir.at("out")).expect("a file"));
    sys::do_before_exec(&mut command, || sys::signal(libc::SIGHUP, libc::SIG_IGN));
    let Some(mut traced) = Traced::of(&mut command) else { return };
    traced.signal(libc::SIGHUP);
    open_some(&dir, 10);
    std::thread::sleep(Duration::from_millis(500));
    assert!(!traced.has_ended(), "it goes on");
    // One signal ends it, because the ignored one does not count.
    traced.signal(libc::SIGTERM);
    assert_eq!(traced.ended().status.code(), Some(0));
}

/// The output of a run, as bytes.
fn said(args: &[&std::ffi::OsStr], locale: &str) -> Vec<u8> {
    let output = tracetui().args(args).env("LC_ALL", locale).output().expect("tracetui starts");
    assert!(!output.status.success());
    [output.stdout, output.stderr].concat()
}

#[test]
fn names_in_messages_do_not_act_on_the_terminal() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let hostile = b"/no\x1b]0;title\x07\x1b[31m\nx\xff\x9b \xc2\x9b\xe2\x80\xae\xec\x9b\x9b";
    let name = OsStr::from_bytes(hostile);
    let with = |option: &str| [option.as_bytes(), hostile].concat();
    let [size, kind, unknown] = ["--ring-size=", "--kind=", "--frob"].map(with);
    let os = OsStr::from_bytes;
    let all: [&[&OsStr]; 8] = [
        &[os(b"print"), os(b"--btf"), name],
        &[os(b"doctor"), os(b"--btf"), name],
        &[os(b"btf"), os(b"--from"), name],
        &[os(b"print"), os(&size)],
        &[os(b"print"), os(&kind)],
        &[os(b"print"), os(&unknown)],
        &[name],
        &[os(b"print"), os(b"--filter"), name],
    ];
    for args in all {
        for locale in ["C.UTF-8", "C"] {
            let said = said(args, locale);
            let text = String::from_utf8(said).unwrap_or_else(|_| panic!("UTF-8: {args:?}"));
            assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{args:?}: {text:?}");
            // On an 8-bit terminal, each byte of a character may be a control character.
            assert!(locale != "C" || text.is_ascii(), "{args:?}: {text:?}");
        }
    }
}
