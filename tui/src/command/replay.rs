//! `tracetui replay`: the dashboard over a recording.

use super::config::Loaded;
use super::dashboard::event_loop::{self, Place, Shown, Trace};
use super::dashboard::look;
use super::find::Finder;
use super::playback::{AtEnd, Input, Part, both_filters, next_file, say_holes};
use super::say::{name, say};
use super::session::{BadUsage, HostNames};
use crate::app::find::Find;
use crate::app::replay::{Density, End, Recording, Replay, Target, WHOLE_EVENTS};
use crate::app::{self, App, Settings, language};
use crate::budget::Budget;
use crate::cli;
use crate::enrich::World;
use crate::filter::{FilterOptions, NameLookup};
use crate::frame::Batch;
use crate::limits;
use crate::pipeline::Pipeline;
use crate::recording::Map;
use crate::recording::block::HEADER;
use crate::recording::follow::{RecordingFile, Writing};
use crate::recording::frames::Next;
use crate::recording::index::Totals;
use crate::recording::reader::OpenError;
use crate::source::feed::Feed;
use crate::source::host::clock;
use crate::source::replay::{Replay as Source, Troubles};
use crate::text::time::Moment;
use anyhow::{Result, anyhow, bail};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracetui_shared::kind::KindSet;

/// Index blocks of which all entries are read for the density; of more, only the sums are read.
const WHOLE: usize = 64;

/// Files of which the index is read for the density; of more, only the sums are read.
const FILES: usize = 16;

/// Events of a file of which the sum says enough.
const FEW_EVENTS: u64 = WHOLE_EVENTS / FILES as u64;

/// The first block of the first file.
const START: (usize, u64) = (0, HEADER as u64);

/// What is said of several recordings.
const SEVERAL: &str =
    "replay shows one recording, or the files of one trace; tracetui print FILE... merges several recordings by time";

/// Shows a recording.
///
/// # Errors
/// If it is none or cannot be read, or the terminal fails.
pub async fn run(args: &cli::Replay) -> Result<ExitCode> {
    if !io::stdout().is_terminal() {
        bail!("replay needs a terminal on stdout; tracetui print FILE writes the events as lines");
    }
    let loaded = Loaded::read(&args.screen.config)?;
    let troubles = Troubles::default();
    let (app, opened, feed) = start(args, &loaded, troubles.clone(), clock::local_offset_now_s())?;
    let trace = Trace { shown: Some(Box::new(opened)), ..Trace::from(feed) };
    event_loop::run(app, look(&args.screen, &loaded.config), trace).await?;
    let (holes, error) = troubles.take();
    holes.iter().for_each(|(name, holes)| say_holes(name, holes));
    match error {
        Some(error) => {
            say(format_args!("tracetui: {error}"));
            Ok(ExitCode::FAILURE)
        }
        None => Ok(ExitCode::SUCCESS),
    }
}

/// The dashboard, the recording, and the frames from the place on that is shown first.
fn start(args: &cli::Replay, loaded: &Loaded, troubles: Troubles, zone_s: i32) -> Result<(App, Opened, Feed)> {
    let memory = args.memory.or(loaded.config.memory).map_or(limits::MEMORY_DEFAULT, |size| size.0);
    let budget = Budget::new(memory);
    let mut input = Input::open(&args.files, AtEnd::Stop, SEVERAL)?;
    input.limit(budget);
    let mut opened = Opened::new(&input, budget, troubles.clone())?;
    let mut input = if opened.at_end == AtEnd::Wait { opened.input(START) } else { input };
    let recording = opened.recording();
    let span = recording.span;
    let settings = Settings {
        budget,
        kinds: KindSet::BY_DEFAULT,
        zone_s,
        capture: String::new(),
        filter: String::new(),
        parse: language::parse,
        preferences: loaded.config.preferences.clone(),
    };
    let mut app = App::new(Pipeline::default(), settings).map_err(|error| anyhow!("{}", error.message))?;
    app.set_replay(Replay::new(recording, Target::First, args.speed));
    begin(&mut app, &mut input, &args.filters, loaded)?;
    let feed = match args.from {
        Some(from) => {
            let ns = boot_ns(from, span, app.world(), zone_s)?;
            app.aim(ns);
            let place = opened.seek(ns).map_err(|error| anyhow!(error))?;
            app.update(app::Input::Restore(place.state, place.from_start));
            place.feed
        }
        None => Feed::start(Source::new(input, troubles), Vec::new(), None, budget)?,
    };
    Ok((app, opened, feed))
}

