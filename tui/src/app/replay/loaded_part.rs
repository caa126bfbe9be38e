//! The loaded part of a recording, or the kept part of a trace, and the selected row in it. Times are CLOCK_BOOTTIME in ns.

use super::Target;
use crate::app::App;
use crate::app::search::Way;
use crate::app::views::View;
use crate::app::views::state::Moment;
use tracetui_events::store::Id;
use tracetui_events::text::grouped;
use tracetui_shared::time::BootNanos;

impl App {
    pub(crate) fn loaded(&self) -> LoadedPart<'_> {
        LoadedPart(self)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct LoadedPart<'a>(&'a App);

impl LoadedPart<'_> {
    pub(crate) fn time_of(self, id: Id) -> Option<u64> {
        self.0.store.get(id).map(|stored| stored.time.0)
    }

    /// The moment that the views other than the events show: that of the selected event, or of a pause. `None` means now. At the start
    /// of a replay, Tree and Top show everything loaded. A process fails later than the call that is its cause: the tree of failures has
    /// no moment.
    pub(crate) fn moment(self) -> Option<Moment> {
        if self.0.screen.failures.only() && self.0.views.shown == View::Tree {
            return None;
        }
        let is_paused = self.0.replay.as_ref().is_some_and(|replay| !replay.plays());
        let at_start = is_paused && self.0.views.shown != View::Bpf && self.0.events.at_top();
        let until = self.0.events.until().filter(|_| !at_start || !self.begins_at_start())?;
        let before = self.0.store.range(0..until).next_back();
        let last = before.or_else(|| self.0.store.get(self.0.store.first_id()));
        Some(Moment { until, time: last?.time })
    }

    /// Whether the views show the whole recording because its first event is selected: nothing precedes it.
    pub(crate) fn is_of_all(self) -> bool {
        let at_end = self.0.replay.as_ref().is_some_and(|replay| !replay.plays() && replay.at_end());
        at_end && self.moment().is_none() && self.all()
    }

    pub(in crate::app) fn first_ns(self) -> Option<u64> {
        self.time_of(self.0.store.first_id())
    }

    pub(in crate::app) fn last_ns(self) -> Option<u64> {
        self.time_of(self.0.store.next_id().checked_sub(1)?)
    }

    pub(crate) fn selected_ns(self) -> Option<u64> {
        self.0.events.selected().and_then(|id| self.time_of(id))
    }

    /// The first row at or after this time; the number of rows if there is none.
    pub(crate) fn row_at(self, ns: u64) -> usize {
        let time = |row: usize| self.0.events.row(row).and_then(|id| self.time_of(id)).unwrap_or(u64::MAX);
        let (mut from, mut to) = (0, self.0.events.rows());
        while from < to {
            let middle = from + (to - from) / 2;
            if time(middle) < ns { from = middle + 1 } else { to = middle }
        }
        from
    }

    /// The event at a target, if it is loaded. `ended`: no more will be loaded, so a later target is the last event.
    pub(crate) fn row_of(self, target: Target, ended: bool) -> Option<Id> {
        let rows = self.0.events.rows();
        let last = rows.checked_sub(1).filter(|_| !self.0.events.scanning(&self.0.store))?;
        match target {
            Target::First => self.0.events.row(0),
            Target::At(ns) if self.row_at(ns) < rows => self.0.events.row(self.row_at(ns)),
            Target::At(_) | Target::Last => self.0.events.row(last).filter(|_| ended),
        }
    }

    /// The time span of the recording as far as it is known (CLOCK_BOOTTIME, ns).
    pub(crate) fn span(self) -> Option<(u64, u64)> {
        let known = self.0.replay.as_ref().and_then(|replay| replay.facts.span);
        // Live, time goes on without events.
        let now = if self.0.replay.as_ref().is_none() { self.0.pipeline.world().counted_at.0 } else { 0 };
        let loaded = || Some((self.0.rates.start_ns?, self.last_ns()?.max(now)));
        match (known, loaded()) {
            (Some((start, end)), Some((_, latest))) => Some((start, end.max(latest))),
            // The times of a pipe may be out of order.
            (known, loaded) => known.or(loaded.map(|(start, latest)| (start, latest.max(start)))),
        }
    }

    /// The time of the selected event, or the position of a replay, or the time that it is going to (CLOCK_BOOTTIME, ns).
    pub(crate) fn position(self) -> Option<u64> {
        let Some(replay) = self.0.replay.as_ref() else { return self.selected_ns() };
        match (replay.transport.target(), replay.transport.playing().map(|playing| playing.at)) {
            (Some(Target::At(ns)), _) => Some(self.span().map_or(ns, |(start, end)| ns.clamp(start, end))),
            (_, Some(at)) => Some(at),
            _ => self.selected_ns(),
        }
    }

    /// The number of the selected event, from 1, and the number of all events. `None` if earlier or later ones are not loaded.
    pub(crate) fn numbers(self) -> (Option<u64>, Option<u64>) {
        let Some(replay) = self.0.replay.as_ref().filter(|replay| replay.from_start) else { return (None, None) };
        let evicted = self.0.store.evicted();
        let at = self.0.events.selected().map(|at| evicted + self.0.store.events_before(at + 1));
        (at, replay.at_end().then(|| evicted + self.0.store.events()))
    }

    /// Whether the recording has nothing before the kept events.
    pub(crate) fn begins_at_start(self) -> bool {
        self.0.replay.as_ref().is_none_or(|replay| replay.from_start) && self.0.store.evicted() == 0
    }

    /// Whether the whole recording is loaded, or the rest cannot be read.
    pub(crate) fn all(self) -> bool {
        let replay = self.0.replay.as_ref().filter(|replay| replay.facts.seekable);
        replay.is_none_or(|replay| self.begins_at_start() && replay.at_end())
    }

    /// Whether rows outside memory may exist that can be loaded.
    pub(crate) fn has_unloaded_rows(self) -> bool {
        self.0
            .replay
            .as_ref()
            .filter(|replay| replay.facts.seekable)
            .is_some_and(|replay| !(self.begins_at_start() && replay.at_end()))
    }

    /// Whether more frames are wanted: if memory allows, or the position is near the end of the loaded part.
    pub(crate) fn wants_frames(self) -> bool {
        let Some(replay) = self.0.replay.as_ref() else { return true };
        let (first, next) = (self.0.store.first_id(), self.0.store.next_id());
        let at = self.0.events.selected().unwrap_or(first);
        let near_the_end = at - first.min(at) >= (next - first) / 4 * 3;
        let follows = self.0.events.follows && replay.grows();
        follows
            || replay.transport.target().is_some()
            || near_the_end
            || self.0.store.bytes() < self.0.store.bound / 4 * 3
    }

    /// How much of the way to the target or the end is loaded, in percent, during loading.
    pub(crate) fn progress(self) -> Option<u64> {
        self.0.replay.as_ref().filter(|replay| !replay.at_end() && self.wants_frames())?.progress()
    }

    /// The time of a replay: the time of the selected row, or the end after the last event.
    pub(in crate::app) fn shown_until(self) -> BootNanos {
        let playing = self.0.replay.as_ref().and_then(|replay| replay.transport.playing()).map(|playing| playing.at);
        let last = self.0.store.next_id().saturating_sub(1);
        match (playing, self.0.events.selected().and_then(|id| self.0.store.get(id))) {
            (Some(at), _) => BootNanos(at),
            (None, Some(selected)) if selected.id != last => selected.time,
            _ => BootNanos(u64::MAX),
        }
    }

    /// The number of the recording's events that the pipeline knows, in the loaded part or before it.
    pub(in crate::app) fn events_read(self) -> u64 {
        let sum = self.0.pipeline.account().sum();
        sum.delivered.saturating_add(sum.filtered)
    }

    /// The number of kept events that the filter and the kinds hide; 0 while filtering is running.
    pub(crate) fn hidden(self) -> u64 {
        if self.0.events.scanning(&self.0.store) {
            0
        } else {
            self.0.store.events().saturating_sub(self.0.events.all_events())
        }
    }

    /// How far the search has read the recording, in percent. `None` without a search.
    pub(crate) fn searched(self) -> Option<u64> {
        let finding = self.0.replay.as_ref()?.finding.as_ref()?;
        let (start, end) = self.span()?;
        let (from, to) = (finding.find.from_ns.clamp(start, end), finding.find.to_ns.clamp(start, end));
        let passed = match finding.find.way {
            Way::Down => finding.at_ns.clamp(from, to.max(from)) - from,
            Way::Up => to - finding.at_ns.clamp(from.min(to), to),
        };
        Some(u64::try_from(u128::from(passed) * 100 / (u128::from(to.saturating_sub(from)) + 1)).unwrap_or(100))
    }

    /// The status line's text about the search in the recording.
    pub(crate) fn searching(self) -> Option<String> {
        let percent = self.searched()?;
        let events = self.0.replay.as_ref().map_or(0, |replay| replay.facts.events);
        Some(format!("searching the recording ({} events): {percent} %; Esc stops", grouped(events)))
    }
}
