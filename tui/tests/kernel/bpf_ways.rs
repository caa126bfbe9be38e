//! The ways to attach a program, each for real, and to end the attachment.

use crate::bpf::{
    Attr, BPF_LINK_CREATE, BPF_PERF_EVENT, BPF_PROG_LOAD, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_TRACEPOINT, EXIT,
    MOV_R0, link_create, link_id, load, perf_event, raw_tracepoint_open, set_bpf, tracepoint_id,
};
use crate::bpf_maps::{self, FunctionTable};
use crate::prelude::*;

pub(crate) const BPF_MAP_CREATE: u64 = 0;
const BPF_OBJ_PIN: u64 = 6;
pub(crate) const BPF_PROG_ATTACH: u64 = 8;
pub(crate) const BPF_PROG_DETACH: u64 = 9;
const BPF_RAW_TRACEPOINT_OPEN: u64 = 17;
const BPF_LINK_DETACH: u64 = 34;

pub(crate) const SOCKET_FILTER: u32 = 1;
pub(crate) const KPROBE: u32 = 2;
pub(crate) const SCHED_CLS: u32 = 3;
pub(crate) const XDP: u32 = 6;
pub(crate) const PERF_EVENT: u32 = 7;
pub(crate) const CGROUP_SKB: u32 = 8;
pub(crate) const SK_SKB: u32 = 14;
pub(crate) const FLOW_DISSECTOR: u32 = 22;
const TRACING: u32 = 26;
const EXT: u32 = 28;
const LSM: u32 = 29;
pub(crate) const SK_LOOKUP: u32 = 30;
const NETFILTER: u32 = 32;

const TRACE_RAW_TP: u32 = 23;
const TRACE_FENTRY: u32 = 24;
const TRACE_FEXIT: u32 = 25;
const MODIFY_RETURN: u32 = 26;
const LSM_MAC: u32 = 27;
const TRACE_ITER: u32 = 28;
const TRACE_KPROBE_MULTI: u32 = 42;
const LSM_CGROUP: u32 = 43;
const STRUCT_OPS: u32 = 44;
const TRACE_UPROBE_MULTI: u32 = 48;
const NETKIT_PRIMARY: u32 = 54;

pub(crate) const COOKIE: u64 = 0x1234_5678_9abc;

/// `mov64 r0, 1`.
pub(crate) const MOV_R0_1: u64 = 0x1_0000_00b7;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// By a system call.
    Detach,
    /// The last descriptor is closed.
    Close,
    /// The cgroup, or the map, is removed.
    Remove,
}

/// The ways, after how they end.
macro_rules! ways {
    ($([$($end:ident)*] $($way:ident)*;)*) => {
        /// A lirc device (remote controls) is on no machine of ours. Filters of classic BPF, which have no id, and those of seccomp and tun
        /// are in `attachments.rs`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Way { $($($way,)*)* }
        use Way::*;

        const WAYS: &[(&[Way], &[End])] = &[$((&[$($way),*], &[$(End::$end),*])),*];
    };
}

pub(crate) fn ways() -> impl Iterator<Item = (Way, &'static [End])> {
    WAYS.iter().flat_map(|(ways, ends)| ways.iter().map(move |way| (*way, *ends)))
}

ways! {
    [Close] TracepointIoctl TracepointLink RawTracepoint BtfTracepoint KprobeIoctl KretprobeIoctl KprobeLink KretprobeLink;
    [Close] KprobeMulti KretprobeMulti UprobeIoctl UretprobeIoctl UprobeLink UretprobeLink UprobeMulti UretprobeMulti;
    [Close] PerfLink PerfIoctl Fentry Fexit FmodRet Lsm;
    [Close Remove] LsmCgroup;
    [Close] Freplace Iter;
    [Close Detach] XdpLink;
    [Detach] XdpNetlink TcIngress TcEgress;
    [Close Detach] TcxLink;
    [Detach] TcxAttach;
    [Close Detach] NetkitLink;
    [Detach] NetkitAttach;
    [Close Detach Remove] CgroupLink;
    [Detach Remove] CgroupAttach;
    [Close Detach] SockmapLink;
    [Detach Remove] Sockmap;
    [Close Detach] FlowDissectorLink;
    [Detach] FlowDissector;
    [Close Detach] SkLookup;
    [Close] Netfilter;
    [Close Detach] Socket Reuseport StructOpsLink;
    [Detach] StructOps;
    [Close] SchedExt;
    [Detach Remove] ProgArray Devmap Cpumap;
}

