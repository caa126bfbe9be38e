//! The terminal of a COMMAND: its own, and the user's, which `print` and `record` relay to it.

use crate::command::{leads_session, print};
use crate::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A shell that leads a session on a terminal, and runs a script with job control. Its argument `$0` is tracetui.
struct Shell {
    child: Child,
    terminal: File,
    shown: Vec<u8>,
    /// What was looked at.
    seen: usize,
}

impl Shell {
    /// `None`, with a message, if tracetui must not trace.
    fn run(script: &str) -> Option<Shell> {
        alone_as_root()?;
        let mut shell = neutral("sh");
        shell.args(["-c", &format!("set -m; {script}; echo the end")]).arg(tracetui().get_program());
        let (ours, theirs) = pty::give(&mut shell);
        leads_session(&mut shell);
        let child = shell.spawn().expect("sh");
        let mut shell = Shell { child, terminal: File::from(ours), shown: Vec::new(), seen: 0 };
        drop(theirs);
        match shell.expect("tracing: ") {
            true => Some(shell),
            false => {
                cannot_run(&shell.text());
                None
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown).replace("\r\n", "\n")
    }

    /// Waits until this is shown, after what was expected before. `false` if the shell ended.
    fn expect(&mut self, text: &str) -> bool {
        loop {
            let new = &self.shown[self.seen..];
            if let Some(at) = new.windows(text.len()).position(|part| part == text.as_bytes()) {
                self.seen += at + text.len();
                return true;
            }
            self.seen += new.len().saturating_sub(text.len());
            let mut ready = [PollFd::new(&self.terminal, PollFlags::IN)];
            let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
            assert_eq!(poll(&mut ready, Some(&patience)), Ok(1), "{text:?} is not shown: {}", self.text());
            let mut bytes = vec![0; 1 << 16];
            match self.terminal.read(&mut bytes) {
                Ok(read @ 1..) => self.shown.extend_from_slice(&bytes[..read]),
                _ => return false,
            }
        }
    }

    #[track_caller]
    fn shows(&mut self, texts: &[&str]) {
        for text in texts {
            assert!(self.expect(text), "{text:?} is not shown: {}", self.text());
        }
    }

    fn types(&mut self, keys: &[u8]) {
        self.terminal.write_all(keys).expect("a terminal");
    }

    fn end(mut self) -> String {
        self.shows(&["the end"]);
        self.child.wait().expect("a child");
        self.text()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_is_neither_the_shells_nor_can_it_reach_that() {
    // TIOCSTI works on the controlling terminal only. These signals reach its own session only.
    let own = "tty; ls -l /proc/$$/fd; kill -TSTP 0; cut -d\" \" -f6,7 /proc/$$/stat; kill -INT 0";
    let script =
        format!("tty; cut -d' ' -f6,7 /proc/$$/stat; $0 print --kind exec -- sh -c '{own}'; jobs; echo status $?");
    let Some(shell) = Shell::run(&script) else { return };
    let shown = shell.end();
    // The COMMAND stopped its process group, and with it the job, but nothing else.
    assert!(shown.contains("Stopped"), "{shown}");
    let ttys: Vec<&str> = shown.lines().filter(|line| line.starts_with("/dev/pts/")).collect();
    assert!(ttys.len() == 2 && ttys[0] != ttys[1], "{shown}");
    assert_eq!(shown.matches(&format!("-> {}\n", ttys[0])).count(), 0, "{shown}");
}

/// What is typed, and what is shown then, in this order.
type Step = (&'static [u8], &'static [&'static str]);

/// Runs scripts of a shell that runs tracetui, in which this is typed and shown.
fn check_dialogues(dialogues: &[(&str, &[Step])]) {
    for (script, steps) in dialogues {
        let Some(mut shell) = Shell::run(script) else { return };
        for (typed, shown) in *steps {
            shell.types(typed);
            shell.shows(shown);
        }
        shell.end();
    }
}

#[test]
fn keys_and_jobs_are_for_the_command_and_the_shell() {
    const CTRL_Z: &[u8] = &[0x1a];
    const CTRL_C: &[u8] = &[3];
    check_dialogues(&[
        (
            "$0 print --kind exec -- sh -c 'echo ready; read -r line; echo got $line; exit 3'; echo stopped $?; stty -a; fg; \
             echo ended $?; stty -a",
            &[
                (b"", &["ready"]),
                (CTRL_Z, &["stopped 14", " icanon ", "print"]),
                (b"word\r", &["got word", "account: ", "ended 3", " icanon "]),
            ],
        ),
        (
            "trap : INT; $0 print --kind bpf -- sh -c 'trap \"echo caught; exit 4\" INT; echo ready; \
             while :; do sleep 0.1; done'; echo status $?",
            &[(b"", &["ready"]), (CTRL_C, &["caught", "account: ", "status 4"])],
        ),
        // One in the background stops when it reads.
        (
            "$0 print --kind exec -- sh -c 'echo ready; read -r line; echo got $line' & wait; jobs; fg; echo status $?",
            &[(b"", &["Stopped"]), (b"word\r", &["got word", "status 0"])],
        ),
    ]);
}

#[test]
fn its_modes_and_its_size_are_the_users_and_those_are_restored() {
    let script =
        "stty rows 30 columns 90 -ixon erase ^H; echo A; stty -a; $0 print --kind bpf -- stty -a; echo B; stty -a";
    let Some(shell) = Shell::run(script) else { return };
    let shown = shell.end();
    let modes: Vec<&str> =
        shown.split("speed ").skip(1).map(|part| part.split("echoke").next().expect("text")).collect();
    assert!(modes.len() == 3 && modes[0].contains("rows 30; columns 90") && modes[0].contains("-ixon"), "{shown}");
    assert_eq!((modes[0], modes[0]), (modes[1], modes[2]), "{shown}");
}

#[test]
fn a_new_size_reaches_it() {
    let command = "trap \"stty size; exit\" WINCH; echo ready; while :; do sleep 0.1; done";
    let Some(mut shell) = Shell::run(&format!("$0 print --kind bpf -- sh -c '{command}'")) else { return };
    shell.shows(&["ready"]);
    let size = Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&shell.terminal, size).expect("a terminal");
    shell.shows(&["33 77"]);
    shell.end();
}

#[test]
fn all_that_it_writes_arrives() {
    let dir = Dir::alone();
    let path = dir.at("lines");
    let lines: String = (0..400_000).map(|number| format!("{number:09}\n")).collect();
    fs::write(&path, &lines).expect("a file");
    let Some(shell) = Shell::run(&format!("$0 print --kind bpf -- cat {path}")) else { return };
    let shown = shell.end();
    assert!(shown.contains(&lines), "{} bytes of {}", shown.len(), lines.len());
}

#[test]
fn its_end_is_not_held_up_by_others_and_a_hangup_ends_it() {
    let dir = Dir::alone();
    let pid = dir.at("pid");
    let daemon = format!("setsid sleep 300 & echo $! > {pid}; printf daemon");
    let script = format!(
        "$0 print --kind bpf -- sh -c '{daemon}'; exec $0 print --kind bpf -- sh -c 'echo ready; exec sleep 300'"
    );
    let Some(mut shell) = Shell::run(&script) else { return };
    shell.shows(&["account: "]);
    let left: i32 = fs::read_to_string(&pid).ok().and_then(|pid| pid.trim().parse().ok()).expect("a process id");
    sys::kill(left, libc::SIGKILL);
    shell.shows(&["ready"]);
    shell.terminal = File::open("/dev/null").expect("a file");
    let ended = wait_at_most(&mut shell.child, Duration::from_secs(60));
    assert!(!ended.success(), "{ended}");
}

#[test]
fn descriptors_of_root_are_not_inherited_by_another_user() {
    let dir = Dir::alone();
    let secret = File::open(dir.file("secret")).expect("a file");
    let number = secret.as_raw_fd();
    for (user, inherits) in [(Some("65534"), false), (None, true)] {
        let script = "if [ -e /proc/$$/fd/77 ]; then echo open; else echo closed; fi";
        let run = print(&["--kind", "bpf"], &["sh", "-c", script], |command| {
            if let Some(user) = user {
                command.env("SUDO_UID", user).env("SUDO_GID", user);
            }
            sys::before_exec(command, move || sys::done(sys::dup2(number as u64, 77) - 77));
        });
        let Some(run) = run else { return };
        let expected = if inherits { "open" } else { "closed" };
        assert!(run.stderr.iter().any(|line| line == expected), "{user:?}: {:?}", run.stderr);
    }
}

/// A program for perl: pushes an X into the input of each terminal that is named.
const PUSHES: &str = "for (@ARGV) { open(my $at, \"+<\", $_) or do { print \"$_: $!\\n\"; next }; \
     print ioctl($at, 0x5412, my $key = \"X\") ? \"pushed\\n\" : \"refused\\n\" }";

#[test]
fn another_user_cannot_type_into_the_shell_even_where_tiocsti_works() {
    const SETTING: &str = "/proc/sys/dev/tty/legacy_tiocsti";
    let Some(()) = alone_as_root() else { return };
    let before = fs::read(SETTING).ok();
    if before.is_some() && fs::write(SETTING, "1").is_err() {
        return not_checked("TIOCSTI: dev.tty.legacy_tiocsti cannot be set");
    }
    if !Command::new("perl").args(["-e", "1"]).status().is_ok_and(|done| done.success()) {
        return not_checked("TIOCSTI: no perl");
    }
    let typed = "stty -icanon -echo min 0 time 5; echo \"typed <$(dd bs=64 count=1 2>/dev/null)>\"; stty sane";
    let script = format!(
        "own=$(tty); perl -e '{PUSHES}' $own; {typed}; SUDO_UID=65534 SUDO_GID=65534 $0 print --kind bpf -- \
         perl -e '{PUSHES}' /dev/stdin /dev/tty $own; {typed}"
    );
    let shown = std::panic::catch_unwind(|| Shell::run(&script).map(Shell::end));
    before.iter().for_each(|before| fs::write(SETTING, before).expect("root may"));
    let Some(shown) = shown.expect("no panic") else { return };
    // The shell's own process can, and COMMAND can in its own terminal.
    assert!(shown.matches("pushed\n").count() >= 2, "{shown}");
    assert_eq!((shown.matches("typed <X>").count(), shown.matches("typed <>").count()), (1, 1), "{shown}");
}

#[test]
fn a_signal_to_tracetui_ends_it_and_restores_the_modes() {
    for (ignored, signals, ended) in [("INT", 1, "ended 143"), ("INT TERM", 2, "ended 130")] {
        let command = format!("trap \"\" {ignored}; echo ready; sleep 300; sleep 300");
        let script = format!(
            "C='{command}'; export C; sh -c 'echo pid $$; exec \"$0\" print --kind bpf -- sh -c \"$C\"' $0; \
             echo ended $?; stty -a"
        );
        let Some(mut shell) = Shell::run(&script) else { return };
        let pid = shell.text().lines().find_map(|line| line.strip_prefix("pid ")?.trim().parse().ok());
        shell.shows(&["ready"]);
        // Ctrl-C is for COMMAND, which ignores it.
        shell.types(&[3]);
        for _ in 0..signals {
            std::thread::sleep(Duration::from_millis(500));
            sys::kill(pid.expect("it was shown"), libc::SIGTERM);
        }
        if signals == 1 {
            shell.shows(&["account: "]);
        }
        shell.shows(&[ended, " icanon "]);
        shell.end();
    }
}

#[test]
fn one_that_left_its_process_group_is_continued() {
    alone();
    if !Command::new("perl").args(["-e", "1"]).status().is_ok_and(|done| done.success()) {
        return not_checked("a COMMAND that leaves its process group: no perl");
    }
    check_dialogues(&[(
        "$0 print --kind bpf -- perl -e '$| = 1; my $other = fork; if (!$other) { setpgrp(0, 0); sleep 300; exit } \
         select(undef, undef, undef, 0.3); setpgrp(0, $other) or die; print \"left\\n\"; kill STOP => $$; \
         print \"went on\\n\"; kill KILL => $other'; echo stopped $?; fg; echo ended $?",
        &[(b"", &["left", "stopped 14", "went on", "ended 0"])],
    )]);
}

#[test]
fn the_account_begins_a_new_line_where_the_user_sees_one() {
    for (command, to, shown) in [
        ("printf abc", "", "\nabc\naccount: "),
        ("echo abc", "", "\nabc\naccount: "),
        (r#"printf "abc\n\033[m""#, "", "\nabc\n\x1b[maccount: "),
        // Nobody knows how the last line of a pipe ends.
        ("echo abc", "</dev/null 2>&1 | cat", "\nabc\n\naccount: "),
    ] {
        let Some(shell) = Shell::run(&format!("$0 print --kind bpf -- sh -c '{command}' {to}")) else { return };
        let text = shell.end();
        assert!(text.contains(shown), "{command} {to}: {text:?}");
    }
}

#[test]
fn a_recording_on_stdout_has_nothing_of_it() {
    let Some(()) = alone_as_root() else { return };
    let mut command = tracetui();
    command.args(["record", "-o", "-", "--", "sh", "-c", "echo text of the COMMAND"]).stdin(Stdio::null());
    let done = command.output().expect("tracetui runs");
    let said = String::from_utf8_lossy(&done.stderr);
    if !said.contains("tracing: ") {
        return cannot_run(&said);
    }
    assert!(said.contains("\ntext of the COMMAND\n"), "{said}");
    let path = Dir::new();
    let file = path.at("recording");
    fs::write(&file, &done.stdout).expect("a file");
    let read = tracetui().args(["info", &file]).output().expect("tracetui runs");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}

#[test]
fn a_recording_beside_lines_on_stdout_is_refused() {
    let done =
        tracetui().args(["print", "-w", "-", "--", "true"]).stdin(Stdio::null()).output().expect("tracetui runs");
    assert_eq!((done.status.code(), done.stdout.len()), (Some(2), 0), "{}", String::from_utf8_lossy(&done.stderr));
}
