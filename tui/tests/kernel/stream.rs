//! Programs that come and go without a system call that says so.

use crate::bpf::{
    Attr, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_RAW_TRACEPOINT_OPEN, EXIT, MOV_R0, check_prog, id_and_tag, link_id, load,
    raw_tracepoint_open,
};
use crate::bpf_inventory::load_for;
use crate::recording::{read, text};
use crate::sys::{self, Actor, c};
use crate::tcp::net;
use crate::traced::{Dir, Run, Traced, alone, is_attached, may_trace, n, not_checked, trace, tracetui};
use serde_json::Value;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const BPF_MAP_CREATE: u64 = 0;
const BPF_MAP_UPDATE_ELEM: u64 = 2;
const BPF_PROG_LOAD: u64 = 5;
const BPF_PROG_TEST_RUN: u64 = 10;
const BPF_PROG_GET_FD_BY_ID: u64 = 13;
const BPF_PROG_ATTACH: u64 = 8;
const BPF_PROG_DETACH: u64 = 9;
const BPF_LINK_CREATE: u64 = 28;

const SCHED_CLS: u32 = 3;
const XDP: u32 = 6;
const AT_XDP: u32 = 37;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;

const PROG_TYPE_SYSCALL: u32 = 31;
const SLEEPABLE: u32 = 1 << 4;
const HELPER_SYS_BPF: i32 = 166;

/// An instruction.
fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> u64 {
    let [o0, o1] = off.to_le_bytes();
    let [i0, i1, i2, i3] = imm.to_le_bytes();
    u64::from_le_bytes([code, dst | src << 4, o0, o1, i0, i1, i2, i3])
}

/// What a program does that loads a program, as a light skeleton does.
struct Inside {
    name: &'static str,
    prog_type: u32,
    /// Attaches it by a link: target and attach type.
    link: Option<(u32, u32)>,
}

impl Inside {
    const fn new(name: &'static str) -> Inside {
        Inside { name, prog_type: BPF_PROG_TYPE_RAW_TRACEPOINT, link: None }
    }

    /// Runs such a program. Returns the program that it loaded, then the link; or the error.
    fn run(&self) -> Result<Vec<OwnedFd>, i64> {
        let data = [MOV_R0, EXIT, u64::from_le_bytes(*b"GPL\0\0\0\0\0")];
        let map = Attr::new().u32(0, 2).u32(4, 4).u32(8, 24).u32(12, 1).call(BPF_MAP_CREATE);
        if map < 0 {
            return Err(map);
        }
        let map = sys::owned(map);
        let key = 0u32;
        let update = Attr::new().u32(0, sys::raw(&map) as u32).u64(8, (&raw const key) as u64);
        assert_eq!(update.u64(16, data.as_ptr() as u64).call(BPF_MAP_UPDATE_ELEM), 0);
        let program = self.instructions(&map);
        let licence = c("GPL");
        let insns = (program.len(), program.as_ptr() as u64);
        let mut attr = Attr::of_load(PROG_TYPE_SYSCALL, "tt_loader", insns, licence.as_ptr() as u64).u32(44, SLEEPABLE);
        let loader = attr.call(BPF_PROG_LOAD);
        if loader < 0 {
            return Err(loader);
        }
        let loader = sys::owned(loader);
        let mut run = Attr::new().u32(0, sys::raw(&loader) as u32);
        assert_eq!(run.call(BPF_PROG_TEST_RUN), 0);
        let fds = i32::from_le_bytes([run.0[4], run.0[5], run.0[6], run.0[7]]);
        match self.link {
            _ if fds < 0 => Err(fds.into()),
            None => Ok(vec![sys::owned(fds.into())]),
            Some(_) => Ok([fds >> 16, fds & 0xffff].map(|fd| sys::owned(fd.into())).into()),
        }
    }

