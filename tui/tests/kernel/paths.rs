//! The paths of files: as passed to the kernel, and as found by the kernel.

use crate::identity::files_have_the_identity_of_stat;
use crate::prelude::*;
use std::os::unix::fs::chroot;

const OPENS: [&str; 2] = ["--kind", "open,exec,exit"];

#[test]
fn opens_have_the_paths_of_the_kernel() {
    check(&OPENS, PATHS);
}

#[test]
fn opens_by_other_views_of_files_have_their_paths() {
    check(&OPENS, VIEWS);
}

#[test]
fn opens_have_what_was_passed() {
    check(&OPENS, PASSED);
}

#[test]
fn opens_of_32_bit_and_x32_callers_are_seen_as_such() {
    check_callers(&OPENS, CALLERS, |event| match event["abi"].as_str()? {
        arch::NARROW_ABI => Some("32-bit"),
        "x32" => Some("x32"),
        _ => None,
    });
}

const PATHS: &[Case] = &[
    ("relative", relative),
    ("symbolic links", symbolic_links),
    ("2000 deep", two_thousand_directories),
    ("deleted", deleted),
    ("unnamed", unnamed),
    ("descriptors", descriptors_beyond_the_first_table),
    ("moved", directories_that_move_or_go),
    ("starts", where_relative_paths_start),
    ("created", created),
    ("effective user", |dir| {
        let path = dir.file("file");
        sys::set_user(-1, sys::NOBODY.into(), -1);
        let told = open(&path, sys::open_path(&path), json!({"uid": 0, "euid": sys::NOBODY}));
        Ok(vec![told])
    }),
];

const VIEWS: &[Case] = &[
    ("mounts", mounts_up_to_the_root),
    ("changed root", changed_root),
    ("namespaces", namespaces),
    ("overlay", overlay),
    ("detached", detached_mount),
    ("in detached", file_of_a_detached_mount),
    ("detached root", root_outside_of_the_mount_namespace),
    ("outside of root", file_outside_of_the_root),
    ("starts in views", where_relative_paths_start_in_other_views),
    ("by handle", by_handle),
    ("identity", files_have_the_identity_of_stat),
];

const PASSED: &[Case] = &[
    ("flags", flags_modes_and_resolve),
    ("unread how", |dir| {
        let path = dir.file("file");
        let to_open = c(path.as_str());
        let ret = call(libc::SYS_openat2, &[CWD, to_open.as_ptr() as u64, 8, 24]);
        let unread = ["flags", "flags_raw", "mode", "resolve"].iter();
        let unread =
            unread.flat_map(|field| [((*field).to_owned(), Value::Null), (format!("{field}_why"), "fault".into())]);
        Ok(vec![with(failed(&path, ret, "EFAULT", libc::EFAULT), Value::Object(unread.collect()))])
    }),
    ("taken how", openat2_that_takes_its_arguments_away),
    ("in root", |dir| {
        let (place, base) = (dir.path(), File::open(dir.path()).expect("a directory"));
        let how = |resolve| [0, 0, resolve];
        let ask = |path: &str, resolve| sys::openat2(base.as_raw_fd(), &c(path), how(resolve));
        let (absolute, relative) = (ask("/none", libc::RESOLVE_IN_ROOT), ask("none", libc::RESOLVE_IN_ROOT));
        Ok(vec![
            with(missing("/none", absolute), json!({"dir": null, "dir_why": "not_collected", "abs_path": null})),
            with(missing("none", relative), starts_at(place.to_str().expect("text"), "none")),
        ])
    }),
];

const CALLERS: &[Case] = &[
    ("32-bit", narrow_callers),
    #[cfg(target_arch = "x86_64")]
    ("x32", x32_callers),
];

const OPEN_TREE_CLONE: u64 = 1;
const AT_RECURSIVE: u64 = 0x8000;

fn chdir(path: &str) {
    std::env::set_current_dir(path).expect("a directory");
}

/// Makes a directory the root and the working directory.
fn chroot_to(fd: i32) {
    assert_eq!(call(libc::SYS_fchdir, &[fd as u64]), 0);
    chroot(".").expect("root");
}

fn inode_of(path: &str) -> u64 {
    fs::metadata(path).expect("a file").ino()
}

