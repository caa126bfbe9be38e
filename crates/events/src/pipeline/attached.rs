//! The attachments that system calls reported, until an inventory lists them or they end.
//!
//! An attachment has one record: here from the event of its system call until an inventory lists it, then in the inventory's table.
//! It ends once: by the event of a system call, by the unload of its program, or because an inventory that began later lacks it.

use crate::bpf::{EVENTS, Hook, LINKS, SOCKETS, SOCKMAPS, Via, XDP, may_hide_place};
use crate::enrich::World;
use crate::event::bpf::unprobed::spot_of;
use crate::event::bpf::{Bpf, with_program};
use crate::event::{Payload as _, Tables as _};
use crate::fifo::Fifo;
use crate::frame::FrameRef;
use crate::frame::host::{BpfAttachment, BpfInventory};
use crate::frame::state::{BpfPlace, ProgramsState};
use crate::limits;
use std::collections::{BTreeMap, VecDeque};
use tracetui_shared::id::{CgroupId, LinkId, NsInum, ProgId};
use tracetui_shared::record::bpf::{BpfRecord, call, cmd, has, on, option};
use tracetui_shared::time::BootNanos;
use zerocopy::FromZeros as _;

impl BpfPlace {
    fn new(gone: bool, link: LinkId, program: ProgId, via: Via, spot: u64) -> BpfPlace {
        match link {
            LinkId(0) => BpfPlace { gone, link, program, via, spot },
            link => BpfPlace { gone, link, program: ProgId(0), via: Via::Link, spot: 0 },
        }
    }

    pub(super) fn of(facts: &BpfAttachment, gone: bool) -> BpfPlace {
        BpfPlace::new(gone, facts.link, facts.program, facts.via, spot_of(facts).1)
    }

    /// The place in an event that no probe made.
    pub(super) fn of_made(record: &BpfRecord) -> BpfPlace {
        let via = Via::of(record.priority).unwrap_or_default();
        let (link, program) = (LinkId(record.link_id), ProgId(record.prog_id));
        BpfPlace::new(record.cmd == cmd::PROG_DETACH, link, program, via, spot_in(record))
    }

    /// The place that a system call attached to or detached from. `None` if the call failed, or if the inventory does not list such
    /// places.
    pub(super) fn of_call(record: &BpfRecord) -> Option<BpfPlace> {
        let (link, program) = (LinkId(record.link_id), ProgId(record.prog_id));
        let has_link = record.has & has::LINK != 0 && link.0 != 0;
        let without = |gone, via: Via| Some(BpfPlace::new(gone, LinkId(0), program, via, spot_in(record)));
        match (record.call, record.cmd) {
            _ if record.ret < 0 => None,
            (call::BPF, cmd::LINK_CREATE | cmd::RAW_TRACEPOINT_OPEN) if has_link => {
                Some(BpfPlace::new(false, link, program, Via::Link, 0))
            }
            (call::BPF, cmd::LINK_DETACH) if has_link => Some(BpfPlace::new(true, link, program, Via::Link, 0)),
            (call::BPF, cmd::PROG_ATTACH) => without(false, Via::ProgAttach),
            // By its position among several programs, of which a later report shows the one that ended.
            (call::BPF, cmd::PROG_DETACH) if program.0 == 0 && record.on & on::DEVICE != 0 => None,
            (call::BPF, cmd::PROG_DETACH) => without(true, Via::ProgAttach),
            (call::PERF_IOCTL, _) => without(false, Via::Ioctl),
            // Programs of classic BPF have no id, and the inventory does not list them.
            (call::SETSOCKOPT, _) if program.0 == 0 => None,
            (call::SETSOCKOPT, option::DETACH_FILTER | option::DETACH_REUSEPORT_BPF) => without(true, Via::Setsockopt),
            (call::SETSOCKOPT, _) => without(false, Via::Setsockopt),
            _ => None,
        }
    }

    /// The place with the program that an inventory lists there. A call may not name the program, and the kernel may ignore the name.
    fn with_program(self, bpf: &Bpf<'_>, world: &World) -> BpfPlace {
        if self.link.0 != 0 || is_listed(self.begun(), world) {
            return self;
        }
        match self.listed(bpf, world)[..] {
            [program] => BpfPlace { program, ..self },
            _ => self,
        }
    }

