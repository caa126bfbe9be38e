//! Hostile names on every screen: the bytes sent to the terminal, and whether the terminal shows the intended cells.
//!
//! The trace has a hostile text wherever a name can be: comm, arguments, paths, the working directory, users, the host, BPF programs and
//! their attach points. Every view is drawn through the terminal backend. The bytes must contain no control characters, an emulated
//! terminal must show exactly the cells that were drawn, and the columns must stay aligned.

#[path = "../../../tests/pty/stream.rs"]
mod stream;

use crate::app::App;
use crate::app::testing::{app, feed, keys};
use crate::view::theme::Theme;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use std::cell::RefCell;
use std::io::{self, Write};
use std::num::NonZeroU16;
use std::rc::Rc;
use stream::Stream;
use tracetui_events::bpf::{HeldBy, Hook, View};
use tracetui_events::frame::host::{
    BpfAttachment, BpfHidden, BpfHolder, BpfHolders, BpfInventory, BpfProgram, Cgroup, Host, HostFrame, ProcessSeed,
    User,
};
use tracetui_events::synthetic::payload::{self, Exec};
use tracetui_events::synthetic::{Maker, comm};
use tracetui_events::text::Charset;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::{CgroupId, LinkId, ProgId, Tgid, Uid};
use tracetui_shared::kind::Slot;
use tracetui_shared::record::bpf::BpfRecord;
use tracetui_shared::record::mark;
use tracetui_shared::record::open::OpenRecord;
use tracetui_shared::time::BootNanos;
use zerocopy::{FromZeros as _, IntoBytes as _};

/// Hostile names.
fn corpus() -> Vec<Vec<u8>> {
    let texts = [
        // An empty name, a harmless one, and one that looks like an escape.
        "",
        "plain",
        r"\x1b[31m \n \u{202e}",
        "  two spaces around  ",
        "'; rm -rf ~; $(reboot) `id` -rf \"",
        // Control sequences as C0 and as C1, and all other controls.
        "\x1b[2J\x1b]0;title\x07\x1b[31;1m\x1bc",
        "\u{9b}31m\u{90}q\u{9c}\u{85}\u{84}",
        "a\tb\nc\rd\x08e\x0bf\x0cg\x7fh\x01\x0e\x0f",
        // Direction marks, and invisible characters.
        "\u{202e}txt.exe\u{202c}\u{2066}a\u{2069}\u{200f}\u{61c}",
        "a\u{200b}b\u{200d}c\u{2060}d\u{feff}e\u{ad}f\u{180e}\u{3164}\u{115f}",
        "\u{2028}\u{2029}\u{fff9}\u{fffb}\u{e0041}\u{e007f}",
        // Other blanks.
        "a\u{a0}b\u{3000}c\u{2003}d\u{1680}e",
        // Wide characters, and parts of syllables.
        "漢字仮名カナ한글ＦＵＬＬ",
        "ﾊﾝｶｸ각\u{1112}\u{1161}\u{11ab}",
        // Combining marks: on nothing, on something, and too many of them.
        "\u{301}mark",
        "e\u{301}a\u{308}o\u{20dd}",
        "z\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}\u{30a}\u{30b}\u{30c}\u{30d}",
        // Emoji: joined, with a skin tone, as a flag, with a selector, as a keycap.
        "👩‍💻 👍🏽 🇩🇪 ❤️ 1️⃣ 😀",
        "🇩🇪🇫🇷🇩",
        "👍🏽👍🏽👍🏽👍🏽",
        // Letters that take one cell together and two apart, or the reverse.
        "لا إله إلا السلام",
        "ꓸꓹꓺꓻ ꓹꓼ",
        "กำ ນຳ नि क्षि தமிழ் ခ្មែរ ខ្មែរ",
        "ᨕᨗᨐ 𐰀𐰁 𞤀𞤁 ⵏⵏ",
        // Private-use characters, unassigned characters and noncharacters.
        "\u{e0b0}\u{f8ff}\u{10fffd}\u{378}\u{fffe}\u{1ffff}",
        "½㎐ⅷ①⑴",
    ];
    let bytes: [&[u8]; 5] = [
        b"\xff\xfe\x80\xbf",
        b"\x9b31m\x90q\x9c",
        b"cut \xe6\xbc and \xf0\x9f\x98 and \xc3",
        b"\xed\xa0\x80 \xc0\xaf \xf5\x80\x80\x80",
        b"\xe6\xbc\xa2\xff\xcc\x81x",
    ];
    let long = ["x", "漢", "e\u{301}", "\x1b[1m", "a/"].map(|text| text.repeat(4096 / text.len()).into_bytes());
    texts.iter().map(|text| text.as_bytes().to_vec()).chain(bytes.map(<[u8]>::to_vec)).chain(long).collect()
}

