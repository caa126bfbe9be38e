//! The existing BPF programs and attachments, according to the inventory.

use crate::bpf::frames::unknown_of;
use crate::event::Payload as _;
use crate::event::bpf::Bpf;
use crate::fifo::Fifo;
use crate::frame::Batch;
use crate::frame::host::{
    BpfAttachment, BpfCounted, BpfHidden, BpfHolder, BpfHolders, BpfInventory, BpfMap, BpfProgram, BpfProgramGone,
    BpfRuns, HostFrame,
};
use crate::frame::state::{BpfDoer, BpfMade};
use crate::limits;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use tracetui_shared::header::{FrameHeader, flag};
use tracetui_shared::id::{LinkId, ProgId, Tgid, Uid};
use tracetui_shared::record::bpf::BpfRecord;
use tracetui_shared::time::BootNanos;

/// The inventory as of the last frame. Entries that do not fit into memory are left out.
#[derive(Debug, Default)]
pub struct Programs {
    programs: BTreeMap<ProgId, BpfProgram>,
    attachments: BTreeMap<u32, BpfAttachment>,
    /// The keys of the attachments of each program.
    of_program: BTreeSet<(ProgId, u32)>,
    /// The hidden programs, in the order of discovery.
    pub hidden: Vec<BpfHidden>,
    holders: BTreeMap<(ProgId, LinkId), BpfHolders>,
    runs: BTreeMap<ProgId, BpfRuns>,
    counting: Counting,
    last_inventory: Option<BpfInventory>,
    /// Bytes of programs, attachments and runs.
    bytes: usize,
    holder_bytes: usize,
    /// How often a program or an attachment did not fit into memory.
    pub left_out: u64,
    gone_programs: Fifo<ProgId, Former<BpfProgram>>,
    gone_attachments: Fifo<u32, Former<BpfAttachment>>,
    /// The number of unloaded programs and ended attachments that were dropped for lack of memory.
    pub forgotten: u64,
    doers: Fifo<BpfMade, BpfDoer>,
    /// The programs as the events of their loads describe them.
    loads: Fifo<ProgId, BpfProgram>,
    /// The number of changes so far. If it differs from an earlier value, something changed.
    pub changes: u64,
}

#[derive(Debug, Default)]
struct Counting {
    /// The time of the last count; `None` if the kernel does not count.
    at: Option<BootNanos>,
    /// The time between the last two counts, in nanoseconds.
    between_ns: Option<u64>,
    /// The runs at the count before the last one, and at the last one.
    runs: [BTreeMap<ProgId, BpfRuns>; 2],
}

/// How often a program ran between the last two counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Runs in a thousand seconds.
    pub milli_runs: u64,
    /// The mean time of a run, in nanoseconds; `None` if it did not run.
    pub mean_ns: Option<u64>,
}

/// An unloaded program or an ended attachment.
#[derive(Clone, Debug)]
pub struct Former<T> {
    /// The last known facts.
    pub facts: T,
    /// The time of the end: that of the system call, or of the first inventory without it.
    pub at: BootNanos,
    /// The last holders of the program or the link.
    pub held: Option<BpfHolders>,
}

/// [`BpfProgram::prog_type`] of a program whose type no event shows.
pub(crate) const UNKNOWN_TYPE: u32 = u32::MAX;

fn program_of_load(event: &Bpf<'_>, id: ProgId, time: BootNanos) -> BpfProgram {
    let BpfRecord { prog_type, tag, prog_uid, helpers, scan, expected_attach_type: attach_type, .. } = event.record();
    BpfProgram {
        id,
        loaded: time,
        prog_type: if event.knows_type() { prog_type } else { UNKNOWN_TYPE },
        name: event.name().to_vec(),
        tag: u64::from_be_bytes(tag),
        uid: Uid(prog_uid),
        unknown: unknown_of(scan),
        helpers,
        attach_type,
        ..BpfProgram::default()
    }
}

/// Of a program: now, and at two counts.
const BYTES_OF_RUNS: usize = 3 * 2 * size_of::<BpfRuns>();

