//! The pipeline with synthetic frames: order, gaps, continuations, identity, the account.

mod attached;

use super::*;
use crate::bpf::{Hook, Via, View};
use crate::budget::Budget;
use crate::event::process::{Origin, ProcessKey};
use crate::event::{Body, Payload};
use crate::frame::host::{
    BpfAttachment, BpfHidden, BpfInventory, BpfProgram, Cgroup, Counters, Host, HostFrame, KernelSymbol, Layout, Probe,
    ProcessSeed, ProgramChange, ProgramSkips, StatePart, Trace,
};
use crate::frame::state::{Pairing, PendingFrames, StateFrame};
use crate::sink::ndjson::Json;
use crate::synthetic::{self, payload};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use tracetui_shared::counters::{CpuState, SlotCounters};
use tracetui_shared::header::{FrameHeader, VERSION};
use tracetui_shared::id::{CgroupId, KernelAddr, LinkId, ProgId, Tgid, Tid};
use tracetui_shared::kind::{Kind, KindSet, SLOTS, Slot};
use tracetui_shared::record::bpf::{BpfRecord, cmd, has, on};
use tracetui_shared::record::exec::{ENVIRONMENT, ExecChunk, ExecRecord, LAST, NO_ROOM};
use tracetui_shared::record::exit::ExitRecord;
use tracetui_shared::record::mark;
use tracetui_shared::record::open::OpenRecord;
use tracetui_shared::record::tcp::{TcpRecord, op};
use zerocopy::{FromZeros as _, IntoBytes as _};

const ALL: KindSet = KindSet::ALL;
const MS: u64 = 1_000_000;

fn header(slot: Slot, cpu: u32, seq: u64, ms: u64) -> FrameHeader {
    FrameHeader {
        cpu,
        seq,
        time: BootNanos(ms * MS),
        start: BootNanos(5),
        tgid: Tgid(100),
        tid: Tid(100),
        ppid: Tgid(1),
        ..synthetic::header(slot)
    }
}

fn open(batch: &mut Batch, cpu: u32, seq: u64, ms: u64, path: &[u8]) {
    let record = OpenRecord { ret: -2, ..OpenRecord::default() };
    batch.push(header(Slot::Open, cpu, seq, ms), &payload::open(record, b"", path));
}

/// A pipeline, the batch that it is fed next, and the number of the next frame of each slot.
#[derive(Default)]
struct Fed {
    pipeline: Pipeline,
    batch: Batch,
    numbers: BTreeMap<u16, u64>,
}

impl Fed {
    fn of(pipeline: Pipeline) -> Fed {
        Fed { pipeline, ..Fed::default() }
    }
    fn feed(&mut self) {
        self.pipeline.feed(std::mem::take(&mut self.batch));
    }

    fn number(&mut self, slot: Slot) -> u64 {
        let next = self.numbers.entry(slot as u16).or_default();
        *next += 1;
        *next - 1
    }

    /// Pushes `PID opens PATH`, `PID execs RET`, `PID forks PID` and `PID exits`, separated by commas, at intervals of a millisecond.
    /// A process starts at its id, in nanoseconds, and `PID@MS` at this time.
    fn acts(&mut self, text: &str) {
        let number = |text: &str| text.parse::<u64>().expect("a number");
        for (ms, act) in (1..).zip(text.split(", ")) {
            let (who, what) = act.split_once(' ').expect("a process");
            let (pid, start) =
                who.split_once('@').map_or_else(|| (who, number(who)), |(pid, ms)| (pid, number(ms) * MS));
            let (pid, start) = (number(pid) as u32, BootNanos(start));
            let (slot, payload) = match what.split_once(' ') {
                Some(("opens", path)) => (Slot::Open, opened(path)),
                Some(("execs", ret)) => (Slot::Exec, executed(ret.parse().expect("a number"))),
                Some((_, child)) => {
                    (Slot::Fork, payload::fork((pid, start), (number(child) as u32, BootNanos(number(child)))))
                }
                None => (Slot::Exit, ExitRecord::default().as_bytes().to_vec()),
            };
            let flags = if slot == Slot::Fork { flag::BOOKKEEPING } else { 0 };
            let header = by(pid, slot, self.number(slot), ms);
            self.batch.push(FrameHeader { flags, start, ..header }, &payload);
        }
    }

    /// Pushes reports of programs, separated by commas: `load ID MS`, by a system call; `loaded ID MS` and `unloaded ID MS`, by the
    /// stream, of the process 100 or `by PID`; `attach ID/LINK MS` and `detach ID/LINK MS`, by system calls; `news KEY ID/LINK MS`,
    /// `lists KEY ID/LINK MS` and `gone KEY MS`, by the inventory. `drained MS` and `settled MS` are of the ring.
    fn programs(&mut self, script: &str) {
        for act in script.split(", ") {
            let (verb, rest) = act.split_once(' ').expect("a time");
            let numbers: Vec<u32> = rest.split([' ', '/']).filter_map(|word| word.parse().ok()).collect();
            let at = |ms: u32| BootNanos(u64::from(ms) * MS);
            match (verb, &numbers[..]) {
                ("load", [id, ms]) => {
                    let number = self.number(Slot::Bpf);
                    load_call(&mut self.batch, number, *id, (*ms).into());
                }
                ("loaded" | "unloaded", [id, ms, by @ ..]) => {
                    let (loaded, id, by) = (verb == "loaded", ProgId(*id), by.first().copied().unwrap_or(100));
                    let change = ProgramChange { loaded, id, tgid: Tgid(by), tid: Tid(by), ..ProgramChange::default() };
                    HostFrame::ProgramChange(change).push(at(*ms), &mut self.batch);
                }
                ("attach" | "detach", [id, link, ms]) => {
                    let mut record = BpfRecord::new_zeroed();
                    let [by_program, by_link] = match verb {
                        "attach" => [cmd::PROG_ATTACH, cmd::LINK_CREATE],
                        _ => [cmd::PROG_DETACH, cmd::LINK_DETACH],
                    };
                    let is_link = *link != 0;
                    record.cmd = if is_link { by_link } else { by_program };
                    (record.has, record.prog_id, record.link_id) = (has::PROG, *id, *link);
                    record.has |= if is_link { has::LINK } else { 0 };
                    let header = header(Slot::Bpf, 0, self.number(Slot::Bpf), (*ms).into());
                    self.batch.push(header, record.as_bytes());
                }
                ("news" | "lists" | "gone", [key, of @ .., ms]) => {
                    let [program, link] = of.try_into().unwrap_or_default();
                    let of = attachment(*key, program, link);
                    let report = BpfAttachment { news: verb != "lists", gone: verb == "gone", ..of };
                    HostFrame::BpfAttachment(report).push(at(*ms), &mut self.batch);
                }
                ("drained", [ms]) => self.batch.set_drained_at(at(*ms)),
                ("settled", [ms]) => self.batch.set_settled_at(at(*ms)),
                _ => panic!("{act}"),
            }
        }
    }

    /// Checks the events of programs that are delivered after these reports, or at the end of the trace.
    #[track_caller]
    fn check_programs(&mut self, script: &str, expected: &str) {
        let (script, end) = script.strip_suffix(", end").map_or((script, false), |script| (script, true));
        self.programs(script);
        assert_eq!(program_events(self, end).join(", "), expected, "{script}");
    }
}

fn opened(path: &str) -> Vec<u8> {
    payload::open(OpenRecord { ret: 3, ..OpenRecord::default() }, b"", path.as_bytes())
}

fn executed(ret: i32) -> Vec<u8> {
    payload::Exec { ret, ..payload::Exec::default() }.bytes()
}

impl Deref for Fed {
    type Target = Pipeline;
    fn deref(&self) -> &Pipeline {
        &self.pipeline
    }
}

impl DerefMut for Fed {
    fn deref_mut(&mut self) -> &mut Pipeline {
        if self.batch != Batch::default() {
            self.feed();
        }
        &mut self.pipeline
    }
}

