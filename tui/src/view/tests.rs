//! The dashboard from its inputs to the screen.

mod hostile;
mod movie;
mod snapshots;

use super::theme::{Colours, Theme};
use crate::app::copy::Wrap;
use crate::app::keys::keymap::Section;
use crate::app::prompt::Purpose;
use crate::app::replay::{Replay, Speed, Target};
use crate::app::testing::{CLICK, app, copied, feed, keys, mouse, press, traced, work};
use crate::app::views::detail::{Size, Subject};
use crate::app::{App, Effect, ExitLine, Extent, Input, Memory, Signal, SourceState, Tick, Usage};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseEventKind};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use std::time::Duration;
use tracetui_events::frame::host::{
    BpfHidden, Cgroup, CommandOutput, Container, Excerpt, Group, Host, HostFrame, ProcessSeed, Trace, User,
};
use tracetui_events::pipeline::Pipeline;
use tracetui_events::playback::timeline::{End, Facts};
use tracetui_events::synthetic::{Maker, payload};
use tracetui_events::text::{Charset, is_hostile};
use tracetui_events::why::{Answer, Basis, Cause};
use tracetui_shared::calls::file;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::{CgroupId, Gid, NsInum, ProgId, Tgid, Uid};
use tracetui_shared::kind::{Kind, KindSet, Slot};
use tracetui_shared::record::open::{CREATED, OpenRecord};
use tracetui_shared::time::BootNanos;

pub(super) const MEMORY: u64 = 64 << 20;

pub(crate) fn drawn(app: &mut App, theme: Theme) -> Buffer {
    let (width, height) = (app.screen.width, app.screen.height);
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    let mut extent = Extent::default();
    app.prepare();
    terminal.draw(|frame| extent = super::draw(frame, app, theme)).expect("draws");
    app.drew(extent);
    terminal.backend().buffer().clone()
}

/// The screen as lines without trailing spaces.
pub(crate) fn screen(app: &mut App) -> Vec<String> {
    let buffer = drawn(app, Theme::default());
    let rows = buffer.content().chunks(usize::from(buffer.area.width.max(1)));
    rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()).collect()
}

pub(super) fn rows(app: &mut App) -> Vec<String> {
    let shown = screen(app);
    let end = shown.len() - 2;
    shown[3..end].iter().filter(|line| !line.is_empty()).cloned().collect()
}

pub(super) fn row_with(app: &mut App, part: &str) -> String {
    rows(app).into_iter().find(|row| row.contains(part)).unwrap_or_default()
}

#[track_caller]
pub(super) fn check_shows(app: &mut App, parts: &[&str]) {
    let shown = screen(app).join("\n");
    for part in parts {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
}

#[track_caller]
fn check_lacks(app: &mut App, parts: &[&str]) {
    let shown = screen(app).join("\n");
    for part in parts {
        assert!(!shown.contains(part), "{part} in\n{shown}");
    }
}

pub(super) const SIZES: [(u16, u16); 9] =
    [(1, 1), (2, 2), (10, 5), (20, 6), (40, 10), (80, 24), (120, 40), (160, 50), (200, 60)];

/// Draws a view of these frames after each of these keys: no cell controls the terminal, and a plain screen is ASCII.
pub(super) fn check_draws(made: &Maker, sizes: &[(u16, u16)], view: &str, typed: &[&str]) {
    let plain = Theme { colours: Colours::None, charset: Charset::Ascii };
    for ((width, height), typed) in sizes.iter().flat_map(|size| typed.iter().map(move |typed| (*size, *typed))) {
        let mut app = app(width, height, MEMORY);
        app.update(Input::Batch(made.batch.clone()));
        app.update(Input::SourceEnded);
        keys(keys(&mut app, view), typed);
        let buffer = drawn(&mut app, Theme::default());
        let hostile = buffer.content().iter().find(|cell| cell.symbol().contains(is_hostile));
        assert_eq!(hostile, None, "{width}x{height} after {typed:?}");
        let buffer = drawn(&mut app, plain);
        assert!(buffer.content().iter().all(|cell| cell.symbol().is_ascii() && cell.fg == Color::Reset));
    }
}

pub(super) fn build() -> Maker {
    let mut made = Maker::default();
    made.exec(48_213, "make", &["make", "-j8", "all"], 0);
    made.open(48_213, "make", "/home/ana/app/Makefile", 3);
    made.exec(48_214, "cc", &["cc", "-O2", "-c", "main.c"], 0);
    made.open(48_214, "cc", "/usr/local/lib/gcc/x86_64-linux-gnu/12/include-fixed/include-fixed", -2);
    made.lost(1204);
    made.acts("48214 cc exit 0; 48217 ld exec:-13 ld main.o, exit 127");
    made
}

fn opens(count: usize, memory: u64) -> App {
    let mut app = app(80, 24, memory);
    more_opens(&mut app, &mut Maker::default(), 0..count);
    app
}

fn more_opens(app: &mut App, made: &mut Maker, which: std::ops::Range<usize>) {
    for i in which {
        made.open(100 + (i % 3) as u32, ["cat", "dog", "a b"][i % 3], &format!("/f/{i}"), 3);
    }
    feed(app, made);
}

#[test]
fn what_hides_is_red_and_what_looks_like_an_escape_differs() {
    let mut app = app(80, 24, MEMORY);
    let mut made = build();
    let hidden = BpfHidden { id: ProgId(7), name: b"bpf_prog_00000000000000ab_rk".to_vec(), ..BpfHidden::default() };
    made.host(&HostFrame::BpfHidden(hidden));
    feed(&mut app, &mut made);
    let row = screen(&mut app).iter().position(|line| line.contains("hidden program prog#7 rk")).expect("its row");
    let buffer = drawn(&mut app, Theme::default());
    let width = usize::from(buffer.area.width);
    let cells = |row: usize| buffer.content()[row * width + 1..].iter().take(width - 1).filter(|c| c.symbol() != " ");
    assert!(cells(row).all(|cell| cell.fg == Color::Red), "{:?}", cells(row).map(|cell| cell.fg).collect::<Vec<_>>());
    assert!(cells(row - 1).any(|cell| cell.fg != Color::Red));
    // A name that looks like an escape differs from one.
    let (mut app, mut made) = (self::app(120, 24, MEMORY), Maker::default());
    made.open(100, "cat", "/tmp/\x1b[31m", 3);
    made.open(100, "cat", r"/tmp/\x1b[31m", 3);
    check_shows(feed(&mut app, &mut made), &["/tmp/\\x1b[31m\n", "/tmp/\\\\x1b[31m\n"]);
    // The tree and Top too.
    made.exec(101, "a", &["\x1b[31m"], 0);
    made.exec(102, "a", &[r"\x1b[31m"], 0);
    check_shows(keys(feed(&mut app, &mut made), "2"), &[r" \x1b[31m ", r" \\x1b[31m "]);
    check_shows(keys(&mut app, "3l"), &[r" /tmp/\x1b[31m ", r" /tmp/\\x1b[31m "]);
    // A long name loses its middle.
    let mut made = Maker::default();
    let record = OpenRecord { ret: 3, how_marks: CREATED, ..OpenRecord::default() };
    let name = format!("{}.rcgu.o", "5f".repeat(60));
    let names = format!("{name}\0cache\0var\0");
    made.event(Slot::Open, 7, "cc", &payload::open(record, names.as_bytes(), name.as_bytes()));
    let mut app = self::app(80, 24, MEMORY);
    let row = screen(feed(&mut app, &mut made))[3].clone();
    assert!(row.contains("…/5f5f") && row.ends_with("5f.rcgu.o  (created)"), "{row}");
}

#[test]
fn the_loss_report_begins_with_the_verdict_and_leads_to_the_gaps() {
    let mut app = app(120, 40, MEMORY);
    let mut made = build();
    keys(feed(&mut app, &mut made), "!");
    let all = |report: &[String]| -> Vec<u64> {
        let line = report.iter().find(|line| line.trim_start().starts_with("all")).expect("a row");
        line.split_whitespace().skip(1).map(|number| number.replace(',', "").parse().expect("a number")).collect()
    };
    let inside = |app: &mut App| -> Vec<String> { screen(app).split_off(2) };
    let report = inside(&mut app);
    assert_eq!(report[1], "  Events were lost: the list has gaps. The counters are not read yet.");
    assert_eq!(all(&report), [7, 7, 0, 0, 0, 0], "what was delivered was seen");
    made.lose(1204);
    made.counters(false);
    let report = inside(feed(&mut app, &mut made));
    assert_eq!(report[1], "  1,204 opens lost: 99.4 % of all events, in 1 gap (n goes there)");
    assert!(report[2].starts_with("  ring full: start with --ring-size"), "{}", report[2]);
    let all = all(&report);
    assert_eq!(all[0], all[1..].iter().sum::<u64>(), "{all:?}");
    assert!(report.iter().any(|line| line.starts_with("  as of ")), "the counters were compared: {report:#?}");
    assert!(report.iter().any(|line| line.contains("1,204 opens: kernel ring full")), "{report:#?}");
    assert!(keys(&mut app, "n").screen.overlay.is_none());
    assert!(selected(&mut app).contains("1,204 opens lost here"), "{}", selected(&mut app));
    assert!(screen(&mut app)[1].contains("/kind=lost  1/1"), "{}", screen(&mut app)[1]);
    keys(&mut app, "fkind=lost\n");
    assert!(screen(&mut app)[1].ends_with("shown 0 of 7 + 1 gap") || screen(&mut app)[1].ends_with("0 of 7 + 1 gap"));
    // Without a loss, the report says so first.
    let mut app = opens(3, MEMORY);
    assert_eq!(screen(keys(&mut app, "!"))[3..5], ["  No event was lost.", "  Nothing to do."]);
    // `LOST` is plain at zero and reversed above.
    use ratatui::style::Modifier;
    let reversed = |app: &mut App| {
        let buffer = drawn(app, Theme::default());
        buffer.content()[78].modifier.contains(Modifier::REVERSED)
    };
    let mut app = self::app(80, 24, MEMORY);
    assert!(!reversed(&mut app));
    let mut made = Maker { ring: (0, 1 << 24), ..Maker::default() };
    made.counters[Slot::Open as usize].wanted = 96;
    made.lose(1204);
    made.counters(false);
    assert!(reversed(feed(&mut app, &mut made)));
    assert!(screen(&mut app)[0].ends_with("LOST 1,204"));
    check_shows(keys(&mut app, "!"), &["open         1,300           0           0       1,204", "--ring-size 64MiB"]);
    // The loss report of a replay is of the whole recording.
    let (mut app, mut made) = (self::app(120, 40, MEMORY), Maker::default());
    let facts = Facts { events: 1_617_000, lost: 40_124, seekable: true, ..Facts::default() };
    app.set_replay(Replay::new(facts, Target::First, Speed::default()));
    more_opens(&mut app, &mut made, 0..100);
    keys(&mut app, "!");
    assert!(screen(&mut app)[0].ends_with("LOST 40,124 recorded"));
    const LOST: &str = "40,124 events lost in this recording: 2.4 % of all events";
    check_shows(&mut app, &[LOST, "Loaded so far: none of them. n loads the next gap."]);
    check_lacks(&mut app, &["No event was lost", "Nothing to do"]);
    made.lost(1204);
    made.lose(1204);
    made.counters(false);
    let parts = [LOST, "Loaded so far: 1,204 of them, in 1 gap.", "ring full: start with --ring-size"];
    check_shows(feed(&mut app, &mut made), &parts);
}

#[test]
fn the_help_is_searched_and_begins_with_the_tasks_and_the_keys_of_the_view() {
    let mut app = opens(3, MEMORY);
    let found = screen(keys(&mut app, "?/copy"));
    assert_eq!(found[1].trim_end(), " search the help> copy                                                   3 of 3");
    assert!(found[2..10].iter().any(|line| line.contains("copy the row  y: text   Y: command")), "{found:#?}");
    assert!(!found[2..22].iter().any(|line| line.contains("a page down")), "{found:#?}");
    // Esc closes first the search, then the help.
    keys(&mut app, "\n").update(Input::Key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)));
    assert!(screen(&mut app).iter().any(|line| line.contains("compare")) && app.screen.overlay.is_some());
    assert!(screen(keys(&mut app, "/zzz"))[2].contains("No match"));
    app.update(Input::Key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)));
    app.update(Input::Key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)));
    assert!(app.screen.overlay.is_none());
    // Its filters are valid.
    for (view, title) in [("1", "Detail pane"), ("2", "Process tree"), ("3", "Top"), ("4", "BPF programs")] {
        let mut app = self::app(80, 24, MEMORY);
        let shown = screen(keys(&mut app, &format!("{view}?")));
        assert_eq!(shown[2].trim(), "Tasks", "{}", shown.join("\n"));
        assert_eq!(shown[13].trim(), title, "{}", shown.join("\n"));
        for filter in shown[3..13].iter().filter_map(|row| row.split_once(" f: ")) {
            let text = filter.1.trim();
            assert!(tracetui_events::filter::Filter::parse(text, app.world()).is_ok(), "{text}");
        }
        // `q` closes the help, not the program.
        assert_eq!(press(&mut app, 'q'), [Effect::Redraw]);
        assert!(app.screen.overlay.is_none());
    }
}

