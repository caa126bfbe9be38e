//! The BPF programs, from frames to the screen.

mod owners;
mod rates;

use crate::app::testing::{app, feed, keys, press};
use crate::app::views::View;
use crate::app::{App, Effect, Input};
use crate::view::tests::{MEMORY, SIZES, check_draws, check_shows, drawn, row_with, rows, screen};
use crate::view::theme::Theme;
use ratatui::style::{Color, Modifier};
use tracetui_events::bpf::{self, HeldBy, Hook};
use tracetui_events::enrich::bpf::Programs;
use tracetui_events::frame::host::{
    BpfAttachment, BpfCounted, BpfHidden, BpfHolder, BpfHolders, BpfInventory, BpfMap, BpfProgram, BpfProgramGone,
    BpfRuns, HostFrame,
};
use tracetui_events::pipeline::{Disposition, Pipeline};
use tracetui_events::synthetic::Maker;
use tracetui_shared::id::{LinkId, ProgId, Tgid};
use tracetui_shared::kind::Slot;
use tracetui_shared::record::bpf::{BpfRecord, call, cmd, has};
use tracetui_shared::time::BootNanos;
use zerocopy::{FromZeros as _, IntoBytes as _};

/// A kprobe, a tracepoint, a uprobe.
const TYPES: [u32; 3] = [2, 5, 2];

fn program(id: u32, name: &str) -> BpfProgram {
    let prog_type = TYPES[id as usize % 3];
    BpfProgram { id: ProgId(id), prog_type, name: name.as_bytes().to_vec(), tag: 0xab, ..BpfProgram::default() }
}

pub(crate) fn attachment(key: u32, program: u32, hook: Hook, target: &str) -> BpfAttachment {
    let (program, link) = (ProgId(program), LinkId(key + 10));
    BpfAttachment { key, program, link, link_type: 7, hook, target: target.as_bytes().to_vec(), ..Default::default() }
}

pub(crate) fn held(program: u32, link: u32, by: BpfHolder) -> HostFrame {
    let (program, link) = (ProgId(program), LinkId(link));
    HostFrame::BpfHolders(BpfHolders { program, link, count: 1, holders: vec![by] })
}

pub(crate) fn process(pid: u32, comm: &str) -> BpfHolder {
    BpfHolder::process(HeldBy::Process, Tgid(pid), comm.as_bytes().to_vec(), 9)
}

fn restored(app: &App) -> Pipeline {
    let mut pipeline = Pipeline::default();
    pipeline.restore(&app.pipeline.state());
    pipeline
}

fn taken(made: &mut Maker) {
    let to = BootNanos(made.ns);
    let inventory = BpfInventory { from: to, to, whole: true, complete: true, ..Default::default() };
    made.host(&HostFrame::BpfInventory(inventory));
}

/// A kprobe held by a process, a program that is only pinned, and a program of tracetui.
fn inventory() -> Maker {
    let mut made = Maker::default();
    made.host(&HostFrame::BpfProgram(program(30, "on_unlink")));
    let maps = vec![BpfMap { id: 7, map_type: 1, name: b"counts".to_vec(), max_entries: 10_240 }];
    made.host(&HostFrame::BpfProgram(BpfProgram { helpers: 1, maps, ..program(31, "writer") }));
    made.host(&HostFrame::BpfProgram(BpfProgram { own: true, ..program(40, "exec_tp") }));
    made.host(&HostFrame::BpfAttachment(attachment(1, 30, Hook::Kprobe, "do_unlinkat")));
    made.host(&HostFrame::BpfAttachment(attachment(2, 40, Hook::Tracepoint, "sched:sched_process_exec")));
    made.host(&held(0, 11, process(1207, "tracerd")));
    made.host(&held(31, 0, BpfHolder::pin(b"/sys/fs/bpf/writer".to_vec())));
    taken(&mut made);
    made.open(1, "a", "/a", 3);
    made
}

fn view(width: u16, height: u16, made: &mut Maker) -> App {
    let mut app = app(width, height, MEMORY);
    keys(feed(&mut app, made), "4");
    app
}

fn words(row: &str) -> Vec<String> {
    row.trim_start_matches('>').split_whitespace().map(str::to_owned).collect()
}