fn open_tree(path: &str, flags: u64) -> i32 {
    let path = c(path);
    let tree = call(libc::SYS_open_tree, &[CWD, path.as_ptr() as u64, flags]) as i32;
    assert!(tree >= 0, "{tree}");
    tree
}

fn open(path: &str, ret: i64, more: Value) -> Value {
    with(event("open", sys::pid(), json!({"path": path, "ret": ret})), more)
}

fn opened(path: &str, ret: i64, abs_path: &str) -> Value {
    assert!(ret >= 0, "{path}: {ret}");
    open(path, ret, json!({"err": null, "abs_path": abs_path}))
}

fn reads(path: &str, abs_path: &str) -> Value {
    opened(path, sys::open_path(path), abs_path)
}

fn failed(path: &str, ret: i64, err: &str, errno: i32) -> Value {
    assert_eq!(ret, -i64::from(errno), "{path}");
    open(path, ret, json!({"err": err}))
}

fn missing(path: &str, ret: i64) -> Value {
    failed(path, ret, "ENOENT", libc::ENOENT)
}

fn starts_at(place: &str, path: &str) -> Value {
    let place = place.trim_end_matches('/');
    json!({"dir": if place.is_empty() { "/" } else { place }, "dir_why": absent(), "abs_path": format!("{place}/{path}")})
}

fn misses(place: &str, path: &str) -> Value {
    with(missing(path, sys::open_path(path)), starts_at(place, path))
}

/// A successful open whose file is not below the root of the mount namespace.
fn unreachable(path: &str, ret: i64) -> Value {
    assert!(ret >= 0, "{path}: {ret}");
    open(path, ret, json!({"abs_path": null, "abs_path_why": "unreachable"}))
}

fn relative(dir: &Dir) -> Told {
    let (deep, base) = (dir.dir("deep"), File::open(dir.path()).expect("a directory"));
    let (file, up, dirfd) = (dir.file("deep/relative"), dir.file("up"), base.as_raw_fd());
    chdir(&deep);
    let by_dirfd = sys::openat(dirfd, &c("deep/./relative"), libc::O_RDONLY, 0);
    Ok(vec![
        with(opened("deep/./relative", by_dirfd, &file), json!({"dirfd": dirfd})),
        reads("relative", &file),
        reads("../up", &up),
    ])
}

fn symbolic_links(dir: &Dir) -> Told {
    let (target, link, looped) = (dir.file("target"), dir.at("link"), dir.at("loop"));
    symlink(&target, &link).expect("a symbolic link");
    symlink(&looped, &looped).expect("a symbolic link");
    let open_with = |flags: i32| sys::openat(libc::AT_FDCWD, &c(link.as_str()), flags, 0);
    let nofollow = open_with(libc::O_NOFOLLOW);
    let itself = open_with(libc::O_PATH | libc::O_NOFOLLOW);
    Ok(vec![
        with(failed(&link, nofollow, "ELOOP", libc::ELOOP), json!({"abs_path": link})),
        with(opened(&link, itself, &link), json!({"flags": "O_RDONLY|O_NOFOLLOW|O_PATH"})),
        reads(&link, &target),
        failed(&looped, sys::open_path(&looped), "ELOOP", libc::ELOOP),
    ])
}

/// A path with the maximum number of names, for which no kernel's verifier follows every iteration of a loop.
fn two_thousand_directories(_: &Dir) -> Told {
    let dir = Dir::in_memory();
    let top = dir.at("");
    let top = top.trim_end_matches('/');
    let levels = (4080 - top.len()) / 2;
    assert!(levels > 1990, "{levels}");
    let deepest = format!("{top}{}", "/d".repeat(levels));
    chdir(top);
    for _ in 0..levels {
        fs::create_dir("d").expect("a directory");
        chdir("d");
    }
    let ret = sys::openat(libc::AT_FDCWD, &c("file"), libc::O_CREAT | libc::O_RDWR, 0o600);
    let nowhere = c("/nowhere/deep");
    let failed = call(libc::SYS_execve, &[nowhere.as_ptr() as u64]);
    fs::copy("/bin/true", "program").expect("a copy");
    let child = sys::run_program(&mut Command::new("./program"));
    for name in ["file", "program"] {
        fs::remove_file(name).expect("a file");
    }
    // remove_dir_all(3) would hold as many descriptors.
    for _ in 0..levels {
        chdir("..");
        fs::remove_dir("d").expect("an empty directory");
    }
    let done = json!({"err": null, "exe": format!("{deepest}/program"), "cwd": deepest});
    Ok(vec![
        opened("file", ret, &format!("{deepest}/file")),
        event("exec", sys::pid(), json!({"ret": failed, "cwd": deepest})),
        event("exec", child, done),
    ])
}

