//! The tree from its inputs to the screen.

use crate::app::testing::{self, CLICK, app, feed, keys, mouse, press, work};
use crate::app::views::View;
use crate::app::{App, Input, Memory, Tick};
use crate::view::tests::{MEMORY, SIZES, check_draws, drawn, rows, screen};
use crate::view::theme::{Colours, Theme};
use ratatui::style::{Color, Modifier};
use std::time::Duration;
use tracetui_events::frame::host::{HostFrame, ProcessSeed};
use tracetui_events::synthetic::Maker;
use tracetui_shared::header::flag;
use tracetui_shared::id::Tgid;
use tracetui_shared::record::exec::ExecRecord;
use tracetui_shared::time::BootNanos;

/// A process that is forked and executes a program.
fn start(made: &mut Maker, parent: (u32, &str), pid: u32, argv: &[&str]) {
    made.fork(parent.0, parent.1, pid);
    made.like.ppid.0 = parent.0;
    made.exec(pid, argv[0], argv, 0);
}

fn fail(made: &mut Maker, pid: u32, comm: &str, path: &str, argv: &[u8], ret: i32) {
    use tracetui_events::synthetic::payload::Exec;
    use tracetui_shared::kind::Slot;
    let exec = Exec { ret, filename: path.as_bytes(), argv, ..Exec::default() };
    made.event(Slot::Exec, pid, comm, &exec.of(ExecRecord { ret, argc: 1, ..ExecRecord::default() }));
}

fn build() -> Maker {
    let mut made = Maker::default();
    made.like.ppid.0 = 1;
    made.acts("100 make exec make -j8 all, open /home/ana/Makefile");
    start(&mut made, (100, "make"), 101, &["cc", "-c", "main.c"]);
    start(&mut made, (101, "cc"), 102, &["/usr/lib/gcc/12/cc1", "-quiet", "main.c"]);
    made.acts("102 cc1 open /usr/local/include/stdio.h:-2 /usr/include/stdio.h, exit 0; 101 cc exit 0");
    start(&mut made, (100, "make"), 103, &["sh", "-c", "./link"]);
    made.fork(103, "sh", 104);
    fail(&mut made, 104, "sh", "/opt/bin/ld", b"ld\0main.o\0-o\0app\0", -13);
    made.acts("104 sh exit 126; 103 sh exit 126");
    start(&mut made, (100, "make"), 105, &["sleep", "9"]);
    made
}

fn tree(width: u16, height: u16, made: &mut Maker) -> App {
    let mut app = app(width, height, MEMORY);
    keys(feed(&mut app, made), "2");
    app
}

#[track_caller]
fn check_rows(app: &mut App, want: &[&str]) {
    let rows = rows(app);
    assert_eq!(rows, want, "\n{}", rows.join("\n"));
}

#[test]
fn a_failed_build_is_a_tree_with_one_red_branch() {
    let mut app = tree(80, 24, &mut build());
    let shown = screen(&mut app);
    assert_eq!(shown[1], " 1 Events  2 Tree  3 Top  4 BPF │ f filter         2 running  2 failed  2 ended");
    assert_eq!(shown[2], "   PID STATE      LIVED     CPU OPENS COMMAND");
    check_rows(
        &mut app,
        &[
            "   100 running   10.0 s       -     1 ▾ make -j8 all  (parent unknown)",
            "   101 exit 0    10.0 s    1 ms     ·   ▸ cc -c main.c  › cc1",
            "   103 exit 126  10.0 s    1 ms     ·   ▾ sh -c ./link  EACCES ld",
            ">  104 exit 126  10.0 s    1 ms     ·     ! /opt/bin/ld main.o -o app  EACCES",
            "   105 running   10.0 s       -     ·     sleep 9",
        ],
    );
    // Only the branch from the root to the failed process is red.
    let buffer = drawn(&mut app, Theme::default());
    let red =
        |y: u16| (0..80u16).filter(|x| buffer[(*x, y)].fg == Color::Red).map(|x| buffer[(x, y)].symbol()).collect();
    let red: Vec<String> = (3..8).map(red).collect();
    assert_eq!(red, ["▾ ", "", "exit 126  ▾ EACCES ld", "exit 126    ! EACCES", ""]);
    // With `--comm make`, the exit of a child is not delivered as an event, but the process table knows it.
    let mut made = build();
    made.like.flags |= flag::BOOKKEEPING;
    made.exit(105, "sleep", 0);
    let mut app = tree(80, 24, &mut made);
    app.update(Input::Tick(Tick { now: Duration::from_secs(5), usage: None }));
    assert!(screen(work(&mut app))[1].contains("1 running  2 failed  3 ended"), "{}", screen(&mut app)[1]);
    assert!(rows(&mut app)[2].starts_with(">  104 exit 126"), "{:?}", rows(&mut app));
    assert!(rows(&mut app)[3].ends_with("▸ cc, sleep › cc1"), "{:?}", rows(&mut app));
    // Processes whose parent is unknown stand for themselves.
    let mut made = Maker::default();
    made.like.ppid.0 = 7;
    made.exec(50, "lonely", &["lonely"], 0);
    start(&mut made, (50, "lonely"), 51, &["child"]);
    made.acts("50 lonely exit 0; 51 child open /x");
    let mut app = tree(80, 24, &mut made);
    let shown = rows(&mut app);
    assert!(shown[0].contains("exit 0") && shown[0].ends_with("▾ lonely  (parent unknown)"), "{}", shown[0]);
    assert!(
        shown[1].contains("running") && shown[1].ends_with("·     child") || shown[1].ends_with("1     child"),
        "it stays below its parent"
    );
}