/// The ids of the programs in the order of the rows, even folded ones, with their marks.
fn ids(app: &mut App) -> Vec<String> {
    screen(app);
    let (bpf, world) = (&app.views.bpf, app.world());
    let whole = bpf.list.rows.iter().filter(|row| row.below.is_none());
    let seen = whole.flat_map(|row| bpf.seen_in(row.key, world));
    seen.map(|seen| format!("{}{}", super::mark(&seen).trim(), seen.id.0)).collect()
}

#[test]
fn owners_are_rows_that_are_sorted_and_found() {
    let mut app = view(80, 24, &mut inventory());
    let shown = screen(&mut app);
    assert!(shown[1].ends_with("3 owners  3 programs"), "{}", shown[1]);
    assert_eq!(words(&shown[2]), ["OWNER", "PROGRAMS", "W", "ATTACHED", "TO"]);
    let rows = rows(&mut app);
    let want: [&[&str]; 3] = [
        &["pin", "/sys/fs/bpf/writer", "1", "W", "not", "attached", "31", "writer"],
        &["tracerd[1207]", "1", "kprobe", "do_unlinkat", "30", "on_unlink"],
        &["tracetui", "this", "one", "1", "tracepoint", "sched:sched_process_exec"],
    ];
    assert_eq!(rows.len(), 3, "{rows:#?}");
    for (row, want) in rows.iter().zip(want) {
        assert_eq!(words(row)[..want.len()], *want, "{rows:#?}");
    }
    // A program that writes to the memory of processes is red. tracetui's own programs are dim.
    let buffer = drawn(&mut app, Theme::default());
    let second = drawn(keys(&mut app, "j"), Theme::default());
    let cells = |y: u16| (1u16..79).map(move |x| (x, y));
    assert_eq!(cells(3).find(|at| buffer[*at].symbol() == "W").map(|at| second[at].fg), Some(Color::Red));
    assert!(cells(5).all(|at| buffer[at].symbol() == " " || buffer[at].modifier.contains(Modifier::DIM)));
    // Rows are sorted and found and the keys of filters are for events.
    let mut app = view(120, 24, &mut inventory());
    assert_eq!(ids(keys(&mut app, "S")), ["30", "31", "40"], "what belongs to tracetui stays last");
    assert_eq!(ids(keys(&mut app, "Sss")), ["30", "31", "40"], "by name");
    assert!(self::rows(keys(&mut app, "g/tracerd\n"))[0].starts_with('>'));
    assert!(self::rows(keys(&mut app, "\x1b/exec_tp\n"))[2].starts_with('>'), "{:#?}", self::rows(&mut app));
    assert_eq!(ids(keys(&mut app, "\x124")), ["31", "30", "40"], "the order of the start");
    let mut app = view(120, 24, &mut inventory());
    for key in ["f", "e", "c", "P", "u", "x", "O"] {
        let shown = screen(keys(&mut app, key));
        assert!(shown[22].contains("filters apply to events; / finds a row here"), "{key}: {}", shown[22]);
        assert!(shown[1].contains("/ find") && !shown[23].contains(" f filter"), "{}\n{}", shown[1], shown[23]);
    }
    assert_eq!(keys(&mut app, "1").filter.text(), "");
}

