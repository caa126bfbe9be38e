//! `lookup`: a path was looked up without opening its file, and the lookup failed.

use super::describe::{Field, STACK, Value, field_table};
use super::file::{self, File};
use super::redact::Redact;
use super::{Compared, EventContext, Payload, lookup};
use crate::text::paint::Look;
use tracetui_shared::kind::Kind;

/// A call that names a file, as those of `file` do.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a>(pub File<'a>);

impl<'a> Payload<'a> for Lookup<'a> {
    fn decode(payload: &'a [u8]) -> Option<Lookup<'a>> {
        File::decode(payload).map(|file| Lookup(File { kind: Kind::Lookup, ..file }))
    }

    fn unwritten() -> Vec<Vec<u8>> {
        File::unwritten()
    }

    fn redact(payload: &[u8], with: &mut Redact) -> Option<Vec<u8>> {
        File::redact(payload, with)
    }

    const LOOK: Look = Look::Quiet;

    const NOUN: &'static str = "failed lookup";

    const COMPARED: Compared = Compared::Nothing;

    const ONLY_FAILURES: bool = true;

    fn is_routine(&self) -> bool {
        true
    }

    fn subject(&self, out: &mut Vec<u8>) {
        self.0.subject(out);
    }

    fn dirfd(&self) -> i32 {
        self.0.dirfd()
    }

    fn is_question(&self) -> bool {
        self.0.op() != "chdir"
    }

    fn paths(&self) -> Option<&File<'a>> {
        Some(&self.0)
    }

    fn detail(&self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        self.0.detail(seen, out);
    }

    fn title(&self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        self.0.title(seen, out);
    }
}

pub(crate) const FIELDS: &[Field] = field_table! {
    op Text "Operation: stat lstat access readlink chdir." |s| lookup(s, |l| Value::Word(l.0.op()));
    = file::PATH;
    = file::START;
    = file::ABS_PATH;
    = file::PATH_BASIS;
    = file::DIRFD;
    access Number "Argument of access(2): 4 read, 2 write, 1 execute; 0: existence." |s| lookup(s, |l| {
        if l.0.op() == "access" { Value::Uint(l.0.record.values[0] & u64::from(u32::MAX)) } else { Value::Null }
    });
    = file::FLAGS;
    = file::RET;
    = file::ERR;
    = file::VIA;
    = file::ABI;
    = file::EUID;
    = STACK;
};
