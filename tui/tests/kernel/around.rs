//! Recordings of what surrounds a match.

use crate::prelude::*;
use crate::recording::{lines, traced};

/// Matches at about 3 s and 8 s, and opens each 100 ms.
const WORK: &str = "ticks() { for i in $(seq $1); do cat /etc/hostname; sleep 0.1; done >/dev/null; }
    ticks 30; cat /no/match 2>/dev/null; ticks 50; cat /no/match 2>/dev/null; ticks 20; true";

fn ns(line: &Value) -> u64 {
    line["ns"].as_u64().expect("a time")
}

fn is_match(line: &Value) -> bool {
    line["path"] == "/no/match"
}

#[test]
fn only_what_surrounds_a_match_is_recorded() {
    let dir = Dir::alone();
    let file = dir.at("a.ttr");
    let around = ["--around", "kind=open path=/no/match", "--before", "1s", "--after", "500ms"];
    let args = [&["record", "-o", &file][..], &around, &["--", "timeout", "60", "sh", "-c", WORK]].concat();
    let Some(done) = traced(&args, |_| {}) else { return };
    let said = text(&done.stderr);
    assert!(done.status.success() && said.contains("--around: 2 matches in 2 windows"), "{said}");
    let printed = read(&["print", &file, "--format", "json"]);
    let events = lines(&printed.stdout);
    let matches: Vec<u64> = events.iter().filter(|line| is_match(line)).map(ns).collect();
    assert_eq!(matches.len(), 2);
    let within = |at: u64| matches.iter().any(|m| (m - 1_000_000_000..=m + 500_000_000).contains(&at));
    assert!(events.iter().all(|line| within(ns(line))));
    // Nothing of a window is missing: about ten ticks before each match, and five after.
    let ticks = |from: u64, to: u64| {
        events.iter().filter(|line| line["path"] == "/etc/hostname" && (from..=to).contains(&ns(line))).count()
    };
    for m in &matches {
        assert!(ticks(m - 1_000_000_000, *m) >= 5 && ticks(*m, m + 500_000_000) >= 2);
    }
    // All is known of the processes, and nothing counts as lost.
    assert!(events.iter().all(|line| line["kind"] != "lost" && line["ppid"].is_u64()));
    let cgroups = CgroupResolver::new().is_ok();
    assert!(events.iter().all(|line| line["cgroup"].is_string() == cgroups));
    let account: Value = serde_json::from_slice(&printed.stderr).expect("JSON");
    let account = &account["account"];
    assert_eq!((&account["delivered"], &account["lost"]), (&events.len().into(), &0.into()));
    assert!(said.contains(&format!("delivered {} filtered", events.len())), "{said}");
    let info = info(&file);
    let windows = info["windows"].as_array().expect("a list");
    assert_eq!((windows.len(), &info["complete"]), (2, &Value::Bool(true)));
    assert!(windows.iter().all(|window| window["matches"] == 1 && window["short"] == false));
    assert!(windows.iter().all(|window| window["to"].is_string()));
    let filtered = read(&["print", &file, "--format", "json", "--filter", "path=/no/match"]);
    assert_eq!(lines(&filtered.stdout).len(), 2);
}

#[test]
fn without_a_match_there_is_an_empty_recording() {
    let dir = Dir::alone();
    let file = dir.at("a.ttr");
    let work = ["--", "timeout", "60", "cat", "/etc/hostname"];
    let args = [&["record", "-o", &file, "--around", "path=/no/match"][..], &work].concat();
    let Some(done) = traced(&args, |_| {}) else { return };
    assert!(text(&done.stderr).contains("--around: 0 matches in 0 windows"), "{}", text(&done.stderr));
    let printed = read(&["print", &file]);
    assert!(printed.status.success() && printed.stdout.is_empty(), "{}", text(&printed.stderr));
    let bad = read(&["record", "-o", &file, "--around", "foo=1"]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(text(&bad.stderr).contains("--around: unknown field"), "{}", text(&bad.stderr));
    assert_eq!(read(&["record", "--before", "1s"]).status.code(), Some(2));
}

#[test]
fn windows_go_into_several_files_too() {
    let dir = Dir::alone();
    let file = dir.at("a.ttr");
    let work = "for i in $(seq 2500); do cat /etc/hostname /no/match-$i; done >/dev/null 2>&1; true";
    let around = ["--around", "path=/no/match*", "--before", "1s", "--after", "1s", "--rotate", "64KiB,100"];
    let args = [&["record", "-o", &file][..], &around, &["--", "timeout", "60", "sh", "-c", work]].concat();
    let Some(done) = traced(&args, |_| {}) else { return };
    let said = text(&done.stderr);
    assert!(done.status.success() && said.contains("--around: 2,500 matches in 1 window"), "{said}");
    let entries = fs::read_dir(dir.path()).expect("there").map(|entry| entry.expect("readable").path());
    let mut files: Vec<String> = entries.map(|path| path.to_string_lossy().into_owned()).collect();
    files.sort();
    assert!(files.len() > 1, "{files:?}");
    let print: Vec<&str> = ["print", "--format", "json"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let printed = read(&print);
    let events = lines(&printed.stdout);
    assert!(said.contains(&format!("delivered {} filtered", events.len())), "{said}");
    assert_eq!(text(&printed.stderr).lines().count(), 1, "{}", text(&printed.stderr));
}

#[test]
fn without_memory_windows_begin_later() {
    let dir = Dir::alone();
    let file = dir.at("a.ttr");
    let work =
        "for i in $(seq 1500); do cat /etc/hostname /etc/passwd; done >/dev/null 2>&1; cat /no/match 2>/dev/null; true";
    let around = ["--around", "path=/no/match", "--memory", "4MiB"];
    let args = [&["record", "-o", &file][..], &around, &["--", "timeout", "60", "sh", "-c", work]].concat();
    let Some(done) = traced(&args, |_| {}) else { return };
    let said = text(&done.stderr);
    assert!(said.contains("--memory 4 MiB is too small for --before: 1 window starts late"), "{said}");
    let info = info(&file);
    assert_eq!(info["windows"][0]["short"], true);
    let events = lines(&read(&["print", &file, "--format", "json"]).stdout);
    assert!(events.len() > 1000 && events.iter().any(is_match));
}

#[test]
fn a_kill_leaves_the_windows() {
    let Some(dir) = Dir::alone_as_root() else { return };
    let file = dir.at("a.ttr");
    let work = "cat /no/match; for i in $(seq 3000); do cat /etc/hostname; done";
    let args = ["record", "-o", &file, "--around", "path=/no/match", "--", "timeout", "60", "sh", "-c", work];
    let mut child = tracetui().args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("tracetui runs");
    sys::wait_until(|| fs::metadata(&file).is_ok_and(|found| found.len() >= 20_000));
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    let printed = read(&["print", &file, "--format", "json"]);
    assert!(printed.status.success() && lines(&printed.stdout).iter().any(is_match), "{}", text(&printed.stderr));
    let info = info(&file);
    assert_eq!((&info["windows"][0]["to"], &info["complete"]), (&Value::Null, &Value::Bool(false)));
}
