//! Reads the symbols of the kernel from /proc/kallsyms.

use super::background::{Pace, Pieces};
use super::clock::{now_boot, now_thread};
use super::confine::{self, Role};
use super::{decimal, read_bounded};
use memchr::{memchr, memrchr};
use rustix::thread::{CapabilitySet, capabilities};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, channel, sync_channel};
use tracetui_events::limits::{KALLSYMS_BYTES, KALLSYMS_PAUSE, KALLSYMS_SHARE};
use tracetui_events::symbols::{BPF, Builder, CodeImage, Snapshot, Unavailable};
use tracetui_shared::id::KernelAddr;

/// The approximate length of a line of /proc/kallsyms in bytes.
const LINE: usize = 44;

/// The number of lines and bytes between two calls of [`Pieces::rest`].
const LINES: usize = 512;
const BYTES: u64 = 32 << 10;

/// The minimum size of a page in bytes.
const PAGE: u64 = 4096;

/// The maximum number of bytes read from /proc/sys.
const VALUE_MAX: u64 = 16 << 10;

/// Reads the symbols on request, on a separate thread.
///
/// The reader uses at most a hundredth of a processor, however many requests it gets. After each read, it pauses for a
/// second, or a hundred times the processor time of the read. All requests during a read or a pause lead to one read
/// afterwards. It reads in pieces with pauses until somebody waits for the result.
#[derive(Debug)]
pub struct SymbolReader {
    requests: SyncSender<()>,
    results: Receiver<Result<Snapshot, Unavailable>>,
    pace: Arc<Pace>,
}

impl SymbolReader {
    /// Starts the thread, and requests the first read.
    pub fn start() -> io::Result<SymbolReader> {
        SymbolReader::reading(snapshot)
    }

    fn reading(
        mut read: impl FnMut(&mut Pieces<'_>) -> Result<Snapshot, Unavailable> + Send + 'static,
    ) -> io::Result<SymbolReader> {
        let (requests, wanted) = sync_channel(1);
        let (deliver, results) = channel();
        let pace = Arc::<Pace>::default();
        let reader = SymbolReader { requests, results, pace: Arc::clone(&pace) };
        reader.request();
        confine::start("symbols", Role::Recorder { inspector: None }, move || {
            while wanted.recv().is_ok() {
                let began = now_thread();
                if deliver.send(read(&mut Pieces::new(Some(&pace)))).is_err() {
                    return;
                }
                pace.calm();
                let took = now_thread().saturating_sub(began);
                std::thread::sleep(KALLSYMS_PAUSE.max(took * KALLSYMS_SHARE));
            }
        })?;
        Ok(reader)
    }

    /// Requests a read. Returns at once.
    pub fn request(&self) {
        // If a request is already pending, one read serves both.
        let _ = self.requests.try_send(());
    }

    /// Reads without pauses until the end of the current read, or of the next one.
    pub fn hurry(&self) {
        self.pace.hurry();
    }

    /// The result of a read, if one has ended since the last call.
    pub fn poll(&self) -> Option<Result<Snapshot, Unavailable>> {
        match self.results.try_recv() {
            Ok(read) => Some(read),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(Unavailable::NotRead)),
        }
    }

    pub fn wait(&self) -> Result<Snapshot, Unavailable> {
        self.results.recv().unwrap_or(Err(Unavailable::NotRead))
    }
}

pub fn is_there() -> bool {
    let first = read_bounded("/proc/kallsyms", PAGE).unwrap_or_default();
    first.split(|byte| *byte == b'\n').next().and_then(Line::parse).is_some()
}

pub fn snapshot(pieces: &mut Pieces<'_>) -> Result<Snapshot, Unavailable> {
    let began = now_boot();
    let text = text(pieces).map_err(|error| unreadable(&error))?;
    // A kernel without modules has no such file.
    let modules = read_bounded("/proc/modules", KALLSYMS_BYTES).unwrap_or_default();
    match parse(&text, &modules, pieces) {
        Some((builder, images)) => Ok(Snapshot { began, table: builder.build(), images }),
        None if text.is_empty() => Err(Unavailable::Unreadable(libc::ENODATA)),
        None => Err(why_hidden()),
    }
}

