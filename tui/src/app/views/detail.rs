//! The detail pane: its subject, the open tab, and the files of its process.

pub(crate) mod actions;
pub(crate) mod reasons;

use crate::app::named_enum::named;
use tracetui_events::event::process::ProcessKey;
use tracetui_events::event::{Takes, takes};
use tracetui_events::search::Related;
use tracetui_events::store::index::{Answer, Index};
use tracetui_events::store::{Id, Store, Stored};
use tracetui_shared::kind::Kind;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Size {
    /// The lower half, or the right side of a wide screen.
    Part,
    Full,
}

named! {
    #[derive(Default)]
    enum Tab title {
        /// The answer, the event and its process.
        #[default]
        Why "Why",
        Files "Files",
        Parents "Parents",
        Raw "Raw",
        /// What the program's exec changed in the environment.
        Env "Env",
    }
}

/// The subject of the pane, or the target of one of its rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    /// An event and its process.
    Event(Id),
    Process(ProcessKey),
}

/// How many of the newest events the first scan for files examines.
const FIRST: usize = 4_000;

const JOINED: usize = 16;

/// The maximum number of steps back.
const STEPS: usize = 64;

/// The state of the pane before it went to another subject.
#[derive(Debug)]
struct Step {
    of: Option<Id>,
    subject: Option<Subject>,
    tab: Tab,
    row: Option<Subject>,
}

#[derive(Debug, Default)]
pub(crate) struct Detail {
    /// `None` if the pane is closed.
    pub(crate) size: Option<Size>,
    pub tab: Tab,
    /// The scroll offset, in lines.
    pub scroll: usize,
    /// The event selected in the list. The subject, the steps and the row are dropped when the selection moves to another event.
    pub(crate) of: Option<Id>,
    /// The subject, if it is not the selected event.
    subject: Option<Subject>,
    steps: Vec<Step>,
    /// The target of the selected row.
    pub(crate) row: Option<Subject>,
    /// Whether the selected row is kept on the screen, because the user has not scrolled since selecting it.
    pub(crate) reveals: bool,
    /// Whether the pane was drawn since the row was selected.
    drawn: bool,
    /// Whether the selected row was scrolled out of the pane.
    pub(crate) row_hidden: bool,
    pub(crate) files: Option<Files>,
    joined: Option<Joined>,
}

impl Detail {
    /// Opens the pane; a second call enlarges it to the whole body.
    pub(crate) fn open(&mut self) {
        self.size = Some(if self.size.is_some() { Size::Full } else { Size::Part });
        self.scroll = 0;
    }

    /// Goes one step back: unselects the row, returns to the previous subject, or shrinks the pane. `selected`: the event selected in the
    /// list. If it is not the event of the pane, the row and the steps are dropped first. `false` if the pane is closed.
    pub(crate) fn back(&mut self, selected: Option<Id>) -> bool {
        self.belong_to(selected);
        if self.row.take().is_some() {
            return true;
        }
        if let Some(step) = self.steps.pop() {
            (self.of, self.subject, self.tab) = (step.of, step.subject, step.tab);
            self.scroll = 0;
            if let Some(row) = step.row {
                self.select(row);
            }
            return true;
        }
        let was_open = self.size.is_some();
        self.size = match self.size {
            Some(Size::Full) => Some(Size::Part),
            _ => None,
        };
        if self.size.is_none() {
            self.files = None;
        }
        was_open
    }

    pub(crate) fn close(&mut self) {
        *self = Detail { tab: self.tab, ..Detail::default() };
    }

    pub(crate) fn show(&mut self, tab: Tab) {
        self.tab = tab;
        self.scroll = 0;
        self.row = None;
    }

    /// Returns to the selected event, if that is a different one than before.
    pub(crate) fn belong_to(&mut self, selected: Option<Id>) {
        if self.of != selected {
            self.of = selected;
            self.return_to_event();
        }
    }

