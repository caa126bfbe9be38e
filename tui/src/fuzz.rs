//! The parsers of bytes from outside, one function for each fuzz target (`fuzz/fuzz_targets/`). It exists only under
//! `cfg(fuzzing)` and in the tests, which run every file of `fuzz/corpus/`.
//!
//! A function panics if the bytes make the parser panic, or if what it gives breaks a rule that is stated there.

mod read;

use crate::app::replay::{Replay, Speed, Target};
use crate::app::{App, Effect, Input, Preferences, Settings, Tick};
use crate::cli::size::ByteSize;
use crate::config::{Config, ConfigError};
use crate::view::theme::{Colours, Theme};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::time::Duration;
use tracetui_events::budget::Budget;
use tracetui_events::diff::{Run, Show, compare};
use tracetui_events::event::EventContext;
use tracetui_events::filter::{Filter, FilterOptions, NoNames, Scratch};
use tracetui_events::frame::host::{Cgroup, Clock, HostFrame, User};
use tracetui_events::frame::{Batch, FrameRef, Frames, HEADER as FRAME_HEADER};
use tracetui_events::pipeline::{Disposition, Pipeline};
use tracetui_events::playback::timeline::{Density, End, Facts};
use tracetui_events::recording::block::{BLOCK_MAGIC, BlockHeader, FILE_MAGIC, FileHeader, HEADER, VERSION};
use tracetui_events::sink::FormatName;
use tracetui_events::symbols::{CodeImage, ImageChange, Snapshot, Symbols};
use tracetui_events::synthetic::{Maker, payload};
use tracetui_events::text::time::{Moment, Zone};
use tracetui_events::text::{self, Charset, is_hostile};
use tracetui_events::why::{access, image};
use tracetui_host::background::Pieces;
use tracetui_host::{btf, kallsyms, ksymbols, machine, mounts, printed_symbols, procfs, users};
use tracetui_inspect as bpf;
use tracetui_live::inspector::Received;
use tracetui_live::{attach, attach_names};
use tracetui_shared::id::{CgroupId, KernelAddr, Uid};
use tracetui_shared::kind::{Kind, KindSet};
use tracetui_shared::record::tcp::{TcpRecord, op, outcome};
use tracetui_shared::time::BootNanos;
use zerocopy::FromBytes as _;

/// Memory for events of the dashboard, in bytes.
const MEMORY: u64 = 16 << 20;

/// Reads a BTF: visits all types and resolves all fields.
pub fn btf(bytes: &[u8]) {
    let Ok(btf) = btf::Btf::parse(bytes.to_vec()) else { return };
    for id in 0..btf.len() as u32 + 2 {
        btf.size_of(id);
        btf.name_of(id);
    }
    btf.arch();
    btf.resolve();
    let attach = attach_names();
    attach.tracepoints.iter().for_each(|name| _ = btf.tracepoint_args(name));
    btf.funcs(&attach.functions);
}

/// A configuration file: it is read, or refused with a message that can be shown.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let refused = |error: ConfigError| check_shown(&error.render("f", &text));
    match Config::parse(bytes) {
        Err(error) => refused(error),
        Ok(config) => {
            // With these keys and columns, a screen can be drawn.
            Screen::new(80, 24, Theme::default(), config.preferences).draw();
            if let Some((filter, error)) = config
                .filter
                .and_then(|filter| Filter::parse(&filter.text, &NoNames).err().map(|error| (filter, error)))
            {
                refused(ConfigError::of_filter(&filter, &error));
            }
        }
    }
}

