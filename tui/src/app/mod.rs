//! The state of the dashboard and its transitions. It has no widgets and does no I/O: each change is an [`Input`], and
//! its result is a list of [`Effect`]s.

mod bpf;
pub(crate) mod columns;
pub(crate) mod complete;
pub(crate) mod copy;
pub(crate) mod edit;
pub(crate) mod filter;
pub mod find;
pub(crate) mod input;
pub(crate) mod kept;
pub mod keymap;
pub mod language;
pub(crate) mod layout;
pub(crate) mod output;
pub(crate) mod pane;
pub(crate) mod rates;
pub mod replay;
pub(crate) mod row;
pub mod search;
mod searches;
pub mod summary;
mod tree;
mod update;
pub(crate) mod views;
pub(crate) mod why;

#[cfg(test)]
pub(crate) mod testing;

use crate::account::Account;
use crate::budget::Budget;
use crate::enrich::World;
use crate::event::process::Process;
use crate::frame::Batch;
use crate::pipeline::Pipeline;
use crate::store::{Id, Store, Stored};
use crate::text::{counted, grouped};
use columns::Columns;
use filter::{FilterState, ParseFilter};
pub use input::{Effect, Effects, Input, Signal, Tick, Usage};
use kept::KeptEvents;
use keymap::{Action, Keymap, Scope};
use layout::Areas;
use output::Output;
use rates::Rates;
use replay::Replay;
use row::{TimeBase, TimeMode};
use search::Search;
use searches::Searches;
use std::sync::Arc;
use std::time::Duration;
use summary::Summary;
use tracetui_shared::kind::{Kind, KindSet};
use tracetui_shared::time::BootNanos;
use views::View;
use views::bpf::Bpf;
use views::detail::{Detail, Subject, Tab};
use views::events::EventList;
use views::top::Top;
use views::tree::{Moment, Tree};
use why::Reasons;

/// The settings at the start of the dashboard.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The memory limit of events, processes and names.
    pub budget: Budget,
    /// The kinds that are shown at the start.
    pub kinds: KindSet,
    /// Seconds east of UTC.
    pub zone_s: i32,
    /// What is captured, in words ("all", "comm=cc1").
    pub capture: String,
    /// The display filter at the start.
    pub filter: String,
    /// Parses a filter.
    pub parse: ParseFilter,
    /// What the user prefers.
    pub preferences: Preferences,
}

/// Everything is captured, and no filter hides anything.
impl Default for Settings {
    fn default() -> Settings {
        Settings {
            budget: Budget::default(),
            kinds: KindSet::BY_DEFAULT,
            zone_s: 0,
            capture: "all".to_owned(),
            filter: String::new(),
            parse: language::parse,
            preferences: Preferences::default(),
        }
    }
}

/// What the configuration file can change.
#[derive(Clone, PartialEq, Debug)]
pub struct Preferences {
    /// The key bindings.
    pub(crate) keymap: Keymap,
    /// The columns of the views at the start.
    pub(crate) columns: Columns,
    /// Whether repeats and searches are folded at the start.
    pub(crate) folds: bool,
    /// The format of the TIME column at the start.
    pub(crate) time: TimeMode,
}

impl Default for Preferences {
    fn default() -> Preferences {
        Preferences { keymap: Keymap::default(), columns: Columns::default(), folds: true, time: TimeMode::default() }
    }
}

/// The state of the dashboard.
#[derive(Debug)]
pub struct App {
    pipeline: Pipeline,
    store: Store,
    events: EventList,
    filter: FilterState,
    search: Search,
    detail: Detail,
    tree: Tree,
    top: Top,
    bpf: Bpf,
    /// Whether the source was asked to count the runs of BPF programs.
    counts_runs: bool,
    /// What the events view was before another view showed the events of a row there.
    left: Option<Left>,
    reasons: Reasons,
    searches: Searches,
    summary: Summary,
    rates: Rates,
    view: ViewState,
    settings: Settings,
    source: SourceState,
    usage: UsageState,
    /// The replay, if the source is a recording.
    replay: Option<Replay>,
    /// The recording that is written, those that were, and why the last one failed.
    recording: Option<Recorded>,
    recordings: Vec<Recorded>,
    not_recorded: Option<String>,
    /// The COMMAND, if one was started.
    output: Option<Output>,
    /// Quit was pressed while the COMMAND runs; the next press quits.
    asked_to_quit: bool,
    extent: Extent,
    /// The event that was selected when the screen was drawn; `None` after a key.
    drawn: Option<Id>,
    now: Duration,
}

