use super::*;
use crate::limits::SYMBOL_UNSIZED;
use proptest::prelude::*;

const PAGE: u64 = 4096;

/// A symbol as passed to the builder: its address, its name, and the index of its owner.
type Given = (u64, Vec<u8>, usize);

const OWNERS: [&[u8]; 3] = [b"", b"ext4", b"nf"];

/// A slow reference implementation of a table, by the definition.
struct Naive {
    /// By address: the symbols that start there, as (name, owner), in order.
    symbols: BTreeMap<u64, Vec<(Vec<u8>, usize)>>,
    /// Addresses of symbols and ends, each with its owner.
    edges: Vec<(u64, usize)>,
}

impl Naive {
    fn new(given: &[Given], ends: &[(u64, usize)]) -> Naive {
        let mut symbols: BTreeMap<u64, Vec<(Vec<u8>, usize)>> = BTreeMap::new();
        for (address, name, owner) in given {
            symbols.entry(*address).or_default().push((name.clone(), *owner));
        }
        let starts = given.iter().map(|(start, _, owner)| (*start, *owner));
        Naive { symbols, edges: starts.chain(ends.iter().copied()).collect() }
    }

    fn end(&self, address: u64, owner: usize) -> u64 {
        let later: Vec<&(u64, usize)> = self.edges.iter().filter(|(at, _)| *at > address).collect();
        let page = (address | (PAGE - 1)).saturating_add(1);
        let end = match later.iter().map(|(at, _)| *at).min() {
            Some(next) if later.contains(&&(next, owner)) => next,
            Some(next) => next.min(page),
            None => page,
        };
        end.min(address.saturating_add(SYMBOL_UNSIZED))
    }

    fn containing(&self, address: u64) -> Option<(Vec<u8>, &'static [u8], u64, u64)> {
        let (start, symbols) = self.symbols.range(..=address).next_back()?;
        let (name, owner) = &symbols[0];
        let size = self.end(*start, *owner) - start;
        (address - start < size).then(|| (name.clone(), OWNERS[*owner], *start, size))
    }
}

fn table_of(given: &[Given], ends: &[(u64, usize)]) -> Table {
    let mut builder = Builder::default();
    ends.iter().for_each(|(address, owner)| builder.end(*address, OWNERS[*owner]));
    given.iter().for_each(|(address, name, owner)| builder.symbol(*address, name, OWNERS[*owner]));
    builder.build()
}

