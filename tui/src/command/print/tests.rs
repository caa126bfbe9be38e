use super::*;
use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracetui_events::account::LostBy;
use tracetui_events::frame::host::{Clock, Counters, HostFrame, Trace};
use tracetui_events::sink::{FormatName, LineOptions, lines, to_writer};
use tracetui_events::synthetic::{self, payload};
use tracetui_shared::counters::{CpuState, SlotCounters};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::kind::{SLOTS, Slot};
use tracetui_shared::record::open::OpenRecord;
use tracetui_shared::time::BootNanos;

fn feed_all(batches: impl IntoIterator<Item = Batch>, printer: &mut Printer<'_>) -> io::Result<Flow> {
    for batch in batches {
        let flow = printer.feed(batch)?;
        if flow != Flow::Continue {
            return Ok(flow);
        }
    }
    Ok(Flow::Continue)
}

/// An output that can be looked at, and fails after some writes.
#[derive(Clone, Default)]
struct Out {
    bytes: Rc<RefCell<Vec<u8>>>,
    fails: Option<(usize, ErrorKind)>,
}

impl Out {
    fn text(&self) -> String {
        String::from_utf8(self.bytes.borrow().clone()).expect("UTF-8")
    }

    fn lines(&self) -> usize {
        self.text().lines().count()
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.fails {
            Some((0, kind)) => return Err((*kind).into()),
            Some((left, _)) => *left -= 1,
            None => {}
        }
        self.bytes.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const START: u64 = 3_731_500_000_000;
const MS: u64 = 1_000_000;

/// Opens numbered `from..to`, one a millisecond, of which the number in `missing` is not there.
fn opens(from: u64, to: u64, missing: Option<u64>) -> Batch {
    let mut batch = Batch::default();
    for seq in (from..to).filter(|seq| Some(*seq) != missing) {
        let time = BootNanos(START + seq * MS);
        let header = FrameHeader { seq, time, cpu: 1, ..synthetic::header(Slot::Open) };
        batch.push(header, &payload::open(OpenRecord::default(), b"", format!("/tmp/{seq}").as_bytes()));
    }
    batch
}

fn drained(mut batch: Batch, ms: u64) -> Batch {
    batch.set_drained_at(BootNanos(START + ms * MS));
    batch
}

fn asked_for_opens() -> Pipeline {
    let mut pipeline = Pipeline::default();
    let mut batch = Batch::default();
    let trace = Trace { kinds: KindSet::from(Kind::Open).bits(), ..Trace::default() };
    HostFrame::Trace(trace).push(BootNanos(0), &mut batch);
    pipeline.feed(batch);
    pipeline
}

fn last_counters(opens: u64, lost_ring: u64) -> Batch {
    let mut slots = [SlotCounters::default(); SLOTS];
    slots[Slot::Open as usize] = SlotCounters { wanted: opens, lost_ring, ..SlotCounters::ZERO }.completed();
    let cpus = vec![CpuState::ZERO, CpuState { slots, ..CpuState::ZERO }];
    let counters = Counters { last: true, cpus, ..Counters::default() };
    let mut batch = Batch::default();
    HostFrame::CounterChanges(counters.into()).push(BootNanos(START + 10_000 * MS), &mut batch);
    batch
}

fn printer(format: FormatName, count: Option<u64>, out: &Out) -> Printer<'static> {
    let all = Box::new(|_: &EventContext<'_>| true) as Predicate;
    let mut printer = Printer::new(asked_for_opens(), to_writer(format, out.clone()), all, count);
    let mut clock = Batch::default();
    HostFrame::Clock(Clock::default()).push(BootNanos(0), &mut clock);
    assert_eq!(printer.feed(clock).expect("nothing to write"), Flow::Continue);
    printer
}

#[test]
fn lines_appear_when_nothing_waits_and_a_closed_pipe_is_no_failure() {
    let out = Out::default();
    let mut printer = printer(FormatName::Json, None, &out);
    assert_eq!(printer.feed(opens(0, 100, None)).expect("written"), Flow::Continue);
    assert_eq!(out.lines(), 0, "more may wait");
    assert_eq!(printer.feed(drained(Batch::default(), 200)).expect("written"), Flow::Continue);
    assert_eq!(out.lines(), 100);
    printer.feed(last_counters(100, 0)).expect("written");
    printer.finish().expect("written");
    assert_eq!(printer.pipeline.account().line(), "account: seen 100 delivered 100 filtered 0 lost 0 cut 0 (open 100)");
    // Large amounts are written before anything is drained.
    let out = Out::default();
    let mut printer = self::printer(FormatName::Json, None, &out);
    printer.feed(opens(0, 1000, None)).expect("written");
    assert!(out.bytes.borrow().len() >= 64 << 10);
    // A closed pipe differs from a failure.
    let out = Out { fails: Some((1, ErrorKind::BrokenPipe)), ..Out::default() };
    let mut closed = self::printer(FormatName::Text, None, &out);
    assert_eq!(closed.feed(drained(opens(0, 10, None), 100)).expect("written"), Flow::Continue);
    assert_eq!(closed.feed(drained(opens(10, 20, None), 200)).expect("closed"), Flow::Closed);
    assert_eq!(closed.feed(drained(opens(20, 30, None), 300)).expect("closed"), Flow::Closed);
    closed.feed(last_counters(30, 0)).expect("closed");
    closed.finish().expect("a closed pipe is no failure");
    assert_eq!(closed.settle(), 10, "the second batch");
    let sum = closed.pipeline.account().sum();
    assert_eq!((sum.delivered, sum.filtered, sum.off_by()), (10, 20, 0));

    let out = Out { fails: Some((0, ErrorKind::StorageFull)), ..Out::default() };
    let mut full = self::printer(FormatName::Csv, None, &out);
    assert_eq!(full.feed(drained(opens(0, 10, None), 100)).expect_err("full").kind(), ErrorKind::StorageFull);
    assert!(full.finish().is_ok(), "reported once");
    full.feed(last_counters(10, 0)).expect("reported once");
    assert_eq!(full.settle(), 10);
    let sum = full.pipeline.account().sum();
    assert_eq!((sum.delivered, sum.filtered, sum.off_by()), (0, 0, 0), "nothing was written");
    assert_eq!(sum.lost, LostBy { unwritten: 10, ..LostBy::default() });
}

#[test]
fn after_the_count_events_are_filtered_and_the_account_adds_up() {
    let out = Out::default();
    let mut printer = printer(FormatName::Text, Some(3), &out);
    let batches = [drained(opens(0, 10, None), 100), opens(10, 20, None)];
    assert_eq!(feed_all(batches, &mut printer).expect("written"), Flow::Done);
    assert_eq!(out.lines(), 3);
    assert_eq!(printer.feed(opens(10, 20, None)).expect("written"), Flow::Done);
    printer.feed(last_counters(20, 0)).expect("written");
    printer.finish().expect("written");
    let account = printer.pipeline.account();
    assert_eq!(out.lines(), 3);
    assert_eq!(account.sum().off_by(), 0);
    assert_eq!(account.line(), "account: seen 20 delivered 3 filtered 17 lost 0 cut 0 (open 3)");
    // Rows about lost events do not count.
    let out = Out::default();
    let mut printer = self::printer(FormatName::Text, Some(5), &out);
    printer.feed(opens(0, 10_000, Some(2))).expect("written");
    printer.feed(last_counters(10_000, 1)).expect("written");
    printer.finish().expect("written");
    let account = printer.pipeline.account();
    let text = out.text();
    assert_eq!(text.matches(" OPEN ").count(), 5, "{text}");
    assert_eq!(text.matches("1 open event lost here").count(), 1, "{text}");
    assert_eq!((account.sum().delivered, account.sum().lost.sum(), account.sum().off_by()), (5, 1, 0));
    // What the filter rejects is counted.
    let out = Out::default();
    let even = |seen: &EventContext<'_>| seen.event.header.seq.is_multiple_of(2);
    let sink = to_writer(FormatName::Text, out.clone());
    let mut printer = Printer::new(asked_for_opens(), sink, Box::new(even), None);
    printer.feed(opens(0, 10, None)).expect("written");
    printer.feed(last_counters(10, 0)).expect("written");
    printer.finish().expect("written");
    let sum = printer.pipeline.account().sum();
    assert_eq!((sum.delivered, sum.filtered, sum.off_by()), (5, 5, 0));
}

#[test]
fn what_is_wanted_after_the_output_failed_is_lost_and_the_rest_is_filtered() {
    for (count, unwritten) in [(None, 13), (Some(12), 7)] {
        let (out, written) = (Out::default(), Arc::new(AtomicU64::new(0)));
        let options = LineOptions { written: Some(Arc::clone(&written)), ..LineOptions::default() };
        let sink = lines(FormatName::Json, options, out.clone());
        let even = |seen: &EventContext<'_>| seen.event.header.seq.is_multiple_of(2);
        let mut stalled = Printer::new(asked_for_opens(), sink, Box::new(even), count);
        stalled.feed(drained(opens(0, 20, None), 100)).expect("queued");
        let five = out.text().split_inclusive('\n').take(5).map(str::len).sum::<usize>();
        written.store(five as u64 + 1, Ordering::Relaxed);
        assert!(stalled.output_failed(ErrorKind::TimedOut.into()).is_err(), "no closed pipe");
        assert_eq!(stalled.feed(drained(opens(20, 36, None), 200)).expect("reported once"), Flow::Closed);
        stalled.feed(last_counters(36, 0)).expect("reported once");
        stalled.finish().expect("reported once");
        assert_eq!(stalled.settle(), unwritten);
        let account = stalled.pipeline.account();
        let sum = account.sum();
        assert_eq!((sum.seen, sum.delivered, sum.filtered), (36, 5, 31 - unwritten));
        assert_eq!(sum.lost, LostBy { unwritten, ..LostBy::default() });
        assert_eq!(account.discrepancy(), None);
        assert_eq!(out.lines(), 10, "nothing after the failure");
    }
}
