//! Joins three sources on BPF programs: the events of system calls, the kernel's own stream of programs, and the inventory.
//!
//! The stream reports a load before its system call ends. If only the stream reports a load, a program made it (`bpf_sys_bpf`), or
//! its event was lost. The load becomes an event of its own once no system call can report it any more. Later events wait for that
//! decision. Only the stream reports unloads. If only the inventory shows that an attachment appeared or ended, that is likewise an
//! event of its own. Nothing waits for it: its time is half a second later, because the inventory does not show the time of the
//! change. An unload or the end of the trace may come first. The end of an attachment at an unload waits if the call that ended it can
//! have unloaded the program: then the event of the call is the only one. Its process is that of the call by netlink, if one is known
//! ([`Callers`]).

use super::attached::{Attached, Listing};
use super::netlink_callers::Callers;
use crate::account::ledger::Ledger;
use crate::bpf::{Hook, Via, XDP};
use crate::enrich::World;
use crate::enrich::bpf::UNKNOWN_TYPE;
use crate::enrich::process::ProcessTable;
use crate::event::Payload as _;
use crate::event::bpf::unprobed::{KIND, NO_SLOT, fill, made_header, place_event, record_of, set_place};
use crate::event::bpf::{Bpf, with_program};
use crate::fifo::Fifo;
use crate::frame::host::{BpfAttachment, BpfInventory, ProgramChange};
use crate::frame::state::{BpfPlace, ProgramsState};
use crate::frame::{Batch, FrameRef};
use crate::limits;
use std::collections::VecDeque;
use tracetui_shared::header::{COMM_LEN, FrameHeader, flag, until_nul};
use tracetui_shared::id::{LinkId, NsInum, ProgId, Tgid, Tid};
use tracetui_shared::kind::Slot;
use tracetui_shared::record::bpf::{BpfRecord, NetlinkRecord, XdpRecord, attach, call, cmd, has, on, option};
use tracetui_shared::time::BootNanos;
use zerocopy::{FromBytes, FromZeros as _, IntoBytes};

/// [`FrameHeader::seq`] of an event that waits as [`Awaited::Unloaded`].
const UNLOADED: u64 = 1;

/// The end of a trace that continues.
const NEVER: BootNanos = BootNanos(u64::MAX);

/// The report that a system call may still make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Awaited {
    Load(ProgId),
    Place(BpfPlace),
    /// The end of an attachment at the unload of its program. A call that ended it can have unloaded the program.
    Unloaded(BpfPlace),
}

/// An event that only the stream or the inventory has reported.
#[derive(Debug)]
struct Waiting {
    of: Awaited,
    time: BootNanos,
    event: Batch,
}

/// The loads and attachments so far.
#[derive(Debug, Default)]
pub(super) struct ProgramReports {
    /// The events that no system call has reported yet, oldest first.
    waiting: VecDeque<Waiting>,
    /// The programs whose load only the stream reports, as an event.
    streamed: Fifo<ProgId, ()>,
    /// The programs that the COMMAND loaded.
    pub(super) commands: Fifo<ProgId, ()>,
    /// The attachments and detachments that system calls reported.
    pub(super) attached: Attached,
    /// The calls by netlink that may have attached or detached a program.
    callers: Callers,
}

impl Waiting {
    fn place(&self) -> Option<BpfPlace> {
        match self.of {
            Awaited::Place(place) | Awaited::Unloaded(place) => Some(place),
            Awaited::Load(_) => None,
        }
    }

    /// Whether it is a report on a place that a system call names. Some calls end an attachment without naming the program.
    fn is_at(&self, place: BpfPlace) -> bool {
        self.place().is_some_and(|other| other.and_unnamed()[..1 + usize::from(place.gone)].contains(&place))
    }

    /// Whether it is a report of the end of an attachment to the socket, or to the interface, of a call.
    fn is_end_at(&self, call: &BpfRecord) -> bool {
        let is_there = self.place().is_some_and(|place| place.and_unnamed()[1] == BpfPlace::of_unnamed(call));
        let of = || self.event.frame_at(0).and_then(|frame| record(&frame));
        is_there && (call.call == call::SETSOCKOPT || of().is_some_and(|end| end.attach_type == call.attach_type))
    }

