//! Each attachment begins once and ends once, however it is made and however it ends: at once, after 20 ms or 3 s; by a detachment,
//! with its last descriptor, or with its place; and with a program that is unloaded then, or that another descriptor keeps.

use crate::bpf::{MOV_R0, id_and_tag, link_id};
use crate::bpf_ways::*;
use crate::prelude::*;
use crate::traced::{Output, is_attached};
use Way::*;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    n: usize,
    pub(crate) way: Way,
    /// In milliseconds. [`LONG`]: until it is in an inventory.
    pub(crate) held_ms: u64,
    end: End,
    /// Whether another descriptor keeps the program.
    kept: bool,
}

impl Case {
    pub(crate) fn name(&self) -> String {
        format!("tt_end{}", self.n)
    }
}

/// In place of a time: the attachments that are made at once.
pub(crate) const LONG: u64 = u64::MAX;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (way, ends) in ways() {
        for (nth, end) in ends.iter().enumerate() {
            for (held_ms, kept) in [(0, false), (0, true), (20, false), (20, true), (LONG, nth % 2 == 0)] {
                cases.push(Case { n: cases.len(), way, held_ms, end: *end, kept });
            }
        }
    }
    cases
}

pub(crate) fn each_way() -> Vec<Case> {
    let case = |(n, (way, ends)): (usize, (Way, &[End]))| Case { n, way, held_ms: LONG, end: ends[0], kept: false };
    ways().enumerate().map(case).collect()
}

pub(crate) struct Held {
    pub(crate) case: Case,
    pub(crate) program: OwnedFd,
    made: Made,
}

impl Held {
    fn ids(&self) -> [i64; 2] {
        [id_and_tag(&self.program)[0], self.made.link]
    }

    /// Ends the attachment. Returns the program if it is kept.
    fn end(self) -> Option<OwnedFd> {
        let Held { case, program, made: Made { kept, detach, remove, .. } } = self;
        let program = case.kept.then_some(program);
        match case.end {
            End::Detach => assert!(detach() >= 0, "{case:?}"),
            End::Close | End::Remove => drop(detach),
        }
        if case.end == End::Remove {
            remove();
            drop(kept);
        } else {
            drop(kept);
            remove();
        }
        program
    }
}

/// Makes the attachments: the short ones one after another, the others at once, as far as the places allow it. `look` gets those that
/// exist at once, and how often that was. Returns the id of the program, or −errno, and that of the link of each.
pub(crate) fn make_all(
    places: &Places,
    cases: &[Case],
    trace: &Output,
    mut look: impl FnMut(usize, &[Held]),
) -> Vec<i64> {
    let (mut ids, mut kept) = (vec![[-i64::from(libc::EAGAIN), 0]; cases.len()], Vec::new());
    let begin = |case: Case| {
        let (program, made) = bpf_ways::make(case.way, places, &case.name())?;
        Ok(Held { case, program, made })
    };
    let (mut left, short): (Vec<_>, Vec<_>) = (0..cases.len()).partition(|n| cases[*n].held_ms == LONG);
    for n in short {
        match begin(cases[n]) {
            Ok(held) => {
                std::thread::sleep(Duration::from_millis(cases[n].held_ms));
                ids[n] = held.ids();
                kept.extend(held.end());
            }
            Err(error) => ids[n][0] = error,
        }
    }
    // Another program is there.
    let is_taken =
        |error: i64| [libc::EBUSY, libc::EEXIST, libc::E2BIG].iter().any(|errno| error == -i64::from(*errno));
    for round in 0.. {
        let (mut all, mut next) = (Vec::new(), Vec::new());
        for n in left {
            match begin(cases[n]) {
                Ok(held) => {
                    ids[n] = held.ids();
                    all.push(held);
                }
                Err(error) if is_taken(error) => next.push(n),
                Err(error) => ids[n][0] = error,
            }
        }
        left = next;
        if all.is_empty() {
            break;
        }
        look(round, &all);
        trace.wait_for_inventory();
        kept.extend(all.into_iter().filter_map(Held::end));
    }
    trace.wait_for_inventory();
    // A kept program is unloaded clearly later than its attachment ends.
    std::thread::sleep(Duration::from_millis(300));
    ids.concat()
}