/// Functions of the kernel: without another call than that of a test, and hooks of rare calls.
const FUNCTIONS: [&str; 5] =
    ["bpf_fentry_test1", "bpf_modify_return_test", "bpf_lsm_quotactl", "bpf_lsm_socket_bind", "bpf_iter_bpf_map"];

pub(crate) struct Places {
    tracepoint: u64,
    uprobe: u32,
    kprobe: u32,
    file: String,
    /// A cgroup of this process, without processes.
    pub(crate) cgroups: String,
    pub(crate) netns: File,
    pub(crate) outer: File,
    /// The ids of [`FUNCTIONS`], and of the type of a tracepoint.
    functions: Vec<Option<u32>>,
    raw_tracepoint: Option<u32>,
}

impl Places {
    /// Moves this process, which has one thread, to its own mount and network namespaces.
    pub(crate) fn new(tracefs: &str, cgroups: &str, file: &str) -> Places {
        let outer = File::open("/proc/thread-self/ns/net").expect("a namespace");
        let tracepoint = tracepoint_id(tracefs, "sched/sched_process_exit");
        sys::mount("cgroup2", cgroups, "cgroup2", 0);
        let cgroups = format!("{cgroups}/tt-ends-{}", sys::pid());
        fs::create_dir(&cgroups).expect("a cgroup");
        net::own_net();
        let netns = File::open("/proc/thread-self/ns/net").expect("a namespace");
        let btf = Btf::running().ok();
        let functions = btf.as_ref().map_or_else(|| vec![None; FUNCTIONS.len()], |btf| btf.funcs(&FUNCTIONS));
        let raw_tracepoint = btf.and_then(|btf| btf.typedef("btf_trace_sched_process_exit"));
        let [uprobe, kprobe] = ["uprobe", "kprobe"].map(|name| pmu(name).unwrap_or(u32::MAX));
        let file = file.to_owned();
        Places { tracepoint, uprobe, kprobe, file, cgroups, netns, outer, functions, raw_tracepoint }
    }

    fn function(&self, name: &str) -> Result<u32, i64> {
        let at = FUNCTIONS.iter().position(|known| *known == name).expect("one of them");
        self.functions[at].ok_or(-i64::from(libc::ENOENT))
    }
}