fn trace(name: &[u8]) -> Maker {
    let mut made = Maker::default();
    // The emulation does not show the sign for undecodable bytes.
    let text = String::from_utf8_lossy(name).replace('\u{fffd}', "?");
    made.host(&HostFrame::Host(Host { name: text.clone(), kernel: text.clone(), ..Host::default() }));
    made.host(&HostFrame::User(User { uid: Uid(1000), name: text.clone() }));
    made.host(&HostFrame::Cgroup(Cgroup { id: CgroupId(5), path: [b"/", name].concat(), container: None }));
    made.like.cgroup = CgroupId(5);
    let argument = [name, b"\0"].concat();
    for pid in [1, 300] {
        made.host(&HostFrame::ProcessSeed(ProcessSeed {
            tgid: Tgid(pid),
            start: made.start_of(pid),
            start_exact: true,
            ppid: Tgid(pid / 300),
            uid: Uid(1000),
            comm: name.to_vec(),
            argv: argument.repeat(3),
            exe: name.to_vec(),
            ..ProcessSeed::default()
        }));
    }
    inventory(&mut made, name);
    made.like.ppid = Tgid(300);
    for (pid, ret) in [(301, 0), (302, -13)] {
        made.fork(300, "", pid);
        let header = made.header(Slot::Exec, pid, "");
        let argv = argument.repeat(3);
        let exec = Exec { ret, filename: name, exe: &argument, cwd: &argument, argv: &argv, ..Exec::default() };
        made.batch.push(FrameHeader { comm: comm(name), ..header }, &exec.bytes());
    }
    for (pid, ret) in [(301, 3), (301, -2), (302, 3), (302, -13), (302, -13)] {
        let header = made.header(Slot::Open, pid, "");
        let record = OpenRecord { ret, names_marks: mark::RACED, ..OpenRecord::default() };
        let path = [b"/", name, b"/", name].concat();
        let path = &path[..path.len().min(4095)];
        made.batch.push(FrameHeader { comm: comm(name), ..header }, &payload::open(record, b"", path));
    }
    let header = made.header(Slot::Bpf, 301, "");
    let mut record = BpfRecord { cmd: 5, prog_id: 60, prog_type: 2, ..BpfRecord::new_zeroed() };
    let copy = |to: &mut [u8]| {
        let most = to.len() - 1;
        to.iter_mut().take(most).zip(name).for_each(|(to, from)| *to = *from);
    };
    copy(&mut record.name);
    copy(&mut record.target);
    copy(&mut record.symbol);
    made.batch.push(FrameHeader { comm: comm(name), ..header }, record.as_bytes());
    let header = made.header(Slot::Exit, 302, "");
    made.batch.push(FrameHeader { comm: comm(name), ..header }, &payload::exit(127 << 8));
    made
}

fn inventory(made: &mut Maker, name: &[u8]) {
    let name = name.to_vec();
    for id in [60, 61] {
        made.host(&HostFrame::BpfProgram(BpfProgram {
            id: ProgId(id),
            prog_type: 2,
            name: name.clone(),
            ..BpfProgram::default()
        }));
    }
    made.host(&HostFrame::BpfAttachment(BpfAttachment {
        key: 1,
        program: ProgId(60),
        link: LinkId(19),
        link_type: 7,
        hook: Hook::Kprobe,
        target: name.clone(),
        symbol: name.clone(),
        module: name.clone(),
        ..BpfAttachment::default()
    }));
    let holders = [BpfHolder::process(HeldBy::Process, Tgid(7), name.clone(), 9), BpfHolder::pin(name.clone())];
    for (program, holder) in [(0, &holders[0]), (61, &holders[1])] {
        let link = LinkId(if program == 0 { 19 } else { 0 });
        let holders = vec![holder.clone()];
        made.host(&HostFrame::BpfHolders(BpfHolders { program: ProgId(program), link, count: 1, holders }));
    }
    let hidden = BpfHidden { id: ProgId(7), name, seen_by: View::IterProg, ..BpfHidden::default() };
    made.host(&HostFrame::BpfHidden(hidden));
    let to = BootNanos(made.ns);
    made.host(&HostFrame::BpfInventory(BpfInventory { to, whole: true, complete: true, ..BpfInventory::default() }));
}

#[derive(Clone, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A dashboard on an emulated terminal.
struct Screen {
    app: App,
    theme: Theme,
    terminal: Terminal<CrosstermBackend<Written>>,
    written: Written,
    stream: Stream,
    shown: vt100::Parser,
}

impl Screen {
    fn new(width: u16, height: u16, theme: Theme) -> Screen {
        let app = app(width, height, 64 << 20);
        let written = Written::default();
        let viewport = Viewport::Fixed(Rect::new(0, 0, width, height));
        let terminal = Terminal::with_options(CrosstermBackend::new(written.clone()), TerminalOptions { viewport });
        let size = |cells| NonZeroU16::new(cells).expect("at least one");
        let shown = vt100::Parser::new(size(height), size(width), 0);
        Screen { app, theme, terminal: terminal.expect("a terminal"), written, stream: Stream::default(), shown }
    }

