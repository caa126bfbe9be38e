use super::super::{FormatName, testing};
use super::*;
use crate::bpf::Words;
use crate::event::describe::Shape;
use crate::limits;
use crate::synthetic::payload::{self, Exec};
use crate::text::is_hostile;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::{CgroupId, NsInum, Tgid};
use tracetui_shared::record::exec::ExecRecord;
use tracetui_shared::record::mark;
use tracetui_shared::record::open::{OpenRecord, STARTS};
use tracetui_shared::record::tcp::op;
use zerocopy::IntoBytes as _;

fn object_of(header: FrameHeader, payload: &[u8]) -> Json {
    let line = testing::line(FormatName::Json, header, payload);
    let line = String::from_utf8(line).expect("UTF-8");
    assert_eq!(line.matches('\n').count(), 1);
    assert!(line.trim_end().chars().all(|c| !is_hostile(c)), "{line:?}");
    serde_json::from_str(&line).expect("JSON")
}

fn object(kind: Kind, payload: &[u8]) -> Json {
    object_of(testing::header(kind), payload)
}

#[track_caller]
fn check_line(kind: Kind, payload: &[u8], own: &str) {
    let line = testing::line(FormatName::Json, testing::header(kind), payload);
    let common = format!(
        r#"{{"kind":"{}","time":"2026-11-20T10:02:11.500000001Z","ns":3731500000001,"cpu":1,"pid":48214,"tid":48215,"ppid":48213,"comm":"cc","uid":1000,"gid":1001,"cgroup":"/user.slice/app.scope","start_ns":3731419000000,"mnt_ns":4026531841,"pid_ns":4026531836,"ns_pid":null,"unit":"app.scope","container":null,"pod":null,"process":"cc","#,
        kind.name()
    );
    assert_eq!(String::from_utf8(line).expect("UTF-8"), format!("{common}{own}}}\n"));
}

#[test]
fn kinds_with_reasons_have_one_if_they_failed() {
    let mut reasons = 0;
    for (header, payload) in testing::all() {
        testing::with_seen(header, &payload, |seen| {
            let out = testing::explained(FormatName::Json, Basis::Checked(400), seen).into_bytes();
            let object: Json = serde_json::from_slice(&out).expect("one object");
            let asked = crate::why::explains(&seen.event.body);
            assert_eq!(object.get("why").is_some(), asked, "{object}");
            let why = object.get("why").filter(|why| !why.is_null());
            assert_eq!(why.is_some(), asked && seen.event.failed(), "{object}");
            if let Some(why) = why {
                reasons += 1;
                assert_eq!((&why["cause"], &why["checked_after_ns"]), (&"missing".into(), &400.into()));
                assert_eq!((&why["near"], &why["proven"]), (&Json::Null, &Json::Null));
            }
            assert!(out.iter().all(|byte| *byte >= b' ' || *byte == b'\n'), "{out:?}");
        });
    }
    assert!(reasons > 0);
}

#[test]
fn what_is_kept_of_a_thread_is_its_own() {
    let opened = testing::opened(b"/a");
    let header = |change: fn(&mut FrameHeader)| {
        let mut header = testing::header(Kind::Open);
        change(&mut header);
        header
    };
    let headers = [
        header(|_| ()),
        header(|_| ()),
        header(|header| header.cpu = 7),
        header(|header| header.uid.0 += 1),
        header(|header| header.comm[0] = b'"'),
        header(|header| header.comm[0] = 0xff),
        header(|header| header.ns_pid = Tgid(5)),
        header(|header| header.mnt_ns = NsInum(0)),
        header(|header| header.start.0 += 1),
        // It has the place of the first one.
        header(|header| header.tid.0 += limits::FORMATTED_THREADS as u32),
        header(|_| ()),
    ];
    let mut kept = super::Json::default();
    for header in headers {
        let mut line = Vec::new();
        testing::with_seen(header, &opened, |seen| kept.line(seen, &mut line));
        assert_eq!(line, testing::line(FormatName::Json, header, &opened), "{header:?}");
    }
}

