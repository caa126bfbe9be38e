//! The inventory of BPF programs, compared with bpftool and with what the tests attached.

use crate::attachments::{set_option, udp_socket};
use crate::bpf::{
    Attr, BPF_LINK_CREATE, BPF_PERF_EVENT, BPF_PROG_LOAD, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_TRACEPOINT, EXIT,
    MOV_R0, id_and_tag, link_create, link_id, load, perf_event, raw_tracepoint_open, set_bpf, tracepoint_id,
};
use crate::sys::{self, Actor, c};
use crate::traced::{Dir, alone, may_trace, not_checked, release, tracetui, wait_at_most};
use rustc_hash::FxHashSet;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tracetui_events::bpf::{Inventory, Unseen};
use tracetui_host::ksymbols::{ProgramStream, StreamChange};
use tracetui_inspect::Collector;
use tracetui_shared::id::{ProgId, Tgid};
use tracetui_shared::time::BootNanos;

pub(crate) const BPF_MAP_CREATE: u64 = 0;
pub(crate) const BPF_OBJ_PIN: u64 = 6;
const BPF_PROG_ATTACH: u64 = 8;
const BPF_PROG_DETACH: u64 = 9;

pub(crate) const SOCKET_FILTER: u32 = 1;
pub(crate) const KPROBE: u32 = 2;
pub(crate) const SCHED_CLS: u32 = 3;
pub(crate) const XDP: u32 = 6;
pub(crate) const PERF_EVENT: u32 = 7;
pub(crate) const CGROUP_SKB: u32 = 8;
pub(crate) const SK_SKB: u32 = 14;
pub(crate) const FLOW_DISSECTOR: u32 = 22;
pub(crate) const SK_LOOKUP: u32 = 30;
pub(crate) const NETFILTER: u32 = 32;

/// `mov64 r0, 1`.
pub(crate) const MOV_R0_1: u64 = 0x1_0000_00b7;

/// Loads a program that returns 0 or 1, with an expected attach type.
pub(crate) fn load_for(prog_type: u32, expected: u32, name: &str, insn: u64) -> i64 {
    let (licence, insns) = (c("GPL"), [insn, EXIT]);
    let attr = Attr::of_load(prog_type, name, (2, insns.as_ptr() as u64), licence.as_ptr() as u64);
    attr.u32(68, expected).call(BPF_PROG_LOAD)
}

/// A program that calls a helper with r1 = 9 (as a signal: SIGKILL), but never runs.
fn load_calling(helper: i32, name: &str) -> i64 {
    let call = 0x85 | u64::from(helper.cast_unsigned()) << 32;
    load(BPF_PROG_TYPE_TRACEPOINT, name, &[0x9_0000_01b7, call, MOV_R0, EXIT])
}

/// BPF_LINK_CREATE: program, target, attach type, flags, and what follows at 16.
pub(crate) fn create(prog: &OwnedFd, target: u32, attach_type: u32, rest: impl FnOnce(Attr) -> Attr) -> i64 {
    let attr = Attr::new().u32(0, sys::raw(prog) as u32).u32(4, target).u32(8, attach_type);
    rest(attr).call(BPF_LINK_CREATE)
}

pub(crate) fn prog_attach(prog: &OwnedFd, target: u32, attach_type: u32) -> i64 {
    Attr::new().u32(0, target).u32(4, sys::raw(prog) as u32).u32(8, attach_type).call(BPF_PROG_ATTACH)
}

/// A perf event of any kind.
pub(crate) fn event(event_type: u32, config: u64, path: Option<&std::ffi::CString>, offset: u64) -> i64 {
    let path = path.map_or(0, |path| path.as_ptr() as u64);
    let mut attr = Attr::new().u32(0, event_type).u32(4, 112).u64(8, config).u64(56, path).u64(64, offset);
    sys::call(libc::SYS_perf_event_open, [attr.0.as_mut_ptr() as u64, !0, 0, !0, 8])
}

pub(crate) fn index_of(interface: &str) -> u32 {
    // SAFETY: the name is a C string that outlives the call.
    unsafe { libc::if_nametoindex(c(interface).as_ptr()) }
}

/// What was attached: the program's id, or −errno if this kernel refuses it. Descriptors stay open.
#[derive(Default)]
struct Attached {
    ids: Vec<i64>,
    kept: Vec<OwnedFd>,
}

impl Attached {
    /// Notes a program and the result of its attachment.
    fn note(&mut self, prog: i64, attach: impl FnOnce(&OwnedFd) -> i64, result: Returned) {
        if prog < 0 {
            return self.ids.push(prog);
        }
        let prog = sys::owned(prog);
        let done = attach(&prog);
        if done >= 0 && result == Returned::Fd {
            self.kept.push(sys::owned(done));
        }
        self.ids.push(if done < 0 { done } else { id_and_tag(&prog)[0] });
        self.kept.push(prog);
    }
}

/// What a successful attachment returns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Returned {
    Fd,
    Nothing,
}

pub(crate) fn run(program: &str, args: &[&str]) -> i64 {
    let done = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if done.is_ok_and(|status| status.success()) { 0 } else { -i64::from(libc::ENOSYS) }
}

/// What a way must look like: attach type in our words, mechanism, target, and a field with its value.
type Way = (&'static str, &'static str, &'static str, Option<(&'static str, Value)>);

