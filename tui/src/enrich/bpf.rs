//! The BPF programs and attachments that exist, by the inventory.

use crate::bpf::frames::unknown_of;
use crate::event::bpf::{Bpf, Made};
use crate::fifo::Fifo;
use crate::frame::Batch;
use crate::frame::host::{
    BpfAttachment, BpfCounted, BpfHidden, BpfHolder, BpfHolders, BpfInventory, BpfProgram, BpfProgramGone, BpfRuns,
    HostFrame,
};
use crate::frame::state::{BpfDoer, BpfLoad, BpfTold};
use crate::limits;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::{LinkId, ProgId, Tgid, Uid};
use tracetui_shared::record::bpf::BpfRecord;
use tracetui_shared::time::BootNanos;

/// The inventory as of the last frame. What does not fit is left out.
#[derive(Debug, Default)]
pub struct Programs {
    programs: BTreeMap<ProgId, BpfProgram>,
    attachments: BTreeMap<u32, BpfAttachment>,
    /// The keys of the attachments by links.
    links: BTreeMap<LinkId, u32>,
    /// The keys of the attachments of each program.
    of_program: BTreeSet<(ProgId, u32)>,
    hidden: Vec<BpfHidden>,
    holders: BTreeMap<(ProgId, LinkId), BpfHolders>,
    runs: BTreeMap<ProgId, Ran>,
    counting: Counting,
    taken: Option<BpfInventory>,
    /// Bytes of programs, attachments and runs.
    bytes: usize,
    /// Bytes of holders.
    holder_bytes: usize,
    /// Programs, attachments, runs and hidden ones for which there was no room.
    left_out: u64,
    gone: Gone,
    doers: Fifo<Made, BpfDoer>,
    told: Fifo<(ProgId, u8), BpfTold>,
    /// Where programs were attached by a link. The inventory has these links, unless they come and go between two.
    told_links: Fifo<ProgId, BpfTold>,
    loads: Fifo<ProgId, BpfLoad>,
    changes: u64,
}

/// The runs of a program.
#[derive(Debug)]
struct Ran {
    runs: BpfRuns,
    /// Runs and nanoseconds before the count of this number.
    before: (u64, u64),
    number: u64,
    /// Runs and nanoseconds of the last count, and its number, if more is known of a count that has not ended: an inventory reads the
    /// counters too.
    last: Option<(u64, (u64, u64))>,
}

impl Ran {
    /// Runs and nanoseconds of the count of this number; none without a frame of that count.
    fn during(&self, number: u64) -> (u64, u64) {
        let Ran { runs, before: (count, time), .. } = self;
        match self.last {
            _ if self.number == number => (runs.count.saturating_sub(*count), runs.time.saturating_sub(*time)),
            Some((last, ran)) if last == number => ran,
            _ => (0, 0),
        }
    }
}

/// The counts of runs.
#[derive(Debug, Default)]
struct Counting {
    /// How many there were.
    number: u64,
    /// When the last one was, if the kernel counts.
    at: Option<BootNanos>,
    /// The time between the last two, in nanoseconds.
    between_ns: Option<u64>,
}

/// How often a program ran between the last two counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Runs in a thousand seconds.
    pub milli_runs: u64,
    /// The mean time of a run, in nanoseconds; `None` if it did not run.
    pub mean_ns: Option<u64>,
}

/// What is gone, and what was known of it.
#[derive(Debug, Default)]
struct Gone {
    programs: BTreeMap<ProgId, Ended<BpfProgram>>,
    attachments: BTreeMap<u32, Ended<BpfAttachment>>,
    /// In the order in which they went.
    order: VecDeque<GoneId>,
    bytes: usize,
    forgotten: u64,
}

#[derive(Clone, Copy, Debug)]
enum GoneId {
    Program(ProgId),
    Attachment(u32),
}

/// A program or attachment that is gone.
#[derive(Clone, Debug)]
pub struct Ended<T> {
    /// What was known of it.
    pub facts: T,
    /// Since when it is gone: when a system call ended it, or an inventory did not have it any more.
    pub at: BootNanos,
    /// What held the program or the link at last.
    pub held: Option<BpfHolders>,
}

