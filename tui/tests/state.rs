//! A pipeline that is restored from a saved state and fed the later frames has the same results as one that was fed all
//! frames. The tests compare every line of every sink, and the account.

use proptest::prelude::*;
use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};
use tracetui::cli::Moment;
use tracetui_events::bpf::Via;
use tracetui_events::budget::Budget;
use tracetui_events::event::EventContext;
use tracetui_events::filter::FilterOptions;
use tracetui_events::frame::host::{
    BpfAttachment, BpfHolder, BpfHolders, BpfInventory, BpfProgram, BpfProgramGone, BpfRuns, Cgroup, Clock,
    CommandOutput, Host, HostFrame, Probe, ProcessSeed, ProgramChange, ProgramChangesLost, Trace, User,
};
use tracetui_events::frame::{Batch, FrameRef};
use tracetui_events::pipeline::{Disposition, Pipeline};
use tracetui_events::playback::{Playback, Played, Step};
use tracetui_events::recording::Writer;
use tracetui_events::recording::block::FileHeader;
use tracetui_events::sink::{FormatName, to_writer};
use tracetui_events::synthetic::{Maker, Scratch, payload};
use tracetui_events::text::time::Zone;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::header::flag;
use tracetui_shared::id::{CgroupId, Gid, LinkId, NsInum, ProgId, Tgid, Tid, Uid};
use tracetui_shared::kind::{Kind, KindSet, Slot};
use tracetui_shared::record::bpf::{BpfRecord, call, cmd, has, on};
use tracetui_shared::record::exec::{ExecChunk, ExecRecord};
use tracetui_shared::record::mark;
use tracetui_shared::record::open::{OpenRecord, RequestPart, uring, via};
use tracetui_shared::record::tcp::TcpRecord;
use tracetui_shared::time::BootNanos;
use zerocopy::{FromZeros as _, IntoBytes};

/// An event with small numbers, so that values coincide.
#[derive(Clone, Debug)]
enum Happens {
    Open { pid: u32, path: u8, ret: i32 },
    Exec { pid: u32, args: u8, ret: i32 },
    LongExec { pid: u32, parts: u8, sent: u8 },
    Exit { pid: u32, status: u32 },
    Fork { parent: u32, child: u32, again: u64 },
    Request { pid: u32, address: u64, path: u8, quiet: bool },
    End { pid: u32, address: u64, ret: i32 },
    Tcp { pid: u32, op: u8 },
    Lose(u64),
    Book { pid: u32 },
    Seed { pid: u32, parent: u32, exact: bool },
    Cgroup { id: u64, name: u8 },
    User { uid: u32, name: u8 },
    Clock(i64),
    Counters,
    Unreadable,
    Came { pid: u32, id: u32, own: bool },
    Went { id: u32, own: bool },
    Loads { pid: u32, id: u32 },
    ChangesLost(u64),
    Known { id: u32, own: bool, there: bool },
    Held { id: u32, link: u32, count: u32 },
    Ran { id: u32, count: u64 },
    Attached { key: u32, id: u32, link: u32, news: bool, gone: bool },
    Attaches { pid: u32, id: u32, link: u32, gone: bool, place: u8 },
    Updates { pid: u32, id: u32, link: u32 },
    Taken { ago: u64, complete: bool, unseen: bool },
    Back(u64),
    Wrote { number: usize, columns: u16 },
    Drained,
    Settled,
    Batch,
}

const WRITTEN: [&[u8]; 8] = [
    b"line\r\n",
    b"\x1b[1;31mred\x1b[m and so on, until the line is longer than the screen\r\n",
    b"\x1b[?1049h\x1b[2;3r\x1b[Halternate",
    b"\x1b[?1049l",
    "\u{65e5}\u{672c}".as_bytes(),
    b"\xe6\x97",
    b"\x1b[3",
    b"\n\n\n\n\n\n\n\n\n\n",
];

