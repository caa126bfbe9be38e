//! The detail pane: its subject, the open tab, and the files of its process.

use crate::event::process::ProcessKey;
use crate::store::index::{Answer, Index};
use crate::store::{Id, Store, Stored};
use tracetui_shared::kind::Kind;

/// The size of the pane.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Size {
    /// The lower half, or the right side of a wide screen.
    Part,
    /// All of the body.
    Full,
}

/// The tabs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Tab {
    /// The event and its process.
    #[default]
    Info,
    /// The files that the process opened.
    Files,
    /// The ancestors of the process, and its children.
    Parents,
    /// Every field.
    Raw,
}

impl Tab {
    /// Every tab, in order.
    pub const ALL: [Tab; 4] = [Tab::Info, Tab::Files, Tab::Parents, Tab::Raw];

    /// The title.
    pub fn title(self) -> &'static str {
        match self {
            Tab::Info => "Info",
            Tab::Files => "Files",
            Tab::Parents => "Parents",
            Tab::Raw => "Raw",
        }
    }

    /// The tab that is `by` positions further.
    pub fn step(self, by: usize) -> Tab {
        let at = Tab::ALL.iter().position(|tab| *tab == self).unwrap_or_default();
        Tab::ALL[(at + by) % Tab::ALL.len()]
    }
}

/// The subject of the pane, or what a row of it leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// An event and its process.
    Event(Id),
    /// A process.
    Process(ProcessKey),
}

/// The newest events among which files are looked for at once.
const FIRST: usize = 4_000;

/// The steps back that are kept.
const STEPS: usize = 64;

/// What the pane was before it went to another subject.
#[derive(Debug)]
struct Step {
    of: Option<Id>,
    subject: Option<Subject>,
    tab: Tab,
    row: Option<Subject>,
}

/// The pane.
#[derive(Debug, Default)]
pub struct Detail {
    size: Option<Size>,
    /// The open tab.
    pub tab: Tab,
    /// The scroll offset, in lines.
    pub scroll: usize,
    /// The event that is selected in the list. The subject, the steps and the row are forgotten when it is another one.
    of: Option<Id>,
    /// The subject, if the pane went to another one than that event.
    subject: Option<Subject>,
    steps: Vec<Step>,
    /// What the selected row leads to.
    row: Option<Subject>,
    /// Whether the selected row is kept on the screen: the user did not scroll since it was selected.
    reveals: bool,
    /// Whether it was drawn since it was selected.
    drawn: bool,
    /// Whether the selected row was scrolled out of the pane.
    row_hidden: bool,
    files: Option<Files>,
}

impl Detail {
    /// The size; `None` if the pane is closed.
    pub fn size(&self) -> Option<Size> {
        self.size
    }

    /// Opens the pane; a second call enlarges it to the whole body.
    pub fn open(&mut self) {
        self.size = Some(if self.size.is_some() { Size::Full } else { Size::Part });
        self.scroll = 0;
    }

