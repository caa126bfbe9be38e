//! The Top view, from inputs to the screen.

use crate::app::testing::{app, feed, keys};
use crate::app::views::View;
use crate::app::{App, Input, Tick};
use crate::view::tests::{MEMORY, SIZES, check_draws, drawn, rows, screen};
use crate::view::theme::Theme;
use ratatui::style::Color;
use std::time::Duration;
use tracetui_events::synthetic::Maker;

fn opens() -> Maker {
    let mut made = Maker { step_ns: 100_000_000, ..Maker::default() };
    for i in 0..200 {
        match i % 20 {
            0 => made.open(3, "bash", "/etc/passwd", 3),
            1..5 => made.open(2, "udevd", "/sys/devices/a", -2),
            _ => made.open(1, "cc1", &format!("/usr/include/{}.h", i % 3), 3),
        }
    }
    made
}

fn top(width: u16, height: u16) -> App {
    let mut app = app(width, height, MEMORY);
    keys(feed(&mut app, &mut opens()), "3");
    app
}

/// The values of the rows, with their numbers of events.
fn counts(app: &mut App) -> Vec<(String, u64)> {
    let words = |row: String| {
        let mut words =
            row.trim_start_matches('>').split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter();
        Some((words.next()?, words.next()?.parse().ok()?))
    };
    rows(app).into_iter().filter_map(words).collect()
}

fn of(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs.iter().map(|(value, count)| ((*value).to_owned(), *count)).collect()
}

#[test]
fn the_most_frequent_are_counted_and_lead_to_their_events() {
    let mut app = top(80, 24);
    let shown = screen(&mut app);
    assert!(shown[1].starts_with(" 1 Events  2 Tree  3 Top  4 BPF"), "{}", shown[1]);
    assert!(shown[1].ends_with("by  [comm]  path  dir"), "{}", shown[1]);
    assert_eq!(shown[2], " COMM                     EVENTS            NOW/s  OPEN FAILED");
    assert_eq!(
        rows(&mut app),
        [
            ">cc1                         150 ━━━━━━━━━━     8   150      ·",
            " udevd                        40 ━━━            2    40     40",
            " bash                         10 ━              1    10      ·",
        ]
    );
    assert_eq!(counts(keys(&mut app, "l"))[0], ("/usr/include/0.h".to_owned(), 50));
    assert_eq!(counts(keys(&mut app, "l")), of(&[("/usr/include", 150), ("/sys/devices", 40), ("/etc", 10)]));
    // Properties with one value come last, and those without are left out.
    assert_eq!(counts(keys(&mut app, "l")), of(&[("1000", 200)]));
    app.update(Input::Resize(160, 24));
    let choice = "by  comm  path  dir  [uid]  one value each: error kind";
    assert!(screen(&mut app)[1].ends_with(choice), "{}", screen(&mut app)[1]);
    assert_eq!(counts(keys(&mut app, "l")), of(&[("ENOENT", 40)]));
    assert_eq!(counts(keys(&mut app, "l")), of(&[("open", 200)]));
    assert_eq!(counts(keys(&mut app, "lh")), of(&[("open", 200)]));
    assert_eq!(counts(keys(&mut app, "ll"))[0], ("/usr/include/0.h".to_owned(), 50));
    // Enter shows the events of a row and escape goes back.
    let mut app = top(80, 24);
    keys(&mut app, "j\n");
    assert_eq!((app.views.shown, app.filter.text().as_str(), app.events().events()), (View::Events, "comm=udevd", 40));
    assert_eq!((keys(&mut app, "\x1b").views.shown, app.filter.text().as_str()), (View::Top, ""));
    assert_eq!(keys(&mut app, "x").filter.text(), "not comm=udevd");
    assert_eq!(counts(&mut app), of(&[("cc1", 150), ("bash", 10)]));
    // Every row's term passes exactly the row's events.
    keys(&mut app, "\x12");
    for _ in 0..7 {
        let Some((_, count)) = counts(keys(&mut app, "3lg")).into_iter().next() else { continue };
        assert_eq!(keys(&mut app, "\n").events().events(), count, "{}", app.filter.text());
        keys(&mut app, "\x1b");
    }
}

