//! The path of an event through user space: frames arrive in batches, are checked for gaps, reassembled, ordered,
//! decoded and applied to the [`World`]. Events that pass the filter go to the sink or the store.
//!
//! The stages are `gaps`, `programs`, `requests`, `assemble`, `order` and `deliver`. Each has a function `feed`, and takes
//! frames of the one before. `host` handles host frames; `facts` has the options of the trace and its account.
//!
//! The pipeline does no I/O and reads no clock: its output is a function of its frames.

mod assemble;
mod attached;
mod command;
mod deliver;
pub mod excerpt;
mod facts;
mod gaps;
mod host;
mod netlink_callers;
mod order;
mod programs;
mod requests;
mod state;
#[cfg(test)]
mod tests;

use crate::account::ledger::Ledger;
use crate::budget::Budget;
use crate::enrich::World;
use crate::event::EventContext;
use crate::filter::Filter;
use crate::frame::host::{Excerpt, FIRST_KIND, Layout, Trace, Window};
use crate::frame::{Batch, FrameRef};
use crate::limits;
use assemble::Assembler;
use command::CommandTree;
use deliver::Deliver;
use gaps::{Gaps, push_lost};
use order::Order;
use programs::ProgramReports;
use requests::Requests;
use tracetui_shared::header::flag;
use tracetui_shared::time::BootNanos;

/// What the receiver of an event did with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// Printed, recorded or kept.
    Delivered,
    Filtered,
}

pub type Receiver<'a> = dyn FnMut(&EventContext<'_>, &FrameRef<'_>) -> Disposition + 'a;

/// Frames in, events out.
#[derive(Debug, Default)]
pub struct Pipeline {
    pub(crate) world: World,
    gaps: Gaps,
    assembler: Assembler,
    requests: Requests,
    programs: ProgramReports,
    order: Order,
    ledger: Ledger,
    /// The options of the trace. All kinds are requested until their frame arrives.
    asked: Option<Trace>,
    /// The capture filter as a display filter, parsed when an event first needs it. It is for events that no probe made: the kernel
    /// has applied it to all others.
    capture: Option<Filter>,
    /// The layout of the records; `None` if it is this version's.
    layout: Option<Layout>,
    /// Whether the source was empty when the last batch was read.
    pub drained: bool,
    /// Whether the trace continues in another file after the frames so far. Then the events that wait are in that file.
    pub(crate) continues: bool,
    /// Whether no more frames follow.
    ended: bool,
    /// The windows, in order, of a recording that consists only of windows: the first [`limits::WINDOWS`].
    pub windows: Vec<Window>,
    command: Option<CommandTree>,
    excerpt: Option<Excerpt>,
    /// Whether the recording ended before the trace.
    unfinished: bool,
    pub budget: Budget,
}

impl Pipeline {
    /// A pipeline that keeps to these memory limits.
    pub fn new(budget: Budget) -> Pipeline {
        Pipeline {
            world: World::new(budget),
            assembler: Assembler::new(budget),
            requests: Requests::new(budget),
            budget,
            ..Pipeline::default()
        }
    }

    /// Bytes of the waiting events: execs wait for the rest of their arguments, requests for their completion, attachments for their
    /// end, events for their place in the order.
    pub fn bytes(&self) -> usize {
        self.order.bytes() + self.assembler.bytes + self.requests.bytes + self.programs.attached.bytes()
    }

    /// The tables as of the last delivered event.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The tables, to set what no frame contains.
    pub fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    /// Adds a batch. Its events wait until [`next`](Self::next) delivers them. After missing frames, the batch may be a state
    /// ([`state`](Self::state)): the pipeline then continues from that state.
    pub fn feed(&mut self, batch: Batch) {
        self.ended = false;
        self.take_layout(&batch);
        if self.gaps.is_behind() && state::is_state(&batch) {
            return self.catch_up(&batch);
        }
        if self.is_restart(&batch) {
            return self.become_later(self.at(&batch));
        }
        let batch = match &self.layout {
            Some(layout) => layout.translate(&batch),
            None => batch,
        };
        (self.drained, self.continues) = (false, false);
        let mut made = Batch::default();
        let mut index = self.order.begin();
        for (offset, frame) in batch.frames_with_offsets() {
            if self.stages(&frame, &mut made) {
                index.add(frame.header.time, offset);
            }
        }
        self.order.end(index, batch);
        // Decided here and not at the delivery: the outcome of a load must depend on the frames alone.
        self.programs.decide(self.order.settled(self.assembler.first()), &mut self.world, &mut made);
        self.order.add_made(made);
    }