    /// The attributes are on the stack from r10 - 128 on. They point to the value of the map.
    fn instructions(&self, map: &OwnedFd) -> Vec<u64> {
        let word = |at: i16, value: u32| insn(0x62, 10, 0, at - 128, value.cast_signed());
        let call = |command: u64| {
            let arguments = [insn(0xb7, 1, 0, 0, command as i32), insn(0xbf, 2, 10, 0, 0), insn(0x07, 2, 0, 0, -128)];
            arguments.into_iter().chain([insn(0xb7, 3, 0, 0, 128), insn(0x85, 0, 0, 0, HELPER_SYS_BPF)])
        };
        let zeros = || [insn(0xb7, 1, 0, 0, 0)].into_iter().chain((0..16).map(|at| insn(0x7b, 10, 1, at * 8 - 128, 0)));
        let mut name = self.name.bytes().chain(std::iter::repeat(0));
        let mut next = || u32::from_le_bytes(std::array::from_fn(|_| name.next().unwrap_or_default()));
        let mut program: Vec<u64> = zeros().collect();
        program.extend([word(0, self.prog_type), word(4, 2)]);
        for (at, offset) in [(8, 0), (16, 16)] {
            // r1 = the address in the map.
            program.extend([insn(0x18, 1, 2, 0, sys::raw(map)), insn(0, 0, 0, 0, offset)]);
            program.push(insn(0x7b, 10, 1, at - 128, 0));
        }
        program.extend((0..3).map(|at| word(48 + 4 * at, next())));
        program.extend(call(BPF_PROG_LOAD));
        if let Some((target, attach_type)) = self.link {
            // r6 = the program; if r6 < 0, the end.
            program.extend([insn(0xbf, 6, 0, 0, 0), insn(0xc5, 6, 0, 28, 0)]);
            program.extend(zeros());
            program.extend([insn(0x63, 10, 6, -128, 0), word(4, target), word(8, attach_type)]);
            program.extend(call(BPF_LINK_CREATE));
            // r0 = r6 << 16 | r0, unless r0 < 0.
            program.extend([insn(0xc5, 0, 0, 2, 0), insn(0x67, 6, 0, 0, 16), insn(0x4f, 0, 6, 0, 0)]);
        }
        program.push(EXIT);
        program
    }
}

/// Loads a program from within a program.
fn load_inside(name: &'static str) -> Result<OwnedFd, i64> {
    Inside::new(name).run().map(|mut fds| fds.remove(0))
}

/// By then a change is in the inventory, with the pause after the one before.
const INVENTORY: Duration = Duration::from_secs(10);

