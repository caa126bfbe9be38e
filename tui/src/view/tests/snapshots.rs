//! Every screen at four sizes, and in ASCII at one, compared with the files in tests/snapshots. After an intended change, review the
//! difference, and rewrite the files: `INSTA_UPDATE=always cargo test --lib snapshots`.

use super::{build, drawn};
use crate::app::testing::{self, feed, keys, work};
use crate::app::{App, Input, Tick};
use crate::cli::{Cli, Command};
use crate::command::replay;
use crate::view::bpf::tests::{attachment, held, process};
use crate::view::theme::{Colours, Theme};
use clap::Parser as _;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use std::net::SocketAddr;
use std::time::Duration;
use tracetui_events::bpf::{Hook, View};
use tracetui_events::frame::host::{
    BpfAttachment, BpfHidden, BpfHolder, BpfInventory, BpfProgram, BpfProgramGone, HostFrame,
};
use tracetui_events::synthetic::Maker;
use tracetui_events::synthetic::payload::tcp;
use tracetui_events::text::Charset;
use tracetui_events::why::{Answer, Basis, Cause};
use tracetui_shared::id::ProgId;
use tracetui_shared::record::tcp::{TcpRecord, flag, op, outcome, state};
use tracetui_shared::time::BootNanos;

const SIZES: [(u16, u16); 4] = [(40, 10), ASCII, (120, 40), (160, 50)];

const ASCII: (u16, u16) = (80, 24);

/// The example, relative to the directory of the package, because its name is on the screen.
const RECORDING: &str = "../assets/failed-build.ttr";

/// The style of a cell as a letter: the colour, in upper case if bold; `L` and the like for a background.
fn letter(cell: &Cell) -> char {
    let bold = cell.modifier.contains(Modifier::BOLD);
    let letter = match (cell.fg, cell.bg) {
        (Color::Reset, Color::Reset) if bold => '*',
        (Color::Reset, Color::Reset) => ' ',
        (fore, Color::Reset) => {
            let letter = match fore {
                Color::Green => 'g',
                Color::Magenta => 'm',
                Color::Yellow => 'y',
                Color::Cyan => 'c',
                Color::Red => 'r',
                other => panic!("{other:?} has no letter"),
            };
            if bold { letter.to_ascii_uppercase() } else { letter }
        }
        (Color::Black, Color::Green) => '1',
        (Color::Black, Color::Yellow) => '2',
        (Color::Black, Color::Cyan) => '3',
        other => panic!("{other:?} has no letter"),
    };
    match cell.modifier.difference(Modifier::BOLD) {
        rest if rest.is_empty() => letter,
        Modifier::DIM if letter == ' ' => '.',
        Modifier::REVERSED if letter == ' ' => '#',
        Modifier::REVERSED if letter == '*' => '@',
        Modifier::REVERSED if letter == 'R' => '!',
        // A failure in the selected row.
        Modifier::REVERSED if letter == 'r' => '/',
        Modifier::REVERSED if letter == 'y' => ':',
        Modifier::UNDERLINED if letter == '*' => '_',
        rest if rest == Modifier::DIM | Modifier::UNDERLINED && letter == '*' => ',',
        Modifier::UNDERLINED if letter == 'R' => '^',
        other => panic!("{other:?} with {letter:?} has no letter"),
    }
}

/// The lines of a screen, each after a bar. On request, the styles of the cells follow below them: in colour after a `~`, without colours
/// after a `=`.
fn text(screen: &Buffer, looks: &[(char, &Buffer)]) -> String {
    let width = usize::from(screen.area.width);
    let line = |sign: char, cells: &mut dyn Iterator<Item = String>| {
        let cells: String = cells.collect();
        format!("{sign}{}\n", cells.trim_end())
    };
    let mut out = String::new();
    for (row, cells) in screen.content().chunks(width).enumerate() {
        out.push_str(&line('|', &mut cells.iter().map(|cell| cell.symbol().to_owned())));
        for (sign, look) in looks {
            let cells = &look.content()[row * width..(row + 1) * width];
            // An empty cell has no style letter, unless its background differs.
            let letters = line(*sign, &mut cells.iter().map(|cell| letter(cell).to_string()));
            out.push_str(if letters.len() > 2 { &letters } else { "" });
        }
    }
    out
}

/// The numbers in a text about memory depend on the sizes of structures.
fn without_sizes(text: &str) -> String {
    let about_memory = |line: &str| line.contains("memory: ") || line.contains(" MiB") || line.contains("queues up to");
    let masked = |c: char| if c.is_ascii_digit() { '#' } else { c };
    let lines =
        text.lines().map(|line| if about_memory(line) { line.chars().map(masked).collect() } else { line.to_owned() });
    lines.map(|line| line + "\n").collect()
}

