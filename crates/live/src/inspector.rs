//! The inspector: a process that takes inventories ([`super::inventory`]) for a trace of BPF programs. It reads names that
//! others chose, with capabilities that the trace does not have. What it sends is therefore checked as if an attacker
//! had sent it.
//!
//! The trace starts its own program again as the inspector. Two pairs of sockets connect them: frames in one direction
//! and requests in the other, and the netlink sockets for lookups ([`Sockets::serve`]).

use super::Live;
use super::inventory::{Helpers, INTERVAL, Requests, Taker};
use foldhash::HashSet;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{
    Resource, Rlimit, Signal, WaitId, WaitIdOptions, WaitIdStatus, set_parent_process_death_signal, setrlimit, waitid,
};
use rustix::thread::set_name;
use std::fs::File;
use std::io::{self, Read as _, Write as _, stdin, stdout};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use tracetui_events::frame::host::{BpfInventory, HostFrame};
use tracetui_events::frame::{Batch, FrameRef, HEADER};
use tracetui_events::text::without_codes;
use tracetui_host::confine::{Role, enter, hold};
use tracetui_host::{clock, fd_limit, own_id, procfs};
use tracetui_inspect::{Sockets, link_ids, start_pins};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::{LinkId, ProgId, Tgid};
use tracetui_shared::time::BootNanos;
use zerocopy::FromBytes as _;

/// The name by which the program is started as the inspector (`argv[0]`).
pub const NAME: &str = "tracetui-inspector";

const MEMORY: u64 = 256 << 20;
/// The maximum size of a frame, and of all frames at the start, or at the end.
const FRAME: usize = 1 << 20;
const AT_ONCE: usize = 64 << 20;
/// The bytes that are received at once, and how often in a row.
const PIECE: usize = 64 << 10;
const PIECES: usize = 16;
/// How long its start may take, and how long the end of a trace waits for the last inventory.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a process that was killed, or closed its sockets, may take to end.
const END: Duration = Duration::from_millis(200);
/// The time without an inventory after which that is reported. A pause between two has at most 10 s.
const SILENT: Duration = Duration::from_secs(40);

/// A request to the inspector: what, and a number.
type Request = [u32; 2];

mod request {
    pub(super) const OWN: u32 = 1;
    /// Begin. The number is the last link.
    pub(super) const BEGIN: u32 = 2;
    /// Something changed. The number is whether runs should be counted.
    pub(super) const CHANGED: u32 = 3;
    pub(super) const LOADED: u32 = 4;
    pub(super) const END: u32 = 5;
    /// The interval of inventories in milliseconds. Comes before [`BEGIN`].
    pub(super) const INTERVAL: u32 = 6;
}

#[derive(Clone, Copy, Debug)]
pub struct InspectorIds {
    pub pid: u32,
    pub tgid: Tgid,
    /// Its start, as the probes see it, rounded down to a clock tick.
    pub start: BootNanos,
}

/// The inspector, as the trace sees it. It is reaped when this is dropped, after the probes, so that no other process
/// gets its id during the trace.
#[derive(Debug)]
pub struct Inspector {
    child: Child,
    socket: UnixStream,
    frames: Received,
    attached: Batch,
    counts: bool,
    ending: bool,
    /// Whether the process has ended, and no more frames come.
    over: bool,
    /// The last time that frames came, and whether a message said that none come any more.
    heard: Instant,
    silent: bool,
    /// Why it reports nothing more.
    missing: Option<String>,
}

impl Inspector {
    /// Starts the process, with the rights and the priority of the caller. Call it on the main thread, with whose end the
    /// inspector is killed. Also returns the sockets that it opens for lookups.
    pub fn start() -> io::Result<(Inspector, Sockets)> {
        let (socket, its_socket) = UnixStream::pair()?;
        let (lookups, its_lookups) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let sockets = Sockets::of(lookups)?;
        // If SIGCHLD is ignored, as the shell may have set it, the kernel reaps.
        // SAFETY: the call takes numbers.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        // The group keeps the keys of the terminal from it.
        let child = Command::new("/proc/self/exe")
            .arg0(NAME)
            .env_clear()
            // The allocator of static binaries takes 1 GiB of address space without it, which is more than MEMORY.
            .env("MIMALLOC_ARENA_RESERVE", "8MiB")
            .current_dir("/")
            .process_group(0)
            .stdin(OwnedFd::from(its_socket))
            .stdout(its_lookups)
            .stderr(Stdio::null())
            .spawn()?;
        socket.set_nonblocking(true)?;
        Ok((Inspector::of(child, socket), sockets))
    }