fn deleted(dir: &Dir) -> Told {
    let gone = dir.file("gone");
    let before = reads(&gone, &gone);
    fs::remove_file(&gone).expect("a file");
    let memory = sys::memory(c"a memfd");
    let [again, memory] = [before["ret"].to_string(), memory.to_string()].map(|fd| format!("/proc/self/fd/{fd}"));
    Ok(vec![
        with(before, json!({"deleted": false})),
        with(reads(&again, &gone), json!({"deleted": true})),
        reads(&memory, "memfd:a memfd"),
    ])
}

fn unnamed(dir: &Dir) -> Told {
    let place = dir.at("");
    let ret = sys::openat(libc::AT_FDCWD, &c(place.as_str()), libc::O_TMPFILE | libc::O_RDWR, 0o640);
    if ret < 0 {
        return Err(format!("the temporary directory knows no O_TMPFILE: {ret}"));
    }
    // The kernel calls it by its number.
    let shown = json!({"abs_path": {"?starts": dir.at("#")}, "deleted": true, "created": true});
    Ok(vec![with(open(&place, ret, shown), json!({"mode": 0o640, "flags": "O_RDWR|O_TMPFILE"}))])
}

fn descriptors_beyond_the_first_table(dir: &Dir) -> Told {
    let told = [("first", 0, 0), ("second", 100, 64), ("third", 1000, 256)].map(|(name, fill, least)| {
        let path = dir.file(name);
        // The copies are closed when this child ends.
        while call(libc::SYS_dup, &[2]) < fill {}
        let event = reads(&path, &path);
        assert!(event["ret"].as_i64() > Some(least) || fill == 0, "{event}");
        event
    });
    Ok(told.to_vec())
}

fn directories_that_move_or_go(dir: &Dir) -> Told {
    let (old, new, gone) = (dir.dir("old"), dir.at("new"), dir.dir("gone"));
    dir.file("old/file");
    chdir(&old);
    fs::rename(&old, &new).expect("a new name");
    let moved = reads("file", &format!("{new}/file"));
    let _there = File::open(&gone).expect("a directory");
    chdir(&gone);
    fs::remove_dir(&gone).expect("an empty directory");
    let here = with(reads(".", &gone), json!({"deleted": true}));
    let nothing = "nothing is made here";
    Ok(vec![moved, here, with(misses(&gone, nothing), json!({"deleted": true}))])
}

/// What happens after a call does not change where its path started.
fn where_relative_paths_start(dir: &Dir) -> Told {
    let places = ["first", "second", "third"].map(|name| dir.dir(name));
    let [first, second, third] = places.each_ref().map(String::as_str);
    let (file, other) = (dir.file("file"), dir.file("other"));
    let base = |path: &str| File::open(path).expect("it is there");
    let below = |base: &File, path: &str| sys::openat(base.as_raw_fd(), &c(path), libc::O_RDONLY, 0);
    chdir(first);
    let in_first = misses(first, "in/first");
    chdir(second);
    let up = misses(second, "../none");
    let held = base(first);
    let number = held.as_raw_fd();
    let by_first = with(missing("none", below(&held, "none")), starts_at(first, "none"));
    drop(held);
    let held = base(third);
    assert_eq!(held.as_raw_fd(), number, "the next file has the same number");
    let by_third = with(missing("none", below(&held, "none")), starts_at(third, "none"));
    let closed = sys::openat(number + 900, &c("none"), libc::O_RDONLY, 0);
    let gone = json!({"dir": null, "dir_why": "vanished", "abs_path": null, "abs_path_why": "vanished"});
    let by_file = failed("none", below(&base(&file), "none"), "ENOTDIR", libc::ENOTDIR);
    let absolute = missing("/nowhere/at all", sys::open_path("/nowhere/at all"));
    let none = json!({"dir": null, "dir_why": absent(), "abs_path": "/nowhere/at all"});
    chdir("/");
    Ok(vec![
        in_first,
        up,
        by_first,
        by_third,
        with(failed("none", closed, "EBADF", libc::EBADF), gone),
        with(by_file, starts_at(&file, "none")),
        with(absolute, none),
        misses("/", "is missing"),
        with(missing("", sys::open_path("")), json!({"dir": "/", "abs_path": null, "abs_path_why": "failed"})),
        with(reads(&other, &other), json!({"dir": null, "dir_why": absent()})),
    ])
}