#[test]
fn processes_are_folded_and_unfolded() {
    let mut app = tree(80, 24, &mut build());
    let row = ">  100 running   10.0 s       -     1 ▸ make -j8 all  › cc, cc1, sh …  2 failed";
    check_rows(keys(&mut app, "gh"), &[row]);
    assert_eq!(rows(keys(&mut app, "l")).len(), 5);
    assert!(rows(keys(&mut app, "jl"))[2].ends_with("    cc1 -quiet main.c"), "{:#?}", rows(&mut app));
    assert!(rows(keys(&mut app, "-"))[1].ends_with("▸ cc -c main.c  › cc1"), "{:#?}", rows(&mut app));
    // To the parent, and to the first child.
    assert!(rows(keys(&mut app, "-"))[0].starts_with(">  100"));
    assert!(rows(keys(&mut app, "l"))[1].starts_with(">  101"));
    // The fold hides the selected process, so its ancestor is selected.
    assert_eq!(rows(keys(&mut app, "llkk")).len(), 6);
    assert!(rows(keys(&mut app, "h"))[0].starts_with(">  100"));
    // Ancestors without events are one line.
    let mut made = Maker::default();
    for (pid, parent, name) in [(1, 0, "init"), (20, 1, "sshd"), (30, 20, "bash")] {
        let (comm, ppid, start) = (name.as_bytes().to_vec(), Tgid(parent), BootNanos(pid.into()));
        let seed = ProcessSeed { tgid: Tgid(pid), ppid, start, start_exact: true, comm, ..ProcessSeed::default() };
        made.host(&HostFrame::ProcessSeed(seed));
    }
    made.like.ppid.0 = 30;
    made.exec(100, "make", &["make"], 0);
    start(&mut made, (100, "make"), 101, &["cc", "x.c"]);
    let mut app = tree(100, 24, &mut made);
    let line = "                                      init › sshd › bash   3 ancestors, Left shows";
    let shown = rows(&mut app);
    assert_eq!((shown[0].as_str(), shown.len()), (line, 3), "{}", shown.join("\n"));
    assert_eq!(rows(keys(&mut app, "gh")).len(), 5, "{:#?}", rows(&mut app));
    assert_eq!(rows(keys(&mut app, "l")).len(), 3);
}

