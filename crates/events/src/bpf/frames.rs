//! Writes an [`Inventory`] as host frames: the whole inventory at first, then the changes.

use super::{Hook, InterfacePart, Inventory, LINKS, Object, PINS, Unseen, VIEWS, Via, View};
use crate::frame::Batch;
use crate::frame::host::{
    BpfAttachment, BpfCounted, BpfHolders, BpfInventory, BpfProgram, BpfProgramGone, BpfRuns, HostFrame,
};
use crate::limits;
use foldhash::{HashMap, HashSet};
use std::collections::BTreeMap;
use tracetui_shared::id::{LinkId, NsInum, ProgId};
use tracetui_shared::record::bpf::{link_type, scan};
use tracetui_shared::time::BootNanos;

/// The identity of an attachment across inventories: its link, or else the properties that do not change. The place is the number and
/// namespace of an interface, because its name may change, the cgroup, because another one may get its path, the perf event, because
/// many have one name, or else the target.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Same(BpfAttachment);

impl Same {
    fn of(facts: &BpfAttachment) -> Same {
        if let Some(link) = facts.linked() {
            return Same(BpfAttachment { link, ..BpfAttachment::default() });
        }
        let BpfAttachment { program, via, hook, ifindex, cgroup, event, offset, addr, .. } = *facts;
        let is_named = ifindex.is_none() && cgroup.0 == 0 && event == 0;
        Same(BpfAttachment {
            program,
            via,
            hook,
            ifindex,
            netns: facts.netns.filter(|_| ifindex.is_some()),
            cgroup,
            event,
            target: if is_named { facts.target.clone() } else { Vec::new() },
            offset,
            addr,
            flags: facts.flags.clone(),
            ..BpfAttachment::default()
        })
    }
}

#[derive(Default)]
pub struct Described {
    programs: BTreeMap<ProgId, BpfProgram>,
    attachments: HashMap<Same, BpfAttachment>,
    /// The changes in an inventory during which links came or went: attachments without a link that appeared or ended.
    unsettled: HashSet<(Same, bool)>,
    hidden: HashSet<(ProgId, LinkId, View)>,
    holders: BTreeMap<Object, BpfHolders>,
    runs: HashMap<ProgId, BpfRuns>,
    /// The places that could not be examined in the first inventory.
    unseen: HashSet<&'static str>,
    next_key: u32,
    whole: bool,
    /// The last link and the newest program at the start of the trace. Whatever is later is news, also before and in the first
    /// inventory.
    start: (LinkId, ProgId),
    /// The network namespace whose netlink attachments at the start are known, and those that may be of links.
    begun: Option<(NsInum, HashSet<Same>)>,
}

impl Described {
    /// The state before the first frame. `last` is the last existing link, `newest` the newest program.
    pub fn since(last: LinkId, newest: ProgId) -> Described {
        Described { start: (last, newest), ..Described::default() }
    }

    /// Appends the netlink attachments of a network namespace at the start. Later ones there are news. `of_links`: those that may be of
    /// XDP links.
    pub fn begin(
        &mut self,
        netns: NsInum,
        attached: Vec<&BpfAttachment>,
        of_links: Vec<&BpfAttachment>,
        at: BootNanos,
        batch: &mut Batch,
    ) {
        self.begun = Some((netns, of_links.into_iter().map(Same::of).collect()));
        attached.into_iter().for_each(|facts| self.add(facts, false, at, batch));
    }

    /// Whether an attachment was made after the start. A call reports those to older programs, unless netlink makes them.
    fn is_later(&self, facts: &BpfAttachment) -> bool {
        let (last, newest) = self.start;
        let is_begun = |(netns, of_links): &(NsInum, HashSet<Same>)| {
            facts.via == Via::Netlink && facts.netns == Some(*netns) && !of_links.contains(&Same::of(facts))
        };
        let without_link = || facts.program > newest || self.begun.as_ref().is_some_and(is_begun);
        facts.linked().map_or_else(without_link, |link| link > last)
    }

    /// Appends an attachment that is not listed yet.
    fn add(&mut self, facts: &BpfAttachment, news: bool, at: BootNanos, batch: &mut Batch) {
        let described = BpfAttachment { key: self.next_key, news, missed: None, ..facts.clone() };
        self.next_key += 1;
        HostFrame::BpfAttachment(described.clone()).push(at, batch);
        self.attachments.insert(Same::of(facts), described);
    }

