//! The paths of files: as passed to the kernel, and as found by the kernel.

use crate::arch;
use crate::narrow::{Narrow, nr};
use crate::sys::{self, Actor, c};
use crate::traced::{Dir, Run, Traced, alone, cannot_run, doctor, trace};
use serde_json::{Value, json};
use std::os::fd::AsRawFd as _;

fn chdir(path: &str) {
    std::env::set_current_dir(path).expect("a directory");
}

fn symlink(to: &str, at: &str) {
    std::os::unix::fs::symlink(to, at).expect("a symbolic link");
}

/// Checks a successful open with these paths, as passed and as found.
fn check_open(run: &Run, pid: i32, ret: i64, path: &str, abs_path: &str) -> Value {
    let event = run.open(pid, path);
    assert!(ret >= 0, "the open itself: {ret} {event}");
    assert_eq!((&event["ret"], &event["err"]), (&ret.into(), &Value::Null), "{event}");
    assert_eq!(event["abs_path"], abs_path, "{event}");
    event
}

#[test]
fn a_relative_path_is_found_from_where_it_starts() {
    let _alone = alone();
    let dir = Dir::new();
    let deep = dir.dir("deep");
    dir.file("deep/relative");
    dir.file("up");
    let (there, base) = (deep.clone(), dir.path().to_path_buf());
    let acted = trace("open,exit", move || {
        chdir(&there);
        let dirfd = std::fs::File::open(base).expect("a directory");
        let by_dirfd = sys::openat(dirfd.as_raw_fd(), &c("deep/./relative"), libc::O_RDONLY, 0);
        vec![sys::open_path("relative"), sys::open_path("../up"), by_dirfd, dirfd.as_raw_fd().into()]
    });
    let Some((run, pid, rets)) = acted else { return };
    check_open(&run, pid, rets[0], "relative", &format!("{deep}/relative"));
    check_open(&run, pid, rets[1], "../up", &dir.at("up"));
    let event = check_open(&run, pid, rets[2], "deep/./relative", &format!("{deep}/relative"));
    assert_eq!(event["dirfd"], rets[3], "{event}");
}

#[test]
fn a_symbolic_link_shows_where_it_leads() {
    let _alone = alone();
    let dir = Dir::new();
    let target = dir.file("target");
    let (link, looped) = (dir.at("link"), dir.at("loop"));
    symlink(&target, &link);
    symlink(&looped, &looped);
    let (to_open, to_loop) = (link.clone(), looped.clone());
    let acted = trace("open,exit", move || {
        let nofollow = sys::openat(libc::AT_FDCWD, &c(to_open.clone()), libc::O_RDONLY | libc::O_NOFOLLOW, 0);
        let itself = sys::openat(libc::AT_FDCWD, &c(to_open.clone()), libc::O_PATH | libc::O_NOFOLLOW, 0);
        vec![sys::open_path(&to_open), nofollow, itself, sys::open_path(&to_loop)]
    });
    let Some((run, pid, rets)) = acted else { return };
    let events = run.kind_of("open", pid);
    let of_link: Vec<_> = events.iter().filter(|e| e["path"] == link.as_str()).collect();
    let found: Vec<_> = of_link.iter().map(|e| (e["abs_path"].clone(), e["err"].clone())).collect();
    let expected =
        [(Value::Null, "ELOOP".into()), (link.as_str().into(), Value::Null), (target.as_str().into(), Value::Null)];
    assert_eq!(found, expected, "{rets:?}");
    assert_eq!(run.open(pid, &looped)["err"], "ELOOP");
    assert_eq!(of_link[1]["flags"], "O_RDONLY|O_NOFOLLOW|O_PATH", "{}", of_link[1]);
}

#[test]
fn mounts_are_crossed_up_to_the_root_of_the_namespace() {
    let _alone = alone();
    let dir = Dir::new();
    let (source, bound, fresh) = (dir.dir("source"), dir.dir("bound"), dir.dir("fresh"));
    dir.file("source/file");
    let (in_bound, in_fresh, over) = (format!("{bound}/file"), format!("{fresh}/sub/file"), format!("{fresh}/sub"));
    let (b, f) = (in_bound.clone(), in_fresh.clone());
    let acted = trace("open,exit", move || {
        sys::own_mounts();
        sys::mount(&source, &bound, "none", libc::MS_BIND);
        sys::mount("tmpfs", &fresh, "tmpfs", 0);
        std::fs::create_dir(&over).expect("a directory");
        // Three mounts on top of each other.
        sys::mount("tmpfs", &over, "tmpfs", 0);
        std::fs::write(&f, b"").expect("a file");
        let file = sys::openat(libc::AT_FDCWD, &c(f), libc::O_RDWR, 0);
        vec![sys::open_path(&b), file, inode_of("/proc/self/ns/mnt")]
    });
    let Some((run, pid, numbers)) = acted else { return };
    let event = check_open(&run, pid, numbers[0], &in_bound, &in_bound);
    assert_eq!(event["mnt_ns"], numbers[2], "{event}");
    assert_ne!(event["mnt_ns"], inode_of("/proc/self/ns/mnt"), "{event}");
    assert_eq!(event["root"], Value::Null, "{event}");
    let event = run.one("open", pid, |e| e["path"] == in_fresh.as_str() && e["flags"] == "O_RDWR");
    assert_eq!(event["abs_path"], in_fresh, "{event}");
}