/// What the events of an attachment must say: the type, the mechanism and the beginning of the target.
pub(crate) fn expected(way: Way, name: &str, pid: i32, file: &str, netns: i64) -> [String; 3] {
    let netns = || format!("net:[{netns}]");
    let cgroup = || format!("/tt-ends-{pid}/{name}");
    let (kind, via, target) = match way {
        TracepointIoctl => ("tracepoint", "ioctl", "sched:sched_process_exit".to_owned()),
        TracepointLink => ("tracepoint", "link", "sched:sched_process_exit".to_owned()),
        RawTracepoint | BtfTracepoint => ("raw_tracepoint", "link", "sched_process_exit".to_owned()),
        KprobeIoctl => ("kprobe", "ioctl", "do_nanosleep".to_owned()),
        KretprobeIoctl => ("kretprobe", "ioctl", "do_nanosleep".to_owned()),
        KprobeLink | KprobeMulti => ("kprobe", "link", "do_nanosleep".to_owned()),
        KretprobeLink | KretprobeMulti => ("kretprobe", "link", "do_nanosleep".to_owned()),
        UprobeIoctl => ("uprobe", "ioctl", file.to_owned()),
        UretprobeIoctl => ("uretprobe", "ioctl", file.to_owned()),
        UprobeLink | UprobeMulti => ("uprobe", "link", file.to_owned()),
        UretprobeLink | UretprobeMulti => ("uretprobe", "link", file.to_owned()),
        PerfLink => ("perf_event", "link", "cpu-clock".to_owned()),
        PerfIoctl => ("perf_event", "ioctl", "task-clock".to_owned()),
        Fentry => ("fentry", "link", FUNCTIONS[0].to_owned()),
        Fexit => ("fexit", "link", FUNCTIONS[0].to_owned()),
        FmodRet => ("fmod_ret", "link", FUNCTIONS[1].to_owned()),
        Lsm => ("lsm", "link", FUNCTIONS[2].to_owned()),
        LsmCgroup => ("cgroup", "link", cgroup()),
        Freplace => ("freplace", "link", "tt_main".to_owned()),
        Iter => ("iter", "link", "bpf_map".to_owned()),
        XdpLink => ("xdp", "link", "lo".to_owned()),
        XdpNetlink => ("xdp", "netlink", "lo".to_owned()),
        TcIngress | TcEgress => ("tc", "netlink", "lo".to_owned()),
        TcxLink => ("tcx", "link", "lo".to_owned()),
        TcxAttach => ("tcx", "prog_attach", "ifindex:".to_owned()),
        NetkitLink => ("netkit", "link", "tt_nk".to_owned()),
        NetkitAttach => ("netkit", "prog_attach", "ifindex:".to_owned()),
        CgroupLink => ("cgroup", "link", cgroup()),
        CgroupAttach => ("cgroup", "prog_attach", cgroup()),
        SockmapLink => ("sockmap", "link", "tt_sockmap".to_owned()),
        Sockmap => ("sockmap", "prog_attach", "tt_sockmap".to_owned()),
        FlowDissectorLink => ("flow_dissector", "link", netns()),
        FlowDissector => ("flow_dissector", "prog_attach", netns()),
        SkLookup => ("sk_lookup", "link", netns()),
        Netfilter => ("netfilter", "link", "ip output priority -128".to_owned()),
        Socket => ("socket_filter", "setsockopt", "socket:".to_owned()),
        Reuseport => ("reuseport", "setsockopt", "socket:".to_owned()),
        StructOpsLink | SchedExt => ("struct_ops", "link", name.to_owned()),
        StructOps => ("struct_ops", "map", name.to_owned()),
        ProgArray => ("prog_array", "map", "tt_map".to_owned()),
        Devmap => ("devmap", "map", "tt_map".to_owned()),
        Cpumap => ("cpumap", "map", "tt_map".to_owned()),
    };
    [kind.to_owned(), via.to_owned(), target]
}

/// An attachment: what holds it, and what else ends it.
pub(crate) struct Made {
    /// 0 without a link.
    pub(crate) link: i64,
    pub(crate) kept: Vec<OwnedFd>,
    pub(crate) detach: Box<dyn FnOnce() -> i64>,
    pub(crate) remove: Box<dyn FnOnce()>,
}

pub(crate) fn opened(fd: i64) -> Result<OwnedFd, i64> {
    if fd < 0 { Err(fd) } else { Ok(sys::owned(fd)) }
}

pub(crate) fn load_as(
    prog_type: u32,
    attach_type: u32,
    btf_id: u32,
    name: &str,
    insns: &[u64],
) -> Result<OwnedFd, i64> {
    let licence = c("GPL");
    let attr = Attr::of_load(prog_type, name, (insns.len(), insns.as_ptr() as u64), licence.as_ptr() as u64);
    opened(attr.u32(68, attach_type).u32(108, btf_id).call(BPF_PROG_LOAD))
}