/// An expression of the filter language, as the value of every option, and applied to events. What it is written as means the same.
/// Also what the dashboard and the command line read of moments and sizes.
pub fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Without dates: their parser is that of humantime.
    _ = (Moment::parse(text).map(|moment| moment.unix_ns((0, 0), Zone(|_| -3600))), text.parse::<ByteSize>());
    let one = || vec![text.to_owned()];
    let options = [
        FilterOptions { filter: one(), failed: true, ..FilterOptions::default() },
        FilterOptions { pid: one(), uid: one(), ..FilterOptions::default() },
        FilterOptions { comm: one(), ..FilterOptions::default() },
        FilterOptions { cgroup: one(), kind: one(), ..FilterOptions::default() },
    ];
    let compiled: Vec<_> = options.iter().map(|options| options.compile(&NoNames)).collect();
    compiled.iter().filter_map(|compiled| compiled.as_ref().err()).for_each(|error| check_shown(&error.render()));
    let filter = match Filter::parse(text, &NoNames) {
        Ok(filter) => filter,
        Err(error) => return check_shown(&error.render()),
    };
    let written = filter.text_with_ids(&NoNames);
    let same = [Filter::parse(&written, &NoNames), Filter::parse(&filter.parts().join(" "), &NoNames)];
    let same = same.map(|again| again.unwrap_or_else(|error| panic!("{written}: {}", error.render())));
    let mut scratch = Scratch::default();
    let mut take = |seen: &EventContext<'_>, _: &FrameRef<'_>| {
        let holds = filter.matches(seen, &mut scratch);
        assert_eq!([holds; 2], same.each_ref().map(|same| same.matches(seen, &mut scratch)), "{written}");
        filter.surely_matches(seen, &mut scratch);
        for compiled in compiled.iter().flatten() {
            compiled.passes(seen, &mut scratch);
            compiled.passes_whole(seen, &mut scratch);
        }
        Disposition::Delivered
    };
    let mut pipeline = Pipeline::default();
    pipeline.world_mut().processes.follow(&filter.roots());
    pipeline.feed(events());
    pipeline.end();
    pipeline.next(None, &mut take);
}

fn events() -> Batch {
    let mut made = Maker::default();
    made.host(&HostFrame::Clock(Clock { offset_ns: 1 << 60 }));
    made.host(&HostFrame::User(User { uid: Uid(0), name: "root".into() }));
    made.host(&HostFrame::Cgroup(Cgroup { id: CgroupId(5), path: b"/a/b.scope".to_vec(), container: None }));
    made.like.cgroup = CgroupId(5);
    made.exec(7, "make", &["make", "-j8", "\u{202e}"], 0);
    made.acts("7 make fork 8; 8 cc1 exec:-2 cc1 x.c, open /usr/include/stdio.h");
    made.open(8, "cc1", "x\x1b[2J", -13);
    made.exit(8, "cc1", 256);
    for (peer, op) in [("10.0.0.7:443", op::CONNECT), ("[::ffff:10.0.0.7]:80", op::ACCEPT), ("[fe80::1]:9", op::CLOSE)]
    {
        let [local, peer] = ["[::1]:5", peer].map(|text| text.parse().expect("a socket address"));
        made.tcp(7, "make", TcpRecord { outcome: outcome::DECIDED, err: 111, ..payload::tcp(op, local, peer) });
    }
    made.lose(3);
    made.counters(true);
    made.batch()
}

/// The frames of a batch, as they are in a recording: what is printed of them is text, also when the state of the pipeline was
/// written and read again between them, and a recording gives them back. Gives the lines of JSON, for the caller to parse.
pub fn frames(bytes: &[u8]) -> String {
    let bytes = whole_frames(bytes);
    let batches = halves(&bytes);
    let json = read::printed(&batches);
    // A state leaves out processes that ended long before, so later events of one, which no kernel makes, are paired otherwise, and
    // its name may be another.
    let unpaired = |lines: &str| match (lines.find(r#""pairing":{"#), lines.rfind(r#""kinds":{"#)) {
        (Some(from), Some(to)) if from < to => [&lines[..from], &lines[to..]].concat(),
        _ => lines.to_owned(),
    };
    let restored = read::lines(&batches, FormatName::Json, Some(1));
    let (json_of, restored_of) = (unpaired(&json), unpaired(&restored));
    assert!(unnamed(&json_of) == unnamed(&restored_of), "a state gives the same lines");
    read::recorded(&bytes);
    json
}

/// Lines of JSON without the names of processes.
fn unnamed(lines: &str) -> String {
    let mut pieces = lines.split(",\"process");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |mut out, piece| {
        // The end of the string, or of `null`. A quote in it has an odd number of backslashes before it.
        let start = piece.find(':').map_or(0, |colon| colon + 1);
        let value = piece.get(start..).unwrap_or_default();
        let is_end = |at: usize| value[..at].bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0;
        let end = match value.strip_prefix('"') {
            Some(_) => {
                (1..value.len()).find(|at| value.as_bytes()[*at] == b'"' && is_end(*at)).map_or(0, |end| end + 1)
            }
            None => "null".len().min(value.len()),
        };
        out.push_str(value.get(end..).unwrap_or_default());
        out
    })
}

