//! Results of bpf(2) that are falsified by ptrace(2): what they hide is found.

use crate::bpf::{
    BPF_PROG_TYPE_RAW_TRACEPOINT, EXIT, MOV_R0, id_and_tag, link_id, load, program, raw_tracepoint_open, set_bpf,
};
use crate::bpf_inventory;
use crate::bpf_ways::{PERF_EVENT, SOCKET_FILTER, event as perf_clock, set_option, udp_socket};
use crate::confine::{ptrace, read_registers, request, write_registers};
use crate::prelude::*;
use serde_json::json;

const BPF_PROG_GET_NEXT_ID: u64 = 11;
const BPF_OBJ_GET_INFO_BY_FD: u64 = 15;
const BPF_LINK_GET_NEXT_ID: u64 = 31;

/// The offsets of `struct pt_regs` on x86-64.
const AX: i32 = 80;
const DI: i32 = 112;
const SI: i32 = 104;
const ORIG_AX: i32 = 120;

fn json(report: &str) -> Value {
    serde_json::from_str(report).expect("JSON")
}

fn ids(list: &Value) -> Vec<i64> {
    list.as_array().expect("a list").iter().filter_map(|entry| entry["id"].as_i64()).collect()
}

/// Like [`alone_as_root`], if the kernel has an iterator, by its own list of functions.
fn alone_with_iterator(name: &str) -> Option<()> {
    alone_as_root()?;
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let has = symbols.lines().any(|line| line.split(' ').nth(2) == Some(name));
    if !has {
        not_checked(&format!("this kernel has no iterator {name}"));
    }
    has.then_some(())
}

fn loaded(name: &str) -> Option<OwnedFd> {
    bpf_inventory::loaded(load(BPF_PROG_TYPE_RAW_TRACEPOINT, name, &[MOV_R0, EXIT]))
}

fn three_programs() -> Option<Vec<OwnedFd>> {
    ["tt_before", "tt_in_the_dark", "tt_after"].map(loaded).into_iter().collect()
}

const REPORTS: usize = 5;

#[test]
fn a_program_left_out_by_a_falsified_list_is_found() {
    let Some(()) = alone_with_iterator("bpf_prog_seq_show") else { return };
    let Some(programs) = three_programs() else { return };
    let [_, [id, tag], [after, _]] = [0, 1, 2].map(|n: usize| id_and_tag(&programs[n]));
    for _ in 0..REPORTS {
        let Some(report) = Lie::left_out(BPF_PROG_GET_NEXT_ID, id, after).report() else { return };
        let listed = ids(&report["programs"]);
        assert!(!listed.contains(&id) && listed.contains(&after), "it is falsified: {listed:?}");
        let [found] = hidden_of(&report, id)[..] else { panic!("once: {}", report["hidden"]) };
        assert_eq!((&found["seen_by"], &found["missing_in"]), (&"iter_prog".into(), &"next_id".into()), "{found}");
        check_has(found, json!({"link_id": null, "name": format!("bpf_prog_{tag:016x}_tt_in_the_dark")}));
    }
    // The list of another process is not falsified, and nothing is reported as hidden.
    let output = tracetui().args(["bpf", "--format", "json"]).output().expect("it starts");
    let honest = json(&String::from_utf8_lossy(&output.stdout));
    assert!(ids(&honest["programs"]).contains(&id) && honest["hidden"] == Value::Array(vec![]), "{}", honest["hidden"]);
}

#[test]
fn a_link_left_out_by_a_falsified_list_is_found() {
    let Some(()) = alone_with_iterator("bpf_link_seq_show") else { return };
    let Some(prog) = loaded("tt_linked") else { return };
    let links: Vec<i64> = (0..3).map(|_| raw_tracepoint_open(&prog, "cgroup_remount")).collect();
    if links.iter().any(|link| *link < 0) {
        return not_checked("no raw tracepoint cgroup_remount");
    }
    let links: Vec<OwnedFd> = links.into_iter().map(sys::owned).collect();
    let (id, after) = (link_id(&links[1]), link_id(&links[2]));
    for _ in 0..REPORTS {
        let Some(report) = Lie::left_out(BPF_LINK_GET_NEXT_ID, id, after).report() else { return };
        let listed = ids(&report["links"]);
        assert!(!listed.contains(&id) && listed.contains(&after), "it is falsified: {listed:?}");
        let hidden = report["hidden"].as_array().expect("a list");
        assert_eq!(hidden.len(), 1, "{hidden:?}");
        let found = &hidden[0];
        assert_eq!((&found["link_id"], &found["id"]), (&id.into(), &id_and_tag(&prog)[0].into()), "{found}");
        check_has(found, json!({"seen_by": "iter_link", "missing_in": "next_id", "link_type": "raw_tracepoint"}));
    }
}

