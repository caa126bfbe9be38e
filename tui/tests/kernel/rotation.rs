//! Recordings in several files: together they are the recording, whatever happens to the directory.

use crate::prelude::*;
use crate::recording::traced;

/// Opens, some of which fail, for some files of the smallest size.
const WORK: &str = "for i in $(seq 2500); do cat /etc/hostname /etc/passwd /no/such-$i; done >/dev/null 2>&1; true";

fn files(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("it is there").map(|entry| entry.expect("readable").path());
    let mut files: Vec<_> = entries.map(|path| path.to_string_lossy().into_owned()).collect();
    files.retain(|path| path.ends_with(".ttr"));
    files.sort();
    files
}

fn print(files: &[String]) -> Output {
    let mut args = vec!["print", "--format", "json"];
    args.extend(files.iter().map(String::as_str));
    read(&args)
}

fn last_line(output: &Output) -> String {
    text(&output.stderr).lines().last().map(str::to_owned).unwrap_or_default()
}

fn recorded(dir: &Dir, rotate: &str) -> Option<Output> {
    let args = ["record", "-o", &dir.at("a.ttr"), "--rotate", rotate, "--", "timeout", "60", "sh", "-c", WORK];
    let done = traced(&args, |_| {})?;
    assert!(done.status.success(), "{}", text(&done.stderr));
    Some(done)
}

