//! Writes an [`Inventory`] as host frames: the whole inventory at first, then the changes.

use super::{
    AttachFacts, HeldBy, HelperCalls, Hidden, Hook, InterfacePart, Inventory, LINKS, Link, NotScanned, Object, PINS,
    ProgramFacts, Unseen, VIEWS, Via, View,
};
use crate::frame::Batch;
use crate::frame::host::{
    BpfAttachment, BpfCounted, BpfHidden, BpfHolder, BpfHolders, BpfInventory, BpfProgram, BpfProgramGone, BpfRuns,
    HostFrame,
};
use crate::limits;
use foldhash::{HashMap, HashSet};
use std::collections::BTreeMap;
use tracetui_shared::id::{CgroupId, KernelAddr, LinkId, NsInum, ProgId};
use tracetui_shared::record::bpf::scan;
use tracetui_shared::time::BootNanos;

/// The numbers of [`BpfAttachment::hook`], the hook of an attachment. 0: the kernel does not report it.
pub mod hook {
    pub(crate) const TYPE: u8 = 1;
    pub const KPROBE: u8 = 2;
    pub(crate) const KRETPROBE: u8 = 3;
    pub const UPROBE: u8 = 4;
    pub(crate) const URETPROBE: u8 = 5;
    pub const TRACEPOINT: u8 = 6;
    pub const RAW_TRACEPOINT: u8 = 7;
    pub(crate) const REUSEPORT: u8 = 17;
}

fn program(facts: &ProgramFacts) -> BpfProgram {
    BpfProgram {
        id: facts.id,
        prog_type: facts.prog_type,
        name: facts.name.clone(),
        tag: facts.tag,
        uid: facts.uid,
        loaded: facts.loaded,
        jited_len: facts.jited_len,
        xlated_len: facts.xlated_len,
        addr: facts.addresses.first().copied().unwrap_or_default(),
        unknown: facts.calls.unknown.map_or(0, |why| why as u8),
        own: facts.own,
        helpers: facts.calls.helpers,
        kfuncs: facts.kfuncs.clone(),
        maps: facts.maps.clone(),
    }
}

fn attachment(facts: &AttachFacts) -> BpfAttachment {
    let (hook, attach_type) = facts.hook.numbers();
    let link = facts.link.unwrap_or_default();
    BpfAttachment {
        program: facts.program,
        link: link.id,
        link_type: link.link_type,
        via: facts.via as u8,
        hook,
        attach_type,
        target: facts.target.clone(),
        symbol: facts.symbol.clone(),
        offset: facts.offset,
        addr: facts.addr.unwrap_or_default(),
        module: facts.module.clone(),
        multi: facts.multi,
        cookie: facts.cookie,
        ifindex: facts.ifindex,
        netns: facts.netns,
        only: facts.only,
        flags: facts.flags.clone(),
        cgroup: facts.cgroup,
        event: facts.event,
        ..BpfAttachment::default()
    }
}

fn some<T: PartialEq + Default + Copy>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

impl From<&BpfProgram> for ProgramFacts {
    fn from(frame: &BpfProgram) -> ProgramFacts {
        ProgramFacts {
            id: frame.id,
            prog_type: frame.prog_type,
            name: frame.name.clone(),
            tag: frame.tag,
            uid: frame.uid,
            loaded: frame.loaded,
            jited_len: frame.jited_len,
            xlated_len: frame.xlated_len,
            addresses: some(frame.addr).into_iter().collect(),
            calls: HelperCalls {
                helpers: frame.helpers,
                unknown: (frame.unknown != 0).then(|| NotScanned::of(frame.unknown).unwrap_or(NotScanned::Withheld)),
            },
            kfuncs: frame.kfuncs.clone(),
            maps: frame.maps.clone(),
            own: frame.own,
            ..ProgramFacts::default()
        }
    }
}