/// Waits until the output satisfies this, at most for [`INVENTORY`].
fn wait_until(output: &Path, satisfies: impl Fn(&str) -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < INVENTORY && !std::fs::read_to_string(output).is_ok_and(|lines| satisfies(&lines)) {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until this operation is reported for each of the programs, as [`wait_until`].
pub(crate) fn wait_for(op: &str, ids: &[i64], output: &Path) {
    let is_it = |event: &Value, id: i64| event["op"] == op && event["prog"]["id"] == id;
    wait_until(output, |lines| {
        let events: Vec<Value> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        ids.iter().all(|id| events.iter().any(|event| is_it(event, *id)))
    });
}

/// The events of a program, in order.
fn of_program(run: &Run, id: i64) -> Vec<Value> {
    run.lines().filter(|event| event["kind"] == "bpf" && event["prog"]["id"] == id).collect()
}

/// Waits until the kernel has unloaded a program.
fn wait_until_gone(id: i64) {
    for _ in 0..500 {
        let fd = Attr::new().u32(0, id as u32).call(BPF_PROG_GET_FD_BY_ID);
        if fd < 0 {
            return;
        }
        drop(sys::owned(fd));
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("program {id} is still there");
}

#[track_caller]
fn check_unload(event: &Value, name: &str, id_and_tag: &[i64]) {
    assert_eq!((&event["op"], &event["seen_by"]), (&"unload".into(), &"stream".into()), "{event}");
    assert_eq!((&event["prog"]["id"], &event["prog"]["name"]), (&id_and_tag[0].into(), &name.into()), "{event}");
    assert_eq!(event["prog"]["tag"], format!("{:016x}", id_and_tag[1]), "{event}");
    for null in ["pid", "tid", "comm", "uid", "ret", "err", "attach"] {
        assert_eq!(event[null], Value::Null, "{null}: {event}");
    }
}

#[test]
fn a_program_that_comes_and_goes_has_two_events() {
    let _alone = alone();
    let acted = trace("bpf", || {
        let prog = sys::owned(load(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_two_events", &[MOV_R0, EXIT]));
        let numbers = id_and_tag(&prog);
        drop(prog);
        wait_until_gone(numbers[0]);
        numbers.to_vec()
    });
    let Some((run, pid, numbers)) = acted else { return };
    let events = of_program(&run, numbers[0]);
    assert_eq!(events.len(), 2, "{events:#?}");
    check_prog(&events[0], "tt_two_events", "raw_tracepoint", &numbers);
    assert_eq!((&events[0]["pid"], &events[0]["seen_by"]), (&pid.into(), &"call".into()), "{}", events[0]);
    check_unload(&events[1], "tt_two_events", &numbers);
}

#[test]
fn a_program_that_a_program_loads_is_seen() {
    let _alone = alone();
    let acted = trace("bpf", || {
        let prog = match load_inside("tt_inside") {
            Ok(prog) => prog,
            Err(error) => return vec![error],
        };
        let numbers = id_and_tag(&prog);
        drop(prog);
        wait_until_gone(numbers[0]);
        numbers.to_vec()
    });
    let Some((run, pid, numbers)) = acted else { return };
    if numbers[0] < 0 {
        return not_checked(&format!("this kernel has no programs that call bpf(2): {numbers:?}"));
    }
    let events = of_program(&run, numbers[0]);
    assert_eq!(events.len(), 2, "{events:#?}");
    let (event, loader) = (&events[0], run.one("bpf", pid, |event| event["prog"]["name"] == "tt_loader"));
    assert_eq!((&event["op"], &event["seen_by"]), (&"load".into(), &"stream".into()), "{event}");
    for same in ["pid", "tid", "ppid", "comm", "uid", "gid", "start_ns"] {
        assert_eq!(event[same], loader[same], "{same}: {event}");
    }
    assert_eq!((&event["prog"]["name"], &event["ret"]), (&"tt_inside".into(), &Value::Null), "{event}");
    assert_eq!(event["prog"]["tag"], format!("{:016x}", numbers[1]), "{event}");
    assert_eq!((&event["ret_why"], &event["attach"]), (&"not_collected".into(), &Value::Null), "{event}");
    check_unload(&events[1], "tt_inside", &numbers);
}

/// Two processes load and unload as fast as they can, by both ways: nothing is reported twice, and nothing is missing.
#[test]
fn churn_makes_no_event_twice() {
    let _alone = alone();
    let Some(traced) = Traced::start(&["--kind", "bpf"]) else { return };
    let act = |inside: bool| {
        move || {
            let mut ids = Vec::new();
            for _ in 0..150 {
                let prog = match inside {
                    true => load_inside("tt_churn").ok(),
                    false => Some(sys::owned(load(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_churn", &[MOV_R0, EXIT]))),
                };
                ids.extend(prog.map(|prog| id_and_tag(&prog)[0]));
            }
            ids.iter().for_each(|id| wait_until_gone(*id));
            ids
        }
    };
    let mut actors = [Actor::new(act(false)), Actor::new(act(true))];
    actors.iter_mut().for_each(Actor::go);
    let ids = actors.map(|actor| actor.end().1);
    let run = traced.stop();
    let account = run.check();
    assert!(run.lines().all(|event| event["op"] != "hidden"), "what comes and goes is not hidden");
    assert_eq!(ids[0].len(), 150);
    if ids[1].is_empty() {
        not_checked("this kernel has no programs that call bpf(2)");
    }
    assert_eq!(n(&account["kinds"]["bpf"]["lost"]["ring"]), 0, "{account}");
    for (ids, seen_by) in ids.iter().zip(["call", "stream"]) {
        for id in ids {
            let events = of_program(&run, *id);
            let said: Vec<_> = events.iter().map(|event| (event["op"].as_str(), event["seen_by"].as_str())).collect();
            assert_eq!(said, [(Some("load"), Some(seen_by)), (Some("unload"), Some("stream"))], "{id}");
        }
    }
}

#[test]
fn a_replay_has_the_programs_that_came_and_went() {
    let _alone = alone();
    let dir = Dir::new();
    let file = dir.at("live.ttr");
    for format in ["json", "text", "csv"] {
        let _ = std::fs::remove_file(&file);
        let Some(traced) = Traced::start_as(format, &["--kind", "bpf", "-w", &file]) else { return };
        let ids = Actor::new(|| {
            let linked = Inside { prog_type: SCHED_CLS, link: Some((1, TCX_INGRESS)), ..Inside::new("tt_replayed") };
            sys::unshare(libc::CLONE_NEWNET);
            let Ok(fds) = linked.run() else { return vec![] };
            let id = id_and_tag(&fds[0])[0];
            // The load and the attachment.
            wait_until(traced.output(), |text| text.lines().filter(|line| line.contains("tt_replayed")).count() == 2);
            drop(fds);
            wait_until_gone(id);
            vec![id]
        })
        .run();
        let run = traced.stop();
        let replayed = read(&["print", &file, "--format", format]);
        assert_eq!(text(&replayed.stdout), text(&run.raw), "{format}");
        let account = text(&replayed.stderr).lines().last().map(str::to_owned);
        assert_eq!(account.as_ref(), run.stderr.last(), "{format}");
        if !ids.is_empty() {
            // Load, attach, detach, unload.
            let lines = text(&run.raw);
            let told: Vec<_> = lines.lines().filter(|line| line.contains("tt_replayed")).collect();
            assert_eq!(told.len(), 4, "{format}: {told:#?}");
        }
    }
    let _ = std::fs::remove_file(&file);
    let Some(traced) = Traced::start(&["-w", &file]) else { return };
    let actor = Actor::new(|| load_inside("tt_recorded").map_or(vec![0], |prog| vec![id_and_tag(&prog)[0]]));
    let pid = actor.pid;
    let id = actor.run()[0];
    traced.stop();
    if id == 0 {
        return;
    }
    for filter in [format!("prog.id={id}"), format!("op=load pid={pid} prog=tt_recorded")] {
        let found = read(&["print", &file, "--format", "json", "--filter", &filter]);
        let lines = text(&found.stdout);
        let loads = lines.lines().filter(|line| line.contains(&format!("\"id\":{id},")) && line.contains("load\""));
        assert!(loads.count() >= 1, "{filter}: {lines}{}", text(&found.stderr));
    }
}

/// Operation, source, mechanism and type of the events of a program.
fn told(run: &Run, id: i64) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let tell = |event: &Value| {
        let attach = &event["attach"];
        let place = [&attach["type"], &attach["target"], &attach["via"]].map(word).join(" ");
        [word(&event["op"]), word(&event["seen_by"]), place].join(" ")
    };
    of_program(run, id).iter().map(tell).collect()
}

fn tool(program: &str, args: &[&str]) -> bool {
    let done = std::process::Command::new(program).args(args).output();
    done.is_ok_and(|done| done.status.success())
}

/// Runs `act` and tracetui in a network namespace of their own. `act` gets the output of tracetui.
fn in_network(act: impl FnOnce(&Path) -> Vec<i64>) -> Option<(Run, Vec<i64>)> {
    if !may_trace() {
        return None;
    }
    sys::unshare(libc::CLONE_NEWNET);
    let traced = Traced::start(&["--kind", "bpf"])?;
    // After the first inventory: what it has is no event.
    std::thread::sleep(INVENTORY);
    let numbers = Actor::new(|| act(traced.output())).run();
    let run = traced.stop();
    run.check();
    Some((run, numbers))
}

#[test]
fn what_is_attached_by_netlink_is_seen() {
    let _alone = alone();
    let dir = Dir::new();
    let pin = dir.at("pin");
    let acted = in_network(|output| {
        let xdp = sys::owned(load(XDP, "tt_nl_xdp", &[MOV_R0, EXIT]));
        let tc = sys::owned(load(SCHED_CLS, "tt_nl_tc", &[MOV_R0, EXIT]));
        let id = id_and_tag(&xdp)[0].to_string();
        sys::own_mounts();
        sys::mount("bpf", dir.path().to_str().expect("UTF-8"), "bpf", 0);
        let path = c(pin.as_str());
        Attr::new().u64(0, path.as_ptr() as u64).u32(8, sys::raw(&tc) as u32).call(6);
        let ok = tool("ip", &["link", "add", "tt0", "type", "veth", "peer", "name", "tt1"])
            && tool("ip", &["link", "set", "tt0", "up"])
            && tool("bpftool", &["net", "attach", "xdpgeneric", "id", &id, "dev", "tt0"])
            && tool("tc", &["qdisc", "add", "dev", "lo", "clsact"])
            && tool("tc", &["filter", "add", "dev", "lo", "ingress", "bpf", "da", "object-pinned", &pin]);
        let ids = [&xdp, &tc].map(|prog| id_and_tag(prog)[0]);
        wait_for("attach", &ids, output);
        tool("bpftool", &["net", "detach", "xdpgeneric", "dev", "tt0"]);
        tool("tc", &["filter", "del", "dev", "lo", "ingress"]);
        wait_for("detach", &ids, output);
        vec![ok.into(), ids[0], ids[1]]
    });
    let Some((run, numbers)) = acted else { return };
    if numbers[0] == 0 {
        return not_checked("there is no ip(8), tc(8) or bpftool(8), or no veth");
    }
    for (id, place, comm) in [(numbers[1], "xdp tt0", "bpftool"), (numbers[2], "tc lo", "tc")] {
        let told = told(&run, id);
        assert_eq!(told[0], "load call - - -");
        assert_eq!(told[1..3], ["attach", "detach"].map(|op| format!("{op} inventory {place} netlink")), "{told:#?}");
        assert!(told.len() <= 4, "and maybe its unload: {told:#?}");
        let attach = &of_program(&run, id)[1];
        assert_eq!((&attach["comm"], &attach["ret"], &attach["err"]), (&comm.into(), &Value::Null, &Value::Null));
        assert_eq!((&attach["prog"]["uid"], &attach["attach"]["link_id"]), (&0.into(), &Value::Null), "{attach}");
    }
    assert!(of_program(&run, numbers[1])[1]["attach"]["ifindex"].as_u64() > Some(1));
}

#[test]
fn an_xdp_program_has_its_process() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    sys::unshare(libc::CLONE_NEWNET);
    net::up("lo");
    let Some(traced) = Traced::start(&["--kind", "bpf"]) else { return };
    let actor = Actor::new(|| {
        let output = traced.output();
        let programs: Vec<_> =
            ["tt_early", "tt_late", "tt_forged"].map(|name| sys::owned(load(XDP, name, &[MOV_R0, EXIT]))).into();
        let ids: Vec<_> = programs.iter().map(|prog| id_and_tag(prog)[0]).collect();
        let mut done = vec![];
        // Before the first inventory, and after it.
        for (program, id) in programs.iter().zip(&ids).take(2) {
            done.push(net::set_xdp(1, sys::raw(program)));
            wait_for("attach", &[*id], output);
            done.push(net::set_xdp(1, -1));
            wait_for("detach", &[*id], output);
            std::thread::sleep(INVENTORY);
        }
        done.push(net::forge_xdp(1, ids[2] as u32).min(0));
        std::thread::sleep(INVENTORY);
        [ids, done].concat()
    });
    let pid = actor.pid;
    let numbers = actor.run();
    let run = traced.stop();
    run.check();
    let (ids, done) = numbers.split_at(3);
    if done[0] < 0 {
        return not_checked(&format!("this kernel refuses an XDP program: error {}", done[0]));
    }
    assert_eq!(done, [0; 5]);
    for id in &ids[..2] {
        let told = told(&run, *id);
        assert_eq!(told[1..3], ["attach", "detach"].map(|op| format!("{op} inventory xdp lo netlink")), "{told:#?}");
        let events = of_program(&run, *id);
        assert!(events[1..3].iter().all(|event| event["pid"] == pid), "{events:#?}");
    }
    let forged = told(&run, ids[2]);
    assert!(forged.iter().all(|told| !told.contains("attach")), "{forged:#?}");
}

/// Operation and place of the events of a program but its load and unload.
fn places(run: &Run, id: i64) -> Vec<String> {
    let is_place = |line: &String| line.starts_with("attach") || line.starts_with("detach");
    told(run, id).into_iter().filter(is_place).collect()
}

#[test]
fn what_netlink_attaches_before_the_first_inventory_is_seen() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    net::own_net();
    net::number_first();
    let xdp = sys::owned(load(XDP, "tt_old_xdp", &[MOV_R0, EXIT]));
    let tc = sys::owned(load(SCHED_CLS, "tt_old_tc", &[MOV_R0, EXIT]));
    let [xdp_id, tc_id] = [&xdp, &tc].map(|program| id_and_tag(program)[0]);
    let has_tc = net::add_clsact(1, None) == 0 && net::add_filter(1, net::INGRESS, sys::raw(&tc)) == 0;
    let attach = || {
        let done = if has_tc { net::add_filter(1, net::INGRESS, sys::raw(&tc)) } else { 0 };
        net::set_xdp(1, sys::raw(&xdp)).min(done)
    };
    let detach = || {
        let done = if has_tc { net::remove_filters(1, net::INGRESS) } else { 0 };
        net::set_xdp(1, -1).min(done)
    };
    detach();
    if attach() < 0 || detach() < 0 {
        return not_checked("this kernel refuses an XDP program");
    }
    if !has_tc {
        not_checked("filters: this kernel has no clsact, or no filters with programs");
    }
    // How long they are attached; before and after the start.
    for (held_ms, before, after) in [(0, false, true), (3000, false, true), (0, true, true), (0, true, false)] {
        if before {
            assert_eq!(attach(), 0);
        }
        let Some(traced) = Traced::start(&["--kind", "bpf"]) else { return };
        if before {
            assert_eq!(detach(), 0);
        }
        if after {
            assert_eq!(attach(), 0);
            std::thread::sleep(Duration::from_millis(held_ms));
            assert_eq!(detach(), 0);
        }
        std::thread::sleep(Duration::from_millis(held_ms));
        let run = traced.stop();
        assert_eq!(n(&run.check()["bpf_unseen_windows"]["count"]), 0, "{:#?}", run.stderr);
        let ops = [("detach", before), ("attach", after), ("detach", after)];
        let ops = ops.into_iter().filter(|(_, is_expected)| *is_expected).map(|(op, _)| op);
        for (id, place) in [(xdp_id, "xdp"), (tc_id, "tc")].into_iter().take(1 + usize::from(has_tc)) {
            let expected: Vec<_> = ops.clone().map(|op| format!("{op} inventory {place} lo netlink")).collect();
            assert_eq!(places(&run, id), expected, "{held_ms} {before} {after}");
        }
    }
}

#[test]
fn filters_of_a_shared_block_are_seen() {
    const NUMBER: u32 = 7;
    let _alone = alone();
    let acted = in_network(|output| {
        let program = sys::owned(load(SCHED_CLS, "tt_block", &[MOV_R0, EXIT]));
        let id = id_and_tag(&program)[0];
        let mut done = vec![id, net::add_clsact(1, Some(NUMBER))];
        for held_ms in [0, 300, 3000] {
            done.push(net::add_filter(net::BLOCK, NUMBER, sys::raw(&program)));
            std::thread::sleep(Duration::from_millis(held_ms));
            done.push(net::remove_filters(net::BLOCK, NUMBER));
        }
        wait_until(output, |lines| lines.matches("\"op\":\"detach\"").count() == 3);
        done
    });
    let Some((run, numbers)) = acted else { return };
    let [id, qdisc, done @ ..] = &numbers[..] else { panic!("{numbers:?}") };
    if *qdisc < 0 || done[0] < 0 {
        return not_checked(&format!("this kernel has no filters of blocks: {numbers:?}"));
    }
    assert_eq!(done, [0; 6]);
    let both = ["attach", "detach"].map(|op| format!("{op} inventory tc lo netlink"));
    assert_eq!(places(&run, *id), [both.clone(), both.clone(), both].concat());
}

#[test]
fn an_xdp_link_of_another_namespace_hides_nothing() {
    const GENERIC: u32 = 2;
    let _alone = alone();
    let acted = in_network(|output| {
        // lo has the same number in each namespace.
        let program = sys::owned(load_for(XDP, AT_XDP, "tt_both", MOV_R0));
        let (fd, id) = (sys::raw(&program), id_and_tag(&program)[0]);
        let ((linked, is_linked), (end, ends)) = (channel(), channel::<()>());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                sys::unshare(libc::CLONE_NEWNET);
                net::up("lo");
                let attr = Attr::new().u32(0, fd as u32).u32(4, 1).u32(8, AT_XDP).u32(12, GENERIC);
                let link = { attr }.call(BPF_LINK_CREATE);
                let _ = linked.send(link);
                let _ = ends.recv();
                if link >= 0 {
                    sys::close(link);
                }
            });
            let link = is_linked.recv().expect("a result");
            std::thread::sleep(INVENTORY + Duration::from_secs(1));
            net::up("lo");
            let mut done = vec![id, link.min(0)];
            for kept in [20, 3000] {
                done.push(net::set_xdp(1, fd));
                std::thread::sleep(Duration::from_millis(kept));
                done.push(net::set_xdp(1, -1));
            }
            std::thread::sleep(Duration::from_secs(2));
            drop(end);
            wait_until(output, |lines| lines.matches("\"op\":\"detach\"").count() == 3);
            done
        })
    });
    let Some((run, numbers)) = acted else { return };
    let [id, link, done @ ..] = &numbers[..] else { panic!("{numbers:?}") };
    if *link < 0 || done[0] < 0 {
        return not_checked(&format!("this kernel refuses an XDP program: {numbers:?}"));
    }
    assert_eq!(done, [0; 4]);
    let netlink = ["attach inventory xdp lo netlink", "detach inventory xdp lo netlink"];
    let expected = [&["attach call xdp lo link"][..], &netlink, &netlink, &["detach inventory xdp lo link"]].concat();
    assert_eq!(places(&run, *id), expected);
}

/// Attaches a program in a new network namespace that nothing holds afterwards.
fn attach_and_leave(program: i32) {
    let done = [program, -1].map(|program| net::set_xdp(1, program));
    assert!(done == [0; 2] || done[0] < 0, "{done:?}");
}

#[test]
fn a_network_namespace_between_inventories_is_a_window() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let program = sys::owned(load(XDP, "tt_short_ns", &[MOV_R0, EXIT]));
    let by_unshare = |program| {
        sys::unshare(libc::CLONE_NEWNET);
        attach_and_leave(program);
    };
    let ways: [&dyn Fn(i32); 3] = [
        &|_| (),
        &|program| std::thread::scope(|scope| scope.spawn(|| by_unshare(program)).join().expect("no panic")),
        &|program| _ = sys::wait(sys::fork_with(libc::CLONE_NEWNET, || attach_and_leave(program))),
    ];
    let (mut windows, mut messages) = (vec![], vec![]);
    for way in ways {
        let Some(traced) = Traced::start(&["--kind", "bpf"]) else { return };
        way(sys::raw(&program));
        let run = traced.stop();
        run.check();
        windows.push(n(&run.account()["bpf_unseen_windows"]["count"]));
        messages.extend(run.stderr);
    }
    assert_eq!(windows, [0, 1, 1], "{messages:#?}");
}