fn bytes_of_program(program: &BpfProgram) -> usize {
    2 * size_of::<BpfProgram>() + text_of_program(program)
}

/// Bytes of names and maps.
fn text_of_program(program: &BpfProgram) -> usize {
    let kfuncs: usize = program.kfuncs.iter().map(|name| size_of::<String>() + name.len()).sum();
    let maps: usize = program.maps.iter().map(|map| size_of::<BpfMap>() + map.name.len()).sum();
    program.name.len() + kfuncs + maps
}

fn bytes_of_attachment(attachment: &BpfAttachment) -> usize {
    2 * (size_of::<BpfAttachment>() + size_of::<(ProgId, u32)>()) + text_of_attachment(attachment)
}

fn text_of_attachment(BpfAttachment { target, symbol, module, flags, .. }: &BpfAttachment) -> usize {
    target.len() + symbol.len() + module.len() + flags.len()
}

fn bytes_of_holders(all: &BpfHolders) -> usize {
    let bytes = |holder: &BpfHolder| size_of::<BpfHolder>() + holder.comm.len() + holder.path.len();
    2 * size_of::<BpfHolders>() + all.holders.iter().map(bytes).sum::<usize>()
}

/// Adds an entry. `text`: the bytes of its texts. Returns how many old entries were removed to make room.
fn add_former<K: Copy + Eq + Hash, T>(to: &mut Fifo<K, Former<T>>, key: K, former: Former<T>, text: usize) -> u64 {
    let held = former.held.as_ref().map_or(0, bytes_of_holders);
    to.insert(key, former, Fifo::<K, Former<T>>::ENTRY + text + held);
    std::iter::from_fn(|| to.evict(usize::MAX, limits::BPF_GONE)).count() as u64
}

impl Programs {
    pub fn program(&self, id: ProgId) -> Option<&BpfProgram> {
        self.programs.get(&id)
    }

    /// A program that is loaded, or was: as an inventory listed it, or else as the event of its load reported it.
    pub(crate) fn known_program(&self, id: ProgId) -> Option<&BpfProgram> {
        let load = self.load(id);
        // The id may have belonged to another program before.
        let gone = || self.gone_program(id).filter(|gone| load.is_none_or(|load| gone.at >= load.loaded));
        self.program(id).or_else(|| gone().map(|gone| &gone.facts)).or(load)
    }

    /// A program as the event of its load describes it. If the type is unknown, it is [`UNKNOWN_TYPE`].
    pub(crate) fn load(&self, id: ProgId) -> Option<&BpfProgram> {
        self.loads.get(&id)
    }

    /// All programs, by id.
    pub fn programs(&self) -> impl Iterator<Item = &BpfProgram> {
        self.programs.values()
    }

    /// All attachments, in the order of discovery.
    pub fn attachments(&self) -> impl Iterator<Item = &BpfAttachment> {
        self.attachments.values()
    }

    pub fn attachment(&self, key: u32) -> Option<&BpfAttachment> {
        self.attachments.get(&key)
    }

    pub fn attachment_of_link(&self, id: LinkId) -> Option<&BpfAttachment> {
        self.attachments.values().rfind(|facts| facts.link == id && id.0 != 0)
    }

    /// The attachments of a program, in the order of discovery.
    pub fn attachments_of(&self, id: ProgId) -> impl Iterator<Item = &BpfAttachment> {
        self.of_program.range((id, 0)..=(id, u32::MAX)).filter_map(|(_, key)| self.attachment(*key))
    }

    /// The holders of a program, besides its links.
    pub fn holders_of_program(&self, id: ProgId) -> Option<&BpfHolders> {
        self.holders.get(&(id, LinkId(0)))
    }

    pub fn holders_of_link(&self, id: LinkId) -> Option<&BpfHolders> {
        self.holders.get(&(ProgId(0), id))
    }

    /// How often a program ran; `None` if runs are not counted.
    pub fn runs(&self, id: ProgId) -> Option<&BpfRuns> {
        self.runs.get(&id)
    }

