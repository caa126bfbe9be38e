//! The identity of opened and executed files, compared with stat(2).

use crate::prelude::*;
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
