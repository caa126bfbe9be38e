//! The environment of new programs, compared with /proc/PID/environ of the programs that wait.

use crate::prelude::*;
use crate::stdio::is_sleep;

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
    scanned();
    let mut all: Vec<_> = cases.iter().map(|case| sleeper(case)).collect();
    for (child, _) in &mut all {
        sys::kill(child.id() as i32, libc::SIGKILL);
        child.wait().expect("it ends");
    }
    let run = traced.stop_and_check();
    // The variables that the tests have, and a program does not.
    let own = |shown: &BTreeSet<String>| {
        let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
        let names: BTreeSet<_> = shown.iter().map(|variable| name(variable)).collect();
        let environ = fs::read("/proc/self/environ").expect("its own");
        let all = String::from_utf8(environ).expect("UTF-8");
        let own = all.split_terminator('\0').map(name).filter(|name| !names.contains(name));
        own.collect::<BTreeSet<_>>()
    };
    for (child, shown) in &all {
        let env = &run.one("exec", child.id() as i32, |event| event["ret"] == 0)["env"];
        assert_eq!((texts(&env["set"]) == *shown, &env["count"]), (true, &json!(shown.len())), "{}", shown.len());
        // The tests started before the trace, and the scan has found their environment.
        assert_eq!((texts(&env["unset"]), env.get("unset_why")), (own(shown), None));
    }
}

