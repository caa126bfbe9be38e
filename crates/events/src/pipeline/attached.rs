//! What is attached where, according to calls and inventories.
//!
//! Each place has two numbers: the attachments whose begin was reported and whose end was not, and those that the inventory lists. If they
//! differ, and no call came since, an attachment appeared or ended without a call: its event is missing. A call counts until an inventory
//! that began later agrees with it, because an earlier one may still list what the call ended.

use crate::bpf::{EVENTS, Hook, LINKS, SOCKETS, SOCKMAPS, Via, may_hide_place};
use crate::enrich::World;
use crate::event::bpf::Bpf;
use crate::event::bpf::unprobed::{made_header, place_event, spot_of};
use crate::event::{Payload as _, Tables as _};
use crate::frame::FrameRef;
use crate::frame::host::{BpfAttachment, BpfInventory};
use crate::limits;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::{LinkId, ProgId, Tid};
use tracetui_shared::record::bpf::{BpfRecord, call, cmd, has, on, option};
use tracetui_shared::time::BootNanos;
use zerocopy::FromZeros as _;

/// A place of a program, by what the reports of calls and of inventories have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// 0 without a link. With one, the rest is empty.
    pub(super) link: LinkId,
    pub(super) via: Via,
    pub(super) hook: Hook,
    /// The number of the cgroup, socket, group of sockets, map, namespace, perf event or interface (by netlink with its namespace), or
    /// the offset of a probe.
    spot: u64,
    /// The tracepoint without its subsystem, which the inventory lacks without tracefs, or the kernel function.
    name: Vec<u8>,
    /// 0 if unknown.
    pub(super) program: ProgId,
}

impl Place {
    pub(super) fn of_link(link: LinkId) -> Place {
        Place { link, ..Place::default() }
    }

    /// The place in an event that no probe made.
    pub(super) fn of(event: &[u8]) -> Place {
        let Some(bpf) = Bpf::decode(event) else { return Place::default() };
        let record = bpf.record();
        if record.link_id != 0 {
            return Place::of_link(LinkId(record.link_id));
        }
        let (via, hook, spot) = (Via::of(record.priority).unwrap_or_default(), bpf.hook(), spot_in(&record));
        let (spot, name) = match via {
            Via::Netlink => (spot | u64::from(record.attach_btf_id) << u32::BITS, Vec::new()),
            Via::Ioctl if hook == Hook::Tracepoint => {
                let target = bpf.target(None).text().unwrap_or_default().into_owned();
                (0, target.rsplit(|byte| *byte == b':').next().unwrap_or_default().to_vec())
            }
            Via::Ioctl if hook.is_probe() => {
                (record.offset, if record.has & has::KPROBE == 0 { Vec::new() } else { bpf.text.to_vec() })
            }
            _ => (spot, Vec::new()),
        };
        Place { link: LinkId(0), via, hook, spot, name, program: ProgId(record.prog_id) }
    }

    pub(super) fn of_facts(facts: &BpfAttachment) -> Place {
        Place::of(&place_event(facts, true, None))
    }

    /// The same place, whatever program is there.
    fn unnamed(&self) -> Place {
        Place { program: ProgId(0), ..self.clone() }
    }

    /// Whether an attachment may be at this place.
    fn is_near(&self, facts: &BpfAttachment) -> bool {
        (facts.via, facts.hook) == (self.via, self.hook)
            && (self.via == Via::Ioctl || spot_of(facts).1 as u32 == self.spot as u32)
    }

    pub(super) fn is_at(&self, other: &Place) -> bool {
        self.link.0 == 0 && self.unnamed() == other.unnamed()
    }
}

