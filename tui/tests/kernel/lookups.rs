//! Calls that look up a path and fail.

use crate::prelude::*;

const LOOKUPS: [&str; 2] = ["--kind", "lookup"];

#[test]
fn failed_lookups_have_what_was_asked_and_answers_are_no_events() {
    check(&LOOKUPS, CASES);
}

#[test]
fn failed_lookups_of_32_bit_callers_are_seen() {
    check_narrow(&LOOKUPS, narrow);
}

const CASES: &[Case] =
    &[("missing", missing), ("answers", answers), ("by dirfd", below_descriptor), ("refused", refused)];

/// The number of access(2) is that of mount(2) for 32-bit callers, so its successes reach the probe if both kinds are traced.
#[cfg(target_arch = "x86_64")]
#[test]
fn successes_of_a_shared_number_are_no_events() {
    check(&["--kind", "lookup,file"], &[("older calls", older_calls)]);
}

fn failed(op: &str, path: &str, ret: i64, more: Value) -> Value {
    with(event("lookup", sys::pid(), json!({"op": op, "path": path, "ret": ret, "via": {"?not": "other"}})), more)
}

fn missing(dir: &Dir) -> Told {
    std::env::set_current_dir(dir.path()).expect("a directory");
    let (name, absolute) = (c("x/y"), c(dir.at("z")));
    let mut buffer = [0_u64; 64];
    let buffer = buffer.as_mut_ptr() as u64;
    let here = json!({"err": "ENOENT", "dir": dir.path(), "abs_path": dir.at("x/y"), "dirfd": CWD as i64, "path_basis": "joined"});
    let there = json!({"err": "ENOENT", "dir": null, "abs_path": dir.at("z")});
    let both = |op: &str, number, third, flags, more: Value| {
        let ret = |path: &CStr| call(number, &[CWD, at(path), third, flags, buffer]);
        [
            failed(op, "x/y", ret(&name), with(here.clone(), more.clone())),
            failed(op, &dir.at("z"), ret(&absolute), with(there.clone(), more)),
        ]
    };
    let mut told = Vec::new();
    told.extend(both("stat", libc::SYS_newfstatat, buffer, 0, json!({"via": "newfstatat", "flags": null})));
    let mut push = |op, ret, more| told.push(failed(op, "x/y", ret, with(here.clone(), more)));
    let nofollow = json!({"flags": "AT_SYMLINK_NOFOLLOW"});
    push("lstat", call(libc::SYS_newfstatat, &[CWD, at(&name), buffer, 0x100]), nofollow);
    push("stat", call(libc::SYS_statx, &[CWD, at(&name), 0, 0xfff, buffer]), json!({"via": "statx"}));
    told.extend(both("access", libc::SYS_faccessat, 5, 0, json!({"via": "faccessat", "access": 5})));
    told.extend(both("readlink", libc::SYS_readlinkat, buffer, 64, json!({"via": "readlinkat", "access": null})));
    let change = |path: &CStr| call(libc::SYS_chdir, &[at(path)]);
    told.push(failed("chdir", "x/y", change(&name), here));
    told.push(failed("chdir", &dir.at("z"), change(&absolute), there));
    Ok(told)
}

/// Calls that succeed, that find no link, or that look up nothing.
fn answers(dir: &Dir) -> Told {
    std::env::set_current_dir(dir.path()).expect("a directory");
    let (file, name, nothing) = (dir.file("file"), c("file"), c("nothing"));
    symlink(&file, dir.at("link")).expect("a link");
    let link = c("link");
    let mut buffer = [0_u64; 64];
    let buffer = buffer.as_mut_ptr() as u64;
    let closed = 1 << 19;
    for (number, args, expected) in [
        (libc::SYS_newfstatat, &[CWD, at(&name), buffer][..], 0),
        (libc::SYS_faccessat, &[CWD, at(&name), 4], 0),
        (libc::SYS_readlinkat, &[CWD, at(&link), buffer, 64], file.len() as i64),
        (libc::SYS_readlinkat, &[CWD, at(&name), buffer, 64], -i64::from(libc::EINVAL)),
        (libc::SYS_newfstatat, &[closed, at(&name), buffer], -i64::from(libc::EBADF)),
        (libc::SYS_newfstatat, &[CWD, 8, buffer], -i64::from(libc::EFAULT)),
        (libc::SYS_fchdir, &[closed], -i64::from(libc::EBADF)),
    ] {
        assert_eq!(call(number, args), expected);
    }
    let last = call(libc::SYS_faccessat, &[CWD, at(&nothing)]);
    Ok(vec![failed("access", "nothing", last, json!({"abs_path": dir.at("nothing")}))])
}

