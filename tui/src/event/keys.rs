//! The keys of a frame in the index of a recording ([`crate::recording::index`]).

use super::exec::Exec;
use super::{Components, Payload};
use crate::frame::FrameRef;
use crate::recording::index::Key;
use tracetui_shared::header::{FrameHeader, flag};
use tracetui_shared::kind::{Kind, Slot};
use tracetui_shared::record::mark;
use tracetui_shared::record::open::{OpenRecord, RequestPart, via};
use zerocopy::FromBytes;

/// Passes on the last components of the paths in a frame. Process id and comm are keys of every frame.
pub fn keys_of(frame: &FrameRef<'_>, to: &mut dyn FnMut(Key<'_>)) {
    if frame.header.has(flag::CONTINUES) {
        return;
    }
    match Kind::try_from(frame.header.kind) {
        Ok(Kind::Open) => {
            open(frame.payload, to);
            if is_of_uring(&frame.header) {
                to(Key::Uring);
            }
            if frame.header.has(flag::REQUEST) {
                to(Key::Request);
            }
        }
        Ok(Kind::Exec) => exec(frame.payload, to),
        _ => {}
    }
}

fn open(payload: &[u8], to: &mut dyn FnMut(Key<'_>)) {
    let Ok((record, mut rest)) = OpenRecord::read_from_prefix(payload) else { return };
    if record.via == via::IO_URING {
        rest = rest.get(size_of::<RequestPart>()..).unwrap_or_default();
    }
    let Some((names, path)) = rest.split_at_checked(record.names_len.into()) else { return };
    let leaf = leaf_of(Components::new(names, record.names_marks));
    to(Key::Name(leaf));
    let asked = last_of(path.get(..record.path_len.into()).unwrap_or(path));
    if asked != leaf {
        to(Key::Name(asked));
    }
}

fn exec(payload: &[u8], to: &mut dyn FnMut(Key<'_>)) {
    let Some(exec) = Exec::decode(payload) else { return };
    let (exe, asked) = (leaf_of(exec.exe), last_of(exec.filename));
    to(Key::Name(exe));
    if asked != exe {
        to(Key::Name(asked));
    }
}

/// Whether a frame is an io_uring request, or the end of one.
fn is_of_uring(header: &FrameHeader) -> bool {
    let slots = [Slot::OpenUring, Slot::OpenUringTp, Slot::OpenUringQuiet];
    header.has(flag::REQUEST) || slots.contains(&Slot::try_from(header.slot).unwrap_or(Slot::OpenTp))
}

/// What follows the last slash of the path as it is shown.
fn leaf_of(names: Components<'_>) -> &[u8] {
    match names.marks & mark::PSEUDO {
        0 => names.leaf(),
        _ => last_of(names.bytes.strip_suffix(b"\0").unwrap_or(names.bytes)),
    }
}

/// What follows the last slash of a path.
pub(crate) fn last_of(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}
