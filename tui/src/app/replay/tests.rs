use super::*;
use crate::app::prompt::Purpose;
use crate::app::testing::{app, keys, press, work};
use crate::app::time::Bin;
use crate::app::time::strip::BINS;
use crate::app::{App, Effect, Input, Tick};
use tracetui_events::pipeline::Pipeline;
use tracetui_events::playback::timeline::{Density, End};
use tracetui_events::synthetic::Maker;

const SECOND: u64 = 1_000_000_000;

/// The replay's activity, in a word.
fn transport(app: &App) -> &'static str {
    app.replay.as_ref().map_or("", |replay| replay.transport.word())
}

fn seeks(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Seek(_)))
}

fn number(at: u64, of: u64) -> (Option<u64>, Option<u64>) {
    (Some(at), Some(of))
}

/// A recording of 10,000 opens, 10 ms apart, to take batches from. So many are loaded.
fn opened(opens: u32) -> (App, Maker) {
    opened_in(64 << 20, opens)
}

fn opened_in(memory: u64, opens: u32) -> (App, Maker) {
    let mut app = app(80, 24, memory);
    let mut maker = Maker { step_ns: 10_000_000, ..Maker::default() };
    let span = Some((maker.ns + maker.step_ns, maker.ns + 10_000 * maker.step_ns));
    let facts =
        Facts { name: "x.ttr".into(), span, events: 10_000, end: End::Complete, seekable: true, ..Facts::default() };
    app.set_replay(Replay::new(facts, Target::First, Speed::default()));
    if opens > 0 {
        load(&mut app, &mut maker, opens);
    }
    (app, maker)
}

fn load(app: &mut App, maker: &mut Maker, opens: u32) {
    for number in 0..opens {
        maker.open(100 + number % 7, if number % 100 == 50 { "rare" } else { "cat" }, &format!("/file-{number}"), 3);
    }
    app.update(Input::Batch(maker.batch()));
    work(app);
}

fn tick(app: &mut App, ms: u64) {
    app.update(Input::Tick(Tick { now: Duration::from_millis(ms), usage: None }));
}

fn plays(app: &App) -> bool {
    app.replay.as_ref().is_some_and(|replay| replay.plays())
}

fn row(app: &App) -> usize {
    app.events().cursor().expect("a row")
}

#[test]
fn it_opens_paused_and_playing_follows_the_time_and_stops_at_the_end() {
    let (mut app, mut maker) = opened(1000);
    assert_eq!((row(&app), plays(&app), app.events().follows), (0, false, false));
    load(&mut app, &mut maker, 1000);
    assert_eq!(row(&app), 0);
    assert_eq!(app.time.bins(u64::MAX).iter().map(|bin| bin.events).sum::<u64>(), 2000);
    // Playing follows the time, and stops at the end.
    let (mut app, _) = opened(1000);
    tick(keys(&mut app, " "), 2_000);
    let start = row(&app);
    tick(&mut app, 3_000);
    assert_eq!(row(&app) - start, 100, "a second of events 10 ms apart");
    tick(keys(&mut app, ">>"), 4_000);
    assert_eq!(row(&app) - start, 500, "four times as fast");
    tick(keys(&mut app, " "), 5_000);
    assert_eq!(row(&app) - start, 500);
    app.update(Input::SourceEnded);
    tick(keys(&mut app, " "), 60_000);
    assert_eq!((row(&app), plays(&app)), (999, false));
    assert_eq!(app.loaded().numbers(), number(1000, 1000));
}

#[test]
fn it_goes_to_times_that_are_loaded_even_if_they_go_back() {
    let (mut app, mut maker) = opened(9_000);
    assert_eq!(row(keys(&mut app, "]")), 1000);
    assert_eq!(row(keys(&mut app, "}.")), 7001);
    assert_eq!(row(keys(&mut app, "[,")), 6000);
    assert_eq!(row(keys(&mut app, "T0:15\n")), 1500);
    assert_eq!(row(keys(&mut app, "g")), 0);
    keys(&mut app, "Tx\n");
    assert!(app.screen.message().is_some_and(|message| message.contains("invalid time")), "{:?}", app.screen.message());
    // The user can correct it.
    assert!(app.line_for(Purpose::Time).is_some());
    keys(&mut app, "\x1b");
    // The time is not loaded yet. It is loaded by reading on, without a request for another part, when the end is in reach.
    load(&mut app, &mut maker, 1_000);
    app.update(Input::SourceEnded);
    assert_eq!(row(keys(&mut app, "G")), 9_999);
    assert_eq!(row(keys(&mut app, "T-20s\n")), 7_999);
    assert_eq!(row(keys(&mut app, "T25%\n")), 2_500);
    assert_eq!(row(keys(&mut app, "T-1h\n")), 0);
    assert!(keys(&mut app, "T101%\n").screen.message().is_some_and(|message| message.contains("-20s or 99%")));
    // Times that go back have a position.
    let mut app = self::app(80, 24, 64 << 20);
    app.set_replay(Replay::new(Facts::default(), Target::At(1), Speed::default()));
    for ns in [200_000_000_000, 100_000_000_000] {
        let mut made = Maker { ns, ..Maker::default() };
        made.open(7, "cc1", "/x", 3);
        app.update(Input::Batch(made.batch()));
        app.update(Input::Batch(Maker { ns: ns + 50_000_000, ..Maker::default() }.batch()));
        work(&mut app);
    }
    app.update(Input::SourceEnded);
    let (start, end) = app.loaded().span().expect("events");
    assert!(start <= end, "{start} to {end}");
    app.replay.iter_mut().for_each(|replay| replay.transport.aim(Target::At(1)));
    assert_eq!(app.loaded().position(), Some(start));
}