#[test]
fn what_a_search_found_has_not_failed() {
    let mut made = Maker::default();
    search(&mut made, true);
    made.open(7, "cc1", "/none", -2);
    search(&mut made, false);
    let mut app = app(80, 24, MEMORY);
    keys(feed(&mut app, &mut made), "3");
    assert_eq!((counts(&mut app), failed(&mut app)), (of(&[("cc1", 6)]), 3));
    // With only the failures that nothing answered, nothing else is counted, even if the answer comes later.
    keys(&mut app, "e");
    assert!(screen(&mut app)[1].contains("[e]failed only"), "{}", screen(&mut app)[1]);
    assert_eq!((counts(&mut app), failed(&mut app)), (of(&[("cc1", 3)]), 3));
    made.open(7, "cc1", "/c/x.h", 4);
    feed(&mut app, &mut made);
    assert_eq!((counts(&mut app), failed(&mut app)), (of(&[("cc1", 1)]), 1));
    assert_eq!(counts(keys(&mut app, "e")), of(&[("cc1", 7)]));
    // With any time span.
    assert_eq!(failed(&mut app), 1);
    assert_eq!(failed(keys(&mut app, "W")), 1);
    search(&mut made, false);
    assert_eq!(failed(feed(&mut app, &mut made)), 3);
    made.open(7, "cc1", "/c/x.h", 4);
    assert_eq!(failed(feed(&mut app, &mut made)), 1);
}

/// A search in three directories. The last one may contain the name.
fn search(made: &mut Maker, found: bool) {
    ["/a", "/b"].iter().for_each(|dir| made.open(7, "cc1", &format!("{dir}/x.h"), -2));
    if found {
        made.open(7, "cc1", "/c/x.h", 4);
    }
}

/// The last number of the first row.
fn failed(app: &mut App) -> u64 {
    let row = rows(app).into_iter().next().unwrap_or_default();
    row.split_whitespace().next_back().and_then(|number| number.parse().ok()).expect("FAILED is the last column")
}

#[test]
fn errors_that_matter_come_first_and_ended_processes_have_their_costs() {
    let mut made = Maker::default();
    (0..3).for_each(|_| search(&mut made, true));
    made.open(7, "cc1", "/none", -2);
    (0..2).for_each(|_| made.open(7, "cc1", "/secret", -13));
    let mut app = app(80, 24, MEMORY);
    keys(feed(&mut app, &mut made), "3hhh");
    let shown = screen(&mut app);
    assert!(shown[2].starts_with(" ERROR                    FAILED EVENTS "), "{}", shown[2]);
    assert_eq!(counts(&mut app), of(&[("EACCES", 2), ("ENOENT", 1)]));
    assert!(rows(&mut app)[1].contains(" 1      7 "), "{:#?}", rows(&mut app));
    assert_eq!(drawn(keys(&mut app, "j"), Theme::default())[(1, 3)].fg, Color::Red);
    assert_eq!(drawn(keys(&mut app, "k"), Theme::default())[(1, 4)].fg, Color::Yellow);
    // An order that the user chose stays.
    assert_eq!(keys(&mut app, "sssss").screen.message(), Some("sorted by rate"));
    assert!(screen(keys(&mut app, "3ll"))[2].contains("EVENTS            NOW/s"), "{}", screen(&mut app)[2]);
    assert_eq!(keys(&mut app, "S").screen.message(), Some("sorted by rate, reversed"));
    // Ended processes have their CPU time and the largest memory.
    let (mut app, mut made) = (self::app(160, 24, MEMORY), Maker::default());
    for (pid, comm) in [(1, "cc1"), (2, "cc1"), (3, "ld")] {
        made.acts(&format!("{pid} {comm} exec {comm}, exit 0"));
    }
    keys(feed(&mut app, &mut made), "3");
    let shown = screen(&mut app);
    assert!(shown[2].contains(" CPU     MEMORY "), "{}", shown[2]);
    assert!(!shown[2].contains(" BPF ") && !shown[2].contains(" OPEN "), "columns of zeros: {}", shown[2]);
    let row = |comm: &str| shown.iter().find(|row| row.contains(comm)).expect("a row");
    // Each used 1.5 ms and 3 MiB.
    assert!(row("cc1").contains(" 3 ms    3.0 MiB ") && row("ld").contains(" 1 ms    3.0 MiB "), "{shown:#?}");
    assert_eq!(keys(&mut app, "ssss").screen.message(), Some("sorted by CPU"));
}