#[test]
fn what_came_and_what_went_is_said() {
    let mut made = inventory();
    let mut app = view(120, 40, &mut made);
    made.ns += 1_000_000_000;
    let loaded = BootNanos(made.ns);
    made.host(&HostFrame::BpfProgram(BpfProgram { loaded, ..program(50, "fresh") }));
    made.host(&HostFrame::BpfAttachment(BpfAttachment { news: true, ..attachment(3, 50, Hook::Uprobe, "/bin/x") }));
    taken(&mut made);
    made.open(1, "a", "/b", 3);
    assert_eq!(ids(feed(&mut app, &mut made)), ["+50", "31", "30", "40"]);
    assert!(screen(&mut app)[1].ends_with("+1 new"), "{}", screen(&mut app)[1]);
    made.ns += 1_000_000_000;
    made.host(&HostFrame::BpfAttachment(BpfAttachment { key: 3, gone: true, news: true, ..Default::default() }));
    made.host(&HostFrame::BpfProgramGone(BpfProgramGone { id: ProgId(50) }));
    taken(&mut made);
    made.open(1, "a", "/c", 3);
    let gone = row_with(feed(&mut app, &mut made), "-no process");
    assert!(gone.contains("uprobe /bin/x   50 fresh ") && gone.ends_with("14:02:13"), "{gone}");
    assert_eq!(rows(&mut app).len(), 4, "a program that is gone has the row of its attachment: {:#?}", rows(&mut app));
    assert!(screen(&mut app)[1].ends_with("run counting off  -1 gone"), "{}", screen(&mut app)[1]);
    // At an earlier event the program is loaded, or not loaded yet.
    assert!(screen(keys(&mut app, "1g4"))[1].contains(" AS OF "), "{}", screen(&mut app)[1]);
    assert_eq!(ids(&mut app), ["31", "30", "40"]);
    assert_eq!(ids(keys(&mut app, "F")), ["31", "30", "40", "-50"]);
    // An earlier moment shows what is unloaded by now.
    let mut made = inventory();
    made.ns += 1_000_000_000;
    made.open(1, "a", "/b", 3);
    made.ns += 1_000_000_000;
    made.host(&HostFrame::BpfAttachment(BpfAttachment { key: 1, gone: true, ..Default::default() }));
    taken(&mut made);
    made.open(1, "a", "/c", 3);
    let mut app = view(120, 24, &mut made);
    // The program is loaded without an attachment, and the attachment is gone.
    assert_eq!(ids(&mut app), ["31", "30", "40", "-30"]);
    assert!(screen(keys(&mut app, "1kkkj4"))[1].contains(" AS OF "), "{}", screen(&mut app)[1]);
    app.update(Input::Resize(100, 24));
    assert!(screen(&mut app)[1].contains("4 BPF"), "the tabs: {}", screen(&mut app)[1]);
    assert_eq!(ids(&mut app), ["31", "30", "40"]);
    assert!(rows(&mut app)[1].contains("tracerd[1207]"), "{:#?}", rows(&mut app));
}

#[test]
fn what_is_hidden_or_was_not_looked_at_is_said() {
    let mut made = inventory();
    let name = b"bpf_prog_00000000000000ab_rk".to_vec();
    made.host(&HostFrame::BpfHidden(BpfHidden {
        id: ProgId(7),
        name,
        seen_by: bpf::View::IterProg,
        ..BpfHidden::default()
    }));
    let mut app = view(140, 24, &mut made);
    let shown = screen(keys(&mut app, "jj"));
    assert!(shown[1].contains("1 hidden"), "{}", shown[1]);
    assert!(
        shown[3].starts_with(" !7 HIDDEN bpf_prog_00000000000000ab_rk ")
            && shown[3].contains("in iter_prog, but not in next_id"),
        "{}",
        shown[3]
    );
    let buffer = drawn(&mut app, Theme::default());
    assert!((1u16..118).all(|x| buffer[(x, 3)].symbol() == " " || buffer[(x, 3)].fg == Color::Red));
    assert!((1u16..118).any(|x| buffer[(x, 4)].symbol() != " " && buffer[(x, 4)].fg != Color::Red));
    // Places that were not read.
    let mut made = inventory();
    let unseen = vec!["network namespaces: more than 1024".to_owned()];
    made.host(&HostFrame::BpfInventory(BpfInventory { unseen, ..BpfInventory::default() }));
    made.open(1, "a", "/b", 3);
    let mut app = view(100, 30, &mut made);
    assert!(screen(&mut app)[1].contains("incomplete: !"), "{}", screen(&mut app)[1]);
    assert!(rows(&mut app)[0].contains("not attached in the places checked"), "{:#?}", rows(&mut app));
    check_shows(keys(&mut app, "!"), &["BPF inventory incomplete: network namespaces: more than 1024"]);
}

