//! Floods by one user, during which no event of others may be lost. Half of the ring is reserved for small records, and
//! large arguments cannot occupy it.

use crate::prelude::*;
use std::process::ChildStdout;
use std::sync::atomic::AtomicUsize;

const LOOPS: usize = 12;
const OURS: usize = 40;
/// The maximum size of an argument in bytes (`MAX_ARG_STRLEN`), including its NUL.
const LONGEST: usize = 128 << 10;

/// More than the fields of an exec need without its arguments, in bytes.
const REST: usize = 64 << 10;

/// Runs `/bin/true` as the user `nobody` with these arguments until the time is over. Returns the number of runs, and
/// the arguments of the programs that root ran.
fn flood(args: &[String]) -> (usize, Vec<String>) {
    let (over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ours = std::thread::scope(|scope| {
        for _ in 0..LOOPS {
            scope.spawn(|| {
                let mut program = Command::new("/bin/true");
                program.env_clear().args(args).uid(NOBODY).stdin(Stdio::null());
                while !over.load(Ordering::Relaxed) {
                    assert!(program.status().expect("it starts").success());
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let pause = Duration::from_secs(if emulated() { 20 } else { 8 }) / OURS as u32;
        let ours = (0..OURS).map(|number| {
            let began = Instant::now();
            let own = format!("tracetui-flood-{number}");
            assert!(Command::new("/bin/true").arg(&own).status().expect("it starts").success());
            std::thread::sleep(pause.saturating_sub(began.elapsed()));
            own
        });
        let ours = ours.collect();
        over.store(true, Ordering::Relaxed);
        ours
    });
    (count.into_inner(), ours)
}

/// The results of reading the lines. Lines of programs of the user `nobody` are only counted.
#[derive(Default)]
struct Found {
    ours: Vec<Value>,
    execs: u64,
    cut: u64,
}

/// Reads lines as they arrive, and keeps the execs of `tracetui-flood-N`. A line of 2 MiB is checked and dropped.
fn read(stdout: ChildStdout) -> Found {
    let mut found = Found::default();
    let mut reader = BufReader::with_capacity(1 << 20, stdout);
    let mut line = Vec::new();
    while {
        line.clear();
        reader.by_ref().take(64 << 20).read_until(b'\n', &mut line).expect("the pipe") > 0
    } {
        let has = |text: &str, bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        let start = &line[..line.len().min(16)];
        if !start.starts_with(b"{\"kind\":\"exec\"") {
            continue;
        }
        found.execs += 1;
        // The fields after the arguments, with the names of variables, are not long.
        found.cut += u64::from(has("\"cut\":true", &line[line.len().saturating_sub(REST)..]));
        if line.len() < REST && has("tracetui-flood-", &line) {
            found.ours.push(serde_json::from_slice(&line).expect("JSON"));
        }
    }
    found
}

/// Runs a flood, and checks that every small event was delivered.
fn nothing_small_is_pushed_out(args: &[String]) {
    let args_of = |kinds: &str| vec!["--kind".to_owned(), kinds.to_owned()];
    let options = args_of("exec,exit");
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let Some(mut traced) = Traced::start_into(Stdio::piped(), &options) else { return };
    let stdout = traced.take_stdout();
    let reader = std::thread::spawn(move || read(stdout));
    let (count, ours) = flood(args);
    let run = traced.stop();
    let found = reader.join().expect("no panic");
    let account = run.account();
    println!("{count} of nobody's; {} execs read, {} cut: {account}", found.execs, found.cut);
    for own in &ours {
        let shown = found.ours.iter().filter(|event| event["argv"][1] == own.as_str()).count();
        assert_eq!(shown, 1, "{own} is there: {account}");
    }
    for kind in KINDS {
        assert_eq!(n(&account["kinds"][kind]["lost"]["ring"]), 0, "{kind}: {account}");
    }
    assert_eq!(n(&account["bookkeeping_lost"]), 0, "{account}");
    assert_eq!(account["discrepancies"], Value::Array(vec![]), "{account}");
    assert_eq!(n(&account["cut"]), found.cut, "what is cut says so: {account}");
}

#[test]
fn megabytes_of_arguments_push_out_no_event() {
    let argument = "x".repeat(LONGEST - 1);
    nothing_small_is_pushed_out(&vec![argument; 15]);
}

#[test]
fn many_execs_of_some_kilobytes_push_out_no_event() {
    let argument = "y".repeat(7 << 10);
    nothing_small_is_pushed_out(&[argument]);
}
