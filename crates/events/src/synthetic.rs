//! Frames made by a function: for tests, benchmarks and demonstrations.

use crate::event::EventContext;
use crate::event::lost::{Cause, LostRecord};
use crate::frame::host::{Counters, HostFrame};
use crate::frame::{Batch, FrameRef};
use crate::limits;
use crate::pipeline::{Disposition, Pipeline};
use crate::recording::Map;
use std::fs;
use std::path::{Path, PathBuf};
use tracetui_shared::counters::{CpuState, SlotCounters};
use tracetui_shared::header::{COMM_LEN, FrameHeader, VERSION};
use tracetui_shared::id::{Gid, Tgid, Tid, Uid};
use tracetui_shared::kind::{Kind, SLOTS, Slot};
use tracetui_shared::record::file::FileRecord;
use tracetui_shared::record::mark;
use tracetui_shared::record::open::OpenRecord;
use tracetui_shared::record::tcp::TcpRecord;
use tracetui_shared::time::BootNanos;
use zerocopy::IntoBytes;

/// Makes consecutive frames, as the probes of one CPU would, and counts them.
#[derive(Clone, Debug)]
pub struct Maker {
    /// The frames since the last batch.
    pub batch: Batch,
    pub like: FrameHeader,
    /// The time of the latest event (CLOCK_BOOTTIME, ns).
    pub ns: u64,
    /// The time between two events, in nanoseconds.
    pub step_ns: u64,
    /// The start of the processes of further events: this plus the process id, in nanoseconds.
    pub start_ns: u64,
    pub counters: [SlotCounters; SLOTS],
    /// The fill level of the ring, and its size, in bytes.
    pub ring: (u64, u64),
}

impl Default for Maker {
    /// Events of uid 1000 at intervals of a millisecond, starting 100 s after the boot.
    fn default() -> Maker {
        let like =
            FrameHeader { version: VERSION, ppid: Tgid(1), uid: Uid(1000), gid: Gid(1000), ..FrameHeader::default() };
        Maker {
            batch: Batch::default(),
            like,
            ns: 100_000_000_000,
            step_ns: 1_000_000,
            start_ns: 90_000_000_000,
            counters: [SlotCounters::ZERO; SLOTS],
            ring: (0, 0),
        }
    }
}

impl Maker {
    /// The frames since the last batch. The batch states that no earlier frames will follow.
    pub fn batch(&mut self) -> Batch {
        self.batch_for(Batch::default())
    }

    /// Like [`batch`](Self::batch). The following frames go into `empty`.
    pub fn batch_for(&mut self, empty: Batch) -> Batch {
        let mut batch = std::mem::replace(&mut self.batch, empty);
        batch.set_drained_at(BootNanos(self.ns + 1_000_000_000));
        batch
    }

    pub fn start_of(&self, pid: u32) -> BootNanos {
        BootNanos(self.start_ns + u64::from(pid))
    }

    pub fn header(&mut self, slot: Slot, pid: u32, comm: &str) -> FrameHeader {
        self.ns += self.step_ns;
        let counters = &mut self.counters[slot as usize];
        let seq = counters.wanted;
        counters.wanted += 1;
        FrameHeader {
            kind: slot.kind() as u16,
            slot: slot as u16,
            seq,
            time: BootNanos(self.ns),
            start: self.start_of(pid),
            tgid: Tgid(pid),
            tid: Tid(pid),
            comm: self::comm(comm.as_bytes()),
            ..self.like
        }
    }

    pub fn event(&mut self, slot: Slot, pid: u32, comm: &str, payload: &[u8]) {
        let header = self.header(slot, pid, comm);
        self.batch.push(header, payload);
    }

    /// Appends an open of `path` with this result. The path of the opened file is unknown.
    pub fn open(&mut self, pid: u32, comm: &str, path: &str, ret: i32) {
        let record = OpenRecord { ret, names_marks: mark::RACED, ..OpenRecord::default() };
        self.event(Slot::Open, pid, comm, &payload::open(record, b"", path.as_bytes()));
    }

    /// Appends a call `op` of `file` or `lookup`, by the slot, that names a file.
    pub fn call(&mut self, slot: Slot, pid: u32, comm: &str, op: u8, path: &str, ret: i32) {
        let record = FileRecord { op, ret, text_lens: [path.len() as u16, 0, 0], ..FileRecord::default() };
        self.event(slot, pid, comm, &[record.as_bytes(), path.as_bytes()].concat());
    }

    /// Appends opens of these paths, which are separated by blanks. Each has the result 3, or the one after its colon.
    pub fn open_all(&mut self, pid: u32, comm: &str, paths: &str) {
        for path in paths.split(' ') {
            let (path, ret) = path.split_once(':').unwrap_or((path, "3"));
            self.open(pid, comm, path, ret.parse().expect("a number"));
        }
    }

