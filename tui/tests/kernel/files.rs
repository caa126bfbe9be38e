//! Calls that change names and attributes of files.

use crate::narrow::Narrow;
use crate::prelude::*;

const FILES: [&str; 2] = ["--kind", "file"];
const CWD: u64 = libc::AT_FDCWD as u64;

#[test]
fn changes_of_files_have_what_was_passed_and_where_it_starts() {
    check(&FILES, CASES);
}

#[test]
fn changes_of_files_by_32_bit_callers_are_seen() {
    check_callers(&FILES, &[("32-bit", narrow)], |event| {
        (event["abi"] != "x86_64" && event["abi"] != "aarch64").then_some("32-bit")
    });
}

const CASES: &[Case] = &[
    ("names", names),
    ("by dirfd", below_descriptors),
    ("by fd", descriptors),
    ("refused", refused),
    ("long", long),
    ("moved start", moved_start),
    ("mounts", mounts),
    ("root", changed_root),
    #[cfg(target_arch = "x86_64")]
    ("older calls", older_calls),
];

/// An event of a call with this result, and the absolute path.
fn done(op: &str, path: &str, ret: i64, more: Value) -> Value {
    let err = if ret < 0 { json!({"?not": null}) } else { Value::Null };
    let fields = json!({"op": op, "path": path, "ret": ret, "err": err, "uid": 0, "euid": 0});
    with(event("file", sys::pid(), fields), more)
}

/// Makes a file by an open, which is no event here.
fn made(path: &str) -> String {
    File::create(path).expect("a file");
    path.to_owned()
}

fn at(call: libc::c_long, args: [u64; 5]) -> i64 {
    sys::call(call, args)
}

fn names(dir: &Dir) -> Told {
    let base = dir.path();
    std::env::set_current_dir(base).expect("a directory");
    let [a, b, d, l, n] = ["a", "./b", "d", "l", "n"].map(c);
    made(&dir.at("a"));
    let p = |text: &std::ffi::CString| text.as_ptr() as u64;
    let start = json!({"dir": base, "abs_path": dir.at("a")});
    let two = json!({"new_path": "./b", "new_dir": base, "new_abs_path": dir.at("./b"), "new_path_why": null});
    let mut told = vec![
        done(
            "chmod",
            "a",
            at(libc::SYS_fchmodat, [CWD, p(&a), 0o4750, 0, 0]),
            with(start.clone(), json!({"mode": 0o4750})),
        ),
        done("rename", "a", at(libc::SYS_renameat2, [CWD, p(&a), CWD, p(&b), 1]), with(start, two)),
        done("mkdir", "d", at(libc::SYS_mkdirat, [CWD, p(&d), 0o751, 0, 0]), json!({"mode": 0o751, "via": "mkdirat"})),
        done(
            "symlink",
            "l",
            at(libc::SYS_symlinkat, [p(&b), CWD, p(&l), 0, 0]),
            json!({"target": "./b", "new_path": null}),
        ),
        done("link", "./b", at(libc::SYS_linkat, [CWD, p(&b), CWD, p(&n), 0]), json!({"new_abs_path": dir.at("n")})),
        done("unlink", "n", at(libc::SYS_unlinkat, [CWD, p(&n), 0, 0, 0]), json!({"abs_path": dir.at("n")})),
        done(
            "rmdir",
            "d",
            at(libc::SYS_unlinkat, [CWD, p(&d), 0x200, 0, 0]),
            json!({"abs_path": dir.at("d"), "via": "unlinkat"}),
        ),
        done("mknod", "n", at(libc::SYS_mknodat, [CWD, p(&n), 0o10600, 0, 0]), json!({"mode": 0o10600})),
    ];
    let absolute = c(dir.at("l"));
    told.push(done(
        "unlink",
        &dir.at("l"),
        at(libc::SYS_unlinkat, [CWD, p(&absolute), 0, 0, 0]),
        json!({"dir": null, "dir_why": null, "abs_path": dir.at("l")}),
    ));
    Ok(told)
}

fn below_descriptors(dir: &Dir) -> Told {
    let (file, base) = (made(&dir.at("file")), File::open(dir.path()).expect("a directory"));
    let fd = base.as_raw_fd() as u64;
    let [name, other, empty] = ["file", "other", ""].map(c);
    std::env::set_current_dir("/").expect("a directory");
    let p = |text: &std::ffi::CString| text.as_ptr() as u64;
    let attribute = c("user.tracetui");
    let told = vec![
        done(
            "chown",
            "file",
            at(libc::SYS_fchownat, [fd, p(&name), 7, u64::MAX, 0]),
            json!({"dir": dir.path(), "abs_path": file, "owner": 7, "group": -1}),
        ),
        done(
            "rename",
            "file",
            at(libc::SYS_renameat2, [fd, p(&name), fd, p(&other), 0]),
            json!({"abs_path": file, "new_dir": dir.path(), "new_abs_path": dir.at("other")}),
        ),
        done(
            "chown",
            "",
            at(libc::SYS_fchownat, [fd, p(&empty), 0, 0, libc::AT_EMPTY_PATH as u64]),
            json!({"abs_path": dir.path()}),
        ),
        done(
            "setxattr",
            &dir.at("other"),
            {
                let path = c(dir.at("other"));
                at(libc::SYS_setxattr, [p(&path), p(&attribute), p(&name), 4, 0])
            },
            json!({"name": "user.tracetui", "err": {"?or": [null, "EOPNOTSUPP"]}}),
        ),
    ];
    Ok(told)
}

