//! The descriptors of all processes that refer to programs, links and perf events with programs, and the network namespaces of all
//! threads, through the iterators `task_file` and `task` (5.8+). /proc has the same, but takes a system call or more for each
//! descriptor.

use super::lister::{Body, LEAVE, Lister, NAME_AT, ON_STACK, Record, asm, field};
use super::processes::{Held, Kind, SeenEvent, Socket, comm_of};
use std::io;
use tracetui_events::bpf::Object;
use tracetui_events::limits;
use tracetui_host::btf::Btf;
use tracetui_host::btf::resolve::FieldLocation;
use tracetui_host::procfs::{INITIAL_PID_NS, pid_namespace};
use tracetui_host::program::Instruction;
use tracetui_shared::id::{KernelAddr, LinkId, NsInum, ProgId, Tgid};

/// `SOCKFS_MAGIC`.
const SOCK_FS: i32 = 0x534f_434b;

/// `ANON_INODE_FS_MAGIC`, of the file system whose files are made by the kernel alone, with constant names.
const ANON_INODE_FS: i32 = 0x0904_1934;

/// The offsets of the kernel's types that the programs read.
#[derive(Clone, Copy, Debug)]
pub(super) struct DescriptorLayout {
    files: u32,
    tasks: u32,
    inode: i16,
    superblock: i16,
    magic: i16,
    dentry: i16,
    name: i16,
    private: i16,
    aux: i16,
    program_id: i16,
    link_id: i16,
    perf_program: i16,
    event: EventLayout,
    tgid: i16,
    tid: i16,
    leader: i16,
    comm: i16,
    nsproxy: i16,
    net: i16,
    inum: i16,
    inode_number: i16,
    socket: i16,
    filter: i16,
    filter_program: i16,
    group: i16,
    group_program: i16,
}

impl DescriptorLayout {
    /// The offsets on the kernel with this BTF. `None` if it lacks an iterator or a field.
    pub(super) fn of(btf: &Btf) -> Option<DescriptorLayout> {
        let functions = btf.funcs(&["bpf_iter_task_file", "bpf_iter_task"]);
        let at = |structure: &str, members: &[&str], size: u32| {
            let structure = btf.structures(&[structure]).first().copied().flatten()?;
            offset(btf.first_path(structure, members).ok()?, size)
        };
        Some(DescriptorLayout {
            files: functions[0]?,
            tasks: functions[1]?,
            inode: at("file", &["f_inode"], 8)?,
            superblock: at("inode", &["i_sb"], 8)?,
            magic: at("super_block", &["s_magic"], 8)?,
            dentry: at("file", &["f_path.dentry", "__f_path.dentry"], 8)?,
            name: at("dentry", &["d_name.name", "__d_name.name"], 8)?,
            private: at("file", &["private_data"], 8)?,
            aux: at("bpf_prog", &["aux"], 8)?,
            program_id: at("bpf_prog_aux", &["id"], 4)?,
            link_id: at("bpf_link", &["id"], 4)?,
            perf_program: at("perf_event", &["prog"], 8)?,
            event: EventLayout::of(btf)?,
            tgid: at("task_struct", &["tgid"], 4)?,
            tid: at("task_struct", &["pid"], 4)?,
            leader: at("task_struct", &["group_leader"], 8)?,
            comm: at("task_struct", &["comm"], 16)?,
            nsproxy: at("task_struct", &["nsproxy"], 8)?,
            net: at("nsproxy", &["net_ns"], 8)?,
            inum: at("net", &["ns.inum"], 4)?,
            inode_number: at("inode", &["i_ino"], 8)?,
            socket: at("socket", &["sk"], 8)?,
            filter: at("sock", &["sk_filter"], 8)?,
            filter_program: at("sk_filter", &["prog"], 8)?,
            group: at("sock", &["sk_reuseport_cb"], 8)?,
            group_program: at("sock_reuseport", &["prog"], 8)?,
        })
    }
}

/// The offsets of the facts about a perf event.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventLayout {
    /// In the file.
    pub(super) private: i16,
    pub(super) id: i16,
    event_type: i16,
    config: i16,
}

