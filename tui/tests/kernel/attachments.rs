//! The ways in which programs are attached, each for real: what the event says is compared with what was asked and with the
//! kernel's information about the objects.

use crate::bpf::{
    Attr, BPF_PROG_LOAD, BPF_PROG_TYPE_RAW_TRACEPOINT, EXIT, MOV_R0, id_and_tag, link_id, load, perf_event_of,
    raw_tracepoint_open, set_bpf,
};
use crate::sys::{self, c};
use crate::traced::{Dir, Run, alone, doctor, not_checked, trace};
use serde_json::Value;
use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracetui_host::btf;
use tracetui_host::cgroup::CgroupResolver;

const BPF_MAP_CREATE: u64 = 0;
const BPF_PROG_ATTACH: u64 = 8;
const BPF_PROG_DETACH: u64 = 9;
const BPF_LINK_CREATE: u64 = 28;
const BPF_LINK_UPDATE: u64 = 29;
const BPF_LINK_DETACH: u64 = 34;

const SOCKET_FILTER: u32 = 1;
const KPROBE: u32 = 2;
const SCHED_CLS: u32 = 3;
const TRACEPOINT: u32 = 5;
const XDP: u32 = 6;
const CGROUP_SKB: u32 = 8;
const SK_SKB: u32 = 14;
const FLOW_DISSECTOR: u32 = 22;
const TRACING: u32 = 26;
const SK_LOOKUP: u32 = 30;
const NETFILTER: u32 = 32;

const CGROUP_INET_EGRESS: u32 = 1;
const AT_FLOW_DISSECTOR: u32 = 17;
const SK_SKB_STREAM_VERDICT: u32 = 5;
const TRACE_FENTRY: u32 = 24;
const TRACE_ITER: u32 = 28;
const AT_SK_LOOKUP: u32 = 36;
const AT_XDP: u32 = 37;
const TRACE_KPROBE_MULTI: u32 = 42;
const AT_NETFILTER: u32 = 45;
const TCX_INGRESS: u32 = 46;
const TRACE_UPROBE_MULTI: u32 = 48;

/// `mov64 r0, 1`.
const MOV_R0_1: u64 = 0x1_0000_00b7;

/// Loads a program; the negative error if the kernel refuses it.
pub(crate) fn load_as(
    prog_type: u32,
    attach_type: u32,
    btf_id: u32,
    name: &str,
    insns: &[u64],
) -> Result<OwnedFd, i64> {
    let licence = c("GPL");
    let attr = Attr::of_load(prog_type, name, (insns.len(), insns.as_ptr() as u64), licence.as_ptr() as u64);
    let fd = attr.u32(68, attach_type).u32(108, btf_id).call(BPF_PROG_LOAD);
    if fd < 0 { Err(fd) } else { Ok(sys::owned(fd)) }
}

/// Links a program; `more` are the words of the attributes from offset 16 on.
fn link(prog: &OwnedFd, target: u32, attach_type: u32, more: &[u64]) -> Result<OwnedFd, i64> {
    let attr = Attr::new().u32(0, sys::raw(prog) as u32).u32(4, target).u32(8, attach_type);
    let fd = more.iter().zip(0..).fold(attr, |attr, (word, at)| attr.u64(16 + 8 * at, *word)).call(BPF_LINK_CREATE);
    if fd < 0 { Err(fd) } else { Ok(sys::owned(fd)) }
}

/// PROG_ATTACH or PROG_DETACH.
fn legacy(command: u64, target: u32, prog: &OwnedFd, attach_type: u32) -> i64 {
    Attr::new().u32(0, target).u32(4, sys::raw(prog) as u32).u32(8, attach_type).call(command)
}

fn number(result: &Result<OwnedFd, i64>) -> i64 {
    result.as_ref().map_or_else(|error| *error, link_id)
}

/// Whether the kernel refused it because it has no such thing.
fn lacks(number: i64, what: &str) -> bool {
    let lacks =
        [libc::EINVAL, libc::EOPNOTSUPP, libc::ENOENT, libc::ENOSYS].iter().any(|errno| number == -i64::from(*errno));
    if lacks {
        not_checked(&format!("this kernel has no {what} ({number})"));
    }
    lacks
}

#[track_caller]
fn check_attach(event: &Value, attach_type: &str, via: &str, target: &Value) {
    let attach = &event["attach"];
    assert_eq!((&attach["type"], &attach["via"]), (&attach_type.into(), &via.into()), "{event}");
    assert_eq!(&attach["target"], target, "{event}");
}

