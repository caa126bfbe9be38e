//! Files opened through io_uring, without a system call per open. The tests use the ring directly, without a library.

use crate::prelude::*;
use std::ffi::{CStr, CString};
use std::sync::atomic::AtomicU32;

const OPENAT: u8 = 18;
const OPENAT2: u8 = 28;
const NOP: u8 = 0;
/// `IOSQE_ASYNC`: executed by a worker thread.
pub(crate) const BY_WORKER: u8 = 16;
/// `IOSQE_CQE_SKIP_SUCCESS`: no completion event on success.
pub(crate) const QUIET: u8 = 64;
/// `IORING_FEAT_CQE_SKIP`: the kernel supports that flag (5.17+).
const HAS_QUIET: u32 = 1 << 11;
pub(crate) const SQPOLL: u32 = 2;
const ENTRIES: u32 = 8;
const OPENS: &[&str] = &["--kind", "open,exit,lost"];

/// `struct io_uring_params` as numbers: 4 from the caller, the others from the kernel.
#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    resv: [u32; 3],
    sq: Offsets,
    cq: Offsets,
}

#[repr(C)]
#[derive(Default)]
struct Offsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    /// Submission queue: flags, dropped, array. Completion queue: overflow, cqes, flags.
    rest: [u32; 3],
    resv1: u32,
    user_addr: u64,
}

/// `struct io_uring_sqe`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Sqe {
    pub(crate) opcode: u8,
    pub(crate) flags: u8,
    pub(crate) ioprio: u16,
    pub(crate) fd: i32,
    pub(crate) off: u64,
    pub(crate) addr: u64,
    pub(crate) len: u32,
    pub(crate) open_flags: u32,
    pub(crate) user_data: u64,
    pub(crate) buf_index: u16,
    pub(crate) personality: u16,
    /// The slot of a direct descriptor, plus 1.
    pub(crate) file_index: u32,
    pub(crate) rest: [u64; 2],
}

pub(crate) struct Ring {
    fd: i64,
    sq: *mut u8,
    cq: *mut u8,
    sqes: *mut Sqe,
    params: Params,
}

impl Ring {
    /// A ring with [`ENTRIES`] entries. `None` if the kernel has no io_uring.
    pub(crate) fn new(flags: u32) -> Option<Ring> {
        Ring::deep(flags, ENTRIES)
    }