#[test]
fn a_process_grows_older_without_events() {
    let (mut app, mut made) = (app(120, 24, MEMORY), Maker::default());
    made.exec(100, "sleep", &["sleep", "30"], 0);
    feed(&mut app, &mut made);
    made.ns += 12_000_000_000;
    made.counters(false);
    keys(feed(&mut app, &mut made), "2");
    let row = row_with(&mut app, "sleep 30");
    assert!(row.contains("22.0 s"), "{row}");
}

fn selected(app: &mut App) -> String {
    screen(app).into_iter().find(|line| line.starts_with('>')).unwrap_or_default()
}

#[test]
fn a_recording_that_stopped_and_an_account_that_is_off_are_said() {
    let mut app = opens(3, MEMORY);
    let status = |app: &mut App| screen(app)[22].clone();
    app.update(Input::Recording("a.ttr".into()));
    app.update(Input::NotRecorded(
        "tracetui: cannot write a.ttr: No space left on device (os error 28); what was written before can be read"
            .into(),
    ));
    let header = |app: &mut App| screen(app)[0].clone();
    let stopped = status(&mut app);
    assert!(stopped.starts_with(" recording stopped: cannot write a.ttr: No space left"), "{stopped}");
    app.update(Input::Tick(Tick { now: Duration::from_secs(60), usage: None }));
    assert!(header(&mut app).contains(" NOT RECORDING: No space left on device"), "{}", header(&mut app));
    app.update(Input::Recording("b.ttr".into()));
    app.update(Input::Tick(Tick { now: Duration::from_secs(120), usage: None }));
    assert!(header(&mut app).contains(" REC b.ttr 0.0 MiB"), "{}", header(&mut app));
    // An account that does not add up.
    let says = |app: &mut App| screen(app)[0].contains("ACCOUNT ERROR");
    for (more, off) in [(0, false), (1, true)] {
        let (mut app, mut made) = (self::app(80, 24, MEMORY), Maker::default());
        for second in 1..=5 {
            more_opens(&mut app, &mut made, 0..10);
            counted(&mut made, second * 10 + more, false);
            feed(&mut app, &mut made);
        }
        assert_eq!(says(&mut app), off, "while it runs");
        keys(&mut app, "!");
        let text = "the account is off by 1 (open 1); please report it";
        assert_eq!(screen(&mut app).iter().any(|line| line.contains(text)), off);
        keys(&mut app, "\x1b");
        // An uncounted event arrives. If an event were missing, a gap would be visible by now.
        counted(&mut made, 50 - more, true);
        feed(&mut app, &mut made).update(Input::SourceEnded);
        assert_eq!(says(&mut app), off, "in the end");
        let said = ExitLine::of(&app).discrepancy.unwrap_or_default();
        assert_eq!(said.contains("open by sys_exit on CPU 0: sent = arrived, but 49 != 50"), off, "{said}");
        assert_eq!(said.is_empty(), !off, "{said}");
    }
}

fn header_search() -> Maker {
    let mut made = Maker::default();
    made.exec(48_214, "cc1", &["cc1", "-quiet", "main.c"], 0);
    for dir in ["/usr/lib/gcc/x86_64-linux-gnu/12/include", "/usr/local/include", "/usr/include/x86_64-linux-gnu"] {
        made.open(48_214, "cc1", &format!("{dir}/stdio.h"), -2);
    }
    made.open(48_214, "cc1", "/usr/include/stdio.h", 4);
    for _ in 0..12 {
        made.open(48_214, "cc1", "/usr/lib/gcc/x86_64-linux-gnu/12/include/a-header-with-a-long-name.h", 4);
    }
    made.exit(48_214, "cc1", 0);
    made
}

fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn repeats_and_searches_are_one_row_each() {
    let mut app = app(80, 24, MEMORY);
    feed(&mut app, &mut header_search()).update(Input::Tick(Tick { now: Duration::from_secs(1), usage: None }));
    let folded = [
        " 14:02:11.001 EXEC 48214 cc1      ok      cc1 -quiet main.c",
        " 14:02:11.005 OPEN 48214 cc1      fd 4    r  /usr/include/stdio.h     searched 4",
        " 14:02:11.017 OPEN 48214 cc1      fd 4    r  …/a-header-with-a-long-name.h   x12",
        ">14:02:11.018 EXIT 48214 cc1      exit 0  cc1 -quiet main.c  10.0 s     16 opens",
    ];
    assert_eq!(rows(&mut app), folded);
    assert!(screen(&mut app)[1].ends_with("18 of 18"), "the counts do not change");
    // Unfolded and folded again, with the selection on the file found.
    let unfolded = rows(keys(&mut app, "kkl"));
    assert_eq!(unfolded.len(), 7);
    assert!(unfolded[1].starts_with(" 14:02:11.002 OPEN 48214 cc1      ENOENT  r  /usr/"), "{}", unfolded[1]);
    assert!(unfolded[1].ends_with("/include/stdio.h"), "{}", unfolded[1]);
    assert_eq!(unfolded[4], ">14:02:11.005 OPEN 48214 cc1      fd 4    r  /usr/include/stdio.h");
    assert_eq!(rows(keys(&mut app, "h"))[1], folded[1].replacen(' ', ">", 1));
    assert_eq!(rows(keys(&mut app, "a")).len(), 18);
    assert!(screen(&mut app)[22].starts_with(" every event has its own row"), "{}", screen(&mut app)[22]);
    assert!(screen(keys(&mut app, "a"))[22].starts_with(" equal events, and searches, are folded"));
    assert_eq!(rows(&mut app).len(), 4);
    // The row of an exec shows that the program failed.
    let (mut app, mut made) = (self::app(100, 24, MEMORY), Maker::default());
    app.set_calm(true);
    for pid in 100..106 {
        made.ns += 1_000_000_000;
        made.acts(&format!("{pid} python3 exec python3 boomd.py, open /data:-13, exit 1"));
    }
    made.acts("7 cat exec cat, open /a /b:-13, exit 2");
    let rows: Vec<_> = rows(feed(&mut app, &mut made)).iter().map(|row| squeezed(row)).collect();
    let ends =
        ["boomd.py every 1.0 s, x6, exit 1", "/data every 1.0 s", "exit 1", "cat exit 2", "/b", "2 opens, 1 failed"];
    assert_eq!(rows.len(), ends.len());
    assert!(rows.iter().zip(ends).all(|(row, end)| row.contains(end)), "{}", rows.join("\n"));
}

#[test]
fn the_row_of_a_job_counts_while_it_runs_and_folded_rows_are_never_cut() {
    let (mut app, mut made) = (app(120, 24, MEMORY), Maker::default());
    app.set_calm(true);
    made.exec(100, "make", &["make", "-j2"], 0);
    made.like.ppid = Tgid(100);
    for pid in [101, 102] {
        made.acts(&format!("{pid} cc1 exec cc1 {pid}.c, open /a.h"));
    }
    made.exit(101, "cc1", 0);
    let job = |app: &mut App| squeezed(&rows(app)[0]);
    let row = job(feed(&mut app, &mut made));
    assert!(row.contains("make running make -j2 now cc1 102.c 10.0 s 2 execs · 2 opens 10.0 s"), "{row}");
    made.exit(102, "cc1", 1 << 8);
    made.like.ppid = Tgid(1);
    made.exit(100, "make", 2 << 8);
    let row = job(feed(&mut app, &mut made));
    assert!(row.contains("make ok make -j2 exit 2 2 execs · 2 opens · 1 failed 10.0 s"), "{row}");
    // What is said of folded rows is never cut.
    for (width, height) in [(40, 10), (60, 12), (80, 24), (120, 40), (160, 50)] {
        let mut app = self::app(width, height, MEMORY);
        feed(&mut app, &mut header_search());
        for typed in ["", "k", "jlll"] {
            let shown = squeezed(&screen(keys(&mut app, typed)).join(" "));
            // Scrolled sideways, part of the name is visible.
            let name = if typed == "jlll" { "" } else { "/stdio.h" };
            let whole = shown.contains(&format!("{name} searched 4"));
            let searched = whole || width <= 60 && shown.contains(&format!("{name} x4"));
            assert!(searched && shown.contains(" x12"), "{width}x{height}\n{shown}");
        }
        let (key, label) = ("a", if width >= 160 { "unfold" } else { "" });
        let footer = screen(&mut app).pop().unwrap_or_default();
        assert!(footer.contains(&format!("{key} {label}")) || label.is_empty(), "{footer}");
        let buffer = drawn(&mut app, Theme::default());
        let cells = buffer.content().chunks(usize::from(width)).find_map(|row| {
            let line: String = row.iter().map(|cell| cell.symbol()).collect();
            let at = line.chars().collect::<Vec<_>>().windows(3).position(|text| text == ['x', '1', '2'])?;
            Some(row[at..at + 3].iter().map(|cell| cell.fg).collect::<Vec<_>>())
        });
        assert!(cells.is_some_and(|cells| cells == [Color::Cyan; 3] || cells == [Color::Reset; 3]));
    }
}

#[test]
fn a_search_that_found_its_name_is_no_failure_where_that_row_is_hidden() {
    for (width, height, wanted) in [
        (40, 10, " 11.004 OPEN cc1 stdio.h found"),
        (80, 24, " 02:11.004 OPEN 48214 cc1 ENOENT r …/stdio.h searched 3, found later"),
        (159, 50, "/usr/include/x86_64-linux-gnu/stdio.h searched 3, found in /usr/include"),
    ] {
        let mut app = app(width, height, MEMORY);
        let mut made = header_search();
        // A failure that no later call answers.
        made.open_all(48_215, "cc1", "/a/none.h:-2 /b/none.h:-2");
        keys(feed(&mut app, &mut made), "ee");
        let shown = screen(&mut app);
        let at = |wanted: &str| shown.iter().position(|line| squeezed(line).contains(wanted.trim_start()));
        let none = if width == 40 { "ENOENT none.h x2" } else { "none.h searched 2" };
        assert!(at(none).is_some(), "{}", shown.join("\n"));
        let at = at(wanted).unwrap_or_else(|| panic!("{}", shown.join("\n")));
        // The result and the name are quiet.
        let buffer = drawn(&mut app, Theme::default());
        let row = buffer.content().chunks(usize::from(width)).nth(at).expect("the row");
        let letter = row.iter().rposition(|cell| cell.symbol() == "h").expect("stdio.h, or the directory");
        assert!(row[..letter].iter().filter(|cell| cell.symbol() == "E").all(|cell| cell.fg != Color::Yellow));
        let shown = screen(keys(&mut app, "gW"));
        let search = shown.iter().position(|line| line.contains(" search    stdio.h found in"));
        let why = shown.iter().position(|line| line.contains(" why       "));
        assert!(search.is_some() && (search < why || why.is_none()), "{}", shown.join("\n"));
    }
}

