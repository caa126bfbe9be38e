//! Recordings of every version of the format are read as they were when they were written. They stay here for ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
        assert_eq!(
            (&info["complete"], &info["account"]["discrepancies"]),
            (&true.into(), &serde_json::json!([])),
            "{name}"
        );
    }
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
    assert!(
        text.starts_with(&format!("recording {example}\n{}\nrecording", String::from_utf8_lossy(&one.stdout))),
        "{text}"
    );
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
fn the_example_is_a_recording() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/failed-build.ttr");
    let printed = tracetui(&["print", example.to_str().expect("UTF-8"), "--filter", "err or kind=bpf"]);
    let lines = String::from_utf8_lossy(&printed.stdout);
    assert!(lines.contains("config.h") && lines.contains("attach tracepoint"), "{lines}");
}