/// Shows the start of a recording, through the filter with which it was recorded and another one.
fn begin(app: &mut App, input: &mut Input, filters: &cli::FilterArgs, loaded: &Loaded) -> Result<()> {
    let trace = input.trace()?;
    for next in input.take_ahead() {
        match next {
            Next::Frames(batch) => app.update(app::Input::Batch(batch)),
            Next::State(state) => app.update(app::Input::Restore(Some(state), true)),
            Next::NotYet => Vec::new(),
        };
    }
    // With the names of users of the recording. The filter of the configuration is for all recordings: a name that this one does
    // not have is that of this machine.
    let names = Names(app.world(), HostNames::read());
    let (own, text) = match loaded.filter(filters, &names)? {
        Some(default) => {
            let text = default.whole.text_with_ids(&names);
            (default, text)
        }
        None => {
            let own = FilterOptions::from(filters).compile(app.world()).map_err(|error| BadUsage(error.render()))?;
            let text = own.whole.text().to_owned();
            (own, text)
        }
    };
    let filter = both_filters(&trace.filter, &text);
    app.set_filter(&filter).map_err(|error| anyhow!("filter: {}", error.message))?;
    if own.whole.names_kinds() {
        app.show_kinds(own.kinds);
    }
    Ok(())
}

/// The names of a recording, then those of this machine.
struct Names<'a>(&'a World, HostNames);

impl NameLookup for Names<'_> {
    fn uid(&self, name: &str) -> Option<u32> {
        self.0.uid(name).or_else(|| self.1.uid(name))
    }
    fn gid(&self, name: &str) -> Option<u32> {
        self.0.gid(name).or_else(|| self.1.gid(name))
    }
}

/// The CLOCK_BOOTTIME of a moment, in nanoseconds, by the clock at the start of the recording.
fn boot_ns(moment: Moment, span: Option<(u64, u64)>, world: &World, zone_s: i32) -> Result<u64> {
    let (first, _) = span.ok_or_else(|| anyhow!("--from needs a recording file with events, not a pipe"))?;
    let offset = i128::from(world.clock_offset());
    let ns = moment.unix_ns(i128::from(first) + offset, zone_s) - offset;
    Ok(u64::try_from(ns.max(1)).unwrap_or(u64::MAX - 1))
}

/// The files of the recording that is shown, in the order of the trace. A pipe has none.
#[derive(Debug)]
struct Opened {
    files: Vec<Known>,
    at_end: AtEnd,
    /// Why one cannot be read any further.
    failure: Option<String>,
    budget: Budget,
    troubles: Troubles,
}

impl Opened {
    fn new(input: &Input, budget: Budget, troubles: Troubles) -> Result<Opened> {
        let files = input
            .files()
            .map(|(path, file)| Known::read(path, file).map_err(|error| anyhow!("{}: {error}", name(path))));
        let files: Vec<Known> = files.collect::<Result<_>>()?;
        let at_end = if files.last().is_some_and(|last| last.end().is_open()) { AtEnd::Wait } else { AtEnd::Stop };
        Ok(Opened { files, at_end, failure: None, budget, troubles })
    }

    /// What the indexes say.
    fn recording(&self) -> Recording {
        let (Some(first), Some(last)) = (self.files.first(), self.files.last()) else {
            return Recording { name: "stdin".to_owned(), ..Recording::default() };
        };
        let name = match self.files.len() - 1 {
            0 => name(&first.path),
            others => format!("{} and {others} more", name(&first.path)),
        };
        let totals = self.totals();
        let span = (totals.first_ns <= totals.last_ns).then_some((totals.first_ns, totals.last_ns));
        let density = match totals.sum() < WHOLE_EVENTS {
            // All of it is loaded, and the events are counted.
            true => Vec::new(),
            false if self.files.len() > FILES => {
                self.files.iter().map(|file| between(&Totals::default(), &file.totals)).collect()
            }
            false => self.files.iter().flat_map(|file| file.density.iter().copied()).collect(),
        };
        Recording { name, span, events: totals.sum(), lost: totals.lost, end: last.end(), seekable: true, density }
    }

    /// The sums of all files.
    fn totals(&self) -> Totals {
        self.files.iter().fold(Totals::default(), |sum, file| sum.and(&file.totals))
    }