#[test]
fn a_long_attach_point_is_cut_in_the_middle_and_the_owner_is_seen() {
    let target = "/usr/lib/x86_64-linux-gnu/libssl.so.3";
    let many = || {
        let mut made = inventory();
        made.host(&held(0, 14, process(1207, "tracerd")));
        made.host(&HostFrame::BpfAttachment(attachment(4, 30, Hook::Uprobe, target)));
        made.host(&HostFrame::BpfAttachment(attachment(5, 30, Hook::Uprobe, &format!("/{}", "long/".repeat(40)))));
        made
    };
    let mut app = view(80, 24, &mut many());
    let shown = rows(keys(&mut app, "jl"));
    let row = shown.iter().rfind(|row| row.contains("libssl")).expect("its row");
    assert!(shown.iter().any(|row| row.contains('…') && row.contains("/long/")), "{shown:#?}");
    assert!(row.contains("  uprobe /") && row.ends_with("libssl.so.3"), "{row}");
    let mut wide = view(120, 24, &mut many());
    let row = rows(keys(&mut wide, "jl")).into_iter().rfind(|row| row.contains("libssl")).expect("its row");
    assert!(row.contains(&format!("  uprobe {target}")), "{row}");
    // The pane shows the whole attach point.
    keys(&mut app, "/long\n\n\n");
    let pane: String = screen(&mut app)[2..].iter().map(|line| line.trim().replace("attached", "")).collect();
    assert!(pane.replace(' ', "").contains(&"long/".repeat(40)), "{pane}");
    // The owner is visible on a narrow screen, even while runs are counted.
    let mut made = inventory();
    made.host(&HostFrame::BpfProgram(BpfProgram { own: true, ..program(236_475, "uring_submit") }));
    made.host(&HostFrame::BpfAttachment(attachment(4, 236_475, Hook::RawTracepoint, "io_uring_submit_req")));
    made.host(&HostFrame::BpfAttachment(attachment(5, 30, Hook::RawTracepoint, "sched_process_exec")));
    made.host(&held(0, 15, process(27841, "bpftrace")));
    made.host(&HostFrame::BpfCounted(BpfCounted { at: BootNanos(made.ns), on: true }));
    let mut app = view(80, 24, &mut made);
    assert!(
        row_with(&mut app, "bpftrace[27841]").ends_with(" raw_tracepoint sched_process_exec"),
        "{:#?}",
        rows(&mut app)
    );
    assert!(row_with(&mut app, "this one").contains("▸ io_uring_submit_req · 1 more"), "{:#?}", rows(&mut app));
    assert!(!screen(&mut app)[2].contains("RUNS"), "{}", screen(&mut app)[2]);
    for (number, count) in [(1, 10), (2, 30)] {
        made.ns += number * 1_000_000_000;
        made.host(&HostFrame::BpfRuns(BpfRuns { id: ProgId(30), count, time: 9, skipped: 0 }));
        made.host(&HostFrame::BpfCounted(BpfCounted { at: BootNanos(made.ns), on: true }));
    }
    feed(&mut app, &mut made);
    assert!(screen(keys(&mut app, "ssss"))[2].ends_with("RUNS/s"), "sorted by them: {}", screen(&mut app)[2]);
    assert!(row_with(&mut app, "bpftrace[27841]").ends_with("  10"), "{:#?}", rows(&mut app));
}

#[test]
fn the_pane_has_all_that_is_known_and_a_key_shows_the_events() {
    let mut app = view(80, 24, &mut inventory());
    let pane = screen(keys(&mut app, "\n\n")).join("\n");
    for part in [
        "── 31 tracepoint writer",
        "not attached",
        "held by   pin /sys/fs/bpf/writer",
        "counts (hash, 10,240 entries, id 7)",
    ] {
        assert!(pane.contains(part), "{part} in\n{pane}");
    }
    assert!(pane.contains("WRITES TO USER MEMORY: probe_write_user") && pane.contains("00000000000000ab"));
    let pane = screen(keys(&mut app, "j")).join("\n");
    assert!(pane.contains("kprobe do_unlinkat, link 11 (perf_event)"), "{pane}");
    assert!(pane.contains("link 11 by tracerd[1207] fd 9"), "{pane}");
    assert_eq!((keys(&mut app, "p").views.shown, app.filter.text().as_str()), (View::Events, "prog.id=30"));
    assert!(app.detail.size.is_none(), "that pane was of a program");
    assert_eq!((keys(&mut app, "\x1b").views.shown, app.filter.text().as_str()), (View::Bpf, ""));
    assert!(rows(&mut app)[1].starts_with('>'), "the same row is selected");
    let effects = press(&mut app, 'y');
    let line = b"30 kprobe on_unlink kprobe do_unlinkat tracerd[1207]".to_vec();
    assert!(effects.contains(&Effect::Copy(line)), "{effects:?}");
}

