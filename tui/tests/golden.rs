//! Recordings of every version of the format are read as they were when they were written. They stay here for ever.

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::Value;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tracetui_events::recording::{Item, Reader};
use tracetui_events::synthetic::Scratch;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/failed-build.ttr");

struct Done {
    code: Option<i32>,
    out: String,
    said: String,
}

impl Done {
    fn of(output: &Output) -> Done {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Done { code: output.status.code(), out: text(&output.stdout), said: text(&output.stderr) }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect("JSON")
    }
}

fn tracetui(args: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracetui"));
    Done::of(&command.args(args).env("TZ", "UTC").env("LC_ALL", "C.UTF-8").output().expect("tracetui runs"))
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
        let check = |done: Done, expected: &str| {
            assert_eq!(done.code, Some(0), "{name}: {}", done.said);
            let differ = done.out.lines().zip(expected.lines()).find(|(now, then)| now != then);
            assert_eq!((differ, done.out.lines().count()), (None, expected.lines().count()), "{name}");
        };
        check(tracetui(&["print", name]), &expected("txt"));
        check(tracetui(&["print", name, "--format", "json", "--kind", "exec,exit,bpf"]), &expected("json"));
        let info = tracetui(&["info", name, "--format", "json"]).json();
        assert_eq!(info["complete"], true, "{name}");
        assert_eq!(info["account"]["discrepancies"], serde_json::json!([]), "{name}");
    }
}

#[test]
fn failures_that_were_answered_count_as_filtered() {
    let Done { out: lines, said, .. } = tracetui(&["print", "--unanswered", EXAMPLE]);
    assert!(!lines.is_empty() && said.contains(&format!(" delivered {} ", lines.lines().count())), "{said}");
}

#[test]
fn info_shows_one_recording_after_another() {
    let other = recordings();
    let other = other[0].to_str().expect("UTF-8");
    let all = tracetui(&["info", EXAMPLE, "no such", other]);
    let first = format!("recording {EXAMPLE}\n{}\nrecording", tracetui(&["info", EXAMPLE]).out);
    assert!(all.out.starts_with(&first), "{}", all.out);
    assert_eq!((all.code, all.out.matches("\nformat    ttr 1\n").count()), (Some(1), 2));
    assert!(all.said.contains("no such: no such recording"));
    let all = tracetui(&["info", "--format", "json", EXAMPLE, other]);
    let files = all.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["file"].clone());
    assert_eq!(files.collect::<Vec<_>>(), [EXAMPLE, other]);
    assert_eq!(all.code, Some(0));
}

#[test]
fn what_a_truncated_recording_does_not_show_is_unknown() {
    let example = fs::read(EXAMPLE).expect("there");
    let dir = Scratch::new("golden-truncated");
    let file = dir.at("truncated.ttr");
    // Within the first block, and after it.
    for (size, known) in [(64, false), (500, false), (8000, false), (20_000, true), (22_000, true)] {
        fs::write(&file, &example[..size]).expect("room");
        let Done { out: shown, said, .. } = tracetui(&["info", &file]);
        let json = tracetui(&["info", &file, "--format", "json"]).json();
        let at = json["ended_early_at"].as_u64().expect("truncated");
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
    let example = fs::read(EXAMPLE).expect("there");
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
        let events: Vec<String> = done.out.lines().map(str::to_owned).collect();
        (events, done.said, done.code)
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
    let dir = Scratch::new("golden-expect");
    let (part, execs) = (dir.at("part.ttr"), dir.at("execs.ttr"));
    fs::write(&part, &fs::read(EXAMPLE).expect("there")[..100]).expect("room");
    assert_eq!(tracetui(&["cut", EXAMPLE, "-o", &execs, "--kind", "exec"]).code, Some(0));
    let exec = &["--kind", "exec"][..];
    for (file, kinds, expr, status, lines, part) in [
        (EXAMPLE, exec, "comm=make", 3, Some(1), ""),
        (EXAMPLE, exec, "comm=nosuch", 0, Some(0), ""),
        (EXAMPLE, exec, "pth=/x", 2, None, "--expect-none: unknown field"),
        (&part, exec, "comm=nosuch", 1, None, "events are missing: one may match"),
        // What a recording cannot contain proves nothing.
        (&execs, &[], "comm=nosuch", 1, None, "has no events of kind "),
        (&execs, exec, "comm=nosuch", 1, None, "is an excerpt"),
    ] {
        let done = tracetui(&[&["print", file, "--expect-none", expr], kinds].concat());
        assert!(done.code == Some(status) && done.said.contains(part), "{file} {expr}: {}", done.said);
        assert!(lines.is_none_or(|lines| done.out.lines().count() == lines), "{expr}: {}", done.out);
    }
}

#[test]
fn runs_that_may_differ_are_not_equal() {
    let dir = Scratch::new("golden-unknown");
    let file = dir.at("truncated.ttr");
    let last = |done: &Done| done.said.lines().last().unwrap_or_default().to_owned();
    let same = tracetui(&["diff", EXAMPLE, EXAMPLE]);
    assert_eq!((same.code, last(&same).as_str()), (Some(0), "no differences"));
    for (kinds, what) in [("exec,fork", "forks"), ("lookup", "lookups")] {
        let refused = last(&tracetui(&["diff", "--kind", kinds, EXAMPLE, EXAMPLE]));
        assert!(refused.contains(&format!("{what} are not compared")), "{refused}");
    }
    for bytes in [1_000, 20_000] {
        fs::write(&file, &fs::read(EXAMPLE).expect("there")[..bytes]).expect("room");
        let part = tracetui(&["diff", EXAMPLE, &file]);
        assert!(!part.out.is_empty() && part.out.lines().all(|line| line.starts_with("unknown")), "{}", part.out);
        assert_eq!((part.code, last(&part).as_str()), (Some(1), "the runs may differ: all differences are unknown"));
    }
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
        assert_eq!((done.code, done.said.as_str()), (Some(status), message), "{args:?}");
    }
}