    /// Where to begin for a time: the number of the file, and the offset of a state before which all is earlier, or of the start.
    fn place(&self, ns: u64) -> Result<(usize, u64)> {
        let totals = self.totals();
        // A short recording is loaded whole, so that filters and searches see all of it.
        if totals.sum() < WHOLE_EVENTS {
            return Ok(START);
        }
        let ns = if ns == u64::MAX { totals.last_ns } else { ns };
        let earlier = self.files.iter().take_while(|file| file.totals.last_ns < ns).count();
        let at = earlier.min(self.files.len().saturating_sub(1));
        let Some(file) = self.files.get(at) else { return Ok(START) };
        let map = Map::of(file.file.clone())?;
        Ok(map.state_before(ns)?.map_or(START, |offset| (at, offset)))
    }

    /// The frames from a place on.
    fn input(&self, (at, offset): (usize, u64)) -> Input {
        let offsets = std::iter::once(offset).chain(std::iter::repeat(HEADER as u64));
        let parts = self.files.iter().skip(at).zip(offsets);
        let parts = parts.map(|(file, offset)| Part::of(&file.path, file.file.clone(), self.at_end, offset));
        let mut input = Input::of_parts(parts.collect(), self.at_end);
        input.limit(self.budget);
        input
    }

    /// The state at a place, whether that is the start, and the frames after it.
    fn read_from(&self, mut place: (usize, u64)) -> Result<(Option<Batch>, bool, Input)> {
        loop {
            let mut input = self.input(place);
            match input.next()? {
                Some(Next::State(state)) => return Ok((Some(state), place == START, input)),
                first if place == START => {
                    first.into_iter().for_each(|first| input.put_back(first));
                    return Ok((None, true, input));
                }
                // A state that cannot be read.
                _ => place = START,
            }
        }
    }

    /// Looks at the files again; whether something has changed.
    fn look_again(&mut self) -> Result<bool, String> {
        let mut changed = false;
        for file in &mut self.files {
            changed |= file.look_again().map_err(|error| format!("{}: {error}", name(&file.path)))?;
        }
        while let Some(last) = self.files.last().filter(|last| last.complete && changed && self.at_end == AtEnd::Wait)
            && let Some((path, file)) = next_file(&last.path, &last.file)
        {
            self.files.push(Known::read(&path, &file).map_err(|error| format!("{}: {error}", name(&path)))?);
        }
        Ok(changed)
    }
}

impl Shown for Opened {
    fn seek(&mut self, ns: u64) -> Result<Place, String> {
        let found = self.place(ns).and_then(|place| self.read_from(place));
        let (state, from_start, input) = found.map_err(|error| format!("{error:#}"))?;
        self.troubles.forget_error();
        let source = Source::new(input, self.troubles.clone());
        let feed = Feed::start(source, Vec::new(), None, self.budget).map_err(|error| error.to_string())?;
        Ok(Place { state, from_start, feed })
    }

    fn look(&mut self) -> Option<Recording> {
        if self.failure().is_some() {
            return None;
        }
        match self.look_again() {
            Ok(changed) => changed.then(|| self.recording()),
            Err(why) => {
                self.failure = Some(why);
                None
            }
        }
    }

    fn failure(&self) -> Option<String> {
        self.troubles.error().or_else(|| self.failure.clone())
    }

    fn find(&self, find: Find) -> io::Result<Finder> {
        let files = self.files.iter().map(|file| (file.path.clone(), file.file.clone())).collect();
        Finder::start(files, self.budget, find)
    }
}

/// A file, and what its index says.
#[derive(Debug)]
struct Known {
    path: PathBuf,
    file: RecordingFile,
    writing: Writing,
    complete: bool,
    totals: Totals,
    /// The density of its events. Only the sum if it is small.
    density: Vec<Density>,
}

impl Known {
    fn read(path: &Path, file: &RecordingFile) -> Result<Known, OpenError> {
        // Asked first: what is written until a writer ends is read after that.
        let writing = file.writing();
        let map = Map::of(file.clone())?;
        let (complete, totals) = (map.is_complete(), *map.totals());
        let density = match totals.sum() < FEW_EVENTS {
            true => vec![between(&Totals::default(), &totals)],
            false => density(&map)?,
        };
        Ok(Known { path: path.to_owned(), file: file.clone(), writing, complete, totals, density })
    }

    fn end(&self) -> End {
        match (self.complete, self.writing) {
            (true, _) => End::Complete,
            (false, Writing::Now) => End::Growing,
            (false, Writing::Over) => End::Early,
            (false, Writing::Unknown) => End::Open,
        }
    }