    /// The programs that an inventory lists at the place of a call.
    fn listed(self, bpf: &Bpf<'_>, world: &World) -> Vec<ProgId> {
        let end = bpf.end(self.via);
        let Some(end) = Bpf::decode(&end) else { return Vec::new() };
        let cgroup = world.cgroup_of_id(CgroupId(end.record().cgroup));
        let same_way = world.bpf.attachments().filter(|facts| facts.link.0 == 0 && facts.via == self.via);
        same_way.filter(|facts| end.is_of(facts, cgroup)).map(|facts| facts.program).collect()
    }

    /// The place where a call ended the attachment of a socket, or one at an interface by its position. The call does not name the
    /// program.
    pub(super) fn of_unnamed(record: &BpfRecord) -> BpfPlace {
        let via = if record.call == call::SETSOCKOPT { Via::Setsockopt } else { Via::ProgAttach };
        BpfPlace::new(true, LinkId(0), ProgId(0), via, spot_in(record))
    }

    /// The same place, where a program was attached.
    pub(super) fn begun(self) -> BpfPlace {
        BpfPlace { gone: false, ..self }
    }

    /// This place, and the one of a call that ended it without naming the program.
    pub(super) fn and_unnamed(self) -> [BpfPlace; 2] {
        [self, BpfPlace { program: ProgId(0), ..self }]
    }
}

/// An attachment that a system call reported, and no inventory yet.
#[derive(Debug)]
struct Reported {
    /// The time of the report, or of the end.
    time: BootNanos,
    program: ProgId,
    /// Whether it has not ended. Afterwards, an inventory that began earlier may still list it.
    open: bool,
    /// The payload of the event of its end.
    end: Box<[u8]>,
}

impl Reported {
    /// Whether an attachment of the inventory is at the same place.
    fn is_of(&self, facts: &BpfAttachment, world: &World) -> bool {
        let cgroup = |end: &Bpf<'_>| world.cgroup_of_id(CgroupId(end.record().cgroup));
        Bpf::decode(&self.end).is_some_and(|end| end.is_of(facts, cgroup(&end)))
    }

    /// The order of those at one place. A restored pipeline has the same.
    fn order(&self) -> (BootNanos, bool) {
        (self.time, !self.open)
    }

    fn finish(&mut self, time: BootNanos) {
        (self.open, self.time) = (false, time);
    }

    /// Whether it is at the place of an event that detached a program.
    fn is_at(&self, record: &BpfRecord) -> bool {
        let spot = |record: &BpfRecord| {
            let BpfRecord { attach_type, on, cgroup, object, target, perf_config, .. } = *record;
            // A group may be left by another of its sockets.
            let (object, group) = if on & on::GROUP == 0 { (object, 0) } else { (0, perf_config) };
            (attach_type, on, cgroup, object, target, group)
        };
        Bpf::decode(&self.end).is_some_and(|end| spot(&end.record()) == spot(record))
    }
}

/// The record of an attachment that an inventory lists for the first time.
pub(super) enum Listing {
    /// No system call reported it.
    Unreported,
    /// A system call reported it at this time. Its program, which a later one may have replaced.
    Reported(BootNanos, ProgId),
    /// It ended after the inventory began.
    Ended,
    /// No system call reported it, and its program was unloaded before the inventory arrived.
    Unloaded,
}

/// The changes that system calls reported and that an inventory may still report.
#[derive(Debug, Default)]
pub(super) struct Attached {
    begun: BTreeMap<BpfPlace, VecDeque<Reported>>,
    /// The times of ends of attachments that an inventory lists, oldest first.
    ended: BTreeMap<BpfPlace, VecDeque<BootNanos>>,
    /// The programs that were unloaded last, and when. An inventory that began earlier may still list their attachments.
    unloaded: Fifo<ProgId, BootNanos>,
    reports: usize,
    bytes: usize,
}

