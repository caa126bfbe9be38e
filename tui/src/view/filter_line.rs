//! The second line: filter, search, shown kinds, number of events. The error of a typed text is in the status line.

use super::theme::Theme;
use super::{Piece, apart, ends};
use crate::app::keys::keymap::Action;
use crate::app::prompt::{Prompt, Purpose};
use crate::app::search::MatchPosition;
use crate::app::views::View;
use crate::app::{App, Failures};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::widgets::Clear;
use std::ops::Range;
use tracetui_events::filter::FilterError;
use tracetui_events::text::{self, counted, grouped, short};
use tracetui_shared::kind::{Kind, KindSet};

/// Draws the line, with the cursor in the text being typed. `counts`: those of a view without chips.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, counts: Vec<Piece>, theme: Theme) {
    match &app.prompt {
        Some(prompt) => typed(frame, area, prompt, app, theme),
        None => draw_status(frame, area, app, counts, theme),
    }
}

/// The width below which a chip is a single letter.
const LETTERS: u16 = 90;

/// The error in the typed text with its remedy, as one line of this width, or as two if it is too long. The text marks the position of the
/// error.
pub(super) fn error(app: &App, width: u16, theme: Theme) -> Option<(String, String)> {
    let escaped = |text: &str| text::escape_in(text.as_bytes(), theme.charset, width.into());
    let prompt = app.prompt.as_ref()?;
    let Some(error) = wrong_filter(app) else {
        let error = app.search.error.as_deref().filter(|_| prompt.purpose == Purpose::Search);
        return error.map(|error| (escaped(error), String::new()));
    };
    let (message, hint) = (escaped(&error.message), escaped(error.hint.as_deref().unwrap_or_default()));
    let one = if hint.is_empty() { message.clone() } else { format!("{message}; {hint}") };
    Some(if text::width(&one) + 2 <= usize::from(width) { (one, String::new()) } else { (message, hint) })
}

fn count(app: &App, width: u16) -> Piece {
    let word = if width >= 130 { "shown " } else { "" };
    let gaps = match app.events().gaps() {
        0 => String::new(),
        1 => " + 1 gap".to_owned(),
        gaps => format!(" + {} gaps", short(gaps as u64)),
    };
    let calm = if app.is_calm() && width >= 100 { " (calm)" } else { "" };
    Piece::plain(format!("{word}{} of {}{gaps}{calm}", short(app.events().events()), short(app.store().events())))
}

fn draw_status(frame: &mut Frame<'_>, area: Rect, app: &App, counts: Vec<Piece>, theme: Theme) {
    // The filter and the search need the room more than the titles of other views, or the number of kept events.
    let filter = if app.views.shown.is_of_events() { app.filter.text() } else { String::new() };
    let searches = app.search.pattern.is_some();
    // A filter and a search share the line.
    let width = if searches && !filter.is_empty() && area.width < 100 { area.width.min(59) } else { area.width };
    let names = match (width, filter.is_empty() && !searches) {
        (0..48, true) => Names::Current,
        (_, true) | (100.., _) => Names::All,
        (60.., _) => Names::Current,
        _ => Names::None,
    };
    let narrow = names == Names::None || searches && area.width < 110;
    let chip_width = if narrow { area.width.min(LETTERS - 1) } else { area.width };
    let right = match app.views.shown {
        View::Events if names == Names::None => {
            [chips(app, chip_width, theme), vec![Piece::plain(short(app.events().events()))]].concat()
        }
        View::Events => [chips(app, chip_width, theme), vec![count(app, area.width)]].concat(),
        View::Tree | View::Top | View::Bpf | View::Diff => counts,
    };
    let mut left = tabs(app, names, theme);
    let used: usize = left.iter().map(|tab| tab.width() + 1).sum();
    let room = usize::from(area.width).saturating_sub(super::width_of(&right) + used + 2);
    let text = text::escape_in(filter.as_bytes(), theme.charset, usize::from(area.width));
    let label = match (text.is_empty(), app.search.pattern.as_ref()) {
        (true, None) if !app.views.shown.is_of_events() => format!("{} find", app.key_of(Action::Search)),
        (true, None) => format!("{} filter", app.key_of(Action::EditFilter)),
        (false, _) if room >= 40 => "filter".to_owned(),
        _ => String::new(),
    };
    let label = if label.len() > room { String::new() } else { label };
    let room = room.saturating_sub(if label.is_empty() { 0 } else { label.len() + 1 });
    let search = searched(app, room.saturating_sub((text::width(&text) + 1).min(room / 3)), theme);
    let room = room.saturating_sub(search.width() + usize::from(!search.text.is_empty()));
    left.push(Piece::new(theme.border(), theme.quiet()));
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

/// How the line names the views.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    All,
    /// The shown view by name, the others by key.
    Current,
    /// Only the key of the shown view.
    None,
}

