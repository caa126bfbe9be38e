//! The descriptors of all processes that refer to programs, links and perf events with programs, and the network namespaces of all
//! threads, through the iterators `task_file` and `task` (5.8+). /proc has the same, but takes a system call or more for each
//! descriptor.

use super::lister::{Body, LEAVE, Lister, NAME_AT, ON_STACK, Record, asm, field, id, name, offset};
use super::processes::{Held, Kind, SeenEvent, Socket, comm_of};
use tracetui_events::bpf::{HeldBy, Object};
use tracetui_events::frame::host::BpfHolder;
use tracetui_events::limits;
use tracetui_host::btf::Btf;
use tracetui_host::procfs::{INITIAL_PID_NS, namespace};
use tracetui_host::program::Instruction;
use tracetui_host::{u32_at, u64_at};
use tracetui_shared::id::{KernelAddr, LinkId, NsInum, ProgId, Tgid};

/// `SOCKFS_MAGIC`.
const SOCK_FS: i32 = 0x534f_434b;

/// `ANON_INODE_FS_MAGIC`, of the file system whose files are made by the kernel alone, with constant names.
const ANON_INODE_FS: i32 = 0x0904_1934;

const PROGRAM: i32 = Kind::Program as i32;
const LINK: i32 = Kind::Link as i32;
const PERF_EVENT: i32 = Kind::PerfEvent as i32;
const SOCKET: i32 = PERF_EVENT + 1;

/// In place of the id of a program of classic BPF.
const CLASSIC: i32 = -1;

/// In place of the id 0, which ends the records.
const NO_ID: i32 = -1;

/// Puts the id of the program whose address is in a register into register 1; 0 for a program without one.
fn program_id(btf: &Btf, register: u8) -> Option<Vec<Instruction>> {
    let aux = asm::read(asm::U64, 1, register, offset(btf, "bpf_prog", &["aux"], 8)?.into());
    Some([aux, asm::read(asm::U32, 1, 1, offset(btf, "bpf_prog_aux", &["id"], 4)?.into())].concat())
}