/// In a bind mount of another mount namespace, and in a root of its own.
fn where_relative_paths_start_in_other_views(dir: &Dir) -> Told {
    let [source, bound, jail, inner] = ["source", "bound", "jail", "jail/inner"].map(|name| dir.dir(name));
    sys::own_mounts();
    sys::mount(&source, &bound, "none", libc::MS_BIND);
    chdir(&bound);
    let in_bound = misses(&bound, "none");
    let outside = File::open(&source).expect("a directory");
    let detached = open_tree(&source, OPEN_TREE_CLONE);
    let by_detached = missing("none", sys::openat(detached, &c("none"), libc::O_RDONLY, 0));
    chroot(&jail).expect("root");
    chdir("/inner");
    let in_jail = with(misses(&inner, "none"), json!({"root": jail}));
    let below_root = with(missing("/none", sys::open_path("/none")), json!({"abs_path": format!("{jail}/none")}));
    let by_outside = sys::openat(outside.as_raw_fd(), &c("none"), libc::O_RDONLY, 0);
    Ok(vec![
        in_bound,
        with(by_detached, json!({"dir": null, "dir_why": "unreachable", "abs_path_why": "unreachable"})),
        in_jail,
        with(below_root, json!({"dir": null, "dir_why": absent(), "root": jail})),
        with(missing("none", by_outside), starts_at(&source, "none")),
    ])
}

fn created(dir: &Dir) -> Told {
    let (new, other) = (dir.at("new"), dir.at("other"));
    let create = libc::O_CREAT | libc::O_WRONLY;
    let by_openat = |flags: i32, created: Value| {
        let ret = sys::openat(libc::AT_FDCWD, &c(new.as_str()), flags, 0o600);
        open(&new, ret, json!({"created": created}))
    };
    let by_openat2 = |created: bool| {
        let ret = sys::openat2(libc::AT_FDCWD, &c(other.as_str()), [create as u64, 0o600, 0]);
        open(&other, ret, json!({"created": created}))
    };
    let told = vec![
        by_openat(create, true.into()),
        by_openat(create, false.into()),
        by_openat(libc::O_RDONLY, false.into()),
        by_openat(create | libc::O_EXCL, Value::Null),
        by_openat2(true),
        by_openat2(false),
    ];
    assert!(told[0]["ret"].as_i64() >= Some(0) && told[3]["ret"] == -libc::EEXIST, "{told:?}");
    Ok(told)
}

fn mounts_up_to_the_root(dir: &Dir) -> Told {
    let (source, bound, fresh) = (dir.dir("source"), dir.dir("bound"), dir.dir("fresh"));
    dir.file("source/file");
    let (in_bound, in_fresh, over) = (format!("{bound}/file"), format!("{fresh}/sub/file"), format!("{fresh}/sub"));
    let outside = inode_of("/proc/self/ns/mnt");
    sys::own_mounts();
    sys::mount(&source, &bound, "none", libc::MS_BIND);
    sys::mount("tmpfs", &fresh, "tmpfs", 0);
    fs::create_dir(&over).expect("a directory");
    // Three mounts on top of each other.
    sys::mount("tmpfs", &over, "tmpfs", 0);
    chdir(&over);
    fs::write("file", b"").expect("a file");
    let in_three = sys::openat(libc::AT_FDCWD, &c(in_fresh.as_str()), libc::O_RDWR, 0);
    let inside = inode_of("/proc/self/ns/mnt");
    assert_ne!(inside, outside);
    Ok(vec![
        with(opened(&in_fresh, in_three, &in_fresh), json!({"flags": "O_RDWR"})),
        with(reads(&in_bound, &in_bound), json!({"mnt_ns": inside, "root": null})),
    ])
}