#[test]
fn what_a_program_attaches_is_seen() {
    let _alone = alone();
    let acted = in_network(|output| {
        let linked = Inside { prog_type: SCHED_CLS, link: Some((1, TCX_INGRESS)), ..Inside::new("tt_in_link") };
        let fds = match linked.run() {
            Ok(fds) => fds,
            Err(error) => return vec![error],
        };
        let numbers = vec![id_and_tag(&fds[0])[0], link_id(&fds[1])];
        wait_for("attach", &numbers[..1], output);
        drop(fds);
        wait_until_gone(numbers[0]);
        numbers
    });
    let Some((run, numbers)) = acted else { return };
    if numbers[0] < 0 {
        return not_checked(&format!("this kernel has no tcx, or no programs that call bpf(2): {numbers:?}"));
    }
    let told = told(&run, numbers[0]);
    let expected =
        ["load stream - - -", "attach call tcx lo link", "detach inventory tcx lo link", "unload stream - - -"];
    assert_eq!(told, expected);
    let events = of_program(&run, numbers[0]);
    assert_eq!(events[1]["attach"]["link_id"], numbers[1], "{}", events[1]);
    assert_eq!(events[2]["time"], events[3]["time"], "an unloaded program is attached nowhere");
    // By the time that it is told, the program was read.
    for event in &events {
        assert_eq!(
            (&event["prog"]["type"], &event["prog"]["write_user"]),
            (&"sched_cls".into(), &"no".into()),
            "{event}"
        );
    }
}