/// The record of a file of a task: the id of the program (of a perf event too) or link, the kind, the process, the thread, the
/// descriptor, the name of the leader. Of a perf event, instead of a name: its id (28), its type (32), its config (40). Of a socket:
/// its inode, the kind, the process, the thread, the descriptor, the ids of the programs of the filter and of the group (28, 32), the
/// address of the group (40).
fn of_file(btf: &Btf) -> Option<Body> {
    const TASK: i16 = 8;
    const FD: i16 = 16;
    const FILE: i16 = 24;
    let at = |structure: &str, members: &[&str], size: u32| offset(btf, structure, members, size);
    let name = |name: &[u8; 8]| u64::from_ne_bytes(*name);
    let mut socket = of_socket(btf)?;
    let mut facts = vec![
        asm::load(asm::U64, 1, 6, at("file", &["f_inode"], 8)?),
        asm::load(asm::U64, 1, 1, at("inode", &["i_sb"], 8)?),
        asm::load(asm::U64, 1, 1, at("super_block", &["s_magic"], 8)?),
        asm::skip_unless(1, SOCK_FS, socket.len() as i16 + 1),
    ];
    let anonymous = facts.len() + socket.len() + 1;
    facts.append(&mut socket);
    // Replaced below.
    facts.push(asm::skip(0));
    facts.extend([
        asm::skip_unless(1, ANON_INODE_FS, LEAVE),
        asm::load(asm::U64, 3, 6, at("file", &["f_path.dentry", "__f_path.dentry"], 8)?),
        asm::load(asm::U64, 3, 3, at("dentry", &["d_name.name", "__d_name.name"], 8)?),
    ]);
    facts.extend(asm::read(asm::U64, 1, 3, 0));
    facts.extend(asm::set64(2, name(b"bpf-prog")));
    facts.extend([asm::set(8, PROGRAM), asm::skip_if_same(1, 2, 9)]);
    facts.extend(asm::set64(2, name(b"bpf_link")));
    facts.extend([asm::set(8, LINK), asm::skip_if_same(1, 2, 5)]);
    facts.extend(asm::set64(2, name(b"[perf_ev")));
    facts.extend([asm::set(8, PERF_EVENT), asm::skip_if_same(1, 2, 1), asm::skip(LEAVE)]);
    facts.push(asm::store(asm::U32, 10, 8, ON_STACK + 12));
    facts.push(asm::load(asm::U64, 3, 6, at("file", &["private_data"], 8)?));
    // A perf event counts only if it has a program.
    let mut perf_event = vec![asm::copy(8, 3)];
    for (size, from, to) in [
        (asm::U32, at("perf_event", &["id"], 8)?, 28),
        (asm::U32, at("perf_event", &["attr.type"], 4)?, 32),
        (asm::U64, at("perf_event", &["attr.config"], 8)?, NAME_AT as i16 + 8),
    ] {
        perf_event.extend(asm::read(size, 1, 8, from.into()));
        perf_event.push(asm::store(size, 10, 1, ON_STACK + to));
    }
    perf_event.extend(asm::read(asm::U64, 1, 8, at("perf_event", &["prog"], 8)?.into()));
    perf_event.push(asm::skip_if(1, 0, LEAVE));
    perf_event.extend(program_id(btf, 1)?);
    let mut link = asm::read(asm::U32, 1, 3, at("bpf_link", &["id"], 4)?.into());
    link.push(asm::skip(perf_event.len() as i16));
    let mut program = program_id(btf, 3)?;
    program.extend([asm::skip_unless(1, 0, 1), asm::set(1, NO_ID)]);
    program.push(asm::skip((1 + link.len() + perf_event.len()) as i16));
    facts.push(asm::skip_unless(8, PROGRAM, program.len() as i16));
    facts.extend(program);
    facts.push(asm::skip_unless(8, LINK, link.len() as i16));
    facts.extend(link);
    facts.extend(perf_event);
    facts.extend([asm::skip_if(1, 0, LEAVE), asm::store(asm::U32, 10, 1, ON_STACK + 8)]);
    facts[anonymous - 1] = asm::skip((facts.len() - anonymous) as i16);
    facts.extend([asm::load(asm::U32, 1, 9, FD), asm::store(asm::U32, 10, 1, ON_STACK + 24)]);
    facts.extend([asm::load(asm::U64, 6, 9, TASK), asm::skip_if(6, 0, LEAVE)]);
    facts.extend(field(asm::U32, at("task_struct", &["tgid"], 4)?, 16));
    facts.extend(field(asm::U32, at("task_struct", &["pid"], 4)?, 20));
    facts.push(asm::load(asm::U64, 6, 6, at("task_struct", &["group_leader"], 8)?));
    let comm = at("task_struct", &["comm"], 16)?;
    let comm: Vec<_> = [0, 4, 8, 12].iter().flat_map(|at| field(asm::U32, comm + at, NAME_AT as i16 + at)).collect();
    facts.extend([asm::load(asm::U32, 1, 10, ON_STACK + 12), asm::skip_if_greater(1, LINK, comm.len() as i16)]);
    facts.extend(comm);
    Some(Body { function: btf.func("bpf_iter_task_file")?, object: FILE, facts, again: None })
}

/// The programs of the socket that register 6 points to the file of. Changes registers 0 to 5 and 8.
fn of_socket(btf: &Btf) -> Option<Vec<Instruction>> {
    let at = |structure: &str, member: &str| offset(btf, structure, &[member], 8);
    let read = |to: u8, from: u8, structure: &str, member: &str| {
        at(structure, member).map(|offset| asm::read(asm::U64, to, from, offset.into()))
    };
    // The id of the program whose address is in register 1, to the record.
    let program = |to: i16| {
        let classic = [asm::skip_unless(1, 0, 1), asm::set(1, CLASSIC), asm::store(asm::U32, 10, 1, ON_STACK + to)];
        Some([&program_id(btf, 1)?[..], &classic].concat())
    };
    let unless_null =
        |register: u8, code: Vec<Instruction>| [vec![asm::skip_if(register, 0, code.len() as i16)], code].concat();
    let mut facts = vec![asm::load(asm::U64, 8, 6, at("file", "private_data")?)];
    facts.extend(read(8, 8, "socket", "sk")?);
    facts.push(asm::skip_if(8, 0, LEAVE));
    facts.extend(read(1, 8, "sock", "sk_filter")?);
    facts.extend(unless_null(1, [read(1, 1, "sk_filter", "prog")?, program(28)?].concat()));
    facts.extend(read(8, 8, "sock", "sk_reuseport_cb")?);
    let mut of_group = vec![asm::store(asm::U64, 10, 8, ON_STACK + 40)];
    of_group.extend(read(1, 8, "sock_reuseport", "prog")?);
    of_group.extend(unless_null(1, program(32)?));
    facts.extend(unless_null(8, of_group));
    let id = |at: i16| asm::load(asm::U32, 1, 10, ON_STACK + at);
    facts.extend([id(28), asm::skip_unless(1, 0, 2), id(32), asm::skip_if(1, 0, LEAVE)]);
    // 0 and `CLASSIC` are no ids.
    facts.extend([id(28), asm::add(1, 1), asm::skip_if_low_greater(1, 1, 7)]);
    facts.extend([id(32), asm::add(1, 1), asm::skip_if_low_greater(1, 1, 4)]);
    facts.extend([asm::load(asm::U64, 1, 7, 8), asm::skip_if_greater(1, limits::BPF_CLASSIC as i32 - 1, LEAVE)]);
    facts.extend([asm::add(1, 1), asm::store(asm::U64, 7, 1, 8)]);
    facts.extend([asm::load(asm::U64, 1, 6, at("file", "f_inode")?), asm::load(asm::U64, 1, 1, at("inode", "i_ino")?)]);
    facts.extend([asm::store(asm::U32, 10, 1, ON_STACK + 8), asm::set(1, SOCKET)]);
    facts.push(asm::store(asm::U32, 10, 1, ON_STACK + 12));
    Some(facts)
}

