//! The differences from a recording: the rows, and the pane with both sides.

use super::detail::{Page, border, titled_page};
use super::event_list::{fitted, marked, selected};
use super::theme::Theme;
use super::tree::indent;
use super::{Piece, put};
use crate::app::keys::keymap::Action;
use crate::app::search::Pattern;
use crate::app::views::View;
use crate::app::views::diff::{Diff, Item, Row, Running};
use crate::app::{App, Compared};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use std::collections::HashMap;
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
        let line = line(row, area.width, app, theme);
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

fn line(row: &Row, width: u16, app: &App, theme: Theme) -> Line<'static> {
    let diff = &app.views.diff;
    let (kind, text) = diff.text(row);
    let text = text::value_in(&text, theme.charset, 4096);
    let difference = diff.line_of(row);
    let style = match (row.item, difference) {
        (_, Some(line)) => style_of(line, theme),
        (Item::Role(_), _) if row.cause => theme.strong(),
        (Item::Note(_), _) => theme.note(),
        _ => theme.quiet(),
    };
    let mut line = Line::from(" ");
    let mut room = usize::from(width).saturating_sub(1);
    let stem_style = if row.cause { theme.failure() } else { theme.quiet() };
    let mark = match (row.item, difference) {
        (Item::Role(_), _) => format!("{} ", if row.folded { theme.folded() } else { theme.unfolded() }),
        (Item::Line(_), Some(line)) => format!("{} {kind:KIND$} ", sign(line.only)),
        (Item::First, Some(line)) => format!("{} {kind:KIND$} ", sign(line.only)),
        _ if kind.is_empty() => String::new(),
        _ => format!("  {kind:KIND$} "),
    };
    let mark_style = if matches!(row.item, Item::Role(_)) { stem_style } else { style };
    for piece in [Piece::plain(indent(row.depth, room / 2, theme)), Piece::new(mark, mark_style)] {
        room = room.saturating_sub(piece.width());
        line.push_span(piece);
    }
    let remark = match (row.item, difference) {
        (Item::Role(_), _) if row.folded => format!("  ({})", counted(row.below as u64, ["difference", "differences"])),
        (Item::Line(_), Some(line)) if line.roles > 1 && line.alone.is_none() && !line.how.is_empty() => {
            format!("  (and {})", counted(line.roles as u64 - 1, ["other", "others"]))
        }
        _ => String::new(),
    };
    let cells = text::width(&text).min(room.saturating_sub(remark.len()));
    let text = text::cut_middle(&text, cells, theme.charset);
    let mut parts = fitted(vec![Piece::new(text, style)], cells, false, theme);
    if let Some(pattern) = app.search.pattern.as_ref().and_then(Pattern::marked) {
        parts = marked(parts, pattern, theme);
    }
    parts.into_iter().for_each(|part| line.push_span(part));
    line.push_span(Piece::new(remark, theme.note()));
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
    let Some((row, compared)) = diff.list.selected().zip(diff.compared.as_ref()) else { return 0 };
    let (kind, text) = diff.text(row);
    let title = match row.item {
        Item::Role(_) => text::value_in(&text, theme.charset, usize::from(area.width)),
        _ => kind.to_owned(),
    };
    let title = text::cut(&format!(" {title} "), usize::from(area.width).saturating_sub(4), theme.charset);
    let title = Piece::new(title, theme.strong());
    titled_page(frame, area, title, |page| sides(diff, row, compared, page), app, theme)
}

