//! The path of an event through user space: frames arrive in batches, are checked for gaps, reassembled, ordered,
//! decoded and applied to the [`World`]. Events that pass the filter go to the sink or the store.
//!
//! The pipeline does no I/O and reads no clock: its output is a function of its frames.

mod assemble;
mod command;
pub mod excerpt;
mod gaps;
mod order;
mod programs;
pub mod redact;
mod requests;
mod state;
#[cfg(test)]
mod tests;

use crate::account::{Account, ByKind, Shortage, Streams};
use crate::budget::Budget;
use crate::enrich::World;
use crate::event::lost::{Cause, LostRecord};
use crate::event::process::ProcessKey;
use crate::event::{Body, Event, EventContext};
use crate::filter::{Filter, Scratch};
use crate::frame::host::{Counters, Excerpt, FIRST_KIND, HostFrame, Layout, Probe, Restart, StatePart, Trace, Window};
use crate::frame::state::StateFrame;
use crate::frame::{Batch, FrameRef};
use crate::limits;
use crate::terminal::Terminal;
use assemble::Assembler;
use command::{CommandTree, Owner};
use gaps::Gaps;
use order::Order;
use programs::Programs;
use requests::Requests;
use tracetui_shared::header::{FrameHeader, VERSION, flag};
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::{Kind, KindSet, Slot};
use tracetui_shared::time::BootNanos;
use zerocopy::IntoBytes;

/// What the receiver of an event did with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// Printed, recorded or kept.
    Delivered,
    /// Rejected by a filter.
    Filtered,
}

/// Frames in, events out.
#[derive(Debug, Default)]
pub struct Pipeline {
    world: World,
    gaps: Gaps,
    assembler: Assembler,
    requests: Requests,
    programs: Programs,
    order: Order,
    counted: ByKind,
    /// The options of the trace. All kinds are requested until their frame arrives.
    asked: Option<Trace>,
    /// The text of the capture filter as a filter, once an event needs it: of those that no probe made, the kernel has passed all.
    capture: Option<Filter>,
    /// The layout of the records, if it is not that of this version.
    layout: Option<Layout>,
    unframed: u64,
    /// Processes whose arguments the scan could not read in time.
    unread: u64,
    /// Whether the ring was empty when the last batch was read.
    drained: bool,
    /// Events that were delivered before they could be ordered.
    unsettled: u64,
    /// Events that came after a later one had been handed on, and the time of the latest one that was.
    late: (u64, BootNanos),
    /// The trace continues in another file, which has the events that wait.
    continues: bool,
    windows: Vec<Window>,
    command: Option<CommandTree>,
    /// The trace is a part of another one.
    excerpt: Option<Excerpt>,
    /// The recording ended before the trace.
    unfinished: bool,
    /// The parts so far of a state that replaces this one, and how many there are.
    restart: (Batch, u32),
    /// Whether all events were delivered, so that the account can be proved.
    finished: bool,
    budget: Budget,
    /// The time of the counters that are not yet compared with the events delivered up to then.
    counted_at: Option<BootNanos>,
    /// The number of consecutive comparisons with missing events, and the last result.
    missing: (u32, Option<String>),
    /// The last counters whose events were all delivered, and the account then.
    compared: Option<(BootNanos, Account)>,
}

/// The number of consecutive comparisons with missing events, a second apart, before they are reported: an exec may
/// wait for its arguments.
const MISSING: u32 = 3;

impl Pipeline {
    /// Sets the memory limits of the pipeline and of the world. Call it before the first batch.
    pub fn set_budget(&mut self, budget: Budget) {
        self.budget = budget;
        self.world.set_budget(budget);
        self.assembler.set_budget(budget);
        self.requests.set_budget(budget);
    }

    /// The memory limits.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// The tables, without the events that wait.
    pub fn into_world(self) -> World {
        self.world
    }

    /// Bytes of the events that wait: execs for the rest of their arguments, requests for their completion, events for
    /// their place in the order.
    pub fn bytes(&self) -> usize {
        self.order.bytes() + self.assembler.bytes() + self.requests.bytes()
    }

    /// Sets the ids in the `tree=ID` terms of the current filter ([`ProcessTable::follow`]).
    ///
    /// [`ProcessTable::follow`]: crate::enrich::process::ProcessTable::follow
    pub fn follow(&mut self, roots: &[Tgid]) {
        self.world.processes.follow(roots);
    }