/// What the events view was before another view showed the events of a row there.
#[derive(Debug)]
struct Left {
    /// The other view.
    view: View,
    /// The filter that it made.
    made: String,
    /// The one before.
    filter: String,
    /// The event that was selected; `None` if the view followed the newest.
    selected: Option<Id>,
}

/// A recording that is or was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Kept events that were evicted before they were written.
    pub evicted: u64,
}

/// The number of lines beyond the visible ones, which drawing computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extent {
    /// In the overlay.
    pub overlay: usize,
    /// In the detail pane.
    pub detail: usize,
    /// The first visible line of the detail pane.
    pub scroll: usize,
    /// Whether the selected row of the detail pane is not visible.
    pub row_hidden: bool,
    /// The first line of the event list.
    pub(crate) first: Option<Id>,
    /// The cells of the tabs in the line of the filter, from the first on and without the last.
    pub(crate) tabs: [(u16, u16); View::ALL.len()],
    /// The same of the chips of the kinds, in the order of [`Kind::DEFAULT_FIRST`].
    pub(crate) chips: [(u16, u16); Kind::DEFAULT_FIRST.len()],
    /// The same of the tabs in the title of the detail pane. None if they are not drawn.
    pub(crate) pane_tabs: [(u16, u16); Tab::ALL.len()],
}

/// The part of the state that determines what is drawn, and how.
#[derive(Debug)]
struct ViewState {
    current: View,
    width: u16,
    height: u16,
    kinds: KindSet,
    failures: bool,
    time: TimeMode,
    columns: Columns,
    overlay: Option<Overlay>,
    help: HelpSearch,
    message: Option<(String, Duration)>,
}

/// The search of the help overlay: it shows the rows that have the text.
#[derive(Debug, Default)]
pub(crate) struct HelpSearch {
    /// The line, while it is typed.
    pub(crate) line: Option<edit::Line>,
    /// The text; empty: all rows are shown.
    pub(crate) text: String,
}

/// The open overlay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overlay {
    /// Its content.
    pub kind: OverlayKind,
    /// The scroll offset, in lines.
    pub scroll: usize,
}

/// The contents of overlays.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OverlayKind {
    /// The keys.
    Help,
    /// The report on lost events.
    Loss,
    /// The output of the COMMAND.
    Output,
    /// The choice of columns. Its scroll offset is the cursor.
    Columns,
}

/// Whether the source is live.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SourceState {
    /// Frames still arrive.
    #[default]
    Live,
    /// The source has ended.
    Ended,
}

/// The resource usage of tracetui itself.
#[derive(Clone, Copy, Debug, Default)]
struct UsageState {
    last: Option<(Duration, Usage)>,
    cpu_percent: Option<f64>,
}

/// Memory usage in bytes (processes and events: estimated).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Kept events.
    pub events: usize,
    /// Events and arguments waiting in the pipeline.
    pub waiting: usize,
    /// The process table, the tree, and the groups that are counted.
    pub processes: usize,
    /// Paths of cgroups, names of users and groups.
    pub names: usize,
    /// The output of the COMMAND.
    pub output: usize,
    /// The maximum for batches in transit and spare batches.
    pub queues: usize,
    /// The limit for all of these together.
    pub bound: usize,
}

impl Memory {
    /// Everything except events and the reservation for queues.
    pub fn others(&self) -> usize {
        self.waiting + self.processes + self.names + self.output
    }

    /// Everything except the reservation for queues.
    pub fn used(&self) -> usize {
        self.events + self.others()
    }
}

/// The summary that is printed after the screen is closed.
#[derive(Clone, Debug)]
pub struct ExitLine {
    /// Events that were delivered.
    pub events: u64,
    /// Events that were lost.
    pub lost: u64,
    /// The whole account.
    pub account: Account,
    /// The error message if the account does not add up.
    pub discrepancy: Option<String>,
    /// The recordings that were written.
    pub recordings: Vec<Recorded>,
    /// Why the last recording failed.
    pub not_recorded: Option<String>,
}