fn changed_root(dir: &Dir) -> Told {
    let root = dir.dir("new root");
    dir.dir("new root/etc");
    let inside = dir.file("new root/etc/file");
    chroot_to(File::open(&root).expect("a directory").as_raw_fd());
    let told = [reads("/etc/file", &inside), reads("etc/../../../etc/file", &inside), {
        let ret = sys::open_path("/nowhere");
        open("/nowhere", ret, json!({"abs_path": format!("{root}/nowhere")}))
    }];
    Ok(told.map(|event| with(event, json!({"root": root}))).to_vec())
}

fn namespaces(_: &Dir) -> Told {
    let outside = inode_of("/proc/self/ns/pid");
    sys::unshare(libc::CLONE_NEWPID | libc::CLONE_NEWNS);
    let inner = Actor::new(|| {
        sys::open_path("/nowhere/inside");
        ["mnt", "pid"].map(|name| inode_of(&format!("/proc/self/ns/{name}")) as i64).to_vec()
    });
    let pid = inner.pid;
    let [mnt_ns, pid_ns] = inner.run()[..] else { panic!("two numbers") };
    let own = json!({"mnt_ns": mnt_ns, "pid_ns": pid_ns, "ns_pid": 1, "ppid": sys::pid()});
    Ok(vec![
        event("open", pid, with(own.clone(), json!({"path": "/nowhere/inside"}))),
        event("exit", pid, own),
        event("exit", sys::pid(), json!({"ns_pid": null, "mnt_ns": mnt_ns, "pid_ns": outside})),
    ])
}

fn overlay(dir: &Dir) -> Told {
    sys::own_mounts();
    // Some file systems below /tmp carry no overlay.
    sys::mount("tmpfs", &dir.at(""), "tmpfs", 0);
    let [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map(|name| dir.dir(name));
    dir.file("lower/below");
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    sys::try_mount("overlay", &merged, "overlay", 0, &options).map_err(|_| "overlayfs cannot be mounted")?;
    fs::create_dir(format!("{merged}/deep")).expect("a directory");
    let (below, above) = (format!("{merged}/below"), format!("{merged}/deep/above"));
    let made = sys::openat(libc::AT_FDCWD, &c(above.as_str()), libc::O_WRONLY | libc::O_CREAT, 0o600);
    Ok(vec![opened(&above, made, &above), reads(&below, &below)])
}

fn detached_mount(dir: &Dir) -> Told {
    let (place, fresh) = (dir.dir("place"), dir.dir("fresh"));
    dir.file("place/file");
    sys::own_mounts();
    let tree = open_tree(&place, OPEN_TREE_CLONE);
    let in_clone = sys::openat(tree, &c("file"), libc::O_RDONLY, 0);
    sys::mount("tmpfs", &fresh, "tmpfs", 0);
    fs::write(format!("{fresh}/kept"), b"").expect("a file");
    let root = File::open(&fresh).expect("a directory");
    sys::umount(&fresh);
    let kept = unreachable("kept", sys::openat(root.as_raw_fd(), &c("kept"), libc::O_RDONLY, 0));
    Ok(vec![unreachable("file", in_clone), with(kept, json!({"fs_path": "/kept", "fs": {"type": "tmpfs"}}))])
}

fn mount_id(fd: i32) -> i64 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).expect("it is open");
    let line = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).expect("every file has a mount");
    line.trim().parse().expect("a number")
}