#[test]
fn tips_about_options_do_not_mislead() {
    for (args, tip) in [
        (&["record", "--form", "json"][..], None),
        (&["record", "--forc"], Some("--force")),
        (&["record", "--out", "x"], Some("--output")),
        (&["print", "--kinds", "exec"], Some("--kind")),
    ] {
        let Done { code, said, .. } = tracetui(args);
        assert_eq!(code, Some(2), "{said}");
        let found = said.lines().find(|line| line.contains("tip:"));
        assert_eq!(found.is_some(), tip.is_some(), "{args:?}: {said}");
        assert!(tip.is_none_or(|tip| found.is_some_and(|line| line.contains(&format!("'{tip}'")))), "{args:?}: {said}");
    }
}

#[test]
fn a_missing_recording_is_taken_for_a_command_only_where_one_may_be_given() {
    let (command, replay) = ("to trace a command, write -- before it: -- make", format!("tracetui replay {EXAMPLE}"));
    for (args, status, tip) in [
        (&["print", "make"][..], 1, Some(command)),
        (&["make"], 2, Some(command)),
        (&["record", "make"], 2, Some(command)),
        (&["print", "make.ttr"], 1, None),
        (&["info", "make"], 1, None),
        (&["diff", "make", "make"], 1, None),
        (&["diff", EXAMPLE, EXAMPLE, "make"], 1, None),
        (&["cut", "make", "-o", "/no/such"], 1, None),
        (&["export", "make", "--format", "json", "-o", "-"], 1, None),
        (&[EXAMPLE], 2, Some(replay.as_str())),
        (&["no-such.ttr"], 2, Some("tracetui replay no-such.ttr")),
        (&["--no-config", "keys"], 2, Some("a subcommand comes before its options: tracetui keys")),
        (&["fiels", "make"], 2, Some("a similar subcommand exists: files\n  tip: to trace a command")),
    ] {
        let Done { code, said, .. } = tracetui(args);
        assert_eq!((code, said.is_empty()), (Some(status), false), "{args:?}: {said}");
        assert_eq!(said.contains("--"), tip.is_some() || status == 2, "{args:?}: {said}");
        assert_eq!(said.contains("write -- before it: -- make"), tip == Some(command), "{args:?}: {said}");
        assert!(tip.is_none_or(|tip| said.contains(tip)), "{args:?}: {said}");
    }
}

#[test]
fn times_in_the_wrong_order_are_refused() {
    let dir = Scratch::new("golden-times");
    let out = dir.at("out");
    for (args, wrong) in [
        (&["print", EXAMPLE][..], true),
        (&["export", EXAMPLE, "--format", "json", "-o", &out], true),
        (&["cut", EXAMPLE, "-o", &out], true),
        (&["print", EXAMPLE], false),
    ] {
        let times = if wrong { ["--from", "3s", "--to", "1s"] } else { ["--from", "1ms", "--to", "1s"] };
        let Done { code, said, .. } = tracetui(&[args, &times].concat());
        assert_eq!(code, Some(if wrong { 2 } else { 0 }), "{args:?}: {said}");
        assert_eq!(said.contains("--from is later than --to") && said.contains("swap"), wrong, "{args:?}: {said}");
        assert!(!Path::new(&out).exists(), "{args:?}");
    }
}

