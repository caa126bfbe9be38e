//! The process scan: reads the running processes from /proc.
//!
//! A process is read through one descriptor of its /proc directory, so that all fields belong to the same process. If
//! its id is reused, reads fail (ESRCH). Processes that end during the scan are omitted, because the trace has their
//! exit. Data that cannot be read (hidepid, another user's process without CAP_SYS_PTRACE) is left empty.
//!
//! Only the arguments are in the memory of the process, which can delay their read forever ([`Arguments`]).

use super::{decimal, read_bounded};
use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags, openat, readlinkat_raw};
use rustix::param::{clock_ticks_per_second, page_size};
use std::cell::RefCell;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tracetui_events::environment::{EnvMode, Keeper};
use tracetui_events::frame::host::ProcessSeed;
use tracetui_events::limits;
use tracetui_shared::capture::TICK_NS;
use tracetui_shared::id::{Gid, NsInum, Tgid, Uid};
use tracetui_shared::time::BootNanos;

/// `PROC_PID_INIT_INO`
/// ([include/linux/proc_ns.h](https://elixir.bootlin.com/linux/v6.12/source/include/linux/proc_ns.h)): the inum of the
/// initial pid namespace, to which the ids of the probes belong.
pub const INITIAL_PID_NS: NsInum = NsInum(4_026_531_836);

/// `PF_KTHREAD` of `task_struct.flags`
/// ([include/linux/sched.h](https://elixir.bootlin.com/linux/v6.12/source/include/linux/sched.h)).
const PF_KTHREAD: u64 = 0x0020_0000;

/// The maximum number of bytes read from /proc/PID/stat and /proc/PID/status. All used fields are within it.
const FIELDS_MAX: usize = 4096;

/// The maximum number of bytes read from /proc/PID/cgroup, which has one line with a path per hierarchy (at most 13).
const CGROUPS_MAX: usize = 64 << 10;

/// The maximum size of a link target in bytes. The kernel returns at most a page
/// ([`do_proc_readlink`](https://elixir.bootlin.com/linux/v6.12/source/fs/proc/base.c)).
const LINK_MAX: usize = 4096;

/// The reason why /proc does not show the processes that the probes see.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("/proc is not mounted, or belongs to another pid namespace")]
    NotMounted,
    #[error("tracetui is in pid namespace {ours}, and /proc does not belong to the initial pid namespace")]
    Foreign { ours: u32 },
}

/// Checks that /proc shows the initial pid namespace, and returns tracetui's process id in it.
///
/// A process in the initial pid namespace finds itself only in a /proc of that namespace. A process in another
/// namespace may have a /proc of the initial one. In the initial namespace alone, process 2 is a kernel thread, the
/// parent of all others, because the kernel creates no kernel threads in other namespaces. (`/proc/1/ns/pid` shows this
/// too, but reading it needs the permission to trace init.)
pub fn initial_self() -> Result<Tgid, Unusable> {
    let me = fs::read_link("/proc/self").map_err(|_| Unusable::NotMounted)?;
    let me = decimal(me.as_os_str().as_bytes()).map(Tgid).ok_or(Unusable::NotMounted)?;
    let ours = namespace("/proc/self", "pid").ok_or(Unusable::NotMounted)?;
    let second = || read_bounded("/proc/2/stat", FIELDS_MAX as u64).ok().and_then(|text| Stat::parse(&text));
    if ours == INITIAL_PID_NS || second().is_some_and(|stat| stat.kernel_thread) {
        Ok(me)
    } else {
        Err(Unusable::Foreign { ours: ours.0 })
    }
}

/// The inum of a namespace of the process or thread with this directory in /proc. `kind`: `pid`, `net`.
pub fn namespace(dir: &str, kind: &str) -> Option<NsInum> {
    namespace_number(fs::read_link(format!("{dir}/ns/{kind}")).ok()?.as_os_str().as_bytes(), kind)
}

/// The number in `KIND:[NUMBER]`.
pub fn namespace_number(text: &[u8], kind: &str) -> Option<NsInum> {
    decimal(text.strip_prefix(kind.as_bytes())?.strip_prefix(b":[")?.strip_suffix(b"]")?).map(NsInum)
}

/// How long the scan waits for the arguments or the environment of a process.
const PATIENCE: Duration = Duration::from_millis(200);

/// The maximum number of threads stuck in a read. Beyond it, no more arguments and environments are read.
const STUCK: usize = 8;

