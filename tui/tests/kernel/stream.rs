//! Programs that come and go without a system call that says so.

use crate::bpf::*;
use crate::bpf_ways::{BPF_MAP_CREATE, SCHED_CLS, XDP, by_attach, create, load_for, opened};
use crate::prelude::*;
use crate::traced::{Output, is_attached};
use std::sync::mpsc::channel;

const BPF_MAP_UPDATE_ELEM: u64 = 2;
const BPF_PROG_TEST_RUN: u64 = 10;
const BPF_PROG_GET_FD_BY_ID: u64 = 13;
const AT_XDP: u32 = 37;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;

const PROG_TYPE_SYSCALL: u32 = 31;
const SLEEPABLE: u32 = 1 << 4;
const HELPER_SYS_BPF: i32 = 166;

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

fn load_inside(name: &'static str) -> Result<OwnedFd, i64> {
    Inside::new(name).run().map(|mut fds| fds.remove(0))
}

fn of_program(run: &Run, id: i64) -> Vec<Value> {
    run.lines().filter(|event| event["kind"] == "bpf" && event["prog"]["id"] == id).collect()
}

#[track_caller]
fn wait_until_gone(id: i64) {
    sys::wait_until(|| {
        let fd = Attr::new().u32(0, id as u32).call(BPF_PROG_GET_FD_BY_ID);
        sys::close(fd);
        fd < 0
    });
}

/// The id and the tag of a program that is unloaded.
fn gone(prog: OwnedFd) -> Vec<i64> {
    let numbers = id_and_tag(&prog);
    drop(prog);
    wait_until_gone(numbers[0]);
    numbers.to_vec()
}

#[track_caller]
fn check_unload(event: &Value, name: &str, id_and_tag: &[i64]) {
    assert_eq!((&event["op"], &event["seen_by"]), (&"unload".into(), &"stream".into()), "{event}");
    check_has(event, json!({"prog": {"id": id_and_tag[0], "name": name, "tag": format!("{:016x}", id_and_tag[1])}}));
    for null in ["pid", "tid", "comm", "uid", "ret", "err", "attach"] {
        assert_eq!(event[null], Value::Null, "{null}: {event}");
    }
}

