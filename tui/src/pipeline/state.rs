//! Saves the state of a pipeline as frames and restores it ([`crate::frame::state`]). A pipeline that is restored from
//! [`Pipeline::state`] and fed the following frames gives the same results as one that was fed all frames.

use super::command::CommandTree;
use super::{Pipeline, programs, push_lost};
use crate::account::{Counted, LostBy, Shortage};
use crate::event::lost::{Cause, LostRecord};
use crate::frame::host::{FIRST_KIND, HostFrame, Layout, Scanned, StatePart, Unfinished};
use crate::frame::state::{KindState, LostRows, PendingFrames, PendingLayout, Progress, StateFrame};
use crate::frame::{Batch, FrameRef};
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;

/// The maximum of bytes of frames in one [`StatePart`].
const PART: usize = 256 << 10;

/// What a frame waits for: the values of [`PendingFrames::stage`].
mod stage {
    /// Its place in the order.
    pub(super) const ORDER: u8 = 0;
    /// The rest of its arguments.
    pub(super) const ARGUMENTS: u8 = 1;
    /// The completion of the request.
    pub(super) const END: u8 = 2;
    /// The end of the system call that loaded a program.
    pub(super) const LOAD: u8 = 3;
}

impl Pipeline {
    /// The state as [`StatePart`]s, for [`restore`](Self::restore).
    pub fn state(&self) -> Batch {
        let mut frames = Batch::default();
        self.write_state(&mut frames);
        let mut parts = Batch::default();
        let time = self.order.read_until().0;
        let mut push = |frames: &[u8]| {
            HostFrame::StatePart(StatePart { frames: frames.to_vec() }).push(time, &mut parts);
        };
        let mut start = 0;
        for (offset, _) in frames.frames_with_offsets() {
            if offset - start >= PART {
                push(&frames.bytes()[start..offset]);
                start = offset;
            }
        }
        push(&frames.bytes()[start..]);
        parts
    }