/// The mechanisms without a link: 1 to this number.
const VIAS: u8 = 3;

/// [`BpfDoer::via`] of a load.
const LOADED: u8 = u8::MAX;

/// What somebody made.
fn made(doer: &BpfDoer) -> Made {
    match (doer.link, doer.via) {
        (_, LOADED) => Made::Program(doer.program),
        (LinkId(0), via) => Made::Attached(doer.program, via),
        (link, _) => Made::Link(link),
    }
}

/// A program as the event of its load has it.
fn load_of(event: &Bpf<'_>, program: ProgId, time: BootNanos) -> BpfLoad {
    let BpfRecord { prog_type, tag, prog_uid, helpers, scan, .. } = event.record();
    BpfLoad {
        program,
        time,
        prog_type: if event.knows_type() { prog_type } else { u32::MAX },
        name: event.name().to_vec(),
        tag: u64::from_be_bytes(tag),
        uid: Uid(prog_uid),
        altering: helpers as u32,
        unknown: unknown_of(scan),
    }
}

fn bytes_of_program(program: &BpfProgram) -> usize {
    2 * size_of::<BpfProgram>() + program.name.len()
}

fn bytes_of_attachment(attachment: &BpfAttachment) -> usize {
    let BpfAttachment { target, symbol, module, flags, .. } = attachment;
    2 * (size_of::<BpfAttachment>() + size_of::<(ProgId, u32)>())
        + target.len()
        + symbol.len()
        + module.len()
        + flags.len()
}

fn bytes_of_holders(all: &BpfHolders) -> usize {
    let bytes = |holder: &BpfHolder| size_of::<BpfHolder>() + holder.comm.len() + holder.path.len();
    2 * size_of::<BpfHolders>() + all.holders.iter().map(bytes).sum::<usize>()
}

impl Gone {
    fn add_program(&mut self, id: ProgId, ended: Ended<BpfProgram>) {
        self.remove(GoneId::Program(id));
        self.bytes += bytes_of_program(&ended.facts) + ended.held.as_ref().map_or(0, bytes_of_holders);
        self.programs.insert(id, ended);
        self.added(GoneId::Program(id));
    }

    fn add_attachment(&mut self, key: u32, ended: Ended<BpfAttachment>) {
        self.remove(GoneId::Attachment(key));
        self.bytes += bytes_of_attachment(&ended.facts) + ended.held.as_ref().map_or(0, bytes_of_holders);
        self.attachments.insert(key, ended);
        self.added(GoneId::Attachment(key));
    }

    fn added(&mut self, id: GoneId) {
        self.bytes += size_of::<GoneId>();
        self.order.push_back(id);
        while self.bytes > limits::BPF_GONE
            && let Some(first) = self.order.pop_front()
        {
            self.bytes -= size_of::<GoneId>();
            self.forgotten += u64::from(self.remove(first));
        }
    }

    /// `false` if it was not there: an id came again, and went again.
    fn remove(&mut self, id: GoneId) -> bool {
        let (bytes, held) = match id {
            GoneId::Program(id) => match self.programs.remove(&id) {
                Some(ended) => (bytes_of_program(&ended.facts), ended.held),
                None => return false,
            },
            GoneId::Attachment(key) => match self.attachments.remove(&key) {
                Some(ended) => (bytes_of_attachment(&ended.facts), ended.held),
                None => return false,
            },
        };
        self.bytes -= bytes + held.as_ref().map_or(0, bytes_of_holders);
        true
    }

    fn write_state(&self, time: BootNanos, out: &mut Batch) {
        for id in &self.order {
            let (held, at) = match id {
                GoneId::Program(id) => {
                    let Some(Ended { facts, at, held }) = self.programs.get(id) else { continue };
                    HostFrame::BpfProgram(facts.clone()).push(time, out);
                    (held, at)
                }
                GoneId::Attachment(key) => {
                    let Some(Ended { facts, at, held }) = self.attachments.get(key) else { continue };
                    HostFrame::BpfAttachment(BpfAttachment { news: false, ..facts.clone() }).push(time, out);
                    (held, at)
                }
            };
            held.iter().for_each(|all| HostFrame::BpfHolders(all.clone()).push(time, out));
            match *id {
                GoneId::Program(id) => HostFrame::BpfProgramGone(BpfProgramGone { id }).push(*at, out),
                GoneId::Attachment(key) => {
                    HostFrame::BpfAttachment(BpfAttachment { key, gone: true, ..BpfAttachment::default() })
                        .push(*at, out);
                }
            }
        }
    }
}

