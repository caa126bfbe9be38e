//! Recordings of every version of the format are read as they were when they were written. They stay here for ever.

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::Value;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tracetui_events::recording::block::{FileHeader, HEADER};
use tracetui_events::recording::{Item, Reader};
use tracetui_events::synthetic::Scratch;
use zerocopy::IntoBytes as _;

fn tracetui(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracetui"));
    command.args(args).env("TZ", "UTC").env("LC_ALL", "C.UTF-8").output().expect("tracetui runs")
}

fn recordings() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recordings");
    let files = fs::read_dir(dir).expect("the directory").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|extension| extension == "ttr")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn recordings_of_every_version_print_what_they_did() {
    for file in recordings() {
        let name = file.to_str().expect("UTF-8");
        let expected =
            |extension: &str| fs::read_to_string(file.with_extension(extension)).expect("the expected output");
        let check = |output: Output, expected: &str| {
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
            let printed = String::from_utf8_lossy(&output.stdout);
            let differ = printed.lines().zip(expected.lines()).find(|(now, then)| now != then);
            assert_eq!((differ, printed.lines().count()), (None, expected.lines().count()), "{name}");
        };
        check(tracetui(&["print", name]), &expected("txt"));
        check(tracetui(&["print", name, "--format", "json", "--kind", "exec,exit,bpf"]), &expected("json"));
        let info = tracetui(&["info", name, "--format", "json"]);
        let info: serde_json::Value = serde_json::from_slice(&info.stdout).expect("JSON");
        assert_eq!(info["complete"], true, "{name}");
        assert_eq!(info["account"]["discrepancies"], serde_json::json!([]), "{name}");
    }
}

#[test]
fn failures_that_were_answered_count_as_filtered() {
    let printed =
        tracetui(&["print", "--unanswered", concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/failed-build.ttr")]);
    let (lines, said) = (String::from_utf8_lossy(&printed.stdout), String::from_utf8_lossy(&printed.stderr));
    assert!(!lines.is_empty() && said.contains(&format!(" delivered {} ", lines.lines().count())), "{said}");
}

#[test]
fn info_shows_one_recording_after_another() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/failed-build.ttr");
    let example = example.to_str().expect("UTF-8");
    let other = recordings();
    let other = other[0].to_str().expect("UTF-8");
    let one = tracetui(&["info", example]);
    let all = tracetui(&["info", example, "no such", other]);
    let text = String::from_utf8_lossy(&all.stdout).into_owned();
    let first = format!("recording {example}\n{}\nrecording", String::from_utf8_lossy(&one.stdout));
    assert!(text.starts_with(&first), "{text}");
    assert_eq!((all.status.code(), text.matches("\nformat    ttr 1\n").count()), (Some(1), 2));
    assert!(String::from_utf8_lossy(&all.stderr).contains("no such: no such recording"));
    let all = tracetui(&["info", "--format", "json", example, other]);
    let lines = String::from_utf8_lossy(&all.stdout).into_owned();
    let files =
        lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["file"].clone());
    assert_eq!(files.collect::<Vec<_>>(), [example, other]);
    assert!(all.status.success());
}

#[test]
fn what_a_truncated_recording_does_not_show_is_unknown() {
    let example = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/failed-build.ttr")).expect("there");
    let dir = Scratch::new("golden-truncated");
    let file = dir.at("truncated.ttr");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // Within the first block, and after it.
    for (size, known) in [(64, false), (500, false), (8000, false), (20_000, true), (22_000, true)] {
        fs::write(&file, &example[..size]).expect("room");
        let shown = tracetui(&["info", &file]);
        let json = tracetui(&["info", &file, "--format", "json"]);
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
        let at = json["ended_early_at"].as_u64().expect("truncated");
        let (shown, said) = (text(&shown.stdout), text(&shown.stderr));
        assert!(shown.contains(&format!("\ncomplete  no: truncated at offset {at}\n")), "{shown}");
        assert!(said.lines().count() == 1 && said.contains(&format!("ends early, at offset {at}: ")), "{said}");
        for (name, value) in [
            ("host", "build7"),
            ("kernel", "6.12.57 x86_64"),
            ("lost", "0"),
            ("filter", "none"),
            ("probes", "8 attached"),
        ] {
            let value = if known { value } else { "unknown" };
            assert!(shown.contains(&format!("\n{name:9} {value}")), "{size}: {name} {value}: {shown}");
        }
        for name in ["host", "boot_id", "kernel", "arch", "filter", "probes"] {
            assert_eq!(json[name].is_null(), !known, "{size}: {name}: {json}");
        }
    }
}

