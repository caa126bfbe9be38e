//! Each attachment begins once and ends once, however it is made and however it ends: at once, after 20 ms or 300 ms; by a detachment,
//! with its last descriptor, or with its place; and with a program that is unloaded then, or that another descriptor keeps.

use crate::attachments::{set_option, udp_socket};
use crate::bpf::{
    Attr, BPF_PERF_EVENT, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_TRACEPOINT, EXIT, MOV_R0, id_and_tag,
    link_create, link_id, load, perf_event, raw_tracepoint_open, set_bpf, tracepoint_id,
};
use crate::bpf_inventory::{
    BPF_MAP_CREATE, BPF_OBJ_PIN, CGROUP_SKB, FLOW_DISSECTOR, KPROBE, MOV_R0_1, NETFILTER, PERF_EVENT, SCHED_CLS,
    SK_LOOKUP, SK_SKB, SOCKET_FILTER, XDP, create, event, index_of, load_for, prog_attach, run,
};
use crate::sys::{self, c};
use crate::traced::{Dir, Run, alone, doctor, not_checked, release, trace};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

const BPF_PROG_ATTACH: u64 = 8;
const BPF_PROG_DETACH: u64 = 9;
const BPF_LINK_DETACH: u64 = 34;
const TRACING: u32 = 26;
const TRACE_ITER: u32 = 28;

/// Longer than the interval of inventories, and the time for which one waits for a system call.
const KEPT: Duration = Duration::from_secs(12);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    TracepointIoctl,
    TracepointLink,
    RawTracepoint,
    UprobeIoctl,
    UretprobeLink,
    UprobeMulti,
    PerfLink,
    PerfIoctl,
    XdpLink,
    XdpNetlink,
    Tc,
    TcxLink,
    TcxAttach,
    CgroupLink,
    CgroupAttach,
    Sockmap,
    FlowDissector,
    SkLookup,
    Netfilter,
    Iter,
    Socket,
    Reuseport,
}
use Way::*;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// By a system call.
    Detach,
    /// The last descriptor is closed.
    Close,
    /// The cgroup, or the map, is removed.
    Remove,
}

/// The ways, and how they end.
const WAYS: [(Way, &[End]); 22] = [
    (TracepointIoctl, &[End::Close]),
    (TracepointLink, &[End::Close]),
    (RawTracepoint, &[End::Close]),
    (UprobeIoctl, &[End::Close]),
    (UretprobeLink, &[End::Close]),
    (UprobeMulti, &[End::Close]),
    (PerfLink, &[End::Close]),
    (PerfIoctl, &[End::Close]),
    (XdpLink, &[End::Close, End::Detach]),
    (XdpNetlink, &[End::Detach]),
    (Tc, &[End::Detach]),
    (TcxLink, &[End::Close, End::Detach]),
    (TcxAttach, &[End::Detach]),
    (CgroupLink, &[End::Close, End::Detach, End::Remove]),
    (CgroupAttach, &[End::Detach, End::Remove]),
    (Sockmap, &[End::Detach, End::Remove]),
    (FlowDissector, &[End::Detach]),
    (SkLookup, &[End::Close, End::Detach]),
    (Netfilter, &[End::Close]),
    (Iter, &[End::Close]),
    (Socket, &[End::Close, End::Detach]),
    (Reuseport, &[End::Close, End::Detach]),
];

#[derive(Clone, Copy, Debug)]
struct Case {
    way: Way,
    held_ms: u64,
    end: End,
    /// Whether another descriptor keeps the program.
    kept: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (way, ends) in WAYS {
        for end in ends {
            for (held_ms, kept) in [0, 20, 300].into_iter().flat_map(|held| [(held, false), (held, true)]) {
                cases.push(Case { way, held_ms, end: *end, kept });
            }
        }
    }
    cases
}

/// Where the programs are attached.
struct Places {
    tracepoint: u64,
    uprobe: u32,
    file: std::ffi::CString,
    bpffs: String,
    cgroups: String,
    netns: File,
    iter: u32,
}