/// Any bytes from the inspector: only frames of inventories pass, and the division into reads makes no difference.
pub fn inspector(bytes: &[u8]) -> String {
    let (mut whole, mut apart) = (Batch::default(), Batch::default());
    let refused = Received::default().add(bytes, BootNanos(1), &mut whole).is_err();
    let mut received = Received::default();
    let refused_apart = bytes.chunks(7).any(|piece| received.add(piece, BootNanos(1), &mut apart).is_err());
    assert_eq!((refused, whole.bytes()), (refused_apart, apart.bytes()));
    assert!(whole.frames().all(|frame| matches!(frame.header.kind, 85..=89 | 91..=93)));
    frames(whole.bytes())
}

/// Two batches of half of the frames each.
fn halves(bytes: &[u8]) -> [Batch; 2] {
    let half = Frames::of(bytes).count() / 2;
    let middle: usize = Frames::of(bytes).take(half).map(|frame| frame.bytes.len().next_multiple_of(8)).sum();
    let (first, second) = bytes.split_at(middle.min(bytes.len()));
    [first, second].map(|bytes| Batch::from_bytes(bytes.to_vec()))
}

/// The bytes with the last frame cut to what there is.
fn whole_frames(bytes: &[u8]) -> Vec<u8> {
    let mut whole = bytes.to_vec();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= FRAME_HEADER) {
        let length = FrameRef::first(rest).map(|(frame, _)| frame.bytes.len()).unwrap_or_else(|| {
            let length = (rest.len() as u32).to_le_bytes();
            let place = std::mem::offset_of!(tracetui_shared::header::FrameHeader, len);
            whole[at + place..at + place + length.len()].copy_from_slice(&length);
            rest.len()
        });
        at += length.next_multiple_of(8);
    }
    whole
}

/// Two runs, each of a half of the frames, that are compared. Gives the lines of JSON, for the caller to parse.
pub fn diff(bytes: &[u8]) -> String {
    let [mut a, mut b] = halves(&whole_frames(bytes)).map(|batch| {
        let (mut run, mut pipeline) = (Run::new(1 << 20), Pipeline::default());
        pipeline.feed(batch);
        pipeline.end();
        pipeline.next(None, &mut |seen, _| {
            run.add_event(seen);
            Disposition::Delivered
        });
        run.close();
        run
    });
    // What is absent cannot be compared, and is not a fault.
    a.gaps.absent = if bytes.len().is_multiple_of(2) { Kind::PROBED[0].into() } else { KindSet::NONE };
    b.gaps.incomplete = bytes.len().is_multiple_of(3);
    let report = compare(a, Vec::new(), b, &[]);
    let all = Show { rest: true, noise: true, slower: true };
    for charset in [Charset::Utf8, Charset::Ascii] {
        check_shown(&report.text(all, charset));
        check_shown(&report.text(Show::default(), charset));
    }
    assert!(report.equal() || !report.json(all).is_empty());
    report.json(all)
}

/// A recording, with the checksums made right: what `print`, `info` and `replay` do. Gives the lines of JSON, for the caller to parse.
pub fn recording(bytes: &[u8]) -> String {
    let file = sealed(bytes);
    read::walk(&file);
    read::recording(&file)
}