    /// The time until which the call by netlink has sent its notification.
    fn called(&self) -> BootNanos {
        BootNanos(self.time.0.saturating_add(limits::BPF_CALLER_AFTER_NS))
    }

    /// The time from which no system call can report it any more.
    fn due(&self) -> BootNanos {
        BootNanos(self.time.0.saturating_add(limits::BPF_LOAD_NS))
    }

    /// Whether its event has the time of the report, so that later events wait with it.
    fn keeps_time(&self) -> bool {
        !matches!(self.of, Awaited::Place(_))
    }

    /// Appends the event of a place. If later events did not wait, its time is when it was due, or this time if that is earlier. It
    /// depends on the frames alone, and no event before it has been delivered. An inventory can list an attachment without its program
    /// if the program was loaded meanwhile: by now, the load may have been reported.
    fn push_until(&self, until: BootNanos, callers: &mut Callers, world: &World, made: &mut Batch) {
        let time = if self.keeps_time() { self.time } else { self.due().min(until) };
        for frame in self.event.frames() {
            let header = FrameHeader { time, ..by(&frame, self.called(), callers) };
            let unread = Bpf::decode(frame.payload).filter(Bpf::is_unread);
            match unread.zip(world.bpf.known_program(program_of(&frame))) {
                Some((bpf, program)) => {
                    let mut record = bpf.record();
                    fill(&mut record, program);
                    let text = frame.payload.get(size_of::<BpfRecord>()..).unwrap_or_default();
                    made.push(header, &[record.as_bytes(), text].concat());
                }
                None => made.push(header, frame.payload),
            }
        }
    }
}

impl ProgramReports {
    /// Returns whether a frame continues as it is. Events made of it, or instead of it, are appended to `to`.
    pub(super) fn feed(
        &mut self,
        frame: &FrameRef<'_>,
        world: &mut World,
        ledger: &mut Ledger,
        to: &mut Batch,
    ) -> bool {
        if frame.header.kind != KIND as u16 {
            return true;
        }
        if frame.header.has(flag::REQUEST) {
            self.called(frame, world, to);
            ledger.count(KIND, |counted| counted.kept += 1);
            return false;
        }
        self.replaced(frame, world, to);
        // Before the end of a link is known.
        let whole = self.completed(frame, world);
        let frame = whole.as_ref().and_then(|whole| whole.frame_at(0)).unwrap_or(*frame);
        self.begin_before(&frame, world, to);
        if !self.is_new(&frame, world) {
            ledger.rejected(KIND, false);
            return false;
        }
        whole.iter().for_each(|whole| to.append(whole.bytes()));
        whole.is_none()
    }

    /// Takes the record of a call by netlink.
    fn called(&mut self, frame: &FrameRef<'_>, world: &mut World, made: &mut Batch) {
        match XdpRecord::read_from_prefix(frame.payload) {
            Ok((record, _)) if frame.header.slot == Slot::BpfXdp as u16 => {
                self.xdp(&frame.header, &record, world, made);
            }
            _ => self.callers.add(frame),
        }
    }