#[test]
fn it_asks_for_parts_that_are_not_loaded() {
    let (mut app, mut maker) = opened(0);
    app.replay.as_mut().expect("a replay").facts.events = WHOLE_EVENTS;
    load(&mut app, &mut maker, 500);
    let from = app.loaded().position().expect("a position");
    let wanted = from + 60 * SECOND;
    assert!(press(&mut app, '}').contains(&Effect::Seek(wanted)));
    assert_eq!((app.loaded().position(), transport(&app)), (Some(wanted), "loading"));
    // Frames that still arrive from the old place are not an answer.
    load(&mut app, &mut maker, 100);
    assert!(app.replay.as_ref().is_some_and(|replay| replay.transport.target().is_some()));
    app.update(Input::Restore(Some(Pipeline::default().state()), false));
    maker.ns = from + 55 * SECOND;
    load(&mut app, &mut maker, 1000);
    assert!(app.loaded().position().is_some_and(|at| (wanted..wanted + 20_000_000).contains(&at)));
    // Before the loaded part.
    assert!(seeks(&press(&mut app, '{')));
    assert_eq!(app.loaded().numbers(), (None, None), "what is before is not known");
    // Up at the top asks for what is before all events.
    let (mut app, mut maker) = opened(0);
    app.replay.as_mut().expect("a replay").facts.events = WHOLE_EVENTS;
    app.update(Input::Restore(Some(Pipeline::default().state()), false));
    maker.ns += 60 * SECOND;
    let first = maker.ns + maker.step_ns;
    (0..3).for_each(|_| maker.open(100, "cat", "/same", 3));
    load(&mut app, &mut maker, 10);
    assert_eq!(row(&app), 0, "the selected row is no part of a group");
    assert!(press(&mut app, 'k').contains(&Effect::Seek(first - 1)));
    // A recording that cannot be read.
    let (mut app, _) = growing();
    keys(&mut app, "}").update(Input::ReadFailed("x.ttr: the file was truncated to 0 bytes while being read".into()));
    assert!(app.screen.message().is_some_and(|message| message.contains("truncated to 0 bytes")));
    let replay = app.replay.as_ref().expect("a replay");
    assert!(replay.failure.is_some() && replay.transport.target().is_none());
}

#[test]
fn a_short_recording_is_read_on_to_a_place_behind_what_is_loaded() {
    let (mut app, mut maker) = opened(500);
    assert_eq!(app.loaded().numbers(), (Some(1), None));
    for (letter, at) in [('}', 6_000), ('G', 9_999)] {
        assert!(!seeks(&press(&mut app, letter)));
        assert_eq!((app.store().events() < 9_999, transport(&app)), (true, "loading"));
        let rest = at - app.store().events() as u32 + 1;
        load(&mut app, &mut maker, rest);
        if letter == 'G' {
            app.update(Input::SourceEnded);
        }
        assert_eq!((row(&app), transport(&app)), (at as usize, "paused"));
    }
    assert_eq!(app.loaded().numbers(), number(10_000, 10_000));
    // A match stays while the place that was aimed at is still to come.
    let (mut app, mut maker) = opened(1_000);
    assert_eq!((row(keys(&mut app, "}/file-7\n")), transport(&app)), (7, "paused"));
    load(&mut app, &mut maker, 8_000);
    assert_eq!(row(&app), 7);
    // A filter without a match looks further.
    let (mut app, mut maker) = opened(40);
    assert_eq!(keys(&mut app, "fcomm=rare\n").events().rows(), 0);
    assert!(app.loaded().wants_frames());
    load(&mut app, &mut maker, 100);
    assert_eq!((row(&app), app.events().rows()), (0, 1));
}

#[test]
fn playing_goes_on_from_a_selected_row_and_where_a_recording_grows() {
    let (mut app, _) = opened(2_000);
    tick(keys(&mut app, "]k "), 1_000);
    let start = row(&app);
    tick(keys(&mut app, "kkk"), 1_100);
    assert_eq!((row(&app), plays(&app)), (start - 3 + 10, true), "up by three rows");
    tick(keys(&mut app, "g/file-500\n"), 1_200);
    assert_eq!((row(&app), plays(&app)), (510, true), "a match");
    tick(keys(&mut app, "T0:07\n"), 1_300);
    assert_eq!((row(&app), plays(&app)), (710, true), "a time");
    // Where a recording grows.
    let (mut app, mut maker) = growing();
    tick(keys(&mut app, ">>>>>> "), 1_000);
    tick(&mut app, 60_000);
    assert_eq!((row(&app), plays(&app)), (999, true));
    load(&mut app, &mut maker, 500);
    tick(&mut app, 120_000);
    assert_eq!((row(&app), plays(&app)), (1499, true));
    app.update(Input::SourceEnded);
    tick(&mut app, 180_000);
    assert!(!plays(&app));
}

