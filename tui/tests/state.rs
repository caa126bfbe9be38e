//! A pipeline that is restored from a saved state and fed the later frames has the same results as one that was fed all
//! frames. The tests compare every line of every sink, and the account.

use proptest::prelude::*;
use tracetui::budget::Budget;
use tracetui::event::EventContext;
use tracetui::frame::host::{Cgroup, Clock, Host, HostFrame, Probe, ProcessSeed, Trace, User};
use tracetui::frame::{Batch, FrameRef};
use tracetui::pipeline::{Disposition, Pipeline};
use tracetui::sink::{FormatName, to_writer};
use tracetui::source::synthetic::Maker;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::header::flag;
use tracetui_shared::id::{CgroupId, Gid, NsInum, Tgid, Uid};
use tracetui_shared::kind::{Kind, KindSet, Slot};
use tracetui_shared::record::exec::{ExecChunk, ExecRecord};
use tracetui_shared::record::mark;
use tracetui_shared::record::open::{OpenRecord, RequestPart, uring, via};
use tracetui_shared::time::BootNanos;
use zerocopy::IntoBytes;

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
    Lose(u64),
    Book { pid: u32 },
    Seed { pid: u32, parent: u32, exact: bool },
    Cgroup { id: u64, name: u8 },
    User { uid: u32, name: u8 },
    Clock(i64),
    Counters,
    Unreadable,
    Back(u64),
    Drained,
    Batch,
}

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
        1 => (1u64..5).prop_map(Happens::Lose),
        1 => pid().prop_map(|pid| Happens::Book { pid }),
        1 => (pid(), pid(), any::<bool>()).prop_map(|(pid, parent, exact)| Happens::Seed { pid, parent, exact }),
        1 => (0u64..3, 0u8..3).prop_map(|(id, name)| Happens::Cgroup { id, name }),
        1 => (1000u32..1003, 0u8..3).prop_map(|(uid, name)| Happens::User { uid, name }),
        1 => (0i64..1_000_000_000).prop_map(Happens::Clock),
        1 => Just(Happens::Counters),
        1 => Just(Happens::Unreadable),
        1 => (0u64..30).prop_map(Happens::Back),
        1 => Just(Happens::Drained),
        4 => Just(Happens::Batch),
    ]
}

fn name(number: u8) -> String {
    format!("/srv/file-{number}")
}

struct Story {
    maker: Maker,
    batches: Vec<Batch>,
}

impl Story {
    fn new(command: bool, preemptible: bool) -> Story {
        let mut maker = Maker::default();
        let command = Tgid(if command { 3 } else { 0 });
        let kinds = (KindSet::PROBED).bits();
        maker.host(&HostFrame::Trace(Trace { kinds, command, filter: "comm=x".into() }));
        maker.host(&HostFrame::Host(Host { pid_ns: NsInum(7), name: "a".into(), ..Host::default() }));
        maker.host(&HostFrame::Clock(Clock { offset_ns: 5 }));
        let name = Slot::OpenUringQuiet.program().to_owned();
        maker.host(&HostFrame::Probe(Probe { name, attached: preemptible, preemptible, ..Probe::default() }));
        Story { maker, batches: Vec::new() }
    }