/// Where the thread that reads takes files and the bytes that are wanted of each, and what it read.
type Reader = (Sender<(File, usize)>, Receiver<Vec<u8>>);

/// Reads the memory of processes on another thread, because the read may never return. A page may be on a file system that
/// never answers (FUSE), and a thread of the process that waits for such a page holds the lock of the memory. A thread
/// that takes too long is abandoned. It ends when the process's own wait ends, or with tracetui.
#[derive(Debug, Default)]
struct Memory {
    reader: Option<Reader>,
    stuck: usize,
    unread: u64,
}

impl Memory {
    /// The first `most` bytes of a file of a process. `None` if it cannot be read. If the read takes too long, the process is counted.
    fn read(&mut self, dir: &ProcessDir, name: &CStr, most: usize) -> Option<Vec<u8>> {
        let file = dir.open_file(name).ok()?;
        let read = self.reader().and_then(|(files, answers)| {
            files.send((file, most)).ok()?;
            answers.recv_timeout(PATIENCE).ok()
        });
        if read.is_none() {
            self.unread += 1;
            self.stuck += usize::from(self.reader.take().is_some());
        }
        read
    }

    /// The thread that reads. `None` if too many are stuck, or if it cannot be started.
    fn reader(&mut self) -> Option<&Reader> {
        if self.reader.is_none() && self.stuck < STUCK {
            let (files, todo) = channel();
            let (done, answers) = channel();
            let run = move || {
                // The thread ends when nobody waits for it any more.
                while let Ok((file, most)) = todo.recv()
                    && done.send(read_file(file, most).unwrap_or_default()).is_ok()
                {}
            };
            std::thread::Builder::new().name("arguments".into()).spawn(run).ok()?;
            self.reader = Some((files, answers));
        }
        self.reader.as_ref()
    }
}

#[derive(Debug)]
pub struct Scanner {
    memory: RefCell<Memory>,
    /// `None`: environments are not read.
    keeper: Option<Keeper>,
    tick_ns: u64,
}

impl Scanner {
    /// A scanner, if /proc is usable ([`initial_self`]).
    pub fn new() -> Result<Scanner, Unusable> {
        initial_self()?;
        let tick_ns = 1_000_000_000 / clock_ticks_per_second();
        Ok(Scanner { memory: RefCell::default(), keeper: None, tick_ns })
    }

    /// The same scanner, which also reads environments.
    pub fn with_environments(self, keeper: &Keeper) -> Scanner {
        Scanner { keeper: Some(keeper.clone()).filter(|keeper| keeper.mode() != EnvMode::Off), ..self }
    }

    /// The number of processes whose arguments or environment took too long.
    pub fn unread(&self) -> u64 {
        self.memory.borrow().unread
    }