    fn of(child: Child, socket: UnixStream) -> Inspector {
        Inspector {
            child,
            socket,
            frames: Received::default(),
            attached: Batch::default(),
            counts: false,
            ending: false,
            over: false,
            heard: Instant::now(),
            silent: false,
            missing: None,
        }
    }

    /// Waits until the process runs.
    pub fn ids(&mut self) -> io::Result<InspectorIds> {
        let (mut tgid, mut start) = ([0; 4], [0; 8]);
        self.answer(&mut tgid)?;
        self.answer(&mut start)?;
        let start = BootNanos(u64::from_ne_bytes(start));
        Ok(InspectorIds { pid: self.child.id(), tgid: Tgid(u32::from_ne_bytes(tgid)), start })
    }

    /// Lets it take the first inventory. Waits until it follows changes. `interval` replaces the interval of inventories.
    pub fn begin(&mut self, live: &Live, interval: Option<Duration>) -> Result<(), String> {
        let links = link_ids().map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM) => "cannot list BPF links: run as root with all capabilities (CAP_SYS_ADMIN)".to_owned(),
            _ => format!("cannot list BPF links: {error}"),
        })?;
        let own = live.own_programs().into_iter().map(|own| [request::OWN, own.0]);
        let begin = [request::BEGIN, links.last().copied().unwrap_or_default()];
        let interval = interval.map(|time| [request::INTERVAL, u32::try_from(time.as_millis()).unwrap_or(u32::MAX)]);
        let requests: Vec<u8> = own.chain(interval).chain([begin]).flatten().flat_map(u32::to_ne_bytes).collect();
        self.heard = Instant::now();
        let begun = (&self.socket).write_all(&requests).and_then(|()| self.attached());
        begun.map_err(|error| format!("the inspector does not begin: {error}"))
    }

    fn attached(&mut self) -> io::Result<()> {
        let mut len = [0; 4];
        self.answer(&mut len)?;
        let len = u32::from_ne_bytes(len) as usize;
        if len > AT_ONCE {
            return Err(io::Error::other(format!("it sends {len} bytes")));
        }
        let mut bytes = vec![0; len];
        self.answer(&mut bytes)?;
        self.frames.add(&bytes, clock::now_boot(), &mut self.attached).map_err(io::Error::other)
    }

    fn answer(&self, mut bytes: &mut [u8]) -> io::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !bytes.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            self.wait(left);
            match (&self.socket).read(bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => bytes = bytes.split_at_mut(read).1,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if left.is_zero() => {
                    return Err(io::Error::other(format!("no answer for {} s", PATIENCE.as_secs())));
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// What is attached by netlink at the start. It belongs before all records: a call can end it.
    pub(crate) fn attached_at_start(&mut self) -> Batch {
        std::mem::take(&mut self.attached)
    }

    /// The process, which the thread that receives its frames may kill.
    pub(crate) fn pid(&self) -> Option<rustix::process::Pid> {
        i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw)
    }

    /// Becomes readable when frames come. `None` if none will come.
    pub(crate) fn events(&self) -> Option<BorrowedFd<'_>> {
        (!self.over).then(|| self.socket.as_fd())
    }

    /// Sends a request. If the process does not read any, it is stopped, and has enough to read when it continues.
    fn ask(&self, request: Request) {
        let [what, number] = request.map(u32::to_ne_bytes);
        let _ = rustix::io::write(&self.socket, &[what, number].concat());
    }

    pub(crate) fn changed(&self) {
        self.ask([request::CHANGED, self.counts.into()]);
    }

    pub(crate) fn count_runs(&mut self, on: bool) {
        self.counts = on;
        self.changed();
    }

    pub(crate) fn program_loaded(&self, id: ProgId) {
        self.ask([request::LOADED, id.0]);
    }

    /// Appends the frames that came since the last call, with the current time. The records of earlier calls belong before them.
    pub(crate) fn receive(&mut self, batch: &mut Batch) {
        for _ in 0..PIECES {
            if self.over {
                return;
            }
            match self.frames.read(&self.socket, clock::now_boot(), batch) {
                Ok(true) => (self.heard, self.silent) = (Instant::now(), false),
                Ok(false) => {
                    let status = self.status();
                    match status {
                        Some(status) if self.ending && status.exit_status() == Some(0) => self.over = true,
                        status => self.give_up(&ended(status), batch),
                    }
                }
                Err(Wrong::Io(Errno::AGAIN | Errno::INTR)) => return,
                Err(wrong) => self.give_up(&format!("{wrong}, and was killed"), batch),
            }
        }
    }

    /// Reports that it has been silent for long. Call it each second.
    pub(crate) fn check(&mut self, batch: &mut Batch) {
        if !self.over && !self.silent && self.heard.elapsed() > SILENT {
            self.silent = true;
            self.miss(&format!("has not answered for {} s", SILENT.as_secs()), batch);
        }
    }

    /// Takes the last inventory if something changed, and appends it.
    pub(crate) fn end(&mut self, batch: &mut Batch) {
        self.ending = true;
        if let Some(why) = self.missing.take() {
            return self.miss(&why, batch);
        }
        self.ask([request::END, 0]);
        let (end, most) = (Instant::now() + PATIENCE, batch.len() + AT_ONCE);
        while !self.over {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let why = format!("did not answer for {} s at the end, and was killed", PATIENCE.as_secs());
                return self.give_up(&why, batch);
            }
            if batch.len() > most {
                return self.give_up("sent too much at the end, and was killed", batch);
            }
            self.wait(left);
            self.receive(batch);
        }
    }

    fn wait(&self, at_most: Duration) {
        // After an error, nothing is read.
        let _ = poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Timespec::try_from(at_most).ok().as_ref());
    }

    /// How it ended; `None` if it still runs.
    fn status(&self) -> Option<WaitIdStatus> {
        let end = Instant::now() + END;
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        loop {
            match waitid(WaitId::Pid(self.pid()?), how) {
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
                status => return status.ok().flatten(),
            }
        }
    }

    /// Ends it, and reports that its inventories are missing.
    fn give_up(&mut self, why: &str, batch: &mut Batch) {
        self.over = true;
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.status();
        self.miss(why, batch);
        self.missing = Some(why.to_owned());
    }

    /// Reports that inventories are missing. `why` continues a sentence about the inspector.
    fn miss(&self, why: &str, batch: &mut Batch) {
        let now = clock::now_boot();
        let mut taken = BpfInventory { to: now, whole: false, complete: false, ..self.frames.last.clone() };
        taken.unseen.push(without_codes(&format!("later programs and attachments: the inspector {why}")));
        HostFrame::BpfInventory(taken).push(now, batch);
    }
}