/// A pipe, with 1,000 events so far.
fn growing() -> (App, Maker) {
    let (mut app, mut maker) = opened(0);
    app.set_replay(Replay::new(Facts::default(), Target::First, Speed::default()));
    load(&mut app, &mut maker, 1000);
    (app, maker)
}

#[test]
fn a_pipe_is_followed_from_its_end() {
    let (mut app, mut maker) = growing();
    assert_eq!((row(&app), app.loaded().numbers(), transport(&app)), (0, (Some(1), None), "paused"));
    assert_eq!((row(keys(&mut app, "G")), app.events().follows), (999, true));
    load(&mut app, &mut maker, 500);
    assert_eq!((row(&app), app.loaded().wants_frames(), transport(&app)), (1499, true, "following"));
    // A row that the user chose stays selected.
    load(keys(&mut app, "k"), &mut maker, 500);
    assert_eq!((row(&app), app.events().follows), (1498, false));
    assert_eq!(row(keys(&mut app, "F")), 1999);
    // The end is the last event.
    app.update(Input::SourceEnded);
    work(&mut app);
    assert_eq!((row(&app), app.events().follows, app.loaded().numbers()), (1999, false, number(2000, 2000)));
    assert_eq!(transport(&app), "paused");
}

#[test]
fn space_pauses_following_and_continues_it() {
    let (mut app, mut maker) = growing();
    assert_eq!(transport(&app), "paused");
    assert_eq!(transport(keys(&mut app, "G")), "following");
    load(keys(&mut app, " "), &mut maker, 500);
    tick(&mut app, 2_000);
    assert_eq!((row(&app), transport(&app)), (999, "paused"));
    assert_eq!(app.loaded().numbers(), (Some(1000), None));
    assert_eq!((row(keys(&mut app, " ")), transport(&app)), (1499, "following"));
    // From another row, Space plays. Then it pauses and resumes playback.
    let steps = [(" k ", "playing"), (" ", "paused"), (" ", "playing")];
    for (letters, word) in steps {
        assert_eq!(transport(keys(&mut app, letters)), word);
    }
    for letter in ["F", "G"] {
        load(&mut app, &mut maker, 500);
        keys(&mut app, letter);
        assert_eq!((row(&app) + 1, plays(&app)), (app.events().rows(), false));
        tick(&mut app, 3_000);
        load(&mut app, &mut maker, 500);
        assert_eq!((row(&app) + 1, transport(&app)), (app.events().rows(), "following"), "{letter}");
        assert_eq!(transport(keys(&mut app, "[ ")), "playing");
    }
    // A filter that hides the row of the pause changes nothing.
    assert_eq!(transport(keys(&mut app, "F fcomm=rare\n ")), "following");
    // Without a row there is no place to stay at.
    keys(&mut app, "fcomm=none\n ");
    assert_eq!((app.screen.message(), transport(&app)), (Some("no event is shown yet"), "following"));
}

#[test]
fn the_density_grows_with_the_recording_within_the_memory() {
    let (mut app, mut maker) = growing();
    for _ in 0..20 {
        load(&mut app, &mut maker, 1000);
    }
    let (start, end) = app.loaded().span().expect("events");
    assert_eq!(end - start, 20_999 * 10_000_000);
    let bins = app.time.bins(end).to_vec();
    assert_eq!(bins.iter().map(|bin| bin.events).sum::<u64>(), 21_000);
    // Even, except for the last bin.
    let events = bins.iter().take(bins.len() - 1).map(|bin| bin.events);
    assert!(bins.len() > BINS / 2 && events.clone().max() <= events.min().map(|least| least + 1), "{bins:?}");
    // The index of a large recording replaces the counts.
    let part = Density { first_ns: start, last_ns: end, events: 1 << 20, lost: 3 };
    let facts = Facts { span: Some((start, end)), density: vec![part], ..Facts::default() };
    app.set_replay(Replay::new(facts, Target::First, Speed::default()));
    assert_eq!(app.time.bins(end).to_vec().iter().fold(Bin::default(), Bin::and).events, 1 << 20);
    // No more is loaded than memory holds.
    let (mut app, mut maker) = opened_in(8 << 20, 0);
    let mut loaded = 0;
    while app.loaded().wants_frames() && loaded < 1_000_000 {
        load(&mut app, &mut maker, 1000);
        loaded += 1000;
    }
    assert!((5_000..500_000).contains(&loaded), "{loaded}");
    assert_eq!((app.store().evicted(), row(&app)), (0, 0));
    // Near the end of the loaded part, more frames are wanted.
    for _ in 0..loaded / 18 {
        app.update(Input::Key(crate::app::keys::device::KeyCode::PageDown.into()));
    }
    assert!(app.loaded().wants_frames());
}