fn check_against_naive(given: &[Given], ends: &[(u64, usize)]) {
    let table = table_of(given, ends);
    let naive = Naive::new(given, ends);
    let edges = naive.edges.iter().map(|(edge, _)| *edge);
    for edge in edges.flat_map(|edge| [edge, (edge / PAGE + 1).saturating_mul(PAGE)]) {
        for address in [edge.saturating_sub(1), edge, edge.saturating_add(1)] {
            let found = table.containing(KernelAddr(address));
            let found = found.map(|symbol| (symbol.name.to_vec(), symbol.owner, symbol.start.0, symbol.size));
            let expected = naive.containing(address);
            assert_eq!(found, expected, "{address:#x}");
        }
    }
    let all = table.iter().map(|symbol| (symbol.start.0, symbol.name.to_vec(), symbol.owner));
    let expected = naive.symbols.iter().flat_map(|(start, names)| names.iter().map(|name| (*start, name)));
    let expected = expected.map(|(start, (name, owner))| (start, name.clone(), OWNERS[*owner]));
    assert_eq!(all.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    for owner in table.owners() {
        let starts = given.iter().filter(|(_, _, number)| *OWNERS[*number] == *owner.name);
        assert_eq!(Some(owner.first.0), starts.map(|(start, ..)| *start).min());
    }
    let names = ["a", "bb", "missing"];
    let of = |name: &str| {
        let all = given.iter().filter(|(_, given, owner)| given == name.as_bytes() && *owner == 0);
        all.map(|(start, ..)| KernelAddr(*start)).min()
    };
    assert_eq!(table.addresses(names), names.map(of));
}

fn given() -> impl Strategy<Value = Vec<Given>> {
    // Far bases: kernels with 5-level page tables and of arm64, and modules below and above them.
    let base = prop::sample::select(vec![
        1u64,
        0x10_0000,
        0xffff_8000_0800_0000,
        0xffff_8000_8000_0000,
        0xff11_0000_0000_0000,
        0xffff_ffff_8100_0000,
        0xffff_ffff_c030_0000,
        0xffff_ffff_ffff_f000,
    ]);
    let address = (base, 0u64..400).prop_map(|(base, offset)| base + offset * 7);
    let name = "(_{0,3}|__pfx_)[ab]{1,3}(_end)?".prop_map(String::into_bytes);
    prop::collection::vec((address, name, 0usize..OWNERS.len()), 0..120)
}

proptest! {
    #[test]
    fn a_table_finds_what_the_definition_says(
        given in given(),
        ends in prop::collection::vec((0u64..9000, 0usize..OWNERS.len()), 0..20),
    ) {
        let ends: Vec<_> = ends.into_iter().map(|(offset, owner)| (0xffff_ffff_8100_0000 + offset, owner)).collect();
        check_against_naive(&given, &ends);
    }
}

#[test]
fn odd_names_and_many_symbols_are_found_or_left_out() {
    let mut builder = Builder::default();
    builder.symbol(0, b"zero", b"");
    builder.symbol(0x1000, b"", b"");
    builder.end(0, b"");
    let table = builder.build();
    assert_eq!(table.iter().next(), None);
    assert_eq!(table.containing(KernelAddr(0)), None);
    assert_eq!(table.containing(KernelAddr(0x1000)), None);
    assert_eq!(Table::default().containing(KernelAddr(u64::MAX)), None);
    // Names of 10 KiB and of any bytes come back.
    let names: Vec<Vec<u8>> = (0..200u32).map(|n| [vec![b'x'; 10 << 10], vec![0xff, n as u8]].concat()).collect();
    let given: Vec<Given> = (0..).zip(&names).map(|(n, name)| (0x1000 + n * 16, name.clone(), 1)).collect();
    check_against_naive(&given, &[]);
    // A million symbols of one address and name.
    let mut builder = Builder::default();
    for n in 0..1_000_000u64 {
        builder.symbol(0x1000 + (n >> 19) * 64, b"same", b"");
    }
    let table = builder.build();
    let found = |address| table.containing(KernelAddr(address)).map(|symbol| (symbol.start.0, symbol.size));
    assert_eq!(found(0x1001), Some((0x1000, 64)));
    assert_eq!(found(0x1041), Some((0x1040, PAGE - 64)));
    assert_eq!(table.iter().count(), 1_000_000);
    assert_eq!(table.iter().filter(|symbol| symbol.start.0 == 0x1000).count(), 1 << 19);
    assert_eq!(table.addresses(["same"]), [Some(KernelAddr(0x1000))]);
    // More owners than numbers, and a name that is too long.
    let names: Vec<_> = (0..70_000u64).map(|number| format!("m{number}")).collect();
    let long = vec![b'x'; 1 << 16];
    let mut builder = Builder::default();
    builder.symbol(0x1000, &long, b"");
    for (name, address) in names.iter().zip((0x10_0000u64..).step_by(64)) {
        builder.symbol(address, b"init", name.as_bytes());
    }
    let table = builder.build();
    let most = usize::from(u16::MAX) - 1;
    assert_eq!((table.owners().count(), table.iter().count()), (most, most));
    assert!(table.iter().zip(&names).all(|(symbol, name)| symbol.owner == name.as_bytes() && symbol.name == b"init"));
    assert_eq!(table.containing(KernelAddr(0x1000)), None);
}

fn at(seconds: u64) -> BootNanos {
    BootNanos(seconds * 1_000_000_000)
}

fn image(address: u64, length: u32, name: &str) -> CodeImage {
    CodeImage { address: KernelAddr(address), length, name: name.as_bytes().into() }
}

/// A module: its name, its start, and the names of its functions of 16 bytes each.
type Functions<'a> = (&'a str, u64, &'a [&'a str]);