fn happens() -> impl Strategy<Value = Happens> {
    let pid = || 1u32..9;
    let ret = || prop_oneof![Just(0), Just(3), Just(-2), Just(-13)];
    prop_oneof![
        4 => (pid(), 0u8..9, ret()).prop_map(|(pid, path, ret)| Happens::Open { pid, path, ret }),
        2 => (pid(), 0u8..5, ret()).prop_map(|(pid, args, ret)| Happens::Exec { pid, args, ret: ret.min(0) }),
        1 => (pid(), 1u8..4, 0u8..4).prop_map(|(pid, parts, sent)| Happens::LongExec { pid, parts, sent }),
        2 => (pid(), 0u32..300).prop_map(|(pid, status)| Happens::Exit { pid, status }),
        3 => (pid(), pid(), 0u64..3).prop_map(|(parent, child, again)| Happens::Fork { parent, child, again }),
        2 => (pid(), 0u64..3, 0u8..9, any::<bool>())
            .prop_map(|(pid, address, path, quiet)| Happens::Request { pid, address, path, quiet }),
        2 => (pid(), 0u64..3, ret()).prop_map(|(pid, address, ret)| Happens::End { pid, address, ret }),
        2 => (pid(), 0u8..4).prop_map(|(pid, op)| Happens::Tcp { pid, op }),
        1 => (1u64..5).prop_map(Happens::Lose),
        1 => pid().prop_map(|pid| Happens::Book { pid }),
        1 => (pid(), pid(), any::<bool>()).prop_map(|(pid, parent, exact)| Happens::Seed { pid, parent, exact }),
        1 => (0u64..3, 0u8..3).prop_map(|(id, name)| Happens::Cgroup { id, name }),
        1 => (1000u32..1003, 0u8..3).prop_map(|(uid, name)| Happens::User { uid, name }),
        1 => (0i64..1_000_000_000).prop_map(Happens::Clock),
        1 => Just(Happens::Counters),
        1 => Just(Happens::Unreadable),
        2 => (pid(), 0u32..9, prop::bool::weighted(0.2)).prop_map(|(pid, id, own)| Happens::Came { pid, id, own }),
        1 => (0u32..9, prop::bool::weighted(0.2)).prop_map(|(id, own)| Happens::Went { id, own }),
        2 => (pid(), 0u32..9).prop_map(|(pid, id)| Happens::Loads { pid, id }),
        1 => (0u64..3).prop_map(Happens::ChangesLost),
        1 => (0u32..9, any::<bool>(), any::<bool>()).prop_map(|(id, own, there)| Happens::Known { id, own, there }),
        1 => (0u32..4, 0u32..4, 0u32..3).prop_map(|(id, link, count)| Happens::Held { id, link, count }),
        1 => (0u32..9, any::<u64>()).prop_map(|(id, count)| Happens::Ran { id, count }),
        2 => (0u32..5, 0u32..9, 0u32..4, any::<bool>(), any::<bool>())
            .prop_map(|(key, id, link, news, gone)| Happens::Attached { key, id, link, news, gone }),
        4 => (pid(), 0u32..9, 0u32..4, any::<bool>(), 0u8..4)
            .prop_map(|(pid, id, link, gone, place)| Happens::Attaches { pid, id, link, gone, place }),
        1 => (pid(), 0u32..9, 1u32..4).prop_map(|(pid, id, link)| Happens::Updates { pid, id, link }),
        2 => (0u64..20, prop::bool::weighted(0.7), prop::bool::weighted(0.1))
            .prop_map(|(ago, complete, unseen)| Happens::Taken { ago, complete, unseen }),
        1 => (0u64..30).prop_map(Happens::Back),
        2 => (0..WRITTEN.len(), 19u16..22).prop_map(|(number, columns)| Happens::Wrote { number, columns }),
        1 => Just(Happens::Drained),
        1 => Just(Happens::Settled),
        4 => Just(Happens::Batch),
    ]
}

fn name(part: u32, number: u8) -> String {
    format!("/srv/file-{part}-{number}")
}

fn pid_of(part: u32, pid: u32) -> u32 {
    100 * part + pid
}

struct Story {
    maker: Maker,
    batches: Vec<Batch>,
    /// Processes and names of a later part are others.
    part: u32,
    /// The time up to which all events have come. No later one goes back before it.
    settled: u64,
}

impl Story {
    fn new(command: bool, preemptible: bool) -> Story {
        Story::filtered(command, preemptible, "comm=x")
    }

