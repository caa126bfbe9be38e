//! The lines of a replay: position and time in the header, the density strip in the status line, which a live trace has too.

use super::theme::Theme;
use super::{Piece, clock, ends};
use crate::app::App;
use crate::app::replay::{Replay, Speed, Transport};
use crate::app::time::Bin;
use ratatui::Frame;
use ratatui::layout::Rect;
use tracetui_events::playback::timeline::End;
use tracetui_events::text::{self, Charset, counted, grouped};

/// The minimum number of columns of the strip that leaves the number of events beside it.
const WIDE: u16 = 60;

/// Draws the header. The position and the losses of the whole recording take precedence.
pub(super) fn header(frame: &mut Frame<'_>, area: Rect, app: &App, replay: &Replay, theme: Theme) {
    let recording = &replay.facts;
    let lost = app.pipeline.account().sum().lost.sum().max(recording.lost);
    let end = match recording.end {
        _ if replay.failure.is_some() => Piece::new("CANNOT READ", theme.alarm()),
        End::Early => Piece::new("ENDS EARLY", theme.alarm()),
        End::StartsLate => Piece::new("STARTS LATE", theme.strong()),
        End::Complete if area.width >= 130 => Piece::plain("COMPLETE"),
        End::Complete | End::Unknown => Piece::default(),
    };
    let recorded = area.width >= 100 || area.width >= 80 && end.text.is_empty();
    let after = match (app.pipeline.account().sum().bounded, recorded && lost > 0) {
        (0, true) => " recorded",
        (0, false) => "",
        _ => " at most",
    };
    let lost = super::header::lost(lost, 0, after, theme);
    // The losses are more important than the end.
    let room = usize::from(area.width);
    let end = Some(end).filter(|end| lost.width() + 2 + end.width() < room);
    let right: Vec<_> = end.into_iter().chain(Some(lost).filter(|lost| lost.width() < room)).collect();
    let name = text::escape_in(recording.name.as_bytes(), theme.charset, usize::from(area.width) / 3);
    let host = match area.width >= 130 {
        true => text::escape_in(format!("host {}", app.world().host.name).as_bytes(), theme.charset, 40),
        false => String::new(),
    };
    let mut left = vec![
        Piece::new(" REPLAY ", theme.replay()),
        Piece::new(transport(app, replay, area.width), theme.strong()),
        Piece::plain(place(app)),
        Piece::plain(format!(" {name}")),
    ];
    let verdict = super::header::verdict(app, theme);
    match verdict.is_empty() {
        true => left.push(Piece::plain(host)),
        false => left.extend(verdict),
    }
    ends(frame, area, &left, &right, theme);
}

/// The replay's activity: a sign, and from 80 columns on a word. The speed is the playback speed, now or when playing.
fn transport(app: &App, replay: &Replay, width: u16) -> String {
    let (transport, word) = (&replay.transport, replay.transport.word());
    let sign = match transport {
        Transport::Loading { .. } => "...",
        Transport::Following => ">>",
        Transport::Playing(_) => ">",
        Transport::Paused { .. } => "||",
    };
    let speed = match transport {
        Transport::Following => String::new(),
        Transport::Loading { .. } | Transport::Paused { .. } if replay.speed == Speed::default() => String::new(),
        _ => format!(" {}", replay.speed),
    };
    let progress = match (transport, app.loaded().progress()) {
        (Transport::Loading { .. }, Some(percent)) => format!(" {percent}%"),
        // The rest is being loaded meanwhile.
        (Transport::Paused { .. }, Some(percent)) if width >= 80 => format!(", loading {percent}%"),
        _ => String::new(),
    };
    match width {
        0..80 => format!("{sign}{progress}{speed}"),
        _ => format!("{sign} {word}{progress}{speed}"),
    }
}

/// The time of the selected event: by the clock, and since the start.
fn place(app: &App) -> String {
    let (Some(at), Some((start, end))) = (app.loaded().position(), app.loaded().span()) else {
        return "no events".to_owned();
    };
    let clock = clock(at, app.world().clock_offset, app);
    let length = end.saturating_sub(start);
    let since = |ns: u64| match length {
        // In a short recording, whole seconds tell little.
        0..60_000_000_000 => format!("{:.2}", ns.saturating_sub(start) as f64 / 1e9),
        _ => minutes(ns.saturating_sub(start)),
    };
    let unit = if length < 60_000_000_000 { " s" } else { "" };
    format!("{clock}  {} of {}{unit}", since(at), since(end))
}