fn snapshot(began: u64, modules: &[Functions<'_>], images: Vec<CodeImage>) -> Snapshot {
    let mut builder = Builder::default();
    builder.symbol(0xffff_ffff_8100_0000, b"_stext", b"");
    builder.end(0xffff_ffff_8100_0040, b"");
    for (module, start, functions) in modules {
        for (number, function) in (0..).zip(*functions) {
            builder.symbol(start + number * 16, function.as_bytes(), module.as_bytes());
        }
        builder.end(start + functions.len() as u64 * 16, module.as_bytes());
    }
    Snapshot { began: at(began), table: builder.build(), images }
}

/// Checks the name at each address and second. It is empty if there is none.
#[track_caller]
fn check_lookups(symbols: &Symbols, expected: &[(u64, u64, &str)]) {
    for (address, seconds, expected) in expected {
        let found = symbols.find(KernelAddr(*address), at(*seconds));
        let name = found.as_ref().map_or(&[][..], |symbol| &symbol.name);
        assert_eq!(String::from_utf8_lossy(name), *expected, "{address:#x} at {seconds} s");
        if let Some(symbol) = found {
            assert!(address - symbol.addr.0 < symbol.size && symbol.from <= at(*seconds), "{symbol:?}");
        }
    }
}

fn started() -> Symbols {
    let mut symbols = Symbols::default();
    symbols.replace(snapshot(1, &[], Vec::new()));
    symbols
}

#[test]
fn an_address_has_the_name_of_its_time_even_if_reports_lack() {
    let mut symbols = started();
    symbols.apply(at(10), ImageChange::Loaded(image(0x1000, 256, "a")));
    check_lookups(&symbols, &[(0x1040, 9, ""), (0x1040, 10, "a")]);
    symbols.apply(at(20), ImageChange::Unloaded(image(0x1000, 256, "a")));
    check_lookups(&symbols, &[(0x10ff, 20, ""), (0x1040, 20, "")]);
    symbols.apply(at(30), ImageChange::Loaded(image(0x1040, 64, "b")));
    check_lookups(&symbols, &[(0x1040, 30, "b"), (0x1000, 30, "")]);
    // Its memory has another name now.
    check_lookups(&symbols, &[(0x1040, 19, ""), (0xffff_ffff_8100_0001, 0, "_stext")]);
    // Unreported loads and unloads are inferred.
    let mut symbols = started();
    symbols.apply(at(10), ImageChange::Loaded(image(0x1000, 0x3000, "a")));
    check_lookups(&symbols, &[(0x3001, 19, "a")]);
    symbols.apply(at(20), ImageChange::Loaded(image(0x3000, 64, "b")));
    check_lookups(&symbols, &[(0x3001, 20, "b"), (0x2001, 20, "")]);
    symbols.apply(at(30), ImageChange::Unloaded(image(0x1000, 0x3000, "a")));
    check_lookups(&symbols, &[(0x3001, 31, "b")]);
    // Reports out of order do no harm.
    let mut symbols = started();
    symbols.apply(at(20), ImageChange::Loaded(image(0x1000, 64, "b")));
    symbols.apply(at(10), ImageChange::Loaded(image(0x1000, 64, "a")));
    symbols.apply(at(15), ImageChange::Unloaded(image(0x1000, 64, "a")));
    check_lookups(&symbols, &[(0x1000, 21, "b")]);
}

#[test]
fn reports_correct_the_list_at_the_start() {
    let mut symbols = Symbols::default();
    // While the list was made, x went, a came and went, and b came. The reports arrive later, or before.
    let listed = || snapshot(5, &[], vec![image(0x1000, 64, "b"), image(0x5000, 100, "old")]);
    let reports = [
        (6, ImageChange::Unloaded(image(0x1000, 64, "x"))),
        (8, ImageChange::Loaded(image(0x1000, 64, "a"))),
        (10, ImageChange::Unloaded(image(0x1000, 64, "a"))),
        (12, ImageChange::Loaded(image(0x1000, 128, "b"))),
    ];
    let mut early = Symbols::default();
    symbols.replace(listed());
    for (time, change) in reports {
        symbols.apply(at(time), change.clone());
        early.apply(at(time), change);
    }
    early.replace(listed());
    for symbols in [symbols, early] {
        check_lookups(&symbols, &[(0x1000, 7, ""), (0x1000, 11, ""), (0x1000, 12, "b"), (0x107f, 13, "b")]);
        check_lookups(&symbols, &[(0x5000, 0, "old")]);
    }
}

#[test]
fn after_lost_reports_or_without_a_table_nothing_is_guessed() {
    let mut symbols = started();
    for (time, address, name) in [(3, 0x1000, "gone"), (4, 0x2000, "stays")] {
        symbols.apply(at(time), ImageChange::Loaded(image(address, 64, name)));
    }
    check_lookups(&symbols, &[(0x1000, 9, "gone")]);
    symbols.apply(at(20), ImageChange::Lost);
    check_lookups(&symbols, &[(0x2000, 15, ""), (0xffff_ffff_8100_0000, 15, "_stext")]);
    let listed = || vec![image(0x2000, 64, "stays"), image(0x3000, 64, "new")];
    // A list that began before the loss may lack images.
    symbols.replace(snapshot(19, &[], listed()));
    check_lookups(&symbols, &[(0x2000, 21, "")]);
    symbols.replace(snapshot(30, &[], listed()));
    check_lookups(&symbols, &[(0x1000, 32, ""), (0x2000, 29, ""), (0x2000, 30, "stays"), (0x3000, 29, "")]);
    check_lookups(&symbols, &[(0x3000, 30, "new")]);
    // Without a table, images have names.
    let mut symbols = Symbols::default();
    assert_eq!(symbols.table().err(), Some(Unavailable::NotRead));
    symbols.set_unavailable(Unavailable::KptrRestrict);
    assert_eq!(symbols.table().err(), Some(Unavailable::KptrRestrict));
    check_lookups(&symbols, &[(0x1000, 1, ""), (0, 1, "")]);
    // Reports of images still have addresses.
    symbols.apply(at(2), ImageChange::Loaded(image(0x1000, 64, "a")));
    check_lookups(&symbols, &[(0x1010, 3, "a")]);
    assert_eq!(symbols.table().err(), Some(Unavailable::KptrRestrict));
    // A table survives the failure of a later read.
    symbols.replace(snapshot(3, &[], Vec::new()));
    symbols.set_unavailable(Unavailable::NoCapability);
    check_lookups(&symbols, &[(0xffff_ffff_8100_0000, 5, "_stext")]);
}

#[test]
fn images_are_limited() {
    let mut symbols = started();
    let count = 20_000;
    for number in 0..count {
        let image = image(0x10_0000 + number * 64, 64, &format!("bpf_prog_{number:016x}_f"));
        symbols.apply(at(10 + 2 * number), ImageChange::Loaded(image.clone()));
        symbols.apply(at(11 + 2 * number), ImageChange::Unloaded(image));
    }
    assert_eq!((symbols.images.len(), symbols.bytes), (0, 0));
    for number in 0..300u64 {
        symbols.apply(at(10), ImageChange::Loaded(image(0x10_0000 + number * 64, u32::MAX, "x")));
    }
    for number in 0..100_000u64 {
        symbols.apply(at(11), ImageChange::Loaded(image(0x9000_0000 + number * 64, 64, &format!("y{number}"))));
    }
    assert!(symbols.bytes <= IMAGES_BYTES && symbols.images.len() > 20_000, "{}", symbols.images.len());
    assert_eq!(symbols.bytes, symbols.images.values().map(Image::bytes).sum::<usize>());
    symbols.apply(at(12), ImageChange::Unloaded(image(0x9000_0000, 64, "y0")));
    symbols.apply(at(13), ImageChange::Loaded(image(0x9000_0000, 64, "z")));
    check_lookups(&symbols, &[(0x9000_0000, 13, "z")]);
}

#[test]
fn modules_have_their_times() {
    let ext4: Functions<'_> = ("ext4", 0xffff_ffff_c000_0000, &["ext4_open", "ext4_read"]);
    let mut symbols = Symbols::default();
    symbols.replace(snapshot(1, &[ext4], Vec::new()));
    check_lookups(&symbols, &[(ext4.1 + 17, 0, "ext4_read")]);
    symbols.end_module(b"ext4");
    check_lookups(&symbols, &[(ext4.1, 10, "")]);
    // Another module takes its place.
    symbols.replace(snapshot(13, &[("nf", ext4.1, &["nf_hook"])], Vec::new()));
    check_lookups(&symbols, &[(ext4.1, 9, ""), (ext4.1, 12, ""), (ext4.1, 13, "nf_hook")]);
    // The same again, elsewhere.
    check_lookups(&symbols, &[(ext4.1, 19, "nf_hook")]);
    symbols.end_module(b"nf");
    symbols.replace(snapshot(22, &[("nf", ext4.1 + 0x1000, &["nf_hook"])], Vec::new()));
    check_lookups(&symbols, &[(ext4.1, 22, ""), (ext4.1 + 0x1000, 21, ""), (ext4.1 + 0x1000, 22, "nf_hook")]);
    // A program takes its place before the next read.
    symbols.apply(at(30), ImageChange::Loaded(image(ext4.1 + 0x1000, 64, "program")));
    check_lookups(&symbols, &[(ext4.1 + 0x1000, 30, "program"), (ext4.1 + 0x1000, 29, "nf_hook")]);
    // A module keeps its time when its initialization is freed.
    let start = 0xffff_ffff_c000_0000;
    let mut symbols = started();
    symbols.replace(snapshot(11, &[("m", start, &["run", "init_module"])], Vec::new()));
    check_lookups(&symbols, &[(start + 16, 15, "init_module")]);
    symbols.replace(snapshot(20, &[("m", start, &["run"])], Vec::new()));
    check_lookups(&symbols, &[(start, 10, ""), (start, 11, "run"), (start, 15, "run"), (start, 25, "run")]);
    check_lookups(&symbols, &[(start + 16, 25, "")]);
}
