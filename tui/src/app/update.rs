//! The effect of each input on the state.

use super::command::output::{self, Output};
use super::input::Measurement;
use super::keys::device::KeyEventKind;
use super::keys::keymap::Action;
use super::prompt::Purpose;
use super::replay::Replay;
use super::search::Found;
use super::views::detail::Subject;
use super::views::event_list::{Added, Listing, ShowConditions};
use super::views::{View, Views};
use super::{App, Effect, Effects, Extent, Input, Memory, Signal, SourceState, Tick};
use tracetui_events::frame::Batch;
use tracetui_events::pipeline::Disposition;
use tracetui_events::search::Related;
use tracetui_events::store::index::Answer;
use tracetui_shared::kind::{Kind, KindSet};

/// How many kept events a slice filters, and how many rows a slice of a search checks.
const SLICE: usize = 4_000;

impl App {
    pub fn update(&mut self, input: Input) -> Effects {
        let mut redraws = true;
        match input {
            Input::Batch(batch) => redraws = self.batch(batch),
            Input::Restore(state, from_start) => self.restore(state.as_ref(), from_start),
            Input::ReadFailed(why) => {
                self.replay.iter_mut().for_each(|replay| replay.fail(why.clone()));
                self.notify(why);
            }
            Input::Finding(ns) => {
                let finding = self.replay.as_mut().and_then(|replay| replay.finding.as_mut());
                finding.into_iter().for_each(|finding| finding.at_ns = ns);
            }
            Input::Found(Ok(found)) => self.found_in_recording(found),
            Input::Found(Err(why)) => {
                self.replay.iter_mut().for_each(|replay| _ = replay.stop_finding());
                self.notify(why);
            }
            Input::Comparing(percent) => self.comparing(percent),
            Input::Compared(result) => self.compared(result),
            Input::Looked(id, answer) => self.reasons.looked(id, answer),
            Input::Key(key) => redraws = key.kind != KeyEventKind::Release && self.key(&key),
            Input::Paste(text) => redraws = self.paste(&text),
            Input::Mouse(mouse) => redraws = self.mouse(&mouse),
            Input::Resize(width, height) => {
                (self.screen.width, self.screen.height) = (width, height);
                self.fit_command();
            }
            Input::Tick(tick) => redraws = self.tick(tick),
            Input::Signal(signal) => {
                redraws = false;
                self.effects.push(match signal {
                    Signal::End => Effect::Quit,
                    Signal::Suspend => Effect::Suspend,
                    Signal::Continue => Effect::Clear,
                });
            }
            Input::Output(bytes) => redraws = self.wrote(&bytes),
            Input::CommandEnded(how) => self.command_ended(how),
            Input::RunsAgain(runs) => self.runs_again(runs),
            Input::SourceEnded => {
                self.source = SourceState::Ended;
                self.replay.iter_mut().for_each(Replay::end);
                self.pipeline.end();
                self.store_delivered();
            }
            Input::Recording(name) => {
                let began = self.recordings.begin(name, self.store.events(), &self.key_of(Action::Record));
                self.notify(began);
            }
            Input::KeptEvicted(events) => {
                self.recordings.evicted(events).into_iter().for_each(|text| self.notify(text));
            }
            Input::Recorded(bytes) => {
                redraws = false;
                self.recordings.wrote(bytes);
            }
            Input::RecordingEnded(bytes) => self.recordings.end(bytes).into_iter().for_each(|text| self.notify(text)),
            Input::NotRecorded(why) => {
                let failed = self.recordings.fail(why);
                self.notify(failed);
            }
        }
        self.settle();
        let counts = self.views.shown == View::Bpf && self.replay.is_none();
        let mut effects = std::mem::take(&mut self.effects);
        effects.extend(redraws.then_some(Effect::Redraw));
        if std::mem::replace(&mut self.counts_runs, counts) != counts {
            effects.push(Effect::CountRuns(counts));
        }
        effects.extend(self.reasons.question.take().map(|(id, question)| Effect::Look(id, question)));
        effects.extend(self.replay.as_mut().and_then(|replay| replay.asked.take()).map(Effect::Find));
        effects
    }