#[test]
fn complete_blocks_of_a_truncated_or_damaged_recording_are_printed() {
    let example = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/failed-build.ttr")).expect("there");
    let dir = Scratch::new("golden-blocks");
    let file = dir.at("part.ttr");
    let word = |at: usize| u32::from_le_bytes(example[at..at + 4].try_into().expect("four bytes"));
    let next = |at: usize| at + 64 + (word(at + 24) as usize).next_multiple_of(8);
    // The blocks with events. Without the index and the summary, a file is complete.
    let blocks: Vec<usize> =
        std::iter::successors(Some(64), |at| Some(next(*at)).filter(|at| *at < example.len())).collect();
    let end = *blocks.iter().rfind(|at| word(**at + 48) > 0).expect("events");
    let print = || {
        let done = tracetui(&["print", "--format", "json", &file]);
        let events: Vec<String> = String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect();
        (events, String::from_utf8_lossy(&done.stderr).into_owned(), done.status.code())
    };
    fs::write(&file, &example).expect("room");
    let (whole, _, code) = print();
    assert_eq!(code, Some(0));
    for size in [100, blocks[1], blocks[1] + 1, blocks[2] + 70, end] {
        fs::write(&file, &example[..size]).expect("room");
        let (events, said, code) = print();
        assert_eq!((code, said.lines().count()), (Some(0), 1), "{size}: {said}");
        assert!(said.contains("ends early") && whole.starts_with(&events), "{size}: {said}");
        let complete = blocks.iter().filter(|at| word(**at + 48) > 0 && next(**at) <= size).count();
        assert_eq!(events.is_empty(), complete == 0, "{size}");
    }
    let mut damaged = example.clone();
    let at = *blocks.iter().filter(|at| **at > 64).max_by_key(|at| word(**at + 48)).expect("a block");
    damaged[at + 70] ^= 1;
    fs::write(&file, damaged).expect("room");
    let (events, said, code) = print();
    assert!(code == Some(1) && said.contains(&format!("at offset {at}: bad checksum")), "{said}");
    let lost = events.iter().filter(|line| line.contains(r#""kind":"lost""#) && line.contains(r#""cause":"read""#));
    assert!(lost.count() > 0 && events.len() < whole.len(), "{events:?}");
}

#[test]
fn an_event_that_is_not_expected_is_an_exit_status() {
    let example = example();
    let dir = Scratch::new("golden-expect");
    let part = dir.at("part.ttr");
    fs::write(&part, &fs::read(&example).expect("there")[..100]).expect("room");
    let run = |file: &str, expr: &str| {
        let done = tracetui(&["print", file, "--kind", "exec", "--expect-none", expr]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        (done.status.code(), String::from_utf8_lossy(&done.stdout).lines().count(), said)
    };
    let (code, lines, _) = run(&example, "comm=make");
    assert_eq!((code, lines), (Some(3), 1));
    let (code, lines, _) = run(&example, "comm=nosuch");
    assert_eq!((code, lines), (Some(0), 0));
    let (code, _, said) = run(&example, "pth=/x");
    assert!(code == Some(2) && said.contains("--expect-none: unknown field"), "{said}");
    let (code, _, said) = run(&part, "comm=nosuch");
    assert!(code == Some(1) && said.contains("events are missing: one may match"), "{said}");
    // What a recording cannot contain proves nothing.
    let run = |file: &str, more: &[&str]| {
        let done = tracetui(&[&["print", file, "--expect-none", "comm=nosuch"], more].concat());
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let execs = dir.at("execs.ttr");
    assert!(tracetui(&["cut", &example, "-o", &execs, "--kind", "exec"]).status.success());
    let (code, said) = run(&execs, &[]);
    assert!(code == Some(1) && said.contains("has no events of kind "), "{said}");
    let (code, said) = run(&execs, &["--kind", "exec"]);
    assert!(code == Some(1) && said.contains("is an excerpt"), "{said}");
}

#[test]
fn runs_that_may_differ_are_not_equal() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/failed-build.ttr");
    let bytes = fs::read(example).expect("there");
    let dir = Scratch::new("golden-unknown");
    let file = dir.at("truncated.ttr");
    fs::write(&file, &bytes[..20_000]).expect("room");
    let said = |done: &Output| String::from_utf8_lossy(&done.stderr).lines().last().unwrap_or_default().to_owned();
    let same = tracetui(&["diff", example, example]);
    assert_eq!((same.status.code(), said(&same).as_str()), (Some(0), "no differences"));
    let forks = tracetui(&["diff", "--kind", "exec,fork", example, example]);
    assert!(forks.status.code() == Some(2) && said(&forks).contains("forks are not compared"), "{}", said(&forks));
    let part = tracetui(&["diff", example, &file]);
    let lines = String::from_utf8_lossy(&part.stdout).into_owned();
    assert!(!lines.is_empty() && lines.lines().all(|line| line.starts_with("unknown")), "{lines}");
    assert_eq!(part.status.code(), Some(1));
    assert_eq!(said(&part), "the runs may differ: all differences are unknown");
}

#[test]
fn messages_name_an_argument_once_and_no_error_numbers() {
    for (args, status, message) in [
        (&["btf", "--from", "/no/such"][..], 1, "tracetui: --from /no/such: No such file or directory\n"),
        (&["info"], 2, "error: missing <FILE>...\n\nUsage: tracetui info <FILE>...\n"),
        (&["diff", "a"], 2, "tracetui: missing B: name two recordings or more\n"),
        (
            &["print", "-n", "x"],
            2,
            "error: invalid value 'x' for '--count <N>': write a number of events, at least 1\n\nFor more information, try '--help'.\n",
        ),
    ] {
        let done = tracetui(args);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!((done.status.code(), said.as_str()), (Some(status), message), "{args:?}");
    }
}

#[test]
fn tips_about_options_do_not_mislead() {
    for (args, tip) in [
        (&["print", "--output", "x"][..], None),
        (&["print", "--files", "x"], None),
        (&["record", "--form", "json"], None),
        (&["record", "--forc"], Some("--force")),
        (&["record", "--out", "x"], Some("--output")),
        (&["print", "--kinds", "exec"], Some("--kind")),
    ] {
        let done = tracetui(args);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{said}");
        let found = said.lines().find(|line| line.contains("tip:"));
        assert_eq!(found.is_some(), tip.is_some(), "{args:?}: {said}");
        assert!(tip.is_none_or(|tip| found.is_some_and(|line| line.contains(&format!("'{tip}'")))), "{args:?}: {said}");
    }
}

#[test]
fn a_missing_recording_is_taken_for_a_command_only_where_one_may_be_given() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/failed-build.ttr");
    let example = example.to_str().expect("UTF-8");
    let (command, replay) = ("to trace a command, write -- before it: -- make", format!("tracetui replay {example}"));
    for (args, status, tip) in [
        (&["print", "make"][..], 1, Some(command)),
        (&["make"], 2, Some(command)),
        (&["record", "make"], 2, Some(command)),
        (&["print", "make.ttr"], 1, None),
        (&["info", "make"], 1, None),
        (&["diff", "make", "make"], 1, None),
        (&["diff", example, example, "make"], 1, None),
        (&["cut", "make", "-o", "/no/such"], 1, None),
        (&["export", "make", "--format", "json", "-o", "-"], 1, None),
        (&[example], 2, Some(replay.as_str())),
        (&["no-such.ttr"], 2, Some("tracetui replay no-such.ttr")),
        (&["--no-config", "keys"], 2, Some("a subcommand comes before its options: tracetui keys")),
        (&["fiels", "make"], 2, Some("a similar subcommand exists: files\n  tip: to trace a command")),
    ] {
        let done = tracetui(args);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!((done.status.code(), said.is_empty()), (Some(status), false), "{args:?}: {said}");
        assert_eq!(said.contains("--"), tip.is_some() || status == 2, "{args:?}: {said}");
        assert_eq!(said.contains("write -- before it: -- make"), tip == Some(command), "{args:?}: {said}");
        assert!(tip.is_none_or(|tip| said.contains(tip)), "{args:?}: {said}");
    }
}

#[test]
fn times_in_the_wrong_order_are_refused() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/failed-build.ttr");
    let example = example.to_str().expect("UTF-8");
    let dir = Scratch::new("golden-times");
    let out = dir.at("out");
    for (args, wrong) in [
        (&["print", example][..], true),
        (&["export", example, "--format", "json", "-o", &out], true),
        (&["cut", example, "-o", &out], true),
        (&["print", example], false),
    ] {
        let times = if wrong { ["--from", "3s", "--to", "1s"] } else { ["--from", "1ms", "--to", "1s"] };
        let done = tracetui(&[args, &times].concat());
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(if wrong { 2 } else { 0 }), "{args:?}: {said}");
        assert_eq!(said.contains("--from is later than --to") && said.contains("swap"), wrong, "{args:?}: {said}");
        assert!(!Path::new(&out).exists(), "{args:?}");
    }
}

