//! The dashboard over a made-up machine: for looking at the screen without root and without probes.
//!
//! `cargo run --example dash_demo -- [EVENTS_PER_SECOND] [MEMORY_MIB]`. With `DASH_PANIC=thread` or `DASH_PANIC=main` in
//! the environment it panics after two seconds, to see that the terminal is given back.

#![allow(clippy::print_stdout, reason = "for whoever runs it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tracetui::app::{App, Settings, language};
use tracetui::budget::Budget;
use tracetui::command::dashboard::{self, Look};
use tracetui::frame::Batch;
use tracetui::frame::host::{Clock, Counters, Host, HostFrame, ProcessSeed, User};
use tracetui::limits;
use tracetui::pipeline::Pipeline;
use tracetui::view::theme::{Colours, Theme};
use tracetui_shared::counters::{CpuState, SlotCounters};
use tracetui_shared::header::{FrameHeader, VERSION};
use tracetui_shared::id::{Gid, Tgid, Tid, Uid};
use tracetui_shared::kind::{Kind, KindSet, SLOTS, Slot};
use tracetui_shared::record::exec::ExecRecord;
use tracetui_shared::record::exit::ExitRecord;
use tracetui_shared::record::mark;
use tracetui_shared::record::open::OpenRecord;
use tracetui_shared::time::BootNanos;
use zerocopy::IntoBytes;

const BOOT: u64 = 100_000_000_000;
const DAY: i64 = 1_795_183_331_000_000_000;

/// Makes events.
struct Machine {
    batch: Batch,
    ns: u64,
    pid: u32,
    step: u64,
    counters: [SlotCounters; SLOTS],
}

impl Machine {
    fn header(&mut self, kind: Kind, slot: Slot, pid: u32, comm: &str) -> FrameHeader {
        let counters = &mut self.counters[slot as usize];
        let seq = counters.wanted;
        counters.wanted += 1;
        self.ns += 1000;
        let mut header = FrameHeader {
            kind: kind as u16,
            slot: slot as u16,
            version: VERSION,
            seq,
            time: BootNanos(self.ns),
            start: BootNanos(BOOT - 1_000_000_000 + u64::from(pid) * 1000),
            tgid: Tgid(pid),
            tid: Tid(pid),
            ppid: Tgid(48_213),
            uid: Uid(1000),
            gid: Gid(1000),
            ..FrameHeader::default()
        };
        let comm = &comm.as_bytes()[..comm.len().min(15)];
        header.comm[..comm.len()].copy_from_slice(comm);
        header
    }

    fn open(&mut self, pid: u32, comm: &str, path: &str, ret: i32) {
        let record = OpenRecord {
            ret,
            path_len: path.len() as u16,
            names_marks: mark::RACED,
            flags: u64::from(ret > 3),
            ..OpenRecord::default()
        };
        let header = self.header(Kind::Open, Slot::OpenTp, pid, comm);
        self.batch.push(header, &[record.as_bytes(), path.as_bytes()].concat());
    }

    fn exec(&mut self, pid: u32, comm: &str, argv: &[&str], ret: i32) {
        let area: Vec<u8> = argv.iter().flat_map(|arg| arg.bytes().chain([0])).collect();
        let (exe, cwd) = (b"cc\0bin\0usr\0", b"app\0ana\0home\0");
        let record = ExecRecord {
            ret,
            argc: argv.len() as u32,
            argv_total: area.len() as u32,
            argv_len: area.len() as u32,
            exe_len: exe.len() as u16,
            cwd_len: cwd.len() as u16,
            ..ExecRecord::default()
        };
        let header = self.header(Kind::Exec, Slot::ExecBtf, pid, comm);
        self.batch.push(header, &[record.as_bytes(), exe, cwd, &area].concat());
    }

    fn exit(&mut self, pid: u32, comm: &str, status: u32) {
        let header = self.header(Kind::Exit, Slot::ExitBtf, pid, comm);
        self.batch.push(header, ExitRecord { status, signal_flags: 0 }.as_bytes());
    }

    fn lose(&mut self, count: u64) {
        let counters = &mut self.counters[Slot::OpenTp as usize];
        counters.wanted += count;
        counters.lost_ring += count;
    }

    /// One compiler run: about 16 events.
    fn compile(&mut self) {
        self.step += 1;
        self.pid = 48_214 + (self.step as u32 * 2) % 40_000;
        let (pid, step) = (self.pid, self.step);
        self.exec(pid, "cc", &["cc", "-O2", "-c", "main.c", "-o", "main.o", "-DNAME=a b"], 0);
        self.open(pid, "cc", "/usr/local/lib/gcc/x86_64-linux-gnu/12/include-fixed/bits/very/long/limits.h", -2);
        for header in ["stdio.h", "stdlib.h", "string.h", "sys/types.h", "bits/types.h", "unistd.h", "errno.h"] {
            self.open(pid, "cc", &format!("/usr/include/{header}"), 4);
        }
        self.exec(pid + 1, "cc1", &["/usr/lib/gcc/x86_64-linux-gnu/12/cc1", "-quiet", "main.c"], 0);
        self.open(pid + 1, "cc1", "/tmp/ccX1.s", 5);
        self.exit(pid + 1, "cc1", 0);
        match step % 7 {
            0 => self.exec(pid, "cc", &["ld", "main.o", "-o", "/opt/app"], -13),
            1 => self.exec(pid, "evil\x1b[31m", &["evil", "\x1b[2J\u{202e}gnp.exe", "日本語のファイル"], 0),
            2 => self.open(pid, "systemd-udevd", "/sys/devices/pci0000:00/0000:00:1f.2/uevent", 9),
            _ => {}
        }
        self.exit(
            pid,
            "cc",
            if step % 7 == 0 {
                127 << 8
            } else if step % 11 == 0 {
                9
            } else {
                0
            },
        );
    }