#[test]
fn a_change_is_against_the_program_before_or_the_parent() {
    let dir = Dir::alone();
    let script = dir.at("script");
    // By its path, because a shell may run programs itself.
    let env = if Path::new("/usr/bin/env").exists() { "/usr/bin/env" } else { "/bin/env" };
    let lines = format!("export A=1 B=2\n/bin/true 1\nA=3 /bin/true 1\nunset B\nexec {env} -u PATH C=4 /bin/true 2\n");
    fs::write(&script, lines).expect("room");
    let Some(traced) = Traced::start(&["--kind", "exec", "--env", "all", "--filter", "ret=0"]) else { return };
    let done =
        Command::new("sh").arg(&script).env_clear().envs([("PATH", "/usr/bin:/bin"), ("API_TOKEN", "t")]).output();
    assert!(done.is_ok_and(|done| done.status.success()));
    let run = traced.stop_and_check();
    let of = |argv: &[&str]| {
        let found = run.lines().find(|event| event["kind"] == "exec" && event["argv"] == json!(argv));
        found.unwrap_or_else(|| panic!("{argv:?}"))["env"].clone()
    };
    let first = of(&["sh", &script]);
    assert!(texts(&first["set"]).contains("API_TOKEN=t"), "{first}");
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

fn scanned() {
    std::thread::sleep(Duration::from_secs(if emulated() { 5 } else { 1 }));
}

fn fail(environment: &[CString]) -> i32 {
    fork(|| {
        let path = c("/nowhere/program");
        let mut list: Vec<_> = environment.iter().map(|variable| variable.as_ptr()).collect();
        list.push(std::ptr::null());
        // SAFETY: the lists end, and they and their strings outlive the call.
        unsafe { libc::execve(path.as_ptr(), [path.as_ptr(), std::ptr::null()].as_ptr(), list.as_ptr()) };
    })
}

#[test]
fn the_environment_of_a_failed_exec_is_what_was_passed() {
    let variables = |count: usize, length: usize| -> Vec<CString> {
        (0..count).map(|number| c(format!("N{number}={}", "v".repeat(length)))).collect()
    };
    let cases =
        [vec![], variables(1, 0), variables(100, 30), variables(1, 8000), variables(5, 8000), variables(5000, 1)];
    let Some(traced) = Traced::start(&["--kind", "exec", "--env", "all"]) else { return };
    scanned();
    let pids = cases.each_ref().map(|case| fail(case));
    // A list whose first or second pointer leads nowhere.
    let faults = [0, 1].map(|good| {
        fork(|| {
            // Written by the child, so that the page is there.
            let (path, text) = (c("/nowhere/program"), c("A=1"));
            let list = [[1, 0, 0], [text.as_ptr().addr(), 8, 0]][good];
            // SAFETY: the kernel refuses what cannot be read.
            unsafe { libc::execve(path.as_ptr(), std::ptr::null(), list.as_ptr().cast()) };
        })
    });
    for pid in pids.iter().chain(&faults) {
        sys::wait(*pid);
    }
    let run = traced.stop_and_check();
    let failed = |pid: i32| run.one("exec", pid, |event| event["ret"] != 0)["env"].clone();
    for (pid, case) in pids.iter().zip(&cases) {
        let env = failed(*pid);
        let passed: BTreeSet<_> = case.iter().map(|text| text.to_str().expect("ASCII").to_owned()).collect();
        let bytes: usize = passed.iter().map(|text| text.len() + 1).sum();
        if case.len() > 4096 || bytes > 30_000 {
            assert_eq!(env["set_why"], "cut", "{env}");
            assert!(texts(&env["set"]).len() < passed.len(), "{env}");
        } else {
            assert_eq!((texts(&env["set"]), &env["count"]), (passed, &json!(case.len())), "{env}");
            assert!(texts(&env["unset"]).contains("PATH"), "{env}");
        }
    }
    let [none, some] = faults.map(failed);
    assert_eq!((&none["set"], &none["set_why"]), (&json!([]), &json!("fault")));
    assert_eq!((&some["set"], &some["set_why"]), (&json!(["A=1"]), &json!("fault")));
    // The environment of the process itself is another one.
    assert!(run.lines().all(|event| event["ret"] == 0 || event["env"]["set"] != Value::Null));
}

#[test]
fn a_process_that_is_older_than_the_trace_has_its_environment() {
    alone();
    let shell = |title: &str| {
        let script = format!("read line; {title} /bin/true older; exit 0");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env("OLD", "1").stdin(Stdio::piped()).spawn().expect("a shell")
    };
    let mut older = [shell("OLD=2"), shell("env -u OLD"), shell("")];
    let Some(traced) = Traced::start(&["--kind", "exec", "--env", "all"]) else { return };
    scanned();
    for shell in &mut older {
        drop(shell.stdin.take());
        shell.wait().expect("it ends");
    }
    let run = traced.stop_and_check();
    let is_old = |variable: &String| variable.starts_with("OLD=") || variable == "OLD";
    let found: Vec<_> = run
        .lines()
        .filter(|event| event["argv"] == json!(["/bin/true", "older"]))
        .map(|event| {
            let [set, unset] = ["set", "unset"].map(|name| texts(&event["env"][name]));
            [set, unset].map(|list| list.into_iter().filter(is_old).collect::<Vec<_>>())
        })
        .collect();
    let wanted: [[&[&str]; 2]; 3] = [[&["OLD=2"], &[]], [&[], &["OLD"]], [&[], &[]]];
    assert_eq!(found, wanted);
}

#[test]
fn a_recording_has_no_value_that_was_not_asked_for() {
    let dir = Dir::alone();
    let run = ["--kind", "exec", "--", "env", "CPATH=ultramarine", "MY_SETTING=vermilion", "/bin/true"];
    let found = |options: &[&str]| {
        let file = dir.at(&format!("{}.ttr", options.concat()));
        record(&file, &[options, &run].concat(), |_| {})?;
        let printed = read(&["print", &file, "--format", "json", "--filter", "env.set~^(CPATH|MY_SETTING)"]);
        let line = String::from_utf8(printed.stdout).expect("UTF-8").lines().next().unwrap_or("{}").to_owned();
        let event: Value = serde_json::from_str(&line).expect("JSON");
        let named: BTreeSet<_> = match &event["env"] {
            Value::Null => BTreeSet::new(),
            env => texts(&env["set"])
                .into_iter()
                .filter(|name| name.starts_with("CPATH") || name.contains("MY_SETTING"))
                .collect(),
        };
        // The arguments have the values too.
        let values = |text: &str| line.replace(&event["argv"].to_string(), "").contains(text);
        Some((named.into_iter().collect::<Vec<_>>(), values("ultramarine"), values("vermilion")))
    };
    let Some(none) = found(&["--env", "off"]) else { return };
    assert_eq!(none, (vec![], false, false));
    let names = vec!["CPATH".to_owned(), "MY_SETTING".to_owned()];
    assert_eq!(found(&[]), Some((names, false, false)));
    let diff = vec!["CPATH=ultramarine".to_owned(), "MY_SETTING=…".to_owned()];
    assert_eq!(found(&["--env", "diff"]), Some((diff, true, false)));
    let all = vec!["CPATH=ultramarine".to_owned(), "MY_SETTING=vermilion".to_owned()];
    assert_eq!(found(&["--env", "all"]), Some((all, true, true)));
    let (whole, cut) = (dir.at("--envall.ttr"), dir.at("cut.ttr"));
    assert!(read(&["cut", &whole, "-o", &cut]).status.success());
    let printed = String::from_utf8(read(&["print", &cut, "--format", "json"]).stdout).expect("UTF-8");
    let changes = printed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["env"]["set"].clone());
    let shown = changes.filter_map(|set| Some(set.as_array()?.clone())).flatten().collect::<Vec<_>>();
    assert!(shown.contains(&json!("CPATH=ultramarine")) && shown.contains(&json!("MY_SETTING=…")), "{printed}");
    assert!(!shown.contains(&json!("MY_SETTING=vermilion")), "a secret is in no excerpt");
}