    /// Handles a call by netlink that changed the XDP programs of an interface. The events wait for the facts about the programs, like
    /// those of the inventory.
    fn xdp(&mut self, caller: &FrameHeader, record: &XdpRecord, world: &mut World, made: &mut Batch) {
        let NetlinkRecord { first, ifindex, netns, programs, .. } = record.change;
        let (time, netns) = (caller.time, NsInum(netns));
        let modes = programs.into_iter().zip(["native", "generic", "offloaded"]);
        let attached = modes.filter(|(program, _)| *program != 0).map(|(program, mode)| BpfAttachment {
            program: ProgId(program),
            via: Via::Netlink,
            hook: Hook::Type(XDP),
            target: until_nul(&record.name).to_vec(),
            ifindex: Some(ifindex),
            netns: Some(netns),
            flags: mode.into(),
            ..BpfAttachment::default()
        });
        let attached: Vec<_> = attached.filter(|facts| !is_own(facts.program, world)).collect();
        let payload = |facts: &BpfAttachment, gone, world: &World| {
            place_event(facts, gone, world.bpf.known_program(facts.program)).into()
        };
        let changes = self.attached.changed(&attached, (ifindex, netns), time, world, payload);
        let caller = if first & 1 == 0 { FrameHeader::default() } else { *caller };
        let FrameHeader { kind, version, slot, .. } = made_header(time);
        let header = FrameHeader { kind, version, slot, flags: 0, seq: 0, ..caller };
        // The kernel notifies the inspector before the call ends.
        let is_begin = |begun: &BpfRecord| {
            let is_there = (begun.object, begun.attach_btf_id) == (ifindex, netns.0);
            begun.cmd == cmd::PROG_ATTACH
                && (begun.priority, begun.attach_type) == (Via::Netlink as i32, XDP)
                && is_there
                && programs.contains(&begun.prog_id)
        };
        for waiting in &mut self.waiting {
            let begun = waiting.event.frame_at(0).filter(|begun| begun.header.start.0 == 0);
            if let Some(begun) = begun.filter(|begun| self::record(begun).as_ref().is_some_and(is_begin)) {
                waiting.event = Batch::of(FrameHeader { time: waiting.time, ..header }, begun.payload);
            }
        }
        for (place, payload) in changes {
            self.wait(
                Waiting { of: Awaited::Place(place), time, event: Batch::of(FrameHeader { time, ..header }, &payload) },
                world,
                made,
            );
        }
    }

    /// Whether a frame of the probes is an event of its own. A report of a load that came too late is not: the stream's report has
    /// already become an event.
    fn is_new(&mut self, frame: &FrameRef<'_>, world: &mut World) -> bool {
        let Some(record) = record(frame) else { return true };
        let waiting = &mut self.waiting;
        self.attached.called(frame, world, |place| {
            let at = waiting.iter().position(|waiting| waiting.is_at(place));
            at.and_then(|at| waiting.remove(at)).is_some()
        });
        let Some(id) = loaded_program(&record) else { return true };
        self.waiting.retain(|load| load.of != Awaited::Load(id));
        Bpf::decode(frame.payload).into_iter().for_each(|bpf| world.bpf.meet_load(&bpf, frame.header.time));
        !self.streamed.contains(&id)
    }

    /// Turns a waiting report that an attachment appeared into an event, if a system call ended the attachment.
    fn begin_before(&mut self, end: &FrameRef<'_>, world: &World, made: &mut Batch) {
        let Some(record) = record(end) else { return };
        let Some(gone) = BpfPlace::of_call(&record).filter(|place| place.gone) else { return };
        let begun = |waiting: &Waiting| waiting.of == Awaited::Place(gone.begun());
        let at = self.waiting.iter().position(begun);
        if let Some(waiting) = at.and_then(|at| self.waiting.remove(at)) {
            let before = BootNanos(end.header.time.0.saturating_sub(1));
            waiting.push_until(before, &mut self.callers, world, made);
        }
    }

    /// Ends the attachment that a call replaced, just before it. Another group of sockets may have got the address of a former one, so
    /// what a call replaced there is not known.
    fn replaced(&mut self, frame: &FrameRef<'_>, world: &mut World, made: &mut Batch) {
        let Some(set) = record(frame) else { return };
        let Some((cmd, program, via)) = replaced_by(&set) else { return };
        let none = BpfRecord { prog_id: program.0, prog_uid: u32::MAX, ..BpfRecord::new_zeroed() };
        let detached = BpfRecord { cmd, has: set.has & !has::PROG, hooknum: 0, priority: 0, ..set };
        let mut detached = self.attached.with_known(with_program(detached, &none));
        world.bpf.known_program(program).into_iter().for_each(|program| fill(&mut detached, program));
        let time = BootNanos(frame.header.time.0.saturating_sub(1));
        let header = FrameHeader { slot: NO_SLOT, flags: 0, seq: 0, time, ..frame.header };
        let batch = Batch::of(header, detached.as_bytes());
        let named = batch.frame_at(0).and_then(|frame| self.completed(&frame, world));
        let Some(named) = named.or((program.0 != 0).then_some(batch)) else { return };
        let Some(end) = named.frame_at(0) else { return };
        self.begin_before(&end, world, made);
        self.is_new(&end, world);
        Bpf::decode(end.payload).into_iter().for_each(|bpf| made.push(end.header, &bpf.end(via)));
    }