#[test]
fn children_that_ended_well_are_one_row() {
    let mut made = build();
    for i in 0..60 {
        start(&mut made, (100, "make"), 200 + 2 * i, &["cc", "-c"]);
        start(&mut made, (200 + 2 * i, "cc"), 201 + 2 * i, &["cc1"]);
        made.open(201 + 2 * i, "cc1", "/x.c", 3);
        made.exit(201 + 2 * i, "cc1", 0);
        made.exit(200 + 2 * i, "cc", 0);
    }
    let mut app = tree(100, 100, &mut made);
    let shown = rows(&mut app);
    assert_eq!(shown.len(), 5, "{}", shown.join("\n"));
    assert!(shown[2].starts_with(">  104"), "what failed is not folded, and selected");
    let ended = "       exit 0            183 ms    62   ▸ 61 × cc › cc1   slowest cc1 10.4 s";
    assert_eq!(shown[4], ended);
    assert!(screen(&mut app)[1].contains("2 running  2 failed  122 ended"), "{}", screen(&mut app)[1]);
    // Right shows them, and Left goes back step by step.
    assert_eq!(rows(keys(&mut app, "Gl")).len(), 65);
    assert_eq!(rows(keys(&mut app, "gh")).len(), 5);
    assert_eq!(rows(keys(&mut app, "h")).len(), 1);
    // A search finds them.
    let found = rows(keys(&mut app, "l/^301\n"));
    assert!(found.iter().any(|row| row.starts_with(">  301 exit 0 ")), "{}", found.join("\n"));
    // What passes the filter is not folded away.
    for i in 0..60 {
        start(&mut made, (100, "make"), 200 + 2 * i, &["cc", "-c"]);
        start(&mut made, (200 + 2 * i, "cc"), 201 + 2 * i, &["as"]);
        made.exit(201 + 2 * i, "as", 0);
        made.exit(200 + 2 * i, "cc", 0);
    }
    let mut app = tree(80, 140, &mut made);
    work(keys(&mut app, "fcomm=as\n"));
    let shown = rows(&mut app);
    assert_eq!(shown.iter().filter(|row| row.ends_with("      as")).count(), 60, "{}", shown.join("\n"));
}

#[test]
fn the_tree_of_an_earlier_moment_is_as_it_was_then() {
    let mut made = build();
    let mut app = tree(80, 24, &mut made);
    let now = rows(&mut app);
    // Up to the first exec of cc1.
    let shown = screen(keys(&mut app, "1gjjj2"));
    assert!(shown[1].contains(" AS OF 14:02:11.006 "), "{}", shown[1]);
    check_rows(
        &mut app,
        &[
            "   100 running   10.0 s       -     1 ▾ make -j8 all  (parent unknown)",
            "   101 running   10.0 s       -     ·   ▾ cc -c main.c",
            ">  102 running   10.0 s       -     ·       cc1 -quiet main.c",
        ],
    );
    keys(&mut app, "e");
    // The list has only failures now, so another row is selected.
    assert!(rows(&mut app).last().is_some_and(|row| row.contains("! /opt/bin/ld")), "{:#?}", screen(&mut app));
    keys(&mut app, "e");
    // Events that arrive meanwhile are not shown, but still counted.
    for _ in 0..10 {
        made.open(100, "make", "/y", 3);
    }
    assert_eq!(rows(feed(&mut app, &mut made)).len(), 3);
    assert!(rows(&mut app)[0].contains("  1 ▾ make"), "{}", rows(&mut app)[0]);
    assert!(rows(keys(&mut app, "1jj2"))[2].contains("  2       cc1"), "{:#?}", rows(&mut app));
    assert!(rows(keys(&mut app, "F"))[0].contains(" 11 ▾ make"), "{}", rows(&mut app)[0]);
    assert_eq!(rows(&mut app)[1..], now[1..]);
    // Enter shows the events of the branch, and Esc goes back.
    let mut app = tree(80, 24, &mut build());
    assert_eq!((keys(&mut app, "\n").views.shown, app.filter.text().as_str()), (View::Events, "tree=104"));
    let selected = screen(&mut app).into_iter().find(|line| line.starts_with('>')).unwrap_or_default();
    assert!(selected.contains("EACCES") && selected.contains("/opt/bin/ld"), "{selected}");
    assert_eq!((keys(&mut app, "\x1b").views.shown, app.filter.text().as_str()), (View::Tree, ""));
    assert!(app.events().follows && rows(&mut app).len() == 5);
    // The events of another branch replace those of the first.
    assert_eq!(keys(&mut app, "\n2g\n").filter.text(), "tree=100");
    // Leaving another filter works as usual.
    assert_eq!((keys(&mut app, "c\x1b").views.shown, app.filter.text().as_str()), (View::Events, "tree=100"));
    assert_eq!(keys(&mut app, "\x1b").views.shown, View::Tree);
}

