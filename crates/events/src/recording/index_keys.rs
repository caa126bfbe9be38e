//! The keys of a frame in the index of a recording ([`crate::recording::index`]).

use super::index::IndexKey;
use crate::event::indexed;
use crate::frame::FrameRef;
use tracetui_shared::header::flag;
use tracetui_shared::kind::{Kind, Slot};

/// Passes on the last components of the paths in a frame. Process id and comm are keys of every frame.
pub fn keys_of(frame: &FrameRef<'_>, to: &mut dyn FnMut(IndexKey<'_>)) {
    let Ok(kind) = Kind::try_from(frame.header.kind) else { return };
    if frame.header.has(flag::CONTINUES) {
        return;
    }
    let mut before = None;
    let _ = indexed(kind, frame.payload, &mut |path| {
        let name = last_of(path);
        if before.replace(name) != Some(name) {
            to(IndexKey::Name(name));
        }
    });
    let is_request = frame.header.has(flag::REQUEST);
    if is_request || Slot::try_from(frame.header.slot).is_ok_and(Slot::ends_a_request) {
        to(IndexKey::Uring);
    }
    if is_request {
        to(IndexKey::Request);
    }
}

/// The text after the last slash of a path.
pub(crate) fn last_of(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::describe::{self, props};
    use crate::frame::Batch;
    use crate::sink::sample;
    use proptest::prelude::proptest;

    proptest! {
        #[test]
        fn paths_that_are_indexed_have_their_keys((header, payload) in sample::any()) {
            let mut batch = Batch::default();
            batch.push(header, &payload);
            let mut keys = Vec::new();
            keys_of(&batch.frames().next().expect("one"), &mut |key| keys.push(key.hash()));
            sample::with_seen(header, &payload, |seen| {
                let fields = || describe::fields(seen.event.kind());
                let value = |field: &describe::Field| (field.get)(seen).text().unwrap_or_default();
                // The record of a request has another part, which is dropped from its event.
                let is_whole = !fields().any(|field| field.name == "via" && *value(field) == *b"io_uring");
                for field in fields().filter(|field| is_whole && field.has(props::INDEXED)) {
                    let path = value(field);
                    let has = keys.contains(&IndexKey::Name(last_of(&path)).hash());
                    assert!(has || path.is_empty(), "{} of {}", field.name, seen.event.kind().name());
                }
            });
        }
    }
}
