//! Events for the tests of sinks and of commands that print through them.

use proptest::prelude::{Strategy, prop};
use tracetui_events::enrich::World;
use tracetui_events::event::lost::{Cause, LostRecord};
use tracetui_events::event::{Event, EventContext, unwritten};
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::{Cgroup, Clock, Container, FIRST_KIND, Host, HostFrame};
use tracetui_events::sink::{Explain, FormatName, LineOptions, Style, lines, to_writer};
use tracetui_events::synthetic::comm;
pub(crate) use tracetui_events::synthetic::payload::exit;
use tracetui_events::synthetic::payload::{self, Exec};
use tracetui_events::text::Charset;
use tracetui_events::text::time::Zone;
use tracetui_events::why::{self, Answer, Basis};
use tracetui_shared::header::{FrameHeader, VERSION};
use tracetui_shared::id::{CgroupId, Gid, NsInum, Tgid, Tid, Uid};
use tracetui_shared::kind::{Kind, Slot};
use tracetui_shared::record::bpf::{BpfRecord, call, cmd, has};
use tracetui_shared::record::exec::ExecRecord;
use tracetui_shared::record::identity::Identity;
use tracetui_shared::record::mark;
use tracetui_shared::record::open::OpenRecord;
use tracetui_shared::record::tcp::{TcpRecord, flag, op, outcome, state, via};
use tracetui_shared::time::BootNanos;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// The time of the boot: 2026-11-20T09:00:00Z.
pub(crate) const BOOT_UNIX_NS: i64 = 1_795_165_200_000_000_000;

pub(crate) fn host() -> Batch {
    let mut batch = Batch::default();
    let frames = [
        HostFrame::Host(Host { pid_ns: NsInum(4_026_531_836), ..Host::default() }),
        HostFrame::Clock(Clock { offset_ns: BOOT_UNIX_NS }),
        HostFrame::Cgroup(Cgroup { id: CgroupId(42), path: b"/user.slice/app.scope".to_vec(), container: None }),
        HostFrame::Cgroup(in_pod()),
        // Its container was not found, or its name is forged.
        HostFrame::Cgroup(Cgroup { id: CgroupId(44), container: None, ..in_pod() }),
    ];
    frames.into_iter().for_each(|frame| frame.push(BootNanos(0), &mut batch));
    batch
}

/// The cgroup 43: a container in a pod, of which the runtime knows no image.
fn in_pod() -> Cgroup {
    let (id, uid) = ("a1".repeat(32), "01234567_89ab_cdef_0123_456789abcdef");
    let container = Container {
        id: id.clone().into(),
        runtime: b"containerd".to_vec(),
        name: b"web".to_vec(),
        image: Vec::new(),
        pod_name: b"shop-1".to_vec(),
        pod_namespace: b"prod".to_vec(),
        pod_uid: uid.replace('_', "-").into(),
    };
    let path = format!("/kubepods.slice/kubepods-pod{uid}.slice/cri-containerd-{id}.scope/system.slice/a.service");
    Cgroup { id: CgroupId(43), path: path.into(), container: Some(container) }
}

/// The header of an event of `cc` at 14:02:11.5 in a time zone four hours east of UTC.
pub(crate) fn header(kind: Kind) -> FrameHeader {
    let slot = Slot::of_kind(kind).next().map_or(0, |slot| slot as u16);
    FrameHeader {
        kind: kind as u16,
        version: VERSION,
        slot,
        cpu: 1,
        time: BootNanos(3_731_500_000_001),
        start: BootNanos(3_731_419_000_000),
        cgroup: CgroupId(42),
        tgid: Tgid(48_214),
        tid: Tid(48_215),
        ppid: Tgid(48_213),
        uid: Uid(1000),
        gid: Gid(1001),
        mnt_ns: NsInum(4_026_531_841),
        pid_ns: NsInum(4_026_531_836),
        ns_pid: Tgid(48_214),
        comm: comm(b"cc"),
        ..FrameHeader::default()
    }
}

pub(crate) fn named(kind: Kind, name: &[u8]) -> FrameHeader {
    FrameHeader { comm: comm(name), ..header(kind) }
}

pub(crate) fn opened(path: &[u8]) -> Vec<u8> {
    let file =
        Identity { ino: 131, size: 1024, changed: 1_700_000_000, changed_ns: 1 << 31 | 5, device: 254 << 20 | 1 };
    let record = OpenRecord { ret: 3, dirfd: -100, flags: 0o2000000, via: 1, file, ..OpenRecord::default() };
    let names: Vec<u8> =
        path.rsplit(|b| *b == b'/').filter(|n| !n.is_empty()).flat_map(|n| [n, b"\0"].concat()).collect();
    payload::open(record, &names, path)
}