    /// A story of a trace with a filter.
    fn filtered(command: bool, preemptible: bool, filter: &str) -> Story {
        let mut maker = Maker::default();
        let command = Tgid(if command { 3 } else { 0 });
        let kinds = (KindSet::PROBED).bits();
        maker.host(&HostFrame::Trace(Trace { kinds, command, filter: filter.into(), ..Trace::default() }));
        maker.host(&HostFrame::Host(Host { pid_ns: NsInum(7), name: "a".into(), ..Host::default() }));
        maker.host(&HostFrame::Clock(Clock { offset_ns: 5 }));
        let name = Slot::OpenUring.program().to_owned();
        maker.host(&HostFrame::Probe(Probe { name, attached: preemptible, preemptible, ..Probe::default() }));
        Story { maker, batches: Vec::new(), part: 0, settled: 0 }
    }

    fn add(&mut self, happens: &Happens) {
        let (maker, part) = (&mut self.maker, self.part);
        let name = |number| name(part, number);
        let pid = |pid| pid_of(part, pid);
        match *happens {
            Happens::Open { pid: by, path, ret } => {
                maker.like.cgroup = CgroupId(u64::from(path) % 3);
                maker.like.uid = Uid(1000 + u32::from(path) % 3);
                maker.open(pid(by), &format!("opener{part}"), &name(path), ret);
            }
            Happens::Exec { pid: by, args, ret } => {
                let args: Vec<String> = (0..args).map(name).collect();
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                maker.exec(pid(by), "execer", &args, ret);
            }
            Happens::LongExec { pid: by, parts, sent } => {
                let header = maker.header(Slot::Exec, pid(by), "long");
                let argv_len = u32::from(parts) * 8 + 4;
                let record = ExecRecord { argc: 1, argv_len, argv_total: argv_len, ..ExecRecord::default() };
                maker.batch.push(header, &[record.as_bytes(), b"long"].concat());
                for part in 0..parts.min(sent) {
                    let header = FrameHeader { flags: flag::CONTINUES, ..header };
                    let chunk = ExecChunk { offset: 4 + u32::from(part) * 8, len: 8, ..ExecChunk::default() };
                    maker.batch.push(header, &[chunk.as_bytes(), b"argument"].concat());
                    if part == 0 {
                        // Ends the batch here, so that a state may be saved between the parts of the arguments.
                        let batch = std::mem::take(&mut maker.batch);
                        self.batches.push(batch);
                    }
                }
            }
            Happens::Exit { pid: by, status } => maker.exit(pid(by), "exiter", status),
            Happens::Fork { parent, child, again } => {
                // Process ids are sometimes reused.
                maker.start_ns += again * 1_000_000;
                maker.fork(pid(parent), "forker", pid(child));
            }
            Happens::Request { pid: by, address, path, quiet } => {
                let bits = if quiet { uring::QUIET } else { 0 };
                let path = name(path);
                let asked = OpenRecord { uring: bits, path_len: path.len() as u16, ..asked() };
                let mut header = maker.header(Slot::UringSubmit, pid(by), "submitter");
                header.flags = flag::REQUEST | flag::BOOKKEEPING;
                let part = RequestPart { request: address, place: 9 };
                maker.batch.push(header, &[asked.as_bytes(), part.as_bytes(), path.as_bytes()].concat());
            }
            Happens::End { pid: by, address, ret } => {
                let names = b"file\0srv\0";
                let end = OpenRecord {
                    ret,
                    names_len: names.len() as u16,
                    root_off: names.len() as u16,
                    path_marks: mark::NOT_COLLECTED,
                    ..asked()
                };
                let part = RequestPart { request: address, place: 9 };
                maker.event(Slot::OpenUring, pid(by), "worker", &[end.as_bytes(), part.as_bytes(), names].concat());
            }
            Happens::Tcp { pid: by, op } => maker.tcp(pid(by), "connecter", TcpRecord { op, ..TcpRecord::default() }),
            Happens::Lose(count) => maker.lose(count),
            Happens::Book { pid: by } => {
                let mut header = maker.header(Slot::Fork, pid(by), "booked");
                header.flags = flag::BOOKKEEPING;
                let payload = payload::fork((pid(by), header.start), (pid(by) + 10, header.start));
                maker.batch.push(header, &payload);
            }
            Happens::Seed { pid: id, parent, exact } => {
                let start = maker.start_of(pid(id));
                let start = if exact { start } else { BootNanos(start.0 / 10_000_000 * 10_000_000) };
                maker.host(&HostFrame::ProcessSeed(ProcessSeed {
                    tgid: Tgid(pid(id)),
                    start,
                    start_exact: exact,
                    tick_ns: 10_000_000,
                    ppid: Tgid(pid(parent)),
                    uid: Uid(1000),
                    gid: Gid(1000),
                    comm: b"seeded".to_vec(),
                    exe: b"/bin/seeded".to_vec(),
                    argv: b"seeded\0".to_vec(),
                    cwd: b"/".to_vec(),
                    cgroup: b"/old".to_vec(),
                    ..ProcessSeed::default()
                }));
            }
            Happens::Cgroup { id, name } => {
                let path = format!("/cgroup-{name}").into_bytes();
                maker.host(&HostFrame::Cgroup(Cgroup { id: CgroupId(id), path, container: None }));
            }
            Happens::User { uid, name } => {
                maker.host(&HostFrame::User(User { uid: Uid(uid), name: format!("user{name}") }));
            }
            Happens::Clock(offset_ns) => maker.host(&HostFrame::Clock(Clock { offset_ns })),
            Happens::Counters => maker.counters(false),
            Happens::Unreadable => maker.batch.push_raw(b"no frame"),
            Happens::Came { pid: by, id, own } => {
                let (id, tgid, tid) = (ProgId(id), Tgid(pid(by)), Tid(pid(by)));
                let symbol = b"bpf_prog_00000000000000ab_x".to_vec();
                let change = ProgramChange { loaded: true, id, tgid, tid, own, symbol, ..ProgramChange::default() };
                maker.host(&HostFrame::ProgramChange(change));
            }
            Happens::Went { id, own } => {
                let change = ProgramChange { id: ProgId(id), own, ..ProgramChange::default() };
                maker.host(&HostFrame::ProgramChange(change));
            }
            Happens::Loads { pid: by, id } => {
                let mut record = BpfRecord::new_zeroed();
                (record.cmd, record.has, record.prog_id, record.ret) = (cmd::PROG_LOAD, has::PROG, id, 3);
                maker.event(Slot::Bpf, pid(by), "loader", record.as_bytes());
            }
            Happens::Known { id, own, there } => maker.host(&match there {
                true => {
                    HostFrame::BpfProgram(BpfProgram { id: ProgId(id), own, prog_type: 3, ..BpfProgram::default() })
                }
                false => HostFrame::BpfProgramGone(BpfProgramGone { id: ProgId(id) }),
            }),
            Happens::Held { id, link, count } => {
                let holder = |fd| BpfHolder { pid: Tgid(7), comm: b"holder".to_vec(), fd, ..BpfHolder::default() };
                let holders = (0..count).map(holder).collect();
                maker.host(&HostFrame::BpfHolders(BpfHolders {
                    program: ProgId(id),
                    link: LinkId(link),
                    count,
                    holders,
                }));
            }
            Happens::Ran { id, count } => {
                maker.host(&HostFrame::BpfRuns(BpfRuns { id: ProgId(id), count, ..BpfRuns::default() }));
            }
            Happens::Attached { key, id, link, news, gone } => {
                let via = if link == 0 { Via::ProgAttach } else { Via::Link };
                let (program, link) = (ProgId(id), LinkId(link));
                let target = b"lo".to_vec();
                let attachment =
                    BpfAttachment { key, news, gone, program, link, via, target, ..BpfAttachment::default() };
                maker.host(&HostFrame::BpfAttachment(attachment));
            }
            Happens::Attaches { pid: by, id, link, gone, place } => {
                let mut record = BpfRecord::new_zeroed();
                // No program has the id 0, and a call without a link has a place.
                (record.has, record.prog_id, record.link_id) = (has::PROG | has::ATTR, id.max(1), link);
                record.cmd = match (gone, link) {
                    (false, 0) => cmd::PROG_ATTACH,
                    (true, 0) => cmd::PROG_DETACH,
                    (false, _) => cmd::LINK_CREATE,
                    (true, _) => cmd::LINK_DETACH,
                };
                record.has |= if link == 0 { 0 } else { has::LINK };
                match place {
                    0 if link != 0 => {}
                    0 | 1 => (record.on, record.cgroup) = (on::CGROUP, 1),
                    2 => (record.on, record.attach_type, record.object) = (on::DEVICE, 46, 1),
                    _ if link == 0 && !gone => {
                        (record.call, record.cmd, record.prog_type) = (call::PERF_IOCTL, 0, 5);
                        record.has |= has::PERF;
                        (record.target[0], record.target2[0]) = (b'l', b'o');
                    }
                    _ => (record.on, record.object) = (on::MAP, 1),
                }
                maker.event(Slot::Bpf, pid(by), "attacher", record.as_bytes());
            }
            Happens::Updates { pid: by, id, link } => {
                let mut record = BpfRecord::new_zeroed();
                (record.cmd, record.has) = (cmd::LINK_UPDATE, has::PROG | has::LINK);
                (record.prog_id, record.link_id) = (id.max(1), link);
                maker.event(Slot::Bpf, pid(by), "updater", record.as_bytes());
            }
            Happens::Taken { ago, complete, unseen } => {
                let (from, to) = (BootNanos(maker.ns.saturating_sub(ago * 1_000_000)), BootNanos(maker.ns));
                let unseen = if unseen { vec!["links: x".to_owned()] } else { Vec::new() };
                maker.host(&HostFrame::BpfInventory(BpfInventory { from, to, complete, unseen, ..Default::default() }));
            }
            Happens::ChangesLost(count) => {
                maker.host(&HostFrame::ProgramChangesLost(ProgramChangesLost { count, since: BootNanos(maker.ns) }));
            }
            Happens::Back(ms) => maker.ns = (maker.ns - ms * 1_000_000).max(self.settled),
            Happens::Wrote { number, columns } => {
                let output =
                    CommandOutput { columns, rows: 5, bytes: WRITTEN[number].to_vec(), missing: number as u64 };
                maker.host(&HostFrame::CommandOutput(output));
            }
            Happens::Drained => maker.batch.set_drained_at(BootNanos(maker.ns)),
            Happens::Settled => {
                self.settled = maker.ns;
                maker.batch.set_settled_at(BootNanos(maker.ns));
            }
            Happens::Batch => {
                let batch = std::mem::take(&mut maker.batch);
                self.batches.push(batch);
            }
        }
    }

