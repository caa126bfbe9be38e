//! Synthetic frames, for tests.

use super::{App, Compared, Effect, Effects, Input, Preferences, Settings, Tick};
use crate::app::keys::device::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use std::time::Duration;
use tracetui_events::budget::Budget;
use tracetui_events::diff::{Run, compare};
use tracetui_events::frame::host::{Clock, HostFrame, Trace};
use tracetui_events::synthetic::{Maker, each_event};
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::KindSet;

/// 2026-11-20 14:02:11 UTC, minus the CLOCK_BOOTTIME at which [`Maker`] starts.
pub(crate) const CLOCK_OFFSET: i64 = 1_795_183_331_000_000_000 - 100_000_000_000;

pub(crate) fn app(width: u16, height: u16, memory: u64) -> App {
    app_with(width, height, memory, Preferences::default())
}

pub(crate) fn app_with(width: u16, height: u16, memory: u64, preferences: Preferences) -> App {
    let settings = Settings { budget: Budget::new(memory), preferences, ..Settings::default() };
    let mut app = App::new(settings).expect("an empty filter");
    app.update(Input::Resize(width, height));
    let mut clock = Maker::default();
    clock.host(&HostFrame::Clock(Clock { offset_ns: CLOCK_OFFSET }));
    app.update(Input::Batch(clock.batch()));
    app
}

pub(crate) fn traced(command: u32) -> Maker {
    let mut made = Maker::default();
    let kinds = KindSet::BY_DEFAULT.bits();
    made.host(&HostFrame::Trace(Trace { kinds, command: Tgid(command), ..Trace::default() }));
    made
}

/// Feeds the frames made so far, and completes all work.
pub(crate) fn feed<'a>(app: &'a mut App, made: &mut Maker) -> &'a mut App {
    app.update(Input::Batch(made.batch()));
    work(app)
}

pub(crate) fn work(app: &mut App) -> &mut App {
    for _ in 0..10_000 {
        if !app.busy() {
            break;
        }
        app.update(Input::Tick(Tick { now: Duration::from_secs(1), usage: None }));
    }
    app
}

/// A build: make starts a compiler for each source, and links. `good`: the header is found.
pub(crate) fn build(made: &mut Maker, good: bool) {
    made.exec(100, "make", &["make", "-j2"], 0);
    for (pid, source) in [(101, "f1.c"), (102, "f2.c")] {
        made.fork(100, "make", pid);
        made.like.ppid = Tgid(100);
        made.exec(pid, "cc1", &["cc1", "-quiet", source, if good { "-O1" } else { "-O2" }], 0);
        made.open(pid, "cc1", source, 3);
        made.open(pid, "cc1", "inc1/v.h", if good { 4 } else { -2 });
        if good {
            made.open(pid, "cc1", "/usr/include/stdio.h", 5);
        } else {
            ["inc2/v.h", "/usr/include/v.h"].iter().for_each(|path| made.open(pid, "cc1", path, -2));
        }
        made.exit(pid, "cc1", if good { 0 } else { 1 << 8 });
    }
    if good {
        made.acts("100 make fork 103; 103 ld exec ld -o prog, exit 0");
    }
    made.exit(100, "make", if good { 0 } else { 2 << 8 });
}

pub(crate) fn differences() -> Box<Compared> {
    let run = |good: bool| {
        let mut made = Maker::default();
        made.host(&HostFrame::Trace(Trace { kinds: KindSet::ALL.bits(), command: Tgid(100), ..Trace::default() }));
        build(&mut made, good);
        let mut run = Run::new(usize::MAX);
        each_event(made.batch(), |seen, _| run.add_event(seen));
        run.close();
        run
    };
    let notes = ["bad.ttr: ends early, at offset 812: the trace was killed", "the runs differ"];
    Box::new(Compared {
        a: "good.ttr".into(),
        b: "bad.ttr".into(),
        report: compare(run(true), Vec::new(), run(false), &[]),
        notes: notes.map(str::to_owned).into(),
    })
}

pub(crate) fn mouse(app: &mut App, kind: MouseEventKind, column: u16, row: u16) -> &mut App {
    app.update(Input::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }));
    work(app)
}

pub(crate) const CLICK: MouseEventKind = MouseEventKind::Down(MouseButton::Left);

pub(crate) fn press(app: &mut App, letter: char) -> Effects {
    app.update(Input::Key(KeyCode::Char(letter).into()))
}

pub(crate) fn copied(effects: Effects) -> Option<String> {
    effects.into_iter().find_map(|effect| match effect {
        Effect::Copy(text) => String::from_utf8(text).ok(),
        _ => None,
    })
}

/// Presses keys: letters, and control characters for the keys that produce them.
pub(crate) fn keys<'a>(app: &'a mut App, text: &str) -> &'a mut App {
    for letter in text.chars() {
        let (code, ctrl) = match letter {
            '\n' => (KeyCode::Enter, false),
            '\x1b' => (KeyCode::Esc, false),
            '\t' => (KeyCode::Tab, false),
            letter @ '\x01'..='\x1a' => (KeyCode::Char(char::from(letter as u8 | 0x60)), true),
            '\u{2191}' => (KeyCode::Up, false),
            letter => (KeyCode::Char(letter), false),
        };
        let modifiers = if ctrl { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
        app.update(Input::Key(KeyEvent::new(code, modifiers)));
    }
    work(app)
}