fn descriptors(dir: &Dir) -> Told {
    let path = made(&dir.at("file"));
    let file = File::options().read(true).write(true).open(&path).expect("a file");
    let fd = file.as_raw_fd() as u64;
    let by_fd = |op: &str, ret: i64, more: Value| {
        with(done(op, "", ret, more), json!({"path": null, "dir": null, "abs_path": path}))
    };
    let name = c("user.tracetui");
    Ok(vec![
        by_fd("chmod", at(libc::SYS_fchmod, [fd, 0o600, 0, 0, 0]), json!({"mode": 0o600, "via": "fchmod"})),
        by_fd("truncate", at(libc::SYS_ftruncate, [fd, 1 << 33, 0, 0, 0]), json!({"size": 1_u64 << 33})),
        by_fd("chown", at(libc::SYS_fchown, [fd, 1, 2, 0, 0]), json!({"owner": 1, "group": 2})),
        by_fd(
            "removexattr",
            at(libc::SYS_fremovexattr, [fd, name.as_ptr() as u64, 0, 0, 0]),
            json!({"name": "user.tracetui"}),
        ),
    ])
}

fn refused(dir: &Dir) -> Told {
    std::env::set_current_dir(dir.path()).expect("a directory");
    let nothing = c("nothing");
    let p = nothing.as_ptr() as u64;
    let closed = 1 << 19;
    Ok(vec![
        done(
            "unlink",
            "nothing",
            at(libc::SYS_unlinkat, [CWD, p, 0, 0, 0]),
            json!({"err": "ENOENT", "abs_path": dir.at("nothing")}),
        ),
        done(
            "unlink",
            "nothing",
            at(libc::SYS_unlinkat, [closed, p, 0, 0, 0]),
            json!({"err": "EBADF", "dir": null, "dir_why": "vanished", "abs_path": null}),
        ),
        done(
            "unlink",
            "",
            at(libc::SYS_unlinkat, [CWD, 8, 0, 0, 0]),
            json!({"err": "EFAULT", "path_why": "fault", "dir": null, "dir_why": "fault", "abs_path_why": "fault"}),
        ),
        done("truncate", "nothing", at(libc::SYS_truncate, [p, 5, 0, 0, 0]), json!({"err": "ENOENT", "size": 5})),
    ])
}

/// Names and paths as long as the kernel permits, and longer.
fn long(dir: &Dir) -> Told {
    std::env::set_current_dir(dir.path()).expect("a directory");
    let (name, long) = (c("n".repeat(255)), "./".repeat(2047));
    let (fits, over) = (c(format!("{long}x")), c("./".repeat(2100)));
    let p = |text: &std::ffi::CString| text.as_ptr() as u64;
    Ok(vec![
        done(
            "mkdir",
            &"n".repeat(255),
            at(libc::SYS_mkdirat, [CWD, p(&name), 0o700, 0, 0]),
            json!({"abs_path": dir.at(&"n".repeat(255))}),
        ),
        done(
            "rename",
            &format!("{long}x"),
            at(libc::SYS_renameat2, [CWD, p(&fits), CWD, p(&fits), 0]),
            json!({"err": "ENOENT", "new_path": format!("{long}x")}),
        ),
        done(
            "unlink",
            &"./".repeat(2048)[..4095],
            at(libc::SYS_unlinkat, [CWD, p(&over), 0, 0, 0]),
            json!({"err": "ENAMETOOLONG", "path_why": "cut", "abs_path_why": "cut"}),
        ),
    ])
}

/// The start is where the process is at the call, whatever it was before or is later.
fn moved_start(dir: &Dir) -> Told {
    let name = c("file");
    let p = name.as_ptr() as u64;
    let mut told = Vec::new();
    for place in ["one", "two"] {
        let made = c(dir.at(place));
        told.push(done(
            "mkdir",
            &dir.at(place),
            at(libc::SYS_mkdirat, [CWD, made.as_ptr() as u64, 0o700, 0, 0]),
            json!({}),
        ));
        std::env::set_current_dir(dir.at(place)).expect("a directory");
        told.push(done(
            "unlink",
            "file",
            at(libc::SYS_unlinkat, [CWD, p, 0, 0, 0]),
            json!({"err": "ENOENT", "dir": dir.at(place)}),
        ));
    }
    // The working directory is removed.
    let two = c(dir.at("two"));
    told.push(done(
        "rmdir",
        &dir.at("two"),
        at(libc::SYS_unlinkat, [CWD, two.as_ptr() as u64, 0x200, 0, 0]),
        json!({}),
    ));
    told.push(done("mkdir", "file", at(libc::SYS_mkdirat, [CWD, p, 0o700, 0, 0]), json!({"err": "ENOENT"})));
    Ok(told)
}