    /// Sets the process that such an id denotes ([`ProcessTable::follow_process`]).
    ///
    /// [`ProcessTable::follow_process`]: crate::enrich::process::ProcessTable::follow_process
    pub fn follow_process(&mut self, process: ProcessKey) -> bool {
        self.world.processes.follow_process(process)
    }

    /// The tables as of the last delivered event.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Does not follow COMMAND's terminal: for readers that neither show it nor write states.
    pub(crate) fn leave_out_terminal(&mut self) {
        self.world.leave_out_terminal();
    }

    /// Sets COMMAND's terminal, whose later output is in the frames.
    pub(crate) fn set_terminal(&mut self, terminal: &Terminal) {
        self.world.set_terminal(terminal);
    }

    /// The account as of the last counters. After [`finish`](Self::finish) it is proved.
    pub fn account(&self) -> Account {
        let counters = self.world.counters();
        let mut counted = self.counted;
        if let Some(opens) = counted.of(Kind::Open) {
            opens.requests = self.requests.met();
            opens.unseen = self.requests.unseen();
            opens.hollow = self.requests.hollow();
        }
        let mut account = Account::of(counters, &counted, self.world.processes.pairing(), self.asked());
        let holes = self.gaps.holes() > 0;
        if holes {
            account.read_holes(counters, &self.arrived());
        }
        if self.excerpt.is_some() {
            account.of_excerpt(&counted);
        } else if self.unfinished || self.gaps.is_behind() {
            account.of_unfinished();
        } else if self.finished && holes {
            account.prove_sums();
        } else if self.finished {
            account.prove(counters, &counted, &self.arrived(), self.unframed);
        }
        account.shortage = Shortage {
            processes: self.world.processes.evicted(),
            cgroups: self.world.cgroups_evicted(),
            unsettled: self.unsettled,
        };
        account.late = self.late.0;
        account.processes_unread = self.unread;
        account
    }

    /// The COMMAND of the trace, if it has one.
    pub fn command(&self) -> Option<Tgid> {
        self.asked.as_ref().map(|asked| asked.command).filter(|command| *command != Tgid(0))
    }

    /// The account of one moment, and that moment: when the last counters were read. `None`: of all events.
    pub fn account_then(&self) -> (Option<BootNanos>, Account) {
        match &self.compared {
            _ if self.finished => (None, self.account()),
            Some((at, account)) => (Some(*at), account.clone()),
            // No counters were compared yet: events come before them. `seen` is not made smaller, so that a sum that is wrong shows.
            None => {
                let mut account = self.account();
                account.of_unfinished();
                (None, account)
            }
        }
    }

    /// The error message if the account does not add up. During the trace, only what can be checked by then is checked.
    pub fn discrepancy(&self) -> Option<String> {
        if self.finished {
            return self.account().discrepancy();
        }
        let (times, missing) = &self.missing;
        missing.clone().filter(|_| *times >= MISSING)
    }

    /// Whether frames are missing and no state came since: how many events were in them is not known.
    pub fn is_behind(&self) -> bool {
        self.gaps.is_behind()
    }

    /// Checks that every event in the last counters is accounted for. Call it when all earlier events are delivered.
    fn look_for_missing(&mut self, at: BootNanos) {
        // Of those in a hole, it is known later.
        let mut account = self.account();
        let missing = account.missing().filter(|_| self.gaps.holes() == 0);
        // The counters of a CPU are read before the time of all: an event between them is delivered, and not counted yet.
        account.of_unfinished();
        self.compared = Some((at, account));
        let times = if missing.is_some() { self.missing.0.saturating_add(1) } else { 0 };
        self.missing = (times, missing);
    }

    /// The arrivals by stream.
    fn arrived(&self) -> Streams {
        let mut arrived = self.gaps.arrived();
        self.assembler.cut_short(&mut arrived);
        arrived
    }

    /// The filter by which the events of an excerpt were chosen; `None` if it is none.
    pub fn excerpt(&self) -> Option<&str> {
        self.excerpt.as_ref().map(|excerpt| excerpt.filter.as_str())
    }

    /// The kinds that were asked for, once the options of the trace arrived.
    pub fn kinds(&self) -> Option<KindSet> {
        self.asked.as_ref().map(Trace::kinds)
    }