#[test]
fn what_follows_the_end_of_a_recording_is_said() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/failed-build.ttr");
    let dir = Scratch::new("golden-rest");
    let file = dir.at("rest.ttr");
    fs::write(&file, [fs::read(&example).expect("there"), vec![b'T'; 3000]].concat()).expect("room");
    let text = |output: &Output| {
        (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (shown, said) = text(&tracetui(&["info", &file]));
    assert!(shown.contains("complete  yes; 3,000 bytes after the end"), "{shown}");
    assert_eq!(said.lines().filter(|line| line.contains("3,000 bytes after the end")).count(), 1, "{said}");
    let of = |file: &str| {
        let shown = text(&tracetui(&["info", file, "--format", "json"])).0;
        let info: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        info["bytes_after_end"].as_u64()
    };
    assert_eq!((of(&file), of(example.to_str().expect("UTF-8"))), (Some(3000), Some(0)));
    for recording in recordings() {
        let earlier = dir.at("earlier.ttr");
        fs::write(&earlier, [fs::read(recording).expect("there"), vec![b'T'; 3000]].concat()).expect("room");
        assert_eq!(of(&earlier), Some(3000));
    }
    // Its events are as they were, also if it is followed while somebody else has a lock on it.
    let whole = tracetui(&["print", example.to_str().expect("UTF-8")]);
    let open = fs::File::options().write(true).open(&file).expect("there");
    assert!(lock(&open, libc::F_WRLCK));
    for args in [&["print", &file][..], &["print", "--follow", &file]] {
        let done = tracetui(args);
        let (printed, said) = text(&done);
        assert!(done.status.success() && printed == text(&whole).0, "{args:?}: {said}");
        let expected = text(&whole).1;
        assert!(said.ends_with(&expected) && said.lines().count() == expected.lines().count() + 1, "{args:?}: {said}");
    }
}

#[test]
fn a_recording_that_cannot_be_begun_leaves_no_file() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/failed-build.ttr");
    let example = example.to_str().expect("UTF-8");
    let dir = Scratch::new("golden-begun");
    let out = dir.at("x.ttr");
    for args in [
        &["record", "-o", &out][..],
        &["record", "--force", "-o", &out],
        &["record", "--rotate", "64KiB,2", "-o", &out],
        &["print", "-w", &out],
        &["cut", example, "-o", &out],
        &["cut", example, "--force", "-o", &out],
    ] {
        if args.contains(&"--force") {
            fs::write(&out, "older").expect("room");
        }
        let done = without_room(args);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains(&format!("cannot write {out}: File too large")), "{args:?}: {said}");
        assert_eq!(dir.files(), [""; 0], "{args:?}");
    }
}