/// Like [`load_as`], a program that only returns what `insn` sets.
pub(crate) fn load_for(prog_type: u32, attach_type: u32, name: &str, insn: u64) -> Result<OwnedFd, i64> {
    load_as(prog_type, attach_type, 0, name, &[insn, EXIT])
}

/// BPF_LINK_CREATE: program, target, attach type, flags, and what follows at 16.
pub(crate) fn create(prog: &OwnedFd, target: u32, attach_type: u32, rest: impl FnOnce(Attr) -> Attr) -> i64 {
    let attr = Attr::new().u32(0, sys::raw(prog) as u32).u32(4, target).u32(8, attach_type);
    rest(attr).call(BPF_LINK_CREATE)
}

/// BPF_PROG_ATTACH or BPF_PROG_DETACH of a descriptor, with flags and the program that it replaces.
pub(crate) fn change_at(command: u64, place: (u32, u32), fd: u32, flags: u32, replaced: u32) -> i64 {
    let (target, attach_type) = place;
    Attr::new().u32(0, target).u32(4, fd).u32(8, attach_type).u32(12, flags).u32(16, replaced).call(command)
}

pub(crate) fn prog_attach(prog: &OwnedFd, target: u32, attach_type: u32) -> i64 {
    change_at(BPF_PROG_ATTACH, (target, attach_type), sys::raw(prog) as u32, 0, 0)
}

pub(crate) fn new_cgroup(path: &str) -> OwnedFd {
    fs::create_dir(path).expect("a cgroup");
    File::open(path).expect("a cgroup").into()
}

pub(crate) fn event(event_type: u32, config: u64, path: Option<&CString>, offset: u64) -> i64 {
    let path = path.map_or(0, |path| path.as_ptr() as u64);
    let mut attr = Attr::new().u32(0, event_type).u32(4, 112).u64(8, config).u64(56, path).u64(64, offset);
    call(libc::SYS_perf_event_open, &[attr.0.as_mut_ptr() as u64, !0, 0, !0, 8])
}

pub(crate) fn index_of(interface: &str) -> u32 {
    // SAFETY: the name is a C string that outlives the call.
    unsafe { libc::if_nametoindex(c(interface).as_ptr()) }
}

pub(crate) fn pin_at(program: &OwnedFd, path: &str) {
    let path = c(path);
    Attr::new().u64(0, path.as_ptr() as u64).u32(8, sys::raw(program) as u32).call(BPF_OBJ_PIN);
}

pub(crate) fn run(program: &str, args: &[&str]) -> i64 {
    let done = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if done.is_ok_and(|status| status.success()) { 0 } else { -i64::from(libc::ENOSYS) }
}

pub(crate) fn udp_socket() -> OwnedFd {
    sys::owned(call(libc::SYS_socket, &[libc::AF_INET as u64, libc::SOCK_DGRAM as u64]))
}

/// `setsockopt(SOL_SOCKET)` of a number.
pub(crate) fn set_option(socket: &OwnedFd, option: i32, value: u32) -> i64 {
    let at = (&raw const value) as u64;
    call(libc::SYS_setsockopt, &[sys::raw(socket) as u64, libc::SOL_SOCKET as u64, option as u64, at, 4])
}

/// The type of a perf PMU; `None` if the kernel does not have it.
pub(crate) fn pmu(name: &str) -> Option<u32> {
    let text = fs::read_to_string(format!("/sys/bus/event_source/devices/{name}/type")).ok()?;
    text.trim().parse().ok()
}

pub(crate) fn btf_id(function: &str) -> Option<u32> {
    Btf::running().ok()?.func(function)
}

pub(crate) fn sockmap() -> Result<OwnedFd, i64> {
    opened(Attr::new().u32(0, 15).u32(4, 4).u32(8, 4).u32(12, 1).put(28, b"tt_sockmap").call(BPF_MAP_CREATE))
}