    /// A ring with this number of entries, a power of two.
    pub(crate) fn deep(flags: u32, entries: u32) -> Option<Ring> {
        let mut params = Params { flags, sq_thread_idle: 50, ..Params::default() };
        let fd = sys::call(libc::SYS_io_uring_setup, &[entries.into(), &raw mut params as u64]);
        (fd >= 0).then_some(())?;
        let map = |len: usize, at: i64| {
            let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE);
            // SAFETY: the kernel chooses the address of the new mapping of the ring's memory.
            let at = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, fd as i32, at) };
            assert_ne!(at, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
            at.cast::<u8>()
        };
        let sq = map(params.sq.rest[2] as usize + entries as usize * 4, 0);
        let cq = map(params.cq.rest[1] as usize + params.cq_entries as usize * 16, 0x800_0000);
        let sqes = map(entries as usize * size_of::<Sqe>(), 0x1000_0000).cast();
        Some(Ring { fd, sq, cq, sqes, params })
    }

    fn number(base: *mut u8, at: u32) -> &'static AtomicU32 {
        // SAFETY: `at` is the offset of an aligned number of the ring, which stays mapped as long as the process lives.
        unsafe { &*base.add(at as usize).cast::<AtomicU32>() }
    }

    /// Whether the kernel knows [`QUIET`].
    pub(crate) fn has_quiet(&self) -> bool {
        self.params.features & HAS_QUIET != 0
    }

    /// Submits one request and waits for its result.
    pub(crate) fn run(&self, sqe: Sqe) -> i64 {
        self.submit(sqe, 1);
        self.next()
    }

    /// The result of the oldest completion that was not read.
    pub(crate) fn next(&self) -> i64 {
        let head = Ring::number(self.cq, self.params.cq.head);
        let done = head.load(Ordering::Acquire);
        let slot = (done & (self.params.cq_entries - 1)) as usize;
        // SAFETY: the slot is in the mapped array and contains a completion, because io_uring_enter waited for it. Its
        // fields are user_data, res, flags.
        let res = unsafe { self.cq.add(self.params.cq.rest[1] as usize + slot * 16 + 8).cast::<i32>().read_volatile() };
        head.store(done + 1, Ordering::Release);
        res.into()
    }

    /// Registers a table of this number of unused direct descriptors (`IORING_REGISTER_FILES`).
    pub(crate) fn register_slots(&self, slots: usize) {
        let empty = vec![-1i32; slots];
        let args = [self.fd as u64, 2, empty.as_ptr() as u64, slots as u64, 0];
        assert_eq!(sys::call(libc::SYS_io_uring_register, &args), 0);
    }

    /// Submits one request and waits for this number of completions.
    pub(crate) fn submit(&self, sqe: Sqe, completions: u32) {
        self.put(sqe);
        self.enter(1, completions);
    }

    /// Adds a request to the submission queue.
    pub(crate) fn put(&self, sqe: Sqe) {
        let tail = Ring::number(self.sq, self.params.sq.tail);
        let at = tail.load(Ordering::Acquire);
        let slot = at & (self.params.sq_entries - 1);
        // SAFETY: the masked slot is inside of the mapped array, and the kernel reads it only after the new tail is
        // stored.
        unsafe { self.sqes.add(slot as usize).write_volatile(sqe) };
        Ring::number(self.sq, self.params.sq.rest[2] + slot * 4).store(slot, Ordering::Release);
        tail.store(at + 1, Ordering::Release);
    }

    /// Submits the queued requests and waits for this number of completions.
    pub(crate) fn enter(&self, requests: u32, completions: u32) {
        let (getevents, wakeup) = (1, if self.params.flags & SQPOLL != 0 { 2 } else { 0 });
        let args = [self.fd as u64, requests.into(), completions.into(), getevents | wakeup, 0];
        let entered = sys::call(libc::SYS_io_uring_enter, &args);
        assert!(entered >= 0, "io_uring_enter: {entered}");
    }
}

fn openat(dirfd: i32, path: &CStr, flags: i32, mode: u32) -> Sqe {
    let addr = path.as_ptr() as u64;
    Sqe { opcode: OPENAT, fd: dirfd, addr, len: mode, open_flags: flags as u32, ..Sqe::default() }
}

/// `IORING_OP_CONNECT` to a `struct sockaddr`.
pub(crate) fn connect(fd: i64, to: &[u8], flags: u8) -> Sqe {
    Sqe { opcode: 16, flags, fd: fd as i32, addr: to.as_ptr() as u64, off: to.len() as u64, ..Sqe::default() }
}

/// `IORING_OP_ACCEPT`, once or for each connection (`IORING_ACCEPT_MULTISHOT`).
pub(crate) fn accept(listener: i64, flags: u8, multishot: bool) -> Sqe {
    Sqe { opcode: 13, flags, ioprio: multishot.into(), fd: listener as i32, user_data: 77, ..Sqe::default() }
}

fn openat2(path: &CStr, how: &[u64; 3]) -> Sqe {
    let (addr, off) = (path.as_ptr() as u64, how.as_ptr() as u64);
    Sqe { opcode: OPENAT2, fd: libc::AT_FDCWD, addr, off, len: 24, ..Sqe::default() }
}

/// The trace of a process with a ring, and the numbers that the process returned.
struct Acted {
    run: Run,
    pid: i32,
    numbers: Vec<i64>,
}