impl App {
    /// Creates a dashboard over a pipeline. Kinds that are hidden at first are collected too, so that their keys can
    /// show earlier events.
    ///
    /// # Errors
    /// If the filter in the settings is not valid.
    pub fn new(mut pipeline: Pipeline, settings: Settings) -> Result<App, filter::FilterInputError> {
        pipeline.set_budget(settings.budget);
        let mut filter = FilterState::new(settings.parse);
        filter.set(&settings.filter, pipeline.world())?;
        pipeline.follow(&filter.roots());
        let mut events = EventList::new();
        events.fold_all(settings.preferences.folds);
        Ok(App {
            store: Store::new(settings.budget.kept(0)),
            events,
            filter,
            search: Search::default(),
            detail: Detail::default(),
            tree: Tree::new(settings.budget),
            top: Top::new(settings.budget.top()),
            bpf: Bpf::default(),
            counts_runs: false,
            left: None,
            reasons: Reasons::default(),
            searches: Searches::default(),
            summary: Summary::default(),
            rates: Rates::default(),
            view: ViewState {
                current: View::default(),
                width: 80,
                height: 24,
                kinds: settings.kinds,
                failures: false,
                time: settings.preferences.time,
                columns: settings.preferences.columns.clone(),
                overlay: None,
                help: HelpSearch::default(),
                message: None,
            },
            settings,
            source: SourceState::default(),
            usage: UsageState::default(),
            replay: None,
            recording: None,
            recordings: Vec::new(),
            not_recorded: None,
            output: None,
            asked_to_quit: false,
            extent: Extent::default(),
            drawn: None,
            now: Duration::ZERO,
            pipeline,
        })
    }

    /// Processes, users, cgroups and clocks.
    pub fn world(&self) -> &World {
        self.pipeline.world()
    }

    /// The account so far.
    pub fn account(&self) -> Account {
        self.pipeline.account()
    }

    /// What the COMMAND did so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The search of the help overlay.
    pub(crate) fn help_search(&self) -> &HelpSearch {
        &self.view.help
    }

    /// The account of one moment ([`Pipeline::account_then`]).
    pub fn account_then(&self) -> (Option<BootNanos>, Account) {
        self.pipeline.account_then()
    }