    /// Appends the changes since the last inventory. New programs come first and unloaded ones last, so that attachments can refer
    /// to them. `steady`: no link came or went during the inventory. Otherwise an attachment without a link may in fact
    /// have a link that came after the links were read, or be mistaken for that of a link that went. It is then left for the next
    /// inventory, and counts if that one confirms it. Links that come and go all the time therefore hide nothing.
    pub fn update(
        &mut self,
        inventory: &Inventory,
        steady: bool,
        (from, to): (BootNanos, BootNanos),
        batch: &mut Batch,
    ) {
        let news = self.whole;
        let now: BTreeMap<_, _> = inventory.programs.iter().map(|program| (program.id, program.clone())).collect();
        for (id, program) in &now {
            if self.programs.get(id) != Some(program) {
                HostFrame::BpfProgram(program.clone()).push(to, batch);
            }
        }
        let complete = self.attachments(inventory, steady, to, batch);
        for hidden in &inventory.hidden {
            if self.hidden.insert((hidden.id, hidden.link, hidden.missing_in)) {
                HostFrame::BpfHidden(hidden.clone()).push(to, batch);
            }
        }
        self.holders(inventory, to, batch);
        self.runs(inventory, to, batch);
        for id in self.programs.keys().filter(|id| !now.contains_key(id)) {
            HostFrame::BpfProgramGone(BpfProgramGone { id: *id }).push(to, batch);
            self.runs.remove(id);
            self.holders.remove(&Object::Program(*id));
        }
        self.programs = now;
        self.whole = true;
        let counts = (self.programs.len() as u32, self.attachments.len() as u32);
        let (programs, attachments) = counts;
        let vanished = inventory.vanished;
        let unseen = inventory.unseen.iter().map(Unseen::text).collect();
        let taken = BpfInventory { from, to, whole: !news, programs, attachments, vanished, complete, unseen };
        HostFrame::BpfInventory(taken).push(to, batch);
    }

    /// Appends a program that was loaded since.
    pub fn add_program(&mut self, program: BpfProgram, at: BootNanos, batch: &mut Batch) {
        if self.programs.get(&program.id) != Some(&program) {
            HostFrame::BpfProgram(program.clone()).push(at, batch);
            self.programs.insert(program.id, program);
        }
    }

    /// Appends the changed holders. An object that is gone has no holders.
    fn holders(&mut self, inventory: &Inventory, to: BootNanos, batch: &mut Batch) {
        let mut now: BTreeMap<Object, BpfHolders> = BTreeMap::new();
        for holder in &inventory.holders {
            let all = now.entry(holder.object).or_insert_with(|| no_holders(holder.object));
            all.count += 1;
            if all.holders.len() < limits::BPF_HOLDERS_KEPT {
                all.holders.push(holder.by.clone());
            }
        }
        for (object, holders) in &now {
            if self.holders.get(object) != Some(holders) {
                HostFrame::BpfHolders(holders.clone()).push(to, batch);
            }
        }
        // The end of a program already implies this.
        let exists = |object: &Object| match object {
            Object::Program(id) => inventory.program(*id).is_some(),
            Object::Link(_) => true,
        };
        for object in self.holders.keys().filter(|object| !now.contains_key(object) && exists(object)) {
            HostFrame::BpfHolders(no_holders(*object)).push(to, batch);
        }
        self.holders = now;
    }

    /// Appends the changed run counters. They change only while statistics are on.
    fn runs(&mut self, inventory: &Inventory, to: BootNanos, batch: &mut Batch) {
        inventory.programs.iter().for_each(|program| self.ran(inventory.runs_of(program.id), to, batch));
    }

    fn ran(&mut self, runs: BpfRuns, at: BootNanos, batch: &mut Batch) {
        let none = BpfRuns { id: runs.id, ..BpfRuns::default() };
        if *self.runs.get(&runs.id).unwrap_or(&none) != runs {
            HostFrame::BpfRuns(runs).push(at, batch);
            self.runs.insert(runs.id, runs);
        }
    }

    /// Appends the changed counters of all programs. If `read` is `None`, runs are no longer counted.
    pub fn count(&mut self, read: Option<impl Fn(ProgId) -> Option<BpfRuns>>, at: BootNanos, batch: &mut Batch) {
        let runs: Vec<_> = self.programs.keys().filter_map(|id| read.as_ref()?(*id)).collect();
        runs.into_iter().for_each(|runs| self.ran(runs, at, batch));
        HostFrame::BpfCounted(BpfCounted { at, on: read.is_some() }).push(at, batch);
    }

