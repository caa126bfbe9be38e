//! Recordings: what is recorded is what was printed, and nothing that happens to the file costs more than its last block.

use crate::command::on_terminal;
use crate::confine::Guarded;
use crate::prelude::*;

/// The events of JSON output.
pub(crate) fn events(output: &[u8]) -> Vec<Value> {
    let lines = text(output);
    lines
        .lines()
        .filter(|line| line.contains("\"kind\""))
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

pub(crate) fn traced(args: &[&str], change: impl FnOnce(&mut Command)) -> Option<Output> {
    let mut command = may_trace().then(tracetui)?;
    command.args(args).stdin(Stdio::null());
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

pub(crate) fn lines(output: &[u8]) -> Vec<Value> {
    text(output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

pub(crate) fn info(file: &str) -> Value {
    serde_json::from_slice(&read(&["info", file, "--format", "json"]).stdout).expect("JSON")
}

pub(crate) fn record(file: &str, args: &[&str], change: impl FnOnce(&mut Command)) -> Option<Output> {
    traced(&[&["record", "-o", file], args].concat(), change)
}

/// Records what a shell does, which must go well: what was said.
pub(crate) fn record_work(file: &str, options: &[&str], work: &str) -> Option<String> {
    let done = record(file, &[options, &["--", "timeout", "60", "sh", "-c", work]].concat(), |_| {})?;
    let said = text(&done.stderr);
    assert!(done.status.success(), "{said}");
    Some(said)
}

/// What a dashboard writes to its terminal, in which these keys are pressed after three seconds.
fn typing(pressed: &[u8], args: &[&str]) -> String {
    let mut command = tracetui();
    command.args(args).env("TERM", "xterm");
    let (mut child, mut terminal, shown) = on_terminal(command, None);
    std::thread::sleep(Duration::from_secs(3));
    // It may have ended.
    let _ = terminal.write_all(pressed);
    wait_at_most(&mut child, Duration::from_secs(30));
    drop(terminal);
    shown.join().expect("no panic")
}

const WORK: &str = "for i in 1 2 3 4 5 6 7 8 9; do ls /usr/lib >/dev/null; cat /etc/hostname /no/such-$i >/dev/null 2>&1; (exit $i); done; true";

#[test]
fn a_replay_prints_what_was_printed_live() {
    let dir = Dir::alone();
    let file = dir.at("live.ttr");
    let file = file.as_str();
    let kinds = &["--kind", "exec,exit,open,fork,bpf,lost"];
    let small = &["--ring-size", "64KiB"];
    let storm = "for i in $(seq 400); do cat /etc/hostname /etc/passwd /etc/group; done >/dev/null";
    let rows = [("json", kinds, WORK), ("csv", kinds, WORK), ("text", kinds, WORK), ("json", small, storm)];
    for (format, options, work) in rows {
        let _ = fs::remove_file(file);
        let args = [&["print", "--format", format, "-w", file][..], options, &["--", "sh", "-c", work]].concat();
        let Some(live) = traced(&args, |_| {}) else { return };
        assert!(live.status.success(), "{}", text(&live.stderr));
        let replayed = read(&["print", file, "--format", format]);
        assert!(replayed.stdout == live.stdout, "{format}");
        assert!(live.stdout.len() > 10_000, "{format}");
        let account = |output: &Output| text(&output.stderr).lines().last().map(str::to_owned);
        assert_eq!(account(&replayed), account(&live), "{format}");
    }
}

/// The header of a block at an offset: where it ends, and its number of events. `None` if it is not whole.
fn block_at(bytes: &[u8], at: usize) -> Option<(usize, u32)> {
    let word = |place: usize| Some(u32::from_le_bytes(bytes.get(at + place..at + place + 4)?.try_into().ok()?));
    let end = at + 64 + (word(24)? as usize).next_multiple_of(8);
    (bytes.get(at..at + 4)? == b"TTRB" && end <= bytes.len()).then_some((end, word(48)?))
}

/// The ends of the whole blocks of a file, each with the number of events up to there.
fn whole_blocks(bytes: &[u8]) -> Vec<(usize, u64)> {
    let mut ends = vec![(64, 0)];
    while let Some((at, before)) = ends.last().copied()
        && let Some((end, events)) = block_at(bytes, at)
    {
        ends.push((end, before + u64::from(events)));
    }
    ends
}

/// More than the events that a recording has of tracetui itself, and of the COMMAND before its exec.
const OWN: u64 = 160;

/// What `print` and `info` must say of a file that was cut: every whole block, where it ends, and one line. The events.
fn cut_file_reads_back(name: &str, bytes: &[u8]) -> Vec<String> {
    let blocks = whole_blocks(bytes);
    let (end, events) = *blocks.last().expect("the file header");
    let printed = read(&["print", "--format", "json", name]);
    let said = text(&printed.stderr);
    assert_eq!(printed.status.code(), Some(0), "{said}");
    assert!(said.lines().count() == 1 && said.contains(&format!("ends early, at offset {end}:")), "{end}: {said}");
    let info = read(&["info", "--format", "json", name]);
    assert_eq!(info.status.code(), Some(0), "{}", text(&info.stderr));
    let info: Value = serde_json::from_slice(&info.stdout).expect("JSON");
    check_has(&info, json!({"complete": false, "ended_early_at": end as u64}));
    assert_eq!(info["blocks"].as_u64(), Some(blocks.len() as u64 - 1));
    // All events of the whole blocks, but those of tracetui itself and of the COMMAND before its exec.
    let lines: Vec<String> = text(&printed.stdout).lines().map(str::to_owned).collect();
    let delivered = lines.len() as u64;
    assert!((events.saturating_sub(OWN)..=events).contains(&delivered), "{end}: {delivered} of {events}");
    assert_eq!(info["account"]["delivered"].as_u64(), Some(delivered));
    lines
}

/// Opens files with numbers in their names, one after another, until it is stopped.
/// Bounded, whatever happens to the test. The shell bounds itself: timeout(1) leaves its child behind if a signal reaches it between
/// the fork and the note of the child's id.
fn load() -> Guarded {
    let work = "i=0; while ((SECONDS < 60)); do i=$((i+1)); : < /no/such-$i; done";
    let mut shell = Command::new("bash");
    shell.args(["-c", work]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Guarded(shell.spawn().expect("a shell"))
}

#[test]
fn a_recorder_that_is_killed_at_any_time_leaves_whole_blocks() {
    let Some(dir) = Dir::alone_as_root() else { return };
    let mut cut_in_a_block = 0;
    // While it starts, before the first block, in and between blocks.
    for number in 0..50u32 {
        // One for each: on a busy machine, all of them take longer than the time that a load is given.
        let _load = load();
        let file = dir.at(&format!("killed-{number}.ttr"));
        let name = file.as_str();
        let mut child = tracetui()
            .args(["record", "--comm", "bash", "-o", name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("tracetui runs");
        let wanted = u64::from(number % 5) * 10_000;
        let begun = Instant::now();
        while fs::metadata(name).map_or(0, |found| found.len()) < wanted && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_micros(500 + u64::from(number) * 37));
        }
        child.kill().expect("it runs");
        child.wait().expect("it ended");
        let bytes = fs::read(name).unwrap_or_default();
        if bytes.len() < 64 {
            // Killed before the file header was written.
            assert!(wanted == 0, "{wanted}");
            continue;
        }
        cut_in_a_block += u32::from(whole_blocks(&bytes).last().is_some_and(|(end, _)| *end < bytes.len()));
        let lines = cut_file_reads_back(name, &bytes);
        // A prefix of what happened: each file in the order in which it was opened, none left out.
        let parsed = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let mut before = None;
        for event in parsed {
            assert_ne!(event["kind"], "lost", "{event}");
            let path = event["path"].as_str().unwrap_or_default();
            let Some(at) = path.strip_prefix("/no/such-").and_then(|at| at.parse::<u64>().ok()) else { continue };
            assert!(before.is_none_or(|before| at == before + 1), "{before:?} {at}");
            before = Some(at);
        }
        assert!(wanted < 20_000 || before.is_some(), "{} lines", lines.len());
        fs::remove_file(name).expect("ours");
    }
    println!("killed 50 times, {cut_in_a_block} times in a block");
}

#[test]
fn a_recording_that_is_cut_anywhere_gives_a_prefix() {
    let dir = Dir::alone();
    let (file, cut) = (dir.at("whole.ttr"), dir.at("cut.ttr"));
    let (file, cut) = (file.as_str(), cut.as_str());
    let work = "for i in 1 2 3 4 5 6; do for j in 1 2 3 4 5; do cat /etc/hostname >/dev/null; done; sleep 0.35; done";
    let Some(_) = record_work(file, &[], work) else { return };
    let whole = fs::read(file).expect("the recording");
    let printed = text(&read(&["print", "--format", "json", file]).stdout);
    let blocks = whole_blocks(&whole);
    assert!(blocks.len() > 4 && blocks.last().is_some_and(|(end, _)| *end == whole.len()), "{blocks:?}");
    // The final state, an index block and the summary follow the frames: without only these two, the recording is complete.
    let complete = blocks[blocks.len() - 3].0;
    let borders = blocks.iter().flat_map(|(end, _)| [end - 1, *end, end + 1]);
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let anywhere = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % whole.len()
    });
    for length in borders.chain(anywhere.take(200)).filter(|length| (64..=whole.len()).contains(length)) {
        fs::write(cut, &whole[..length]).expect("room");
        if length >= complete {
            let done = read(&["print", "--format", "json", cut]);
            assert!(done.status.success() && text(&done.stdout) == printed, "{length}");
            continue;
        }
        let lines = cut_file_reads_back(cut, &whole[..length]);
        assert!(printed.starts_with(&(lines.join("\n") + if lines.is_empty() { "" } else { "\n" })), "{length}");
    }
    // Within the file header it is no recording.
    for length in [0, 1, 7, 8, 63] {
        fs::write(cut, &whole[..length]).expect("room");
        assert_eq!(read(&["print", cut]).status.code(), Some(1), "{length}");
        assert_eq!(read(&["info", cut]).status.code(), Some(1), "{length}");
    }
}

#[test]
fn a_recording_goes_on_on_a_mount_that_vanished() {
    let dir = Dir::alone();
    let place = dir.at("gone");
    let Some(mount) = Mount::new(&["-t", "tmpfs", "tmpfs"], place.clone()) else { return };
    let file = mount.at("gone.ttr");
    // The recorder keeps the file, which nobody can read afterwards; the COMMAND and the account are whole.
    let work = format!("umount -l {place}; for i in 1 2 3; do cat /etc/hostname >/dev/null; done; sleep 1.2; exit 7");
    let Some(done) = record(&file, &["--", "sh", "-c", &work], |_| {}) else { return };
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(7), "{said}");
    assert!(said.lines().last().is_some_and(|line| line.starts_with("account:")), "{said}");
    assert!(!said.contains("cannot write"), "{said}");
}

#[test]
fn what_a_disk_cannot_read_is_passed_over() {
    let dir = Dir::alone();
    let file = dir.at("whole.ttr");
    let work = "for i in 1 2 3; do for j in $(seq 1100); do cat /etc/hostname >/dev/null; done; sleep 1.2; done";
    // Without lookups, so that several blocks begin among the first pages.
    let Some(_) = record_work(&file, &["--kind", "exec,exit,open,bpf,tcp,file"], work) else { return };
    // A file system whose file has one of its blocks beyond the end of the device. Only the first blocks are in the inode.
    let image = dir.at("image");
    let blocks = whole_blocks(&fs::read(&file).expect("there"));
    // The rest of its stream, of 4 MiB of frames, cannot be read without it. Earlier blocks have events too, and later streams.
    let first = blocks.windows(2).find(|pair| pair[1].0 < 48 << 10 && pair[0].1 > OWN);
    let page = first.map(|pair| (pair[0].0 + pair[1].0) / 2 / 4096).expect("blocks");
    let run = |program: &str, args: &[&str]| {
        let done = Command::new(program).args(args).stdin(Stdio::null()).output();
        done.is_ok_and(|done| done.status.success())
    };
    let made = run("truncate", &["-s", "16M", &image])
        && run(
            "mkfs.ext4",
            &["-q", "-F", "-b", "4096", "-O", "^extent,^64bit,^flex_bg,^metadata_csum,^has_journal", &image],
        )
        && run("debugfs", &["-w", "-R", &format!("write {file} a.ttr"), &image])
        && run("debugfs", &["-w", "-R", &format!("set_inode_field /a.ttr block[{page}] 4090"), &image]);
    if !made {
        return cannot_run("an image of ext4 cannot be made");
    }
    let Some(mount) = Mount::new(&["-o", "loop,ro", &image], dir.at("mount")) else { return };
    assert!(run("truncate", &["-s", "15M", &image]));
    let bad = mount.at("a.ttr");
    assert_eq!(fs::read(&bad).err().and_then(|error| error.raw_os_error()), Some(libc::EIO));
    let account = |output: &Output| {
        let last = text(&output.stderr).lines().last().map(str::to_owned).unwrap_or_default();
        let value: Value = serde_json::from_str(&last).expect("JSON");
        let count = |name: &str| value["account"][name].as_u64().expect("a count");
        (count("seen"), count("delivered"), count("filtered"), count("lost"))
    };
    let (whole, printed) = (read(&["print", &file, "--format", "json"]), read(&["print", &bad, "--format", "json"]));
    let (seen, delivered, filtered, lost) = account(&printed);
    assert_eq!((seen, delivered + filtered + lost), (account(&whole).0, seen));
    assert!(lost > 0 && delivered > 0 && printed.status.code() == Some(1), "{lost} {delivered}");
    let said = text(&printed.stderr);
    // The page is read as zeros.
    let place = ": bad checksum";
    assert!(said.contains(place), "{said}");
    let info = read(&["info", &bad]);
    assert!(info.status.success() && text(&info.stderr).contains(place), "{}", text(&info.stderr));
    assert!(text(&info.stdout).contains("\ndamaged   yes"), "{}", text(&info.stdout));
    let shown = typing(b"q", &["replay", &bad]);
    assert!(shown.contains(place) && !shown.contains(&format!("cannot read {bad}")), "{shown}");
}

#[test]
fn a_recording_is_not_larger_than_it_may_be() {
    let dir = Dir::alone();
    let _load = load();
    for (number, size) in [150u64 << 10, 300 << 10].into_iter().enumerate() {
        let file = dir.at(&format!("{number}.ttr"));
        let most = size.to_string();
        let Some(done) = record(&file, &["--max-size", &most, "--duration", "50s"], |_| {}) else { return };
        let said = text(&done.stderr);
        assert!(done.status.success() && said.contains("ended: --max-size reached\n"), "{said}");
        let bytes = fs::read(&file).expect("the recording");
        // Only what was queued, and the final state, may be beyond the size.
        let blocks = whole_blocks(&bytes);
        let last = blocks.windows(2).rev().find(|pair| pair[1].1 > pair[0].1).expect("a block of events")[0].0;
        assert!(
            last as u64 <= size + (128 << 10) && bytes.len() as u64 > size / 2,
            "{last}, {} of {size}",
            bytes.len()
        );
        let printed = read(&["print", &file]);
        assert_eq!(text(&printed.stderr).lines().last(), said.lines().last());
        assert!(printed.status.success() && text(&printed.stdout).lines().count() > 1000, "{said}");
    }
}

#[test]
fn a_command_that_an_option_ends_is_no_failure() {
    let dir = Dir::alone();
    let args = ["--duration", "500ms", "--", "sleep", "60"];
    let Some(done) = record(&dir.at("a.ttr"), &args, |_| {}) else { return };
    let said = text(&done.stderr);
    assert!(done.status.success() && said.contains("ended: --duration reached\n"), "{said}");
}

#[test]
fn the_dashboard_ends_at_once_if_its_command_cannot_be_run() {
    alone();
    let begun = Instant::now();
    let Some(shown) = may_trace().then(|| typing(b"", &["--", "no-such-command-anywhere"])) else { return };
    assert!(begun.elapsed() < Duration::from_secs(25), "it was stopped");
    assert!(shown.contains("cannot run no-such-command-anywhere: No such file or directory"), "{shown}");
}

#[test]
fn of_a_command_that_cannot_be_run_no_file_is_left() {
    let dir = Dir::alone();
    let (file, text_file) = (dir.at("a.ttr"), dir.file("text"));
    for (program, status) in [("/no/such", 127), (text_file.as_str(), 126)] {
        for args in [&["record", "-o"][..], &["record", "--rotate", "64KiB,2", "-o"], &["print", "-w"]] {
            let Some(done) = traced(&[args, &[&file, "--", program]].concat(), |_| {}) else { return };
            let said = text(&done.stderr);
            assert_eq!(done.status.code(), Some(status), "{said}");
            assert!(said.contains(": removed: nothing was recorded\n"), "{said}");
            let left: Vec<_> =
                fs::read_dir(dir.path()).expect("there").map(|entry| entry.expect("readable").path()).collect();
            assert_eq!(left, [Path::new(&text_file)], "{said}");
        }
    }
    let shown = typing(b"q", &["-w", &file, "--", "/no/such"]);
    assert!(shown.contains(": removed: nothing was recorded") && !fs::exists(&file).expect("ours"), "{shown}");
    // One that was there before stays, as a recording of nothing.
    fs::write(&file, "before").expect("room");
    let done = record(&file, &["--force", "--", "/no/such"], |_| {}).expect("it traced before");
    assert_eq!(done.status.code(), Some(127), "{}", text(&done.stderr));
    let info = text(&read(&["info", &file]).stdout);
    assert!(info.contains("\ncomplete  yes\n"), "{info}");
}

#[test]
fn what_cannot_be_read_is_said() {
    let dir = Dir::new();
    // A directory is opened, and then cannot be read.
    for args in [&["print", dir.path().to_str().expect("UTF-8")][..], &["info", dir.path().to_str().expect("UTF-8")]] {
        let done = read(args);
        let said = text(&done.stderr);
        assert!(done.status.code() == Some(1) && said.lines().count() == 1, "{args:?}: {said}");
        assert!(said.contains("Is a directory"), "{args:?}: {said}");
    }
}

#[test]
fn a_full_disk_ends_the_recording_which_counts_what_it_has_and_not_the_print() {
    let dir = Dir::alone();
    let Some(mount) = Mount::new(&["-t", "tmpfs", "-o", "size=64k", "tmpfs"], dir.at("small")) else { return };
    let file = mount.at("full.ttr");
    let storm = "for i in $(seq 1500); do cat /etc/hostname /etc/passwd /etc/group; done >/dev/null; sleep 1; true";
    let name = file.as_str();
    let args = ["print", "--format", "json", "-w", name, "--", "sh", "-c", storm];
    let Some(done) = traced(&args, |_| {}) else { return };
    let read_back = read(&["print", name]);
    assert_eq!(done.status.code(), Some(1), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("cannot write"), "{}", text(&done.stderr));
    let events = text(&done.stdout).lines().filter(|line| line.contains(r#""comm":"cat""#)).count();
    assert!(events > 1500 * 3, "{events}");
    assert!(read_back.status.success(), "{}", text(&read_back.stderr));
    // The account is that of the file.
    fs::remove_file(&file).expect("ours");
    let storm = "while :; do cat /etc/hostname /etc/passwd /etc/group; done >/dev/null";
    for part in [&[][..], &["--around", "path=/etc/group", "--before", "1s"]] {
        let args = [&["--kind", "exec,exit,open"], part, &["--", "sh", "-c", storm]].concat();
        let Some(done) = record(&file, &args, |_| {}) else { return };
        check_account_of_cut(&file, &done);
        fs::remove_file(&file).expect("ours");
    }
}

/// The account of a recording that failed has the events that can be read.
fn check_account_of_cut(file: &str, done: &Output) {
    let (said, read_back) = (text(&done.stderr), read(&["print", "--format", "json", file]));
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(read_back.status.success(), "{}", text(&read_back.stderr));
    let account: Vec<&str> = said.lines().last().expect("the account").split_whitespace().collect();
    let after = |word: &str| {
        let at = account.iter().position(|this| *this == word).unwrap_or_else(|| panic!("{word}: {said}"));
        account[at + 1].trim_end_matches(')').parse::<usize>().unwrap_or_else(|_| panic!("{word}: {said}"))
    };
    let shown = text(&read_back.stdout);
    for kind in ["exec", "exit", "open"] {
        let begins = format!(r#"{{"kind":"{kind}""#);
        let word = if kind == "exec" { "(exec" } else { kind };
        assert_eq!(after(word), shown.lines().filter(|line| line.starts_with(&begins)).count(), "{kind}: {said}");
    }
    assert_eq!(after("delivered"), shown.lines().count(), "{said}");
    assert_eq!(after("seen"), after("delivered") + after("filtered") + after("lost"), "{said}");
    assert!(after("delivered") > 100 && after("lost") > 0, "{said}");
    assert!(said.replace(',', "").contains(&format!("\n{} events were not recorded\n", after("lost"))), "{said}");
}

pub(crate) fn sudo(command: &mut Command) {
    command.env("SUDO_UID", "1234").env("SUDO_GID", "1234").env("SUDO_USER", "somebody");
}

#[test]
fn the_file_is_the_invoking_users() {
    let dir = Dir::alone();
    let home = dir.dir("home");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    chown(&home, Some(1234), Some(1234)).expect("root");
    let file = format!("{home}/a.ttr");
    let name = file.as_str();
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