#[test]
fn what_arrives_is_counted_and_only_the_last_minute_on_request() {
    let mut made = opens();
    let mut app = app(80, 24, MEMORY);
    keys(feed(&mut app, &mut made), "3");
    assert_eq!(counts(&mut app).len(), 3);
    keys(&mut app, "jj");
    (0..300).for_each(|_| made.open(3, "bash", "/x", 3));
    assert_eq!(counts(feed(&mut app, &mut made)), of(&[("cc1", 150), ("udevd", 40), ("bash", 310)]));
    app.update(Input::Tick(Tick { now: Duration::from_secs(60), usage: None }));
    assert_eq!(counts(&mut app), of(&[("bash", 310), ("cc1", 150), ("udevd", 40)]));
    assert!(rows(&mut app)[0].starts_with('>'), "the selected one is still selected");
    keys(&mut app, "sss").update(Input::Tick(Tick { now: Duration::from_secs(70), usage: None }));
    assert_eq!(counts(&mut app)[0].0, "bash", "the last event");
    assert_eq!(counts(keys(&mut app, "SSs"))[0].0, "bash");
    // Only the last minute is counted.
    let mut made = Maker { step_ns: 1_000_000_000, ..Maker::default() };
    (0..100).for_each(|i| made.open(1, "early", &format!("/a{i}"), -2));
    (0..30).for_each(|_| made.open(2, "late", "/b", 3));
    let mut app = self::app(80, 24, MEMORY);
    keys(feed(&mut app, &mut made), "3");
    assert_eq!(counts(&mut app), of(&[("early", 100), ("late", 30)]));
    assert_eq!(counts(keys(&mut app, "W")), of(&[("early", 30), ("late", 30)]));
    assert!(screen(&mut app)[1].contains("60 s"), "{}", screen(&mut app)[1]);
    // Kinds and failures are those of the last minute.
    let row = rows(&mut app).remove(0);
    assert_eq!(row.split_whitespace().rev().take(3).collect::<Vec<_>>(), ["30", "30", "·"], "{row}");
    // A value without events in this time has no row.
    (0..59).for_each(|_| made.open(2, "late", "/b", 3));
    assert_eq!(counts(feed(&mut app, &mut made)), of(&[("late", 60)]));
    assert_eq!(counts(keys(&mut app, "W")), of(&[("early", 100), ("late", 89)]));
}

#[test]
fn rates_are_those_of_late_and_rows_are_found() {
    let mut made = opens();
    made.ns += 3_600_000_000_000;
    made.open(3, "bash", "/x", 3);
    let mut app = app(160, 50, MEMORY);
    keys(feed(&mut app, &mut made), "3");
    let rows = rows(&mut app);
    let words = |row: &str| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&rows[0])[3], "·", "{}", rows[0]);
    assert!(rows[0].contains("1h 00m"), "{}", rows[0]);
    assert_eq!(words(&rows[2])[3], "1", "{}", rows[2]);
    // Rates of a short time.
    let mut made = Maker { step_ns: 1_000_000, ..Maker::default() };
    (0..400).for_each(|_| made.open(1, "cc1", "/a", 3));
    let mut app = self::app(80, 24, MEMORY);
    keys(feed(&mut app, &mut made), "3");
    let row = self::rows(&mut app).remove(0);
    let rate = row.split_whitespace().nth(3).and_then(|rate| rate.parse::<u64>().ok());
    assert!(rate.is_some_and(|rate| rate >= 200), "{row}");
    // A row is found and its directory is a filter.
    let mut app = top(80, 24);
    assert!(self::rows(keys(&mut app, "/bas"))[2].starts_with('>'), "{:#?}", self::rows(&mut app));
    keys(keys(&mut app, "h\n"), "\x1b/d\n");
    assert!(self::rows(&mut app)[1].starts_with('>'), "{:#?}", self::rows(&mut app));
    assert!(screen(keys(&mut app, "\x1b/nothing\n"))[22].contains("no match"), "{}", screen(&mut app)[22]);
    let mut app = top(80, 24);
    assert_eq!(keys(&mut app, "1/udevd\n\x1bd").filter.text(), tracetui_events::filter::directly_in(b"/sys/devices"));
    assert!(self::rows(&mut app).iter().all(|row| row.contains("/sys/devices/a")));
    keys(&mut app, "2d");
    assert!(screen(&mut app)[22].contains("only events with a path have a directory"), "{}", screen(&mut app)[22]);
}

