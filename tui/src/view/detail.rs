//! The detail pane: the selected event and its process.

use super::events::selected;
use super::theme::Theme;
use super::{Piece, clock, duration, gap, loss, page, put};
use crate::app::keymap::Action;
use crate::app::pane::Family;
use crate::app::row::{TimeBase, TimeMode};
use crate::app::views::View;
use crate::app::views::detail::{Detail, Size, Subject, Tab};
use crate::app::why::Searched;
use crate::app::{App, Extent};
use crate::enrich::process::Entry;
use crate::event::describe::{COMMON, Field, Value, args};
use crate::event::exit::{Ended, Exit};
use crate::event::lost::{self, Lost};
use crate::event::process::Process;
use crate::event::stack::Stack;
use crate::event::{Body, Components, EventContext, Payload, Tables as _, fields_of, names};
use crate::store::{Id, Stored};
use crate::text::{self, Charset, counted, grouped};
use crate::why::{self, Basis, Cause};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Kind;
use tracetui_shared::record::exit::ExitRecord;

/// The width of field names in cells.
const NAME: usize = 9;

/// Lines, and the one of the selected row.
type Listed = (Vec<Line<'static>>, Option<usize>);

/// Draws the pane, and sets what is said of it in the extent.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme, extent: &mut Extent) {
    if area.is_empty() {
        return;
    }
    if app.view() == View::Bpf {
        extent.detail = super::bpf::detail(frame, area, app, theme);
        return;
    }
    let at_side = area.x > 0;
    let area = if at_side { border(frame, area, theme) } else { area };
    let Some(subject) = app.subject() else { return };
    let (line, tabs) = title(app, subject, area.width.into(), theme);
    put(frame, Rect { height: 1, ..area }, line);
    extent.pane_tabs = tabs.map(|(from, to)| (area.x + from, (area.x + to).min(area.right())));
    let body = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let page_of = Page { app, theme, width: usize::from(body.width), height: usize::from(body.height) };
    let (lines, selected) = match app.detail().tab {
        Tab::Files => {
            page(frame, body, page_of.files(extent), 0);
            return mark_more(frame, body, extent.detail.saturating_sub(extent.scroll), theme);
        }
        Tab::Info => page_of.info(subject),
        Tab::Parents => page_of.parents(),
        Tab::Raw => (page_of.raw(subject), None),
    };
    place(extent, app.detail(), selected, lines.len(), body.height.into());
    page(frame, body, lines, extent.scroll);
    mark_more(frame, body, extent.detail.saturating_sub(extent.scroll), theme);
}

/// Sets which part of so many lines is visible: with the selected one, unless the user scrolled away from it.
fn place(extent: &mut Extent, detail: &Detail, selected: Option<usize>, lines: usize, height: usize) {
    let most = lines.saturating_sub(height);
    let mut first = detail.scroll.min(most);
    if let Some(at) = selected.filter(|_| detail.reveals()) {
        // How much there is below is said in the last line.
        let below = usize::from(at + 1 < lines && height > 2);
        first = first.min(at).max((at + 1 + below).saturating_sub(height)).min(most);
    }
    extent.detail = most;
    extent.scroll = first;
    extent.row_hidden = selected.is_some_and(|at| !(first..first + height).contains(&at));
}