/// The ways, in the order of [`attach_all`].
fn ways() -> Vec<Way> {
    vec![
        ("tracepoint", "link", "sched:sched_process_exit", None),
        ("tracepoint", "ioctl", "sched:sched_process_exit", None),
        ("raw_tracepoint", "link", "sched_process_exit", None),
        ("uprobe", "ioctl", "FILE", Some(("offset", 0x1000.into()))),
        ("uretprobe", "link", "FILE", Some(("offset", 0x1008.into()))),
        ("uprobe", "link", "FILE", Some(("multi", 2.into()))),
        ("perf_event", "link", "cpu-clock", None),
        ("perf_event", "ioctl", "task-clock", None),
        ("xdp", "link", "lo", Some(("ifindex", 1.into()))),
        ("xdp", "netlink", "tt0", Some(("flags", "generic".into()))),
        ("tc", "netlink", "lo", Some(("flags", "ingress direct-action prio 49152".into()))),
        ("tcx", "link", "lo", Some(("attach_type", "tcx_ingress".into()))),
        ("tcx", "prog_attach", "lo", Some(("attach_type", "tcx_egress".into()))),
        ("cgroup", "prog_attach", "CGROUP", Some(("attach_type", "cgroup_inet_egress".into()))),
        ("cgroup", "link", "CGROUP", Some(("attach_type", "cgroup_inet_ingress".into()))),
        ("sockmap", "prog_attach", "tt_sockmap", Some(("attach_type", "sk_skb_stream_verdict".into()))),
        ("flow_dissector", "prog_attach", "NETNS", None),
        ("sk_lookup", "link", "NETNS", None),
        ("netfilter", "link", "ip output priority 7", None),
        ("socket_filter", "setsockopt", "socket:", None),
        ("reuseport", "setsockopt", "", None),
    ]
}