    /// Restores the state of a pipeline that was fed all earlier frames. Call it only on a new pipeline, after its
    /// budget is set. Frames that do not belong to a state are ignored.
    pub fn restore(&mut self, state: &Batch) {
        let (mut waiting, mut converted) = (Batch::default(), false);
        for part in state.frames() {
            let Some(HostFrame::StatePart(part)) = HostFrame::decode(&part) else { continue };
            for frame in Batch::from_bytes(part.frames).frames() {
                match (StateFrame::decode(&frame), &self.layout) {
                    (Some(StateFrame::PendingLayout(layout)), _) => converted = layout.own,
                    (Some(StateFrame::PendingFrames(pending)), layout) => {
                        let mut frames = Batch::from_bytes(pending.frames);
                        if let Some(layout) = layout.as_ref().filter(|_| !converted) {
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
        let read_until = self.order.read_until();
        self.order.restore(waiting, read_until);
    }

    /// Continues after frames that are missing: the tables become those of a state, and the events between are counted as lost.
    /// Events that wait stay as they are.
    pub(super) fn catch_up(&mut self, state: &Batch) {
        let known = self.at(state);
        let time = known.order.read_until().0;
        let mut made = Batch::default();
        self.gaps.catch_up(&known.gaps, time).iter().for_each(|lost| push_lost(lost, &mut made));
        if known.excerpt.is_some() {
            self.excerpt_lost(&known, time).iter().for_each(|lost| push_lost(lost, &mut made));
        } else if let Some(lost) = self.streamed_lost(&known, time) {
            push_lost(&lost, &mut made);
        }
        known.world.probes().iter().for_each(|probe| self.attached(probe));
        self.asked = known.asked.or(self.asked.take());
        self.excerpt = known.excerpt.or(self.excerpt.take());
        (self.layout, self.command, self.unread) = (known.layout, known.command, known.unread);
        let before = std::mem::replace(&mut self.world, known.world);
        self.count(before.counters(), time, &mut made);
        self.order.add_made(made);
    }

    /// Counts the events of the kernel's stream of programs that are missing here and that the pipeline of a state was fed.
    fn streamed_lost(&mut self, known: &Pipeline, time: BootNanos) -> Option<LostRecord> {
        let taken = |pipeline: &Pipeline| {
            let mut sum = pipeline.counted.get(Kind::Bpf).streamed;
            pipeline.order.write_state(|frame| sum += u64::from(programs::is_made(frame)));
            sum
        };
        let count = taken(known).saturating_sub(taken(self));
        let stream_lost = known.counted.get(Kind::Bpf).stream_lost;
        let bpf = self.counted.of(Kind::Bpf)?;
        bpf.stream_lost = bpf.stream_lost.max(stream_lost);
        (bpf.streamed, bpf.unread) = (bpf.streamed.saturating_add(count), bpf.unread.saturating_add(count));
        let (of, cause, to_ns) = (Kind::Bpf as u16, Cause::Read as u16, time.0);
        (count > 0).then_some(LostRecord { of, cause, cpu: u32::MAX, count, from_ns: 0, to_ns })
    }

    /// Counts the events of an excerpt that are missing here and that the pipeline of a state was fed.
    fn excerpt_lost(&mut self, known: &Pipeline, time: BootNanos) -> Vec<LostRecord> {
        let taken = |pipeline: &Pipeline, kind: Kind| {
            let Counted { delivered, filtered, unread, .. } = pipeline.counted.get(kind);
            let mut sum = delivered.saturating_add(filtered).saturating_add(unread);
            pipeline.order.write_state(|frame| sum += u64::from(frame.header.kind == kind as u16));
            sum
        };
        let mut lost = Vec::new();
        for kind in Kind::PROBED {
            let count = taken(known, kind).saturating_sub(taken(self, kind));
            let Some(counted) = self.counted.of(kind).filter(|_| count > 0) else { continue };
            counted.lost_rows.read = counted.lost_rows.read.saturating_add(count);
            let (of, cause, to_ns) = (kind as u16, Cause::Read as u16, time.0);
            lost.push(LostRecord { of, cause, cpu: u32::MAX, count, from_ns: 0, to_ns });
        }
        lost
    }

    /// Goes on from a later state of the same trace. The events in between count as filtered.
    ///
    /// `false`, and it stays as it is, if that would not be what is known after reading the frames in between: some of them
    /// cannot be read, or things were forgotten for lack of memory, or a request was given up; or if it is an excerpt.
    pub fn pass_over(&mut self, state: &Batch) -> bool {
        let later = self.at(state);
        let unread = |pipeline: &Pipeline, kind| {
            let Counted { unread, kept_unread, .. } = pipeline.counted.get(kind);
            (unread, kept_unread)
        };
        let as_read = |pipeline: &Pipeline| (pipeline.gaps.holes(), pipeline.unframed, pipeline.requests.unseen());
        let same = as_read(self) == as_read(&later)
            && Kind::PROBED.into_iter().all(|kind| unread(self, kind) == unread(&later, kind));
        let odd = |pipeline: &Pipeline| pipeline.excerpt.is_some() || pipeline.layout.is_some();
        if !same || odd(self) || odd(&later) || later.account().shortage != Shortage::default() {
            return false;
        }
        self.become_later(later);
        true
    }

    /// Goes on from a state that replaces what is known, and that is later than the events so far: they are the kept ones of a trace
    /// whose recording began later.
    pub(super) fn restart(&mut self, state: &Batch) {
        self.become_later(self.at(state));
    }

    /// Becomes a pipeline that was fed more frames of the trace. What only that one delivered counts as filtered.
    fn become_later(&mut self, mut later: Pipeline) {
        for kind in Kind::PROBED {
            let Counted { delivered, cut, .. } = self.counted.get(kind);
            if let Some(counted) = later.counted.of(kind) {
                counted.filtered = counted.filtered.saturating_add(counted.delivered).saturating_sub(delivered);
                (counted.delivered, counted.cut) = (delivered, cut);
            }
        }
        later.windows = std::mem::take(&mut self.windows);
        *self = later;
    }

    /// A new pipeline with the limits and the followed processes of this one, and a state.
    pub(super) fn at(&self, state: &Batch) -> Pipeline {
        let mut new = Pipeline { budget: self.budget, ..Pipeline::default() };
        new.set_budget(self.budget);
        new.restore(state);
        new.follow(&self.world.processes.roots());
        new
    }

    fn write_state(&self, out: &mut Batch) {
        let (latest, drained) = self.order.read_until();
        HostFrame::Layout(self.layout.clone().unwrap_or_else(Layout::own)).push(latest, out);
        // Frames are converted when they are fed.
        if self.layout.is_some() {
            StateFrame::PendingLayout(PendingLayout { own: true }).push(latest, out);
        }
        if let Some(trace) = &self.asked {
            HostFrame::Trace(trace.clone()).push(latest, out);
        }
        if self.unread > 0 {
            HostFrame::Scanned(Scanned { unread: self.unread }).push(latest, out);
        }
        if let Some(excerpt) = &self.excerpt {
            HostFrame::Excerpt(excerpt.clone()).push(latest, out);
        }
        if self.unfinished {
            HostFrame::Unfinished(Unfinished { at: latest }).push(latest, out);
        }
        self.world.write_state(out);
        self.gaps.write_state(&self.arrived(), out);
        for kind in Kind::PROBED {
            let Counted { delivered, filtered, own, unread, kept, kept_unread, cut, lost_rows, .. } =
                self.counted.get(kind);
            let Counted { streamed, stream_lost, .. } = self.counted.get(kind);
            let kind = kind as u16;
            let state =
                KindState { kind, delivered, filtered, own, unread, kept, kept_unread, cut, streamed, stream_lost };
            StateFrame::KindState(state).push(latest, out);
            if self.excerpt.is_some() {
                let LostBy { ring, probe, read, .. } = lost_rows;
                StateFrame::LostRows(LostRows { kind, ring, probe, read }).push(latest, out);
            }
        }
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
        let programs = self.programs.write_state(|frame| {
            waiting.push(frame.header, frame.payload);
            pending(stage::LOAD, 0, &mut waiting);
        });
        StateFrame::ProgramsState(programs).push(latest, out);
        let progress = Progress {
            latest,
            drained,
            unframed: self.unframed,
            unsettled: self.unsettled,
            command_runs: self.command.is_some_and(CommandTree::runs),
            counters: self.gaps.counted_at(),
            uncompared: self.counted_at.map(|at| at.0),
            missing_times: self.missing.0,
            missing: self.missing.1.clone(),
            requests: self.requests.met(),
            hollow: self.requests.hollow(),
            unseen: self.requests.unseen(),
            requests_counted: self.requests.counted_at(),
            holes: self.gaps.holes(),
            behind: self.gaps.is_behind(),
            late: self.late.0,
            handed_on: self.late.1,
        };
        StateFrame::Progress(progress).push(latest, out);
    }

    fn restore_pending(&mut self, stage: u8, number: u64, frame: &FrameRef<'_>, waiting: &mut Batch) {
        match stage {
            stage::ORDER => waiting.push(frame.header, frame.payload),
            stage::ARGUMENTS => self.assembler.restore(frame),
            stage::END => self.requests.restore(number, frame),
            stage::LOAD => self.programs.restore_waiting(frame),
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
                self.assembler.restore_cut_short((state.slot, state.cpu), state.cut_short);
            }
            Some(StateFrame::KindState(state)) => {
                let counted = Kind::try_from(state.kind).ok().and_then(|kind| self.counted.of(kind));
                let KindState { delivered, filtered, own, unread, kept, kept_unread, cut, .. } = state;
                let KindState { streamed, stream_lost, .. } = state;
                if let Some(counted) = counted {
                    let rest = Counted { streamed, stream_lost, ..Counted::default() };
                    *counted = Counted { delivered, filtered, own, unread, kept, kept_unread, cut, ..rest };
                }
            }
            Some(StateFrame::LostRows(LostRows { kind, ring, probe, read })) => {
                if let Some(counted) = Kind::try_from(kind).ok().and_then(|kind| self.counted.of(kind)) {
                    counted.lost_rows = LostBy { ring, probe, read, unwritten: 0 };
                }
            }
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

    fn restore_progress(&mut self, progress: &Progress) {
        self.order.restore(Batch::default(), (progress.latest, progress.drained));
        (self.unframed, self.unsettled) = (progress.unframed, progress.unsettled);
        self.late = (progress.late, progress.handed_on);
        if let Some(command) = &mut self.command {
            command.restore(progress.command_runs);
        }
        self.gaps.restore_progress(progress);
        self.counted_at = progress.uncompared.map(BootNanos);
        self.missing = (progress.missing_times, progress.missing.clone());
        self.requests.restore_progress(progress);
    }
}