#[test]
fn the_selected_process_stays_where_it_is_while_others_come() {
    let mut made = Maker::default();
    made.exec(100, "make", &["make"], 0);
    for pid in 200..300 {
        start(&mut made, (100, "make"), pid, &["cc"]);
    }
    let mut app = tree(80, 24, &mut made);
    keys(&mut app, "kkkkkkkkkk");
    let place = |app: &mut App| screen(app).iter().position(|line| line.starts_with('>'));
    let (before, row) = (place(&mut app), rows(&mut app).into_iter().find(|row| row.starts_with('>')));
    for pid in 300..340 {
        start(&mut made, (250, "cc"), pid, &["early"]);
    }
    assert_eq!(place(feed(&mut app, &mut made)), before);
    let same = rows(&mut app).into_iter().find(|row| row.starts_with('>'));
    assert_eq!(same.map(|row| row[..9].to_owned()), row.map(|row| row[..9].to_owned()));
    // An order by counts stands still while the selection moves.
    let mut made = Maker::default();
    made.exec(100, "make", &["make"], 0);
    for pid in 201..204 {
        start(&mut made, (100, "make"), pid, &["cc"]);
        (0..pid - 200).for_each(|_| made.open(pid, "cc", "/x", 3));
    }
    let mut app = tree(80, 24, &mut made);
    let order =
        |app: &mut App| -> Vec<String> { rows(app)[1..].iter().map(|row| row[1..6].trim().to_owned()).collect() };
    assert_eq!(order(keys(&mut app, "gss")), ["203", "202", "201"]);
    keys(&mut app, "j");
    (0..9).for_each(|_| made.open(201, "cc", "/x", 3));
    assert_eq!(order(feed(&mut app, &mut made)), ["203", "202", "201"], "the selection has just been moved");
    app.update(Input::Tick(crate::app::Tick { now: std::time::Duration::from_secs(60), usage: None }));
    assert_eq!(order(&mut app), ["201", "203", "202"]);
    // A paused tree stays.
    let mut made = build();
    let mut app = tree(80, 24, &mut made);
    let before = rows(keys(&mut app, "g "));
    start(&mut made, (100, "make"), 106, &["late"]);
    assert_eq!(rows(feed(&mut app, &mut made)), before);
    assert_eq!(rows(keys(&mut app, " ")).len(), before.len() + 1);
}

#[test]
fn processes_are_found_and_filtered_with_their_ancestors() {
    let mut app = tree(80, 24, &mut build());
    assert!(rows(keys(&mut app, "/main.c\n"))[1].starts_with(">  101"), "{:#?}", rows(&mut app));
    assert!(rows(keys(&mut app, "n"))[2].starts_with(">  102"), "{:#?}", rows(&mut app));
    assert!(rows(keys(&mut app, "/make|sleep\n"))[0].starts_with(">  100"), "{:#?}", rows(&mut app));
    assert!(rows(keys(&mut app, "n"))[4].starts_with(">  105"));
    assert!(rows(keys(&mut app, "nN"))[4].starts_with(">  105"));
    assert!(app.events().follows, "the events are not searched");
    let mut app = tree(80, 24, &mut build());
    for (typed, filter) in
        [("jkp", "pid=104"), ("c", "comm=sh"), ("u", "uid=1000"), ("x", "not comm=sh"), ("P", "tree=104")]
    {
        keys(keys(&mut app, "\x12"), "2");
        assert_eq!(keys(&mut app, typed).filter.text(), filter);
        assert_eq!(app.views.shown, View::Tree);
    }
    // Only failed processes and those of a filter with their ancestors.
    let mut app = tree(80, 24, &mut build());
    let shown: Vec<_> = rows(keys(&mut app, "e")).iter().map(|row| row[1..6].trim().to_owned()).collect();
    assert_eq!(shown, ["100", "103", "104"]);
    assert!(drawn(&mut app, Theme::default())[(4, 3)].modifier.contains(Modifier::DIM), "it did not fail");
    // A filter keeps ancestors and descendants.
    let mut app = tree(80, 24, &mut build());
    let shown: Vec<_> = rows(keys(&mut app, "fcomm=cc\n")).iter().map(|row| row[1..6].trim().to_owned()).collect();
    assert_eq!(shown, ["100", "101"]);
    assert!(rows(&mut app)[1].ends_with("▸ cc -c main.c  › cc1"), "{:#?}", rows(&mut app));
    let dim = |app: &mut App, y| drawn(app, Theme::default())[(4, y)].modifier.contains(Modifier::DIM);
    assert!(dim(keys(&mut app, "j"), 3), "an ancestor is not of interest by itself");
    // New events are filtered too.
    let mut made = build();
    made.ns += 1_000_000_000;
    made.batch = Default::default();
    start(&mut made, (100, "make"), 106, &["cc", "-c", "new.c"]);
    start(&mut made, (100, "make"), 107, &["as"]);
    let shown: Vec<_> = rows(feed(&mut app, &mut made)).iter().map(|row| row[1..6].trim().to_owned()).collect();
    assert_eq!(shown, ["100", "101", "106"]);
    assert_eq!(rows(keys(&mut app, "\x1b")).len(), 7);
}

