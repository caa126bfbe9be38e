//! The symbols of the running kernel.

use crate::prelude::*;
use crate::traced::with_hidden_addresses;
use tracetui_events::symbols::{Symbols, Unavailable};
use tracetui_host::background::Pieces;
use tracetui_host::kallsyms::{self, SymbolReader};
use tracetui_shared::id::KernelAddr;

const NOW: BootNanos = BootNanos(1 << 60);
/// Set in the child of [`without_the_capability_the_reason_is_given`].
const CHILD: &str = "TRACETUI_TEST_SYMBOLS";

/// The names at an address, in the order of the kernel: name and module.
type Names = Vec<(Vec<u8>, Vec<u8>)>;

/// Text symbols by address.
fn naive() -> BTreeMap<u64, Names> {
    let text = fs::read("/proc/kallsyms").expect("procfs");
    let mut symbols: BTreeMap<u64, Names> = BTreeMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let words: Vec<&[u8]> = line.split(|byte| byte.is_ascii_whitespace()).collect();
        let [address, class, name, module @ ..] = words.as_slice() else { continue };
        let address = u64::from_str_radix(std::str::from_utf8(address).expect("digits"), 16).expect("an address");
        let module = module.first().map_or(&b""[..], |module| &module[1..module.len() - 1]);
        let label = name.starts_with(b"$") || name.starts_with(b".L") || name.starts_with(b"L0");
        if b"tTwW".contains(&class[0]) && address != 0 && !label {
            symbols.entry(address).or_default().push((name.to_vec(), module.to_vec()));
        }
    }
    symbols
}

fn read() -> Option<Symbols> {
    let mut symbols = Symbols::default();
    let snapshot = kallsyms::snapshot(&mut Pieces::new(None)).inspect_err(|why| cannot_run(&why.to_string()));
    symbols.replace(snapshot.ok()?);
    Some(symbols)
}

/// Whether this symbol marks the end of a section.
fn ends_section(name: &[u8]) -> bool {
    let name = str::from_utf8(name).unwrap_or_default();
    let is_end = |end: &str| name == end || name.starts_with("__") && name.ends_with("_text_end");
    ["_etext", "_einittext", "_end", "__init_end", "__inittext_end", "__exittext_end"].into_iter().any(is_end)
}

#[test]
fn every_symbol_of_the_kernel_is_found_at_its_address_and_beside_it() {
    let Some(()) = alone_as_root() else { return };
    let Some(symbols) = read() else { return };
    let naive = naive();
    let table = symbols.table().expect("it was read");
    let mut listed: BTreeMap<u64, Names> = BTreeMap::new();
    for symbol in table.iter() {
        listed.entry(symbol.start.0).or_default().push((symbol.name.to_vec(), symbol.owner.to_vec()));
    }
    let mut labels = 0;
    for (start, names) in &naive {
        let transient = |module: &[u8]| module == b"bpf" || module.starts_with(b"__builtin__");
        if names.iter().any(|(_, module)| transient(module)) {
            continue;
        }
        for address in [start - 1, *start, start + 1] {
            let found = symbols.find(KernelAddr(address), NOW);
            let Some((below, expected)) = naive.range(..=address).next_back() else {
                assert_eq!(found, None, "{address:#x}");
                continue;
            };
            match found {
                Some(found) => {
                    // The kernel prefers the first name of its table too.
                    let (name, module) = expected.iter().find(|(name, _)| !ends_section(name)).expect("a symbol");
                    assert_eq!((&*found.name, found.addr.0), (&**name, *below), "{address:#x}");
                    assert!(address - below < found.size, "{found:?}");
                    assert!(transient(module) || found.owner == **module, "{found:?}");
                }
                // Ends of sections, and the addresses between sections.
                None => labels += 1,
            }
        }
        let expected: Names = names.iter().filter(|(name, _)| !ends_section(name)).cloned().collect();
        assert_eq!(listed.remove(start).unwrap_or_default(), expected, "{start:#x}");
    }
    assert!(labels < 100, "{labels} addresses have no symbol");
    let names = ["do_exit", "__bpf_call_base", "tt_no_such_symbol"];
    let of = |name: &str| {
        let is_named = |(found, module): &(Vec<u8>, Vec<u8>)| found == name.as_bytes() && module.is_empty();
        naive.iter().find(|(_, names)| names.iter().any(is_named)).map(|(start, _)| KernelAddr(*start))
    };
    assert_eq!(table.addresses(names), names.map(of));
    println!("{} addresses, {labels} of those beside them without a symbol", naive.len());
}

/// Asks again and again while another thread reads. A lookup that finds nothing causes no read.
#[test]
fn lookups_go_on_during_a_read_and_cause_none() {
    let Some(()) = alone_as_root() else { return };
    let Some(mut symbols) = read() else { return };
    let inside = naive().into_iter().nth(1_000).expect("more symbols").0;
    let reader = SymbolReader::start().expect("a thread");
    let (mut lookups, mut replaced) = (0u64, 0);
    let began = Instant::now();
    while replaced < 2 && began.elapsed() < Duration::from_secs(240) {
        if let Some(read) = reader.poll() {
            symbols.replace(read.expect("it was read before"));
            replaced += 1;
            reader.request();
        }
        assert!(symbols.find(KernelAddr(inside), NOW).is_some());
        assert_eq!(symbols.find(KernelAddr(0x1000), NOW), None);
        lookups += 2;
        if lookups.is_multiple_of(200) {
            // On a busy machine the thread that reads also needs time.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    // The third request waits for the pause.
    assert_eq!((replaced, reader.poll().is_none()), (2, true));
    assert!(lookups > 10_000, "{lookups}");
}

/// Reads the symbols where the kernel hides their addresses.
fn check_hidden(expected: Unavailable) {
    let mut symbols = Symbols::default();
    let why = kallsyms::snapshot(&mut Pieces::new(None)).expect_err("addresses");
    assert_eq!(why, expected);
    symbols.set_unavailable(why);
    assert_eq!(symbols.table().err(), Some(expected));
    for address in [0, 1, 0xffff_ffff_8100_0000, u64::MAX] {
        assert_eq!(symbols.find(KernelAddr(address), NOW), None, "{address:#x}");
    }
}

/// Runs this test binary without CAP_SYSLOG.
#[test]
fn without_the_capability_the_reason_is_given() {
    alone();
    if std::env::var_os(CHILD).is_some() {
        return check_hidden(Unavailable::NoCapability);
    }
    if !may_trace() {
        return;
    }
    let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    if paranoid.trim().parse().unwrap_or(2) < 2 {
        return not_checked("addresses without CAP_SYSLOG: with kernel.perf_event_paranoid < 2 everybody sees them");
    }
    let output = Command::new("setpriv")
        .args(["--bounding-set=-syslog,-sys_admin", "--inh-caps=-syslog,-sys_admin"])
        .arg(std::env::current_exe().expect("a path"))
        .args(["--exact", "symbols::without_the_capability_the_reason_is_given", "--nocapture"])
        .env(CHILD, "1")
        .output();
    let Ok(output) = output else { return not_checked("addresses without CAP_SYSLOG: there is no setpriv") };
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && shown.contains("1 passed"), "{shown}");
}

#[test]
fn hidden_addresses_are_reported_to_root_too() {
    let Some(()) = alone_as_root() else { return };
    with_hidden_addresses(|| check_hidden(Unavailable::KptrRestrict));
}