/// Every way to a file of a detached mount: a directory below the root of its file system, and another file system below that.
fn file_of_a_detached_mount(dir: &Dir) -> Told {
    const DEEP: usize = 90;
    let (tree, inner) = (dir.dir("tree"), dir.dir("tree/inner"));
    fs::copy("/bin/true", format!("{tree}/program")).expect("a copy");
    // More levels than a program walks by itself before 6.9.
    let deep_file = format!("{}file", "deep/".repeat(DEEP));
    fs::create_dir_all(format!("{tree}/{}", "deep/".repeat(DEEP))).expect("directories");
    fs::write(format!("{tree}/{deep_file}"), b"").expect("a file");
    let device = fs::metadata(&tree).expect("it is there").dev();
    sys::own_mounts();
    sys::mount("tmpfs", &inner, "tmpfs", 0);
    fs::write(format!("{inner}/file"), b"").expect("a file");
    let root = open_tree(&tree, OPEN_TREE_CLONE | AT_RECURSIVE);
    let program = format!("/proc/self/fd/{root}/program");
    let by_proc = sys::open_path(&program);
    let below = sys::openat(root, &c("inner/file"), libc::O_RDONLY, 0);
    let at_root = sys::openat(root, &c("."), libc::O_RDONLY, 0);
    assert_eq!(call(libc::SYS_fchdir, &[root as u64]), 0);
    let by_cwd = sys::open_path(&deep_file);
    let child = sys::run_program(&mut Command::new(&program));
    let fs = json!({
        "device": format!("{}:{}", libc::major(device), libc::minor(device)), "mount_id": mount_id(root),
        "type": {"?not": {"?or": [null, ""]}},
    });
    // What is mounted at / may be a directory of the file system.
    let inside =
        |at: &str, end: &str| json!({format!("{at}fs_path"): {"?ends": format!("/tree{end}")}, format!("{at}fs"): fs});
    let exec = json!({"ret": 0, "exe_why": "unreachable", "cwd_why": "unreachable"});
    let exec = event("exec", child, with(with(exec, inside("", "/program")), inside("cwd_", "")));
    let of_inner = json!({"fs_path": "/file", "fs": {"type": "tmpfs", "mount_id": mount_id(below as i32)}});
    Ok(vec![
        with(unreachable(&program, by_proc), inside("", "/program")),
        with(unreachable("inner/file", below), of_inner),
        with(unreachable(".", at_root), inside("", "")),
        with(unreachable(&deep_file, by_cwd), inside("", &format!("/{deep_file}"))),
        exec,
    ])
}

/// chroot(2) accepts a directory of a mount that is in no mount namespace. A path from that root is not a path of the
/// namespace.
fn root_outside_of_the_mount_namespace(dir: &Dir) -> Told {
    let file = dir.file("file");
    let root = File::open("/").expect("a directory");
    chroot_to(open_tree("/", OPEN_TREE_CLONE | AT_RECURSIVE));
    let (ret, missing) = (sys::open_path(&file), sys::open_path("/is missing"));
    // It may be a link.
    let cat = fs::canonicalize("/bin/cat").expect("a program");
    let name = cat.file_name().and_then(|name| name.to_str()).expect("a name");
    let program = sys::run_program(Command::new("/bin/cat").arg("/dev/null"));
    chroot_to(root.as_raw_fd());
    let no_root = json!({"root": null, "root_why": "unreachable"});
    let back = json!({
        "abs_path": {"?ends": "/stat"}, "fs_path": null, "fs": null, "root": null, "root_why": null,
    });
    let exec = json!({
        "ret": 0, "exe": null, "exe_why": "unreachable", "cwd": null, "cwd_why": "unreachable",
        "fs_path": {"?ends": format!("/{name}")},
    });
    Ok(vec![
        with(with(unreachable(&file, ret), json!({"fs_path": {"?ends": "/file"}})), no_root.clone()),
        with(failed("/is missing", missing, "ENOENT", libc::ENOENT), no_root),
        event("exec", program, exec),
        open("/proc/self/stat", sys::open_path("/proc/self/stat"), back),
    ])
}

/// A process that leaves its root by a descriptor is still in the mount namespace, and so are the files that it opens.
fn file_outside_of_the_root(dir: &Dir) -> Told {
    let (file, jail) = (dir.file("outside"), dir.dir("jail"));
    let relative = file.trim_start_matches('/');
    let root = File::open("/").expect("a directory");
    chroot(&jail).expect("root");
    let ret = sys::openat(root.as_raw_fd(), &c(relative), libc::O_RDONLY, 0);
    chroot_to(root.as_raw_fd());
    Ok(vec![with(opened(relative, ret, &file), json!({"root": null, "root_why": {"?not": absent()}}))])
}