/// The record of a thread: its id, its network namespace. Not for a thread with the namespace of the one before it.
fn of_task(btf: &Btf) -> Option<Body> {
    const TASK: i16 = 8;
    let at = |structure: &str, member: &str, size: u32| offset(btf, structure, &[member], size);
    let mut facts = vec![
        asm::load(asm::U64, 1, 6, at("task_struct", "nsproxy", 8)?),
        asm::load(asm::U64, 1, 1, at("nsproxy", "net_ns", 8)?),
        asm::load(asm::U32, 1, 1, at("net", "ns.inum", 4)?),
        // A thread that exits has none.
        asm::skip_if(1, 0, LEAVE),
        asm::load(asm::U64, 2, 7, 8),
        asm::skip_if_same(1, 2, LEAVE),
        asm::store(asm::U64, 7, 1, 8),
        asm::store(asm::U32, 10, 1, ON_STACK + 12),
    ];
    facts.extend(field(asm::U32, at("task_struct", "pid", 4)?, 8));
    Some(Body { function: btf.func("bpf_iter_task")?, object: TASK, facts, again: None })
}

pub(super) struct Descriptors {
    pub(super) files: Lister,
    pub(super) tasks: Lister,
}

impl Descriptors {
    /// `None` if the kernel lacks or rejects them, and in another pid namespace than the initial one, to which the ids in the records
    /// belong. `ring_size`: of the records of all descriptors, and of all changes of the namespace from one thread to the next.
    pub(super) fn load(btf: &Btf, ring_size: u32) -> Option<Descriptors> {
        if namespace("/proc/self", "pid") != Some(INITIAL_PID_NS) {
            return None;
        }
        let (files, tasks) = (of_file(btf)?, of_task(btf)?);
        let files = Lister::load("tt_files", &files, ring_size).ok()?;
        Some(Descriptors { files, tasks: Lister::load("tt_tasks", &tasks, ring_size).ok()? })
    }

    /// Reads all processes. Fails if a ring was too small.
    pub(super) fn read(&mut self) -> Result<Held, String> {
        let mut held = Held { sockets: Some(Vec::new()), ..Held::default() };
        self.files.run(|record| held.file(record))?;
        self.tasks.run(|record| held.namespace_of(id(record), NsInum(u32_at(record, 12))))?;
        Ok(held)
    }
}

