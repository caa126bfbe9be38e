//! The inventory of BPF programs, compared with bpftool and with what the tests attached.

use crate::bpf::*;
use crate::bpf_ends;
use crate::bpf_ways::Way::{self, *};
use crate::bpf_ways::{COOKIE, FLOW_DISSECTOR, Places, SCHED_CLS, SOCKET_FILTER, expected, pin_at, prog_attach, run};
use crate::prelude::*;
use foldhash::HashSet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracetui_events::bpf::{Inventory, VIEWS};
use tracetui_host::ksymbols::{ProgramStream, StreamChange};

/// A program that calls a helper with r1 = 9 (as a signal: SIGKILL), but never runs.
fn load_calling(helper: i32, name: &str) -> i64 {
    let call = 0x85 | u64::from(helper.cast_unsigned()) << 32;
    load(BPF_PROG_TYPE_TRACEPOINT, name, &[0x9_0000_01b7, call, MOV_R0, EXIT])
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

/// A field that distinguishes an attachment from others of its type.
fn field(way: Way) -> Option<(&'static str, Value)> {
    Some(match way {
        // Earlier kernels do not say it.
        TracepointLink if release() >= (6, 9) => ("cookie", COOKIE.into()),
        UprobeIoctl | UretprobeIoctl => ("offset", 0x1000.into()),
        UprobeLink | UretprobeLink => ("offset", 0x1008.into()),
        UprobeMulti | UretprobeMulti => ("multi", 2.into()),
        XdpLink | XdpNetlink => ("ifindex", 1.into()),
        TcxLink => ("attach_type", "tcx_ingress".into()),
        TcxAttach => ("attach_type", "tcx_egress".into()),
        CgroupLink => ("attach_type", "cgroup_inet_ingress".into()),
        CgroupAttach => ("attach_type", "cgroup_inet_egress".into()),
        SockmapLink | Sockmap => ("attach_type", "sk_skb_stream_verdict".into()),
        _ => return None,
    })
}

fn flags(way: Way) -> Option<&'static str> {
    match way {
        XdpLink | XdpNetlink => Some("generic"),
        TcIngress => Some("ingress direct-action prio 1"),
        TcEgress => Some("egress direct-action prio 1"),
        _ => None,
    }
}

pub(crate) fn symbol(name: &str) -> u64 {
    let symbols = fs::read_to_string("/proc/kallsyms").expect("symbols");
    let line = symbols.lines().find(|line| line.split(' ').nth(2) == Some(name)).expect("a function");
    u64::from_str_radix(&line[..16], 16).expect("hex")
}

