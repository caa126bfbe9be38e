//! Filters: a run with a filter shows exactly those events of an unfiltered run that match.

use crate::prelude::*;

/// Two processes that do the same with different names and users, and end differently.
struct Cast {
    dir: Dir,
    /// `tt-alpha`, root, exits with 0.
    alpha: Actor,
    /// `tt-beta`, nobody, exits with 3.
    beta: Actor,
}

impl Cast {
    fn new() -> Cast {
        let dir = Dir::new();
        dir.file("there");
        let (alpha_dir, beta_dir) = (dir.at(""), dir.at(""));
        let alpha = Actor::new(move || act(&alpha_dir, b"tt-alpha", 0, 0));
        let beta = Actor::new(move || act(&beta_dir, b"tt-beta", NOBODY, 3));
        Cast { dir, alpha, beta }
    }

    fn pids(&self) -> [i32; 2] {
        [self.alpha.pid, self.beta.pid]
    }

    fn act(mut self) -> Dir {
        self.alpha.go();
        assert_eq!(self.alpha.end().0.code(), Some(0));
        self.beta.go();
        assert_eq!(self.beta.end().0.code(), Some(3));
        self.dir
    }
}

fn act(dir: &str, comm: &[u8], uid: u32, code: i32) -> Vec<i64> {
    sys::set_comm(comm);
    sys::set_user(uid.into(), uid.into(), uid.into());
    sys::close(sys::open_path(&format!("{dir}there")));
    sys::open_path(&format!("{dir}missing"));
    if code != 0 {
        sys::exit(code);
    }
    vec![]
}

/// The fields that identify an event in two runs. Times differ between the runs.
fn essence(event: &Value) -> Value {
    let keys = ["kind", "pid", "tid", "comm", "uid", "path", "abs_path", "ret", "exit_code", "signal", "start_ns"];
    keys.iter().map(|key| event[key].clone()).collect()
}

fn cast_events(run: &Run, pids: &[i32], holds: impl Fn(&Value) -> bool) -> Vec<Value> {
    let of_cast = |e: &Value| pids.iter().any(|pid| e["pid"] == *pid);
    run.lines().filter(|e| of_cast(e) && holds(e)).map(|e| essence(&e)).collect()
}

/// Traces without a filter and with one at once. In `args`, `{alpha}` and `{beta}` stand for the pids of the cast.
fn check_filter(args: &[&str], holds: impl Fn(&Value) -> bool) {
    let cast = Cast::new();
    let pids = cast.pids();
    let fill = |arg: &&str| arg.replace("{alpha}", &pids[0].to_string()).replace("{beta}", &pids[1].to_string());
    let args: Vec<String> = args.iter().map(fill).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some(all) = Traced::start(&[]) else { return };
    let Some(some) = Traced::start(&args) else { return };
    let _dir = cast.act();
    let (some, all) = (some.stop(), all.stop());
    let account = some.check();
    all.check();
    for event in some.lines().filter(|e| e["kind"] != "lost") {
        assert!(holds(&event), "{args:?} shows {event}");
    }
    let (expected, shown) = (cast_events(&all, &pids, &holds), cast_events(&some, &pids, |_| true));
    assert_eq!(cast_events(&all, &pids, |_| true).len(), 6, "two opens and an exit each: {args:?}: {}", all.account());
    assert_eq!(shown, expected, "{args:?}");
    // Events of kinds that are not requested are not counted as seen.
    let looked_at = |e: &Value| n(&account["kinds"][e["kind"].as_str().expect("a kind")]["seen"]) > 0;
    let hidden = cast_events(&all, &pids, |e| looked_at(e) && !holds(e)).len();
    assert!(n(&account["filtered"]) >= hidden as u64, "{args:?}: {account}");
    assert_eq!(n(&account["lost"]), 0, "{args:?}: {account}");
}

fn is(event: &Value, key: &str, values: &[&str]) -> bool {
    event[key].as_str().is_some_and(|value| values.contains(&value))
}

fn failed(event: &Value) -> bool {
    event["ret"].as_i64().is_some_and(|ret| ret < 0)
        || event["kind"] == "exit" && (event["exit_code"] != 0 || event["signal"] != Value::Null)
}

/// Arguments, and whether the events that they show have what they ask for.
type Row = (&'static [&'static str], fn(&Value) -> bool);

fn of_alpha(event: &Value) -> bool {
    is(event, "comm", &["tt-alpha"])
}

fn of_beta(event: &Value) -> bool {
    is(event, "comm", &["tt-beta"])
}

fn of_cast(event: &Value) -> bool {
    of_alpha(event) || of_beta(event)
}

fn never(_: &Value) -> bool {
    false
}

/// What the kernel decides. All events of alpha after its start have its name.
#[test]
fn pid_lets_only_that_process_through_and_failed_an_error_a_signal_or_a_code() {
    let rows: [Row; 2] = [(&["--pid", "{alpha}"], of_alpha), (&["--failed"], failed)];
    rows.into_iter().for_each(|(args, holds)| check_filter(args, holds));
}

