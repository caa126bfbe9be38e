//! bpf(2), compared with the kernel's information about the objects.

use crate::prelude::*;

pub(crate) const BPF_PROG_LOAD: u64 = 5;
const BPF_OBJ_GET_INFO_BY_FD: u64 = 15;
pub(crate) const BPF_RAW_TRACEPOINT_OPEN: u64 = 17;
pub(crate) const BPF_LINK_CREATE: u64 = 28;

pub(crate) const BPF_PROG_TYPE_TRACEPOINT: u32 = 5;
pub(crate) const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
pub(crate) const BPF_PERF_EVENT: u32 = 41;

const PERF_TYPE_TRACEPOINT: u32 = 2;
pub(crate) const PERF_EVENT_IOC_SET_BPF: u64 = 0x4004_2408;

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

/// A program that does nothing.
pub(crate) fn program(prog_type: u32, name: &str) -> OwnedFd {
    sys::owned(load(prog_type, name, &[MOV_R0, EXIT]))
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

pub(crate) fn info(fd: &OwnedFd) -> Attr {
    let mut info = Attr::new();
    let mut attr = Attr::new().u32(0, sys::raw(fd) as u32).u32(4, 128).u64(8, info.0.as_mut_ptr() as u64);
    assert_eq!(attr.call(BPF_OBJ_GET_INFO_BY_FD), 0);
    info
}

pub(crate) fn name(prog: &OwnedFd) -> String {
    String::from_utf8_lossy(&info(prog).0[64..80]).trim_end_matches('\0').to_owned()
}

pub(crate) fn id_and_tag(prog: &OwnedFd) -> [i64; 2] {
    let info = info(prog);
    let tag = i64::from_be_bytes(info.0[8..16].try_into().expect("eight bytes"));
    [info.number(4).into(), tag]
}

pub(crate) fn link_id(link: &OwnedFd) -> i64 {
    info(link).number(4).into()
}

pub(crate) fn perf_event(tracepoint: u64) -> OwnedFd {
    sys::owned(bpf_ways::event(PERF_TYPE_TRACEPOINT, tracepoint, None, 0))
}

/// The id of a tracepoint, from tracefs mounted in the caller's own mount namespace.
pub(crate) fn tracepoint_id(dir: &str, name: &str) -> u64 {
    sys::own_mounts();
    sys::mount("tracefs", dir, "tracefs", 0);
    let id = fs::read_to_string(format!("{dir}/events/{name}/id")).expect("a tracepoint");
    id.trim().parse().expect("a number")
}

fn fields(name: &str, prog_type: &str, id_and_tag: [i64; 2]) -> Value {
    let (id, tag) = (id_and_tag[0], format!("{:016x}", id_and_tag[1]));
    let prog = json!({"id": id, "tag": tag, "name": name, "type": prog_type, "uid": 0});
    json!({"prog": prog, "err": null})
}

/// Checks that the program's fields are those of the kernel's object.
pub(crate) fn check_prog(event: &Value, name: &str, prog_type: &str, id_and_tag: &[i64]) {
    check_has(event, fields(name, prog_type, [id_and_tag[0], id_and_tag[1]]));
}

#[test]
fn loads_and_attachments_are_shown_as_the_kernel_has_them() {
    check(&KIND, CASES);
}

#[test]
fn bpf_and_ioctl_of_a_32_bit_caller_are_shown() {
    check_callers(&KIND, &[("32-bit", by_narrow)], |event| (event["prog"]["name"] == "tt_narrow").then_some("32-bit"));
}

const KIND: [&str; 2] = ["--kind", "bpf"];

fn told(op: &str, ret: i64, more: Value) -> Value {
    with(event("bpf", sys::pid(), json!({"op": op, "ret": ret})), more)
}

/// A call with a program that did what was asked.
fn done(op: &str, ret: i64, prog: &OwnedFd, prog_type: &str, attach: Value) -> Value {
    assert!(ret >= 0, "{op}: {ret}");
    told(op, ret, with(fields(&name(prog), prog_type, id_and_tag(prog)), json!({"attach": attach})))
}

const CASES: &[Case] = &[
    ("raw tracepoint", |_| {
        let prog = program(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_raw");
        let link = sys::owned(raw_tracepoint_open(&prog, "sched_process_exit"));
        let (target, link_id) = ("sched_process_exit", link_id(&link));
        let attach = json!({"type": "raw_tracepoint", "via": "link", "target": target, "link_id": link_id});
        Ok(vec![
            done("load", sys::raw(&prog).into(), &prog, "raw_tracepoint", Value::Null),
            done("attach", sys::raw(&link).into(), &prog, "raw_tracepoint", attach),
        ])
    }),
    // A tracepoint of a system call names the call.
    ("system call", |dir| {
        let event = perf_event(tracepoint_id(&dir.dir("tracefs"), "syscalls/sys_enter_nanosleep"));
        let prog = program(BPF_PROG_TYPE_TRACEPOINT, "tt_sys");
        let attach = json!({"target": "syscalls:sys_enter_nanosleep", "cookie": null});
        let load = done("load", sys::raw(&prog).into(), &prog, "tracepoint", Value::Null);
        Ok(vec![load, done("attach", set_bpf(&prog, &event), &prog, "tracepoint", attach)])
    }),
    ("refused", |_| {
        let prog = program(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_good");
        let load_it = |name: &str, prog_type: u32, shown: &str, insns: &[u64]| {
            let prog = json!({"name": name, "type": shown, "id": null, "id_why": "failed"});
            told("load", load(prog_type, name, insns), json!({"prog": prog, "err": {"?not": null}}))
        };
        let attach = |ret: i64, target: Value| {
            let attach = json!({"link_id": null, "target": target});
            told("attach", ret, json!({"prog": {"id": id_and_tag(&prog)[0]}, "attach": attach, "err": {"?not": null}}))
        };
        let told = vec![
            done("load", sys::raw(&prog).into(), &prog, "raw_tracepoint", Value::Null),
            // It sets no return value in r0; the next one has an invalid instruction.
            with(
                load_it("tt_unset", BPF_PROG_TYPE_RAW_TRACEPOINT, "raw_tracepoint", &[EXIT]),
                json!({"err": "EACCES"}),
            ),
            load_it("tt_unknown", BPF_PROG_TYPE_TRACEPOINT, "tracepoint", &[0xff, EXIT]),
            with(
                attach(raw_tracepoint_open(&prog, "no_such_tracepoint"), "no_such_tracepoint".into()),
                json!({"err": "ENOENT"}),
            ),
            attach(link_create(&prog, 9999, 0), json!({})),
        ];
        Ok(told)
    }),
    // An ioctl of files of other kinds fails, or they know the same number for something else.
    ("other files", |_| {
        let prog = program(BPF_PROG_TYPE_TRACEPOINT, "tt_nowhere");
        let pipe = sys::pipe().map(|fd| sys::owned(fd.into()));
        let (master, slave) = pty::open();
        let null = sys::owned(sys::open_path("/dev/null"));
        for file in [&pipe[0], &master, &slave, &null, &prog] {
            assert!(set_bpf(&prog, file) < 0);
        }
        let load = done("load", sys::raw(&prog).into(), &prog, "tracepoint", Value::Null);
        Ok(vec![load, event("bpf", sys::pid(), json!({"?none": true, "op": "attach"}))])
    }),
];

/// Clears FD_CLOEXEC, so that the programs that this process executes inherit the descriptor.
fn pass_on(fd: &OwnedFd) -> u32 {
    assert_eq!(sys::call(libc::SYS_fcntl, &[sys::raw(fd) as u64, libc::F_SETFD as u64]), 0);
    sys::raw(fd) as u32
}

fn by_narrow(dir: &Dir) -> Told {
    let tracepoint = perf_event(tracepoint_id(&dir.dir("tracefs"), "sched/sched_process_exit"));
    let raw = program(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_raw");
    let set = program(BPF_PROG_TYPE_TRACEPOINT, "tt_set");
    let mut narrow = Narrow::new();
    let insns = narrow.put(&[MOV_R0, EXIT].map(u64::to_le_bytes).concat());
    let (licence, target) = (narrow.text("GPL"), narrow.text("sched_process_exit"));
    for (name, count, insns) in [("tt_narrow", 2, insns), ("tt_unset", 1, insns + 8)] {
        let attr = Attr::of_load(BPF_PROG_TYPE_RAW_TRACEPOINT, name, (count, insns.into()), licence.into());
        let attr = narrow.put(&attr.0);
        narrow.call(arch::nr32::BPF, [BPF_PROG_LOAD as u32, attr, 128, 0]);
    }
    let attr = narrow.put(&Attr::of_raw_tracepoint(pass_on(&raw) as i32, target.into()).0);
    narrow.call(arch::nr32::BPF, [BPF_RAW_TRACEPOINT_OPEN as u32, attr, 128, 0]);
    narrow.call(nr::IOCTL, [pass_on(&tracepoint), PERF_EVENT_IOC_SET_BPF as u32, pass_on(&set), 0]);
    let caller = narrow.run_to_its_end(dir)?;
    let [loaded, unset, opened, by_ioctl] = caller.rets[..] else { panic!("four calls: {:?}", caller.rets) };
    assert!(loaded >= 0 && unset < 0 && opened >= 0 && by_ioctl == 0, "the calls themselves: {:?}", caller.rets);
    let loads = [("tt_narrow", loaded), ("tt_unset", unset)]
        .map(|(name, ret)| told("load", ret, json!({"prog": {"name": name, "type": "raw_tracepoint"}})));
    let by_ioctl_at = json!({"via": "ioctl", "target": "sched:sched_process_exit"});
    let attaches = [
        done("attach", opened, &raw, "raw_tracepoint", json!({"target": "sched_process_exit"})),
        done("attach", by_ioctl, &set, "tracepoint", by_ioctl_at),
    ];
    Ok(loads.into_iter().chain(attaches).map(|event| with(event, json!({"pid": caller.pid}))).collect())
}
