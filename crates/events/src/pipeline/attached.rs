//! The begins and ends of attachments that system calls reported, until an inventory confirms them.
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

    /// The same place in a call that does not name the program.
    pub(super) fn unnamed(self) -> BpfPlace {
        BpfPlace { program: ProgId(0), ..self }
    }
}

/// The begin of an attachment that no inventory lists yet, or an end.
#[derive(Debug)]
struct Reported {
    /// The place of the begin.
    place: BpfPlace,
    program: ProgId,
    /// The time of the report, or of the end.
    time: BootNanos,
    /// Whether it has ended. An inventory that began earlier may still list it.
    ended: bool,
    /// Whether an inventory lists the ended attachment, or may list it.
    listed: bool,
    /// The payload of the event of its end; empty if it is listed.
    end: Box<[u8]>,
}

impl Reported {
    fn record(&self) -> BpfRecord {
        Bpf::decode(&self.end).map_or_else(BpfRecord::new_zeroed, |end| end.record())
    }

    fn begun(place: BpfPlace, program: ProgId, time: BootNanos, end: Box<[u8]>) -> Reported {
        Reported { place, program, time, ended: false, listed: false, end }
    }

    /// Whether an attachment of the inventory is at the same place.
    fn is_of(&self, facts: &BpfAttachment, world: &World) -> bool {
        let cgroup = |end: &Bpf<'_>| world.cgroup_of_id(CgroupId(end.record().cgroup));
        Bpf::decode(&self.end).is_some_and(|end| end.is_of(facts, cgroup(&end)))
    }

    fn finish(&mut self, time: BootNanos) {
        (self.ended, self.time) = (true, time);
    }

    /// An inventory that began before its end lists it.
    fn list(&mut self) {
        (self.listed, self.end) = (true, Box::default());
    }

    /// Whether it is at the place of an event that detached a program.
    fn is_at(&self, record: &BpfRecord) -> bool {
        let spot = |record: &BpfRecord| {
            let BpfRecord { attach_type, on, cgroup, object, target, perf_config, .. } = *record;
            // A group may be left by another of its sockets.
            let (object, group) = if on & on::GROUP == 0 { (object, 0) } else { (0, perf_config) };
            (attach_type, on, cgroup, object, target, group)
        };
        spot(&self.record()) == spot(record)
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

/// The attachment that a call ended.
enum Detached {
    /// Its position in [`Attached::reported`].
    Reported(usize),
    /// An inventory lists it with this program.
    Listed(ProgId),
    /// An event of the inventory about its end is waiting.
    Reporting,
}

/// The changes that system calls reported and that an inventory may still report.
#[derive(Debug, Default)]
pub(super) struct Attached {
    reported: Vec<Reported>,
    /// The programs that were unloaded last, and when. An inventory that began earlier may still list their attachments.
    unloaded: Fifo<ProgId, BootNanos>,
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
            return self.replaced(&record, time, world);
        }
        match BpfPlace::of_call(&record) {
            Some(gone) if gone.gone => {
                match self.detached(&bpf, BootNanos(0), world, || confirms(gone)) {
                    Some(Detached::Reported(at)) => self.reported[at].finish(time),
                    Some(Detached::Listed(program)) => self.note_end(BpfPlace { program, ..gone }, time),
                    Some(Detached::Reporting) => {}
                    None => self.note_end(gone, time),
                }
                world.bpf.end_link(gone.link, time);
            }
            Some(place) if !confirms(place) => {
                let end = bpf.end(place.via).into();
                let reported = Reported::begun(place, ProgId(record.prog_id), time, end);
                if place.link.0 != 0 {
                    let of_link = |facts: &&BpfAttachment| is_by_netlink(facts) && reported.is_of(facts, world);
                    let shown: Vec<_> = world.bpf.attachments_of(reported.program).filter(of_link).cloned().collect();
                    let shown = shown.iter().filter(|facts| confirms(BpfPlace::of(facts, false)));
                    shown.for_each(|facts| world.bpf.end_attachment(facts.key, time));
                }
                self.reported.push(reported);
            }
            _ => return,
        }
        world.bpf.left_out += self.make_room();
    }