/// Attaches in every way that user space can look up. In its own network and mount namespaces, with `/bpf` and tracefs.
fn attach_all(bpffs: &str, tracefs: &str, file: &str, cgroup: &str) -> Attached {
    use Returned::{Fd, Nothing};
    let mut all = Attached::default();
    let tracepoint = tracepoint_id(tracefs, "sched/sched_process_exit");
    let trace = |name: &str| load(BPF_PROG_TYPE_TRACEPOINT, name, &[MOV_R0, EXIT]);
    let events: Vec<_> = (0..2).map(|_| perf_event(tracepoint)).collect();
    all.note(trace("tt_linked"), |prog| link_create(prog, sys::raw(&events[0]), 5), Fd);
    all.note(trace("tt_set"), |prog| set_bpf(prog, &events[1]), Nothing);
    all.kept.extend(events);
    let raw = load(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_raw", &[MOV_R0, EXIT]);
    all.note(raw, |prog| raw_tracepoint_open(prog, "sched_process_exit"), Fd);

    let uprobe_type = fs::read_to_string("/sys/bus/event_source/devices/uprobe/type").unwrap_or_default();
    let uprobe_type: u32 = uprobe_type.trim().parse().unwrap_or(u32::MAX);
    let path = c(file);
    let probe = |name: &str| load(KPROBE, name, &[MOV_R0, EXIT]);
    let (entry, returned) = (event(uprobe_type, 0, Some(&path), 0x1000), event(uprobe_type, 1, Some(&path), 0x1008));
    let (entry, returned) = (sys::owned(entry), sys::owned(returned));
    all.note(probe("tt_uprobe"), |prog| set_bpf(prog, &entry), Nothing);
    all.note(probe("tt_uretprobe"), |prog| link_create(prog, sys::raw(&returned), 0), Fd);
    all.kept.extend([entry, returned]);
    let offsets = [0x1010u64, 0x1018];
    let multi = |attr: Attr| attr.u64(16, path.as_ptr() as u64).u64(24, offsets.as_ptr() as u64).u32(48, 2);
    all.note(load_for(KPROBE, 48, "tt_multi", MOV_R0), |prog| create(prog, 0, 48, multi), Fd);
    let clock = sys::owned(event(1, 0, None, 0));
    let linked = |prog: &OwnedFd| create(prog, sys::raw(&clock) as u32, BPF_PERF_EVENT, |attr| attr);
    all.note(load(PERF_EVENT, "tt_clock", &[MOV_R0, EXIT]), linked, Fd);
    let other = sys::owned(event(1, 1, None, 0));
    all.note(load(PERF_EVENT, "tt_other", &[MOV_R0, EXIT]), |prog| set_bpf(prog, &other), Nothing);
    all.kept.extend([clock, other]);

    sys::unshare(libc::CLONE_NEWNET);
    run("ip", &["link", "add", "tt0", "type", "veth", "peer", "name", "tt1"]);
    let lo = index_of("lo");
    all.note(load_for(XDP, 37, "tt_xdp", MOV_R0), |prog| create(prog, lo, 37, |attr| attr.u32(12, 2)), Fd);
    let xdp = |prog: &OwnedFd| {
        let id = id_and_tag(prog)[0].to_string();
        run("bpftool", &["net", "attach", "xdpgeneric", "id", &id, "dev", "tt0"])
    };
    all.note(load(XDP, "tt_xdp_nl", &[MOV_R0, EXIT]), xdp, Nothing);
    let classify = |name: &str| load(SCHED_CLS, name, &[MOV_R0, EXIT]);
    let tc = |prog: &OwnedFd| {
        let pin = format!("{bpffs}/tt_tc");
        let pinned = c(pin.as_str());
        Attr::new().u64(0, pinned.as_ptr() as u64).u32(8, sys::raw(prog) as u32).call(BPF_OBJ_PIN);
        run("tc", &["qdisc", "add", "dev", "lo", "clsact"]);
        run("tc", &["filter", "add", "dev", "lo", "ingress", "bpf", "da", "object-pinned", &pin])
    };
    all.note(classify("tt_tc"), tc, Nothing);
    all.note(classify("tt_tcx"), |prog| create(prog, lo, 46, |attr| attr), Fd);
    all.note(classify("tt_tcx_at"), |prog| prog_attach(prog, lo, 47), Nothing);

    let dir = File::open(cgroup).expect("a cgroup");
    let fd = dir.as_raw_fd() as u32;
    all.note(load_for(CGROUP_SKB, 1, "tt_cg", MOV_R0_1), |prog| prog_attach(prog, fd, 1), Nothing);
    all.note(load_for(CGROUP_SKB, 0, "tt_cg_link", MOV_R0_1), |prog| create(prog, fd, 0, |attr| attr), Fd);
    let map = Attr::new().u32(0, 15).u32(4, 4).u32(8, 4).u32(12, 1).put(28, b"tt_sockmap").call(BPF_MAP_CREATE);
    let map = sys::owned(map);
    all.note(load_for(SK_SKB, 5, "tt_skb", MOV_R0_1), |prog| prog_attach(prog, sys::raw(&map) as u32, 5), Nothing);
    all.kept.push(map);
    all.note(load(FLOW_DISSECTOR, "tt_flow", &[MOV_R0, EXIT]), |prog| prog_attach(prog, 0, 17), Nothing);
    let netns = File::open("/proc/self/ns/net").expect("a namespace");
    let lookup = |prog: &OwnedFd| create(prog, netns.as_raw_fd() as u32, 36, |attr| attr);
    all.note(load_for(SK_LOOKUP, 36, "tt_lookup", MOV_R0_1), lookup, Fd);
    let hook = |attr: Attr| attr.u32(16, 2).u32(20, 3).u32(24, 7);
    all.note(load_for(NETFILTER, 45, "tt_nf", MOV_R0_1), |prog| create(prog, 0, 45, hook), Fd);
    let sockets = [0; 2].map(|_| udp_socket());
    let option = |socket: usize, option, value: u32| set_option(&sockets[socket], option, value);
    let filter = |prog: &OwnedFd| option(0, libc::SO_ATTACH_BPF, sys::raw(prog) as u32);
    all.note(load(SOCKET_FILTER, "tt_socket", &[MOV_R0, EXIT]), filter, Nothing);
    let group = |prog: &OwnedFd| {
        option(1, libc::SO_REUSEPORT, 1);
        option(1, libc::SO_ATTACH_REUSEPORT_EBPF, sys::raw(prog) as u32)
    };
    all.note(load(SOCKET_FILTER, "tt_group", &[MOV_R0, EXIT]), group, Nothing);
    // A second descriptor makes no second attachment.
    all.kept.push(sockets[0].try_clone().expect("a descriptor"));
    all.kept.extend(sockets);
    all
}

pub(crate) fn json_of(path: &str) -> Value {
    let text = fs::read_to_string(path).expect("an output");
    // bpftool 7.1 forgets the braces of a flow dissector, which is the last entry.
    let bare = "\"flow_dissector\":[\"id\":";
    let text = match text.split_once(bare) {
        Some((before, after)) => format!("{before}\"flow_dissector\":[{{\"id\":{}", after.replacen(']', "}]", 1)),
        None => text,
    };
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// All numbers under a key, anywhere in a value.
fn numbers(value: &Value, key: &str, found: &mut BTreeSet<i64>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| match value.as_i64() {
            Some(number) if name == key => _ = found.insert(number),
            _ => numbers(value, key, found),
        }),
        Value::Array(list) => list.iter().for_each(|value| numbers(value, key, found)),
        _ => {}
    }
}

fn all_numbers(value: &Value, key: &str) -> BTreeSet<i64> {
    let mut found = BTreeSet::new();
    numbers(value, key, &mut found);
    found
}