/// Each way once: its events, and the inventory while it exists. The programs are attached at once, as far as their places allow it.
#[test]
fn every_way_of_attaching_is_in_the_inventory() {
    let dir = Dir::alone();
    let (bpffs, tracefs, cgroups) = (dir.dir("bpffs"), dir.dir("tracefs"), dir.dir("cgroups"));
    // A long path is whole. Uprobes are attached by a symbolic link.
    let deep = (0..12).fold(dir.dir("deep"), |path, _| {
        let path = format!("{path}/{}", "d".repeat(60));
        fs::create_dir(&path).expect("room");
        path
    });
    let [file, link] = ["program", "link"].map(|name| format!("{deep}/{name}"));
    fs::copy("/bin/true", &file).expect("a copy");
    symlink("program", &link).expect("a link");
    let output = |round: usize, name: &str| dir.at(&format!("{name}{round}"));
    let cases = bpf_ends::each_way();
    let acted = trace_with(&["--kind", "bpf"], |trace| {
        let places = Places::new(&tracefs, &cgroups, &link);
        sys::mount("bpf", &bpffs, "bpf", 0);
        sys::mount_tracefs();
        let mut statuses = vec![];
        let ids = bpf_ends::make_all(&places, &cases, trace, |round, held| {
            for held in held.iter().filter(|held| held.case.way == TcIngress) {
                pin_at(&held.program, &format!("{bpffs}/tt_tc"));
            }
            let into = |name: &str| File::create(output(round, name)).expect("a file");
            // tracetui runs in the network namespace that the test came from.
            let mut ours = tracetui();
            let enter = places.outer.as_raw_fd();
            let flags = libc::CLONE_NEWNET as u64;
            sys::before_exec(&mut ours, move || sys::done(sys::call(libc::SYS_setns, &[enter as u64, flags])));
            let status = ours.args(["bpf", "--format", "json"]).stdout(into("ours")).stderr(into("stderr")).status();
            statuses.push(i64::from(status.expect("tracetui starts").code().unwrap_or(-1)));
            let cgroup = held.iter().find(|held| held.case.way == CgroupLink).map(|held| held.case.name());
            let cgroup = format!("{}/{}", places.cgroups, cgroup.unwrap_or_default());
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
            let _ = fs::remove_file(format!("{bpffs}/tt_tc"));
        });
        fs::remove_dir(&places.cgroups).expect("it is empty");
        let namespace = places.netns.metadata().expect("a namespace");
        let done = statuses.iter().all(|status| *status == 0);
        [ids, vec![statuses.len() as i64, done.into(), namespace.ino() as i64]].concat()
    });
    let Some((run, pid, mut numbers)) = acted else { return };
    let [rounds, done, namespace] = numbers.split_off(numbers.len() - 3)[..] else { panic!("three numbers") };
    assert_eq!(done, 1, "{}", fs::read_to_string(output(0, "stderr")).expect("an output"));
    let reports: Vec<Value> = (0..rounds as usize).map(|round| json_of(&output(round, "ours"))).collect();
    let events: Vec<Value> = run.lines().filter(|event| event["kind"] == "bpf").collect();
    for (case, ids) in cases.iter().zip(numbers.chunks_exact(2)) {
        let (way, id) = (case.way, ids[0]);
        if id < 0 {
            let _ = writeln!(std::io::stderr(), "not checked: {way:?}: error {id}");
            continue;
        }
        let place = expected(way, &case.name(), pid, &link, namespace);
        bpf_ends::check(&events, pid, case, ids, &place).unwrap_or_else(|why| panic!("{way:?}: {why}"));
        let of = |op: &str| events.iter().find(|e| e["op"] == op && e["prog"]["id"] == id);
        if let Some(event) = of("attach") {
            check_event(event, way, &place[2]);
        }
        let report = reports.iter().position(|report| of_id(report, id).is_object()).expect("an inventory has it");
        check_inventory(&reports[report], way, id, &expected(way, &case.name(), pid, &file, namespace), namespace, pid);
        check_places(&reports[report], id, &|name| output(report, name));
        let pin = format!("{bpffs}/tt_tc");
        let program = of_id(&reports[report], id);
        let held = program["held_by"].as_array().expect("a list");
        assert_eq!(held.iter().any(|by| by["pin"] == pin.as_str()), way == TcIngress, "{program}");
        const KEYS: [&str; 4] = ["name", "type", "tag", "uid"];
        for (event, key) in ["load", "attach"].iter().flat_map(|op| of(op)).flat_map(|e| KEYS.map(|key| (e, key))) {
            // The symbol of such a program, and so its load on 5.10, has the name of its function.
            if way == Freplace && key == "name" && event["prog"][key] == "tt_main" {
                continue;
            }
            assert_eq!(event["prog"][key], program[key], "{key}: {event} {program}");
        }
    }
    for (round, report) in reports.iter().enumerate() {
        assert_eq!(report["hidden"], Value::Array(vec![]), "{report}");
        check_peers(report, &|name| output(round, name));
    }
}

fn check_event(event: &Value, way: Way, target: &str) {
    let attach = &event["attach"];
    // Events have no attach type of their own.
    if let Some((name, value)) = field(way).filter(|(name, _)| *name != "attach_type") {
        assert_eq!(attach[name], value, "{way:?}: {event}");
    }
    if matches!(way, UprobeMulti | UretprobeMulti) {
        assert_eq!(attach["offset"], 0x1018, "the first: {event}");
    }
    if matches!(way, KprobeIoctl | KretprobeIoctl) {
        assert_eq!(attach["symbol"], target, "{event}");
        // With ENDBR, or with ftrace's call before it, the probe stands some bytes later.
        let at = u64::from_str_radix(&attach["addr"].as_str().expect("an address")[2..], 16).expect("hex");
        let address = symbol(target);
        assert!((address..address + 16).contains(&at), "{event} {address:#x}");
    }
}