    /// Keeps the selected row on the screen and the detail pane on its process.
    fn settle(&mut self) {
        self.settle_replay();
        self.settle_verdict();
        let (chosen, at) = (self.events.chosen, self.loaded().selected_ns());
        self.replay.iter_mut().for_each(|replay| replay.play_from(chosen, at, self.now));
        if self.screen.shows_output() || self.detail.size.is_some() {
            let until = self.loaded().shown_until();
            self.output.iter_mut().for_each(|output| output.show(until));
        }
        self.settle_side();
        self.events.reveal(self.list_height());
        if self.events.hold(self.list_height(), &mut self.store) {
            self.evict();
        }
        if self.views.shown == View::Top {
            self.views.count(self.loaded().moment(), &self.events, &self.store, self.pipeline.world());
        }
        let of_event = self.detail.size.is_some() && self.views.shown == View::Events;
        self.detail.belong_to(self.events.selected());
        let process = self.subject_process().map(|process| process.key);
        self.detail.about(process.filter(|_| of_event), &self.store);
        let subject = self.detail.subject(self.events.selected()).filter(|_| of_event);
        let connection = match subject {
            Some(Subject::Event(id)) => self.store.get(id).and_then(|stored| Related::of(&stored)),
            _ => None,
        };
        self.detail.join(connection, &self.store);
        if let Some(Subject::Event(id)) = subject {
            let id = self.views.tree.cause_of(id, &self.store).map_or(id, |reason| reason.id);
            // A recording has no files to examine.
            let asks = self.replay.is_none();
            self.reasons.look(id, &self.store, self.pipeline.world(), self.now, asks);
        }
    }

    /// Returns whether the screen changes.
    fn batch(&mut self, batch: Batch) -> bool {
        let before = self.loaded().progress();
        self.replay.iter_mut().for_each(|replay| replay.took(&batch));
        // Progress is shown even if the batch has no events.
        let loading = self.loaded().progress() != before;
        let output = self.replay.as_ref().and_then(|_| output::frames_of(&batch));
        self.pipeline.feed(batch);
        if let Some(frames) = output {
            Output::replay(&mut self.output, &frames, self.pipeline.world().terminal());
        }
        self.store_delivered() || loading
    }

    /// Stores the events that the pipeline delivers. Returns whether there are any.
    fn store_delivered(&mut self) -> bool {
        let App {
            pipeline,
            store,
            events,
            detail,
            views: Views { tree, top, .. },
            rates,
            summary,
            filter,
            screen,
            time,
            replay,
            search,
            searches,
            watches,
            side,
            ..
        } = self;
        let command = pipeline.command();
        let shown =
            ShowConditions { kinds: screen.kinds, failures: screen.failures.only(), filter: filter.applied.as_ref() };
        let folds = events.listing() == Listing::Calm;
        let before = store.next_id();
        pipeline.next(None, &mut |seen, frame| {
            rates.count(seen.event, frame.header.time.0);
            command.into_iter().for_each(|command| summary.count(seen, command));
            time.strip.count(seen);
            let id = store.push(seen, frame);
            let answer = shown.answer(seen.event.kind(), seen.event.failed(), |filter| filter.matches(seen));
            let taken = searches.take(id, seen);
            let watched = watches.count(seen);
            let answered = taken.answered.iter().any(|answered| answered.id == id);
            tree.nodes.append(id, seen, answer == Answer::Yes, taken.cause);
            let job = seen.process.filter(|_| folds).and_then(|process| tree.nodes.job(process.key));
            let job = job.and_then(|job| shown.shown_job(job, store, seen.world));
            events.append(Added { id, answer, watched, answered, job }, seen, store);
            if answer != Answer::No {
                search.append(id, seen, events);
            }
            for answered in taken.answered {
                store.answer(answered.id);
                tree.nodes.answered(answered);
                summary.answered(answered.kind);
                // This event is not counted yet.
                if let Some(failed) = store.get(answered.id).filter(|failed| failed.id < id) {
                    if events.passes(failed.id) && KindSet::CALLS.contains(failed.kind) {
                        top.answered(&failed, seen.world);
                    }
                    events.answered(&failed, store);
                }
            }
            if let Some(stored) = store.get(id) {
                if answer == Answer::Yes {
                    side.append(&stored, seen);
                    top.append(&stored, seen.world);
                }
                detail.append(&stored);
            }
            Disposition::Delivered
        });
        let now = pipeline.world().counted_at;
        tree.reached(now);
        if replay.is_none() {
            time.strip.reach(now.0);
        }
        // Events may use all memory that nothing else needs.
        let others = Memory::of(self).others();
        self.store.set_bound(self.settings.budget.kept_bytes(others));
        self.evict();
        self.watched();
        self.store.next_id() != before
    }