/// A program that can be attached in this way, and what it needs.
fn loaded(way: Way, name: &str, places: &Places) -> Result<(OwnedFd, Vec<OwnedFd>), i64> {
    let plain = |prog_type| opened(load(prog_type, name, &[MOV_R0, EXIT]));
    let tracing =
        |attach_type, function: Result<u32, i64>| load_as(TRACING, attach_type, function?, name, &[MOV_R0, EXIT]);
    let program = match way {
        TracepointIoctl | TracepointLink => plain(BPF_PROG_TYPE_TRACEPOINT),
        RawTracepoint => plain(BPF_PROG_TYPE_RAW_TRACEPOINT),
        BtfTracepoint => tracing(TRACE_RAW_TP, places.raw_tracepoint.ok_or(-i64::from(libc::ENOENT))),
        KprobeIoctl | KretprobeIoctl | KprobeLink | KretprobeLink => plain(KPROBE),
        UprobeIoctl | UretprobeIoctl | UprobeLink | UretprobeLink => plain(KPROBE),
        KprobeMulti | KretprobeMulti => load_for(KPROBE, TRACE_KPROBE_MULTI, name, MOV_R0),
        UprobeMulti | UretprobeMulti => load_for(KPROBE, TRACE_UPROBE_MULTI, name, MOV_R0),
        PerfLink | PerfIoctl => plain(PERF_EVENT),
        Fentry => tracing(TRACE_FENTRY, places.function(FUNCTIONS[0])),
        Fexit => tracing(TRACE_FEXIT, places.function(FUNCTIONS[0])),
        FmodRet => tracing(MODIFY_RETURN, places.function(FUNCTIONS[1])),
        Lsm => load_as(LSM, LSM_MAC, places.function(FUNCTIONS[2])?, name, &[MOV_R0, EXIT]),
        LsmCgroup => load_as(LSM, LSM_CGROUP, places.function(FUNCTIONS[3])?, name, &[MOV_R0_1, EXIT]),
        Freplace => {
            let target = with_btf(XDP, "tt_target", None)?;
            return Ok((with_btf(EXT, name, Some(&target))?, vec![target]));
        }
        Iter => tracing(TRACE_ITER, places.function(FUNCTIONS[4])),
        XdpLink => load_for(XDP, 37, name, MOV_R0),
        XdpNetlink => plain(XDP),
        TcIngress | TcEgress | TcxLink | TcxAttach | NetkitLink | NetkitAttach => plain(SCHED_CLS),
        CgroupLink => load_for(CGROUP_SKB, 0, name, MOV_R0_1),
        CgroupAttach => load_for(CGROUP_SKB, 1, name, MOV_R0_1),
        SockmapLink | Sockmap => load_for(SK_SKB, 5, name, MOV_R0_1),
        FlowDissectorLink | FlowDissector => plain(FLOW_DISSECTOR),
        SkLookup => load_for(SK_LOOKUP, 36, name, MOV_R0_1),
        Netfilter => load_for(NETFILTER, 45, name, MOV_R0_1),
        Socket | Reuseport => plain(SOCKET_FILTER),
        ProgArray => plain(XDP),
        Devmap => load_for(XDP, bpf_maps::XDP_DEVMAP, name, MOV_R0),
        Cpumap => load_for(XDP, bpf_maps::XDP_CPUMAP, name, MOV_R0),
        StructOpsLink | StructOps | SchedExt => unreachable!("loaded with their table"),
    };
    Ok((program?, vec![]))
}