/// The attachment that succeeded.
#[track_caller]
fn attached(run: &Run, pid: i32) -> Value {
    run.one("bpf", pid, |event| event["op"] == "attach" && event["err"].is_null())
}

/// Attaches `prog_type` by a link in a network namespace of its own, and compares type, target and link.
#[track_caller]
fn check_link(prog_type: u32, attach_type: u32, target: u32, more: &'static [u64], expected: (&str, Value)) {
    let _alone = alone();
    let acted = trace("bpf", move || {
        sys::unshare(libc::CLONE_NEWNET);
        let prog = match load_as(prog_type, attach_type, 0, "tt_linked", &[MOV_R0_1, EXIT]) {
            Ok(prog) => prog,
            Err(error) => return vec![error],
        };
        let linked = link(&prog, target, attach_type, more);
        [&[number(&linked)][..], &id_and_tag(&prog)].concat()
    });
    let Some((run, pid, numbers)) = acted else { return };
    if lacks(numbers[0], expected.0) {
        return;
    }
    assert!(numbers[0] > 0, "{numbers:?}");
    let event = attached(&run, pid);
    check_attach(&event, expected.0, "link", &expected.1);
    assert_eq!(event["attach"]["link_id"], numbers[0], "{event}");
    assert_eq!(event["prog"]["id"], numbers[1], "{event}");
}

#[test]
fn an_xdp_link_names_its_interface() {
    check_link(XDP, AT_XDP, 1, &[2], ("xdp", "lo".into()));
}

#[test]
fn a_tcx_link_names_its_interface() {
    check_link(SCHED_CLS, TCX_INGRESS, 1, &[], ("tcx", "lo".into()));
}

#[test]
fn a_netfilter_link_names_its_hook() {
    // IPv4, output, priority -128.
    check_link(
        NETFILTER,
        AT_NETFILTER,
        0,
        &[3 << 32 | 2, 0xffff_ff80],
        ("netfilter", "ip output priority -128".into()),
    );
}

#[test]
fn a_program_of_a_network_namespace_names_it() {
    let _alone = alone();
    let acted = trace("bpf", || {
        sys::unshare(libc::CLONE_NEWNET);
        let inode = std::fs::metadata("/proc/self/ns/net").expect("a namespace").ino();
        let Ok(prog) = load_as(FLOW_DISSECTOR, AT_FLOW_DISSECTOR, 0, "tt_flow", &[MOV_R0, EXIT]) else {
            return vec![-i64::from(libc::EINVAL)];
        };
        let ret = legacy(BPF_PROG_ATTACH, 0, &prog, AT_FLOW_DISSECTOR);
        let detached = legacy(BPF_PROG_DETACH, 0, &prog, AT_FLOW_DISSECTOR);
        let lookup = load_as(SK_LOOKUP, AT_SK_LOOKUP, 0, "tt_lookup", &[MOV_R0_1, EXIT]);
        let namespace = sys::owned(sys::open_path("/proc/self/ns/net"));
        let linked = lookup.map_or_else(Err, |prog| link(&prog, sys::raw(&namespace) as u32, AT_SK_LOOKUP, &[]));
        vec![ret, detached, inode as i64, number(&linked)]
    });
    let Some((run, pid, numbers)) = acted else { return };
    if lacks(numbers[0], "flow dissectors") {
        return;
    }
    assert_eq!(numbers[..2], [0, 0]);
    let target = format!("net:[{}]", numbers[2]).into();
    let of = |op: &str, kind: &str| run.one("bpf", pid, |e| e["op"] == op && e["attach"]["type"] == kind);
    check_attach(&of("attach", "flow_dissector"), "flow_dissector", "prog_attach", &target);
    check_attach(&of("detach", "flow_dissector"), "flow_dissector", "prog_attach", &target);
    if !lacks(numbers[3], "sk_lookup links") {
        let linked = of("attach", "sk_lookup");
        check_attach(&linked, "sk_lookup", "link", &target);
        assert_eq!(linked["attach"]["link_id"], numbers[3], "{linked}");
    }
}