/// The file is opened without a path.
fn by_handle(_: &Dir) -> Told {
    let dir = Dir::in_memory();
    let file = dir.file("by handle");
    // `struct file_handle`: the size in bytes, the type, and room for the handle.
    let mut handle = [0u32; 2 + 32];
    handle[0] = 128;
    let mut mount = 0;
    let path = c(file.as_str());
    let (at, mount_at) = (handle.as_mut_ptr() as u64, (&raw mut mount) as u64);
    let named = call(libc::SYS_name_to_handle_at, &[CWD, path.as_ptr() as u64, at, mount_at]);
    let place = File::open(dir.path()).expect("a directory");
    let flags = (libc::O_RDWR | libc::O_CLOEXEC) as u64;
    let open_handle = || call(libc::SYS_open_by_handle_at, &[place.as_raw_fd() as u64, at, flags]);
    let ret = open_handle();
    if named != 0 || ret < 0 {
        return Err("this file system does not support file handles, or they cannot be opened".to_owned());
    }
    handle[2] ^= 0xffff;
    handle[4] ^= 0xffff;
    // The kernel reads the handle by an address that the compiler does not track.
    std::hint::black_box(&mut handle);
    let stale = open_handle();
    let via = json!({"via": "open_by_handle_at"});
    // The kernel may not know a name that was not looked up.
    let known =
        json!({"flags": "O_RDWR|O_CLOEXEC", "dirfd": place.as_raw_fd(), "abs_path": file, "path_why": absent()});
    Ok(vec![with(open("", ret, via.clone()), known), open("", stale, via)])
}

fn flags_modes_and_resolve(dir: &Dir) -> Told {
    let [created, by_openat2, by_creat, by_open] =
        ["created", "by openat2", "by creat", "by open"].map(|name| dir.at(name));
    let create = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
    let how = [(libc::O_CREAT | libc::O_RDWR) as u64, 0o604, libc::RESOLVE_NO_SYMLINKS];
    let append = libc::O_RDWR | libc::O_CREAT | libc::O_APPEND | libc::O_NONBLOCK;
    let passed = |path: &str, ret: i64, via: &str, flags: &str, mode: u32| {
        with(opened(path, ret, path), json!({"via": via, "flags": flags, "mode": mode, "resolve": null}))
    };
    let openat = sys::openat(libc::AT_FDCWD, &c(created.as_str()), create, 0o640);
    let openat2 = sys::openat2(libc::AT_FDCWD, &c(by_openat2.as_str()), how);
    let [creat, open] = [arch::creat(&c(by_creat.as_str()), 0o444), arch::open(&c(by_open.as_str()), append, 0o1777)];
    let resolve = json!({"resolve": libc::RESOLVE_NO_SYMLINKS});
    Ok(vec![
        passed(&created, openat, "openat", "O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC", 0o640),
        with(passed(&by_openat2, openat2, "openat2", "O_RDWR|O_CREAT", 0o604), resolve),
        passed(&by_creat, creat, arch::CREAT, "O_WRONLY|O_CREAT|O_TRUNC", 0o444),
        passed(&by_open, open, arch::OPEN, "O_RDWR|O_CREAT|O_APPEND|O_NONBLOCK", 0o1777),
    ])
}

/// The arguments are in a page of the opened file itself, and the open truncates the file.
fn openat2_that_takes_its_arguments_away(dir: &Dir) -> Told {
    let path = dir.file("file");
    let to_open = c(path.as_str());
    let writable = sys::openat(libc::AT_FDCWD, &to_open, libc::O_RDWR, 0);
    let fd = i32::try_from(writable).expect("a descriptor");
    // SAFETY: the kernel chooses the address of the new mapping. The file has 4096 bytes, so the 24 bytes can be
    // written.
    let how = unsafe {
        assert_eq!(libc::ftruncate(fd, 4096), 0);
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        let page = libc::mmap(std::ptr::null_mut(), 4096, access, kind, fd, 0);
        assert_ne!(page, libc::MAP_FAILED);
        page.cast::<[u64; 3]>().write([(libc::O_RDWR | libc::O_TRUNC) as u64, 0, 0]);
        page
    };
    sys::close(writable);
    let ret = call(libc::SYS_openat2, &[CWD, to_open.as_ptr() as u64, how as u64, 24]);
    let by_openat2 = json!({"via": "openat2", "flags": null, "flags_why": "fault"});
    let before = open(&path, writable, json!({"via": "openat"}));
    Ok(vec![before, with(opened(&path, ret, &path), by_openat2)])
}

