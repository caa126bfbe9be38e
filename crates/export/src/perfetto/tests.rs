use super::Perfetto;
use crate::testing;
use proptest::prelude::*;
use std::collections::HashMap;
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::{Clock, Host, HostFrame};
use tracetui_events::sink::Sink;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Kind;
use tracetui_shared::record::tcp::{TcpRecord, flag, op};
use tracetui_shared::time::BootNanos;
use zerocopy::IntoBytes;

type Events = Vec<(FrameHeader, Vec<u8>)>;

/// A field of a message: its number and value.
#[derive(Clone, Copy, Debug)]
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().expect("a varint ends");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    panic!("a varint is too long")
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Wire<'_>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let value = match tag & 7 {
            0 => Wire::Number(varint(&mut bytes)),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at_checked(length).expect("a message is whole");
                bytes = rest;
                Wire::Bytes(value)
            }
            other => panic!("wire type {other}"),
        };
        found.push((tag >> 3, value));
    }
    found
}

fn number(message: &[u8], field: u64) -> Option<u64> {
    fields(message).into_iter().find_map(|(number, value)| match value {
        Wire::Number(n) if number == field => Some(n),
        _ => None,
    })
}

fn all(message: &[u8], field: u64) -> Vec<&[u8]> {
    let bytes = |(number, value)| match value {
        Wire::Bytes(bytes) if number == field => Some(bytes),
        _ => None,
    };
    fields(message).into_iter().filter_map(bytes).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The trace as a reader sees it: `TIME mark category name {argument value …}`.
#[derive(Debug, Default)]
struct Seen {
    lines: Vec<String>,
    snapshots: usize,
}

#[derive(Default)]
struct Texts(HashMap<(u64, u64), String>);

impl Texts {
    fn of(&self, list: u64, iid: u64) -> &str {
        self.0.get(&(list, iid)).expect("each id is defined")
    }

    fn value(&self, annotation: &[u8]) -> String {
        let mut shown = Vec::new();
        for (field, value) in fields(annotation) {
            shown.push(match (field, value) {
                (1, Wire::Number(iid)) => format!("{}=", self.of(3, iid)),
                (2..=4, Wire::Number(n)) => (n as i64).to_string(),
                (6, Wire::Bytes(value)) => text(value),
                (11 | 12, Wire::Bytes(inner)) => format!("[{}]", self.value(inner)),
                (17, Wire::Number(iid)) => self.of(29, iid).to_owned(),
                other => panic!("{other:?}"),
            });
        }
        shown.concat()
    }
}

/// Reads a file, and checks the properties that every reader relies on.
fn read(file: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let mut sequences: HashMap<u64, Texts> = HashMap::new();
    let mut tracks = HashMap::new();
    let mut open: HashMap<u64, Vec<u64>> = HashMap::new();
    for packet in all(file, 1) {
        let sequence = number(packet, 10).expect("a sequence");
        if !all(packet, 6).is_empty() {
            seen.snapshots += 1;
            continue;
        }
        if number(packet, 13).is_some_and(|flags| flags & 1 != 0) {
            sequences.insert(sequence, Texts::default());
        }
        let texts = sequences.get_mut(&sequence).expect("the first packet clears the state");
        for (list, entry) in all(packet, 12).into_iter().flat_map(fields) {
            let Wire::Bytes(entry) = entry else { panic!("{entry:?}") };
            let iid = number(entry, 1).filter(|iid| *iid > 0).expect("an id");
            assert!(texts.0.insert((list, iid), text(all(entry, 2)[0])).is_none(), "{list} {iid} is defined twice");
        }
        for track in all(packet, 60) {
            let uuid = number(track, 1).filter(|uuid| *uuid > 0).expect("an id");
            let name = match all(track, 3).first() {
                Some(process) => format!("{} {}", text(all(process, 6)[0]), number(process, 1).expect("a pid")),
                None => text(all(track, 2)[0]),
            };
            assert!(tracks.insert(uuid, name.clone()).is_none(), "{name} is described twice");
        }
        for event in all(packet, 11) {
            let time = number(packet, 8).expect("a time");
            assert_eq!(number(packet, 13), Some(2));
            let track = number(event, 11).expect("a track");
            let slices = open.entry(track).or_default();
            let on = tracks.get(&track).expect("a described track");
            let mark = match number(event, 9).expect("a type") {
                1 => {
                    slices.push(time);
                    "begin"
                }
                2 => {
                    slices.pop().expect("it began");
                    "end"
                }
                _ => "instant",
            };
            let name = match number(event, 10) {
                Some(iid) => texts.of(2, iid).to_owned(),
                None => all(event, 23).first().map(|name| text(name)).unwrap_or_default(),
            };
            let category = number(event, 3).map(|iid| texts.of(1, iid)).unwrap_or_default();
            let arguments: Vec<_> = all(event, 4).into_iter().map(|annotation| texts.value(annotation)).collect();
            seen.lines.push(format!("{time} {on}: {mark} {category} {name} {{{}}}", arguments.join(" ")));
        }
    }
    seen
}

fn written(runs: &[(Batch, Events)]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut sink = Perfetto::new(Box::new(&mut file));
    for (host, events) in runs {
        testing::with_all(host, events, |seen| sink.event(seen).expect("memory takes all"));
    }
    sink.finish().expect("memory takes all");
    drop(sink);
    file
}

fn one(events: Events) -> Seen {
    read(&written(&[(testing::host(), events)]))
}

#[track_caller]
fn check_lines(seen: &Seen, expected: &[&str]) {
    let short: Vec<_> = seen.lines.iter().map(|line| line.split(" {").next().unwrap_or_default().to_owned()).collect();
    assert_eq!(short, expected);
}

#[test]
fn a_process_is_a_track_and_its_life_a_slice() {
    let at = |ms: u64, kind, payload: Vec<u8>| {
        let mut header = testing::header(kind);
        header.time.0 += ms * 1_000_000;
        (header, payload)
    };
    let seen = one(vec![
        at(0, Kind::Open, testing::opened(b"/etc/passwd")),
        at(1, Kind::Exec, testing::execed(b"cc\0-c\0")),
        at(2, Kind::Exec, testing::not_execed(b"/no", b"no\0")),
        at(3, Kind::Exec, testing::execed(b"ld\0")),
        at(4, Kind::Lost, testing::lost(Some(Kind::Open), 12, 5)),
        at(5, Kind::Exit, testing::exit(9)),
    ]);
    check_lines(
        &seen,
        &[
            "3731500000001 cc 48214: begin process cc",
            "3731500000001 cc 48214: instant open open /etc/passwd",
            "3731501000001 cc 48214: begin program cc -c",
            "3731501000001 cc 48214: instant exec exec /usr/bin/cc",
            "3731502000001 cc 48214: instant exec exec /no ENOENT",
            "3731503000001 cc 48214: end  ",
            "3731503000001 cc 48214: begin program ld",
            "3731503000001 cc 48214: instant exec exec /usr/bin/cc",
            "3731504000001 lost events (): instant lost 12 open events lost here: kernel ring full",
            "3731505000001 cc 48214: instant exit exit SIGKILL",
            "3731505000001 cc 48214: end  ",
            "3731505000001 cc 48214: end  ",
        ],
    );
    assert_eq!(seen.snapshots, 1);
    // A process of the trace begins at its start, and fields are arguments.
    let first = (testing::header(Kind::Open), testing::opened(b"/x"));
    let mut exit = (testing::header(Kind::Exit), testing::exit(0));
    (exit.0.tgid, exit.0.start) = (Tgid(7), BootNanos(exit.0.time.0 + 1_000_000));
    exit.0.time.0 += 3_000_000;
    let seen = one(vec![first, exit]);
    assert!(seen.lines[2].starts_with("3731501000001 cc 7: begin process cc {pid=7 ppid=48213"), "{:?}", seen.lines);
    // Fields are arguments, as in JSON.
    let seen = one(testing::all());
    let line = |part: &str| seen.lines.iter().find(|line| line.contains(part)).expect("a line");
    let open = line("open /tmp");
    assert!(open.contains("path=/tmp/\u{fffd}\u{fffd} path_hex=2f746d702ffffe abs_path="), "{open}");
    assert!(open.contains("dirfd=-100 flags=O_RDONLY|O_CLOEXEC") && !open.contains("root="), "{open}");
    let exec = line("exec /no");
    assert!(exec.contains("argv=[x][\u{fffd}] argv_hex=[][fe]"), "{exec}");
    let attach = line("attach fentry");
    assert!(attach.contains("prog=[id=88][name=on_connect]"), "{attach}");
    assert!(attach.contains("[helpers_why=not_collected]"), "{attach}");
}

#[test]
fn a_connection_is_a_slice() {
    let at = |s: u64, payload: &[u8]| {
        let mut header = testing::header(Kind::Tcp);
        header.time.0 += s * 1_000_000_000;
        (header, payload.to_vec())
    };
    let older = TcpRecord { since: BootNanos(0), flags: flag::OLDER, ..testing::tcp(op::CLOSE) };
    let since = BootNanos(testing::header(Kind::Tcp).time.0 + 1_000_000_000);
    let seen = one(vec![
        at(0, &testing::refused()),
        at(1, testing::tcp(op::CONNECT).as_bytes()),
        at(2, older.as_bytes()),
        at(3, TcpRecord { since, ..testing::tcp(op::CLOSE) }.as_bytes()),
    ]);
    check_lines(
        &seen,
        &[
            "3731500000001 cc 48214: begin process cc",
            "3731500000001 cc 48214: instant tcp connect 10.0.0.7:443 refused",
            "3732500000001 cc 48214: instant tcp connect 10.0.0.7:443 connected",
            "3731500000001 tcp: begin tcp close 10.0.0.7:443 closed",
            "3733500000001 tcp: end  ",
            "3732500000001 tcp: begin tcp close 10.0.0.7:443 closed",
            "3734500000001 tcp: end  ",
        ],
    );
    let slice = &seen.lines[5];
    assert!(slice.contains("bytes_in=1234567 bytes_out=842") && slice.contains("closer=[pid=48214]"), "{slice}");
}

#[test]
fn a_trace_is_of_one_host_and_has_each_change_of_its_clock() {
    let exit = || vec![(testing::header(Kind::Exit), testing::exit(0))];
    let mut other = Batch::default();
    HostFrame::Host(Host { boot_id: "another".into(), ..Host::default() }).push(BootNanos(0), &mut other);
    let mut sink = Perfetto::new(Box::new(std::io::sink()));
    testing::with_all(&testing::host(), &exit(), |seen| sink.event(seen).expect("a host"));
    testing::with_all(&other, &exit(), |seen| {
        let refused = sink.event(seen).expect_err("another host");
        assert!(refused.to_string().contains("export each recording alone"), "{refused}");
    });
    // A new clock is a new snapshot.
    let mut later = Batch::default();
    HostFrame::Clock(Clock { offset_ns: 5 }).push(BootNanos(0), &mut later);
    assert_eq!(read(&written(&[(testing::host(), exit()), (later, exit())])).snapshots, 2);
    // No events are an empty file.
    assert!(one(Vec::new()).lines.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_events_are_a_trace(events in prop::collection::vec(testing::any(), 0..40)) {
        read(&written(&[(testing::host(), events)]));
    }
}