fn inode_of(path: &str) -> i64 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).expect("a file").ino() as i64
}

/// A path with the maximum number of names, for which no kernel's verifier follows every iteration of a loop.
#[test]
fn a_path_of_two_thousand_directories_is_whole() {
    let _alone = alone();
    let dir = Dir::in_memory();
    let top = dir.path().to_str().expect("UTF-8").to_owned();
    let levels = (4080 - top.len()) / 2;
    let (file, program) = ("file", "program");
    let deepest = format!("{top}{}", "/d".repeat(levels));
    let Some(traced) = Traced::start(&["--kind", "open,exec"]) else { return };
    let actor = Actor::new(move || {
        chdir(&top);
        for _ in 0..levels {
            std::fs::create_dir("d").expect("a directory");
            chdir("d");
        }
        let opened = sys::openat(libc::AT_FDCWD, &c(file), libc::O_CREAT | libc::O_RDWR, 0o600);
        let nowhere = c("/nowhere/deep");
        let failed = sys::call(libc::SYS_execve, [nowhere.as_ptr() as u64, 0, 0, 0, 0]);
        std::fs::copy("/bin/true", program).expect("a copy");
        let mut child = std::process::Command::new(format!("./{program}")).spawn().expect("a child");
        child.wait().expect("a status");
        for name in [file, program] {
            std::fs::remove_file(name).expect("a file");
        }
        for _ in 0..levels {
            chdir("..");
            std::fs::remove_dir("d").expect("an empty directory");
        }
        vec![opened, failed, child.id().into()]
    });
    let pid = actor.pid;
    let numbers = actor.run();
    let run = traced.stop();
    run.check();
    assert!(levels > 1990, "{levels}");
    let opened = run.open(pid, file);
    assert_eq!((&opened["ret"], &opened["abs_path"]), (&numbers[0].into(), &format!("{deepest}/{file}").into()));
    let failed = run.one("exec", pid, |_| true);
    assert_eq!((&failed["ret"], &failed["cwd"]), (&numbers[1].into(), &deepest.as_str().into()));
    let done = run.one("exec", numbers[2] as i32, |e| e["err"].is_null());
    assert_eq!((&done["exe"], &done["cwd"]), (&format!("{deepest}/{program}").into(), &deepest.as_str().into()));
}

#[test]
fn a_changed_root_is_named_and_not_left_out_of_the_path() {
    let _alone = alone();
    let dir = Dir::new();
    let root = dir.dir("new root");
    dir.dir("new root/etc");
    dir.file("new root/etc/file");
    let place = root.clone();
    let acted = trace("open,exit", move || {
        let path = c(place);
        // SAFETY: the path is a C string that outlives the call.
        assert_eq!(unsafe { libc::chroot(path.as_ptr()) }, 0);
        chdir("/");
        let outside = sys::open_path("/etc/file");
        vec![outside, sys::open_path("etc/../../../etc/file"), sys::open_path("/nowhere")]
    });
    let Some((run, pid, rets)) = acted else { return };
    let inside = format!("{root}/etc/file");
    for (path, ret) in [("/etc/file", rets[0]), ("etc/../../../etc/file", rets[1])] {
        assert_eq!(check_open(&run, pid, ret, path, &inside)["root"], root);
    }
    let failed = run.open(pid, "/nowhere");
    assert_eq!((&failed["abs_path"], &failed["root"]), (&Value::Null, &root.into()), "{failed}");
}

#[test]
fn deleted_and_unnamed_files_are_distinguished() {
    let _alone = alone();
    let dir = Dir::new();
    let gone = dir.file("gone");
    let (to_open, place) = (gone.clone(), dir.at(""));
    let acted = trace("open,exit", move || {
        let file = sys::open_path(&to_open);
        std::fs::remove_file(&to_open).expect("a file");
        let memfd = {
            let name = c("a memfd");
            // SAFETY: the name is a C string that outlives the call.
            i64::from(unsafe { libc::memfd_create(name.as_ptr(), 0) })
        };
        let again = sys::open_path(&format!("/proc/self/fd/{file}"));
        let of_memory = sys::open_path(&format!("/proc/self/fd/{memfd}"));
        let unnamed = sys::openat(libc::AT_FDCWD, &c(place), libc::O_TMPFILE | libc::O_RDWR, 0o640);
        vec![file, again, memfd, of_memory, unnamed]
    });
    let Some((run, pid, rets)) = acted else { return };
    let before = check_open(&run, pid, rets[0], &gone, &gone);
    assert_eq!(before["deleted"], false, "{before}");
    let after = check_open(&run, pid, rets[1], &format!("/proc/self/fd/{}", rets[0]), &gone);
    assert_eq!(after["deleted"], true, "{after}");
    let memory = run.open(pid, &format!("/proc/self/fd/{}", rets[2]));
    assert_eq!((&memory["abs_path"], &memory["ret"]), (&"memfd:a memfd".into(), &rets[3].into()), "{memory}");
    if rets[4] < 0 {
        return println!("the temporary directory knows no O_TMPFILE: {}", rets[4]);
    }
    let unnamed = run.open(pid, &dir.at(""));
    assert_eq!(unnamed["deleted"], true, "{unnamed}");
    assert_eq!(unnamed["created"], true, "{unnamed}");
    assert_eq!((&unnamed["mode"], &unnamed["flags"]), (&0o640.into(), &"O_RDWR|O_TMPFILE".into()), "{unnamed}");
    let shown = unnamed["abs_path"].as_str().expect("a path");
    assert!(shown.starts_with(&dir.at("#")), "the kernel calls it by its number: {unnamed}");
}