#[test]
fn who_attached_it_and_where_is_said_without_a_holder() {
    let mut made = Maker::default();
    let mut record = BpfRecord::new_zeroed();
    (record.cmd, record.has, record.prog_id, record.ret) = (cmd::PROG_LOAD, has::PROG, 60, 3);
    made.event(Slot::Bpf, 70, "loader", record.as_bytes());
    (record.cmd, record.has, record.link_id) = (cmd::LINK_CREATE, has::PROG | has::LINK, 13);
    made.event(Slot::Bpf, 71, "holder", record.as_bytes());
    (record.has, record.link_id, record.ret) = (has::PROG, 0, -1);
    made.event(Slot::Bpf, 72, "refused", record.as_bytes());
    for id in [60, 61] {
        made.host(&HostFrame::BpfProgram(program(id, "lasting")));
        made.host(&HostFrame::BpfAttachment(attachment(id - 57, id, Hook::Kprobe, "do_unlinkat")));
    }
    taken(&mut made);
    made.open(1, "a", "/a", 3);
    let mut app = view(80, 24, &mut made);
    assert!(row_with(&mut app, "60 ").contains(" by holder[71] "), "{:#?}", rows(&mut app));
    assert!(row_with(&mut app, "61 ").contains(" no process "), "{:#?}", rows(&mut app));
    check_shows(keys(&mut app, "j\n\n"), &[" by        holder[71]", "by uid 0, loader[70]"]);
    let again = restored(&app);
    let bpf = &again.world().bpf;
    assert_eq!(bpf.loader(ProgId(60)).map(|by| by.tgid), Some(Tgid(70)));
    assert_eq!(bpf.attachments_of(ProgId(60)).find_map(|at| bpf.attacher(at)).map(|by| by.tgid), Some(Tgid(71)));
    assert_eq!(bpf.loader(ProgId(61)), None);
}

/// No inventory contains a program that was loaded and unloaded between two inventories. Only events tell about it.
#[test]
fn a_program_between_two_inventories_has_a_row() {
    let mut made = inventory();
    let mut record = BpfRecord::new_zeroed();
    (record.cmd, record.has, record.prog_id, record.prog_type, record.ret) = (cmd::PROG_LOAD, has::PROG, 50, 2, 3);
    (record.tag, record.scan, record.helpers) = ([0, 0, 0, 0, 0, 0, 0, 0xcd], 1, 1 << 12);
    record.name[..5].copy_from_slice(b"brief");
    made.event(Slot::Bpf, 27841, "bpftrace", record.as_bytes());
    made.ns += 1_000_000_000;
    made.open(1, "a", "/while", 3);
    // An unload from the kernel's stream, which has no type; a program in the inventory; a loaded program.
    let stream = BpfRecord { call: call::STREAM, prog_id: 51, prog_type: 0, prog_uid: u32::MAX, scan: 0, ..record };
    made.event(Slot::Bpf, 27842, "skeleton", stream.as_bytes());
    made.event(Slot::Bpf, 27841, "bpftrace", BpfRecord { prog_id: 52, ..record }.as_bytes());
    let loaded = BootNanos(made.ns);
    made.host(&HostFrame::BpfProgram(BpfProgram { loaded, ..program(52, "met") }));
    made.event(Slot::Bpf, 27841, "bpftrace", BpfRecord { prog_id: 53, ..record }.as_bytes());
    let mut link = BpfRecord { cmd: cmd::LINK_CREATE, has: has::PROG | has::LINK, link_id: 13, link_type: 7, ..record };
    (link.has, link.text_len) = (link.has | has::PERF | has::KPROBE, 12);
    made.event(Slot::Bpf, 27841, "bpftrace", &[link.as_bytes(), b"do_unlinkat\0"].concat());
    made.ns += 1_000_000_000;
    for prog_id in [50, 51, 52] {
        let unload = BpfRecord { call: call::STREAM, cmd: 0, prog_id, ret: 0, ..record };
        made.event(Slot::Bpf, 5, "kworker", unload.as_bytes());
    }
    made.open(1, "a", "/after", 3);
    let mut app = view(120, 24, &mut made);
    assert_eq!(ids(&mut app), ["31", "30", "40", "-52", "-50", "-51"]);
    assert!(screen(&mut app)[1].ends_with("run counting off  -3 gone"), "{}", screen(&mut app)[1]);
    let of_one = row_with(&mut app, "-by skeleton[27842]");
    assert!(of_one.contains(" unloaded   51 "), "{of_one}");
    keys(&mut app, "Gkl");
    let brief = row_with(&mut app, "-50 ");
    assert!(brief.contains("brief kprobe") && brief.contains("unloaded"), "{brief}");
    assert!(brief.contains("14:02:1"), "{brief}");
    assert!(row_with(&mut app, "-52 ").contains("met"), "{:#?}", rows(&mut app));
    keys(&mut app, "Gk\n\n");
    check_shows(&mut app, &["helpers   packet: redirect", "bpftrace[27841]", "00000000000000cd"]);
    // At an earlier moment it was loaded.
    assert!(screen(keys(&mut app, "\x1b\x1b1/while\n\x1b4"))[1].contains(" AS OF "), "{}", screen(&mut app)[1]);
    assert_eq!(ids(&mut app), ["+50", "31", "30", "40"]);
    assert!(row_with(&mut app, "+by bpftrace[27841]").contains("not checked yet"), "{:#?}", rows(&mut app));
    // A jump begins with a saved state, so programs loaded before it are known.
    let mut until = Maker::default();
    until.event(Slot::Bpf, 27841, "bpftrace", record.as_bytes());
    let mut first = view(120, 24, &mut until);
    let mut again = restored(&first);
    until.event(Slot::Bpf, 5, "kworker", BpfRecord { call: call::STREAM, cmd: 0, ret: 0, ..record }.as_bytes());
    let rest = until.batch();
    again.feed(rest.clone());
    again.end();
    again.next(None, &mut |_, _| Disposition::Delivered);
    first.update(Input::Batch(rest));
    first.update(Input::SourceEnded);
    let gone = |bpf: &Programs| bpf.gone_program(ProgId(50)).map(|gone| gone.facts.clone());
    assert!(gone(&again.world().bpf).is_some_and(|facts| facts.name == b"brief"));
    assert_eq!(gone(&again.world().bpf), gone(&first.world().bpf));
}