    /// Appends the ends of attachments, in the order of their keys.
    fn remove(&mut self, mut gone: Vec<(u32, Same)>, news: bool, to: BootNanos, batch: &mut Batch) {
        gone.sort_unstable_by_key(|(key, _)| *key);
        for (key, same) in gone {
            self.attachments.remove(&same);
            HostFrame::BpfAttachment(BpfAttachment { key, gone: true, news, ..BpfAttachment::default() })
                .push(to, batch);
        }
    }

    /// Whether a part of an interface has other programs than the last inventory or notification showed.
    pub fn is_changed(&self, part: &InterfacePart) -> bool {
        !part.programs.iter().all(|facts| self.lists(facts))
            || self.attachments.values().filter(|known| part.covers(known)).count() != part.programs.len()
    }

    pub fn lists(&self, facts: &BpfAttachment) -> bool {
        self.attachments.contains_key(&Same::of(facts))
    }

    pub fn lists_program(&self, id: ProgId) -> bool {
        self.programs.contains_key(&id)
    }

    /// Appends what changed at a part of an interface. Before the first inventory, these are only attachments that are known to be
    /// newer than the trace.
    pub fn change(&mut self, part: &InterfacePart, at: BootNanos, batch: &mut Batch) {
        let counts = |facts: &&BpfAttachment| self.whole || self.lists(facts) || self.is_later(facts);
        let now: Vec<_> = part.programs.iter().filter(counts).map(|facts| (Same::of(facts), facts)).collect();
        let is_gone =
            |(same, known): &(&Same, &BpfAttachment)| part.covers(known) && now.iter().all(|(now, _)| now != *same);
        let gone = self.attachments.iter().filter(is_gone).map(|(same, known)| (known.key, same.clone())).collect();
        self.remove(gone, true, at, batch);
        for (same, facts) in now {
            if !self.attachments.contains_key(&same) {
                self.add(facts, true, at, batch);
            }
        }
    }

    /// Appends the changed attachments. Returns whether these were all attachments when the inventory was begun.
    fn attachments(&mut self, inventory: &Inventory, steady: bool, to: BootNanos, batch: &mut Batch) -> bool {
        let unseen = || inventory.unseen.iter().map(|unseen| unseen.what);
        if !self.whole {
            self.unseen = unseen().collect();
        }
        // A failed read does not mean that an attachment is gone.
        let whole = unseen().all(|what| matches!(what, LINKS | PINS | VIEWS) || self.unseen.contains(what));
        let before = std::mem::take(&mut self.unsettled);
        let mut unsettled = HashSet::default();
        let mut settled = |same: &Same, gone: bool| {
            let known = (same.clone(), gone);
            let settled = steady || same.0.link.0 != 0 || before.contains(&known);
            if !settled {
                unsettled.insert(known);
            }
            settled
        };
        let attached = || inventory.attachments.iter().filter(|facts| !facts.detached);
        let now: HashSet<_> = attached().map(Same::of).collect();
        let linked_tables = attached().filter(|facts| facts.link.0 != 0 && facts.hook == Hook::StructOps);
        let linked_tables: HashSet<_> = linked_tables.map(|facts| facts.target.as_slice()).collect();
        let mut gone: Vec<_> = self.attachments.iter().filter(|(same, _)| !now.contains(*same)).collect();
        let may_be_gone = |same: &Same| match same.0.linked() {
            Some(link) => !inventory.unread_links.contains(&link),
            None => whole,
        };
        gone.retain(|(same, _)| may_be_gone(same) && settled(same, true));
        let (parts, gone): (Vec<_>, Vec<_>) = gone.into_iter().partition(|(_, facts)| facts.is_part());
        let [parts, gone] =
            [parts, gone].map(|all| all.into_iter().map(|(same, facts)| (facts.key, same.clone())).collect());
        self.remove(parts, false, to, batch);
        // Before the first inventory, only netlink showed attachments.
        self.remove(gone, true, to, batch);
        // In the order of the inventory, so that equal inventories give equal frames.
        for facts in attached() {
            let mut attachment = BpfAttachment { missed: None, ..facts.clone() };
            let same = Same::of(facts);
            let known = self.attachments.get(&same);
            let is_table = facts.link.0 == 0 && facts.hook == Hook::StructOps;
            let is_part = is_table && linked_tables.contains(facts.target.as_slice());
            if is_part || known.is_some_and(BpfAttachment::is_part) {
                attachment.link_type = link_type::STRUCT_OPS;
            }
            if known.is_none() && !settled(&same, false) {
                continue;
            }
            let key = known.map_or(self.next_key, |known| known.key);
            let is_news = known.is_none() && !attachment.is_part();
            let news = is_news && (self.whole || self.is_later(facts));
            let described = BpfAttachment { key, news, ..attachment };
            if known.is_some_and(|known| BpfAttachment { news: described.news, ..known.clone() } == described) {
                continue;
            }
            self.next_key += u32::from(known.is_none());
            HostFrame::BpfAttachment(described.clone()).push(to, batch);
            self.attachments.insert(same, described);
        }
        self.unsettled = unsettled;
        whole && steady
    }
}