    /// The event of a detachment, completed with what the inventory or an earlier call knows: the place of a link, since the kernel's
    /// link no longer contains it, or the program of a socket or cgroup, which the call may not name. `None` if there is nothing to add.
    fn completed(&self, frame: &FrameRef<'_>, world: &World) -> Option<Batch> {
        let bpf = Bpf::decode(frame.payload)?;
        let (mut record, mut text) = (bpf.record(), Vec::new());
        match (record.call, record.cmd) {
            (call::BPF, cmd::LINK_DETACH) if record.has & has::LINK != 0 => {
                let unplaced = record.text_len == 0 && record.on == 0 && record.target[0] == 0;
                let link = Some(LinkId(record.link_id)).filter(|_| unplaced)?;
                let listed = world.bpf.attachment_of_link(link).map(|facts| set_place(&mut record, facts));
                let place = listed.or_else(|| self.attached.set_place_of_link(&mut record, link))?;
                text = [place, b"\0"].concat();
            }
            (call::BPF, cmd::PROG_DETACH) if record.on & SINGLE != 0 && record.ret >= 0 => {
                record = self.attached.of_unnamed(&bpf, BootNanos(0), world)?;
            }
            // The kernel unloads the program within the call, unless something else holds it.
            (call::BPF, cmd::PROG_DETACH) if record.on & on::DEVICE != 0 && record.prog_id == 0 && record.ret >= 0 => {
                let ended = self.waiting.iter().rfind(|waiting| waiting.keeps_time() && waiting.is_end_at(&record));
                let ended = ended.and_then(|ended| self::record(&ended.event.frame_at(0)?));
                let ended = ended.map(|ended| with_program(record, &ended));
                record = ended.or_else(|| self.attached.of_unnamed(&bpf, BootNanos(0), world))?;
            }
            (call::SETSOCKOPT, option::DETACH_FILTER | option::DETACH_REUSEPORT_BPF) if record.ret >= 0 => {
                let ended = self.waiting.iter().rfind(|waiting| waiting.is_end_at(&record));
                let unloaded = ended.filter(|ended| ended.keeps_time()).map(|ended| ended.time);
                let ended = ended.and_then(|ended| self::record(&ended.event.frame_at(0)?));
                let known = self.attached.of_unnamed(&bpf, unloaded.unwrap_or_default(), world);
                record = known.or_else(|| ended.map(|ended| with_program(record, &ended)))?;
            }
            _ => return None,
        }
        if record.cmd != cmd::LINK_DETACH {
            let program = world.bpf.known_program(ProgId(record.prog_id));
            program.into_iter().for_each(|program| fill(&mut record, program));
        }
        let rest = frame.payload.get(size_of::<BpfRecord>()..)?;
        Some(Batch::of(frame.header, &[record.as_bytes(), &text, rest].concat()))
    }

    /// Handles a report of the stream. An unload becomes an event at once, after the ends of the program's attachments.
    pub(super) fn changed(&mut self, change: &ProgramChange, time: BootNanos, world: &mut World, made: &mut Batch) {
        if change.loaded && (world.bpf.load(change.id).is_some() || self.streamed.contains(&change.id)) {
            return;
        }
        let mut record = record_of(change);
        let mut header = FrameHeader { cpu: change.cpu, ..made_header(time) };
        if change.loaded {
            (header.tgid, header.tid) = (change.tgid, change.tid);
        }
        // Without an id, no other report can be joined with it.
        if change.loaded && change.id.0 != 0 {
            let event = Batch::of(header, record.as_bytes());
            return self.wait(Waiting { of: Awaited::Load(change.id), time, event }, world, made);
        }
        let begun = self.decide_places(change.id, time, world, made);
        self.detached(change.id, time, &begun, world, made);
        let load = world.bpf.load(change.id).filter(|load| load.prog_type != UNKNOWN_TYPE);
        let known = load.or_else(|| world.bpf.program(change.id));
        known.into_iter().for_each(|program| fill(&mut record, program));
        made.push(header, record.as_bytes());
    }

