//! The detail pane: the selected event and its process.

mod files;
mod info;
mod tabs;

use super::event_list::selected;
use super::theme::Theme;
use super::{Piece, clock, page, put};
use crate::app::views::detail::{Detail, Size, Subject, Tab};
use crate::app::{App, Extent};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use tracetui_events::event::describe::{Value, args};
use tracetui_events::event::exit::{Ended, Exit};
use tracetui_events::event::process::Process;
use tracetui_events::event::{EventContext, names};
use tracetui_events::text::{self, grouped, shell};
use tracetui_shared::id::Tgid;

const NAME: usize = 9;

/// The lines, and which of them is the selected row.
type Listed = (Vec<Line<'static>>, Option<usize>);

/// Draws the pane, and sets its fields in the extent.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme, extent: &mut Extent) {
    let at_side = area.x > 0;
    let area = if at_side { border(frame, area, theme) } else { area };
    let Some(subject) = app.detail.subject(app.events().selected()) else { return };
    put(frame, Rect { height: 1, ..area }, title(app, subject, area.width.into(), theme));
    let body = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let page_of = Page { app, theme, width: usize::from(body.width), height: usize::from(body.height) };
    let (lines, selected) = match app.detail.tab {
        Tab::Files => {
            page(frame, body, page_of.files(extent), 0);
            return mark_more(frame, body, extent.detail.saturating_sub(extent.scroll), theme);
        }
        Tab::Why => page_of.answer(subject),
        Tab::Parents => page_of.parents(),
        Tab::Env => (page_of.env(), None),
        Tab::Raw => (page_of.raw(subject), None),
    };
    place(extent, &app.detail, selected, lines.len(), body.height.into());
    page(frame, body, lines, extent.scroll);
    mark_more(frame, body, extent.detail.saturating_sub(extent.scroll), theme);
}

/// Chooses the visible part of this many lines. It contains the selected one, unless the user scrolled away.
fn place(extent: &mut Extent, detail: &Detail, selected: Option<usize>, lines: usize, height: usize) {
    let most = lines.saturating_sub(height);
    let mut first = detail.scroll.min(most);
    if let Some(at) = selected.filter(|_| detail.reveals) {
        // The last line is reserved for the number of lines below.
        let below = usize::from(at + 1 < lines && height > 2);
        first = first.min(at).max((at + 1 + below).saturating_sub(height)).min(most);
    }
    extent.detail = most;
    extent.scroll = first;
    extent.row_hidden = selected.is_some_and(|at| !(first..first + height).contains(&at));
}