    /// The error message if the account does not add up.
    pub fn discrepancy(&self) -> Option<String> {
        self.pipeline.discrepancy()
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The recording that is written.
    pub fn recording(&self) -> Option<&Recorded> {
        self.recording.as_ref()
    }

    /// Why nothing is recorded, if a recording failed and no other one began.
    pub fn why_not_recorded(&self) -> Option<&str> {
        self.not_recorded.as_deref()
    }

    /// The kept events, for a recording.
    pub(crate) fn kept_events(&self) -> KeptEvents {
        KeptEvents::new(self)
    }

    /// The kept events.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The memory in use.
    pub fn memory(&self) -> Memory {
        Memory {
            events: self.store.bytes(),
            waiting: self.pipeline.bytes(),
            processes: self.world().processes.bytes()
                + self.tree.bytes()
                + self.top.bytes()
                + self.bpf.bytes()
                + self.searches.bytes(),
            names: self.world().bytes() - self.world().processes.bytes(),
            output: self.output.as_ref().map_or(0, Output::bytes),
            queues: self.settings.budget.queues(),
            bound: self.settings.budget.bytes(),
        }
    }

    /// The view in the body of the screen.
    pub fn view(&self) -> View {
        self.view.current
    }

    /// The process tree.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What is most frequent.
    pub(crate) fn top(&self) -> &Top {
        &self.top
    }

    /// The BPF programs.
    pub(crate) fn bpf(&self) -> &Bpf {
        &self.bpf
    }

    /// The moment that the views other than the events show: that of the selected event, or of a pause. `None` for now; in a replay
    /// that is at its start, Tree and Top show all that is loaded.
    pub(crate) fn moment(&self) -> Option<Moment> {
        let at_start = self.is_paused() && self.view.current != View::Bpf && self.events.at_top(&self.store);
        let until = self.events.until().filter(|_| !at_start || !self.loaded_from_start())?;
        let last = until.saturating_sub(1).max(self.store.first_id());
        Some(Moment { until, time: self.store.get(last)?.time })
    }

    /// Whether the views are of the whole recording, since its first event is selected: nothing was before that.
    pub(crate) fn is_of_all(&self) -> bool {
        self.is_paused() && self.moment().is_none() && self.all_loaded() && self.at_end()
    }

    /// Whether a recording is shown and does not play.
    fn is_paused(&self) -> bool {
        self.replay.as_ref().is_some_and(|replay| !replay.plays())
    }

    /// The event list.
    pub fn events(&self) -> &EventList {
        &self.events
    }

    /// The key bindings.
    pub fn keymap(&self) -> &Keymap {
        &self.settings.preferences.keymap
    }

    /// The name of the first key of an action.
    pub(crate) fn key_of(&self, action: Action) -> String {
        self.keymap().first(action)
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

    /// Records that a COMMAND was started.
    pub fn set_command(&mut self, name: impl Into<String>) {
        self.output = Some(Output::new(name));
        // The loop asks for the size itself.
        let _ = self.fit_command();
    }

    /// Sets the display filter.
    ///
    /// # Errors
    /// If it is not valid. Then the filter stays as it is.
    pub fn set_filter(&mut self, text: &str) -> Result<(), filter::FilterInputError> {
        self.filter.set(text, self.pipeline.world())?;
        self.refilter();
        Ok(())
    }

    /// Shows these kinds only.
    pub fn show_kinds(&mut self, kinds: KindSet) {
        self.view.kinds = kinds;
        self.settings.kinds = kinds;
        self.refilter();
    }

    /// Seconds east of UTC.
    pub fn zone_s(&self) -> i32 {
        self.settings.zone_s
    }

    /// Shows a recording: what is fed is a part of it.
    pub fn set_replay(&mut self, replay: Replay) {
        self.replay = Some(replay);
    }

    /// The replay, if the source is a recording.
    pub fn replay(&self) -> Option<&Replay> {
        self.replay.as_ref()
    }

    /// Whether more frames are wanted. Of a recording, only as much as there is memory for, unless the position is near the end
    /// of what is loaded.
    pub fn wants_frames(&self) -> bool {
        let Some(replay) = &self.replay else { return true };
        let (first, next) = (self.store.first_id(), self.store.next_id());
        let at = self.events.selected().unwrap_or(first);
        let near_the_end = at - first.min(at) >= (next - first) / 4 * 3;
        let follows = self.events.follows() && replay.recording().end.is_open();
        follows || replay.target().is_some() || near_the_end || self.store.bytes() < self.store.bound() / 4 * 3
    }

    /// Whether a replay plays.
    pub fn plays(&self) -> bool {
        self.replay.as_ref().is_some_and(Replay::plays)
    }

    /// The scopes of keys that are in force.
    pub(crate) fn scopes(&self) -> &'static [Scope] {
        let detail = self.detail.size().is_some() && self.view.overlay.is_none();
        if self.view.overlay.is_some_and(|overlay| overlay.kind == OverlayKind::Columns) {
            return &[Scope::Everywhere];
        }
        if self.shows_output() {
            // Enter is for COMMAND's terminal, not for the row behind it.
            return if self.replay.is_some() { &[Scope::Replay, Scope::Everywhere] } else { &[Scope::Everywhere] };
        }
        match (self.view.current, detail, self.replay.is_some()) {
            (View::Tree, _, true) => &[Scope::Tree, Scope::Replay, Scope::Everywhere],
            (View::Tree, _, false) => &[Scope::Tree, Scope::Everywhere],
            (View::Top, _, true) => &[Scope::Top, Scope::Replay, Scope::Everywhere],
            (View::Top, _, false) => &[Scope::Top, Scope::Everywhere],
            (View::Bpf, true, true) => &[Scope::Bpf, Scope::Detail, Scope::Replay, Scope::Everywhere],
            (View::Bpf, true, false) => &[Scope::Bpf, Scope::Detail, Scope::Everywhere],
            (View::Bpf, false, true) => &[Scope::Bpf, Scope::Replay, Scope::Everywhere],
            (View::Bpf, false, false) => &[Scope::Bpf, Scope::Everywhere],
            (View::Events, true, true) => &[Scope::Detail, Scope::Replay, Scope::Everywhere],
            (View::Events, true, false) => &[Scope::Detail, Scope::Everywhere],
            (View::Events, false, true) => &[Scope::Replay, Scope::Everywhere],
            (View::Events, false, false) => &[Scope::Everywhere],
        }
    }

    /// The COMMAND and its output.
    pub fn output(&self) -> Option<&Output> {
        self.output.as_ref()
    }

    /// The event rates.
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// The overlay.
    pub fn overlay(&self) -> Option<Overlay> {
        self.view.overlay
    }

    /// The temporary message.
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

    /// Whether the source is live.
    pub fn source(&self) -> SourceState {
        self.source
    }

    /// What is captured, in words.
    pub fn capture(&self) -> &str {
        &self.settings.capture
    }

    /// CPU usage in percent and resident memory in bytes of tracetui itself.
    pub fn usage(&self) -> Option<(f64, u64)> {
        Some((self.usage.cpu_percent?, self.usage.last?.1.resident))
    }

    /// Columns and rows of the screen.
    pub fn screen(&self) -> (u16, u16) {
        (self.view.width, self.view.height)
    }

    /// The areas of the screen at its current size.
    pub fn areas(&self) -> Areas {
        layout::areas(self.view.width, self.view.height, self.detail.size())
    }

    /// The number of rows of the list on the screen. It is at least 1, so that the selection can move while the detail
    /// pane covers the list.
    pub fn list_height(&self) -> usize {
        usize::from(self.areas().list.height).max(1)
    }

    /// The number of kept events that the filter and the kinds hide; 0 while filtering is running.
    pub fn hidden(&self) -> u64 {
        if self.events.scanning(&self.store) { 0 } else { self.store.kept().saturating_sub(self.events.shown()) }
    }

    /// Whether work is pending. If so, a tick is needed immediately.
    pub fn busy(&self) -> bool {
        self.events.scanning(&self.store)
            || self.detail.scanning(&self.store)
            || self.search.hunting()
            || self.search.counting(&self.store)
            || self.top.scanning(&self.store)
            || self.view.current == View::Tree && self.tree.travelling(self.moment(), &self.store)
    }

    /// The selected event.
    pub fn selected(&self) -> Option<Stored<'_>> {
        self.events.selected().and_then(|id| self.store.get(id))
    }

