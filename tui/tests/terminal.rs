//! The dashboard on a terminal: the real binary shows a recording on a pseudoterminal. Every key is pressed in every view, and each
//! way out leaves the terminal as it was.

mod pty;
#[path = "pty/stream.rs"]
mod stream;

use crossterm::event::KeyCode;
use pty::size;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};
use stream::Stream;
use tracetui::app::keys::keymap::Press;
use tracetui::app::{App, Settings};
use tracetui::cli::Run;
use tracetui::command::dashboard::event_loop::{self, Appearance, Trace};
use tracetui_events::frame::host::{CommandOutput, HostFrame};
use tracetui_events::pipeline::Pipeline;
use tracetui_events::recording::Writer;
use tracetui_events::recording::block::FileHeader;
use tracetui_events::synthetic::Maker;
use tracetui_live::feed::Feed;
use tracetui_live::synthetic::Synthetic;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ctrl-L: everything is drawn anew.
const REDRAW: &str = "\x0c";

/// Esc, and Ctrl-L, in one: the terminal sends both so when they are pressed one right after the other.
const BACK: &str = "\x1b\x0c";

/// Each view, and each state in which keys mean something else: the keys that lead there, and a text that is there only.
const STATES: [(&str, &str, &str); 15] = [
    ("events", "1", " DETAIL"),
    ("tree", "2", " COMMAND"),
    ("top", "3", " EVENTS "),
    ("BPF", "4", " ATTACHED TO"),
    ("detail", "1\r", " Why  Files  Parents  Raw "),
    ("its files", "1\r\t", " Why  Files  Parents  Raw "),
    ("detail, full size", "1\r\r", " Why  Files  Parents  Raw "),
    ("the process", "1\ru", " Why  Files  Parents  Raw "),
    ("help", "1?", " Tasks"),
    ("search in the help", "1?/", " search the help> "),
    ("loss report", "1!", " LOST EVENTS"),
    ("filter line", "1f", " filter> "),
    ("search", "1/", "Enter keep n N next"),
    ("time", "1T", " go to time> "),
    ("name of a recording", "1D", " compare with> "),
];

fn recording() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/failed-build.ttr")
}

/// The dashboard with a recording.
fn replay(recording: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracetui"));
    command.args(["replay", "--no-config"]).arg(recording);
    command
}

struct Terminal {
    child: Child,
    ours: File,
    /// Kept, so that the settings outlive the program.
    theirs: OwnedFd,
    before: String,
    screen: vt100::Parser,
    stream: Stream,
}

impl Terminal {
    /// Runs a command on a terminal of 80 columns, as the leader of a session.
    fn start(command: &mut Command) -> Terminal {
        Terminal::start_with(command, size(80, 24), "xterm-256color")
    }