/// Draws lines below a title, as far down as the pane is scrolled. Returns the scroll limit.
pub(super) fn titled_page(
    frame: &mut Frame<'_>,
    area: Rect,
    title: Piece,
    lines: impl FnOnce(&Page<'_>) -> Vec<Line<'static>>,
    app: &App,
    theme: Theme,
) -> usize {
    let rule = |cells: usize| Piece::new(theme.line().repeat(cells), theme.quiet());
    let rest = usize::from(area.width).saturating_sub(title.width() + 2);
    put(frame, Rect { height: 1, ..area }, [rule(2), title, rule(rest)].map(Span::from).to_vec().into());
    let body = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let on_page = Page { app, theme, width: usize::from(body.width), height: usize::from(body.height) };
    let most = page(frame, body, lines(&on_page), app.detail.scroll);
    mark_more(frame, body, most.saturating_sub(app.detail.scroll), theme);
    most
}

/// Writes the number of further lines at the right end of the last line.
fn mark_more(frame: &mut Frame<'_>, body: Rect, more: usize, theme: Theme) {
    if more == 0 || body.height == 0 {
        return;
    }
    let text = format!(" {} {} more", theme.down(), grouped(more as u64));
    let width = u16::try_from(text::width(&text)).unwrap_or(u16::MAX).min(body.width);
    let place = Rect { x: body.right() - width, y: body.bottom() - 1, width, height: 1 };
    put(frame, place, Line::styled(text, theme.note()));
}

/// Draws the line between the list and a pane on its right.
pub(super) fn border(frame: &mut Frame<'_>, area: Rect, theme: Theme) -> Rect {
    for y in area.y..area.bottom() {
        put(frame, Rect { y, width: 1, height: 1, ..area }, Line::styled(theme.border(), theme.quiet()));
    }
    Rect { x: area.x + 1, width: area.width.saturating_sub(1), ..area }
}

/// The title: the subject of the pane, and the tabs.
fn title(app: &App, subject: Subject, width: usize, theme: Theme) -> Line<'static> {
    let who = match subject {
        Subject::Event(id) => {
            app.store().get(id).and_then(|stored| stored.with(app.world(), |seen| event_title(seen, app, theme)))
        }
        Subject::Process(_) => app.subject_process().map(|process| {
            let end = app.world().processes.get(process.key).map(|entry| entry.end.map(|end| end.status));
            let state = end.map(|end| end.map_or_else(|| app.without_end().to_owned(), ended)).unwrap_or_default();
            let style = if end.flatten().is_some_and(|status| status != 0) { theme.failure() } else { theme.quiet() };
            let line = Piece::new(theme.line().repeat(2), theme.quiet());
            who(process.key.tgid, &process.comm, theme).into_iter().chain([line, Piece::new(state, style)]).collect()
        }),
    };
    let tab = |tab: &Tab| {
        let style = if *tab == app.detail.tab { theme.tab() } else { theme.quiet() };
        Piece::new(format!(" {} ", tab.title()), style)
    };
    let tabs: Vec<Piece> = Tab::ALL.iter().map(tab).collect();
    let key = if width >= 70 { " Tab " } else { "" };
    let tabs_width = tabs.iter().map(Piece::width).sum::<usize>() + key.len() + 1;
    let rule = |cells: usize| Piece::new(theme.line().repeat(cells), theme.quiet());
    let mut line = Line::default();
    let mut push = |piece: Piece| line.push_span(piece);
    push(rule(2));
    let mut room = width.saturating_sub(tabs_width + 4);
    for piece in who.unwrap_or_default() {
        if room < piece.width().min(8) + 1 {
            break;
        }
        let text = text::cut(&piece.text, room.saturating_sub(1), theme.charset);
        let piece = Piece { text: format!(" {text}"), ..piece };
        room = room.saturating_sub(piece.width());
        push(piece);
    }
    push(Piece::plain(" "));
    push(rule(room + 1));
    tabs.into_iter().for_each(&mut push);
    push(Piece::new(key, theme.quiet()));
    push(rule(1));
    line
}

/// The process id and the name, separately. The id is shown at any width, and never cut.
fn who(tgid: Tgid, comm: &[u8], theme: Theme) -> [Piece; 2] {
    [tgid.0.to_string(), safe(comm, theme)].map(|text| Piece::new(text, theme.strong()))
}

/// `48217 ld ── EXEC EACCES Permission denied 14:02:11.007`.
fn event_title(seen: &EventContext<'_>, app: &App, theme: Theme) -> Vec<Piece> {
    let header = &seen.event.header;
    let kind = seen.event.kind();
    let mut pieces = Vec::new();
    if seen.process.is_some() {
        pieces.extend(who(header.tgid, header.comm(), theme));
        pieces.push(Piece::new(theme.line().repeat(2), theme.quiet()));
    }
    let result = written(|out| seen.result(out), theme);
    let style = if seen.event.failed() { theme.failure() } else { theme.quiet() };
    match seen.event.body.exit().map(|exit| ended(exit.record.status)) {
        Some(ended) => pieces.push(Piece::new(ended, style)),
        None => {
            pieces.push(Piece::new(kind.name().to_ascii_uppercase(), theme.kind(kind)));
            pieces.extend(seen.event.failed().then(|| Piece::new(result, style)));
        }
    }
    pieces.push(Piece::new(clock(header.time.0, seen.clock_offset, app), theme.quiet()));
    pieces
}

/// What `write` writes, made safe.
fn written(write: impl FnOnce(&mut Vec<u8>), theme: Theme) -> String {
    let mut out = Vec::new();
    write(&mut out);
    safe(&out, theme)
}

fn safe(bytes: &[u8], theme: Theme) -> String {
    // No screen shows more bytes than this.
    text::value_in(bytes, theme.charset, 1 << 17)
}

pub(super) fn ended(status: u32) -> String {
    let exit = Exit::of_status(status);
    let core = if exit.core() { ", core dumped" } else { "" };
    match exit.ended() {
        Ended::Code(code) => format!("exit {code}{core}"),
        Ended::Signal(signal) => format!("{}{core}", names::signal(signal).unwrap_or("signal")),
    }
}