#[test]
fn every_attachment_ends_once() {
    let dir = Dir::alone();
    let (tracefs, cgroups) = (dir.dir("tracefs"), dir.dir("cgroups"));
    let file = dir.at("program");
    fs::copy("/bin/true", &file).expect("a copy");
    let cases = cases();
    let acted = trace_with(&["--kind", "bpf"], |trace| {
        let places = Places::new(&tracefs, &cgroups, &file);
        let mut numbers = make_all(&places, &cases, trace, |_, _| ());
        fs::remove_dir(&places.cgroups).expect("it is empty");
        numbers.push(places.netns.metadata().expect("a namespace").ino() as i64);
        numbers
    });
    let Some((run, pid, mut numbers)) = acted else { return };
    let netns = numbers.pop().expect("a number");
    let events: Vec<Value> = run.lines().filter(|event| event["kind"] == "bpf").collect();
    let (mut failed, mut refused) = (Vec::new(), BTreeSet::new());
    let mut checked = 0;
    for (case, ids) in cases.iter().zip(numbers.chunks_exact(2)) {
        if ids[0] < 0 {
            refused.insert(format!("{:?}: error {}", case.way, ids[0]));
            continue;
        }
        checked += 1;
        let place = expected(case.way, &case.name(), pid, &file, netns);
        failed.extend(check(&events, pid, case, ids, &place).err().map(|why| format!("{case:?}: {why}")));
    }
    println!("{checked} attachments of {} ways", ways().count() - refused.len());
    if !refused.is_empty() {
        not_checked(&format!("this kernel refuses {}", Vec::from_iter(refused).join(", ")));
    }
    assert!(failed.is_empty(), "{} of {checked}: {failed:#?}", failed.len());
}

/// The attachments and detachments of a program.
fn changes(run: &Run, id: i64) -> Vec<Value> {
    let is_change = |e: &Value| matches!(e["op"].as_str(), Some("attach" | "detach"));
    run.lines().filter(|e| e["prog"]["id"] == id && is_change(e)).collect()
}

/// Some fields of events.
fn shown(events: &[Value], pointers: &[&str]) -> Vec<Value> {
    let field = |event: &Value, at: &&str| event.pointer(at).cloned().unwrap_or_default();
    events.iter().map(|event| pointers.iter().map(|at| field(event, at)).collect()).collect()
}