fn text(pieces: &mut Pieces<'_>) -> io::Result<Vec<u8>> {
    let mut file = File::open("/proc/kallsyms")?.take(KALLSYMS_BYTES);
    let mut text = Vec::new();
    while file.by_ref().take(BYTES).read_to_end(&mut text)? > 0 {
        pieces.rest();
    }
    Ok(text)
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Module {
    pub name: Box<[u8]>,
    /// The address as listed: zeros if the kernel hides it.
    address: Box<[u8]>,
}

/// The loaded modules, as /proc/modules lists them. Empty if the file cannot be read or does not exist.
pub fn modules() -> BTreeSet<Module> {
    let list = read_bounded("/proc/modules", KALLSYMS_BYTES).unwrap_or_default();
    let module = |line: &[u8]| {
        let mut words = line.split(|byte| *byte == b' ');
        // Name, size, references, users, state, address.
        Some(Module { name: words.next()?.into(), address: words.nth(4)?.into() })
    };
    list.split(|byte| *byte == b'\n').filter_map(module).collect()
}

/// Takes all text symbols from the contents of /proc/kallsyms. Their ends follow from these contents and from
/// /proc/modules. `None` if no symbol has an address.
///
/// The kernel writes `address type name`, and a module after a tab. A module chooses the names of its symbols, so they
/// may contain anything, even line breaks. After the first line with a module, a line without one is therefore not
/// trusted. Neither is an address of a module that lies within the kernel.
pub fn parse<'a>(
    kallsyms: &'a [u8],
    modules: &'a [u8],
    pieces: &mut Pieces<'_>,
) -> Option<(Builder<'a>, Vec<CodeImage>)> {
    let mut builder = Builder::with_capacity(kallsyms.len() / LINE);
    let mut images = Vec::new();
    let (mut first, mut last) = (u64::MAX, 0);
    let mut in_modules = false;
    let mut found = false;
    // If the text was cut, an incomplete line follows the last line break.
    let mut rest = kallsyms;
    let mut lines = 0;
    while let Some(end) = memchr(b'\n', rest) {
        lines += 1;
        if lines % LINES == 0 {
            pieces.rest();
        }
        let line = Line::parse(&rest[..end]);
        rest = &rest[end + 1..];
        let Some(line) = line.filter(|line| line.address != 0) else { continue };
        in_modules |= !line.module.is_empty();
        if !in_modules {
            (first, last) = (line.address.min(first), line.address.max(last));
        } else if line.module.is_empty() || (first..=last).contains(&line.address) {
            continue;
        }
        match line.class() {
            Class::Text if line.module == BPF => images.push(line),
            Class::Text => {
                found = true;
                builder.symbol(line.address, line.name, line.module);
            }
            Class::End => builder.end(line.address, line.module),
            Class::Other => {}
        }
    }
    for (name, end) in modules.split(|byte| *byte == b'\n').filter_map(module_end) {
        builder.end(end, name);
    }
    found.then(|| (builder, with_lengths(images)))
}

struct Line<'a> {
    address: u64,
    class: u8,
    name: &'a [u8],
    module: &'a [u8],
}

enum Class {
    Text,
    /// Data, or the end of a section: it ends the preceding text.
    End,
    Other,
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Line<'a>> {
        let (address, rest) = hex(line)?;
        let [b' ', class, b' ', rest @ ..] = rest else { return None };
        let (name, module) = match rest.strip_suffix(b"]") {
            Some(inner) => match memrchr(b'\t', inner) {
                Some(tab) if inner.get(tab + 1) == Some(&b'[') => (&rest[..tab], owner(&inner[tab + 2..])),
                _ => (rest, &b""[..]),
            },
            None => (rest, &b""[..]),
        };
        (!name.is_empty()).then_some(Line { address, class: *class, name, module })
    }

    fn class(&self) -> Class {
        match self.class {
            b't' | b'T' | b'w' | b'W' if is_local_label(self.name) => Class::Other,
            b't' | b'T' | b'w' | b'W' if !ends_section(self.name) => Class::Text,
            b't' | b'T' | b'w' | b'W' | b'd' | b'D' | b'b' | b'B' | b'r' | b'R' => Class::End,
            _ => Class::Other,
        }
    }
}