#[test]
fn a_program_that_begins_to_hide_is_an_event() {
    let Some(()) = alone_with_iterator("bpf_prog_seq_show") else { return };
    let Some(programs) = three_programs() else { return };
    let (id, after) = (id_and_tag(&programs[1])[0], id_and_tag(&programs[2])[0]);
    let lie = Lie::left_out(BPF_PROG_GET_NEXT_ID, id, after);
    let (Some(()), Some(traced)) = (lie.may(), Traced::start(&["--kind", "bpf"])) else { return };
    let liar = lie.betray(inspector_of(traced.pid()).expect("it has one"));
    traced.output().wait_until(|lines| lines.contains("\"op\":\"hidden\""));
    let run = traced.stop();
    assert_eq!(liar.join().expect("no panic"), 0, "the inspector ends well");
    run.check();
    let hidden: Vec<_> = run.lines().filter(|event| event["op"] == "hidden").collect();
    assert_eq!(hidden.len(), 1, "once: {hidden:?}");
    let views = (&hidden[0]["seen_by"], &hidden[0]["missing_in"]);
    assert_eq!(views, (&"iter_prog".into(), &"next_id".into()), "{}", hidden[0]);
    assert_eq!((&hidden[0]["prog"]["id"], &hidden[0]["attach"]), (&id.into(), &Value::Null), "{}", hidden[0]);
}

const BPF_PROG_GET_FD_BY_ID: u64 = 13;
const BPF_LINK_GET_FD_BY_ID: u64 = 30;
/// The offset of `bpf_attr.next_id`.
const NEXT: &[u64] = &[4];

/// What is falsified: a result of a command of bpf(2), at offsets in its attributes. Each offset but the last is that of an
/// address.
struct Lie {
    command: u64,
    at: &'static [u64],
    hidden: u32,
    shown: u32,
}

impl Lie {
    /// Hides an id in a walk, which continues with the one after it.
    fn left_out(command: u64, id: i64, after: i64) -> Lie {
        Lie { command, at: NEXT, hidden: id as u32, shown: after as u32 }
    }

    /// `None`, with a message, where the registers of a thread are unknown.
    fn may(&self) -> Option<()> {
        let known = cfg!(target_arch = "x86_64");
        if !known {
            not_checked("the test knows the registers of x86-64 only");
        }
        known.then_some(())
    }

    /// `tracetui bpf`, falsified at the end of each system call by ptrace(2). `None`, with a message, where it cannot be.
    #[expect(clippy::zombie_processes, reason = "waitpid(2) waits for the process")]
    fn report(&self) -> Option<Value> {
        self.may()?;
        let dir = Dir::new();
        let output = File::create(dir.at("report")).expect("a file");
        let mut command = tracetui();
        sys::before_exec(&mut command, || sys::done(ptrace(request::TRACEME, 0, 0, 0)));
        let child = command.args(["bpf", "--format", "json"]).stdout(output).spawn().expect("it starts");
        let child = child.id().cast_signed();
        assert!(next_state().0 == child && ptrace(request::SETOPTIONS, child, 0, OPTIONS | EXITKILL) == 0);
        ptrace(request::SYSCALL, child, 0, 0);
        assert_eq!(self.follow(child), 0, "it ends well");
        Some(json(&fs::read_to_string(dir.at("report")).expect("UTF-8")))
    }