    /// How often a program ran between the last two counts. `None` if runs are not counted, or if the program was not loaded during
    /// all of that time.
    pub fn rate(&self, id: ProgId) -> Option<Rate> {
        let Counting { at: Some(at), between_ns: Some(between), ref runs } = self.counting else { return None };
        if self.program(id).is_some_and(|program| program.loaded.0 + between > at.0) {
            return None;
        }
        // Without a frame, there were no runs.
        let [before, last] = runs.each_ref().map(|runs| runs.get(&id).map_or((0, 0), |ran| (ran.count, ran.time)));
        let (count, time) = (last.0.saturating_sub(before.0), last.1.saturating_sub(before.1));
        let milli_runs = u128::from(count) * 1_000_000_000_000 / u128::from(between);
        Some(Rate { milli_runs: u64::try_from(milli_runs).unwrap_or(u64::MAX), mean_ns: time.checked_div(count) })
    }

    /// Whether the kernel counts runs.
    pub fn counts_runs(&self) -> bool {
        self.counting.at.is_some()
    }

    /// The time and the numbers of the last inventory; `None` before the first one.
    pub fn last_inventory(&self) -> Option<&BpfInventory> {
        self.last_inventory.as_ref()
    }

    pub fn gone_program(&self, id: ProgId) -> Option<&Former<BpfProgram>> {
        self.gone_programs.get(&id)
    }

    pub fn gone_attachment(&self, key: u32) -> Option<&Former<BpfAttachment>> {
        self.gone_attachments.get(&key)
    }

    /// The unloaded programs, in the order of their ends.
    pub fn gone_programs(&self) -> impl Iterator<Item = &Former<BpfProgram>> {
        self.gone_programs.iter().map(|(_, gone)| gone)
    }

    /// The ended attachments, in the order of their ends.
    pub fn gone_attachments(&self) -> impl Iterator<Item = &Former<BpfAttachment>> {
        self.gone_attachments.iter().map(|(_, gone)| gone)
    }