/// The same program at two cgroups, of which one is removed, and several times at one socket. Inventories have their real interval here.
#[test]
fn an_end_names_its_place() {
    let dir = Dir::new();
    let cgroups = dir.dir("cgroups");
    let acted = trace_with(&["--kind", "bpf", "--inventory", "10s"], |trace| {
        sys::own_mounts();
        sys::mount("cgroup2", &cgroups, "cgroup2", 0);
        let [removed, kept] = ["removed", "kept"].map(|name| format!("{cgroups}/tt-{name}-{}", sys::pid()));
        let program = load_for(CGROUP_SKB, 1, "tt_twice", MOV_R0_1).expect("a program");
        let made = [&removed, &kept].map(|path| {
            let dir = new_cgroup(path);
            by_attach(&program, sys::raw(&dir) as u32, 1, vec![dir]).map(|made| (made.kept, made.detach))
        });
        let [other, again] = ["tt_socket", "tt_another"].map(|name| bpf::program(SOCKET_FILTER, name));
        let socket = udp_socket();
        let set = |program: &OwnedFd| set_option(&socket, libc::SO_ATTACH_BPF, sys::raw(program) as u32);
        let set = [set(&other), set(&other), set(&again), set_option(&socket, libc::SO_DETACH_BPF, 0)];
        trace.wait_for("attach", &[id_and_tag(&program)[0]]);
        fs::remove_dir(&removed).expect("it is empty");
        let [Ok(_first), Ok((dir, detach))] = made else { return vec![] };
        let detached = detach();
        drop(dir);
        trace.wait_for_many("detach", id_and_tag(&program)[0], 2);
        fs::remove_dir(&kept).expect("it is empty");
        let [first, other, again] = [&program, &other, &again].map(|program| id_and_tag(program)[0]);
        vec![first, other, again, detached.min(*set.iter().min().unwrap_or(&0))]
    });
    let Some((run, pid, numbers)) = acted else { return };
    let [program, other, again, 0] = numbers[..] else { return not_checked(&format!("not attached: {numbers:?}")) };
    let ends: Vec<Value> = changes(&run, program).into_iter().filter(|e| e["op"] == "detach").collect();
    let is_named = |(by, name): (&str, &str)| {
        let target = format!("tt-{name}-{pid}");
        ends.iter().any(|e| e["seen_by"] == by && e["attach"]["target"].to_string().contains(&target))
    };
    assert!(ends.len() == 2 && is_named(("inventory", "removed")) && is_named(("call", "kept")), "{ends:?}");
    let mut seen = [changes(&run, other), changes(&run, again)].concat();
    seen.sort_by_key(|e| e["ns"].as_u64());
    let [[begin, end], [begin_again, end_again]] =
        [other, again].map(|id| ["attach", "detach"].map(|op| json!([op, id, pid])));
    let expected = [begin.clone(), end.clone(), begin, end, begin_again, end_again];
    assert_eq!(shown(&seen, &["/op", "/prog/id", "/pid"]), expected);
}

