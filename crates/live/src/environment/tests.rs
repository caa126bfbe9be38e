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
