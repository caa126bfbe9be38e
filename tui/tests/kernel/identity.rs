//! The identity of opened and executed files, compared with stat(2).

use crate::recording::{read, record};
use crate::sys::{self, c, fork};
use crate::traced::{Dir, Traced, alone};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use tracetui_events::text::time::rfc3339;

/// The identity of a file, as stat(2) shows it.
fn shown(path: &str) -> Value {
    let file = fs::metadata(path).expect("it is there");
    let mut ctime = Vec::new();
    rfc3339(i128::from(file.ctime()) * 1_000_000_000 + i128::from(file.ctime_nsec()), &mut ctime);
    let dev = format!("{}:{}", libc::major(file.dev()), libc::minor(file.dev()));
    json!({"dev": dev, "ino": file.ino(), "size": file.size(), "ctime": String::from_utf8(ctime).expect("ASCII")})
}

#[test]
fn files_have_the_identity_of_stat() {
    let _alone = alone();
    let dir = Dir::new();
    let script = dir.at("script");
    fs::write(&script, "#!/bin/true\n").expect("room");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("its own file");
    let data = dir.at("data");
    fs::write(&data, vec![7; 12_345]).expect("room");
    let Some(traced) = Traced::start(&["--kind", "exec,open"]) else { return };
    let opened = ["/bin/sh", &data, "/dev/null", dir.path().to_str().expect("UTF-8"), "/proc/self/status"];
    let before = opened.map(shown);
    let reader = fork(|| {
        for path in opened {
            assert!(sys::openat(libc::AT_FDCWD, &c(path), libc::O_RDONLY, 0) >= 0);
        }
        sys::openat(libc::AT_FDCWD, &c("/nowhere"), libc::O_RDONLY, 0);
    });
    let runner = fork(|| {
        let path = c(script.as_str());
        // SAFETY: the list ends, and outlives the call.
        unsafe { libc::execv(path.as_ptr(), [path.as_ptr(), std::ptr::null()].as_ptr()) };
    });
    sys::wait(reader);
    sys::wait(runner);
    let run = traced.stop();
    run.check();
    for (path, mut wanted) in opened.into_iter().zip(before) {
        let event = run.one("open", reader, |event| event["path"] == path);
        // Each process has a file of its own there.
        if path.starts_with("/proc/") {
            for name in ["ino", "ctime"] {
                assert!(!event["file"][name].is_null(), "{event}");
                wanted[name] = event["file"][name].clone();
            }
        }
        assert_eq!(event["file"], wanted, "{event}");
    }
    let failed = run.one("open", reader, |event| event["path"] == "/nowhere");
    assert_eq!(failed.get("file"), None, "{failed}");
    // The program of a script is its interpreter.
    let execed = run.one("exec", runner, |event| event["ret"] == 0);
    assert_eq!(execed["file"], shown("/bin/true"), "{execed}");
}

#[test]
fn opens_have_none_unless_it_is_asked_for() {
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "exec,open", "--identity", "off"]) else { return };
    let pid = fork(|| {
        sys::openat(libc::AT_FDCWD, &c("/dev/null"), libc::O_RDONLY, 0);
    });
    sys::wait(pid);
    let run = traced.stop();
    run.check();
    let opened = run.one("open", pid, |event| event["path"] == "/dev/null");
    assert_eq!(opened.get("file"), None, "{opened}");
}

#[test]
fn a_file_that_is_still_the_same_has_a_checksum() {
    let _alone = alone();
    let dir = Dir::new();
    let [same, changed, gone] = ["same", "changed", "gone"].map(|name| dir.at(name));
    for path in [&same, &changed, &gone] {
        fs::write(path, "abc").expect("room");
    }
    let file = dir.at("run.ttr");
    let run = ["--identity", "on", "--kind", "exec,open", "--", "cat", &same, &changed, &gone];
    if record(&file, &run, |_| {}).is_none() {
        return;
    }
    // The same bytes, but at another time.
    fs::write(&changed, "abc").expect("room");
    fs::remove_file(&gone).expect("it is there");
    let listed = read(&["files", &file, "--sha256", "--format", "json"]);
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    let of = |path: &str| -> Value {
        let lines = listed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.into_iter().find(|line| line["path"] == path).unwrap_or_else(|| panic!("{path} in {listed}"))
    };
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