/// The interface is removed while somebody holds the link: the program is not attached any more.
#[test]
fn a_link_without_its_interface_is_detached() {
    let _alone = alone();
    let acted = in_network(|output| {
        let made = tool("ip", &["link", "add", "tt0", "type", "veth", "peer", "name", "tt1"]);
        // SAFETY: the name is a string that ends with a NUL.
        let index = unsafe { libc::if_nametoindex(c"tt0".as_ptr()) };
        let prog = sys::owned(load(XDP, "tt_dev_xdp", &[MOV_R0, EXIT]));
        let generic = 2;
        let mut link = Attr::new().u32(0, sys::raw(&prog) as u32).u32(4, index).u32(8, AT_XDP).u32(12, generic);
        let link = link.call(BPF_LINK_CREATE);
        if !made || link < 0 {
            return vec![link.min(-1)];
        }
        let link = sys::owned(link);
        std::thread::sleep(INVENTORY);
        tool("ip", &["link", "del", "tt0"]);
        let id = id_and_tag(&prog)[0];
        wait_for("detach", &[id], output);
        let listed = tracetui().args(["bpf", "--format", "json"]).output();
        let listed: Value = serde_json::from_slice(&listed.expect("it runs").stdout).expect("JSON");
        let is_it = |one: &&Value| one["id"] == link_id(&link);
        let detached =
            listed["links"].as_array().into_iter().flatten().find(is_it).map(|link| link["detached"].clone());
        vec![id, (detached == Some(true.into())).into()]
    });
    let Some((run, numbers)) = acted else { return };
    if numbers[0] < 0 {
        return not_checked(&format!("there is no ip(8), no veth, or no link of XDP: {numbers:?}"));
    }
    let expected = ["load call - - -", "attach call xdp tt0 link", "detach inventory xdp tt0 link"];
    assert_eq!(told(&run, numbers[0])[..3], expected);
    assert_eq!(numbers[1], 1, "and the list says so");
}