/// The places where BPF_PROG_ATTACH replaces a program: by the kind of place, or by the flag that names the program.
#[test]
fn a_replaced_program_ends_at_the_call() {
    const REPLACE: u32 = 4;
    let dir = Dir::new();
    let cgroups = dir.dir("cgroups");
    // Flags of the second attachment.
    let ways =
        [(CgroupAttach, 0), (CgroupAttach, MULTI | REPLACE), (Sockmap, 0), (FlowDissector, 0), (TcxAttach, REPLACE)];
    let acted = trace("bpf", || {
        sys::own_mounts();
        sys::mount("cgroup2", &cgroups, "cgroup2", 0);
        sys::unshare(libc::CLONE_NEWNET);
        let map = sockmap().expect("a map");
        let mut numbers = Vec::new();
        for (nth, (way, flags)) in ways.into_iter().enumerate() {
            let path = format!("{cgroups}/tt-{nth}-{}", sys::pid());
            let cgroup = new_cgroup(&path);
            let (kind, expected, attach_type, target) = place_of(way, &cgroup, &map);
            let place = (target, attach_type);
            let [old, new] =
                ["tt_old", "tt_new"].map(|name| load_for(kind, expected, name, MOV_R0_1).expect("a program"));
            let [first, second] = [&old, &new].map(|program| sys::raw(program) as u32);
            let replaced = if flags & REPLACE != 0 { first } else { 0 };
            let done = change_at(BPF_PROG_ATTACH, place, first, flags & !REPLACE, 0);
            let done = done.min(change_at(BPF_PROG_ATTACH, place, second, flags, replaced));
            numbers.extend([id_and_tag(&old)[0], id_and_tag(&new)[0], done]);
            change_at(BPF_PROG_DETACH, place, second, 0, 0);
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
        let mut events = [changes(&run, ids[0]), changes(&run, ids[1])].concat();
        events.sort_by_key(|e| e["ns"].as_u64());
        let expected = [("attach", "tt_old"), ("detach", "tt_old"), ("attach", "tt_new"), ("detach", "tt_new")];
        let expected = expected.map(|(op, name)| json!([op, name, pid]));
        assert_eq!(shown(&events, &["/op", "/prog/name", "/pid"]), expected, "{way:?} {flags}");
    }
}

/// BPF_F_ALLOW_MULTI.
const MULTI: u32 = 2;

/// A detachment that passes descriptor 0 while that is the first of two programs: tcx takes this for no program, and detaches the
/// last one. A cgroup and a map of sockets detach the program.
#[test]
fn descriptor_0_is_no_program_at_tcx() {
    let dir = Dir::new();
    let cgroups = dir.dir("cgroups");
    let ways = [TcxAttach, CgroupAttach, Sockmap];
    let acted = trace_with(&["--kind", "bpf"], |trace| {
        sys::own_mounts();
        sys::mount("cgroup2", &cgroups, "cgroup2", 0);
        sys::unshare(libc::CLONE_NEWNET);
        let path = format!("{cgroups}/tt-zero-{}", sys::pid());
        let cgroup = new_cgroup(&path);
        let map = sockmap().expect("a map");
        let mut numbers = Vec::new();
        for way in ways {
            let (kind, expected, attach_type, target) = place_of(way, &cgroup, &map);
            let flags = if way == CgroupAttach { MULTI } else { 0 };
            let [first, second] =
                ["tt_first", "tt_second"].map(|name| load_for(kind, expected, name, MOV_R0_1).expect("a program"));
            let change = |command, fd: u32, flags: u32| change_at(command, (target, attach_type), fd, flags, 0);
            let [fd, other] = [&first, &second].map(|program| sys::raw(program) as u32);
            let mut done = change(BPF_PROG_ATTACH, fd, flags);
            if way != Sockmap {
                done = done.min(change(BPF_PROG_ATTACH, other, flags));
            }
            sys::dup2(u64::from(fd), 0);
            done = done.min(change(BPF_PROG_DETACH, 0, 0));
            trace.wait_for_inventory();
            let (left, at) = if way == TcxAttach { (fd, "tt_first") } else { (other, "tt_second") };
            let last = if way == Sockmap { 0 } else { change(BPF_PROG_DETACH, left, 0) };
            assert!(done < 0 || last == 0, "{way:?}: {at} was left: {last}");
            numbers.extend([id_and_tag(&first)[0], id_and_tag(&second)[0], done]);
        }
        trace.wait_for_inventory();
        drop(cgroup);
        fs::remove_dir(&path).expect("it is empty");
        numbers
    });
    let Some((run, _, numbers)) = acted else { return };
    for (way, ids) in ways.into_iter().zip(numbers.chunks_exact(3)) {
        if ids[2] < 0 {
            not_checked(&format!("{way:?}: error {}", ids[2]));
            continue;
        }
        let ends: Vec<Value> =
            ids[..2].iter().flat_map(|id| changes(&run, *id)).filter(|e| e["op"] == "detach").collect();
        // The call does not name the second one at tcx.
        let second = if way == TcxAttach { "inventory" } else { "call" };
        let mut expected = vec![json!(["tt_first", "call"]), json!(["tt_second", second])];
        expected.truncate(if way == Sockmap { 1 } else { 2 });
        assert_eq!(shown(&ends, &["/prog/name", "/seen_by"]), expected, "{way:?}");
    }
}

#[test]
fn an_attachment_by_netlink_has_its_process() {
    let dir = Dir::new();
    let bpffs = dir.dir("bpffs");
    let acted = trace_with(&["--kind", "bpf"], |trace| {
        sys::own_mounts();
        sys::mount("bpf", &bpffs, "bpf", 0);
        let act = |line: String| {
            let words: Vec<&str> = line.split(' ').collect();
            i64::from(run(words[0], &words[1..]) == 0)
        };
        let [name, peer] = ["a", "b"].map(|end| format!("tt{}{end}", sys::pid()));
        if act(format!("ip link add {name} type veth peer name {peer}")) == 0 {
            return vec![];
        }
        for end in [&name, &peer] {
            act(format!("ip link set dev {end} up"));
        }
        trace.wait_for_inventory();
        let mut numbers = Vec::new();
        for (n, ms) in [0, 20, 300, 0].into_iter().enumerate() {
            let program = bpf::program(XDP, &format!("tt_by{n}"));
            let id = id_and_tag(&program)[0];
            let done = act(format!("bpftool net attach xdpgeneric id {id} dev {name}"));
            std::thread::sleep(Duration::from_millis(ms));
            numbers.extend([id, done & act(format!("ip link set dev {name} xdpgeneric off"))]);
        }
        act(format!("tc qdisc add dev {name} clsact"));
        let ends = ["filter del dev DEV ingress prio 1", "filter del dev DEV ingress", "qdisc del dev DEV clsact"];
        for (n, end) in ends.into_iter().enumerate() {
            let program = bpf::program(SCHED_CLS, &format!("tt_tc{n}"));
            let pin = format!("{bpffs}/{n}");
            bpf_ways::pin_at(&program, &pin);
            let done = act(format!("tc filter add dev {name} ingress prio 1 bpf da object-pinned {pin}"));
            std::thread::sleep(Duration::from_millis(20));
            numbers.extend([id_and_tag(&program)[0], done & act(format!("tc {}", end.replace("DEV", &name)))]);
            // What another process does next could have ended the filter too.
            std::thread::sleep(Duration::from_millis(700));
        }
        trace.wait_for_inventory();
        act(format!("ip link del dev {name}"));
        numbers
    });
    let Some((run, pid, numbers)) = acted else { return };
    if numbers.is_empty() || numbers.chunks_exact(2).any(|ids| ids[1] == 0) {
        return not_checked(&format!("there is no ip(8), tc(8) or bpftool(8), or no veth: {numbers:?}"));
    }
    let has_ends = is_attached("bpf_xdp ");
    for (n, ids) in numbers.chunks_exact(2).enumerate() {
        // An end that only an inventory shows has no process.
        let by = if n < 4 { [Some("bpftool"), has_ends.then_some("ip")] } else { [Some("tc"), None] };
        let events = changes(&run, ids[0]);
        assert_eq!(events.len(), 2, "{n}: {events:#?}");
        for ((event, op), command) in events.iter().zip(["attach", "detach"]).zip(by) {
            let (kind, name) = (if n < 4 { "xdp" } else { "tc" }, format!("tt{pid}a"));
            let attach =
                json!({"type": kind, "target": name, "via": "netlink", "link_id": null, "ifindex": {"?ge": 2}});
            let by = json!({"op": op, "comm": command, "ppid": command.map(|_| pid), "seen_by": "inventory"});
            let said = json!({"ret": null, "err": null, "prog": {"uid": 0}, "attach": attach});
            check_has(event, with(by, said));
        }
    }
}

/// At an interface that is down, in another network namespace, of which no notification comes. The second program replaces the first.
#[test]
fn an_interface_that_is_down_hides_no_xdp_program() {
    alone();
    if !is_attached("bpf_xdp ") {
        return not_checked("calls of netlink: no bpf_xdp");
    }
    let acted = trace_with(&["--kind", "bpf"], move |trace| {
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
        for ms in [0, 20, 300] {
            let [first, second] = ["tt_down", "tt_next"].map(|name| bpf::program(XDP, name));
            numbers.extend(attach(&first));
            std::thread::sleep(Duration::from_millis(ms));
            numbers.extend(attach(&second));
            std::thread::sleep(Duration::from_millis(ms));
            // The second call changes nothing.
            numbers.extend([off(), off()]);
        }
        trace.wait_for_inventory();
        numbers
    });
    let Some((run, pid, numbers)) = acted else { return };
    if numbers.is_empty() || numbers.chunks_exact(2).any(|ids| ids[1] != 0) {
        return not_checked(&format!("there is no ip(8) or bpftool(8), or no veth: {numbers:?}"));
    }
    for ids in numbers.chunks_exact(6) {
        for (id, [begins, ends]) in [(ids[0], ["bpftool", "bpftool"]), (ids[2], ["bpftool", "ip"])] {
            let events = changes(&run, id);
            let expected = [json!(["attach", begins, "tt0", pid]), json!(["detach", ends, "tt0", pid])];
            let shown = shown(&events, &["/op", "/comm", "/attach/target", "/ppid"]);
            assert_eq!(shown, expected, "{events:#?}");
        }
    }
}

/// An XDP link whose interface is removed, while a descriptor keeps the link.
#[test]
fn an_xdp_link_ends_with_its_interface() {
    let held = [0, 20, 1000];
    let acted = trace_with(&["--kind", "bpf"], move |trace| {
        let mut numbers = Vec::new();
        for ms in held {
            let name = format!("tt{}", sys::pid());
            if run("ip", &["link", "add", &name, "type", "veth"]) != 0 {
                return vec![];
            }
            let index = index_of(&name);
            let program = load_for(XDP, 37, "tt_removed", MOV_R0).expect("a program");
            let link = match opened(create(&program, index, 37, |attr| attr.u32(12, 2))) {
                Ok(link) => link,
                Err(error) => return vec![error],
            };
            std::thread::sleep(Duration::from_millis(ms));
            assert_eq!(run("ip", &["link", "del", "dev", &name]), 0);
            numbers.extend([id_and_tag(&program)[0], link_id(&link), i64::from(index)]);
            // An inventory reports the end, not the release of the link.
            trace.wait_for_inventory();
            let listed = listed()["links"].clone();
            let is_it = |one: &&Value| one["id"] == link_id(&link);
            let detached = listed.as_array().into_iter().flatten().find(is_it).map(|link| &link["detached"]);
            assert_eq!(detached, Some(&true.into()), "{listed}");
        }
        numbers
    });
    let Some((run, pid, numbers)) = acted else { return };
    if numbers.len() < 2 {
        return not_checked(&format!("there is no ip(8), no veth, or no link: {numbers:?}"));
    }
    for (ms, ids) in held.into_iter().zip(numbers.chunks_exact(3)) {
        let events = changes(&run, ids[0]);
        let expected = [json!(["attach", "call"]), json!(["detach", "inventory"])];
        assert_eq!(shown(&events, &["/op", "/seen_by"]), expected, "{ms} ms: {events:#?}");
        for event in &events {
            // The name may be looked up when the interface is gone.
            let nameless = (ms < 1000).then(|| format!("interface {}", ids[2]));
            let name = json!({"?or": [format!("tt{pid}"), nameless]});
            let attach = json!({"type": "xdp", "via": "link", "target": name, "link_id": ids[1], "ifindex": ids[2]});
            check_has(event, json!({"attach": attach}));
        }
    }
}

/// Whether a place is the expected one. Numbers and offsets may follow some of them.
pub(crate) fn is_place(found: &str, expected: &str) -> bool {
    let is_part = expected.ends_with(':') || matches!(expected, "tt_map" | "tt_main" | "do_nanosleep");
    if is_part { found.starts_with(expected) } else { found == expected }
}

/// Checks the events of an attachment: how often it begins and ends, its process, its place and its ids.
pub(crate) fn check(all: &[Value], pid: i32, case: &Case, ids: &[i64], place: &[String; 3]) -> Result<(), String> {
    // A table of functions without a link is one event of a call. Later inventories report its programs too.
    let is_table = case.way == StructOps;
    let is_table_link = matches!(case.way, StructOpsLink | SchedExt);
    let is_of = |e: &Value| match is_table && e["op"] != "unload" {
        true => e["seen_by"] == "call" && e["attach"]["target"] == *place[2],
        false => e["prog"]["id"] == ids[0] || ids[1] != 0 && e["attach"]["link_id"] == ids[1],
    };
    // A detachment of a socket need not name the program.
    let begun = all.iter().find(|e| is_of(e) && e["op"] == "attach").map(|begin| &begin["attach"]["target"]);
    let socket = begun.filter(|target| target.as_str().is_some_and(|target| target.starts_with("socket:")));
    let is_there = |e: &Value| socket.is_some() && socket == e["attach"].get("target");
    let events: Vec<&Value> = all.iter().filter(|e| is_of(e) || is_there(e)).collect();
    let of = |op: &str| events.iter().filter(|e| e["op"] == op).copied().collect::<Vec<_>>();
    let (begun, ended) = (of("attach"), of("detach"));
    let shown =
        |events: &[&Value]| events.iter().map(|e| format!("{} {}", e["seen_by"], e["attach"])).collect::<Vec<_>>();
    let by_netlink = matches!(case.way, XdpNetlink | TcIngress | TcEgress);
    let by_element = matches!(case.way, ProgArray | Devmap | Cpumap);
    // Only an inventory shows them, those by netlink because they are in another network namespace.
    if (by_element || by_netlink) && case.held_ms < LONG && begun.is_empty() && ended.is_empty() {
        return Ok(());
    }
    let ([begin], [end]) = (&begun[..], &ended[..]) else {
        return Err(format!("begins {:?}, ends {:?}", shown(&begun), shown(&ended)));
    };
    // Who made the attachment, and the end if that was a call. In another network namespace, nobody is named for tc, and perhaps
    // nobody for XDP.
    for event in [Some(begin), Some(end).filter(|_| case.end == End::Detach)].into_iter().flatten() {
        let is_right = match case.way {
            TcIngress | TcEgress | ProgArray | Devmap | Cpumap => event["pid"].is_null(),
            XdpNetlink => event["pid"].is_null() || event["pid"] == pid,
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
    let word = |key: &str| (&begin["attach"][key], &end["attach"][key]);
    for key in ["type", "via", "link_id"] {
        if word(key).0 != word(key).1 {
            return Err(format!("{key}: {:?}", word(key)));
        }
    }
    if place[1] == "prog_attach" && case.end == End::Detach && word("target").0 != word("target").1 {
        return Err(format!("target: {:?}", word("target")));
    }
    let link = if ids[1] == 0 { Value::Null } else { ids[1].into() };
    let program = if place[0] == "struct_ops" { Value::Null } else { ids[0].into() };
    if word("link_id").0 != &link || begin["prog"]["id"] != program {
        return Err(format!("program {}: {}", begin["prog"]["id"], begin["attach"]));
    }
    for (key, expected) in ["type", "via", "target"].into_iter().zip(place) {
        let found = word(key).0.as_str();
        // The path of a cgroup is looked up later.
        let is_number = found.is_none_or(|found| found.starts_with("cgroup:"));
        let is_gone = key == "target" && place[0] == "cgroup" && case.held_ms < LONG && is_number;
        if !is_gone && !found.is_some_and(|found| is_place(found, expected)) {
            return Err(format!("{key}: {found:?} for {expected}"));
        }
    }
    let unloads = of("unload");
    let [unload] = &unloads[..] else { return Err(format!("unloaded {} times", unloads.len())) };
    // Only iterators show a perf_event program without a link. Otherwise the unload ends it.
    let waits = case.way == PerfIoctl && ((5, 15)..(5, 19)).contains(&release());
    let early = ns(unload).saturating_sub(ns(end)) > 200_000_000;
    // A notification may come after the unload, and the inventory that lacks a link without a program. The detachment of a group
    // unloads the program before it returns.
    let may_follow = by_netlink || is_table_link || (case.way, case.end) == (Reuseport, End::Detach);
    if case.kept && !early && !waits || ns(unload) < ns(end) && !may_follow {
        return Err(format!("unloaded {} ns after the end", ns(unload) as i64 - ns(end) as i64));
    }
    Ok(())
}