/// The views with their keys. The shown one is bold.
fn tabs(app: &App, names: Names, theme: Theme) -> Vec<Piece> {
    let tab = |view: View| {
        if view == View::Diff && view != app.views.shown && !app.views.diff.is_open() {
            return None;
        }
        let key = app.key_of(view.action());
        match (view == app.views.shown, names) {
            (true, Names::None) => Some(Piece::new(format!(" {key}"), theme.strong())),
            (false, Names::None) => None,
            (true, _) => Some(Piece::new(format!(" {key} {}", view.title()), theme.strong())),
            (false, Names::All) => Some(Piece::new(format!(" {key} {}", view.title()), theme.quiet())),
            (false, Names::Current) => Some(Piece::new(format!(" {key}"), theme.quiet())),
        }
    };
    View::ALL.into_iter().filter_map(tab).collect()
}

/// The search pattern and the number of the match, in this many cells.
fn searched(app: &App, room: usize, theme: Theme) -> Piece {
    let Some(pattern) = app.search.pattern.as_ref() else { return Piece::default() };
    // Only events are counted as matches.
    let place = if app.views.shown == View::Events { matches(app) } else { String::new() };
    let text = text::escape_in(pattern.text().as_bytes(), theme.charset, room);
    let text = text::cut(&text, room.saturating_sub(place.len() + 4), theme.charset);
    Piece::new(format!(" /{text}  {place}").trim_end().to_owned(), theme.strong())
}

/// The number of the selected match, and of all matches in memory. A `+` marks that others may exist outside memory.
fn matches(app: &App) -> String {
    let Some(MatchPosition { at, all, unlisted }) = app.search.place(app.events(), app.store()) else {
        return "...".to_owned();
    };
    let more = app.loaded().has_unloaded_rows() && !app.search.no_others;
    let all = format!("{}{}", grouped(all as u64), if more { "+" } else { "" });
    let listed = match (at, all.as_str()) {
        (None, "0") => "no match".to_owned(),
        (None, "1") => "1 match".to_owned(),
        (None, _) if app.screen.width >= 100 => format!("{all} matches"),
        (None, _) => format!("-/{all}"),
        (Some(at), _) => format!("{}/{all}", grouped(at as u64)),
    };
    match unlisted {
        0 => listed,
        _ if app.screen.width < 100 => format!("{listed} +{}", short(unlisted as u64)),
        _ => format!("{listed}, {} not listed", grouped(unlisted as u64)),
    }
}

/// The captured kinds: `Exec` with an upper-case key if shown, `exec` if hidden. Kinds hidden by default come last, and only if they are
/// shown. A narrow screen has only the keys.
fn chips(app: &App, width: u16, theme: Theme) -> Vec<Piece> {
    let kinds = kinds(app);
    let chip = |kind: Kind| {
        let shown = app.lists(kind);
        let text = chip_text(kind, &app.key_of(Action::Toggle(kind)), shown);
        Piece::new(text, if shown { Style::new() } else { theme.quiet() })
    };
    let mut chips: Vec<_> = match width {
        0..LETTERS => {
            let key = |kind: Kind| {
                let key = letter(kind, &app.key_of(Action::Toggle(kind)))?;
                Some(if app.lists(kind) { key } else { key.to_ascii_lowercase() })
            };
            vec![Piece::plain(kinds.filter_map(key).collect::<String>())]
        }
        _ => kinds.map(chip).collect(),
    };
    chips.extend(failures(app, theme));
    chips
}

