//! Compares the trace on the screen with a recording. The recording is opened by whoever opens files for the user, and read by threads
//! that only have the open file.

use super::background::{Background, Progress};
use crate::app::recordings::kept_events::KeptEvents;
use crate::app::{App, Compared, Input};
use crate::command::diff::compare::{Memory, Side, all, compare, evicted_text};
use crate::command::messages::name;
use anyhow::{Result, anyhow, bail};
use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracetui_events::account::Account;
use tracetui_events::diff::Run;
use tracetui_events::filter::{FilterOptions, Scratch};
use tracetui_events::frame::Batch;
use tracetui_events::limits;
use tracetui_events::pipeline::Disposition;
use tracetui_events::playback::{self, Playback};
use tracetui_events::recording::file::RecordingFile;
use tracetui_events::store::Id;
use tracetui_shared::kind::KindSet;

/// The name of a trace that runs, in notes.
const THIS: &str = "this trace";

/// Batches of kept events that wait for the thread.
const WAITING: usize = 2;

pub(super) type Opened = (PathBuf, RecordingFile);

/// The comparison that runs, if there is one.
#[derive(Debug, Default)]
pub(super) struct Comparer {
    pub(super) running: Option<Background>,
    live_events: Option<LiveEvents>,
    /// The thread of the last comparison. The next one waits for its end, so that only one takes memory.
    last: Option<JoinHandle<()>>,
}

/// The kept events of a trace that runs, up to those at the start of the comparison.
#[derive(Debug)]
struct LiveEvents {
    events: KeptEvents,
    first: Id,
    end: Id,
    to: Sender<LiveBatch>,
}

#[derive(Debug)]
struct LiveBatch {
    batch: Batch,
    percent: u8,
    /// For the last part: how many events were evicted from memory so far.
    evicted: Option<u64>,
}

enum ScreenTrace {
    Recording(String, Vec<Opened>),
    Live(Box<Live>),
}

struct Live {
    parts: Receiver<LiveBatch>,
    filter: String,
    kinds: KindSet,
    account: Account,
    /// Whether COMMAND, or the trace if it has none, has not ended.
    runs: bool,
}

impl Comparer {
    /// Starts a comparison. `recording`: the files of a replay.
    pub(super) fn start(&mut self, a: Opened, recording: Option<Vec<Opened>>, app: &App) -> io::Result<()> {
        let (shown, kept) = match recording {
            // Copies have the same id.
            Some(files) if files.iter().any(|(_, file)| file.header.id == a.1.header.id) => {
                return Err(io::Error::other(format!("{} is the recording on the screen", name(&a.0))));
            }
            Some(files) => (ScreenTrace::Recording(shown_name(app), files), None),
            None => {
                let (to, parts) = channel(WAITING);
                let (first, end) = (app.store().first_id(), app.store().next_id());
                let live = Live {
                    parts,
                    filter: app.pipeline.trace().map_or_else(String::new, |trace| trace.filter.clone()),
                    kinds: app.pipeline.kinds().unwrap_or(KindSet::ALL),
                    account: app.pipeline.account(),
                    runs: app.is_running(),
                };
                (ScreenTrace::Live(Box::new(live)), Some(LiveEvents { events: KeptEvents::new(app), first, end, to }))
            }
        };
        let before = self.last.take();
        let run = move |progress: &Progress| {
            before.map(JoinHandle::join);
            let compared = Comparison { progress, percent: Default::default() }.run(a, shown);
            Input::Compared(compared.map(Box::new).map_err(|error| format!("{error:#}")))
        };
        let (running, last) = Background::start("diff", run)?;
        (self.running, self.last, self.live_events) = (Some(running), Some(last), kept);
        Ok(())
    }

    pub(super) fn stop(&mut self) {
        (self.running, self.live_events) = (None, None);
    }

    /// Passes on kept events while there is room. After each part comes a message.
    pub(super) fn feed(&mut self, app: &App) {
        if self.running.is_none() {
            self.live_events = None;
        }
        while let Some(kept) = &mut self.live_events {
            let Ok(permit) = kept.to.try_reserve() else { return };
            let (batch, last) = kept.events.next(app);
            let done = last || kept.events.next >= kept.end;
            let read = kept.events.next.saturating_sub(kept.first);
            let percent = percent(read, kept.end.saturating_sub(kept.first));
            permit.send(LiveBatch { batch, percent, evicted: done.then(|| app.store().evicted()) });
            if done {
                self.live_events = None;
            }
        }
    }
}

fn shown_name(app: &App) -> String {
    app.replay.as_ref().map_or_else(|| THIS.to_owned(), |replay| replay.facts.name.clone())
}

