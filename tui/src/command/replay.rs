//! `tracetui replay`: the dashboard over a recording.

use super::config::LoadedConfig;
use super::dashboard::event_loop::{self, Trace};
use super::dashboard::{self, look};
use super::messages::say;
use super::usage::{BadUsage, HostNames};
use super::user_files::own_home;
use crate::app::replay::{Replay, Target};
use crate::app::verdict::Verdict;
use crate::app::{self, App, Settings};
use crate::cli;
use anyhow::{Result, anyhow, bail};
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use tracetui_events::budget::Budget;
use tracetui_events::enrich::World;
use tracetui_events::filter::FilterOptions;
use tracetui_events::limits;
use tracetui_events::playback::remarks::of_holes;
use tracetui_events::playback::timeline::Timeline;
use tracetui_events::playback::{Files, both_filters};
use tracetui_events::recording::frames::Next;
use tracetui_events::text::time::{Moment, Zone};
use tracetui_host::clock;
use tracetui_live::feed::Feed;
use tracetui_shared::kind::KindSet;

const SEVERAL: &str =
    "replay shows one recording, or the files of one trace; tracetui print FILE... merges several recordings by time";

pub async fn run(args: &cli::Replay) -> Result<ExitCode> {
    if !io::stdout().is_terminal() {
        bail!("replay needs a terminal on stdout; tracetui print FILE writes the events as lines");
    }
    dashboard::terminal::check()?;
    let loaded = LoadedConfig::read(&args.screen.config)?;
    let (app, timeline, feed) = start(args, &loaded, clock::zone())?;
    let troubles = timeline.troubles.clone();
    let (timeline, home, run) = (Some(timeline), own_home(), cli::Run::default());
    let trace = Trace { feed, command: None, timeline, recorder: None, opener: None, home, lookups: None, run };
    event_loop::run(app, look(&args.screen, &loaded.config), trace).await?;
    let found = troubles.found();
    found.holes.iter().flat_map(|(name, holes)| of_holes(name, holes)).for_each(say);
    found.error.iter().for_each(|error| say(format_args!("tracetui: {error}")));
    Ok(if found.error.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The dashboard, the recording, and the frames from the first place shown.
fn start(args: &cli::Replay, loaded: &LoadedConfig, zone: Zone) -> Result<(App, Timeline, Feed)> {
    let memory = args.memory.or(loaded.config.memory).map_or(limits::MEMORY_DEFAULT, |size| size.0);
    let budget = Budget::new(memory);
    let (mut timeline, mut input) = Timeline::new(Files::open(&args.files, SEVERAL)?, budget)?;
    let facts = timeline.facts();
    let span = facts.span;
    let preferences = loaded.config.preferences.clone();
    let kinds = KindSet::OF_COMMAND;
    let settings = Settings { budget, zone, capture: String::new(), preferences, kinds, ..Settings::default() };
    let mut app = App::new(settings).map_err(|error| anyhow!("{}", error.message))?;
    app.set_replay(Replay::new(facts, Target::First, args.speed));
    begin(&mut app, &mut input, &args.filters, loaded)?;
    if let Some(from) = args.from {
        app.verdict = Verdict::Over;
        let ns = boot_ns(from, span, app.world(), zone)?;
        app.replay.iter_mut().for_each(|replay| replay.transport.aim(Target::At(ns)));
        let place = timeline.seek(ns)?;
        app.update(app::Input::Restore(place.state, place.from_start));
        input = place.rest;
    }
    Ok((app, timeline, Feed::start(input, Vec::new(), None, budget)?))
}

/// Shows the start of a recording, through the filter it was recorded with and another filter.
fn begin(app: &mut App, input: &mut Files, filters: &cli::FilterArgs, loaded: &LoadedConfig) -> Result<()> {
    let trace = input.trace()?;
    for next in std::mem::take(&mut input.ahead) {
        match next {
            Next::Frames(batch) => app.update(app::Input::Batch(batch)),
            Next::State(state) => app.update(app::Input::Restore(Some(state), true)),
        };
    }
    // Names of users come from the recording. The filter in the configuration is for all recordings, so a name that this recording
    // does not have is looked up on this machine.
    let names = (app.world(), HostNames::read());
    let watches = loaded.watches(&names)?;
    let (own, text) = match loaded.filter(filters, &names)? {
        Some(default) => {
            let text = default.whole.text_with_ids(&names);
            (default, text)
        }
        None => {
            let options = FilterOptions::from(filters);
            let own = options.compile(app.world()).map_err(|error| BadUsage(error.render()))?;
            (own.clone(), own.whole.text().to_owned())
        }
    };
    let filter = both_filters(&trace.filter, &text);
    app.watch(watches);
    app.set_filter(&filter).map_err(|error| anyhow!("filter: {}", error.message))?;
    if own.whole.kind_named {
        app.show_kinds(own.kinds);
    }
    app.set_calm(!own.whole.asks());
    Ok(())
}

/// The CLOCK_BOOTTIME of a moment in nanoseconds, according to the clock at the start of the recording.
fn boot_ns(moment: Moment, span: Option<(u64, u64)>, world: &World, zone: Zone) -> Result<u64> {
    let (first, last) = span.ok_or_else(|| anyhow!("--from needs a recording file with events, not a pipe"))?;
    let offset = i128::from(world.clock_offset);
    let ns = moment.unix_ns((i128::from(first) + offset, i128::from(last) + offset), zone) - offset;
    Ok(u64::try_from(ns.max(1)).unwrap_or(u64::MAX - 1))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::testing::{Scratch, batches, write};
    use super::*;
    use crate::app::replay::Speed;
    use std::fs;
    use std::path::PathBuf;
    use tracetui_events::frame::Batch;
    use tracetui_events::frame::host::{self, HostFrame};
    use tracetui_events::pipeline::{Disposition, Pipeline};
    use tracetui_events::playback::timeline::Facts;
    use tracetui_events::recording::block::HEADER;
    use tracetui_shared::kind::KindSet;
    use tracetui_shared::time::BootNanos;

    /// The dashboard with all of a recording, as far as it fits.
    pub(crate) async fn load_whole(args: &cli::Replay) -> Result<App> {
        let (mut app, _, mut feed) = start(args, &LoadedConfig::default(), Zone::UTC)?;
        while let Some(batch) = feed.next().await {
            app.update(app::Input::Batch(batch));
        }
        app.update(app::Input::SourceEnded);
        Ok(app)
    }

    #[test]
    fn what_is_in_a_missing_file_is_lost() {
        let dir = Scratch::new("replay-missing");
        let mut parts = write(&dir, "part", &batches(), 9);
        let opened = |files: &[PathBuf]| {
            let input = Files::open(files, SEVERAL).expect("recordings");
            Timeline::new(input, Budget::default()).expect("recordings")
        };
        let all = |files: &[PathBuf]| {
            let mut feed = Feed::start(opened(files).1, Vec::new(), None, Budget::default()).expect("a thread");
            let mut pipeline = Pipeline::default();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            while let Some(batch) = runtime.block_on(feed.next()) {
                pipeline.feed(batch);
                pipeline.next(None, &mut |_, _| Disposition::Delivered);
            }
            pipeline.end();
            pipeline.next(None, &mut |_, _| Disposition::Delivered);
            pipeline.account().sum()
        };
        let whole = all(&parts);
        let missing = opened(&[parts.remove(2)]).0.facts().events;
        let some = all(&parts);
        assert_eq!((some.seen, some.off_by(), whole.lost.read), (whole.seen, 0, 0));
        // Events that wait at the end of a file are in the state of the next one.
        assert!(some.lost.read > missing / 2 && some.lost.read < missing * 2, "{some:?} {missing}");
    }

    #[test]
    fn the_recorded_filter_applies_also_if_the_first_block_is_damaged() {
        let dir = Scratch::new("replay-damaged");
        let (mut batches, filter) = (batches(), "path=/src/3/*".to_owned());
        batches[0] = Batch::default();
        let trace = host::Trace { kinds: KindSet::ALL.bits(), filter: filter.clone(), ..host::Trace::default() };
        HostFrame::Trace(trace).push(BootNanos(0), &mut batches[0]);
        let [path] = <[PathBuf; 1]>::try_from(write(&dir, "one", &batches, usize::MAX)).expect("one file");
        for damaged in [false, true] {
            let mut bytes = fs::read(&path).expect("there");
            bytes[2 * HEADER + 6] ^= u8::from(damaged);
            fs::write(&path, &bytes).expect("room");
            let mut input = Files::open(std::slice::from_ref(&path), SEVERAL).expect("a recording");
            let mut app = app::testing::app(80, 24, 64 << 20);
            app.set_replay(Replay::new(Facts::default(), Target::First, Speed::default()));
            begin(&mut app, &mut input, &cli::FilterArgs::default(), &LoadedConfig::default()).expect("a recording");
            assert_eq!((app.filter.text(), app.pipeline.account().sum().lost.read > 0), (filter.clone(), damaged));
        }
    }

    #[test]
    fn the_configured_filter_is_added_to_the_recorded_one_unless_another_is_given() {
        let dir = Scratch::new("replay-configured");
        let (mut batches, config) = (batches(), dir.join("config.toml"));
        batches[0] = Batch::default();
        let trace = host::Trace { kinds: KindSet::ALL.bits(), filter: "comm=a".to_owned(), ..host::Trace::default() };
        HostFrame::Trace(trace).push(BootNanos(0), &mut batches[0]);
        let files = write(&dir, "one", &batches, usize::MAX);
        // The recording does not know the name, this machine does.
        let shown = |text: &str, given: &cli::FilterArgs| {
            fs::write(&config, text).expect("room");
            let options = cli::ConfigOptions { config: Some(config.clone()), no_config: false };
            let loaded = LoadedConfig::read(&options).expect("a configuration");
            let mut input = Files::open(&files, SEVERAL).expect("a recording");
            let mut app = app::testing::app(80, 24, 64 << 20);
            app.set_replay(Replay::new(Facts::default(), Target::First, Speed::default()));
            begin(&mut app, &mut input, given, &loaded).map(|()| app.filter.text())
        };
        let given = cli::FilterArgs { comm: vec!["b".to_owned()], ..cli::FilterArgs::default() };
        let own = "filter = \"not uid=root\"";
        assert_eq!(shown(own, &cli::FilterArgs::default()).expect("a filter"), "comm=a not uid=0");
        assert_eq!(shown(own, &given).expect("a filter"), "comm=a comm=b");
        let error = shown("\nfilter = \"a foo=1\"", &cli::FilterArgs::default()).expect_err("no filter");
        let said = error.downcast_ref::<BadUsage>().map(ToString::to_string).unwrap_or_default();
        assert!(said.starts_with(&format!("{}:2:10: filter: unknown field `foo`", config.display())), "{said}");
        assert!(said.ends_with("\n--no-config starts without the file"), "{said}");
        assert_eq!(shown("filter = \"a foo=1\"", &given).expect("it is not used"), "comm=a comm=b");
        // Several recordings are refused.
        let dir = Scratch::new("replay-several");
        let files =
            [write(&dir, "a", &self::batches(), usize::MAX), write(&dir, "b", &self::batches(), usize::MAX)].concat();
        let error = Files::open(&files, SEVERAL).err().expect("two recordings");
        assert!(matches!(error, tracetui_events::playback::Error::Usage(_)));
        assert!(error.to_string().contains("tracetui print FILE..."));
    }
}