pub(super) struct Page<'a> {
    pub(super) app: &'a App,
    pub(super) theme: Theme,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Page<'_> {
    /// A text with a name, on as many lines as the text needs.
    pub(super) fn named_lines(&self, name: &str, text: &str, style: Style) -> Vec<Line<'static>> {
        self.named_in(NAME, name, text, style)
    }

    /// Like [`named`](Self::named), with this many cells for the name.
    fn named_in(&self, cells: usize, name: &str, text: &str, style: Style) -> Vec<Line<'static>> {
        let lines = text::wrap(text, self.width.saturating_sub(cells + 2));
        let mut first = format!(" {} ", text::left(name, cells.max(name.len()).min(self.width), self.theme.charset));
        let mut out = Vec::new();
        for line in lines {
            out.push(Line::from(vec![Span::styled(first, self.theme.note()), Span::styled(line, style)]));
            first = " ".repeat(cells + 2);
        }
        out
    }

    /// Texts with a name, as many per line as fit, with `between` between them.
    fn packed(&self, name: &str, texts: impl IntoIterator<Item = String>, between: &str) -> Vec<Line<'static>> {
        let room = self.width.saturating_sub(NAME + 2 + text::width(between));
        let mut rows: Vec<String> = Vec::new();
        for text in texts {
            match rows.last_mut().filter(|row| text::width(row) + text::width(&text) <= room) {
                Some(row) => *row = format!("{row}{between}{text}"),
                None => rows.push(text),
            }
        }
        let names = std::iter::once(name).chain(std::iter::repeat(""));
        names.zip(rows).flat_map(|(name, row)| self.named_lines(name, &row, Style::new())).collect()
    }

    /// The arguments, one after the other. A long list shows only its first lines, unless the pane fills the body.
    fn args(&self, area: &[u8], note: &str) -> Vec<Line<'static>> {
        let room = self.width.saturating_sub(NAME + 2).max(1);
        let full = self.app.detail.size == Some(Size::Full);
        let most = if full { usize::MAX } else { (self.height / 4).max(2) };
        let mut rows: Vec<String> = Vec::new();
        for arg in args(area) {
            let mut word = safe(arg, self.theme);
            if arg.is_empty() || arg.contains(&b' ') {
                word = format!("'{word}'");
            }
            match rows.last_mut().filter(|row| text::width(row) + 2 + text::width(&word) <= room) {
                Some(row) => *row = format!("{row}  {word}"),
                None => rows.extend(text::wrap(&word, room)),
            }
            if rows.len() > most.saturating_add(64) {
                break;
            }
        }
        if rows.len() > most {
            rows.truncate(most - 1);
            rows.push("(more; Enter: full screen)".to_owned());
        }
        rows.extend((!note.is_empty()).then(|| note.to_owned()));
        let mut lines = Vec::new();
        for row in &rows {
            lines.extend(self.named_lines(if lines.is_empty() { "args" } else { "" }, row, Style::new()));
        }
        lines
    }

    /// Whether the target of the selected row is this process.
    fn is_selected(&self, process: &Process) -> bool {
        self.app.detail.row == Some(Subject::Process(process.key))
    }

    fn row(&self, line: Line<'static>, is_selected: bool) -> Line<'static> {
        let width = u16::try_from(self.width).unwrap_or(u16::MAX);
        if is_selected { selected(&line, width, self.theme) } else { line }
    }
}

/// The command line of a process, or what is known of it.
pub(super) fn command(process: &Process, theme: Theme) -> String {
    let image = &process.image;
    let mut command = Vec::new();
    shell::words(&image.argv, &mut command);
    match (command.is_empty(), image.exe.is_empty()) {
        (false, _) => safe(&command, theme),
        (true, false) => safe(&image.exe, theme),
        (true, true) => format!("[{}]", safe(&process.comm, theme)),
    }
}

/// A value as text, or the reason why it is missing.
fn value_text(value: &Value<'_>, theme: Theme) -> String {
    match (value.why(), value.text()) {
        (Some(why), _) => format!("({})", why.word().replace('_', " ")),
        (None, Some(text)) => safe(&text, theme),
        (None, None) => "-".to_owned(),
    }
}