impl Held {
    fn file(&mut self, record: &Record) {
        let (pid, tid, fd) = (Tgid(u32_at(record, 16)), u32_at(record, 20), u32_at(record, 24));
        let by = || BpfHolder::process(HeldBy::Process, pid, name(record).to_vec(), fd);
        match u32_at(record, 12).cast_signed() {
            SOCKET => {
                let program = |at| Some(u32_at(record, at)).filter(|id| *id != 0);
                let programs = [28, 32]
                    .map(|at| program(at).map(|id| Some(ProgId(id)).filter(|id| id.0 != CLASSIC.cast_unsigned())));
                let (inode, group) = (id(record), KernelAddr(u64_at(record, 40)));
                self.sockets.iter_mut().for_each(|all| all.push(Socket { inode, programs, group, pid, fd }));
            }
            PROGRAM => {
                let id = if id(record) == NO_ID.cast_unsigned() { 0 } else { id(record) };
                self.hold(Object::Program(ProgId(id)), by());
            }
            LINK => self.hold(Object::Link(LinkId(id(record))), by()),
            _ => {
                let (program, event) = (ProgId(id(record)), u32_at(record, 28));
                let seen = SeenEvent { program, event, event_type: u32_at(record, 32), config: u64_at(record, 40) };
                self.perf_event(tid, BpfHolder::process(HeldBy::Perf, pid, comm_of(pid.0), fd), Some(seen));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes;
    use crate::unread_objects::Unlooked;
    use crate::{Collector, RunStatistics, sys};
    use foldhash::HashSet;
    use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
    use std::process::Command;
    use tracetui_events::bpf::Holder;
    use tracetui_host::background::Pieces;
    use tracetui_host::bpf::open_iterator;
    use tracetui_host::program::load;

    fn descriptors() -> Option<Descriptors> {
        let loaded = Btf::running().ok().and_then(|btf| Descriptors::load(&btf, 1 << 19));
        if loaded.is_none() {
            tracetui_host::not_checked("no iterators over descriptors");
        }
        loaded
    }

    fn id_of(program: &OwnedFd) -> Object {
        Object::Program(ProgId(sys::info(program.as_fd()).expect("its facts").u32(4)))
    }

    fn of_process(held: &Held, pid: u32) -> Vec<(Object, u32, Vec<u8>)> {
        let of = |holder: &Holder| match &holder.by {
            by if by.by == HeldBy::Process && by.pid.0 == pid => Some((holder.object, by.fd, by.comm.clone())),
            _ => None,
        };
        let mut found: Vec<_> = held.holders.iter().filter_map(of).collect();
        found.sort_unstable_by_key(|(object, fd, _)| (*fd, format!("{object:?}")));
        found
    }

    #[test]
    fn the_iterators_find_what_proc_has() {
        let _alone = crate::alone();
        let Some(mut descriptors) = descriptors() else { return };
        let program = load("tt_held", &[asm::set(0, 0), (0x95, 0, 0, 0)]).expect("it may load programs");
        // A file of another kind, and another network namespace.
        let _file = open_iterator(&descriptors.files.link).expect("an iterator");
        // A thread with descriptors of its own.
        let (send, loaded) = std::sync::mpsc::channel();
        let (ends, end) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            // SAFETY: unshare(2) takes a number, and changes the calling thread alone.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
            let own = load("tt_thread", &[asm::set(0, 0), (0x95, 0, 0, 0)]).expect("it may load programs");
            let _ = send.send(id_of(&own));
            let _ = end.recv();
        });
        let in_thread = loaded.recv().expect("the id of its program");
        let mut other = Command::new("unshare").args(["-n", "sleep", "30"]).spawn().expect("unshare");
        std::thread::sleep(std::time::Duration::from_millis(300));
        let found = descriptors.read().expect("all records");
        let listed = processes::read(&mut Pieces::new(None), &mut Unlooked::default()).expect("/proc");
        let again = descriptors.read().expect("all records");
        drop(ends);
        let _ = thread.join();
        let _ = other.kill();
        let _ = other.wait();
        let me = std::process::id();
        assert_eq!(of_process(&found, me), of_process(&listed, me));
        let fd = program.as_raw_fd().cast_unsigned();
        assert!(of_process(&found, me).iter().any(|(object, at, _)| matches!(object, Object::Program(_)) && *at == fd));
        assert!(of_process(&found, me).iter().any(|(object, ..)| matches!(object, Object::Link(_))));
        let objects = |held: &Held| of_process(held, me).iter().any(|(object, ..)| *object == in_thread);
        assert!(objects(&found) && objects(&listed));
        let namespaces = |held: &Held| {
            let mut all: Vec<_> = held.namespaces.keys().copied().collect();
            all.sort_unstable();
            all
        };
        assert!(found.namespaces.len() > 1);
        // Other processes may have come and gone in between.
        assert!(namespaces(&found) == namespaces(&listed) || namespaces(&again) == namespaces(&listed));
    }

    #[test]
    fn counters_are_read_again_once_runs_are_counted() {
        let _alone = crate::alone();
        let (Some(mut descriptors), Ok(_counting)) = (descriptors(), RunStatistics::enable()) else {
            return tracetui_host::not_checked("runs are not counted");
        };
        let mut collector = Collector::default();
        let id = descriptors.files.ids.0;
        let mut runs = |collector: &mut Collector| {
            descriptors.read().expect("all records");
            let inventory = collector.take_inventory(&HashSet::default()).expect("it may list programs");
            inventory.runs[&id].count
        };
        let first = runs(&mut collector);
        collector.counted = true;
        let second = runs(&mut collector);
        assert!(first > 0 && second > first, "{first} {second}");
        assert!(runs(&mut collector) > second);
    }
}