#[test]
fn only_a_recording_that_is_being_written_is_not_replaced() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/failed-build.ttr");
    let dir = Scratch::new("golden-replaced");
    let out = dir.at("x.ttr");
    let whole = fs::read(&example).expect("there");
    let mut unfinished = whole[..whole.len() / 2].to_vec();
    let header = FileHeader::read(&unfinished).expect("a header").locked();
    unfinished[..HEADER].copy_from_slice(header.as_bytes());
    // Its writer takes no lock.
    let mut unlocked = unfinished.clone();
    unlocked[..HEADER].copy_from_slice(FileHeader::new([1; 16], 7).as_bytes());
    for (bytes, kind, refused) in [
        (&unfinished, libc::F_WRLCK, true),
        (&Vec::new(), libc::F_WRLCK, true),
        (&unlocked, libc::F_WRLCK, false),
        (&unfinished, libc::F_RDLCK, false),
        (&whole, libc::F_WRLCK, false),
        (&b"text that is longer than the header of a recording, and is none of them".to_vec(), libc::F_WRLCK, false),
    ] {
        fs::write(&out, bytes).expect("room");
        let open = fs::File::options().read(true).write(true).open(&out).expect("there");
        assert!(lock(&open, kind));
        // It gets as far as the header.
        let done = without_room(&["record", "--force", "-o", &out]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(said.contains("another process is writing it"), refused, "{said}");
        assert_eq!(said.contains("File too large"), !refused, "{said}");
        assert_eq!(fs::read(&out).ok().as_ref() == Some(bytes), refused, "{said}");
    }
}

