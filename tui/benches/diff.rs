//! The time and the memory that `tracetui diff` takes: `cargo bench --bench diff [EVENTS [NAMES]]`. Two recordings of builds with
//! the same roles, other process ids and another directory, of which one has a missing header. The headers of the directory have
//! this many names (4,000): with as many as events, each is opened once.

#![allow(clippy::print_stdout, reason = "for whoever runs it")]

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use tracetui_events::frame::host::{Clock, Host, HostFrame, Trace};
use tracetui_events::pipeline::Pipeline;
use tracetui_events::recording::Writer;
use tracetui_events::recording::block::FileHeader;
use tracetui_events::synthetic::{Maker, Scratch, payload};
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::{KindSet, Slot};
use tracetui_shared::record::open::OpenRecord;

/// Opens of each compiler.
const OPENS: u64 = 400;

fn main() -> io::Result<()> {
    let mut numbers = std::env::args().filter_map(|arg| arg.replace('_', "").parse().ok());
    let (events, names) = (numbers.next().unwrap_or(10_000_000), numbers.next().unwrap_or(4_000));
    let dir = Scratch::new("diff");
    let files = [dir.join("a.ttr"), dir.join("b.ttr")];
    build(&files[0], (events, names), 100_000, "/home/me/one", None)?;
    build(&files[1], (events, names), 2_000_000, "/srv/two", Some(7))?;
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tracetui")).arg("diff").args(&files).spawn()?;
    let status = child.wait()?;
    println!("{events} events each, {names} names: {:.1} s, {status}", began.elapsed().as_secs_f64());
    println!("{}", usage());
    Ok(())
}

fn usage() -> String {
    // SAFETY: the call fills the struct, for which all zeros is a valid value.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec;
    format!("{seconds} s of processor time, at most {} MiB", usage.ru_maxrss / 1024)
}

/// Records a build: make, and compilers below it. The compiler with the number `fails` does not find a header.
fn build(file: &Path, (events, names): (u64, u64), first_pid: u32, root: &str, fails: Option<u64>) -> io::Result<()> {
    let mut writer = Writer::new(BufWriter::new(File::create(file)?), &FileHeader::new([7; 16], 7))?;
    let mut maker = Maker { step_ns: 20_000, ..Maker::default() };
    let make = first_pid;
    let trace = Trace { kinds: KindSet::ALL.bits(), command: Tgid(make), ..Trace::default() };
    maker.host(&HostFrame::Trace(trace));
    maker.host(&HostFrame::Host(Host { cpus: 1, ..Host::default() }));
    maker.host(&HostFrame::Clock(Clock { offset_ns: 1 }));
    exec(&mut maker, make, "make", root, &["make", "-j8"]);
    let compilers = events / (OPENS + 3);
    for number in 0..compilers {
        let pid = first_pid + 1 + u32::try_from(number).unwrap_or(0);
        maker.like.ppid = Tgid(make);
        maker.fork(make, "make", pid);
        let (source, object) = (format!("src/f{number}.c"), format!("src/f{number}.o"));
        exec(&mut maker, pid, "cc1", root, &["cc1", "-O2", "-I", &format!("{root}/include"), &source, "-o", &object]);
        let failed = fails == Some(number);
        for header in 0..OPENS {
            let each = number * OPENS + header;
            let path = match header % 4 {
                _ if each < names && names > 4_000 => format!("{root}/include/h{each}.h"),
                0 => format!("{root}/include/h{}.h", (number * 31 + header) % 4000),
                1 => format!("{root}/src/h{header}.h"),
                2 => format!("/tmp/cc{number:06}.s"),
                _ => format!("/usr/include/linux/h{header}.h"),
            };
            let missing = header % 4 == 1 || failed && header == 8;
            open(&mut maker, pid, &path, if missing { -2 } else { 3 });
        }
        maker.exit(pid, "cc1", if failed { 256 } else { 0 });
        if maker.batch.len() > 200_000 {
            writer.batch(maker.batch().bytes())?;
        }
    }
    maker.exit(make, "make", if fails.is_some() { 512 } else { 0 });
    maker.counters(true);
    writer.batch(maker.batch().bytes())?;
    writer.end(&Pipeline::default().state())?;
    Ok(())
}

fn exec(maker: &mut Maker, pid: u32, comm: &str, root: &str, args: &[&str]) {
    let argv: Vec<u8> = args.iter().flat_map(|arg| arg.bytes().chain([0])).collect();
    let names = |path: &str| path.split('/').rev().flat_map(|part| part.bytes().chain([0])).collect::<Vec<u8>>();
    let (exe, cwd) = (names(&format!("usr/bin/{comm}")), names(root.trim_start_matches('/')));
    let exec = payload::Exec { interp: b"", filename: comm.as_bytes(), exe: &exe, cwd: &cwd, argv: &argv, ret: 0 };
    maker.event(Slot::Exec, pid, comm, &exec.bytes());
}

fn open(maker: &mut Maker, pid: u32, path: &str, ret: i32) {
    let names: Vec<u8> = match ret {
        0.. => {
            path.split('/').skip(1).collect::<Vec<_>>().iter().rev().flat_map(|part| part.bytes().chain([0])).collect()
        }
        _ => Vec::new(),
    };
    let record = OpenRecord { ret, dirfd: -100, ..OpenRecord::default() };
    maker.event(Slot::Open, pid, "cc1", &payload::open(record, &names, path.as_bytes()));
}
