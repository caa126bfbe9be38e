//! The environment of new programs, compared with /proc/PID/environ of the programs that wait.

use crate::recording::{read, record};
use crate::stdio::{is_sleep, wait_for};
use crate::sys;
use crate::traced::{Dir, Run, Traced, alone};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command};

fn execed(run: &Run, pid: i32) -> Value {
    run.one("exec", pid, |event| event["ret"] == 0)["env"].clone()
}

fn texts(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("a list: {list}"));
    list.iter().map(|text| text.as_str().expect("text").to_owned()).collect()
}

/// Starts sleep(1) with an environment, and waits until it runs. Returns its environment as procfs shows it.
fn sleeper(environment: &[(String, String)]) -> (Child, BTreeSet<String>) {
    let mut command = Command::new("sleep");
    let child = command.arg("1000").env_clear().envs(environment.iter().cloned()).spawn().expect("sleep");
    let pid = child.id() as i32;
    wait_for(|| is_sleep(pid).then_some(()));
    let shown = fs::read(format!("/proc/{pid}/environ")).expect("it waits");
    let shown = String::from_utf8(shown).expect("UTF-8");
    (child, shown.split('\0').filter(|variable| !variable.is_empty()).map(str::to_owned).collect())
}

#[test]
fn environments_are_those_of_procfs() {
    let _alone = alone();
    let variable = |name: String, length: usize| (name, "v".repeat(length));
    let mut cases = vec![
        vec![],
        vec![variable("A".into(), 0)],
        // One variable in several continuations, and one that ends where a continuation does.
        vec![variable("LONG".into(), 100_000), variable("B".into(), 3)],
        vec![variable("EDGE".into(), (16 << 10) - 6), variable("C".into(), 1)],
        (0..3000).map(|number| variable(format!("NAME_{number}"), number % 50)).collect(),
    ];
    cases.extend((1..100).map(|number| (0..number % 7).map(|at| variable(format!("N{at}"), number * at)).collect()));
    let Some(traced) = Traced::start(&["--kind", "exec", "--env", "all"]) else { return };
    let mut all: Vec<_> = cases.iter().map(|case| sleeper(case)).collect();
    for (child, _) in &mut all {
        sys::kill(child.id() as i32, libc::SIGKILL);
        child.wait().expect("it ends");
    }
    let run = traced.stop();
    run.check();
    for (child, shown) in &all {
        let env = execed(&run, child.id() as i32);
        assert_eq!((texts(&env["set"]) == *shown, &env["count"]), (true, &json!(shown.len())), "{}", shown.len());
        // What the tests themselves got was before the trace.
        assert_eq!((&env["unset"], &env["unset_why"]), (&Value::Null, &json!("not_collected")));
    }
}

#[test]
fn a_change_is_against_the_program_before_or_the_parent() {
    let _alone = alone();
    let dir = Dir::new();
    let script = dir.at("script");
    // By its path, because a shell may run programs itself.
    let lines = "export A=1 B=2\n/bin/true 1\nA=3 /bin/true 1\nunset B\nexec env -u PATH C=4 /bin/true 2\n";
    fs::write(&script, lines).expect("room");
    let Some(traced) = Traced::start(&["--kind", "exec", "--env", "diff", "--filter", "ret=0"]) else { return };
    let done =
        Command::new("sh").arg(&script).env_clear().envs([("PATH", "/usr/bin:/bin"), ("API_TOKEN", "t")]).output();
    assert!(done.is_ok_and(|done| done.status.success()));
    let run = traced.stop();
    run.check();
    let of = |argv: &[&str]| {
        let found = run.lines().find(|event| event["kind"] == "exec" && event["argv"] == json!(argv));
        found.unwrap_or_else(|| panic!("{argv:?}"))["env"].clone()
    };
    let first = of(&["sh", &script]);
    assert!(texts(&first["set"]).contains("API_TOKEN=…"), "{first}");
    // The shell sets variables of its own, such as PWD.
    let changed = |env: &Value| {
        let set: BTreeSet<_> =
            texts(&env["set"]).into_iter().filter(|variable| "ABC".contains(&variable[..1])).collect();
        (set, texts(&env["unset"]))
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let runs: Vec<_> = run
        .lines()
        .filter(|event| event["argv"] == json!(["/bin/true", "1"]))
        .map(|event| changed(&event["env"]))
        .collect();
    assert_eq!(runs, [(set(&["A=1", "B=2"]), set(&[])), (set(&["A=3", "B=2"]), set(&[]))]);
    let last = of(&["/bin/true", "2"]);
    assert_eq!(changed(&last), (set(&["C=4"]), set(&["PATH"])));
}

#[test]
fn a_recording_has_no_value_that_was_not_asked_for() {
    let _alone = alone();
    let dir = Dir::new();
    let run = ["--kind", "exec", "--", "env", "COLOUR=ultramarine", "MY_TOKEN=vermilion", "/bin/true"];
    let found = |options: &[&str]| {
        let file = dir.at(&format!("{}.ttr", options.concat()));
        record(&file, &[options, &run].concat(), |_| {})?;
        let printed = read(&["print", &file, "--format", "json", "--filter", "env.set~^(COLOUR|MY_TOKEN)"]);
        let line = String::from_utf8(printed.stdout).expect("UTF-8").lines().next().unwrap_or("{}").to_owned();
        let event: Value = serde_json::from_str(&line).expect("JSON");
        let named: BTreeSet<_> = match &event["env"] {
            Value::Null => BTreeSet::new(),
            env => texts(&env["set"])
                .into_iter()
                .filter(|name| name.contains("COLOUR") || name.contains("TOKEN"))
                .collect(),
        };
        // The arguments have the values too.
        let values = |text: &str| line.replace(&event["argv"].to_string(), "").contains(text);
        Some((named.into_iter().collect::<Vec<_>>(), values("ultramarine"), values("vermilion")))
    };
    let Some(none) = found(&[]) else { return };
    assert_eq!(none, (vec![], false, false));
    let names = vec!["COLOUR".to_owned(), "MY_TOKEN".to_owned()];
    assert_eq!(found(&["--env", "names"]), Some((names, false, false)));
    let diff = vec!["COLOUR=ultramarine".to_owned(), "MY_TOKEN=…".to_owned()];
    assert_eq!(found(&["--env", "diff"]), Some((diff, true, false)));
    let all = vec!["COLOUR=ultramarine".to_owned(), "MY_TOKEN=vermilion".to_owned()];
    assert_eq!(found(&["--env", "all"]), Some((all, true, true)));
    let (whole, cut) = (dir.at("--envall.ttr"), dir.at("cut.ttr"));
    assert!(read(&["cut", &whole, "-o", &cut]).status.success());
    let printed = String::from_utf8(read(&["print", &cut, "--format", "json"]).stdout).expect("UTF-8");
    assert!(printed.contains("COLOUR=ultramarine\",\"MY_TOKEN") && !printed.contains("\"env\":{"), "only arguments");
}