#[test]
fn programs_of_a_cgroup_name_it() {
    let _alone = alone();
    if CgroupResolver::new().is_err() {
        return not_checked("names of cgroups: no cgroup v2 hierarchy is mounted");
    }
    let dir = Dir::new();
    let mount = dir.dir("cgroup");
    let name = format!("tracetui-{}", sys::pid());
    let path = Value::from(format!("/{name}"));
    let acted = trace("bpf", move || {
        sys::own_mounts();
        sys::mount("cgroup2", &mount, "cgroup2", 0);
        let made = format!("{mount}/{name}");
        std::fs::create_dir(&made).expect("a cgroup");
        let cgroup = sys::owned(sys::openat(libc::AT_FDCWD, &c(made.as_str()), libc::O_RDONLY | libc::O_DIRECTORY, 0));
        let fd = sys::raw(&cgroup) as u32;
        let [first, second] = ["tt_first", "tt_second"]
            .map(|name| load_as(CGROUP_SKB, CGROUP_INET_EGRESS, 0, name, &[MOV_R0_1, EXIT]).expect("a program"));
        let by_call = legacy(BPF_PROG_ATTACH, fd, &first, CGROUP_INET_EGRESS);
        let detached = legacy(BPF_PROG_DETACH, fd, &first, CGROUP_INET_EGRESS);
        let linked = link(&first, fd, CGROUP_INET_EGRESS, &[]);
        let mut numbers = vec![by_call, detached, number(&linked)];
        if let Ok(linked) = &linked {
            let mut update = Attr::new().u32(0, sys::raw(linked) as u32).u32(4, sys::raw(&second) as u32);
            numbers.push(update.call(BPF_LINK_UPDATE));
            numbers.push(Attr::new().u32(0, sys::raw(linked) as u32).call(BPF_LINK_DETACH));
        }
        drop(linked);
        // Its path is looked up when the event is read.
        std::thread::sleep(Duration::from_millis(500));
        std::fs::remove_dir(&made).expect("it is empty");
        [&numbers[..], &[id_and_tag(&first)[0], id_and_tag(&second)[0]]].concat()
    });
    let Some((run, pid, numbers)) = acted else { return };
    let of = |op: &str, via: &str| run.one("bpf", pid, |e| e["op"] == op && e["attach"]["via"] == via);
    assert_eq!(numbers[..2], [0, 0]);
    for op in ["attach", "detach"] {
        check_attach(&of(op, "prog_attach"), "cgroup", "prog_attach", &path);
    }
    if lacks(numbers[2], "cgroup links") {
        return;
    }
    let [_, _, id, updated, detached, first, second] = numbers[..] else { panic!("seven numbers: {numbers:?}") };
    assert_eq!((updated, detached), (0, 0));
    // A link that was detached has no cgroup any more: the last event has that of the first.
    for (op, prog) in [("attach", first), ("update", second), ("detach", second)] {
        let event = of(op, "link");
        check_attach(&event, "cgroup", "link", &path);
        assert_eq!((&event["attach"]["link_id"], &event["prog"]["id"]), (&id.into(), &prog.into()), "{event}");
    }
}

#[test]
fn a_program_of_a_socket_map_names_the_map() {
    let _alone = alone();
    let acted = trace("bpf", || {
        // BPF_MAP_TYPE_SOCKMAP, keys and values of 4 bytes, 4 elements.
        let mut attr = Attr::new().u32(0, 15).u32(4, 4).u32(8, 4).u32(12, 4).put(28, b"tt_sockets");
        let fd = attr.call(BPF_MAP_CREATE);
        if fd < 0 {
            return vec![fd];
        }
        let map = sys::owned(fd);
        let prog = load_as(SK_SKB, SK_SKB_STREAM_VERDICT, 0, "tt_verdict", &[MOV_R0_1, EXIT]).expect("a program");
        let ret = legacy(BPF_PROG_ATTACH, sys::raw(&map) as u32, &prog, SK_SKB_STREAM_VERDICT);
        [&[ret][..], &id_and_tag(&prog)].concat()
    });
    let Some((run, pid, numbers)) = acted else { return };
    if lacks(numbers[0], "socket maps") {
        return;
    }
    let event = attached(&run, pid);
    check_attach(&event, "sockmap", "prog_attach", &"tt_sockets".into());
    assert_eq!(event["prog"]["id"], numbers[1], "{event}");
}

/// A socket for UDP.
pub(crate) fn udp_socket() -> OwnedFd {
    sys::owned(sys::call(libc::SYS_socket, [libc::AF_INET as u64, libc::SOCK_DGRAM as u64, 0, 0, 0]))
}

/// `setsockopt(SOL_SOCKET)` of a number.
pub(crate) fn set_option(socket: &OwnedFd, option: i32, value: u32) -> i64 {
    let at = (&raw const value) as u64;
    sys::call(libc::SYS_setsockopt, [sys::raw(socket) as u64, libc::SOL_SOCKET as u64, option as u64, at, 4])
}