/// Compares the screen after these keys with the files.
fn check(name: &str, typed: &str, start: fn(u16, u16) -> App) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../tests/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _bound = settings.bind_to_scope();
    for (width, height) in SIZES {
        let mut app = start(width, height);
        let in_colour = drawn(keys(&mut app, typed), Theme::default());
        let plain = drawn(&mut app, Theme { colours: Colours::None, ..Theme::default() });
        let ascii = drawn(&mut app, Theme { charset: Charset::Ascii, ..Theme::default() });
        assert!(ascii.content().iter().all(|cell| cell.symbol().is_ascii()), "{name} at {width}x{height}");
        assert!(plain.content().iter().zip(in_colour.content()).all(|(one, other)| one.symbol() == other.symbol()));
        let looks = text(&in_colour, &[('~', &in_colour), ('=', &plain)]);
        insta::assert_snapshot!(format!("{name}-{width}x{height}"), without_sizes(&looks));
        if (width, height) == ASCII {
            insta::assert_snapshot!(format!("{name}-{width}x{height}-ascii"), without_sizes(&text(&ascii, &[])));
        }
    }
}

/// The dashboard with the example.
pub(super) fn recorded(width: u16, height: u16) -> App {
    replay(RECORDING, width, height)
}

/// A part of a recording, which has no inventory of BPF programs.
fn excerpt(width: u16, height: u16) -> App {
    replay("tests/data/recordings/v1.ttr", width, height)
}