#[test]
fn every_size_and_any_name_can_be_drawn_in_every_state() {
    let mut made = Maker::default();
    let hostile = "\x1b[2J\x07\u{9b}31m\u{202e}\u{200b}\r\n\t";
    made.acts(&format!("7 {hostile} exec {hostile} {hostile}, open {hostile}:-2"));
    made.open(7, "a", &hostile.repeat(100), 3);
    made.lost(1204);
    let sizes =
        [(1, 1), (2, 2), (3, 3), (5, 4), (10, 5), (20, 6), (40, 10), (100, 30), (139, 7), (160, 50), (500, 200)];
    let typed = "|\n|\n\n|\n\t|\n\t\t|?|!|c|x|fcomm=|f(|fx\u{202e}|/x\u{200b}|kp\n|kkku|et| |llll|\nJ|\nJ\nK|\n\tJ\n|\n\t\tJ\n\n";
    check_draws(&made, &sizes, "", &typed.split('|').collect::<Vec<_>>());
    // Wide screens have more columns, and the pane at the right.
    let mut app = app(160, 50, MEMORY);
    keys(feed(&mut app, &mut build()), "v");
    assert!(screen(&mut app)[2].starts_with("         TIME KIND   PID  PPID USER     COMM"));
    let shown = screen(keys(&mut app, "k\n"));
    assert!(shown[2].contains("│── 48217 ld ── EXEC "), "{}", shown[2]);
    assert!(shown.iter().any(|line| line.contains("│ args      ld  main.o")), "{}", shown.join("\n"));
}

#[test]
fn the_selected_event_stays_selected_when_rows_come_and_go() {
    let mut made = Maker::default();
    // A quarter of the memory is for events.
    let mut app = app(80, 24, 4 << 20);
    more_opens(&mut app, &mut made, 0..1000);
    assert!(selected(keys(&mut app, "kkkkk")).ends_with("/f/994"));
    let place = |app: &mut App| screen(app).iter().position(|line| line.starts_with('>'));
    let before = place(&mut app);
    more_opens(&mut app, &mut made, 1000..3000);
    assert!(selected(&mut app).ends_with("/f/994"));
    assert_eq!(place(&mut app), before, "the row does not move on the screen");
    // A filter that hides the selected event selects the nearest row. Without the filter the event is selected again.
    assert!(selected(keys(&mut app, "fcomm=cat\n")).ends_with("/f/996"));
    assert!(selected(keys(&mut app, "\x1b")).ends_with("/f/994"));
    more_opens(&mut app, &mut made, 3000..20_000);
    assert!(app.store().evicted() > 1000);
    let next = app.store().range(994..20_000).next().expect("a row").id;
    assert!(next > 994 && selected(&mut app).contains(&format!("/f/{next}")), "the nearest row that is left");
    // The strip of a live trace has its losses and marks.
    let mut made = Maker { step_ns: 10_000_000, ..Maker::default() };
    let mut app = self::app(120, 24, MEMORY);
    more_opens(&mut app, &mut made, 0..500);
    made.lost(7);
    more_opens(&mut app, &mut made, 500..1000);
    let strip = |app: &mut App| screen(app)[22].clone();
    assert!(strip(&mut app).contains(">]") && strip(&mut app).ends_with("following"), "{}", strip(&mut app));
    keys(keys(&mut app, "gmz"), "jjG");
    let marked = strip(work(&mut app));
    let at = |sign: char| marked.chars().position(|letter| letter == sign).expect("in the strip");
    assert!(at('z') < at('!') && at('!') < at('>'), "{marked}");
    let row = selected(keys(&mut app, "'z["));
    assert!(row.starts_with('>') && row.ends_with("/f/0"), "{row}");
    assert!(screen(keys(&mut app, "j"))[3].starts_with('z'), "the mark of the row: {}", screen(&mut app)[3]);
    assert!(strip(&mut app).contains("F follow"), "{}", strip(&mut app));
    // Long lists are filtered in slices that begin with the newest.
    let mut app = opens(20_000, MEMORY);
    for letter in "fcomm=cat".chars() {
        press(&mut app, letter);
    }
    assert!(app.busy());
    assert!(screen(&mut app)[21].ends_with("/f/19998"), "the screen is full at once");
    assert!(screen(&mut app)[22].contains("filtering 0%"));
    assert_eq!((work(&mut app).events().events(), app.loaded().hidden()), (6_667, 13_333));
}

#[test]
fn an_event_says_how_many_evicted_opens_it_stands_for() {
    let (mut app, mut made) = (app(100, 24, 5 << 20), Maker::default());
    made.exec(7, "make", &["make"], 0);
    for at in 0..40_000 {
        match at % 2_000 {
            1_000 => made.exec(8 + at, "rare", &["rare"], 0),
            _ => made.open(7, "make", "/etc/passwd", 3),
        }
    }
    keys(keys(feed(&mut app, &mut made), "a"), "g");
    let kept = || app.store().range(0..app.store().next_id());
    assert_eq!(kept().map(|stored| u64::from(stored.evicted)).sum::<u64>(), app.store().evicted());
    let evicted = |app: &App| app.selected().map_or(0, |stored| stored.evicted);
    while evicted(&app) == 0 && app.selected().is_some_and(|stored| stored.id + 1 < app.store().next_id()) {
        keys(&mut app, "j");
    }
    let text = format!(" {} opens of this process", evicted(&app));
    check_shows(keys(&mut app, "\n"), &[" evicted   ", &text]);
}

#[test]
fn moving_up_ends_following_and_a_paused_view_counts_what_came() {
    let (mut app, mut made) = (app(80, 24, MEMORY), Maker::default());
    more_opens(&mut app, &mut made, 0..100);
    more_opens(keys(&mut app, "k"), &mut made, 100..137);
    assert!(selected(&mut app).ends_with("/f/98"));
    assert!(screen(&mut app)[22].ends_with("37 new below  F follow"));
    assert!(selected(keys(&mut app, "g")).ends_with("/f/0"));
    more_opens(keys(&mut app, "G"), &mut made, 137..200);
    assert!(selected(&mut app).ends_with("/f/199"));
    assert!(selected(keys(&mut app, "kF")).ends_with("/f/199"));
    // A paused view stays.
    let (mut app, mut made) = (self::app(80, 24, MEMORY), Maker::default());
    more_opens(&mut app, &mut made, 0..100);
    let before = screen(keys(&mut app, " "));
    more_opens(&mut app, &mut made, 100..3310);
    let after = screen(&mut app);
    assert_eq!(before[3..22], after[3..22]);
    assert!(after[22].ends_with("+3,210 new"), "{}", after[22]);
    assert!(after[0].contains("PAUSED"));
    // A filter applies to the frozen rows.
    assert!(selected(keys(&mut app, "fcomm=cat\n")).ends_with("/f/99"));
    assert!(screen(&mut app)[1].contains("34 of 3,310"), "{}", screen(&mut app)[1]);
    assert!(selected(keys(&mut app, "\x1b ")).ends_with("/f/3309"), "it follows again");
}

#[test]
fn a_paused_view_keeps_its_rows_while_the_memory_is_full() {
    for typed in [" ", "k ", "gjjj "] {
        let mut made = Maker::default();
        // A quarter of the memory is for events.
        let mut app = app(80, 24, 4 << 20);
        more_opens(&mut app, &mut made, 0..1000);
        let before = screen(keys(&mut app, typed));
        for part in 1..21 {
            more_opens(&mut app, &mut made, part * 1000..(part + 1) * 1000);
        }
        let after = screen(&mut app);
        assert!(app.store().evicted() > 10_000);
        assert!(Memory::of(&app).used() <= 4 << 20);
        assert_eq!(before[3..22], after[3..22], "{}", after.join("\n"));
        assert!(after[22].contains("+20,000 new"), "{}", after[22]);
        // The rows act as events, as before.
        check_shows(keys(&mut app, "\n"), &["this      running · 1000"]);
        assert!(selected(keys(&mut app, "\x1bfcomm=cat\n")).contains(" cat "), "{}", selected(&mut app));
        assert!(keys(&mut app, "\x1b").events().rows() > 20 && app.events().rows() < 400, "{}", app.events().rows());
        keys(&mut app, " G");
        assert_eq!(app.events().row(0), Some(app.store().first_id()), "the rows of the pause are let go");
    }
    // An empty list names only what hides.
    let check = |app: &mut App, start: &str| assert!(screen(app)[3].trim().starts_with(start), "{}", screen(app)[3]);
    let mut app = app(80, 24, MEMORY);
    more_opens(keys(&mut app, " "), &mut Maker::default(), 0..3);
    assert_eq!(screen(&mut app)[3].trim(), "all paused rows were evicted: Space resumes");
    let mut app = self::app(80, 24, 4 << 20);
    let mut made = Maker::default();
    made.fork(100, "sh", 101);
    feed(&mut app, &mut made);
    check(&mut app, "no events of these kinds in memory, 0 evicted");
    check(keys(&mut app, "e"), "all events hidden: e shows all failures, E X O B ");
    check(keys(&mut app, "e"), "all events hidden: e shows all events, E X O B ");
    check(keys(&mut app, "efcomm=x\n"), "all events hidden: Esc removes a filter, E X O B ");
}

#[test]
fn escape_peels_the_filter_and_a_tree_is_of_the_selected_process() {
    let mut app = opens(9, MEMORY);
    assert_eq!(keys(&mut app, "p").filter.text(), "pid=102");
    assert_eq!(keys(&mut app, "xx").filter.text(), "pid=102 not comm=\"a b\"");
    assert_eq!(keys(&mut app, "\x1b\x1b\x1b").filter.text(), "");
    assert_eq!((keys(&mut app, "P").filter.text().as_str(), app.events().events()), ("tree=102", 3));
    assert_eq!(keys(&mut app, "\x1bkcu").filter.text(), "comm=dog uid=1000");
    assert_eq!(app.events().events(), 3);
    assert_eq!((app.loaded().hidden(), app.store().events(), app.store().evicted()), (6, 9, 0));
    assert_eq!((keys(&mut app, "\x12").filter.text(), app.loaded().hidden()), (String::new(), 0));
    // A bad filter keeps the last good one.
    assert_eq!(keys(&mut app, "fcomm=cat (").events().events(), 3, "the last good one is in force");
    let shown = screen(&mut app);
    assert!(shown[1].starts_with(" filter> comm=cat (") && shown[1].ends_with("3 of 9"), "{}", shown[1]);
    assert!(shown[22].starts_with(" missing term  ") && shown[22].ends_with("  applied: comm=cat"), "{}", shown[22]);
    assert!(keys(&mut app, "\n").line_for(Purpose::Filter).is_some(), "it cannot be kept");
    assert_eq!((keys(&mut app, "\x1b").filter.text().as_str(), app.events().events()), ("", 9), "as before");
    assert!(screen(keys(&mut app, "fcomm=dog\nf\u{2191}"))[1].starts_with(" filter> comm=dog"));
    // A tree is that of the selected process whichever has its id now.
    let (mut app, mut made) = (self::app(80, 24, MEMORY), Maker::default());
    made.acts("7 old open /a, exit 0");
    made.start_ns += 11_000_000_000;
    for path in ["/b", "/c", "/d"] {
        made.open(7, "new", path, 3);
    }
    keys(feed(&mut app, &mut made), "P");
    assert_eq!((app.filter.text().as_str(), app.events().events()), ("tree=7", 3));
    keys(&mut app, "\x12gP");
    assert_eq!((app.filter.text().as_str(), app.events().events()), ("tree=7", 2), "of the older one");
    // In a typed filter the id denotes the process that has it now, even after the filter is changed.
    keys(&mut app, "\x12ftree=7\nfcomm=new\n");
    assert_eq!((app.filter.text().as_str(), app.events().events()), ("tree=7 comm=new", 3));
    assert_eq!(keys(&mut app, "\x12fcomm=old or tree=7\n").events().events(), 5);
    assert_eq!(keys(&mut app, "gP").events().events(), 2, "{}", app.filter.text());
}

