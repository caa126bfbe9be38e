//! The tab Files: the files that the process opened.

use super::{NAME, Page, place, safe};
use crate::app::Extent;
use crate::app::keys::keymap::Action;
use crate::app::views::detail::Subject;
use crate::view::clock;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use tracetui_events::event::{EventContext, Takes, taking};
use tracetui_events::text::command::leaf;
use tracetui_events::text::{self, counted};

/// How many of the newest opens are grouped.
const NEWEST: usize = 512;

const GROUPS: [&str; 3] = ["project", "system", "locale"];

fn group_of(path: &[u8]) -> usize {
    const SYSTEM: [&[u8]; 8] = [b"/usr/", b"/lib", b"/etc/", b"/proc/", b"/sys/", b"/dev/", b"/bin/", b"/sbin/"];
    let has = |part: &[u8]| path.windows(part.len()).any(|at| at == part);
    match SYSTEM.iter().any(|start| path.starts_with(start)) {
        false => 0,
        true if has(b"/locale") || has(b"/gconv") => 2,
        true => 1,
    }
}

impl Page<'_> {
    pub(super) fn opened(&self) -> String {
        let Some(files) = &self.app.detail.files else { return String::new() };
        let looking = if self.app.detail.scanning(self.app.store()) { " so far" } else { "" };
        let evicted = if self.app.store().evicted() > 0 { ", among the kept events" } else { "" };
        let traced = self.app.is_traced(taking(Takes::Contents));
        let excerpt = self.app.pipeline.excerpt().is_some();
        if files.index.is_empty() && (!traced || excerpt) {
            let what = if excerpt { "this excerpt has none" } else { "opens are not traced" };
            return format!("unknown: {what}{looking}");
        }
        let tries = match files.index.marked() {
            0 => String::new(),
            tries => format!(", {}", counted(tries as u64, ["failed attempt", "failed attempts"])),
        };
        format!("{}{tries}{evicted}{looking}", counted(files.index.len() as u64, ["open", "opens"]))
    }

    /// The names of the files that the process opened last, by group: a block of the tab Why.
    pub(super) fn file_groups(&self) -> Vec<Line<'static>> {
        let Some(files) = &self.app.detail.files else { return Vec::new() };
        let mut groups = GROUPS.map(|_| Vec::<String>::new());
        for at in (0..files.index.len().min(NEWEST)).rev() {
            let stored = files.newest(at).and_then(|id| self.app.store().get(id)).filter(|stored| !stored.failed);
            let Some(file) = stored.and_then(|stored| stored.event().ok()?.body.file()) else { continue };
            let mut path = Vec::new();
            file.write(&mut path);
            let (group, name) = (group_of(&path), safe(leaf(path.strip_suffix(b"/").unwrap_or(&path)), self.theme));
            if !groups[group].contains(&name) {
                groups[group].push(name);
            }
        }
        let rule = |cells: usize| self.theme.line().repeat(cells);
        let (title, end) = (format!(" Files {} {} ", rule(2), self.opened()), self.app.key_of(Action::NextTab));
        let end = if files.index.is_empty() { String::new() } else { format!(" {end}: list ") };
        let room = self.width.saturating_sub(text::width(&title) + text::width(&end) + 4);
        let title = format!("{}{title}{}{end}{}", rule(2), rule(room), rule(2));
        let mut lines = vec![Line::styled(text::cut(&title, self.width, self.theme.charset), self.theme.quiet())];
        for (group, names) in GROUPS.iter().zip(groups).filter(|(_, names)| !names.is_empty()) {
            let text = text::cut(&names.join("  "), self.width.saturating_sub(NAME + 3), self.theme.charset);
            lines.extend(self.named_lines(group, &text, Style::new()));
        }
        lines
    }

    /// The files, newest first. Only visible ones are formatted.
    pub(super) fn files(&self, extent: &mut Extent) -> Vec<Line<'static>> {
        let Some(files) = &self.app.detail.files else { return Vec::new() };
        let room = self.height.saturating_sub(1);
        let selected = match self.app.detail.row {
            Some(Subject::Event(id)) => files.position(id).filter(|at| files.newest(*at) == Some(id)),
            _ => None,
        };
        place(extent, &self.app.detail, selected, files.index.len(), room);
        let mut lines = vec![Line::raw(format!(" {}, newest first", self.opened()))];
        for at in (extent.scroll..files.index.len()).take(room) {
            let stored = files.newest(at).and_then(|id| self.app.store().get(id));
            let Some(line) = stored.and_then(|stored| stored.with(self.app.world(), |seen| self.file(seen))) else {
                continue;
            };
            lines.push(self.row(line, selected == Some(at)));
        }
        lines
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
            Span::styled(text::left(&safe(&result, self.theme), 8, self.theme.charset), style),
            Span::raw(format!(" {}", text::cut_middle(&safe(&detail, self.theme), room, self.theme.charset))),
        ])
    }
}