/// The file with the id and the checksums that its header and its blocks need. A payload that was meant to be compressed and is not
/// is compressed.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let Ok((header, mut rest)) = FileHeader::read_from_prefix(bytes) else { return bytes.to_vec() };
    let header = FileHeader { magic: FILE_MAGIC, version: header.version.min(VERSION + 1), ..header };
    let mut file = with_checksum(&header);
    while let Some(at) = rest.windows(BLOCK_MAGIC.len()).position(|bytes| bytes == BLOCK_MAGIC) {
        file.extend_from_slice(&rest[..at]);
        let Ok((block, after)) = BlockHeader::read_from_prefix(&rest[at..]) else { break };
        let (payload, after) = after.split_at(after.len().min(block.stored as usize));
        let packed = match block.codec {
            // After the checksum of the block that it follows, and the length of the threads.
            3 if payload.get(8..12) != Some(&zstd::zstd_safe::MAGICNUMBER.to_le_bytes()[..]) && block.part == 0 => {
                let (head, rest) = payload.split_at(payload.len().min(8));
                let threads = head.last_chunk().map_or(0, |length| u32::from_le_bytes(*length)) as usize;
                let (threads, rows) = rest.split_at(threads.min(rest.len()));
                let [threads, rows] = [threads, rows].map(|part| zstd::bulk::compress(part, 1).expect("memory"));
                [&head[..head.len().min(4)], &(threads.len() as u32).to_le_bytes(), &threads, &rows].concat()
            }
            1 | 2 if !payload.starts_with(&zstd::zstd_safe::MAGICNUMBER.to_le_bytes()) => {
                zstd::bulk::compress(payload, 1).expect("memory")
            }
            _ => payload.to_vec(),
        };
        let plain = if block.codec == 1 && packed.len() != payload.len() || block.codec == 0 {
            payload.len() as u32
        } else {
            block.plain
        };
        let (stored, payload_crc) = (packed.len() as u32, crc32fast::hash(&packed));
        let block = BlockHeader { file: header.short_id(), stored, plain, payload_crc, ..block };
        file.extend_from_slice(&with_checksum(&block));
        file.extend_from_slice(&packed);
        file.resize(file.len().next_multiple_of(8), 0);
        rest = &after[after.len().min(payload.len().next_multiple_of(8) - payload.len())..];
    }
    file.extend_from_slice(rest);
    file
}

/// A header whose last four bytes are the checksum of those before.
fn with_checksum(header: &(impl zerocopy::IntoBytes + zerocopy::Immutable)) -> Vec<u8> {
    let bytes = &header.as_bytes()[..HEADER - 4];
    [bytes, &crc32fast::hash(bytes).to_le_bytes()].concat()
}

/// A dashboard: columns, rows and the number of keys, the keys, and then frames. No cell of a screen has a control character. With
/// bit 6 of the number it shows a recording, whose span and density are in the frames, too; with bit 7 the frames are pasted.
pub fn dashboard(bytes: &[u8]) {
    let [width, height, count, rest @ ..] = bytes else { return };
    let (pressed, frames) = rest.split_at(rest.len().min(usize::from(*count % 64)));
    let charset = if width % 2 == 0 { Charset::Utf8 } else { Charset::Ascii };
    let theme = Theme { charset, colours: Colours::Sixteen };
    let size = (u16::from(*width).max(1), u16::from(*height % 80).max(1));
    let mut screen = Screen::new(size.0, size.1, theme, Preferences::default());
    if count & 0x40 != 0 {
        let number =
            |at: usize| frames.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b));
        let part = |at: &usize| Density {
            first_ns: number(*at),
            last_ns: number(at + 8),
            events: number(at + 16),
            lost: number(at + 24),
        };
        let density = [0, 40, 80].iter().map(part).collect();
        let facts = Facts {
            // As a file says it; a pipe says nothing.
            span: (number(0) <= number(8)).then_some((number(0), number(8))),
            events: number(16),
            end: End::Complete,
            seekable: true,
            density,
            ..Facts::default()
        };
        screen.app.set_replay(Replay::new(facts, Target::At(number(24)), Speed::default()));
    } else {
        screen.app.set_command("cat");
    }
    screen.update(Input::Batch(Batch::from_bytes(whole_frames(frames))));
    let (output, more) = frames.split_at(frames.len() / 2);
    screen.update(Input::Output(output.to_vec()));
    screen.draw();
    screen.update(Input::Resize(size.1, size.0));
    screen.update(Input::Output(more.to_vec()));
    screen.update(Input::Resize(size.0, size.1));
    screen.draw();
    // Two at a time come at once.
    for keys in pressed.chunks(2) {
        keys.iter().for_each(|pressed| screen.update(Input::Key(key(*pressed))));
        screen.draw();
    }
    if count & 0x80 != 0 {
        screen.update(Input::Paste(String::from_utf8_lossy(&frames[..frames.len().min(100)]).into_owned()));
    }
    screen.update(Input::SourceEnded);
    screen.draw();
}