#[test]
fn descriptors_beyond_the_first_table_are_followed() {
    let _alone = alone();
    let dir = Dir::new();
    let paths = ["first", "second", "third"].map(|name| dir.file(name));
    let to_open = paths.clone();
    let acted = trace("open,exit", move || {
        let mut rets = vec![];
        for (path, fill) in to_open.iter().zip([0, 100, 1000]) {
            // SAFETY: dup(2) takes an integer. The copies are closed when this child ends.
            while unsafe { libc::dup(2) } < fill {}
            rets.push(sys::open_path(path));
        }
        rets
    });
    let Some((run, pid, rets)) = acted else { return };
    assert!(rets[1] > 64 && rets[2] > 256, "{rets:?}");
    for (path, ret) in paths.iter().zip(rets) {
        check_open(&run, pid, ret, path, path);
    }
}

#[test]
fn flags_modes_and_resolve_are_as_passed() {
    let _alone = alone();
    let dir = Dir::new();
    let names = ["created", "by openat2", "by creat", "by open"].map(|name| dir.at(name));
    let [created, by_openat2, by_creat, by_open] = names.clone();
    let acted = trace("open,exit", move || {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
        let how = [(libc::O_CREAT | libc::O_RDWR) as u64, 0o604, libc::RESOLVE_NO_SYMLINKS];
        let append = libc::O_RDWR | libc::O_CREAT | libc::O_APPEND | libc::O_NONBLOCK;
        vec![
            sys::openat(libc::AT_FDCWD, &c(created), flags, 0o640),
            sys::openat2(libc::AT_FDCWD, &c(by_openat2), how),
            arch::creat(&c(by_creat), 0o444),
            arch::open(&c(by_open), append, 0o1777),
        ]
    });
    let Some((run, pid, rets)) = acted else { return };
    let expected = [
        ("openat", "O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC", 0o640, Value::Null),
        ("openat2", "O_RDWR|O_CREAT", 0o604, libc::RESOLVE_NO_SYMLINKS.into()),
        (arch::CREAT, "O_WRONLY|O_CREAT|O_TRUNC", 0o444, Value::Null),
        (arch::OPEN, "O_RDWR|O_CREAT|O_APPEND|O_NONBLOCK", 0o1777, Value::Null),
    ];
    for ((path, ret), (via, flags, mode, resolve)) in names.iter().zip(rets).zip(expected) {
        let event = check_open(&run, pid, ret, path, path);
        assert_eq!((&event["via"], &event["flags"]), (&via.into(), &flags.into()), "{event}");
        assert_eq!((&event["mode"], &event["resolve"]), (&mode.into(), &resolve), "{event}");
    }
}

#[test]
fn what_openat2_is_asked_and_cannot_be_read_says_so() {
    let _alone = alone();
    let dir = Dir::new();
    let path = dir.file("file");
    let to_open = c(path.clone());
    let acted = trace("open,exit", move || {
        let cwd = libc::AT_FDCWD as u64;
        vec![sys::call(libc::SYS_openat2, [cwd, to_open.as_ptr() as u64, 8, 24, 0])]
    });
    let Some((run, pid, rets)) = acted else { return };
    assert_eq!(rets, [-i64::from(libc::EFAULT)]);
    let event = run.open(pid, &path);
    assert_eq!(event["err"], "EFAULT", "{event}");
    for field in ["flags", "flags_raw", "mode", "resolve"] {
        assert_eq!(event[field], Value::Null, "{field} of {event}");
        assert_eq!(event[format!("{field}_why")], "fault", "{field} of {event}");
    }
}

/// The arguments are in a page of the opened file itself, and the open truncates the file.
#[test]
fn an_openat2_that_takes_its_arguments_away_does_not_hide_the_file() {
    let _alone = alone();
    let dir = Dir::new();
    let path = dir.file("file");
    let to_open = c(path.clone());
    let acted = trace("open,exit", move || {
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
        let cwd = libc::AT_FDCWD as u64;
        vec![sys::call(libc::SYS_openat2, [cwd, to_open.as_ptr() as u64, how as u64, 24, 0])]
    });
    let Some((run, pid, rets)) = acted else { return };
    assert!(rets[0] >= 0, "{rets:?}");
    let event = run.one("open", pid, |event| event["via"] == "openat2");
    assert_eq!((&event["abs_path"], &event["path"]), (&path.as_str().into(), &path.as_str().into()), "{event}");
    assert_eq!((&event["flags"], &event["flags_why"]), (&Value::Null, &"fault".into()), "{event}");
}

