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
mod tests {
    use super::*;
    use tracetui_events::environment::EnvMode;
    use tracetui_events::synthetic::payload;
    use tracetui_shared::kind::Slot;
    use tracetui_shared::record::exec::{ExecRecord, LAST};

    /// The records after the values were taken out: the offset, the marks and the bytes of each.
    fn taken(mode: EnvMode, parts: &[&[u8]]) -> Vec<(u32, u32, Vec<u8>)> {
        let (mut environments, mut batch, mut offset) = (Environments::new(Keeper::new(mode)), Batch::default(), 7);
        for (at, part) in parts.iter().enumerate() {
            let last = if at + 1 == parts.len() { LAST } else { 0 };
            let chunk = ExecChunk { offset, len: part.len() as u32, marks: ENVIRONMENT | last, reserved: 0 };
            offset += chunk.len;
            let (kind, slot) = (Kind::Exec as u16, Slot::Exec as u16);
            let header = FrameHeader { kind, slot, seq: 4, flags: flag::CONTINUES, ..FrameHeader::default() };
            let mut record = Batch::default();
            record.push(header, &[chunk.as_bytes(), part].concat());
            assert!(environments.take(record.bytes(), &mut batch));
        }
        assert!(environments.coming.is_empty());
        let read = |frame: FrameRef<'_>| {
            let (chunk, bytes) = ExecChunk::read_from_prefix(frame.payload).expect("a continuation");
            (chunk.offset, chunk.marks, bytes[..chunk.len as usize].to_vec())
        };
        batch.frames().map(read).collect()
    }

    #[test]
    fn only_variables_that_were_asked_for_are_left() {
        let found = taken(EnvMode::All, &[b"A=1\0LONG=x", b"yz", b"w\0B=2\0"]);
        let expected = [
            (7, ENVIRONMENT, b".A=1\0".to_vec()),
            (12, ENVIRONMENT, vec![]),
            (12, ENVIRONMENT | LAST, b".LONG=xyzw\0.B=2\0".to_vec()),
        ];
        assert_eq!(found, expected);
        // No value is left that was not asked for.
        let all: Vec<u8> =
            taken(EnvMode::Names, &[b"A=sec", b"ret\0B=\0C\0\0"]).into_iter().flat_map(|part| part.2).collect();
        let text = String::from_utf8(all).expect("ASCII");
        let variables: Vec<_> = text.split('\0').map(|variable| variable.split('=').next()).collect();
        assert_eq!(variables, [Some("#A"), Some("#B"), Some("#"), Some("")], "what has no name is no name");
        assert!(!text.contains("sec") && !text.contains("ret"), "{text}");
        // What exceeds the limit is cut.
        let many: Vec<u8> = (0..30_000).flat_map(|number| format!("VARIABLE{number:07}=\0").into_bytes()).collect();
        let parts: Vec<&[u8]> = many.chunks(16 << 10).collect();
        let found = taken(EnvMode::Names, &parts);
        let kept: usize = found.iter().map(|part| part.2.len()).sum();
        assert!((limits::KEPT_ENV..limits::KEPT_ENV + 64).contains(&kept), "{kept}");
        assert_eq!(found.len(), parts.len(), "each record is counted");
        assert!(found.iter().any(|part| part.1 & u32::from(mark::CUT) != 0));
        // A reader waits for the end, which may also say that the ring had no room.
        let cut = found.iter().position(|part| part.1 & u32::from(mark::CUT) != 0);
        assert_eq!((cut, found[parts.len() - 1].1 & LAST), (Some(parts.len() - 1), LAST));
        // A variable without its end is no variable.
        let made = payload::Exec { argv: b"x\0", ..payload::Exec::default() };
        let record = ExecRecord { env_joined: 1, env_marks: mark::FAULT, ..ExecRecord::default() };
        let (kind, slot) = (Kind::Exec as u16, Slot::Exec as u16);
        let (mut whole, mut batch) = (Batch::default(), Batch::default());
        let mut payload = made.with(record, Default::default(), Default::default());
        payload.extend_from_slice(b"LANG=1\0URL=https://user");
        whole.push(FrameHeader { kind, slot, ..FrameHeader::default() }, &payload);
        assert!(Environments::new(Keeper::new(EnvMode::Values)).take(whole.bytes(), &mut batch));
        let frame = batch.frames().next().expect("a record");
        assert!(frame.payload.ends_with(b"x\0.LANG=1\0"), "{:?}", frame.payload.escape_ascii());
        // Other records stay unchanged.
        let mut record = Batch::default();
        record.push(FrameHeader { kind: Kind::Open as u16, ..FrameHeader::default() }, b"01234567");
        assert!(!Environments::new(Keeper::new(EnvMode::Names)).take(record.bytes(), &mut Batch::default()));
    }
}