#[test]
fn what_a_system_call_attaches_is_not_told_again() {
    let _alone = alone();
    let acted = in_network(|output| {
        let linked = sys::owned(load(SCHED_CLS, "tt_one_link", &[MOV_R0, EXIT]));
        let attached = sys::owned(load(SCHED_CLS, "tt_one_tcx", &[MOV_R0, EXIT]));
        let attr = |prog: &OwnedFd, target_first: bool| {
            let [a, b] = if target_first { [1, sys::raw(prog) as u32] } else { [sys::raw(prog) as u32, 1] };
            Attr::new().u32(0, a).u32(4, b)
        };
        let link = attr(&linked, false).u32(8, TCX_INGRESS).call(BPF_LINK_CREATE);
        if link < 0 {
            return vec![link];
        }
        let link = sys::owned(link);
        assert_eq!(attr(&attached, true).u32(8, TCX_EGRESS).call(BPF_PROG_ATTACH), 0);
        std::thread::sleep(INVENTORY);
        assert_eq!(attr(&attached, true).u32(8, TCX_EGRESS).call(BPF_PROG_DETACH), 0);
        drop(link);
        let id = id_and_tag(&linked)[0];
        wait_for("detach", &[id], output);
        vec![id, id_and_tag(&attached)[0]]
    });
    let Some((run, numbers)) = acted else { return };
    if numbers[0] < 0 {
        return not_checked(&format!("this kernel has no tcx: {numbers:?}"));
    }
    let expected =
        |call: &str, end: &str| ["load call - - -".to_owned(), format!("attach call tcx {call}"), end.to_owned()];
    assert_eq!(told(&run, numbers[0])[..3], expected("lo link", "detach inventory tcx lo link"));
    let told = told(&run, numbers[1]);
    assert_eq!(told[0], "load call - - -");
    let starts: Vec<_> = told.iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(starts[..3], ["load call", "attach call", "detach call"], "{told:#?}");
    assert!(told.len() <= 4, "{told:#?}");
}

