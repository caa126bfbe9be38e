//! The dashboard's state, and what happens to it. It knows no widget and does no I/O: everything comes in as an
//! [`Input`], what is to be done goes out as [`Effect`]s.

pub(crate) mod copy;
pub(crate) mod detail;
pub(crate) mod edit;
pub(crate) mod filter;
pub(crate) mod input;
pub(crate) mod keymap;
pub mod language;
pub(crate) mod layout;
pub(crate) mod list;
pub(crate) mod output;
pub(crate) mod rates;
pub(crate) mod row;
pub(crate) mod search;
mod update;

#[cfg(test)]
pub(crate) mod testing;

use crate::account::Account;
use crate::budget::Budget;
use crate::enrich::World;
use crate::event::process::Process;
use crate::frame::Batch;
use crate::pipeline::Pipeline;
use crate::store::{Id, Store, Stored};
use crate::text::grouped;
use detail::{Detail, Subject};
use filter::{FilterState, ParseFilter};
pub use input::{Effect, Effects, Input, Signal, Tick, Usage};
use layout::Areas;
use list::List;
use output::Output;
use rates::Rates;
use row::{TimeBase, TimeMode};
use search::Search;
use std::sync::Arc;
use std::time::Duration;
use tracetui_shared::kind::{Kind, KindSet};

/// What the dashboard is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bounds what is kept: events, and what is known around them.
    pub budget: Budget,
    /// Kinds that are shown at first.
    pub kinds: KindSet,
    /// Seconds east of UTC.
    pub zone_s: i32,
    /// What is captured, in words ("all", "comm=cc1").
    pub capture: String,
    /// The filter at first.
    pub filter: String,
    /// Reads a filter.
    pub parse: ParseFilter,
}

/// The whole state.
#[derive(Debug)]
pub struct App {
    pipeline: Pipeline,
    store: Store,
    list: List,
    filter: FilterState,
    search: Search,
    detail: Detail,
    rates: Rates,
    view: ViewState,
    settings: Settings,
    source: SourceState,
    usage: UsageState,
    /// The COMMAND, if one was started.
    output: Option<Output>,
    /// Quitting was asked for while the COMMAND runs, which the next press makes true.
    asked_to_quit: bool,
    extent: Extent,
    now: Duration,
}

/// How many lines there are beyond what the screen shows; found out by drawing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extent {
    /// Of the overlay.
    pub overlay: usize,
    /// Of the detail pane.
    pub detail: usize,
}

/// What of the state is about how things are shown.
#[derive(Debug)]
struct ViewState {
    width: u16,
    height: u16,
    kinds: KindSet,
    failures: bool,
    time: TimeMode,
    overlay: Option<Overlay>,
    message: Option<(String, Duration)>,
}

/// What lies over the events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overlay {
    /// Which one.
    pub kind: OverlayKind,
    /// Lines that are scrolled away.
    pub scroll: usize,
}

/// The overlays.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OverlayKind {
    /// The keys.
    Help,
    /// The report on lost events.
    Loss,
    /// What the COMMAND wrote.
    Output,
}

/// Whether frames still come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SourceState {
    /// They do.
    #[default]
    Live,
    /// They ended.
    Ended,
}

/// What tracetui uses itself.
#[derive(Clone, Copy, Debug, Default)]
struct UsageState {
    last: Option<(Duration, Usage)>,
    cpu_percent: Option<f64>,
}

/// What takes how many bytes of memory (processes and events: estimated).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Kept events.
    pub events: usize,
    /// Events and arguments that wait in the pipeline.
    pub waiting: usize,
    /// The process table.
    pub processes: usize,
    /// Paths of cgroups, names of users and groups.
    pub names: usize,
    /// What the COMMAND wrote.
    pub output: usize,
    /// Batches that are on their way or spare: the most that they can take.
    pub queues: usize,
    /// All together, at most.
    pub bound: usize,
}

impl Memory {
    /// All but the events and what is set aside for queues.
    pub fn others(&self) -> usize {
        self.waiting + self.processes + self.names + self.output
    }

    /// All but what is set aside for queues.
    pub fn used(&self) -> usize {
        self.events + self.others()
    }
}

/// What is said when the screen is left.
#[derive(Clone, Debug)]
pub struct ExitLine {
    /// Events that were handed over.
    pub events: u64,
    /// Events that were lost.
    pub lost: u64,
    /// The whole account.
    pub account: Account,
    /// That it does not add up.
    pub discrepancy: Option<String>,
}

impl App {
    /// A dashboard over a pipeline. The pipeline is asked for the kinds that are hidden at first too, so that their keys show
    /// what there was.
    ///
    /// # Errors
    /// When the filter of the settings is none.
    pub fn new(mut pipeline: Pipeline, settings: Settings) -> Result<App, filter::FilterError> {
        pipeline.set_budget(settings.budget);
        let mut filter = FilterState::new(settings.parse);
        filter.set(&settings.filter, pipeline.world())?;
        pipeline.follow(&filter.roots());
        Ok(App {
            store: Store::new(settings.budget.kept(0)),
            list: List::new(),
            filter,
            search: Search::default(),
            detail: Detail::default(),
            rates: Rates::default(),
            view: ViewState {
                width: 80,
                height: 24,
                kinds: settings.kinds,
                failures: false,
                time: TimeMode::default(),
                overlay: None,
                message: None,
            },
            settings,
            source: SourceState::default(),
            usage: UsageState::default(),
            output: None,
            asked_to_quit: false,
            extent: Extent::default(),
            now: Duration::ZERO,
            pipeline,
        })
    }