/// The key of a byte: letters and control characters are themselves, and the others are the keys without a character.
fn key(byte: u8) -> KeyEvent {
    use KeyCode::{BackTab, Backspace, Delete, Down, End, Home, Left, PageDown, PageUp, Right, Up};
    let others = [Up, Down, Left, Right, Home, End, PageUp, PageDown, Delete, Backspace, BackTab];
    let (code, modifiers) = match byte {
        b'\n' => (KeyCode::Enter, KeyModifiers::NONE),
        b'\t' => (KeyCode::Tab, KeyModifiers::NONE),
        0x1b => (KeyCode::Esc, KeyModifiers::NONE),
        1..=26 => (KeyCode::Char(char::from(byte + b'a' - 1)), KeyModifiers::CONTROL),
        b' '..=b'~' => (KeyCode::Char(char::from(byte)), KeyModifiers::NONE),
        byte => (others[usize::from(byte) % others.len()], KeyModifiers::NONE),
    };
    KeyEvent::new(code, modifiers)
}

struct Screen {
    app: App,
    theme: Theme,
    terminal: Terminal<TestBackend>,
}

impl Screen {
    fn new(width: u16, height: u16, theme: Theme, preferences: Preferences) -> Screen {
        let settings = Settings { budget: Budget::new(MEMORY), preferences, ..Settings::default() };
        let app = App::new(settings).expect("an empty filter");
        let terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
        let mut screen = Screen { app, theme, terminal };
        screen.update(Input::Resize(width, height));
        screen
    }

    fn update(&mut self, input: Input) {
        let mut effects = self.app.update(input);
        for second in 1..100 {
            if !self.app.busy() {
                break;
            }
            effects.extend(self.app.update(Input::Tick(Tick { now: Duration::from_secs(second), usage: None })));
        }
        for effect in effects {
            if let Effect::Copy(bytes) = effect {
                assert!(bytes.len() < 64 << 20, "{} bytes to copy", bytes.len());
            }
        }
    }

    fn draw(&mut self) {
        self.app.prepare();
        let (app, theme, mut extent) = (&self.app, self.theme, Default::default());
        self.terminal.draw(|frame| extent = crate::view::draw(frame, app, theme)).expect("a terminal in memory");
        self.app.drew(extent);
        for cell in self.terminal.backend().buffer().content() {
            assert!(!cell.symbol().contains(is_hostile), "{:?} on the screen", cell.symbol());
            assert!(self.theme.charset == Charset::Utf8 || cell.symbol().is_ascii(), "{:?}", cell.symbol());
        }
    }
}

/// Symbols of the kernel: the texts of /proc/kallsyms and /proc/modules, and the same at a later time, with lines `--` between
/// them. Names have addresses, and the addresses have names.
pub fn symbols(bytes: &[u8]) {
    let mut parts = bytes.splitn(4, |byte| *byte == b'|');
    let mut part = || parts.next().unwrap_or_default();
    let (texts, mut symbols) = ([(part(), part()), (part(), part())], Symbols::default());
    for (second, (text, modules)) in (1u64..).zip(texts) {
        let Some((builder, images)) = kallsyms::parse(text, modules, &mut Pieces::new(None)) else { continue };
        let began = BootNanos(second * 10);
        let table = builder.build();
        let places: Vec<_> = table.iter().map(|symbol| (symbol.start.0, symbol.size)).collect();
        for image in &images {
            let loaded = CodeImage { length: image.length.wrapping_mul(3), ..image.clone() };
            symbols.apply(BootNanos(second), ImageChange::Loaded(loaded));
        }
        symbols.replace(Snapshot { began, table, images: images.clone() });
        symbols.end_module(b"nf_tables");
        for (start, size) in places.iter().copied().chain(images.iter().map(|image| (image.address.0, 1))) {
            for address in [start.wrapping_sub(1), start, start.saturating_add(size / 2), start.saturating_add(size)] {
                for at in [0, second * 10, second * 10 + 9, u64::MAX] {
                    if let Some(symbol) = symbols.find(KernelAddr(address), BootNanos(at)) {
                        let offset = address.checked_sub(symbol.addr.0);
                        assert!(offset.is_some_and(|offset| offset < symbol.size), "{symbol:?} has {address:#x}");
                        assert!(symbol.from <= BootNanos(at) && !symbol.name.is_empty(), "{symbol:?} at {at}");
                    }
                }
            }
        }
        if let Some(image) = images.first() {
            symbols.apply(BootNanos(second * 10 + 8), ImageChange::Unloaded(image.clone()));
            symbols.apply(BootNanos(second * 10 + 9), ImageChange::Lost);
        }
    }
}