/// An XDP program with types, or one that replaces its main function.
fn with_btf(prog_type: u32, name: &str, target: Option<&OwnedFd>) -> Result<OwnedFd, i64> {
    const fn info(kind: u32, count: u32) -> u32 {
        kind << 24 | count
    }
    // int; struct xdp_md; its pointer; int (struct xdp_md *ctx); the global function tt_main.
    let types = [
        &[1, info(1, 0), 4, 32][..],
        &[5, info(4, 0), 24],
        &[0, info(2, 0), 2],
        &[0, info(13, 1), 1, 12, 3],
        &[16, info(12, 1), 4],
    ];
    let types = opened(bpf_maps::load_btf(&types.concat(), b"\0int\0xdp_md\0ctx\0tt_main\0"))?;
    const FUNCTION: u32 = 5;
    let (licence, insns, functions) = (c("GPL"), [MOV_R0, EXIT], [0, FUNCTION]);
    let attr = Attr::of_load(prog_type, name, (2, insns.as_ptr() as u64), licence.as_ptr() as u64);
    let attr = attr.u32(72, sys::raw(&types) as u32).u32(76, 8).u64(80, functions.as_ptr() as u64).u32(88, 1);
    let replaced = target.map(|target| (FUNCTION, sys::raw(target) as u32)).unwrap_or_default();
    opened(attr.u32(108, replaced.0).u32(112, replaced.1).call(BPF_PROG_LOAD))
}

fn by_link(link: i64, mut kept: Vec<OwnedFd>) -> Result<Made, i64> {
    let link = opened(link)?;
    let (id, fd) = (link_id(&link), sys::raw(&link) as u32);
    kept.insert(0, link);
    let detach = move || Attr::new().u32(0, fd).call(BPF_LINK_DETACH);
    Ok(Made { link: id, kept, detach: Box::new(detach), remove: Box::new(|| {}) })
}

fn without_link(done: i64, kept: Vec<OwnedFd>, detach: impl FnOnce() -> i64 + 'static) -> Result<Made, i64> {
    let made = || Made { link: 0, kept, detach: Box::new(detach), remove: Box::new(|| {}) };
    if done < 0 { Err(done) } else { Ok(made()) }
}

/// BPF_PROG_ATTACH, and BPF_PROG_DETACH later.
pub(crate) fn by_attach(prog: &OwnedFd, target: u32, attach_type: u32, kept: Vec<OwnedFd>) -> Result<Made, i64> {
    let done = prog_attach(prog, target, attach_type);
    let again = prog.try_clone().expect("a descriptor");
    let detach = move || change_at(BPF_PROG_DETACH, (target, attach_type), sys::raw(&again) as u32, 0, 0);
    without_link(done, kept, detach)
}

/// Where BPF_PROG_ATTACH attaches in a way: type of the program, its expected attach type, attach type, target.
pub(crate) fn place_of(way: Way, cgroup: &OwnedFd, map: &OwnedFd) -> (u32, u32, u32, u32) {
    match way {
        CgroupAttach => (CGROUP_SKB, 1, 1, sys::raw(cgroup) as u32),
        Sockmap => (SK_SKB, 5, 5, sys::raw(map) as u32),
        FlowDissector => (FLOW_DISSECTOR, 0, 17, 0),
        _ => (SCHED_CLS, 0, 47, index_of("lo")),
    }
}

fn by_map(prog: &OwnedFd, map_type: u32, first: Option<u32>) -> Result<Made, i64> {
    let map = bpf_maps::new_map(map_type, if first.is_some() { 8 } else { 4 }).ok_or(-i64::from(libc::EINVAL))?;
    let value = [first.map(u32::to_ne_bytes).as_slice().concat(), sys::raw(prog).to_ne_bytes().to_vec()].concat();
    let (done, again) = (bpf_maps::update(&map, 0, &value), map.try_clone().expect("a descriptor"));
    without_link(done, vec![map], move || bpf_maps::delete(&again, 0))
}