/// Which failures are shown, if only failures are.
pub(super) fn failures(app: &App, theme: Theme) -> Option<Piece> {
    let which = match app.screen.failures {
        Failures::Off => return None,
        Failures::Unanswered => "failed only",
        Failures::All => "all failures",
    };
    Some(Piece::new(format!("[{}]{which}", app.key_of(Action::Failures)), theme.failure()))
}

fn kinds(app: &App) -> impl Iterator<Item = Kind> {
    let captured = app.pipeline.kinds().unwrap_or(KindSet::ALL);
    let kinds = Kind::DEFAULT_FIRST.into_iter().filter(|kind| kind.on_by_default() || app.screen.kinds.contains(*kind));
    kinds.filter(move |kind| captured.contains(*kind))
}

/// The letter of a kind: its key if that is an upper-case letter, otherwise the letter in its name.
fn letter(kind: Kind, key: &str) -> Option<char> {
    match *key.as_bytes() {
        [letter @ b'A'..=b'Z'] => Some(letter.into()),
        _ => kind.key(),
    }
}

/// The name of a kind, with an upper-case key if the kind is shown. A key that is not in the name comes first (`I:tcp`). If the key is
/// not such a letter, the whole name is in upper case.
fn chip_text(kind: Kind, key: &str, shown: bool) -> String {
    let name = kind.name();
    let letter = Some(key).filter(|key| key.bytes().all(|byte| byte.is_ascii_uppercase()));
    let lower = key.to_ascii_lowercase();
    match letter.map(|_| name.split_once(&lower)) {
        Some(None) if shown => format!("{key}:{name}"),
        Some(None) => format!("{lower}:{name}"),
        _ if !shown => name.to_owned(),
        Some(Some((before, after))) => format!("{before}{key}{after}"),
        None => name.to_ascii_uppercase(),
    }
}

fn typed(frame: &mut Frame<'_>, area: Rect, Prompt { purpose, line, offers, .. }: &Prompt, app: &App, theme: Theme) {
    let (before, after) = line.parts();
    let label = purpose.label();
    let right = match app.search.pattern.as_ref() {
        _ if offers.as_ref().is_some_and(|offers| offers.is_near) && app.events().events() == 0 => {
            vec![count(app, area.width), Piece::new("these come near", theme.quiet())]
        }
        Some(_) if *purpose == Purpose::Search => {
            vec![Piece::new(matches(app), theme.strong()), count(app, area.width)]
        }
        _ => vec![count(app, area.width)],
    };
    let room = usize::from(area.width).saturating_sub(label.len() + 2 + super::width_of(&right)).max(1);
    let wrong = wrong(app).unwrap_or_default();
    let mut left = marked(before, 0, &wrong, theme);
    // If there is too little room, the left end of the text is hidden.
    let over = (width_of(&left) + 1).saturating_sub(room);
    if over > 0 {
        let hidden = skip(&mut left, over + text::width(theme.cut_sign()));
        let style = if hidden { theme.wrong() } else { theme.quiet() };
        left.insert(0, Piece::new(theme.cut_sign(), style));
    }
    left.insert(0, Piece::plain(format!(" {label}")));
    let column = width_of(&left);
    left.extend(marked(after, before.len(), &wrong, theme));
    if wrong.start >= before.len() + after.len() && !wrong.is_empty() {
        left.push(Piece::new(" ", theme.wrong()));
    }
    apart(frame, area, &left, 0, &right, theme);
    let column = u16::try_from(column).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
    frame.set_cursor_position(Position::new(area.x + column, area.y));
}

/// The filter in effect while the typed one has an error, in this many cells.
pub(super) fn rows_of(app: &App, room: usize, theme: Theme) -> Piece {
    const LABEL: &str = "applied: ";
    if wrong_filter(app).is_none() || room < LABEL.len() + 8 {
        return Piece::default();
    }
    let filter = text::escape_in(app.filter.text().as_bytes(), theme.charset, room);
    let text = if filter.is_empty() { format!("{LABEL}no filter") } else { format!("{LABEL}{filter}") };
    Piece::new(text::cut(&text, room, theme.charset), theme.note())
}