fn check_inventory(report: &Value, way: Way, id: i64, place: &[String; 3], namespace: i64, pid: i32) {
    let program = of_id(report, id);
    let attached = program["attached"].as_array().expect("a list");
    let is_unlisted = match way {
        Sockmap | SockmapLink => release() < (5, 15),
        PerfIoctl => ((5, 15)..(5, 19)).contains(&release()),
        _ => false,
    };
    if is_unlisted {
        assert_eq!((attached.len(), &program["attached_why"]), (0, &"not_collected".into()), "{program}");
        return;
    }
    assert_eq!(attached.len(), 1, "once each: {program}");
    let attached = &attached[0];
    let [kind, via, target] = place.each_ref().map(String::as_str);
    // A table of functions is a map, whatever registers it.
    let via = if kind == "struct_ops" { "map" } else { via };
    assert_eq!((&attached["type"], &attached["via"]), (&kind.into(), &via.into()), "{program}");
    // Before 6.6 a link to a perf event does not say what it is, and before 5.13 a trampoline does not say where. Names of several
    // functions are only in events.
    let unnamed = match way {
        KprobeMulti | KretprobeMulti => Some("not_collected"),
        Fentry | Fexit | FmodRet | Lsm | Freplace if release() < (5, 13) => Some("no_field"),
        _ => (kind == "perf_event" && attached["target_why"] == "no_field").then_some("no_field"),
    };
    if let Some(why) = unnamed {
        assert_eq!((&attached["target"], &attached["target_why"]), (&Value::Null, &why.into()), "{program}");
        return;
    }
    let target = match way {
        TcxAttach => "lo",
        NetkitAttach => "tt_nk",
        Freplace => "tt_target",
        Reuseport => "",
        _ => target,
    };
    let shown = attached["target"].as_str().unwrap_or_default();
    let numbered = matches!(kind, "sockmap" | "struct_ops") || target.is_empty();
    assert!(bpf_ends::is_place(shown, target) || numbered && shown.starts_with(target), "{target}: {program}");
    if let Some((name, value)) = field(way) {
        assert_eq!(attached[name], value, "{program}");
    }
    if let Some(flags) = flags(way) {
        assert_eq!(attached["flags"], flags, "{program}");
    }
    if matches!(kind, "xdp" | "tc" | "tcx") {
        assert_eq!(attached["netns"], namespace, "{program}");
    }
    let held = program["held_by"].as_array().expect("a list");
    assert!(held.iter().any(|by| by["pid"] == pid), "{program}");
    assert_eq!(held.iter().any(|by| by["link"].is_u64()), via == "link", "{program}");
    assert_eq!(held.iter().any(|by| by["perf_event"] == true), via == "ioctl", "{program}");
    assert_eq!(held.iter().any(|by| by["socket"] == true), via == "setsockopt", "{program}");
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

/// Prints a line: ours, and what bpftool shows. Where it shows a place, it is ours.
fn check_places(ours: &Value, id: i64, output: &dyn Fn(&str) -> String) {
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
    let program = of_id(ours, id);
    let attached = &program["attached"][0];
    if !attached.is_object() {
        return;
    }
    let [kind, via] = ["type", "via"].map(|key| attached[key].as_str().unwrap_or_default());
    let mut shown = vec![];
    for name in ["link", "net", "perf", "cgroup"] {
        let (theirs, mut objects) = (json_of(&output(name)), vec![]);
        about(&theirs, id, &mut objects);
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
    let Some(()) = alone_as_root() else { return };
    let Some(quiet) = loaded(load(BPF_PROG_TYPE_TRACEPOINT, "tt_quiet", &[MOV_R0, EXIT])) else { return };
    let Some(kills) = loaded(load_calling(109, "tt_kills")) else { return };
    let Some(knows) = loaded(load_calling(14, "tt_knows")) else { return };
    let inventory = Collector::default().take_inventory(&HashSet::from_iter([id(&quiet)])).expect("an inventory");
    let program = |prog: &OwnedFd| inventory.program(id(prog)).expect("it is there").clone();
    let restricted = fs::read_to_string("/proc/sys/kernel/kptr_restrict").unwrap_or_default();
    if restricted.trim() == "2" {
        assert!(program(&kills).calls().write_user().is_err(), "never a guess");
        return not_checked("kernel.kptr_restrict=2 hides the helpers");
    }
    let names = |prog: &OwnedFd| program(prog).calls().names().collect::<Vec<_>>();
    assert_eq!((names(&quiet), names(&kills), names(&knows)), (vec![], vec!["send_signal"], vec![]));
    assert_eq!(program(&kills).calls().write_user(), Ok(false));
    assert_eq!((program(&quiet).own, program(&kills).own), (true, false));
    // Refused under lockdown.
    let writes = load_writing();
    if writes >= 0 {
        let writes = sys::owned(writes);
        let inventory = Collector::default().take_inventory(&HashSet::default()).expect("an inventory");
        let program = inventory.program(id(&writes)).expect("it is there");
        assert_eq!(program.calls().write_user(), Ok(true), "{program:?}");
    } else {
        let _ = writeln!(std::io::stderr(), "not checked: this kernel refuses bpf_probe_write_user: error {writes}");
    }
}

/// `*(u64 *)(r10 - 8) = 0`, `bpf_probe_write_user(0, r10 - 8, 8)`, never run.
fn load_writing() -> i64 {
    let store = [0xfff8_0a7a, 0x1b7, 0xa2bf, 0xffff_fff8_0000_0207, 0x8_0000_03b7];
    load(BPF_PROG_TYPE_TRACEPOINT, "tt_writes", &[&store[..], &[0x24_0000_0085, MOV_R0, EXIT]].concat())
}

/// A program that a tracepoint can run; `None`, with a message, if the kernel refuses it.
pub(crate) fn loaded_raw(name: &str) -> Option<OwnedFd> {
    loaded(load(BPF_PROG_TYPE_RAW_TRACEPOINT, name, &[MOV_R0, EXIT]))
}

fn loaded(prog: i64) -> Option<OwnedFd> {
    if prog < 0 {
        not_checked(&format!("a program is refused: error {prog}"));
    }
    (prog >= 0).then(|| sys::owned(prog))
}

fn id(prog: &OwnedFd) -> ProgId {
    ProgId(id_and_tag(prog)[0] as u32)
}

const MANY: usize = 500;

#[test]
fn a_thousand_programs_and_links_are_listed_fast() {
    let Some(()) = alone_as_root() else { return };
    let mut kept = Vec::new();
    let mut expected = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..MANY {
        let Some(prog) = loaded_raw("tt_many") else { return };
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
    let own = HashSet::default();
    let mut times = Vec::new();
    let mut inventory = Inventory::default();
    for _ in 0..5 {
        let start = Instant::now();
        inventory = collector.take_inventory(&own).expect("an inventory");
        times.push(start.elapsed());
    }
    let programs: BTreeSet<_> = inventory.programs.iter().map(|program| program.id).collect();
    let links: BTreeSet<_> =
        inventory.attachments.iter().filter_map(|attach| attach.linked()).map(|link| i64::from(link.0)).collect();
    assert!(expected.0.is_subset(&programs) && expected.1.is_subset(&links));
    let on_it = inventory.attachments.iter().filter(|attach| attach.target == b"cgroup_remount").count();
    assert!(on_it >= MANY);
    println!("{} programs, {} links: first {:?}, then {:?}", programs.len(), links.len(), times[0], &times[1..]);
    assert_eq!(inventory.hidden, []);
    let best = times.iter().min().expect("some");
    assert!(*best < Duration::from_secs(20), "{best:?}");
}

#[test]
fn programs_that_come_and_go_are_not_hidden() {
    alone();
    if !may_trace() || loaded_raw("tt_first").is_none() {
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
                    let prog = program(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_churn");
                    if links {
                        sys::close(raw_tracepoint_open(&prog, "cgroup_remount"));
                    }
                    loads += 1;
                    std::thread::sleep(Duration::from_micros(500));
                }
                loads
            }
        };
        let churn = [scope.spawn(churn(false)), scope.spawn(churn(true))];
        let mut collector = Collector::default();
        let (mut whole, mut all) = (0, 0);
        let begun = Instant::now();
        while (all < COMPARISONS || whole == 0) && begun.elapsed() < Duration::from_secs(60) {
            let inventory = collector.take_inventory(&HashSet::default()).expect("an inventory");
            assert_eq!(inventory.hidden, [], "vanished {}, {:?}", inventory.vanished, inventory.unseen);
            whole += usize::from(!inventory.unseen.iter().any(|unseen| unseen.what == VIEWS));
            all += 1;
        }
        ends.store(true, Ordering::Relaxed);
        let loads: u64 = churn.map(|churn| churn.join().expect("no panic")).iter().sum();
        println!("{loads} loads and unloads meanwhile, {whole} of {all} comparisons with the iterators");
        assert!(whole > 0, "the iterators are compared also then");
    });
}