/// `3:12` or `1:03:12`.
fn minutes(ns: u64) -> String {
    let s = ns / 1_000_000_000;
    match s {
        0..3600 => format!("{}:{:02}", s / 60, s % 60),
        _ => format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60),
    }
}

/// The status line of a replay: the strip, and the number of the event.
pub(super) fn status(app: &App, replay: &Replay, width: u16, theme: Theme) -> Vec<Piece> {
    let number = if width >= WIDE { number(app, replay) } else { String::new() };
    let strip = strip(app, usize::from(width).saturating_sub(number.len() + 4), theme);
    [vec![Piece::plain(" ")], strip, vec![Piece::plain(format!("  {number}"))]].concat()
}

/// The density strip with the position, the marks and the losses, in brackets. Empty if there is no room.
pub(super) fn strip(app: &App, width: usize, theme: Theme) -> Vec<Piece> {
    let columns = width.saturating_sub(2);
    let Some((start, end)) = app.loaded().span().filter(|_| columns > 3) else { return Vec::new() };
    let bins = app.time.bins(end);
    let place = |at: u64| {
        let at = at.clamp(start, end.max(start));
        (u128::from(at - start) * columns as u128 / (u128::from(end.saturating_sub(start)) + 1)) as usize
    };
    let position = place(app.loaded().position().unwrap_or(start));
    let marks: Vec<(usize, char)> = app.time.marks().map(|(letter, ns)| (place(ns), letter)).collect();
    let shares: Vec<Bin> = (0..columns).map(|column| share(bins, column, columns)).collect();
    let most = shares.iter().map(|bin| bin.events).max().unwrap_or_default();
    let cell = |(column, bin): (usize, &Bin)| {
        let mark = marks.iter().find(|(at, _)| *at == column);
        match column == position {
            true => ('>', theme.strong()),
            _ if bin.lost > 0 => ('!', theme.loss()),
            _ if let Some((_, letter)) = mark => (*letter, theme.note()),
            _ => (bar(bin.events, most, theme.charset), theme.quiet()),
        }
    };
    let mut pieces = vec![Piece::new("[", theme.quiet())];
    for (sign, style) in shares.iter().enumerate().map(cell) {
        match pieces.last_mut().filter(|piece| piece.style == style) {
            Some(piece) => piece.text.push(sign),
            None => pieces.push(Piece::new(sign.to_string(), style)),
        }
    }
    pieces.push(Piece::new("]", theme.quiet()));
    pieces
}

/// The bins that a column of the strip covers.
fn share(bins: &[Bin], column: usize, columns: usize) -> Bin {
    let from = column * bins.len() / columns;
    let to = ((column + 1) * bins.len() / columns).max(from + 1).min(bins.len());
    bins.get(from..to).unwrap_or_default().iter().fold(Bin::default(), Bin::and)
}

/// A bar, above the line of a column without events.
fn bar(events: u64, most: u64, charset: Charset) -> char {
    match (super::header::bar(events, most, charset), charset) {
        (' ', Charset::Utf8) => '▁',
        (' ', Charset::Ascii) => '-',
        ('▁', _) => '▂',
        (bar, _) => bar,
    }
}

/// The number of the selected event, and the number of all events, if the recording is loaded from its start.
fn number(app: &App, replay: &Replay) -> String {
    // Includes a few that are not shown, such as tracetui's own.
    let about = replay.facts.events;
    match app.loaded().numbers() {
        (Some(at), Some(of)) => format!("ev {} of {}", grouped(at), grouped(of)),
        (Some(at), None) if about == 0 => format!("ev {}", grouped(at)),
        (Some(at), None) => format!("ev {} of about {}", grouped(at), grouped(about)),
        (None, Some(of)) => counted(of, ["event", "events"]),
        (None, None) if about == 0 => String::new(),
        (None, None) => format!("about {}", counted(about, ["event", "events"])),
    }
}
