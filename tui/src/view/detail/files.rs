//! The tab Files: the files that the process opened.

use super::{Page, place, safe};
use crate::app::Extent;
use crate::app::views::detail::Subject;
use crate::view::clock;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use tracetui_events::event::EventContext;
use tracetui_events::text::{self, counted};
use tracetui_shared::kind::Kind;

impl Page<'_> {
    pub(super) fn opened(&self) -> String {
        let Some(files) = &self.app.detail.files else { return String::new() };
        let looking = if self.app.detail.scanning(self.app.store()) { " so far" } else { "" };
        let evicted = if self.app.store().evicted() > 0 { ", among the kept events" } else { "" };
        let traced = self.app.is_traced(Kind::Open);
        let excerpt = self.app.pipeline.excerpt().is_some();
        if files.is_empty() && (!traced || excerpt) {
            let what = if excerpt { "this excerpt has none" } else { "opens are not traced" };
            return format!("unknown: {what}{looking}");
        }
        let tries = match files.failed() {
            0 => String::new(),
            tries => format!(", {}", counted(tries as u64, ["failed attempt", "failed attempts"])),
        };
        format!("{}{tries}{evicted}{looking}", counted(files.len() as u64, ["open", "opens"]))
    }

    /// The files, newest first. Only visible ones are formatted.
    pub(super) fn files(&self, extent: &mut Extent) -> Vec<Line<'static>> {
        let Some(files) = &self.app.detail.files else { return Vec::new() };
        let room = self.height.saturating_sub(1);
        let selected = match self.app.detail.row() {
            Some(Subject::Event(id)) => files.position(id).filter(|at| files.newest(*at) == Some(id)),
            _ => None,
        };
        place(extent, &self.app.detail, selected, files.len(), room);
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
}
