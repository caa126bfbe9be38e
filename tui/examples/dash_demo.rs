//! The dashboard with synthetic events, to view the screen without root and probes.
//!
//! `cargo run --example dash_demo -- [EVENTS_PER_SECOND] [MEMORY_MIB]`.

#![allow(clippy::print_stdout, reason = "for whoever runs it")]

use std::time::{Duration, Instant};
use tracetui::app::{App, Settings};
use tracetui::command::dashboard::event_loop::{self, Appearance};
use tracetui::command::say::charset;
use tracetui::view::theme::{Colours, Theme};
use tracetui_events::budget::Budget;
use tracetui_events::frame::host::{Clock, Host, HostFrame, ProcessSeed, User};
use tracetui_events::limits;
use tracetui_events::synthetic::Maker;
use tracetui_events::synthetic::payload::{self, Exec};
use tracetui_live::feed::Feed;
use tracetui_live::synthetic::Synthetic;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::{Tgid, Uid};
use tracetui_shared::kind::Slot;
use tracetui_shared::record::mark;
use tracetui_shared::record::open::OpenRecord;
use tracetui_shared::record::tcp::{TcpRecord, op, outcome, state};
use tracetui_shared::time::BootNanos;

const BOOT: u64 = 100_000_000_000;
const DAY: i64 = 1_795_183_331_000_000_000;

/// A machine that runs compilers.
struct Machine {
    pid: u32,
    step: u64,
    made: u64,
    polled: u64,
    rate: u64,
    started: Instant,
}

fn open(maker: &mut Maker, pid: u32, comm: &str, path: &str, ret: i32) {
    let flags = u64::from(ret > 3);
    let record = OpenRecord { ret, names_marks: mark::RACED, flags, ..OpenRecord::default() };
    maker.event(Slot::OpenTp, pid, comm, &payload::open(record, b"", path.as_bytes()));
}

fn exec(maker: &mut Maker, pid: u32, comm: &str, argv: &[&str], ret: i32) {
    let argv: Vec<u8> = argv.iter().flat_map(|arg| arg.bytes().chain([0])).collect();
    let exec = Exec { ret, exe: b"cc\0bin\0usr\0", cwd: b"app\0ana\0home\0", argv: &argv, ..Exec::default() };
    maker.event(Slot::ExecBtf, pid, comm, &exec.bytes());
}

fn connect(maker: &mut Maker, pid: u32, op: u8, err: u16) {
    let [local, peer] = ["10.0.0.5:51514", "10.0.0.7:3632"].map(|text| text.parse().expect("a socket address"));
    let since = BootNanos(maker.ns.saturating_sub(31_000_000_000));
    let ended = TcpRecord {
        since,
        bytes_in: 1_234_567,
        bytes_out: 842,
        state: state::LAST_ACK,
        err,
        ..payload::tcp(op, local, peer)
    };
    maker.tcp(pid, "distcc", TcpRecord { outcome: outcome::DECIDED, ..ended });
}

fn begin(maker: &mut Maker) {
    maker.host(&HostFrame::Clock(Clock { offset_ns: DAY - BOOT as i64 }));
    let host = Host { name: "build7".into(), kernel: "6.18.0".into(), ..Host::default() };
    maker.host(&HostFrame::Host(host));
    maker.host(&HostFrame::User(User { uid: Uid(1000), name: "ana".into() }));
    let seeds = [(1, 0, "systemd"), (1191, 1, "sshd"), (48_102, 1191, "bash"), (48_213, 48_102, "make")];
    for (pid, ppid, comm) in seeds {
        maker.host(&HostFrame::ProcessSeed(ProcessSeed {
            tgid: Tgid(pid),
            start: maker.start_of(pid),
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

impl Machine {
    /// One compiler run: about 16 events.
    fn compile(&mut self, maker: &mut Maker) {
        self.step += 1;
        self.pid = 48_214 + (self.step as u32 * 2) % 40_000;
        let (pid, step) = (self.pid, self.step);
        exec(maker, pid, "cc", &["cc", "-O2", "-c", "main.c", "-o", "main.o", "-DNAME=a b"], 0);
        open(maker, pid, "cc", "/usr/local/lib/gcc/x86_64-linux-gnu/12/include-fixed/bits/very/long/limits.h", -2);
        for header in ["stdio.h", "stdlib.h", "string.h", "sys/types.h", "bits/types.h", "unistd.h", "errno.h"] {
            open(maker, pid, "cc", &format!("/usr/include/{header}"), 4);
        }
        exec(maker, pid + 1, "cc1", &["/usr/lib/gcc/x86_64-linux-gnu/12/cc1", "-quiet", "main.c"], 0);
        open(maker, pid + 1, "cc1", "/tmp/ccX1.s", 5);
        maker.exit(pid + 1, "cc1", 0);
        match step % 7 {
            0 => exec(maker, pid, "cc", &["ld", "main.o", "-o", "/opt/app"], -13),
            1 => exec(maker, pid, "evil\x1b[31m", &["evil", "\x1b[2J\u{202e}gnp.exe", "日本語のファイル"], 0),
            2 => open(maker, pid, "systemd-udevd", "/sys/devices/pci0000:00/0000:00:1f.2/uevent", 9),
            3 => connect(maker, pid, op::CONNECT, 0),
            4 => connect(maker, pid, op::CONNECT, 111),
            5 => connect(maker, pid, op::CLOSE, 0),
            _ => {}
        }
        maker.exit(
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

    /// Makes the events that are due, and returns the time until the next call.
    fn go_on(&mut self, maker: &mut Maker) -> Option<Duration> {
        if self.polled == 0 && self.made == 0 {
            begin(maker);
        }
        let elapsed = self.started.elapsed();
        maker.ns = maker.ns.max(BOOT + elapsed.as_nanos() as u64);
        while self.made < self.rate * elapsed.as_millis() as u64 / 1000 {
            self.compile(maker);
            self.made += 14;
            if self.step % 500 == 37 {
                maker.lose(1204);
            }
        }
        if elapsed.as_secs() > self.polled {
            self.polled = elapsed.as_secs();
            maker.ring = (500_000 + maker.ns % 7 * 10_000, limits::RING_DEFAULT);
            maker.counters(false);
        }
        Some(Duration::from_millis(20))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let rate = args.next().map_or(Ok(800), |rate| rate.parse())?;
    let memory: u64 = args.next().map_or(Ok(256), |memory| memory.parse())?;
    let settings = Settings { budget: Budget::new(memory << 20), ..Settings::default() };
    let budget = settings.budget;
    let app = App::new(settings).map_err(|error| error.message)?;
    let colours = if std::env::var_os("NO_COLOR").is_some() { Colours::None } else { Colours::Sixteen };
    let look = Appearance { theme: Theme { colours, charset: charset() }, ..Appearance::default() };
    let like = FrameHeader { ppid: Tgid(48_213), ..Maker::default().like };
    let maker = Maker { like, ns: BOOT, step_ns: 1000, start_ns: BOOT - 1_000_000_000, ..Maker::default() };
    let mut machine = Machine { pid: 0, step: 0, made: 0, polled: 0, rate, started: Instant::now() };
    let feed = Feed::start(Synthetic::new(maker, move |maker| machine.go_on(maker)), Vec::new(), None, budget)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let line = runtime.block_on(event_loop::run(app, look, feed.into()))?;
    println!("{}\n{}", line.line, line.line.account.line());
    Ok(())
}
