//! Joins three sources on BPF programs: the events of system calls, the kernel's own stream of programs, and the inventory.
//!
//! The stream reports a load before its system call ends. If only the stream reports a load, a program made it (`bpf_sys_bpf`), or
//! its event was lost. The load becomes an event of its own once no system call can report it any more. Later events wait for that
//! decision. Only the stream reports unloads. If only the inventory shows that an attachment appeared or ended ([`Attached`]), that is
//! likewise an event of its own. Nothing waits for it: its time is half a second later, because the inventory does not show the time of
//! the change. An unload, another change of the place, or the end of the trace may come first. The end of an attachment at an unload
//! waits if the call that ended it can have unloaded the program: then the event of the call is the only one. The process of a begin is
//! that of the call by netlink, if one is known ([`Callers`]).

use super::attached::{Attached, Place, change_of};
use super::netlink_callers::Callers;
use crate::account::ledger::Ledger;
use crate::bpf::{Hook, Via, XDP};
use crate::enrich::World;
use crate::enrich::bpf::UNKNOWN_TYPE;
use crate::enrich::process::ProcessTable;
use crate::event::Payload as _;
use crate::event::bpf::unprobed::{KIND, NO_SLOT, fill, made_header, place_event, record_of};
use crate::event::bpf::{Bpf, with_program};
use crate::fifo::Fifo;
use crate::frame::host::{BpfAttachment, BpfInventory, ProgramChange};
use crate::frame::state::ProgramsState;
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
#[derive(Clone, PartialEq, Eq, Debug)]
enum Awaited {
    Load(ProgId),
    /// A begin or an end that only the inventory shows. It is void once it is no longer [`missing`](Attached::missing).
    Place(Place),
    /// The end of an attachment at the unload of its program. A call that ended it can have unloaded the program.
    Unloaded(Place),
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
    /// The programs that the COMMAND loaded or attached.
    pub(super) commands: Fifo<ProgId, ()>,
    pub(super) attached: Attached,
    /// The calls by netlink that may have attached a program.
    callers: Callers,
}