    /// The first report that finds this program hidden. Views are not compared while other processes load and unload programs.
    fn report_on(&self, id: i64) -> Option<Value> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let report = self.report()?;
            if !hidden_of(&report, id).is_empty() || Instant::now() > end {
                return Some(report);
            }
        }
    }

    /// Falsifies what a process sees that runs already, until it ends.
    fn betray(self, pid: i32) -> std::thread::JoinHandle<i32> {
        let (begins, begun) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            for task in fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten() {
                let tid = task.file_name().to_str().and_then(|tid| tid.parse().ok()).expect("a number");
                assert_eq!(ptrace(request::SEIZE, tid, 0, OPTIONS), 0, "{}", std::io::Error::last_os_error());
                assert_eq!(ptrace(request::INTERRUPT, tid, 0, 0), 0);
            }
            begins.send(()).expect("the test waits");
            self.follow(pid)
        });
        begun.recv().expect("it begins");
        thread
    }

    /// Falsifies the results of the threads that this thread traces, until a process ends. Returns its status.
    fn follow(&self, pid: i32) -> i32 {
        const BEGINS: i32 = libc::SIGSTOP;
        loop {
            let (tid, status) = next_state();
            assert!(tid > 0, "{}", std::io::Error::last_os_error());
            if !libc::WIFSTOPPED(status) {
                if tid == pid {
                    return status;
                }
                continue;
            }
            let signal = match libc::WSTOPSIG(status) {
                stop if stop == libc::SIGTRAP | 0x80 => {
                    self.falsify(tid);
                    0
                }
                libc::SIGTRAP | BEGINS => 0,
                signal => signal,
            };
            ptrace(request::SYSCALL, tid, 0, signal as u64);
        }
    }

    /// At the entry of a call, the attributes do not have the number yet, or the kernel overwrites it.
    fn falsify(&self, tid: i32) {
        let mut registers = read_registers(tid);
        let register = |offset: i32| registers[offset as usize / 8];
        if register(ORIG_AX) != libc::SYS_bpf as u64 || register(DI) != self.command {
            return;
        }
        let memory = File::options().read(true).write(true).open(format!("/proc/{tid}/mem")).expect("root");
        let read = |address: u64, bytes: &mut [u8]| memory.read_exact_at(bytes, address).is_ok();
        let (last, addresses) = self.at.split_last().expect("an offset");
        let (mut address, mut word, mut number) = (register(SI), [0; 8], [0; 4]);
        for at in addresses {
            if !read(address + at, &mut word) {
                return;
            }
            address = u64::from_ne_bytes(word);
        }
        if !read(address + last, &mut number) || u32::from_ne_bytes(number) != self.hidden {
            return;
        }
        let mut result = |result: i64| {
            registers[AX as usize / 8] = result.cast_unsigned();
            write_registers(tid, &registers);
        };
        match self.command {
            BPF_PROG_GET_FD_BY_ID | BPF_LINK_GET_FD_BY_ID => result(i64::from(-libc::ENOENT)),
            // `bpf_attr.next_id` follows `bpf_attr.start_id`.
            BPF_LINK_GET_NEXT_ID if self.at != NEXT => {
                memory.write_all_at(&self.shown.to_ne_bytes(), address + 4).expect("its memory");
                result(0);
            }
            _ => memory.write_all_at(&self.shown.to_ne_bytes(), address + last).expect("its memory"),
        }
    }
}

const OPTIONS: u64 = 1 | 2 | 4 | 8;
const EXITKILL: u64 = 1 << 20;

fn next_state() -> (i32, i32) {
    let mut status = 0;
    // SAFETY: the status is a live local.
    let tid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
    (tid, status)
}

fn hidden_of(report: &Value, id: i64) -> Vec<&Value> {
    report["hidden"].as_array().expect("a list").iter().filter(|hidden| hidden["id"] == id).collect()
}

#[test]
fn a_falsified_name_is_found() {
    let Some(()) = alone_with_iterator("bpf_prog_seq_show") else { return };
    let Some(prog) = loaded("zz_named") else { return };
    let [id, tag] = id_and_tag(&prog);
    let word = |text: &[u8; 4]| u32::from_ne_bytes(*text);
    // `bpf_attr.info.info`, `bpf_prog_info.name`.
    let lie = Lie { command: BPF_OBJ_GET_INFO_BY_FD, at: &[8, 64], hidden: word(b"zz_n"), shown: word(b"sd_n") };
    for _ in 0..REPORTS {
        let Some(report) = lie.report_on(id) else { return };
        let listed = report["programs"].as_array().expect("a list").iter().find(|prog| prog["id"] == id);
        assert_eq!(listed.expect("it is listed")["name"], "sd_named");
        let found = hidden_of(&report, id);
        assert_eq!(found.len(), 1, "{}", report["hidden"]);
        assert_eq!((&found[0]["seen_by"], &found[0]["missing_in"]), (&"iter_prog".into(), &"obj_info".into()));
        assert_eq!(found[0]["name"], format!("bpf_prog_{tag:016x}_zz_named"));
        assert_eq!(report["hidden"].as_array().expect("a list").len(), 1, "{}", report["hidden"]);
    }
}

