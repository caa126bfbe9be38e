//! The offsets resolved from the BTFs of many kernels (x86-64, and aarch64 as `arm64-…`) equal those that gcc computes
//! (`tests/data/offsets.tsv`).
//!
//! The reduced BTFs in `tests/data/btf` are always compared. The full ones, 4 to 6 MB each, are not in the repository:
//! set `TRACETUI_BTF_DIR` to a directory of `NAME.btf` or `NAME.btf.zst` to compare them too. `scripts/btf-truth.sh`
//! generates the table and the reduced BTFs.

#![allow(clippy::print_stderr, reason = "for whoever runs it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use tracetui_host::btf::Btf;
use tracetui_host::btf::resolve::Resolved;
use tracetui_live::{BtfOrigin, KernelFacts, attach_names};
use tracetui_shared::offsets::FIELDS;

/// The value and the size of each name, as in the table.
type Row = BTreeMap<String, (String, String)>;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn truth() -> BTreeMap<String, Row> {
    let text = fs::read_to_string(data().join("offsets.tsv")).expect("offsets.tsv is readable");
    let mut kernels = BTreeMap::<String, Row>::new();
    for line in text.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [kernel, name, value, size] = columns[..] else { panic!("not four columns: {line:?}") };
        kernels.entry(kernel.to_owned()).or_default().insert(name.to_owned(), (value.to_owned(), size.to_owned()));
    }
    kernels
}

fn row(resolved: &Resolved) -> Row {
    let text = |value: Option<u32>| value.map_or("-".to_owned(), |value| value.to_string());
    let fields = resolved.decisions.iter().map(|decision| {
        let place = decision.place.as_ref().ok();
        let offset = text(place.map(|place| place.byte_offset()));
        (decision.spec.name.to_owned(), (offset, text(place.and_then(|place| place.size))))
    });
    let consts = resolved.consts.0;
    let consts = consts.iter().map(|(name, value)| (format!("{name:?}"), (text(*value), text(None))));
    fields.chain(consts).collect()
}

fn btfs(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut found = BTreeMap::new();
    for path in entries.map(|entry| entry.expect("the directory is readable").path()) {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = || fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if let Some(name) = file.strip_suffix(".btf") {
            found.insert(name.to_owned(), bytes());
        } else if let Some(name) = file.strip_suffix(".btf.zst") {
            found.insert(name.to_owned(), decompressed(&bytes()));
        }
    }
    found
}

fn decompressed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(bytes).expect("zstd");
    decoder.read_to_end(&mut out).expect("zstd");
    out
}

fn check_kernel(kernel: &str, btf: &Btf, truth: &BTreeMap<String, Row>) -> Resolved {
    let resolved = btf.resolve();
    let expected =
        truth.get(kernel).unwrap_or_else(|| panic!("{kernel} is not in offsets.tsv: run scripts/btf-truth.sh"));
    let found = row(&resolved);
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let wrong: Vec<String> = names
        .into_iter()
        .filter(|name| expected.get(*name) != found.get(*name))
        .map(|name| format!("{name}: gcc says {:?}, we say {:?}", expected.get(name), found.get(name)))
        .collect();
    let wrong = wrong.join("\n");
    assert!(wrong.is_empty(), "{kernel} (after a change of the fields, run scripts/btf-truth.sh):\n{wrong}");
    for decision in resolved.decisions.iter().filter(|decision| decision.place.is_ok()) {
        assert!(decision.usable().is_ok(), "{kernel}: shared/src/offsets.rs states another width: {decision:?}");
    }
    resolved
}

#[test]
fn reduced_btfs_resolve_to_what_gcc_says() {
    let (truth, reduced) = (truth(), btfs(&data().join("btf")));
    assert!(truth.keys().eq(reduced.keys()), "{:?} in the table, {:?} beside it", truth.keys(), reduced.keys());
    let arm64 = truth.keys().filter(|kernel| kernel.starts_with("arm64-")).count();
    assert!(arm64 > 0 && arm64 < truth.len(), "one architecture is missing: {:?}", truth.keys());
    for (kernel, bytes) in reduced {
        let btf = Btf::parse(bytes.clone()).expect(&kernel);
        let resolved = check_kernel(&kernel, &btf, &truth);
        check_preemption(&kernel, &btf);
        let minimal = btf.minimal(&resolved, &attach_names());
        assert!(minimal == bytes, "{kernel}.btf was made by another version: run scripts/btf-truth.sh");
    }
}