impl EventLayout {
    pub(super) fn of(btf: &Btf) -> Option<EventLayout> {
        let at = |structure: &str, member: &str, size: u32| {
            let structure = btf.structures(&[structure]).first().copied().flatten()?;
            offset(btf.first_path(structure, &[member]).ok()?, size)
        };
        Some(EventLayout {
            private: at("file", "private_data", 8)?,
            id: at("perf_event", "id", 8)?,
            event_type: at("perf_event", "attr.type", 4)?,
            config: at("perf_event", "attr.config", 8)?,
        })
    }
}

/// The offset of a field with this size. `None` for another size, and for bits.
pub(super) fn offset(place: FieldLocation, size: u32) -> Option<i16> {
    let fits = place.size == Some(size) && place.width.is_none();
    i16::try_from(place.byte_offset()).ok().filter(|_| fits)
}

/// The kinds of descriptors in a record.
const PROGRAM: i32 = Kind::Program as i32;
const LINK: i32 = Kind::Link as i32;
const PERF_EVENT: i32 = Kind::PerfEvent as i32;
const SOCKET: i32 = PERF_EVENT + 1;

/// In place of the id of a program of classic BPF.
const CLASSIC: i32 = -1;

/// In place of the id 0, which ends the records.
const NO_ID: i32 = -1;

/// Reads kernel memory at register 3 to the word below the record.
pub(super) fn read(bytes: i32) -> [Instruction; 4] {
    const PROBE_READ_KERNEL: i32 = 113;
    [asm::copy(1, 10), asm::add(1, WORD.into()), asm::set(2, bytes), asm::call(PROBE_READ_KERNEL)]
}

/// Reads 8 bytes at an address in a register plus an offset to the word below the record.
pub(super) fn follow(register: u8, offset: i32) -> Vec<Instruction> {
    let mut code = vec![asm::copy(3, register), asm::add(3, offset)];
    code.extend(read(8));
    code
}

/// The offset of a word on the stack, below the record.
pub(super) const WORD: i16 = ON_STACK - 8;

/// The record of a file of a task: the id of the program (of a perf event too) or link, the kind, the process, the thread, the
/// descriptor, the name of the leader. Of a perf event, instead of a name: its id (28), its type (32), its config (40). Of a socket:
/// its inode, the kind, the process, the thread, the descriptor, the ids of the programs of the filter and of the group (28, 32), the
/// address of the group (40).
fn of_file(layout: &DescriptorLayout) -> Body {
    const TASK: i16 = 8;
    const FD: i16 = 16;
    const FILE: i16 = 24;
    let name = |name: &[u8; 8]| u64::from_ne_bytes(*name);
    let mut socket = of_socket(layout);
    let mut facts = vec![
        asm::load(asm::U64, 1, 6, layout.inode),
        asm::load(asm::U64, 1, 1, layout.superblock),
        asm::load(asm::U64, 1, 1, layout.magic),
        asm::skip_unless(1, SOCK_FS, socket.len() as i16 + 1),
    ];
    let anonymous = facts.len() + socket.len() + 1;
    facts.append(&mut socket);
    // Replaced below.
    facts.push(asm::skip(0));
    facts.extend([
        asm::skip_unless(1, ANON_INODE_FS, LEAVE),
        asm::load(asm::U64, 3, 6, layout.dentry),
        asm::load(asm::U64, 3, 3, layout.name),
    ]);
    facts.extend(read(8));
    facts.push(asm::load(asm::U64, 1, 10, WORD));
    facts.extend(asm::set64(2, name(b"bpf-prog")));
    facts.extend([asm::set(8, PROGRAM), asm::skip_if_same(1, 2, 9)]);
    facts.extend(asm::set64(2, name(b"bpf_link")));
    facts.extend([asm::set(8, LINK), asm::skip_if_same(1, 2, 5)]);
    facts.extend(asm::set64(2, name(b"[perf_ev")));
    facts.extend([asm::set(8, PERF_EVENT), asm::skip_if_same(1, 2, 1), asm::skip(LEAVE)]);
    facts.push(asm::store(asm::U32, 10, 8, ON_STACK + 12));
    facts.push(asm::load(asm::U64, 3, 6, layout.private));
    // The id of the program whose address is in register 3.
    let id = || {
        let mut code = vec![asm::add(3, layout.aux.into())];
        code.extend(read(8));
        code.extend([asm::load(asm::U64, 3, 10, WORD), asm::add(3, layout.program_id.into())]);
        code.extend(read(4));
        code.push(asm::load(asm::U32, 1, 10, WORD));
        code
    };
    // A perf event counts only if it has a program.
    let mut perf_event = vec![asm::copy(8, 3)];
    for (size, from, to) in [
        (asm::U32, layout.event.id, 28),
        (asm::U32, layout.event.event_type, 32),
        (asm::U64, layout.event.config, NAME_AT as i16 + 8),
    ] {
        perf_event.extend(follow(8, from.into()));
        perf_event.extend([asm::load(size, 1, 10, WORD), asm::store(size, 10, 1, ON_STACK + to)]);
    }
    perf_event.extend(follow(8, layout.perf_program.into()));
    perf_event.extend([asm::load(asm::U64, 3, 10, WORD), asm::skip_if(3, 0, LEAVE)]);
    perf_event.extend(id());
    let mut link = vec![asm::add(3, layout.link_id.into())];
    link.extend(read(4));
    link.extend([asm::load(asm::U32, 1, 10, WORD), asm::skip(perf_event.len() as i16)]);
    let mut program = id();
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
    facts.extend(field(asm::U32, layout.tgid, 16));
    facts.extend(field(asm::U32, layout.tid, 20));
    facts.push(asm::load(asm::U64, 6, 6, layout.leader));
    let comm: Vec<_> =
        [0, 4, 8, 12].iter().flat_map(|part| field(asm::U32, layout.comm + part, NAME_AT as i16 + part)).collect();
    facts.extend([asm::load(asm::U32, 1, 10, ON_STACK + 12), asm::skip_if_greater(1, LINK, comm.len() as i16)]);
    facts.extend(comm);
    Body { object: FILE, facts, again: None }
}