/// A tracepoint after the call can only look up the returned descriptor. In the meantime another thread may have
/// replaced its file. A file that also has another descriptor is detected by its reference count.
#[test]
fn a_descriptor_that_another_thread_replaces_never_shows_the_other_file() {
    let _alone = alone();
    let dir = Dir::new();
    let (path, other) = (dir.file("opened"), dir.file("put in its place"));
    let (to_open, decoy) = (c(path.clone()), c(other));
    let acted = trace("open,exit", move || {
        let decoy = sys::openat(libc::AT_FDCWD, &decoy, libc::O_RDONLY, 0);
        let contested = sys::openat(libc::AT_FDCWD, &to_open, libc::O_RDONLY, 0);
        sys::close(contested);
        std::thread::spawn(move || {
            loop {
                sys::dup2(decoy as u64, contested as u64);
                sys::close(contested);
            }
        });
        (0..OPENS).for_each(|_| sys::close(sys::openat(libc::AT_FDCWD, &to_open, libc::O_RDONLY, 0)));
        vec![]
    });
    let Some((run, pid, _)) = acted else { return };
    let events: Vec<Value> = run.kind_of("open", pid).into_iter().filter(|e| e["path"] == path.as_str()).collect();
    assert_eq!(events.len(), OPENS + 1);
    let ours = |e: &Value| e["abs_path"] == path.as_str();
    let raced = |e: &Value| e["abs_path"].is_null() && e["abs_path_why"] == "raced";
    println!("descriptors lost to another thread: {}", events.iter().filter(|e| raced(e)).count());
    let wrong: Vec<_> = events.iter().filter(|e| e["err"].is_null() && !ours(e) && !raced(e)).collect();
    assert!(wrong.is_empty(), "{} wrong ones, the first {:?}", wrong.len(), wrong.first());
}

/// The number of opens, large enough for another thread to interfere.
const OPENS: usize = 30_000;

#[test]
fn namespaces_are_those_of_proc_and_ids_are_the_initial_ones() {
    let _alone = alone();
    let Some(traced) = Traced::start(&[]) else { return };
    let outer = Actor::new(|| {
        sys::unshare(libc::CLONE_NEWPID | libc::CLONE_NEWNS);
        let inner = Actor::new(|| {
            sys::open_path("/nowhere/inside");
            vec![i64::from(sys::pid()), inode_of("/proc/self/ns/mnt"), inode_of("/proc/self/ns/pid")]
        });
        let pid = inner.pid;
        [vec![pid.into()], inner.run()].concat()
    });
    let outer_pid = outer.pid;
    let numbers = outer.run();
    let run = traced.stop();
    run.check();
    let [pid, _, mnt_ns, pid_ns] = numbers[..] else { panic!("four numbers: {numbers:?}") };
    for event in [run.open(pid as i32, "/nowhere/inside"), run.one("exit", pid as i32, |_| true)] {
        assert_eq!((&event["mnt_ns"], &event["pid_ns"]), (&mnt_ns.into(), &pid_ns.into()), "{event}");
        assert_eq!((&event["ns_pid"], &event["ppid"]), (&1.into(), &outer_pid.into()), "{event}");
    }
    let outside = run.one("exit", outer_pid, |_| true);
    assert_eq!((&outside["ns_pid"], &outside["mnt_ns"]), (&Value::Null, &mnt_ns.into()), "{outside}");
    assert_eq!(outside["pid_ns"], inode_of("/proc/self/ns/pid"), "{outside}");
}