#[test]
fn all_files_together_are_the_recording() {
    let dir = Dir::alone();
    let Some(done) = recorded(&dir, "64KiB,100") else { return };
    let files = files(&dir.at(""));
    assert!(files.len() > 2 && files[0].ends_with("a.000001.ttr"), "{files:?}");
    let together = print(&files);
    assert!(together.status.success());
    let said = text(&together.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    let account: Value = serde_json::from_str(&said).expect("JSON");
    let account = &account["account"];
    let lines = text(&together.stdout);
    let events = lines.lines().filter(|line| !line.contains(r#""kind":"lost""#)).count() as u64;
    assert_eq!(n(&account["delivered"]), events);
    let (seen, rest) = (n(&account["seen"]), ["delivered", "filtered", "lost"]);
    assert_eq!(seen, rest.iter().map(|part| n(&account[*part])).sum::<u64>());
    // The account of some of the files is that of what they have.
    let last = print(&files[files.len() - 1..]);
    let last_account: Value = serde_json::from_str(&last_line(&last)).expect("JSON");
    let printed = text(&last.stdout).lines().filter(|line| !line.contains(r#""kind":"lost""#)).count() as u64;
    let (of_last, delivered) = (&last_account["account"], n(&account["delivered"]));
    assert_eq!((n(&of_last["delivered"]), n(&of_last["not_read"])), (printed, delivered - printed));
    assert_eq!(n(&of_last["seen"]), rest.iter().map(|part| n(&of_last[*part])).sum::<u64>());
    let live = last_line(&done);
    assert!(live.contains(&format!("seen {seen} delivered {}", account["delivered"])), "{live}");
    // Each by itself: nothing twice, nothing missing, and it says that the trace continues.
    let mut each = String::new();
    for (at, file) in files.iter().enumerate() {
        let printed = print(std::slice::from_ref(file));
        assert!(printed.status.success(), "{}", text(&printed.stderr));
        each.push_str(&text(&printed.stdout));
        let info = info(file);
        let goes_on = at + 1 < files.len();
        assert_eq!((n(&info["part"]["number"]), &info["part"]["continues"]), (at as u64 + 1, &goes_on.into()));
        assert_eq!(info["complete"], true);
        assert_eq!(text(&printed.stderr).contains("the trace continues"), goes_on);
        let metadata = fs::metadata(file).expect("there");
        assert_eq!(metadata.mode() & 0o777, 0o600);
    }
    assert!(each == lines);
}

#[test]
fn files_end_after_their_time_and_a_later_trace_goes_on_after_them() {
    let dir = Dir::alone();
    let (out, metrics) = (dir.at("a.ttr"), dir.at("metrics/a.prom"));
    fs::create_dir(dir.at("metrics")).expect("room");
    let work = ["--", "timeout", "60", "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do cat /etc/hostname; sleep 0.5; done"];
    let beside = format!("--metrics={}", dir.at("metrics"));
    let options =
        ["record", "-o", &out, "--rotate", "1MiB,1s,3", "--resume", "--group-read", &beside, "--label", "site=fra1"];
    let Some(done) = traced(&[&options[..], &work].concat(), |_| {}) else { return };
    assert!(done.status.success(), "{}", text(&done.stderr));
    let first = files(&dir.at(""));
    assert_eq!(first.len(), 3, "{first:?}");
    // Each file has its share of the time.
    for file in &first[..2] {
        let info = info(file);
        assert_eq!((&info["complete"], &info["labels"]["site"]), (&true.into(), &"fra1".into()));
        let metadata = fs::metadata(file).expect("there");
        assert!(n(&info["events"]["open"]) >= 1 && metadata.len() < 1 << 20);
        assert_eq!(metadata.mode() & 0o777, 0o640);
    }
    let text_of = || fs::read_to_string(&metrics).expect("there");
    let metric = |name: &str| {
        let text = text_of();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<f64>().expect("a number")
    };
    let live = last_line(&done);
    let delivered = |kind: &str| metric(&format!(r#"tracetui_events_total{{kind="{kind}",outcome="recorded"}}"#));
    let (execs, exits) = (delivered("exec"), delivered("exit"));
    assert!(live.contains(&format!("exec {execs} exit {exits} ")), "{live}");
    assert_eq!(metric("tracetui_files"), 3.0);
    assert_eq!(metric("tracetui_files_removed_total"), metric("tracetui_file_number") - 3.0);
    // The files of the first trace count in the second.
    let Some(done) = traced(&[&options[..], &work].concat(), |_| {}) else { return };
    assert!(done.status.success(), "{}", text(&done.stderr));
    let second = files(&dir.at(""));
    assert_eq!(second.len(), 3, "{second:?}");
    assert!(second[0] > first[2], "{first:?} {second:?}");
    assert_eq!(info(&second[2])["labels"]["site"], "fra1");
}

#[test]
fn only_the_newest_files_are_kept_and_no_others_are_touched() {
    let dir = Dir::alone();
    fs::write(dir.at("a.000001.ttr"), "an older recording").expect("room");
    fs::write(dir.at("target"), "precious").expect("room");
    symlink(dir.at("target"), dir.at("a.000004.ttr")).expect("room");
    let Some(done) = recorded(&dir, "64KiB,2") else { return };
    assert_eq!(fs::read(dir.at("a.000001.ttr")).expect("there"), b"an older recording");
    assert_eq!(fs::read(dir.at("target")).expect("there"), b"precious");
    let mut files = files(&dir.at(""));
    files.retain(|file| !file.ends_with("a.000001.ttr") && !file.ends_with("a.000004.ttr"));
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(text(&done.stderr).contains("were removed") || text(&done.stderr).contains("was removed"));
    let printed = print(&files);
    assert!(printed.status.success() && text(&printed.stderr).contains("earlier events of the trace"));
}

#[test]
fn the_limits_of_the_recording_are_those_of_all_files() {
    let dir = Dir::alone();
    let out = dir.at("size.ttr");
    let opens = "for i in $(seq 8000); do cat /etc/hostname; done >/dev/null";
    let mut worker = Command::new("sh").args(["-c", opens]).spawn().expect("a shell");
    let args = ["record", "-o", &out, "--rotate", "64KiB,2", "--max-size", "300KiB", "--duration", "60s"];
    let begun = Instant::now();
    let by_size = traced(&args, |_| {});
    let took = begun.elapsed();
    let out = dir.at("time.ttr");
    let by_time = traced(&["record", "-o", &out, "--rotate", "64KiB,2", "--duration", "2s"], |_| {});
    worker.kill().expect("it runs");
    worker.wait().expect("it ended");
    let (Some(by_size), Some(by_time)) = (by_size, by_time) else { return };
    assert!(by_size.status.success() && took < Duration::from_secs(60), "{}", text(&by_size.stderr));
    assert!(by_time.status.success(), "{}", text(&by_time.stderr));
    assert!(files(&dir.at("")).len() <= 4);
    assert!(text(&by_size.stderr).contains("removed; "), "{}", text(&by_size.stderr));
}

#[test]
fn files_that_the_state_makes_larger_are_reported() {
    let dir = Dir::alone();
    // Random texts of 200 processes: a state that compression leaves larger than a file.
    let crowd =
        "for i in $(seq 200); do sh -c 'sleep 60; :' $(head -c 600 /dev/urandom | base64 -w0) & done; echo all; wait";
    let mut crowd =
        Command::new("sh").args(["-c", crowd]).process_group(0).stdout(Stdio::piped()).spawn().expect("a shell");
    let mut all = [0; 4];
    crowd.stdout.take().expect("piped").read_exact(&mut all).expect("a line");
    let record = |size: &str, name: &str| {
        let (out, rotate) = (dir.at(name), format!("{size},100"));
        traced(&["record", "-o", &out, "--rotate", &rotate, "--", "timeout", "60", "sh", "-c", WORK], |_| {})
    };
    let done = [record("64KiB", "small.ttr"), record("16MiB", "large.ttr")];
    let group = rustix::process::Pid::from_child(&crowd);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).expect("they run");
    crowd.wait().expect("it ended");
    let [Some(small), Some(large)] = done else { return };
    let largest = files(&dir.at("")).iter().map(|file| fs::metadata(file).expect("there").len()).max();
    assert!(largest > Some(80 << 10), "{largest:?}");
    let (small, large) = (text(&small.stderr), text(&large.stderr));
    assert!(small.contains("not 64 KiB: each starts and ends with the state of all processes"), "{small}");
    assert!(!large.contains("--rotate:"), "{large}");
}

#[test]
fn what_is_no_series_of_files_is_refused() {
    for (args, part) in [
        (&["-o", "-", "--rotate", "1MiB,2"][..], "stdout"),
        (&["-o", "x.ttr", "--rotate", "1MiB"], "1GiB,4"),
        (&["-o", "x.ttr", "--rotate", "1MiB,2", "--force"], "--force"),
    ] {
        let done = read(&[&["record"], args].concat());
        assert_eq!(done.status.code(), Some(2), "{args:?}");
        assert!(text(&done.stderr).contains(part), "{}", text(&done.stderr));
    }
}

/// Records into a directory, and changes it once there are two files; the output at the end.
fn disturbed(dir: &str, change: impl FnOnce()) -> Option<Output> {
    may_trace().then_some(())?;
    let work = "for i in $(seq 3000); do cat /etc/hostname /etc/passwd; done >/dev/null 2>&1; true";
    let out = format!("{dir}/a.ttr");
    let args = ["record", "-o", &out, "--rotate", "64KiB,10000", "--", "timeout", "60", "sh", "-c", work];
    let child = tracetui().args(args).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("tracetui runs");
    sys::wait_until(|| files(dir).len() >= 2);
    change();
    Some(child.wait_with_output().expect("it ended"))
}

#[test]
fn a_directory_that_is_removed_ends_the_recording() {
    let dir = Dir::alone();
    let inner = dir.dir("inner");
    let Some(done) = disturbed(&inner, || fs::remove_dir_all(&inner).expect("ours")) else { return };
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    // Its files are removed before it.
    let lost = said.contains("another program removed a.00000");
    assert!(lost || said.contains("cannot create a.00000") && said.contains("the directory was removed"), "{said}");
}

#[test]
fn a_directory_that_is_renamed_does_not_matter() {
    let dir = Dir::alone();
    let (inner, moved) = (dir.dir("inner"), dir.at("moved"));
    let Some(done) = disturbed(&inner, || fs::rename(&inner, &moved).expect("ours")) else { return };
    assert!(done.status.success(), "{}", text(&done.stderr));
    let files = files(&moved);
    assert!(files.len() > 2, "{files:?}");
    let printed = print(&files);
    assert!(printed.status.success() && text(&printed.stderr).starts_with("{\"account\""), "{}", text(&printed.stderr));
}

#[test]
fn the_user_may_lose_the_right_to_write_there() {
    let dir = Dir::alone();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let home = dir.dir("home");
    let sudo = |command: &mut Command| {
        command.env("SUDO_UID", "1234").env("SUDO_GID", "1234").env("SUDO_USER", "somebody");
    };
    let out = format!("{home}/a.ttr");
    let args = ["record", "-o", &out, "--rotate", "64KiB,9", "--", "timeout", "60", "sh", "-c", WORK];
    // The directory is root's: the user may not write there.
    let Some(refused) = traced(&args, sudo) else { return };
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot create a.000001.ttr: Permission denied") && files(&home).is_empty(), "{said}");
    chown(&home, Some(1234), Some(1234)).expect("root");
    let done = traced(&args, sudo).expect("it traced before");
    assert!(done.status.success(), "{}", text(&done.stderr));
    let kept = files(&home);
    assert!(kept.len() > 2);
    for file in &kept {
        let found = fs::metadata(file).expect("there");
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (1234, 1234, 0o600));
        fs::remove_file(file).expect("root");
    }
    // The right is taken away while it is recorded.
    let child = |command: &mut Command| {
        sudo(command);
        let home = home.clone();
        std::thread::spawn(move || {
            sys::wait_until(|| files(&home).len() >= 2);
            fs::set_permissions(&home, fs::Permissions::from_mode(0o500)).expect("root");
        });
    };
    let stopped = traced(&args, child).expect("it traced before");
    let said = text(&stopped.stderr);
    assert_eq!(stopped.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot create a.00000") && said.contains("Permission denied"), "{said}");
    // What is there is whole: the last file ends the recording.
    let printed = print(&files(&home));
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    assert!(text(&printed.stderr).starts_with("{\"account\""), "{}", text(&printed.stderr));
}

#[test]
fn a_full_disk_ends_the_recording() {
    let dir = Dir::alone();
    let Some(_small) = Mount::new(&["-t", "tmpfs", "-o", "size=400k", "tmpfs"], dir.at("small")) else { return };
    let done = disturbed(&dir.at("small"), || ());
    let printed = print(&files(&dir.at("small")));
    // With few enough files it continues. Each of them has the state of all processes.
    let Some(mount) = Mount::new(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], dir.at("larger")) else { return };
    let out = mount.at("b.ttr");
    let args = ["record", "-o", &out, "--rotate", "64KiB,2", "--", "timeout", "60", "sh", "-c", WORK];
    let bounded = traced(&args, |_| {});
    let (Some(done), Some(bounded)) = (done, bounded) else { return };
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write") && said.contains("No space left"), "{said}");
    assert!(printed.status.success() && printed.stdout.len() > 10_000, "{}", text(&printed.stderr));
    assert!(bounded.status.success(), "{}", text(&bounded.stderr));
}

#[test]
fn a_killed_recorder_leaves_its_files() {
    let Some(()) = alone_as_root() else { return };
    for round in 0..4 {
        let dir = Dir::new();
        let out = dir.at("a.ttr");
        let work = "for i in $(seq 2000); do cat /etc/hostname /etc/passwd; done >/dev/null 2>&1";
        let args = ["record", "-o", &out, "--rotate", "64KiB,3", "--", "timeout", "60", "sh", "-c", work];
        let mut child = tracetui().args(args).stderr(Stdio::null()).spawn().expect("tracetui runs");
        let begun = Instant::now();
        // As soon as a file is created: the kill falls into the change of files.
        let wanted = format!("a.00000{}.ttr", 2 + round);
        while !files(&dir.at("")).iter().any(|file| file.ends_with(&wanted))
            && begun.elapsed() < Duration::from_secs(60)
        {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_millis(round));
        child.kill().expect("it runs");
        child.wait().expect("it ended");
        let mut files = files(&dir.at(""));
        assert!(files.len() <= 4, "{files:?}");
        // The newest may have been created and nothing more. The others are whole then.
        let all = files.len();
        files.retain(|file| fs::metadata(file).expect("there").len() >= 64);
        let whole = files.len() < all;
        let printed = print(&files);
        assert!(printed.status.success(), "{}", text(&printed.stderr));
        let lines = text(&printed.stdout);
        assert!(lines.lines().count() > 100, "{}", text(&printed.stderr));
        let mut numbers: Vec<_> = lines.lines().collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), lines.lines().count());
        assert!(whole || text(&printed.stderr).contains("ends early"), "{}", text(&printed.stderr));
    }
}

#[test]
fn progress_is_shown_on_a_terminal_only() {
    let dir = Dir::alone();
    let out = dir.at("a.ttr");
    let args = ["record", "-o", &out, "--duration", "3s"];
    let (ours, theirs) = pty::open();
    let on_terminal = traced(&args, |command| {
        command.stderr(theirs);
    });
    if on_terminal.is_none() {
        return;
    }
    let mut shown = Vec::new();
    // The error at the end says that the other side is closed.
    let _ = File::from(ours).read_to_end(&mut shown);
    let shown = text(&shown);
    assert!(shown.contains("\r0:01  ") && shown.contains(" events (") && shown.contains("  lost 0"), "{shown:?}");
    let last = shown.rsplit("\r\n").nth(3).expect("lines");
    let cleared = last.rsplit('\r').nth(1).expect("the progress is cleared");
    assert!(cleared.chars().all(|c| c == ' ') && cleared.len() > 20, "{shown:?}");
    fs::remove_file(&out).expect("there");
    let elsewhere = traced(&args, |_| {}).expect("it traced before");
    assert!(!text(&elsewhere.stderr).contains('\r'), "{}", text(&elsewhere.stderr));
}