/// `struct sock_fprog` with one instruction of classic BPF that returns a number.
fn classic(result: u32) -> (Box<[u8; 8]>, Box<[u64; 2]>) {
    let mut insn = Box::new([0u8; 8]);
    insn[0] = 0x06;
    insn[4..].copy_from_slice(&result.to_le_bytes());
    let prog = Box::new([1, insn.as_ptr() as u64]);
    (insn, prog)
}

#[test]
fn the_filters_of_sockets_are_shown() {
    let _alone = alone();
    let acted = trace("bpf", || {
        let (plain, shared) = (udp_socket(), udp_socket());
        let prog = sys::owned(load(SOCKET_FILTER, "tt_filter", &[MOV_R0_1, EXIT]));
        let attach = set_option(&plain, libc::SO_ATTACH_BPF, sys::raw(&prog) as u32);
        let detach = set_option(&plain, libc::SO_DETACH_BPF, 0);
        let again = set_option(&plain, libc::SO_DETACH_BPF, 0);
        let (_insn, filter) = classic(u32::MAX);
        let fd = sys::raw(&plain) as u64;
        let option = libc::SO_ATTACH_FILTER as u64;
        let by_filter =
            sys::call(libc::SYS_setsockopt, [fd, libc::SOL_SOCKET as u64, option, filter.as_ptr() as u64, 16]);
        set_option(&shared, libc::SO_REUSEPORT, 1);
        let group = set_option(&shared, libc::SO_ATTACH_REUSEPORT_EBPF, sys::raw(&prog) as u32);
        let inodes = [plain, shared].map(|socket| File::from(socket).metadata().expect("its inode").ino() as i64);
        [&[attach, detach, again, by_filter, group][..], &id_and_tag(&prog), &inodes].concat()
    });
    let Some((run, pid, numbers)) = acted else { return };
    let events: Vec<Value> = run.kind_of("bpf", pid).into_iter().filter(|e| e["op"] != "load").collect();
    let rets: Vec<_> = events.iter().map(|e| e["ret"].as_i64().expect("a number")).collect();
    assert_eq!(rets, numbers[..5], "{events:#?}");
    assert_eq!(rets, [0, 0, -i64::from(libc::ENOENT), 0, 0]);
    for (event, (op, kind)) in events.iter().zip([
        ("attach", "socket_filter"),
        ("detach", "socket_filter"),
        ("detach", "socket_filter"),
        ("attach", "socket_filter"),
        ("attach", "reuseport"),
    ]) {
        assert_eq!(event["op"], op, "{event}");
        let inode = numbers[if kind == "reuseport" { 8 } else { 7 }];
        check_attach(event, kind, "setsockopt", &format!("socket:{inode}").into());
    }
    let of = |at: usize| (&events[at]["prog"]["id"], &events[at]["prog"]["type"]);
    assert_eq!(of(0), (&numbers[5].into(), &"socket_filter".into()));
    assert_eq!(of(3), (&Value::Null, &"classic".into()));
    assert_eq!(of(4), (&numbers[5].into(), &"socket_filter".into()));
}

/// Commands of tun devices (include/uapi/linux/if_tun.h).
const TUNSETIFF: u64 = 0x4004_54ca;
pub(crate) const TUNATTACHFILTER: u64 = 0x4010_54d5;
const TUNDETACHFILTER: u64 = 0x4010_54d6;