/// The programs of the socket that register 6 points to the file of. Changes registers 0 to 5 and 8.
fn of_socket(layout: &DescriptorLayout) -> Vec<Instruction> {
    let word = |to: u8| asm::load(asm::U64, to, 10, WORD);
    // The id of the program whose address is in the word, to the record.
    let program = |to: i16| {
        let mut code = vec![word(1)];
        code.extend(follow(1, layout.aux.into()));
        code.extend([word(3), asm::add(3, layout.program_id.into())]);
        code.extend(read(4));
        code.extend([asm::load(asm::U32, 1, 10, WORD), asm::skip_unless(1, 0, 1), asm::set(1, CLASSIC)]);
        code.push(asm::store(asm::U32, 10, 1, ON_STACK + to));
        code
    };
    let unless_null = |register: u8, code: Vec<Instruction>| {
        let skip = asm::skip_if(register, 0, code.len() as i16);
        [vec![word(register), skip], code].concat()
    };
    let mut facts = vec![asm::load(asm::U64, 8, 6, layout.private)];
    facts.extend(follow(8, layout.socket.into()));
    facts.extend([word(8), asm::skip_if(8, 0, LEAVE)]);
    facts.extend(follow(8, layout.filter.into()));
    let of_filter = [follow(1, layout.filter_program.into()), program(28)].concat();
    facts.extend(unless_null(1, of_filter));
    facts.extend(follow(8, layout.group.into()));
    let mut of_group = vec![asm::store(asm::U64, 10, 8, ON_STACK + 40)];
    of_group.extend(follow(8, layout.group_program.into()));
    of_group.extend(unless_null(1, program(32)));
    facts.extend(unless_null(8, of_group));
    let at = |at: i16| asm::load(asm::U32, 1, 10, ON_STACK + at);
    facts.extend([at(28), asm::skip_unless(1, 0, 2), at(32), asm::skip_if(1, 0, LEAVE)]);
    // 0 and `CLASSIC` are no ids.
    facts.extend([at(28), asm::add(1, 1), asm::skip_if_low_greater(1, 1, 7)]);
    facts.extend([at(32), asm::add(1, 1), asm::skip_if_low_greater(1, 1, 4)]);
    facts.extend([asm::load(asm::U64, 1, 7, 8), asm::skip_if_greater(1, limits::BPF_CLASSIC as i32 - 1, LEAVE)]);
    facts.extend([asm::add(1, 1), asm::store(asm::U64, 7, 1, 8)]);
    facts.extend([asm::load(asm::U64, 1, 6, layout.inode), asm::load(asm::U64, 1, 1, layout.inode_number)]);
    facts.extend([asm::store(asm::U32, 10, 1, ON_STACK + 8), asm::set(1, SOCKET)]);
    facts.push(asm::store(asm::U32, 10, 1, ON_STACK + 12));
    facts
}

