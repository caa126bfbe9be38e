//! Parts of recordings.

use crate::prelude::*;
use crate::recording::traced;
use tracetui_events::recording::frames::{FrameReader, Next};

/// Processes with a secret in their arguments, their working directory and the paths that they open, and others without.
const WORK: &str = "mkdir SECRET-dir; (cd SECRET-dir; cat SECRET-file; sed -n SECRET-script /dev/null) 2>/dev/null; \
                    for i in 1 2 3 4; do ls /usr/lib >/dev/null; cat /etc/hostname /no/such-$i; (exit $i); done >/dev/null 2>&1; true";

/// Checks that a cut prints what the whole recording prints under the same filters.
#[track_caller]
fn check_same(whole: &str, cut: &str, filters: &[&str]) {
    let done = read(&[&["cut", "--force", whole, "-o", cut], filters].concat());
    assert!(done.status.success(), "{}", text(&done.stderr));
    for format in ["json", "text", "csv"] {
        let of_whole = read(&[&["print", whole, "--format", format], filters].concat());
        let of_cut = read(&["print", cut, "--format", format]);
        assert!(of_cut.stdout == of_whole.stdout, "{filters:?} {format}: {}", text(&of_cut.stderr));
        assert!(of_cut.status.success() && !of_cut.stdout.is_empty(), "{filters:?} {format}");
    }
    let info = info(cut);
    check_has(&info, json!({"complete": true, "account": {"discrepancies": []}}));
}

/// Whether these bytes are in any frame of a recording, also in those of its states.
fn has(file: &str, bytes: &[u8]) -> bool {
    let mut frames = FrameReader::new(File::open(file).expect("the recording")).expect("a recording");
    let found = |frames: &[u8]| frames.windows(bytes.len()).any(|window| window == bytes);
    while let Some(Next::Frames(batch) | Next::State(batch)) = frames.next().expect("readable") {
        if found(batch.bytes()) {
            return true;
        }
    }
    let whole = fs::read(file).expect("the recording");
    found(&whole) || states(&whole).iter().any(|state| found(state))
}

fn states(file: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = tracetui_events::recording::Reader::new(file).expect("a recording");
    let mut states = Vec::new();
    while let Some(item) = reader.next().expect("readable") {
        if let tracetui_events::recording::Item::State(state) | tracetui_events::recording::Item::End(state) = item {
            states.push(state.bytes().to_vec());
        }
    }
    assert!(!states.is_empty(), "a final state");
    states
}

#[test]
fn a_cut_has_the_same_events_and_nothing_of_others() {
    let dir = Dir::alone();
    let (whole, cut) = (dir.at("whole.ttr"), dir.at("cut.ttr"));
    let in_dir = |command: &mut Command| {
        command.current_dir(dir.path());
    };
    let kinds = "exec,exit,open,fork,bpf,lost";
    let Some(done) = traced(&["record", "-o", &whole, "--kind", kinds, "--", "sh", "-c", WORK], in_dir) else { return };
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(has(&whole, b"SECRET-file") && has(&whole, b"SECRET-dir") && has(&whole, b"SECRET-script"));
    for filters in [&[][..], &["--failed"], &["--kind", "exec,exit"], &["--kind", "fork"], &["--filter", "path~lib"]] {
        check_same(&whole, &cut, filters);
    }
    check_same(&whole, &cut, &["--comm", "ls"]);
    assert!(!has(&cut, b"SECRET"), "nothing of other processes");
    // Of a cut, a cut.
    let again = dir.at("again.ttr");
    check_same(&cut, &again, &["--kind", "open"]);
    // The forked shells of `(exit $i)` have the arguments of their parent, and execute nothing. Their exits show these arguments.
    check_same(&whole, &cut, &["--filter", "kind=exit exit=3"]);
    assert!(has(&cut, b"SECRET-script") && !has(&cut, b"hostname\0"), "only the arguments");
    check_same(&whole, &cut, &["--filter", "kind=exit comm=ls"]);
    assert!(!has(&cut, b"SECRET"), "nothing of other processes");
    check_same(&whole, &cut, &["--filter", "kind=open not path~SECRET"]);
    // Neither the arguments of a process whose exec is left out, nor those of the filter.
    assert!(!has(&cut, b"SECRET"));
    let done = read(&["cut", "--force", &whole, "-o", &cut, "--redact", "SECRET-[a-z]+", "--redact", "SECRET"]);
    assert!(done.status.success() && text(&done.stderr).contains("; replacements: "), "{}", text(&done.stderr));
    assert!(!has(&cut, b"SECRET") && has(&cut, "…".as_bytes()), "redacted");
}

#[test]
fn a_cut_keeps_the_places_of_losses() {
    let dir = Dir::alone();
    let (whole, cut) = (dir.at("whole.ttr"), dir.at("cut.ttr"));
    let storm = "for i in $(seq 400); do cat /etc/hostname /etc/passwd /etc/group; done >/dev/null";
    let args = ["record", "-o", whole.as_str(), "--ring-size", "64KiB", "--", "sh", "-c", storm];
    if traced(&args, |_| {}).is_none() {
        return;
    }
    check_same(&whole, &cut, &[]);
    check_same(&whole, &cut, &["--comm", "cat"]);
    let lost = |file: &str| info(file)["account"]["kinds"]["open"]["lost"]["ring"].as_u64();
    assert_eq!(lost(&cut), lost(&whole));
}

#[test]
fn a_cut_is_of_a_time() {
    let dir = Dir::alone();
    let (whole, cut) = (dir.at("whole.ttr"), dir.at("cut.ttr"));
    let work = "true; sleep 0.4; cat /etc/hostname >/dev/null; sleep 0.4; false";
    if traced(&["record", "-o", &whole, "--", "sh", "-c", work], |_| {}).is_none() {
        return;
    }
    let done = read(&["cut", &whole, "-o", &cut, "--from", "200ms", "--to", "600ms"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let all = text(&read(&["print", &whole, "--format", "json"]).stdout);
    let part = text(&read(&["print", &cut, "--format", "json"]).stdout);
    assert!(all.contains(&part) && part.contains("/etc/hostname"), "a part with the middle");
    assert!(!all.starts_with(&part) && !all.ends_with(&part), "neither the start nor the end");
    let refused = read(&["cut", &whole, "-o", &cut]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("--force"), "{}", text(&refused.stderr));
}
