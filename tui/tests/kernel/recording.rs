//! Recordings: what is recorded is what was printed, and nothing that happens to the file costs more than its last block.

use crate::traced::{Dir, alone, cannot_run, may_trace, tracetui};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs tracetui. `None`, with a message, if it must not trace.
pub(crate) fn traced(args: &[&str], change: impl FnOnce(&mut Command)) -> Option<Output> {
    if !may_trace() {
        return None;
    }
    let mut command = tracetui();
    command.args(args).stdin(Stdio::null());
    for name in ["SUDO_UID", "SUDO_GID", "SUDO_USER", "DOAS_USER", "PKEXEC_UID"] {
        command.env_remove(name);
    }
    change(&mut command);
    let done = command.output().expect("tracetui runs");
    let said = text(&done.stderr);
    if said.contains("cannot trace") || said.contains("missing CAP_") {
        cannot_run(&said);
        return None;
    }
    Some(done)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn read(args: &[&str]) -> Output {
    tracetui().args(args).stdin(Stdio::null()).output().expect("tracetui runs")
}

/// Execs, forks, exits and opens, some of which fail.
const WORK: &str = "for i in 1 2 3 4 5 6 7 8 9; do ls /usr/lib >/dev/null; cat /etc/hostname /no/such-$i >/dev/null 2>&1; (exit $i); done; true";

#[test]
fn a_replay_prints_what_was_printed_live() {
    let _alone = alone();
    let dir = Dir::new();
    let file = dir.at("live.ttr");
    let file = file.as_str();
    for format in ["json", "csv", "text"] {
        let _ = fs::remove_file(file);
        let args =
            ["print", "--format", format, "--kind", "exec,exit,open,fork,bpf,lost", "-w", file, "--", "sh", "-c", WORK];
        let Some(live) = traced(&args, |_| {}) else { return };
        assert!(live.status.success(), "{}", text(&live.stderr));
        let replayed = read(&["print", file, "--format", format]);
        assert!(replayed.stdout == live.stdout, "{format}");
        assert!(live.stdout.len() > 10_000, "{format}");
        let account = |output: &Output| text(&output.stderr).lines().last().map(str::to_owned);
        assert_eq!(account(&replayed), account(&live), "{format}");
    }
}

#[test]
fn a_replay_prints_what_was_printed_live_also_where_events_were_lost() {
    let _alone = alone();
    let dir = Dir::new();
    let file = dir.at("lost.ttr");
    let file = file.as_str();
    let storm = "for i in $(seq 400); do cat /etc/hostname /etc/passwd /etc/group; done >/dev/null";
    let args = ["print", "--format", "json", "--ring-size", "64KiB", "-w", file, "--", "sh", "-c", storm];
    let Some(live) = traced(&args, |_| {}) else { return };
    let replayed = read(&["print", file, "--format", "json"]);
    assert!(replayed.stdout == live.stdout);
    assert_eq!(text(&replayed.stderr).lines().last(), text(&live.stderr).lines().last());
}

#[test]
fn a_file_that_was_cut_gives_its_blocks() {
    let _alone = alone();
    let dir = Dir::new();
    let (file, cut) = (dir.at("whole.ttr"), dir.at("cut.ttr"));
    let (file, cut) = (file.as_str(), cut.as_str());
    if traced(&["record", "-o", file, "--", "sh", "-c", WORK], |_| {}).is_none() {
        return;
    }
    let whole = fs::read(file).expect("the recording");
    let events = text(&read(&["print", file]).stdout).lines().count();
    let mut before = 0;
    for share in 1..20 {
        fs::write(cut, &whole[..64 + (whole.len() - 65) * share / 20]).expect("room");
        let printed = read(&["print", cut]);
        let lines = text(&printed.stdout).lines().count();
        assert!(printed.status.success() && lines >= before && lines <= events, "{share}: {before} {lines} {events}");
        let said = text(&printed.stderr);
        assert!(said.lines().count() == 1 && said.contains("ends early"), "{said}");
        let info = read(&["info", cut, "--format", "json"]);
        let info: serde_json::Value = serde_json::from_slice(&info.stdout).expect("JSON");
        assert_eq!((&info["complete"], info["ended_early_at"].is_u64()), (&serde_json::Value::Bool(false), true));
        before = lines;
    }
}

#[test]
fn a_damaged_block_is_a_lost_row() {
    let _alone = alone();
    let dir = Dir::new();
    let file = dir.at("damaged.ttr");
    let file = file.as_str();
    // Without a COMMAND: of a process whose fork is in the damaged block it would not be known that it is of the COMMAND.
    let work = "for i in 1 2 3; do for j in $(seq 30); do cat /etc/hostname >/dev/null; done; sleep 1.2; done";
    let mut worker = Command::new("sh").args(["-c", work]).spawn().expect("a shell");
    let recorded = traced(&["record", "-o", file, "--duration", "4s", "--comm", "cat"], |_| {});
    worker.wait().expect("it ends");
    if recorded.is_none() {
        return;
    }
    let mut bytes = fs::read(file).expect("the recording");
    let events = |output: &Output| {
        let lines = text(&output.stdout);
        let parsed = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        let (lost, events): (Vec<_>, Vec<_>) = parsed.partition(|line| line["kind"] == "lost");
        let unread =
            lost.iter().filter(|row| row["cause"] == "read").filter_map(|row| row["count"].as_u64()).sum::<u64>();
        (events.len() as u64, unread)
    };
    let (whole, _) = events(&read(&["print", file, "--format", "json"]));
    // The block with the most events: its header has the length of the payload at 24 and the number of events at 48.
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let next = |at: &usize| Some(at + 64 + (word(at + 24) as usize).next_multiple_of(8)).filter(|at| *at < bytes.len());
    let at = std::iter::successors(Some(64), next).max_by_key(|at| word(at + 48)).expect("a block");
    bytes[at + 70] ^= 1;
    fs::write(file, &bytes).expect("room");
    let printed = read(&["print", file, "--format", "json"]);
    let (some, unread) = events(&printed);
    assert_eq!(some + unread, whole);
    assert!(unread > 0 && printed.status.code() == Some(1));
    assert!(text(&printed.stderr).contains(&format!("at offset {at} cannot be read: bad checksum")));
}

#[test]
fn a_killed_recorder_leaves_what_it_wrote() {
    let _alone = alone();
    let dir = Dir::new();
    let file = dir.at("killed.ttr");
    let name = file.as_str();
    if !may_trace() {
        return;
    }
    // Bounded: the COMMAND outlives tracetui.
    let work = "for i in $(seq 3000); do cat /etc/hostname >/dev/null; done";
    let mut child = tracetui()
        .args(["record", "-o", name, "--", "sh", "-c", work])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("tracetui runs");
    let begun = Instant::now();
    while fs::metadata(&file).map_or(0, |found| found.len()) < 20_000 && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    let printed = read(&["print", name]);
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    assert!(text(&printed.stdout).lines().count() > 100);
    assert!(text(&printed.stderr).contains("ends early"));
}

#[test]
fn a_full_disk_ends_the_recording_and_not_the_print() {
    let _alone = alone();
    let dir = Dir::new();
    let mount = dir.at("small");
    fs::create_dir(&mount).expect("a directory");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs", &mount]).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return cannot_run("tmpfs cannot be mounted");
    }
    let file = format!("{mount}/full.ttr");
    let storm = "for i in $(seq 1500); do cat /etc/hostname /etc/passwd /etc/group; done >/dev/null; sleep 1; true";
    let name = file.as_str();
    let done = traced(&["print", "--format", "json", "-w", name, "--", "sh", "-c", storm], |_| {});
    let read_back = done.is_some().then(|| read(&["print", name]));
    let _ = Command::new("umount").args(["-l", &mount]).status();
    let (Some(done), Some(read_back)) = (done, read_back) else { return };
    assert_eq!(done.status.code(), Some(1), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("cannot write"), "{}", text(&done.stderr));
    let events = text(&done.stdout).lines().filter(|line| line.contains(r#""comm":"cat""#)).count();
    assert!(events > 1500 * 3, "{events}");
    assert!(read_back.status.success(), "{}", text(&read_back.stderr));
}

#[test]
fn the_file_is_the_invoking_users() {
    let _alone = alone();
    let dir = Dir::new();
    let home = dir.at("home");
    fs::create_dir(&home).expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    std::os::unix::fs::chown(&home, Some(1234), Some(1234)).expect("root");
    let file = format!("{home}/a.ttr");
    let name = file.as_str();
    let sudo = |command: &mut Command| {
        command.env("SUDO_UID", "1234").env("SUDO_GID", "1234").env("SUDO_USER", "somebody");
    };
    let Some(done) = traced(&["record", "-o", name, "--", "true"], sudo) else { return };
    assert!(done.status.success(), "{}", text(&done.stderr));
    let found = fs::metadata(&file).expect("the recording");
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (1234, 1234, 0o600));
    // Where that user may not write, nothing is written.
    let refused = |name: &str, args: &[&str]| {
        let done =
            traced(&[&["record", "-o", name][..], args, &["--", "true"]].concat(), sudo).expect("it traced before");
        assert_eq!(done.status.code(), Some(1), "{name}: {}", text(&done.stderr));
        text(&done.stderr)
    };
    assert!(refused(&dir.at("root.ttr"), &[]).contains("Permission denied"));
    assert!(refused(&file, &[]).contains("--force replaces it"));
    // A link is not followed, and only a regular file is replaced.
    let target = dir.at("target");
    fs::write(&target, "precious").expect("room");
    symlink(&target, format!("{home}/link")).expect("room");
    refused(&format!("{home}/link"), &[]);
    refused(&format!("{home}/link"), &["--force"]);
    refused("/dev/null", &["--force"]);
    assert_eq!(fs::read(&target).expect("it is there"), b"precious");
    let Some(again) = traced(&["record", "--force", "-o", name, "--", "true"], sudo) else { return };
    assert!(again.status.success(), "{}", text(&again.stderr));
}