#[test]
fn a_32_bit_call_is_seen_as_one() {
    let _alone = alone();
    let dir = Dir::new();
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
    let Some(traced) = Traced::start(&["--kind", "open"]) else { return };
    let Some(caller) = narrow.run_to_its_end(&dir) else { return arch::no_narrow() };
    let run = traced.stop();
    run.check();
    let events = run.kind_of("open", caller.pid);
    if events.is_empty() && doctor().contains("32-bit") {
        return cannot_run("the probes in use do not see 32-bit callers, as reported by doctor");
    }
    let expected = [
        ("open", &*there, "O_RDWR|O_CLOEXEC", json!(null), json!(null)),
        ("open", "/nowhere/32", "O_RDONLY|O_DIRECT", json!(null), json!(null)),
        ("creat", &made, "O_WRONLY|O_CREAT|O_TRUNC", json!(0o640), json!(null)),
        ("openat", &place, "O_RDONLY|O_LARGEFILE|O_DIRECTORY|O_NOFOLLOW", json!(null), json!(null)),
        ("openat2", &there, "O_RDWR|O_CLOEXEC", json!(null), json!(libc::RESOLVE_NO_SYMLINKS)),
    ];
    assert_eq!(events.len(), expected.len(), "{events:#?}");
    for ((event, (via, path, flags, mode, resolve)), ret) in events.iter().zip(expected).zip(caller.rets) {
        assert_eq!((&event["abi"], &event["via"]), (&arch::NARROW_ABI.into(), &via.into()), "{event}");
        assert_eq!((&event["path"], &event["ret"]), (&path.into(), &ret.into()), "{event}");
        assert_eq!((&event["flags"], &event["dirfd"]), (&flags.into(), &libc::AT_FDCWD.into()), "{event}");
        assert_eq!((&event["mode"], &event["resolve"]), (&mode, &resolve), "{event}");
        let found = if path.starts_with("/nowhere") { Value::Null } else { path.into() };
        assert_eq!((&event["abs_path"], ret < 0), (&found, found.is_null()), "{event}");
    }
    assert_eq!(events[1]["err"], "ENOENT");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_call_of_x32_is_seen_as_one() {
    let _alone = alone();
    let dir = Dir::new();
    let (there, created) = (dir.file("by x32"), dir.at("created"));
    let Some(traced) = Traced::start(&["--kind", "open"]) else { return };
    let low = sys::Pages::new(1, libc::MAP_32BIT);
    let mut actor = Actor::new(|| {
        let put = |at, path: &str| low.put(at, &c(path).into_bytes_with_nul()) as u64;
        let [path, new, nowhere] = [put(0, &there), put(1024, &created), put(2048, "/nowhere/x32")];
        let how = [(libc::O_RDWR | libc::O_CLOEXEC) as u64, 0, libc::RESOLVE_NO_SYMLINKS];
        let how = low.put(3072, &how.map(u64::to_le_bytes).concat()) as u64;
        let cwd = libc::AT_FDCWD as u64;
        vec![
            arch::x32(libc::SYS_open, [path, libc::O_RDONLY as u64, 0, 0, 0]),
            arch::x32(libc::SYS_openat, [cwd, path, libc::O_RDWR as u64, 0, 0]),
            arch::x32(libc::SYS_openat2, [cwd, path, how, 24, 0]),
            arch::x32(libc::SYS_creat, [new, 0o640, 0, 0, 0]),
            arch::x32(libc::SYS_open, [nowhere, 0, 0, 0, 0]),
        ]
    });
    actor.go();
    let pid = actor.pid;
    let (_, rets) = actor.end();
    let run = traced.stop();
    run.check();
    if rets[0] == -i64::from(libc::ENOSYS) {
        return crate::traced::not_checked(
            "x32: this kernel has no x32 system calls (CONFIG_X86_X32_ABI, syscall.x32=y)",
        );
    }
    let events = run.kind_of("open", pid);
    if events.is_empty() && doctor().contains("x32") {
        return cannot_run("the probes in use do not see x32 callers, as reported by doctor");
    }
    assert!(events.iter().all(|e| e["abi"] == "x32"), "{events:#?}");
    let told: Vec<_> = events.iter().map(|e| (e["via"].as_str(), e["path"].as_str(), e["ret"].as_i64())).collect();
    let calls = ["open", "openat", "openat2", "creat", "open"].map(Some);
    let paths = [&there, &there, &there, &created, "/nowhere/x32"].map(|path: &str| Some(path));
    let expected: Vec<_> =
        calls.into_iter().zip(paths).zip(rets).map(|((via, path), ret)| (via, path, Some(ret))).collect();
    assert_eq!(told, expected);
    for (event, path) in events.iter().zip([&there, &there, &there, &created]) {
        assert_eq!(event["abs_path"], path.as_str(), "{event}");
    }
    assert_eq!((&events[2]["flags"], &events[3]["mode"]), (&"O_RDWR|O_CLOEXEC".into(), &0o640.into()));
    assert_eq!(events[4]["err"], "ENOENT");
}

#[test]
fn an_overlay_shows_the_merged_path() {
    let _alone = alone();
    let dir = Dir::in_memory();
    let [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map(|name| dir.dir(name));
    dir.file("lower/below");
    let options = c(format!("lowerdir={lower},upperdir={upper},workdir={work}"));
    let (below, above) = (format!("{merged}/below"), format!("{merged}/deep/above"));
    let (to_read, to_make) = (below.clone(), above.clone());
    let acted = trace("open,exit", move || {
        sys::own_mounts();
        let (name, at) = (c("overlay"), c(merged.clone()));
        // SAFETY: all arguments are C strings that outlive the call.
        let mounted = unsafe { libc::mount(name.as_ptr(), at.as_ptr(), name.as_ptr(), 0, options.as_ptr().cast()) };
        if mounted != 0 {
            return vec![];
        }
        std::fs::create_dir(format!("{merged}/deep")).expect("a directory");
        let made = sys::openat(libc::AT_FDCWD, &c(to_make), libc::O_WRONLY | libc::O_CREAT, 0o600);
        vec![sys::open_path(&to_read), made]
    });
    let Some((run, pid, rets)) = acted else { return };
    if rets.is_empty() {
        return cannot_run("overlayfs cannot be mounted");
    }
    check_open(&run, pid, rets[0], &below, &below);
    check_open(&run, pid, rets[1], &above, &above);
}

#[test]
fn directories_that_move_or_go_are_followed() {
    let _alone = alone();
    let dir = Dir::new();
    let (old, new, gone) = (dir.dir("old"), dir.at("new"), dir.dir("gone"));
    dir.file("old/file");
    let (before, after, doomed) = (old.clone(), new.clone(), gone.clone());
    let acted = trace("open,exit", move || {
        chdir(&before);
        std::fs::rename(&before, &after).expect("a new name");
        let moved = sys::open_path("file");
        let there = std::fs::File::open(&doomed).expect("a directory");
        chdir(&doomed);
        std::fs::remove_dir(&doomed).expect("an empty directory");
        let here = sys::open_path(".");
        vec![moved, here, there.as_raw_fd().into(), sys::open_path("nothing is made here")]
    });
    let Some((run, pid, rets)) = acted else { return };
    check_open(&run, pid, rets[0], "file", &format!("{new}/file"));
    let event = check_open(&run, pid, rets[1], ".", &gone);
    assert_eq!(event["deleted"], true, "{event}");
    assert_eq!(run.open(pid, "nothing is made here")["err"], "ENOENT");
}

#[test]
fn a_detached_mount_is_unreachable() {
    let _alone = alone();
    let dir = Dir::new();
    let (place, fresh) = (dir.dir("place"), dir.dir("fresh"));
    dir.file("place/file");
    let to_clone = place.clone();
    let acted = trace("open,exit", move || {
        const OPEN_TREE_CLONE: u64 = 1;
        sys::own_mounts();
        let path = c(to_clone);
        let here = libc::AT_FDCWD as u64;
        let tree = sys::call(libc::SYS_open_tree, [here, path.as_ptr() as u64, OPEN_TREE_CLONE, 0, 0]);
        let in_clone = sys::openat(tree as i32, &c("file"), libc::O_RDONLY, 0);
        sys::mount("tmpfs", &fresh, "tmpfs", 0);
        std::fs::write(format!("{fresh}/kept"), b"").expect("a file");
        let root = std::fs::File::open(&fresh).expect("a directory");
        let target = c(fresh);
        // SAFETY: the path is a C string that outlives the call.
        assert_eq!(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) }, 0);
        vec![in_clone, sys::openat(root.as_raw_fd(), &c("kept"), libc::O_RDONLY, 0)]
    });
    let Some((run, pid, rets)) = acted else { return };
    for (path, ret) in ["file", "kept"].into_iter().zip(rets) {
        let event = run.one("open", pid, |e| e["path"] == path && e["dirfd"] != libc::AT_FDCWD);
        assert!(ret >= 0 && event["ret"] == ret, "{ret} {event}");
        assert_eq!((&event["abs_path"], &event["abs_path_why"]), (&Value::Null, &"unreachable".into()), "{event}");
    }
    let kept = run.one("open", pid, |e| e["path"] == "kept");
    assert_eq!((&kept["fs_path"], &kept["fs"]["type"]), (&"/kept".into(), &"tmpfs".into()), "{kept}");
}

