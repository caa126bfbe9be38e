use super::*;
use crate::app::testing::{app, app_with, feed, keys};
use crate::app::{Input, Preferences};
use crate::view::tests::screen;
use std::net::SocketAddr;
use tracetui_events::filter::Filter;
use tracetui_events::synthetic::Maker;
use tracetui_events::synthetic::payload::tcp;
use tracetui_shared::calls::file::UNLINK;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Slot;
use tracetui_shared::record::tcp::op;

fn strip(app: &mut App) -> Vec<String> {
    let from = usize::from(app.areas().side.x);
    let lines = screen(app).into_iter().map(|line| line.chars().skip(from + 1).collect::<String>());
    lines.map(|line| line.trim().to_owned()).collect()
}

fn traced(width: u16) -> (App, Maker) {
    let (mut app, mut made) = (app(width, 45, 64 << 20), Maker::default());
    made.exec(7, "make", &["make"], 0);
    (0..30).for_each(|number| made.open(7, "make", &format!("/src/{number}"), 3));
    made.acts("8 cc1 open /a/x.h:-2 /secret:-13; 9 collectd open /etc/app.key:-13 /etc/app.key:-13");
    feed(&mut app, &mut made);
    (app, made)
}

#[test]
fn it_says_who_is_busy_what_failed_and_what_is_watched() {
    let (mut app, mut made) = traced(160);
    let watch = Filter::parse("path~secret", app.world()).expect("a filter");
    app.watch(vec![Watch::new("secrets".to_owned(), watch)]);
    made.open(9, "collectd", "/secret", -13);
    (0..2).for_each(|_| made.call(Slot::File, 5, "rm", UNLINK, "/old", 0));
    let strip = strip(feed(&mut app, &mut made));
    let at =
        |text: &str| strip.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {strip:#?}"));
    assert!(at("BUSY") < at("make") && at("make") < at("collectd") && at("collectd") < at("FAILED"), "{strip:#?}");
    let failed = &strip[at("FAILED") + 1..at("NEW") - 1];
    assert_eq!(
        failed,
        [
            "collectd EACCES                        now",
            "r  /secret",
            "collectd EACCES  x2                    now",
            "r  /etc/app.key",
            "cc1 EACCES                             now",
            "r  /secret",
            "cc1 ENOENT                             now",
            "r  /a/x.h"
        ],
        "newest first, folded"
    );
    assert!(strip[at("secrets")].contains('1') && strip[at("secrets")].contains("path~secret"));
    assert_eq!(strip[at("CHANGED") + 1], "rm[5]              unlink /old  x2");
    // A failure goes when it is answered, and those before a moment stay.
    let (mut app, mut made) = traced(160);
    let failures = |app: &App| app.events.failures(app.loaded().moment().map(|moment| moment.until)).count();
    assert_eq!(failures(&app), 3);
    made.open(8, "cc1", "/b/x.h", 4);
    assert_eq!(failures(feed(&mut app, &mut made)), 2);
    assert_eq!(failures(keys(&mut app, "g")), 0, "nothing had failed");
    keys(&mut app, "F");
    // The same after everything was filtered again.
    app.refilter();
    assert_eq!(failures(keys(&mut app, "")), 2);
    assert!(self::strip(&mut app).iter().any(|line| line.starts_with("collectd EACCES  x2")));
}

#[test]
fn what_failed_because_of_one_failure_is_one_story() {
    let (mut app, mut made) = (app(160, 45, 64 << 20), Maker::default());
    made.acts("7 make exec make -j2, fork 8");
    made.like.ppid = Tgid(7);
    made.acts("8 cc1 exec cc1 a.c, open include/lookup/x.h:-2 /usr/include/lookup/x.h:-2, exit 1");
    made.like.ppid = Tgid(1);
    made.acts("7 make exit 2; 9 git open /etc/gitconfig:-2, exit 0");
    let strip = strip(feed(&mut app, &mut made));
    let at = strip.iter().position(|line| line.starts_with("FAILED")).expect("a title");
    let story = ["make -j2 exit 2                        now", "lookup/x.h not found", "cc1 a.c › make"];
    assert_eq!(strip[at + 1..at + 4], story, "{strip:#?}");
    assert!(strip[at].ends_with("1 story") && strip[at + 4].starts_with("OPTIONAL"), "{strip:#?}");
    assert!(strip[at + 4].ends_with("1 missing (e e)"), "{strip:#?}");
    // Its rows lead to the cause.
    keys(&mut app, "))))\n");
    assert_eq!(app.events.selected(), Some(4));
    // A new peer is one row, and older ones leave.
    let (mut app, mut made) = traced(160);
    let local = SocketAddr::from(([10, 0, 0, 1], 40_000));
    for number in 0..80u8 {
        for host in [number, 79] {
            made.tcp(20, "curl", tcp(op::CONNECT, local, SocketAddr::from(([10, 0, 0, host], 443))));
        }
    }
    feed(&mut app, &mut made);
    let newest =
        |app: &App| app.side.news[0].newest(None, &app.store, 99).map(|(_, events)| events).collect::<Vec<_>>();
    let before = newest(&app);
    assert_eq!((before.len(), before.iter().max()), (64, Some(&81)));
    app.refilter();
    assert_eq!(newest(keys(&mut app, "")).len(), 64);
}

#[test]
fn each_row_is_a_jump_also_over_the_list_of_a_narrow_screen() {
    let (mut app, _) = traced(160);
    keys(keys(&mut app, ")"), "\n");
    assert_eq!(app.filter.text(), "comm=make", "{:#?}", strip(&mut app));
    assert_eq!((keys(&mut app, "\u{1b}").filter.text().as_str(), app.detail.size), ("", None));
    // A narrow screen has it over the list, on request.
    let (mut app, _) = traced(159);
    assert!(app.areas().side.is_empty() && !app.side.runs);
    assert!(keys(&mut app, "v").side.runs && screen(&mut app).iter().any(|line| line.contains("FAILED")));
    keys(keys(&mut app, "jj"), "\n");
    assert!(app.screen.overlay.is_none() && app.filter.text() != "");
    assert!(!app.side.runs, "nothing counts");
    app.update(Input::Resize(160, 45));
    assert!(!app.areas().side.is_empty());
    assert!(keys(&mut app, "v").areas().side.is_empty() && !app.side.runs);
    let preferences = Preferences { strip: false, ..Preferences::default() };
    assert!(app_with(200, 45, 64 << 20, preferences).areas().side.is_empty());
}
