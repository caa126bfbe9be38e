//! Files opened through io_uring, without a system call per open. The tests use the ring directly, without a library.

use crate::cases::compare;
use crate::prelude::*;
use crate::traced::check_nothing_lost;

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
        let fd = call(libc::SYS_io_uring_setup, &[entries.into(), &raw mut params as u64]);
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
        assert_eq!(call(libc::SYS_io_uring_register, &args), 0);
    }

    pub(crate) fn submit(&self, sqe: Sqe, completions: u32) {
        self.put(sqe);
        self.enter(1, completions);
    }

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

    pub(crate) fn enter(&self, requests: u32, completions: u32) {
        let (getevents, wakeup) = (1, if self.params.flags & SQPOLL != 0 { 2 } else { 0 });
        let args = [self.fd as u64, requests.into(), completions.into(), getevents | wakeup, 0];
        let entered = call(libc::SYS_io_uring_enter, &args);
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

/// Whether opens and connections through io_uring are seen on this kernel. If not, the reason is reported.
pub(crate) fn is_seen() -> bool {
    Traced::start(OPENS).is_some_and(|traced| sees(&traced))
}

fn sees(traced: &Traced) -> bool {
    const WHAT: &str = "file opens and TCP connections through io_uring";
    let missing = traced.said_missing(WHAT);
    if missing {
        assert!(doctor().contains(WHAT), "doctor says it too");
        cannot_run("the io_uring tracepoints of this kernel lack data, as reported by doctor");
    }
    !missing
}

fn ring(flags: u32) -> Result<Ring, String> {
    Ring::new(flags).ok_or_else(|| "this kernel has no io_uring".to_owned())
}

/// Traces a process with a ring of this number of entries: the run, its id, and the numbers that it returned.
fn act(args: &[&str], entries: u32, act: impl FnOnce(&Ring) -> Vec<i64>) -> Option<(Run, i32, Vec<i64>)> {
    let traced = Traced::start(args).filter(sees)?;
    let actor = Actor::new(|| Ring::deep(0, entries).map(|ring| act(&ring)).unwrap_or_default());
    let (pid, numbers) = (actor.pid, actor.run());
    if numbers.is_empty() {
        cannot_run("this kernel has no io_uring");
        return None;
    }
    Some((traced.stop(), pid, numbers))
}

fn lost(run: &Run, account: &Value) -> u64 {
    let lost = n(&account["kinds"]["open"]["lost"]["probe"]);
    let rows: u64 = run.lines().filter(|e| e["kind"] == "lost").map(|row| n(&row["count"])).sum();
    assert_eq!(rows, lost, "and rows say so: {account}");
    lost
}

fn told(path: &str, ret: i64, more: Value) -> Value {
    with(event("open", sys::pid(), json!({"via": "io_uring", "path": path, "ret": ret})), more)
}

fn opened(path: &str, ret: i64, abs_path: &str) -> Value {
    assert!(ret >= 0, "the open itself: {ret}");
    told(path, ret, json!({"err": null, "abs_path": abs_path}))
}

/// An open of a path that may lead to another file by the time that it is looked up.
fn opened_or_raced(path: &str, ret: i64, abs_path: &str) -> Value {
    let raced = json!({"abs_path": null, "abs_path_why": "raced"});
    told(path, ret, json!({"err": null, "?or": [{"abs_path": abs_path}, raced]}))
}

fn reading(path: &CStr) -> Sqe {
    openat(libc::AT_FDCWD, path, libc::O_RDONLY, 0)
}

#[test]
fn opens_through_a_ring_are_opens() {
    if is_seen() {
        check(OPENS, CASES);
    }
}

const CASES: &[Case] = &[
    ("the submitter", |dir| {
        let (file, created, ring) = (dir.file("there"), dir.at("created"), ring(0)?);
        std::env::set_current_dir(dir.path()).expect("a directory");
        let path = [file.as_str(), &created, "there", "/nowhere/ring"].map(c);
        let how = [(libc::O_RDWR | libc::O_CLOEXEC) as u64, 0, libc::RESOLVE_NO_SYMLINKS];
        let create = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        let there = ring.run(reading(&path[0]));
        let made = ring.run(openat(libc::AT_FDCWD, &path[1], create, 0o640));
        let by_openat2 = ring.run(openat2(&path[2], &how));
        let missing = ring.run(reading(&path[3]));
        ring.run(Sqe { opcode: NOP, ..Sqe::default() });
        let flags = json!({"flags": "O_RDWR|O_CLOEXEC", "resolve": libc::RESOLVE_NO_SYMLINKS});
        let told = [
            with(opened(&file, there, &file), json!({"dirfd": libc::AT_FDCWD, "resolve": null})),
            with(opened(&created, made, &created), json!({"flags": "O_WRONLY|O_CREAT|O_EXCL", "mode": 0o640})),
            with(opened("there", by_openat2, &file), flags),
            told("/nowhere/ring", missing, json!({"err": "ENOENT"})),
        ];
        Ok(told.map(|event| with(event, json!({"comm": "the submitter", "tid": sys::pid()}))).to_vec())
    }),
    ("by a worker", |dir| {
        let (file, ring) = (dir.file("by a worker"), ring(0)?);
        let path = c(file.as_str());
        let by_submitter = json!({"comm": "by a worker", "tid": sys::pid()});
        let once = |_| ring.run(Sqe { flags: BY_WORKER, ..reading(&path) });
        Ok((0..20).map(once).map(|ret| with(opened(&file, ret, &file), by_submitter.clone())).collect())
    }),
    ("by a poller", |dir| {
        let (file, ring) = (dir.file("polled"), ring(SQPOLL)?);
        Ok(vec![opened(&file, ring.run(reading(&c(file.as_str()))), &file)])
    }),
    ("direct", |dir| {
        let (file, ring) = (dir.file("direct"), ring(0)?);
        ring.register_slots(4);
        let ret = ring.run(Sqe { file_index: 2, ..reading(&c(file.as_str())) });
        assert_eq!(ret, 0, "into the slot that was asked for");
        Ok(vec![told(&file, ret, json!({"abs_path": null, "abs_path_why": "not_collected"}))])
    }),
    ("refused", |_| {
        let ret = ring(0)?.run(Sqe { opcode: OPENAT, fd: libc::AT_FDCWD, addr: 0x1000, ..Sqe::default() });
        assert_eq!(ret, -i64::from(libc::EFAULT));
        let whys = json!({"path_why": "not_collected", "dirfd_why": "not_collected", "flags_why": "not_collected"});
        Ok(vec![with(told("", ret, json!({"err": "EFAULT"})), whys)])
    }),
    // In one batch a file is opened and closed, and a file with the same name in another directory is opened at the same
    // descriptor.
    ("same name", |dir| {
        let ring = ring(0)?;
        let files = ["a", "b"].map(|name| {
            dir.dir(name);
            dir.file(&format!("{name}/config"))
        });
        let paths = files.each_ref().map(|file| c(file.as_str()));
        let next = next_descriptor();
        ring.put(Sqe { flags: LINK, ..reading(&paths[0]) });
        ring.put(Sqe { opcode: CLOSE, flags: LINK, fd: next as i32, ..Sqe::default() });
        ring.put(reading(&paths[1]));
        ring.enter(3, 3);
        Ok(files.map(|file| opened_or_raced(&file, next, &file)).to_vec())
    }),
    // The same with a file at exactly the passed path.
    ("same path", |dir| {
        const RESOLVE_IN_ROOT: u64 = 0x10;
        let (file, jail, ring) = (dir.file("config"), dir.dir("jail"), ring(0)?);
        let jailed = format!("{jail}{file}");
        fs::create_dir_all(format!("{jail}{}", dir.at(""))).expect("directories");
        fs::write(&jailed, b"").expect("a file");
        let (path, at) = (c(file.as_str()), sys::open_path(&jail));
        let how = [libc::O_RDONLY as u64, 0, RESOLVE_IN_ROOT];
        let next = next_descriptor();
        ring.put(Sqe { fd: at as i32, ..openat2(&path, &how) });
        ring.put(Sqe { opcode: CLOSE, fd: next as i32, ..Sqe::default() });
        ring.put(reading(&path));
        ring.enter(3, 3);
        let first = with(opened_or_raced(&file, next, &jailed), json!({"resolve": RESOLVE_IN_ROOT}));
        Ok(vec![first, with(opened(&file, next, &file), json!({"resolve": null}))])
    }),
];

const CLOSE: u8 = 19;
/// `IOSQE_IO_LINK`.
const LINK: u8 = 4;

/// The kernel posts the results of other requests without their paths: they are counted as lost. Only a lookup that fails is one.
#[test]
fn changes_and_lookups_through_a_ring_are_counted() {
    const UNLINKAT: u8 = 36;
    const STATX: u8 = 21;
    let dir = Dir::new();
    let file = dir.file("there");
    let args = &["--kind", "file,lookup,lost", "--tree", &std::process::id().to_string()];
    let acted = act(args, ENTRIES, |ring| {
        let room = [0u64; 32];
        let at = |opcode, path: &CStr| Sqe { opcode, fd: libc::AT_FDCWD, addr: at(path), ..Sqe::default() };
        let statx = |path: &CStr| Sqe { off: room.as_ptr() as u64, ..at(STATX, path) };
        let [there, nowhere] = [file.as_str(), "/nowhere/ring"].map(c);
        [statx(&there), statx(&nowhere), statx(&nowhere), at(UNLINKAT, &there), at(UNLINKAT, &there)]
            .map(|sqe| ring.run(sqe))
            .to_vec()
    });
    let Some((run, _, numbers)) = acted else { return };
    assert_eq!(numbers, [0, -2, -2, 0, -2]);
    let lost = ["lookup", "file"].map(|kind| run.account()["kinds"][kind]["lost"]["probe"].as_u64());
    assert_eq!(lost, [Some(2), Some(2)], "{}", run.account());
}

/// The descriptor that the next open returns.
fn next_descriptor() -> i64 {
    let next = call(libc::SYS_dup, &[]);
    sys::close(next);
    next
}

#[test]
fn an_open_that_makes_no_completion_is_counted() {
    let dir = Dir::new();
    let (file, by_worker) = (dir.file("quiet"), dir.file("quiet by a worker"));
    let acted = act(OPENS, ENTRIES, |ring| {
        if !ring.has_quiet() {
            return vec![];
        }
        let [path, worked_on, nowhere] = [file.as_str(), &by_worker, "/nowhere/quiet"].map(c);
        let quiet = |path: &CStr| Sqe { flags: QUIET, ..reading(path) };
        ring.submit(quiet(&path), 0);
        // A rejected request in the slot of the previous one.
        let mut numbers = vec![ring.run(Sqe { flags: QUIET, addr: 0x1000, ..quiet(&path) })];
        numbers.push(ring.run(quiet(&nowhere)));
        let worked = next_descriptor();
        ring.submit(Sqe { flags: QUIET | BY_WORKER, ..quiet(&worked_on) }, 0);
        sys::wait_until(|| call(libc::SYS_fcntl, &[worked as u64, libc::F_GETFD as u64]) >= 0);
        numbers.push(ring.run(reading(&path)));
        numbers
    });
    let Some((run, pid, numbers)) = acted else { return };
    let [refused, missing, loud] = numbers[..] else { panic!("three numbers: {numbers:?}") };
    assert_eq!((refused, missing), (-i64::from(libc::EFAULT), -i64::from(libc::ENOENT)));
    assert_eq!(lost(&run, &run.check_sums()), 2, "those that succeeded");
    let of = |path: &str, ret: i64, more: Value| {
        with(event("open", pid, json!({"via": "io_uring", "path": path, "ret": ret})), more)
    };
    let (none, found) = (json!({}), json!({"abs_path": file}));
    let expected = [of("", refused, none.clone()), of("/nowhere/quiet", missing, none), of(&file, loud, found)];
    assert_eq!(compare(&expected, &run.kind_of("open", pid)), [""; 0]);
    assert_eq!(run.kind_of("open", pid).iter().filter(|e| e["via"] == "io_uring").count(), 3);
}

#[test]
fn opens_that_make_no_completion_keep_no_others_out() {
    const RINGS: u32 = 60;
    let dir = Dir::new();
    let file = dir.file("after many");
    let acted = act(OPENS, ENTRIES, |ring| {
        let (path, root) = (c(file.as_str()), c("/"));
        // The requests of each ring are at different addresses.
        for _ in 0..RINGS {
            let quiet = Sqe { flags: QUIET, ..openat(libc::AT_FDCWD, &root, libc::O_PATH, 0) };
            let other = Ring::new(0).expect("another ring");
            (0..ENTRIES).for_each(|_| other.put(quiet));
            other.enter(ENTRIES, 0);
        }
        vec![ring.run(reading(&path))]
    });
    let Some((run, pid, numbers)) = acted else { return };
    let event = run.one("open", pid, |e| e["via"] == "io_uring");
    check_has(&event, json!({"path": file, "ret": numbers[0], "err": null, "abs_path": file}));
    assert!(numbers[0] >= 0, "the open itself: {numbers:?}");
    assert_eq!(lost(&run, &run.check_sums()), u64::from(RINGS * ENTRIES));
}

/// Many requests at once, as in programs that use io_uring for speed. Each open has its own path and directory.
#[test]
fn opens_of_a_deep_queue_are_whole() {
    const DEEP: u32 = 4096;
    for flags in [0, BY_WORKER] {
        let dir = Dir::new();
        let names: Vec<String> = (0..DEEP).map(|number| format!("absent-{number:04}")).collect();
        let acted = act(OPENS, DEEP, |ring| {
            let at = sys::open_path(&dir.at(""));
            let paths: Vec<CString> = names.iter().map(|name| c(name.as_str())).collect();
            paths.iter().for_each(|path| ring.put(Sqe { flags, fd: at as i32, ..reading(path) }));
            ring.enter(DEEP, DEEP);
            vec![at]
        });
        let Some((run, pid, numbers)) = acted else { return };
        run.check();
        let mut events = run.kind_of("open", pid);
        events.retain(|event| event["via"] == "io_uring");
        for event in &events {
            check_has(event, json!({"dirfd": numbers[0], "err": "ENOENT", "flags": "O_RDONLY"}));
        }
        let mut opened: Vec<_> = events.iter().map(|event| event["path"].as_str().expect("text")).collect();
        opened.sort_unstable();
        assert_eq!(opened, names);
    }
}

#[test]
fn requests_that_succeed_are_not_lost_where_only_failures_are_asked_for() {
    let dir = Dir::new();
    let file = dir.file("there");
    let acted = act(&["--failed", "--kind", "open,lost"], ENTRIES, |ring| {
        let (there, absent) = (c(file.as_str()), c("/nowhere/asked for"));
        (0..20).map(|_| &there).chain([&absent]).map(|path| ring.run(reading(path))).collect()
    });
    let Some((run, pid, numbers)) = acted else { return };
    assert!(numbers[..20].iter().all(|ret| *ret >= 0), "{numbers:?}");
    let account = run.check();
    assert_eq!(run.open(pid, "/nowhere/asked for")["err"], "ENOENT");
    assert_eq!(run.lines().filter(|line| line["kind"] == "lost").count(), 0, "{account}");
    check_nothing_lost(&account, "open");
}

/// The kernel sets a completion aside if the queue is full, and runs no tracepoint that has the request.
#[test]
fn opens_whose_completions_find_the_queue_full_are_shown_or_counted() {
    const MANY: u32 = 512;
    let dir = Dir::new();
    let file = dir.file("set aside");
    let acted = act(OPENS, MANY, |ring| {
        let path = c(file.as_str());
        let nop = Sqe { opcode: NOP, ..Sqe::default() };
        // The queue has twice as many entries as that of the requests.
        for sqe in [nop, nop, reading(&path)] {
            (0..MANY).for_each(|_| ring.put(sqe));
            ring.enter(MANY, 0);
        }
        vec![next_descriptor()]
    });
    let Some((run, pid, _)) = acted else { return };
    let account = run.check_sums();
    let shown = run.kind_of("open", pid).iter().filter(|e| e["path"] == file.as_str()).count() as u64;
    assert!(shown + lost(&run, &account) >= u64::from(MANY), "{shown} shown: {account}");
}
