//! Frames made by hand, for tests.

use super::{App, Input, Settings, Tick, language};
use crate::budget::Budget;
use crate::event::lost::LostRecord;
use crate::event::{Body, Event};
use crate::frame::Batch;
use crate::frame::host::{Clock, HostFrame};
use crate::pipeline::Pipeline;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::time::Duration;
use tracetui_shared::header::{FrameHeader, VERSION};
use tracetui_shared::id::{Gid, Tgid, Tid, Uid};
use tracetui_shared::kind::{Kind, KindSet, SLOTS, Slot};
use tracetui_shared::record::exec::ExecRecord;
use tracetui_shared::record::exit::ExitRecord;
use tracetui_shared::record::open::OpenRecord;
use tracetui_shared::time::BootNanos;
use zerocopy::IntoBytes;

/// 2026-11-20 14:02:11 UTC, minus the times that [`Feed`] starts with.
pub(crate) const CLOCK_OFFSET: i64 = 1_795_183_331_000_000_000 - 100_000_000_000;

/// Makes frames one after another, a millisecond apart.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) batch: Batch,
    /// When the processes started that make events from now on, but for some nanoseconds.
    pub(crate) start_ns: u64,
    ns: u64,
    seqs: [u64; SLOTS],
}

impl Default for Feed {
    fn default() -> Feed {
        Feed { batch: Batch::default(), start_ns: 90_000_000_000, ns: 100_000_000_000, seqs: [0; SLOTS] }
    }
}

impl Feed {
    /// What was made since the last time.
    pub(crate) fn batch(&mut self) -> Batch {
        let mut batch = std::mem::take(&mut self.batch);
        batch.set_drained_at(BootNanos(self.ns + 1_000_000_000));
        batch
    }

    fn push(&mut self, kind: Kind, slot: Slot, pid: u32, comm: &str, payload: &[u8]) {
        self.ns += 1_000_000;
        let mut header = FrameHeader {
            kind: kind as u16,
            slot: slot as u16,
            version: VERSION,
            seq: self.seqs[slot as usize],
            time: BootNanos(self.ns),
            start: BootNanos(self.start_ns + u64::from(pid)),
            tgid: Tgid(pid),
            tid: Tid(pid),
            ppid: Tgid(1),
            uid: Uid(1000),
            gid: Gid(1000),
            ..FrameHeader::default()
        };
        self.seqs[slot as usize] += u64::from(kind != Kind::Lost);
        let len = comm.len().min(15);
        header.comm[..len].copy_from_slice(&comm.as_bytes()[..len]);
        self.batch.push(header, payload);
    }

    /// An open of `path` with this result.
    pub(crate) fn open(&mut self, pid: u32, comm: &str, path: &str, ret: i32) {
        let record = OpenRecord {
            ret,
            path_len: path.len() as u16,
            root_off: u16::MAX,
            names_marks: 16,
            ..OpenRecord::default()
        };
        self.push(Kind::Open, Slot::OpenTp, pid, comm, &[record.as_bytes(), path.as_bytes()].concat());
    }

    /// An exec with these arguments.
    pub(crate) fn exec(&mut self, pid: u32, comm: &str, argv: &[&str], ret: i32) {
        let area: Vec<u8> = argv.iter().flat_map(|arg| arg.bytes().chain([0])).collect();
        let exe = b"cc\0bin\0usr\0";
        let record = ExecRecord {
            ret,
            argc: argv.len() as u32,
            argv_total: area.len() as u32,
            argv_len: area.len() as u32,
            exe_len: exe.len() as u16,
            ..ExecRecord::default()
        };
        self.push(Kind::Exec, Slot::ExecBtf, pid, comm, &[record.as_bytes(), exe, &area].concat());
    }

    /// An exit with this wait status.
    pub(crate) fn exit(&mut self, pid: u32, comm: &str, status: u32) {
        self.push(Kind::Exit, Slot::ExitBtf, pid, comm, ExitRecord { status, signal_flags: 0 }.as_bytes());
    }

    /// A gap row.
    pub(crate) fn lost(&mut self, count: u64) {
        let record = LostRecord {
            of: Kind::Open as u16,
            cause: 1,
            cpu: 0,
            count,
            from_ns: self.ns - 36_000_000,
            to_ns: self.ns + 1_000_000,
        };
        self.push(Kind::Lost, Slot::OpenTp, 0, "", record.as_bytes());
    }

    /// A host frame.
    pub(crate) fn host(&mut self, frame: &HostFrame) {
        frame.push(BootNanos(self.ns), &mut self.batch);
    }
}

/// The path of an open, as asked.
pub(crate) fn open_path(event: &Event<'_>) -> String {
    match &event.body {
        Body::Open(open) => String::from_utf8_lossy(open.path).into_owned(),
        _ => String::new(),
    }
}

/// A dashboard of this size.
pub(crate) fn app(width: u16, height: u16, memory: u64) -> App {
    let settings = Settings {
        budget: Budget::new(memory),
        kinds: KindSet::BY_DEFAULT,
        zone_s: 0,
        capture: "all".to_owned(),
        filter: String::new(),
        parse: language::parse,
    };
    let mut app = App::new(Pipeline::default(), settings).expect("an empty filter");
    app.update(Input::Resize(width, height));
    let mut clock = Feed::default();
    clock.host(&HostFrame::Clock(Clock { offset_ns: CLOCK_OFFSET }));
    app.update(Input::Batch(clock.batch()));
    app
}

/// Feeds what was made and lets all work be done.
pub(crate) fn feed(app: &mut App, feed: &mut Feed) {
    app.update(Input::Batch(feed.batch()));
    work(app);
}

/// Lets all work be done.
pub(crate) fn work(app: &mut App) {
    for _ in 0..10_000 {
        if !app.busy() {
            return;
        }
        app.update(Input::Tick(Tick { now: Duration::from_secs(1), usage: None }));
    }
}

/// Types keys: letters, and control characters for the keys that make them.
pub(crate) fn keys(app: &mut App, text: &str) {
    for letter in text.chars() {
        let (code, ctrl) = match letter {
            '\n' => (KeyCode::Enter, false),
            '\x1b' => (KeyCode::Esc, false),
            '\t' => (KeyCode::Tab, false),
            '\x12' => (KeyCode::Char('r'), true),
            '\x03' => (KeyCode::Char('c'), true),
            '\u{2191}' => (KeyCode::Up, false),
            letter => (KeyCode::Char(letter), false),
        };
        let modifiers = if ctrl { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
        app.update(Input::Key(KeyEvent::new(code, modifiers)));
    }
    work(app);
}