#[test]
fn every_size_and_every_name_can_be_drawn() {
    let hostile = "\x1b[2J\x07\u{9b}31m\u{202e}\u{200b}\r\n\t漢字";
    let mut made = opens();
    made.open(9, hostile, &format!("/{hostile}/{hostile}"), -13);
    check_draws(&made, &SIZES, "3", &["", "l", "ll", "lllll", "G", "s", "?", "\n", "x"]);
    let mut app = top(40, 10);
    assert_eq!(screen(&mut app)[1], " 1  2  3 Top  4 │ f filter   by  [comm]");
    assert_eq!(rows(&mut app)[0], ">cc1                         150      ·");
    // Many values are counted within the memory.
    let (mut app, mut made) = (self::app(80, 24, 8 << 20), Maker::default());
    keys(&mut app, "3l");
    for i in 0..20_000 {
        made.acts(&format!("1 find open /a/{i} /often"));
        if i % 100 == 0 {
            feed(&mut app, &mut made);
        }
    }
    screen(feed(&mut app, &mut made));
    let first = app.views.top.groups().next().map(|group| (group.value.to_vec(), group.figures(0).events));
    assert_eq!(first, Some((b"/often".to_vec(), 20_000)));
    assert!(app.views.top.bytes <= (8 << 20) / 32 && app.views.top.others > 0);
    assert_eq!(keys(&mut app, "1").views.top.bytes, 0);
}

#[test]
fn counts_begin_anew_at_a_key_or_at_the_selected_event() {
    let mut app = top(80, 24);
    assert!(rows(keys(&mut app, "z"))[0].contains("no shown event has a comm since 14:02:"), "{:#?}", rows(&mut app));
    assert!(screen(&mut app)[1].contains("from 14:02:"), "{}", screen(&mut app)[1]);
    let mut made = opens();
    made.open(9, "new", "/x", 3);
    assert_eq!(counts(feed(&mut app, &mut made)), of(&[("cc1", 150), ("udevd", 40), ("bash", 10), ("new", 1)]));
    // Another property, counted from the same event on.
    assert_eq!(counts(keys(&mut app, "l")).iter().map(|(_, count)| count).sum::<u64>(), 201);
    assert_eq!(counts(keys(&mut app, "hz")), of(&[("cc1", 300), ("udevd", 80), ("bash", 20), ("new", 1)]));
    // At the selected event.
    let mut app = top(80, 24);
    let selected = keys(&mut app, "1gjjjj").events().selected().expect("a row");
    keys(&mut app, "3z");
    // As of that event it is the only one. From there to now it is the first.
    assert_eq!(counts(&mut app).iter().map(|(_, count)| count).sum::<u64>(), 1);
    assert_eq!(counts(keys(&mut app, "F")).iter().map(|(_, count)| count).sum::<u64>(), 200 - selected);
    // An earlier moment is counted as it was.
    let mut app = top(80, 24);
    assert!(screen(keys(&mut app, "1agjjj3"))[1].contains(" AS OF 14:02:11.400 "), "{}", screen(&mut app)[1]);
    assert_eq!(counts(&mut app), of(&[("udevd", 3), ("bash", 1)]));
    assert_eq!(counts(keys(&mut app, "1j3")), of(&[("udevd", 4), ("bash", 1)]));
    assert_eq!(counts(keys(&mut app, "F")), of(&[("cc1", 150), ("udevd", 40), ("bash", 10)]));
}