#[test]
fn what_is_copied_as_a_command_is_what_the_row_shows() {
    let copied = |app: &mut App| testing::copied(press(app, 'Y')).unwrap_or_default();
    let mut app = tree(80, 24, &mut build());
    let line = testing::copied(press(keys(&mut app, "k"), 'y')).unwrap_or_default();
    assert_eq!(line, "103 exit 126 10.0 s sh -c ./link from sh: EACCES /opt/bin/ld");
    assert_eq!(copied(keys(&mut app, "/main.o\n")), "ld main.o -o app");
    assert_eq!(copied(keys(&mut app, "/cc1\n")), "/usr/lib/gcc/12/cc1 -quiet main.c");
    let mut made = build();
    let long = "x".repeat(3_000);
    fail(&mut made, 105, "sleep", "/opt/bin/tool", format!("/opt/bin/tool\0{long}\0").as_bytes(), -2);
    let mut app = tree(80, 24, &mut made);
    assert_eq!(copied(keys(&mut app, "/tool\n")), format!("/opt/bin/tool {long}"));
    // Memory is bounded, and what failed is kept longest.
    let (mut app, mut made) = (self::app(80, 24, 8 << 20), Maker::default());
    made.exec(1_000, "make", &["make"], 0);
    for pid in 2_000..12_000 {
        start(&mut made, (1_000, "make"), pid, &["cc", "-c"]);
        made.exit(pid, "cc", if pid == 2_500 { 2 << 8 } else { 0 });
        if pid % 100 == 0 {
            feed(&mut app, &mut made);
        }
    }
    keys(feed(&mut app, &mut made), "2");
    let shown = rows(&mut app);
    assert!(app.views.tree.nodes.bytes() <= (8 << 20) / 16, "{}", app.views.tree.nodes.bytes());
    assert!(app.views.tree.nodes.left_out > 1_000);
    assert!(shown.iter().any(|row| row.starts_with(">") && row.contains("2500 exit 2")), "{}", shown.join("\n"));
    assert!(Memory::of(&app).used() <= 8 << 20);
}

#[test]
fn every_size_and_every_name_can_be_drawn() {
    let hostile = "\x1b[2J\x07\u{9b}31m\u{202e}\u{200b}\r\n\t漢字";
    let mut made = build();
    start(&mut made, (100, "make"), 300, &[hostile, hostile]);
    made.fork(300, hostile, 301);
    fail(&mut made, 301, hostile, &hostile.repeat(50), &hostile.repeat(50).into_bytes(), -13);
    made.open(300, hostile, hostile, -13);
    // A line of descent deeper than the screen is wide.
    for pid in 400..600 {
        start(&mut made, (pid - 1, hostile), pid, &[hostile, "x"]);
    }
    check_draws(&made, &SIZES, "2", &["", "e", "g", "G", "gh", "s", "i", "?", "fcomm=", "/x", "  "]);
    // Columns stay aligned.
    let mut app = app(120, 40, MEMORY);
    app.update(Input::Batch(made.batch.clone()));
    app.update(Input::SourceEnded);
    work(keys(&mut app, "2g"));
    for row in rows(&mut app) {
        let opens: String = row.chars().skip(31).take(6).collect();
        assert!([" ", "·"].contains(&opens.trim()) || opens.trim().parse::<u64>().is_ok(), "{row}");
    }
    // Small and wide screens have the columns that fit.
    let mut app = tree(40, 10, &mut build());
    let shown = screen(&mut app);
    assert_eq!(shown[1], " 1  2 Tree  3  4 │ f filter    2 failed");
    assert_eq!(shown[2], "   PID STATE    COMMAND");
    assert!(shown[6].starts_with(">  104 exit 126     ! …/ld"), "{}", shown.join("\n"));
    let shown = screen(&mut tree(159, 50, &mut build()));
    assert_eq!(shown[2], "   PID STATE      LIVED     CPU OPENS COMMAND");
    // Without colour, every meaning is a word or a sign.
    let mut app = tree(80, 24, &mut build());
    let theme = Theme { colours: Colours::None, charset: tracetui_events::text::Charset::Ascii };
    let buffer = drawn(&mut app, theme);
    assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    assert!(buffer.content().iter().all(|cell| cell.symbol().is_ascii()));
    let row: String = (0..80).map(|x| buffer[(x, 6)].symbol()).collect();
    assert_eq!(row.trim_end(), ">  104 exit 126  10.0 s    1 ms     -     ! /opt/bin/ld main.o -o app  EACCES");
}

