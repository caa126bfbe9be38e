//! The time to draw a screen of the dashboard, to filter, and to go to an earlier moment, with a million events kept and 100,000
//! arriving a second: `cargo bench --bench dashboard`, or a part of it: `-- screens`, `-- keys`, `-- filters`, `-- moments`. Each by the wall clock,
//! and as processor time of the thread, which other work of the machine changes less.

#![allow(clippy::print_stdout, reason = "for whoever runs it")]

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};
use tracetui::app::{App, Input, Settings, Tick};
use tracetui::view::{self, theme::Theme};
use tracetui_events::budget::Budget;
use tracetui_events::synthetic::Maker;

const KEPT: u64 = 1_000_000;

/// Bytes of the dashboard, in which a little more than a million events are kept.
const MEMORY: u64 = 310 << 20;

/// Events between two screens: 100,000 a second, 30 screens a second.
const PER_SCREEN: u64 = 3_333;

const SCREENS: usize = 300;

const OPENS: u32 = 40;

/// The different paths, where there are many.
const PATHS: u32 = 4_000;

const FIRST: u32 = 1_000;

fn main() {
    let parts: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let mut churn =
        Churn { maker: Maker { step_ns: 10_000, ..Maker::default() }, pid: FIRST, events: 0, paths: 1, together: 1 };
    if !wanted("screens") {
        // As after the last screens.
        (churn.paths, churn.together) = (PATHS, 8);
    }
    let mut app = dashboard();
    churn.maker.exec(FIRST, "make", &["make", "-j8"], 0);
    while churn.events < KEPT {
        churn.processes();
        if churn.events.is_multiple_of(100) {
            app.update(Input::Batch(churn.maker.batch()));
        }
    }
    app.update(Input::Batch(churn.maker.batch()));
    println!("{} events of {} processes", app.store().events(), churn.pid - FIRST);
    for (what, paths, typed) in [
        ("events, calm", 1, "1"),
        ("events", 1, "O"),
        ("events, unfolded", 1, "a"),
        ("tree, by start", 1, "a2"),
        ("tree, all unfolded", 1, "2g"),
        ("tree, by opens", 1, "2ss"),
        ("tree, only failed", 1, "2sse"),
        ("tree, filtered", 1, "2efcomm=cc\n"),
        ("top, by comm", PATHS, "\u{12}3"),
        ("top, by path", PATHS, "3l"),
        ("BPF", PATHS, "3h4"),
    ] {
        (churn.paths, churn.together) = (paths, if paths > 1 { 8 } else { 1 });
        if wanted("screens") {
            press(&mut app, typed);
            screens(what, &mut app, &mut churn);
        }
    }
    println!("{} events kept", app.store().events());
    if wanted("keys") {
        for (what, typed) in [("calm", "\u{12}1"), ("all events", "O")] {
            press(&mut app, typed);
            scrolled(what, &mut app);
        }
    }
    if wanted("filters") {
        for filter in ["comm=cc", "kind=exit", "path~types", "comm=none"] {
            filtered(filter, &mut app);
        }
    }
    if wanted("moments") {
        moments(&mut app, &churn);
    }
}

fn moments(app: &mut App, churn: &Churn) {
    // With the filter for a process, one of its events is selected, and stays so without the filter.
    let middle = churn.pid - KEPT as u32 / (OPENS + 3) / 2;
    let (filter, select) = (format!("fpid={middle}\n"), "k\u{1b}".to_owned());
    for (moment, typed) in [
        ("the newest", ["G".to_owned(), "k".to_owned()]),
        ("the middle", [filter, select]),
        ("the oldest", ["g".to_owned(), String::new()]),
    ] {
        for (view, before, key) in [("tree", "", "2"), ("comm", "", "3"), ("path", "3l", "3"), ("BPF", "3h", "4")] {
            for typed in [before, "\u{12}1", &typed[0], &typed[1]] {
                press(app, typed);
                work(app);
            }
            let at = Clocks::now();
            press(app, key);
            work(app);
            let done = at.passed();
            screen(app);
            let of = app.store().events_before(app.selected().map_or(0, |stored| stored.id));
            println!("{view:<5} as of {moment} ({of} events) {done} ms, drawn after {} ms", at.passed());
        }
    }
}

fn filtered(filter: &str, app: &mut App) {
    press(app, "\u{12}1f");
    press(app, filter);
    work(app);
    press(app, "\u{1b}");
    work(app);
    press(app, "f");
    press(app, filter);
    let at = Clocks::now();
    press(app, "\n");
    while app.busy() && app.events().rows() < 50 {
        tick(app);
    }
    screen(app);
    let first = at.passed();
    work(app);
    let all = at.passed();
    let events = app.events().rows();
    println!("filter {filter:<12} a screen after {first} ms, all after {all} ms: {events} events");
}