    fn batches_of(happens: &[Vec<Happens>], command: bool, preemptible: bool) -> Vec<Batch> {
        let mut story = Story::filtered(command, preemptible, "");
        for (part, happens) in (0..).zip(happens) {
            story.part = part;
            story.maker.ns += 2_000_000_000;
            happens.iter().for_each(|happens| story.add(happens));
            story.add(&Happens::Batch);
        }
        story.end()
    }

    fn end(mut self) -> Vec<Batch> {
        self.batches.push(std::mem::take(&mut self.maker.batch));
        self.maker.counters(true);
        self.batches.push(self.maker.batch);
        self.batches
    }
}

fn asked() -> OpenRecord {
    OpenRecord { dirfd: 77, via: via::IO_URING, ..OpenRecord::default() }
}

/// Feeds batches. Returns the output of the sink.
fn fold(pipeline: &mut Pipeline, batches: &[Batch], format: FormatName, end: bool) -> String {
    let mut out = Vec::new();
    let mut sink = to_writer(format, &mut out);
    let mut take = |seen: &EventContext<'_>, _: &FrameRef<'_>| {
        sink.event(seen).expect("a Vec takes everything");
        if seen.event.kind() == Kind::Exit { Disposition::Filtered } else { Disposition::Delivered }
    };
    for batch in batches {
        pipeline.feed(batch.clone());
        pipeline.next(None, &mut take);
    }
    if end {
        pipeline.end();
        pipeline.next(None, &mut take);
    }
    sink.finish().expect("a Vec takes everything");
    drop(sink);
    String::from_utf8(out).expect("every line is UTF-8")
}