fn act(flags: u32, act: impl FnOnce(&Ring) -> Vec<i64>) -> Option<Acted> {
    act_under(OPENS, flags, ENTRIES, act)
}

fn act_under(args: &[&str], flags: u32, entries: u32, act: impl FnOnce(&Ring) -> Vec<i64>) -> Option<Acted> {
    let traced = Traced::start(args)?;
    let actor = Actor::new(|| Ring::deep(flags, entries).map(|ring| act(&ring)).unwrap_or_default());
    let pid = actor.pid;
    let numbers = actor.run();
    let missing = "file opens and TCP connections through io_uring";
    if traced.said_missing(missing) {
        assert!(doctor().contains(missing), "doctor says it too");
        cannot_run("the io_uring tracepoints of this kernel lack data, as reported by doctor");
        return None;
    }
    if numbers.is_empty() {
        cannot_run("this kernel has no io_uring");
        return None;
    }
    Some(Acted { run: traced.stop(), pid, numbers })
}

fn trace(flags: u32, how: impl FnOnce(&Ring) -> Vec<i64>) -> Option<(Run, i32, Vec<i64>)> {
    let Acted { run, pid, numbers, .. } = act(flags, how)?;
    run.check();
    Some((run, pid, numbers))
}

fn check(event: &Value, ret: i64, path: &str, abs_path: &str) {
    assert!(ret >= 0, "the open itself: {ret}");
    check_has(event, json!({"via": "io_uring", "ret": ret, "err": null, "path": path, "abs_path": abs_path}));
}

#[test]
fn opens_through_a_ring_are_opens() {
    let dir = Dir::alone();
    let (file, created) = (dir.file("there"), dir.at("created"));
    let acted = trace(0, |ring| {
        std::env::set_current_dir(dir.path()).expect("a directory");
        sys::set_comm(b"the submitter");
        let path: Vec<CString> = [file.as_str(), &created, "there", "/nowhere/ring"].map(c).to_vec();
        let how = [(libc::O_RDWR | libc::O_CLOEXEC) as u64, 0, libc::RESOLVE_NO_SYMLINKS];
        let create = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        let mut rets = vec![
            ring.run(openat(libc::AT_FDCWD, &path[0], libc::O_RDONLY, 0)),
            ring.run(openat(libc::AT_FDCWD, &path[1], create, 0o640)),
            ring.run(openat2(&path[2], &how)),
            ring.run(openat(libc::AT_FDCWD, &path[3], libc::O_RDONLY, 0)),
        ];
        rets.push(ring.run(Sqe { opcode: NOP, ..Sqe::default() }));
        rets
    });
    let Some((run, pid, rets)) = acted else { return };
    let of_ring: Vec<Value> = run.kind_of("open", pid).into_iter().filter(|e| e["via"] == "io_uring").collect();
    assert_eq!(of_ring.len(), 4, "{of_ring:#?}");
    check(&of_ring[0], rets[0], &file, &file);
    check(&of_ring[1], rets[1], &created, &created);
    assert_eq!((&of_ring[1]["flags"], &of_ring[1]["mode"]), (&"O_WRONLY|O_CREAT|O_EXCL".into(), &0o640.into()));
    check(&of_ring[2], rets[2], "there", &file);
    check_has(&of_ring[2], json!({"flags": "O_RDWR|O_CLOEXEC", "resolve": libc::RESOLVE_NO_SYMLINKS}));
    assert_eq!((&of_ring[0]["dirfd"], &of_ring[0]["resolve"]), (&libc::AT_FDCWD.into(), &Value::Null));
    assert_eq!((&of_ring[3]["path"], &of_ring[3]["err"]), (&"/nowhere/ring".into(), &"ENOENT".into()));
    assert!(of_ring.iter().all(|e| e["comm"] == "the submitter" && e["tid"] == pid), "{of_ring:#?}");
}