impl Attached {
    /// Handles an event of a system call that attached, replaced or detached a program. `confirms` drops an event of the inventory
    /// about the place, if one is waiting: it was the same change.
    pub(super) fn called(
        &mut self,
        frame: &FrameRef<'_>,
        world: &mut World,
        mut confirms: impl FnMut(BpfPlace) -> bool,
    ) {
        let Some(bpf) = Bpf::decode(frame.payload) else { return };
        let (record, time) = (bpf.record(), frame.header.time);
        if (record.call, record.cmd) == (call::BPF, cmd::LINK_UPDATE) {
            return self.replaced(&bpf, time, world);
        }
        match BpfPlace::of_call(&record) {
            Some(place) if place.gone => {
                if !self.detached(place, &record, time, world, &mut confirms) {
                    self.note_end(place.with_program(&bpf, world), time);
                }
                world.bpf.end_link(place.link, time);
            }
            Some(place) if !confirms(place) => {
                let end = bpf.end(place.via).into();
                let reported = Reported { time, program: ProgId(record.prog_id), open: true, end };
                if place.link.0 != 0 {
                    let of_link = |facts: &&BpfAttachment| is_by_netlink(facts) && reported.is_of(facts, world);
                    let shown: Vec<_> = world.bpf.attachments_of(reported.program).filter(of_link).cloned().collect();
                    let shown = shown.iter().filter(|facts| confirms(BpfPlace::of(facts, false)));
                    shown.for_each(|facts| world.bpf.end_attachment(facts.key, time));
                }
                self.begin(place, reported);
            }
            _ => return,
        }
        world.bpf.left_out += self.make_room();
    }

    /// The event of a call that detached the program of a socket or cgroup, or the only one of an interface, with the program. The call
    /// may not name it, or the kernel may ignore the name. `since`: the last unload of a program of this group of sockets. Earlier
    /// attachments belong to another group that had the same address, unless a later inventory lists them. `None` if there is nothing to
    /// add.
    pub(super) fn of_unnamed(&self, call: &Bpf<'_>, since: BootNanos, world: &World) -> Option<BpfRecord> {
        let record = call.record();
        let gone = BpfPlace::of_call(&record).unwrap_or(BpfPlace::of_unnamed(&record));
        let is_there = |known: &&Reported| known.open && known.is_at(&record) && known.time > since;
        let is_listed_at = |gone: BpfPlace| is_listed(gone.begun(), world) && !self.ended.contains_key(&gone);
        if self.begun.get(&gone.begun()).is_some_and(|all| all.iter().any(|known| is_there(&known)))
            || is_listed_at(gone)
        {
            return None;
        }
        let same_way = self.begun.iter().filter(|(place, _)| (place.via, place.link.0) == (gone.via, 0));
        let begun: Vec<_> = same_way.flat_map(|(_, all)| all).filter(is_there).collect();
        let is_left = |program: &ProgId| !self.ended.contains_key(&BpfPlace { program: *program, ..gone });
        let listed = || gone.listed(call, world).into_iter().filter(is_left).count();
        if record.on & on::DEVICE != 0 && begun.len() + listed() > 1 {
            return None;
        }
        let last = begun.into_iter().max_by_key(|known| known.time);
        if let Some(end) = last.and_then(|known| Bpf::decode(&known.end)) {
            return Some(with_program(record, &end.record()));
        }
        let there = gone.with_program(call, world);
        let is_later =
            world.bpf.last_inventory().is_some_and(|taken| since.0 == 0 || taken.complete && taken.from > since);
        let is_other = is_later && there.program != gone.program && !self.ended.contains_key(&there);
        let of = BpfRecord { has: has::PROG, prog_id: there.program.0, prog_uid: u32::MAX, ..BpfRecord::new_zeroed() };
        is_other.then(|| with_program(record, &of))
    }

    /// The event of the end of a named program at a place, with what the call that attached it there reported.
    pub(super) fn with_known(&self, end: BpfRecord) -> BpfRecord {
        let is_it = |known: &&Reported| known.open && known.program.0 == end.prog_id && known.is_at(&end);
        let known = self.begun.values().flatten().find(is_it).and_then(|known| Bpf::decode(&known.end));
        known.map_or(end, |known| with_program(end, &known.record()))
    }

    /// Adds where a link is that no inventory lists yet. Returns the text that follows the record.
    pub(super) fn set_place_of_link(&self, record: &mut BpfRecord, link: LinkId) -> Option<&[u8]> {
        let known = self.begun.get(&BpfPlace::new(false, link, ProgId(0), Via::Link, 0))?.back()?;
        let end = Bpf::decode(&known.end)?;
        Some(end.set_place(record))
    }