/// Runs a program that makes `count` links, at most 2, of a program to raw tracepoints, by `bpf_sys_bpf`. Returns −errno, or the last
/// result.
fn links_by_program(prog: &OwnedFd, count: usize) -> Result<i64, i64> {
    // Before 6.2, a program is attached to a raw tracepoint only once.
    let (licence, names) = (c("GPL"), [c("sched_process_exit"), c("sched_process_fork")]);
    // The attributes at r10 - 24: the name, the program, no cookie.
    let mut insns = vec![insn(0x7a, 10, 0, -16, sys::raw(prog)), insn(0x7a, 10, 0, -8, 0), MOV_R0];
    for name in names.iter().take(count) {
        let address = name.as_ptr() as u64;
        let [low, high] = [address as i32, (address >> 32) as i32];
        insns.extend([insn(0x18, 1, 0, 0, low), insn(0, 0, 0, 0, high), insn(0x7b, 10, 1, -24, 0)]);
        let command = BPF_RAW_TRACEPOINT_OPEN as i32;
        insns.extend([insn(0xb7, 1, 0, 0, command), insn(0xbf, 2, 10, 0, 0), insn(0x07, 2, 0, 0, -24)]);
        insns.extend([insn(0xb7, 3, 0, 0, 24), insn(0x85, 0, 0, 0, HELPER_SYS_BPF)]);
    }
    insns.push(EXIT);
    let attr =
        Attr::of_load(PROG_TYPE_SYSCALL, "tt_maker", (insns.len(), insns.as_ptr() as u64), licence.as_ptr() as u64);
    let maker = attr.u32(44, SLEEPABLE).call(BPF_PROG_LOAD);
    if maker < 0 {
        return Err(maker);
    }
    let maker = sys::owned(maker);
    let mut run = Attr::new().u32(0, sys::raw(&maker) as u32);
    match run.call(BPF_PROG_TEST_RUN) {
        0 => Ok(i64::from(i32::from_le_bytes(run.0[4..8].try_into().expect("four bytes")))),
        error => Err(error),
    }
}