/// Whether a system call ended an attachment, and how that was made. `None` if the call failed, or if the inventory does not list such
/// places.
pub(super) fn change_of(record: &BpfRecord) -> Option<(bool, Via)> {
    let has_link = record.has & has::LINK != 0 && record.link_id != 0;
    match (record.call, record.cmd) {
        _ if record.ret < 0 => None,
        (call::BPF, cmd::LINK_CREATE | cmd::RAW_TRACEPOINT_OPEN) if has_link => Some((false, Via::Link)),
        (call::BPF, cmd::LINK_DETACH) if has_link => Some((true, Via::Link)),
        (call::BPF, cmd::PROG_ATTACH) => Some((false, Via::ProgAttach)),
        (call::BPF, cmd::PROG_DETACH) => Some((true, Via::ProgAttach)),
        (call::PERF_IOCTL, _) => Some((false, Via::Ioctl)),
        (call::SETSOCKOPT, option::DETACH_FILTER | option::DETACH_REUSEPORT_BPF) => Some((true, Via::Setsockopt)),
        // Programs of classic BPF have no id, and the inventory does not list them.
        (call::SETSOCKOPT, _) if record.prog_id != 0 => Some((false, Via::Setsockopt)),
        _ => None,
    }
}

/// The number of a place in an event.
fn spot_in(record: &BpfRecord) -> u64 {
    let at = record.on;
    match () {
        () if at & on::GROUP != 0 => record.perf_config,
        () if at & on::CGROUP != 0 => record.cgroup,
        () if at & (on::SOCKET | on::DEVICE | on::MAP | on::NETNS | on::EVENT) != 0 => record.object.into(),
        () => 0,
    }
}

#[derive(Debug, Default)]
struct Known {
    /// Attachments whose begin was reported, or that are older than the trace, and whose end was not reported.
    open: u32,
    /// Those that the inventory lists.
    listed: u32,
    /// Whether it has listed some.
    was_listed: bool,
    /// Whether a call, or the unload of the program, is newer than what inventories show.
    called: bool,
    /// The time of that call or unload.
    time: BootNanos,
    /// The program, which may change at a link.
    program: ProgId,
    /// The program that the last call replaced; 0 if none.
    former: ProgId,
    /// The event of the end, according to the call. Empty if an inventory agreed since.
    end: Box<[u8]>,
}

impl Known {
    /// Whether the event of an end (`true`) or of a begin is missing.
    fn missing(&self) -> Option<bool> {
        (!self.called && self.open != self.listed).then_some(self.open > self.listed)
    }

    /// The time of the last call; the latest time if an inventory agreed since.
    fn last(&self) -> BootNanos {
        if self.called { self.time } else { BootNanos(u64::MAX) }
    }

    fn is_there(&self) -> bool {
        self.open > 0 || self.missing().is_some()
    }