    /// The attachment that a call ended. The call may not name the program, or the kernel may ignore the name. `since`: the last
    /// unload of a program of this group of sockets. Earlier attachments belong to another group that had the same address, unless a
    /// later inventory lists them. `confirms`: see [`called`](Self::called).
    fn detached(
        &self,
        call: &Bpf<'_>,
        since: BootNanos,
        world: &World,
        confirms: impl FnOnce() -> bool,
    ) -> Option<Detached> {
        let record = call.record();
        let place = BpfPlace::of_call(&record).unwrap_or(BpfPlace::of_unnamed(&record)).begun();
        let is_open =
            |known: &Reported| !known.ended && known.time > since && (place.link.0 != 0 || known.is_at(&record));
        let begun = |is_there: fn(BpfPlace, BpfPlace) -> bool| {
            let there = self.reported.iter().enumerate();
            there.filter(move |(_, known)| is_there(known.place, place) && is_open(known))
        };
        let last = |is_there| begun(is_there).max_by_key(|(_, known)| known.time).map(|(at, _)| Detached::Reported(at));
        let is_left = |program: &ProgId| !self.is_ended(BpfPlace { program: *program, ..place });
        let named = Some(place.program).filter(|program| is_listed(place, world) && is_left(program));
        let named = last(|known, place| known == place).or(named.map(Detached::Listed));
        if named.is_some() || place.link.0 != 0 {
            return named.or_else(|| confirms().then_some(Detached::Reporting));
        }
        if confirms() {
            return Some(Detached::Reporting);
        }
        let at_spot = |known: BpfPlace, place: BpfPlace| known.unnamed() == place.unnamed();
        let listed: Vec<_> = place.listed(call, world).into_iter().filter(is_left).collect();
        if record.on & on::DEVICE != 0 && begun(at_spot).count() + listed.len() > 1 {
            return None;
        }
        let is_later = |taken: &BpfInventory| taken.complete && taken.from > since;
        last(at_spot).or(match listed[..] {
            [program] if since.0 == 0 || world.bpf.last_inventory().is_some_and(is_later) => {
                Some(Detached::Listed(program))
            }
            _ => None,
        })
    }

    /// The event of a call that ended an attachment, with the program that was attached.
    pub(super) fn with_program(&self, call: &Bpf<'_>, since: BootNanos, world: &World) -> Option<BpfRecord> {
        let of = match self.detached(call, since, world, || false)? {
            Detached::Reported(at) => self.reported.get(at)?.record(),
            Detached::Listed(ProgId(prog_id)) => {
                BpfRecord { has: has::PROG, prog_id, prog_uid: u32::MAX, ..BpfRecord::new_zeroed() }
            }
            Detached::Reporting => return None,
        };
        Some(with_program(call.record(), &of))
    }

    /// Adds where a link is that no inventory lists yet. Returns the text that follows the record.
    pub(super) fn set_place_of_link(&self, record: &mut BpfRecord, link: LinkId) -> Option<&[u8]> {
        let known = self.reported.iter().rfind(|known| known.place.link == link && !known.listed)?;
        Some(Bpf::decode(&known.end)?.set_place(record))
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
        let is_of = |known: &&mut Reported| {
            (known.place.via, known.place.spot, known.ended) == (Via::Netlink, ifindex.into(), false)
                && known.record().attach_btf_id == netns.0
        };
        let mut known = Vec::new();
        for reported in self.reported.iter_mut().filter(is_of) {
            known.push(reported.place.program);
            if !is_left(reported.place.program) {
                reported.finish(time);
                changes.push((BpfPlace { gone: true, ..reported.place }, reported.end.clone()));
            }
        }
        let listed = world.bpf.attachments().filter(is_there);
        let listed: Vec<_> = listed.filter(|facts| !self.is_ended(BpfPlace::of(facts, false))).cloned().collect();
        for facts in &listed {
            known.push(facts.program);
            if !is_left(facts.program) {
                let place = BpfPlace::of(facts, true);
                self.note_end(place, time);
                changes.push((place, event(facts, true, world)));
            }
        }
        for facts in now.iter().filter(|facts| !known.contains(&facts.program)) {
            let (place, end) = (BpfPlace::of(facts, false), event(facts, true, world));
            self.reported.push(Reported::begun(place, facts.program, time, end));
            changes.push((place, event(facts, false, world)));
        }
        world.bpf.left_out += self.make_room();
        changes
    }