#[test]
fn a_key_of_a_row_replaces_what_it_contradicts_and_says_so() {
    let mut app = opens(9, MEMORY);
    let message = |app: &App| app.screen.message().unwrap_or_default().to_owned();
    assert_eq!(message(keys(&mut app, "c")), "+ comm=\"a b\"  Esc undoes");
    assert_eq!(message(keys(&mut app, "c")), "comm=\"a b\" is already in the filter");
    assert_eq!(message(keys(&mut app, "x")), "all rows match comm=\"a b\": Esc removes that filter");
    assert_eq!((app.filter.text().as_str(), app.events().events()), ("comm=\"a b\"", 3));
    assert_eq!(message(keys(&mut app, "ux")), "all rows match comm=\"a b\": f edits the filter");
    assert_eq!(keys(&mut app, "\x1b\x1bx").filter.text(), "not comm=\"a b\"");
    keys(keys(&mut app, "fnot comm=dog\nc"), "\x1b\x1b\x1bfkind=open pid=101 not comm=zz path=/f/*\n");
    assert_eq!(keys(&mut app, "P").filter.text(), "not comm=zz path=/f/* tree=101");
    assert_eq!(message(&app), "+ tree=101 in place of kind=open pid=101  Esc undoes");
    assert_eq!(keys(&mut app, "\x1b").filter.text(), "kind=open pid=101 not comm=zz path=/f/*");
    // With the pane open, Esc first closes the pane.
    assert_eq!(message(keys(&mut app, "\np")), "pid=101 is already in the filter");
    assert_eq!(message(keys(&mut app, "c")), "+ comm=dog");
    // Alternatives stay alternatives.
    keys(keys(&mut app, "\x12fcomm=dog or pid=100\n"), "u");
    assert_eq!(app.filter.text(), "(comm=dog or pid=100) uid=1000");
    // A key is about the row that was drawn under the cursor.
    let (mut app, mut made) = (self::app(80, 24, MEMORY), Maker::default());
    made.open(1, "first", "/a", 3);
    assert!(selected(feed(&mut app, &mut made)).contains("first"));
    made.open(2, "second", "/b", 3);
    keys(feed(&mut app, &mut made), "c");
    assert_eq!(app.filter.text(), "comm=first");
    // The next key applies to the row that this one shows.
    assert_eq!(keys(&mut app, "\x1bc").filter.text(), "comm=second");
    assert!(selected(keys(&mut app, "\x1b")).contains("second"));
    made.open(3, "third", "/c", 3);
    keys(feed(&mut app, &mut made), "\n");
    assert!(selected(&mut app).contains("second"), "{}", selected(&mut app));
}

#[test]
fn kinds_and_failures_are_turned_on_and_off_and_the_capture_filter_is_shown() {
    let mut app = app(80, 24, MEMORY);
    keys(feed(&mut app, &mut build()), "O");
    assert_eq!(app.events().events(), 5);
    assert!(screen(&mut app)[1].contains(" EXoBIMR "));
    assert_eq!(keys(&mut app, "e").events().events(), 2);
    assert!(screen(&mut app).iter().any(|line| line.contains("lost here")), "gap rows stay");
    assert_eq!(keys(&mut app, "eeO").events().events(), 7);
    // The capture filter and the filter are both visible.
    let mut app = opens(9, MEMORY);
    app.settings.capture = "comm=bash,make uid=1000".to_owned();
    app.set_filter("kind=open,exec path=/f/* not comm=zz").expect("a filter");
    for (width, capture, filter) in
        [(80, "capture comm=bash,make uid=1000", "comm=zz"), (100, "comm=bash,make uid=1000", "not comm=zz")]
    {
        app.update(Input::Resize(width, 24));
        let screen = screen(&mut app);
        assert!(screen[0].contains(capture) && screen[1].contains(filter), "{screen:#?}");
    }
}

#[test]
fn a_search_selects_and_shows_its_pattern_and_the_place_among_its_matches() {
    let mut app = opens(100, MEMORY);
    assert!(selected(keys(&mut app, "g/f/[45]7\n")).ends_with("/f/47"));
    assert_eq!(app.events().events(), 100);
    assert!(selected(keys(&mut app, "n")).ends_with("/f/57"));
    assert!(selected(keys(&mut app, "n")).ends_with("/f/47"), "round the end");
    assert!(selected(keys(&mut app, "N")).ends_with("/f/57"), "and back");
    assert!(selected(keys(&mut app, "/nothing\n")).ends_with("/f/57"));
    assert!(screen(&mut app)[22].contains("no match"));
    let (mut app, mut made) = (self::app(80, 24, MEMORY), Maker::default());
    more_opens(&mut app, &mut made, 0..100);
    let line = |app: &mut App| {
        let shown = screen(app)[1].clone();
        let (_, rest) = shown.split_once('│').unwrap_or_default();
        rest.split(" Exec").next().unwrap_or_default().split(" EXOB").next().unwrap_or_default().trim_end().to_owned()
    };
    assert!(screen(keys(&mut app, "g/f/[45]7"))[1].ends_with("1/2  100 of 100"), "{}", screen(&mut app)[1]);
    assert_eq!(line(keys(&mut app, "\n")), "  /f/[45]7  1/2");
    assert_eq!(line(keys(&mut app, "n")), "  /f/[45]7  2/2");
    assert_eq!(line(keys(&mut app, "N")), "  /f/[45]7  1/2");
    assert_eq!(line(keys(&mut app, "j")), "  /f/[45]7  -/2", "the row is none");
    app.update(Input::Resize(100, 24));
    assert_eq!(line(&mut app), "  /f/[45]7  2 matches");
    app.update(Input::Resize(80, 24));
    // New rows are counted, and a filter hides some of them.
    more_opens(&mut app, &mut made, 147..148);
    assert_eq!(line(keys(&mut app, "/comm=dog\n")), "  /comm=dog  17/33");
    more_opens(&mut app, &mut made, 148..152);
    assert_eq!(line(&mut app), "  /comm=dog  17/35");
    assert_eq!(line(keys(&mut app, "fpid=101\n")), " filter pid=101  /comm=dog  17/35");
    assert!(line(keys(&mut app, "f\u{2191} path=/f/1*\n")).ends_with("/comm=dog  6/7"), "{}", line(&mut app));
    // A paused view stays paused.
    let before = line(keys(&mut app, "\x1b\x1b\x1b/f/1.*\n "));
    more_opens(&mut app, &mut made, 1000..1050);
    assert_eq!(line(&mut app), before);
    assert_ne!(line(keys(&mut app, " ")), before);
    assert_eq!(line(keys(&mut app, "\x1b")), " f filter");
    assert_eq!(line(keys(&mut app, "/nothing\n")), "  /nothing  no match");
}

/// A recording with 100 loaded opens, from its start or not.
fn replay(width: u16, height: u16, end: End, from_start: bool) -> (App, Maker) {
    let (mut app, mut made) = (app(width, height, MEMORY), Maker::default());
    let (events, seekable) = if end == End::Unknown { (0, false) } else { (1_000_000, true) };
    let facts = Facts { name: "x.ttr".into(), end, events, seekable, ..Facts::default() };
    app.set_replay(Replay::new(facts, Target::First, Speed::default()));
    if !from_start {
        app.update(Input::Restore(Some(tracetui_events::pipeline::Pipeline::default().state()), false));
    }
    more_opens(&mut app, &mut made, 0..100);
    (app, made)
}

#[test]
fn a_search_in_a_part_of_a_recording_says_whether_there_may_be_more() {
    let (mut app, _) = replay(80, 24, End::Complete, true);
    assert!(screen(keys(&mut app, "/f/[45]7\n"))[1].contains("/f/[45]7  1/2+"), "{}", screen(&mut app)[1]);
    app.update(Input::SourceEnded);
    assert!(screen(&mut app)[1].contains("/f/[45]7  1/2 "), "{}", screen(&mut app)[1]);
    // After a search of the rest there are no others.
    let (mut app, mut made) = replay(80, 24, End::Complete, false);
    let line = |app: &mut App| screen(app)[1].clone();
    assert!(line(keys(&mut app, "/f/[45]7\nn")).contains("/f/[45]7  2/2+ "), "{}", line(&mut app));
    assert!(keys(&mut app, "n").loaded().searched().is_some());
    // After the rest of the recording, the search covers the part before the selected row.
    app.update(Input::Found(Ok(None)));
    app.update(Input::Found(Ok(None)));
    assert!(line(&mut app).contains("/f/[45]7  2/2 "), "{}", line(&mut app));
    assert!(screen(&mut app)[22].contains("no other match"));
    assert!(line(keys(&mut app, "k")).contains("/f/[45]7  -/2 "), "{}", line(&mut app));
    // Another part has other matches.
    app.update(Input::Restore(Some(tracetui_events::pipeline::Pipeline::default().state()), false));
    more_opens(&mut app, &mut made, 40..50);
    assert!(line(work(&mut app)).contains("/f/[45]7  -/1+ "), "{}", line(&mut app));
    // Evicted matches are not counted.
    let (mut app, mut made) = (self::app(80, 24, 4 << 20), Maker::default());
    more_opens(&mut app, &mut made, 0..100);
    more_opens(keys(&mut app, "/comm=cat\n"), &mut made, 100..30_000);
    assert!(app.store().evicted() > 1000);
    let place = app.search.place(app.events(), app.store()).expect("counted");
    let all = app.store().range(0..app.store().next_id()).filter(|stored| stored.id % 3 == 0).count();
    assert_eq!(place.all, all);
}

#[test]
fn the_header_of_a_replay_says_in_words_what_it_does() {
    let (mut app, mut made) = replay(80, 24, End::Unknown, true);
    let left = |app: &mut App| screen(app)[0].split(" 14:02").next().unwrap_or_default().to_owned();
    let keys_line = |app: &mut App| screen(app)[23].clone();
    assert_eq!(left(&mut app), " REPLAY  || paused");
    assert!(keys_line(&mut app).starts_with(" Space play F follow"), "{}", keys_line(&mut app));
    assert!(keys_line(&mut app).ends_with("q quit"));
    for (typed, said) in [(">>", "|| paused 4x"), (" ", "> playing 4x"), (" ", "|| paused 4x"), ("F", ">> following")] {
        assert_eq!(left(keys(&mut app, typed)), format!(" REPLAY  {said}"));
    }
    assert!(keys_line(&mut app).starts_with(" Space pause > speed"), "{}", keys_line(&mut app));
    // The event number and the strip keep their places while rows arrive.
    let strip = |app: &mut App| screen(app)[22].clone();
    assert!(strip(&mut app).ends_with(">]  ev 100"), "{}", strip(&mut app));
    more_opens(&mut app, &mut made, 100..150);
    assert!(strip(&mut app).ends_with(">]  ev 150"), "{}", strip(&mut app));
    app.update(Input::Resize(60, 24));
    assert_eq!(left(&mut app), " REPLAY  >>");
}

#[test]
fn the_help_of_a_replay_is_whole() {
    for (width, height) in [(80, 140), (40, 220)] {
        let (mut app, _) = replay(width, height, End::Unknown, true);
        let shown = screen(keys(&mut app, "?"));
        let text = shown.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("play or pause"), "{}", shown.join("\n"));
        assert!(width < 80 || !text.contains('…'), "nothing is cut:\n{}", shown.join("\n"));
        assert!(!text.contains("tracing continues") && !text.contains("record everything"), "{text}");
        // Titles are bold, and the text beside them is not.
        let buffer = drawn(&mut app, Theme::default());
        for (y, row) in (0..).zip(&shown).skip(2).take(usize::from(height) - 4) {
            let bold = |x| buffer[(x, y)].modifier.contains(ratatui::style::Modifier::BOLD);
            let words = (0..width).filter(|x| bold(*x)).map(|x| buffer[(x, y)].symbol()).collect::<String>();
            let titles: Vec<_> = ["Filters", "Tasks"].into_iter().chain(Section::ALL.map(Section::title)).collect();
            assert_eq!(titles.iter().fold(words, |rest, title| rest.replace(title, "")).trim(), "", "{row}");
            let titled = |title: &&str| row.trim_end().ends_with(&format!(" {title}")) && !row.contains("  ");
            assert!(!titles.iter().any(titled) || (0..width).any(bold), "{row}");
        }
    }
    // No text of a help is cut.
    for (view, width) in
        [1, 2, 3, 4].into_iter().flat_map(|view| [40, 80, 100, 120, 160, 200].map(|width| (view, width)))
    {
        for (mut app, _) in [replay(width, 200, End::Complete, true), (app(width, 200, MEMORY), Maker::default())] {
            let help = screen(keys(&mut app, &format!("{view}?")));
            let cut: Vec<_> = help.iter().skip(2).filter(|line| line.contains('…')).collect();
            assert!(cut.is_empty(), "view {view} at {width}: {cut:#?}");
        }
    }
}

