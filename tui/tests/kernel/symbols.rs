//! The symbols of the running kernel.

use crate::traced::{alone, cannot_run, may_trace, not_checked, with_hidden_addresses};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tracetui_events::symbols::{SymbolChange, Symbols, Unavailable, Unresolved};
use tracetui_host::kallsyms::{self, SymbolReader};
use tracetui_shared::id::KernelAddr;
use tracetui_shared::time::BootNanos;

const NOW: BootNanos = BootNanos(1 << 60);
/// Set in the child of [`without_the_capability_the_reason_is_given`].
const CHILD: &str = "TRACETUI_TEST_SYMBOLS";

/// The names at an address, in the order of the kernel: name and module.
type Names = Vec<(Vec<u8>, Vec<u8>)>;

/// Text symbols by address.
fn naive() -> BTreeMap<u64, Names> {
    let text = std::fs::read("/proc/kallsyms").expect("procfs");
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
    match kallsyms::read() {
        change @ SymbolChange::Read(_) => symbols.apply(BootNanos(1), change),
        other => {
            cannot_run(&format!("{other:?}"));
            return None;
        }
    }
    Some(symbols)
}

#[test]
fn every_symbol_of_the_kernel_is_found_at_its_address_and_beside_it() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let Some(symbols) = read() else { return };
    let naive = naive();
    let mut buffer = Vec::new();
    let table = symbols.table().expect("it was read");
    let mut labels = 0;
    for (start, names) in &naive {
        let transient = |module: &[u8]| module == b"bpf" || module.starts_with(b"__builtin__");
        if names.iter().any(|(_, module)| transient(module)) {
            continue;
        }
        for address in [start - 1, *start, start + 1] {
            let found = symbols.lookup(KernelAddr(address), NOW, &mut buffer);
            let Some((below, expected)) = naive.range(..=address).next_back() else {
                assert_eq!(found, Err(Unresolved::Outside), "{address:#x}");
                continue;
            };
            match found {
                Ok(found) => {
                    // The kernel prefers the first name of its table too.
                    let (name, module) = &expected[0];
                    assert_eq!((found.name, found.start.0), (&**name, *below), "{address:#x}");
                    assert!(found.offset < found.size && found.offset == address - below, "{found:?}");
                    assert!(transient(module) || found.owner == &**module, "{found:?}");
                }
                // Ends of sections, and the addresses between sections.
                Err(why) => {
                    assert_eq!(why, Unresolved::Outside, "{address:#x}");
                    labels += 1;
                }
            }
        }
        let all = table.at(*start).map(|place| {
            let mut name = Vec::new();
            table.name(place.symbol, &mut name);
            name
        });
        let expected = names.iter().map(|(name, _)| name.clone());
        assert_eq!(all.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{start:#x}");
        for (name, module) in names {
            assert!(table.named(name).any(|place| place.start == *start));
            assert!(table.named_in(module, name).any(|place| place.start == *start));
        }
    }
    assert!(labels < 100, "{labels} addresses have no symbol");
    println!("{} addresses, {labels} of those beside them without a symbol", naive.len());
}

/// Asks again and again while another thread reads. A lookup that finds nothing causes no read.
#[test]
fn lookups_go_on_during_a_read_and_cause_none() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let Some(mut symbols) = read() else { return };
    let inside = naive().into_iter().nth(1_000).expect("more symbols").0;
    let (results, arrived) = mpsc::channel();
    let reader = SymbolReader::start(move |time, change| drop(results.send((time, change)))).expect("a thread");
    let mut name = Vec::new();
    let (mut lookups, mut replaced) = (0u64, 0);
    let began = Instant::now();
    while replaced < 2 && began.elapsed() < Duration::from_secs(120) {
        if let Ok((time, change)) = arrived.try_recv() {
            symbols.apply(time, change);
            replaced += 1;
            reader.request();
        }
        assert!(symbols.lookup(KernelAddr(inside), NOW, &mut name).is_ok());
        assert_eq!(symbols.lookup(KernelAddr(0x1000), NOW, &mut name), Err(Unresolved::Outside));
        lookups += 2;
    }
    // The third request waits for the pause.
    assert_eq!((replaced, reader.reads()), (2, 2));
    assert!(lookups > 10_000, "{lookups}");
}

/// Reads the symbols where the kernel hides their addresses.
fn check_hidden(expected: Unavailable) {
    let mut symbols = Symbols::default();
    let change = kallsyms::read();
    assert!(matches!(change, SymbolChange::Unavailable(why) if why == expected), "{change:?}");
    symbols.apply(BootNanos(1), change);
    let mut name = Vec::new();
    for address in [0, 1, 0xffff_ffff_8100_0000, u64::MAX] {
        let found = symbols.lookup(KernelAddr(address), NOW, &mut name);
        assert_eq!(found, Err(Unresolved::Unavailable(expected)), "{address:#x}");
    }
}

/// Runs this test binary without CAP_SYSLOG.
#[test]
fn without_the_capability_the_reason_is_given() {
    let _alone = alone();
    if std::env::var_os(CHILD).is_some() {
        return check_hidden(Unavailable::NoCapability);
    }
    if !may_trace() {
        return;
    }
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
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
    let _alone = alone();
    if !may_trace() {
        return;
    }
    with_hidden_addresses(|| check_hidden(Unavailable::KptrRestrict));
}