impl Drop for Inspector {
    fn drop(&mut self) {
        if !self.over {
            let _ = self.child.kill();
        }
        if let (Some(_), Some(pid)) = (self.status(), self.pid()) {
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
        }
    }
}

/// The end of a process, to continue a sentence about it.
fn ended(status: Option<WaitIdStatus>) -> String {
    match status {
        Some(status) => match status.terminating_signal() {
            Some(signal) => format!("was ended by signal {signal}"),
            None => format!("ended with status {}", status.exit_status().unwrap_or_default()),
        },
        None => "closed its socket, and was killed".to_owned(),
    }
}

/// Why frames are refused, to continue a sentence about the inspector.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    #[error("sent a frame of {0} bytes")]
    Length(u32),
    #[error("sent a frame of the kind {0}")]
    Kind(u16),
    #[error("cannot be read: {0}")]
    Io(Errno),
}

/// Reads the frames of the inspector, and passes on those that an inventory consists of.
#[derive(Debug, Default)]
pub struct Received {
    bytes: Vec<u8>,
    last: BpfInventory,
}

impl Received {
    /// Appends the next frames, with the time `now`. `false` at the end of the file.
    fn read(&mut self, from: &UnixStream, now: BootNanos, batch: &mut Batch) -> Result<bool, Wrong> {
        self.bytes.reserve(PIECE);
        let read = match rustix::io::read(from, spare_capacity(&mut self.bytes)) {
            // It ended with unread requests.
            Err(Errno::CONNRESET) => 0,
            read => read.map_err(Wrong::Io)?,
        };
        self.take(now, batch)?;
        Ok(read > 0)
    }