    /// Goes one step back, if this event is selected: unselects the row, returns to the subject before, or makes the pane smaller.
    /// `false` if it is closed.
    pub fn back(&mut self, selected: Option<Id>) -> bool {
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

    /// Closes the pane and keeps its tab.
    pub fn close(&mut self) {
        *self = Detail { tab: self.tab, ..Detail::default() };
    }

    /// Shows another tab.
    pub fn show(&mut self, tab: Tab) {
        self.tab = tab;
        self.scroll = 0;
        self.row = None;
    }

    /// The event that is selected in the list behind the pane.
    pub fn of(&self) -> Option<Id> {
        self.of
    }

    /// Returns to the selected event, if that is another one than before.
    pub fn belong_to(&mut self, selected: Option<Id>) {
        if self.of != selected {
            self.of = selected;
            self.return_to_event();
        }
    }

    /// Returns to the selected event.
    pub fn return_to_event(&mut self) {
        self.subject = None;
        self.steps.clear();
        self.row = None;
    }

    /// The subject, if this event is selected.
    pub fn subject(&self, selected: Id) -> Subject {
        let event = Subject::Event(selected);
        if self.of == Some(selected) { self.subject.unwrap_or(event) } else { event }
    }

    /// Goes to another subject. `of`: the event that is now selected in the list.
    pub fn go(&mut self, to: Subject, of: Option<Id>) {
        if self.steps.len() == STEPS {
            self.steps.remove(0);
        }
        self.steps.push(Step { of: self.of, subject: self.subject, tab: self.tab, row: self.row });
        (self.of, self.subject, self.row) = (of, Some(to), None);
        self.scroll = 0;
    }

    /// Whether there is a step back before the pane gets smaller.
    pub fn has_steps(&self) -> bool {
        self.row.is_some() || !self.steps.is_empty()
    }

    /// What the selected row leads to.
    pub fn row(&self) -> Option<Subject> {
        self.row
    }

    /// Selects the row that leads to this.
    pub fn select(&mut self, row: Subject) {
        self.row = Some(row);
        (self.reveals, self.drawn, self.row_hidden) = (true, false, false);
    }

    /// Unselects the row.
    pub fn unselect(&mut self) {
        self.row = None;
    }

    /// Scrolls to a line. The selected row may leave the screen, unless it has not been there yet.
    pub fn scroll_to(&mut self, line: usize) {
        if self.row.is_none() || self.drawn {
            self.scroll = line;
            self.reveals = false;
        }
    }

    /// Whether the selected row is kept on the screen.
    pub fn reveals(&self) -> bool {
        self.reveals
    }

    /// Whether the selected row was scrolled out of the pane.
    pub fn row_hidden(&self) -> bool {
        self.row_hidden
    }

    /// Stores what was drawn: the scroll offset, and whether the selected row is not on the screen.
    pub fn drew(&mut self, scroll: usize, row_hidden: bool) {
        (self.scroll, self.drawn, self.row_hidden) = (scroll, true, row_hidden);
    }

    /// The files of the process in the pane.
    pub fn files(&self) -> Option<&Files> {
        self.files.as_ref()
    }

    /// Selects the process whose files are listed.
    pub fn about(&mut self, process: Option<ProcessKey>, store: &Store) {
        let wanted = process.filter(|_| self.size.is_some());
        if self.files.as_ref().map(|files| files.process) == wanted {
            return;
        }
        self.scroll = 0;
        self.files = wanted.map(|process| Files { process, index: Index::new(store) });
        // The first screen is filled at once.
        self.scan(store, FIRST);
    }

    /// Adds an event that was just stored.
    pub fn append(&mut self, stored: &Stored<'_>) {
        if let Some(files) = &mut self.files {
            let answer = opened(files.process, stored);
            files.index.append(stored.id, answer);
            // The newest is at the top. The selected row stays where it is on the screen.
            self.scroll += usize::from(answer != Answer::No && self.row.is_some() && self.tab == Tab::Files);
        }
    }

    /// Removes events that the store evicted.
    pub fn evict(&mut self, store: &Store) {
        self.files.iter_mut().for_each(|files| files.index.evict(store));
    }

    /// Continues the search for files.
    pub fn scan(&mut self, store: &Store, budget: usize) {
        if let Some(files) = &mut self.files {
            let process = files.process;
            files.index.scan(store, budget, |stored| opened(process, stored));
        }
    }

    /// Whether the search is still running.
    pub fn scanning(&self, store: &Store) -> bool {
        self.files.as_ref().is_some_and(|files| files.index.scanning(store))
    }
}

/// The opens of a process among the kept events. Failed ones are marked.
#[derive(Debug)]
pub struct Files {
    process: ProcessKey,
    index: Index,
}

impl Files {
    /// The number of opens.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are no opens.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The number of failed opens.
    pub fn failed(&self) -> usize {
        self.index.marked()
    }

    /// The position of an open, or of the nearest one that is left. Position 0 is the newest.
    pub fn position(&self, id: Id) -> Option<usize> {
        let last = self.index.len().checked_sub(1)?;
        Some(last - self.index.place(id).min(last))
    }

    /// The event of an open. Position 0 is the newest.
    pub fn newest(&self, at: usize) -> Option<Id> {
        self.index.len().checked_sub(at + 1).and_then(|at| self.index.get(at))
    }
}

fn opened(process: ProcessKey, stored: &Stored<'_>) -> Answer {
    let its = stored.kind == Kind::Open && stored.process.is_some_and(|p| p.key == process);
    match (its, stored.failed) {
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
    fn steps_back_lead_where_one_was_as_long_as_the_event_is_selected() {
        let process = |tgid| Subject::Process(ProcessKey { tgid: Tgid(tgid), start: BootNanos(1) });
        let event = Some(Id::default());
        let mut detail = Detail::default();
        detail.open();
        detail.belong_to(event);
        detail.show(Tab::Parents);
        detail.select(process(1));
        detail.go(process(1), event);
        detail.go(process(2), event);
        assert_eq!((detail.subject(Id::default()), detail.row()), (process(2), None));
        assert!(detail.back(event));
        assert_eq!(detail.subject(Id::default()), process(1));
        detail.show(Tab::Raw);
        assert!(detail.back(event));
        assert_eq!((detail.tab, detail.row()), (Tab::Parents, Some(process(1))));
        assert_eq!(detail.subject(Id::default()), Subject::Event(Id::default()));
        assert!(detail.back(event) && detail.row().is_none() && detail.size().is_some());
        // Another event is selected: its own process is shown.
        detail.go(process(1), event);
        assert!(detail.back(None) && detail.size().is_none());
        assert!(!detail.back(None));
    }

    #[test]
    fn the_steps_back_are_bounded() {
        let mut detail = Detail::default();
        detail.open();
        for _ in 0..STEPS * 2 {
            detail.go(Subject::Event(Id::default()), None);
        }
        assert_eq!(detail.steps.len(), STEPS);
    }
}