/// The links among the descriptors of this process.
fn own_links() -> Vec<i64> {
    let is_link = |fd: &i64| {
        std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|path| path.as_os_str() == "anon_inode:bpf_link")
    };
    (3..1000).filter(is_link).collect()
}

#[test]
fn links_that_a_program_makes_have_the_caller() {
    let _alone = alone();
    let acted = trace("bpf", || {
        let prog = || sys::owned(load(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_by_prog", &[MOV_R0, EXIT]));
        let by_call = sys::owned(raw_tracepoint_open(&prog(), "sched_process_exit"));
        let mut numbers = vec![0, link_id(&by_call)];
        for (held_ms, count) in [(0, 1), (300, 1), (0, 2), (300, 2)] {
            let before = own_links();
            let made = links_by_program(&prog(), count);
            if let Some(error) = made.err().or(made.ok().filter(|fd| *fd < 0)) {
                numbers[0] = error;
                return numbers;
            }
            let made = own_links().into_iter().filter(|fd| !before.contains(fd));
            let made: Vec<OwnedFd> = made.map(sys::owned).collect();
            assert_eq!(made.len(), count);
            numbers.extend(made.iter().map(link_id));
            // Neither the links of this process are new then, nor those of before.
            assert_eq!(links_by_program(&prog(), 0), Ok(0));
            std::thread::sleep(Duration::from_millis(held_ms));
        }
        std::thread::sleep(Duration::from_secs(2));
        numbers
    });
    let Some((run, pid, numbers)) = acted else { return };
    if numbers[0] != 0 {
        return not_checked(&format!("links by bpf_sys_bpf: error {} (5.18+)", numbers[0]));
    }
    let events: Vec<Value> = run.lines().filter(|e| e["kind"] == "bpf").collect();
    for (n, id) in numbers[1..].iter().enumerate() {
        let of =
            |op: &str| events.iter().filter(|e| e["op"] == op && e["attach"]["link_id"] == *id).collect::<Vec<_>>();
        let (begun, ended) = (of("attach"), of("detach"));
        // The second link of a run: `bpf_multi` does not see it, but an inventory may.
        let is_second = [4, 6].contains(&n);
        if is_second && is_attached("bpf_multi ") {
            assert!(begun.len() < 2 && begun.len() == ended.len(), "link {id}: {begun:#?} {ended:#?}");
            continue;
        }
        let [begin] = begun[..] else { panic!("link {id} begins {begun:#?}") };
        let seen_by = if is_second { "inventory" } else { "call" };
        assert_eq!((&begin["pid"], &begin["seen_by"]), (&pid.into(), &seen_by.into()), "{n}: {begin}");
        assert_eq!(ended.len(), 1, "link {id} ends {ended:#?}");
        // The inspector reads the program of the second one, which may be unloaded by then, and shows its place.
        let is_known = |value: &Value| !is_second || !value.is_null();
        let name = &begin["prog"]["name"];
        assert!(begin["err"].is_null() && (!is_known(name) || name == "tt_by_prog"), "{begin}");
        let attach = &begin["attach"];
        let [attach_type, via, target] = ["type", "via", "target"].map(|key| attach[key].clone());
        let expected = if is_second { "sched_process_fork" } else { "sched_process_exit" };
        assert!(!is_known(&target) || target == expected, "{begin}");
        assert_eq!([attach_type, via], ["raw_tracepoint", "link"], "{begin}");
    }
    let account = run.check_sums();
    println!("{} links, {account}", numbers.len() - 1);
}
