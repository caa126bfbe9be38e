//! Calls that change names and attributes of files.

use crate::prelude::*;
use crate::recording::{events, traced};
use crate::traced::{check_nothing_lost, is_attached};

const FILES: [&str; 2] = ["--kind", "file"];
const REMOVE_DIR: u64 = libc::AT_REMOVEDIR as u64;

#[test]
fn changes_of_files_have_what_was_passed_and_where_it_starts() {
    check(&FILES, CASES);
}

#[test]
fn changes_of_files_by_32_bit_callers_are_seen() {
    check_narrow(&FILES, narrow);
}

const CASES: &[Case] = &[
    ("names", |dir| {
        let base = dir.path();
        std::env::set_current_dir(base).expect("a directory");
        made(&dir.at("a"));
        let [b, l, n] = ["./b", "l", "n"].map(c);
        let start = json!({"dir": base, "abs_path": dir.at("a")});
        let two = json!({"new_path": "./b", "new_dir": base, "new_abs_path": dir.at("./b"), "new_path_why": null});
        let removed = json!({"abs_path": dir.at("d"), "via": "unlinkat"});
        let absolute = json!({"dir": null, "dir_why": null, "abs_path": dir.at("l")});
        Ok(vec![
            done(
                "chmod",
                "a",
                |a| call(libc::SYS_fchmodat, &[CWD, a, 0o4750]),
                with(start.clone(), json!({"mode": 0o4750})),
            ),
            done("rename", "a", |a| call(libc::SYS_renameat2, &[CWD, a, CWD, at(&b), 1]), with(start, two)),
            done("mkdir", "d", |d| call(libc::SYS_mkdirat, &[CWD, d, 0o751]), json!({"mode": 0o751, "via": "mkdirat"})),
            told(
                "symlink",
                "l",
                call(libc::SYS_symlinkat, &[at(&b), CWD, at(&l)]),
                json!({"target": "./b", "new_path": null}),
            ),
            done(
                "link",
                "./b",
                |b| call(libc::SYS_linkat, &[CWD, b, CWD, at(&n)]),
                json!({"new_abs_path": dir.at("n")}),
            ),
            done("unlink", "n", |n| call(libc::SYS_unlinkat, &[CWD, n]), json!({"abs_path": dir.at("n")})),
            done("rmdir", "d", |d| call(libc::SYS_unlinkat, &[CWD, d, REMOVE_DIR]), removed),
            done("mknod", "n", |n| call(libc::SYS_mknodat, &[CWD, n, 0o10600]), json!({"mode": 0o10600})),
            done("unlink", &dir.at("l"), |l| call(libc::SYS_unlinkat, &[CWD, l]), absolute),
        ])
    }),
    ("by dirfd", |dir| {
        let (file, base) = (made(&dir.at("file")), File::open(dir.path()).expect("a directory"));
        let (fd, place, renamed) = (base.as_raw_fd() as u64, dir.path(), dir.at("other"));
        let [name, other, attribute] = ["file", "other", "user.tracetui"].map(c);
        std::env::set_current_dir("/").expect("a directory");
        let empty = libc::AT_EMPTY_PATH as u64;
        let owned = json!({"dir": place, "abs_path": file, "owner": 7, "group": -1});
        let moved = json!({"abs_path": file, "new_dir": place, "new_abs_path": renamed});
        let set = json!({"name": "user.tracetui", "err": {"?or": [null, "EOPNOTSUPP"]}});
        Ok(vec![
            done("chown", "file", |path| call(libc::SYS_fchownat, &[fd, path, 7, u64::MAX]), owned),
            done("rename", "file", |path| call(libc::SYS_renameat2, &[fd, path, fd, at(&other)]), moved),
            done("chown", "", |path| call(libc::SYS_fchownat, &[fd, path, 0, 0, empty]), json!({"abs_path": place})),
            done("setxattr", &renamed, |path| call(libc::SYS_setxattr, &[path, at(&attribute), at(&name), 4]), set),
        ])
    }),
    ("by fd", |dir| {
        let path = made(&dir.at("file"));
        let file = File::options().read(true).write(true).open(&path).expect("a file");
        let fd = file.as_raw_fd() as u64;
        let by_fd = |op: &str, ret: i64, more: Value| {
            with(told(op, "", ret, more), json!({"path": null, "dir": null, "abs_path": path}))
        };
        let name = c("user.tracetui");
        Ok(vec![
            by_fd("chmod", call(libc::SYS_fchmod, &[fd, 0o600]), json!({"mode": 0o600, "via": "fchmod"})),
            by_fd("truncate", call(libc::SYS_ftruncate, &[fd, 1 << 33]), json!({"size": 1_u64 << 33})),
            by_fd("chown", call(libc::SYS_fchown, &[fd, 1, 2]), json!({"owner": 1, "group": 2})),
            by_fd("removexattr", call(libc::SYS_fremovexattr, &[fd, at(&name)]), json!({"name": "user.tracetui"})),
        ])
    }),
    ("refused", |dir| {
        std::env::set_current_dir(dir.path()).expect("a directory");
        let missing = json!({"err": "ENOENT", "abs_path": dir.at("nothing")});
        let closed = json!({"err": "EBADF", "dir": null, "dir_why": "vanished", "abs_path": null});
        let unread =
            json!({"err": "EFAULT", "path_why": "fault", "dir": null, "dir_why": "fault", "abs_path_why": "fault"});
        let truncated = json!({"err": "ENOENT", "size": 5});
        Ok(vec![
            done("unlink", "nothing", |path| call(libc::SYS_unlinkat, &[CWD, path]), missing),
            done("unlink", "nothing", |path| call(libc::SYS_unlinkat, &[1 << 19, path]), closed),
            told("unlink", "", call(libc::SYS_unlinkat, &[CWD, 8]), unread),
            done("truncate", "nothing", |path| call(libc::SYS_truncate, &[path, 5]), truncated),
        ])
    }),
    // Names and paths as long as the kernel permits, and longer.
    ("long", |dir| {
        std::env::set_current_dir(dir.path()).expect("a directory");
        let (name, fits, over) = ("n".repeat(255), format!("{}x", "./".repeat(2047)), c("./".repeat(2100)));
        let renamed = json!({"err": "ENOENT", "new_path": fits});
        let cut = json!({"err": "ENAMETOOLONG", "path_why": "cut", "abs_path_why": "cut"});
        Ok(vec![
            done(
                "mkdir",
                &name,
                |path| call(libc::SYS_mkdirat, &[CWD, path, 0o700]),
                json!({"abs_path": dir.at(&name)}),
            ),
            done("rename", &fits, |path| call(libc::SYS_renameat2, &[CWD, path, CWD, path]), renamed),
            told("unlink", &"./".repeat(2048)[..4095], call(libc::SYS_unlinkat, &[CWD, at(&over)]), cut),
        ])
    }),
    // The start is where the process is at the call, whatever it was before or is later.
    ("moved start", |dir| {
        let mkdir = |path: u64| call(libc::SYS_mkdirat, &[CWD, path, 0o700]);
        let mut told = Vec::new();
        for place in ["one", "two"].map(|name| dir.at(name)) {
            told.push(done("mkdir", &place, mkdir, json!({})));
            std::env::set_current_dir(&place).expect("a directory");
            let missing = json!({"err": "ENOENT", "dir": place});
            told.push(done("unlink", "file", |path| call(libc::SYS_unlinkat, &[CWD, path]), missing));
        }
        // The working directory is removed.
        told.push(done("rmdir", &dir.at("two"), |path| call(libc::SYS_unlinkat, &[CWD, path, REMOVE_DIR]), json!({})));
        told.push(done("mkdir", "file", mkdir, json!({"err": "ENOENT"})));
        Ok(told)
    }),
    ("mounts", |dir| {
        if call(libc::SYS_unshare, &[libc::CLONE_NEWNS as u64]) != 0 {
            return Err("no mount namespaces".to_owned());
        }
        let (place, source, kind) = (dir.at("place"), c("a source"), c("tmpfs"));
        let private = libc::MS_REC | libc::MS_PRIVATE;
        let null = json!({"fstype_why": "fault", "target_why": "fault"});
        let mounted = json!({"target": "a source", "fstype": "tmpfs"});
        Ok(vec![
            done("mkdir", &place, |path| call(libc::SYS_mkdirat, &[CWD, path, 0o700]), json!({})),
            done("mount", "/", |path| call(libc::SYS_mount, &[0, path, 0, private]), null),
            done("mount", &place, |path| call(libc::SYS_mount, &[at(&source), path, at(&kind)]), mounted),
            done("umount", &place, |path| call(libc::SYS_umount2, &[path]), json!({"via": "umount"})),
        ])
    }),
    // An absolute path starts at the caller's root.
    ("root", |dir| {
        std::env::set_current_dir(dir.path()).expect("a directory");
        std::os::unix::fs::chroot(".").expect("root");
        let mkdir = |path: u64| call(libc::SYS_mkdirat, &[CWD, path, 0o700]);
        let found = json!({"dir": dir.path(), "abs_path": dir.at("d")});
        let there = with(found.clone(), json!({"err": "EEXIST"}));
        Ok(vec![done("mkdir", "/d", mkdir, found), done("mkdir", "d", mkdir, there)])
    }),
    #[cfg(target_arch = "x86_64")]
    ("older calls", |dir| {
        std::env::set_current_dir(dir.path()).expect("a directory");
        made(&dir.at("a"));
        let [a, b, d] = ["a", "b", "d"].map(c);
        let of = |op: &str, path: &str, number: libc::c_long, second: u64, more: Value| {
            let here = with(json!({"dir": dir.path(), "abs_path": dir.at(path)}), more);
            done(op, path, |path| call(number, &[path, second, 3]), here)
        };
        Ok(vec![
            of("chmod", "a", libc::SYS_chmod, 0o640, json!({"mode": 0o640, "via": "chmod"})),
            of("chown", "a", libc::SYS_lchown, 2, json!({"owner": 2, "group": 3, "via": "lchown"})),
            of("rename", "a", libc::SYS_rename, at(&b), json!({"new_abs_path": dir.at("b")})),
            of("link", "b", libc::SYS_link, at(&a), json!({"new_abs_path": dir.at("a")})),
            of("unlink", "b", libc::SYS_unlink, 0, json!({"via": "unlink"})),
            of("mkdir", "d", libc::SYS_mkdir, 0o711, json!({"mode": 0o711})),
            of("rmdir", "d", libc::SYS_rmdir, 0, json!({"via": "rmdir"})),
            told(
                "symlink",
                "d",
                call(libc::SYS_symlink, &[at(&a), at(&d)]),
                json!({"dir": dir.path(), "abs_path": dir.at("d"), "target": "a"}),
            ),
            of("mknod", "b", libc::SYS_mknod, 0o10644, json!({"mode": 0o10644})),
        ])
    }),
];