/// The mount id of a descriptor, from /proc/self/fdinfo.
fn mount_id(fd: i32) -> i64 {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).expect("it is open");
    let line = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).expect("every file has a mount");
    line.trim().parse().expect("a number")
}

/// Every way to a file of a detached mount: a directory below the root of its file system, and another file system below that.
#[test]
fn a_file_of_a_detached_mount_has_its_path_in_the_file_system() {
    const DEEP: usize = 90;
    let _alone = alone();
    let dir = Dir::new();
    let (tree, inner) = (dir.dir("tree"), dir.dir("tree/inner"));
    let program = format!("{tree}/program");
    std::fs::copy("/bin/true", &program).expect("a copy");
    // More levels than a program walks by itself before 6.9.
    let deep = "deep/".repeat(DEEP);
    std::fs::create_dir_all(format!("{tree}/{deep}")).expect("directories");
    std::fs::write(format!("{tree}/{deep}file"), b"").expect("a file");
    let device = std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(&tree).expect("it is there"));
    let (to_clone, deep_file) = (tree.clone(), format!("{deep}file"));
    let Some(traced) = Traced::start(&["--kind", "open,exec"]) else { return };
    let actor = Actor::new(move || {
        const OPEN_TREE_CLONE: u64 = 1;
        const AT_RECURSIVE: u64 = 0x8000;
        sys::own_mounts();
        sys::mount("tmpfs", &inner, "tmpfs", 0);
        std::fs::write(format!("{inner}/file"), b"").expect("a file");
        let (path, here) = (c(to_clone), libc::AT_FDCWD as u64);
        let flags = OPEN_TREE_CLONE | AT_RECURSIVE;
        let root = sys::call(libc::SYS_open_tree, [here, path.as_ptr() as u64, flags, 0, 0]) as i32;
        assert!(root >= 0, "{root}");
        let by_proc = sys::open_path(&format!("/proc/self/fd/{root}/program"));
        let below = sys::openat(root, &c("inner/file"), libc::O_RDONLY, 0);
        let at_root = sys::openat(root, &c("."), libc::O_RDONLY, 0);
        // SAFETY: fchdir(2) takes an integer.
        assert_eq!(unsafe { libc::fchdir(root) }, 0);
        let by_cwd = sys::open_path(&deep_file);
        let mut child = std::process::Command::new(format!("/proc/self/fd/{root}/program")).spawn().expect("a program");
        child.wait().expect("a status");
        let ids = [root, below as i32].map(mount_id);
        vec![by_proc, below, at_root, by_cwd, child.id().into(), ids[0], ids[1], root.into()]
    });
    let pid = actor.pid;
    let rets = actor.run();
    let run = traced.stop();
    run.check();
    let &[by_proc, below, at_root, by_cwd, child, mount, mount_below, root] = &rets[..] else { panic!("{rets:?}") };
    let open = |path: String, ret: i64| {
        let event = run.one("open", pid, |e| e["path"] == *path && e["ret"] == ret);
        assert!(ret >= 0 && event["abs_path_why"] == "unreachable", "{event}");
        event
    };
    let number = format!("{}:{}", libc::major(device), libc::minor(device));
    // What is mounted at / may be a directory of the file system.
    let inside = |event: &Value, at: &str, end: &str| {
        let path = event[format!("{at}fs_path")].as_str().expect("a path");
        assert!(path.ends_with(&format!("/tree{end}")), "{path} {event}");
        let fs = &event[format!("{at}fs")];
        assert_eq!((&fs["device"], &fs["mount_id"]), (&Value::from(&*number), &mount.into()), "{event}");
        assert!(fs["type"].as_str().is_some_and(|kind| !kind.is_empty()), "{event}");
    };
    inside(&open(format!("/proc/self/fd/{root}/program"), by_proc), "", "/program");
    inside(&open(".".into(), at_root), "", "");
    inside(&open(format!("{deep}file"), by_cwd), "", &format!("/{deep}file"));
    let below = open("inner/file".into(), below);
    assert_eq!((&below["fs_path"], &below["fs"]["type"]), (&"/file".into(), &"tmpfs".into()), "{below}");
    assert_eq!(below["fs"]["mount_id"], mount_below, "{below}");
    let exec = run.one("exec", child as i32, |e| e["ret"] == 0);
    assert_eq!((&exec["exe_why"], &exec["cwd_why"]), (&"unreachable".into(), &"unreachable".into()), "{exec}");
    inside(&exec, "", "/program");
    inside(&exec, "cwd_", "");
}

