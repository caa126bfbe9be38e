//! The second line: the filter, the search, the shown kinds, and the number of shown events. While a filter or a search is typed,
//! its error is in the status line.

use super::theme::Theme;
use super::{Piece, ends};
use crate::app::App;
use crate::app::edit::Line;
use crate::app::keymap::Action;
use crate::app::search::Place;
use crate::app::views::View;
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
    let right = match app.view() {
        View::Events => [chips(app, area.width, theme), vec![counts(app, area.width)]].concat(),
        View::Tree => super::tree::counts(app, area.width, theme),
        View::Top => super::top::choice(app, area.width, theme),
        View::Bpf => super::bpf::counts(app, area.width, theme),
    };
    // What hides and what is searched for needs the room more than the titles of the other views.
    let narrow =
        area.width < 48 || area.width < 100 && (!app.filter().text().is_empty() || app.search().pattern().is_some());
    let mut left = tabs(app, narrow, theme);
    let used: usize = left.iter().map(|tab| tab.width() + 1).sum();
    let room = usize::from(area.width).saturating_sub(super::width_of(&right) + used + 2);
    let text = text::escape_in(app.filter().text().as_bytes(), theme.charset, usize::from(area.width));
    let label = match (text.is_empty(), app.search().pattern()) {
        (true, None) => format!("{} filter", app.key_of(Action::EditFilter)),
        (false, _) if room >= 40 => "filter".to_owned(),
        _ => String::new(),
    };
    let label = if label.len() > room { String::new() } else { label };
    let room = room.saturating_sub(if label.is_empty() { 0 } else { label.len() + 1 });
    let search = searched(app, room.saturating_sub((text::width(&text) + 1).min(room / 3)), theme);
    let room = room.saturating_sub(search.width() + usize::from(!search.text.is_empty()));
    left.push(Piece::new(theme.border().to_owned(), theme.quiet()));
    left.push(Piece::new(label, theme.quiet()));
    // The newest part is at the end.
    let text = match text::width(&text).checked_sub(room + 1) {
        Some(hidden) => format!("{}{}", theme.cut_sign(), text::skip(&text, hidden + 2)),
        None => text,
    };
    left.push(Piece::new(text, theme.note()));
    left.push(search);
    ends(frame, area, &left, &right, theme);
}

/// The views, with their keys. The one that is shown is bold; if it is `narrow`, the others are their keys alone.
fn tabs(app: &App, narrow: bool, theme: Theme) -> Vec<Piece> {
    let tab = |view: View| {
        let key = app.key_of(view.action());
        match (view == app.view(), narrow) {
            (true, _) => Piece::new(format!(" {key} {}", view.title()), theme.strong()),
            (false, false) => Piece::new(format!(" {key} {}", view.title()), theme.quiet()),
            (false, true) => Piece::new(format!(" {key}"), theme.quiet()),
        }
    };
    View::ALL.map(tab).into()
}

/// The pattern of the search and the place among its matches, in so many cells.
fn searched(app: &App, room: usize, theme: Theme) -> Piece {
    let Some(pattern) = app.search().pattern() else { return Piece::default() };
    // The matches that are counted are events.
    let place = if app.view() == View::Events { matches(app) } else { String::new() };
    let text = text::escape_in(pattern.text().as_bytes(), theme.charset, room);
    let text = text::cut(&text, room.saturating_sub(place.len() + 4), theme.charset);
    Piece::new(format!(" /{text}  {place}").trim_end().to_owned(), theme.strong())
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

/// The kinds that are captured: `Exec` if shown, with its key in upper case, `exec` if hidden. Kinds that are hidden by default come
/// last, and only if they are shown. On a narrow screen only the keys.
fn chips(app: &App, width: u16, theme: Theme) -> Vec<Piece> {
    let captured = app.pipeline().kinds().unwrap_or(KindSet::ALL);
    let kinds = Kind::DEFAULT_FIRST.into_iter().filter(|kind| kind.on_by_default() || app.shows_kind(*kind));
    let kinds = kinds.filter(|kind| captured.contains(*kind));
    let chip = |kind: Kind| {
        let shown = app.shows_kind(kind);
        let text = chip_text(kind, shown)?;
        Some(Piece::new(text, if shown { Style::new() } else { theme.quiet() }))
    };
    let mut chips: Vec<_> = match width {
        0..60 => {
            let key =
                |kind: Kind| Some(if app.shows_kind(kind) { kind.key()? } else { kind.key()?.to_ascii_lowercase() });
            vec![Piece::plain(kinds.filter_map(key).collect())]
        }
        _ => kinds.filter_map(chip).collect(),
    };
    if app.only_failures() {
        chips.push(Piece::new("[e]failed only".to_owned(), theme.failure()));
    }
    chips
}

/// The name of a kind, with its key in upper case if it is shown.
fn chip_text(kind: Kind, shown: bool) -> Option<String> {
    let key = kind.key()?;
    let (before, after) = kind.name().split_once(key.to_ascii_lowercase())?;
    Some(if shown { format!("{before}{key}{after}") } else { kind.name().to_owned() })
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
    fn a_chip_has_the_key_within_the_name() {
        let kinds = [Kind::Exec, Kind::Exit, Kind::Open, Kind::Bpf, Kind::Fork];
        assert_eq!(
            kinds.map(|kind| chip_text(kind, true).unwrap_or_default()),
            ["Exec", "eXit", "Open", "Bpf", "forK"]
        );
        assert_eq!(
            kinds.map(|kind| chip_text(kind, false).unwrap_or_default()),
            ["exec", "exit", "open", "bpf", "fork"]
        );
    }
}