fn below_descriptor(dir: &Dir) -> Told {
    let base = File::open(dir.path()).expect("a directory");
    let file = File::create(dir.at("file")).expect("a file");
    let (fd, name, mut buffer) = (base.as_raw_fd() as u64, c("file/x"), [0_u64; 64]);
    std::env::set_current_dir("/").expect("a directory");
    let stat = call(libc::SYS_newfstatat, &[fd, at(&name), buffer.as_mut_ptr() as u64]);
    let found = json!({"err": "ENOTDIR", "dir": dir.path(), "abs_path": dir.at("file/x"), "dirfd": fd});
    let fd = file.as_raw_fd() as u64;
    let moved = call(libc::SYS_fchdir, &[fd]);
    let by_fd =
        json!({"err": "ENOTDIR", "path": null, "dir": null, "abs_path": dir.at("file"), "dirfd": fd, "via": "fchdir"});
    Ok(vec![failed("stat", "file/x", stat, found), failed("chdir", "", moved, by_fd)])
}

/// Every error that means that the path leads to no file, or not for the caller.
fn refused(dir: &Dir) -> Told {
    std::env::set_current_dir(dir.path()).expect("a directory");
    symlink("loop", dir.at("loop")).expect("a link");
    fs::create_dir(dir.at("private")).expect("a directory");
    fs::set_permissions(dir.at("private"), fs::Permissions::from_mode(0o0)).expect("a mode");
    let long = "n".repeat(256);
    let [inside, endless, long_name] = ["private/x", "loop", &long].map(c);
    // The file system checks this id, and access(2) the real one.
    call(libc::SYS_setfsuid, &[sys::NOBODY.into()]);
    let mut buffer = [0_u64; 64];
    let buffer = buffer.as_mut_ptr() as u64;
    let stat = |path: &CStr| call(libc::SYS_newfstatat, &[CWD, at(path), buffer]);
    let told = vec![
        failed("stat", "private/x", stat(&inside), json!({"err": "EACCES"})),
        failed("stat", "loop", stat(&endless), json!({"err": "ELOOP"})),
        failed("stat", &long, stat(&long_name), json!({"err": "ENAMETOOLONG"})),
    ];
    Ok(told)
}

#[cfg(target_arch = "x86_64")]
fn older_calls(dir: &Dir) -> Told {
    std::env::set_current_dir(dir.path()).expect("a directory");
    let name = c("x");
    let mut buffer = [0_u64; 64];
    let buffer = buffer.as_mut_ptr() as u64;
    let calls = [
        ("stat", libc::SYS_stat, buffer, "stat"),
        ("lstat", libc::SYS_lstat, buffer, "lstat"),
        ("access", libc::SYS_access, 1, "access"),
        ("readlink", libc::SYS_readlink, buffer, "readlink"),
    ];
    assert_eq!(call(libc::SYS_access, &[at(&c("/"))]), 0);
    let told = calls.into_iter().map(|(op, number, second, via)| {
        let ret = call(number, &[at(&name), second, 64]);
        failed(op, "x", ret, json!({"via": via, "dir": dir.path(), "abs_path": dir.at("x")}))
    });
    Ok(told.collect())
}

fn narrow(dir: &Dir) -> Told {
    let path = dir.at("nothing");
    let mut narrow = Narrow::new();
    let [name, empty] = [path.as_str(), ""].map(|text| narrow.text(text));
    // The numbers are those of i386 and of 32-bit ARM: access, readlink, chdir, stat64, lstat64.
    let calls = [
        (33, [name, 2, 0, 0]),
        (85, [name, empty, 4, 0]),
        (12, [name, 0, 0, 0]),
        (195, [name, empty, 0, 0]),
        (196, [name, empty, 0, 0]),
    ];
    calls.into_iter().for_each(|(number, args)| narrow.call(number, args));
    let caller = narrow.run_to_its_end(dir)?;
    let told = ["access", "readlink", "chdir", "stat", "lstat"].into_iter().zip(caller.rets);
    Ok(told.map(|(op, ret)| failed(op, &path, ret, json!({"pid": caller.pid, "err": "ENOENT"}))).collect())
}