/// The error of a filter that is being typed.
fn wrong_filter(app: &App) -> Option<&FilterError> {
    app.line_for(Purpose::Filter).and(app.filter.error.as_ref())
}

/// The position of the error in the typed text, at least one character long.
fn wrong(app: &App) -> Option<Range<usize>> {
    let at = wrong_filter(app).filter(|_| app.completion().is_none())?.at.clone();
    Some(at.start..at.end.max(at.start + 1))
}

/// Part of the typed text, starting at this byte, with the error marked.
fn marked(part: &str, start: usize, wrong: &Range<usize>, theme: Theme) -> Vec<Piece> {
    let within = |at: usize| {
        let at = at.saturating_sub(start).min(part.len());
        (at..=part.len()).find(|at| part.is_char_boundary(*at)).unwrap_or(part.len())
    };
    let (from, to) = (within(wrong.start), within(wrong.end));
    let piece = |text: &str, style| Piece::new(text::escape_in(text.as_bytes(), theme.charset, usize::MAX), style);
    vec![piece(&part[..from], Style::new()), piece(&part[from..to], theme.wrong()), piece(&part[to..], Style::new())]
}

/// The width of pieces without separators.
fn width_of(pieces: &[Piece]) -> usize {
    pieces.iter().map(Piece::width).sum()
}

/// Drops this many cells at the left. Returns whether part of the error was in them.
fn skip(pieces: &mut [Piece], mut cells: usize) -> bool {
    let mut hidden = false;
    for (at, piece) in pieces.iter_mut().enumerate() {
        let width = piece.width();
        hidden |= at == WRONG && cells > 0 && width > 0;
        piece.text = text::skip(&piece.text, cells).to_owned();
        cells = cells.saturating_sub(width);
    }
    hidden
}

/// The index of the error among the pieces of [`marked`].
const WRONG: usize = 1;

/// The most completions below the line.
const OFFERS: usize = 8;

/// Draws the completions below the typed text, at the place that they complete, with the number of events that have each.
pub(super) fn offers(frame: &mut Frame<'_>, body: Rect, app: &App, theme: Theme) {
    let Some(prompt) = &app.prompt else { return };
    let Some(completion) = prompt.completion.as_ref().or(prompt.offers.as_ref()) else { return };
    let most = usize::from(body.height / 2).min(OFFERS);
    let before = prompt.line.parts().0.get(..completion.start).unwrap_or_default();
    let margin = (text::width(before) + prompt.purpose.label().len() + 1).min(usize::from(body.width / 3));
    let first = completion.chosen.map_or(0, |at| (at + 1).saturating_sub(most));
    let shown = completion.offers.iter().enumerate().skip(first).take(most);
    let room = usize::from(body.width).saturating_sub(margin + 16).max(8);
    let texts: Vec<_> = shown
        .map(|(at, offer)| {
            (at, offer, text::cut(&text::escape_in(offer.text.as_bytes(), theme.charset, room), room, theme.charset))
        })
        .collect();
    let cells = texts.iter().map(|(.., text)| text::width(text)).max().unwrap_or_default();
    for (y, (at, offer, text)) in (body.y..).zip(texts) {
        let area = Rect { y, height: 1, ..body };
        frame.render_widget(Clear, area);
        frame.buffer_mut().set_style(area, theme.base());
        let style = if completion.chosen == Some(at) { theme.selected() } else { theme.strong() };
        let events = if offer.events > 0 { counted(offer.events.into(), ["event", "events"]) } else { String::new() };
        let note = text::value_in(&offer.note, theme.charset, room);
        let line = [
            Piece::plain(" ".repeat(margin)),
            Piece::new(text::left(&text, cells, theme.charset), style),
            Piece::new(format!(" {events:>14}   {note}").trim_end().to_owned(), theme.quiet()),
        ];
        let more = completion.offers.len().saturating_sub(at + 1);
        let more =
            if at + 1 == first + most && more > 0 { format!("{} {more} more", theme.down()) } else { String::new() };
        apart(frame, area, &line, 0, &[Piece::new(more, theme.quiet())], theme);
    }
}

#[cfg(test)]
mod tests;
