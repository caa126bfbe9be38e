//! Removes the values that `--env` does not ask for from the environments in exec records, as they come from the ring.

use foldhash::HashMap;
use std::mem::offset_of;
use tracetui_events::environment::Keeper;
use tracetui_events::event::exec::Exec;
use tracetui_events::event::{Body, Event};
use tracetui_events::frame::{Batch, FrameRef};
use tracetui_events::limits;
use tracetui_shared::header::{FrameHeader, flag};
use tracetui_shared::kind::Kind;
use tracetui_shared::record::exec::{ENVIRONMENT, ExecChunk};
use tracetui_shared::record::mark;
use zerocopy::{FromBytes as _, IntoBytes as _};

pub(super) struct Environments {
    keeper: Keeper,
    /// By slot and CPU: the environment whose continuations come.
    coming: HashMap<(u16, u32), Coming>,
}

#[derive(Default)]
struct Coming {
    /// The number of its exec.
    seq: u64,
    /// The offset of the next variable, and the bytes of the variables before it.
    offset: u32,
    kept: usize,
    /// The beginning of a variable whose rest is in the next continuation.
    begun: Vec<u8>,
}

impl Environments {
    pub(super) fn new(keeper: Keeper) -> Environments {
        Environments { keeper, coming: HashMap::default() }
    }

    /// Moves a record into `batch` if it has a part of an environment. Otherwise returns `false`.
    pub(super) fn take(&mut self, record: &[u8], batch: &mut Batch) -> bool {
        // Most records are opens, and not even their header is read.
        let kind = offset_of!(FrameHeader, kind);
        if record.get(kind..kind + 2) != Some(&(Kind::Exec as u16).to_le_bytes()) {
            return false;
        }
        let Some((frame, _)) = FrameRef::first(record) else { return false };
        match frame.header.has(flag::CONTINUES) {
            true => self.take_continuation(&frame, batch),
            false => self.take_joined(&frame, batch),
        }
    }

    /// Moves a record that has the whole environment. A cut one is without its last variable, which may have lost what shows that it
    /// is a secret.
    fn take_joined(&self, frame: &FrameRef<'_>, batch: &mut Batch) -> bool {
        let Ok(Event { body: Body::Exec(Exec { env: Some(env), record, .. }), .. }) = Event::decode(frame) else {
            return false;
        };
        let at = env.as_ptr().addr() - frame.payload.as_ptr().addr();
        let mut out = frame.payload[..at].to_vec();
        let ended = env.iter().rposition(|byte| *byte == 0).map_or(0, |last| last + 1);
        let mut variables: Vec<_> =
            env[..ended].split(|byte| *byte == 0).filter(|variable| !variable.is_empty()).collect();
        if record.env_marks & mark::CUT != 0 {
            variables.pop();
        }
        variables.into_iter().for_each(|variable| self.keeper.keep(variable, &mut out));
        out.extend_from_slice(&frame.payload[at + env.len()..]);
        batch.push(frame.header, &out);
        true
    }

    fn take_continuation(&mut self, frame: &FrameRef<'_>, batch: &mut Batch) -> bool {
        let header = frame.header;
        let Ok((chunk, bytes)) = ExecChunk::read_from_prefix(frame.payload) else { return false };
        if chunk.marks & ENVIRONMENT == 0 {
            return false;
        }
        let key = (header.slot, header.cpu);
        let coming = self.coming.entry(key).or_default();
        if coming.seq != header.seq || coming.offset == 0 {
            *coming = Coming { seq: header.seq, offset: chunk.offset, ..Coming::default() };
        }
        let mut out = vec![0; size_of::<ExecChunk>()];
        let mut marks = chunk.marks;
        for part in bytes.get(..chunk.len as usize).unwrap_or_default().split_inclusive(|byte| *byte == 0) {
            if coming.kept >= limits::KEPT_ENV {
                break;
            }
            coming.begun.extend_from_slice(part.strip_suffix(b"\0").unwrap_or(part));
            if part.ends_with(b"\0") {
                let variable = std::mem::take(&mut coming.begun);
                let before = out.len();
                if !variable.is_empty() {
                    self.keeper.keep(&variable, &mut out);
                }
                coming.kept += out.len() - before;
            }
        }
        let ends = marks & !ENVIRONMENT != 0;
        if ends && coming.kept >= limits::KEPT_ENV {
            marks |= u32::from(mark::CUT);
        }
        let len = (out.len() - size_of::<ExecChunk>()) as u32;
        let chunk = ExecChunk { offset: coming.offset, len, marks, ..chunk };
        coming.offset += len;
        out[..size_of::<ExecChunk>()].copy_from_slice(chunk.as_bytes());
        batch.push(header, &out);
        if ends {
            self.coming.remove(&key);
        }
        true
    }
}

#[cfg(test)]
mod tests;