    /// Records the end of an attachment that an inventory lists, or may list.
    fn note_end(&mut self, gone: BpfPlace, time: BootNanos) {
        let (place, program, end) = (gone.begun(), gone.program, Box::default());
        self.reported.push(Reported { place, program, time, ended: true, listed: true, end });
    }

    /// Whether an attachment that an inventory lists at a place has ended.
    fn is_ended(&self, place: BpfPlace) -> bool {
        self.reported.iter().any(|known| known.listed && known.place == place)
    }

    /// Handles the replacement of a link's program.
    fn replaced(&mut self, record: &BpfRecord, time: BootNanos, world: &mut World) {
        let (link, program) = (LinkId(record.link_id), ProgId(record.prog_id));
        if record.ret < 0 || record.has & (has::LINK | has::PROG) != has::LINK | has::PROG || link.0 == 0 {
            return;
        }
        match self.reported.iter_mut().find(|known| known.place.link == link && !known.listed) {
            Some(known) => {
                let end = Bpf::decode(&known.end).map(|end| end.with_program(record));
                (known.program, known.end) = (program, end.unwrap_or_default().into());
            }
            None => world.bpf.replace(link, program, time),
        }
    }

    /// Handles an attachment that an inventory lists for the first time.
    pub(super) fn listed(&mut self, facts: &BpfAttachment, world: &World) -> Listing {
        let place = BpfPlace::of(facts, false);
        let there = self.reported.iter().enumerate().filter(|(_, known)| known.place == place && !known.listed);
        let best = there.min_by_key(|(_, known)| (!known.is_of(facts, world), known.ended, known.time));
        let Some((at, _)) = best else {
            let unloaded = self.unloaded.contains(&facts.program);
            return match place.link.0 {
                0 if may_have_link(facts) && self.has_link(facts, world) => Listing::Ended,
                0 if unloaded => Listing::Unloaded,
                1.. if unloaded || self.is_ended(place) => Listing::Ended,
                _ => Listing::Unreported,
            };
        };
        let listing = Listing::Reported(self.reported[at].time, self.reported[at].program);
        let ended = self.confirm(at);
        if ended && place.link.0 != 0 { Listing::Ended } else { listing }
    }

    /// Handles a reported attachment that an inventory lists. Returns whether it has ended since.
    fn confirm(&mut self, at: usize) -> bool {
        let ended = self.reported[at].ended;
        match ended {
            true => self.reported[at].list(),
            false => _ = self.reported.remove(at),
        }
        ended
    }

    /// Whether a system call reported a link of the same program at the same place.
    fn has_link(&self, facts: &BpfAttachment, world: &World) -> bool {
        let mut links = self.reported.iter().filter(|known| known.place.link.0 != 0);
        links.any(|known| known.program == facts.program && known.is_of(facts, world))
    }

    /// Handles the end of a listed attachment. Returns the time of the report, if a system call reported it.
    pub(super) fn unlisted(&mut self, gone: BpfPlace) -> Option<BootNanos> {
        let place = gone.begun();
        let is_it = |known: &Reported| known.listed && [place, place.unnamed()].contains(&known.place);
        let ended = self.reported.iter().enumerate().filter(|(_, known)| is_it(known));
        let (at, _) = ended.min_by_key(|(_, known)| (known.place != place, known.time))?;
        Some(self.reported.remove(at).time)
    }