const WRITES: [&str; 3] = ["--kind", "file", "--written"];

/// Whether the program at the last close works here.
fn closes_are_seen() -> bool {
    let seen = is_attached("file_closed ");
    if !seen {
        not_checked("writes: no file_closed");
    }
    seen
}

#[test]
fn a_write_is_reported_by_who_closes_the_file_last() {
    if may_trace() && closes_are_seen() {
        check(&WRITES, CHANGED);
    }
}

/// A process that ends is in no tree any more when its files are closed.
#[test]
fn a_file_that_is_open_at_the_end_of_a_process_of_command_is_reported() {
    if !may_trace() || !closes_are_seen() {
        return;
    }
    let dir = Dir::alone();
    let script = format!("/bin/cat /etc/hostname > {}; true", dir.at("log"));
    let args = [&["print", "--format", "json"], &WRITES[..], &["--", "sh", "-c", &script]].concat();
    let Some(run) = traced(&args, |_| {}) else { return };
    let all = events(&run.stdout);
    let writes = all.iter().filter(|event| event["op"] == "write" && event["abs_path"] == dir.at("log").as_str());
    assert_eq!(writes.count(), 1, "{all:#?}");
}

const CHANGED: &[Case] = &[
    ("ways", |dir| {
        let (file, other) = (dir.at("file"), dir.at("other"));
        let open = |how: &mut fs::OpenOptions| how.open(&file).expect("a file");
        fs::write(&other, "a text").expect("a file");
        fs::write(&file, "0123456789").expect("a file");
        // Before 6.13 a time is that of the last tick.
        later();
        open(File::options().append(true)).write_all(b"x").expect("a write");
        let mut changed = open(File::options().read(true).write(true));
        later();
        changed.write_all(b"y").expect("a write");
        drop(changed);
        drop(open(File::options().write(true)));
        open(File::options().read(true).write(true)).read_exact(&mut [0]).expect("a read");
        let mapped = sys::mapped(
            open(File::options().read(true).write(true)).as_raw_fd().into(),
            11,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            0,
        );
        later();
        // SAFETY: the mapping has 11 bytes.
        unsafe {
            mapped.write(b'z');
            libc::munmap(mapped.cast(), 11);
        }
        drop(open(File::options().write(true).truncate(true)));
        let from = File::open(&other).expect("a file");
        let (input, output) = (from.as_raw_fd() as u64, open(File::options().write(true)));
        let mut told = vec![wrote(&other, 6, 0), wrote(&file, 10, 0), wrote(&file, 11, 10), wrote(&file, 11, 11)];
        told.extend([wrote(&file, 11, 11), wrote(&file, 0, 11)]);
        if call(libc::SYS_sendfile, &[output.as_raw_fd() as u64, input, 0, 4]) == 4 {
            told.push(wrote(&file, 4, 0));
        }
        drop(output);
        let output = open(File::options().append(true));
        assert_eq!(call(libc::SYS_ftruncate, &[output.as_raw_fd() as u64, 2]), 0);
        told.push(told_of("truncate", &file, json!({"size": 2, "via": "ftruncate"})));
        told.push(wrote(&file, 2, 4));
        drop(output);
        let output = File::create(&file).expect("a file");
        if call(libc::SYS_copy_file_range, &[input, 0, output.as_raw_fd() as u64, 0, 2, 0]) == 2 {
            told.push(wrote(&file, 2, 2));
        } else {
            told.push(wrote(&file, 0, 2));
        }
        Ok(told)
    }),
    // As a shell does for `COMMAND > log`.
    ("redirected", |dir| {
        let log = dir.at("log");
        let child = fork(|| {
            let file = File::create(&log).expect("a file");
            sys::dup2(file.as_raw_fd() as u64, 1);
            drop(file);
            let _ = Command::new("/bin/echo").arg("hello").exec();
        });
        sys::wait(child);
        Ok(vec![with(wrote(&log, 6, 0), json!({"pid": child}))])
    }),
    ("handed on", |dir| {
        let path = dir.at("file");
        let mut file = File::create(&path).expect("a file");
        let (mut parent, held) = std::io::pipe().expect("a pipe");
        let child = fork(|| {
            sys::close(held.as_raw_fd().into());
            let _ = parent.read(&mut [0]);
            file.write_all(b"late").expect("a write");
        });
        drop(file);
        drop(held);
        sys::wait(child);
        Ok(vec![with(wrote(&path, 4, 0), json!({"pid": child}))])
    }),
    ("removed", |dir| {
        let path = dir.at("file");
        let mut file = File::create(&path).expect("a file");
        fs::remove_file(&path).expect("a file");
        file.write_all(b"text").expect("a write");
        let removed = json!({"abs_path": {"?starts": path}});
        Ok(vec![done("unlink", &path, |_| 0, json!({})), with(wrote(&path, 4, 0), removed)])
    }),
];