    /// Appends the events of processes, as in `7 make exec make all, fork 8; 8 cc open /a /b:-2, exit 1`. `exec:-2` fails, and `signal`
    /// has the status of a signal.
    pub fn acts(&mut self, script: &str) {
        for process in script.split("; ") {
            let mut words = process.splitn(3, ' ');
            let mut word = || words.next().expect("a process, its name and acts");
            let (pid, comm, acts) = (word().parse().expect("a process id"), word(), word());
            for act in acts.split(", ") {
                let (verb, rest) = act.split_once(' ').expect("a verb and its object");
                let number = || rest.parse::<u32>().expect("a number");
                match verb.split_once(':').unwrap_or((verb, "0")) {
                    ("exec", ret) => {
                        self.exec(pid, comm, &rest.split(' ').collect::<Vec<_>>(), ret.parse().expect("an errno"));
                    }
                    ("open", _) => self.open_all(pid, comm, rest),
                    ("fork", _) => self.fork(pid, comm, number()),
                    ("exit", _) => self.exit(pid, comm, number() << 8),
                    ("signal", _) => self.exit(pid, comm, number()),
                    _ => panic!("{act}"),
                }
            }
        }
    }

    /// Appends a gap row: `count` opens, lost in the last 36 ms.
    pub fn lost(&mut self, count: u64) {
        let (from, time) = (BootNanos(self.ns - 36_000_000), BootNanos(self.ns + 1_000_000));
        self.ns = time.0;
        let record = LostRecord::new(Kind::Open as u16, Cause::Ring, Some(0), count, from, time);
        self.batch.push(FrameHeader { kind: Kind::Lost as u16, time, ..self.like }, record.as_bytes());
    }

    /// Appends an exec of /usr/bin/cc with these arguments.
    pub fn exec(&mut self, pid: u32, comm: &str, argv: &[&str], ret: i32) {
        let argv: Vec<u8> = argv.iter().flat_map(|arg| arg.bytes().chain([0])).collect();
        let exec = payload::Exec { ret, exe: b"cc\0bin\0usr\0", argv: &argv, ..payload::Exec::default() };
        self.event(Slot::Exec, pid, comm, &exec.bytes());
    }

    pub fn exit(&mut self, pid: u32, comm: &str, status: u32) {
        self.event(Slot::Exit, pid, comm, &payload::exit(status));
    }

    pub fn fork(&mut self, parent: u32, comm: &str, child: u32) {
        let payload = payload::fork((parent, self.start_of(parent)), (child, self.start_of(child)));
        self.event(Slot::Fork, parent, comm, &payload);
    }

    /// Appends an event of a connection, which starts at the time of the event if `since` is 0.
    pub fn tcp(&mut self, pid: u32, comm: &str, record: TcpRecord) {
        let header = self.header(Slot::TcpState, pid, comm);
        let since = if record.since.0 == 0 { header.time } else { record.since };
        self.batch.push(header, TcpRecord { since, ..record }.as_bytes());
    }

    /// Counts opens that did not fit into the ring. The number of the next open shows the gap.
    pub fn lose(&mut self, count: u64) {
        let counters = &mut self.counters[Slot::Open as usize];
        counters.wanted += count;
        counters.lost_ring += count;
    }

    pub fn host(&mut self, frame: &HostFrame) {
        frame.push(BootNanos(self.ns), &mut self.batch);
    }

    /// Appends the current counters, as changes since zero.
    pub fn counters(&mut self, last: bool) {
        let cpu = CpuState { slots: self.counters.map(SlotCounters::completed), ..CpuState::ZERO };
        let (ring_used, ring_size) = self.ring;
        let counters = Counters { last, cpus: vec![cpu], programs: Vec::new(), ring_used, ring_size };
        self.host(&HostFrame::CounterChanges(counters.into()));
    }
}

/// Passes on the events of a trace that has these frames.
pub fn each_event(frames: Batch, mut take: impl FnMut(&EventContext<'_>, &FrameRef<'_>)) {
    let mut pipeline = Pipeline::default();
    pipeline.feed(frames);
    pipeline.end();
    pipeline.next(None, &mut |seen, frame| {
        take(seen, frame);
        Disposition::Delivered
    });
}

/// Opens, enough for this many blocks of a recording and a part of one.
pub fn opens(blocks: usize) -> Vec<Vec<u8>> {
    opens_every(1_000_000, blocks)
}

pub fn opens_every(step_ns: u64, blocks: usize) -> Vec<Vec<u8>> {
    let mut maker = Maker { step_ns, ..Maker::default() };
    let mut batches = Vec::new();
    let mut bytes = 0;
    while bytes < blocks * limits::BLOCK + 1000 {
        for number in 0..50 {
            maker.open(100 + number, "cc1", &format!("/usr/include/file-{number}.h"), 3);
        }
        let batch = maker.batch();
        bytes += batch.len();
        batches.push(batch.bytes().to_vec());
    }
    batches
}

/// A recording in a file in memory.
pub fn map(bytes: &[u8]) -> Map {
    let file = rustix::fs::memfd_create("recording", rustix::fs::MemfdFlags::CLOEXEC).expect("a file");
    let mut file = std::fs::File::from(file);
    std::io::Write::write_all(&mut file, bytes).expect("room");
    Map::open(file).expect("a recording")
}

