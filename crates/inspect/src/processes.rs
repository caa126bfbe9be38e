//! Reads the descriptors of all processes and threads, to find holders of programs and links, and perf events. Also
//! finds their network namespaces.

use super::sys;
use super::unread_objects::Unlooked;
use foldhash::{HashMap, HashSet};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, fstat, open, openat, readlinkat_raw, statat};
use std::cmp::Ordering;
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use tracetui_events::bpf::place::AttachPoint;
use tracetui_events::bpf::{HeldBy, Holder, Hook, Object, UnresolvedAttachment, Via};
use tracetui_events::frame::host::{BpfAttachment, BpfHolder};
use tracetui_events::limits;
use tracetui_host::background::Pieces;
use tracetui_host::procfs::namespace_number;
use tracetui_host::{decimal, read_bounded};
use tracetui_shared::id::{KernelAddr, LinkId, NsInum, ProgId, Tgid};

/// The maximum number of bytes read from /proc/PID/fdinfo/FD. The used lines are among the first ten.
const FDINFO: u64 = 1024;

pub(super) struct SeenEvent {
    pub(super) program: ProgId,
    pub(super) event: u32,
    pub(super) event_type: u32,
    pub(super) config: u64,
}

/// A socket with programs, by a descriptor of a process.
pub(super) struct Socket {
    pub(super) inode: u32,
    /// The program of the filter, and that of the group. The inner value is `None` for a program of classic BPF.
    pub(super) programs: [Option<Option<ProgId>>; 2],
    pub(super) group: KernelAddr,
    pub(super) pid: Tgid,
    pub(super) fd: u32,
}

#[derive(Default)]
pub(super) struct Held {
    /// `None` if they cannot be read: /proc does not show their programs.
    pub(super) sockets: Option<Vec<Socket>>,
    pub(super) holders: Vec<Holder>,
    pub(super) perf: Vec<(BpfAttachment, BpfHolder)>,
    /// The perf events whose program BPF_TASK_FD_QUERY does not name, and their holders.
    pub(super) events: Vec<(SeenEvent, BpfHolder)>,
    pub(super) unresolved: Vec<UnresolvedAttachment>,
    /// One file for each network namespace of the processes.
    pub(super) namespaces: HashMap<NsInum, File>,
    /// The number of processes whose descriptors may not be read.
    pub(super) refused: u64,
}

/// Reads /proc. Processes that end meanwhile no longer hold anything.
pub(super) fn read(pieces: &mut Pieces<'_>, unlooked: &mut Unlooked) -> io::Result<Held> {
    let mut held = Held::default();
    let mut left = limits::BPF_DESCRIPTORS;
    for entry in fs::read_dir("/proc")? {
        pieces.rest();
        let Ok(entry) = entry else { break };
        let Some(pid) = decimal::<u32>(entry.file_name().as_bytes()) else { continue };
        match held.process(pid, &mut left) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM)) => held.refused += 1,
            _ => {}
        }
        if left == 0 {
            unlooked.cut("descriptors of processes", limits::BPF_DESCRIPTORS);
            break;
        }
    }
    Ok(held)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Program,
    Link,
    PerfEvent,
}

fn kind(target: &[u8]) -> Option<Kind> {
    match target.strip_prefix(b"anon_inode:")? {
        b"bpf-prog" => Some(Kind::Program),
        b"bpf_link" | b"bpf-link" => Some(Kind::Link),
        b"[perf_event]" => Some(Kind::PerfEvent),
        _ => None,
    }
}