    /// Turns the waiting reports on the places of an unloaded program into events with the time of the unload. Returns the
    /// places where the program was attached.
    fn decide_places(&mut self, id: ProgId, time: BootNanos, world: &World, made: &mut Batch) -> Vec<BpfPlace> {
        let link_of = |frame: &FrameRef<'_>| record(frame).map_or(0, |record| record.link_id);
        // A link whose program was replaced meanwhile began with another program.
        let frames = self.waiting.iter().flat_map(|waiting| waiting.event.frames());
        let links = frames.filter(|frame| program_of(frame) == id).map(|frame| link_of(&frame));
        let links: Vec<u32> = links.filter(|link| *link != 0).collect();
        let (callers, mut begun) = (&mut self.callers, Vec::new());
        self.waiting.retain(|waiting| {
            let is_of = |frame: FrameRef<'_>| program_of(&frame) == id || links.contains(&link_of(&frame));
            let ends = !waiting.keeps_time() && waiting.event.frames().any(is_of);
            if ends {
                waiting.push_until(time, callers, world, made);
                begun.extend(waiting.place().filter(|place| !place.gone));
            }
            !ends
        });
        begun
    }

    /// Ends the attachments of an unloaded program. A program is unloaded when nothing refers to it any more, so it is not attached
    /// either. At a place of `begun`, the begin has this time, and the end does not wait.
    fn detached(&mut self, id: ProgId, time: BootNanos, begun: &[BpfPlace], world: &mut World, made: &mut Batch) {
        let (mut ended, mut events) = (Vec::new(), Batch::default());
        for facts in world.bpf.attachments_of(id).filter(|_| id.0 != 0) {
            let reported = self.attached.unlisted(BpfPlace::of(facts, true));
            if reported.is_none() && !facts.is_part() {
                events.push(made_header(time), &place_event(facts, true, world.bpf.known_program(id)));
            }
            ended.push((facts.key, reported.unwrap_or(time)));
        }
        ended.into_iter().for_each(|(key, at)| world.bpf.end_attachment(key, at));
        self.attached.unloaded(id, time, |end| events.push(made_header(time), end));
        events.frames().for_each(|end| self.end_at_unload(&end, begun, world, made));
    }