    fn asked(&self) -> KindSet {
        self.asked.as_ref().map_or(KindSet::ALL, Trace::kinds)
    }

    /// Whether the trace continues in another file after the frames so far. Then the events that wait are in that file, and
    /// [`finish`](Self::finish) does not deliver them.
    pub fn continues(&self) -> bool {
        self.continues
    }

    /// The options of the trace, once their frame arrived.
    pub fn trace(&self) -> Option<&Trace> {
        self.asked.as_ref()
    }

    /// Whether the source was empty when the last batch was read.
    pub fn is_drained(&self) -> bool {
        self.drained
    }

    /// The number of records that are not frames.
    pub fn unframed(&self) -> u64 {
        self.unframed
    }

    /// Adds a batch. Its events wait until [`release`](Self::release). After frames that are missing it may be a state
    /// ([`state`](Self::state)): the pipeline then knows what was known where the state was written.
    pub fn feed(&mut self, batch: Batch) {
        // The layout may come in the same batch as the records: it is its first frame then.
        let first = batch.frames().next().filter(|frame| frame.header.kind >= FIRST_KIND);
        if let Some(HostFrame::Layout(layout)) = first.and_then(|frame| HostFrame::decode(&frame)) {
            self.layout = (layout != Layout::own()).then_some(layout);
        }
        if self.gaps.is_behind() && is_state(&batch) {
            return self.catch_up(&batch);
        }
        let batch = match &self.layout {
            Some(layout) => layout.translate(&batch),
            None => batch,
        };
        (self.drained, self.continues) = (false, false);
        let mut made = Batch::default();
        let mut index = self.order.begin();
        for (offset, frame) in batch.frames_with_offsets() {
            if frame.header.kind >= FIRST_KIND {
                self.host(&frame, &mut made);
                continue;
            }
            if frame.header.has(flag::EXCERPT) {
                index.add(frame.header.time, offset);
                continue;
            }
            if let Some(gap) = self.gaps.check(&frame.header) {
                push_lost(&gap, &mut made);
            }
            if !self.programs.is_new(&frame) {
                self.counted.of(Kind::Bpf).into_iter().for_each(|bpf| bpf.filtered += 1);
                continue;
            }
            if let Some(whole) = programs::with_place(&frame, &self.world) {
                made.append(whole.bytes());
                continue;
            }
            if self.requests.whole(&frame, &mut made) && self.assembler.whole(&frame, &mut made) {
                index.add(frame.header.time, offset);
            }
        }
        self.order.end(index, batch);
        // Here, not at the release: what becomes of a load depends on the frames alone.
        self.programs.decide(self.order.settled(self.assembler.first()), &self.world, &mut made);
        self.order.add_made(made);
        if let (state, 0) = &mut self.restart
            && !state.is_empty()
        {
            let state = std::mem::take(state);
            self.restart(&state);
        }
    }

    /// Takes a part of a state that replaces this one.
    fn take_part(&mut self, part: Restart) {
        let (state, left) = &mut self.restart;
        if part.part == 0 {
            (*state, *left) = (Batch::default(), part.parts);
        }
        if *left == 0 || part.parts - *left != part.part || state.len() + part.frames.len() > self.budget.state() {
            (*state, *left) = (Batch::default(), 0);
            return;
        }
        *left -= 1;
        HostFrame::StatePart(StatePart { frames: part.frames }).push(BootNanos(0), state);
    }