    pub(crate) fn return_to_event(&mut self) {
        self.subject = None;
        self.steps.clear();
        self.row = None;
    }

    /// The subject while this event is selected. `None` if no event is selected.
    pub(crate) fn subject(&self, selected: Option<Id>) -> Option<Subject> {
        let event = Subject::Event(selected?);
        Some(if self.of == selected { self.subject.unwrap_or(event) } else { event })
    }

    /// Goes to another subject. `of`: the event selected in the list now.
    pub(crate) fn go(&mut self, to: Subject, of: Option<Id>) {
        if self.steps.len() == STEPS {
            self.steps.remove(0);
        }
        self.steps.push(Step { of: self.of, subject: self.subject, tab: self.tab, row: self.row });
        self.of = of;
        self.subject = Some(to);
        self.row = None;
        self.scroll = 0;
    }

    /// Whether a step back remains before the pane shrinks.
    pub(crate) fn has_steps(&self) -> bool {
        self.row.is_some() || !self.steps.is_empty()
    }

    pub(crate) fn select(&mut self, row: Subject) {
        self.row = Some(row);
        self.reveals = true;
        self.drawn = false;
        self.row_hidden = false;
    }

    /// Scrolls to a line. The selected row may leave the screen, unless it has not been drawn yet.
    pub(crate) fn scroll_to(&mut self, line: usize) {
        if self.row.is_none() || self.drawn {
            self.scroll = line;
            self.reveals = false;
        }
    }

    pub(crate) fn scroll_by(&mut self, lines: isize, most: usize) {
        self.scroll_to(self.scroll.min(most).saturating_add_signed(lines).min(most));
    }

    /// Stores the result of drawing: the scroll offset, and whether the selected row is off the screen.
    pub(crate) fn drew(&mut self, scroll: usize, row_hidden: bool) {
        self.scroll = scroll;
        self.drawn = true;
        self.row_hidden = row_hidden;
    }

    /// Selects the process whose files are listed.
    pub(crate) fn about(&mut self, process: Option<ProcessKey>, store: &Store) {
        let wanted = process.filter(|_| self.size.is_some());
        if self.files.as_ref().map(|files| files.process) == wanted {
            return;
        }
        self.scroll = 0;
        self.files = wanted.map(|process| Files { process, exit: None, index: Index::new(store) });
        // Fills the first screen at once.
        self.scan(store, FIRST);
    }

    /// Selects the connection or the file whose events are listed.
    pub(crate) fn join(&mut self, wanted: Option<Related>, store: &Store) {
        match (&self.joined, wanted) {
            (Some(shown), Some(wanted)) if shown.of.is_same(&wanted) => {}
            (None, None) => {}
            (_, wanted) => {
                self.joined = wanted.map(|of| Joined { of, index: Index::new(store) });
                self.scan(store, FIRST);
            }
        }
    }

    /// The other events of the connection or file in the pane, oldest first, and whether each is about the other end of the
    /// connection.
    pub(crate) fn joined(&self) -> impl DoubleEndedIterator<Item = (Id, bool)> {
        let own = self.subject(self.of);
        let ids = self.joined.iter().flat_map(|joined| {
            let ids = (0..joined.index.len()).take(JOINED).filter_map(|at| joined.index.get(at));
            ids.map(|id| (id, joined.index.is_marked(id)))
        });
        ids.filter(move |(id, _)| own != Some(Subject::Event(*id)))
    }

    pub(crate) fn append(&mut self, stored: &Stored<'_>) {
        if let Some(files) = &mut self.files {
            let answer = opened(files.process, &mut files.exit, stored);
            files.index.append(stored.id, answer);
            // The newest file is at the top. The selected row keeps its place on the screen.
            self.scroll += usize::from(answer != Answer::No && self.row.is_some() && self.tab == Tab::Files);
        }
        if let Some(Joined { of, index }) = &mut self.joined {
            index.append(stored.id, of.answer(stored));
        }
    }

