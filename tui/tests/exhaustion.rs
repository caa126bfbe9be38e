//! Hours of churn in seconds. Any data that is kept stays within `--memory`, and the memory that tracetui reports is
//! the memory that it uses. An allocator counts every byte of this process.

#![allow(clippy::print_stdout, reason = "figures go to whoever runs the tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracetui::app::{App, Input, Memory, Settings};
use tracetui_events::budget::Budget;
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::{Cgroup, Group, Host, HostFrame, ProcessSeed, User};
use tracetui_events::pipeline::{Disposition, Pipeline};
use tracetui_events::synthetic::Maker;
use tracetui_shared::header::{FrameHeader, VERSION, flag};
use tracetui_shared::id::{CgroupId, Gid, Tgid, Uid};
use tracetui_shared::kind::{Kind, Slot};
use tracetui_shared::record::exec::{ARGV_CHUNK, ARGV_FIRST, ARGV_MAX, ExecChunk, ExecRecord};
use tracetui_shared::record::exit::ExitRecord;
use tracetui_shared::record::open::OpenRecord;
use tracetui_shared::time::BootNanos;
use zerocopy::IntoBytes;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grew(bytes: usize) {
    PEAK.fetch_max(LIVE.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: all calls are forwarded unchanged to `System`, and the counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grew(layout.size());
        // SAFETY: the caller guarantees a layout of non-zero size, as `System` requires.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: `at` was allocated by `System` with this layout, because `alloc` and `realloc` forward to it.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_sub(layout.size(), Relaxed);
        grew(size);
        // SAFETY: `at` was allocated by `System` with this layout. The caller guarantees a valid size.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// All tests share the counters, so they run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const MIB: usize = 1 << 20;

const COMM: &str = "churn";

/// The size of a batch in bytes, as the reader makes it.
const BATCH: usize = 64 << 10;

/// The memory in bytes that does not grow: the state itself, tables at their minimum, the current batch. It is not in
/// the budget.
const FIXED: usize = MIB;

struct Churn {
    maker: Maker,
    pid: u32,
}

impl Churn {
    fn new() -> Churn {
        let like = FrameHeader { version: VERSION, ppid: Tgid(1), ..FrameHeader::default() };
        let made = Batch::with_capacity(BATCH * 2);
        let maker = Maker { batch: made, like, ns: 1_000_000_000, step_ns: 10_000, start_ns: 0, ..Maker::default() };
        Churn { maker, pid: 1000 }
    }

    fn next_pid(&mut self) -> u32 {
        self.pid += 1;
        self.pid
    }

    fn open(&mut self, pid: u32) {
        let path = format!("/some/where/file-{}", self.maker.counters[Slot::Open as usize].wanted);
        self.maker.open(pid, COMM, &path, 3);
    }

    fn fork(&mut self, parent: u32, child: u32) {
        self.maker.fork(parent, COMM, child);
    }

    fn exit(&mut self, pid: u32) {
        self.maker.exit(pid, COMM, 0);
    }

    /// The first record of an exec. Its names have up to `names` bytes each, and its arguments `argv` bytes, of which
    /// it contains `here`.
    fn exec(&mut self, pid: u32, names: usize, argv: u32, here: u32) -> FrameHeader {
        let header = self.maker.header(Slot::Exec, pid, COMM);
        let name: Vec<u8> = (0..names.max(2)).map(|i| if i % 100 == 99 { 0 } else { b'n' }).collect();
        let record = ExecRecord {
            argc: 1,
            argv_total: argv,
            argv_len: argv,
            exe_len: name.len() as u16,
            cwd_len: name.len() as u16,
            ..ExecRecord::default()
        };
        let argv = vec![b'a'; here as usize];
        self.maker.batch.push(header, &[record.as_bytes(), &name, &name, &argv].concat());
        header
    }

    fn chunk(&mut self, of: FrameHeader, offset: u32, len: u32) {
        let header = FrameHeader { flags: flag::CONTINUES, ..of };
        let chunk = ExecChunk { offset, len, ..ExecChunk::default() };
        self.maker.batch.push(header, &[chunk.as_bytes(), &vec![b'a'; len as usize]].concat());
    }

    fn host(&mut self, frame: &HostFrame) {
        self.maker.host(frame);
    }

    /// The frames so far, if they fill a batch.
    fn full(&mut self) -> Option<Batch> {
        (self.maker.batch.len() >= BATCH).then(|| self.rest())
    }

    fn rest(&mut self) -> Batch {
        std::mem::replace(&mut self.maker.batch, Batch::with_capacity(BATCH * 2))
    }
}

trait Target {
    fn feed(&mut self, batch: Batch);
    fn says(&self) -> usize;
    fn bound(&self) -> usize;
}

impl Target for App {
    fn feed(&mut self, batch: Batch) {
        self.update(Input::Batch(batch));
        while self.pipeline.spare().is_some() {}
    }
    fn says(&self) -> usize {
        Memory::of(self).used()
    }
    fn bound(&self) -> usize {
        // No batches are in transit in this test.
        let memory = Memory::of(self);
        memory.bound - memory.queues
    }
}

/// A pipeline whose events are only counted, as in `print`.
struct Counted {
    pipeline: Pipeline,
    events: u64,
    budget: Budget,
}

impl Counted {
    fn new(budget: Budget) -> Counted {
        Counted { pipeline: Pipeline::new(budget), events: 0, budget }
    }
}

impl Target for Counted {
    fn feed(&mut self, batch: Batch) {
        let Counted { pipeline, events, .. } = self;
        pipeline.feed(batch);
        pipeline.next(None, &mut |_, _| {
            *events += 1;
            Disposition::Delivered
        });
        while pipeline.spare().is_some() {}
    }
    fn says(&self) -> usize {
        self.pipeline.bytes() + self.pipeline.world().bytes()
    }
    fn bound(&self) -> usize {
        self.budget.bytes() - self.budget.queues() - self.budget.kept_bytes(usize::MAX)
    }
}

/// Feeds batches, with checks after each.
struct Checked<T> {
    target: T,
    churn: Churn,
    before: usize,
    most: usize,
    began: std::time::Instant,
}

impl<T: Target> Checked<T> {
    fn new(make: impl FnOnce() -> T) -> Checked<T> {
        let before = LIVE.load(Relaxed);
        let target = make();
        PEAK.store(LIVE.load(Relaxed), Relaxed);
        Checked { target, churn: Churn::new(), before, most: 0, began: std::time::Instant::now() }
    }

    /// Runs `one` `times` times, and feeds each batch that is full.
    fn churn(&mut self, what: &str, times: u32, mut one: impl FnMut(&mut Churn, u32)) {
        for i in 0..times {
            one(&mut self.churn, i);
            if let Some(batch) = self.churn.full() {
                self.feed(what, batch);
            }
        }
        let rest = self.churn.rest();
        self.feed(what, rest);
        println!(
            "{:?} {what}: says {} KiB, at most {} KiB",
            self.began.elapsed(),
            self.target.says() >> 10,
            self.most >> 10
        );
    }

    fn feed(&mut self, what: &str, batch: Batch) {
        self.target.feed(batch);
        let takes = LIVE.load(Relaxed) - self.before;
        self.most = self.most.max(takes);
        let (says, bound) = (self.target.says(), self.target.bound());
        assert!(takes <= bound + FIXED, "{what}: takes {} KiB of {} KiB", takes >> 10, bound >> 10);
        assert!(takes <= says + says / 8 + FIXED, "{what}: takes {} KiB, says {} KiB", takes >> 10, says >> 10);
    }
}

/// Exercises everything that grows: each part until it is larger than its share of 24 MiB, and then again.
fn exhaust<T: Target>(checked: &mut Checked<T>) {
    checked.churn("host", 1, |churn, _| churn.host(&HostFrame::Host(Host::default())));
    checked.churn("accounts", 15_000, |churn, i| {
        churn.host(&HostFrame::User(User { uid: Uid(i), name: format!("a-user-with-a-name-{i}") }));
        churn.host(&HostFrame::Group(Group { gid: Gid(i), name: format!("a-group-with-a-name-{i}") }));
    });
    checked.churn("processes that are there", 6_000, |churn, i| {
        let seed =
            ProcessSeed { tgid: Tgid(1_000_000 + i), start: BootNanos(1), exe: vec![b'x'; 500], ..Default::default() };
        churn.host(&HostFrame::ProcessSeed(seed));
    });
    for (round, part) in [(0, 1), (1, 2)] {
        checked.churn("cgroups", 1_500 / part, |churn, i| {
            let path = format!("/{round}/{i}/{}", "c".repeat((i as usize * 7) % 3000)).into_bytes();
            churn.host(&HostFrame::Cgroup(Cgroup {
                id: CgroupId(u64::from(round * 100_000 + i)),
                path,
                container: None,
            }));
        });
        checked.churn("execs of 2 MiB", 40 / part, |churn, _| long_exec(churn));
        checked.churn("processes with long names", 1_000 / part, |churn, _| {
            let pid = churn.next_pid();
            churn.fork(1, pid);
            churn.exec(pid, 4000, 5000, 5000);
            churn.exit(pid);
        });
        checked.churn("processes that stay", 6_000 / part, |churn, _| {
            let pid = churn.next_pid();
            churn.fork(1, pid);
            churn.exec(pid, 200, 100, 100);
        });
        checked.churn("forks", 12_000 / part, |churn, _| {
            let pid = churn.next_pid();
            churn.fork(pid - 1, pid);
            churn.exit(pid - 1);
        });
        checked.churn("execs without end, on many CPUs", 300 / part, |churn, i| {
            let pid = churn.next_pid();
            let first = churn.maker.header(Slot::Exec, pid, COMM);
            let record = ExecRecord { argv_len: ARGV_MAX, argv_total: ARGV_MAX, ..ExecRecord::default() };
            churn.maker.batch.push(FrameHeader { cpu: i * 1000, ..first }, record.as_bytes());
        });
        checked.churn("numbers of many CPUs", 8_000 / part, |churn, i| {
            let header = churn.maker.header(Slot::Exit, 7, COMM);
            let header = FrameHeader { cpu: i.wrapping_mul(12_345), slot: (i % 1000) as u16, ..header };
            churn.maker.batch.push(header, ExitRecord::default().as_bytes());
        });
        checked.churn("opens", 25_000 / part, |churn, i| churn.open(i % 100));
    }
    // One event stays in the pipeline for ever from here on, and so does its batch.
    checked.churn("an event far in the future", 8_000, |churn, i| {
        if i == 0 {
            let header = churn.maker.header(Slot::Open, 1, COMM);
            churn
                .maker
                .batch
                .push(FrameHeader { time: BootNanos(u64::MAX), ..header }, OpenRecord::default().as_bytes());
        }
        churn.open(1);
    });
}

fn long_exec(churn: &mut Churn) {
    let pid = churn.next_pid();
    churn.fork(1, pid);
    let first = churn.exec(pid, 30, ARGV_MAX, ARGV_FIRST);
    for offset in (ARGV_FIRST..ARGV_MAX).step_by(ARGV_CHUNK as usize) {
        churn.chunk(first, offset, ARGV_CHUNK.min(ARGV_MAX - offset));
    }
    // The time that such an exec takes.
    churn.maker.ns += 2_000_000;
    churn.exit(pid);
}

#[test]
fn the_dashboard_stays_within_its_memory() {
    let _alone = alone();
    let settings = || Settings { budget: Budget::new(24 << 20), ..Settings::default() };
    let mut checked = Checked::new(|| App::new(settings()).expect("an empty filter"));
    exhaust(&mut checked);
    let account = checked.target.pipeline.account();
    println!("{:?}, evicted {}", account.shortage, checked.target.store().evicted());
    assert!(checked.target.store().evicted() > 0);
    assert!(checked.target.store().events() > 0);
    assert!(account.shortage.processes > 0, "what is given up is counted: {:?}", account.shortage);
    assert!(account.shortage.cgroups > 0, "what is given up is counted: {:?}", account.shortage);
}

#[test]
fn the_pipeline_stays_within_its_memory() {
    let _alone = alone();
    let mut checked = Checked::new(|| Counted::new(Budget::new(24 << 20)));
    exhaust(&mut checked);
    assert!(checked.target.events > 60_000);
}

#[test]
fn long_arguments_leave_nothing_behind_and_are_whole() {
    let _alone = alone();
    let mut checked = Checked::new(|| Counted::new(Budget::default()));
    checked.churn("execs of 2 MiB", 20, |churn, _| long_exec(churn));
    let after_few = LIVE.load(Relaxed);
    checked.churn("execs of 2 MiB", 150, |churn, _| long_exec(churn));
    let more = LIVE.load(Relaxed).saturating_sub(after_few);
    // The table keeps a few KiB of each process, no more for long arguments.
    assert!(more < 150 * (6 << 10), "{} KiB more", more >> 10);
    let Counted { pipeline, .. } = &mut checked.target;
    let mut whole = true;
    pipeline.end();
    pipeline.next(None, &mut |seen, _| {
        whole &= !seen.event.body.cut();
        Disposition::Delivered
    });
    let account = pipeline.account();
    assert_eq!((account.kind(Kind::Exec).delivered, account.cut, whole), (170, 0, true));
    assert_eq!(account.shortage, Default::default(), "there is room for all that");
}