#[test]
fn the_detail_pane_goes_to_the_parents_and_back() {
    let (mut app, mut made) = (app(80, 30, MEMORY), Maker::default());
    made.acts("1 init exec init; 7 cat exec cat x, open /f/1:-2 /f/2");
    keys(feed(&mut app, &mut made), "\n");
    check_shows(&mut app, &["── Files ── 2 opens, 1 failed attempt ─", "parents   init"]);
    check_shows(keys(&mut app, "\t"), &["ENOENT   r  /f/1"]);
    check_shows(keys(&mut app, "\t\tu"), &["\n── 1 init"]);
    check_shows(keys(&mut app, "\x1b"), &["\n── 7 cat"]);
    assert!(keys(&mut app, "\x1b").detail.size.is_none());
    // Values and durations are aligned.
    let (mut app, mut made) = (self::app(80, 40, MEMORY), Maker::default());
    made.exec(100, "make", &["make"], 0);
    for pid in [101, 102] {
        made.acts(&format!("100 make fork {pid}; {pid} cc exit 0"));
    }
    keys(feed(&mut app, &mut made), "g\n\t\t");
    let shown = screen(&mut app).join("\n");
    for pid in [101, 102] {
        assert!(shown.contains(&format!("     {pid} exit 0      10.0 s   ")), "{shown}");
    }
    let shown = screen(keys(&mut app, "\t"));
    let fields =
        shown.iter().filter(|row| row.starts_with(" exe") || row.starts_with(" cwd") || row.starts_with(" argc"));
    let starts: Vec<_> =
        fields.filter_map(|row| Some(row.len() - row.get(1..)?.split_once(' ')?.1.trim_start().len())).collect();
    assert!(starts.len() > 3 && starts.iter().all(|start| *start == starts[0]), "{}", shown.join("\n"));
    // The pane shows how much is below, and scrolls.
    let mut app = self::app(80, 24, MEMORY);
    keys(feed(&mut app, &mut build()), "gW");
    keys(&mut app, "\n\t\t\t");
    let more = |app: &mut App| {
        let shown = screen(app);
        shown.iter().find_map(|line| line.split_once("▼ ").map(|(_, more)| more.to_owned()))
    };
    let first = more(&mut app).expect("Raw has more fields than lines");
    assert!(screen(&mut app).iter().any(|line| line.starts_with(" filename")));
    assert!(!screen(keys(&mut app, "J")).iter().any(|line| line.starts_with(" filename")));
    assert_ne!(more(&mut app), Some(first.clone()));
    assert_eq!(more(keys(&mut app, "K")), Some(first));
    assert_eq!(more(keys(&mut app, &"J".repeat(60))), None);
}

#[test]
fn a_failure_says_first_why_and_how_that_is_known() {
    let (mut app, mut made) = (app(100, 30, MEMORY), Maker::default());
    made.acts("1 make exec make; 7 cc1 open /a/stdoi.h:-2 /b/stdoi.h:-2");
    made.open(7, "cc1", &format!("/b/{}", "x".repeat(300)), -36);
    made.exit(7, "cc1", 1 << 8);
    keys(feed(&mut app, &mut made), "g");
    check_shows(keys(&mut app, "W"), &["the selected event did not fail"]);
    keys(&mut app, "ajW");
    let line = |app: &mut App, name: &str| {
        let shown = screen(app);
        let line = shown.iter().find(|line| line.starts_with(&format!(" {name} ")));
        line.cloned().unwrap_or_else(|| panic!("no {name} in\n{}", shown.join("\n")))
    };
    assert_eq!(line(&mut app, "why"), " why       looking it up");
    let tried = line(&mut app, "tried");
    assert!(
        tried.starts_with(" tried     stdoi.h in 2 directories  ENOENT ") && tried.ends_with(" Enter: list"),
        "{tried}"
    );
    assert!(line(&mut app, "this").contains("exit 1 after 10.0 s"));
    let answer = Answer {
        text: b"no stdoi.h in /a; the nearest name is stdio.h\x1b".to_vec(),
        component: None,
        cause: Cause::Missing,
        near: None,
        place: None,
        basis: Basis::Checked(400_000_000),
    };
    app.update(Input::Looked(1, answer.clone()));
    let why = line(&mut app, "why");
    assert!(why.contains(r"stdio.h\x1b ") && why.ends_with("checked 400 ms later"), "{why}");
    app.update(Input::Looked(1, Answer { cause: Cause::Unknown, place: Some(b"it ended".to_vec()), ..answer }));
    assert!(line(&mut app, "why").starts_with(" why       unknown: no stdoi.h"));
    check_lacks(&mut app, &["(it ended)"]);
    check_shows(keys(&mut app, "\n"), &["(it ended)", " in        /a, /b"]);
    check_shows(keys(&mut app, "\x1bjj"), &["a name in the path has 300 bytes", "proven"]);
    // The places of a search are listed on request.
    let (mut app, mut made) = (self::app(80, 24, MEMORY), Maker::default());
    (0..40).for_each(|at| made.open(7, "cc1", &format!("/usr/lib/include-{at:02}/x.h"), -2));
    keys(feed(&mut app, &mut made), "W");
    check_shows(&mut app, &["\n tried     x.h in 40 directories so far  ENOENT "]);
    check_shows(keys(&mut app, "\n"), &["\n in        /usr/lib/include-00, ", "/usr/lib/include-31, and 8 more\n"]);
    // A directory that may have changed is named so.
    let (mut app, mut made) = (self::app(100, 30, MEMORY), Maker::default());
    let exec = payload::Exec { exe: b"cc1\0bin\0", cwd: b"a\0w\0", argv: b"cc1\0", ..payload::Exec::default() };
    made.event(Slot::Exec, 7, "cc1", &exec.bytes());
    made.open(7, "cc1", "app.conf", -2);
    keys(feed(&mut app, &mut made), "g\n");
    let who = |app: &mut App| screen(app).into_iter().find(|line| line.starts_with(" this ")).expect("whose it is");
    assert!(who(&mut app).contains(" · in /w/a"), "{}", who(&mut app));
    assert!(who(keys(&mut app, "j")).contains(" · began in /w/a"), "{}", who(&mut app));
}

#[test]
fn copies_go_out_and_the_status_line_offers_to_hide_opens() {
    let (mut app, mut made) = (app(80, 24, MEMORY), Maker::default());
    made.exec(7, "cc", &["cc", "a b.c", "\x1b"], 0);
    assert_eq!(copied(press(feed(&mut app, &mut made), 'Y')).as_deref(), Some(r"cc 'a b.c' $'\033'"));
    assert_eq!(copied(press(&mut app, 'y')).as_deref(), Some(r"14:02:11.001 EXEC 7 cc ok cc 'a b.c' '\x1b'"));
    made.exec(9, "cc", &["cc", r"\x1b"], 0);
    let line = copied(press(feed(&mut app, &mut made), 'y')).expect("a line");
    assert!(line.ends_with(r"ok cc '\\x1b'"), "no escape, but a backslash: {line}");
    let json = app.update(Input::Key(KeyEvent::new(KeyCode::Char('y'), KeyModifiers::CONTROL)));
    let json = serde_json::from_str::<serde_json::Value>(&copied(json).expect("an event")).expect("JSON");
    assert_eq!((&json["kind"], &json["argv"][1]), (&"exec".into(), &r"\x1b".into()));
    made.exec(8, "cc", &["cc", &"x".repeat(80_000)], 0);
    assert_eq!(copied(press(feed(&mut app, &mut made), 'Y')), None);
    assert!(screen(&mut app)[22].contains("too long for the clipboard: 78 KiB"));
    // The message names where it was sent.
    let mut app = opens(3, MEMORY);
    let message = keys(&mut app, "y").screen.message().expect("a message");
    assert!(message.starts_with("line sent to the terminal's clipboard (OSC 52): "), "{message}");
    app.screen.wrap = Wrap::Tmux;
    let message = keys(&mut app, "y").screen.message().expect("a message");
    assert!(message.starts_with("line sent to tmux (OSC 52), which needs set-clipboard on: "), "{message}");
    // The status line offers to hide opens while they are many.
    let (mut app, mut made) = (self::app(80, 24, MEMORY), Maker::default());
    for second in 1..=3 {
        assert!(!screen(&mut app)[22].contains("O:hide opens"));
        more_opens(&mut app, &mut made, 0..2500);
        let usage = Usage { cpu: Duration::from_millis(20 * second), resident: 38_000_000 };
        app.update(Input::Tick(Tick { now: Duration::from_secs(second), usage: Some(usage) }));
    }
    let status = screen(&mut app)[22].clone();
    assert!(status.contains("O:hide opens"), "{status}");
    assert_eq!(app.usage.map(|used| (used.permille, used.resident)), Some((Some(20), 38_000_000)));
    assert!(!screen(keys(&mut app, "O"))[22].contains("O:hide opens"));
    // Failed execs are not among the execs a second.
    let (mut app, mut made) = (self::app(80, 24, MEMORY), Maker::default());
    for _ in 0..6 {
        made.exec(7, "env", &["ls"], -2);
    }
    made.exec(7, "env", &["ls"], 0);
    app.update(Input::Batch(made.batch()));
    app.update(Input::Tick(Tick { now: Duration::from_secs(1), usage: None }));
    assert!(screen(&mut app)[0].contains(" 1 exec /s "), "{}", screen(&mut app)[0]);
    assert_eq!(app.rates.all(), 7);
}

fn counted(made: &mut Maker, wanted: u64, last: bool) {
    let made_opens = std::mem::replace(&mut made.counters[Slot::Open as usize].wanted, wanted);
    made.counters(last);
    made.counters[Slot::Open as usize].wanted = made_opens;
}

#[test]
fn each_way_out_is_a_quit_that_may_be_asked_twice() {
    let mut app = opens(3, MEMORY);
    app.update(Input::SourceEnded);
    assert_eq!(app.source, SourceState::Ended);
    assert!(screen(&mut app)[0].contains("ENDED"));
    assert_eq!(ExitLine::of(&app).to_string(), "3 events, 0 lost");
    for code in [KeyCode::Char('q'), KeyCode::F(10)] {
        assert!(app.update(Input::Key(KeyEvent::from(code))).contains(&Effect::Quit));
    }
    assert_eq!(app.update(Input::Signal(Signal::End)), [Effect::Quit]);
    keys(&mut app, "f");
    let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(app.update(Input::Key(ctrl_c)).contains(&Effect::Quit), "while text is typed too");
    app.update(Input::Key(KeyEvent::new(KeyCode::Char('k'), KeyModifiers::ALT)));
    assert!(app.line_for(Purpose::Filter).is_none(), "Esc and a key right after it");
    assert!(selected(&mut app).ends_with("/f/1"));
    // A running command ends only when asked twice.
    let mut app = self::app(80, 24, MEMORY);
    app.set_command("make");
    assert!(!press(&mut app, 'q').contains(&Effect::Quit));
    check_shows(&mut app, &["make is still running"]);
    press(&mut app, 'j');
    assert!(!press(&mut app, 'q').contains(&Effect::Quit), "another key took it back");
    assert!(press(&mut app, 'q').contains(&Effect::Quit));
    app.update(Input::CommandEnded("exit 0".into()));
    press(&mut app, 'j');
    assert!(press(&mut app, 'q').contains(&Effect::Quit));
    // So does a long trace without a recording.
    let mut app = self::app(80, 24, MEMORY);
    press(keys(&mut app, "!"), 'q');
    assert!(app.screen.overlay.is_none(), "it closes the overlay");
    app.update(Input::Tick(Tick { now: Duration::from_secs(61), usage: None }));
    assert!(!press(&mut app, 'q').contains(&Effect::Quit));
    check_shows(&mut app, &["this trace is not recorded"]);
    assert!(press(&mut app, 'q').contains(&Effect::Quit));
    app.update(Input::SourceEnded);
    press(&mut app, 'j');
    assert!(press(&mut app, 'q').contains(&Effect::Quit));
}

