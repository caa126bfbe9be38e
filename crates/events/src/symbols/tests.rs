use super::*;
use crate::limits::{IMAGES_BYTES, SYMBOL_UNSIZED};
use proptest::prelude::*;
use std::collections::BTreeMap;

const PAGE: u64 = 4096;

/// A symbol as passed to the builder.
type Given = (u64, Option<u64>, Vec<u8>, usize, bool);

const OWNERS: [&[u8]; 3] = [b"", b"ext4", b"nf"];

/// A slow reference implementation of a table, by the definition.
struct Naive {
    /// By address: the symbols that start there, as (name, owner, end), in order.
    symbols: BTreeMap<u64, Vec<(Vec<u8>, usize, u64)>>,
}

impl Naive {
    fn new(given: &[Given], ends: &[(u64, usize)]) -> Naive {
        let mut symbols: BTreeMap<u64, Vec<(Vec<u8>, usize, u64)>> = BTreeMap::new();
        let mut sorted: Vec<&Given> = given.iter().collect();
        sorted.sort_by_key(|(address, size, name, owner, weak)| {
            let marks = name.len() >= 8 && name.starts_with(b"__") && name.ends_with(b"_end");
            let underscores = name.iter().take_while(|byte| **byte == b'_').count();
            (*address, *owner, *weak, marks, underscores, name, std::cmp::Reverse(size.unwrap_or(u64::MAX)))
        });
        for (address, size, name, owner, _) in sorted {
            let end = match size {
                Some(size) => address.saturating_add(*size),
                None => Naive::unsized_end(*address, *owner, given, ends),
            };
            symbols.entry(*address).or_default().push((name.clone(), *owner, end));
        }
        Naive { symbols }
    }

    fn unsized_end(address: u64, owner: usize, given: &[Given], ends: &[(u64, usize)]) -> u64 {
        let starts = given.iter().map(|(start, _, _, owner, _)| (*start, *owner));
        let later: Vec<(u64, usize)> = starts.chain(ends.iter().copied()).filter(|(at, _)| *at > address).collect();
        let page = (address | (PAGE - 1)).saturating_add(1);
        let end = match later.iter().map(|(at, _)| *at).min() {
            Some(next) if later.contains(&(next, owner)) => next,
            Some(next) => next.min(page),
            None => page,
        };
        end.min(address.saturating_add(SYMBOL_UNSIZED))
    }

    fn containing(&self, address: u64) -> Option<(&[u8], usize, u64, u64)> {
        self.symbols.range(..=address).rev().find_map(|(start, symbols)| {
            let (name, owner, end) = symbols.iter().find(|(_, _, end)| *end > address)?;
            Some((&**name, *owner, *start, end - start))
        })
    }
}

fn table_of(given: &[Given], ends: &[(u64, usize)]) -> Table {
    let mut builder = Builder::default();
    ends.iter().for_each(|(address, owner)| builder.end(*address, OWNERS[*owner]));
    for (address, size, name, owner, weak) in given {
        let binding = if *weak { Binding::Weak } else { Binding::Strong };
        builder.symbol(*address, *size, name, OWNERS[*owner], binding);
    }
    builder.build()
}