#[test]
fn many_holders_programs_and_ends_are_bounded() {
    let mut made = inventory();
    for id in 100..300 {
        made.host(&HostFrame::BpfProgram(program(id, "pinned")));
        let pin = BpfHolder::pin(vec![b'x'; 4000]);
        let holders = vec![pin; tracetui_events::limits::BPF_HOLDERS_KEPT];
        made.host(&HostFrame::BpfHolders(BpfHolders { program: ProgId(id), count: 64, holders, link: LinkId(0) }));
    }
    made.host(&HostFrame::BpfAttachment(attachment(9, 30, Hook::Kprobe, "evil")));
    taken(&mut made);
    let mut app = view(100, 300, &mut made);
    assert_eq!(app.world().bpf.left_out, 0);
    keys(&mut app, "l");
    assert!(row_with(&mut app, "no process").contains("▾ kprobe evil · not attached"), "{:#?}", rows(&mut app));
    let (bpf, world) = (&app.views.bpf, app.world());
    let seen = bpf.list.rows.iter().filter(|row| row.below.is_some()).flat_map(|row| bpf.seen_in(row.key, world));
    assert_eq!(seen.filter(|seen| seen.line().ends_with("64 holders")).count(), 192);
    for key in 1000..4000 {
        made.host(&HostFrame::BpfAttachment(attachment(key, 31, Hook::Kprobe, &"y".repeat(4000))));
    }
    taken(&mut made);
    feed(&mut app, &mut made);
    let left_out = app.world().bpf.left_out;
    assert!(left_out > 900, "{left_out}");
    assert_eq!(app.pipeline.account().bpf_left_out, left_out);
    assert!(app.world().bpf.bytes() < 13 << 20, "{}", app.world().bpf.bytes());
    assert!(screen(&mut app)[1].contains("incomplete: !"), "{}", screen(&mut app)[1]);
    assert_eq!(restored(&app).world().bpf.left_out, left_out);
    // Ended attachments are bounded, and part of a state.
    let mut made = Maker::default();
    for key in 0..20_000 {
        made.host(&HostFrame::BpfAttachment(BpfAttachment { news: true, ..attachment(key, 7, Hook::Kprobe, "x") }));
        made.host(&HostFrame::BpfAttachment(BpfAttachment { key, gone: true, ..Default::default() }));
    }
    let mut app = self::app(80, 24, MEMORY);
    feed(&mut app, &mut made);
    let bpf = &app.world().bpf;
    let kept = bpf.gone_attachments().count() as u64;
    assert!(bpf.bytes() <= tracetui_events::limits::BPF_GONE && kept > 1000, "{kept} in {}", bpf.bytes());
    assert_eq!(kept + bpf.forgotten, 20_000);
    let again = restored(&app);
    let restored = &again.world().bpf;
    let gone = |bpf: &Programs| -> Vec<_> {
        bpf.gone_attachments().map(|gone| (gone.facts.key, gone.facts.came, gone.at)).collect()
    };
    assert!(gone(restored) == gone(bpf));
}