    fn add(&mut self, happens: &Happens) {
        let maker = &mut self.maker;
        match *happens {
            Happens::Open { pid, path, ret } => {
                maker.like.cgroup = CgroupId(u64::from(path) % 3);
                maker.like.uid = Uid(1000 + u32::from(path) % 3);
                maker.open(pid, "opener", &name(path), ret);
            }
            Happens::Exec { pid, args, ret } => {
                let args: Vec<String> = (0..args).map(name).collect();
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                maker.exec(pid, "execer", &args, ret);
            }
            Happens::LongExec { pid, parts, sent } => {
                let header = maker.header(Slot::ExecBtf, pid, "long");
                let argv_len = u32::from(parts) * 8 + 4;
                let record = ExecRecord { argc: 1, argv_len, argv_total: argv_len, ..ExecRecord::default() };
                maker.made.push(header, &[record.as_bytes(), b"long"].concat());
                for part in 0..parts.min(sent) {
                    let header = FrameHeader { flags: flag::CONTINUES, ..header };
                    let chunk = ExecChunk { offset: 4 + u32::from(part) * 8, len: 8, ..ExecChunk::default() };
                    maker.made.push(header, &[chunk.as_bytes(), b"argument"].concat());
                    if part == 0 {
                        // Ends the batch here, so that a state may be saved between the parts of the arguments.
                        let batch = std::mem::take(&mut maker.made);
                        self.batches.push(batch);
                    }
                }
            }
            Happens::Exit { pid, status } => maker.exit(pid, "exiter", status),
            Happens::Fork { parent, child, again } => {
                // Process ids are sometimes reused.
                maker.start_ns += again * 1_000_000;
                maker.fork(parent, "forker", child);
            }
            Happens::Request { pid, address, path, quiet } => {
                let bits = if quiet { uring::QUIET } else { 0 };
                let path = name(path);
                let asked = OpenRecord { uring: bits, path_len: path.len() as u16, ..asked() };
                let mut header = maker.header(Slot::UringSubmit, pid, "submitter");
                header.flags = flag::REQUEST | flag::BOOKKEEPING;
                let part = RequestPart { request: address, place: 9 };
                maker.made.push(header, &[asked.as_bytes(), part.as_bytes(), path.as_bytes()].concat());
            }
            Happens::End { pid, address, ret } => {
                let names = b"file\0srv\0";
                let end = OpenRecord {
                    ret,
                    names_len: names.len() as u16,
                    root_off: names.len() as u16,
                    path_marks: mark::NOT_COLLECTED,
                    ..asked()
                };
                let part = RequestPart { request: address, place: 9 };
                maker.event(Slot::OpenUring, pid, "worker", &[end.as_bytes(), part.as_bytes(), names].concat());
            }
            Happens::Lose(count) => maker.lose(count),
            Happens::Book { pid } => {
                let mut header = maker.header(Slot::ForkBtf, pid, "booked");
                header.flags = flag::BOOKKEEPING;
                let payload = tracetui::source::synthetic::payload::fork((pid, header.start), (pid + 10, header.start));
                maker.made.push(header, &payload);
            }
            Happens::Seed { pid, parent, exact } => {
                let start = maker.start_of(pid);
                let start = if exact { start } else { BootNanos(start.0 / 10_000_000 * 10_000_000) };
                maker.host(&HostFrame::ProcessSeed(ProcessSeed {
                    tgid: Tgid(pid),
                    start,
                    start_exact: exact,
                    tick_ns: 10_000_000,
                    ppid: Tgid(parent),
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
                maker.host(&HostFrame::Cgroup(Cgroup { id: CgroupId(id), path }));
            }
            Happens::User { uid, name } => {
                maker.host(&HostFrame::User(User { uid: Uid(uid), name: format!("user{name}") }));
            }
            Happens::Clock(offset_ns) => maker.host(&HostFrame::Clock(Clock { offset_ns })),
            Happens::Counters => maker.counters(false),
            Happens::Unreadable => maker.made.push_raw(b"no frame"),
            Happens::Back(ms) => maker.ns -= ms * 1_000_000,
            Happens::Drained => maker.made.set_drained_at(BootNanos(maker.ns)),
            Happens::Batch => {
                let batch = std::mem::take(&mut maker.made);
                self.batches.push(batch);
            }
        }
    }

    fn end(mut self) -> Vec<Batch> {
        self.batches.push(std::mem::take(&mut self.maker.made));
        self.maker.counters(true);
        self.batches.push(self.maker.made);
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
        pipeline.release(&mut take);
    }
    if end {
        pipeline.finish(&mut take);
    }
    sink.finish().expect("a Vec takes everything");
    drop(sink);
    String::from_utf8(out).expect("every line is UTF-8")
}

fn pipeline() -> Pipeline {
    let mut pipeline = Pipeline::default();
    pipeline.set_budget(Budget::new(64 << 20));
    pipeline
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
        whole.follow(&[Tgid(2), Tgid(50)]);
        fold(&mut whole, before, format, false);
        let state = whole.state();
        let mut restored = pipeline();
        restored.restore(&state);
        restored.follow(&[Tgid(2), Tgid(50)]);
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

proptest! {
    #[test]
    fn a_state_and_the_rest_make_what_all_makes(
        happens in prop::collection::vec(happens(), 0..120),
        split in 0usize..40,
        (command, preemptible) in any::<(bool, bool)>(),
    ) {
        let mut story = Story::new(command, preemptible);
        happens.iter().for_each(|happens| story.add(happens));
        let batches = story.end();
        check(&batches, split);
    }
}
