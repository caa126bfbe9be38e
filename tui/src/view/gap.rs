//! A gap row: the number of missing events, the cause, and the time range.

use super::theme::Theme;
use crate::app::row::{TimeBase, TimeMode, time_text};
use crate::event::lost::Lost;
use crate::event::{Body, EventContext};
use crate::text;

/// The row as a dashed line of `width` cells.
pub(super) fn text(seen: &EventContext<'_>, base: &TimeBase, width: usize, theme: Theme) -> String {
    let mut detail = Vec::new();
    seen.detail(&mut detail);
    let detail = text::escape_in(&detail, theme.charset, width);
    let said = match &seen.event.body {
        Body::Lost(lost) => format!("{detail}{}", bounds(lost, seen, base, width)),
        _ => detail,
    };
    let said = text::cut(&said, width.saturating_sub(4), theme.charset);
    let dashes = width.saturating_sub(text::width(&said) + 2);
    let before = dashes.min(8).min(dashes / 2);
    format!("{} {said} {}", "-".repeat(before), "-".repeat(dashes - before))
}

fn bounds(lost: &Lost, seen: &EventContext<'_>, base: &TimeBase, width: usize) -> String {
    let mode = if base.mode == TimeMode::Delta { TimeMode::Clock } else { base.mode };
    let time = |ns| {
        let text = time_text(ns, seen.clock_offset, &TimeBase { mode, ..*base });
        let short = if width < 90 && mode == TimeMode::Clock { text.get(3..).map(str::to_owned) } else { None };
        short.unwrap_or(text)
    };
    match lost.record.from_ns {
        0 => format!(", before {}", time(lost.record.to_ns)),
        from => format!(", {} .. {}", time(from), time(lost.record.to_ns)),
    }
}