const COMPARISONS: usize = 20;

fn stream(pages: usize) -> Option<ProgramStream> {
    ProgramStream::open(pages).inspect_err(|error| not_checked(&format!("no stream of programs: {error}"))).ok()
}

fn boot_now() -> BootNanos {
    BootNanos(sys::clock(libc::CLOCK_BOOTTIME))
}

#[test]
fn the_kernels_own_stream_has_each_load_and_unload() {
    let Some(()) = alone_as_root() else { return };
    let Some(mut stream) = stream(32) else { return };
    let before = boot_now();
    let mut expected = Vec::new();
    for n in 0..20 {
        let Some(prog) = loaded_raw(&format!("tt_s{n}")) else { return };
        let [id, tag] = id_and_tag(&prog);
        expected.push((ProgId(id as u32), tag.cast_unsigned(), format!("bpf_prog_{tag:016x}_tt_s{n}")));
    }
    let mut fds: Vec<_> = stream.events().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    assert!(
        poll(&mut fds, Some(&Timespec { tv_sec: 60, tv_nsec: 0 })).expect("no signal") > 0,
        "records wake the reader"
    );
    drop(fds);
    let mut seen: Vec<(char, ProgId, u64, String)> = Vec::new();
    let end = Instant::now() + Duration::from_secs(60);
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
    assert_eq!((stream.lost(), stream.broken), (0, 0));
    for (id, tag, name) in expected {
        for what in ['l', 'u'] {
            let count = seen.iter().filter(|e| **e == (what, id, tag, String::new())).count();
            assert_eq!(count, 1, "{what} {id:?}: {seen:?}");
        }
        for what in ['+', '-'] {
            assert_eq!(seen.iter().filter(|e| e.0 == what && e.3 == name).count(), 1, "{what} {name}: {seen:?}");
        }
    }
    assert!(!stream.follow_cpus().expect("a list of CPUs"), "no CPU came or went");
}