/// The record of a thread: its id, its network namespace. Not for a thread with the namespace of the one before it.
fn of_task(layout: &DescriptorLayout) -> Body {
    const TASK: i16 = 8;
    let mut facts = vec![
        asm::load(asm::U64, 1, 6, layout.nsproxy),
        asm::load(asm::U64, 1, 1, layout.net),
        asm::load(asm::U32, 1, 1, layout.inum),
        // A thread that exits has none.
        asm::skip_if(1, 0, LEAVE),
        asm::load(asm::U64, 2, 7, 8),
        asm::skip_if_same(1, 2, LEAVE),
        asm::store(asm::U64, 7, 1, 8),
        asm::store(asm::U32, 10, 1, ON_STACK + 12),
    ];
    facts.extend(field(asm::U32, layout.tid, 8));
    Body { object: TASK, facts, again: None }
}

/// The iterators, ready to run.
pub(super) struct Descriptors {
    files: Lister,
    tasks: Lister,
}

impl Descriptors {
    /// Fails in another pid namespace than the initial one, to which the ids in the records belong.
    /// `ring_size`: of the records of all descriptors, and of all changes of the namespace from one thread to the next.
    pub(super) fn load(layout: &DescriptorLayout, ring_size: u32) -> io::Result<Descriptors> {
        if pid_namespace("/proc/self/ns/pid") != Some(INITIAL_PID_NS) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let files = Lister::load("tt_files", layout.files, &of_file(layout), ring_size)?;
        Ok(Descriptors { files, tasks: Lister::load("tt_tasks", layout.tasks, &of_task(layout), ring_size)? })
    }

    /// Whether a program belongs to these iterators.
    pub(super) fn has(&self, id: ProgId) -> bool {
        [&self.files, &self.tasks].iter().any(|lister| lister.ids.0 == id)
    }

    /// Reads all processes. Fails if a ring was too small.
    pub(super) fn read(&mut self) -> Result<Held, String> {
        let mut held = Held { sockets: Some(Vec::new()), ..Held::default() };
        self.files.run(|record| held.file(record))?;
        self.tasks.run(|record| held.namespace_of(record.id(), NsInum(record.u32_at(12))))?;
        Ok(held)
    }
}

impl Held {
    fn file(&mut self, record: &Record<'_>) {
        let (pid, tid, fd) = (Tgid(record.u32_at(16)), record.u32_at(20), record.u32_at(24));
        let comm = || record.name().to_vec();
        match record.u32_at(12).cast_signed() {
            SOCKET => {
                let program = |at| Some(record.u32_at(at)).filter(|id| *id != 0);
                let programs = [28, 32]
                    .map(|at| program(at).map(|id| Some(ProgId(id)).filter(|id| id.0 != CLASSIC.cast_unsigned())));
                let (inode, group) = (record.id(), KernelAddr(record.u64_at(40)));
                self.sockets.iter_mut().for_each(|all| all.push(Socket { inode, programs, group, pid, fd }));
            }
            PROGRAM => {
                let id = if record.id() == NO_ID.cast_unsigned() { 0 } else { record.id() };
                self.hold(Object::Program(ProgId(id)), (pid, comm(), fd));
            }
            LINK => self.hold(Object::Link(LinkId(record.id())), (pid, comm(), fd)),
            _ => {
                let (program, event) = (ProgId(record.id()), record.u32_at(28));
                let seen = SeenEvent { program, event, event_type: record.u32_at(32), config: record.u64_at(40) };
                self.perf_event(tid, (pid, comm_of(pid.0), fd), Some(seen));
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
    use tracetui_events::bpf::{HeldBy, Holder};
    use tracetui_host::background::Pieces;
    use tracetui_host::bpf::open_iterator;
    use tracetui_host::program::load;

    fn descriptors() -> Option<Descriptors> {
        let layout = Btf::running().ok().as_ref().and_then(DescriptorLayout::of);
        let loaded = layout.as_ref().map(|layout| Descriptors::load(layout, 1 << 19));
        match loaded {
            Some(Ok(descriptors)) => Some(descriptors),
            other => {
                let why = other.map(|loaded| loaded.err().map(|error| error.to_string()));
                tracetui_host::not_checked(&format!("no iterators over descriptors: {why:?}"));
                None
            }
        }
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