    /// Looks at the file again; whether it has changed.
    fn look_again(&mut self) -> Result<bool, OpenError> {
        let (before, after) = (self.file.size(), self.file.check()?);
        let changed = before != after || (self.end() == End::Growing && self.file.writing() != Writing::Now);
        if changed {
            *self = Known::read(&self.path, &self.file)?;
        }
        Ok(changed)
    }
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

/// The dashboard with all of a recording, as far as it fits.
#[cfg(test)]
pub(crate) async fn loaded(args: &cli::Replay) -> Result<App> {
    let (mut app, _, mut feed) = start(args, &Loaded::default(), Troubles::default(), 0)?;
    while let Some(batch) = feed.next().await {
        app.update(app::Input::Batch(batch));
    }
    app.update(app::Input::SourceEnded);
    Ok(app)
}

#[cfg(test)]
mod tests {
    use super::super::playback::tests::{batches, write};
    use super::*;
    use crate::app::replay::Speed;
    use crate::frame::host::{self, HostFrame};
    use crate::pipeline::Disposition;
    use std::fs;
    use tracetui_shared::id::Tgid;
    use tracetui_shared::time::BootNanos;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("tracetui-replay-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("room");
        dir
    }

    fn opened(files: &[PathBuf]) -> Opened {
        let input = Input::open(files, AtEnd::Stop, SEVERAL).expect("recordings");
        Opened::new(&input, Budget::default(), Troubles::default()).expect("recordings")
    }

    /// The times of the events from a place on, and whether that is the start.
    fn events(opened: &Opened, place: (usize, u64)) -> (Vec<u64>, bool) {
        let (state, from_start, mut input) = opened.read_from(place).expect("readable");
        let mut pipeline = Pipeline::default();
        state.iter().for_each(|state| pipeline.restore(state));
        let mut times = Vec::new();
        while let Some(Next::Frames(batch)) = input.next().expect("readable") {
            pipeline.feed(batch);
            pipeline.release(&mut |seen, _| {
                times.push(seen.event.header.time.0);
                Disposition::Delivered
            });
        }
        pipeline.finish(&mut |seen, _| {
            times.push(seen.event.header.time.0);
            Disposition::Delivered
        });
        (times, from_start)
    }

    #[test]
    fn the_files_of_a_trace_are_one_recording() {
        let dir = dir("files");
        let (one, mut parts) = (write(&dir, "one", &batches(), usize::MAX), write(&dir, "part", &batches(), 9));
        let (whole, one) = (events(&opened(&one), START), opened(&one).recording());
        parts.rotate_left(2);
        let opened = opened(&parts);
        let recording = opened.recording();
        assert_eq!((recording.span, recording.events, recording.lost), (one.span, one.events, one.lost));
        assert_eq!((recording.end, recording.name.ends_with("and 4 more")), (End::Complete, true));
        assert_eq!(events(&opened, START), whole);
        for at in 1..parts.len() {
            let (rest, from_start) = events(&opened, (at, HEADER as u64));
            assert!(whole.0.ends_with(&rest) && rest.len() < whole.0.len() && !from_start, "{at}");
        }
        fs::remove_dir_all(&dir).expect("ours");
    }

    #[test]
    fn what_is_in_a_missing_file_is_lost() {
        let dir = dir("missing");
        let mut parts = write(&dir, "part", &batches(), 9);
        let all = |files: &[PathBuf]| {
            let opened = opened(files);
            let input = opened.read_from(START).expect("readable").2;
            let source = Source::new(input, opened.troubles.clone());
            let mut feed = Feed::start(source, Vec::new(), None, Budget::default()).expect("a thread");
            let mut pipeline = Pipeline::default();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            while let Some(batch) = runtime.block_on(feed.next()) {
                pipeline.feed(batch);
                pipeline.release(&mut |_, _| Disposition::Delivered);
            }
            pipeline.finish(&mut |_, _| Disposition::Delivered);
            pipeline.account().sum()
        };
        let whole = all(&parts);
        let missing = opened(&[parts.remove(2)]).recording().events;
        let some = all(&parts);
        assert_eq!((some.seen, some.off_by(), whole.lost.read), (whole.seen, 0, 0));
        // Events that wait at the end of a file are in the state of the next one.
        assert!(some.lost.read > missing / 2 && some.lost.read < missing * 2, "{some:?} {missing}");
        fs::remove_dir_all(&dir).expect("ours");
    }