fn pipeline() -> Pipeline {
    Pipeline::new(Budget::new(64 << 20))
}

/// The children of a process are those with that process as their parent.
fn check_children(pipeline: &Pipeline) {
    let table = &pipeline.world().processes;
    for entry in table.entries() {
        let key = entry.process.key;
        let is_child = |parent| table.get(parent).is_some_and(|parent| parent.process.key == key);
        let of_key = table.entries().filter(|child| child.process.parent.is_some_and(is_child));
        let mut expected: Vec<_> = of_key.map(|child| child.process.key).collect();
        expected.sort_unstable();
        let children: Vec<_> = table.children(key).map(|child| child.process.key).collect();
        assert_eq!(children, expected, "of {key:?}");
    }
}

fn check(batches: &[Batch], split: usize) {
    let (before, after) = batches.split_at(split.min(batches.len()));
    for format in [FormatName::Text, FormatName::Json, FormatName::Csv] {
        let mut whole = pipeline();
        whole.world_mut().processes.follow(&[Tgid(2), Tgid(50)]);
        fold(&mut whole, before, format, false);
        let state = whole.state();
        let mut restored = pipeline();
        restored.restore(&state);
        restored.world_mut().processes.follow(&[Tgid(2), Tgid(50)]);
        assert!(restored.state() == state, "a state is restored whole");
        assert_eq!(format!("{:?}", restored.account()), format!("{:?}", whole.account()), "the account so far");
        let (expected, lines) = (fold(&mut whole, after, format, true), fold(&mut restored, after, format, true));
        assert_eq!(lines, expected);
        assert_eq!(format!("{:?}", restored.account()), format!("{:?}", whole.account()));
        assert_eq!(restored.discrepancy(), whole.discrepancy());
        check_children(&whole);
        check_children(&restored);
    }
}