/// The kernel posts the results of other requests without their paths: they are counted as lost. Only a lookup that fails is one.
#[test]
fn changes_and_lookups_through_a_ring_are_counted() {
    const UNLINKAT: u8 = 36;
    const STATX: u8 = 21;
    let dir = Dir::alone();
    let file = dir.file("there");
    let args = &["--kind", "file,lookup,lost", "--tree", &std::process::id().to_string()];
    let acted = act_under(args, 0, ENTRIES, |ring| {
        let room = [0u64; 32];
        let at = |opcode, path: &CStr| Sqe { opcode, fd: libc::AT_FDCWD, addr: path.as_ptr() as u64, ..Sqe::default() };
        let statx = |path: &CStr| Sqe { off: room.as_ptr() as u64, ..at(STATX, path) };
        let [there, nowhere] = [file.as_str(), "/nowhere/ring"].map(c);
        let looked = [ring.run(statx(&there)), ring.run(statx(&nowhere)), ring.run(statx(&nowhere))];
        [&looked[..], &[ring.run(at(UNLINKAT, &there)), ring.run(at(UNLINKAT, &there))]].concat()
    });
    let Some(Acted { run, numbers, .. }) = acted else { return };
    assert_eq!(numbers, [0, -2, -2, 0, -2]);
    let lost = ["lookup", "file"].map(|kind| run.account()["kinds"][kind]["lost"]["probe"].as_u64());
    assert_eq!(lost, [Some(2), Some(2)], "{}", run.account());
}

#[test]
fn an_open_by_a_worker_is_its_submitters() {
    let dir = Dir::alone();
    let file = dir.file("by a worker");
    let acted = trace(0, |ring| {
        sys::set_comm(b"the submitter");
        let path = c(file.as_str());
        let sqe = Sqe { flags: BY_WORKER, ..openat(libc::AT_FDCWD, &path, libc::O_RDONLY, 0) };
        (0..20).map(|_| ring.run(sqe)).collect()
    });
    let Some((run, pid, rets)) = acted else { return };
    let events: Vec<Value> = run.kind_of("open", pid).into_iter().filter(|e| e["via"] == "io_uring").collect();
    assert_eq!(events.len(), rets.len(), "{events:#?}");
    for (event, ret) in events.iter().zip(&rets) {
        check(event, *ret, &file, &file);
        assert_eq!((&event["comm"], &event["tid"]), (&"the submitter".into(), &pid.into()), "{event}");
    }
}

#[test]
fn an_open_by_a_polling_thread_is_of_its_process() {
    let dir = Dir::alone();
    let file = dir.file("polled");
    let acted = trace(SQPOLL, |ring| {
        let path = c(file.as_str());
        vec![ring.run(openat(libc::AT_FDCWD, &path, libc::O_RDONLY, 0))]
    });
    let Some((run, pid, rets)) = acted else { return };
    let event = run.one("open", pid, |e| e["via"] == "io_uring");
    check(&event, rets[0], &file, &file);
}

#[test]
fn a_direct_descriptor_has_no_path_and_says_why() {
    let dir = Dir::alone();
    let file = dir.file("direct");
    let acted = trace(0, |ring| {
        ring.register_slots(4);
        let path = c(file.as_str());
        let sqe = Sqe { file_index: 2, ..openat(libc::AT_FDCWD, &path, libc::O_RDONLY, 0) };
        vec![ring.run(sqe)]
    });
    let Some((run, pid, rets)) = acted else { return };
    assert_eq!(rets, [0], "into the slot that was asked for");
    let event = run.one("open", pid, |e| e["via"] == "io_uring");
    check_has(&event, json!({"path": file, "ret": 0, "abs_path": null, "abs_path_why": "not_collected"}));
}

