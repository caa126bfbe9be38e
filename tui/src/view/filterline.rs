//! The second line: the filter, the kinds that are shown, how many of the events that is. While a filter or a search
//! is typed, what is wrong with it stands at its right.

use super::text::{self, short};
use super::theme::Theme;
use super::{Piece, ends};
use crate::app::App;
use crate::app::edit::Line;
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use tracetui_shared::kind::Kind;

/// Draws it, with the cursor where text is typed.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) {
    match (app.filter().line(), app.search().line()) {
        (Some(line), _) => {
            let error = app.filter().error().map(|error| {
                let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
                format!("column {}: {}{hint}", column(&line.text(), error.at.start), error.message)
            });
            typed(frame, area, "filter> ", line, error, theme);
        }
        (None, Some(line)) => typed(frame, area, "/", line, app.search().error().map(str::to_owned), theme),
        (None, None) => shown(frame, area, app, theme),
    }
}

/// Where in a text a byte stands, counted from 1 in characters.
fn column(text: &str, at: usize) -> usize {
    text.char_indices().filter(|(start, _)| *start < at).count() + 1
}

fn shown(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) {
    let counts = if area.width >= 130 { "shown " } else { "" };
    let counts = format!("{counts}{} of {}", short(app.list().events()), short(app.store().kept()));
    let mut right: Vec<Piece> = chips(app, theme);
    right.push(Piece::plain(counts));
    if area.width < 50 {
        right.remove(0);
    }
    let room = usize::from(area.width).saturating_sub(super::width_of(&right) + 10);
    let text = text::escape_in(app.filter().text().as_bytes(), theme.charset, usize::from(area.width));
    let style = if text.is_empty() { Style::new() } else { theme.title() };
    let left = [Piece::plain(" filter>".to_owned()), Piece::new(text::cut(&text, room, theme.charset), style)];
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

fn typed(frame: &mut Frame<'_>, area: Rect, prompt: &str, line: &Line, error: Option<String>, theme: Theme) {
    let width = usize::from(area.width);
    let escaped = |text: &str| text::escape_in(text.as_bytes(), theme.charset, usize::MAX);
    let (before, after) = line.parts();
    let (before, after) = (escaped(before), escaped(after));
    let error = text::cut(&escaped(&error.unwrap_or_default()), width / 2, theme.charset);
    let room = width.saturating_sub(prompt.len() + 2 + text::width(&error) + usize::from(!error.is_empty())).max(1);
    // What stands far left of the cursor goes out of sight first.
    let before = text::skip(&before, (text::width(&before) + 1).saturating_sub(room));
    let column = 1 + prompt.len() + text::width(before);
    let left = [Piece::plain(format!(" {prompt}{before}{after}"))];
    let right: Vec<_> =
        Some(error).filter(|e| !e.is_empty()).map(|e| Piece::new(e, theme.alarm())).into_iter().collect();
    ends(frame, area, &left, &right, theme);
    let column = u16::try_from(column).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
    frame.set_cursor_position(Position::new(area.x + column, area.y));
}