fn screens(what: &str, app: &mut App, churn: &mut Churn) {
    let mut terminal = Terminal::new(TestBackend::new(160, 50)).expect("a terminal in memory");
    let (mut taken, mut drawn) = (Vec::new(), Vec::new());
    work(app);
    for _ in 0..SCREENS {
        let until = churn.events + PER_SCREEN;
        while churn.events < until {
            churn.processes();
        }
        let batch = churn.maker.batch();
        let at = Clocks::now();
        app.update(Input::Batch(batch));
        taken.push(at.passed());
        let at = Clocks::now();
        draw(app, &mut terminal);
        drawn.push(at.passed());
    }
    println!("{what:<20} drawn in {}; {PER_SCREEN} events taken in {}", figures(&drawn), figures(&taken));
}

fn scrolled(what: &str, app: &mut App) {
    let mut terminal = Terminal::new(TestBackend::new(160, 50)).expect("a terminal in memory");
    let mut times = Vec::new();
    work(app);
    for key in "kkkkkjjjjkgjjjkGkkkj".chars().cycle().take(SCREENS) {
        let at = Clocks::now();
        app.update(Input::Key(KeyCode::Char(key).into()));
        draw(app, &mut terminal);
        times.push(at.passed());
    }
    println!("keys, {what:<14} drawn in {}", figures(&times));
}

fn screen(app: &mut App) {
    let mut terminal = Terminal::new(TestBackend::new(160, 50)).expect("a terminal in memory");
    draw(app, &mut terminal);
}

fn draw(app: &mut App, terminal: &mut Terminal<TestBackend>) {
    app.prepare();
    let mut extent = Default::default();
    terminal.draw(|frame| extent = view::draw(frame, app, Theme::default())).expect("draws");
    app.drew(extent);
}

/// The median, the 99th percentile and the most, by both clocks.
fn figures(times: &[Passed]) -> String {
    let of = |time: fn(&Passed) -> Duration| {
        let mut times: Vec<Duration> = times.iter().map(time).collect();
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
        format!("{:>5.2} {:>5.2} {:>6.2}", at(50), at(99), at(100))
    };
    format!("{} ms, cpu {} ms", of(|passed| passed.wall), of(|passed| passed.cpu))
}

struct Clocks {
    wall: Instant,
    cpu: Duration,
}

#[derive(Clone, Copy)]
struct Passed {
    wall: Duration,
    cpu: Duration,
}

impl Clocks {
    fn now() -> Clocks {
        Clocks { cpu: cpu(), wall: Instant::now() }
    }

    fn passed(&self) -> Passed {
        Passed { wall: self.wall.elapsed(), cpu: cpu().saturating_sub(self.cpu) }
    }
}

impl std::fmt::Display for Passed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>7.2} (cpu {:>7.2})", self.wall.as_secs_f64() * 1e3, self.cpu.as_secs_f64() * 1e3)
    }
}

fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

struct Churn {
    maker: Maker,
    pid: u32,
    events: u64,
    /// The different paths of its opens.
    paths: u32,
    /// The processes that run at a time.
    together: u32,
}

impl Churn {
    /// Some processes at a time.
    fn processes(&mut self) {
        let first = self.pid + 1;
        self.pid += self.together;
        let pids = first..=self.pid;
        pids.clone().for_each(|pid| self.start(pid));
        for open in 0..OPENS {
            pids.clone().for_each(|pid| self.open(pid, open));
        }
        pids.for_each(|pid| self.end(pid));
        self.events += u64::from(OPENS + 3) * u64::from(self.together);
    }

    fn start(&mut self, pid: u32) {
        // Two of three are started by the one before.
        let parent = if pid.is_multiple_of(3) { FIRST } else { pid - 1 };
        self.maker.fork(parent, "make", pid);
        self.maker.exec(pid, "cc", &["cc", "-O2", "-c", "main.c", "-o", "main.o"], 0);
    }

    fn open(&mut self, pid: u32, open: u32) {
        let missing = open.is_multiple_of(3);
        let path = match (pid * 7 + open) % self.paths {
            0 => "/usr/include/x86_64-linux-gnu/bits/types.h",
            number => &format!("/usr/include/x86_64-linux-gnu/bits/types-{number}.h"),
        };
        self.maker.open(pid, "cc", path, if missing { -2 } else { 3 });
    }

    fn end(&mut self, pid: u32) {
        if !pid.is_multiple_of(50) {
            self.maker.exit(pid, "cc", if pid.is_multiple_of(97) { 256 } else { 0 });
        }
    }
}

fn dashboard() -> App {
    let settings = Settings { budget: Budget::new(MEMORY), calm: true, ..Settings::default() };
    let mut app = App::new(settings).expect("an empty filter");
    app.update(Input::Resize(160, 50));
    app
}

fn press(app: &mut App, typed: &str) {
    for letter in typed.chars() {
        let (code, modifiers) = match letter {
            '\n' => (KeyCode::Enter, KeyModifiers::NONE),
            '\u{12}' => (KeyCode::Char('r'), KeyModifiers::CONTROL),
            '\u{1b}' => (KeyCode::Esc, KeyModifiers::NONE),
            letter => (KeyCode::Char(letter), KeyModifiers::NONE),
        };
        app.update(Input::Key(KeyEvent::new(code, modifiers)));
    }
}

fn work(app: &mut App) {
    while app.busy() {
        tick(app);
    }
}

fn tick(app: &mut App) {
    app.update(Input::Tick(Tick { now: Duration::from_secs(1), usage: None }));
}