/// Says at the right end of the last line how many lines follow it.
pub(super) fn mark_more(frame: &mut Frame<'_>, body: Rect, more: usize, theme: Theme) {
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

/// The title: the subject of the pane, and the tabs, with their cells.
fn title(app: &App, subject: Subject, width: usize, theme: Theme) -> (Line<'static>, [(u16, u16); Tab::ALL.len()]) {
    let who = match subject {
        Subject::Event(id) => {
            app.store().get(id).and_then(|stored| stored.with(app.world(), |seen| event_title(seen, app, theme)))
        }
        Subject::Process(_) => app.subject_process().map(|process| {
            let relation = relation(app, &process).map(|word| Piece::new(format!("({word})"), theme.quiet()));
            who(process.key.tgid, &process.comm, theme).into_iter().chain(relation).collect()
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
        if room < piece.width().min(8) + 1 {
            break;
        }
        let text = text::cut(&piece.text, room.saturating_sub(1), theme.charset);
        let piece = Piece { text: format!(" {text}"), ..piece };
        room = room.saturating_sub(piece.width());
        push(piece);
    }
    push(Piece::plain(" ".to_owned()));
    push(rule(room + 1));
    let mut places = [(0, 0); Tab::ALL.len()];
    for (tab, place) in tabs.into_iter().zip(&mut places) {
        let from = line.width();
        line.push_span(tab);
        let cell = |cells: usize| u16::try_from(cells).unwrap_or(u16::MAX / 2);
        *place = (cell(from), cell(line.width()));
    }
    line.push_span(Piece::new(key.to_owned(), theme.quiet()));
    line.push_span(rule(1));
    (line, places)
}

/// What a process is to the one of the selected event.
fn relation(app: &App, process: &Process) -> Option<&'static str> {
    let own = app.selected()?.process?;
    let descends =
        |of: &Process, from: &Process| app.world().processes.ancestors(of).any(|above| above.key == from.key);
    if process.key == own.key {
        return None;
    }
    Some(match (descends(own, process), descends(process, own)) {
        (true, _) if own.parent == Some(process.key) => "parent",
        (true, _) => "ancestor",
        (_, true) if process.parent == Some(own.key) => "child",
        (_, true) => "descendant",
        _ => "relative",
    })
}

/// The process id and the name, apart: the id is there at any width, and never cut.
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
    pieces.push(Piece::new(kind.name().to_ascii_uppercase(), theme.kind(kind)));
    if seen.event.failed() {
        let mut result = Vec::new();
        seen.result(&mut result);
        pieces.push(Piece::new(safe(&result, theme), theme.failure()));
    }
    if let Some(errno) = errno(seen) {
        pieces.push(Piece::plain(why::error_text(errno)));
    }
    pieces.push(Piece::new(clock(header.time.0, seen.clock_offset, app), theme.quiet()));
    pieces
}

fn safe(bytes: &[u8], theme: Theme) -> String {
    // No screen shows more bytes than this.
    text::value_in(bytes, theme.charset, 1 << 17)
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

/// The place of the lines.
pub(super) struct Page<'a> {
    pub(super) app: &'a App,
    pub(super) theme: Theme,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Page<'_> {
    fn charset(&self) -> Charset {
        self.theme.charset
    }

    /// A text with a name, on as many lines as it needs.
    pub(super) fn named(&self, name: &str, text: &str, style: Style) -> Vec<Line<'static>> {
        self.named_in(NAME, name, text, style)
    }

    /// As [`named`](Self::named), with so many cells for the name.
    fn named_in(&self, cells: usize, name: &str, text: &str, style: Style) -> Vec<Line<'static>> {
        let lines = text::wrap(text, self.width.saturating_sub(cells + 2));
        let mut first = format!(" {} ", text::left(name, cells.max(name.len()).min(self.width), self.charset()));
        let mut out = Vec::new();
        for line in lines {
            out.push(Line::from(vec![Span::styled(first, self.theme.note()), Span::styled(line, style)]));
            first = " ".repeat(cells + 2);
        }
        out
    }

    /// Short texts with names: as many on a line as fit.
    fn pairs(&self, pairs: &[(&str, String, Style)]) -> Vec<Line<'static>> {
        let mut lines: Vec<Line<'static>> = Vec::new();
        let mut used = 0;
        for (name, text, style) in pairs.iter().filter(|(_, text, _)| !text.is_empty()) {
            let width = name.len() + 1 + text::width(text);
            match lines.last_mut().filter(|_| used + 3 + width <= self.width) {
                Some(line) => {
                    line.push_span(Span::styled(format!("   {name} "), self.theme.note()));
                    line.push_span(Span::styled(text.clone(), *style));
                    used += 3 + width;
                }
                None => {
                    let more = self.named(name, text, *style);
                    used = more.last().map_or(0, Line::width);
                    lines.extend(more);
                }
            }
        }
        lines
    }

    /// Texts, each with what follows it, on as many lines as they need. The selected one is marked.
    fn flow(&self, name: &str, texts: &[(String, &str)], selected: Option<usize>) -> Listed {
        let (mut lines, mut line): (Vec<Line<'static>>, _) = (Vec::new(), None);
        for (at, (text, after)) in texts.iter().enumerate() {
            let style = if selected == Some(at) { self.theme.selected() } else { Style::new() };
            let width = text::width(text) + text::width(after.trim_end());
            match lines.last_mut().filter(|last| last.width() + width <= self.width) {
                Some(last) => last.push_span(Span::styled(text.clone(), style)),
                None => lines.extend(self.named(if lines.is_empty() { name } else { "" }, text, style)),
            }
            if selected == Some(at) {
                line = Some(lines.len().saturating_sub(1));
            }
            lines.iter_mut().last().into_iter().for_each(|last| last.push_span(Span::raw((*after).to_owned())));
        }
        if let Some(first) = line.and_then(|at| lines.get_mut(at)?.spans.first_mut()) {
            let mut sign = std::mem::take(&mut first.content).into_owned();
            sign.replace_range(..sign.len().min(1), ">");
            first.content = sign.into();
        }
        (lines, line)
    }

    /// The arguments, each by itself. Only the first lines of many are shown, unless the pane fills the body.
    fn args(&self, area: &[u8], note: &str) -> Vec<Line<'static>> {
        let room = self.width.saturating_sub(NAME + 2).max(1);
        let full = self.app.detail().size() == Some(Size::Full);
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
            lines.extend(self.named(if lines.is_empty() { "args" } else { "" }, row, Style::new()));
        }
        lines
    }

    fn info(&self, subject: Subject) -> Listed {
        let process = self.app.subject_process();
        let mut lines = match subject {
            Subject::Event(id) => self.of_kept(id),
            Subject::Process(_) => process.as_ref().map(|p| self.of_image(p)).unwrap_or_default(),
        };
        let mut selected = None;
        if let Some(process) = process {
            let (of_process, at) = self.of_process(&process);
            selected = at.map(|at| lines.len() + at);
            lines.extend(of_process);
        }
        if let Subject::Event(id) = subject
            && let Some(stored) = self.app.store().get(id)
        {
            lines.extend(stored.with(self.app.world(), |seen| self.stack_of(seen)).unwrap_or_default());
        }
        if lines.is_empty() {
            lines.push(Line::styled(" (not kept in memory any more)", self.theme.quiet()));
        }
        (lines, selected)
    }

    /// Every field, with its name in filters.
    fn raw(&self, subject: Subject) -> Vec<Line<'static>> {
        let Subject::Event(id) = subject else {
            return vec![Line::styled(" (a process: Raw has the fields of the selected event)", self.theme.quiet())];
        };
        let stored = self.app.store().get(id);
        stored.and_then(|stored| stored.with(self.app.world(), |seen| self.all_fields(seen))).unwrap_or_default()
    }

    /// What happened, the answer first.
    fn of_event(&self, id: Id, seen: &EventContext<'_>) -> Vec<Line<'static>> {
        let mut lines = self.why(id, seen);
        let search = self.search(id);
        // What the search found is the answer; why one of its calls failed comes after it.
        let found = seen.event.failed() && self.app.reasons().search(id).is_some_and(|search| search.found.is_some());
        let search = if found {
            lines.splice(0..0, search);
            Vec::new()
        } else {
            search
        };
        let mut result = Vec::new();
        seen.result(&mut result);
        let mut result = safe(&result, self.theme);
        if let Some(errno) = errno(seen) {
            result = format!("{result} {}", why::error_text(errno));
        }
        let failed = seen.event.failed();
        let style = if failed { self.theme.failure() } else { Style::new() };
        match &seen.event.body {
            Body::Exec(exec) => {
                let (name, path) = match failed {
                    true => ("tried", safe(exec.filename, self.theme)),
                    false => ("ran", self.place(seen, exec.exe, "exe")),
                };
                let result = if failed { result } else { String::new() };
                lines.extend(self.pairs(&[(name, path, Style::new()), ("result", result, style)]));
                lines.extend(search);
                if exec.interp != exec.filename && !exec.interp.is_empty() {
                    lines.extend(self.named("script by", &safe(exec.interp, self.theme), Style::new()));
                }
                let count = args(exec.argv).count();
                let note = match exec.argc() {
                    Some(all) if u64::from(all) == count as u64 && !exec.cut() => String::new(),
                    all => {
                        format!("({count} of {} arguments)", all.map_or_else(|| "?".to_owned(), |all| all.to_string()))
                    }
                };
                lines.extend(self.args(exec.argv, &note));
            }
            Body::Open(open) => {
                let (name, path) = match failed {
                    true => ("tried", safe(open.path, self.theme)),
                    false => ("opened", self.place(seen, open.names, "abs_path")),
                };
                let path = if path == "-" || path.starts_with('(') { safe(open.path, self.theme) } else { path };
                let result = if failed { result } else { format!("fd {result}") };
                lines.extend(self.pairs(&[
                    (name, path, Style::new()),
                    ("result", result, style),
                    ("flags", self.value(seen, "flags"), Style::new()),
                ]));
                lines.extend(search);
                lines.extend(seen.process.map(|process| self.of_image(process)).unwrap_or_default());
            }
            Body::Lost(lost) => lines.extend(self.gap(lost, seen)),
            Body::Exit(_) if let Some(reason) = self.app.cause_of(id) => {
                let [words, _] = reason.with_name();
                lines.extend(self.named("failed", &safe(&words, self.theme), self.theme.strong()));
                if reason.line.len() > 1 {
                    let line: Vec<_> = reason.line.iter().map(|comm| safe(comm, self.theme)).collect();
                    lines.extend(self.named("from", &line.join(self.arrow()), self.theme.quiet()));
                }
                lines.extend(self.held(seen));
                lines.extend(self.of_kept(reason.id));
            }
            _ => {
                let mut detail = Vec::new();
                seen.detail(&mut detail);
                lines.extend(self.named(seen.event.kind().name(), &safe(&detail, self.theme), Style::new()));
                lines.extend(self.held(seen));
                lines.extend(self.named("result", &result, style));
                if let Body::Bpf(bpf) = &seen.event.body {
                    lines.extend(super::bpf::ended(bpf, seen.event.header.time, self));
                }
                lines.extend(seen.process.map(|process| self.of_image(process)).unwrap_or_default());
            }
        }
        lines
    }

    /// What was lost, why, when, and what to do about it.
    fn gap(&self, lost: &Lost, seen: &EventContext<'_>) -> Vec<Line<'static>> {
        let (app, theme, plain) = (self.app, self.theme, Style::new());
        let count = gap::counted(lost.record.count, lost.of());
        let what = format!("{}{count}: {}", lost.record.at_most(), lost.cause.clause());
        let why = match lost.cause {
            lost::Cause::Ring => "the events came faster than they were read from the kernel's ring",
            lost::Cause::Probe => "the kernel did not run the program that sees them",
            lost::Cause::Read => "they arrived, but they are not what this version reads",
        };
        let base = TimeBase { mode: TimeMode::Clock, zone_s: app.zone_s(), ..TimeBase::default() };
        // The whole times, whatever the width.
        let mut when = gap::bounds(lost, seen, &base, usize::MAX, theme);
        if lost.record.cpu != u32::MAX {
            when = format!("{when}, on CPU {}", lost.record.cpu);
        }
        let all = format!("{} shows all losses", app.key_of(Action::LossReport));
        let remedy = loss::remedy(lost.cause, app.world().counters());
        [
            self.named("lost", &what, theme.loss()),
            self.named("why", why, plain),
            self.named("when", &when, plain),
            self.named("to do", &format!("{remedy}; {all}"), theme.strong()),
        ]
        .concat()
    }

    /// How long the COMMAND was held before it ran, if this is its exit.
    fn held(&self, seen: &EventContext<'_>) -> Vec<Line<'static>> {
        let held =
            seen.process.map(|process| process.held_ns).filter(|held| *held > 0 && seen.event.kind() == Kind::Exit);
        let text = held.map(|held| format!("{} before its first exec, until the probes were attached", duration(held)));
        text.map(|text| self.named("held", &text, self.theme.quiet())).unwrap_or_default()
    }

    /// What stands between a process and its child.
    fn arrow(&self) -> &'static str {
        if self.charset() == Charset::Utf8 { " › " } else { " > " }
    }

    fn of_kept(&self, id: Id) -> Vec<Line<'static>> {
        let stored = self.app.store().get(id);
        stored.and_then(|stored| stored.with(self.app.world(), |seen| self.of_event(id, seen))).unwrap_or_default()
    }

    fn value(&self, seen: &EventContext<'_>, name: &str) -> String {
        value_text(&crate::app::row::field(seen, name), self.theme)
    }

    /// Why it failed, and how that is known.
    fn why(&self, id: Id, seen: &EventContext<'_>) -> Vec<Line<'static>> {
        if !why::is_asked_of(seen) {
            return Vec::new();
        }
        let reasons = self.app.reasons();
        let proven = why::proven(seen);
        let Some(answer) = reasons.answer(id).or(proven.as_ref()) else {
            let text = match (reasons.asks(id), self.app.replay().is_some()) {
                (true, _) => "looking it up",
                // The search says more.
                (false, true) if reasons.search(id).is_some() => return Vec::new(),
                (false, true) => "(the recording does not say; files are looked up live only)",
                (false, false) => "(not known: the path could not be read)",
            };
            return self.named("why", text, self.theme.quiet());
        };
        let basis = match answer.basis {
            Basis::Proven => "proven".to_owned(),
            Basis::Checked(after) => format!("checked {} later", duration(after)),
            Basis::Nothing => String::new(),
        };
        let known = answer.cause != Cause::Unknown;
        let found = reasons.search(id).is_some_and(|search| search.found.is_some());
        let style = if known && !found { self.theme.strong() } else { Style::new() };
        let text = safe(&answer.text, self.theme);
        let text = if known { text } else { format!("not known: {text}") };
        let mut lines = self.named("why", &text, style);
        let place = answer.place.as_ref().map(|place| format!("  ({})", safe(place, self.theme)));
        let basis = format!("{basis}{}", place.unwrap_or_default());
        let used = lines.last().map_or(0, Line::width);
        match (lines.len(), lines.last_mut()) {
            (1, Some(line)) if used + 3 + text::width(&basis) <= self.width => {
                line.push_span(Span::raw(" ".repeat(self.width - used - text::width(&basis) - 1)));
                line.push_span(Span::styled(basis, self.theme.quiet()));
            }
            _ => lines.extend(self.named("", &basis, self.theme.quiet())),
        }
        lines
    }

    /// `stdio.h found in /usr/include after 5 places`, or `looked for stdio.h in 6 places, not found`.
    fn search(&self, id: Id) -> Vec<Line<'static>> {
        let Some(search) = self.app.reasons().search(id) else { return Vec::new() };
        let (name, before) = (safe(&search.name, self.theme), search.places.saturating_sub(1));
        let in_places = |places: usize| counted(places as u64, ["place", "places"]);
        let places = in_places(search.places);
        let text = match (&search.found, search.ended) {
            (Some(dir), _) => format!("{name} found in {} after {}", safe(dir, self.theme), in_places(before)),
            (None, true) => format!("looked for {name} in {places}, not found"),
            (None, false) => format!("looked for {name} in {places}, not found so far"),
        };
        let style = if search.found.is_some() { self.theme.strong() } else { Style::new() };
        let mut lines = self.named("search", &text, style);
        if search.found.is_none() {
            lines.extend(self.places(search));
        }
        lines
    }

    /// Where a search looked: as many places as fit on a part of the pane.
    fn places(&self, search: &Searched) -> Vec<Line<'static>> {
        let full = self.app.detail().size() == Some(Size::Full);
        let most = if full { usize::MAX } else { (self.height / 4).max(2) };
        let lines = |shown: usize| {
            let mut places: Vec<_> =
                search.first.iter().take(shown).map(|place| safe(&place.dir, self.theme)).collect();
            let more = search.places.saturating_sub(shown);
            places.extend((more > 0).then(|| format!("and {} more", grouped(more as u64))));
            self.named("in", &places.join(", "), Style::new())
        };
        let shown = (1..=search.first.len()).rev().find(|shown| lines(*shown).len() <= most);
        lines(shown.unwrap_or(1))
    }

    /// The program that a process runs.
    fn of_image(&self, process: &Process) -> Vec<Line<'static>> {
        let image = &process.image;
        let mut lines = Vec::new();
        if !image.exe.is_empty() {
            lines.extend(self.named("program", &safe(&image.exe, self.theme), Style::new()));
        }
        match image.argv.is_empty() {
            true => lines.extend(self.named("args", &command(process, self.theme), Style::new())),
            false => lines.extend(self.args(&image.argv, "")),
        }
        lines
    }

    /// The event of the page, if it is not the page of a process alone.
    fn event(&self) -> Option<Stored<'_>> {
        match self.app.subject() {
            Some(Subject::Event(id)) => self.app.store().get(id),
            _ => None,
        }
    }

    fn of_process(&self, process: &Process) -> Listed {
        let world = self.app.world();
        // Those of the event: a process may change its user without an exec.
        let of_event = self.event().map(|stored| stored.header());
        let (uid, gid) = of_event.map_or((process.uid, process.gid), |header| (header.uid, header.gid));
        let who = format!("{}:{}", named_id(world.user(uid), uid.0), named_id(world.group(gid), gid.0));
        let (cwd_name, cwd) = self.cwd(process);
        let cgroup = of_event.and_then(|header| world.cgroup(header.cgroup, process)).unwrap_or(&process.cgroup);
        let mut lines = self.pairs(&[
            ("who", safe(who.as_bytes(), self.theme), Style::new()),
            (cwd_name, cwd, Style::new()),
            ("cgroup", safe(cgroup, self.theme), Style::new()),
        ]);
        let family = self.app.family(process);
        let arrow = self.arrow();
        let mut chain: Vec<_> = family.ancestors.iter().map(|p| (safe(&p.comm, self.theme), arrow)).collect();
        chain.push((safe(&process.comm, self.theme), ""));
        let selected = family.ancestors.iter().position(|ancestor| self.is_selected(ancestor));
        let (chain, in_chain) = self.flow("chain", &chain, selected);
        let in_chain = in_chain.map(|at| lines.len() + at);
        lines.extend(chain);
        let (then, in_then) = self.then(process, &family);
        let in_then = in_then.map(|at| lines.len() + at);
        lines.extend(then);
        lines.extend(self.named("files", &self.opened(), Style::new()));
        (lines, in_chain.or(in_then))
    }

    /// Whether the selected row leads to a process.
    fn is_selected(&self, process: &Process) -> bool {
        self.app.detail().row() == Some(Subject::Process(process.key))
    }

    /// The working directory, with its name: at the event if it has one, otherwise at the exec. A later chdir is not known.
    fn cwd(&self, process: &Process) -> (&'static str, String) {
        let at_event = self.event().and_then(|stored| match stored.event().ok()?.body {
            Body::Exec(exec) if exec.cwd.absent().is_none() && !exec.cwd.bytes.is_empty() => {
                let mut path = Vec::new();
                exec.cwd.write(&mut path);
                Some(safe(&path, self.theme))
            }
            _ => None,
        });
        match at_event {
            Some(path) => ("cwd", path),
            None if process.image.cwd.is_empty() => ("cwd", String::new()),
            None => ("cwd at start", safe(&process.image.cwd, self.theme)),
        }
    }

    /// How a process ended, and which processes it started.
    fn then(&self, process: &Process, family: &Family<'_>) -> Listed {
        let offset = self.app.world().clock_offset();
        let ended = match self.app.world().processes.get(process.key).map(|entry| entry.end) {
            None => "ended long ago".to_owned(),
            Some(None) => "still running".to_owned(),
            Some(Some(end)) => {
                let lived = duration(process.ran_ns(end.time));
                format!("{} after {lived}, at {}", ended(end.status), clock(end.time.0, offset, self.app))
            }
        };
        let mut texts = vec![(ended, "; started ")];
        texts.extend(family.children.iter().map(|entry| (self.child(entry), ", ")));
        texts.extend((family.more > 0).then(|| (format!("and {} more", grouped(family.more as u64)), "")));
        texts.iter_mut().last().into_iter().for_each(|(_, after)| *after = "");
        let selected = family.children.iter().position(|entry| self.is_selected(&entry.process));
        self.flow("then", &texts, selected.map(|at| at + 1))
    }

    fn child(&self, entry: &Entry) -> String {
        let name = safe(&entry.process.comm, self.theme);
        match entry.end {
            None => format!("{name} (running)"),
            Some(end) => {
                format!("{name} ({}, {})", ended(end.status), duration(entry.process.ran_ns(end.time)))
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
        let tries = match files.failed() {
            0 => String::new(),
            1 => ", 1 try that found nothing".to_owned(),
            tries => format!(", {} tries that found nothing", grouped(tries as u64)),
        };
        format!("{}{tries}{evicted}{looking}", counted(files.len() as u64, ["open", "opens"]))
    }

    /// The path of a file, or the one in its file system if it is not in the caller's mount namespace.
    fn place(&self, seen: &EventContext<'_>, names: Components<'_>, field: &str) -> String {
        match names.inside() {
            Some(_) => safe(&Value::Path(names).text().unwrap_or_default(), self.theme),
            None => self.value(seen, field),
        }
    }

    /// The kernel stack, if the event has one.
    fn stack_of(&self, seen: &EventContext<'_>) -> Vec<Line<'static>> {
        match crate::app::row::field(seen, "stack") {
            Value::Stack(stack) => self.stack(&stack, NAME),
            _ => Vec::new(),
        }
    }

    /// All fields of the event, with their names in filters.
    fn all_fields(&self, seen: &EventContext<'_>) -> Vec<Line<'static>> {
        let kind = seen.event.kind();
        let own = fields_of(kind).iter();
        let listed: Vec<&Field> = if kind == Kind::Lost { own.collect() } else { own.chain(COMMON).collect() };
        let mut values: Vec<(String, Value<'_>)> = Vec::new();
        for field in listed {
            match (field.get)(seen) {
                Value::Object => {
                    let sub = field.sub.iter();
                    values.extend(sub.map(|sub| (format!("{}.{}", field.name, sub.name), (sub.get)(seen))));
                }
                value => values.push((field.name.to_owned(), value)),
            }
        }
        values.retain(|(_, value)| !matches!(value, Value::Omitted | Value::Null));
        // All values begin in one column.
        let cells = values.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let cells = cells.min(self.width / 3).max(NAME);
        let lines = values.iter().flat_map(|(name, value)| match value {
            Value::Stack(stack) => self.stack(stack, cells),
            value => self.named_in(cells, name, &value_text(value, self.theme), Style::new()),
        });
        lines.collect()
    }

    /// The calls of a stack, one a line, with so many cells for the name.
    fn stack(&self, stack: &Stack<'_>, cells: usize) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        for call in stack.calls() {
            let mut text = Vec::new();
            call.write(&mut text);
            let name = if lines.is_empty() { "stack" } else { "" };
            lines.extend(self.named_in(cells, name, &safe(&text, self.theme), Style::new()));
        }
        if stack.is_cut() {
            lines.extend(self.named_in(cells, "", "(truncated)", Style::new()));
        }
        lines
    }

    /// The files, newest first. Only the visible ones are formatted.
    fn files(&self, extent: &mut Extent) -> Vec<Line<'static>> {
        let Some(files) = self.app.detail().files() else { return Vec::new() };
        let room = self.height.saturating_sub(1);
        let selected = match self.app.detail().row() {
            Some(Subject::Event(id)) => files.position(id).filter(|at| files.newest(*at) == Some(id)),
            _ => None,
        };
        place(extent, self.app.detail(), selected, files.len(), room);
        let mut lines = vec![Line::raw(format!(" {}, newest first", self.opened()))];
        for at in (extent.scroll..files.len()).take(room) {
            let stored = files.newest(at).and_then(|id| self.app.store().get(id));
            let Some(line) = stored.and_then(|stored| stored.with(self.app.world(), |seen| self.file(seen))) else {
                continue;
            };
            lines.push(self.row(line, selected == Some(at)));
        }
        lines
    }

    /// A row, as the lists draw it.
    fn row(&self, line: Line<'static>, is_selected: bool) -> Line<'static> {
        let width = u16::try_from(self.width).unwrap_or(u16::MAX);
        if is_selected { selected(&line, width, self.theme) } else { line }
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

    /// The ancestors of the process, oldest first, the process itself, and its children.
    fn parents(&self) -> Listed {
        let Some(process) = self.app.subject_process() else { return (Vec::new(), None) };
        let world = self.app.world();
        let family = self.app.family(&process);
        let own = family.ancestors.len();
        let above = family.ancestors.iter().copied().enumerate();
        let below = family.children.iter().map(|entry| (own + 1, &entry.process));
        let (mut lines, mut at) = (Vec::new(), None);
        for (depth, listed) in above.chain([(own, &process)]).chain(below) {
            let (state, lived) = match world.processes.get(listed.key).map(|entry| entry.end) {
                None => ("gone".to_owned(), String::new()),
                Some(None) => ("running".to_owned(), String::new()),
                Some(Some(end)) => (ended(end.status), duration(listed.ran_ns(end.time))),
            };
            let indent = " ".repeat(depth.min(20));
            let pid = listed.key.tgid.0;
            let text = format!(" {pid:>7} {state:<10} {lived:>7}  {indent}{}", command(listed, self.theme));
            let style = if depth == own { self.theme.strong() } else { Style::new() };
            let line = Line::styled(text::cut(&text, self.width, self.charset()), style);
            let is_selected = depth != own && self.is_selected(listed);
            at = if is_selected { Some(lines.len()) } else { at };
            lines.push(self.row(line, is_selected));
        }
        if family.more > 0 {
            lines.push(Line::styled(
                format!(" and {}", counted(family.more as u64, ["more child", "more children"])),
                self.theme.quiet(),
            ));
        }
        (lines, at)
    }
}

/// The error of a failed call, positive.
fn errno(seen: &EventContext<'_>) -> Option<i32> {
    let ret = match &seen.event.body {
        Body::Exec(exec) => exec.record.ret,
        Body::Open(open) => open.record.ret,
        _ => 0,
    };
    (ret < 0).then_some(ret.saturating_neg())
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