    /// Removes the events that the store evicted since the last call. That takes time for each row, so it is not done for each batch.
    fn evict(&mut self) {
        let App { store, events, detail, search, evicted, .. } = self;
        let now = (store.evicted(), store.first_id(), store.pinned());
        if std::mem::replace(evicted, now) == now {
            return;
        }
        events.evict(store);
        detail.evict(store);
        search.evict(store);
    }

    /// Stores the result of drawing: the selected row, and the scroll limits of the panes.
    pub fn drew(&mut self, extent: Extent) {
        self.detail.drew(extent.scroll, extent.row_hidden);
        self.extent = extent;
        self.drawn = self.events.selected();
    }

    /// Returns whether the screen changes.
    fn tick(&mut self, tick: Tick) -> bool {
        self.now = tick.now;
        let second = self.rates.tick(tick.now);
        let expired = self.screen.expire(tick.now);
        if let Some(usage) = tick.usage {
            self.usage = Some(Measurement::of(usage, tick.now, self.usage));
        }
        let released = self.store_delivered() | self.play();
        if second {
            self.views.tree.nodes.settle(&self.pipeline.world().processes);
        }
        let worked = self.work();
        if second {
            let keys = Some(self.next_to_measure()).filter(|keys| !keys.is_empty());
            self.effects.extend(keys.map(Effect::Measure));
        }
        second || expired || released || worked
    }

    /// Continues long-running work. `false` if none is left.
    pub(super) fn work(&mut self) -> bool {
        let busy = self.busy();
        let all = self.replay.is_none() || self.loaded().all();
        let App {
            pipeline,
            store,
            events,
            detail,
            views: Views { tree, top, .. },
            filter,
            screen,
            search,
            watches,
            side,
            ..
        } = self;
        let world = pipeline.world();
        let shown =
            ShowConditions { kinds: screen.kinds, failures: screen.failures.only(), filter: filter.applied.as_ref() };
        let folds = events.listing() == Listing::Calm;
        let done = events.scan(store, world, SLICE, watches, |stored, is_older| {
            let answer = shown.answer_stored(stored, world);
            if let (Answer::Yes, Some(process), Some(_)) = (answer, stored.process, shown.filter) {
                tree.nodes.matched(process.key);
            }
            if is_older && answer == Answer::Yes {
                side.add_older(stored, world);
            }
            let job = stored.process.filter(|_| folds).and_then(|process| tree.nodes.job(process.key));
            (answer, job.and_then(|job| shown.shown_job(job, store, world)))
        });
        if done {
            search.recount();
        }
        top.scan(events, store, world, SLICE);
        detail.scan(store, SLICE * 4);
        let found = search.hunt(events, all, store, world, SLICE);
        search.count(events, store, world, SLICE);
        self.scan_side(SLICE);
        self.found(found);
        busy
    }

    fn found(&mut self, found: Found) {
        match found {
            Found::Nothing => {}
            Found::None(back) => {
                back.into_iter().for_each(|id| self.events.select(id, self.list_height(), &self.store));
                let (opens, unfolds) = (self.key_of(Action::Toggle(Kind::HUSHED)), self.key_of(Action::FoldAll));
                let has_groups = self.events.events() as usize + self.events.gaps() > self.events.rows();
                self.notify(match self.is_calm() {
                    true => format!("no match in the list; {opens} lists all opens"),
                    false if has_groups => format!("no match in the list; {unfolds} lists each event"),
                    false => "no match".to_owned(),
                });
            }
            Found::Edge(way, back) => {
                back.into_iter().for_each(|id| self.events.select(id, self.list_height(), &self.store));
                if self.line_for(Purpose::Search).is_none() {
                    self.look_further(way, self.search.pattern.clone());
                }
            }
            Found::Row(id, wrapped) => {
                // The earlier target, which is still to come, is no longer wanted.
                self.replay.iter_mut().for_each(|replay| replay.transport.found());
                self.search.moved = self.line_for(Purpose::Search).is_some();
                self.events.select(id, self.list_height(), &self.store);
                if wrapped {
                    self.notify("search wrapped around");
                }
            }
        }
    }

    pub(crate) fn notify(&mut self, text: impl Into<String>) {
        self.screen.notify(text, self.now);
    }
}