    fn host(&mut self, frame: &FrameRef<'_>, made: &mut Batch) {
        let Some(host) = HostFrame::decode(frame) else { return };
        if let HostFrame::Restart(part) = host {
            return self.take_part(part);
        }
        let mut time = frame.header.time;
        match &host {
            HostFrame::Trace(trace) => self.begin(trace),
            HostFrame::Layout(layout) => self.layout = (*layout != Layout::own()).then(|| layout.clone()),
            // The first frame of a host, directly after the attach.
            HostFrame::Host(_) => self.world.processes.traced_since(frame.header.time),
            HostFrame::Probe(probe) => self.attached(probe),
            HostFrame::CounterChanges(_) => {
                let before = self.world.counters().clone();
                self.world.apply_host(host, frame.header.time);
                return self.count(&before, frame.header.time, made);
            }
            HostFrame::Drained(drained) => {
                self.drained = true;
                self.order.drained(drained.at);
            }
            HostFrame::Settled(settled) => {
                self.drained = true;
                self.order.settle(settled.at);
            }
            // After the last counters there are no events.
            HostFrame::Hole(_) if !self.world.counters().last => self.gaps.hole(),
            HostFrame::Unfinished(_) => self.unfinished = true,
            HostFrame::Excerpt(excerpt) => self.excerpt = Some(excerpt.clone()),
            HostFrame::Scanned(scanned) => self.unread = scanned.unread,
            HostFrame::Continues(_) => self.continues = true,
            HostFrame::Window(window) => self.window(window),
            // tracetui's own programs are no events.
            HostFrame::ProgramChange(change) if change.own => {}
            HostFrame::ProgramChange(change) => self.programs.changed(change, frame.header.time, &self.world, made),
            HostFrame::BpfAttachment(attachment) => {
                time = self.programs.attachment(attachment, time, &self.world, made);
            }
            HostFrame::BpfInventory(inventory) => self.programs.taken(inventory),
            HostFrame::BpfHidden(hidden) => programs::push_hidden(hidden, frame.header.time, made),
            HostFrame::ProgramChangesLost(lost) => {
                if let Some(bpf) = self.counted.of(Kind::Bpf) {
                    bpf.stream_lost = bpf.stream_lost.saturating_add(lost.count);
                }
                let (of, cause, from_ns, to_ns) =
                    (Kind::Bpf as u16, Cause::Ring as u16, lost.since.0, frame.header.time.0);
                push_lost(&LostRecord { of, cause, cpu: u32::MAX, count: lost.count, from_ns, to_ns }, made);
            }
            HostFrame::Unreadable(records) => self.unframed = self.unframed.saturating_add(records.count),
            _ => {}
        }
        self.world.apply_host(host, time);
    }

    fn attached(&mut self, probe: &Probe) {
        if probe.attached && probe.name == Slot::OpenUringQuiet.program() {
            self.requests.sees_quiet();
        }
        if probe.attached && probe.preemptible {
            self.order.widen();
        }
    }

    /// Sets the options of the trace. tracetui starts a COMMAND and holds it until the probes are attached; only events
    /// of the COMMAND and its descendants are delivered.
    fn begin(&mut self, trace: &Trace) {
        self.asked = Some(trace.clone());
        if trace.command != Tgid(0) {
            self.world.set_command(trace.command);
            self.command = Some(CommandTree::new(trace.command));
        }
    }

    /// Reports the events that the probes could not report since the counters `before`, and checks the waiting
    /// requests. After the last counters, it also reports what never arrived.
    fn count(&mut self, before: &Counters, time: BootNanos, made: &mut Batch) {
        let now = self.world.counters();
        self.counted_at = Some(time);
        for lost in self.gaps.skips(before, now, time) {
            push_lost(&lost, made);
        }
        self.requests.count(now, time, made);
        if now.last {
            if !before.last {
                self.requests.count_unreported(now, time, made);
            }
            self.assembler.give_up(BootNanos(u64::MAX), made);
            for lost in self.gaps.tail(now, time) {
                push_lost(&lost, made);
            }
        }
    }

    /// Delivers, in order of time, every event before which no event can arrive any more. At the memory limit it also
    /// delivers the oldest of the others.
    pub fn release(&mut self, to: &mut dyn FnMut(&EventContext<'_>, &FrameRef<'_>) -> Disposition) {
        self.release_up_to(BootNanos(u64::MAX), to);
    }

    /// As [`release`](Self::release), but leaves the events after `limit`.
    pub fn release_up_to(
        &mut self,
        limit: BootNanos,
        to: &mut dyn FnMut(&EventContext<'_>, &FrameRef<'_>) -> Disposition,
    ) {
        let until = self.settled().min(limit);
        if let Some(at) = self.counted_at.take_if(|at| *at <= until) {
            self.release_until(at, to);
            self.look_for_missing(at);
        }
        self.release_until(until, to);
        while let Some(overdue) = self.order.overdue(self.budget.order()) {
            self.unsettled += self.release_until(overdue.min(limit), to) as u64;
            if overdue > limit {
                break;
            }
        }
    }

    /// The time up to which the order is final.
    fn settled(&self) -> BootNanos {
        let settled = self.order.settled(self.assembler.first());
        match self.programs.first_waiting() {
            Some(first) if first <= settled => BootNanos(first.0.saturating_sub(1)),
            _ => settled,
        }
    }