impl From<&BpfAttachment> for AttachFacts {
    fn from(frame: &BpfAttachment) -> AttachFacts {
        AttachFacts {
            program: frame.program,
            link: some(frame.link).map(|id| Link { id, link_type: frame.link_type }),
            via: Via::of(frame.via).unwrap_or_default(),
            hook: Hook::of(frame.hook, frame.attach_type),
            target: frame.target.clone(),
            symbol: frame.symbol.clone(),
            offset: frame.offset,
            addr: some(frame.addr),
            module: frame.module.clone(),
            multi: frame.multi,
            cookie: frame.cookie,
            ifindex: frame.ifindex,
            netns: frame.netns,
            missed: None,
            only: frame.only,
            // The target has them.
            map: None,
            index: None,
            flags: frame.flags.clone(),
            cgroup: frame.cgroup,
            event: frame.event,
            // Detached attachments are left out of the frames.
            detached: false,
        }
    }
}

impl From<&BpfHolder> for HeldBy {
    fn from(frame: &BpfHolder) -> HeldBy {
        let BpfHolder { pid, comm, fd, path, .. } = frame.clone();
        match frame.by {
            0 => HeldBy::Process { pid, comm, fd },
            1 => HeldBy::Perf { pid, comm, fd },
            3 => HeldBy::Socket { pid, comm, fd },
            _ => HeldBy::Pin(path),
        }
    }
}

impl From<&BpfHidden> for Hidden {
    fn from(frame: &BpfHidden) -> Hidden {
        Hidden {
            id: some(frame.id),
            link: some(frame.link).map(|id| Link { id, link_type: frame.link_type }),
            name: frame.name.clone(),
            seen_by: View::of(frame.seen_by).unwrap_or_default(),
            missing_in: View::of(frame.missing_in).unwrap_or_default(),
        }
    }
}

/// The identity of an attachment across inventories: its link, or else all its known properties.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Same {
    Link(LinkId),
    Place(ProgId, u8, (u8, u32), Where, Option<u64>, KernelAddr, Vec<u8>),
}

/// The place of an attachment: the number and namespace of an interface, because its name may change, the cgroup, because another one
/// may get its path, the perf event, because many have one name, or else the target.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Where {
    Interface(u32, Option<NsInum>),
    Cgroup(CgroupId),
    Event(u32),
    Target(Vec<u8>),
}

impl Same {
    fn of(attachment: &BpfAttachment) -> Same {
        match attachment.link {
            LinkId(0) => Same::Place(
                attachment.program,
                attachment.via,
                (attachment.hook, attachment.attach_type),
                match attachment.ifindex {
                    Some(index) => Where::Interface(index, attachment.netns),
                    None if attachment.cgroup.0 != 0 => Where::Cgroup(attachment.cgroup),
                    None if attachment.event != 0 => Where::Event(attachment.event),
                    None => Where::Target(attachment.target.clone()),
                },
                attachment.offset,
                attachment.addr,
                attachment.flags.clone(),
            ),
            link => Same::Link(link),
        }
    }
}