/// The delivered events for which there is a word.
fn words<T>(pipeline: &mut Pipeline, end: bool, word: impl Fn(&EventContext<'_>) -> Option<T>) -> Vec<T> {
    let mut out = Vec::new();
    if end {
        pipeline.end();
    }
    pipeline.next(None, &mut |seen, _| {
        out.extend(word(seen));
        Disposition::Delivered
    });
    out
}

/// The delivered events, one word per event.
fn run(pipeline: &mut Pipeline, end: bool) -> Vec<String> {
    words(pipeline, end, |seen| {
        Some(match &seen.event.body {
            Body::Open(open) => String::from_utf8_lossy(open.path).into_owned(),
            Body::Lost(lost) => format!("lost {} {}", lost.record.count, lost.cause.word()),
            Body::Exec(exec) => format!("exec {} of {} cut {}", exec.argv.len(), exec.record.argv_total, exec.cut()),
            Body::Exit(_) => format!("exit {}", seen.process.map_or(0, |p| p.key.tgid.0)),
            other => format!("{other:?}"),
        })
    })
}

fn json(seen: &EventContext<'_>) -> serde_json::Value {
    let mut line = Vec::new();
    Json::default().object(seen, &mut line);
    serde_json::from_slice(&line).expect("JSON")
}

fn json_of(pipeline: &mut Pipeline) -> Vec<serde_json::Value> {
    words(pipeline, true, |seen| Some(json(seen)))
}

fn counters(slot: Slot, cpus: &[SlotCounters]) -> Counters {
    let state = |c: &SlotCounters| {
        let mut slots = [SlotCounters::default(); SLOTS];
        slots[slot as usize] = c.completed();
        CpuState { slots, ..CpuState::ZERO }
    };
    Counters { last: true, cpus: cpus.iter().map(state).collect(), ..Counters::default() }
}

fn count(batch: &mut Batch, ms: u64, counters: Counters) {
    HostFrame::CounterChanges(counters.into()).push(BootNanos(ms * MS), batch);
}

fn asked(kinds: KindSet, command: u32) -> Pipeline {
    asked_within(Budget::default(), kinds, command)
}

fn asked_within(budget: Budget, kinds: KindSet, command: u32) -> Pipeline {
    let mut pipeline = Pipeline::new(budget);
    let mut batch = Batch::default();
    let trace = Trace { kinds: kinds.bits(), command: Tgid(command), ..Trace::default() };
    HostFrame::Trace(trace).push(BootNanos(0), &mut batch);
    pipeline.feed(batch);
    pipeline
}

#[test]
fn events_come_in_order_of_time_as_soon_as_no_earlier_one_can() {
    let mut t = Fed::default();
    open(&mut t.batch, 0, 0, 100, b"a");
    open(&mut t.batch, 0, 1, 103, b"c");
    open(&mut t.batch, 1, 0, 102, b"b");
    open(&mut t.batch, 0, 2, 110, b"late");
    // Nothing is older than the window yet.
    assert_eq!(run(&mut t, false), Vec::<String>::new());
    open(&mut t.batch, 1, 1, 101, b"ab");
    open(&mut t.batch, 1, 2, 125, b"z");
    assert_eq!(run(&mut t, false), ["a", "ab", "b", "c"]);
    t.batch.set_drained_at(BootNanos(140 * MS));
    assert_eq!(run(&mut t, false), ["late"]);
    assert_eq!(run(&mut t, true), ["z"]);
    // Events wait as long as the attached probes ask for.
    let probe =
        |attached, preemptible| HostFrame::Probe(Probe { name: "p".into(), attached, preemptible, ..Probe::default() });
    let host = HostFrame::Host(Host { kernel: "7.3.4".into(), ..Host::default() });
    for short in [vec![], vec![host.clone()], vec![host.clone(), probe(true, false), probe(false, true)]] {
        assert!(is_held(&short, 19), "{short:?}");
        assert!(!is_held(&short, 20), "{short:?}");
    }
    let long = [host, probe(true, true), probe(true, false)];
    assert!(is_held(&long, 249));
    assert!(!is_held(&long, 250));
    // Events up to a time at which no probe ran do not wait.
    let mut pipeline = Pipeline::default();
    let read = |events: &[(u32, u64, u64, &str)], settled: Option<u64>| {
        let mut batch = Batch::default();
        events.iter().for_each(|(cpu, seq, ms, path)| open(&mut batch, *cpu, *seq, *ms, path.as_bytes()));
        settled.into_iter().for_each(|ms| batch.set_settled_at(BootNanos(ms * MS)));
        batch
    };
    pipeline.feed(read(&[(0, 0, 11, "b")], None));
    assert_eq!(run(&mut pipeline, false), [""; 0], "an earlier one may come");
    pipeline.feed(read(&[(1, 0, 10, "a"), (0, 1, 12, "c")], Some(11)));
    assert_eq!(run(&mut pipeline, false), ["a", "b"]);
    assert!(pipeline.drained);
    pipeline.feed(read(&[], Some(12)));
    assert_eq!(run(&mut pipeline, true), ["c"]);
}

/// Whether an event is still held when the ring has been empty for `ms` milliseconds after it.
fn is_held(host: &[HostFrame], ms: u64) -> bool {
    let mut pipeline = Pipeline::default();
    let mut first = Batch::default();
    host.iter().for_each(|frame| frame.push(BootNanos(MS), &mut first));
    pipeline.feed(first);
    let mut batch = Batch::default();
    open(&mut batch, 0, 0, 1000, b"lone");
    batch.set_drained_at(BootNanos((1000 + ms) * MS));
    pipeline.feed(batch);
    run(&mut pipeline, false).is_empty()
}

#[test]
fn a_missing_number_is_a_row_where_it_is_missing() {
    let mut t = Fed::default();
    open(&mut t.batch, 0, 0, 10, b"a");
    open(&mut t.batch, 1, 0, 11, b"b");
    open(&mut t.batch, 0, 4, 12, b"c");
    let sent = [
        SlotCounters { wanted: 7, lost_ring: 5, ..SlotCounters::default() },
        SlotCounters { wanted: 1, ..SlotCounters::default() },
    ];
    count(&mut t.batch, 20, counters(Slot::Open, &sent));
    assert_eq!(run(&mut t, true), ["a", "b", "lost 3 ring", "c", "lost 2 ring"]);
    let account = t.account();
    assert_eq!(account.sum().off_by(), 0);
    assert_eq!(account.kind(Kind::Open).lost.ring, 5);
    assert_eq!(account.kind(Kind::Open).lost.read, 0);
    assert_eq!(account.discrepancy(), None);
    // A number that is missing for no known reason is no unreadable event.
    let mut t = Fed::default();
    open(&mut t.batch, 0, 0, 10, b"a");
    open(&mut t.batch, 0, 2, 12, b"c");
    let sent = [SlotCounters { wanted: 3, ..SlotCounters::ZERO }];
    count(&mut t.batch, 20, counters(Slot::Open, &sent));
    t.feed();
    assert_eq!(t.account().discrepancies, [], "nothing is proved before the end");
    run(&mut t, true);
    let account = t.account();
    assert_eq!((account.kind(Kind::Open).lost.sum(), account.sum().off_by()), (0, 1));
    let sums: Vec<&str> = account.discrepancies.iter().map(|d| d.sum).collect();
    assert_eq!(sums, ["sent = arrived", "lost_ring = gaps in the numbers", "seen = delivered + filtered + lost"]);
}

#[test]
fn every_record_is_on_one_side_of_the_account_or_a_row() {
    let mut t = Fed::of(asked(all_but_forks(), 0));
    t.acts("7 forks 400, 7 forks 401");
    // The number 2 is missing, and only the header of the last record arrived.
    t.number(Slot::Fork);
    t.acts("7 forks 403");
    let last = FrameHeader { flags: flag::BOOKKEEPING, ..by(7, Slot::Fork, 4, 20) };
    t.batch.push(last, b"short");
    let forks = [SlotCounters { bookkeeping: 6, lost_bookkeeping: 2, own: 1, ..SlotCounters::ZERO }];
    count(&mut t.batch, 30, counters(Slot::Fork, &forks));
    assert_eq!(run(&mut t, true), Vec::<String>::new(), "no event is missing");
    let account = t.account();
    assert_eq!(account.discrepancy(), None);
    assert_eq!((account.kind(Kind::Fork).seen, account.kind(Kind::Fork).filtered), (7, 7));
    assert_eq!(account.bookkeeping_lost, 3);
    // A record that is no event is a row and counted.
    let mut t = Fed::default();
    t.batch.push(header(Slot::Open, 0, 0, 10), b"short");
    t.batch.push_raw(b"no frame");
    let wanted = [SlotCounters { wanted: 1, ..SlotCounters::default() }];
    count(&mut t.batch, 20, counters(Slot::Open, &wanted));
    assert_eq!(run(&mut t, true), ["lost 1 read"]);
    assert_eq!(t.ledger.unframed, 1);
    let account = t.account();
    assert_eq!(account.discrepancies.len(), 1, "of which event that record was is not known: {account:?}");
    assert_eq!(t.account().kind(Kind::Open).lost.read, 1);
    assert_eq!(t.account().sum().off_by(), 0);
    // A stack that is longer than its record is not read.
    for count in [3u32, u32::MAX] {
        let mut t = Fed::of(asked(ALL, 0));
        let header = header(Slot::Open, 0, 0, 10);
        let payload = [&[0; 16][..], &count.to_le_bytes()].concat();
        t.batch.push(FrameHeader { flags: flag::STACK, ..header }, &payload);
        assert_eq!(run(&mut t, true), ["lost 1 read"]);
    }
}

#[test]
fn what_a_program_could_not_report_or_the_kernel_skipped_is_a_row() {
    let mut t = Fed::default();
    for (ms, without_place) in [(1000, 0), (2000, 3), (3000, 3)] {
        let dropped = [SlotCounters { dropped: [5, without_place, 0, 0], ..SlotCounters::ZERO }];
        let counters = Counters { last: ms == 3000, ..counters(Slot::OpenUring, &dropped) };
        count(&mut t.batch, ms, counters);
    }
    assert_eq!(run(&mut t, true), ["lost 3 probe"]);
    assert_eq!(t.account().discrepancy(), None);
    let mut t = Fed::default();
    for (ms, skips) in [(1000, 0), (2000, 3), (3000, 3)] {
        let programs = vec![ProgramSkips { program: "sys_exit".into(), slots: vec![Slot::Open as u16], skips }];
        count(&mut t.batch, ms, Counters { programs, ..Counters::default() });
    }
    assert_eq!(run(&mut t, true), ["lost 3 probe"]);
    assert_eq!(t.account().kind(Kind::Open).lost.probe, 3);
    assert_eq!(t.account().sum().off_by(), 0);
    // Such a row waits for what the ring still holds.
    let mut t = Fed::default();
    for (ms, skips) in [(1000, 0), (2000, 3)] {
        let programs = vec![ProgramSkips { program: "sys_exit".into(), slots: vec![Slot::Open as u16], skips }];
        count(&mut t.batch, ms, Counters { programs, ..Counters::default() });
    }
    assert_eq!(run(&mut t, false), Vec::<String>::new());
    open(&mut t.batch, 0, 0, 500, b"read late");
    t.batch.set_drained_at(BootNanos(2100 * MS));
    assert_eq!(run(&mut t, false), ["read late", "lost 3 probe"]);
}

fn exec(batch: &mut Batch, seq: u64, ms: u64, total: u32, first: usize) {
    let record = ExecRecord { argv_total: total, argv_len: total, argc: 1, ..ExecRecord::default() };
    let mut payload = record.as_bytes().to_vec();
    payload.resize(payload.len() + first, b'x');
    batch.push(header(Slot::Exec, 0, seq, ms), &payload);
}

fn chunk(batch: &mut Batch, seq: u64, ms: u64, offset: u32, len: u32) {
    let mut payload = ExecChunk { offset, len, ..ExecChunk::default() }.as_bytes().to_vec();
    payload.resize(payload.len() + len as usize, b'y');
    batch.push(FrameHeader { flags: flag::CONTINUES, ..header(Slot::Exec, 0, seq, ms) }, &payload);
}

fn end(batch: &mut Batch, seq: u64, ms: u64, offset: u32, marks: u8) {
    let payload = ExecChunk { offset, marks: marks.into(), ..ExecChunk::default() };
    batch.push(FrameHeader { flags: flag::CONTINUES, ..header(Slot::Exec, 0, seq, ms) }, payload.as_bytes());
}

#[test]
fn an_exec_in_pieces_is_one_event_and_is_cut_if_some_were_lost() {
    let mut t = Fed::default();
    exec(&mut t.batch, 0, 10, 30, 10);
    chunk(&mut t.batch, 0, 10, 10, 15);
    t.feed();
    chunk(&mut t.batch, 0, 10, 25, 5);
    exec(&mut t.batch, 1, 11, 8, 8);
    assert_eq!(run(&mut t, true), ["exec 30 of 30 cut false", "exec 8 of 8 cut false"]);
    let mut t = Fed::default();
    exec(&mut t.batch, 0, 10, 30, 10);
    chunk(&mut t.batch, 0, 10, 10, 5);
    exec(&mut t.batch, 1, 11, 30, 10);
    chunk(&mut t.batch, 1, 11, 20, 5);
    exec(&mut t.batch, 2, 12, 30, 10);
    assert_eq!(run(&mut t, true), ["exec 15 of 30 cut true", "exec 10 of 30 cut true", "exec 10 of 30 cut true"]);
    assert_eq!(t.account().cut, 3);
}

#[test]
fn later_events_wait_for_an_exec_of_which_a_piece_is_missing() {
    let mut t = Fed::default();
    exec(&mut t.batch, 0, 10, 30, 10);
    open(&mut t.batch, 1, 0, 11, b"a");
    t.batch.set_settled_at(BootNanos(12 * MS));
    assert_eq!(run(&mut t, false), [""; 0]);
    chunk(&mut t.batch, 0, 10, 10, 20);
    t.batch.set_settled_at(BootNanos(13 * MS));
    assert_eq!(run(&mut t, false), ["exec 30 of 30 cut false", "a"]);
    // The others were lost: after the window nothing waits for them.
    exec(&mut t.batch, 1, 14, 30, 10);
    open(&mut t.batch, 1, 1, 15, b"b");
    t.batch.set_settled_at(BootNanos(36 * MS));
    t.batch.set_drained_at(BootNanos(36 * MS));
    assert_eq!(run(&mut t, false), ["b"]);
    // An exec that the ring had no room for is delivered at once, cut.
    let mut t = Fed::default();
    exec(&mut t.batch, 0, 10, 30, 10);
    chunk(&mut t.batch, 0, 10, 10, 5);
    end(&mut t.batch, 0, 10, 15, NO_ROOM);
    // One exec was cut in its first record. For the other, the ring had no room for the end of the arguments either.
    let record = ExecRecord { argv_total: 30, argv_len: 4, argv_marks: NO_ROOM, ..ExecRecord::default() };
    t.batch.push(header(Slot::Exec, 0, 1, 11), &[record.as_bytes(), b"abc\0"].concat());
    exec(&mut t.batch, 2, 12, 30, 10);
    t.feed();
    t.batch.set_drained_at(BootNanos(100 * MS));
    let execs = SlotCounters { wanted: 3, sent_chunks: 2, cut_short: 3, ..SlotCounters::ZERO };
    count(&mut t.batch, 100, counters(Slot::Exec, &[execs]));
    assert_eq!(run(&mut t, true), ["exec 15 of 30 cut true", "exec 4 of 30 cut true", "exec 10 of 30 cut true"]);
    let account = t.account();
    assert_eq!((account.cut, account.discrepancy()), (3, None));
}

/// Pushes an exec of the process `pid` with the arguments `a`, and continuations with its environment.
fn exec_with(batch: &mut Batch, seq: u64, pid: u32, environment: &[u8], marks: u32) {
    let env_len = environment.len() as u32;
    let record = ExecRecord { argv_total: 2, argv_len: 2, argc: 1, env_len, ..ExecRecord::default() };
    let of = FrameHeader {
        tgid: Tgid(pid),
        tid: Tid(pid),
        start: BootNanos(u64::from(pid)),
        ..header(Slot::Exec, 0, seq, 10 + seq)
    };
    batch.push(of, &[record.as_bytes(), b"a\0"].concat());
    let (first, second) = environment.split_at(environment.len() / 2);
    for (offset, part, marks) in [(0, first, ENVIRONMENT), (first.len(), second, ENVIRONMENT | marks)] {
        let chunk = ExecChunk { offset: 2 + offset as u32, len: part.len() as u32, marks, reserved: 0 };
        batch.push(FrameHeader { flags: flag::CONTINUES, ..of }, &[chunk.as_bytes(), part].concat());
    }
}

#[test]
fn an_exec_tells_its_environment_and_only_arguments_that_were_read() {
    let mut t = Fed::default();
    exec_with(&mut t.batch, 0, 7, b".A=1\0.B=2\0", LAST);
    exec_with(&mut t.batch, 1, 7, b".B=3\0#C=0123456789abcdef\0", LAST);
    // A truncated environment is not a base for the next comparison.
    exec_with(&mut t.batch, 2, 7, b".B=3\0.D=4\0", mark::FAULT.into());
    exec_with(&mut t.batch, 3, 7, b".B=3\0", LAST);
    exec_with(&mut t.batch, 4, 7, b".B=3\0", LAST);
    let execs = SlotCounters { wanted: 5, sent_chunks: 10, ..SlotCounters::ZERO };
    count(&mut t.batch, 40, counters(Slot::Exec, &[execs]));
    let lines = json_of(&mut t);
    let env: Vec<_> = lines.iter().map(|line| line["env"].clone()).collect();
    let not_known = "not_collected";
    assert_eq!(
        env,
        [
            serde_json::json!({"set": ["A=1", "B=2"], "unset": null, "unset_why": not_known, "count": 2}),
            serde_json::json!({"set": ["B=3", "C"], "unset": ["A"], "count": 2}),
            serde_json::json!({"set": ["D=4"], "set_why": "fault", "unset": null, "unset_why": "fault", "count": null, "count_why": "fault"}),
            serde_json::json!({"set": ["B=3"], "unset": null, "unset_why": not_known, "count": 1}),
            serde_json::json!({"set": [], "unset": [], "count": 1}),
        ]
    );
    assert!(lines.iter().all(|line| line["argv"] == serde_json::json!(["a"]) && line["cut"] == false));
    assert_eq!(t.discrepancy(), None);
    // Arguments that could not be read are not made up.
    let mut t = Fed::default();
    // All unread; the second page unread; a page of the first continuation unread; the whole first continuation unread.
    let record = |len| ExecRecord { argv_total: 40_000, argv_len: len, argc: 9, ..ExecRecord::default() };
    for (seq, have) in [(0, b"".as_slice()), (1, b"cc\0-c\0")] {
        let record = ExecRecord { argv_marks: mark::FAULT, ..record(have.len() as u32) };
        t.batch.push(header(Slot::Exec, 0, seq, 10 + seq), &[record.as_bytes(), have].concat());
    }
    for (seq, have) in [(2, b"a\0b".as_slice()), (3, b"")] {
        t.batch.push(header(Slot::Exec, 0, seq, 10 + seq), &[record(40_000).as_bytes(), b"x\0"].concat());
        let piece = ExecChunk { offset: 2, len: have.len() as u32, marks: mark::FAULT.into(), ..ExecChunk::default() };
        let continues = FrameHeader { flags: flag::CONTINUES, ..header(Slot::Exec, 0, seq, 10 + seq) };
        t.batch.push(continues, &[piece.as_bytes(), have].concat());
    }
    let execs = SlotCounters { wanted: 4, sent_chunks: 2, ..SlotCounters::ZERO };
    count(&mut t.batch, 20, counters(Slot::Exec, &[execs]));
    let lines = json_of(&mut t);
    let argv: Vec<_> = lines.iter().map(|line| line["argv"].clone()).collect();
    let expected = serde_json::json!([[], ["cc", "-c"], ["x", "a", "b"], ["x"]]);
    assert_eq!(serde_json::Value::from(argv), expected);
    for line in lines {
        assert_eq!((&line["argv_why"], &line["cut"]), (&"fault".into(), &true.into()), "{line}");
        assert_eq!(line["argc"], 9, "{line}");
    }
    assert_eq!((t.account().cut, t.discrepancy()), (4, None));
}

#[test]
fn bookkeeping_and_seeds_keep_the_table_true() {
    let mut t = Fed::of(asked(all_but_forks(), 0));
    t.acts("100 forks 200");
    let exit = ExitRecord { status: 0x100, signal_flags: 4, ..ExitRecord::default() };
    t.batch.push(by(200, Slot::Exit, 0, 12), exit.as_bytes());
    assert_eq!(run(&mut t, true), ["exit 200"]);
    let table = &t.world().processes;
    let child = table.by_tgid(Tgid(200)).expect("known");
    assert_eq!(child.end.map(|end| end.status), Some(0x100));
    assert!(table.in_tree(&child.process, Tgid(100)));
    assert_eq!(table.state.pairing, Default::default());
    // A seed known to the tick takes the exact start.
    let mut t = Fed::default();
    let seed = ProcessSeed {
        tgid: Tgid(100),
        start: BootNanos(0),
        tick_ns: 10,
        exe: b"/bin/x".to_vec(),
        ..ProcessSeed::default()
    };
    HostFrame::ProcessSeed(seed).push(BootNanos(1), &mut t.batch);
    open(&mut t.batch, 0, 0, 10, b"a");
    t.batch.push(header(Slot::Exit, 0, 0, 12), ExitRecord::default().as_bytes());
    t.batch.push(header(Slot::Exit, 0, 1, 13), ExitRecord::default().as_bytes());
    run(&mut t, true);
    let table = &t.world().processes;
    let entry = table.by_tgid(Tgid(100)).expect("known");
    assert_eq!((entry.process.key.start, &*entry.process.image.exe), (BootNanos(5), b"/bin/x".as_slice()));
    assert_eq!(table.state.pairing.exit_twice, 1);
    assert_eq!(table.state.pairing.unpaired_exit, 0);
    // A process that is found ahead of the events does not replace the one that they are of.
    let mut t = Fed::default();
    // The process scan finds the second process with an id before the events of the first one are read.
    let seed = ProcessSeed { tgid: Tgid(200), start: BootNanos(30 * MS), start_exact: true, ..ProcessSeed::default() };
    HostFrame::ProcessSeed(seed).push(BootNanos(MS), &mut t.batch);
    t.acts("200@5 opens first, 200@30 opens second");
    assert_eq!(run(&mut t, true), ["first", "second"]);
    let processes = &t.world().processes;
    assert_eq!(processes.state.pairing.start_mismatch, 0);
    assert_eq!(processes.by_tgid(Tgid(200)).expect("known").process.key.start, BootNanos(30 * MS));
}

#[test]
fn what_does_not_pair_up_is_counted() {
    let mut t = Fed::default();
    let status = ExitRecord::default();
    t.batch.push(FrameHeader { tid: Tid(101), ..header(Slot::Exit, 0, 0, 10) }, status.as_bytes());
    exec(&mut t.batch, 0, 11, 0, 0);
    for (seq, start) in [(0, 6), (1, 7)] {
        let header = FrameHeader { start: BootNanos(start), ..header(Slot::Open, 0, seq, 12 + seq) };
        t.batch.push(header, OpenRecord::default().as_bytes());
    }
    run(&mut t, true);
    let pairing = t.world().processes.state.pairing;
    let other = Pairing { exit_before_exec: 1, exit_twice: 0, ..Pairing::default() };
    assert_eq!(pairing, Pairing { unpaired_exit: 1, tid_not_pid: 1, start_mismatch: 1, ..other });
    // A process that is older than the trace and ends before the scan is no unpaired exit.
    let mut t = Fed::default();
    HostFrame::Host(Default::default()).push(BootNanos(6), &mut t.batch);
    t.batch.push(header(Slot::Exit, 0, 0, 12), ExitRecord::default().as_bytes());
    let younger = FrameHeader { tgid: Tgid(101), tid: Tid(101), start: BootNanos(7), ..header(Slot::Exit, 0, 1, 13) };
    t.batch.push(younger, ExitRecord::default().as_bytes());
    run(&mut t, true);
    assert_eq!(t.world().processes.state.pairing.unpaired_exit, 1);
    // A connection that outlives its process does not bring it back.
    let mut t = Fed::default();
    let close = TcpRecord { op: op::CLOSE, ..TcpRecord::default() };
    t.batch.push(header(Slot::TcpState, 0, 0, 10), close.as_bytes());
    assert_eq!(run(&mut t, true).len(), 1);
    assert!(t.world().processes.entries().next().is_none());
    t.batch.push(header(Slot::TcpState, 0, 1, 11), TcpRecord { op: op::ACCEPT, ..close }.as_bytes());
    t.batch.push(header(Slot::TcpState, 0, 2, 12), close.as_bytes());
    run(&mut t, true);
    assert_eq!(t.world().processes.by_tgid(Tgid(100)).expect("known").others, 2);
}

const COMMAND: u32 = 100;

/// The header of an event of a process with this id, whose start is `pid` nanoseconds.
fn by(pid: u32, slot: Slot, seq: u64, ms: u64) -> FrameHeader {
    let start = BootNanos(u64::from(pid));
    FrameHeader { tgid: Tgid(pid), tid: Tid(pid), start, ..header(slot, 0, seq, ms) }
}

fn all_but_forks() -> KindSet {
    ALL & !KindSet::from(Kind::Fork)
}

/// The counts are of events before the first exec of the COMMAND (execs, exits), of events of others (execs, opens), and of
/// processes whose end was not seen.
#[test]
fn of_a_command_only_its_tree_is_delivered_and_orphans_stay_in_it() {
    const RAN: &str = "100 execs 0, 100 forks 200";
    for (acts, delivered, counts) in [
        (
            "7 opens stranger, 100 execs -2, 100 execs 0, 100 opens command, 100 forks 200, 200 forks 300, 200 exits, \
             300 opens orphan, 7 forks 400, 400 opens stranger's child, 100 exits, 7 forks 100",
            "exec 0 of 0 cut false, command, exit 200, orphan, exit 100",
            [1, 0, 1, 2, 0],
        ),
        // A command that never ran, and one whose exec was lost.
        ("100 execs -2, 100 execs -13, 100 exits", "", [2, 1, 2, 0, 0]),
        ("100 opens ld.so.cache, 100 exits", "ld.so.cache, exit 100", [0; 5]),
        // Another process has the id later, even if the exit of the command was lost.
        (
            &format!("{RAN}, 100 exits, 100@5 opens stranger, 200 opens child"),
            "exec 0 of 0 cut false, exit 100, child",
            [0, 0, 0, 1, 0],
        ),
        (&format!("{RAN}, 100@5 opens stranger, 200 opens child"), "exec 0 of 0 cut false, child", [0, 0, 0, 1, 1]),
    ] {
        let mut t = Fed::of(asked(all_but_forks(), COMMAND));
        t.acts(acts);
        assert_eq!(run(&mut t, true).join(", "), delivered, "{acts}");
        let of = |kind| t.ledger.counted(kind);
        let own = [of(Kind::Exec).own, of(Kind::Exit).own, of(Kind::Exec).filtered, of(Kind::Open).filtered];
        let mismatches = t.world().processes.state.pairing.start_mismatch;
        assert_eq!([own[0], own[1], own[2], own[3], mismatches], counts, "{acts}");
    }
}

/// The paths of the opens by processes in the tree of `root`. Callers follow the root before the first event.
fn in_the_tree(pipeline: &mut Pipeline, root: u32) -> Vec<String> {
    words(pipeline, true, |seen| {
        let process = seen.process.filter(|process| seen.world.in_tree(process, Tgid(root)));
        let Body::Open(open) = &seen.event.body else { return None };
        process.map(|_| String::from_utf8_lossy(open.path).into_owned())
    })
}

#[test]
fn a_tree_is_of_the_process_that_had_the_id_first() {
    for exit in ["100 exits, ", ""] {
        let mut t = Fed::default();
        t.world_mut().processes.follow(&[Tgid(100)]);
        t.acts(&format!(
            "7 forks 100, 100 forks 200, {exit}100@4 opens stranger, 100@4 forks 300, 300 opens stranger's child, 200 opens orphan"
        ));
        assert_eq!(in_the_tree(&mut t, 100), ["orphan"], "{exit}");
        // A new filter denotes the process that has the id now.
        let table = &mut t.world.processes;
        let [stranger, orphan] = [300, 200].map(|id| Arc::clone(&table.by_tgid(Tgid(id)).expect("known").process));
        table.follow(&[]);
        table.follow(&[Tgid(100)]);
        assert!(table.in_tree(&stranger, Tgid(100)) && !table.in_tree(&orphan, Tgid(100)));
        // A changed filter still denotes the same process. An event can also select the process.
        table.follow(&[Tgid(100), Tgid(7)]);
        assert!(table.in_tree(&stranger, Tgid(100)) && table.in_tree(&orphan, Tgid(7)));
        let first = orphan.parent.expect("known");
        assert!(table.follow_process(first) && !table.follow_process(first));
        table.follow(&[Tgid(100)]);
        assert!(!table.in_tree(&stranger, Tgid(100)) && table.in_tree(&orphan, Tgid(100)));
    }
    // A parent is older than its child and known to the tick stays the parent.
    let mut t = Fed::default();
    t.acts("7 forks 100, 100 exits");
    // Both forks were lost: that of the process that has the id now, and that of its child.
    let child = FrameHeader { start: BootNanos(4 * MS), ppid: Tgid(100), ..by(300, Slot::Open, 0, 5) };
    t.batch.push(child, OpenRecord::default().as_bytes());
    let seed = |tgid, ppid, start: u64, tick_ns| {
        let (tgid, ppid, start) = (Tgid(tgid), Tgid(ppid), BootNanos(start * MS));
        let seed = ProcessSeed { tgid, ppid, start, start_exact: tick_ns == 0, tick_ns, ..ProcessSeed::default() };
        HostFrame::ProcessSeed(seed)
    };
    // The process 500 is older than the process 400.
    for seed in [(400, 9), (500, 8), (600, 10)].map(|(id, start)| seed(id, 400, start, 0)) {
        seed.push(BootNanos(11 * MS), &mut t.batch);
    }
    run(&mut t, true);
    let parent = |id| t.world().processes.by_tgid(Tgid(id)).expect("known").process.parent.map(|p| p.tgid.0);
    assert_eq!([300, 500, 600].map(parent), [None, None, Some(400)]);
    let mut t = Fed::default();
    t.world_mut().processes.follow(&[Tgid(100)]);
    for seed in [(100, 1), (200, 100), (300, 200)].map(|(id, parent)| seed(id, parent, 0, 10 * MS)) {
        seed.push(BootNanos(MS), &mut t.batch);
    }
    // The exact starts become known one after the other, that of the root last.
    t.acts("200 opens child, 300 opens grandchild, 100 opens root, 300 opens grandchild again");
    assert_eq!(in_the_tree(&mut t, 100), ["child", "grandchild", "root", "grandchild again"]);
}

#[test]
fn the_next_run_of_a_command_is_the_commands_and_is_our_own_before_its_exec() {
    let mut t = Fed::of(asked(ALL, COMMAND));
    let next = |t: &mut Fed, by_run: u32, child: u32| {
        let fork = payload::fork((7, BootNanos(7)), (child, BootNanos(child.into())));
        let header = by(by_run, Slot::Fork, t.number(Slot::Fork), 1);
        t.batch.push(header, &fork);
    };
    next(&mut t, COMMAND, 200);
    t.acts("100 execs 0, 100 exits");
    next(&mut t, 200, 300);
    t.acts("200 execs -2, 200 execs 0, 200 opens second run, 200 forks 201, 200 exits");
    let got = run(&mut t, true);
    assert_eq!(got, ["exec 0 of 0 cut false", "exit 100", "exec 0 of 0 cut false", "second run", "exit 200"]);
    let held = [COMMAND, 200, 201, 300].map(|id| {
        let process = t.world().processes.get(ProcessKey { tgid: Tgid(id), start: BootNanos(id.into()) });
        process.map(|entry| (entry.process.origin == Origin::NextRun, entry.process.held_ns > 0))
    });
    assert_eq!(held, [Some((false, true)), Some((true, true)), Some((false, false)), Some((true, false))]);
}

/// A pipeline with the smallest memory limit, and none of it for processes and cgroups.
fn short_of_memory() -> Pipeline {
    Pipeline::new(Budget::new(1))
}

#[test]
fn execs_that_wait_for_too_many_arguments_are_cut_the_oldest_first() {
    let mut t = Fed::of(short_of_memory());
    // Each of the three reserves 2 MiB; there is room for 4 MiB.
    for cpu in 0..3 {
        let argv_len = (2 << 20) - 4096;
        let record = ExecRecord { argv_total: argv_len, argv_len, ..ExecRecord::default() };
        t.batch.push(header(Slot::Exec, cpu, 0, 10 + u64::from(cpu)), record.as_bytes());
    }
    t.feed();
    assert!(t.bytes() <= Budget::new(1).arguments() + Budget::new(1).order());
    open(&mut t.batch, 3, 0, 100, b"later");
    // The first has waited only for room, for less than a second, and is released.
    assert_eq!(run(&mut t, false), ["exec 0 of 2093056 cut true"]);
    assert_eq!(t.account().cut, 1);
    // The oldest cgroups are forgotten and counted.
    let mut t = Fed::of(short_of_memory());
    for id in 1..=3 {
        HostFrame::Cgroup(Cgroup { id: CgroupId(id), path: b"/a".to_vec(), container: None })
            .push(BootNanos(1), &mut t.batch);
    }
    t.feed();
    assert_eq!(t.account().shortage.cgroups, 3);
    assert_eq!(t.world().bytes(), 0);
    // No impossible CPU takes room.
    let mut t = Fed::default();
    open(&mut t.batch, limits::CPUS, 5, 10, b"no such cpu");
    open(&mut t.batch, limits::CPUS - 1, 5, 11, b"the last one");
    assert_eq!(run(&mut t, true), ["no such cpu", "lost 5 ring", "the last one"]);
}

#[test]
fn what_waits_too_long_or_comes_late_is_handed_on_and_counted() {
    let mut pipeline = short_of_memory();
    let room = Budget::new(1).order();
    let mut seen = Vec::new();
    for seq in 0..6 {
        let mut batch = Batch::with_capacity(room / 4);
        open(&mut batch, 0, seq, 10 + seq, seq.to_string().as_bytes());
        // An unknown frame fills the batch. A nearly empty batch would be moved to a smaller buffer.
        batch.push(FrameHeader { kind: 250, version: VERSION, ..FrameHeader::default() }, &vec![0; room / 8]);
        pipeline.feed(batch);
        seen.extend(run(&mut pipeline, false));
        assert!(pipeline.bytes() <= room + room / 4, "{}", pipeline.bytes());
    }
    assert_eq!(seen, ["0", "1"], "none of them was settled");
    assert_eq!(pipeline.account().shortage.unsettled, 2);
    assert_eq!(run(&mut pipeline, true), ["2", "3", "4", "5"]);
    assert_eq!(pipeline.account().shortage.unsettled, 2);
    // Only batches of the reader come back.
    let mut pipeline = Pipeline::default();
    let mut batch = Batch::with_capacity(1000);
    exec(&mut batch, 0, 10, 20, 10);
    chunk(&mut batch, 0, 10, 10, 10);
    pipeline.feed(batch);
    let spare = pipeline.spare().expect("nothing of it waits: it was put together elsewhere");
    assert_eq!((spare.room(), spare.is_empty()), (1000, true));
    assert_eq!(run(&mut pipeline, true), ["exec 20 of 20 cut false"]);
    assert_eq!(pipeline.spare(), None, "what was put together is freed");
    // An event that comes late is handed on and counted.
    let mut pipeline = Pipeline::default();
    let fed = |pipeline: &mut Pipeline, seq: u64, times: &[u64], settled: u64| {
        let mut batch = Batch::default();
        for (seq, time) in (seq..).zip(times) {
            open(&mut batch, 0, seq, *time, time.to_string().as_bytes());
        }
        batch.set_settled_at(BootNanos(settled));
        pipeline.feed(batch);
        run(pipeline, false)
    };
    const LATER: u64 = 1_000_000_000;
    assert_eq!(fed(&mut pipeline, 0, &[120, 100], LATER), ["100", "120"]);
    assert_eq!(pipeline.account().late, 0);
    // One event is older than the events handed on. The other one is not, although all events up to its time were reported as read.
    assert_eq!(fed(&mut pipeline, 2, &[110, 130], 2 * LATER), ["110", "130"]);
    assert_eq!(pipeline.account().late, 1);
    // A pipeline that continues from the state keeps the count.
    let mut other = Pipeline::default();
    other.restore(&pipeline.state());
    for pipeline in [&mut pipeline, &mut other] {
        assert_eq!(fed(pipeline, 4, &[125, 131], 3 * LATER), ["125", "131"]);
        assert_eq!(pipeline.account().late, 2);
    }
}

/// Memory for about eighty processes.
const FEW: u64 = 8 * (64 << 10);

fn few_processes(acts: impl Iterator<Item = String>) -> Fed {
    let mut t = Fed::of(Pipeline::new(Budget::new(FEW)));
    t.acts(&acts.collect::<Vec<_>>().join(", "));
    run(&mut t, true);
    assert!(t.world().processes.bytes <= Budget::new(FEW).processes());
    t
}

#[test]
fn the_ended_make_room_for_the_living_and_the_quiet_for_the_busy() {
    let ended = (1000..1050).map(|pid| format!("7 forks {pid}, {pid} exits"));
    let t = few_processes(ended.chain((2000..2080).map(|pid| format!("7 forks {pid}"))));
    let table = &t.world().processes;
    assert_eq!((2000..2080).filter(|pid| table.by_tgid(Tgid(*pid)).is_none()).count(), 0);
    assert!(table.by_tgid(Tgid(1000)).is_none() && table.by_tgid(Tgid(1049)).is_some(), "the oldest goes first");
    assert_eq!(t.account().shortage.processes, 0, "an ended process is not missing");
    let busy = (1000..2000).map(|pid| format!("500 opens busy, 7 forks {pid}"));
    let ends = ["1000 exits", "1999 exits"].map(str::to_owned);
    let t = few_processes(std::iter::once("7 forks 500".to_owned()).chain(busy).chain(ends));
    let table = &t.world().processes;
    assert_eq!(table.by_tgid(Tgid(500)).map(|entry| entry.others), Some(1000), "it was never forgotten");
    assert!(table.by_tgid(Tgid(1998)).is_some(), "the latest stay");
    assert!((850..1000).contains(&t.account().shortage.processes), "{:?}", t.account().shortage);
    assert_eq!(table.state.pairing, Default::default(), "its start was seen, though it was forgotten");
    // Those of the command are forgotten last.
    let mut t = Fed::of(asked_within(Budget::new(FEW), all_but_forks(), COMMAND));
    let forks = (1000..2000).map(|pid| format!("7 forks {pid}")).collect::<Vec<_>>().join(", ");
    t.acts(&format!("100 execs 0, 100 forks 200, {forks}, 200 opens of the command"));
    assert!(run(&mut t, true).contains(&"of the command".to_owned()));
    assert!(t.account().shortage.processes > 0);
    // A scan pushes out nobody who did something.
    let mut t = few_processes((1..=50).map(|pid| format!("{pid} opens busy")));
    HostFrame::Host(Default::default()).push(BootNanos(1000 * MS), &mut t.batch);
    for pid in 1000..2000 {
        let seed = ProcessSeed { tgid: Tgid(pid), start: BootNanos(1), start_exact: true, ..Default::default() };
        HostFrame::ProcessSeed(seed).push(BootNanos(2 * MS), &mut t.batch);
    }
    t.acts("1999 exits");
    t.feed();
    let table = &t.world().processes;
    assert!((1..=50).all(|pid| table.by_tgid(Tgid(pid)).is_some()));
    assert!(table.by_tgid(Tgid(1000)).is_some() && table.by_tgid(Tgid(1999)).is_none());
    assert!(table.bytes <= Budget::new(FEW).processes());
    run(&mut t, true);
    assert!(t.account().shortage.processes > 900);
    assert_eq!(t.world().processes.state.pairing, Default::default());
}

fn with_layout(layout: Layout, batch: Batch) -> Pipeline {
    let mut first = Batch::default();
    HostFrame::Layout(layout).push(BootNanos(0), &mut first);
    let mut pipeline = Pipeline::default();
    pipeline.feed(first);
    pipeline.feed(batch);
    pipeline
}

fn lines_of(layout: Layout, batch: Batch) -> Vec<serde_json::Value> {
    json_of(&mut with_layout(layout, batch))
}

/// The layout of this version, except for the size of the fixed part of one kind's records.
fn layout_with(kind: Kind, fixed: usize) -> Layout {
    let mut layout = Layout::own();
    layout.records.iter_mut().filter(|r| r.kind == kind as u16 && r.part == 0).for_each(|r| r.fixed = fixed as u16);
    layout
}

#[test]
fn longer_and_shorter_records_show_what_is_known() {
    let record = OpenRecord { ret: 3, path_len: 4, ..OpenRecord::default() };
    let header = header(Slot::Open, 0, 0, 1);
    let (mut own, mut longer) = (Batch::default(), Batch::default());
    own.push(header, &[record.as_bytes(), b"/etc"].concat());
    longer.push(header, &[record.as_bytes(), &[7; 24], b"/etc"].concat());
    let layout = layout_with(Kind::Open, size_of::<OpenRecord>() + 24);
    let expected = lines_of(Layout::own(), own);
    assert_eq!(lines_of(layout.clone(), longer.clone()), expected);
    assert_eq!(expected[0]["path"], "/etc", "{expected:?}");
    let restored = |state: &Batch| {
        let mut pipeline = Pipeline::default();
        pipeline.restore(state);
        json_of(&mut pipeline)
    };
    // This version writes its own.
    assert_eq!(restored(&with_layout(layout.clone(), longer.clone()).state()), expected);
    // Another one wrote the state.
    let mut frames = Batch::default();
    HostFrame::Layout(layout).push(BootNanos(0), &mut frames);
    let pending = PendingFrames { stage: 0, number: 0, frames: longer.bytes().to_vec() };
    StateFrame::PendingFrames(pending).push(BootNanos(0), &mut frames);
    let mut state = Batch::default();
    HostFrame::StatePart(StatePart { frames: frames.bytes().to_vec() }).push(BootNanos(0), &mut state);
    assert_eq!(restored(&state), expected);
    // What shorter or later records lack is not collected or lost.
    let record = OpenRecord { ret: 3, flags: 1, path_len: 4, ..OpenRecord::default() };
    // The record ends before the marks, which come last, and the fields between them and the lengths.
    let fixed = std::mem::offset_of!(OpenRecord, names_marks);
    let mut batch = Batch::default();
    batch.push(self::header(Slot::Open, 0, 0, 1), &[&record.as_bytes()[..fixed], b"/etc"].concat());
    let [event] = &lines_of(layout_with(Kind::Open, fixed), batch)[..] else { panic!("an open") };
    assert_eq!((&event["ret"], &event["path_why"]), (&3.into(), &"not_collected".into()), "{event}");
    assert_eq!(event["abs_path_why"], "not_collected");
    let record = ExecRecord { argc: 1, argv_len: 2, argv_total: 2, filename_len: 1, ..ExecRecord::default() };
    let fixed = std::mem::offset_of!(ExecRecord, exe_marks);
    let mut batch = Batch::default();
    batch.push(self::header(Slot::Exec, 0, 0, 1), &[&record.as_bytes()[..fixed], b"xa\0"].concat());
    let [event] = &lines_of(layout_with(Kind::Exec, fixed), batch)[..] else { panic!("an exec") };
    assert_eq!(event["exe_why"], "not_collected", "{event}");
    // Records that end before their fixed part, or have a later version, are lost.
    let (mut short, mut later, mut unknown) = (Batch::default(), Batch::default(), Batch::default());
    short.push(self::header(Slot::Exit, 0, 0, 1), &[0; 3]);
    let version = VERSION + 1;
    later.push(FrameHeader { version, ..self::header(Slot::Exit, 0, 0, 1) }, ExitRecord::default().as_bytes());
    unknown.push(FrameHeader { kind: 40, ..self::header(Slot::Exit, 0, 0, 1) }, ExitRecord::default().as_bytes());
    for batch in [short, later, unknown] {
        let lines = lines_of(layout_with(Kind::Exit, 4), batch);
        assert!(lines.iter().any(|line| line["kind"] == "lost" && line["cause"] == "read"), "{lines:?}");
    }
}

/// The delivered events of programs: the operation, the program, the source and the time. The process is 100 for a system call and none
/// for another source, unless it is named.
fn program_events(pipeline: &mut Pipeline, end: bool) -> Vec<String> {
    words(pipeline, end, |seen| {
        let Body::Bpf(bpf) = &seen.event.body else { return None };
        let (by, usual) = if bpf.is_made() { ("stream", 0) } else { ("call", 100) };
        let of = seen.process.map_or(0, |process| process.key.tgid.0);
        let of = if of == usual { String::new() } else { format!(" of {of}") };
        Some(format!("{} {} {by}{of} {}", bpf.op(), bpf.record().prog_id, seen.event.header.time.0 / MS))
    })
}

fn change(batch: &mut Batch, loaded: bool, id: u32, ms: u64) {
    let (id, tgid, tid) = (ProgId(id), Tgid(100), Tid(100));
    let change = ProgramChange { loaded, id, tgid, tid, ..ProgramChange::default() };
    HostFrame::ProgramChange(change).push(BootNanos(ms * MS), batch);
}

fn load_call(batch: &mut Batch, seq: u64, id: u32, ms: u64) {
    let mut record = BpfRecord::new_zeroed();
    (record.cmd, record.has, record.prog_id, record.ret) = (cmd::PROG_LOAD, has::PROG, id, 3);
    batch.push(header(Slot::Bpf, 0, seq, ms), record.as_bytes());
}

#[test]
fn programs_come_and_go_once_and_keep_their_place() {
    let mut t = Fed::of(asked(ALL, 0));
    let others = "loaded 2 1002, loaded 3 1003, unloaded 3 1050, drained 1400";
    t.check_programs(&format!("load 1 1001, loaded 1 1000, {others}"), "load 1 call 1001");
    // The program 3 may still be reported.
    t.check_programs("load 2 1100, drained 1510", "");
    t.check_programs("drained 1600", "load 3 stream of 100 1003, unload 3 stream 1050, load 2 call 1100");
    // The program 3 was reported, and 4 is at the end.
    t.check_programs("load 3 2000, loaded 4 2001, end", "load 4 stream of 100 2001");
    let bpf = t.account().kind(Kind::Bpf);
    assert_eq!((bpf.delivered, bpf.filtered), (5, 1), "the late report of 3 is not delivered");
    // With a command or a capture filter only its programs come and go.
    let mut t = Fed::of(asked(ALL, 100));
    open(&mut t.batch, 0, 0, 900, b"the command runs");
    let unloads = "unloaded 1 1011, unloaded 2 1012, unloaded 3 1013, unloaded 4 1014";
    let expected = "load 1 call 1001, load 2 stream of 100 1002, unload 1 stream 1011, unload 2 stream 1012";
    t.check_programs(&format!("load 1 1001, loaded 2 1002, loaded 3 1003 by 7, {unloads}, end"), expected);
    let bpf = t.account().kind(Kind::Bpf);
    assert_eq!((bpf.delivered, bpf.filtered), (4, 0), "the probes count a load that is not the COMMAND's");
    let mut t = Fed::default();
    let trace = Trace { kinds: ALL.bits(), filter: "pid=100".into(), ..Trace::default() };
    HostFrame::Trace(trace).push(BootNanos(0), &mut t.batch);
    open(&mut t.batch, 0, 0, 900, b"known");
    t.check_programs("loaded 2 1002, loaded 3 1003 by 7, unloaded 2 1004, end", "load 2 stream of 100 1002");
    let bpf = t.account().kind(Kind::Bpf);
    assert_eq!((bpf.seen, bpf.delivered, bpf.filtered), (1, 1, 0));
}

fn attachment(key: u32, program: u32, link: u32) -> BpfAttachment {
    let via = if link == 0 { Via::ProgAttach } else { Via::Link };
    BpfAttachment { key, news: true, program: ProgId(program), link: LinkId(link), via, ..BpfAttachment::default() }
}

fn report(frame: BpfAttachment, ms: u64, batch: &mut Batch) {
    HostFrame::BpfAttachment(frame).push(BootNanos(ms * MS), batch);
}

#[test]
fn an_attachment_is_one_event_and_delays_nothing() {
    let taken = |from: u64, complete: bool, batch: &mut Batch| {
        let (from, to) = (BootNanos(from * MS), BootNanos((from + 5) * MS));
        HostFrame::BpfInventory(BpfInventory { from, to, complete, ..BpfInventory::default() }).push(to, batch);
    };
    let mut t = Fed::of(asked(ALL, 0));
    let own = BpfProgram { id: ProgId(9), own: true, ..BpfProgram::default() };
    HostFrame::BpfProgram(own).push(BootNanos(999 * MS), &mut t.batch);
    t.programs("lists 0 1/0 1000, attach 2/5 1001, news 1 2/5 1010, news 2 3/0 1010, attach 3/0 1020");
    t.programs("news 3 4/0 1030, news 4 9/0 1030");
    // A detach by a call that does not name the program, one without a call, and the end of an attachment older than the trace.
    // The call is counted for the last of the programs there that the inventory lists, which is tracetui's.
    let expected = "attach 2 call 1001, attach 3 call 1020, detach 0 call 1040, attach 4 stream 1049, \
                    detach 4 stream 1050, detach 2 stream 1050, detach 1 stream 1050, detach 3 stream 1050";
    t.programs("detach 0/0 1040, gone 2 1050, gone 3 1050, gone 1 1050, gone 0 1050, gone 4 1050");
    taken(1045, true, &mut t.batch);
    t.check_programs("drained 1050, end", expected);
    assert_eq!(t.account().kind(Kind::Bpf).delivered, 8);
    // A report of the inventory delays nothing.
    let mut t = Fed::of(asked(ALL, 0));
    for (script, expected) in [
        ("lists 0 1/5 1000, gone 0 1010, load 2 1020, drained 1400", "load 2 call 1020"),
        ("load 3 1505, load 4 1515, drained 1600", "load 3 call 1505, detach 1 stream 1510, load 4 call 1515"),
        // No system call attaches an unloaded program.
        (
            "news 1 4/0 1620, unloaded 4 1630, drained 1700",
            "attach 4 stream 1630, detach 4 stream 1630, unload 4 stream 1630",
        ),
        // Nothing comes after the end.
        ("news 2 2/0 1710, load 5 1790, drained 1900, end", "load 5 call 1790, attach 2 stream 1900"),
    ] {
        t.check_programs(script, expected);
    }
    // A reported attachment counts until the next inventory.
    let mut t = Fed::of(asked(ALL, 0));
    t.programs("attach 2/0 1001, detach 2/0 1002, attach 3/0 1003, attach 4/0 1012");
    // The inventories: one was begun earlier, the other is incomplete.
    taken(1000, true, &mut t.batch);
    taken(1010, false, &mut t.batch);
    t.programs("news 0 3/0 1020");
    taken(1011, true, &mut t.batch);
    let expected = "attach 2 call 1001, detach 2 call 1002, attach 3 call 1003, attach 4 call 1012, \
                    attach 2 stream 1039, detach 2 stream 1040";
    t.check_programs("news 1 4/0 1030, news 2 2/0 1030, gone 2 1040, end", expected);
}

#[test]
fn an_attachment_names_a_program_that_is_listed_later_or_was_just_loaded() {
    let mut t = Fed::of(asked(ALL, 0));
    let mut load = BpfRecord::new_zeroed();
    (load.cmd, load.has, load.prog_id, load.ret, load.tag) = (cmd::PROG_LOAD, has::PROG, 3, 3, [1; 8]);
    load.name[..6].copy_from_slice(b"loaded");
    t.batch.push(header(Slot::Bpf, 0, 0, 100), load.as_bytes());
    t.check_programs("drained 900", "load 3 call 100");
    t.programs("news 0 1/0 1000, news 1 2/0 1000, news 2 3/0 1000");
    let listed = BpfProgram { id: ProgId(2), name: b"late".into(), ..BpfProgram::default() };
    HostFrame::BpfProgram(listed).push(BootNanos(1100 * MS), &mut t.batch);
    let programs = json_of(&mut t).into_iter().map(|line| line["prog"].clone());
    let lines: Vec<_> = programs.map(|prog| format!("{} {} {}", prog["id"], prog["name"], prog["tag"])).collect();
    assert_eq!(lines, [r#"1 null null"#, r#"2 "late" "0000000000000000""#, r#"3 "loaded" "0101010101010101""#]);
    // A report of netlink names the program of a load that the same trace saw, even if that was not delivered yet.
    let mut load = BpfRecord::new_zeroed();
    (load.cmd, load.has, load.prog_id, load.ret) = (cmd::PROG_LOAD, has::PROG, 3, 3);
    (load.tag, load.prog_type, load.expected_attach_type) = ([1; 8], 6, 37);
    load.name[..6].copy_from_slice(b"loaded");
    let (via, hook, ifindex) = (Via::Netlink, Hook::Type(37), Some(3));
    for unloads in [true, false] {
        let mut t = Fed::of(asked(ALL, 0));
        t.batch.push(header(Slot::Bpf, 0, 0, 1000), load.as_bytes());
        report(BpfAttachment { via, hook, ifindex, ..attachment(0, 3, 0) }, 1001, &mut t.batch);
        if unloads {
            change(&mut t.batch, false, 3, 1002);
        }
        t.batch.set_drained_at(BootNanos(1003 * MS));
        let lines = json_of(&mut t);
        let attached: Vec<_> = lines.iter().filter(|line| line["op"] == "attach").map(|line| &line["prog"]).collect();
        let [program] = attached[..] else { panic!("{lines:?}") };
        assert_eq!((&program["name"], &program["type"]), (&"loaded".into(), &"xdp".into()), "{program}");
        assert_eq!(
            (&program["tag"], &program["attach_type"]),
            (&"0101010101010101".into(), &"xdp".into()),
            "{program}"
        );
    }
}

#[test]
fn an_attachment_of_an_unloaded_program_begins_and_ends() {
    // No system call reported it, and its program was unloaded before the report came.
    let mut t = Fed::of(asked(ALL, 0));
    let expected = "load 1 call 1000, unload 1 stream 1010, attach 1 stream 1019, detach 1 stream 1520";
    t.programs("load 1 1000, unloaded 1 1010, news 0 1/0 1020");
    report(BpfAttachment { gone: true, ..attachment(0, 1, 0) }, 1020, &mut t.batch);
    t.check_programs("drained 2000, end", expected);
    // The attachments of an unloaded program end once, before its unload and at the same time. A call ended one without a link.
    let mut t = Fed::of(asked(ALL, 0));
    t.programs("lists 0 1/5 1000, lists 1 1/0 1000, lists 2 1/0 1000, lists 3 2/0 1000");
    t.programs("detach 0/0 1010, unloaded 1 1020, gone 0 1300, gone 1 1300, gone 2 1300");
    let expected =
        "detach 0 call 1010, detach 1 stream 1020, detach 1 stream 1020, detach 1 stream 1020, unload 1 stream 1020";
    t.check_programs("gone 3 1300, end", expected);
    let gone = |key| t.world().bpf.gone_attachment(key).map(|gone| gone.at);
    let mut times = [gone(0), gone(1), gone(2), gone(3)];
    times.sort_unstable();
    assert_eq!(times, [1010, 1020, 1020, 1020].map(|ms| Some(BootNanos(ms * MS))));
    // A restored report has the same time.
    let mut t = Fed::of(asked(ALL, 0));
    t.programs("news 0 1/5 1000, settled 1200");
    t.feed();
    let mut restored = Pipeline::default();
    restored.restore(&t.state());
    for mut pipeline in [t.pipeline, restored] {
        assert_eq!(program_events(&mut pipeline, true), ["attach 1 stream 1200"]);
    }
}

#[test]
fn the_program_of_a_link_is_not_attached_without_it() {
    let mut record = BpfRecord::new_zeroed();
    (record.cmd, record.has) = (cmd::LINK_CREATE, has::PROG | has::LINK | has::ATTR);
    (record.prog_id, record.link_id, record.link_type, record.attach_type) = (1, 5, 6, 37);
    (record.on, record.object) = (on::DEVICE, 3);
    let (via, hook, ifindex) = (Via::Netlink, Hook::Type(37), Some(3));
    let by_netlink = BpfAttachment { via, hook, ifindex, ..attachment(0, 1, 0) };
    for link_first in [true, false] {
        let mut pipeline = asked(ALL, 0);
        let mut batch = Batch::default();
        let call = |batch: &mut Batch| batch.push(header(Slot::Bpf, 0, 0, 1000), record.as_bytes());
        if link_first {
            call(&mut batch);
        }
        report(by_netlink.clone(), 1010, &mut batch);
        if !link_first {
            call(&mut batch);
        }
        report(BpfAttachment { gone: true, ..by_netlink.clone() }, 1020, &mut batch);
        let elsewhere = BpfAttachment { key: 1, ifindex: Some(4), ..by_netlink.clone() };
        report(elsewhere, 1030, &mut batch);
        batch.set_drained_at(BootNanos(1040 * MS));
        pipeline.feed(batch);
        let expected = ["attach 1 call 1000", "attach 1 stream 1040"];
        assert_eq!(program_events(&mut pipeline, true), expected, "{link_first}");
    }
    // BPF_PROG_QUERY lists the programs of links. Of one that came after the links were read, the inventory has no link.
    let mut record = BpfRecord::new_zeroed();
    (record.cmd, record.has) = (cmd::LINK_CREATE, has::PROG | has::LINK | has::ATTR);
    (record.prog_id, record.link_id, record.link_type, record.attach_type) = (1, 5, 3, 1);
    (record.on, record.cgroup) = (on::CGROUP, 7);
    let (mut pipeline, mut batch) = (asked(ALL, 0), Batch::default());
    HostFrame::Cgroup(Cgroup { id: CgroupId(7), path: b"/a".to_vec(), container: None }).push(BootNanos(0), &mut batch);
    batch.push(header(Slot::Bpf, 0, 0, 1000), record.as_bytes());
    let target = b"/a".to_vec();
    let queried = BpfAttachment { hook: Hook::Type(1), cgroup: CgroupId(7), target, ..attachment(0, 1, 0) };
    report(queried.clone(), 1010, &mut batch);
    report(BpfAttachment { gone: true, ..queried }, 1020, &mut batch);
    pipeline.feed(batch);
    assert_eq!(program_events(&mut pipeline, true), ["attach 1 call 1000"]);
}

#[test]
fn detached_links_and_hidden_programs_have_their_place() {
    let mut t = Fed::of(asked(ALL, 0));
    let known = BpfAttachment { target: b"eth7".to_vec(), ifindex: Some(7), news: false, ..attachment(0, 2, 5) };
    report(known, 1000, &mut t.batch);
    t.programs("detach 2/5 1001, detach 2/6 1002");
    // One that no inventory lists yet.
    let mut begins = BpfRecord::new_zeroed();
    (begins.cmd, begins.has, begins.prog_id, begins.link_id) = (cmd::LINK_CREATE, has::PROG | has::LINK, 2, 8);
    (begins.link_type, begins.on, begins.object, begins.target[0]) = (6, on::DEVICE, 4, b'e');
    t.batch.push(header(Slot::Bpf, 0, 2, 1003), begins.as_bytes());
    let ends = BpfRecord { cmd: cmd::LINK_DETACH, on: 0, object: 0, target: [0; _], ..begins };
    t.batch.push(header(Slot::Bpf, 0, 3, 1004), ends.as_bytes());
    let lines = json_of(&mut t);
    assert_eq!((&lines[3]["op"], &lines[3]["attach"]), (&"detach".into(), &lines[2]["attach"]));
    let place = |line: &serde_json::Value| (line["attach"]["target"].clone(), line["attach"]["ifindex"].clone());
    assert_eq!(place(&lines[0]), ("eth7".into(), 7.into()), "{lines:?}");
    assert_eq!(place(&lines[1]).0, serde_json::Value::Null);
    assert_eq!(lines[1]["attach"]["target_why"], "vanished");
    assert_eq!((&lines[0]["op"], &lines[0]["seen_by"]), (&"detach".into(), &"call".into()));
    // A hidden program or link is a row.
    let name = b"bpf_prog_00000000000000ab_rk".to_vec();
    let line =
        hidden_row(BpfHidden { id: ProgId(7), name, seen_by: View::IterProg, ..BpfHidden::default() }, "iter_prog");
    assert_eq!((&line["prog"]["id"], &line["prog"]["name"]), (&7.into(), &"rk".into()), "{line}");
    assert_eq!((&line["attach"], &line["pid"]), (&serde_json::Value::Null, &serde_json::Value::Null), "{line}");
    let (link, link_type) = (LinkId(12), 1);
    let hidden = BpfHidden { id: ProgId(7), link, link_type, seen_by: View::IterLink, ..BpfHidden::default() };
    let line = hidden_row(hidden, "iter_link");
    let attach = &line["attach"];
    assert_eq!((&line["prog"]["id"], &attach["link_id"]), (&7.into(), &12.into()), "{line}");
    assert_eq!((&attach["type"], &attach["via"]), (&"raw_tracepoint".into(), &"link".into()), "{line}");
}

/// The event of a hidden program or link, which this view showed.
fn hidden_row(hidden: BpfHidden, seen_by: &str) -> serde_json::Value {
    let mut t = Fed::of(asked(ALL, 0));
    HostFrame::BpfHidden(hidden).push(BootNanos(MS), &mut t.batch);
    let mut rows = words(&mut t, true, |seen| seen.event.body.is_alarm().then(|| json(seen)));
    let row = rows.pop().expect("a row");
    assert!(rows.is_empty(), "{rows:?}");
    assert_eq!((&row["op"], &row["missing_in"]), (&"hidden".into(), &"next_id".into()), "{row}");
    assert_eq!(row["seen_by"], seen_by, "{row}");
    row
}

fn open_with_stack(batch: &mut Batch, seq: u64, ms: u64, addresses: &[u64]) {
    let record = OpenRecord { ret: -2, ..OpenRecord::default() };
    let mut payload = payload::open(record, b"", b"/x");
    addresses.iter().for_each(|address| payload.extend_from_slice(&address.to_le_bytes()));
    payload.extend_from_slice(&(addresses.len() as u32).to_le_bytes());
    let header = header(Slot::Open, 0, seq, ms);
    batch.push(FrameHeader { flags: header.flags | flag::STACK, ..header }, &payload);
}

fn symbol(addr: u64, size: u64, from: u64, to: u64, name: &str) -> HostFrame {
    let (from, to) = (BootNanos(from * MS), BootNanos(to * MS));
    let owner = b"bpf".to_vec();
    HostFrame::KernelSymbol(KernelSymbol { addr: KernelAddr(addr), size, from, to, name: name.into(), owner })
}

/// The stacks of the events as JSON: as delivered, and as shown from the store at the end. Also an excerpt of all events.
fn stacks(pipeline: &mut Pipeline) -> (Vec<serde_json::Value>, Vec<serde_json::Value>, Batch) {
    let stack_of = |seen: &EventContext<'_>| json(seen)["stack"].clone();
    let (mut shown, mut store) = (Vec::new(), crate::store::Store::new(1 << 20));
    let mut excerpt = excerpt::Excerpt::new(pipeline.world(), ALL, "");
    pipeline.end();
    pipeline.next(None, &mut |seen, frame| {
        shown.push(stack_of(seen));
        store.push(seen, frame);
        excerpt.add(seen, frame);
        Disposition::Delivered
    });
    let stored = (0..store.next_id()).filter_map(|id| store.get(id)?.with(pipeline.world(), stack_of));
    (shown, stored.collect(), excerpt.batch())
}

#[test]
fn a_stack_names_what_was_there_at_its_time() {
    let mut t = Fed::of(asked(ALL, 0));
    symbol(0x1000, 0x100, 10, 0, "a").push(BootNanos(15 * MS), &mut t.batch);
    // The address after the last call of a function belongs to the next function.
    symbol(0x1100, 0x100, 0, 0, "next").push(BootNanos(15 * MS), &mut t.batch);
    open_with_stack(&mut t.batch, 0, 15, &[0x1050, 0x1100]);
    symbol(0x1000, 0x100, 10, 20, "a").push(BootNanos(20 * MS), &mut t.batch);
    open_with_stack(&mut t.batch, 1, 25, &[0x1050]);
    symbol(0x0f00, 0x180, 30, 0, "b").push(BootNanos(35 * MS), &mut t.batch);
    open_with_stack(&mut t.batch, 2, 35, &[0x1050, 0x2000]);
    let names = |stacks: &[serde_json::Value]| {
        let name = |call: &serde_json::Value| match call["symbol"].as_str() {
            Some(name) => format!("{name}+{}", call["offset"]),
            None => call["addr"].as_str().expect("an address").to_owned(),
        };
        let calls = |stack: &serde_json::Value| stack.as_array().expect("a list").iter().map(name).collect::<Vec<_>>();
        stacks.iter().map(|stack| calls(stack).join(" ")).collect::<Vec<_>>()
    };
    let expected = ["a+80 a+256", "0x0000000000001050", "b+336 0x0000000000002000"];
    t.feed();
    let state = t.state();
    let (shown, stored, excerpt) = stacks(&mut t);
    assert_eq!(names(&shown), expected);
    assert_eq!(names(&stored), expected);
    assert_eq!((&shown[0][0]["size"], &shown[0][0]["module"]), (&256.into(), &"bpf".into()));
    let mut restored = Pipeline::default();
    restored.restore(&state);
    assert_eq!(names(&stacks(&mut restored).0), expected);
    let mut of_excerpt = Pipeline::default();
    of_excerpt.feed(excerpt);
    let (shown, stored, _) = stacks(&mut of_excerpt);
    assert_eq!(names(&shown), expected);
    assert_eq!(names(&stored), expected);
    // An exec with continuations keeps its stack.
    let mut t = Fed::of(asked(ALL, 0));
    let record = ExecRecord { argc: 2, argv_total: 6, argv_len: 6, ..ExecRecord::default() };
    let mut first = [record.as_bytes(), b"a\0b"].concat();
    first.extend_from_slice(&0x1010u64.to_le_bytes());
    first.extend_from_slice(&1u32.to_le_bytes());
    let header = header(Slot::Exec, 0, 0, 10);
    symbol(0x1000, 0x100, 0, 0, "f").push(BootNanos(1), &mut t.batch);
    t.batch.push(FrameHeader { flags: flag::STACK, ..header }, &first);
    let chunk = ExecChunk { offset: 3, len: 3, marks: 0, reserved: 0 };
    let more = [chunk.as_bytes(), b"c\0d"].concat();
    t.batch.push(FrameHeader { flags: flag::CONTINUES, ..header }, &more);
    t.feed();
    let mut found = Vec::new();
    t.end();
    t.next(None, &mut |seen, _| {
        let Body::Exec(exec) = &seen.event.body else { return Disposition::Filtered };
        found.push((exec.argv.to_vec(), seen.event.stack.map(<[u8]>::to_vec)));
        Disposition::Delivered
    });
    assert_eq!(found, [(b"a\0bc\0d".to_vec(), Some(0x1010u64.to_le_bytes().to_vec()))]);
}