#[test]
fn a_state_among_the_frames_is_passed_over() {
    let mut story = Story::new(false, false);
    for path in 0..5 {
        story.add(&Happens::Open { pid: 1, path, ret: 3 });
    }
    let batches = story.end();
    let mut other = pipeline();
    fold(&mut other, &batches, FormatName::Json, false);
    let with_state: Vec<Batch> = batches.iter().flat_map(|batch| [batch.clone(), other.state()]).collect();
    let fold_all = |batches: &[Batch]| fold(&mut pipeline(), batches, FormatName::Json, true);
    assert_eq!(fold_all(&with_state), fold_all(&batches));
}

#[test]
fn a_state_has_the_program_of_a_detached_link() {
    let detach = Happens::Attaches { pid: 1, id: 1, link: 1, gone: true, place: 0 };
    let same_place = Happens::Attached { key: 0, id: 1, link: 0, news: true, gone: false };
    let mut story = Story::filtered(false, false, "");
    [detach, Happens::Batch, same_place].iter().for_each(|happens| story.add(happens));
    check(&story.end(), 1);
}

proptest! {
    #[test]
    fn a_state_and_the_rest_make_what_all_makes(
        happens in prop::collection::vec(happens(), 0..120),
        split in 0usize..40,
        (command, preemptible) in any::<(bool, bool)>(),
    ) {
        let mut story = Story::new(command, preemptible);
        happens.iter().for_each(|happens| story.add(happens));
        check(&story.end(), split);
    }
}

/// A trace of which nothing is passed over: it may have other files.
const WHOLE: [u8; 8] = [1; 8];
/// A trace in one file.
const INDEXED: [u8; 8] = [0; 8];

/// Writes batches as a recording. After some, a block ends; after some of these, a state is written.
fn write(file: &Path, batches: &[Batch], run: [u8; 8], ends: &[u8]) {
    let header = FileHeader::new([7; 16], 7).part_of(run, 0);
    let mut writer = Writer::new(File::create(file).expect("room"), &header).expect("room");
    let mut pipeline = pipeline();
    for (batch, end) in batches.iter().zip(ends.iter().cycle()) {
        writer.batch(batch.bytes()).expect("room");
        pipeline.feed(batch.clone());
        pipeline.next(None, &mut |_, _| Disposition::Delivered);
        match end {
            0 | 1 => writer.flush().expect("room"),
            2 | 3 => writer.state(&pipeline.state()).expect("room"),
            _ => {}
        }
    }
    pipeline.end();
    pipeline.next(None, &mut |_, _| Disposition::Delivered);
    writer.end(&pipeline.state()).expect("room");
}

/// What is printed of a recording, at most so many events, the account at the end, and how many blocks were read. The other events count
/// as filtered.
fn printed(
    format: FormatName,
    file: &Path,
    filters: &FilterOptions,
    span: Option<(u64, u64)>,
    most: usize,
) -> (String, String, u64) {
    let budget = Budget::new(64 << 20);
    let mut playback = Playback::open(&[file.to_owned()], filters, budget).expect("a recording");
    if let Some((from, to)) = span {
        let (from, to) = (Moment::Since(from * 1_000_000), Moment::Since(to * 1_000_000));
        playback.between(Some(from), Some(to), Zone::UTC).expect("a time span");
    }
    let mut out = Vec::new();
    let mut sink = to_writer(format, &mut out);
    let (count, mut done) = (Cell::new(0), false);
    let mut take = |played: &Played<'_>| {
        if count.get() == most {
            return Disposition::Filtered;
        }
        count.set(count.get() + 1);
        sink.event(played.context).expect("a Vec takes everything");
        Disposition::Delivered
    };
    while playback.step(&mut take).expect("readable") == Step::More {
        if count.get() == most && !std::mem::replace(&mut done, true) {
            playback.filter_rest();
        }
    }
    sink.finish().expect("a Vec takes everything");
    drop(sink);
    let blocks = playback.recordings()[0].read_so_far().2;
    // Events that are passed over are not examined.
    let mut account = playback.account();
    account.cut_filtered = 0;
    (String::from_utf8(out).expect("JSON"), format!("{account:?}"), blocks)
}