    /// Appends the frames in `bytes`, which may end within one.
    pub fn add(&mut self, bytes: &[u8], now: BootNanos, batch: &mut Batch) -> Result<(), Wrong> {
        self.bytes.extend_from_slice(bytes);
        self.take(now, batch)
    }

    fn take(&mut self, now: BootNanos, batch: &mut Batch) -> Result<(), Wrong> {
        let mut rest = self.bytes.as_slice();
        while let Ok((header, _)) = FrameHeader::read_from_prefix(rest) {
            if !(HEADER..=FRAME).contains(&(header.len as usize)) {
                return Err(Wrong::Length(header.len));
            }
            let Some((bytes, after)) = rest.split_at_checked((header.len as usize).next_multiple_of(8)) else { break };
            rest = after;
            let frame = FrameRef::first(bytes).and_then(|(frame, _)| HostFrame::decode(&frame));
            let frame = frame.filter(is_of_inventory).ok_or(Wrong::Kind(header.kind))?;
            // Nothing of the frame is passed on as it came.
            frame.push(now, batch);
            if let HostFrame::BpfInventory(taken) = frame {
                self.last = taken;
            }
        }
        let used = self.bytes.len() - rest.len();
        self.bytes.drain(..used);
        Ok(())
    }
}

fn is_of_inventory(frame: &HostFrame) -> bool {
    matches!(
        frame,
        HostFrame::BpfProgram(_)
            | HostFrame::BpfProgramGone(_)
            | HostFrame::BpfAttachment(_)
            | HostFrame::BpfHidden(_)
            | HostFrame::BpfInventory(_)
            | HostFrame::BpfHolders(_)
            | HostFrame::BpfRuns(_)
            | HostFrame::BpfCounted(_)
    )
}