#[test]
fn a_request_that_is_refused_at_once_is_shown_too() {
    let acted = trace(0, |ring| {
        let bad = Sqe { opcode: OPENAT, fd: libc::AT_FDCWD, addr: 0x1000, ..Sqe::default() };
        vec![ring.run(bad)]
    });
    let Some((run, pid, rets)) = acted else { return };
    assert_eq!(rets, [-i64::from(libc::EFAULT)]);
    let event = run.one("open", pid, |e| e["via"] == "io_uring");
    assert_eq!((&event["err"], &event["path"]), (&"EFAULT".into(), &"".into()), "{event}");
    for field in ["path", "dirfd", "flags"] {
        assert_eq!(event[format!("{field}_why")], "not_collected", "{event}");
    }
}

/// The descriptor that the next open returns.
fn next_descriptor() -> i64 {
    let next = sys::call(libc::SYS_dup, &[]);
    sys::close(next);
    next
}

#[test]
fn an_open_that_makes_no_completion_is_counted() {
    let dir = Dir::alone();
    let (file, by_worker) = (dir.file("quiet"), dir.file("quiet by a worker"));
    let acted = act(0, |ring| {
        if !ring.has_quiet() {
            return vec![];
        }
        let [path, worked_on, nowhere] = [file.as_str(), &by_worker, "/nowhere/quiet"].map(c);
        let quiet = |path: &CStr| Sqe { flags: QUIET, ..openat(libc::AT_FDCWD, path, libc::O_RDONLY, 0) };
        ring.submit(quiet(&path), 0);
        // A rejected request in the slot of the previous one.
        let mut numbers = vec![ring.run(Sqe { flags: QUIET, addr: 0x1000, ..quiet(&path) })];
        numbers.push(ring.run(quiet(&nowhere)));
        let worked = next_descriptor();
        ring.submit(Sqe { flags: QUIET | BY_WORKER, ..quiet(&worked_on) }, 0);
        sys::wait_until(|| sys::call(libc::SYS_fcntl, &[worked as u64, libc::F_GETFD as u64]) >= 0);
        numbers.push(ring.run(openat(libc::AT_FDCWD, &path, libc::O_RDONLY, 0)));
        numbers
    });
    let Some(Acted { run, pid, numbers }) = acted else { return };
    let [refused, missing, loud] = numbers[..] else { panic!("three numbers: {numbers:?}") };
    assert_eq!((refused, missing), (-i64::from(libc::EFAULT), -i64::from(libc::ENOENT)));
    let account = run.check_sums();
    let expected = [(refused, ""), (missing, "/nowhere/quiet"), (loud, file.as_str())];
    let lost = n(&account["kinds"]["open"]["lost"]["probe"]);
    assert_eq!(lost, 2, "those that succeeded: {account}");
    let rows: u64 = run.lines().filter(|e| e["kind"] == "lost").map(|row| n(&row["count"])).sum();
    assert_eq!(rows, 2, "and a row says so");
    let events: Vec<Value> = run.kind_of("open", pid).into_iter().filter(|e| e["via"] == "io_uring").collect();
    let told: Vec<_> =
        events.iter().map(|e| (e["ret"].as_i64().unwrap_or(0), e["path"].as_str().unwrap_or("?"))).collect();
    assert_eq!(told, expected, "{events:#?}");
    for event in events.iter().filter(|event| event["ret"].as_i64() >= Some(0)) {
        assert_eq!(event["abs_path"], event["path"], "{event}");
    }
}

#[test]
fn opens_that_make_no_completion_keep_no_others_out() {
    const RINGS: u32 = 60;
    let dir = Dir::alone();
    let file = dir.file("after many");
    let acted = act(0, |ring| {
        let (path, root) = (c(file.as_str()), c("/"));
        // The requests of each ring are at different addresses.
        for _ in 0..RINGS {
            let quiet = Sqe { flags: QUIET, ..openat(libc::AT_FDCWD, &root, libc::O_PATH, 0) };
            let other = Ring::new(0).expect("another ring");
            (0..ENTRIES).for_each(|_| other.put(quiet));
            other.enter(ENTRIES, 0);
        }
        vec![ring.run(openat(libc::AT_FDCWD, &path, libc::O_RDONLY, 0))]
    });
    let Some(Acted { run, pid, numbers }) = acted else { return };
    let account = run.check_sums();
    let event = run.one("open", pid, |e| e["path"] == file.as_str());
    check(&event, numbers[0], &file, &file);
    assert_eq!(run.kind_of("open", pid).iter().filter(|e| e["via"] == "io_uring").count(), 1);
    assert_eq!(n(&account["kinds"]["open"]["lost"]["probe"]), u64::from(RINGS * ENTRIES), "{account}");
}