    fn start_with(command: &mut Command, size: Winsize, term: &str) -> Terminal {
        let (ours, theirs) = pty::give(command);
        tcsetwinsize(&theirs, size).expect("a size");
        command.env("TERM", term).env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env_remove("TMUX");
        command.env_remove("NO_COLOR").env_remove("RUST_BACKTRACE");
        // SAFETY: between fork and exec the closure only makes system calls.
        unsafe {
            command.pre_exec(|| {
                // Whoever runs the tests may ignore some, as nohup(1) does, and children inherit that.
                for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGTSTP] {
                    libc::signal(signal, libc::SIG_DFL);
                }
                Ok(())
            });
        }
        pty::lead_session(command);
        let before = settings(&theirs);
        let child = command.spawn().expect("it starts");
        let screen = vt100::Parser::new(rows(24), rows(80), 0);
        Terminal { child, ours: ours.into(), theirs, before, screen, stream: Stream::default() }
    }

    /// The dashboard with the example, when it is drawn.
    fn replay(args: &[&str]) -> Terminal {
        let mut terminal = Terminal::start(replay(recording()).args(args));
        terminal.until("it is loaded", |terminal| terminal.is_drawn() && terminal.text().contains(" of 551"));
        terminal
    }

    fn send(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Takes what was written, if something is within this time; whether there may be more.
    fn take(&mut self, wait: Duration) -> bool {
        let timeout = Timespec::try_from(wait).expect("a short time");
        let mut entry = [PollFd::new(&self.ours, PollFlags::IN)];
        if poll(&mut entry, Some(&timeout)) != Ok(1) {
            return false;
        }
        let mut bytes = vec![0; 1 << 16];
        let count = self.ours.read(&mut bytes).unwrap_or(0);
        self.stream.take(&bytes[..count]);
        self.screen.process(&bytes[..count]);
        count > 0
    }

    fn until(&mut self, what: &str, done: impl Fn(&Terminal) -> bool) {
        let began = Instant::now();
        while !done(self) {
            self.take(Duration::from_millis(10));
            assert!(began.elapsed() < PATIENCE, "{what}:\n{}\n{:?}", self.text(), self.stream);
        }
    }

    fn text(&self) -> String {
        self.screen.screen().contents()
    }

    fn line(&self, row: usize) -> String {
        let (_, columns) = self.screen.screen().size();
        self.screen.screen().rows(0, columns.get()).nth(row).unwrap_or_default()
    }

    /// Whether the dashboard has the terminal, and header, status line and footer are there.
    fn is_drawn(&self) -> bool {
        let screen = self.screen.screen();
        let last = usize::from(screen.size().0.get()) - 1;
        let drawn = |row| !self.line(row).trim().is_empty();
        screen.alternate_screen() && self.line(0).contains(" REPLAY ") && drawn(last - 1) && drawn(last)
    }

    /// Presses keys, and waits until everything is drawn anew after them. `false` if the program ended.
    fn press(&mut self, keys: &str) -> bool {
        self.press_with(keys, keys.matches(REDRAW).count())
    }

    /// The same, with keys that have so much drawn anew.
    fn press_with(&mut self, keys: &str, redraws: usize) -> bool {
        let clears = self.stream.clears + redraws + 1;
        self.send(&format!("{keys}{REDRAW}"));
        let began = Instant::now();
        loop {
            self.take(Duration::from_millis(10));
            if self.stream.clears >= clears && self.is_drawn() {
                // The buffer of the terminal may have cut the last line.
                while self.take(Duration::from_millis(20)) {}
                return true;
            }
            if self.child.try_wait().expect("a status").is_some() {
                return false;
            }
            assert!(began.elapsed() < PATIENCE, "{keys:?} is answered:\n{}\n{:?}", self.text(), self.stream);
        }
    }

    /// The screen when nothing is counted or looked up any more.
    fn settled(&mut self) -> String {
        loop {
            let before = self.text();
            thread::sleep(Duration::from_millis(200));
            assert!(self.press(""), "it lives");
            if self.text() == before {
                return before;
            }
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        let status = loop {
            self.take(Duration::from_millis(10));
            if let Some(status) = self.child.try_wait().expect("a status") {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it ends:\n{}", self.text());
        };
        while self.take(Duration::ZERO) {}
        status
    }

    /// What is not as it was before the dashboard took the terminal.
    fn left_over(&self) -> Vec<String> {
        let screen = self.screen.screen();
        let modes = [
            ("the alternate screen", screen.alternate_screen()),
            ("no cursor", screen.hide_cursor()),
            ("bracketed paste", screen.bracketed_paste()),
            ("the mouse", screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None),
        ];
        let mut left: Vec<_> = modes.iter().filter(|(_, on)| *on).map(|(what, _)| (*what).to_owned()).collect();
        let now = settings(&self.theirs);
        if now != self.before {
            left.push(format!("settings: {now}, not {}", self.before));
        }
        left
    }

    /// Checks that everything is as it was, and that nothing else was written.
    fn check_left(&self, how: &str) {
        assert_eq!(self.left_over(), [""; 0], "after {how}");
        assert_eq!(self.stream.wrong, [""; 0], "after {how}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rows(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("at least one")
}

fn settings(terminal: &OwnedFd) -> String {
    format!("{:?}", tcgetattr(terminal).expect("a terminal"))
}

/// The names of all keys, and of those that quit, as `tracetui keys` prints them.
fn keys() -> (Vec<String>, Vec<String>) {
    let output = Command::new(env!("CARGO_BIN_EXE_tracetui")).args(["keys", "--color", "never"]).output();
    let text = String::from_utf8(output.expect("it starts").stdout).expect("UTF-8");
    let lines = text.lines().filter_map(|line| line.strip_prefix("  ")?.split_once("  "));
    let names = |keys: &str| keys.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut all: Vec<String> = lines.clone().flat_map(|(keys, _)| names(keys)).collect();
    all.sort();
    all.dedup();
    let quit = lines.filter(|(_, help)| help.trim() == "quit").flat_map(|(keys, _)| names(keys)).collect();
    (all, quit)
}

fn sent(name: &str) -> String {
    let key: Press = name.parse().expect("a key of the table");
    match (key.code, key.ctrl) {
        (KeyCode::Char(letter), true) => char::from(letter as u8 & 0x1f).to_string(),
        (KeyCode::Char(letter), false) => letter.to_string(),
        (code, _) => match code {
            KeyCode::Enter => "\r".to_owned(),
            KeyCode::Esc => "\x1b".to_owned(),
            KeyCode::Tab => "\t".to_owned(),
            KeyCode::BackTab => "\x1b[Z".to_owned(),
            KeyCode::Up => "\x1b[A".to_owned(),
            KeyCode::Down => "\x1b[B".to_owned(),
            KeyCode::Right => "\x1b[C".to_owned(),
            KeyCode::Left => "\x1b[D".to_owned(),
            KeyCode::Home => "\x1b[H".to_owned(),
            KeyCode::End => "\x1b[F".to_owned(),
            KeyCode::Insert => "\x1b[2~".to_owned(),
            KeyCode::Delete => "\x1b[3~".to_owned(),
            KeyCode::PageUp => "\x1b[5~".to_owned(),
            KeyCode::PageDown => "\x1b[6~".to_owned(),
            KeyCode::F(n @ 1..=4) => format!("\x1bO{}", char::from(b'O' + n)),
            KeyCode::F(n @ 5..=12) => format!("\x1b[{}~", [15, 17, 18, 19, 20, 21, 23, 24][usize::from(n) - 5]),
            other => panic!("nothing is known of {other}"),
        },
    }
}

fn go(terminal: &mut Terminal, (name, keys, shown): (&str, &str, &str)) {
    let back = BACK.repeat(6);
    assert!(terminal.press(&format!("{back}\x12g{keys}")), "it ended on the way to {name}");
    terminal.until(name, |terminal| terminal.text().contains(shown));
}

/// Writes a recording of two events, and between them this many MiB of COMMAND's output in so many seconds.
fn much_output(path: &Path, mib: u64, (columns, rows): (u16, u16), piece: &[u8]) {
    let mut maker = Maker::default();
    let file = File::create(path).expect("room");
    let mut writer = Writer::new(file, &FileHeader::new([7; 16], 0)).expect("room");
    maker.open(7, "make", "/first", -13);
    let bytes = piece.repeat((1 << 20) / piece.len());
    for _ in 0..mib {
        maker.ns += 1_000_000_000;
        let bytes = bytes.clone();
        maker.host(&HostFrame::CommandOutput(CommandOutput { columns, rows, bytes, missing: 0 }));
        writer.batch(maker.batch().bytes()).expect("room");
    }
    maker.open(7, "make", "/last", -13);
    writer.batch(maker.batch().bytes()).expect("room");
    writer.end(&Pipeline::default().state()).expect("room");
}

#[test]
fn much_output_is_loaded_with_progress_and_is_left_at_once() {
    let path = std::env::temp_dir().join(format!("tracetui-output-{}.ttr", std::process::id()));
    much_output(&path, 60, (80, 24), b"\x1b[32mword\x1b[m of output\r\n");
    for (args, shown) in [(&["--from", "1h"][..], "loading "), (&[], "paused, loading ")] {
        let mut terminal = Terminal::start(replay(&path).args(args));
        terminal.until(shown, |terminal| terminal.is_drawn() && terminal.text().contains(shown));
        let began = Instant::now();
        terminal.send("q");
        assert!(terminal.ended().success());
        // The output would take a minute without optimisation.
        assert!(began.elapsed() < Duration::from_secs(30), "{args:?}: {:?}", began.elapsed());
        terminal.check_left("q");
    }
    std::fs::remove_file(path).expect("ours");
}

#[test]
fn output_that_makes_its_terminal_work_does_not_keep_the_dashboard() {
    let path = std::env::temp_dir().join(format!("tracetui-work-{}.ttr", std::process::id()));
    for piece in [&b"\x1b[500L"[..], b"\x1b[2J", b"x\x1b[999b", b"\x1b[500@", b"\x1bc"] {
        much_output(&path, 1, (1000, 500), piece);
        let mut terminal = Terminal::start(&mut replay(&path));
        terminal.until("it is drawn", Terminal::is_drawn);
        kill_process(terminal.pid(), Signal::TERM).expect("it runs");
        assert!(terminal.ended().success(), "{}", piece.escape_ascii());
        terminal.check_left("SIGTERM");
    }
    std::fs::remove_file(path).expect("ours");
}

#[test]
fn every_key_is_pressed_in_every_view() {
    let (keys, quit) = keys();
    assert!(keys.len() > 60 && quit.len() == 3, "{keys:?}, {quit:?}");
    thread::scope(|scope| {
        for state in STATES {
            let (keys, quit) = (&keys, &quit);
            scope.spawn(move || {
                let mut terminal = Terminal::replay(&[]);
                for key in keys {
                    go(&mut terminal, state);
                    let lives = terminal.press(&sent(key));
                    // Where text is typed, a letter is text.
                    let types = terminal.text().contains("> q") || terminal.line(1).starts_with(" /q");
                    let closes = *key == "q" && matches!(state.0, "help" | "loss report");
                    assert_eq!(
                        lives,
                        !quit.contains(key) || types || closes,
                        "{key} in {}:\n{}",
                        state.0,
                        terminal.text()
                    );
                    assert_eq!(terminal.stream.wrong, [""; 0], "after {key} in {}", state.0);
                    if !lives {
                        assert!(terminal.ended().success(), "{key} in {}:\n{}", state.0, terminal.text());
                        terminal.check_left(key);
                        terminal = Terminal::replay(&[]);
                    }
                }
            });
        }
    });
}

#[test]
fn escape_alone_is_a_key() {
    let mut terminal = Terminal::replay(&[]);
    go(&mut terminal, ("help", "?", " Tasks"));
    terminal.send("\x1b");
    terminal.until("the help is closed", |terminal| terminal.text().contains(" DETAIL"));
}

#[test]
fn a_paste_presses_no_key() {
    let (keys, _) = keys();
    // A text that is longer than what is read at once, too.
    let pasted: String = keys.iter().map(|key| sent(key)).collect::<String>().repeat(20);
    let paste = format!("\x1b[200~{pasted}\x1b[201~");
    thread::scope(|scope| {
        for state in STATES {
            let paste = &paste;
            scope.spawn(move || {
                let mut terminal = Terminal::replay(&[]);
                go(&mut terminal, state);
                let before = terminal.settled();
                assert!(terminal.press_with(paste, 0), "it ended in {}:\n{}", state.0, terminal.text());
                let after = terminal.settled();
                assert_eq!(terminal.stream.wrong, [""; 0], "in {}", state.0);
                let typed = state.2.ends_with("> ") || state.0 == "search";
                // It is text where text is typed; elsewhere only the status line says something.
                let lines = before.lines().zip(after.lines()).enumerate();
                let changed: Vec<_> = lines.filter(|(row, (before, after))| *row != 22 && before != after).collect();
                assert_eq!(changed.is_empty(), !typed, "in {}: {changed:#?}", state.0);
            });
        }
    });
}

#[test]
fn any_size_and_any_number_of_changes_are_survived() {
    let all = [(1, 1), (300, 100), (2, 40), (80, 1), (1, 100), (40, 10), (0, 0), (139, 7), (300, 1), (20, 6)];
    thread::scope(|scope| {
        for state in STATES {
            scope.spawn(move || {
                let mut terminal = Terminal::replay(&[]);
                go(&mut terminal, state);
                let resize = |terminal: &mut Terminal, columns: u16, lines: u16| {
                    terminal.screen.screen_mut().set_size(rows(lines.max(1)), rows(columns.max(1)));
                    tcsetwinsize(&terminal.theirs, size(columns, lines)).expect("a size");
                };
                for round in 0..200 {
                    let (columns, lines) = all[round % all.len()];
                    resize(&mut terminal, columns, lines + (round % 3) as u16);
                    // Sometimes it has the time to draw.
                    terminal.take(Duration::from_millis(if round.is_multiple_of(20) { 50 } else { 0 }));
                }
                resize(&mut terminal, 100, 30);
                // Not by a key: crossterm 0.29 reads one that arrives together with a changed size only when the next one does.
                let fits = |row: &str, end: &str| row.trim_end().ends_with(end) && row.trim_end().chars().count() == 99;
                terminal.until("it fits", |terminal| {
                    fits(&terminal.line(0), "LOST 0") && fits(&terminal.line(28), "of 551") && terminal.is_drawn()
                });
                terminal.settled();
                assert_eq!(terminal.stream.wrong, [""; 0], "in {}", state.0);
            });
        }
    });
}

#[test]
fn a_terminal_without_a_size_has_the_one_in_the_environment_until_it_has_another() {
    for (variables, columns, lines) in [
        (&[][..], 80, 24),
        (&[("COLUMNS", "100"), ("LINES", "30")], 100, 30),
        (&[("COLUMNS", "0"), ("LINES", "many")], 80, 24),
        (&[("COLUMNS", "132")], 132, 24),
        (&[("LINES", "65536")], 80, 24),
    ] {
        let mut command = replay(recording());
        command.env_remove("COLUMNS").env_remove("LINES").envs(variables.iter().copied());
        let mut terminal = Terminal::start_with(&mut command, size(0, 0), "xterm");
        terminal.screen = vt100::Parser::new(rows(lines), rows(columns), 0);
        terminal.until("it is drawn", Terminal::is_drawn);
        assert!(terminal.line(0).trim_end().chars().count() == usize::from(columns) - 1, "{}", terminal.text());
        terminal.screen.screen_mut().set_size(rows(20), rows(70));
        tcsetwinsize(&terminal.theirs, size(70, 20)).expect("a size");
        terminal.until("it fits", |terminal| terminal.is_drawn() && terminal.line(0).trim_end().chars().count() == 69);
    }
}

#[test]
fn a_terminal_that_cannot_show_the_dashboard_is_refused() {
    let run = r#""$0" replay --no-config "$1" </dev/null"#;
    for (term, program, said) in [
        ("dumb", &["sh", "-c", run][..], "(TERM=dumb); tracetui print writes"),
        ("unknown", &["sh", "-c", run], "(TERM=unknown); tracetui print writes"),
        ("xterm", &["setsid", "-w", "sh", "-c", run], "tracetui: no terminal for keys: /dev/tty: "),
        (
            "xterm",
            &["setsid", "-w", "sh", "-c", r#"cat "$1" | "$0" replay --no-config -"#],
            "no terminal for keys: /dev/tty: ",
        ),
    ] {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(env!("CARGO_BIN_EXE_tracetui")).arg(recording());
        let mut terminal = Terminal::start_with(&mut command, size(200, 24), term);
        terminal.screen = vt100::Parser::new(rows(24), rows(200), 0);
        assert_eq!(terminal.ended().code(), Some(1), "{term} {program:?}: {}", terminal.text());
        assert!(terminal.text().contains(said) && terminal.stream.clears == 0, "{term}: {}", terminal.text());
    }
}

#[test]
fn every_way_out_restores_the_terminal() {
    thread::scope(|scope| {
        for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT] {
            for (args, state) in [(&["--mouse"][..], 0), (&[], 4), (&[], 8), (&[], 11)] {
                scope.spawn(move || {
                    let mut terminal = Terminal::replay(args);
                    go(&mut terminal, STATES[state]);
                    assert!(terminal.left_over().len() >= 3, "it has the terminal: {:?}", terminal.left_over());
                    kill_process(terminal.pid(), signal).expect("it runs");
                    assert!(terminal.ended().success(), "{signal:?}");
                    terminal.check_left(&format!("{signal:?}"));
                });
            }
        }
    });
}

#[test]
fn a_terminal_that_is_closed_ends_it() {
    for ignored in [false, true] {
        let mut command = Command::new("sh");
        let trap = if ignored { "trap '' HUP" } else { ":" };
        command.args([
            "-c",
            &format!("{trap}; exec \"$0\" replay --no-config \"$1\""),
            env!("CARGO_BIN_EXE_tracetui"),
            recording(),
        ]);
        let mut terminal = Terminal::start(&mut command);
        terminal.until("it is drawn", Terminal::is_drawn);
        // Nobody has the master any more.
        let (other, _) = pty::open();
        terminal.ours = other.into();
        let began = Instant::now();
        let status = terminal.ended();
        assert!(status.success() && began.elapsed() < Duration::from_secs(30), "SIGHUP ignored: {ignored}, {status}");
    }
}

/// A shell with job control that runs the dashboard, and continues it when a line is typed; and the id of the dashboard.
fn job() -> (Terminal, Pid) {
    let script =
        r#""$0" replay --no-config "$1"; while test $? -gt 128; do echo "stopped"; read line; fg; done; echo "ended""#;
    let mut command = Command::new("sh");
    command.args(["-mc", script, env!("CARGO_BIN_EXE_tracetui"), recording()]);
    let mut terminal = Terminal::start(&mut command);
    terminal.until("it is drawn", Terminal::is_drawn);
    let shell = terminal.child.id();
    let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).expect("procfs");
    let child = children.trim().parse().expect("one child");
    (terminal, Pid::from_raw(child).expect("not 0"))
}

fn is_stopped(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    status.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
}

#[test]
fn a_stopped_job_leaves_the_terminal_and_takes_it_again() {
    let (mut terminal, pid) = job();
    let taken = terminal.left_over();
    for (times, way) in (1..).zip(["SIGTSTP", "Ctrl-Z", "SIGTSTP", "SIGSTOP"]) {
        match way {
            "SIGTSTP" => kill_process(pid, Signal::TSTP).expect("it runs"),
            "SIGSTOP" => kill_process(pid, Signal::STOP).expect("it runs"),
            _ => terminal.send("\x1a"),
        }
        terminal.until("it is stopped", |_| is_stopped(pid));
        // SIGSTOP cannot be caught: nothing is restored.
        if way != "SIGSTOP" {
            terminal.until("the shell goes on", |terminal| terminal.text().matches("stopped").count() == times);
            terminal.check_left(way);
        }
        if times == 3 {
            // In the background it leaves the terminal alone.
            kill_process(pid, Signal::CONT).expect("it is there");
            terminal.until("it goes on", |_| !is_stopped(pid));
            thread::sleep(Duration::from_millis(300));
            terminal.take(Duration::ZERO);
            terminal.check_left("SIGCONT in the background");
        }
        terminal.send("\n");
        terminal.until("it is drawn again", |terminal| terminal.is_drawn() && terminal.left_over() == taken);
        assert!(terminal.press("jk"), "it takes keys");
        if way == "SIGSTOP" {
            // The shell wrote lines on the alternate screen.
            terminal.stream.wrong.clear();
        }
    }
    terminal.send("q");
    terminal.until("it has ended", |terminal| terminal.text().contains("ended"));
    terminal.check_left("the end");
}

#[test]
fn a_job_that_is_brought_to_the_foreground_takes_the_terminal_without_sigcont() {
    let script = r#""$0" replay --no-config "$1"; echo "stopped"; bg; read line; fg; echo "ended""#;
    // The fg of bash does not continue a job that runs.
    let mut command = Command::new("bash");
    command.args(["-mc", script, env!("CARGO_BIN_EXE_tracetui"), recording()]);
    let mut terminal = Terminal::start(&mut command);
    terminal.until("it is drawn", Terminal::is_drawn);
    let taken = terminal.left_over();
    terminal.send("\x1a");
    terminal.until("the shell goes on", |terminal| terminal.text().contains("stopped"));
    terminal.check_left("Ctrl-Z");
    thread::sleep(Duration::from_millis(300));
    terminal.take(Duration::ZERO);
    terminal.check_left("the background");
    terminal.send("\n");
    terminal.until("it is drawn again", |terminal| terminal.is_drawn() && terminal.left_over() == taken);
    assert!(terminal.press("jk"), "it takes keys");
    terminal.send("q");
    terminal.until("it has ended", |terminal| terminal.text().contains("ended"));
    terminal.check_left("the end");
}

/// Set to where it is to panic in a process that runs [`a_dashboard_that_panics`].
const PANICS_IN: &str = "TRACETUI_TEST_PANICS_IN";

/// Not a test, except where it is to panic: a live dashboard that does so after its first screens.
#[test]
fn a_dashboard_that_panics() {
    let Ok(place) = std::env::var(PANICS_IN) else { return };
    let settings = Settings::default();
    let (budget, in_source, in_loop) = (settings.budget, place == "source", place == "loop");
    let app = App::new(settings).expect("no filter");
    let mut calls = 0;
    let source = Synthetic::new(Maker::default(), move |maker| {
        maker.open(100, "cat", "/etc/hosts", 3);
        calls += 1;
        assert!(!(in_source && calls == 10), "it panics in {place}");
        Some(Duration::from_millis(50))
    });
    let feed = Feed::start(source, Vec::new(), None, budget).expect("a thread");
    let (timeline, home, run) = (None, None, Run::default());
    let trace = Trace { feed, command: None, timeline, recorder: None, opener: None, home, lookups: None, run };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let failed = runtime.block_on(async {
        tokio::select! {
            end = event_loop::run(app, Appearance::default(), trace) => end,
            () = tokio::time::sleep(Duration::from_millis(500)), if in_loop => panic!("it panics in loop"),
        }
    });
    assert_eq!(failed.expect_err("a failure").to_string(), "a thread panicked");
}

#[test]
fn a_panic_is_told_on_a_restored_terminal() {
    for place in ["source", "loop"] {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "a_dashboard_that_panics", "--nocapture"]).env(PANICS_IN, place);
        let mut terminal = Terminal::start(&mut command);
        terminal.until("it has the terminal", |terminal| terminal.stream.taken == 1);
        terminal.ended();
        terminal.check_left(place);
        let text = terminal.text();
        assert!(text.contains(&format!("it panics in {place}")) && !text.contains("LIVE"), "{text}");
    }
}

#[test]
fn three_keys_answer_what_is_asked_of_a_trace() {
    // The question, where the replay begins, what is pressed (a name that is typed is one), and the words of a line that answers.
    type Words = &'static [&'static str];
    let asked: [(&str, Words, Words, Words); 5] = [
        ("who failed to open config.h?", &[], &["/", "config.h", "\r"], &[">", " 2181 cc1 ", " ENOENT ", "config.h"]),
        ("what did this process start?", &[], &["\r"], &["started bpftrace, sleep, su, 1 failed"]),
        ("what is running under make now?", &["--from", "2.06"], &["2"], &[" running ", "cc1 net.c"]),
        ("did I lose anything?", &[], &["!"], &["No event was lost."]),
        ("who attached this BPF program?", &[], &[], &["BPF ", " 2109 bpftrace ", "attach tracepoint"]),
    ];
    for (question, args, pressed, answer) in asked {
        assert!(pressed.len() <= 3, "{question}");
        let mut terminal = Terminal::replay(args);
        let answers = |terminal: &Terminal| {
            let text = terminal.text();
            text.lines().any(|line| answer.iter().all(|words| line.contains(words)))
        };
        assert!(pressed.is_empty() || !answers(&terminal), "{question} needs no key");
        pressed.iter().for_each(|key| terminal.send(key));
        terminal.until(question, answers);
    }
}
