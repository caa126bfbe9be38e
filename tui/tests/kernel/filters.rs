//! Filters: a run with a filter shows exactly those events of an unfiltered run that match.

use crate::prelude::*;
use crate::sys::{NOBODY, Status};

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

    /// Runs them one after the other. If they ran at once, the two tracers might see them in different orders.
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
    assert_eq!(cast_events(&all, &pids, |_| true).len(), 6, "two opens and an exit each");
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

#[test]
fn pid_lets_only_that_process_through() {
    let pid = |e: &Value, of: &Value| e["pid"] == *of;
    let first: std::cell::OnceCell<Value> = std::cell::OnceCell::new();
    // All shown events are of one process, which is alpha: its events after the start have its name.
    check_filter(&["--pid", "{alpha}"], |e| {
        pid(e, first.get_or_init(|| e["pid"].clone())) && is(e, "comm", &["tt-alpha"])
    });
}

#[test]
fn several_pids_are_either() {
    check_filter(&["--pid", "{alpha},{beta}"], |e| is(e, "comm", &["tt-alpha", "tt-beta"]));
    check_filter(&["--pid", "{alpha}", "--pid", "{beta}"], |e| is(e, "comm", &["tt-alpha", "tt-beta"]));
}

#[test]
fn comm_is_a_glob_on_the_whole_name() {
    check_filter(&["--comm", "tt-al*"], |e| is(e, "comm", &["tt-alpha"]));
    check_filter(&["--comm", "tt-?eta,nothing"], |e| is(e, "comm", &["tt-beta"]));
    check_filter(&["--comm", "*-[ab]*ta"], |e| is(e, "comm", &["tt-beta"]));
    check_filter(&["--comm", "tt"], |_| false);
}

#[test]
fn a_process_has_the_name_of_its_leader_or_of_its_executable() {
    check_filter(&["--process", "tt-al*"], |e| is(e, "process", &["tt-alpha"]));
    check_filter(&["--filter", "process=tt-beta,nothing"], |e| is(e, "process", &["tt-beta"]));
    check_filter(&["--process", "tt"], |_| false);
    // A process that is older than the trace, and a thread that names itself.
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
fn uid_takes_a_number_or_a_name() {
    let nobodys = |e: &Value| e["uid"] == NOBODY;
    check_filter(&["--uid", "nobody"], nobodys);
    check_filter(&["--uid", "65534"], nobodys);
}

#[test]
fn kind_is_a_list() {
    check_filter(&["--kind", "open"], |e| is(e, "kind", &["open"]));
    check_filter(&["--kind", "exit,exec"], |e| is(e, "kind", &["exit", "exec"]));
}

#[test]
fn failed_is_an_error_a_signal_or_a_code() {
    check_filter(&["--failed"], failed);
}

#[test]
fn expressions_hold_for_what_they_show() {
    let cast = |e: &Value| is(e, "comm", &["tt-alpha", "tt-beta"]);
    let missing = |e: &Value| e["path"].as_str().is_some_and(|path| path.ends_with("missing"));
    check_filter(&["--filter", "err=ENOENT"], |e| is(e, "err", &["ENOENT"]));
    check_filter(&["--filter", "comm=tt-* path~missing$"], |e| cast(e) && missing(e));
    check_filter(&["--filter", "kind=exit dur>1ns exit_code=3"], |e| e["exit_code"] == 3);
    check_filter(&["--filter", "kind=exit dur>1h"], |e| e["dur_ns"].as_u64().is_some_and(|ns| ns > 3_600_000_000_000));
    check_filter(&["--filter", "not comm=tt-alpha comm~^tt-"], |e| is(e, "comm", &["tt-beta"]));
    check_filter(&["--filter", "err"], failed);
    check_filter(&["--filter", "name = tt-alpha,nothing && kind != exit"], |e| {
        is(e, "comm", &["tt-alpha"]) && !is(e, "kind", &["exit"])
    });
    check_filter(&["--filter", "(err=ENOENT or kind=exit) uid=nobody"], |e| {
        e["uid"] == NOBODY && (is(e, "err", &["ENOENT"]) || is(e, "kind", &["exit"]))
    });
}

#[test]
fn different_options_must_all_hold() {
    check_filter(&["--comm", "tt-*", "--uid", "nobody", "--failed"], |e| {
        e["uid"] == NOBODY && failed(e) && is(e, "comm", &["tt-beta"])
    });
    check_filter(&["--pid", "{alpha}", "--kind", "open", "--filter", "err=ENOENT"], |e| {
        is(e, "comm", &["tt-alpha"]) && is(e, "err", &["ENOENT"]) && is(e, "kind", &["open"])
    });
    check_filter(&["--pid", "{alpha}", "--uid", "nobody"], |_| false);
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