/// Many requests at once, as in programs that use io_uring for speed. Each open has its own path and directory.
#[test]
fn opens_of_a_deep_queue_are_whole() {
    const DEEP: u32 = 4096;
    for flags in [0, BY_WORKER] {
        let dir = Dir::new();
        let place = dir.at("");
        let acted = act_under(OPENS, 0, DEEP, |ring| {
            let at = sys::open_path(&place);
            let names: Vec<CString> = (0..DEEP).map(|number| c(format!("absent-{number}"))).collect();
            for name in &names {
                ring.put(Sqe { flags, ..openat(at as i32, name, libc::O_RDONLY, 0) });
            }
            ring.enter(DEEP, DEEP);
            vec![at]
        });
        let Some(Acted { run, pid, numbers, .. }) = acted else { return };
        run.check();
        let mut names: Vec<String> = Vec::new();
        for event in run.kind_of("open", pid).into_iter().filter(|event| event["via"] == "io_uring") {
            let asked = (&event["dirfd"], &event["err"], &event["flags"]);
            assert_eq!(asked, (&numbers[0].into(), &"ENOENT".into(), &"O_RDONLY".into()), "{event}");
            names.push(event["path"].as_str().expect("text").to_owned());
        }
        names.sort_unstable();
        let mut expected: Vec<String> = (0..DEEP).map(|number| format!("absent-{number}")).collect();
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
}

/// In one batch a file is opened and closed, and a file with the same name in another directory is opened at the same
/// descriptor.
#[test]
fn a_file_of_the_same_name_is_not_taken_for_the_one_that_was_opened() {
    const CLOSE: u8 = 19;
    const LINK: u8 = 4;
    let dir = Dir::alone();
    let files = ["a", "b"].map(|name| {
        fs::create_dir(dir.at(name)).expect("a directory");
        dir.file(&format!("{name}/config"))
    });
    let acted = trace(0, |ring| {
        let paths = files.each_ref().map(|file| c(file.as_str()));
        let next = next_descriptor();
        ring.put(Sqe { flags: LINK, ..openat(libc::AT_FDCWD, &paths[0], libc::O_RDONLY, 0) });
        ring.put(Sqe { opcode: CLOSE, flags: LINK, fd: next as i32, ..Sqe::default() });
        ring.put(openat(libc::AT_FDCWD, &paths[1], libc::O_RDONLY, 0));
        ring.enter(3, 3);
        vec![next]
    });
    let Some((run, pid, numbers)) = acted else { return };
    for file in &files {
        let event = run.open(pid, file);
        assert_eq!(event["ret"], numbers[0], "{event}");
        let found = (&event["abs_path"], &event["abs_path_why"]);
        let raced = (&Value::Null, &Value::from("raced"));
        assert!(found == raced || found.0 == file.as_str(), "{event}");
    }
}

/// In one batch a file is opened and closed, and a file at exactly the passed path is opened at the same descriptor.
#[test]
fn a_file_that_is_where_the_path_leads_now_is_not_taken_for_the_one_that_was_opened() {
    const CLOSE: u8 = 19;
    const RESOLVE_IN_ROOT: u64 = 0x10;
    let dir = Dir::alone();
    let file = dir.file("config");
    let jail = dir.dir("jail");
    let jailed = format!("{jail}{file}");
    fs::create_dir_all(std::path::Path::new(&jailed).parent().expect("a directory")).expect("directories");
    fs::write(&jailed, b"").expect("a file");
    let acted = trace(0, |ring| {
        let path = c(file.as_str());
        let at = sys::open_path(&jail);
        let how = [libc::O_RDONLY as u64, 0, RESOLVE_IN_ROOT];
        let next = next_descriptor();
        ring.put(Sqe { fd: at as i32, ..openat2(&path, &how) });
        ring.put(Sqe { opcode: CLOSE, fd: next as i32, ..Sqe::default() });
        ring.put(openat(libc::AT_FDCWD, &path, libc::O_RDONLY, 0));
        ring.enter(3, 3);
        vec![next]
    });
    let Some((run, pid, numbers)) = acted else { return };
    let opens: Vec<Value> = run.kind_of("open", pid).into_iter().filter(|e| e["via"] == "io_uring").collect();
    assert!(opens.len() == 2 && opens.iter().all(|e| e["ret"] == numbers[0] && e["path"] == *file), "{opens:#?}");
    let (first, second) = (&opens[0], &opens[1]);
    assert_eq!(first["resolve"], RESOLVE_IN_ROOT, "{first}");
    let raced = (&Value::Null, &Value::from("raced"));
    assert!((&first["abs_path"], &first["abs_path_why"]) == raced || first["abs_path"] == *jailed, "{first}");
    assert_eq!(second["abs_path"], *file, "{second}");
}

#[test]
fn requests_that_succeed_are_not_lost_where_only_failures_are_asked_for() {
    let dir = Dir::alone();
    let file = dir.file("there");
    let acted = act_under(&["--failed", "--kind", "open,lost"], 0, ENTRIES, |ring| {
        let (there, absent) = (c(file.as_str()), c("/nowhere/asked for"));
        let mut rets: Vec<i64> = (0..20).map(|_| ring.run(openat(libc::AT_FDCWD, &there, libc::O_RDONLY, 0))).collect();
        rets.push(ring.run(openat(libc::AT_FDCWD, &absent, libc::O_RDONLY, 0)));
        rets
    });
    let Some(Acted { run, pid, numbers, .. }) = acted else { return };
    assert!(numbers[..20].iter().all(|ret| *ret >= 0), "{numbers:?}");
    let account = run.check();
    assert_eq!(run.open(pid, "/nowhere/asked for")["err"], "ENOENT");
    assert_eq!(run.lines().filter(|line| line["kind"] == "lost").count(), 0, "{account}");
    crate::traced::check_nothing_lost(&account, "open");
}

/// The kernel sets a completion aside if the queue is full, and runs no tracepoint that has the request.
#[test]
fn opens_whose_completions_find_the_queue_full_are_shown_or_counted() {
    const MANY: u32 = 512;
    let dir = Dir::alone();
    let file = dir.file("set aside");
    let acted = act_under(OPENS, 0, MANY, |ring| {
        let path = c(file.as_str());
        let nop = Sqe { opcode: NOP, ..Sqe::default() };
        // The queue has twice as many entries as that of the requests.
        for sqe in [nop, nop, openat(libc::AT_FDCWD, &path, libc::O_RDONLY, 0)] {
            (0..MANY).for_each(|_| ring.put(sqe));
            ring.enter(MANY, 0);
        }
        vec![next_descriptor()]
    });
    let Some(Acted { run, pid, .. }) = acted else { return };
    let account = run.check_sums();
    let shown = run.kind_of("open", pid).iter().filter(|e| e["path"] == file.as_str()).count() as u64;
    let lost = n(&account["kinds"]["open"]["lost"]["probe"]);
    assert!(shown + lost >= u64::from(MANY), "{shown} shown: {account}");
    let rows: u64 = run.lines().filter(|e| e["kind"] == "lost").map(|row| n(&row["count"])).sum();
    assert_eq!(rows, lost, "and rows say so");
}