    /// Handles the event of an end at an unload. The report of the call that ended the attachment may arrive after the unload.
    fn end_at_unload(&mut self, end: &FrameRef<'_>, begun: &[BpfPlace], world: &World, made: &mut Batch) {
        let Some(ended) = record(end) else { return };
        // The begin of a link whose program was replaced meanwhile names another program.
        let begins = |frame: FrameRef<'_>| {
            record(&frame).is_some_and(|begun| begun.link_id == ended.link_id && begun.cmd != cmd::PROG_DETACH)
        };
        let of_link = |waiting: &Waiting| ended.link_id != 0 && waiting.event.frames().any(begins);
        let at = self.waiting.iter().position(of_link);
        if let Some(waiting) = at.and_then(|at| self.waiting.remove(at)) {
            waiting.push_until(end.header.time, &mut self.callers, world, made);
        }
        let record = ended;
        let (place, time, mut header) = (BpfPlace::of_made(&record), end.header.time, end.header);
        let of = match Via::of(record.priority) {
            Some(Via::Netlink) => Awaited::Place(place),
            _ if begun.contains(&place.begun()) => return made.push(header, end.payload),
            Some(Via::ProgAttach) => Awaited::Unloaded(place),
            Some(Via::Setsockopt) if record.on & on::GROUP != 0 => Awaited::Unloaded(place),
            _ => return made.push(header, end.payload),
        };
        header.seq = if matches!(of, Awaited::Unloaded(_)) { UNLOADED } else { 0 };
        let event = Batch::of(header, end.payload);
        self.wait(Waiting { of, time, event }, world, made);
    }

    /// Handles an attachment that the inventory reports as new or ended. Returns the time of the change: that of the system call's
    /// report, or else that of the inventory. Also returns the program of a new attachment, if a later system call replaced it. `None`
    /// if a new attachment has already ended.
    pub(super) fn attachment(
        &mut self,
        attachment: &BpfAttachment,
        time: BootNanos,
        world: &World,
        made: &mut Batch,
    ) -> Option<(BootNanos, Option<ProgId>)> {
        let (gone, known) = (attachment.gone, world.bpf.attachment(attachment.key));
        let Some(facts) = (if gone { known } else { Some(attachment) }) else { return Some((time, None)) };
        if is_own(facts.program, world) {
            return Some((time, None));
        }
        let place = BpfPlace::of(facts, gone);
        if gone && attachment.news {
            if let Some(reported) = self.attached.unlisted(place) {
                return Some((reported, None));
            }
        } else if !gone && known.is_none() {
            match self.attached.listed(facts, world) {
                Listing::Ended => return None,
                Listing::Unloaded => {
                    let ends = if attachment.news { [false, true].as_slice() } else { &[] };
                    ends.iter().for_each(|gone| self.wait_for(facts, *gone, time, world, made));
                    return None;
                }
                Listing::Reported(reported, program) => return Some((reported, Some(program))),
                Listing::Unreported => {}
            }
        }
        if attachment.news {
            self.wait_for(facts, gone, time, world, made);
        }
        Some((time, None))
    }

    /// Lets the event of an attachment that appeared or ended wait for the report of a system call.
    fn wait_for(&mut self, facts: &BpfAttachment, gone: bool, time: BootNanos, world: &World, made: &mut Batch) {
        let event = Batch::of(made_header(time), &place_event(facts, gone, world.bpf.known_program(facts.program)));
        self.wait(Waiting { of: Awaited::Place(BpfPlace::of(facts, gone)), time, event }, world, made);
    }

    /// Handles the end of an inventory. It began after some system calls: what these attached and it lacks has ended.
    pub(super) fn compare(&mut self, inventory: &BpfInventory, time: BootNanos, world: &World, made: &mut Batch) {
        let mut ended = Vec::new();
        self.attached.compare(inventory, world, |place, end| {
            ended.push(Waiting { of: Awaited::Place(place), time, event: Batch::of(made_header(time), end) });
        });
        ended.into_iter().for_each(|waiting| self.wait(waiting, world, made));
    }

    /// Takes over the attachments of a later state.
    pub(super) fn catch_up(&mut self, later: ProgramReports) {
        (self.attached, self.callers) = (later.attached, later.callers);
    }

    /// Turns the waiting reports that no system call has confirmed by this time into events.
    pub(super) fn decide(&mut self, settled: BootNanos, world: &World, made: &mut Batch) {
        let late = |waiting: &Waiting| waiting.due() <= settled;
        while self.waiting.front().is_some_and(late) {
            self.decide_first(NEVER, world, made);
        }
    }

    /// Turns all waiting reports into events at the end of the trace.
    pub(super) fn end(&mut self, end: BootNanos, world: &World, made: &mut Batch) {
        while !self.waiting.is_empty() {
            self.decide_first(end, world, made);
        }
    }

    /// The earliest and the latest time that a waiting event may get.
    pub(super) fn waiting(&self) -> [Option<BootNanos>; 2] {
        [self.waiting.front().map(|first| first.time), self.waiting.back().map(Waiting::due)]
    }

    /// The time of the first waiting event with which later events wait.
    pub(super) fn first_kept(&self) -> Option<BootNanos> {
        self.waiting.iter().find(|waiting| waiting.keeps_time()).map(|first| first.time)
    }

    /// Records that the COMMAND loaded the program of this event, if it is a load.
    pub(super) fn of_command(&mut self, frame: &FrameRef<'_>) {
        if let Some(id) = record(frame).as_ref().and_then(loaded_program) {
            know(&mut self.commands, id);
        }
    }

    /// Inserts an event at its place in time. Needed because the CPUs are read one after another.
    fn wait(&mut self, waiting: Waiting, world: &World, made: &mut Batch) {
        self.put(waiting);
        while self.waiting.len() > limits::BPF_LOADS_WAITING {
            self.decide_first(NEVER, world, made);
        }
    }

    fn put(&mut self, waiting: Waiting) {
        let at = self.waiting.partition_point(|other| other.time <= waiting.time);
        self.waiting.insert(at, waiting);
    }

    /// Turns the first waiting report into an event. By now the inventory may know the loaded program.
    fn decide_first(&mut self, end: BootNanos, world: &World, made: &mut Batch) {
        let Some(first) = self.waiting.pop_front() else { return };
        let Awaited::Load(id) = first.of else {
            return first.push_until(first.time.max(end), &mut self.callers, world, made);
        };
        let Some(frame) = first.event.frame_at(0) else { return };
        let Some(mut record) = record(&frame) else { return };
        world.bpf.program(id).into_iter().for_each(|program| fill(&mut record, program));
        know(&mut self.streamed, id);
        made.push(frame.header, record.as_bytes());
    }

    /// The known programs, the waiting events, and the attachments ([`Attached::write_state`]).
    pub(super) fn write_state(
        &self,
        mut out: impl FnMut(&FrameRef<'_>),
        mut attached: impl FnMut(FrameHeader, bool, &[u8]),
    ) -> ProgramsState {
        self.waiting.iter().flat_map(|waiting| waiting.event.frames()).for_each(|frame| out(&frame));
        let mut calls = Batch::default();
        self.callers.calls.iter().for_each(|(header, record)| calls.push(*header, record.as_bytes()));
        calls.frames().for_each(|frame| out(&frame));
        let [streamed, commands] = [&self.streamed, &self.commands].map(|ids| ids.iter().map(|(id, ())| *id).collect());
        let mut state = ProgramsState { streamed, commands, ..ProgramsState::default() };
        self.attached.write_state(&mut state, |time, open, end| attached(made_header(time), open, end));
        state
    }

    pub(super) fn restore(&mut self, state: &ProgramsState) {
        state.streamed.iter().for_each(|id| know(&mut self.streamed, *id));
        state.commands.iter().take(limits::BPF_LOADS_KNOWN).for_each(|id| know(&mut self.commands, *id));
        self.attached.restore(state);
    }

    /// Restores a waiting event, or the record of a call.
    pub(super) fn restore_waiting(&mut self, frame: &FrameRef<'_>) {
        if frame.header.has(flag::REQUEST) {
            return self.callers.restore(frame);
        }
        let Some(record) = record(frame).filter(|_| self.waiting.len() < limits::BPF_LOADS_WAITING) else {
            return;
        };
        let of = match loaded_program(&record) {
            Some(id) => Awaited::Load(id),
            None if frame.header.seq == UNLOADED => Awaited::Unloaded(BpfPlace::of_made(&record)),
            None => Awaited::Place(BpfPlace::of_made(&record)),
        };
        self.put(Waiting { of, time: frame.header.time, event: Batch::of(frame.header, frame.payload) });
    }
}

