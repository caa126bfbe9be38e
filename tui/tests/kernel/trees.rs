//! What is captured by where a process comes from: its ancestors, its cgroup.

use crate::sys::{self, Actor};
use crate::traced::{Traced, alone, cannot_run, n, not_checked};
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers that a test shares with its children.
#[derive(Clone, Copy)]
pub(crate) struct Shared(&'static [AtomicU64; 512]);

impl Shared {
    pub(crate) fn new() -> Shared {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping of zeros, as large as these numbers and aligned for them, never unmapped.
        unsafe {
            let at = libc::mmap(std::ptr::null_mut(), size_of::<[AtomicU64; 512]>(), prot, flags, -1, 0);
            assert_ne!(at, libc::MAP_FAILED);
            Shared(&*at.cast())
        }
    }

    /// One of them.
    pub(crate) fn at(&self, index: usize) -> &'static AtomicU64 {
        &self.0[index]
    }
}

/// What the storm does at present: nothing that counts, at first.
const PHASE: usize = 0;
/// How often somebody of the tree opened [`OPENED`] when that had to be seen.
const INSIDE: usize = 1;
const COUNTED: u64 = 1;
const END: u64 = 2;
const OPENED: &str = "/nowhere/in the tree";

/// Forks, calls `act` in the child and ends it.
pub(crate) fn fork(act: impl FnOnce()) -> i32 {
    // SAFETY: the child of a process with one thread; it leaves by _exit.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        act();
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    pid
}

fn open_counted(shared: &Shared) {
    if shared.0[PHASE].load(Ordering::SeqCst) == COUNTED {
        sys::open_path(OPENED);
        shared.0[INSIDE].fetch_add(1, Ordering::SeqCst);
    }
}

/// Three generations, the last of them orphans, as long as the storm lasts.
fn storm(shared: &Shared) {
    // A test that fails leaves no storm behind.
    // SAFETY: integers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
    while shared.0[PHASE].load(Ordering::SeqCst) != END {
        let child = fork(|| {
            open_counted(shared);
            let mut wire = [0; 2];
            // SAFETY: a place for two descriptors.
            unsafe { libc::pipe(wire.as_mut_ptr()) };
            fork(|| {
                // Waits until its parent has ended: then the pipe's last writer is gone.
                sys::close(wire[1].into());
                // SAFETY: a place for a byte.
                unsafe { libc::read(wire[0], (&raw mut wire).cast(), 1) };
                open_counted(shared);
                fork(|| open_counted(shared));
                open_counted(shared);
            });
        });
        sys::wait(child);
    }
}

