//! The tab Parents: the ancestors and children of the process.

use super::{Listed, Page, command, ended};
use crate::app::views::detail::actions::Family;
use crate::view::duration;
use ratatui::style::Style;
use ratatui::text::Line;
use tracetui_events::text;
use tracetui_events::text::counted;

impl Page<'_> {
    /// The ancestors of the process, oldest first, the process itself, and its children.
    pub(super) fn parents(&self) -> Listed {
        let Some(process) = self.app.subject_process() else { return (Vec::new(), None) };
        let world = self.app.world();
        let family = Family::of(&process, &world.processes);
        let own = family.ancestors.len();
        let above = family.ancestors.iter().copied().enumerate();
        let below = family.children.iter().map(|entry| (own + 1, &entry.process));
        let (mut lines, mut at) = (Vec::new(), None);
        for (depth, listed) in above.chain([(own, &process)]).chain(below) {
            let (state, lived) = match world.processes.get(listed.key).map(|entry| entry.end) {
                None => ("gone".to_owned(), String::new()),
                Some(None) => (self.app.without_end().to_owned(), String::new()),
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