fn sides(diff: &Diff, row: &Row, compared: &Compared, page: &Page<'_>) -> Vec<Line<'static>> {
    let (theme, plain) = (page.theme, Style::new());
    let safe = |bytes: &[u8]| text::value_in(bytes, theme.charset, 1 << 17);
    let mut lines = Vec::new();
    let mut named = |name: &str, text: &str, style: Style| lines.extend(page.named_lines(name, text, style));
    let line = diff.line_of(row);
    let (_, sentence) = diff.text(row);
    let role = match (row.item, line) {
        (Item::Role(role), _) => role,
        (_, Some(line)) => {
            for (at, subject) in line.subject.iter().enumerate() {
                named(if at == 0 { "of" } else { "" }, &safe(subject), theme.strong());
            }
            if line.status == Status::Unknown {
                let why = "unknown: B may lack the events of these differences, so they have no results";
                named("", why, plain);
                named("", &safe(&line.text()), plain);
                return lines;
            }
            named("A", &safe(&line.a), style_of(line, theme));
            named("B", &safe(&line.b), style_of(line, theme));
            if line.roles > 1 {
                let others = counted(line.roles as u64 - 1, ["other program", "other programs"]);
                named("also", &format!("{others} with this difference"), plain);
            }
            line.role
        }
        (_, None) => {
            named("", &safe(&sentence), plain);
            return lines;
        }
    };
    let report = &compared.report;
    let Some(of) = report.roles.get(role).filter(|_| role > 0 || line.is_some_and(|line| line.alone.is_some())) else {
        return lines;
    };
    match line.and_then(|line| line.only.zip(line.alone.as_ref())) {
        Some((side, program)) => {
            lines.extend(of_program(side.name(), program, &DiffProgram::default(), false, page));
        }
        None if of.a.exe == of.b.exe && of.a.argv == of.b.argv && of.a.cwd == of.b.cwd => {
            lines.extend(of_program("both", &of.a, &of.b, false, page));
        }
        None => {
            lines.extend(of_program("A", &of.a, &of.b, true, page));
            lines.extend(of_program("B", &of.b, &of.a, true, page));
        }
    }
    let mut chain = Vec::new();
    let mut at = if line.is_some_and(|line| line.alone.is_some()) { role } else { of.parent };
    while let Some(above) = report.roles.get(at).filter(|_| at > 0) {
        chain.push(safe(&above.process));
        at = above.parent;
    }
    if !chain.is_empty() {
        lines.extend(page.named_lines("below", &chain.join(" < "), plain));
    }
    lines
}

/// The file, the arguments and the directory of a program. The arguments that the other one lacks stand out.
fn of_program(
    side: &str,
    program: &DiffProgram,
    other: &DiffProgram,
    compares: bool,
    page: &Page<'_>,
) -> Vec<Line<'static>> {
    let theme = page.theme;
    let safe = |bytes: &[u8]| text::value_in(bytes, theme.charset, 1 << 17);
    let differs = |own: &[u8], other: &[u8]| if compares && own != other { theme.failure() } else { Style::new() };
    let mut lines = page.named_lines(&format!("{side} file"), &safe(&program.exe), differs(&program.exe, &other.exe));
    let mut known: HashMap<&[u8], usize> = HashMap::new();
    other.argv.iter().for_each(|word| *known.entry(word).or_default() += 1);
    let words = program.argv.iter().map(|word| {
        let count = known.get_mut(&word[..]).filter(|count| **count > 0);
        let is_new = compares && count.is_none();
        count.into_iter().for_each(|count| *count -= 1);
        let text = safe(word);
        let quoted = if word.is_empty() || word.contains(&b' ') { format!("'{text}'") } else { text };
        if is_new { (format!("[{quoted}]"), theme.failure()) } else { (quoted, Style::new()) }
    });
    lines.extend(flowed(&format!("{side} args"), words, page));
    if !program.cwd.is_empty() {
        lines.extend(page.named_lines(&format!("{side} in"), &safe(&program.cwd), differs(&program.cwd, &other.cwd)));
    }
    lines
}

/// Words on as many lines as they need.
fn flowed(name: &str, words: impl Iterator<Item = (String, Style)>, page: &Page<'_>) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> = Vec::new();
    for (word, style) in words {
        match lines.last_mut().filter(|last| last.width() + 1 + text::width(&word) <= page.width) {
            Some(last) => last.spans.extend([Span::raw(" "), Span::styled(word, style)]),
            None => lines.extend(page.named_lines(if lines.is_empty() { name } else { "" }, &word, style)),
        }
    }
    lines
}
