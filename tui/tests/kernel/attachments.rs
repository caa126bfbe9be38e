//! Attachments that are no [`Way`] of their own, each for real: filters of classic BPF, links that change, and what a program calls. What
//! the events say is compared with what was asked.

use crate::bpf::{
    Attr, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_TRACEPOINT, EXIT, MOV_R0, id_and_tag, link_id, load,
    raw_tracepoint_open,
};
use crate::bpf_inventory::symbol;
use crate::bpf_ways::{
    CGROUP_SKB, KPROBE, MOV_R0_1, Places, SOCKET_FILTER, Way, create, load_for, opened, set_option, udp_socket,
};
use crate::prelude::*;
use crate::traced::Output;

const BPF_LINK_UPDATE: u64 = 29;
const TRACE_KPROBE_MULTI: u32 = 42;

/// What happens in a process of its own, and the check of its events with the numbers that it returns.
type Case = (&'static str, fn(&Output) -> Vec<i64>, fn(&Run, i32, &[i64]));

const CASES: [Case; 8] = [
    ("a link of a cgroup that changes", change_a_link, check_changed_link),
    ("filters of sockets", filter_sockets, check_sockets),
    ("filters of tap interfaces", filter_tap, check_tap),
    ("filters of seccomp", filter_calls, check_calls),
    ("a filter that another thread refuses", filter_threads, check_threads),
    ("links whose descriptor is replaced", replace_links, check_replaced_links),
    ("links to several functions", link_functions, check_functions),
    ("helpers that alter", call_helpers, check_helpers),
];

#[test]
fn attachments_and_filters_are_shown() {
    let Some(traced) = Traced::start(&["--kind", "bpf"]) else { return };
    let acted = CASES.map(|(name, act, check)| {
        let actor = Actor::new(|| act(traced.output()));
        (name, check, actor.pid, actor.run())
    });
    let run = traced.stop_and_check();
    for (name, check, pid, numbers) in acted {
        println!("{name}: {numbers:?}");
        check(&run, pid, &numbers);
    }
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
    check_has(event, json!({"attach": {"type": attach_type, "via": via, "target": target}}));
}

fn change_a_link(trace: &Output) -> Vec<i64> {
    let dir = Dir::new();
    let places = Places::new(&dir.dir("tracefs"), &dir.dir("cgroups"), "/none");
    let (first, made) = match bpf_ways::make(Way::CgroupLink, &places, "tt_first") {
        Ok(made) => made,
        Err(error) => return vec![error],
    };
    let second = load_for(CGROUP_SKB, 0, "tt_second", MOV_R0_1).expect("a program");
    let mut update = Attr::new().u32(0, sys::raw(&made.kept[0]) as u32).u32(4, sys::raw(&second) as u32);
    let (updated, detached) = (update.call(BPF_LINK_UPDATE), (made.detach)());
    let ids = [&first, &second].map(|program| id_and_tag(program)[0]);
    // Its path is looked up when the event is read.
    trace.wait_for("detach", &ids[1..]);
    drop(made.kept);
    (made.remove)();
    vec![made.link, updated, detached, ids[0], ids[1]]
}

fn check_changed_link(run: &Run, pid: i32, numbers: &[i64]) {
    if lacks(numbers[0], "cgroup links") {
        return;
    }
    if CgroupResolver::new().is_err() {
        return not_checked("names of cgroups: no cgroup v2 hierarchy is mounted");
    }
    let [id, updated, detached, first, second] = numbers[..] else { panic!("five numbers: {numbers:?}") };
    assert_eq!((updated, detached), (0, 0));
    let path = Value::from(format!("/tt-ends-{pid}/tt_first"));
    // A link that was detached has no cgroup any more: the last event has that of the first.
    for (op, prog) in [("attach", first), ("update", second), ("detach", second)] {
        let event = run.one("bpf", pid, |e| e["op"] == op && e["attach"]["via"] == "link");
        check_attach(&event, "cgroup", "link", &path);
        assert_eq!((&event["attach"]["link_id"], &event["prog"]["id"]), (&id.into(), &prog.into()), "{event}");
    }
}

/// `struct sock_fprog` with one instruction of classic BPF that returns a number.
fn classic(result: u32) -> (Box<[u8; 8]>, Box<[u64; 2]>) {
    let mut insn = Box::new([0u8; 8]);
    insn[0] = 0x06;
    insn[4..].copy_from_slice(&result.to_le_bytes());
    let prog = Box::new([1, insn.as_ptr() as u64]);
    (insn, prog)
}

fn filter_sockets(_: &Output) -> Vec<i64> {
    let (plain, shared) = (udp_socket(), udp_socket());
    let prog = sys::owned(load(SOCKET_FILTER, "tt_filter", &[MOV_R0_1, EXIT]));
    let attach = set_option(&plain, libc::SO_ATTACH_BPF, sys::raw(&prog) as u32);
    let detach = set_option(&plain, libc::SO_DETACH_BPF, 0);
    let again = set_option(&plain, libc::SO_DETACH_BPF, 0);
    let (_insn, filter) = classic(u32::MAX);
    let fd = sys::raw(&plain) as u64;
    let option = libc::SO_ATTACH_FILTER as u64;
    let by_filter = sys::call(libc::SYS_setsockopt, &[fd, libc::SOL_SOCKET as u64, option, filter.as_ptr() as u64, 16]);
    set_option(&shared, libc::SO_REUSEPORT, 1);
    let group = set_option(&shared, libc::SO_ATTACH_REUSEPORT_EBPF, sys::raw(&prog) as u32);
    let inodes = [plain, shared].map(|socket| File::from(socket).metadata().expect("its inode").ino() as i64);
    [&[attach, detach, again, by_filter, group][..], &id_and_tag(&prog), &inodes].concat()
}

fn check_sockets(run: &Run, pid: i32, numbers: &[i64]) {
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
fn filter_tap(_: &Output) -> Vec<i64> {
    sys::unshare(libc::CLONE_NEWNET);
    let tap = sys::call(libc::SYS_openat, &[!0, c("/dev/net/tun").as_ptr() as u64, libc::O_RDWR as u64]);
    if tap < 0 {
        return vec![tap];
    }
    let (tap, null) = (sys::owned(tap), sys::owned(sys::open_path("/dev/null")));
    let ioctl = |file: &OwnedFd, command, at| sys::call(libc::SYS_ioctl, &[sys::raw(file) as u64, command, at]);
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
}

fn check_tap(run: &Run, pid: i32, rets: &[i64]) {
    let [early, refused, attach, detach, elsewhere @ ..] = rets else {
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

const ALLOW: u32 = 0x7fff_0000;

fn filter_calls(_: &Output) -> Vec<i64> {
    let (_insn, filter) = classic(ALLOW);
    let at = filter.as_ptr() as u64;
    sys::call(libc::SYS_prctl, &[libc::PR_SET_NO_NEW_PRIVS as u64, 1]);
    let by_prctl = sys::call(libc::SYS_prctl, &[libc::PR_SET_SECCOMP as u64, 2, at]);
    let by_call = sys::call(libc::SYS_seccomp, &[1, 0, at]);
    let refused = sys::call(libc::SYS_seccomp, &[1]);
    // Others that are none.
    sys::call(libc::SYS_prctl, &[libc::PR_GET_SECCOMP as u64]);
    sys::call(libc::SYS_seccomp, &[2]);
    vec![by_prctl, by_call, refused]
}

fn check_calls(run: &Run, pid: i32, numbers: &[i64]) {
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
fn filter_threads(_: &Output) -> Vec<i64> {
    sys::call(libc::SYS_prctl, &[libc::PR_SET_NO_NEW_PRIVS as u64, 1]);
    let (of_thread, thread_has_one) = std::sync::mpsc::channel();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let (_insn, filter) = classic(ALLOW);
        sys::call(libc::SYS_seccomp, &[1, 0, filter.as_ptr() as u64]);
        of_thread.send(i64::from(sys::tid())).expect("the receiver waits");
        wait.recv()
    });
    let tid = thread_has_one.recv().expect("it is sent");
    let (_insn, filter) = classic(ALLOW);
    let refused = sys::call(libc::SYS_seccomp, &[1, 1, filter.as_ptr() as u64]);
    drop(done);
    let _ = thread.join();
    vec![tid, refused]
}

fn check_threads(run: &Run, pid: i32, numbers: &[i64]) {
    assert_eq!(numbers[0], numbers[1], "the thread that has another filter");
    let rets: Vec<_> = run.kind_of("bpf", pid).iter().map(|e| (e["ret"].clone(), e["err"].clone())).collect();
    assert_eq!(rets, [(0.into(), Value::Null), ((-libc::ESRCH).into(), "ESRCH".into())]);
}

const LINKS: usize = 400;

/// Another thread puts another link at the descriptor of a new one before the probe reads it.
fn replace_links(_: &Output) -> Vec<i64> {
    let load = |name| load_for(BPF_PROG_TYPE_RAW_TRACEPOINT, 0, name, MOV_R0_1).expect("root");
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
}

fn check_replaced_links(run: &Run, pid: i32, _: &[i64]) {
    let events = run.kind_of("bpf", pid);
    let links: Vec<_> = events.iter().filter(|e| e["op"] == "attach" && e["seen_by"] == "call").collect();
    let of = |name: &str| links.iter().filter(|e| e["prog"]["name"] == name).count();
    assert_eq!((of("tt_innocent"), of("tt_real")), (1, LINKS), "{:#?}", links.first());
    let wrong = links.iter().find(|e| e["prog"]["name"] == "tt_real" && e["attach"]["target"] != "sched_process_exec");
    assert!(wrong.is_none(), "{wrong:#?}");
}

fn link_functions(_: &Output) -> Vec<i64> {
    let names = [c("do_nanosleep"), c("hrtimer_nanosleep")];
    let list = names.each_ref().map(|name| name.as_ptr() as u64);
    let prog = match load_for(KPROBE, TRACE_KPROBE_MULTI, "tt_multi", MOV_R0) {
        Ok(prog) => prog,
        Err(error) => return vec![error],
    };
    let linked = create(&prog, 0, TRACE_KPROBE_MULTI, |attr| attr.u32(20, 2).u64(24, list.as_ptr() as u64));
    vec![opened(linked).map_or_else(|error| error, |link| link_id(&link))]
}

fn check_functions(run: &Run, pid: i32, numbers: &[i64]) {
    if lacks(numbers[0], "kprobe_multi links") {
        return;
    }
    let event = run.one("bpf", pid, |event| event["op"] == "attach" && event["err"].is_null());
    let attach = &event["attach"];
    check_has(attach, json!({"type": "kprobe", "multi": 2, "link_id": numbers[0]}));
    let address = u64::from_str_radix(&attach["addr"].as_str().expect("an address")[2..], 16).expect("hex");
    let near = |name: &str| (symbol(name)..symbol(name) + 16).contains(&address);
    let name = ["do_nanosleep", "hrtimer_nanosleep"].into_iter().find(|name| near(name));
    assert_eq!((&attach["symbol"], &attach["target"]), (&name.into(), &name.into()), "{event}");
    assert!(name.is_some() && attach["module"].is_null() && attach["offset"].as_u64() < Some(16), "{event}");
}

const fn call(helper: u64) -> u64 {
    helper << 32 | 0x85
}

fn call_helpers(_: &Output) -> Vec<i64> {
    const SEND_SIGNAL: u64 = 109;
    const PROBE_WRITE_USER: u64 = 36;
    const MOV_R1: u64 = 0x1b7;
    let mut rets = Vec::new();
    // Nothing; a signal in the last instructions of a long program; user memory.
    let long = [vec![MOV_R0; 70_000], vec![MOV_R1, call(SEND_SIGNAL), MOV_R0, EXIT]].concat();
    // r1 = r10, r1 -= 8, *(u64 *)r1 = 0, r2 = r1, r3 = 8, r1 = 0, call, r0 = 0.
    let write =
        [0xa1bf, 0xffff_fff8_0000_0107, 0x17a, 0x12bf, 0x8_0000_03b7, MOV_R1, call(PROBE_WRITE_USER), MOV_R0, EXIT];
    for insns in [&[MOV_R0, EXIT][..], &long, &write] {
        let fd = load(BPF_PROG_TYPE_TRACEPOINT, "tt_helpers_with", insns);
        rets.push(if fd < 0 { fd } else { 0 });
        if fd >= 0 {
            drop(sys::owned(fd));
        }
    }
    rets
}

fn check_helpers(run: &Run, pid: i32, numbers: &[i64]) {
    let events = run.kind_of("bpf", pid);
    assert_eq!(events.len(), 3, "{events:#?}");
    let of = |at: usize| (&events[at]["prog"]["write_user"], &events[at]["prog"]["helpers"]);
    assert_eq!(numbers[..2], [0, 0], "{events:#?}");
    assert_eq!(of(0), (&"no".into(), &serde_json::json!([])), "{}", events[0]);
    match events[1]["prog"]["write_user_why"] == "cut" {
        // Programs at functions may examine fewer instructions.
        true => assert!(doctor().contains("kretprobe.multi "), "{}", events[1]),
        false => assert_eq!(of(1), (&"no".into(), &serde_json::json!(["send_signal"])), "{}", events[1]),
    }
    if numbers[2] < 0 {
        return not_checked("bpf_probe_write_user: this kernel refuses it");
    }
    assert_eq!(of(2), (&"yes".into(), &serde_json::json!(["probe_write_user"])), "{}", events[2]);
}
