//! The time to draw a screen of the dashboard, with a million events kept and 100,000 arriving a second:
//! `cargo bench --bench dashboard`.

#![allow(clippy::print_stdout, reason = "for whoever runs it")]

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::time::{Duration, Instant};
use tracetui::app::{App, Input, Preferences, Settings, Tick, language};
use tracetui::budget::Budget;
use tracetui::pipeline::Pipeline;
use tracetui::source::synthetic::Maker;
use tracetui::view::{self, theme::Theme};
use tracetui_shared::kind::KindSet;

const KEPT: u64 = 1_000_000;

/// Events between two screens: 100,000 a second, 30 screens a second.
const PER_SCREEN: u64 = 3_333;

const SCREENS: usize = 300;

/// The opens of a process.
const OPENS: u32 = 40;

/// The first process of the builds.
const FIRST: u32 = 1_000;

fn main() {
    let mut churn = Churn { maker: Maker { step_ns: 10_000, ..Maker::default() }, pid: FIRST, events: 0 };
    let mut app = dashboard();
    churn.maker.exec(FIRST, "make", &["make", "-j8"], 0);
    while churn.events < KEPT {
        churn.process();
        if churn.events.is_multiple_of(100) {
            app.update(Input::Batch(churn.maker.batch()));
        }
    }
    app.update(Input::Batch(churn.maker.batch()));
    println!("kept {KEPT} events, of {} processes", churn.pid - FIRST);
    for (what, typed) in [
        ("events", "1"),
        ("events, unfolded", "a"),
        ("tree, by start", "a2"),
        ("tree, all unfolded", "2g"),
        ("tree, by opens", "2ss"),
        ("tree, only failed", "2sse"),
        ("tree, filtered", "2efcomm=cc\n"),
    ] {
        press(&mut app, typed);
        screens(what, &mut app, &mut churn);
    }
    press(&mut app, "\u{12}1g");
    let start = Instant::now();
    press(&mut app, "2");
    work(&mut app);
    println!("{:<20} {:>8.2} ms", "the oldest moment", start.elapsed().as_secs_f64() * 1e3);
}

/// Draws screens while events arrive, and prints the times.
fn screens(what: &str, app: &mut App, churn: &mut Churn) {
    let mut terminal = Terminal::new(TestBackend::new(160, 50)).expect("a terminal in memory");
    let (mut taken, mut drawn) = (Vec::new(), Vec::new());
    work(app);
    for _ in 0..SCREENS {
        let until = churn.events + PER_SCREEN;
        while churn.events < until {
            churn.process();
        }
        let batch = churn.maker.batch();
        let start = Instant::now();
        app.update(Input::Batch(batch));
        taken.push(start.elapsed());
        let start = Instant::now();
        app.prepare();
        let mut extent = Default::default();
        terminal.draw(|frame| extent = view::draw(frame, app, Theme::default())).expect("draws");
        app.drew(extent);
        drawn.push(start.elapsed());
    }
    let figures = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
        format!("{:>6.2} {:>6.2} {:>6.2}", at(50), at(99), at(100))
    };
    println!(
        "{what:<20} drawn in {} ms, {PER_SCREEN} events taken in {} ms (median, 99 %, most)",
        figures(&mut drawn),
        figures(&mut taken)
    );
}

/// Short-lived processes of a build.
struct Churn {
    maker: Maker,
    pid: u32,
    events: u64,
}

impl Churn {
    fn process(&mut self) {
        self.pid += 1;
        let pid = self.pid;
        // Two of three are started by the one before.
        let parent = if pid.is_multiple_of(3) { FIRST } else { pid - 1 };
        self.maker.fork(parent, "make", pid);
        self.maker.exec(pid, "cc", &["cc", "-O2", "-c", "main.c", "-o", "main.o"], 0);
        for open in 0..OPENS {
            let missing = open.is_multiple_of(3);
            self.maker.open(pid, "cc", "/usr/include/x86_64-linux-gnu/bits/types.h", if missing { -2 } else { 3 });
        }
        if !pid.is_multiple_of(50) {
            self.maker.exit(pid, "cc", if pid.is_multiple_of(97) { 256 } else { 0 });
        }
        self.events += u64::from(OPENS) + 3;
    }
}

fn dashboard() -> App {
    let settings = Settings {
        budget: Budget::new(1 << 30),
        kinds: KindSet::BY_DEFAULT,
        zone_s: 0,
        capture: "all".to_owned(),
        filter: String::new(),
        parse: language::parse,
        preferences: Preferences::default(),
    };
    let mut app = App::new(Pipeline::default(), settings).expect("an empty filter");
    app.update(Input::Resize(160, 50));
    app
}

fn press(app: &mut App, typed: &str) {
    for letter in typed.chars() {
        let (code, modifiers) = match letter {
            '\n' => (KeyCode::Enter, KeyModifiers::NONE),
            '\u{12}' => (KeyCode::Char('r'), KeyModifiers::CONTROL),
            letter => (KeyCode::Char(letter), KeyModifiers::NONE),
        };
        app.update(Input::Key(KeyEvent::new(code, modifiers)));
    }
}

fn work(app: &mut App) {
    while app.busy() {
        app.update(Input::Tick(Tick { now: Duration::from_secs(1), usage: None }));
    }
}