    /// The time of the event that [`release`](Self::release) would deliver first.
    pub fn next_release(&mut self) -> Option<BootNanos> {
        let settled = self.settled();
        self.give_up_before(settled);
        let next = self.order.next_time()?;
        (next <= settled || self.order.overdue(self.budget.order()).is_some()).then_some(next)
    }

    /// The time of the latest event that waits for its place in the order. `None` if an exec waits for its arguments: its time is
    /// not known here.
    pub fn waits_until(&self) -> Option<BootNanos> {
        let last = self.programs.last_waiting().unwrap_or_default();
        (self.assembler.bytes() == 0).then(|| self.order.last_time().max(last))
    }

    /// Whether an event up to this time waits for its place in the order.
    pub fn waits_for(&mut self, until: BootNanos) -> bool {
        let waits = |time: Option<BootNanos>| time.is_some_and(|time| time <= until);
        waits(self.order.next_time()) || waits(self.programs.first_waiting())
    }

    /// Ends the input: the time of the event that [`finish`](Self::finish) would deliver first.
    pub fn next_of_rest(&mut self) -> Option<BootNanos> {
        if self.continues {
            return None;
        }
        self.give_up_before(BootNanos(u64::MAX));
        self.order.next_time()
    }

    /// As [`finish`](Self::finish), but leaves the events after `limit`.
    pub fn finish_up_to(
        &mut self,
        limit: BootNanos,
        to: &mut dyn FnMut(&EventContext<'_>, &FrameRef<'_>) -> Disposition,
    ) {
        if !self.continues {
            self.release_until(limit, to);
        }
    }

    /// Delivers all remaining events, in order of time.
    pub fn finish(&mut self, to: &mut dyn FnMut(&EventContext<'_>, &FrameRef<'_>) -> Disposition) {
        if self.continues {
            return;
        }
        self.give_up_before(BootNanos(u64::MAX));
        self.release_until(BootNanos(u64::MAX), to);
        self.finished = true;
    }

    /// Makes events of the execs that did not get their arguments in time.
    fn give_up_before(&mut self, settled: BootNanos) {
        let mut made = Batch::default();
        let before = match settled {
            BootNanos(u64::MAX) => settled,
            BootNanos(ns) => BootNanos(ns.saturating_sub(limits::CONTINUATION_NS)),
        };
        self.assembler.give_up(before, &mut made);
        if settled.0 == u64::MAX {
            self.programs.decide(settled, &self.world, &mut made);
        }
        self.order.add_made(made);
    }

    fn release_until(
        &mut self,
        until: BootNanos,
        to: &mut dyn FnMut(&EventContext<'_>, &FrameRef<'_>) -> Disposition,
    ) -> usize {
        self.give_up_before(until);
        let asked = self.asked();
        let Pipeline { world, order, counted, command, programs, capture, asked: trace, late, .. } = self;
        order.release(until, |frame| {
            // A `lost` row is no event: it has the time up to which something was lost.
            if !frame.header.has(flag::BOOKKEEPING) && frame.header.kind != Kind::Lost as u16 {
                late.0 += u64::from(frame.header.time < late.1);
                late.1 = late.1.max(frame.header.time);
            }
            let mut command = command.as_mut().map(|tree| (tree, &mut *programs));
            match programs::is_made(frame) && !frame.header.has(flag::EXCERPT) {
                true => {
                    let captured = captured(trace.as_ref(), capture, world);
                    release_made(frame, world, counted, captured, command.as_mut(), to);
                }
                false => release_one(frame, world, counted, asked, command.as_mut(), to),
            }
        })
    }

    /// Corrects the counts for events that were not delivered at first, but were later.
    pub fn deliver_late(&mut self, late: &ByKind) {
        for kind in Kind::PROBED {
            let (late, counted) = (late.get(kind), self.counted.of(kind));
            if let Some(counted) = counted {
                counted.delivered = counted.delivered.saturating_add(late.delivered);
                counted.cut = counted.cut.saturating_add(late.cut);
                counted.filtered = counted.filtered.saturating_sub(late.delivered);
            }
        }
    }