    /// What is known around the events.
    pub fn world(&self) -> &World {
        self.pipeline.world()
    }

    /// The account so far.
    pub fn account(&self) -> Account {
        self.pipeline.account()
    }

    /// What to say when the account does not add up.
    pub fn discrepancy(&self) -> Option<String> {
        self.pipeline.discrepancy()
    }

    /// The kept events.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What is kept takes so many bytes.
    pub fn memory(&self) -> Memory {
        Memory {
            events: self.store.bytes(),
            waiting: self.pipeline.bytes(),
            processes: self.world().processes.bytes(),
            names: self.world().bytes() - self.world().processes.bytes(),
            output: self.output.as_ref().map_or(0, Output::bytes),
            queues: self.settings.budget.queues(),
            bound: self.settings.budget.bytes(),
        }
    }

    /// The event list.
    pub fn list(&self) -> &List {
        &self.list
    }

    /// The display filter.
    pub fn filter(&self) -> &FilterState {
        &self.filter
    }

    /// The search.
    pub fn search(&self) -> &Search {
        &self.search
    }

    /// The detail pane.
    pub fn detail(&self) -> &Detail {
        &self.detail
    }

    /// Says that a COMMAND was started.
    pub fn set_command(&mut self, name: impl Into<String>) {
        self.output = Some(Output::new(name));
    }

    /// The COMMAND and what it wrote.
    pub fn output(&self) -> Option<&Output> {
        self.output.as_ref()
    }

    /// How fast events come.
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// What lies over the events.
    pub fn overlay(&self) -> Option<Overlay> {
        self.view.overlay
    }

    /// What is to be said for a moment.
    pub fn message(&self) -> Option<&str> {
        self.view.message.as_ref().map(|(text, _)| text.as_str())
    }

    /// Whether a kind is shown.
    pub fn shows_kind(&self, kind: Kind) -> bool {
        self.view.kinds.contains(kind)
    }

    /// Whether only failures are shown.
    pub fn only_failures(&self) -> bool {
        self.view.failures
    }

    /// Whether frames still come.
    pub fn source(&self) -> SourceState {
        self.source
    }

    /// What is captured, in words.
    pub fn capture(&self) -> &str {
        &self.settings.capture
    }

    /// Processor percent and resident bytes of tracetui itself.
    pub fn usage(&self) -> Option<(f64, u64)> {
        Some((self.usage.cpu_percent?, self.usage.last?.1.resident))
    }

    /// Columns and rows of the screen.
    pub fn screen(&self) -> (u16, u16) {
        (self.view.width, self.view.height)
    }

    /// The screen, divided.
    pub fn areas(&self) -> Areas {
        layout::areas(self.view.width, self.view.height, self.detail.size())
    }

    /// Rows of the list on the screen. At least one: a list behind the detail pane can still be moved in.
    pub fn list_height(&self) -> usize {
        usize::from(self.areas().list.height).max(1)
    }

    /// Events that the filter and the kinds hide.
    pub fn hidden(&self) -> u64 {
        if self.list.scanning(&self.store) { 0 } else { self.store.kept().saturating_sub(self.list.shown()) }
    }

    /// Whether there is work to go on with: then a tick is wanted at once.
    pub fn busy(&self) -> bool {
        self.list.scanning(&self.store) || self.detail.scanning(&self.store) || self.search.hunting()
    }

    /// The selected event.
    pub fn selected(&self) -> Option<Stored<'_>> {
        self.list.selected().and_then(|id| self.store.get(id))
    }

    /// What the detail pane is about.
    pub fn subject(&self) -> Option<Subject> {
        self.list.selected().map(|id| self.detail.subject(id))
    }

    /// What the TIME column counts from, for the row at a place.
    pub fn time_base(&self, row: usize) -> TimeBase {
        let ns = |id: Id| self.store.get(id).map(|stored| stored.frame.header.time.0);
        TimeBase {
            mode: self.view.time,
            zone_s: self.settings.zone_s,
            start_ns: self.rates.start_ns().unwrap_or_default(),
            above_ns: row.checked_sub(1).and_then(|above| self.list.row(above)).and_then(ns),
        }
    }

    /// How the TIME column counts.
    pub fn time_mode(&self) -> TimeMode {
        self.view.time
    }

    /// Batches that can be filled again.
    pub fn spare(&mut self) -> Option<Batch> {
        self.pipeline.spare()
    }

    /// What is said when the screen is left.
    pub fn exit_line(&self) -> ExitLine {
        let account = self.account();
        let sum = account.sum();
        ExitLine { events: sum.delivered, lost: sum.lost.sum(), account, discrepancy: self.discrepancy() }
    }

    /// The process that the detail pane is about.
    pub fn subject_process(&self) -> Option<Arc<Process>> {
        match self.subject()? {
            Subject::Event(id) => self.store.get(id)?.process.cloned(),
            Subject::Process(key) => self.world().processes.get(key).map(|entry| Arc::clone(&entry.process)),
        }
    }
}

impl std::fmt::Display for ExitLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} events, {} lost", grouped(self.events), grouped(self.lost))
    }
}
