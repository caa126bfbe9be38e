//! Falsified results of bpf(2), by a program or by ptrace(2): what they hide is found.

use crate::attachments::{set_option, udp_socket};
use crate::bpf::{
    Attr, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_TRACEPOINT, EXIT, MOV_R0, id_and_tag, link_id, load, perf_event,
    raw_tracepoint_open, set_bpf, tracepoint_id,
};
use crate::bpf_inventory::{
    CGROUP_SKB, FLOW_DISSECTOR, MOV_R0_1, PERF_EVENT, SCHED_CLS, SK_SKB, SOCKET_FILTER, XDP, event as perf_clock,
    index_of, load_for, prog_attach,
};
use crate::confine::{ptrace, read_registers, request, write_registers};
use crate::inspector::inspector_of;
use crate::sys;
use crate::tcp::net::set_xdp;
use crate::traced::{Dir, Traced, alone, emulated, may_trace, not_checked, release, tracetui};
use serde_json::Value;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::time::{Duration, Instant};

const BPF_MAP_CREATE: u64 = 0;
const BPF_MAP_UPDATE_ELEM: u64 = 2;
const BPF_PROG_GET_NEXT_ID: i32 = 11;
const BPF_OBJ_GET_INFO_BY_FD: u64 = 15;
const BPF_PROG_QUERY: u64 = 16;
const BPF_TASK_FD_QUERY: u64 = 20;
const BPF_LINK_GET_NEXT_ID: i32 = 31;

/// Helpers.
const MAP_LOOKUP_ELEM: i32 = 1;
const GET_CURRENT_PID_TGID: i32 = 14;
const PROBE_WRITE_USER: i32 = 36;
const PROBE_READ_USER: i32 = 112;
const PROBE_READ_KERNEL: i32 = 113;

/// The offsets of `struct pt_regs` on x86-64.
const AX: i32 = 80;
const DI: i32 = 112;
const SI: i32 = 104;
const ORIG_AX: i32 = 120;

/// The offset of a jump to the end of the program.
const END: i16 = i16::MAX;

const fn insn(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    code as u64 | (((from << 4 | to) as u64) << 8) | (offset as u16 as u64) << 16 | (value as u32 as u64) << 32
}

/// A program for the end of each system call. If it is bpf(2) with a command, in a process of the map, and returns the id
/// `hidden`, it writes `shown` over that.
fn falsifier(command: i32, hidden: u32, shown: u32, processes: &OwnedFd) -> Vec<u64> {
    let copy = |to, from| insn(0xbf, to, from, 0, 0);
    let set = |to, value| insn(0xb7, to, 0, 0, value);
    let add = |to, value| insn(0x07, to, 0, 0, value);
    let call = |helper| insn(0x85, 0, 0, 0, helper);
    let end_unless = |register, value| insn(0x55, register, 0, END, value);
    // Reads `len` bytes at the address in the register 3 to the stack, and from there into the register 9.
    let read = |helper, len| [copy(1, 10), add(1, -8), set(2, len), call(helper), insn(0x79, 9, 10, -8, 0)];
    let register = |at| [vec![copy(3, 7), add(3, at)], read(PROBE_READ_KERNEL, 8).to_vec()].concat();
    let mut all = vec![insn(0x79, 7, 1, 0, 0), insn(0x79, 8, 1, 8, 0), end_unless(8, 0)];
    all.extend([set(1, 0), insn(0x7b, 10, 1, -8, 0)]);
    all.extend(register(ORIG_AX));
    all.push(end_unless(9, libc::SYS_bpf as i32));
    all.extend(register(DI));
    all.push(end_unless(9, command));
    // `bpf_attr.next_id`.
    all.extend(register(SI));
    all.extend([copy(6, 9), add(6, 4), set(1, 0), insn(0x7b, 10, 1, -8, 0), copy(3, 6)]);
    all.extend(read(PROBE_READ_USER, 4));
    all.push(end_unless(9, hidden.cast_signed()));
    all.extend([call(GET_CURRENT_PID_TGID), insn(0x77, 0, 0, 0, 32), insn(0x63, 10, 0, -8, 0)]);
    all.extend([insn(0x18, 1, 1, 0, sys::raw(processes)), 0, copy(2, 10), add(2, -8), call(MAP_LOOKUP_ELEM)]);
    all.push(insn(0x15, 0, 0, END, 0));
    all.extend([insn(0x62, 10, 0, -8, shown.cast_signed()), copy(1, 6), copy(2, 10), add(2, -8), set(3, 4)]);
    all.push(call(PROBE_WRITE_USER));
    let end = all.len();
    for (at, word) in all.iter_mut().enumerate() {
        if (*word >> 16) as u16 == END as u16 {
            *word = *word & !0xffff_0000 | ((end - at - 1) as u64) << 16;
        }
    }
    all.extend([MOV_R0, EXIT]);
    all
}