fn by_table(way: Way, name: &str) -> Result<(OwnedFd, Made), i64> {
    const F_LINK: u32 = 1 << 13;
    let flags = if way == StructOps { 0 } else { F_LINK };
    let (table, function) = match way {
        SchedExt => ("sched_ext_ops", &["exit"][..]),
        _ => ("tcp_congestion_ops", &["ssthresh", "cong_avoid", "undo_cwnd"][..]),
    };
    let FunctionTable { map, value, mut programs } = FunctionTable::new(table, name, function, flags)?;
    let done = bpf_maps::update(&map, 0, &value);
    if done < 0 {
        return Err(done);
    }
    let first = programs.remove(0).1;
    let mut kept: Vec<_> = programs.into_iter().map(|(_, program)| program).collect();
    if way == StructOps {
        let again = map.try_clone().expect("a descriptor");
        kept.push(map);
        return Ok((first, without_link(done, kept, move || bpf_maps::delete(&again, 0))?));
    }
    let made = by_link(create(&map, 0, STRUCT_OPS, |attr| attr), kept)?;
    Ok((first, made))
}

pub(crate) fn make(way: Way, places: &Places, name: &str) -> Result<(OwnedFd, Made), i64> {
    if matches!(way, StructOpsLink | StructOps | SchedExt) {
        return by_table(way, name);
    }
    let (program, needed) = loaded(way, name, places)?;
    let mut made = attach(way, &program, places, name)?;
    made.kept.extend(needed);
    Ok((program, made))
}

