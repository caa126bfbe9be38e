//! Copies the selected row to the terminal's clipboard.

use super::Wrap;
use crate::app::views::View;
use crate::app::views::detail::Subject;
use crate::app::views::event_list::row;
use crate::app::views::event_list::row::TimeBase;
use crate::app::{App, Effect, copy};
use tracetui_events::text::grouped;

impl App {
    pub(in crate::app) fn copy_line(&mut self) {
        if let Some((text, what)) = self.in_view(|view, context| view.copied(context)) {
            return self.copy(text, what);
        }
        let base = TimeBase::of(self, 0);
        let line = self.aimed_at().and_then(|id| self.store.get(id)).and_then(|stored| {
            // The list's remark beside the row: its group, and its search.
            let found = self.found_in_hidden(stored.id).map(|dir| copy::line(&dir));
            let remarks = self.events.remarks(stored.id, found.as_deref());
            let remark = remarks.first().map(|remark| format!("  {remark}"));
            let ended = stored.ended().and_then(|process| self.views.tree.process(process.key));
            let cause = ended.and_then(|ended| self.cause_in_row(&ended));
            let cause = cause.map(|([whole, _], _)| format!("  {}", copy::line(&whole)));
            stored.with(self.world(), |seen| {
                let mut out = Vec::new();
                row::line(seen, &base, &mut out);
                copy::line(&out) + &cause.unwrap_or_default() + &remark.unwrap_or_default()
            })
        });
        self.copy(line, "line");
    }

    pub(in crate::app) fn copy_json(&mut self) {
        let id = (self.views.shown == View::Events).then(|| self.aimed_at()).flatten();
        let text = id.and_then(|id| self.store.get(id)).and_then(|stored| stored.with(self.world(), copy::json));
        self.copy(text, "event as JSON");
    }

    pub(in crate::app) fn copy_command(&mut self) {
        let subject = match self.detail.subject(self.events.selected()) {
            Some(Subject::Event(id)) if Some(id) == self.events.selected() => self.aimed_at().map(Subject::Event),
            subject => subject,
        };
        let of_event = |id| self.store.get(id)?.with(self.world(), copy::command)?;
        let command = match subject {
            _ if matches!(self.views.shown, View::Top | View::Bpf | View::Diff) => None,
            _ if self.views.shown == View::Tree => {
                // The row shows parts of the event. The copy has all of it, and its redirections.
                self.views.tree.selected().and_then(|seen| {
                    let exec = seen.failed_exec.map(|tried| tried.failure.id).or(seen.exec);
                    exec.and_then(of_event).or_else(|| copy::command_of(seen.process))
                })
            }
            Some(Subject::Event(id)) => of_event(id),
            Some(Subject::Process(_)) => self.subject_process().and_then(|process| copy::command_of(&process)),
            None => None,
        };
        self.copy(command, "whole command");
    }

    fn copy(&mut self, text: Option<String>, what: &str) {
        let said = match text {
            None => format!("no {what} to copy"),
            // A truncated command is a different command, so a text that is too long is not copied.
            Some(text) if text.len() > copy::MOST => {
                format!("the {what} is too long for the clipboard: {} KiB", text.len() >> 10)
            }
            Some(text) => {
                let bytes = grouped(text.len() as u64);
                let to = match self.screen.wrap {
                    Wrap::None => "the terminal's clipboard (OSC 52)",
                    Wrap::Screen => "screen (OSC 52)",
                    Wrap::Tmux => "tmux (OSC 52), which needs set-clipboard on",
                };
                self.effects.push(Effect::Copy(text.into_bytes()));
                format!("{what} sent to {to}: {bytes} bytes")
            }
        };
        self.notify(said);
    }
}