fn selected(app: &mut App) -> String {
    rows(app).into_iter().find(|row| row.starts_with('>')).unwrap_or_default()
}

#[test]
fn why_explains_the_process_that_is_selected_in_the_tree() {
    let mut app = tree(80, 30, &mut build());
    keys(&mut app, "1gj2");
    // A click sets the tree's own selection.
    screen(&mut app);
    mouse(&mut app, CLICK, 20, 3);
    assert_eq!(keys(&mut app, "W").screen.message(), Some("process 100 did not fail"));
    assert!(app.detail.size.is_none());
    assert!(selected(keys(&mut app, "F")).contains(" 104 exit 126"), "{}", selected(&mut app));
    let shown = screen(keys(&mut app, "W")).join("\n");
    assert_eq!(app.views.shown, View::Events);
    assert!(shown.contains("── 104 sh ── EXEC EACCES"), "{shown}");
    assert_eq!(keys(&mut app, "\x1b\x1b").views.shown, View::Tree);
    assert!(selected(&mut app).contains(" 104 exit 126"), "{}", selected(&mut app));
    // The tree selects the process of the selected event.
    let mut made = build();
    made.exit(105, "sleep", 0);
    let mut app = tree(80, 30, &mut made);
    // The processes are folded.
    assert!(selected(keys(&mut app, "gG")).contains("▸ cc, sleep › cc1"), "{}", selected(&mut app));
    for (event, process) in [("g", " 100 "), ("gjjjjj", " 102 "), ("Gk", " 105 ")] {
        let of = keys(&mut app, &format!("a1{event}")).selected().expect("an event").header().tgid.0;
        assert!(selected(keys(&mut app, "2")).contains(process), "{of}: {}", selected(&mut app));
        assert_eq!(format!(" {of} "), process);
    }
    // Going back to the tree keeps its selection.
    assert_eq!(keys(&mut app, "gj\n").views.shown, View::Events);
    assert!(selected(keys(&mut app, "\x1b")).contains(" 101 "), "{}", selected(&mut app));
}

