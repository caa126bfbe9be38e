//! The screen when COMMAND has failed, and when a recording of such a COMMAND opens: the failures, with the cause selected.

use super::keys::keymap::Action;
use super::views::View;
use super::{App, Failures};
use tracetui_events::store::Id;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Verdict {
    /// COMMAND runs, or its exit was not delivered yet.
    #[default]
    Awaited,
    Shown,
    /// The user was doing something else, or has left it. There is none for a COMMAND that succeeded.
    Over,
}

impl App {
    /// Shows the verdict once COMMAND has ended, unless the user is doing something else.
    pub(super) fn settle_verdict(&mut self) {
        if self.verdict != Verdict::Awaited {
            return;
        }
        let tree = &self.views.tree;
        let ended = self.summary.process.and_then(|process| tree.process(process)).filter(|seen| seen.end.is_some());
        let known = self.output.as_ref().is_some_and(|output| output.ended.is_some());
        let Some(process) = ended.filter(|_| known || self.replay.is_some() && self.loaded().all()) else { return };
        let (failed, line) = (process.failed(), tree.cause(&process).1);
        let of = line.last().unwrap_or(&process);
        // Processes may have continued after failures, as those of `make -k` do.
        let first = tree.first_failed(&process).filter(|_| of.failure().is_none());
        let of = first.as_ref().unwrap_or(of);
        let exit = of.end.and_then(|end| end.id);
        // An optional call is not among the failures.
        let listed = |id: &Id| self.store.get(*id).is_some_and(|stored| !stored.answered);
        let shows = of.failure().map(|failure| failure.id).filter(listed).or(exit).filter(|_| failed);
        self.verdict = Verdict::Over;
        if let Some(id) = shows.filter(|_| self.is_idle()) {
            self.verdict = Verdict::Shown;
            self.screen.failures = Failures::Unanswered;
            self.replay.iter_mut().for_each(|replay| replay.transport.arrive());
            self.refilter();
            self.events.select(id, self.list_height(), &self.store);
            self.explain(id);
            let key = |action| self.key_of(action);
            let (all, output, again) = (key(Action::Back), key(Action::Output), key(Action::RunAgain));
            self.notify(match self.replay {
                Some(_) => format!("{all}: all events, {output}: the output"),
                None => format!("{all}: all events, {output}: the output, {again}: run it again"),
            });
        }
    }

    /// Whether the screen is as it was at the start, and follows the newest event.
    fn is_idle(&self) -> bool {
        let list = self.views.shown == View::Events
            && self.screen.failures == Failures::Off
            && self.filter.text() == self.settings.filter
            && (self.events.follows && !self.events.paused() || self.replay.is_some());
        list && self.screen.overlay.is_none() && self.prompt.is_none() && self.detail.size.is_none()
    }

    /// Leaves the verdict: shows all events, and keeps the cause selected.
    pub(super) fn leave_verdict(&mut self) -> bool {
        let shown = std::mem::replace(&mut self.verdict, Verdict::Over) == Verdict::Shown;
        let leaves = shown && self.views.shown == View::Events && self.screen.failures == Failures::Unanswered;
        if leaves {
            self.screen.failures = Failures::Off;
            self.detail.close();
            self.refilter();
        }
        leaves
    }
}