pub(crate) fn execed(argv: &[u8]) -> Vec<u8> {
    let fds_marks = mark::NOT_COLLECTED.into();
    let record = ExecRecord { argc: u32::MAX, euid: 1000, egid: 1001, fds_marks, ..ExecRecord::default() };
    let (filename, exe, cwd) = (b"/usr/bin/cc", b"cc\0bin\0usr\0", b"app\0ana\0home\0");
    Exec { filename, exe, cwd, argv, ..Exec::default() }.of(record)
}

pub(crate) fn not_execed(path: &[u8], argv: &[u8]) -> Vec<u8> {
    let record = ExecRecord { ret: -2, argc: u32::MAX, ..ExecRecord::default() };
    Exec { filename: path, cwd: b"app\0ana\0home\0", argv, ..Exec::default() }.of(record)
}

pub(crate) fn fork(child: u32) -> Vec<u8> {
    payload::fork((0, BootNanos(0)), (child, BootNanos(3_731_499_000_000)))
}

/// A program of type tracing attached by a link to `tcp_connect`.
pub(crate) fn attached() -> Vec<u8> {
    let mut record = BpfRecord::new_zeroed();
    record.ret = 9;
    record.cmd = cmd::LINK_CREATE;
    record.call = call::BPF;
    record.has = has::PROG | has::LINK | has::ATTR;
    record.prog_id = 88;
    record.prog_type = 26;
    record.expected_attach_type = 24;
    record.tag = [0x9f, 0x3a, 0x61, 0xc0, 0x7b, 0x21, 0, 1];
    record.link_id = 7;
    record.link_type = 2;
    record.target_fd = -1;
    record.name[..10].copy_from_slice(b"on_connect");
    record.target[..11].copy_from_slice(b"tcp_connect");
    record.as_bytes().to_vec()
}

pub(crate) fn failed_load() -> Vec<u8> {
    let mut record = BpfRecord::new_zeroed();
    record.ret = -1;
    record.cmd = cmd::PROG_LOAD;
    record.prog_type = 2;
    record.has = has::ATTR;
    record.prog_uid = u32::MAX;
    record.as_bytes().to_vec()
}

/// The record of an event of a connection to 10.0.0.7:443 that began 31 s before.
pub(crate) fn tcp(op: u8) -> TcpRecord {
    let [local, peer] = ["10.0.0.5:51514", "10.0.0.7:443"].map(|socket| socket.parse().expect("a socket address"));
    let since = BootNanos(3_700_500_000_001);
    let record = TcpRecord { since, decided: BootNanos(since.0 + 2_000_000), fd: 5, ..payload::tcp(op, local, peer) };
    match op {
        op::CONNECT => TcpRecord { flags: flag::HAS_RET, outcome: outcome::DECIDED, rtt_us: 213, ..record },
        op::ACCEPT => {
            let flags = flag::HAS_RET | flag::SERVER;
            TcpRecord { ret: 5, lport: 80, rport: 51_514, via: via::ACCEPT4, flags, ..record }
        }
        _ => TcpRecord {
            bytes_in: 1_234_567,
            bytes_out: 842,
            rtt_us: 213,
            state: state::LAST_ACK,
            closer: Tgid(48_214),
            closer_start: BootNanos(3_731_419_000_000),
            ..record
        },
    }
}

pub(crate) fn refused() -> Vec<u8> {
    TcpRecord { err: 111, ret: -115, ..tcp(op::CONNECT) }.as_bytes().to_vec()
}

pub(crate) fn lost(of: Option<Kind>, count: u64, from_ns: u64) -> Vec<u8> {
    let record = LostRecord {
        of: of.map_or(0, |kind| kind as u16),
        cause: Cause::Ring as u16,
        cpu: 1,
        count,
        from_ns,
        to_ns: 3_731_500_000_001,
    };
    record.as_bytes().to_vec()
}

/// The output of a sink for one event.
pub(crate) fn line(format: FormatName, header: FrameHeader, payload: &[u8]) -> Vec<u8> {
    line_in(Charset::Utf8, format, header, payload)
}

pub(crate) fn line_in(charset: Charset, format: FormatName, header: FrameHeader, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sink = to_writer(format, &mut out);
    sink.set_style(Style { charset, zone: Zone(|_| 4 * 3600), ..Style::default() });
    with_seen(header, payload, |seen| sink.event(seen).expect("a vector takes all"));
    sink.finish().expect("a vector takes all");
    drop(sink);
    out
}