    /// The first windows of a recording that has only these ([`limits::WINDOWS`]), in order.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    fn window(&mut self, window: &Window) {
        let room = self.windows.len() < limits::WINDOWS;
        match self.windows.last_mut() {
            Some(last) if last.from == window.from => *last = window.clone(),
            _ if room => self.windows.push(window.clone()),
            _ => {}
        }
    }

    /// Corrects the counts for events that were delivered, but whose lines were not written: they are lost if they were still
    /// wanted, and else filtered. How many there are.
    pub fn not_delivered(&mut self, unwritten: &ByKind, wanted: bool) -> u64 {
        for kind in Kind::PROBED {
            let (unwritten, counted) = (unwritten.get(kind), self.counted.of(kind));
            if let Some(counted) = counted {
                counted.delivered = counted.delivered.saturating_sub(unwritten.delivered);
                counted.cut = counted.cut.saturating_sub(unwritten.cut);
                *(if wanted { &mut counted.unwritten } else { &mut counted.filtered }) += unwritten.delivered;
            }
        }
        Kind::PROBED.iter().map(|kind| unwritten.get(*kind).delivered).sum()
    }

    /// Corrects the counts for a recording that failed: what was delivered is at most these events, by the number of their kind, and
    /// the rest is lost. `own`: tracetui's own are among them. How many are lost.
    pub fn recorded_only(&mut self, events: &[u64], own: bool) -> u64 {
        let mut lost = ByKind::default();
        for kind in Kind::PROBED {
            let now = self.counted.get(kind);
            // Its own came first.
            let most = events.get(kind as usize).map_or(0, |count| count.saturating_sub(if own { now.own } else { 0 }));
            if let Some(lost) = lost.of(kind) {
                lost.delivered = now.delivered.saturating_sub(most);
                lost.cut = now.cut.saturating_sub(most);
            }
        }
        self.not_delivered(&lost, true)
    }

    /// A batch whose events are all delivered. The reader can reuse it.
    pub fn spare(&mut self) -> Option<Batch> {
        self.order.take_spare()
    }

    /// Whether events wait for their place in the order.
    pub fn waiting(&self) -> bool {
        self.order.waiting() || self.programs.first_waiting().is_some()
    }
}

fn is_state(batch: &Batch) -> bool {
    batch.frames().next().is_some_and(|frame| matches!(HostFrame::decode(&frame), Some(HostFrame::StatePart(_))))
}

fn release_one(
    frame: &FrameRef<'_>,
    world: &mut World,
    counted: &mut ByKind,
    asked: KindSet,
    mut command: Option<&mut (&mut CommandTree, &mut Programs)>,
    to: &mut dyn FnMut(&EventContext<'_>, &FrameRef<'_>) -> Disposition,
) {
    let mut whole = Batch::default();
    let without = take_told(frame, world, &mut whole).and_then(|()| whole.frame_at(0));
    let frame = without.as_ref().unwrap_or(frame);
    let event = match Event::decode(frame) {
        Ok(event) => event,
        Err(_) => return unread(frame, world, counted, to),
    };
    let kind = event.kind();
    if let (true, Body::Lost(lost)) = (frame.header.has(flag::EXCERPT), &event.body) {
        counted.lost_row(&lost.record);
    }
    let process = world.apply(&event);
    let whose = command.as_mut().map_or(Owner::Commands, |(tree, _)| tree.whose(&event, process.as_deref()));
    if let (Some((_, programs)), Owner::Commands, Kind::Bpf) = (command, whose, kind) {
        programs.of_command(frame);
    }
    if let Some(counted) = counted.of(kind).filter(|_| whose == Owner::Own) {
        counted.own += 1;
    }
    if frame.header.has(flag::BOOKKEEPING) {
        if let Some(counted) = counted.of(kind) {
            counted.kept += 1;
        }
        return;
    }
    if whose != Owner::Commands || kind != Kind::Lost && !asked.contains(kind) {
        if let Some(counted) = counted.of(kind) {
            counted.filtered += 1;
        }
        return;
    }
    let seen = EventContext { event: &event, world, process: process.as_ref(), clock_offset: world.clock_offset() };
    let taken = to(&seen, frame);
    if let Some(counted) = counted.of(kind) {
        match taken {
            Disposition::Delivered => {
                counted.delivered += 1;
                counted.cut += u64::from(event.cut());
            }
            Disposition::Filtered => counted.filtered += 1,
        }
    }
}