/// chroot(2) accepts a directory of a mount that is in no mount namespace. A path from that root is not a path of the
/// namespace.
#[test]
fn a_root_outside_of_the_mount_namespace_is_unreachable() {
    let _alone = alone();
    let dir = Dir::new();
    let file = dir.file("file");
    let path = file.clone();
    let Some(traced) = Traced::start(&["--kind", "open,exec"]) else { return };
    let actor = Actor::new(move || {
        const OPEN_TREE_CLONE: u64 = 1;
        const AT_RECURSIVE: u64 = 0x8000;
        let root = std::fs::File::open("/").expect("a directory");
        let (here, slash) = (libc::AT_FDCWD as u64, c("/"));
        let tree = sys::call(libc::SYS_open_tree, [here, slash.as_ptr() as u64, OPEN_TREE_CLONE | AT_RECURSIVE, 0, 0]);
        assert!(tree >= 0, "{tree}");
        // SAFETY: fchdir(2) takes an integer, and the path is a C string that outlives the call.
        let chroot_to = |fd: i32| unsafe { libc::fchdir(fd) + libc::chroot(c".".as_ptr()) };
        assert_eq!(chroot_to(tree as i32), 0);
        let rets = [sys::open_path(&path), sys::open_path("/is missing")];
        let mut program = std::process::Command::new("/bin/cat").arg("/dev/null").spawn().expect("a program");
        let program = (program.id(), program.wait().expect("a status")).0;
        assert_eq!(chroot_to(root.as_raw_fd()), 0);
        vec![rets[0], rets[1], program.into(), sys::open_path("/proc/self/stat")]
    });
    let pid = actor.pid;
    let rets = actor.run();
    let run = traced.stop();
    run.check();
    let unreachable = |event: &Value, field: &str| {
        let why = format!("{field}_why");
        assert_eq!((&event[field], &event[why.as_str()]), (&Value::Null, &"unreachable".into()), "{event}");
    };
    let opened = run.open(pid, &file);
    assert!(opened["ret"] == rets[0] && rets[0] >= 0, "{opened}");
    unreachable(&opened, "abs_path");
    assert!(opened["fs_path"].as_str().is_some_and(|path| path.ends_with("/file")), "{opened}");
    unreachable(&opened, "root");
    let missing = run.open(pid, "/is missing");
    assert_eq!(missing["err"], "ENOENT", "{missing}");
    unreachable(&missing, "root");
    let exec = run.one("exec", rets[2] as i32, |_| true);
    assert_eq!(exec["ret"], 0, "{exec}");
    unreachable(&exec, "exe");
    unreachable(&exec, "cwd");
    assert!(exec["fs_path"].as_str().is_some_and(|path| path.ends_with("/cat")), "{exec}");
    let back = run.open(pid, "/proc/self/stat");
    assert_eq!((&back["fs_path"], &back["fs"]), (&Value::Null, &Value::Null), "{back}");
    assert_eq!((&back["root"], &back["root_why"]), (&Value::Null, &Value::Null), "{back}");
    assert!(back["abs_path"].as_str().is_some_and(|path| path.ends_with("/stat")), "{back}");
}