/// Longer than a tick of any kernel.
fn later() {
    std::thread::sleep(Duration::from_millis(25));
}

fn told_of(op: &str, file: &str, more: Value) -> Value {
    with(told(op, "", 0, json!({"path": null, "dir": null, "abs_path": file, "path_basis": "exact"})), more)
}

fn wrote(file: &str, size: u64, old_size: u64) -> Value {
    told_of("write", file, json!({"size": size, "old_size": old_size, "via": "close"}))
}

#[test]
fn no_write_is_lost_uncounted_in_a_storm() {
    const THREADS: usize = 4;
    const EACH: usize = 1_500;
    if !may_trace() || !closes_are_seen() {
        return;
    }
    let dir = Dir::alone();
    let Some(traced) = Traced::start(&WRITES) else { return };
    let child = fork(|| {
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let file = dir.at(&thread.to_string());
                scope.spawn(move || {
                    for _ in 0..EACH {
                        let mut file = File::options().create(true).append(true).open(&file).expect("a file");
                        file.write_all(b"x").expect("a write");
                    }
                });
            }
        });
    });
    sys::wait(child);
    let (run, account) = traced.stop_with_account();
    let may_lack = check_nothing_lost(&account, "file") as usize;
    let mut sizes: Vec<_> =
        run.kind_of("file", child).iter().map(|line| (line["abs_path"].clone(), n(&line["size"]))).collect();
    let seen = sizes.len();
    sizes.sort_by_key(|(path, size)| (path.to_string(), *size));
    sizes.dedup();
    assert_eq!(sizes.len(), seen, "each write is seen once");
    assert!(seen <= THREADS * EACH && seen + may_lack >= THREADS * EACH, "{seen} of {}: {account}", THREADS * EACH);
}

/// An event of a call with this result, and the absolute path.
fn told(op: &str, path: &str, ret: i64, more: Value) -> Value {
    let err = if ret < 0 { json!({"?not": null}) } else { Value::Null };
    let fields = json!({"op": op, "path": path, "ret": ret, "err": err, "uid": 0, "euid": 0});
    with(event("file", sys::pid(), fields), more)
}

/// The event of a call that is made with the address of this path.
fn done(op: &str, path: &str, make: impl FnOnce(u64) -> i64, more: Value) -> Value {
    told(op, path, make(at(&c(path))), more)
}

fn made(path: &str) -> String {
    File::create(path).expect("a file");
    path.to_owned()
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
    let expected = [
        ("chmod", &file, json!({"mode": 0o640, "via": "chmod"})),
        ("chown", &file, json!({"owner": 5, "group": 6, "via": "chown16"})),
        ("chown", &file, json!({"owner": -1, "group": 7})),
        ("rename", &file, json!({"new_path": other})),
        ("unlink", &other, json!({"via": "unlink"})),
    ];
    let expected = expected.into_iter().zip(caller.rets);
    Ok(expected.map(|((op, path, more), ret)| with(told(op, path, ret, more), json!({"pid": caller.pid}))).collect())
}
