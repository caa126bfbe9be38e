//! `print --why`: why opens and execs failed.

use crate::prelude::*;

#[test]
fn failures_are_explained_beside_their_events() {
    let dir = Dir::alone();
    dir.file("stdio.h");
    let (missing, plain, gone) = (dir.at("stdoi.h"), dir.file("plain"), dir.at("gone"));
    let long = format!("{}/{}", dir.at(""), "x".repeat(300));
    let Some(traced) = Traced::start(&["--kind", "open,exec,exit", "--why"]) else { return };
    let actor = Actor::new(|| {
        let opened = sys::open_path(&missing);
        let executed = Command::new(&plain).exec().raw_os_error().map_or(0, i64::from);
        let mut numbers = vec![opened, executed, sys::open_path(&long), sys::open_path(&plain)];
        let removed = fs::create_dir(&gone).and_then(|()| std::env::set_current_dir(&gone));
        removed.and_then(|()| fs::remove_dir(&gone)).expect("room");
        numbers.push(sys::open_path("a.conf"));
        // So that it is looked at while it lives.
        std::thread::sleep(Duration::from_millis(500));
        numbers
    });
    let pid = actor.pid;
    let numbers = actor.run();
    let run = traced.stop_and_check();
    assert!(numbers[0] < 0 && numbers[2] < 0 && numbers[3] >= 0, "{numbers:?}");
    assert_eq!(numbers[1], i64::from(libc::EACCES));

    let why = run.open(pid, &missing)["why"].clone();
    assert_eq!((&why["cause"], &why["near"]), (&"missing".into(), &"stdio.h".into()), "{why}");
    assert_eq!(why["component"], missing.as_str(), "{why}");
    assert!(n(&why["checked_after_ns"]) > 0 && why["proven"].is_null(), "{why}");
    let why = run.one("exec", pid, |event| event["filename"] == plain.as_str())["why"].clone();
    assert_eq!((&why["cause"], &why["component"]), (&"not_executable".into(), &plain.as_str().into()), "{why}");
    let why = run.open(pid, &long)["why"].clone();
    assert_eq!((&why["cause"], &why["proven"]), (&"too_long".into(), &true.into()), "{why}");
    let why = run.open(pid, "a.conf")["why"].clone();
    assert_eq!((&why["text"], &why["proven"]), (&"the working directory was deleted".into(), &true.into()), "{why}");
    assert_eq!(run.open(pid, &plain)["why"], Value::Null);
    assert!(run.kind_of("exit", pid).iter().all(|event| event.get("why").is_none()));
}

#[test]
fn the_directory_where_a_process_started_is_not_taken_for_its_own() {
    let (start, dir) = (Dir::new(), Dir::new());
    start.file("app.conf");
    let Some(traced) = Traced::start(&["--kind", "open,exec,exit", "--why"]) else { return };
    // Both are missing where they are looked for. By the time of the answer the process has ended, or is there still.
    let script = r#"cd "$1" && exec 2>/dev/null; : < ap.conf; : < app.conf"#;
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script, "sh"]).arg(dir.path()).current_dir(start.path());
    let mut child = shell.spawn().expect("a shell");
    let pid = child.id().cast_signed();
    let status = child.wait().expect("ours");
    let run = traced.stop_and_check();
    assert!(!status.success());
    // A shell ends at the first one that it cannot open.
    let why = run.open(pid, "ap.conf")["why"].clone();
    let (text, component) = (why["text"].as_str().unwrap_or_default(), why["component"].as_str().unwrap_or_default());
    let known = Path::new(component).starts_with(dir.path());
    let unknown = why["cause"] == "unknown" && text.ends_with(&format!("(it started in {})", start.path().display()));
    assert!(known || unknown, "{why}");
    assert_eq!(why["near"], Value::Null, "{why}");
}