/// A process that leaves its root by a descriptor is still in the mount namespace, and so are the files that it opens.
#[test]
fn a_file_outside_of_the_root_has_its_path() {
    let _alone = alone();
    let dir = Dir::new();
    let (file, jail) = (dir.file("outside"), dir.dir("jail"));
    let relative = file.trim_start_matches('/').to_owned();
    let asked = relative.clone();
    let acted = trace("open,exit", move || {
        let root = std::fs::File::open("/").expect("a directory");
        // SAFETY: the path is a C string that outlives the call.
        assert_eq!(unsafe { libc::chroot(c(jail).as_ptr()) }, 0);
        let ret = sys::openat(root.as_raw_fd(), &c(relative), libc::O_RDONLY, 0);
        // SAFETY: fchdir(2) takes an integer, and the path is a C string that outlives the call.
        assert_eq!(unsafe { libc::fchdir(root.as_raw_fd()) + libc::chroot(c".".as_ptr()) }, 0);
        vec![ret]
    });
    let Some((run, pid, rets)) = acted else { return };
    let event = run.open(pid, &asked);
    assert!(rets[0] >= 0 && event["ret"] == rets[0], "{event}");
    assert_eq!(event["abs_path"], *file, "{event}");
    assert!(event["root"].is_null() && event.get("root_why").is_some(), "{event}");
}

#[test]
fn a_file_opened_by_its_handle_has_a_path_and_none_was_asked() {
    let _alone = alone();
    let dir = Dir::in_memory();
    let file = dir.file("by handle");
    let (to_open, place) = (file.clone(), dir.at(""));
    let acted = trace("open,exit", move || {
        // `struct file_handle`: the size in bytes, the type, and room for the handle.
        let mut handle = [0u32; 2 + 32];
        handle[0] = 128;
        let mut mount = 0;
        let path = c(to_open);
        let here = libc::AT_FDCWD as u64;
        let (at, mount_at) = (handle.as_mut_ptr() as u64, (&raw mut mount) as u64);
        let named = sys::call(libc::SYS_name_to_handle_at, [here, path.as_ptr() as u64, at, mount_at, 0]);
        if named != 0 {
            return vec![];
        }
        let place = std::fs::File::open(place).expect("a directory");
        let flags = (libc::O_RDWR | libc::O_CLOEXEC) as u64;
        let opened = sys::call(libc::SYS_open_by_handle_at, [place.as_raw_fd() as u64, at, flags, 0, 0]);
        handle[2] ^= 0xffff;
        handle[4] ^= 0xffff;
        // The kernel reads the handle by an address that the compiler does not track.
        std::hint::black_box(&mut handle);
        let stale = sys::call(libc::SYS_open_by_handle_at, [place.as_raw_fd() as u64, at, flags, 0, 0]);
        vec![opened, stale, place.as_raw_fd().into()]
    });
    let Some((run, pid, rets)) = acted else { return };
    if rets.is_empty() || rets[0] < 0 {
        return cannot_run("this file system does not support file handles, or they cannot be opened");
    }
    let events: Vec<Value> = run.kind_of("open", pid).into_iter().filter(|e| e["via"] == "open_by_handle_at").collect();
    assert_eq!(events.len(), 2, "{events:#?}");
    assert_eq!((&events[0]["ret"], &events[0]["flags"]), (&rets[0].into(), &"O_RDWR|O_CLOEXEC".into()));
    assert_eq!((&events[0]["path"], &events[0]["dirfd"]), (&"".into(), &rets[2].into()), "{}", events[0]);
    assert_eq!(events[0].get("path_why"), None, "nothing was asked for, so nothing is unread: {}", events[0]);
    // The kernel may not know a name that was not looked up.
    assert_eq!(events[0]["abs_path"], file, "{}", events[0]);
    assert_eq!(events[1]["ret"], rets[1], "{}", events[1]);
}

#[test]
fn what_a_call_created_is_told_from_what_was_there() {
    let _alone = alone();
    let dir = Dir::new();
    let (new, other) = (dir.at("new"), dir.at("other"));
    let at = libc::AT_FDCWD;
    let create = libc::O_CREAT | libc::O_WRONLY;
    let how = [create as u64, 0o600, 0];
    let (to_create, by_openat2) = (c(new.as_str()), c(other.as_str()));
    let acted = trace("open,exit", move || {
        vec![
            sys::openat(at, &to_create, create, 0o600),
            sys::openat(at, &to_create, create, 0o600),
            sys::openat(at, &to_create, libc::O_RDONLY, 0),
            sys::openat(at, &to_create, create | libc::O_EXCL, 0o600),
            sys::openat2(at, &by_openat2, how),
            sys::openat2(at, &by_openat2, how),
        ]
    });
    let Some((run, pid, rets)) = acted else { return };
    let created = |path: &str| -> Vec<Value> {
        let of_path = run.lines().filter(|event| event["pid"] == pid && event["path"] == path);
        of_path.map(|event| event["created"].clone()).collect()
    };
    assert!(rets[0] >= 0 && rets[3] == -i64::from(libc::EEXIST), "{rets:?}");
    assert_eq!(created(&new), [Value::Bool(true), false.into(), false.into(), Value::Null]);
    assert_eq!(created(&other), [Value::Bool(true), false.into()]);
}