/// Events tell at once what the next inventory will: when a link was detached, when a program was unloaded, and that a later program has
/// not been examined yet.
#[test]
fn events_are_ahead_of_the_inventory() {
    let mut made = inventory();
    let mut app = view(100, 24, &mut made);
    made.ns += 5_000_000_000;
    let loaded = BootNanos(made.ns);
    made.host(&HostFrame::BpfProgram(BpfProgram { loaded, ..program(50, "fresh") }));
    let mut record = BpfRecord::new_zeroed();
    (record.cmd, record.has, record.link_id) = (cmd::LINK_DETACH, has::LINK, 11);
    made.event(Slot::Bpf, 7, "tool", record.as_bytes());
    feed(&mut app, &mut made);
    assert!(row_with(keys(&mut app, "l"), "+50").contains("not checked yet"), "{:#?}", rows(&mut app));
    assert!(row_with(&mut app, "-tracerd[1207]").ends_with("14:02:16"), "{:#?}", rows(&mut app));
    let at = app.world().bpf.gone_attachment(1).map(|gone| gone.at);
    made.ns += 3_000_000_000;
    made.host(&HostFrame::BpfAttachment(BpfAttachment { key: 1, gone: true, news: true, ..Default::default() }));
    taken(&mut made);
    feed(&mut app, &mut made);
    assert_eq!(app.world().bpf.gone_attachment(1).map(|gone| gone.at), at, "the inventory came later");
    assert!(row_with(&mut app, "+50").contains("not attached"), "{:#?}", rows(&mut app));
}

/// New programs are visible: the list stays at its top while the first row is selected. Otherwise no row moves, and the filter line counts
/// the new ones.
#[test]
fn what_is_new_is_seen_or_said() {
    let mut made = inventory();
    for id in 100..140 {
        made.host(&HostFrame::BpfProgram(program(id, "old")));
    }
    let mut app = view(80, 24, &mut made);
    keys(&mut app, "ljjg");
    let come = |made: &mut Maker, app: &mut App, ids: [u32; 3]| {
        made.ns += 1_000_000_000;
        let loaded = BootNanos(made.ns);
        ids.iter().for_each(|id| made.host(&HostFrame::BpfProgram(BpfProgram { loaded, ..program(*id, "fresh") })));
        taken(made);
        feed(app, made);
    };
    come(&mut made, &mut app, [200, 201, 202]);
    assert_eq!(ids(&mut app)[..4], ["+202", "+201", "+200", "139"]);
    assert!(rows(&mut app)[0].starts_with('>') && screen(&mut app)[1].ends_with("+3 new"));
    // The pane stays with its program. The list is at its top.
    come(&mut made, keys(&mut app, "j\n"), [210, 211, 212]);
    assert_eq!(ids(&mut app)[..2], ["+212", "+211"]);
    assert!(screen(&mut app).iter().any(|line| line.contains("── +202 ")), "{:#?}", screen(&mut app));
    // Elsewhere no row moves.
    let before = rows(keys(&mut app, "\x1bGkkk"));
    come(&mut made, &mut app, [220, 221, 222]);
    assert_eq!(rows(&mut app), before);
    assert!(screen(&mut app)[1].ends_with("+9 new"), "{}", screen(&mut app)[1]);
    keys(&mut app, "G");
    assert_eq!(ids(keys(&mut app, "g"))[0], "+222");
}

