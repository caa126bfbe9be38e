//! A gap row: the number of missing events, the cause, and the time range.

use super::duration;
use super::theme::Theme;
use crate::app::App;
use crate::app::keys::keymap::Action;
use crate::app::views::event_list::row::{TimeBase, TimeMode, time_text};
use ratatui::text::Line;
use tracetui_events::event::lost::Lost;
use tracetui_events::event::{self, Body, EventContext};
use tracetui_events::text::{self, Charset, grouped};
use tracetui_shared::kind::Kind;

/// The row as a dashed line of `width` cells.
pub(super) fn line(seen: &EventContext<'_>, base: &TimeBase, width: usize, app: &App, theme: Theme) -> Line<'static> {
    let Body::Lost(lost) = &seen.event.body else { return Line::default() };
    let dot = theme.dot();
    let why = format!(" {dot} {} why", app.key_of(Action::LossReport));
    let said = format!("{} {dot} {}{why}", what(lost), bounds(lost, seen, base, width, theme));
    // A dash is left at each end.
    let said = text::cut(&said, width.saturating_sub(5), theme.charset);
    let dashes = width.saturating_sub(text::width(&said) + 3);
    let before = dashes.min(5).min(dashes / 2);
    let dash = theme.dash();
    Line::styled(format!(" {} {said} {}", dash.repeat(before), dash.repeat(dashes - before)), theme.loss())
}

/// `1,204 opens lost here · kernel ring full`.
fn what(lost: &Lost) -> String {
    let count = counted(lost.record.count, lost.of());
    format!("{}{count} lost here: {}", lost.record.at_most(), lost.cause.clause())
}

/// `1,204 opens`; of several kinds: `1,204 events`.
pub(super) fn counted(count: u64, kind: Option<Kind>) -> String {
    let noun = kind.map_or("event", event::noun);
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(count))
}

/// The length of the gap, and its bounds. The second time omits the hours and minutes that it shares with the first.
pub(super) fn bounds(lost: &Lost, seen: &EventContext<'_>, base: &TimeBase, width: usize, theme: Theme) -> String {
    let mode = if base.mode == TimeMode::Delta { TimeMode::Clock } else { base.mode };
    let time = |ns| {
        let text = time_text(ns, seen.clock_offset, &TimeBase { mode, ..*base });
        let short = if width < 90 && mode == TimeMode::Clock { text.get(3..).map(str::to_owned) } else { None };
        short.unwrap_or(text)
    };
    let record = &lost.record;
    if record.from_ns == 0 {
        return format!("before {}", time(record.to_ns));
    }
    let long = duration(record.to_ns.saturating_sub(record.from_ns));
    let dash = if theme.charset == Charset::Utf8 { "–" } else { ".." };
    let (from, to) = (time(record.from_ns), time(record.to_ns));
    let hours = to.rfind(':').map_or(0, |colon| colon + 1);
    let to = if from.get(..hours) == to.get(..hours) { to.get(hours..).unwrap_or_default() } else { &to };
    format!("{long}, {from} {dash} {to}")
}