/// The filter of a tap interface. The same numbers on another file do not count as events.
#[test]
fn the_filters_of_tap_interfaces_are_shown() {
    let _alone = alone();
    let acted = trace("bpf", || {
        sys::unshare(libc::CLONE_NEWNET);
        let tap = sys::call(libc::SYS_openat, [!0, c("/dev/net/tun").as_ptr() as u64, libc::O_RDWR as u64, 0, 0]);
        if tap < 0 {
            return vec![tap];
        }
        let (tap, null) = (sys::owned(tap), sys::owned(sys::open_path("/dev/null")));
        let ioctl =
            |file: &OwnedFd, command, at| sys::call(libc::SYS_ioctl, [sys::raw(file) as u64, command, at, 0, 0]);
        let (_insn, filter) = classic(u32::MAX);
        let filter = filter.as_ptr() as u64;
        let early = ioctl(&tap, TUNATTACHFILTER, filter);
        let mut request = [0u8; 40];
        request[..6].copy_from_slice(b"tt_tap");
        request[16..18].copy_from_slice(&(libc::IFF_TAP as u16).to_le_bytes());
        assert_eq!(ioctl(&tap, TUNSETIFF, request.as_ptr() as u64), 0);
        let refused = ioctl(&tap, TUNATTACHFILTER, 0);
        let attach = ioctl(&tap, TUNATTACHFILTER, filter);
        let detach = ioctl(&tap, TUNDETACHFILTER, 0);
        let elsewhere = [TUNATTACHFILTER, TUNDETACHFILTER].map(|command| ioctl(&null, command, filter));
        vec![early, refused, attach, detach, elsewhere[0], elsewhere[1]]
    });
    let Some((run, pid, rets)) = acted else { return };
    let [early, refused, attach, detach, elsewhere @ ..] = &rets[..] else {
        return not_checked("the filter of a tap interface: /dev/net/tun has no device");
    };
    let errors = [libc::EBADFD, libc::EFAULT].map(|errno| -i64::from(errno));
    assert_eq!([*early, *refused, *attach, *detach], [errors[0], errors[1], 0, 0]);
    assert_eq!(elsewhere, [-i64::from(libc::ENOTTY); 2]);
    let events = run.kind_of("bpf", pid);
    let shown: Vec<_> = events.iter().map(|e| (e["op"].as_str(), e["ret"].as_i64())).collect();
    let [attaching, detaching] = [Some("attach"), Some("detach")];
    let expected = [(attaching, *early), (attaching, *refused), (attaching, *attach), (detaching, *detach)];
    assert_eq!(shown, expected.map(|(op, ret)| (op, Some(ret))), "{events:#?}");
    events.iter().for_each(|event| check_attach(event, "socket_filter", "ioctl", &"tun".into()));
    let of = |at: usize| (&events[at]["prog"]["id"], &events[at]["prog"]["type"]);
    assert_eq!(of(2), (&Value::Null, &"classic".into()));
    assert_eq!(of(3), (&Value::Null, &Value::Null));
}

#[test]
fn the_filters_of_seccomp_are_shown() {
    let _alone = alone();
    let acted = trace("bpf", || {
        const ALLOW: u32 = 0x7fff_0000;
        let (_insn, filter) = classic(ALLOW);
        let at = filter.as_ptr() as u64;
        sys::call(libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0, 0, 0]);
        let by_prctl = sys::call(libc::SYS_prctl, [libc::PR_SET_SECCOMP as u64, 2, at, 0, 0]);
        let by_call = sys::call(libc::SYS_seccomp, [1, 0, at, 0, 0]);
        let refused = sys::call(libc::SYS_seccomp, [1, 0, 0, 0, 0]);
        // Others that are none.
        sys::call(libc::SYS_prctl, [libc::PR_GET_SECCOMP as u64, 0, 0, 0, 0]);
        sys::call(libc::SYS_seccomp, [2, 0, 0, 0, 0]);
        vec![by_prctl, by_call, refused]
    });
    let Some((run, pid, numbers)) = acted else { return };
    assert_eq!(numbers, [0, 0, -i64::from(libc::EFAULT)]);
    let events = run.kind_of("bpf", pid);
    let rets: Vec<_> = events.iter().map(|e| e["ret"].as_i64().expect("a number")).collect();
    assert_eq!(rets, numbers, "{events:#?}");
    for event in &events {
        assert_eq!(event["op"], "attach", "{event}");
        check_attach(event, "seccomp", "seccomp", &Value::Null);
    }
    assert_eq!(events[0]["prog"]["type"], "classic");
}

/// seccomp(2) with SECCOMP_FILTER_FLAG_TSYNC returns the id of a thread that has another filter, and installs nothing.
#[test]
fn a_filter_that_another_thread_refuses_is_a_failure() {
    let _alone = alone();
    let acted = trace("bpf", || {
        const ALLOW: u32 = 0x7fff_0000;
        sys::call(libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0, 0, 0]);
        let (of_thread, thread_has_one) = std::sync::mpsc::channel();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let (_insn, filter) = classic(ALLOW);
            sys::call(libc::SYS_seccomp, [1, 0, filter.as_ptr() as u64, 0, 0]);
            of_thread.send(i64::from(sys::tid())).expect("it is waited for");
            wait.recv()
        });
        let tid = thread_has_one.recv().expect("it is sent");
        let (_insn, filter) = classic(ALLOW);
        let refused = sys::call(libc::SYS_seccomp, [1, 1, filter.as_ptr() as u64, 0, 0]);
        drop(done);
        let _ = thread.join();
        vec![tid, refused]
    });
    let Some((run, pid, numbers)) = acted else { return };
    assert_eq!(numbers[0], numbers[1], "the thread that has another filter");
    let rets: Vec<_> = run.kind_of("bpf", pid).iter().map(|e| (e["ret"].clone(), e["err"].clone())).collect();
    assert_eq!(rets, [(0.into(), Value::Null), ((-libc::ESRCH).into(), "ESRCH".into())]);
}

