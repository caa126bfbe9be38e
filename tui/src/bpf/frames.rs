//! An [`Inventory`] as host frames: whole at first, then what differs from the one before.

use super::{AttachFacts, Hidden, Hook, Inventory, NotScanned, ProgramFacts, Unseen, Via};
use crate::frame::Batch;
use crate::frame::host::{BpfAttachment, BpfHidden, BpfInventory, BpfProgram, BpfProgramGone, HostFrame};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;
use tracetui_shared::id::{KernelAddr, LinkId, ProgId};
use tracetui_shared::time::BootNanos;

/// The numbers of [`BpfAttachment::hook`]: what it hangs on. 0: the kernel does not say.
pub(crate) mod hook {
    pub(crate) const TYPE: u8 = 1;
    pub(crate) const KPROBE: u8 = 2;
    pub(crate) const KRETPROBE: u8 = 3;
    pub(crate) const UPROBE: u8 = 4;
    pub(crate) const URETPROBE: u8 = 5;
    pub(crate) const TRACEPOINT: u8 = 6;
    pub(crate) const RAW_TRACEPOINT: u8 = 7;
    pub(crate) const PERF_EVENT: u8 = 8;
    pub(crate) const FREPLACE: u8 = 9;
    pub(crate) const TC: u8 = 10;
    pub(crate) const STRUCT_OPS: u8 = 11;
    pub(crate) const NETFILTER: u8 = 12;
}

/// The numbers of [`BpfAttachment::via`]: the index in [`crate::event::bpf::VIA`].
fn via(via: Via) -> u8 {
    match via {
        Via::Link => 0,
        Via::Ioctl => 1,
        Via::ProgAttach => 2,
        Via::Netlink => 3,
    }
}

fn hook_of(facts: &AttachFacts) -> (u8, u32) {
    match facts.hook {
        Hook::Unknown => (0, 0),
        Hook::Type(attach_type) => (hook::TYPE, attach_type),
        Hook::Kprobe => (hook::KPROBE, 0),
        Hook::Kretprobe => (hook::KRETPROBE, 0),
        Hook::Uprobe => (hook::UPROBE, 0),
        Hook::Uretprobe => (hook::URETPROBE, 0),
        Hook::Tracepoint => (hook::TRACEPOINT, 0),
        Hook::RawTracepoint => (hook::RAW_TRACEPOINT, 0),
        Hook::PerfEvent => (hook::PERF_EVENT, 0),
        Hook::Freplace => (hook::FREPLACE, 0),
        Hook::Tc => (hook::TC, 0),
        Hook::StructOps => (hook::STRUCT_OPS, 0),
        Hook::Netfilter => (hook::NETFILTER, 0),
    }
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
        altering: facts.calls.altering,
        unknown: match facts.calls.unknown {
            None => 0,
            Some(NotScanned::NotPermitted) => 1,
            Some(NotScanned::Withheld) => 2,
            Some(NotScanned::TooLong) => 3,
            Some(NotScanned::NoSymbols) => 4,
            Some(NotScanned::Vanished) => 5,
        },
        own: facts.own,
    }
}

fn attachment(facts: &AttachFacts) -> BpfAttachment {
    let (hook, attach_type) = hook_of(facts);
    let link = facts.link.unwrap_or_default();
    BpfAttachment {
        program: facts.program,
        link: link.id,
        link_type: link.link_type,
        via: via(facts.via),
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
        ..BpfAttachment::default()
    }
}

/// What an attachment is, from one inventory to the next: its link, or all that is known of it.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Same {
    Link(LinkId),
    Place(ProgId, u8, (u8, u32), Vec<u8>, Option<u64>, KernelAddr, Option<u32>, Vec<u8>),
}

impl Same {
    fn of(attachment: &BpfAttachment) -> Same {
        match attachment.link {
            LinkId(0) => Same::Place(
                attachment.program,
                attachment.via,
                (attachment.hook, attachment.attach_type),
                attachment.target.clone(),
                attachment.offset,
                attachment.addr,
                attachment.ifindex,
                attachment.flags.clone(),
            ),
            link => Same::Link(link),
        }
    }
}

/// The inventory as the frames so far describe it.
#[derive(Default)]
pub(crate) struct Described {
    programs: BTreeMap<ProgId, BpfProgram>,
    attachments: FxHashMap<Same, BpfAttachment>,
    hidden: FxHashSet<BpfHiddenKey>,
    /// What could not be looked at in the first inventory.
    unseen: FxHashSet<&'static str>,
    next_key: u32,
    whole: bool,
    /// The last link, and the time, at the start of the trace. What the first inventory has of later is news.
    start: (LinkId, BootNanos),
}

type BpfHiddenKey = (Option<ProgId>, Option<LinkId>, Option<KernelAddr>);

impl Described {
    /// Before the first frame. `last` is the last link that exists, and `now` the time.
    pub(crate) fn since(last: LinkId, now: BootNanos) -> Described {
        Described { start: (last, now), ..Described::default() }
    }

    /// Whether an attachment was made after the start, as far as its link or its program show.
    fn is_later(&self, facts: &AttachFacts, inventory: &Inventory) -> bool {
        let (last, start) = self.start;
        match facts.link {
            Some(link) => link.id > last,
            None => inventory.program(facts.program).is_some_and(|program| program.loaded > start),
        }
    }

