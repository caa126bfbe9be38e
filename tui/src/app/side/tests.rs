use super::*;
use crate::app::testing::{app, app_with, feed, keys};
use crate::app::{Input, Preferences};
use crate::view::tests::screen;
use std::net::SocketAddr;
use tracetui_events::filter::Filter;
use tracetui_events::synthetic::Maker;
use tracetui_events::synthetic::payload::{self, tcp};
use tracetui_shared::calls::file::UNLINK;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Slot;
use tracetui_shared::record::exec::ExecRecord;
use tracetui_shared::record::tcp::{TcpRecord, flag as tcp_flag, op, outcome};

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
fn a_muted_story_is_counted_and_leaves_the_strip_and_the_failures() {
    let (mut app, mut made) = (app(160, 45, 64 << 20), Maker::default());
    let build = |made: &mut Maker, pid| {
        made.exec(pid, "make", &["make", "-j2"], 0);
        made.fork(pid, "make", pid + 1);
        made.like.ppid = Tgid(pid);
        made.exec(pid + 1, "cc1", &["cc1", "a.c"], 0);
        made.open_all(pid + 1, "cc1", "include/lookup/x.h:-2 /usr/include/lookup/x.h:-2");
        made.exit(pid + 1, "cc1", 1 << 8);
        made.like.ppid = Tgid(1);
        made.exit(pid, "make", 2 << 8);
    };
    build(&mut made, 7);
    made.open(3, "collectd", "/etc/app.key", -13);
    feed(&mut app, &mut made);
    let stories = |app: &App| app.stories(None).len();
    let mute = "muted: cc1 ENOENT lookup/x.h";
    assert_eq!((stories(&app), app.events.rows()), (2, 6));
    // From the row of an exit that it caused, which stays in the list.
    let said = keys(&mut app, "kz").screen.message().unwrap_or_default().to_owned();
    assert_eq!((said.as_str(), stories(&app), app.events.rows()), (format!("{mute}  ! then z undoes").as_str(), 1, 6));
    assert_eq!(keys(&mut app, "e").events.rows(), 1);
    let shown = screen(&mut app).join("\n");
    assert!(shown.contains("failed only, 1 muted") && shown.contains("1 story, 1 muted"), "{shown}");
    // Later ones too, of other processes.
    build(&mut made, 20);
    feed(&mut app, &mut made);
    assert_eq!((stories(&app), app.events.rows()), (1, 1));
    let report = screen(keys(&mut app, "!")).join("\n");
    assert!(report.contains(&format!("{mute}, 8 events  z shows it again")), "{report}");
    assert_eq!(keys(&mut app, "z").screen.message(), Some("not muted any more: cc1 ENOENT lookup/x.h"));
    assert_eq!((stories(keys(&mut app, "\x1b")), app.events.rows()), (3, 6));
    // From the strip, and again from the list.
    keys(&mut app, "eeF((z");
    assert_eq!((stories(&app), app.muted[0].name.as_str()), (2, "collectd EACCES /etc/app.key"));
    let at = (0..app.events.rows())
        .find(|at| app.events.row(*at).and_then(|id| app.store.get(id)).is_some_and(|s| s.header().tgid.0 == 3));
    app.events.select_row(at.expect("a row"), 40, &app.store);
    assert_eq!((stories(keys(&mut app, "z")), app.muted.len()), (3, 0));
    keys(&mut app, "gz");
    assert_eq!(app.screen.message(), Some("no failure is selected"));
}

type Make<'a> = &'a dyn Fn(&mut Maker, u32);

#[test]
fn the_failures_of_each_kind_are_muted_by_what_they_are_about() {
    let refused = |made: &mut Maker, pid| {
        let [local, peer] = ["10.0.0.5:9", "127.0.0.1:15433"].map(|text| text.parse().expect("an address"));
        let of = tcp(op::CONNECT, local, peer);
        let (flags, outcome) = (tcp_flag::HAS_RET, outcome::DECIDED);
        made.tcp(pid, "python3", TcpRecord { flags, ret: -115, outcome, err: 111, ..of });
    };
    let not_run = |made: &mut Maker, pid| {
        let exec = payload::Exec { ret: -13, filename: b"/bin/ld", argv: b"ld\0", ..payload::Exec::default() };
        made.event(Slot::Exec, pid, "sh", &exec.of(ExecRecord { ret: -13, argc: 1, ..ExecRecord::default() }));
    };
    let missing = |made: &mut Maker, pid| (0..40).for_each(|x| made.open(pid, "sh", &format!("/none/a {x}"), -2));
    let makers: [(Make<'_>, &str); 7] = [
        (&refused, "python3 refused 127.0.0.1:15433"),
        (&|made, pid| made.open(pid, "cat", "a/b c", -2), "cat ENOENT a/b c"),
        (&|made, pid| made.open(pid, "cat", "/a \u{202e}*", -13), "cat EACCES /a \u{202e}*"),
        (&not_run, "sh EACCES /bin/ld"),
        (&|made, pid| made.call(Slot::File, pid, "rm", UNLINK, "/a", -1), "rm EPERM /a"),
        (&|made, pid| made.exit(pid, "bad", 2 << 8), "bad exit 2"),
        (&missing, "sh ENOENT /none"),
    ];
    for (make, name) in makers {
        let (mut app, mut made) = (app(160, 45, 64 << 20), Maker::default());
        make(&mut made, 7);
        keys(feed(&mut app, &mut made), "ez");
        assert_eq!((app.muted.first().map(|mute| mute.name.as_str()), app.events.rows()), (Some(name), 0));
        make(&mut made, 8);
        assert_eq!((feed(&mut app, &mut made).events.rows(), app.stories(None).len()), (0, 0), "{name}");
        assert!(app.muted[0].count > 1, "{name}");
        made.open(7, "python3", "/other", -13);
        assert_eq!(feed(&mut app, &mut made).events.rows(), 1, "{name}");
        assert_eq!(keys(&mut app, "e\x12").muted.len(), 0);
    }
}

#[test]
fn each_row_is_a_jump_also_over_the_list_of_a_narrow_screen() {
    let (mut app, _) = traced(160);
    keys(keys(&mut app, ")"), "\n");
    assert_eq!(app.filter.text(), "comm=make", "{:#?}", strip(&mut app));
    assert_eq!((keys(&mut app, "\u{1b}").filter.text().as_str(), app.detail.size), ("", None));
    // The newest failure, and the one below it.
    let row = strip(&mut app).iter().position(|line| line.starts_with("collectd EACCES")).expect("a row");
    let row = u16::try_from(row).expect("a row");
    let (x, list) = (app.areas().side.x + 5, app.areas().side.y);
    assert!(row > list);
    app.update(Input::Mouse(crate::app::keys::device::MouseEvent {
        kind: crate::app::keys::device::MouseEventKind::Down(crate::app::keys::device::MouseButton::Left),
        column: x,
        row: row + 2,
        modifiers: crate::app::keys::device::KeyModifiers::NONE,
    }));
    assert_eq!(app.selected().map(|stored| stored.id), Some(32), "/secret");
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
