//! The event of the end of an attachment that a system call reported, if no system call reports that end.

use super::*;
use tracetui_shared::record::bpf::TEXT_LEN;

impl<'a> Bpf<'a> {
    /// The payload of the event of the end of this attachment.
    pub(crate) fn end(&self, via: Via) -> Vec<u8> {
        let mut record = self.record();
        let mut text = self.text;
        // The fields of netfilter have another meaning there.
        let target = self.target(None).text();
        if self.on(on::NETFILTER) {
            record.on &= !on::NETFILTER;
            text = target.as_deref().unwrap_or_default();
        }
        let text = text.get(..text.len().min(TEXT_LEN - 1)).unwrap_or_default();
        let (hook, attach_type) = self.attached_to().numbers();
        (record.hooknum, record.priority) = (hook.into(), via as i32);
        if hook != 0 {
            record.attach_type = attach_type;
        }
        (record.call, record.cmd, record.ret) = (call::INVENTORY, cmd::PROG_DETACH, 0);
        record.text_len = text.len() as u32 + 1;
        [record.as_bytes(), text, b"\0"].concat()
    }

    /// Adds the place of this attachment to the record of another event. Returns the text that follows the record.
    pub(crate) fn set_place(&self, record: &mut BpfRecord) -> &'a [u8] {
        const PLACE: u8 = has::KPROBE | has::UPROBE | has::RETURNS;
        let BpfRecord { target, target2, addr, offset, cgroup, object, count, cookie, on, .. } = self.record();
        record.has |= self.record().has & PLACE;
        record.text_len = self.text.len() as u32 + 1;
        *record = BpfRecord { target, target2, addr, offset, cgroup, object, count, cookie, on, ..*record };
        self.text
    }

    /// The attach point of a system call, as the inventory has it.
    fn attached_to(&self) -> Hook {
        let BpfRecord { attach_type, expected_attach_type, .. } = self.record();
        let kind = self.attach_kind();
        let of_type = |attach_type: &u32| kind.is_some() && attach_type_kind(*attach_type) == kind;
        let by_type = || [attach_type, expected_attach_type].into_iter().find(of_type).map(Hook::Type);
        Hook::named(kind.unwrap_or_default()).or_else(by_type).unwrap_or_default()
    }

    /// The end of an attachment whose program was replaced by that of an event.
    pub(crate) fn with_program(&self, of: &BpfRecord) -> Vec<u8> {
        [with_program(self.record(), of).as_bytes(), self.text, b"\0"].concat()
    }
}

/// A record with the program of another one.
pub(crate) fn with_program(record: BpfRecord, of: &BpfRecord) -> BpfRecord {
    let BpfRecord { prog_id, prog_type, prog_uid, tag, name, helpers, scan, symbol, .. } = *of;
    let (expected_attach_type, instructions, has) =
        (of.expected_attach_type, of.instructions, record.has | of.has & has::PROG);
    let program = BpfRecord { has, prog_id, prog_type, prog_uid, tag, name, helpers, scan, symbol, ..record };
    BpfRecord { expected_attach_type, instructions, ..program }
}