/// Adds a program. The oldest is forgotten.
fn know(programs: &mut Fifo<ProgId, ()>, id: ProgId) {
    programs.insert(id, (), 0);
    while programs.evict(limits::BPF_LOADS_KNOWN, usize::MAX).is_some() {}
}

/// Whether an event is one that no probe made.
pub(super) fn is_made(frame: &FrameRef<'_>) -> bool {
    record(frame).is_some_and(|record| record.call >= call::STREAM)
}

/// The header of an event that no probe made. With the start of a process, it is that of a record. Otherwise it contains what the process table knows of the process as of its last
/// event. An unknown process has the id 0.
pub(super) fn identified(header: &FrameHeader, processes: &ProcessTable) -> FrameHeader {
    let mut header = *header;
    if header.start.0 != 0 {
        return header;
    }
    let known = processes.by_tgid(header.tgid).filter(|entry| header.tgid.0 != 0 && entry.end.is_none());
    let Some(process) = known.map(|entry| &entry.process) else {
        (header.tgid, header.tid) = (Tgid(0), Tid(0));
        return header;
    };
    header.start = process.key.start;
    header.ppid = process.parent.map_or(Tgid(0), |parent| parent.tgid);
    (header.uid, header.gid) = (process.uid, process.gid);
    // The name of another thread is not known.
    if header.tid.0 == header.tgid.0 {
        header.comm[..COMM_LEN - 1].iter_mut().zip(process.comm.iter()).for_each(|(to, from)| *to = *from);
    }
    header
}