#[test]
fn options_and_expressions_show_what_they_ask_for() {
    let rows: [Row; 24] = [
        (&["--pid", "{alpha},{beta}"], of_cast),
        (&["--pid", "{alpha}", "--pid", "{beta}"], of_cast),
        // A glob on the whole name.
        (&["--comm", "tt-al*"], of_alpha),
        (&["--comm", "tt-?eta,nothing"], of_beta),
        (&["--comm", "*-[ab]*ta"], of_beta),
        (&["--comm", "tt"], never),
        (&["--process", "tt-al*"], |e| is(e, "process", &["tt-alpha"])),
        (&["--filter", "process=tt-beta,nothing"], |e| is(e, "process", &["tt-beta"])),
        (&["--process", "tt"], never),
        (&["--uid", "nobody"], |e| e["uid"] == NOBODY),
        (&["--uid", "65534"], |e| e["uid"] == NOBODY),
        (&["--kind", "open"], |e| is(e, "kind", &["open"])),
        (&["--kind", "exit,exec"], |e| is(e, "kind", &["exit", "exec"])),
        (&["--filter", "err=ENOENT"], |e| is(e, "err", &["ENOENT"])),
        (&["--filter", "comm=tt-* path~missing$"], |e| {
            of_cast(e) && e["path"].as_str().is_some_and(|path| path.ends_with("missing"))
        }),
        (&["--filter", "kind=exit dur>1ns exit_code=3"], |e| e["exit_code"] == 3),
        (&["--filter", "kind=exit dur>1h"], |e| e["dur_ns"].as_u64() > Some(3_600_000_000_000)),
        (&["--filter", "not comm=tt-alpha comm~^tt-"], of_beta),
        (&["--filter", "err"], failed),
        (&["--filter", "name = tt-alpha,nothing && kind != exit"], |e| of_alpha(e) && !is(e, "kind", &["exit"])),
        (&["--filter", "(err=ENOENT or kind=exit) uid=nobody"], |e| {
            e["uid"] == NOBODY && (is(e, "err", &["ENOENT"]) || is(e, "kind", &["exit"]))
        }),
        // Different options must all hold.
        (&["--comm", "tt-*", "--uid", "nobody", "--failed"], |e| e["uid"] == NOBODY && failed(e) && of_beta(e)),
        (&["--pid", "{alpha}", "--kind", "open", "--filter", "err=ENOENT"], |e| {
            of_alpha(e) && is(e, "err", &["ENOENT"]) && is(e, "kind", &["open"])
        }),
        (&["--pid", "{alpha}", "--uid", "nobody"], never),
    ];
    rows.into_iter().for_each(|(args, holds)| check_filter(args, holds));
}

/// A process that is older than the trace, and a thread that names itself.
#[test]
fn a_process_has_the_name_of_its_leader_or_of_its_executable() {
    let mut old = Actor::new(|| {
        let open = || sys::open_path("/nowhere/thread");
        let thread = std::thread::Builder::new().name("tt-worker".to_owned()).spawn(open).expect("a thread");
        vec![thread.join().expect("no panic"), sys::open_path("/nowhere/leader")]
    });
    let exe = std::env::current_exe().expect("a program");
    let name = exe.file_name().and_then(|name| name.to_str()).expect("text");
    let Some(traced) = Traced::start(&["--process", name, "--filter", "path~^/nowhere/"]) else { return };
    let pid = old.pid;
    old.go();
    old.end();
    let run = traced.stop_and_check();
    assert_eq!(run.open(pid, "/nowhere/thread")["comm"], "tt-worker");
    run.open(pid, "/nowhere/leader");
}

#[test]
fn a_bad_filter_names_the_place() {
    for bad in ["pid:3", "comm=", "(err", "nosuchfield=3", "path~("] {
        let output = tracetui().args(["print", "--filter", bad]).output().expect("tracetui starts");
        assert_eq!(output.status.code(), Some(2), "{bad}");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        let is_caret = |line: &str| !line.is_empty() && line.trim().trim_matches('^').is_empty();
        assert!(said.lines().any(is_caret), "a caret under the place: {said}");
    }
}

#[test]
fn the_status_of_a_filtered_process_is_not_mistaken() {
    // The filtered process has a child. Only the events of the process itself are shown.
    let mut parent = Actor::new(|| {
        let child = Actor::new(|| vec![sys::open_path("/nowhere/child")]);
        let pid = child.pid;
        assert_eq!(child.run(), [-i64::from(libc::ENOENT)]);
        vec![pid.into(), sys::open_path("/nowhere/parent")]
    });
    let pid = parent.pid;
    let Some(traced) = Traced::start(&["--pid", &pid.to_string()]) else { return };
    parent.go();
    let (status, numbers) = parent.end();
    assert_eq!(status, Status(0));
    let run = traced.stop_and_check();
    run.open(pid, "/nowhere/parent");
    assert_eq!(run.of(numbers[0] as i32), Vec::<Value>::new(), "--pid is one process, not its tree");
}