#[test]
fn what_follows_the_end_of_a_recording_is_said() {
    let dir = Scratch::new("golden-rest");
    let file = dir.at("rest.ttr");
    fs::write(&file, [fs::read(EXAMPLE).expect("there"), vec![b'T'; 3000]].concat()).expect("room");
    let Done { out: shown, said, .. } = tracetui(&["info", &file]);
    assert!(shown.contains("complete  yes; 3,000 bytes after the end"), "{shown}");
    assert_eq!(said.lines().filter(|line| line.contains("3,000 bytes after the end")).count(), 1, "{said}");
    let of = |file: &str| tracetui(&["info", file, "--format", "json"]).json()["bytes_after_end"].as_u64();
    assert_eq!((of(&file), of(EXAMPLE)), (Some(3000), Some(0)));
    for recording in recordings() {
        let earlier = dir.at("earlier.ttr");
        fs::write(&earlier, [fs::read(recording).expect("there"), vec![b'T'; 3000]].concat()).expect("room");
        assert_eq!(of(&earlier), Some(3000));
    }
    // Its events are as they were, also while somebody else has a lock on it.
    let whole = tracetui(&["print", EXAMPLE]);
    let open = fs::File::options().write(true).open(&file).expect("there");
    assert!(lock(&open, libc::F_WRLCK));
    let Done { code, out, said } = tracetui(&["print", &file]);
    assert!(code == Some(0) && out == whole.out, "{said}");
    let one_more = said.lines().count() == whole.said.lines().count() + 1;
    assert!(said.ends_with(&whole.said) && one_more, "{said}");
}

#[test]
fn a_recording_that_cannot_be_begun_leaves_no_file() {
    let dir = Scratch::new("golden-begun");
    let out = dir.at("x.ttr");
    for args in [
        &["record", "-o", &out][..],
        &["record", "--force", "-o", &out],
        &["record", "--rotate", "64KiB,2", "-o", &out],
        &["print", "-w", &out],
        &["cut", EXAMPLE, "-o", &out],
        &["cut", EXAMPLE, "--force", "-o", &out],
    ] {
        if args.contains(&"--force") {
            fs::write(&out, "older").expect("room");
        }
        let Done { code, said, .. } = without_room(args);
        assert_eq!(code, Some(1), "{args:?}: {said}");
        assert!(said.contains(&format!("cannot write {out}: File too large")), "{args:?}: {said}");
        assert_eq!(dir.files(), [""; 0], "{args:?}");
    }
}