impl Programs {
    /// A program.
    pub fn program(&self, id: ProgId) -> Option<&BpfProgram> {
        self.programs.get(&id)
    }

    /// All programs, by id.
    pub fn programs(&self) -> impl Iterator<Item = &BpfProgram> {
        self.programs.values()
    }

    /// All attachments, in the order in which they were found.
    pub fn attachments(&self) -> impl Iterator<Item = &BpfAttachment> {
        self.attachments.values()
    }

    /// An attachment, by its key.
    pub fn attachment(&self, key: u32) -> Option<&BpfAttachment> {
        self.attachments.get(&key)
    }

    /// The attachment by a link.
    pub fn attachment_of_link(&self, id: LinkId) -> Option<&BpfAttachment> {
        self.attachment(*self.links.get(&id)?)
    }

    /// The attachments of a program, in the order in which they were found.
    pub fn attachments_of(&self, id: ProgId) -> impl Iterator<Item = &BpfAttachment> {
        self.of_program.range((id, 0)..=(id, u32::MAX)).filter_map(|(_, key)| self.attachment(*key))
    }

    /// The programs that were found to be hidden, in the order in which they were found.
    pub fn hidden(&self) -> &[BpfHidden] {
        &self.hidden
    }

    /// What holds a program, besides its links.
    pub fn holders_of_program(&self, id: ProgId) -> Option<&BpfHolders> {
        self.holders.get(&(id, LinkId(0)))
    }

    /// What holds a link.
    pub fn holders_of_link(&self, id: LinkId) -> Option<&BpfHolders> {
        self.holders.get(&(ProgId(0), id))
    }

    /// How often a program ran, if that was counted.
    pub fn runs(&self, id: ProgId) -> Option<&BpfRuns> {
        self.runs.get(&id).map(|ran| &ran.runs)
    }

    /// How often a program runs, if runs are counted: between the last two counts. `None` if it was not there during all of that time.
    pub fn rate(&self, id: ProgId) -> Option<Rate> {
        let Counting { number, at: Some(at), between_ns: Some(between) } = self.counting else { return None };
        if self.program(id).is_some_and(|program| program.loaded.0 + between > at.0) {
            return None;
        }
        let (count, time) = self.runs.get(&id).map_or((0, 0), |ran| ran.during(number - 1));
        let milli_runs = u128::from(count) * 1_000_000_000_000 / u128::from(between);
        Some(Rate { milli_runs: u64::try_from(milli_runs).unwrap_or(u64::MAX), mean_ns: time.checked_div(count) })
    }

    /// Whether the kernel counts runs.
    pub fn counts_runs(&self) -> bool {
        self.counting.at.is_some()
    }

    /// When the last inventory was taken, and its numbers; `None` before the first one.
    pub fn taken(&self) -> Option<&BpfInventory> {
        self.taken.as_ref()
    }

    /// A program that is gone.
    pub fn gone_program(&self, id: ProgId) -> Option<&Ended<BpfProgram>> {
        self.gone.programs.get(&id)
    }

    /// An attachment that is gone.
    pub fn gone_attachment(&self, key: u32) -> Option<&Ended<BpfAttachment>> {
        self.gone.attachments.get(&key)
    }

    /// The programs that are gone, by id.
    pub fn gone_programs(&self) -> impl Iterator<Item = &Ended<BpfProgram>> {
        self.gone.programs.values()
    }

    /// The attachments that are gone, in the order in which they were found.
    pub fn gone_attachments(&self) -> impl Iterator<Item = &Ended<BpfAttachment>> {
        self.gone.attachments.values()
    }

