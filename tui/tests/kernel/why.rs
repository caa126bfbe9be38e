//! `print --why`: why opens and execs failed.

use crate::sys::{self, Actor};
use crate::traced::{Dir, Traced, alone, n};
use serde_json::Value;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

#[test]
fn failures_are_explained_beside_their_events() {
    let _alone = alone();
    let dir = Dir::new();
    dir.file("stdio.h");
    let (missing, plain) = (dir.at("stdoi.h"), dir.file("plain"));
    let long = format!("{}/{}", dir.at(""), "x".repeat(300));
    let Some(traced) = Traced::start(&["--kind", "open,exec,exit", "--why"]) else { return };
    let (to_open, to_exec, too_long, found) = (missing.clone(), plain.clone(), long.clone(), plain.clone());
    let actor = Actor::new(move || {
        let opened = sys::open_path(&to_open);
        let executed = Command::new(to_exec).exec().raw_os_error().map_or(0, i64::from);
        let numbers = vec![opened, executed, sys::open_path(&too_long), sys::open_path(&found)];
        // So that it is looked at while it lives.
        std::thread::sleep(Duration::from_millis(500));
        numbers
    });
    let pid = actor.pid;
    let numbers = actor.run();
    let run = traced.stop();
    run.check();
    assert!(
        numbers[0] < 0 && numbers[1] == i64::from(libc::EACCES) && numbers[2] < 0 && numbers[3] >= 0,
        "{numbers:?}"
    );
    let why = run.open(pid, &missing)["why"].clone();
    assert_eq!((&why["cause"], &why["near"]), (&"missing".into(), &"stdio.h".into()), "{why}");
    assert_eq!(why["component"], missing.as_str(), "{why}");
    assert!(n(&why["checked_after_ns"]) > 0 && why["proven"].is_null(), "{why}");
    let why = run.one("exec", pid, |event| event["filename"] == plain.as_str())["why"].clone();
    assert_eq!((&why["cause"], &why["component"]), (&"not_executable".into(), &plain.as_str().into()), "{why}");
    let why = run.open(pid, &long)["why"].clone();
    assert_eq!((&why["cause"], &why["proven"]), (&"too_long".into(), &true.into()), "{why}");
    assert_eq!(run.open(pid, &plain)["why"], Value::Null);
    assert!(run.kind_of("exit", pid).iter().all(|event| event.get("why").is_none()));
}