    /// Handles a change of the XDP programs of an interface, which a call made. `now` are its programs afterwards. `event` makes the
    /// payloads of the events of begins and, if `true`, ends.
    pub(super) fn changed(
        &mut self,
        now: &[BpfAttachment],
        (ifindex, netns): (u32, NsInum),
        time: BootNanos,
        world: &mut World,
        event: impl Fn(&BpfAttachment, bool, &World) -> Box<[u8]>,
    ) -> Vec<(BpfPlace, Box<[u8]>)> {
        let mut changes = Vec::new();
        let is_there = |facts: &&BpfAttachment| {
            is_by_netlink(facts)
                && (facts.hook, facts.ifindex, facts.netns) == (Hook::Type(XDP), Some(ifindex), Some(netns))
        };
        let is_left = |program: ProgId| now.iter().any(|facts| facts.program == program);
        let mut known = Vec::new();
        for (place, all) in &mut self.begun {
            if (place.via, place.link, place.spot) != (Via::Netlink, LinkId(0), ifindex.into()) {
                continue;
            }
            let is_of = |known: &&mut Reported| {
                known.open && Bpf::decode(&known.end).is_some_and(|end| end.record().attach_btf_id == netns.0)
            };
            for reported in all.iter_mut().filter(is_of) {
                known.push(place.program);
                if !is_left(place.program) {
                    reported.finish(time);
                    changes.push((BpfPlace { gone: true, ..*place }, reported.end.clone()));
                }
            }
            sort(all);
        }
        let listed = world.bpf.attachments().filter(is_there);
        let listed: Vec<_> =
            listed.filter(|facts| !self.ended.contains_key(&BpfPlace::of(facts, true))).cloned().collect();
        for facts in &listed {
            known.push(facts.program);
            if !is_left(facts.program) {
                let place = BpfPlace::of(facts, true);
                self.note_end(place, time);
                changes.push((place, event(facts, true, world)));
            }
        }
        for facts in now.iter().filter(|facts| !known.contains(&facts.program)) {
            let place = BpfPlace::of(facts, false);
            self.begin(place, Reported { time, program: facts.program, open: true, end: event(facts, true, world) });
            changes.push((place, event(facts, false, world)));
        }
        world.bpf.left_out += self.make_room();
        changes
    }

    fn begin(&mut self, place: BpfPlace, reported: Reported) {
        self.bytes += reported.end.len();
        self.reports += 1;
        let all = self.begun.entry(place).or_default();
        let at = all.partition_point(|other| other.order() <= reported.order());
        all.insert(at, reported);
    }

    /// Records the end of an attachment that an inventory lists, or may list.
    pub(super) fn note_end(&mut self, place: BpfPlace, time: BootNanos) {
        insert_end(self.ended.entry(place).or_default(), time);
        self.reports += 1;
    }

    /// Handles the detachment at a place. Returns `false` if an inventory lists the attachment, or may list it.
    fn detached(
        &mut self,
        gone: BpfPlace,
        record: &BpfRecord,
        time: BootNanos,
        world: &World,
        confirms: &mut dyn FnMut(BpfPlace) -> bool,
    ) -> bool {
        let place = BpfPlace { gone: false, ..gone };
        let of_link = gone.link.0 != 0;
        let exact = |known: &&mut Reported| known.open && (of_link || known.is_at(record));
        // A later program may have replaced an earlier one there.
        if let Some(all) = self.begun.get_mut(&place)
            && let Some(known) = all.iter_mut().rfind(exact)
        {
            known.finish(time);
            sort(all);
            return true;
        }
        if confirms(gone) {
            return true;
        }
        if of_link || gone.program.0 != 0 && is_listed(place, world) {
            return false;
        }
        // The call does not name the program, or the kernel ignored the name, or the place could not be read.
        let same_way = self.begun.iter_mut().filter(|(other, _)| other.link.0 == 0 && other.via == gone.via);
        let last = |all: &mut VecDeque<Reported>| all.iter_mut().filter(exact).map(|known| known.time).max();
        let latest = same_way.filter_map(|(_, all)| Some((last(all)?, all))).max_by_key(|(time, _)| *time);
        let (time_of, all) = match latest {
            Some((time_of, all)) => (Some(time_of), Some(all)),
            None => (None, self.begun.get_mut(&place)),
        };
        let is_it =
            |known: &&mut Reported| known.open && time_of.is_none_or(|at| known.time == at && known.is_at(record));
        all.is_some_and(|all| {
            let known = all.iter_mut().rfind(is_it).map(|known| known.finish(time));
            sort(all);
            known.is_some()
        })
    }