fn percent(read: u64, size: u64) -> u8 {
    let percent = (u128::from(read) * 100).checked_div(size.into()).unwrap_or(100);
    u8::try_from(percent.min(100)).unwrap_or(100)
}

/// Reports how much of both is read.
struct Comparison<'a> {
    progress: &'a Progress,
    percent: [AtomicU8; 2],
}

impl Comparison<'_> {
    fn run(&self, a: Opened, b: ScreenTrace) -> Result<Compared> {
        let memory = Memory::of(limits::DIFF_MEMORY / 2, "the memory for a comparison (384 MiB for a run)");
        let name_a = name(&a.0);
        let read_a = || self.read(0, std::slice::from_ref(&a), name_a.clone(), memory);
        let read_b = || match b {
            ScreenTrace::Recording(name, files) => self.read(1, &files, name, memory),
            ScreenTrace::Live(live) => self.read_live(*live, memory),
        };
        let sides = all(&[read_a], read_b)?;
        self.send_progress();
        let name_b = sides.last().map_or_else(String::new, |side| side.name.clone());
        let (report, notes) = compare(sides, &[], false, &|| !self.progress.is_stopped())?;
        Ok(Compared { a: name_a, b: name_b, report, notes })
    }

    fn read(&self, side: usize, files: &[Opened], name: String, memory: Memory) -> Result<Side> {
        let size = files.iter().map(|(_, file)| file.size).sum();
        let playback = Playback::of(files, &FilterOptions::default(), memory.reading)?;
        let read = Side::read(playback, name, memory, |playback| {
            let read = playback.recordings().iter().map(|recording| recording.read_so_far().1).sum();
            let percent = percent(read, size);
            if self.percent[side].swap(percent, Ordering::Relaxed) != percent {
                self.send_progress();
            }
            !self.progress.is_stopped()
        })?;
        // What is behind the end of a recording is not read.
        self.percent[side].store(100, Ordering::Relaxed);
        self.send_progress();
        if self.progress.is_stopped() { bail!("the comparison was stopped") } else { Ok(read) }
    }

    fn read_live(&self, live: Live, memory: Memory) -> Result<Side> {
        let Live { mut parts, filter, kinds, account, runs } = live;
        let mut pipeline = playback::pipeline(memory.reading, None, &[]);
        let (mut run, mut scratch, mut recorded) = (Run::new(memory.data), Scratch::default(), None);
        let evicted = loop {
            let Some(LiveBatch { batch, percent, evicted }) = parts.blocking_recv() else {
                bail!("the trace has ended")
            };
            pipeline.feed(batch);
            // A recording of this trace would have only what passes its filter.
            let filter = recorded.get_or_insert_with(|| {
                let filter = Some(filter.clone()).filter(|filter| !filter.is_empty()).into_iter().collect();
                FilterOptions { filter, ..FilterOptions::default() }.compile(pipeline.world())
            });
            let filter = filter.as_ref().map_err(|error| anyhow!("filter: {}", error.message))?;
            pipeline.world_mut().processes.follow(&filter.whole.roots());
            if evicted.is_some() {
                pipeline.end();
            }
            pipeline.next(None, &mut |seen, _| {
                if filter.passes_whole(seen, &mut scratch) {
                    run.add_event(seen);
                }
                Disposition::Delivered
            });
            self.percent[1].store(percent, Ordering::Relaxed);
            // Also asks for the next part.
            self.send_progress();
            if let Some(evicted) = evicted {
                break evicted;
            }
        };
        let missing = (evicted > 0).then(|| evicted_text(THIS, evicted));
        let of = (&account, kinds, memory.limit);
        Ok(Side::of_kept(run, pipeline.world(), (THIS.to_owned(), filter), of, (missing, runs)))
    }

    fn send_progress(&self) {
        let percent = [&self.percent[0], &self.percent[1]].map(|percent| percent.load(Ordering::Relaxed));
        self.progress.send(Input::Comparing(percent));
    }
}

/// The path that a user means: `~/` is the home directory.
pub(super) fn whole(path: &str, home: Option<&Path>) -> PathBuf {
    let in_home = path.strip_prefix("~/").zip(home).map(|(rest, home)| home.join(rest));
    in_home.unwrap_or_else(|| PathBuf::from(path))
}