fn narrow_callers(dir: &Dir) -> Told {
    let (there, made, place) = (dir.file("by a 32-bit call"), dir.at("made"), dir.dir("place"));
    let mut narrow = Narrow::new();
    let [file, new, directory, nowhere] = [&there, &made, &place, "/nowhere/32"].map(|path| narrow.text(path));
    let how = [(libc::O_RDWR | libc::O_CLOEXEC) as u64, 0, libc::RESOLVE_NO_SYMLINKS];
    let how = narrow.put(&how.map(u64::to_le_bytes).concat());
    let cwd = libc::AT_FDCWD as u32;
    // The flags that have different bits on ARM.
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW | arch::O_LARGEFILE;
    let calls = [
        (nr::OPEN, [file, (libc::O_RDWR | libc::O_CLOEXEC) as u32, 0, 0]),
        (nr::OPEN, [nowhere, libc::O_DIRECT as u32, 0, 0]),
        (nr::CREAT, [new, 0o640, 0, 0]),
        (arch::nr32::OPENAT, [cwd, directory, flags as u32, 0]),
        (nr::OPENAT2, [cwd, file, how, 24]),
    ];
    calls.into_iter().for_each(|(number, args)| narrow.call(number, args));
    let caller = narrow.run_to_its_end(dir)?;
    let told = [
        ("open", &*there, "O_RDWR|O_CLOEXEC", json!({})),
        ("open", "/nowhere/32", "O_RDONLY|O_DIRECT", json!({"err": "ENOENT"})),
        ("creat", &made, "O_WRONLY|O_CREAT|O_TRUNC", json!({"mode": 0o640})),
        ("openat", &place, "O_RDONLY|O_LARGEFILE|O_DIRECTORY|O_NOFOLLOW", json!({})),
        ("openat2", &there, "O_RDWR|O_CLOEXEC", json!({"resolve": libc::RESOLVE_NO_SYMLINKS})),
    ];
    let told = told.into_iter().zip(caller.rets).map(|((via, path, flags, more), ret)| {
        assert_eq!(ret >= 0, path != "/nowhere/32", "{path}: {ret}");
        let all = json!({
            "pid": caller.pid, "abi": arch::NARROW_ABI, "via": via, "flags": flags, "dirfd": libc::AT_FDCWD, "mode": null,
            "resolve": null, "abs_path": path, "dir": null,
        });
        with(with(open(path, ret, json!({})), all), more)
    });
    Ok(told.collect())
}

#[cfg(target_arch = "x86_64")]
fn x32_callers(dir: &Dir) -> Told {
    let (there, created) = (dir.file("by x32"), dir.at("created"));
    let low = sys::Pages::new(1, libc::MAP_32BIT);
    let put = |at, path: &str| low.put(at, &c(path).into_bytes_with_nul()) as u64;
    let [path, new, nowhere] = [put(0, &there), put(1024, &created), put(2048, "/nowhere/x32")];
    let how = [(libc::O_RDWR | libc::O_CLOEXEC) as u64, 0, libc::RESOLVE_NO_SYMLINKS];
    let how = low.put(3072, &how.map(u64::to_le_bytes).concat()) as u64;
    let calls = [
        ("open", libc::SYS_open, [path, libc::O_RDONLY as u64, 0, 0, 0], json!({"abs_path": there})),
        ("openat", libc::SYS_openat, [CWD, path, libc::O_RDWR as u64, 0, 0], json!({"abs_path": there})),
        (
            "openat2",
            libc::SYS_openat2,
            [CWD, path, how, 24, 0],
            json!({"abs_path": there, "flags": "O_RDWR|O_CLOEXEC"}),
        ),
        ("creat", libc::SYS_creat, [new, 0o640, 0, 0, 0], json!({"abs_path": created, "mode": 0o640})),
        ("open", libc::SYS_open, [nowhere, 0, 0, 0, 0], json!({"err": "ENOENT"})),
    ];
    let paths = [&there, &there, &there, &created, "/nowhere/x32"];
    let mut told = Vec::new();
    for ((via, number, args, more), path) in calls.into_iter().zip(paths) {
        let ret = arch::x32(number, &args);
        if ret == -i64::from(libc::ENOSYS) {
            return Err("this kernel has no x32 system calls (CONFIG_X86_X32_ABI, syscall.x32=y)".to_owned());
        }
        told.push(with(open(path, ret, more), json!({"abi": "x32", "via": via})));
    }
    Ok(told)
}