fn replay(file: &str, width: u16, height: u16) -> App {
    let cli = Cli::try_parse_from(["tracetui", "replay", file]).expect("arguments");
    let Some(Command::Replay(args)) = cli.command else { panic!("a replay") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut app = runtime.block_on(replay::tests::load_whole(&args)).expect("a recording");
    app.update(Input::Resize(width, height));
    app.update(Input::Tick(Tick { now: Duration::from_secs(1), usage: None }));
    work(&mut app);
    app
}

fn live(width: u16, height: u16) -> App {
    let mut app = testing::app(width, height, 64 << 20);
    let mut made = build();
    feed(&mut app, &mut made);
    made.lose(1204);
    made.counters(false);
    feed(&mut app, &mut made).update(Input::Tick(Tick { now: Duration::from_secs(1), usage: None }));
    app
}

/// A live trace with programs: some attached, one only pinned, one new, one unloaded, one hidden.
fn programs(width: u16, height: u16) -> App {
    let mut app = testing::app(width, height, 64 << 20);
    let mut made = Maker::default();
    let program = |id: u32, prog_type: u32, name: &str| {
        let tag = u64::from(id) << 40 | 0x00c0_ffee;
        BpfProgram { id: ProgId(id), prog_type, name: name.into(), tag, ..BpfProgram::default() }
    };
    let take = |made: &mut Maker| {
        let to = BootNanos(made.ns);
        let inventory = BpfInventory { to, whole: true, complete: true, ..BpfInventory::default() };
        made.host(&HostFrame::BpfInventory(inventory));
    };
    for program in [
        program(30, 2, "on_unlink"),
        BpfProgram { helpers: 1, ..program(31, 5, "writer") },
        BpfProgram { own: true, ..program(40, 5, "exec_tp") },
        program(33, 2, ""),
    ] {
        made.host(&HostFrame::BpfProgram(program));
    }
    for attachment in [
        attachment(1, 30, Hook::Kprobe, "do_unlinkat"),
        attachment(2, 40, Hook::Tracepoint, "sched:sched_process_exec"),
        attachment(4, 33, Hook::Uprobe, "/usr/lib/x86_64-linux-gnu/libcrypto.so.3"),
    ] {
        made.host(&HostFrame::BpfAttachment(attachment));
    }
    let pin = BpfHolder::pin(b"/sys/fs/bpf/writer".to_vec());
    made.host(&held(0, 11, process(1207, "tracerd")));
    made.host(&held(31, 0, pin));
    let name = b"bpf_prog_00000000000000ab_rk".to_vec();
    let hidden = BpfHidden { id: ProgId(7), name, seen_by: View::IterProg, ..BpfHidden::default() };
    made.host(&HostFrame::BpfHidden(hidden));
    take(&mut made);
    made.open(1, "a", "/a", 3);
    made.ns += 1_000_000_000;
    let loaded = BootNanos(made.ns);
    made.host(&HostFrame::BpfProgram(BpfProgram { loaded, ..program(50, 2, "fresh") }));
    made.host(&HostFrame::BpfAttachment(BpfAttachment {
        news: true,
        ..attachment(3, 50, Hook::Kprobe, "tcp_connect")
    }));
    made.host(&HostFrame::BpfAttachment(BpfAttachment { key: 4, gone: true, news: true, ..Default::default() }));
    made.host(&HostFrame::BpfProgramGone(BpfProgramGone { id: ProgId(33) }));
    take(&mut made);
    made.open(1, "a", "/b", 3);
    feed(&mut app, &mut made).update(Input::Tick(Tick { now: Duration::from_secs(1), usage: None }));
    app
}

/// A live trace of two connections: one to a server of the same machine, which ends, and one that is refused.
fn connections(width: u16, height: u16) -> App {
    let mut app = testing::app(width, height, 64 << 20);
    let mut made = Maker::default();
    made.exec(812, "nginx", &["nginx", "-g", "daemon off;"], 0);
    made.acts("900 curl exec curl http://localhost; 901 psql exec psql");
    let [client, server, postgres] = [40_000, 80, 5432].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let started = BootNanos(made.ns);
    let of_client = |op| TcpRecord {
        outcome: outcome::DECIDED,
        since: started,
        decided: BootNanos(started.0 + 40_000),
        bytes_in: 612,
        bytes_out: 73,
        state: state::LAST_ACK,
        ..tcp(op, client, server)
    };
    let of_server = |op| TcpRecord {
        since: BootNanos(started.0 + 50_000),
        flags: flag::SERVER,
        fd: 7,
        bytes_in: 73,
        bytes_out: 612,
        state: state::FIN_WAIT1,
        ..tcp(op, server, client)
    };
    made.tcp(900, "curl", of_client(op::CONNECT));
    made.tcp(812, "nginx", of_server(op::ACCEPT));
    made.tcp(812, "nginx", of_server(op::CLOSE));
    made.tcp(900, "curl", of_client(op::CLOSE));
    let refused = TcpRecord { err: libc::ECONNREFUSED as u16, ..of_client(op::CONNECT) };
    let TcpRecord { raddr, rport, .. } = tcp(op::CONNECT, client, postgres);
    made.tcp(901, "psql", TcpRecord { raddr, rport, lport: 40_002, since: BootNanos(made.ns), ..refused });
    feed(&mut app, &mut made);
    let answer = Answer {
        text: b"nothing listens on 127.0.0.1:5432; postgres[812] listens on 5433".to_vec(),
        component: Some(b"127.0.0.1:5432".to_vec()),
        cause: Cause::NothingListens,
        near: Some(b"127.0.0.1:5433".to_vec()),
        place: None,
        basis: Basis::Checked(400_000_000),
    };
    app.update(Input::Looked(app.store().next_id() - 1, answer));
    app.update(Input::Tick(Tick { now: Duration::from_secs(1), usage: None }));
    app
}

/// A live trace of a failed build, and its differences from a good one.
fn compared(width: u16, height: u16) -> App {
    let (mut app, mut made) = (testing::app(width, height, 64 << 20), Maker::default());
    testing::build(&mut made, false);
    keys(feed(&mut app, &mut made), "Dgood.ttr\n");
    app.update(Input::Compared(Ok(testing::differences())));
    app.update(Input::Tick(Tick { now: Duration::from_secs(1), usage: None }));
    app
}

#[test]
fn every_screen_is_that_of_its_files() {
    type Screen = (&'static str, &'static str, fn(u16, u16) -> App);
    let screens: [Screen; 23] = [
        ("tcp-why", "\n", connections),
        ("tcp-ends", "kkkk\nJ", connections),
        ("tcp-top", "3h", connections),
        ("events", "", recorded),
        ("calm", "G", excerpt),
        ("failed", "eG", recorded),
        ("tree", "2", recorded),
        ("top", "3", recorded),
        ("bpf", "4jj", programs),
        ("bpf-none", "G4", excerpt),
        ("bpf-recorded", "G4", recorded),
        ("detail", "/exit.1 \n\n", recorded),
        ("loss", "!", recorded),
        ("help", "?", recorded),
        ("diff", "a", compared),
        ("diff-sides", "\n", compared),
        ("diff-name", "D", compared),
        ("columns", "2Cj l", recorded),
        ("columns-tree", "2Cj l\x1b", recorded),
        ("filter", "fcomm=cc1 or (pid=", recorded),
        ("search", "O/LC_[NM]", recorded),
        ("live", "k", live),
        ("live-loss", "!", live),
    ];
    for (name, typed, start) in screens {
        check(name, typed, start);
    }
}