    /// Appends what differs from the last inventory. New programs come first and those that are gone last, so that attachments can
    /// be described. `steady`: no link came or went while it was taken. Otherwise an attachment without a link may be one whose link
    /// came later than the links were read, so it is left for the next inventory.
    pub(crate) fn update(
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
        self.attachments(inventory, steady, to, batch);
        for hidden in &inventory.hidden {
            if self.hidden.insert((hidden.id, hidden.link.map(|link| link.id), hidden.addr)) {
                HostFrame::BpfHidden(hidden_frame(hidden)).push(to, batch);
            }
        }
        for id in self.programs.keys().filter(|id| !now.contains_key(id)) {
            HostFrame::BpfProgramGone(BpfProgramGone { id: *id }).push(to, batch);
        }
        self.programs = now;
        self.whole = true;
        let counts = (self.programs.len() as u32, self.attachments.len() as u32);
        let (programs, attachments) = counts;
        let vanished = inventory.vanished;
        HostFrame::BpfInventory(BpfInventory { from, to, whole: !news, programs, attachments, vanished })
            .push(to, batch);
    }

    /// Appends a program that came since.
    pub(crate) fn add_program(&mut self, facts: &ProgramFacts, at: BootNanos, batch: &mut Batch) {
        let program = program(facts);
        if self.programs.get(&program.id) != Some(&program) {
            HostFrame::BpfProgram(program.clone()).push(at, batch);
            self.programs.insert(program.id, program);
        }
    }

    fn attachments(&mut self, inventory: &Inventory, steady: bool, to: BootNanos, batch: &mut Batch) {
        let news = self.whole;
        let unseen = |unseen: &Unseen| unseen.what;
        if !news {
            self.unseen = inventory.unseen.iter().map(unseen).collect();
        }
        // What could not be looked at this time is not gone for that.
        let complete = steady && inventory.unseen.iter().map(unseen).all(|what| self.unseen.contains(what));
        let now: FxHashMap<_, _> = inventory.attachments.iter().map(attachment).map(|a| (Same::of(&a), a)).collect();
        let mut gone: Vec<_> = self.attachments.iter().filter(|(same, _)| !now.contains_key(same)).collect();
        gone.retain(|(same, _)| complete || matches!(same, Same::Link(_)));
        gone.sort_unstable_by_key(|(_, attachment)| attachment.key);
        let gone: Vec<_> = gone.into_iter().map(|(same, attachment)| (same.clone(), attachment.key)).collect();
        for (same, key) in gone {
            self.attachments.remove(&same);
            HostFrame::BpfAttachment(BpfAttachment { key, gone: true, news, ..BpfAttachment::default() })
                .push(to, batch);
        }
        // In the order of the inventory, so that equal inventories give equal frames.
        for facts in &inventory.attachments {
            let attachment = attachment(facts);
            let same = Same::of(&attachment);
            let known = self.attachments.get(&same);
            if known.is_none() && !steady && matches!(same, Same::Place(..)) {
                continue;
            }
            let key = known.map_or(self.next_key, |known| known.key);
            let news = known.is_none() && (self.whole || self.is_later(facts, inventory));
            let described = BpfAttachment { key, news, ..attachment };
            if known.is_some_and(|known| BpfAttachment { news: described.news, ..known.clone() } == described) {
                continue;
            }
            self.next_key += u32::from(known.is_none());
            HostFrame::BpfAttachment(described.clone()).push(to, batch);
            self.attachments.insert(same, described);
        }
    }
}

fn hidden_frame(hidden: &Hidden) -> BpfHidden {
    let link = hidden.link.unwrap_or_default();
    BpfHidden {
        id: hidden.id.unwrap_or_default(),
        addr: hidden.addr.unwrap_or_default(),
        name: hidden.name.clone(),
        seen_by: hidden.seen_by as u8,
        missing_in: hidden.missing_in as u8,
        link: link.id,
        link_type: link.link_type,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::Link;

    fn frames_of(described: &mut Described, inventory: &Inventory) -> Vec<String> {
        let mut batch = Batch::default();
        described.update(inventory, true, (BootNanos(1), BootNanos(2)), &mut batch);
        let show = |frame| match HostFrame::decode(&frame) {
            Some(HostFrame::BpfProgram(program)) => format!("+{}", program.id.0),
            Some(HostFrame::BpfProgramGone(program)) => format!("-{}", program.id.0),
            Some(HostFrame::BpfAttachment(a)) if a.gone => format!("-#{} {}", a.key, a.news),
            Some(HostFrame::BpfAttachment(a)) => format!("+#{} {} {}", a.key, a.program.0, a.news),
            Some(HostFrame::BpfInventory(all)) => format!("={} {} {}", all.programs, all.attachments, all.whole),
            other => format!("{other:?}"),
        };
        batch.frames().map(show).collect()
    }

    #[test]
    fn the_first_inventory_is_whole_and_later_ones_are_what_changed() {
        let of = |id| ProgramFacts { id: ProgId(id), ..ProgramFacts::default() };
        let on = |program, link: Option<u32>| AttachFacts {
            program: ProgId(program),
            link: link.map(|id| Link { id: LinkId(id), link_type: 1 }),
            ..AttachFacts::default()
        };
        let mut known = Described::since(LinkId(7), BootNanos(1));
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
        assert_eq!(
            frames_of(&mut known, &next),
            ["-#0 true", "-#2 true", "+#3 2 true", "=2 1 false"],
            "links are gone"
        );
        next.attachments = vec![];
        assert_eq!(frames_of(&mut known, &next), ["=2 1 false"], "it may be in what could not be read");
        next.unseen = vec![];
        let mut batch = Batch::default();
        known.update(&next, false, (BootNanos(1), BootNanos(2)), &mut batch);
        next.attachments = vec![on(2, None), on(3, None)];
        known.update(&next, false, (BootNanos(1), BootNanos(2)), &mut batch);
        assert_eq!(batch.frames().count(), 2, "a link may explain them");
        next.attachments = vec![];
        assert_eq!(frames_of(&mut known, &next), ["-#3 true", "=2 0 false"]);
    }
}