#[test]
fn a_program_that_comes_and_goes_has_two_events() {
    let acted = trace("bpf", || gone(program(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_two_events")));
    let Some((run, pid, numbers)) = acted else { return };
    let events = of_program(&run, numbers[0]);
    assert_eq!(events.len(), 2, "{events:#?}");
    check_prog(&events[0], "tt_two_events", "raw_tracepoint", &numbers);
    assert_eq!((&events[0]["pid"], &events[0]["seen_by"]), (&pid.into(), &"call".into()), "{}", events[0]);
    check_unload(&events[1], "tt_two_events", &numbers);
}

#[test]
fn a_program_that_a_program_loads_is_seen() {
    let acted = trace("bpf", || load_inside("tt_inside").map_or_else(|error| vec![error], gone));
    let Some((run, pid, numbers)) = acted else { return };
    if numbers[0] < 0 {
        return not_checked(&format!("this kernel has no programs that call bpf(2): {numbers:?}"));
    }
    let events = of_program(&run, numbers[0]);
    assert_eq!(events.len(), 2, "{events:#?}");
    let (event, loader) = (&events[0], run.one("bpf", pid, |event| event["prog"]["name"] == "tt_loader"));
    for same in ["pid", "tid", "ppid", "comm", "uid", "gid", "start_ns"] {
        assert_eq!(event[same], loader[same], "{same}: {event}");
    }
    check_has(event, json!({"op": "load", "seen_by": "stream", "prog": {"name": "tt_inside"}, "attach": null}));
    let tag = format!("{:016x}", numbers[1]);
    check_has(event, json!({"ret": null, "ret_why": "not_collected", "prog": {"tag": tag}}));
    check_unload(&events[1], "tt_inside", &numbers);
}

/// Two processes load and unload as fast as they can, by both ways: nothing is reported twice, and nothing is missing.
#[test]
fn churn_makes_no_event_twice() {
    let Some(traced) = Traced::start(&["--kind", "bpf"]) else { return };
    let act = |inside: bool| {
        move || {
            let mut ids = Vec::new();
            for _ in 0..150 {
                let prog = match inside {
                    true => load_inside("tt_churn").ok(),
                    false => Some(program(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_churn")),
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
    let (run, account) = traced.stop_with_account();
    assert!(run.lines().all(|event| event["op"] != "hidden"), "what comes and goes is not hidden");
    assert_eq!(ids[0].len(), 150);
    if ids[1].is_empty() {
        not_checked("this kernel has no programs that call bpf(2)");
    }
    assert_eq!(n(&account["kinds"]["bpf"]["lost"]["ring"]), 0, "{account}");
    let events: Vec<Value> = run.lines().collect();
    for (ids, seen_by) in ids.iter().zip(["call", "stream"]) {
        for id in ids {
            let of_program = events.iter().filter(|event| event["prog"]["id"] == *id);
            let said: Vec<_> = of_program.map(|event| (event["op"].as_str(), event["seen_by"].as_str())).collect();
            assert_eq!(said, [(Some("load"), Some(seen_by)), (Some("unload"), Some("stream"))], "{id}");
        }
    }
}

#[test]
fn a_replay_has_the_programs_that_came_and_went() {
    let dir = Dir::alone();
    let file = dir.at("live.ttr");
    for format in ["json", "text", "csv"] {
        let _ = fs::remove_file(&file);
        let Some(traced) = Traced::start_as(format, &["--kind", "bpf", "-w", &file]) else { return };
        let ids = Actor::new(|| {
            let linked = Inside { prog_type: SCHED_CLS, link: Some((1, TCX_INGRESS)), ..Inside::new("tt_replayed") };
            sys::unshare(libc::CLONE_NEWNET);
            let Ok(fds) = linked.run() else { return vec![] };
            let id = id_and_tag(&fds[0])[0];
            traced.output().wait_until(|text| text.lines().filter(|line| line.contains("tt_replayed")).count() == 2);
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
            let lines = text(&run.raw);
            let told: Vec<_> = lines.lines().filter(|line| line.contains("tt_replayed")).collect();
            assert_eq!(told.len(), 4, "{format}: {told:#?}");
        }
    }
    let _ = fs::remove_file(&file);
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

/// Runs `act` and tracetui in a network namespace of their own. `act` gets the output of tracetui. With an error, this machine lacks
/// something.
fn in_network(lacks: &str, act: impl FnOnce(&Output) -> Result<Vec<i64>, i64>) -> Option<(Run, Vec<i64>)> {
    may_trace().then_some(())?;
    sys::unshare(libc::CLONE_NEWNET);
    let traced = Traced::start(&["--kind", "bpf"])?;
    // What the first inventory has is no event.
    traced.output().wait_for_inventory();
    let numbers = Actor::new(|| act(traced.output()).unwrap_or_else(|error| vec![error])).run();
    let run = traced.stop_and_check();
    if numbers[0] < 0 {
        not_checked(&format!("{lacks}: {numbers:?}"));
    }
    (numbers[0] >= 0).then_some((run, numbers))
}

/// What the kernel refuses is an error.
fn refusal(ret: i64) -> Result<(), i64> {
    if ret < 0 { Err(ret) } else { Ok(()) }
}

#[test]
fn an_xdp_program_has_its_process() {
    let Some(()) = alone_as_root() else { return };
    sys::unshare(libc::CLONE_NEWNET);
    net::up("lo");
    let Some(traced) = Traced::start(&["--kind", "bpf"]) else { return };
    let actor = Actor::new(|| {
        let output = traced.output();
        let programs: Vec<_> = ["tt_early", "tt_late", "tt_forged"].map(|name| program(XDP, name)).into();
        let ids: Vec<_> = programs.iter().map(|prog| id_and_tag(prog)[0]).collect();
        let mut done = vec![];
        // Before the first inventory, and after it.
        for (program, id) in programs.iter().zip(&ids).take(2) {
            done.push(net::set_xdp(1, sys::raw(program)));
            output.wait_for("attach", &[*id]);
            done.push(net::set_xdp(1, -1));
            output.wait_for("detach", &[*id]);
            output.wait_for_inventory();
        }
        done.push(net::forge_xdp(1, ids[2] as u32).min(0));
        output.wait_for_inventory();
        [ids, done].concat()
    });
    let pid = actor.pid;
    let numbers = actor.run();
    let run = traced.stop_and_check();
    let (ids, done) = numbers.split_at(3);
    if done[0] < 0 {
        return not_checked(&format!("this kernel refuses an XDP program: error {}", done[0]));
    }
    assert_eq!(done, [0; 5]);
    let has_ends = is_attached("bpf_xdp ");
    for id in &ids[..2] {
        let told = told(&run, *id);
        assert_eq!(told[1..3], ["attach", "detach"].map(|op| format!("{op} inventory xdp lo netlink")), "{told:#?}");
        let events = of_program(&run, *id);
        // An end that only an inventory shows has no process.
        let with_process = if has_ends { 3 } else { 2 };
        assert!(events[1..with_process].iter().all(|event| event["pid"] == pid), "{events:#?}");
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
    let Some(()) = alone_as_root() else { return };
    net::own_net();
    let xdp = program(XDP, "tt_old_xdp");
    let tc = program(SCHED_CLS, "tt_old_tc");
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
        let run = traced.stop_and_check();
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
    let acted = in_network("this kernel has no filters of blocks", |output| {
        let program = program(SCHED_CLS, "tt_block");
        let id = id_and_tag(&program)[0];
        refusal(net::add_clsact(1, Some(NUMBER)))?;
        for (nth, held_ms) in [0, 300, 3000].into_iter().enumerate() {
            let added = net::add_filter(net::BLOCK, NUMBER, sys::raw(&program));
            refusal(if nth == 0 { added } else { 0 })?;
            assert_eq!(added, 0);
            std::thread::sleep(Duration::from_millis(held_ms));
            assert_eq!(net::remove_filters(net::BLOCK, NUMBER), 0);
        }
        output.wait_for_many("detach", id, 3);
        Ok(vec![id])
    });
    let Some((run, numbers)) = acted else { return };
    let both = ["attach", "detach"].map(|op| format!("{op} inventory tc lo netlink"));
    assert_eq!(places(&run, numbers[0]), [both.clone(), both.clone(), both].concat());
}

#[test]
fn an_xdp_link_of_another_namespace_hides_nothing() {
    const GENERIC: u32 = 2;
    let acted = in_network("this kernel refuses an XDP program", |output| {
        // lo has the same number in each namespace.
        let program = load_for(XDP, AT_XDP, "tt_both", MOV_R0).expect("a program");
        let (fd, id, linked_program) = (sys::raw(&program), id_and_tag(&program)[0], &program);
        let ((linked, is_linked), (end, ends)) = (channel(), channel::<()>());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                sys::unshare(libc::CLONE_NEWNET);
                net::up("lo");
                let link = create(linked_program, 1, AT_XDP, |attr| attr.u32(12, GENERIC));
                let _ = linked.send(link);
                let _ = ends.recv();
                sys::close(link);
            });
            refusal(is_linked.recv().expect("a result"))?;
            output.wait_for_inventory();
            net::up("lo");
            for kept in [20, 3000] {
                let set = net::set_xdp(1, fd);
                refusal(if kept == 20 { set } else { 0 })?;
                assert_eq!(set, 0);
                std::thread::sleep(Duration::from_millis(kept));
                assert_eq!(net::set_xdp(1, -1), 0);
            }
            output.wait_for_many("detach", id, 2);
            drop(end);
            output.wait_for_many("detach", id, 3);
            Ok(vec![id])
        })
    });
    let Some((run, numbers)) = acted else { return };
    let netlink = ["attach inventory xdp lo netlink", "detach inventory xdp lo netlink"];
    let expected = [&["attach call xdp lo link"][..], &netlink, &netlink, &["detach inventory xdp lo link"]].concat();
    assert_eq!(places(&run, numbers[0]), expected);
}

#[test]
fn what_a_program_attaches_is_seen() {
    let acted = in_network("this kernel has no tcx, or no programs that call bpf(2)", |output| {
        let linked = Inside { prog_type: SCHED_CLS, link: Some((1, TCX_INGRESS)), ..Inside::new("tt_in_link") };
        let fds = linked.run()?;
        let numbers = vec![id_and_tag(&fds[0])[0], link_id(&fds[1])];
        output.wait_for("attach", &numbers[..1]);
        drop(fds);
        wait_until_gone(numbers[0]);
        Ok(numbers)
    });
    let Some((run, numbers)) = acted else { return };
    let told = told(&run, numbers[0]);
    let expected =
        ["load stream - - -", "attach inventory tcx lo link", "detach inventory tcx lo link", "unload stream - - -"];
    assert_eq!(told, expected);
    let events = of_program(&run, numbers[0]);
    assert_eq!(events[1]["attach"]["link_id"], numbers[1], "{}", events[1]);
    assert_eq!(events[2]["time"], events[3]["time"], "an unloaded program is attached nowhere");
    // By the time that it is told, the program was read.
    for event in &events {
        check_has(event, json!({"prog": {"type": "sched_cls", "write_user": "no"}}));
    }
}

#[test]
fn what_a_system_call_attaches_is_not_told_again() {
    let acted = in_network("this kernel has no tcx", |output| {
        let linked = program(SCHED_CLS, "tt_one_link");
        let attached = program(SCHED_CLS, "tt_one_tcx");
        let link = opened(create(&linked, 1, TCX_INGRESS, |attr| attr))?;
        let made = by_attach(&attached, 1, TCX_EGRESS, vec![]).expect("a kernel with tcx");
        output.wait_for_inventory();
        assert_eq!((made.detach)(), 0);
        drop(link);
        let id = id_and_tag(&linked)[0];
        output.wait_for("detach", &[id]);
        Ok(vec![id, id_and_tag(&attached)[0]])
    });
    let Some((run, numbers)) = acted else { return };
    let expected =
        |call: &str, end: &str| ["load call - - -".to_owned(), format!("attach call tcx {call}"), end.to_owned()];
    assert_eq!(told(&run, numbers[0])[..3], expected("lo link", "detach inventory tcx lo link"));
    let told = told(&run, numbers[1]);
    assert_eq!(told[0], "load call - - -");
    let starts: Vec<_> = told.iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(starts[..3], ["load call", "attach call", "detach call"], "{told:#?}");
    assert!(told.len() <= 4, "{told:#?}");
}
