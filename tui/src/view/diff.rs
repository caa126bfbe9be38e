//! The differences from a recording: the rows, and the pane with both sides.

use super::detail::{Page, border, titled_page};
use super::event_list::{fitted, marked, selected};
use super::theme::Theme;
use super::{Piece, put};
use crate::app::keys::keymap::Action;
use crate::app::search::Pattern;
use crate::app::views::View;
use crate::app::views::diff::{Diff, Item, Running};
use crate::app::{App, Compared};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use tracetui_events::diff::{DiffLine, DiffProgram, Show, Side, Status};
use tracetui_events::text::{self, counted, grouped};

/// The minimum number of cells for the kind.
const KIND: usize = 8;

/// Draws the names of both sides and the rows. It has no columns.
pub(super) fn draw(frame: &mut Frame<'_>, titles: Rect, area: Rect, app: &App, theme: Theme) -> Vec<&'static str> {
    let diff = &app.views.diff;
    if let Some(compared) = &diff.compared {
        let safe = |name: &str| text::escape_in(name.as_bytes(), theme.charset, 200);
        let legend = "   - only in A   + only in B   ~ differs";
        let title = format!(" A {}   B {}{legend}", safe(&compared.a), safe(&compared.b));
        put(frame, titles, Line::styled(text::cut(&title, titles.width.into(), theme.charset), theme.quiet()));
    }
    let rows = diff.list.rows.iter().enumerate().skip(diff.list.top).take(area.height.into());
    for (y, (at, row)) in (area.y..area.bottom()).zip(rows) {
        let line = line(*row, area.width, app, theme);
        let line = if at == diff.list.at { selected(&line, area.width, theme) } else { line };
        put(frame, Rect { y, height: 1, ..area }, line);
    }
    if let Some(progress) = progress(app) {
        put(frame, area, Line::raw(format!("  {progress}")));
    }
    Vec::new()
}

/// The progress of a comparison that runs.
pub(super) fn progress(app: &App) -> Option<String> {
    let Running { with, percent: [a, b], .. } = app.views.diff.running.as_ref()?;
    let with = text::escaped(with.as_bytes(), text::Charset::Utf8.mode());
    let cancels =
        if app.views.shown == View::Diff { format!("; {} cancels", app.key_of(Action::Back)) } else { String::new() };
    let read = match (a, b) {
        (100, 100) => "both are read, looking for differences".to_owned(),
        _ => format!("A {a} %, B {b} % read"),
    };
    Some(format!("comparing with {with}: {read}{cancels}"))
}

fn sign(only: Option<Side>) -> &'static str {
    match only {
        Some(Side::A) => "-",
        Some(Side::B) => "+",
        None => "~",
    }
}

fn style_of(line: &DiffLine, theme: Theme) -> Style {
    match line {
        DiffLine { cause: true, .. } => theme.failure(),
        DiffLine { follows: true, .. } => theme.quiet(),
        _ => Style::new(),
    }
}

fn line(row: Item, width: u16, app: &App, theme: Theme) -> Line<'static> {
    let diff = &app.views.diff;
    let (kind, text) = diff.text(row);
    let text = text::value_in(&text, theme.charset, 4096);
    let difference = diff.line_of(row);
    let style = match (row, difference) {
        (_, Some(line)) => style_of(line, theme),
        (Item::Note(_), _) => theme.note(),
        _ => theme.quiet(),
    };
    let mark = match difference {
        Some(line) => format!(" {} {kind:KIND$} ", sign(line.only)),
        None if kind.is_empty() => " ".to_owned(),
        None => format!("   {kind:KIND$} "),
    };
    let room = usize::from(width).saturating_sub(mark.len());
    let mut line = Line::from(Span::styled(mark, style));
    let cells = text::width(&text).min(room);
    let text = text::cut_middle(&text, cells, theme.charset);
    let mut parts = fitted(vec![Piece::new(text, style)], cells, false, theme);
    if let Some(pattern) = app.search.pattern.as_ref().and_then(Pattern::marked) {
        parts = marked(parts, pattern, theme);
    }
    parts.into_iter().for_each(|part| line.push_span(part));
    line
}

/// The numbers of differences, for the filter line.
pub(super) fn counts(app: &App, theme: Theme) -> Vec<Piece> {
    let Some(Compared { report, .. }) = app.views.diff.compared.as_deref() else { return Vec::new() };
    let mut pieces = Vec::new();
    let unknown = report.count(Status::Unknown);
    if unknown > 0 {
        pieces.push(Piece::new(format!("{} unknown", grouped(unknown as u64)), theme.loss()));
    }
    let lines = report.shown(Show::default()).filter(|line| line.status == Status::Different).count();
    pieces.push(Piece::plain(counted(lines as u64, ["difference", "differences"])));
    let follow: usize = report.follow.values().sum();
    pieces.push(Piece::new(format!("{} follow", grouped(follow as u64)), theme.quiet()));
    pieces
}

/// Draws the pane with both sides of the selected row. Returns the scroll limit.
pub(super) fn detail(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) -> usize {
    let area = if area.x > 0 { border(frame, area, theme) } else { area };
    let diff = &app.views.diff;
    let Some(row) = diff.list.selected().copied() else { return 0 };
    let title = format!(" {} ", diff.text(row).0);
    let title = text::cut(&title, usize::from(area.width).saturating_sub(4), theme.charset);
    let title = Piece::new(title, theme.strong());
    titled_page(frame, area, title, |page| sides(diff, row, page), app, theme)
}

fn sides(diff: &Diff, row: Item, page: &Page<'_>) -> Vec<Line<'static>> {
    let (theme, plain) = (page.theme, Style::new());
    let safe = |bytes: &[u8]| text::value_in(bytes, theme.charset, 1 << 17);
    let mut lines = Vec::new();
    let mut named = |name: &str, text: &str, style: Style| lines.extend(page.named_lines(name, text, style));
    let Some(line) = diff.line_of(row) else {
        named("", &safe(&diff.text(row).1), plain);
        return lines;
    };
    for (at, subject) in line.subject.iter().enumerate() {
        named(if at == 0 { "of" } else { "" }, &safe(subject), theme.strong());
    }
    if line.status == Status::Unknown {
        let why = "unknown: B may lack the events of these differences, so they have no results";
        named("", why, plain);
        named("", &safe(&line.text), plain);
        return lines;
    }
    named("A", &safe(&line.a), style_of(line, theme));
    named("B", &safe(&line.b), style_of(line, theme));
    if line.roles > 1 {
        let others = counted(line.roles as u64 - 1, ["other program", "other programs"]);
        named("also", &format!("{others} with this difference"), plain);
    }
    let [a, b] = &line.programs;
    for (side, program) in if a == b { vec![("both", a)] } else { vec![("A", a), ("B", b)] } {
        let DiffProgram { exe, argv, cwd } = program;
        let word = |word: &Vec<u8>| match safe(word) {
            text if word.is_empty() || word.contains(&b' ') => format!("'{text}'"),
            text => text,
        };
        let argv = argv.iter().map(word).collect::<Vec<_>>().join(" ");
        for (what, text) in [("file", safe(exe)), ("args", argv), ("in", safe(cwd))] {
            if !text.is_empty() {
                named(&format!("{side} {what}"), &text, plain);
            }
        }
    }
    lines
}