    /// Handles the replacement of a link's program.
    fn replaced(&mut self, bpf: &Bpf<'_>, time: BootNanos, world: &mut World) {
        let record = bpf.record();
        let (link, program) = (LinkId(record.link_id), ProgId(record.prog_id));
        if record.ret < 0 || record.has & (has::LINK | has::PROG) != has::LINK | has::PROG || link.0 == 0 {
            return;
        }
        let place = BpfPlace::new(false, link, program, Via::Link, 0);
        match self.begun.get_mut(&place).and_then(VecDeque::front_mut) {
            Some(known) => {
                let end: Box<[u8]> =
                    Bpf::decode(&known.end).map(|end| end.with_program(&record)).unwrap_or_default().into();
                self.bytes = self.bytes - known.end.len() + end.len();
                (known.program, known.end) = (program, end);
            }
            None => world.bpf.replace(link, program, time),
        }
    }

    /// Handles an attachment that an inventory lists for the first time.
    pub(super) fn listed(&mut self, facts: &BpfAttachment, world: &World) -> Listing {
        let place = BpfPlace::of(facts, false);
        let gone = BpfPlace { gone: true, ..place };
        let Some(all) = self.begun.get_mut(&place) else {
            let unloaded = self.unloaded.contains(&facts.program);
            return match place.link.0 {
                0 if may_have_link(facts) && self.has_link(facts, world) => Listing::Ended,
                0 if unloaded => Listing::Unloaded,
                1.. if unloaded || self.ended.contains_key(&gone) => Listing::Ended,
                _ => Listing::Unreported,
            };
        };
        let score = |known: &Reported| (known.is_of(facts, world), known.open);
        let best = all.iter().map(score).max();
        let at = all.iter().position(|known| Some(score(known)) == best);
        let Some(reported) = at.and_then(|at| all.remove(at)) else { return Listing::Unreported };
        if all.is_empty() {
            self.begun.remove(&place);
        }
        self.bytes -= reported.end.len();
        self.reports -= 1;
        if !reported.open {
            self.note_end(gone, reported.time);
            if place.link.0 != 0 {
                return Listing::Ended;
            }
        }
        Listing::Reported(reported.time, reported.program)
    }

    /// Whether a system call reported a link of the same program at the same place.
    fn has_link(&self, facts: &BpfAttachment, world: &World) -> bool {
        let links = self.begun.iter().filter(|(place, _)| place.link.0 != 0).flat_map(|(_, all)| all);
        links.into_iter().any(|known| known.program == facts.program && known.is_of(facts, world))
    }

    /// Handles the end of a listed attachment. Returns the time of the report, if a system call reported it.
    pub(super) fn unlisted(&mut self, place: BpfPlace) -> Option<BootNanos> {
        let place = place.and_unnamed().into_iter().find(|place| self.ended.contains_key(place))?;
        let times = self.ended.get_mut(&place)?;
        let time = times.pop_front()?;
        if times.is_empty() {
            self.ended.remove(&place);
        }
        self.reports -= 1;
        Some(time)
    }

    /// Ends the attachments of an unloaded program. Passes on the payloads of their events.
    pub(super) fn unloaded(&mut self, id: ProgId, time: BootNanos, mut out: impl FnMut(&[u8])) {
        self.unload(id, time);
        let is_of = |reported: &Reported| reported.open && reported.program == id;
        for all in self.begun.values_mut().filter(|all| all.iter().any(is_of)) {
            for reported in all.iter_mut().filter(|reported| is_of(reported)) {
                reported.finish(time);
                out(&reported.end);
            }
            sort(all);
        }
    }

    fn unload(&mut self, id: ProgId, time: BootNanos) {
        self.unloaded.insert(id, time, 0);
        while self.unloaded.evict(limits::BPF_UNLOADS_KNOWN, usize::MAX).is_some() {}
    }