/// The owner of the symbols of a module. The kernel lists instructions that it moved for kprobes, and trampolines of ftrace, as
/// symbols of modules that it names `__builtin__` and a word.
fn owner(module: &[u8]) -> &[u8] {
    const BUILTIN: &[u8] = b"__builtin__";
    if module.starts_with(BUILTIN) { BUILTIN } else { module }
}

/// Whether the symbol marks the end of a section instead of the start of something.
fn ends_section(name: &[u8]) -> bool {
    matches!(name, b"_etext" | b"_einittext" | b"_end" | b"__init_end" | b"__inittext_end" | b"__exittext_end")
        || name.starts_with(b"__") && name.ends_with(b"_text_end")
}

/// Labels of assemblers and compilers (`is_mapping_symbol`,
/// [include/linux/module_symbol.h](https://elixir.bootlin.com/linux/v6.12/source/include/linux/module_symbol.h)).
fn is_local_label(name: &[u8]) -> bool {
    matches!(name, [b'.', b'L', ..] | [b'L', b'0', ..])
        || matches!(name, [b'$', b'a' | b'd' | b't' | b'x'] | [b'$', b'a' | b'd' | b't' | b'x', b'.', ..])
}

/// The name of a module and the end of its memory, from a line of /proc/modules. From 6.4 on, a module's memory is in
/// several parts, and only the first part, the text, begins at the address. The end is then an upper bound.
fn module_end(line: &[u8]) -> Option<(&[u8], u64)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let name = fields.next()?;
    let size: u64 = decimal(fields.next()?)?;
    let (address, _) = hex(fields.nth(3)?.strip_prefix(b"0x")?)?;
    (address != 0).then(|| (name, address.saturating_add(size)))
}

/// The images with their lengths. An image ends where the next one begins, or with its page, because the kernel does
/// not give its length.
fn with_lengths(mut lines: Vec<Line<'_>>) -> Vec<CodeImage> {
    lines.sort_by_key(|line| line.address);
    let ends: Vec<u64> = lines.iter().skip(1).map(|line| line.address).chain([u64::MAX]).collect();
    let image = |(line, next): (&Line<'_>, u64)| {
        let page_end = (line.address | (PAGE - 1)).saturating_add(1);
        let length = (next.min(page_end) - line.address) as u32;
        CodeImage { address: KernelAddr(line.address), length, name: line.name.into() }
    };
    lines.iter().zip(ends).map(image).collect()
}

/// Parses up to 16 hexadecimal digits. Also returns the text after them.
fn hex(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take(16).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = text.split_at(digits);
    Some((u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?, rest))
}

