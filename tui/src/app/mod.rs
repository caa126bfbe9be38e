//! The state of the dashboard, without widgets and I/O: each change is an [`Input`], its result a list of [`Effect`]s.

pub(crate) mod command;
pub(crate) mod copy;
pub(crate) mod filter;
pub(crate) mod input;
pub mod keys;
pub(crate) mod named_enum;
pub(crate) mod prompt;
pub(crate) mod rates;
pub mod recordings;
pub mod replay;
pub(crate) mod screen;
pub mod search;
pub(crate) mod side;
pub(crate) mod story;
pub(crate) mod time;
mod update;
pub(crate) mod verdict;
pub(crate) mod views;
pub(crate) mod watch;

#[cfg(test)]
pub(crate) mod testing;

use command::output::Output;
use command::summary::Summary;
use filter::FilterState;
use input::Measurement;
pub use input::{Compared, Effect, Effects, Input, Signal, Tick, Usage};
use keys::keymap::{Action, Keymap};
use prompt::Prompt;
use rates::Rates;
use recordings::{Recorded, Recordings};
use replay::Replay;
pub(crate) use screen::Failures;
use screen::Screen;
use screen::layout::Areas;
pub use screen::{Overlay, OverlayKind};
use search::Search;
use side::Side;
use std::sync::Arc;
use std::time::Duration;
use time::{Strip, Time};
use tracetui_events::account::Account;
use tracetui_events::budget::Budget;
use tracetui_events::enrich::World;
use tracetui_events::event::process::Process;
use tracetui_events::filter::FilterError;
use tracetui_events::pipeline::Pipeline;
use tracetui_events::search::Searches;
use tracetui_events::store::{Id, Store, Stored};
use tracetui_events::text::time::Zone;
use tracetui_events::text::{counted, grouped};
use tracetui_shared::kind::{Kind, KindSet};
use verdict::Verdict;
use views::columns::Columns;
use views::detail::reasons::Reasons;
use views::detail::{Detail, Subject};
use views::event_list::row::{TimeBase, TimeMode};
use views::event_list::{EventList, Listing};
use views::{View, Views};
use watch::Watches;

#[derive(Clone, Debug)]
pub struct Settings {
    /// The memory limit of events, processes and names.
    pub budget: Budget,
    /// The kinds that are shown at the start.
    pub kinds: KindSet,
    pub zone: Zone,
    /// What is captured, in words ("all", "comm=cc1").
    pub capture: String,
    /// The display filter at the start.
    pub filter: String,
    /// Whether ids are typed in a pid namespace other than the host's.
    pub is_inner: bool,
    /// Whether the list leaves out what needs no attention.
    pub calm: bool,
    pub preferences: Preferences,
}