impl Waiting {
    fn is_missing(&self, place: &Place) -> bool {
        matches!(&self.of, Awaited::Place(other) if other == place)
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
            let known = BootNanos(self.time.0.saturating_add(limits::BPF_CALLER_AFTER_NS));
            let header = FrameHeader { time, ..by(&frame, known, callers) };
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
            match XdpRecord::read_from_prefix(frame.payload) {
                Ok((record, _)) if frame.header.slot == Slot::BpfXdp as u16 => {
                    self.xdp(&frame.header, &record, world, to);
                }
                _ => self.callers.add(frame),
            }
            ledger.count(KIND, |counted| counted.kept += 1);
            return false;
        }
        let (Some(bpf), Some(record)) = (Bpf::decode(frame.payload), record(frame)) else { return true };
        self.replaced(frame, &record, world, to);
        match change_of(&record) {
            Some((true, via)) => match self.detached(frame, via, world, to) {
                Some(whole) => {
                    to.append(whole.bytes());
                    return false;
                }
                // The inventory may list it later.
                None => {
                    let end = bpf.end(via);
                    self.attached.end(&Place::of(&end), frame.header.time, &end);
                }
            },
            Some((false, via)) => self.attached(&bpf, via, frame.header.time, world, to),
            None if (record.call, record.cmd) == (call::BPF, cmd::LINK_UPDATE) => {
                let (link, has_all) = (LinkId(record.link_id), has::LINK | has::PROG);
                if record.ret >= 0 && record.has & has_all == has_all && link.0 != 0 {
                    self.updated(link, &record, frame.header.time, world, to);
                }
            }
            None => {}
        }
        let Some(id) = loaded_program(&record) else { return true };
        self.waiting.retain(|load| load.of != Awaited::Load(id));
        world.bpf.meet_load(&bpf, frame.header.time);
        // A report that came too late: the stream's report has already become an event.
        let is_new = !self.streamed.contains(&id);
        if !is_new {
            ledger.rejected(KIND, false);
        }
        is_new
    }

    /// Handles a call that attached a program.
    fn attached(&mut self, bpf: &Bpf<'_>, via: Via, time: BootNanos, world: &mut World, made: &mut Batch) {
        let (end, program) = (bpf.end(via), ProgId(bpf.record().prog_id));
        let place = Place::of(&end);
        self.begin_missing(&place, time, world, made);
        if place.link.0 != 0 {
            self.forget_shown(&end, program, time, world);
        }
        world.bpf.left_out += self.attached.begin(&place, time, &end);
    }

    /// Handles a call that replaced the program of a link. It may have unloaded the earlier program, which ended nothing.
    fn updated(&mut self, link: LinkId, record: &BpfRecord, time: BootNanos, world: &mut World, made: &mut Batch) {
        let place = Place::of_link(link);
        let end = self.end_missing(&place, time, world, made);
        let unloaded = Awaited::Unloaded(place.clone());
        self.waiting.retain(|waiting| waiting.of != unloaded);
        if let Some(end) = self.attached.replaced(&place, &end, record, time, world) {
            self.forget_shown(&end, ProgId(record.prog_id), time, world);
        }
        world.bpf.replace(link, ProgId(record.prog_id), time);
    }

    /// Forgets the attachments without a link that are other views of a link, whose end this is.
    fn forget_shown(&mut self, end: &[u8], program: ProgId, time: BootNanos, world: &mut World) {
        for shown in self.attached.shown_of_link(end, program) {
            self.waiting.retain(|waiting| !waiting.is_missing(&shown));
            self.attached.forget(&shown);
            let facts = world.bpf.attachments_of(program).find(|facts| Place::of_facts(facts) == shown);
            facts.map(|facts| facts.key).into_iter().for_each(|key| world.bpf.end_attachment(key, time));
        }
    }

    /// Handles a call that ended an attachment. Returns its event with what is known of that: the place of a link, which the kernel's link
    /// no longer contains, or the program, which a call need not name, or whose name the kernel may ignore. `None` if no such
    /// attachment is known.
    fn detached(&mut self, frame: &FrameRef<'_>, via: Via, world: &mut World, made: &mut Batch) -> Option<Batch> {
        let (bpf, time) = (Bpf::decode(frame.payload)?, frame.header.time);
        let (mut record, rest) = (bpf.record(), frame.payload.get(size_of::<BpfRecord>()..)?);
        let asked = Place::of(&bpf.end(via));
        let place = self.ended_by(&asked, &record)?;
        let known = self.end_missing(&place, time, world, made);
        let unloaded = self.waiting.iter().rposition(|waiting| waiting.of == Awaited::Unloaded(place.clone()));
        unloaded.and_then(|at| self.waiting.remove(at));
        let known = Bpf::decode(&known);
        if place.link.0 != 0 {
            self.attached.close(&place, time, &bpf.end(via));
            world.bpf.end_link(place.link, time);
            let unplaced = record.text_len == 0 && record.on == 0 && record.target[0] == 0;
            let text =
                known.filter(|_| unplaced).map_or(Vec::new(), |known| [known.set_place(&mut record), b"\0"].concat());
            return Some(Batch::of(frame.header, &[record.as_bytes(), &text, rest].concat()));
        }
        let is_named = place.program == asked.program && record.has & has::PROG != 0;
        if !is_named && (record.on & (SINGLE | on::DEVICE) != 0 || via == Via::Setsockopt) {
            let none =
                BpfRecord { has: has::PROG, prog_id: place.program.0, prog_uid: u32::MAX, ..BpfRecord::new_zeroed() };
            record = with_program(record, &known.map_or(none, |known| known.record()));
            world.bpf.known_program(place.program).into_iter().for_each(|program| fill(&mut record, program));
        }
        let whole = Batch::of(frame.header, &[record.as_bytes(), rest].concat());
        let end = whole.frame_at(0).and_then(|frame| Some(Bpf::decode(frame.payload)?.end(via)));
        self.attached.end(&place, time, &end.unwrap_or_default());
        Some(whole)
    }

    /// The place of the attachment that a call ended. Of several programs it is the last one, since another group of sockets may have had
    /// the same address. At an interface, a call can also name a position.
    fn ended_by(&self, asked: &Place, record: &BpfRecord) -> Option<Place> {
        let all = self.attached.all_at(asked);
        if asked.link.0 != 0 || all.iter().any(|(_, place)| place == asked) {
            return Some(asked.clone());
        }
        let unloaded = |waiting: &Waiting| match &waiting.of {
            Awaited::Unloaded(place) if place.is_at(asked) => Some((waiting.time, place.clone())),
            _ => None,
        };
        let unloaded: Vec<_> = self.waiting.iter().filter_map(unloaded).collect();
        let by_name = asked.program.0 != 0;
        let named = unloaded.iter().rfind(|(_, place)| place == asked);
        // Where there are several programs, the kernel detaches the one that is named.
        if by_name && (named.is_some() || record.on & on::DEVICE != 0 || all.len() > 1) {
            return named.map(|(_, place)| place.clone());
        }
        // The kernel unloads the program within the call, unless something else holds it.
        if record.on & on::DEVICE != 0 {
            let only = all.first().filter(|_| all.len() == 1);
            return unloaded.last().or(only).map(|(_, place)| place.clone());
        }
        all.into_iter().chain(unloaded).max().map(|(_, place)| place)
    }

    /// Handles a call by netlink that changed the XDP programs of an interface.
    fn xdp(&mut self, caller: &FrameHeader, record: &XdpRecord, world: &mut World, made: &mut Batch) {
        let NetlinkRecord { first, ifindex, netns, programs, .. } = record.change;
        let (time, netns) = (caller.time, NsInum(netns));
        let caller = if first & 1 == 0 { FrameHeader::default() } else { *caller };
        let FrameHeader { kind, version, slot, .. } = made_header(time);
        let header = FrameHeader { kind, version, slot, flags: 0, seq: 0, time, ..caller };
        let modes = programs.into_iter().zip(["native", "generic", "offloaded"]);
        let facts = |program, mode: &str| BpfAttachment {
            program: ProgId(program),
            via: Via::Netlink,
            hook: Hook::Type(XDP),
            target: until_nul(&record.name).to_vec(),
            ifindex: Some(ifindex),
            netns: Some(netns),
            flags: mode.into(),
            ..BpfAttachment::default()
        };
        for (_, place) in self.attached.all_at(&Place::of_facts(&facts(0, ""))) {
            if programs.contains(&place.program.0) {
                continue;
            }
            let end = self.end_missing(&place, time, world, made);
            self.attached.end(&place, time, &end);
            made.push(header, &end);
        }
        for (program, mode) in modes.filter(|(program, _)| *program != 0) {
            let facts = facts(program, mode);
            if is_own(facts.program, world) {
                continue;
            }
            let place = Place::of_facts(&facts);
            let [begin, end] =
                [false, true].map(|gone| place_event(&facts, gone, world.bpf.known_program(facts.program)));
            self.begin_missing(&place, time, world, made);
            if self.attached.is_open(&place) {
                self.attached.confirm(&place, time, &end);
                continue;
            }
            world.bpf.left_out += self.attached.begin(&place, time, &end);
            made.push(header, &begin);
        }
    }

    /// Ends the attachment that a call replaced, just before it. Another group of sockets may have got the address of a former one, so
    /// what a call replaced there is not known.
    fn replaced(&mut self, frame: &FrameRef<'_>, set: &BpfRecord, world: &mut World, made: &mut Batch) {
        let Some((cmd, program, via)) = replaced_by(set) else { return };
        let none = BpfRecord { prog_id: program.0, prog_uid: u32::MAX, ..BpfRecord::new_zeroed() };
        let detached = BpfRecord { cmd, has: set.has & !has::PROG, hooknum: 0, priority: 0, ..*set };
        let mut detached = with_program(detached, &none);
        world.bpf.known_program(program).into_iter().for_each(|program| fill(&mut detached, program));
        let time = just_before(frame.header.time);
        let header = FrameHeader { slot: NO_SLOT, flags: 0, seq: 0, time, ..frame.header };
        let batch = Batch::of(header, detached.as_bytes());
        let named = batch.frame_at(0).and_then(|frame| self.detached(&frame, via, world, made));
        let named = named.or((program.0 != 0).then_some(batch));
        for end in named.iter().flat_map(Batch::frames) {
            Bpf::decode(end.payload).into_iter().for_each(|bpf| made.push(end.header, &bpf.end(via)));
        }
    }

    /// Handles what is missing at a place before a call attaches a program there: a missing end is older than the call, and a missing
    /// begin is the call itself.
    fn begin_missing(&mut self, place: &Place, time: BootNanos, world: &World, made: &mut Batch) {
        if self.attached.missing(place) == Some(true) {
            self.decide_place(place, just_before(time), world, made);
        }
        self.waiting.retain(|waiting| !waiting.is_missing(place));
    }

    /// The same before a call that ends an attachment: a missing begin is older, and a missing end is the call itself. Returns the event of
    /// the end.
    fn end_missing(&mut self, place: &Place, time: BootNanos, world: &World, made: &mut Batch) -> Vec<u8> {
        let end = self.end_of(place, world);
        if self.attached.missing(place) == Some(false) {
            self.decide_place(place, just_before(time), world, made);
        }
        self.waiting.retain(|waiting| !waiting.is_missing(place));
        end
    }

    /// The event of the end of an attachment.
    fn end_of(&self, place: &Place, world: &World) -> Vec<u8> {
        let missing = self.waiting.iter().find(|waiting| waiting.is_missing(place)).map(|waiting| &waiting.event);
        let frame = missing.and_then(|event| event.frame_at(0)).filter(|_| self.attached.missing(place) == Some(true));
        frame.map_or_else(|| self.attached.end_of(place, world), |frame| frame.payload.to_vec())
    }

    /// Turns the missing events of a place into events of this time.
    fn decide_place(&mut self, place: &Place, time: BootNanos, world: &World, made: &mut Batch) {
        while let Some(gone) = self.attached.missing(place) {
            self.attached.reported(place, gone);
            let at = self.waiting.iter().position(|waiting| waiting.is_missing(place));
            let waiting = at.and_then(|at| self.waiting.remove(at));
            waiting.into_iter().for_each(|waiting| waiting.push_until(time, &mut self.callers, world, made));
        }
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
        self.unloaded(change.id, time, world, made);
        let load = world.bpf.load(change.id).filter(|load| load.prog_type != UNKNOWN_TYPE);
        let known = load.or_else(|| world.bpf.program(change.id));
        known.into_iter().for_each(|program| fill(&mut record, program));
        made.push(header, record.as_bytes());
    }

    /// Ends the attachments of an unloaded program. A program is unloaded when nothing refers to it any more, so it is not attached
    /// either. The report of a call that ended an attachment, or gave a link another program, may arrive after the unload.
    fn unloaded(&mut self, id: ProgId, time: BootNanos, world: &mut World, made: &mut Batch) {
        if id.0 == 0 {
            return;
        }
        let listed = world.bpf.attachments_of(id).map(|facts| {
            let place = Place::of_facts(facts);
            (facts.key, self.attached.ended(&place), place)
        });
        let listed: Vec<_> = listed.collect();
        for place in self.attached.of_program(id) {
            let is_of_call = self.attached.missing(&place).is_none();
            self.decide_place(&place, time, world, made);
            let end = self.end_of(&place, world);
            if end.is_empty() {
                self.attached.forget(&place);
                continue;
            }
            for _ in 0..self.attached.close(&place, time, &end) {
                let is_group = record_in(&end).is_some_and(|end| end.on & on::GROUP != 0);
                if is_of_call && (place.via == Via::ProgAttach || is_group || place.link.0 != 0) {
                    let event = Batch::of(FrameHeader { seq: UNLOADED, ..made_header(time) }, &end);
                    self.wait(Waiting { of: Awaited::Unloaded(place.clone()), time, event }, world, made);
                } else {
                    made.push(made_header(time), &end);
                }
            }
        }
        for (key, ended, place) in listed {
            let is_link = place.link.0 != 0;
            let unloaded = Awaited::Unloaded(place);
            if !is_link || self.waiting.iter().all(|waiting| waiting.of != unloaded) {
                world.bpf.end_attachment(key, ended.unwrap_or(time));
            }
        }
    }

    /// Handles an attachment of the inventory.
    pub(super) fn attachment(&mut self, of: &BpfAttachment, time: BootNanos, world: &mut World, made: &mut Batch) {
        let known = world.bpf.attachment(of.key).cloned();
        let (facts, before) = match known {
            Some(known) if of.gone => (known, None),
            None if of.gone => return,
            known => (of.clone(), known),
        };
        if facts.is_part() {
            return world.bpf.change_attachment(of.clone(), time);
        }
        let (place, gone) = (Place::of_facts(&facts), of.gone);
        if let Some(before) = before {
            self.attached.changed(&Place::of_facts(&before), &place, facts.program);
            return world.bpf.change_attachment(facts, time);
        }
        let news = of.news && !is_own(facts.program, world);
        let is_ended = place.link.0 != 0 && self.attached.ended(&place).is_some();
        if !gone && (is_ended || self.attached.has_link(&place)) {
            return;
        }
        // A change before this one, which a later inventory would hide.
        if news {
            self.decide_place(&place, just_before(time), world, made);
        }
        let event = place_event(&facts, gone, world.bpf.known_program(facts.program));
        if gone {
            let ended = self.attached.unlisted(&place, news);
            world.bpf.change_attachment(of.clone(), ended.unwrap_or(time));
        } else {
            let called = self.attached.made(&place, facts.program, news);
            world.bpf.change_attachment(facts.clone(), called.map_or(time, |(time, _)| time));
            // The table of the world is limited.
            if world.bpf.attachment(of.key).is_none() {
                return;
            }
            self.attached.listed(&place, facts.program, news);
            called.into_iter().for_each(|(time, program)| world.bpf.replace(of.link, program, time));
        }
        if self.attached.missing(&place) == Some(gone) {
            let event = Batch::of(made_header(time), &event);
            self.wait(Waiting { of: Awaited::Place(place), time, event }, world, made);
        }
    }

    /// Handles the end of an inventory. It began after some system calls.
    pub(super) fn compare(&mut self, inventory: &BpfInventory, time: BootNanos, world: &mut World, made: &mut Batch) {
        for (place, end) in self.attached.compare(inventory, world) {
            let Some(mut record) = record_in(&end) else { continue };
            if self.attached.missing(&place) == Some(false) {
                record.cmd = cmd::PROG_ATTACH;
            }
            let text = end.get(size_of::<BpfRecord>()..).unwrap_or_default();
            let event = Batch::of(made_header(time), &[record.as_bytes(), text].concat());
            self.wait(Waiting { of: Awaited::Place(place), time, event }, world, made);
        }
    }

    /// Takes over the attachments of a later state.
    pub(super) fn catch_up(&mut self, later: ProgramReports) {
        self.waiting.retain(Waiting::keeps_time);
        later.waiting.into_iter().filter(|waiting| !waiting.keeps_time()).for_each(|waiting| self.put(waiting));
        (self.attached, self.callers) = (later.attached, later.callers);
    }

    /// Turns the waiting reports that no system call has confirmed by this time into events.
    pub(super) fn decide(&mut self, settled: BootNanos, world: &mut World, made: &mut Batch) {
        while self.waiting.front().is_some_and(|waiting| waiting.due() <= settled) {
            self.decide_first(NEVER, world, made);
        }
    }

    /// Turns all waiting reports into events at the end of the trace.
    pub(super) fn end(&mut self, end: BootNanos, world: &mut World, made: &mut Batch) {
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

    /// Records that the COMMAND loaded or attached the program of this event, if it did.
    pub(super) fn of_command(&mut self, frame: &FrameRef<'_>) {
        let attached = |record: &BpfRecord| {
            let is_listed = (record.call, record.cmd) == (call::INVENTORY, cmd::PROG_ATTACH);
            let attaches = is_listed || change_of(record).is_some_and(|(ends, _)| !ends);
            Some(ProgId(record.prog_id)).filter(|id| attaches && id.0 != 0)
        };
        let id = record(frame).and_then(|record| loaded_program(&record).or_else(|| attached(&record)));
        id.into_iter().for_each(|id| know(&mut self.commands, id));
    }

    /// Inserts an event at its place in time. Needed because the CPUs are read one after another.
    fn wait(&mut self, waiting: Waiting, world: &mut World, made: &mut Batch) {
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
    fn decide_first(&mut self, end: BootNanos, world: &mut World, made: &mut Batch) {
        let Some(first) = self.waiting.pop_front() else { return };
        match &first.of {
            Awaited::Load(id) => {
                let Some(frame) = first.event.frame_at(0) else { return };
                let Some(mut record) = record(&frame) else { return };
                world.bpf.program(*id).into_iter().for_each(|program| fill(&mut record, program));
                know(&mut self.streamed, *id);
                made.push(frame.header, record.as_bytes());
            }
            Awaited::Place(place) => {
                let Some(gone) = self.attached.missing(place) else { return };
                self.attached.reported(place, gone);
                first.push_until(first.time.max(end), &mut self.callers, world, made);
            }
            Awaited::Unloaded(place) => {
                if place.link.0 != 0 {
                    world.bpf.end_link(place.link, first.time);
                }
                first.push_until(end, &mut self.callers, world, made);
            }
        }
    }

    /// The known programs, the waiting events, and the attachments ([`Attached::write_state`]).
    pub(super) fn write_state(
        &self,
        mut out: impl FnMut(&FrameRef<'_>),
        mut attached: impl FnMut(FrameHeader, &[u8]),
    ) -> ProgramsState {
        self.waiting.iter().flat_map(|waiting| waiting.event.frames()).for_each(|frame| out(&frame));
        let mut calls = Batch::default();
        self.callers.calls.iter().for_each(|(header, record)| calls.push(*header, record.as_bytes()));
        calls.frames().for_each(|frame| out(&frame));
        self.attached.write_state(&mut attached);
        let [streamed, commands] = [&self.streamed, &self.commands].map(|ids| ids.iter().map(|(id, ())| *id).collect());
        ProgramsState { streamed, commands }
    }

    pub(super) fn restore(&mut self, state: &ProgramsState) {
        state.streamed.iter().for_each(|id| know(&mut self.streamed, *id));
        state.commands.iter().take(limits::BPF_LOADS_KNOWN).for_each(|id| know(&mut self.commands, *id));
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
            None if frame.header.seq == UNLOADED => Awaited::Unloaded(Place::of(frame.payload)),
            None => Awaited::Place(self.attached.restore_missing(frame, record.cmd == cmd::PROG_DETACH)),
        };
        self.put(Waiting { of, time: frame.header.time, event: Batch::of(frame.header, frame.payload) });
    }
}

fn just_before(time: BootNanos) -> BootNanos {
    BootNanos(time.0.saturating_sub(1))
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

/// The header of an event that no probe made. One with the start of a process is returned as it is. Otherwise it contains what the
/// process table knows of the process as of its last event. An unknown process has the id 0.
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

/// Whether an event that no probe made is a load, and so names its process.
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
    record_in((frame.header.kind == KIND as u16).then_some(frame.payload)?)
}

fn record_in(payload: &[u8]) -> Option<BpfRecord> {
    BpfRecord::read_from_prefix(payload).ok().map(|(record, _)| record)
}