#[test]
fn what_is_unknown_or_elsewhere_is_not_guessed() {
    for (host, text) in [
        (HostFrame::Excerpt(Excerpt { filter: "kind=exec".to_owned() }), "unknown: this excerpt has none"),
        (
            HostFrame::Trace(Trace { kinds: KindSet::of(&[Kind::Exec]).bits(), ..Trace::default() }),
            "unknown: opens are not traced",
        ),
    ] {
        let (mut app, mut made) = (app(80, 30, MEMORY), Maker::default());
        host.push(BootNanos(0), &mut made.batch);
        made.exec(7, "cat", &["cat", "x"], 0);
        keys(feed(&mut app, &mut made), "\n");
        check_shows(&mut app, &[text]);
        let shown = screen(keys(&mut app, "\x1b2")).join("\n");
        assert_eq!(shown.contains("no exit"), text.contains("excerpt"), "{shown}");
    }
    // An exit says how a process ended that is no longer known.
    let (mut app, mut made) = (app(80, 40, MEMORY), Maker::default());
    made.acts("7 cc1 exec cc1, open /a, exit 1; 8 sh exit 127");
    for pid in 0..=tracetui_events::limits::DEAD_PROCESSES as u32 {
        made.exit(1000 + pid, "sh", 0);
    }
    keys(feed(&mut app, &mut made), "gjj\n");
    check_shows(&mut app, &[" this      exit 1 after 10.0 s, at ", " · cpu 1 ms, 3.0 MiB"]);
    check_shows(keys(&mut app, "\x1bjW"), &["a shell exits with 127 if it does not find a command"]);
    check_shows(keys(&mut app, "\x1bgj\n"), &[" this      exit 1 after 10.0 s, at "]);
    // Users elsewhere are numbers in every view.
    for (pid_ns, container, id, shown) in [
        (9, None, 1000, true),
        (77, None, 1000, false),
        (9, Some(Container::default()), 1000, false),
        (77, None, 0, true),
    ] {
        let (uid, gid) = (Uid(id), Gid(id));
        let mut made = Maker::default();
        made.host(&HostFrame::Host(Host { pid_ns: NsInum(9), ..Host::default() }));
        made.host(&HostFrame::User(User { uid, name: "alice".to_owned() }));
        made.host(&HostFrame::Group(Group { gid, name: "staff".to_owned() }));
        made.host(&HostFrame::Cgroup(Cgroup { id: CgroupId(5), path: b"/x".to_vec(), container }));
        made.like = FrameHeader { pid_ns: NsInum(pid_ns), cgroup: CgroupId(5), uid, gid, ..made.like };
        made.acts("7 a exec a, open /x");
        let mut app = self::app(160, 40, MEMORY);
        feed(&mut app, &mut made);
        // The page of an event, and Top by user.
        for (typed, text) in [("\n", "alice:staff".to_owned()), ("\x1b3lll", format!("alice ({id})"))] {
            keys(&mut app, typed);
            work(&mut app);
            let screen = screen(&mut app).join("\n");
            assert_eq!(screen.contains(&text), shown, "{text} after {typed:?} in\n{screen}");
            assert!(shown || !screen.contains("alice"), "{typed:?} in\n{screen}");
        }
    }
}

#[test]
fn the_commands_output_is_shown_and_followed() {
    let mut app = app(80, 12, MEMORY);
    check_shows(keys(&mut app, "o"), &["no COMMAND was given"]);
    app.set_command("make");
    app.update(Input::Output((0..30).map(|i| format!("line {i}\x1b[1m\r\n")).collect::<String>().into_bytes()));
    check_shows(keys(&mut app, "o"), &["OUTPUT of make (running)", "line 29"]);
    app.update(Input::Output(b"newest\r\n".to_vec()));
    check_shows(&mut app, &["newest"]);
    check_shows(keys(&mut app, "g"), &["line 0"]);
    app.update(Input::CommandEnded("exit 2".into()));
    check_shows(&mut app, &["make ended: exit 2"]);
    // A paste presses no keys, and is text where text is typed.
    let mut app = opens(9, MEMORY);
    let paste = |app: &mut App, text: &str| {
        let effects = app.update(Input::Paste(text.to_owned()));
        app.update(Input::Tick(Tick { now: Duration::from_millis(1), usage: None }));
        effects
    };
    assert_eq!(paste(&mut app, "qexO!\n"), [Effect::Redraw]);
    assert_eq!((app.events().events(), app.filter.text(), app.screen.overlay), (9, String::new(), None));
    assert!(screen(&mut app)[22].contains("press f or /"), "{}", screen(&mut app)[22]);
    paste(keys(&mut app, "f"), "comm=cat\n\x1b[31m");
    assert_eq!(app.line_for(Purpose::Filter).expect("open").text(), "comm=cat  [31m", "no Enter, no escape sequence");
    paste(keys(&mut app, "\x1bf"), "comm=dog\n");
    assert_eq!(app.events().events(), 3);
    paste(keys(&mut app, "\n/"), "/f/4");
    assert!(selected(&mut app).ends_with("/f/4"));
    paste(keys(&mut app, "\x1b/"), &"a".repeat(10_000));
    assert_eq!(app.line_for(Purpose::Search).expect("open").text(), "", "it is too long");
}

/// A build that fails because a header is missing. The last event is make's exit.
fn failed_build() -> Maker {
    let mut made = traced(100);
    made.acts(
        "100 make exec make, fork 101; 101 cc exec cc -c main.c, fork 102; 102 cc1 exec cc1 main.c, open \
         /usr/include/stdio.h /usr/lib/gcc/include/zlibx.h:-2 /usr/include/zlibx.h:-2 /src/main.c, exit 1; 101 cc \
         exit 1; 100 make open /usr/share/locale/de/LC_MESSAGES/make.mo:-2, exit 2",
    );
    made
}

#[test]
fn an_exit_without_a_cause_names_the_first_failure() {
    let mut app = app(80, 24, MEMORY);
    app.set_command("make");
    feed(&mut app, &mut failed_build()).update(Input::CommandEnded("exit 2".into()));
    let shown = screen(&mut app);
    let ended = " ENDED  make exit 2 after 12 ms │ cc1 main.c: zlibx.h not found ";
    assert!(shown[0].starts_with(ended) && shown[0].ends_with("LOST 0"), "{}", shown[0]);
    let row =
        |start: &str| shown.iter().find(|row| row.contains("EXIT") && row.contains(start)).cloned().unwrap_or_default();
    assert!(row(" 102 ").contains("cc1 main.c  zlibx.h not found  10"), "{}", row(" 102 "));
    for (exit, child) in [(" 101 ", "cc1 main.c"), (" 100 ", "cc -c main.c")] {
        assert!(row(exit).contains(&format!("  via {child}")), "{}", row(exit));
    }
    // The selected row shows the answer.
    let parts = [
        "── 100 make ── exit 2",
        "why       looking it up",
        "by        102 cc1 main.c  exit 1  ‹ 101 cc -c main.c  exit 1",
        "tried     zlibx.h in 2 directories  ENOENT",
    ];
    check_shows(keys(&mut app, "\x1bGkjW"), &parts);
    check_lacks(&mut app, &["explains this status"]);
    app.update(Input::Resize(120, 24));
    let ended = " ENDED  make exit 2 after 12 ms │ cc1 main.c: zlibx.h not found │ 5 opens (2 failed) · 3 execs ";
    assert!(screen(&mut app)[0].starts_with(ended), "{}", screen(&mut app)[0]);
    // The processes used more.
    app.summary.cpu_ns = 2_400_000_000;
    let ended = " ENDED  make exit 2 after 12 ms (CPU 2.4 s) │ ";
    assert!(screen(&mut app)[0].starts_with(ended), "{}", screen(&mut app)[0]);
    // An exit without a cause names the first failure.
    let mut app = self::app(120, 24, MEMORY);
    app.set_command("cargo");
    let mut made = traced(100);
    made.acts("100 cargo exec cargo, fork 101; 101 rustc exec rustc, open /dev/tty:-6, exit 1");
    // The parent starts another child after this one failed, so this child is not the cause of its exit.
    made.acts("100 cargo fork 102; 102 cargo open /none:-2, exit 1");
    later_child(&mut made, 100, "cargo", 103);
    made.exit(100, "cargo", 101 << 8);
    feed(&mut app, &mut made).update(Input::CommandEnded("exit 101".into()));
    let header = screen(&mut app)[0].clone();
    assert!(header.contains("│ first failure: cargo: /none not found "), "{header}");
    check_shows(keys(&mut app, "\x1bGkjW"), &["no failed call explains this status", "last calls"]);
    check_lacks(&mut app, &["cause "]);
    // A build that continues after failures.
    let mut app = self::app(140, 24, MEMORY);
    app.set_command("make");
    let mut made = traced(100);
    made.exec(100, "make", &["make", "-k"], 0);
    for (pid, name) in [(101, "one"), (102, "two")] {
        made.acts(&format!("100 make fork {pid}; {pid} cc1 exec cc1, open /usr/include/{name}.h:-2, exit 1"));
    }
    later_child(&mut made, 100, "make", 103);
    made.exit(100, "make", 2 << 8);
    feed(&mut app, &mut made).update(Input::CommandEnded("exit 2".into()));
    let header = screen(&mut app)[0].clone();
    assert!(header.contains("│ first failure: cc1: /usr/include/one.h not found "), "{header}");
}

#[test]
fn the_verdict_is_shown_unless_the_user_does_something_else() {
    let mut app = app(160, 24, MEMORY);
    app.set_command("make");
    feed(&mut app, &mut failed_build());
    check_lacks(&mut app, &["failed only"]);
    app.update(Input::CommandEnded("exit 2".into()));
    check_shows(&mut app, &["failed only", "zlibx.h ", "── 102 cc1 ── OPEN", "Esc: all events"]);
    check_lacks(keys(&mut app, "\x1b"), &["failed only", "── 102 cc1"]);
    assert!(
        app.selected().is_some_and(|stored| stored.failed && stored.kind == Kind::Open),
        "the cause stays selected"
    );
    for typed in ["k", "fcomm=cc1\n", "2", "?", "kj\n"] {
        let mut app = crate::app::testing::app(160, 24, MEMORY);
        app.set_command("make");
        keys(feed(&mut app, &mut failed_build()), typed).update(Input::CommandEnded("exit 2".into()));
        check_lacks(&mut app, &["failed only"]);
        assert!(screen(&mut app)[0].starts_with(" ENDED  make exit 2 after"), "{typed}");
    }
    // Without a cause, the exit is selected.
    let mut app = crate::app::testing::app(160, 24, MEMORY);
    app.set_command("sh");
    let mut made = traced(100);
    made.acts("100 sh exec sh, exit 1");
    let telling = |app: &App| app.output.as_ref().map(|output| output.telling(3)).unwrap_or_default();
    app.update(Input::Output(b"1\r\n2\r\nf.c:1: \x1b[31mError:\x1b[m x\r\n".to_vec()));
    (0..99).for_each(|number| _ = app.update(Input::Output(format!("{number}\r\n").into_bytes())));
    assert_eq!(telling(&app), ["f.c:1: Error: x", "0", "98"], "from the error on, though it is above the screen");
    app.set_command("sh");
    app.update(Input::Output(b"1\r\n2\r\nfrobnicator missing\r\n".to_vec()));
    feed(&mut app, &mut made).update(Input::CommandEnded("exit 1".into()));
    let known =
        ["failed only", "no failed call explains this status", "output    1", "frobnicator missing", "last calls exec"];
    check_shows(&mut app, &known);
}

