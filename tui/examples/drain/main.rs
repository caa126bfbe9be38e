//! Drains the probes: a line a frame, counters at the end. For trying the probes out, not for users.
//!
//! `drain [--ring BYTES] [--kinds exec,open] [--secs N] [--quiet] [--comm NAME] [--pid N] [--failed] [--slow MS]`
#[rustfmt::skip]
mod kbtf;

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tracetui::frame::{Batch, FrameRef};
use tracetui::source::live::{CaptureFilter, Cast, KernelFacts, Live, LiveOptions, Way};
use tracetui_shared::capture::{Capture, CommGlobs, test};
use tracetui_shared::header::flag;
use tracetui_shared::kind::{Kind, Slot};
use tracetui_shared::offsets::{ABSENT, FIELD_COUNT, FIELDS, TYPES};
use tracetui_shared::record::{bpf::BpfRecord, exec::*, exit::ExitRecord, fork::ForkRecord, open::OpenRecord};
use zerocopy::FromBytes;

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

fn facts() -> Result<KernelFacts> {
    let btf = kbtf::Btf::load("/sys/kernel/btf/vmlinux")?;
    let mut offsets = [ABSENT; FIELD_COUNT];
    for (field, spec) in FIELDS {
        offsets[*field as usize] = spec.members.iter().find_map(|m| btf.off(spec.structure, m)).unwrap_or(ABSENT);
        if offsets[*field as usize] == ABSENT {
            eprintln!("absent: {}", spec.name);
        }
    }
    Ok(KernelFacts {
        offsets,
        typed_task: std::env::var_os("NO_TYPED").is_none() && btf.func("bpf_get_current_task_btf").is_some(),
        exit_has_group_dead: btf.tp_args("sched_process_exit") == Some(2),
        inline_name_len: btf.array_len("dentry", "d_shortname").or(btf.array_len("dentry", "d_iname")).unwrap_or(0),
        trace_flag_tracepoint: btf.enumerator("TRACE_EVENT_FL_TRACEPOINT").unwrap_or(0),
        link_type_perf: btf.enumerator("BPF_LINK_TYPE_PERF_EVENT").unwrap_or(ABSENT),
        may_goto: std::env::var_os("NO_MAYGOTO").is_none() && btf.off("bpf_verifier_state", "may_goto_depth").is_some(),
        cast: (std::env::var_os("NO_CAST").is_none())
            .then(|| {
                btf.func("bpf_rdonly_cast").map(|function| Cast {
                    function,
                    types: std::array::from_fn(|i| btf.structure(TYPES[i]).unwrap_or(0)),
                })
            })
            .flatten(),
        link_type_raw_tp: btf.enumerator("BPF_LINK_TYPE_RAW_TRACEPOINT").unwrap_or(ABSENT),
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(tracetui_shared::header::until_nul(bytes)).into_owned()
}

fn path(names: &[u8]) -> String {
    let mut parts: Vec<_> = names.split(|b| *b == 0).map(String::from_utf8_lossy).collect();
    parts.pop();
    parts.reverse();
    format!("/{}", parts.join("/"))
}

fn describe(frame: &FrameRef) -> String {
    let h = &frame.header;
    let Ok(kind) = Kind::try_from(h.kind) else { return format!("kind {}", h.kind) };
    let head = format!(
        "{}{} cpu={} seq={} pid={} tid={} ppid={} uid={} gid={} mnt={} pidns={} nspid={} cg={} start={} comm={}",
        if h.has(flag::BOOKKEEPING) { "(bk) " } else { "" },
        kind.name(),
        h.cpu,
        h.seq,
        h.tgid.0,
        h.tid.0,
        h.ppid.0,
        h.uid.0,
        h.gid.0,
        h.mnt_ns.0,
        h.pid_ns.0,
        h.ns_pid.0,
        h.cgroup.0,
        h.start.0,
        text(&h.comm)
    );
    let p = frame.payload;
    let tail = match kind {
        Kind::Exec if h.has(flag::CONTINUES) => {
            let (c, rest) = ExecChunk::read_from_prefix(p).unwrap();
            format!("chunk offset={} len={} have={} marks={}", c.offset, c.len, rest.len(), c.marks)
        }
        Kind::Exec => {
            let (r, rest) = ExecRecord::read_from_prefix(p).unwrap();
            let (file, rest) = rest.split_at(r.filename_len as usize);
            let (interp, rest) = rest.split_at(r.interp_len as usize);
            let (exe, rest) = rest.split_at(r.exe_len as usize);
            let (cwd, argv) = rest.split_at(r.cwd_len as usize);
            let args: Vec<_> = argv
                .split(|b| *b == 0)
                .take(12)
                .map(|a| String::from_utf8_lossy(&a[..a.len().min(60)]).into_owned())
                .collect();
            format!(
                "old={} euid={} argc={} argv={}/{}({} here) marks={:x},{:x},{:x},{:x} file={} interp={} exe={} cwd={} argv={:?}",
                r.old_tid,
                r.euid,
                r.argc as i32,
                r.argv_len,
                r.argv_total,
                argv.len(),
                r.exe_marks,
                r.cwd_marks,
                r.argv_marks,
                r.filename_marks,
                String::from_utf8_lossy(file),
                String::from_utf8_lossy(interp),
                path(exe),
                path(cwd),
                args
            )
        }
        Kind::Exit => {
            let (r, _) = ExitRecord::read_from_prefix(p).unwrap();
            format!("status={:#x} flags={:#x}", r.status, r.signal_flags)
        }
        Kind::Fork => {
            let (r, _) = ForkRecord::read_from_prefix(p).unwrap();
            format!(
                "child={} tid={} start={} parent={} pstart={}",
                r.child.0, r.child_tid, r.child_start.0, r.child_parent.0, r.child_parent_start.0
            )
        }
        Kind::Open => {
            let (r, rest) = OpenRecord::read_from_prefix(p).unwrap();
            let (names, rest) = rest.split_at(r.names_len as usize);
            let asked = &rest[..r.path_len as usize];
            format!(
                "ret={} via={} abi={} dirfd={} flags={:#x} mode={:o} resolve={:x} root_off={} marks={:x},{:x},{:x} len={} path={} names={}",
                r.ret,
                r.via,
                r.abi,
                r.dirfd,
                r.flags,
                r.mode,
                r.resolve,
                r.root_off as i16,
                r.names_marks,
                r.path_marks,
                r.how_marks,
                r.path_len,
                String::from_utf8_lossy(asked),
                path(names)
            )
        }
        Kind::Bpf => {
            let (r, _) = BpfRecord::read_from_prefix(p).unwrap();
            format!(
                "ret={} cmd={} call={} has={:x} prog={}:{}:{} type={} eat={} puid={} link={}:{} at={} fd={} cookie={:x} callflags={:x} perf={}:{} target={} target2={}",
                r.ret,
                r.cmd,
                r.call,
                r.has,
                r.prog_id,
                text(&r.name),
                r.tag.iter().map(|b| format!("{b:02x}")).collect::<String>(),
                r.prog_type,
                r.expected_attach_type,
                r.prog_uid as i32,
                r.link_id,
                r.link_type,
                r.attach_type,
                r.target_fd,
                r.cookie,
                r.call_flags,
                r.perf_type,
                r.perf_config,
                text(&r.target),
                text(&r.target2)
            )
        }
        Kind::Lost => String::new(),
    };
    format!("{head} {tail}")
}

/// One glob without stars.
fn literal(name: &str) -> CommGlobs {
    let mut globs = CommGlobs::NONE;
    globs.start = 1;
    for (i, byte) in name.bytes().enumerate() {
        globs.advance[byte as usize] |= 1 << i;
    }
    globs.accept = 1 << name.len();
    globs
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let value = |key: &str| args.iter().position(|a| a == key).and_then(|i| args.get(i + 1)).map(String::as_str);
    let given = |key: &str| args.iter().any(|a| a == key);
    let kinds = value("--kinds").map_or(Kind::PROBED.to_vec(), |list| {
        Kind::PROBED.into_iter().filter(|k| list.split(',').any(|n| n == k.name())).collect()
    });
    let mut capture = Capture { kinds: kinds.iter().map(|k| k.bit()).sum(), tests: 0, comm: CommGlobs::NONE };
    if let Some(comm) = value("--comm") {
        capture.tests |= test::COMM;
        capture.comm = literal(comm);
    }
    let pids = value("--pid").map(|p| p.parse()).transpose()?.into_iter().collect::<Vec<u32>>();
    capture.tests |= if pids.is_empty() { 0 } else { test::PID } | if given("--failed") { test::FAILED } else { 0 };
    let started = Instant::now();
    let facts = facts()?;
    eprintln!("btf {:?}", started.elapsed());
    let options = LiveOptions {
        ring_size: value("--ring").unwrap_or("16777216").parse()?,
        kinds: capture.kinds,
        capture: CaptureFilter { capture, pids, ..CaptureFilter::NOTHING },
        way: if given("--classic") {
            Way::Classic
        } else if given("--typed") {
            Way::Typed
        } else {
            Way::Auto
        },
    };
    let mut live = Live::start(&options, &facts).context("start")?;
    eprintln!("started in {:?}", started.elapsed());
    for (what, took) in live.timings() {
        eprintln!("  {what}: {took:?}");
    }
    for probe in live.probes() {
        eprintln!(
            "  {} {} {} why={:?} remedy={:?}",
            probe.name,
            if probe.attached { "attached" } else { "-" },
            probe.how,
            probe.why,
            probe.remedy
        );
    }
    for runs in live.runs() {
        eprintln!("  {} verified {}", runs.program, runs.verified);
    }
    // SAFETY: the handler only stores to an atomic.
    unsafe {
        libc::signal(libc::SIGINT, on_signal as *const () as libc::sighandler_t);
        libc::signal(libc::SIGTERM, on_signal as *const () as libc::sighandler_t);
    }
    eprintln!("READY");
    let limit = Duration::from_secs_f64(value("--secs").unwrap_or("1e6").parse()?);
    let slow: u64 = value("--slow").unwrap_or("0").parse()?;
    let started = Instant::now();
    let mut got: BTreeMap<(u16, bool, bool), u64> = BTreeMap::new();
    let mut batch = Batch::with_capacity(1 << 21);
    let (mut waits, mut found, mut unreadable, mut fullest) = (0u64, 0u64, 0u64, 0);
    let out = std::io::stdout();
    let mut out = std::io::BufWriter::with_capacity(1 << 16, out.lock());
    let mut take = |live: &mut Live, out: &mut dyn Write| -> Result<()> {
        loop {
            fullest = fullest.max(live.fill().0);
            let more = live.drain(&mut batch, 1 << 20);
            unreadable += batch.unreadable();
            for frame in batch.frames() {
                let h = &frame.header;
                *got.entry((h.slot, h.has(flag::BOOKKEEPING), h.has(flag::CONTINUES))).or_default() += 1;
                if !given("--quiet") {
                    writeln!(out, "{}", describe(&frame))?;
                }
            }
            batch.clear();
            if !more {
                return Ok(out.flush()?);
            }
        }
    };
    while !STOP.load(Ordering::Relaxed) && started.elapsed() < limit {
        waits += 1;
        if live.wait(Some(Duration::from_millis(200)))? {
            found += 1;
            std::thread::sleep(Duration::from_millis(slow));
            take(&mut live, &mut out)?;
        }
    }
    let since = Instant::now();
    live.detach();
    let detached = since.elapsed();
    take(&mut live, &mut out)?;
    let cpus = live.counters()?;
    for slot in Slot::ALL {
        let sum = |f: fn(&tracetui_shared::counters::SlotCounters) -> u64| {
            cpus.iter().map(|c| f(&c.slots[slot as usize])).sum::<u64>()
        };
        let count = |bk, cont| got.get(&(slot as u16, bk, cont)).copied().unwrap_or(0);
        let (wanted, bk) = (sum(|s| s.wanted), sum(|s| s.bookkeeping));
        if wanted + bk + sum(|s| s.filtered) + sum(|s| s.own) == 0 {
            continue;
        }
        let (lost, lost_bk) = (sum(|s| s.lost_ring), sum(|s| s.lost_bookkeeping));
        eprintln!(
            "{slot:?}: wanted={wanted} delivered={} lost={lost} | bookkeeping={bk} delivered={} lost={lost_bk} | filtered={} own={} chunks={} lost_chunks={} {}",
            count(false, false),
            count(true, false),
            sum(|s| s.filtered),
            sum(|s| s.own),
            count(false, true),
            sum(|s| s.lost_chunks),
            if wanted == count(false, false) + lost && bk == count(true, false) + lost_bk {
                "BALANCED"
            } else {
                "MISMATCH"
            }
        );
    }
    for runs in live.runs() {
        if runs.runs > 0 {
            eprintln!("{}: {} runs, {:.0} ns each", runs.program, runs.runs, runs.nanos as f64 / runs.runs as f64);
        }
    }
    eprintln!(
        "skips {:?} unreadable={unreadable} waits={waits} found={found} fullest={fullest} detach={detached:?}",
        live.skips()
    );
    // SAFETY: zeros are a valid rusage, and the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    eprintln!(
        "user {}.{:06} sys {}.{:06} maxrss {} KiB",
        usage.ru_utime.tv_sec, usage.ru_utime.tv_usec, usage.ru_stime.tv_sec, usage.ru_stime.tv_usec, usage.ru_maxrss
    );
    Ok(())
}
