//! The second line: the filter, the search, the shown kinds, and the number of shown events. While a filter or a search is typed,
//! its error is in the status line.

use super::theme::Theme;
use super::{Piece, ends};
use crate::app::App;
use crate::app::edit::Line;
use crate::app::keymap::Action;
use crate::app::search::Place;
use crate::text::{self, grouped, short};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use tracetui_shared::kind::{Kind, KindSet};

/// Draws the line, with the cursor in the text that is being typed.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) {
    if let Some(line) = app.replay().and_then(|replay| replay.line()) {
        return typed(frame, area, "go to time> ", line, app, theme);
    }
    if let Some(line) = &app.help_search().line {
        return typed(frame, area, "search the help> ", line, app, theme);
    }
    match (app.filter().line(), app.search().line()) {
        (Some(line), _) => typed(frame, area, "filter> ", line, app, theme),
        (None, Some(line)) => typed(frame, area, "/", line, app, theme),
        (None, None) => shown(frame, area, app, theme),
    }
}

/// The error in the typed text.
pub(super) fn error(app: &App) -> Option<String> {
    let of_filter = app.filter().line().zip(app.filter().error()).map(|(line, error)| {
        let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("column {}: {}{hint}", column(&line.text(), error.at.start), error.message)
    });
    of_filter.or_else(|| app.search().line().and(app.search().error()).map(str::to_owned))
}

/// The column of a byte, in characters, counted from 1.
fn column(text: &str, at: usize) -> usize {
    text.char_indices().filter(|(start, _)| *start < at).count() + 1
}

/// The number of shown events, and of kept events.
fn counts(app: &App, width: u16) -> Piece {
    let word = if width >= 130 { "shown " } else { "" };
    let gaps = match app.events().gaps() {
        0 => String::new(),
        1 => " + 1 gap".to_owned(),
        gaps => format!(" + {} gaps", short(gaps as u64)),
    };
    Piece::plain(format!("{word}{} of {}{gaps}", short(app.events().events()), short(app.store().kept())))
}

fn shown(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) {
    let mut right: Vec<Piece> = chips(app, theme);
    right.push(counts(app, area.width));
    if area.width < 50 {
        right.remove(0);
    }
    let room = usize::from(area.width).saturating_sub(super::width_of(&right) + 10);
    let text = text::escape_in(app.filter().text().as_bytes(), theme.charset, usize::from(area.width));
    let search = searched(app, room.saturating_sub(text::width(&text).min(room / 3)), theme);
    let room = room.saturating_sub(search.width() + usize::from(!search.text.is_empty()));
    let filter = Piece::new(text::cut(&text, room, theme.charset), theme.note());
    let label =
        if text.is_empty() { format!(" {} filter", app.key_of(Action::EditFilter)) } else { " filter".to_owned() };
    ends(frame, area, &[Piece::new(label, theme.quiet()), filter, search], &right, theme);
}

/// The pattern of the search and the place among its matches, in so many cells.
fn searched(app: &App, room: usize, theme: Theme) -> Piece {
    let Some(pattern) = app.search().pattern() else { return Piece::default() };
    let place = matches(app);
    let text = text::escape_in(pattern.text().as_bytes(), theme.charset, room);
    let text = text::cut(&text, room.saturating_sub(place.len() + 4), theme.charset);
    Piece::new(format!(" /{text}  {place}"), theme.strong())
}

/// The number of the selected match, and of all in memory. A `+` says that there may be others that are not loaded.
fn matches(app: &App) -> String {
    let Some(Place { at, all }) = app.search().place(app.events(), app.store()) else { return "...".to_owned() };
    let more = app.has_unloaded_rows() && !app.search().no_others();
    let all = format!("{}{}", grouped(all as u64), if more { "+" } else { "" });
    match (at, all.as_str()) {
        (None, "0") => "no match".to_owned(),
        (None, "1") => "1 match".to_owned(),
        (None, _) if app.screen().0 >= 100 => format!("{all} matches"),
        (None, _) => format!("-/{all}"),
        (Some(at), _) => format!("{}/{all}", grouped(at as u64)),
    }
}

/// The kinds that are captured: `[E]xec` if shown, ` E xec` if hidden. Kinds that are hidden by default come last, and only if they
/// are shown.
fn chips(app: &App, theme: Theme) -> Vec<Piece> {
    let captured = app.pipeline().kinds().unwrap_or(KindSet::ALL);
    let chip = |kind: Kind| {
        let (key, rest) = chip_text(kind)?;
        Some(match app.shows_kind(kind) {
            true => Piece::new(format!("[{key}]{rest}"), Style::new()),
            false => Piece::new(format!(" {key} {rest}"), theme.quiet()),
        })
    };
    let kinds = Kind::DEFAULT_FIRST.into_iter().filter(|kind| kind.on_by_default() || app.shows_kind(*kind));
    let mut chips: Vec<_> = kinds.filter(|kind| captured.contains(*kind)).filter_map(chip).collect();
    if app.only_failures() {
        chips.push(Piece::new("[e]failed only".to_owned(), theme.failure()));
    }
    chips
}

/// The key of a kind and the text after it: the rest of the name after the key's letter, or the whole name if nothing
/// follows.
fn chip_text(kind: Kind) -> Option<(char, &'static str)> {
    let key = kind.key()?;
    let rest = kind.name().split_once(key.to_ascii_lowercase()).map(|(_, rest)| rest);
    Some((key, rest.filter(|rest| !rest.is_empty()).unwrap_or(kind.name())))
}

fn typed(frame: &mut Frame<'_>, area: Rect, prompt: &str, line: &Line, app: &App, theme: Theme) {
    let escaped = |text: &str| text::escape_in(text.as_bytes(), theme.charset, usize::MAX);
    let (before, after) = line.parts();
    let (before, after) = (escaped(before), escaped(after));
    let search = app.search().line().and(app.search().pattern());
    let right = match search {
        Some(_) => vec![Piece::new(matches(app), theme.strong()), counts(app, area.width)],
        None => vec![counts(app, area.width)],
    };
    let room = usize::from(area.width).saturating_sub(prompt.len() + 2 + super::width_of(&right)).max(1);
    // If there is not enough room, the text at the far left is hidden.
    let before = text::skip(&before, (text::width(&before) + 1).saturating_sub(room));
    let column = 1 + prompt.len() + text::width(before);
    ends(frame, area, &[Piece::plain(format!(" {prompt}{before}{after}"))], &right, theme);
    let column = u16::try_from(column).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
    frame.set_cursor_position(Position::new(area.x + column, area.y));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_is_the_key_within_the_name_or_before_it() {
        let chips = [Kind::Exec, Kind::Exit, Kind::Open, Kind::Bpf, Kind::Fork].into_iter().filter_map(chip_text);
        let chips: Vec<String> = chips.map(|(key, rest)| format!("[{key}]{rest}")).collect();
        assert_eq!(chips, ["[E]xec", "[X]it", "[O]pen", "[B]pf", "[K]fork"]);
    }
}