/// A child that a process starts now, and that ends well.
fn later_child(made: &mut Maker, parent: u32, comm: &str, child: u32) {
    let start = BootNanos(made.ns + 1);
    made.event(Slot::Fork, parent, comm, &payload::fork((parent, made.start_of(parent)), (child, start)));
    let header = FrameHeader { start, ..made.header(Slot::Exit, child, comm) };
    made.batch.push(header, &payload::exit(0));
}

fn running(wrote: &[u8]) -> App {
    let mut app = app(80, 12, MEMORY);
    app.set_command("vim");
    app.update(Input::Resize(80, 12));
    app.update(Input::Output(wrote.to_vec()));
    app
}

/// The bytes that COMMAND gets for a key.
fn typed(app: &mut App, code: KeyCode, modifiers: KeyModifiers) -> Option<Vec<u8>> {
    let effects = app.update(Input::Key(KeyEvent::new(code, modifiers)));
    effects.into_iter().find_map(|effect| if let Effect::Type(bytes) = effect { Some(bytes) } else { None })
}

#[test]
fn keys_go_to_the_command_after_enter_until_one_leaves() {
    let mut app = running(b"Name: ");
    let (none, ctrl) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
    assert!(screen(&mut app)[10].contains("COMMAND may wait for input: o Enter"), "{:?}", screen(&mut app));
    assert_eq!(typed(&mut app, KeyCode::Char('o'), none), None);
    assert_eq!(typed(&mut app, KeyCode::Enter, none), None);
    assert!(screen(&mut app)[2].contains("keys go to it, Ctrl-] leaves"));
    assert_eq!(typed(&mut app, KeyCode::Char('q'), none), Some(b"q".to_vec()));
    assert_eq!(typed(&mut app, KeyCode::Char('c'), ctrl), Some(b"\x03".to_vec()));
    assert_eq!(typed(&mut app, KeyCode::Esc, none), Some(b"\x1b".to_vec()));
    assert_eq!(typed(&mut app, KeyCode::Up, none), Some(b"\x1b[A".to_vec()));
    app.update(Input::Output(b"\x1b[?1h\x1b[?2004h".to_vec()));
    assert_eq!(typed(&mut app, KeyCode::Up, none), Some(b"\x1bOA".to_vec()));
    assert_eq!(app.update(Input::Paste("a\nb".into())), [Effect::Type(b"\x1b[200~a\rb\x1b[201~".to_vec())]);
    assert_eq!(typed(&mut app, KeyCode::Char('5'), ctrl), None);
    assert_eq!(typed(&mut app, KeyCode::Char('x'), none), None);
    assert!(!screen(&mut app)[2].contains("keys go to it"));
    // A command that uses the whole screen gets the keys once.
    let mut app = running(b"\x1b[?1049h\x1b[Hwhole");
    let shown = screen(&mut app);
    assert!(shown[2].contains("keys go to it") && shown[3].starts_with("whole"), "{shown:?}");
    assert_eq!(typed(&mut app, KeyCode::Char('q'), KeyModifiers::NONE), Some(b"q".to_vec()));
    app.update(Input::Key(KeyEvent::new(KeyCode::Char(']'), KeyModifiers::CONTROL)));
    keys(&mut app, "\x1b").update(Input::Output(b"\x1b[?1049l\x1b[?1049h".to_vec()));
    assert!(app.screen.overlay.is_none(), "not a second time");
    let mut app = running(b"\x1b[?1049h");
    app.update(Input::CommandEnded("exit 0".into()));
    assert_eq!((app.screen.overlay, app.types()), (None, false));
    assert_eq!(typed(keys(&mut app, "o"), KeyCode::Enter, KeyModifiers::NONE), None);
    assert!(!app.types(), "it has ended");
    // Its terminal has the size that is left, and answers questions.
    let mut app = running(b"\x1b[6n");
    assert_eq!(app.output.as_ref().expect("a COMMAND").terminal.size(), (80, 7));
    app.update(Input::Resize(100, 40));
    assert_eq!(app.output.as_ref().expect("a COMMAND").terminal.size(), (100, 35));
    for (columns, rows) in [(1, 1), (3, 2), (0, 0), (80, 12)] {
        app.update(Input::Resize(columns, rows));
        app.update(Input::Output("日本\x1b[6n".as_bytes().to_vec()));
    }
    let effects = app.update(Input::Output(b"\x1b[H\x1b[6n\x1b[c".to_vec()));
    assert!(effects.contains(&Effect::Type(b"\x1b[1;1R\x1b[?62;22c".to_vec())), "{effects:?}");
}

#[test]
fn a_replay_shows_the_commands_screen_of_its_time() {
    let mut app = app(80, 12, MEMORY);
    app.set_replay(Replay::new(Facts::default(), Target::First, Speed::default()));
    let mut made = Maker::default();
    let output = |text: &str, missing| {
        let bytes = text.as_bytes().to_vec();
        HostFrame::CommandOutput(CommandOutput { columns: 80, rows: 7, bytes, missing })
    };
    for number in 0..4 {
        made.open(7, "make", &format!("/{number}"), 3);
        made.host(&output(&format!("step {number}\r\n"), 0));
    }
    made.host(&output("", 12));
    let mut recorded = Pipeline::default();
    let batch = made.batch();
    recorded.feed(batch.clone());
    let state = recorded.state();
    app.update(Input::Batch(batch));
    assert!(app.world().terminal().is_none(), "the screen is made where it is shown");
    let steps = |app: &mut App, key: &str| {
        keys(app, key);
        let shown = screen(app).join("\n");
        (shown.matches("step").count(), shown.contains("12 bytes after it not recorded"))
    };
    assert_eq!(steps(&mut app, "go"), (1, false), "after the first event");
    assert_eq!(steps(&mut app, "."), (2, false));
    assert_eq!(steps(&mut app, ",,"), (1, false));
    assert_eq!(steps(&mut app, "\x1bGo"), (4, true), "at the end");
    app.update(Input::Restore(Some(state), false));
    made.open(7, "make", "/4", 3);
    made.host(&output("step 4\r\n", 0));
    assert_eq!(steps(feed(&mut app, &mut made), "\x1bo").0, 5, "the state has the screen before");
    assert_eq!(press(&mut app, 'q'), [Effect::Redraw], "the output closes");
    assert!(press(&mut app, 'q').contains(&Effect::Quit), "nothing runs");
}

#[test]
fn the_header_sums_up_a_command_that_ended() {
    let mut app = app(120, 24, MEMORY);
    app.set_command("make");
    let mut made = traced(48_213);
    made.exec(48_213, "make", &["make"], 0);
    feed(&mut app, &mut made);
    // The process scan is read after these events.
    let (start, comm) = (made.start_of(48_213), b"make".to_vec());
    let seed = ProcessSeed { tgid: Tgid(48_213), start, start_exact: true, comm, ..Default::default() };
    made.host(&HostFrame::ProcessSeed(seed));
    made.acts("48213 make exec make, fork 48214; 48214 ld exec:-13 ld, open /a/c:-2 /b, exit 127; 48213 make exit 2");
    assert!(screen(feed(&mut app, &mut made))[0].starts_with(" LIVE "));
    app.update(Input::CommandEnded("exit 2".into()));
    let header = |app: &mut App| screen(app)[0].clone();
    assert!(header(&mut app).starts_with(" ENDED  make exit 2"), "{}", header(&mut app));
    let all = "make exit 2 after 7 ms │ ld: /a/c not found │ 2 opens (1 failed) · 2 execs (+1 failed)";
    assert!(header(&mut app).contains(all), "{}", header(&mut app));
    // The run time is the same figure everywhere. It excludes the time in which COMMAND was held. Of others it is their life.
    keys(&mut app, "\x1bG");
    let own = "make            exit 2     make  via ld  7 ms";
    check_shows(&mut app, &[own, "ld              exit 127   "]);
    check_shows(keys(&mut app, "\n"), &["held      10.0 s before its first exec", "this      exit 2 after 7 ms"]);
    check_shows(keys(&mut app, "\x1b2"), &["48213 exit 2      7 ms"]);
    app.update(Input::Resize(120, 24));
    keys(&mut app, "1").update(Input::Resize(80, 24));
    assert!(header(&mut app).contains(" after 7 ms │ ld: /a/c not found"), "{}", header(&mut app));
    assert!(header(&mut app).ends_with("LOST 0"));
    app.update(Input::Resize(60, 24));
    assert!(header(&mut app).contains(" make exit 2 │ ld: /a/c not found "), "{}", header(&mut app));
    app.update(Input::Resize(40, 10));
    assert!(header(&mut app).starts_with(" ENDED  make exit 2") && header(&mut app).ends_with("LOST 0"));
    app.update(Input::Resize(120, 24));
    // Lost opens may have been among them.
    made.lose(1);
    made.counters(false);
    feed(&mut app, &mut made);
    assert!(header(&mut app).contains(" at least 2 opens (1 failed) · 2 execs (+1"), "{}", header(&mut app));
}

/// `make` starts `cc`, which starts `as`; `cc` opens files.
fn family() -> Maker {
    let mut made = Maker::default();
    made.acts(
        "1 make exec make all, fork 7; 7 cc exec cc -c main.c, open /f/1:-2 /f/2, fork 9; 9 as exec as main.s, exit \
         0; 7 cc exit 0",
    );
    made
}

/// The title of the pane, and the line in it with the selection mark.
fn pane(app: &mut App) -> (String, String) {
    let shown = screen(app);
    let at = shown.iter().position(|line| line.contains(" Raw ")).expect("the title of the pane");
    let title = shown[at].split_once("── ").map_or("", |(_, title)| title).to_owned();
    let selected = shown[at + 1..].iter().find(|line| line.starts_with('>')).cloned();
    (title, selected.unwrap_or_default())
}

#[test]
fn a_row_of_the_pane_leads_to_a_parent_a_child_or_an_open() {
    let mut app = app(80, 30, MEMORY);
    keys(feed(&mut app, &mut family()), "\n\t\tJ");
    let (title, child) = pane(&mut app);
    assert!(title.starts_with("7 cc ──") && child.contains("as "), "{title}: {child}");
    assert!(pane(keys(&mut app, "\n")).0.starts_with("9 as ── exit 0"), "{:?}", pane(&mut app));
    assert_eq!(pane(&mut app).1, "", "no row is selected there yet");
    // The process has no children, so its parent is next. The ancestors are above that.
    assert!(pane(keys(&mut app, "JK\n")).0.starts_with("1 make ── running"), "{:?}", pane(&mut app));
    assert!(selected(&mut app).contains("EXIT     7 cc"), "the list behind stays");
    let (title, parent) = pane(keys(&mut app, "\x1b"));
    assert!(title.starts_with("9 as ── exit 0") && parent.contains("make"), "{title}: {parent}");
    // Esc unselects the row, goes back, unselects the row, and closes the pane.
    assert_eq!(pane(keys(&mut app, "\x1b\x1b")).1, child);
    assert_eq!(pane(keys(&mut app, "\x1b")).1, "");
    assert!(keys(&mut app, "\x1b").detail.size.is_none());
    // A file leads to its open.
    let mut app = self::app(80, 30, MEMORY);
    keys(feed(&mut app, &mut family()), "\n\tJJ");
    assert!(pane(&mut app).1.starts_with(">14:02:11.004 ENOENT   r  /f/1"), "{:?}", pane(&mut app));
    assert!(selected(keys(&mut app, "\n")).contains("OPEN     7 cc       ENOENT  r  /f/1"), "{}", selected(&mut app));
    assert!(pane(&mut app).0.starts_with("7 cc ── OPEN ENOENT"), "{:?}", pane(&mut app));
    assert!(selected(keys(&mut app, "\x1b")).contains("EXIT     7 cc"), "{}", selected(&mut app));
    assert!(pane(&mut app).1.contains("/f/1"), "the row is selected again: {:?}", pane(&mut app));
    // The list does not show the event. The pane shows it, and says so.
    assert!(selected(keys(&mut app, "fkind=exit\nJJ\n")).contains("EXIT     7 cc"), "{}", selected(&mut app));
    assert!(pane(&mut app).0.starts_with("7 cc ── OPEN ENOENT"), "{:?}", pane(&mut app));
    check_shows(&mut app, &["the filters hide this event from the list", "tried     /f/1"]);
    keys(&mut app, "\x1b\x12 ");
    // A paused list does not show it either, if it came later.
    let mut made = Maker { ns: 200_000_000_000, ..Maker::default() };
    made.open(7, "cc", "/f/3", 3);
    keys(feed(&mut app, &mut made), "\nJ\n");
    check_shows(&mut app, &["happened after the pause", "opened    /f/3"]);
}

