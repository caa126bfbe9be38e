//! The detail pane: the selected event and its process.

use super::theme::Theme;
use super::{Piece, page, put};
use crate::app::App;
use crate::app::row::{TimeMode, time_text};
use crate::app::views::detail::{Size, Subject, Tab};
use crate::enrich::process::Entry;
use crate::event::describe::{COMMON, Field, Value, args};
use crate::event::exit::{Ended, Exit};
use crate::event::process::Process;
use crate::event::stack::Stack;
use crate::event::{Body, EventContext, Payload, Tables as _, fields_of, names};
use crate::text::time::short_duration;
use crate::text::{self, Charset, grouped};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use tracetui_shared::kind::Kind;
use tracetui_shared::record::exit::ExitRecord;

/// The width of field names in cells.
const NAME: usize = 9;

/// The maximum number of children that are listed.
const CHILDREN: usize = 100;

/// Draws the pane, and returns the scroll limit.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) -> usize {
    if area.is_empty() {
        return 0;
    }
    let at_side = area.x > 0;
    let area = if at_side { border(frame, area, theme) } else { area };
    let Some(subject) = app.subject() else { return 0 };
    put(frame, Rect { height: 1, ..area }, title(app, subject, area.width.into(), theme));
    let body = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let page_of = Page { app, theme, width: usize::from(body.width), height: usize::from(body.height) };
    let (lines, more) = match app.detail().tab {
        Tab::Info => (page_of.info(subject), 0),
        Tab::Files => page_of.files(),
        Tab::Parents => (page_of.parents(), 0),
    };
    match app.detail().tab {
        Tab::Files => page(frame, body, lines, 0) + more,
        _ => page(frame, body, lines, app.detail().scroll),
    }
}

/// Draws the line between the list and a pane on its right.
fn border(frame: &mut Frame<'_>, area: Rect, theme: Theme) -> Rect {
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
            let name = format!("{} {}", process.key.tgid.0, safe(&process.comm, theme));
            vec![Piece::new(name, theme.strong()), Piece::new("(parent)".to_owned(), theme.quiet())]
        }),
    };
    let tab = |tab: &Tab| {
        let style = if *tab == app.detail().tab { theme.tab() } else { theme.quiet() };
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
        let text = text::cut(&piece.text, room.saturating_sub(1), theme.charset);
        let piece = Piece { text: format!(" {text}"), ..piece };
        room = room.saturating_sub(piece.width());
        push(piece);
    }
    push(Piece::plain(" ".to_owned()));
    push(rule(room + 1));
    tabs.into_iter().for_each(&mut push);
    push(Piece::new(key.to_owned(), theme.quiet()));
    push(rule(1));
    line
}

/// `48217 ld ── EXEC EACCES 14:02:11.007`.
fn event_title(seen: &EventContext<'_>, app: &App, theme: Theme) -> Vec<Piece> {
    let header = &seen.event.header;
    let kind = seen.event.kind();
    let mut pieces = Vec::new();
    if seen.process.is_some() {
        let who = format!("{} {}", header.tgid.0, safe(header.comm(), theme));
        pieces.extend([Piece::new(who, theme.strong()), Piece::new(theme.line().repeat(2), theme.quiet())]);
    }
    pieces.push(Piece::new(kind.name().to_ascii_uppercase(), theme.kind(kind)));
    if seen.event.failed() {
        let mut result = Vec::new();
        seen.result(&mut result);
        pieces.push(Piece::new(safe(&result, theme), theme.failure()));
    }
    pieces.push(Piece::new(clock(header.time.0, seen.clock_offset, app), theme.quiet()));
    pieces
}

fn clock(boot_ns: u64, offset: i64, app: &App) -> String {
    let base = crate::app::row::TimeBase { mode: TimeMode::Clock, ..app.time_base(0) };
    time_text(boot_ns, offset, &base)
}

fn safe(bytes: &[u8], theme: Theme) -> String {
    // No screen shows more bytes than this.
    text::value_in(bytes, theme.charset, 1 << 17)
}