    /// Handles the end of an inventory. Attachments that were reported before it began and are not in it have ended. Passes on the
    /// payloads of their events, oldest first.
    pub(super) fn compare(&mut self, inventory: &BpfInventory, world: &World, mut out: impl FnMut(BpfPlace, &[u8])) {
        let before = Before::of(inventory, world);
        let mut absent = Vec::new();
        self.attached_again(if inventory.complete { inventory.from } else { before.others }, world);
        for (place, all) in &mut self.begun {
            let bytes = &mut self.bytes;
            all.retain_mut(|reported| {
                if reported.time >= before.of_place(*place, reported)
                    || reported.open && !is_absent(*place, reported, world)
                {
                    return true;
                }
                *bytes -= reported.end.len();
                if reported.open {
                    absent.push((reported.time, *place, std::mem::take(&mut reported.end)));
                }
                false
            });
        }
        self.tidy();
        absent.sort_by_key(|(time, place, _)| (*time, *place));
        let absent = absent.iter().filter(|(.., end)| !end.is_empty());
        absent.for_each(|(_, place, end)| out(BpfPlace { gone: true, ..*place }, end));
    }

    /// Handles the ends from before this time that inventories do not confirm. If they list the program at such a place, the program
    /// was attached there again: that is then the listed one.
    fn attached_again(&mut self, from: BootNanos, world: &World) {
        for (gone, times) in &mut self.ended {
            let before = times.iter().filter(|time| **time < from).count();
            times.retain(|time| *time >= from);
            let place = BpfPlace { gone: false, ..*gone };
            let Some(all) = self.begun.get_mut(&place).filter(|_| place.link.0 == 0 && is_listed(place, world)) else {
                continue;
            };
            for _ in 0..before {
                let there =
                    |known: &Reported| world.bpf.attachments_of(place.program).any(|facts| known.is_of(facts, world));
                let last = all.iter().enumerate().max_by_key(|(_, known)| (there(known), known.open, known.time));
                let Some(reported) = last.map(|(at, _)| at).and_then(|at| all.remove(at)) else { break };
                self.bytes -= reported.end.len();
                if !reported.open {
                    insert_end(times, reported.time);
                }
            }
        }
    }

    /// Removes empty entries.
    fn tidy(&mut self) {
        self.begun.retain(|_, all| !all.is_empty());
        self.ended.retain(|_, times| !times.is_empty());
        let begun: usize = self.begun.values().map(VecDeque::len).sum();
        self.reports = begun + self.ended.values().map(VecDeque::len).sum::<usize>();
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.reports * (size_of::<Reported>() + size_of::<BpfPlace>())
    }

    /// Forgets the older half if there is too much, so that this is rare. Returns the number of forgotten attachments that have not
    /// ended.
    pub(super) fn make_room(&mut self) -> u64 {
        if self.reports <= limits::BPF_PLACES_KNOWN && self.bytes <= limits::BPF_PLACES_BYTES {
            return 0;
        }
        let begun = self.begun.values().flatten().map(|reported| reported.time);
        let mut times: Vec<_> = begun.chain(self.ended.values().flatten().copied()).collect();
        let middle = times.len() / 2;
        let (_, middle, _) = times.select_nth_unstable(middle);
        let middle = *middle;
        let (mut forgotten, bytes) = (0, &mut self.bytes);
        for all in self.begun.values_mut() {
            all.retain(|reported| {
                let keep = reported.time > middle;
                if !keep {
                    forgotten += u64::from(reported.open);
                    *bytes -= reported.end.len();
                }
                keep
            });
        }
        self.ended.values_mut().for_each(|times| times.retain(|time| *time > middle));
        self.tidy();
        forgotten
    }

    /// Passes on the attachments: when they were reported or ended, whether they have not ended, and the events of their ends.
    pub(super) fn write_state(&self, state: &mut ProgramsState, mut out: impl FnMut(BootNanos, bool, &[u8])) {
        for reported in self.begun.values().flatten() {
            out(reported.time, reported.open, &reported.end);
        }
        let ended = self.ended.iter().flat_map(|(place, times)| times.iter().map(|time| (*place, *time)));
        state.ended = ended.collect();
        state.unloaded = self.unloaded.iter().map(|(program, time)| (*program, *time)).collect();
    }

    pub(super) fn restore_begun(&mut self, time: BootNanos, open: bool, end: &[u8]) {
        let fits = self.reports < limits::BPF_PLACES_KNOWN && self.bytes + end.len() <= limits::BPF_PLACES_BYTES;
        let Some(record) = Bpf::decode(end).filter(|_| fits).map(|bpf| bpf.record()) else { return };
        let place = BpfPlace { gone: false, ..BpfPlace::of_made(&record) };
        self.begin(place, Reported { time, program: ProgId(record.prog_id), open, end: end.into() });
    }

