//! Capture by the origin of processes: their ancestors and their cgroup.

use crate::prelude::*;

/// Numbers that a test shares with its children.
#[derive(Clone, Copy)]
pub(crate) struct Shared(&'static [AtomicU64; 512]);

impl Shared {
    pub(crate) fn new() -> Shared {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: the mapping is new, large enough and aligned for the numbers, filled with zeros, and never unmapped.
        unsafe {
            let at = libc::mmap(std::ptr::null_mut(), size_of::<[AtomicU64; 512]>(), prot, flags, -1, 0);
            assert_ne!(at, libc::MAP_FAILED);
            Shared(&*at.cast())
        }
    }

    pub(crate) fn at(&self, index: usize) -> &'static AtomicU64 {
        &self.0[index]
    }
}

/// The phase of the storm. At first, no opens are counted.
const PHASE: usize = 0;
/// The number of opens of [`OPENED`] by processes of the tree while they are counted.
const INSIDE: usize = 1;
const COUNTED: u64 = 1;
const END: u64 = 2;
const OPENED: &str = "/nowhere/in the tree";

fn open_counted(shared: &Shared) {
    if shared.0[PHASE].load(Ordering::SeqCst) == COUNTED {
        sys::open_path(OPENED);
        shared.0[INSIDE].fetch_add(1, Ordering::SeqCst);
    }
}

