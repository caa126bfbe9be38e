//! Synthetic frames, for tests.

use super::{App, Input, Preferences, Settings, Tick};
use crate::app::device::{KeyCode, KeyEvent, KeyModifiers};
use std::time::Duration;
use tracetui_events::budget::Budget;
use tracetui_events::event::lost::{Cause, LostRecord};
use tracetui_events::frame::host::{Clock, HostFrame};
use tracetui_events::synthetic::Maker;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;
use zerocopy::IntoBytes;

/// 2026-11-20 14:02:11 UTC, minus the CLOCK_BOOTTIME at which [`Maker`] starts.
pub(crate) const CLOCK_OFFSET: i64 = 1_795_183_331_000_000_000 - 100_000_000_000;

/// Makes a gap row: `count` opens, lost in the last 36 ms.
pub(crate) fn lost(made: &mut Maker, count: u64) {
    let (from_ns, to_ns) = (made.ns - 36_000_000, made.ns + 1_000_000);
    made.ns = to_ns;
    let record = LostRecord { of: Kind::Open as u16, cause: Cause::Ring as u16, cpu: 0, count, from_ns, to_ns };
    let header = FrameHeader { kind: Kind::Lost as u16, time: BootNanos(to_ns), ..made.like };
    made.made.push(header, record.as_bytes());
}

/// A dashboard of this size.
pub(crate) fn app(width: u16, height: u16, memory: u64) -> App {
    app_with(width, height, memory, Preferences::default())
}

/// A dashboard of this size of a user with preferences.
pub(crate) fn app_with(width: u16, height: u16, memory: u64, preferences: Preferences) -> App {
    let settings = Settings { budget: Budget::new(memory), preferences, ..Settings::default() };
    let mut app = App::new(settings).expect("an empty filter");
    app.update(Input::Resize(width, height));
    let mut clock = Maker::default();
    clock.host(&HostFrame::Clock(Clock { offset_ns: CLOCK_OFFSET }));
    app.update(Input::Batch(clock.batch()));
    app
}

/// Feeds the frames made so far, and completes all work.
pub(crate) fn feed(app: &mut App, made: &mut Maker) {
    app.update(Input::Batch(made.batch()));
    work(app);
}

pub(crate) fn work(app: &mut App) {
    for _ in 0..10_000 {
        if !app.busy() {
            return;
        }
        app.update(Input::Tick(Tick { now: Duration::from_secs(1), usage: None }));
    }
}

/// Presses keys: letters, and control characters for the keys that produce them.
pub(crate) fn keys(app: &mut App, text: &str) {
    for letter in text.chars() {
        let (code, ctrl) = match letter {
            '\n' => (KeyCode::Enter, false),
            '\x1b' => (KeyCode::Esc, false),
            '\t' => (KeyCode::Tab, false),
            '\x12' => (KeyCode::Char('r'), true),
            '\x03' => (KeyCode::Char('c'), true),
            '\u{2191}' => (KeyCode::Up, false),
            letter => (KeyCode::Char(letter), false),
        };
        let modifiers = if ctrl { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
        app.update(Input::Key(KeyEvent::new(code, modifiers)));
    }
    work(app);
}
