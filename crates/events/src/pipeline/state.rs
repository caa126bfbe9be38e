//! Saves the state of a pipeline as frames and restores it ([`crate::frame::state`]). A pipeline that is restored from
//! [`Pipeline::state`] and fed the following frames gives the same results as one that was fed all frames.

use super::gaps::push_lost;
use super::{Pipeline, programs};
use crate::account::Shortage;
use crate::event::lost::{Cause, LostRecord};
use crate::frame::host::{FIRST_KIND, HostFrame, Layout, Scanned, StatePart, Unfinished};
use crate::frame::state::{PendingFrames, Progress, StateFrame};
use crate::frame::{Batch, FrameRef};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;

/// The maximum size of the frames in one [`StatePart`], in bytes.
const PART: usize = 256 << 10;

/// The values of [`PendingFrames::stage`].
mod stage {
    pub(super) const ORDER: u8 = 0;
    pub(super) const ARGUMENTS: u8 = 1;
    pub(super) const END: u8 = 2;
    pub(super) const LOAD: u8 = 3;
    pub(super) const ATTACHED: u8 = 4;
}

impl Pipeline {
    /// The state as [`StatePart`]s, for [`restore`](Self::restore). The records that follow it have the layout of this version.
    pub fn state(&self) -> Batch {
        let [mut facts, mut tables] = [Batch::default(), Batch::default()];
        self.write_state(&mut facts, &mut tables);
        let mut parts = Batch::default();
        for (frames, slot) in [(facts, 0), (tables, StatePart::TABLES)] {
            let mut push = |frames: &[u8]| {
                let mut part = Batch::default();
                HostFrame::StatePart(StatePart { frames: frames.to_vec() }).push(self.order.latest, &mut part);
                part.frames().for_each(|part| parts.push(FrameHeader { slot, ..part.header }, part.payload));
            };
            let mut start = 0;
            for (offset, _) in frames.frames_with_offsets() {
                if offset - start >= PART {
                    push(&frames.bytes()[start..offset]);
                    start = offset;
                }
            }
            push(&frames.bytes()[start..]);
        }
        parts
    }