/// A term, mostly about something of one part of a story.
fn term() -> impl Strategy<Value = String> {
    (0u32..12, 1u32..9, 0u8..9, 0usize..20).prop_map(|(part, by, number, which)| {
        let (pid, path) = (pid_of(part, by), name(part, number));
        let leaf = path.rsplit('/').next().unwrap_or_default().to_owned();
        match which {
            0..4 => format!("pid={pid}"),
            4..7 => format!("comm=opener{part}"),
            7 => format!("comm=opener{part},submitter"),
            8..11 => format!("path={path}"),
            11 => format!("path=*/{leaf}"),
            12 => format!("exe=/usr/bin/cc pid={pid}"),
            13 => format!("not path={path}"),
            14 => "comm=long".to_owned(),
            15 => format!("pid={pid} kind=exec,exit"),
            16 => "kind=bpf".to_owned(),
            17 => format!("argv={path}"),
            18 => format!("err pid={pid}"),
            _ => format!("tree={pid}"),
        }
    })
}

fn filter() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => term(),
        1 => (term(), term()).prop_map(|(a, b)| format!("{a} {b}")),
        1 => (term(), term()).prop_map(|(a, b)| format!("({a}) or ({b})")),
        1 => term().prop_map(|term| format!("kind=open,exec ({term})")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_passed_over_makes_no_difference(
        happens in prop::collection::vec(prop::collection::vec(happens(), 0..40), 12),
        (command, preemptible, quiet) in any::<(bool, bool, bool)>(),
        ends in prop::collection::vec(0u8..6, 20),
        filters in prop::collection::vec(filter(), 4),
        span in prop::option::of((0u64..500, 0u64..500).prop_map(|(one, other)| (one.min(other), one.max(other)))),
    ) {
        // Most recordings have no losses and nothing unreadable.
        let odd = |happens: &Happens| matches!(happens, Happens::Unreadable | Happens::Lose(_) | Happens::Request { .. });
        let happens: Vec<Vec<_>> = happens.into_iter().map(|part| {
            part.into_iter().filter(|happens| !quiet || !odd(happens)).collect()
        }).collect();
        let batches = Story::batches_of(&happens, command, preemptible);
        let both = Both::new("filters", &batches, &ends);
        for filter in filters {
            let kind = vec!["exec,exit,open,fork,lost".to_owned()];
            let filters = FilterOptions { filter: vec![filter], kind, ..FilterOptions::default() };
            let (_, [blocks, all]) = both.check(&filters, span, usize::MAX);
            // Looked into, and then read.
            prop_assert!(blocks <= 2 * all, "{} of {}", blocks, all);
        }
    }
}

/// A part of a line, in double quotes: a bare word.
fn word_of(line: &str, from: prop::sample::Index, length: usize) -> String {
    let chars: Vec<char> = line.chars().collect();
    let from = from.index(chars.len());
    let word: String = chars[from..].iter().take(length).filter(|char| !"\\\"".contains(**char)).collect();
    format!("\"{word}\"")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Words of the rows, of which some are in names, and others only in tables and numbers.
    #[test]
    fn words_that_are_passed_over_are_in_no_row(
        happens in prop::collection::vec(prop::collection::vec(happens(), 0..40), 12),
        ends in prop::collection::vec(0u8..6, 20),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1usize..12), 6),
    ) {
        let batches = Story::batches_of(&happens, false, false);
        let both = Both::new("words", &batches, &ends);
        let kind = vec!["exec,exit,open,fork,bpf,tcp,lost".to_owned()];
        let all = FilterOptions { kind, ..FilterOptions::default() };
        let text = printed(FormatName::Text, &both.plain, &all, None, usize::MAX).0;
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        for (line, from, length) in places.iter().filter(|_| !lines.is_empty()) {
            let word = word_of(lines[line.index(lines.len())], *from, *length);
            let filters = FilterOptions { filter: vec![word], ..all.clone() };
            both.check(&filters, None, usize::MAX);
            both.check(&filters, None, *length);
        }
    }
}

