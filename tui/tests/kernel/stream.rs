//! Programs that come and go without a system call that says so.

use crate::bpf::{Attr, BPF_PROG_TYPE_RAW_TRACEPOINT, EXIT, MOV_R0, check_prog, id_and_tag, load, trace};
use crate::recording::{read, text, traced};
use crate::sys::{self, Actor, c};
use crate::traced::{Dir, Run, Traced, alone, cannot_run, n};
use serde_json::Value;
use std::os::fd::OwnedFd;
use std::time::Duration;

const BPF_MAP_CREATE: u64 = 0;
const BPF_MAP_UPDATE_ELEM: u64 = 2;
const BPF_PROG_LOAD: u64 = 5;
const BPF_PROG_TEST_RUN: u64 = 10;
const BPF_PROG_GET_FD_BY_ID: u64 = 13;

const PROG_TYPE_SYSCALL: u32 = 31;
const SLEEPABLE: u32 = 1 << 4;
const HELPER_SYS_BPF: i32 = 166;

/// An instruction.
fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> u64 {
    let [o0, o1] = off.to_le_bytes();
    let [i0, i1, i2, i3] = imm.to_le_bytes();
    u64::from_le_bytes([code, dst | src << 4, o0, o1, i0, i1, i2, i3])
}

/// Loads a program from within a program, as a light skeleton does. Returns it, or the error.
pub(crate) fn load_inside(name: &str) -> Result<OwnedFd, i64> {
    let data = [MOV_R0, EXIT, u64::from_le_bytes(*b"GPL\0\0\0\0\0")];
    let map = Attr::new().u32(0, 2).u32(4, 4).u32(8, 24).u32(12, 1).call(BPF_MAP_CREATE);
    if map < 0 {
        return Err(map);
    }
    let map = sys::owned(map);
    let key = 0u32;
    let mut update = Attr::new().u32(0, sys::raw(&map) as u32).u64(8, (&raw const key) as u64);
    assert_eq!(update.0.len(), 128);
    update = update.u64(16, data.as_ptr() as u64);
    assert_eq!(update.call(BPF_MAP_UPDATE_ELEM), 0);
    // The attributes are on the stack from r10 - 128 on. They point to the value of the map.
    let word = |at: i16, value: u32| insn(0x62, 10, 0, at - 128, value.cast_signed());
    let mut name = name.bytes().chain(std::iter::repeat(0));
    let mut next = || u32::from_le_bytes(std::array::from_fn(|_| name.next().unwrap_or_default()));
    let mut program = vec![insn(0xb7, 1, 0, 0, 0)];
    program.extend((0..16).map(|at| insn(0x7b, 10, 1, at * 8 - 128, 0)));
    program.extend([word(0, BPF_PROG_TYPE_RAW_TRACEPOINT), word(4, 2)]);
    for (at, offset) in [(8, 0), (16, 16)] {
        // r1 = the address in the map.
        program.extend([insn(0x18, 1, 2, 0, sys::raw(&map)), insn(0, 0, 0, 0, offset)]);
        program.push(insn(0x7b, 10, 1, at - 128, 0));
    }
    program.extend((0..3).map(|at| word(48 + 4 * at, next())));
    program.extend([insn(0xb7, 1, 0, 0, BPF_PROG_LOAD as i32), insn(0xbf, 2, 10, 0, 0), insn(0x07, 2, 0, 0, -128)]);
    program.extend([insn(0xb7, 3, 0, 0, 128), insn(0x85, 0, 0, 0, HELPER_SYS_BPF), EXIT]);
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
    let fd = i32::from_le_bytes([run.0[4], run.0[5], run.0[6], run.0[7]]);
    if fd < 0 { Err(fd.into()) } else { Ok(sys::owned(fd.into())) }
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
    let acted = trace(|| {
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
    let acted = trace(|| {
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
        return cannot_run(&format!("this kernel has no programs that call bpf(2): {numbers:?}"));
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
    assert_eq!(ids[0].len(), 150);
    if ids[1].is_empty() {
        cannot_run("this kernel has no programs that call bpf(2)");
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
            let Ok(prog) = load_inside("tt_replayed") else { return vec![] };
            let id = id_and_tag(&prog)[0];
            drop(prog);
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
            assert_eq!(text(&run.raw).lines().filter(|line| line.contains("tt_replayed")).count(), 2, "{format}");
        }
    }
    let _ = std::fs::remove_file(&file);
    let actor = Actor::new(|| {
        std::thread::sleep(Duration::from_secs(1));
        load_inside("tt_recorded").map_or(vec![0], |prog| vec![id_and_tag(&prog)[0]])
    });
    let mut actor = actor;
    actor.go();
    let (pid, recorded) = (actor.pid, traced(&["record", "-o", &file, "--duration", "4s"], |_| {}));
    let id = actor.end().1[0];
    if recorded.is_none() || id == 0 {
        return;
    }
    for filter in [format!("prog.id={id}"), format!("op=load pid={pid} prog=tt_recorded")] {
        let found = read(&["print", &file, "--format", "json", "--filter", &filter]);
        let lines = text(&found.stdout);
        let loads = lines.lines().filter(|line| line.contains(&format!("\"id\":{id},")) && line.contains("load\""));
        assert!(loads.count() >= 1, "{filter}: {lines}{}", text(&found.stderr));
    }
}
