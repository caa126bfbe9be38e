//! The identity of opened and executed files, compared with stat(2).

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
