//! The identity of opened and executed files, compared with stat(2).

use crate::prelude::*;
use crate::recording::lines;
use tracetui_events::text::time::rfc3339;

fn shown(path: &str) -> Value {
    let file = fs::metadata(path).expect("it is there");
    let mut ctime = Vec::new();
    rfc3339(i128::from(file.ctime()) * 1_000_000_000 + i128::from(file.ctime_nsec()), &mut ctime);
    let dev = format!("{}:{}", libc::major(file.dev()), libc::minor(file.dev()));
    json!({"dev": dev, "ino": file.ino(), "size": file.size(), "ctime": String::from_utf8(ctime).expect("ASCII")})
}

/// A case: files have the identity that stat(2) shows.
pub(crate) fn files_have_the_identity_of_stat(dir: &Dir) -> Told {
    std::env::set_current_dir(dir.path()).expect("a directory");
    fs::write("script", "#!/bin/true\n").expect("room");
    fs::set_permissions("script", fs::Permissions::from_mode(0o755)).expect("its own file");
    fs::write("data", vec![7; 12_345]).expect("room");
    let paths = ["/bin/sh", &dir.at("data"), "/dev/null", dir.path().to_str().expect("UTF-8"), "/proc/self/status"];
    let opens = paths.map(|path| {
        let file = match shown(path) {
            // Each process has a file of its own there.
            file if path.starts_with("/proc/") => with(file, json!({"ino": {"?not": null}, "ctime": {"?not": null}})),
            file => json!({"?whole": file}),
        };
        assert!(sys::openat(libc::AT_FDCWD, &c(path), libc::O_RDONLY, 0) >= 0);
        event("open", sys::pid(), json!({"path": path, "file": file}))
    });
    sys::open_path("/nowhere");
    let failed = event("open", sys::pid(), json!({"path": "/nowhere", "file": absent()}));
    let runner = fork(|| become_program("script", &["script"]));
    sys::wait(runner);
    // The program of a script is its interpreter.
    let exec = event("exec", runner, json!({"ret": 0, "file": {"?whole": shown("/bin/true")}}));
    Ok(opens.into_iter().chain([failed, exec]).collect())
}

#[test]
fn opens_have_none_unless_it_is_asked_for() {
    let Some(traced) = Traced::start(&["--kind", "exec,open", "--identity", "off"]) else { return };
    let pid = fork(|| {
        sys::openat(libc::AT_FDCWD, &c("/dev/null"), libc::O_RDONLY, 0);
    });
    sys::wait(pid);
    let run = traced.stop_and_check();
    let opened = run.one("open", pid, |event| event["path"] == "/dev/null");
    assert_eq!(opened.get("file"), None, "{opened}");
}

#[test]
fn a_file_that_is_still_the_same_has_a_checksum() {
    let dir = Dir::alone();
    let [same, changed, gone] = ["same", "changed", "gone"].map(|name| dir.at(name));
    for path in [&same, &changed, &gone] {
        fs::write(path, "abc").expect("room");
    }
    let file = dir.at("run.ttr");
    let run = ["--identity", "on", "--kind", "exec,open", "--", "cat", &same, &changed, &gone];
    let Some(_) = record(&file, &run, |_| {}) else { return };
    // The same bytes, but at another time.
    fs::write(&changed, "abc").expect("room");
    fs::remove_file(&gone).expect("it is there");
    let listed = lines(&read(&["files", &file, "--sha256", "--format", "json"]).stdout);
    let of =
        |path: &str| listed.iter().find(|line| line["path"] == path).unwrap_or_else(|| panic!("{path} in {listed:?}"));
    // Of "abc" (FIPS 180-2, B.1).
    let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!((&of(&same)["sha256"], of(&same).get("sha256_why")), (&json!(sum), None));
    assert_eq!((&of(&changed)["sha256"], &of(&changed)["sha256_why"]), (&Value::Null, &json!("changed")));
    assert_eq!(of(&gone)["sha256_why"], "gone");
    assert_eq!(of(&same)["file"], shown(&same));
    let bill = read(&["files", &file, "--sha256", "--format", "cyclonedx"]);
    let bill: Value = serde_json::from_slice(&bill.stdout).expect("JSON");
    let named = |component: &&Value| component["name"] == same.as_str();
    let component = bill["components"].as_array().expect("a list").iter().find(named).expect("it was read");
    assert_eq!(component["hashes"], json!([{"alg": "SHA-256", "content": sum}]));
}