pub(crate) fn with_seen(header: FrameHeader, payload: &[u8], f: impl FnMut(&EventContext<'_>)) {
    with_all(&host(), &[(header, payload.to_vec())], f);
}

/// Calls `f` with each event, after these host frames. Payloads that are too short are left out.
pub(crate) fn with_all(host: &Batch, events: &[(FrameHeader, Vec<u8>)], mut f: impl FnMut(&EventContext<'_>)) {
    let mut batch = host.clone();
    events.iter().for_each(|(header, payload)| batch.push(*header, payload));
    let mut world = World::default();
    for frame in batch.frames() {
        if frame.header.kind >= FIRST_KIND {
            world.apply_host(HostFrame::decode(&frame).expect("a host frame"), frame.header.time);
            continue;
        }
        let Ok(event) = Event::decode(&frame) else { continue };
        let process = world.apply(&event);
        let clock_offset = world.clock_offset;
        f(&EventContext { event: &event, world: &world, process: process.as_ref(), clock_offset });
    }
}

/// An event of each kind, and some that failed.
pub(crate) fn all() -> Vec<(FrameHeader, Vec<u8>)> {
    let mut all = vec![
        (header(Kind::Fork), fork(7)),
        (header(Kind::Exec), execed(b"cc\0-c\0a,b.c\0")),
        (header(Kind::Exec), not_execed(b"/no/\xff", b"x\0\xfe\0")),
        (named(Kind::Open, b"c\xff"), opened(b"/etc/passwd")),
        (header(Kind::Open), opened(b"/tmp/\xff\xfe")),
        (header(Kind::Bpf), attached()),
        (header(Kind::Bpf), failed_load()),
        (header(Kind::Tcp), refused()),
        (header(Kind::Tcp), tcp(op::ACCEPT).as_bytes().to_vec()),
        (header(Kind::Tcp), tcp(op::CLOSE).as_bytes().to_vec()),
        (header(Kind::Lost), lost(Some(Kind::Open), 1204, 5)),
        (header(Kind::Exit), exit(9)),
    ];
    for kind in Kind::PROBED {
        if all.iter().all(|(header, _)| header.kind != kind as u16) {
            all.push((header(kind), unwritten(kind).remove(0)));
        }
    }
    all
}

/// Any event: records of any bytes, with parts of any bytes.
pub(crate) fn any() -> impl Strategy<Value = (FrameHeader, Vec<u8>)> {
    let bytes = |most: usize| prop::collection::vec(proptest::prelude::any::<u8>(), 0..most);
    let kind = prop::sample::select(&Kind::ALL[..]);
    let record = (proptest::prelude::any::<u64>(), 0usize..2048).prop_map(noise);
    (kind, bytes(16), record, bytes(40), bytes(40), 0u64..4).prop_map(|(kind, comm, record, one, two, later)| {
        let mut header = named(kind, &comm);
        header.time.0 += later * 1_000_000_000;
        let payload = match kind {
            Kind::Open => payload::open(read(&record), &one, &two),
            Kind::Exec => {
                Exec { filename: &one, exe: &two, cwd: &one, argv: &two, ..Exec::default() }.of(read(&record))
            }
            Kind::Tcp => {
                let record: TcpRecord = read(&record);
                TcpRecord { op: record.op % 4, ..record }.as_bytes().to_vec()
            }
            Kind::Lost => lost(Some(Kind::Open), u64::from_le_bytes(read(&record)), 5),
            _ => record,
        };
        (header, payload)
    })
}

/// The bytes of a record. Half of those before `end` are 0, and all after it. A strategy for each byte takes ten times as long.
fn noise((mut seed, end): (u64, usize)) -> Vec<u8> {
    let byte = |at| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if at < end && seed >> 63 == 0 { (seed >> 40) as u8 } else { 0 }
    };
    (0..1024).map(byte).collect()
}

fn read<T: FromBytes>(bytes: &[u8]) -> T {
    T::read_from_prefix(bytes).expect("enough bytes").0
}

/// The line of an event, if each failure has a reason.
pub(crate) fn explained(format: FormatName, basis: Basis, seen: &EventContext<'_>) -> String {
    let explain: Explain = Box::new(move |seen| {
        seen.event.failed().then(|| Answer {
            text: b"no \x1b\xff in /a".to_vec(),
            component: Some(b"/a/\xff".to_vec()),
            cause: why::Cause::Missing,
            near: None,
            place: Some(b"it ended".to_vec()),
            basis,
        })
    });
    let mut out = Vec::new();
    let mut sink = lines(format, LineOptions { explain: Some(explain), ..LineOptions::default() }, &mut out);
    sink.event(seen).expect("a Vec takes all");
    sink.finish().expect("a Vec takes all");
    drop(sink);
    String::from_utf8(out).expect("UTF-8")
}
