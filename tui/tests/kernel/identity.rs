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
fn an_unwanted_file_is_found_under_any_name() {
    let Some(dir) = Dir::alone_as_root() else { return };
    for (script, status) in [
        ("cat key", 3),
        ("ln key link; cat link", 3),
        ("mv key new; cat new", 3),
        ("ln -s ../key dir/link; cat dir/link", 3),
        ("exec unshare -m sh -c 'mount --bind key other && cat other'", 3),
        // Another file has its name: it is read by that name, or by another one.
        ("mv next key; cat key", 3),
        ("ln next link; mv next key; cat link", 3),
        ("exec ./program", 3),
        ("ls -l key; ln key link; mv key dir; cat other", 0),
        // Another file has its path in another mount namespace.
        ("exec unshare -m sh -c 'mount --bind other key && cat key'", 0),
    ] {
        let dir = Dir::new();
        let unwanted = if script.contains("program") { "program" } else { "key" };
        for file in ["key", "other", "next"] {
            fs::write(dir.at(file), file).expect("room");
        }
        fs::copy("/bin/true", dir.at("program")).expect("room");
        fs::create_dir(dir.at("dir")).expect("room");
        let mut print = tracetui();
        print.current_dir(dir.path()).args(["print", "--expect-no-open", unwanted, "--", "sh", "-c", script]);
        let run = print.stdin(Stdio::null()).output().expect("tracetui starts");
        let said = String::from_utf8_lossy(&run.stderr);
        let message =
            if status == 3 { "an event matches --expect-no-open" } else { "no event matches --expect-no-open" };
        assert_eq!((run.status.code(), said.lines().last()), (Some(status), Some(message)), "{script}: {said}");
    }
    for (path, why) in [(dir.at("nothing"), "No such file"), (dir.at(""), "is a directory; name the files in it")] {
        let run = read(&["print", "--expect-no-open", &path, "--", "true"]);
        let said = text(&run.stderr);
        assert!(run.status.code() == Some(2) && said.contains(why), "{said}");
    }
}