    /// Ends the attachments of an unloaded program. Passes on the payloads of their events.
    pub(super) fn unloaded(&mut self, id: ProgId, time: BootNanos, mut out: impl FnMut(&[u8])) {
        self.unload(id, time);
        for known in self.reported.iter_mut().filter(|known| !known.ended && known.program == id) {
            known.finish(time);
            out(&known.end);
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
        self.attached_again(if inventory.complete { inventory.from } else { before.others }, world);
        let is_over = |known: &mut Reported| {
            !known.listed && known.time < before.of_place(known) && (known.ended || is_absent(known, world))
        };
        let mut absent: Vec<_> =
            self.reported.extract_if(.., |known| is_over(known)).filter(|known| !known.ended).collect();
        absent.sort_by_key(|known| (known.time, known.place));
        absent.iter().for_each(|known| out(BpfPlace { gone: true, ..known.place }, &known.end));
    }

    /// Handles the ends from before this time that inventories do not confirm. If they list the program at such a place, the program
    /// was attached there again: that is then the listed one.
    fn attached_again(&mut self, from: BootNanos, world: &World) {
        let unconfirmed = |known: &mut Reported| known.listed && known.time < from;
        let unconfirmed: Vec<_> = self.reported.extract_if(.., unconfirmed).map(|known| known.place).collect();
        for place in unconfirmed.into_iter().filter(|place| is_listed(*place, world)) {
            let there =
                |known: &Reported| world.bpf.attachments_of(place.program).any(|facts| known.is_of(facts, world));
            let again = self.reported.iter().enumerate().filter(|(_, known)| known.place == place && !known.listed);
            let last = again.max_by_key(|(_, known)| (there(known), !known.ended, known.time));
            last.map(|(at, _)| at).into_iter().for_each(|at| _ = self.confirm(at));
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes_of_ends() + self.reported.len() * size_of::<Reported>()
    }

    fn bytes_of_ends(&self) -> usize {
        self.reported.iter().map(|known| known.end.len()).sum()
    }

    /// Forgets the older half if there is too much, so that this is rare. Returns the number of forgotten attachments that have not
    /// ended.
    fn make_room(&mut self) -> u64 {
        if self.reported.len() <= limits::BPF_PLACES_KNOWN && self.bytes_of_ends() <= limits::BPF_PLACES_BYTES {
            return 0;
        }
        self.reported.sort_by_key(|known| known.time);
        self.reported.drain(..self.reported.len() / 2).filter(|known| !known.ended).count() as u64
    }

    /// Passes on the attachments: when they were reported or ended, whether they have not ended, and the events of their ends.
    pub(super) fn write_state(&self, state: &mut ProgramsState, mut out: impl FnMut(BootNanos, bool, &[u8])) {
        let (listed, begun): (Vec<_>, Vec<_>) = self.reported.iter().partition(|known| known.listed);
        begun.iter().for_each(|known| out(known.time, !known.ended, &known.end));
        state.ended = listed.iter().map(|known| (BpfPlace { gone: true, ..known.place }, known.time)).collect();
        state.unloaded = self.unloaded.iter().map(|(program, time)| (*program, *time)).collect();
    }

    pub(super) fn restore_begun(&mut self, time: BootNanos, open: bool, end: &[u8]) {
        let Some(record) = Bpf::decode(end).map(|bpf| bpf.record()) else { return };
        let place = BpfPlace::of_made(&record).begun();
        let begun = Reported::begun(place, ProgId(record.prog_id), time, end.into());
        self.reported.push(Reported { ended: !open, ..begun });
        self.make_room();
    }

    pub(super) fn restore(&mut self, state: &ProgramsState) {
        state.unloaded.iter().for_each(|(program, time)| self.unload(*program, *time));
        let ended = state.ended.iter().take(limits::BPF_PLACES_KNOWN.saturating_sub(self.reported.len()));
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

    fn of_place(&self, reported: &Reported) -> BootNanos {
        let is_on = |bit| reported.record().on & bit != 0;
        let (what, from) = match reported.place.link.0 {
            1.. => (LINKS, self.inventory.from),
            0 if reported.place.via == Via::Setsockopt => (SOCKETS, self.others),
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
fn is_absent(reported: &Reported, world: &World) -> bool {
    let Some(end) = Bpf::decode(&reported.end) else { return true };
    let (place, at) = (reported.place, end.record().on);
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