/// A falsifier at work, and the processes that it betrays.
struct Rootkit {
    processes: OwnedFd,
    _program: OwnedFd,
    _link: OwnedFd,
}

impl Rootkit {
    /// `None`, with a message, where it cannot be.
    fn start(command: i32, hidden: u32, shown: u32) -> Option<Rootkit> {
        if cfg!(not(target_arch = "x86_64")) {
            not_checked("the falsifying program knows the registers of x86-64 only");
            return None;
        }
        let map = Attr::new().u32(0, 1).u32(4, 4).u32(8, 4).u32(12, 1024).call(BPF_MAP_CREATE);
        let processes = sys::owned(map);
        let program = falsifier(command, hidden, shown, &processes);
        let program = load(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_rootkit", &program);
        if program < 0 {
            not_checked(&format!("this kernel refuses bpf_probe_write_user: error {program}"));
            return None;
        }
        let program = sys::owned(program);
        let link = sys::owned(raw_tracepoint_open(&program, "sys_exit"));
        Some(Rootkit { processes, _program: program, _link: link })
    }

    fn betray(&self, pid: i32) {
        assert_eq!(betray(sys::raw(&self.processes), pid), 0);
    }

    /// `tracetui bpf`, betrayed from its start.
    fn report(&self, format: &str) -> String {
        let map = sys::raw(&self.processes);
        let mut command = tracetui();
        // SAFETY: between fork and exec the closure makes system calls only.
        unsafe {
            command.pre_exec(move || match betray(map, sys::pid()) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
        let output = command.args(["bpf", "--format", format]).output().expect("it starts");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

/// Makes system calls only.
fn betray(map: i32, pid: i32) -> i64 {
    let key = pid as u32;
    let attr = Attr::new().u32(0, map as u32).u64(8, (&raw const key) as u64);
    attr.u64(16, (&raw const key) as u64).call(BPF_MAP_UPDATE_ELEM)
}

fn json(report: &str) -> Value {
    serde_json::from_str(report).expect("JSON")
}

fn ids(list: &Value) -> Vec<i64> {
    list.as_array().expect("a list").iter().filter_map(|entry| entry["id"].as_i64()).collect()
}

/// Whether the kernel has an iterator, by its own list of functions.
fn has_iterator(name: &str) -> bool {
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    symbols.lines().any(|line| line.split(' ').nth(2) == Some(name))
}

fn loaded(name: &str) -> Option<OwnedFd> {
    let prog = load(BPF_PROG_TYPE_RAW_TRACEPOINT, name, &[MOV_R0, EXIT]);
    if prog < 0 {
        not_checked(&format!("a program is refused: error {prog}"));
        return None;
    }
    Some(sys::owned(prog))
}

/// Programs with ids in this order. The second one is to be hidden.
fn three_programs() -> Option<Vec<OwnedFd>> {
    ["tt_before", "tt_in_the_dark", "tt_after"].map(loaded).into_iter().collect()
}

/// Reports that are made while a program hides.
const REPORTS: usize = 5;

#[test]
fn a_program_left_out_by_a_falsified_list_is_found() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let Some(programs) = three_programs() else { return };
    let [_, hidden, after] = [0, 1, 2].map(|n: usize| id_and_tag(&programs[n]));
    let (id, tag) = (hidden[0], hidden[1]);
    let Some(rootkit) = Rootkit::start(BPF_PROG_GET_NEXT_ID, id as u32, after[0] as u32) else { return };
    let has_iterator = has_iterator("bpf_prog_seq_show");
    for _ in 0..REPORTS {
        let report = json(&rootkit.report("json"));
        let listed = ids(&report["programs"]);
        assert!(!listed.contains(&id) && listed.contains(&after[0]), "it is falsified: {listed:?}");
        assert_eq!(ids(&report["hidden"]).iter().filter(|hidden| **hidden == id).count(), 1, "{}", report["hidden"]);
        let found = report["hidden"].as_array().expect("a list").iter().find(|hidden| hidden["id"] == id);
        let found = found.expect("it is found");
        let view = if has_iterator { "iter_prog" } else { "fd_by_id" };
        assert_eq!((&found["seen_by"], &found["missing_in"]), (&view.into(), &"next_id".into()), "{found}");
        assert_eq!(found["link_id"], Value::Null, "{found}");
        if has_iterator {
            assert_eq!(found["name"], format!("bpf_prog_{tag:016x}_tt_in_the_dark"), "{found}");
        }
    }
    let text = rootkit.report("text");
    assert!(text.starts_with(&format!("HIDDEN program {id} ")) && !text.contains('\x1b'), "{text}");
    // The list of another process is not falsified, and nothing is reported as hidden.
    let output = tracetui().args(["bpf", "--format", "json"]).output().expect("it starts");
    let honest = json(&String::from_utf8_lossy(&output.stdout));
    assert!(ids(&honest["programs"]).contains(&id) && honest["hidden"] == Value::Array(vec![]), "{}", honest["hidden"]);
}

#[test]
fn a_link_left_out_by_a_falsified_list_is_found() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    if !has_iterator("bpf_link_seq_show") {
        return not_checked("this kernel has no iterator of links");
    }
    let Some(prog) = loaded("tt_linked") else { return };
    let links: Vec<i64> = (0..3).map(|_| raw_tracepoint_open(&prog, "cgroup_remount")).collect();
    if links.iter().any(|link| *link < 0) {
        return not_checked("no raw tracepoint cgroup_remount");
    }
    let links: Vec<OwnedFd> = links.into_iter().map(sys::owned).collect();
    let (id, after) = (link_id(&links[1]), link_id(&links[2]));
    let Some(rootkit) = Rootkit::start(BPF_LINK_GET_NEXT_ID, id as u32, after as u32) else { return };
    for _ in 0..REPORTS {
        let report = json(&rootkit.report("json"));
        let listed = ids(&report["links"]);
        assert!(!listed.contains(&id) && listed.contains(&after), "it is falsified: {listed:?}");
        let hidden = report["hidden"].as_array().expect("a list");
        assert_eq!(hidden.len(), 1, "{hidden:?}");
        let found = &hidden[0];
        assert_eq!((&found["link_id"], &found["id"]), (&id.into(), &id_and_tag(&prog)[0].into()), "{found}");
        assert_eq!((&found["seen_by"], &found["missing_in"]), (&"iter_link".into(), &"next_id".into()), "{found}");
        assert_eq!(found["link_type"], "raw_tracepoint", "{found}");
    }
    let text = rootkit.report("text");
    assert!(text.starts_with(&format!("HIDDEN link {id} of program ")), "{text}");
}

/// The pause between two comparisons is ten seconds.
const TWO_COMPARISONS: Duration = Duration::from_secs(25);

#[test]
fn a_program_that_begins_to_hide_is_an_event() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let Some(programs) = three_programs() else { return };
    let (id, after) = (id_and_tag(&programs[1])[0], id_and_tag(&programs[2])[0]);
    let Some(rootkit) = Rootkit::start(BPF_PROG_GET_NEXT_ID, id as u32, after as u32) else { return };
    let Some(traced) = Traced::start(&["--kind", "bpf"]) else { return };
    rootkit.betray(inspector_of(traced.pid()).expect("it has one"));
    let begun = Instant::now();
    let patience = if emulated() { 3 * TWO_COMPARISONS } else { TWO_COMPARISONS };
    let is_reported = || std::fs::read_to_string(traced.output()).is_ok_and(|text| text.contains("\"op\":\"hidden\""));
    while begun.elapsed() < patience && !is_reported() {
        std::thread::sleep(Duration::from_millis(100));
    }
    let run = traced.stop();
    run.check();
    let hidden: Vec<_> = run.lines().filter(|event| event["op"] == "hidden").collect();
    assert_eq!(hidden.len(), 1, "once: {hidden:?}");
    let view = if has_iterator("bpf_prog_seq_show") { "iter_prog" } else { "fd_by_id" };
    assert_eq!((&hidden[0]["seen_by"], &hidden[0]["missing_in"]), (&view.into(), &"next_id".into()), "{}", hidden[0]);
    assert_eq!((&hidden[0]["prog"]["id"], &hidden[0]["attach"]), (&id.into(), &Value::Null), "{}", hidden[0]);
}

/// In place of a command: attributes in what recvfrom(2) receives are falsified.
const RECVFROM: u64 = u64::MAX;
/// In place of a command: the beginning of the line in which read(2) returns a name with these letters is falsified.
const READ: u64 = u64::MAX - 1;
/// Commands that fail.
const BPF_PROG_GET_FD_BY_ID: u64 = 13;
const BPF_LINK_GET_FD_BY_ID: u64 = 30;
/// BPF_LINK_GET_NEXT_ID, where the number that follows another is falsified.
const LINK_AFTER: u64 = BPF_LINK_GET_NEXT_ID as u64;

/// What is falsified: a result of a command of bpf(2), at offsets in its attributes. Each offset but the last is that of an
/// address.
struct Lie {
    command: u64,
    at: &'static [u64],
    hidden: u32,
    shown: u32,
}

impl Lie {
    /// `None`, with a message, where the registers of a thread are unknown.
    fn may(&self) -> Option<()> {
        if cfg!(not(target_arch = "x86_64")) {
            not_checked("the test knows the registers of x86-64 only");
            return None;
        }
        Some(())
    }

    /// `tracetui bpf`, falsified at the end of each system call by ptrace(2). `None`, with a message, where it cannot be.
    #[expect(clippy::zombie_processes, reason = "waitpid(2) waits for the process")]
    fn report(&self) -> Option<Value> {
        self.may()?;
        let dir = Dir::new();
        let output = std::fs::File::create(dir.at("report")).expect("a file");
        let mut command = tracetui();
        // SAFETY: between fork and exec the closure makes a system call only.
        unsafe {
            command.pre_exec(|| match ptrace(request::TRACEME, 0, 0, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
        let child = command.args(["bpf", "--format", "json"]).stdout(output).spawn().expect("it starts");
        let child = child.id().cast_signed();
        assert!(next_state().0 == child && ptrace(request::SETOPTIONS, child, 0, OPTIONS | EXITKILL) == 0);
        ptrace(request::SYSCALL, child, 0, 0);
        assert_eq!(self.follow(child), 0, "it ends well");
        Some(json(&std::fs::read_to_string(dir.at("report")).expect("UTF-8")))
    }

    /// Falsifies what a process sees that runs already, until it ends.
    fn betray(self, pid: i32) -> std::thread::JoinHandle<i32> {
        let (begins, begun) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            for task in std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten() {
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
        let is_of = |call: i64| register(ORIG_AX) == call as u64;
        let memory = || std::fs::File::options().read(true).write(true).open(format!("/proc/{tid}/mem")).expect("root");
        if is_of(libc::SYS_recvfrom) && self.command == RECVFROM {
            let mut received = vec![0; registers[AX as usize / 8].min(1 << 16) as usize];
            let memory = memory();
            memory.read_exact_at(&mut received, register(SI)).expect("its memory");
            // An attribute of 8 bytes whose value is the number.
            let is_it =
                |at: &usize| received[*at..at + 2] == [8, 0] && received[at + 4..at + 8] == self.hidden.to_ne_bytes();
            for at in (0..received.len().saturating_sub(7)).step_by(4).filter(is_it) {
                memory.write_all_at(&self.shown.to_ne_bytes(), register(SI) + at as u64 + 4).expect("its memory");
            }
        }
        if is_of(libc::SYS_read) && self.command == READ {
            // At the entry, this is an error.
            let mut text = vec![0; usize::try_from(registers[AX as usize / 8].cast_signed()).unwrap_or_default()];
            let (memory, address) = (memory(), register(SI));
            if memory.read_exact_at(&mut text, address).is_ok() {
                let places = text.windows(4).enumerate().filter(|(_, word)| *word == self.hidden.to_ne_bytes());
                for (at, _) in places.filter(|(at, _)| *at >= SYMBOL) {
                    memory.write_all_at(&self.shown.to_ne_bytes(), address + (at - SYMBOL) as u64).expect("its memory");
                }
            }
        }
        if !is_of(libc::SYS_bpf) || register(DI) != self.command {
            return;
        }
        let memory = memory();
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
            LINK_AFTER => {
                memory.write_all_at(&self.shown.to_ne_bytes(), address + 4).expect("its memory");
                result(0);
            }
            _ => memory.write_all_at(&self.shown.to_ne_bytes(), address + last).expect("its memory"),
        }
    }
}

/// PTRACE_O_TRACESYSGOOD, _TRACEFORK, _TRACEVFORK, _TRACECLONE.
const OPTIONS: u64 = 1 | 2 | 4 | 8;
/// PTRACE_O_EXITKILL.
const EXITKILL: u64 = 1 << 20;

/// Waits until a thread that this thread traces stops or ends.
fn next_state() -> (i32, i32) {
    let mut status = 0;
    // SAFETY: the status is a live local.
    let tid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
    (tid, status)
}

/// `bpf_prog_`, the tag and `_`: what precedes the name of a program in its symbol.
const SYMBOL: usize = 9 + 16 + 1;

/// The findings about a program.
fn hidden_of(report: &Value, id: i64) -> Vec<&Value> {
    report["hidden"].as_array().expect("a list").iter().filter(|hidden| hidden["id"] == id).collect()
}

#[test]
fn a_falsified_name_is_found() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    if !has_iterator("bpf_prog_seq_show") {
        return not_checked("this kernel has no iterator of programs");
    }
    let Some(prog) = loaded("zz_named") else { return };
    let [id, tag] = id_and_tag(&prog);
    let word = |text: &[u8; 4]| u32::from_ne_bytes(*text);
    // `bpf_attr.info.info`, `bpf_prog_info.name`.
    let lie = Lie { command: BPF_OBJ_GET_INFO_BY_FD, at: &[8, 64], hidden: word(b"zz_n"), shown: word(b"sd_n") };
    for _ in 0..REPORTS {
        let Some(report) = lie.report() else { return };
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
fn a_falsified_id_is_found() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let Some(prog) = loaded("tt_numbered") else { return };
    let id = id_and_tag(&prog)[0];
    // `bpf_attr.info.info`, `bpf_prog_info.id`.
    let lie = Lie { command: BPF_OBJ_GET_INFO_BY_FD, at: &[8, 4], hidden: id as u32, shown: 0 };
    let Some(report) = lie.report() else { return };
    let found = hidden_of(&report, id);
    assert_eq!(found.len(), 1, "{}", report["hidden"]);
    assert_eq!((&found[0]["seen_by"], &found[0]["missing_in"]), (&"next_id".into(), &"obj_info".into()));
}

#[test]
fn a_program_missing_only_among_the_symbols_is_found() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    // Without a symbol of any program, there is nothing to compare.
    let (Some(prog), Some(_other)) = (loaded("zz_dark"), loaded("tt_light")) else { return };
    let [id, tag] = id_and_tag(&prog);
    let symbol = format!("bpf_prog_{tag:016x}_zz_dark");
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    if !symbols.contains(&symbol) {
        return not_checked("the kernel does not list the functions of programs");
    }
    let word = |text: &[u8; 4]| u32::from_ne_bytes(*text);
    let lie = Lie { command: READ, at: &[], hidden: word(b"zz_d"), shown: word(b"data") };
    for _ in 0..REPORTS {
        let Some(report) = lie.report() else { return };
        let found = hidden_of(&report, id);
        assert_eq!(found.len(), 1, "{} {}", report["hidden"], report["unseen"]);
        assert_eq!((&found[0]["seen_by"], &found[0]["missing_in"]), (&"obj_info".into(), &"kallsyms".into()));
        assert_eq!(found[0]["name"], symbol);
        assert_eq!(report["hidden"].as_array().expect("a list").len(), 1, "{}", report["hidden"]);
    }
}

#[test]
fn what_cannot_be_opened_is_found() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    if !has_iterator("bpf_link_seq_show") {
        return not_checked("this kernel has no iterator of links");
    }
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
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let Some(prog) = loaded("tt_linked") else { return };
    let links = [0, 1].map(|_| raw_tracepoint_open(&prog, "cgroup_remount"));
    if links.iter().any(|link| *link < 0) {
        return not_checked("no raw tracepoint cgroup_remount");
    }
    let [kept, removed] = links.map(sys::owned);
    let listed = link_id(&removed);
    drop(removed);
    let lie = Lie { command: LINK_AFTER, at: &[0], hidden: link_id(&kept) as u32, shown: listed as u32 };
    let event = sys::owned(load(PERF_EVENT, "tt_perf", &[MOV_R0, EXIT]));
    let (Some(()), Some(mut traced)) = (lie.may(), Traced::start(&["--kind", "bpf"])) else { return };
    let liar = lie.betray(inspector_of(traced.pid()).expect("it has one"));
    let text = format!("link {listed} cannot be opened");
    let patience = if emulated() { 3 * TWO_COMPARISONS } else { TWO_COMPARISONS };
    let begun = Instant::now();
    // Each attachment causes an inventory.
    let mut attached = 0;
    while !traced.says(&text) && begun.elapsed() < patience {
        let perf = sys::owned(perf_clock(1, 0, None, 0));
        assert_eq!(set_bpf(&event, &perf), 0);
        attached += 1;
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(begun.elapsed() > Duration::from_secs(9), "it may be in the making: {:?}", begun.elapsed());
    // The last end is in the next inventory.
    std::thread::sleep(patience / 2);
    let run = traced.stop();
    assert_eq!(liar.join().expect("no panic"), 0, "the inspector ends well");
    run.check();
    let said = run.stderr.iter().filter(|line| line.contains(&text)).count();
    assert_eq!(said, 1, "{:#?}", run.stderr);
    let id = id_and_tag(&event)[0];
    let of = |op: &str| run.lines().filter(|e| e["prog"]["id"] == id && e["op"] == op).count();
    let lines = || run.lines().collect::<Vec<_>>();
    assert_eq!((of("attach"), of("detach"), of("unload")), (attached, attached, 0), "{:#?}", lines());
    assert!(run.lines().all(|event| event["attach"]["link_id"] != listed && event["op"] != "hidden"), "{:#?}", lines());
}

/// Programs attached without links to a cgroup, a map of sockets, a network namespace and an interface. Each with the view
/// that shows it.
fn attached_in_four_ways(cgroup: &str) -> (Vec<(OwnedFd, &'static str)>, Vec<OwnedFd>) {
    let cgroup = sys::owned(sys::openat(libc::AT_FDCWD, &sys::c(cgroup), libc::O_RDONLY | libc::O_DIRECTORY, 0));
    let map = sys::owned(Attr::new().u32(0, 15).u32(4, 4).u32(8, 4).u32(12, 1).call(BPF_MAP_CREATE));
    let (of_cgroup, of_map) = (sys::raw(&cgroup) as u32, sys::raw(&map) as u32);
    let ways = [
        (CGROUP_SKB, 1, MOV_R0_1, of_cgroup, "iter_cgroup"),
        (SK_SKB, 5, MOV_R0_1, of_map, "iter_map"),
        (FLOW_DISSECTOR, 17, MOV_R0, 0, "iter_task"),
        (SCHED_CLS, 47, MOV_R0, index_of("lo"), "iter_task"),
    ];
    let attach = |(prog_type, attach_type, result, target, view)| {
        let prog = load_for(prog_type, attach_type, "tt_attached", result);
        if prog < 0 {
            not_checked(&format!("{view}: this kernel refuses the program: error {prog}"));
            return None;
        }
        let prog = sys::owned(prog);
        assert_eq!(prog_attach(&prog, target, attach_type), 0, "{view}");
        Some((prog, view))
    };
    (ways.into_iter().filter_map(attach).collect(), vec![cgroup, map])
}

#[test]
fn attachments_left_out_by_a_falsified_query_are_found() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    if release() < (6, 9) {
        return not_checked("no loops in iterators before 6.9");
    }
    let dir = Dir::new();
    let mount = dir.dir("cgroup");
    // The namespaces of a thread, which its processes inherit.
    let check = || {
        sys::own_mounts();
        sys::unshare(libc::CLONE_NEWNET);
        sys::mount("cgroup2", &mount, "cgroup2", 0);
        let cgroup = format!("{mount}/tracetui-{}", sys::pid());
        std::fs::create_dir(&cgroup).expect("a cgroup");
        let (attached, kept) = attached_in_four_ways(&cgroup);
        // `bpf_attr.query.prog_cnt`.
        let lie = Lie { command: BPF_PROG_QUERY, at: &[24], hidden: 1, shown: 0 };
        let honest = tracetui().args(["bpf", "--format", "json"]).output().expect("it starts");
        let honest = json(&String::from_utf8_lossy(&honest.stdout));
        let of = |report: &Value, prog: &OwnedFd| {
            let id = id_and_tag(prog)[0];
            report["programs"].as_array().expect("a list").iter().find(|prog| prog["id"] == id).expect("listed").clone()
        };
        assert_eq!(honest["hidden"], Value::Array(vec![]), "{}", honest["unseen"]);
        assert!(attached.iter().all(|(prog, _)| of(&honest, prog)["attached"][0]["via"] == "prog_attach"));
        for report in (0..REPORTS).map_while(|_| lie.report()) {
            for (prog, view) in &attached {
                let (listed, found) = (of(&report, prog), hidden_of(&report, id_and_tag(prog)[0]));
                assert_eq!(found.len(), 1, "{view}: {} {}", report["hidden"], report["unseen"]);
                assert_eq!(
                    (&listed["attached"], &listed["attached_why"]),
                    (&Value::Array(vec![]), &"not_collected".into())
                );
                assert_eq!((&found[0]["seen_by"], &found[0]["missing_in"]), (&(*view).into(), &"prog_query".into()));
            }
        }
        drop((attached, kept));
        std::fs::remove_dir(&cgroup).expect("it is empty");
    };
    std::thread::scope(|scope| scope.spawn(check).join().expect("no panic"));
}

#[test]
fn the_program_of_a_perf_event_that_a_falsified_query_denies_is_found() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    if !has_iterator("bpf_prog_seq_show") {
        return not_checked("this kernel has no iterator of programs");
    }
    let dir = Dir::new();
    let tracefs = dir.dir("tracefs");
    let tracepoint = || tracepoint_id(&tracefs, "sched/sched_process_exit");
    let tracepoint = std::thread::scope(|scope| scope.spawn(tracepoint).join().expect("no panic"));
    let prog = sys::owned(load(BPF_PROG_TYPE_TRACEPOINT, "tt_denied", &[MOV_R0, EXIT]));
    let event = perf_event(tracepoint);
    assert_eq!(set_bpf(&prog, &event), 0);
    let id = id_and_tag(&prog)[0];
    // `bpf_attr.task_fd_query.prog_id`.
    let lie = Lie { command: BPF_TASK_FD_QUERY, at: &[24], hidden: id as u32, shown: 0 };
    for report in (0..REPORTS).map_while(|_| lie.report()) {
        let found = hidden_of(&report, id);
        assert_eq!(found.len(), 1, "{} {}", report["hidden"], report["unseen"]);
        assert_eq!((&found[0]["seen_by"], &found[0]["missing_in"]), (&"iter_file".into(), &"task_fd_query".into()));
    }
}

#[test]
fn an_xdp_program_left_out_by_rtnetlink_is_found() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    if release() < (6, 9) {
        return not_checked("no loops in iterators before 6.9");
    }
    let check = || {
        sys::unshare(libc::CLONE_NEWNET);
        let Some(prog) = Some(load(XDP, "tt_xdp", &[MOV_R0, EXIT])).filter(|prog| *prog >= 0).map(sys::owned) else {
            return not_checked("an XDP program is refused");
        };
        let id = id_and_tag(&prog)[0];
        assert_eq!(set_xdp(1, sys::raw(&prog)), 0);
        let honest = tracetui().args(["bpf", "--format", "json"]).output().expect("it starts");
        assert_eq!(json(&String::from_utf8_lossy(&honest.stdout))["hidden"], Value::Array(vec![]));
        let lie = Lie { command: RECVFROM, at: &[], hidden: id as u32, shown: 0 };
        for report in (0..REPORTS).map_while(|_| lie.report()) {
            let found = hidden_of(&report, id);
            assert_eq!(found.len(), 1, "{} {}", report["hidden"], report["unseen"]);
            assert_eq!((&found[0]["seen_by"], &found[0]["missing_in"]), (&"iter_netdev".into(), &"netlink".into()));
        }
    };
    std::thread::scope(|scope| scope.spawn(check).join().expect("no panic"));
}

#[test]
fn a_program_that_is_left_out_is_shown_at_its_socket() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    if !has_iterator("bpf_prog_seq_show") {
        return not_checked("this kernel has no iterator of programs");
    }
    let Some(_before) = loaded("tt_before") else { return };
    let filter = sys::owned(load(SOCKET_FILTER, "tt_socket", &[MOV_R0, EXIT]));
    let Some(after) = loaded("tt_after") else { return };
    let (id, socket) = (id_and_tag(&filter)[0], udp_socket());
    assert_eq!(set_option(&socket, libc::SO_ATTACH_BPF, sys::raw(&filter) as u32), 0);
    drop(filter);
    let Some(rootkit) = Rootkit::start(BPF_PROG_GET_NEXT_ID, id as u32, id_and_tag(&after)[0] as u32) else { return };
    let report = json(&rootkit.report("json"));
    let unlisted = report["unlisted"].as_array().expect("a list");
    assert!(!ids(&report["programs"]).contains(&id), "it is falsified");
    assert!(unlisted.iter().any(|place| place["prog"] == id && place["type"] == "socket_filter"), "{unlisted:?}");
    assert_eq!(hidden_of(&report, id).len(), 1, "once: {}", report["hidden"]);
}