    /// Draws the changes by sending them to the terminal. Returns the intended screen.
    fn draw(&mut self) -> Buffer {
        self.app.prepare();
        let (app, theme, mut extent) = (&self.app, self.theme, Default::default());
        let drawn =
            self.terminal.draw(|frame| extent = crate::view::draw(frame, app, theme)).expect("it takes everything");
        let meant = drawn.buffer.clone();
        self.app.drew(extent);
        let bytes = std::mem::take(&mut *self.written.0.borrow_mut());
        self.stream.take(&bytes);
        self.shown.process(&bytes);
        meant
    }

    fn check(&mut self, what: &str) {
        let meant = self.draw();
        assert_eq!(self.stream.wrong, [""; 0], "{what}");
        let (width, height) = (self.app.screen.width, self.app.screen.height);
        let line = |y: u16| -> String {
            let mut line = String::new();
            let mut skip = 0;
            for x in 0..width {
                if skip == 0 {
                    let symbol = meant[(x, y)].symbol();
                    line.push_str(symbol);
                    skip = unicode_width::UnicodeWidthStr::width(symbol);
                }
                skip = skip.saturating_sub(1);
            }
            line.trim_end().to_owned()
        };
        for (y, shown) in (0..height).zip(self.shown.screen().rows(0, width)) {
            assert_eq!(shown.trim_end(), line(y), "row {y} of {what}");
        }
        if self.theme.charset == Charset::Ascii {
            assert!(self.shown.screen().contents().is_ascii(), "{what}");
        }
        let titles = self.app.areas().titles;
        columns(&meant, if titles.is_empty() { width } else { titles.right() }, what);
    }
}

/// Each title has a blank before or after it. Every row must have a blank in the same place.
fn columns(screen: &Buffer, width: u16, what: &str) {
    let height = screen.area.height;
    let title = |x: u16| screen[(x, 2)].symbol();
    let line: String = (0..width).map(title).collect();
    // The list with its titles, or a screen without columns.
    if !line.contains(" COMM") && !line.contains(" COMMAND") && !line.contains(" NAME ") {
        return;
    }
    let rows = || {
        (3..height.saturating_sub(2)).take_while(|y| screen[(0, *y)].symbol() != "─" && screen[(0, *y)].symbol() != "-")
    };
    // A single line that says why there are no rows.
    let first: String = (0..width).map(|x| screen[(x, 3)].symbol()).collect();
    if ["  all events hidden", "  counting...", "  no "].iter().any(|said| first.starts_with(said)) {
        return;
    }
    // The selection mark is in the first column.
    let blank = |x: u16| x == 0 || rows().all(|y| matches!(screen[(x, y)].symbol(), " " | "│" | "|"));
    // Targets of BPF programs and results are never cut, and may extend into the columns after them.
    let end = match (line.find("ATTACHED TO"), line.find("RESULT"), line.find("DETAIL")) {
        (Some(at), ..) => at + 1,
        (None, Some(_), Some(at)) => at,
        _ => usize::from(width),
    };
    let end = end as u16;
    let starts = (1..end.min(width)).filter(|x| title(x - 1) == " " && title(*x) != " ");
    for start in starts {
        let after = (start..width).find(|x| title(*x) == " ").unwrap_or(width);
        let name: String = (start..after).map(title).collect();
        assert!(blank(start - 1) || after < width && blank(after), "{name} of {what}\n{}", text(screen));
    }
}

fn text(screen: &Buffer) -> String {
    let rows = screen.content().chunks(usize::from(screen.area.width));
    rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
}

#[test]
fn no_name_acts_on_the_terminal_or_moves_a_column() {
    // In sequence, each drawn over the previous one.
    let typed = "|g|j\n|\t|\t|\t|\x1bkW|\nu|\x1b\x1b\x1b\x1bc|x|\x1b\x1b/a\n|\x1blll|hhhaeg|e2|l|\n|\x1b2\t|l|l|l|l|l|4|j\n|\n|\
                 \x1b\x1bs/a\n|1!|\x1bfcomm=\t";
    let check = |width: u16, height: u16, charset: Charset| {
        for name in corpus() {
            let mut screen = Screen::new(width, height, Theme { charset, ..Theme::default() });
            feed(&mut screen.app, &mut trace(&name));
            let mut so_far = String::new();
            for pressed in typed.split('|') {
                keys(&mut screen.app, pressed);
                so_far.push_str(pressed);
                let shown = name[..name.len().min(40)].escape_ascii();
                screen.check(&format!("{width}x{height} {charset:?} after {so_far:?} with {shown}"));
            }
        }
    };
    std::thread::scope(|scope| {
        for (width, height, charset) in
            [(40, 10, Charset::Utf8), (80, 24, Charset::Ascii), (100, 20, Charset::Utf8), (160, 24, Charset::Utf8)]
        {
            scope.spawn(move || check(width, height, charset));
        }
    });
}