#[test]
fn what_cannot_be_opened_is_found() {
    let Some(()) = alone_with_iterator("bpf_link_seq_show") else { return };
    let Some(prog) = loaded("tt_closed") else { return };
    let link = sys::owned(raw_tracepoint_open(&prog, "cgroup_remount"));
    let (id, link) = (id_and_tag(&prog)[0], link_id(&link));
    let ways = [(BPF_PROG_GET_FD_BY_ID, id, "id", "iter_prog"), (BPF_LINK_GET_FD_BY_ID, link, "link_id", "iter_link")];
    for (command, number, key, view) in ways {
        let lie = Lie { command, at: &[0], hidden: number as u32, shown: 0 };
        let Some(report) = lie.report() else { return };
        let hidden = report["hidden"].as_array().expect("a list");
        assert_eq!(hidden.len(), 1, "{hidden:?}");
        let said = (&hidden[0][key], &hidden[0]["seen_by"], &hidden[0]["missing_in"]);
        assert_eq!(said, (&number.into(), &view.into(), &"fd_by_id".into()), "{hidden:?}");
    }
}

/// A link that is listed and cannot be opened may be in the making for 10 s. Then it is reported, and hides no end of an attachment.
#[test]
fn a_link_that_cannot_be_opened_is_reported_after_ten_seconds() {
    let Some(()) = alone_as_root() else { return };
    let Some(prog) = loaded("tt_linked") else { return };
    let links = [0, 1].map(|_| raw_tracepoint_open(&prog, "cgroup_remount"));
    if links.iter().any(|link| *link < 0) {
        return not_checked("no raw tracepoint cgroup_remount");
    }
    let [kept, removed] = links.map(sys::owned);
    let listed = link_id(&removed);
    drop(removed);
    let lie = Lie { command: BPF_LINK_GET_NEXT_ID, at: &[0], hidden: link_id(&kept) as u32, shown: listed as u32 };
    let event = program(PERF_EVENT, "tt_perf");
    let (Some(()), Some(mut traced)) = (lie.may(), Traced::start(&["--kind", "bpf"])) else { return };
    let liar = lie.betray(inspector_of(traced.pid()).expect("it has one"));
    let text = format!("link {listed} cannot be opened");
    let begun = Instant::now();
    // Each attachment causes an inventory.
    let mut attached = 0;
    while !traced.says(&text) && begun.elapsed() < Duration::from_secs(60) {
        let perf = sys::owned(perf_clock(1, 0, None, 0));
        assert_eq!(set_bpf(&event, &perf), 0);
        attached += 1;
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(begun.elapsed() > Duration::from_secs(9), "it may be in the making: {:?}", begun.elapsed());
    // The last end is in the next inventory.
    let id = id_and_tag(&event)[0];
    traced.output().wait_for_many("detach", id, attached);
    let run = traced.stop();
    assert_eq!(liar.join().expect("no panic"), 0, "the inspector ends well");
    run.check();
    let said = run.stderr.iter().filter(|line| line.contains(&text)).count();
    assert_eq!(said, 1, "{:#?}", run.stderr);
    let of = |op: &str| run.lines().filter(|e| e["prog"]["id"] == id && e["op"] == op).count();
    let lines = || run.lines().collect::<Vec<_>>();
    assert_eq!((of("attach"), of("detach"), of("unload")), (attached, attached, 0), "{:#?}", lines());
    assert!(run.lines().all(|event| event["attach"]["link_id"] != listed && event["op"] != "hidden"), "{:#?}", lines());
}

#[test]
fn a_program_that_is_left_out_is_shown_at_its_socket() {
    let Some(()) = alone_with_iterator("bpf_prog_seq_show") else { return };
    let Some(_before) = loaded("tt_before") else { return };
    let filter = program(SOCKET_FILTER, "tt_socket");
    let Some(after) = loaded("tt_after") else { return };
    let (id, socket) = (id_and_tag(&filter)[0], udp_socket());
    assert_eq!(set_option(&socket, libc::SO_ATTACH_BPF, sys::raw(&filter) as u32), 0);
    drop(filter);
    let Some(report) = Lie::left_out(BPF_PROG_GET_NEXT_ID, id, id_and_tag(&after)[0]).report() else { return };
    let unlisted = report["unlisted"].as_array().expect("a list");
    assert!(!ids(&report["programs"]).contains(&id), "it is falsified");
    assert!(unlisted.iter().any(|place| place["prog"] == id && place["type"] == "socket_filter"), "{unlisted:?}");
    assert_eq!(hidden_of(&report, id).len(), 1, "once: {}", report["hidden"]);
}
