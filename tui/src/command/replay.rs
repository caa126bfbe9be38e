//! `tracetui replay`: the dashboard over a recording.

use super::dashboard::event_loop::{self, Seek, Trace};
use super::dashboard::look;
use super::playback::{both_filters, open_file, say_holes, trace_of};
use super::say::{name, say};
use super::session::BadUsage;
use crate::app::keymap::Keymap;
use crate::app::replay::{Density, Recording, Replay, Target};
use crate::app::{App, Input, Settings, language};
use crate::budget::Budget;
use crate::cli;
use crate::enrich::World;
use crate::filter::FilterOptions;
use crate::frame::Batch;
use crate::pipeline::Pipeline;
use crate::recording::block::HEADER;
use crate::recording::frames::{FrameReader, Next};
use crate::recording::index::Totals;
use crate::recording::{Item, Map, Reader};
use crate::source::feed::Feed;
use crate::source::host::clock;
use crate::source::replay::{Replay as Source, Troubles};
use crate::text::time::Moment;
use anyhow::{Context, Result, anyhow, bail};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use tracetui_shared::kind::KindSet;

/// Blocks from which the index tells the density of the events well enough. In a smaller recording, events are counted.
const BLOCKS: u64 = 256;

/// A recording with fewer events is loaded from its start, wherever the screen goes.
const WHOLE_EVENTS: u64 = 200_000;

/// Index blocks of which all entries are read for the density; of more, only the sums are read.
const WHOLE: usize = 64;

