//! The second line: the filter, the kinds that are shown, how many of the events that is. While a filter or a search
//! is typed, what is wrong with it stands in the status line.

use super::theme::Theme;
use super::{Piece, ends};
use crate::app::App;
use crate::app::edit::Line;
use crate::text::{self, short};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use tracetui_shared::kind::Kind;

/// Draws it, with the cursor where text is typed.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) {
    match (app.filter().line(), app.search().line()) {
        (Some(line), _) => typed(frame, area, "filter> ", line, app, theme),
        (None, Some(line)) => typed(frame, area, "/", line, app, theme),
        (None, None) => shown(frame, area, app, theme),
    }
}

/// What is wrong with what is typed.
pub(super) fn error(app: &App) -> Option<String> {
    let of_filter = app.filter().line().zip(app.filter().error()).map(|(line, error)| {
        let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("column {}: {}{hint}", column(&line.text(), error.at.start), error.message)
    });
    of_filter.or_else(|| app.search().line().and(app.search().error()).map(str::to_owned))
}

/// Where in a text a byte stands, counted from 1 in characters.
fn column(text: &str, at: usize) -> usize {
    text.char_indices().filter(|(start, _)| *start < at).count() + 1
}

/// How many of the events are shown.
fn counts(app: &App, width: u16) -> Piece {
    let word = if width >= 130 { "shown " } else { "" };
    Piece::plain(format!("{word}{} of {}", short(app.list().events()), short(app.store().kept())))
}

fn shown(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) {
    let mut right: Vec<Piece> = chips(app, theme);
    right.push(counts(app, area.width));
    if area.width < 50 {
        right.remove(0);
    }
    let room = usize::from(area.width).saturating_sub(super::width_of(&right) + 10);
    let text = text::escape_in(app.filter().text().as_bytes(), theme.charset, usize::from(area.width));
    let left = [Piece::plain(" filter>".to_owned()), Piece::new(text::cut(&text, room, theme.charset), theme.title())];
    ends(frame, area, &left, &right, theme);
}

/// The kinds as chips: `[E]xec` when it is shown, ` E xec` when it is not.
fn chips(app: &App, theme: Theme) -> Vec<Piece> {
    let on = |kind: Kind, letter: &str, rest: &str| match app.shows_kind(kind) {
        true => format!("[{letter}]{rest}"),
        false => format!(" {letter} {rest}"),
    };
    let mut text =
        [on(Kind::Exec, "E", "xec"), on(Kind::Exit, "X", "it"), on(Kind::Open, "O", "pen"), on(Kind::Bpf, "B", "pf")]
            .join(" ");
    if app.shows_kind(Kind::Fork) {
        text.push_str(" [K]fork");
    }
    let mut chips = vec![Piece::plain(text)];
    if app.only_failures() {
        chips.push(Piece::new("[e]failed only".to_owned(), theme.title()));
    }
    chips
}

fn typed(frame: &mut Frame<'_>, area: Rect, prompt: &str, line: &Line, app: &App, theme: Theme) {
    let escaped = |text: &str| text::escape_in(text.as_bytes(), theme.charset, usize::MAX);
    let (before, after) = line.parts();
    let (before, after) = (escaped(before), escaped(after));
    let right = [counts(app, area.width)];
    let room = usize::from(area.width).saturating_sub(prompt.len() + 2 + super::width_of(&right)).max(1);
    // What stands far left of the cursor goes out of sight first.
    let before = text::skip(&before, (text::width(&before) + 1).saturating_sub(room));
    let column = 1 + prompt.len() + text::width(before);
    ends(frame, area, &[Piece::plain(format!(" {prompt}{before}{after}"))], &right, theme);
    let column = u16::try_from(column).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
    frame.set_cursor_position(Position::new(area.x + column, area.y));
}
