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

/// The subject of the pane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// An event and its process.
    Event(Id),
    /// A process, reached from the event.
    Process(ProcessKey),
}

/// The pane.
#[derive(Debug, Default)]
pub struct Detail {
    size: Option<Size>,
    /// The open tab.
    pub tab: Tab,
    /// The scroll offset, in lines.
    pub scroll: usize,
    /// The event whose process was left for an ancestor, and that ancestor.
    climbed: Option<(Id, ProcessKey)>,
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

    /// Goes one step back, if this event is selected; `false` if the pane is closed.
    pub fn back(&mut self, selected: Option<Id>) -> bool {
        // After the selection was moved, the ancestor is not shown.
        if self.climbed.take().is_some_and(|(from, _)| Some(from) == selected) {
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

    /// The subject, if this event is selected.
    pub fn subject(&self, selected: Id) -> Subject {
        match self.climbed {
            Some((from, process)) if from == selected => Subject::Process(process),
            _ => Subject::Event(selected),
        }
    }

    /// Goes to an ancestor of the event's process.
    pub fn climb(&mut self, selected: Id, to: ProcessKey) {
        self.climbed = Some((selected, to));
        self.scroll = 0;
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
    }

    /// Adds an event that was just stored.
    pub fn append(&mut self, stored: &Stored<'_>) {
        if let Some(files) = &mut self.files {
            files.index.append(stored.id, opened(files.process, stored));
        }
    }

    /// Continues the search for files.
    pub fn scan(&mut self, store: &Store, budget: usize) {
        if let Some(files) = &mut self.files {
            files.index.evict(store);
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
    fn a_step_back_leaves_an_ancestor_only_if_it_is_shown() {
        let parent = ProcessKey { tgid: Tgid(1), start: BootNanos(1) };
        let mut detail = Detail::default();
        detail.open();
        detail.climb(Id::default(), parent);
        assert!(detail.back(Some(Id::default())) && detail.size().is_some());
        detail.climb(Id::default(), parent);
        // Another event is selected: its own process is shown.
        assert!(detail.back(None) && detail.size().is_none());
        assert!(!detail.back(None));
    }
}