fn attach(way: Way, prog: &OwnedFd, places: &Places, name: &str) -> Result<Made, i64> {
    let (lo, file, function) = (index_of("lo"), c(places.file.as_str()), c("do_nanosleep"));
    let probe = |pmu: u32, returns: u64, path: &CString, offset| opened(event(pmu, returns, Some(path), offset));
    let uprobe = |returns, offset| probe(places.uprobe, returns, &file, offset);
    let kprobe = |returns| probe(places.kprobe, returns, &function, 0);
    let linked = |event: Result<OwnedFd, i64>| {
        let event = event?;
        by_link(create(prog, sys::raw(&event) as u32, BPF_PERF_EVENT, |attr| attr), vec![event])
    };
    let set = |event: Result<OwnedFd, i64>| {
        let event = event?;
        without_link(set_bpf(prog, &event), vec![event], || 0)
    };
    let netns = || places.netns.as_raw_fd() as u32;
    match way {
        TracepointIoctl => set(Ok(perf_event(places.tracepoint))),
        TracepointLink => {
            let event = perf_event(places.tracepoint);
            by_link(link_create(prog, sys::raw(&event), COOKIE), vec![event])
        }
        RawTracepoint => by_link(raw_tracepoint_open(prog, "sched_process_exit"), vec![]),
        BtfTracepoint | Fentry | Fexit | FmodRet | Lsm | Freplace => {
            by_link(Attr::of_raw_tracepoint(sys::raw(prog), 0).call(BPF_RAW_TRACEPOINT_OPEN), vec![])
        }
        KprobeIoctl => set(kprobe(0)),
        KretprobeIoctl => set(kprobe(1)),
        KprobeLink => linked(kprobe(0)),
        KretprobeLink => linked(kprobe(1)),
        KprobeMulti | KretprobeMulti => {
            let names = [function.as_ptr() as u64];
            let returns = u32::from(way == KretprobeMulti);
            let multi = |attr: Attr| attr.u32(16, returns).u32(20, 1).u64(24, names.as_ptr() as u64);
            by_link(create(prog, 0, TRACE_KPROBE_MULTI, multi), vec![])
        }
        UprobeIoctl => set(uprobe(0, 0x1000)),
        UretprobeIoctl => set(uprobe(1, 0x1000)),
        UprobeLink => linked(uprobe(0, 0x1008)),
        UretprobeLink => linked(uprobe(1, 0x1008)),
        UprobeMulti | UretprobeMulti => {
            let offsets = [0x1018u64, 0x1010];
            let returns = u32::from(way == UretprobeMulti);
            let multi = |attr: Attr| attr.u64(16, file.as_ptr() as u64).u64(24, offsets.as_ptr() as u64);
            by_link(create(prog, 0, TRACE_UPROBE_MULTI, |attr| multi(attr).u32(48, 2).u32(52, returns)), vec![])
        }
        PerfLink => linked(opened(event(1, 0, None, 0))),
        PerfIoctl => set(opened(event(1, 1, None, 0))),
        Iter => by_link(create(prog, 0, TRACE_ITER, |attr| attr), vec![]),
        XdpLink => by_link(create(prog, lo, 37, |attr| attr.u32(12, 2)), vec![]),
        XdpNetlink => without_link(net::set_xdp(lo, sys::raw(prog)), vec![], move || net::set_xdp(lo, -1)),
        TcIngress | TcEgress => {
            let parent = if way == TcIngress { net::INGRESS } else { net::INGRESS + 1 };
            // It may be there.
            net::add_clsact(lo, None);
            without_link(net::add_filter(lo, parent, sys::raw(prog)), vec![], move || net::remove_filters(lo, parent))
        }
        TcxLink => by_link(create(prog, lo, 46, |attr| attr), vec![]),
        TcxAttach => by_attach(prog, lo, 47, vec![]),
        NetkitLink | NetkitAttach => {
            let made = net::pair("netkit", Some("tt_nk"));
            let index = index_of("tt_nk");
            match way {
                _ if index == 0 => Err(made),
                NetkitLink => by_link(create(prog, index, NETKIT_PRIMARY, |attr| attr), vec![]),
                _ => by_attach(prog, index, NETKIT_PRIMARY, vec![]),
            }
        }
        CgroupLink | CgroupAttach | LsmCgroup => {
            let path = format!("{}/{name}", places.cgroups);
            let dir = new_cgroup(&path);
            let fd = sys::raw(&dir) as u32;
            let made = match way {
                CgroupLink => by_link(create(prog, fd, 0, |attr| attr), vec![dir]),
                LsmCgroup => by_link(create(prog, fd, LSM_CGROUP, |attr| attr), vec![dir]),
                _ => by_attach(prog, fd, 1, vec![dir]),
            };
            let remove = move || fs::remove_dir(&path).expect("it is empty");
            match made {
                Ok(made) => Ok(Made { remove: Box::new(remove), ..made }),
                Err(error) => {
                    remove();
                    Err(error)
                }
            }
        }
        SockmapLink | Sockmap => {
            let map = sockmap()?;
            match way {
                Sockmap => by_attach(prog, sys::raw(&map) as u32, 5, vec![map]),
                _ => by_link(create(prog, sys::raw(&map) as u32, 5, |attr| attr), vec![map]),
            }
        }
        FlowDissectorLink => by_link(create(prog, netns(), 17, |attr| attr), vec![]),
        FlowDissector => by_attach(prog, 0, 17, vec![]),
        SkLookup => by_link(create(prog, netns(), 36, |attr| attr), vec![]),
        Netfilter => {
            by_link(create(prog, 0, 45, |attr| attr.u32(16, 2).u32(20, 3).u32(24, (-128i32).cast_unsigned())), vec![])
        }
        Socket | Reuseport => {
            let socket = udp_socket();
            let again = socket.try_clone().expect("a descriptor");
            let (attach, detach) = match way {
                Socket => (libc::SO_ATTACH_BPF, libc::SO_DETACH_BPF),
                _ => (libc::SO_ATTACH_REUSEPORT_EBPF, SO_DETACH_REUSEPORT_BPF),
            };
            set_option(&socket, libc::SO_REUSEPORT, 1);
            let done = set_option(&socket, attach, sys::raw(prog) as u32);
            without_link(done, vec![socket], move || set_option(&again, detach, 0))
        }
        ProgArray => by_map(prog, bpf_maps::PROG_ARRAY, None),
        Devmap => by_map(prog, bpf_maps::DEVMAP, Some(lo)),
        Cpumap => by_map(prog, bpf_maps::CPUMAP, Some(64)),
        StructOpsLink | StructOps | SchedExt => unreachable!("attached with their table"),
    }
}

/// See socket(7).
const SO_DETACH_REUSEPORT_BPF: i32 = 68;