fn unreadable(error: &io::Error) -> Unavailable {
    Unavailable::Unreadable(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Why all addresses are 0 (`kallsyms_show_value`,
/// [kernel/ksyms_common.c](https://elixir.bootlin.com/linux/v6.12/source/kernel/ksyms_common.c)).
fn why_hidden() -> Unavailable {
    let restrict = read_bounded("/proc/sys/kernel/kptr_restrict", VALUE_MAX).ok();
    let held = capabilities(None).ok().map(|held| held.effective);
    match restrict.and_then(|text| decimal::<i32>(text.trim_ascii())) {
        Some(2..) => Unavailable::KptrRestrict,
        _ if held.is_some_and(|held| !held.contains(CapabilitySet::SYSLOG)) => Unavailable::NoCapability,
        _ => Unavailable::Hidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};
    use tracetui_events::symbols::Table;

    fn table(kallsyms: &str, modules: &str) -> Table {
        parse(kallsyms.as_bytes(), modules.as_bytes(), &mut Pieces::new(None))
            .map(|(builder, _)| builder.build())
            .unwrap_or_default()
    }

    /// The symbol that contains the address, as `name+offset/size [module]`.
    fn shown(table: &Table, address: u64) -> String {
        let Some(symbol) = table.containing(KernelAddr(address)) else { return "none".to_owned() };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        format!("{}+{}/{} [{}]", text(symbol.name), address - symbol.start.0, symbol.size, text(symbol.owner))
    }

    fn named(table: &Table, owner: &[u8], name: &[u8]) -> usize {
        table.iter().filter(|symbol| symbol.owner == owner && symbol.name == name).count()
    }

    const X86: &str = "ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000010 t first
ffffffff81000050 T strong
ffffffff81000050 W weak
ffffffff810000a0 T _etext
ffffffff82000000 D data
ffffffff83000000 t init
ffffffff83000000 T _sinittext
ffffffff83000100 T _einittext
ffffffffc0000000 t run\t[ext4]
ffffffffc0000040 t last\t[ext4]
ffffffffc0003000 t hook\t[nf]
ffffffffc0003020 d nf_data\t[nf]
ffffffffc0010000 t bpf_prog_6deef7357e7b4530_sd\t[bpf]
ffffffffc0010080 t bpf_prog_f0f0_x\t[bpf]
ffffffffc0011000 t ftrace_trampoline\t[__builtin__ftrace]
";
    const MODULES: &str = "ext4 8192 2 - Live 0xffffffffc0000000\nnf 4096 0 - Live 0xffffffffc0003000 (OE)\n";

    #[test]
    fn symbols_end_with_their_section_and_their_module() {
        let (table, without_modules) = (table(X86, MODULES), table(X86, ""));
        for (address, expected) in [
            (0xffff_ffff_80ff_ffff, "none"),
            (0xffff_ffff_8100_000f, "_stext+15/16 []"),
            (0xffff_ffff_8100_0010, "first+0/64 []"),
            (0xffff_ffff_8100_0060, "strong+16/80 []"),
            (0xffff_ffff_8100_00a0, "none"),
            (0xffff_ffff_8300_0000, "init+0/256 []"),
            (0xffff_ffff_8300_0100, "none"),
            (0xffff_ffff_c000_0041, "last+1/8128 [ext4]"),
            (0xffff_ffff_c000_2000, "none"),
            (0xffff_ffff_c000_301f, "hook+31/32 [nf]"),
            (0xffff_ffff_c000_3020, "none"),
            (0xffff_ffff_c001_0000, "none"),
            (0xffff_ffff_c001_1fff, "ftrace_trampoline+4095/4096 [__builtin__]"),
        ] {
            assert_eq!(shown(&table, address), expected, "{address:#x}");
        }
        // The end of a section is no symbol.
        assert_eq!(named(&table, b"", b"_etext"), 0);
        assert_eq!((named(&table, b"ext4", b"last"), named(&table, b"nf", b"last")), (1, 0));
        // Without the list of modules, a symbol ends with its page.
        assert_eq!(shown(&without_modules, 0xffff_ffff_c000_0041), "last+1/4032 [ext4]");
        assert_eq!(shown(&without_modules, 0xffff_ffff_c000_1000), "none");
        // Modules may be below the kernel, as on arm64.
        let text = "ffff800080000000 T _text\nffff800080010000 T _stext\nffff800080020000 T _etext
ffff80007a000000 t run\t[m]\nffff80007a000000 t $x\t[m]\nffff80007a000020 t $d.5\t[m]\nffff80007a000030 t next\t[m]\n";
        let table = self::table(text, "m 4096 0 - Live 0xffff80007a000000\n");
        assert_eq!(shown(&table, 0xffff_8000_7a00_0021), "run+33/48 [m]");
        assert_eq!(shown(&table, 0xffff_8000_7a00_0fff), "next+4047/4048 [m]");
        assert_eq!(shown(&table, 0xffff_8000_8000_0010), "_text+16/65536 []");
        assert_eq!(shown(&table, 0xffff_8000_8002_0000), "none");
        // Programs are images.
        let (_, images) = parse(X86.as_bytes(), MODULES.as_bytes(), &mut Pieces::new(None)).expect("symbols");
        let shown: Vec<_> = images.iter().map(|image| (image.address.0, image.length)).collect();
        assert_eq!(shown, [(0xffff_ffff_c001_0000, 128), (0xffff_ffff_c001_0080, 4096 - 128)]);
    }

    #[test]
    fn cut_text_ends_with_its_last_whole_line() {
        for cut in 0..X86.len() {
            let Some((builder, _)) = parse(&X86.as_bytes()[..cut], b"", &mut Pieces::new(None)) else { continue };
            let table = builder.build();
            for symbol in table.iter() {
                let line = format!(" {}", String::from_utf8_lossy(symbol.name));
                assert!(X86.lines().any(|whole| whole.split('\t').next().is_some_and(|start| start.ends_with(&line))));
            }
        }
        // Hidden addresses make no table.
        let hidden = "0000000000000000 T _stext\n0000000000000000 t first\n0000000000000000 t run\t[ext4]\n";
        assert!(parse(hidden.as_bytes(), b"ext4 8192 2 - Live 0x0000000000000000\n", &mut Pieces::new(None)).is_none());
        assert!(parse(b"", b"", &mut Pieces::new(None)).is_none());
        // Symbols of per-CPU data are at 0 and above, on kernels before 6.15.
        let table = table(
            "0000000000000000 A fixed_percpu_data\n0000000000001000 A cpu_debug_store\nffffffff81000000 T _stext\n",
            "",
        );
        assert_eq!((table.iter().count(), shown(&table, 0x1000).as_str()), (1, "none"));
        // Names of modules cannot forge the kernel.
        let text = "ffffffff81000000 T _stext\nffffffff81000020 T do_exit\nffffffff81000040 T _etext
ffffffffc0000000 t evil\nffffffff81000020 T forged\nx\t[m]
ffffffff81000020 t inside\t[m]\nffffffff81000028 d cut\t[m]\nffffffffc0000010 t a\t[b]\t[m]\n";
        // The third line of the first name has no address, and the module of the last line is the last word.
        let text = text.replace("t evil\n", "t first\t[m]\nffffffffc0000008 t evil\n");
        let table = self::table(&text, "");
        assert_eq!(shown(&table, 0xffff_ffff_8100_0028), "do_exit+8/32 []");
        assert!(!table.iter().any(|symbol| symbol.name == b"forged" || symbol.name == b"inside"));
        assert_eq!(named(&table, b"m", b"a\t[b]"), 1);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed(
            lines in prop::collection::vec("[0-9a-f]{0,17} [tTdW] [a-z\t\\[\\]$]{0,6}(\t\\[[a-z]{0,2}\\]?)?", 0..30),
            modules in "([a-z]{1,3} [0-9]{0,21} 0 - Live (0x)?[0-9a-f]{0,17}\n){0,4}",
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let text = [lines.join("\n").as_bytes(), b"\n", &noise].concat();
            if let Some((builder, images)) = parse(&text, modules.as_bytes(), &mut Pieces::new(None)) {
                let table = builder.build();
                for symbol in table.iter().filter(|symbol| symbol.size > 0) {
                    prop_assert!(table.containing(symbol.start).is_some());
                    prop_assert!(symbol.start.0 > 0);
                }
                prop_assert!(images.iter().all(|image| image.address.0 > 0 && image.length > 0));
            }
        }
    }

    #[test]
    fn many_requests_are_one_read() {
        // The first read is short, the second takes more than a hundredth of the pause.
        let mut works = [Duration::ZERO, KALLSYMS_PAUSE / 50].into_iter();
        let read = move |_: &mut Pieces<'_>| {
            let until = now_thread() + works.next().unwrap_or_default();
            while now_thread() < until {}
            Err(Unavailable::Hidden)
        };
        let reader = SymbolReader::reading(read).expect("a thread");
        let wait = || {
            assert_eq!(reader.wait().err(), Some(Unavailable::Hidden));
            Instant::now()
        };
        let mut last = wait();
        for pause in [KALLSYMS_PAUSE, 2 * KALLSYMS_PAUSE] {
            (0..10_000).for_each(|_| reader.request());
            let now = wait();
            assert!(now - last >= pause, "{:?}", now - last);
            last = now;
        }
        std::thread::sleep(3 * KALLSYMS_PAUSE);
        assert!(reader.poll().is_none(), "nobody asked");
    }
}