/// Forks three generations, the last of which are orphans, as long as the storm lasts.
fn storm(shared: &Shared) {
    sys::end_with_the_parent();
    while shared.0[PHASE].load(Ordering::SeqCst) != END {
        let child = fork(|| {
            open_counted(shared);
            let (mut parent, held) = std::io::pipe().expect("a pipe");
            fork(|| {
                // It waits until its parent has ended, and so the last writer of the pipe is gone.
                sys::close(held.as_raw_fd().into());
                let _ = parent.read(&mut [0]);
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
    let shared = Shared::new();
    let (inside, outside) = (shared, shared);
    let mut root = Actor::new(move || {
        // Orphans become children of this process, which then waits for all of them.
        sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
        (0..3).for_each(|_| {
            fork(|| storm(&inside));
        });
        // Workers and orphans are waited for as they end. So the table of processes is not filled, even if the tracer
        // takes long to start.
        // SAFETY: wait(2) accepts null for the status.
        while unsafe { libc::wait(std::ptr::null_mut()) } > 0 {}
        vec![]
    });
    let mut stranger = Actor::new(move || {
        while outside.0[PHASE].load(Ordering::SeqCst) != END {
            sys::open_path("/nowhere/outside");
            std::thread::sleep(Duration::from_millis(1));
        }
        vec![]
    });
    root.go();
    stranger.go();
    std::thread::sleep(Duration::from_millis(50));
    let Some(traced) = Traced::start(&["--tree", &root.pid.to_string(), "--kind", "open,exit"]) else { return };
    shared.0[PHASE].store(COUNTED, Ordering::SeqCst);
    // Waits until enough events occurred, even on a slow machine.
    sys::wait_until(|| shared.0[INSIDE].load(Ordering::SeqCst) > 100);
    shared.0[PHASE].store(END, Ordering::SeqCst);
    let pid = root.pid;
    root.end();
    stranger.end();
    let (run, account) = traced.stop_with_account();
    let opened = run.lines().filter(|e| e["path"] == OPENED).count() as u64;
    assert!(opened > 50, "a storm: {opened}");
    assert_eq!(opened, shared.0[INSIDE].load(Ordering::SeqCst), "every open of the tree, {account}");
    assert_eq!(run.lines().filter(|e| e["path"] == "/nowhere/outside").count(), 0);
    assert!(n(&account["kinds"]["open"]["filtered"]) > 0, "the kernel side kept the stranger's: {account}");
    run.one("exit", pid, |_| true);
}

#[test]
fn several_trees_are_either_and_a_root_counts_itself() {
    let actors = [1, 2, 3].map(|i| {
        Actor::new(move || {
            sys::open_path(&format!("/nowhere/root {i}"));
            sys::wait(fork(|| sys::open_path(&format!("/nowhere/child {i}"))));
            vec![]
        })
    });
    let pids = [0, 1, 2].map(|i| actors[i].pid.to_string());
    let list = format!("{},{}", pids[0], pids[2]);
    let Some(traced) = Traced::start(&["--tree", &list, "--kind", "open"]) else { return };
    for actor in actors {
        actor.run();
    }
    let run = traced.stop_and_check();
    let mut paths: Vec<_> = run.lines().map(|e| e["path"].as_str().unwrap_or_default().to_owned()).collect();
    paths.retain(|path| path.starts_with("/nowhere/"));
    assert_eq!(paths, ["/nowhere/root 1", "/nowhere/child 1", "/nowhere/root 3", "/nowhere/child 3"]);
}

/// Processes whose ids are reused by other processes: a root, and a member of its tree. Both are older than the trace.
pub(crate) struct Reused {
    director: Actor,
    stage: Stage,
}

/// The data that they share: the current turn and their ids. Each turn starts after the previous one.
#[derive(Clone, Copy)]
struct Stage(Shared);

impl Stage {
    const TURN: usize = 0;
    const ROOT: usize = 1;
    const MEMBER: usize = 2;

    fn begin(self, turn: u64) {
        self.0.at(Stage::TURN).store(turn, Ordering::SeqCst);
    }

    #[track_caller]
    fn wait(self, turn: u64) {
        sys::wait_until(|| self.0.at(Stage::TURN).load(Ordering::SeqCst) >= turn);
    }

    fn id(self, whose: usize) -> i32 {
        self.0.at(whose).load(Ordering::SeqCst) as i32
    }

    /// The root, which runs until it is killed.
    fn root(self) {
        sys::end_with_the_parent();
        let member = fork(|| self.member());
        self.0.at(Stage::MEMBER).store(member as u64, Ordering::SeqCst);
        self.begin(1);
        self.wait(2);
        sys::open_path("/nowhere/root");
        self.begin(3);
        self.wait(u64::MAX);
    }

    fn member(self) {
        self.wait(3);
        sys::open_path("/nowhere/member");
        sys::wait(fork(|| sys::open_path("/nowhere/child")));
        self.begin(4);
        self.wait(7);
        sys::wait(fork(|| sys::open_path("/nowhere/late child")));
        sys::open_path("/nowhere/late member");
    }

    /// Another process with a reused id, which opens a file, forks and executes.
    fn impostor(self) {
        sys::open_path("/nowhere/impostor");
        sys::wait(fork(|| sys::open_path("/nowhere/impostor's child")));
        // The first call fails, and the second replaces this child.
        become_program("/nowhere/impostor's program", &["x"]);
        become_program("/bin/true", &["true"]);
    }

    /// The parent of all, which is in no traced tree. Returns the errors of clone3.
    fn director(self) -> Vec<i64> {
        sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
        let root = fork(|| self.root());
        self.0.at(Stage::ROOT).store(root as u64, Ordering::SeqCst);
        self.wait(4);
        sys::kill(root, libc::SIGKILL);
        assert_eq!(sys::wait(root).signal(), Some(libc::SIGKILL));
        let first = sys::fork_with_id(root, || {
            self.wait(6);
            self.impostor();
        });
        self.begin(5);
        self.wait(6);
        let _ = first.map(sys::wait);
        self.begin(7);
        let member = self.id(Stage::MEMBER);
        assert_eq!(sys::wait(member).code(), Some(0));
        let second = sys::fork_with_id(member, || self.impostor());
        let _ = second.map(sys::wait);
        [first, second].into_iter().filter_map(Result::err).map(i64::from).collect()
    }
}

impl Reused {
    /// The paths that the root and its descendants open.
    pub(crate) const OPENED: [&str; 5] =
        ["/nowhere/root", "/nowhere/member", "/nowhere/child", "/nowhere/late child", "/nowhere/late member"];

    pub(crate) fn new() -> Reused {
        let stage = Stage(Shared::new());
        let mut director = Actor::new(move || stage.director());
        director.go();
        stage.wait(1);
        Reused { director, stage }
    }

    pub(crate) fn root(&self) -> i32 {
        self.stage.id(Stage::ROOT)
    }

    pub(crate) fn member(&self) -> i32 {
        self.stage.id(Stage::MEMBER)
    }

    /// Runs the tree. Then the root is killed, and another process has its id.
    pub(crate) fn act(&self) {
        self.stage.begin(2);
        self.stage.wait(5);
    }

    /// Runs that process. Then the member runs and ends, and another process with its id runs. Returns whether ids
    /// could be reused; if not, the reason is reported.
    pub(crate) fn end(self) -> bool {
        self.stage.begin(6);
        let (status, errors) = self.director.end();
        assert_eq!(status.code(), Some(0));
        if let Some(error) = errors.first() {
            let error = std::io::Error::from_raw_os_error(*error as i32);
            not_checked(&format!("reused process ids: clone3 with set_tid: {error}"));
        }
        errors.is_empty()
    }

    /// Checks that a trace of the tree contains its processes and no others.
    fn check(run: &Run, [root, member]: [i32; 2]) {
        let account = run.check();
        let mut opened: Vec<String> = run
            .lines()
            .filter_map(|e| Some(e["path"].as_str()?.to_owned()))
            .filter(|p| p.starts_with("/nowhere"))
            .collect();
        opened.sort_unstable();
        let mut wanted = Reused::OPENED;
        wanted.sort_unstable();
        assert_eq!(opened, wanted, "{account}");
        assert_eq!(run.lines().filter(|e| e["kind"] == "exec").count(), 0, "only the impostors exec: {account}");
        assert_eq!(run.one("exit", root, |_| true)["signal"], "SIGKILL");
        assert_eq!(run.one("exit", member, |_| true)["exit_code"], 0);
    }
}

#[test]
fn an_id_that_is_used_again_is_not_in_the_tree() {
    // The kernel side cannot evaluate the filter.
    for option in ["--tree", "--filter"] {
        let reused = Reused::new();
        let root = reused.root();
        let pids = [root, reused.member()];
        let value = if option == "--tree" { root.to_string() } else { format!("tree={root} or comm=nobody") };
        let Some(traced) = Traced::start(&["--kind", "open,exec,exit", option, &value]) else { return };
        reused.act();
        let really = reused.end();
        let run = traced.stop();
        Reused::check(&run, pids);
        let filtered = n(&run.account()["kinds"]["exec"]["filtered"]);
        assert!(!really || option == "--filter" || filtered >= 2, "the impostors' are counted: {}", run.account());
    }
}

#[test]
fn an_id_that_is_used_again_is_not_of_the_command() {
    let dir = Dir::alone();
    let (member, reaped, done) = (dir.at("member"), dir.at("reaped"), dir.at("done"));
    let script = format!(
        "sleep 1000 & echo $! >{member}.new; mv {member}.new {member}; wait; : >{reaped}
        while ! [ -e {done} ]; do sleep 0.1; done"
    );
    let Some(traced) = Traced::start(&["--kind", "open,exit", "--", "sh", "-c", &script]) else { return };
    let wait_for = |file: &str| wait_for(|| Path::new(file).exists().then_some(()));
    wait_for(&member);
    let pid: i32 = fs::read_to_string(&member).expect("readable").trim().parse().expect("a process id");
    sys::kill(pid, libc::SIGKILL);
    wait_for(&reaped);
    let errors = Actor::new(move || {
        let act = || {
            sys::open_path("/nowhere/impostor");
        };
        sys::fork_with_id(pid, act).map(sys::wait).err().into_iter().map(i64::from).collect()
    });
    let errors = errors.run();
    File::create(&done).expect("a file");
    let run = traced.ended();
    run.check();
    assert_eq!(run.status.code(), Some(0));
    assert_eq!(run.one("exit", pid, |_| true)["signal"], "SIGKILL");
    assert_eq!(run.lines().filter(|e| e["path"] == "/nowhere/impostor").count(), 0);
    if let Some(error) = errors.first() {
        not_checked(&format!("reused process ids: clone3 with set_tid: error {error}"));
    }
}

/// `CLONE_PARENT` makes a child of the caller's parent. It is still part of the caller's tree, because otherwise a
/// COMMAND could hide its children.
#[test]
fn a_sibling_that_a_process_makes_is_of_its_tree() {
    let acts = || {
        let (nothing, flags) = (0_u64, (libc::CLONE_PARENT | libc::SIGCHLD) as u64);
        // SAFETY: the process has one thread, and the child has a copy of the stack and leaves by _exit.
        if unsafe { libc::syscall(libc::SYS_clone, flags, nothing, nothing, nothing, nothing) } == 0 {
            sys::open_path("/nowhere/sibling");
            sys::wait(fork(|| sys::open_path("/nowhere/sibling's child")));
            sys::exit(0);
        }
    };
    for filter in ["--tree", "--filter"] {
        let mut root = Actor::new(move || {
            acts();
            // The sibling is a child of the test, which does not wait for it here.
            std::thread::sleep(Duration::from_millis(300));
            vec![]
        });
        let value = if filter == "--tree" { root.pid.to_string() } else { format!("tree={} or comm=nobody", root.pid) };
        let Some(traced) = Traced::start(&["--kind", "open", filter, &value]) else { return };
        root.go();
        root.end();
        let run = traced.stop_and_check();
        let opened = |path: &str| run.lines().filter(|e| e["path"] == path).count();
        let count = [opened("/nowhere/sibling"), opened("/nowhere/sibling's child")];
        assert_eq!(count, [1, 1], "{filter}: {}", run.account());
    }
}

#[test]
fn a_tree_needs_its_root() {
    let Some(()) = alone_as_root() else { return };
    // Larger than any pid_max.
    const NOBODY: &str = "4194304";
    let said = |args: &[&str]| {
        let mut command = tracetui();
        command.arg("print").args(args).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("tracetui starts");
        let status = wait_at_most(&mut child, Duration::from_secs(60));
        let stderr = child.stderr.take().map(std::io::read_to_string);
        (status.code(), stderr.expect("piped").expect("UTF-8"))
    };
    let refusal = (Some(1), format!("tracetui: --tree {NOBODY}: no such process\n"));
    assert_eq!(said(&["--tree", NOBODY]), refusal);
    assert_eq!(said(&["--tree", &format!("{},{NOBODY}", sys::pid())]), refusal);
    assert_eq!(said(&["--filter", &format!("tree={NOBODY} comm=x")]), refusal);
    // In a part that the kernel side cannot evaluate, it is an ordinary filter.
    let Some(traced) = Traced::start(&["--filter", &format!("tree={NOBODY} or comm=nobody"), "--kind", "open"]) else {
        return;
    };
    sys::open_path("/nowhere/at all");
    let run = traced.stop_and_check();
    assert_eq!(run.lines().filter(|e| e["kind"] == "open").count(), 0);
}

pub(crate) struct Cgroup(pub(crate) String);

impl Cgroup {
    /// `None` if there is no cgroup v2 hierarchy, or no cgroup can be created in it.
    pub(crate) fn new(name: &str) -> Option<Cgroup> {
        Cgroup::below(name, |kind, _| kind == "cgroup2")
    }

    /// A cgroup in the hierarchy that has a name and no controllers.
    fn of_systemd(name: &str) -> Option<Cgroup> {
        Cgroup::below(name, |kind, options| kind == "cgroup" && options.split(',').any(|o| o == "name=systemd"))
    }

    /// A cgroup in the hierarchy with this mount type and these options.
    fn below(name: &str, which: impl Fn(&str, &str) -> bool) -> Option<Cgroup> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let words = |line: &str| Some((line.split(' ').nth(2)?.to_owned(), line.split(' ').nth(3)?.to_owned()));
        let line = mounts.lines().find(|line| words(line).is_some_and(|(kind, options)| which(&kind, &options)))?;
        Cgroup::at(format!("{}/{name}-{}", line.split(' ').nth(1)?, sys::pid()))
    }

    pub(crate) fn at(path: String) -> Option<Cgroup> {
        fs::create_dir(&path).ok()?;
        Some(Cgroup(path))
    }

    pub(crate) fn enter(&self) {
        fs::write(format!("{}/cgroup.procs", self.0), "0").expect("a process may move itself");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_cgroup_is_captured_by_its_path() {
    let (Some(wanted), Some(other)) = (Cgroup::new("tracetui-wanted"), Cgroup::new("tracetui-other")) else {
        return cannot_run("no cgroup v2 hierarchy");
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
    // A cgroup that is created now passes as soon as its path is known, from a fork, exec or exit of its first process.
    let late = Cgroup::new("tracetui-wanted-late").expect("a cgroup");
    open_late(&late);
    let (run, account) = traced.stop_with_account();
    let opens: Vec<_> = run.lines().filter(|e| e["kind"] == "open").collect();
    let paths: Vec<_> = opens.iter().map(|e| e["path"].as_str().unwrap_or_default()).collect();
    assert_eq!(paths.iter().filter(|path| **path == "/nowhere/wanted").count(), 1, "{paths:?}");
    assert_eq!(paths.iter().filter(|path| **path == "/nowhere/late").count(), 1, "{paths:?} {account}");
    assert!(!paths.contains(&"/nowhere/other"), "{paths:?}");
    let cgroup = opens.iter().find(|e| e["path"] == "/nowhere/wanted").expect("there")["cgroup"].clone();
    assert_eq!(run.one("exit", pid, |_| true)["cgroup"], cgroup);
}

/// A process enters the cgroup, has a child, and opens a file later.
fn open_late(cgroup: &Cgroup) {
    let actor = Actor::new(|| {
        cgroup.enter();
        sys::wait(fork(|| ()));
        std::thread::sleep(Duration::from_millis(300));
        vec![sys::open_path("/nowhere/late")]
    });
    actor.run();
}

/// The directory of a container as containerd makes it, removed when dropped.
struct Bundle(String);

impl Bundle {
    fn new(id: &str, config: &str) -> Bundle {
        let bundle = Bundle(format!("/run/containerd/io.containerd.runtime.v2.task/default/{id}"));
        fs::create_dir_all(&bundle.0).expect("root");
        fs::write(format!("{}/config.json", bundle.0), config).expect("room");
        bundle
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_container_is_captured_by_its_name() {
    let Some(top) = Cgroup::new("tracetui-containers") else { return cannot_run("no cgroup v2 hierarchy") };
    let scope = |parent: &Cgroup, id: &str| Cgroup::at(format!("{}/nerdctl-{id}.scope", parent.0)).expect("a cgroup");
    let id = |number: u64| format!("{:064x}", sys::pid() as u64 * 256 + number);
    let wanted = format!("wanted-{}", sys::pid());
    let config = |name: &str| format!(r#"{{"ociVersion":"1.1.0","annotations":{{"nerdctl/name":"{name}"}}}}"#);
    let _bundles = [(1, wanted.as_str()), (2, "other"), (3, &wanted)]
        .map(|(number, name)| Bundle::new(&id(number), &config(name)));
    let (first, other) = (scope(&top, &id(1)), scope(&top, &id(2)));
    // A user made this cgroup, and gave it the name of a container of root.
    let users = Cgroup::at(format!("{}/user", top.0)).expect("a cgroup");
    chown(&users.0, Some(65_530), None).expect("root");
    let forged = scope(&users, &id(1));
    let opens = [(&first, "/nowhere/first"), (&other, "/nowhere/other"), (&forged, "/nowhere/forged")];
    let actors = opens.map(|(cgroup, path)| {
        Actor::new(|| {
            cgroup.enter();
            vec![sys::open_path(path)]
        })
    });
    let Some(traced) = Traced::start(&["--container", &wanted, "--kind", "open,exit"]) else { return };
    actors.into_iter().for_each(|actor| drop(actor.run()));
    // The names of a container that starts now are known from a fork, exec or exit of its first process.
    let late = scope(&top, &id(3));
    open_late(&late);
    let run = traced.stop_and_check();
    let event = |path: &str| run.lines().find(|e| e["path"] == path);
    let seen = event("/nowhere/first").expect("it passes");
    let container = &seen["container"];
    assert_eq!((&container["name"], &container["id"]), (&wanted.clone().into(), &id(1).into()), "{seen}");
    assert_eq!(container["runtime"], "containerd", "{seen}");

    let unit = format!("tracetui-containers-{}/nerdctl-{}.scope", sys::pid(), id(1));
    assert_eq!(seen["unit"], unit);
    assert!(event("/nowhere/other").is_none() && event("/nowhere/forged").is_none());
    assert_eq!(event("/nowhere/late").expect("it passes")["container"]["name"], wanted);
    assert!(run.lines().filter(|e| e["kind"] == "exit").all(|e| e["container"]["name"] == wanted));
}

#[test]
fn without_a_v2_hierarchy_no_cgroup_vanished_and_a_filter_of_them_is_refused_or_explained() {
    let Some(()) = alone_as_root() else { return };
    let script = "while read -r _ at kind _; do [ \"$kind\" != cgroup2 ] || umount -l \"$at\" || exit 9; done </proc/mounts; exec \"$@\"";
    let run = |args: &[&str]| {
        let mut command = neutral("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", script, "sh"]).arg(tracetui().get_program());
        command.args(["print", "--format", "json", "--kind", "exec"]).args(args).args(["--", "true"]);
        let done = command.stdin(Stdio::null()).output().expect("unshare runs");
        (String::from_utf8_lossy(&done.stdout).into_owned(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (shown, said) = run(&[]);
    if !said.contains("tracing: ") {
        return cannot_run(&said);
    }
    let event: Value = serde_json::from_str(shown.lines().next().expect("an exec")).expect("JSON");
    let own = fs::read_to_string("/proc/self/cgroup").expect("readable");
    let named = own.lines().find_map(|line| line.split_once(":name=systemd:")).map(|(_, path)| path);
    // Where the v2 cgroup is the root, the other one is known.
    match (own.lines().any(|line| line.starts_with("0::/") && line != "0::/"), named) {
        (false, Some(path)) => assert_eq!(event["cgroup"], path, "{event}"),
        (true, _) => assert_eq!(event["cgroup_why"], "not_collected", "{event}"),
        (false, None) => assert_ne!(event["cgroup_why"], "vanished", "{event}"),
    }
    let (_, said) = run(&["--cgroup", "/nowhere/*"]);
    let (text, traces) = match named {
        Some(_) => ("--cgroup: no cgroup v2 hierarchy is mounted: only name=systemd", true),
        None => ("--cgroup: no cgroup v2 hierarchy is mounted, and no name=systemd", false),
    };
    assert!(said.contains(text) && said.contains("mount -t cgroup2") && said.contains("tracing: ") == traces, "{said}");
}

#[test]
fn a_cgroup_of_the_named_hierarchy_is_captured_where_the_v2_one_is_the_root() {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let is_root = own.lines().any(|line| line == "0::/") && CgroupResolver::new().is_ok();
    let (true, Some(wanted)) = (is_root, Cgroup::of_systemd("tracetui-named")) else {
        return not_checked("name=systemd cgroups: no v1 or no v2 hierarchy, or this process is in a v2 cgroup");
    };
    let shared = Shared::new();
    let opener = |inside: bool| {
        let wanted = &wanted;
        Actor::new(move || {
            if inside {
                wanted.enter();
            }
            shared.at(1 + usize::from(inside)).store(1, Ordering::SeqCst);
            sys::wait_until(|| shared.at(PHASE).load(Ordering::SeqCst) != 0);
            let child =
                fork(|| sys::open_path(if inside { "/nowhere/inside, child" } else { "/nowhere/outside, child" }));
            sys::wait(child);
            vec![sys::open_path(if inside { "/nowhere/inside" } else { "/nowhere/outside" })]
        })
    };
    let mut actors = [opener(true), opener(false)];
    actors.iter_mut().for_each(Actor::go);
    sys::wait_until(|| shared.at(1).load(Ordering::SeqCst) + shared.at(2).load(Ordering::SeqCst) == 2);
    let Some(traced) = Traced::start(&["--cgroup", "/tracetui-named-*", "--kind", "open"]) else { return };
    shared.at(PHASE).store(1, Ordering::SeqCst);
    for actor in actors {
        assert_eq!(actor.end().0.code(), Some(0));
    }
    let (run, account) = traced.stop_with_account();
    let opens: Vec<_> = run.lines().filter(|e| e["kind"] == "open").collect();
    let paths: Vec<_> = opens.iter().map(|e| e["path"].as_str().unwrap_or_default()).collect();
    assert_eq!(paths, ["/nowhere/inside, child", "/nowhere/inside"], "{account}");
    assert!(opens.iter().all(|e| e["cgroup"].as_str().is_some_and(|path| path.starts_with("/tracetui-named-"))));
    assert!(n(&account["kinds"]["open"]["filtered"]) >= 2, "the others' are counted: {account}");
}