    /// Restores the state of a pipeline that was fed all earlier frames. Call it only on a new pipeline, after its
    /// budget is set. Frames that do not belong to a state are ignored.
    pub fn restore(&mut self, state: &Batch) {
        let mut waiting = Batch::default();
        let frames_of = |part: FrameRef<'_>| match HostFrame::decode(&part) {
            Some(HostFrame::StatePart(of)) => {
                Some((part.header.slot == StatePart::TABLES, Batch::from_bytes(of.frames)))
            }
            _ => None,
        };
        let parts: Vec<_> = state.frames().filter_map(frames_of).collect();
        // Host frames change stages too. Their saved states therefore come later, and those of the tables before the others.
        for (of_state, of_tables) in [(false, None), (true, Some(true)), (true, Some(false))] {
            let chosen = parts.iter().filter(|(tables, _)| of_tables.is_none_or(|of| of == *tables));
            for frame in chosen
                .flat_map(|(_, frames)| frames.frames())
                .filter(|frame| StateFrame::has(frame.header.kind) == of_state)
            {
                match StateFrame::decode(&frame) {
                    Some(StateFrame::PendingFrames(pending)) => {
                        let mut frames = Batch::from_bytes(pending.frames);
                        if let Some(layout) = &self.layout {
                            frames = layout.translate(&frames);
                        }
                        for frame in frames.frames() {
                            self.restore_pending(pending.stage, pending.number, &frame, &mut waiting);
                        }
                    }
                    _ => self.restore_frame(&frame),
                }
            }
        }
        self.order.add_made(waiting);
    }

    /// Continues after missing frames. The tables become those of a state, the events in between are counted as lost, and waiting
    /// events stay.
    pub(super) fn catch_up(&mut self, state: &Batch) {
        let known = self.at(state);
        let time = known.order.latest;
        let mut made = Batch::default();
        self.gaps.catch_up(&known.gaps, time).iter().for_each(|lost| push_lost(lost, &mut made));
        self.counted_until(&known, time).iter().for_each(|lost| push_lost(lost, &mut made));
        known.world.probes.iter().for_each(|probe| self.attached(probe));
        self.asked = known.asked.or(self.asked.take());
        self.excerpt = known.excerpt.or(self.excerpt.take());
        (self.layout, self.command) = (known.layout, known.command);
        self.ledger.unread_processes = known.ledger.unread_processes;
        self.programs.catch_up(known.programs);
        let before = std::mem::replace(&mut self.world, known.world);
        self.count(&before.counters, time, &mut made);
        self.order.add_made(made);
    }

    /// Counts the events without numbers that are missing here but are counted in a state: those of an excerpt, or those of the
    /// kernel's stream of programs.
    fn counted_until(&mut self, known: &Pipeline, time: BootNanos) -> Vec<LostRecord> {
        let waiting = |pipeline: &Pipeline, counts: &dyn Fn(&FrameRef<'_>) -> bool| {
            let mut sum = 0;
            pipeline.order.write_state(|frame| sum += u64::from(counts(frame)));
            sum
        };
        let is_excerpt = known.excerpt.is_some();
        let lost = Kind::PROBED.into_iter().map(|kind| {
            let is_of =
                |frame: &FrameRef<'_>| frame.header.kind == kind as u16 && (is_excerpt || programs::is_made(frame));
            let waits = [waiting(self, &is_of), waiting(known, &is_of)];
            let count = match is_excerpt {
                true => self.ledger.missed_of_excerpt(kind, &known.ledger, waits),
                false => self.ledger.missed_streamed(kind, &known.ledger, waits),
            };
            LostRecord::new(kind as u16, Cause::Read, None, count, BootNanos(0), time)
        });
        lost.filter(|lost| lost.count > 0).collect()
    }

    /// Continues from a later state of the same trace. The events in between count as filtered.
    ///
    /// Returns `false` and changes nothing if reading the frames in between would give another state: some of them cannot be read,
    /// data was evicted for lack of memory, or a request was given up. It also returns `false` for an excerpt.
    pub fn pass_over(&mut self, state: &Batch) -> bool {
        let later = self.at(state);
        let as_read = |pipeline: &Pipeline| (pipeline.gaps.holes, pipeline.requests.unseen);
        let same = as_read(self) == as_read(&later) && self.ledger.misses_as(&later.ledger);
        let odd = |pipeline: &Pipeline| pipeline.excerpt.is_some() || pipeline.layout.is_some();
        if !same || odd(self) || odd(&later) || later.account().shortage != Shortage::default() {
            return false;
        }
        self.become_later(later);
        true
    }

    /// Whether a batch is a later state, which replaces the tables. The events so far are then the kept ones of a trace whose recording
    /// began later.
    pub(super) fn is_restart(&self, batch: &Batch) -> bool {
        let first = batch.frames().next().filter(|frame| frame.header.kind >= FIRST_KIND);
        let Some(HostFrame::Restart(restart)) = first.and_then(|frame| HostFrame::decode(&frame)) else { return false };
        batch.len() <= self.budget.state() && batch.frames().count() - 1 == restart.parts as usize
    }

    /// Becomes a pipeline that was fed more frames of the same trace. Events that only the other one delivered count as filtered.
    pub(super) fn become_later(&mut self, mut later: Pipeline) {
        later.ledger.deliver_only(&self.ledger);
        later.windows = std::mem::take(&mut self.windows);
        *self = later;
    }

    /// A new pipeline in a given state, with the limits and the followed processes of this one.
    pub(super) fn at(&self, state: &Batch) -> Pipeline {
        let mut new = Pipeline::new(self.budget);
        new.world.without_terminal = self.world.without_terminal;
        new.restore(state);
        new.world.processes.follow(&self.world.processes.roots());
        new
    }

    /// Writes the facts, which do not depend on the tables, and the tables: processes, names, BPF programs, symbols, the terminal.
    fn write_state(&self, out: &mut Batch, tables: &mut Batch) {
        let latest = self.order.latest;
        HostFrame::Layout(Layout::own()).push(latest, out);
        if let Some(trace) = &self.asked {
            HostFrame::Trace(trace.clone()).push(latest, out);
        }
        if self.ledger.unread_processes > 0 {
            HostFrame::Scanned(Scanned { unread: self.ledger.unread_processes }).push(latest, out);
        }
        if let Some(excerpt) = &self.excerpt {
            HostFrame::Excerpt(excerpt.clone()).push(latest, out);
        }
        if self.unfinished {
            HostFrame::Unfinished(Unfinished { at: latest }).push(latest, out);
        }
        self.world.write_state(latest, out, tables);
        self.gaps.write_state(&self.arrived(), out);
        self.ledger.write_state(latest, out);
        let mut pending = |stage, number, frames: &mut Batch| {
            if !frames.is_empty() {
                let pending = PendingFrames { stage, number, frames: frames.bytes().to_vec() };
                StateFrame::PendingFrames(pending).push(latest, out);
            }
            frames.clear();
        };
        let mut waiting = Batch::default();
        self.order.write_state(|frame| {
            waiting.push(frame.header, frame.payload);
            if waiting.len() >= PART {
                pending(stage::ORDER, 0, &mut waiting);
            }
        });
        pending(stage::ORDER, 0, &mut waiting);
        self.assembler.write_state(&mut waiting);
        pending(stage::ARGUMENTS, 0, &mut waiting);
        self.requests.write_state(|number, header, payload| {
            waiting.push(header, payload);
            pending(stage::END, number, &mut waiting);
        });
        let mut attached = Batch::default();
        let programs = self.programs.write_state(
            |frame| {
                waiting.push(frame.header, frame.payload);
                pending(stage::LOAD, 0, &mut waiting);
            },
            |header, end| attached.push(header, end),
        );
        for frame in attached.frames() {
            waiting.push(frame.header, frame.payload);
            if waiting.len() >= PART {
                pending(stage::ATTACHED, 0, &mut waiting);
            }
        }
        pending(stage::ATTACHED, 0, &mut waiting);
        StateFrame::ProgramsState(programs).push(latest, out);
        StateFrame::Progress(self.progress()).push(latest, out);
    }

    fn restore_pending(&mut self, stage: u8, number: u64, frame: &FrameRef<'_>, waiting: &mut Batch) {
        match stage {
            stage::ORDER => waiting.push(frame.header, frame.payload),
            stage::ARGUMENTS => self.assembler.restore(frame),
            stage::END => self.requests.restore(number, frame),
            stage::LOAD => self.programs.restore_waiting(frame),
            stage::ATTACHED => self.programs.attached.restore(&frame.header, frame.payload),
            _ => {}
        }
    }

    fn restore_frame(&mut self, frame: &FrameRef<'_>) {
        if frame.header.kind < FIRST_KIND {
            return;
        }
        match StateFrame::decode(frame) {
            Some(StateFrame::StreamState(state)) => {
                self.gaps.restore(&state);
                self.assembler.restore_cut_short((state.slot, state.cpu), state.arrived.cut_short);
            }
            Some(StateFrame::KindState(state)) => self.ledger.restore(&state),
            Some(StateFrame::ProgramsState(programs)) => self.programs.restore(&programs),
            Some(StateFrame::Progress(progress)) => self.restore_progress(&progress),
            Some(frame) => self.world.restore(&frame),
            None => self.restore_host(frame),
        }
    }

    /// Applies an ordinary host frame. Counters are not compared with the events: the saved state contains the result.
    fn restore_host(&mut self, frame: &FrameRef<'_>) {
        match HostFrame::decode(frame) {
            Some(counters @ HostFrame::CounterChanges(_)) => self.world.apply_host(counters, frame.header.time),
            Some(_) => self.host(frame, &mut Batch::default()),
            None => {}
        }
    }

    fn progress(&self) -> Progress {
        let Pipeline { order, gaps, requests, ledger, .. } = self;
        let (missing_times, missing) = ledger.missing.clone();
        Progress {
            latest: order.latest,
            drained: order.drained,
            unframed: ledger.unframed,
            unsettled: ledger.unsettled,
            command_runs: self.command.is_some_and(|command| command.runs),
            counters: BootNanos(gaps.counted_at),
            uncompared: ledger.uncompared.map(|at| at.0),
            missing_times,
            missing,
            requests: requests.met,
            hollow: requests.hollow,
            unseen: requests.unseen,
            requests_counted: requests.counted_at,
            holes: gaps.holes,
            behind: gaps.is_behind(),
            late: ledger.late.0,
            handed_on: ledger.late.1,
            settled: order.settled,
        }
    }

    fn restore_progress(&mut self, progress: &Progress) {
        let Pipeline { order, gaps, requests, ledger, .. } = self;
        (order.latest, order.drained, order.settled) = (progress.latest, progress.drained, progress.settled);
        (gaps.counted_at, gaps.holes) = (progress.counters.0, progress.holes);
        gaps.known = progress.holes.saturating_sub(progress.behind.into());
        (requests.met, requests.hollow, requests.unseen) = (progress.requests, progress.hollow, progress.unseen);
        requests.counted_at = progress.requests_counted;
        (ledger.unframed, ledger.unsettled) = (progress.unframed, progress.unsettled);
        ledger.uncompared = progress.uncompared.map(BootNanos);
        ledger.missing = (progress.missing_times, progress.missing.clone());
        ledger.late = (progress.late, progress.handed_on);
        if let Some(command) = &mut self.command {
            command.runs = progress.command_runs;
        }
    }
}

/// Whether a batch is a part of a state.
pub(super) fn is_state(batch: &Batch) -> bool {
    batch.frames().next().is_some_and(|frame| matches!(HostFrame::decode(&frame), Some(HostFrame::StatePart(_))))
}