/// Another thread puts another link at the descriptor of a new one before the probe reads it.
#[test]
fn a_link_whose_descriptor_was_replaced_is_not_named_wrongly() {
    let _alone = alone();
    const LINKS: usize = 400;
    let acted = trace("bpf", || {
        let load = |name| load_as(BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0, name, &[MOV_R0_1, EXIT]).expect("root");
        let (innocent, real) = (load("tt_innocent"), load("tt_real"));
        // SAFETY: the call made this descriptor.
        let link = unsafe { OwnedFd::from_raw_fd(raw_tracepoint_open(&innocent, "sched_process_fork") as i32) };
        // SAFETY: the same. Its number is the one that each new link gets.
        let next = unsafe { OwnedFd::from_raw_fd(libc::dup(link.as_raw_fd())) };
        let (number, from) = (next.as_raw_fd() as u64, link.as_raw_fd() as u64);
        drop(next);
        let stop = Arc::new(AtomicBool::new(false));
        let other = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    // Only a descriptor that is there is replaced: the number stays free for the call.
                    // SAFETY: takes numbers.
                    if unsafe { libc::fcntl(number as i32, libc::F_GETFD) } >= 0 {
                        sys::dup2(from, number);
                    }
                }
            }
        });
        for _ in 0..LINKS {
            let made = raw_tracepoint_open(&real, "sched_process_exec");
            // SAFETY: takes a number, which is the link's or its replacement's.
            unsafe { libc::close(made as i32) };
        }
        stop.store(true, Ordering::Relaxed);
        let _ = other.join();
        vec![0]
    });
    let Some((run, pid, _)) = acted else { return };
    let events = run.kind_of("bpf", pid);
    let links: Vec<_> = events.iter().filter(|e| e["op"] == "attach" && e["seen_by"] == "call").collect();
    let of = |name: &str| links.iter().filter(|e| e["prog"]["name"] == name).count();
    assert_eq!((of("tt_innocent"), of("tt_real")), (1, LINKS), "{:#?}", links.first());
    let wrong = links.iter().find(|e| e["prog"]["name"] == "tt_real" && e["attach"]["target"] != "sched_process_exec");
    assert!(wrong.is_none(), "{wrong:#?}");
}

/// The type of a perf PMU; `None` if the kernel does not have it.
pub(crate) fn pmu(name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/sys/bus/event_source/devices/{name}/type")).ok()?;
    text.trim().parse().ok()
}

#[test]
fn uprobes_name_file_and_offset() {
    let _alone = alone();
    let Some(pmu) = pmu("uprobe") else { return not_checked("this kernel has no uprobes") };
    let dir = Dir::new();
    // A long path is whole. Any file is probed at any offset of its text; nobody executes this one.
    let deep = (0..12).fold(dir.dir("deep"), |path, _| {
        let path = format!("{path}/{}", "d".repeat(60));
        std::fs::create_dir(&path).expect("room");
        path
    });
    let file = format!("{deep}/program");
    std::fs::copy(std::env::current_exe().expect("this program"), &file).expect("room");
    let expected = Value::from(file.as_str());
    let acted = trace("bpf", move || {
        let path = c(file.as_str());
        let attach = |returns: u64| {
            let prog = sys::owned(load(KPROBE, "tt_uprobe", &[MOV_R0, EXIT]));
            let event = perf_event_of(pmu, returns, [path.as_ptr() as u64, 0x1000]);
            (set_bpf(&prog, &event), prog, event)
        };
        let (plain, returns) = (attach(0), attach(1));
        vec![plain.0, returns.0]
    });
    let Some((run, pid, numbers)) = acted else { return };
    assert_eq!(numbers, [0, 0]);
    for kind in ["uprobe", "uretprobe"] {
        let event = run.one("bpf", pid, |e| e["attach"]["type"] == kind);
        check_attach(&event, kind, "ioctl", &expected);
        assert_eq!(event["attach"]["offset"], 0x1000, "{event}");
    }
}