/// Takes a lock of the open file (fcntl(2)). Waits for it: a child of another test may have a file that was locked before, until it
/// executes its program.
fn lock(file: &fs::File, kind: libc::c_int) -> bool {
    // SAFETY: flock is plain integers, for which zero is valid; the call takes a pointer to one that outlives it.
    unsafe {
        let mut lock: libc::flock = std::mem::zeroed();
        (lock.l_type, lock.l_whence) = (kind as libc::c_short, libc::SEEK_SET as libc::c_short);
        libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLKW, &raw mut lock) == 0
    }
}

/// Runs tracetui where no byte can be written to a file.
fn without_room(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracetui"));
    command.args(args).env("LC_ALL", "C.UTF-8");
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let set = move || {
        // SAFETY: `none` is a valid rlimit that outlives the call; setrlimit(2) may be called between fork and exec.
        match unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const none) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec `set` only makes a system call.
    unsafe { command.pre_exec(set) };
    command.output().expect("tracetui runs")
}

#[test]
fn the_example_is_a_recording() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/failed-build.ttr");
    let printed = tracetui(&["print", example.to_str().expect("UTF-8"), "--filter", "err or kind=bpf"]);
    let lines = String::from_utf8_lossy(&printed.stdout);
    assert!(lines.contains("config.h") && lines.contains("attach tracepoint"), "{lines}");
}

/// The recording of a failed build in assets.
fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/failed-build.ttr");
    path.to_str().expect("UTF-8").to_owned()
}

/// All frames and states of a recording, and the bytes of the file.
fn all_of(file: &str) -> Vec<u8> {
    let bytes = fs::read(file).expect("the recording");
    let mut reader = Reader::new(&bytes[..]).expect("a recording");
    let mut all = Vec::new();
    while let Some(item) = reader.next().expect("readable") {
        match item {
            Item::Batch(batch) | Item::State(batch) | Item::End(batch) => all.extend_from_slice(batch.bytes()),
            Item::Hole(hole) => panic!("{hole:?}"),
        }
    }
    [all, bytes].concat()
}