#[test]
fn a_tree_is_whole_also_when_it_forks_while_the_trace_starts() {
    let _alone = alone();
    let shared = Shared::new();
    let (inside, outside) = (shared, shared);
    let mut root = Actor::new(move || {
        // Orphans come to us, so that we see them all end.
        // SAFETY: integers only.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
        (0..3).for_each(|_| {
            fork(|| storm(&inside));
        });
        // Workers and orphans as they end: none fills the table of processes, however long the tracer takes to start.
        // SAFETY: no place for a status.
        while unsafe { libc::wait(std::ptr::null_mut()) } > 0 {}
        vec![]
    });
    let mut stranger = Actor::new(move || {
        while outside.0[PHASE].load(Ordering::SeqCst) != END {
            sys::open_path("/nowhere/outside");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        vec![]
    });
    root.go();
    stranger.go();
    std::thread::sleep(std::time::Duration::from_millis(50));
    let Some(traced) = Traced::start(&["--tree", &root.pid.to_string(), "--kind", "open,exit"]) else { return };
    shared.0[PHASE].store(COUNTED, Ordering::SeqCst);
    // However slow the machine is: until it was a storm.
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while shared.0[INSIDE].load(Ordering::SeqCst) <= 100 && std::time::Instant::now() < patience {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    shared.0[PHASE].store(END, Ordering::SeqCst);
    let pid = root.pid;
    root.end();
    stranger.end();
    let run = traced.stop();
    let account = run.check();
    let opened = run.lines().filter(|e| e["path"] == OPENED).count() as u64;
    assert!(opened > 50, "a storm: {opened}");
    assert_eq!(opened, shared.0[INSIDE].load(Ordering::SeqCst), "every open of the tree, {account}");
    assert_eq!(run.lines().filter(|e| e["path"] == "/nowhere/outside").count(), 0);
    assert!(n(&account["kinds"]["open"]["filtered"]) > 0, "the kernel side kept the stranger's: {account}");
    run.one("exit", pid, |_| true);
}

#[test]
fn several_trees_are_either_and_a_root_counts_itself() {
    let _alone = alone();
    let actors = [1, 2, 3].map(|i| {
        Actor::new(move || {
            sys::open_path(&format!("/nowhere/root {i}"));
            sys::wait(fork(|| {
                sys::open_path(&format!("/nowhere/child {i}"));
            }));
            vec![]
        })
    });
    let pids = [0, 1, 2].map(|i| actors[i].pid.to_string());
    let list = format!("{},{}", pids[0], pids[2]);
    let Some(traced) = Traced::start(&["--tree", &list, "--kind", "open"]) else { return };
    for actor in actors {
        actor.run();
    }
    let run = traced.stop();
    run.check();
    let mut paths: Vec<_> = run.lines().map(|e| e["path"].as_str().unwrap_or_default().to_owned()).collect();
    paths.retain(|path| path.starts_with("/nowhere/"));
    assert_eq!(paths, ["/nowhere/root 1", "/nowhere/child 1", "/nowhere/root 3", "/nowhere/child 3"]);
}

/// A cgroup, removed with the value.
pub(crate) struct Cgroup(String);

impl Cgroup {
    /// `None` where there is no such hierarchy, or nothing may be made in it.
    pub(crate) fn new(name: &str) -> Option<Cgroup> {
        Cgroup::below(name, |kind, _| kind == "cgroup2")
    }

    /// One of the hierarchy that has a name and no controllers.
    fn of_systemd(name: &str) -> Option<Cgroup> {
        Cgroup::below(name, |kind, options| kind == "cgroup" && options.split(',').any(|o| o == "name=systemd"))
    }

    /// One of the hierarchy whose mount's type and options are these.
    fn below(name: &str, which: impl Fn(&str, &str) -> bool) -> Option<Cgroup> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
        let words = |line: &str| Some((line.split(' ').nth(2)?.to_owned(), line.split(' ').nth(3)?.to_owned()));
        let line = mounts.lines().find(|line| words(line).is_some_and(|(kind, options)| which(&kind, &options)))?;
        let path = format!("{}/{name}-{}", line.split(' ').nth(1)?, sys::pid());
        std::fs::create_dir(&path).ok()?;
        Some(Cgroup(path))
    }

    pub(crate) fn enter(&self) {
        std::fs::write(format!("{}/cgroup.procs", self.0), "0").expect("a process may move itself");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_cgroup_is_captured_by_its_path() {
    let _alone = alone();
    let (Some(wanted), Some(other)) = (Cgroup::new("tracetui-wanted"), Cgroup::new("tracetui-other")) else {
        return cannot_run("no cgroup v2 hierarchy to make a cgroup in");
    };
    let inside = Actor::new(|| {
        wanted.enter();
        vec![sys::open_path("/nowhere/wanted")]
    });
    let outside = Actor::new(|| {
        other.enter();
        vec![sys::open_path("/nowhere/other")]
    });
    let Some(traced) = Traced::start(&["--cgroup", "/tracetui-wanted-*", "--kind", "open,exit"]) else { return };
    let pid = inside.pid;
    inside.run();
    outside.run();
    // One that is made now is let through once it is named: its first process's fork, exec or exit names it.
    let late = Cgroup::new("tracetui-wanted-late").expect("a cgroup");
    let actor = Actor::new(|| {
        late.enter();
        sys::wait(fork(|| ()));
        std::thread::sleep(std::time::Duration::from_millis(300));
        vec![sys::open_path("/nowhere/late")]
    });
    actor.run();
    let run = traced.stop();
    let account = run.check();
    let opens: Vec<_> = run.lines().filter(|e| e["kind"] == "open").collect();
    let paths: Vec<_> = opens.iter().map(|e| e["path"].as_str().unwrap_or_default()).collect();
    assert_eq!(paths.iter().filter(|path| **path == "/nowhere/wanted").count(), 1, "{paths:?}");
    assert_eq!(paths.iter().filter(|path| **path == "/nowhere/late").count(), 1, "{paths:?} {account}");
    assert!(!paths.contains(&"/nowhere/other"), "{paths:?}");
    let cgroup = opens.iter().find(|e| e["path"] == "/nowhere/wanted").expect("there")["cgroup"].clone();
    assert_eq!(run.one("exit", pid, |_| true)["cgroup"], cgroup);
}

#[test]
fn a_cgroup_of_the_named_hierarchy_is_captured_where_the_v2_one_is_the_root() {
    let _alone = alone();
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let (true, Some(wanted)) = (own.lines().any(|line| line == "0::/"), Cgroup::of_systemd("tracetui-named")) else {
        return not_checked("cgroups of a v1 hierarchy name=systemd: there is none, or we are in one of v2");
    };
    let shared = Shared::new();
    let opener = |inside: bool| {
        let wanted = &wanted;
        Actor::new(move || {
            if inside {
                wanted.enter();
            }
            shared.at(1 + usize::from(inside)).store(1, Ordering::SeqCst);
            while shared.at(PHASE).load(Ordering::SeqCst) == 0 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let child = fork(|| {
                sys::open_path(if inside { "/nowhere/inside, child" } else { "/nowhere/outside, child" });
            });
            sys::wait(child);
            vec![sys::open_path(if inside { "/nowhere/inside" } else { "/nowhere/outside" })]
        })
    };
    let mut actors = [opener(true), opener(false)];
    actors.iter_mut().for_each(Actor::go);
    while shared.at(1).load(Ordering::SeqCst) + shared.at(2).load(Ordering::SeqCst) < 2 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let Some(traced) = Traced::start(&["--cgroup", "/tracetui-named-*", "--kind", "open"]) else { return };
    shared.at(PHASE).store(1, Ordering::SeqCst);
    for actor in actors {
        assert_eq!(actor.end().0.code(), Some(0));
    }
    let run = traced.stop();
    let account = run.check();
    let opens: Vec<_> = run.lines().filter(|e| e["kind"] == "open").collect();
    let paths: Vec<_> = opens.iter().map(|e| e["path"].as_str().unwrap_or_default()).collect();
    assert_eq!(paths, ["/nowhere/inside, child", "/nowhere/inside"], "{account}");
    assert!(opens.iter().all(|e| e["cgroup"].as_str().is_some_and(|path| path.starts_with("/tracetui-named-"))));
    assert!(n(&account["kinds"]["open"]["filtered"]) >= 2, "the others' are counted: {account}");
}