#[test]
fn kprobes_name_function_and_address() {
    let _alone = alone();
    let Some(pmu) = pmu("kprobe") else { return not_checked("this kernel has no kprobes") };
    let acted = trace("bpf", move || {
        let function = c("do_nanosleep");
        let attach = |returns: u64| {
            let prog = sys::owned(load(KPROBE, "tt_kprobe", &[MOV_R0, EXIT]));
            let event = perf_event_of(pmu, returns, [function.as_ptr() as u64, 0]);
            (set_bpf(&prog, &event), prog, event)
        };
        let (plain, returns) = (attach(0), attach(1));
        vec![plain.0, returns.0]
    });
    let Some((run, pid, numbers)) = acted else { return };
    assert_eq!(numbers, [0, 0]);
    let address = symbol("do_nanosleep");
    for kind in ["kprobe", "kretprobe"] {
        let event = run.one("bpf", pid, |e| e["attach"]["type"] == kind);
        check_attach(&event, kind, "ioctl", &"do_nanosleep".into());
        assert_eq!(event["attach"]["symbol"], "do_nanosleep", "{event}");
        // With ENDBR, or with ftrace's call before it, the probe stands some bytes later.
        let at = u64::from_str_radix(&event["attach"]["addr"].as_str().expect("an address")[2..], 16).expect("hex");
        assert!((address..address + 16).contains(&at), "{event} {address:#x}");
    }
}

/// The address of a kernel function.
fn symbol(name: &str) -> u64 {
    let symbols = std::fs::read_to_string("/proc/kallsyms").expect("symbols");
    let line = symbols.lines().find(|line| line.split(' ').nth(2) == Some(name)).expect("a function");
    u64::from_str_radix(&line[..16], 16).expect("hex")
}

#[test]
fn links_to_several_functions_have_their_number() {
    let _alone = alone();
    let acted = trace("bpf", || {
        let names = [c("do_nanosleep"), c("hrtimer_nanosleep")];
        let list = names.each_ref().map(|name| name.as_ptr() as u64);
        let prog = match load_as(KPROBE, TRACE_KPROBE_MULTI, 0, "tt_multi", &[MOV_R0, EXIT]) {
            Ok(prog) => prog,
            Err(error) => return vec![error],
        };
        // Flags and count, names.
        let linked = link(&prog, 0, TRACE_KPROBE_MULTI, &[2 << 32, list.as_ptr() as u64]);
        vec![number(&linked)]
    });
    let Some((run, pid, numbers)) = acted else { return };
    if lacks(numbers[0], "kprobe_multi links") {
        return;
    }
    let event = attached(&run, pid);
    let attach = &event["attach"];
    assert_eq!(
        (&attach["type"], &attach["multi"], &attach["link_id"]),
        (&"kprobe".into(), &2.into(), &numbers[0].into())
    );
    let address = u64::from_str_radix(&attach["addr"].as_str().expect("an address")[2..], 16).expect("hex");
    let near = |name: &str| (symbol(name)..symbol(name) + 16).contains(&address);
    let name = ["do_nanosleep", "hrtimer_nanosleep"].into_iter().find(|name| near(name));
    assert_eq!((&attach["symbol"], &attach["target"]), (&name.into(), &name.into()), "{event}");
    assert!(name.is_some() && attach["module"].is_null() && attach["offset"].as_u64() < Some(16), "{event}");
}

#[test]
fn links_to_several_places_of_a_file_have_its_path() {
    let _alone = alone();
    let dir = Dir::new();
    let file = dir.at("program");
    std::fs::copy(std::env::current_exe().expect("this program"), &file).expect("room");
    let expected = Value::from(file.as_str());
    let acted = trace("bpf", move || {
        let (path, offsets) = (c(file.as_str()), [0x2000u64, 0x1000, 0x3000]);
        let prog = match load_as(KPROBE, TRACE_UPROBE_MULTI, 0, "tt_places", &[MOV_R0, EXIT]) {
            Ok(prog) => prog,
            Err(error) => return vec![error],
        };
        let more = [path.as_ptr() as u64, offsets.as_ptr() as u64, 0, 0, 1 << 32 | 3];
        vec![number(&link(&prog, 0, TRACE_UPROBE_MULTI, &more))]
    });
    let Some((run, pid, numbers)) = acted else { return };
    if lacks(numbers[0], "uprobe_multi links") {
        return;
    }
    let event = attached(&run, pid);
    check_attach(&event, "uretprobe", "link", &expected);
    let attach = &event["attach"];
    assert_eq!((&attach["multi"], &attach["offset"]), (&3.into(), &0x2000.into()), "{event}");
}