    #[test]
    fn the_recorded_filter_applies_also_if_the_first_block_is_damaged() {
        let dir = dir("damaged");
        let (mut batches, filter) = (batches(), "path=/src/3/*".to_owned());
        batches[0] = Batch::default();
        let trace = host::Trace { kinds: KindSet::ALL.bits(), command: Tgid(0), filter: filter.clone() };
        HostFrame::Trace(trace).push(BootNanos(0), &mut batches[0]);
        let [path] = <[PathBuf; 1]>::try_from(write(&dir, "one", &batches, usize::MAX)).expect("one file");
        for damaged in [false, true] {
            let mut bytes = fs::read(&path).expect("there");
            bytes[2 * HEADER + 6] ^= u8::from(damaged);
            fs::write(&path, &bytes).expect("room");
            let mut input = Input::open(std::slice::from_ref(&path), AtEnd::Stop, SEVERAL).expect("a recording");
            let mut app = app::testing::app(80, 24, 64 << 20);
            app.set_replay(Replay::new(Recording::default(), Target::First, Speed::default()));
            begin(&mut app, &mut input, &cli::FilterArgs::default(), &Loaded::default()).expect("a recording");
            assert_eq!((app.filter().text(), app.account().sum().lost.read > 0), (filter.clone(), damaged));
        }
        fs::remove_dir_all(&dir).expect("ours");
    }

    #[test]
    fn the_configured_filter_is_added_to_the_recorded_one_unless_another_is_given() {
        let dir = dir("configured");
        let (mut batches, config) = (batches(), dir.join("config.toml"));
        batches[0] = Batch::default();
        let trace = host::Trace { kinds: KindSet::ALL.bits(), command: Tgid(0), filter: "comm=a".to_owned() };
        HostFrame::Trace(trace).push(BootNanos(0), &mut batches[0]);
        let files = write(&dir, "one", &batches, usize::MAX);
        // The recording does not know the name, this machine does.
        let shown = |text: &str, given: &cli::FilterArgs| {
            fs::write(&config, text).expect("room");
            let options = cli::ConfigOptions { config: Some(config.clone()), no_config: false };
            let loaded = Loaded::read(&options).expect("a configuration");
            let mut input = Input::open(&files, AtEnd::Stop, SEVERAL).expect("a recording");
            let mut app = app::testing::app(80, 24, 64 << 20);
            app.set_replay(Replay::new(Recording::default(), Target::First, Speed::default()));
            begin(&mut app, &mut input, given, &loaded).map(|()| app.filter().text())
        };
        let given = cli::FilterArgs { comm: vec!["b".to_owned()], ..cli::FilterArgs::default() };
        let own = "filter = \"not uid=root\"";
        assert_eq!(shown(own, &cli::FilterArgs::default()).expect("a filter"), "comm=a not uid=0");
        assert_eq!(shown(own, &given).expect("a filter"), "comm=a comm=b");
        let error = shown("\nfilter = \"a foo=1\"", &cli::FilterArgs::default()).expect_err("no filter");
        let said = error.downcast_ref::<BadUsage>().map(ToString::to_string).unwrap_or_default();
        assert!(said.starts_with(&format!("{}:2:13: filter: unknown field `foo`", config.display())), "{said}");
        assert!(said.ends_with("\n--no-config starts without the file"), "{said}");
        assert_eq!(shown("filter = \"a foo=1\"", &given).expect("it is not used"), "comm=a comm=b");
        fs::remove_dir_all(&dir).expect("ours");
    }

    #[test]
    fn several_recordings_are_refused() {
        let dir = dir("several");
        let files = [write(&dir, "a", &batches(), usize::MAX), write(&dir, "b", &batches(), usize::MAX)].concat();
        let error = Input::open(&files, AtEnd::Stop, SEVERAL).err().expect("two recordings");
        assert!(error.is::<BadUsage>() && error.to_string().contains("tracetui print FILE..."));
        fs::remove_dir_all(&dir).expect("ours");
    }

    #[test]
    fn a_recording_that_grows_is_looked_at_again() {
        let dir = dir("grows");
        let parts = write(&dir, "part", &batches(), 9);
        let path = |number: usize| dir.join(format!("x.{number:06}.ttr"));
        let first = fs::read(&parts[0]).expect("there");
        fs::write(path(1), &first[..first.len() / 2]).expect("room");
        let mut opened = opened(&[path(1)]);
        let before = opened.recording();
        assert_eq!((before.end, opened.look()), (End::Open, None));
        // The next file is there before this one ends.
        fs::copy(&parts[1], path(2)).expect("room");
        fs::write(path(1), &first).expect("room");
        let after = opened.look().expect("it has grown");
        assert!(after.events > before.events && after.name.ends_with("and 1 more"), "{after:?}");
        assert_eq!((after.end, opened.look(), opened.failure()), (End::Complete, None, None));
        fs::write(path(2), &first[..100]).expect("room");
        assert_eq!(opened.look(), None);
        assert!(opened.failure().is_some_and(|why| why.contains("it was cut to 100 bytes")));
        fs::remove_dir_all(&dir).expect("ours");
    }
}
