//! The BPF programs and attachments that exist, by the inventory.

use crate::frame::Batch;
use crate::frame::host::{BpfAttachment, BpfHidden, BpfInventory, BpfProgram, HostFrame};
use crate::limits;
use std::collections::BTreeMap;
use tracetui_shared::id::ProgId;
use tracetui_shared::time::BootNanos;

/// The inventory as of the last frame. What does not fit is left out.
#[derive(Debug, Default)]
pub struct Programs {
    programs: BTreeMap<ProgId, BpfProgram>,
    attachments: BTreeMap<u32, BpfAttachment>,
    hidden: Vec<BpfHidden>,
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

    /// The programs that were found to be hidden, in the order in which they were found.
    pub fn hidden(&self) -> &[BpfHidden] {
        &self.hidden
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

    pub(super) fn change_attachment(&mut self, attachment: BpfAttachment) {
        self.bytes -= self.attachments.remove(&attachment.key).as_ref().map_or(0, bytes_of_attachment);
        let bytes = bytes_of_attachment(&attachment);
        if !attachment.gone && self.bytes + bytes <= limits::BPF_INVENTORY {
            self.bytes += bytes;
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
        self.taken.iter().for_each(|taken| HostFrame::BpfInventory(taken.clone()).push(time, out));
    }
}
