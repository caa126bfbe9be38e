use crate::app::App;
use crate::app::prompt::Purpose;
use crate::app::replay::{Replay, Speed, Target};
use crate::app::testing::{app, feed, keys};
use tracetui_events::playback::timeline::Facts;
use tracetui_events::synthetic::Maker;

fn opens(app: &mut App, count: u32, step_ns: u64) -> Maker {
    let mut made = Maker { step_ns, ..Maker::default() };
    (0..count).for_each(|at| made.open(7, "cat", &format!("/{at}"), 3));
    feed(app, &mut made);
    made
}

fn row(app: &App) -> usize {
    app.events().cursor().expect("a row")
}

#[track_caller]
fn check(app: &mut App, typed: &str, want: usize) {
    keys(app, typed);
    assert_eq!(row(app), want, "{typed}: {:?}", app.screen.message());
}

#[test]
fn keys_go_through_the_time_of_a_live_trace() {
    let mut app = app(80, 24, 64 << 20);
    let mut made = opens(&mut app, 100, 1_000_000_000);
    check(&mut app, "[", 89);
    assert!(!app.events().follows);
    check(&mut app, "[", 79);
    check(&mut app, "{", 19);
    check(&mut app, "[[", 0);
    check(&mut app, "]", 10);
    check(&mut app, "}", 70);
    check(&mut app, "T-20s\n", 79);
    check(&mut app, "T50%\n", 50);
    check(&mut app, "T0:30\n", 30);
    check(&mut app, "T1h\n", 30);
    assert_eq!(app.screen.message(), Some("that time is still to come"));
    keys(&mut app, "Tx\n");
    assert!(
        app.line_for(Purpose::Time).is_some()
            && app.screen.message().is_some_and(|text| text.starts_with("invalid time x"))
    );
    keys(&mut app, "\x1b");
    // Beyond the newest row the list follows it.
    check(&mut app, "T99%\n", 99);
    check(&mut app, "]", 99);
    assert!(app.events().follows);
    made.open(7, "cat", "/new", 3);
    assert_eq!(row(feed(&mut app, &mut made)), 100);
    // A step back passes a row if none lies between.
    let mut app = self::app(80, 24, 64 << 20);
    opens(&mut app, 10, 60_000_000_000);
    check(&mut app, "[", 8);
    check(&mut app, "[", 7);
    check(&mut app, "]", 8);
    check(&mut app, "{{", 6);
    // The strip counts live events and losses.
    let mut app = self::app(80, 24, 64 << 20);
    let mut made = opens(&mut app, 1000, 1_000_000);
    made.lost(5);
    let bins = feed(&mut app, &mut made).time.bins(made.ns);
    let sum = |of: fn(&super::Bin) -> u64| bins.iter().map(of).sum::<u64>();
    assert_eq!((sum(|bin| bin.events), sum(|bin| bin.lost)), (1000, 5));
}

#[test]
fn marks_are_set_and_found_again_and_a_filter_compares_the_time_with_now() {
    let live = app(80, 24, 64 << 20);
    let mut replay = app(80, 24, 64 << 20);
    replay.set_replay(Replay::new(Facts::default(), Target::First, Speed::default()));
    for mut app in [live, replay] {
        opens(&mut app, 50, 1_000_000_000);
        check(&mut app, "g]", 10);
        assert_eq!(keys(&mut app, "ma").screen.message(), Some("mark a is set; 'a goes to it"));
        check(&mut app, "]]mb", 30);
        check(&mut app, "'a", 10);
        check(&mut app, "''", 30);
        check(&mut app, "''", 10);
        check(&mut app, "'x", 10);
        assert_eq!(app.screen.message(), Some("mark x is not set"));
        // Other keys are no letters, and a letter is no key.
        check(&mut app, "'\x1b", 10);
        check(&mut app, "mq", 10);
        assert_eq!(app.time.marks().map(|(letter, _)| letter).collect::<String>(), "abq");
        check(&mut app, "'b", 30);
    }
    // A filter compares the time with now.
    let (mut app, mut made) = (app(80, 24, 64 << 20), Maker::default());
    made.open(7, "cat", "/old", 3);
    made.ns += 120_000_000_000;
    made.open(7, "cat", "/new", 3);
    made.counters(false);
    keys(feed(&mut app, &mut made), "ftime>-1m\n");
    assert_eq!((app.filter.text().as_str(), app.events().rows()), ("time>-1m", 1));
    assert_eq!(keys(&mut app, "\u{1b}ftime<-1m\n").events().rows(), 1);
    assert_eq!(keys(&mut app, "\u{1b}ftime>-3m\n").events().rows(), 2);
}
