//! The line in which a filter, a search, a time or the name of a recording is typed.

pub(crate) mod completion;
pub(crate) mod line;

use self::completion::Completion;
use self::line::{Edited, History, Line};
use super::App;
use super::keys::device::KeyCode;
use super::keys::keymap::{Action, Press};
use super::time::Aim;
use super::views::View;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    Filter,
    Search,
    Time,
    /// The name of a recording to compare with.
    Compare,
    Help,
}

impl Purpose {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Purpose::Filter => "filter> ",
            Purpose::Search => "/",
            Purpose::Time => "go to time> ",
            Purpose::Compare => "compare with> ",
            Purpose::Help => "search the help> ",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Prompt {
    pub purpose: Purpose,
    pub line: Line,
    pub completion: Option<Completion>,
    /// What can complete the text as it was typed.
    pub offers: Option<Completion>,
}

impl App {
    pub(super) fn ask(&mut self, purpose: Purpose, text: &str) {
        self.prompt = Some(Prompt { purpose, line: Line::new(text), completion: None, offers: None });
    }

    /// The line that is typed for a purpose; `None` if there is no such line.
    pub(crate) fn line_for(&self, purpose: Purpose) -> Option<&Line> {
        self.prompt.as_ref().filter(|prompt| prompt.purpose == purpose).map(|prompt| &prompt.line)
    }

    /// Finds what can complete the filter being typed, before the screen is drawn.
    pub(super) fn offer(&mut self) {
        if let Some(prompt) = self.prompt.as_mut().filter(|prompt| prompt.purpose == Purpose::Filter) {
            prompt.offers = Completion::of(prompt.line.parts().0, &self.store, self.pipeline.world());
        }
    }

    pub(crate) fn completion(&self) -> Option<&Completion> {
        self.prompt.as_ref()?.completion.as_ref()
    }

    pub(super) fn typed(&mut self, press: Press) {
        let no_history = History::default();
        let Some(Prompt { purpose, line, completion, .. }) = &mut self.prompt else { return };
        let purpose = *purpose;
        let history = match purpose {
            Purpose::Filter => &self.filter.history,
            Purpose::Search => &self.search.history,
            Purpose::Time => &self.time.history,
            Purpose::Compare => &self.views.diff.history,
            Purpose::Help => &no_history,
        };
        let edited = match (press.code, completion.take()) {
            (KeyCode::Tab | KeyCode::BackTab, completion) if purpose == Purpose::Filter => {
                return self.complete(completion, press.code == KeyCode::Tab);
            }
            (KeyCode::Esc, Some(completion)) => {
                line.replace(completion.start, &completion.typed);
                Edited::Changed
            }
            _ => line.key(press, history),
        };
        let text = line.text();
        match edited {
            Edited::Same => {}
            Edited::Changed => self.take_text(purpose, &text),
            Edited::Done => self.entered(purpose, &text),
            Edited::Cancelled => self.cancel(purpose),
        }
        if purpose == Purpose::Search {
            self.search_typed();
        }
    }

    fn take_text(&mut self, purpose: Purpose, text: &str) {
        match purpose {
            Purpose::Filter => {
                let change = self.filter.typed(text, self.pipeline.world());
                self.changed(Ok(change));
            }
            Purpose::Search => self.search.typed(text, self.pipeline.world()),
            Purpose::Help => text.clone_into(&mut self.screen.help),
            Purpose::Time | Purpose::Compare => {}
        }
    }

    /// Takes a finished text. A wrong one stays in the line to be corrected.
    fn entered(&mut self, purpose: Purpose, text: &str) {
        match purpose {
            Purpose::Filter if self.filter.error.is_some() => {}
            Purpose::Filter => {
                self.filter.history.add(&self.filter.text());
                self.prompt = None;
            }
            Purpose::Search => {
                self.prompt = None;
                self.search.entered(text, self.pipeline.world());
            }
            Purpose::Time => self.entered_time(text),
            Purpose::Compare => {
                self.prompt = None;
                self.views.diff.history.add(text);
                if !text.is_empty() {
                    self.compare_with(text.to_owned());
                }
            }
            Purpose::Help => self.prompt = None,
        }
    }

    fn entered_time(&mut self, text: &str) {
        let aim = Aim::parse(text);
        if aim.is_none() && !text.trim().is_empty() {
            return self.notify(format!(
                "invalid time {text}; write 14:02:11, 2026-11-20 14:02:11, 3:12, 0.05, 1h 5m, -20s or 99%"
            ));
        }
        self.prompt = None;
        let Some(aim) = aim else { return };
        self.time.history.add(text);
        self.go_to_time(aim);
    }

    fn cancel(&mut self, purpose: Purpose) {
        self.prompt = None;
        match purpose {
            Purpose::Filter => {
                let change = self.filter.revert(self.pipeline.world());
                self.changed(Ok(change));
            }
            Purpose::Search => _ = self.search.clear(),
            Purpose::Help => self.screen.help.clear(),
            Purpose::Time | Purpose::Compare => {}
        }
    }

    /// Completes the text before the cursor as far as that is unambiguous, or inserts another offer.
    fn complete(&mut self, known: Option<Completion>, next: bool) {
        let Some(Prompt { purpose, line, completion, .. }) = &mut self.prompt else { return };
        let found = match known {
            Some(mut known) => {
                known.step(next);
                Some(known)
            }
            None => Completion::of(line.parts().0, &self.store, self.pipeline.world()),
        };
        let Some(found) = found else { return self.notify("no completions") };
        *completion = found.insert(line);
        let (purpose, text) = (*purpose, line.text());
        self.take_text(purpose, &text);
    }

    /// Inserts pasted text into a line being typed. Elsewhere its characters do not act as keys. Returns whether the screen changes.
    pub(super) fn paste(&mut self, text: &str) -> bool {
        if self.types() {
            let bytes = self.output.as_ref().map(|output| output.paste(text)).unwrap_or_default();
            self.send(bytes);
            return false;
        }
        self.screen.clear_message();
        if let Some(Prompt { purpose, line, completion, .. }) = &mut self.prompt {
            let fits = line.paste(text);
            *completion = None;
            let (purpose, text) = (*purpose, line.text());
            self.take_text(purpose, &text);
            if !fits {
                self.notify("the pasted text is too long");
            }
            if purpose == Purpose::Search {
                self.search_typed();
            }
        } else {
            let (filter, search) = (self.key_of(Action::EditFilter), self.key_of(Action::Search));
            self.notify(format!("press {filter} or {search} first to paste into a filter or a search"));
        }
        true
    }

    /// Selects the first match of a search that is being typed.
    fn search_typed(&mut self) {
        match self.views.shown {
            View::Events => _ = self.work(),
            _ => {
                self.search.stop();
                self.find_in_view(true, true);
            }
        }
    }
}
