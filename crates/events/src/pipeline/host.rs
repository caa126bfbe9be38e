//! The frames of the host: options, counters, and facts about the machine.

use super::Pipeline;
use super::command::CommandTree;
use super::gaps::push_lost;
use crate::event::bpf::unprobed;
use crate::event::lost::{Cause, LostRecord};
use crate::frame::host::{Counters, FIRST_KIND, HostFrame, Layout, Probe, Trace, Window};
use crate::frame::{Batch, FrameRef};
use crate::limits;
use tracetui_shared::id::Tgid;
use tracetui_shared::time::BootNanos;

impl Pipeline {
    /// Takes the layout of the records, which may come in the same batch as the records. It is then the first frame.
    pub(super) fn take_layout(&mut self, batch: &Batch) {
        let first = batch.frames().next().filter(|frame| frame.header.kind >= FIRST_KIND);
        if let Some(HostFrame::Layout(layout)) = first.and_then(|frame| HostFrame::decode(&frame)) {
            self.layout = (layout != Layout::own()).then_some(layout);
        }
    }

    pub(super) fn host(&mut self, frame: &FrameRef<'_>, made: &mut Batch) {
        let Some(host) = HostFrame::decode(frame) else { return };
        let time = frame.header.time;
        match &host {
            HostFrame::Trace(trace) => self.begin(trace),
            HostFrame::Layout(layout) => self.layout = (*layout != Layout::own()).then(|| layout.clone()),
            // The first frame of a host, directly after the attach.
            HostFrame::Host(_) => self.world.processes.state.since = frame.header.time,
            HostFrame::Probe(probe) => self.attached(probe),
            HostFrame::CounterChanges(_) => {
                let before = self.world.counters.clone();
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
            // No events follow the last counters.
            HostFrame::Hole(_) if !self.world.counters.last => self.gaps.holes += 1,
            HostFrame::Unfinished(_) => self.unfinished = true,
            HostFrame::Excerpt(excerpt) => self.excerpt = Some(excerpt.clone()),
            HostFrame::Scanned(scanned) => self.ledger.unread_processes = scanned.unread,
            HostFrame::Continues(_) => self.continues = true,
            HostFrame::Window(window) => self.window(window),
            // tracetui's own programs do not count as events.
            HostFrame::ProgramChange(change) if change.own => {}
            HostFrame::ProgramChange(change) => self.programs.changed(change, time, &mut self.world, made),
            HostFrame::BpfAttachment(attachment) => {
                return self.programs.attachment(attachment, time, &mut self.world, made);
            }
            HostFrame::BpfInventory(inventory) => self.programs.compare(inventory, time, &mut self.world, made),
            HostFrame::BpfHidden(hidden) => unprobed::push_hidden(hidden, frame.header.time, made),
            HostFrame::ProgramChangesLost(lost) => {
                self.ledger.count(unprobed::KIND, |of| of.stream_lost = of.stream_lost.saturating_add(lost.count));
                let to = frame.header.time;
                push_lost(&LostRecord::new(unprobed::KIND as u16, Cause::Ring, None, lost.count, lost.since, to), made);
            }
            HostFrame::Unreadable(records) => {
                self.ledger.unframed = self.ledger.unframed.saturating_add(records.count);
            }
            _ => {}
        }
        self.world.apply_host(host, time);
    }

    pub(super) fn attached(&mut self, probe: &Probe) {
        if probe.attached && probe.preemptible {
            self.order.preemptible = true;
        }
    }

    /// Sets the options of the trace. tracetui starts a COMMAND and holds it until the probes are attached; only events
    /// of the COMMAND and its descendants are delivered.
    fn begin(&mut self, trace: &Trace) {
        self.asked = Some(trace.clone());
        if trace.command != Tgid(0) {
            self.world.processes.set_command(trace.command);
            self.command = Some(CommandTree { command: trace.command, runs: false });
        }
    }

    /// Reports the events that the probes could not report since the counters `before`, and checks the waiting
    /// requests. After the last counters, it also reports what never arrived.
    pub(super) fn count(&mut self, before: &Counters, time: BootNanos, made: &mut Batch) {
        let now = &self.world.counters;
        self.ledger.uncompared = Some(time);
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

    fn window(&mut self, window: &Window) {
        let room = self.windows.len() < limits::WINDOWS;
        match self.windows.last_mut() {
            Some(last) if last.from == window.from => *last = window.clone(),
            _ if room => self.windows.push(window.clone()),
            _ => {}
        }
    }
}