    /// The subject of the detail pane.
    pub fn subject(&self) -> Option<Subject> {
        self.events.selected().map(|id| self.detail.subject(id))
    }

    /// The reference of the TIME column for a row.
    pub fn time_base(&self, row: usize) -> TimeBase {
        let ns = |id: Id| self.store.get(id).map(|stored| stored.time.0);
        TimeBase {
            mode: self.view.time,
            zone_s: self.settings.zone_s,
            start_ns: self.rates.start_ns().unwrap_or_default(),
            above_ns: row.checked_sub(1).and_then(|above| self.events.row(above)).and_then(ns),
        }
    }

    /// The format of the TIME column.
    pub fn time_mode(&self) -> TimeMode {
        self.view.time
    }

    /// A batch that can be reused.
    pub fn spare(&mut self) -> Option<Batch> {
        self.pipeline.spare()
    }

    /// The summary that is printed after the screen is closed.
    pub fn exit_line(&self) -> ExitLine {
        let account = self.account();
        let sum = account.sum();
        ExitLine {
            events: sum.delivered,
            lost: sum.lost.sum(),
            account,
            discrepancy: self.discrepancy(),
            recordings: self.recordings.clone(),
            not_recorded: self.not_recorded.clone(),
        }
    }

    /// The process in the detail pane.
    pub fn subject_process(&self) -> Option<Arc<Process>> {
        match self.subject()? {
            Subject::Event(id) => self.store.get(id)?.process.cloned(),
            Subject::Process(key) => self.world().processes.get(key).map(|entry| Arc::clone(&entry.process)),
        }
    }
}

impl std::fmt::Display for ExitLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at_most = if self.account.bounded > 0 { "at most " } else { "" };
        write!(f, "{}, {at_most}{} lost", counted(self.events, ["event", "events"]), grouped(self.lost))?;
        for Recorded { name, bytes, evicted } in &self.recordings {
            write!(f, ", recorded to {name} ({})", counted(*bytes, ["byte", "bytes"]))?;
            if *evicted > 0 {
                write!(f, " without {} evicted first", counted(*evicted, ["event", "events"]))?;
            }
        }
        Ok(())
    }
}