fn has(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

/// Cuts the example, checks that the cut is sound, and returns its frames, its events as JSON, and what was said.
fn cut(out: &Path, args: &[&str]) -> (Vec<u8>, String, String) {
    let out = out.to_str().expect("UTF-8");
    let done = tracetui(&[&["cut", &example(), "-o", out, "--force"], args].concat());
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    let info: Value = serde_json::from_slice(&tracetui(&["info", out, "--format", "json"]).stdout).expect("JSON");
    assert_eq!((&info["account"]["discrepancies"], &info["account"]["lost"]), (&serde_json::json!([]), &0.into()));
    let events = tracetui(&["print", out, "--format", "json"]).stdout;
    (all_of(out), String::from_utf8(events).expect("JSON"), said)
}

#[test]
fn a_cut_has_no_argument_or_path_that_its_events_do_not_show() {
    let dir = Scratch::new("golden-cut");
    let out = dir.join("cut.ttr");
    let execs = tracetui(&["print", &example(), "--format", "json", "--kind", "exec"]).stdout;
    let execs: Vec<Value> = execs.split(|byte| *byte == b'\n').flat_map(serde_json::from_slice).collect();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut texts: Vec<String> = Vec::new();
    for exec in &execs {
        texts.extend(exec["argv"].as_array().expect("a list").iter().filter_map(text));
        texts.extend(["exe", "cwd", "filename", "comm"].into_iter().filter_map(|name| text(&exec[name])));
    }
    // Shorter ones may be a part of anything.
    texts.retain(|text| text.len() > 5);
    let mut absent = 0;
    for args in
        [&["--kind", "open"][..], &["--kind", "exit"], &["--failed"], &["--filter", "kind=exit not arg~nightly"]]
    {
        let (frames, events, _) = cut(&out, args);
        assert!(!events.is_empty());
        let shown = events.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON").to_string());
        let shown = shown.collect::<Vec<_>>().join("\n");
        for text in texts.iter().filter(|text| !shown.contains(text.as_str())) {
            assert!(!has(&frames, text), "{args:?}: {text}");
            absent += 1;
        }
    }
    assert!(absent > 30, "{absent}");
}

#[test]
fn redacted_texts_are_in_no_frame() {
    let dir = Scratch::new("golden-redact");
    let out = dir.join("cut.ttr");
    let (whole, all, _) = cut(&out, &[]);
    let secrets = ["/home/ana", "nightly", "bpftrace", "libc.so", "make"];
    assert!(secrets.iter().all(|secret| has(&whole, secret)));
    let options = secrets.map(|secret| ["--redact", secret]);
    let (frames, events, said) = cut(&out, options.as_flattened());
    assert_eq!(secrets.iter().find(|secret| has(&frames, secret)), None);
    assert_eq!(events.lines().count(), all.lines().count());
    // Paths in the frames have their last component first.
    assert!(!has(&frames, "ana\0home"));
    assert!(said.contains("; replacements: ") && !said.contains("replacements: 0"), "{said}");
    let (_, same, said) = cut(&out, &["--redact", "no such text"]);
    assert!(same == all && said.contains("replacements: 0"), "{said}");
    assert_eq!(tracetui(&["cut", &example(), "-o", "x", "--redact", "("]).status.code(), Some(2));
}

#[test]
fn reasons_that_a_recording_lacks_are_said_once() {
    let output = tracetui(&["print", &example(), "--failed", "--why"]);
    let [printed, said] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(printed.contains("ENOENT") && !printed.contains("why unknown"), "{printed}");
    assert_eq!(said.matches("--why: recordings have only the reasons that events prove").count(), 1, "{said}");
    let lines = tracetui(&["print", &example(), "--failed", "--why", "--format", "json"]).stdout;
    assert!(String::from_utf8_lossy(&lines).contains(r#""text":"only looked up live""#));
}

#[test]
fn events_of_several_recordings_name_their_host() {
    let dir = Scratch::new("golden-several");
    let (example, other) = (example(), recordings()[0].to_str().expect("UTF-8").to_owned());
    let lines = |args: &[&str]| {
        let done = tracetui(args);
        let text = String::from_utf8(done.stdout).expect("UTF-8");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let json = lines(&["print", "--format", "json", &example, &other]);
    let one = lines(&["print", "--format", "json", &example]);
    let info: Value = serde_json::from_str(&lines(&["info", "--format", "json", &example])[0]).expect("JSON");
    let ends = format!(r#","host":{},"boot_id":{}}}"#, info["host"], info["boot_id"]);
    let of_example: Vec<_> = json.iter().filter_map(|line| line.strip_suffix(&ends)).collect();
    assert!(of_example.iter().zip(&one).all(|(line, one)| one.strip_suffix('}') == Some(line)));
    assert!(of_example.len() == one.len() && json.len() > one.len());
    let csv = lines(&["print", "--format", "csv", &example, &other]);
    assert_eq!(csv[0], format!("{},host,boot_id", lines(&["print", "--format", "csv", &example])[0]));
    for (format, printed) in [("json", &json), ("csv", &csv)] {
        let out = dir.join(format);
        let out = out.to_str().expect("UTF-8");
        assert!(tracetui(&["export", "--format", format, "-o", out, &example, &other]).status.success());
        assert!(fs::read_to_string(out).expect("the export").lines().eq(printed), "{format}");
    }
}

#[test]
fn info_names_the_command_and_how_it_ended() {
    let info = |file: &str| String::from_utf8(tracetui(&["info", file]).stdout).expect("UTF-8");
    assert!(info(&example()).contains("\ncommand   /bin/sh /home/ana/nightly.sh (exit 0)\n"), "{}", info(&example()));
    let json: Value =
        serde_json::from_slice(&tracetui(&["info", "--format", "json", &example()]).stdout).expect("JSON");
    let command = serde_json::json!({"argv": ["/bin/sh", "/home/ana/nightly.sh"], "exit_code": 0, "signal": null});
    assert_eq!(json["command"], command);
    let dir = Scratch::new("golden-command");
    let out = dir.join("cut.ttr");
    cut(&out, &[]);
    let out = out.to_str().expect("UTF-8");
    assert!(!info(out).contains("\ncommand "));
    let json: Value = serde_json::from_slice(&tracetui(&["info", "--format", "json", out]).stdout).expect("JSON");
    assert_eq!(json.get("command"), Some(&Value::Null));
}

#[test]
fn a_parquet_file_says_whether_its_recording_is_complete() {
    let dir = Scratch::new("golden-parquet");
    let (killed, out) = (dir.join("killed.ttr"), dir.join("out.parquet"));
    let whole = fs::read(example()).expect("the example");
    fs::write(&killed, &whole[..whole.len() / 2]).expect("room");
    for (file, complete, command) in
        [(example(), "true", "nightly.sh"), (killed.to_str().expect("UTF-8").to_owned(), "false", "")]
    {
        let out = out.to_str().expect("UTF-8");
        assert!(tracetui(&["export", "--force", "--format", "parquet", "-o", out, &file]).status.success());
        let reader = SerializedFileReader::new(fs::File::open(out).expect("the export")).expect("a Parquet file");
        let metadata = reader.metadata().file_metadata().key_value_metadata().expect("metadata").clone();
        let value = |name: &str| {
            let found = metadata.iter().find(|entry| entry.key == format!("tracetui.{name}"));
            found.and_then(|entry| entry.value.clone()).expect("a value")
        };
        let names =
            ["version", "host", "boot_id", "complete", "account", "filter", "start", "end", "command", "labels"];
        assert_eq!(names.map(|name| value(name).is_empty()), names.map(|name| name == "filter"));
        assert_eq!(value("complete"), complete);
        let account: Value = serde_json::from_str(&value("account")).expect("JSON");
        assert_eq!(account["delivered"], reader.metadata().file_metadata().num_rows());
        assert!(value("command").contains(command) && value("start") < value("end"));
    }
}