fn duration(ns: u64) -> String {
    let mut out = Vec::new();
    short_duration(ns, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// A description of the exit status.
fn ended(status: u32) -> String {
    let exit = Exit { record: ExitRecord { status, signal_flags: 0 } };
    let core = if exit.core() { ", core dumped" } else { "" };
    match exit.ended() {
        Ended::Code(code) => format!("exit {code}{core}"),
        Ended::Signal(signal) => format!("{}{core}", names::signal(signal).unwrap_or("signal")),
    }
}

/// The command line of a process in one line.
fn command(process: &Process, theme: Theme) -> String {
    let image = &process.image;
    let command = Value::Args(&image.argv).text().unwrap_or_default();
    match (command.is_empty(), image.exe.is_empty()) {
        (false, _) => safe(&command, theme),
        (true, false) => safe(&image.exe, theme),
        (true, true) => format!("[{}]", safe(&process.comm, theme)),
    }
}

struct Page<'a> {
    app: &'a App,
    theme: Theme,
    width: usize,
    height: usize,
}

impl Page<'_> {
    fn charset(&self) -> Charset {
        self.theme.charset
    }

    /// A text with a name, on as many lines as it needs.
    fn named(&self, name: &str, text: &str, style: Style) -> Vec<Line<'static>> {
        let lines = text::wrap(text, self.width.saturating_sub(NAME + 2));
        let mut first = format!(" {} ", text::left(name, NAME.max(name.len()).min(self.width), self.charset()));
        let mut out = Vec::new();
        for line in lines {
            out.push(Line::from(vec![Span::styled(first, self.theme.note()), Span::styled(line, style)]));
            first = " ".repeat(NAME + 2);
        }
        out
    }

    /// The command. Only the first lines of a long one are shown, unless the pane fills the body.
    fn command(&self, command: &str) -> Vec<Line<'static>> {
        let most = if self.app.detail().size() == Some(Size::Full) { usize::MAX } else { (self.height / 4).max(2) };
        let mut lines = self.named("cmd", command, Style::new());
        if lines.len() > most {
            let left_out = lines.len() + 1 - most;
            lines.truncate(most - 1);
            lines.extend(self.named("", &format!("({left_out} more lines; Enter: full screen)"), Style::new()));
        }
        lines
    }

    fn info(&self, subject: Subject) -> Vec<Line<'static>> {
        let process = self.app.subject_process();
        let mut lines = match subject {
            Subject::Event(id) => {
                let stored = self.app.store().get(id);
                stored.and_then(|s| s.with(self.app.world(), |seen| self.of_event(seen))).unwrap_or_default()
            }
            Subject::Process(_) => process.as_ref().map(|p| self.of_image(p)).unwrap_or_default(),
        };
        if let Some(process) = process {
            lines.extend(self.of_process(&process));
        }
        if let Subject::Event(id) = subject
            && let Some(stored) = self.app.store().get(id)
        {
            lines.extend(stored.with(self.app.world(), |seen| self.all_fields(seen)).unwrap_or_default());
        }
        lines
    }

    /// The command, the file and the result.
    fn of_event(&self, seen: &EventContext<'_>) -> Vec<Line<'static>> {
        let plain = Style::new();
        let mut lines = match &seen.event.body {
            Body::Exec(exec) => {
                let count = args(exec.argv).count();
                let all = exec.argc().map_or_else(|| "?".to_owned(), |argc| argc.to_string());
                let cut = if exec.cut() { "truncated" } else { "complete" };
                let command = safe(&Value::Args(exec.argv).text().unwrap_or_default(), self.theme);
                let mut lines = self.command(&command);
                lines.extend(self.named("args", &format!("{count} of {all}, {cut}"), plain));
                lines.extend(self.of_exe(seen));
                lines
            }
            Body::Lost(_) => Vec::new(),
            _ => {
                let mut detail = Vec::new();
                seen.detail(&mut detail);
                let mut lines = self.named(seen.event.kind().name(), &safe(&detail, self.theme), plain);
                lines.extend(seen.process.map(|p| self.of_image(p)).unwrap_or_default());
                lines
            }
        };
        let mut result = Vec::new();
        seen.result(&mut result);
        let style = if seen.event.failed() { self.theme.failure() } else { plain };
        lines.extend(self.named("result", &safe(&result, self.theme), style));
        lines
    }

    fn of_exe(&self, seen: &EventContext<'_>) -> Vec<Line<'static>> {
        let of = |name| {
            let value = crate::app::row::field(seen, name);
            value_text(&value, self.theme)
        };
        let argv0 = match &seen.event.body {
            Body::Exec(exec) => {
                args(exec.argv).next().map(|first| format!("   argv[0] \"{}\"", safe(first, self.theme)))
            }
            _ => None,
        };
        let mut lines = self.named("exe", &format!("{}{}", of("exe"), argv0.unwrap_or_default()), Style::new());
        lines.extend(self.named("cwd", &of("cwd"), Style::new()));
        lines
    }

    /// The program that a process runs.
    fn of_image(&self, process: &Process) -> Vec<Line<'static>> {
        let mut lines = self.command(&command(process, self.theme));
        let known = |bytes: &[u8]| if bytes.is_empty() { "(unknown)".to_owned() } else { safe(bytes, self.theme) };
        let exe = format!("{}   cwd {}", known(&process.image.exe), known(&process.image.cwd));
        lines.extend(self.named("exe", &exe, Style::new()));
        lines
    }

    fn of_process(&self, process: &Process) -> Vec<Line<'static>> {
        let world = self.app.world();
        let entry = world.processes.get(process.key);
        let mut lines = self.named("process", &self.state(process, entry), Style::new());
        let cgroup = match process.cgroup.is_empty() {
            true => String::new(),
            false => format!("  cgroup {}", safe(&process.cgroup, self.theme)),
        };
        let user = named_id(world.user(process.uid), process.uid.0);
        let who = format!("{user}:{}{cgroup}", named_id(world.group(process.gid), process.gid.0));
        lines.extend(self.named("who", &text::escape_in(who.as_bytes(), self.charset(), 1 << 16), Style::new()));
        let mut parents: Vec<_> = world.processes.ancestors(process).map(|p| self.short_name(p)).collect();
        parents.reverse();
        lines.extend(self.named("parents", &parents.join(" > "), Style::new()));
        lines.extend(self.named("children", &self.children(process), Style::new()));
        lines.extend(self.named("opened", &self.opened(), Style::new()));
        lines
    }

    fn short_name(&self, process: &Process) -> String {
        format!("{} {}", process.key.tgid.0, safe(&process.comm, self.theme))
    }

    fn state(&self, process: &Process, entry: Option<&Entry>) -> String {
        let offset = self.app.world().clock_offset();
        let started = format!("started {}", clock(process.key.start.0, offset, self.app));
        match entry.map(|entry| entry.end) {
            None => format!("{started}, ended long ago"),
            Some(None) => format!("{started}, running"),
            Some(Some(end)) => {
                let ran = duration(end.time.since(process.key.start));
                format!("{started}, ended {}  {}  ran {ran}", clock(end.time.0, offset, self.app), ended(end.status))
            }
        }
    }

    /// The children of a process in the process table.
    fn children(&self, process: &Process) -> String {
        let mut children = self.app.world().processes.children(process.key);
        let mut names: Vec<_> = children.by_ref().take(CHILDREN).map(|entry| self.child(entry)).collect();
        let more = children.count();
        if more > 0 {
            names.push(format!("and {more} more"));
        }
        if names.is_empty() { "none known".to_owned() } else { names.join("   ") }
    }

    fn child(&self, entry: &Entry) -> String {
        let name = self.short_name(&entry.process);
        match entry.end {
            None => format!("{name} (running)"),
            Some(end) => {
                format!("{name} ({}, {})", ended(end.status), duration(end.time.since(entry.process.key.start)))
            }
        }
    }

    fn opened(&self) -> String {
        let Some(files) = self.app.detail().files() else { return String::new() };
        let looking = if self.app.detail().scanning(self.app.store()) { " so far" } else { "" };
        let evicted = if self.app.store().evicted() > 0 { ", of the kept events" } else { "" };
        let traced = self.app.pipeline().kinds().is_none_or(|kinds| kinds.contains(Kind::Open));
        let excerpt = self.app.pipeline().excerpt().is_some();
        if files.is_empty() && (!traced || excerpt) {
            let what = if excerpt { "this part of a recording has none" } else { "opens are not traced" };
            return format!("not known: {what}{looking}");
        }
        let (all, failed) = (grouped(files.len() as u64), grouped(files.failed() as u64));
        format!("{all} files, {failed} failed{evicted}{looking}")
    }

    /// All fields of the event, with their names in filters.
    fn all_fields(&self, seen: &EventContext<'_>) -> Vec<Line<'static>> {
        let kind = seen.event.kind();
        let own = fields_of(kind).iter();
        let listed: Vec<&Field> =
            if kind == Kind::Lost { own.collect() } else { own.chain(rest_of_common()).collect() };
        let mut lines = vec![Line::styled(" -- fields --", self.theme.strong())];
        for field in listed {
            match (field.get)(seen) {
                Value::Object => lines.extend(
                    field
                        .sub
                        .iter()
                        .flat_map(|sub| self.field(&format!("{}.{}", field.name, sub.name), &(sub.get)(seen))),
                ),
                value => lines.extend(self.field(field.name, &value)),
            }
        }
        lines
    }

    fn field(&self, name: &str, value: &Value<'_>) -> Vec<Line<'static>> {
        match value {
            Value::Omitted | Value::Null => Vec::new(),
            Value::Stack(stack) => self.stack(stack),
            value => self.named(name, &value_text(value, self.theme), Style::new()),
        }
    }

    /// The calls of a stack, one a line.
    fn stack(&self, stack: &Stack<'_>) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        for call in stack.calls() {
            let mut text = Vec::new();
            call.write(&mut text);
            let name = if lines.is_empty() { "stack" } else { "" };
            lines.extend(self.named(name, &safe(&text, self.theme), Style::new()));
        }
        if stack.is_cut() {
            lines.extend(self.named("", "(truncated)", Style::new()));
        }
        lines
    }

    /// The files, newest first. Only the visible ones are formatted.
    fn files(&self) -> (Vec<Line<'static>>, usize) {
        let Some(files) = self.app.detail().files() else { return (Vec::new(), 0) };
        let room = self.height.saturating_sub(1);
        let most = files.len().saturating_sub(room);
        let first = self.app.detail().scroll.min(most);
        let mut lines = vec![Line::raw(format!(" {}, newest first", self.opened()))];
        let ids = (first..files.len()).take(room).filter_map(|at| files.newest(at));
        lines.extend(ids.filter_map(|id| self.app.store().get(id)?.with(self.app.world(), |seen| self.file(seen))));
        (lines, most)
    }

    fn file(&self, seen: &EventContext<'_>) -> Line<'static> {
        let (mut result, mut detail) = (Vec::new(), Vec::new());
        seen.result(&mut result);
        seen.detail(&mut detail);
        let time = clock(seen.event.header.time.0, seen.clock_offset, self.app);
        let room = self.width.saturating_sub(24);
        let style = if seen.event.failed() { self.theme.failure() } else { Style::new() };
        Line::from(vec![
            Span::raw(format!(" {time} ")),
            Span::styled(text::left(&safe(&result, self.theme), 8, self.charset()), style),
            Span::raw(format!(" {}", text::cut_middle(&safe(&detail, self.theme), room, self.charset()))),
        ])
    }

    /// The ancestors of the process, oldest first, and the process itself.
    fn parents(&self) -> Vec<Line<'static>> {
        let Some(process) = self.app.subject_process() else { return Vec::new() };
        let world = self.app.world();
        let mut chain: Vec<_> = world.processes.ancestors(&process).cloned().collect();
        chain.reverse();
        chain.push(process);
        let last = chain.len() - 1;
        let line = |(depth, process): (usize, &std::sync::Arc<Process>)| {
            let state = match world.processes.get(process.key).map(|entry| entry.end) {
                None => "gone".to_owned(),
                Some(None) => "running".to_owned(),
                Some(Some(end)) => ended(end.status),
            };
            let indent = " ".repeat(depth.min(20));
            let text = format!(" {:>7} {state:<10} {indent}{}", process.key.tgid.0, command(process, self.theme));
            let style = if depth == last { self.theme.strong() } else { Style::new() };
            Line::styled(text::cut(&text, self.width, self.charset()), style)
        };
        chain.iter().enumerate().map(line).collect()
    }
}

/// The common fields that the pane does not show in other places.
fn rest_of_common() -> impl Iterator<Item = &'static Field> {
    const STANDS_ABOVE: [&str; 5] = ["kind", "comm", "uid", "gid", "pid"];
    COMMON.iter().filter(|field| !STANDS_ABOVE.contains(&field.name))
}

/// A user or a group: its name, if known, and its id.
fn named_id(name: Option<&str>, id: u32) -> String {
    name.map_or_else(|| id.to_string(), |name| format!("{name}({id})"))
}

/// A value as text, or the reason why it is missing.
fn value_text(value: &Value<'_>, theme: Theme) -> String {
    match (value.why(), value.text()) {
        (Some(why), _) => format!("({})", why.word().replace('_', " ")),
        (None, Some(text)) => safe(&text, theme),
        (None, None) => "-".to_owned(),
    }
}