fn check_against_naive(given: &[Given], ends: &[(u64, usize)]) {
    let table = table_of(given, ends);
    let naive = Naive::new(given, ends);
    let mut name = Vec::new();
    let mut described = |place: SymbolRange| {
        table.name(place.symbol, &mut name);
        let owner = &table.owner(place.owner).expect("an owner").name;
        let owner = OWNERS.iter().position(|other| **other == **owner).expect("one that was given");
        (name.clone(), owner, place.start, place.size)
    };
    let edges = given.iter().flat_map(|(start, size, ..)| [*start, start.saturating_add(size.unwrap_or(0))]);
    let edges = edges.chain(ends.iter().map(|(end, _)| *end));
    for edge in edges.flat_map(|edge| [edge, (edge / PAGE + 1).saturating_mul(PAGE)]) {
        for address in [edge.saturating_sub(1), edge, edge.saturating_add(1)] {
            let found = table.containing(address).map(&mut described);
            let expected =
                naive.containing(address).map(|(name, owner, start, size)| (name.to_vec(), owner, start, size));
            assert_eq!(found, expected, "{address:#x}");
            let all: Vec<_> = table.at(address).map(&mut described).collect();
            let expected = naive.symbols.get(&address).map_or(&[][..], Vec::as_slice);
            let expected = expected.iter().map(|(name, owner, end)| (name.clone(), *owner, address, end - address));
            assert_eq!(all, expected.collect::<Vec<_>>(), "{address:#x}");
        }
    }
    for (address, _, name, owner, _) in given {
        assert!(table.named(name).any(|place| place.start == *address));
        assert!(table.named_in(OWNERS[*owner], name).any(|place| place.start == *address));
        assert!(table.named_in(OWNERS[*owner], name).all(|place| described(place).1 == *owner));
        let expected = given.iter().filter(|other| other.2 == *name).count();
        assert_eq!(table.named(name).count(), expected);
    }
    assert_eq!(table.len(), given.len());
    assert_eq!(table.iter().count(), given.len());
    assert_eq!(table.named(b"missing").count(), 0);
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
    let size = prop::option::weighted(0.4, 0u64..60);
    let name = "(_{0,3}|__pfx_)[ab]{1,3}(_end)?".prop_map(String::into_bytes);
    prop::collection::vec((address, size, name, 0usize..OWNERS.len(), any::<bool>()), 0..120)
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

    #[test]
    fn the_order_of_insertion_does_not_matter(given in given(), turn in 0usize..200) {
        let mut other = given.clone();
        other.reverse();
        let middle = turn % (other.len() + 1);
        other.rotate_left(middle);
        let described = |table: &Table| {
            let mut name = Vec::new();
            table.iter().map(|place| {
                table.name(place.symbol, &mut name);
                (place, name.clone())
            }).collect::<Vec<_>>()
        };
        prop_assert_eq!(described(&table_of(&given, &[])), described(&table_of(&other, &[])));
    }
}

#[test]
fn an_address_of_zero_and_an_empty_name_are_no_symbols() {
    let mut builder = Builder::default();
    builder.symbol(0, None, b"zero", b"", Binding::Strong);
    builder.symbol(0x1000, None, b"", b"", Binding::Strong);
    builder.end(0, b"");
    let table = builder.build();
    assert!(table.is_empty());
    assert_eq!(table.containing(0), None);
    assert_eq!(table.containing(0x1000), None);
    assert_eq!(Table::default().containing(u64::MAX), None);
}

#[test]
fn names_of_ten_kib_and_of_any_bytes_come_back() {
    let names: Vec<Vec<u8>> = (0..200u32).map(|n| [vec![b'x'; 10 << 10], vec![0xff, n as u8]].concat()).collect();
    let given: Vec<Given> =
        (0..).zip(&names).map(|(n, name)| (0x1000 + n * 16, None, name.clone(), 1, false)).collect();
    check_against_naive(&given, &[]);
}

#[test]
fn a_million_symbols_of_one_address_and_name_are_found() {
    let mut builder = Builder::default();
    for n in 0..1_000_000u64 {
        builder.symbol(0x1000 + (n >> 19) * 64, None, b"same", b"", Binding::Strong);
    }
    let table = builder.build();
    assert_eq!(table.len(), 1_000_000);
    assert_eq!(table.containing(0x1001).map(|place| (place.start, place.size)), Some((0x1000, 64)));
    assert_eq!(table.containing(0x1041).map(|place| place.start), Some(0x1040));
    assert_eq!(table.named(b"same").count(), 1_000_000);
    assert_eq!(table.at(0x1000).count(), 1 << 19);
}

fn at(seconds: u64) -> BootNanos {
    BootNanos(seconds * 1_000_000_000)
}

fn image(address: u64, length: u32, name: &str) -> CodeImage {
    CodeImage { address: KernelAddr(address), length, kind: ImageKind::Bpf, name: name.as_bytes().into() }
}

/// A module: its name, its start, and the names of its functions of 16 bytes each.
type Module<'a> = (&'a str, u64, &'a [&'a str]);