fn no_holders(object: Object) -> BpfHolders {
    match object {
        Object::Program(program) => BpfHolders { program, ..BpfHolders::default() },
        Object::Link(link) => BpfHolders { link, ..BpfHolders::default() },
    }
}

/// The way in which a program with this number in [`BpfProgram::unknown`] was examined, as in events.
pub(crate) fn scan_of(unknown: u8) -> u8 {
    match unknown {
        0 => scan::WHOLE,
        1 => scan::NO_ADDRESSES,
        3 => scan::CUT,
        6 => scan::TAIL_CALL,
        _ => scan::NONE,
    }
}

/// The number in [`BpfProgram::unknown`] for a program that was examined in this way when it was loaded.
pub(crate) fn unknown_of(scan: u8) -> u8 {
    match scan {
        scan::WHOLE => 0,
        scan::NO_ADDRESSES => 1,
        scan::CUT => 3,
        scan::TAIL_CALL => 6,
        // The program was unloaded before it could be read.
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::{HeldBy, Holder, InterfaceScope};
    use crate::frame::host::BpfHolder;
    use tracetui_shared::id::Tgid;

    fn frames_of(described: &mut Described, inventory: &Inventory) -> Vec<String> {
        let mut batch = Batch::default();
        described.update(inventory, true, (BootNanos(1), BootNanos(2)), &mut batch);
        shown(&batch)
    }

    fn shown(batch: &Batch) -> Vec<String> {
        let show = |frame| match HostFrame::decode(&frame) {
            Some(HostFrame::BpfProgram(program)) => format!("+{}", program.id.0),
            Some(HostFrame::BpfProgramGone(program)) => format!("-{}", program.id.0),
            Some(HostFrame::BpfAttachment(a)) if a.gone => format!("-#{} {}", a.key, a.news),
            Some(HostFrame::BpfAttachment(a)) => format!("+#{} {} {}", a.key, a.program.0, a.news),
            Some(HostFrame::BpfHolders(all)) => {
                let by =
                    all.holders.iter().map(|holder| format!(" {}:{}:{}", holder.by as u8, holder.pid.0, holder.fd));
                format!("held {}/{} {}{}", all.program.0, all.link.0, all.count, by.collect::<String>())
            }
            Some(HostFrame::BpfRuns(runs)) => {
                format!("ran {} {} {} {}", runs.id.0, runs.count, runs.time, runs.skipped)
            }
            Some(HostFrame::BpfInventory(all)) => format!("={} {} {}", all.programs, all.attachments, all.whole),
            other => format!("{other:?}"),
        };
        batch.frames().map(show).collect()
    }

    #[test]
    fn the_first_inventory_is_whole_and_later_ones_are_what_changed() {
        let of = |id| BpfProgram { id: ProgId(id), ..BpfProgram::default() };
        let on = |program, link: Option<u32>| BpfAttachment {
            program: ProgId(program),
            link: LinkId(link.unwrap_or_default()),
            link_type: link.map_or(0, |_| 1),
            ..BpfAttachment::default()
        };
        let mut known = Described::since(LinkId(7), ProgId(9));
        let first = Inventory {
            programs: vec![of(1), of(2)],
            attachments: vec![on(1, Some(7)), on(2, None)],
            ..Inventory::default()
        };
        assert_eq!(frames_of(&mut known, &first), ["+1", "+2", "+#0 1 false", "+#1 2 false", "=2 2 true"]);
        assert_eq!(frames_of(&mut known, &first), ["=2 2 false"]);
        let mut next = first.clone();
        next.programs = vec![of(2), of(3)];
        next.attachments = vec![on(2, Some(7)), on(3, Some(8))];
        let changes = frames_of(&mut known, &next);
        assert_eq!(changes, ["+3", "-#1 true", "+#0 2 false", "+#2 3 true", "-1", "=2 2 false"]);
        next.attachments = vec![];
        next.unseen = vec![Unseen { what: "processes", why: String::new(), remedy: "" }];
        next.attachments = vec![on(2, None)];
        let gone = ["-#0 true", "-#2 true", "+#3 2 true", "=2 1 false"];
        assert_eq!(frames_of(&mut known, &next), gone, "links are gone");
        next.attachments = vec![];
        assert_eq!(frames_of(&mut known, &next), ["=2 1 false"], "it may be in what could not be read");
        next.unseen = vec![];
        let mut batch = Batch::default();
        known.update(&next, false, (BootNanos(1), BootNanos(2)), &mut batch);
        next.attachments = vec![on(2, None), on(3, None)];
        known.update(&next, false, (BootNanos(1), BootNanos(2)), &mut batch);
        assert_eq!(batch.frames().count(), 2, "a link may explain them");
        next.attachments = vec![on(2, None)];
        let mut unsteady = |next: &Inventory| {
            let mut batch = Batch::default();
            known.update(next, false, (BootNanos(1), BootNanos(2)), &mut batch);
            batch.frames().count() - 1
        };
        assert_eq!(unsteady(&next), 0, "it was there");
        next.attachments = vec![on(2, None), on(3, None), on(4, None)];
        assert_eq!([unsteady(&next), unsteady(&next)], [0, 2], "links that come and go do not hide them");
        next.attachments = vec![on(2, None), on(3, None)];
        assert_eq!([unsteady(&next), unsteady(&next)], [0, 1], "nor an end");
        next.attachments = vec![];
        next.unseen = vec![Unseen { what: LINKS, why: String::new(), remedy: "" }];
        assert_eq!(frames_of(&mut known, &next), ["-#3 true", "-#4 true", "=2 0 false"], "no link hides these");
        next.unseen = vec![];
        next.attachments = vec![on(3, Some(9))];
        assert_eq!(frames_of(&mut known, &next), ["+#6 3 true", "=2 1 false"]);
        next.attachments[0].detached = true;
        assert_eq!(frames_of(&mut known, &next), ["-#6 true", "=2 0 false"], "its holder keeps the link");
        next.attachments = vec![];
        assert_eq!(frames_of(&mut known, &next), ["=2 0 false"]);
        // An interface is known by its number and namespace.
        let of = |id| BpfProgram { id: ProgId(id), ..BpfProgram::default() };
        let on = |name: &str, netns| BpfAttachment {
            program: ProgId(1),
            target: name.into(),
            ifindex: Some(1),
            netns: Some(NsInum(netns)),
            ..BpfAttachment::default()
        };
        let mut known = Described::since(LinkId(0), ProgId(99));
        let first = Inventory { programs: vec![of(1)], attachments: vec![on("lo", 7)], ..Inventory::default() };
        assert_eq!(frames_of(&mut known, &first), ["+1", "+#0 1 false", "=1 1 true"]);
        let mut next = first.clone();
        next.attachments = vec![on("lo", 7), on("lo", 8)];
        assert_eq!(frames_of(&mut known, &next), ["+#1 1 true", "=1 2 false"], "another namespace");
        next.attachments = vec![on("lo", 7), on("renamed", 8)];
        assert_eq!(frames_of(&mut known, &next), ["+#1 1 false", "=1 2 false"], "the same one");
    }

    #[test]
    fn the_functions_of_a_linked_table_make_no_events() {
        let on = |link: Option<u32>, target: &[u8]| BpfAttachment {
            hook: Hook::StructOps,
            link: LinkId(link.unwrap_or_default()),
            link_type: link.map_or(0, |_| 9),
            target: target.to_vec(),
            ..BpfAttachment::default()
        };
        let mut known = Described::default();
        frames_of(&mut known, &Inventory::default());
        let attachments = vec![on(Some(1), b"a map 1"), on(None, b"a map 1"), on(None, b"b map 2")];
        let tables = Inventory { attachments, ..Inventory::default() };
        assert_eq!(frames_of(&mut known, &tables), ["+#0 0 true", "+#1 0 false", "+#2 0 true", "=0 3 false"]);
        let left = Inventory { attachments: vec![on(None, b"a map 1")], ..Inventory::default() };
        assert_eq!(frames_of(&mut known, &left), ["-#0 true", "-#2 true", "=0 1 false"], "the link goes first");
        assert_eq!(frames_of(&mut known, &Inventory::default()), ["-#1 false", "=0 0 false"]);
        // A link that could not be read has not ended.
        let on = |link| BpfAttachment { link: LinkId(link), link_type: 1, ..BpfAttachment::default() };
        let mut known = Described::default();
        let first = Inventory { attachments: vec![on(1), on(2)], ..Inventory::default() };
        frames_of(&mut known, &first);
        let unread_links = HashSet::from_iter([LinkId(2)]);
        let unseen = vec![Unseen { what: LINKS, why: String::new(), remedy: "" }];
        let next = Inventory { unread_links, unseen, ..Inventory::default() };
        assert_eq!(frames_of(&mut known, &next), ["-#0 true", "=0 1 false"]);
        assert_eq!(frames_of(&mut known, &Inventory::default()), ["-#1 true", "=0 0 false"]);
    }

    #[test]
    fn notifications_count_and_change_their_part_of_an_interface() {
        let on = |program| BpfAttachment {
            program: ProgId(program),
            via: Via::Netlink,
            ifindex: Some(1),
            netns: Some(NsInum(7)),
            ..BpfAttachment::default()
        };
        let mut known = Described::since(LinkId(0), ProgId(5));
        let frames = |known: &mut Described, programs: &[u32]| {
            let mut batch = Batch::default();
            let programs = programs.iter().copied().map(on).collect();
            let part = InterfacePart { netns: NsInum(7), ifindex: 1, scope: InterfaceScope::All, programs };
            known.change(&part, BootNanos(2), &mut batch);
            batch.frames().count()
        };
        assert_eq!([frames(&mut known, &[5]), frames(&mut known, &[5, 6]), frames(&mut known, &[5])], [0, 1, 1]);
        assert_eq!(frames(&mut known, &[6]), 1);
        assert_eq!(frames(&mut known, &[6, 8]), 1);
        let inventory = Inventory { attachments: vec![on(5), on(6), on(7)], ..Inventory::default() };
        assert_eq!(frames_of(&mut known, &inventory), ["-#2 true", "+#3 5 false", "+#4 7 true", "=0 3 true"]);
        // With the attachments at the start: 1, and 2, which may be of a link.
        let mut known = Described::since(LinkId(0), ProgId(5));
        let mut batch = Batch::default();
        known.begin(NsInum(7), vec![&on(1)], vec![&on(2)], BootNanos(1), &mut batch);
        assert_eq!(shown(&batch), ["+#0 1 false"]);
        assert_eq!([frames(&mut known, &[1, 2]), frames(&mut known, &[2]), frames(&mut known, &[1])], [0, 1, 1]);
        let elsewhere = BpfAttachment { netns: Some(NsInum(8)), ..on(4) };
        let inventory = Inventory { attachments: vec![on(1), on(2), on(3), elsewhere], ..Inventory::default() };
        assert_eq!(frames_of(&mut known, &inventory), ["+#2 2 false", "+#3 3 true", "+#4 4 false", "=0 4 true"]);
        // A notification changes its part of an interface.
        let of = |program, hook, flags: &str| BpfAttachment {
            program: ProgId(program),
            via: Via::Netlink,
            hook,
            ifindex: Some(2),
            netns: Some(NsInum(7)),
            flags: flags.into(),
            ..BpfAttachment::default()
        };
        let of_handle = |place: &str, number: &str| InterfaceScope::Filters {
            places: vec![place.into()],
            number: Some(number.into()),
            any_handle: false,
        };
        let filters = |place: &str, number: Option<&str>| InterfaceScope::Filters {
            places: vec![place.into()],
            number: number.map(Into::into),
            any_handle: true,
        };
        let mut known = Described::since(LinkId(0), ProgId(99));
        let mut change = |part, programs: &[BpfAttachment]| {
            let part = InterfacePart { netns: NsInum(7), ifindex: 2, scope: part, programs: programs.to_vec() };
            let (changed, mut batch) = (known.is_changed(&part), Batch::default());
            known.change(&part, BootNanos(2), &mut batch);
            let frames = shown(&batch);
            assert_eq!(changed, !frames.is_empty() || !known.whole);
            if !known.whole {
                known.update(&Inventory::default(), true, (BootNanos(1), BootNanos(2)), &mut batch);
            }
            frames
        };
        let xdp = Hook::Type(37);
        let [one, two] = [1, 2].map(|program| of(program, xdp, "native"));
        assert_eq!(change(InterfaceScope::Xdp, std::slice::from_ref(&one)), [""; 0], "before the first inventory");
        assert_eq!(change(InterfaceScope::Xdp, std::slice::from_ref(&one)), ["+#0 1 true"]);
        assert_eq!(change(InterfaceScope::Xdp, std::slice::from_ref(&one)), [""; 0]);
        assert_eq!(change(InterfaceScope::Xdp, std::slice::from_ref(&two)), ["-#0 true", "+#1 2 true"]);
        let first = of(3, Hook::Tc, "ingress direct-action prio 1");
        assert_eq!(change(filters("ingress", Some(" prio 1")), std::slice::from_ref(&first)), ["+#2 3 true"]);
        let second = of(4, Hook::Tc, "ingress prio 1 handle 0x2");
        assert_eq!(change(filters("ingress", Some(" prio 1 handle 0x2")), &[second]), ["+#3 4 true"]);
        assert_eq!(change(filters("egress", Some(" prio 1")), &[]), [""; 0]);
        assert_eq!(change(filters("ingress", Some(" prio 1 handle 0x20")), &[]), [""; 0]);
        assert_eq!(change(of_handle("ingress", " prio 1"), std::slice::from_ref(&first)), [""; 0], "another handle");
        assert_eq!(change(filters("ingress", Some(" prio 1")), &[]), ["-#2 true", "-#3 true"]);
        let again = of(5, Hook::Tc, "ingress action prio 2 chain 3");
        assert_eq!(change(filters("ingress", Some(" prio 2 chain 3")), &[again]), ["+#4 5 true"]);
        assert_eq!(change(filters("ingress", None), &[]), ["-#4 true"], "the qdisc");
        assert_eq!(change(InterfaceScope::All, &[]), ["-#1 true"]);
    }

    #[test]
    fn holders_and_runs_are_reported_when_they_change() {
        let by = |object, fd| Holder { object, by: BpfHolder::process(HeldBy::Process, Tgid(7), b"x".to_vec(), fd) };
        let (program, link) = (Object::Program(ProgId(1)), Object::Link(LinkId(5)));
        let of = |id| BpfProgram { id: ProgId(id), ..BpfProgram::default() };
        let ran = |count| HashMap::from_iter([(ProgId(2), BpfRuns { id: ProgId(2), count, ..BpfRuns::default() })]);
        let mut inventory = Inventory {
            programs: vec![of(1), of(2)],
            runs: ran(9),
            holders: vec![by(program, 3), by(link, 4), by(program, 5)],
            ..Inventory::default()
        };
        let mut known = Described::since(LinkId(0), ProgId(99));
        let first = frames_of(&mut known, &inventory);
        assert_eq!(first, ["+1", "+2", "held 1/0 2 0:7:3 0:7:5", "held 0/5 1 0:7:4", "ran 2 9 0 0", "=2 0 true"]);
        assert_eq!(frames_of(&mut known, &inventory), ["=2 0 false"]);
        inventory.holders = vec![Holder { object: program, by: BpfHolder::pin(b"/x".to_vec()) }];
        inventory.runs = ran(10);
        let next = frames_of(&mut known, &inventory);
        assert_eq!(next, ["held 1/0 1 2:0:0", "held 0/5 0", "ran 2 10 0 0", "=2 0 false"]);
        inventory.holders = vec![];
        inventory.programs.remove(0);
        assert_eq!(frames_of(&mut known, &inventory), ["-1", "=1 0 false"], "its end says it");
        let many = limits::BPF_HOLDERS_KEPT as u32 + 1;
        inventory.holders = (0..many).map(|fd| by(link, fd)).collect();
        let mut batch = Batch::default();
        known.update(&inventory, true, (BootNanos(1), BootNanos(2)), &mut batch);
        let Some(HostFrame::BpfHolders(held)) = batch.frames().next().and_then(|frame| HostFrame::decode(&frame))
        else {
            panic!("the holders")
        };
        assert_eq!((held.count, held.holders.len()), (many, limits::BPF_HOLDERS_KEPT));
    }
}
