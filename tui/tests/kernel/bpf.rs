//! bpf(2), compared with the kernel's information about the objects.

use crate::arch;
use crate::bpf_ways::event;
use crate::narrow::{Narrow, nr};
use crate::prelude::*;

pub(crate) const BPF_PROG_LOAD: u64 = 5;
const BPF_OBJ_GET_INFO_BY_FD: u64 = 15;
pub(crate) const BPF_RAW_TRACEPOINT_OPEN: u64 = 17;
pub(crate) const BPF_LINK_CREATE: u64 = 28;

pub(crate) const BPF_PROG_TYPE_TRACEPOINT: u32 = 5;
pub(crate) const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
pub(crate) const BPF_PERF_EVENT: u32 = 41;

const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_EVENT_IOC_SET_BPF: u64 = 0x4004_2408;

/// `mov64 r0, 0`.
pub(crate) const MOV_R0: u64 = 0xb7;
/// `exit`.
pub(crate) const EXIT: u64 = 0x95;

/// `union bpf_attr`, or the information about an object.
pub(crate) struct Attr(pub(crate) [u8; 128]);

impl Attr {
    pub(crate) fn new() -> Attr {
        Attr([0; 128])
    }

    pub(crate) fn put(mut self, at: usize, bytes: &[u8]) -> Attr {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(crate) fn u32(self, at: usize, value: u32) -> Attr {
        self.put(at, &value.to_le_bytes())
    }

    pub(crate) fn u64(self, at: usize, value: u64) -> Attr {
        self.put(at, &value.to_le_bytes())
    }

    fn number(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }

    /// The attributes for loading a program of `insns.0` instructions at the address `insns.1`, with the licence at
    /// `licence`.
    pub(crate) fn of_load(prog_type: u32, name: &str, insns: (usize, u64), licence: u64) -> Attr {
        Attr::new().u32(0, prog_type).u32(4, insns.0 as u32).u64(8, insns.1).u64(16, licence).put(48, name.as_bytes())
    }

    /// The attributes for attaching a program to the raw tracepoint whose name is at an address.
    pub(crate) fn of_raw_tracepoint(prog: i32, name: u64) -> Attr {
        Attr::new().u64(0, name).u32(8, prog as u32)
    }

    /// bpf(2). The memory to which the attributes point must still be valid.
    pub(crate) fn call(&mut self, command: u64) -> i64 {
        sys::call(libc::SYS_bpf, &[command, self.0.as_mut_ptr() as u64, 128])
    }
}

pub(crate) fn load(prog_type: u32, name: &str, insns: &[u64]) -> i64 {
    let licence = c("GPL");
    let insns = (insns.len(), insns.as_ptr() as u64);
    Attr::of_load(prog_type, name, insns, licence.as_ptr() as u64).call(BPF_PROG_LOAD)
}

pub(crate) fn raw_tracepoint_open(prog: &OwnedFd, name: &str) -> i64 {
    let name = c(name);
    Attr::of_raw_tracepoint(sys::raw(prog), name.as_ptr() as u64).call(BPF_RAW_TRACEPOINT_OPEN)
}

pub(crate) fn link_create(prog: &OwnedFd, target: i32, cookie: u64) -> i64 {
    let attr = Attr::new().u32(0, sys::raw(prog) as u32).u32(4, target as u32).u32(8, BPF_PERF_EVENT);
    attr.u64(16, cookie).call(BPF_LINK_CREATE)
}

/// Attaches a program to a perf event by ioctl(2).
pub(crate) fn set_bpf(prog: &OwnedFd, event: &OwnedFd) -> i64 {
    sys::call(libc::SYS_ioctl, &[sys::raw(event) as u64, PERF_EVENT_IOC_SET_BPF, sys::raw(prog) as u64])
}

/// The kernel's information about a program or a link.
pub(crate) fn info(fd: &OwnedFd) -> Attr {
    let mut info = Attr::new();
    let mut attr = Attr::new().u32(0, sys::raw(fd) as u32).u32(4, 128).u64(8, info.0.as_mut_ptr() as u64);
    assert_eq!(attr.call(BPF_OBJ_GET_INFO_BY_FD), 0);
    info
}

pub(crate) fn name(prog: &OwnedFd) -> String {
    String::from_utf8_lossy(&info(prog).0[64..80]).trim_end_matches('\0').to_owned()
}

/// The id and the tag of a program.
pub(crate) fn id_and_tag(prog: &OwnedFd) -> [i64; 2] {
    let info = info(prog);
    let tag = i64::from_be_bytes(info.0[8..16].try_into().expect("eight bytes"));
    [info.number(4).into(), tag]
}

pub(crate) fn link_id(link: &OwnedFd) -> i64 {
    info(link).number(4).into()
}

/// A perf event on a tracepoint, to which programs can be attached.
pub(crate) fn perf_event(tracepoint: u64) -> OwnedFd {
    sys::owned(event(PERF_TYPE_TRACEPOINT, tracepoint, None, 0))
}

/// The id of a tracepoint, from tracefs mounted in the caller's own mount namespace.
pub(crate) fn tracepoint_id(dir: &str, name: &str) -> u64 {
    sys::own_mounts();
    sys::mount("tracefs", dir, "tracefs", 0);
    let id = fs::read_to_string(format!("{dir}/events/{name}/id")).expect("a tracepoint");
    id.trim().parse().expect("a number")
}

/// Checks that the program's fields are those of the kernel's object.
pub(crate) fn check_prog(event: &Value, name: &str, prog_type: &str, id_and_tag: &[i64]) {
    let (id, tag) = (id_and_tag[0], format!("{:016x}", id_and_tag[1]));
    let prog = json!({"id": id, "tag": tag, "name": name, "type": prog_type, "uid": 0});
    check_has(event, json!({"prog": prog, "err": null}));
}

#[test]
fn a_load_and_a_raw_tracepoint_are_shown_as_the_kernel_has_them() {
    let acted = trace("bpf", || {
        let prog = sys::owned(load(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_raw", &[MOV_R0, EXIT]));
        let link = sys::owned(raw_tracepoint_open(&prog, "sched_process_exit"));
        let [id, tag] = id_and_tag(&prog);
        vec![id, tag, sys::raw(&prog).into(), sys::raw(&link).into(), link_id(&link)]
    });
    let Some((run, pid, numbers)) = acted else { return };
    let loaded = run.one("bpf", pid, |e| e["op"] == "load");
    check_prog(&loaded, "tt_raw", "raw_tracepoint", &numbers);
    assert_eq!((&loaded["ret"], &loaded["attach"]), (&numbers[2].into(), &Value::Null), "{loaded}");
    let attached = run.one("bpf", pid, |e| e["op"] == "attach");
    check_prog(&attached, "tt_raw", "raw_tracepoint", &numbers);
    let (target, link_id) = ("sched_process_exit", numbers[4]);
    let attach = json!({"type": "raw_tracepoint", "via": "link", "target": target, "link_id": link_id});
    check_has(&attached, json!({"ret": numbers[3], "attach": attach}));
}

#[test]
fn a_system_call_tracepoint_names_its_call() {
    let dir = Dir::alone();
    let tracefs = dir.dir("tracefs");
    let acted = trace("bpf", move || {
        let tracepoint = tracepoint_id(&tracefs, "syscalls/sys_enter_nanosleep");
        let prog = sys::owned(load(BPF_PROG_TYPE_TRACEPOINT, "tt_sys", &[MOV_R0, EXIT]));
        let event = perf_event(tracepoint);
        assert_eq!(set_bpf(&prog, &event), 0);
        id_and_tag(&prog).to_vec()
    });
    let Some((run, pid, numbers)) = acted else { return };
    let event = run.one("bpf", pid, |e| e["op"] == "attach");
    check_prog(&event, "tt_sys", "tracepoint", &numbers);
    check_has(&event, json!({"attach": {"target": "syscalls:sys_enter_nanosleep", "cookie": null}}));
}

#[test]
fn what_the_kernel_refuses_is_shown_with_its_error() {
    let acted = trace("bpf", || {
        // The first program sets no return value in r0; the second has an invalid instruction.
        let unset = load(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_unset", &[EXIT]);
        let unknown = load(BPF_PROG_TYPE_TRACEPOINT, "tt_unknown", &[0xff, EXIT]);
        let prog = sys::owned(load(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_good", &[MOV_R0, EXIT]));
        let nowhere = raw_tracepoint_open(&prog, "no_such_tracepoint");
        let no_event = link_create(&prog, 9999, 0);
        let [id, tag] = id_and_tag(&prog);
        vec![id, tag, unset, unknown, nowhere, no_event]
    });
    let Some((run, pid, numbers)) = acted else { return };
    let failed: Vec<Value> = run.kind_of("bpf", pid).into_iter().filter(|e| e["err"] != Value::Null).collect();
    let rets: Vec<_> = failed.iter().map(|e| e["ret"].as_i64().expect("a number")).collect();
    assert_eq!(rets, numbers[2..], "{failed:#?}");
    for (event, (name, prog_type)) in failed.iter().zip([("tt_unset", "raw_tracepoint"), ("tt_unknown", "tracepoint")])
    {
        let prog = &event["prog"];
        assert_eq!(event["op"], "load", "{event}");
        assert_eq!((&prog["name"], &prog["type"]), (&name.into(), &prog_type.into()), "{event}");
        assert_eq!((&prog["id"], &prog["id_why"]), (&Value::Null, &"failed".into()), "{event}");
    }
    for event in &failed[2..] {
        check_has(event, json!({"op": "attach", "prog": {"id": numbers[0]}, "attach": {"link_id": null}}));
    }
    assert_eq!(failed[2]["attach"]["target"], "no_such_tracepoint");
    assert_eq!((&failed[0]["err"], &failed[2]["err"]), (&"EACCES".into(), &"ENOENT".into()));
}

/// Clears FD_CLOEXEC, so that the programs that this process executes inherit the descriptor.
fn pass_on(fd: &OwnedFd) -> u32 {
    assert_eq!(sys::call(libc::SYS_fcntl, &[sys::raw(fd) as u64, libc::F_SETFD as u64]), 0);
    sys::raw(fd) as u32
}

#[test]
fn bpf_and_ioctl_of_a_32_bit_caller_are_shown() {
    let dir = Dir::alone();
    let tracefs = dir.dir("tracefs");
    let acted = trace("bpf", || {
        let tracepoint = perf_event(tracepoint_id(&tracefs, "sched/sched_process_exit"));
        let raw = sys::owned(load(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_raw", &[MOV_R0, EXIT]));
        let set = sys::owned(load(BPF_PROG_TYPE_TRACEPOINT, "tt_set", &[MOV_R0, EXIT]));
        let mut narrow = Narrow::new();
        let insns = narrow.put(&[MOV_R0, EXIT].map(u64::to_le_bytes).concat());
        let (licence, name) = (narrow.text("GPL"), narrow.text("sched_process_exit"));
        let loads = ["tt_narrow", "tt_unset"].into_iter().zip([(2, insns), (1, insns + 8)]);
        for (name, (count, insns)) in loads {
            let insns = (count, insns.into());
            let attr = Attr::of_load(BPF_PROG_TYPE_RAW_TRACEPOINT, name, insns, licence.into());
            let attr = narrow.put(&attr.0);
            narrow.call(arch::nr32::BPF, [BPF_PROG_LOAD as u32, attr, 128, 0]);
        }
        let attr = narrow.put(&Attr::of_raw_tracepoint(pass_on(&raw) as i32, name.into()).0);
        narrow.call(arch::nr32::BPF, [BPF_RAW_TRACEPOINT_OPEN as u32, attr, 128, 0]);
        narrow.call(nr::IOCTL, [pass_on(&tracepoint), PERF_EVENT_IOC_SET_BPF as u32, pass_on(&set), 0]);
        let Ok(caller) = narrow.run_to_its_end(&dir) else { return vec![] };
        [&id_and_tag(&raw)[..], &id_and_tag(&set), &[caller.pid.into()], &caller.rets].concat()
    });
    let Some((run, _, numbers)) = acted else { return };
    if numbers.is_empty() {
        return arch::no_narrow();
    }
    let [_, _, _, _, pid, loaded, unset, opened, by_ioctl] = numbers[..] else { panic!("nine numbers: {numbers:?}") };
    let events = run.kind_of("bpf", pid as i32);
    if events.is_empty() && doctor().contains("32-bit") {
        return cannot_run("the probes in use do not see 32-bit callers, as reported by doctor");
    }
    let rets: Vec<_> = events.iter().map(|e| e["ret"].as_i64().expect("a number")).collect();
    assert_eq!(rets, [loaded, unset, opened, by_ioctl], "{events:#?}");
    assert!(loaded >= 0 && unset < 0 && opened >= 0 && by_ioctl == 0, "the calls themselves: {rets:?}");
    for (event, name) in events.iter().zip(["tt_narrow", "tt_unset"]) {
        check_has(event, json!({"op": "load", "prog": {"name": name, "type": "raw_tracepoint"}}));
    }
    check_prog(&events[2], "tt_raw", "raw_tracepoint", &numbers[..2]);
    assert_eq!(events[2]["attach"]["target"], "sched_process_exit", "{}", events[2]);
    check_prog(&events[3], "tt_set", "tracepoint", &numbers[2..4]);
    let attach = &events[3]["attach"];
    assert_eq!((&attach["via"], &attach["target"]), (&"ioctl".into(), &"sched:sched_process_exit".into()), "{attach}");
}