    /// Passes a frame through the stages before the order. Returns whether it is a whole event. Events made of it, and of other
    /// frames, are appended to `made`.
    fn stages(&mut self, frame: &FrameRef<'_>, made: &mut Batch) -> bool {
        if frame.header.kind >= FIRST_KIND {
            self.host(frame, made);
            return false;
        }
        if frame.header.has(flag::EXCERPT) {
            return true;
        }
        self.gaps.feed(&frame.header).into_iter().for_each(|gap| push_lost(&gap, made));
        self.programs.feed(frame, &mut self.world, &mut self.ledger, made)
            && self.requests.feed(frame, made)
            && self.assembler.feed(frame, made)
    }

    /// Delivers, in order of time, every event up to `limit` that no later arrival can precede. At the memory limit it also
    /// delivers the oldest of the others.
    pub fn next(&mut self, limit: Option<BootNanos>, to: &mut Receiver<'_>) {
        let limit = limit.unwrap_or(BootNanos(u64::MAX));
        if self.ended {
            if !self.continues {
                self.deliver(limit, to);
                self.ledger.finished |= limit.0 == u64::MAX;
            }
            return;
        }
        let until = self.settled().min(limit);
        if let Some(at) = self.ledger.uncompared.take_if(|at| *at <= until) {
            self.deliver(at, to);
            self.ledger.compare(at, self.account(), self.gaps.holes > 0);
        }
        self.deliver(until, to);
        while let Some(overdue) = self.order.overdue(self.budget.order()) {
            self.ledger.unsettled += self.deliver(overdue.min(limit), to) as u64;
            if overdue > limit {
                break;
            }
        }
    }

    /// The time of the event that [`next`](Self::next) would deliver first.
    pub fn peek(&mut self) -> Option<BootNanos> {
        if self.ended && self.continues {
            return None;
        }
        let settled = self.settled();
        self.give_up_before(settled);
        let next = self.order.next_time()?;
        (next <= settled || self.order.overdue(self.budget.order()).is_some()).then_some(next)
    }

    /// Ends the input. [`next`](Self::next) then delivers everything that waits, unless the trace continues in another file, which
    /// has the waiting events.
    pub fn end(&mut self) {
        self.ended = true;
        if !self.continues {
            self.give_up_before(BootNanos(u64::MAX));
        }
    }

    /// The times of the first and of the last event that wait for their place in the order. There is no last one if an exec waits
    /// for its arguments, because its time is not known here.
    pub fn waiting(&mut self) -> (Option<BootNanos>, Option<BootNanos>) {
        let [first, last] = self.programs.waiting();
        let last = (self.assembler.bytes == 0).then(|| self.order.last_time().max(last.unwrap_or_default()));
        (self.order.next_time().into_iter().chain(first).min(), last)
    }

    /// The time up to which the order is final.
    fn settled(&self) -> BootNanos {
        let settled = self.order.settled(self.assembler.first());
        match self.programs.first_kept() {
            _ if self.ended => BootNanos(u64::MAX),
            Some(first) if first <= settled => BootNanos(first.0.saturating_sub(1)),
            _ => settled,
        }
    }

    /// Turns execs whose arguments did not arrive in time into events.
    fn give_up_before(&mut self, settled: BootNanos) {
        let mut made = Batch::default();
        let before = match settled {
            BootNanos(u64::MAX) => settled,
            BootNanos(ns) => BootNanos(ns.saturating_sub(limits::CONTINUATION_NS)),
        };
        self.assembler.give_up(before, &mut made);
        if settled.0 == u64::MAX {
            self.programs.end(self.order.reached(), &mut self.world, &mut made);
        }
        self.order.add_made(made);
    }

    /// Delivers the events up to a time. Returns their number.
    fn deliver(&mut self, until: BootNanos, to: &mut Receiver<'_>) -> usize {
        self.give_up_before(until);
        let asked = self.asked();
        let Pipeline { world, order, ledger, command, programs, capture, asked: trace, .. } = self;
        let (command, trace) = (command.as_mut(), trace.as_ref());
        let mut deliver = Deliver { world, ledger, command, programs, trace, asked, capture, to };
        order.release(until, |frame| deliver.feed(frame))
    }

    /// A batch whose events have all been delivered. The reader can reuse it.
    pub fn spare(&mut self) -> Option<Batch> {
        self.order.spares.pop()
    }
}