    fn host(&mut self, frame: HostFrame) {
        frame.push(BootNanos(self.ns), &mut self.batch);
    }

    fn counters(&mut self, last: bool) {
        let cpu = CpuState { slots: self.counters.map(SlotCounters::completed), ..CpuState::ZERO };
        let ring = (500_000 + self.ns % 7 * 10_000, limits::RING_DEFAULT);
        let programs = Vec::new();
        self.host(HostFrame::CounterChanges(
            Counters { last, cpus: vec![cpu], programs, ring_used: ring.0, ring_size: ring.1 }.into(),
        ));
    }

    fn begin(&mut self) {
        self.host(HostFrame::Clock(Clock { offset_ns: DAY - BOOT as i64 }));
        let host = Host { name: "build7".into(), kernel: "6.18.0".into(), ..Host::default() };
        self.host(HostFrame::Host(host));
        self.host(HostFrame::User(User { uid: Uid(1000), name: "ana".into() }));
        let seeds = [(1, 0, "systemd"), (1191, 1, "sshd"), (48_102, 1191, "bash"), (48_213, 48_102, "make")];
        for (pid, ppid, comm) in seeds {
            self.host(HostFrame::ProcessSeed(ProcessSeed {
                tgid: Tgid(pid),
                start: BootNanos(u64::from(pid) * 1000),
                start_exact: true,
                ppid: Tgid(ppid),
                uid: Uid(1000),
                comm: comm.into(),
                argv: format!("{comm}\0-j8\0").into_bytes(),
                exe: format!("/usr/bin/{comm}").into_bytes(),
                ..ProcessSeed::default()
            }));
        }
    }

    fn send(&mut self, to: &mpsc::Sender<Batch>, spare: &std::sync::mpsc::Receiver<Batch>) -> bool {
        let mut batch = std::mem::replace(&mut self.batch, spare.try_recv().unwrap_or_default());
        batch.set_drained_at(BootNanos(self.ns));
        to.blocking_send(batch).is_ok()
    }
}

fn produce(rate: u64, stop: &AtomicBool, to: &mpsc::Sender<Batch>, spare: &std::sync::mpsc::Receiver<Batch>) {
    let mut machine = Machine { batch: Batch::default(), ns: BOOT, pid: 0, step: 0, counters: Default::default() };
    machine.begin();
    let (started, mut made, mut polled) = (Instant::now(), 0, 0);
    while !stop.load(Ordering::Relaxed) {
        machine.ns = machine.ns.max(BOOT + started.elapsed().as_nanos() as u64);
        while made < rate * started.elapsed().as_millis() as u64 / 1000 {
            machine.compile();
            made += 14;
            if machine.step % 500 == 37 {
                machine.lose(1204);
            }
        }
        if started.elapsed().as_secs() > polled {
            polled = started.elapsed().as_secs();
            machine.counters(false);
            if polled == 2 && std::env::var("DASH_PANIC").is_ok_and(|who| who == "thread") {
                panic!("a thread of the demo panics");
            }
        }
        if !machine.send(to, spare) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    machine.counters(true);
    machine.send(to, spare);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let rate = args.next().map_or(Ok(800), |rate| rate.parse())?;
    let memory: u64 = args.next().map_or(Ok(256), |memory| memory.parse())?;
    let settings = Settings {
        budget: Budget::new(memory << 20),
        kinds: KindSet::BY_DEFAULT,
        zone_s: 0,
        capture: "all".into(),
        filter: String::new(),
        parse: language::parse,
    };
    let app = App::new(Pipeline::default(), settings).map_err(|error| error.message)?;
    let colours = if std::env::var_os("NO_COLOR").is_some() { Colours::None } else { Colours::Sixteen };
    let look = Look { theme: Theme { colours, charset: dashboard::charset() }, ..Look::default() };
    let (to, batches) = mpsc::channel(limits::BATCHES_QUEUED);
    let (recycled, spare) = std::sync::mpsc::channel();
    let stop = Arc::new(AtomicBool::new(false));
    let asked_to_stop = Arc::clone(&stop);
    std::thread::spawn(move || produce(rate, &asked_to_stop, &to, &spare));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let recycle = |batch| {
        let _ = recycled.send(batch);
    };
    let line = runtime.block_on(async {
        let panics = std::env::var("DASH_PANIC").is_ok_and(|who| who == "main");
        let show = dashboard::run(app, look, None, batches, recycle, || stop.store(true, Ordering::Relaxed));
        tokio::select! {
            line = show => line,
            () = tokio::time::sleep(Duration::from_secs(2)), if panics => panic!("the demo panics"),
        }
    })?;
    println!("{}\n{}", line.line, line.line.account.line());
    Ok(())
}