    /// Whether an inventory would list it. Probes at one place are listed once.
    fn is_listed(&self, place: &Place, world: &World) -> bool {
        let at = Bpf::decode(&self.end).map_or(0, |end| end.record().on);
        match place.via {
            Via::Ioctl if place.hook.is_probe() => self.listed == 0,
            _ if self.was_listed => true,
            Via::Ioctl => place.hook == Hook::Tracepoint || at & on::EVENT != 0,
            Via::ProgAttach if at & on::CGROUP != 0 => world.knows_cgroups(),
            Via::ProgAttach => at & (on::DEVICE | on::MAP | on::NETNS) != 0,
            _ => true,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Attached {
    places: BTreeMap<Place, Known>,
    /// Bytes of the events of ends.
    bytes: usize,
}

impl Attached {
    /// Keeps the event of an end. It names the program, even for a link.
    fn set_end(&mut self, place: &Place, end: &[u8]) {
        if let Some(known) = self.places.get_mut(place) {
            self.bytes = self.bytes - known.end.len() + end.len();
            known.program = Bpf::decode(end).map_or(known.program, |end| ProgId(end.record().prog_id));
            known.end = end.into();
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.places.len() * 2 * size_of::<(Place, Known)>()
    }

    /// The entry of a place; `None` if there are too many.
    fn entry(&mut self, place: &Place, program: ProgId) -> Option<&mut Known> {
        let fits = self.bytes <= limits::BPF_PLACES_BYTES && self.places.len() < limits::BPF_PLACES_KNOWN;
        match self.places.entry(place.clone()) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(place) => fits.then(|| place.insert(Known { program, ..Known::default() })),
        }
    }

    /// Whether the event of an end (`true`) or of a begin is missing at a place.
    pub(super) fn missing(&self, place: &Place) -> Option<bool> {
        self.places.get(place)?.missing()
    }

    /// Records that the missing event was reported.
    pub(super) fn reported(&mut self, place: &Place, gone: bool) {
        let Some(known) = self.places.get_mut(place) else { return };
        known.open = if gone { known.open.saturating_sub(1) } else { known.open.saturating_add(1) };
        self.agree(place);
    }

    /// Forgets the last call, if the inventory agrees with it.
    fn agree(&mut self, place: &Place) {
        let Some(known) = self.places.get_mut(place).filter(|known| known.open == known.listed) else { return };
        known.called = false;
        let is_empty = known.listed == 0;
        self.set_end(place, &[]);
        if is_empty {
            self.places.remove(place);
        }
    }

    /// Records that a call attached a program. Returns how many did not fit.
    pub(super) fn begin(&mut self, place: &Place, time: BootNanos, end: &[u8]) -> u64 {
        let Some(known) = self.entry(place, place.program) else { return 1 };
        (known.open, known.called, known.time) = (known.open.saturating_add(1), true, time);
        self.set_end(place, end);
        0
    }

    /// Records that a call ended an attachment, if one is known. An inventory that began earlier may still list it.
    pub(super) fn end(&mut self, place: &Place, time: BootNanos, end: &[u8]) {
        let Some(known) = self.entry(place, place.program) else { return };
        (known.open, known.called, known.time) = (known.open.saturating_sub(1), true, time);
        self.set_end(place, end);
    }

    /// Records that a call changed nothing here.
    pub(super) fn confirm(&mut self, place: &Place, time: BootNanos, end: &[u8]) {
        if let Some(known) = self.places.get_mut(place) {
            (known.called, known.time) = (true, time);
            self.set_end(place, end);
        }
    }

    /// Ends all attachments at a place whose program was unloaded, or whose link was detached. Returns their number.
    pub(super) fn close(&mut self, place: &Place, time: BootNanos, end: &[u8]) -> u32 {
        let Some(known) = self.entry(place, place.program) else { return 0 };
        (known.called, known.time, known.listed) = (true, time, 0);
        let open = std::mem::take(&mut known.open);
        self.set_end(place, end);
        open
    }

    /// Records that a call replaced the program of a link, which is therefore attached. `end`: the event of its end before. Returns that
    /// after the call.
    pub(super) fn replaced(
        &mut self,
        place: &Place,
        end: &[u8],
        of: &BpfRecord,
        time: BootNanos,
        world: &World,
    ) -> Option<Vec<u8>> {
        let known = self.places.get_mut(place).filter(|known| known.called || known.listed > 0)?;
        // The unload of the former program may have closed it.
        (known.open, known.listed) = (1, world.bpf.attachment_of_link(place.link).is_some().into());
        (known.called, known.time) = (true, time);
        (known.former, known.program) = (known.program, ProgId(of.prog_id));
        let end = Bpf::decode(end).map(|end| end.with_program(of)).unwrap_or_default();
        self.set_end(place, &end);
        Some(end)
    }

    /// When a call made an attachment that the inventory lists for the first time, and its program, which a later call may have changed.
    /// A call may have ended it without naming it, or have named its place otherwise. `news`: whether it is newer than the trace.
    pub(super) fn made(&mut self, place: &Place, program: ProgId, news: bool) -> Option<(BootNanos, ProgId)> {
        if !self.places.contains_key(place) && place.link.0 == 0 {
            let is_it = |(other, known): &(&Place, &Known)| {
                (other.via, other.program) == (Via::Ioctl, place.program) && known.listed < known.open
            };
            let other = if news && place.via == Via::Ioctl { self.places.iter().find(is_it) } else { None };
            let other = other.map_or_else(|| place.unnamed(), |(other, _)| other.clone());
            if let Some(mut known) = self.places.remove(&other) {
                known.program = program;
                let named = BpfRecord { prog_id: program.0, ..BpfRecord::new_zeroed() };
                let end = Bpf::decode(&known.end).map(|end| end.with_program(&named)).unwrap_or_default();
                self.places.insert(place.clone(), known);
                self.set_end(place, &end);
            }
        }
        self.places.get(place).filter(|known| known.called && known.open > 0).map(|known| (known.time, known.program))
    }

    /// Records that the inventory lists an attachment.
    pub(super) fn listed(&mut self, place: &Place, program: ProgId, news: bool) {
        let known = self.places.entry(place.clone()).or_insert(Known { program, ..Known::default() });
        (known.listed, known.was_listed) = (known.listed.saturating_add(1), true);
        if !known.called {
            (known.program, known.open) = (program, known.open.saturating_add((!news).into()));
        }
        self.agree(place);
    }

    /// Records that the facts about a listed attachment changed.
    pub(super) fn changed(&mut self, before: &Place, place: &Place, program: ProgId) {
        if before != place {
            self.unlisted(before, false);
            self.listed(place, program, false);
        } else if let Some(known) = self.places.get_mut(place).filter(|known| !known.called) {
            known.program = program;
        }
    }

    /// Records that the inventory lists an attachment no more. Returns when a call ended it.
    pub(super) fn unlisted(&mut self, place: &Place, news: bool) -> Option<BootNanos> {
        let known = self.places.get_mut(place)?;
        known.listed = known.listed.saturating_sub(1);
        if !news {
            known.open = known.open.saturating_sub(1);
        }
        let ended = (known.called && known.open == 0).then_some(known.time);
        self.agree(place);
        ended
    }

    /// When a call ended what the inventory still lists.
    pub(super) fn ended(&self, place: &Place) -> Option<BootNanos> {
        self.places.get(place).filter(|known| known.called && known.open == 0).map(|known| known.time)
    }

    /// Whether a call made a link of the same program at the same place, or gave it another program: netlink and queries show it without
    /// the link.
    pub(super) fn has_link(&self, place: &Place) -> bool {
        let has = |known: &Known| {
            known.program == place.program || known.former == place.program && place.via == Via::Netlink
        };
        let is_it = |known: &Known| has(known) && is_shown_as(&known.end, place);
        let links = self.places.range(Place::of_link(LinkId(1))..).map(|(_, known)| known);
        let may_have_link = matches!(place.via, Via::Netlink | Via::ProgAttach) && place.link.0 == 0;
        may_have_link && links.filter(|known| known.called).any(is_it)
    }

    /// The places without a link at which netlink shows the program of a new link, whose end this is.
    pub(super) fn shown_of_link(&self, end: &[u8], program: ProgId) -> Vec<Place> {
        let is_it = |(place, known): &(&Place, &Known)| {
            place.via == Via::Netlink && place.program == program && known.missing() == Some(false)
        };
        let places = self.places.iter().filter(is_it).map(|(place, _)| place.clone());
        places.filter(|place| is_shown_as(end, place)).collect()
    }

    pub(super) fn forget(&mut self, place: &Place) {
        self.set_end(place, &[]);
        self.places.remove(place);
    }

    /// The places where a program is attached, or was.
    pub(super) fn of_program(&self, program: ProgId) -> Vec<Place> {
        let is_of = |(_, known): &(&Place, &Known)| known.program == program;
        self.places.iter().filter(is_of).map(|(place, _)| place.clone()).collect()
    }

    /// The places of programs attached where this one is, and the times of the last calls. What the inventory lists comes last.
    pub(super) fn all_at(&self, place: &Place) -> Vec<(BootNanos, Place)> {
        let all = self.places.range(place.unnamed()..=Place { program: ProgId(u32::MAX), ..place.clone() });
        all.filter(|(_, known)| known.is_there()).map(|(place, known)| (known.last(), place.clone())).collect()
    }

    pub(super) fn is_open(&self, place: &Place) -> bool {
        self.places.get(place).is_some_and(|known| known.open > 0)
    }

    /// The event of the end of an attachment.
    pub(super) fn end_of(&self, place: &Place, world: &World) -> Vec<u8> {
        if let Some(known) = self.places.get(place).filter(|known| !known.end.is_empty()) {
            return known.end.to_vec();
        }
        let facts = match place.link {
            LinkId(0) => world
                .bpf
                .attachments_of(place.program)
                .find(|facts| place.is_near(facts) && Place::of_facts(facts) == *place),
            link => world.bpf.attachment_of_link(link),
        };
        facts.map_or_else(Vec::new, |facts| place_event(facts, true, world.bpf.known_program(facts.program)))
    }

    /// Handles the end of an inventory: calls from before it began no longer count. Returns the places with missing events, and the
    /// events of the ends.
    pub(super) fn compare(&mut self, inventory: &BpfInventory, world: &World) -> Vec<(Place, Box<[u8]>)> {
        let scope = Scope::of(inventory, world);
        let (mut missing, mut agreed) = (Vec::new(), Vec::new());
        for (place, known) in &mut self.places {
            let is_settled = known.called && known.time < scope.from(place, known);
            if !is_settled || known.open > known.listed && !known.is_listed(place, world) {
                continue;
            }
            known.called = false;
            let count = known.open.abs_diff(known.listed);
            missing.extend((0..count).map(|_| (place.clone(), known.end.clone())));
            if count == 0 {
                agreed.push(place.clone());
            }
        }
        agreed.iter().for_each(|place| self.agree(place));
        missing
    }

    /// Passes on the places about which calls reported: the time, how many attachments are open, whether it was listed, the former program,
    /// and the event of the end.
    pub(super) fn write_state(&self, mut out: impl FnMut(FrameHeader, &[u8])) {
        for known in self.places.values().filter(|known| known.called) {
            let (cpu, seq) = (known.open, known.was_listed.into());
            let former = Tid(known.former.0);
            out(FrameHeader { cpu, seq, tid: former, ..made_header(known.time) }, &known.end);
        }
    }

    pub(super) fn restore(&mut self, header: &FrameHeader, end: &[u8]) {
        let place = Place::of(end);
        // A recording may contain any number, and each may become an event.
        let others = self.places.values().fold(0, |sum: u32, known| sum.saturating_add(known.open));
        let open = header.cpu.min((limits::BPF_PLACES_KNOWN as u32).saturating_sub(others));
        let Some(known) = self.entry(&place, place.program) else { return };
        (known.open, known.called, known.time, known.was_listed) = (open, true, header.time, header.seq != 0);
        known.former = ProgId(header.tid.0);
        self.set_end(&place, end);
    }

    /// Restores that an event is missing.
    pub(super) fn restore_missing(&mut self, event: &FrameRef<'_>, gone: bool) -> Place {
        let place = Place::of(event.payload);
        let program = Bpf::decode(event.payload).map_or(place.program, |event| ProgId(event.record().prog_id));
        if let Some(known) = self.entry(&place, program) {
            known.open = if gone { known.open.saturating_add(1) } else { known.open.saturating_sub(1) };
        }
        place
    }
}

/// Whether this is the end of a link whose program is shown at a place without the link.
fn is_shown_as(end: &[u8], place: &Place) -> bool {
    let spot = place.spot & if place.via == Via::Netlink { u64::from(u32::MAX) } else { u64::MAX };
    spot != 0 && Bpf::decode(end).is_some_and(|end| (end.hook(), spot_in(&end.record())) == (place.hook, spot))
}

/// What an inventory shows.
struct Scope<'a> {
    inventory: &'a BpfInventory,
    /// The time before which attachments without a link are in it.
    others: BootNanos,
}

impl Scope<'_> {
    fn of<'a>(inventory: &'a BpfInventory, world: &World) -> Scope<'a> {
        let hides = |text: &String| !text.starts_with(LINKS) && may_hide_place(text, 0);
        let read = |inventory: &&BpfInventory| !inventory.unseen.iter().any(hides);
        // While links come and go, an attachment without a link may be left for the next inventory.
        let previous = || world.bpf.last_inventory().filter(read);
        let of = Some(inventory).filter(read);
        let of = of.and_then(|inventory| if inventory.complete { Some(inventory) } else { previous() });
        Scope { inventory, others: of.map_or(BootNanos(0), |of| of.from) }
    }

    /// The time before which calls no longer count.
    fn from(&self, place: &Place, known: &Known) -> BootNanos {
        let is_on = |bit| Bpf::decode(&known.end).is_some_and(|end| end.record().on & bit != 0);
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