    pub(super) fn restore(&mut self, state: &ProgramsState) {
        let unloads = state.unloaded.iter().take(limits::BPF_UNLOADS_KNOWN);
        unloads.for_each(|(program, time)| self.unload(*program, *time));
        let ended = state.ended.iter().take(limits::BPF_PLACES_KNOWN.saturating_sub(self.reports));
        ended.for_each(|(place, time)| self.note_end(*place, *time));
    }
}

/// Whether netlink shows it. Netlink also shows the XDP programs of links, even if the link is gone by now.
fn is_by_netlink(facts: &BpfAttachment) -> bool {
    facts.via == Via::Netlink
}

/// Whether an inventory may show it without its link: a query lists the programs of links, and new links are not known yet.
fn may_have_link(facts: &BpfAttachment) -> bool {
    is_by_netlink(facts) || facts.via == Via::ProgAttach
}

/// Inserts the time of an end. The oldest is the first to be confirmed.
fn insert_end(times: &mut VecDeque<BootNanos>, time: BootNanos) {
    let at = times.partition_point(|other| *other <= time);
    times.insert(at, time);
}

fn sort(all: &mut VecDeque<Reported>) {
    all.make_contiguous().sort_by_key(Reported::order);
}

/// [`BpfPlace::spot`] in an event.
fn spot_in(record: &BpfRecord) -> u64 {
    let at = record.on;
    match () {
        () if at & on::GROUP != 0 => record.perf_config,
        () if at & on::CGROUP != 0 => record.cgroup,
        () if at & (on::SOCKET | on::DEVICE | on::MAP | on::NETNS | on::EVENT) != 0 => record.object.into(),
        () => 0,
    }
}

/// The times before which a reported attachment would be in an inventory.
struct Before<'a> {
    inventory: &'a BpfInventory,
    /// Of attachments without a link.
    others: BootNanos,
}

impl Before<'_> {
    fn of<'a>(inventory: &'a BpfInventory, world: &World) -> Before<'a> {
        let hides = |text: &String| !text.starts_with(LINKS) && may_hide_place(text, 0);
        let read = |inventory: &&BpfInventory| !inventory.unseen.iter().any(hides);
        // While links come and go, an attachment without a link may be left for the next inventory.
        let previous = || world.bpf.last_inventory().filter(read).map(|previous| previous.from);
        let others = Some(inventory).filter(read).and_then(|inventory| match inventory.complete {
            true => Some(inventory.from),
            false => previous(),
        });
        Before { inventory, others: others.unwrap_or_default() }
    }

    fn of_place(&self, place: BpfPlace, reported: &Reported) -> BootNanos {
        let is_on = |bit| Bpf::decode(&reported.end).is_some_and(|end| end.record().on & bit != 0);
        let (what, from) = match place.link.0 {
            1.. => (LINKS, self.inventory.from),
            0 if place.via == Via::Setsockopt => (SOCKETS, self.others),
            0 if is_on(on::MAP) => (SOCKMAPS, self.others),
            0 if is_on(on::EVENT) => (EVENTS, self.others),
            0 => return self.others,
        };
        let is_unseen = self.inventory.unseen.iter().any(|text| text.starts_with(what));
        if is_unseen { BootNanos(0) } else { from }
    }
}

/// Whether an inventory lists attachments of this program by this mechanism.
fn is_listed(place: BpfPlace, world: &World) -> bool {
    world.bpf.attachments_of(place.program).any(|facts| BpfPlace::of(facts, false) == place)
}

/// Whether an attachment that an inventory did not list has ended. Not all can be listed.
fn is_absent(place: BpfPlace, reported: &Reported, world: &World) -> bool {
    let Some(end) = Bpf::decode(&reported.end) else { return true };
    let at = end.record().on;
    match place.via {
        // A program can be attached to a tracepoint only once. Probes at the same place are listed once.
        Via::Ioctl => {
            let same = |facts: &BpfAttachment| BpfPlace::of(facts, false) == place && reported.is_of(facts, world);
            let hook = end.hook();
            hook == Hook::Tracepoint
                || at & on::EVENT != 0
                || hook.is_probe() && !world.bpf.attachments_of(place.program).any(same)
        }
        Via::ProgAttach if at & on::CGROUP != 0 => world.knows_cgroups(),
        Via::ProgAttach => at & (on::DEVICE | on::MAP | on::NETNS) != 0,
        _ => true,
    }
}