    /// The memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        let hidden: usize = self.hidden.iter().map(|hidden| size_of::<BpfHidden>() + hidden.name.len()).sum();
        let gone = self.gone_programs.bytes() + self.gone_attachments.bytes();
        self.bytes + self.holder_bytes + hidden + gone + self.doers.bytes() + self.loads.bytes()
    }

    /// What the last inventory could not read, and why.
    pub fn unseen(&self) -> &[String] {
        self.last_inventory.as_ref().map_or(&[], |taken| &taken.unseen)
    }

    /// Changes the program of a link.
    pub(crate) fn replace(&mut self, link: LinkId, program: ProgId, at: BootNanos) {
        if let Some(known) = self.attachment_of_link(link).filter(|known| known.program != program) {
            self.change_attachment(BpfAttachment { program, ..known.clone() }, at);
        }
    }

    /// Reserves memory for an entry. Returns `false` if there is not enough.
    fn take_room(&mut self, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= limits::BPF_INVENTORY;
        self.bytes += if fits { bytes } else { 0 };
        self.left_out += u64::from(!fits);
        fits
    }

    /// The process that loaded a program, if the load was captured.
    pub fn loader(&self, id: ProgId) -> Option<&BpfDoer> {
        self.doers.get(&BpfMade { program: id, ..BpfMade::default() })
    }

    /// The process that made an attachment, if that was captured. If one program has several attachments without a link by one
    /// mechanism, it is the process of the last one.
    pub fn attacher(&self, attachment: &BpfAttachment) -> Option<&BpfDoer> {
        let BpfAttachment { program, link, via, .. } = *attachment;
        let program = if link.0 == 0 { program } else { ProgId(0) };
        self.doers.get(&BpfMade { program, link, via: Some(via) })
    }

    /// The loaded programs according to events, oldest first.
    pub(super) fn loads(&self) -> impl Iterator<Item = &BpfProgram> {
        self.loads.iter().map(|(_, load)| load)
    }

    pub(super) fn add_load(&mut self, load: BpfProgram) {
        let bytes = Fifo::<ProgId, BpfProgram>::ENTRY + text_of_program(&load);
        self.loads.insert(load.id, load, bytes);
        while self.loads.evict(limits::BPF_LOADS_KNOWN, limits::BPF_INVENTORY).is_some() {}
    }

    /// Adds the program of an event, if that reports a load. The pipeline calls it when the event arrives: reports of the inventory
    /// about the program may precede the delivery.
    pub(crate) fn meet_load(&mut self, event: &Bpf<'_>, time: BootNanos) {
        if let Some(BpfMade { program, via: None, .. }) = event.made() {
            self.add_load(program_of_load(event, program, time));
        }
    }

    /// The processes that loaded or attached programs, oldest first.
    pub(super) fn doers(&self) -> impl Iterator<Item = &BpfDoer> {
        self.doers.iter().map(|(_, doer)| doer)
    }

    pub(super) fn add_doer(&mut self, doer: BpfDoer) {
        let bytes = Fifo::<BpfMade, BpfDoer>::ENTRY + doer.comm.len();
        self.doers.insert(doer.made, doer, bytes);
        while self.doers.evict(limits::BPF_DOERS, usize::MAX).is_some() {}
    }

    /// Records who loaded or attached a program. A program that an event ends is ended from then on, and the inventory confirms it
    /// later. The pipeline ends attachments, except those of an excerpt.
    pub(super) fn apply(&mut self, event: &Bpf<'_>, header: &FrameHeader) {
        let is_excerpt = header.has(flag::EXCERPT);
        match (event.op(), event.object()) {
            ("unload", Some(BpfMade { program: id, .. })) => {
                self.meet(id);
                if is_excerpt {
                    let keys: Vec<u32> = self.attachments_of(id).map(|attachment| attachment.key).collect();
                    keys.into_iter().for_each(|key| self.end_attachment(key, header.time));
                }
                self.end_program(id, header.time);
            }
            ("detach", Some(BpfMade { link, .. })) if link.0 != 0 && is_excerpt => self.end_link(link, header.time),
            _ => {}
        }
        if event.is_made() || is_excerpt {
            self.meet_load(event, header.time);
        }
        if let Some(made) = event.made().filter(|_| header.tgid != Tgid(0)) {
            self.changes += 1;
            let (tgid, comm, time) = (header.tgid, header.comm().to_vec(), header.time);
            self.add_doer(BpfDoer { made, tgid, comm, time, ..BpfDoer::default() });
        }
    }

    /// Adds an unloaded program that no inventory contained, with the facts of its load event.
    fn meet(&mut self, id: ProgId) {
        let Some(load) = self.loads.get(&id) else { return };
        // The id may have belonged to another program before.
        let met = self.programs.contains_key(&id) || self.gone_program(id).is_some_and(|gone| gone.at >= load.loaded);
        if !met {
            self.add_program(load.clone());
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

    /// Moves a program to the unloaded ones. It then has no holders and no runs.
    pub(super) fn end_program(&mut self, id: ProgId, at: BootNanos) {
        self.changes += 1;
        self.remove_runs(id);
        let held = self.remove_holders((id, LinkId(0)));
        if let Some(facts) = self.remove_program(id) {
            let text = text_of_program(&facts);
            self.forgotten += add_former(&mut self.gone_programs, id, Former { facts, at, held }, text);
        }
    }

    fn remove_runs(&mut self, id: ProgId) {
        self.bytes -= self.runs.remove(&id).map_or(0, |_| BYTES_OF_RUNS);
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
        // Counts without names may take as much memory again.
        if all.count > 0 && self.holder_bytes + bytes <= 2 * limits::BPF_HOLDERS_BYTES {
            self.holder_bytes += bytes;
            self.holders.insert(of, all);
        }
    }

    pub(super) fn add_runs(&mut self, runs: BpfRuns) {
        self.changes += 1;
        self.remove_runs(runs.id);
        if self.take_room(BYTES_OF_RUNS) {
            self.runs.insert(runs.id, runs);
        }
    }

    pub(super) fn counted(&mut self, counted: &BpfCounted) {
        self.changes += 1;
        let last = self.counting.at.filter(|_| counted.on);
        let between_ns = last.map(|last| counted.at.since(last)).filter(|ns| *ns > 0);
        let at = counted.on.then_some(counted.at);
        let [_, before] = std::mem::take(&mut self.counting.runs);
        self.counting = Counting { at, between_ns, runs: [before, self.runs.clone()] };
    }

    /// Applies a change of an attachment. `at` is the time at which it came or ended.
    pub(crate) fn change_attachment(&mut self, mut attachment: BpfAttachment, at: BootNanos) {
        self.changes += 1;
        let before = self.attachments.remove(&attachment.key);
        if let Some(before) = &before {
            self.bytes -= bytes_of_attachment(before);
            self.of_program.remove(&(before.program, before.key));
        }
        match before {
            Some(facts) if attachment.gone => {
                let held = self.remove_holders((ProgId(0), facts.link)).filter(|_| facts.link.0 != 0);
                let text = text_of_attachment(&facts);
                let former = Former { facts, at, held };
                self.forgotten += add_former(&mut self.gone_attachments, attachment.key, former, text);
                return;
            }
            _ if attachment.gone => return,
            Some(known) => attachment.came = known.came,
            None if attachment.news => attachment.came = at,
            None => {}
        }
        let bytes = bytes_of_attachment(&attachment);
        if self.take_room(bytes) {
            self.of_program.insert((attachment.program, attachment.key));
            self.attachments.insert(attachment.key, attachment);
        }
    }

    /// Ends the attachment of a link.
    pub(crate) fn end_link(&mut self, link: LinkId, at: BootNanos) {
        let key = self.attachment_of_link(link).map(|facts| facts.key);
        key.into_iter().for_each(|key| self.end_attachment(key, at));
    }

    pub(crate) fn end_attachment(&mut self, key: u32, at: BootNanos) {
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

    pub(super) fn end_inventory(&mut self, mut taken: BpfInventory) {
        // A valid inventory has fewer entries.
        taken.unseen.truncate(limits::BPF_UNSEEN);
        taken.unseen.iter_mut().for_each(|text| text.truncate(text.floor_char_boundary(limits::BPF_UNSEEN_TEXT)));
        self.changes += 1;
        self.last_inventory = Some(taken);
    }

    /// Appends the tables as frames. The frames are not marked as news.
    pub(super) fn write_state(&self, time: BootNanos, out: &mut Batch) {
        // Ended entries first: an id may have come again.
        for (id, Former { facts, at, held }) in self.gone_programs.iter() {
            HostFrame::BpfProgram(facts.clone()).push(time, out);
            held.iter().for_each(|all| HostFrame::BpfHolders(all.clone()).push(time, out));
            HostFrame::BpfProgramGone(BpfProgramGone { id: *id }).push(*at, out);
        }
        for (key, Former { facts, at, held }) in self.gone_attachments.iter() {
            HostFrame::BpfAttachment(BpfAttachment { news: false, ..facts.clone() }).push(time, out);
            held.iter().for_each(|all| HostFrame::BpfHolders(all.clone()).push(time, out));
            let gone = BpfAttachment { key: *key, gone: true, ..BpfAttachment::default() };
            HostFrame::BpfAttachment(gone).push(*at, out);
        }
        self.programs.values().for_each(|program| HostFrame::BpfProgram(program.clone()).push(time, out));
        for attachment in self.attachments.values() {
            HostFrame::BpfAttachment(BpfAttachment { news: false, ..attachment.clone() }).push(time, out);
        }
        self.hidden.iter().for_each(|hidden| HostFrame::BpfHidden(hidden.clone()).push(time, out));
        self.holders.values().for_each(|all| HostFrame::BpfHolders(all.clone()).push(time, out));
        self.runs.values().for_each(|runs| HostFrame::BpfRuns(*runs).push(time, out));
        self.last_inventory.iter().for_each(|taken| HostFrame::BpfInventory(taken.clone()).push(time, out));
    }
}