/// What the kernel says of processes, mounts, descriptors, interfaces and files, in which names from outside stand. The first byte
/// selects the parser.
pub fn host(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which {
        b's' => _ = procfs::Stat::parse(bytes),
        b'u' => _ = procfs::real_ids(bytes),
        b'g' => _ = procfs::cgroup(bytes),
        b'm' => {
            for mount in mounts::Mounts::parse(bytes).0 {
                mount.path_at(bytes);
            }
        }
        b'f' => _ = (bpf::processes::field(bytes, b"link_id:"), procfs::namespace_number(bytes, "net")),
        b'c' => {
            machine::parse_cpus(bytes);
        }
        b'o' => _ = machine::Lockdown::parse(bytes),
        b'p' => {
            let names = users::AccountNames::parse(bytes, bytes);
            let (users, groups) = (names.users().len(), names.groups().len());
            assert!(users <= groups && groups <= tracetui_events::limits::ACCOUNTS);
        }
        b't' => _ = attach::has_field(&String::from_utf8_lossy(bytes), &("filename", 16, 8)),
        b'l' => _ = (bpf::testing::interfaces(bytes), bpf::testing::sockets(bytes)),
        b'r' => _ = ksymbols::decode(bytes, 0),
        b'i' => _ = image::image(bytes),
        b'n' => _ = printed_symbols::parse(bytes),
        b'a' => {
            let rights = access::Rights { acl: access::acl(bytes), mode: 0o640, uid: 1, gid: 2 };
            let who = |groups| access::Credentials { uid: 5, gid: 6, groups, capabilities: Some(0), mapped: None };
            [None, Some(vec![2, 7])].into_iter().for_each(|groups| _ = rights.allow(access::READ, &who(groups)));
        }
        _ => escapes(bytes),
    }
}

/// Text that is escaped and cut: no character of it controls a terminal, and it fits.
fn escapes(bytes: &[u8]) {
    for charset in [Charset::Utf8, Charset::Ascii] {
        let whole = text::escaped(bytes, charset.reversible()).into_owned();
        check_shown(&text::shell::word(bytes));
        for cells in [0, 1, 2, 3, 7, 20, 80] {
            let short = text::value_in(bytes, charset, cells);
            let texts = [
                text::cut(&short, cells, charset),
                text::cut_middle(&whole, cells, charset),
                text::left(&short, cells, charset),
                text::right(&whole, cells, charset),
            ];
            for text in texts.iter() {
                check_shown(text);
                assert!(text::width(text) <= cells && (charset == Charset::Utf8 || text.is_ascii()), "{text:?}");
            }
            text::wrap(&whole, cells).iter().for_each(|line| check_shown(line));
        }
    }
}

fn check_shown(text: &str) {
    assert!(!text.contains(|letter: char| letter != '\n' && is_hostile(letter)), "{text:?} cannot be shown");
}

#[cfg(test)]
mod corpus {
    use std::path::Path;

    /// Runs a target on its corpus.
    fn check(target: &str, run: impl Fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let files = std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
        let mut count = 0;
        for file in files {
            let path = file.expect("a directory").path();
            let bytes = std::fs::read(&path).expect("readable");
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&bytes)));
            assert!(done.is_ok(), "{} fails", path.display());
            count += 1;
        }
        assert!(count > 0, "{} is empty", corpus.display());
    }

    fn check_json(lines: &str) {
        lines.lines().for_each(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("every line is JSON");
        });
    }

    macro_rules! corpora {
        ($($target:ident $run:expr;)*) => { $(
            #[test]
            fn $target() {
                check(stringify!($target), $run);
            }
        )* };
    }
    corpora! {
        btf super::btf;
        config super::config;
        filter super::filter;
        frames |bytes| check_json(&super::frames(bytes));
        inspector |bytes| check_json(&super::inspector(bytes));
        recording |bytes| check_json(&super::recording(bytes));
        diff |bytes| check_json(&super::diff(bytes));
        dashboard super::dashboard;
        symbols super::symbols;
        host super::host;
    }
}
