//! Recordings that are read while they are written.

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
            // SAFETY: kill(2) takes integers only, and the child has not been waited for if it runs.
            let _ = child.kill();
            cannot_run(&text(&child.wait_with_output().expect("a child").stderr));
            return None;
        }
        sleep(Duration::from_millis(20));
    }
    Some(child)
}

fn follow(file: &str) -> Child {
    start(tracetui().args(["print", "--follow", "--format", "json", file]))
}

#[track_caller]
fn end(mut child: Child, seconds: u64) -> Output {
    let begun = Instant::now();
    // What it prints does not fit into a pipe.
    let mut out = child.stdout.take().expect("a pipe");
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).map(|_| bytes)
    });
    while child.try_wait().expect("a child").is_none() {
        if begun.elapsed() > Duration::from_secs(seconds) {
            let _ = child.kill();
            panic!("it does not end");
        }
        sleep(Duration::from_millis(10));
    }
    let stdout = reader.join().expect("a thread").expect("readable");
    Output { stdout, ..child.wait_with_output().expect("a child") }
}

fn signal(child: &Child, signal: libc::c_int) {
    // SAFETY: kill(2) takes integers only, and the child has not been waited for.
    unsafe { libc::kill(child.id() as i32, signal) };
}

#[test]
fn a_recording_that_is_followed_gives_what_it_gives_in_the_end() {
    let dir = Dir::alone();
    let file = dir.at("live.ttr");
    let Some(recorder) = recorder(&["-o", &file, "--", "sh", "-c", WORK], &file) else { return };
    let followers = [follow(&file), follow(&file)];
    let info = info(&file);
    assert_eq!((&info["writing"], &info["complete"]), (&true.into(), &false.into()));
    let now = read(&["print", &file]);
    assert!(text(&now.stderr).contains("the trace is still running"), "{}", text(&now.stderr));
    // Another one does not write into it.
    let force = read(&["cut", &file, "--force", "-o", &file]);
    assert!(!force.status.success());
    let recorded = end(recorder, 60);
    assert!(recorded.status.success(), "{}", text(&recorded.stderr));
    let printed = read(&["print", "--format", "json", &file]);
    // Each of the 25 rounds makes at least ten.
    assert!(text(&printed.stdout).lines().count() > 250);
    for follower in followers {
        let followed = end(follower, 10);
        assert!(followed.status.success() && followed.stdout == printed.stdout);
        assert_eq!(text(&followed.stderr), text(&printed.stderr));
    }
}

#[test]
fn a_writer_that_is_killed_ends_the_following() {
    let dir = Dir::alone();
    let file = dir.at("killed.ttr");
    let Some(mut recorder) = recorder(&["-o", &file, "--comm", "no-such"], &file) else { return };
    let follower = follow(&file);
    sleep(Duration::from_millis(1500));
    recorder.kill().expect("it runs");
    recorder.wait().expect("it ended");
    let followed = end(follower, 60);
    let said = text(&followed.stderr);
    assert!(followed.status.success() && said.contains("ends early"), "{said}");
    assert!(said.contains("the trace was killed"), "{said}");
    let info = info(&file);
    assert_eq!((&info["writing"], &info["complete"]), (&false.into(), &false.into()));
}

#[test]
fn following_ends_by_a_signal_a_count_a_closed_pipe_and_a_cut() {
    let dir = Dir::alone();
    let file = dir.at("long.ttr");
    let Some(mut recorder) = recorder(&["-o", &file, "--duration", "60s"], &file) else { return };
    let [interrupted, closed] = [follow(&file), follow(&file)];
    // Without lines that nobody reads: it looks at the file all the time.
    let cut = start(tracetui().args(["print", "--follow", "--comm", "no-such", &file]));
    sleep(Duration::from_millis(1200));
    signal(&interrupted, libc::SIGINT);
    let interrupted = end(interrupted, 30);
    assert_eq!(interrupted.status.code(), Some(0), "{}", text(&interrupted.stderr));
    let counted = end(start(tracetui().args(["print", "-f", "-n", "1", &file])), 30);
    assert_eq!((counted.status.code(), text(&counted.stdout).lines().count()), (Some(0), 1));
    let mut closed = closed;
    drop(closed.stdout.take());
    let begun = Instant::now();
    while closed.try_wait().expect("a child").is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody reads it");
        sleep(Duration::from_millis(20));
    }
    File::options().write(true).open(&file).and_then(|file| file.set_len(700)).expect("ours");
    let cut = end(cut, 30);
    assert_eq!(cut.status.code(), Some(1));
    // The writer goes on at its offset: then it may be longer again when it is looked at.
    let said = text(&cut.stderr);
    let seen = ["was truncated to 700 bytes while being read", "was truncated or overwritten while being read"];
    assert!(seen.iter().any(|text| said.contains(text)), "{said}");
    recorder.kill().expect("it runs");
    recorder.wait().expect("it ended");
}

#[test]
fn following_goes_on_in_the_next_file() {
    let dir = Dir::alone();
    let (name, first) = (dir.at("x.ttr"), dir.at("x.000001.ttr"));
    let work = "for i in 1 2 3; do for j in $(seq 15000); do : </no/such-$i-$j; done; sleep 1; done 2>/dev/null; true";
    let args = ["-o", &name, "--rotate", "64KiB,1000", "--", "bash", "-c", work];
    let Some(recorder) = recorder(&args, &first) else { return };
    let follower = follow(&first);
    let recorded = end(recorder, 60);
    assert!(recorded.status.success(), "{}", text(&recorded.stderr));
    let followed = end(follower, 10);
    let mut files: Vec<String> = Vec::new();
    while let Some(file) =
        Some(dir.at(&format!("x.{:06}.ttr", files.len() + 1))).filter(|file| fs::exists(file).unwrap_or(false))
    {
        files.push(file);
    }
    assert!(files.len() > 1);
    let args = ["print", "--format", "json"].into_iter().chain(files.iter().map(String::as_str));
    let printed = read(&args.collect::<Vec<_>>());
    assert!(followed.stdout == printed.stdout, "{} files", files.len());
    assert_eq!(text(&followed.stderr), text(&printed.stderr));
}

#[test]
fn only_one_recording_file_is_followed() {
    let dir = Dir::new();
    for (args, part) in [
        (vec!["print", "-f"], "<FILE>"),
        (vec!["print", "-f", "-"], "needs a recording file"),
        (vec!["print", "-f", "--", "true"], "--follow"),
    ] {
        let done = read(&args);
        let said = text(&done.stderr);
        assert!(done.status.code() == Some(2) && said.contains(part), "{args:?}: {said}");
    }
    let missing = read(&["print", "-f", &dir.at("missing.ttr")]);
    assert_eq!(missing.status.code(), Some(1));
}