/// The header of an event that the inventory reported at a time, with the process of its call by netlink if that is known.
fn by(event: &FrameRef<'_>, reported: BootNanos, callers: &mut Callers) -> FrameHeader {
    if event.header.start.0 != 0 {
        return event.header;
    }
    let FrameHeader { len, kind, version, slot, flags, seq, cpu, time, .. } = event.header;
    let caller = record(event).and_then(|record| callers.take_caller(&record, reported));
    caller.map_or(event.header, |caller| FrameHeader { len, kind, version, slot, flags, seq, cpu, time, ..caller })
}

/// Whether an event that no probe made names its process. A load does.
pub(super) fn is_load(frame: &FrameRef<'_>) -> bool {
    record(frame).as_ref().and_then(loaded_program).is_some()
}

/// The places where BPF_PROG_DETACH need not name the program.
const SINGLE: u16 = on::CGROUP | on::MAP | on::NETNS;

/// The command that would have ended the attachment that a call replaced, its program, or 0 if the call does not name it, and how that
/// was attached. `None` if it replaces none.
fn replaced_by(set: &BpfRecord) -> Option<(u16, ProgId, Via)> {
    let by_name = set.hooknum & attach::REPLACE != 0;
    match (set.call, set.cmd) {
        _ if set.ret < 0 => None,
        // A socket has one program.
        (call::SETSOCKOPT, option::ATTACH_FILTER | option::ATTACH_BPF) => {
            Some((option::DETACH_FILTER, ProgId(0), Via::Setsockopt))
        }
        (call::BPF, cmd::PROG_ATTACH) if set.hooknum & attach::KNOWN != 0 => {
            let is_single = set.on & SINGLE != 0 && (set.on & on::CGROUP == 0 || set.hooknum & attach::MULTI == 0);
            let program = ProgId(if by_name { set.priority.cast_unsigned() } else { 0 });
            let replaces = if by_name { program.0 != 0 } else { is_single };
            replaces.then_some((cmd::PROG_DETACH, program, Via::ProgAttach))
        }
        _ => None,
    }
}

/// Whether a program belongs to tracetui.
fn is_own(id: ProgId, world: &World) -> bool {
    world.bpf.known_program(id).is_some_and(|program| program.own)
}

/// The program of an event.
pub(super) fn program_of(frame: &FrameRef<'_>) -> ProgId {
    ProgId(record(frame).map_or(0, |record| record.prog_id))
}

/// The program of an event that reports a successful load.
fn loaded_program(record: &BpfRecord) -> Option<ProgId> {
    let loads = matches!(record.call, call::BPF | call::STREAM) && record.cmd == cmd::PROG_LOAD && record.ret >= 0;
    (loads && record.prog_id != 0).then_some(ProgId(record.prog_id))
}

/// The record of an event of this kind.
fn record(frame: &FrameRef<'_>) -> Option<BpfRecord> {
    let payload = (frame.header.kind == KIND as u16).then_some(frame.payload)?;
    BpfRecord::read_from_prefix(payload).ok().map(|(record, _)| record)
}