#[test]
fn a_small_ring_loses_and_says_how_much() {
    let Some(()) = alone_as_root() else { return };
    let Some(mut stream) = stream(1) else { return };
    let mut ids = HashSet::default();
    let loads = 400 * sys::page() / 4096;
    for _ in 0..loads {
        let Some(prog) = loaded_raw("tt_flood") else { return };
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
    drop(loaded_raw("tt_more"));
    count(&mut stream);
    let lost = stream.lost();
    let made = 4 * loads as u64;
    println!("{seen} of {made} records seen, {lost} lost");
    assert!(lost > 0 && seen > 0 && stream.broken == 0, "{seen} {lost}");
    // A load or unload is two records. Those of other programs may be among the lost ones.
    assert!(seen + lost >= made, "{seen} {lost}");
}

#[test]
fn the_report_can_be_read_and_needs_root() {
    let Some(()) = alone_as_root() else { return };
    let Some(prog) = loaded(load(SOCKET_FILTER, "tt_shown", &[MOV_R0, EXIT])) else { return };
    let output = tracetui().args(["bpf", "--stats"]).output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{text}");
    let head = format!("{:<6} socket_filter  tt_shown", id(&prog).0);
    assert!(text.lines().any(|line| line == head), "{text}");
    let holder = format!("{}] fd {}", sys::pid(), sys::raw(&prog));
    assert!(text.contains(&holder) && text.contains("ran      0 times in 1.") && text.contains(" 0 hidden"), "{text}");

    let mut user = tracetui();
    sys::do_before_exec(&mut user, || sys::become_nobody_with(0));
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

pub(crate) fn of_id(inventory: &Value, id: i64) -> Value {
    let programs = inventory["programs"].as_array().expect("a list");
    programs.iter().find(|program| program["id"] == id).cloned().unwrap_or_default()
}

fn places(program: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let attached = program["attached"].as_array().expect("a list").iter();
    attached.map(|place| ["type", "target", "flags"].map(|key| word(&place[key])).join(" ")).collect()
}

#[test]
fn every_filter_of_tc_is_a_place() {
    let Some(dir) = Dir::alone_as_root() else { return };
    let (bpffs, output) = (dir.dir("bpffs"), dir.at("inventory"));
    let ids = Actor::new(|| {
        sys::own_mounts();
        sys::unshare(libc::CLONE_NEWNET);
        sys::mount("bpf", &bpffs, "bpf", 0);
        let prog = program(SCHED_CLS, "tt_block");
        let pin = format!("{bpffs}/pin");
        pin_at(&prog, &pin);
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
    let Some(dir) = Dir::alone_as_root() else { return };
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
            let flow = program(FLOW_DISSECTOR, "tt_own_net");
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