/// An empty directory, until the drop.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Creates a directory with this name for temporary files. No other test of the process may use the name.
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("tracetui-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("room");
        Scratch(path)
    }

    /// The path of a name in it.
    pub fn at(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    /// The names in it, sorted.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("it is there").map(|entry| entry.expect("readable").file_name());
        let mut files: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
        files.sort();
        files
    }
}

impl std::ops::Deref for Scratch {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A header of a slot without further values.
pub fn header(slot: Slot) -> FrameHeader {
    FrameHeader { kind: slot.kind() as u16, slot: slot as u16, version: VERSION, ..FrameHeader::default() }
}

/// A name as the kernel stores it: truncated, or padded with NUL.
pub fn comm(name: &[u8]) -> [u8; COMM_LEN] {
    let mut comm = [0; COMM_LEN];
    comm.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    comm
}

/// Payloads in the format of the probes.
pub mod payload {
    use std::net::{IpAddr, SocketAddr};
    use tracetui_shared::id::{NsInum, Tgid};
    use tracetui_shared::record::exec::{ExecRecord, STDIO, Stdio};
    use tracetui_shared::record::exit::{Cost, ExitRecord, fact};
    use tracetui_shared::record::fork::ForkRecord;
    use tracetui_shared::record::open::OpenRecord;
    use tracetui_shared::record::tcp::TcpRecord;
    use tracetui_shared::time::BootNanos;
    use zerocopy::IntoBytes;

    /// An open of `path`. `names` are the components of the absolute path, each followed by NUL, leaf first.
    pub fn open(record: OpenRecord, names: &[u8], path: &[u8]) -> Vec<u8> {
        let record = OpenRecord {
            names_len: names.len() as u16,
            root_off: names.len() as u16,
            path_len: path.len() as u16,
            ..record
        };
        [record.as_bytes(), names, path].concat()
    }

    /// An exec. Paths are components as in [`open`]; arguments are each followed by NUL.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Exec<'a> {
        /// 0, or −errno.
        pub ret: i32,
        pub filename: &'a [u8],
        /// The interpreter of a script.
        pub interp: &'a [u8],
        /// The components of the executed file.
        pub exe: &'a [u8],
        /// The components of the working directory.
        pub cwd: &'a [u8],
        /// The arguments, each followed by NUL.
        pub argv: &'a [u8],
    }

    impl Exec<'_> {
        /// The payload, with default values for the rest of the record.
        pub fn bytes(&self) -> Vec<u8> {
            let count = self.argv.iter().filter(|byte| **byte == 0).count();
            self.of(ExecRecord { ret: self.ret, argc: count as u32, ..ExecRecord::default() })
        }

        /// The payload, with the other values of `record`.
        pub fn of(&self, record: ExecRecord) -> Vec<u8> {
            self.parts(record, &[], &[])
        }

        /// The same, with stdin, stdout and stderr, and the components of their files.
        pub fn with(&self, record: ExecRecord, mut stdio: [Stdio; STDIO], files: [&[u8]; STDIO]) -> Vec<u8> {
            stdio.iter_mut().zip(files).for_each(|(of, names)| of.names_len = names.len() as u16);
            self.parts(record, stdio.as_bytes(), &files.concat())
        }

        fn parts(&self, record: ExecRecord, stdio: &[u8], files: &[u8]) -> Vec<u8> {
            let Exec { filename, interp, exe, cwd, argv, .. } = *self;
            let record = ExecRecord {
                stdio_len: stdio.len() as u16,
                filename_len: filename.len() as u16,
                interp_len: interp.len() as u16,
                exe_len: exe.len() as u16,
                cwd_len: cwd.len() as u16,
                argv_len: argv.len() as u32,
                argv_total: record.argv_total.max(argv.len() as u32),
                ..record
            };
            [record.as_bytes(), stdio, filename, interp, exe, cwd, files, argv].concat()
        }
    }

    pub fn exit(status: u32) -> Vec<u8> {
        let cost = Cost { runtime: 1_500_000, max_rss: 3 << 20, ..Cost::default() };
        ExitRecord { status, facts: fact::COST | fact::IO, cost, ..ExitRecord::default() }.as_bytes().to_vec()
    }

    /// An event of a connection between this socket and its peer, without errors.
    pub fn tcp(op: u8, local: SocketAddr, peer: SocketAddr) -> TcpRecord {
        let bytes = |socket: SocketAddr| {
            let mut bytes = [0; 16];
            match socket.ip() {
                IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
                IpAddr::V6(address) => bytes = address.octets(),
            }
            bytes
        };
        TcpRecord {
            op,
            laddr: bytes(local),
            raddr: bytes(peer),
            lport: local.port(),
            rport: peer.port(),
            family: if peer.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 } as u8,
            fd: -1,
            net_ns: NsInum(4_026_531_840),
            ..TcpRecord::default()
        }
    }

    pub fn fork(parent: (u32, BootNanos), child: (u32, BootNanos)) -> Vec<u8> {
        let record = ForkRecord {
            child: Tgid(child.0),
            child_tid: child.0,
            child_start: child.1,
            child_parent: Tgid(parent.0),
            child_parent_start: parent.1,
            ..ForkRecord::default()
        };
        record.as_bytes().to_vec()
    }
}
