use super::*;
use crate::event::describe::{Field, Value, props};
use crate::event::exec::Exec;
use crate::event::open::Open;
use crate::event::{Payload, fields_of};
use crate::frame::Batch;
use crate::sink::testing;
use proptest::proptest;
use tracetui_shared::record::bpf::BpfRecord;
use tracetui_shared::record::exec::ExecRecord;
use tracetui_shared::record::open::{NEAR, OpenRecord};
use zerocopy::{FromBytes, IntoBytes};

fn redact(patterns: &[&str]) -> Redact {
    Redact::new(patterns.iter().map(|pattern| Regex::new(pattern).expect("a regex")).collect())
}

fn redacted(redact: &mut Redact, kind: Kind, payload: &[u8]) -> (FrameHeader, Vec<u8>) {
    let header = FrameHeader { kind: kind as u16, comm: *b"0123456SECRET56\0", ..FrameHeader::default() };
    let mut batch = Batch::default();
    batch.push(header, payload);
    redact.event(&batch.frames().next().expect("one"))
}

#[test]
fn every_match_of_every_regex_is_replaced() {
    let mut redact = redact(&["b.d", "de", r"x*", r"(?-u:\xff)"]);
    let mut text = b"abcdef\0ab\0\xffbcd".to_vec();
    redact.text(&mut text);
    assert_eq!(text, "a…f\0ab\0……".as_bytes());
    assert_eq!(redact.count(), 3);
    // A name of fixed length ends in a whole character.
    for (mut array, fitted) in [(*b"aaaaaaaaaaaaaaa\0", "……………"), (*b"xxaaaaaaaaaaaaa\0", "xx…………")] {
        self::redact(&["a"]).fit(&mut array);
        assert_eq!(until_nul(&array), fitted.as_bytes());
    }
}

#[test]
fn the_texts_of_an_exec_and_of_a_program_are_redacted() {
    let (filename, exe, cwd, argv) =
        (&b"./SECRET"[..], &b"SECRET\0bin\0"[..], &b"b\0a\0"[..], &b"x\0--key=SECRET\0y"[..]);
    let record = ExecRecord {
        argv_len: argv.len() as u32,
        argv_total: argv.len() as u32 + 5,
        filename_len: filename.len() as u16,
        exe_len: exe.len() as u16,
        cwd_len: cwd.len() as u16,
        ..ExecRecord::default()
    };
    let payload = [record.as_bytes(), filename, exe, cwd, argv].concat();
    let mut redact = redact(&["SECRET", "^/a/"]);
    let (header, payload) = redacted(&mut redact, Kind::Exec, &payload);
    assert_eq!(header.comm(), "0123456…56".as_bytes());
    let exec = Exec::decode(&payload).expect("an exec");
    assert_eq!((exec.filename, exec.argv), ("./…".as_bytes(), "x\0--key=…\0y".as_bytes()));
    assert_eq!((exec.exe.bytes, exec.cwd.bytes), ("…\0bin\0".as_bytes(), "…b\0".as_bytes()));
    let ExecRecord { argv_total, argv_len, .. } = exec.record;
    assert_eq!((argv_len as usize, argv_total), (exec.argv.len(), argv_len + 5));
    assert_eq!(redact.count(), 5);
    // A program.
    let mut record = <BpfRecord as zerocopy::FromZeros>::new_zeroed();
    record.symbol[..36].copy_from_slice(b"bpf_prog_0123456789abcdef_SECRET_nam");
    record.target[..6].copy_from_slice(b"SECRET");
    record.text_len = 12;
    let payload = [record.as_bytes(), b"/bin/SECRET\0"].concat();
    let (_, payload) = redacted(&mut self::redact(&["^SECRET", "SECRET$"]), Kind::Bpf, &payload);
    assert!(!payload.windows(6).any(|window| window == b"SECRET"));
    let (record, text) = BpfRecord::read_from_prefix(&payload).expect("a record");
    assert_eq!((text, record.text_len as usize), ("/bin/…\0".as_bytes(), text.len()));
    assert_eq!(until_nul(&record.symbol), "bpf_prog_0123456789abcdef_…_nam".as_bytes());
}

#[test]
fn an_open_keeps_its_root_and_its_doubts() {
    let (names, path) = (&b"SECRET\0dir\0root\0srv\0"[..], &b"SECRET"[..]);
    let record = OpenRecord {
        names_len: names.len() as u16,
        path_len: path.len() as u16,
        root_off: 11,
        names_marks: mark::SHARED,
        how_marks: NEAR,
        ..OpenRecord::default()
    };
    let payload = [record.as_bytes(), names, path].concat();
    let look = |patterns: &[&str]| {
        let mut redact = redact(patterns);
        let (_, payload) = redacted(&mut redact, Kind::Open, &payload);
        let open = Open::decode(&payload).expect("an open");
        assert_eq!(open.names.absent(), None);
        let shown = |names: Components<'_>| {
            let mut path = Vec::new();
            names.write(&mut path);
            String::from_utf8(path).expect("UTF-8")
        };
        (shown(open.names), open.root().map(shown), String::from_utf8_lossy(open.path).into_owned(), redact.count())
    };
    let all = |abs: &str, root: Option<&str>, path: &str, count| {
        (abs.to_owned(), root.map(str::to_owned), path.to_owned(), count)
    };
    // One is in the comm.
    assert_eq!(look(&["SECRET"]), all("/srv/root/dir/…", Some("/srv/root"), "…", 3));
    assert_eq!(look(&["^/srv"]), all("/…/root/dir/SECRET", Some("/…/root"), "SECRET", 1));
    assert_eq!(look(&["root/dir"]), all("/srv/…/SECRET", None, "SECRET", 1));
    assert_eq!(look(&["^/s.*$"]), all("/…", Some("/…"), "SECRET", 1));
    assert_eq!(look(&["none"]), all("/srv/root/dir/SECRET", Some("/srv/root"), "SECRET", 0));
}

proptest! {
    #[test]
    fn no_text_of_a_record_remains((header, payload) in testing::any()) {
        let mut batch = Batch::default();
        batch.push(header, &payload);
        let (header, payload) = redact(&["(?s-u).+"]).event(&batch.frames().next().expect("one"));
        testing::with_seen(header, &payload, |seen| {
            let is_text = |field: &&Field| field.has(props::BYTES) && field.name != "tty";
            for field in fields_of(seen.event.kind()).iter().filter(is_text) {
                if let Value::Bytes(text) | Value::Cut(text) | Value::Joined(_, text) = (field.get)(seen) {
                    assert!(text.is_empty() || text == REDACTED.as_bytes(), "{} of {:?}", field.name, header.kind);
                }
            }
        });
    }
}