/// The capture filter of a trace as a filter. One that cannot be read lets all events pass.
fn captured<'a>(trace: Option<&Trace>, filter: &'a mut Option<Filter>, world: &World) -> Option<&'a Filter> {
    let text = trace.map(|trace| trace.filter.as_str()).filter(|text| !text.is_empty())?;
    if filter.as_ref().is_none_or(|filter| filter.text() != text) {
        *filter = Filter::parse(text, world).ok();
    }
    filter.as_ref()
}

/// Delivers an event that no probe made. The capture filter and the COMMAND are applied here. What they reject is not counted: it
/// may be the event of a system call, which the probes have counted.
fn release_made(
    frame: &FrameRef<'_>,
    world: &mut World,
    counted: &mut ByKind,
    capture: Option<&Filter>,
    command: Option<&mut (&mut CommandTree, &mut Programs)>,
    to: &mut dyn FnMut(&EventContext<'_>, &FrameRef<'_>) -> Disposition,
) {
    let mut whole = Batch::default();
    whole.push(programs::identified(&frame.header, &world.processes), frame.payload);
    let Some(frame) = whole.frame_at(0) else { return };
    let (Ok(event), Some(counted)) = (Event::decode(&frame), counted.of(Kind::Bpf)) else { return };
    let process = world.apply(&event);
    let seen = EventContext { event: &event, world, process: process.as_ref(), clock_offset: world.clock_offset() };
    let of_command = command.is_none_or(|(tree, programs)| match programs::is_load(&frame) {
        false => programs.is_commands(programs::program_of(&frame)),
        true => {
            let commands = process.is_some() && tree.whose(&event, process.as_deref()) == Owner::Commands;
            commands.then(|| programs.of_command(&frame)).is_some()
        }
    });
    let passes = of_command && capture.is_none_or(|filter| filter.matches(&seen, &mut Scratch::default()));
    if !passes {
        return;
    }
    counted.streamed += 1;
    match to(&seen, &frame) {
        Disposition::Delivered => counted.delivered += 1,
        Disposition::Filtered => counted.filtered += 1,
    }
}

/// Applies what an event of an excerpt has beside its record, and puts the frame without that into `out`. `None` if it has
/// nothing.
fn take_told(frame: &FrameRef<'_>, world: &mut World, out: &mut Batch) -> Option<()> {
    if !frame.header.has(flag::TOLD) {
        return None;
    }
    let (rest, length) = frame.payload.split_last_chunk()?;
    let (record, told) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    if let Some(StateFrame::Told(told)) = FrameRef::first(told).and_then(|(told, _)| StateFrame::decode(&told)) {
        world.tell(&told);
    }
    out.push(FrameHeader { flags: frame.header.flags & !flag::TOLD, ..frame.header }, record);
    Some(())
}

/// Counts a frame that cannot be decoded and adds a `lost` row in its place. A record that is only for the process
/// table gets no row.
fn unread(
    frame: &FrameRef<'_>,
    world: &mut World,
    counted: &mut ByKind,
    to: &mut dyn FnMut(&EventContext<'_>, &FrameRef<'_>) -> Disposition,
) {
    let bookkeeping = frame.header.has(flag::BOOKKEEPING);
    if let Some(counted) = Kind::try_from(frame.header.kind).ok().and_then(|kind| counted.of(kind)) {
        counted.unread += u64::from(!bookkeeping);
        counted.kept_unread += u64::from(bookkeeping);
    }
    if bookkeeping {
        return;
    }
    let ns = frame.header.time.0;
    let record = LostRecord {
        of: frame.header.kind,
        cause: Cause::Read as u16,
        cpu: frame.header.cpu,
        count: 1,
        from_ns: ns,
        to_ns: ns,
    };
    let mut batch = Batch::default();
    push_lost(&record, &mut batch);
    for frame in batch.frames() {
        if let Ok(event) = Event::decode(&frame) {
            let seen = EventContext { event: &event, world, process: None, clock_offset: world.clock_offset() };
            to(&seen, &frame);
        }
    }
}

/// Makes the frame of a `lost` row. It has the time `to_ns`, and comes before the event of that time.
fn push_lost(record: &LostRecord, out: &mut Batch) {
    let header = FrameHeader {
        kind: Kind::Lost as u16,
        version: VERSION,
        cpu: record.cpu,
        time: BootNanos(record.to_ns),
        ..FrameHeader::default()
    };
    out.push(header, record.as_bytes());
}