#[derive(Default)]
pub struct Described {
    programs: BTreeMap<ProgId, BpfProgram>,
    attachments: HashMap<Same, BpfAttachment>,
    /// The changes in an inventory during which links came or went: attachments without a link that appeared or ended.
    unsettled: HashSet<(Same, bool)>,
    hidden: HashSet<BpfHiddenKey>,
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

type BpfHiddenKey = (Option<ProgId>, Option<LinkId>, View);

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
        attached: Vec<&AttachFacts>,
        of_links: Vec<&AttachFacts>,
        at: BootNanos,
        batch: &mut Batch,
    ) {
        self.begun = Some((netns, of_links.into_iter().map(|facts| Same::of(&attachment(facts))).collect()));
        attached.into_iter().for_each(|facts| self.add(attachment(facts), false, at, batch));
    }

    /// Whether an attachment was made after the start. A call reports those to older programs, unless netlink makes them.
    fn is_later(&self, facts: &AttachFacts) -> bool {
        let (last, newest) = self.start;
        let is_begun = |(netns, of_links): &(NsInum, HashSet<Same>)| {
            facts.via == Via::Netlink
                && facts.netns == Some(*netns)
                && !of_links.contains(&Same::of(&attachment(facts)))
        };
        let without_link = || facts.program > newest || self.begun.as_ref().is_some_and(is_begun);
        facts.link.map_or_else(without_link, |link| link.id > last)
    }

    /// Appends an attachment that is not listed yet.
    fn add(&mut self, attachment: BpfAttachment, news: bool, at: BootNanos, batch: &mut Batch) {
        let same = Same::of(&attachment);
        let described = BpfAttachment { key: self.next_key, news, ..attachment };
        self.next_key += 1;
        HostFrame::BpfAttachment(described.clone()).push(at, batch);
        self.attachments.insert(same, described);
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
        let now: BTreeMap<_, _> = inventory.programs.iter().map(|facts| (facts.id, program(facts))).collect();
        for (id, program) in &now {
            if self.programs.get(id) != Some(program) {
                HostFrame::BpfProgram(program.clone()).push(to, batch);
            }
        }
        let complete = self.attachments(inventory, steady, to, batch);
        for hidden in &inventory.hidden {
            let link = hidden.link.map(|link| link.id);
            if self.hidden.insert((hidden.id, link, hidden.missing_in)) {
                HostFrame::BpfHidden(hidden_frame(hidden)).push(to, batch);
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
    pub fn add_program(&mut self, facts: &ProgramFacts, at: BootNanos, batch: &mut Batch) {
        let program = program(facts);
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
                all.holders.push(holder_frame(&holder.by));
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
        for program in &inventory.programs {
            self.ran(program.id, (program.run_count, program.run_time_ns, program.recursion_misses), to, batch);
        }
    }

    fn ran(&mut self, id: ProgId, (count, time, skipped): (u64, u64, u64), at: BootNanos, batch: &mut Batch) {
        let runs = BpfRuns { id, count, time, skipped };
        let none = BpfRuns { id, ..BpfRuns::default() };
        if *self.runs.get(&id).unwrap_or(&none) != runs {
            HostFrame::BpfRuns(runs.clone()).push(at, batch);
            self.runs.insert(id, runs);
        }
    }

    /// Appends the changed counters of all programs: runs, nanoseconds, and skips. If `read` is `None`, runs are no longer counted.
    pub fn count(
        &mut self,
        read: Option<impl Fn(ProgId) -> Option<(u64, u64, u64)>>,
        at: BootNanos,
        batch: &mut Batch,
    ) {
        let ids: Vec<ProgId> = self.programs.keys().copied().collect();
        for (id, counters) in ids.into_iter().filter_map(|id| Some((id, read.as_ref()?(id)?))) {
            self.ran(id, counters, at, batch);
        }
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

    pub fn lists(&self, facts: &AttachFacts) -> bool {
        self.attachments.contains_key(&Same::of(&attachment(facts)))
    }

    pub fn lists_program(&self, id: ProgId) -> bool {
        self.programs.contains_key(&id)
    }

    /// Appends what changed at a part of an interface. Before the first inventory, these are only attachments that are known to be
    /// newer than the trace.
    pub fn change(&mut self, part: &InterfacePart, at: BootNanos, batch: &mut Batch) {
        let counts = |facts: &&AttachFacts| self.whole || self.lists(facts) || self.is_later(facts);
        let now = part.programs.iter().filter(counts).map(attachment);
        let now: Vec<_> = now.map(|facts| (Same::of(&facts), facts)).collect();
        let is_gone =
            |(same, known): &(&Same, &BpfAttachment)| part.covers(known) && now.iter().all(|(now, _)| now != *same);
        let gone = self.attachments.iter().filter(is_gone).map(|(same, known)| (known.key, same.clone())).collect();
        self.remove(gone, true, at, batch);
        for (same, attachment) in now {
            if !self.attachments.contains_key(&same) {
                self.add(attachment, true, at, batch);
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
            let settled = steady || matches!(same, Same::Link(_)) || before.contains(&known);
            if !settled {
                unsettled.insert(known);
            }
            settled
        };
        let attached = || inventory.attachments.iter().filter(|facts| !facts.detached);
        let now: HashMap<_, _> = attached().map(attachment).map(|facts| (Same::of(&facts), facts)).collect();
        let linked_tables: HashSet<_> = now
            .values()
            .filter(|facts| facts.link.0 != 0 && is_table(facts))
            .map(|facts| facts.target.clone())
            .collect();
        let mut gone: Vec<_> = self.attachments.iter().filter(|(same, _)| !now.contains_key(*same)).collect();
        let may_be_gone = |same: &Same| match same {
            Same::Link(link) => !inventory.unread_links.contains(link),
            Same::Place(..) => whole,
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
            let mut attachment = attachment(facts);
            let same = Same::of(&attachment);
            let known = self.attachments.get(&same);
            let is_part = attachment.link.0 == 0 && is_table(&attachment) && linked_tables.contains(&attachment.target);
            if is_part || known.is_some_and(BpfAttachment::is_part) {
                attachment.link_type = LINK_TYPE_STRUCT_OPS;
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

/// Whether it is a table of functions of the kernel (struct_ops), or one of its functions.
fn is_table(facts: &BpfAttachment) -> bool {
    Hook::of(facts.hook, 0) == Hook::StructOps
}

/// `BPF_LINK_TYPE_STRUCT_OPS` (include/uapi/linux/bpf.h).
const LINK_TYPE_STRUCT_OPS: u32 = 9;

impl BpfAttachment {
    /// Whether it is a function of a table that has a link. Then the link makes the events.
    pub(crate) fn is_part(&self) -> bool {
        (self.link.0, self.link_type) == (0, LINK_TYPE_STRUCT_OPS)
    }
}

fn no_holders(object: Object) -> BpfHolders {
    match object {
        Object::Program(program) => BpfHolders { program, ..BpfHolders::default() },
        Object::Link(link) => BpfHolders { link, ..BpfHolders::default() },
    }
}

fn holder_frame(by: &HeldBy) -> BpfHolder {
    let (number, pid, comm, fd) = match by {
        HeldBy::Process { pid, comm, fd } => (0, pid, comm, fd),
        HeldBy::Perf { pid, comm, fd } => (1, pid, comm, fd),
        HeldBy::Socket { pid, comm, fd } => (3, pid, comm, fd),
        HeldBy::Pin(path) => return BpfHolder { by: 2, path: path.clone(), ..BpfHolder::default() },
    };
    BpfHolder { by: number, pid: *pid, comm: comm.clone(), fd: *fd, ..BpfHolder::default() }
}

fn hidden_frame(hidden: &Hidden) -> BpfHidden {
    let link = hidden.link.unwrap_or_default();
    BpfHidden {
        id: hidden.id.unwrap_or_default(),
        name: hidden.name.clone(),
        seen_by: hidden.seen_by as u8,
        missing_in: hidden.missing_in as u8,
        link: link.id,
        link_type: link.link_type,
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
    use crate::bpf::{Holder, Part};
    use crate::frame::host::BpfMap;
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
                let by = all.holders.iter().map(|holder| format!(" {}:{}:{}", holder.by, holder.pid.0, holder.fd));
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
    fn facts_come_back_from_their_frames() {
        for unknown in [None, Some(NotScanned::NotPermitted), Some(NotScanned::Withheld), Some(NotScanned::TailCall)] {
            let calls = HelperCalls { helpers: 5 | 1 << 40, unknown };
            let addresses = vec![KernelAddr(9)];
            let kfuncs = vec!["bpf_dynptr_from_skb".to_owned(), String::new()];
            let maps = vec![BpfMap { id: 3, map_type: 1, name: b"counts".to_vec(), max_entries: 10_240 }];
            let (id, own) = (ProgId(7), true);
            let facts = ProgramFacts { id, tag: 8, calls, kfuncs, maps, addresses, own, ..ProgramFacts::default() };
            assert_eq!(ProgramFacts::from(&program(&facts)), facts);
        }
        let hooks = [Hook::Unknown, Hook::Type(0), Hook::Kprobe, Hook::Kretprobe, Hook::Uprobe, Hook::Uretprobe];
        let others = [Hook::Tracepoint, Hook::RawTracepoint, Hook::PerfEvent, Hook::Freplace, Hook::Tc];
        for hook in hooks.into_iter().chain(others).chain([Hook::StructOps, Hook::Netfilter, Hook::ProgArray]) {
            for via in [Via::Link, Via::Ioctl, Via::ProgAttach, Via::Netlink, Via::Map] {
                let link = (via == Via::Link).then_some(Link { id: LinkId(4), link_type: 7 });
                let target = b"/usr/bin/bash".to_vec();
                let facts = AttachFacts { program: ProgId(7), link, via, hook, target, ..AttachFacts::default() };
                assert_eq!(AttachFacts::from(&attachment(&facts)), facts);
            }
        }
        let process = HeldBy::Process { pid: Tgid(1), comm: b"a".to_vec(), fd: 2 };
        let perf = HeldBy::Perf { pid: Tgid(1), comm: b"a".to_vec(), fd: 2 };
        let socket = HeldBy::Socket { pid: Tgid(1), comm: b"a".to_vec(), fd: 2 };
        for by in [process, perf, socket, HeldBy::Pin(b"/sys/fs/bpf/x".to_vec())] {
            assert_eq!(HeldBy::from(&holder_frame(&by)), by);
        }
        for seen_by in (0..=u8::MAX).filter_map(View::of) {
            let hidden = Hidden { id: Some(ProgId(7)), seen_by, missing_in: View::FdById, ..Hidden::default() };
            assert_eq!(Hidden::from(&hidden_frame(&hidden)), hidden);
        }
    }

    #[test]
    fn the_first_inventory_is_whole_and_later_ones_are_what_changed() {
        let of = |id| ProgramFacts { id: ProgId(id), ..ProgramFacts::default() };
        let on = |program, link: Option<u32>| AttachFacts {
            program: ProgId(program),
            link: link.map(|id| Link { id: LinkId(id), link_type: 1 }),
            ..AttachFacts::default()
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
    }

    #[test]
    fn the_functions_of_a_linked_table_make_no_events() {
        let on = |link: Option<u32>, target: &[u8]| AttachFacts {
            hook: Hook::StructOps,
            link: link.map(|id| Link { id: LinkId(id), link_type: 9 }),
            target: target.to_vec(),
            ..AttachFacts::default()
        };
        let mut known = Described::default();
        frames_of(&mut known, &Inventory::default());
        let attachments = vec![on(Some(1), b"a map 1"), on(None, b"a map 1"), on(None, b"b map 2")];
        let tables = Inventory { attachments, ..Inventory::default() };
        assert_eq!(frames_of(&mut known, &tables), ["+#0 0 true", "+#1 0 false", "+#2 0 true", "=0 3 false"]);
        let left = Inventory { attachments: vec![on(None, b"a map 1")], ..Inventory::default() };
        assert_eq!(frames_of(&mut known, &left), ["-#0 true", "-#2 true", "=0 1 false"], "the link goes first");
        assert_eq!(frames_of(&mut known, &Inventory::default()), ["-#1 false", "=0 0 false"]);
    }

    #[test]
    fn a_link_that_could_not_be_read_has_not_ended() {
        let on = |link| AttachFacts { link: Some(Link { id: LinkId(link), link_type: 1 }), ..AttachFacts::default() };
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
    fn notifications_before_the_first_inventory_count() {
        let on = |program| AttachFacts {
            program: ProgId(program),
            via: Via::Netlink,
            ifindex: Some(1),
            netns: Some(NsInum(7)),
            ..AttachFacts::default()
        };
        let mut known = Described::since(LinkId(0), ProgId(5));
        let frames = |known: &mut Described, programs: &[u32]| {
            let mut batch = Batch::default();
            let programs = programs.iter().copied().map(on).collect();
            let part = InterfacePart { netns: NsInum(7), ifindex: 1, part: Part::All, programs };
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
        let elsewhere = AttachFacts { netns: Some(NsInum(8)), ..on(4) };
        let inventory = Inventory { attachments: vec![on(1), on(2), on(3), elsewhere], ..Inventory::default() };
        assert_eq!(frames_of(&mut known, &inventory), ["+#2 2 false", "+#3 3 true", "+#4 4 false", "=0 4 true"]);
    }

    #[test]
    fn an_interface_is_known_by_its_number_and_namespace() {
        let of = |id| ProgramFacts { id: ProgId(id), ..ProgramFacts::default() };
        let on = |name: &str, netns| AttachFacts {
            program: ProgId(1),
            target: name.into(),
            ifindex: Some(1),
            netns: Some(NsInum(netns)),
            ..AttachFacts::default()
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
    fn a_notification_changes_its_part_of_an_interface() {
        let of = |program, hook, flags: &str| AttachFacts {
            program: ProgId(program),
            via: Via::Netlink,
            hook,
            ifindex: Some(2),
            netns: Some(NsInum(7)),
            flags: flags.into(),
            ..AttachFacts::default()
        };
        let of_handle = |place: &str, number: &str| Part::Filters {
            places: vec![place.into()],
            number: Some(number.into()),
            any_handle: false,
        };
        let filters = |place: &str, number: Option<&str>| Part::Filters {
            places: vec![place.into()],
            number: number.map(Into::into),
            any_handle: true,
        };
        let mut known = Described::since(LinkId(0), ProgId(99));
        let mut change = |part, programs: &[AttachFacts]| {
            let part = InterfacePart { netns: NsInum(7), ifindex: 2, part, programs: programs.to_vec() };
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
        assert_eq!(change(Part::Xdp, std::slice::from_ref(&one)), [""; 0], "before the first inventory");
        assert_eq!(change(Part::Xdp, std::slice::from_ref(&one)), ["+#0 1 true"]);
        assert_eq!(change(Part::Xdp, std::slice::from_ref(&one)), [""; 0]);
        assert_eq!(change(Part::Xdp, std::slice::from_ref(&two)), ["-#0 true", "+#1 2 true"]);
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
        assert_eq!(change(Part::All, &[]), ["-#1 true"]);
    }

    #[test]
    fn holders_and_runs_are_reported_when_they_change() {
        let by = |object, fd| Holder { object, by: HeldBy::Process { pid: Tgid(7), comm: b"x".to_vec(), fd } };
        let (program, link) = (Object::Program(ProgId(1)), Object::Link(LinkId(5)));
        let of = |id, run_count| ProgramFacts { id: ProgId(id), run_count, ..ProgramFacts::default() };
        let mut inventory = Inventory {
            programs: vec![of(1, 0), of(2, 9)],
            holders: vec![by(program, 3), by(link, 4), by(program, 5)],
            ..Inventory::default()
        };
        let mut known = Described::since(LinkId(0), ProgId(99));
        let first = frames_of(&mut known, &inventory);
        assert_eq!(first, ["+1", "+2", "held 1/0 2 0:7:3 0:7:5", "held 0/5 1 0:7:4", "ran 2 9 0 0", "=2 0 true"]);
        assert_eq!(frames_of(&mut known, &inventory), ["=2 0 false"]);
        inventory.holders = vec![Holder { object: program, by: HeldBy::Pin(b"/x".to_vec()) }];
        inventory.programs[1].run_count = 10;
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