#[test]
fn the_tree_shows_and_sorts_by_what_processes_used() {
    use tracetui_shared::kind::Slot;
    use tracetui_shared::record::exit::{Cost, ExitRecord, fact};
    use zerocopy::IntoBytes;
    let mut made = Maker::default();
    made.exec(100, "make", &["make"], 0);
    for (pid, seconds, mib) in [(101, 1, 300), (102, 9, 20), (103, 2, 4)] {
        start(&mut made, (100, "make"), pid, &["cc"]);
        let cost = Cost { runtime: seconds * 1_000_000_000, max_rss: mib << 20, ..Cost::default() };
        let exit = ExitRecord { facts: fact::COST, cost, ..ExitRecord::default() };
        made.event(Slot::Exit, pid, "cc", exit.as_bytes());
    }
    // A recording of an earlier version.
    start(&mut made, (100, "make"), 104, &["cc"]);
    made.event(Slot::Exit, 104, "cc", ExitRecord::default().as_bytes());
    let mut app = tree(220, 24, &mut made);
    app.screen.columns.choose(View::Tree, vec!["pid", "cpu", "opens", "memory"]);
    keys(&mut app, "Gl");
    let order = |app: &mut App| -> Vec<String> {
        let pid = |row: &String| row.trim_start_matches(['>', ' ']).split(' ').next().map(str::to_owned);
        screen(app).iter().filter(|row| row.contains("    cc")).filter_map(pid).collect()
    };
    let row = |app: &mut App, pid: &str| {
        let of = |row: &String| row.trim_start_matches(['>', ' ']).starts_with(pid);
        screen(app).into_iter().find(of).unwrap_or_default()
    };
    assert_eq!(order(&mut app), ["101", "102", "103", "104"]);
    let shown = row(&mut app, "101 ");
    assert!(shown.contains("   1.0 s     ·  300.0 MiB "), "{shown}");
    let (unknown, running) = (row(&mut app, "104 "), row(&mut app, "100 "));
    assert!(
        unknown.contains("      -     ·          - ") && running.contains("      -     ·          - "),
        "{unknown}\n{running}"
    );
    for (key, said, sorted) in [
        ("sss", "sorted by cpu", ["102", "103", "101", "104"]),
        ("s", "sorted by memory", ["101", "102", "103", "104"]),
    ] {
        assert_eq!(keys(&mut app, key).screen.message(), Some(said));
        assert_eq!(order(&mut app), sorted);
    }
    // What running processes use.
    use crate::app::{Effect, Input, Tick, Usage};
    use std::time::Duration;
    let mut made = Maker::default();
    made.exec(100, "make", &["make"], 0);
    start(&mut made, (100, "make"), 101, &["cc"]);
    start(&mut made, (100, "make"), 102, &["ld"]);
    let mut app = tree(159, 24, &mut made);
    let second = |app: &mut App, at: u64, cpu: &[(&str, u64)]| {
        let effects = app.update(Input::Tick(Tick { now: Duration::from_secs(at), usage: None }));
        let wanted = effects.iter().find_map(|effect| match effect {
            Effect::Measure(keys) => Some(keys.clone()),
            _ => None,
        });
        let usages = wanted.expect("the tree is shown").into_iter().filter_map(|key| {
            let (_, cpu) = cpu.iter().find(|(pid, _)| *pid == key.tgid.0.to_string())?;
            Some((key, Usage { cpu: Duration::from_millis(*cpu), resident: 5 << 20 }))
        });
        app.measured(&usages.collect::<Vec<_>>());
    };
    // Without an event, only a busy process has a row.
    let seed = |pid| ProcessSeed { tgid: Tgid(pid), start: BootNanos(7), start_exact: true, ..ProcessSeed::default() };
    (300..302).for_each(|pid| made.host(&HostFrame::ProcessSeed(seed(pid))));
    second(feed(&mut app, &mut made), 1, &[("101", 0), ("102", 7_000), ("300", 10_000), ("301", 10_000)]);
    second(&mut app, 3, &[("101", 20), ("102", 9_000), ("300", 10_000), ("301", 11_000)]);
    second(&mut app, 4, &[]);
    let shown = rows(&mut app);
    assert!(shown[2].contains("    1 % ") && shown[3].contains("  100 % "), "{shown:#?}");
    let busy = |pid: &str| shown.iter().any(|row| row.contains(pid) && row.contains("   50 % "));
    assert!(busy(" 301 ") && !shown.iter().any(|row| row.contains(" 300 ")), "{shown:#?}");
    let shown = rows(keys(&mut app, "sss"));
    let at = |command: &str| shown.iter().position(|row| row.contains(command));
    assert!(at(" 301 ") < at("▾ make") && at("▾ make") < at("  ld") && at("  ld") < at("  cc"), "{shown:#?}");
    let effects = keys(&mut app, "1").update(Input::Tick(Tick { now: Duration::from_secs(5), usage: None }));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Measure(_))), "nobody looks at it");
}

/// The number of a file instead of a pipe.
const FILE: u64 = u64::MAX;