pub fn run() -> ExitCode {
    // Nobody reads a message of this process. The trace reports its end.
    if inspect().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn inspect() -> io::Result<()> {
    let most = Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
    setrlimit(Resource::Data, most)?;
    // A descriptor is open for each network namespace.
    fd_limit::make_most();
    let _ = set_name(c"inspector");
    let mut trace = File::from(stdin().as_fd().try_clone_to_owned()?);
    trace.write_all(&own_id::own_tgid().unwrap_or_default().0.to_ne_bytes())?;
    trace.write_all(&procfs::own_start().unwrap_or_default().0.to_ne_bytes())?;
    // The trace loads its probes meanwhile. These threads have other rights than those that are kept.
    let helpers = Helpers { pins: start_pins()?, sockets: Sockets::start()? };
    helpers.sockets.serve(stdout().as_fd().try_clone_to_owned()?)?;
    hold(Role::Inspector.capabilities())?;
    // The change of the user id above would reset it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let (mut own, mut interval) = (HashSet::default(), INTERVAL);
    let last = loop {
        match read_request(&mut trace)? {
            [request::OWN, id] => _ = own.insert(ProgId(id)),
            [request::INTERVAL, millis] => interval = Duration::from_millis(millis.into()),
            [request::BEGIN, last] => break LinkId(last),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    };
    let (mut taker, requests) = Taker::new(own, interval, last, helpers, trace.try_clone()?)?;
    taker.follow()?;
    std::thread::Builder::new().name("requests".into()).spawn(move || follow(trace, &requests))?;
    taker.run();
    Ok(())
}

/// Passes requests on. At the end of the trace, the process ends, whatever its threads wait for.
fn follow(mut trace: File, requests: &Requests) {
    if enter(Role::Inspector).is_ok() {
        while let Ok([what, number]) = read_request(&mut trace) {
            match what {
                request::CHANGED => requests.changed(number != 0),
                request::LOADED => requests.program_loaded(ProgId(number)),
                request::END => requests.end(),
                _ => break,
            }
        }
    }
    std::process::exit(1)
}

fn read_request(from: &mut File) -> io::Result<Request> {
    let mut bytes = [0; size_of::<Request>()];
    from.read_exact(&mut bytes)?;
    let number = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Ok([number(0), number(4)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracetui_events::frame::host::{BpfProgram, Settled};

    fn frames(of: &[HostFrame]) -> Vec<u8> {
        let mut batch = Batch::default();
        of.iter().for_each(|frame| frame.push(BootNanos(7), &mut batch));
        batch.bytes().to_vec()
    }

    fn add(bytes: &[u8]) -> (Result<(), String>, usize) {
        let mut batch = Batch::default();
        let done = Received::default().add(bytes, BootNanos(9), &mut batch);
        assert!(batch.frames().all(|frame| frame.header.time == BootNanos(9)));
        (done.map_err(|wrong| wrong.to_string()), batch.frames().count())
    }

    #[test]
    fn only_whole_frames_of_inventories_pass() {
        let program = HostFrame::BpfProgram(BpfProgram { name: b"a".to_vec(), ..BpfProgram::default() });
        let taken = HostFrame::BpfInventory(BpfInventory { programs: 1, ..BpfInventory::default() });
        let bytes = frames(&[program.clone(), taken]);
        assert_eq!(add(&bytes), (Ok(()), 2));
        assert_eq!(add(&bytes[..bytes.len() - 1]), (Ok(()), 1));
        let settled = frames(&[program, HostFrame::Settled(Settled { at: BootNanos(1) })]);
        assert_eq!(add(&settled), (Err("sent a frame of the kind 94".to_owned()), 1));
        for len in [0, HEADER as u32 - 1, FRAME as u32 + 1, u32::MAX] {
            let mut bytes = bytes.clone();
            bytes[..4].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(add(&bytes), (Err(format!("sent a frame of {len} bytes")), 0));
        }
    }

    #[test]
    fn silence_is_reported_once() {
        let (socket, its_socket) = UnixStream::pair().expect("sockets");
        socket.set_nonblocking(true).expect("a socket");
        let child = Command::new("sleep").arg("60").spawn().expect("it starts");
        let mut inspector = Inspector::of(child, socket);
        let reports = |inspector: &mut Inspector| {
            let mut batch = Batch::default();
            inspector.check(&mut batch);
            batch.frames().count()
        };
        assert_eq!(reports(&mut inspector), 0);
        for _ in 0..2 {
            inspector.heard = Instant::now().checked_sub(SILENT + END).expect("the machine runs for longer");
            assert_eq!([(); 2].map(|()| reports(&mut inspector)), [1, 0]);
            // It continues.
            (&its_socket).write_all(&frames(&[HostFrame::BpfInventory(BpfInventory::default())])).expect("a socket");
            inspector.receive(&mut Batch::default());
            assert!(!inspector.silent);
        }
    }

    #[test]
    fn the_end_of_a_process_is_described() {
        let (socket, _) = UnixStream::pair().expect("sockets");
        for (script, said) in [("kill -9 $$", "was ended by signal 9"), ("exit 1", "ended with status 1")] {
            let child = Command::new("sh").args(["-c", script]).spawn().expect("it starts");
            let inspector = Inspector::of(child, socket.try_clone().expect("a socket"));
            // Its id stays taken.
            assert_eq!([(); 2].map(|()| ended(inspector.status())), [said; 2]);
        }
        let child = Command::new("sleep").arg("60").spawn().expect("it starts");
        assert!(ended(Inspector::of(child, socket).status()).contains("closed its socket"));
    }
}