#[test]
fn every_way_of_attaching_is_in_the_inventory() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let dir = Dir::new();
    let (bpffs, tracefs, cgroups) = (dir.dir("bpffs"), dir.dir("tracefs"), dir.dir("cgroups"));
    let cgroup_path = format!("/tt-inventory-{}", sys::pid());
    let cgroup = format!("{cgroups}{cgroup_path}");
    let file = dir.at("program");
    fs::copy("/bin/true", &file).expect("a copy");
    // Uprobes are attached by this name, and shown by the other.
    let link = dir.at("link");
    std::os::unix::fs::symlink("program", &link).expect("a link");
    let outer = File::open("/proc/self/ns/net").expect("a namespace");
    let output = |name: &str| dir.at(name);
    let actor = Actor::new(|| {
        sys::own_mounts();
        sys::mount("bpf", &bpffs, "bpf", 0);
        sys::mount_tracefs();
        sys::mount("cgroup2", &cgroups, "cgroup2", 0);
        fs::create_dir(&cgroup).expect("a cgroup");
        let mut all = attach_all(&bpffs, &tracefs, &link, &cgroup);
        let into = |name: &str| File::create(output(name)).expect("a file");
        // tracetui runs in the network namespace that the test came from.
        let mut ours = tracetui();
        let enter = outer.as_raw_fd();
        // SAFETY: between fork and exec only setns(2) is called.
        unsafe {
            ours.pre_exec(move || match libc::setns(enter, libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
        let status = ours.args(["bpf", "--format", "json"]).stdout(into("ours")).stderr(into("stderr")).status();
        all.ids.push(status.expect("tracetui starts").code().unwrap_or(-1).into());
        let peers: [(&str, &[&str]); 5] = [
            ("prog", &["-j", "prog"]),
            ("link", &["-j", "link"]),
            ("net", &["-j", "net"]),
            ("perf", &["-j", "perf"]),
            ("cgroup", &["-j", "cgroup", "show", &cgroup]),
        ];
        for (name, args) in peers {
            let _ = Command::new("bpftool").args(args).stdout(into(name)).stderr(Stdio::null()).status();
        }
        let namespace = fs::metadata("/proc/self/ns/net").expect("a namespace");
        all.ids.push(std::os::unix::fs::MetadataExt::ino(&namespace) as i64);
        fs::remove_dir(&cgroup).expect("it is empty");
        all.ids
    });
    let pid = actor.pid;
    let mut ids = actor.run();
    let (namespace, status) = (ids.pop().expect("a number"), ids.pop().expect("a number"));
    let said = fs::read_to_string(output("stderr")).expect("an output");
    assert_eq!(status, 0, "{said}");
    let ours = json_of(&output("ours"));
    let programs = ours["programs"].as_array().expect("a list");
    assert_eq!(ids.len(), ways().len());
    for ((kind, via, target, field), id) in ways().into_iter().zip(&ids) {
        if *id < 0 {
            let _ = writeln!(std::io::stderr(), "not checked: {kind} by {via}: error {id}");
            continue;
        }
        let program = programs.iter().find(|program| program["id"] == *id).expect("the program");
        let target = match target {
            "FILE" => file.clone(),
            "CGROUP" => cgroup_path.clone(),
            "NETNS" => format!("net:[{namespace}]"),
            other => other.to_owned(),
        };
        let attached = program["attached"].as_array().expect("a list");
        let is_unlisted = match (kind, via) {
            ("sockmap", _) => release() < (5, 15),
            ("perf_event", "ioctl") => ((5, 15)..(5, 19)).contains(&release()),
            _ => false,
        };
        if is_unlisted {
            assert_eq!((attached.len(), &program["attached_why"]), (0, &"not_collected".into()), "{program}");
            continue;
        }
        assert_eq!(attached.len(), 1, "once each: {program}");
        let attached = &attached[0];
        assert_eq!((&attached["type"], &attached["via"]), (&kind.into(), &via.into()), "{program}");
        // Before 6.6 a link to a perf event does not say what it is.
        if kind == "perf_event" && attached["target_why"] == "no_field" {
            continue;
        }
        let shown = attached["target"].as_str().unwrap_or_default();
        let numbered = matches!(kind, "sockmap" | "socket_filter");
        assert!(shown == target || numbered && shown.starts_with(&target), "{target}: {program}");
        if let Some((name, value)) = field {
            assert_eq!(attached[name], value, "{program}");
        }
        if matches!(kind, "xdp" | "tc" | "tcx") {
            assert_eq!(attached["netns"], namespace, "{program}");
        }
        let held = program["held_by"].as_array().expect("a list");
        assert!(held.iter().any(|by| by["pid"] == pid), "{program}");
        assert_eq!(held.iter().any(|by| by["link"].is_u64()), via == "link", "{program}");
        assert_eq!(held.iter().any(|by| by["perf_event"] == true), via == "ioctl", "{program}");
        assert_eq!(held.iter().any(|by| by["socket"] == true), via == "setsockopt", "{program}");
        let pin = format!("{bpffs}/tt_tc");
        assert_eq!(held.iter().any(|by| by["pin"] == pin.as_str()), kind == "tc", "{program}");
    }
    assert_eq!(ours["hidden"], Value::Array(vec![]), "{ours}");
    check_peers(&ours, &output);
    check_places(&ours, &ids, &output);
}

/// The objects in an output of bpftool that are about a program.
fn about<'a>(value: &'a Value, id: i64, found: &mut Vec<&'a Value>) {
    match value {
        Value::Array(all) => all.iter().for_each(|value| about(value, id, found)),
        Value::Object(object) => {
            let key = if object.contains_key("prog_id") { "prog_id" } else { "id" };
            if value[key] == id {
                found.push(value);
            }
            object.values().for_each(|value| about(value, id, found));
        }
        _ => {}
    }
}

/// Prints a line for each way: ours, and what bpftool shows. Where it shows a place, it is ours.
fn check_places(ours: &Value, ids: &[i64], output: &dyn Fn(&str) -> String) {
    // Keys of bpftool and of ours.
    const SAME: [(&str, &str); 8] = [
        ("devname", "target"),
        ("ifindex", "ifindex"),
        ("filename", "target"),
        ("file", "target"),
        ("path", "target"),
        ("tp_name", "target"),
        ("offset", "offset"),
        ("attach_type", "attach_type"),
    ];
    let programs = ours["programs"].as_array().expect("a list");
    for ((kind, via, ..), id) in ways().into_iter().zip(ids) {
        let program = programs.iter().find(|program| program["id"] == *id);
        let Some(attached) = program.map(|program| &program["attached"][0]).filter(|attached| attached.is_object())
        else {
            continue;
        };
        let mut shown = vec![];
        for name in ["link", "net", "perf", "cgroup"] {
            let (theirs, mut objects) = (json_of(&output(name)), vec![]);
            about(&theirs, *id, &mut objects);
            for object in objects {
                // bpftool shows a type that it does not know as a number.
                let is_same =
                    |one: &Value, other: &Value| one.is_string() && other.is_string() || one.is_u64() && other.is_u64();
                let both: Vec<_> = SAME.iter().filter(|(key, our)| is_same(&object[*key], &attached[*our])).collect();
                for (key, our) in &both {
                    // Symbolic links are resolved in ours.
                    let file = object[*key].as_str().and_then(|path| fs::canonicalize(path).ok());
                    let theirs = file.map_or_else(|| object[*key].clone(), |file| file.to_str().into());
                    assert_eq!(theirs, attached[*our], "{kind} by {via}, {name}: {object} {attached}");
                }
                if name == "link" {
                    assert_eq!(object["id"], attached["link_id"], "{kind} by {via}: {object}");
                }
                let words = both.iter().map(|(key, _)| format!(" {key} {}", object[*key]));
                shown.push(format!("{name}{}", words.collect::<String>()));
            }
        }
        let (target, link) = (&attached["target"], &attached["link_id"]);
        let shown = if shown.is_empty() { "no place".to_owned() } else { shown.join("; ") };
        println!("{kind:<14} {via:<11} program {id} link {link} at {target} | bpftool: {shown}");
    }
}

/// Everything that bpftool shows is in ours.
fn check_peers(ours: &Value, output: &dyn Fn(&str) -> String) {
    let programs = all_numbers(&ours["programs"], "id");
    let links = all_numbers(&ours["links"], "id");
    // Others on the machine may have loaded some after tracetui looked; those have higher numbers.
    let last = programs.last().copied().unwrap_or(0);
    let last_link = links.last().copied().unwrap_or(0);
    let up_to = |numbers: BTreeSet<i64>, last: i64| numbers.into_iter().filter(move |n| *n <= last).collect::<Vec<_>>();
    let mut compared = 0;
    for name in ["prog", "net", "perf", "cgroup"] {
        let theirs = json_of(&output(name));
        let key = if matches!(name, "perf") { "prog_id" } else { "id" };
        let keys = if name == "net" { vec!["id", "prog_id"] } else { vec![key] };
        for id in keys.into_iter().flat_map(|key| up_to(all_numbers(&theirs, key), last)) {
            assert!(programs.contains(&id), "bpftool {name} shows program {id}: {theirs}");
            compared += 1;
        }
    }
    for id in up_to(all_numbers(&json_of(&output("link")), "id"), last_link) {
        assert!(links.contains(&id), "bpftool link shows link {id}");
        compared += 1;
    }
    println!("{compared} entries of bpftool are in ours, of {} programs and {} links", programs.len(), links.len());
    if compared == 0 {
        let _ = writeln!(std::io::stderr(), "not checked: bpftool shows nothing to compare with");
    }
}

#[test]
fn helpers_are_found_in_the_instructions() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let Some(quiet) = loaded(load(BPF_PROG_TYPE_TRACEPOINT, "tt_quiet", &[MOV_R0, EXIT])) else { return };
    let Some(kills) = loaded(load_calling(109, "tt_kills")) else { return };
    let Some(knows) = loaded(load_calling(14, "tt_knows")) else { return };
    let inventory = Collector::default().take(&FxHashSet::from_iter([id(&quiet)])).expect("an inventory");
    let program = |prog: &OwnedFd| inventory.program(id(prog)).expect("it is there").clone();
    let restricted = fs::read_to_string("/proc/sys/kernel/kptr_restrict").unwrap_or_default();
    if restricted.trim() == "2" {
        assert!(program(&kills).calls.write_user().is_err(), "never a guess");
        return not_checked("kernel.kptr_restrict=2 hides the helpers");
    }
    let names = |prog: &OwnedFd| program(prog).calls.names().collect::<Vec<_>>();
    assert_eq!((names(&quiet), names(&kills), names(&knows)), (vec![], vec!["send_signal"], vec![]));
    assert_eq!(program(&kills).calls.write_user(), Ok(false));
    assert_eq!((program(&quiet).own, program(&kills).own), (true, false));
    // Refused under lockdown.
    let writes = load_writing();
    if writes >= 0 {
        let writes = sys::owned(writes);
        let inventory = Collector::default().take(&FxHashSet::default()).expect("an inventory");
        let program = inventory.program(id(&writes)).expect("it is there");
        assert_eq!(program.calls.write_user(), Ok(true), "{program:?}");
    } else {
        let _ = writeln!(std::io::stderr(), "not checked: this kernel refuses bpf_probe_write_user: error {writes}");
    }
}