    /// Passes every process to `take`, by start, until `take` returns `false`. Processes are read
    /// one at a time, so memory use is small. `exact` returns the start of a process in nanoseconds (`start_boottime`
    /// of its leader). If that is unknown, or belongs to another process with the same id, the start is taken from
    /// /proc, rounded down to the clock tick.
    pub fn scan(
        &self,
        exact: impl Fn(u32) -> Option<u64>,
        take: &mut dyn FnMut(ProcessSeed) -> bool,
    ) -> io::Result<()> {
        let mut kin = Vec::new();
        for tgid in tgids()? {
            match stat_of(tgid) {
                Ok(stat) if stat.ended() => {}
                Ok(stat) => kin.push(Listed { tgid, ppid: stat.ppid, start_ticks: stat.start_ticks }),
                // The process may not be read. Other data about it may be available.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    kin.push(Listed { tgid, ..Listed::default() });
                }
                Err(_) => {}
            }
        }
        kin.sort_by_key(|kin| (kin.start_ticks, kin.tgid));
        for Listed { tgid, .. } in kin {
            if let Some(seed) = self.process(tgid, &exact)
                && !take(seed)
            {
                break;
            }
        }
        Ok(())
    }

    /// A process. `None` if the id does not exist, or if the process is a zombie.
    pub fn process(&self, tgid: Tgid, exact: impl Fn(u32) -> Option<u64>) -> Option<ProcessSeed> {
        let dir = ProcessDir::open(tgid).ok()?;
        let exact = exact(tgid.0).map(BootNanos);
        let stat = match dir.read(c"stat", FIELDS_MAX) {
            Ok(text) => Some(Stat::parse(&text).filter(|stat| !stat.ended())?),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
            Err(_) => return None,
        };
        let (start, start_exact) = match &stat {
            Some(stat) => self.start(stat.start_ticks, exact),
            // Without a start, events cannot be matched with this process.
            None => (exact?, true),
        };
        let stat = stat.unwrap_or_default();
        let (uid, gid) = dir.owners();
        let read = |name, most| self.memory.borrow_mut().read(&dir, name, most);
        let keeper = self.keeper.as_ref().filter(|_| !stat.kernel_thread);
        let env = keeper.and_then(|keeper| keeper.running(&read(c"environ", limits::KEPT_ENV + 1)?));
        Some(ProcessSeed {
            tgid,
            start,
            start_exact,
            tick_ns: self.tick_ns,
            ppid: stat.ppid,
            parent_start: BootNanos(0),
            uid,
            gid,
            comm: stat.comm,
            exe: dir.link(c"exe"),
            argv: terminated(read(c"cmdline", limits::KEPT_ARGV).unwrap_or_default()),
            cwd: dir.link(c"cwd"),
            cgroup: dir.read(c"cgroup", CGROUPS_MAX).map(|text| cgroup(&text).to_vec()).unwrap_or_default(),
            kernel_thread: stat.kernel_thread,
            env,
        })
    }

    /// The CPU time of a running process, and its resident memory in bytes. `None` if it ended or cannot be read.
    pub fn used(&self, tgid: Tgid, start: BootNanos) -> Option<(Duration, u64)> {
        let stat = stat_of(tgid).ok()?;
        let (cpu, pages) = stat.used;
        self.is_start(start, &stat).then(|| (Duration::from_nanos(cpu * self.tick_ns), pages * page_size() as u64))
    }

    /// Whether a process started at that time. The time may be rounded down to a clock tick.
    fn is_start(&self, start: BootNanos, stat: &Stat) -> bool {
        let (cut, _) = self.start(stat.start_ticks, None);
        start.0.wrapping_sub(cut.0) < self.tick_ns
    }

    fn start(&self, ticks: u64, exact: Option<BootNanos>) -> (BootNanos, bool) {
        let cut = ticks.saturating_mul(self.tick_ns);
        match exact {
            Some(exact) if exact.0.wrapping_sub(cut) < self.tick_ns => (exact, true),
            _ => (BootNanos(cut), false),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Listed {
    pub tgid: Tgid,
    pub ppid: Tgid,
    /// The start in ticks since the boot: field 22 of /proc/PID/stat.
    pub start_ticks: u64,
}

/// All processes, including zombies.
/// Fails if the ids in /proc differ from the probes'.
pub fn list() -> io::Result<Vec<Listed>> {
    initial_self().map_err(io::Error::other)?;
    let listed = |tgid| stat_of(tgid).map(|stat| Listed { tgid, ppid: stat.ppid, start_ticks: stat.start_ticks });
    Ok(tgids()?.filter_map(|tgid| listed(tgid).ok()).collect())
}

/// The ids in /proc. The listing can only fail midway if /proc is unmounted meanwhile. The processes listed so far still count.
fn tgids() -> io::Result<impl Iterator<Item = Tgid>> {
    let entries = fs::read_dir("/proc")?.map_while(Result::ok);
    Ok(entries.filter_map(|entry| decimal(entry.file_name().as_bytes()).map(Tgid)))
}

pub(crate) fn lives(tgid: u32) -> bool {
    stat_of(Tgid(tgid)).is_ok_and(|stat| !stat.ended())
}

/// Whether the process with this id started at that time and has not ended. The time may be rounded down to a clock
/// tick.
pub fn runs(tgid: Tgid, start: BootNanos) -> bool {
    let Ok(scanner) = Scanner::new() else { return false };
    stat_of(tgid).is_ok_and(|stat| !stat.ended() && scanner.is_start(start, &stat))
}

/// The start of the calling process, rounded down to a clock tick.
pub fn own_start() -> Option<BootNanos> {
    let stat = Stat::parse(&read_bounded("/proc/self/stat", FIELDS_MAX as u64).ok()?)?;
    Some(BootNanos(stat.start_ticks.saturating_mul(TICK_NS)))
}

fn stat_of(tgid: Tgid) -> io::Result<Stat> {
    let text = ProcessDir::open(tgid)?.read(c"stat", FIELDS_MAX)?;
    Stat::parse(&text).ok_or(io::ErrorKind::InvalidData.into())
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The name of the thread group leader. For kernel workers, it is longer and contains their current work.
    comm: Vec<u8>,
    state: u8,
    pub ppid: Tgid,
    threads: u64,
    /// The start in ticks of `_SC_CLK_TCK` since the boot.
    start_ticks: u64,
    kernel_thread: bool,
    /// The CPU time in ticks, and the resident memory in pages.
    used: (u64, u64),
}

impl Stat {
    /// Parses the file. Fields are counted from 1, as in proc(5). The name (field 2) can contain any byte, including
    /// `)` and newlines. It ends at the last `)`, because only numbers and one letter follow it.
    pub fn parse(text: &[u8]) -> Option<Stat> {
        let open = text.iter().position(|b| *b == b'(')?;
        let close = text.iter().rposition(|b| *b == b')')?;
        let comm = text.get(open + 1..close)?.to_vec();
        let rest: Vec<&[u8]> = text.get(close + 1..)?.trim_ascii().split(|b| *b == b' ').collect();
        let field = |number: usize| rest.get(number - 3).copied();
        let number = |at: usize| field(at).and_then(decimal).unwrap_or(0);
        let flags: u64 = decimal(field(9)?)?;
        Some(Stat {
            comm,
            state: *field(3)?.first()?,
            ppid: Tgid(decimal(field(4)?)?),
            threads: decimal(field(20)?)?,
            start_ticks: decimal(field(22)?)?,
            kernel_thread: flags & PF_KTHREAD != 0,
            used: (number(14) + number(15), number(24)),
        })
    }

    /// Whether the process has ended, so that its exit event has occurred. A leader that ended before its other threads
    /// is a zombie too, but its process still runs.
    fn ended(&self) -> bool {
        self.state == b'X' || (self.state == b'Z' && self.threads <= 1)
    }
}

/// The real ids from the lines `Uid:` and `Gid:` of /proc/PID/status, which contain the real, effective, saved and file
/// system ids.
pub fn real_ids(status: &[u8]) -> Option<(Uid, Gid)> {
    let first = |name: &[u8]| {
        let line = status.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(name))?;
        decimal(line.split(u8::is_ascii_whitespace).find(|field| !field.is_empty())?)
    };
    Some((Uid(first(b"Uid:")?), Gid(first(b"Gid:")?)))
}

/// The v2 cgroup (line `0::PATH`). If that is only the root, the name=systemd cgroup, if there is one.
pub fn cgroup(text: &[u8]) -> &[u8] {
    let lines = || text.split(|b| *b == b'\n');
    let unified = lines().find_map(|line| line.strip_prefix(b"0::")).unwrap_or_default();
    if !matches!(unified, b"" | b"/") {
        return unified;
    }
    named_cgroup(text).unwrap_or(unified)
}

fn named_cgroup(text: &[u8]) -> Option<&[u8]> {
    text.split(|b| *b == b'\n').find_map(|line| {
        let (_, rest) = line.split_at_checked(line.iter().position(|b| *b == b':')?)?;
        rest.strip_prefix(b":name=systemd:")
    })
}

pub fn has_named_cgroups() -> bool {
    read_bounded("/proc/self/cgroup", CGROUPS_MAX as u64).is_ok_and(|text| named_cgroup(&text).is_some())
}

/// Appends a missing NUL to the last argument. The process may have overwritten its arguments, or they are truncated.
fn terminated(mut cmdline: Vec<u8>) -> Vec<u8> {
    if cmdline.last().is_some_and(|last| *last != 0) {
        cmdline.push(0);
    }
    cmdline
}

/// The first `most` bytes of a file. A read of a /proc file returns all available data, so a short read is the last
/// one.
fn read_file(mut file: File, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most.min(FIELDS_MAX)];
    let mut len = 0;
    loop {
        match file.read(&mut bytes[len..]) {
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if len < bytes.len() || len == most {
            bytes.truncate(len);
            return Ok(bytes);
        }
        bytes.resize(most.min(len * 2), 0);
    }
}

struct ProcessDir(File);

impl ProcessDir {
    fn open(tgid: Tgid) -> io::Result<ProcessDir> {
        let path = format!("/proc/{}", tgid.0);
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        Ok(ProcessDir(File::options().read(true).custom_flags(flags).open(&path)?))
    }

    fn open_file(&self, name: &CStr) -> io::Result<File> {
        Ok(File::from(openat(&self.0, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// The first `most` bytes of a file.
    fn read(&self, name: &CStr, most: usize) -> io::Result<Vec<u8>> {
        read_file(self.open_file(name)?, most)
    }

    /// The target of a link, unchanged (for a deleted file, it ends with ` (deleted)`). Empty if it cannot be read.
    fn link(&self, name: &CStr) -> Vec<u8> {
        let mut target = Vec::with_capacity(LINK_MAX);
        let _ = readlinkat_raw(&self.0, name, spare_capacity(&mut target));
        target
    }

    /// The real user and group. If they cannot be read, the owner of the directory. This owner is the effective ids, or
    /// root for a process that may not be traced.
    fn owners(&self) -> (Uid, Gid) {
        let ids = self.read(c"status", FIELDS_MAX).ok().and_then(|text| real_ids(&text));
        ids.unwrap_or_else(|| match self.0.metadata() {
            Ok(owned) => (Uid(owned.uid()), Gid(owned.gid())),
            Err(_) => (Uid::default(), Gid::default()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use proptest::prelude::*;
    use std::process::{Command, Stdio};

    const STAT: &str = "S 7 42 42 0 -1 4194560 105 0 0 0 1 2 0 0 20 0 3 0 8837 9551872 512 18446744073709551615";

    fn check_stat(comm: &[u8]) {
        let text = [b"42 (", comm, b") ", STAT.as_bytes(), b"\n"].concat();
        let stat = Stat::parse(&text).expect("well formed");
        assert_eq!(stat.comm, comm);
        assert_eq!((stat.state, stat.ppid, stat.threads, stat.start_ticks), (b'S', Tgid(7), 3, 8837));
        assert_eq!(stat.used, (3, 512));
        assert!(!stat.kernel_thread);
    }

    #[test]
    fn stat_status_and_cgroup_are_parsed() {
        for comm in [&b"cc1"[..], b"", b"a b", b") R 1 1", b"((x)", b"(sd-pam)", b"a\nb) Z 0", b"\xff\xfe"] {
            check_stat(comm);
        }
        // Cut or odd.
        for text in [&b""[..], b"42", b"42 (x", b"42 x)", b")(", b"42 (x)", b"42 (x) S 1 2 3", b"1 (x) S a b c d e f"] {
            assert_eq!(Stat::parse(text), None, "{}", text.escape_ascii());
        }
        // A dead leader of living threads has not ended.
        let stat = |state, threads| Stat { state, threads, ..Stat::default() };
        assert!(stat(b'Z', 1).ended() && stat(b'X', 0).ended());
        assert!(!stat(b'Z', 2).ended() && !stat(b'S', 1).ended());
        // The ids are the real ones.
        let status = b"Name:\tUid:\nUmask:\t0022\nUid:\t1000\t0\t0\t0\nGid:\t100\t5\t5\t5\n";
        assert_eq!(real_ids(status), Some((Uid(1000), Gid(100))));
        assert_eq!(real_ids(b"Uid:\t\nGid:\t1\n"), None);
        assert_eq!(real_ids(b"Uid:\t1\t1\n"), None);
        // The cgroup is of version 2, or else of systemd.
        for (text, path) in [
            (&b"0::/user.slice/a.scope\n"[..], &b"/user.slice/a.scope"[..]),
            (b"9:name=systemd:/init.scope\n4:memory:/x\n0::/\n", b"/init.scope"),
            (b"9:name=systemd:/a\n0::/b\n", b"/b"),
            (b"4:memory:/x\n0::/\n", b"/"),
            (b"1:name=systemd:/c:d\n", b"/c:d"),
            (b"0::/a:b c (deleted)\n", b"/a:b c (deleted)"),
            (b"\n:\n::\n", b""),
        ] {
            assert_eq!(cgroup(text), path, "{}", text.escape_ascii());
        }
        // NUL follows every argument.
        assert_eq!(terminated(b"a\0b\0".to_vec()), b"a\0b\0");
        assert_eq!(terminated(b"nginx: worker".to_vec()), b"nginx: worker\0");
        assert_eq!(terminated(Vec::new()), b"");
    }

    #[test]
    fn a_scan_ends_when_no_more_is_wanted() {
        let Some(scanner) = scanner() else { return };
        // With hidepid=invisible, /proc has only the processes of this user.
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep runs");
        let mut count = 0;
        let mut take = |_| {
            count += 1;
            false
        };
        scanner.scan(|_| None, &mut take).expect("/proc is listed");
        child.kill().and_then(|()| child.wait()).expect("it runs");
        assert_eq!(count, 1, "there are more processes than that");
    }

    #[test]
    fn the_exact_start_counts_only_within_the_tick() {
        let scanner = Scanner { memory: RefCell::default(), keeper: None, tick_ns: 10 };
        assert_eq!(scanner.start(40, Some(BootNanos(409))), (BootNanos(409), true));
        assert_eq!(scanner.start(40, Some(BootNanos(410))), (BootNanos(400), false));
        assert_eq!(scanner.start(40, Some(BootNanos(399))), (BootNanos(400), false));
        assert_eq!(scanner.start(40, None), (BootNanos(400), false));
        // A child starts in the tick in which it was made.
        let Some(scanner) = self::scanner() else { return };
        let before = clock::now_boot();
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep runs");
        let after = clock::now_boot();
        let seed = scanner.process(Tgid(child.id()), |_| None);
        let exact = scanner.process(Tgid(child.id()), |_| Some(seed.as_ref().expect("it lives").start.0 + 1));
        child.kill().expect("ours to kill");
        let dying = std::time::Instant::now();
        let mut zombie = seed.clone();
        while zombie.is_some() && dying.elapsed().as_secs() < 10 {
            zombie = scanner.process(Tgid(child.id()), |_| None);
        }
        child.wait().expect("ours to wait for");
        let gone = scanner.process(Tgid(child.id()), |_| None);
        let seed = seed.expect("it lived");
        assert!(seed.start.0 / seed.tick_ns >= before.0 / seed.tick_ns && seed.start <= after, "{seed:?}");
        assert_eq!(Ok(seed.ppid), initial_self());
        assert!(exact.expect("it lived").start_exact);
        assert_eq!((zombie, gone), (None, None));
    }

    /// `None`, with a message, if the ids of this process differ from those in /proc.
    fn scanner() -> Option<Scanner> {
        let scanner = Scanner::new().inspect_err(|why| crate::not_checked(&why.to_string())).ok()?;
        let ours = namespace("/proc/self", "pid");
        if ours != Some(INITIAL_PID_NS) {
            crate::not_checked(&format!("the process ids are those of pid namespace {ours:?}"));
            return None;
        }
        Some(scanner)
    }

    fn seeds(scanner: &Scanner) -> Vec<ProcessSeed> {
        let mut seeds = Vec::new();
        let mut take = |seed| {
            seeds.push(seed);
            true
        };
        scanner.scan(|_| None, &mut take).expect("/proc is listed");
        seeds
    }

    #[test]
    fn our_own_process_is_found_as_it_is() {
        let Some(scanner) = scanner() else { return };
        let seeds = seeds(&scanner);
        let own = seeds.iter().find(|seed| Ok(seed.tgid) == initial_self()).expect("we run");
        assert_eq!(own.ppid.0, std::os::unix::process::parent_id());
        assert_eq!((own.uid.0, own.gid.0), (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()));
        assert_eq!(own.exe, std::env::current_exe().expect("readable").as_os_str().as_bytes());
        assert_eq!(own.cwd, std::env::current_dir().expect("readable").as_os_str().as_bytes());
        assert!(own.argv.starts_with(std::env::args().next().expect("a name").as_bytes()));
        assert!(own.start < clock::now_boot() && !own.start_exact && !own.kernel_thread);
        assert!(own.start.0.is_multiple_of(own.tick_ns));
        let (_, resident) = scanner.used(own.tgid, own.start).expect("we run");
        assert!(resident > 100_000, "{resident}");
        assert_eq!(scanner.used(own.tgid, BootNanos(own.start.0 + own.tick_ns)), None, "a process that had the id");
    }

    #[test]
    #[ignore = "measures"]
    fn measure_a_scan() {
        let Some(scanner) = scanner() else { return };
        let idle = || Command::new("sleep").arg("60").spawn().expect("sleep runs");
        let mut children: Vec<_> = (0..300).map(|_| idle()).collect();
        let mut runs: Vec<_> = (0..15)
            .map(|_| {
                let begun = std::time::Instant::now();
                (seeds(&scanner).len(), begun.elapsed())
            })
            .collect();
        for child in &mut children {
            child.kill().expect("ours to kill");
            child.wait().expect("ours to wait for");
        }
        runs.sort_by_key(|(_, took)| *took);
        eprintln!("processes and time: best {:?}, median {:?}, worst {:?}", runs[0], runs[7], runs[14]);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed(bytes: Vec<u8>, fields in "[0-9]{0,3}( ?[()A-Z0-9:/\n-]{0,6}){0,40}") {
            for text in [&bytes, fields.as_bytes()] {
                let _ = (Stat::parse(text), real_ids(text), cgroup(text));
            }
        }
    }
}