/// Reports past the output capture of the harness.
fn not_checked(what: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("not checked: {what}\n").as_bytes());
}

#[test]
fn full_btfs_resolve_to_what_gcc_says_and_reduce_to_what_is_committed() {
    let Some(dir) = std::env::var_os("TRACETUI_BTF_DIR") else {
        return not_checked("full BTFs: TRACETUI_BTF_DIR is not set");
    };
    let (truth, full) = (truth(), btfs(Path::new(&dir)));
    assert!(!full.is_empty(), "{} holds no NAME.btf or NAME.btf.zst", dir.display());
    if std::env::var_os("UPDATE_BTF").is_some() {
        update(&full);
    }
    let reduced = btfs(&data().join("btf"));
    for (kernel, bytes) in full {
        let btf = Btf::parse(bytes).expect(&kernel);
        let resolved = check_kernel(&kernel, &btf, &truth);
        check_preemption(&kernel, &btf);
        let is_current = reduced.get(&kernel) == Some(&btf.minimal(&resolved, &attach_names()));
        assert!(is_current, "{kernel}.btf was made by another version: run scripts/btf-truth.sh");
        check_same_facts(&btf, &Btf::parse(btf.minimal(&resolved, &attach_names())).expect(&kernel));
        eprintln!("{kernel}: {} types, {} fields: as gcc says", btf.len(), FIELDS.len());
    }
}

fn update(full: &BTreeMap<String, Vec<u8>>) {
    for (kernel, bytes) in full {
        let btf = Btf::parse(bytes.clone()).expect(kernel);
        let minimal = btf.minimal(&btf.resolve(), &attach_names());
        let path = data().join(format!("btf/{kernel}.btf"));
        fs::write(path, minimal).expect("the directory is writable");
    }
}

/// From 7.0 on [`__DECLARE_TRACE`](https://elixir.bootlin.com/linux/v7.0/source/include/linux/tracepoint.h) calls
/// programs with preemption enabled.
fn check_preemption(kernel: &str, btf: &Btf) {
    let release = kernel.trim_start_matches("host").trim_start_matches("arm64-");
    let since_7 = release.split('.').next().and_then(|major| major.parse().ok()) >= Some(7u32);
    let preemptible = |origin| KernelFacts::of(btf, origin).preemptible_tracepoints;
    assert_eq!(preemptible(BtfOrigin::Kernel), Some(since_7), "{kernel}");
    // A file without the type may be a reduced one, so its absence proves nothing.
    assert_eq!(preemptible(BtfOrigin::File), since_7.then_some(true), "{kernel}");
}

/// The facts for the probes are the same, except for type ids, which are not used if they come from a file.
fn check_same_facts(full: &Btf, minimal: &Btf) {
    assert_eq!(KernelFacts::of(full, BtfOrigin::File), KernelFacts::of(minimal, BtfOrigin::File));
    assert_eq!(KernelFacts::of(minimal, BtfOrigin::File).cast, None);
    let without_ids = |btf: &Btf| {
        let facts = KernelFacts::of(btf, BtfOrigin::Kernel);
        (facts.cast.is_some(), KernelFacts { cast: None, ids: None, ..facts })
    };
    assert_eq!(without_ids(full), without_ids(minimal));
}

/// A kernel's BTF that contains the function behind openat(2) identifies the architecture.
#[test]
fn a_btf_shows_its_architecture() {
    let reduced = btfs(&data().join("btf"));
    let shown: BTreeMap<_, _> = reduced
        .into_iter()
        .filter_map(|(kernel, bytes)| Some((kernel.clone(), Btf::parse(bytes).expect(&kernel).arch()?.name)))
        .collect();
    assert!(shown.len() > 5, "{shown:?}");
    for (kernel, arch) in &shown {
        assert_eq!(*arch, if kernel.starts_with("arm64-") { "aarch64" } else { "x86_64" }, "{kernel}");
    }
}

/// The running kernel is not known here, but its BTF must be readable if it has one.
#[test]
fn the_running_kernel_is_readable() {
    match Btf::running() {
        Ok(btf) => assert!(btf.resolve().missing(&[tracetui_shared::offsets::Field::TaskTgid]).is_empty()),
        Err(error) => not_checked(&format!("the running kernel: {error}")),
    }
}
