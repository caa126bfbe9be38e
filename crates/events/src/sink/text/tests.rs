use super::super::{FormatName, testing, to_writer};
use super::*;
use crate::synthetic::payload;
use crate::why::{Basis, explains};
use proptest::prelude::*;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Kind;
use tracetui_shared::record::open::OpenRecord;
use tracetui_shared::record::tcp::{TcpRecord, flag, op};
use zerocopy::IntoBytes;

#[track_caller]
fn check_line(header: FrameHeader, payload: &[u8], expected: &str) {
    let line = testing::line(FormatName::Text, header, payload);
    assert_eq!(String::from_utf8(line).expect("UTF-8"), format!("{expected}\n"));
}

/// Without its sequences, a coloured line equals the plain one.
#[test]
fn colours_are_around_the_text() {
    let missing = payload::open(OpenRecord { ret: -2, flags: 2, ..OpenRecord::default() }, b"", b"x");
    let refused = payload::open(OpenRecord { ret: -13, flags: 2, ..OpenRecord::default() }, b"", b"x");
    let sequences = regex::Regex::new("\x1b\\[[0-9;]*m").expect("a pattern");
    for (record, result) in [(missing, "\x1b[33mENOENT\x1b[m  rw x"), (refused, "\x1b[1;31mEACCES\x1b[m  rw x")] {
        let line = |paint| {
            let mut out = Vec::new();
            let mut sink = to_writer(FormatName::Text, &mut out);
            sink.set_style(Style { paint, ..Style::default() });
            testing::with_seen(testing::header(Kind::Open), &record, |seen| {
                sink.event(seen).expect("a Vec takes all");
            });
            sink.finish().expect("a Vec takes all");
            drop(sink);
            String::from_utf8(out).expect("UTF-8")
        };
        let (painted, plain) = (line(Paint::On), line(Paint::Off));
        assert!(painted.contains(result), "{painted}");
        assert_eq!(sequences.replace_all(&painted, ""), plain);
    }
}

#[test]
fn every_kind_has_its_row_measured_in_cells() {
    let check = |kind, payload: &[u8], expected: &str| check_line(testing::header(kind), payload, expected);
    let missing = payload::open(OpenRecord { ret: -2, flags: 2, ..OpenRecord::default() }, b"", b"x");
    check(
        Kind::Open,
        &testing::opened(b"/usr/include/stdio.h"),
        "14:02:11.500 OPEN   48214 cc              3       r  /usr/include/stdio.h",
    );
    check(Kind::Open, &missing, "14:02:11.500 OPEN   48214 cc              ENOENT  rw x");
    let exec = testing::execed(b"cc\0-c\0main.c\0");
    check(Kind::Exec, &exec, "14:02:11.500 EXEC   48214 cc              ok      cc -c main.c");
    check(
        Kind::Exec,
        &testing::not_execed(b"/opt/bin/cc", b"cc\0-c\0main.c\0"),
        "14:02:11.500 EXEC   48214 cc              ENOENT  /opt/bin/cc -c main.c",
    );
    check(Kind::Exit, &testing::exit(0x100), "14:02:11.500 EXIT   48214 cc              1       ran 81 ms");
    let ended = "14:02:11.500 EXIT   48214 cc              SIGABRT ran 81 ms, core dumped";
    check(Kind::Exit, &testing::exit(0x86), ended);
    check(Kind::Fork, &testing::fork(48_300), "14:02:11.500 FORK   48214 cc              48300   child 48300");
    check(
        Kind::Bpf,
        &testing::attached(),
        "14:02:11.500 BPF    48214 cc              ok      attach fentry tcp_connect prog#88 on_connect",
    );
    check(Kind::Bpf, &testing::failed_load(), "14:02:11.500 BPF    48214 cc              EPERM   load kprobe");
    let of = |op| testing::tcp(op).as_bytes().to_vec();
    for (payload, rest) in [
        (of(op::CONNECT), "connected -> 10.0.0.7:443"),
        (testing::refused(), "refused -> 10.0.0.7:443"),
        (of(op::ACCEPT), "accepted :80 <- 10.0.0.7:51514  fd 5"),
        (of(op::CLOSE), "closed  -> 10.0.0.7:443  1.2MB in, 842B out, 31.0 s"),
    ] {
        check(Kind::Tcp, &payload, &format!("14:02:11.500 TCP    48214 cc              {rest}"));
    }
    let [local, peer] = ["[::1]:9", "[fe80::1]:80"].map(|text| text.parse().expect("a socket address"));
    let aborted = TcpRecord { err: 113, flags: flag::OLDER, ..payload::tcp(op::CLOSE, local, peer) };
    let rest = "aborted :9 <-> [fe80::1]:80  0B in, 0B out";
    check(Kind::Tcp, aborted.as_bytes(), &format!("14:02:11.500 TCP    48214 cc              {rest}"));
    // A row without a process has no id, and a gap is a dashed row.
    let header = FrameHeader { tgid: Tgid(0), comm: Default::default(), ..testing::header(Kind::Bpf) };
    let row = format!("14:02:11.500 BPF  {:7} {:15} ok      attach fentry tcp_connect prog#88 on_connect", "", "");
    check_line(header, &testing::attached(), &row);
    let header = testing::header(Kind::Lost);
    check_line(
        header,
        &testing::lost(Some(Kind::Open), 1204, 3_731_464_000_000),
        "-------- 1,204 open events lost here: kernel ring full, 14:02:11.464 .. 14:02:11.500 ------",
    );
    check_line(
        header,
        &testing::lost(None, 1, 0),
        "-------- 1 event lost here: kernel ring full, .. 14:02:11.500 ------------------",
    );
    // Whatever is in a name columns are measured in cells and never cut.
    check_line(
        testing::named(Kind::Exec, b"ev\nil\x1b[1m"),
        &testing::execed(b"a\\b\0\n\xff\0 \xe2\x80\xae\0"),
        r"14:02:11.500 EXEC   48214 ev\nil\x1b[1m   ok      'a\\b' '\n\xff' ' \u{202e}'",
    );
    let header = FrameHeader { tgid: Tgid(4_194_304), ..testing::named(Kind::Exit, "中文".as_bytes()) };
    check_line(header, &testing::exit(0), "14:02:11.500 EXIT 4194304 中文            0       ran 81 ms");
    let header = testing::named(Kind::Exit, b"\x01\x02\x03\x04\x05\x06");
    check_line(header, &testing::exit(0), r"14:02:11.500 EXIT   48214 \x01\x02\x03\x04\x05\x06 0       ran 81 ms");
}

#[test]
fn a_line_ends_with_the_reason() {
    for (header, payload) in testing::all() {
        testing::with_seen(header, &payload, |seen| {
            let line = testing::explained(FormatName::Text, Basis::Proven, seen);
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            let explained = seen.event.failed() && explains(&seen.event.body);
            assert_eq!(line.ends_with("  why: no \\x1b\\xff in /a\n"), explained, "{line:?}");
        });
    }
}

proptest! {
    #[test]
    fn any_event_is_one_line_of_harmless_text(
        comm in prop::collection::vec(1u8.., 0..16),
        argv in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let line = testing::line(FormatName::Text, testing::named(Kind::Exec, &comm), &testing::execed(&argv));
        let line = String::from_utf8(line).expect("UTF-8");
        let text = line.strip_suffix('\n').expect("a line end");
        prop_assert!(!text.chars().any(crate::text::is_hostile), "{text:?}");
    }
}
