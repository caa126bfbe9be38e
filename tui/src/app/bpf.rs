//! The actions of the BPF view on the rest of the state.

use super::App;
use super::keymap::Action;
use super::search::Pattern;
use super::views::View;
use super::views::bpf::Bpf;
use super::views::detail::Size;
use tracetui_shared::id::ProgId;

impl App {
    /// Performs an action that has another meaning in the BPF view; `false` if it has not.
    pub(super) fn act_on_bpf(&mut self, action: Action) -> bool {
        self.prepare();
        let full = self.detail.size() == Some(Size::Full);
        match action {
            Action::Enter if self.bpf.rows().is_empty() => self.say("nothing is selected"),
            Action::Enter => {
                self.bpf.stay(self.now);
                self.detail.open();
            }
            Action::BpfEvents => self.show_program(),
            // The pane of a program has no tabs.
            Action::NextTab => self.show(self.view.current.step(1)),
            Action::PreviousTab => self.show(self.view.current.step(View::ALL.len() - 1)),
            Action::Why | Action::ToParent => self.say("this is for events"),
            Action::EditFilter
            | Action::Failures
            | Action::OnlyTree
            | Action::OnlyComm
            | Action::OnlyDir
            | Action::NotComm
            | Action::OnlyUser
            | Action::Toggle(_) => {
                self.say(format!("filters are for events; {} finds a row here", self.key_of(Action::Search)))
            }
            Action::PageUp | Action::PageDown | Action::HalfUp | Action::HalfDown if full => return false,
            Action::Follow => {
                self.bpf.follow();
                if self.replay.is_some() {
                    return false;
                }
                self.events.follow();
            }
            Action::Next | Action::Previous if self.search.pattern().is_some() => {
                self.find_in_bpf(action == Action::Next, false);
            }
            action => {
                let done = self.bpf.act(action, self.list_height(), self.now);
                if matches!(action, Action::BpfSort | Action::BpfReverse) {
                    let (order, reverse) = self.bpf.order();
                    self.say(format!("sorted by {}{}", order.name(), if reverse { ", reversed" } else { "" }));
                } else if action == Action::BpfGone {
                    let how = if self.bpf.hides_gone() { "hidden" } else { "shown, after what is there" };
                    self.say(format!("what is gone is {how}"));
                } else if done {
                    if self.detail.size().is_some() {
                        self.bpf.stay(self.now);
                    }
                    self.detail.scroll = 0;
                }
                return done;
            }
        }
        true
    }

    /// Shows the events of the selected program.
    fn show_program(&mut self) {
        let id = match self.bpf.selected(self.pipeline.world()).map(|seen| seen.id) {
            None => return self.say("nothing is selected"),
            Some(ProgId(0)) => return self.say("the id of the program is not known"),
            Some(ProgId(id)) => id,
        };
        let part = format!("prog.id={id}");
        self.bpf.stay(self.now);
        self.show_events(|filter, world| filter.add_in_place("prog.id=", &part, world));
    }

    pub(super) fn find_in_bpf(&mut self, down: bool, here: bool) {
        let Some(Pattern::Text(pattern)) = self.search.pattern().cloned() else {
            return self.say("here, search for text: an id, a name or a part of the attach point");
        };
        let world = self.pipeline.world();
        let matches =
            |bpf: &Bpf, key| bpf.seen(key, world).is_some_and(|seen| pattern.is_match(seen.line().as_bytes()));
        if !self.bpf.find(down, here, self.now, matches) {
            self.say("no match");
        }
    }
}