impl Held {
    fn process(&mut self, pid: u32, left: &mut usize) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // All threads of tracetui share the descriptors. Without O_PATH, the thread with CAP_KILL could send the
        // process a signal by it.
        let process = open(format!("/proc/{pid}"), flags | OFlags::PATH, Mode::empty())?;
        self.namespace(&process, c"ns/net");
        self.descriptors(pid, Tgid(pid), left)?;
        // The links of this directory are itself, its parent, and each thread.
        if statat(&process, c"task", AtFlags::empty())?.st_nlink > 3 {
            self.threads(&openat(&process, c"task", flags, Mode::empty())?, pid, left);
        }
        Ok(())
    }

    /// Reads the threads that may have left the descriptors or the network namespace of the leader. A leader that
    /// exited has none.
    fn threads(&mut self, tasks: &OwnedFd, pid: u32, left: &mut usize) {
        // One thread for each table of descriptors, in the kernel's order.
        let mut tables = vec![pid];
        let mut entries = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(tasks, &mut entries);
        while let Some(Ok(entry)) = entries.next() {
            let Some(tid) = decimal::<u32>(entry.file_name().to_bytes()).filter(|tid| *tid != pid) else { continue };
            if let Ok(path) = CString::new(format!("{tid}/ns/net")) {
                self.namespace(tasks, &path);
            }
            // A thread that ended, or may not be read, counts as having nothing of its own.
            let same = |other: &u32| sys::compare_files(*other, tid).unwrap_or(Ordering::Equal);
            if let Err(at) = tables.binary_search_by(same) {
                tables.insert(at, tid);
                let _ = self.descriptors(tid, Tgid(pid), left);
            }
            *left = left.saturating_sub(1);
            if *left == 0 {
                return;
            }
        }
    }

    fn descriptors(&mut self, tid: u32, pid: Tgid, left: &mut usize) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fds = open(format!("/proc/{tid}/fd"), flags, Mode::empty())?;
        let mut comm = None;
        let mut entries = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(&fds, &mut entries);
        while let Some(Ok(entry)) = entries.next() {
            let Some(fd) = decimal::<u32>(entry.file_name().to_bytes()) else { continue };
            let mut target = [MaybeUninit::uninit(); 64];
            let kind = match readlinkat_raw(&fds, entry.file_name(), &mut target) {
                Ok((target, _)) => kind(target),
                Err(_) => continue,
            };
            if let Some(kind) = kind {
                let comm = comm.get_or_insert_with(|| comm_of(pid.0)).clone();
                self.descriptor(kind, tid, (pid, comm, fd));
            }
            *left = left.saturating_sub(1);
            if *left == 0 {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn namespace_of(&mut self, tid: u32, inum: NsInum) {
        if !self.namespaces.contains_key(&inum)
            && let Ok(path) = CString::new(format!("/proc/{tid}/ns/net"))
        {
            self.namespace(CWD, &path);
        }
    }

    fn namespace(&mut self, dir: impl AsFd, path: &CStr) {
        let mut target = [MaybeUninit::uninit(); 64];
        let Ok((target, _)) = readlinkat_raw(&dir, path, &mut target) else { return };
        let Some(inum) = namespace_number(target, "net") else { return };
        if self.namespaces.len() < limits::BPF_NAMESPACES
            && !self.namespaces.contains_key(&inum)
            && let Ok(file) = openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        {
            add_namespace(&mut self.namespaces, file.into());
        }
    }

    fn descriptor(&mut self, kind: Kind, tid: u32, (pid, comm, fd): (Tgid, Vec<u8>, u32)) {
        if kind == Kind::PerfEvent {
            return self.perf_event(tid, BpfHolder::process(HeldBy::Perf, pid, comm, fd), None);
        }
        let Ok(info) = read_bounded(format!("/proc/{tid}/fdinfo/{fd}"), FDINFO) else { return };
        let object = match kind {
            Kind::Link => field(&info, b"link_id:").map(|id| Object::Link(LinkId(id))),
            _ => field(&info, b"prog_id:").map(|id| Object::Program(ProgId(id))),
        };
        if let Some(object) = object {
            self.hold(object, BpfHolder::process(HeldBy::Process, pid, comm, fd));
        }
    }

    pub(super) fn hold(&mut self, object: Object, by: BpfHolder) {
        if self.holders.len() < limits::BPF_HOLDERS {
            self.holders.push(Holder { object, by });
        }
    }

    /// `seen`: the event, if an iterator shows it.
    pub(super) fn perf_event(&mut self, tid: u32, by: BpfHolder, seen: Option<SeenEvent>) {
        match sys::task_fd(tid, by.fd) {
            Ok(facts) => self.perf.push((facts, by)),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => match seen {
                Some(seen) => self.events.push((seen, by)),
                None => self.unresolved.push(UnresolvedAttachment { hook: Hook::PerfEvent, target: Vec::new(), by }),
            },
            // There is no program, or the process ended.
            Err(_) => {}
        }
    }
}

/// Adds a network namespace by its file. Another one may have been at the path when its number was read there.
pub(super) fn add_namespace(known: &mut HashMap<NsInum, File>, file: File) {
    if let Ok(status) = fstat(&file) {
        known.entry(NsInum(status.st_ino as u32)).or_insert(file);
    }
}

/// Adds the programs of sockets. Those of classic BPF, which have no id, are unresolved.
pub(super) fn sockets(
    found: Vec<Socket>,
    rest: &mut Vec<BpfAttachment>,
    holders: &mut Vec<Holder>,
    unresolved: &mut Vec<UnresolvedAttachment>,
) {
    let mut seen = HashSet::default();
    let mut comms: HashMap<Tgid, Vec<u8>> = HashMap::default();
    for Socket { inode, programs: [filter, of_group], group, pid, fd } in found {
        let socket = AttachPoint::Numbered("socket", inode.into()).to_string().into_bytes();
        let of_filter = BpfAttachment { hook: Hook::SocketFilter, target: socket.clone(), ..BpfAttachment::default() };
        let of_group = (of_group, BpfAttachment { hook: Hook::Reuseport, addr: group, ..BpfAttachment::default() });
        for (program, facts) in [(filter, of_filter), of_group] {
            let Some(program) = program else { continue };
            let comm = comms.entry(pid).or_insert_with(|| comm_of(pid.0)).clone();
            // A socket has a descriptor in each process that inherited it, and a group many sockets.
            let is_new = seen.insert((facts.target.clone(), facts.addr, program));
            let by = BpfHolder::process(HeldBy::Socket, pid, comm, fd);
            if let Some(program) = program {
                holders.push(Holder { object: Object::Program(program), by });
                rest.extend(is_new.then_some(BpfAttachment { program, via: Via::Setsockopt, ..facts }));
            } else if is_new {
                unresolved.push(UnresolvedAttachment { hook: facts.hook, target: socket.clone(), by });
            }
        }
    }
}

/// The number in the line of fdinfo that starts with `name`.
pub fn field(info: &[u8], name: &[u8]) -> Option<u32> {
    let line = info.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
    decimal(line.trim_ascii())
}

pub(super) fn comm_of(pid: u32) -> Vec<u8> {
    let comm = read_bounded(format!("/proc/{pid}/comm"), 64).unwrap_or_default();
    comm.strip_suffix(b"\n").unwrap_or(&comm).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::mpsc::channel;

    #[test]
    fn a_namespace_has_its_own_number() {
        use rustix::thread::{LinkNameSpaceType, UnshareFlags, gettid, move_into_link_name_space, unshare_unsafe};
        let own = || File::open("/proc/thread-self/ns/net").expect("a namespace");
        let moves = |to: &File| move_into_link_name_space(to.as_fd(), Some(LinkNameSpaceType::Network));
        let is_over = &AtomicBool::new(false);
        let (started, has_started) = channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let first = own();
                // SAFETY: the namespace of this thread alone changes.
                if unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.is_err() {
                    return tracetui_host::not_checked("no privileges");
                }
                let second = own();
                let _ = started.send(gettid());
                while !is_over.load(Relaxed) {
                    [&first, &second].into_iter().for_each(|to| moves(to).expect("its own namespace"));
                }
            });
            let Ok(tid) = has_started.recv() else { return };
            let path = CString::new(format!("/proc/self/task/{}/ns/net", tid.as_raw_nonzero())).expect("no NUL");
            let is_wrong = |(inum, file): (&NsInum, &File)| u64::from(inum.0) != fstat(file).expect("a file").st_ino;
            let wrong = (0..10_000).filter(|_| {
                let mut held = Held::default();
                held.namespace(CWD, &path);
                held.namespaces.iter().any(is_wrong)
            });
            let wrong = wrong.count();
            is_over.store(true, Relaxed);
            assert_eq!(wrong, 0);
        });
    }

    #[test]
    fn fdinfo_names_the_object_and_descriptors_differ() {
        let info = b"pos:\t0\nlink_type:\tperf\nlink_id:\t7\nprog_tag:\t00\nprog_id:\t12\n";
        let numbers = [b"link_id:".as_slice(), b"prog_id:", b"map_id:"].map(|name| field(info, name));
        assert_eq!(numbers, [Some(7), Some(12), None]);
        assert_eq!(namespace_number(b"net:[4026531840]", "net"), Some(NsInum(4_026_531_840)));
        assert_eq!(namespace_number(b"pid:[4026531840]", "net"), None);
        assert_eq!(kind(b"anon_inode:bpf-prog"), Some(Kind::Program));
        assert_eq!(kind(b"anon_inode:bpf_link"), Some(Kind::Link));
        assert_eq!(kind(b"anon_inode:[perf_event]"), Some(Kind::PerfEvent));
        assert_eq!(kind(b"anon_inode:bpf-map"), None);
        assert_eq!(kind(b"/tmp/anon_inode:bpf-prog"), None);
    }
}