#[test]
fn every_kind_has_its_line() {
    check_line(
        Kind::Open,
        &testing::opened(b"/usr/include/stdio.h"),
        r#""path":"/usr/include/stdio.h","abs_path":"/usr/include/stdio.h","dir":null,"fs_path":null,"fs":null,"file":{"dev":"254:1","ino":131,"size":1024,"ctime":"2023-11-14T22:13:20.000000005Z"},"deleted":false,"created":false,"root":null,"dirfd":-100,"flags":"O_RDONLY|O_CLOEXEC","flags_raw":524288,"mode":null,"resolve":null,"ret":3,"err":null,"via":"openat","abi":"x86_64","euid":null,"euid_why":"not_collected""#,
    );
    check_line(
        Kind::Exec,
        &testing::execed(b"cc\0-O2\0\0main.c\0"),
        r#""filename":"/usr/bin/cc","exe":"/usr/bin/cc","dir":null,"fs_path":null,"fs":null,"file":null,"file_why":"not_collected","exe_deleted":false,"interp":null,"script":null,"argv":["cc","-O2","","main.c"],"argc":4,"cut":false,"cwd":"/home/ana/app","cwd_fs_path":null,"cwd_fs":null,"cwd_deleted":false,"ret":0,"err":null,"old_tid":null,"euid":1000,"egid":1001,"stdin":null,"stdin_why":"not_collected","stdout":null,"stdout_why":"not_collected","stderr":null,"stderr_why":"not_collected","tty":null,"tty_why":"not_collected","session":null,"session_why":"not_collected","login_uid":null,"login_uid_why":"not_collected""#,
    );
    check_line(
        Kind::Exit,
        &testing::exit(0x7f00),
        r#""exit_code":127,"signal":null,"killed_by":null,"core":false,"dur_ns":81000001,"cpu_user_ns":1500000,"cpu_system_ns":0,"max_rss_bytes":3145728,"read_bytes":0,"written_bytes":0,"argv":[],"argv_why":"not_collected","tty":null,"tty_why":"not_collected","session":null,"session_why":"not_collected","login_uid":null,"login_uid_why":"not_collected","euid":null,"euid_why":"not_collected""#,
    );
    check_line(
        Kind::Exit,
        &testing::exit(0x8b),
        r#""exit_code":null,"signal":"SIGSEGV","killed_by":null,"killed_by_why":"not_collected","core":true,"dur_ns":81000001,"cpu_user_ns":1500000,"cpu_system_ns":0,"max_rss_bytes":3145728,"read_bytes":0,"written_bytes":0,"argv":[],"argv_why":"not_collected","tty":null,"tty_why":"not_collected","session":null,"session_why":"not_collected","login_uid":null,"login_uid_why":"not_collected","euid":null,"euid_why":"not_collected""#,
    );
    check_line(Kind::Fork, &testing::fork(48_300), r#""child_pid":48300,"child_start_ns":3731499000000"#);
    check_line(
        Kind::Bpf,
        &testing::attached(),
        r#""op":"attach","ret":9,"err":null,"prog":{"id":88,"name":"on_connect","type":"tracing","attach_type":"trace_fentry","tag":"9f3a61c07b210001","uid":0,"write_user":"unknown","write_user_why":"not_collected","helpers":null,"helpers_why":"not_collected","changes":null,"changes_why":"not_collected"},"attach":{"type":"fentry","via":"link","target":"tcp_connect","symbol":null,"offset":null,"addr":null,"module":null,"multi":null,"link_id":7,"cookie":null,"ifindex":null},"stack":null,"stack_why":"not_collected","seen_by":"call","missing_in":null"#,
    );
    check_line(
        Kind::Tcp,
        &testing::refused(),
        r#""op":"connect","role":"client","laddr":"10.0.0.5","lport":51514,"raddr":"10.0.0.7","rport":443,"family":"inet","v4_mapped":false,"net_ns":4026531840,"fd":5,"via":"connect","abi":"x86_64","ret":-115,"outcome":"refused","err":"ECONNREFUSED","dur_ns":2000000,"since_ns":3700500000001,"bytes_in":null,"bytes_out":null,"retransmits":0,"rtt_us":213,"end":null,"closer":null,"mptcp":false,"fastopen":false,"protocol":"tcp","backlog":null"#,
    );
    check_line(
        Kind::Tcp,
        testing::tcp(op::CLOSE).as_bytes(),
        r#""op":"close","role":"client","laddr":"10.0.0.5","lport":51514,"raddr":"10.0.0.7","rport":443,"family":"inet","v4_mapped":false,"net_ns":4026531840,"fd":5,"via":"connect","abi":"x86_64","ret":null,"outcome":null,"err":null,"dur_ns":31000000000,"since_ns":3700500000001,"bytes_in":1234567,"bytes_out":842,"retransmits":0,"rtt_us":213,"end":"closed","closer":{"pid":48214,"start_ns":3731419000000},"mptcp":false,"fastopen":false,"protocol":"tcp","backlog":null"#,
    );
}

#[test]
fn every_kind_has_its_line_and_a_lost_row_every_key() {
    let row = object(Kind::Lost, &testing::lost(Some(Kind::Open), 1204, 0));
    assert_eq!(row["kind"], "lost");
    for key in ["pid", "tid", "ppid", "comm", "uid", "gid", "cgroup", "start_ns", "mnt_ns", "pid_ns", "ns_pid"] {
        assert_eq!(row.get(key), Some(&Json::Null), "{key}");
        assert_eq!(row.get(format!("{key}_why")), None);
    }
    assert_eq!((&row["of"], &row["cause"], &row["count"]), (&json!("open"), &json!("ring"), &json!(1204)));
    assert_eq!((&row["cpu"], &row["from_ns"]), (&json!(1), &Json::Null));
    let payloads = [
        (Kind::Exec, testing::execed(b"")),
        (Kind::Exit, testing::exit(9)),
        (Kind::Open, payload::open(OpenRecord { ret: -2, ..OpenRecord::default() }, b"", b"")),
        (Kind::Fork, testing::fork(1)),
        (Kind::Bpf, testing::failed_load()),
        (Kind::Tcp, testing::refused()),
        (Kind::Lost, testing::lost(None, 1, 5)),
    ];
    for (kind, payload) in payloads {
        let object = object(kind, &payload);
        // A stack, the environment, further descriptors and the identity of an opened file are there where they were asked for.
        let asked = |name: &str| {
            !["env", "fds"].contains(&name)
                && (name != "file" || kind == Kind::Exec)
                && (name != "stack" || kind == Kind::Bpf)
        };
        for field in describe::fields(kind).filter(|field| asked(field.name)) {
            assert!(object.get(field.name).is_some(), "{} {}", kind.name(), field.name);
        }
    }
}

#[test]
fn what_is_not_known_says_why() {
    let failed = |how_marks, names: &[u8], path: &[u8]| {
        let record = OpenRecord { ret: -2, how_marks, ..OpenRecord::default() };
        let object = object(Kind::Open, &payload::open(record, names, path));
        assert_eq!(object["err"], json!("ENOENT"));
        ["dir", "dir_why", "abs_path", "abs_path_why"].map(|key| object.get(key).cloned().unwrap_or_default())
    };
    let (null, why) = (Json::Null, json!("not_collected"));
    assert_eq!(failed(0, b"", b"/nope"), [null.clone(), null.clone(), json!("/nope"), null.clone()]);
    assert_eq!(failed(0, b"", b"nope"), [null.clone(), why.clone(), null.clone(), why]);
    assert_eq!(failed(STARTS, b"b\0a\0", b"nope"), [json!("/a/b"), null.clone(), json!("/a/b/nope"), null.clone()]);
    assert_eq!(failed(0, b"", b"")[2..], [null, json!("failed")]);

    let record = OpenRecord { ret: -14, path_marks: mark::FAULT, ..OpenRecord::default() };
    let unread = object(Kind::Open, &payload::open(record, b"", b""));
    assert_eq!((&unread["path"], &unread["path_why"]), (&json!(""), &json!("fault")));

    let record = ExecRecord { argv_marks: mark::FAULT, argc: u32::MAX, ..ExecRecord::default() };
    let unread = object(Kind::Exec, &Exec { filename: b"/x", exe: b"x\0", argv: b"", ..Exec::default() }.of(record));
    assert_eq!((&unread["argv"], &unread["argv_why"]), (&json!([]), &json!("fault")));
    assert_eq!((&unread["argc"], &unread["argc_why"]), (&Json::Null, &json!("no_field")));

    let header = FrameHeader { mnt_ns: NsInum(0), cgroup: Default::default(), ..testing::header(Kind::Fork) };
    let fork = object_of(header, &testing::fork(1));
    assert_eq!((&fork["mnt_ns"], &fork["mnt_ns_why"]), (&Json::Null, &json!("no_field")));
    assert_eq!((&fork["cgroup"], &fork["cgroup_why"]), (&Json::Null, &json!("vanished")));

    let load = object(Kind::Bpf, &testing::failed_load());
    assert_eq!((&load["attach"], load.get("attach_why")), (&Json::Null, None));
    assert_eq!((&load["prog"]["id"], &load["prog"]["id_why"]), (&Json::Null, &json!("failed")));
    assert_eq!(load["prog"]["type"], "kprobe");
}

#[test]
fn a_process_elsewhere_has_its_id_there_its_unit_and_pod() {
    let at = |cgroup: u64| {
        let header = FrameHeader { cgroup: CgroupId(cgroup), ..testing::header(Kind::Exit) };
        object_of(header, &testing::exit(0))
    };
    let id = "a1".repeat(32);
    let (found, forged) = (at(43), at(44));
    assert_eq!(found["unit"], format!("cri-containerd-{id}.scope/a.service"));
    let container = json!({"id":id,"name":"web","runtime":"containerd","image":null,"image_why":"not_collected"});
    assert_eq!(found["container"], container);
    let uid = "01234567-89ab-cdef-0123-456789abcdef";
    assert_eq!(found["pod"], json!({"name":"shop-1","namespace":"prod","uid":uid}));
    for field in ["container", "pod"] {
        assert_eq!((&forged[field], &forged[format!("{field}_why")]), (&Json::Null, &json!("not_collected")));
    }
    // In no known cgroup.
    assert_eq!((&at(9)["unit"], &at(9)["unit_why"]), (&Json::Null, &json!("vanished")));
    let header = FrameHeader { pid_ns: NsInum(77), ns_pid: Tgid(1), ..testing::header(Kind::Exit) };
    assert_eq!(object_of(header, &testing::exit(0))["ns_pid"], 1);
}

#[test]
fn names_come_back_as_they_were_or_in_hex() {
    let name = "/tmp/\"q\" \\b\\ \n\t\r\x08\x0c\x1b[2J\x7f \u{9b}31m\u{202e}fdp \u{e0041} é 中 \u{2028}";
    assert_eq!(object(Kind::Open, &testing::opened(name.as_bytes()))["path"], name);
    let comm = "a\"\n\u{301}é\\";
    assert_eq!(object_of(testing::named(Kind::Exit, comm.as_bytes()), &testing::exit(0))["comm"], comm);
    // Heaps of marks do not reach other lines.
    let name = format!("\u{301}e{}", "\u{301}".repeat(9));
    let line = testing::line(FormatName::Json, testing::header(Kind::Open), &testing::opened(name.as_bytes()));
    let line = String::from_utf8(line).expect("UTF-8");
    assert!(line.contains(&format!("\"\\u0301e{}\\u0301\"", "\u{301}".repeat(8))), "{line}");
    assert_eq!(object(Kind::Open, &testing::opened(name.as_bytes()))["path"], name);
    // In another locale, everything is ASCII, and the same to a program.
    let path = "/tmp/\u{6db}\u{c6db}\u{1f600} e\u{301}".as_bytes();
    let header = || testing::named(Kind::Open, b"\xffx");
    let line = testing::line_in(Charset::Ascii, FormatName::Json, header(), &testing::opened(path));
    assert!(line.is_ascii(), "{}", String::from_utf8_lossy(&line));
    let utf8 = testing::line(FormatName::Json, header(), &testing::opened(path));
    let read = |line: &[u8]| serde_json::from_slice::<Json>(line).expect("JSON");
    assert_eq!(read(&line), read(&utf8));
    // Bytes that are not utf 8 are there in hex.
    let open = object(Kind::Open, &testing::opened(b"/tmp/caf\xe9/\"x"));
    assert_eq!(open["path"], "/tmp/caf\u{fffd}/\"x");
    assert_eq!(open["path_hex"], "2f746d702f636166e92f2278");
    assert_eq!((&open["abs_path"], &open["abs_path_hex"]), (&open["path"], &open["path_hex"]));

    let exec = object(Kind::Exec, &testing::execed(b"cc\0\xff\xfe\0\0e\n\0"));
    assert_eq!(exec["argv"], json!(["cc", "\u{fffd}\u{fffd}", "", "e\n"]));
    assert_eq!(exec["argv_hex"], json!([null, "fffe", null, null]));

    let exit = object_of(testing::named(Kind::Exit, b"\xc3\"a"), &testing::exit(0));
    assert_eq!((&exit["comm"], &exit["comm_hex"]), (&json!("\u{fffd}\"a"), &json!("c32261")));
    // Only when it is needed.
    let exec = object(Kind::Exec, &testing::execed("cc\0é\0".as_bytes()));
    assert_eq!((exec.get("argv_hex"), &exec["argv"]), (None, &json!(["cc", "é"])));
    assert_eq!(object(Kind::Open, &testing::opened("/é".as_bytes())).get("path_hex"), None);
    // No arguments and only empty ones differ.
    assert_eq!(object(Kind::Exec, &testing::execed(b""))["argv"], json!([]));
    assert_eq!(object(Kind::Exec, &testing::execed(b"\0"))["argv"], json!([""]));
    assert_eq!(object(Kind::Exec, &testing::execed(b"\0\0"))["argv"], json!(["", ""]));
    let cut = ExecRecord { argv_total: 900, ..ExecRecord::default() };
    let cut = object(Kind::Exec, &Exec { filename: b"/x", exe: b"x\0", argv: b"x\0lon", ..Exec::default() }.of(cut));
    assert_eq!((&cut["argv"], &cut["cut"]), (&json!(["x", "lon"]), &json!(true)));
}

/// Values that no field has so far.
const RARE: &[Field] = &[
    Field::new("addr", Shape::Text, "", |_| Value::Addr(0xffff_ffff_81c3_a1f0)),
    Field::new("low", Shape::Text, "", |_| Value::Addr(0x1000)),
    Field::new("cloexec", Shape::Text, "", |_| Value::Flags(0o2000000)),
    Field::new("none_set", Shape::Text, "", |_| Value::Flags(0)),
    Field::new("trunc", Shape::Text, "", |_| Value::Flags(0o1101)),
    Field::new("words", Shape::List, "", |_| Value::Words(Words::new(5, |bit| ["a", "", "b"][bit]))),
    Field::new("none", Shape::List, "", |_| Value::Words(Words::new(0, |_| ""))),
    Field::new("pair", Shape::Text, "", |_| Value::Pair(b"sched", b"x\"\xff")),
    Field::new("least", Shape::Number, "", |_| Value::Int(i64::MIN)),
    Field::new("most", Shape::Number, "", |_| Value::Uint(u64::MAX)),
];

#[test]
fn rare_values_are_written_as_promised() {
    let mut out = Vec::new();
    let steps = plan(RARE.iter());
    testing::with_seen(testing::header(Kind::Exit), &testing::exit(0), |seen| {
        Values::default().object(&steps, seen, &mut out);
    });
    let text = r#"{"addr":"0xffffffff81c3a1f0","low":"0x0000000000001000","cloexec":"O_RDONLY|O_CLOEXEC","none_set":"O_RDONLY","trunc":"O_WRONLY|O_CREAT|O_TRUNC","words":["a","b"],"none":[],"pair":"sched:x\"?","pair_hex":"73636865643a7822ff","least":-9223372036854775808,"most":18446744073709551615}"#;
    assert_eq!(String::from_utf8(out).expect("UTF-8"), text.replace('?', "\u{fffd}"));
}

proptest! {
    #[test]
    fn any_bytes_make_json_that_gives_them_back(
        path in prop::collection::vec(1u8.., 0..60),
        argv in prop::collection::vec(prop::collection::vec(1u8.., 0..12), 0..6),
    ) {
        let open = object(Kind::Open, &testing::opened(&path));
        prop_assert_eq!(open["path"].as_str(), Some(&*String::from_utf8_lossy(&path)));
        prop_assert_eq!(open.get("path_hex").is_some(), str::from_utf8(&path).is_err());

        let area: Vec<u8> = argv.iter().flat_map(|arg| [arg.as_slice(), b"\0"].concat()).collect();
        let exec = object(Kind::Exec, &testing::execed(&area));
        let lossy: Vec<_> = argv.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
        prop_assert_eq!(&exec["argv"], &json!(lossy));
        let hex = |arg: &Vec<u8>| {
            let digits: String = arg.iter().map(|b| format!("{b:02x}")).collect();
            if str::from_utf8(arg).is_ok() { Json::Null } else { json!(digits) }
        };
        let hexes: Vec<Json> = argv.iter().map(hex).collect();
        let some = hexes.iter().any(|hex| !hex.is_null());
        prop_assert_eq!(exec.get("argv_hex").cloned(), some.then_some(Json::Array(hexes)));
    }
}
