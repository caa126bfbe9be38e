//! The last stage: decodes the ordered frames, applies them to the [`World`], and hands the wanted events to the receiver.

use super::command::{CommandTree, EventOwner};
use super::gaps::push_lost;
use super::programs::ProgramReports;
use super::{Disposition, Receiver, excerpt, programs};
use crate::account::ledger::Ledger;
use crate::enrich::World;
use crate::event::lost::{Cause, LostRecord};
use crate::event::process::Process;
use crate::event::{Body, Event, EventContext};
use crate::filter::{Filter, Scratch};
use crate::frame::host::Trace;
use crate::frame::{Batch, FrameRef};
use std::sync::Arc;
use tracetui_shared::header::{FrameHeader, flag};
use tracetui_shared::kind::{Kind, KindSet};

pub(super) struct Deliver<'a> {
    pub(super) world: &'a mut World,
    pub(super) ledger: &'a mut Ledger,
    pub(super) command: Option<&'a mut CommandTree>,
    pub(super) programs: &'a mut ProgramReports,
    pub(super) trace: Option<&'a Trace>,
    pub(super) asked: KindSet,
    pub(super) capture: &'a mut Option<Filter>,
    pub(super) to: &'a mut Receiver<'a>,
}

impl Deliver<'_> {
    pub(super) fn feed(&mut self, frame: &FrameRef<'_>) {
        self.ledger.handed_on(&frame.header);
        match programs::is_made(frame) && !frame.header.has(flag::EXCERPT) {
            true => self.made(frame),
            false => self.one(frame),
        }
    }

    fn one(&mut self, frame: &FrameRef<'_>) {
        let mut whole = Batch::default();
        let without = excerpt::take_told(frame, self.world, &mut whole).and_then(|()| whole.frame_at(0));
        let frame = without.as_ref().unwrap_or(frame);
        let Ok(event) = Event::decode(frame) else { return self.unread(frame) };
        let kind = event.kind();
        if let (true, Body::Lost(lost)) = (frame.header.has(flag::EXCERPT), &event.body) {
            self.ledger.counted.lost_row(&lost.record);
        }
        let process = self.world.apply(&event);
        let whose = self.command.as_mut().map_or(EventOwner::Commands, |tree| tree.whose(&event, process.as_deref()));
        if self.command.is_some() && whose == EventOwner::Commands {
            self.programs.of_command(frame);
        }
        if whose == EventOwner::Own {
            self.ledger.count(kind, |counted| counted.own += 1);
        }
        if frame.header.has(flag::BOOKKEEPING) {
            return self.ledger.count(kind, |counted| counted.kept += 1);
        }
        if whose != EventOwner::Commands || kind != Kind::Lost && !self.asked.contains(kind) {
            return self.ledger.rejected(kind, false);
        }
        let kept = event.body.shortened(frame).map(|payload| Batch::of(frame.header, &payload));
        let kept = kept.as_ref().and_then(|kept| kept.frame_at(0));
        let disposition = (self.to)(&context(&event, self.world, process.as_ref()), kept.as_ref().unwrap_or(frame));
        self.handed(&event, disposition);
    }

    fn handed(&mut self, event: &Event<'_>, disposition: Disposition) {
        match disposition {
            Disposition::Delivered => self.ledger.passed(event.kind(), event.body.cut()),
            Disposition::Filtered => self.ledger.rejected(event.kind(), event.body.cut()),
        }
    }

    /// Delivers an event that no probe made, if the capture filter and the COMMAND's tree admit it. A rejected event is not
    /// counted: it may be the event of a system call, which the probes have counted.
    fn made(&mut self, frame: &FrameRef<'_>) {
        let capture = captured(self.trace, self.capture, self.world);
        let whole = Batch::of(programs::identified(&frame.header, &self.world.processes), frame.payload);
        let Some(frame) = whole.frame_at(0) else { return };
        let Ok(event) = Event::decode(&frame) else { return };
        let process = self.world.apply(&event);
        let seen = context(&event, self.world, process.as_ref());
        let programs = &mut *self.programs;
        // The programs that it loaded, and those of others that it attached.
        let of_command = self.command.as_mut().is_none_or(|tree| {
            let by_it = process.is_some() && tree.whose(&event, process.as_deref()) == EventOwner::Commands;
            if by_it {
                programs.of_command(&frame);
            }
            by_it || !programs::is_load(&frame) && programs.commands.contains(&programs::program_of(&frame))
        });
        if !of_command || capture.is_some_and(|filter| !filter.matches(&seen, &mut Scratch::default())) {
            return;
        }
        self.ledger.count(event.kind(), |counted| counted.streamed += 1);
        let disposition = (self.to)(&seen, &frame);
        self.handed(&event, disposition);
    }

    /// Counts a frame that cannot be decoded and adds a `lost` row in its place. A record that is only for the process
    /// table gets no row.
    fn unread(&mut self, frame: &FrameRef<'_>) {
        let bookkeeping = frame.header.has(flag::BOOKKEEPING);
        if let Ok(kind) = Kind::try_from(frame.header.kind) {
            self.ledger.count(kind, |counted| match bookkeeping {
                true => counted.kept_unread += 1,
                false => counted.unread += 1,
            });
        }
        if bookkeeping {
            return;
        }
        let FrameHeader { kind, cpu, time, .. } = frame.header;
        let mut batch = Batch::default();
        push_lost(&LostRecord::new(kind, Cause::Read, Some(cpu), 1, time, time), &mut batch);
        for frame in batch.frames() {
            if let Ok(event) = Event::decode(&frame) {
                (self.to)(&context(&event, self.world, None), &frame);
            }
        }
    }
}

fn context<'a>(event: &'a Event<'a>, world: &'a World, process: Option<&'a Arc<Process>>) -> EventContext<'a> {
    EventContext { event, world, process, clock_offset: world.clock_offset }
}

/// The capture filter of a trace as a display filter. If this version cannot parse it, every event passes.
fn captured<'a>(trace: Option<&Trace>, filter: &'a mut Option<Filter>, world: &World) -> Option<&'a Filter> {
    let text = trace.map(|trace| trace.filter.as_str()).filter(|text| !text.is_empty())?;
    if filter.as_ref().is_none_or(|filter| filter.text() != text) {
        *filter = Filter::parse(text, world).ok();
    }
    filter.as_ref()
}