/// An attachment: what holds it, and what else ends it.
struct Made {
    /// 0 without a link.
    link: i64,
    kept: Vec<OwnedFd>,
    detach: Box<dyn FnOnce() -> i64>,
    remove: Box<dyn FnOnce()>,
}

fn loaded(way: Way, name: &str, places: &Places) -> i64 {
    match way {
        TracepointIoctl | TracepointLink => load(BPF_PROG_TYPE_TRACEPOINT, name, &[MOV_R0, EXIT]),
        RawTracepoint => load(BPF_PROG_TYPE_RAW_TRACEPOINT, name, &[MOV_R0, EXIT]),
        UprobeIoctl | UretprobeLink => load(KPROBE, name, &[MOV_R0, EXIT]),
        UprobeMulti => load_for(KPROBE, 48, name, MOV_R0),
        PerfLink | PerfIoctl => load(PERF_EVENT, name, &[MOV_R0, EXIT]),
        XdpLink => load_for(XDP, 37, name, MOV_R0),
        XdpNetlink => load(XDP, name, &[MOV_R0, EXIT]),
        Tc | TcxLink | TcxAttach => load(SCHED_CLS, name, &[MOV_R0, EXIT]),
        CgroupLink => load_for(CGROUP_SKB, 0, name, MOV_R0_1),
        CgroupAttach => load_for(CGROUP_SKB, 1, name, MOV_R0_1),
        Sockmap => load_for(SK_SKB, 5, name, MOV_R0_1),
        FlowDissector => load(FLOW_DISSECTOR, name, &[MOV_R0, EXIT]),
        SkLookup => load_for(SK_LOOKUP, 36, name, MOV_R0_1),
        Netfilter => load_for(NETFILTER, 45, name, MOV_R0_1),
        Socket | Reuseport => load(SOCKET_FILTER, name, &[MOV_R0, EXIT]),
        Iter => {
            let (licence, insns) = (c("GPL"), [MOV_R0, EXIT]);
            let attr = Attr::of_load(TRACING, name, (2, insns.as_ptr() as u64), licence.as_ptr() as u64);
            attr.u32(68, TRACE_ITER).u32(108, places.iter).call(crate::bpf::BPF_PROG_LOAD)
        }
    }
}