#[test]
fn the_selected_row_of_the_pane_is_seen_and_forgotten_with_its_event() {
    let mut made = family();
    for child in 0..14 {
        made.fork(7, "cc", 100 + child);
        made.open(7, "cc", &format!("/g/{child}"), 3);
    }
    let ascii = Theme { colours: Colours::None, charset: Charset::Ascii };
    let coloured = Theme::default();
    for (width, height, theme) in [(40, 10, ascii), (80, 24, coloured), (120, 40, coloured), (160, 50, ascii)] {
        for tab in ["\t", "\t\t"] {
            let mut app = app(width, height, MEMORY);
            app.update(Input::Batch(made.batch.clone()));
            app.update(Input::SourceEnded);
            keys(work(&mut app), &format!("\n{tab}"));
            assert_eq!(rows_selected(&mut app, theme), 0);
            let mut rows = Vec::new();
            for key in ["J"; 18].into_iter().chain(["K"; 18]) {
                let before = app.detail.row;
                let (row, seen) = (keys(&mut app, key).detail.row, rows_selected(&mut app, theme));
                // Beyond the last row, the pane scrolls.
                let moved = row != before;
                assert!(seen == 1 || !moved, "{width}x{height} {tab:?} {row:?}\n{}", screen(&mut app).join("\n"));
                rows.extend(row.filter(|row| moved && !rows.contains(row)));
            }
            assert_eq!(rows.len(), 16, "{width}x{height} {tab:?}");
        }
    }
    // It is forgotten with its event and its tab.
    let mut app = app(80, 30, MEMORY);
    keys(feed(&mut app, &mut family()), "\n\t\t");
    for away in ["k", "j", "\x1b", "\t"] {
        assert!(keys(&mut app, "J").detail.row.is_some(), "before {away:?}");
        assert!(keys(&mut app, away).detail.row.is_none(), "after {away:?}");
    }
    let footer = |app: &mut App| screen(app).pop().unwrap_or_default();
    assert!(footer(&mut app).contains("Enter full") && footer(&mut app).ends_with("Esc close"), "{}", footer(&mut app));
    // Without a selected row, Enter enlarges the pane. With one, Enter does not.
    assert!(pane(keys(&mut app, "\t\t\t\tJ\n")).0.contains("9 as ── exit 0") && app.areas().list.height > 0);
    assert_eq!(keys(&mut app, "\n").areas().list.height, 0);
    keys(&mut app, "\x1b\x1bgjja\nJ\nJW");
    assert!(pane(&mut app).0.starts_with("7 cc ── OPEN") && app.detail.row.is_none(), "{:?}", pane(&mut app));
    // Raw has no rows: it scrolls.
    screen(keys(&mut app, "\x1b\x1bg\n\t\t\t"));
    assert!(keys(&mut app, "J").detail.row.is_none() && app.detail.scroll == 1);
}

/// The number of rows of the pane with the selection mark and reversed cells.
fn rows_selected(app: &mut App, theme: Theme) -> usize {
    let buffer = drawn(app, theme);
    let area = app.areas().detail;
    let at_side = u16::from(area.x > 0);
    let is_reversed = |x, y| {
        let cell: &ratatui::buffer::Cell = &buffer[(x, y)];
        cell.modifier.contains(ratatui::style::Modifier::REVERSED) && cell.symbol() != " "
    };
    let has_sign = |y: &u16| buffer[(area.x + at_side, *y)].symbol() == ">";
    let rows = (area.y + 1..area.bottom()).filter(has_sign);
    rows.filter(|y| (area.x + at_side + 1..area.right()).any(|x| is_reversed(x, *y))).count()
}

#[test]
fn a_row_of_the_pane_that_was_evicted_leads_nowhere_and_says_so() {
    let (mut app, mut made) = (app(80, 24, 4 << 20), Maker::default());
    more_opens(&mut app, &mut made, 0..999);
    keys(keys(&mut app, "\n\t"), &"J".repeat(400));
    let (_, row) = pane(&mut app);
    assert!(row.ends_with("/f/2"), "the oldest: {row}");
    let mut next = 999;
    while app.store().first_id() < 3 {
        more_opens(&mut app, &mut made, next..next + 30);
        next += 30;
    }
    assert_eq!(pane(&mut app).1, "", "it is gone");
    let shown = screen(keys(&mut app, "\n"));
    assert!(shown[22].starts_with(" this event was evicted from memory"), "{}", shown.join("\n"));
    assert!(app.detail.row.is_none() && selected(&mut app).ends_with("/f/998"), "{}", selected(&mut app));
    // From the old position, the nearest remaining row is next.
    let (_, row) = pane(keys(&mut app, &"J".repeat(next)));
    keys(&mut app, "\n");
    let path = row.rsplit(' ').next().unwrap_or_default();
    assert!(selected(&mut app).contains(path) && path.starts_with("/f/"), "{}", selected(&mut app));
    // A forgotten process.
    let mut app = self::app(80, 30, 4 << 20);
    let mut made = family();
    keys(feed(&mut app, &mut made), "\n\t\tJ");
    assert!(pane(&mut app).1.contains("as main.s"), "{:?}", pane(&mut app));
    let Some(Subject::Process(child)) = app.detail.row else { panic!("a process is selected") };
    let mut pid = 1000;
    while app.world().processes.get(child).is_some() {
        for _ in 0..50 {
            pid += 1;
            made.acts(&format!("1 make fork {pid}; {pid} make exit 0"));
        }
        feed(&mut app, &mut made);
    }
    assert!(selected(&mut app).contains("EXIT     7 cc"), "it is still kept: {}", selected(&mut app));
    assert_eq!(pane(&mut app).1, "");
    let shown = screen(keys(&mut app, "\n"));
    assert!(shown[28].starts_with(" process 9 was evicted from memory"), "{}", shown.join("\n"));
    assert!(app.detail.row.is_none() && app.detail.size == Some(Size::Part));
}

#[test]
fn columns_are_chosen_and_chips_are_keys() {
    let mut app = app(80, 24, 64 << 20);
    let lines = screen(keys(&mut app, "C"));
    assert!(lines[2].contains("TIME KIND") && lines[2].ends_with("│ COLUMNS of Events"), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("no room") || line.contains("left out")));
    app.update(Input::Resize(130, 24));
    let lines = screen(&mut app);
    let of = |name: &str| lines.iter().find_map(|line| line.split_once(name)).map(|(_, rest)| rest.trim().to_owned());
    assert_eq!(["[x] pid", "[x] cwd", "[ ] unit"].map(of), ["", "left out", ""].map(|why| Some(why.to_owned())));
    app.update(Input::Resize(80, 24));
    // Adds columns until the list has no room for all of them.
    for _ in 0..6 {
        keys(&mut app, "jjjjjjjjjjjjjj ");
    }
    let lines = screen(&mut app);
    assert!(lines.iter().any(|line| line.contains("[x] cgroup  no room")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.ends_with("[x] detail")), "{lines:#?}");
    // Each other view has its own choice.
    let lines = screen(keys(&mut app, "2"));
    assert!(lines[2].contains("COMMAND") && lines[2].ends_with("│ COLUMNS of Tree"), "{lines:#?}");
    assert!(!screen(keys(&mut app, "\x1b"))[2].contains("COLUMNS"));
}

#[test]
fn a_click_selects_the_row_under_it_and_the_wheel_scrolls() {
    let click = |app: &mut App, column, row| {
        screen(app);
        screen(mouse(app, CLICK, column, row))
    };
    let mut app = opens(100, MEMORY);
    let before = screen(&mut app);
    let shown = click(&mut app, 30, 7);
    assert_eq!(shown.iter().position(|line| line.starts_with('>')), Some(7), "{}", shown.join("\n"));
    assert_eq!(shown[7][1..], before[7][1..]);
    for view in ["2", "3"] {
        let shown = click(keys(&mut app, view), 5, 4);
        assert!(shown[4].starts_with('>'), "{}", shown.join("\n"));
        // None of these is a row: an empty line, the title, the filter line and the header.
        for row in [15, 2, 1, 0] {
            assert_eq!(click(&mut app, 5, row)[4], shown[4]);
        }
    }
    // The wheel scrolls what is under it.
    let wheel = |app: &mut App, kind, row| screen(mouse(app, kind, 5, row)).join("\n");
    let mut app = opens(100, MEMORY);
    wheel(&mut app, MouseEventKind::ScrollUp, 10);
    assert_eq!(app.events().selected(), Some(96));
    let raw = screen(keys(&mut app, "\n\t\t\t")).join("\n");
    let scrolled = wheel(&mut app, MouseEventKind::ScrollDown, 18);
    assert!(raw != scrolled && app.events().selected() == Some(96), "{scrolled}");
    keys(&mut app, "\x1b?").update(Input::Resize(80, 10));
    let help = screen(&mut app).join("\n");
    assert!(help != wheel(&mut app, MouseEventKind::ScrollDown, 5) && app.screen.overlay.is_some());
}

#[test]
fn the_detail_of_a_gap_begins_with_the_answer_and_a_file_has_its_calls() {
    let (mut app, mut made) = (app(80, 24, MEMORY), Maker::default());
    made.open(7, "cat", "/a", 3);
    made.lost(1204);
    keys(feed(&mut app, &mut made), "k");
    let shown = screen(keys(&mut app, "G\n"));
    let from = shown.iter().position(|line| line.starts_with("──")).expect("the pane") + 1;
    let pane = &shown[from..];
    assert_eq!(pane[0], " lost      1,204 opens: kernel ring full");
    assert!(pane[1].starts_with(" why       the events arrived faster"), "{}", pane[1]);
    assert!(pane[2].starts_with(" when      37 ms, 14:02:10.965 "), "{}", pane[2]);
    assert!(pane[2].ends_with(" 11.002, on CPU 0"), "{}", pane[2]);
    assert!(pane[3].starts_with(" remedy    start with --ring-size 4MiB, or capture less"), "{}", pane[3]);
    assert!(pane[4].ends_with("! shows all losses"), "{}", pane[4]);
    // The fields are those on the Raw tab.
    check_shows(keys(&mut app, "\t\t\t"), &[" cause     ring"]);
    // A file has the calls that changed it.
    let (mut app, mut made) = (self::app(120, 40, MEMORY), Maker::default());
    for (pid, comm, op, path) in
        [(5, "mkdir", file::MKDIR, "/d"), (6, "rm", file::UNLINK, "/e"), (7, "rm", file::RMDIR, "/d")]
    {
        made.call(Slot::File, pid, comm, op, path, 0);
    }
    made.open(8, "cat", "/d", -2);
    keys(feed(&mut app, &mut made), "\n");
    check_shows(&mut app, &["5 mkdir  mkdir 0000 /d", "7 rm  rmdir /d"]);
    let life: Vec<_> = screen(&mut app).into_iter().filter(|line| line.contains("life")).collect();
    assert_eq!(life.len(), 2, "{life:#?}");
}