pub(super) fn open(path: &Path) -> io::Result<RecordingFile> {
    let name = name(path);
    // A fifo without a writer must not block.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(|error| match error.kind() {
        ErrorKind::NotFound => io::Error::other(format!("{name}: no such recording")),
        _ => io::Error::other(format!("cannot open {name}: {error}")),
    })?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("{name}: not a file")));
    }
    RecordingFile::open(file).map_err(|error| io::Error::other(format!("{name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing;
    use crate::command::testing::{Scratch, write};
    use tracetui_events::diff::Status;
    use tracetui_events::frame::host::{HostFrame, Trace};
    use tracetui_events::synthetic::Maker;
    use tracetui_shared::id::Tgid;

    fn build(good: bool) -> Batch {
        let mut made = Maker::default();
        made.host(&HostFrame::Trace(Trace { kinds: KindSet::ALL.bits(), command: Tgid(100), ..Trace::default() }));
        testing::build(&mut made, good);
        made.counters(true);
        made.batch()
    }

    /// The result of a comparison of a recorded good build with one on the screen.
    fn compared(dir: &Path, good: bool, ended: bool) -> Box<Compared> {
        let path = write(dir, "good", &[build(true)], usize::MAX).remove(0);
        let mut app = testing::app(80, 24, 64 << 20);
        app.update(Input::Batch(build(good)));
        if ended {
            app.update(Input::SourceEnded);
        }
        let mut comparer = Comparer::default();
        let file = open(&path).expect("a recording");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            comparer.start((path, file), None, &app).expect("a thread");
            loop {
                comparer.feed(&app);
                match Background::next(&mut comparer.running).await {
                    Some(Input::Compared(compared)) => return compared.expect("readable"),
                    Some(Input::Comparing(_)) => {}
                    other => panic!("{other:?}"),
                }
            }
        })
    }

    #[test]
    fn a_recording_is_not_compared_with_itself() {
        let dir = Scratch::new("itself");
        let files = write(&dir, "good", &[build(true)], usize::MAX);
        let copy = dir.join("copy.ttr");
        std::fs::copy(&files[0], &copy).expect("room");
        let opened = |path: &Path| (path.to_owned(), open(path).expect("a recording"));
        let app = testing::app(80, 24, 64 << 20);
        let started = Comparer::default().start(opened(&copy), Some(vec![opened(&files[0])]), &app);
        let why = started.expect_err("the same").to_string();
        assert!(why.ends_with("copy.ttr is the recording on the screen"), "{why}");
        // A stopped comparison ends before it compares.
        let dir = Scratch::new("stopped");
        let path = write(&dir, "good", &[build(true)], usize::MAX).remove(0);
        let opened = || (path.clone(), open(&path).expect("a recording"));
        for stopped in [false, true] {
            let (background, progress) = Background::new();
            let mut background = Some(background).filter(|_| !stopped);
            let comparison = Comparison { progress: &progress, percent: Default::default() };
            let result = comparison.run(opened(), ScreenTrace::Recording("b".into(), vec![opened()]));
            let expected = stopped.then_some("the comparison was stopped");
            assert_eq!(result.err().map(|error| error.to_string()).as_deref(), expected);
            let mut last = None;
            drop(progress);
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            while !stopped && let Some(Input::Comparing(percent)) = runtime.block_on(Background::next(&mut background))
            {
                last = Some(percent);
            }
            assert_eq!(last, Some([100, 100]).filter(|_| !stopped));
        }
    }

    #[test]
    fn kept_events_are_compared_as_their_recording_would_be() {
        let dir = Scratch::new("comparer");
        let same = compared(&dir, true, true);
        assert!(same.report.equal() && same.notes == ["no differences"], "{same:?}");
        let failed = compared(&dir, false, true);
        let first = failed.report.lines.first().map(|line| String::from_utf8_lossy(&line.text).into_owned());
        assert!(first.is_some_and(|first| first.starts_with("v.h by cc1 -quiet f1.c")), "{failed:?}");
        assert_eq!(failed.report.count(Status::Unknown), 0);
        // What the processes of a running one that ended lack is certain.
        let running = compared(&dir, false, false);
        let notes = [
            "B was still running: what its living processes lack may have come since",
            "the values of environment variables are not compared: record both runs with --env diff",
            "the runs differ",
        ];
        assert_eq!(running.notes, notes);
        let first = running.report.lines.first().map(|line| String::from_utf8_lossy(&line.text).into_owned());
        assert!(first.is_some_and(|first| first.starts_with("v.h by cc1 -quiet f1.c")), "{running:?}");
        assert_eq!(whole("~/x", Some(&dir)), dir.join("x"));
        assert_eq!(whole("~/x", None), Path::new("~/x"));
        let refused = |path: &Path| open(path).expect_err("no recording").to_string();
        assert!(refused(&dir).ends_with(": not a file"));
        assert!(refused(&dir.join("nothing")).ends_with(": no such recording"));
    }
}