/// The id of a function in the kernel's BTF.
pub(crate) fn btf_id(function: &str) -> Option<u32> {
    btf::Btf::parse(std::fs::read(btf::RUNNING).ok()?).ok()?.func(function)
}

#[test]
fn an_iterator_names_what_it_walks() {
    let _alone = alone();
    let Some(id) = btf_id("bpf_iter_bpf_map") else { return not_checked("this kernel has no iterators of maps") };
    let acted = trace("bpf", move || match load_as(TRACING, TRACE_ITER, id, "tt_iter", &[MOV_R0, EXIT]) {
        Ok(prog) => vec![number(&link(&prog, 0, TRACE_ITER, &[]))],
        Err(error) => vec![error],
    });
    let Some((run, pid, numbers)) = acted else { return };
    if lacks(numbers[0], "iterators") {
        return;
    }
    let event = attached(&run, pid);
    check_attach(&event, "iter", "link", &"bpf_map".into());
    assert_eq!(event["attach"]["link_id"], numbers[0], "{event}");
}

#[test]
fn a_trampoline_names_its_function() {
    let _alone = alone();
    let Some(id) = btf_id("do_nanosleep") else { return not_checked("this kernel's BTF has no functions") };
    let acted = trace("bpf", move || match load_as(TRACING, TRACE_FENTRY, id, "tt_fentry", &[MOV_R0, EXIT]) {
        Ok(prog) => {
            let fd = Attr::of_raw_tracepoint(sys::raw(&prog), 0).call(17);
            vec![if fd < 0 { fd } else { link_id(&sys::owned(fd)) }]
        }
        Err(error) => vec![error],
    });
    let Some((run, pid, numbers)) = acted else { return };
    if numbers[0] == -i64::from(libc::EPERM) || lacks(numbers[0], "trampolines") {
        return not_checked("trampolines: this kernel refuses them");
    }
    assert!(numbers[0] > 0, "{numbers:?}");
    check_attach(&attached(&run, pid), "fentry", "link", &"do_nanosleep".into());
}

/// A call of a helper.
const fn call(helper: u64) -> u64 {
    helper << 32 | 0x85
}

#[test]
fn the_helpers_that_alter_are_found_in_the_instructions() {
    const SEND_SIGNAL: u64 = 109;
    const PROBE_WRITE_USER: u64 = 36;
    const MOV_R1: u64 = 0x1b7;
    let _alone = alone();
    let acted = trace("bpf", || {
        let mut rets = Vec::new();
        // Nothing; a signal in the last instructions of a long program; user memory.
        let long = [vec![MOV_R0; 70_000], vec![MOV_R1, call(SEND_SIGNAL), MOV_R0, EXIT]].concat();
        // r1 = r10, r1 -= 8, *(u64 *)r1 = 0, r2 = r1, r3 = 8, r1 = 0, call, r0 = 0.
        let write =
            [0xa1bf, 0xffff_fff8_0000_0107, 0x17a, 0x12bf, 0x8_0000_03b7, MOV_R1, call(PROBE_WRITE_USER), MOV_R0, EXIT];
        for insns in [&[MOV_R0, EXIT][..], &long, &write] {
            let fd = load(TRACEPOINT, "tt_helpers_with_a"[..15].trim(), insns);
            rets.push(if fd < 0 { fd } else { 0 });
            if fd >= 0 {
                drop(sys::owned(fd));
            }
        }
        rets
    });
    let Some((run, pid, numbers)) = acted else { return };
    let events = run.kind_of("bpf", pid);
    assert_eq!(events.len(), 3, "{events:#?}");
    let of = |at: usize| (&events[at]["prog"]["write_user"], &events[at]["prog"]["helpers"]);
    assert_eq!(numbers[..2], [0, 0], "{events:#?}");
    assert_eq!(of(0), (&"no".into(), &serde_json::json!([])), "{}", events[0]);
    match events[1]["prog"]["write_user_why"] == "cut" {
        // Programs at functions may examine fewer instructions.
        true => assert!(doctor().contains("bpf_multi "), "{}", events[1]),
        false => assert_eq!(of(1), (&"no".into(), &serde_json::json!(["send_signal"])), "{}", events[1]),
    }
    if numbers[2] < 0 {
        return not_checked("bpf_probe_write_user: this kernel refuses it");
    }
    assert_eq!(of(2), (&"yes".into(), &serde_json::json!(["probe_write_user"])), "{}", events[2]);
}