fn snapshot(began: u64, ended: u64, modules: &[Module<'_>], images: Vec<CodeImage>) -> SymbolChange {
    let mut builder = Builder::default();
    builder.symbol(0xffff_ffff_8100_0000, Some(64), b"_stext", b"", Binding::Strong);
    for (module, start, functions) in modules {
        for (number, function) in (0..).zip(*functions) {
            builder.symbol(start + number * 16, Some(16), function.as_bytes(), module.as_bytes(), Binding::Strong);
        }
    }
    SymbolChange::Read(Snapshot { began: at(began), ended: at(ended), table: Arc::new(builder.build()), images })
}

fn check_lookup(symbols: &Symbols, address: u64, seconds: u64, expected: Result<&str, Unresolved>) {
    let mut name = Vec::new();
    let found = symbols.lookup(KernelAddr(address), at(seconds), &mut name);
    let found = found.map(|symbol| String::from_utf8_lossy(symbol.name).into_owned());
    assert_eq!(found.as_deref().map_err(|why| *why), expected, "{address:#x} at {seconds} s");
}

const NONE: Result<&str, Unresolved> = Err(Unresolved::Outside);

fn started() -> Symbols {
    let mut symbols = Symbols::default();
    symbols.apply(at(2), snapshot(1, 2, &[], Vec::new()));
    symbols
}

#[test]
fn an_address_has_the_name_of_its_time() {
    let mut symbols = started();
    symbols.apply(at(10), SymbolChange::Loaded(image(0x1000, 256, "a")));
    symbols.apply(at(20), SymbolChange::Unloaded(image(0x1000, 256, "a")));
    symbols.apply(at(30), SymbolChange::Loaded(image(0x1040, 64, "b")));
    check_lookup(&symbols, 0x1040, 9, NONE);
    check_lookup(&symbols, 0x1040, 10, Ok("a"));
    check_lookup(&symbols, 0x10ff, 19, Ok("a"));
    check_lookup(&symbols, 0x1100, 19, NONE);
    check_lookup(&symbols, 0x1040, 20, NONE);
    check_lookup(&symbols, 0x1040, 30, Ok("b"));
    check_lookup(&symbols, 0x1000, 30, NONE);
    check_lookup(&symbols, 0xffff_ffff_8100_0001, 0, Ok("_stext"));
}

#[test]
fn an_unload_that_was_not_reported_ends_with_the_next_load() {
    let mut symbols = started();
    symbols.apply(at(10), SymbolChange::Loaded(image(0x1000, 0x3000, "a")));
    symbols.apply(at(20), SymbolChange::Loaded(image(0x3000, 64, "b")));
    check_lookup(&symbols, 0x3001, 19, Ok("a"));
    check_lookup(&symbols, 0x3001, 20, Ok("b"));
    check_lookup(&symbols, 0x2001, 20, NONE);
    symbols.apply(at(30), SymbolChange::Unloaded(image(0x1000, 0x3000, "a")));
    check_lookup(&symbols, 0x3001, 31, Ok("b"));
}

#[test]
fn a_load_that_was_not_reported_was_before() {
    let mut symbols = started();
    symbols.apply(at(10), SymbolChange::Unloaded(image(0x1000, 64, "a")));
    check_lookup(&symbols, 0x1000, 9, Ok("a"));
    check_lookup(&symbols, 0x1000, 10, NONE);
}

#[test]
fn reports_correct_the_list_at_the_start() {
    let mut symbols = Symbols::default();
    // While the list was made, x went, a came and went, and b came. The reports arrive later, or before.
    let listed = || snapshot(5, 15, &[], vec![image(0x1000, 64, "b"), image(0x5000, 100, "old")]);
    let reports = [
        (6, SymbolChange::Unloaded(image(0x1000, 64, "x"))),
        (8, SymbolChange::Loaded(image(0x1000, 64, "a"))),
        (10, SymbolChange::Unloaded(image(0x1000, 64, "a"))),
        (12, SymbolChange::Loaded(image(0x1000, 128, "b"))),
    ];
    let mut early = Symbols::default();
    symbols.apply(at(15), listed());
    for (time, change) in reports {
        symbols.apply(at(time), change.clone());
        early.apply(at(time), change);
    }
    early.apply(at(15), listed());
    for symbols in [symbols, early] {
        check_lookup(&symbols, 0x1000, 7, NONE);
        check_lookup(&symbols, 0x1000, 9, Ok("a"));
        check_lookup(&symbols, 0x1000, 11, NONE);
        check_lookup(&symbols, 0x1000, 12, Ok("b"));
        check_lookup(&symbols, 0x107f, 13, Ok("b"));
        check_lookup(&symbols, 0x5000, 0, Ok("old"));
    }
}

#[test]
fn a_list_does_not_revive_what_a_report_unloaded() {
    let mut symbols = Symbols::default();
    symbols.apply(at(1), SymbolChange::Loaded(image(0x1000, 64, "a")));
    symbols.apply(at(3), SymbolChange::Unloaded(image(0x1000, 64, "a")));
    // The kernel removes the name only after its report.
    symbols.apply(at(5), snapshot(2, 5, &[], vec![image(0x1000, 64, "a")]));
    check_lookup(&symbols, 0x1000, 2, Ok("a"));
    check_lookup(&symbols, 0x1000, 6, NONE);
}

#[test]
fn after_lost_reports_nothing_is_guessed() {
    let mut symbols = started();
    for (time, address, name) in [(3, 0x1000, "gone"), (4, 0x2000, "stays")] {
        symbols.apply(at(time), SymbolChange::Loaded(image(address, 64, name)));
    }
    let lost = SymbolChange::Lost { since: at(10) };
    assert!(lost.needs_read());
    symbols.apply(at(20), lost);
    check_lookup(&symbols, 0x1000, 9, Ok("gone"));
    check_lookup(&symbols, 0x2000, 15, Err(Unresolved::Lost));
    check_lookup(&symbols, 0xffff_ffff_8100_0000, 15, Ok("_stext"));
    symbols.apply(at(31), snapshot(30, 31, &[], vec![image(0x2000, 64, "stays"), image(0x3000, 64, "new")]));
    check_lookup(&symbols, 0x1000, 9, Ok("gone"));
    check_lookup(&symbols, 0x1000, 32, NONE);
    check_lookup(&symbols, 0x2000, 29, Err(Unresolved::Lost));
    check_lookup(&symbols, 0x2000, 30, Ok("stays"));
    check_lookup(&symbols, 0x3000, 29, Err(Unresolved::Lost));
    check_lookup(&symbols, 0x3000, 30, Ok("new"));
}

#[test]
fn the_history_is_limited_and_what_is_forgotten_has_no_name() {
    let mut symbols = started();
    let mut time = 10;
    for number in 0..200_000u64 {
        let image = image(0x10_0000 + number % 64 * 64, 64, &format!("bpf_prog_{number:016x}_f"));
        symbols.apply(at(time), SymbolChange::Loaded(image.clone()));
        symbols.apply(at(time + 1), SymbolChange::Unloaded(image));
        time += 2;
    }
    assert!(symbols.bytes() <= IMAGES_BYTES + (1 << 20), "{}", symbols.bytes());
    assert!(symbols.images() > 30_000, "{}", symbols.images());
    check_lookup(&symbols, 0x10_0000, 10, Err(Unresolved::Forgotten));
    let last = 199_999u64;
    check_lookup(&symbols, 0x10_0000 + last % 64 * 64, time - 2, Ok(&format!("bpf_prog_{last:016x}_f")));
    check_lookup(&symbols, 0x10_0000, time, NONE);
}

#[test]
fn loaded_images_are_limited_too() {
    let mut symbols = started();
    for number in 0..300u64 {
        symbols.apply(at(10), SymbolChange::Loaded(image(0x10_0000 + number * 64, u32::MAX, "x")));
    }
    for number in 0..100_000u64 {
        symbols.apply(at(11), SymbolChange::Loaded(image(0x9000_0000 + number * 64, 64, &format!("y{number}"))));
    }
    assert!(symbols.bytes() <= IMAGES_BYTES + (1 << 20), "{}", symbols.bytes());
}

#[test]
fn modules_have_their_times() {
    let ext4: Module<'_> = ("ext4", 0xffff_ffff_c000_0000, &["ext4_open", "ext4_read"]);
    let mut symbols = Symbols::default();
    symbols.apply(at(2), snapshot(1, 2, &[ext4], Vec::new()));
    check_lookup(&symbols, ext4.1 + 17, 0, Ok("ext4_read"));
    let unloaded = SymbolChange::ModuleUnloaded(b"ext4"[..].into());
    assert!(unloaded.needs_read());
    symbols.apply(at(10), unloaded);
    check_lookup(&symbols, ext4.1, 9, Ok("ext4_open"));
    check_lookup(&symbols, ext4.1, 10, NONE);
    // Another module takes its place.
    let nf: Module<'_> = ("nf", ext4.1, &["nf_hook"]);
    symbols.apply(at(12), SymbolChange::ModuleLoaded(b"nf"[..].into()));
    symbols.apply(at(14), snapshot(13, 14, &[nf], Vec::new()));
    check_lookup(&symbols, ext4.1, 9, Ok("ext4_open"));
    check_lookup(&symbols, ext4.1, 11, NONE);
    check_lookup(&symbols, ext4.1, 12, Ok("nf_hook"));
    assert_eq!(symbols.table().map(|table| table.named_in(b"nf", b"nf_hook").count()), Ok(1));
    // The same again, elsewhere.
    symbols.apply(at(20), SymbolChange::ModuleUnloaded(b"nf"[..].into()));
    symbols.apply(at(21), SymbolChange::ModuleLoaded(b"nf"[..].into()));
    symbols.apply(at(23), snapshot(22, 23, &[("nf", ext4.1 + 0x1000, &["nf_hook"])], Vec::new()));
    check_lookup(&symbols, ext4.1, 19, Ok("nf_hook"));
    check_lookup(&symbols, ext4.1, 21, NONE);
    check_lookup(&symbols, ext4.1 + 0x1000, 19, NONE);
    check_lookup(&symbols, ext4.1 + 0x1000, 21, Ok("nf_hook"));
}

#[test]
fn a_module_keeps_its_time_when_its_initialization_is_freed() {
    let start = 0xffff_ffff_c000_0000;
    let mut symbols = started();
    symbols.apply(at(10), SymbolChange::ModuleLoaded(b"m"[..].into()));
    symbols.apply(at(12), snapshot(11, 12, &[("m", start, &["run", "init_module"])], Vec::new()));
    symbols.apply(at(21), snapshot(20, 21, &[("m", start, &["run"])], Vec::new()));
    check_lookup(&symbols, start, 10, Ok("run"));
    check_lookup(&symbols, start, 15, Ok("run"));
    check_lookup(&symbols, start, 25, Ok("run"));
    check_lookup(&symbols, start + 16, 15, Ok("init_module"));
    check_lookup(&symbols, start + 16, 25, NONE);
}

#[test]
fn unreported_changes_of_modules_are_not_guessed() {
    let start = 0xffff_ffff_c000_0000;
    let mut symbols = started();
    symbols.apply(at(12), snapshot(11, 12, &[("m", start, &["a"])], Vec::new()));
    check_lookup(&symbols, start, 10, NONE);
    symbols.apply(at(22), snapshot(21, 22, &[("n", start, &["b"])], Vec::new()));
    check_lookup(&symbols, start, 11, Ok("a"));
    check_lookup(&symbols, start, 15, NONE);
    check_lookup(&symbols, start, 21, Ok("b"));
}

#[test]
fn the_symbols_of_unloaded_modules_are_limited() {
    let mut symbols = started();
    for number in 0..1_000u64 {
        let name = format!("m{number}");
        let time = 10 + number * 3;
        symbols.apply(at(time), SymbolChange::ModuleLoaded(name.as_bytes().into()));
        symbols.apply(at(time + 1), snapshot(time, time + 1, &[(&name, 0x1000, &[&name])], Vec::new()));
        symbols.apply(at(time + 2), SymbolChange::ModuleUnloaded(name.as_bytes().into()));
    }
    check_lookup(&symbols, 0x1000, 10, Err(Unresolved::Forgotten));
    check_lookup(&symbols, 0x1000, 10 + 990 * 3, Ok("m990"));
}

#[test]
fn without_a_table_the_reason_is_given() {
    let mut symbols = Symbols::default();
    check_lookup(&symbols, 0x1000, 1, Err(Unresolved::Unavailable(Unavailable::NotRead)));
    symbols.apply(at(1), SymbolChange::Unavailable(Unavailable::KptrRestrict));
    check_lookup(&symbols, 0x1000, 1, Err(Unresolved::Unavailable(Unavailable::KptrRestrict)));
    check_lookup(&symbols, 0, 1, Err(Unresolved::Unavailable(Unavailable::KptrRestrict)));
    // Reports of images still have addresses.
    symbols.apply(at(2), SymbolChange::Loaded(image(0x1000, 64, "a")));
    check_lookup(&symbols, 0x1010, 3, Ok("a"));
    assert_eq!(symbols.table().err(), Some(Unavailable::KptrRestrict));
    // A table survives the failure of a later read.
    symbols.apply(at(4), snapshot(3, 4, &[], Vec::new()));
    symbols.apply(at(5), SymbolChange::Unavailable(Unavailable::NoCapability));
    check_lookup(&symbols, 0xffff_ffff_8100_0000, 5, Ok("_stext"));
}
