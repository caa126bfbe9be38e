//! Processes that took longer.

use super::*;
use tracetui_shared::record::exit::{Cost, ExitRecord, fact};

const SECOND: u64 = 1_000_000_000;

/// A build of two files by `cc`, which starts `cc1` and waits for it. `cc1` uses all of its time.
fn build(seconds: [u64; 2], has_cpu: bool) -> Run {
    let mut made = Made::new("/src", 100, &["make"]);
    for (file, seconds) in ["a.c", "b.c"].into_iter().zip(seconds) {
        let cc = made.start(100, &["cc", file]);
        let cc1 = made.start(cc, &["cc1", file]);
        // Each starts with its first event.
        made.maker.ns += seconds * SECOND;
        ends(&mut made, cc1, has_cpu.then_some(seconds * SECOND));
        ends(&mut made, cc, has_cpu.then_some(SECOND / 100));
    }
    ends(&mut made, 100, has_cpu.then_some(SECOND / 100));
    made.run_in(1 << 20)
}

fn ends(made: &mut Made, pid: u32, runtime: Option<u64>) {
    let cost = Cost { runtime: runtime.unwrap_or_default(), ..Cost::default() };
    let facts = if runtime.is_some() { fact::COST } else { 0 };
    made.maker.event(Slot::Exit, pid, "x", ExitRecord { facts, cost, ..ExitRecord::default() }.as_bytes());
}

fn slower(a: Run, b: Run) -> (bool, Vec<String>) {
    let report = between(a, b);
    let text = report.text(Show { slower: true, ..Show::default() }, Charset::Utf8);
    (report.equal(), text.lines().map(str::to_owned).collect())
}

#[test]
fn the_largest_difference_is_first_and_waiting_is_none() {
    let (equal, lines) = slower(build([1, 2], true), build([2, 7], true));
    assert!(equal && lines.len() == 2, "{lines:?}");
    for (line, [start, a, b]) in lines.iter().zip([
        ["slower   cc1 b.c: ", "(CPU 2.0 s) in A, ", "(CPU 7.0 s) in B"],
        ["slower   cc1 a.c: ", "(CPU 1.0 s) in A, ", "(CPU 2.0 s) in B"],
    ]) {
        assert!(line.starts_with(start) && line.contains(a) && line.ends_with(b), "{line}");
    }
    // Runs are never equally fast.
    assert_eq!(slower(build([10, 10], true), build([11, 9], true)), (true, Vec::new()));
    // Not asked for.
    let report = between(build([1, 1], true), build([1, 9], true));
    assert_eq!(report.text(ALL, Charset::Utf8), "");
    assert!(report.json(Show { slower: true, ..ALL }).contains("\"kind\":\"slower\",\"status\":\"slower\""));
    // Without CPU times in one of the recordings, lifetimes are compared.
    let (_, lines) = slower(build([1, 1], false), build([1, 3], true));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("slower   cc1 b.c: ") && !lines[0].contains("CPU 0"), "{lines:?}");
}