/// Captures everything, and hides nothing.
impl Default for Settings {
    fn default() -> Settings {
        Settings {
            budget: Budget::default(),
            kinds: KindSet::BY_DEFAULT,
            zone: Zone::UTC,
            capture: "all".to_owned(),
            filter: String::new(),
            is_inner: false,
            calm: false,
            preferences: Preferences::default(),
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct Preferences {
    pub(crate) keymap: Keymap,
    pub(crate) columns: Columns,
    pub(crate) folds: bool,
    /// Whether a wide screen has the side strip.
    pub(crate) strip: bool,
    pub(crate) time: TimeMode,
}

impl Default for Preferences {
    fn default() -> Preferences {
        Preferences {
            keymap: Keymap::default(),
            columns: Columns::default(),
            folds: true,
            strip: true,
            time: TimeMode::default(),
        }
    }
}

#[derive(Debug, Default)]
pub struct App {
    pub pipeline: Pipeline,
    store: Store,
    events: EventList,
    pub(crate) filter: FilterState,
    pub(crate) search: Search,
    pub(crate) prompt: Option<Prompt>,
    pub(crate) detail: Detail,
    pub(crate) views: Views,
    pub(crate) watches: Watches,
    pub(crate) side: Side,
    /// Whether the source was told to count the runs of BPF programs.
    counts_runs: bool,
    /// What the store had evicted and pinned when the views last removed such events.
    evicted: (u64, Id, Option<(Id, Id)>),
    /// The state of the events view to return to on Esc, after another view showed a row's events there.
    return_to: Option<ReturnTo>,
    pub(crate) reasons: Reasons,
    searches: Searches,
    pub(crate) summary: Summary,
    pub(crate) rates: Rates,
    pub(crate) screen: Screen,
    pub(crate) settings: Settings,
    pub(crate) source: SourceState,
    pub(crate) usage: Option<Measurement>,
    pub(crate) replay: Option<Replay>,
    pub(crate) time: Time,
    pub(crate) recordings: Recordings,
    pub(crate) output: Option<Output>,
    pub(crate) verdict: Verdict,
    /// What the event loop has to do after this input.
    effects: Effects,
    /// Whether Quit was pressed while COMMAND runs. The next press quits.
    asked_to_quit: bool,
    extent: Extent,
    /// The event selected when the screen was drawn; `None` after a key.
    drawn: Option<Id>,
    now: Duration,
}

#[derive(Debug)]
struct ReturnTo {
    view: View,
    /// The filter that the other view set.
    filter_set: String,
    filter: String,
    /// The selected event; `None` if the view followed the newest.
    selected: Option<Id>,
}

/// The scroll limits that drawing computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extent {
    pub overlay: usize,
    pub detail: usize,
    /// The first visible line of the detail pane.
    pub scroll: usize,
    /// Whether the selected row of the detail pane is not visible.
    pub row_hidden: bool,
    /// The first line of the event list, which a click counts from.
    pub(crate) first: Option<Id>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SourceState {
    #[default]
    Live,
    Ended,
}

/// Memory usage in bytes (processes and events: estimated).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    pub events: usize,
    /// Events and arguments waiting in the pipeline.
    pub waiting: usize,
    /// The process table, the tree, the groups that Top counts, and the counts of quiet events.
    pub processes: usize,
    /// Paths of cgroups, names of users and groups.
    pub names: usize,
    pub output: usize,
    /// The maximum for batches in transit and spare batches.
    pub queues: usize,
    /// The limit for all of these together.
    pub bound: usize,
}

impl Memory {
    pub fn of(app: &App) -> Memory {
        let processes = app.world().processes.bytes;
        Memory {
            events: app.store.bytes(),
            waiting: app.pipeline.bytes(),
            processes: processes + app.views.bytes() + app.side.bytes() + app.searches.bytes() + app.events.bytes(),
            names: app.world().bytes() - processes,
            output: app.output.as_ref().map_or(0, Output::bytes),
            queues: app.settings.budget.queues(),
            bound: app.settings.budget.bytes(),
        }
    }

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
    pub account: Account,
    /// The error message if the counts of the account disagree.
    pub discrepancy: Option<String>,
    pub recordings: Vec<Recorded>,
    /// Why the last recording failed.
    pub not_recorded: Option<String>,
}

impl App {
    /// Creates a dashboard. Hidden kinds are collected too, so that their keys can show earlier events.
    pub fn new(settings: Settings) -> Result<App, FilterError> {
        let mut pipeline = Pipeline::new(settings.budget);
        pipeline.world_mut().zone = settings.zone;
        let mut filter = FilterState::default();
        let mut search = Search::default();
        (filter.is_inner, search.is_inner) = (settings.is_inner, settings.is_inner);
        filter.set(&settings.filter, pipeline.world())?;
        pipeline.world_mut().processes.follow(&filter.roots());
        let mut events = EventList::new();
        events.fold_all(settings.preferences.folds);
        let screen = Screen::new(&settings);
        let mut app = App {
            store: Store::new(settings.budget.kept_bytes(0)),
            events,
            filter,
            search,
            views: Views::new(settings.budget),
            side: Side::new(settings.budget),
            screen,
            settings,
            pipeline,
            ..App::default()
        };
        app.events.list(app.listing());
        Ok(app)
    }

    pub(crate) fn set_calm(&mut self, calm: bool) {
        self.settings.calm = calm;
        self.screen.calm = calm;
        self.refilter();
    }

    /// Whether the list leaves out what needs no attention. It does not if a filter says
    /// which events to show: all of them are then shown.
    pub(crate) fn is_calm(&self) -> bool {
        self.screen.calm && self.screen.failures == Failures::Off && !self.filter.asks()
    }

    /// Whether the events of a kind are listed. In a calm list, most opens are not.
    pub(crate) fn lists(&self, kind: Kind) -> bool {
        self.screen.kinds.contains(kind) && !(kind == Kind::HUSHED && self.is_calm())
    }

    /// Which of the events that pass the filter have a row.
    pub(crate) fn listing(&self) -> Listing {
        match self.screen.failures {
            Failures::Unanswered => Listing::Unanswered,
            Failures::Off if self.is_calm() => Listing::Calm,
            _ => Listing::All,
        }
    }

    /// Whether events of this kind are collected.
    pub(crate) fn is_traced(&self, kinds: impl Into<KindSet>) -> bool {
        self.pipeline.kinds().is_none_or(|traced| !(traced & kinds.into()).is_empty())
    }

    /// Whether COMMAND runs, or without one the trace.
    pub(crate) fn is_running(&self) -> bool {
        self.output.as_ref().map_or(self.source == SourceState::Live, |output| output.ended.is_none())
    }

    /// The state of a process without an end. An excerpt may have left its exit out.
    pub(crate) fn without_end(&self) -> &'static str {
        if self.pipeline.excerpt().is_some() { "no exit" } else { "running" }
    }

    /// Processes, users, cgroups and clocks.
    pub fn world(&self) -> &World {
        self.pipeline.world()
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn events(&self) -> &EventList {
        &self.events
    }

    pub(crate) fn key_of(&self, action: Action) -> String {
        self.settings.preferences.keymap.first(action)
    }

    pub fn set_command(&mut self, name: impl Into<String>) {
        self.output = Some(Output::new(name));
        self.fit_command();
    }

    /// Sets the display filter. If it is not valid, the old filter stays.
    pub fn set_filter(&mut self, text: &str) -> Result<(), FilterError> {
        self.filter.set(text, self.pipeline.world())?;
        self.refilter();
        Ok(())
    }

    pub fn show_kinds(&mut self, kinds: KindSet) {
        self.screen.kinds = kinds;
        self.settings.kinds = kinds;
        self.refilter();
    }

    /// Shows a recording. The frames fed are a part of it.
    pub fn set_replay(&mut self, mut replay: Replay) {
        self.time.strip = Strip::new(replay.facts.span);
        self.pipeline.world_mut().ends_at = replay.ends_at();
        self.time.strip.set(std::mem::take(&mut replay.facts.density), replay.facts.span);
        if replay.facts.seekable {
            // What is evicted can be loaded again, in parts without gaps.
            self.store = Store::new(self.settings.budget.kept_bytes(0)).by_age();
        }
        self.replay = Some(replay);
        // The output is kept with its times, and shown by time.
        self.pipeline.world_mut().without_terminal = true;
    }

    pub fn areas(&self) -> Areas {
        screen::layout::areas(self.screen.width, self.screen.height, self.detail.size, self.has_side())
    }

    /// The height of the list in rows. It is at least 1, so that the selection can move while the detail pane covers the list.
    pub fn list_height(&self) -> usize {
        usize::from(self.areas().list.height).max(1)
    }

    /// Whether work is pending. If so, the next tick must come immediately.
    pub fn busy(&self) -> bool {
        self.events.scanning(&self.store)
            || self.detail.scanning(&self.store)
            || self.search.hunting()
            || self.search.counting(&self.store)
            || self.views.top.scanning(&self.store)
            || self.side.scanning(&self.store)
    }

    pub fn selected(&self) -> Option<Stored<'_>> {
        self.events.selected().and_then(|id| self.store.get(id))
    }

    /// The process in the detail pane.
    pub fn subject_process(&self) -> Option<Arc<Process>> {
        match self.detail.subject(self.events.selected())? {
            Subject::Event(id) => self.store.get(id)?.process.cloned(),
            Subject::Process(key) => self.world().processes.get(key).map(|entry| Arc::clone(&entry.process)),
        }
    }
}

impl TimeBase {
    /// The reference for a row of the list.
    pub(crate) fn of(app: &App, row: usize) -> TimeBase {
        let above = row.checked_sub(1).and_then(|above| app.events.row(above));
        TimeBase {
            mode: app.screen.time,
            zone: app.settings.zone,
            start_ns: app.rates.start_ns.unwrap_or_default(),
            above_ns: above.and_then(|id| app.loaded().time_of(id)),
        }
    }
}

impl ExitLine {
    pub fn of(app: &App) -> ExitLine {
        ExitLine {
            account: app.pipeline.account(),
            discrepancy: app.pipeline.discrepancy(),
            recordings: app.recordings.done.clone(),
            not_recorded: app.recordings.failure.clone(),
        }
    }
}

impl std::fmt::Display for ExitLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sum = self.account.sum();
        let at_most = if sum.bounded > 0 { "at most " } else { "" };
        write!(f, "{}, {at_most}{} lost", counted(sum.delivered, ["event", "events"]), grouped(sum.lost.sum()))?;
        for Recorded { name, bytes, evicted } in &self.recordings {
            write!(f, ", recorded to {name} ({})", counted(*bytes, ["byte", "bytes"]))?;
            if *evicted > 0 {
                write!(f, " without {} evicted before", counted(*evicted, ["event", "events"]))?;
            }
        }
        Ok(())
    }
}