/// Unloaded programs are below all loaded ones, take the selection along only if the pane shows them, and can be hidden.
#[test]
fn what_is_gone_does_not_bury_what_is_there() {
    let mut made = inventory();
    for id in 100..200 {
        made.host(&HostFrame::BpfProgram(program(id, "short")));
    }
    let mut app = view(80, 24, &mut made);
    keys(&mut app, "ljjjj");
    let is_gone = |row: &String| row[1..].trim_start().starts_with('-');
    let footer = |app: &mut App| screen(app).pop().unwrap_or_default();
    assert!(footer(&mut app).contains("? help"), "{}", footer(&mut app));
    let mut end = |app: &mut App, ids: std::ops::Range<u32>| {
        made.ns += 1_000_000_000;
        ids.for_each(|id| made.host(&HostFrame::BpfProgramGone(BpfProgramGone { id: ProgId(id) })));
        taken(&mut made);
        feed(app, &mut made);
    };
    end(&mut app, 110..200);
    assert_eq!(ids(&mut app)[..2], ["109", "108"]);
    let keys_of = footer(&mut app);
    assert!(keys_of.contains("? help") && keys_of.contains("a gone") && keys_of.ends_with("q quit"), "{keys_of}");
    assert!(rows(&mut app)[4].starts_with(">   106"), "the next one: {:#?}", rows(&mut app));
    for _ in 0..5 {
        let gone = rows(&mut app).iter().position(is_gone).unwrap_or(usize::MAX);
        let there = rows(&mut app).iter().rposition(|row| !is_gone(row)).unwrap_or_default();
        assert!(there < gone, "{:#?}", rows(&mut app));
        keys(&mut app, "s");
    }
    end(keys(&mut app, "\n"), 106..107);
    assert!(screen(&mut app).iter().any(|line| line.contains("── -106 ")), "{:#?}", screen(&mut app));
    let shown = rows(keys(&mut app, "\x1bga"));
    assert!(shown.len() == 13 && !shown.iter().any(is_gone), "{shown:#?}");
    assert!(screen(&mut app)[1].ends_with("-91 gone not shown"), "{}", screen(&mut app)[1]);
    assert!(rows(keys(&mut app, "a")).iter().any(is_gone));
}

#[test]
fn every_size_and_every_name_can_be_drawn() {
    let hostile = "\x1b[2J\x07\u{9b}31m\u{202e}\u{200b}\r\n\t漢字";
    let mut made = inventory();
    made.host(&HostFrame::BpfProgram(program(60, hostile)));
    let module = hostile.as_bytes().to_vec();
    let symbol = module.clone();
    made.host(&HostFrame::BpfAttachment(BpfAttachment { module, symbol, ..attachment(9, 60, Hook::Kprobe, hostile) }));
    made.host(&held(0, 19, process(7, hostile)));
    let hidden = BpfHidden { name: hostile.into(), seen_by: bpf::View::ObjInfo, ..BpfHidden::default() };
    made.host(&HostFrame::BpfHidden(hidden));
    let typed = ["", "\n", "\n\n", "jj\n", "j\n\n", "G", "s", "sss", "?", "p", "/a", "jp\x1b", "e", "x", "u", "W", "y"];
    check_draws(&made, &SIZES, "4", &typed);
    // A text that looks like an escape differs from one.
    let mut made = Maker::default();
    made.host(&HostFrame::BpfAttachment(attachment(1, 3, Hook::Uprobe, "/\x1b[31m")));
    made.host(&HostFrame::BpfAttachment(attachment(2, 2, Hook::Uprobe, r"/\x1b[31m")));
    let mut app = view(80, 24, &mut made);
    let rows = rows(keys(&mut app, "l")).split_off(1);
    assert!(rows[0].contains(r" /\x1b[31m") && rows[1].contains(r" /\\x1b[31m"), "{rows:#?}");
    // Small and wide screens have the columns that fit.
    let mut app = view(40, 10, &mut inventory());
    let shown = screen(&mut app);
    assert_eq!(words(&shown[2]), ["OWNER", "ATTACHED", "TO"]);
    assert!(shown[4].contains("tracerd[1207]     kprobe do_unlinkat"), "{}", shown.join("\n"));
    let mut app = view(160, 50, &mut inventory());
    let shown = screen(&mut app);
    assert_eq!(words(&shown[2]), ["OWNER", "PROGRAMS", "W", "ATTACHED", "TO"]);
    assert!(screen(keys(&mut app, "\n")).iter().any(|line| line.contains("│── 31 tracepoint writer")));
    // Beside the pane, names get the cells that attach points do not need, and no text touches the border.
    let mut made = Maker::default();
    let long = "a_name_of_just_28_characters";
    made.host(&HostFrame::BpfProgram(program(51, long)));
    let mut app = view(140, 24, &mut made);
    let shown = screen(keys(&mut app, "\n"));
    assert!(shown[3].contains(long), "{}", shown[3]);
    assert!(shown[2..16].iter().all(|line| line.contains(" │")), "{}", shown.join("\n"));
}