/// Shows a recording.
///
/// # Errors
/// If it is none or cannot be read, or the terminal fails.
pub async fn run(args: &cli::Replay) -> Result<ExitCode> {
    if !io::stdout().is_terminal() {
        bail!("replay needs a terminal on stdout; tracetui print FILE writes the events as lines");
    }
    let (budget, name, troubles) = (Budget::new(args.memory.0), name(&args.file), Troubles::default());
    let (map, mut frames) = open(args, &name)?;
    let first = frames.next().with_context(|| format!("cannot read {name}"))?;
    let zone_s = clock::local_offset_now_s();
    let trace = first.as_ref().and_then(trace_of);
    let settings = Settings {
        budget,
        kinds: KindSet::BY_DEFAULT,
        zone_s,
        capture: String::new(),
        filter: String::new(),
        parse: language::parse,
        keymap: Keymap::default(),
    };
    let mut app = App::new(Pipeline::default(), settings).map_err(|error| anyhow!("{}", error.message))?;
    app.set_replay(Replay::new(
        recording(map.as_ref(), if cli::is_stream(&args.file) { "stdin".to_owned() } else { name.clone() })?,
        Target::First,
        args.speed,
    ));
    match first {
        Some(Next::Frames(batch)) => app.update(Input::Batch(batch)),
        Some(Next::State(state)) => app.update(Input::Restore(Some(state))),
        None => Vec::new(),
    };
    // With the names of users of the recording.
    let own = FilterOptions::from(&args.filters).compile(app.world()).map_err(|error| BadUsage(error.render()))?;
    let recorded = trace.map(|trace| trace.filter).unwrap_or_default();
    let filter = both_filters(&recorded, own.whole.text());
    app.set_filter(&filter).map_err(|error| anyhow!("filter: {}", error.message))?;
    if own.whole.names_kinds() {
        app.show_kinds(own.kinds);
    }
    let mut seeker = match &map {
        Some(map) => Some(Seeker { file: map.file().try_clone()?, budget, troubles: troubles.clone() }),
        None => None,
    };
    let mut feed = None;
    if let Some(from) = args.from {
        let ns = boot_ns(from, map.as_ref(), app.world(), zone_s)?;
        app.aim(ns);
        if let Some(seeker) = &mut seeker {
            let (state, from_there) = seeker.seek(ns)?;
            app.update(Input::Restore(state));
            feed = Some(from_there);
        }
    }
    let feed = match feed {
        Some(feed) => feed,
        None => Feed::start(Source::new(frames, troubles.clone()), Vec::new(), None, budget)?,
    };
    let file = seeker.as_ref().map(|_| (args.file.clone(), budget));
    let seek = seeker.map(|mut seeker| -> Seek { Seek(Box::new(move |ns| seeker.seek(ns))) });
    event_loop::run(app, look(&args.screen), Trace { seek, file, ..Trace::from(feed) }).await?;
    let (holes, error) = troubles.take();
    say_holes(&name, &holes);
    match error {
        Some(error) => {
            say(format_args!("tracetui: cannot read {name}: {error}"));
            Ok(ExitCode::FAILURE)
        }
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Frames of any input.
type Frames = FrameReader<Box<dyn Read + Send>>;

/// Opens a recording: a map if it is a file, and a reader from its start.
fn open(args: &cli::Replay, name: &str) -> Result<(Option<Map>, Frames)> {
    let (input, file): (Box<dyn Read + Send>, _) = if cli::is_stream(&args.file) {
        (Box::new(io::stdin()), None)
    } else {
        let file = open_file(&args.file, name)?;
        match file.metadata()?.is_file() {
            true => (Box::new(FileFrom { file: file.try_clone()?, at: 0 }), Some(file)),
            false => (Box::new(file), None),
        }
    };
    let frames = FrameReader::new(input).map_err(|error| anyhow!("{name}: {error}"))?;
    let map = file.map(Map::open).transpose().map_err(|error| anyhow!("{name}: {error}"))?;
    Ok((map, frames))
}

/// What the index says of a recording.
fn recording(map: Option<&Map>, name: String) -> io::Result<Recording> {
    let Some(map) = map else { return Ok(Recording { name, ..Recording::default() }) };
    let totals = map.totals();
    let span = (totals.first_ns <= totals.last_ns).then_some((totals.first_ns, totals.last_ns));
    let (events, lost, complete) = (totals.sum(), totals.lost, Some(map.is_complete()));
    let density = if totals.blocks < BLOCKS { Vec::new() } else { density(map)? };
    Ok(Recording { name, span, events, lost, complete, seekable: true, density })
}

fn density(map: &Map) -> io::Result<Vec<Density>> {
    let (spine, all) = map.overview()?;
    let mut parts = Vec::new();
    if all && spine.len() <= WHOLE {
        for (at, _) in &spine {
            parts.extend(map.index_entries(*at)?.iter().map(Density::of));
        }
    } else {
        let ends = spine.iter().skip(1).map(|(_, totals)| *totals).chain([*map.totals()]);
        parts.extend(spine.iter().zip(ends).map(|((_, before), after)| between(before, &after)));
    }
    parts.extend(map.rest().iter().map(Density::of));
    Ok(parts)
}

fn between(before: &Totals, after: &Totals) -> Density {
    let first_ns = if before.sum() == 0 { after.first_ns } else { before.last_ns };
    let events = after.sum().saturating_sub(before.sum());
    Density { first_ns, last_ns: after.last_ns, events, lost: after.lost.saturating_sub(before.lost) }
}

/// The CLOCK_BOOTTIME of a moment, in nanoseconds, by the clock at the start of the recording.
fn boot_ns(moment: Moment, map: Option<&Map>, world: &World, zone_s: i32) -> Result<u64> {
    let first = map.map(|map| map.totals().first_ns).filter(|ns| *ns != u64::MAX);
    let first = first.ok_or_else(|| anyhow!("--from needs a recording file with events, not a pipe"))?;
    let offset = i128::from(world.clock_offset());
    let ns = moment.unix_ns(i128::from(first) + offset, zone_s) - offset;
    Ok(u64::try_from(ns.max(1)).unwrap_or(u64::MAX - 1))
}

/// Goes to places in a recording.
struct Seeker {
    file: File,
    budget: Budget,
    troubles: Troubles,
}

impl Seeker {
    /// The state before a time, or `None` for the start of the recording, and the frames after it.
    fn seek(&mut self, ns: u64) -> io::Result<(Option<Batch>, Feed)> {
        let map = Map::open(self.file.try_clone()?).map_err(io::Error::other)?;
        let at = if ns == u64::MAX { map.totals().last_ns } else { ns };
        // A short recording is loaded whole, so that filters and searches see all of it.
        let short = map.totals().sum() < WHOLE_EVENTS;
        let place = map.state_before(at)?.filter(|_| !short).unwrap_or(HEADER as u64);
        let reader = |from| -> io::Result<_> {
            Ok(Reader::resume(FileFrom { file: self.file.try_clone()?, at: from }, *map.header(), from))
        };
        let mut frames = reader(place)?;
        let state = match frames.next()? {
            Some(Item::State(state)) => Some(state),
            _ => {
                frames = reader(HEADER as u64)?;
                None
            }
        };
        let frames = FrameReader::of(frames);
        Ok((state, Feed::start(Source::new(frames, self.troubles.clone()), Vec::new(), None, self.budget)?))
    }
}

/// A part of a file, from an offset on. Clones of a file share their position, so it has one of its own.
struct FileFrom {
    file: File,
    at: u64,
}

impl Read for FileFrom {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(bytes, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