/// `*(u64 *)(r10 - 8) = 0`, `bpf_probe_write_user(0, r10 - 8, 8)`, never run.
fn load_writing() -> i64 {
    let store = [0xfff8_0a7a, 0x1b7, 0xa2bf, 0xffff_fff8_0000_0207, 0x8_0000_03b7];
    load(BPF_PROG_TYPE_TRACEPOINT, "tt_writes", &[&store[..], &[0x24_0000_0085, MOV_R0, EXIT]].concat())
}

fn loaded(prog: i64) -> Option<OwnedFd> {
    if prog < 0 {
        not_checked(&format!("a program is refused: error {prog}"));
        return None;
    }
    Some(sys::owned(prog))
}

fn id(prog: &OwnedFd) -> ProgId {
    ProgId(id_and_tag(prog)[0] as u32)
}

/// Programs and links of the test of many.
const MANY: usize = 500;

#[test]
fn a_thousand_programs_and_links_are_listed_fast() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let mut kept = Vec::new();
    let mut expected = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..MANY {
        let Some(prog) = loaded(load(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_many", &[MOV_R0, EXIT])) else { return };
        // A tracepoint that does not fire here.
        let link = raw_tracepoint_open(&prog, "cgroup_remount");
        if link < 0 {
            return not_checked("no raw tracepoint cgroup_remount");
        }
        let link = sys::owned(link);
        expected.0.insert(id(&prog));
        expected.1.insert(link_id(&link));
        kept.extend([prog, link]);
    }
    let mut collector = Collector::default();
    let own = FxHashSet::default();
    let mut times = Vec::new();
    let mut inventory = Inventory::default();
    for _ in 0..5 {
        let start = Instant::now();
        inventory = collector.take(&own).expect("an inventory");
        times.push(start.elapsed());
    }
    let programs: BTreeSet<_> = inventory.programs.iter().map(|program| program.id).collect();
    let links: BTreeSet<_> =
        inventory.attachments.iter().filter_map(|attach| attach.link).map(|link| i64::from(link.id.0)).collect();
    assert!(expected.0.is_subset(&programs) && expected.1.is_subset(&links));
    let on_it = inventory.attachments.iter().filter(|attach| attach.target == b"cgroup_remount").count();
    assert!(on_it >= MANY);
    println!("{} programs, {} links: first {:?}, then {:?}", programs.len(), links.len(), times[0], &times[1..]);
    let start = Instant::now();
    let compared = Collector::default().take_and_compare(&own).expect("an inventory");
    println!("with a comparison of all views: {:?}", start.elapsed());
    assert_eq!(compared.hidden, []);
    let best = times.iter().min().expect("some");
    assert!(*best < Duration::from_secs(2), "{best:?}");
}

#[test]
fn programs_that_come_and_go_are_not_hidden() {
    let _alone = alone();
    if !may_trace() || loaded(load(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_first", &[MOV_R0, EXIT])).is_none() {
        return;
    }
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Programs that come and go, some of them with a link.
        let churn = |links: bool| {
            let ends = &ends;
            move || {
                let mut loads = 0u64;
                while !ends.load(Ordering::Relaxed) {
                    let prog = sys::owned(load(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_churn", &[MOV_R0, EXIT]));
                    if links {
                        sys::close(raw_tracepoint_open(&prog, "cgroup_remount"));
                    }
                    loads += 1;
                    std::thread::sleep(Duration::from_micros(500));
                }
                loads
            }
        };
        // A program that stays while its attachment comes and goes.
        let map = Attr::new().u32(0, 15).u32(4, 4).u32(8, 4).u32(12, 1).call(BPF_MAP_CREATE);
        let ends = &ends;
        let places = move || {
            let (map, prog) = (sys::owned(map), sys::owned(load_for(SK_SKB, 5, "tt_moves", MOV_R0_1)));
            let mut attached = 0u64;
            while !ends.load(Ordering::Relaxed) {
                attached += u64::from(prog_attach(&prog, sys::raw(&map) as u32, 5) == 0);
                std::thread::sleep(Duration::from_millis(attached % 30));
                Attr::new()
                    .u32(0, sys::raw(&map) as u32)
                    .u32(4, sys::raw(&prog) as u32)
                    .u32(8, 5)
                    .call(BPF_PROG_DETACH);
                std::thread::sleep(Duration::from_millis(attached % 7));
            }
            attached
        };
        let churn = [scope.spawn(churn(false)), scope.spawn(churn(true)), scope.spawn(places)];
        let mut collector = Collector::default();
        let (mut whole, mut all) = (0, 0);
        let begun = Instant::now();
        while begun.elapsed() < CHURN {
            let inventory = collector.take_and_compare(&FxHashSet::default()).expect("an inventory");
            assert_eq!(inventory.hidden, [], "vanished {}, {:?}", inventory.vanished, inventory.unseen);
            let lacks = |unseen: &Unseen| unseen.what == "hidden programs by iterators";
            whole += usize::from(!inventory.unseen.iter().any(lacks));
            all += 1;
        }
        ends.store(true, Ordering::Relaxed);
        let loads: u64 = churn.map(|churn| churn.join().expect("no panic")).iter().sum();
        println!("{loads} loads and unloads meanwhile, {whole} of {all} comparisons with the iterators");
        assert!(whole > 0, "the iterators are compared also then");
    });
}

/// How long programs come and go while the views are compared.
const CHURN: Duration = Duration::from_secs(15);

/// A stream, or the reason why there is none.
fn stream(pages: usize) -> Option<ProgramStream> {
    match ProgramStream::open(pages, None) {
        Ok(stream) => Some(stream),
        Err(error) => {
            not_checked(&format!("no stream of programs: {error}"));
            None
        }
    }
}

fn boot_now() -> BootNanos {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a live local.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    BootNanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

#[test]
fn the_kernels_own_stream_has_each_load_and_unload() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let Some(mut stream) = stream(32) else { return };
    let before = boot_now();
    let mut expected = Vec::new();
    for n in 0..20 {
        let Some(prog) = loaded(load(BPF_PROG_TYPE_RAW_TRACEPOINT, &format!("tt_s{n}"), &[MOV_R0, EXIT])) else {
            return;
        };
        let [id, tag] = id_and_tag(&prog);
        expected.push((ProgId(id as u32), tag.cast_unsigned(), format!("bpf_prog_{tag:016x}_tt_s{n}")));
    }
    assert!(stream.wait(Duration::from_secs(5)).expect("no signal"), "records wake the reader");
    let mut seen: Vec<(char, ProgId, u64, String)> = Vec::new();
    let end = Instant::now() + Duration::from_secs(5);
    // The kernel may unload a program a little later than its last descriptor is closed.
    while seen.iter().filter(|(what, ..)| *what == 'u').count() < 20 && Instant::now() < end {
        stream.drain(&mut |event| {
            let ours = |id: ProgId| expected.iter().any(|(known, ..)| *known == id);
            let entry = match event.what {
                StreamChange::Loaded { id, tag } if ours(id) => ('l', id, tag, String::new()),
                StreamChange::Unloaded { id, tag } if ours(id) => ('u', id, tag, String::new()),
                StreamChange::Symbol { addr, len, name, added }
                    if expected.iter().any(|(.., n)| n.as_bytes() == name) =>
                {
                    assert!(addr.0 > 0xffff << 48 && len > 0, "{event:?}");
                    (if added { '+' } else { '-' }, ProgId(0), 0, String::from_utf8_lossy(name).into_owned())
                }
                _ => return,
            };
            assert!(event.time >= before && event.time <= boot_now(), "{event:?}");
            if entry.0 == 'l' {
                assert_eq!(event.tgid, Tgid(sys::pid() as u32), "{event:?}");
            }
            seen.push(entry);
        });
    }
    assert_eq!((stream.lost(), stream.broken()), (0, 0));
    for (id, tag, name) in expected {
        for what in ['l', 'u'] {
            assert_eq!(
                seen.iter().filter(|e| **e == (what, id, tag, String::new())).count(),
                1,
                "{what} {id:?}: {seen:?}"
            );
        }
        for what in ['+', '-'] {
            assert_eq!(seen.iter().filter(|e| e.0 == what && e.3 == name).count(), 1, "{what} {name}: {seen:?}");
        }
    }
    assert!(!stream.follow_cpus().expect("a list of CPUs"), "no CPU came or went");
}

#[test]
fn a_small_ring_loses_and_says_how_much() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let Some(mut stream) = stream(1) else { return };
    let mut ids = FxHashSet::default();
    let loads = 400 * sys::page() / 4096;
    for _ in 0..loads {
        let Some(prog) = loaded(load(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_flood", &[MOV_R0, EXIT])) else { return };
        ids.insert(id(&prog));
    }
    std::thread::sleep(Duration::from_millis(200));
    let mut seen = 0;
    let mut count = |stream: &mut ProgramStream| {
        stream.drain(&mut |event| match event.what {
            StreamChange::Loaded { id, .. } | StreamChange::Unloaded { id, .. } if ids.contains(&id) => seen += 1,
            StreamChange::Symbol { name, .. } if name.ends_with(b"_tt_flood") => seen += 1,
            _ => {}
        })
    };
    count(&mut stream);
    // Before 6.0 the count comes with the next record.
    let more = loaded(load(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_more", &[MOV_R0, EXIT]));
    drop(more);
    count(&mut stream);
    let lost = stream.lost();
    let made = 4 * loads as u64;
    println!("{seen} of {made} records seen, {lost} lost");
    assert!(lost > 0 && seen > 0 && stream.broken() == 0, "{seen} {lost}");
    // A load or unload is two records. Those of other programs may be among the lost ones.
    assert!(seen + lost >= made, "{seen} {lost}");
}

#[test]
fn the_report_can_be_read_and_needs_root() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let Some(prog) = loaded(load(SOCKET_FILTER, "tt_shown", &[MOV_R0, EXIT])) else { return };
    let output = tracetui().args(["bpf", "--stats"]).output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{text}");
    let head = format!("{:<6} socket_filter  tt_shown", id(&prog).0);
    assert!(text.lines().any(|line| line == head), "{text}");
    let holder = format!("{}] fd {}", sys::pid(), sys::raw(&prog));
    assert!(text.contains(&holder) && text.contains("ran 0 times in 1.") && text.contains(" 0 hidden"), "{text}");

    let mut user = tracetui();
    // SAFETY: between fork and exec the closure makes system calls only.
    unsafe {
        user.pre_exec(|| {
            sys::become_nobody_with(0);
            Ok(())
        })
    };
    let Ok(output) = user.arg("bpf").output() else { return not_checked("nobody may not run tracetui") };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{said}");
    assert!(said.contains("CAP_SYS_ADMIN") && said.contains("sudo tracetui bpf"), "{said}");
}

/// Runs `tracetui bpf` into a file, for at most 30 s. Returns its exit status, or −1.
pub(crate) fn list_into(output: &str) -> i64 {
    let into = File::create(output).expect("a file");
    let mut child = tracetui().args(["bpf", "--format", "json"]).stdout(into).spawn().expect("it starts");
    wait_at_most(&mut child, Duration::from_secs(30)).code().unwrap_or(-1).into()
}

/// A program of an inventory.
pub(crate) fn of_id(inventory: &Value, id: i64) -> Value {
    let programs = inventory["programs"].as_array().expect("a list");
    programs.iter().find(|program| program["id"] == id).cloned().unwrap_or_default()
}

/// A program's places in an inventory: type, target and flags.
fn places(program: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let attached = program["attached"].as_array().expect("a list").iter();
    attached.map(|place| ["type", "target", "flags"].map(|key| word(&place[key])).join(" ")).collect()
}

#[test]
fn every_filter_of_tc_is_a_place() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let dir = Dir::new();
    let (bpffs, output) = (dir.dir("bpffs"), dir.at("inventory"));
    let ids = Actor::new(|| {
        sys::own_mounts();
        sys::unshare(libc::CLONE_NEWNET);
        sys::mount("bpf", &bpffs, "bpf", 0);
        let prog = sys::owned(load(SCHED_CLS, "tt_block", &[MOV_R0, EXIT]));
        let pin = format!("{bpffs}/pin");
        let path = c(pin.as_str());
        Attr::new().u64(0, path.as_ptr() as u64).u32(8, sys::raw(&prog) as u32).call(BPF_OBJ_PIN);
        let tc = |text: &str| run("tc", &text.split(' ').collect::<Vec<_>>());
        let made = run("ip", &["link", "add", "tt0", "type", "veth", "peer", "name", "tt1"])
            | tc("qdisc add dev tt0 ingress_block 22 clsact")
            | tc("qdisc add dev tt1 ingress_block 22 clsact")
            | tc(&format!("filter add block 22 prio 5 bpf da object-pinned {pin}"))
            | tc(&format!("filter add dev tt0 egress prio 1 bpf da object-pinned {pin}"))
            | tc(&format!("filter add dev tt0 egress prio 2 chain 7 bpf da object-pinned {pin}"));
        vec![made, list_into(&output), id_and_tag(&prog)[0]]
    })
    .run();
    if ids[0] != 0 {
        return not_checked("there is no ip(8) or tc(8), no veth, or no blocks of tc");
    }
    let mut found = places(&of_id(&json_of(&output), ids[2]));
    found.sort_unstable();
    let expected = [
        "tc tt0 egress direct-action prio 1",
        "tc tt0 egress direct-action prio 2 chain 7",
        "tc tt0 ingress block 22 direct-action prio 5",
        "tc tt1 ingress block 22 direct-action prio 5",
    ];
    assert_eq!(found, expected);
}

#[test]
fn threads_with_descriptors_or_a_network_of_their_own_are_looked_at() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let dir = Dir::new();
    let (tracefs, output) = (dir.dir("tracefs"), dir.at("inventory"));
    let actor = Actor::new(|| {
        sys::own_mounts();
        sys::mount_tracefs();
        let tracepoint = tracepoint_id(&tracefs, "sched/sched_process_exit");
        // In a thread: its table of descriptors has the only descriptor of the event, its network the other program.
        let (attached, numbers) = std::sync::mpsc::channel();
        let (looked, ends) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            sys::unshare(libc::CLONE_FILES | libc::CLONE_NEWNET);
            let (event, prog) = (perf_event(tracepoint), load(BPF_PROG_TYPE_TRACEPOINT, "tt_own", &[MOV_R0, EXIT]));
            let prog = sys::owned(prog);
            let flow = sys::owned(load(FLOW_DISSECTOR, "tt_own_net", &[MOV_R0, EXIT]));
            let done = set_bpf(&prog, &event) | prog_attach(&flow, 0, 17);
            let ids = vec![done, id_and_tag(&prog)[0], id_and_tag(&flow)[0]];
            drop((prog, flow));
            let _ = attached.send(ids);
            let _ = ends.recv();
            drop(event);
        });
        let ids = numbers.recv().unwrap_or_default();
        let status = list_into(&output);
        drop(looked);
        let _ = thread.join();
        [vec![status], ids].concat()
    });
    let pid = actor.pid;
    let ids = actor.run();
    assert_eq!((ids[0], ids[1]), (0, 0));
    let inventory = json_of(&dir.at("inventory"));
    let held = of_id(&inventory, ids[2])["held_by"].clone();
    assert!(held[0]["pid"] == pid && held[0]["perf_event"] == true, "{held}");
    assert_eq!(places(&of_id(&inventory, ids[2])), ["tracepoint sched:sched_process_exit -"]);
    let places = places(&of_id(&inventory, ids[3]));
    assert!(places.len() == 1 && places[0].starts_with("flow_dissector net:["), "{places:?}");
}