fn by_link(link: i64, mut kept: Vec<OwnedFd>) -> Result<Made, i64> {
    if link < 0 {
        return Err(link);
    }
    let link = sys::owned(link);
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
fn by_attach(prog: &OwnedFd, target: u32, attach_type: u32, kept: Vec<OwnedFd>) -> Result<Made, i64> {
    let done = prog_attach(prog, target, attach_type);
    let again = prog.try_clone().expect("a descriptor");
    let detach = move || {
        let attr = Attr::new().u32(0, target).u32(4, sys::raw(&again) as u32).u32(8, attach_type);
        { attr }.call(BPF_PROG_DETACH)
    };
    without_link(done, kept, detach)
}

fn attach(way: Way, prog: &OwnedFd, places: &Places, name: &str) -> Result<Made, i64> {
    let lo = index_of("lo");
    let probe = |returns, offset| sys::owned(event(places.uprobe, returns, Some(&places.file), offset));
    let linked =
        |event: OwnedFd| by_link(create(prog, sys::raw(&event) as u32, BPF_PERF_EVENT, |attr| attr), vec![event]);
    let set = |event: OwnedFd| without_link(set_bpf(prog, &event), vec![event], || 0);
    match way {
        TracepointIoctl => set(perf_event(places.tracepoint)),
        TracepointLink => {
            let event = perf_event(places.tracepoint);
            by_link(link_create(prog, sys::raw(&event), 5), vec![event])
        }
        RawTracepoint => by_link(raw_tracepoint_open(prog, "sched_process_exit"), vec![]),
        UprobeIoctl => set(probe(0, 0x1000)),
        UretprobeLink => linked(probe(1, 0x1008)),
        UprobeMulti => {
            let offsets = [0x1010u64, 0x1018];
            let multi =
                |attr: Attr| attr.u64(16, places.file.as_ptr() as u64).u64(24, offsets.as_ptr() as u64).u32(48, 2);
            by_link(create(prog, 0, 48, multi), vec![])
        }
        PerfLink => linked(sys::owned(event(1, 0, None, 0))),
        PerfIoctl => set(sys::owned(event(1, 0, None, 0))),
        XdpLink => by_link(create(prog, lo, 37, |attr| attr.u32(12, 2)), vec![]),
        XdpNetlink => {
            let id = id_and_tag(prog)[0].to_string();
            let done = run("bpftool", &["net", "attach", "xdpgeneric", "id", &id, "dev", "tt0"]);
            without_link(done, vec![], || run("ip", &["link", "set", "dev", "tt0", "xdpgeneric", "off"]))
        }
        Tc => {
            let pin = format!("{}/{name}", places.bpffs);
            let path = c(pin.as_str());
            Attr::new().u64(0, path.as_ptr() as u64).u32(8, sys::raw(prog) as u32).call(BPF_OBJ_PIN);
            let add = ["filter", "add", "dev", "lo", "ingress", "bpf", "da", "object-pinned", &pin];
            let done = run("tc", &["qdisc", "add", "dev", "lo", "clsact"]).min(run("tc", &add));
            let _ = fs::remove_file(&pin);
            without_link(done, vec![], || run("tc", &["qdisc", "del", "dev", "lo", "clsact"]))
        }
        TcxLink => by_link(create(prog, lo, 46, |attr| attr), vec![]),
        TcxAttach => by_attach(prog, lo, 47, vec![]),
        CgroupLink | CgroupAttach => {
            let path = format!("{}/{name}", places.cgroups);
            fs::create_dir(&path).expect("a cgroup");
            let dir: OwnedFd = File::open(&path).expect("a cgroup").into();
            let fd = sys::raw(&dir) as u32;
            let made = match way {
                CgroupLink => by_link(create(prog, fd, 0, |attr| attr), vec![dir]),
                _ => by_attach(prog, fd, 1, vec![dir]),
            };
            made.map(|made| Made { remove: Box::new(move || fs::remove_dir(&path).expect("it is empty")), ..made })
        }
        Sockmap => {
            let map = Attr::new().u32(0, 15).u32(4, 4).u32(8, 4).u32(12, 1).put(28, b"tt_sockmap").call(BPF_MAP_CREATE);
            let map = sys::owned(map);
            by_attach(prog, sys::raw(&map) as u32, 5, vec![map])
        }
        FlowDissector => by_attach(prog, 0, 17, vec![]),
        SkLookup => by_link(create(prog, places.netns.as_raw_fd() as u32, 36, |attr| attr), vec![]),
        Netfilter => by_link(create(prog, 0, 45, |attr| attr.u32(16, 2).u32(20, 3).u32(24, 7)), vec![]),
        Iter => by_link(create(prog, 0, TRACE_ITER, |attr| attr), vec![]),
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
    }
}

/// See socket(7).
const SO_DETACH_REUSEPORT_BPF: i32 = 68;

/// Makes the attachments one after another. Returns the id of the program, or −errno, and that of the link of each.
fn make_all(places: &Places) -> Vec<i64> {
    let (mut numbers, mut kept) = (Vec::new(), Vec::new());
    for (n, case) in cases().into_iter().enumerate() {
        let name = format!("tt_end{n}");
        let prog = loaded(case.way, &name, places);
        if prog < 0 {
            numbers.extend([prog, 0]);
            continue;
        }
        let prog = sys::owned(prog);
        match attach(case.way, &prog, places, &name) {
            Err(error) => numbers.extend([error, 0]),
            Ok(made) => {
                numbers.extend([id_and_tag(&prog)[0], made.link]);
                // The attachment keeps the program.
                kept.extend(case.kept.then_some(prog));
                std::thread::sleep(Duration::from_millis(case.held_ms));
                let Made { kept: held, detach, remove, .. } = made;
                match case.end {
                    End::Detach => assert!(detach() >= 0, "{case:?}"),
                    End::Close | End::Remove => drop(detach),
                }
                if case.end == End::Remove {
                    remove();
                    drop(held);
                } else {
                    drop(held);
                    remove();
                }
            }
        }
    }
    std::thread::sleep(KEPT);
    numbers
}

#[test]
fn every_attachment_ends_once() {
    let _alone = alone();
    let dir = Dir::new();
    let (bpffs, tracefs, cgroups) = (dir.dir("bpffs"), dir.dir("tracefs"), dir.dir("cgroups"));
    let file = dir.at("program");
    fs::copy("/bin/true", &file).expect("a copy");
    let iter = tracetui_host::btf::Btf::running().ok().and_then(|btf| btf.func("bpf_iter_bpf_map"));
    let trace_netns = File::open("/proc/self/ns/net").expect("a namespace");
    let acted = trace("bpf", || {
        let tracepoint = tracepoint_id(&tracefs, "sched/sched_process_exit");
        sys::mount("bpf", &bpffs, "bpf", 0);
        sys::mount("cgroup2", &cgroups, "cgroup2", 0);
        let cgroups = format!("{cgroups}/tt-ends-{}", sys::pid());
        fs::create_dir(&cgroups).expect("a cgroup");
        let uprobe = fs::read_to_string("/sys/bus/event_source/devices/uprobe/type").unwrap_or_default();
        let uprobe = uprobe.trim().parse().unwrap_or(u32::MAX);
        sys::unshare(libc::CLONE_NEWNET);
        let linked = link_to(&trace_netns, "tt0");
        let netns = File::open("/proc/self/ns/net").expect("a namespace");
        let file = c(file.as_str());
        let iter = iter.unwrap_or(u32::MAX);
        let places = Places { tracepoint, uprobe, file, bpffs, cgroups: cgroups.clone(), netns, iter };
        let mut numbers = make_all(&places);
        fs::remove_dir(&cgroups).expect("it is empty");
        numbers.push(i64::from(linked));
        numbers
    });
    let Some((run, pid, numbers)) = acted else { return };
    let notified = numbers.last() == Some(&1);
    if !notified {
        let _ =
            writeln!(std::io::stderr(), "not checked: whether netlink attachments are all seen: no veth interfaces");
    }
    let mut failed = Vec::new();
    let mut checked = 0;
    for ((n, case), ids) in cases().into_iter().enumerate().zip(numbers.chunks_exact(2)) {
        if ids[0] < 0 {
            let _ = writeln!(std::io::stderr(), "not checked: {case:?}: error {}", ids[0]);
            continue;
        }
        checked += 1;
        failed.extend(check(&run, pid, &case, ids, notified).err().map(|why| format!("{n}: {case:?}: {why}")));
    }
    println!("{checked} attachments of {} ways", WAYS.len());
    assert!(failed.is_empty(), "{} of {checked}: {failed:#?}", failed.len());
}

/// The same program at two cgroups, of which one is removed, and several times at one socket.
#[test]
fn an_end_names_its_place() {
    let _alone = alone();
    let dir = Dir::new();
    let cgroups = dir.dir("cgroups");
    let acted = trace("bpf", || {
        sys::mount("cgroup2", &cgroups, "cgroup2", 0);
        let [removed, kept] = ["removed", "kept"].map(|name| format!("{cgroups}/tt-{name}-{}", sys::pid()));
        let program = sys::owned(load_for(CGROUP_SKB, 1, "tt_twice", MOV_R0_1));
        let made = [&removed, &kept].map(|path| {
            fs::create_dir(path).expect("a cgroup");
            let dir: OwnedFd = File::open(path).expect("a cgroup").into();
            by_attach(&program, sys::raw(&dir) as u32, 1, vec![dir]).map(|made| (made.kept, made.detach))
        });
        let [other, again] =
            ["tt_socket", "tt_another"].map(|name| sys::owned(load(SOCKET_FILTER, name, &[MOV_R0, EXIT])));
        let socket = udp_socket();
        let set = |program: &OwnedFd| set_option(&socket, libc::SO_ATTACH_BPF, sys::raw(program) as u32);
        let set = [set(&other), set(&other), set(&again), set_option(&socket, libc::SO_DETACH_BPF, 0)];
        std::thread::sleep(Duration::from_secs(1));
        fs::remove_dir(&removed).expect("it is empty");
        let [Ok(_first), Ok((dir, detach))] = made else { return vec![] };
        let detached = detach();
        drop(dir);
        std::thread::sleep(KEPT);
        fs::remove_dir(&kept).expect("it is empty");
        vec![
            id_and_tag(&program)[0],
            id_and_tag(&other)[0],
            id_and_tag(&again)[0],
            detached.min(*set.iter().min().unwrap_or(&0)),
        ]
    });
    let Some((run, pid, numbers)) = acted else { return };
    let [program, other, again, 0] = numbers[..] else { return not_checked(&format!("not attached: {numbers:?}")) };
    let of =
        |id: i64, op: &str| -> Vec<Value> { run.lines().filter(|e| e["prog"]["id"] == id && e["op"] == op).collect() };
    let ends: Vec<String> =
        of(program, "detach").iter().map(|e| format!("{} {}", e["seen_by"], e["attach"]["target"])).collect();
    let names = [("inventory", "removed"), ("call", "kept")];
    let is_named = |(by, name)| ends.iter().any(|end| end.contains(by) && end.contains(&format!("tt-{name}-{pid}")));
    assert!(ends.len() == 2 && names.into_iter().all(is_named), "{ends:?}");
    let mut seen: Vec<Value> =
        [other, again].into_iter().flat_map(|id| [of(id, "attach"), of(id, "detach")].concat()).collect();
    seen.sort_by_key(|e| e["ns"].as_u64());
    let shown: Vec<_> =
        seen.iter().map(|e| format!("{} {} {}", e["op"], e["prog"]["id"] == other, e["pid"] == pid)).collect();
    let [begin, end] = ["attach", "detach"].map(|op| move |first: bool| format!("\"{op}\" {first} true"));
    assert_eq!(shown, [begin(true), end(true), begin(true), end(true), begin(false), end(false)]);
}

/// The places where BPF_PROG_ATTACH replaces a program: by the kind of place, or by the flag that names the program.
#[test]
fn a_replaced_program_ends_at_the_call() {
    const MULTI: u32 = 2;
    const REPLACE: u32 = 4;
    let _alone = alone();
    let dir = Dir::new();
    let cgroups = dir.dir("cgroups");
    // Flags of the second attachment.
    let ways =
        [(CgroupAttach, 0), (CgroupAttach, MULTI | REPLACE), (Sockmap, 0), (FlowDissector, 0), (TcxAttach, REPLACE)];
    let acted = trace("bpf", || {
        sys::mount("cgroup2", &cgroups, "cgroup2", 0);
        sys::unshare(libc::CLONE_NEWNET);
        let map = sys::owned(Attr::new().u32(0, 15).u32(4, 4).u32(8, 4).u32(12, 1).call(BPF_MAP_CREATE));
        let mut numbers = Vec::new();
        for (nth, (way, flags)) in ways.into_iter().enumerate() {
            let path = format!("{cgroups}/tt-{nth}-{}", sys::pid());
            fs::create_dir(&path).expect("a cgroup");
            let cgroup: OwnedFd = File::open(&path).expect("a cgroup").into();
            let (kind, expected, attach_type, target) = match way {
                CgroupAttach => (CGROUP_SKB, 1, 1, sys::raw(&cgroup) as u32),
                Sockmap => (SK_SKB, 5, 5, sys::raw(&map) as u32),
                FlowDissector => (FLOW_DISSECTOR, 0, 17, 0),
                _ => (SCHED_CLS, 0, 47, index_of("lo")),
            };
            let [old, new] = ["tt_old", "tt_new"].map(|name| sys::owned(load_for(kind, expected, name, MOV_R0_1)));
            let attach = |program: &OwnedFd, flags: u32| {
                let attr =
                    Attr::new().u32(0, target).u32(4, sys::raw(program) as u32).u32(8, attach_type).u32(12, flags);
                let replaced = if flags & REPLACE != 0 { sys::raw(&old) as u32 } else { 0 };
                { attr.u32(16, replaced) }.call(BPF_PROG_ATTACH)
            };
            let done = attach(&old, flags & !REPLACE).min(attach(&new, flags));
            numbers.extend([id_and_tag(&old)[0], id_and_tag(&new)[0], done]);
            let detach = Attr::new().u32(0, target).u32(4, sys::raw(&new) as u32).u32(8, attach_type);
            { detach }.call(BPF_PROG_DETACH);
            drop(cgroup);
            fs::remove_dir(&path).expect("it is empty");
        }
        numbers
    });
    let Some((run, pid, numbers)) = acted else { return };
    for ((way, flags), ids) in ways.into_iter().zip(numbers.chunks_exact(3)) {
        if ids[2] < 0 {
            not_checked(&format!("{way:?} {flags}: error {}", ids[2]));
            continue;
        }
        let is_change = |e: &Value| matches!(e["op"].as_str(), Some("attach" | "detach"));
        let of = run.lines().filter(|e| is_change(e) && ids[..2].iter().any(|id| e["prog"]["id"] == *id));
        let shown: Vec<_> = of.map(|e| format!("{} {} {}", e["op"], e["prog"]["name"], e["pid"] == pid)).collect();
        let expected = [("attach", "old"), ("detach", "old"), ("attach", "new"), ("detach", "new")];
        let expected = expected.map(|(op, name)| format!("\"{op}\" \"tt_{name}\" true"));
        assert_eq!(shown, expected, "{way:?} {flags}");
    }
}

#[test]
fn an_attachment_by_netlink_has_its_process() {
    let _alone = alone();
    let dir = Dir::new();
    let bpffs = dir.dir("bpffs");
    let acted = trace("bpf", || {
        sys::mount("bpf", &bpffs, "bpf", 0);
        let [name, peer] = ["a", "b"].map(|end| format!("tt{}{end}", sys::pid()));
        if run("ip", &["link", "add", &name, "type", "veth", "peer", "name", &peer]) != 0 {
            return vec![];
        }
        for end in [&name, &peer] {
            run("ip", &["link", "set", "dev", end, "up"]);
        }
        let dev = |words: &[&'static str]| -> Vec<String> {
            words.iter().map(|word| if *word == "DEV" { name.clone() } else { (*word).to_owned() }).collect()
        };
        let act = |command: &str, words: &[String]| {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            i64::from(run(command, &words) == 0)
        };
        // The first inventory has been taken.
        std::thread::sleep(Duration::from_secs(1));
        let mut numbers = Vec::new();
        for n in 0..4 {
            let program = sys::owned(load(XDP, &format!("tt_by{n}"), &[MOV_R0, EXIT]));
            let id = id_and_tag(&program)[0].to_string();
            let done =
                act("bpftool", &[dev(&["net", "attach", "xdpgeneric", "id"]), vec![id], dev(&["dev", "DEV"])].concat());
            std::thread::sleep(Duration::from_millis([0, 20, 300, 0][n]));
            let gone = act("ip", &dev(&["link", "set", "dev", "DEV", "xdpgeneric", "off"]));
            numbers.extend([id_and_tag(&program)[0], done & gone]);
        }
        let ends: [&[&str]; 3] = [
            &["filter", "del", "dev", "DEV", "ingress", "prio", "1"],
            &["filter", "del", "dev", "DEV", "ingress"],
            &["qdisc", "del", "dev", "DEV", "clsact"],
        ];
        act("tc", &dev(&["qdisc", "add", "dev", "DEV", "clsact"]));
        for (n, end) in ends.into_iter().enumerate() {
            let program = sys::owned(load(SCHED_CLS, &format!("tt_tc{n}"), &[MOV_R0, EXIT]));
            let pin = format!("{bpffs}/{n}");
            let path = c(pin.as_str());
            Attr::new().u64(0, path.as_ptr() as u64).u32(8, sys::raw(&program) as u32).call(BPF_OBJ_PIN);
            let words = dev(&["filter", "add", "dev", "DEV", "ingress", "prio", "1", "bpf", "da", "object-pinned"]);
            let done = act("tc", &[words, vec![pin]].concat());
            std::thread::sleep(Duration::from_millis(20));
            let end: Vec<String> = end.iter().map(|word| word.replace("DEV", &name)).collect();
            numbers.extend([id_and_tag(&program)[0], done & act("tc", &end)]);
            // What another process does next could have ended the filter too.
            std::thread::sleep(Duration::from_millis(700));
        }
        // The inventory has reported the ends.
        std::thread::sleep(KEPT);
        run("ip", &["link", "del", "dev", &name]);
        numbers
    });
    let Some((run, pid, numbers)) = acted else { return };
    if numbers.is_empty() || numbers.chunks_exact(2).any(|ids| ids[1] == 0) {
        return not_checked(&format!("there is no ip(8), tc(8) or bpftool(8), or no veth: {numbers:?}"));
    }
    for (n, ids) in numbers.chunks_exact(2).enumerate() {
        // The end of a filter has no process.
        let by = if n < 4 { [Some("bpftool"), Some("ip")] } else { [Some("tc"), None] };
        for (op, command) in ["attach", "detach"].into_iter().zip(by) {
            let events: Vec<Value> = run.lines().filter(|e| e["prog"]["id"] == ids[0] && e["op"] == op).collect();
            let [event] = &events[..] else {
                let all: Vec<Value> = run.lines().filter(|e| e["prog"]["id"] == ids[0]).collect();
                panic!("{n}: {op}: {all:#?}")
            };
            let parent = command.map(|_| pid);
            assert_eq!((&event["comm"], &event["ppid"]), (&command.into(), &parent.into()), "{n}: {event}");
        }
    }
}

/// At an interface that is down, in another network namespace, of which no notification comes. The second program replaces the first.
#[test]
fn an_interface_that_is_down_hides_no_xdp_program() {
    let _alone = alone();
    let attached = |line: &str| {
        ["bpf_xdp ", "bpf_sent "].iter().any(|name| line.starts_with(name)) && !line.contains("not attached")
    };
    if !doctor().lines().any(attached) {
        return not_checked("calls of netlink: neither bpf_xdp nor bpf_sent");
    }
    let held = [0, 20, 300];
    let acted = trace("bpf", move || {
        sys::unshare(libc::CLONE_NEWNET);
        let dev = |words: &[&str]| run("ip", &[&["link"], words].concat());
        if dev(&["add", "tt0", "type", "veth", "peer", "name", "tt1"]) != 0 {
            return vec![];
        }
        let attach = |program: &OwnedFd| {
            let id = id_and_tag(program)[0];
            [id, run("bpftool", &["net", "attach", "xdpgeneric", "id", &id.to_string(), "dev", "tt0", "overwrite"])]
        };
        let off = || dev(&["set", "dev", "tt0", "xdpgeneric", "off"]);
        let mut numbers = Vec::new();
        for ms in held {
            let [first, second] = ["tt_down", "tt_next"].map(|name| sys::owned(load(XDP, name, &[MOV_R0, EXIT])));
            numbers.extend(attach(&first));
            std::thread::sleep(Duration::from_millis(ms));
            numbers.extend(attach(&second));
            std::thread::sleep(Duration::from_millis(ms));
            // The second call changes nothing.
            numbers.extend([off(), off()]);
        }
        std::thread::sleep(KEPT);
        numbers
    });
    let Some((run, pid, numbers)) = acted else { return };
    if numbers.is_empty() || numbers.chunks_exact(2).any(|ids| ids[1] != 0) {
        return not_checked(&format!("there is no ip(8) or bpftool(8), or no veth: {numbers:?}"));
    }
    for ids in numbers.chunks_exact(6) {
        for (id, commands) in [(ids[0], ["bpftool", "bpftool"]), (ids[2], ["bpftool", "ip"])] {
            let of = |e: &Value| e["prog"]["id"] == id && matches!(e["op"].as_str(), Some("attach" | "detach"));
            let events: Vec<Value> = run.lines().filter(of).collect();
            let shown = |e: &Value| format!("{} {} {}", e["op"], e["comm"], e["attach"]["target"]);
            let expected = ["attach", "detach"].into_iter().zip(commands);
            let expected: Vec<_> = expected.map(|(op, by)| format!("\"{op}\" \"{by}\" \"tt0\"")).collect();
            assert_eq!(events.iter().map(shown).collect::<Vec<_>>(), expected, "{events:#?}");
            assert!(events.iter().all(|event| event["ppid"] == pid), "{events:#?}");
        }
    }
}

/// Connects the namespace of the caller with another one by a pair of interfaces. The other then has an id for it, and gets its
/// notifications. Returns whether there are such interfaces.
fn link_to(other: &File, name: &str) -> bool {
    let (pid, other_name) = (sys::pid().to_string(), format!("tt{}", sys::pid()));
    let net = format!("--net=/proc/{pid}/fd/{}", other.as_raw_fd());
    let peer = ["link", "add", &other_name, "type", "veth", "peer", "name", name, "netns", &pid];
    let linked = run("nsenter", &[&[net.as_str(), "ip"], &peer[..]].concat()) == 0;
    linked && run("ip", &["link", "set", "dev", name, "up"]) == 0
}

/// Checks the events of an attachment. `notified`: the kernel notifies tracetui of changes of interfaces in its namespace.
fn check(run: &Run, pid: i32, case: &Case, ids: &[i64], notified: bool) -> Result<(), String> {
    let is_of = |e: &Value| e["prog"]["id"] == ids[0] || ids[1] != 0 && e["attach"]["link_id"] == ids[1];
    // A detachment of a socket need not name the program.
    let begun = run.lines().find(|e| is_of(e) && e["op"] == "attach").map(|begin| begin["attach"]["target"].clone());
    let socket = begun.filter(|target| target.as_str().is_some_and(|target| target.starts_with("socket:")));
    let is_there = |e: &Value| socket.is_some() && socket.as_ref() == e["attach"].get("target");
    let events: Vec<Value> = run.lines().filter(|e| e["kind"] == "bpf" && (is_of(e) || is_there(e))).collect();
    let of = |op: &str| events.iter().filter(|e| e["op"] == op).cloned().collect::<Vec<_>>();
    let (begun, ended) = (of("attach"), of("detach"));
    let shown =
        |events: &[Value]| events.iter().map(|e| format!("{} {}", e["seen_by"], e["attach"])).collect::<Vec<_>>();
    let by_netlink = matches!(case.way, XdpNetlink | Tc);
    // Without notifications, an inventory may miss those of netlink.
    if by_netlink && !notified && begun.is_empty() && ended.is_empty() {
        return Ok(());
    }
    let ([begin], [end]) = (&begun[..], &ended[..]) else {
        return Err(format!("begins {:?}, ends {:?}", shown(&begun), shown(&ended)));
    };
    // Who made the attachment, and the end if that was a call. In another network namespace, nobody is named for tc, and perhaps
    // nobody for XDP.
    for event in [Some(begin), Some(end).filter(|_| case.end == End::Detach)].into_iter().flatten() {
        let is_right = match case.way {
            Tc => event["pid"].is_null(),
            XdpNetlink => event["pid"].is_null() || event["ppid"] == pid,
            _ => event["pid"] == pid,
        };
        if !is_right {
            return Err(format!("by {}[{}]: {}", event["comm"], event["pid"], shown(std::slice::from_ref(event))[0]));
        }
    }
    let ns = |event: &Value| event["ns"].as_u64().expect("a number");
    if ns(begin) > ns(end) {
        return Err("it ends before it begins".to_owned());
    }
    let word = |key: &str| (begin["attach"][key].clone(), end["attach"][key].clone());
    for key in ["type", "via", "link_id"] {
        if word(key).0 != word(key).1 {
            return Err(format!("{key}: {:?}", word(key)));
        }
    }
    let unloads = of("unload");
    let [unload] = &unloads[..] else { return Err(format!("unloaded {} times", unloads.len())) };
    // Only iterators show a perf_event program without a link. Otherwise the unload ends it.
    let waits = case.way == PerfIoctl && ((5, 15)..(5, 19)).contains(&release());
    let early = ns(unload).saturating_sub(ns(end)) > 200_000_000;
    // A notification may come after the unload. The detachment of a group unloads the program before it returns.
    let may_follow = by_netlink || (case.way, case.end) == (Reuseport, End::Detach);
    if case.kept && !early && !waits || ns(unload) < ns(end) && !may_follow {
        return Err(format!("unloaded {} ns after the end", ns(unload) as i64 - ns(end) as i64));
    }
    Ok(())
}