/// A recording with an index, and the same without one.
struct Both {
    _dir: Scratch,
    indexed: PathBuf,
    plain: PathBuf,
}

impl Both {
    fn new(name: &str, batches: &[Batch], ends: &[u8]) -> Both {
        let dir = Scratch::new(&format!("state-{name}"));
        let [indexed, plain] = [("indexed", INDEXED), ("plain", WHOLE)].map(|(name, run)| {
            let file = dir.join(name);
            write(&file, batches, run, ends);
            file
        });
        Both { _dir: dir, indexed, plain }
    }

    /// Prints both: the lines and the account are the same. Returns the lines, and the numbers of blocks that were read.
    fn check(&self, filters: &FilterOptions, span: Option<(u64, u64)>, most: usize) -> (String, [u64; 2]) {
        let [indexed, plain] =
            [&self.indexed, &self.plain].map(|file| printed(FormatName::Json, file, filters, span, most));
        assert_eq!((&indexed.0, indexed.1), (&plain.0, plain.1), "{filters:?}, the first {most}");
        (indexed.0, [indexed.2, plain.2])
    }
}

fn check_indexed(name: &str, batches: &[Batch], ends: &[u8], filter: &str, most: usize) -> (String, [u64; 2]) {
    let filters = FilterOptions { filter: vec![filter.to_owned()], ..FilterOptions::default() };
    Both::new(name, batches, ends).check(&filters, None, most)
}

/// Only the parts with a word are read, whether it is in a path, a name, or arguments in several frames. Of a process, its part and
/// the start and the end are read; after the last wanted event, only the end.
#[test]
fn what_is_rare_is_found_without_reading_all() {
    let opens = |_| (0..9).map(|path| Happens::Open { pid: 1, path, ret: 3 }).collect();
    let mut happens = (0..60).map(opens).collect::<Vec<Vec<_>>>();
    happens[40].push(Happens::LongExec { pid: 2, parts: 2, sent: 2 });
    let batches = Story::batches_of(&happens, false, false);
    let process = format!("pid={}", pid_of(5, 1));
    // Later states have the processes with a found name. Errors have the letters of the last word: EMFILE.
    for (filter, most, count, parts) in [
        ("\"OPENER5\"", usize::MAX, 0, 5),
        ("\"opener5\"", usize::MAX, 99, 1),
        ("\"opener5x\"", usize::MAX, 0, 5),
        ("\"opener5/Qx\"", usize::MAX, 0, 5),
        ("\"argumentarg\"", usize::MAX, 1, 2),
        ("\"ile-5-\"", usize::MAX, 9, 0),
        (&process, usize::MAX, 9, 5),
        ("", 9, 9, 5),
    ] {
        let (lines, [blocks, all]) = check_indexed("rare", &batches, &[2], filter, most);
        assert_eq!(lines.lines().count(), count, "{filter}: {lines}");
        assert!(all > 120 && blocks * parts < all, "{filter}: {blocks} of {all}");
    }
}

/// A request, an end and counters may show that another request was lost: that row passes whatever the filter looks for.
#[test]
fn a_lost_request_is_not_passed_over() {
    let open = || Happens::Open { pid: 1, path: 0, ret: 3 };
    let request = |quiet| Happens::Request { pid: 1, address: 1, path: 0, quiet };
    let end = Happens::End { pid: 2, address: 1, ret: 3 };
    let counters = || vec![Happens::Counters, Happens::Batch, Happens::Counters];
    let exit = Happens::Exit { pid: 1, status: 0 };
    let after_exit = [vec![exit], counters()].concat();
    let shows = [(true, vec![request(false)]), (true, vec![end]), (true, counters()), (false, after_exit)];
    let mut ends = [0; 20];
    ends[11] = 2;
    for (quiet, shows) in shows {
        let mut happens = vec![Vec::new(); 12];
        happens[0].push(request(quiet));
        happens[0].extend(shows.clone());
        happens[1].push(open());
        happens[3].push(open());
        let batches = Story::batches_of(&happens, false, false);
        let (lines, _) = check_indexed("lost", &batches, &ends, "comm=nobody", usize::MAX);
        assert!(lines.contains("\"cause\":\"probe\""), "{shows:?}: {lines}");
    }
}
