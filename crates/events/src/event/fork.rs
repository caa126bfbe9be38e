//! `fork`: a process was created.

use super::describe::{Field, STACK, Value, field_table};
use super::redact::Redact;
use super::{Compared, EventContext, Payload, Sections, fork};
use crate::text::paint::Look;
use tracetui_shared::record::fork::ForkRecord;
use zerocopy::IntoBytes;

#[derive(Clone, Copy, Debug)]
pub struct Fork {
    pub record: ForkRecord,
}

impl Payload<'_> for Fork {
    fn decode(payload: &[u8]) -> Option<Fork> {
        Sections::fixed::<ForkRecord>(payload).map(|(record, _)| Fork { record })
    }

    fn unwritten() -> Vec<Vec<u8>> {
        vec![ForkRecord::default().as_bytes().to_vec()]
    }

    fn redact(_: &[u8], _: &mut Redact) -> Option<Vec<u8>> {
        None
    }

    const LOOK: Look = Look::Note;
    const COMPARED: Compared = Compared::Nothing;
    const NOUN: &'static str = "fork";

    fn result(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.record.child.0.to_string().as_bytes());
    }

    fn detail(&self, _: &EventContext<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"child ");
        self.result(out);
    }
}

pub(crate) const FIELDS: &[Field] = field_table! {
    child_pid Number "Id of the new process: child->tgid of sched_process_fork."
        |s| fork(s, |f| Value::Uint(f.record.child.0.into()));
    child_start_ns Number "Start time of the new process: child->start_boottime."
        |s| fork(s, |f| Value::Uint(f.record.child_start.0));
    = STACK;
};