#[test]
fn only_a_recording_that_is_being_written_is_not_replaced() {
    let dir = Scratch::new("golden-replaced");
    let out = dir.at("x.ttr");
    let whole = fs::read(EXAMPLE).expect("there");
    let unfinished = whole[..whole.len() / 2].to_vec();
    for (bytes, kind, refused) in [
        (&unfinished, libc::F_WRLCK, true),
        (&Vec::new(), libc::F_WRLCK, true),
        (&unfinished, libc::F_RDLCK, false),
        (&whole, libc::F_WRLCK, false),
        (&b"text that is longer than the header of a recording, and is none of them".to_vec(), libc::F_WRLCK, false),
    ] {
        fs::write(&out, bytes).expect("room");
        let open = fs::File::options().read(true).write(true).open(&out).expect("there");
        assert!(lock(&open, kind));
        // It gets as far as the header.
        let said = without_room(&["record", "--force", "-o", &out]).said;
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

fn without_room(args: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracetui"));
    command.args(args).env("LC_ALL", "C.UTF-8");
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // SAFETY: between fork and exec the closure only makes a system call.
    unsafe { command.pre_exec(move || Ok(setrlimit(Resource::Fsize, none)?)) };
    Done::of(&command.output().expect("tracetui runs"))
}

#[test]
fn the_example_is_a_recording() {
    let lines = tracetui(&["print", EXAMPLE, "--filter", "err or kind=bpf"]).out;
    assert!(lines.contains("config.h") && lines.contains("attach tracepoint"), "{lines}");
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
fn cut(out: &str, args: &[&str]) -> (Vec<u8>, String, String) {
    let Done { code, said, .. } = tracetui(&[&["cut", EXAMPLE, "-o", out, "--force"], args].concat());
    assert_eq!(code, Some(0), "{said}");
    let info = tracetui(&["info", out, "--format", "json"]).json();
    assert_eq!((&info["account"]["discrepancies"], &info["account"]["lost"]), (&serde_json::json!([]), &0.into()));
    (all_of(out), tracetui(&["print", out, "--format", "json"]).out, said)
}

#[test]
fn a_cut_has_no_argument_or_path_that_its_events_do_not_show() {
    let dir = Scratch::new("golden-cut");
    let out = dir.at("cut.ttr");
    let execs = tracetui(&["print", EXAMPLE, "--format", "json", "--kind", "exec"]).out;
    let execs: Vec<Value> = execs.lines().flat_map(serde_json::from_str).collect();
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
    let out = dir.at("cut.ttr");
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
    assert_eq!(tracetui(&["cut", EXAMPLE, "-o", "x", "--redact", "("]).code, Some(2));
}

#[test]
fn reasons_that_a_recording_lacks_are_said_once() {
    let Done { out: printed, said, .. } = tracetui(&["print", EXAMPLE, "--failed", "--why"]);
    assert!(printed.contains("ENOENT") && !printed.contains("why unknown"), "{printed}");
    assert_eq!(said.matches("--why: recordings have only the reasons that events prove").count(), 1, "{said}");
    let lines = tracetui(&["print", EXAMPLE, "--failed", "--why", "--format", "json"]).out;
    assert!(lines.contains(r#""text":"only looked up live""#));
}

#[test]
fn events_of_several_recordings_name_their_host() {
    let dir = Scratch::new("golden-several");
    let other = recordings()[0].to_str().expect("UTF-8").to_owned();
    let lines = |args: &[&str]| tracetui(args).out.lines().map(str::to_owned).collect::<Vec<_>>();
    let json = lines(&["print", "--format", "json", EXAMPLE, &other]);
    let one = lines(&["print", "--format", "json", EXAMPLE]);
    let info = tracetui(&["info", "--format", "json", EXAMPLE]).json();
    let ends = format!(r#","host":{},"boot_id":{}}}"#, info["host"], info["boot_id"]);
    let of_example: Vec<_> = json.iter().filter_map(|line| line.strip_suffix(&ends)).collect();
    assert!(of_example.iter().zip(&one).all(|(line, one)| one.strip_suffix('}') == Some(line)));
    assert!(of_example.len() == one.len() && json.len() > one.len());
    let csv = lines(&["print", "--format", "csv", EXAMPLE, &other]);
    assert_eq!(csv[0], format!("{},host,boot_id", lines(&["print", "--format", "csv", EXAMPLE])[0]));
    for (format, printed) in [("json", &json), ("csv", &csv)] {
        let out = dir.at(format);
        assert_eq!(tracetui(&["export", "--format", format, "-o", &out, EXAMPLE, &other]).code, Some(0));
        assert!(fs::read_to_string(out).expect("the export").lines().eq(printed), "{format}");
    }
}

#[test]
fn info_names_the_command_and_how_it_ended() {
    let info = |file: &str| tracetui(&["info", file]).out;
    assert!(info(EXAMPLE).contains("\ncommand   /bin/sh /home/ana/nightly.sh (exit 0)\n"), "{}", info(EXAMPLE));
    let json = tracetui(&["info", "--format", "json", EXAMPLE]).json();
    let command = serde_json::json!({"argv": ["/bin/sh", "/home/ana/nightly.sh"], "exit_code": 0, "signal": null});
    assert_eq!(json["command"], command);
    let dir = Scratch::new("golden-command");
    let out = dir.at("cut.ttr");
    cut(&out, &[]);
    assert!(!info(&out).contains("\ncommand "));
    let json = tracetui(&["info", "--format", "json", &out]).json();
    assert_eq!(json.get("command"), Some(&Value::Null));
}

#[test]
fn a_parquet_file_says_whether_its_recording_is_complete() {
    let dir = Scratch::new("golden-parquet");
    let (killed, out) = (dir.at("killed.ttr"), dir.at("out.parquet"));
    let whole = fs::read(EXAMPLE).expect("the example");
    fs::write(&killed, &whole[..whole.len() / 2]).expect("room");
    for (file, complete, command) in [(EXAMPLE, "true", "nightly.sh"), (&killed, "false", "")] {
        assert_eq!(tracetui(&["export", "--force", "--format", "parquet", "-o", &out, file]).code, Some(0));
        let reader = SerializedFileReader::new(fs::File::open(&out).expect("the export")).expect("a Parquet file");
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