    /// How many others were gone, and were forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.gone.forgotten
    }

    /// The number of changes so far: another one means that something changed.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        let hidden: usize = self.hidden.iter().map(|hidden| size_of::<BpfHidden>() + hidden.name.len()).sum();
        let of_events = self.doers.bytes() + self.told.bytes() + self.told_links.bytes() + self.loads.bytes();
        self.bytes + self.holder_bytes + hidden + self.gone.bytes + of_events
    }

    /// What the last inventory could not look at, and why.
    pub fn unseen(&self) -> &[String] {
        self.taken.as_ref().map_or(&[], |taken| &taken.unseen)
    }

    /// How often there was no room for a program or an attachment.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(super) fn restore_left_out(&mut self, count: u64) {
        self.left_out = count;
    }

    /// Takes room for something; `false` if there is not enough.
    fn take_room(&mut self, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= limits::BPF_INVENTORY;
        self.bytes += if fits { bytes } else { 0 };
        self.left_out += u64::from(!fits);
        fits
    }

    /// Who loaded a program, if that was seen.
    pub fn loader(&self, id: ProgId) -> Option<&BpfDoer> {
        self.doers.get(&Made::Program(id))
    }

    /// Who made an attachment, if that was seen. Of several without a link, by one mechanism and of one program, it is the last.
    pub fn attacher(&self, attachment: &BpfAttachment) -> Option<&BpfDoer> {
        self.doers.get(&match attachment.link {
            LinkId(0) => Made::Attached(attachment.program, attachment.via),
            link => Made::Link(link),
        })
    }

    /// Where a program was attached without a link, by the event of the call, if no detachment of it was seen.
    pub fn told(&self, id: ProgId) -> Option<&BpfTold> {
        let told = (1..=u8::MAX).take(VIAS.into()).filter_map(|via| self.told.get(&(id, via)));
        told.filter(|told| !told.place.is_empty()).max_by_key(|told| told.time)
    }

    /// Where a program that is gone was attached at last, by the event of the call.
    pub fn told_at_last(&self, id: ProgId) -> Option<&BpfTold> {
        self.told(id).into_iter().chain(self.told_links.get(&id)).max_by_key(|told| told.time)
    }

    /// Who attached it there, if that was seen.
    pub fn teller(&self, told: &BpfTold) -> Option<&BpfDoer> {
        self.doers.get(&Made::Attached(told.program, told.via))
    }

    /// All of these, the oldest first.
    pub(super) fn all_told(&self) -> impl Iterator<Item = &BpfTold> {
        let links = self.told_links.iter().map(|(_, told)| told);
        self.told.iter().map(|(_, told)| told).chain(links)
    }

    pub(super) fn add_told(&mut self, mut told: BpfTold) {
        told.place.truncate(limits::BPF_TOLD_PLACE);
        let bytes = Fifo::<(ProgId, u8), BpfTold>::ENTRY + told.place.len();
        match told.via {
            0 => self.told_links.insert(told.program, told, bytes),
            via => self.told.insert((told.program, via), told, bytes),
        }
        while self.told.evict(limits::BPF_DOERS, usize::MAX).is_some() {}
        while self.told_links.evict(limits::BPF_DOERS, usize::MAX).is_some() {}
    }

    /// The programs that were loaded, by the events, the oldest first.
    pub(super) fn loads(&self) -> impl Iterator<Item = &BpfLoad> {
        self.loads.iter().map(|(_, load)| load)
    }

    pub(super) fn add_load(&mut self, mut load: BpfLoad) {
        load.name.truncate(limits::BPF_HIDDEN_NAME);
        let bytes = Fifo::<ProgId, BpfLoad>::ENTRY + load.name.len();
        self.loads.insert(load.program, load, bytes);
        while self.loads.evict(limits::BPF_DOERS, usize::MAX).is_some() {}
    }

    /// Who made what, the oldest first.
    pub(super) fn doers(&self) -> impl Iterator<Item = &BpfDoer> {
        self.doers.iter().map(|(_, doer)| doer)
    }

    pub(super) fn add_doer(&mut self, doer: BpfDoer) {
        let bytes = Fifo::<Made, BpfDoer>::ENTRY + doer.comm.len();
        self.doers.insert(made(&doer), doer, bytes);
        while self.doers.evict(limits::BPF_DOERS, usize::MAX).is_some() {}
    }

    /// Records who loaded or attached a program. What an event ends is gone from then on; the inventory says so later.
    pub(super) fn apply(&mut self, event: &Bpf<'_>, header: &FrameHeader) {
        match event.ended() {
            Some(Made::Program(id)) => {
                self.meet(id);
                let keys: Vec<u32> = self.attachments_of(id).map(|attachment| attachment.key).collect();
                keys.into_iter().for_each(|key| self.end_attachment(key, header.time));
                self.end_program(id, header.time);
            }
            Some(Made::Link(link)) => {
                let key = self.links.get(&link).copied();
                key.into_iter().for_each(|key| self.end_attachment(key, header.time));
            }
            _ => {}
        }
        if let Some((program, via, place)) = event.told()
            && (!place.is_empty() || self.told.contains(&(program, via)))
        {
            self.changes += 1;
            self.add_told(BpfTold { program, via, time: header.time, place });
        }
        if let Some(Made::Program(id)) = event.made() {
            self.add_load(load_of(event, id, header.time));
        }
        let Some(made) = event.made().filter(|_| header.tgid != Tgid(0)) else { return };
        let (program, link, via) = match made {
            Made::Program(id) => (id, LinkId(0), LOADED),
            Made::Link(link) => (ProgId(0), link, 0),
            Made::Attached(id, via) => (id, LinkId(0), via),
        };
        self.changes += 1;
        self.add_doer(BpfDoer { program, link, via, tgid: header.tgid, comm: header.comm().to_vec() });
    }

    /// Adds a program that is unloaded and that no inventory contained, as the event of its load has it.
    fn meet(&mut self, id: ProgId) {
        let Some(load) = self.loads.get(&id) else { return };
        // The id may have been that of another one before.
        let met = self.programs.contains_key(&id) || self.gone_program(id).is_some_and(|gone| gone.at >= load.time);
        if !met {
            let BpfLoad { program: id, time: loaded, prog_type, ref name, tag, uid, altering, unknown } = *load;
            let name = name.clone();
            let facts = BpfProgram { id, prog_type, name, tag, uid, loaded, altering, unknown, ..Default::default() };
            self.add_program(facts);
        }
    }

    pub(super) fn add_program(&mut self, program: BpfProgram) {
        self.changes += 1;
        self.remove_program(program.id);
        let bytes = bytes_of_program(&program);
        if self.take_room(bytes) {
            self.programs.insert(program.id, program);
        }
    }

    fn remove_program(&mut self, id: ProgId) -> Option<BpfProgram> {
        let removed = self.programs.remove(&id);
        self.bytes -= removed.as_ref().map_or(0, bytes_of_program);
        removed
    }

    /// A program that is gone is not held, and does not run.
    pub(super) fn end_program(&mut self, id: ProgId, at: BootNanos) {
        self.changes += 1;
        self.remove_runs(id);
        let held = self.remove_holders((id, LinkId(0)));
        if let Some(facts) = self.remove_program(id) {
            self.gone.add_program(id, Ended { facts, at, held });
        }
    }

    fn remove_runs(&mut self, id: ProgId) {
        self.bytes -= self.runs.remove(&id).map_or(0, |_| 2 * size_of::<Ran>());
    }

    fn remove_holders(&mut self, of: (ProgId, LinkId)) -> Option<BpfHolders> {
        let removed = self.holders.remove(&of);
        self.holder_bytes -= removed.as_ref().map_or(0, bytes_of_holders);
        removed
    }

    pub(super) fn hold(&mut self, mut all: BpfHolders) {
        self.changes += 1;
        let of = (all.program, all.link);
        self.remove_holders(of);
        all.holders.truncate(limits::BPF_HOLDERS_KEPT);
        if self.holder_bytes + bytes_of_holders(&all) > limits::BPF_HOLDERS_BYTES {
            all.holders.clear();
        }
        let bytes = bytes_of_holders(&all);
        // Numbers alone may take as much again.
        if all.count > 0 && self.holder_bytes + bytes <= 2 * limits::BPF_HOLDERS_BYTES {
            self.holder_bytes += bytes;
            self.holders.insert(of, all);
        }
    }

    pub(super) fn add_runs(&mut self, runs: BpfRuns) {
        self.changes += 1;
        let number = self.counting.number;
        // Without an earlier frame there were none.
        let (before, last) = match self.runs.get(&runs.id) {
            Some(ran) if ran.number == number => (ran.before, ran.last),
            Some(ran) => ((ran.runs.count, ran.runs.time), Some((ran.number, ran.during(ran.number)))),
            None => ((0, 0), None),
        };
        self.remove_runs(runs.id);
        let bytes = 2 * size_of::<Ran>();
        if self.take_room(bytes) {
            self.runs.insert(runs.id, Ran { runs, before, number, last });
        }
    }

    pub(super) fn counted(&mut self, counted: &BpfCounted) {
        self.changes += 1;
        let last = self.counting.at.filter(|_| counted.on);
        let between_ns = last.map(|last| counted.at.since(last)).filter(|ns| *ns > 0);
        let at = counted.on.then_some(counted.at);
        self.counting = Counting { number: self.counting.number + 1, at, between_ns };
    }

    /// `at`: when it came or went.
    pub(super) fn change_attachment(&mut self, mut attachment: BpfAttachment, at: BootNanos) {
        self.changes += 1;
        let before = self.attachments.remove(&attachment.key);
        if let Some(before) = &before {
            self.bytes -= bytes_of_attachment(before);
            self.links.remove(&before.link);
            self.of_program.remove(&(before.program, before.key));
        }
        match before {
            Some(facts) if attachment.gone => {
                let held = self.remove_holders((ProgId(0), facts.link)).filter(|_| facts.link.0 != 0);
                self.gone.add_attachment(attachment.key, Ended { facts, at, held });
                return;
            }
            _ if attachment.gone => return,
            Some(known) => attachment.came = known.came,
            None if attachment.news => attachment.came = at,
            None => {}
        }
        let bytes = bytes_of_attachment(&attachment);
        if self.take_room(bytes) {
            if attachment.link.0 != 0 {
                self.links.insert(attachment.link, attachment.key);
            }
            self.of_program.insert((attachment.program, attachment.key));
            self.attachments.insert(attachment.key, attachment);
        }
    }

    fn end_attachment(&mut self, key: u32, at: BootNanos) {
        self.change_attachment(BpfAttachment { key, gone: true, ..BpfAttachment::default() }, at);
    }

    pub(super) fn hide(&mut self, mut hidden: BpfHidden) {
        self.changes += 1;
        hidden.name.truncate(limits::BPF_HIDDEN_NAME);
        match self.hidden.len() < limits::BPF_HIDDEN {
            true => self.hidden.push(hidden),
            false => self.left_out += 1,
        }
    }

    pub(super) fn take(&mut self, mut taken: BpfInventory) {
        // There are fewer ways to look.
        taken.unseen.truncate(limits::BPF_UNSEEN);
        taken.unseen.iter_mut().for_each(|text| text.truncate(text.floor_char_boundary(limits::BPF_UNSEEN_TEXT)));
        self.changes += 1;
        self.taken = Some(taken);
    }

    /// Appends it as frames, which are no news.
    pub(super) fn write_state(&self, time: BootNanos, out: &mut Batch) {
        // First: an id may have come again.
        self.gone.write_state(time, out);
        self.programs.values().for_each(|program| HostFrame::BpfProgram(program.clone()).push(time, out));
        for attachment in self.attachments.values() {
            HostFrame::BpfAttachment(BpfAttachment { news: false, ..attachment.clone() }).push(time, out);
        }
        self.hidden.iter().for_each(|hidden| HostFrame::BpfHidden(hidden.clone()).push(time, out));
        self.holders.values().for_each(|all| HostFrame::BpfHolders(all.clone()).push(time, out));
        self.runs.values().for_each(|ran| HostFrame::BpfRuns(ran.runs.clone()).push(time, out));
        self.taken.iter().for_each(|taken| HostFrame::BpfInventory(taken.clone()).push(time, out));
    }
}