/// An absolute path starts at the caller's root.
fn changed_root(dir: &Dir) -> Told {
    let (name, same) = (c("/d"), c("d"));
    std::env::set_current_dir(dir.path()).expect("a directory");
    std::os::unix::fs::chroot(".").expect("root");
    let call = |path: &std::ffi::CString| at(libc::SYS_mkdirat, [CWD, path.as_ptr() as u64, 0o700, 0, 0]);
    let found = json!({"dir": dir.path(), "abs_path": dir.at("d")});
    let there = with(found.clone(), json!({"err": "EEXIST"}));
    Ok(vec![done("mkdir", "/d", call(&name), found), done("mkdir", "d", call(&same), there)])
}

fn mounts(dir: &Dir) -> Told {
    // SAFETY: unshare takes an integer.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err("no mount namespaces".to_owned());
    }
    let (place, source, kind) = (c(dir.at("place")), c("a source"), c("tmpfs"));
    let root = c("/");
    let private = libc::MS_REC | libc::MS_PRIVATE;
    let p = |text: &std::ffi::CString| text.as_ptr() as u64;
    let null = json!({"fstype_why": "fault", "target_why": "fault"});
    Ok(vec![
        done("mkdir", &dir.at("place"), at(libc::SYS_mkdirat, [CWD, p(&place), 0o700, 0, 0]), json!({})),
        done("mount", "/", at(libc::SYS_mount, [0, p(&root), 0, private, 0]), null),
        done(
            "mount",
            &dir.at("place"),
            at(libc::SYS_mount, [p(&source), p(&place), p(&kind), 0, 0]),
            json!({"target": "a source", "fstype": "tmpfs"}),
        ),
        done("umount", &dir.at("place"), at(libc::SYS_umount2, [p(&place), 0, 0, 0, 0]), json!({"via": "umount"})),
    ])
}

/// Calls that only older tables have.
#[cfg(target_arch = "x86_64")]
fn older_calls(dir: &Dir) -> Told {
    std::env::set_current_dir(dir.path()).expect("a directory");
    made(&dir.at("a"));
    let [a, b, d] = ["a", "b", "d"].map(c);
    let p = |text: &std::ffi::CString| text.as_ptr() as u64;
    let of = |call: libc::c_long, first: &std::ffi::CString, second: u64| at(call, [p(first), second, 3, 0, 0]);
    let here = |name: &str, more: Value| with(json!({"dir": dir.path(), "abs_path": dir.at(name)}), more);
    Ok(vec![
        done("chmod", "a", of(libc::SYS_chmod, &a, 0o640), here("a", json!({"mode": 0o640, "via": "chmod"}))),
        done("chown", "a", of(libc::SYS_lchown, &a, 2), here("a", json!({"owner": 2, "group": 3, "via": "lchown"}))),
        done("rename", "a", of(libc::SYS_rename, &a, p(&b)), here("a", json!({"new_abs_path": dir.at("b")}))),
        done("link", "b", of(libc::SYS_link, &b, p(&a)), here("b", json!({"new_abs_path": dir.at("a")}))),
        done("unlink", "b", of(libc::SYS_unlink, &b, 0), here("b", json!({"via": "unlink"}))),
        done("mkdir", "d", of(libc::SYS_mkdir, &d, 0o711), here("d", json!({"mode": 0o711}))),
        done("rmdir", "d", of(libc::SYS_rmdir, &d, 0), here("d", json!({"via": "rmdir"}))),
        done("symlink", "d", of(libc::SYS_symlink, &a, p(&d)), here("d", json!({"target": "a"}))),
        done("mknod", "b", of(libc::SYS_mknod, &b, 0o10644), here("b", json!({"mode": 0o10644}))),
    ])
}

fn narrow(dir: &Dir) -> Told {
    let (file, other) = (dir.file("file"), dir.at("other"));
    let mut narrow = Narrow::new();
    let [from, to] = [&file, &other].map(|path| narrow.text(path));
    // The numbers are those of i386 and of 32-bit ARM.
    let calls = [
        (15, [from, 0o640, 0, 0]),
        (182, [from, 5, 6, 0]),
        (182, [from, 0xffff, 7, 0]),
        (38, [from, to, 0, 0]),
        (10, [to, 0, 0, 0]),
    ];
    calls.into_iter().for_each(|(number, args)| narrow.call(number, args));
    let caller = narrow.run_to_its_end(dir)?;
    let told = [
        ("chmod", &file, json!({"mode": 0o640, "via": "chmod"})),
        ("chown", &file, json!({"owner": 5, "group": 6, "via": "chown16"})),
        ("chown", &file, json!({"owner": -1, "group": 7})),
        ("rename", &file, json!({"new_path": other})),
        ("unlink", &other, json!({"via": "unlink"})),
    ];
    let told = told.into_iter().zip(caller.rets);
    Ok(told.map(|((op, path, more), ret)| with(done(op, path, ret, more), json!({"pid": caller.pid}))).collect())
}