/// A program between two pipes; 0 is the terminal.
fn piped(made: &mut Maker, parent: (u32, &str), pid: u32, argv: &[&str], pipes: [u64; 2]) {
    use tracetui_events::synthetic::payload::Exec;
    use tracetui_shared::kind::Slot;
    use tracetui_shared::record::exec::{Stdio, stdio};
    use tracetui_shared::record::mark;
    let of = |ino: u64| Stdio {
        state: stdio::OPEN,
        mode: match ino {
            0 => libc::S_IFCHR,
            FILE => libc::S_IFREG,
            _ => libc::S_IFIFO,
        } as u16,
        flags: if ino == FILE { libc::O_WRONLY as u16 } else { 0 },
        device: 136 << 20,
        ino,
        names_marks: if [0, FILE].contains(&ino) { 0 } else { mark::PSEUDO },
        ..Stdio::default()
    };
    made.fork(parent.0, parent.1, pid);
    made.like.ppid.0 = parent.0;
    let area: Vec<u8> = argv.iter().flat_map(|arg| [arg.as_bytes(), b"\0"].concat()).collect();
    let tty: &[u8] = b"3\0pts\0dev\0";
    let files = pipes.map(|ino| match ino {
        0 => tty,
        FILE => b"log\0tmp\0",
        _ => b"",
    });
    let exec = Exec { filename: argv[0].as_bytes(), argv: &area, ..Exec::default() };
    let stdio = [of(pipes[0]), of(pipes[1]), of(0)];
    let record = ExecRecord { argc: argv.len() as u32, ..ExecRecord::default() };
    made.event(Slot::Exec, pid, argv[0], &exec.with(record, stdio, [files[0], files[1], tty]));
}

#[test]
fn a_pipeline_is_joined_at_its_pipes() {
    let mut made = Maker::default();
    made.like.ppid.0 = 1;
    made.exec(100, "bash", &["bash"], 0);
    piped(&mut made, (100, "bash"), 101, &["make", "-j8"], [0, 7]);
    // It inherits the pipe.
    piped(&mut made, (101, "make"), 102, &["cc"], [0, 7]);
    made.like.ppid.0 = 100;
    piped(&mut made, (100, "bash"), 103, &["grep", "error"], [7, 8]);
    piped(&mut made, (100, "bash"), 104, &["tee", "build.log"], [8, 0]);
    // Nobody known reads it.
    piped(&mut made, (100, "bash"), 105, &["yes"], [0, 9]);
    let mut app = tree(80, 24, &mut made);
    let want = [
        "▾ bash  (parent unknown)",
        "▾ make -j8  ┃ grep error",
        " cc",
        "grep error  ┃ tee build.log",
        " tee build.log",
        " yes",
    ];
    let ends = |rows: &[String], want: &[&str]| rows.iter().zip(want).all(|(row, want)| row.ends_with(want));
    assert!(ends(&rows(&mut app), &want), "{:#?}", rows(&mut app));
    let line = testing::copied(press(keys(&mut app, "ggj"), 'y')).unwrap_or_default();
    assert!(line.ends_with(" make -j8 ┃ grep error"), "{line}");
    // The reader executes another program with the terminal as its stdin.
    made.exec(103, "grep", &["grep"], 0);
    assert!(rows(feed(&mut app, &mut made))[1].ends_with("make -j8"), "{:#?}", rows(&mut app));
    // A redirection is shown where it was made.
    let mut made = Maker::default();
    made.like.ppid.0 = 1;
    made.exec(100, "bash", &["bash"], 0);
    piped(&mut made, (100, "bash"), 101, &["make"], [0, FILE]);
    // It inherits the file.
    piped(&mut made, (101, "make"), 102, &["cc"], [0, FILE]);
    // So does this one, with another input.
    piped(&mut made, (101, "make"), 103, &["sed"], [FILE, FILE]);
    // This one has it from a subshell.
    made.fork(101, "make", 104);
    piped(&mut made, (104, "make"), 105, &["ld"], [0, FILE]);
    let mut app = tree(80, 24, &mut made);
    let want =
        ["bash  (parent unknown)", "  ▾ make  >/tmp/log", "  cc", "  sed  0>/tmp/log >/tmp/log", "(forked)", "  ld"];
    assert!(ends(&rows(&mut app), &want), "{:#?}", rows(&mut app));
    let copied = |app: &mut App, key| testing::copied(press(app, key)).unwrap_or_default();
    assert_eq!(copied(keys(&mut app, "ggj"), 'Y'), "make >/tmp/log");
    assert!(copied(&mut app, 'y').ends_with(" make >/tmp/log"));
}