    pub(crate) fn evict(&mut self, store: &Store) {
        let files = self.files.iter_mut().map(|files| &mut files.index);
        files.chain(self.joined.iter_mut().map(|joined| &mut joined.index)).for_each(|index| index.evict(store));
    }

    /// Continues the search for files, and for the events of a connection or file.
    pub(crate) fn scan(&mut self, store: &Store, budget: usize) {
        if let Some(files) = &mut self.files {
            let Files { process, exit, index } = files;
            index.scan(store, budget, |stored| opened(*process, exit, stored));
        }
        if let Some(Joined { of, index }) = &mut self.joined {
            index.scan(store, budget, |stored| of.answer(stored));
        }
    }

    /// Whether the search for the events of a connection or file is still running.
    pub(crate) fn joining(&self, store: &Store) -> bool {
        self.joined.as_ref().is_some_and(|joined| joined.index.scanning(store))
    }

    pub(crate) fn scanning(&self, store: &Store) -> bool {
        self.files.as_ref().is_some_and(|files| files.index.scanning(store)) || self.joining(store)
    }
}

/// The opens of a process among the kept events, and its exit. Failed opens are marked.
#[derive(Debug)]
pub(crate) struct Files {
    process: ProcessKey,
    pub(crate) exit: Option<Id>,
    pub(crate) index: Index,
}

impl Files {
    /// The position of an open, or of the nearest remaining one. Position 0 is the newest.
    pub(crate) fn position(&self, id: Id) -> Option<usize> {
        let last = self.index.len().checked_sub(1)?;
        Some(last - self.index.place(id).min(last))
    }

    /// The event of an open. Position 0 is the newest.
    pub(crate) fn newest(&self, at: usize) -> Option<Id> {
        self.index.len().checked_sub(at + 1).and_then(|at| self.index.get(at))
    }
}

/// The kept events of a connection or file. Those of the other end of the connection are marked.
#[derive(Debug)]
struct Joined {
    of: Related,
    index: Index,
}

fn opened(process: ProcessKey, exit: &mut Option<Id>, stored: &Stored<'_>) -> Answer {
    let its = stored.process.is_some_and(|p| p.key == process);
    *exit = exit.or((its && stored.kind == Kind::Exit).then_some(stored.id));
    match (its && takes(stored.kind) == Takes::Contents, stored.failed) {
        (false, _) => Answer::No,
        (true, false) => Answer::Yes,
        (true, true) => Answer::Marked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracetui_shared::id::Tgid;
    use tracetui_shared::time::BootNanos;

    #[test]
    fn steps_back_lead_where_one_was_and_are_bounded() {
        let process = |tgid| Subject::Process(ProcessKey { tgid: Tgid(tgid), start: BootNanos(1) });
        let event = Some(Id::default());
        let mut detail = Detail::default();
        detail.open();
        detail.belong_to(event);
        detail.show(Tab::Parents);
        detail.select(process(1));
        detail.go(process(1), event);
        detail.go(process(2), event);
        assert_eq!((detail.subject(event), detail.row), (Some(process(2)), None));
        assert!(detail.back(event));
        assert_eq!(detail.subject(event), Some(process(1)));
        detail.show(Tab::Raw);
        assert!(detail.back(event));
        assert_eq!((detail.tab, detail.row), (Tab::Parents, Some(process(1))));
        assert_eq!(detail.subject(event), Some(Subject::Event(Id::default())));
        assert!(detail.back(event) && detail.row.is_none() && detail.size.is_some());
        // When another event is selected, the pane shows that event's process.
        detail.go(process(1), event);
        assert!(detail.back(None) && detail.size.is_none());
        assert!(!detail.back(None));
        let mut detail = Detail::default();
        detail.open();
        for _ in 0..STEPS * 2 {
            detail.go(Subject::Event(Id::default()), None);
        }
        assert_eq!(detail.steps.len(), STEPS);
    }
}
