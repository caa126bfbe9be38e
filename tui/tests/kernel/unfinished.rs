//! Recordings that are read while they are written, and without an end.

use crate::prelude::*;
use std::thread::sleep;

/// Some seconds of execs, exits and opens, more than a block.
const WORK: &str = "for i in $(seq 25); do cat /etc/hostname /no/such-$i 2>/dev/null; for j in 1 2 3 4 5; do (exit $j); done; sleep 0.1; done; true";

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
}

fn recorder(args: &[&str], file: &str) -> Option<Child> {
    let mut child = start(may_trace().then(tracetui)?.arg("record").args(args));
    let begun = Instant::now();
    while fs::metadata(file).map_or(0, |found| found.len()) < 1000 {
        if child.try_wait().expect("a child").is_some() || begun.elapsed() > Duration::from_secs(60) {
            let _ = child.kill();
            cannot_run(&text(&child.wait_with_output().expect("a child").stderr));
            return None;
        }
        sleep(Duration::from_millis(20));
    }
    Some(child)
}

#[test]
fn a_recording_that_is_written_is_read_up_to_its_last_block() {
    let dir = Dir::alone();
    let file = dir.at("live.ttr");
    let Some(mut recorder) = recorder(&["-o", &file, "--", "sh", "-c", WORK], &file) else { return };
    assert_eq!(info(&file)["complete"], false);
    let now = read(&["print", &file]);
    assert!(now.status.success() && text(&now.stderr).contains("the trace is still running"), "{}", text(&now.stderr));
    let force = read(&["cut", &file, "--force", "-o", &file]);
    assert!(!force.status.success());
    wait_at_most(&mut recorder, Duration::from_secs(60));
    let printed = read(&["print", "--format", "json", &file]);
    // Each of the 25 rounds makes at least ten.
    assert!(text(&printed.stdout).lines().count() > 250);
    assert_eq!(info(&file)["complete"], true);
}

#[test]
fn a_killed_writer_leaves_whole_blocks() {
    let dir = Dir::alone();
    let file = dir.at("killed.ttr");
    let Some(mut recorder) = recorder(&["-o", &file, "--comm", "no-such"], &file) else { return };
    sleep(Duration::from_millis(1500));
    recorder.kill().expect("it runs");
    recorder.wait().expect("it ended");
    let printed = read(&["print", &file]);
    let said = text(&printed.stderr);
    assert!(printed.status.success() && said.contains("ends early"), "{said}");
    assert!(said.contains("the trace was killed"), "{said}");
    assert_eq!(info(&file)["complete"], false);
}
