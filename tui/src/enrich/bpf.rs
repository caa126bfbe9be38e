//! The BPF programs and attachments that exist, by the inventory.

use crate::frame::Batch;
use crate::frame::host::{
    BpfAttachment, BpfHidden, BpfHolder, BpfHolders, BpfInventory, BpfProgram, BpfRuns, HostFrame,
};
use crate::limits;
use std::collections::BTreeMap;
use tracetui_shared::id::{LinkId, ProgId};
use tracetui_shared::time::BootNanos;

/// The inventory as of the last frame. What does not fit is left out.
#[derive(Debug, Default)]
pub struct Programs {
    programs: BTreeMap<ProgId, BpfProgram>,
    attachments: BTreeMap<u32, BpfAttachment>,
    /// The keys of the attachments by links.
    links: BTreeMap<LinkId, u32>,
    hidden: Vec<BpfHidden>,
    holders: BTreeMap<(ProgId, LinkId), BpfHolders>,
    runs: BTreeMap<ProgId, BpfRuns>,
    taken: Option<BpfInventory>,
    bytes: usize,
}

fn bytes_of_program(program: &BpfProgram) -> usize {
    2 * size_of::<BpfProgram>() + program.name.len()
}

fn bytes_of_attachment(attachment: &BpfAttachment) -> usize {
    let BpfAttachment { target, symbol, module, flags, .. } = attachment;
    2 * size_of::<BpfAttachment>() + target.len() + symbol.len() + module.len() + flags.len()
}

fn bytes_of_holders(all: &BpfHolders) -> usize {
    let bytes = |holder: &BpfHolder| size_of::<BpfHolder>() + holder.comm.len() + holder.path.len();
    2 * size_of::<BpfHolders>() + all.holders.iter().map(bytes).sum::<usize>()
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
        self.runs.get(&id)
    }

    /// When the last inventory was taken, and its numbers; `None` before the first one.
    pub fn taken(&self) -> Option<&BpfInventory> {
        self.taken.as_ref()
    }

    /// The memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add_program(&mut self, program: BpfProgram) {
        self.remove_program(program.id);
        let bytes = bytes_of_program(&program);
        if self.bytes + bytes <= limits::BPF_INVENTORY {
            self.bytes += bytes;
            self.programs.insert(program.id, program);
        }
    }

    pub(super) fn remove_program(&mut self, id: ProgId) {
        self.bytes -= self.programs.remove(&id).as_ref().map_or(0, bytes_of_program);
    }

    /// A program that is gone is not held, and does not run.
    pub(super) fn end_program(&mut self, id: ProgId) {
        self.remove_program(id);
        self.remove_runs(id);
        self.remove_holders((id, LinkId(0)));
    }

    fn remove_runs(&mut self, id: ProgId) {
        self.bytes -= self.runs.remove(&id).map_or(0, |_| 2 * size_of::<BpfRuns>());
    }

    fn remove_holders(&mut self, of: (ProgId, LinkId)) {
        self.bytes -= self.holders.remove(&of).as_ref().map_or(0, bytes_of_holders);
    }

    pub(super) fn hold(&mut self, mut all: BpfHolders) {
        let of = (all.program, all.link);
        self.remove_holders(of);
        all.holders.truncate(limits::BPF_HOLDERS_KEPT);
        let bytes = bytes_of_holders(&all);
        if all.count > 0 && self.bytes + bytes <= limits::BPF_INVENTORY {
            self.bytes += bytes;
            self.holders.insert(of, all);
        }
    }

    pub(super) fn add_runs(&mut self, runs: BpfRuns) {
        self.remove_runs(runs.id);
        let bytes = 2 * size_of::<BpfRuns>();
        if self.bytes + bytes <= limits::BPF_INVENTORY {
            self.bytes += bytes;
            self.runs.insert(runs.id, runs);
        }
    }

    pub(super) fn change_attachment(&mut self, attachment: BpfAttachment) {
        if let Some(before) = self.attachments.remove(&attachment.key) {
            self.bytes -= bytes_of_attachment(&before);
            self.links.remove(&before.link);
        }
        let bytes = bytes_of_attachment(&attachment);
        if !attachment.gone && self.bytes + bytes <= limits::BPF_INVENTORY {
            self.bytes += bytes;
            if attachment.link.0 != 0 {
                self.links.insert(attachment.link, attachment.key);
            }
            self.attachments.insert(attachment.key, attachment);
        }
    }

    pub(super) fn hide(&mut self, hidden: BpfHidden) {
        let bytes = size_of::<BpfHidden>() + hidden.name.len();
        if self.bytes + bytes <= limits::BPF_INVENTORY {
            self.bytes += bytes;
            self.hidden.push(hidden);
        }
    }

    pub(super) fn take(&mut self, taken: BpfInventory) {
        self.taken = Some(taken);
    }

    /// Appends it as frames, which are no news.
    pub(super) fn write_state(&self, time: BootNanos, out: &mut Batch) {
        self.programs.values().for_each(|program| HostFrame::BpfProgram(program.clone()).push(time, out));
        for attachment in self.attachments.values() {
            HostFrame::BpfAttachment(BpfAttachment { news: false, ..attachment.clone() }).push(time, out);
        }
        self.hidden.iter().for_each(|hidden| HostFrame::BpfHidden(hidden.clone()).push(time, out));
        self.holders.values().for_each(|all| HostFrame::BpfHolders(all.clone()).push(time, out));
        self.runs.values().for_each(|runs| HostFrame::BpfRuns(runs.clone()).push(time, out));
        self.taken.iter().for_each(|taken| HostFrame::BpfInventory(taken.clone()).push(time, out));
    }
}
